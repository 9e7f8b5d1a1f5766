/* reduce.h - what other ops' gradients take from reduce.c. */
#ifndef TESSERA_OP_REDUCE_H
#define TESSERA_OP_REDUCE_H

#include "engine/internal.h"

/* x repeated over what stands before it: y[i] = x[i mod count(x)] scale; of `shape`. The gradient of a sum. */
ts_tensor *ts_broadcast(ts_graph *g, ts_tensor *x, int ndim, const int64_t *shape, double scale);
/* (1): the sum of the elements of up to TS_MAX_IN tensors, or of their squares. Not differentiable. */
ts_tensor *ts_sum_several(ts_graph *g, int count, ts_tensor *const *list, bool square);

#endif
