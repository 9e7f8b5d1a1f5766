/* answer.c - the stages of inpaint.c put together: what a query is answered with, from one canvas, or from several that show
 * other examples, other arrangements or other views. */
#include "mae/inpaint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const ts_inpaint_options AS_PUBLISHED = {0};

static ts_answering answering_of(const ts_grid *grids, const ts_inpaint_options *o)
{
    const int arrangements = o->arrangements > 1 ? o->arrangements : 1;
    return (ts_answering){.a = {grids, arrangements, o->fused > 1 ? o->fused : 1},
                          .apart = arrangements > 1 && (o->ensemble == TS_ENSEMBLE_PIXELS || o->ensemble == TS_ENSEMBLE_VOTE),
                          .options = o};
}

/* Of a query. */
static int canvases(const ts_answering *p)
{
    return p->a.count * p->a.fused;
}

/* Answers of a query that are painted, and canvases of each. */
static int items(const ts_answering *p)
{
    return p->apart ? p->a.count : 1;
}

int ts_answering_each(const ts_answering *p)
{
    return canvases(p) / items(p);
}

/* Of an answer: those that the model itself gives logits for, which is one for all where its front fuses canvases. */
static int seen(const ts_inpainter *ip, const ts_answering *p)
{
    return ts_answering_each(p) / ts_inpaint_merged(ip, &p->a);
}

static bool needs_logits(const ts_inpainter *ip, const ts_answering *p)
{
    return p->options->blend > 0 || p->options->temperature > 0 || seen(ip, p) > 1 || ts_answering_guided(p);
}

void ts_inpainted_clear(ts_inpainted *r)
{
    if (!r) return;
    free(r->codes);
    ts_image_clear(&r->painted);
    ts_image_clear(&r->pasted);
    *r = (ts_inpainted){0};
}

/* ---- codes ---- */

const float *ts_inpaint_book(ts_inpainter *ip, ts_error *err)
{
    if (ip->book) return ip->book;
    float *book = ts_inpaint_room(ip->vqgan.config.codes, ip->vqgan.config.embed, err);
    if (book && ts_weight_to_f32(ip->codebook, book, err)) return ip->book = book;
    free(book);
    return NULL;
}

bool ts_answering_own_codes(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, int32_t *own,
                            ts_inpaint_ms *ms, ts_error *err)
{
    const int64_t places = (int64_t)count * ip->places;
    ts_image *first = malloc((size_t)count * sizeof *first);
    if (!first) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", count);
    for (int i = 0; i < count; i++) first[i] = pictures[(int64_t)i * ts_answering_each(p)];
    const bool ok = ts_inpainter_encode(ip, first, count, own, ms, err);
    const int side = ip->mae.config.side;
    for (int64_t i = 0; ok && i < places; i++) {
        const int place = (int)(i % ip->places), arrangement = p->apart ? (int)(i / ip->places % p->a.count) : 0;
        if (ts_grid_hidden(&p->a.grids[arrangement], place / side, place % side)) own[i] = -1;
    }
    free(first);
    return ok;
}

void ts_answering_put_own(const ts_inpainter *ip, const int32_t *own, int32_t *codes, float *latents)
{
    const int64_t width = ip->vqgan.config.embed;
    for (int64_t i = 0; i < ip->places; i++) {
        if (own[i] < 0) continue;
        codes[i] = own[i];
        if (latents) memcpy(latents + i * width, ip->book + own[i] * width, (size_t)width * sizeof *latents);
    }
}

void ts_answering_fuse(const ts_answering *p, int merged, float *logits, int64_t places, int64_t codes)
{
    const int64_t of_one = places * codes;
    const int sets = ts_answering_each(p) / merged, fused = p->a.fused / merged;
    for (int arrangement = 0; arrangement < sets / fused; arrangement++) {
        float *of_arrangement = logits + (int64_t)arrangement * fused * of_one;
        ts_fuse_logits(of_arrangement, fused, places, codes);
        memmove(logits + arrangement * of_one, of_arrangement, (size_t)of_one * sizeof *logits);
    }
    if (!p->apart && p->a.count > 1) ts_fuse_arrangements(p->a.grids, p->a.count, p->options->ensemble, logits, codes);
}

