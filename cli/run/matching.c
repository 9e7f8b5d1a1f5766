/* matching.c - the engines that segment by one example or several with frozen features: INSID3 with a DINO or a CLIP. An
 * example's output is its mask; the answer is one, in its colours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/run.h"
#include "dino/dino.h"
#include "matching/matching.h"

typedef struct {
    ts_image picture[RUN_PAIRS]; /* the examples, until the model has seen them */
    ts_mask mask[RUN_PAIRS];
    ts_image standard;    /* the query that was standard input */
    bool grey;            /* masks are written with one channel */
    bool seen;            /* the model has seen the examples */
    ts_weights *features; /* GF-SAM's */
    ts_insid3 *insid3;    /* one of the three */
    ts_persam *persam;
    ts_gfsam *gfsam;
    int64_t inside; /* pixels of the last answer */
    double ms;      /* that it took */
} matching_run;

/* In the place of the picture that was there. */
static bool replace(const ts_image *from, ts_image *to, ts_error *err)
{
    ts_image_clear(to);
    return ts_image_copy(from, to, err);
}

/* ---- examples ---- */

static bool is_grey(const ts_palette *p)
{
    for (int i = 0; i < p->count; i++)
        if (p->colour[i][0] != p->colour[i][1] || p->colour[i][0] != p->colour[i][2]) return false;
    return true;
}

/* What an output shows: all but its background; where it has greys between the two, as edges have them, what is lighter than
 * half. */
static bool read_mask(const ts_image *output, ts_mask *out, ts_error *err)
{
    ts_palette p = {0};
    const bool few = ts_palette_add(&p, output);
    if (few && p.count < 2) return ts_mask_new(output->width, output->height, out, err);
    if (few && (p.count == 2 || !is_grey(&p))) return ts_palette_mask(&p, output, out, err);
    if (!ts_mask_of_image(output, out, err)) return false;
    if (!few || ts_mask_area(out) > 0) return true;
    ts_mask_clear(out);
    return ts_palette_mask(&p, output, out, err);
}

static bool take_mask(run_job *r, int pair, const ts_image *output, ts_error *err)
{
    matching_run *m = r->own;
    const ts_image *picture = &m->picture[pair];
    ts_mask whole = {0}, *mask = &m->mask[pair];
    ts_mask_clear(mask);
    bool ok = read_mask(output, &whole, err) && ts_mask_resize(&whole, picture->width, picture->height, mask, err);
    ts_mask_clear(&whole);
    if (ok && ts_mask_area(mask) == 0)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s: the example's mask shows nothing: all of it is background",
                     r->examples.items[2 * pair + 1]);
    if (m->grey) r->mask = !r->many_colours;
    return ok;
}

static void forget_seen(matching_run *m)
{
    if (m->gfsam) ts_gfsam_forget(m->gfsam);
    if (m->persam) ts_persam_forget(m->persam);
    if (m->insid3) ts_insid3_forget(m->insid3);
    m->seen = false;
}

static bool example(run_job *r, int pair, bool output, const ts_image *picture, ts_error *err)
{
    matching_run *m = r->own;
    if (m->seen) forget_seen(m); /* these take the place of those before */
    return output ? take_mask(r, pair, picture, err) : replace(picture, &m->picture[pair], err);
}

/* Queries are read again when it is their turn: as they are, many are more than memory holds. */
static bool query(run_job *r, int at, const ts_image *picture, ts_error *err)
{
    matching_run *m = r->own;
    return !ts_is_standard(r->jobs.query[at]) || replace(picture, &m->standard, err);
}

/* ---- the model ---- */

static bool open(run_job *r, ts_error *err)
{
    r->own = calloc(1, sizeof(matching_run));
    matching_run *m = r->own;
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    m->grey = !r->mask && !r->palette;
    for (int i = 0; i < r->jobs.count; i++)
        m->grey = m->grey && (ts_is_standard(r->jobs.answer[i]) || ts_png_named(r->jobs.answer[i]));
    return true;
}

static bool open_sam(run_job *r, ts_error *err)
{
    if (!open(r, err)) return false;
    matching_run *m = r->own;
    if (!r->matching.features) return true;
    if (r->matching.tune)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "--tune learns to mix a SAM's masks, which GF-SAM (--features) does not do: not both");
    ts_dino_config config;
    return (m->features = ts_open_weights(r->matching.features, r->common.quiet, err)) &&
           ts_dino_config_read(m->features, &config, err);
}

static void forget_examples(matching_run *m)
{
    for (int i = 0; i < RUN_PAIRS; i++) {
        ts_image_clear(&m->picture[i]);
        ts_mask_clear(&m->mask[i]);
    }
}

static bool make_insid3(run_job *r, ts_error *err)
{
    matching_run *m = r->own;
    const ts_insid3_desc desc = {
        .weights = r->weights,
        .told = {.heads = r->mae.heads, .text_heads = r->matching.text_heads, .activation = r->matching.activation},
        .side = r->matching.places,
        .components = r->matching.components};
    return (m->insid3 = ts_insid3_new(r->dev, &desc, err)) != NULL;
}

static bool make_of_sam(run_job *r, ts_error *err)
{
    matching_run *m = r->own;
    if (m->features) m->gfsam = ts_gfsam_new(r->dev, &(ts_gfsam_desc){r->weights, m->features}, err);
    else m->persam = ts_persam_new(r->dev, &(ts_persam_desc){r->weights, r->matching.tune}, err);
    return m->gfsam || m->persam;
}

