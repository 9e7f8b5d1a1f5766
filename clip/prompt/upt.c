/* upt.c - UPT (Zang et al. 2022, arXiv 2210.07225): n text and n vision tokens made together. Learnable vectors U (2n, T)
 * go through one small transformer layer, s = LN1(U + attention(U)),  out = s + W2 relu(W1 LN2(s)), whose first n rows stand
 * where CoOp's context stands, and whose last n, through a linear layer to the vision tower's width, where shallow VPT's tokens
 * do. The released code hands its attention, which expects (sequence, batch, T), a batch of sequences that are one vector long:
 * each vector attends to itself alone, and queries and keys are for nothing. `attention` is "true" for the published method and
 * "degenerate" for the released one.
 *
 * In training, dropout of 0.1 stands on the attention's weights, after it, within and after the feed-forward part. The layer runs
 * once for the pictures and once for the texts, with masks of their own, as published; they depend on the step's seed alone
 * beside that, so that a chunk that is computed again sees the same layer. */
#include "clip/prompt/method.h"

#include <math.h>
#include <stdio.h>

static const float drop = 0.1F;

static bool declare(ts_prompt *p, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    const int64_t t = c->text_width, w = c->width;
    const double bound = 1 / sqrt((double)t), xavier = sqrt(6.0 / (double)(4 * t));
    const struct {
        const char *name;
        ts_layout layout;
        int ndim;
        int64_t shape[3];
        ts_start start;
        double scale;
    } list[] = {
        {"uni_ctx", TS_LAYOUT_PLAIN, 3, {1, 2 * (int64_t)p->settings.tokens, t}, TS_START_NORMAL, 0.02},
        {"self_attn.in_proj_weight", TS_LAYOUT_LINEAR, 2, {3 * t, t}, TS_START_UNIFORM, xavier},
        {"self_attn.in_proj_bias", TS_LAYOUT_PLAIN, 1, {3 * t}, TS_START_VALUE, 0},
        {"self_attn.out_proj.weight", TS_LAYOUT_LINEAR, 2, {t, t}, TS_START_UNIFORM, bound},
        {"self_attn.out_proj.bias", TS_LAYOUT_PLAIN, 1, {t}, TS_START_VALUE, 0},
        {"norm1.weight", TS_LAYOUT_PLAIN, 1, {t}, TS_START_VALUE, 1},
        {"norm1.bias", TS_LAYOUT_PLAIN, 1, {t}, TS_START_VALUE, 0},
        {"norm2.weight", TS_LAYOUT_PLAIN, 1, {t}, TS_START_VALUE, 1},
        {"norm2.bias", TS_LAYOUT_PLAIN, 1, {t}, TS_START_VALUE, 0},
        {"linear1.weight", TS_LAYOUT_LINEAR, 2, {t, t}, TS_START_UNIFORM, bound},
        {"linear1.bias", TS_LAYOUT_PLAIN, 1, {t}, TS_START_UNIFORM, bound},
        {"linear2.weight", TS_LAYOUT_LINEAR, 2, {t, t}, TS_START_UNIFORM, bound},
        {"linear2.bias", TS_LAYOUT_PLAIN, 1, {t}, TS_START_UNIFORM, bound},
        {"mlp.weight", TS_LAYOUT_LINEAR, 2, {w, t}, TS_START_UNIFORM, bound},
        {"mlp.bias", TS_LAYOUT_PLAIN, 1, {w}, TS_START_UNIFORM, bound},
    };
    p->settings.context = p->settings.tokens;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!ts_prompt_declare(p, list[i].name, list[i].layout, list[i].ndim, list[i].shape, list[i].start, list[i].scale, err))
            return false;
    return true;
}

static void fill_drop(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)p;
    float *out = data;
    uint64_t state = ts_prompt_seed(seed, t->name);
    for (int64_t i = 0; i < ts_count(t); i++) out[i] = ts_uniform(&state) < (double)drop ? 0 : 1 / (1 - drop);
}

