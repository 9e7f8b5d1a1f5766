/* scatter.h - what gather.c takes from scatter.c: its gradients. */
#ifndef TESSERA_OP_SCATTER_H
#define TESSERA_OP_SCATTER_H

#include "engine/internal.h"

/* Of the table x, from dy (B, T, C) and index (B, T). */
ts_tensor *ts_scatter(ts_graph *g, ts_tensor *dy, ts_tensor *index, const ts_tensor *x);
/* Of the fill (C), where the table has `rows` rows. */
ts_tensor *ts_scatter_outside(ts_graph *g, ts_tensor *dy, ts_tensor *index, int64_t rows);

#endif
