/* train.c - one step of contrastive training as one graph: both towers over a batch of pairs, the similarities of every picture
 * with every text, cross entropy along the rows and along the columns, gradients, AdamW. The towers are those of vision.c and
 * text.c over parameters that can be changed, and the token embeddings, which elsewhere stay in the file, are one of them.
 * Evaluation is a second, smaller graph over the same parameters. */
#include "clip/internal.h"
#include "engine/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SCALE[] = "logit_scale", EMBEDDING[] = "token_embedding.weight";

/* A described and planned pass over a batch. Shapes: B pairs, S the pictures' side, L places of a text. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *pixels, *tokens, *end, *right; /* (B, S, S, 3), I32 (B, L), (B, 1), (B): 0 to B - 1 */
    ts_tensor *loss, *best;                   /* (1), I32 (B): the most similar text of each picture */
} pass;

struct ts_clip_trainer {
    ts_clip_config of_file; /* of the weights that it starts from */
    ts_clip model;          /* only what the towers look at: device, config, params */
    ts_clip_trainer_desc desc;
    pass train, check; /* `check` is planned when first asked for */
    ts_optimizer *optimizer;
    int64_t steps, scale_at; /* scale_at: number of logit_scale among the parameters */
    double scale;            /* its exponential */
    uint64_t state;          /* of the generator, while fresh weights are drawn */
    int32_t *tokens, *end, *right, *best;
    float *saved;
};

/* ---- fresh weights ---------------------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* The deviation of a tensor's normal distribution as in the published code (CLIP.initialize_parameters), which has it for the
 * text tower's blocks; here the image tower's are drawn alike. Zero: a constant. */
static double deviation(const ts_clip_config *c, const char *name)
{
    const bool visual = strncmp(name, "visual.", 7) == 0;
    const double width = visual ? c->width : c->text_width, layers = visual ? c->layers : c->text_layers;
    if (strcmp(name, EMBEDDING) == 0) return 0.02;
    if (strcmp(name, "positional_embedding") == 0) return 0.01;
    if (ends_with(name, "c_fc.weight")) return 1 / sqrt(2 * width);
    if (ends_with(name, "c_proj.weight") || ends_with(name, "out_proj.weight")) return 1 / sqrt(2 * width * layers);
    const bool wide = ends_with(name, "in_proj_weight") || ends_with(name, "_embedding") || ends_with(name, "proj.weight") ||
                      ends_with(name, "projection.weight");
    return wide ? 1 / sqrt(width) : 0;
}

static bool fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    ts_clip_trainer *t = ctx;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    const double normal = deviation(&t->model.config, name);
    if (normal > 0) {
        for (int64_t i = 0; i < count; i++) out[i] = (float)(normal * ts_normal(&t->state));
    } else if (ndim == 4) { /* the patches' convolution, as PyTorch begins: uniform by the numbers that it looks at */
        const int64_t looked_at = count / shape[0];
        const double bound = 1 / sqrt((double)looked_at);
        for (int64_t i = 0; i < count; i++) out[i] = (float)(bound * (2 * ts_uniform(&t->state) - 1));
    } else { /* norms' gains, biases */
        const float value = strcmp(name, SCALE) == 0 ? (float)log(1 / 0.07) : ends_with(name, ".weight") ? 1 : 0;
        for (int64_t i = 0; i < count; i++) out[i] = value;
    }
    return true;
}

/* ---- the graphs -------------------------------------------------------------------------------------------------- */

