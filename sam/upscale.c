/* upscale.c - the decoder's masks at the picture's size. Published are two steps: to the network's size, cut to what the picture
 * covers there, and to the picture's, each bilinear and without antialiasing. Both are linear and go along one axis at a time, so
 * an output place's share of the decoder's mask is worked out once for each axis, exactly; the two steps are then one.
 *
 * Along x first, then along y, wherever it is done, so that a pixel has the same bits by every way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/real.h"
#include "sam/internal.h"

/* ---- shares ---- */

/* What place `o` of `out` looks at among `in` places: at[0] by 1 - t and at[1] by t. */
typedef struct {
    int at[2];
    double t;
} linear;

static linear linear_of(int o, int in, int out)
{
    /* In whole numbers: p = place / (2 out). */
    const int64_t two = 2 * (int64_t)out;
    int64_t place = (2 * (int64_t)o + 1) * in - out;
    if (place < 0) place = 0;
    const int base = (int)(place / two);
    return (linear){{base, base + 1 < in ? base + 1 : in - 1}, (double)(place % two) / (double)two};
}

/* The shares of an axis: `out` places of the picture, `inner` of `network` that it covers, `low` of the decoder's. */
static sam_taps *axis(int out, int inner, int network, int low)
{
    sam_taps *list = calloc((size_t)out, sizeof *list);
    for (int o = 0; list && o < out; o++) {
        const linear to = linear_of(o, inner, out);
        const int first = linear_of(to.at[0], low, network).at[0];
        list[o].base = first <= low - SAM_TAPS ? first : low - SAM_TAPS;
        double weight[SAM_TAPS] = {0};
        for (int i = 0; i < 2; i++) {
            const linear from = linear_of(to.at[i], low, network);
            const double share = i ? to.t : 1 - to.t;
            weight[from.at[0] - list[o].base] += share * (1 - from.t);
            weight[from.at[1] - list[o].base] += share * from.t;
        }
        for (int i = 0; i < SAM_TAPS; i++) list[o].weight[i] = (float)weight[i];
    }
    return list;
}

/* Sets their number. */
static sam_stretch *stretches(const sam_taps *taps, int places, int *count)
{
    sam_stretch *list = calloc((size_t)places, sizeof *list);
    *count = 0;
    for (int i = 0; list && i < places; i++) {
        if (*count == 0 || list[*count - 1].base != taps[i].base)
            list[(*count)++] = (sam_stretch){.base = taps[i].base, .begin = i};
        list[*count - 1].end = i + 1;
    }
    return list;
}

bool ts_sam_scaler_new(const ts_sam_config *c, int width, int height, int inner_width, int inner_height, sam_scaler *out,
                       ts_error *err)
{
    *out = (sam_scaler){.width = width,
                        .height = height,
                        .low = c->low,
                        .x = axis(width, inner_width, c->picture, c->low),
                        .y = axis(height, inner_height, c->picture, c->low)};
    if (out->y) out->rows = stretches(out->y, height, &out->row_count);
    if (out->x && out->rows) return true;
    ts_sam_scaler_clear(out);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for masks of %d x %d pixels", width, height);
}

void ts_sam_scaler_clear(sam_scaler *k)
{
    free(k->x);
    free(k->y);
    free(k->rows);
    *k = (sam_scaler){0};
}

static inline float mixed(const float *x, const float weight[SAM_TAPS], int64_t step)
{
    return weight[0] * x[0] + weight[1] * x[step] + weight[2] * x[2 * step] + weight[3] * x[3 * step];
}

/* ---- whole ---- */

typedef struct {
    const sam_scaler *k;
    const float *wide; /* (low, width) */
    float *full;       /* one of the two */
    uint8_t *mask;
} whole_job;

TS_CLONES static void whole_rows(void *ctx, int64_t begin, int64_t end)
{
    const whole_job *j = ctx;
    const int64_t width = j->k->width;
    for (int64_t y = begin; y < end; y++) {
        const sam_taps *t = &j->k->y[y];
        const float *from = j->wide + t->base * width;
        if (j->full)
            for (int64_t x = 0; x < width; x++) j->full[y * width + x] = mixed(from + x, t->weight, width);
        if (j->mask)
            for (int64_t x = 0; x < width; x++) j->mask[y * width + x] = mixed(from + x, t->weight, width) > 0;
    }
}

