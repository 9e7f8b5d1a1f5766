/* segmentation.c - `tessera eval segmentation`: foreground segmentation on Pascal-5i, as Bar et al. measure it (2022, arXiv
 * 2209.00647, section 4.1, and their public code):
 *
 *   asked       fold F asks the lines of val/foldF.txt in order, and from the first again where more trials are wanted than there
 *               are lines: 1000 published. A line is NAME__CC, CC a class from 1.
 *   example     among the fold's pictures of the same class one by numpy's generator, seed 0, again where it is the query itself;
 *               the generator goes on from trial to trial.
 *   cells       the picture, and white where SegmentationClassAug has the class, black elsewhere, its border too, each brought to
 *               111 x 111 by bicubic: masks get grey edges. White between the cells.
 *   score       every pixel of answer and target goes to the nearer of white and black; the white ones' intersection over union.
 *               A target with nothing in it has none where the answer has nothing either (the public code's mean is then NaN).
 *   result      the mean over a fold's trials, and of the four folds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "grid/numpy.h"

static const uint8_t WHITE_BLACK[2][3] = {{255, 255, 255}, {0, 0, 0}}, YELLOW_PURPLE[2][3] = {{253, 231, 37}, {68, 1, 84}};

static int options(eval_task *t, ts_option *list)
{
    const ts_option own[] = {
        {0, "splits", "DIR", TS_OPT_TEXT, &t->splits_given, 0, 0,
         "the folder of val/fold0.txt to val/fold3.txt, and of trn/; splits/pascal in the folder or beside it"},
        {0, "fold", "F", TS_OPT_INT, &t->fold, 0, EVAL_FOLDS - 1, "this fold alone, 0 to 3; all four"},
        {0, "trials", "N", TS_OPT_INT, &t->trials, 1, 1000000,
         "trials of a fold, the list from the first line again where it ends: 1000 as published; each line once"},
        {0, "supports", "val|trn", TS_OPT_CHOICE, &t->from, 0, 0, "whose pictures the examples are; val, as Bar et al."},
        {0, "colours", "white|yellow", TS_OPT_CHOICE, &t->colours, 0, 0,
         "of masks: white on black, or the paper's yellow on purple; white"},
    };
    memcpy(list, own, sizeof own);
    return sizeof own / sizeof *own;
}

/* ---- which pictures ---- */

static bool list(eval_task *t, ts_error *err)
{
    if (!eval_voc_root(t, err) || !eval_voc_splits(t, err)) return false;
    for (int f = t->fold; f < t->fold + t->folds; f++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/val/fold%d.txt", t->splits, f);
        if (!eval_voc_fold(t, path, &t->asked[f], err)) return false;
        snprintf(path, sizeof path, "%s/trn/fold%d.txt", t->splits, f);
        if (t->from && !eval_voc_fold(t, path, &t->pool[f], err)) return false;
    }
    return true;
}

static int trials(const eval_task *t, int fold)
{
    return t->trials ? t->trials : t->asked[fold].count;
}

static bool is_among(const eval_picture *picture, const eval_picture *const *others, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(picture->name, others[i]->name) == 0) return true;
    return false;
}

/* numpy.random.choice(same, 1, replace=False) until it is another picture. */
static bool draw_supports(const eval_task *t, ts_numpy *random, const eval_pictures *pool, eval_trial *trial, int32_t *same,
                          int32_t *order, ts_error *err)
{
    int count = 0, others = 0;
    for (int i = 0; i < pool->count; i++) {
        if (pool->item[i].number != trial->query->number) continue;
        same[count++] = i;
        others += strcmp(pool->item[i].name, trial->query->name) != 0;
    }
    if (others < t->each)
        return ts_fail(err, TS_ERR_ARGUMENT, "fold %d has %d picture%s of class %d beside %s: too few for %d example%s",
                       trial->fold, others, others == 1 ? "" : "s", trial->query->number, trial->query->name, t->each,
                       t->each == 1 ? "" : "s");
    for (int k = 0; k < t->each;) {
        ts_numpy_permutation(random, count, order);
        const eval_picture *drawn = &pool->item[same[order[0]]];
        if (strcmp(drawn->name, trial->query->name) == 0 || is_among(drawn, trial->support, k)) continue;
        trial->support[k++] = drawn;
    }
    return true;
}

