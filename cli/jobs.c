/* jobs.c - which queries a run has and where each result goes. All of it is settled before anything is computed. */
#include "cli/cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ts_jobs_free(ts_jobs *jobs)
{
    ts_paths_free(jobs->query, jobs->count);
    if (jobs->answer) ts_paths_free(jobs->answer, jobs->count);
    if (jobs->canvas) ts_paths_free(jobs->canvas, jobs->count * jobs->each);
    if (jobs->overlay) ts_paths_free(jobs->overlay, jobs->count);
    *jobs = (ts_jobs){0};
}

/* Appends a path, which from then on belongs to the jobs (NULL: there was no memory for it). */
static bool append_query(ts_jobs *jobs, char *path, ts_error *err)
{
    char **grown = path ? realloc(jobs->query, (size_t)(jobs->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(path);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    jobs->query = grown;
    grown[jobs->count++] = path;
    return true;
}

void ts_jobs_drop(ts_jobs *jobs, int at)
{
    char **const lists[] = {jobs->query, jobs->answer, jobs->canvas, jobs->overlay};
    jobs->count--;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const int each = lists[i] == jobs->canvas ? jobs->each : 1;
        char **first = lists[i] ? lists[i] + (size_t)at * (size_t)each : NULL;
        if (!first) continue;
        for (int k = 0; k < each; k++) free(first[k]);
        memmove(first, first + each, (size_t)(jobs->count - at) * (size_t)each * sizeof *first);
    }
}

/* A word of the command line: a picture, or a folder of them (then `*folder` is set). */
static bool add_query(ts_jobs *jobs, const char *word, bool *folder, ts_left_out *left_out, ts_error *err)
{
    if (!ts_is_folder(word)) return ts_check_readable(word, "query", err) && append_query(jobs, strdup(word), err);
    ts_folder list;
    *folder = true;
    if (!ts_list_pictures(word, TS_FOLDER_ALONE, left_out, &list, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        ok = append_query(jobs, list.picture[i], err);
        list.picture[i] = NULL;
    }
    ts_folder_clear(&list);
    return ok;
}

/* Where the results named by `out` go. A lone query goes to a file, unless `out` is a folder, or looks like one. */
static bool into_folder(const ts_jobs *jobs, const char *out, bool from_folder)
{
    size_t length = strlen(out);
    if (jobs->count > 1 || ts_is_folder(out) || (length > 0 && out[length - 1] == '/')) return true;
    return from_folder && !ts_image_writable(out);
}

static bool name_outputs(const ts_jobs *jobs, const char *out, bool folder, const char *ending, char ***list, ts_error *err)
{
    *list = calloc((size_t)jobs->count, sizeof **list);
    if (!*list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < jobs->count; i++) {
        const char *query = ts_is_standard(jobs->query[i]) ? "stdin" : jobs->query[i];
        (*list)[i] = folder ? ts_path_in(out, query, ending, err) : strdup(out);
        if (!(*list)[i]) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const char *slash = strrchr((*list)[i], '/');
        if (strlen(slash ? slash + 1 : (*list)[i]) > NAME_MAX)
            return ts_fail(err, TS_ERR_IO, "the name of the answer to %.300s would be too long", jobs->query[i]);
    }
    return folder ? ts_check_folder(out, err) : ts_check_writable(out, err);
}

/* One kind of output; -1, or the exit status. */
static int plan_outputs(const char *command, ts_jobs *jobs, const char *option, const char *out, bool from_folder,
                        const char *ending, char ***list, const char **folder_name, ts_error *err)
{
    if (ts_is_standard(out) && jobs->count > 1)
        return ts_usage_error(command, "%s - takes one picture, but there are %d queries: name a folder", option, jobs->count);
    bool folder = !ts_is_standard(out) && into_folder(jobs, out, from_folder);
    if (folder && !ts_is_folder(out) && ts_image_writable(out))
        return ts_usage_error(command, "%s %s is a file's name, but there are %d queries: name a folder", option, out,
                              jobs->count);
    if (!folder && !ts_is_standard(out) && !ts_image_writable(out))
        return ts_usage_error(command, "%s %s does not end in %s", option, out, ts_image_endings());
    if (folder) *folder_name = out;
    return name_outputs(jobs, out, folder, ending, list, err) ? -1 : ts_report(command, err);
}

typedef struct {
    const char *output, *query;
} pairing;

static int by_output(const void *a, const void *b)
{
    return strcmp(((const pairing *)a)->output, ((const pairing *)b)->output);
}

/* No two results under one name: a/x.png and b/x.png into one folder. */
static bool check_distinct(const ts_jobs *jobs, ts_error *err)
{
    pairing *all = calloc((size_t)jobs->count * (size_t)(jobs->each + 2), sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    int n = 0;
    for (int i = 0; i < jobs->count; i++) {
        all[n++] = (pairing){jobs->answer[i], jobs->query[i]};
        if (jobs->overlay) all[n++] = (pairing){jobs->overlay[i], jobs->query[i]};
        for (int k = 0; jobs->canvas && k < jobs->each; k++)
            all[n++] = (pairing){jobs->canvas[(size_t)i * (size_t)jobs->each + (size_t)k], jobs->query[i]};
    }
    qsort(all, (size_t)n, sizeof *all, by_output);
    bool ok = true;
    for (int i = 1; ok && i < n; i++)
        if (strcmp(all[i - 1].output, all[i].output) == 0)
            ok = ts_fail(err, TS_ERR_ARGUMENT, "%s would be written twice, for %s and for %s", all[i].output, all[i - 1].query,
                         all[i].query);
    free(all);
    return ok;
}

/* No result over an input. Most outputs are new, and a file that is not there is nobody's input. */
static bool check_no_input(const ts_jobs *jobs, char *const *outputs, int count, const ts_words *inputs, ts_error *err)
{
    for (int i = 0; outputs && i < count; i++) {
        if (!ts_same_file(outputs[i], outputs[i])) continue;
        const char *hit = NULL;
        for (int k = 0; k < jobs->count; k++)
            if (ts_same_file(outputs[i], jobs->query[k])) hit = jobs->query[k];
        for (int k = 0; k < inputs->count; k++)
            if (ts_same_file(outputs[i], inputs->items[k])) hit = inputs->items[k];
        if (hit) return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite the input %s", outputs[i], hit);
    }
    return true;
}

int ts_jobs_plan(const char *command, const ts_words *queries, const ts_words *more, const ts_job_outputs *outputs,
                 const ts_words *inputs, ts_left_out *left_out, ts_jobs *jobs)
{
    ts_error err = {0};
    bool from_folder = false, ok = true;
    *jobs = (ts_jobs){.each = 1};
    for (int i = 0; ok && i < inputs->count; i++) ok = ts_check_readable(inputs->items[i], "file", &err);
    for (int i = 0; ok && i < queries->count; i++) ok = add_query(jobs, queries->items[i], &from_folder, left_out, &err);
    for (int i = 0; ok && i < more->count; i++) ok = add_query(jobs, more->items[i], &from_folder, left_out, &err);
    if (!ok) return ts_report(command, &err);
    const struct {
        const char *option, *path, *ending;
        char ***list;
        const char **folder;
    } kinds[] = {{"--output", outputs->answer, ".png", &jobs->answer, &jobs->answer_folder},
                 {"--canvas", outputs->canvas, ".canvas.png", &jobs->canvas, &jobs->canvas_folder},
                 {"--overlay", outputs->overlay, ".overlay.png", &jobs->overlay, &jobs->overlay_folder}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!kinds[i].path) continue;
        const int status = plan_outputs(command, jobs, kinds[i].option, kinds[i].path, from_folder, kinds[i].ending,
                                        kinds[i].list, kinds[i].folder, &err);
        if (status >= 0) return status;
    }
    ok = check_distinct(jobs, &err);
    for (size_t i = 0; ok && i < sizeof kinds / sizeof *kinds; i++)
        ok = check_no_input(jobs, *kinds[i].list, jobs->count, inputs, &err);
    return ok ? -1 : ts_report(command, &err);
}

/* "folder/a-2.png" of "folder/a.png". */
static char *numbered(const char *path, int number)
{
    const char *dot = strrchr(path, '.'); /* there is one: the ending says what to write */
    char *out = NULL;
    return asprintf(&out, "%.*s-%d%s", (int)(dot - path), path, number, dot) < 0 ? NULL : out;
}

bool ts_jobs_canvases(ts_jobs *jobs, int each, const ts_words *inputs, ts_error *err)
{
    if (!jobs->canvas || each == 1) return true;
    const size_t all = (size_t)jobs->count * (size_t)each;
    char **names = calloc(all, sizeof *names);
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < all; i++) {
        const char *first = jobs->canvas[i / (size_t)each];
        const int number = (int)(i % (size_t)each) + 1;
        ok = (names[i] = number == 1 ? strdup(first) : numbered(first, number)) != NULL;
    }
    if (!ok) {
        if (names) ts_paths_free(names, (int)all);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the names of canvases");
    }
    ts_paths_free(jobs->canvas, jobs->count);
    jobs->canvas = names;
    jobs->each = each;
    return check_distinct(jobs, err) && check_no_input(jobs, jobs->canvas, (int)all, inputs, err);
}
