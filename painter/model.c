/* model.c - Painter and SegGPT as graph. Shapes: n canvases of (2r, r) pixels, T = H W tokens of which the lower half, T/2, are
 * the query's; D the width.
 *
 * With several examples (SegGPT, section 3.3, feature ensemble) what the query's tokens see is, in every block, the mean over the
 * examples. All canvases have the same query, so that those tokens are the same on all of them in every layer: they are kept
 * once, behind the rows of all the examples, and only attention puts them into each canvas. The published code has them n times.
 */
#include "painter/internal.h"

#include <stdio.h>
#include <stdlib.h>

static const float EPS = 1e-6F;
enum { MERGE = 2 }; /* the two streams become one after this block */
static const int TAPS[TS_PAINTER_TAPS] = {5, 11, 17, 23};

/* One forward pass. Tokens go through it as rows (1, R, D): canvas after canvas, T each; or, where the query is shared, the upper
 * halves of all canvases and then the query's rows. While there are two streams, the targets' rows stand behind the pictures'. */
typedef struct {
    ts_graph *g;
    const ts_painter *p;
    ts_vit v;
    int64_t n, height, width, dim; /* H, W, D */
    bool shared;
    bool recompute;
} pass;

static int64_t half_of(const pass *s)
{
    return s->height * s->width / 2;
}

/* Rows of one stream. */
static int64_t rows_of(const pass *s)
{
    return s->shared ? (s->n + 1) * half_of(s) : s->n * 2 * half_of(s);
}

static pass pass_new(ts_graph *g, const ts_painter *p, const ts_painter_canvases *in)
{
    const ts_painter_config *c = &p->config;
    const int64_t *shape = in->pictures->shape;
    pass s = {.g = g,
              .p = p,
              .n = shape[0],
              .height = shape[1] / c->patch,
              .width = shape[2] / c->patch,
              .dim = c->dim,
              .shared = in->ensemble && shape[0] > 1,
              .recompute = in->recompute};
    const int columns = c->side / c->patch;
    s.v = (ts_vit){.g = g,
                   .params = p->params,
                   .prefix = p->blocks.s,
                   .names = p->layout.block,
                   .width = c->dim,
                   .depth = c->depth,
                   .heads = c->heads,
                   .mlp = c->mlp,
                   .eps = EPS,
                   .map = {.height = (int)s.height,
                           .width = (int)s.width,
                           .rows_h = 4 * columns - 1, /* the tables of a canvas twice as high as wide */
                           .rows_w = 2 * columns - 1}};
    return s;
}

static ts_tensor *as_rows(const pass *s, ts_tensor *x)
{
    return x ? ts_reshape(s->g, x, 2, (int64_t[]){ts_count(x) / x->shape[x->ndim - 1], x->shape[x->ndim - 1]}) : NULL;
}

static ts_tensor *as_canvases(const pass *s, ts_tensor *x, int64_t canvases)
{
    if (!x) return NULL;
    const int64_t last = x->shape[x->ndim - 1];
    return ts_reshape(s->g, x, 3, (int64_t[]){canvases, ts_count(x) / last / canvases, last});
}

/* ---- tokens ---- */

static ts_tensor *param(const pass *s, const char *layer, const char *part, ts_layout layout, int ndim, const int64_t *shape)
{
    char name[112];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return ts_param(s->g, s->p->params, name, layout, ndim, shape);
}

/* Parameter (1, 1, 1, D) as (D). */
static ts_tensor *token(const pass *s, const char *part)
{
    const painter_name name = ts_painter_name(&s->p->layout, part);
    ts_tensor *t = ts_param(s->g, s->p->params, name.s, TS_LAYOUT_PLAIN, 4, (int64_t[]){1, 1, 1, s->dim});
    return ts_reshape(s->g, t, 1, &s->dim);
}

