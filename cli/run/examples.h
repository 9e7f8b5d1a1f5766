/* examples.h - example pairs named on the command line, and what their looks tell of mistakes. */
#ifndef TESSERA_EXAMPLES_H
#define TESSERA_EXAMPLES_H

#include "cli/cli.h"

typedef struct {
    int stretched; /* the largest value of outputs that are masks by their values, and were brought to 255; 0: they were not */
    bool masks;    /* every output looks like a mask */
    bool swapped;  /* every input looks like a mask, and every output like a photograph */
    bool mask_queries;
} ts_example_looks;

/* Takes from picture `at` of IN OUT IN OUT ... what is needed of it. */
typedef bool (*ts_example_fn)(void *ctx, int at, const ts_image *picture, ts_error *err);

/* Reads IN OUT IN OUT ... and shows each to `take`, one at a time. Where all outputs hold a few small values only, as the masks
 * of data sets do (0 and 1, or numbers of classes), they are shown a second time, stretched to 0..255: a model would see black.
 */
bool ts_examples_load(const ts_words *paths, ts_example_fn take, void *ctx, ts_example_looks *looks, ts_error *err);
/* The same with pictures that come from elsewhere: `give` makes picture `at` of `count`, and is asked for some of them twice. */
typedef bool (*ts_give_fn)(void *ctx, int at, ts_image *out, ts_error *err);
bool ts_examples_see(int count, ts_give_fn give, ts_example_fn take, void *ctx, ts_example_looks *looks, ts_error *err);
/* Whether the picture has two colours, and next to nothing else, as masks have. */
bool ts_looks_like_mask(const ts_image *img);
/* One line each on standard error for what should be known. */
void ts_examples_say(const ts_example_looks *looks);

#endif
