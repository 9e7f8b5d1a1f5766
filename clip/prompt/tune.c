/* tune.c - tunes a prompt: one step of a recipe after the other, on a frozen model. How a step is made of passes is told in
 * method.h. There are three ways to go:
 *
 *   joint      all classes fit in one chunk and all pictures in one micro-batch: one pass has it all
 *   parts      classes in chunks, once forward and once back with recomputation; pictures in micro-batches
 *   per image  the classes depend on the picture: one of the two for each picture, as a batch of one
 *
 * Gradients meet on the host; the update is a small graph of its own, so that it is the engine's optimizer. All state is in the
 * parameters, the optimizer's moments and the number of steps: what a step sees is a function of the seed and of its number. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/prompt/tune.h"
#include "engine/number.h"

/* The optimizer for one parameter. */
typedef struct {
    ts_tensor *grad, *m, *v; /* an input; moments (v: Adam's second) */
} update;

struct ts_clip_tuner {
    ts_clip *clip;
    ts_clip_prompt *at_work;
    ts_prompt *prompt; /* at_work's */
    ts_recipe method;  /* the method's, with the warm-up as it is here */
    ts_clip_recipe recipe;
    int shots, threads;
    uint64_t seed, cache;
    const ts_clip_split *train;
    int64_t steps, epoch_steps, total;

    ts_clip_reader *reader; /* NULL: the features are there */
    bool *broken;           /* by item: its features are none; NULL where there is a reader */
    ts_clip_left_out left_out;
    void *ctx; /* of left_out, and of `progress` while features are made */
    ts_clip_progress progress;
    float *all_features;   /* (train->count, E), of frozen pictures computed once */
    int64_t *order, epoch; /* of the items in the epoch, where there is no reader */

    bool joint;
    int64_t micro; /* pictures of a head or joint pass */
    ts_clip_pass head, forward, back;
    float *features; /* (batch, E) */
    int32_t *target, *best;
    float *classes, *classes_grad, *rows; /* (K, E) each; (chunk, E) */
    float *pixels;                        /* (micro, side, side, 3) */

    float **grad, *scratch; /* by parameter; the largest */
    ts_graph *update_graph;
    ts_exec *update_exec;
    ts_tensor *hyper;
    update *updates;
    float **saved; /* what a writer was lent */
};

/* ---- the update -------------------------------------------------------------------------------------------------- */

static bool describe_update(ts_clip_tuner *t, const struct ts_prompt_declared *d, update *u)
{
    ts_graph *g = t->update_graph;
    ts_tensor *p = ts_param(g, t->prompt->params, d->name, d->layout, d->ndim, d->shape);
    u->grad = ts_input_weight(g, d->name, d->layout, d->ndim, d->shape);
    u->m = ts_state(g, d->name, d->layout, d->ndim, d->shape);
    const float decay = (float)t->recipe.weight_decay;
    if (t->method.optimizer == TS_OPTIMIZE_SGD)
        return ts_sgd(g, p, u->grad, u->m, t->hyper, NULL, (float)t->recipe.momentum, decay);
    u->v = ts_state(g, d->name, d->layout, d->ndim, d->shape);
    /* Adam's decay is a part of the loss, lambda |w|^2, and so of the gradient: not AdamW's. */
    ts_tensor *grad = decay > 0 ? ts_add(g, u->grad, ts_scale(g, p, decay, 0)) : u->grad;
    return ts_adamw(g, p, grad, u->m, u->v, t->hyper, NULL, &(ts_adamw_desc){.beta1 = t->recipe.momentum});
}

