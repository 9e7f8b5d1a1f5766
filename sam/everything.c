/* everything.c - finds everything in a picture (Kirillov et al. 2023, appendix B): a grid of points is asked one by one, and of
 * the masks those stay that the model is sure of, that are stable, and that are no doubles. With crops, parts of the picture are
 * looked at again as pictures of their own. A mask is run lengths from the moment it is decided on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "sam/internal.h"

enum { MOST_LAYERS = 4, MOST_POINTS = 1024, NEAR_EDGE = 20 };

typedef struct {
    int x, y, width, height, layer;
} crop;

typedef struct {
    ts_sam_found *list;
    int64_t count, room;
} found_list;

typedef struct {
    ts_sam *s;
    const ts_sam_everything_options *options;
    int width, height; /* of the whole picture */
    found_list found;  /* of the crops so far */
    ts_sam_progress_fn progress;
    void *progress_ctx;
    int64_t done, all; /* prompts */
} search;

/* ---- lists ---- */

static bool push(found_list *list, const ts_sam_found *f, ts_error *err)
{
    if (list->count == list->room) {
        const int64_t room = list->room ? 2 * list->room : 64;
        ts_sam_found *grown = realloc(list->list, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld masks", (long long)room);
        list->list = grown;
        list->room = room;
    }
    list->list[list->count++] = *f;
    return true;
}

static void clear_list(ts_sam_found *list, int64_t count)
{
    for (int64_t i = 0; i < count; i++) ts_rle_clear(&list[i].mask);
}

/* What is behind `first` thinned out by overlap, best score first. */
static bool suppress(found_list *list, int64_t first, const float *score, double most, ts_error *err)
{
    const int count = (int)(list->count - first);
    ts_sam_found *from = list->list + first;
    if (count == 0) return true;
    ts_box *box = malloc((size_t)count * sizeof *box);
    int *kept = malloc((size_t)count * sizeof *kept);
    ts_sam_found *sorted = malloc((size_t)count * sizeof *sorted);
    int stay = -1;
    if (!box || !kept || !sorted) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d masks", count);
    else {
        for (int i = 0; i < count; i++) box[i] = from[i].box;
        stay = ts_boxes_keep(box, score, count, most, kept, err);
    }
    for (int i = 0; i < stay; i++) {
        sorted[i] = from[kept[i]];
        from[kept[i]].mask = (ts_rle){0}; /* moved */
    }
    if (stay >= 0) {
        clear_list(from, count);
        memcpy(from, sorted, (size_t)stay * sizeof *from);
        list->count = first + stay;
    }
    free(box);
    free(kept);
    free(sorted);
    return stay >= 0;
}

/* ---- crops ---- */

/* The crop in column a and row b of a layer; false where the picture is too small to have it. */
static bool crop_at(const search *f, int layer, int a, int b, crop *out)
{
    const int64_t side = (int64_t)1 << layer, least = f->width < f->height ? f->width : f->height;
    *out = (crop){0, 0, f->width, f->height, layer};
    if (layer == 0) return true;
    const int64_t overlap = (int64_t)(f->options->crop_overlap_ratio * (double)least * (2.0 / (double)side));
    const int64_t width = (overlap * (side - 1) + f->width + side - 1) / side;
    const int64_t height = (overlap * (side - 1) + f->height + side - 1) / side;
    const int64_t x = (width - overlap) * a, y = (height - overlap) * b;
    if (x < 0 || y < 0 || x >= f->width || y >= f->height) return false;
    out->x = (int)x;
    out->y = (int)y;
    out->width = (int)(x + width < f->width ? width : f->width - x);
    out->height = (int)(y + height < f->height ? height : f->height - y);
    return true;
}

/* Points a side in the crops of a layer. */
static int points_at(const ts_sam_everything_options *o, int layer)
{
    double points = o->points_per_side;
    for (int i = 0; i < layer; i++) points /= o->crop_n_points_downscale_factor;
    return (int)points;
}

static bool cut(const ts_image *from, const crop *c, ts_image *out, ts_error *err)
{
    if (!ts_image_new(c->width, c->height, out, err)) return false;
    for (int y = 0; y < c->height; y++)
        memcpy(out->data + (size_t)y * (size_t)c->width * 3,
               from->data + (((size_t)c->y + (size_t)y) * (size_t)from->width + (size_t)c->x) * 3, (size_t)c->width * 3);
    return true;
}

/* ---- candidates ---- */

/* A mask that the score let pass, for a thread to make runs of. */
typedef struct {
    const search *f;
    const crop *c;
    const ts_sam_answer *answer;
    const int *which; /* prompt * each + mask */
    ts_sam_found *made;
    ts_error *errors;
} candidates;

static bool is_near(int a, int b)
{
    return abs(a - b) <= NEAR_EDGE;
}

/* Whether the crop cut the object off: the box ends near an edge of the crop that is no edge of the picture. */
static bool is_cut_off(const search *f, const crop *c, const ts_box *b)
{
    return (is_near(b->x0, c->x) && !is_near(b->x0, 0)) || (is_near(b->y0, c->y) && !is_near(b->y0, 0)) ||
           (is_near(b->x1, c->x + c->width) && !is_near(b->x1, f->width)) ||
           (is_near(b->y1, c->y + c->height) && !is_near(b->y1, f->height));
}

/* An empty mask's box is the crop's corner, as published. */
static ts_box box_of(const ts_rle *mask, int64_t area, const crop *c)
{
    return area > 0 ? ts_rle_box(mask) : (ts_box){c->x, c->y, c->x, c->y};
}

static void make_candidates(void *ctx, int64_t begin, int64_t end)
{
    const candidates *k = ctx;
    const ts_sam_everything_options *o = k->f->options;
    const sam_cutting how = {k->f->width, k->f->height, k->c->x, k->c->y, o->stability_score_offset};
    for (int64_t i = begin; i < end; i++) {
        const int each = k->answer->each, prompt = k->which[i] / each, mask = k->which[i] % each;
        ts_sam_found *m = &k->made[i];
        if (!ts_sam_runs(&k->f->s->scaler, ts_sam_low(k->answer, prompt, mask), &how, &m->mask, &m->stability_score,
                         &k->errors[i]))
            continue;
        m->area = ts_rle_area(&m->mask);
        m->box = box_of(&m->mask, m->area, k->c);
        m->predicted_iou = (double)k->answer->score[k->which[i]];
        if (!(m->stability_score >= o->stability_score_thresh) || is_cut_off(k->f, k->c, &m->box)) ts_rle_clear(&m->mask);
    }
}

/* Adds what stays of a batch's masks; points: of the prompts, in pixels of the crop. */
static bool add_batch(search *f, const crop *c, const ts_sam_answer *answer, const double *points, ts_error *err)
{
    const int all = answer->prompts * answer->each;
    candidates k = {.f = f, .c = c, .answer = answer};
    int *which = malloc((size_t)all * sizeof *which), count = 0;
    k.made = calloc((size_t)all, sizeof *k.made);
    k.errors = calloc((size_t)all, sizeof *k.errors);
    bool ok = which && k.made && k.errors;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d masks", all);
    const double least = f->options->pred_iou_thresh;
    for (int i = 0; ok && i < all; i++)
        if (least <= 0 || (double)answer->score[i] > least) which[count++] = i;
    k.which = which;
    if (ok) ts_parallel(f->s->dev->threads, count, 1, make_candidates, &k);
    for (int i = 0; ok && i < count; i++) {
        if (k.errors[i].code) ok = ts_fail(err, k.errors[i].code, "%s", k.errors[i].text);
        if (!ok || !k.made[i].mask.run) continue;
        const double *at = points + 2 * (ptrdiff_t)(which[i] / answer->each);
        k.made[i].point[0] = at[0] + c->x;
        k.made[i].point[1] = at[1] + c->y;
        memcpy(k.made[i].crop, (int[]){c->x, c->y, c->width, c->height}, sizeof k.made[i].crop);
        ok = push(&f->found, &k.made[i], err);
        if (ok) k.made[i].mask = (ts_rle){0}; /* moved */
    }
    if (k.made) clear_list(k.made, count);
    free(k.made);
    free(k.errors);
    free(which);
    return ok;
}

/* ---- a crop ---- */

static bool ask_batch(search *f, const crop *c, const double *points, int count, ts_error *err)
{
    static const int inside = 1;
    ts_sam_prompt *prompts = calloc((size_t)count, sizeof *prompts);
    float *at = malloc((size_t)count * 2 * sizeof *at);
    ts_sam_answer answer = {0};
    bool ok = prompts && at;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d prompts", count);
    for (int i = 0; ok && i < count; i++) {
        at[2 * i] = (float)points[2 * i];
        at[2 * i + 1] = (float)points[2 * i + 1];
        prompts[i] = (ts_sam_prompt){.points = 1, .point = at + 2 * i, .label = &inside};
    }
    ok = ok && ts_sam_predict(f->s, prompts, count, &(ts_sam_options){.multimask = true}, &answer, err) &&
         add_batch(f, c, &answer, points, err);
    ts_sam_answer_clear(&answer);
    free(prompts);
    free(at);
    f->done += count;
    if (ok && f->progress && !f->progress(f->progress_ctx, f->done, f->all)) ok = ts_fail(err, TS_ERR_ARGUMENT, "stopped");
    return ok;
}

static bool search_crop(search *f, const crop *c, ts_error *err)
{
    const int side = points_at(f->options, c->layer), all = side * side, batch = f->options->points_per_batch;
    const int64_t before = f->found.count;
    double *points = malloc((size_t)all * 2 * sizeof *points);
    bool ok = points;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d points", all);
    for (int i = 0; ok && i < all; i++) {
        const int column = i % side, row = i / side;
        points[2 * i] = (column + 0.5) / side * c->width;
        points[2 * i + 1] = (row + 0.5) / side * c->height;
    }
    for (int i = 0; ok && i < all; i += batch)
        ok = ask_batch(f, c, points + 2 * (ptrdiff_t)i, all - i < batch ? all - i : batch, err);
    free(points);
    const int64_t count = f->found.count - before;
    float *score = ok ? malloc((size_t)(count + 1) * sizeof *score) : NULL;
    if (ok && !score) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld masks", (long long)count);
        ok = false;
    }
    for (int64_t i = 0; ok && i < count; i++) score[i] = (float)f->found.list[before + i].predicted_iou;
    ok = ok && suppress(&f->found, before, score, f->options->box_nms_thresh, err);
    free(score);
    return ok;
}

