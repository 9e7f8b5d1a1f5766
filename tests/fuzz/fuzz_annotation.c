/* fuzz_annotation.c - any bytes as an annotation of Pascal VOC: what is read of it are numbers that make sense. */
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);
    eval_annotation about;
    if (!text) return 0;
    memcpy(text, bytes, size);
    text[size] = '\0';
    if (eval_annotation_read(text, &about) && (about.objects < 0 || about.number < 0 || about.number > EVAL_CLASSES ||
                                               about.width < 0 || about.height < 0 || about.objects > (int64_t)size))
        abort();
    free(text);
    return 0;
}
