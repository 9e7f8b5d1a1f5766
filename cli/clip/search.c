/* search.c - `tessera clip search`: the pictures of a folder most like a text or a picture, by the cosine of their features.
 * Features stay in a hidden file of the folder, so that only the first search takes its time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/clip/clip.h"
#include "cli/plot.h"
#include "retrieval/retrieval.h"

static const char name[] = "clip search";

#define CACHE_NAME ".tessera-clip.safetensors"

enum { SAVE_EVERY_MS = 60000 };                                             /* of a long encoding, so that little is lost */
enum { COLUMNS = 5, MOST_SHOWN = 100, TILE = 224, MARGIN = 4, LABEL = 18 }; /* of the sheet */

typedef struct {
    int picture;
    double score;
} hit;

typedef struct {
    ts_clip_use use;
    ts_words rest;
    const char *text, *like, *sheet;
    int top;
    bool no_cache;
    /* the folder */
    ts_clip_pictures pictures;
    int64_t *size, *mtime; /* (count) */
    float *features;       /* (count, embed) */
    bool *known;           /* (count): its features are there */
    int *todo;             /* pictures to encode */
    int todo_count, reused;
    char *cache_path;
    char identity[17];
    bool kept; /* the cache is up to date */
    double saved_at;
    /* the answer */
    float *query; /* (embed) */
    hit *hits;
    int hit_count;
} search;

static int parse(search *s, int argc, char **argv)
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &s->use.model, 0, 0, TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &s->use.vocab, 0, 0, TS_CLIP_VOCAB_HELP},
        TS_CLIP_TOLD_OPTIONS(&s->use.told),
        {'t', "text", "TEXT", TS_OPT_TEXT, &s->text, 0, 0, "what to look for, in words"},
        {'l', "like", "FILE", TS_OPT_TEXT, &s->like, 0, 0, "or a picture to look for others like it"},
        {'k', "top", "N", TS_OPT_INT, &s->top, 1, 1000000, "how many to show; 10"},
        {0, "sheet", "FILE", TS_OPT_TEXT, &s->sheet, 0, 0,
         "a contact sheet (.png, .jpg, .webp): the first 100 hits in rows, their scores below"},
        {0, "no-cache", NULL, TS_OPT_FLAG, &s->no_cache, 0, 0, "neither read nor write FOLDER/" CACHE_NAME},
        {0, "cut", NULL, TS_OPT_FLAG, &s->use.cut, 0, 0, "cut a text that is too long for the model"},
        {0, "strict", NULL, TS_OPT_FLAG, &s->use.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "FOLDER --text TEXT | --like FILE --model FILE [options]",
                      .summary = "finds the pictures of a folder most like a text or a picture",
                      .example = "  tessera clip search photos/ --model ViT-B-32.pt --text \"a dog on a beach\"\n"
                                 "  tessera clip search photos/ --model ViT-B-32.pt --like dog.jpg --top 20 --sheet hits.png\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &s->rest,
                      .least = 1,
                      .most = 1,
                      .rest_name = "FOLDER",
                      .common = &s->use.common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_JSON},
        argc, argv);
}

static int check_usage(const search *s)
{
    if (!s->text == !s->like)
        return ts_usage_error(name, s->text ? "--text and --like exclude each other"
                                            : "what to look for is missing: --text TEXT or --like FILE");
    if (s->text && s->text[strspn(s->text, " \t\n")] == '\0') return ts_usage_error(name, "--text is empty");
    if (!s->use.model) return ts_usage_error(name, "--model FILE is missing: a CLIP");
    if (s->sheet && !ts_image_writable(s->sheet))
        return ts_usage_error(name, "--sheet %s: the name must end in %s", s->sheet, ts_image_endings());
    return -1;
}

/* ---- the folder ------------------------------------------------------------------------------------------------- */

/* A picture's name below the folder, as the cache has it. */
static const char *below(const search *s, int i)
{
    const char *path = s->pictures.path[i] + strlen(s->rest.items[0]);
    return path + (*path == '/');
}

static bool list_folder(search *s, ts_error *err)
{
    const char *folder = s->rest.items[0];
    if (!ts_is_folder(folder)) return ts_fail(err, TS_ERR_IO, "%s is no folder: pictures are looked for in one", folder);
    if (!ts_clip_pictures_list(&s->use, &s->rest, &s->pictures, err)) return false;
    const size_t count = (size_t)s->pictures.count;
    s->size = calloc(count, sizeof *s->size);
    s->mtime = calloc(count, sizeof *s->mtime);
    s->known = calloc(count, sizeof *s->known);
    s->todo = calloc(count, sizeof *s->todo);
    s->hits = calloc(count, sizeof *s->hits);
    if (!s->size || !s->mtime || !s->known || !s->todo || !s->hits || asprintf(&s->cache_path, "%s/%s", folder, CACHE_NAME) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures", s->pictures.count);
    /* Before they are read: what changes from now on is seen as changed by the next search. */
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        if (stat(s->pictures.path[i], &st) != 0) continue; /* reading it will say what is wrong */
        s->size[i] = st.st_size;
        s->mtime[i] = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
    }
    return true;
}

