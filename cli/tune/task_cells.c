/* task_cells.c - the pictures of `tessera tune task`: folders brought to the size of cells, tasks that are made of them, canvases
 * drawn at random and the best of those kept, as the paper has it: sorted by how well they are answered, each example and then
 * each query once. */
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"
#include "cli/tune/task.h"

/* ---- folders ---- */

void tune_cells_clear(tune_cells *c)
{
    for (int i = 0; i < c->count; i++) {
        ts_image_clear(&c->input[i]);
        ts_image_clear(&c->output[i]);
    }
    free(c->input);
    free(c->output);
    *c = (tune_cells){0};
}

static bool read_pair(const eval_pair *p, const ts_grid *grid, ts_palette *palette, bool *few, ts_image *input, ts_image *output,
                      ts_error *err)
{
    ts_image in = {0}, out = {0};
    const ts_cell *cell = &grid->hole;
    bool ok = ts_image_load(p->input, &in, err) && ts_image_load(p->target, &out, err);
    if (ok && (in.width != out.width || in.height != out.height))
        ok = ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its target %d x %d: they must be alike", p->input, in.width,
                     in.height, out.width, out.height);
    if (ok && *few) *few = eval_palette_add(palette, &out);
    ok = ok && ts_image_resize(&in, cell->width, cell->height, grid->desc.filter, input, err) &&
         ts_image_resize(&out, cell->width, cell->height, grid->desc.filter, output, err);
    if (!ok) ts_image_clear(input);
    ts_image_clear(&in);
    ts_image_clear(&out);
    return ok;
}

/* Two colours make masks, and so do two with the greys of smooth edges between them, which are next to nothing. */
static void see_masks(tune_cells *c, const ts_palette *palette)
{
    const int background = ts_palette_background(palette);
    int other = -1;
    int64_t pixels = 0;
    for (int i = 0; i < palette->count; i++) {
        pixels += palette->pixels[i];
        if (i != background && (other < 0 || palette->pixels[i] > palette->pixels[other])) other = i;
    }
    c->masks = other >= 0 && (palette->pixels[background] + palette->pixels[other]) * 100 >= 97 * pixels;
    if (!c->masks) return;
    memcpy(c->colours[0], palette->colour[background], 3);
    memcpy(c->colours[1], palette->colour[other], 3);
}

bool tune_cells_read(const char *inputs, const char *targets, const ts_grid *grid, ts_left_out *left_out, bool quiet,
                     tune_cells *out, ts_error *err)
{
    eval_pairs pairs = {0};
    ts_palette palette = {0};
    ts_progress progress;
    *out = (tune_cells){0};
    if (!eval_pairs_list(inputs, targets, left_out, &pairs, err)) return false;
    out->input = calloc((size_t)pairs.count, sizeof *out->input);
    out->output = calloc((size_t)pairs.count, sizeof *out->output);
    bool ok = (out->input && out->output) || ts_fail(err, TS_ERR_MEMORY, "out of memory"), few = true;
    ts_progress_begin(&progress, "reading", pairs.count, quiet);
    for (int i = 0; ok && i < pairs.count; i++) {
        ts_error why = {0};
        const eval_pair *p = &pairs.pair[i];
        if (read_pair(p, grid, &palette, &few, &out->input[out->count], &out->output[out->count], &why)) {
            ts_data_seen_add(&out->seen, p->name, p->input);
            ts_data_seen_add(&out->seen, p->name, p->target);
            out->count++;
        } else {
            ok = ts_leave_out(left_out, &why, err);
        }
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    eval_pairs_clear(&pairs);
    if (ok && out->count < 2) ok = ts_fail(err, TS_ERR_FORMAT, "%s has fewer than two pairs that can be read", inputs);
    if (ok && few) see_masks(out, &palette);
    return ok;
}

/* ---- tasks that are made ---- */

static void grey(uint8_t *p)
{
    p[0] = p[1] = p[2] = (uint8_t)((19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 0x8000) >> 16); /* as Pillow */
}

/* What is done to a picture; of a fill-in `place`, in [0, 1) twice, says where its square of a quarter of the side is. */
static bool make_input(tune_made made, const ts_image *picture, const double place[2], ts_image *out, ts_error *err)
{
    if (!ts_image_copy(picture, out, err)) return false;
    const int width = out->width, height = out->height, side = width / 4 > 0 ? width / 4 : 1;
    const int x0 = (int)(place[0] * (width - side)), y0 = (int)(place[1] * (height - side));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = out->data + ((size_t)y * (size_t)width + (size_t)x) * 3;
            if (made == TUNE_COLOURISE) grey(p);
            for (int c = 0; made == TUNE_LOW_LIGHT && c < 3; c++) p[c] = (uint8_t)(p[c] / 2);
            if (made == TUNE_FILL_IN && x >= x0 && x < x0 + side && y >= y0 && y < y0 + side) memset(p, 0, 3);
        }
    return true;
}

