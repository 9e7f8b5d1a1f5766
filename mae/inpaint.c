/* inpaint.c - in-context inference as published: codes are predicted at every place, also where the canvas is visible, all of
 * them are decoded, and the hidden patches of the decoded picture are pasted into the canvas. With `blend`, which is ours, the
 * codes' mean is decoded instead.
 *
 * Three graphs share two sets of weights: predict (MAE), paint (VQGAN decoder) and, where asked for, encode (VQGAN encoder). Each
 * is planned when first needed and again when the number of canvases or of visible patches changes; another layout with as many
 * visible patches only rewrites the index inputs. */
#include "mae/mae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A planned graph with one input and two or three outputs. */
typedef struct {
    ts_graph *graph;
    ts_exec *exec;
    int batch;
    ts_tensor *in, *out;
    ts_tensor *mean; /* (1): of what the answer is made from: where one of those is no number this is none */
    const ts_weights *file;
    ts_tensor *logits; /* predict: also an output, where they were asked for */
    ts_mae_index index;
    bool latents; /* paint: takes them, not codes */
    int visible;
    int32_t *keep; /* predict: the layout in the index inputs, batch x visible */
} stage;

struct ts_inpainter {
    ts_device *dev;
    ts_mae mae;
    ts_vqgan vqgan;
    int batch;   /* at most, in one run of a graph */
    int places;  /* side^2 */
    int canvas;  /* pixels a side of the canvas: side x patch */
    int picture; /* pixels a side of what the VQGAN paints: side x factor */
    const ts_weights *file, *vqgan_file;
    const ts_weight *codebook;
    float *book; /* its rows, where they were asked for, (codes, embed) */
    stage predict, encode, paint;
};

static const ts_inpaint_options AS_PUBLISHED = {0};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void add_ms(double *sum, double since)
{
    if (sum) *sum += now_ms() - since;
}

static void stage_clear(stage *s)
{
    ts_exec_free(s->exec);
    ts_graph_free(s->graph);
    free(s->keep);
    *s = (stage){0};
}

/* ---- making ---- */

static bool open_vqgan(ts_inpainter *ip, const ts_inpainter_desc *desc, ts_error *err)
{
    const ts_weights *w = desc->vqgan_weights ? desc->vqgan_weights : desc->weights;
    const char *prefix = ts_vqgan_prefix(w);
    if (!prefix && !desc->vqgan_weights)
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no VQGAN (no tensor vae.*): give %sthe VQGAN's own file with --vqgan FILE",
                       ts_weights_path(w),
                       ts_kind_is_checkpoint(w) ? "the training's model.safetensors or best.safetensors, which have it, or "
                                                : "");
    if (!ts_vqgan_config_read(w, prefix, &ip->vqgan.config, err)) return false;
    if (!ts_mae_check_codes(desc->weights, &ip->mae.config, w, &ip->vqgan.config, err)) return false;
    char name[64];
    snprintf(name, sizeof name, "%squantize.embedding.weight", prefix);
    ip->codebook = ts_weights_find(w, name);
    ip->vqgan_file = w;
    ip->vqgan.params = ts_params_new(ip->dev, w, prefix, err);
    return ip->vqgan.params != NULL;
}

ts_inpainter *ts_inpainter_new(ts_device *dev, const ts_inpainter_desc *desc, ts_error *err)
{
    if (!dev || !desc || !desc->weights || desc->batch < 0) {
        ts_fail(err, TS_ERR_ARGUMENT, "an inpainter needs a device, the model's weights and a batch of at least 1");
        return NULL;
    }
    ts_inpainter *ip = calloc(1, sizeof *ip);
    if (!ip) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    ip->dev = dev;
    ip->batch = desc->batch ? desc->batch : 1;
    ip->file = desc->weights;
    if (!ts_mae_config_read(desc->weights, desc->heads, desc->decoder_heads, false, &ip->mae.config, err) ||
        !open_vqgan(ip, desc, err) || !(ip->mae.params = ts_params_new(dev, desc->weights, "", err))) {
        ts_inpainter_free(ip);
        return NULL;
    }
    const ts_mae_config *c = &ip->mae.config;
    ip->places = c->side * c->side;
    ip->canvas = c->side * c->patch;
    ip->picture = c->side * ip->vqgan.config.factor;
    return ip;
}