/* Takes what the cache knows; the rest is to do. */
static void use_cache(search *s)
{
    const size_t embed = (size_t)s->use.config.embed;
    ts_index cache = {0};
    ts_error why = {0};
    if (!s->no_cache) ts_index_read(s->cache_path, s->identity, s->use.config.embed, &cache, &why);
    if (why.code && !s->use.common.quiet) ts_say("features are made anew: %s", why.text);
    for (int i = 0; i < s->pictures.count; i++) {
        const int64_t at = ts_index_find(&cache, below(s, i), s->size[i], s->mtime[i]);
        s->known[i] = at >= 0 && cache.features;
        if (s->known[i])
            memcpy(s->features + (size_t)i * embed, cache.features + (size_t)at * embed, embed * sizeof *s->features);
        else s->todo[s->todo_count++] = i;
        s->reused += s->known[i];
    }
    s->kept = !s->no_cache && cache.count > 0 && cache.count == s->reused; /* none to drop: else it is to be written */
    ts_index_clear(&cache);
}

static bool save_cache(search *s, ts_error *err)
{
    const size_t embed = (size_t)s->use.config.embed, count = (size_t)s->pictures.count;
    ts_index c = {.width = s->use.config.embed,
                  .name = malloc(count * sizeof *c.name),
                  .size = malloc(count * sizeof *c.size),
                  .mtime = malloc(count * sizeof *c.mtime),
                  .features = malloc(count * embed * sizeof *c.features)};
    if (!c.name || !c.size || !c.mtime || !c.features) {
        ts_index_clear(&c);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; i < s->pictures.count; i++) {
        if (!s->known[i]) continue;
        c.name[c.count] = below(s, i);
        c.size[c.count] = s->size[i];
        c.mtime[c.count] = s->mtime[i];
        memcpy(c.features + (size_t)c.count * embed, s->features + (size_t)i * embed, embed * sizeof *c.features);
        c.count++;
    }
    const bool ok = ts_index_write(s->cache_path, s->identity, &c, err);
    ts_index_clear(&c);
    s->saved_at = ts_now_ms();
    return ok;
}

static void after_batch(void *data, int done)
{
    search *s = data;
    for (int k = 0; k < done; k++) s->known[s->todo[k]] = !s->pictures.problem[s->todo[k]];
    if (s->no_cache || ts_now_ms() - s->saved_at < SAVE_EVERY_MS) return;
    ts_error later = {0}; /* the last save says what is wrong */
    save_cache(s, &later);
}

