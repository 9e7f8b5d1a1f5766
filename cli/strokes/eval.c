/* eval.c - `tessera strokes eval`: a model from strokes on pictures whose masks are known, scored as `tessera eval pairs` does.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"
#include "cli/strokes/strokes.h"

static const char name[] = "strokes eval";

typedef struct {
    ts_common common;
    ts_words words; /* MODEL FOLDER [TARGETS] */
    strokes_model model;
    const char *csv;
    int smooth;
    ts_left_out left_out;
    eval_pairs pairs;
    ts_palette targets;          /* the colours of all targets */
    ts_strokes_colours answered; /* the model's classes in the targets' colours */
    eval_journal journal;
} eval;

static int parse(eval *v, int argc, char **argv)
{
    ts_option options[STROKES_FEATURE_OPTIONS + 3] = {
        {0, "smooth", "R", TS_OPT_INT, &v->smooth, 0, STROKES_MOST_SMOOTH, STROKES_SMOOTH_HELP},
        {0, "csv", "FILE", TS_OPT_TEXT, &v->csv, 0, 0, "a line of numbers a picture, for a spreadsheet"},
        {0, "strict", NULL, TS_OPT_FLAG, &v->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    strokes_feature_options(&v->model.features, options + 3);
    return ts_options_parse(
        &(ts_command){
            .name = name,
            .usage = "MODEL FOLDER [TARGETS] [options]",
            .summary = "measures a model from strokes: NAME.* with NAME_target.* in a folder, or pictures of like names in "
                       "two",
            .note = "Targets have the strokes' colours; of a model of two classes also two others, where the background is "
                    "black, or\nwhat is most along their edges. iou is the mean over the colours but the background, "
                    "iou_all of all that is not background.\n",
            .example = "  tessera strokes eval cells.strokes pairs/\n"
                       "  tessera strokes eval cells.strokes photos/ masks/ --smooth 6\n",
            .options = options,
            .count = STROKES_FEATURE_OPTIONS + 3,
            .rest = &v->words,
            .least = 2,
            .most = 3,
            .rest_name = "MODEL or FOLDER",
            .common = &v->common,
            .takes = TS_TAKES_DEVICE | TS_TAKES_JSON},
        argc, argv);
}

/* ---- colours ---- */

static bool see_targets(eval *v, ts_error *err)
{
    bool ok = true, few = true;
    for (int i = 0; ok && few && i < v->pairs.count; i++) {
        ts_image target = {0};
        ts_error why = {0};
        /* One that is broken is left out when its turn comes. */
        if (ts_image_load(v->pairs.pair[i].target, &target, &why)) few = eval_palette_add(&v->targets, &target);
        else ok = why.code != TS_ERR_MEMORY || ts_fail(err, why.code, "%s", why.text);
        ts_image_clear(&target);
    }
    if (ok && !few)
        return ts_fail(err, TS_ERR_ARGUMENT, "the targets are no masks: they have more than %d colours", EVAL_PALETTE);
    return ok;
}

/* Whether all of the targets' colours are the model's. */
static bool are_ours(const ts_palette *targets, const ts_strokes_colours *ours)
{
    for (int i = 0; i < targets->count; i++) {
        bool found = false;
        for (int k = 0; k < ours->classes; k++) found = found || memcmp(targets->colour[i], ours->colour[k], 3) == 0;
        if (!found) return false;
    }
    return true;
}

static bool match_colours(eval *v, ts_error *err)
{
    const ts_strokes_colours *ours = &v->model.info.colours;
    v->answered = *ours;
    if (are_ours(&v->targets, ours)) {
        v->targets = ts_strokes_palette(ours);
        return true;
    }
    if (ours->classes != 2 || v->targets.count != 2)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "the targets have other colours than the model's %d classes (tessera model info tells those)",
                       ours->classes);
    const int ground = ts_palette_background(&v->targets);
    memcpy(v->answered.colour[ours->ground], v->targets.colour[ground], 3);
    memcpy(v->answered.colour[1 - ours->ground], v->targets.colour[1 - ground], 3);
    return true;
}

/* ---- pictures ---- */

static bool add_line(eval *v, int at, const ts_image *target, const ts_image *answer, ts_error *err)
{
    double score[EVAL_METRICS];
    if (!eval_score(target, answer, &v->targets, score, err)) return false;
    cJSON *line = cJSON_CreateObject(), *item = cJSON_CreateObject();
    bool ok = cJSON_AddNumberToObject(line, "trial", at) && cJSON_AddStringToObject(line, "query", v->pairs.pair[at].name);
    for (int m = 0; m < EVAL_METRICS; m++)
        if (isfinite(score[m])) ok = cJSON_AddNumberToObject(item, eval_metric_names[m], score[m]) && ok;
    ok = cJSON_AddItemToObject(line, eval_who_names[0], item) && ok;
    if (ok) return eval_journal_add(&v->journal, at, line, err);
    cJSON_Delete(line);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* A picture that cannot be read, or does not fit its target, is left out. */
static bool load(const eval_pair *p, ts_image *picture, ts_image *target, ts_error *err)
{
    if (!ts_image_load(p->input, picture, err) || !ts_image_load(p->target, target, err)) return false;
    return (picture->width == target->width && picture->height == target->height) ||
           ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its target %d x %d: they must be alike", p->input,
                   picture->width, picture->height, target->width, target->height);
}

static bool do_pair(eval *v, int at, ts_error *err)
{
    ts_image picture = {0}, target = {0}, answer = {0};
    ts_labels labels = {0};
    ts_error why = {0};
    bool ok;
    if (!load(&v->pairs.pair[at], &picture, &target, &why)) ok = ts_leave_out(&v->left_out, &why, err);
    else
        ok = ts_strokes_picture(v->model.model, &picture, err) &&
             ts_strokes_classify(v->model.model, v->smooth, &labels, NULL, err) &&
             ts_labels_image(&labels, &v->answered, &answer, err) && add_line(v, at, &target, &answer, err);
    ts_labels_clear(&labels);
    ts_image_clear(&picture);
    ts_image_clear(&target);
    ts_image_clear(&answer);
    return ok;
}

static bool do_all(eval *v, ts_error *err)
{
    ts_progress progress;
    ts_progress_begin(&progress, "pictures", v->pairs.count, v->common.quiet);
    bool ok = true;
    for (int i = 0; ok && i < v->pairs.count; i++) {
        ok = do_pair(v, i, err);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    if (ok && v->journal.count == 0)
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d pairs can be read; the first: %s", v->pairs.count,
                       v->left_out.first.text);
    return ok;
}

static cJSON *head(const eval *v)
{
    cJSON *h = cJSON_CreateObject();
    cJSON_AddStringToObject(h, "measured", "strokes");
    cJSON_AddItemToObject(h, "folders", cJSON_CreateStringArray(v->words.items + 1, v->words.count - 1));
    cJSON_AddStringToObject(h, "model", v->model.path);
    cJSON_AddNumberToObject(h, "smooth", v->smooth);
    return h;
}

/* ---- the command ---- */

static void clear(eval *v)
{
    eval_journal_close(&v->journal);
    eval_pairs_clear(&v->pairs);
    strokes_model_close(&v->model);
    ts_words_free(&v->words);
}

static int work(eval *v, int argc, char **argv)
{
    ts_error err = {0};
    const int status = parse(v, argc, argv);
    if (status >= 0) return status;
    v->left_out.quiet = v->common.quiet;
    v->model.path = v->words.items[0];
    for (int i = 1; i < v->words.count; i++)
        if (!ts_is_folder(v->words.items[i])) return ts_usage_error(name, "%s is no folder", v->words.items[i]);
    const char *targets = v->words.count > 2 ? v->words.items[2] : NULL;
    const bool ok = strokes_model_open(&v->model, &v->common, &err) &&
                    eval_pairs_list(v->words.items[1], targets, &v->left_out, &v->pairs, &err) &&
                    (!v->csv || ts_check_writable(v->csv, &err)) && see_targets(v, &err) && match_colours(v, &err) &&
                    strokes_model_start(&v->model, &v->common, &err) && eval_journal_open(&v->journal, NULL, head(v), &err) &&
                    do_all(v, &err) && eval_journal_summarise(&v->journal, v->pairs.count, v->common.json, v->csv, &err);
    return ok ? ts_left_out_status(name, &v->left_out) : ts_report(name, &err);
}

int ts_strokes_eval_command(int argc, char **argv)
{
    eval *v = calloc(1, sizeof *v);
    if (!v) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(v, argc, argv);
    clear(v);
    free(v);
    return status;
}
