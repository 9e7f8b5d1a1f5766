/* detection.c - `tessera eval detection`: one thing's box on Pascal VOC 2012, as Bar et al. measure it (2022, arXiv 2209.00647,
 * section 4.1, and their public code):
 *
 *   asked       the pictures of ImageSets/Main/val.txt, in order, whose annotation has exactly one object, of less than a fifth
 * of the picture (so the code; the paper says that those above a half are left out), difficult ones too. example     the pictures
 * of train.txt, taken alike, are shuffled by numpy's generator for every trial; the first of the query's class. The paper's four
 * splits are four runs; here run R begins the generator at seed + R. cells       the picture, and black with the box filled
 * white, from int(xmin - 1) to int(xmax), each brought to 111 x 111 by bilinear. White between the cells. score       every pixel
 * goes to the nearer of white and black; of the answer's white regions the largest becomes its bounding box, filled; intersection
 * over union with the target as it stands. result      the mean over a run's trials, and of the runs. */
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "grid/numpy.h"

static const uint8_t COLOURS[2][3] = {{255, 255, 255}, {0, 0, 0}};

static int options(eval_task *t, ts_option *list)
{
    const ts_option own[] = {
        {0, "runs", "N", TS_OPT_INT, &t->folds, 1, EVAL_FOLDS, "runs with other examples, 1 to 4; 4, the paper's splits"}};
    memcpy(list, own, sizeof own);
    return sizeof own / sizeof *own;
}

/* ---- which pictures ---- */

/* The runs ask the same pictures: the first one's lists are all there are. */
static bool list(eval_task *t, ts_error *err)
{
    static const double MOST = 0.2;
    return eval_voc_root(t, err) && eval_voc_single(t, "val", MOST, &t->asked[0], err) &&
           eval_voc_single(t, "train", MOST, &t->pool[0], err);
}

static int trials(const eval_task *t, int fold)
{
    (void)fold;
    return t->asked[0].count;
}

static bool draw(const eval_task *t, int fold, eval_trial *out, int count, ts_error *err)
{
    const eval_pictures *train = &t->pool[0];
    int32_t *order = malloc((size_t)train->count * sizeof *order);
    if (!order) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    bool ok = true;
    ts_numpy random;
    ts_numpy_seed(&random, (uint32_t)t->job.common.seed + (uint32_t)fold);
    for (int i = 0; ok && i < count; i++) {
        out[i].query = &t->asked[0].item[i];
        int found = 0;
        ts_numpy_permutation(&random, train->count, order);
        for (int k = 0; found < t->each && k < train->count; k++)
            if (train->item[order[k]].number == out[i].query->number) out[i].support[found++] = &train->item[order[k]];
        if (found < t->each)
            ok = ts_fail(err, TS_ERR_ARGUMENT, "ImageSets/Main/train.txt has %d picture%s of one thing of class %d, as %s shows",
                         found, found == 1 ? "" : "s", out[i].query->number, out[i].query->name);
    }
    free(order);
    return ok;
}

/* ---- a trial ---- */

static int within(float at, int most)
{
    return at < 0 ? 0 : at > (float)most ? most : (int)at;
}

static void fill_box(const eval_picture *p, ts_image *out)
{
    for (int y = within(p->y0, out->height); y < within(p->y1, out->height); y++)
        for (int x = within(p->x0, out->width); x < within(p->x1, out->width); x++)
            memcpy(out->data + ((size_t)y * (size_t)out->width + (size_t)x) * 3, COLOURS[0], 3);
}

static bool pair(const eval_task *t, const eval_picture *picture, int side, ts_image *in, ts_image *out, ts_error *err)
{
    (void)t;
    ts_image whole = {0}, box = {0};
    bool ok = ts_image_load(picture->path, &whole, err) && ts_image_new(whole.width, whole.height, &box, err);
    if (ok) fill_box(picture, &box);
    ok = ok && ts_image_resize(&whole, side ? side : whole.width, side ? side : whole.height, TS_RESIZE_BILINEAR, in, err) &&
         ts_image_resize(&box, side ? side : box.width, side ? side : box.height, TS_RESIZE_BILINEAR, out, err);
    ts_image_clear(&whole);
    ts_image_clear(&box);
    return ok;
}

static bool score(const eval_task *t, const ts_image *truth, const ts_image *answer, eval_scores *out, ts_error *err)
{
    (void)t;
    ts_image wanted = {0}, got = {0};
    bool ok = ts_image_copy(truth, &wanted, err) && ts_image_copy(answer, &got, err);
    if (ok) {
        eval_through_normalisation(&wanted, true);
        eval_snap(&wanted, COLOURS);
        eval_snap(&got, COLOURS);
        ok = eval_largest_box(&got, err);
    }
    if (ok) eval_score_masks(&wanted, &got, COLOURS, out);
    ts_image_clear(&wanted);
    ts_image_clear(&got);
    return ok;
}

/* ---- beside the paper ---- */

/* How many pictures the code took nobody has published; of the lists that came after it is known. */
static bool differs(const eval_task *t, cJSON *list_of)
{
    for (int r = 0; r < t->folds; r++)
        if (t->of_fold[r] != t->asked[0].count)
            return eval_differ(list_of, "a run asks %d of %d pictures", t->of_fold[r], t->asked[0].count);
    return true;
}

static const eval_protocol protocol = {
    .name = "detection",
    .of = "single object detection on Pascal VOC 2012 by the protocol of Bar et al. 2022",
    .usage = "VOC2012 [options]",
    .summary = "measures the boxes of single things on Pascal VOC 2012, as Bar et al. do",
    .note = "The folder holds JPEGImages, Annotations and ImageSets/Main. The published examples were drawn by seeds that nobody "
            "has\n"
            "told: the four runs draw others. InMeMo and those after ask other lists, of 559 pictures.\n",
    .example = "  tessera eval detection VOC2012 --model checkpoint-1000.pth\n"
               "  tessera eval detection VOC2012 --runs 1 --limit 50 --sheet boxes.png\n",
    .fold = "run",
    .folds = EVAL_FOLDS,
    .seed = 0,
    .filter = TS_RESIZE_BILINEAR,
    .options = options,
    .list = list,
    .trials = trials,
    .draw = draw,
    .pair = pair,
    .score = score,
    .differs = differs,
};

int ts_eval_detection(int argc, char **argv)
{
    return eval_protocol_run(&protocol, argc, argv);
}
