/* examples.c - see examples.h. */
#include "cli/run/examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 16, MOST_LABEL = 32, SHARES = 100 };

typedef struct {
    int most;         /* the largest value where the picture is grey, of small values, and flat; else -1 */
    bool mask, photo; /* neither: something else */
} look;

static int by_count(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Counts colours, 16 levels a channel. In a mask two of them make up nearly all of it, its edges in a JPEG aside; a photograph
 * has hundreds, of which no two are half of it. */
static bool count_colours(const ts_image *img, look *out)
{
    enum { COLOURS = LEVELS * LEVELS * LEVELS, MANY = 64 };
    int64_t *count = calloc(COLOURS, sizeof *count);
    if (!count) return false;
    const int64_t pixels = (int64_t)img->width * img->height;
    for (int64_t i = 0; i < pixels; i++) {
        const uint8_t *p = img->data + i * 3;
        count[(p[0] / LEVELS * LEVELS + p[1] / LEVELS) * LEVELS + p[2] / LEVELS]++;
    }
    qsort(count, COLOURS, sizeof *count, by_count);
    const int64_t share = (count[0] + count[1]) * SHARES / pixels;
    out->mask = share >= 97 && count[1] > 0;
    out->photo = share < 50 && count[MANY - 1] > 0;
    free(count);
    return true;
}

/* The largest value of a picture that is grey, of small values, and flat: neighbours are alike nearly everywhere, which they are
 * not in a photograph, however dark. */
static int largest_label(const ts_image *img)
{
    int most = 0;
    int64_t alike = 0;
    const int64_t pixels = (int64_t)img->width * img->height;
    for (int64_t i = 0; i < pixels; i++) {
        const uint8_t *p = img->data + i * 3;
        if (p[0] != p[1] || p[0] != p[2] || p[0] > MOST_LABEL) return -1;
        if (p[0] > most) most = p[0];
        alike += i % img->width == 0 || p[0] == p[-3];
    }
    return alike * SHARES / pixels >= 80 ? most : -1;
}

bool ts_looks_like_mask(const ts_image *img)
{
    look out = {0};
    return count_colours(img, &out) && out.mask;
}

static void stretch_to(ts_image *img, int most)
{
    const size_t size = (size_t)img->width * (size_t)img->height * 3;
    for (size_t i = 0; i < size; i++) img->data[i] = (uint8_t)(img->data[i] * 255 / most);
}

/* `seen`: what it looks like, wanted the first time. `stretch`: the value that becomes 255, or 0. */
static bool show(int at, ts_give_fn give, ts_example_fn take, void *ctx, int stretch, look *seen, ts_error *err)
{
    ts_image whole = {0};
    bool ok = give(ctx, at, &whole, err);
    if (ok && seen) {
        seen->most = largest_label(&whole);
        ok = count_colours(&whole, seen) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    if (ok && stretch) stretch_to(&whole, stretch);
    ok = ok && take(ctx, at, &whole, err);
    ts_image_clear(&whole);
    return ok;
}

bool ts_examples_see(int count, ts_give_fn give, ts_example_fn take, void *ctx, ts_example_looks *looks, ts_error *err)
{
    bool labels = true, ok = true;
    *looks = (ts_example_looks){.swapped = count > 0, .masks = count > 0};
    for (int i = 0; ok && i < count; i++) {
        const bool output = i % 2;
        look seen = {0};
        ok = show(i, give, take, ctx, 0, &seen, err);
        if (output && seen.most < 0) labels = false;
        if (output && seen.most > looks->stretched) looks->stretched = seen.most;
        if (output && !seen.mask) looks->masks = false;
        if (!(output ? seen.photo : seen.mask)) looks->swapped = false;
    }
    if (!labels) looks->stretched = 0;
    /* Again, and before they are resized: between values as close as these there is no room for an edge. */
    for (int i = 1; ok && looks->stretched && i < count; i += 2) ok = show(i, give, take, ctx, looks->stretched, NULL, err);
    return ok;
}

/* ---- files ---- */

typedef struct {
    const ts_words *paths;
    ts_example_fn take;
    void *ctx;
    ts_image kept; /* that of standard input, which cannot be read again */
} loading;

static bool give_file(void *ctx, int at, ts_image *out, ts_error *err)
{
    loading *l = ctx;
    const char *path = l->paths->items[at];
    const bool standard = ts_is_standard(path);
    if (standard && l->kept.data) return ts_image_copy(&l->kept, out, err);
    return ts_load_picture(path, out, err) && (!standard || ts_image_copy(out, &l->kept, err));
}

static bool take_file(void *ctx, int at, const ts_image *picture, ts_error *err)
{
    loading *l = ctx;
    return l->take(l->ctx, at, picture, err);
}

bool ts_examples_load(const ts_words *paths, ts_example_fn take, void *ctx, ts_example_looks *looks, ts_error *err)
{
    loading l = {paths, take, ctx, {0}};
    const bool ok = ts_examples_see(paths->count, give_file, take_file, &l, looks, err);
    ts_image_clear(&l.kept);
    return ok;
}

void ts_examples_say(const ts_example_looks *looks)
{
    if (looks->stretched)
        fprintf(stderr,
                "note: the examples' outputs hold nothing but values from 0 to %d, as masks do that number classes: they are "
                "stretched to 0 to 255, and so is the answer\n",
                looks->stretched);
    if (looks->swapped && !looks->mask_queries)
        fprintf(stderr,
                "note: the examples' inputs look like masks and their outputs like photographs, the query does not: if they "
                "are swapped, -e wants the picture first and what is made of it second\n");
}
