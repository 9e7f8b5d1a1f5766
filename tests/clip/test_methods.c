/* test_methods.c - every prompt method's first gradients and first steps against PyTorch's, on every backend, by a small tuner
 * that goes as method.h describes: class prompts in chunks, forward, head, chunks again with the gradient of their features as
 * seed. And checkpoints as others write them, settings, class prompts, what a method draws anew at each step. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/method.h"

enum { PICTURES = 6, SIDE = 64, CLASSES = 4, EMBED = 64, STEPS = 5, MAX_FLOATS = 1 << 16 };

static const char *const class_names[CLASSES] = {"cat", "golden retriever", "sunflower", "forklift truck"};

static ts_tokenizer *tokenizer(void)
{
    ts_error err = {0};
    ts_tokenizer *t = ts_tokenizer_open(TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz", &err);
    if (!t && err.code == TS_ERR_IO) skip();
    if (!t) fail_msg("%s", err.text);
    return t;
}

/* What a test stands on. */
typedef struct {
    ts_device *dev;
    ts_weights *model, *golden;
    ts_clip *clip;
    ts_tokenizer *tokenizer;
} bench;

static bench bench_new(ts_device *dev)
{
    ts_error err = {0};
    bench b = {.dev = dev, .golden = open_golden("clip_tiny.expected.safetensors"), .model = open_golden("clip_tiny.pt")};
    b.tokenizer = tokenizer();
    b.clip = ts_clip_new(dev, b.model, &err);
    if (!b.clip) fail_msg("%s", err.text);
    return b;
}

static void bench_free(bench *b)
{
    ts_clip_free(b->clip);
    ts_tokenizer_free(b->tokenizer);
    ts_weights_free(b->golden);
    ts_weights_free(b->model);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static ts_prompt *prompt(const bench *b, const char *method, ts_method_settings settings)
{
    ts_error err = {0};
    ts_prompt *p = ts_prompt_new(&(ts_prompt_desc){.method = ts_method_find(method, &err),
                                                   .settings = settings,
                                                   .clip = b->clip,
                                                   .tokenizer = b->tokenizer,
                                                   .names = class_names,
                                                   .classes = CLASSES,
                                                   .seed = 3},
                                 &err);
    if (!p) fail_msg("%s", err.text);
    return p;
}

/* ---- a small tuner ---- */

typedef struct {
    ts_prompt_graph pg;
    ts_exec *e;
    ts_prompt_chunk chunk;
    ts_tensor *pixels, *image, *classes, *target, *seed; /* inputs; NULL where there is none */
    ts_tensor *out, *class_grad;                         /* features or loss; of classes */
    ts_tensor *grad[TS_PROMPT_MAX_PARAMS];               /* by place in the prompt's ts_params; NULL: none flows */
} piece;

static void piece_plan(piece *s, ts_device *dev)
{
    ts_error err = {0};
    s->e = ts_exec_new(s->pg.g, dev, &err);
    if (!s->e || !ts_prompt_write(&s->pg, s->e, true, 1, &err)) fail_msg("%s", err.text);
}

static void piece_free(piece *s)
{
    ts_exec_free(s->e);
    ts_graph_free(s->pg.g);
}

/* The gradients of `loss` by the prompt's parameters, and by s->classes. */
static void differentiate(piece *s, ts_tensor *loss)
{
    ts_tensor *leaves[TS_PROMPT_MAX_PARAMS + 1], *grads[TS_PROMPT_MAX_PARAMS + 1];
    ts_params *ps = s->pg.prompt->params;
    int count = ts_graph_params(s->pg.g, ps, leaves);
    const int params = count;
    if (s->classes) leaves[count++] = s->classes;
    if (!ts_grad(s->pg.g, loss, count, leaves, grads)) fail_msg("%s", ts_graph_error(s->pg.g)->text);
    for (int i = 0; i < params; i++)
        for (int64_t k = 0; k < ts_params_count(ps); k++)
            if (grads[i] && strcmp(ts_params_name(ps, k), leaves[i]->name) == 0) s->grad[k] = ts_output(s->pg.g, grads[i]);
    if (s->classes) s->class_grad = ts_output(s->pg.g, grads[params]);
}

/* Class features of a chunk, or with `backward` the gradients of their product with the seed. */
static piece chunk_piece(ts_prompt *p, ts_device *dev, int count, bool backward)
{
    piece s = {.pg = {.prompt = p, .g = ts_graph_new()}};
    s.chunk = ts_prompt_chunk_new(&s.pg, count);
    if (p->method->per_image) s.image = ts_input(s.pg.g, "image", TS_REAL, 2, (int64_t[]){1, EMBED});
    s.out = ts_output(s.pg.g, ts_prompt_classes(&s.pg, &s.chunk, s.image));
    if (backward) {
        s.seed = ts_input(s.pg.g, "seed", TS_REAL, 2, (int64_t[]){count, EMBED});
        differentiate(&s, ts_sum(s.pg.g, ts_mul(s.pg.g, s.out, s.seed)));
    }
    piece_plan(&s, dev);
    return s;
}

/* Pictures (or their features, where the method leaves them) and class features to loss and gradients. */
static piece head_piece(ts_prompt *p, ts_device *dev, int pictures)
{
    piece s = {.pg = {.prompt = p, .g = ts_graph_new()}};
    ts_graph *g = s.pg.g;
    if (p->method->images) s.pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){pictures, p->side, p->side, 3});
    else s.image = ts_input(g, "image", TS_REAL, 2, (int64_t[]){pictures, EMBED});
    s.classes = ts_input_weight(g, "classes", TS_LAYOUT_LINEAR, 2, (int64_t[]){CLASSES, EMBED});
    s.target = ts_input(g, "target", TS_I32, 1, (int64_t[]){pictures});
    ts_tensor *f = s.pixels ? ts_prompt_images(&s.pg, s.pixels) : s.image;
    ts_tensor *logits = ts_scale(g, ts_linear(g, f, s.classes, NULL), (float)ts_clip_logit_scale(p->clip), 0);
    s.out = ts_output(g, ts_cross_entropy(g, logits, s.target));
    differentiate(&s, s.out);
    piece_plan(&s, dev);
    return s;
}

