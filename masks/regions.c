/* regions.c - the regions of a mask whose pixels touch by a side or a corner. They are found over runs of pixels in a row and not
 * over single ones: two passes over the mask, and memory for what its edges need. Runs that touch are joined to the set of the
 * first of them in reading order (Galler and Fischer's trees). */
#include <stdlib.h>
#include <string.h>

#include "masks/masks.h"

typedef struct {
    int y, x0, x1; /* the last pixel is x1 - 1 */
    int64_t set;   /* the run that stands for the region, or one nearer to it; never behind this one */
    int64_t area;  /* of the region, in the run that stands for it */
} run;

typedef struct {
    run *run;
    int64_t count, room;
} run_list;

static bool append(run_list *l, int y, int x0, int x1, ts_error *err)
{
    if (l->count == l->room) {
        const int64_t room = l->room * 2 + 256;
        run *grown = realloc(l->run, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "no memory for the regions of a mask");
        l->run = grown;
        l->room = room;
    }
    l->run[l->count] = (run){y, x0, x1, l->count, 0};
    l->count++;
    return true;
}

/* The runs of `value`, 0 or 1, in a row. */
static bool cut_row(const ts_mask *m, int y, uint8_t value, run_list *l, ts_error *err)
{
    const uint8_t *row = m->data + (size_t)y * (size_t)m->width, *end = row + m->width, *at = row;
    while ((at = at < end ? memchr(at, value, (size_t)(end - at)) : NULL)) {
        const uint8_t *other = memchr(at, 1 - value, (size_t)(end - at)), *behind = other ? other : end;
        if (!append(l, y, (int)(at - row), (int)(behind - row), err)) return false;
        at = behind;
    }
    return true;
}

static int64_t set_of(run *r, int64_t i)
{
    while (r[i].set != i) i = r[i].set = r[r[i].set].set;
    return i;
}

static void join(run *r, int64_t a, int64_t b)
{
    a = set_of(r, a);
    b = set_of(r, b);
    if (a < b) r[b].set = a;
    else r[a].set = b;
}

/* Joins the runs `first` .. `end` - 1 of a row with those of the row above, which end at `first`. */
static void join_rows(run *r, int64_t above, int64_t first, int64_t end)
{
    for (int64_t i = first, k = above; i < end && k < first;) {
        if (r[k].x0 <= r[i].x1 && r[i].x0 <= r[k].x1) join(r, i, k);
        if (r[k].x1 < r[i].x1) k++;
        else i++;
    }
}

static bool find_regions(const ts_mask *m, uint8_t value, run_list *l, ts_error *err)
{
    int64_t above = 0;
    for (int y = 0; y < m->height; y++) {
        const int64_t first = l->count;
        if (!cut_row(m, y, value, l, err)) return false;
        join_rows(l->run, above, first, l->count);
        above = first;
    }
    for (int64_t i = 0; i < l->count; i++) l->run[set_of(l->run, i)].area += l->run[i].x1 - l->run[i].x0;
    return true;
}

/* The first of the largest regions, where all have fewer pixels than `area`; -1: one has more, or there is none. */
static int64_t largest_of_small(const run_list *l, int64_t area)
{
    int64_t best = -1;
    for (int64_t i = 0; i < l->count; i++) {
        if (l->run[i].area >= area) return -1;
        if (l->run[i].area > (best < 0 ? 0 : l->run[best].area)) best = i;
    }
    return best;
}

/* Turns the small regions of `value` into the other value, but for one where `spare_one` and all are small. */
static bool turn_small(ts_mask *m, uint8_t value, int64_t area, bool spare_one, bool *changed, ts_error *err)
{
    run_list l = {0};
    bool any = false;
    const bool ok = find_regions(m, value, &l, err);
    const int64_t spared = ok && spare_one ? largest_of_small(&l, area) : -1;
    for (int64_t i = 0; ok && i < l.count; i++) {
        const run *r = &l.run[i];
        const int64_t set = set_of(l.run, i);
        if (l.run[set].area >= area) continue;
        any = true;
        if (set != spared) memset(m->data + (size_t)r->y * (size_t)m->width + (size_t)r->x0, 1 - value, (size_t)(r->x1 - r->x0));
    }
    free(l.run);
    if (changed) *changed = any;
    return ok;
}

bool ts_mask_fill_holes(ts_mask *m, int64_t area, bool *changed, ts_error *err)
{
    return turn_small(m, 0, area, false, changed, err);
}

bool ts_mask_drop_islands(ts_mask *m, int64_t area, bool *changed, ts_error *err)
{
    return turn_small(m, 1, area, true, changed, err);
}