static bool make_update(ts_clip_tuner *t, ts_error *err)
{
    const int count = t->prompt->declared_count;
    int64_t largest = 0;
    t->update_graph = ts_graph_new();
    t->updates = calloc((size_t)count + 1, sizeof *t->updates);
    t->grad = calloc((size_t)count + 1, sizeof(float *));
    t->saved = calloc((size_t)(2 * count) + 2, sizeof(float *));
    bool ok = t->update_graph && t->updates && t->grad && t->saved;
    if (ok) t->hyper = ts_input(t->update_graph, "hyper", TS_REAL, 1, (int64_t[]){3});
    for (int i = 0; ok && i < count; i++) {
        ok = describe_update(t, &t->prompt->declared[i], &t->updates[i]);
        const int64_t n = ts_count(t->updates[i].grad);
        if (n > largest) largest = n;
        if (ok) ok = (t->grad[i] = calloc((size_t)n, sizeof(float))) != NULL;
    }
    if (ok) ok = (t->scratch = malloc((size_t)largest * sizeof(float))) != NULL;
    const ts_error *why = t->update_graph ? ts_graph_error(t->update_graph) : NULL;
    if (!ok) return why ? ts_fail(err, why->code, "%s", why->text) : ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->update_exec = ts_exec_new(t->update_graph, ts_clip_device(t->clip), err);
    return t->update_exec != NULL;
}

static bool apply(ts_clip_tuner *t, double lr, ts_error *err)
{
    const double n = (double)(t->steps + 1);
    const float hyper[3] = {(float)lr, (float)(1 - pow(t->recipe.momentum, n)), (float)(1 - pow(0.999, n))};
    bool ok = ts_write(t->update_exec, t->hyper, hyper, err);
    for (int i = 0; ok && i < t->prompt->declared_count; i++) ok = ts_write(t->update_exec, t->updates[i].grad, t->grad[i], err);
    return ok && ts_run(t->update_exec, err);
}

/* ---- the recipe -------------------------------------------------------------------------------------------------- */

/* Zero: `own`; below: zero. */
static double chosen(double said, double own)
{
    return said == 0 ? own : said < 0 ? 0 : said;
}

static bool choose_recipe(ts_clip_tuner *t, const ts_clip_tuner_desc *d, const ts_method *m, ts_error *err)
{
    const ts_clip_recipe *said = &d->recipe;
    ts_clip_recipe *r = &t->recipe;
    r->batch = said->batch ? said->batch : m->recipe.batch;
    if (r->batch > t->train->count) r->batch = (int)t->train->count;
    r->epochs = said->epochs ? said->epochs : ts_recipe_epochs(&m->recipe, d->shots);
    r->momentum = chosen(said->momentum, m->recipe.momentum);
    if (m->recipe.optimizer == TS_OPTIMIZE_ADAM && r->momentum == 0) r->momentum = 0.9;
    r->weight_decay = chosen(said->weight_decay, m->recipe.weight_decay);
    r->crop = (said->crop ? said->crop > 0 : m->recipe.crop) ? 1 : 0;
    r->lr = said->lr > 0 ? said->lr : m->recipe.lr * (m->recipe.lr_of_256 ? (double)r->batch / 256 : 1);
    if (r->batch < 1 || r->epochs < 1 || !(r->lr < 1e6) || !(r->momentum < 1) || !(r->weight_decay < 1e6))
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "a recipe of batch %d, %d epochs, learning rate %g, momentum %g, weight decay %g is not possible",
                       r->batch, r->epochs, r->lr, r->momentum, r->weight_decay);
    t->epoch_steps = (t->train->count + (m->recipe.keep_last ? r->batch - 1 : 0)) / r->batch;
    t->total = t->epoch_steps * r->epochs;
    t->method = m->recipe;
    const int64_t counted = m->recipe.by_step ? t->total : r->epochs;
    r->warmup = said->warmup ? (said->warmup > 0 ? said->warmup : 0) : ts_clip_warm(&m->recipe, counted);
    if (r->warmup > counted && !m->recipe.by_step) r->warmup = (int)counted; /* steps may end in the midst of it, as published */
    t->method.warm = r->warmup;
    return true;
}

