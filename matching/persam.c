/* persam.c - PerSAM and PerSAM-F (Zhang et al. 2023, arXiv 2305.03048): what Segment Anything's own features say of the example's
 * object is looked for in the query; where it is most and least is pointed at, and the answer refined twice. L: places of the map
 * of features, E numbers each. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PIXELS = 1 << 20 /* of an example, in tuning; of larger ones every second is taken, or third */ };

typedef struct {
    float *embedding; /* (L, E) */
    ts_mask mask;
} shot;

struct ts_persam {
    ts_sam *sam;
    bool tune, tuned;
    int places, width;
    double *sum; /* (E): of the examples' targets */
    int shots;
    shot *shot; /* with tune: until it is done */
    int scales;
    double weight[TS_SAM_MAX_MASKS];
};

ts_persam *ts_persam_new(ts_device *dev, const ts_persam_desc *desc, ts_error *err)
{
    ts_persam *m = calloc(1, sizeof *m);
    if (!m) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    m->tune = desc->tune;
    bool ok = (m->sam = ts_sam_new(dev, &(ts_sam_desc){.weights = desc->weights, .batch = 1}, err)) != NULL;
    if (ok) {
        const ts_sam_config *c = ts_sam_about(m->sam);
        m->places = c->side * c->side;
        m->width = c->embed;
        m->sum = calloc((size_t)m->width, sizeof *m->sum);
        if (!m->sum) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    if (ok) return m;
    ts_persam_free(m);
    return NULL;
}

static void forget_shots(ts_persam *m)
{
    for (int i = 0; m->shot && i < m->shots; i++) {
        free(m->shot[i].embedding);
        ts_mask_clear(&m->shot[i].mask);
    }
    free(m->shot);
    m->shot = NULL;
}

void ts_persam_forget(ts_persam *m)
{
    forget_shots(m);
    m->shots = 0;
    m->tuned = false;
    for (int k = 0; k < m->width; k++) m->sum[k] = 0;
}

void ts_persam_free(ts_persam *m)
{
    if (!m) return;
    forget_shots(m);
    free(m->sum);
    ts_sam_free(m->sam);
    free(m);
}

int ts_persam_scales(const ts_persam *m, double out[TS_SAM_MAX_MASKS])
{
    for (int i = 0; m->tuned && i < m->scales; i++) out[i] = m->weight[i];
    return m->tuned ? m->scales : 0;
}

/* ---- an example ---- */

/* The mask's middle, as a place of the map. */
static int middle_place(const ts_mask *mask, int side)
{
    int64_t count = 0, x_sum = 0, y_sum = 0;
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++)
            if (mask->data[(int64_t)y * mask->width + x]) count++, x_sum += x, y_sum += y;
    const int64_t longest = mask->width > mask->height ? mask->width : mask->height;
    if (count == 0) return 0;
    return (int)(y_sum / count * side / longest * side + x_sum / count * side / longest);
}

/* Which places the mask covers, as published: the mask goes the picture's way into the network, its brightness normalised and its
 * border zeros, and then bilinear to the map; above 0 is inside. One that covers none counts for its middle. */
static bool cover_places(const ts_persam *m, const ts_mask *mask, uint8_t *inside, ts_error *err)
{
    const ts_sam_config *c = ts_sam_about(m->sam);
    const int side = c->picture, longest = mask->width > mask->height ? mask->width : mask->height;
    const double scale = (double)side / longest;
    const int width = (int)(mask->width * scale + 0.5), height = (int)(mask->height * scale + 0.5);
    const int64_t pixels = (int64_t)mask->width * mask->height;
    ts_image light = {0}, resized = {0};
    float *square = calloc((size_t)side * (size_t)side, sizeof *square), *map = calloc((size_t)m->places, sizeof *map);
    bool ok = square && map;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask");
    ok = ok && ts_image_new(mask->width, mask->height, &light, err);
    for (int64_t i = 0; ok && i < 3 * pixels; i++) light.data[i] = mask->data[i / 3] ? 255 : 0;
    ok = ok && ts_image_resize(&light, width > 0 ? width : 1, height > 0 ? height : 1, TS_RESIZE_BILINEAR, &resized, err);
    if (ok) {
        for (int y = 0; y < resized.height; y++)
            for (int x = 0; x < resized.width; x++)
                square[(int64_t)y * side + x] = ((float)resized.data[((int64_t)y * resized.width + x) * 3] - 123.675F) / 58.395F;
        ts_map_resize(square, side, side, false, map, c->side, c->side);
        int found = 0;
        for (int p = 0; p < m->places; p++) found += inside[p] = map[p] > 0;
        if (found == 0) inside[middle_place(mask, c->side)] = 1;
    }
    ts_image_clear(&light);
    ts_image_clear(&resized);
    free(square);
    free(map);
    return ok;
}