typedef struct {
    ts_prompt *p;
    int pictures, chunk; /* of one pass; classes in a chunk */
    piece forward, head, backward;
    ts_graph *update_graph;
    ts_exec *update;
    ts_tensor *hyper, *grad_input[TS_PROMPT_MAX_PARAMS];
    float *grad[TS_PROMPT_MAX_PARAMS];          /* sums of a step */
    const float *pixels, *image, *text_classes; /* of all pictures; constant class features */
    const int32_t *target;
} tuner;

static tuner tuner_new(ts_prompt *p, ts_device *dev, int chunk)
{
    ts_error err = {0};
    tuner t = {.p = p, .chunk = chunk, .pictures = p->method->per_image ? 1 : PICTURES};
    t.head = head_piece(p, dev, t.pictures);
    if (p->method->classes) {
        t.forward = chunk_piece(p, dev, chunk, false);
        t.backward = chunk_piece(p, dev, chunk, true);
    }
    t.update_graph = ts_graph_new();
    t.hyper = ts_input(t.update_graph, "hyper", TS_REAL, 1, (int64_t[]){3});
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        ts_prompt_graph pg = {.prompt = p, .g = t.update_graph};
        ts_tensor *param = ts_prompt_param(&pg, ts_params_name(p->params, i));
        t.grad_input[i] = param->layout == TS_LAYOUT_PLAIN
                              ? ts_input(t.update_graph, "grad", TS_REAL, param->ndim, param->shape)
                              : ts_input_weight(t.update_graph, "grad", param->layout, param->ndim, param->shape);
        ts_tensor *momentum = ts_state(t.update_graph, "momentum", param->layout, param->ndim, param->shape);
        assert_true(ts_sgd(t.update_graph, param, t.grad_input[i], momentum, t.hyper, NULL, 0.9F, 5e-4F));
        t.grad[i] = malloc((size_t)ts_count(param) * sizeof(float));
        assert_non_null(t.grad[i]);
    }
    t.update = ts_exec_new(t.update_graph, dev, &err);
    if (!t.update) fail_msg("%s", err.text);
    return t;
}

static void tuner_free(tuner *t)
{
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++) free(t->grad[i]);
    piece_free(&t->head);
    piece_free(&t->forward);
    piece_free(&t->backward);
    ts_exec_free(t->update);
    ts_graph_free(t->update_graph);
}

static int64_t param_count(ts_prompt *p, int64_t i)
{
    int64_t shape[TS_MAX_DIMS], count = 1;
    for (int d = ts_params_shape(p->params, i, shape) - 1; d >= 0; d--) count *= shape[d];
    return count;
}

static void gather_grads(tuner *t, piece *s, float share)
{
    ts_error err = {0};
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++) {
        if (!s->grad[i]) continue;
        const int64_t count = param_count(t->p, i);
        float *part = malloc((size_t)count * sizeof *part);
        if (!ts_read(s->e, s->grad[i], part, &err)) fail_msg("%s", err.text);
        for (int64_t k = 0; k < count; k++) t->grad[i][k] += share * part[k];
        free(part);
    }
}