static double rate(const ts_clip_tuner *t, int64_t step)
{
    const bool by_step = t->method.by_step;
    return ts_clip_rate(&t->method, t->recipe.lr, by_step ? step : step / t->epoch_steps, by_step ? t->total : t->recipe.epochs);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static bool make_prompt(ts_clip_tuner *t, const ts_clip_tuner_desc *d, const ts_method *m, ts_error *err)
{
    ts_prompt_desc desc = {.method = m,
                           .clip = d->clip,
                           .tokenizer = d->tokenizer,
                           .names = (const char *const *)d->data->name,
                           .classes = d->data->classes,
                           .cut = d->cut,
                           .seed = d->seed};
    for (int i = 0; i < d->setting_count; i++)
        if (!ts_method_setting_set(m, &desc.settings, d->settings[i].key, d->settings[i].value, err)) return false;
    t->at_work = ts_clip_prompt_new(&desc, err);
    if (!t->at_work) return false;
    t->prompt = ts_clip_prompt_inner(t->at_work);
    return true;
}

static bool make_passes(ts_clip_tuner *t, uint64_t memory, ts_error *err)
{
    const ts_method *m = t->prompt->method;
    const int64_t chunk = m->classes ? ts_clip_chunk_size(t->prompt, memory) : 0, batch = m->per_image ? 1 : t->recipe.batch;
    t->micro = m->images ? ts_clip_micro_batch(t->prompt, memory) : batch;
    if (t->micro > batch) t->micro = batch;
    t->joint = m->classes && chunk == t->prompt->classes && t->micro == batch;
    if (t->joint)
        return ts_clip_pass_joint(&t->head, t->prompt, t->micro, err) &&
               ts_prompt_chunk_write(&t->head.pg, t->head.e, &t->head.chunk, 0, err);
    if (!ts_clip_pass_head(&t->head, t->prompt, t->micro, err)) return false;
    if (!m->classes) return ts_prompt_constant_classes(t->prompt, t->classes, err);
    return ts_clip_pass_classes(&t->forward, t->prompt, chunk, true, err) && ts_clip_pass_back(&t->back, t->prompt, chunk, err);
}

static bool make_room(ts_clip_tuner *t, ts_error *err)
{
    const size_t embed = (size_t)ts_clip_about(t->clip)->embed, classes = (size_t)t->prompt->classes,
                 batch = (size_t)t->recipe.batch;
    t->features = malloc(batch * embed * sizeof(float));
    t->target = malloc(batch * sizeof *t->target);
    t->best = malloc(batch * sizeof *t->best);
    t->classes = malloc(classes * embed * sizeof(float));
    t->classes_grad = malloc(classes * embed * sizeof(float));
    t->rows = malloc(classes * embed * sizeof(float));
    t->order = malloc((size_t)t->train->count * sizeof *t->order);
    t->epoch = -1;
    if (t->features && t->target && t->best && t->classes && t->classes_grad && t->rows && t->order) return true;
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d classes and a batch of %d", t->prompt->classes, t->recipe.batch);
}

static void note_progress(void *ctx, int64_t done, int64_t total)
{
    const ts_clip_tuner *t = ctx;
    if (t->progress) t->progress(t->ctx, done, total);
}

static void note_broken(void *ctx, int64_t item, const ts_error *why)
{
    ts_clip_tuner *t = ctx;
    t->broken[item] = true;
    t->left_out(t->ctx, item, why);
}

static bool make_pictures(ts_clip_tuner *t, const ts_clip_tuner_desc *d, ts_error *err)
{
    const size_t embed = (size_t)ts_clip_about(t->clip)->embed, side = (size_t)t->prompt->side;
    if (t->prompt->method->images || t->recipe.crop == 1) {
        t->pixels = calloc((size_t)t->micro * side * side, 3 * sizeof(float));
        return t->pixels || ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld pictures", (long long)t->micro);
    }
    t->all_features = malloc((size_t)t->train->count * embed * sizeof(float));
    t->broken = calloc((size_t)t->train->count, sizeof *t->broken);
    if (!t->all_features || !t->broken)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %lld pictures", (long long)t->train->count);
    return ts_clip_split_features(t->clip, NULL, t->train, d->threads, note_progress, t->left_out ? note_broken : NULL, t,
                                  t->all_features, err);
}

static bool check_data(const ts_clip_tuner_desc *d, ts_error *err)
{
    const ts_clip_split *s = &d->data->train;
    if (s->count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "there are no pictures to tune with");
    for (int64_t i = 0; i < s->count; i++)
        if (s->item[i].label < 0 || s->item[i].label >= d->data->classes)
            return ts_fail(err, TS_ERR_ARGUMENT, "%s has label %d, beside %d classes", s->item[i].path, s->item[i].label,
                           d->data->classes);
    if (ts_device_precision(ts_clip_device(d->clip)) == TS_F16)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "prompts cannot be tuned in fp16 storage: open the device with fp32");
    return true;
}

