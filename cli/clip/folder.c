/* folder.c - the pictures of a folder and their features, kept in a hidden file of it so that only the first search takes its
 * time; and which of them are most like something. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/clip/clip.h"
#include "retrieval/retrieval.h"

enum { SAVE_EVERY_MS = 60000 }; /* of a long encoding, so that little is lost */

/* A picture's name below the folder, as the cache has it. */
const char *ts_clip_folder_name(const ts_clip_folder *f, int i)
{
    const char *path = f->pictures.path[i] + strlen(f->path);
    return path + strspn(path, "/");
}

bool ts_clip_folder_list(ts_clip_use *u, const char *path, ts_clip_folder *f, ts_error *err)
{
    f->path = path;
    f->use = u;
    if (!ts_is_folder(path)) return ts_fail(err, TS_ERR_IO, "%s is no folder: pictures are looked for in one", path);
    if (!ts_clip_pictures_list(u, &(ts_words){&path, 1}, &f->pictures, err)) return false;
    const size_t count = (size_t)f->pictures.count;
    f->size = calloc(count, sizeof *f->size);
    f->mtime = calloc(count, sizeof *f->mtime);
    f->known = calloc(count, sizeof *f->known);
    f->todo = calloc(count, sizeof *f->todo);
    if (!f->size || !f->mtime || !f->known || !f->todo || asprintf(&f->cache_path, "%s/" TS_CLIP_CACHE_NAME, path) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures", f->pictures.count);
    /* Before they are read: what changes from now on is seen as changed by the next search. */
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        if (stat(f->pictures.path[i], &st) != 0) continue; /* reading it will say what is wrong */
        f->size[i] = st.st_size;
        f->mtime[i] = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
    }
    return true;
}

/* Takes what the cache knows; the rest is to do. */
static void use_cache(ts_clip_folder *f)
{
    const size_t embed = (size_t)f->use->config.embed;
    ts_index cache = {0};
    ts_error why = {0};
    if (!f->no_cache) ts_index_read(f->cache_path, f->identity, f->use->config.embed, &cache, &why);
    if (why.code && !f->use->common.quiet) ts_say("features are made anew: %s", why.text);
    for (int i = 0; i < f->pictures.count; i++) {
        const int64_t at = ts_index_find(&cache, ts_clip_folder_name(f, i), f->size[i], f->mtime[i]);
        f->known[i] = at >= 0 && cache.features;
        if (f->known[i])
            memcpy(f->features + (size_t)i * embed, cache.features + (size_t)at * embed, embed * sizeof *f->features);
        else f->todo[f->todo_count++] = i;
        f->reused += f->known[i];
    }
    f->kept = !f->no_cache && cache.count > 0 && cache.count == f->reused; /* none to drop: else it is to be written */
    ts_index_clear(&cache);
}

static bool save_cache(ts_clip_folder *f, ts_error *err)
{
    const size_t embed = (size_t)f->use->config.embed, count = (size_t)f->pictures.count;
    ts_index c = {.width = f->use->config.embed,
                  .name = malloc(count * sizeof *c.name),
                  .size = malloc(count * sizeof *c.size),
                  .mtime = malloc(count * sizeof *c.mtime),
                  .features = malloc(count * embed * sizeof *c.features)};
    if (!c.name || !c.size || !c.mtime || !c.features) {
        ts_index_clear(&c);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; i < f->pictures.count; i++) {
        if (!f->known[i]) continue;
        c.name[c.count] = ts_clip_folder_name(f, i);
        c.size[c.count] = f->size[i];
        c.mtime[c.count] = f->mtime[i];
        memcpy(c.features + (size_t)c.count * embed, f->features + (size_t)i * embed, embed * sizeof *f->features);
        c.count++;
    }
    const bool ok = ts_index_write(f->cache_path, f->identity, &c, err);
    ts_index_clear(&c);
    f->saved_at = ts_now_ms();
    return ok;
}

static void after_batch(void *data, int done)
{
    ts_clip_folder *f = data;
    for (int k = 0; k < done; k++) f->known[f->todo[k]] = !f->pictures.problem[f->todo[k]];
    if (f->no_cache || ts_now_ms() - f->saved_at < SAVE_EVERY_MS) return;
    ts_error later = {0}; /* the last save says what is wrong */
    save_cache(f, &later);
}

bool ts_clip_folder_know(ts_clip_folder *f, ts_error *err)
{
    ts_clip_use *u = f->use;
    f->features = calloc((size_t)f->pictures.count * (size_t)u->config.embed, sizeof *f->features);
    if (!f->features) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d pictures", f->pictures.count);
    ts_clip_use_identity(u, f->identity);
    use_cache(f);
    f->saved_at = ts_now_ms();
    f->pictures.encoded = after_batch;
    f->pictures.data = f;
    if (!ts_clip_pictures_encode(u, &f->pictures, f->todo, f->todo_count, f->features, err)) return false;
    if (!ts_clip_pictures_tell(u, &f->pictures, err)) return false;
    const int made = f->todo_count - f->pictures.broken;
    if (!u->common.quiet) ts_say("%d pictures: the features of %d were known, %d are new", f->pictures.count, f->reused, made);
    if (f->no_cache || (f->kept && made == 0)) return true;
    ts_error why = {0};
    f->kept = save_cache(f, &why);
    if (!f->kept && !u->common.quiet) ts_say("the features are not kept for the next search: %s", why.text);
    return true;
}

static int by_score(const void *a, const void *b)
{
    const ts_clip_hit *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->picture - y->picture;
}

ts_clip_hit *ts_clip_folder_rank(const ts_clip_folder *f, const float *query, const char *but, int *count, ts_error *err)
{
    const int embed = f->use->config.embed;
    ts_clip_hit *hits = calloc((size_t)f->pictures.count + 1, sizeof *hits);
    *count = 0;
    if (!hits) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures", f->pictures.count);
        return NULL;
    }
    for (int i = 0; i < f->pictures.count; i++) {
        if (!f->known[i] || (but && ts_same_file(but, f->pictures.path[i]))) continue;
        double sum = 0;
        for (int e = 0; e < embed; e++) sum += (double)query[e] * (double)f->features[(size_t)i * (size_t)embed + (size_t)e];
        hits[(*count)++] = (ts_clip_hit){i, sum};
    }
    qsort(hits, (size_t)*count, sizeof *hits, by_score);
    return hits;
}

void ts_clip_folder_clear(ts_clip_folder *f)
{
    ts_clip_pictures_clear(&f->pictures);
    free(f->size);
    free(f->mtime);
    free(f->features);
    free(f->known);
    free(f->todo);
    free(f->cache_path);
    *f = (ts_clip_folder){0};
}
