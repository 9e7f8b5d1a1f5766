/* gfsam.c - GF-SAM (Zhang et al. 2024, "Bridge the Points", NeurIPS): a DINOv2 says which places of the query look like the
 * example's object and not like its background, Segment Anything gives a mask for each of them, and a graph of masks and places
 * says which ones belong together (choose.c). P: places, C numbers each. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 37 /* places a side: 518 pixels in patches of 14 */, AT_ONCE = 16 /* points */ };

typedef struct {
    float *f;      /* (P, C), unit rows */
    float *weight; /* (P): how much of a place is inside */
} shot;

struct ts_gfsam {
    ts_sam *sam;
    ts_dino *dino;
    products *products;
    int side, pixels, width; /* places and pixels a side of what the DINO sees, C */
    int square;              /* pixels a side that pictures are squeezed to */
    shot *shot;
    int shots;
};

ts_gfsam *ts_gfsam_new(ts_device *dev, const ts_gfsam_desc *desc, ts_error *err)
{
    ts_gfsam *m = calloc(1, sizeof *m);
    if (!m) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    m->side = SIDE;
    bool ok = (m->sam = ts_sam_new(dev, &(ts_sam_desc){.weights = desc->weights, .batch = AT_ONCE}, err)) &&
              (m->dino = ts_dino_new(dev, desc->features, SIDE, SIDE, err));
    if (ok) {
        m->square = ts_sam_about(m->sam)->picture;
        m->pixels = SIDE * ts_dino_about(m->dino)->patch;
        m->width = ts_dino_about(m->dino)->width;
        m->products = ts_products_new(dev, (int64_t)SIDE * SIDE, m->width);
        if (!m->products) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    if (ok) return m;
    ts_gfsam_free(m);
    return NULL;
}

void ts_gfsam_forget(ts_gfsam *m)
{
    for (int i = 0; i < m->shots; i++) {
        free(m->shot[i].f);
        free(m->shot[i].weight);
    }
    free(m->shot);
    m->shot = NULL;
    m->shots = 0;
}

void ts_gfsam_free(ts_gfsam *m)
{
    if (!m) return;
    ts_gfsam_forget(m);
    ts_products_free(m->products);
    ts_dino_free(m->dino);
    ts_sam_free(m->sam);
    free(m);
}

/* ---- features ---- */

/* Each channel brought to length 1 over all places, and then each place over its channels, as the published code does. */
static void make_unit(float *f, int64_t places, int64_t width)
{
    for (int64_t k = 0; k < width; k++) {
        double square = 0;
        for (int64_t p = 0; p < places; p++) square += (double)f[p * width + k] * (double)f[p * width + k];
        const double scale = 1 / fmax(sqrt(square), 1e-12);
        for (int64_t p = 0; p < places; p++) f[p * width + k] = (float)((double)f[p * width + k] * scale);
    }
    for (int64_t p = 0; p < places; p++) {
        double square = 0;
        for (int64_t k = 0; k < width; k++) square += (double)f[p * width + k] * (double)f[p * width + k];
        const double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (int64_t k = 0; k < width; k++) f[p * width + k] = (float)((double)f[p * width + k] * scale);
    }
}

/* The squeezed picture brought to what the DINO sees, bilinear without antialias: (pixels, pixels, 3), normalised. */
static bool shrink(const ts_gfsam *m, const ts_image *square, float *out, ts_error *err)
{
    const int64_t large = (int64_t)square->width * square->height, small = (int64_t)m->pixels * m->pixels;
    const uint8_t ends[6] = {0, 0, 0, 255, 255, 255};
    float *in = calloc((size_t)large, sizeof *in), *plane = calloc((size_t)small, sizeof *plane), range[6];
    const bool ok = in && plane;
    ts_dino_normalise(ends, 2, range); /* it is linear: what becomes of black and of white tells all */
    for (int c = 0; ok && c < 3; c++) {
        for (int64_t i = 0; i < large; i++) in[i] = (float)square->data[3 * i + c] / 255;
        ts_map_resize(in, square->height, square->width, false, plane, m->pixels, m->pixels);
        for (int64_t i = 0; i < small; i++) out[3 * i + c] = range[c] + plane[i] * (range[3 + c] - range[c]);
    }
    free(in);
    free(plane);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture of %d x %d", square->width, square->height);
}

static bool find_features(ts_gfsam *m, const ts_image *square, float *f, ts_error *err)
{
    float *pixels = calloc((size_t)m->pixels * (size_t)m->pixels * 3, sizeof *pixels);
    bool ok = pixels != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && shrink(m, square, pixels, err) && ts_dino_encode(m->dino, pixels, false, f, err);
    if (ok) make_unit(f, (int64_t)m->side * m->side, m->width);
    free(pixels);
    return ok;
}

/* ---- an example ---- */

/* The mask squeezed as the picture is (nearest), and brought to the places with its corners on theirs. */
static bool find_weight(const ts_gfsam *m, const ts_mask *mask, float *weight, ts_error *err)
{
    const int size = m->square;
    float *square = calloc((size_t)size * (size_t)size, sizeof *square);
    if (!square) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask");
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const int64_t from_y = (int64_t)y * mask->height / size, from_x = (int64_t)x * mask->width / size;
            square[(int64_t)y * size + x] = mask->data[from_y * mask->width + from_x];
        }
    ts_map_resize(square, size, size, true, weight, m->side, m->side);
    free(square);
    return true;
}