/* ---- canvases ---- */

typedef struct {
    int query, support;
    double place[2], loss;
} draw;

static bool compose_given(const ts_grid *grid, const tune_cells *c, const draw *d, ts_image *out, ts_error *err)
{
    return ts_grid_compose(grid, &(ts_example){&c->input[d->support], &c->output[d->support]}, &c->input[d->query], out, err);
}

static bool compose(const ts_grid *grid, const tune_cells *c, tune_made made, const draw *d, ts_image *out, ts_error *err)
{
    ts_image query = {0}, support = {0};
    if (made == TUNE_GIVEN) return compose_given(grid, c, d, out, err);
    const bool ok = make_input(made, &c->input[d->query], d->place, &query, err) &&
                    make_input(made, &c->input[d->support], d->place, &support, err) &&
                    ts_grid_compose(grid, &(ts_example){&support, &c->input[d->support]}, &query, out, err);
    ts_image_clear(&query);
    ts_image_clear(&support);
    return ok;
}

static const ts_image *truth_of(const tune_cells *c, tune_made made, const draw *d)
{
    return made == TUNE_GIVEN ? &c->output[d->query] : &c->input[d->query];
}

static void clear_images(ts_image *list, int count)
{
    for (int i = 0; i < count; i++) ts_image_clear(&list[i]);
}

static bool compose_all(const tune_task *t, const tune_cells *c, tune_made made, const draw *list, int count, ts_image *out,
                        ts_error *err)
{
    for (int i = 0; i < count; i++)
        if (!compose(&t->grid, c, made, &list[i], &out[i], err)) {
            clear_images(out, i);
            return false;
        }
    return true;
}

static bool loss_of(const tune_task *t, const tune_cells *c, tune_made made, const ts_inpainted *result, draw *d, ts_error *err)
{
    ts_image cell = {0};
    const bool ok = ts_grid_answer(&t->grid, &result->pasted, 0, 0, &cell, err) &&
                    ts_task_loss(made == TUNE_GIVEN && c->masks ? c->colours : NULL, truth_of(c, made, d), &cell, &d->loss, err);
    ts_image_clear(&cell);
    return ok;
}

/* Answers plainly, and tells how well. */
static bool answer(tune_task *t, const tune_cells *c, tune_made made, draw *list, int count, ts_progress *progress, ts_error *err)
{
    ts_image *canvas = calloc((size_t)t->batch, sizeof *canvas);
    ts_inpainted *result = calloc((size_t)t->batch, sizeof *result);
    bool ok = (canvas && result) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int at = 0; ok && at < count; at += t->batch) {
        const int n = count - at < t->batch ? count - at : t->batch;
        ok = compose_all(t, c, made, list + at, n, canvas, err);
        if (!ok) break;
        ok = ts_inpainter_run(t->inpainter, &t->grid, canvas, n, NULL, result, NULL, err);
        for (int i = 0; ok && i < n; i++) ok = loss_of(t, c, made, &result[i], &list[at + i], err);
        for (int i = 0; i < n; i++) ts_inpainted_clear(&result[i]);
        clear_images(canvas, n);
        if (progress) ts_progress_step(progress, progress->done + n);
    }
    free(canvas);
    free(result);
    return ok;
}

