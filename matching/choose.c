/* choose.c - which places of a query GF-SAM (Zhang et al. 2024, "Bridge the Points", NeurIPS) asks Segment Anything about, and
 * which of the masks it keeps. Masks and places are a graph: mask i leads to place j where it covers it, and what hangs together
 * is one thing or its parts. Of each such component the masks that are more object than background are taken (the paper's
 * section 3.3), unless the places look more like another component's. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double SMALL = 1e-6, TINY = 1e-7;

void ts_gfsam_prior(const float *all, const float *weight, int64_t places, float *most, float *mean)
{
    double inside = 0;
    for (int64_t r = 0; r < places; r++) inside += (double)weight[r];
    for (int64_t q = 0; q < places; q++) {
        double sum = 0, best = -INFINITY;
        for (int64_t r = 0; r < places; r++) {
            const double like = (double)all[q * places + r] * (double)weight[r];
            sum += like;
            best = like > best ? like : best;
        }
        most[q] += (float)best;
        mean[q] += (float)(sum / (double)places / (inside / (double)places + TINY));
    }
}

/* ---- places ---- */

typedef struct {
    double value;
    int place;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->place - y->place;
}

/* Brought to 0 to 1. */
static void stretch(double *map, int places)
{
    double low = INFINITY, high = -INFINITY;
    for (int p = 0; p < places; p++) {
        low = map[p] < low ? map[p] : low;
        high = map[p] > high ? map[p] : high;
    }
    for (int p = 0; p < places; p++) map[p] = (map[p] - low) / (high - low + SMALL);
}

int ts_gfsam_points(const gfsam_maps *maps, const float *most, int *point, ts_error *err)
{
    const int side = maps->side, places = side * side;
    double *object = calloc((size_t)places, sizeof *object), *ground = calloc((size_t)places, sizeof *ground), sum = 0;
    ranked *rank = calloc((size_t)places, sizeof *rank);
    uint8_t *hot = calloc((size_t)places, 1);
    int count = -1;
    if (object && ground && rank && hot) {
        for (int p = 0; p < places; p++) {
            object[p] = (double)maps->mean[p] * (double)most[p];
            ground[p] = (double)maps->negative[p];
        }
        stretch(object, places);
        stretch(ground, places);
        for (int p = 0; p < places; p++) {
            rank[p] = (ranked){ground[p] > object[p] ? 0 : object[p], p};
            sum += rank[p].value;
        }
        qsort(rank, (size_t)places, sizeof *rank, by_value);
        const int wanted = sum < 1 && sum > 0 ? 1 : sum < TS_GFSAM_POINTS ? (int)sum : TS_GFSAM_POINTS;
        for (int i = 0; i < wanted && i < places; i++) hot[rank[i].place] = 1;
        count = 0;
        for (int x = 0; x < side; x++)
            for (int y = 0; y < side; y++)
                if (hot[y * side + x]) point[count++] = y * side + x;
    } else {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %d places", places);
    }
    free(object);
    free(ground);
    free(rank);
    free(hot);
    return count;
}

/* ---- components ---- */

typedef struct {
    const gfsam_maps *maps;
    const int *point;
    const ts_mask *mask;
    int count, places, components;
    int *component;        /* (count): 0, 1, ... in the order of their first masks */
    float *small;          /* (count, P): each mask, bilinear */
    double *lead;          /* (P): object against background */
    double *score;         /* (count): of the last mask that was tried in its component */
    uint8_t *grown;        /* (count): object by its component's growth */
    uint8_t *steady;       /* (count): its place looks like its component */
    float *large, *merged; /* (pixels of a mask), (P): at hand */
    double *covered;       /* (P): by what has grown */
} choice;

