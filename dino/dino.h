/* dino.h - DINOv2 (Oquab et al. 2023, arXiv 2304.07193), without and with registers (Darcet et al. 2023, arXiv 2309.16588), and
 * DINOv3 (Simeoni et al. 2025, arXiv 2508.10104): vision transformers trained without labels, whose patch tokens tell what is
 * where in a picture.
 *
 *   ts_dino *dino = ts_dino_new(dev, weights, 37, 37, &err);     // pictures of 37 x 37 patches
 *   ts_dino_normalise(rgb, count, pixels);
 *   ts_dino_encode(dino, pixels, true, tokens, &err);            // (37 37, width)
 *
 * The weights file and the device must outlive what is made from them. */
#ifndef TESSERA_DINO_H
#define TESSERA_DINO_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Read off the tensors' names and shapes; heads are the width's 64ths, as published (128ths in the largest DINOv3), or
 * what the metadata say ("heads"). */
typedef struct {
    int version; /* 2, or 3: rotary positions, keys without bias */
    int width, depth, heads, mlp;
    int patch;     /* pixels a side */
    int registers; /* tokens that belong to no place, beside the class token */
    int side;      /* places a side that the file has positions for; 0: positions are rotary */
    bool gated;    /* SwiGLU, as in DINOv2 ViT-g */
} ts_dino_config;

/* Of facebookresearch's files or Hugging Face's. A missing or misshapen tensor or another model is an error in one sentence. */
bool ts_dino_config_read(const ts_weights *w, ts_dino_config *out, ts_error *err);
/* "DINOv2 ViT-L/14 with 4 registers"; "DINOv2 384x12/14" where the size has no name. Returns `out`. */
const char *ts_dino_title(const ts_dino_config *c, char *out, size_t room);

/* 8-bit RGB to what the model takes: (x/255 - mean) / deviation with ImageNet's numbers. */
void ts_dino_normalise(const uint8_t *rgb, int64_t pixels, float *out);

typedef struct ts_dino ts_dino;

/* For pictures of rows x columns patches, 1 to 512 each. The file's positions are brought to that grid as the published code
 * does: bicubic; with registers antialiased, without them by a scale of (rows + 0.1) / side. */
ts_dino *ts_dino_new(ts_device *dev, const ts_weights *w, int rows, int columns, ts_error *err);
void ts_dino_free(ts_dino *d);
const ts_dino_config *ts_dino_about(const ts_dino *d);

/* As graph: pixels (B, rows patch, columns patch, 3), normalised -> the last block's patch tokens (B, rows columns, width), row
 * by row; `normed`: behind the last norm, as the model gives them. */
ts_tensor *ts_dino_tokens(ts_graph *g, const ts_dino *d, ts_tensor *pixels, bool normed);
/* The same of one picture, on the host's side: pixels (rows patch, columns patch, 3) -> tokens (rows columns, width). The graph
 * is kept for the next call. */
bool ts_dino_encode(ts_dino *d, const float *pixels, bool normed, float *tokens, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
