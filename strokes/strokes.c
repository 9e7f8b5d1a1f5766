/* strokes.c - the picture at hand, the strokes of all pictures, and the model that they make. strokes.h is its manual. A picture
 * is one window where it may be kept, else it goes through a smaller one part by part, each with as much around it as a feature
 * sees: the numbers are the same. */
#include "strokes/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "kinds/kinds.h"

enum { TILE = 768, OF_CLASS = 2048, OF_PICTURE = 1024, HIDDEN = 32, STEPS = 200 };

struct ts_strokes {
    ts_device *dev;
    ts_strokes_info info; /* what it is, as its file says */
    uint64_t seed;
    int steps;
    strokes_tokens *tokens;
    strokes_trainer *trainer;
    strokes_head head;
    bool trained;
    ts_image picture; /* at hand */
    token_map map;    /* its places, where there is a transformer */
    bool mapped;
    strokes_window *window;
    bool looked; /* the window holds all of the picture */
    strokes_samples **samples;
    int count;
    int current; /* those of the picture at hand; -1: none */
};

static bool is_whole(const ts_image *picture)
{
    return (int64_t)picture->width * picture->height <= TS_STROKES_KEPT;
}

/* ---- making ---- */

static ts_strokes *make(ts_device *dev, ts_error *err)
{
    ts_strokes *s = calloc(1, sizeof *s);
    if (!s) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    s->dev = dev;
    s->current = -1;
    if (ts_device_precision(dev) != TS_F16) return s;
    ts_fail(err, TS_ERR_UNSUPPORTED, "models from strokes compute in fp32: fp16 would lose the features");
    free(s);
    return NULL;
}

static bool open_tokens(ts_strokes *s, const ts_weights *features, const ts_clip_told *told, ts_error *err)
{
    const ts_clip_told none = {0};
    if (!(s->tokens = ts_tokens_new(s->dev, features, told ? told : &none, err))) return false;
    s->info.tokens = ts_tokens_width(s->tokens);
    snprintf(s->info.features, sizeof s->info.features, "%s", ts_kind_name(ts_kind_of(features)));
    return ts_tokens_mark(features, s->info.mark, err);
}

ts_strokes *ts_strokes_new(ts_device *dev, const ts_strokes_desc *desc, ts_error *err)
{
    ts_strokes *s = make(dev, err);
    if (!s) return NULL;
    bool ok = true;
    if (desc->classes < 2 || desc->classes > TS_STROKES_CLASSES || desc->ground < 0 || desc->ground >= desc->classes)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%d classes with background %d: 2 to %d are learned", desc->classes, desc->ground,
                     TS_STROKES_CLASSES);
    else if (desc->hidden > TS_STROKES_HIDDEN)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%d hidden units: at most %d are possible", desc->hidden, TS_STROKES_HIDDEN);
    s->seed = desc->seed;
    s->steps = desc->steps > 0 ? desc->steps : STEPS;
    s->info.hidden = desc->hidden == 0 ? HIDDEN : desc->hidden < 0 ? 0 : desc->hidden;
    s->info.colours.classes = desc->classes;
    s->info.colours.ground = desc->ground;
    memcpy(s->info.colours.colour, desc->colour, sizeof desc->colour);
    if (ok && desc->features) ok = open_tokens(s, desc->features, &desc->told, err);
    if (ok) return s;
    ts_strokes_free(s);
    return NULL;
}

ts_strokes *ts_strokes_open(ts_device *dev, const ts_weights *w, const ts_weights *features, const ts_clip_told *told,
                            ts_error *err)
{
    ts_strokes *s = make(dev, err);
    ts_strokes_info info;
    bool ok = s && ts_strokes_about(w, &info, err);
    if (ok && info.tokens && !features)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s learned with the features of %s: name its file with --features",
                     ts_weights_path(w), info.features);
    if (ok && !info.tokens && features)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s learned without a transformer: no features of %s are wanted", ts_weights_path(w),
                     ts_weights_path(features));
    if (ok && features) {
        ok = open_tokens(s, features, told, err);
        if (ok && (s->info.tokens != info.tokens || strcmp(s->info.mark, info.mark) != 0))
            ok = ts_fail(err, TS_ERR_ARGUMENT, "%s learned with the features of another file than %s", ts_weights_path(w),
                         ts_weights_path(features));
    }
    if (ok) {
        s->info = info;
        s->steps = STEPS;
        ok = s->trained = ts_strokes_read_head(w, &info, &s->head, err);
    }
    if (ok) return s;
    ts_strokes_free(s);
    return NULL;
}