/* Adds the object's features: their mean; for PerSAM-F half of it and half of the largest of each number. */
static void add_target(ts_persam *m, const float *f, const uint8_t *inside)
{
    for (int k = 0; k < m->width; k++) {
        double sum = 0, most = -INFINITY;
        int count = 0;
        for (int p = 0; p < m->places; p++) {
            if (!inside[p]) continue;
            const double v = (double)f[(int64_t)p * m->width + k];
            sum += v;
            most = v > most ? v : most;
            count++;
        }
        m->sum[k] += m->tune ? sum / count / 2 + most / 2 : sum / count;
    }
}

/* For tuning, which wants the objects of all examples first. */
static bool keep_shot(ts_persam *m, const ts_mask *mask, ts_error *err)
{
    const size_t size = (size_t)m->places * (size_t)m->width * sizeof(float);
    shot *grown = realloc(m->shot, (size_t)(m->shots + 1) * sizeof *grown);
    if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    m->shot = grown;
    shot s = {.embedding = malloc(size)};
    if (!s.embedding || !ts_mask_new(mask->width, mask->height, &s.mask, err)) {
        free(s.embedding);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    }
    memcpy(s.embedding, ts_sam_embedding(m->sam), size);
    memcpy(s.mask.data, mask->data, (size_t)mask->width * (size_t)mask->height);
    m->shot[m->shots] = s;
    return true;
}

bool ts_persam_example(ts_persam *m, const ts_image *picture, const ts_mask *mask, ts_error *err)
{
    if (!ts_example_check(picture, mask, err)) return false;
    if (m->tuned) return ts_fail(err, TS_ERR_ARGUMENT, "an example more comes too late: the scales are learned already");
    uint8_t *inside = calloc((size_t)m->places, 1);
    bool ok = inside != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_sam_set_picture(m->sam, picture, err) && cover_places(m, mask, inside, err) &&
         (!m->tune || keep_shot(m, mask, err));
    if (ok) add_target(m, ts_sam_embedding(m->sam), inside);
    m->shots += ok;
    free(inside);
    return ok;
}

/* ---- where it is ---- */

/* Cosine of each place to the examples' object, brought to the picture's size: like (height, width). */
static bool find_like(const ts_persam *m, float *like, ts_error *err)
{
    const ts_sam_config *c = ts_sam_about(m->sam);
    const float *f = ts_sam_embedding(m->sam);
    float *map = calloc((size_t)m->places, sizeof *map), *low = calloc((size_t)c->low * (size_t)c->low, sizeof *low);
    double length = 0;
    bool ok = map && low;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int k = 0; k < m->width; k++) length += m->sum[k] * m->sum[k];
    for (int p = 0; ok && p < m->places; p++) {
        double dot = 0, square = 0;
        for (int k = 0; k < m->width; k++) {
            const double v = (double)f[(int64_t)p * m->width + k];
            dot += v * m->sum[k];
            square += v * v;
        }
        map[p] = square > 0 && length > 0 ? (float)(dot / sqrt(square * length)) : 0;
    }
    if (ok) ts_map_resize(map, c->side, c->side, false, low, c->low, c->low);
    ok = ok && ts_sam_full(m->sam, low, like, err);
    free(map);
    free(low);
    return ok;
}

/* Where the likeness is largest, or smallest: the first pixel of those that single precision cannot tell from it. At a picture's
 * edge there are several, which rounding alone would choose from. */
static void point_at(const float *like, int width, int height, bool largest, float point[2])
{
    const int64_t pixels = (int64_t)width * height;
    float best = largest ? -INFINITY : INFINITY;
    int64_t at = 0;
    for (int64_t i = 0; i < pixels; i++) best = largest ? fmaxf(best, like[i]) : fminf(best, like[i]);
    while (at < pixels - 1 && !(fabsf(like[at] - best) <= 1e-5F)) at++;
    const int64_t x = at % width, y = at / width;
    point[0] = (float)x;
    point[1] = (float)y;
}

