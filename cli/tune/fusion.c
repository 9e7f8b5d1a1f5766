/* fusion.c - `tessera tune fusion`: PromptHub (ICLR 2026) with its published recipe, or Condenser (CVPR 2025). */
#include "cli/tune/learn.h"
#include "cli/tune/tune.h"

int ts_tune_fusion(int argc, char **argv)
{
    const ts_learn_config defaults = {.is_fusion = true,
                                      .examples = 1,
                                      .dropout = 0.25,
                                      .top = -1, /* by the method */
                                      .align = -1,
                                      .embed = -1,
                                      .own_share = 0.1,
                                      .random_share = 0.2,
                                      .batch = 16,
                                      .epochs = 150,
                                      .restart = 10,
                                      .lr = 0.03,
                                      .save_every = 1000,
                                      .eval_every = 1,
                                      .keep = 2};
    return ts_learn(&defaults, argc, argv);
}
