/* decoder.c - the mask decoder (Kirillov et al. 2023, appendix A): tokens and the picture look at each other twice, then each
 * mask's token becomes the weights of a product over the picture's enlarged map. All attentions' norms come after the addition.
 *
 * In the first layer the picture's side is the same for all prompts without a prior, so it is projected once (ts_sam_project),
 * and the tokens of all prompts look at it as if they were one prompt's. Shapes: B prompts, N tokens, L = side^2 places, E
 * numbers each, I inside a cross attention, M masks. */
#include "sam/internal.h"

#include <math.h>
#include <stdio.h>

enum { HEADS = TS_SAM_DECODER_HEADS };

static const float EPS = 1e-5f, EPS_OF_MAP = 1e-6f;

/* A layer's name behind the transformer's. */
static sam_name within(const char *block, const char *part)
{
    sam_name name;
    snprintf(name.s, sizeof name.s, "mask_decoder.transformer.%s%s", block, part);
    return name;
}

static ts_tensor *linear(ts_graph *g, const sam_model *m, const char *block, const char *part, ts_tensor *x, int64_t in,
                         int64_t out)
{
    return ts_sam_linear(g, m, within(block, part).s, x, in, out);
}

static ts_tensor *norm(ts_graph *g, const sam_model *m, const char *block, const char *part, ts_tensor *x)
{
    return ts_sam_norm(g, m, within(block, part).s, x, m->config.embed, EPS);
}

static ts_tensor *positions(ts_graph *g, const sam_model *m)
{
    const int64_t places = (int64_t)m->config.side * m->config.side;
    return ts_param(g, m->made, "dense_pe", TS_LAYOUT_PLAIN, 2, (int64_t[]){places, m->config.embed});
}

static ts_tensor *reshape3(ts_graph *g, ts_tensor *x, int64_t a, int64_t b, int64_t c)
{
    return ts_reshape(g, x, 3, (int64_t[]){a, b, c});
}

/* The picture's side of the look that `look` names, and of the picture's look at the tokens where there is one behind it. */
static sam_image project(ts_graph *g, const sam_model *m, const char *look, const char *back, ts_tensor *keys)
{
    const int64_t e = m->config.embed, inner = m->config.decoder_inner;
    sam_image image = {.keys = keys};
    ts_scope(g, "positions");
    ts_tensor *placed = ts_add(g, keys, positions(g, m)); // (B, L, E)
    image.k = linear(g, m, look, ".k_proj", placed, e, inner);
    image.v = linear(g, m, look, ".v_proj", keys, e, inner);
    if (back) image.q = linear(g, m, back, ".q_proj", placed, e, inner);
    return image;
}

/* The names of a layer's two looks. */
static void looks(int layer, char look[64], char back[64])
{
    snprintf(look, 64, "layers.%d.cross_attn_token_to_image", layer);
    snprintf(back, 64, "layers.%d.cross_attn_image_to_token", layer);
}

sam_image ts_sam_project(ts_graph *g, const sam_model *m, ts_tensor *keys)
{
    char look[64], back[64];
    looks(0, look, back);
    return project(g, m, look, back, keys);
}

/* (B, R, heads d) -> (B heads, R, d), and back */
static ts_tensor *split(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t batch = x->shape[0], rows = x->shape[1], dim = x->shape[2] / HEADS;
    x = ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){batch, rows, HEADS, dim}));
    return reshape3(g, x, batch * HEADS, rows, dim);
}

static ts_tensor *join(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t batch = x->shape[0] / HEADS, rows = x->shape[1], dim = x->shape[2];
    x = ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){batch, HEADS, rows, dim}));
    return reshape3(g, x, batch, rows, HEADS * dim);
}

/* Attention whose softmax gets `similarity` (L) added and is taken again (PerSAM, section 3.2). */
static ts_tensor *attend_guided(ts_graph *g, ts_tensor *q, ts_tensor *k, ts_tensor *v, ts_tensor *similarity)
{
    if (!q || !k || !v) return NULL;
    const int64_t dim = q->shape[2] / HEADS, places = k->shape[1];
    q = split(g, ts_scale(g, q, 1 / sqrtf((float)dim), 0));
    ts_tensor *scores = ts_linear_each(g, q, split(g, k)); // (B heads, N, L)
    ts_tensor *seen = ts_softmax(g, ts_add(g, ts_softmax(g, scores), similarity));
    ts_tensor *columns = split(g, v);
    if (!columns) return NULL;
    const int64_t batch = columns->shape[0];
    columns = ts_swap(g, ts_reshape(g, columns, 4, (int64_t[]){batch, places, dim, 1}));
    return join(g, ts_linear_each(g, seen, reshape3(g, columns, batch, dim, places)));
}

