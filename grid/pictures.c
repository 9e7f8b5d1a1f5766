/* pictures.c - a folder tree of pictures to take random crops of. Listed once, sorted by name, so that a seed means the same
 * crops wherever the folder lies and whatever order its file system lists. Decoded pictures are kept up to a limit, the first
 * come: every picture is wanted equally often, so there is nothing to gain from evicting one for another. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/folder.h"
#include "grid/loader.h"

enum { HELD_OUT_ONE_IN = 50, MAX_TRIES = 64 };

typedef struct {
    char *path;
    ts_image decoded; /* data NULL: not in the cache */
    bool broken;
} picture;

struct ts_pictures {
    picture *list;
    int64_t count;
    size_t root; /* length of the folder's own name */
    pthread_mutex_t lock;
    uint64_t room;       /* bytes left in the cache */
    ts_error *complaint; /* a queue: told up to `told` */
    int64_t complaints, told;
    bool strict;
    char passed[256]; /* what the folder holds beside pictures */
};

/* ---- listing ------------------------------------------------------------------------------------------------- */

/* What was left out, by sentence; told later. */
static void complain(ts_pictures *p, const ts_error *why)
{
    ts_error *grown = realloc(p->complaint, (size_t)(p->complaints + 1) * sizeof *grown);
    if (!grown) return; /* it is left out all the same */
    p->complaint = grown;
    p->complaint[p->complaints++] = *why;
}

static bool list_folder(ts_pictures *p, const char *folder, ts_error *err)
{
    ts_folder list;
    if (!ts_folder_list(folder, TS_FOLDER_BELOW, &list, err)) return false;
    ts_folder_passed(&list, p->passed, sizeof p->passed);
    for (int64_t i = 0; i < list.problems; i++) {
        ts_error why = {0};
        ts_fail(&why, TS_ERR_IO, "%s", list.problem[i]);
        complain(p, &why);
    }
    if (list.count == 0) {
        ts_folder_clear(&list);
        ts_fail(err, TS_ERR_IO, "folder %s holds no picture (%s)", folder, ts_picture_endings());
        return false;
    }
    p->list = calloc((size_t)list.count, sizeof *p->list);
    if (!p->list) {
        ts_folder_clear(&list);
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld pictures' names", (long long)list.count);
        return false;
    }
    for (int64_t i = 0; i < list.count; i++) {
        p->list[p->count++] = (picture){.path = list.picture[i]};
        list.picture[i] = NULL;
    }
    ts_folder_clear(&list);
    return true;
}

static bool held_out(const ts_pictures *p, const picture *one)
{
    uint64_t hash = 0;
    if (!one->path) return false; /* it has one: the analyzer does not see it */
    for (const char *c = one->path + p->root; *c; c++) hash = ts_random_mix(hash ^ (uint8_t)*c);
    return hash % HELD_OUT_ONE_IN == 0;
}

/* Drops the other part's pictures, unless there are so few that every one is wanted for both. */
static void choose_part(ts_pictures *p, bool validation)
{
    int64_t out = 0, kept = 0;
    for (int64_t i = 0; i < p->count; i++) out += held_out(p, &p->list[i]);
    if (p->count < HELD_OUT_ONE_IN || out == 0 || out == p->count) return;
    for (int64_t i = 0; i < p->count; i++) {
        if (held_out(p, &p->list[i]) == validation) p->list[kept++] = p->list[i];
        else free(p->list[i].path);
    }
    p->count = kept;
}

ts_pictures *ts_pictures_open(const char *folder, bool validation, bool strict, uint64_t cache_bytes, ts_error *err)
{
    ts_pictures *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->room = cache_bytes;
    p->strict = strict;
    p->root = strlen(folder);
    bool ok = list_folder(p, folder, err);
    if (ok && strict && p->complaints > 0 && p->complaint) {
        ts_fail(err, TS_ERR_IO, "%s", p->complaint[0].text);
        ok = false;
    }
    if (!ok) {
        ts_pictures_free(p);
        return NULL;
    }
    choose_part(p, validation);
    return p;
}