/* Pairs of pairs at random; all there are, where they are no more than wanted. */
static draw *draw_pairs(const tune_task *t, int pairs, int task, int *count, ts_error *err)
{
    const int64_t all = (int64_t)pairs * (pairs - 1);
    const int n = all < t->canvases ? (int)all : t->canvases;
    draw *list = calloc((size_t)n, sizeof *list);
    if (!list) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", n);
        return NULL;
    }
    uint64_t seed = t->common.seed, state = ts_splitmix(&seed) + (uint64_t)task;
    for (int i = 0; i < n; i++) {
        int query = n == all ? i / (pairs - 1) : (int)(ts_uniform(&state) * pairs);
        int other = n == all ? i % (pairs - 1) : (int)(ts_uniform(&state) * (pairs - 1));
        list[i] = (draw){.query = query, .support = other + (other >= query)};
        for (int k = 0; k < 2; k++) list[i].place[k] = ts_uniform(&state);
    }
    *count = n;
    return list;
}

static int by_loss(const void *a, const void *b)
{
    const draw *x = a, *y = b;
    if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
    return x->query != y->query ? x->query - y->query : x->support - y->support;
}

/* Of each example the best canvas, then of each query, and of those the best so many, to the front. The published code sorts IoUs
 * the wrong way round here and keeps the worse of two; the better is what is meant. Returns their number. */
static int choose(draw *list, int count, int pairs, int most, ts_error *err)
{
    bool *seen = calloc(2 * (size_t)pairs, sizeof *seen);
    if (!seen) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return 0;
    }
    qsort(list, (size_t)count, sizeof *list, by_loss);
    int kept = 0, best = 0;
    for (int i = 0; i < count; i++) {
        if (seen[list[i].support]) continue;
        seen[list[i].support] = true;
        list[kept++] = list[i];
    }
    for (int i = 0; i < kept && best < most; i++) {
        if (seen[pairs + list[i].query]) continue;
        seen[pairs + list[i].query] = true;
        list[best++] = list[i];
    }
    free(seen);
    return best;
}

static bool see(tune_task *t, ts_task_collector *into, int task, const tune_cells *c, tune_made made, const draw *list, int count,
                ts_error *err)
{
    ts_image *canvas = calloc((size_t)t->batch, sizeof *canvas);
    bool ok = canvas || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int at = 0; ok && at < count; at += t->batch) {
        const int n = count - at < t->batch ? count - at : t->batch;
        ok = compose_all(t, c, made, list + at, n, canvas, err);
        if (!ok) break;
        ok = ts_task_collect(into, task, canvas, n, err);
        clear_images(canvas, n);
    }
    free(canvas);
    return ok;
}

static bool collect_task(tune_task *t, ts_task_collector *into, int task, const tune_cells *c, tune_made made,
                         ts_progress *progress, ts_error *err)
{
    int count = 0;
    draw *list = draw_pairs(t, c->count, task, &count, err);
    bool ok = list && answer(t, c, made, list, count, progress, err);
    const int best = ok ? choose(list, count, c->count, t->best, err) : 0;
    ok = best > 0 && see(t, into, task, c, made, list, best, err);
    if (ok) ts_say_stage(&t->common, "task %d: %d of %d canvases", task, best, count);
    free(list);
    return ok;
}