/* q (B, N, I) looks at k and v (B or 1, R, I). */
static ts_tensor *attend(ts_graph *g, ts_tensor *q, ts_tensor *k, ts_tensor *v, ts_tensor *similarity)
{
    if (!q || !k || !v) return NULL;
    const int64_t batch = q->shape[0], rows = q->shape[1], width = q->shape[2];
    if (k->shape[0] < batch) q = reshape3(g, q, 1, batch * rows, width);
    ts_tensor *y = similarity ? attend_guided(g, q, k, v, similarity) : ts_attention(g, q, k, v, HEADS, false);
    return reshape3(g, y, batch, rows, width);
}

/* queries + the tokens' look at the picture; `placed` are the queries with their positions. */
static ts_tensor *look_at_picture(ts_graph *g, const sam_model *m, const char *look, ts_tensor *queries, ts_tensor *placed,
                                  const sam_image *image, ts_tensor *similarity)
{
    const int64_t e = m->config.embed, inner = m->config.decoder_inner;
    ts_tensor *q = linear(g, m, look, ".q_proj", placed, e, inner);
    q = attend(g, q, image->k, image->v, similarity);
    return ts_add(g, linear(g, m, look, ".out_proj", q, inner, e), queries);
}

static ts_tensor *self_attention(ts_graph *g, const sam_model *m, const char *block, ts_tensor *placed, ts_tensor *values)
{
    const int64_t e = m->config.embed;
    ts_tensor *q = linear(g, m, block, ".self_attn.q_proj", placed, e, e);
    ts_tensor *k = linear(g, m, block, ".self_attn.k_proj", placed, e, e);
    ts_tensor *v = linear(g, m, block, ".self_attn.v_proj", values, e, e);
    return linear(g, m, block, ".self_attn.out_proj", ts_attention(g, q, k, v, HEADS, false), e, e);
}

/* What a layer makes of the tokens (B, N, E): `first` are those that the decoder got, their positions in all that follows. */
static ts_tensor *layer_tokens(ts_graph *g, const sam_model *m, int layer, ts_tensor *queries, ts_tensor *first,
                               const sam_image *image, ts_tensor *similarity)
{
    const int64_t e = m->config.embed, mlp = m->config.decoder_mlp;
    char block[32], look[64], back[64];
    snprintf(block, sizeof block, "layers.%d", layer);
    looks(layer, look, back);
    ts_tensor *q;
    if (layer == 0) q = self_attention(g, m, block, queries, queries); /* takes the queries' place, and without positions */
    else q = ts_add(g, self_attention(g, m, block, ts_add(g, queries, first), queries), queries);
    q = norm(g, m, block, ".norm1", q);
    q = norm(g, m, block, ".norm2", look_at_picture(g, m, look, q, ts_add(g, q, first), image, similarity));
    ts_tensor *h = ts_relu(g, linear(g, m, block, ".mlp.lin1", q, e, mlp));
    h = linear(g, m, block, ".mlp.lin2", h, mlp, e);
    return norm(g, m, block, ".norm3", ts_add(g, h, q));
}

/* What it makes of the picture, which looks at the tokens: keys (B, L, E). */
static ts_tensor *layer_picture(ts_graph *g, const sam_model *m, int layer, ts_tensor *queries, ts_tensor *first,
                                const sam_image *image)
{
    const int64_t e = m->config.embed, inner = m->config.decoder_inner;
    char block[32], look[64], back[64];
    snprintf(block, sizeof block, "layers.%d", layer);
    looks(layer, look, back);
    ts_tensor *k = linear(g, m, back, ".k_proj", ts_add(g, queries, first), e, inner);
    ts_tensor *v = linear(g, m, back, ".v_proj", queries, e, inner); // (B, N, I)
    ts_tensor *q = image->q;
    if (!k || !q || !image->keys) return NULL;
    const int64_t batch = k->shape[0], places = q->shape[1];
    if (q->shape[0] < batch) q = reshape3(g, ts_repeat(g, q, batch), batch, places, inner);
    ts_tensor *h = linear(g, m, back, ".out_proj", ts_attention(g, q, k, v, HEADS, false), inner, e); // (B, L, E)
    ts_tensor *keys = image->keys;
    if (keys->shape[0] < batch) keys = ts_reshape(g, keys, 2, (int64_t[]){places, e});
    return norm(g, m, block, ".norm4", ts_add(g, h, keys));
}