/* pixels (n, 2r, r, 3) -> (n, T, D) */
static ts_tensor *patches(const pass *s, ts_tensor *pixels)
{
    const int64_t side = s->p->config.patch;
    const painter_name layer = ts_painter_name(&s->p->layout, s->p->layout.names->patches);
    ts_tensor *w = param(s, layer.s, "weight", TS_LAYOUT_CONV, 4, (int64_t[]){s->dim, 3, side, side});
    ts_tensor *b = param(s, layer.s, "bias", TS_LAYOUT_PLAIN, 1, &s->dim);
    return as_canvases(s, ts_conv2d(s->g, pixels, w, b, &(ts_conv_desc){.stride = (int)side}), s->n);
}

/* The file's square of positions, brought to the canvas: (T, D). */
static ts_tensor *positions(const pass *s)
{
    const int64_t side = s->p->config.positions, count = 1 + side * side;
    const painter_name name = ts_painter_name(&s->p->layout, s->p->layout.names->positions);
    ts_scope(s->g, "%s", name.s);
    ts_tensor *t = ts_param(s->g, s->p->params, name.s, TS_LAYOUT_PLAIN, 3, (int64_t[]){1, count, s->dim});
    t = ts_reshape(s->g, ts_slice(s->g, t, 1, side * side), 4, (int64_t[]){1, side, side, s->dim});
    return as_rows(s, ts_resample(s->g, t, s->height, s->width, true));
}

/* What SegGPT is told, at each token: (n, T, D). */
static ts_tensor *kinds(const pass *s, ts_tensor *kind)
{
    const painter_names *names = s->p->layout.names;
    ts_tensor *instance = as_rows(s, token(s, names->instance)), *semantic = as_rows(s, token(s, names->semantic));
    return ts_gather(s->g, ts_concat(s->g, instance, semantic), kind, NULL);
}

/* x (n, T, D) as the rows of one stream. */
static ts_tensor *rows(const pass *s, ts_tensor *x)
{
    if (!s->shared) return as_rows(s, x);
    const int64_t half = half_of(s);
    ts_tensor *examples = as_rows(s, ts_slice(s->g, x, 0, half));
    return ts_concat(s->g, examples, ts_slice(s->g, as_rows(s, x), half, half));
}

/* Both streams' tokens: (1, 2R, D). */
static ts_tensor *embed(const pass *s, const ts_painter_canvases *in)
{
    const painter_names *names = s->p->layout.names;
    ts_scope(s->g, "embed");
    ts_tensor *place = positions(s);
    ts_tensor *a = patches(s, in->pictures), *b = patches(s, in->targets);
    b = ts_gather(s->g, b, in->shown, token(s, names->mask));
    a = ts_add(s->g, a, ts_add(s->g, place, token(s, names->picture)));
    b = ts_add(s->g, b, ts_add(s->g, place, token(s, names->target)));
    if (s->p->config.segments) {
        ts_tensor *told = kinds(s, in->kind);
        a = ts_add(s->g, a, told);
        b = ts_add(s->g, b, told);
    }
    a = rows(s, a);
    return as_canvases(s, ts_concat(s->g, a, rows(s, b)), 1);
}

/* ---- blocks ---- */

/* What the tokens of a stream see of each other where the query's are shared; qkv (R, 3D) -> (R, D). */
static ts_tensor *look_shared(const pass *s, int block, ts_tensor *qkv)
{
    const int64_t half = half_of(s), examples = s->n * half;
    ts_tensor *own = as_canvases(s, ts_slice(s->g, qkv, 0, examples), s->n);
    ts_tensor *seen = ts_vit_look(&s->v, block, ts_concat(s->g, own, ts_slice(s->g, qkv, examples, half))); // (n, T, D)
    ts_tensor *mean = ts_sum_leading(s->g, ts_slice(s->g, seen, half, half), 2);
    mean = ts_scale(s->g, mean, 1 / (float)s->n, 0); // (T/2, D)
    return ts_concat(s->g, as_rows(s, ts_slice(s->g, seen, 0, half)), mean);
}

static ts_tensor *look(const pass *s, int block, ts_tensor *qkv, int streams)
{
    if (!s->shared) return as_canvases(s, ts_vit_look(&s->v, block, as_canvases(s, qkv, streams * s->n)), 1);
    ts_tensor *all = as_rows(s, qkv), *seen = look_shared(s, block, ts_slice(s->g, all, 0, rows_of(s)));
    if (streams == 2) {
        ts_tensor *second = look_shared(s, block, ts_slice(s->g, all, rows_of(s), rows_of(s)));
        seen = ts_concat(s->g, seen, second);
    }
    return as_canvases(s, seen, 1);
}

