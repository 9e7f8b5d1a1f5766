/* standard.c - "-" in place of a picture's name: standard input, or standard output, where a picture is written as PNG. A file of
 * that name is ./-. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ts_is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

bool ts_load_picture(const char *path, ts_image *out, ts_error *err)
{
    return ts_is_standard(path) ? ts_image_read(stdin, "standard input", out, err) : ts_image_load(path, out, err);
}

bool ts_save_picture(const char *path, const ts_image *img, ts_error *err)
{
    if (!ts_is_standard(path)) return ts_image_save(path, img, err);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ts_image_encode("standard output.png", img, &bytes, &size, err)) return false;
    const bool ok = fwrite(bytes, 1, size, stdout) == size ||
                    ts_fail(err, TS_ERR_IO, "standard output cannot be written: %s", strerror(errno));
    free(bytes);
    return ok && ts_flush_output(err);
}

int ts_count_standard(const ts_words *words)
{
    int count = 0;
    for (int i = 0; i < words->count; i++) count += ts_is_standard(words->items[i]);
    return count;
}
