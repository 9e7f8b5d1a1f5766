/* data_folder.c - labelled pictures from folders, or from what else `path` may be.
 *
 * Names are sorted by their bytes, so that a seed means the same pictures on every machine. Only the folders that the layout
 * knows are read, no deeper ones: a link that leads back up cannot hold a run up. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clip/prompt/data.h"
#include "clip/prompt/method.h"
#include "engine/folder.h"

/* Labels are numbers of folders until all is read; those of folders that turn out to be empty are closed up then. */
typedef struct {
    const char *path;
    ts_folder classes; /* its folders are the classes */
    bool *empty;       /* by class: no picture to train or to be tested on */
    ts_folder met;     /* what is among the pictures of all classes: the counts alone */
    ts_clip_data *out;
} opening;

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *name, const void *path)
{
    return strcmp(name, last_part(*(char *const *)path));
}

static bool has_folder(const ts_folder *f, const char *name)
{
    return f->folders > 0 && bsearch(name, f->folder, (size_t)f->folders, sizeof *f->folder, by_name);
}

/* `out` is empty on failure. */
static bool list(const char *path, ts_folder *out, ts_error *err)
{
    if (!ts_folder_list(path, TS_FOLDER_ALONE, out, err)) return false;
    if (out->problems == 0) return true;
    ts_fail(err, TS_ERR_IO, "%s", out->problem[0]);
    ts_folder_clear(out);
    return false;
}

/* The same of the folder `name` in `folder`. */
static bool list_in(const char *folder, const char *name, ts_folder *out, ts_error *err)
{
    *out = (ts_folder){0};
    char *path = ts_data_join(folder, name);
    const bool ok = path ? list(path, out, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory");
    free(path);
    return ok;
}

static bool note_empty(ts_clip_data *d, const char *path, const ts_folder *f, ts_error *err)
{
    char **grown = realloc(d->empty, (size_t)(d->empties + 1) * sizeof *grown);
    if (grown) d->empty = grown;
    if (!grown || asprintf(&grown[d->empties], "class folder %s holds no picture (%s)%s", path, ts_picture_endings(),
                           f->folders ? "; the folders in it are not looked into" : "") < 0)
        return ts_fail(err, TS_ERR_MEMORY, "no memory for the list of a folder");
    d->empties++;
    return true;
}

/* The pictures of one class folder, appended; where there are none, that is noted. */
static bool add_class(opening *o, const char *path, int label, ts_clip_split *to, ts_error *err)
{
    ts_folder f;
    if (!list(path, &f, err)) return false;
    ts_folder_add_passed(&o->met, &f);
    bool ok = f.count > 0 || note_empty(o->out, path, &f, err);
    for (int64_t i = 0; ok && i < f.count; i++) {
        ok = ts_data_add(to, f.picture[i], label, err);
        f.picture[i] = NULL;
    }
    ts_folder_clear(&f);
    return ok;
}

/* A folder of test/ or val/ that train/ has not: no class where it is empty. */
static bool check_other(opening *o, const char *part, const char *path, ts_error *err)
{
    ts_clip_split found = {0};
    bool ok = add_class(o, path, 0, &found, err);
    if (ok && found.count > 0)
        ok = ts_fail(err, TS_ERR_FORMAT, "%s/%s has a class %s, which train/ has not", o->path, part, last_part(path));
    ts_data_clear_split(&found);
    return ok;
}

/* The pictures of train/, test/ or val/. All classes must be there (val: some), and no other. */
static bool add_part(opening *o, const char *part, bool some, ts_clip_split *to, ts_error *err)
{
    ts_folder f;
    bool ok = list_in(o->path, part, &f, err);
    for (int64_t i = 0; ok && i < f.folders; i++)
        if (!has_folder(&o->classes, last_part(f.folder[i]))) ok = check_other(o, part, f.folder[i], err);
    for (int i = 0; ok && i < o->classes.folders; i++) {
        const char *name = last_part(o->classes.folder[i]);
        char **at = f.folders ? bsearch(name, f.folder, (size_t)f.folders, sizeof *f.folder, by_name) : NULL;
        const int64_t before = to->count;
        if (at) ok = add_class(o, *at, i, to, err);
        else if (!some && !o->empty[i])
            ok = ts_fail(err, TS_ERR_FORMAT, "%s/%s has no folder for the class %s", o->path, part, name);
        if (!some && to->count == before) o->empty[i] = true;
    }
    ts_folder_clear(&f);
    return ok;
}

/* With `train` in it, the others beside. val/ alone serves as the test, as ImageNet's does. */
static bool open_parts(opening *o, bool test, bool val, ts_error *err)
{
    if (!test && !val)
        return ts_fail(err, TS_ERR_FORMAT, "folder %s has train/ with classes in it, but neither test/ nor val/", o->path);
    return add_part(o, "train", false, &o->out->train, err) && add_part(o, test ? "test" : "val", false, &o->out->test, err) &&
           (!test || !val || add_part(o, "val", true, &o->out->val, err));
}

/* A folder a class: 50 % to train on, 20 % to validate, the rest to test, as CoOp parts what comes without parts. */
static bool open_whole(opening *o, uint64_t seed, ts_error *err)
{
    ts_clip_data *out = o->out;
    bool ok = true;
    for (int i = 0; ok && i < o->classes.folders; i++) {
        const char *path = o->classes.folder[i];
        ts_clip_split all = {0};
        ok = add_class(o, path, i, &all, err);
        o->empty[i] = all.count == 0;
        if (ok && all.count == 1)
            ok = ts_fail(err, TS_ERR_FORMAT, "class folder %s of %s holds one picture: to train and to test takes two",
                         last_part(path), o->path);
        int64_t train = (all.count + 1) / 2, val = (int64_t)rint(0.2 * (double)all.count), rest = all.count - train;
        if (val > rest - 1) val = rest - 1;
        uint64_t state = ts_prompt_seed(seed, last_part(path));
        if (ok && all.count) ts_data_choose(all.item, all.count, train, &state);
        if (ok && all.count) ts_data_choose(all.item + train, rest, val, &state);
        for (int64_t k = 0; ok && k < all.count; k++) {
            ts_clip_split *to = k < train ? &out->train : k < train + val ? &out->val : &out->test;
            ok = ts_data_add(to, all.item[k].path, i, err);
            all.item[k].path = NULL;
        }
        ts_data_clear_split(&all);
    }
    return ok;
}

static void renumber(ts_clip_split *s, const int *label)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->count; i++) {
        const ts_clip_item item = s->item[i];
        if (label[item.label] < 0) free(item.path);
        else s->item[kept++] = (ts_clip_item){.path = item.path, .label = label[item.label]};
    }
    s->count = kept;
    if (kept == 0) ts_data_clear_split(s);
}

