/* lists.c - which examples published lists of neighbours name for the pictures that are asked, a file for each fold: the only
 * place beside a protocol's own draw where a trial's examples are chosen. The mask of an example is of the class that its own
 * last line names, as Zhang et al. (2023) have it, and not of the query's. */
#include <stdio.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "retrieval/retrieval.h"

/* The file's name with the fold's number in place of '#'. */
static bool name_file(const char *named, int fold, char out[4200], ts_error *err)
{
    const char *mark = strchr(named, '#');
    const int used =
        mark ? snprintf(out, 4200, "%.*s%d%s", (int)(mark - named), named, fold, mark + 1) : snprintf(out, 4200, "%s", named);
    return used < 4200 || ts_fail(err, TS_ERR_ARGUMENT, "--lists %.60s...: the name is too long", named);
}

/* The first of the list that are not the query itself. */
static bool take(const eval_task *t, const ts_list *list, const char *path, eval_trial *trial, ts_error *err)
{
    int count = 0;
    for (int i = 0; i < list->count && count < t->each; i++) {
        if (strcmp(list->picture[i], trial->query->name) == 0) continue;
        trial->support[count] = eval_pictures_find(eval_pool(t, trial->fold), list->picture[i]);
        if (!trial->support[count++])
            return ts_fail(err, TS_ERR_ARGUMENT, "%s names %s as an example for %s, which none of the lists of %s %d has", path,
                           list->picture[i], trial->query->name, t->protocol->fold, trial->fold);
    }
    return count == t->each || ts_fail(err, TS_ERR_ARGUMENT, "%s names %d examples for %s, where %d are wanted", path, count,
                                       trial->query->name, t->each);
}

static bool take_fold(eval_task *t, int fold, const ts_lists *lists, const char *path, ts_error *err)
{
    for (int i = 0; i < t->count; i++) {
        if (t->trial[i].fold != fold) continue;
        const ts_list *list = ts_lists_find(lists, t->trial[i].query->name);
        if (!list) return ts_fail(err, TS_ERR_ARGUMENT, "%s has no list for %s", path, t->trial[i].query->name);
        if (!take(t, list, path, &t->trial[i], err)) return false;
    }
    return true;
}

bool eval_supports_read(eval_task *t, const char *named, ts_error *err)
{
    bool ok = true;
    for (int f = t->fold; ok && f < t->fold + t->folds; f++) {
        char path[4200];
        ts_lists lists = {0};
        ok = name_file(named, f, path, err) && ts_lists_read(path, &lists, err) && take_fold(t, f, &lists, path, err);
        ts_lists_clear(&lists);
    }
    return ok;
}
