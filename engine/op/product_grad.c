/* product_grad.c - the gradients of a linear layer and of a convolution, which are products again. With y = conv(x, w) + b:
 *     dx[n,y,x,c]   = sum over o, i, j  of dy[n, (y + top - i) / s, (x + left - j) / s, o] w[o,c,i,j]   (where s divides)
 *     dw[o,c,i,j]   = sum over n, y, x  of dy[n,y,x,o] x[n, y s + i - top, x s + j - left, c]           (zero outside)
 *     db[o]         = sum over n, y, x  of dy[n,y,x,o]
 * A linear layer is the 1x1 convolution of an image one pixel high. The gradient of a weight lies as the weight does on its
 * device, so that an optimizer may go through both element by element. */
#include "engine/host/product.h"
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- the yardstick; the fast kernels are in engine/host/ ---- */

bool ts_host_product_dx_f64(const ts_node *n, ts_host *h, ts_error *err);
bool ts_host_product_dw_f64(const ts_node *n, ts_host *h, ts_error *err);
#ifdef TS_YARDSTICK
typedef struct {
    const ts_product *p;
    const real *dy, *with; /* the weight, or x */
    real *out;
} grad_job;

/* The place of the output that sees input coordinate `at` through tap `tap`; -1: none. */
static int64_t seen_from(int64_t at, int64_t tap, int64_t before, int64_t stride, int64_t places)
{
    const int64_t shifted = at + before - tap;
    return shifted < 0 || shifted % stride != 0 || shifted / stride >= places ? -1 : shifted / stride;
}

/* Lines of the input: (image, y). */
static void dx_lines(void *ctx, int64_t begin, int64_t end)
{
    const grad_job *j = ctx;
    const ts_product *p = j->p;
    const int64_t taps = p->kernel_h * p->kernel_w;
    for (int64_t i = begin * p->width * p->channels; i < end * p->width * p->channels; i++) {
        const int64_t c = i % p->channels, x = i / p->channels % p->width, line = i / p->channels / p->width;
        const int64_t y = line % p->height, image = line / p->height;
        real sum = 0;
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t oy = seen_from(y, tap / p->kernel_w, p->top, p->stride, p->out_height);
            const int64_t ox = seen_from(x, tap % p->kernel_w, p->left, p->stride, p->out_width);
            if (oy < 0 || ox < 0) continue;
            const real *dy = j->dy + ((image * p->out_height + oy) * p->out_width + ox) * p->out_channels;
            for (int64_t o = 0; o < p->out_channels; o++) sum += dy[o] * j->with[(o * p->channels + c) * taps + tap];
        }
        j->out[i] = sum;
    }
}

bool ts_host_product_dx_f64(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    grad_job job = {n->attr, ts_host_ptr(h, n->in[TS_GRAD_DY]), ts_host_ptr(h, n->in[TS_GRAD_WITH]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), job.p->images * job.p->height, 1, dx_lines, &job);
    return true;
}

/* Elements of the weight: (o, c, ky, kx). */
static void dw_elements(void *ctx, int64_t begin, int64_t end)
{
    const grad_job *j = ctx;
    const ts_product *p = j->p;
    for (int64_t i = begin; i < end; i++) {
        const int64_t kx = i % p->kernel_w, ky = i / p->kernel_w % p->kernel_h;
        const int64_t c = i / (p->kernel_w * p->kernel_h) % p->channels, o = i / (p->kernel_w * p->kernel_h * p->channels);
        real sum = 0;
        for (int64_t place = 0; place < p->images * p->out_height * p->out_width; place++) {
            const int64_t ox = place % p->out_width, oy = place / p->out_width % p->out_height;
            const int64_t image = place / (p->out_width * p->out_height);
            const int64_t y = oy * p->stride + ky - p->top, x = ox * p->stride + kx - p->left;
            if (y < 0 || y >= p->height || x < 0 || x >= p->width) continue;
            sum += j->dy[place * p->out_channels + o] * j->with[((image * p->height + y) * p->width + x) * p->channels + c];
        }
        j->out[i] = sum;
    }
}

bool ts_host_product_dw_f64(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    grad_job job = {n->attr, ts_host_ptr(h, n->in[TS_GRAD_DY]), ts_host_ptr(h, n->in[TS_GRAD_WITH]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->out[0]), 1, dw_elements, &job);
    return true;
}
#else

static double grad_flops(const ts_node *n)
{
    return ts_product_flops(n->attr);
}

/* ---- the ops ---- */

static const ts_op dx_op = {.name = "product_dx",
                            .flops = grad_flops,
                            .host = ts_product_dx_run,
                            .host_f64 = ts_host_product_dx_f64,
                            .host_prepare = ts_product_dx_prepare,
                            .host_release = ts_product_grad_release,
                            .host_scratch = ts_product_dx_scratch,
                            .vulkan = ts_vk_product_dx,
                            .vulkan_scratch = ts_vk_product_dx_scratch};

static const ts_op dw_op = {.name = "product_dw",
                            .flops = grad_flops,
                            .host = ts_product_dw_run,
                            .host_f64 = ts_host_product_dw_f64,
                            .host_prepare = ts_product_dw_prepare,
                            .host_release = ts_product_grad_release,
                            .host_scratch = ts_product_dw_scratch,
                            .vulkan = ts_vk_product_dw,
                            .vulkan_scratch = ts_vk_product_dw_scratch};

void ts_product_grad(ts_node *n, const ts_product *p, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_graph *g = n->graph;
    ts_tensor *x = n->in[TS_PRODUCT_X], *w = n->in[TS_PRODUCT_W];
    if (wanted[TS_PRODUCT_X]) {
        ts_node *node = ts_node_new(g, &dx_op, 2, (ts_tensor *[]){dy[0], w}, p, sizeof *p);
        dx[TS_PRODUCT_X] = ts_node_output(node, TS_REAL, x->ndim, x->shape);
    }
    if (wanted[TS_PRODUCT_W]) {
        ts_node *node = ts_node_new(g, &dw_op, 2, (ts_tensor *[]){dy[0], x}, p, sizeof *p);
        ts_tensor *dw = ts_node_output(node, TS_REAL, w->ndim, w->shape);
        if (dw) dw->layout = w->layout;
        dx[TS_PRODUCT_W] = dw;
    }
    if (wanted[TS_PRODUCT_BIAS]) dx[TS_PRODUCT_BIAS] = ts_sum_leading(g, dy[0], 1);
}
#endif