/* Names the classes, without those that are empty. */
static bool close_up(opening *o, ts_error *err)
{
    ts_clip_data *d = o->out;
    int *label = calloc((size_t)o->classes.folders + 1, sizeof *label);
    d->name = calloc((size_t)o->classes.folders + 1, sizeof *d->name);
    if (!label || !d->name) {
        free(label);
        return ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    }
    bool ok = true;
    for (int i = 0; ok && i < o->classes.folders; i++) {
        label[i] = o->empty[i] ? -1 : d->classes;
        if (o->empty[i]) continue;
        ok = (d->name[d->classes] = ts_data_name(last_part(o->classes.folder[i]), err));
        if (ok) d->classes++;
    }
    if (ok && d->classes == 0) ok = ts_fail(err, TS_ERR_FORMAT, "%s: no class has pictures; the first: %s", o->path, d->empty[0]);
    if (ok) {
        renumber(&d->train, label);
        renumber(&d->val, label);
        renumber(&d->test, label);
        ts_folder_passed(&o->met, d->passed, sizeof d->passed);
    }
    free(label);
    return ok;
}

/* A folder `train` with folders in it is a part, and no class of that name. */
static bool open_classes(opening *o, uint64_t seed, ts_error *err)
{
    if (!list(o->path, &o->classes, err)) return false;
    if (o->classes.folders == 0)
        return ts_fail(err, TS_ERR_FORMAT, "folder %s holds no folder of a class%s", o->path,
                       o->classes.count ? ", but pictures: each belongs into the folder of its class" : "");
    const bool test = has_folder(&o->classes, "test"), val = has_folder(&o->classes, "val");
    ts_folder train = {0};
    if (has_folder(&o->classes, "train") && !list_in(o->path, "train", &train, err)) return false;
    const bool parts = train.folders > 0;
    if (parts) {
        const ts_folder root = o->classes;
        o->classes = train;
        train = root;
    }
    ts_folder_clear(&train);
    if (o->classes.folders > INT_MAX) return ts_fail(err, TS_ERR_FORMAT, "folder %s holds too many folders", o->path);
    o->empty = calloc((size_t)o->classes.folders, sizeof *o->empty);
    if (!o->empty) return ts_fail(err, TS_ERR_MEMORY, "no memory for the list of the classes");
    return (parts ? open_parts(o, test, val, err) : open_whole(o, seed, err)) && close_up(o, err);
}

static bool open_folder(const char *path, uint64_t seed, ts_clip_data *out, ts_error *err)
{
    opening o = {.path = path, .out = out};
    const bool ok = open_classes(&o, seed, err);
    ts_folder_clear(&o.classes);
    free(o.empty);
    return ok && ts_data_check(out, path, err);
}

bool ts_clip_data_open(const char *path, const char *root, uint64_t seed, ts_clip_data *out, ts_error *err)
{
    struct stat s;
    *out = (ts_clip_data){0};
    if (stat(path, &s) != 0) return ts_fail(err, TS_ERR_IO, "%s cannot be read: %s", path, strerror(errno));
    bool ok = S_ISDIR(s.st_mode) ? open_folder(path, seed, out, err) : ts_data_open_json(path, root, out, err);
    if (!ok) ts_clip_data_clear(out);
    return ok;
}
