/* about.c - what is served here: the page asks before it shows its rooms. */
#include <string.h>

#include "cli/serve/serve.h"

/* A path or a name of any bytes, as text. */
static cJSON *add_text(cJSON *to, const char *name, const char *text)
{
    char shown[4096];
    return cJSON_AddStringToObject(to, name, ts_printable(text, shown, sizeof shown));
}

/* The options of `tessera run` that the server was started with, for the command that would do the same. */
static bool add_given(const serve *s, cJSON *to)
{
    cJSON *list = cJSON_AddArrayToObject(to, "options");
    bool ok = list != NULL;
    for (int i = 0; ok && i < s->job.given.count; i++) {
        bool of_run = false;
        for (int k = 0; k < s->option_count; k++) of_run = of_run || strcmp(s->options[k].name, s->job.given.items[i]) == 0;
        if (!of_run || strcmp(s->job.given.items[i], "model") == 0) continue;
        cJSON *item = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, item) && add_text(item, "name", s->job.given.items[i]) &&
             add_text(item, "value", s->job.values.items[i]);
    }
    return ok;
}

static bool add_example(const serve *s, cJSON *to)
{
    const run_job *r = &s->job;
    cJSON *room = cJSON_AddObjectToObject(to, "example");
    add_text(room, "model", r->model);
    cJSON_AddBoolToObject(room, "default", r->model == r->default_model);
    cJSON_AddStringToObject(room, "kind", serve_kind(r));
    cJSON_AddBoolToObject(room, "canvas", r->engine->canvas != NULL);
    cJSON_AddNumberToObject(room, "most_examples", RUN_PAIRS);
    return add_given(s, room);
}

static bool add_segment(const serve *s, cJSON *to)
{
    char title[96];
    cJSON *room = cJSON_AddObjectToObject(to, "segment");
    add_text(room, "model", s->sam_path);
    return cJSON_AddStringToObject(room, "title", ts_sam_title(ts_sam_about(s->sam), title, sizeof title)) != NULL;
}

static bool add_find(const serve *s, cJSON *to)
{
    cJSON *room = cJSON_AddObjectToObject(to, "find");
    add_text(room, "model", s->clip_path);
    add_text(room, "folder", s->find);
    return cJSON_AddNumberToObject(room, "pictures", s->folder.pictures.count) != NULL;
}

bool serve_about(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    const serve *s = ctx;
    (void)job;
    cJSON_AddStringToObject(answer, "version", TESSERA_VERSION);
    add_text(answer, "device", ts_device_about(s->dev)->name);
    cJSON_AddStringToObject(answer, "precision", ts_precision_name(ts_device_precision(s->dev)));
    cJSON *limits = cJSON_AddObjectToObject(answer, "limits");
    cJSON_AddNumberToObject(limits, "megabytes", s->desc.most_megabytes);
    cJSON_AddNumberToObject(limits, "megapixels", s->desc.most_megapixels);
    cJSON_AddNumberToObject(limits, "waiting", s->desc.most_waiting);
    cJSON_AddNumberToObject(limits, "seconds", s->desc.most_seconds);
    cJSON *rooms = cJSON_AddObjectToObject(answer, "rooms");
    const bool ok = add_example(s, rooms) && cJSON_AddObjectToObject(rooms, "strokes") && (!s->sam || add_segment(s, rooms)) &&
                    (!s->find || add_find(s, rooms));
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}
