/* synthetic.c - what a model is measured on: the paper's six synthetic tasks, drawn as its code draws them (hard edges, at 224
 * pixels, resized afterwards as any picture is), and held-out scenes. A baseline goes through the same scoring as a model. */
#include <stdlib.h>
#include <string.h>

#include "grid/figures.h"

enum { SIDE = 224, OLD_RADIUS = 30, NEW_RADIUS = 20 };

static const uint8_t WHITE[3] = {255, 255, 255}, BLACK[3] = {0, 0, 0}, GREEN[3] = {0, 255, 0}, BLUE[3] = {0, 0, 255};

static const struct {
    const char *name;
    bool colour, shape, size; /* what changes; none: a scene */
    ts_figure_task task;      /* of scenes */
} KINDS[TS_TRIALS] = {
    [TS_TRIAL_COLOUR] = {"colour", true, false, false, 0},
    [TS_TRIAL_SHAPE] = {"shape", false, true, false, 0},
    [TS_TRIAL_SIZE] = {"size", false, false, true, 0},
    [TS_TRIAL_COLOUR_SHAPE] = {"colour-shape", true, true, false, 0},
    [TS_TRIAL_SIZE_COLOUR] = {"size-colour", true, false, true, 0},
    [TS_TRIAL_SIZE_SHAPE] = {"size-shape", false, true, true, 0},
    [TS_TRIAL_SEGMENT] = {"segment", false, false, false, TS_FIGURE_SEGMENT},
    [TS_TRIAL_COLOURISE] = {"colourise", false, false, false, TS_FIGURE_COLOURISE},
    [TS_TRIAL_FILL_IN] = {"fill-in", false, false, false, TS_FIGURE_FILL_IN},
};

const char *ts_trial_name(ts_trial_kind kind)
{
    return KINDS[kind].name;
}

static bool synthetic(ts_trial_kind kind)
{
    return kind < TS_TRIAL_SEGMENT;
}

/* A disc of radius r is x^2 + y^2 <= r^2 about its centre's pixel; a square reaches as far to each side. */
static void draw_shape(ts_image *img, bool square, int cx, int cy, int radius, const uint8_t colour[3])
{
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int dx = x - cx, dy = y - cy;
            bool inside = square ? abs(dx) <= radius && abs(dy) <= radius : dx * dx + dy * dy <= radius * radius;
            memcpy(img->data + ((size_t)y * SIDE + (size_t)x) * 3, inside ? colour : WHITE, 3);
        }
    }
}

static void draw_synthetic(ts_random *r, ts_trial_kind kind, ts_image *before, ts_image *after)
{
    int cx = ts_random_int(r, 10, 213), cy = ts_random_int(r, 10, 213), radius = ts_random_int(r, 10, 49);
    if (KINDS[kind].size) radius = OLD_RADIUS;
    draw_shape(before, false, cx, cy, radius, GREEN);
    draw_shape(after, KINDS[kind].shape, cx, cy, KINDS[kind].size ? NEW_RADIUS : radius, KINDS[kind].colour ? BLUE : GREEN);
}

static bool add_cover(ts_trial *t, const ts_cover *cover, ts_error *err)
{
    t->cover = malloc((size_t)SIDE * SIDE);
    if (!t->cover) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            t->cover[y * SIDE + x] = ts_cover_holds(cover, ((float)x + 0.5f) / SIDE, ((float)y + 0.5f) / SIDE);
    return true;
}

static void set_palette(ts_trial *t)
{
    const uint8_t *list[4] = {WHITE, KINDS[t->kind].colour ? BLUE : GREEN, KINDS[t->kind].colour ? GREEN : BLACK, BLACK};
    t->colours = KINDS[t->kind].colour ? 4 : 3;
    if (t->kind == TS_TRIAL_SIZE) { /* the published palette has blue here too */
        list[2] = BLUE;
        t->colours = 4;
    }
    if (t->kind == TS_TRIAL_SEGMENT) {
        list[0] = BLACK;
        list[1] = WHITE;
        t->colours = 2;
    }
    for (int i = 0; i < t->colours; i++) memcpy(t->palette[i], list[i], 3);
}