/* Three layers with ReLU between: x (B, 1, in) -> (B, 1, out) */
static ts_tensor *perceptron(ts_graph *g, const sam_model *m, const char *name, ts_tensor *x, int64_t in, int64_t inner,
                             int64_t out)
{
    for (int i = 0; i < 3; i++) {
        char layer[96];
        snprintf(layer, sizeof layer, "mask_decoder.%s.layers.%d", name, i);
        if (i > 0) x = ts_relu(g, x);
        x = ts_sam_linear(g, m, layer, x, i == 0 ? in : inner, i == 2 ? out : inner);
    }
    return x;
}

/* A transposed convolution with kernel and stride 2 as a linear layer: each place gives its four pixels' `out` numbers. */
static ts_tensor *enlarge(ts_graph *g, const sam_model *m, int number, ts_tensor *x, int64_t in, int64_t out)
{
    char name[32];
    ts_scope(g, "mask_decoder.output_upscaling.%d", number);
    snprintf(name, sizeof name, "turned.%d.weight", number);
    ts_tensor *w = ts_param(g, m->made, name, TS_LAYOUT_LINEAR, 2, (int64_t[]){4 * out, in});
    snprintf(name, sizeof name, "turned.%d.bias", number);
    return ts_linear(g, x, w, ts_param(g, m->made, name, TS_LAYOUT_PLAIN, 1, (int64_t[]){4 * out}));
}

/* keys (B, L, E), queries (B, N, E) -> (B, low, low, M). Norms, GELU and products are each place's own affair, so that pixels are
 * put in order last, when there are few numbers left of them: until then a place's 16 pixels stand together. */
static ts_tensor *paint(ts_graph *g, const sam_model *m, ts_tensor *keys, ts_tensor *queries, bool multimask)
{
    const ts_sam_config *c = &m->config;
    const int64_t batch = queries ? queries->shape[0] : 0, side = c->side, places = side * side;
    const int64_t e = c->embed, u0 = c->upscaled[0], u1 = c->upscaled[1], count = ts_sam_mask_count(c, multimask);
    ts_tensor *weights = NULL; // (B, M, u1)
    for (int i = 0; i < count; i++) {
        const int mask = ts_sam_first_mask(multimask) + i;
        char name[64];
        snprintf(name, sizeof name, "output_hypernetworks_mlps.%d", mask);
        ts_tensor *w = perceptron(g, m, name, ts_slice(g, queries, 1 + mask, 1), e, e, u1);
        weights = i == 0 ? w : ts_concat(g, weights, w);
    }
    ts_tensor *x = reshape3(g, enlarge(g, m, 0, keys, e, u0), batch, places * 4, u0);
    x = ts_gelu(g, ts_sam_norm(g, m, "mask_decoder.output_upscaling.1", x, u0, EPS_OF_MAP));
    x = reshape3(g, ts_gelu(g, enlarge(g, m, 3, x, u0, u1)), batch, places * 16, u1);
    ts_scope(g, "masks");
    x = ts_linear_each(g, x, weights); // (B, 16 L, M)
    x = ts_reshape(g, x, 4, (int64_t[]){batch, side, side, 16 * count});
    return ts_pixel_shuffle(g, ts_pixel_shuffle(g, x, 2), 2);
}

sam_decoded ts_sam_decode(ts_graph *g, const sam_model *m, ts_tensor *tokens, const sam_image *image, const sam_decode *how)
{
    const ts_sam_config *c = &m->config;
    ts_tensor *target = how->target;
    ts_tensor *first = target ? ts_add(g, tokens, target) : tokens; // (B, N, E)
    ts_tensor *queries = first;
    sam_image at = *image;
    for (int i = 0; i < c->decoder_depth; i++) {
        char look[64], back[64];
        const bool last = i + 1 == c->decoder_depth;
        if (i > 0 && target) queries = ts_add(g, queries, target);
        queries = layer_tokens(g, m, i, queries, first, &at, how->similarity);
        ts_tensor *keys = layer_picture(g, m, i, queries, first, &at);
        looks(i + 1, look, back);
        at = project(g, m, last ? "final_attn_token_to_image" : look, last ? NULL : back, keys);
    }
    ts_tensor *placed = ts_add(g, queries, first);
    if (target) placed = ts_add(g, placed, target);
    queries = look_at_picture(g, m, "final_attn_token_to_image", queries, placed, &at, NULL);
    queries = norm(g, m, "", "norm_final_attn", queries);
    sam_decoded out = {.masks = paint(g, m, at.keys, queries, how->multimask)};
    out.scores = perceptron(g, m, "iou_prediction_head", ts_slice(g, queries, 0, 1), c->embed, c->score_width, c->masks);
    return out;
}