/* Runs a chunk's piece for all classes: features come out of `forward`, and go as seeds into `backward`. */
static void run_chunks(tuner *t, piece *s, const float *image, float *features, const float *seed, float share)
{
    ts_error err = {0};
    float *rows = calloc((size_t)t->chunk * EMBED, sizeof *rows);
    for (int first = 0; first < CLASSES; first += t->chunk) {
        const int count = CLASSES - first < t->chunk ? CLASSES - first : t->chunk;
        const size_t bytes = (size_t)count * EMBED * sizeof *rows;
        bool ok = ts_prompt_chunk_write(&s->pg, s->e, &s->chunk, first, &err);
        if (s->image) ok = ok && ts_write(s->e, s->image, image, &err);
        if (seed) {
            memset(rows, 0, (size_t)t->chunk * EMBED * sizeof *rows);
            memcpy(rows, seed + (size_t)first * EMBED, bytes);
            ok = ok && ts_write(s->e, s->seed, rows, &err);
        }
        if (!ok || !ts_run(s->e, &err)) fail_msg("%s", err.text);
        if (seed) {
            gather_grads(t, s, share);
        } else {
            if (!ts_read(s->e, s->out, rows, &err)) fail_msg("%s", err.text);
            memcpy(features + (size_t)first * EMBED, rows, bytes);
        }
    }
    free(rows);
}

/* Loss and gradients of all pictures; no update. */
static double tuner_gradients(tuner *t)
{
    ts_error err = {0};
    double total = 0;
    const float share = (float)t->pictures / PICTURES;
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++)
        memset(t->grad[i], 0, (size_t)param_count(t->p, i) * sizeof(float));
    for (int at = 0; at < PICTURES; at += t->pictures) {
        float features[CLASSES * EMBED], seed[CLASSES * EMBED], loss;
        const float *image = t->image + (size_t)at * EMBED;
        memcpy(features, t->text_classes, sizeof features);
        if (t->forward.e) run_chunks(t, &t->forward, image, features, NULL, 0);
        piece *h = &t->head;
        bool ok = h->pixels ? ts_write(h->e, h->pixels, t->pixels, &err) : ts_write(h->e, h->image, image, &err);
        ok = ok && ts_write(h->e, h->target, t->target + at, &err) && ts_write(h->e, h->classes, features, &err) &&
             ts_run(h->e, &err) && ts_read(h->e, h->out, &loss, &err) && ts_read(h->e, h->class_grad, seed, &err);
        if (!ok) fail_msg("%s", err.text);
        total += (double)(share * loss);
        gather_grads(t, h, share);
        if (t->backward.e) run_chunks(t, &t->backward, image, NULL, seed, share);
    }
    return total;
}

static void tuner_update(tuner *t, double lr)
{
    ts_error err = {0};
    bool ok = ts_write(t->update, t->hyper, (float[]){(float)lr, 0, 0}, &err);
    for (int64_t i = 0; ok && i < ts_params_count(t->p->params); i++)
        ok = ts_write(t->update, t->grad_input[i], t->grad[i], &err);
    if (!ok || !ts_run(t->update, &err)) fail_msg("%s", err.text);
}

/* ---- against the golden numbers ---- */

/* (3, rows, columns) -> (rows, columns, 3) */
static float *planes_to_pixels(const float *planes, int64_t rows, int64_t columns)
{
    return to_nhwc(planes, 3, rows, columns);
}

/* What the golden file has for parameter i of `p`, in its order. `what`: "coop.grad". */
static float *golden_param(const bench *b, ts_prompt *p, const char *what, int64_t i)
{
    const char *name = ts_params_name(p->params, i);
    int64_t shape[TS_MAX_DIMS];
    char key[128];
    ts_params_shape(p->params, i, shape);
    if (strncmp(name, "pad_", 4) == 0) {
        snprintf(key, sizeof key, "%s.%s", what, name + 4);
        float *planes = golden_f32(b->golden, key), *pixels = planes_to_pixels(planes, shape[0], shape[1]);
        free(planes);
        return pixels;
    }
    const bool first = strcmp(name, "prompt_embeddings") == 0, others = strcmp(name, "deep_prompt_embeddings") == 0;
    snprintf(key, sizeof key, "%s.%s", what, first || others ? "prompts" : name);
    float *t = golden_f32(b->golden, key);
    if (others) memmove(t, t + shape[1] * shape[2], (size_t)param_count(p, i) * sizeof *t);
    return t;
}

