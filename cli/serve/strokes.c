/* strokes.c - the room Strokes: strokes on a picture train a model, which shows at once what it makes of the picture; another
 * stroke corrects it. One model is kept, the last; a client whose model has made room for another's sends its strokes again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve/serve.h"
#include "engine/file.h"

enum { MOST_SMOOTH = 64, MOST_FILE = 64 << 20 };

void serve_strokes_close(serve *s)
{
    for (int i = 0; i < SERVE_KEPT; i++) serve_forget(&s->painted[i]);
    ts_strokes_free(s->strokes);
}

/* ---- the model ---------------------------------------------------------------------------------------------------- */

static bool read_colour(const cJSON *item, uint8_t out[3], ts_error *err)
{
    unsigned rgb = 0;
    const char *text = cJSON_GetStringValue(item);
    if (!text || strlen(text) != 7 || text[0] != '#' || strspn(text + 1, "0123456789abcdefABCDEF") != 6 ||
        sscanf(text, "#%6x", &rgb) != 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "a class is a colour as #rrggbb");
    for (int c = 0; c < 3; c++) out[c] = (uint8_t)(rgb >> (16 - 8 * c));
    return rgb != 0 || ts_fail(err, TS_ERR_ARGUMENT, "black is what says nothing, and no class");
}

static bool make_model(serve *s, const cJSON *body, ts_error *err)
{
    ts_strokes_desc desc = {.seed = s->started.common.seed};
    const cJSON *classes = NULL, *item;
    if (!ts_page_list(body, "classes", 2, TS_STROKES_CLASSES, &classes, err)) return false;
    cJSON_ArrayForEach(item, classes)
    {
        if (!read_colour(item, desc.colour[desc.classes++], err)) return false;
    }
    if (!ts_page_int(body, "ground", 0, desc.classes - 1, &desc.ground, err)) return false;
    ts_strokes_free(s->strokes);
    s->strokes_id = s->at_hand = 0;
    s->strokes = ts_strokes_new(s->dev, &desc, err);
    if (s->strokes) s->strokes_id = serve_next_id(s);
    return s->strokes != NULL;
}

/* That which the request names. */
static bool find_model(serve *s, ts_page_job *job, ts_error *err)
{
    double id;
    if (!serve_id(job, "model", &id, err)) return false;
    if (s->strokes && id != 0 && (double)s->strokes_id == id) return true;
    ts_page_status(job, 404);
    return ts_fail(err, TS_ERR_ARGUMENT,
                   id == 0 ? "model is missing: the number that /v1/strokes/masks gave"
                           : "the model is no longer kept: send the strokes again");
}

static bool take_in_hand(serve *s, const serve_kept *k, ts_error *err)
{
    if (s->at_hand == k->id) return true;
    s->at_hand = 0;
    if (!ts_strokes_picture(s->strokes, &k->picture, err)) return false;
    s->at_hand = k->id;
    return true;
}

/* ---- strokes ------------------------------------------------------------------------------------------------------ */

/* A picture of strokes: what has exactly a class's colour is of that class, all else says nothing. */
static bool labels_of(const ts_image *strokes, const ts_strokes_colours *colours, ts_labels *out, ts_error *err)
{
    if (!ts_labels_new(strokes->width, strokes->height, out, err)) return false;
    for (int64_t i = 0; i < (int64_t)strokes->width * strokes->height; i++)
        for (int c = 0; c < colours->classes; c++)
            if (memcmp(strokes->data + 3 * i, colours->colour[c], 3) == 0) out->data[i] = (uint8_t)c;
    return true;
}

