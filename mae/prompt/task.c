/* task.c - a task: vectors and the mask of where they go, its file, and what of a mask belongs together. */
#include "mae/prompt/task.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const half_names[TS_TASK_HALVES] = {"encoder", "decoder"};

int64_t ts_task_half_places(const ts_task_half *h)
{
    return (int64_t)h->depth * h->tokens * h->heads;
}

const char *ts_task_half_prefix(int half)
{
    return half ? "decoder_blocks" : "blocks";
}

int64_t ts_task_places(const ts_task *t)
{
    return t->half[1].first + ts_task_half_places(&t->half[1]);
}

const uint8_t *ts_task_mask(const ts_task *t)
{
    return t->mask;
}

void ts_task_set_mask(ts_task *t, const uint8_t *mask)
{
    memcpy(t->mask, mask, (size_t)ts_task_places(t));
}

const ts_grid *ts_task_grid(const ts_task *t)
{
    return &t->grid;
}

const uint8_t (*ts_task_colours(const ts_task *t))[3]
{
    return t->has_colours ? t->colours : NULL;
}

void ts_task_set_colours(ts_task *t, const uint8_t (*colours)[3])
{
    t->has_colours = colours != NULL;
    if (colours) memcpy(t->colours, colours, sizeof t->colours);
}

/* ---- making ---- */

/* The patches of the query's row: all that stand beside the hole, and its own. */
static bool list_patches(ts_task *t, ts_error *err)
{
    const int side = t->grid.side_patches;
    int rows, cols;
    t->top = (int)ts_inpaint_hole(&t->grid, &rows, &cols) / side;
    t->keep = malloc((size_t)rows * (size_t)side * sizeof *t->keep);
    t->part = malloc((size_t)rows * (size_t)side * sizeof *t->part);
    if (!t->keep || !t->part) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int row = t->top; row < t->top + rows; row++)
        for (int col = 0; col < side; col++) {
            t->part[t->places++] = row * side + col;
            if (!ts_grid_hidden(&t->grid, row, col)) t->keep[t->visible++] = row * side + col;
        }
    return true;
}

static bool check_grid(const ts_mae_config *c, const ts_grid *grid, ts_error *err)
{
    const ts_grid_desc *d = &grid->desc;
    if (d->canvas != c->side * c->patch || d->patch != c->patch)
        return ts_fail(err, TS_ERR_SHAPE, "a task's canvas of %d pixels and patches of %d do not go with a model of %d and %d",
                       d->canvas, d->patch, c->side * c->patch, c->patch);
    if (d->examples != 1 || d->side != TS_SIDE_RIGHT || d->transposed || d->query_first)
        return ts_fail(err, TS_ERR_ARGUMENT, "task vectors are of the published layout with one example pair");
    return true;
}

static bool make(ts_task *t, ts_error *err)
{
    const ts_mae_config *c = &t->config;
    if (!list_patches(t, err)) return false;
    t->half[0] = (ts_task_half){c->depth, 1 + t->visible, c->heads, c->dim / c->heads, 0};
    t->half[1] = (ts_task_half){c->decoder_depth, 1 + t->places, c->decoder_heads, c->decoder_dim / c->decoder_heads,
                                ts_task_half_places(&t->half[0])};
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        t->vectors[i] = calloc((size_t)ts_task_half_places(&t->half[i]) * (size_t)t->half[i].dim, sizeof *t->vectors[i]);
        if (!t->vectors[i]) return ts_fail(err, TS_ERR_MEMORY, "out of memory for task vectors");
    }
    t->mask = calloc((size_t)ts_task_places(t), 1);
    return t->mask || ts_fail(err, TS_ERR_MEMORY, "out of memory for task vectors");
}

ts_task *ts_task_new(const ts_mae_config *config, const ts_grid *grid, ts_error *err)
{
    if (!check_grid(config, grid, err)) return NULL;
    ts_task *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->config = *config;
    t->grid = *grid;
    if (make(t, err)) return t;
    ts_task_free(t);
    return NULL;
}

void ts_task_free(ts_task *t)
{
    if (!t) return;
    for (int i = 0; i < TS_TASK_HALVES; i++) free(t->vectors[i]);
    free(t->keep);
    free(t->part);
    free(t->mask);
    free(t);
}

/* ---- which model ---- */

static uint64_t hash(uint64_t sum, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) sum = (sum ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u; /* FNV-1a */
    return sum;
}

/* A number that tells a trained model from another of its sizes: of small tensors alone, so that it costs nothing, and rounded to
 * fp16, so that a file converted to that is the same model. */
