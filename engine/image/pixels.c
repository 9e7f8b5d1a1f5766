/* pixels.c - what all decoders stand on: a picture in memory, the sizes that are taken, samples to RGB, and complaints. */
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

void ts_image_clear(ts_image *img)
{
    if (!img) return;
    free(img->data);
    *img = (ts_image){0};
}

bool ts_picture_check_size(int64_t width, int64_t height, const char *what, ts_code code, ts_error *err)
{
    if (width < 1 || height < 1) {
        return ts_fail(err, code, "%s is %lld x %lld pixels: a picture needs at least one each way", what, (long long)width,
                       (long long)height);
    }
    if (width > TS_MAX_PIXELS / height) {
        return ts_fail(err, code, "%s is %lld x %lld pixels: more than the %lld that are allowed", what, (long long)width,
                       (long long)height, (long long)TS_MAX_PIXELS);
    }
    return true;
}

bool ts_image_new(int width, int height, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    if (!ts_picture_check_size(width, height, "the picture to make", TS_ERR_ARGUMENT, err)) return false;
    uint8_t *data = calloc((size_t)width * (size_t)height, 3);
    if (!data) return ts_fail(err, TS_ERR_MEMORY, "no memory for a picture of %d x %d pixels", width, height);
    *out = (ts_image){.width = width, .height = height, .data = data};
    return true;
}

bool ts_image_copy(const ts_image *from, ts_image *out, ts_error *err)
{
    if (!ts_image_new(from->width, from->height, out, err)) return false;
    memcpy(out->data, from->data, (size_t)from->width * (size_t)from->height * 3);
    return true;
}

void ts_to_rgb(const uint8_t *in, int channels, int64_t pixels, uint8_t behind, uint8_t *out)
{
    const bool grey = channels < 3, alpha = channels == 2 || channels == 4;
    for (int64_t i = 0; i < pixels; i++, in += channels, out += 3) {
        const unsigned a = alpha ? in[channels - 1] : 255;
        for (int c = 0; c < 3; c++) out[c] = ts_over(in[grey ? 0 : c], a, behind);
    }
}

bool ts_picture_cut(const ts_picture_file *f, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture that is cut off before its end", f->label,
                   ts_picture_kind_name(f->about.kind));
}

bool ts_picture_broken(const ts_picture_file *f, const char *why, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s is a broken %s picture: %s", f->label, ts_picture_kind_name(f->about.kind), why);
}

bool ts_picture_no_numbers(const ts_picture_file *f, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT,
                   "%s is a picture of colours: the numbers of classes stand in a PNG of grey or of a palette", f->label);
}

bool ts_picture_memory(const ts_picture_file *f, ts_error *err)
{
    return ts_fail(err, TS_ERR_MEMORY, "no memory to decode %s (%lld x %lld pixels)", f->label, (long long)f->about.width,
                   (long long)f->about.height);
}
