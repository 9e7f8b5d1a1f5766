/* pair_list.c - pairs of pictures in folders: what there is, and what is wanted of it. */
#include "cli/pair_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char TARGET[] = "_target";

void eval_pairs_clear(eval_pairs *p)
{
    for (int i = 0; i < p->count; i++) {
        free(p->pair[i].name);
        free(p->pair[i].input);
        free(p->pair[i].target);
    }
    free(p->pair);
    *p = (eval_pairs){0};
}

/* A file's name without folder and ending; free(). */
static char *stem(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return dot ? strndup(name, (size_t)(dot - name)) : strdup(name);
}

static bool is_target(const char *name)
{
    const size_t length = strlen(name), end = sizeof TARGET - 1;
    return length > end && strcmp(name + length - end, TARGET) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const eval_pair *)a)->name, ((const eval_pair *)b)->name);
}

int eval_pairs_find(const eval_pairs *p, const char *name)
{
    int low = 0, high = p->count;
    while (low < high) {
        const int middle = (low + high) / 2, order = strcmp(p->pair[middle].name, name);
        if (order == 0) return middle;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

/* Those pictures of a folder that are inputs, or all of them. */
static bool add_inputs(const ts_folder *f, bool all, eval_pairs *out, ts_error *err)
{
    out->pair = calloc((size_t)f->count + 1, sizeof *out->pair);
    if (!out->pair) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < f->count; i++) {
        char *name = stem(f->picture[i]);
        if (name && !all && is_target(name)) {
            free(name);
            continue;
        }
        eval_pair *p = &out->pair[out->count++];
        p->name = name;
        p->input = strdup(f->picture[i]);
        if (!p->name || !p->input) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    qsort(out->pair, (size_t)out->count, sizeof *out->pair, by_name);
    for (int i = 1; i < out->count; i++)
        if (strcmp(out->pair[i - 1].name, out->pair[i].name) == 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "%s and %s have one name: which of them is meant?", out->pair[i - 1].input,
                           out->pair[i].input);
    return true;
}

static bool add_targets(const ts_folder *f, bool all, eval_pairs *out, ts_error *err)
{
    for (int64_t i = 0; i < f->count; i++) {
        char *name = stem(f->picture[i]);
        if (!name) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const bool wanted = all || is_target(name);
        if (!all && wanted) name[strlen(name) - (sizeof TARGET - 1)] = '\0';
        const int at = wanted ? eval_pairs_find(out, name) : 0;
        free(name);
        if (!wanted) continue;
        if (at < 0) return ts_fail(err, TS_ERR_ARGUMENT, "%s is the target of no picture", f->picture[i]);
        eval_pair *p = &out->pair[at];
        if (p->target)
            return ts_fail(err, TS_ERR_ARGUMENT, "%s and %s are both targets of %s", p->target, f->picture[i], p->input);
        if (!(p->target = strdup(f->picture[i]))) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; i < out->count; i++)
        if (!out->pair[i].target)
            return ts_fail(err, TS_ERR_ARGUMENT, "%s has no target: %s%s.png or another ending is wanted", out->pair[i].input,
                           out->pair[i].name, all ? "" : TARGET);
    return true;
}

bool eval_pairs_list(const char *inputs, const char *targets, ts_left_out *left_out, eval_pairs *out, ts_error *err)
{
    ts_folder in = {0}, wanted = {0};
    *out = (eval_pairs){0};
    bool ok = ts_list_pictures(inputs, TS_FOLDER_ALONE, left_out, &in, err) &&
              (!targets || ts_list_pictures(targets, TS_FOLDER_ALONE, left_out, &wanted, err)) &&
              add_inputs(&in, targets != NULL, out, err) && add_targets(targets ? &wanted : &in, targets != NULL, out, err);
    ts_folder_clear(&in);
    ts_folder_clear(&wanted);
    if (!ok) eval_pairs_clear(out);
    return ok;
}