/* What the model, or who stands in its place, says of the canvases. */
static bool predict(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, int32_t *codes, float *logits,
                    ts_inpaint_ms *ms, ts_error *err)
{
    const ts_inpaint_options *o = p->options;
    if (o->predictor) return o->predictor->predict(o->predictor->ctx, pictures, count, codes, logits, ms, err);
    if (!ts_answering_guided(p)) return ts_inpainter_predict_arranged(ip, &p->a, pictures, count, codes, logits, ms, err);
    int32_t *keep = ts_inpaint_room(p->a.count, ip->places, err);
    const int visible = keep ? ts_inpaint_visible(ip, &p->a, keep, err) : 0;
    const ts_layouts l = {keep, p->a.count, p->a.fused, visible, &p->a};
    const bool ok = visible > 0 && ts_answering_predict(ip, &ip->predict, p, &l, pictures, count, o->guide, logits, ms, err);
    free(keep);
    return ok;
}

/* All in one step. */
static bool choose_at_once(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, int32_t *codes,
                           float *latents, ts_inpaint_ms *ms, ts_error *err)
{
    const ts_inpaint_options *o = p->options;
    const int64_t k = ip->mae.config.codes, of_one = ip->places * k, width = ip->vqgan.config.embed;
    const int sets = seen(ip, p), twice = ts_answering_guided(p) ? 2 : 1;
    const bool whole = needs_logits(ip, p);
    float *logits = whole ? ts_inpaint_room(count * sets * twice, of_one, err) : NULL;
    const bool ok =
        (logits || !whole) && predict(ip, p, pictures, count * ts_answering_each(p), whole ? NULL : codes, logits, ms, err);
    const double start = ts_inpaint_now();
    for (int64_t i = 0; ok && whole && i < count; i++) {
        float *own = logits + i * sets * of_one;
        ts_answering_fuse(p, ts_inpaint_merged(ip, &p->a), own, ip->places, k);
        /* Each query draws from the seed anew: its answer does not depend on what else is in the batch. */
        ts_sample_codes(own, ip->places, k, o->temperature, o->seed, codes + i * ip->places);
        if (latents) ts_blend_codes(own, ip->places, k, o->blend, ip->book, width, latents + i * ip->places * width);
    }
    free(logits);
    ts_inpaint_spend(&ms->mae, start);
    return ok;
}

/* Codes at every place for each of `count` answers, by the options, and where `latents` is not NULL the means to paint from. */
static bool choose_codes(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, int32_t *codes,
                         float *latents, ts_inpaint_ms *ms, ts_error *err)
{
    const bool keep = p->options->keep_visible_codes;
    int32_t *own = keep ? ts_inpaint_room(count, ip->places, err) : NULL;
    bool ok = (own || !keep) && (!latents || ts_inpaint_book(ip, err)) &&
              (!keep || ts_answering_own_codes(ip, p, pictures, count, own, ms, err));
    if (ok && p->options->steps > 1) ok = ts_answering_in_steps(ip, p, pictures, count, own, codes, latents, ms, err);
    else ok = ok && choose_at_once(ip, p, pictures, count, codes, latents, ms, err);
    for (int64_t i = 0; ok && keep && i < count; i++)
        ts_answering_put_own(ip, own + i * ip->places, codes + i * ip->places,
                             latents ? latents + i * ip->places * ip->vqgan.config.embed : NULL);
    free(own);
    return ok;
}

/* ---- pictures ---- */

static bool finish(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvas, const int32_t *codes, const float *picture,
                   ts_inpainted *out, ts_error *err)
{
    out->places = ip->places;
    out->codes = malloc((size_t)ip->places * sizeof *codes);
    if (!out->codes) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a result");
    memcpy(out->codes, codes, (size_t)ip->places * sizeof *codes);
    return ts_inpainter_picture(ip, picture, &out->painted, err) && ts_grid_paste(grid, canvas, &out->painted, &out->pasted, err);
}