void ts_inpainter_free(ts_inpainter *ip)
{
    if (!ip) return;
    stage_clear(&ip->predict);
    stage_clear(&ip->encode);
    stage_clear(&ip->paint);
    ts_params_free(ip->mae.params);
    ts_params_free(ip->vqgan.params);
    free(ip->book);
    free(ip);
}

const ts_mae_config *ts_inpainter_mae(const ts_inpainter *ip)
{
    return &ip->mae.config;
}

const ts_vqgan_config *ts_inpainter_vqgan(const ts_inpainter *ip)
{
    return &ip->vqgan.config;
}

/* ---- planning ---- */

/* Plans what was described. The weights come first: a missing one is the cause of whatever else is wrong. */
static bool plan(ts_inpainter *ip, stage *s, const ts_params *params, ts_error *err)
{
    ts_output(s->graph, s->out);
    ts_output(s->graph, s->mean);
    s->file = params == ip->mae.params ? ip->file : ip->vqgan_file;
    bool ok = ts_params_check(params, err) && (s->exec = ts_exec_new(s->graph, ip->dev, err)) != NULL;
    if (!ok) stage_clear(s);
    return ok;
}

static bool plan_predict(ts_inpainter *ip, int batch, int visible, bool logits, ts_error *err)
{
    stage *s = &ip->predict;
    if (s->exec && s->batch == batch && s->visible == visible && (s->logits || !logits)) return true;
    stage_clear(s);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    s->visible = visible;
    int64_t side = ip->canvas;
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){batch, side, side, 3});
    s->index = ts_mae_index_new(s->graph, &ip->mae, batch, visible, ip->places);
    ts_tensor *encoded = ts_mae_encode(s->graph, &ip->mae, s->in, &s->index);
    ts_tensor *y = ts_mae_decode(s->graph, &ip->mae, encoded, &s->index); // (B, L, K)
    s->out = ts_argmax(s->graph, y);
    s->mean = ts_mean(s->graph, y);
    if (logits) s->logits = ts_output(s->graph, y);
    return plan(ip, s, ip->mae.params, err);
}

static bool plan_encode(ts_inpainter *ip, int batch, ts_error *err)
{
    stage *s = &ip->encode;
    if (s->exec && s->batch == batch) return true;
    stage_clear(s);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){batch, ip->picture, ip->picture, 3});
    ts_tensor *latents = ts_vqgan_encode(s->graph, &ip->vqgan, s->in);
    s->mean = ts_mean(s->graph, latents);
    s->out = ts_vqgan_codes(s->graph, &ip->vqgan, latents);
    return plan(ip, s, ip->vqgan.params, err);
}

static bool plan_paint(ts_inpainter *ip, int batch, bool latents, ts_error *err)
{
    stage *s = &ip->paint;
    if (s->exec && s->batch == batch && s->latents == latents) return true;
    stage_clear(s);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    s->latents = latents;
    int side = ip->mae.config.side;
    ts_tensor *looked_up;
    if (latents) {
        looked_up = s->in = ts_input(s->graph, "latents", TS_REAL, 4, (int64_t[]){batch, side, side, ip->vqgan.config.embed});
    } else {
        s->in = ts_input(s->graph, "codes", TS_I32, 2, (int64_t[]){batch, ip->places});
        looked_up = ts_vqgan_lookup(s->graph, &ip->vqgan, s->in, side, side);
    }
    ts_tensor *decoded = ts_vqgan_decode(s->graph, &ip->vqgan, looked_up);
    s->mean = ts_mean(s->graph, decoded);
    s->out = ts_vqgan_show(s->graph, decoded);
    return plan(ip, s, ip->vqgan.params, err);
}

/* ---- stages ---- */

