/* pass.c - passes over a prompt's graph, as method.h tells how a step is made of them. Each is described and planned once; they
 * share the prompt's parameters on the device. Their gradients meet on the host, where the parts of a step are added up: a prompt
 * is small, so what is copied is nothing beside the towers' work. */
#include "clip/prompt/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Floats that a token leaves behind in a block for the way back, in widths of the tower: norms, q, k, v, attention, residuals,
 * and four widths before and after the activation. */
enum { KEPT_WIDTHS = 20 };

static bool begin(ts_clip_pass *p, ts_prompt *prompt, bool training, ts_error *err)
{
    *p = (ts_clip_pass){.pg = {.prompt = prompt, .g = ts_graph_new(), .training = training}};
    p->grad = calloc((size_t)prompt->declared_count + 1, sizeof(ts_tensor *));
    return (p->pg.g && p->grad) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* Plans what was described. */
static bool finish(ts_clip_pass *p, ts_error *err)
{
    ts_graph *g = p->pg.g;
    if (ts_graph_error(g)) return ts_fail(err, ts_graph_error(g)->code, "%s", ts_graph_error(g)->text);
    if (!ts_params_check(ts_clip_params(p->pg.prompt->clip), err)) return false;
    p->e = ts_exec_new(g, ts_clip_device(p->pg.prompt->clip), err);
    return p->e && ts_prompt_write(&p->pg, p->e, true, 0, err);
}

void ts_clip_pass_clear(ts_clip_pass *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->pg.g);
    free(p->grad);
    *p = (ts_clip_pass){0};
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

/* Of the loss by every parameter of the prompt that is in the graph, and by `weights`. */
static bool differentiate(ts_clip_pass *p, ts_tensor *loss, ts_error *err)
{
    const ts_prompt *prompt = p->pg.prompt;
    ts_graph *g = p->pg.g;
    ts_tensor **leaves = calloc((size_t)ts_params_count(prompt->params) + 1, sizeof(ts_tensor *));
    ts_tensor **grads = calloc((size_t)ts_params_count(prompt->params) + 1, sizeof(ts_tensor *));
    bool ok = leaves && grads;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    int count = ok ? ts_graph_params(g, prompt->params, leaves) : 0;
    const int params = count;
    if (ok && p->weights) leaves[count++] = p->weights;
    ok = ok && (ts_grad(g, loss, count, leaves, grads) || !ts_graph_error(g) ||
                ts_fail(err, ts_graph_error(g)->code, "%s", ts_graph_error(g)->text));
    for (int i = 0; ok && i < params; i++)
        for (int k = 0; k < prompt->declared_count; k++)
            if (strcmp(prompt->declared[k].name, leaves[i]->name) == 0) p->grad[k] = ts_output(g, grads[i]);
    if (ok && p->weights) p->weights_grad = ts_output(g, grads[params]);
    free(leaves);
    free(grads);
    return ok;
}

bool ts_clip_pass_add_grads(const ts_clip_pass *p, double weight, float *const *sums, float *scratch, ts_error *err)
{
    for (int i = 0; i < p->pg.prompt->declared_count; i++) {
        if (!p->grad[i]) continue;
        if (!ts_read(p->e, p->grad[i], scratch, err)) return false;
        const float w = (float)weight;
        const int64_t count = ts_count(p->grad[i]);
        for (int64_t k = 0; k < count; k++) sums[i][k] += w * scratch[k];
    }
    return true;
}

/* ---- the passes -------------------------------------------------------------------------------------------------- */

static ts_tensor *pixels_input(ts_clip_pass *p, int64_t batch)
{
    const int64_t side = p->pg.prompt->side;
    return p->pixels = ts_input(p->pg.g, "pixels", TS_REAL, 4, (int64_t[]){batch, side, side, 3});
}

static ts_tensor *features_input(ts_clip_pass *p, int64_t batch)
{
    const int64_t embed = ts_clip_about(p->pg.prompt->clip)->embed;
    return p->features = ts_input(p->pg.g, "features", TS_REAL, 2, (int64_t[]){batch, embed});
}

static ts_tensor *classes_of(ts_clip_pass *p, int64_t count)
{
    if (p->pg.prompt->method->per_image && !p->features) features_input(p, 1);
    p->chunk = ts_prompt_chunk_new(&p->pg, count);
    return ts_prompt_classes(&p->pg, &p->chunk, p->pg.prompt->method->per_image ? p->features : NULL);
}

/* Features of the pictures (B, E): frozen ones come from outside. */
static ts_tensor *images_of(ts_clip_pass *p, int64_t batch)
{
    return p->pg.prompt->method->images ? ts_prompt_images(&p->pg, pixels_input(p, batch)) : features_input(p, batch);
}

/* (B, E), (K, E) as a weight -> cross entropy of exp(logit_scale) f c^T. */
static ts_tensor *loss_of(ts_clip_pass *p, ts_tensor *features, ts_tensor *classes)
{
    ts_graph *g = p->pg.g;
    if (!features || !classes) return NULL;
    const float scale = (float)ts_clip_logit_scale(p->pg.prompt->clip);
    ts_tensor *logits = ts_scale(g, ts_linear(g, features, classes, NULL), scale, 0); /* (B, K) */
    p->target = ts_input(g, "target", TS_I32, 1, features->shape);
    p->best = ts_output(g, ts_argmax(g, logits)); /* (B) */
    return p->loss = ts_output(g, ts_cross_entropy(g, logits, p->target));
}

bool ts_clip_pass_images(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, bool training, ts_error *err)
{
    if (!begin(p, prompt, training, err)) return false;
    p->out = ts_output(p->pg.g, ts_prompt_images(&p->pg, pixels_input(p, batch)));
    return finish(p, err);
}

bool ts_clip_pass_classes(ts_clip_pass *p, ts_prompt *prompt, int64_t count, bool training, ts_error *err)
{
    if (!begin(p, prompt, training, err)) return false;
    p->out = ts_output(p->pg.g, classes_of(p, count));
    return finish(p, err);
}

bool ts_clip_pass_back(ts_clip_pass *p, ts_prompt *prompt, int64_t count, ts_error *err)
{
    if (!begin(p, prompt, true, err)) return false;
    const int64_t shape[] = {count, ts_clip_about(prompt->clip)->embed};
    ts_tensor *c = classes_of(p, count); /* (N, E) */
    p->seed = ts_input(p->pg.g, "seed", TS_REAL, 2, shape);
    return differentiate(p, ts_sum(p->pg.g, ts_mul(p->pg.g, c, p->seed)), err) && finish(p, err);
}

bool ts_clip_pass_head(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, ts_error *err)
{
    if (!begin(p, prompt, true, err)) return false;
    const int64_t shape[] = {prompt->classes, ts_clip_about(prompt->clip)->embed};
    ts_tensor *classes = ts_input_weight(p->pg.g, "classes", TS_LAYOUT_LINEAR, 2, shape);
    p->weights = classes;
    return differentiate(p, loss_of(p, images_of(p, batch), classes), err) && finish(p, err);
}

bool ts_clip_pass_joint(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, ts_error *err)
{
    if (!begin(p, prompt, true, err)) return false;
    ts_tensor *images = images_of(p, batch); /* before the classes, which may want them */
    ts_tensor *classes = classes_of(p, prompt->classes);
    return differentiate(p, loss_of(p, images, ts_as_weight(p->pg.g, classes)), err) && finish(p, err);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

bool ts_clip_pass_all_classes(const ts_clip_pass *p, const float *image, float *out, ts_error *err)
{
    const int64_t classes = p->pg.prompt->classes, embed = ts_clip_about(p->pg.prompt->clip)->embed, n = p->chunk.count;
    float *rows = malloc((size_t)(n * embed) * sizeof *rows);
    if (!rows) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld classes", (long long)n);
    bool ok = true;
    if (p->features) ok = ts_write(p->e, p->features, image, err);
    for (int64_t first = 0; ok && first < classes; first += n) {
        const int64_t count = classes - first < n ? classes - first : n;
        ok = ts_prompt_chunk_write(&p->pg, p->e, &p->chunk, first, err) && ts_run(p->e, err) && ts_read(p->e, p->out, rows, err);
        if (ok) memcpy(out + first * embed, rows, (size_t)(count * embed) * sizeof *rows);
    }
    free(rows);
    return ok;
}

/* ---- how much at a time ------------------------------------------------------------------------------------------ */

static int64_t fitting(uint64_t bytes, int64_t tokens, int width, int layers)
{
    const double one = (double)tokens * width * layers * KEPT_WIDTHS * (double)sizeof(float), n = (double)bytes / one;
    return n < 1 ? 1 : n > 1e6 ? 1000000 : (int64_t)n;
}

/* `most` parts where they do not fit at once, all of about the same size. */
static int64_t even(int64_t all, int64_t most)
{
    if (all <= most) return all;
    const int64_t parts = (all + most - 1) / most;
    return (all + parts - 1) / parts;
}

int64_t ts_clip_chunk_size(const ts_prompt *p, uint64_t bytes)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    return even(p->classes, fitting(bytes, p->text.length, c->text_width, c->text_layers));
}

int64_t ts_clip_micro_batch(const ts_prompt *p, uint64_t bytes)
{
    const ts_clip_config *c = ts_clip_about(p->clip);
    const int64_t side = c->image / c->patch;
    return fitting(bytes, 1 + side * side + p->settings.tokens, c->width, c->layers);
}