/* The answers of a query's arrangements become one, on its first canvas. */
static bool put_together(const ts_answering *p, ts_inpainted *results, ts_inpainted *out, ts_error *err)
{
    ts_image holes[TS_GRID_ARRANGEMENTS];
    for (int i = 0; i < p->a.count; i++) holes[i] = results[i].pasted;
    if (!ts_grid_merge_arrangements(p->a.grids, holes, p->a.count, p->options->ensemble == TS_ENSEMBLE_VOTE, &results[0].pasted,
                                    err))
        return false;
    *out = results[0];
    results[0] = (ts_inpainted){0};
    return true;
}

/* `count` queries, or views of one. */
static bool run_view(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, ts_inpainted *out,
                     ts_inpaint_ms *spent, ts_error *err)
{
    const int64_t values = (int64_t)ip->picture * ip->picture * 3;
    const bool blend = p->options->blend > 0;
    const int all = count * items(p);
    int32_t *codes = ts_inpaint_room(all, ip->places, err);
    float *painted = ts_inpaint_room(all, values, err);
    float *latents = blend ? ts_inpaint_room(all, (int64_t)ip->places * ip->vqgan.config.embed, err) : NULL;
    ts_inpainted *results = calloc((size_t)all, sizeof *results);
    if (!results) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d answers", all);
    bool ok = codes && painted && results && (latents || !blend) &&
              choose_codes(ip, p, pictures, all, codes, latents, spent, err) &&
              (blend ? ts_inpainter_paint_latents(ip, latents, all, painted, spent, err)
                     : ts_inpainter_paint(ip, codes, all, painted, spent, err));
    for (int i = 0; ok && i < all; i++)
        ok = finish(ip, &p->a.grids[i % items(p)], &pictures[(int64_t)i * ts_answering_each(p)], codes + (int64_t)i * ip->places,
                    painted + i * values, &results[i], err);
    for (int i = 0; ok && i < count; i++) {
        if (p->apart) {
            ok = put_together(p, results + (int64_t)i * items(p), &out[i], err);
            continue;
        }
        out[i] = results[i];
        results[i] = (ts_inpainted){0};
    }
    for (int i = 0; results && i < all; i++) ts_inpainted_clear(&results[i]);
    free(results);
    free(codes);
    free(painted);
    free(latents);
    return ok;
}

/* All views of one query, as so many queries, and what they answer into the first's canvas. */
static bool run_views(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, ts_inpainted *out, ts_inpaint_ms *spent,
                      ts_error *err)
{
    const int views = p->options->views, of_view = canvases(p), all = views * of_view;
    ts_image *turned = calloc((size_t)all, sizeof *turned), pasted[TS_GRID_VIEWS];
    ts_inpainted results[TS_GRID_VIEWS] = {{0}};
    bool ok = turned != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d views", views);
    for (int i = 0; ok && i < all; i++) {
        const ts_grid *grid = &p->a.grids[i % of_view / p->a.fused];
        ok = ts_grid_view(grid, &pictures[i % of_view], i / of_view, &turned[i], err);
    }
    ok = ok && run_view(ip, p, turned, views, results, spent, err);
    for (int i = 0; ok && i < views; i++) pasted[i] = results[i].pasted;
    ok = ok && ts_grid_merge_views(&p->a.grids[0], pasted, views, &results[0].pasted, err);
    if (ok) {
        *out = results[0];
        results[0] = (ts_inpainted){0};
    }
    for (int i = 0; i < views; i++) ts_inpainted_clear(&results[i]);
    for (int i = 0; turned && i < all; i++) ts_image_clear(&turned[i]);
    free(turned);
    return ok;
}

/* ---- the whole ---- */

