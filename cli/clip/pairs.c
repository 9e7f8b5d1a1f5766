/* pairs.c - pictures and their captions for contrastive training: the list, the texts as tokens, the pictures in memory
 * where they fit, and batches that follow from the seed and their number alone, so that a run that was stopped sees what it would
 * have seen.
 *
 * The loss takes every other text of a batch for a wrong one. Where few captions are many pictures' it would often be told that
 * the right one is wrong, so a pair whose caption is in the batch already waits for the next. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/train.h"
#include "engine/file.h"

static const char LIST[] = "captions.jsonl";

/* ---- the list ---------------------------------------------------------------------------------------------------- */

/* The text of `key` in a line's object, or a complaint. */
static const char *text_of(const ts_clip_pairs *p, const cJSON *o, const char *key, int64_t line, ts_error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (cJSON_IsString(item) && item->valuestring[0] != '\0') return item->valuestring;
    ts_fail(err, TS_ERR_FORMAT, "%s: line %" PRId64 " has no \"%s\": {\"file\": ..., \"text\": ...} was wanted", p->list, line,
            key);
    return NULL;
}

static bool add_pair(ts_clip_pairs *p, const cJSON *o, int64_t line, int64_t *room, ts_error *err)
{
    const char *file = text_of(p, o, "file", line, err), *text = file ? text_of(p, o, "text", line, err) : NULL;
    if (!text) return false;
    if (p->count == *room) {
        *room = *room ? 2 * *room : 1024;
        ts_clip_pair *grown = realloc(p->pair, (size_t)*room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", p->list);
        p->pair = grown;
    }
    const char *slash = strrchr(p->list, '/');
    const int folder = file[0] == '/' || !slash ? 0 : (int)(slash + 1 - p->list);
    ts_clip_pair *pair = &p->pair[p->count];
    *pair = (ts_clip_pair){.line = line, .text = strdup(text)};
    p->count++;
    if (asprintf(&pair->path, "%.*s%s", folder, p->list, file) < 0) pair->path = NULL;
    return (pair->text && pair->path) || ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", p->list);
}

static bool read_list(ts_clip_pairs *p, FILE *f, ts_error *err)
{
    char *text = NULL;
    size_t size = 0;
    int64_t line = 0, room = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&text, &size, f)) >= 0;) {
        line++;
        if (text[strspn(text, " \t\r\n")] == '\0') continue;
        cJSON *o = cJSON_ParseWithLength(text, (size_t)length);
        ok = cJSON_IsObject(o)
                 ? add_pair(p, o, line, &room, err)
                 : ts_fail(err, TS_ERR_FORMAT, "%s: line %" PRId64 " is no object {\"file\": ..., \"text\": ...} of JSON",
                           p->list, line);
        cJSON_Delete(o);
    }
    if (ok && ferror(f)) ok = ts_fail(err, TS_ERR_IO, "%s cannot be read: %s", p->list, strerror(errno));
    free(text);
    return ok && (p->count > 0 || ts_fail(err, TS_ERR_FORMAT, "%s lists no picture", p->list));
}

bool ts_clip_pairs_open(const char *path, ts_clip_pairs *p, ts_error *err)
{
    char *list = NULL;
    *p = (ts_clip_pairs){.epoch = -1};
    if (!ts_is_folder(path)) list = strdup(path);
    else if (asprintf(&list, "%s/%s", path, LIST) < 0) list = NULL;
    p->list = list;
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!ts_check_readable(list, "list of captions", err)) return false;
    FILE *f = ts_file_open(list, "list of captions", err);
    if (!f) return false;
    const bool ok = read_list(p, f, err);
    fclose(f);
    return ok;
}