void ts_strokes_forget(ts_strokes *s)
{
    for (int i = 0; i < s->count; i++) {
        ts_samples_clear(s->samples[i]);
        free(s->samples[i]);
    }
    free(s->samples);
    s->samples = NULL;
    s->count = 0;
    s->current = -1;
}

static void forget_map(ts_strokes *s)
{
    free(s->map.data);
    s->map = (token_map){0};
    s->mapped = false;
}

void ts_strokes_free(ts_strokes *s)
{
    if (!s) return;
    ts_strokes_forget(s);
    forget_map(s);
    ts_window_free(s->window);
    ts_trainer_free(s->trainer);
    ts_tokens_free(s->tokens);
    ts_head_clear(&s->head);
    ts_image_clear(&s->picture);
    free(s);
}

const ts_strokes_colours *ts_strokes_colours_of(const ts_strokes *s)
{
    return &s->info.colours;
}

/* ---- the picture at hand ---- */

bool ts_strokes_picture(ts_strokes *s, const ts_image *picture, ts_error *err)
{
    ts_image_clear(&s->picture);
    forget_map(s);
    s->looked = false;
    s->current = -1;
    return ts_image_copy(picture, &s->picture, err);
}

static bool need_picture(const ts_strokes *s, ts_error *err)
{
    return s->picture.data || ts_fail(err, TS_ERR_ARGUMENT, "there is no picture at hand");
}

static bool need_map(ts_strokes *s, ts_error *err)
{
    if (s->tokens && !s->mapped) s->mapped = ts_tokens_of(s->tokens, &s->picture, &s->map, err);
    return !s->tokens || s->mapped;
}

/* A part of the picture: what is asked of it, and the window's corner. */
typedef struct {
    int x, y, width, height;
    int left, top;
} part;

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int span(int whole, bool kept)
{
    return kept ? whole : smaller(whole, TILE + 2 * STROKES_REACH);
}

/* Where a window of `length` stands to see what is from `first` on with all around it that there is. */
static int stand(int first, int length, int whole)
{
    const int at = first < STROKES_REACH ? 0 : first - STROKES_REACH;
    return smaller(at, whole - length);
}

static int parts_across(const ts_image *p)
{
    return is_whole(p) ? 1 : (p->width + TILE - 1) / TILE;
}

static int parts_of(const ts_image *p)
{
    return parts_across(p) * (is_whole(p) ? 1 : (p->height + TILE - 1) / TILE);
}

static part part_at(const ts_image *p, int i)
{
    if (is_whole(p)) return (part){0, 0, p->width, p->height, 0, 0};
    const int across = parts_across(p), x = i % across * TILE, y = i / across * TILE;
    return (part){x,
                  y,
                  smaller(TILE, p->width - x),
                  smaller(TILE, p->height - y),
                  stand(x, span(p->width, false), p->width),
                  stand(y, span(p->height, false), p->height)};
}

/* The features of that part in the window. */
static bool look(ts_strokes *s, const part *a, ts_error *err)
{
    const ts_image *p = &s->picture;
    const bool whole = is_whole(p);
    const int width = span(p->width, whole), height = span(p->height, whole);
    if (whole && s->looked) return true;
    if (!ts_window_fits(s->window, width, height)) {
        ts_window_free(s->window);
        s->window = ts_window_new(s->dev, width, height, err);
        if (!s->window) return false;
    }
    if (!ts_window_look(s->window, p, a->left, a->top, err)) return false;
    s->looked = whole;
    return true;
}