static bool run_stage(const stage *s, const void *in, ts_error *err)
{
    float mean;
    if (!ts_write(s->exec, s->in, in, err) || !ts_run(s->exec, err) || !ts_read(s->exec, s->mean, &mean, err)) return false;
    return isfinite(mean) || ts_fail(err, TS_ERR_FORMAT,
                                     "%s gives answers that are no numbers: its weights are broken, or too large for fp16 (model "
                                     "check names them)",
                                     ts_weights_path(s->file));
}

/* The visible patches of a grid that fits the model: `keep` has room for all places. Returns their number, 0 on failure. */
static int visible_patches(const ts_inpainter *ip, const ts_grid *grid, int32_t *keep, ts_error *err)
{
    const ts_grid_desc *d = &grid->desc;
    if (d->canvas != ip->canvas || d->patch != ip->mae.config.patch) {
        ts_fail(err, TS_ERR_SHAPE, "the grid has a canvas of %d and patches of %d pixels, the model one of %d and patches of %d",
                d->canvas, d->patch, ip->canvas, ip->mae.config.patch);
        return 0;
    }
    int visible = ts_grid_keep(grid, keep);
    if (visible < 1) ts_fail(err, TS_ERR_ARGUMENT, "the grid hides every patch");
    return visible;
}

static bool check_canvases(const ts_inpainter *ip, const ts_image *canvases, int count, ts_error *err)
{
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d canvases, at least one is wanted", count);
    for (int i = 0; i < count; i++)
        if (!canvases[i].data || canvases[i].width != ip->canvas || canvases[i].height != ip->canvas)
            return ts_fail(err, TS_ERR_SHAPE, "canvas %d has %d x %d pixels, the model wants %d x %d", i, canvases[i].width,
                           canvases[i].height, ip->canvas, ip->canvas);
    return true;
}

static int batch_for(const ts_inpainter *ip, int count)
{
    return count < ip->batch ? count : ip->batch;
}

static int fused_by(const ts_inpaint_options *options)
{
    return options && options->fused > 1 ? options->fused : 1;
}

