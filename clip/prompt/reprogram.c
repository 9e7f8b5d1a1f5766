/* reprogram.c - adversarial reprogramming (Elsayed et al. 2018, arXiv 1806.11146) of CLIP: the picture, small, in the
 * middle of an input whose surround is a program tanh(W M), M the mask that is 0 under the picture (eq. 1). The picture is
 * normalised, the program is not, and stays within -1 and 1. Where the paper maps labels by a table, CLIP's class prompts name
 * them. */
#include "clip/prompt/method.h"

#include <math.h>
#include <stdlib.h>

/* Whether the place (y, x) lies under the picture, and where. */
static bool under(const ts_prompt *p, int64_t y, int64_t x, int64_t *row, int64_t *column)
{
    const int64_t border = (ts_clip_about(p->clip)->image - p->side) / 2;
    *row = y - border;
    *column = x - border;
    return *row >= 0 && *row < p->side && *column >= 0 && *column < p->side;
}

static void fill_mask(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)seed;
    float *out = data;
    int64_t row, column;
    for (int64_t y = 0; y < t->shape[0]; y++)
        for (int64_t x = 0; x < t->shape[1]; x++)
            for (int c = 0; c < 3; c++) *out++ = under(p, y, x, &row, &column) ? 0.0F : 1.0F;
}

static void fill_place(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data)
{
    (void)seed;
    const int64_t image = ts_clip_about(p->clip)->image;
    int32_t *out = data;
    for (int64_t b = 0; b < t->shape[0]; b++)
        for (int64_t y = 0; y < image; y++)
            for (int64_t x = 0; x < image; x++) {
                int64_t row, column;
                *out++ = under(p, y, x, &row, &column) ? (int32_t)(row * p->side + column) : -1;
            }
}

static bool declare(ts_prompt *p, ts_error *err)
{
    const int64_t image = ts_clip_about(p->clip)->image;
    if (p->settings.pixels == 0) p->settings.pixels = (int)image / 2;
    p->side = p->settings.pixels;
    if (p->side >= image)
        return ts_fail(err, TS_ERR_ARGUMENT, "reprogram: a picture of %d leaves no room for a program in an input of %d", p->side,
                       (int)image);
    return ts_prompt_declare(p, "program", TS_LAYOUT_PLAIN, 3, (int64_t[]){image, image, 3}, TS_START_NORMAL, 0.01, err) != NULL;
}

static ts_tensor *images(ts_prompt_graph *pg, ts_tensor *pixels)
{
    if (!pixels) return NULL;
    ts_graph *g = pg->g;
    const int64_t image = ts_clip_about(pg->prompt->clip)->image, side = pg->prompt->side, batch = pixels->shape[0];
    ts_tensor *mask = ts_prompt_input(pg, "mask", TS_REAL, 3, (int64_t[]){image, image, 3}, fill_mask, false);
    ts_tensor *place = ts_prompt_input(pg, "place", TS_I32, 2, (int64_t[]){batch, image * image}, fill_place, false);
    ts_tensor *program = ts_tanh(g, ts_mul(g, ts_prompt_param(pg, "program"), mask)); /* (S, S, 3) */
    ts_tensor *centre = ts_gather(g, ts_reshape(g, pixels, 3, (int64_t[]){batch, side * side, 3}), place, NULL);
    ts_tensor *whole = ts_add(g, ts_reshape(g, centre, 4, (int64_t[]){batch, image, image, 3}), program);
    return ts_clip_vision(g, pg->prompt->clip, ts_clip_patches(g, pg->prompt->clip, whole), NULL);
}

static bool recognise(const ts_weights *w, ts_method_settings *s)
{
    (void)s; /* the picture's side stands in no shape */
    return ts_prompt_in_file(w, "program") != NULL;
}

static bool picture(ts_prompt *p, uint8_t *rgb, ts_error *err)
{
    const int64_t image = ts_clip_about(p->clip)->image, area = image * image;
    float *program = malloc((size_t)area * 3 * sizeof *program);
    if (!program) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture of %d", (int)image);
    const bool ok = ts_prompt_read(p, "program", program, err);
    for (int64_t i = 0; ok && i < area; i++) {
        int64_t row, column;
        const bool hidden = under(p, i / image, i % image, &row, &column);
        for (int c = 0; c < 3; c++) program[i * 3 + c] = hidden ? 0 : tanhf(program[i * 3 + c]);
    }
    if (ok) ts_clip_denormalise(program, area, rgb);
    free(program);
    return ok;
}

const ts_method ts_method_reprogram = {
    .name = "reprogram",
    .about = "the small picture within a learned program (Elsayed et al. 2018)",
    .settings = "pixels",
    .text = "a photo of a {}.",
    .recipe = {.optimizer = TS_OPTIMIZE_ADAM,
               .lr = 0.05,
               .batch = 100,
               .epochs = 100,
               .warm_kind = TS_WARM_LINEAR,
               .fall = TS_FALL_DECAY,
               .decay = 0.96,
               .decay_every = 2},
    .declare = declare,
    .images = images,
    .recognise = recognise,
    .picture = picture,
};