static bool describe(ts_clip_trainer *t, pass *p, ts_error *err)
{
    const ts_clip_config *c = &t->model.config;
    const int64_t batch = t->desc.batch, side = c->image, length = t->desc.length;
    ts_graph *g = p->g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){batch, side, side, 3});
    p->tokens = ts_input(g, "tokens", TS_I32, 2, (int64_t[]){batch, length});
    p->end = ts_input(g, "end", TS_I32, 2, (int64_t[]){batch, 1});
    p->right = ts_input(g, "right", TS_I32, 1, &batch);
    ts_scope(g, "token_embedding");
    ts_tensor *table = ts_param(g, t->model.params, EMBEDDING, TS_LAYOUT_PLAIN, 2, (int64_t[]){c->vocabulary, c->text_width});
    ts_tensor *embedded = ts_gather(g, table, p->tokens, NULL);                                       // (B, L, T)
    ts_tensor *texts = ts_clip_text(g, &t->model, embedded, p->end, NULL);                            // (B, E)
    ts_tensor *images = ts_clip_vision(g, &t->model, ts_clip_patches(g, &t->model, p->pixels), NULL); // (B, E)
    ts_scope(g, "contrast");
    ts_tensor *scale = ts_exp(g, ts_param(g, t->model.params, SCALE, TS_LAYOUT_PLAIN, 1, (int64_t[]){1}));
    images = ts_mul(g, ts_reshape(g, images, 2, (int64_t[]){batch * c->embed, 1}), scale);
    images = ts_reshape(g, images, 2, (int64_t[]){batch, c->embed});          // (B, E), as long as the scale
    ts_tensor *by_image = ts_linear(g, images, ts_as_weight(g, texts), NULL); // (B, B)
    ts_tensor *by_text = ts_linear(g, texts, ts_as_weight(g, images), NULL);  // (B, B), the same turned
    ts_tensor *rows = ts_cross_entropy(g, by_image, p->right), *columns = ts_cross_entropy(g, by_text, p->right);
    p->loss = ts_output(g, ts_scale(g, ts_add(g, rows, columns), 0.5F, 0));
    p->best = ts_output(g, ts_argmax(g, by_image));
    return !ts_graph_error(g) || ts_fail(err, ts_graph_error(g)->code, "%s", ts_graph_error(g)->text);
}

/* Plans the pass; the right answers never change. */
static bool plan(ts_clip_trainer *t, pass *p, ts_error *err)
{
    p->e = ts_exec_new(p->g, t->model.dev, err);
    return p->e && ts_write(p->e, p->right, t->right, err);
}

static void pass_clear(pass *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (pass){0};
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

enum { MOST = 1 << 16, HEAD_WIDTH = 64 };

static bool complete_tower(const char *tower, int width, int layers, int *heads, int *mlp, ts_error *err)
{
    if (width < 1 || width > MOST || layers < 1 || layers > MOST || *heads < 0 || *mlp < 0 || *mlp > 8 * MOST)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s tower %d wide with %d layers cannot be", tower, width, layers);
    if (*heads == 0) *heads = width % HEAD_WIDTH == 0 ? width / HEAD_WIDTH : 0;
    if (*mlp == 0) *mlp = 4 * width;
    if (*heads > 0 && width % *heads == 0) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "%s tower %d wide needs a number of heads that divides it", tower, width);
}

static bool complete_config(ts_clip_trainer *t, ts_error *err)
{
    const ts_clip_trainer_desc *d = &t->desc;
    ts_clip_config *c = &t->model.config;
    *c = d->config;
    if (d->weights && !ts_clip_config_read(d->weights, &d->told, c, err)) return false;
    t->of_file = *c;
    memset(c->deviation, 0, sizeof c->deviation); /* the weights that are made of the file take CLIP's own */
    if (!complete_tower("an image", c->width, c->layers, &c->heads, &c->mlp, err) ||
        !complete_tower("a text", c->text_width, c->text_layers, &c->text_heads, &c->text_mlp, err))
        return false;
    if (c->patch < 1 || c->image < c->patch || c->image > MOST || c->image % c->patch != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "patches of %d pixels do not divide pictures of %d", c->patch, c->image);
    if (c->context < 2 || c->context > MOST || c->embed < 1 || c->embed > MOST || c->vocabulary < 2)
        return ts_fail(err, TS_ERR_ARGUMENT, "a context of %d, a vocabulary of %d and features of %d numbers cannot be",
                       c->context, c->vocabulary, c->embed);
    if (t->desc.length == 0) t->desc.length = c->context;
    if (d->batch < 2 || d->batch > MOST || t->desc.length < 2 || t->desc.length > c->context)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "a batch of %d pairs with texts of %d places cannot be trained on: two pairs at least, and no more than "
                       "the context of %d",
                       d->batch, t->desc.length, c->context);
    return true;
}

