/* cluster.c - average-linkage clustering by chains of nearest neighbours (Murtagh 1983): a chain goes from a cluster to the
 * nearest one until two are each other's nearest; these are merged, and the chain goes on from what is left of it. Average
 * linkage never brings clusters nearer by merging, so the merges are those of always taking the nearest two, in another order:
 * O(n^2) in all. */
#include "matching/internal.h"

#include <stdlib.h>

typedef struct {
    float *distance; /* (n, n); of merged clusters the second's rows and columns are the whole's */
    int n;
    int *size; /* 0: merged into another */
    int *chain, length;
    int *parent; /* of merges below the cut */
    double cut;
} clustering;

/* The nearest cluster to `a`; of equal ones `liked`, which the chain comes from, else the first. */
static int nearest_to(const clustering *c, int a, int liked)
{
    const float *row = c->distance + (int64_t)a * c->n;
    int best = liked;
    for (int i = 0; i < c->n; i++)
        if (c->size[i] > 0 && i != a && (best < 0 || row[i] < row[best])) best = i;
    return best;
}

static int root_of(const int *parent, int i)
{
    while (parent[i] != i) i = parent[i];
    return i;
}

/* a goes into b: its mean distance to every other is the mean over both their members. */
static void merge(clustering *c, int a, int b)
{
    const int64_t n = c->n;
    const double height = (double)c->distance[a * n + b], wa = c->size[a], wb = c->size[b];
    if (height < c->cut) c->parent[root_of(c->parent, a)] = root_of(c->parent, b);
    for (int64_t i = 0; i < n; i++) {
        if (c->size[i] == 0 || i == a || i == b) continue;
        const double mean = (wa * (double)c->distance[a * n + i] + wb * (double)c->distance[b * n + i]) / (wa + wb);
        c->distance[b * n + i] = c->distance[i * n + b] = (float)mean;
    }
    c->size[b] += c->size[a];
    c->size[a] = 0;
}

static void run_chains(clustering *c)
{
    for (int left = c->n; left > 1;) {
        if (c->length == 0)
            for (int i = 0; c->length == 0; i++)
                if (c->size[i] > 0) c->chain[c->length++] = i;
        const int top = c->chain[c->length - 1], before = c->length > 1 ? c->chain[c->length - 2] : -1;
        const int next = nearest_to(c, top, before);
        if (next != before) {
            c->chain[c->length++] = next;
            continue;
        }
        c->length -= 2;
        merge(c, top < next ? top : next, top < next ? next : top);
        left--;
    }
}

int ts_average_linkage(float *distance, int n, double cut, int32_t *label, ts_error *err)
{
    const size_t room = (size_t)n;
    clustering c = {.distance = distance,
                    .n = n,
                    .cut = cut,
                    .size = calloc(room, sizeof *c.size),
                    .chain = calloc(room, sizeof *c.chain),
                    .parent = calloc(room, sizeof *c.parent)};
    int *number = calloc(room, sizeof *number), clusters = 0;
    if (c.size && c.chain && c.parent && number) {
        for (int i = 0; i < n; i++) c.size[i] = 1, c.parent[i] = i;
        run_chains(&c);
        for (int i = 0; i < n; i++) {
            const int root = root_of(c.parent, i);
            if (number[root] == 0) number[root] = ++clusters;
            label[i] = number[root] - 1;
        }
    } else {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for clusters of %d places", n);
    }
    free(c.size);
    free(c.chain);
    free(c.parent);
    free(number);
    return clusters;
}
