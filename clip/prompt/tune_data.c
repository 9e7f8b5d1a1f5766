/* tune_data.c - pictures for the tuner, decoded and cut on worker threads ahead of the device. Which picture stands where in
 * which batch, and how it is cropped, is a function of the seed, the epoch and the picture alone: how many threads there are, and
 * where a run was resumed, changes no bit. */
#include "clip/prompt/tune.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AHEAD = 2, MAX_THREADS = 256 };

typedef struct {
    float *pixels;
    int64_t *item;
    int count, left; /* pictures of this batch; those still to be made */
} slot;

struct ts_clip_reader {
    ts_clip_reader_desc desc;
    int64_t picture; /* floats of one */
    pthread_t threads[MAX_THREADS];
    int started;
    slot ring[AHEAD + 1];
    pthread_mutex_t lock;
    pthread_cond_t made, taken;
    int64_t next;          /* number of the picture that is made next */
    int64_t end;           /* number behind the last one; INT64_MAX: endless */
    int64_t *order, epoch; /* the items as the epoch takes them */
    int64_t current;       /* the batch that the caller holds, or first - 1 */
    bool stop, failed;
    ts_error error;
    ts_image *decoded; /* by item; data NULL: not kept */
    uint64_t room;     /* bytes that may still be kept */
    double waited_ms;
    bool *broken; /* by item */
    struct complaint {
        int64_t item;
        ts_error why;
    } * complaint; /* told up to `told` */
    int64_t complaints, told;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

uint64_t ts_clip_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + UINT64_C(0x9e3779b97f4a7c15) * (b + 1); /* splitmix64's finish, twice */
    for (int i = 0; i < 2; i++) {
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
    }
    return z;
}

void ts_clip_shuffle(uint64_t seed, int64_t epoch, int64_t count, int64_t *order)
{
    uint64_t state = ts_clip_mix(seed, (uint64_t)epoch);
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t k = (int64_t)(ts_uniform(&state) * (double)(i + 1));
        const int64_t t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
}

/* The item of picture `number`, -1 where an epoch's last batch is not full; its epoch in `epoch`. Called in rising order, so an
 * epoch is shuffled once. */
static int64_t item_of(ts_clip_reader *r, int64_t number, int64_t *epoch)
{
    const ts_clip_reader_desc *d = &r->desc;
    *epoch = 0;
    if (!d->shuffle) return number;
    const int64_t in_epoch = d->epoch_batches * d->batch, place = number % in_epoch;
    *epoch = number / in_epoch;
    if (*epoch != r->epoch) ts_clip_shuffle(d->seed, r->epoch = *epoch, d->count, r->order);
    return place < d->count ? r->order[place] : -1;
}

/* ---- one picture ------------------------------------------------------------------------------------------------- */

/* `owned` tells whether the caller must clear it. */
static bool decode(ts_clip_reader *r, int64_t item, ts_image *out, bool *owned, ts_error *err)
{
    *owned = false;
    pthread_mutex_lock(&r->lock);
    *out = r->decoded[item];
    pthread_mutex_unlock(&r->lock);
    if (out->data) return true;
    if (!ts_image_load(r->desc.item[item].path, out, err)) return false;
    const uint64_t bytes = (uint64_t)out->width * (uint64_t)out->height * 3;
    pthread_mutex_lock(&r->lock);
    *owned = bytes > r->room || r->decoded[item].data; /* another thread may have been faster */
    if (!*owned) {
        r->decoded[item] = *out;
        r->room -= bytes;
    }
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* Notes a picture as broken. False: the error is one of all. */
static bool skip(ts_clip_reader *r, int64_t item, const ts_error *why, ts_error *err)
{
    bool ok = r->desc.skip && why->code != TS_ERR_MEMORY;
    if (!ok) return ts_fail(err, why->code, "%s", why->text);
    pthread_mutex_lock(&r->lock);
    if (!r->broken[item]) {
        struct complaint *grown = realloc(r->complaint, (size_t)(r->complaints + 1) * sizeof *grown);
        if (grown) {
            r->complaint = grown;
            grown[r->complaints++] = (struct complaint){item, *why};
        }
        ok = grown != NULL;
    }
    r->broken[item] = true;
    if (ok && r->complaints == r->desc.count)
        ok = ts_fail(err, TS_ERR_FORMAT, "none of %lld pictures can be read; the first: %.900s", (long long)r->desc.count,
                     r->complaint[0].why.text);
    else if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    pthread_mutex_unlock(&r->lock);
    return ok;
}

/* Picture `*item`, or the next one that can be read, which `*item` then is. */
static bool decode_next(ts_clip_reader *r, int64_t *item, ts_image *out, bool *owned, ts_error *err)
{
    for (;; *item = (*item + 1) % r->desc.count) {
        ts_error why = {0};
        pthread_mutex_lock(&r->lock);
        const bool broken = r->broken[*item];
        pthread_mutex_unlock(&r->lock);
        if (broken) continue;
        if (decode(r, *item, out, owned, &why)) return true;
        if (!skip(r, *item, &why, err)) return false;
    }
}

bool ts_clip_reader_skipped(ts_clip_reader *r, int64_t *item, ts_error *why)
{
    pthread_mutex_lock(&r->lock);
    const bool more = r->told < r->complaints;
    if (more) {
        *item = r->complaint[r->told].item;
        *why = r->complaint[r->told++].why;
    }
    pthread_mutex_unlock(&r->lock);
    return more;
}

static bool make_picture(ts_clip_reader *r, int64_t *item, int64_t epoch, float *out, ts_error *err)
{
    ts_image img;
    bool owned;
    const uint64_t seed = ts_clip_mix(ts_clip_mix(~r->desc.seed, (uint64_t)epoch), (uint64_t)*item);
    if (!decode_next(r, item, &img, &owned, err)) return false;
    const bool ok =
        r->desc.crop ? ts_clip_random_crop(&img, r->desc.side, seed, out, err) : ts_clip_preprocess(&img, r->desc.side, out, err);
    if (owned) ts_image_clear(&img);
    return ok;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    ts_clip_reader *r = arg;
    const int64_t batch = r->desc.batch;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->stop && !r->failed && r->next < r->end && r->next / batch > r->current + AHEAD)
            pthread_cond_wait(&r->taken, &r->lock);
        if (r->stop || r->failed || r->next >= r->end) break;
        const int64_t number = r->next++;
        int64_t epoch;
        const int64_t item = item_of(r, number, &epoch);
        if (item < 0) continue;
        slot *s = &r->ring[number / batch % (AHEAD + 1)];
        pthread_mutex_unlock(&r->lock);
        ts_error err = {0};
        int64_t taken = item;
        const bool ok = make_picture(r, &taken, epoch, s->pixels + number % batch * r->picture, &err);
        s->item[number % batch] = taken;
        pthread_mutex_lock(&r->lock);
        if (ok) s->left--;
        if (!ok && !r->failed) {
            r->failed = true;
            r->error = err;
        }
        if (s->left == 0 || !ok) pthread_cond_broadcast(&r->made);
    }
    pthread_cond_broadcast(&r->taken);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Readies the batch's place in the ring. */