static int root_of(int *parent, int i)
{
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

/* Whether a mask's nearest pixel to a place is inside. */
static bool covers(const choice *c, int mask, int place)
{
    const int side = c->maps->side, size = c->mask[mask].width;
    const int64_t y = (int64_t)(place / side) * size / side, x = (int64_t)(place % side) * size / side;
    return c->mask[mask].data[y * size + x] != 0;
}

static void find_components(choice *c, int *parent)
{
    for (int i = 0; i < c->count; i++) parent[i] = i;
    for (int i = 0; i < c->count; i++)
        for (int j = 0; j < c->count; j++) {
            if (!covers(c, i, c->point[j])) continue;
            const int a = root_of(parent, i), b = root_of(parent, j);
            parent[a < b ? b : a] = a < b ? a : b;
        }
    for (int i = 0; i < c->count; i++)
        c->component[i] = root_of(parent, i) == i ? c->components++ : c->component[root_of(parent, i)];
}

/* Fills c->merged with the component's masks together, brought to the places. */
static void merge_component(const choice *c, int component)
{
    const int size = c->mask[0].width, side = c->maps->side;
    const int64_t pixels = (int64_t)size * size;
    memset(c->large, 0, (size_t)pixels * sizeof *c->large);
    for (int i = 0; i < c->count; i++)
        for (int64_t k = 0; c->component[i] == component && k < pixels; k++)
            if (c->mask[i].data[k]) c->large[k] = 1;
    ts_map_resize(c->large, size, size, false, c->merged, side, side);
}

static void shrink_masks(const choice *c)
{
    const int size = c->mask[0].width, side = c->maps->side;
    for (int i = 0; i < c->count; i++) {
        for (int64_t k = 0; k < (int64_t)size * size; k++) c->large[k] = c->mask[i].data[k];
        ts_map_resize(c->large, size, size, false, c->small + (int64_t)i * c->places, side, side);
    }
}

/* ---- growth ---- */

/* Mean lead of what a mask covers. */
static double lead_of(const choice *c, int mask)
{
    double sum = 0, area = 0;
    for (int p = 0; p < c->places; p++) {
        const double w = (double)c->small[(int64_t)mask * c->places + p];
        sum += w * c->lead[p];
        area += w;
    }
    return sum / (area + SMALL);
}

/* The masks of a component from the most object-like on: one grows it that brings more object than background. */
static void grow_component(choice *c, int component, ranked *rank)
{
    int members = 0;
    double balance = 0;
    for (int i = 0; i < c->count; i++)
        if (c->component[i] == component) rank[members++] = (ranked){lead_of(c, i), i};
    qsort(rank, (size_t)members, sizeof *rank, by_value);
    memset(c->covered, 0, (size_t)c->places * sizeof *c->covered);
    for (int k = 0; k < members; k++) {
        const float *small = c->small + (int64_t)rank[k].place * c->places;
        balance = 0;
        for (int p = 0; p < c->places; p++) {
            const double fresh = (double)small[p] * (1 - c->covered[p]);
            balance += c->lead[p] > 0 ? fresh : -fresh;
        }
        if (balance <= 0) continue;
        c->grown[rank[k].place] = 1;
        for (int p = 0; p < c->places; p++) c->covered[p] += (double)small[p] * (1 - c->covered[p]);
    }
    for (int k = 0; k < members; k++) c->score[rank[k].place] = balance;
}

/* ---- places that look like another component ---- */

/* From a place to the nearest one of a component; 1 for its own. */
static double distance_to(const choice *c, int i, int component)
{
    const int side = c->maps->side;
    double least = INFINITY;
    for (int j = 0; j < c->count; j++) {
        const int x = c->point[i] % side - c->point[j] % side, y = c->point[i] / side - c->point[j] / side;
        if (c->component[j] == component) least = fmin(least, hypot(x, y));
    }
    return least == 0 ? 1 : least;
}

/* How much a place looks like what a component covers. */
static double likeness(const choice *c, int i, double inside)
{
    const float *row = c->maps->all + (int64_t)c->point[i] * c->places;
    double sum = 0;
    for (int p = 0; p < c->places; p++) sum += (double)row[p] * (double)c->merged[p];
    return sum / c->places / (inside / c->places + TINY);
}

/* Steady places look the most, for their distance, like their own component; of a component of which less than half are, none is.
 */
static void find_steady(choice *c, double *best, int *whose)
{
    for (int k = 0; k < c->components; k++) {
        double inside = 0;
        merge_component(c, k);
        for (int p = 0; p < c->places; p++) inside += (double)c->merged[p];
        for (int i = 0; i < c->count; i++) {
            const double like = likeness(c, i, inside) / distance_to(c, i, k);
            if (k > 0 && like <= best[i]) continue;
            best[i] = like;
            whose[i] = k;
        }
    }
    for (int i = 0; i < c->count; i++) c->steady[i] = whose[i] == c->component[i];
    for (int k = 0; k < c->components; k++) {
        int members = 0, steady = 0;
        for (int i = 0; i < c->count; i++)
            if (c->component[i] == k) members++, steady += c->steady[i];
        for (int i = 0; i < c->count; i++)
            if (c->component[i] == k && steady < members - steady) c->steady[i] = 0;
    }
}

/* ---- the union ---- */

static void add_mask(ts_mask *out, const ts_mask *m)
{
    for (int64_t k = 0; k < (int64_t)m->width * m->height; k++) out->data[k] |= m->data[k];
}

/* What has grown and is steady; where nothing is both, the best scored of what is one of them, or the first of all. */
static void unite(const choice *c, ts_mask *out)
{
    int best = 0;
    double highest = -INFINITY;
    for (int i = 0; i < c->count; i++) {
        if (c->grown[i] && c->steady[i]) add_mask(out, &c->mask[i]);
        const double score = c->grown[i] != c->steady[i] ? c->score[i] : 0;
        if (score > highest) highest = score, best = i;
    }
    if (ts_mask_area(out) == 0) add_mask(out, &c->mask[best]);
}

static void find_lead(const choice *c)
{
    double low = INFINITY, high = -INFINITY;
    for (int p = 0; p < c->places; p++) {
        low = fmin(low, (double)c->maps->mean[p]);
        high = fmax(high, (double)c->maps->mean[p]);
    }
    for (int p = 0; p < c->places; p++)
        c->lead[p] = (double)c->maps->mean[p] * (double)c->maps->mean[p] - (double)c->maps->negative[p] * (low + high) / 2;
}

bool ts_gfsam_choose(const gfsam_maps *maps, const int *point, const ts_mask *mask, int count, ts_mask *out, ts_error *err)
{
    const int places = maps->side * maps->side, size = mask[0].width;
    const size_t each = (size_t)count, all = (size_t)places;
    choice c = {.maps = maps, .point = point, .mask = mask, .count = count, .places = places};
    int *parent = calloc(each, sizeof *parent), *whose = calloc(each, sizeof *whose);
    double *best = calloc(each, sizeof *best);
    ranked *rank = calloc(each, sizeof *rank);
    c.component = calloc(each, sizeof *c.component);
    c.small = calloc(each * all, sizeof *c.small);
    c.lead = calloc(all, sizeof *c.lead);
    c.score = calloc(each, sizeof *c.score);
    c.grown = calloc(each, 1);
    c.steady = calloc(each, 1);
    c.large = calloc((size_t)size * (size_t)size, sizeof *c.large);
    c.merged = calloc(all, sizeof *c.merged);
    c.covered = calloc(all, sizeof *c.covered);
    bool ok = parent && whose && best && rank && c.component && c.small && c.lead && c.score && c.grown && c.steady && c.large &&
              c.merged && c.covered;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d masks", count);
    ok = ok && ts_mask_new(size, size, out, err);
    if (ok) {
        find_components(&c, parent);
        shrink_masks(&c);
        find_lead(&c);
        for (int k = 0; k < c.components; k++) grow_component(&c, k, rank);
        find_steady(&c, best, whose);
        unite(&c, out);
    }
    free(parent);
    free(whose);
    free(best);
    free(rank);
    free(c.component);
    free(c.small);
    free(c.lead);
    free(c.score);
    free(c.grown);
    free(c.steady);
    free(c.large);
    free(c.merged);
    free(c.covered);
    return ok;
}