ts_clip_tuner *ts_clip_tuner_new(const ts_clip_tuner_desc *desc, ts_error *err)
{
    const ts_method *m = ts_method_find(desc->method, err);
    if (!m || !check_data(desc, err)) return NULL;
    ts_clip_tuner *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->clip = desc->clip;
    t->train = &desc->data->train;
    t->shots = desc->shots;
    t->seed = desc->seed;
    t->threads = desc->threads;
    t->progress = desc->progress;
    t->left_out = desc->left_out;
    t->ctx = desc->ctx;
    t->cache = desc->cache ? desc->cache : UINT64_C(512) << 20;
    if (choose_recipe(t, desc, m, err) && make_prompt(t, desc, m, err) && make_room(t, err) &&
        make_passes(t, desc->memory ? desc->memory : UINT64_C(1) << 30, err) && make_update(t, err) &&
        make_pictures(t, desc, err))
        return t;
    ts_clip_tuner_free(t);
    return NULL;
}

static void free_saved(ts_clip_tuner *t)
{
    for (int i = 0; t->saved && t->saved[i]; i++) {
        free(t->saved[i]);
        t->saved[i] = NULL;
    }
}

void ts_clip_tuner_free(ts_clip_tuner *t)
{
    if (!t) return;
    ts_clip_reader_free(t->reader);
    ts_clip_pass_clear(&t->head);
    ts_clip_pass_clear(&t->forward);
    ts_clip_pass_clear(&t->back);
    ts_exec_free(t->update_exec);
    ts_graph_free(t->update_graph);
    for (int i = 0; t->grad && t->grad[i]; i++) free(t->grad[i]);
    free_saved(t);
    free(t->saved);
    free(t->grad);
    free(t->scratch);
    free(t->updates);
    free(t->all_features);
    free(t->broken);
    free(t->order);
    free(t->features);
    free(t->target);
    free(t->best);
    free(t->classes);
    free(t->classes_grad);
    free(t->rows);
    free(t->pixels);
    ts_clip_prompt_free(t->at_work);
    free(t);
}

ts_clip_tuner_info ts_clip_tuner_about(const ts_clip_tuner *t)
{
    const int64_t chunk = t->forward.e ? t->forward.chunk.count : t->prompt->classes;
    const int64_t batch = t->prompt->method->per_image ? 1 : t->recipe.batch;
    return (ts_clip_tuner_info){.step = t->steps,
                                .steps = t->total,
                                .epoch_steps = t->epoch_steps,
                                .recipe = t->recipe,
                                .optimizer = t->method.optimizer == TS_OPTIMIZE_SGD ? "sgd" : "adam",
                                .by_step = t->method.by_step,
                                .features = t->all_features != NULL,
                                .chunks = (int)((t->prompt->classes + chunk - 1) / chunk),
                                .micro_batches = (int)((batch + t->micro - 1) / t->micro)};
}

