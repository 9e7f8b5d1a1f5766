/* product.c - see product.h. What both implementations share, and the one for a build without oneDNN: an implicit convolution, in
 * tiles of 6 places by 16 output channels. The weights of 16 output channels are transposed into a panel that stays in the second
 * level cache, and are used for all places of a thread's part before the next panel. */
#include "engine/host/product.h"

#include <string.h>

bool ts_product_absorb(ts_node *n, const ts_node *consumer, ts_act *act)
{
    static const struct {
        const char *name;
        ts_act act;
    } acts[] = {{"gelu", TS_ACT_GELU}, {"quick_gelu", TS_ACT_QUICK_GELU}, {"swish", TS_ACT_SWISH}};
    const bool residual = n->nin > TS_PRODUCT_RESIDUAL && n->in[TS_PRODUCT_RESIDUAL];
    if (residual) return false;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(consumer->op->name, acts[i].name) == 0) {
            if (*act != TS_ACT_NONE) return false;
            *act = acts[i].act;
            return true;
        }
    if (strcmp(consumer->op->name, "add") != 0 || !ts_same_shape(consumer->in[0], consumer->in[1])) return false;
    const bool first = ts_root(consumer->in[0]) == ts_root(n->out[0]);
    return ts_node_add_input(n, TS_PRODUCT_RESIDUAL, consumer->in[first ? 1 : 0]);
}

#ifndef TESSERA_ONEDNN
#include "engine/host/tile.h"

enum { CHUNK = 64 * TS_TILE_ROWS }; /* places that one unit of work covers */

typedef struct {
    const ts_product *p;
    const float *x, *w, *bias, *residual;
    float *out, *scratch;
    int64_t places, panels, chunks, slots;
    int64_t depth;      /* rows of a panel: kh kw channels */
    int64_t slot_count; /* floats of scratch for a thread: a panel, and a pixel of zeros */
} product_job;

/* panel (kh kw channels, 16) of output channels [o, o + 16), zeros beyond the last. */
static void pack_panel(const product_job *j, int64_t o, float *panel)
{
    const int64_t channels = j->p->channels, taps = j->p->kernel_h * j->p->kernel_w;
    const int64_t width = j->p->out_channels - o < TS_TILE_COLS ? j->p->out_channels - o : TS_TILE_COLS;
    memset(panel, 0, (size_t)(j->depth * TS_TILE_COLS) * sizeof *panel);
    for (int64_t k = 0; k < width; k++) {
        const float *w = j->w + (o + k) * j->depth; /* (channels, taps) */
        for (int64_t c = 0; c < channels; c++)
            for (int64_t tap = 0; tap < taps; tap++) panel[(tap * channels + c) * TS_TILE_COLS + k] = w[c * taps + tap];
    }
}

/* Where output place `at` looks: the image's first pixel, and the line and column of the kernel's first tap. */
typedef struct {
    const float *image;
    int64_t y, x;
} view;

static view view_of(const product_job *j, int64_t at)
{
    const ts_product *p = j->p;
    const int64_t ox = at % p->out_width, oy = at / p->out_width % p->out_height, image = at / (p->out_width * p->out_height);
    return (view){j->x + image * p->height * p->width * p->channels, oy * p->stride - p->top, ox * p->stride - p->left};
}

/* acc += what 6 views see through the kernel. A line of the kernel is one stretch of memory, in the image as in the panel, where
 * all of it lies inside for all 6; else it is taken tap by tap, with zeros outside. */
static inline __attribute__((always_inline)) void convolve(const product_job *j, const view v[TS_TILE_ROWS], const float *panel,
                                                           const float *zeros, ts_lanes acc[TS_TILE_ROWS])
{
    const ts_product *p = j->p;
    const float *row[TS_TILE_ROWS];
    for (int64_t ky = 0; ky < p->kernel_h; ky++) {
        const float *line = panel + ky * p->kernel_w * p->channels * TS_TILE_COLS;
        bool inside = true;
        for (int64_t r = 0; r < TS_TILE_ROWS; r++)
            inside = inside && v[r].y + ky >= 0 && v[r].y + ky < p->height && v[r].x >= 0 && v[r].x + p->kernel_w <= p->width;
        if (inside) {
            for (int64_t r = 0; r < TS_TILE_ROWS; r++) row[r] = v[r].image + ((v[r].y + ky) * p->width + v[r].x) * p->channels;
            ts_tile_add(acc, row, p->kernel_w * p->channels, line);
            continue;
        }
        for (int64_t kx = 0; kx < p->kernel_w; kx++) {
            for (int64_t r = 0; r < TS_TILE_ROWS; r++) {
                const int64_t y = v[r].y + ky, x = v[r].x + kx;
                const bool outside = y < 0 || y >= p->height || x < 0 || x >= p->width;
                row[r] = outside ? zeros : v[r].image + (y * p->width + x) * p->channels;
            }
            ts_tile_add(acc, row, p->channels, line + kx * p->channels * TS_TILE_COLS);
        }
    }
}

