/* maple.c - MaPLe (Khattak et al. 2023, arXiv 2210.03117): context in the text tower, deep - the places of the context are
 * overwritten by a block's own vectors at its input (eq. 2) - and from each of these, by a linear layer, the tokens of the same
 * block of the vision tower (eq. 6). The context starts as the first words of "a photo of a"; the words left over stand frozen
 * before the class name.
 *
 * The published code puts the vision tokens behind the patches, here they stand before them, as VPT's do: no position is added to
 * them and attention minds no order, so it is the same. The published checkpoint's names are ours; the whole model that it holds
 * besides is ignored. */
#include "clip/prompt/method.h"

#include <math.h>
#include <stdio.h>

enum { USUAL_DEPTH = 9, MAX_DEPTH = 20, MAX_LAYERS = 256 };

typedef struct {
    char text[64], weight[64], bias[64];
} names;

/* Of block i: its context, and the layer from there to its vision tokens. */
static names names_of(int i)
{
    names n = {"ctx", "proj.weight", "proj.bias"};
    if (i > 0) {
        snprintf(n.text, sizeof n.text, "compound_prompts_text.%d", i - 1);
        snprintf(n.weight, sizeof n.weight, "compound_prompt_projections.%d.weight", i - 1);
        snprintf(n.bias, sizeof n.bias, "compound_prompt_projections.%d.bias", i - 1);
    }
    return n;
}

/* The first words as context, the others before the class name. */
static bool declare_context(ts_prompt *p, ts_error *err)
{
    if (p->settings.context <= 4) snprintf(p->settings.words, sizeof p->settings.words, "a photo of a");
    return ts_prompt_declare_context(p, err);
}

/* The layer of block i; those of the deeper blocks all start as copies of one. */
static bool declare_layer(ts_prompt *p, const names *n, int i, int64_t w, int64_t t, ts_error *err)
{
    const double bound = 1 / sqrt((double)t);
    const names one = names_of(1);
    struct ts_prompt_declared *d =
        ts_prompt_declare(p, n->weight, TS_LAYOUT_LINEAR, 2, (int64_t[]){w, t}, TS_START_UNIFORM, bound, err);
    if (d && i > 1) snprintf(d->like, sizeof d->like, "%s", one.weight);
    if (d) d = ts_prompt_declare(p, n->bias, TS_LAYOUT_PLAIN, 1, &w, TS_START_UNIFORM, bound, err);
    if (d && i > 1) snprintf(d->like, sizeof d->like, "%s", one.bias);
    return d != NULL;
}

static bool declare(ts_prompt *p, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    const int deepest = c->layers > c->text_layers ? c->layers : c->text_layers;
    if (deepest > MAX_LAYERS) return ts_fail(err, TS_ERR_UNSUPPORTED, "maple: a tower of %d blocks is too deep", deepest);
    const int least = c->layers < c->text_layers ? c->layers : c->text_layers, most = least < MAX_DEPTH ? least : MAX_DEPTH;
    if (p->settings.depth == 0) p->settings.depth = most < USUAL_DEPTH ? most : USUAL_DEPTH;
    if (p->settings.depth > most)
        return ts_fail(err, TS_ERR_ARGUMENT, "maple: depth is %d, and this model's towers have room for %d", p->settings.depth,
                       most);
    const int64_t context = p->settings.context, t = c->text_width, w = c->width;
    for (int i = 0; i < p->settings.depth; i++) {
        const names n = names_of(i);
        const bool made = i == 0 ? declare_context(p, err)
                                 : ts_prompt_declare(p, n.text, TS_LAYOUT_PLAIN, 2, (int64_t[]){context, t}, TS_START_NORMAL,
                                                     0.02, err) != NULL;
        if (!made || !declare_layer(p, &n, i, w, t, err)) return false;
    }
    return true;
}

/* The vision tokens of block i: (M, W). */
static ts_tensor *vision_tokens(ts_prompt_graph *pg, int i)
{
    const names n = names_of(i);
    return ts_linear(pg->g, ts_prompt_param(pg, n.text), ts_prompt_param(pg, n.weight), ts_prompt_param(pg, n.bias));
}

static ts_tensor *images(ts_prompt_graph *pg, ts_tensor *pixels)
{
    const ts_prompt *p = pg->prompt;
    ts_tensor *deep[MAX_LAYERS] = {0};
    for (int i = 1; i < p->settings.depth; i++) deep[i] = vision_tokens(pg, i);
    return ts_clip_vision(pg->g, p->clip, ts_prompt_insert(pg, ts_clip_patches(pg->g, p->clip, pixels), vision_tokens(pg, 0)),
                          deep);
}

static ts_tensor *classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image)
{
    (void)image;
    ts_tensor *deep[MAX_LAYERS] = {0};
    for (int i = 1; i < pg->prompt->settings.depth; i++) deep[i] = ts_prompt_param(pg, names_of(i).text);
    ts_tensor *embedded = ts_prompt_embedded(pg, chunk, ts_prompt_param(pg, "ctx"));
    return ts_clip_text(pg->g, pg->prompt->clip, embedded, chunk->end, deep);
}

static bool recognise(const ts_weights *w, ts_method_settings *s)
{
    const ts_weight *ctx = ts_prompt_in_file(w, "ctx");
    if (!ctx || ctx->ndim != 2 || !ts_prompt_in_file(w, "proj.weight")) return false;
    s->context = (int)ctx->shape[0];
    for (s->depth = 1; s->depth < MAX_DEPTH && ts_prompt_in_file(w, names_of(s->depth).text); s->depth++) {}
    return true;
}

const ts_method ts_method_maple = {
    .name = "maple",
    .about = "deep context, and vision tokens made from it (Khattak et al. 2023)",
    .settings = "context depth",
    .standard = {.context = 2, .per_class = 2, .position = TS_CLASS_END},
    .recipe = {TS_RECIPE_DASSL, .lr = 0.0035, .batch = 4, .epochs = 5},
    .declare = declare,
    .images = images,
    .classes = classes,
    .recognise = recognise,
};