static bool mark_of(const ts_weights *model, char out[17], ts_error *err)
{
    static const char *const names[] = {"cls_token", "mask_token", "norm.weight", "decoder_norm.weight", "decoder_pred.bias"};
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const ts_weight *t = ts_weights_find(model, names[i]);
        if (!t) return ts_weights_lack(model, names[i], "the masked autoencoder's", err);
        float *x = malloc((size_t)t->count * sizeof *x);
        if (!x) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const bool ok = ts_weight_to_f32(t, x, err);
        for (int64_t k = 0; ok && k < t->count; k++) {
            const uint16_t half = ts_f32_to_f16(x[k]);
            sum = hash(sum, &half, sizeof half);
        }
        free(x);
        if (!ok) return false;
    }
    snprintf(out, 17, "%016" PRIx64, sum);
    return true;
}

/* ---- the file ---- */

static const char *const filters[] = {"bilinear", "bicubic", "nearest"};

static bool add_tensors(const ts_task *t, ts_weights_writer *w, ts_error *err)
{
    for (int i = 0; i < TS_TASK_HALVES; i++) {
        const ts_task_half *h = &t->half[i];
        const int64_t shape[4] = {h->depth, h->tokens, h->heads, h->dim};
        char vectors[32], mask[32];
        snprintf(vectors, sizeof vectors, "%s.vectors", half_names[i]);
        snprintf(mask, sizeof mask, "%s.mask", half_names[i]);
        if (!ts_weights_writer_add(w, vectors, TS_DT_F32, 4, shape, t->vectors[i], err) ||
            !ts_weights_writer_add(w, mask, TS_DT_U8, 3, shape, t->mask + h->first, err))
            return false;
    }
    return true;
}

static void write_colours(const uint8_t (*colour)[3], int count, char *out)
{
    for (int i = 0; i < count; i++) out += sprintf(out, "%s%02x%02x%02x", i ? " " : "", colour[i][0], colour[i][1], colour[i][2]);
}

static bool read_colours(const char *text, uint8_t (*colour)[3], int count)
{
    for (int i = 0; i < count; i++, text += 7) {
        unsigned rgb;
        if (strspn(text, "0123456789abcdef") != 6 || sscanf(text, "%6x", &rgb) != 1) return false;
        for (int c = 0; c < 3; c++) colour[i][c] = (uint8_t)(rgb >> (16 - 8 * c));
        if (text[6] != (i + 1 < count ? ' ' : '\0')) return false;
    }
    return true;
}

bool ts_task_add(const ts_task *t, const ts_weights *model, ts_weights_writer *w, ts_error *err)
{
    const ts_grid_desc *d = &t->grid.desc;
    char mark[17], background[8], colours[16];
    if (!mark_of(model, mark, err)) return false;
    write_colours(&d->background, 1, background);
    write_colours(t->colours, 2, colours);
    return add_tensors(t, w, err) && ts_weights_writer_meta(w, "tessera.task", "1", err) &&
           ts_weights_writer_meta(w, "model", mark, err) && ts_weights_writer_meta(w, "background", background, err) &&
           ts_weights_writer_meta(w, "filter", filters[d->filter], err) &&
           (!t->has_colours || ts_weights_writer_meta(w, "colours", colours, err));
}

static bool broken(const ts_weights *file, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing, or not what a task of this model has there", ts_weights_path(file),
                   what);
}

/* How the task's canvases looked. */
static bool read_desc(const ts_weights *file, const ts_mae_config *c, ts_grid_desc *out, ts_error *err)
{
    const char *background = ts_weights_meta(file, "background"), *filter = ts_weights_meta(file, "filter");
    *out = (ts_grid_desc){.canvas = c->side * c->patch, .patch = c->patch};
    if (!background || !read_colours(background, &out->background, 1)) return broken(file, "\"background\"", err);
    for (int i = 0; filter && i < (int)(sizeof filters / sizeof *filters); i++) {
        if (strcmp(filter, filters[i]) != 0) continue;
        out->filter = (ts_resize_filter)i;
        return true;
    }
    return broken(file, "\"filter\"", err);
}

/* A tensor of the file that has these dimensions, or NULL. */
static const ts_weight *find(const ts_weights *file, int half, const char *what, int ndim, const int64_t *shape, ts_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", half_names[half], what);
    const ts_weight *w = ts_weights_find(file, name);
    bool ok = w && w->ndim == ndim;
    for (int i = 0; ok && i < ndim; i++) ok = w->shape[i] == shape[i];
    if (ok) return w;
    broken(file, name, err);
    return NULL;
}

