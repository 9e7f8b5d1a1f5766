/* onednn.c - product.h by oneDNN. A primitive is made once a plan; oneDNN's own cache shares the generated code among nodes of
 * one shape.
 *
 * A linear layer is oneDNN's `matmul` on the weights as they lie in the mapped file, (out, in): a gigabyte of weights is not
 * copied, for less than a tenth of speed (`inner_product` on that order would take a path 2 to 3 times slower). A convolution
 * wants its weights in blocks of its own, made once and kept; the mapped original is then given back to the system. */
#include "engine/host/product.h"

#ifdef TESSERA_ONEDNN
#include <inttypes.h>
#include <stdlib.h>

#include "engine/host/onednn.h"

typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive, reorder;
    dnnl_memory_t x, w, bias, residual, out, scratchpad;
    dnnl_memory_t plain; /* the weights as they come; NULL: used as they are, through `w` */
    void *packed;        /* the weights as the primitive wants them */
    bool every_run;      /* the weights may change: an input, or a parameter that is trained */
    uint64_t scratch_bytes;
} product_state;

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

static const ts_tensor *residual_of(const ts_node *n)
{
    return n->nin > TS_PRODUCT_RESIDUAL ? n->in[TS_PRODUCT_RESIDUAL] : NULL;
}

void ts_product_release(void *state)
{
    product_state *s = state;
    if (!s) return;
    const dnnl_memory_t memories[] = {s->x, s->w, s->bias, s->residual, s->out, s->scratchpad, s->plain};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (s->primitive) dnnl_primitive_destroy(s->primitive);
    if (s->reorder) dnnl_primitive_destroy(s->reorder);
    if (s->stream) dnnl_stream_destroy(s->stream);
    if (s->engine) dnnl_engine_destroy(s->engine);
    free(s->packed);
    free(s);
}

/* What a primitive is described by; `w` is how the weights come, `wanted` how a convolution would have them. */
typedef struct {
    ts_md x, w, wanted, bias, out;
    dnnl_primitive_attr_t attr;
} shapes;

static void clear_shapes(shapes *s)
{
    ts_md *const all[] = {&s->x, &s->w, &s->wanted, &s->bias, &s->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ts_md_clear(all[i]);
    if (s->attr) dnnl_primitive_attr_destroy(s->attr);
}

static bool describe(const ts_product *p, shapes *s)
{
    if (is_matmul(p)) {
        const int64_t rows = p->images * p->height * p->width;
        return ts_md_new(&s->x, 2, (dnnl_dims_t){rows, p->channels}, dnnl_ab) == dnnl_success &&
               ts_md_new(&s->w, 2, (dnnl_dims_t){p->channels, p->out_channels}, dnnl_ba) == dnnl_success &&
               ts_md_new(&s->bias, 2, (dnnl_dims_t){1, p->out_channels}, dnnl_ab) == dnnl_success &&
               ts_md_new(&s->out, 2, (dnnl_dims_t){rows, p->out_channels}, dnnl_ab) == dnnl_success;
    }
    const dnnl_dims_t x = {p->images, p->channels, p->height, p->width},
                      w = {p->out_channels, p->channels, p->kernel_h, p->kernel_w},
                      out = {p->images, p->out_channels, p->out_height, p->out_width};
    return ts_md_new(&s->x, 4, x, dnnl_nhwc) == dnnl_success && ts_md_new(&s->w, 4, w, dnnl_oihw) == dnnl_success &&
           ts_md_new(&s->wanted, 4, w, dnnl_format_tag_any) == dnnl_success &&
           ts_md_new(&s->bias, 1, (dnnl_dims_t){p->out_channels}, dnnl_a) == dnnl_success &&
           ts_md_new(&s->out, 4, out, dnnl_nhwc) == dnnl_success;
}

/* The activation, then the residual. The residual is not oneDNN's `sum`, which would want it in the output's place. */
static dnnl_status_t describe_post_ops(const ts_product *p, const ts_node *n, shapes *s)
{
    dnnl_status_t status = dnnl_primitive_attr_create(&s->attr);
    dnnl_post_ops_t ops = NULL;
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(s->attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && p->act == TS_ACT_GELU) status = ts_append_activation(ops, dnnl_eltwise_gelu_erf, 0);
    if (status == dnnl_success && p->act == TS_ACT_QUICK_GELU) status = ts_append_activation(ops, dnnl_eltwise_swish, 1.702F);
    if (status == dnnl_success && p->act == TS_ACT_SWISH) status = ts_append_activation(ops, dnnl_eltwise_swish, 1);
    if (status == dnnl_success && residual_of(n)) status = dnnl_post_ops_append_binary(ops, dnnl_binary_add, ts_md_of(&s->out));
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(s->attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return status;
}

static dnnl_status_t describe_primitive(const ts_product *p, const ts_node *n, const shapes *s, dnnl_engine_t engine,
                                        dnnl_primitive_desc_t *desc)
{
    const ts_md_ref bias = n->in[TS_PRODUCT_BIAS] ? ts_md_of(&s->bias) : NULL;
    if (is_matmul(p)) return ts_describe_matmul(desc, engine, ts_md_of(&s->x), ts_md_of(&s->w), bias, ts_md_of(&s->out), s->attr);
    const ts_window at = {{p->stride, p->stride}, {p->top, p->left}, {p->bottom, p->right}};
    return ts_describe_conv(desc, engine, dnnl_forward_inference, ts_md_of(&s->x), ts_md_of(&s->wanted), bias, ts_md_of(&s->out),
                            &at, s->attr);
}

static dnnl_status_t run_reorder(product_state *s, void *plain)
{
    dnnl_status_t status = dnnl_memory_set_data_handle(s->plain, plain);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, s->plain}, {DNNL_ARG_TO, s->w}};
    if (status == dnnl_success) status = dnnl_primitive_execute(s->reorder, s->stream, 2, args);
    return status == dnnl_success ? dnnl_stream_wait(s->stream) : status;
}