/* As ts_vit_block; the mean over examples stands before `proj` here, which is linear. */
static ts_tensor *run_block(const pass *s, int block, ts_tensor *x, int streams)
{
    if (s->recompute) ts_recompute_begin(s->g);
    ts_tensor *seen = look(s, block, ts_vit_qkv(&s->v, block, x), streams);
    x = ts_add(s->g, ts_vit_project(&s->v, block, seen), x);
    x = ts_add(s->g, ts_vit_feed(&s->v, block, x), x);
    if (s->recompute) ts_recompute_end(s->g);
    return x;
}

/* (1, 2R, D) -> the tapped (1, R, D). */
static void run_blocks(const pass *s, ts_tensor *x, ts_tensor *taps[TS_PAINTER_TAPS])
{
    int tap = 0;
    for (int i = 0; i < s->p->config.depth; i++) {
        x = run_block(s, i, x, i <= MERGE ? 2 : 1);
        if (i == MERGE) {
            ts_scope(s->g, "merge");
            ts_tensor *a = ts_slice(s->g, x, 0, rows_of(s)), *b = ts_slice(s->g, x, rows_of(s), rows_of(s));
            x = ts_scale(s->g, ts_add(s->g, a, b), 0.5F, 0);
        }
        if (tap < TS_PAINTER_TAPS && i == TAPS[tap]) taps[tap++] = x;
    }
}

static ts_tensor *norm(const pass *s, ts_tensor *x)
{
    return ts_vit_norm(s->g, s->p->params, ts_painter_name(&s->p->layout, s->p->layout.names->norm).s, x, s->dim, EPS);
}

/* ---- head ---- */

/* The four taps (B, places, D), places of `height` rows of the map -> pixels (B, height patch, r, 3). */
static ts_tensor *head(const pass *s, ts_tensor *const taps[TS_PAINTER_TAPS], int64_t height)
{
    const painter_names *names = s->p->layout.names;
    const int64_t patch = s->p->config.patch, channels = s->p->config.decoder_dim, wide = TS_PAINTER_TAPS * s->dim;
    if (!taps[0]) return NULL;
    const int64_t batch = taps[0]->shape[0], places = batch * height * s->width;
    ts_scope(s->g, "head");
    ts_tensor *x = NULL;
    for (int i = 0; i < TS_PAINTER_TAPS; i++) {
        ts_tensor *tap = ts_reshape(s->g, taps[i], 3, (int64_t[]){places, 1, s->dim});
        x = i == 0 ? tap : ts_concat(s->g, x, tap);
    }
    x = ts_reshape(s->g, x, 4, (int64_t[]){batch, height, s->width, wide}); // channels of a place one after the other
    x = ts_vit_linear(s->g, s->p->params, names->embed, x, wide, patch * patch * channels);
    x = ts_pixel_shuffle(s->g, x, patch); // (B, height patch, r, channels)
    ts_scope(s->g, "%s", names->conv);
    ts_tensor *w = param(s, names->conv, "weight", TS_LAYOUT_CONV, 4, (int64_t[]){channels, channels, 3, 3});
    ts_tensor *b = param(s, names->conv, "bias", TS_LAYOUT_PLAIN, 1, &channels);
    x = ts_conv2d(s->g, x, w, b, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1});
    x = ts_gelu(s->g, ts_vit_norm(s->g, s->p->params, names->conv_norm, x, channels, EPS));
    ts_scope(s->g, "%s", names->last);
    w = param(s, names->last, "weight", TS_LAYOUT_LINEAR, 4, (int64_t[]){3, channels, 1, 1});
    return ts_linear(s->g, x, w, param(s, names->last, "bias", TS_LAYOUT_PLAIN, 1, (int64_t[]){3}));
}

