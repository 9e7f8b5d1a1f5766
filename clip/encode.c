/* encode.c - whole towers over any number of pictures or texts. Graphs are planned by batch and length and kept, a few of them,
 * so what is asked again costs no planning; the sizes are few because a rest of items is run in batches of powers of two. Texts
 * go sorted by length, each batch cut behind its longest end: what follows an end cannot be seen from it. */
#include "clip/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLANS = 8,           /* kept at a time */
    MOST_TOKENS = 10240, /* of a batch: bounds the memory of a plan, some 60 KB a token at the largest published width */
    MOST_IMAGES = 32,
    MOST_TEXTS = 64,
    LENGTH_STEP = 4, /* lengths are rounded up to a multiple */
};

/* A tower for `batch` images (length 0) or texts of `length` tokens. */
typedef struct {
    int64_t batch, length;
    ts_graph *g;
    ts_exec *e;
    ts_tensor *in, *end, *out;
    uint64_t used; /* when last */
} clip_plan;

struct clip_plans {
    clip_plan list[PLANS];
    uint64_t clock;
};

static void plan_clear(clip_plan *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (clip_plan){0};
}

void ts_clip_plans_free(clip_plans *plans)
{
    if (!plans) return;
    for (int i = 0; i < PLANS; i++) plan_clear(&plans->list[i]);
    free(plans);
}

static bool plan_make(clip_plan *p, const ts_clip *c, int64_t batch, int64_t length, ts_error *err)
{
    const int64_t side = c->config.image;
    ts_graph *g = p->g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->batch = batch;
    p->length = length;
    if (length == 0) {
        p->in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){batch, side, side, 3});
        p->out = ts_clip_vision(g, c, ts_clip_patches(g, c, p->in), NULL);
    } else {
        p->in = ts_input(g, "embedded", TS_REAL, 3, (int64_t[]){batch, length, c->config.text_width});
        p->end = ts_input(g, "end", TS_I32, 2, (int64_t[]){batch, 1});
        p->out = ts_clip_text(g, c, p->in, p->end, NULL);
    }
    ts_output(g, p->out);
    return ts_params_check(c->params, err) && (p->e = ts_exec_new(g, c->dev, err)) != NULL;
}

/* The plan of that size: one that is kept, or a new one in the place of what was not used for longest. */
static clip_plan *plan_of(ts_clip *c, int64_t batch, int64_t length, ts_error *err)
{
    if (!c->plans) c->plans = calloc(1, sizeof *c->plans);
    if (!c->plans) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    clip_plan *list = c->plans->list, *oldest = list;
    for (int i = 0; i < PLANS; i++) {
        if (list[i].e && list[i].batch == batch && list[i].length == length) {
            list[i].used = ++c->plans->clock;
            return &list[i];
        }
        if (list[i].used < oldest->used) oldest = &list[i];
    }
    plan_clear(oldest);
    if (!plan_make(oldest, c, batch, length, err)) {
        plan_clear(oldest);
        return NULL;
    }
    oldest->used = ++c->plans->clock;
    return oldest;
}

/* The size of the next batch where `left` items are left: a power of two of at most `most`, larger than what is left where no
 * more than a quarter would be wasted. */
static int64_t batch_size(int64_t left, int64_t tokens, int64_t most)
{
    int64_t batch = 1;
    while (2 * batch <= most && 2 * batch * tokens <= MOST_TOKENS && 2 * batch <= left + left / 4) batch *= 2;
    return batch;
}

/* NaN would go unseen into every probability and every search. */
static bool check_finite(const ts_clip *c, const float *features, int64_t count, ts_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(features[i]))
            return ts_fail(err, TS_ERR_FORMAT,
                           "%s gives features that are no numbers: its weights are broken, or too large for fp16",
                           ts_weights_path(c->weights));
    return true;
}

/* ---- images ---- */

/* `count` pictures, no more than the plan's batch; where they are fewer, the last one fills the rest. */
static bool run_images(const clip_plan *p, const float *pixels, int64_t count, int64_t pixel_count, int64_t embed,
                       float *features, ts_error *err)
{
    if (count == p->batch) return ts_write(p->e, p->in, pixels, err) && ts_run(p->e, err) && ts_read(p->e, p->out, features, err);
    float *in = malloc((size_t)(p->batch * pixel_count) * sizeof *in), *out = malloc((size_t)(p->batch * embed) * sizeof *out);
    bool ok = in && out;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures", (int)p->batch);
    for (int64_t i = 0; ok && i < p->batch; i++)
        memcpy(in + i * pixel_count, pixels + (i < count ? i : count - 1) * pixel_count, (size_t)pixel_count * sizeof *in);
    ok = ok && ts_write(p->e, p->in, in, err) && ts_run(p->e, err) && ts_read(p->e, p->out, out, err);
    if (ok) memcpy(features, out, (size_t)(count * embed) * sizeof *out);
    free(in);
    free(out);
    return ok;
}

