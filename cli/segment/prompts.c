/* prompts.c - what is asked of a picture: points and boxes read off the command line, held against the picture's size, and put to
 * the model. */
#include "cli/segment/segment.h"

#include <stdlib.h>
#include <string.h>

#include "engine/number.h"

/* Logits that stand for a rough mask: about as sure as the model itself is of its masks. */
static const float PRIOR_STRENGTH = 10;

/* ---- the command line ---- */

/* "X,Y,..." into `most` numbers at most; how many there are, or -1. */
static int read_numbers(const char *word, float *out, int most)
{
    for (int n = 0;; n++) {
        char text[64];
        double value;
        const size_t length = strcspn(word, ",");
        if (n == most || length >= sizeof text) return -1;
        memcpy(text, word, length);
        text[length] = '\0';
        if (!ts_real_read(text, &value) || value < -1e9 || value > 1e9) return -1;
        out[n] = (float)value;
        word += length;
        if (*word++ == '\0') return n + 1;
    }
}

static int read_points(segment_job *j)
{
    for (int i = 0; i < j->point_words.count; i++, j->points++) {
        float number[3] = {0, 0, 1};
        const char *word = j->point_words.items[i];
        const int count = read_numbers(word, number, 3);
        if (count < 2) return ts_usage_error("segment", "--point %s is not X,Y or X,Y,0", word);
        if (number[2] != 0 && number[2] != 1)
            return ts_usage_error("segment", "--point %s: the third number is 1, in the object, or 0, not in it", word);
        memcpy(j->point + 2 * i, number, 2 * sizeof *number);
        j->label[i] = (int)number[2];
    }
    return -1;
}

static int read_boxes(segment_job *j)
{
    for (int i = 0; i < j->box_words.count; i++, j->boxes++) {
        float *b = j->box + 4 * i;
        const char *word = j->box_words.items[i];
        if (read_numbers(word, b, 4) != 4) return ts_usage_error("segment", "--box %s is not X0,Y0,X1,Y1", word);
        if (b[0] >= b[2] || b[1] >= b[3])
            return ts_usage_error("segment", "--box %s is empty: left, top, right, bottom are wanted", word);
    }
    return -1;
}

static void gather(segment_job *j)
{
    j->prompts = j->boxes > 1 ? j->boxes : j->points || j->boxes || j->prior;
    for (int i = 0; i < j->prompts; i++)
        j->prompt[i] =
            (ts_sam_prompt){.points = j->points, .point = j->point, .label = j->label, .box = j->boxes ? j->box + 4 * i : NULL};
}

