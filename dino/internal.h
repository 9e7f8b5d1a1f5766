/* internal.h - what files of dino/ share: where its tensors stand in a file, and the model itself. */
#ifndef TESSERA_DINO_INTERNAL_H
#define TESSERA_DINO_INTERNAL_H

#include "dino/dino.h"

/* ---- tensors of a file (weights.c) ---- */

/* The names used inside are those of facebookresearch's DINOv2; the others are told apart here. */
typedef struct {
    const ts_weights *w;
    bool hugging_face, rotary, gated;
    char prefix[64]; /* before all names: "", "backbone.", "dinov2." */
} dino_file;

/* False: the file holds nothing that looks like a DINO. */
bool ts_dino_file_of(const ts_weights *w, dino_file *out);

/* Where a tensor stands: in one piece, or in several that are put one below the other (q, k, v; the two halves of a gate). */
typedef struct {
    char name[3][128];
    int pieces;
} dino_source;
void ts_dino_source(const dino_file *f, const char *name, dino_source *out);
/* What the file lacks and the model takes for zeros: the bias of a DINOv3's keys. */
bool ts_dino_may_lack(const dino_file *f, const char *file_name);

/* ---- positions (positions.c) ---- */

/* table (side side, width) -> out (rows columns, width). */
bool ts_dino_positions(const float *table, int side, int width, bool antialias, int rows, int columns, float *out, ts_error *err);
/* Cosines and sines of DINOv3's rotary positions, for ts_vit_rotary: (prefix + rows columns, width/2); tokens before the places,
 * `prefix` of them, are not turned. */
void ts_dino_rotary(const ts_dino_config *c, int prefix, int rows, int columns, bool sine, float *out);

/* ---- the model (dino.c) ---- */

struct ts_dino {
    ts_device *dev;
    ts_dino_config config;
    dino_file file;
    int rows, columns;
    ts_params *params;
    /* Of ts_dino_encode, for tokens before and behind the last norm. */
    struct {
        ts_graph *g;
        ts_exec *e;
        ts_tensor *in, *out;
    } plan[2];
};

#endif
