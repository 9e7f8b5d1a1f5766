/* steps.c - two ways to go on where a masked autoencoder answers once and for all. Guidance: what it says of the canvas, less
 * what it says without the examples, so that what they show counts for more. Steps: the hole is painted several times, and each
 * time the places that it is surest of become visible to the next, as pixels of the canvas, since a masked autoencoder sees
 * nothing else. Both are IMProv's (Xu et al. 2024, "IMProv: inpainting-based multimodal prompting for computer vision tasks", its
 * published pipeline), there with a text to be guided by; the schedule is MaskGIT's (Chang et al. 2022, arXiv 2202.04200).
 *
 * A step sees another number of patches than the one before it, so each has a planned graph of its own. */
#include "mae/inpaint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NOISE = 4.5, QUARTER_TURN = 1.57079632679489661923;

/* ---- guidance ---- */

static double weight_of(const ts_answering *p)
{
    return p->options->guide > 0 ? p->options->guide : 1;
}

bool ts_answering_guided(const ts_answering *p)
{
    return weight_of(p) != 1;
}

/* The grid of canvas `at`. */
static const ts_grid *grid_of(const ts_answering *p, int64_t at)
{
    return &p->a.grids[at / p->a.fused % p->a.count];
}

/* `both`: the canvases, and behind them the same without their examples. */
static bool predict_both(ts_inpainter *ip, stage *s, const ts_answering *p, const ts_layouts *l, ts_image *both, int count,
                         double guide, float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    const int64_t all = (int64_t)count * ip->places * ip->mae.config.codes;
    for (int i = 0; i < count; i++)
        if (!ts_grid_blank(grid_of(p, i), &both[i], &both[count + i], err)) return false;
    if (!ts_inpaint_predict(ip, s, l, both, 2 * count, NULL, logits, ms, err)) return false;
    const double start = ts_inpaint_now();
    const float *blank = logits + all;
    for (int64_t i = 0; i < all; i++) logits[i] = (float)((double)blank[i] + guide * ((double)logits[i] - (double)blank[i]));
    ts_inpaint_spend(ms ? &ms->mae : NULL, start);
    return true;
}

bool ts_answering_predict(ts_inpainter *ip, stage *s, const ts_answering *p, const ts_layouts *l, const ts_image *pictures,
                          int count, double guide, float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    if (!ts_inpaint_check(ip, pictures, count, err)) return false;
    if (guide == 1) return ts_inpaint_predict(ip, s, l, pictures, count, NULL, logits, ms, err);
    ts_image *both = calloc(2 * (size_t)count, sizeof *both);
    if (!both) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", count);
    memcpy(both, pictures, (size_t)count * sizeof *both);
    const bool ok = predict_both(ip, s, p, l, both, count, guide, logits, ms, err);
    for (int i = 0; i < count; i++) ts_image_clear(&both[count + i]);
    free(both);
    return ok;
}

/* ---- the schedule ---- */

/* Of step `step`, 0 for the first to 1 for the last. */
static double time_of(int step, int steps)
{
    return steps > 1 ? (double)step / (steps - 1) : 1;
}

/* Guidance grows with the steps; one step alone has all of it, where IMProv's would have none. */
static double weight_at(const ts_answering *p, int step)
{
    return 1 + time_of(step, p->options->steps) * (weight_of(p) - 1);
}

/* How many of a hole's `all` places stay hidden after a step before which `hidden` were: at least one is shown, and one is left
 * for the next step. */
static int hidden_after(int hidden, int all, double time)
{
    const int wanted = (int)floor(cos(QUARTER_TURN * time) * all), most = hidden - 1;
    const int n = wanted < most ? wanted : most;
    return n > 1 ? n : 1;
}

static int hole_places(const ts_grid *grid)
{
    int rows, cols;
    ts_inpaint_hole(grid, &rows, &cols);
    return rows * cols;
}

static int all_steps(const ts_answering *p)
{
    return p->options->steps > 1 ? p->options->steps : 1;
}

static stage *stage_of(ts_inpainter *ip, int step)
{
    return step > 0 && step < TS_INPAINT_STEPS ? &ip->later[step] : &ip->predict;
}