/* One drop for the whole of each row. */
static void fill_drop_rows(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)p;
    float *out = data;
    const int64_t width = t->shape[t->ndim - 1];
    uint64_t state = ts_prompt_seed(seed, t->name);
    for (int64_t i = 0; i < ts_count(t); i += width) {
        const float keep = ts_uniform(&state) < (double)drop ? 0 : 1 / (1 - drop);
        for (int64_t k = 0; k < width; k++) out[i + k] = keep;
    }
}

/* `side`: "text" or "vision". */
static ts_tensor *dropout_by(ts_prompt_graph *pg, const char *side, const char *where, ts_tensor *x, ts_prompt_fill fill)
{
    char name[48];
    if (!pg->training || !x) return x;
    snprintf(name, sizeof name, "drop.%s.%s", side, where);
    return ts_mul(pg->g, x, ts_prompt_input(pg, name, TS_REAL, x->ndim, x->shape, fill, true));
}

static ts_tensor *dropout(ts_prompt_graph *pg, const char *side, const char *where, ts_tensor *x)
{
    return dropout_by(pg, side, where, x, fill_drop);
}

static ts_tensor *linear(ts_prompt_graph *pg, ts_tensor *x, const char *weight, const char *bias)
{
    return ts_linear(pg->g, x, ts_prompt_param(pg, weight), ts_prompt_param(pg, bias));
}

static ts_tensor *norm(ts_prompt_graph *pg, ts_tensor *x, const char *weight, const char *bias)
{
    return ts_layernorm(pg->g, x, ts_prompt_param(pg, weight), ts_prompt_param(pg, bias), 1e-5F);
}

/* Of a packed qkv (R, 3T): where q, or k, has its rows, among (3R, T). */
static void fill_query_rows(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)p, (void)seed;
    for (int64_t i = 0; i < ts_count(t); i++) ((int32_t *)data)[i] = (int32_t)(3 * i);
}

static void fill_key_rows(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)p, (void)seed;
    for (int64_t i = 0; i < ts_count(t); i++) ((int32_t *)data)[i] = (int32_t)(3 * i + 1);
}

/* Where the numbers of v^T (T, R) stand, among 3RT. */
static void fill_values_turned(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)seed;
    const int64_t width = ts_clip_about(p->clip)->text_width, rows = ts_count(t) / width;
    for (int64_t c = 0; c < width; c++)
        for (int64_t r = 0; r < rows; r++) ((int32_t *)data)[c * rows + r] = (int32_t)((3 * r + 2) * width + c);
}

/* What is picked of x (N, C): (rows, width). */
static ts_tensor *picked(ts_prompt_graph *pg, ts_tensor *x, const char *side, const char *what, ts_prompt_fill fill,
                         int64_t count, const int64_t shape[2])
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s", what, side);
    ts_tensor *index = ts_prompt_input(pg, name, TS_I32, 2, (int64_t[]){1, count}, fill, false);
    return ts_reshape(pg->g, ts_gather(pg->g, x, index, NULL), 2, shape);
}

/* Attention with its weights in memory, where dropout finds them: qkv (R, 3T) -> drop(softmax(q k^T / sqrt(T))) v (R, T). */
static ts_tensor *dropped_attention(ts_prompt_graph *pg, const char *side, ts_tensor *qkv)
{
    if (!qkv) return NULL;
    ts_graph *g = pg->g;
    const int64_t rows = qkv->shape[0], width = qkv->shape[1] / 3, plain[] = {rows, width}, turned[] = {width, rows};
    ts_tensor *by_row = ts_reshape(g, qkv, 2, (int64_t[]){3 * rows, width});
    ts_tensor *by_number = ts_reshape(g, qkv, 2, (int64_t[]){3 * rows * width, 1});
    ts_tensor *q = picked(pg, by_row, side, "queries", fill_query_rows, rows, plain);
    ts_tensor *k = picked(pg, by_row, side, "keys", fill_key_rows, rows, plain);
    ts_tensor *v = picked(pg, by_number, side, "values", fill_values_turned, rows * width, turned);
    ts_tensor *scores = ts_scale(g, ts_linear(g, q, ts_as_weight(g, k), NULL), 1 / sqrtf((float)width), 0); /* (R, R) */
    ts_tensor *weights = dropout(pg, side, "weights", ts_softmax(g, scores));
    return ts_linear(g, weights, ts_as_weight(g, v), NULL);
}