void ts_clip_pairs_clear(ts_clip_pairs *p)
{
    for (int64_t i = 0; i < p->count; i++) {
        free(p->pair[i].path);
        free(p->pair[i].text);
    }
    free((void *)(uintptr_t)p->list);
    free(p->pair);
    free(p->tokens);
    free(p->pixels);
    free(p->order);
    *p = (ts_clip_pairs){0};
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static int by_tokens(const void *a, const void *b, void *of)
{
    const ts_clip_pairs *p = of;
    const int64_t *x = a, *y = b;
    const size_t bytes = (size_t)p->context * sizeof *p->tokens;
    return memcmp(p->tokens + *x * p->context, p->tokens + *y * p->context, bytes);
}

/* Equal texts get the same number. */
static bool number_captions(ts_clip_pairs *p, ts_error *err)
{
    int64_t *sorted = malloc((size_t)p->count * sizeof *sorted);
    if (!sorted) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRId64 " captions", p->count);
    for (int64_t i = 0; i < p->count; i++) sorted[i] = i;
    qsort_r(sorted, (size_t)p->count, sizeof *sorted, by_tokens, p);
    for (int64_t i = 0, number = 0; i < p->count; i++) {
        if (i > 0 && by_tokens(&sorted[i - 1], &sorted[i], p) != 0) number++;
        p->pair[sorted[i]].caption = (int)number;
    }
    free(sorted);
    return true;
}

bool ts_clip_pairs_tokens(ts_clip_pairs *p, const ts_tokenizer *t, int context, bool cut, ts_error *err)
{
    if (p->count > INT32_MAX) return ts_fail(err, TS_ERR_ARGUMENT, "%s lists too many pictures", p->list);
    p->context = context;
    p->tokens = calloc((size_t)p->count, (size_t)context * sizeof *p->tokens);
    if (!p->tokens) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRId64 " captions", p->count);
    for (int64_t i = 0; i < p->count; i++) {
        ts_error why = {0};
        const int length = ts_tokenizer_tokens(t, p->pair[i].text, context, cut, p->tokens + i * context, &why);
        if (length < 0) return ts_fail(err, why.code, "%s: line %" PRId64 ": %.400s", p->list, p->pair[i].line, why.text);
        if (length > p->length) p->length = length;
    }
    return number_captions(p, err);
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static size_t picture_bytes(const ts_clip_pairs *p)
{
    const size_t side = (size_t)p->side + (size_t)p->margin;
    return side * side * 3;
}

