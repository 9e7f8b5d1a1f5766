/* paint.c - the model on a device, answering: a picture by examples, and frame after frame of a film. */
#include "painter/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const ts_painter_options AS_PUBLISHED = {0};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- the model ---- */

ts_painter *ts_painter_new(ts_device *dev, const ts_weights *w, ts_error *err)
{
    ts_painter *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->dev = dev;
    p->weights = w;
    p->layout = ts_painter_layout_of(w);
    p->blocks = ts_painter_name(&p->layout, p->layout.names->blocks);
    if (ts_painter_config_read(w, &p->config, err) && (p->params = ts_params_new(dev, w, "", err)) != NULL) return p;
    ts_painter_free(p);
    return NULL;
}

static void plan_clear(painter_plan *plan)
{
    ts_exec_free(plan->exec);
    ts_graph_free(plan->graph);
    *plan = (painter_plan){0};
}

void ts_painter_free(ts_painter *p)
{
    if (!p) return;
    plan_clear(&p->plan);
    ts_params_free(p->params);
    free(p);
}

const ts_painter_config *ts_painter_about(const ts_painter *p)
{
    return &p->config;
}

ts_device *ts_painter_device(const ts_painter *p)
{
    return p->dev;
}

bool ts_painter_check(const ts_weights *w, ts_error *err)
{
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, err); /* takes plain tensors where they lie in the file */
    ts_painter *p = dev ? ts_painter_new(dev, w, err) : NULL;
    ts_graph *g = p ? ts_graph_new() : NULL;
    bool ok = g || (p && ts_fail(err, TS_ERR_MEMORY, "out of memory"));
    if (ok) {
        /* Described as it would run, which looks every tensor up; nothing is planned. */
        const ts_painter_canvases in = ts_painter_canvases_new(g, p, 1, p->config.side);
        ts_painter_answer(g, p, &in);
        const ts_error *wrong = ts_graph_error(g);
        ok = ts_params_check(p->params, err) && (!wrong || ts_fail(err, wrong->code, "%s: %s", ts_weights_path(w), wrong->text));
    }
    ts_graph_free(g);
    ts_painter_free(p);
    ts_device_free(dev);
    return ok;
}

/* ---- planning ---- */

