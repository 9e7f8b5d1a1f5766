/* labels.c - pictures of strokes and masks, and which class a pixel of them has. */
#include <stdlib.h>
#include <string.h>

#include "strokes/strokes.h"

enum { COLOURS = 1024 }; /* that strokes may have, those along their edges included */
static const double EDGE_SHARE = 0.005;

bool ts_labels_new(int width, int height, ts_labels *out, ts_error *err)
{
    *out = (ts_labels){0};
    if (width < 1 || height < 1) return ts_fail(err, TS_ERR_ARGUMENT, "labels of %d x %d pixels are none", width, height);
    uint8_t *data = malloc((size_t)width * (size_t)height);
    if (!data) return ts_fail(err, TS_ERR_MEMORY, "out of memory for labels of %d x %d pixels", width, height);
    memset(data, TS_STROKES_NONE, (size_t)width * (size_t)height);
    out->width = width;
    out->height = height;
    out->data = data;
    return true;
}

void ts_labels_clear(ts_labels *l)
{
    free(l->data);
    *l = (ts_labels){0};
}

/* ---- strokes ---- */

typedef struct {
    ts_image picture;
    uint8_t *alpha;
} layers;

/* What all pictures of strokes hold. */
typedef struct {
    struct {
        uint32_t rgb;
        int64_t pixels;
    } list[COLOURS]; /* in the order in which they are met; not black */
    int count, last; /* last: where the last one was found, for strokes are runs */
    int64_t black, transparent;
} palette;

static bool is_opaque(const layers *l, int64_t i)
{
    return l->alpha[i] >= 128;
}

static uint32_t rgb_at(const ts_image *picture, int64_t i)
{
    const uint8_t *p = picture->data + 3 * i;
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* Its place in the list; -1: it is not there. */
static int find(palette *p, uint32_t rgb)
{
    if (p->last < p->count && p->list[p->last].rgb == rgb) return p->last;
    for (int i = 0; i < p->count; i++)
        if (p->list[i].rgb == rgb) return p->last = i;
    return -1;
}

static bool count_colours(palette *p, const layers *l, const char *path, ts_error *err)
{
    for (int64_t i = 0; i < (int64_t)l->picture.width * l->picture.height; i++) {
        const uint32_t rgb = rgb_at(&l->picture, i);
        if (!is_opaque(l, i)) p->transparent++;
        else if (rgb == 0) p->black++;
        else {
            int at = find(p, rgb);
            if (at < 0 && p->count == COLOURS)
                return ts_fail(err, TS_ERR_FORMAT,
                               "%s has more than %d colours: strokes are painted in a few plain ones, and kept as PNG", path,
                               COLOURS);
            if (at < 0) p->list[at = p->last = p->count++].rgb = rgb;
            p->list[at].pixels++;
        }
    }
    return true;
}

/* Takes out what brushes leave along the edges of strokes. */
static void drop_edges(palette *p)
{
    int64_t all = 0;
    int kept = 0;
    for (int i = 0; i < p->count; i++) all += p->list[i].pixels;
    for (int i = 0; i < p->count; i++)
        if ((double)p->list[i].pixels >= EDGE_SHARE * (double)all) p->list[kept++] = p->list[i];
    p->count = kept;
    p->last = 0;
}

static void add_class(ts_strokes_colours *c, uint32_t rgb, int64_t pixels)
{
    for (int k = 0; k < 3; k++) c->colour[c->classes][k] = (uint8_t)(rgb >> (16 - 8 * k));
    c->pixels[c->classes++] = pixels;
}

/* `masks` is set where black is a class. */
static bool choose_classes(palette *p, const char *path, ts_strokes_colours *c, bool *masks, ts_error *err)
{
    *c = (ts_strokes_colours){0};
    if (p->count > TS_STROKES_CLASSES) drop_edges(p);
    if (p->count > TS_STROKES_CLASSES)
        return ts_fail(err, TS_ERR_FORMAT, "%s: %d colours are painted, and at most %d classes are learned", path, p->count,
                       TS_STROKES_CLASSES);
    *masks = p->count == 1 && p->transparent == 0 && p->black > 0;
    if (*masks) add_class(c, 0, p->black);
    for (int i = 0; i < p->count; i++) add_class(c, p->list[i].rgb, p->list[i].pixels);
    for (int i = 1; i < c->classes && !*masks; i++)
        if (c->pixels[i] > c->pixels[c->ground]) c->ground = i;
    if (c->classes >= 2) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "%s: %s: strokes in two colours at least are wanted, one a class, or a mask", path,
                   c->classes == 0 ? "nothing is painted (what is transparent or black says nothing)"
                                   : "one class alone is painted");
}