/* Memory for the weights as the primitive wants them, and the way there. */
static dnnl_status_t prepare_weights(product_state *s, const ts_node *n, ts_md_ref plain, ts_md_ref wanted)
{
    if (dnnl_memory_desc_equal(plain, wanted)) return dnnl_memory_create(&s->w, plain, s->engine, DNNL_MEMORY_NONE);
    const size_t bytes = dnnl_memory_desc_get_size(wanted);
    s->packed = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!s->packed) return dnnl_out_of_memory;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_memory_create(&s->w, wanted, s->engine, s->packed);
    if (status == dnnl_success) status = dnnl_memory_create(&s->plain, plain, s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_reorder_primitive_desc_create(&desc, plain, s->engine, wanted, s->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&s->reorder, desc);
    if (desc) dnnl_primitive_desc_destroy(desc);
    const ts_param_entry *param = ts_root_const(n->in[TS_PRODUCT_W])->state->param;
    s->every_run = !param || param->owner->trainable;
    if (status != dnnl_success || s->every_run) return status;
    status = run_reorder(s, param->host);
    if (!param->owned) ts_weight_release(param->weight);
    return status;
}

static dnnl_status_t prepare_memory(product_state *s, const ts_node *n, const shapes *shape, const_dnnl_primitive_desc_t desc)
{
    const ts_md_ref pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    s->scratch_bytes = dnnl_memory_desc_get_size(pad);
    dnnl_status_t status = dnnl_memory_create(&s->scratchpad, pad, s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&s->x, ts_md_of(&shape->x), s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&s->out, ts_md_of(&shape->out), s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && n->in[TS_PRODUCT_BIAS])
        status = dnnl_memory_create(&s->bias, ts_md_of(&shape->bias), s->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && residual_of(n))
        status = dnnl_memory_create(&s->residual, ts_md_of(&shape->out), s->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) return status;
    return prepare_weights(s, n, ts_md_of(&shape->w), dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
}

bool ts_product_prepare(const ts_product *p, const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)h;
    product_state *s = calloc(1, sizeof *s);
    if (!s) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    *state = s;
    shapes shape = {0};
    dnnl_primitive_desc_t desc = NULL;
    bool ok = check(dnnl_engine_create(&s->engine, dnnl_cpu, 0), n, "start", err) &&
              check(dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags), n, "start", err) &&
              (describe(p, &shape) || check(dnnl_invalid_arguments, n, "describe the shapes", err)) &&
              check(describe_post_ops(p, n, &shape), n, "fold what follows", err) &&
              check(describe_primitive(p, n, &shape, s->engine, &desc), n, "make a kernel", err) &&
              check(dnnl_primitive_create(&s->primitive, desc), n, "make a kernel", err) &&
              check(prepare_memory(s, n, &shape, desc), n, "prepare the memory", err);
    clear_shapes(&shape);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return ok;
}

uint64_t ts_product_scratch(const ts_product *p, const ts_node *n, const ts_host *h)
{
    (void)p;
    const product_state *s = ts_host_state(h, n);
    return s ? s->scratch_bytes : 0; /* none in the yardstick */
}

bool ts_product_run(const ts_product *p, const ts_node *n, ts_host *h, ts_error *err)
{
    (void)p;
    product_state *s = ts_host_state(h, n);
    void *weights = ts_host_ptr(h, n->in[TS_PRODUCT_W]);
    if (s->every_run && !check(run_reorder(s, weights), n, "reorder the weights", err)) return false;
    const struct {
        int arg;
        dnnl_memory_t memory;
        void *data;
    } all[] = {
        {DNNL_ARG_SRC, s->x, ts_host_ptr(h, n->in[TS_PRODUCT_X])},
        {DNNL_ARG_WEIGHTS, s->w, s->packed ? s->packed : weights},
        {DNNL_ARG_BIAS, s->bias, ts_host_ptr(h, n->in[TS_PRODUCT_BIAS])},
        {DNNL_ARG_DST, s->out, ts_host_ptr(h, n->out[0])},
        {DNNL_ARG_SCRATCHPAD, s->scratchpad, ts_host_scratch(h, n)},
        {DNNL_ARG_ATTR_MULTIPLE_POST_OP(p->act != TS_ACT_NONE) | DNNL_ARG_SRC_1, s->residual, ts_host_ptr(h, residual_of(n))}};
    dnnl_exec_arg_t args[sizeof all / sizeof *all];
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i].memory) continue;
        /* Setting the address of blocked weights would clear their padding again: theirs never changes. */
        if (all[i].data != s->packed && !check(dnnl_memory_set_data_handle(all[i].memory, all[i].data), n, "set memory", err))
            return false;
        args[count++] = (dnnl_exec_arg_t){all[i].arg, all[i].memory};
    }
    return check(dnnl_primitive_execute(s->primitive, s->stream, count, args), n, "run", err) &&
           check(dnnl_stream_wait(s->stream), n, "run", err);
}
#endif