bool ts_trial_draw(ts_trial_kind kind, uint64_t seed, int index, int examples, ts_trial *out, ts_error *err)
{
    *out = (ts_trial){.kind = kind, .examples = examples ? examples : 2};
    if ((int)kind < 0 || kind >= TS_TRIALS) return ts_fail(err, TS_ERR_ARGUMENT, "there is no trial of kind %d", (int)kind);
    if (out->examples < 1 || out->examples > TS_GRID_MAX_EXAMPLES) {
        out->examples = 0;
        return ts_fail(err, TS_ERR_ARGUMENT, "a trial of %d example pairs is not possible: 1 to %d", examples,
                       TS_GRID_MAX_EXAMPLES);
    }
    ts_random r;
    ts_random_seed(&r, ts_figure_seed(ts_figure_seed(seed, (uint64_t)index), 1000 + (uint64_t)kind));
    ts_rule rule;
    ts_cover cover = {0};
    ts_cell whole = {0, 0, SIDE, SIDE};
    if (!synthetic(kind)) ts_rule_make(&r, KINDS[kind].task, true, false, &rule);
    for (int i = 0; i <= out->examples; i++) {
        ts_image *before = i < out->examples ? &out->input[i] : &out->query;
        ts_image *after = i < out->examples ? &out->output[i] : &out->answer;
        if (!ts_image_new(SIDE, SIDE, before, err) || !ts_image_new(SIDE, SIDE, after, err)) {
            ts_trial_clear(out);
            return false;
        }
        if (synthetic(kind)) draw_synthetic(&r, kind, before, after);
        else ts_rule_draw(&r, &rule, before, whole, after, whole, &cover);
    }
    if (synthetic(kind) || kind == TS_TRIAL_SEGMENT) set_palette(out);
    if (kind != TS_TRIAL_FILL_IN || add_cover(out, &cover, err)) return true;
    ts_trial_clear(out);
    return false;
}

void ts_trial_clear(ts_trial *t)
{
    for (int i = 0; i < TS_GRID_MAX_EXAMPLES; i++) {
        ts_image_clear(&t->input[i]);
        ts_image_clear(&t->output[i]);
    }
    ts_image_clear(&t->query);
    ts_image_clear(&t->answer);
    free(t->cover);
    *t = (ts_trial){0};
}

/* The cover at the answer's size: by its middle pixels, as it was drawn. NULL: out of memory. */
static uint8_t *cover_at(const ts_trial *t, int width, int height)
{
    uint8_t *mask = malloc((size_t)width * (size_t)height);
    for (int y = 0; mask && y < height; y++)
        for (int x = 0; x < width; x++)
            mask[(size_t)y * (size_t)width + (size_t)x] =
                t->cover[(2 * y + 1) * SIDE / (2 * height) * SIDE + (2 * x + 1) * SIDE / (2 * width)];
    return mask;
}

static bool score(const ts_trial *t, const ts_image *truth, const ts_image *answer, ts_score *out, ts_error *err)
{
    if (t->colours == 0) {
        if (!ts_score_mse(truth, answer, NULL, &out->mse, err)) return false;
        if (!t->cover) return true;
        uint8_t *mask = cover_at(t, truth->width, truth->height);
        bool ok = mask ? ts_score_mse(truth, answer, mask, &out->mse_cover, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory");
        free(mask);
        return ok;
    }
    if (!ts_score_palette(truth, answer, t->palette, t->colours, out, err)) return false;
    if (!synthetic(t->kind)) return true;
    ts_error memory = {0};
    int square = ts_blob_is_square(answer, t->palette, t->colours, &memory);
    if (memory.code) return ts_fail(err, memory.code, "%s", memory.text);
    out->shape = square == (int)KINDS[t->kind].shape;
    return true;
}

bool ts_trial_score(const ts_trial *trial, const ts_image *answer, ts_resize_filter filter, ts_score *out, ts_error *err)
{
    ts_image truth;
    *out = (ts_score){0};
    if (!ts_image_resize(&trial->answer, answer->width, answer->height, filter, &truth, err)) return false;
    bool ok = score(trial, &truth, answer, out, err);
    ts_image_clear(&truth);
    return ok;
}

bool ts_trial_baseline(const ts_trial *trial, ts_baseline baseline, int width, int height, ts_resize_filter filter, ts_score *out,
                       ts_error *err)
{
    ts_image copy;
    *out = (ts_score){0};
    const ts_image *from = baseline == TS_BASELINE_QUERY ? &trial->query : &trial->output[0];
    if (!ts_image_resize(from, width, height, filter, &copy, err)) return false;
    bool ok = ts_trial_score(trial, &copy, filter, out, err);
    ts_image_clear(&copy);
    return ok;
}
