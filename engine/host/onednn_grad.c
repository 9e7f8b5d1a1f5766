/* onednn_grad.c - the gradients of products and convolutions (product.h) by oneDNN. For a linear layer both are plain products:
 * dx = dy w as the three lie, dw = dy^T x with dy read through its strides, nothing is transposed in memory. For a convolution
 * oneDNN has primitives of its own, whose weights lie in blocks: dx takes them anew each run (an optimizer has changed them), dw
 * gives them back in the file's order. */
#include "engine/host/product.h"

#ifdef TESSERA_ONEDNN
#include <stdlib.h>

#include "engine/host/onednn.h"

typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive, reorder;
    dnnl_memory_t dy, with, out, scratchpad; /* of the primitive; `with`: w for dx, x for dw */
    dnnl_memory_t plain;                     /* the weights in the file's order, on the other side of `reorder` */
    void *packed;                            /* the weights in blocks; NULL: the primitive takes the file's order */
    int dy_arg, with_arg, out_arg;
    uint64_t scratch_bytes;
} grad_state;

static bool check(dnnl_status_t status, const ts_node *n, const char *what, ts_error *err)
{
    if (status == dnnl_success) return true;
    return ts_fail(err, status == dnnl_out_of_memory ? TS_ERR_MEMORY : TS_ERR_UNSUPPORTED,
                   "oneDNN cannot %s for %s of %s (status %d)", what, n->op->name, ts_shape_text(n->in[0]).s, (int)status);
}

static bool is_matmul(const ts_product *p)
{
    return p->kernel_h == 1 && p->kernel_w == 1 && p->stride == 1 && !(p->top | p->left | p->bottom | p->right);
}

void ts_product_grad_release(void *state)
{
    grad_state *s = state;
    if (!s) return;
    const dnnl_memory_t memories[] = {s->dy, s->with, s->out, s->scratchpad, s->plain};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (s->primitive) dnnl_primitive_destroy(s->primitive);
    if (s->reorder) dnnl_primitive_destroy(s->reorder);
    if (s->stream) dnnl_stream_destroy(s->stream);
    if (s->engine) dnnl_engine_destroy(s->engine);
    free(s->packed);
    free(s);
}

/* ---- descriptions ---- */

/* What the primitive reads and writes, in the order it lies in outside; `any` is a convolution's weights as it would have them.
 */
typedef struct {
    ts_md dy, with, out, any;
} shapes;

static void clear_shapes(shapes *s)
{
    ts_md *const all[] = {&s->dy, &s->with, &s->out, &s->any};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ts_md_clear(all[i]);
}

static dnnl_status_t matrix(ts_md *d, int64_t rows, int64_t columns, dnnl_format_tag_t tag)
{
    return ts_md_new(d, 2, (dnnl_dims_t){rows, columns}, tag);
}

static dnnl_status_t describe_matmul(const ts_product *p, bool weight, shapes *s, const_dnnl_primitive_attr_t attr,
                                     dnnl_engine_t engine, dnnl_primitive_desc_t *desc)
{
    const int64_t rows = p->images * p->height * p->width;
    dnnl_status_t status =
        weight ? matrix(&s->dy, p->out_channels, rows, dnnl_ba) : matrix(&s->dy, rows, p->out_channels, dnnl_ab);
    if (status == dnnl_success) status = matrix(&s->with, weight ? rows : p->out_channels, p->channels, dnnl_ab);
    if (status == dnnl_success) status = matrix(&s->out, weight ? p->out_channels : rows, p->channels, dnnl_ab);
    if (status != dnnl_success) return status;
    return ts_describe_matmul(desc, engine, ts_md_of(&s->dy), ts_md_of(&s->with), NULL, ts_md_of(&s->out), attr);
}

