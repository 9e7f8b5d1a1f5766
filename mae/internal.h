/* internal.h - what files of mae/ share. */
#ifndef TESSERA_MAE_INTERNAL_H
#define TESSERA_MAE_INTERNAL_H

#include "mae/mae.h"

/* splitmix64: the next of [0, 1). Our own, so that a seed means the same everywhere. */
double ts_mae_uniform(uint64_t *state);

#endif
