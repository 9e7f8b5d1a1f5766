/* data_folder.c - labelled pictures from folders, or from what else `path` may be.
 *
 * Names are sorted by their bytes, so that a seed means the same pictures on every machine. Only the folders that the layout
 * knows are read, no deeper ones: a link that leads back up cannot hold a run up. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clip/prompt/data.h"
#include "clip/prompt/method.h"
#include "engine/folder.h"

typedef struct {
    char **item;
    int count;
} names;

static void names_clear(names *n)
{
    for (int i = 0; i < n->count; i++) free(n->item[i]);
    free(n->item);
    *n = (names){0};
}

static bool names_add(names *n, const char *name, ts_error *err)
{
    if ((n->count & (n->count - 1)) == 0) { /* as in ts_data_add */
        char **grown = n->count < 1 << 29 ? realloc(n->item, (size_t)(n->count ? 2 * n->count : 1) * sizeof *grown) : NULL;
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "no memory for the list of a folder");
        n->item = grown;
    }
    n->item[n->count] = strdup(name);
    if (!n->item[n->count]) return ts_fail(err, TS_ERR_MEMORY, "no memory for the list of a folder");
    n->count++;
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_find(const names *n, const char *name)
{
    char **at = n->count ? bsearch(&name, n->item, (size_t)n->count, sizeof *n->item, by_bytes) : NULL;
    return at ? (int)(at - n->item) : -1;
}

/* One entry, to the folders or the pictures it is sorted. Pipes and the like are passed over, and links that lead nowhere where
 * they do not call themselves pictures. */
static bool sort_entry(const char *folder, const char *name, names *folders, names *pictures, ts_error *err)
{
    struct stat s;
    char *path = ts_data_join(folder, name);
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    if (stat(path, &s) != 0) {
        if (ts_is_picture(name)) ok = ts_fail(err, TS_ERR_IO, "the picture %s cannot be read: %s", path, strerror(errno));
    } else if (S_ISDIR(s.st_mode)) {
        ok = names_add(folders, name, err);
    } else if (S_ISREG(s.st_mode) && ts_is_picture(name)) {
        ok = names_add(pictures, name, err);
    }
    free(path);
    return ok;
}

/* What is in a folder, sorted; hidden entries are left out. Both lists are the caller's, on failure too. */
static bool list(const char *folder, names *folders, names *pictures, ts_error *err)
{
    *folders = *pictures = (names){0};
    DIR *dir = opendir(folder);
    if (!dir) return ts_fail(err, TS_ERR_IO, "folder %s cannot be read: %s", folder, strerror(errno));
    bool ok = true;
    errno = 0;
    for (struct dirent *entry; ok && (entry = readdir(dir)); errno = 0)
        if (entry->d_name[0] != '.') ok = sort_entry(folder, entry->d_name, folders, pictures, err);
    if (ok && errno != 0) ok = ts_fail(err, TS_ERR_IO, "folder %s cannot be read to its end: %s", folder, strerror(errno));
    closedir(dir);
    if (folders->count) qsort(folders->item, (size_t)folders->count, sizeof *folders->item, by_bytes);
    if (pictures->count) qsort(pictures->item, (size_t)pictures->count, sizeof *pictures->item, by_bytes);
    return ok;
}

/* Whether `folder` has a folder `name` with folders in it: a part, and no class of that name. */
static bool is_part(const char *folder, const names *folders, const char *name, bool *out, ts_error *err)
{
    *out = false;
    if (names_find(folders, name) < 0) return true;
    names inner, pictures;
    char *path = ts_data_join(folder, name);
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = list(path, &inner, &pictures, err);
    *out = inner.count > 0;
    names_clear(&inner);
    names_clear(&pictures);
    free(path);
    return ok;
}

/* The pictures of one class folder, appended. */
static bool add_class(const char *folder, const char *name, int label, ts_clip_split *to, ts_error *err)
{
    names folders, pictures;
    char *path = ts_data_join(folder, name);
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = list(path, &folders, &pictures, err);
    if (ok && pictures.count == 0)
        ok = ts_fail(err, TS_ERR_FORMAT, "class folder %s holds no picture (%s)%s", path, ts_picture_endings(),
                     folders.count ? "; the folders in it are not looked into" : "");
    for (int i = 0; ok && i < pictures.count; i++) ok = ts_data_add(to, ts_data_join(path, pictures.item[i]), label, err);
    names_clear(&folders);
    names_clear(&pictures);
    free(path);
    return ok;
}