/* How many canvases `count` queries have; 0 where that is none or too many. */
static int canvases_of(int count, const ts_inpaint_options *options, ts_error *err)
{
    enum { MOST = 1 << 24 };
    const int fused = fused_by(options);
    if (count > 0 && count <= MOST / fused) return count * fused;
    if (count > 0) ts_fail(err, TS_ERR_ARGUMENT, "%d times %d canvases are too many", count, fused);
    else ts_fail(err, TS_ERR_ARGUMENT, "%d canvases, at least one is wanted", count);
    return 0;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Room for one batch of `each` elements of four bytes. */
static void *batch_room(int batch, int64_t each, ts_error *err)
{
    void *p = calloc((size_t)batch * (size_t)each, 4);
    if (!p) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", batch);
    return p;
}

/* Writes the layout into the index inputs, where it is not there yet. */
static bool write_layout(ts_inpainter *ip, const int32_t *keep, ts_error *err)
{
    stage *s = &ip->predict;
    size_t row = (size_t)s->visible * sizeof *keep;
    if (s->keep && memcmp(s->keep, keep, row) == 0) return true;
    int32_t *all = realloc(s->keep, (size_t)s->batch * row);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->keep = all;
    for (int i = 0; i < s->batch; i++) memcpy(all + (size_t)i * (size_t)s->visible, keep, row);
    if (ts_mae_index_write(s->exec, &ip->mae, &s->index, all, NULL, err)) return true;
    free(s->keep);
    s->keep = NULL;
    return false;
}

bool ts_inpainter_prepare(ts_inpainter *ip, const ts_grid *grid, int count, const ts_inpaint_options *options, ts_inpaint_ms *ms,
                          ts_error *err)
{
    if (options && options->views > 1) count = options->views; /* each query's by themselves */
    const int canvases = canvases_of(count, options, err);
    if (canvases == 0) return false;
    double start = now_ms();
    int32_t *keep = batch_room(1, ip->places, err);
    if (!keep) return false;
    int batch = batch_for(ip, count), visible = visible_patches(ip, grid, keep, err);
    free(keep);
    const bool blend = options && options->blend > 0;
    const bool logits = blend || fused_by(options) > 1 || (options && options->temperature > 0);
    bool ok = visible > 0 && plan_predict(ip, batch_for(ip, canvases), visible, logits, err) &&
              plan_paint(ip, batch, blend, err) && (!options || !options->keep_visible_codes || plan_encode(ip, batch, err));
    add_ms(ms ? &ms->load : NULL, start);
    return ok;
}

/* Batches of canvases through the planned graph. A last, smaller batch leaves the places behind it as they were: their results
 * are not looked at, and planning anew for it would cost more. */
static bool run_predict(ts_inpainter *ip, const ts_image *canvases, int count, int32_t *codes, float *logits, ts_error *err)
{
    stage *s = &ip->predict;
    int64_t pixels = (int64_t)ip->canvas * ip->canvas, each_logits = (int64_t)ip->places * ip->mae.config.codes;
    float *in = batch_room(s->batch, pixels * 3, err), *out_logits = NULL;
    int32_t *out = batch_room(s->batch, ip->places, err);
    bool ok = in && out;
    if (ok && logits) ok = (out_logits = batch_room(s->batch, each_logits, err)) != NULL;
    for (int at = 0; ok && at < count; at += s->batch) {
        int n = smaller(s->batch, count - at);
        for (int i = 0; i < n; i++) ts_mae_normalise(canvases[at + i].data, pixels, in + i * pixels * 3);
        ok = run_stage(s, in, err);
        if (ok && codes) ok = ts_read(s->exec, s->out, out, err);
        if (ok && codes) memcpy(codes + (int64_t)at * ip->places, out, (size_t)n * (size_t)ip->places * sizeof *out);
        if (ok && logits) ok = ts_read(s->exec, s->logits, out_logits, err);
        if (ok && logits) memcpy(logits + at * each_logits, out_logits, (size_t)n * (size_t)each_logits * sizeof *logits);
    }
    free(in);
    free(out);
    free(out_logits);
    return ok;
}

bool ts_inpainter_predict(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count, int32_t *codes,
                          float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    if (!check_canvases(ip, canvases, count, err)) return false;
    double start = now_ms();
    int32_t *keep = batch_room(1, ip->places, err);
    int visible = keep ? visible_patches(ip, grid, keep, err) : 0;
    bool ok = visible > 0 && plan_predict(ip, batch_for(ip, count), visible, logits != NULL, err) && write_layout(ip, keep, err);
    free(keep);
    add_ms(ms ? &ms->load : NULL, start);
    if (!ok) return false;
    start = now_ms();
    ok = run_predict(ip, canvases, count, codes, logits, err);
    add_ms(ms ? &ms->mae : NULL, start);
    return ok;
}

/* A canvas as the VQGAN takes it, [-1, 1], at its own size. */
static bool fill_vqgan(const ts_inpainter *ip, const ts_image *canvas, float *out, ts_error *err)
{
    ts_image resized = {0};
    const ts_image *from = canvas;
    if (ip->picture != ip->canvas) {
        if (!ts_image_resize(canvas, ip->picture, ip->picture, TS_RESIZE_BILINEAR, &resized, err)) return false;
        from = &resized;
    }
    int64_t values = (int64_t)ip->picture * ip->picture * 3;
    for (int64_t i = 0; i < values; i++) out[i] = 2 * ((float)from->data[i] / 255) - 1;
    ts_image_clear(&resized);
    return true;
}

bool ts_inpainter_encode(ts_inpainter *ip, const ts_image *canvases, int count, int32_t *codes, ts_inpaint_ms *ms, ts_error *err)
{
    if (!check_canvases(ip, canvases, count, err)) return false;
    double start = now_ms();
    bool ok = plan_encode(ip, batch_for(ip, count), err);
    add_ms(ms ? &ms->load : NULL, start);
    if (!ok) return false;
    start = now_ms();
    stage *s = &ip->encode;
    int64_t values = (int64_t)ip->picture * ip->picture * 3;
    float *in = batch_room(s->batch, values, err);
    int32_t *out = batch_room(s->batch, ip->places, err);
    ok = in && out;
    for (int at = 0; ok && at < count; at += s->batch) {
        int n = smaller(s->batch, count - at);
        for (int i = 0; ok && i < n; i++) ok = fill_vqgan(ip, &canvases[at + i], in + i * values, err);
        ok = ok && run_stage(s, in, err) && ts_read(s->exec, s->out, out, err);
        if (ok) memcpy(codes + (int64_t)at * ip->places, out, (size_t)n * (size_t)ip->places * sizeof *out);
    }
    free(in);
    free(out);
    add_ms(ms ? &ms->encode : NULL, start);
    return ok;
}

/* `in` has `each` numbers of four bytes for a picture: codes, or latents. */
static bool paint(ts_inpainter *ip, const void *in, int64_t each, bool latents, int count, float *pictures, ts_inpaint_ms *ms,
                  ts_error *err)
{
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d pictures to paint, at least one is wanted", count);
    double start = now_ms();
    bool ok = plan_paint(ip, batch_for(ip, count), latents, err);
    add_ms(ms ? &ms->load : NULL, start);
    if (!ok) return false;
    start = now_ms();
    stage *s = &ip->paint;
    int64_t values = (int64_t)ip->picture * ip->picture * 3;
    char *batch = batch_room(s->batch, each, err);
    float *out = batch_room(s->batch, values, err);
    ok = batch && out;
    for (int at = 0; ok && at < count; at += s->batch) {
        int n = smaller(s->batch, count - at);
        memcpy(batch, (const char *)in + at * each * 4, (size_t)n * (size_t)each * 4);
        ok = run_stage(s, batch, err) && ts_read(s->exec, s->out, out, err);
        if (ok) memcpy(pictures + at * values, out, (size_t)n * (size_t)values * sizeof *out);
    }
    free(batch);
    free(out);
    add_ms(ms ? &ms->decode : NULL, start);
    return ok;
}

bool ts_inpainter_paint(ts_inpainter *ip, const int32_t *codes, int count, float *pictures, ts_inpaint_ms *ms, ts_error *err)
{
    for (int64_t i = 0; i < (int64_t)count * ip->places; i++)
        if (codes[i] < 0 || codes[i] >= ip->vqgan.config.codes)
            return ts_fail(err, TS_ERR_ARGUMENT, "code %d is not one of the codebook's %d", codes[i], ip->vqgan.config.codes);
    return paint(ip, codes, ip->places, false, count, pictures, ms, err);
}

bool ts_inpainter_paint_latents(ts_inpainter *ip, const float *latents, int count, float *pictures, ts_inpaint_ms *ms,
                                ts_error *err)
{
    return paint(ip, latents, (int64_t)ip->places * ip->vqgan.config.embed, true, count, pictures, ms, err);
}

/* ---- the whole ---- */

void ts_inpainted_clear(ts_inpainted *r)
{
    if (!r) return;
    free(r->codes);
    ts_image_clear(&r->painted);
    ts_image_clear(&r->pasted);
    *r = (ts_inpainted){0};
}

/* The codebook's rows; they stay the inpainter's. */
static const float *read_book(ts_inpainter *ip, ts_error *err)
{
    if (ip->book) return ip->book;
    float *book = batch_room(ip->vqgan.config.codes, ip->vqgan.config.embed, err);
    if (book && ts_weight_to_f32(ip->codebook, book, err)) return ip->book = book;
    free(book);
    return NULL;
}

/* Visible places get the codes that the VQGAN gives for the queries' first canvases themselves, and where there are latents,
 * those codes' rows. */
static bool keep_own_codes(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count, int fused, int32_t *codes,
                           float *latents, ts_inpaint_ms *ms, ts_error *err)
{
    int64_t places = (int64_t)count * ip->places, width = ip->vqgan.config.embed;
    ts_image *first = malloc((size_t)count * sizeof *first);
    if (!first) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", count);
    for (int i = 0; i < count; i++) first[i] = canvases[(int64_t)i * fused];
    int32_t *own = batch_room(count, ip->places, err);
    bool ok = own && ts_inpainter_encode(ip, first, count, own, ms, err);
    int side = ip->mae.config.side;
    for (int64_t i = 0; ok && i < places; i++) {
        int place = (int)(i % ip->places);
        if (ts_grid_hidden(grid, place / side, place % side)) continue;
        codes[i] = own[i];
        if (latents) memcpy(latents + i * width, ip->book + own[i] * width, (size_t)width * sizeof *latents);
    }
    free(first);
    free(own);
    return ok;
}

/* Codes at every place for each of `count` queries, by the options, and where `latents` is not NULL the means to paint from. */
static bool choose_codes(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count,
                         const ts_inpaint_options *options, int32_t *codes, float *latents, ts_inpaint_ms *ms, ts_error *err)
{
    const int fused = fused_by(options);
    const int64_t k = ip->mae.config.codes, each = ip->places * k, width = ip->vqgan.config.embed;
    const bool whole = options->temperature > 0 || latents || fused > 1;
    const float *book = latents ? read_book(ip, err) : NULL;
    float *logits = whole ? batch_room(count * fused, each, err) : NULL;
    bool ok = (logits || !whole) && (book || !latents) &&
              ts_inpainter_predict(ip, grid, canvases, count * fused, whole ? NULL : codes, logits, ms, err);
    double start = now_ms();
    for (int64_t i = 0; ok && whole && i < count; i++) {
        float *own = logits + i * fused * each;
        ts_fuse_logits(own, fused, ip->places, k);
        /* Each query draws from the seed anew: its answer does not depend on what else is in the batch. */
        ts_sample_codes(own, ip->places, k, options->temperature, options->seed, codes + i * ip->places);
        if (latents) ts_blend_codes(own, ip->places, k, options->blend, book, width, latents + i * ip->places * width);
    }
    free(logits);
    add_ms(&ms->mae, start);
    return ok && (!options->keep_visible_codes || keep_own_codes(ip, grid, canvases, count, fused, codes, latents, ms, err));
}

static bool finish(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvas, const int32_t *codes, const float *picture,
                   ts_inpainted *out, ts_error *err)
{
    out->places = ip->places;
    out->codes = malloc((size_t)ip->places * sizeof *codes);
    if (!out->codes) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a result");
    memcpy(out->codes, codes, (size_t)ip->places * sizeof *codes);
    return ts_inpainter_picture(ip, picture, &out->painted, err) && ts_grid_paste(grid, canvas, &out->painted, &out->pasted, err);
}

/* `count` queries, or views of one. */
static bool run_view(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count,
                     const ts_inpaint_options *options, ts_inpainted *out, ts_inpaint_ms *spent, ts_error *err)
{
    const int64_t values = (int64_t)ip->picture * ip->picture * 3;
    const bool blend = options->blend > 0;
    int32_t *codes = batch_room(count, ip->places, err);
    float *pictures = batch_room(count, values, err);
    float *latents = blend ? batch_room(count, (int64_t)ip->places * ip->vqgan.config.embed, err) : NULL;
    bool ok = codes && pictures && (latents || !blend) &&
              choose_codes(ip, grid, canvases, count, options, codes, latents, spent, err) &&
              (blend ? ts_inpainter_paint_latents(ip, latents, count, pictures, spent, err)
                     : ts_inpainter_paint(ip, codes, count, pictures, spent, err));
    for (int i = 0; ok && i < count; i++)
        ok = finish(ip, grid, &canvases[(int64_t)i * fused_by(options)], codes + (int64_t)i * ip->places, pictures + i * values,
                    &out[i], err);
    free(codes);
    free(pictures);
    free(latents);
    return ok;
}

/* All views of one query, as so many queries, and what they answer into the first's canvas. */
static bool run_views(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, const ts_inpaint_options *options,
                      ts_inpainted *out, ts_inpaint_ms *spent, ts_error *err)
{
    const int views = options->views, fused = fused_by(options), all = views * fused;
    ts_image *turned = calloc((size_t)all, sizeof *turned), pasted[TS_GRID_VIEWS];
    ts_inpainted results[TS_GRID_VIEWS] = {{0}};
    bool ok = turned || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d views", views);
    for (int i = 0; ok && i < all; i++) ok = ts_grid_view(grid, &canvases[i % fused], i / fused, &turned[i], err);
    ok = ok && run_view(ip, grid, turned, views, options, results, spent, err);
    for (int i = 0; ok && i < views; i++) pasted[i] = results[i].pasted;
    ok = ok && ts_grid_merge_views(grid, pasted, views, &results[0].pasted, err);
    if (ok) {
        *out = results[0];
        results[0] = (ts_inpainted){0};
    }
    for (int i = 0; i < views; i++) ts_inpainted_clear(&results[i]);
    for (int i = 0; turned && i < all; i++) ts_image_clear(&turned[i]);
    free(turned);
    return ok;
}

bool ts_inpainter_run(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count,
                      const ts_inpaint_options *options, ts_inpainted *out, ts_inpaint_ms *ms, ts_error *err)
{
    ts_inpaint_ms spent = {0};
    if (!options) options = &AS_PUBLISHED;
    for (int i = 0; i < count; i++) out[i] = (ts_inpainted){0};
    if (!(options->temperature >= 0) || isinf(options->temperature))
        return ts_fail(err, TS_ERR_ARGUMENT, "temperature %g, wanted 0 (the most likely code) or more", options->temperature);
    if (!(options->blend >= 0) || isinf(options->blend) || (options->blend > 0 && options->temperature > 0))
        return ts_fail(err, TS_ERR_ARGUMENT, "blend %g, wanted 0 (one code a place), or more where the temperature is 0",
                       options->blend);
    if (options->views < 0 || options->views > TS_GRID_VIEWS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d views, wanted 1 to %d", options->views, TS_GRID_VIEWS);
    const int all = canvases_of(count, options, err);
    if (all == 0 || !check_canvases(ip, canvases, all, err) || !ts_inpainter_prepare(ip, grid, count, options, &spent, err))
        return false;
    bool ok = true;
    if (options->views > 1)
        for (int i = 0; ok && i < count; i++)
            ok = run_views(ip, grid, canvases + (int64_t)i * fused_by(options), options, &out[i], &spent, err);
    else ok = run_view(ip, grid, canvases, count, options, out, &spent, err);
    for (int i = 0; !ok && i < count; i++) ts_inpainted_clear(&out[i]);
    if (ms) *ms = spent;
    return ok;
}

/* ---- pictures ---- */

/* Where pixel `i` of `to` falls among `from` pixels, centre on centre: the pixel before it and the weight of the one after. */
static int before(int i, int from, int to, float *weight)
{
    float at = ((float)i + 0.5f) * (float)from / (float)to - 0.5f;
    if (at < 0) at = 0;
    int first = (int)at;
    if (first > from - 1) first = from - 1;
    *weight = at - (float)first;
    return first;
}

bool ts_inpainter_picture(const ts_inpainter *ip, const float *picture, ts_image *out, ts_error *err)
{
    int from = ip->picture, to = ip->canvas;
    if (!ts_image_new(to, to, out, err)) return false;
    for (int y = 0; y < to; y++) {
        float wy, wx;
        int y0 = before(y, from, to, &wy), y1 = smaller(y0 + 1, from - 1);
        for (int x = 0; x < to; x++) {
            int x0 = before(x, from, to, &wx), x1 = smaller(x0 + 1, from - 1);
            for (int c = 0; c < 3; c++) {
                float a = picture[((int64_t)y0 * from + x0) * 3 + c], b = picture[((int64_t)y0 * from + x1) * 3 + c];
                float d = picture[((int64_t)y1 * from + x0) * 3 + c], e = picture[((int64_t)y1 * from + x1) * 3 + c];
                float top = a + wx * (b - a), bottom = d + wx * (e - d);
                float v = (top + wy * (bottom - top)) * 255;
                /* Truncated, not rounded, as published; what is no number becomes black. */
                out->data[((size_t)y * (size_t)to + (size_t)x) * 3 + (size_t)c] = v > 0 ? (uint8_t)(v < 255 ? v : 255) : 0;
            }
        }
    }
    return true;
}
