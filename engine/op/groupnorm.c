/* groupnorm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta, mean and variance over all places of an image and the C/groups
 * channels of a group (Wu and He 2018, arXiv 1803.08494), and swish of it where one follows.
 *
 * x is (N, ..., C), so a group's channels are a few neighbours in every row of C: the statistics are gathered for each channel
 * over a block of places (rows stream through, lanes are channels), twice over a block in cache, so that no digits are lost to a
 * large mean, and merged as Chan et al. do: M2 = sum of M2_i + n_i (mean_i - mean)^2. The mean goes to the last pass in two
 * parts, for the same reason. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

typedef struct {
    int groups;
    float eps;
    ts_act act;
} groupnorm_attr;

/* ---- host ---- */

enum { PLACES = 64, TILE = 64 }; /* of a block; channels that are gathered at once */

typedef struct {
    double mean, m2;
} moments;

typedef struct {
    const real *x, *gamma, *beta;
    real *y;
    int64_t images, places, channels, blocks; /* blocks of places in an image */
    int groups;
    double eps;
    moments *partial;           /* (images, blocks, channels) */
    real *center, *scale, *add; /* (images, channels) each: y = (x - center) scale + add */
    ts_act act;
    /* of the gradient */
    const real *dy;
    real *dx, *p;
    real *rstd, *q_mean, *qx_mean; /* (images, channels) each */
} groupnorm_job;

/* The moments of `count` <= TILE channels over `places` rows of the image, taken about the first row. */
TS_CLONES static void block_moments(const real *x, int64_t stride, int64_t places, int64_t count, moments *out)
{
    real sum[TILE] = {0}, square[TILE] = {0};
    for (int64_t p = 0; p < places; p++) {
        const real *row = x + p * stride;
#pragma omp simd
        for (int64_t c = 0; c < count; c++) sum[c] += row[c] - x[c];
    }
    for (int64_t c = 0; c < count; c++) sum[c] /= (real)places;
    for (int64_t p = 0; p < places; p++) {
        const real *row = x + p * stride;
#pragma omp simd
        for (int64_t c = 0; c < count; c++) {
            const real d = (row[c] - x[c]) - sum[c];
            square[c] += d * d;
        }
    }
    for (int64_t c = 0; c < count; c++) out[c] = (moments){(double)x[c] + (double)sum[c], (double)square[c]};
}

static int64_t places_in(const groupnorm_job *j, int64_t block)
{
    int64_t left = j->places - block * PLACES;
    return left < PLACES ? left : PLACES;
}

static void gather_moments(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    for (int64_t i = begin; i < end; i++) { /* (image, block) */
        const int64_t image = i / j->blocks, block = i % j->blocks;
        const real *x = j->x + (image * j->places + block * PLACES) * j->channels;
        for (int64_t c = 0; c < j->channels; c += TILE) {
            int64_t count = j->channels - c < TILE ? j->channels - c : TILE;
            block_moments(x + c, j->channels, places_in(j, block), count, j->partial + i * j->channels + c);
        }
    }
}

static void merge_moments(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    const int64_t width = j->channels / j->groups;
    for (int64_t i = begin; i < end; i++) { /* (image, group) */
        const int64_t image = i / j->groups, first = i % j->groups * width;
        const moments *partial = j->partial + image * j->blocks * j->channels + first;
        const double total = (double)(j->places * width);
        double mean = 0, m2 = 0;
        for (int64_t b = 0; b < j->blocks; b++)
            for (int64_t c = 0; c < width; c++) mean += (double)places_in(j, b) * partial[b * j->channels + c].mean;
        mean /= total;
        for (int64_t b = 0; b < j->blocks; b++)
            for (int64_t c = 0; c < width; c++) {
                const moments *m = &partial[b * j->channels + c];
                m2 += m->m2 + (double)places_in(j, b) * (m->mean - mean) * (m->mean - mean);
            }
        const double rstd = 1 / sqrt(m2 / total + j->eps);
        const real center = (real)mean;
        for (int64_t c = first; c < first + width; c++) {
            const int64_t at = image * j->channels + c;
            j->center[at] = center;
            if (j->rstd) j->rstd[at] = (real)rstd;
            j->scale[at] = (real)(rstd * (double)j->gamma[c]);
            j->add[at] = (real)((double)j->beta[c] + ((double)center - mean) * rstd * (double)j->gamma[c]);
        }
    }
}

TS_CLONES static void apply(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    const int64_t channels = j->channels;
    for (int64_t i = begin; i < end; i++) { /* (image, place) */
        const int64_t at = i / j->places * channels;
        const real *x = j->x + i * channels, *center = j->center + at, *scale = j->scale + at, *add = j->add + at;
        real *y = j->y + i * channels;
        if (j->act == TS_ACT_SWISH) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                const real v = (x[c] - center[c]) * scale[c] + add[c];
                y[c] = v / (1 + real_exp(-v));
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) y[c] = (x[c] - center[c]) * scale[c] + add[c];
        }
    }
}