/* The pictures of train/, test/ or val/. All classes of `classes` must be there (val: some), and no other. */
static bool add_part(const char *folder, const char *part, const names *classes, bool some, ts_clip_split *to, ts_error *err)
{
    names folders, pictures;
    char *path = ts_data_join(folder, part);
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = list(path, &folders, &pictures, err);
    for (int i = 0; ok && i < folders.count; i++)
        if (names_find(classes, folders.item[i]) < 0)
            ok = ts_fail(err, TS_ERR_FORMAT, "%s has a class %s, which train/ has not", path, folders.item[i]);
    for (int i = 0; ok && i < classes->count; i++) {
        if (names_find(&folders, classes->item[i]) >= 0) ok = add_class(path, classes->item[i], i, to, err);
        else if (!some) ok = ts_fail(err, TS_ERR_FORMAT, "%s has no folder for the class %s", path, classes->item[i]);
    }
    names_clear(&folders);
    names_clear(&pictures);
    free(path);
    return ok;
}

/* With `train` in it, the others beside. val/ alone serves as the test, as ImageNet's does. */
static bool open_parts(const char *path, const names *folders, names *classes, ts_clip_data *out, ts_error *err)
{
    names pictures;
    char *train = ts_data_join(path, "train");
    if (!train) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = list(train, classes, &pictures, err), test = names_find(folders, "test") >= 0,
         val = names_find(folders, "val") >= 0;
    names_clear(&pictures);
    free(train);
    if (ok && !test && !val)
        ok = ts_fail(err, TS_ERR_FORMAT, "folder %s has train/ with classes in it, but neither test/ nor val/", path);
    ok = ok && add_part(path, "train", classes, false, &out->train, err);
    ok = ok && add_part(path, test ? "test" : "val", classes, false, &out->test, err);
    return ok && (!test || !val || add_part(path, "val", classes, true, &out->val, err));
}

/* A folder a class: 50 % to train on, 20 % to validate, the rest to test, as CoOp parts what comes without parts. */
static bool open_whole(const char *path, const names *classes, uint64_t seed, ts_clip_data *out, ts_error *err)
{
    bool ok = true;
    for (int i = 0; ok && i < classes->count; i++) {
        ts_clip_split all = {0};
        ok = add_class(path, classes->item[i], i, &all, err);
        if (ok && all.count < 2)
            ok = ts_fail(err, TS_ERR_FORMAT, "class folder %s of %s holds one picture: to train and to test takes two",
                         classes->item[i], path);
        int64_t train = (all.count + 1) / 2, val = (int64_t)rint(0.2 * (double)all.count), rest = all.count - train;
        if (val > rest - 1) val = rest - 1;
        uint64_t state = ts_prompt_seed(seed, classes->item[i]);
        if (ok) ts_data_choose(all.item, all.count, train, &state);
        if (ok) ts_data_choose(all.item + train, rest, val, &state);
        for (int64_t k = 0; ok && k < all.count; k++) {
            ts_clip_split *to = k < train ? &out->train : k < train + val ? &out->val : &out->test;
            ok = ts_data_add(to, all.item[k].path, i, err);
            all.item[k].path = NULL;
        }
        ts_data_clear_split(&all);
    }
    return ok;
}

static bool name_classes(const names *classes, ts_clip_data *out, ts_error *err)
{
    out->name = calloc((size_t)classes->count + 1, sizeof *out->name);
    if (!out->name) return ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    out->classes = classes->count;
    for (int i = 0; i < classes->count; i++)
        if (!(out->name[i] = ts_data_name(classes->item[i], err))) return false;
    return true;
}

static bool open_folder(const char *path, uint64_t seed, ts_clip_data *out, ts_error *err)
{
    names folders, pictures, classes = {0};
    bool parts = false, ok = list(path, &folders, &pictures, err);
    if (ok && folders.count == 0)
        ok = ts_fail(err, TS_ERR_FORMAT, "folder %s holds no folder of a class%s", path,
                     pictures.count ? ", but pictures: each belongs into the folder of its class" : "");
    ok = ok && is_part(path, &folders, "train", &parts, err);
    if (ok && parts) ok = open_parts(path, &folders, &classes, out, err);
    else if (ok) ok = open_whole(path, &folders, seed, out, err);
    ok = ok && name_classes(parts ? &classes : &folders, out, err);
    names_clear(&folders);
    names_clear(&pictures);
    names_clear(&classes);
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