static bool search_layer(search *f, const ts_image *picture, int layer, ts_error *err)
{
    for (int a = 0; a < 1 << layer; a++)
        for (int b = 0; b < 1 << layer; b++) {
            crop c;
            ts_image part;
            if (!crop_at(f, layer, a, b, &c)) continue;
            if (picture) {
                if (!cut(picture, &c, &part, err)) return false;
                const bool set = ts_sam_set_picture(f->s, &part, err);
                ts_image_clear(&part);
                if (!set) return false;
            }
            if (!search_crop(f, &c, err)) return false;
        }
    return true;
}

/* The whole picture and its crops; then the whole one is what prompts are asked of again. */
static bool search_layers(search *f, const ts_image *picture, ts_error *err)
{
    const ts_sam_config *c = ts_sam_about(f->s);
    const size_t bytes = (size_t)c->side * (size_t)c->side * (size_t)c->embed * sizeof(float);
    if (!search_layer(f, picture, 0, err)) return false;
    if (f->options->crop_n_layers == 0) return true;
    float *whole = malloc(bytes);
    if (!whole) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture's embedding");
    memcpy(whole, ts_sam_embedding(f->s), bytes);
    bool ok = true;
    for (int layer = 1; ok && layer <= f->options->crop_n_layers; layer++) ok = search_layer(f, picture, layer, err);
    ok = ok && ts_sam_set_embedding(f->s, whole, f->width, f->height, err);
    free(whole);
    return ok;
}

