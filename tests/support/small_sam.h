/* small_sam.h - a small Segment Anything of random weights, for tests and fuzzing that have no golden file. */
#ifndef TESSERA_TEST_SMALL_SAM_H
#define TESSERA_TEST_SMALL_SAM_H

#include "engine/engine.h"

/* Writes it, in the published layout: pictures of 64 x 64, 8 x 8 places, two blocks, one of them with windows. */
bool write_small_sam(const char *path, uint64_t seed, ts_error *err);
/* The same behind MobileSAM's encoder, of one block a stage; of pictures of 1024 x 1024. */
bool write_small_mobile_sam(const char *path, uint64_t seed, ts_error *err);

#endif
