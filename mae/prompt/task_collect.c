/* task_collect.c - what the heads say on canvases of several tasks: means, from which a task's vectors are made, and how much of
 * their variance is between tasks.
 *
 * The paper's activation of a head is W_h o, as wide as the model; kept is o, and |W_h o|^2 comes by the small matrix
 * G = W_h^T W_h: the variance of W_h o is E(o G o) - E(o) G E(o). */
#include "mae/prompt/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums of one task and one half. */
typedef struct {
    double *said;    /* (depth, tokens, heads, dim), of o */
    double *squares; /* (depth, tokens, heads), of o G o */
} sums;

typedef struct {
    ts_tensor *said[TS_MAE_MAX_DEPTH]; /* (B, N, W) of all tokens */
    int64_t rows;                      /* N */
    int *row;                          /* (tokens): the task's tokens among those */
    double *gram;                      /* (depth, heads, dim, dim) */
} half_seen;

struct ts_task_collector {
    ts_inpainter *ip;
    const ts_task *task;
    int tasks;
    stage s;
    half_seen half[TS_TASK_HALVES];
    sums *sum;      /* (tasks, halves) */
    int64_t *count; /* (tasks), canvases */
    float *pixels, *read;
    double *o; /* room for two heads' numbers */
};

static int64_t numbers_of(const ts_task_half *h)
{
    return ts_task_half_places(h) * h->dim;
}

/* ---- making ---- */

/* G of one block's heads, from the projection's weight (W, W), whose columns are the heads' numbers. */
static void square(const ts_task_half *h, const float *weight, double *gram)
{
    const int64_t width = (int64_t)h->heads * h->dim;
    for (int head = 0; head < h->heads; head++)
        for (int64_t row = 0; row < width; row++) {
            const float *w = weight + row * width + (int64_t)head * h->dim;
            double *g = gram + (int64_t)head * h->dim * h->dim;
            for (int i = 0; i < h->dim; i++)
                for (int k = 0; k < h->dim; k++) g[i * h->dim + k] += (double)w[i] * (double)w[k];
        }
}

