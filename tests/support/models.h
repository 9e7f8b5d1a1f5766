/* models.h - what the tests of models share: weights files with one tensor altered, pictures out of golden tensors. */
#ifndef TESSERA_TEST_MODELS_H
#define TESSERA_TEST_MODELS_H

#include "engine/engine.h"

/* Writes `w` as safetensors into the test's folder, without the tensor `missing` (or NULL), and with one row more in `reshaped`
 * (or NULL); opens it. */
ts_weights *altered_copy(const ts_weights *w, const char *name, const char *missing, const char *reshaped);
/* Saves what was added to `w` as NAME.safetensors in the test's folder, frees `w`, and opens the file. */
ts_weights *write_and_open(ts_weights_writer *w, const char *name);
/* A golden U8 tensor (1, 3, H, W) as a picture. */
ts_image golden_picture(const ts_weights *w, const char *name);
/* (1, C, H, W) -> (1, H, W, C), in a new array. */
float *to_nhwc(const float *x, int64_t channels, int64_t height, int64_t width);

#endif
