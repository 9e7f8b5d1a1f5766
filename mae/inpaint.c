/* inpaint.c - in-context inference as published: codes are predicted at every place, also where the canvas is visible, all of
 * them are decoded, and the hidden patches of the decoded picture are pasted into the canvas. With `blend`, which is ours, the
 * codes' mean is decoded instead.
 *
 * Three graphs share two sets of weights: predict (MAE), paint (VQGAN decoder) and, where asked for, encode (VQGAN encoder). Each
 * is planned when first needed and again when the number of canvases or of visible patches changes; another layout with as many
 * visible patches only rewrites the index inputs. */
#include "mae/inpaint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double ts_inpaint_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void ts_inpaint_spend(double *sum, double since)
{
    if (sum) *sum += ts_inpaint_now() - since;
}

void ts_stage_clear(stage *s)
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
    ip->front = desc->front;
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
    ts_stage_clear(&ip->predict);
    ts_stage_clear(&ip->encode);
    ts_stage_clear(&ip->paint);
    for (int i = 0; i < TS_INPAINT_STEPS; i++) ts_stage_clear(&ip->later[i]);
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

int ts_inpaint_batch(const ts_inpainter *ip, int count)
{
    return count < ip->batch ? count : ip->batch;
}

/* ---- planning ---- */

bool ts_stage_plan(const ts_inpainter *ip, stage *s, const ts_params *params, ts_error *err)
{
    ts_output(s->graph, s->out);
    ts_output(s->graph, s->mean);
    s->file = params == ip->mae.params ? ip->file : ip->vqgan_file;
    bool ok = ts_params_check(params, err) && (s->exec = ts_exec_new(s->graph, ip->dev, err)) != NULL;
    if (!ok) ts_stage_clear(s);
    return ok;
}

int ts_inpaint_merged(const ts_inpainter *ip, const ts_arranged *a)
{
    return ip->front.fuse ? a->fused : 1;
}

bool ts_inpaint_plan_predict(ts_inpainter *ip, stage *s, int count, int each, int visible, bool logits, ts_error *err)
{
    if (count % each != 0) return ts_fail(err, TS_ERR_ARGUMENT, "%d canvases are not %d for each query", count, each);
    const int most = ts_inpaint_batch(ip, count), batch = most < each ? each : most - most % each;
    if (s->exec && s->batch == batch && s->each == each && s->visible == visible && (s->logits || !logits)) return true;
    ts_stage_clear(s);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    s->each = each;
    s->visible = visible;
    int64_t side = ip->canvas;
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){batch, side, side, 3});
    s->index = ts_mae_index_new(s->graph, &ip->mae, batch / each, visible, ip->places);
    ts_tensor *encoded;
    if (ip->front.fuse) {
        ts_tensor *tokens = ip->front.fuse(ip->front.ctx, s->graph, &ip->mae, s->in, each);
        encoded = ts_mae_encode_tokens(s->graph, &ip->mae, tokens);
    } else {
        encoded = ts_mae_encode(s->graph, &ip->mae, s->in, &s->index);
    }
    ts_tensor *y = ts_mae_decode(s->graph, &ip->mae, encoded, &s->index); // (B, L, K)
    s->out = ts_argmax(s->graph, y);
    s->mean = ts_mean(s->graph, y);
    if (logits) s->logits = ts_output(s->graph, y);
    return ts_stage_plan(ip, s, ip->mae.params, err);
}

static bool plan_encode(ts_inpainter *ip, int batch, ts_error *err)
{
    stage *s = &ip->encode;
    if (s->exec && s->batch == batch) return true;
    ts_stage_clear(s);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){batch, ip->picture, ip->picture, 3});
    ts_tensor *latents = ts_vqgan_encode(s->graph, &ip->vqgan, s->in);
    s->mean = ts_mean(s->graph, latents);
    s->out = ts_vqgan_codes(s->graph, &ip->vqgan, latents);
    return ts_stage_plan(ip, s, ip->vqgan.params, err);
}

static bool plan_paint(ts_inpainter *ip, int batch, bool latents, ts_error *err)
{
    stage *s = &ip->paint;
    if (s->exec && s->batch == batch && s->latents == latents) return true;
    ts_stage_clear(s);
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
    return ts_stage_plan(ip, s, ip->vqgan.params, err);
}

/* ---- stages ---- */

bool ts_stage_run(const stage *s, const void *in, ts_error *err)
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

