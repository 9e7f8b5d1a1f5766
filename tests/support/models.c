/* models.c - see models.h. */
#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

ts_weights *altered_copy(const ts_weights *w, const char *name, const char *missing, const char *reshaped)
{
    ts_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    ts_weights_writer *out = ts_weights_writer_new();
    assert_non_null(out);
    float *grown = NULL;
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        if (!ts_weights_writer_meta(out, key, value, &err)) fail_msg("%s", err.text);
    }
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        if (missing && strcmp(t->name, missing) == 0) continue;
        bool ok;
        if (reshaped && strcmp(t->name, reshaped) == 0) {
            int64_t shape[TS_MAX_FILE_DIMS];
            memcpy(shape, t->shape, sizeof shape);
            shape[0]++;
            grown = calloc((size_t)(t->count / t->shape[0] * shape[0]), sizeof *grown);
            ok = ts_weights_writer_add(out, t->name, TS_DT_F32, t->ndim, shape, grown, &err);
        } else {
            ok = ts_weights_writer_add_weight(out, t, t->dtype, &err);
        }
        if (!ok) fail_msg("%s", err.text);
    }
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    free(grown);
    ts_weights *copy = ts_weights_open(path, &err);
    if (!copy) fail_msg("%s", err.text);
    return copy;
}

ts_image golden_picture(const ts_weights *w, const char *name)
{
    const ts_weight *t = ts_weights_find(w, name);
    assert_non_null(t);
    float *planes = golden_f32(w, name);
    ts_image img;
    ts_error err = {0};
    assert_true(ts_image_new((int)t->shape[3], (int)t->shape[2], &img, &err));
    float *pixels = to_nhwc(planes, 3, t->shape[2], t->shape[3]);
    for (int64_t i = 0; i < t->count; i++) img.data[i] = (uint8_t)pixels[i];
    free(planes);
    free(pixels);
    return img;
}

float *to_nhwc(const float *x, int64_t channels, int64_t height, int64_t width)
{
    float *out = malloc((size_t)(channels * height * width) * sizeof *out);
    assert_non_null(out);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < height * width; i++) out[i * channels + c] = x[c * height * width + i];
    return out;
}

ts_weights *write_and_open(ts_weights_writer *w, const char *name)
{
    ts_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/%s.safetensors", temp_dir(), name);
    if (!ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    ts_weights *file = ts_weights_open(path, &err);
    if (!file) fail_msg("%s", err.text);
    return file;
}