static inline __attribute__((always_inline)) void activate_all(ts_act act, float v[TS_TILE_COLS])
{
#pragma omp simd
    for (int64_t k = 0; k < TS_TILE_COLS; k++) v[k] = ts_product_activate(act, v[k]);
}

/* A constant in each call, so that the loop over the columns has no choice in it. */
static inline __attribute__((always_inline)) void activate(ts_act act, float v[TS_TILE_COLS])
{
    if (act == TS_ACT_GELU) activate_all(TS_ACT_GELU, v);
    else if (act == TS_ACT_QUICK_GELU) activate_all(TS_ACT_QUICK_GELU, v);
    else if (act == TS_ACT_SWISH) activate_all(TS_ACT_SWISH, v);
}

static inline __attribute__((always_inline)) void finish(const product_job *j, int64_t at, int64_t o, const ts_lanes *sums)
{
    const int64_t left = j->p->out_channels - o, width = left < TS_TILE_COLS ? left : TS_TILE_COLS;
    const int64_t base = at * j->p->out_channels + o;
    float v[TS_TILE_COLS];
    memcpy(v, sums, sizeof v);
    for (int64_t k = 0; j->bias && k < width; k++) v[k] += j->bias[o + k];
    activate(j->p->act, v);
    for (int64_t k = 0; j->residual && k < width; k++) v[k] += j->residual[base + k];
    memcpy(j->out + base, v, (size_t)width * sizeof *v);
}

TS_CLONES static void product_slots(void *ctx, int64_t begin, int64_t end)
{
    const product_job *j = ctx;
    const ts_product *p = j->p;
    for (int64_t slot = begin; slot < end; slot++) {
        float *panel = j->scratch + slot * j->slot_count, *zeros = panel + j->depth * TS_TILE_COLS;
        memset(zeros, 0, (size_t)p->channels * sizeof *zeros);
        const int64_t units = j->panels * j->chunks;
        int64_t packed = -1;
        for (int64_t unit = units * slot / j->slots; unit < units * (slot + 1) / j->slots; unit++) {
            const int64_t o = unit / j->chunks * TS_TILE_COLS, first = unit % j->chunks * CHUNK;
            const int64_t last = first + CHUNK < j->places ? first + CHUNK : j->places;
            if (o != packed) pack_panel(j, o, panel);
            packed = o;
            for (int64_t at = first; at < last; at += TS_TILE_ROWS) {
                const int64_t rows = last - at < TS_TILE_ROWS ? last - at : TS_TILE_ROWS;
                ts_lanes acc[TS_TILE_ROWS] = {0};
                view v[TS_TILE_ROWS];
                for (int64_t r = 0; r < TS_TILE_ROWS; r++) v[r] = view_of(j, r < rows ? at + r : at);
                convolve(j, v, panel, zeros, acc);
                for (int64_t r = 0; r < rows; r++) finish(j, at + r, o, &acc[r]);
            }
        }
    }
}

static int64_t slot_floats(const ts_product *p)
{
    const int64_t floats = p->kernel_h * p->kernel_w * p->channels * TS_TILE_COLS + p->channels;
    return (floats + TS_TILE_COLS - 1) / TS_TILE_COLS * TS_TILE_COLS;
}

bool ts_product_prepare(const ts_product *p, const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)p, (void)n, (void)h, (void)err;
    *state = NULL;
    return true;
}

void ts_product_release(void *state)
{
    (void)state;
}

uint64_t ts_product_scratch(const ts_product *p, const ts_node *n, const ts_host *h)
{
    (void)n;
    return (uint64_t)(slot_floats(p) * ts_host_threads(h)) * sizeof(float);
}

bool ts_product_run(const ts_product *p, const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    product_job job = {.p = p,
                       .x = ts_host_ptr(h, n->in[TS_PRODUCT_X]),
                       .w = ts_host_ptr(h, n->in[TS_PRODUCT_W]),
                       .bias = ts_host_ptr(h, n->in[TS_PRODUCT_BIAS]),
                       .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_host_ptr(h, n->in[TS_PRODUCT_RESIDUAL]) : NULL,
                       .out = ts_host_ptr(h, n->out[0]),
                       .scratch = ts_host_scratch(h, n),
                       .places = p->images * p->out_height * p->out_width,
                       .panels = (p->out_channels + TS_TILE_COLS - 1) / TS_TILE_COLS,
                       .slots = ts_host_threads(h),
                       .depth = p->kernel_h * p->kernel_w * p->channels,
                       .slot_count = slot_floats(p)};
    job.chunks = (job.places + CHUNK - 1) / CHUNK;
    ts_parallel((int)job.slots, job.slots, 1, product_slots, &job);
    return true;
}
#endif
