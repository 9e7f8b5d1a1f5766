/* vp.c - VP (Bahng et al. 2022, arXiv 2203.17274): pixels added to the normalised picture, so without bounds: a frame of
 * four tensors, a patch in the top left corner, or a patch at a place that is drawn anew for each batch. The parameters lie as
 * pictures do here, (rows, columns, 3); the published (1, 3, rows, columns) are turned when they are read. */
#include "clip/prompt/method.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    int top, left, rows, columns;
} part;

enum { FRAME = 4 };

/* The four parts of a frame p wide about `side` pixels: left and right stand between up and down. */
static void frame_parts(int side, int p, part out[FRAME])
{
    out[0] = (part){"pad_up", 0, 0, p, side};
    out[1] = (part){"pad_down", side - p, 0, p, side};
    out[2] = (part){"pad_left", p, 0, side - 2 * p, p};
    out[3] = (part){"pad_right", p, side - p, side - 2 * p, p};
}

/* index (side^2): the part's own pixel where it lies, -1 elsewhere. */
static void map_part(const part *at, int side, int32_t *index)
{
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            const int row = y - at->top, column = x - at->left;
            const bool inside = row >= 0 && row < at->rows && column >= 0 && column < at->columns;
            index[y * side + x] = inside ? row * at->columns + column : -1;
        }
}

static void fill_frame(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)seed;
    part parts[FRAME];
    frame_parts(p->side, p->settings.pixels, parts);
    for (int i = 0; i < FRAME; i++)
        if (strcmp(parts[i].name, t->name) == 0) map_part(&parts[i], p->side, data);
}

static void fill_fixed(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)t, (void)seed;
    map_part(&(part){"patch", 0, 0, p->settings.pixels, p->settings.pixels}, p->side, data);
}

static void fill_random(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    uint64_t state = ts_prompt_seed(seed, t->name);
    const int pixels = p->settings.pixels, room = p->side - pixels; /* places 0 ... room - 1, as published */
    const int top = (int)(ts_uniform(&state) * room), left = (int)(ts_uniform(&state) * room);
    map_part(&(part){"patch", top, left, pixels, pixels}, p->side, data);
}

/* ---- parameters ---- */

static bool check(const ts_prompt *p, int most, ts_error *err)
{
    return p->settings.pixels <= most || ts_fail(err, TS_ERR_ARGUMENT, "%s: pixels is %d, and a picture of %d has room for %d",
                                                 p->method->name, p->settings.pixels, p->side, most);
}

static bool declare_part(ts_prompt *p, const part *at, ts_error *err)
{
    const int64_t shape[] = {at->rows, at->columns, 3};
    return ts_prompt_declare(p, at->name, TS_LAYOUT_PLAIN, 3, shape, TS_START_NORMAL, 1, err) != NULL;
}

static bool declare_frame(ts_prompt *p, ts_error *err)
{
    part parts[FRAME];
    if (!check(p, (p->side - 1) / 2, err)) return false;
    frame_parts(p->side, p->settings.pixels, parts);
    for (int i = 0; i < FRAME; i++)
        if (!declare_part(p, &parts[i], err)) return false;
    return true;
}

static bool declare_patch(ts_prompt *p, ts_error *err)
{
    return check(p, p->side, err) && declare_part(p, &(part){"patch", 0, 0, p->settings.pixels, p->settings.pixels}, err);
}

/* ---- graph ---- */

/* The parameter `name` where it lies in the picture, zeros elsewhere: (side, side, 3). */
static ts_tensor *placed(ts_prompt_graph *pg, const char *name, ts_prompt_fill fill, bool each_step)
{
    const int64_t side = pg->prompt->side;
    ts_tensor *pixels = ts_prompt_param(pg, name);
    ts_tensor *rows = ts_reshape(pg->g, pixels, 2, (int64_t[]){ts_count(pixels) / 3, 3});
    ts_tensor *index = ts_prompt_input(pg, name, TS_I32, 2, (int64_t[]){1, side * side}, fill, each_step);
    return ts_reshape(pg->g, ts_gather(pg->g, rows, index, NULL), 3, (int64_t[]){side, side, 3});
}

static ts_tensor *encode(ts_prompt_graph *pg, ts_tensor *pixels)
{
    return ts_clip_vision(pg->g, pg->prompt->clip, ts_clip_patches(pg->g, pg->prompt->clip, pixels), NULL);
}

static ts_tensor *images_frame(ts_prompt_graph *pg, ts_tensor *pixels)
{
    part parts[FRAME];
    frame_parts(pg->prompt->side, pg->prompt->settings.pixels, parts);
    ts_tensor *prompt = NULL;
    for (int i = 0; i < FRAME; i++) {
        ts_tensor *one = placed(pg, parts[i].name, fill_frame, false);
        prompt = i ? ts_add(pg->g, prompt, one) : one;
    }
    return encode(pg, ts_add(pg->g, pixels, prompt));
}

