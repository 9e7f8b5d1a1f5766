/* examples.h - example pairs named on the command line, and what their looks tell of mistakes. */
#ifndef TESSERA_EXAMPLES_H
#define TESSERA_EXAMPLES_H

#include "cli/cli.h"
#include "grid/grid.h"

typedef struct {
    int stretched; /* the largest value of outputs that are masks by their values, and were brought to 255; 0: they were not */
    bool swapped;  /* every input looks like a mask, and every output like a photograph */
    bool mask_queries;
} ts_example_looks;

/* Reads IN OUT IN OUT ... and brings each to the size of a cell, once and not again for every query: composing then takes it as
 * it is. Where all outputs hold a few small values only, as the masks of data sets do (0 and 1, or numbers of classes), they are
 * stretched to 0..255: a model would see black. `pictures` has a place for each, the caller's on failure too. */
bool ts_examples_load(const ts_words *paths, const ts_grid *grid, ts_image *pictures, ts_example_looks *looks, ts_error *err);
/* Whether the picture has two colours, and next to nothing else, as masks have. */
bool ts_looks_like_mask(const ts_image *img);
/* One line each on standard error for what should be known. */
void ts_examples_say(const ts_example_looks *looks);

#endif