bool ts_inpaint_check(const ts_inpainter *ip, const ts_image *canvases, int count, ts_error *err)
{
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d canvases, at least one is wanted", count);
    for (int i = 0; i < count; i++)
        if (!canvases[i].data || canvases[i].width != ip->canvas || canvases[i].height != ip->canvas)
            return ts_fail(err, TS_ERR_SHAPE, "canvas %d has %d x %d pixels, the model wants %d x %d", i, canvases[i].width,
                           canvases[i].height, ip->canvas, ip->canvas);
    return true;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Room for one batch of `each` elements of four bytes. */
void *ts_inpaint_room(int batch, int64_t each, ts_error *err)
{
    void *p = calloc((size_t)batch * (size_t)each, 4);
    if (!p) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", batch);
    return p;
}

int ts_inpaint_visible(const ts_inpainter *ip, const ts_arranged *a, int32_t *keep, ts_error *err)
{
    const int first = visible_patches(ip, &a->grids[0], keep, err);
    for (int i = 1; first > 0 && i < a->count; i++) {
        const int visible = visible_patches(ip, &a->grids[i], keep + (int64_t)i * ip->places, err);
        if (visible == first) continue;
        if (visible > 0)
            ts_fail(err, TS_ERR_SHAPE, "%d patches are visible in one arrangement and %d in another: they do not go together",
                    first, visible);
        return 0;
    }
    return first;
}

/* Writes the layouts of the batch's canvases, of which the first is canvas `at`, into the index inputs, where they are not there
 * yet. */
static bool write_layout(ts_inpainter *ip, stage *s, const ts_layouts *l, int64_t at, ts_error *err)
{
    const int each = s->each > 1 ? s->each : 1, answers = s->batch / each;
    const size_t row = (size_t)s->visible * sizeof *l->keep, all = (size_t)answers * row;
    int32_t *wanted = malloc(all);
    if (!wanted) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < answers; i++)
        memcpy(wanted + (size_t)i * (size_t)s->visible, l->keep + (at + i * each) / l->fused % l->count * ip->places, row);
    if (s->keep && memcmp(s->keep, wanted, all) == 0) {
        free(wanted);
        return true;
    }
    free(s->keep);
    s->keep = wanted;
    if (ts_mae_index_write(s->exec, &ip->mae, &s->index, wanted, NULL, err)) return true;
    free(s->keep);
    s->keep = NULL;
    return false;
}

/* Canvas `at` of the run, as the model takes it. */
static bool fill_canvas(const ts_inpainter *ip, const ts_arranged *a, const ts_image *canvas, int at, float *out, ts_error *err)
{
    ts_mae_normalise(canvas->data, (int64_t)ip->canvas * ip->canvas, out);
    return !ip->front.dress || ip->front.dress(ip->front.ctx, &a->grids[at / a->fused % a->count], out, err);
}

/* Batches of canvases through the planned graph. A last, smaller batch leaves the places behind it as they were: their results
 * are not looked at, and planning anew for it would cost more. */
static bool run_predict(ts_inpainter *ip, stage *s, const ts_layouts *l, const ts_image *canvases, int count, int32_t *codes,
                        float *logits, ts_error *err)
{
    int64_t pixels = (int64_t)ip->canvas * ip->canvas, each_logits = (int64_t)ip->places * ip->mae.config.codes;
    float *in = ts_inpaint_room(s->batch, pixels * 3, err), *out_logits = NULL;
    int32_t *out = ts_inpaint_room(s->batch, ip->places, err);
    bool ok = in && out;
    if (ok && logits) ok = (out_logits = ts_inpaint_room(s->batch, each_logits, err)) != NULL;
    for (int at = 0; ok && at < count; at += s->batch) {
        const int n = smaller(s->batch, count - at), each = s->each > 1 ? s->each : 1;
        const size_t first = (size_t)(at / each), answers = (size_t)(n / each);
        for (int i = 0; ok && i < n; i++) ok = fill_canvas(ip, l->a, &canvases[at + i], at + i, in + i * pixels * 3, err);
        ok = ok && write_layout(ip, s, l, at, err) && ts_stage_run(s, in, err);
        if (ok && codes) ok = ts_read(s->exec, s->out, out, err);
        if (ok && codes) memcpy(codes + first * (size_t)ip->places, out, answers * (size_t)ip->places * sizeof *out);
        if (ok && logits) ok = ts_read(s->exec, s->logits, out_logits, err);
        if (ok && logits)
            memcpy(logits + first * (size_t)each_logits, out_logits, answers * (size_t)each_logits * sizeof *logits);
    }
    free(in);
    free(out);
    free(out_logits);
    return ok;
}

