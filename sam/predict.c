/* predict.c - prompts through the decoder. Graphs are planned by what prompts there are and how many, and kept, a few of them; a
 * rest of prompts goes in batches of powers of two, so that there are few sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

enum { PLANS = 8 };

/* What a plan is made for. */
typedef struct {
    int batch, tokens;
    bool multimask, prior, similarity, target;
} plan_kind;

typedef struct {
    plan_kind kind;
    ts_graph *graph;
    ts_exec *exec;
    ts_tensor *tokens;
    ts_tensor *prior, *embedding; /* with a prior */
    sam_image image;              /* without one: inputs */
    sam_decode how;
    sam_decoded out;
    uint64_t picture; /* whose embedding is written */
    uint64_t used;    /* when last */
} sam_plan;

struct sam_plans {
    sam_plan list[PLANS];
    uint64_t clock;
};

static void plan_clear(sam_plan *p)
{
    ts_exec_free(p->exec);
    ts_graph_free(p->graph);
    *p = (sam_plan){0};
}

void ts_sam_plans_free(sam_plans *plans)
{
    if (!plans) return;
    for (int i = 0; i < PLANS; i++) plan_clear(&plans->list[i]);
    free(plans);
}

/* The picture's side of the first layer: an input, or of each prompt's own where there are priors. */
static void describe_image(sam_plan *p, const sam_model *m)
{
    const ts_sam_config *c = &m->config;
    ts_graph *g = p->graph;
    const int64_t places = (int64_t)c->side * c->side, e = c->embed, inner = c->decoder_inner;
    if (p->kind.prior) {
        p->prior = ts_input(g, "prior", TS_REAL, 4, (int64_t[]){p->kind.batch, c->low, c->low, 1});
        p->embedding = ts_input(g, "embedding", TS_REAL, 2, (int64_t[]){places, e});
        p->image = ts_sam_project(g, m, ts_add(g, ts_sam_encode_prior(g, m, p->prior), p->embedding));
        return;
    }
    p->image.keys = ts_input(g, "keys", TS_REAL, 3, (int64_t[]){1, places, e});
    p->image.k = ts_input(g, "k", TS_REAL, 3, (int64_t[]){1, places, inner});
    p->image.v = ts_input(g, "v", TS_REAL, 3, (int64_t[]){1, places, inner});
    p->image.q = ts_input(g, "q", TS_REAL, 3, (int64_t[]){1, places, inner});
}

static bool plan_make(sam_plan *p, ts_sam *s, const plan_kind *kind, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const int64_t places = (int64_t)c->side * c->side, e = c->embed;
    ts_graph *g = p->graph = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->kind = *kind;
    p->tokens = ts_input(g, "tokens", TS_REAL, 3, (int64_t[]){kind->batch, kind->tokens, e});
    describe_image(p, &s->model);
    p->how.multimask = kind->multimask;
    if (kind->similarity) p->how.similarity = ts_input(g, "similarity", TS_REAL, 1, &places);
    if (kind->target) p->how.target = ts_input(g, "target", TS_REAL, 1, &e);
    p->out = ts_sam_decode(g, &s->model, p->tokens, &p->image, &p->how);
    ts_output(g, p->out.masks);
    ts_output(g, p->out.scores);
    return ts_params_check(s->model.params, err) && ts_params_check(s->model.made, err) &&
           (p->exec = ts_exec_new(g, s->dev, err)) != NULL;
}

static bool same(const plan_kind *a, const plan_kind *b)
{
    return a->batch == b->batch && a->tokens == b->tokens && a->multimask == b->multimask && a->prior == b->prior &&
           a->similarity == b->similarity && a->target == b->target;
}

/* The plan of that kind: one that is kept, or a new one in the place of what was not used for longest. */
static sam_plan *plan_of(ts_sam *s, const plan_kind *kind, ts_error *err)
{
    if (!s->plans) s->plans = calloc(1, sizeof *s->plans);
    if (!s->plans) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    sam_plan *list = s->plans->list, *oldest = list;
    for (int i = 0; i < PLANS; i++) {
        if (list[i].exec && same(&list[i].kind, kind)) {
            list[i].used = ++s->plans->clock;
            return &list[i];
        }
        if (list[i].used < oldest->used) oldest = &list[i];
    }
    plan_clear(oldest);
    if (!plan_make(oldest, s, kind, err)) {
        plan_clear(oldest);
        return NULL;
    }
    oldest->used = ++s->plans->clock;
    return oldest;
}

/* ---- running ---- */

static bool write_picture(const ts_sam *s, sam_plan *p, ts_error *err)
{
    if (p->picture == s->number) return true;
    const bool ok = p->kind.prior ? ts_write(p->exec, p->embedding, s->embedding, err)
                                  : ts_write(p->exec, p->image.keys, s->keys, err) && ts_write(p->exec, p->image.k, s->k, err) &&
                                        ts_write(p->exec, p->image.v, s->v, err) && ts_write(p->exec, p->image.q, s->q, err);
    if (ok) p->picture = s->number;
    return ok;
}

