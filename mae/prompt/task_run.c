/* task_run.c - answers without an example: the encoder sees the query's patches alone, the decoder these and the hole's, and some
 * heads say what they say on the mean of the task's canvases.
 *
 * A patched head is chosen, not computed: behind each block's attention stand the rows (token, head) of what was said and the
 * task's own, and an index takes one or the other. So a head that is not patched keeps its bits. */
#include "mae/prompt/task.h"

#include <stdlib.h>
#include <string.h>

/* One half's inputs; of a block without a patched head there are none. */
typedef struct {
    ts_task_runner *runner;
    int half;
    ts_tensor *vectors[TS_MAE_MAX_DEPTH], *choice[TS_MAE_MAX_DEPTH]; /* (rows, dim), I32 (B, rows) */
} half_inputs;

struct ts_task_runner {
    ts_inpainter *ip;
    const ts_task *task;
    bool own_masks;
    stage s;
    half_inputs half[TS_TASK_HALVES];
    int32_t *choice; /* of a batch, one block's */
    int32_t *codes;  /* of a batch, (B, places of the part) */
    float *pixels, *logits;
};

ts_task_runner *ts_task_runner_new(ts_inpainter *ip, const ts_task *t, bool own_masks, ts_error *err)
{
    const ts_mae_config *a = &ip->mae.config, *b = &t->config;
    if (a->side != b->side || a->patch != b->patch || a->dim != b->dim || a->depth != b->depth || a->heads != b->heads ||
        a->decoder_dim != b->decoder_dim || a->decoder_depth != b->decoder_depth || a->decoder_heads != b->decoder_heads) {
        ts_fail(err, TS_ERR_ARGUMENT, "the task is of a model of another size");
        return NULL;
    }
    ts_task_runner *r = calloc(1, sizeof *r);
    if (!r) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    r->ip = ip;
    r->task = t;
    r->own_masks = own_masks;
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        r->half[i].runner = r;
        r->half[i].half = i;
    }
    return r;
}

static void forget_plan(ts_task_runner *r)
{
    ts_stage_clear(&r->s);
    free(r->choice);
    free(r->codes);
    free(r->pixels);
    free(r->logits);
    r->choice = r->codes = NULL;
    r->pixels = r->logits = NULL;
    for (int i = 0; i < TS_TASK_HALVES; i++)
        for (int block = 0; block < TS_MAE_MAX_DEPTH; block++) r->half[i].vectors[block] = r->half[i].choice[block] = NULL;
}

void ts_task_runner_free(ts_task_runner *r)
{
    if (!r) return;
    forget_plan(r);
    free(r);
}

/* ---- planning ---- */

static int64_t rows_of(const ts_task_half *h)
{
    return (int64_t)h->tokens * h->heads;
}

/* The block's part of a mask, (tokens, heads). */
static const uint8_t *block_mask(const ts_task_half *h, int block, const uint8_t *mask)
{
    return mask + h->first + block * rows_of(h);
}

static bool is_patched(const ts_task_runner *r, const ts_task_half *h, int block)
{
    return r->own_masks || memchr(block_mask(h, block, r->task->mask), 1, (size_t)rows_of(h)) != NULL;
}

/* h (B, N, W): behind the rows (token, head) that the heads said stand those of the task. */
static ts_tensor *choose(void *ctx, int block, ts_tensor *h)
{
    half_inputs *in = ctx;
    const ts_task_half *half = &in->runner->task->half[in->half];
    const int64_t batch = h->shape[0], rows = rows_of(half);
    ts_graph *g = h->graph;
    if (!is_patched(in->runner, half, block)) return h;
    in->vectors[block] = ts_input(g, "vectors", TS_REAL, 2, (int64_t[]){rows, half->dim});
    in->choice[block] = ts_input(g, "choice", TS_I32, 2, (int64_t[]){batch, rows});
    ts_tensor *x = ts_reshape(g, h, 3, (int64_t[]){batch, rows, half->dim});
    x = ts_concat(g, x, in->vectors[block]);      // (B, 2 rows, dim)
    x = ts_gather(g, x, in->choice[block], NULL); // (B, rows, dim)
    return ts_reshape(g, x, 3, (int64_t[]){batch, half->tokens, h->shape[2]});
}