static ts_tensor *images_fixed(ts_prompt_graph *pg, ts_tensor *pixels)
{
    return encode(pg, ts_add(pg->g, pixels, placed(pg, "patch", fill_fixed, false)));
}

static ts_tensor *images_random(ts_prompt_graph *pg, ts_tensor *pixels)
{
    return encode(pg, ts_add(pg->g, pixels, placed(pg, "patch", fill_random, true)));
}

/* ---- the prompt as a picture: what a grey picture (all zeros, normalised) would become ---- */

static bool draw(ts_prompt *p, const part *parts, int count, uint8_t *rgb, ts_error *err)
{
    const int64_t area = (int64_t)p->side * p->side;
    float *picture = calloc((size_t)area * 3, sizeof *picture), *pixels = malloc((size_t)area * 3 * sizeof *pixels);
    int32_t *index = calloc((size_t)area, sizeof *index);
    bool ok = picture && pixels && index;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture of %d", p->side);
    for (int i = 0; ok && i < count; i++) {
        ok = ts_prompt_read(p, parts[i].name, pixels, err);
        map_part(&parts[i], p->side, index);
        for (int64_t at = 0; ok && at < area; at++)
            if (index[at] >= 0) memcpy(picture + at * 3, pixels + (int64_t)index[at] * 3, 3 * sizeof *picture);
    }
    if (ok) ts_clip_denormalise(picture, area, rgb);
    free(picture);
    free(pixels);
    free(index);
    return ok;
}

static bool picture_frame(ts_prompt *p, uint8_t *rgb, ts_error *err)
{
    part parts[FRAME];
    frame_parts(p->side, p->settings.pixels, parts);
    return draw(p, parts, FRAME, rgb, err);
}

static bool picture_patch(ts_prompt *p, uint8_t *rgb, ts_error *err)
{
    return draw(p, &(part){"patch", 0, 0, p->settings.pixels, p->settings.pixels}, 1, rgb, err);
}

/* ---- the methods ---- */

/* The side that is the width: the first in ours, the third in the published order. */
static bool recognise(const ts_weights *w, const char *name, ts_method_settings *s)
{
    const ts_weight *t = ts_prompt_in_file(w, name);
    if (!t || t->ndim < 3 || t->ndim > 4) return false;
    s->pixels = (int)(t->ndim == 4 ? t->shape[2] : t->shape[0]);
    return true;
}

static bool recognise_frame(const ts_weights *w, ts_method_settings *s)
{
    return recognise(w, "pad_up", s);
}

static bool recognise_patch(const ts_weights *w, ts_method_settings *s)
{
    return recognise(w, "patch", s);
}

/* Where a patch stood is not in its file: it is taken for a fixed one. */
static bool recognise_none(const ts_weights *w, ts_method_settings *s)
{
    (void)w, (void)s;
    return false;
}

static const char NOTE[] = "As published, the warm-up takes 1000 steps however short the run: a run of few steps wants --warmup. "
                           "Kept otherwise: the prompt is\n"
                           "the last one, where the authors keep the one that is best on the test pictures.\n";

#define VP_COMMON                                                                                                                \
    .settings = "pixels", .standard = {.pixels = 30}, .text = "This is a photo of a {}", .plain_names = true, .note = NOTE,      \
    .recipe = {.lr = 40,                                                                                                         \
               .momentum = 0.9,                                                                                                  \
               .batch = 256,                                                                                                     \
               .keep_last = true,                                                                                                \
               .epochs = 1000,                                                                                                   \
               .by_step = true,                                                                                                  \
               .warm_kind = TS_WARM_LINEAR,                                                                                      \
               .warm = 1000}

const ts_method ts_method_vp_padding = {.name = "vp-padding",
                                        .about = "a frame of pixels added to the picture (Bahng et al. 2022)",
                                        .declare = declare_frame,
                                        .images = images_frame,
                                        .recognise = recognise_frame,
                                        .picture = picture_frame,
                                        VP_COMMON};

const ts_method ts_method_vp_fixed = {.name = "vp-fixed",
                                      .about = "a patch of pixels added in the corner (Bahng et al. 2022)",
                                      .declare = declare_patch,
                                      .images = images_fixed,
                                      .recognise = recognise_patch,
                                      .picture = picture_patch,
                                      VP_COMMON};

const ts_method ts_method_vp_random = {.name = "vp-random",
                                       .about = "a patch of pixels added at a random place (Bahng et al. 2022)",
                                       .declare = declare_patch,
                                       .images = images_random,
                                       .recognise = recognise_none,
                                       .picture = picture_patch,
                                       VP_COMMON};
