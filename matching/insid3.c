/* insid3.c - INSID3 (Cuttano et al. 2026, arXiv 2603.28480): places of the query that look like the example's object, and whose
 * own nearest place in the example lies on it, are candidates; the query's features are clustered, and the clusters that agree
 * with the candidates and with the best of themselves are the answer. What the features tell of where a place is, and not of what
 * is there, is taken out beforehand (the paper's section 3.2). F: unit features (P, C); G: the same without positions. */
#include "matching/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    float *g;        /* (P, C) */
    uint8_t *inside; /* (P) */
} shot;

struct ts_insid3 {
    ts_insid3_desc desc;
    features *features;
    products *products;
    int places, width, components;
    float *basis; /* (components, C); NULL until it is needed */
    shot *shot;
    int shots;
    double *prototype; /* (C): sum over shots of the mean of G under the mask */
};

/* ---- the model ---- */

/* As many as were published for the two widths that there are numbers of, and in the latter's proportion below. */
static int default_components(int width)
{
    const int some = width >= 1024 ? 500 : width * 20 / 768;
    return some > 0 ? some : 1;
}

ts_insid3 *ts_insid3_new(ts_device *dev, const ts_insid3_desc *desc, ts_error *err)
{
    ts_insid3 *m = calloc(1, sizeof *m);
    if (!m) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    m->desc = *desc;
    if (m->desc.side == 0) m->desc.side = 64;
    if (m->desc.likeness == 0) m->desc.likeness = 0.6;
    if (m->desc.threshold == 0) m->desc.threshold = 0.2;
    bool ok = true;
    if (m->desc.side < 2 || m->desc.side > TS_INSID3_MOST_SIDE)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "pictures of %d x %d places: 2 to %d a side are possible", m->desc.side, m->desc.side,
                     TS_INSID3_MOST_SIDE);
    ok = ok && (m->features = ts_features_new(dev, desc->weights, &m->desc.told, m->desc.side, err)) != NULL;
    if (ok) {
        m->places = m->desc.side * m->desc.side;
        m->width = ts_features_width(m->features);
        m->components = desc->components ? desc->components : default_components(m->width);
        if (m->components > m->places - 1) m->components = m->places - 1; /* there are no more directions */
        if (m->components < 1 || m->components >= m->width)
            ok = ts_fail(err, TS_ERR_ARGUMENT, "%d components of features that are %d wide: fewer must be taken out",
                         m->components, m->width);
    }
    if (ok && !((m->products = ts_products_new(dev, m->places, m->width)) &&
                (m->prototype = calloc((size_t)m->width, sizeof *m->prototype))))
        ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (ok) return m;
    ts_insid3_free(m);
    return NULL;
}

void ts_insid3_forget(ts_insid3 *m)
{
    for (int i = 0; i < m->shots; i++) {
        free(m->shot[i].g);
        free(m->shot[i].inside);
    }
    free(m->shot);
    m->shot = NULL;
    m->shots = 0;
    for (int k = 0; m->prototype && k < m->width; k++) m->prototype[k] = 0;
}

void ts_insid3_free(ts_insid3 *m)
{
    if (!m) return;
    ts_insid3_forget(m);
    free(m->basis);
    free(m->prototype);
    ts_products_free(m->products);
    ts_features_free(m->features);
    free(m);
}

ts_insid3_info ts_insid3_about(const ts_insid3 *m)
{
    return (ts_insid3_info){m->desc.side, ts_features_pixels(m->features), m->width, m->components};
}

/* What the features of a picture that shows nothing tell apart are its places. */
static bool find_basis(ts_insid3 *m, ts_error *err)
{
    if (m->basis) return true;
    float *nothing = calloc((size_t)m->places * (size_t)m->width, sizeof *nothing);
    float *basis = calloc((size_t)m->components * (size_t)m->width, sizeof *basis);
    bool ok = nothing && basis;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for features of %d places", m->places);
    ok = ok && ts_features_of(m->features, NULL, nothing, err) &&
         ts_position_basis(nothing, m->places, m->width, m->components, basis, err);
    free(nothing);
    if (ok) m->basis = basis;
    else free(basis);
    return ok;
}

/* ---- an example ---- */

/* The mean of the rows of x that are inside, of which there is one -> (C), brought to length 1 with `unit`. */
static void mean_of(const float *x, const uint8_t *inside, int places, int width, bool unit, double *mean)
{
    int64_t count = 0;
    double square = 0;
    for (int k = 0; k < width; k++) mean[k] = 0;
    for (int p = 0; p < places; p++) {
        count += inside[p];
        for (int k = 0; inside[p] && k < width; k++) mean[k] += (double)x[(int64_t)p * width + k];
    }
    for (int k = 0; k < width; k++) mean[k] /= (double)count, square += mean[k] * mean[k];
    for (int k = 0; unit && square > 0 && k < width; k++) mean[k] /= sqrt(square);
}