static void normalise_pixels(float *x, int64_t pixels)
{
    static const float mean[] = {0.48145466F, 0.4578275F, 0.40821073F}, std[] = {0.26862954F, 0.26130258F, 0.27577711F};
    for (int64_t i = 0; i < pixels * 3; i++) x[i] = (x[i] - mean[i % 3]) / std[i % 3];
}

static void unit_rows(float *x, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int i = 0; i < EMBED; i++) sum += (double)x[r * EMBED + i] * (double)x[r * EMBED + i];
        for (int i = 0; i < EMBED; i++) x[r * EMBED + i] = (float)((double)x[r * EMBED + i] / sqrt(sum));
    }
}

/* Pictures, features and labels of the golden file; owned by the caller. */
typedef struct {
    float *pixels, *image, *classes;
    int32_t target[PICTURES];
} batch;

static batch batch_new(const bench *b)
{
    batch d = {.image = golden_f32(b->golden, "image_features"), .classes = golden_f32(b->golden, "text_features")};
    float *planes = golden_f32(b->golden, "images");
    int64_t *labels = golden_i64(b->golden, "labels");
    const int64_t one = (int64_t)SIDE * SIDE * 3;
    d.pixels = malloc((size_t)(PICTURES * one) * sizeof *d.pixels);
    for (int i = 0; i < PICTURES; i++) {
        float *pixels = planes_to_pixels(planes + i * one, SIDE, SIDE);
        memcpy(d.pixels + i * one, pixels, (size_t)one * sizeof *pixels);
        free(pixels);
        d.target[i] = (int32_t)labels[i];
    }
    free(planes);
    free(labels);
    normalise_pixels(d.pixels, (int64_t)PICTURES * SIDE * SIDE);
    unit_rows(d.image, PICTURES);
    unit_rows(d.classes, CLASSES);
    return d;
}

static void batch_free(batch *d)
{
    free(d->pixels);
    free(d->image);
    free(d->classes);
}

static void use(tuner *t, const batch *d)
{
    t->pixels = d->pixels;
    t->image = d->image;
    t->text_classes = d->classes;
    t->target = d->target;
}

static void check_losses(const char *label, tuner *t, const float *want, double lr)
{
    for (int step = 0; step < STEPS; step++) {
        const double loss = tuner_gradients(t);
        if (!(fabs(loss - (double)want[step]) < 1e-3))
            fail_msg("%s: loss %.6f at step %d, wanted %.6f", label, loss, step, (double)want[step]);
        tuner_update(t, lr);
    }
}

typedef struct {
    const char *label, *method;
    double lr;
    ts_method_settings settings;
} golden_case;

static const golden_case cases[] = {
    {"coop", "coop", 1e-4, {.context = 4}},
    {"coop_csc", "coop", 1e-4, {.context = 4, .per_class = 1}},
    {"cocoop", "cocoop", 2e-3, {0}},
    {"vp_padding", "vp-padding", 0.1, {.pixels = 8}},
    {"vpt_shallow", "vpt-shallow", 2e-3, {.tokens = 5}},
    {"vpt_deep", "vpt-deep", 2e-3, {.tokens = 5}},
};

static void check_case(const bench *b, const golden_case *c, int chunk)
{
    ts_error err = {0};
    char what[64];
    ts_prompt *p = prompt(b, c->method, c->settings);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.init", c->label);
        float *init = golden_param(b, p, what, i);
        if (!ts_params_write(p->params, i, init, &err)) fail_msg("%s", err.text);
        free(init);
    }
    tuner t = tuner_new(p, b->dev, chunk);
    batch d = batch_new(b);
    use(&t, &d);
    tuner_gradients(&t);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.grad", c->label);
        float *want = golden_param(b, p, what, i);
        const double error = relative_error(t.grad[i], want, param_count(p, i));
        print_message("[   VALUE  ] %s, gradient of %s: relative error %.1e\n", c->label, ts_params_name(p->params, i), error);
        if (!(error < 1e-3)) fail_msg("%s: gradient of %s: relative error %g", c->label, ts_params_name(p->params, i), error);
        free(want);
    }
    snprintf(what, sizeof what, "%s.losses", c->label);
    float *losses = golden_f32(b->golden, what);
    check_losses(c->label, &t, losses, c->lr);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.final", c->label);
        float *want = golden_param(b, p, what, i), *got = malloc((size_t)param_count(p, i) * sizeof *got);
        if (!ts_params_read(p->params, i, got, &err)) fail_msg("%s", err.text);
        assert_true(relative_error(got, want, param_count(p, i)) < 1e-3);
        free(want);
        free(got);
    }
    free(losses);
    batch_free(&d);
    tuner_free(&t);
    ts_prompt_free(p);
}