static bool whole(const ts_sam *s, const float *low, float *full, uint8_t *mask, ts_error *err)
{
    const sam_scaler *k = &s->scaler;
    if (s->width == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture that a mask could be brought to the size of");
    float *wide = malloc((size_t)k->low * (size_t)k->width * sizeof *wide);
    if (!wide) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask of %d x %d pixels", k->width, k->height);
    for (int64_t y = 0; y < k->low; y++)
        for (int64_t x = 0; x < k->width; x++) wide[y * k->width + x] = mixed(low + y * k->low + k->x[x].base, k->x[x].weight, 1);
    whole_job job = {k, wide, full, mask};
    ts_parallel(s->dev->threads, k->height, 64, whole_rows, &job);
    free(wide);
    return true;
}

bool ts_sam_full(const ts_sam *s, const float *low, float *out, ts_error *err)
{
    return whole(s, low, out, NULL, err);
}

bool ts_sam_mask(const ts_sam *s, const float *low, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    if (s->width == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture that a mask could be brought to the size of");
    if (!ts_mask_new(s->width, s->height, out, err)) return false;
    if (whole(s, low, NULL, out->data, err)) return true;
    ts_mask_clear(out);
    return false;
}

/* ---- as runs ---- */

typedef struct {
    ts_rle *rle;
    int64_t room;
    uint32_t open; /* the run that is not yet written */
    bool inside;   /* what it is of */
    bool full;     /* no memory */
} runs;

static void close_run(runs *r)
{
    if (r->rle->count == r->room) {
        const int64_t room = r->room ? 2 * r->room : 256;
        uint32_t *grown = realloc(r->rle->run, (size_t)room * sizeof *grown);
        if (!grown) {
            r->full = true;
            return;
        }
        r->rle->run = grown;
        r->room = room;
    }
    r->rle->run[r->rle->count++] = r->open;
    r->open = 0;
}

static void add_run(runs *r, bool inside, int64_t count)
{
    if (count == 0 || r->full) return;
    if (inside != r->inside) close_run(r);
    r->inside = inside;
    r->open += (uint32_t)count;
}

/* One column of pixels, from the decoder's column at its place: where all that a stretch of pixels looks at is on one side of a
 * cut, so are they, since they lie between. Most stretches are not near an edge. */
typedef struct {
    const sam_scaler *k;
    float offset;
    const float *low;         /* (low) */
    float *least, *most;      /* (low): of the SAM_TAPS from there on */
    int64_t above, not_below; /* counts: > offset, > -offset */
} column;

TS_CLONES static void find_bounds(const column *c)
{
    for (int64_t i = 0; i + SAM_TAPS <= c->k->low; i++) {
        const float *x = c->low + i;
        const float a = x[0] < x[1] ? x[0] : x[1], b = x[2] < x[3] ? x[2] : x[3];
        const float d = x[0] > x[1] ? x[0] : x[1], e = x[2] > x[3] ? x[2] : x[3];
        c->least[i] = a < b ? a : b;
        c->most[i] = d > e ? d : e;
    }
}

static void count_column(column *c, runs *r)
{
    for (int k = 0; k < c->k->row_count; k++) {
        const sam_stretch *t = &c->k->rows[k];
        const float least = c->least[t->base], most = c->most[t->base];
        if (least > c->offset || most <= -c->offset) {
            const bool inside = least > c->offset;
            c->above += inside ? t->end - t->begin : 0;
            c->not_below += inside ? t->end - t->begin : 0;
            add_run(r, inside, t->end - t->begin);
            continue;
        }
        for (int i = t->begin; i < t->end; i++) {
            const float value = mixed(c->low + t->base, c->k->y[i].weight, 1);
            c->above += value > c->offset;
            c->not_below += value > -c->offset;
            add_run(r, value > 0, 1);
        }
    }
}

/* out = the decoder's column at output column `t`; turned (low, low): its columns as rows. */
TS_CLONES static void mix_column(const float *turned, int64_t low, const sam_taps *t, float *out)
{
    const float *from = turned + t->base * low;
    for (int64_t i = 0; i < low; i++) out[i] = mixed(from + i, t->weight, low);
}

static void all_columns(const sam_scaler *k, const float *turned, const sam_cutting *how, column *c, float *at, runs *r)
{
    add_run(r, false, (int64_t)how->left * how->height);
    for (int64_t x = 0; x < k->width; x++) {
        mix_column(turned, k->low, &k->x[x], at);
        find_bounds(c);
        add_run(r, false, how->top);
        count_column(c, r);
        add_run(r, false, how->height - how->top - k->height);
    }
    add_run(r, false, (int64_t)(how->width - how->left - k->width) * how->height);
    if (!r->full) close_run(r);
}

bool ts_sam_runs(const sam_scaler *k, const float *low, const sam_cutting *how, ts_rle *out, double *stability, ts_error *err)
{
    const int64_t side = k->low;
    *out = (ts_rle){.width = how->width, .height = how->height};
    float *memory = malloc((size_t)(side * side + 3 * side) * sizeof *memory);
    if (!memory) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask");
    float *turned = memory, *at = turned + side * side;
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < side; x++) turned[x * side + y] = low[y * side + x];
    column c = {.k = k, .offset = (float)how->offset, .low = at, .least = at + side, .most = at + 2 * side};
    runs r = {.rle = out};
    all_columns(k, turned, how, &c, at, &r);
    free(memory);
    *stability = c.not_below > 0 ? (double)c.above / (double)c.not_below : (double)NAN;
    if (!r.full) return true;
    ts_rle_clear(out);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask's runs");
}