bool ts_strokes_features(ts_strokes *s, float *out, ts_error *err)
{
    if (!need_picture(s, err)) return false;
    if (is_whole(&s->picture)) {
        const part all = part_at(&s->picture, 0);
        return look(s, &all, err) && ts_window_features(s->window, out, err);
    }
    const int width = span(s->picture.width, false), height = span(s->picture.height, false);
    float *seen = malloc((size_t)width * (size_t)height * TS_STROKES_BANK * sizeof *seen);
    bool ok = seen;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for features");
    for (int i = 0; ok && i < parts_of(&s->picture); i++) {
        const part a = part_at(&s->picture, i);
        ok = look(s, &a, err) && ts_window_features(s->window, seen, err);
        for (int y = 0; ok && y < a.height; y++)
            memcpy(out + ((int64_t)(a.y + y) * s->picture.width + a.x) * TS_STROKES_BANK,
                   seen + ((int64_t)(a.y + y - a.top) * width + (a.x - a.left)) * TS_STROKES_BANK,
                   (size_t)a.width * TS_STROKES_BANK * sizeof *out);
    }
    free(seen);
    return ok;
}

/* ---- samples ---- */

/* Which pixels are learned from, in the order of the picture. */
typedef struct {
    int64_t *pixel;
    uint8_t *label;
    int count;
} choice;