/* Features of all pictures, and the cache brought up to date. Only a folder without a readable picture is a failure. */
static bool know_folder(search *s, ts_error *err)
{
    s->features = calloc((size_t)s->pictures.count * (size_t)s->use.config.embed, sizeof *s->features);
    if (!s->features) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d pictures", s->pictures.count);
    ts_clip_use_identity(&s->use, s->identity);
    use_cache(s);
    s->saved_at = ts_now_ms();
    s->pictures.encoded = after_batch;
    s->pictures.data = s;
    if (!ts_clip_pictures_encode(&s->use, &s->pictures, s->todo, s->todo_count, s->features, err)) return false;
    if (!ts_clip_pictures_tell(&s->use, &s->pictures, err)) return false;
    const int made = s->todo_count - s->pictures.broken;
    if (!s->use.common.quiet)
        ts_say("%d pictures: the features of %d were known, %d are new", s->pictures.count, s->reused, made);
    if (s->no_cache || (s->kept && made == 0)) return true;
    ts_error why = {0};
    s->kept = save_cache(s, &why);
    if (!s->kept && !s->use.common.quiet) ts_say("the features are not kept for the next search: %s", why.text);
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

static bool make_query(search *s, ts_error *err)
{
    s->query = malloc((size_t)s->use.config.embed * sizeof *s->query);
    if (!s->query) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (s->text) return ts_clip_use_texts(&s->use, &s->text, 1, s->query, err);
    ts_clip_pictures one;
    bool ok = ts_clip_pictures_list(&s->use, &(ts_words){&s->like, 1}, &one, err) &&
              ts_clip_pictures_encode(&s->use, &one, NULL, 1, s->query, err) && ts_clip_pictures_tell(&s->use, &one, err);
    ts_clip_pictures_clear(&one);
    return ok;
}

static int by_score(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->picture - y->picture;
}

/* The picture asked about is itself no answer. */
static void rank(search *s)
{
    const int embed = s->use.config.embed;
    for (int i = 0; i < s->pictures.count; i++) {
        if (!s->known[i] || (s->like && ts_same_file(s->like, s->pictures.path[i]))) continue;
        double sum = 0;
        for (int e = 0; e < embed; e++) sum += (double)s->query[e] * (double)s->features[(size_t)i * (size_t)embed + (size_t)e];
        s->hits[s->hit_count++] = (hit){i, sum};
    }
    qsort(s->hits, (size_t)s->hit_count, sizeof *s->hits, by_score);
    if (s->hit_count > s->top) s->hit_count = s->top;
}

static bool draw_sheet(const search *s, ts_error *err)
{
    const int shown = s->hit_count < MOST_SHOWN ? s->hit_count : MOST_SHOWN;
    const int columns = shown < COLUMNS ? shown : COLUMNS, rows = columns ? (shown + columns - 1) / columns : 0;
    const int step_x = TILE + MARGIN, step_y = TILE + LABEL + MARGIN;
    ts_image sheet = {0};
    if (!ts_image_new(columns * step_x + MARGIN, rows * step_y + MARGIN, &sheet, err)) return false;
    memset(sheet.data, 255, (size_t)sheet.width * (size_t)sheet.height * 3);
    bool ok = true;
    for (int i = 0; ok && i < shown; i++) {
        const int x = MARGIN + i % columns * step_x, y = MARGIN + i / columns * step_y;
        char score[32];
        snprintf(score, sizeof score, "%.4f", s->hits[i].score);
        ts_draw_text(&sheet, x, y + TILE + 2, TS_TEXT_LEFT, score);
        ts_image picture = {0};
        ok =
            ts_image_load(s->pictures.path[s->hits[i].picture], &picture, err) && ts_sheet_fit(&sheet, &picture, x, y, TILE, err);
        ts_image_clear(&picture);
    }
    ok = ok && ts_image_save(s->sheet, &sheet, err);
    ts_image_clear(&sheet);
    return ok;
}

static bool print_table(const search *s, ts_error *err)
{
    for (int i = 0; i < s->hit_count; i++) {
        printf("%4d  %7.4f  ", i + 1, s->hits[i].score);
        ts_put_line(s->pictures.path[s->hits[i].picture]);
    }
    return ts_flush_output(err);
}

static bool print_report(const search *s, ts_error *err)
{
    cJSON *all = cJSON_CreateObject(), *hits = NULL;
    bool ok = all && cJSON_AddStringToObject(all, "model", s->use.model) &&
              cJSON_AddStringToObject(all, "device", ts_device_about(s->use.dev)->name) &&
              cJSON_AddStringToObject(all, s->text ? "text" : "like", s->text ? s->text : s->like) &&
              cJSON_AddStringToObject(all, "folder", s->rest.items[0]) &&
              cJSON_AddNumberToObject(all, "pictures", s->pictures.count) && cJSON_AddNumberToObject(all, "known", s->reused) &&
              cJSON_AddNumberToObject(all, "new", s->todo_count - s->pictures.broken) &&
              cJSON_AddBoolToObject(all, "kept", s->kept) && (hits = cJSON_AddArrayToObject(all, "hits"));
    for (int i = 0; ok && i < s->hit_count; i++) {
        cJSON *item = cJSON_CreateObject();
        ok = item && cJSON_AddItemToArray(hits, item) &&
             cJSON_AddStringToObject(item, "file", s->pictures.path[s->hits[i].picture]) &&
             cJSON_AddNumberToObject(item, "score", s->hits[i].score);
    }
    if (!ok || !ts_clip_pictures_report(&s->pictures, all)) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

/* The sheet may lie in the folder, but not be one of its pictures. */
static bool check_sheet(const search *s, ts_error *err)
{
    if (!ts_clip_use_check_out(&s->use, s->sheet, err)) return false;
    bool taken = s->like && ts_same_file(s->like, s->sheet);
    for (int i = 0; !taken && i < s->pictures.count; i++) taken = ts_same_file(s->pictures.path[i], s->sheet);
    return !taken || ts_fail(err, TS_ERR_ARGUMENT, "sheet %s would overwrite a picture that is searched", s->sheet);
}

static int run(search *s)
{
    ts_error err = {0};
    bool ok = (!s->like || ts_check_readable(s->like, "picture", &err)) && list_folder(s, &err) &&
              (!s->sheet || check_sheet(s, &err)) && ts_clip_use_open(&s->use, s->text != NULL, &err) &&
              ts_clip_use_start(&s->use, &err) && make_query(s, &err) && know_folder(s, &err);
    if (ok) rank(s);
    ok = ok &&
         (s->hit_count > 0 || ts_fail(&err, TS_ERR_IO, "folder %s holds no other picture than %s", s->rest.items[0], s->like));
    ok = ok && (!s->sheet || draw_sheet(s, &err));
    ok = ok && (s->use.common.json ? print_report(s, &err) : print_table(s, &err));
    return ok ? ts_left_out_status(name, &s->use.left_out) : ts_report(name, &err);
}

static void search_clear(search *s)
{
    ts_clip_pictures_clear(&s->pictures);
    ts_clip_use_close(&s->use);
    ts_words_free(&s->rest);
    free(s->size);
    free(s->mtime);
    free(s->features);
    free(s->known);
    free(s->todo);
    free(s->cache_path);
    free(s->query);
    free(s->hits);
}

int ts_clip_cmd_search(int argc, char **argv)
{
    search s = {.top = 10};
    int status = parse(&s, argc, argv);
    if (status < 0) status = check_usage(&s);
    s.use.left_out.quiet = s.use.common.quiet;
    if (status < 0) status = run(&s);
    search_clear(&s);
    return status;
}
