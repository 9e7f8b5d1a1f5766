/* search.c - `tessera clip search`: the pictures of a folder most like a text or a picture, by the cosine of their features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/clip.h"
#include "cli/plot.h"

static const char name[] = "clip search";

enum { COLUMNS = 5, MOST_SHOWN = 100, TILE = 224, MARGIN = 4, LABEL = 18 }; /* of the sheet */

typedef struct {
    ts_clip_use use;
    ts_words rest;
    const char *text, *like, *sheet;
    int top;
    ts_clip_folder folder;
    float *query; /* (embed) */
    ts_clip_hit *hits;
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
        {0, "no-cache", NULL, TS_OPT_FLAG, &s->folder.no_cache, 0, 0, "neither read nor write FOLDER/" TS_CLIP_CACHE_NAME},
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

/* The picture asked about is itself no answer. */
static bool rank(search *s, ts_error *err)
{
    s->hits = ts_clip_folder_rank(&s->folder, s->query, s->like, &s->hit_count, err);
    if (!s->hits) return false;
    if (s->hit_count == 0) return ts_fail(err, TS_ERR_IO, "folder %s holds no other picture than %s", s->rest.items[0], s->like);
    if (s->hit_count > s->top) s->hit_count = s->top;
    return true;
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
        ok = ts_image_load(s->folder.pictures.path[s->hits[i].picture], &picture, err) &&
             ts_sheet_fit(&sheet, &picture, x, y, TILE, err);
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
        ts_put_line(s->folder.pictures.path[s->hits[i].picture]);
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
              cJSON_AddNumberToObject(all, "pictures", s->folder.pictures.count) &&
              cJSON_AddNumberToObject(all, "known", s->folder.reused) &&
              cJSON_AddNumberToObject(all, "new", s->folder.todo_count - s->folder.pictures.broken) &&
              cJSON_AddBoolToObject(all, "kept", s->folder.kept) && (hits = cJSON_AddArrayToObject(all, "hits"));
    for (int i = 0; ok && i < s->hit_count; i++) {
        cJSON *item = cJSON_CreateObject();
        ok = item && cJSON_AddItemToArray(hits, item) &&
             cJSON_AddStringToObject(item, "file", s->folder.pictures.path[s->hits[i].picture]) &&
             cJSON_AddNumberToObject(item, "score", s->hits[i].score);
    }
    if (!ok || !ts_clip_pictures_report(&s->folder.pictures, all)) {
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
    for (int i = 0; !taken && i < s->folder.pictures.count; i++) taken = ts_same_file(s->folder.pictures.path[i], s->sheet);
    return !taken || ts_fail(err, TS_ERR_ARGUMENT, "sheet %s would overwrite a picture that is searched", s->sheet);
}

static int run(search *s)
{
    ts_error err = {0};
    bool ok = (!s->like || ts_check_readable(s->like, "picture", &err)) &&
              ts_clip_folder_list(&s->use, s->rest.items[0], &s->folder, &err) && (!s->sheet || check_sheet(s, &err)) &&
              ts_clip_use_open(&s->use, s->text != NULL, &err) && ts_clip_use_start(&s->use, &err) && make_query(s, &err) &&
              ts_clip_folder_know(&s->folder, &err) && rank(s, &err);
    ok = ok && (!s->sheet || draw_sheet(s, &err));
    ok = ok && (s->use.common.json ? print_report(s, &err) : print_table(s, &err));
    return ok ? ts_left_out_status(name, &s->use.left_out) : ts_report(name, &err);
}

static void search_clear(search *s)
{
    ts_clip_folder_clear(&s->folder);
    ts_clip_use_close(&s->use);
    ts_words_free(&s->rest);
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
