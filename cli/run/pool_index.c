/* pool_index.c - see pool_index.h. Pictures are read on threads, a batch at a time; a long job is saved every minute, so that
 * little is lost. */
#include "cli/run/pool_index.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP = 32, MOST_THREADS = 16, SAVE_EVERY_MS = 60000 };

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int by_node(const void *a, const void *b)
{
    const pool_file *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

bool pool_rows_open(pool_rows *r, const run_pool_desc *desc, ts_error *err)
{
    const int count = r->count = desc->pairs->count;
    r->file = calloc((size_t)count, sizeof *r->file);
    r->nodes = calloc((size_t)count, sizeof *r->nodes);
    r->known = calloc((size_t)count, sizeof *r->known);
    if (!r->file || !r->nodes || !r->known) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pairs", count);
    for (int i = 0; i < count; i++) {
        struct stat st;
        r->file[i].pair = i;
        if (stat(desc->pairs->pair[i].input, &st) != 0) continue; /* reading it will say what is wrong */
        r->file[i] =
            (pool_file){st.st_size, st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec, st.st_dev, st.st_ino, i};
    }
    memcpy(r->nodes, r->file, (size_t)count * sizeof *r->nodes);
    qsort(r->nodes, (size_t)count, sizeof *r->nodes, by_node);
    return true;
}

void pool_rows_close(pool_rows *r)
{
    free(r->features);
    free(r->known);
    free(r->file);
    free(r->nodes);
    *r = (pool_rows){0};
}

int pool_rows_own(const pool_rows *r, const char *path)
{
    struct stat st;
    if (ts_is_standard(path) || stat(path, &st) != 0) return -1;
    const pool_file wanted = {.device = st.st_dev, .number = st.st_ino};
    const pool_file *at = bsearch(&wanted, r->nodes, (size_t)r->count, sizeof *r->nodes, by_node);
    return at ? at->pair : -1;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

typedef struct {
    char *path[2]; /* in the folder, and in the user's cache */
    int reused;    /* rows that it knew */
    bool kept;     /* it is right as it is */
    double saved_at;
} pool_index;

static void index_close(pool_index *ix)
{
    free(ix->path[0]);
    free(ix->path[1]);
}

/* $XDG_CACHE_HOME/tessera, or ~/.cache/tessera, made where it is absent; free(). NULL: there is no place. */
static char *cache_folder(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *out = NULL, *slash;
    const bool named = base && base[0] == '/';
    if (!named && !(home && home[0] == '/')) return NULL;
    if (asprintf(&out, "%s%s/tessera", named ? base : home, named ? "" : "/.cache") < 0) return NULL;
    slash = strrchr(out, '/');
    *slash = '\0';
    mkdir(out, 0700); /* it is there already, or what follows fails */
    *slash = '/';
    mkdir(out, 0700);
    if (ts_is_folder(out)) return out;
    free(out);
    return NULL;
}

static bool index_open(pool_index *ix, const run_pool_desc *desc, const char *how, ts_error *err)
{
    char *whole = realpath(desc->folder, NULL), *cache = cache_folder();
    const char *name = whole ? whole : desc->folder, *part = desc->part ? desc->part : "", *dash = desc->part ? "-" : "";
    bool ok = asprintf(&ix->path[0], "%s/.tessera-examples-%s%s%s.safetensors", desc->folder, how, dash, part) >= 0;
    if (!ok) ix->path[0] = NULL;
    if (ok && cache &&
        asprintf(&ix->path[1], "%s/examples-%016" PRIx64 "-%s%s%s.safetensors", cache,
                 ts_fingerprint(TS_FINGERPRINT, name, strlen(name)), how, dash, part) < 0) {
        ix->path[1] = NULL;
        ok = false;
    }
    free(whole);
    free(cache);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* Takes the rows of pictures that are as they were. */
static void use_index(pool_rows *r, const run_pool_desc *desc, const ts_embedder_info *about, pool_index *ix)
{
    ts_index known = {0};
    ts_error why = {0};
    for (int i = 0; i < 2 && known.count == 0; i++) {
        why = (ts_error){0};
        if (!ix->path[i]) continue;
        ts_index_read(ix->path[i], about->identity, about->width, &known, &why);
        if (why.code && !desc->common->quiet) ts_say("features are made anew: %s", why.text);
    }
    for (int i = 0; i < r->count; i++) {
        const pool_file *f = &r->file[i];
        const int64_t at = ts_index_find(&known, desc->pairs->pair[i].name, f->size, f->mtime);
        r->known[i] = at >= 0 && known.features;
        if (!r->known[i]) continue;
        memcpy(r->features + i * r->width, known.features + at * r->width, (size_t)r->width * sizeof *r->features);
        ix->reused++;
    }
    ix->kept = known.count > 0 && known.count == ix->reused; /* none to drop: else it is to be written */
    ts_index_clear(&known);
}

static bool save_index(const pool_rows *r, const run_pool_desc *desc, const ts_embedder_info *about, pool_index *ix,
                       ts_error *err)
{
    const size_t count = (size_t)r->count;
    ts_index all = {.width = r->width,
                    .name = malloc(count * sizeof *all.name),
                    .size = malloc(count * sizeof *all.size),
                    .mtime = malloc(count * sizeof *all.mtime),
                    .features = malloc(count * (size_t)r->width * sizeof *all.features)};
    if (!all.name || !all.size || !all.mtime || !all.features) {
        ts_index_clear(&all);
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the index");
        return false;
    }
    for (int i = 0; i < r->count; i++) {
        if (!r->known[i]) continue;
        all.name[all.count] = desc->pairs->pair[i].name;
        all.size[all.count] = r->file[i].size;
        all.mtime[all.count] = r->file[i].mtime;
        memcpy(all.features + all.count * r->width, r->features + i * r->width, (size_t)r->width * sizeof *r->features);
        all.count++;
    }
    bool written = false;
    for (int i = 0; i < 2 && !written; i++) {
        if (!ix->path[i]) continue;
        if (i > 0 && err) *err = (ts_error){0}; /* what is wrong with the first place is no matter where the second takes it */
        written = ts_index_write(ix->path[i], about->identity, &all, err);
    }
    ts_index_clear(&all);
    ix->saved_at = ts_now_ms();
    return written;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

/* A step's pictures, read by several threads. */
typedef struct {
    const run_pool_desc *desc;
    const ts_embedder *embedder;
    const int *which;
    int count, threads;
    size_t each; /* numbers of a picture */
    float *pixels;
    ts_error why[STEP];
} reading;

typedef struct {
    reading *r;
    int first; /* it reads this one, and every threads-th after */
} reader;

static void *read_some(void *data)
{
    const reader *me = data;
    reading *r = me->r;
    for (int i = me->first; i < r->count; i += r->threads) {
        ts_image picture = {0};
        if (ts_image_load(r->desc->pairs->pair[r->which[i]].input, &picture, &r->why[i]))
            ts_embedder_prepare(r->embedder, &picture, r->pixels + (size_t)i * r->each, &r->why[i]);
        ts_image_clear(&picture);
    }
    return NULL;
}

static void read_all(reading *r)
{
    pthread_t thread[MOST_THREADS];
    reader part[MOST_THREADS] = {{r, 0}};
    int started = 0;
    for (int t = 1; t < r->threads; t++) part[t] = (reader){r, t};
    while (started < r->threads - 1 && pthread_create(&thread[started], NULL, read_some, &part[started + 1]) == 0) started++;
    read_some(&part[0]);
    for (int t = started + 1; t < r->threads; t++) read_some(&part[t]); /* where a thread could not be started */
    for (int t = 0; t < started; t++) pthread_join(thread[t], NULL);
}

/* Moves the pictures that could be read to the front, and leaves the others out; how many there are, or -1. */
static int sort_out(reading *r, int kept[STEP], ts_error *err)
{
    int good = 0;
    for (int i = 0; i < r->count; i++) {
        if (r->why[i].code) {
            if (!ts_leave_out(r->desc->left_out, &r->why[i], err)) return -1;
            continue;
        }
        if (i != good) memcpy(r->pixels + (size_t)good * r->each, r->pixels + (size_t)i * r->each, r->each * sizeof *r->pixels);
        kept[good++] = r->which[i];
    }
    return good;
}

static bool encode_step(pool_rows *rows, reading *r, ts_embedder *e, float *out, ts_error *err)
{
    int kept[STEP];
    memset(r->why, 0, sizeof r->why);
    read_all(r);
    const int good = sort_out(r, kept, err);
    if (good < 0 || !ts_embedder_encode(e, r->pixels, good, out, err)) return false;
    for (int i = 0; i < good; i++) {
        memcpy(rows->features + kept[i] * rows->width, out + i * rows->width, (size_t)rows->width * sizeof *out);
        rows->known[kept[i]] = true;
    }
    return true;
}

static bool encode_missing(pool_rows *rows, const run_pool_desc *desc, ts_embedder *e, pool_index *ix, int *todo, int count,
                           ts_error *err)
{
    const int side = ts_embedder_about(e)->side, cores = desc->common->threads ? desc->common->threads : ts_core_count();
    reading r = {.desc = desc,
                 .embedder = e,
                 .threads = cores < 1              ? 1
                            : cores < MOST_THREADS ? cores
                                                   : MOST_THREADS,
                 .each = (size_t)side * (size_t)side * 3};
    r.pixels = malloc(STEP * r.each * sizeof *r.pixels);
    float *out = malloc(STEP * (size_t)rows->width * sizeof *out);
    bool ok = r.pixels && out;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d pictures", STEP);
    ts_progress progress;
    ts_progress_begin(&progress, "features", count, desc->common->quiet);
    for (int at = 0; ok && at < count; at += STEP) {
        r.which = todo + at;
        r.count = count - at < STEP ? count - at : STEP;
        ok = encode_step(rows, &r, e, out, err);
        ts_progress_step(&progress, at + r.count);
        if (ok && ts_now_ms() - ix->saved_at > SAVE_EVERY_MS) save_index(rows, desc, ts_embedder_about(e), ix, NULL);
    }
    ts_progress_end(&progress);
    free(r.pixels);
    free(out);
    return ok;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static bool make_rows(pool_rows *r, const run_pool_desc *desc, ts_embedder *e, pool_index *ix, ts_error *err)
{
    const ts_embedder_info *about = ts_embedder_about(e);
    int *todo = malloc((size_t)r->count * sizeof *todo), count = 0;
    if (!todo) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    use_index(r, desc, about, ix);
    for (int i = 0; i < r->count; i++)
        if (!r->known[i]) todo[count++] = i;
    ix->saved_at = ts_now_ms();
    const bool ok = count == 0 || encode_missing(r, desc, e, ix, todo, count, err);
    free(todo);
    r->known_count = 0;
    for (int i = 0; i < r->count; i++) r->known_count += r->known[i];
    if (!ok) return false;
    const int made = r->known_count - ix->reused;
    if (!desc->common->quiet)
        ts_say("%d pairs in %s: the features of %d were known, %d are new", r->count, desc->folder, ix->reused, made);
    ts_error why = {0};
    if ((!ix->kept || made > 0) && r->known_count > 0 && !save_index(r, desc, about, ix, &why) && !desc->common->quiet)
        ts_say("the features are not kept for the next run: %s", why.text);
    return true;
}

bool pool_rows_make(pool_rows *r, const run_pool_desc *desc, ts_embedder *e, const char *how, ts_error *err)
{
    pool_index ix = {0};
    r->width = ts_embedder_about(e)->width;
    r->features = r->width < INT64_MAX / 8 / r->count ? calloc((size_t)r->count * (size_t)r->width, sizeof *r->features) : NULL;
    if (!r->features)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d pictures, %lld numbers each", r->count,
                       (long long)r->width);
    const bool ok = index_open(&ix, desc, how, err) && make_rows(r, desc, e, &ix, err);
    index_close(&ix);
    return ok;
}
