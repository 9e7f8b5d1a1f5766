/* segment.c - the room Segment: a picture is encoded once, and then asked of by clicks and boxes, for everything in it, or for a
 * cut-out. Pictures and their embeddings are kept, the last used ones, so that a click costs one run of the small decoder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve/serve.h"

enum { MOST_POINTS = 64, MOST_BOXES = 64, MOST_FOUND = 2000 };

bool serve_segment_open(serve *s, ts_error *err)
{
    ts_sam_config config;
    if (!ts_check_model(s->sam_path, "model", TS_KIND_SAM, err)) return false;
    s->sam_weights = ts_open_weights(s->sam_path, s->job.common.quiet, err);
    if (!s->sam_weights || !ts_sam_config_read(s->sam_weights, &config, err)) return false;
    s->sam = ts_sam_new(s->dev, &(ts_sam_desc){.weights = s->sam_weights, .batch = 16}, err);
    return s->sam != NULL;
}

void serve_segment_close(serve *s)
{
    for (int i = 0; i < SERVE_KEPT; i++) serve_forget(&s->kept[i]);
    ts_sam_free(s->sam);
    ts_weights_free(s->sam_weights);
}

/* ---- the picture --------------------------------------------------------------------------------------------------- */

static bool encode(serve *s, serve_kept *k, ts_error *err)
{
    const ts_sam_config *c = ts_sam_about(s->sam);
    const size_t size = (size_t)c->side * (size_t)c->side * (size_t)c->embed * sizeof *k->embedding;
    s->current = 0;
    if (!ts_sam_set_picture(s->sam, &k->picture, err)) return false;
    k->embedding = malloc(size);
    if (!k->embedding) return ts_fail(err, TS_ERR_MEMORY, "no memory for the picture's embedding");
    memcpy(k->embedding, ts_sam_embedding(s->sam), size);
    return true;
}

