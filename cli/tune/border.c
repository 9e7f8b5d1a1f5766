/* border.c - `tessera tune border`: InMeMo (Zhang et al. 2024, arXiv 2311.03648) with its published recipe. */
#include "cli/tune/learn.h"
#include "cli/tune/tune.h"

int ts_tune_border(int argc, char **argv)
{
    const ts_learn_config defaults = {.examples = 1,
                                      .cells = TS_BORDER_EXAMPLES,
                                      .batch = 32,
                                      .epochs = 100,
                                      .restart = 10,
                                      .lr = 40,
                                      .save_every = 1000,
                                      .eval_every = 1,
                                      .keep = 2};
    return ts_learn(&defaults, argc, argv);
}
