/* words.c - masks ranked by words. A SAM knows no words, and the encoder of words that its paper tries was never published; but a
 * CLIP tells how much a crop is like them. Each mask is shown to it twice, in a square around its box: with what stands around
 * it, which tells what it is a part of, and with grey in place of that, which tells it from its neighbours. Its likeness is the
 * mean of both. */
#include "cli/segment/segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VIEWS = 2, BATCH = 16 };

bool segment_words_open(segment_job *j, ts_error *err)
{
    ts_clip_use *u = &j->clip;
    u->common = j->common;
    u->announced = true;
    if (!ts_clip_use_open(u, true, err)) return false;
    /* Words that are too many are told before the work. */
    int32_t *tokens = calloc((size_t)u->config.context, sizeof *tokens);
    bool ok = tokens || ts_fail(err, TS_ERR_MEMORY, "out of memory for the words");
    ok = ok && ts_tokenizer_tokens(u->tokenizer, j->text, u->config.context, u->cut, tokens, err) >= 0;
    free(tokens);
    return ok;
}

bool segment_words_start(segment_job *j, ts_error *err)
{
    ts_clip_use *u = &j->clip;
    u->clip = ts_clip_new(j->dev, u->weights, &u->told, err);
    j->text_features = malloc((size_t)u->config.embed * sizeof *j->text_features);
    if (!j->text_features) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the words");
    return u->clip && ts_clip_use_texts(u, &j->text, 1, j->text_features, err);
}

/* The square that a box stands in the middle of, wider by a tenth, of the picture; grey where it leaves the picture, and outside
 * of the mask where there is one. */
static bool crop_square(const ts_image *picture, const ts_box *b, const ts_mask *m, ts_image *out, ts_error *err)
{
    enum { GREY = 122 };
    const int width = b->x1 - b->x0 + 1, height = b->y1 - b->y0 + 1, longer = width > height ? width : height;
    const int side = longer + longer / 10, x0 = b->x0 + (width - side) / 2, y0 = b->y0 + (height - side) / 2;
    if (!ts_image_new(side, side, out, err)) return false;
    memset(out->data, GREY, (size_t)side * (size_t)side * 3);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            const int u = x0 + x, v = y0 + y;
            if (u < 0 || v < 0 || u >= picture->width || v >= picture->height) continue;
            const size_t at = (size_t)v * (size_t)picture->width + (size_t)u;
            if (!m || m->data[at]) memcpy(out->data + ((size_t)y * (size_t)side + (size_t)x) * 3, picture->data + 3 * at, 3);
        }
    return true;
}

static bool show(const ts_image *picture, const segment_mask *m, int view, int side, float *pixels, ts_error *err)
{
    ts_mask mask = {0};
    ts_image crop = {0};
    const bool ok = (view == 0 || ts_rle_mask(&m->found.mask, &mask, err)) &&
                    crop_square(picture, &m->found.box, view == 0 ? NULL : &mask, &crop, err) &&
                    ts_clip_preprocess(&crop, side, pixels, err);
    ts_image_clear(&crop);
    ts_mask_clear(&mask);
    return ok;
}

/* Adds each view's share to its mask's likeness; views in the order of masks. */
static bool compare(segment_job *j, const ts_image *picture, segment_masks *m, float *pixels, float *features, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(j->clip.clip);
    const size_t one = (size_t)c->image * (size_t)c->image * 3, embed = (size_t)c->embed;
    const int all = m->count * VIEWS;
    for (int first = 0; first < all; first += BATCH) {
        const int count = all - first < BATCH ? all - first : BATCH;
        for (int i = 0; i < count; i++)
            if (!show(picture, &m->list[(first + i) / VIEWS], (first + i) % VIEWS, c->image, pixels + (size_t)i * one, err))
                return false;
        if (!ts_clip_encode_images(j->clip.clip, pixels, count, features, err)) return false;
        for (int i = 0; i < count; i++) {
            double sum = 0;
            for (size_t k = 0; k < embed; k++) sum += (double)features[(size_t)i * embed + k] * (double)j->text_features[k];
            m->list[(first + i) / VIEWS].similarity += (float)(sum / VIEWS);
        }
    }
    return true;
}

static int most_like_first(const void *a, const void *b)
{
    const segment_mask *x = a, *y = b;
    if (x->similarity != y->similarity) return x->similarity < y->similarity ? 1 : -1;
    return x->found.area < y->found.area ? 1 : x->found.area > y->found.area ? -1 : 0;
}

bool segment_words_rank(segment_job *j, const ts_image *picture, segment_masks *m, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(j->clip.clip);
    float *pixels = malloc((size_t)BATCH * (size_t)c->image * (size_t)c->image * 3 * sizeof *pixels);
    float *features = malloc((size_t)BATCH * (size_t)c->embed * sizeof *features);
    const bool room = pixels && features;
    const bool ok =
        room ? compare(j, picture, m, pixels, features, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for %d crops", BATCH);
    free(pixels);
    free(features);
    if (!ok) return false;
    qsort(m->list, (size_t)m->count, sizeof *m->list, most_like_first);
    while (m->count > j->top) ts_rle_clear(&m->list[--m->count].found.mask);
    return true;
}