static bool draw(const eval_task *t, int fold, eval_trial *out, int count, ts_error *err)
{
    const eval_pictures *asked = &t->asked[fold], *pool = t->from ? &t->pool[fold] : asked;
    int32_t *same = malloc((size_t)pool->count * sizeof *same), *order = malloc((size_t)pool->count * sizeof *order);
    const bool room = same && order;
    bool ok = room || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_numpy random;
    ts_numpy_seed(&random, (uint32_t)t->job.common.seed);
    for (int i = 0; room && ok && i < count; i++) {
        out[i].query = &asked->item[i % asked->count];
        ok = draw_supports(t, &random, pool, &out[i], same, order, err);
    }
    free(same);
    free(order);
    return ok;
}

/* ---- a trial ---- */

static const uint8_t (*colours_of(const eval_task *t))[3]
{
    return t->colours ? YELLOW_PURPLE : WHITE_BLACK;
}

/* To a cell's size, or as it is. */
static bool bring(ts_image *picture, int side, ts_error *err)
{
    ts_image small = {0};
    if (side == 0) return true;
    if (!ts_image_resize(picture, side, side, TS_RESIZE_BICUBIC, &small, err)) return false;
    ts_image_clear(picture);
    *picture = small;
    return true;
}

static bool pair(const eval_task *t, const eval_picture *picture, int side, ts_image *in, ts_image *out, ts_error *err)
{
    const uint8_t(*colours)[3] = colours_of(t);
    if (!ts_image_load(picture->path, in, err) || !ts_numbers_load(picture->mask, out, err)) return false;
    if (in->width != out->width || in->height != out->height)
        return ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its mask %d x %d: they must be alike", picture->path,
                       in->width, in->height, out->width, out->height);
    eval_paint_class(out, picture->number, colours[0], colours[1]);
    return bring(in, side, err) && bring(out, side, err);
}

static bool score(const eval_task *t, const ts_image *truth, const ts_image *answer, eval_scores *out, ts_error *err)
{
    ts_image wanted = {0}, got = {0};
    const bool ok = ts_image_copy(truth, &wanted, err) && ts_image_copy(answer, &got, err);
    if (ok) {
        eval_through_normalisation(&wanted, false);
        eval_snap(&wanted, colours_of(t));
        eval_snap(&got, colours_of(t));
        eval_score_masks(&wanted, &got, colours_of(t), out);
    }
    ts_image_clear(&wanted);
    ts_image_clear(&got);
    return ok;
}

/* ---- beside the paper ---- */

static bool differs(const eval_task *t, cJSON *list_of)
{
    static const int lines[EVAL_FOLDS] = {346, 451, 725, 346};
    bool ok = true;
    for (int f = t->fold; ok && f < t->fold + t->folds; f++) {
        if (t->asked[f].count != lines[f])
            ok = eval_differ(list_of, "the list of fold %d has %d lines and not %d", f, t->asked[f].count, lines[f]);
        else if (t->of_fold[f] != 1000)
            ok = eval_differ(list_of, "fold %d is asked %d times and not 1000 (--trials 1000)", f, t->of_fold[f]);
    }
    if (ok && t->from) ok = eval_differ(list_of, "examples are of trn and not of val");
    if (ok && t->colours) ok = eval_differ(list_of, "masks are yellow on purple and not white on black");
    if (ok && t->other_masks) ok = eval_differ(list_of, "masks are of SegmentationClass and not of SegmentationClassAug");
    return ok;
}

static const eval_protocol protocol = {
    .name = "segmentation",
    .of = "foreground segmentation on Pascal-5i by the protocol of Bar et al. 2022",
    .usage = "VOC2012 [--splits splits/pascal] [options]",
    .summary = "measures foreground segmentation on Pascal-5i, as Bar et al. and those after them do",
    .note = "The folder holds JPEGImages and SegmentationClassAug; the lists are those of github.com/amirbar/visual_prompting,\n"
            "evaluate/splits/pascal. Published: --trials 1000 with checkpoint-1000.pth.\n",
    .example = "  tessera eval segmentation VOC2012 --splits splits/pascal --trials 1000 --model checkpoint-1000.pth\n"
               "  tessera eval segmentation VOC2012 --fold 0 --limit 50 --sheet fold0.png\n",
    .fold = "fold",
    .folds = EVAL_FOLDS,
    .seed = 0,
    .filter = TS_RESIZE_BICUBIC,
    .options = options,
    .list = list,
    .trials = trials,
    .draw = draw,
    .pair = pair,
    .score = score,
    .differs = differs,
};

int ts_eval_segmentation(int argc, char **argv)
{
    return eval_protocol_run(&protocol, argc, argv);
}
