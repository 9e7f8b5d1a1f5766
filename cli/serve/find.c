/* find.c - the room Find: the pictures of the folder that was named at the start, by words or by a picture. A client names them
 * by their number alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve/serve.h"

enum { MOST_HITS = 200, THUMB = 480 };

bool serve_find_open(serve *s, ts_error *err)
{
    s->clip.common = s->job.common;
    s->clip.model = s->clip_path;
    s->clip.vocab = s->vocab;
    s->clip.told = s->told;
    s->clip.left_out.quiet = s->job.common.quiet;
    if (!ts_clip_folder_list(&s->clip, s->find, &s->folder, err) || !ts_clip_use_open(&s->clip, true, err)) return false;
    s->clip.dev = s->dev;
    s->clip.announced = true;
    s->clip.clip = ts_clip_new(s->dev, s->clip.weights, &s->clip.told, err);
    return s->clip.clip && ts_clip_folder_know(&s->folder, err);
}

static bool picture_features(serve *s, const ts_image *picture, float *out, ts_error *err)
{
    const int side = s->clip.config.image;
    float *pixels = malloc((size_t)side * (size_t)side * 3 * sizeof *pixels);
    if (!pixels) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = ts_clip_preprocess(picture, side, pixels, err) && ts_clip_encode_images(s->clip.clip, pixels, 1, out, err);
    free(pixels);
    return ok;
}

/* What is looked for: words or a picture. */
static bool make_query(serve *s, ts_page_job *job, float *out, ts_error *err)
{
    const cJSON *body = ts_page_body(job), *sent = cJSON_GetObjectItemCaseSensitive(body, "picture");
    const char *text = NULL;
    if (!ts_page_text(body, "text", &text, err)) return false;
    if (!text == !sent)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       text ? "text and picture exclude each other" : "what to look for is missing: text or picture");
    if (text && text[strspn(text, " \t\n")] == '\0') return ts_fail(err, TS_ERR_ARGUMENT, "text is empty");
    if (text) return ts_clip_use_texts(&s->clip, &text, 1, out, err);
    ts_image picture = {0};
    const bool ok = ts_page_picture(job, sent, "the picture", &picture, err) && picture_features(s, &picture, out, err);
    ts_image_clear(&picture);
    return ok;
}

/* A name is any bytes, JSON is UTF-8. */
static bool add_name(cJSON *item, const char *name)
{
    char shown[1024];
    return cJSON_AddStringToObject(item, "name", ts_printable(name, shown, sizeof shown)) != NULL;
}

static bool add_hits(serve *s, const float *query, int top, cJSON *answer, ts_error *err)
{
    int count = 0;
    ts_clip_hit *hits = ts_clip_folder_rank(&s->folder, query, NULL, &count, err);
    if (!hits) return false;
    cJSON *list = cJSON_AddArrayToObject(answer, "hits");
    bool ok = list != NULL;
    for (int i = 0; ok && i < count && i < top; i++) {
        cJSON *item = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, item) && cJSON_AddNumberToObject(item, "number", hits[i].picture) &&
             cJSON_AddNumberToObject(item, "score", round(hits[i].score * 1e5) * 1e-5) &&
             add_name(item, ts_clip_folder_name(&s->folder, hits[i].picture));
    }
    free(hits);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

bool serve_find(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    int top = 20;
    const cJSON *body = ts_page_body(job);
    if (!ts_page_fields(body, "text picture top", err) || !ts_page_int(body, "top", 1, MOST_HITS, &top, err)) return false;
    float *query = malloc((size_t)s->clip.config.embed * sizeof *query);
    const bool ok = (query || ts_fail(err, TS_ERR_MEMORY, "out of memory")) && make_query(s, job, query, err) &&
                    add_hits(s, query, top, answer, err);
    free(query);
    return ok;
}

/* In another thread than all else here: it reads the list of pictures, which never changes, and nothing more. */
bool serve_thumbnail(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    const serve *s = ctx;
    const int64_t number = ts_page_number(job);
    ts_image whole = {0}, small = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    (void)answer;
    if (number >= s->folder.pictures.count) {
        ts_page_status(job, 404);
        return ts_fail(err, TS_ERR_ARGUMENT, "there are %d pictures, numbered from 0", s->folder.pictures.count);
    }
    if (!ts_image_load(s->folder.pictures.path[number], &whole, err)) return false;
    const double scale = fmin(1, (double)THUMB / (whole.width > whole.height ? whole.width : whole.height));
    const int width = (int)fmax(1, round(whole.width * scale)), height = (int)fmax(1, round(whole.height * scale));
    const bool ok = ts_image_resize(&whole, width, height, TS_RESIZE_BILINEAR, &small, err) &&
                    ts_image_encode("thumbnail.jpg", &small, &bytes, &size, err);
    ts_image_clear(&whole);
    ts_image_clear(&small);
    if (ok) ts_page_send(job, "image/jpeg", bytes, size);
    return ok;
}