/* The gradient, with xhat = (x - mean) rstd, q = dy gamma and the means over an image's group:
 *     dx = (q - mean(q) - xhat mean(q xhat)) rstd     and p = dy xhat, whose sum over images and places is dgamma. */

/* For a block: `mean` takes the sum of q and `m2` that of q xhat, by channel; p is written on the way. */
TS_CLONES static void grad_sums(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    const int64_t channels = j->channels;
    for (int64_t i = begin; i < end; i++) { /* (image, block) */
        const int64_t image = i / j->blocks, block = i % j->blocks, first = (image * j->places + block * PLACES) * channels;
        for (int64_t c = 0; c < channels; c += TILE) {
            const int64_t count = channels - c < TILE ? channels - c : TILE, at = image * channels + c;
            const real *center = j->center + at, *rstd = j->rstd + at, *gamma = j->gamma + c;
            real q_sum[TILE] = {0}, qx_sum[TILE] = {0};
            for (int64_t place = 0; place < places_in(j, block); place++) {
                const real *x = j->x + first + place * channels + c, *dy = j->dy + first + place * channels + c;
                real *p = j->p + first + place * channels + c;
#pragma omp simd
                for (int64_t k = 0; k < count; k++) {
                    p[k] = dy[k] * ((x[k] - center[k]) * rstd[k]);
                    q_sum[k] += dy[k] * gamma[k];
                    qx_sum[k] += p[k] * gamma[k];
                }
            }
            for (int64_t k = 0; k < count; k++) j->partial[i * channels + c + k] = (moments){(double)q_sum[k], (double)qx_sum[k]};
        }
    }
}

static void grad_merge(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    const int64_t width = j->channels / j->groups;
    for (int64_t i = begin; i < end; i++) { /* (image, group) */
        const int64_t image = i / j->groups, first = i % j->groups * width;
        const moments *partial = j->partial + image * j->blocks * j->channels + first;
        const double total = (double)(j->places * width);
        double q = 0, qx = 0;
        for (int64_t b = 0; b < j->blocks; b++)
            for (int64_t c = 0; c < width; c++) {
                q += partial[b * j->channels + c].mean;
                qx += partial[b * j->channels + c].m2;
            }
        for (int64_t c = first; c < first + width; c++) {
            j->q_mean[image * j->channels + c] = (real)(q / total);
            j->qx_mean[image * j->channels + c] = (real)(qx / total);
        }
    }
}

TS_CLONES static void grad_apply(void *ctx, int64_t begin, int64_t end)
{
    const groupnorm_job *j = ctx;
    for (int64_t i = begin; i < end; i++) { /* (image, place) */
        const int64_t at = i / j->places * j->channels;
        const real *x = j->x + i * j->channels, *dy = j->dy + i * j->channels, *center = j->center + at, *rstd = j->rstd + at;
        const real *q_mean = j->q_mean + at, *qx_mean = j->qx_mean + at;
        real *dx = j->dx + i * j->channels;
#pragma omp simd
        for (int64_t c = 0; c < j->channels; c++)
            dx[c] = rstd[c] * (dy[c] * j->gamma[c] - q_mean[c] - (x[c] - center[c]) * rstd[c] * qx_mean[c]);
    }
}

static groupnorm_job describe(const ts_node *n)
{
    const groupnorm_attr *attr = n->attr;
    const ts_tensor *x = n->in[0];
    groupnorm_job j = {.images = x->shape[0],
                       .channels = ts_last_dim(x),
                       .places = ts_rows(x) / x->shape[0],
                       .groups = attr->groups,
                       .eps = (double)attr->eps,
                       .act = attr->act};
    j.blocks = (j.places + PLACES - 1) / PLACES;
    return j;
}

TS_HOST_KERNEL(groupnorm);
bool REAL(ts_host_groupnorm)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    groupnorm_job j = describe(n);
    const int threads = ts_host_threads(h);
    j.x = ts_host_ptr(h, n->in[0]);
    j.gamma = ts_host_ptr(h, n->in[1]);
    j.beta = ts_host_ptr(h, n->in[2]);
    j.y = ts_host_ptr(h, n->out[0]);
    j.partial = ts_host_scratch(h, n);
    j.center = (real *)(j.partial + j.images * j.blocks * j.channels);
    j.scale = j.center + j.images * j.channels;
    j.add = j.scale + j.images * j.channels;
    ts_parallel(threads, j.images * j.blocks, 4, gather_moments, &j);
    ts_parallel(threads, j.images * j.groups, 8, merge_moments, &j);
    ts_parallel(threads, j.images * j.places, 64, apply, &j);
    return true;
}