/* Of doubles in different crops those of the smaller crop stay. */
static bool merge_crops(search *f, ts_error *err)
{
    float *score = malloc((size_t)(f->found.count + 1) * sizeof *score);
    if (!score) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld masks", (long long)f->found.count);
    for (int64_t i = 0; i < f->found.count; i++) {
        const int *of = f->found.list[i].crop;
        score[i] = (float)(1 / ((double)of[2] * of[3]));
    }
    const bool ok = suppress(&f->found, 0, score, f->options->crop_nms_thresh, err);
    free(score);
    return ok;
}

/* ---- small regions ---- */

static bool mend(ts_sam_found *m, int64_t area, bool *changed, ts_error *err)
{
    ts_mask mask;
    bool holes = false, islands = false;
    if (!ts_rle_mask(&m->mask, &mask, err)) return false;
    bool ok = ts_mask_fill_holes(&mask, area, &holes, err) && ts_mask_drop_islands(&mask, area, &islands, err);
    *changed = holes || islands;
    if (ok && *changed) {
        ts_rle runs;
        ok = ts_rle_of(&mask, &runs, err);
        if (ok) {
            ts_rle_clear(&m->mask);
            m->mask = runs;
            m->area = ts_rle_area(&runs);
            m->box = ts_rle_box(&runs);
        }
    }
    ts_mask_clear(&mask);
    return ok;
}

