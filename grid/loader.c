/* loader.c - makes batches of canvases on worker threads, ahead of the device.
 *
 * A canvas is a function of the seed and of its number, batch x size + place, and of nothing else: the threads take numbers in
 * turn and write into a ring of batches, so that how many they are, and how fast, changes no bit, and a run that goes on at batch
 * N sees what it would have seen. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grid/loader.h"

enum { MAX_SOURCES = 64, MAX_THREADS = 256, MAX_AHEAD = 1024 };
static const char FIGURES[] = "figures:";
/* Pages of the upper half of the numbers are for validation: their seeds differ from every page's of the lower half. */
static const uint64_t UPPER_HALF = UINT64_C(1) << 63;

typedef struct {
    double share;          /* of all, added up */
    ts_pictures *pictures; /* NULL: figures */
    ts_figure_desc figures;
} source;

typedef struct {
    uint8_t *pixels;
    int32_t *keep;
    ts_grid *grids;
    int64_t left; /* canvases that are still to be made */
} slot;

/* A thread, and the patches in the order that a mask takes them. */
typedef struct {
    ts_loader *loader;
    pthread_t thread;
    int32_t *order;
} worker;

struct ts_loader {
    ts_loader_desc desc;
    source sources[MAX_SOURCES];
    int side_patches, started, ahead;
    size_t canvas_bytes;
    worker *workers;
    slot *ring;
    pthread_mutex_t lock;
    pthread_cond_t made, taken; /* a batch was finished; a place in the ring became free */
    uint64_t next;              /* number of the canvas that is made next */
    int64_t current;            /* the batch that the caller holds or, before the first, first - 1 */
    bool stop, failed;
    ts_error error;
    double waited_ms;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- one canvas ---------------------------------------------------------------------------------------------- */

static const source *pick_source(const ts_loader *l, ts_random *r)
{
    double at = (double)ts_random_real(r, 0, 1);
    int i = 0;
    while (i + 1 < l->desc.count && at >= l->sources[i].share) i++;
    return &l->sources[i];
}

/* A grid to hide a cell of, for a picture that is none. */
static bool random_grid(const ts_loader *l, ts_random *r, ts_grid *out, ts_error *err)
{
    ts_grid_desc d = {.canvas = l->desc.canvas, .patch = l->desc.patch, .examples = ts_random_int(r, 1, 2)};
    d.side = ts_random_chance(r, 0.5f) ? TS_SIDE_LEFT : TS_SIDE_RIGHT;
    d.transposed = ts_random_chance(r, 0.5f);
    return ts_grid_plan(&d, out, err);
}

static void swap(int32_t *a, int32_t *b)
{
    int32_t t = *a;
    *a = *b;
    *b = t;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Chooses the visible patches: at random, but with a grid none that its hole touches, unless the others are too few. */
static void random_mask(const ts_loader *l, ts_random *r, const ts_grid *grid, int32_t *order, int32_t *keep)
{
    int places = l->side_patches * l->side_patches, open = places;
    for (int i = 0; i < places; i++) order[i] = i;
    for (int i = 0; grid && i < open;) {
        if (ts_grid_hidden(grid, order[i] / l->side_patches, order[i] % l->side_patches)) swap(&order[i], &order[--open]);
        else i++;
    }
    for (int i = 0; i < l->desc.visible; i++) {
        int last = i < open ? open - 1 : places - 1;
        swap(&order[i], &order[ts_random_int(r, i, last)]);
    }
    memcpy(keep, order, (size_t)l->desc.visible * sizeof *keep);
    qsort(keep, (size_t)l->desc.visible, sizeof *keep, ascending);
}

static bool make_canvas(ts_loader *l, uint64_t number, int32_t *order, const slot *into, ts_error *err)
{
    uint64_t place = number % (uint64_t)l->desc.batch;
    uint8_t *pixels = into->pixels + place * l->canvas_bytes;
    const ts_loader_desc *d = &l->desc;
    uint64_t page = d->validation ? number | UPPER_HALF : number;
    ts_random r;
    ts_random_seed(&r, ts_figure_seed(~d->seed, page)); /* not the page's own, which draws the page */
    const source *s = pick_source(l, &r);
    ts_grid grid = {0};
    if (s->pictures) {
        if (!ts_pictures_crop(s->pictures, number, d->seed, &r, d->least_scale, d->canvas, pixels, err) ||
            (into->grids && !random_grid(l, &r, &grid, err)))
            return false;
    } else {
        ts_figure figure;
        if (!ts_figure_draw(&s->figures, ts_figure_seed(d->seed, page), &figure, err)) return false;
        memcpy(pixels, figure.canvas.data, l->canvas_bytes);
        grid = figure.grid;
        ts_image_clear(&figure.canvas);
    }
    if (into->grids) {
        into->grids[place] = grid;
        bool cell = ts_random_chance(&r, (float)d->cell_share);
        random_mask(l, &r, cell ? &grid : NULL, order, into->keep + place * (uint64_t)d->visible);
    }
    return true;
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    worker *w = arg;
    ts_loader *l = w->loader;
    uint64_t batch = (uint64_t)l->desc.batch;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        /* The batch that the caller holds keeps its place, `ahead` more are being made. */
        while (!l->stop && !l->failed && (int64_t)(l->next / batch) > l->current + l->ahead)
            pthread_cond_wait(&l->taken, &l->lock);
        if (l->stop || l->failed) break;
        uint64_t number = l->next++;
        slot *s = &l->ring[number / batch % (uint64_t)(l->ahead + 1)];
        pthread_mutex_unlock(&l->lock);
        ts_error err = {0};
        bool ok = make_canvas(l, number, w->order, s, &err);
        pthread_mutex_lock(&l->lock);
        if (!ok && !l->failed) {
            l->failed = true;
            l->error = err;
        }
        if (ok) s->left--; /* a batch that lacks a canvas never becomes complete */
        if (!ok || s->left == 0) pthread_cond_broadcast(&l->made);
    }
    pthread_cond_broadcast(&l->taken);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

bool ts_loader_next(ts_loader *l, ts_batch *out, ts_error *err)
{
    double start = now_ms();
    pthread_mutex_lock(&l->lock);
    if (l->current >= l->desc.first) l->ring[l->current % (l->ahead + 1)].left = l->desc.batch; /* given back */
    slot *s = &l->ring[++l->current % (l->ahead + 1)];
    pthread_cond_broadcast(&l->taken);
    while (s->left > 0 && !l->failed) pthread_cond_wait(&l->made, &l->lock);
    bool ok = s->left == 0;
    if (!ok) ts_fail(err, l->error.code, "%s", l->error.text);
    pthread_mutex_unlock(&l->lock);
    l->waited_ms += now_ms() - start;
    *out = ok ? (ts_batch){s->pixels, s->keep, s->grids} : (ts_batch){0};
    return ok;
}

/* ---- making -------------------------------------------------------------------------------------------------- */

static bool check_desc(const ts_loader_desc *d, ts_error *err)
{
    if (d->count < 1 || d->count > MAX_SOURCES)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d sources of pictures, wanted 1 to %d", d->count, MAX_SOURCES);
    if (d->batch < 1 || d->batch > 1 << 20) return ts_fail(err, TS_ERR_ARGUMENT, "a batch of %d is not possible", d->batch);
    if (d->first < 0 || d->threads < 0 || d->threads > MAX_THREADS || d->ahead < 0 || d->ahead > MAX_AHEAD)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d threads %d batches ahead from batch %lld on are not possible", d->threads,
                       d->ahead, (long long)d->first);
    if (!(d->cell_share >= 0 && d->cell_share <= 1))
        return ts_fail(err, TS_ERR_ARGUMENT, "a share %g of cell masks is not possible: 0 to 1", d->cell_share);
    if (!(d->least_scale >= 0 && d->least_scale <= 1))
        return ts_fail(err, TS_ERR_ARGUMENT, "crops of at least %g of a picture are not possible: 0 to 1", d->least_scale);
    for (int i = 0; i < d->count; i++)
        if (!(d->sources[i].share >= 0 && d->sources[i].share < 1e9))
            return ts_fail(err, TS_ERR_ARGUMENT, "a share of %g for %s is not possible", d->sources[i].share, d->sources[i].path);
    return true;
}

bool ts_figures_read(const char *words, ts_figure_desc *out, ts_error *err)
{
    for (const char *at = *words ? words : NULL; at;) {
        size_t length = strcspn(at, ",");
        char word[32] = {0};
        ts_figure_task task;
        if (length < sizeof word) memcpy(word, at, length);
        if (strcmp(word, "published") == 0) out->published = true;
        else if (strcmp(word, "plain") == 0) out->plain = true;
        else if (length == 1 && word[0] >= '1' && word[0] <= '3') out->least = out->most = word[0] - '0';
        else if (ts_figure_task_find(word, &task)) out->weight[task] += 1;
        else
            return ts_fail(err, TS_ERR_ARGUMENT, "%s%s: there is no task %.*s: tessera figures --list tells them", FIGURES, words,
                           (int)length, at);
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

static bool open_source(ts_loader *l, int at, ts_error *err)
{
    const ts_loader_desc *d = &l->desc;
    const char *path = d->sources[at].path;
    source *s = &l->sources[at];
    if (strncmp(path, FIGURES, sizeof FIGURES - 1) == 0) {
        s->figures = (ts_figure_desc){.canvas = d->canvas, .patch = d->patch};
        return ts_figures_read(path + sizeof FIGURES - 1, &s->figures, err);
    }
    uint64_t cache = d->cache_bytes ? d->cache_bytes : UINT64_C(256) << 20;
    s->pictures = ts_pictures_open(path, d->validation, d->strict, cache / (uint64_t)d->count, err);
    return s->pictures != NULL;
}

static bool open_sources(ts_loader *l, ts_error *err)
{
    double sum = 0, all = 0;
    for (int i = 0; i < l->desc.count; i++) all += l->desc.sources[i].share > 0 ? l->desc.sources[i].share : 1;
    for (int i = 0; i < l->desc.count; i++) {
        sum += l->desc.sources[i].share > 0 ? l->desc.sources[i].share : 1;
        l->sources[i].share = sum / all;
        if (!open_source(l, i, err)) return false;
    }
    return true;
}

static bool make_ring(ts_loader *l, ts_error *err)
{
    size_t batch = (size_t)l->desc.batch, places = (size_t)l->side_patches * (size_t)l->side_patches;
    l->ring = calloc((size_t)l->ahead + 1, sizeof *l->ring);
    bool ok = l->ring != NULL;
    for (int i = 0; ok && i <= l->ahead; i++) {
        slot *s = &l->ring[i];
        s->left = l->desc.batch;
        s->pixels = calloc(batch, l->canvas_bytes);
        if (l->desc.visible) s->keep = calloc(batch, (size_t)l->desc.visible * sizeof *s->keep);
        if (l->desc.visible) s->grids = calloc(batch, sizeof *s->grids);
        ok = s->pixels && ((s->keep && s->grids) || !l->desc.visible);
    }
    int threads = l->desc.threads ? l->desc.threads : 1;
    if (ok) ok = (l->workers = calloc((size_t)threads, sizeof *l->workers)) != NULL;
    for (int i = 0; ok && i < threads; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        ok = (w->order = malloc(places * sizeof *w->order)) != NULL;
        if (ok && pthread_create(&w->thread, NULL, work, w) != 0) {
            free(w->order);
            return ts_fail(err, TS_ERR_MEMORY, "no thread can be started to read pictures");
        }
        l->started += ok;
    }
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d batches of %d canvases", l->ahead + 1, l->desc.batch);
}

ts_loader *ts_loader_new(const ts_loader_desc *desc, ts_error *err)
{
    ts_grid grid; /* checks canvas and patch, and that a grid of two examples fits, which masks need */
    if (!check_desc(desc, err)) return NULL;
    int examples = desc->visible ? 2 : 1;
    if (!ts_grid_plan(&(ts_grid_desc){.canvas = desc->canvas, .patch = desc->patch, .examples = examples}, &grid, err))
        return NULL;
    if (desc->visible < 0 || desc->visible >= grid.side_patches * grid.side_patches) {
        ts_fail(err, TS_ERR_ARGUMENT, "%d visible patches of %d are not possible: at least one is hidden", desc->visible,
                grid.side_patches * grid.side_patches);
        return NULL;
    }
    ts_loader *l = calloc(1, sizeof *l);
    if (!l) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    l->desc = *desc;
    l->desc.least_scale = desc->least_scale > 0 ? desc->least_scale : 0.2;
    l->side_patches = grid.side_patches;
    l->canvas_bytes = (size_t)grid.desc.canvas * (size_t)grid.desc.canvas * 3;
    l->ahead = desc->ahead ? desc->ahead : 4;
    l->desc.canvas = grid.desc.canvas;
    l->desc.patch = grid.desc.patch;
    l->next = (uint64_t)desc->first * (uint64_t)desc->batch;
    l->current = desc->first - 1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->made, NULL);
    pthread_cond_init(&l->taken, NULL);
    bool ok = open_sources(l, err) && make_ring(l, err);
    l->desc.sources = NULL; /* the caller's, and no longer needed */
    if (ok) return l;
    ts_loader_free(l);
    return NULL;
}

void ts_loader_free(ts_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->taken);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->started; i++) {
        pthread_join(l->workers[i].thread, NULL);
        free(l->workers[i].order);
    }
    for (int i = 0; l->ring && i <= l->ahead; i++) {
        free(l->ring[i].pixels);
        free(l->ring[i].keep);
        free(l->ring[i].grids);
    }
    for (int i = 0; i < l->desc.count; i++) ts_pictures_free(l->sources[i].pictures);
    free(l->workers);
    free(l->ring);
    pthread_cond_destroy(&l->made);
    pthread_cond_destroy(&l->taken);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

bool ts_loader_skipped(ts_loader *l, ts_error *complaint)
{
    for (int i = 0; i < l->desc.count; i++)
        if (l->sources[i].pictures && ts_pictures_skipped(l->sources[i].pictures, complaint)) return true;
    return false;
}

const char *ts_loader_passed(const ts_loader *l, int number)
{
    const ts_pictures *p = number >= 0 && number < l->desc.count ? l->sources[number].pictures : NULL;
    return p ? ts_pictures_passed(p) : "";
}

int64_t ts_loader_pictures(const ts_loader *l)
{
    int64_t sum = 0;
    for (int i = 0; i < l->desc.count; i++) sum += l->sources[i].pictures ? ts_pictures_count(l->sources[i].pictures) : 0;
    return sum;
}

double ts_loader_waited_ms(const ts_loader *l)
{
    return l->waited_ms;
}