TS_HOST_KERNEL(groupnorm_grad);
bool REAL(ts_host_groupnorm_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    groupnorm_job j = describe(n);
    const int threads = ts_host_threads(h);
    const int64_t each = j.images * j.channels;
    j.x = ts_host_ptr(h, n->in[0]);
    j.gamma = j.beta = ts_host_ptr(h, n->in[1]); /* beta has no part in it; merge_moments wants one */
    j.dy = ts_host_ptr(h, n->in[2]);
    j.dx = ts_host_ptr(h, n->out[0]);
    j.p = ts_host_ptr(h, n->out[1]);
    j.partial = ts_host_scratch(h, n);
    j.center = (real *)(j.partial + each * j.blocks);
    j.scale = j.center + each;
    j.add = j.scale + each;
    j.rstd = j.add + each;
    j.q_mean = j.rstd + each;
    j.qx_mean = j.q_mean + each;
    ts_parallel(threads, j.images * j.blocks, 4, gather_moments, &j);
    ts_parallel(threads, j.images * j.groups, 8, merge_moments, &j);
    ts_parallel(threads, j.images * j.blocks, 4, grad_sums, &j);
    ts_parallel(threads, j.images * j.groups, 8, grad_merge, &j);
    ts_parallel(threads, j.images * j.places, 64, grad_apply, &j);
    return true;
}

#ifndef TS_YARDSTICK
static uint64_t groupnorm_host_scratch(const ts_node *n, const ts_host *h)
{
    (void)h;
    const groupnorm_job j = describe(n);
    return (uint64_t)(j.images * j.channels) * ((uint64_t)j.blocks * sizeof(moments) + 6 * sizeof(double));
}

/* ---- Vulkan: gather, merge, apply, the same three steps ---- */

typedef struct {
    uint64_t x, gamma, beta, y, partial, stats;
    uint32_t images, places, units, blocks, span, groups, group_units;
    float eps;
} groupnorm_push;

static bool is_wide(const groupnorm_job *j)
{
    return j->channels / j->groups % 4 == 0;
}

/* Places of a block when moments are gathered: as many as keep the device busy, so that there is little to merge. */
static int64_t span_of(const groupnorm_job *j)
{
    const int64_t units = j->images * j->places * j->channels / (is_wide(j) ? 4 : 1), span = units / (1 << 16);
    return span < 8 ? 8 : span > 64 ? 64 : span;
}

/* stats first, (images, groups) of four floats; then partial, (images, blocks, units) of two. */
static uint64_t groupnorm_vulkan_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)limits;
    const groupnorm_job j = describe(n);
    const int64_t span = span_of(&j), blocks = (j.places + span - 1) / span, units = j.channels / (is_wide(&j) ? 4 : 1);
    return (uint64_t)j.images * ((uint64_t)j.groups * 16 + (uint64_t)(blocks * units) * 8);
}

/* One of the steps that run over (images, blocks, units). */
static bool over_blocks(const char *shader, const groupnorm_job *j, groupnorm_push *push, int64_t span, uint32_t choice,
                        ts_vk_cmd *cmd, ts_error *err)
{
    push->span = (uint32_t)span;
    push->blocks = (uint32_t)((j->places + span - 1) / span);
    ts_vk_dispatch_desc desc = {.shader = shader,
                                .push = push,
                                .push_bytes = sizeof *push,
                                .flops = 4 * (double)(j->images * j->places) * (double)j->channels};
    ts_vk_items(cmd, j->images * push->blocks * push->units, &desc);
    desc.spec[1] = choice;
    desc.spec[2] = is_wide(j);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool groupnorm_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const groupnorm_job j = describe(n);
    const int64_t unit = is_wide(&j) ? 4 : 1;
    const uint64_t stats = ts_vk_address(cmd, n->scratch);
    groupnorm_push push = {.x = ts_vk_address(cmd, n->in[0]),
                           .gamma = ts_vk_address(cmd, n->in[1]),
                           .beta = ts_vk_address(cmd, n->in[2]),
                           .y = ts_vk_address(cmd, n->out[0]),
                           .stats = stats,
                           .partial = stats + (uint64_t)(j.images * j.groups) * 16,
                           .images = (uint32_t)j.images,
                           .places = (uint32_t)j.places,
                           .units = (uint32_t)(j.channels / unit),
                           .groups = (uint32_t)j.groups,
                           .group_units = (uint32_t)(j.channels / j.groups / unit),
                           .eps = ((const groupnorm_attr *)n->attr)->eps};
    if (!over_blocks("groupnorm_gather", &j, &push, span_of(&j), 0, cmd, err)) return false;
    ts_vk_barrier(cmd);
    ts_vk_dispatch_desc desc = {.shader = "groupnorm_merge", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, j.images * j.groups, &desc);
    desc.spec[2] = is_wide(&j);
    desc.spec_count = 3;
    if (!ts_vk_dispatch(cmd, &desc, err)) return false;
    ts_vk_barrier(cmd);
    return over_blocks("groupnorm_apply", &j, &push, ts_vk_limits_of(cmd)->cpu ? 32 : 4, j.act == TS_ACT_SWISH, cmd, err);
}

