/* cocoop.c - CoCoOp (Zhou et al. 2022, arXiv 2203.05557): CoOp's context, and a small net of the picture's feature whose
 * output is added to every context vector, so that each picture has its own features for every class. */
#include "clip/prompt/method.h"

#include <math.h>
#include <string.h>

enum { NARROW = 16 }; /* the net's middle is this many times narrower than the feature */

/* A layer as PyTorch starts it. */
static bool declare_linear(ts_prompt *p, const char *weight, const char *bias, int64_t out, int64_t in, ts_error *err)
{
    const double bound = 1 / sqrt((double)in);
    return ts_prompt_declare(p, weight, TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in}, TS_START_UNIFORM, bound, err) &&
           ts_prompt_declare(p, bias, TS_LAYOUT_PLAIN, 1, &out, TS_START_UNIFORM, bound, err);
}

static bool declare(ts_prompt *p, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    const int64_t middle = c->embed >= NARROW ? c->embed / NARROW : 1;
    return ts_prompt_declare_context(p, err) &&
           declare_linear(p, "meta_net.linear1.weight", "meta_net.linear1.bias", middle, c->embed, err) &&
           declare_linear(p, "meta_net.linear2.weight", "meta_net.linear2.bias", c->text_width, middle, err);
}

static ts_tensor *classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image)
{
    ts_graph *g = pg->g;
    ts_tensor *hidden = ts_relu(
        g, ts_linear(g, image, ts_prompt_param(pg, "meta_net.linear1.weight"), ts_prompt_param(pg, "meta_net.linear1.bias")));
    ts_tensor *shift = ts_linear(g, hidden, ts_prompt_param(pg, "meta_net.linear2.weight"),
                                 ts_prompt_param(pg, "meta_net.linear2.bias")); /* (1, T) */
    return ts_prompt_text_features(pg, chunk, ts_add(g, ts_prompt_param(pg, "ctx"), shift));
}

static bool recognise(const ts_weights *w, ts_method_settings *s)
{
    const ts_weight *ctx = ts_prompt_in_file(w, "ctx");
    if (!ctx || ctx->ndim != 2 || !ts_prompt_in_file(w, "meta_net.linear1.weight")) return false;
    s->context = (int)ctx->shape[0];
    return true;
}

const ts_method ts_method_cocoop = {
    .name = "cocoop",
    .about = "context shifted by what the picture shows (Zhou et al. 2022)",
    .settings = "context position words",
    .standard = {.per_class = 2, .position = TS_CLASS_END, .words = "a photo of a"},
    .recipe = {TS_RECIPE_DASSL, .lr = 0.002, .batch = 1, .epochs = 10},
    .per_image = true,
    .declare = declare,
    .classes = classes,
    .recognise = recognise,
};