bool ts_answering_prepare(ts_inpainter *ip, const ts_answering *p, int count, bool logits, ts_error *err)
{
    const int canvases = count * ts_answering_each(p), steps = all_steps(p), hole = hole_places(&p->a.grids[0]);
    int32_t *keep = ts_inpaint_room(p->a.count, ip->places, err);
    const int visible = keep ? ts_inpaint_visible(ip, &p->a, keep, err) : 0;
    bool ok = visible > 0;
    for (int step = 0, hidden = hole; ok && step < steps; step++) {
        const int run = canvases * (weight_at(p, step) != 1 ? 2 : 1);
        ok = ts_inpaint_plan_predict(ip, stage_of(ip, step), run, ts_inpaint_merged(ip, &p->a), visible + hole - hidden,
                                     logits || steps > 1, err);
        hidden = hidden_after(hidden, hole, time_of(step, steps));
    }
    free(keep);
    return ok;
}

/* ---- steps ---- */

/* What stands between the steps, for `count` answers of `each` canvases whose holes have rows x cols places. */
typedef struct {
    ts_inpainter *ip;
    const ts_answering *p;
    const ts_image *pictures;
    int count, each, rows, cols, hidden, visible; /* the last two of each canvas, now */
    uint8_t *unknown;                             /* (count, rows cols) */
    ts_image *filled;                             /* (count): each answer's first canvas with what was painted in its hole */
    ts_image *shown;                              /* (count each): the canvases as the step sees them; none before the first */
    int32_t *keep;                                /* (count each, places) */
    float *logits, *painted, *latents;            /* (count each [2], places, codes), (count, picture), (count, places, embed) */
    int32_t *codes;                               /* (count, places): this step's */
} walk;

/* The grid of canvas `at` of an answer, which is answer `i`. */
static const ts_grid *grid_in(const walk *w, int64_t i, int at)
{
    return grid_of(w->p, i * w->each + at);
}

/* Place `k` of the hole, among all of a canvas of this grid. */
static int hole_place(const walk *w, const ts_grid *grid, int k)
{
    int rows, cols;
    const int64_t first = ts_inpaint_hole(grid, &rows, &cols);
    return (int)first + k / w->cols * grid->side_patches + k % w->cols;
}

/* The patch at `place` of one canvas, into the same of another. */
static void copy_patch(const ts_inpainter *ip, const ts_image *from, int place, ts_image *to)
{
    const int patch = ip->mae.config.patch, side = ip->mae.config.side;
    const int x = place % side * patch, y = place / side * patch;
    for (int row = y; row < y + patch; row++) {
        const size_t at = ((size_t)row * (size_t)ip->canvas + (size_t)x) * 3;
        memcpy(to->data + at, from->data + at, (size_t)patch * 3);
    }
}

/* A canvas of another arrangement: the answer in its own hole, pixel by pixel, since cells may begin within a patch. */
static bool show_arranged(const ts_grid *first, const ts_image *filled, const ts_grid *grid, ts_image *out, ts_error *err)
{
    ts_image cell = {0};
    if (!ts_grid_answer(first, filled, 0, 0, &cell, err)) return false;
    const ts_cell *hole = &grid->hole;
    for (int y = 0; y < cell.height && y < hole->height; y++)
        memcpy(out->data + ((size_t)(hole->y + y) * (size_t)out->width + (size_t)hole->x) * 3,
               cell.data + (size_t)y * (size_t)cell.width * 3, (size_t)(cell.width < hole->width ? cell.width : hole->width) * 3);
    ts_image_clear(&cell);
    return true;
}

/* An answer's canvases as the next step sees them, and which patches it does. */
static bool show(walk *w, int64_t i, ts_error *err)
{
    const ts_grid *first = grid_in(w, i, 0);
    const int hole = w->rows * w->cols;
    for (int at = 0; at < w->each; at++) {
        const int64_t canvas = i * w->each + at;
        const ts_grid *grid = grid_in(w, i, at);
        int32_t *keep = w->keep + canvas * w->ip->places;
        int visible = ts_grid_keep(grid, keep);
        for (int k = 0; k < hole; k++)
            if (!w->unknown[i * hole + k]) keep[visible++] = hole_place(w, grid, k);
        ts_image_clear(&w->shown[canvas]);
        if (grid == first) {
            if (!ts_grid_paste(grid, &w->pictures[canvas], &w->filled[i], &w->shown[canvas], err)) return false;
        } else if (!ts_image_copy(&w->pictures[canvas], &w->shown[canvas], err) ||
                   !show_arranged(first, &w->filled[i], grid, &w->shown[canvas], err)) {
            return false;
        }
        w->visible = visible;
    }
    return true;
}