bool ts_inpaint_prepare(ts_inpainter *ip, int pictures, bool latents, bool encode, ts_error *err)
{
    return plan_paint(ip, ts_inpaint_batch(ip, pictures), latents, err) &&
           (!encode || plan_encode(ip, ts_inpaint_batch(ip, pictures), err));
}

bool ts_inpaint_predict(ts_inpainter *ip, stage *s, const ts_layouts *l, const ts_image *canvases, int count, int32_t *codes,
                        float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    double start = ts_inpaint_now();
    bool ok = ts_inpaint_plan_predict(ip, s, count, ts_inpaint_merged(ip, l->a), l->visible, logits != NULL, err);
    ts_inpaint_spend(ms ? &ms->load : NULL, start);
    start = ts_inpaint_now();
    ok = ok && run_predict(ip, s, l, canvases, count, codes, logits, err);
    ts_inpaint_spend(ms ? &ms->mae : NULL, start);
    return ok;
}

bool ts_inpainter_predict_arranged(ts_inpainter *ip, const ts_arranged *a, const ts_image *canvases, int count, int32_t *codes,
                                   float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    if (!ts_inpaint_check(ip, canvases, count, err)) return false;
    int32_t *keep = ts_inpaint_room(a->count, ip->places, err);
    const int visible = keep ? ts_inpaint_visible(ip, a, keep, err) : 0;
    const ts_layouts l = {keep, a->count, a->fused, visible, a};
    const bool ok = visible > 0 && ts_inpaint_predict(ip, &ip->predict, &l, canvases, count, codes, logits, ms, err);
    free(keep);
    return ok;
}

bool ts_inpainter_predict(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count, int32_t *codes,
                          float *logits, ts_inpaint_ms *ms, ts_error *err)
{
    return ts_inpainter_predict_arranged(ip, &(ts_arranged){grid, 1, 1}, canvases, count, codes, logits, ms, err);
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
    if (!ts_inpaint_check(ip, canvases, count, err)) return false;
    double start = ts_inpaint_now();
    bool ok = plan_encode(ip, ts_inpaint_batch(ip, count), err);
    ts_inpaint_spend(ms ? &ms->load : NULL, start);
    if (!ok) return false;
    start = ts_inpaint_now();
    stage *s = &ip->encode;
    int64_t values = (int64_t)ip->picture * ip->picture * 3;
    float *in = ts_inpaint_room(s->batch, values, err);
    int32_t *out = ts_inpaint_room(s->batch, ip->places, err);
    ok = in && out;
    for (int at = 0; ok && at < count; at += s->batch) {
        int n = smaller(s->batch, count - at);
        for (int i = 0; ok && i < n; i++) ok = fill_vqgan(ip, &canvases[at + i], in + i * values, err);
        ok = ok && ts_stage_run(s, in, err) && ts_read(s->exec, s->out, out, err);
        if (ok) memcpy(codes + (int64_t)at * ip->places, out, (size_t)n * (size_t)ip->places * sizeof *out);
    }
    free(in);
    free(out);
    ts_inpaint_spend(ms ? &ms->encode : NULL, start);
    return ok;
}

/* `in` has `each` numbers of four bytes for a picture: codes, or latents. */
static bool paint(ts_inpainter *ip, const void *in, int64_t each, bool latents, int count, float *pictures, ts_inpaint_ms *ms,
                  ts_error *err)
{
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d pictures to paint, at least one is wanted", count);
    double start = ts_inpaint_now();
    bool ok = plan_paint(ip, ts_inpaint_batch(ip, count), latents, err);
    ts_inpaint_spend(ms ? &ms->load : NULL, start);
    if (!ok) return false;
    start = ts_inpaint_now();
    stage *s = &ip->paint;
    int64_t values = (int64_t)ip->picture * ip->picture * 3;
    char *batch = ts_inpaint_room(s->batch, each, err);
    float *out = ts_inpaint_room(s->batch, values, err);
    ok = batch && out;
    for (int at = 0; ok && at < count; at += s->batch) {
        int n = smaller(s->batch, count - at);
        memcpy(batch, (const char *)in + at * each * 4, (size_t)n * (size_t)each * 4);
        ok = ts_stage_run(s, batch, err) && ts_read(s->exec, s->out, out, err);
        if (ok) memcpy(pictures + at * values, out, (size_t)n * (size_t)values * sizeof *out);
    }
    free(batch);
    free(out);
    ts_inpaint_spend(ms ? &ms->decode : NULL, start);
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