static bool check_options(const ts_inpaint_options *o, ts_error *err)
{
    if (!(o->temperature >= 0) || isinf(o->temperature))
        return ts_fail(err, TS_ERR_ARGUMENT, "temperature %g, wanted 0 (the most likely code) or more", o->temperature);
    if (!(o->blend >= 0) || isinf(o->blend) || (o->blend > 0 && o->temperature > 0))
        return ts_fail(err, TS_ERR_ARGUMENT, "blend %g, wanted 0 (one code a place), or more where the temperature is 0",
                       o->blend);
    if (!(o->guide >= 0 && o->guide <= TS_INPAINT_GUIDE))
        return ts_fail(err, TS_ERR_ARGUMENT, "guidance of %g, wanted above 0 to %d", o->guide, TS_INPAINT_GUIDE);
    if (o->steps < 0 || o->steps > TS_INPAINT_STEPS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d steps, wanted 1 to %d", o->steps, TS_INPAINT_STEPS);
    if (o->steps > 1 && o->temperature > 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "steps take the likeliest codes: not with a temperature of %g", o->temperature);
    if (o->predictor && (o->steps > 1 || (o->guide > 0 && o->guide != 1)))
        return ts_fail(err, TS_ERR_ARGUMENT, "what has learned a task answers at once, and has no example to be guided by");
    if (o->views < 0 || o->views > TS_GRID_VIEWS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d views, wanted 1 to %d", o->views, TS_GRID_VIEWS);
    if (o->arrangements < 0 || o->arrangements > TS_GRID_ARRANGEMENTS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d arrangements, wanted 1 to %d", o->arrangements, TS_GRID_ARRANGEMENTS);
    return true;
}

/* A front that makes one example of all shows none that could be left out, and no hole that could be painted. */
static bool check_front(const ts_inpainter *ip, const ts_answering *p, ts_error *err)
{
    const bool alone = p->options->steps > 1 || ts_answering_guided(p) || p->options->predictor;
    return !ip->front.fuse || !alone ||
           ts_fail(err, TS_ERR_ARGUMENT, "a fusion of examples goes with neither guidance, steps nor a task");
}

/* How many canvases `count` queries have; 0 where that is none or too many. */
static int all_canvases(const ts_answering *p, int count, ts_error *err)
{
    enum { MOST = 1 << 24 };
    if (count < 1) ts_fail(err, TS_ERR_ARGUMENT, "%d canvases, at least one is wanted", count);
    else if (p->a.fused > MOST / count / p->a.count)
        ts_fail(err, TS_ERR_ARGUMENT, "%d times %d canvases are too many", count, p->a.fused);
    else return count * canvases(p);
    return 0;
}

bool ts_inpainter_prepare(ts_inpainter *ip, const ts_grid *grids, int count, const ts_inpaint_options *options, ts_inpaint_ms *ms,
                          ts_error *err)
{
    const ts_answering p = answering_of(grids, options ? options : &AS_PUBLISHED);
    if (!check_options(p.options, err) || !check_front(ip, &p, err)) return false;
    if (p.options->views > 1) count = p.options->views; /* each query's by themselves */
    const int all = all_canvases(&p, count, err);
    if (all == 0) return false;
    const double start = ts_inpaint_now();
    const ts_predictor *other = p.options->predictor;
    const bool ok = (other ? other->prepare(other->ctx, all, needs_logits(ip, &p), err)
                           : ts_answering_prepare(ip, &p, count * items(&p), needs_logits(ip, &p), err)) &&
                    ts_inpaint_prepare(ip, count * items(&p), p.options->blend > 0, p.options->keep_visible_codes, err);
    ts_inpaint_spend(ms ? &ms->load : NULL, start);
    return ok;
}

bool ts_inpainter_run(ts_inpainter *ip, const ts_grid *grids, const ts_image *pictures, int count,
                      const ts_inpaint_options *options, ts_inpainted *out, ts_inpaint_ms *ms, ts_error *err)
{
    ts_inpaint_ms spent = {0};
    const ts_answering p = answering_of(grids, options ? options : &AS_PUBLISHED);
    for (int i = 0; i < count; i++) out[i] = (ts_inpainted){0};
    const int all = check_options(p.options, err) && check_front(ip, &p, err) ? all_canvases(&p, count, err) : 0;
    if (all == 0 || !ts_inpaint_check(ip, pictures, all, err) || !ts_inpainter_prepare(ip, grids, count, options, &spent, err))
        return false;
    bool ok = true;
    if (p.options->views > 1)
        for (int i = 0; ok && i < count; i++) ok = run_views(ip, &p, pictures + (int64_t)i * canvases(&p), &out[i], &spent, err);
    else ok = run_view(ip, &p, pictures, count, out, &spent, err);
    for (int i = 0; !ok && i < count; i++) ts_inpainted_clear(&out[i]);
    if (ms) *ms = spent;
    return ok;
}
