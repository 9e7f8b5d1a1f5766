/* lists.c - the lists of neighbours that papers publish, one JSON object a fold. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "retrieval/retrieval.h"

enum { LIMIT = 256 << 20 };

void ts_lists_clear(ts_lists *l)
{
    cJSON_Delete(l->json);
    free(l->list);
    free((void *)l->pictures);
    *l = (ts_lists){0};
}

/* "2010_004063 712" is the picture's name and its number in a list: the name alone is meant. A name may hold a space. */
static void cut_number(char *text)
{
    char *space = strrchr(text, ' ');
    if (space && space > text && space[1] && space[1 + strspn(space + 1, "0123456789")] == '\0') *space = '\0';
}

static int by_name(const void *a, const void *b)
{
    const ts_list *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    if (order != 0) return order;
    return (x->picture > y->picture) - (x->picture < y->picture); /* as they stand in the file */
}

/* Sorted; of a name that stands twice the last one is kept. */
static void sort_lists(ts_lists *l)
{
    int kept = 0;
    qsort(l->list, (size_t)l->count, sizeof *l->list, by_name);
    for (int i = 0; i < l->count; i++)
        if (i + 1 == l->count || strcmp(l->list[i].name, l->list[i + 1].name) != 0) l->list[kept++] = l->list[i];
    l->count = kept;
}

static bool take_list(ts_lists *l, const cJSON *item, const char *label, int64_t *used, ts_error *err)
{
    cJSON *one;
    ts_list *list = &l->list[l->count++];
    *list = (ts_list){.name = item->string, .picture = l->pictures + *used};
    if (!item->string || !cJSON_IsArray(item) || !item->child)
        return ts_fail(err, TS_ERR_FORMAT, "%s: what stands for %s is no list of names", label, item->string ? item->string : "");
    cJSON_ArrayForEach(one, item)
    {
        if (!cJSON_IsString(one))
            return ts_fail(err, TS_ERR_FORMAT, "%s: the list of %s holds something that is no name", label, item->string);
        cut_number(one->valuestring);
        l->pictures[(*used)++] = one->valuestring;
        list->count++;
    }
    return true;
}

bool ts_lists_parse(const char *text, size_t size, const char *label, ts_lists *out, ts_error *err)
{
    *out = (ts_lists){.json = cJSON_ParseWithLength(text, size)};
    const cJSON *all = out->json, *item, *one;
    int64_t lists = 0, pictures = 0, used = 0;
    cJSON_ArrayForEach(item, all)
    {
        lists++;
        cJSON_ArrayForEach(one, item) pictures++;
    }
    bool ok = cJSON_IsObject(all) && lists > 0 && lists < INT32_MAX;
    if (!ok) ts_fail(err, TS_ERR_FORMAT, "%s holds no lists: {\"picture\": [\"the most like\", \"the next\", ...], ...}", label);
    if (ok) {
        out->list = malloc((size_t)lists * sizeof *out->list);
        out->pictures = malloc((size_t)pictures * sizeof *out->pictures + 1);
        ok = out->list && out->pictures;
        if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for the lists of %s", label);
    }
    if (ok) cJSON_ArrayForEach(item, all) ok = ok && take_list(out, item, label, &used, err);
    if (ok) sort_lists(out);
    else ts_lists_clear(out);
    return ok;
}

bool ts_lists_read(const char *path, ts_lists *out, ts_error *err)
{
    size_t size;
    *out = (ts_lists){0};
    char *text = ts_file_read(path, "lists", LIMIT, &size, err);
    const bool ok = text && ts_lists_parse(text, size, path, out, err);
    free(text);
    return ok;
}

const ts_list *ts_lists_find(const ts_lists *l, const char *name)
{
    int low = 0, high = l->count;
    while (low < high) {
        const int middle = low + (high - low) / 2, order = strcmp(name, l->list[middle].name);
        if (order == 0) return &l->list[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}