static bool add_shot(ts_gfsam *m, const ts_image *square, const ts_mask *mask, ts_error *err)
{
    const size_t places = (size_t)m->side * (size_t)m->side;
    shot *grown = realloc(m->shot, (size_t)(m->shots + 1) * sizeof *grown);
    if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    m->shot = grown;
    shot s = {.f = calloc(places * (size_t)m->width, sizeof *s.f), .weight = calloc(places, sizeof *s.weight)};
    bool ok = s.f && s.weight;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    ok = ok && find_features(m, square, s.f, err) && find_weight(m, mask, s.weight, err);
    if (ok) {
        m->shot[m->shots++] = s;
        return true;
    }
    free(s.f);
    free(s.weight);
    return false;
}

bool ts_gfsam_example(ts_gfsam *m, const ts_image *picture, const ts_mask *mask, ts_error *err)
{
    ts_image square = {0};
    const bool ok = ts_example_check(picture, mask, err) &&
                    ts_image_resize(picture, m->square, m->square, TS_RESIZE_BILINEAR, &square, err) &&
                    add_shot(m, &square, mask, err);
    ts_image_clear(&square);
    return ok;
}

/* ---- the query ---- */

/* What the features say of the query: see gfsam_maps; `most` is of the object alone. */
typedef struct {
    float *f, *all, *most, *mean, *negative, *other, *unused; /* `other`: 1 - weight */
} maps;

static void maps_free(maps *a)
{
    free(a->f);
    free(a->all);
    free(a->most);
    free(a->mean);
    free(a->negative);
    free(a->other);
    free(a->unused);
}

static bool maps_new(const ts_gfsam *m, maps *a, ts_error *err)
{
    const size_t places = (size_t)m->side * (size_t)m->side;
    *a = (maps){.f = calloc(places * (size_t)m->width, sizeof *a->f),
                .all = calloc(places * places, sizeof *a->all),
                .most = calloc(places, sizeof *a->most),
                .mean = calloc(places, sizeof *a->mean),
                .negative = calloc(places, sizeof *a->negative),
                .other = calloc(places, sizeof *a->other),
                .unused = calloc(places, sizeof *a->unused)};
    if (a->f && a->all && a->most && a->mean && a->negative && a->other && a->unused) return true;
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld places", (long long)places);
}