ts_clip_prompt *ts_clip_tuner_prompt(ts_clip_tuner *t)
{
    return t->at_work;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

/* Pictures of the step to come: an epoch's last may be fewer. */
static int64_t pictures_left(const ts_clip_tuner *t)
{
    const int64_t left = t->train->count - t->steps % t->epoch_steps * t->recipe.batch;
    return left < t->recipe.batch ? left : t->recipe.batch;
}

/* The labels of `batch` pictures, and their features where they are frozen; else `pixels` points to the pictures. */
static bool take_batch(ts_clip_tuner *t, int64_t batch, const float **pixels, ts_error *err)
{
    const int64_t embed = ts_clip_about(t->clip)->embed;
    *pixels = NULL;
    if (t->all_features) {
        const int64_t epoch = t->steps / t->epoch_steps, first = t->steps % t->epoch_steps * t->recipe.batch;
        if (epoch != t->epoch) ts_clip_shuffle(t->seed, t->epoch = epoch, t->train->count, t->order);
        for (int64_t i = 0; i < batch; i++) {
            int64_t item = t->order[first + i];
            while (t->broken[item]) item = (item + 1) % t->train->count; /* as the reader does */
            t->target[i] = t->train->item[item].label;
            memcpy(t->features + i * embed, t->all_features + item * embed, (size_t)embed * sizeof(float));
        }
        return true;
    }
    if (!t->reader)
        t->reader = ts_clip_reader_new(&(ts_clip_reader_desc){.item = t->train->item,
                                                              .count = t->train->count,
                                                              .side = t->prompt->side,
                                                              .batch = t->recipe.batch,
                                                              .shuffle = true,
                                                              .epoch_batches = t->epoch_steps,
                                                              .crop = t->recipe.crop == 1,
                                                              .seed = t->seed,
                                                              .first = t->steps,
                                                              .threads = t->threads,
                                                              .cache_bytes = t->cache,
                                                              .skip = t->left_out != NULL},
                                       err);
    ts_clip_pictures_read read;
    if (!t->reader || !ts_clip_reader_next(t->reader, &read, err)) return false;
    int64_t item;
    ts_error why;
    while (t->left_out && ts_clip_reader_skipped(t->reader, &item, &why)) t->left_out(t->ctx, item, &why);
    for (int64_t i = 0; i < batch; i++) t->target[i] = t->train->item[read.item[i]].label;
    if (t->prompt->method->images) *pixels = read.pixels;
    return *pixels || ts_clip_encode_images(t->clip, read.pixels, batch, t->features, err);
}

/* Pictures `first` ... of the batch, `count` of them, through the head (or joint) pass: its loss and gradients, and what it got
 * right, added with their share of the batch. */
static bool run_head(ts_clip_tuner *t, const float *pixels, int64_t first, int64_t count, ts_clip_tuned *out, ts_error *err)
{
    const double share = (double)count / out->pictures;
    const int64_t embed = ts_clip_about(t->clip)->embed, picture = (int64_t)t->prompt->side * t->prompt->side * 3;
    const ts_clip_pass *p = &t->head;
    int32_t *target = t->best; /* room for a micro-batch; read into afterwards */
    for (int64_t i = 0; i < t->micro; i++) target[i] = i < count ? t->target[first + i] : -1;
    if (!ts_write(p->e, p->target, target, err)) return false;
    if (pixels) {
        memcpy(t->pixels, pixels + first * picture, (size_t)(count * picture) * sizeof(float));
        if (!ts_write(p->e, p->pixels, t->pixels, err)) return false;
    } else if (!ts_write(p->e, p->features, t->features + first * embed, err)) {
        return false; /* frozen features go all at once, or one by one: never is a micro-batch filled up */
    }
    float loss;
    if (!ts_run(p->e, err) || !ts_read(p->e, p->loss, &loss, err) || !ts_read(p->e, p->best, t->best, err) ||
        !ts_clip_pass_add_grads(p, share, t->grad, t->scratch, err))
        return false;
    out->loss += share * (double)loss;
    for (int64_t i = 0; i < count; i++) out->accuracy += t->best[i] == t->target[first + i] ? 1.0 / out->pictures : 0;
    if (!p->weights_grad) return true;
    if (!ts_read(p->e, p->weights_grad, t->rows, err)) return false;
    const int64_t all = t->prompt->classes * embed;
    for (int64_t i = 0; i < all; i++) t->classes_grad[i] += (float)share * t->rows[i];
    return true;
}

/* The classes' share of the gradients, from that of their features. */
static bool run_back(ts_clip_tuner *t, const float *image, ts_error *err)
{
    const ts_clip_pass *p = &t->back;
    const int64_t embed = ts_clip_about(t->clip)->embed, n = p->chunk.count, classes = t->prompt->classes;
    if (p->features && !ts_write(p->e, p->features, image, err)) return false;
    for (int64_t first = 0; first < classes; first += n) {
        const int64_t count = classes - first < n ? classes - first : n;
        memset(t->rows, 0, (size_t)(n * embed) * sizeof(float)); /* those beyond the last class are copies of it */
        memcpy(t->rows, t->classes_grad + first * embed, (size_t)(count * embed) * sizeof(float));
        if (!ts_prompt_chunk_write(&p->pg, p->e, &p->chunk, first, err) || !ts_write(p->e, p->seed, t->rows, err) ||
            !ts_run(p->e, err) || !ts_clip_pass_add_grads(p, 1, t->grad, t->scratch, err))
            return false;
    }
    return true;
}

/* Pictures first ... first + count - 1 as method.h tells; `image`: the one picture's feature, for a method that is per image. */
static bool run_pictures(ts_clip_tuner *t, const float *pixels, int64_t first, int64_t count, ts_clip_tuned *out, ts_error *err)
{
    const int64_t embed = ts_clip_about(t->clip)->embed;
    const float *image = t->prompt->method->per_image ? t->features + first * embed : NULL;
    memset(t->classes_grad, 0, (size_t)(t->prompt->classes * embed) * sizeof(float));
    if (t->forward.e && (!ts_clip_pass_all_classes(&t->forward, image, t->classes, err))) return false;
    if (t->head.weights && !ts_write(t->head.e, t->head.weights, t->classes, err)) return false;
    for (int64_t at = 0; at < count; at += t->micro) {
        const int64_t n = count - at < t->micro ? count - at : t->micro;
        if (!run_head(t, pixels, first + at, n, out, err)) return false;
    }
    return !t->back.e || run_back(t, image, err);
}

static bool write_random(ts_clip_tuner *t, ts_error *err)
{
    const uint64_t seed = ts_clip_mix(t->seed, ~(uint64_t)t->steps); /* the same for all passes of a step */
    const ts_clip_pass *passes[] = {&t->head, &t->forward, &t->back};
    for (int i = 0; i < 3; i++)
        if (passes[i]->e && !ts_prompt_write(&passes[i]->pg, passes[i]->e, false, seed, err)) return false;
    return true;
}

bool ts_clip_tuner_step(ts_clip_tuner *t, ts_clip_tuned *out, ts_error *err)
{
    *out = (ts_clip_tuned){.step = t->steps + 1, .pictures = (int)pictures_left(t), .lr = rate(t, t->steps)};
    if (t->steps >= t->total) return ts_fail(err, TS_ERR_ARGUMENT, "all %lld steps are done", (long long)t->total);
    const float *pixels;
    const double waited = t->reader ? ts_clip_reader_waited_ms(t->reader) : 0;
    if (!take_batch(t, out->pictures, &pixels, err) || !write_random(t, err)) return false;
    if (t->reader) out->waited_ms = ts_clip_reader_waited_ms(t->reader) - waited;
    for (int i = 0; i < t->prompt->declared_count; i++)
        memset(t->grad[i], 0, (size_t)ts_count(t->updates[i].grad) * sizeof(float));
    const int64_t at_once = t->prompt->method->per_image ? 1 : out->pictures;
    for (int64_t first = 0; first < out->pictures; first += at_once)
        if (!run_pictures(t, pixels, first, at_once, out, err)) return false;
    if (!isfinite(out->loss)) return true; /* told in `out` */
    if (!apply(t, out->lr, err)) return false;
    ts_clip_prompt_changed(t->at_work);
    t->steps++;
    return true;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const char *const MOMENTS[] = {"optimizer.m.", "optimizer.v."};

static ts_tensor *moment(const ts_clip_tuner *t, int param, int which)
{
    return which ? t->updates[param].v : t->updates[param].m;
}

static bool add_optimizer(ts_clip_tuner *t, ts_weights_writer *w, int *saved, ts_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, t->steps);
    if (!ts_weights_writer_meta(w, "step", text, err)) return false;
    for (int i = 0; i < t->prompt->declared_count; i++)
        for (int which = 0; which < 2; which++) {
            ts_tensor *m = moment(t, i, which);
            char name[96];
            if (!m) continue;
            float *values = t->saved[(*saved)++] = malloc((size_t)ts_count(m) * sizeof(float));
            if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a checkpoint");
            snprintf(name, sizeof name, "%s%s", MOMENTS[which], t->prompt->declared[i].name);
            if (!ts_read(t->update_exec, m, values, err) ||
                !ts_weights_writer_add(w, name, TS_DT_F32, m->ndim, m->shape, values, err))
                return false;
        }
    return true;
}

bool ts_clip_tuner_save(ts_clip_tuner *t, const char *path, bool checkpoint, ts_error *err)
{
    int saved = 0;
    ts_weights_writer *w = ts_weights_writer_new();
    if (!w) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    bool ok = ts_params_save(t->prompt->params, w, &t->saved[saved++], err) &&
              ts_prompt_file_describe(w, t->prompt, &t->recipe, t->shots, t->seed, err) &&
              (!checkpoint || add_optimizer(t, w, &saved, err)) && ts_weights_writer_check_finite(w, err) &&
              ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free_saved(t);
    return ok;
}

bool ts_clip_tuner_resume(ts_clip_tuner *t, const ts_weights *w, ts_error *err)
{
    int64_t steps;
    if (ts_whole_read(ts_weights_meta(w, "step"), 0, INT64_MAX, &steps) && steps > t->total)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s has done %lld steps, more than the %lld that are wanted in all: more epochs are",
                       ts_weights_path(w), (long long)steps, (long long)t->total);
    if (!ts_whole_read(ts_weights_meta(w, "step"), 0, t->total, &steps))
        return ts_fail(err, TS_ERR_FORMAT, "%s is no checkpoint of this tuning: it says no step of %lld", ts_weights_path(w),
                       (long long)t->total);
    ts_prompt_file f;
    if (!ts_prompt_file_read(w, t->clip, &f, err)) return false;
    bool ok = f.method == t->prompt->method && f.seed == t->seed && f.classes == t->prompt->classes;
    ts_prompt_file_clear(&f);
    if (!ok) return ts_fail(err, TS_ERR_ARGUMENT, "%s is a checkpoint of another tuning", ts_weights_path(w));
    ok = ts_params_load(t->prompt->params, w, err);
    for (int i = 0; ok && i < t->prompt->declared_count; i++)
        for (int which = 0; ok && which < 2; which++) {
            ts_tensor *m = moment(t, i, which);
            char name[96];
            if (!m) continue;
            snprintf(name, sizeof name, "%s%s", MOMENTS[which], t->prompt->declared[i].name);
            const ts_weight *saved = ts_weights_find(w, name);
            if (!saved || saved->count != ts_count(m))
                return ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing or of another size: this is no checkpoint of this tuning",
                               ts_weights_path(w), name);
            ok = ts_weight_to_f32(saved, t->scratch, err) && ts_write(t->update_exec, m, t->scratch, err);
        }
    if (!ok) return false;
    ts_clip_prompt_changed(t->at_work);
    ts_clip_reader_free(t->reader); /* it stands elsewhere */
    t->reader = NULL;
    t->steps = steps;
    return true;
}

/* ---- the methods, for those who choose ---------------------------------------------------------------------------- */

bool ts_clip_method_at(int i, ts_clip_method *out)
{
    const ts_method *m = i < 0 ? NULL : ts_method_at(i);
    if (!m) return false;
    *out = (ts_clip_method){.name = m->name,
                            .about = m->about,
                            .settings = m->settings,
                            .note = m->note,
                            .optimizer = m->recipe.optimizer == TS_OPTIMIZE_SGD ? "sgd" : "adam",
                            .lr = m->recipe.lr,
                            .momentum = m->recipe.momentum,
                            .weight_decay = m->recipe.weight_decay,
                            .lr_of_256 = m->recipe.lr_of_256,
                            .batch = m->recipe.batch,
                            .epochs = ts_recipe_epochs(&m->recipe, 16),
                            .warmup = m->recipe.warm,
                            .by_step = m->recipe.by_step,
                            .crop = m->recipe.crop};
    return true;
}

bool ts_clip_setting_at(int i, const char **key, const char **about)
{
    int count;
    const ts_method_setting *list = ts_method_setting_list(&count);
    if (i < 0 || i >= count) return false;
    *key = list[i].key;
    *about = list[i].about;
    return true;
}
