/* pictures.c - pictures named on the command line, and their features.
 *
 * Decoding a photograph takes as long as a small vision tower takes for it on a processor, and far longer than a GPU does. So
 * threads read and preprocess ahead of the model, into a ring of two batches: one is filled while the other is encoded. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/clip.h"

enum { BATCH = 32, MAX_THREADS = 16 };

/* ---- listing ---------------------------------------------------------------------------------------------------- */

/* Takes over `path` (NULL: there was no memory for it). */
static bool push(ts_clip_pictures *p, char *path, int *room, ts_error *err)
{
    if (path && p->count == *room) {
        *room = *room ? 2 * *room : 256;
        char **grown = *room > 1 << 28 ? NULL : realloc(p->path, (size_t)*room * sizeof *grown);
        if (grown) {
            p->path = grown;
        } else {
            free(path);
            path = NULL;
        }
    }
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the names of %d pictures", p->count + 1);
    p->path[p->count++] = path;
    return true;
}

static bool add_word(ts_clip_use *u, ts_clip_pictures *p, const char *word, int *room, ts_error *err)
{
    if (!ts_is_folder(word)) return ts_check_readable(word, "picture", err) && push(p, strdup(word), room, err);
    ts_folder list;
    if (!ts_list_pictures(word, TS_FOLDER_BELOW, &u->left_out, &list, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        ok = push(p, list.picture[i], room, err);
        list.picture[i] = NULL;
    }
    ts_folder_clear(&list);
    return ok;
}

bool ts_clip_pictures_list(ts_clip_use *u, const ts_words *words, ts_clip_pictures *p, ts_error *err)
{
    int room = 0;
    *p = (ts_clip_pictures){0};
    if (ts_count_standard(words) > 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "standard input (-) is one picture, but is named more than once");
    for (int i = 0; i < words->count; i++)
        if (!add_word(u, p, words->items[i], &room, err)) return false;
    p->problem = calloc((size_t)p->count + 1, sizeof *p->problem);
    return p->problem || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

void ts_clip_pictures_clear(ts_clip_pictures *p)
{
    for (int i = 0; p->problem && i < p->count; i++) free(p->problem[i]);
    free(p->problem);
    ts_paths_free(p->path, p->count);
    *p = (ts_clip_pictures){0};
}

/* ---- reading ahead ---------------------------------------------------------------------------------------------- */

typedef struct {
    ts_clip_pictures *p;
    const int *which;
    int count, side;
    float *pixels; /* (2 * BATCH, side, side, 3): picture i of the work at place i % (2 * BATCH) */
    pthread_mutex_t lock;
    pthread_cond_t made, taken; /* a picture was read or found broken; places became free */
    int next, freed;            /* the picture to begin next; those before `freed` are encoded */
    bool ready[2 * BATCH], stop, strict;
    ts_error fatal;
} reader;

static int picture_of(const reader *r, int i)
{
    return r->which ? r->which[i] : i;
}

static float *place_of(const reader *r, int i)
{
    return r->pixels + (size_t)(i % (2 * BATCH)) * (size_t)r->side * (size_t)r->side * 3;
}

static void read_one(reader *r, int i, ts_error *why)
{
    ts_image img = {0};
    if (ts_load_picture(r->p->path[picture_of(r, i)], &img, why)) ts_clip_preprocess(&img, r->side, place_of(r, i), why);
    ts_image_clear(&img);
}

static void *read_pictures(void *data)
{
    reader *r = data;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->stop && r->next < r->count && r->next >= r->freed + 2 * BATCH) pthread_cond_wait(&r->taken, &r->lock);
        if (r->stop || r->next >= r->count) break;
        const int i = r->next++;
        ts_error why = {0};
        pthread_mutex_unlock(&r->lock);
        read_one(r, i, &why);
        pthread_mutex_lock(&r->lock);
        char **problem = &r->p->problem[picture_of(r, i)];
        if (why.code && why.code != TS_ERR_MEMORY && !r->strict && !*problem) {
            *problem = strdup(why.text);
            r->p->broken++;
            if (!*problem) why = (ts_error){TS_ERR_MEMORY, "out of memory while pictures were read"};
        }
        if (why.code == TS_ERR_MEMORY || (why.code && r->strict)) {
            if (!r->stop) r->fatal = why;
            r->stop = true;
        }
        r->ready[i % (2 * BATCH)] = true;
        pthread_cond_broadcast(&r->made);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Waits for pictures at ... at + n - 1 and moves those that could be read to the front of their places; `kept` says which they
 * are. Returns their number, or -1. */
static int take_batch(reader *r, int at, int n, int kept[BATCH], ts_error *err)
{
    int good = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = at; i < at + n; i++)
        while (!r->stop && !r->ready[i % (2 * BATCH)]) pthread_cond_wait(&r->made, &r->lock);
    const bool ok = !r->stop;
    pthread_mutex_unlock(&r->lock);
    if (!ok) {
        ts_fail(err, r->fatal.code, "%s", r->fatal.text);
        return -1;
    }
    const size_t size = (size_t)r->side * (size_t)r->side * 3 * sizeof(float);
    for (int i = at; i < at + n; i++) {
        if (r->p->problem[picture_of(r, i)]) continue;
        if (i != at + good) memcpy(place_of(r, at + good), place_of(r, i), size);
        kept[good++] = i;
    }
    return good;
}

static void give_back(reader *r, int at, int n)
{
    pthread_mutex_lock(&r->lock);
    for (int i = at; i < at + n; i++) r->ready[i % (2 * BATCH)] = false;
    r->freed = at + n;
    pthread_cond_broadcast(&r->taken);
    pthread_mutex_unlock(&r->lock);
}

static bool encode(ts_clip_use *u, const reader *r, const float *pixels, int count, float *rows, ts_error *err)
{
    return r->p->prompt ? ts_clip_prompt_features(r->p->prompt, pixels, count, rows, err)
                        : ts_clip_encode_images(u->clip, pixels, count, rows, err);
}

static bool encode_all(ts_clip_use *u, reader *r, float *features, ts_error *err)
{
    const size_t embed = (size_t)u->config.embed;
    float *rows = malloc(BATCH * embed * sizeof *rows);
    if (!rows) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    ts_progress progress;
    ts_progress_begin(&progress, "pictures", r->count, u->common.quiet);
    for (int at = 0; ok && at < r->count; at += BATCH) {
        const int n = r->count - at < BATCH ? r->count - at : BATCH;
        int kept[BATCH];
        const int good = take_batch(r, at, n, kept, err);
        if (good > 0) ts_clip_use_announce(u);
        ok = good == 0 || (good > 0 && encode(u, r, place_of(r, at), good, rows, err));
        for (int i = 0; ok && i < good; i++)
            memcpy(features + (size_t)picture_of(r, kept[i]) * embed, rows + (size_t)i * embed, embed * sizeof *rows);
        give_back(r, at, n);
        if (ok && r->p->encoded) r->p->encoded(r->p->data, at + n);
        ts_progress_step(&progress, at + n);
    }
    ts_progress_end(&progress);
    free(rows);
    return ok;
}

static int thread_count(const ts_clip_use *u, int count)
{
    const long cores = u->common.threads ? u->common.threads : sysconf(_SC_NPROCESSORS_ONLN);
    const int threads = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (int)cores;
    return threads < count ? threads : count;
}

bool ts_clip_pictures_encode(ts_clip_use *u, ts_clip_pictures *p, const int *which, int count, float *features, ts_error *err)
{
    if (count == 0) return true;
    pthread_t thread[MAX_THREADS];
    reader r = {.p = p,
                .which = which,
                .count = count,
                .side = p->prompt ? ts_clip_prompt_about(p->prompt).side : u->config.image,
                .strict = u->left_out.strict};
    const int places = count < 2 * BATCH ? count : 2 * BATCH;
    r.pixels = malloc((size_t)places * (size_t)r.side * (size_t)r.side * 3 * sizeof *r.pixels);
    if (!r.pixels) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures of %d pixels a side", places, r.side);
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.made, NULL);
    pthread_cond_init(&r.taken, NULL);
    int threads = 0;
    while (threads < thread_count(u, count) && pthread_create(&thread[threads], NULL, read_pictures, &r) == 0) threads++;
    bool ok = threads > 0 || ts_fail(err, TS_ERR_MEMORY, "no thread can be started to read pictures");
    ok = ok && encode_all(u, &r, features, err);
    pthread_mutex_lock(&r.lock);
    r.stop = true;
    pthread_cond_broadcast(&r.taken);
    pthread_mutex_unlock(&r.lock);
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.made);
    pthread_cond_destroy(&r.taken);
    free(r.pixels);
    if (ok) ts_say_stage(&u->common, "pictures encoded: %d", count);
    return ok;
}

