/* onednn.h - the part of oneDNN that product.h is made with, the same for its versions 2 and 3. In 2 a memory's description is a
 * struct, and a primitive is described by one of its own; in 3 descriptions are objects, and primitives are described in one
 * call. Here all of it reads like 3.
 *
 * A `ts_md` is a description that we own, a `ts_md_ref` what oneDNN takes and gives. */
#ifndef TESSERA_ONEDNN_H
#define TESSERA_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>
#include <stddef.h>

typedef dnnl_memory_desc_t ts_md;

/* Strides and padding of a convolution. */
typedef struct {
    dnnl_dims_t stride, before, after;
} ts_window;

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t ts_md_ref;

static inline ts_md_ref ts_md_of(const ts_md *d)
{
    return *d;
}

static inline dnnl_status_t ts_md_new(ts_md *d, int ndims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(d, ndims, dims, dnnl_f32, tag);
}

/* Frees what ts_md_new made; a description of zeros is none. */
static inline void ts_md_clear(ts_md *d)
{
    if (*d) dnnl_memory_desc_destroy(*d);
    *d = NULL;
}

static inline dnnl_status_t ts_append_activation(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, 0);
}

static inline dnnl_status_t ts_describe_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref x, ts_md_ref w,
                                               ts_md_ref bias, ts_md_ref y, const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, x, w, bias, y, attr);
}

static inline dnnl_status_t ts_describe_conv(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_prop_kind_t kind, ts_md_ref x,
                                             ts_md_ref w, ts_md_ref bias, ts_md_ref y, const ts_window *at,
                                             const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_forward_primitive_desc_create(out, engine, kind, dnnl_convolution_direct, x, w, bias, y, at->stride,
                                                          NULL, at->before, at->after, attr);
}

static inline dnnl_status_t ts_describe_conv_dx(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref dx, ts_md_ref w,
                                                ts_md_ref dy, const ts_window *at, const_dnnl_primitive_desc_t forward,
                                                const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_backward_data_primitive_desc_create(out, engine, dnnl_convolution_direct, dx, w, dy, at->stride, NULL,
                                                                at->before, at->after, forward, attr);
}

static inline dnnl_status_t ts_describe_conv_dw(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref x, ts_md_ref dw,
                                                ts_md_ref dy, const ts_window *at, const_dnnl_primitive_desc_t forward,
                                                const_dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, dnnl_convolution_direct, x, dw, NULL, dy,
                                                                   at->stride, NULL, at->before, at->after, forward, attr);
}

#else

typedef const dnnl_memory_desc_t *ts_md_ref;

static inline ts_md_ref ts_md_of(const ts_md *d)
{
    return d;
}

static inline dnnl_status_t ts_md_new(ts_md *d, int ndims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(d, ndims, dims, dnnl_f32, tag);
}

static inline void ts_md_clear(ts_md *d)
{
    (void)d;
}

static inline dnnl_status_t ts_append_activation(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, 0);
}

static inline dnnl_status_t ts_describe_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref x, ts_md_ref w,
                                               ts_md_ref bias, ts_md_ref y, const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    const dnnl_status_t status = dnnl_matmul_desc_init(&d, x, w, bias, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &d, attr, engine, NULL) : status;
}

static inline dnnl_status_t ts_describe_conv(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_prop_kind_t kind, ts_md_ref x,
                                             ts_md_ref w, ts_md_ref bias, ts_md_ref y, const ts_window *at,
                                             const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&d, kind, dnnl_convolution_direct, x, w, bias, y, at->stride, at->before, at->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &d, attr, engine, NULL) : status;
}

static inline dnnl_status_t ts_describe_conv_dx(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref dx, ts_md_ref w,
                                                ts_md_ref dy, const ts_window *at, const_dnnl_primitive_desc_t forward,
                                                const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status =
        dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, dx, w, dy, at->stride, at->before, at->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &d, attr, engine, forward) : status;
}

static inline dnnl_status_t ts_describe_conv_dw(dnnl_primitive_desc_t *out, dnnl_engine_t engine, ts_md_ref x, ts_md_ref dw,
                                                ts_md_ref dy, const ts_window *at, const_dnnl_primitive_desc_t forward,
                                                const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, x, dw, NULL, dy,
                                                                             at->stride, at->before, at->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &d, attr, engine, forward) : status;
}

#endif
#endif