bool serve_take_picture(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    ts_image picture = {0};
    const double began = ts_now_ms();
    if (!ts_page_fields(body, "picture", err) ||
        !ts_page_picture(job, cJSON_GetObjectItemCaseSensitive(body, "picture"), "the picture", &picture, err))
        return false;
    if (!ts_sam_takes(ts_sam_about(s->sam), picture.width, picture.height, err)) {
        ts_image_clear(&picture);
        return false;
    }
    serve_kept *k = serve_make_room(s, s->kept, &picture);
    k->picture = picture;
    if (!encode(s, k, err)) {
        serve_forget(k);
        return false;
    }
    k->id = s->current = serve_next_id(s);
    k->used = ++s->clock;
    cJSON_AddNumberToObject(answer, "picture", (double)k->id);
    cJSON_AddNumberToObject(answer, "width", picture.width);
    cJSON_AddNumberToObject(answer, "height", picture.height);
    return cJSON_AddNumberToObject(answer, "ms", round(ts_now_ms() - began)) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* Brings the picture's embedding into the model. */
static bool recall(serve *s, const serve_kept *k, ts_error *err)
{
    if (s->current == k->id) return true;
    s->current = 0;
    if (!ts_sam_set_embedding(s->sam, k->embedding, k->picture.width, k->picture.height, err)) return false;
    s->current = k->id;
    return true;
}

/* ---- prompts ------------------------------------------------------------------------------------------------------ */

typedef struct {
    float point[2 * MOST_POINTS], box[4 * MOST_BOXES];
    int label[MOST_POINTS];
    int points, boxes;
} prompts;

/* `out` is zero. */
static bool take_numbers(const cJSON *array, int count, const char *what, double out[4], ts_error *err)
{
    const cJSON *number = cJSON_IsArray(array) ? array->child : NULL;
    int n = 0;
    for (; number && cJSON_IsNumber(number) && n < count; number = number->next) out[n++] = number->valuedouble;
    return (n == count && !number) || ts_fail(err, TS_ERR_ARGUMENT, "%s must have %d numbers", what, count);
}

static bool read_prompts(const cJSON *body, prompts *p, ts_error *err)
{
    const cJSON *points = NULL, *boxes = NULL, *one;
    double number[4] = {0};
    if (!ts_page_list(body, "points", 0, MOST_POINTS, &points, err) || !ts_page_list(body, "boxes", 0, MOST_BOXES, &boxes, err))
        return false;
    cJSON_ArrayForEach(one, points)
    {
        if (!take_numbers(one, 3, "a point (x, y, 1 for inside or 0 for outside)", number, err)) return false;
        if (number[2] != 0 && number[2] != 1)
            return ts_fail(err, TS_ERR_ARGUMENT, "a point's third number is 1 for inside or 0 for outside, not %.10g", number[2]);
        p->point[2 * p->points] = (float)number[0];
        p->point[2 * p->points + 1] = (float)number[1];
        p->label[p->points++] = (int)number[2];
    }
    cJSON_ArrayForEach(one, boxes)
    {
        if (!take_numbers(one, 4, "a box (x0, y0, x1, y1)", number, err)) return false;
        for (int i = 0; i < 4; i++) p->box[4 * p->boxes + i] = (float)number[i];
        p->boxes++;
    }
    return true;
}

/* ---- masks -------------------------------------------------------------------------------------------------------- */

/* As COCO has it: [x, y, width, height]. */
static bool add_mask(cJSON *list, const ts_rle *rle, int64_t area, ts_box box, double score, ts_error *err)
{
    cJSON *item = cJSON_CreateObject();
    char *counts = ts_rle_text(rle, err);
    cJSON_AddItemToArray(list, item);
    cJSON_AddItemToObject(item, "size", cJSON_CreateIntArray((const int[]){rle->height, rle->width}, 2));
    cJSON_AddItemToObject(item, "bbox", cJSON_CreateIntArray((const int[]){box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0}, 4));
    cJSON_AddNumberToObject(item, "area", (double)area);
    cJSON_AddNumberToObject(item, "score", score);
    const bool ok = counts && cJSON_AddStringToObject(item, "counts", counts);
    free(counts);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the masks");
}

static bool add_low(serve *s, cJSON *list, const float *low, double score, ts_error *err)
{
    ts_mask mask = {0};
    ts_rle rle = {0};
    const bool ok = ts_sam_mask(s->sam, low, &mask, err) && ts_rle_of(&mask, &rle, err) &&
                    add_mask(list, &rle, ts_mask_area(&mask), ts_mask_box(&mask), score, err);
    ts_rle_clear(&rle);
    ts_mask_clear(&mask);
    return ok;
}

/* Points and at most one box are one prompt; several boxes are a prompt each. The best mask comes first. */
static bool answer_prompts(serve *s, const prompts *p, bool multimask, cJSON *list, ts_error *err)
{
    ts_sam_prompt prompt[MOST_BOXES] = {0};
    ts_sam_answer found = {0};
    const int count = p->boxes > 1 ? p->boxes : 1;
    for (int i = 0; i < count; i++) {
        prompt[i].box = p->boxes ? p->box + 4 * i : NULL;
        if (p->boxes > 1) continue;
        prompt[i].points = p->points;
        prompt[i].point = p->points ? p->point : NULL;
        prompt[i].label = p->points ? p->label : NULL;
    }
    if (!ts_sam_predict(s->sam, prompt, count, &(ts_sam_options){.multimask = multimask}, &found, err)) return false;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        const int best = ts_sam_best(&found, i);
        ok = add_low(s, list, ts_sam_low(&found, i, best), (double)found.score[i * found.each + best], err);
        for (int k = 0; ok && count == 1 && k < found.each; k++)
            if (k != best) ok = add_low(s, list, ts_sam_low(&found, i, k), (double)found.score[i * found.each + k], err);
    }
    ts_sam_answer_clear(&found);
    return ok;
}

static bool tell_done(void *ctx, int64_t done, int64_t all)
{
    ts_page_job *job = ctx;
    cJSON *event = cJSON_CreateObject();
    cJSON_AddNumberToObject(event, "done", (double)done);
    cJSON_AddNumberToObject(event, "all", (double)all);
    ts_page_tell(job, "progress", event);
    return !ts_page_gone(job);
}

