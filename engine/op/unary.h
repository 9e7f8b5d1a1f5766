/* unary.h - what unary.c and its gradient share. */
#ifndef TESSERA_OP_UNARY_H
#define TESSERA_OP_UNARY_H

#include "engine/internal.h"

typedef enum {
    TS_SCALE,
    TS_CLAMP,
    TS_GELU,
    TS_QUICK_GELU,
    TS_SWISH,
    TS_ABS,
    TS_SQUARE,
    TS_RELU,
    TS_TANH,
    TS_EXP,
    TS_LEAKY_RELU,
    TS_SIN,
    TS_COS,
    TS_SQRT
} ts_unary; /* as the shaders count */

typedef struct {
    ts_unary function;
    float a, b; /* scale and shift, low and high, or the slope */
} ts_unary_attr;

/* f'(x) dy, elementwise; not of TS_SCALE, whose gradient is another one. */
ts_tensor *ts_unary_grad(ts_graph *g, const ts_unary_attr *attr, ts_tensor *x, ts_tensor *dy);

#endif