/* qkv (R, 3T) -> (R, T) */
static ts_tensor *attention(ts_prompt_graph *pg, const char *side, ts_tensor *qkv, int64_t rows, int64_t width)
{
    const bool degenerate = pg->prompt->settings.attention == 2;
    const int64_t batch = degenerate ? rows : 1, length = degenerate ? 1 : rows;
    if (pg->training && !degenerate) return dropped_attention(pg, side, qkv);
    ts_tensor *a = ts_attention_qkv(pg->g, ts_reshape(pg->g, qkv, 3, (int64_t[]){batch, length, 3 * width}), 1, false);
    a = ts_reshape(pg->g, a, 2, (int64_t[]){rows, width});
    return degenerate ? dropout_by(pg, side, "weights", a, fill_drop_rows) : a; /* each row has one weight, 1 */
}

/* -> (2n, T) */
static ts_tensor *layer(ts_prompt_graph *pg, const char *side)
{
    ts_graph *g = pg->g;
    const int64_t rows = 2 * (int64_t)pg->prompt->settings.tokens, width = ts_clip_about(pg->prompt->clip)->text_width;
    ts_tensor *u = ts_reshape(g, ts_prompt_param(pg, "uni_ctx"), 2, (int64_t[]){rows, width});
    ts_tensor *qkv = linear(pg, u, "self_attn.in_proj_weight", "self_attn.in_proj_bias"); /* (2n, 3T) */
    ts_tensor *a = attention(pg, side, qkv, rows, width);
    a = linear(pg, a, "self_attn.out_proj.weight", "self_attn.out_proj.bias");
    ts_tensor *s = norm(pg, ts_add(g, u, dropout(pg, side, "attention", a)), "norm1.weight", "norm1.bias");
    ts_tensor *h = ts_relu(g, linear(pg, norm(pg, s, "norm2.weight", "norm2.bias"), "linear1.weight", "linear1.bias"));
    h = linear(pg, dropout(pg, side, "hidden", h), "linear2.weight", "linear2.bias");
    return ts_add(g, s, dropout(pg, side, "out", h));
}

static ts_tensor *images(ts_prompt_graph *pg, ts_tensor *pixels)
{
    const int64_t n = pg->prompt->settings.tokens;
    ts_tensor *prompts = linear(pg, ts_slice(pg->g, layer(pg, "vision"), n, n), "mlp.weight", "mlp.bias"); /* (n, W) */
    ts_tensor *tokens = ts_prompt_insert(pg, ts_clip_patches(pg->g, pg->prompt->clip, pixels), prompts);
    return ts_clip_vision(pg->g, pg->prompt->clip, tokens, NULL);
}

static ts_tensor *classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image)
{
    (void)image;
    return ts_prompt_text_features(pg, chunk, ts_slice(pg->g, layer(pg, "text"), 0, pg->prompt->settings.tokens));
}

static bool recognise(const ts_weights *w, ts_method_settings *s)
{
    const ts_weight *u = ts_prompt_in_file(w, "uni_ctx");
    if (!u || u->ndim != 3 || u->shape[1] < 2) return false;
    s->tokens = (int)(u->shape[1] / 2);
    return true;
}

const ts_method ts_method_upt = {
    .name = "upt",
    .about = "text and vision tokens made together (Zang et al. 2022)",
    .settings = "tokens attention",
    .note = "Kept otherwise than the released code has it: each of the 2 n vectors attends to all of them, as the paper says; "
            "--attention\n"
            "degenerate is the released one, in which each attends to itself alone.\n",
    .standard = {.per_class = 2, .position = TS_CLASS_END, .tokens = 4, .attention = 1},
    .recipe = {TS_RECIPE_DASSL, .lr = 0.002, .batch = 32, .epochs = 200},
    .declare = declare,
    .images = images,
    .classes = classes,
    .recognise = recognise,
};