/* One workgroup does a group of an image: its places are read four times, but by one dispatch and with no scratch. */
static bool groupnorm_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const groupnorm_job j = describe(n);
    const int64_t unit = is_wide(&j) ? 4 : 1;
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    /* A CPU driver gives an invocation 65535 turns of all its loops together; four loops run over the group. */
    if (limits->cpu && j.places * j.channels / j.groups / unit / limits->subgroup > 16000)
        return ts_fail(err, TS_ERR_UNSUPPORTED,
                       "groupnorm_grad: a Vulkan driver on the CPU cannot do a group of %lld places x %lld channels",
                       (long long)j.places, (long long)(j.channels / j.groups));
    const struct {
        uint64_t x, gamma, dy, dx, p;
        uint32_t images, places, units, groups;
        float eps;
    } push = {.x = ts_vk_address(cmd, n->in[0]),
              .gamma = ts_vk_address(cmd, n->in[1]),
              .dy = ts_vk_address(cmd, n->in[2]),
              .dx = ts_vk_address(cmd, n->out[0]),
              .p = ts_vk_address(cmd, n->out[1]),
              .images = (uint32_t)j.images,
              .places = (uint32_t)j.places,
              .units = (uint32_t)(j.channels / unit),
              .groups = (uint32_t)j.groups,
              .eps = (float)j.eps};
    ts_vk_dispatch_desc desc = {.shader = "groupnorm_grad",
                                .push = &push,
                                .push_bytes = sizeof push,
                                .flops = 20 * (double)(j.images * j.places) * (double)j.channels};
    ts_vk_rows(cmd, j.images * j.groups, &desc);
    desc.spec[2] = is_wide(&j);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op groupnorm_grad_op = {.name = "groupnorm_grad",
                                        .host = ts_host_groupnorm_grad_f32,
                                        .host_f64 = ts_host_groupnorm_grad_f64,
                                        .host_scratch = groupnorm_host_scratch,
                                        .vulkan = groupnorm_grad_vulkan};

static void groupnorm_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_graph *g = n->graph;
    ts_tensor *x = n->in[0];
    ts_node *d = ts_node_new(g, &groupnorm_grad_op, 3, (ts_tensor *[]){x, n->in[1], dy[0]}, n->attr, sizeof(groupnorm_attr));
    dx[0] = ts_node_output(d, TS_REAL, x->ndim, x->shape);
    ts_tensor *p = ts_node_output(d, TS_REAL, x->ndim, x->shape);
    if (wanted[1]) dx[1] = ts_sum_leading(g, p, 1);
    if (wanted[2]) dx[2] = ts_sum_leading(g, dy[0], 1);
}

static bool groupnorm_absorb(ts_node *n, const ts_node *consumer)
{
    groupnorm_attr *attr = n->attr;
    if (attr->act != TS_ACT_NONE || strcmp(consumer->op->name, "swish") != 0) return false;
    attr->act = TS_ACT_SWISH;
    return true;
}

static const ts_op groupnorm_op = {.name = "groupnorm",
                                   .grad = groupnorm_grad,
                                   .absorb = groupnorm_absorb,
                                   .host = ts_host_groupnorm_f32,
                                   .host_f64 = ts_host_groupnorm_f64,
                                   .host_scratch = groupnorm_host_scratch,
                                   .vulkan = groupnorm_vulkan,
                                   .vulkan_scratch = groupnorm_vulkan_scratch};

ts_tensor *ts_groupnorm(ts_graph *g, ts_tensor *x, ts_tensor *gamma, ts_tensor *beta, int groups, float eps)
{
    if (!x || !gamma || !beta) return NULL;
    const int64_t channels = ts_last_dim(x);
    if (x->ndim < 2 || groups < 1 || channels % groups != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "groupnorm", "x %s cannot be normalised in %d groups of channels",
                             ts_shape_text(x).s, groups);
    if (gamma->ndim != 1 || beta->ndim != 1 || gamma->shape[0] != channels || beta->shape[0] != channels)
        return ts_graph_fail(g, TS_ERR_SHAPE, "groupnorm", "x %s needs gamma and beta of %lld, they are %s and %s",
                             ts_shape_text(x).s, (long long)channels, ts_shape_text(gamma).s, ts_shape_text(beta).s);
    const groupnorm_attr attr = {.groups = groups, .eps = eps};
    ts_node *n = ts_node_new(g, &groupnorm_op, 3, (ts_tensor *[]){x, gamma, beta}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}
#endif