/* Mends all masks; of doubles that it made, masks that did not change stay. */
static bool mend_all(search *f, ts_error *err)
{
    const ts_sam_everything_options *o = f->options;
    float *score = malloc((size_t)(f->found.count + 1) * sizeof *score);
    bool ok = score;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld masks", (long long)f->found.count);
    for (int64_t i = 0; ok && i < f->found.count; i++) {
        bool changed = false;
        ok = mend(&f->found.list[i], o->min_mask_region_area, &changed, err);
        score[i] = changed ? 0 : 1;
    }
    ok =
        ok && suppress(&f->found, 0, score, o->box_nms_thresh > o->crop_nms_thresh ? o->box_nms_thresh : o->crop_nms_thresh, err);
    free(score);
    return ok;
}

/* ---- all of it ---- */

static bool check_real(const char *name, double value, double least, double most, ts_error *err)
{
    return (value >= least && value <= most) ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s is %g, wanted %g to %g", name, value, least, most);
}

static bool check_whole(const char *name, int64_t value, int64_t least, int64_t most, ts_error *err)
{
    return (value >= least && value <= most) || ts_fail(err, TS_ERR_ARGUMENT, "%s is %lld, wanted %lld to %lld", name,
                                                        (long long)value, (long long)least, (long long)most);
}

bool ts_sam_everything_check(const ts_sam_everything_options *o, ts_error *err)
{
    if (!check_whole("points per side", o->points_per_side, 1, MOST_POINTS, err) ||
        !check_whole("points per batch", o->points_per_batch, 1, MOST_POINTS, err) ||
        !check_real("the threshold of the predicted IoU", o->pred_iou_thresh, -1e6, 1e6, err) ||
        !check_real("the threshold of the stability score", o->stability_score_thresh, 0, 1, err) ||
        !check_real("the offset of the stability score", o->stability_score_offset, 0, 1e6, err) ||
        !check_real("the overlap of boxes", o->box_nms_thresh, 0, 1, err) ||
        !check_real("the overlap of crops' boxes", o->crop_nms_thresh, 0, 1, err) ||
        !check_real("the crops' overlap", o->crop_overlap_ratio, 0, 1, err) ||
        !check_whole("the layers of crops", o->crop_n_layers, 0, MOST_LAYERS, err) ||
        !check_whole("the factor of the points in crops", o->crop_n_points_downscale_factor, 1, MOST_POINTS, err) ||
        !check_whole("the least area of a region", o->min_mask_region_area, 0, INT32_MAX, err))
        return false;
    return points_at(o, o->crop_n_layers) > 0 ||
           ts_fail(err, TS_ERR_ARGUMENT,
                   "no point is left in the crops of layer %d: %d points a side, divided by %d for each layer", o->crop_n_layers,
                   o->points_per_side, o->crop_n_points_downscale_factor);
}

/* Takes the sizes, and counts the prompts that are to come. */
static bool begin(search *f, const ts_image *picture, ts_error *err)
{
    if (!ts_sam_everything_check(f->options, err)) return false;
    if (picture) {
        f->width = picture->width;
        f->height = picture->height;
    } else if (!ts_sam_size(f->s, &f->width, &f->height) || f->options->crop_n_layers > 0) {
        return ts_fail(err, TS_ERR_ARGUMENT, "crops of a picture cannot be searched without the picture");
    }
    for (int layer = 0; layer <= f->options->crop_n_layers; layer++) {
        const int64_t side = points_at(f->options, layer);
        for (int a = 0; a < 1 << layer; a++)
            for (int b = 0; b < 1 << layer; b++) {
                crop c;
                if (crop_at(f, layer, a, b, &c)) f->all += side * side;
            }
    }
    return true;
}

bool ts_sam_everything(ts_sam *s, const ts_image *picture, const ts_sam_everything_options *options, ts_sam_progress_fn progress,
                       void *ctx, ts_sam_all *out, ts_error *err)
{
    search f = {.s = s, .options = options, .progress = progress, .progress_ctx = ctx};
    *out = (ts_sam_all){0};
    bool ok = begin(&f, picture, err) && search_layers(&f, picture, err);
    if (ok && options->crop_n_layers > 0) ok = merge_crops(&f, err);
    if (ok && options->min_mask_region_area > 0) ok = mend_all(&f, err);
    if (ok) {
        *out = (ts_sam_all){f.found.count, f.found.list};
        return true;
    }
    clear_list(f.found.list, f.found.count);
    free(f.found.list);
    return false;
}

void ts_sam_all_clear(ts_sam_all *all)
{
    if (!all) return;
    clear_list(all->list, all->count);
    free(all->list);
    *all = (ts_sam_all){0};
}