static bool read_half(ts_task *t, int half, const ts_weights *file, ts_error *err)
{
    const ts_task_half *h = &t->half[half];
    const int64_t shape[4] = {h->depth, h->tokens, h->heads, h->dim}, places = ts_task_half_places(h);
    const ts_weight *vectors = find(file, half, "vectors", 4, shape, err), *mask = find(file, half, "mask", 3, shape, err);
    if (!vectors || !mask || !ts_weight_to_f32(vectors, t->vectors[half], err)) return false;
    for (int64_t i = 0; i < places * h->dim; i++)
        if (!isfinite(t->vectors[half][i])) return broken(file, "a vector's number", err);
    int64_t *bits = malloc((size_t)places * sizeof *bits);
    if (!bits) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = ts_weight_to_i64(mask, bits, err);
    for (int64_t i = 0; ok && i < places; i++) {
        ok = bits[i] == 0 || bits[i] == 1 || broken(file, "a mask", err);
        t->mask[h->first + i] = (uint8_t)bits[i];
    }
    free(bits);
    return ok;
}

ts_task *ts_task_open(const ts_weights *file, const ts_weights *model, const ts_mae_config *config, ts_error *err)
{
    const char *said = ts_weights_meta(file, "model"), *colours = ts_weights_meta(file, "colours");
    char mark[17];
    ts_grid_desc desc;
    ts_grid grid;
    if (!ts_weights_meta(file, "tessera.task") || !said) {
        ts_fail(err, TS_ERR_FORMAT, "%s is no task: tessera tune task makes one", ts_weights_path(file));
        return NULL;
    }
    if (!mark_of(model, mark, err)) return NULL;
    if (strcmp(mark, said) != 0) {
        ts_fail(err, TS_ERR_ARGUMENT,
                "%s is a task of another model than %s: vectors fit the model alone that they were taken from",
                ts_weights_path(file), ts_weights_path(model));
        return NULL;
    }
    if (!read_desc(file, config, &desc, err) || !ts_grid_plan(&desc, &grid, err)) return NULL;
    ts_task *t = ts_task_new(config, &grid, err);
    if (!t) return NULL;
    bool ok = read_half(t, 0, file, err) && read_half(t, 1, file, err);
    if (ok && colours) {
        t->has_colours = read_colours(colours, t->colours, 2);
        ok = t->has_colours || broken(file, "\"colours\"", err);
    }
    if (ok) return t;
    ts_task_free(t);
    return NULL;
}

/* ---- units ---- */

/* Groups of tokens that a head is patched at or not. */
static int groups_of(const ts_task *t, int half, ts_task_grain grain)
{
    return grain == TS_TASK_HEADS ? 1 : grain == TS_TASK_TOKENS ? t->half[half].tokens : half ? 3 : 2;
}

/* The class token, then patches: of the query 1, of the hole 2. */
static int group_at(const ts_task *t, int half, int token, ts_task_grain grain)
{
    if (grain != TS_TASK_GROUPS || token == 0) return grain == TS_TASK_TOKENS ? token : 0;
    const int patch = half ? t->part[token - 1] : t->keep[token - 1], side = t->grid.side_patches;
    return ts_grid_hidden(&t->grid, patch / side, patch % side) ? 2 : 1;
}

static int half_units(const ts_task *t, int half, ts_task_grain grain)
{
    return t->half[half].depth * t->half[half].heads * groups_of(t, half, grain);
}

int ts_task_units(const ts_task *t, ts_task_grain grain)
{
    return half_units(t, 0, grain) + half_units(t, 1, grain);
}

bool ts_task_in_part(const ts_task *t, ts_task_grain grain, int unit, ts_task_part part)
{
    return part == TS_TASK_BOTH || (unit < half_units(t, 0, grain)) == (part == TS_TASK_ENCODER);
}

int ts_task_unit_at(const ts_task *t, ts_task_grain grain, int half, int block, int token, int head)
{
    const int first = half ? half_units(t, 0, grain) : 0;
    return first + (block * t->half[half].heads + head) * groups_of(t, half, grain) + group_at(t, half, token, grain);
}

void ts_task_spread(const ts_task *t, ts_task_grain grain, const uint8_t *bits, uint8_t *mask)
{
    for (int half = 0; half < TS_TASK_HALVES; half++)
        for (int block = 0; block < t->half[half].depth; block++)
            for (int token = 0; token < t->half[half].tokens; token++)
                for (int head = 0; head < t->half[half].heads; head++)
                    *mask++ = bits[ts_task_unit_at(t, grain, half, block, token, head)];
}