/* `masks`: one for each canvas of the batch, or NULL: the task's for all. */
static bool write_choice(ts_task_runner *r, const uint8_t *masks, int count, ts_error *err)
{
    const ts_task *t = r->task;
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        const int64_t rows = rows_of(&t->half[i]);
        for (int block = 0; block < t->half[i].depth; block++) {
            if (!r->half[i].choice[block]) continue;
            for (int b = 0; b < r->s.batch; b++) {
                const uint8_t *mask = masks && b < count ? masks + b * ts_task_places(t) : t->mask;
                const uint8_t *bits = block_mask(&t->half[i], block, mask);
                for (int64_t row = 0; row < rows; row++) r->choice[b * rows + row] = (int32_t)(bits[row] ? rows + row : row);
            }
            if (!ts_write(r->s.exec, r->half[i].choice[block], r->choice, err)) return false;
        }
    }
    return true;
}

static bool write_vectors(ts_task_runner *r, ts_error *err)
{
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        const ts_task_half *h = &r->task->half[i];
        for (int block = 0; block < h->depth; block++)
            if (r->half[i].vectors[block] &&
                !ts_write(r->s.exec, r->half[i].vectors[block], r->task->vectors[i] + block * rows_of(h) * h->dim, err))
                return false;
    }
    return true;
}

static bool make_room(ts_task_runner *r, int batch, bool logits, ts_error *err)
{
    const ts_task *t = r->task;
    const int64_t encoder = rows_of(&t->half[0]), decoder = rows_of(&t->half[1]);
    const int64_t pixels = (int64_t)r->ip->canvas * r->ip->canvas * 3, all = (int64_t)t->places * t->config.codes;
    return (r->choice = ts_inpaint_room(batch, encoder > decoder ? encoder : decoder, err)) &&
           (r->codes = ts_inpaint_room(batch, t->places, err)) && (r->pixels = ts_inpaint_room(batch, pixels, err)) &&
           (!logits || (r->logits = ts_inpaint_room(batch, all, err)));
}

static void describe(ts_task_runner *r)
{
    const ts_task *t = r->task;
    stage *s = &r->s;
    ts_mae m = r->ip->mae;
    m.encoder_said = (ts_vit_heads){choose, &r->half[0]};
    m.decoder_said = (ts_vit_heads){choose, &r->half[1]};
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){s->batch, r->ip->canvas, r->ip->canvas, 3});
    s->index = ts_mae_index_new_part(s->graph, s->batch, t->visible, t->places);
    ts_tensor *encoded = ts_mae_encode(s->graph, &m, s->in, &s->index); // (B, 1+V, D)
    ts_tensor *y = ts_mae_decode(s->graph, &m, encoded, &s->index);     // (B, P, K)
    s->out = ts_argmax(s->graph, y);
    s->mean = ts_mean(s->graph, y);
    s->logits = y;
}

static bool plan(ts_task_runner *r, int count, bool logits, ts_error *err)
{
    stage *s = &r->s;
    const int batch = ts_inpaint_batch(r->ip, count);
    if (s->exec && s->batch == batch && (r->logits || !logits)) return true;
    forget_plan(r);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    describe(r);
    if (logits) ts_output(s->graph, s->logits);
    const bool ok = make_room(r, batch, logits, err) && ts_stage_plan(r->ip, s, r->ip->mae.params, err) &&
                    ts_mae_index_write_part(s->exec, &r->ip->mae, &s->index, r->task->keep, r->task->part, err) &&
                    write_vectors(r, err) && write_choice(r, NULL, 0, err);
    if (!ok) forget_plan(r);
    return ok;
}

/* ---- answering ---- */

/* Row of the part that place `place` of the canvas is painted from: what is above the query's row is painted as that is. */
static int64_t part_of(const ts_task *t, int64_t place)
{
    const int64_t side = t->grid.side_patches, above = (int64_t)t->top * side;
    return place < above ? place : place - above;
}

static bool run(ts_task_runner *r, const ts_image *canvases, int n, const uint8_t *masks, int32_t *codes, float *logits,
                ts_error *err)
{
    const ts_task *t = r->task;
    const int64_t pixels = (int64_t)r->ip->canvas * r->ip->canvas, k = t->config.codes, places = r->ip->places;
    for (int i = 0; i < n; i++) ts_mae_normalise(canvases[i].data, pixels, r->pixels + i * pixels * 3);
    if ((masks && !write_choice(r, masks, n, err)) || !ts_stage_run(&r->s, r->pixels, err) ||
        (codes && !ts_read(r->s.exec, r->s.out, r->codes, err)) || (logits && !ts_read(r->s.exec, r->s.logits, r->logits, err)))
        return false;
    for (int64_t i = 0; i < n * places; i++) {
        const int64_t from = i / places * t->places + part_of(t, i % places);
        if (codes) codes[i] = r->codes[from];
        if (logits) memcpy(logits + i * k, r->logits + from * k, (size_t)k * sizeof *logits);
    }
    return true;
}