static void offer(ts_clip_reader *r, int64_t number)
{
    slot *s = &r->ring[number % (AHEAD + 1)];
    const ts_clip_reader_desc *d = &r->desc;
    const int64_t left = d->count - (d->shuffle ? number % d->epoch_batches : number) * d->batch;
    s->count = left < d->batch ? (int)(left > 0 ? left : 0) : d->batch;
    s->left = s->count;
}

bool ts_clip_reader_next(ts_clip_reader *r, ts_clip_pictures_read *out, ts_error *err)
{
    const double start = now_ms();
    pthread_mutex_lock(&r->lock);
    if (r->current >= r->desc.first) offer(r, r->current + AHEAD + 1); /* the place of the batch that is given back */
    const slot *s = &r->ring[++r->current % (AHEAD + 1)];
    pthread_cond_broadcast(&r->taken);
    while (s->left > 0 && !r->failed) pthread_cond_wait(&r->made, &r->lock);
    const bool ok = s->left == 0;
    if (!ok) ts_fail(err, r->error.code, "%s", r->error.text);
    pthread_mutex_unlock(&r->lock);
    r->waited_ms += now_ms() - start;
    *out = ok ? (ts_clip_pictures_read){s->pixels, s->item, s->count} : (ts_clip_pictures_read){0};
    return ok;
}

double ts_clip_reader_waited_ms(const ts_clip_reader *r)
{
    return r->waited_ms;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static bool make(ts_clip_reader *r, ts_error *err)
{
    const ts_clip_reader_desc *d = &r->desc;
    r->decoded = calloc((size_t)d->count, sizeof *r->decoded);
    r->broken = calloc((size_t)d->count, sizeof *r->broken);
    bool ok = r->decoded && r->broken;
    if (ok && d->shuffle) ok = (r->order = malloc((size_t)d->count * sizeof *r->order)) != NULL;
    for (int i = 0; ok && i <= AHEAD; i++) {
        r->ring[i].pixels = malloc((size_t)d->batch * (size_t)r->picture * sizeof(float));
        r->ring[i].item = malloc((size_t)d->batch * sizeof *r->ring[i].item);
        ok = r->ring[i].pixels && r->ring[i].item;
    }
    if (!ok) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d batches of %d pictures", AHEAD + 1, d->batch);
    for (int64_t i = 0; i <= AHEAD; i++) offer(r, d->first + i);
    const int threads = d->threads > MAX_THREADS ? MAX_THREADS : d->threads > 0 ? d->threads : 1;
    for (; r->started < threads; r->started++)
        if (pthread_create(&r->threads[r->started], NULL, work, r) != 0)
            return ts_fail(err, TS_ERR_MEMORY, "no thread can be started to read pictures");
    return true;
}

ts_clip_reader *ts_clip_reader_new(const ts_clip_reader_desc *desc, ts_error *err)
{
    if (desc->count < 1 || desc->batch < 1 || desc->side < 1 ||
        (desc->shuffle && (desc->epoch_batches < 1 || (desc->epoch_batches - 1) * desc->batch >= desc->count))) {
        ts_fail(err, TS_ERR_ARGUMENT, "%lld pictures cannot be read in batches of %d", (long long)desc->count, desc->batch);
        return NULL;
    }
    ts_clip_reader *r = calloc(1, sizeof *r);
    if (!r) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    r->desc = *desc;
    r->picture = (int64_t)desc->side * desc->side * 3;
    r->room = desc->cache_bytes;
    r->next = desc->first * desc->batch;
    r->end = desc->shuffle ? INT64_MAX : desc->count;
    r->current = desc->first - 1;
    r->epoch = -1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->made, NULL);
    pthread_cond_init(&r->taken, NULL);
    if (make(r, err)) return r;
    ts_clip_reader_free(r);
    return NULL;
}

void ts_clip_reader_free(ts_clip_reader *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->taken);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->started; i++) pthread_join(r->threads[i], NULL);
    for (int i = 0; i <= AHEAD; i++) {
        free(r->ring[i].pixels);
        free(r->ring[i].item);
    }
    for (int64_t i = 0; r->decoded && i < r->desc.count; i++) ts_image_clear(&r->decoded[i]);
    free(r->decoded);
    free(r->broken);
    free(r->complaint);
    free(r->order);
    pthread_cond_destroy(&r->made);
    pthread_cond_destroy(&r->taken);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
