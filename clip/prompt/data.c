/* data.c - labelled pictures: which there are, which class each is of, and which of them a protocol uses. They are drawn by a
 * generator of our own, so that a seed means the same pictures on every machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clip/prompt/data.h"
#include "clip/prompt/method.h"

/* ---- shared ----------------------------------------------------------------------------------------------------- */

bool ts_data_add(ts_clip_split *s, char *path, int label, ts_error *err)
{
    /* Room is doubled whenever it is a power of two and used up: the count tells. */
    if (path && (s->count & (s->count - 1)) == 0) {
        ts_clip_item *grown = realloc(s->item, (size_t)(s->count ? 2 * s->count : 1) * sizeof *grown);
        if (grown) s->item = grown;
        if (!grown) {
            free(path);
            path = NULL;
        }
    }
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "no memory for the list of pictures");
    s->item[s->count++] = (ts_clip_item){.path = path, .label = label};
    return true;
}

char *ts_data_name(const char *name, ts_error *err)
{
    char *out = strdup(name);
    if (!out) ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    for (char *c = out; c && *c; c++)
        if (*c == '_') *c = ' ';
    return out;
}

char *ts_data_join(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    char *out = NULL;
    return asprintf(&out, "%s%s%s", folder, length == 0 || folder[length - 1] == '/' ? "" : "/", name) < 0 ? NULL : out;
}

int ts_data_is_file(const char *path)
{
    struct stat s;
    if (stat(path, &s) != 0) return -1;
    return S_ISREG(s.st_mode);
}

bool ts_data_check(const ts_clip_data *d, const char *path, ts_error *err)
{
    ts_error why = {0};
    if (!ts_clip_check_names((const char *const *)d->name, d->classes, &why))
        return ts_fail(err, why.code, "%s: %s", path, why.text);
    const ts_clip_split *const split[] = {&d->train, &d->test};
    for (int i = 0; i < 2; i++) {
        bool *seen = calloc((size_t)d->classes + 1, sizeof *seen);
        if (!seen) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        for (int64_t k = 0; k < split[i]->count; k++) seen[split[i]->item[k].label] = true;
        int missing = 0;
        while (missing < d->classes && seen[missing]) missing++;
        free(seen);
        if (missing < d->classes)
            return ts_fail(err, TS_ERR_FORMAT, "%s: class \"%s\" has no picture to %s", path, d->name[missing],
                           i == 0 ? "train on" : "be tested on");
    }
    return true;
}

void ts_data_clear_split(ts_clip_split *s)
{
    for (int64_t i = 0; i < s->count; i++) free(s->item[i].path);
    free(s->item);
    *s = (ts_clip_split){0};
}

void ts_clip_data_clear(ts_clip_data *d)
{
    ts_data_clear_split(&d->train);
    ts_data_clear_split(&d->val);
    ts_data_clear_split(&d->test);
    for (int i = 0; d->name && i < d->classes; i++) free(d->name[i]);
    free(d->name);
    for (int64_t i = 0; i < d->empties; i++) free(d->empty[i]);
    free(d->empty);
    *d = (ts_clip_data){0};
}

static void swap_items(ts_clip_item *a, ts_clip_item *b)
{
    ts_clip_item swap = *a;
    *a = *b;
    *b = swap;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const ts_clip_item *)a)->path, ((const ts_clip_item *)b)->path);
}

void ts_data_choose(ts_clip_item *item, int64_t n, int64_t count, uint64_t *state)
{
    for (int64_t i = 0; i < count; i++) swap_items(&item[i], &item[i + (int64_t)(ts_uniform(state) * (double)(n - i))]);
    qsort(item, (size_t)count, sizeof *item, by_path);
    qsort(item + count, (size_t)(n - count), sizeof *item, by_path);
}

/* ---- protocols -------------------------------------------------------------------------------------------------- */

static int by_label_and_path(const void *a, const void *b)
{
    const ts_clip_item *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* Leaves `shots` of each class. */
static void thin_out(const ts_clip_data *d, ts_clip_split *s, int shots, uint64_t seed)
{
    int64_t kept = 0;
    if (s->count) qsort(s->item, (size_t)s->count, sizeof *s->item, by_label_and_path);
    for (int64_t from = 0, end; from < s->count; from = end) {
        int label = s->item[from].label;
        for (end = from; end < s->count && s->item[end].label == label; end++) {}
        int64_t n = end - from, count = n < shots ? n : shots;
        uint64_t state = ts_prompt_seed(seed, d->name[label]); /* so a class's shots are the same in half of the classes */
        ts_data_choose(s->item + from, n, count, &state);
        for (int64_t i = from; i < end; i++) {
            if (i - from < count) s->item[kept++] = s->item[i];
            else free(s->item[i].path);
        }
    }
    s->count = kept;
    if (kept == 0) ts_data_clear_split(s);
}

bool ts_clip_data_few(ts_clip_data *d, int shots, uint64_t seed, ts_error *err)
{
    if (shots < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d shots a class: 1 or more are needed", shots);
    thin_out(d, &d->train, shots, seed);
    thin_out(d, &d->val, shots < 4 ? shots : 4, ts_prompt_seed(seed, "val"));
    return true;
}

static bool copy_split(const ts_clip_split *from, int first, int count, ts_clip_split *to, ts_error *err)
{
    for (int64_t i = 0; i < from->count; i++) {
        int label = from->item[i].label - first;
        if (label >= 0 && label < count && !ts_data_add(to, strdup(from->item[i].path), label, err)) return false;
    }
    return true;
}

bool ts_clip_data_half(const ts_clip_data *d, ts_clip_half half, ts_clip_data *out, ts_error *err)
{
    int base = (d->classes + 1) / 2, first = half == TS_CLIP_NEW ? base : 0;
    int count = half == TS_CLIP_ALL ? d->classes : half == TS_CLIP_BASE ? base : d->classes - base;
    *out = (ts_clip_data){0};
    if (count == 0) return ts_fail(err, TS_ERR_ARGUMENT, "of %d classes none is new: two or more are needed", d->classes);
    out->name = calloc((size_t)count, sizeof *out->name);
    bool ok = out->name || ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    for (; ok && out->classes < count; out->classes++) {
        out->name[out->classes] = strdup(d->name[first + out->classes]);
        if (!out->name[out->classes]) ok = ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    }
    ok = ok && copy_split(&d->train, first, count, &out->train, err) && copy_split(&d->val, first, count, &out->val, err) &&
         copy_split(&d->test, first, count, &out->test, err);
    if (!ok) ts_clip_data_clear(out);
    return ok;
}
