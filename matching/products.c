/* products.c - features against features, on the device: a few small graphs, each planned when it is first needed. */
#include "matching/internal.h"

#include <stdlib.h>

typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *x, *y, *z, *out;
} plan;

struct products {
    ts_device *dev;
    int64_t places, width;
    plan without, nearest, all;
    int count; /* rows of the basis that `without` is planned for */
};

products *ts_products_new(ts_device *dev, int64_t places, int64_t width)
{
    products *p = calloc(1, sizeof *p);
    if (p) *p = (products){.dev = dev, .places = places, .width = width};
    return p;
}

static void plan_clear(plan *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (plan){0};
}

void ts_products_free(products *p)
{
    if (!p) return;
    plan_clear(&p->without);
    plan_clear(&p->nearest);
    plan_clear(&p->all);
    free(p);
}

static bool plan_begin(const products *p, plan *to, ts_error *err)
{
    if (!(to->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    to->x = ts_input(to->g, "x", TS_REAL, 2, (int64_t[]){p->places, p->width});
    return true;
}

static bool plan_end(const products *p, plan *to, ts_tensor *out, ts_error *err)
{
    to->out = ts_output(to->g, out);
    if ((to->e = ts_exec_new(to->g, p->dev, err))) return true;
    plan_clear(to);
    return false;
}

/* x - (x U^T) U, as unit rows */
static bool plan_without(products *p, int count, ts_error *err)
{
    plan *to = &p->without;
    if (to->e && p->count == count) return true;
    plan_clear(to);
    if (!plan_begin(p, to, err)) return false;
    ts_graph *g = to->g;
    p->count = count;
    to->y = ts_input_weight(g, "basis", TS_LAYOUT_LINEAR, 2, (int64_t[]){count, p->width});
    to->z = ts_input_weight(g, "basis, turned", TS_LAYOUT_LINEAR, 2, (int64_t[]){p->width, count});
    ts_tensor *in = ts_linear(g, ts_linear(g, to->x, to->y, NULL), to->z, NULL);
    return plan_end(p, to, ts_unit(g, ts_sub(g, to->x, in)), err);
}

bool ts_products_without(products *p, const float *x, const float *basis, int count, float *out, ts_error *err)
{
    float *turned = malloc((size_t)count * (size_t)p->width * sizeof *turned);
    if (!turned) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t k = 0; k < count; k++)
        for (int64_t i = 0; i < p->width; i++) turned[i * count + k] = basis[k * p->width + i];
    const plan *to = &p->without;
    const bool ok = plan_without(p, count, err) && ts_write(to->e, to->x, x, err) && ts_write(to->e, to->y, basis, err) &&
                    ts_write(to->e, to->z, turned, err) && ts_run(to->e, err) && ts_read(to->e, to->out, out, err);
    free(turned);
    return ok;
}

static bool plan_pair(products *p, plan *to, bool nearest, ts_error *err)
{
    if (to->e) return true;
    if (!plan_begin(p, to, err)) return false;
    to->y = ts_input_weight(to->g, "y", TS_LAYOUT_LINEAR, 2, (int64_t[]){p->places, p->width});
    ts_tensor *all = ts_linear(to->g, to->x, to->y, NULL); // (P, P)
    return plan_end(p, to, nearest ? ts_argmax(to->g, all) : all, err);
}

static bool run_pair(const plan *to, const float *x, const float *y, void *out, ts_error *err)
{
    return ts_write(to->e, to->x, x, err) && ts_write(to->e, to->y, y, err) && ts_run(to->e, err) &&
           ts_read(to->e, to->out, out, err);
}

bool ts_products_nearest(products *p, const float *x, const float *y, int32_t *out, ts_error *err)
{
    return plan_pair(p, &p->nearest, true, err) && run_pair(&p->nearest, x, y, out, err);
}

bool ts_products_all(products *p, const float *x, const float *y, float *out, ts_error *err)
{
    return plan_pair(p, &p->all, false, err) && run_pair(&p->all, x, y, out, err);
}