typedef struct {
    double confidence;
    int place; /* of the hole */
} candidate;

static int by_confidence(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->confidence != y->confidence) return x->confidence < y->confidence ? -1 : 1;
    return x->place - y->place;
}

/* A state of its own for each step: the same for all answers, which so do not depend on what else is in the batch. */
static uint64_t noise_of(uint64_t seed, int step)
{
    uint64_t state = ts_splitmix(&seed) + (uint64_t)step;
    return ts_splitmix(&state);
}

/* Shows the places of an answer that the step is surest of: all but the `hidden` least sure. Each place of the canvas draws its
 * noise, Gumbel's, in order. */
static bool reveal(walk *w, int64_t i, int step, int hidden, ts_error *err)
{
    const int64_t places = w->ip->places, k = w->ip->mae.config.codes;
    const int hole = w->rows * w->cols;
    const double noise = NOISE * (1 - time_of(step, w->p->options->steps));
    const ts_grid *grid = grid_in(w, i, 0);
    const float *logits = w->logits + i * w->each * places * k;
    candidate *list = malloc((size_t)hole * sizeof *list);
    double *gumbel = malloc((size_t)places * sizeof *gumbel);
    if (!list || !gumbel) {
        free(list);
        free(gumbel);
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %d places", hole);
        return false;
    }
    uint64_t state = noise_of(w->p->options->seed, step);
    for (int64_t at = 0; at < places; at++) gumbel[at] = -log(-log(ts_uniform(&state)));
    int count = 0;
    for (int at = 0; at < hole; at++) {
        if (!w->unknown[i * hole + at]) continue;
        const int place = hole_place(w, grid, at);
        const float *x = logits + place * k;
        const double sure = (double)x[w->codes[i * places + place]] - ts_inpaint_log_sum(x, k);
        list[count++] = (candidate){sure + noise * gumbel[place], at};
    }
    qsort(list, (size_t)count, sizeof *list, by_confidence);
    for (int at = hidden; at < count; at++) w->unknown[i * hole + list[at].place] = 0;
    free(list);
    free(gumbel);
    return true;
}

/* Logits of all canvases, one answer's fused to one, and of those the step's codes. */
static bool look(walk *w, int step, const ts_layouts *l, const int32_t *own, ts_inpaint_ms *ms, ts_error *err)
{
    ts_inpainter *ip = w->ip;
    const ts_inpaint_options *o = w->p->options;
    const int64_t places = ip->places, k = ip->mae.config.codes, width = ip->vqgan.config.embed;
    if (!ts_answering_predict(ip, stage_of(ip, step), w->p, l, step > 0 ? w->shown : w->pictures, w->count * w->each,
                              weight_at(w->p, step), w->logits, ms, err))
        return false;
    const double start = ts_inpaint_now();
    for (int64_t i = 0; i < w->count; i++) {
        float *logits = w->logits + i * w->each * places * k, *latents = w->latents ? w->latents + i * places * width : NULL;
        ts_answering_fuse(w->p, 1, logits, places, k);
        ts_sample_codes(logits, places, k, 0, 0, w->codes + i * places);
        if (latents) ts_blend_codes(logits, places, k, o->blend, ip->book, width, latents);
        if (own) ts_answering_put_own(ip, own + i * places, w->codes + i * places, latents);
    }
    ts_inpaint_spend(ms ? &ms->mae : NULL, start);
    return true;
}

/* What a step says counts where its place was hidden; what was visible from the beginning has the first step's. */
static void take(walk *w, int step, int32_t *codes, float *latents)
{
    const int64_t places = w->ip->places, width = w->ip->vqgan.config.embed;
    const int hole = w->rows * w->cols;
    if (step == 0) {
        memcpy(codes, w->codes, (size_t)(w->count * places) * sizeof *codes);
        if (latents) memcpy(latents, w->latents, (size_t)(w->count * places * width) * sizeof *latents);
        return;
    }
    for (int64_t i = 0; i < w->count; i++)
        for (int k = 0; k < hole; k++) {
            if (!w->unknown[i * hole + k]) continue;
            const int64_t at = i * places + hole_place(w, grid_in(w, i, 0), k);
            codes[at] = w->codes[at];
            if (latents) memcpy(latents + at * width, w->latents + at * width, (size_t)width * sizeof *latents);
        }
}