bool ts_task_predict(ts_task_runner *r, const ts_image *canvases, int count, const uint8_t *masks, int32_t *codes, float *logits,
                     ts_inpaint_ms *ms, ts_error *err)
{
    if (masks && !r->own_masks) return ts_fail(err, TS_ERR_ARGUMENT, "this runner has the task's mask for all canvases");
    if (!ts_inpaint_check(r->ip, canvases, count, err)) return false;
    double start = ts_inpaint_now();
    bool ok = plan(r, count, logits != NULL, err);
    ts_inpaint_spend(ms ? &ms->load : NULL, start);
    start = ts_inpaint_now();
    if (ok && r->own_masks && !masks) ok = write_choice(r, NULL, 0, err);
    const int64_t places = r->ip->places, k = r->task->config.codes;
    for (int at = 0; ok && at < count; at += r->s.batch) {
        const int left = count - at, n = left < r->s.batch ? left : r->s.batch;
        ok = run(r, canvases + at, n, masks ? masks + at * ts_task_places(r->task) : NULL, codes ? codes + at * places : NULL,
                 logits ? logits + at * places * k : NULL, err);
    }
    ts_inpaint_spend(ms ? &ms->mae : NULL, start);
    return ok;
}

static bool prepare_as_predictor(void *ctx, int count, bool logits, ts_error *err)
{
    return plan(ctx, count, logits, err);
}

static bool predict_as_predictor(void *ctx, const ts_image *canvases, int count, int32_t *codes, float *logits, ts_inpaint_ms *ms,
                                 ts_error *err)
{
    return ts_task_predict(ctx, canvases, count, NULL, codes, logits, ms, err);
}

ts_predictor ts_task_predictor(ts_task_runner *r)
{
    return (ts_predictor){r, prepare_as_predictor, predict_as_predictor};
}

/* ---- how good an answer is ---- */

bool ts_task_loss(const uint8_t (*colours)[3], const ts_image *truth, const ts_image *answer, double *loss, ts_error *err)
{
    if (!colours) return ts_score_mse(truth, answer, NULL, loss, err);
    ts_score score = {0};
    if (!ts_score_palette(truth, answer, colours, 2, &score, err)) return false;
    *loss = -score.iou;
    return true;
}

static bool loss_of(const ts_task_runner *r, const float *painted, const ts_image *truth, double *loss, ts_error *err)
{
    ts_image picture = {0}, cell = {0};
    const bool ok = ts_inpainter_picture(r->ip, painted, &picture, err) &&
                    ts_grid_answer(&r->task->grid, &picture, 0, 0, &cell, err) &&
                    ts_task_loss(ts_task_colours(r->task), truth, &cell, loss, err);
    ts_image_clear(&picture);
    ts_image_clear(&cell);
    return ok;
}

bool ts_task_losses(ts_task_runner *r, const ts_image *canvases, const ts_image *truths, int count, const uint8_t *masks,
                    double *loss, ts_error *err)
{
    const int batch = ts_inpaint_batch(r->ip, count);
    const int64_t values = (int64_t)r->ip->picture * r->ip->picture * 3;
    int32_t *codes = ts_inpaint_room(batch, r->ip->places, err);
    float *painted = ts_inpaint_room(batch, values, err);
    bool ok = codes && painted;
    for (int at = 0; ok && at < count; at += batch) {
        const int left = count - at, n = left < batch ? left : batch;
        /* A last, smaller batch goes as the others do: for it alone nothing is planned anew. */
        const int first = left < batch && count >= batch ? count - batch : at, run_now = first < at ? batch : n;
        ok = ts_task_predict(r, canvases + first, run_now, masks ? masks + first * ts_task_places(r->task) : NULL, codes, NULL,
                             NULL, err) &&
             ts_inpainter_paint(r->ip, codes, run_now, painted, NULL, err);
        for (int i = 0; ok && i < run_now; i++) ok = loss_of(r, painted + i * values, &truths[first + i], &loss[first + i], err);
    }
    free(codes);
    free(painted);
    return ok;
}