static bool write_prompts(const ts_sam *s, const sam_plan *p, const ts_sam_prompt *prompts, const ts_sam_guide *guide,
                          ts_error *err)
{
    const size_t one = (size_t)p->kind.tokens * (size_t)s->model.config.embed;
    const size_t prior = (size_t)s->model.config.low * (size_t)s->model.config.low, batch = (size_t)p->kind.batch;
    float *tokens = malloc(batch * one * sizeof *tokens), *priors = p->prior ? malloc(batch * prior * sizeof *priors) : NULL;
    bool ok = (tokens && (priors || !p->prior)) || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d prompts", p->kind.batch);
    for (size_t i = 0; ok && i < batch; i++) {
        ts_sam_tokens(s, prompts + i, tokens + i * one);
        if (priors) memcpy(priors + i * prior, prompts[i].prior, prior * sizeof *priors);
    }
    ok = ok && ts_write(p->exec, p->tokens, tokens, err) && (!priors || ts_write(p->exec, p->prior, priors, err)) &&
         (!p->how.similarity || ts_write(p->exec, p->how.similarity, guide->similarity, err)) &&
         (!p->how.target || ts_write(p->exec, p->how.target, guide->target, err));
    free(tokens);
    free(priors);
    return ok;
}

/* The decoder's masks lie pixel by pixel, the answer's one after the other. */
static bool read_answers(const ts_sam *s, const sam_plan *p, int first, ts_sam_answer *out, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const int64_t pixels = (int64_t)out->low * out->low, each = out->each, batch = p->kind.batch;
    float *masks = malloc((size_t)(batch * pixels * each) * sizeof *masks);
    float *scores = malloc((size_t)(batch * c->masks) * sizeof *scores);
    bool ok = masks && scores;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d prompts", p->kind.batch);
    ok = ok && ts_read(p->exec, p->out.masks, masks, err) && ts_read(p->exec, p->out.scores, scores, err);
    for (int64_t b = 0; ok && b < batch; b++)
        for (int64_t k = 0; k < each; k++) {
            float *to = out->logits + ((first + b) * each + k) * pixels, sum = 0;
            for (int64_t i = 0; i < pixels; i++) sum += to[i] = masks[(b * pixels + i) * each + k];
            const float score = scores[b * c->masks + ts_sam_first_mask(p->kind.multimask) + k];
            out->score[(first + b) * each + k] = score;
            if (!isfinite(sum) || !isfinite(score)) ok = false;
        }
    if (!ok)
        ts_fail(err, TS_ERR_FORMAT, "%s gives masks that are no numbers: its weights are broken, or too large for fp16",
                ts_sam_path(s));
    free(masks);
    free(scores);
    return ok;
}

/* ---- asking ---- */

static bool check_point(const ts_sam *s, int number, const char *what, const float *xy, ts_error *err)
{
    if (xy[0] >= 0 && xy[1] >= 0 && xy[0] <= (float)s->width && xy[1] <= (float)s->height) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d: %s (%g, %g) is outside the picture of %d x %d pixels", number, what,
                   (double)xy[0], (double)xy[1], s->width, s->height);
}

static bool check_box(const ts_sam *s, int number, const float *box, ts_error *err)
{
    for (int i = 0; i < 4; i++)
        if (!isfinite(box[i])) return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d: the box has a corner that is no number", number);
    if (box[2] <= box[0] || box[3] <= box[1])
        return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d: the box %g, %g, %g, %g is empty: wanted left, top, right, bottom",
                       number, (double)box[0], (double)box[1], (double)box[2], (double)box[3]);
    if (box[2] <= 0 || box[3] <= 0 || box[0] >= (float)s->width || box[1] >= (float)s->height)
        return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d: the box %g, %g, %g, %g lies outside the picture of %d x %d pixels",
                       number, (double)box[0], (double)box[1], (double)box[2], (double)box[3], s->width, s->height);
    return true;
}

static bool check_prompt(const ts_sam *s, int number, const ts_sam_prompt *p, ts_error *err)
{
    if (p->points < 0 || p->points > TS_SAM_MAX_POINTS || (p->points > 0 && (!p->point || !p->label)))
        return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d has %d points, wanted 0 to %d with their labels", number, p->points,
                       TS_SAM_MAX_POINTS);
    for (int i = 0; i < p->points; i++) {
        if (p->label[i] < -1 || p->label[i] > 1)
            return ts_fail(err, TS_ERR_ARGUMENT,
                           "prompt %d: point %d has the label %d, wanted 1 (in the object), 0 (not in it) or -1 (no point)",
                           number, i, p->label[i]);
        if (p->label[i] >= 0 && !check_point(s, number, "a point", p->point + 2 * (size_t)i, err)) return false;
    }
    if (p->box && !check_box(s, number, p->box, err)) return false;
    const int64_t pixels = (int64_t)s->model.config.low * s->model.config.low;
    for (int64_t i = 0; p->prior && i < pixels; i++)
        if (!isfinite(p->prior[i])) return ts_fail(err, TS_ERR_ARGUMENT, "prompt %d: the prior holds what is no number", number);
    return true;
}