bool ts_clip_encode_images(ts_clip *c, const float *pixels, int64_t count, float *features, ts_error *err)
{
    const ts_clip_config *m = &c->config;
    const int64_t side = m->image / m->patch, pixel_count = (int64_t)m->image * m->image * 3;
    for (int64_t done = 0; done < count;) {
        const int64_t left = count - done, batch = batch_size(left, 1 + side * side, MOST_IMAGES);
        const int64_t part = batch < left ? batch : left;
        const clip_plan *p = plan_of(c, batch, 0, err);
        float *to = features + done * m->embed;
        if (!p || !run_images(p, pixels + done * pixel_count, part, pixel_count, m->embed, to, err) ||
            !check_finite(c, to, part * m->embed, err))
            return false;
        done += part;
    }
    return true;
}

/* ---- texts ---- */

typedef struct {
    int64_t index; /* of the text */
    int end;       /* place of its end token */
} text_place;

static int by_end(const void *a, const void *b)
{
    const text_place *x = a, *y = b;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

int ts_clip_end(const int32_t *tokens, int context)
{
    int end = 0;
    for (int i = 1; i < context; i++)
        if (tokens[i] > tokens[end]) end = i;
    return end;
}

/* What a batch is gathered in and read into. */
typedef struct {
    float *embedded, *features;
    int32_t *end;
} text_batch;

static bool run_texts(const ts_clip *c, const clip_plan *p, const text_place *list, int64_t count, const int32_t *tokens,
                      const text_batch *b, float *features, ts_error *err)
{
    const int64_t width = c->config.text_width, embed = c->config.embed;
    for (int64_t i = 0; i < p->batch; i++) {
        const text_place *t = &list[i < count ? i : count - 1];
        b->end[i] = t->end;
        if (!ts_clip_embedding(c, tokens + t->index * c->config.context, (int)p->length, b->embedded + i * p->length * width,
                               err))
            return false;
    }
    if (!ts_write(p->e, p->in, b->embedded, err) || !ts_write(p->e, p->end, b->end, err) || !ts_run(p->e, err) ||
        !ts_read(p->e, p->out, b->features, err) || !check_finite(c, b->features, count * embed, err))
        return false;
    for (int64_t i = 0; i < count; i++)
        memcpy(features + list[i].index * embed, b->features + i * embed, (size_t)embed * sizeof *features);
    return true;
}

/* Of the longest of `count` sorted texts, rounded up. */
static int64_t length_of(const ts_clip *c, const text_place *list, int64_t count)
{
    const int64_t length = (list[count - 1].end + LENGTH_STEP) / LENGTH_STEP * LENGTH_STEP;
    return length < c->config.context ? length : c->config.context;
}

static bool encode_sorted(ts_clip *c, const text_place *list, int64_t count, const int32_t *tokens, const text_batch *b,
                          float *features, ts_error *err)
{
    for (int64_t done = 0; done < count;) {
        const int64_t left = count - done;
        const int64_t batch = batch_size(left, c->config.context, MOST_TEXTS), part = batch < left ? batch : left;
        const clip_plan *p = plan_of(c, batch, length_of(c, list + done, part), err);
        if (!p || !run_texts(c, p, list + done, part, tokens, b, features, err)) return false;
        done += part;
    }
    return true;
}

bool ts_clip_encode_texts(ts_clip *c, const int32_t *tokens, int64_t count, float *features, ts_error *err)
{
    const ts_clip_config *m = &c->config;
    if (count == 0) return true;
    text_place *list = malloc((size_t)count * sizeof *list);
    text_batch b = {.embedded = malloc((size_t)MOST_TEXTS * (size_t)m->context * (size_t)m->text_width * sizeof(float)),
                    .features = malloc((size_t)MOST_TEXTS * (size_t)m->embed * sizeof(float)),
                    .end = malloc(MOST_TEXTS * sizeof(int32_t))};
    bool ok = list && b.embedded && b.features && b.end;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld texts", (long long)count);
    for (int64_t i = 0; ok && i < count; i++) list[i] = (text_place){i, ts_clip_end(tokens + i * m->context, m->context)};
    if (ok) qsort(list, (size_t)count, sizeof *list, by_end);
    ok = ok && encode_sorted(c, list, count, tokens, &b, features, err);
    free(list);
    free(b.embedded);
    free(b.features);
    free(b.end);
    return ok;
}