static bool describe(ts_painter *p, int count, int side, ts_error *err)
{
    painter_plan *plan = &p->plan;
    if (!(plan->graph = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    plan->count = count;
    plan->side = side;
    plan->in = ts_painter_canvases_new(plan->graph, p, count, side);
    plan->in.ensemble = true;
    plan->out = ts_output(plan->graph, ts_painter_answer(plan->graph, p, &plan->in));
    plan->mean = ts_output(plan->graph, ts_mean(plan->graph, plan->out));
    return ts_params_check(p->params, err);
}

static bool plan_exec(ts_painter *p, ts_error *err)
{
    painter_plan *plan = &p->plan;
    ts_error why = {0};
    plan->exec = ts_exec_new(plan->graph, p->dev, &why);
    if (plan->exec) return true;
    if (why.code == TS_ERR_MEMORY && plan->count > 1)
        return ts_fail(
            err, TS_ERR_MEMORY,
            "%d examples do not fit into the device's memory, and all must be in it at once, for their mean is taken in "
            "every layer: give fewer, or smaller pictures (%s)",
            plan->count, why.text);
    return ts_fail(err, why.code, "%s", why.text);
}

/* A plan for so many examples of that size, with `kind` in its inputs. */
static bool plan_for(ts_painter *p, int count, int side, ts_painter_kind kind, ts_error *err)
{
    painter_plan *plan = &p->plan;
    const bool kept = plan->exec && plan->count == count && plan->side == side;
    if (kept && plan->kind == kind) return true;
    if (!kept) plan_clear(plan);
    bool ok = kept || (describe(p, count, side, err) && plan_exec(p, err));
    ts_painter_kind kinds[TS_PAINTER_MAX_EXAMPLES];
    for (int i = 0; i < count; i++) kinds[i] = kind;
    ok = ok && ts_painter_canvases_write(plan->exec, &plan->in, NULL, kinds, err);
    plan->kind = kind;
    if (!ok) plan_clear(plan);
    return ok;
}

static int side_of(const ts_painter *p, const ts_painter_options *options)
{
    return options->side ? options->side : p->config.side;
}

static bool check(const ts_painter *p, int count, const ts_painter_options *options, ts_error *err)
{
    if (count < 1 || count > TS_PAINTER_MAX_EXAMPLES)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d examples, 1 to %d are possible", count, TS_PAINTER_MAX_EXAMPLES);
    if (options->kind != TS_PAINTER_INSTANCE && options->kind != TS_PAINTER_SEMANTIC)
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no kind %d of segments", (int)options->kind);
    return ts_painter_check_side(&p->config, side_of(p, options), err);
}

bool ts_painter_prepare(ts_painter *p, int count, const ts_painter_options *options, ts_painter_ms *ms, ts_error *err)
{
    if (!options) options = &AS_PUBLISHED;
    const double start = now_ms();
    const bool ok = check(p, count, options, err) && plan_for(p, count, side_of(p, options), options->kind, err);
    if (ms) ms->load += now_ms() - start;
    return ok;
}

/* ---- answering ---- */

static bool write_canvases(const painter_plan *plan, const ts_painter_pair *examples, const ts_image *query, ts_error *err)
{
    const int64_t each = 2 * (int64_t)plan->side * plan->side * 3;
    float *pictures = malloc((size_t)plan->count * (size_t)each * 2 * sizeof *pictures);
    if (!pictures) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", plan->count);
    float *targets = pictures + plan->count * each;
    bool ok = true;
    for (int i = 0; ok && i < plan->count; i++)
        ok = ts_painter_compose(&examples[i], query, plan->side, pictures + i * each, targets + i * each, err);
    ok = ok && ts_write(plan->exec, plan->in.pictures, pictures, err) && ts_write(plan->exec, plan->in.targets, targets, err);
    free(pictures);
    return ok;
}

static bool read_answer(const ts_painter *p, ts_painted *out, ts_error *err)
{
    const painter_plan *plan = &p->plan;
    const int64_t pixels = (int64_t)plan->side * plan->side;
    float mean = 0;
    *out = (ts_painted){plan->side, malloc((size_t)pixels * 3 * sizeof(float))};
    bool ok = out->values || ts_fail(err, TS_ERR_MEMORY, "out of memory for an answer");
    ok = ok && ts_read(plan->exec, plan->mean, &mean, err);
    if (ok && !isfinite(mean))
        ok = ts_fail(
            err, TS_ERR_FORMAT,
            "%s gives answers that are no numbers: its weights are broken, or too large for fp16 (model check names them)",
            ts_weights_path(p->weights));
    ok = ok && ts_read(plan->exec, plan->out, out->values, err);
    if (ok) ts_painter_restore(out->values, pixels, out->values);
    else ts_painted_clear(out);
    return ok;
}

bool ts_painter_run(ts_painter *p, const ts_painter_pair *examples, int count, const ts_image *query,
                    const ts_painter_options *options, ts_painted *out, ts_painter_ms *ms, ts_error *err)
{
    ts_painter_ms spent = {0};
    *out = (ts_painted){0};
    bool ok = ts_painter_prepare(p, count, options, &spent, err);
    const double start = now_ms();
    ok = ok && write_canvases(&p->plan, examples, query, err) && ts_run(p->plan.exec, err) && read_answer(p, out, err);
    spent.paint = now_ms() - start;
    if (ms) *ms = spent;
    return ok;
}

/* ---- films ---- */

struct ts_painter_film {
    ts_painter *painter;
    int follow, count;
    ts_image *pictures, *targets; /* (follow), the oldest first; r x r */
};

ts_painter_film *ts_painter_film_new(ts_painter *p, int follow, ts_error *err)
{
    ts_painter_film *f = NULL;
    if (follow < 0 || follow >= TS_PAINTER_MAX_EXAMPLES) {
        ts_fail(err, TS_ERR_ARGUMENT, "%d frames to follow, 0 to %d are possible", follow, TS_PAINTER_MAX_EXAMPLES - 1);
        return NULL;
    }
    if ((f = calloc(1, sizeof *f))) *f = (ts_painter_film){.painter = p, .follow = follow};
    if (f && (f->pictures = calloc(2 * (size_t)follow + 1, sizeof *f->pictures))) {
        f->targets = f->pictures + follow;
        return f;
    }
    free(f);
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}

void ts_painter_film_free(ts_painter_film *f)
{
    if (!f) return;
    for (int i = 0; i < 2 * f->follow; i++) ts_image_clear(&f->pictures[i]);
    free(f->pictures);
    free(f);
}

static bool harden(const ts_painted *a, ts_image *out, ts_error *err)
{
    if (!ts_image_new(a->side, a->side, out, err)) return false;
    for (int64_t i = 0; i < (int64_t)a->side * a->side; i++) {
        float sum = 0;
        for (int c = 0; c < 3; c++) sum += fminf(fmaxf(a->values[3 * i + c], 0), 255);
        memset(out->data + 3 * i, sum / 3 > 128 ? 255 : 0, 3);
    }
    return true;
}

/* The frame and its answer become the newest; the oldest goes where there is no room. */
static bool remember(ts_painter_film *f, const ts_image *frame, const ts_painted *answer, ts_error *err)
{
    ts_image picture = {0}, target = {0};
    if (f->follow == 0) return true;
    if (!ts_image_resize(frame, answer->side, answer->side, TS_RESIZE_BICUBIC, &picture, err)) return false;
    if (!harden(answer, &target, err)) {
        ts_image_clear(&picture);
        return false;
    }
    if (f->count == f->follow) {
        ts_image_clear(&f->pictures[0]);
        ts_image_clear(&f->targets[0]);
        f->count--;
        memmove(f->pictures, f->pictures + 1, (size_t)f->count * sizeof *f->pictures);
        memmove(f->targets, f->targets + 1, (size_t)f->count * sizeof *f->targets);
    }
    f->pictures[f->count] = picture;
    f->targets[f->count++] = target;
    return true;
}

bool ts_painter_film_next(ts_painter_film *f, const ts_painter_pair *examples, int count, const ts_image *frame,
                          const ts_painter_options *options, ts_painted *out, ts_painter_ms *ms, ts_error *err)
{
    ts_painter_pair all[TS_PAINTER_MAX_EXAMPLES];
    *out = (ts_painted){0};
    if (count < 1 || count > TS_PAINTER_MAX_EXAMPLES - f->follow)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d examples and %d frames to follow, %d together are possible", count, f->follow,
                       TS_PAINTER_MAX_EXAMPLES);
    for (int i = 0; i < count; i++) all[i] = examples[i];
    for (int i = 0; i < f->count; i++) all[count + i] = (ts_painter_pair){&f->pictures[i], &f->targets[i]};
    if (!ts_painter_run(f->painter, all, count + f->count, frame, options, out, ms, err)) return false;
    if (remember(f, frame, out, err)) return true;
    ts_painted_clear(out);
    return false;
}
