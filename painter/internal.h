/* internal.h - what files of painter/ share: what the tensors are called, and the model itself. */
#ifndef TESSERA_PAINTER_INTERNAL_H
#define TESSERA_PAINTER_INTERNAL_H

#include "painter/painter.h"
#include "vit/vit.h"

/* Of the layers outside of the blocks; the last four are the head's. */
typedef struct {
    const char *patches, *positions, *mask, *picture, *target, *semantic, *instance, *blocks, *norm;
    const char *embed, *conv, *conv_norm, *last;
} painter_names;

/* The names in a file. */
typedef struct {
    const painter_names *names;
    const ts_vit_names *block;
    const char *front; /* stands before all but the head's: Hugging Face's "model.", or nothing */
} painter_layout;

painter_layout ts_painter_layout_of(const ts_weights *w);

typedef struct {
    char s[96];
} painter_name;
/* The whole name of what is not the head's. */
painter_name ts_painter_name(const painter_layout *l, const char *part);

/* A planned graph that answers by `count` examples. */
typedef struct {
    int count, side;
    ts_graph *graph;
    ts_exec *exec;
    ts_painter_canvases in;
    ts_painter_kind kind; /* as written */
    ts_tensor *out;       /* (r, r, 3), normalised */
    ts_tensor *mean;      /* (1): of that; not finite where the weights are broken */
} painter_plan;

struct ts_painter {
    ts_device *dev;
    const ts_weights *weights;
    ts_painter_config config;
    painter_layout layout;
    painter_name blocks; /* "blocks", as the file has it */
    ts_params *params;
    painter_plan plan;
};

#endif