static bool read_scale(ts_clip_trainer *t, float *value, ts_error *err)
{
    if (!ts_params_read(t->model.params, t->scale_at, value, err)) return false;
    t->scale = exp((double)*value);
    return true;
}

static bool make(ts_clip_trainer *t, ts_error *err)
{
    if (!complete_config(t, err)) return false;
    const ts_clip_trainer_desc *d = &t->desc;
    const size_t batch = (size_t)d->batch;
    t->tokens = malloc(batch * (size_t)d->length * sizeof *t->tokens);
    t->end = malloc(batch * sizeof *t->end);
    t->right = malloc(batch * sizeof *t->right);
    t->best = malloc(batch * sizeof *t->best);
    if (!t->tokens || !t->end || !t->right || !t->best) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < d->batch; i++) t->right[i] = i;
    /* Whatever the file's layout, what it holds is made ours: nothing is taken as it lies there. */
    t->model.file = (clip_file){d->weights, &t->of_file};
    void *from = d->weights ? (void *)&t->model.file : t;
    t->model.params = ts_params_new_trainable(t->model.dev, NULL, "", d->weights ? ts_clip_convert : fresh, from, err);
    if (!t->model.params || !describe(t, &t->train, err) || !ts_params_check(t->model.params, err)) return false;
    for (int64_t i = 0; i < ts_params_count(t->model.params); i++)
        if (strcmp(ts_params_name(t->model.params, i), SCALE) == 0) t->scale_at = i;
    t->optimizer = ts_optimizer_new(
        t->train.g, t->model.params, t->train.loss,
        &(ts_optimizer_desc){
            .beta1 = d->beta1, .beta2 = d->beta2, .eps = d->eps, .weight_decay = d->weight_decay, .clip_norm = d->clip_norm},
        err);
    float scale;
    return t->optimizer && plan(t, &t->train, err) && read_scale(t, &scale, err);
}

ts_clip_trainer *ts_clip_trainer_new(ts_device *dev, const ts_clip_trainer_desc *desc, ts_error *err)
{
    ts_clip_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->model.dev = dev;
    t->desc = *desc;
    t->state = desc->seed;
    if (t->desc.beta1 == 0) t->desc.beta1 = 0.9;
    if (t->desc.beta2 == 0) t->desc.beta2 = 0.98;
    if (t->desc.eps == 0) t->desc.eps = 1e-6;
    if (t->desc.weight_decay == 0) t->desc.weight_decay = 0.2;
    if (t->desc.weight_decay < 0) t->desc.weight_decay = 0;
    if (make(t, err)) return t;
    ts_clip_trainer_free(t);
    return NULL;
}

void ts_clip_trainer_free(ts_clip_trainer *t)
{
    if (!t) return;
    pass_clear(&t->train);
    pass_clear(&t->check);
    ts_optimizer_free(t->optimizer);
    ts_params_free(t->model.params);
    free(t->tokens);
    free(t->end);
    free(t->right);
    free(t->best);
    free(t->saved);
    free(t);
}

const ts_clip_config *ts_clip_trainer_config(const ts_clip_trainer *t)
{
    return &t->model.config;
}

ts_exec_info ts_clip_trainer_about(const ts_clip_trainer *t)
{
    return ts_exec_about(t->train.e);
}

int64_t ts_clip_trainer_steps(const ts_clip_trainer *t)
{
    return t->steps;
}

