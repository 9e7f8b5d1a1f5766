/* trials.c - which pairs are asked with which others as examples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"

void eval_trials_clear(eval_trials *t)
{
    free(t->query);
    free(t->example);
    *t = (eval_trials){0};
}

bool eval_trials_new(int count, int each, eval_trials *t, ts_error *err)
{
    *t = (eval_trials){.count = count, .each = each};
    t->query = malloc((size_t)count * sizeof *t->query);
    t->example = malloc((size_t)count * (size_t)each * sizeof *t->example);
    for (int i = 0; t->query && i < count; i++) t->query[i] = i;
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
    if (!rest || !eval_trials_new(p->count, each, out, err)) {
        free(rest);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; i < p->count; i++) {
        /* A state of its own: a trial does not depend on those before it. */
        uint64_t state = seed + (uint64_t)i * 0x9e3779b97f4a7c15u;
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