static int by_place(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Up to OF_CLASS of each class, and OF_PICTURE from all over it that say how its features vary. A number below is pixel << 8 |
 * label, so that both are sorted together. */
static bool choose(const ts_strokes *s, const ts_labels *labels, choice *out, ts_error *err)
{
    const int64_t pixels = (int64_t)labels->width * labels->height;
    int64_t seen[TS_STROKES_CLASSES] = {0};
    int64_t *list = calloc((size_t)s->info.colours.classes * OF_CLASS + OF_PICTURE, sizeof *list);
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    uint64_t state = s->seed;
    for (int64_t i = 0; i < pixels; i++) { /* reservoirs: each labelled pixel as likely as the others (Vitter's algorithm R) */
        const int c = labels->data[i];
        if (c == TS_STROKES_NONE) continue;
        const int64_t n = seen[c]++, at = n < OF_CLASS ? n : (int64_t)(ts_uniform(&state) * (double)(n + 1));
        if (at < OF_CLASS) list[(int64_t)c * OF_CLASS + at] = i << 8 | c;
    }
    int count = 0;
    for (int c = 0; c < s->info.colours.classes; c++)
        for (int64_t k = 0; k < seen[c] && k < OF_CLASS; k++) list[count++] = list[(int64_t)c * OF_CLASS + k];
    for (int k = 0; k < OF_PICTURE; k++) list[count++] = (int64_t)(ts_uniform(&state) * (double)pixels) << 8 | TS_STROKES_NONE;
    qsort(list, (size_t)count, sizeof *list, by_place);
    *out = (choice){list, malloc((size_t)count), count};
    if (!out->label) {
        free(list);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int k = 0; k < count; k++) {
        out->label[k] = (uint8_t)(list[k] & 255);
        list[k] >>= 8;
    }
    return true;
}

/* Those of the choice that lie in a part; index gets their numbers in the window, which the choice's. */
static int inside(const choice *c, const part *a, int image_width, int window_width, int32_t *index, int *which)
{
    int count = 0;
    for (int k = 0; k < c->count; k++) {
        const int x = (int)(c->pixel[k] % image_width), y = (int)(c->pixel[k] / image_width);
        if (x < a->x || x >= a->x + a->width || y < a->y || y >= a->y + a->height) continue;
        index[count] = (int32_t)((y - a->top) * window_width + (x - a->left));
        which[count++] = k;
    }
    return count;
}

static bool gather_part(ts_strokes *s, const choice *c, const part *a, strokes_samples *to, ts_error *err)
{
    const int stride = TS_STROKES_BANK + s->info.tokens, width = span(s->picture.width, is_whole(&s->picture));
    int32_t *index = malloc((size_t)c->count * sizeof *index);
    int *which = malloc((size_t)c->count * sizeof *which);
    bool ok = index && which;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int count = ok ? inside(c, a, s->picture.width, width, index, which) : 0;
    if (ok && count > 0)
        ok = look(s, a, err) && ts_window_gather(s->window, index, count, to->x + (int64_t)to->count * stride, stride, err);
    for (int k = 0; ok && k < count; k++) {
        const int64_t pixel = c->pixel[which[k]];
        if (s->tokens)
            ts_tokens_at(&s->map, s->picture.width, s->picture.height, (int)(pixel % s->picture.width),
                         (int)(pixel / s->picture.width), to->x + (int64_t)(to->count + k) * stride + TS_STROKES_BANK);
        to->label[to->count + k] = c->label[which[k]];
    }
    to->count += count;
    free(index);
    free(which);
    return ok;
}

/* A place in the list for the samples of the picture at hand. */
static strokes_samples *own_samples(ts_strokes *s, ts_error *err)
{
    if (s->current >= 0) return s->samples[s->current];
    strokes_samples **grown = realloc(s->samples, (size_t)(s->count + 1) * sizeof *grown);
    strokes_samples *fresh = grown ? calloc(1, sizeof *fresh) : NULL;
    if (grown) s->samples = grown;
    if (!fresh) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    s->current = s->count;
    return s->samples[s->count++] = fresh;
}

bool ts_strokes_label(ts_strokes *s, const ts_labels *labels, ts_error *err)
{
    if (!need_picture(s, err)) return false;
    const ts_image *p = &s->picture;
    if (labels->width != p->width || labels->height != p->height)
        return ts_fail(err, TS_ERR_ARGUMENT, "strokes of %d x %d pixels are not on a picture of %d x %d", labels->width,
                       labels->height, p->width, p->height);
    for (int64_t i = 0; i < (int64_t)p->width * p->height; i++)
        if (labels->data[i] != TS_STROKES_NONE && labels->data[i] >= s->info.colours.classes)
            return ts_fail(err, TS_ERR_ARGUMENT, "a stroke of class %d, and there are %d", labels->data[i],
                           s->info.colours.classes);
    choice c = {0};
    strokes_samples fresh = {0}, *own = own_samples(s, err);
    if (!own || !need_map(s, err) || !choose(s, labels, &c, err)) return false;
    fresh.x = malloc((size_t)c.count * (size_t)(TS_STROKES_BANK + s->info.tokens) * sizeof *fresh.x);
    fresh.label = malloc((size_t)c.count);
    bool ok = fresh.x && fresh.label;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for features of %d pixels", c.count);
    for (int i = 0; ok && i < parts_of(p); i++) {
        const part a = part_at(p, i);
        ok = gather_part(s, &c, &a, &fresh, err);
    }
    free(c.pixel);
    free(c.label);
    ts_samples_clear(ok ? own : &fresh);
    if (ok) *own = fresh;
    return ok;
}

/* ---- the model ---- */

bool ts_strokes_train(ts_strokes *s, ts_strokes_fit *fit, ts_error *err)
{
    ts_strokes_fit told;
    strokes_head head;
    const bool again = s->trainer != NULL;
    if (s->count == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there are no strokes to learn from");
    if (!again) {
        s->trainer = ts_trainer_new(TS_STROKES_BANK + s->info.tokens, s->info.colours.classes, s->info.hidden, s->seed, err);
        if (!s->trainer) return false;
    }
    const int steps = again ? (s->steps + 3) / 4 : s->steps;
    if (!ts_trainer_run(s->trainer, (const strokes_samples *const *)s->samples, s->count, steps, &head, fit ? fit : &told, err))
        return false;
    ts_head_clear(&s->head);
    s->head = head;
    return s->trained = true;
}

/* What a transformer adds to each unit, at each place of its map and then at each pixel of a part. */
typedef struct {
    const strokes_head *h;
    const token_map *map;
    float *places; /* (rows columns, units) */
    int units, width, height;
    const part *a;
    int window_width;
    float *out; /* (window's pixels, units) */
} adding;

static void add_places(void *ctx, int64_t begin, int64_t end)
{
    const adding *j = ctx;
    const float *bias, *w = ts_head_first(j->h, &bias);
    const int d = j->map->width;
    for (int64_t i = begin; i < end; i++)
        for (int u = 0; u < j->units; u++) {
            const float *x = j->map->data + i * d, *row = w + (int64_t)u * j->h->features + TS_STROKES_BANK;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < d; k++) sum += x[k] * row[k];
            j->places[i * j->units + u] = sum;
        }
}

static void add_rows(void *ctx, int64_t begin, int64_t end)
{
    const adding *j = ctx;
    const token_map places = {j->map->rows, j->map->columns, j->units, j->places};
    for (int64_t y = begin; y < end; y++)
        for (int x = 0; x < j->window_width; x++)
            ts_tokens_at(&places, j->width, j->height, j->a->left + x, j->a->top + (int)y,
                         j->out + (y * j->window_width + x) * j->units);
}

/* The probabilities of all pixels, (height, width, C). */
static bool classify_parts(ts_strokes *s, float *all, ts_error *err)
{
    const ts_image *p = &s->picture;
    const bool whole = is_whole(p);
    const int width = span(p->width, whole), height = span(p->height, whole), classes = s->head.classes;
    const int64_t pixels = (int64_t)width * height;
    adding j = {.h = &s->head,
                .map = &s->map,
                .units = ts_head_units(&s->head),
                .width = p->width,
                .height = p->height,
                .window_width = width};
    float *seen = whole ? all : malloc((size_t)pixels * (size_t)classes * sizeof *seen);
    bool ok = seen;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for the probabilities of a part");
    if (ok && s->tokens) {
        j.places = malloc((size_t)s->map.rows * (size_t)s->map.columns * (size_t)j.units * sizeof *j.places);
        j.out = malloc((size_t)pixels * (size_t)j.units * sizeof *j.out);
        ok = (j.places && j.out) || ts_fail(err, TS_ERR_MEMORY, "out of memory for the transformer's features");
        if (ok) ts_parallel(ts_core_count(), (int64_t)s->map.rows * s->map.columns, 16, add_places, &j);
    }
    for (int i = 0; ok && i < parts_of(p); i++) {
        const part a = part_at(p, i);
        j.a = &a;
        if (s->tokens) ts_parallel(ts_core_count(), height, 4, add_rows, &j);
        ok = look(s, &a, err) && ts_window_classify(s->window, &s->head, j.out, seen, err);
        for (int y = 0; ok && !whole && y < a.height; y++)
            memcpy(all + ((int64_t)(a.y + y) * p->width + a.x) * classes,
                   seen + ((int64_t)(a.y + y - a.top) * width + (a.x - a.left)) * classes,
                   (size_t)a.width * (size_t)classes * sizeof *all);
    }
    free(j.places);
    free(j.out);
    if (!whole) free(seen);
    return ok;
}

bool ts_strokes_classify(ts_strokes *s, int smooth, ts_labels *out, float *probabilities, ts_error *err)
{
    *out = (ts_labels){0};
    if (!need_picture(s, err)) return false;
    if (!s->trained) return ts_fail(err, TS_ERR_ARGUMENT, "there is no model yet: strokes make it");
    const ts_image *p = &s->picture;
    const int64_t pixels = (int64_t)p->width * p->height;
    const int classes = s->head.classes;
    float *all = probabilities ? probabilities : calloc((size_t)pixels * (size_t)classes, sizeof *all);
    bool ok = all;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for the probabilities of %d x %d pixels", p->width, p->height);
    ok = ok && need_map(s, err) && classify_parts(s, all, err) &&
         (smooth < 1 || ts_guided_filter(p, smooth, all, classes, err)) && ts_labels_new(p->width, p->height, out, err);
    for (int64_t i = 0; ok && i < pixels; i++) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            if (all[i * classes + c] > all[i * classes + best]) best = c;
        out->data[i] = (uint8_t)best;
    }
    if (!probabilities) free(all);
    return ok;
}

bool ts_strokes_save(ts_strokes *s, const char *path, ts_error *err)
{
    if (!s->trained) return ts_fail(err, TS_ERR_ARGUMENT, "there is no model to save yet");
    return ts_strokes_write(path, &s->head, &s->info, err);
}
