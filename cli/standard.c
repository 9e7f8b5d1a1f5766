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

/* A PNG on standard output. */
static bool put_png(const uint8_t *data, int width, int height, int channels, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ts_png_encode("standard output", data, width, height, channels, &bytes, &size, err)) return false;
    const bool ok = fwrite(bytes, 1, size, stdout) == size ||
                    ts_fail(err, TS_ERR_IO, "standard output cannot be written: %s", strerror(errno));
    free(bytes);
    return ok && ts_flush_output(err);
}

bool ts_save_picture(const char *path, const ts_image *img, ts_error *err)
{
    return ts_is_standard(path) ? put_png(img->data, img->width, img->height, 3, err) : ts_image_save(path, img, err);
}

/* Frees the samples; none are a failure that `err` tells. */
static bool save_samples(const char *path, uint8_t *data, int width, int height, int channels, ts_error *err)
{
    const bool ok = data && (ts_is_standard(path) ? put_png(data, width, height, channels, err)
                                                  : ts_png_save(path, data, width, height, channels, err));
    free(data);
    return ok;
}

bool ts_save_mask(const char *path, const ts_mask *m, ts_error *err)
{
    return save_samples(path, ts_mask_grey(m, err), m->width, m->height, 1, err);
}

bool ts_save_cutout(const char *path, const ts_image *picture, const ts_mask *m, ts_error *err)
{
    return save_samples(path, ts_cutout(picture, m, err), m->width, m->height, 4, err);
}

int ts_count_standard(const ts_words *words)
{
    int count = 0;
    for (int i = 0; i < words->count; i++) count += ts_is_standard(words->items[i]);
    return count;
}