/* Paints what the step said, all of it, and shows the next step what it was surest of. */
static bool go_on(walk *w, int step, ts_inpaint_ms *ms, ts_error *err)
{
    ts_inpainter *ip = w->ip;
    const int64_t values = (int64_t)ip->picture * ip->picture * 3;
    const int hole = w->rows * w->cols, hidden = hidden_after(w->hidden, hole, time_of(step, w->p->options->steps));
    if (!(w->latents ? ts_inpainter_paint_latents(ip, w->latents, w->count, w->painted, ms, err)
                     : ts_inpainter_paint(ip, w->codes, w->count, w->painted, ms, err)))
        return false;
    for (int64_t i = 0; i < w->count; i++) {
        ts_image picture = {0};
        if (!ts_inpainter_picture(ip, w->painted + i * values, &picture, err)) return false;
        for (int k = 0; k < hole; k++)
            if (w->unknown[i * hole + k]) copy_patch(ip, &picture, hole_place(w, grid_in(w, i, 0), k), &w->filled[i]);
        ts_image_clear(&picture);
        if (!reveal(w, i, step, hidden, err) || !show(w, i, err)) return false;
    }
    w->hidden = hidden;
    return true;
}

static bool begin(walk *w, bool latents, ts_error *err)
{
    ts_inpainter *ip = w->ip;
    const int canvases = w->count * w->each, twice = ts_answering_guided(w->p) ? 2 : 1;
    w->hidden = w->rows * w->cols;
    w->unknown = calloc((size_t)w->count, (size_t)w->hidden);
    w->filled = calloc((size_t)w->count, sizeof *w->filled);
    w->shown = calloc((size_t)canvases, sizeof *w->shown);
    w->keep = ts_inpaint_room(canvases, ip->places, err);
    w->codes = ts_inpaint_room(w->count, ip->places, err);
    w->logits = ts_inpaint_room(canvases * twice, (int64_t)ip->places * ip->mae.config.codes, err);
    w->painted = ts_inpaint_room(w->count, (int64_t)ip->picture * ip->picture * 3, err);
    if (latents) w->latents = ts_inpaint_room(w->count, (int64_t)ip->places * ip->vqgan.config.embed, err);
    if (!w->unknown || !w->filled || !w->shown || !w->keep || !w->codes || !w->logits || !w->painted || (latents && !w->latents))
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d answers in steps", w->count);
    memset(w->unknown, 1, (size_t)w->count * (size_t)w->hidden);
    for (int64_t i = 0; i < w->count; i++)
        if (!ts_image_copy(&w->pictures[i * w->each], &w->filled[i], err)) return false;
    for (int64_t i = 0; i < canvases; i++) w->visible = ts_grid_keep(grid_of(w->p, i), w->keep + i * ip->places);
    return true;
}

static void end(walk *w)
{
    for (int i = 0; w->filled && i < w->count; i++) ts_image_clear(&w->filled[i]);
    for (int64_t i = 0; w->shown && i < (int64_t)w->count * w->each; i++) ts_image_clear(&w->shown[i]);
    free(w->unknown);
    free(w->filled);
    free(w->shown);
    free(w->keep);
    free(w->codes);
    free(w->logits);
    free(w->painted);
    free(w->latents);
}

bool ts_answering_in_steps(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, const int32_t *own,
                           int32_t *codes, float *latents, ts_inpaint_ms *ms, ts_error *err)
{
    walk w = {.ip = ip, .p = p, .pictures = pictures, .count = count, .each = ts_answering_each(p)};
    ts_inpaint_hole(&p->a.grids[0], &w.rows, &w.cols);
    bool ok = begin(&w, latents != NULL, err);
    const int steps = p->options->steps;
    for (int step = 0; ok && step < steps; step++) {
        const ts_layouts l = {w.keep, count * w.each, 1, w.visible, &p->a};
        ok = look(&w, step, &l, own, ms, err);
        if (ok) take(&w, step, codes, latents);
        if (ok && step + 1 < steps) ok = go_on(&w, step, ms, err);
    }
    end(&w);
    return ok;
}