static void check_golden(ts_device *dev)
{
    bench b = bench_new(dev);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&b, &cases[i], i % 2 ? CLASSES : 3);
    bench_free(&b);
}

/* ---- against our own reference: numbers that need not be stored (make_prompt_golden.py has the same) ---- */

typedef struct {
    const char *name;
    double offset, bound;
} made;

static const made upt_start[] = {
    {"uni_ctx", 0, 1},
    {"self_attn.in_proj_weight", 0, 0.3},
    {"self_attn.in_proj_bias", 0, 0.1},
    {"self_attn.out_proj.weight", 0, 0.125},
    {"self_attn.out_proj.bias", 0, 0.1},
    {"norm1.weight", 1, 0.1},
    {"norm1.bias", 0, 0.1},
    {"norm2.weight", 1, 0.1},
    {"norm2.bias", 0, 0.1},
    {"linear1.weight", 0, 0.125},
    {"linear1.bias", 0, 0.125},
    {"linear2.weight", 0, 0.125},
    {"linear2.bias", 0, 0.125},
    {"mlp.weight", 0, 0.125},
    {"mlp.bias", 0, 0.125},
};
static const made maple_start[] = {
    {"ctx", 0, 0.1},
    {"proj.weight", 0, 0.125},
    {"proj.bias", 0, 0.125},
    {"compound_prompts_text.0", 0, 0.1},
    {"compound_prompt_projections.0.weight", 0, 0.125},
    {"compound_prompt_projections.0.bias", 0, 0.125},
    {"compound_prompts_text.1", 0, 0.1},
    {"compound_prompt_projections.1.weight", 0, 0.125},
    {"compound_prompt_projections.1.bias", 0, 0.125},
};
static const made reprogram_start[] = {{"program", 0, 2}};

static void start(int number, const made *m, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        const double u = sin((double)(i + 100000 * number) + 1) * 43758.5453;
        out[i] = (float)(m->offset + m->bound * (2 * (u - floor(u)) - 1));
    }
}

/* Of a gradient with more than eight rows the file holds every eighth. */
static double sampled_error(const ts_weights *w, const char *key, const float *got, int64_t rows, int64_t width)
{
    float *want = golden_f32(w, key);
    const int64_t kept = ts_weights_find(w, key)->count / width, step = kept == rows ? 1 : 8;
    float *picked = malloc((size_t)(kept * width) * sizeof *picked);
    for (int64_t r = 0; r < kept; r++) memcpy(picked + r * width, got + r * step * width, (size_t)width * sizeof *picked);
    const double error = relative_error(picked, want, kept * width);
    free(picked);
    free(want);
    return error;
}

static void check_made(const bench *b, const char *label, const char *method, ts_method_settings settings, const made *list,
                       double lr)
{
    ts_error err = {0};
    float *values = malloc(MAX_FLOATS * sizeof *values);
    ts_weights *expected = ts_weights_open(TS_TESTS_DIR "/golden/prompts.expected.safetensors", &err);
    if (!expected) fail_msg("%s", err.text);
    ts_prompt *p = prompt(b, method, settings);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        assert_string_equal(ts_params_name(p->params, i), list[i].name);
        start((int)i, &list[i], param_count(p, i), values);
        if (!ts_params_write(p->params, i, values, &err)) fail_msg("%s", err.text);
    }
    free(values);
    tuner t = tuner_new(p, b->dev, 3);
    batch d = batch_new(b);
    float *small = malloc((size_t)PICTURES * (size_t)(p->side * p->side * 3) * sizeof *small); /* the top left corners */
    for (int64_t i = 0, row = (int64_t)p->side * 3; i < (int64_t)PICTURES * p->side; i++)
        memcpy(small + i * row, d.pixels + (i / p->side * SIDE + i % p->side) * SIDE * 3, (size_t)row * sizeof *small);
    use(&t, &d);
    t.pixels = small;
    tuner_gradients(&t);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        int64_t shape[TS_MAX_DIMS];
        char key[128];
        const int ndim = ts_params_shape(p->params, i, shape);
        const int64_t rows = ndim == 1 ? 1 : shape[ndim == 3 && shape[0] == 1];
        snprintf(key, sizeof key, "%s.grad.%s", label, list[i].name);
        double largest = 0;
        for (int64_t k = 0; k < param_count(p, i); k++) largest = fmax(largest, fabs((double)t.grad[i][k]));
        const double error = sampled_error(expected, key, t.grad[i], rows, param_count(p, i) / rows);
        print_message("[   VALUE  ] %s, gradient of %s: relative error %.1e of %.1e\n", label, list[i].name, error, largest);
        if (!(error < 1e-3)) fail_msg("%s: gradient of %s: relative error %g", label, list[i].name, error);
    }
    char key[64];
    snprintf(key, sizeof key, "%s.losses", label);
    float *losses = golden_f32(expected, key);
    check_losses(label, &t, losses, lr);
    free(losses);
    free(small);
    batch_free(&d);
    tuner_free(&t);
    ts_prompt_free(p);
    ts_weights_free(expected);
}