static bool find_everything(serve *s, ts_page_job *job, cJSON *list, ts_error *err)
{
    ts_sam_everything_options options = TS_SAM_EVERYTHING;
    ts_sam_all all = {0};
    if (!ts_page_int(ts_page_body(job), "points_per_side", 1, 64, &options.points_per_side, err)) return false;
    options.points_per_batch = 16;
    bool ok = ts_sam_everything(s->sam, NULL, &options, tell_done, job, &all, err);
    for (int64_t i = 0; ok && i < all.count && i < MOST_FOUND; i++)
        ok = add_mask(list, &all.list[i].mask, all.list[i].area, all.list[i].box, all.list[i].predicted_iou, err);
    ts_sam_all_clear(&all);
    return ok;
}

bool serve_masks(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    prompts p = {.points = 0};
    bool everything = false, multimask = true;
    const double began = ts_now_ms();
    if (!ts_page_fields(body, "picture points boxes everything multimask points_per_side", err) || !read_prompts(body, &p, err) ||
        !ts_page_flag(body, "everything", &everything, err) || !ts_page_flag(body, "multimask", &multimask, err))
        return false;
    if (!everything && p.points + p.boxes == 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "nothing is asked for: points, boxes or everything");
    if (everything && p.points + p.boxes > 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "everything is asked for without points and boxes");
    if (p.points > 0 && p.boxes > 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "points go with one box at most, several boxes are asked for alone");
    const serve_kept *k = serve_find_kept(s, s->kept, job, "/v1/segment/pictures", err);
    if (!k || !recall(s, k, err)) return false;
    cJSON *list = cJSON_AddArrayToObject(answer, "masks");
    const bool ok = everything ? find_everything(s, job, list, err) : answer_prompts(s, &p, multimask, list, err);
    return ok && (cJSON_AddNumberToObject(answer, "ms", round((ts_now_ms() - began) * 10) * 0.1) ||
                  ts_fail(err, TS_ERR_MEMORY, "out of memory"));
}

/* ---- cut-outs ----------------------------------------------------------------------------------------------------- */

static bool read_mask(const cJSON *body, const ts_image *picture, ts_mask *out, ts_error *err)
{
    const cJSON *mask = cJSON_GetObjectItemCaseSensitive(body, "mask");
    const char *counts = NULL;
    ts_rle rle = {0};
    if (!cJSON_IsObject(mask)) return ts_fail(err, TS_ERR_ARGUMENT, "mask is missing: one of those that /v1/segment/masks gave");
    if (!ts_page_text(mask, "counts", &counts, err)) return false;
    if (!counts) return ts_fail(err, TS_ERR_ARGUMENT, "the mask has no counts");
    const bool ok = ts_rle_read(counts, picture->width, picture->height, &rle, err) && ts_rle_mask(&rle, out, err);
    ts_rle_clear(&rle);
    return ok;
}

static bool add_png(cJSON *to, const char *name, const uint8_t *pixels, const ts_mask *m, int channels, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!pixels || !ts_png_encode(name, pixels, m->width, m->height, channels, &bytes, &size, err)) return false;
    const bool ok = ts_page_add_bytes(to, name, bytes, size);
    free(bytes);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

bool serve_cutout(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    serve *s = ctx;
    const cJSON *body = ts_page_body(job);
    ts_mask mask = {0};
    if (!ts_page_fields(body, "picture mask", err)) return false;
    const serve_kept *k = serve_find_kept(s, s->kept, job, "/v1/segment/pictures", err);
    if (!k || !read_mask(body, &k->picture, &mask, err)) return false;
    uint8_t *cut = ts_cutout(&k->picture, &mask, err), *grey = ts_mask_grey(&mask, err);
    const bool ok = add_png(answer, "cutout", cut, &mask, 4, err) && add_png(answer, "mask", grey, &mask, 1, err);
    free(cut);
    free(grey);
    ts_mask_clear(&mask);
    return ok;
}