/* ---- what could not be read ------------------------------------------------------------------------------------- */

bool ts_clip_pictures_tell(ts_clip_use *u, const ts_clip_pictures *p, ts_error *err)
{
    const char *first = NULL;
    for (int i = 0; i < p->count && !first; i++) first = p->problem[i];
    if (first && p->broken == p->count) {
        if (p->count == 1) return ts_fail(err, TS_ERR_FORMAT, "%s", first);
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d pictures can be read; the first: %s", p->count, first);
    }
    for (int i = 0; i < p->count; i++) {
        ts_error why = {0};
        if (!p->problem[i]) continue;
        ts_fail(&why, TS_ERR_FORMAT, "%s", p->problem[i]);
        if (!ts_leave_out(&u->left_out, &why, err)) return false;
    }
    return true;
}

bool ts_clip_pictures_report(const ts_clip_pictures *p, cJSON *to)
{
    cJSON *all = cJSON_AddArrayToObject(to, "skipped");
    bool ok = all != NULL;
    for (int i = 0; ok && i < p->count; i++) {
        if (!p->problem[i]) continue;
        cJSON *item = cJSON_CreateObject();
        ok = item && cJSON_AddItemToArray(all, item) && cJSON_AddStringToObject(item, "file", p->path[i]) &&
             cJSON_AddStringToObject(item, "problem", p->problem[i]);
    }
    return ok;
}