static void check_reference(ts_device *dev)
{
    bench b = bench_new(dev);
    check_made(&b, "upt", "upt", (ts_method_settings){.tokens = 4}, upt_start, 1e-4);
    check_made(&b, "upt_degenerate", "upt", (ts_method_settings){.tokens = 4, .attention = 2}, upt_start, 1e-4);
    check_made(&b, "reprogram", "reprogram", (ts_method_settings){.pixels = 38}, reprogram_start, 0.3);
    check_made(&b, "maple", "maple", (ts_method_settings){0}, maple_start, 1e-4);
    bench_free(&b);
}

static void golden_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_golden(dev);
    ts_device_free(dev);
}

static void golden_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_golden(dev);
}

static void reference_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_reference(dev);
    ts_device_free(dev);
}

static void reference_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_reference(dev);
}

/* ---- class prompts ---- */

/* With the words' own embeddings as context a prompt is the plain text: the same features as the text tower gives. */
static void words_are_text(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    float *want = golden_f32(b.golden, "text_features");
    unit_rows(want, CLASSES);
    for (int own = 1; own <= 2; own++) {
        ts_prompt *p = prompt(&b, "coop", (ts_method_settings){.words = "a photo of a", .per_class = own});
        assert_int_equal(p->settings.context, 4);
        piece s = chunk_piece(p, dev, CLASSES, false);
        float got[CLASSES * EMBED];
        if (!ts_prompt_chunk_write(&s.pg, s.e, &s.chunk, 0, &err) || !ts_run(s.e, &err) || !ts_read(s.e, s.out, got, &err))
            fail_msg("%s", err.text);
        assert_true(relative_error(got, want, CLASSES * EMBED) < 1e-4);
        piece_free(&s);
        ts_prompt_free(p);
    }
    /* the same for constant classes */
    ts_prompt *p = prompt(&b, "vpt-deep", (ts_method_settings){0});
    float got[CLASSES * EMBED];
    if (!ts_prompt_constant_classes(p, got, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(got, want, CLASSES * EMBED) < 1e-4);
    ts_prompt_free(p);
    free(want);
    bench_free(&b);
    ts_device_free(dev);
}

static void check_slots(const bench *b, ts_class_position position, bool per_class, int k, const char *want)
{
    ts_error err = {0};
    ts_prompt_text text;
    const ts_prompt_text_desc desc = {.context = 3, .per_class = per_class, .position = position};
    if (!ts_prompt_text_new(b->clip, b->tokenizer, class_names, CLASSES, &desc, &text, &err)) fail_msg("%s", err.text);
    assert_int_equal(text.length, 8); /* start, 3, two tokens, ".", end */
    char got[128] = "";
    for (int i = 0; i < text.length; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", text.slot[k * text.length + i]);
    assert_string_equal(got, want);
    for (int i = 0; i < text.length; i++) {
        bool zeros = true;
        for (int c = 0; c < text.width; c++) zeros = zeros && text.fixed[((int64_t)k * text.length + i) * text.width + c] == 0;
        assert_int_equal(zeros, text.slot[k * text.length + i] >= 0 || i > text.end[k]);
    }
    ts_prompt_text_clear(&text);
}

static void class_positions(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    check_slots(&b, TS_CLASS_END, false, 1, "-1 0 1 2 -1 -1 -1 -1");
    check_slots(&b, TS_CLASS_MIDDLE, false, 1, "-1 0 -1 -1 1 2 -1 -1");
    check_slots(&b, TS_CLASS_FRONT, false, 1, "-1 -1 -1 0 1 2 -1 -1");
    check_slots(&b, TS_CLASS_MIDDLE, true, 2, "-1 6 -1 7 8 -1 -1 -1");
    bench_free(&b);
    ts_device_free(dev);
}

static void long_names(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    char name[1000] = "";
    for (size_t i = 0; i < 100; i++) memcpy(name + 4 * i, "dog ", 5);
    ts_error err = {0};
    ts_prompt_text text;
    ts_prompt_text_desc desc = {.context = 16, .position = TS_CLASS_END};
    assert_false(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_non_null(strstr(err.text, "101 tokens"));
    err = (ts_error){0};
    desc.cut = true;
    assert_true(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_int_equal(text.length, 77);
    assert_int_equal(text.end[0], 76);
    ts_prompt_text_clear(&text);
    desc.context = 75;
    assert_false(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_non_null(strstr(err.text, "room for 74"));
    bench_free(&b);
    ts_device_free(dev);
}

/* ---- checkpoints as others write them ---- */

static void check_checkpoint(const bench *b, const char *file, const char *method, int params, double tolerance)
{
    ts_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, file);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    ts_method_settings settings;
    const ts_method *m = ts_method_of_weights(w, &settings, &err);
    if (!m) fail_msg("%s", err.text);
    assert_string_equal(m->name, method);
    ts_prompt_desc desc = {.method = m,
                           .settings = settings,
                           .clip = b->clip,
                           .tokenizer = b->tokenizer,
                           .names = class_names,
                           .classes = CLASSES,
                           .weights = w};
    ts_prompt *p = ts_prompt_new(&desc, &err);
    if (!p) fail_msg("%s", err.text);
    assert_int_equal(ts_params_count(p->params), params);
    for (int64_t i = 0; i < params; i++) {
        int64_t shape[TS_MAX_DIMS];
        const int64_t count = param_count(p, i);
        float *got = malloc((size_t)count * sizeof *got), *want = malloc((size_t)count * sizeof *want);
        if (!ts_params_read(p->params, i, got, &err)) fail_msg("%s", err.text);
        start((int)i, &(made){.bound = 1}, count, want);
        if (ts_params_shape(p->params, i, shape) == 3) {
            float *pixels = planes_to_pixels(want, shape[0], shape[1]);
            free(want);
            want = pixels;
        }
        assert_true(relative_error(got, want, count) < tolerance);
        free(got);
        free(want);
    }
    ts_prompt_free(p);
    desc.settings.context = desc.settings.pixels = 7; /* other than the file's */
    assert_null(ts_prompt_new(&desc, &err));
    assert_int_equal(err.code, TS_ERR_SHAPE);
    err = (ts_error){0};
    desc.method = ts_method_find("vpt-deep", &err);
    assert_null(ts_prompt_new(&desc, &err));
    assert_non_null(strstr(err.text, "has no prompt_embeddings"));
    ts_weights_free(w);
}

static void checkpoints(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    check_checkpoint(&b, "prompt_coop.pth.tar", "coop", 1, 1e-6);
    check_checkpoint(&b, "prompt_cocoop.pth.tar", "cocoop", 5, 1e-6);
    check_checkpoint(&b, "prompt_vp.pth.tar", "vp-padding", 4, 1e-6);
    check_checkpoint(&b, "prompt_maple.pth.tar", "maple", 9, 1e-3); /* in half precision */
    ts_error err = {0};
    ts_method_settings settings;
    assert_null(ts_method_of_weights(b.model, &settings, &err));
    bench_free(&b);
    ts_device_free(dev);
}

/* ---- settings ---- */

static void settings(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_method_settings s = {0};
    char text[300];
    const ts_method *coop = ts_method_find("coop", &err), *upt = ts_method_find("upt", &err);
    assert_null(ts_method_find("copo", &err));
    assert_non_null(strstr(err.text, "coop, cocoop"));
    int count;
    const ts_method_setting *list = ts_method_setting_list(&count);
    for (int i = 0; i < count; i++) assert_false(ts_method_setting_text(&s, list[i].key, text, sizeof text));
    assert_true(ts_method_setting_set(coop, &s, "context", "8", &err));
    assert_true(ts_method_setting_set(coop, &s, "per-class", "yes", &err));
    assert_true(ts_method_setting_set(coop, &s, "position", "middle", &err));
    assert_true(ts_method_setting_set(coop, &s, "words", "a photo", &err));
    assert_true(ts_method_setting_set(upt, &s, "attention", "degenerate", &err));
    static const char *const want[][2] = {
        {"context", "8"}, {"per-class", "yes"}, {"position", "middle"}, {"words", "a photo"}, {"attention", "degenerate"}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(ts_method_setting_text(&s, want[i][0], text, sizeof text));
        assert_string_equal(text, want[i][1]);
    }
    static const struct {
        const char *key, *value, *says;
    } bad[] = {{"tokens", "4", "has no setting"},
               {"context", "0", "from 1 to"},
               {"context", "8x", "from 1 to"},
               {"context", "99999999999999999999", "from 1 to"},
               {"position", "left", "end, middle or front"},
               {"per-class", "maybe", "yes or no"},
               {"text", "x", "has no setting"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (ts_error){0};
        assert_false(ts_method_setting_set(coop, &s, bad[i].key, bad[i].value, &err));
        if (!strstr(err.text, bad[i].says)) fail_msg("%s", err.text);
    }
}

/* Every method can be made with its own settings, trains something, and has all it needs said. */
static void every_method(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    uint8_t *rgb = malloc((size_t)SIDE * SIDE * 3);
    for (int i = 0; ts_method_at(i); i++) {
        const ts_method *m = ts_method_at(i);
        assert_true(m->about && m->settings && m->recipe.lr > 0 && m->recipe.batch > 0 && m->recipe.epochs(16) > 0);
        assert_true(m->images || m->classes);
        assert_true(!m->classes == (m->text != NULL));
        ts_prompt *p = prompt(&b, m->name, (ts_method_settings){0});
        assert_true(ts_params_count(p->params) > 0);
        if (m->picture && !m->picture(p, rgb, &err)) fail_msg("%s", err.text);
        ts_prompt_free(p);
    }
    free(rgb);
    bench_free(&b);
    ts_device_free(dev);
}

/* ---- what changes at each step ---- */

/* Where a random patch stands: at `seed`, all of it inside, and elsewhere at other seeds. */
static void random_places(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    ts_prompt *p = prompt(&b, "vp-random", (ts_method_settings){.pixels = 10});
    ts_prompt_graph pg = {.prompt = p, .g = ts_graph_new()};
    ts_prompt_images(&pg, ts_input(pg.g, "pixels", TS_REAL, 4, (int64_t[]){1, SIDE, SIDE, 3}));
    assert_int_equal(pg.inputs, 1);
    assert_true(pg.input[0].each_step);
    int32_t index[SIDE * SIDE];
    int tops[2] = {SIDE, 0}, places = 0, last = -1;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        pg.input[0].fill(p, pg.input[0].t, seed, index);
        int count = 0, first = -1;
        for (int i = 0; i < SIDE * SIDE; i++) {
            if (index[i] < 0) continue;
            if (first < 0) first = i;
            assert_int_equal(index[i], (i / SIDE - first / SIDE) * 10 + i % SIDE - first % SIDE);
            count++;
        }
        assert_int_equal(count, 100);
        places += first != last;
        last = first;
        if (first / SIDE < tops[0]) tops[0] = first / SIDE;
        if (first / SIDE > tops[1]) tops[1] = first / SIDE;
    }
    assert_true(places > 190);
    assert_true(tops[0] < 3 && tops[1] > SIDE - 10 - 4);
    ts_graph_free(pg.g);
    ts_prompt_free(p);
    bench_free(&b);
    ts_device_free(dev);
}

/* Dropout is there in training only, and both sides of UPT see the same masks at a step. */
static void masks(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    ts_prompt *p = prompt(&b, "upt", (ts_method_settings){0});
    for (int training = 0; training < 2; training++) {
        ts_prompt_graph images = {.prompt = p, .g = ts_graph_new(), .training = training},
                        classes = {.prompt = p, .g = ts_graph_new(), .training = training};
        ts_prompt_images(&images, ts_input(images.g, "pixels", TS_REAL, 4, (int64_t[]){1, SIDE, SIDE, 3}));
        const ts_prompt_chunk chunk = ts_prompt_chunk_new(&classes, 2);
        ts_prompt_classes(&classes, &chunk, NULL);
        assert_int_equal(images.inputs, training ? 3 : 0);
        assert_int_equal(classes.inputs, images.inputs);
        for (int i = 0; i < images.inputs; i++) {
            float one[8 * 64], other[8 * 64];
            assert_int_equal(ts_count(images.input[i].t), 8 * 64);
            images.input[i].fill(p, images.input[i].t, 5, one);
            classes.input[i].fill(p, classes.input[i].t, 5, other);
            assert_memory_equal(one, other, sizeof one);
            int dropped = 0;
            for (int k = 0; k < 8 * 64; k++) dropped += one[k] == 0;
            assert_in_range(dropped, 25, 80);
            classes.input[i].fill(p, classes.input[i].t, 6, other);
            assert_memory_not_equal(one, other, sizeof one);
        }
        ts_graph_free(images.g);
        ts_graph_free(classes.g);
    }
    ts_prompt_free(p);
    bench_free(&b);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings),
        cmocka_unit_test(class_positions),
        cmocka_unit_test(long_names),
        cmocka_unit_test(words_are_text),
        cmocka_unit_test(every_method),
        cmocka_unit_test(checkpoints),
        cmocka_unit_test(random_places),
        cmocka_unit_test(masks),
        cmocka_unit_test(golden_on_host),
        cmocka_unit_test(reference_on_host),
        cmocka_unit_test(golden_on_vulkan),
        cmocka_unit_test(reference_on_vulkan),
        cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