static bool set_labels(palette *p, const layers *l, bool masks, ts_labels *out, ts_error *err)
{
    if (!ts_labels_new(l->picture.width, l->picture.height, out, err)) return false;
    for (int64_t i = 0; i < (int64_t)out->width * out->height; i++) {
        if (!is_opaque(l, i)) continue;
        const uint32_t rgb = rgb_at(&l->picture, i);
        const int at = rgb == 0 ? -1 : find(p, rgb);
        if (at >= 0) out->data[i] = (uint8_t)(at + masks);
        else if (rgb == 0 && masks) out->data[i] = 0;
    }
    return true;
}

bool ts_strokes_read(const char *const *paths, int count, ts_strokes_colours *colours, ts_labels *labels, ts_error *err)
{
    palette *p = calloc(1, sizeof *p);
    layers *all = calloc((size_t)count + 1, sizeof *all);
    bool ok = p && all, masks = false;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++) labels[i] = (ts_labels){0};
    for (int i = 0; ok && i < count; i++)
        ok = ts_image_load_alpha(paths[i], &all[i].picture, &all[i].alpha, err) && count_colours(p, &all[i], paths[i], err);
    ok = ok && choose_classes(p, paths[0], colours, &masks, err);
    for (int i = 0; ok && i < count; i++) ok = set_labels(p, &all[i], masks, &labels[i], err);
    for (int i = 0; all && i < count; i++) {
        ts_image_clear(&all[i].picture);
        free(all[i].alpha);
        if (!ok) ts_labels_clear(&labels[i]);
    }
    free(all);
    free(p);
    return ok;
}

/* ---- whole pictures ---- */

ts_palette ts_strokes_palette(const ts_strokes_colours *colours)
{
    ts_palette p = {.count = colours->classes};
    for (int i = 0; i < p.count; i++) {
        memcpy(p.colour[i], colours->colour[i], 3);
        p.pixels[i] = 1;
        p.border[i] = i == colours->ground;
    }
    return p;
}

bool ts_labels_of_image(const ts_image *picture, const ts_strokes_colours *colours, ts_labels *out, ts_error *err)
{
    const ts_palette p = ts_strokes_palette(colours);
    if (!ts_labels_new(picture->width, picture->height, out, err)) return false;
    uint32_t last = 0;
    int at = -1;
    for (int64_t i = 0; i < (int64_t)out->width * out->height; i++) {
        const uint32_t rgb = rgb_at(picture, i);
        if (at < 0 || rgb != last) at = ts_palette_nearest(&p, picture->data + 3 * i);
        last = rgb;
        out->data[i] = (uint8_t)at;
    }
    return true;
}

bool ts_labels_image(const ts_labels *l, const ts_strokes_colours *colours, ts_image *out, ts_error *err)
{
    if (!ts_image_new(l->width, l->height, out, err)) return false;
    for (int64_t i = 0; i < (int64_t)l->width * l->height; i++)
        if (l->data[i] < colours->classes) memcpy(out->data + 3 * i, colours->colour[l->data[i]], 3);
    return true;
}