/* The tasks that the given one is held against: those of other folders, else tasks that are made of its own pictures. */
static bool collect_others(tune_task *t, ts_task_collector *into, ts_progress *progress, ts_error *err)
{
    bool ok = true;
    for (int i = 0; ok && t->against.count == 0 && i < TUNE_MADE; i++)
        ok = collect_task(t, into, 1 + i, &t->own, (tune_made)i, progress, err);
    for (int i = 0; ok && i < t->against.count; i++) {
        tune_cells other;
        ok = tune_cells_read(t->against.items[i], NULL, &t->grid, &t->left_out, true, &other, err) &&
             collect_task(t, into, 1 + i, &other, TUNE_GIVEN, progress, err);
        tune_cells_clear(&other);
    }
    return ok;
}

bool tune_collect(tune_task *t, double *score, ts_error *err)
{
    const int tasks = 1 + (t->against.count > 0 ? t->against.count : TUNE_MADE);
    ts_progress progress;
    ts_task_collector *c = ts_task_collector_new(t->inpainter, t->task, tasks, err);
    if (!c) return false;
    ts_progress_begin(&progress, "collecting", (int64_t)tasks * t->canvases, t->common.quiet);
    const bool ok = collect_task(t, c, 0, &t->own, TUNE_GIVEN, &progress, err) && collect_others(t, c, &progress, err) &&
                    ts_task_collected(c, t->task, err) && ts_task_scores(c, (ts_task_grain)t->grain, score, err);
    ts_progress_end(&progress);
    ts_task_collector_free(c);
    return ok;
}

/* ---- the pairs that search, and those that check ---- */

bool tune_queries(tune_task *t, ts_error *err)
{
    const int pairs = t->own.count;
    t->order = calloc((size_t)pairs, sizeof *t->order);
    t->query = calloc((size_t)pairs, sizeof *t->query);
    if (!t->order || !t->query) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    uint64_t state = t->common.seed;
    for (int i = 0; i < pairs; i++) t->order[i] = i;
    for (int i = pairs - 1; i > 0; i--) { /* Fisher and Yates */
        const int at = (int)(ts_uniform(&state) * (i + 1)), other = t->order[i];
        t->order[i] = t->order[at];
        t->order[at] = other;
    }
    t->searched = t->training < pairs / 2 ? t->training : pairs / 2;
    t->checked = pairs - t->searched < t->check ? pairs - t->searched : t->check;
    for (int i = 0; i < t->searched + t->checked; i++)
        if (!ts_grid_compose(&t->grid, NULL, &t->own.input[t->order[i]], &t->query[i], err)) return false;
    return true;
}

bool tune_plain_loss(tune_task *t, double *loss, ts_error *err)
{
    draw *list = calloc((size_t)t->checked, sizeof *list);
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < t->checked; i++) /* the example is the pair before it in a random order, the first one's the last */
        list[i] = (draw){.query = t->order[t->searched + i],
                         .support = t->order[i + t->searched > 0 ? i + t->searched - 1 : t->own.count - 1]};
    const bool ok = answer(t, &t->own, TUNE_GIVEN, list, t->checked, NULL, err);
    *loss = 0;
    for (int i = 0; ok && i < t->checked; i++) *loss += list[i].loss / t->checked;
    free(list);
    return ok;
}

bool tune_mask_loss(tune_task *t, const uint8_t *mask, double *loss, ts_error *err)
{
    const ts_image *canvas = t->query + t->searched;
    ts_image *truth = calloc((size_t)t->checked, sizeof *truth);
    double *each = calloc((size_t)t->checked, sizeof *each);
    if (!truth || !each) {
        free(truth);
        free(each);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    for (int i = 0; i < t->checked; i++) truth[i] = t->own.output[t->order[t->searched + i]];
    ts_task_set_mask(t->task, mask);
    const bool ok = ts_task_losses(t->runner, canvas, truth, t->checked, NULL, each, err);
    *loss = 0;
    for (int i = 0; ok && i < t->checked; i++) *loss += each[i] / t->checked;
    free(truth);
    free(each);
    return ok;
}