int segment_read_prompts(segment_job *j)
{
    const size_t points = (size_t)j->point_words.count, boxes = (size_t)j->box_words.count;
    if (points > TS_SAM_MAX_POINTS)
        return ts_usage_error("segment", "%zu points are too many: up to %d", points, TS_SAM_MAX_POINTS);
    j->point = calloc(points + 1, 2 * sizeof *j->point);
    j->label = calloc(points + 1, sizeof *j->label);
    j->box = calloc(boxes + 1, 4 * sizeof *j->box);
    j->prompt = calloc(boxes + 1, sizeof *j->prompt);
    if (!j->point || !j->label || !j->box || !j->prompt) return ts_report("segment", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    int status = read_points(j);
    if (status < 0) status = read_boxes(j);
    if (status >= 0) return status;
    gather(j);
    j->one_mask = j->text ? j->top == 1 : j->prompts == 1 && !j->multimask;
    return -1;
}

/* ---- a picture's size ---- */

bool segment_check_prompts(const segment_job *j, const segment_picture *p, ts_error *err)
{
    for (int i = 0; i < j->points; i++) {
        const float *at = j->point + 2 * i;
        if (at[0] < 0 || at[1] < 0 || at[0] >= (float)p->width || at[1] >= (float)p->height)
            return ts_fail(err, TS_ERR_ARGUMENT, "--point %s lies outside %s, which is %d x %d pixels", j->point_words.items[i],
                           p->path, p->width, p->height);
    }
    for (int i = 0; i < j->boxes; i++) {
        const float *b = j->box + 4 * i;
        if (b[0] < 0 || b[1] < 0 || b[2] > (float)p->width || b[3] > (float)p->height)
            return ts_fail(err, TS_ERR_ARGUMENT, "--box %s leaves %s, which is %d x %d pixels", j->box_words.items[i], p->path,
                           p->width, p->height);
    }
    if (j->prior && (j->prior_mask.width != p->width || j->prior_mask.height != p->height))
        return ts_fail(err, TS_ERR_ARGUMENT, "--prior %s is %d x %d pixels and %s %d x %d: they must have one size", j->prior,
                       j->prior_mask.width, j->prior_mask.height, p->path, p->width, p->height);
    return true;
}

/* ---- answers ---- */

void segment_masks_clear(segment_masks *m)
{
    for (int i = 0; i < m->count; i++) ts_rle_clear(&m->list[i].found.mask);
    free(m->list);
    *m = (segment_masks){0};
}

static double stability(const float *logits, size_t count)
{
    size_t above = 0, below = 0;
    for (size_t i = 0; i < count; i++) {
        above += logits[i] > 1;
        below += logits[i] > -1;
    }
    return below ? (double)above / (double)below : 0;
}

/* Mask `k` of a prompt's answer: the same facts as of a mask that was found. `full` has room for the picture's logits. */
static bool take_mask(segment_job *j, const ts_sam_answer *a, int prompt, int k, float *full, segment_mask *out, ts_error *err)
{
    const float *low = ts_sam_low(a, prompt, k);
    ts_sam_found *f = &out->found;
    ts_mask mask;
    out->prompt = prompt;
    ts_sam_size(j->sam, &f->crop[2], &f->crop[3]);
    if (!ts_sam_full(j->sam, low, full, err) || !ts_sam_mask(j->sam, low, &mask, err)) return false;
    f->stability_score = stability(full, (size_t)f->crop[2] * (size_t)f->crop[3]);
    f->predicted_iou = a->score[(size_t)prompt * (size_t)a->each + (size_t)k];
    f->area = ts_mask_area(&mask);
    f->box = ts_mask_box(&mask);
    const bool ok = ts_rle_of(&mask, &f->mask, err);
    ts_mask_clear(&mask);
    return ok;
}

static bool take_answers(segment_job *j, const ts_sam_answer *a, segment_masks *out, ts_error *err)
{
    const int each = j->multimask ? a->each : 1;
    int width, height;
    ts_sam_size(j->sam, &width, &height);
    float *full = malloc((size_t)width * (size_t)height * sizeof *full);
    out->list = calloc((size_t)a->prompts * (size_t)each, sizeof *out->list);
    bool ok = full && out->list;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "no memory for the masks of %d prompts", a->prompts);
    for (int i = 0; ok && i < a->prompts; i++)
        for (int k = 0; ok && k < each; k++)
            ok = take_mask(j, a, i, j->multimask ? k : ts_sam_best(a, i), full, &out->list[out->count++], err);
    free(full);
    return ok;
}

/* Users' rule (the published notebooks): a lone point is ambiguous, so three masks are made, of which the best is taken. */
static bool is_ambiguous(const segment_job *j)
{
    return j->points == 1 && !j->boxes && !j->prior;
}

/* The rough mask as logits for the picture at hand. */
static bool set_prior(segment_job *j, ts_error *err)
{
    const size_t low = (size_t)j->config.low;
    if (!j->prior) return true;
    if (!j->prior_logits) j->prior_logits = malloc(low * low * sizeof *j->prior_logits);
    if (!j->prior_logits) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a prior");
    j->prompt[0].prior = j->prior_logits;
    return ts_sam_prior(j->sam, &j->prior_mask, PRIOR_STRENGTH, j->prior_logits, err);
}

bool segment_ask(segment_job *j, segment_masks *out, ts_error *err)
{
    const ts_sam_options options = {.multimask = j->multimask || is_ambiguous(j)};
    ts_sam_answer answer;
    *out = (segment_masks){0};
    if (!set_prior(j, err) || !ts_sam_predict(j->sam, j->prompt, j->prompts, &options, &answer, err)) return false;
    const bool ok = take_answers(j, &answer, out, err);
    ts_sam_answer_clear(&answer);
    if (!ok) segment_masks_clear(out);
    return ok;
}

/* The pictures that are done and the points of this one, as one count. */
static bool step(void *ctx, int64_t done, int64_t all)
{
    segment_job *j = ctx;
    ts_progress_step(&j->progress, all > 0 ? j->at * 1000 + 1000 * done / all : 0);
    return true;
}

bool segment_ask_all(segment_job *j, const ts_image *picture, segment_masks *out, ts_error *err)
{
    ts_sam_all all;
    *out = (segment_masks){0};
    if (!ts_sam_everything(j->sam, picture, &j->options, step, j, &all, err)) return false;
    out->list = calloc((size_t)all.count + 1, sizeof *out->list);
    const bool ok = out->list != NULL;
    for (int64_t i = 0; ok && i < all.count; i++) {
        out->list[i] = (segment_mask){.found = all.list[i], .prompt = -1};
        all.list[i].mask = (ts_rle){0}; /* moved */
    }
    if (ok) out->count = (int)all.count;
    ts_sam_all_clear(&all);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the masks");
}