static bool read_picture(const ts_clip_pairs *p, int64_t number, uint8_t *out, ts_error *err)
{
    const ts_clip_pair *pair = &p->pair[number];
    const int side = p->side + p->margin;
    ts_error why = {0};
    ts_image img;
    if (!ts_image_load(pair->path, &img, &why))
        return ts_fail(err, why.code, "%s: line %" PRId64 ": %.400s", p->list, pair->line, why.text);
    float *values = malloc(picture_bytes(p) * sizeof *values);
    bool ok = values ? ts_clip_preprocess(&img, side, values, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture");
    if (ok) ts_clip_denormalise(values, (int64_t)side * side, out);
    free(values);
    ts_image_clear(&img);
    return ok;
}

/* Pictures that several threads read, each the next one. */
typedef struct {
    const ts_clip_pairs *p;
    int64_t *which; /* the pairs: in, those wanted; out, those that were read, -1: it could not be */
    bool replace;   /* by the next pair that can be read */
    int64_t count, next;
    uint8_t *out;
    ts_progress *progress; /* of a long reading; NULL: none */
    pthread_mutex_t lock;
    bool failed;
    ts_error err;
} reading;

/* Picture `i` of those wanted, without the lock; with it a complaint is noted. */
static bool read_place(reading *r, int64_t i, ts_error *err)
{
    uint8_t *out = r->out + (size_t)i * picture_bytes(r->p);
    for (int64_t tries = 0; tries < (r->replace ? r->p->count : 1); tries++) {
        ts_error why = {0};
        if (read_picture(r->p, r->which[i], out, &why)) return true;
        pthread_mutex_lock(&r->lock);
        const bool ok = ts_leave_out(r->p->left_out, &why, err);
        pthread_mutex_unlock(&r->lock);
        if (!ok) return false;
        r->which[i] = r->replace ? (r->which[i] + 1) % r->p->count : -1;
    }
    return !r->replace || ts_fail(err, TS_ERR_FORMAT, "%s: none of its pictures can be read; the first: %.400s", r->p->list,
                                  r->p->left_out->first.text);
}

static void *read_some(void *ctx)
{
    reading *r = ctx;
    pthread_mutex_lock(&r->lock);
    while (!r->failed && r->next < r->count) {
        const int64_t i = r->next++;
        ts_error err = {0};
        pthread_mutex_unlock(&r->lock);
        const bool ok = read_place(r, i, &err);
        pthread_mutex_lock(&r->lock);
        if (!ok && !r->failed) {
            r->failed = true;
            r->err = err;
        }
        if (r->progress) ts_progress_step(r->progress, r->next);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static bool read_all(reading *r, ts_error *err)
{
    enum { MOST = 64 };
    pthread_t thread[MOST];
    int started = 0;
    const int64_t wanted = r->p->workers < r->count ? r->p->workers : r->count;
    pthread_mutex_init(&r->lock, NULL);
    /* This thread reads too: were no other to be had, it would read all. */
    while (started < MOST && started + 1 < wanted && pthread_create(&thread[started], NULL, read_some, r) == 0) started++;
    read_some(r);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&r->lock);
    return !r->failed || ts_fail(err, r->err.code, "%s", r->err.text);
}

/* Takes the pairs without a picture (which[i] < 0) out of the list. */
static bool close_up(ts_clip_pairs *p, const int64_t *which, uint8_t *pixels, ts_error *err)
{
    const size_t each = picture_bytes(p), context = (size_t)p->context;
    int64_t kept = 0;
    for (int64_t i = 0; i < p->count; i++) {
        if (which[i] < 0) {
            free(p->pair[i].path);
            free(p->pair[i].text);
            continue;
        }
        if (kept != i) {
            memcpy(pixels + (size_t)kept * each, pixels + (size_t)i * each, each);
            memcpy(p->tokens + (size_t)kept * context, p->tokens + (size_t)i * context, context * sizeof *p->tokens);
        }
        p->pair[kept++] = p->pair[i];
    }
    if (kept == p->count) return true;
    p->count = kept;
    return kept > 0 ? number_captions(p, err)
                    : ts_fail(err, TS_ERR_FORMAT, "%s: none of its pictures can be read; the first: %.400s", p->list,
                              p->left_out->first.text);
}

bool ts_clip_pairs_load(ts_clip_pairs *p, uint64_t most, bool quiet, ts_error *err)
{
    const size_t each = picture_bytes(p);
    const bool fits = (uint64_t)p->count <= most / each;
    const int64_t count = fits ? p->count : 1;
    uint8_t *pixels = malloc((size_t)count * each);
    int64_t *which = malloc((size_t)count * sizeof *which);
    if (!pixels || !which) {
        free(pixels);
        free(which);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRId64 " pictures", count);
    }
    for (int64_t i = 0; i < count; i++) which[i] = i;
    ts_progress progress;
    reading r = {.p = p, .which = which, .replace = !fits, .count = count, .out = pixels, .progress = &progress};
    ts_progress_begin(&progress, "reading pictures", count, quiet);
    bool ok = read_all(&r, err);
    ts_progress_end(&progress);
    ok = ok && (!fits || close_up(p, which, pixels, err));
    if (ok && fits) p->pixels = pixels;
    else free(pixels);
    free(which);
    return ok;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/* 0 ... count - 1; the bias of the remainder is below 2^-32. */
static int64_t below(uint64_t *state, int64_t count)
{
    return (int64_t)(ts_splitmix(state) % (uint64_t)count);
}

static uint64_t stream(uint64_t seed, uint64_t number)
{
    uint64_t state = seed;
    state = ts_splitmix(&state) ^ number;
    return ts_splitmix(&state);
}

/* Takes the first pairs that wait and whose captions are not in the batch yet; where there are none left, the first of all. */
static void deal(const ts_clip_pairs *p, int64_t number, int batch, int64_t *next, int64_t *first, int64_t *taken_in)
{
    int64_t *out = p->order + number * batch;
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t *link = first; *link >= 0 && count < batch;) {
            const int64_t pair = *link;
            const int caption = p->pair[pair].caption;
            if (pass == 0 && taken_in[caption] == number) {
                link = &next[pair];
                continue;
            }
            taken_in[caption] = number;
            out[count++] = pair;
            *link = next[pair];
        }
    }
}