static bool learn(serve *s, ts_page_job *job, const serve_kept *k, cJSON *answer, ts_error *err)
{
    ts_image strokes = {0};
    ts_labels labels = {0};
    ts_strokes_fit fit = {.steps = 0};
    const ts_strokes_colours *colours = ts_strokes_colours_of(s->strokes);
    const cJSON *sent = cJSON_GetObjectItemCaseSensitive(ts_page_body(job), "strokes");
    bool ok = ts_page_picture(job, sent, "the strokes", &strokes, err);
    if (ok && (strokes.width != k->picture.width || strokes.height != k->picture.height))
        ok = ts_fail(err, TS_ERR_ARGUMENT, "the strokes have %d x %d pixels, their picture %d x %d", strokes.width,
                     strokes.height, k->picture.width, k->picture.height);
    ok = ok && labels_of(&strokes, colours, &labels, err) && ts_strokes_label(s->strokes, &labels, err) &&
         ts_strokes_train(s->strokes, &fit, err);
    ts_labels_clear(&labels);
    ts_image_clear(&strokes);
    if (!ok) return false;
    cJSON_AddItemToObject(answer, "samples", cJSON_CreateIntArray(fit.samples, colours->classes));
    return cJSON_AddNumberToObject(answer, "accuracy", round(fit.accuracy * 1e4) * 1e-4) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static bool classify(serve *s, ts_page_job *job, ts_labels *out, ts_error *err)
{
    int smooth = 0;
    return ts_page_int(ts_page_body(job), "smooth", 0, MOST_SMOOTH, &smooth, err) &&
           ts_strokes_classify(s->strokes, smooth, out, NULL, err);
}

/* The number of its class at each pixel, as a grey picture: the page has the colours. */
static bool add_labels(cJSON *answer, const ts_labels *labels, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ts_png_encode("the classes", labels->data, labels->width, labels->height, 1, &bytes, &size, err)) return false;
    const bool ok = ts_page_add_bytes(answer, "labels", bytes, size);
    free(bytes);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* ---- the routes --------------------------------------------------------------------------------------------------- */

bool serve_strokes_picture(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    ts_image picture = {0};
    if (!ts_page_fields(body, "picture", err) ||
        !ts_page_picture(job, cJSON_GetObjectItemCaseSensitive(body, "picture"), "the picture", &picture, err))
        return false;
    serve_kept *k = serve_make_room(s, s->painted, &picture);
    k->picture = picture;
    k->id = serve_next_id(s);
    k->used = ++s->clock;
    cJSON_AddNumberToObject(answer, "picture", (double)k->id);
    cJSON_AddNumberToObject(answer, "width", picture.width);
    return cJSON_AddNumberToObject(answer, "height", picture.height) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

bool serve_strokes_masks(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    ts_labels labels = {0};
    const double began = ts_now_ms();
    if (!ts_page_fields(body, "picture strokes model classes ground smooth", err)) return false;
    const serve_kept *k = serve_find_kept(s, s->painted, job, "/v1/strokes/pictures", err);
    if (!k) return false;
    const bool fresh = !cJSON_HasObjectItem(body, "model");
    if (!(fresh ? make_model(s, body, err) : find_model(s, job, err)) || !take_in_hand(s, k, err)) return false;
    bool ok = !cJSON_HasObjectItem(body, "strokes") || learn(s, job, k, answer, err);
    ok = ok && classify(s, job, &labels, err) && add_labels(answer, &labels, err);
    ts_labels_clear(&labels);
    cJSON_AddNumberToObject(answer, "model", (double)s->strokes_id);
    return ok && (cJSON_AddNumberToObject(answer, "ms", round((ts_now_ms() - began) * 10) * 0.1) ||
                  ts_fail(err, TS_ERR_MEMORY, "out of memory"));
}

bool serve_strokes_apply(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    ts_image picture = {0}, painted = {0};
    ts_labels labels = {0};
    if (!ts_page_fields(body, "picture model smooth", err) || !find_model(s, job, err) ||
        !ts_page_picture(job, cJSON_GetObjectItemCaseSensitive(body, "picture"), "the picture", &picture, err))
        return false;
    s->at_hand = 0;
    bool ok = ts_strokes_picture(s->strokes, &picture, err) && classify(s, job, &labels, err) &&
              ts_labels_image(&labels, ts_strokes_colours_of(s->strokes), &painted, err) &&
              serve_add_picture(answer, "answer", &painted, err);
    ts_labels_clear(&labels);
    ts_image_clear(&painted);
    ts_image_clear(&picture);
    return ok;
}

/* The model's file is written beside others' temporary ones, read and taken away again: how a model is saved knows paths alone.
 */
bool serve_strokes_file(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    if (!ts_page_fields(ts_page_body(job), "model", err) || !find_model(s, job, err)) return false;
    const char *folder = getenv("TMPDIR");
    char path[4096];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/tessera-strokes-XXXXXX", folder && *folder ? folder : "/tmp");
    if (!mkdtemp(path)) return ts_fail(err, TS_ERR_IO, "no temporary folder can be made for the model");
    char file[4160];
    snprintf(file, sizeof file, "%s/model", path);
    char *bytes = ts_strokes_save(s->strokes, file, err) ? ts_file_read(file, "model", MOST_FILE, &size, err) : NULL;
    unlink(file);
    rmdir(path);
    const bool ok = bytes && (ts_page_add_bytes(answer, "file", (const uint8_t *)bytes, size) ||
                              ts_fail(err, TS_ERR_MEMORY, "out of memory"));
    free(bytes);
    return ok;
}
