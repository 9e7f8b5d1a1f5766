/* figures_pairs.c - `tessera figures --pairs`: examples of one task, each a picture and what becomes of it, as `run --examples`,
 * `eval pairs` and `tune` take them. Pair N of a seed is the same whatever the number asked for. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/figures.h"

static bool save_below(const char *folder, int number, const char *ending, const ts_image *img, ts_error *err)
{
    char *path = NULL;
    bool ok = asprintf(&path, "%s/%05d%s.png", folder, number, ending) >= 0;
    if (!ok) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ts_image_save(path, img, err);
    free(path);
    return ok;
}

static bool draw_pair(const ts_labelled *l, ts_figure_task task, const char *folder, int number, ts_error *err)
{
    ts_image before, after;
    /* Another rule for each task of a seed. */
    const uint64_t seed = ts_figure_seed(l->common->seed, (uint64_t)task);
    if (!ts_figure_pair(task, l->plain, l->held_out, l->size, seed, (uint64_t)number, &before, &after, err)) return false;
    const bool ok = save_below(folder, number, "", &before, err) && save_below(folder, number, "_target", &after, err);
    ts_image_clear(&before);
    ts_image_clear(&after);
    return ok;
}

static bool draw_task(const ts_labelled *l, ts_figure_task task, const char *folder, ts_progress *progress, ts_error *err)
{
    if (!ts_make_folder(folder, err)) return false;
    for (int i = 0; i < l->count; i++) {
        if (!draw_pair(l, task, folder, i, err)) return false;
        ts_progress_step(progress, progress->done + 1);
    }
    return true;
}

static bool report(const ts_labelled *l, int tasks, ts_error *err)
{
    if (!l->common->json) {
        printf("%d pairs of %d x %d of each of %d task%s in ", l->count, l->size, l->size, tasks, tasks == 1 ? "" : "s");
        ts_put_line(l->folder);
        return ts_flush_output(err);
    }
    cJSON *all = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(all, "tasks");
    bool ok = names && cJSON_AddNumberToObject(all, "pairs", l->count);
    for (int i = 0; ok && i < TS_FIGURE_TASKS; i++) {
        if (!l->task[i]) continue;
        cJSON *word = cJSON_CreateString(ts_figure_task_name((ts_figure_task)i));
        ok = word && cJSON_AddItemToArray(names, word);
        if (!ok) cJSON_Delete(word);
    }
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

bool ts_draw_pairs(const ts_labelled *l, ts_error *err)
{
    int tasks = 0;
    for (int i = 0; i < TS_FIGURE_TASKS; i++) tasks += l->task[i];
    if (!ts_check_folder(l->folder, err) || !ts_make_folder(l->folder, err)) return false;
    ts_progress progress;
    ts_progress_begin(&progress, "drawing", (int64_t)tasks * l->count, l->common->quiet);
    bool ok = true;
    for (int i = 0; ok && i < TS_FIGURE_TASKS; i++) {
        if (!l->task[i]) continue;
        char *folder = NULL;
        ok = (tasks == 1 ? asprintf(&folder, "%s", l->folder)
                         : asprintf(&folder, "%s/%s", l->folder, ts_figure_task_name((ts_figure_task)i))) >= 0;
        if (!ok) {
            ts_fail(err, TS_ERR_MEMORY, "out of memory");
            break;
        }
        ok = draw_task(l, (ts_figure_task)i, folder, &progress, err);
        free(folder);
    }
    ts_progress_end(&progress);
    return ok && report(l, tasks, err);
}