/* All of a tap: (1, R, D) -> (n, T, D). */
static ts_tensor *whole_tap(const pass *s, ts_tensor *x)
{
    x = norm(s, x);
    if (!s->shared) return as_canvases(s, x, s->n);
    const int64_t half = half_of(s), examples = s->n * half;
    ts_tensor *all = as_rows(s, x), *own = as_canvases(s, ts_slice(s->g, all, 0, examples), s->n);
    return ts_concat(s->g, own, ts_slice(s->g, all, examples, half));
}

/* Of the first canvas the query's places, and the row above them, which the convolution sees: (1, R, D) -> (1, W + T/2, D). */
static ts_tensor *answer_tap(const pass *s, ts_tensor *x)
{
    const int64_t half = half_of(s);
    if (!s->shared) return norm(s, ts_slice(s->g, x, half - s->width, s->width + half));
    ts_tensor *above = ts_slice(s->g, x, half - s->width, s->width);
    return norm(s, ts_concat(s->g, above, ts_slice(s->g, x, s->n * half, half)));
}

ts_tensor *ts_painter_predict(ts_graph *g, const ts_painter *p, const ts_painter_canvases *in, ts_tensor **features)
{
    ts_tensor *taps[TS_PAINTER_TAPS] = {0};
    if (!in->pictures || !in->targets) return NULL;
    const pass s = pass_new(g, p, in);
    run_blocks(&s, embed(&s, in), taps);
    for (int i = 0; i < TS_PAINTER_TAPS; i++) taps[i] = whole_tap(&s, taps[i]);
    for (int i = 0; features && i < TS_PAINTER_TAPS; i++) features[i] = taps[i];
    return head(&s, taps, s.height);
}

ts_tensor *ts_painter_answer(ts_graph *g, const ts_painter *p, const ts_painter_canvases *in)
{
    ts_tensor *taps[TS_PAINTER_TAPS] = {0};
    if (!in->pictures || !in->targets) return NULL;
    const pass s = pass_new(g, p, in);
    run_blocks(&s, embed(&s, in), taps);
    for (int i = 0; i < TS_PAINTER_TAPS; i++) taps[i] = answer_tap(&s, taps[i]);
    const int64_t side = in->pictures->shape[2], above = p->config.patch * side;
    ts_tensor *y = as_rows(&s, head(&s, taps, 1 + s.height / 2)); // ((patch + r) r, 3)
    return ts_reshape(g, ts_slice(g, y, above, side * side), 3, (int64_t[]){side, side, 3});
}

/* ---- inputs ---- */

ts_painter_canvases ts_painter_canvases_new(ts_graph *g, const ts_painter *p, int64_t n, int side)
{
    const int64_t shape[] = {n, 2 * (int64_t)side, side, 3};
    const int64_t places[] = {n, 2 * ((int64_t)side / p->config.patch) * (side / p->config.patch)};
    ts_painter_canvases in = {.pictures = ts_input(g, "pictures", TS_REAL, 4, shape)};
    in.targets = ts_input(g, "targets", TS_REAL, 4, shape);
    in.shown = ts_input(g, "shown", TS_I32, 2, places);
    if (p->config.segments) in.kind = ts_input(g, "kind", TS_I32, 2, places);
    return in;
}

bool ts_painter_canvases_write(ts_exec *e, const ts_painter_canvases *in, const uint8_t *hidden, const ts_painter_kind *kinds_of,
                               ts_error *err)
{
    const int64_t count = ts_count(in->shown);
    if (count == 0) return ts_fail(err, TS_ERR_ARGUMENT, "the inputs were not made");
    const int64_t tokens = in->shown->shape[1];
    int32_t *numbers = malloc((size_t)count * sizeof *numbers);
    if (!numbers) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", (int)(count / tokens));
    for (int64_t i = 0; i < count; i++) {
        const int64_t t = i % tokens;
        numbers[i] = (hidden ? hidden[i] != 0 : t >= tokens / 2) ? -1 : (int32_t)t;
    }
    bool ok = ts_write(e, in->shown, numbers, err);
    for (int64_t i = 0; ok && in->kind && i < count; i++) numbers[i] = kinds_of ? (int32_t)kinds_of[i / tokens] : 0;
    ok = ok && (!in->kind || ts_write(e, in->kind, numbers, err));
    free(numbers);
    return ok;
}