/* The order of an epoch: shuffled, then dealt into batches. next, taken_in: (count) to work with. */
static void deal_all(const ts_clip_pairs *p, uint64_t state, int batch, int64_t *next, int64_t *taken_in)
{
    for (int64_t i = 0; i < p->count; i++) {
        const int64_t at = below(&state, i + 1);
        p->order[i] = p->order[at];
        p->order[at] = i;
    }
    int64_t first = p->order[0];
    for (int64_t i = 0; i < p->count; i++) {
        next[p->order[i]] = i + 1 < p->count ? p->order[i + 1] : -1;
        taken_in[i] = -1;
    }
    for (int64_t i = 0; i < p->count / batch; i++) deal(p, i, batch, next, &first, taken_in);
}

static bool deal_epoch(ts_clip_pairs *p, int64_t epoch, int batch, ts_error *err)
{
    int64_t *next = calloc((size_t)p->count, sizeof *next), *taken_in = calloc((size_t)p->count, sizeof *taken_in);
    if (!p->order) p->order = calloc((size_t)p->count, sizeof *p->order);
    const bool ok = next && taken_in && p->order;
    if (ok) deal_all(p, stream(p->seed, 2 * (uint64_t)epoch), batch, next, taken_in);
    else ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (ok) p->epoch = epoch;
    free(next);
    free(taken_in);
    return ok;
}

/* A square of a kept picture: a random one, or the middle. */
static void cut_square(const ts_clip_pairs *p, const uint8_t *kept, bool plain, uint64_t *state, float *out)
{
    const int64_t side = p->side, stride = side + p->margin;
    const int64_t left = plain ? p->margin / 2 : below(state, p->margin + 1),
                  top = plain ? p->margin / 2 : below(state, p->margin + 1);
    for (int64_t y = 0; y < side; y++) ts_clip_normalise(kept + ((top + y) * stride + left) * 3, side, out + y * side * 3);
}

bool ts_clip_pairs_batch(ts_clip_pairs *p, int64_t number, int batch, bool plain, float *pixels, int32_t *tokens, ts_error *err)
{
    const int64_t batches = p->count / batch, epoch = number / batches, first = number % batches * batch;
    const size_t each = picture_bytes(p);
    if (p->epoch != epoch && !deal_epoch(p, epoch, batch, err)) return false;
    uint8_t *read = p->pixels ? NULL : malloc((size_t)batch * each);
    int64_t *which = malloc((size_t)batch * sizeof *which);
    bool ok = (p->pixels || read) && which;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a batch of %d", batch);
    if (ok) memcpy(which, p->order + first, (size_t)batch * sizeof *which);
    if (ok && read) ok = read_all(&(reading){.p = p, .which = which, .replace = true, .count = batch, .out = read}, err);
    uint64_t state = stream(p->seed, 2 * (uint64_t)number + 1);
    for (int i = 0; ok && i < batch; i++) {
        const uint8_t *kept = read ? read + (size_t)i * each : p->pixels + (size_t)which[i] * each;
        cut_square(p, kept, plain, &state, pixels + (int64_t)i * p->side * p->side * 3);
        memcpy(tokens + (int64_t)i * p->context, p->tokens + which[i] * p->context, (size_t)p->context * sizeof *tokens);
    }
    free(read);
    free(which);
    return ok;
}
