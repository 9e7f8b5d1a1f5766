/* shards.c - a model in several files, as Hugging Face saves large ones: model-00001-of-00002.safetensors and so on, and an
 * index,
 * {"weight_map": {"tensor": "file", ...}}, which tells what is where. To the user it is one file, named by its index or by the
 * folder that holds it. */
#include "engine/weights/internal.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* cJSON takes up to 32 times the text; an index of a thousand tensors has 100 KB. */
enum { MAX_INDEX = 16 << 20, MAX_SHARDS = 4096 };

static int folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path + 1) : 0;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

char *ts_weights_in_folder(const char *folder, ts_error *err)
{
    /* The order in which Hugging Face's and open_clip's own programs look, safe formats first; the first two are ours as well. */
    static const char *const names[] = {"model.safetensors",           "model.safetensors.index.json",
                                        "pytorch_model.bin",           "pytorch_model.bin.index.json",
                                        "open_clip_model.safetensors", "open_clip_pytorch_model.bin"};
    const size_t room = strlen(folder) + 64;
    char *path = malloc(room);
    if (!path) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    const bool slash = folder[0] && folder[strlen(folder) - 1] == '/';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, room, "%s%s%s", folder, slash ? "" : "/", names[i]);
        if (access(path, F_OK) == 0) return path;
    }
    snprintf(path, room, "%s%s.metadata", folder, slash ? "" : "/");
    const bool pieces = access(path, F_OK) == 0;
    free(path);
    if (pieces)
        ts_fail(err, TS_ERR_FORMAT,
                "'%s' is a folder of PyTorch's distributed checkpoints: save the model in one file, with "
                "torch.distributed.checkpoint.format_utils.dcp_to_torch_save",
                folder);
    else
        ts_fail(err, TS_ERR_IO, "'%s' is a folder without a %s, a %s or an index of their parts: name the weights file in it",
                folder, names[0], names[2]);
    return NULL;
}

/* ---- the index ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *tensor, *file; /* cJSON's */
} place;

typedef struct {
    cJSON *json;
    place *places; /* by tensor */
    size_t count;
    const char *files[MAX_SHARDS]; /* in order */
    int file_count;
} shard_index;

static int compare_places(const void *a, const void *b)
{
    return strcmp(((const place *)a)->tensor, ((const place *)b)->tensor);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name in the index's own folder or below it. */
static bool stays_inside(const char *file)
{
    if (!*file || *file == '/' || strchr(file, '\\')) return false;
    for (const char *part = file;; part = strchr(part, '/') + 1) {
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) return false;
        if (!strchr(part, '/')) return true;
    }
}

static const cJSON *weight_map(const cJSON *json)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(json, "weight_map");
    return cJSON_IsObject(map) ? map : NULL;
}

/* The file as JSON with a weight_map; NULL where it is none. */
static cJSON *parse_index(const uint8_t *bytes, uint64_t size)
{
    uint64_t at = 0;
    if (size > MAX_INDEX) return NULL;
    while (at < size && isspace(bytes[at])) at++;
    if (at == size || bytes[at] != '{') return NULL;
    cJSON *json = cJSON_ParseWithLength((const char *)bytes, size);
    if (json && weight_map(json)) return json;
    cJSON_Delete(json);
    return NULL;
}

static bool list_files(const ts_weights *w, shard_index *x, ts_error *err)
{
    const char **all = malloc((x->count + 1) * sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    for (size_t i = 0; i < x->count; i++) all[i] = x->places[i].file;
    qsort(all, x->count, sizeof *all, compare_texts);
    bool ok = true;
    for (size_t i = 0; ok && i < x->count; i++) {
        if (i && strcmp(all[i - 1], all[i]) == 0) continue;
        if (x->file_count == MAX_SHARDS) ok = ts_fail(err, TS_ERR_FORMAT, "'%s' names more than %d files", w->path, MAX_SHARDS);
        else x->files[x->file_count++] = all[i];
    }
    free(all);
    return ok;
}

static bool read_index(const ts_weights *w, shard_index *x, ts_error *err)
{
    const cJSON *item, *map = weight_map(x->json);
    char tensor[TS_QUOTE], file[TS_QUOTE];
    x->places = malloc(((size_t)cJSON_GetArraySize(map) + 1) * sizeof *x->places);
    if (!x->places) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    cJSON_ArrayForEach(item, map)
    {
        ts_quote(tensor, item->string, strlen(item->string));
        if (!cJSON_IsString(item))
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the index names no file for tensor '%s'", w->path, tensor);
        if (!stays_inside(item->valuestring))
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the index has tensor '%s' in '%s', outside its own folder", w->path, tensor,
                           ts_quote(file, item->valuestring, strlen(item->valuestring)));
        x->places[x->count++] = (place){item->string, item->valuestring};
    }
    if (!x->count) return ts_fail(err, TS_ERR_FORMAT, "'%s': the index names no tensors", w->path);
    qsort(x->places, x->count, sizeof *x->places, compare_places);
    for (size_t i = 1; i < x->count; i++)
        if (strcmp(x->places[i - 1].tensor, x->places[i].tensor) == 0)
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the index has tensor '%s' twice", w->path,
                           ts_quote(tensor, x->places[i].tensor, strlen(x->places[i].tensor)));
    return list_files(w, x, err);
}

static void clear_index(shard_index *x)
{
    free(x->places);
    cJSON_Delete(x->json);
}

/* ---- the shards --------------------------------------------------------------------------------------------------- */

static const char *file_of(const shard_index *x, const char *tensor)
{
    const place wanted = {.tensor = tensor};
    const place *found = bsearch(&wanted, x->places, x->count, sizeof wanted, compare_places);
    return found ? found->file : NULL;
}