static bool add_shot(ts_insid3 *m, shot s, ts_error *err)
{
    double *mean = calloc((size_t)m->width, sizeof *mean);
    shot *grown = realloc(m->shot, (size_t)(m->shots + 1) * sizeof *grown);
    if (grown) m->shot = grown;
    if (!mean || !grown) {
        free(mean);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    }
    mean_of(s.g, s.inside, m->places, m->width, false, mean);
    for (int k = 0; k < m->width; k++) m->prototype[k] += mean[k];
    m->shot[m->shots++] = s;
    free(mean);
    return true;
}

bool ts_insid3_example(ts_insid3 *m, const ts_image *picture, const ts_mask *mask, ts_error *err)
{
    if (!ts_example_check(picture, mask, err)) return false;
    shot s = {.g = calloc((size_t)m->places * (size_t)m->width, sizeof *s.g), .inside = calloc((size_t)m->places, 1)};
    bool ok = s.g && s.inside;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for an example");
    ok = ok && find_basis(m, err) && ts_features_of(m->features, picture, s.g, err) &&
         ts_products_without(m->products, s.g, m->basis, m->components, s.g, err) &&
         ts_mask_to_places(mask, ts_features_pixels(m->features), m->desc.side, s.inside, err) && add_shot(m, s, err);
    if (ok) return true;
    free(s.g);
    free(s.inside);
    return false;
}

/* ---- candidates ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value below which nine tenths are, between two of them as they are told apart (PyTorch's quantile). */
static bool upper_tenth(const double *like, int places, double *out)
{
    double *sorted = malloc((size_t)places * sizeof *sorted);
    if (!sorted) return false;
    memcpy(sorted, like, (size_t)places * sizeof *sorted);
    qsort(sorted, (size_t)places, sizeof *sorted, by_size);
    const double at = 0.9 * (places - 1);
    const int low = (int)at;
    *out = sorted[low] + (at - low) * (sorted[low + 1 < places ? low + 1 : low] - sorted[low]);
    free(sorted);
    return true;
}

/* How often the place of an example that is nearest to a place lies in its mask. */
static bool vote(ts_insid3 *m, const float *g, int *votes, ts_error *err)
{
    int32_t *nearest = malloc((size_t)m->places * sizeof *nearest);
    bool ok = nearest != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; ok && i < m->shots; i++) {
        ok = ts_products_nearest(m->products, g, m->shot[i].g, nearest, err);
        for (int p = 0; ok && p < m->places; p++) votes[p] += m->shot[i].inside[nearest[p]];
    }
    free(nearest);
    return ok;
}

/* like (P): cosine to the prototype. candidate (P): alike, if any is, else the top tenth; and most examples agree the other way.
 */
