/* boxes.c - of boxes that show the same thing, the best one stays. */
#include <stdlib.h>

#include "masks/masks.h"

typedef struct {
    float score;
    int at;
} ranked;

/* Best first, NaN last; the place breaks ties, which makes qsort a stable sort. */
static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    const int x_nan = x->score != x->score, y_nan = y->score != y->score;
    if (x_nan != y_nan) return x_nan - y_nan;
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return x->at - y->at;
}

static float area_of(const ts_box *b)
{
    return ((float)b->x1 - (float)b->x0) * ((float)b->y1 - (float)b->y0);
}

static float overlap(const ts_box *a, const ts_box *b)
{
    const int x0 = a->x0 > b->x0 ? a->x0 : b->x0, x1 = a->x1 < b->x1 ? a->x1 : b->x1;
    const int y0 = a->y0 > b->y0 ? a->y0 : b->y0, y1 = a->y1 < b->y1 ? a->y1 : b->y1;
    if (x1 <= x0 || y1 <= y0) return 0;
    const float both = ((float)x1 - (float)x0) * ((float)y1 - (float)y0);
    return both / (area_of(a) + area_of(b) - both);
}

int ts_boxes_keep(const ts_box *box, const float *score, int count, double most, int *kept, ts_error *err)
{
    ranked *order = malloc((size_t)(count > 0 ? count : 1) * sizeof *order);
    if (!order) {
        ts_fail(err, TS_ERR_MEMORY, "no memory to rank %d boxes", count);
        return -1;
    }
    for (int i = 0; i < count; i++) order[i] = (ranked){score[i], i};
    qsort(order, (size_t)count, sizeof *order, by_score);
    int n = 0;
    for (int i = 0; i < count; i++) {
        bool alone = true;
        for (int k = 0; alone && k < n; k++) alone = !((double)overlap(&box[kept[k]], &box[order[i].at]) > most);
        if (alone) kept[n++] = order[i].at;
    }
    free(order);
    return n;
}