/* The means over the examples; a->all ends as the query's own. */
static bool compare(ts_gfsam *m, maps *a, ts_error *err)
{
    const int64_t places = (int64_t)m->side * m->side;
    for (int i = 0; i < m->shots; i++) {
        const shot *s = &m->shot[i];
        if (!ts_products_all(m->products, a->f, s->f, a->all, err)) return false;
        for (int64_t p = 0; p < places; p++) a->other[p] = 1 - s->weight[p];
        ts_gfsam_prior(a->all, s->weight, places, a->most, a->mean);
        ts_gfsam_prior(a->all, a->other, places, a->unused, a->negative);
    }
    for (int64_t p = 0; p < places; p++) {
        a->most[p] /= (float)m->shots;
        a->mean[p] /= (float)m->shots;
        a->negative[p] /= (float)m->shots;
    }
    return ts_products_all(m->products, a->f, a->f, a->all, err);
}

/* One mask for each point, as large as the squeezed picture. */
static bool ask(ts_gfsam *m, const int *point, int count, ts_mask *mask, ts_error *err)
{
    float at[TS_GFSAM_POINTS][2];
    ts_sam_prompt prompt[TS_GFSAM_POINTS];
    static const int in = 1;
    const double scale = (double)m->square / m->side;
    for (int i = 0; i < count; i++) { /* a place's corner, in whole pixels, as published */
        const int x = point[i] % m->side, y = point[i] / m->side;
        at[i][0] = floorf((float)(x * scale));
        at[i][1] = floorf((float)(y * scale));
        prompt[i] = (ts_sam_prompt){.points = 1, .point = at[i], .label = &in};
    }
    ts_sam_answer answer = {0};
    bool ok = ts_sam_predict(m->sam, prompt, count, &(ts_sam_options){0}, &answer, err);
    for (int i = 0; ok && i < count; i++) ok = ts_sam_mask(m->sam, ts_sam_low(&answer, i, 0), &mask[i], err);
    ts_sam_answer_clear(&answer);
    return ok;
}

/* A squeezed mask back at the query's size, bilinear and cut at a half. */
static bool unsqueeze(const ts_mask *square, int width, int height, ts_mask *out, ts_error *err)
{
    const int64_t few = (int64_t)square->width * square->height, all = (int64_t)width * height;
    float *in = calloc((size_t)few, sizeof *in), *map = calloc((size_t)all, sizeof *map);
    bool ok = in && map;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask of %d x %d", width, height);
    ok = ok && ts_mask_new(width, height, out, err);
    if (ok) {
        for (int64_t i = 0; i < few; i++) in[i] = square->data[i];
        ts_map_resize(in, square->height, square->width, false, map, height, width);
        for (int64_t i = 0; i < all; i++) out->data[i] = map[i] > 0.5F;
    }
    free(in);
    free(map);
    return ok;
}

static bool segment(ts_gfsam *m, const ts_image *square, maps *a, ts_mask *chosen, ts_error *err)
{
    int point[TS_GFSAM_POINTS];
    ts_mask mask[TS_GFSAM_POINTS] = {{0, 0, NULL}};
    const gfsam_maps said = {m->side, a->all, a->mean, a->negative};
    if (!find_features(m, square, a->f, err) || !compare(m, a, err)) return false;
    const int count = ts_gfsam_points(&said, a->most, point, err);
    if (count == 0) return ts_mask_new(m->square, m->square, chosen, err);
    const bool ok = count > 0 && ts_sam_set_picture(m->sam, square, err) && ask(m, point, count, mask, err) &&
                    ts_gfsam_choose(&said, point, mask, count, chosen, err);
    for (int i = 0; i < count; i++) ts_mask_clear(&mask[i]);
    return ok;
}

bool ts_gfsam_segment(ts_gfsam *m, const ts_image *query, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    if (m->shots == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no example to segment by");
    ts_image square = {0};
    ts_mask chosen = {0};
    maps a = {0};
    const bool ok = maps_new(m, &a, err) && ts_image_resize(query, m->square, m->square, TS_RESIZE_BILINEAR, &square, err) &&
                    segment(m, &square, &a, &chosen, err) && unsqueeze(&chosen, query->width, query->height, out, err);
    maps_free(&a);
    ts_image_clear(&square);
    ts_mask_clear(&chosen);
    return ok;
}