/* What the decoder is guided by: the likeness, standardised over the picture and squeezed to the map, through a sigmoid. */
static void guide_map(const ts_persam *m, const float *like, int width, int height, float *map)
{
    const int side = ts_sam_about(m->sam)->side;
    const int64_t pixels = (int64_t)width * height;
    double sum = 0, square = 0;
    for (int64_t i = 0; i < pixels; i++) sum += (double)like[i];
    const double mean = sum / (double)pixels;
    for (int64_t i = 0; i < pixels; i++) square += ((double)like[i] - mean) * ((double)like[i] - mean);
    const double deviation = sqrt(square / (double)(pixels > 1 ? pixels - 1 : 1));
    ts_map_resize(like, height, width, false, map, side, side);
    for (int p = 0; p < m->places; p++) {
        const double z = deviation > 0 ? ((double)map[p] - mean) / deviation : 0;
        map[p] = (float)(1 / (1 + exp(-z)));
    }
}

/* ---- answers ---- */

/* Asks again with the last logits, and from its second time on with the box around the last mask; `low` becomes the best of the
 * masks, and `mask` it at the picture's size. */
static bool refine(ts_persam *m, const ts_sam_prompt *points, bool boxed, float *low, ts_mask *mask, ts_error *err)
{
    const ts_box b = boxed ? ts_mask_box(mask) : (ts_box){0};
    const float box[4] = {(float)b.x0, (float)b.y0, (float)b.x1, (float)b.y1};
    ts_sam_prompt prompt = *points;
    ts_sam_answer answer = {0};
    prompt.prior = low;
    /* Nothing, or a line of pixels, has no box to look into: then it stays. */
    if (boxed && (ts_mask_area(mask) == 0 || b.x1 <= b.x0 || b.y1 <= b.y0)) return true;
    if (boxed) prompt.box = box;
    const int side = ts_sam_about(m->sam)->low;
    bool ok = ts_sam_predict(m->sam, &prompt, 1, &(ts_sam_options){.multimask = true}, &answer, err);
    if (ok) memcpy(low, ts_sam_low(&answer, 0, ts_sam_best(&answer, 0)), (size_t)side * (size_t)side * sizeof *low);
    ts_sam_answer_clear(&answer);
    if (!ok) return false;
    ts_mask_clear(mask);
    return ts_sam_mask(m->sam, low, mask, err);
}

/* The sum of the scales' logits by their weights. */
static void mix(const ts_persam *m, const ts_sam_answer *answer, float *low)
{
    const int64_t count = (int64_t)answer->low * answer->low;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int s = 0; s < answer->each; s++) sum += m->weight[s] * (double)answer->logits[s * count + i];
        low[i] = (float)sum;
    }
}

/* PerSAM: one mask by a point in and a point out, guided; refined without and then with a box. */
static bool segment_plain(ts_persam *m, const float *like, int width, int height, float *low, ts_mask *out, ts_error *err)
{
    float points[4], *map = calloc((size_t)m->places, sizeof *map), *target = calloc((size_t)m->width, sizeof *target);
    ts_sam_answer answer = {0};
    bool ok = map && target;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    point_at(like, width, height, true, points);
    point_at(like, width, height, false, points + 2);
    const ts_sam_prompt prompt = {.points = 2, .point = points, .label = (const int[]){1, 0}};
    if (ok) {
        guide_map(m, like, width, height, map);
        for (int k = 0; k < m->width; k++) target[k] = (float)(m->sum[k] / m->shots);
        const ts_sam_guide guide = {map, target};
        ok = ts_sam_predict(m->sam, &prompt, 1, &(ts_sam_options){.guide = &guide}, &answer, err);
    }
    if (ok) memcpy(low, answer.logits, (size_t)answer.low * (size_t)answer.low * sizeof *low);
    ts_sam_answer_clear(&answer);
    free(map);
    free(target);
    return ok && refine(m, &prompt, false, low, out, err) && refine(m, &prompt, true, low, out, err);
}

