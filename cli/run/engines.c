/* engines.c - which engine does the work for a model, and which options it takes. */
#include <stdio.h>
#include <string.h>

#include "cli/run/run.h"

static const struct {
    ts_kind kind;
    const run_engine *engine;
} engines[] = {
    {TS_KIND_MAE_VQGAN, &run_engine_mae},   {TS_KIND_SEGGPT, &run_engine_painter},    {TS_KIND_PAINTER, &run_engine_painter},
    {TS_KIND_DINOV2, &run_engine_insid3},   {TS_KIND_CLIP, &run_engine_insid3},       {TS_KIND_SAM, &run_engine_of_sam},
    {TS_KIND_STROKES, &run_engine_strokes}, {TS_KIND_MOBILE_SAM, &run_engine_of_sam},
};

enum { ENGINES = sizeof engines / sizeof *engines };

bool run_is_pixels(const run_job *r)
{
    return r->model && strcmp(r->model, "pixels") == 0;
}

bool run_has_learned(const run_job *r)
{
    ts_weights *w = r->model && !run_is_pixels(r) ? ts_weights_open(r->model, NULL) : NULL;
    const bool has = w && ts_kind_of(w) == TS_KIND_STROKES;
    ts_weights_free(w);
    return has;
}

bool run_open_weights(run_job *r, ts_error *err)
{
    if (!run_is_pixels(r) && !(r->weights = ts_open_weights(r->model, r->common.quiet, err))) return false;
    return run_choose(r, err);
}

bool run_choose(run_job *r, ts_error *err)
{
    if (run_is_pixels(r)) {
        r->engine = &run_engine_strokes;
        return run_check_options(r, err);
    }
    const ts_kind kind = ts_kind_of(r->weights);
    r->engine = &run_engine_mae; /* which also says of other files what they are */
    for (int i = 0; i < ENGINES; i++)
        if (engines[i].kind == kind) r->engine = engines[i].engine;
    ts_error why = {0};
    if (r->engine == &run_engine_mae && !ts_kind_expect(r->weights, TS_KIND_MAE_VQGAN, &why))
        return ts_fail(err, why.code, "%s, or a SegGPT, Painter, DINO, CLIP, SAM or model from strokes", why.text);
    return run_check_options(r, err);
}

static bool takes(const run_engine *engine, const char *option)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", option);
    return strstr(engine->options, word) != NULL;
}

bool run_check_options(const run_job *r, ts_error *err)
{
    for (int k = 0; k < r->given.count; k++) {
        ts_kind whose = TS_KIND_UNKNOWN;
        for (int i = 0; i < ENGINES && whose == TS_KIND_UNKNOWN; i++)
            if (takes(engines[i].engine, r->given.items[k])) whose = engines[i].kind;
        if (whose == TS_KIND_UNKNOWN || takes(r->engine, r->given.items[k])) continue; /* every engine's, or this one's */
        return ts_fail(err, TS_ERR_ARGUMENT, "--%s is for %s, and %s is %s", r->given.items[k], ts_kind_name(whose), r->model,
                       ts_kind_name(run_is_pixels(r) ? TS_KIND_STROKES : ts_kind_of(r->weights)));
    }
    return true;
}
