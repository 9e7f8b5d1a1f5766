/* coop.c - CoOp (Zhou et al. 2021, arXiv 2109.01134): M context vectors before the class name, in token-embedding space,
 * shared by all classes or each class's own. The published checkpoint's `ctx` is ours; its token_prefix and token_suffix are made
 * anew from the class names, so a prompt carries over to other classes. */
#include "clip/prompt/method.h"

static int epochs(int shots)
{
    if (shots == 1) return 50;
    return shots == 2 || shots == 4 ? 100 : 200;
}

static ts_tensor *classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image)
{
    (void)image;
    return ts_prompt_text_features(pg, chunk, ts_prompt_param(pg, "ctx"));
}

static bool recognise(const ts_weights *w, ts_method_settings *s)
{
    const ts_weight *ctx = ts_prompt_in_file(w, "ctx");
    if (!ctx || ctx->ndim < 2 || ctx->ndim > 3 || ts_prompt_in_file(w, "meta_net.linear1.weight") ||
        ts_prompt_in_file(w, "proj.weight"))
        return false;
    s->per_class = ctx->ndim == 3 ? 1 : 2;
    s->context = (int)ctx->shape[ctx->ndim - 2];
    return true;
}

const ts_method ts_method_coop = {
    .name = "coop",
    .about = "learned context before the class name (Zhou et al. 2021)",
    .settings = "context per-class position words",
    .standard = {.context = 16, .per_class = 2, .position = TS_CLASS_END},
    .recipe = {TS_RECIPE_DASSL, .lr = 0.002, .batch = 32, .epochs_of = epochs},
    .declare = ts_prompt_declare_context,
    .classes = classes,
    .recognise = recognise,
};
