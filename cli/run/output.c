/* output.c - what becomes of an answer: brought to the examples' colours, or made a mask, and laid over the query. */
#include "cli/run/run.h"

/* Of the outputs that are shown, the first is the first pair's: they may be shown a second time. */
void run_see_output(run_job *r, int pair, const ts_image *picture)
{
    if (pair == 0) {
        r->colours = (ts_palette){0};
        r->many_colours = false;
    }
    if (!r->many_colours && !ts_palette_add(&r->colours, picture)) r->many_colours = true;
    if (r->many_colours) r->colours = (ts_palette){0};
}

/* Keeps the two colours that most pixels have. */
static void keep_two(ts_palette *p)
{
    for (int i = 0; i < 2; i++) {
        int most = i;
        for (int k = i + 1; k < p->count; k++)
            if (p->pixels[k] > p->pixels[most]) most = k;
        for (int c = 0; c < 3; c++) {
            const uint8_t colour = p->colour[i][c];
            p->colour[i][c] = p->colour[most][c];
            p->colour[most][c] = colour;
        }
        const int64_t pixels = p->pixels[i], border = p->border[i];
        p->pixels[i] = p->pixels[most], p->border[i] = p->border[most];
        p->pixels[most] = pixels, p->border[most] = border;
    }
    p->count = 2;
}

/* JPEG makes many greys of a mask's edge: its two colours are what was meant. */
static void take_for_masks(run_job *r)
{
    if (r->colours.count > 2) {
        keep_two(&r->colours);
    } else {
        r->colours = (ts_palette){.count = 2, .colour = {{0, 0, 0}, {255, 255, 255}}};
    }
    const uint8_t *a = r->colours.colour[0], *b = r->colours.colour[1];
    if (!r->common.quiet && !r->told_masks)
        ts_say("note: the examples' outputs have two colours and traces of others, as JPEG leaves them: they are taken for "
               "#%02x%02x%02x and #%02x%02x%02x",
               a[0], a[1], a[2], b[0], b[1], b[2]);
    r->told_masks = true;
}

bool run_plan_output(run_job *r, ts_error *err)
{
    const char *option = r->mask ? "--mask" : "--palette";
    if (r->looks.masks && (r->many_colours || r->colours.count > 2) && (r->mask || r->palette || r->overlay || r->engine->snaps))
        take_for_masks(r);
    if ((r->mask || r->palette) && r->colours.count == 0)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "%s wants examples whose outputs have at most %d colours, these have more: a photograph has, and so has what "
            "JPEG makes of a drawing",
            option, TS_PALETTE_MOST);
    if (r->mask && r->colours.count < 2)
        return ts_fail(err, TS_ERR_ARGUMENT, "the examples' outputs have one colour: there is no foreground for a mask");
    for (int i = 0; r->mask && i < r->jobs.count; i++)
        if (!ts_is_standard(r->jobs.answer[i]) && !ts_png_named(r->jobs.answer[i]))
            return ts_fail(err, TS_ERR_ARGUMENT, "--mask writes a PNG of one channel: %s does not end in .png",
                           r->jobs.answer[i]);
    r->snap = r->palette || (r->engine->snaps && !r->no_palette && r->colours.count > 0);
    return true;
}

static bool write_overlay(run_job *r, int at, const ts_image *answer, const ts_mask *mask, ts_error *err)
{
    uint8_t colour[3];
    ts_image query = {0};
    ts_mask_colour(0, colour);
    bool ok = true;
    if (ts_is_standard(r->jobs.query[at])) { /* one query at most */
        query = r->standard;
        r->standard = (ts_image){0};
    } else {
        ok = ts_load_picture(r->jobs.query[at], &query, err);
    }
    if (ok && (query.width != answer->width || query.height != answer->height))
        ok = ts_fail(err, TS_ERR_IO, "%s has changed since it was read", r->jobs.query[at]);
    ok = ok &&
         (mask->data ? ts_overlay_mask(&query, mask, colour, err)
                     : ts_overlay_answer(&query, answer, r->colours.count ? &r->colours : NULL, err)) &&
         ts_save_picture(r->jobs.overlay[at], &query, err);
    ts_image_clear(&query);
    return ok;
}

bool run_write_output(run_job *r, int at, ts_image *answer, ts_error *err)
{
    ts_mask mask = {0};
    if (r->snap) ts_palette_snap(&r->colours, answer);
    bool ok = !r->mask || ts_palette_mask(&r->colours, answer, &mask, err);
    ok = ok && (r->mask ? ts_save_mask(r->jobs.answer[at], &mask, err) : ts_save_picture(r->jobs.answer[at], answer, err));
    if (ok && r->jobs.overlay) ok = write_overlay(r, at, answer, &mask, err);
    ts_mask_clear(&mask);
    return ok;
}
