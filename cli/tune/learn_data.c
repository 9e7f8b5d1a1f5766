/* learn_data.c - pairs to learn a border or a fusion from, and the canvases that they make. Everything drawn follows from the
 * seed and the number of the step, so that a run that goes on sees what it would have seen. */
#include <stdlib.h>
#include <string.h>

#include "cli/tune/learn.h"

/* ---- random ---- */

enum { FOR_PARTS = 1, FOR_ORDER, FOR_EXAMPLES, FOR_HELD };

/* A state for one purpose: the numbers behind it depend on nothing drawn before. */
static uint64_t state_of(const ts_learn_data *d, int purpose, int64_t number)
{
    uint64_t s = d->config->seed ^ (uint64_t)purpose * UINT64_C(0xd6e8feb86659fd93);
    s = ts_splitmix(&s) + (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15);
    return ts_splitmix(&s);
}

static int below(uint64_t *state, int count)
{
    return (int)(ts_uniform(state) * count);
}

static void shuffle(int *list, int count, uint64_t state)
{
    for (int i = count - 1; i > 0; i--) { /* Fisher and Yates */
        const int at = below(&state, i + 1), other = list[at];
        list[at] = list[i];
        list[i] = other;
    }
}

/* ---- reading ---- */

static int cell_size(const ts_learn_data *d)
{
    return d->grid.hole.width;
}

static size_t cell_bytes(const ts_learn_data *d)
{
    return (size_t)cell_size(d) * (size_t)cell_size(d) * 3;
}

static bool read_cell(ts_learn_data *d, const char *path, int *width, int *height, uint8_t *out, ts_error *err)
{
    ts_image whole = {0}, cell = {0};
    const bool ok =
        ts_image_load(path, &whole, err) && ts_image_resize(&whole, cell_size(d), cell_size(d), d->grid.desc.filter, &cell, err);
    if (ok) memcpy(out, cell.data, cell_bytes(d));
    *width = whole.width;
    *height = whole.height;
    ts_image_clear(&whole);
    ts_image_clear(&cell);
    return ok;
}

static bool read_pair(ts_learn_data *d, const eval_pair *pair, uint8_t *out, ts_error *err)
{
    int width[2], height[2];
    if (!read_cell(d, pair->input, &width[0], &height[0], out, err) ||
        !read_cell(d, pair->target, &width[1], &height[1], out + cell_bytes(d), err))
        return false;
    return (width[0] == width[1] && height[0] == height[1]) ||
           ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its target %d x %d: they must be alike", pair->input, width[0],
                   height[0], width[1], height[1]);
}

static void drop_pair(eval_pairs *p, int at)
{
    free(p->pair[at].name);
    free(p->pair[at].input);
    free(p->pair[at].target);
    memmove(p->pair + at, p->pair + at + 1, (size_t)(--p->count - at) * sizeof *p->pair);
}

static bool read_pairs(ts_learn_data *d, ts_left_out *left_out, ts_error *err)
{
    const size_t each = 2 * cell_bytes(d);
    d->cells = calloc((size_t)d->pairs.count, each);
    if (!d->cells) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pairs", d->pairs.count);
    ts_progress progress;
    ts_progress_begin(&progress, "reading", d->pairs.count, left_out->quiet);
    bool ok = true;
    for (int at = 0, done = 1; ok && at < d->pairs.count; done++) {
        ts_error why = {0};
        if (read_pair(d, &d->pairs.pair[at], d->cells + (size_t)at * each, &why)) at++;
        else if ((ok = ts_leave_out(left_out, &why, err))) drop_pair(&d->pairs, at);
        ts_progress_step(&progress, done);
    }
    ts_progress_end(&progress);
    return ok;
}

/* ---- parts ---- */

static bool make_parts(ts_learn_data *d, ts_error *err)
{
    enum { LEAST = 4, TENTH = 10 };
    const int count = d->pairs.count, examples = d->config->examples;
    if (count < LEAST)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s holds %d pair%s: %d at least are wanted, to learn from and to validate on",
                       d->config->inputs, count, count == 1 ? "" : "s", LEAST);
    d->train = malloc((size_t)count * sizeof *d->train);
    if (!d->train) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++) d->train[i] = i;
    shuffle(d->train, count, state_of(d, FOR_PARTS, 0));
    d->helds = (count + TENTH - 1) / TENTH;
    d->trains = count - d->helds;
    d->held = d->train + d->trains;
    if (examples < d->trains) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "%d examples of %d pairs to learn from: at most %d are beside a query", examples,
                   d->trains, d->trains - 1);
}

/* The list's examples of each pair: those that may be shown, which are no held out ones. */
static bool read_list(ts_learn_data *d, ts_error *err)
{
    eval_trials list = {0};
    if (!d->config->list) return true;
    if (!eval_trials_read(&d->pairs, d->config->list, &list, err)) return false;
    d->nears = list.each;
    const size_t places = (size_t)d->pairs.count * (size_t)list.each;
    bool *held = calloc((size_t)d->pairs.count, sizeof *held);
    d->near = malloc(places * sizeof *d->near);
    const bool ok = held && d->near;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (size_t i = 0; ok && i < places; i++) d->near[i] = -1;
    for (int i = 0; ok && i < d->helds; i++) held[d->held[i]] = true;
    for (int t = 0; ok && t < list.count; t++)
        for (int k = 0, at = 0; k < list.each; k++) {
            const int other = list.example[t * list.each + k], query = list.query[t];
            if (other != query && !held[other]) d->near[query * list.each + at++] = other;
        }
    free(held);
    eval_trials_clear(&list);
    return ok;
}

