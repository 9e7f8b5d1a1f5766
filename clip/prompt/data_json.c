/* data_json.c - labelled pictures from a list as CoOp's (Zhou et al. 2021) split_*.json: three lists of [path, label, class
 * name]. A list from elsewhere names only what lies below its root. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "clip/prompt/data.h"
#include "engine/file.h"
#include "engine/number.h"

enum { LIMIT = 512 << 20 };

typedef struct {
    const char *path; /* of the list */
    const char *root;
    int64_t items;
    ts_clip_data *out; /* out->name has a place for each item: a class has one at least */
} reader;

/* Whether a path stays below the folder it is put behind. */
static bool stays_below(const char *path)
{
    if (path[0] == '/' || path[0] == '\0') return false;
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') return false;
        part += length;
        if (*part == '\0') return true;
    }
}

/* Where a list's path leads below the root. Windows' '\\' is '/'; a path that begins at the root of the machine where the list
 * was made is looked for from each of its folders on. NULL: nowhere, or (in `err`) no memory. */
static char *find_below(const reader *r, const char *file, ts_error *err)
{
    char *path = strdup(file), *found = NULL;
    if (!path) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (char *c = path; c && *c; c++)
        if (*c == '\\') *c = '/';
    const bool drive = path && path[0] && path[1] == ':' && path[2] == '/', whole = path && (path[0] == '/' || drive);
    if (path && !whole && stays_below(path) && !(found = ts_data_join(r->root, path)))
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (const char *part = whole ? strchr(path, '/') : NULL; part && !found; part = strchr(part, '/')) {
        part += strspn(part, "/");
        if (!stays_below(part)) continue;
        found = ts_data_join(r->root, part);
        if (!found) ts_fail(err, TS_ERR_MEMORY, "out of memory");
        if (!found || ts_data_is_file(found) == 1) break;
        free(found);
        found = NULL;
    }
    free(path);
    return found;
}

static bool name_class(reader *r, int label, const char *name, ts_error *err)
{
    char **known = &r->out->name[label];
    char *shown = ts_data_name(name, err);
    if (!shown) return false;
    if (label >= r->out->classes) r->out->classes = label + 1;
    if (!*known) {
        *known = shown;
        return true;
    }
    bool same = strcmp(*known, shown) == 0;
    if (!same) ts_fail(err, TS_ERR_FORMAT, "%s: label %d is \"%s\" and also \"%s\"", r->path, label, *known, shown);
    free(shown);
    return same;
}

static bool read_item(reader *r, const char *part, int64_t at, const cJSON *item, ts_clip_split *to, ts_error *err)
{
    const cJSON *file = cJSON_GetArrayItem(item, 0), *label = cJSON_GetArrayItem(item, 1), *name = cJSON_GetArrayItem(item, 2);
    if (cJSON_GetArraySize(item) != 3 || !cJSON_IsString(file) || !cJSON_IsNumber(label) || !cJSON_IsString(name))
        return ts_fail(err, TS_ERR_FORMAT, "%s: item %lld of \"%s\" is not [path, label, class name]", r->path, (long long)at,
                       part);
    int number;
    if (!ts_int_of(label->valuedouble, 0, (int)(r->items - 1), &number))
        return ts_fail(err, TS_ERR_FORMAT, "%s: item %lld of \"%s\" has the label %g: labels are counted from 0, none left out",
                       r->path, (long long)at, part, label->valuedouble);
    char *path = find_below(r, file->valuestring, err);
    if (!path)
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s: item %lld of \"%s\" names \"%.200s\", which does not lie below the pictures' folder (--root)",
                       r->path, (long long)at, part, file->valuestring);
    if (!name_class(r, number, name->valuestring, err)) {
        free(path);
        return false;
    }
    const int kind = ts_data_is_file(path);
    if (kind == 1) return ts_data_add(to, path, number, err);
    ts_fail(err, TS_ERR_IO, "%s: item %lld of \"%s\" is %s, which %s%s", r->path, (long long)at, part, path,
            kind == 0 ? "is no plain file" : "cannot be read: ", kind == 0 ? "" : strerror(errno));
    free(path);
    return false;
}

static bool read_part(reader *r, const cJSON *all, const char *part, ts_clip_split *to, ts_error *err)
{
    int64_t at = 0;
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(all, part);
    for (const cJSON *one = items ? items->child : NULL; one; one = one->next, at++)
        if (!read_item(r, part, at, one, to, err)) return false;
    return true;
}

/* Counts the items of all parts. "val" may be left out, and with it nothing is lost. */
static bool count_items(reader *r, const cJSON *all, ts_error *err)
{
    static const char *const parts[] = {"train", "test", "val"};
    for (int i = 0; i < 3; i++) {
        const cJSON *items = cJSON_GetObjectItemCaseSensitive(all, parts[i]);
        if (!items && i == 2) break;
        if (!cJSON_IsArray(items))
            return ts_fail(err, TS_ERR_FORMAT,
                           "%s has no list \"%s\": {\"train\": [[path, label, name], ...], \"val\", \"test\"} is needed", r->path,
                           parts[i]);
        r->items += cJSON_GetArraySize(items);
    }
    return true;
}

static bool read_all(reader *r, const cJSON *all, ts_error *err)
{
    ts_clip_data *out = r->out;
    if (!count_items(r, all, err)) return false;
    out->name = calloc((size_t)r->items + 1, sizeof *out->name);
    if (!out->name) return ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    if (!read_part(r, all, "train", &out->train, err) || !read_part(r, all, "val", &out->val, err) ||
        !read_part(r, all, "test", &out->test, err))
        return false;
    if (out->classes == 0) return ts_fail(err, TS_ERR_FORMAT, "%s lists no picture", r->path);
    for (int i = 0; i < out->classes; i++)
        if (!out->name[i])
            return ts_fail(err, TS_ERR_FORMAT, "%s: label %d has no picture: labels are counted from 0", r->path, i);
    return ts_data_check(out, r->path, err);
}

bool ts_data_open_json(const char *path, const char *root, ts_clip_data *out, ts_error *err)
{
    size_t size;
    char *text = ts_file_read(path, "list of pictures", LIMIT, &size, err), *folder = NULL;
    if (!text) return false;
    bool ok = root || (folder = ts_file_beside(path, "", err));
    cJSON *all = cJSON_ParseWithLength(text, size);
    free(text);
    if (ok && !cJSON_IsObject(all))
        ok = ts_fail(err, TS_ERR_FORMAT, "%s is neither a folder nor a list of pictures in JSON, or is broken", path);
    reader r = {.path = path, .root = root ? root : folder, .out = out};
    ok = ok && read_all(&r, all, err);
    cJSON_Delete(all);
    free(folder);
    return ok;
}
