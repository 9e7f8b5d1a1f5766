/* vpt.c - VPT (Jia et al. 2022, arXiv 2203.12119) in CLIP's vision tower: P tokens between class token and patches, put in
 * after the positions and before ln_pre. Shallow: there only (eq. 4). Deep: the places of the prompts are overwritten by a
 * block's own tokens at its input (eq. 5). Written from the paper. */
#include "clip/prompt/method.h"

#include <math.h>

enum { MAX_LAYERS = 256 };

static bool declare(ts_prompt *p, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    const double bound = sqrt(6.0 / (3.0 * c->patch * c->patch + c->width)); /* Xavier, of a patch's projection */
    if (c->layers > MAX_LAYERS)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: a vision tower of %d blocks is too deep", p->method->name, c->layers);
    if (p->settings.depth == 0) p->settings.depth = c->layers;
    if (p->settings.depth > c->layers)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: depth is %d, and this model's vision tower has %d blocks", p->method->name,
                       p->settings.depth, c->layers);
    const int64_t tokens = p->settings.tokens, deep = p->settings.depth - 1;
    return ts_prompt_declare(p, "prompt_embeddings", TS_LAYOUT_PLAIN, 3, (int64_t[]){1, tokens, c->width}, TS_START_UNIFORM,
                             bound, err) &&
           (deep == 0 || ts_prompt_declare(p, "deep_prompt_embeddings", TS_LAYOUT_PLAIN, 3, (int64_t[]){deep, tokens, c->width},
                                           TS_START_UNIFORM, bound, err));
}

static ts_tensor *images(ts_prompt_graph *pg, ts_tensor *pixels)
{
    const ts_prompt *p = pg->prompt;
    const ts_clip_config *c = ts_clip_about(p->clip);
    const int64_t tokens = p->settings.tokens, width = c->width, deep_count = p->settings.depth - 1;
    ts_tensor *deep[MAX_LAYERS] = {0};
    if (deep_count > 0) {
        ts_tensor *all =
            ts_reshape(pg->g, ts_prompt_param(pg, "deep_prompt_embeddings"), 2, (int64_t[]){deep_count * tokens, width});
        for (int64_t i = 0; i < deep_count; i++) deep[i + 1] = ts_slice(pg->g, all, i * tokens, tokens);
    }
    ts_tensor *first = ts_reshape(pg->g, ts_prompt_param(pg, "prompt_embeddings"), 2, (int64_t[]){tokens, width});
    ts_tensor *with = ts_prompt_insert(pg, ts_clip_patches(pg->g, p->clip, pixels), first);
    return ts_clip_vision(pg->g, p->clip, with, deep_count > 0 ? deep : NULL);
}

static bool recognise(const ts_weights *w, bool deep, ts_method_settings *s)
{
    const ts_weight *first = ts_prompt_in_file(w, "prompt_embeddings"), *others = ts_prompt_in_file(w, "deep_prompt_embeddings");
    if (!first || first->ndim != 3 || deep != (others != NULL) || (others && others->ndim != 3)) return false;
    s->tokens = (int)first->shape[1];
    s->depth = others ? (int)others->shape[0] + 1 : 1;
    return true;
}

static bool recognise_shallow(const ts_weights *w, ts_method_settings *s)
{
    return recognise(w, false, s);
}

static bool recognise_deep(const ts_weights *w, ts_method_settings *s)
{
    return recognise(w, true, s);
}

/* The authors search the rate among 0.05 ... 50 for a linear head; for CLIP's logits, whose scale is 100, one near the low end.
 */
static const char NOTE[] = "Kept otherwise than its authors have it: CLIP's class features stand in place of a linear head, so "
                           "rate and weight decay, which they\n"
                           "search for, are such as suit those; pictures are cropped at random as CoOp's; a run of less than 100 "
                           "epochs warms up for a tenth\n"
                           "of it. As published, the first epoch of a warm-up has the rate 0.\n";

#define VPT_COMMON                                                                                                               \
    .text = "a photo of a {}.", .note = NOTE, .declare = declare, .images = images,                                              \
    .recipe = {.lr = 0.1,                                                                                                        \
               .lr_of_256 = true,                                                                                                \
               .momentum = 0.9,                                                                                                  \
               .weight_decay = 1e-4,                                                                                             \
               .batch = 128,                                                                                                     \
               .epochs = 100,                                                                                                    \
               .warm_kind = TS_WARM_FROM_ZERO,                                                                                   \
               .warm = 10,                                                                                                       \
               .crop = true}

const ts_method ts_method_vpt_shallow = {.name = "vpt-shallow",
                                         .about = "tokens beside the picture's, at the tower's input (Jia et al. 2022)",
                                         .settings = "tokens",
                                         .standard = {.tokens = 50, .depth = 1},
                                         .recognise = recognise_shallow,
                                         VPT_COMMON};

const ts_method ts_method_vpt_deep = {.name = "vpt-deep",
                                      .about = "tokens beside the picture's, fresh ones at every block (Jia et al. 2022)",
                                      .settings = "tokens depth",
                                      .standard = {.tokens = 10},
                                      .recognise = recognise_deep,
                                      VPT_COMMON};