/* Every tensor that the index has in this file must be in it. */
static bool check_shard(const ts_weights *w, const shard_index *x, const char *file, const ts_weights *shard, ts_error *err)
{
    char shown[TS_QUOTE], tensor[TS_QUOTE];
    for (size_t i = 0; i < x->count; i++) {
        const place *p = &x->places[i];
        if (strcmp(p->file, file) != 0 || ts_weights_find(shard, p->tensor)) continue;
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the index has tensor '%s' in '%s', which does not hold it", w->path,
                       ts_quote(tensor, p->tensor, strlen(p->tensor)), ts_quote(shown, file, strlen(file)));
    }
    return true;
}

/* Takes the shard's tensors, but those that the index has in another one, and its map. */
static bool take_shard(ts_weights *w, const shard_index *x, const char *file, ts_weights *shard, ts_error *err)
{
    for (int64_t i = 0; i < shard->count; i++) {
        const ts_weight *t = &shard->list[i];
        const char *said = file_of(x, t->name);
        if (said && strcmp(said, file) != 0) continue;
        if (!ts_weights_push(w, t->name, strlen(t->name), t, err)) return false;
        w->list[w->count - 1].file = t->file;
    }
    for (int64_t i = 0; i < shard->meta_count; i++) {
        if (ts_weights_meta(w, shard->meta[2 * i])) continue;
        if (!ts_weights_push_meta(w, shard->meta[2 * i], shard->meta[2 * i + 1], err)) return false;
    }
    for (int i = 0; i < shard->map_count; i++)
        if (!ts_weights_take_map(w, &shard->maps[i], err)) return false;
    return true;
}

static bool read_shard(ts_weights *w, const shard_index *x, int at, ts_error *err)
{
    const char *file = x->files[at];
    char shown[TS_QUOTE], *path = NULL;
    ts_quote(shown, file, strlen(file));
    if (asprintf(&path, "%.*s%s", folder_length(w->path), w->path, file) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    ts_error why = {0};
    ts_weights *shard = NULL;
    bool ok = false;
    if (access(path, F_OK) != 0)
        ts_fail(err, TS_ERR_IO, "'%s': '%s' is missing, one of the %d files that the index names", w->path, shown, x->file_count);
    else if (!(shard = ts_weights_open_part(path, &why)))
        ts_fail(err, why.code, "'%s': the index names a file that cannot be read: %s", w->path, why.text);
    else {
        ok = check_shard(w, x, file, shard, err) && take_shard(w, x, file, shard, err);
        if (at == 0) w->kind = shard->kind;
    }
    ts_weights_free(shard);
    free(path);
    return ok;
}

bool ts_shards_read(ts_weights *w, bool *is_index, ts_error *err)
{
    shard_index *x = calloc(1, sizeof *x);
    if (!x) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    x->json = parse_index(w->bytes, w->size);
    *is_index = x->json != NULL;
    bool ok = *is_index && read_index(w, x, err);
    for (int i = 0; ok && i < x->file_count; i++) ok = read_shard(w, x, i, err);
    w->shards = x->file_count;
    clear_index(x);
    free(x);
    return ok || !*is_index;
}

/* ---- a shard alone ------------------------------------------------------------------------------------------------ */

/* Takes "-00001-of-00002" in the name apart: what stands before it, and the two numbers. */
static bool read_shard_name(const char *path, int *stem, long *number, long *of, const char **ending)
{
    const char *base = path + folder_length(path), *at = base;
    while ((at = strchr(at, '-'))) {
        char *end, *end2;
        if (isdigit((unsigned char)at[1]) && (*number = strtol(at + 1, &end, 10)) > 0 && strncmp(end, "-of-", 4) == 0 &&
            end - at == 6 && isdigit((unsigned char)end[4])) {
            *of = strtol(end + 4, &end2, 10);
            if (end2 - end == 9 && *of >= *number && (*end2 == '.' || *end2 == '\0')) {
                *stem = (int)(at - path);
                *ending = end2;
                return true;
            }
        }
        at++;
    }
    return false;
}

/* How many tensors the index at `path` has, and how many of them in `file`; false where it is no index. */
static bool count_places(const char *path, const char *file, int *all, int *here)
{
    ts_mapping *m = ts_mapping_open(path, NULL);
    cJSON *json = m ? parse_index(m->bytes, m->size) : NULL;
    const cJSON *item;
    *all = *here = 0;
    cJSON_ArrayForEach(item, weight_map(json))
    {
        (*all)++;
        *here += cJSON_IsString(item) && strcmp(item->valuestring, file) == 0;
    }
    cJSON_Delete(json);
    ts_mapping_free(m);
    return json != NULL;
}

bool ts_shards_check_alone(const ts_weights *w, ts_error *err)
{
    int stem, all, here;
    long number, of;
    const char *ending;
    if (!read_shard_name(w->path, &stem, &number, &of, &ending) || of < 2) return true;
    char *index = NULL;
    if (asprintf(&index, "%.*s%s.index.json", stem, w->path, ending) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    const bool known = count_places(index, w->path + folder_length(w->path), &all, &here);
    if (!known)
        ts_fail(err, TS_ERR_FORMAT, "'%s' is by its name part %ld of %ld of a model, whose index, '%s', is not there", w->path,
                number, of, index);
    else if (here < all)
        ts_fail(err, TS_ERR_FORMAT, "'%s' is part %ld of %ld of a model and holds %lld of its %d tensors: name the index, '%s'",
                w->path, number, of, (long long)w->count, all, index);
    free(index);
    return known && here >= all;
}
