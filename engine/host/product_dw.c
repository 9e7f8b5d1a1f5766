/* product_dw.c - the gradient of a product's weight in our own C, for a build without oneDNN. Per tap it is dy^T x, a product
 * whose inner dimension is the places: in chunks of those, dy is transposed, so that an output channel's places lie side by side,
 * 16 channels of x are gathered into a panel, and tiles of 6 output channels by 16 channels are added to sums that stay in
 * memory. Every thread has columns of its own, so each sum is made in one order whatever the number of threads. */
#include "engine/host/product.h"

#ifndef TESSERA_ONEDNN
#include "engine/host/tile.h"

#include <string.h>

enum { CHUNK = 256 }; /* places at a time */

typedef struct {
    const ts_product *p;
    const float *dy, *x;
    float *dw, *turned, *sums;    /* `turned` and `panel`: by slot */
    int64_t places, taps, blocks; /* blocks of 16 channels */
    int64_t slots, slot_count;
} dw_job;

static int64_t up_to_line(int64_t floats)
{
    return (floats + TS_TILE_COLS - 1) / TS_TILE_COLS * TS_TILE_COLS;
}

static int64_t slot_floats(const ts_product *p)
{
    return up_to_line(CHUNK * p->out_channels) + CHUNK * TS_TILE_COLS;
}

static int64_t channel_blocks(const ts_product *p)
{
    return (p->channels + TS_TILE_COLS - 1) / TS_TILE_COLS;
}

static int64_t sum_floats(const ts_product *p)
{
    return p->kernel_h * p->kernel_w * channel_blocks(p) * TS_TILE_COLS * p->out_channels;
}

/* turned (out_channels, CHUNK) of places [first, first + count). */
static void turn(const dw_job *j, int64_t first, int64_t count, float *turned)
{
    const int64_t channels = j->p->out_channels;
    for (int64_t o = 0; o < channels; o += TS_TILE_COLS) {
        const int64_t end = o + TS_TILE_COLS < channels ? o + TS_TILE_COLS : channels;
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = o; k < end; k++) turned[k * CHUNK + i] = j->dy[(first + i) * channels + k];
    }
}

/* panel (count, 16): channels [c, c + 16) of what the places see through the tap; zeros outside the image and past the last. */
static void gather(const dw_job *j, int64_t first, int64_t count, int64_t tap, int64_t c, float *panel)
{
    const ts_product *p = j->p;
    const int64_t width = p->channels - c < TS_TILE_COLS ? p->channels - c : TS_TILE_COLS;
    memset(panel, 0, (size_t)(count * TS_TILE_COLS) * sizeof *panel);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = first + i, ox = at % p->out_width, oy = at / p->out_width % p->out_height;
        const int64_t image = at / (p->out_width * p->out_height);
        const int64_t y = oy * p->stride + tap / p->kernel_w - p->top, x = ox * p->stride + tap % p->kernel_w - p->left;
        if (y < 0 || y >= p->height || x < 0 || x >= p->width) continue;
        const float *pixel = j->x + ((image * p->height + y) * p->width + x) * p->channels + c;
        memcpy(panel + i * TS_TILE_COLS, pixel, (size_t)width * sizeof *panel);
    }
}

/* sums (out_channels, 16) += turned (out_channels, count) panel (count, 16). */
static inline __attribute__((always_inline)) void add(const dw_job *j, int64_t count, const float *turned, const float *panel,
                                                      float *sums)
{
    for (int64_t o = 0; o < j->p->out_channels; o += TS_TILE_ROWS) {
        const int64_t rows = j->p->out_channels - o < TS_TILE_ROWS ? j->p->out_channels - o : TS_TILE_ROWS;
        const float *row[TS_TILE_ROWS];
        ts_lanes acc[TS_TILE_ROWS] = {0};
        for (int64_t r = 0; r < TS_TILE_ROWS; r++) row[r] = turned + (r < rows ? o + r : o) * CHUNK;
        memcpy(acc, sums + o * TS_TILE_COLS, (size_t)rows * sizeof *acc);
        ts_tile_add(acc, row, count, panel);
        memcpy(sums + o * TS_TILE_COLS, acc, (size_t)rows * sizeof *acc);
    }
}

TS_CLONES static void dw_slots(void *ctx, int64_t begin, int64_t end)
{
    const dw_job *j = ctx;
    const ts_product *p = j->p;
    for (int64_t slot = begin; slot < end; slot++) {
        float *turned = j->turned + slot * j->slot_count, *panel = turned + up_to_line(CHUNK * p->out_channels);
        const int64_t units = j->taps * j->blocks, unit_end = units * (slot + 1) / j->slots, unit_begin = units * slot / j->slots;
        const int64_t unit_sums = TS_TILE_COLS * p->out_channels;
        memset(j->sums + unit_begin * unit_sums, 0, (size_t)((unit_end - unit_begin) * unit_sums) * sizeof *j->sums);
        for (int64_t first = 0; unit_begin < unit_end && first < j->places; first += CHUNK) {
            const int64_t count = j->places - first < CHUNK ? j->places - first : CHUNK;
            turn(j, first, count, turned);
            for (int64_t unit = unit_begin; unit < unit_end; unit++) {
                gather(j, first, count, unit / j->blocks, unit % j->blocks * TS_TILE_COLS, panel);
                add(j, count, turned, panel, j->sums + unit * unit_sums);
            }
        }
        for (int64_t unit = unit_begin; unit < unit_end; unit++) {
            const int64_t tap = unit / j->blocks, c = unit % j->blocks * TS_TILE_COLS;
            const int64_t width = p->channels - c < TS_TILE_COLS ? p->channels - c : TS_TILE_COLS;
            for (int64_t o = 0; o < p->out_channels; o++)
                for (int64_t k = 0; k < width; k++)
                    j->dw[(o * p->channels + c + k) * j->taps + tap] = j->sums[unit * unit_sums + o * TS_TILE_COLS + k];
        }
    }
}

bool ts_product_dw_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)n, (void)h, (void)err;
    *state = NULL;
    return true;
}

uint64_t ts_product_dw_scratch(const ts_node *n, const ts_host *h)
{
    const ts_product *p = n->attr;
    return (uint64_t)(sum_floats(p) + slot_floats(p) * ts_host_threads(h)) * sizeof(float);
}

bool ts_product_dw_run(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_product *p = n->attr;
    dw_job job = {.p = p,
                  .dy = ts_host_ptr(h, n->in[TS_GRAD_DY]),
                  .x = ts_host_ptr(h, n->in[TS_GRAD_WITH]),
                  .dw = ts_host_ptr(h, n->out[0]),
                  .sums = ts_host_scratch(h, n),
                  .places = p->images * p->out_height * p->out_width,
                  .taps = p->kernel_h * p->kernel_w,
                  .blocks = channel_blocks(p),
                  .slots = ts_host_threads(h),
                  .slot_count = slot_floats(p)};
    job.turned = job.sums + sum_floats(p);
    ts_parallel((int)job.slots, job.slots, 1, dw_slots, &job);
    return true;
}
#endif