bool ts_learn_data_open(ts_learn_data *d, const ts_learn_config *c, const ts_grid *grid, ts_left_out *left_out, ts_error *err)
{
    *d = (ts_learn_data){.config = c, .grid = *grid};
    return eval_pairs_list(c->inputs, c->targets, left_out, &d->pairs, err) && read_pairs(d, left_out, err) &&
           make_parts(d, err) && read_list(d, err);
}

void ts_learn_data_clear(ts_learn_data *d)
{
    eval_pairs_clear(&d->pairs);
    free(d->cells);
    free(d->train);
    free(d->near);
    *d = (ts_learn_data){0};
}

/* ---- steps ---- */

static int batch_of(const ts_learn_data *d)
{
    return d->config->batch < d->trains ? d->config->batch : d->trains;
}

int64_t ts_learn_data_steps(const ts_learn_data *d)
{
    return d->trains / batch_of(d);
}

bool ts_learn_data_batch(const ts_learn_data *d, int64_t step, int *queries, ts_error *err)
{
    const int64_t steps = ts_learn_data_steps(d);
    const size_t bytes = (size_t)d->trains * sizeof *d->train;
    int *order = malloc(bytes);
    if (!order) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    memcpy(order, d->train, bytes);
    shuffle(order, d->trains, state_of(d, FOR_ORDER, step / steps));
    memcpy(queries, order + step % steps * batch_of(d), (size_t)batch_of(d) * sizeof *queries);
    free(order);
    return true;
}

static bool is_among(const int *list, int count, int item)
{
    for (int i = 0; i < count; i++)
        if (list[i] == item) return true;
    return false;
}

/* One that is not the query and not shown yet: there are more than examples. */
static int draw_other(const ts_learn_data *d, int query, const int *shown, int count, uint64_t *state)
{
    for (int from = below(state, d->trains);; from = (from + 1) % d->trains)
        if (d->train[from] != query && !is_among(shown, count, d->train[from])) return d->train[from];
}

void ts_learn_data_examples(const ts_learn_data *d, int query, int64_t step, int *examples)
{
    const ts_learn_config *c = d->config;
    const bool training = step >= 0;
    uint64_t state = training ? state_of(d, FOR_EXAMPLES, step * d->pairs.count + query) : state_of(d, FOR_HELD, query);
    for (int i = 0; i < c->examples; i++) {
        const int near = i < d->nears ? d->near[query * d->nears + i] : -1;
        examples[i] = near >= 0 ? near : draw_other(d, query, examples, i, &state);
    }
    /* Each by itself becomes the query's own pair, or any other. */
    for (int i = 0; training && c->is_fusion && i < c->examples; i++) {
        const double chance = ts_uniform(&state);
        const int any = d->train[below(&state, d->trains)];
        if (chance < c->own_share) examples[i] = query;
        else if (chance < c->own_share + c->random_share) examples[i] = any;
    }
}

/* ---- canvases ---- */

static void clean(const ts_learn_data *d, uint8_t *canvas)
{
    const size_t area = (size_t)d->grid.desc.canvas * (size_t)d->grid.desc.canvas;
    for (size_t i = 0; i < area; i++) memcpy(canvas + i * 3, d->grid.desc.background, 3);
}

static void put(const ts_learn_data *d, uint8_t *canvas, const ts_cell *cell, int pair, bool target)
{
    const size_t row = (size_t)cell_size(d) * 3, wide = (size_t)d->grid.desc.canvas * 3;
    const uint8_t *from = d->cells + ((size_t)pair * 2 + target) * cell_bytes(d);
    for (int y = 0; y < cell->height; y++)
        memcpy(canvas + (size_t)(cell->y + y) * wide + (size_t)cell->x * 3, from + (size_t)y * row, row);
}

static void draw(const ts_learn_data *d, int query, const int *examples, uint8_t *canvas)
{
    const ts_grid *grid = &d->grid;
    clean(d, canvas);
    for (int i = 0; i < grid->desc.examples; i++) {
        put(d, canvas, &grid->input[i], examples[i], false);
        put(d, canvas, &grid->output[i], examples[i], true);
    }
    put(d, canvas, &grid->query, query, false);
    put(d, canvas, &grid->hole, query, true);
}

void ts_learn_data_draw(const ts_learn_data *d, int query, const int *examples, uint8_t *canvases)
{
    const size_t bytes = (size_t)d->grid.desc.canvas * (size_t)d->grid.desc.canvas * 3;
    const int count = d->config->is_fusion ? d->config->examples : 1;
    for (int i = 0; i < count; i++) draw(d, query, examples + i, canvases + (size_t)i * bytes);
}

void ts_learn_data_draw_labels(const ts_learn_data *d, int pair, uint8_t *canvas)
{
    draw(d, pair, &pair, canvas);
}