static plan_kind kind_of(const ts_sam *s, const ts_sam_prompt *p, const ts_sam_options *options)
{
    const ts_sam_guide *guide = options->guide;
    return (plan_kind){.batch = 1,
                       .tokens = ts_sam_token_count(&s->model.config, p),
                       .multimask = options->multimask,
                       .prior = p->prior != NULL,
                       .similarity = guide && guide->similarity,
                       .target = guide && guide->target};
}

/* How many prompts from `first` on go into the next run: of one kind, a power of two. */
static int batch_at(const ts_sam *s, const ts_sam_prompt *prompts, int first, int count, const ts_sam_options *options)
{
    const plan_kind kind = kind_of(s, prompts + first, options);
    int alike = 1, batch = 1;
    for (; alike < s->batch && first + alike < count; alike++) {
        const plan_kind next = kind_of(s, prompts + first + alike, options);
        if (!same(&kind, &next)) break;
    }
    if (alike == s->batch) return alike;
    while (2 * batch <= alike) batch *= 2;
    return batch;
}

/* The caller clears it, also on failure. */
static bool make_answer(const ts_sam *s, int count, bool multimask, ts_sam_answer *out, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    *out = (ts_sam_answer){.prompts = count, .each = ts_sam_mask_count(c, multimask), .low = c->low};
    const uint64_t masks = (uint64_t)count * (uint64_t)out->each, pixels = (uint64_t)c->low * (uint64_t)c->low;
    if (masks <= SIZE_MAX / sizeof(float) / pixels) {
        out->logits = malloc(masks * pixels * sizeof *out->logits);
        out->score = malloc(masks * sizeof *out->score);
    }
    return (out->logits && out->score) || ts_fail(err, TS_ERR_MEMORY, "out of memory for the masks of %d prompts", count);
}

bool ts_sam_predict(ts_sam *s, const ts_sam_prompt *prompts, int count, const ts_sam_options *options, ts_sam_answer *out,
                    ts_error *err)
{
    static const ts_sam_options usual = {0};
    *out = (ts_sam_answer){0};
    if (!options) options = &usual;
    if (s->width == 0) return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture to ask prompts of");
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d prompts, at least one is wanted", count);
    for (int i = 0; i < count; i++)
        if (!check_prompt(s, i, prompts + i, err)) return false;
    bool ok = make_answer(s, count, options->multimask, out, err);
    for (int first = 0, batch; ok && first < count; first += batch) {
        plan_kind kind = kind_of(s, prompts + first, options);
        kind.batch = batch = batch_at(s, prompts, first, count, options);
        sam_plan *p = plan_of(s, &kind, err);
        ok = p && write_picture(s, p, err) && write_prompts(s, p, prompts + first, options->guide, err) && ts_run(p->exec, err) &&
             read_answers(s, p, first, out, err);
    }
    if (!ok) ts_sam_answer_clear(out);
    return ok;
}

void ts_sam_answer_clear(ts_sam_answer *a)
{
    if (!a) return;
    free(a->logits);
    free(a->score);
    *a = (ts_sam_answer){0};
}

const float *ts_sam_low(const ts_sam_answer *a, int prompt, int mask)
{
    return a->logits + ((size_t)prompt * (size_t)a->each + (size_t)mask) * (size_t)a->low * (size_t)a->low;
}

int ts_sam_best(const ts_sam_answer *a, int prompt)
{
    const float *score = a->score + (size_t)prompt * (size_t)a->each;
    int best = 0;
    for (int i = 1; i < a->each; i++)
        if (score[i] > score[best]) best = i;
    return best;
}

bool ts_sam_prior(const ts_sam *s, const ts_mask *m, float strength, float *out, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const int low = c->low;
    if (m->width != s->width || m->height != s->height)
        return ts_fail(err, TS_ERR_SHAPE, "the prior has %d x %d pixels and the picture %d x %d: they must have the same size",
                       m->width, m->height, s->width, s->height);
    const double across = (double)s->inner_width * low / c->picture, down = (double)s->inner_height * low / c->picture;
    for (int y = 0; y < low; y++)
        for (int x = 0; x < low; x++) {
            /* The share of what is inside among the pixels whose middles lie in this place, or the pixel at its middle. */
            const int x0 = (int)(x / across * s->width), y0 = (int)(y / down * s->height);
            int x1 = (int)((x + 1) / across * s->width), y1 = (int)((y + 1) / down * s->height);
            if (x1 <= x0) x1 = x0 + 1;
            if (y1 <= y0) y1 = y0 + 1;
            int64_t inside = 0, all = 0;
            for (int v = y0; v < y1 && v < s->height; v++)
                for (int h = x0; h < x1 && h < s->width; h++, all++) inside += m->data[(size_t)v * (size_t)s->width + h];
            out[(size_t)y * low + x] = all > 0 ? strength * (float)(2.0 * (double)inside / (double)all - 1) : -strength;
        }
    return true;
}
