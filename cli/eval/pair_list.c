/* pair_list.c - pairs of pictures in folders, and which of them are asked with which others as examples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"

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
    if (ok && out->count < 2)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s holds %d pair%s: two at least are wanted, one to show and one to ask", inputs,
                     out->count, out->count == 1 ? "" : "s");
    ts_folder_clear(&in);
    ts_folder_clear(&wanted);
    if (!ok) eval_pairs_clear(out);
    return ok;
}

/* ---- trials ---- */

void eval_trials_clear(eval_trials *t)
{
    free(t->query);
    free(t->example);
    *t = (eval_trials){0};
}

static bool make_room(eval_trials *t, int count, int each, ts_error *err)
{
    *t = (eval_trials){.count = count, .each = each};
    t->query = malloc((size_t)count * sizeof *t->query);
    t->example = malloc((size_t)count * (size_t)each * sizeof *t->example);
    if (t->query && t->example) return true;
    eval_trials_clear(t);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d trials", count);
}

bool eval_trials_draw(const eval_pairs *p, int each, uint64_t seed, eval_trials *out, ts_error *err)
{
    if (each >= p->count)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d examples of %d pairs: at most %d are beside the one that is asked", each,
                       p->count, p->count - 1);
    int *rest = malloc((size_t)p->count * sizeof *rest);
    if (!rest || !make_room(out, p->count, each, err)) {
        free(rest);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; i < p->count; i++) {
        /* A state of its own: a trial does not depend on those before it. */
        uint64_t state = seed + (uint64_t)i * 0x9e3779b97f4a7c15u;
        out->query[i] = i;
        for (int k = 0, n = 0; k < p->count; k++)
            if (k != i) rest[n++] = k;
        for (int k = 0; k < each; k++) { /* the beginning of a shuffle (Fisher and Yates) */
            const int left = p->count - 1 - k, at = k + (int)(ts_uniform(&state) * left), other = rest[at];
            rest[at] = rest[k];
            rest[k] = out->example[i * each + k] = other;
        }
    }
    free(rest);
    return true;
}

/* The words of a line into `index`: at most `most`. -1: `err` says what is wrong. */
static int read_line(const eval_pairs *p, char *line, const char *path, int number, int *index, int most, ts_error *err)
{
    int count = 0;
    char *rest = line;
    for (char *word; (word = strsep(&rest, " \t\r\n"));) {
        if (!*word) continue;
        if (count == 0 && *word == '#') return 0;
        const int at = eval_pairs_find(p, word);
        if (at < 0 || count == most) {
            if (at < 0) ts_fail(err, TS_ERR_ARGUMENT, "%s, line %d: there is no pair %s", path, number, word);
            else ts_fail(err, TS_ERR_ARGUMENT, "%s, line %d names more than %d examples", path, number, most - 1);
            return -1;
        }
        index[count++] = at;
    }
    if (count != 1) return count;
    ts_fail(err, TS_ERR_ARGUMENT, "%s, line %d names no example", path, number);
    return -1;
}

bool eval_trials_read(const eval_pairs *p, const char *path, eval_trials *out, ts_error *err)
{
    enum { MOST = 65 };
    *out = (eval_trials){0};
    FILE *f = fopen(path, "r");
    if (!f) return ts_fail(err, TS_ERR_IO, "%s cannot be opened", path);
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (int number = 1; ok && getline(&line, &room, f) >= 0; number++) {
        int index[MOST];
        const int count = read_line(p, line, path, number, index, MOST, err);
        ok = count >= 0;
        if (count < 1) continue;
        if (out->count > 0 && count - 1 != out->each) {
            ok = ts_fail(err, TS_ERR_ARGUMENT, "%s, line %d names %d examples, those before it %d", path, number, count - 1,
                         out->each);
            break;
        }
        out->each = count - 1;
        int *query = realloc(out->query, (size_t)(out->count + 1) * sizeof *query);
        if (query) out->query = query;
        int *example = realloc(out->example, (size_t)(out->count + 1) * (size_t)out->each * sizeof *example);
        if (example) out->example = example;
        if (!query || !example) {
            ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
            break;
        }
        query[out->count] = index[0];
        memcpy(example + out->count * out->each, index + 1, (size_t)out->each * sizeof *index);
        out->count++;
    }
    free(line);
    fclose(f);
    if (ok && out->count == 0) ok = ts_fail(err, TS_ERR_ARGUMENT, "%s names no pair", path);
    if (!ok) eval_trials_clear(out);
    return ok;
}
