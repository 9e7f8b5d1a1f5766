/* product_dx.c - the gradient of a product's input in our own C, for a build without oneDNN: the tiles of product.c with the two
 * sides changed. A place of x gathers, tap by tap, the pixels of dy that saw it, and is multiplied by the weights of 16 of its
 * channels, transposed into a panel (kh kw out_channels, 16). */
#include "engine/host/product.h"

#ifndef TESSERA_ONEDNN
#include "engine/host/tile.h"

#include <string.h>

enum { CHUNK = 64 * TS_TILE_ROWS }; /* places that one unit of work covers */

typedef struct {
    const ts_product *p;
    const float *dy, *w;
    float *dx, *scratch;
    int64_t places, panels, chunks, slots, taps;
    int64_t slot_count; /* floats of scratch for a thread: a panel, and a pixel of zeros */
} dx_job;

/* The weights of channels [c, c + 16), zeros beyond the last. */
static void pack_panel(const dx_job *j, int64_t c, float *panel)
{
    const int64_t made = j->p->channels, read = j->p->out_channels;
    const int64_t width = made - c < TS_TILE_COLS ? made - c : TS_TILE_COLS;
    memset(panel, 0, (size_t)(j->taps * read * TS_TILE_COLS) * sizeof *panel);
    for (int64_t o = 0; o < read; o++)
        for (int64_t k = 0; k < width; k++)
            for (int64_t tap = 0; tap < j->taps; tap++)
                panel[(tap * read + o) * TS_TILE_COLS + k] = j->w[(o * made + c + k) * j->taps + tap];
}

/* The pixel of dy that saw place `at` of x through the tap; zeros where there is none. */
static const float *pixel(const dx_job *j, int64_t at, int64_t tap, const float *zeros)
{
    const ts_product *p = j->p;
    const int64_t image = at / (p->width * p->height);
    const int64_t y = at / p->width % p->height + p->top - tap / p->kernel_w;
    const int64_t x = at % p->width + p->left - tap % p->kernel_w;
    if (y < 0 || x < 0 || y % p->stride != 0 || x % p->stride != 0) return zeros;
    if (y / p->stride >= p->out_height || x / p->stride >= p->out_width) return zeros;
    return j->dy + ((image * p->out_height + y / p->stride) * p->out_width + x / p->stride) * p->out_channels;
}

TS_CLONES static void dx_slots(void *ctx, int64_t begin, int64_t end)
{
    const dx_job *j = ctx;
    const int64_t made = j->p->channels, read = j->p->out_channels;
    for (int64_t slot = begin; slot < end; slot++) {
        float *panel = j->scratch + slot * j->slot_count, *zeros = panel + j->taps * read * TS_TILE_COLS;
        memset(zeros, 0, (size_t)read * sizeof *zeros);
        const int64_t units = j->panels * j->chunks;
        int64_t packed = -1;
        for (int64_t unit = units * slot / j->slots; unit < units * (slot + 1) / j->slots; unit++) {
            const int64_t c = unit / j->chunks * TS_TILE_COLS, first = unit % j->chunks * CHUNK;
            const int64_t last = first + CHUNK < j->places ? first + CHUNK : j->places;
            const int64_t width = made - c < TS_TILE_COLS ? made - c : TS_TILE_COLS;
            if (c != packed) pack_panel(j, c, panel);
            packed = c;
            for (int64_t at = first; at < last; at += TS_TILE_ROWS) {
                const int64_t rows = last - at < TS_TILE_ROWS ? last - at : TS_TILE_ROWS;
                ts_lanes acc[TS_TILE_ROWS] = {0};
                for (int64_t tap = 0; tap < j->taps; tap++) {
                    const float *row[TS_TILE_ROWS];
                    for (int64_t r = 0; r < TS_TILE_ROWS; r++) row[r] = pixel(j, r < rows ? at + r : at, tap, zeros);
                    ts_tile_add(acc, row, read, panel + tap * read * TS_TILE_COLS);
                }
                for (int64_t r = 0; r < rows; r++) memcpy(j->dx + (at + r) * made + c, &acc[r], (size_t)width * sizeof(float));
            }
        }
    }
}

static int64_t slot_floats(const ts_product *p)
{
    const int64_t floats = p->kernel_h * p->kernel_w * p->out_channels * TS_TILE_COLS + p->out_channels;
    return (floats + TS_TILE_COLS - 1) / TS_TILE_COLS * TS_TILE_COLS;
}

bool ts_product_dx_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    (void)n, (void)h, (void)err;
    *state = NULL;
    return true;
}

void ts_product_grad_release(void *state)
{
    (void)state;
}

uint64_t ts_product_dx_scratch(const ts_node *n, const ts_host *h)
{
    return (uint64_t)(slot_floats(n->attr) * ts_host_threads(h)) * sizeof(float);
}

bool ts_product_dx_run(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_product *p = n->attr;
    dx_job job = {.p = p,
                  .dy = ts_host_ptr(h, n->in[TS_GRAD_DY]),
                  .w = ts_host_ptr(h, n->in[TS_GRAD_WITH]),
                  .dx = ts_host_ptr(h, n->out[0]),
                  .scratch = ts_host_scratch(h, n),
                  .places = p->images * p->height * p->width,
                  .panels = (p->channels + TS_TILE_COLS - 1) / TS_TILE_COLS,
                  .slots = ts_host_threads(h),
                  .taps = p->kernel_h * p->kernel_w,
                  .slot_count = slot_floats(p)};
    job.chunks = (job.places + CHUNK - 1) / CHUNK;
    ts_parallel((int)job.slots, job.slots, 1, dx_slots, &job);
    return true;
}
#endif