static bool find_candidates(ts_insid3 *m, const float *g, double *like, uint8_t *candidate, int *count, ts_error *err)
{
    int *votes = calloc((size_t)m->places, sizeof *votes);
    double square = 0, least = 0;
    for (int k = 0; k < m->width; k++) square += m->prototype[k] * m->prototype[k];
    bool any = false;
    for (int p = 0; p < m->places; p++) {
        like[p] = 0;
        for (int k = 0; k < m->width; k++) like[p] += (double)g[(int64_t)p * m->width + k] * m->prototype[k];
        if (square > 0) like[p] /= sqrt(square);
        any = any || like[p] > 0;
    }
    if (!votes || (!any && !upper_tenth(like, m->places, &least))) {
        free(votes);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    const bool ok = vote(m, g, votes, err);
    *count = 0;
    for (int p = 0; p < m->places; p++) *count += candidate[p] = like[p] > least && 2 * votes[p] >= m->shots;
    free(votes);
    return ok;
}

/* ---- clusters ---- */

typedef struct {
    const float *f, *g;
    const double *like;
    const uint8_t *candidate;
    int32_t *label;
    int count;           /* of clusters */
    uint8_t *member;     /* (P): of the cluster at hand */
    double *seed, *mean; /* (C) */
    double *score;       /* (clusters) */
} clusters;

static void take_members(const ts_insid3 *m, const clusters *c, int k)
{
    for (int p = 0; p < m->places; p++) c->member[p] = c->label[p] == k;
}

static double dot(const double *a, const double *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* Places of cluster k, and how many of them are candidates. */
static int count_members(const ts_insid3 *m, const clusters *c, int k, int *candidates)
{
    int places = 0;
    *candidates = 0;
    for (int p = 0; p < m->places; p++)
        if (c->label[p] == k) places++, *candidates += c->candidate[p];
    return places;
}

/* Of the clusters with a candidate the one whose prototype without positions is the most like the example's. */
static int find_seed(const ts_insid3 *m, const clusters *c)
{
    int seed = -1;
    double best = 0;
    for (int k = 0; k < c->count; k++) {
        int candidates;
        count_members(m, c, k, &candidates);
        if (candidates == 0) continue;
        take_members(m, c, k);
        mean_of(c->g, c->member, m->places, m->width, true, c->mean);
        const double like = dot(c->mean, m->prototype, m->width);
        if (seed >= 0 && like <= best) continue;
        seed = k;
        best = like;
    }
    return seed;
}

/* Mean likeness to the example, times likeness to the seed, times the share of candidates (1 for the seed). */
static void score_clusters(const ts_insid3 *m, const clusters *c)
{
    const int seed = find_seed(m, c);
    take_members(m, c, seed);
    mean_of(c->f, c->member, m->places, m->width, true, c->seed);
    for (int k = 0; k < c->count; k++) {
        int candidates;
        double like = 0;
        const int places = count_members(m, c, k, &candidates);
        take_members(m, c, k);
        for (int p = 0; p < m->places; p++) like += c->member[p] ? c->like[p] / places : 0;
        mean_of(c->f, c->member, m->places, m->width, true, c->mean);
        c->score[k] = like * dot(c->seed, c->mean, m->width) * (k == seed ? 1 : (double)candidates / places);
    }
}

/* label (P), from 1 - cosine of F. Returns the number of clusters; 0: failed. */
static int cluster(ts_insid3 *m, const float *f, int32_t *label, ts_error *err)
{
    const int64_t pairs = (int64_t)m->places * m->places;
    float *distance = malloc((size_t)pairs * sizeof *distance);
    if (!distance) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the distances of %d places", m->places);
        return 0;
    }
    int count = 0;
    if (ts_products_all(m->products, f, f, distance, err)) {
        for (int64_t i = 0; i < pairs; i++) distance[i] = 1 - fminf(fmaxf(distance[i], -1), 1);
        count = ts_average_linkage(distance, m->places, 1 - m->desc.likeness, label, err);
    }
    free(distance);
    return count;
}

/* inside (P) from the candidates. */
static bool grow(ts_insid3 *m, const float *f, const float *g, const double *like, const uint8_t *candidate, uint8_t *inside,
                 ts_error *err)
{
    clusters c = {.f = f, .g = g, .like = like, .candidate = candidate};
    const size_t places = (size_t)m->places, width = (size_t)m->width;
    c.label = calloc(places, sizeof *c.label);
    c.member = calloc(places, 1);
    c.seed = calloc(width, sizeof *c.seed);
    c.mean = calloc(width, sizeof *c.mean);
    c.score = calloc(places, sizeof *c.score);
    bool ok = c.label && c.member && c.seed && c.mean && c.score;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && (c.count = cluster(m, f, c.label, err)) > 0;
    if (ok) {
        score_clusters(m, &c);
        for (size_t p = 0; p < places; p++) inside[p] = c.score[c.label[p]] > m->desc.threshold;
    }
    free(c.label);
    free(c.member);
    free(c.seed);
    free(c.mean);
    free(c.score);
    return ok;
}

/* ---- the whole ---- */

bool ts_insid3_segment(ts_insid3 *m, const ts_image *query, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    if (m->shots == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no example to segment by");
    const size_t places = (size_t)m->places, numbers = places * (size_t)m->width;
    float *f = calloc(numbers, sizeof *f), *g = calloc(numbers, sizeof *g);
    double *like = calloc(places, sizeof *like);
    uint8_t *candidate = calloc(places, 1), *inside = calloc(places, 1);
    int candidates = 0;
    bool ok = f && g && like && candidate && inside;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d places", m->places);
    ok = ok && ts_features_of(m->features, query, f, err) &&
         ts_products_without(m->products, f, m->basis, m->components, g, err) &&
         find_candidates(m, g, like, candidate, &candidates, err) &&
         (candidates == 0 || grow(m, f, g, like, candidate, inside, err)) &&
         ts_mask_of_places(inside, m->desc.side, ts_features_pixels(m->features), query->width, query->height, out, err);
    free(f);
    free(g);
    free(like);
    free(candidate);
    free(inside);
    return ok;
}