static dnnl_status_t describe_conv(const ts_product *p, bool weight, shapes *s, const_dnnl_primitive_attr_t attr,
                                   dnnl_engine_t engine, dnnl_primitive_desc_t *desc)
{
    ts_md *x = weight ? &s->with : &s->out, *w = weight ? &s->out : &s->with;
    const ts_window at = {{p->stride, p->stride}, {p->top, p->left}, {p->bottom, p->right}};
    const dnnl_dims_t kernel = {p->out_channels, p->channels, p->kernel_h, p->kernel_w};
    dnnl_status_t status = ts_md_new(x, 4, (dnnl_dims_t){p->images, p->channels, p->height, p->width}, dnnl_nhwc);
    if (status == dnnl_success) status = ts_md_new(w, 4, kernel, dnnl_oihw);
    if (status == dnnl_success) status = ts_md_new(&s->any, 4, kernel, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = ts_md_new(&s->dy, 4, (dnnl_dims_t){p->images, p->out_channels, p->out_height, p->out_width}, dnnl_nhwc);
    if (status != dnnl_success) return status;
    /* oneDNN wants to see the forward primitive that the gradient is of. */
    dnnl_primitive_desc_t forward = NULL;
    const ts_md_ref of_x = ts_md_of(x), of_w = ts_md_of(&s->any), of_dy = ts_md_of(&s->dy);
    status = ts_describe_conv(&forward, engine, dnnl_forward_training, of_x, of_w, NULL, of_dy, &at, NULL);
    if (status == dnnl_success)
        status = (weight ? ts_describe_conv_dw : ts_describe_conv_dx)(desc, engine, of_x, of_w, of_dy, &at, forward, attr);
    if (forward) dnnl_primitive_desc_destroy(forward);
    return status;
}

/* ---- preparing ---- */

/* The weights' blocks, and the way from (dx) or to (dw) the file's order. */
static dnnl_status_t prepare_blocks(grad_state *s, bool weight, ts_md_ref plain, ts_md_ref blocks)
{
    dnnl_memory_t *memory = weight ? &s->out : &s->with;
    if (dnnl_memory_desc_equal(plain, blocks)) return dnnl_memory_create(memory, plain, s->engine, DNNL_MEMORY_NONE);
    const size_t bytes = dnnl_memory_desc_get_size(blocks);
    s->packed = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!s->packed) return dnnl_out_of_memory;
    dnnl_primitive_desc_t desc = NULL;
    const ts_md_ref from = weight ? blocks : plain, to = weight ? plain : blocks;
    dnnl_status_t status = dnnl_memory_create(memory, blocks, s->engine, s->packed);
    if (status == dnnl_success) status = dnnl_memory_create(&s->plain, plain, s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_reorder_primitive_desc_create(&desc, from, s->engine, to, s->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&s->reorder, desc);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return status;
}

static dnnl_status_t prepare_memory(grad_state *s, const ts_product *p, bool weight, const shapes *shape,
                                    const_dnnl_primitive_desc_t desc)
{
    const ts_md_ref pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    s->scratch_bytes = dnnl_memory_desc_get_size(pad);
    dnnl_status_t status = dnnl_memory_create(&s->scratchpad, pad, s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&s->dy, ts_md_of(&shape->dy), s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && (is_matmul(p) || weight))
        status = dnnl_memory_create(&s->with, ts_md_of(&shape->with), s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && (is_matmul(p) || !weight))
        status = dnnl_memory_create(&s->out, ts_md_of(&shape->out), s->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success || is_matmul(p)) return status;
    return prepare_blocks(s, weight, ts_md_of(weight ? &shape->out : &shape->with),
                          dnnl_primitive_desc_query_md(desc, weight ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0));
}

static bool prepare(const ts_node *n, bool weight, void **state, ts_error *err)
{
    const ts_product *p = n->attr;
    grad_state *s = calloc(1, sizeof *s);
    if (!s) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    *state = s;
    const bool matmul = is_matmul(p);
    s->dy_arg = matmul ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST;
    s->with_arg = weight && !matmul ? DNNL_ARG_SRC : DNNL_ARG_WEIGHTS;
    s->out_arg = matmul ? DNNL_ARG_DST : weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_DIFF_SRC;
    shapes shape = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    bool ok =
        check(dnnl_engine_create(&s->engine, dnnl_cpu, 0), n, "start", err) &&
        check(dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags), n, "start", err) &&
        check(dnnl_primitive_attr_create(&attr), n, "start", err) &&
        check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), n, "start", err) &&
        check((matmul ? describe_matmul : describe_conv)(p, weight, &shape, attr, s->engine, &desc), n, "make a kernel", err) &&
        check(dnnl_primitive_create(&s->primitive, desc), n, "make a kernel", err) &&
        check(prepare_memory(s, p, weight, &shape, desc), n, "prepare the memory", err);
    clear_shapes(&shape);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return ok;
}

bool ts_product_dx_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)h;
    return prepare(n, false, state, err);
}

bool ts_product_dw_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)h;
    return prepare(n, true, state, err);
}

static uint64_t scratch(const ts_node *n, const ts_host *h)
{
    const grad_state *s = ts_host_state(h, n);
    return s ? s->scratch_bytes : 0; /* none in the yardstick */
}

uint64_t ts_product_dx_scratch(const ts_node *n, const ts_host *h)
{
    return scratch(n, h);
}

uint64_t ts_product_dw_scratch(const ts_node *n, const ts_host *h)
{
    return scratch(n, h);
}

/* ---- running ---- */

static dnnl_status_t reorder(grad_state *s, dnnl_memory_t from, dnnl_memory_t to, void *plain)
{
    dnnl_status_t status = dnnl_memory_set_data_handle(s->plain, plain);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return status == dnnl_success ? dnnl_primitive_execute(s->reorder, s->stream, 2, args) : status;
}

/* Points a memory at its data, except at the blocks: setting their address would clear their padding again. */
static dnnl_status_t point(const grad_state *s, dnnl_memory_t memory, void *data)
{
    return data == s->packed ? dnnl_success : dnnl_memory_set_data_handle(memory, data);
}

static bool run(const ts_node *n, bool weight, ts_host *h, ts_error *err)
{
    grad_state *s = ts_host_state(h, n);
    void *with = ts_host_ptr(h, n->in[TS_GRAD_WITH]), *out = ts_host_ptr(h, n->out[0]), *plain = weight ? out : with;
    if (s->packed && weight) out = s->packed;
    if (s->packed && !weight) with = s->packed;
    const dnnl_exec_arg_t args[] = {
        {s->dy_arg, s->dy}, {s->with_arg, s->with}, {s->out_arg, s->out}, {DNNL_ARG_SCRATCHPAD, s->scratchpad}};
    return check(point(s, s->dy, ts_host_ptr(h, n->in[TS_GRAD_DY])), n, "set memory", err) &&
           check(point(s, s->with, with), n, "set memory", err) && check(point(s, s->out, out), n, "set memory", err) &&
           check(dnnl_memory_set_data_handle(s->scratchpad, ts_host_scratch(h, n)), n, "set memory", err) &&
           (!s->reorder || weight || check(reorder(s, s->plain, s->with, plain), n, "reorder the weights", err)) &&
           check(dnnl_primitive_execute(s->primitive, s->stream, 4, args), n, "run", err) &&
           (!s->reorder || !weight || check(reorder(s, s->out, s->plain, plain), n, "reorder the weights", err)) &&
           check(dnnl_stream_wait(s->stream), n, "run", err);
}

bool ts_product_dx_run(const ts_node *n, ts_host *h, ts_error *err)
{
    return run(n, false, h, err);
}

bool ts_product_dw_run(const ts_node *n, ts_host *h, ts_error *err)
{
    return run(n, true, h, err);
}
#endif