static bool add_example(matching_run *m, int i, ts_error *err)
{
    const ts_image *picture = &m->picture[i];
    const ts_mask *mask = &m->mask[i];
    if (m->gfsam) return ts_gfsam_example(m->gfsam, picture, mask, err);
    if (m->persam) return ts_persam_example(m->persam, picture, mask, err);
    return ts_insid3_example(m->insid3, picture, mask, err);
}

static bool show_examples(run_job *r, ts_error *err)
{
    matching_run *m = r->own;
    bool ok = true;
    for (int i = 0; ok && i < r->examples.count / 2; i++) ok = add_example(m, i, err);
    forget_examples(m);
    m->seen = ok;
    return ok;
}

static bool start_with(run_job *r, bool (*make)(run_job *r, ts_error *err), ts_error *err)
{
    const double began = ts_now_ms();
    const matching_run *m = r->own;
    const bool made = m->insid3 || m->persam || m->gfsam; /* and its examples were refused */
    const bool ok = (made || make(r, err)) && show_examples(r, err);
    r->load_ms += ts_now_ms() - began;
    return ok;
}

static bool start(run_job *r, ts_error *err)
{
    return start_with(r, make_insid3, err);
}

static bool start_sam(run_job *r, ts_error *err)
{
    return start_with(r, make_of_sam, err);
}

/* ---- answers ---- */

/* The examples' colours, where they have two or more: their background's, and that which most of the rest has. */
static void choose_colours(const ts_palette *p, uint8_t outside[3], uint8_t inside[3])
{
    memset(outside, 0, 3);
    memset(inside, 255, 3);
    if (p->count < 2) return;
    const int background = ts_palette_background(p);
    int most = background == 0;
    for (int i = most + 1; i < p->count; i++)
        if (i != background && p->pixels[i] > p->pixels[most]) most = i;
    memcpy(outside, p->colour[background], 3);
    memcpy(inside, p->colour[most], 3);
}

static bool draw(const run_job *r, const ts_mask *mask, ts_image *answer, ts_error *err)
{
    uint8_t colour[2][3];
    choose_colours(&r->colours, colour[0], colour[1]);
    if (!ts_image_new(mask->width, mask->height, answer, err)) return false;
    for (int64_t i = 0; i < (int64_t)mask->width * mask->height; i++) memcpy(answer->data + 3 * i, colour[mask->data[i]], 3);
    return true;
}

static bool segment(matching_run *m, const ts_image *picture, ts_mask *out, ts_error *err)
{
    if (m->gfsam) return ts_gfsam_segment(m->gfsam, picture, out, err);
    if (m->persam) return ts_persam_segment(m->persam, picture, out, err);
    return ts_insid3_segment(m->insid3, picture, out, err);
}

static bool answer(run_job *r, int first, int count, ts_image *answers, ts_error *err)
{
    matching_run *m = r->own;
    const char *path = r->jobs.query[first];
    const double began = ts_now_ms();
    (void)count;
    ts_image again = {0};
    ts_mask mask = {0};
    const bool standard = ts_is_standard(path);
    bool ok = standard || ts_load_picture(path, &again, err);
    const ts_image *picture = standard ? &m->standard : &again;
    if (ok && (picture->width != r->sizes[first].width || picture->height != r->sizes[first].height))
        ok = ts_fail(err, TS_ERR_IO, "%s has changed since it was read", path);
    ok = ok && (m->seen || show_examples(r, err)) && segment(m, picture, &mask, err) && draw(r, &mask, answers, err);
    if (ok) m->inside = ts_mask_area(&mask);
    m->ms = ts_now_ms() - began;
    ts_mask_clear(&mask);
    ts_image_clear(&again);
    return ok;
}

static const char *method_of(const run_job *r)
{
    const matching_run *m = r->own;
    return m->insid3 ? "INSID3" : m->gfsam ? "GF-SAM" : r->matching.tune ? "PerSAM-F" : "PerSAM";
}

static bool report(const run_job *r, int at, cJSON *item, cJSON *ms)
{
    const matching_run *m = r->own;
    double scale[TS_SAM_MAX_MASKS];
    const int scales = m->persam ? ts_persam_scales(m->persam, scale) : 0;
    (void)at;
    if (scales > 0) cJSON_AddItemToObject(item, "scales", cJSON_CreateDoubleArray(scale, scales));
    return cJSON_AddStringToObject(item, "method", method_of(r)) && cJSON_AddNumberToObject(item, "inside", (double)m->inside) &&
           cJSON_AddNumberToObject(ms, "segment", round(m->ms * 1e3) * 1e-3);
}

static void clear(run_job *r)
{
    matching_run *m = r->own;
    forget_examples(m);
    ts_image_clear(&m->standard);
    ts_insid3_free(m->insid3);
    ts_persam_free(m->persam);
    ts_gfsam_free(m->gfsam);
    ts_weights_free(m->features);
    free(m);
}

const run_engine run_engine_insid3 = {
    .options = " places debias heads text-heads activation ",
    .open = open,
    .example = example,
    .query = query,
    .start = start,
    .answer = answer,
    .report = report,
    .clear = clear,
};

const run_engine run_engine_of_sam = {
    .options = " tune features ",
    .open = open_sam,
    .example = example,
    .query = query,
    .start = start_sam,
    .answer = answer,
    .report = report,
    .clear = clear,
};