static bool make_gram(ts_task_collector *c, int half, ts_error *err)
{
    const ts_task_half *h = &c->task->half[half];
    const int64_t width = (int64_t)h->heads * h->dim, of_block = width * h->dim;
    double *gram = c->half[half].gram = calloc((size_t)(h->depth * of_block), sizeof *gram);
    float *weight = calloc((size_t)(width * width), sizeof *weight);
    if (!gram || !weight) {
        free(weight);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    bool ok = true;
    for (int block = 0; ok && block < h->depth; block++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%d.attn.proj.weight", ts_task_half_prefix(half), block);
        const ts_weight *w = ts_weights_find(c->ip->file, name);
        ok = w && w->count == width * width ? ts_weight_to_f32(w, weight, err)
                                            : ts_weights_lack(c->ip->file, name, "the masked autoencoder's", err);
        if (ok) square(h, weight, gram + block * of_block);
    }
    free(weight);
    return ok;
}

/* Where a task's tokens stand among those of a plain run: the class token, then the visible patches, or all. */
static bool find_rows(ts_task_collector *c, ts_error *err)
{
    const ts_task *t = c->task;
    int32_t *keep = ts_inpaint_room(1, c->ip->places, err);
    if (!keep) return false;
    const int visible = ts_grid_keep(&t->grid, keep);
    c->half[0].rows = 1 + visible;
    c->half[1].rows = 1 + c->ip->places;
    for (int half = 0; half < TS_TASK_HALVES; half++) {
        int *row = c->half[half].row = calloc((size_t)t->half[half].tokens, sizeof *row);
        for (int token = 1; row && token < t->half[half].tokens; token++) {
            if (half) row[token] = 1 + t->part[token - 1];
            for (int i = 0; !half && i < visible; i++)
                if (keep[i] == t->keep[token - 1]) row[token] = 1 + i;
        }
    }
    free(keep);
    return (c->half[0].row && c->half[1].row) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static bool make(ts_task_collector *c, ts_error *err)
{
    c->sum = calloc((size_t)c->tasks * TS_TASK_HALVES, sizeof *c->sum);
    c->count = calloc((size_t)c->tasks, sizeof *c->count);
    if (!c->sum || !c->count) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d tasks", c->tasks);
    for (int i = 0; i < c->tasks * TS_TASK_HALVES; i++) {
        const ts_task_half *h = &c->task->half[i % TS_TASK_HALVES];
        c->sum[i].said = calloc((size_t)numbers_of(h), sizeof *c->sum[i].said);
        c->sum[i].squares = calloc((size_t)ts_task_half_places(h), sizeof *c->sum[i].squares);
        if (!c->sum[i].said || !c->sum[i].squares) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d tasks", c->tasks);
    }
    const int encoder = c->task->half[0].dim, decoder = c->task->half[1].dim;
    c->o = malloc(2 * (size_t)(encoder > decoder ? encoder : decoder) * sizeof *c->o);
    if (!c->o) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return find_rows(c, err) && make_gram(c, 0, err) && make_gram(c, 1, err);
}

ts_task_collector *ts_task_collector_new(ts_inpainter *ip, const ts_task *t, int tasks, ts_error *err)
{
    ts_task_collector *c = calloc(1, sizeof *c);
    if (!c) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    c->ip = ip;
    c->task = t;
    c->tasks = tasks;
    if (make(c, err)) return c;
    ts_task_collector_free(c);
    return NULL;
}

static void forget_plan(ts_task_collector *c)
{
    ts_stage_clear(&c->s);
    free(c->pixels);
    free(c->read);
    c->pixels = c->read = NULL;
}

void ts_task_collector_free(ts_task_collector *c)
{
    if (!c) return;
    forget_plan(c);
    for (int i = 0; c->sum && i < c->tasks * TS_TASK_HALVES; i++) {
        free(c->sum[i].said);
        free(c->sum[i].squares);
    }
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        free(c->half[i].row);
        free(c->half[i].gram);
    }
    free(c->sum);
    free(c->count);
    free(c->o);
    free(c);
}

/* ---- running ---- */

static ts_tensor *see(void *ctx, int block, ts_tensor *h)
{
    half_seen *half = ctx;
    return half->said[block] = ts_output(h->graph, h);
}

static bool plan(ts_task_collector *c, int count, ts_error *err)
{
    stage *s = &c->s;
    ts_inpainter *ip = c->ip;
    const int batch = ts_inpaint_batch(ip, count), visible = (int)c->half[0].rows - 1;
    if (s->exec && s->batch == batch) return true;
    forget_plan(c);
    if (!(s->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->batch = batch;
    ts_mae m = ip->mae;
    m.encoder_said = (ts_vit_heads){see, &c->half[0]};
    m.decoder_said = (ts_vit_heads){see, &c->half[1]};
    s->in = ts_input(s->graph, "canvas", TS_REAL, 4, (int64_t[]){batch, ip->canvas, ip->canvas, 3});
    s->index = ts_mae_index_new(s->graph, &m, batch, visible, ip->places);
    ts_tensor *encoded = ts_mae_encode(s->graph, &m, s->in, &s->index);
    s->out = ts_mae_decode(s->graph, &m, encoded, &s->index);
    s->mean = ts_mean(s->graph, s->out);
    int64_t most = 0;
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        const int64_t size = c->half[i].rows * c->task->half[i].heads * c->task->half[i].dim;
        if (size > most) most = size;
    }
    int32_t *keep = ts_inpaint_room(batch, ip->places, err);
    for (int i = 0; keep && i < batch; i++) ts_grid_keep(&c->task->grid, keep + (int64_t)i * visible);
    const bool ok = keep && (c->pixels = ts_inpaint_room(batch, (int64_t)ip->canvas * ip->canvas * 3, err)) &&
                    (c->read = ts_inpaint_room(batch, most, err)) && ts_stage_plan(ip, s, ip->mae.params, err) &&
                    ts_mae_index_write(s->exec, &ip->mae, &s->index, keep, NULL, err);
    free(keep);
    if (!ok) forget_plan(c);
    return ok;
}

/* o G o */
static double squared(const double *gram, const double *o, int dim)
{
    double sum = 0;
    for (int i = 0; i < dim; i++) {
        double row = 0;
        for (int k = 0; k < dim; k++) row += gram[i * dim + k] * o[k];
        sum += row * o[i];
    }
    return sum;
}

/* One block of a batch of `n` canvases, (B, N, W). */
static void add_block(ts_task_collector *c, int task, int half, int block, int n)
{
    const ts_task_half *h = &c->task->half[half];
    const half_seen *seen = &c->half[half];
    sums *sum = &c->sum[task * TS_TASK_HALVES + half];
    for (int b = 0; b < n; b++)
        for (int token = 0; token < h->tokens; token++)
            for (int head = 0; head < h->heads; head++) {
                const float *o = c->read + (((b * seen->rows) + seen->row[token]) * h->heads + head) * h->dim;
                const int64_t at = ((int64_t)block * h->tokens + token) * h->heads + head;
                for (int i = 0; i < h->dim; i++) sum->said[at * h->dim + i] += c->o[i] = (double)o[i];
                sum->squares[at] += squared(seen->gram + ((int64_t)block * h->heads + head) * h->dim * h->dim, c->o, h->dim);
            }
}

bool ts_task_collect(ts_task_collector *c, int task, const ts_image *canvases, int count, ts_error *err)
{
    const int64_t pixels = (int64_t)c->ip->canvas * c->ip->canvas;
    if (task < 0 || task >= c->tasks) return ts_fail(err, TS_ERR_ARGUMENT, "there is no task %d of %d", task, c->tasks);
    if (!ts_inpaint_check(c->ip, canvases, count, err) || !plan(c, count, err) || !c->pixels || !c->read) return false;
    for (int at = 0; at < count; at += c->s.batch) {
        const int left = count - at, n = left < c->s.batch ? left : c->s.batch;
        for (int i = 0; i < n; i++) ts_mae_normalise(canvases[at + i].data, pixels, c->pixels + i * pixels * 3);
        if (!ts_stage_run(&c->s, c->pixels, err)) return false;
        for (int half = 0; half < TS_TASK_HALVES; half++)
            for (int block = 0; block < c->task->half[half].depth; block++) {
                if (!ts_read(c->s.exec, c->half[half].said[block], c->read, err)) return false;
                add_block(c, task, half, block, n);
            }
    }
    c->count[task] += count;
    return true;
}

/* ---- what came of it ---- */

bool ts_task_collected(const ts_task_collector *c, ts_task *t, ts_error *err)
{
    if (c->count[0] == 0) return ts_fail(err, TS_ERR_ARGUMENT, "no canvas of the task was seen");
    for (int half = 0; half < TS_TASK_HALVES; half++) {
        const double *said = c->sum[half].said;
        for (int64_t i = 0; i < numbers_of(&c->task->half[half]); i++)
            t->vectors[half][i] = (float)(said[i] / (double)c->count[0]);
    }
    return true;
}

/* Of one head at one token: the mean over tasks of the variances within each, and the variance over all of them. */
static void variances(const ts_task_collector *c, int half, int64_t place, const double *gram, double *within, double *over)
{
    const int dim = c->task->half[half].dim;
    double squares = 0, means = 0, *mean = c->o, *all = c->o + dim;
    int tasks = 0;
    for (int i = 0; i < dim; i++) all[i] = 0;
    for (int k = 0; k < c->tasks; k++) {
        if (c->count[k] == 0) continue;
        const sums *s = &c->sum[k * TS_TASK_HALVES + half];
        const double share = 1 / (double)c->count[k];
        for (int i = 0; i < dim; i++) all[i] += mean[i] = s->said[place * dim + i] * share;
        squares += s->squares[place] * share;
        means += squared(gram, mean, dim);
        tasks++;
    }
    for (int i = 0; i < dim; i++) all[i] /= tasks;
    *within = (squares - means) / tasks;
    *over = squares / tasks - squared(gram, all, dim);
}

bool ts_task_scores(const ts_task_collector *c, ts_task_grain grain, double *score, ts_error *err)
{
    const ts_task *t = c->task;
    const int units = ts_task_units(t, grain);
    double *within = calloc((size_t)units, sizeof *within);
    if (!within || c->count[0] == 0) {
        if (within) ts_fail(err, TS_ERR_ARGUMENT, "no canvas of the task was seen");
        else ts_fail(err, TS_ERR_MEMORY, "out of memory");
        free(within);
        return false;
    }
    for (int i = 0; i < units; i++) score[i] = 0;
    for (int half = 0; half < TS_TASK_HALVES; half++) {
        const ts_task_half *h = &t->half[half];
        for (int64_t place = 0; place < ts_task_half_places(h); place++) {
            const int head = (int)(place % h->heads), token = (int)(place / h->heads % h->tokens);
            const int block = (int)(place / h->heads / h->tokens);
            const double *gram = c->half[half].gram + ((int64_t)block * h->heads + head) * h->dim * h->dim;
            const int unit = ts_task_unit_at(t, grain, half, block, token, head);
            double a, b;
            variances(c, half, place, gram, &a, &b);
            within[unit] += a;
            score[unit] += b;
        }
    }
    /* What never varies says nothing of the task. */
    for (int i = 0; i < units; i++) score[i] = within[i] > 1e-12 * score[i] ? score[i] / within[i] : 0;
    free(within);
    return true;
}
