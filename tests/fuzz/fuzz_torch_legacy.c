/* fuzz_torch_legacy.c - any bytes as a PyTorch checkpoint of before release 1.6: opened, and every tensor read. A tar archive is
 * taken as it is; other inputs get the magic number of the format before them, which a mutation seldom keeps. */
#include "engine/weights/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const size_t front = size >= 512 && memcmp(bytes + 257, "ustar", 5) == 0 ? 0 : sizeof magic - 1;
    uint8_t *exact = malloc(front + size + 1);
    if (!exact) return 0;
    memcpy(exact, magic, front);
    if (size) memcpy(exact + front, bytes, size);
    ts_error err = {0};
    ts_weights *w = ts_weights_open_memory(exact, front + size, "fuzz", &err);
    if (!w && !err.code) abort(); /* a refusal without a reason */
    for (int64_t i = 0; w && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        double *out = malloc(((size_t)t->count + 1) * sizeof *out);
        if (out) ts_weight_to_f64(t, out, &err);
        free(out);
    }
    ts_weights_free(w);
    free(exact);
    return 0;
}
