/* colorization.c - `tessera eval colorization`: colours for grey pictures of ImageNet's validation set, as Bar et al. measure it
 * (2022, arXiv 2209.00647, section 4.1, and their public code):
 *
 *   asked       1000 pictures of the n in folders by class, sorted: the first 1000 of a permutation of 0 to n - 2 by numpy's
 *               generator, seed 5.
 *   example     then for each trial one of the first 999 pictures: a slip of the code, by which examples are of the first twenty
 *               classes alone. It may be the query.
 *   cells       the middle 111 x 111 pixels, nothing resized, a smaller picture with black around it; and the same in grey (ITU-R
 *               601). White between the cells.
 *   score       the mean squared error of values normalised by ImageNet's mean and deviation, all three channels, the target
 * being what is left of it after normalising and cutting to whole numbers. LPIPS, of which the public code has nothing, where its
 * weights are given. result      the mean over the trials. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "grid/numpy.h"

enum { TRIALS = 1000, FULL = 50000 };

/* ---- which pictures ---- */

/* Folder by folder as they sort, and within each by name: '/' stands before all other letters. */
static int by_folder(const void *a, const void *b)
{
    const char *x = ((const eval_picture *)a)->path, *y = ((const eval_picture *)b)->path;
    while (*x && *x == *y) x++, y++;
    const int p = *x == '/' ? 1 : (unsigned char)*x, q = *y == '/' ? 1 : (unsigned char)*y;
    return (p > q) - (p < q);
}

static bool list(eval_task *t, ts_error *err)
{
    ts_folder folder = {0};
    eval_pictures *asked = &t->asked[0];
    const char *named = t->folders.items[0];
    snprintf(t->root, sizeof t->root, "%s/val", named);
    if (!ts_is_folder(t->root)) snprintf(t->root, sizeof t->root, "%s", named);
    bool ok = ts_list_pictures(t->root, TS_FOLDER_BELOW, &t->job.left_out, &folder, err);
    for (int64_t i = 0; ok && i < folder.count; i++) {
        const char *slash = strrchr(folder.picture[i], '/'), *name = slash ? slash + 1 : folder.picture[i];
        const char *dot = strrchr(name, '.');
        ok = eval_pictures_add(
            asked,
            &(eval_picture){.name = strndup(name, dot ? (size_t)(dot - name) : strlen(name)), .path = strdup(folder.picture[i])},
            err);
    }
    ts_folder_clear(&folder);
    if (!ok) return false;
    qsort(asked->item, (size_t)asked->count, sizeof *asked->item, by_folder);
    return asked->count > 2 ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s holds %d pictures: three at least are wanted", t->root, asked->count);
}

/* Of a smaller set all but the last, which the permutation leaves out. */
static int trials(const eval_task *t, int fold)
{
    (void)fold;
    return t->asked[0].count - 1 < TRIALS ? t->asked[0].count - 1 : TRIALS;
}

static bool is_among(const eval_picture *picture, const eval_picture *const *others, int count)
{
    for (int i = 0; i < count; i++)
        if (picture == others[i]) return true;
    return false;
}

static bool draw(const eval_task *t, int fold, eval_trial *out, int count, ts_error *err)
{
    const eval_pictures *all = &t->asked[0];
    const int first = trials(t, fold) - 1; /* of which examples are */
    if (t->each > first) return ts_fail(err, TS_ERR_ARGUMENT, "%d examples of %d pictures are not possible", t->each, first);
    int32_t *order = malloc((size_t)all->count * sizeof *order);
    if (!order) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_numpy random;
    ts_numpy_seed(&random, (uint32_t)t->job.common.seed);
    ts_numpy_permutation(&random, all->count - 1, order);
    for (int i = 0; i < count; i++) {
        out[i].query = &all->item[order[i]];
        for (int k = 0; k < t->each;) {
            const eval_picture *drawn = &all->item[ts_numpy_below(&random, first)];
            if (!is_among(drawn, out[i].support, k)) out[i].support[k++] = drawn;
        }
    }
    free(order);
    return true;
}

/* ---- a trial ---- */

/* A canvas of another size than the published one gets the same 111 x 111 pixels, brought to its cells. */
static bool pair(const eval_task *t, const eval_picture *picture, int side, ts_image *in, ts_image *out, ts_error *err)
{
    (void)t;
    ts_image whole = {0}, middle = {0};
    const int size = side ? side : EVAL_CELL;
    bool ok = ts_image_load(picture->path, &whole, err) && eval_centre_crop(&whole, EVAL_CELL, &middle, err) &&
              ts_image_resize(&middle, size, size, TS_RESIZE_BILINEAR, out, err);
    if (ok) eval_grey(&middle);
    ok = ok && ts_image_resize(&middle, size, size, TS_RESIZE_BILINEAR, in, err);
    ts_image_clear(&whole);
    ts_image_clear(&middle);
    return ok;
}

static bool score(const eval_task *t, const ts_image *truth, const ts_image *answer, eval_scores *out, ts_error *err)
{
    ts_image wanted = {0};
    if (!ts_image_copy(truth, &wanted, err)) return false;
    eval_through_normalisation(&wanted, false);
    out->value[EVAL_MSE] = eval_normalised_mse(&wanted, answer);
    ts_image_clear(&wanted);
    return !t->lpips || eval_lpips_measure(t->lpips, truth, answer, &out->value[EVAL_LPIPS], err);
}

/* ---- beside the paper ---- */

static bool differs(const eval_task *t, cJSON *list_of)
{
    if (t->asked[0].count != FULL && !eval_differ(list_of, "the folder holds %d pictures and not %d", t->asked[0].count, FULL))
        return false;
    return t->of_fold[0] == TRIALS || eval_differ(list_of, "%d trials and not %d", t->of_fold[0], TRIALS);
}

static int options(eval_task *t, ts_option *list_of)
{
    const ts_option own[] = {
        {0, "lpips", "FILE", TS_OPT_TEXT, &t->lpips_file, 0, 0, EVAL_LPIPS_HELP},
        {0, "vgg", "FILE", TS_OPT_TEXT, &t->vgg_file, 0, 0, EVAL_VGG_HELP},
    };
    memcpy(list_of, own, sizeof own);
    return sizeof own / sizeof *own;
}

static const eval_protocol protocol = {
    .name = "colorization",
    .of = "colourisation of ImageNet's validation pictures by the protocol of Bar et al. 2022",
    .usage = "IMAGENET [options]",
    .summary = "measures colours for grey pictures of ImageNet's validation set, as Bar et al. do",
    .note = "The folder, or val in it, holds a folder of pictures for each class. mse is of values in deviations: 1 is one of "
            "them.\n",
    .example = "  tessera eval colorization imagenet --model checkpoint-1000.pth\n"
               "  tessera eval colorization imagenet --model checkpoint-1000.pth --lpips vgg.pth --vgg vgg16-397923af.pth\n",
    .fold = "run",
    .folds = 1,
    .seed = 5,
    .filter = TS_RESIZE_BILINEAR,
    .options = options,
    .list = list,
    .trials = trials,
    .draw = draw,
    .pair = pair,
    .score = score,
    .differs = differs,
};

int ts_eval_colorization(int argc, char **argv)
{
    return eval_protocol_run(&protocol, argc, argv);
}