double ts_clip_trainer_scale(const ts_clip_trainer *t)
{
    return t->scale;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

/* Cuts the texts to the length that is trained on, and finds their ends. */
static bool take_texts(ts_clip_trainer *t, const int32_t *tokens, ts_error *err)
{
    const int context = t->model.config.context, length = t->desc.length;
    for (int b = 0; b < t->desc.batch; b++) {
        const int32_t *text = tokens + (int64_t)b * context;
        t->end[b] = ts_clip_end(text, context);
        if (t->end[b] >= length)
            return ts_fail(err, TS_ERR_ARGUMENT, "a text ends at place %d, but texts of %d places are trained on", t->end[b],
                           length);
        for (int i = 0; i < length; i++)
            if (text[i] < 0 || text[i] >= t->model.config.vocabulary)
                return ts_fail(err, TS_ERR_ARGUMENT, "there is no token %d: the model's vocabulary has %d", text[i],
                               t->model.config.vocabulary);
        memcpy(t->tokens + (int64_t)b * length, text, (size_t)length * sizeof *text);
    }
    return true;
}

/* Writes the inputs, runs, and reads what it came to. */
static bool run(ts_clip_trainer *t, pass *p, const float *pixels, const int32_t *tokens, double *loss, double *accuracy,
                ts_error *err)
{
    float value;
    if (!take_texts(t, tokens, err) || !ts_write(p->e, p->pixels, pixels, err) || !ts_write(p->e, p->tokens, t->tokens, err) ||
        !ts_write(p->e, p->end, t->end, err) || !ts_run(p->e, err) || !ts_read(p->e, p->loss, &value, err) ||
        !ts_read(p->e, p->best, t->best, err))
        return false;
    int right = 0;
    for (int i = 0; i < t->desc.batch; i++) right += t->best[i] == i;
    *loss = (double)value;
    *accuracy = (double)right / t->desc.batch;
    return true;
}

/* (section 2.5) "clipped to prevent scaling the logits by more than 100": one number, so it is done on the host. */
static bool clamp_scale(ts_clip_trainer *t, ts_error *err)
{
    const float most = logf(100);
    float value;
    if (!read_scale(t, &value, err)) return false;
    if (!(value > most)) return true;
    return ts_params_write(t->model.params, t->scale_at, &most, err) && read_scale(t, &value, err);
}

bool ts_clip_trainer_step(ts_clip_trainer *t, const float *pixels, const int32_t *tokens, double lr, double *loss,
                          double *accuracy, ts_error *err)
{
    if (!ts_optimizer_set(t->optimizer, t->train.e, t->steps + 1, lr, err) ||
        !run(t, &t->train, pixels, tokens, loss, accuracy, err) || !ts_optimizer_update(t->optimizer, t->train.e, err) ||
        !clamp_scale(t, err))
        return false;
    t->steps++;
    return true;
}

bool ts_clip_trainer_evaluate(ts_clip_trainer *t, const float *pixels, const int32_t *tokens, double *loss, double *accuracy,
                              ts_error *err)
{
    if (!t->check.e && (!describe(t, &t->check, err) || !plan(t, &t->check, err))) {
        pass_clear(&t->check);
        return false;
    }
    return run(t, &t->check, pixels, tokens, loss, accuracy, err);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

static int64_t count_of(int ndim, const int64_t *shape)
{
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    return count;
}

/* (rows, columns) -> (columns, rows) */
static bool turn(float *x, int64_t rows, int64_t columns, ts_error *err)
{
    float *copy = malloc((size_t)(rows * columns) * sizeof *copy);
    if (!copy) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    memcpy(copy, x, (size_t)(rows * columns) * sizeof *copy);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) x[c * rows + r] = copy[r * columns + c];
    free(copy);
    return true;
}

/* Adds parameter `i`, read into `at`, under its published name and in the order and shape that it is published in. */
static bool add_param(ts_clip_trainer *t, int64_t i, float *at, ts_weights_writer *w, int64_t *count, ts_error *err)
{
    ts_params *ps = t->model.params;
    clip_source source;
    int64_t shape[TS_MAX_DIMS];
    int ndim = ts_params_shape(ps, i, shape);
    *count = count_of(ndim, shape);
    ts_clip_source(CLIP_PUBLISHED, ts_params_name(ps, i), &source);
    if (!ts_params_read(ps, i, at, err)) return false;
    if (source.turned) {
        const int64_t rows = shape[0];
        if (!turn(at, rows, shape[1], err)) return false;
        shape[0] = shape[1];
        shape[1] = rows;
    }
    if (i == t->scale_at) ndim = 0; /* a scalar there */
    return ts_weights_writer_add(w, source.name[0], TS_DT_F32, ndim, shape, at, err);
}

static bool add_number(ts_weights_writer *w, const char *key, int64_t value, ts_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return ts_weights_writer_meta(w, key, text, err);
}

bool ts_clip_trainer_save(ts_clip_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err)
{
    ts_params *ps = t->model.params;
    const ts_clip_config *c = &t->model.config;
    int64_t total = 0, shape[TS_MAX_DIMS];
    for (int64_t i = 0; i < ts_params_count(ps); i++) total += count_of(ts_params_shape(ps, i, shape), shape);
    free(t->saved);
    float *at = t->saved = malloc((size_t)total * sizeof *t->saved);
    if (!at) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld parameters", (long long)total);
    for (int64_t i = 0, count; i < ts_params_count(ps); i++, at += count)
        if (!add_param(t, i, at, w, &count, err)) return false;
    return ts_clip_config_meta(c, w, err) &&
           (!optimizer || (add_number(w, "step", t->steps, err) && ts_optimizer_save(t->optimizer, t->train.e, w, err)));
}

static bool load_params(ts_clip_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    ts_params *ps = t->model.params;
    for (int64_t i = 0; i < ts_params_count(ps); i++) {
        int64_t shape[TS_MAX_DIMS];
        const int ndim = ts_params_shape(ps, i, shape);
        float *data = malloc((size_t)count_of(ndim, shape) * sizeof *data);
        const bool ok = data ? ts_clip_convert(&(clip_file){checkpoint, NULL}, ts_params_name(ps, i), ndim, shape, data, err) &&
                                   ts_params_write(ps, i, data, err)
                             : ts_fail(err, TS_ERR_MEMORY, "out of memory");
        free(data);
        if (!ok) return false;
    }
    return true;
}

static bool same_sizes(const ts_clip_config *a, const ts_clip_config *b)
{
    return a->image == b->image && a->patch == b->patch && a->width == b->width && a->layers == b->layers &&
           a->heads == b->heads && a->mlp == b->mlp && a->text_width == b->text_width && a->text_layers == b->text_layers &&
           a->text_heads == b->text_heads && a->text_mlp == b->text_mlp && a->context == b->context &&
           a->vocabulary == b->vocabulary && a->embed == b->embed && a->erf_gelu == b->erf_gelu;
}

bool ts_clip_trainer_resume(ts_clip_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    int64_t steps;
    ts_clip_config c;
    float scale;
    if (!ts_whole_read(ts_weights_meta(checkpoint, "step"), 0, INT64_MAX, &steps))
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s says no step: it is not a checkpoint to go on from (--init starts a new training from it)",
                       ts_weights_path(checkpoint));
    if (!ts_clip_config_read(checkpoint, NULL, &c, err)) return false;
    if (!same_sizes(&c, &t->model.config))
        return ts_fail(err, TS_ERR_SHAPE, "%s is the checkpoint of a CLIP of other sizes", ts_weights_path(checkpoint));
    if (!load_params(t, checkpoint, err) || !ts_optimizer_load(t->optimizer, t->train.e, checkpoint, err) ||
        !read_scale(t, &scale, err))
        return false;
    t->steps = steps;
    return true;
}
