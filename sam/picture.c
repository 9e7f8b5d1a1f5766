/* picture.c - a picture as the network sees it: its longer side brought to the network's, normalised, zeros below or to the
 * right. The zeros are input like any other. */
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

static const float MEAN[3] = {123.675f, 116.28f, 103.53f}, DEVIATION[3] = {58.395f, 57.12f, 57.375f};

bool ts_sam_fit(const ts_sam_config *c, int width, int height, int *inner_width, int *inner_height, ts_error *err)
{
    if (width < 1 || height < 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "a picture of %d x %d pixels cannot be encoded", width, height);
    const double scale = (double)c->picture / (width > height ? width : height);
    *inner_width = (int)(width * scale + 0.5);
    *inner_height = (int)(height * scale + 0.5);
    return (*inner_width > 0 && *inner_height > 0) ||
           ts_fail(err, TS_ERR_ARGUMENT,
                   "a picture of %d x %d pixels is too long for a SAM: nothing is left of its shorter side at %d pixels", width,
                   height, c->picture);
}

bool ts_sam_takes(const ts_sam_config *c, int width, int height, ts_error *err)
{
    int inner_width, inner_height;
    return ts_sam_fit(c, width, height, &inner_width, &inner_height, err);
}

bool ts_sam_preprocess(const ts_sam_config *c, const ts_image *picture, float *out, ts_error *err)
{
    int width = 0, height = 0;
    ts_image sized;
    if (!ts_sam_fit(c, picture->width, picture->height, &width, &height, err) ||
        !ts_image_resize(picture, width, height, TS_RESIZE_BILINEAR, &sized, err))
        return false;
    memset(out, 0, (size_t)c->picture * (size_t)c->picture * 3 * sizeof *out);
    for (int y = 0; y < height; y++) {
        const uint8_t *row = sized.data + (size_t)y * (size_t)width * 3;
        float *to = out + (size_t)y * (size_t)c->picture * 3;
        for (int64_t i = 0; i < (int64_t)width * 3; i++) to[i] = ((float)row[i] - MEAN[i % 3]) / DEVIATION[i % 3];
    }
    ts_image_clear(&sized);
    return true;
}
