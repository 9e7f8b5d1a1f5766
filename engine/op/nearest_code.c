/* nearest_code.c - the vector quantiser's choice: index[r] = argmin over k of |z[r] - codebook[k]|^2, the first of equal ones
 * (van den Oord et al., arXiv 1711.00937, eq. 1). The squares of differences are summed as they are: the usual
 * |z|^2 - 2 z e + |e|^2 is a matrix product, but loses the digits by which close codes differ, and the two backends would pick
 * different codes. It is a thousandth of an encoder's work either way. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *z, *codebook;
    int32_t *index;
    int64_t codes, width;
} nearest_job;

TS_CLONES static void nearest_rows(void *ctx, int64_t begin, int64_t end)
{
    const nearest_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *z = j->z + row * width;
        real least = INFINITY;
        int64_t best = 0;
        for (int64_t k = 0; k < j->codes; k++) {
            const real *e = j->codebook + k * width;
            real distance = 0;
#pragma omp simd reduction(+ : distance)
            for (int64_t i = 0; i < width; i++) distance += (z[i] - e[i]) * (z[i] - e[i]);
            if (distance < least) least = distance, best = k;
        }
        j->index[row] = (int32_t)best;
    }
}

TS_HOST_KERNEL(nearest_code);
bool REAL(ts_host_nearest_code)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    nearest_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->out[0]), n->in[1]->shape[0],
                       n->in[1]->shape[1]};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 1, nearest_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup for four rows of z, its lanes over the codes ---- */

static bool nearest_code_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_tensor *z = n->in[0], *codebook = n->in[1];
    const int64_t rows = ts_rows(z), width = ts_last_dim(z);
    const bool wide = width % 4 == 0;
    const struct {
        uint64_t z, codebook, index;
        uint32_t rows, codes, width;
    } push = {ts_vk_address(cmd, z), ts_vk_address(cmd, codebook), ts_vk_address(cmd, n->out[0]),
              (uint32_t)rows,        (uint32_t)codebook->shape[0], (uint32_t)(wide ? width / 4 : width)};
    ts_vk_dispatch_desc desc = {.shader = "nearest_code",
                                .push = &push,
                                .push_bytes = sizeof push,
                                .flops = 3 * (double)rows * (double)ts_count(codebook)};
    ts_vk_rows(cmd, (rows + 3) / 4, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op nearest_code_op = {.name = "nearest_code",
                                      .host = ts_host_nearest_code_f32,
                                      .host_f64 = ts_host_nearest_code_f64,
                                      .vulkan = nearest_code_vulkan};

ts_tensor *ts_nearest_code(ts_graph *g, ts_tensor *z, ts_tensor *codebook)
{
    if (!z || !codebook) return NULL;
    if (codebook->ndim != 2 || codebook->shape[1] != ts_last_dim(z) || z->type != TS_REAL || codebook->type != TS_REAL)
        return ts_graph_fail(g, TS_ERR_SHAPE, "nearest_code", "z %s needs a codebook (K, %lld), it is %s", ts_shape_text(z).s,
                             (long long)ts_last_dim(z), ts_shape_text(codebook).s);
    if (codebook->shape[0] > INT32_MAX)
        return ts_graph_fail(g, TS_ERR_SHAPE, "nearest_code", "a codebook %s has more codes than an index can tell apart",
                             ts_shape_text(codebook).s);
    ts_node *n = ts_node_new(g, &nearest_code_op, 2, (ts_tensor *[]){z, codebook}, NULL, 0);
    const bool single = z->ndim == 1;
    const int64_t one = 1;
    return ts_node_output(n, TS_I32, single ? 1 : z->ndim - 1, single ? &one : z->shape);
}
#endif