void ts_pictures_free(ts_pictures *p)
{
    if (!p) return;
    for (int64_t i = 0; i < p->count; i++) {
        free(p->list[i].path);
        ts_image_clear(&p->list[i].decoded);
    }
    free(p->list);
    free(p->complaint);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int64_t ts_pictures_count(const ts_pictures *p)
{
    return p->count;
}

const char *ts_pictures_passed(const ts_pictures *p)
{
    return p->passed;
}

/* ---- decoding ------------------------------------------------------------------------------------------------ */

bool ts_pictures_skipped(ts_pictures *p, ts_error *complaint)
{
    pthread_mutex_lock(&p->lock);
    bool more = p->told < p->complaints;
    if (more) *complaint = p->complaint[p->told++];
    pthread_mutex_unlock(&p->lock);
    return more;
}

/* Picture `at` in `out`; `owned` tells whether the caller must clear it. False: it is broken, or (in `err`) that is strictly an
 * error, or memory is out. */
static bool decode(ts_pictures *p, int64_t at, ts_image *out, bool *owned, ts_error *err)
{
    picture *one = &p->list[at];
    pthread_mutex_lock(&p->lock);
    bool broken = one->broken;
    *out = one->decoded;
    pthread_mutex_unlock(&p->lock);
    *owned = false;
    if (broken) return false;
    if (out->data) return true;
    ts_error why = {0};
    bool ok = ts_image_load(one->path, out, &why);
    if (!ok && (why.code == TS_ERR_MEMORY || p->strict)) return ts_fail(err, why.code, "%s", why.text);
    pthread_mutex_lock(&p->lock);
    if (!ok) {
        if (!one->broken) complain(p, &why);
        one->broken = true;
    } else {
        uint64_t bytes = (uint64_t)out->width * (uint64_t)out->height * 3;
        *owned = bytes > p->room || one->decoded.data; /* another thread may have been faster */
        if (!*owned) {
            one->decoded = *out;
            p->room -= bytes;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

/* ---- crops --------------------------------------------------------------------------------------------------- */

/* Where `i` of 0..n-1 goes in a permutation of `key`, without a table: a Feistel network over the next power of four, applied
 * until it lands below n. */
static uint64_t permuted(uint64_t i, uint64_t n, uint64_t key)
{
    int half = 1;
    while (half < 31 && UINT64_C(1) << (2 * half) < n) half++;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t next = left ^ (ts_random_mix(key + 4 * right + round) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* torchvision's RandomResizedCrop: ten tries, then the largest central crop of an aspect in range. */
static ts_cell random_crop(ts_random *r, int width, int height, double least)
{
    double area = (double)width * height;
    for (int i = 0; i < 10; i++) {
        double wanted = area * (double)ts_random_real(r, (float)least, 1);
        double aspect = exp((double)ts_random_real(r, -1, 1) * log(4.0 / 3));
        int w = (int)lround(sqrt(wanted * aspect)), h = (int)lround(sqrt(wanted / aspect));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        return (ts_cell){ts_random_int(r, 0, width - w), ts_random_int(r, 0, height - h), w, h};
    }
    int w = width, h = height;
    if (w < 0.75 * h) h = (int)lround(w / 0.75);
    else if (w > h / 0.75) w = (int)lround(h / 0.75);
    return (ts_cell){(width - w) / 2, (height - h) / 2, w, h};
}

static void copy_rows(const ts_image *from, bool mirror, uint8_t *out)
{
    for (int y = 0; y < from->height; y++) {
        const uint8_t *row = from->data + (size_t)y * (size_t)from->width * 3;
        uint8_t *to = out + (size_t)y * (size_t)from->width * 3;
        if (!mirror) memcpy(to, row, (size_t)from->width * 3);
        for (int x = 0; mirror && x < from->width; x++) memcpy(to + (size_t)x * 3, row + (size_t)(from->width - 1 - x) * 3, 3);
    }
}

static bool cut(const ts_image *whole, ts_cell crop, bool mirror, int side, uint8_t *out, ts_error *err)
{
    ts_image part, sized = {0};
    if (!ts_image_new(crop.width, crop.height, &part, err)) return false;
    for (int y = 0; y < crop.height; y++) {
        const uint8_t *row = whole->data + ((size_t)(crop.y + y) * (size_t)whole->width + (size_t)crop.x) * 3;
        memcpy(part.data + (size_t)y * (size_t)crop.width * 3, row, (size_t)crop.width * 3);
    }
    bool ok = ts_image_resize(&part, side, side, TS_RESIZE_BICUBIC, &sized, err);
    if (ok) copy_rows(&sized, mirror, out);
    ts_image_clear(&part);
    ts_image_clear(&sized);
    return ok;
}

bool ts_pictures_crop(ts_pictures *p, uint64_t number, uint64_t seed, ts_random *r, double least, int side, uint8_t *out,
                      ts_error *err)
{
    uint64_t n = (uint64_t)p->count, epoch = number / n;
    uint64_t at = permuted(number % n, n, ts_random_mix(seed + ts_random_mix(epoch)));
    ts_image whole;
    bool owned;
    ts_error why = {0};
    for (int tries = 1; !decode(p, (int64_t)at, &whole, &owned, &why); tries++) {
        if (why.code) return ts_fail(err, why.code, "%s", why.text);
        if (tries == MAX_TRIES)
            return ts_fail(err, TS_ERR_FORMAT, "%d pictures in turn of folder %.*s cannot be read: are they all broken?", tries,
                           (int)p->root, p->list[at].path);
        at = ts_random_next(r) % n;
    }
    ts_cell crop = random_crop(r, whole.width, whole.height, least);
    bool ok = cut(&whole, crop, ts_random_chance(r, 0.5f), side, out, err);
    if (owned) ts_image_clear(&whole);
    return ok;
}