/* PerSAM-F: the mixed mask by a point in; refined with a box twice. */
static bool segment_mixed(ts_persam *m, const float *like, int width, int height, float *low, ts_mask *out, ts_error *err)
{
    float point[2];
    ts_sam_answer answer = {0};
    point_at(like, width, height, true, point);
    const ts_sam_prompt prompt = {.points = 1, .point = point, .label = (const int[]){1}};
    const bool ok = ts_sam_predict(m->sam, &prompt, 1, &(ts_sam_options){.multimask = true}, &answer, err);
    if (ok) mix(m, &answer, low);
    ts_sam_answer_clear(&answer);
    return ok && ts_sam_mask(m->sam, low, out, err) && refine(m, &prompt, true, low, out, err) &&
           refine(m, &prompt, true, low, out, err);
}

/* ---- tuning ---- */

typedef struct {
    float *logits;
    uint8_t *inside;
} owned;

/* Every step-th pixel of what the decoder says of an example, at its own size. */
static bool thin_case(const ts_persam *m, const ts_sam_answer *answer, const ts_mask *mask, owned *o, scale_case *c,
                      ts_error *err)
{
    int step = 1;
    while ((int64_t)((mask->width + step - 1) / step) * ((mask->height + step - 1) / step) > MOST_PIXELS) step++;
    const int columns = (mask->width + step - 1) / step, rows = (mask->height + step - 1) / step;
    c->pixels = (int64_t)columns * rows;
    float *full = calloc((size_t)mask->width * (size_t)mask->height, sizeof *full);
    o->logits = calloc((size_t)c->pixels * (size_t)answer->each, sizeof *o->logits);
    o->inside = calloc((size_t)c->pixels, 1);
    bool ok = full && o->logits && o->inside;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for an example of %d x %d", mask->width, mask->height);
    for (int s = 0; ok && s < answer->each; s++) {
        ok = ts_sam_full(m->sam, ts_sam_low(answer, 0, s), full, err);
        for (int64_t i = 0; ok && i < c->pixels; i++)
            o->logits[s * c->pixels + i] = full[i / columns * step * mask->width + i % columns * step];
    }
    for (int64_t i = 0; ok && i < c->pixels; i++)
        o->inside[i] = mask->data[i / columns * step * mask->width + i % columns * step];
    c->logits = o->logits;
    c->inside = o->inside;
    free(full);
    return ok;
}

static bool make_case(ts_persam *m, const shot *s, owned *o, scale_case *c, ts_error *err)
{
    float point[2], *like = calloc((size_t)s->mask.width * (size_t)s->mask.height, sizeof *like);
    ts_sam_answer answer = {0};
    bool ok = like != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_sam_set_embedding(m->sam, s->embedding, s->mask.width, s->mask.height, err) && find_like(m, like, err);
    if (ok) {
        point_at(like, s->mask.width, s->mask.height, true, point);
        const ts_sam_prompt prompt = {.points = 1, .point = point, .label = (const int[]){1}};
        ok = ts_sam_predict(m->sam, &prompt, 1, &(ts_sam_options){.multimask = true}, &answer, err);
    }
    ok = ok && thin_case(m, &answer, &s->mask, o, c, err);
    m->scales = answer.each;
    ts_sam_answer_clear(&answer);
    free(like);
    return ok;
}

static bool tune(ts_persam *m, ts_error *err)
{
    owned *own = calloc((size_t)m->shots, sizeof *own);
    scale_case *list = calloc((size_t)m->shots, sizeof *list);
    bool ok = own && list;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; ok && i < m->shots; i++) ok = make_case(m, &m->shot[i], &own[i], &list[i], err);
    ok = ok && ts_tune_scales(list, m->shots, m->scales, m->weight, err);
    for (int i = 0; own && i < m->shots; i++) {
        free(own[i].logits);
        free(own[i].inside);
    }
    free(own);
    free(list);
    if (ok) forget_shots(m);
    m->tuned = ok;
    return ok;
}

bool ts_persam_segment(ts_persam *m, const ts_image *query, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    if (m->shots == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no example to segment by");
    if (m->tune && !m->tuned && !tune(m, err)) return false;
    const int side = ts_sam_about(m->sam)->low;
    float *like = calloc((size_t)query->width * (size_t)query->height, sizeof *like);
    float *low = calloc((size_t)side * (size_t)side, sizeof *low);
    bool ok = like && low;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture of %d x %d", query->width, query->height);
    ok = ok && ts_sam_set_picture(m->sam, query, err) && find_like(m, like, err) &&
         (m->tune ? segment_mixed : segment_plain)(m, like, query->width, query->height, low, out, err);
    if (!ok) ts_mask_clear(out);
    free(like);
    free(low);
    return ok;
}
