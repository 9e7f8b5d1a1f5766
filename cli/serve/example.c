/* example.c - the room Example: a query is answered by example pairs, as `tessera run` does it, with pictures that come in the
 * request. The run's engine and its model are kept; a request changes the examples, the query and the settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve/serve.h"

/* ---- the engine ---- */

static bool start(serve *s, ts_error *err)
{
    run_job *r = &s->job;
    if (s->ready) return true;
    s->ready = r->engine->start(r, err);
    return s->ready;
}

/* The names that errors call the examples by. */
static bool name_examples(run_job *r, int pairs, ts_error *err)
{
    static const char *const ends[] = {"input", "output"};
    const char **items = calloc((size_t)pairs * 2, sizeof *items);
    bool ok = items != NULL;
    for (int i = 0; ok && i < 2 * pairs; i++) {
        char *name = NULL;
        ok = asprintf(&name, "example %d's %s", i / 2 + 1, ends[i % 2]) > 0;
        items[i] = ok ? name : NULL;
    }
    for (int i = 0; i < r->examples.count; i++) free((char *)r->examples.items[i]);
    free(r->examples.items);
    r->examples = (ts_words){items, items ? 2 * pairs : 0};
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

const char *serve_kind(const run_job *r)
{
    return ts_kind_name(run_is_pixels(r) ? TS_KIND_STROKES : ts_kind_of(r->weights));
}

/* A run of one query whose pictures are in memory: what an engine would read again by name it keeps where it is standard input.
 */
bool serve_example_open(serve *s, ts_error *err)
{
    run_job *r = &s->job;
    r->sizes = calloc(1, sizeof *r->sizes);
    r->jobs.query = calloc(1, sizeof *r->jobs.query);
    r->jobs.answer = calloc(1, sizeof *r->jobs.answer);
    if (!r->sizes || !r->jobs.query || !r->jobs.answer) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    snprintf(r->nobody, sizeof r->nobody, "-");
    r->jobs.query[0] = r->jobs.answer[0] = r->nobody;
    r->jobs.count = r->jobs.each = 1;
    r->dev = s->dev;
    if (!run_open_weights(r, err) || !name_examples(r, 1, err) || !r->engine->open(r, err)) return false;
    s->started = *r;
    return !r->engine->again || start(s, err);
}

/* ---- a request's pictures ---- */

typedef struct {
    serve *s;
    ts_page_job *job;
    const cJSON *examples;
} request;

static bool give_example(void *ctx, int at, ts_image *out, ts_error *err)
{
    const request *q = ctx;
    const cJSON *pair = cJSON_GetArrayItem(q->examples, at / 2);
    return ts_page_picture(q->job, cJSON_GetObjectItemCaseSensitive(pair, at % 2 ? "output" : "input"),
                           q->s->job.examples.items[at], out, err);
}

static bool take_example(void *ctx, int at, const ts_image *picture, ts_error *err)
{
    const request *q = ctx;
    run_job *r = &q->s->job;
    if (at % 2) run_see_output(r, at / 2, picture);
    return r->engine->example(r, at / 2, at % 2, picture, err);
}

static bool check_examples(const cJSON *examples, ts_error *err)
{
    const cJSON *pair;
    cJSON_ArrayForEach(pair, examples)
    {
        if (!cJSON_IsObject(pair)) return ts_fail(err, TS_ERR_ARGUMENT, "an example must be an object: input and output");
        if (!ts_page_fields(pair, "input output", err)) return false;
    }
    return true;
}

/* Everything up to where the model begins. */
static bool lay(request *q, ts_error *err)
{
    run_job *r = &q->s->job;
    const cJSON *body = ts_page_body(q->job), *settings = cJSON_GetObjectItemCaseSensitive(body, "settings");
    ts_image query = {0};
    if (!ts_page_fields(body, "examples query settings", err) ||
        !ts_page_list(body, "examples", 1, RUN_PAIRS, &q->examples, err) || !check_examples(q->examples, err))
        return false;
    if (settings && !cJSON_IsObject(settings)) return ts_fail(err, TS_ERR_ARGUMENT, "settings must be an object");
    if (!name_examples(r, cJSON_GetArraySize(q->examples), err) || !serve_set(q->s, settings, err)) return false;
    if (r->engine->again && !r->engine->again(r, err)) return false;
    const int pictures = 2 * cJSON_GetArraySize(q->examples);
    bool ok = ts_examples_see(pictures, give_example, take_example, q, &r->looks, err) && run_plan_output(r, err) &&
              ts_page_picture(q->job, cJSON_GetObjectItemCaseSensitive(body, "query"), "the query", &query, err);
    r->sizes[0].width = query.width;
    r->sizes[0].height = query.height;
    ok = ok && r->engine->query(r, 0, &query, err);
    if (ok && r->looks.swapped) r->looks.mask_queries = ts_looks_like_mask(&query);
    ts_image_clear(&query);
    return ok;
}

/* ---- what goes back ---- */

bool serve_add_picture(cJSON *to, const char *name, const ts_image *img, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ts_image_encode("answer.png", img, &bytes, &size, err)) return false;
    const bool ok = ts_page_add_bytes(to, name, bytes, size);
    free(bytes);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the answer");
}

/* In the colours of the examples, or as a mask, where that was asked for or is the engine's way: as run_write_output has it. */
static bool add_answer(run_job *r, cJSON *to, ts_image *img, ts_error *err)
{
    ts_mask mask = {0};
    uint8_t *grey = NULL, *bytes = NULL;
    size_t size = 0;
    if (r->snap) ts_palette_snap(&r->colours, img);
    if (!r->mask) return serve_add_picture(to, "answer", img, err);
    bool ok = ts_palette_mask(&r->colours, img, &mask, err) && (grey = ts_mask_grey(&mask, err)) &&
              ts_png_encode("the answer", grey, mask.width, mask.height, 1, &bytes, &size, err) &&
              (ts_page_add_bytes(to, "answer", bytes, size) || ts_fail(err, TS_ERR_MEMORY, "out of memory for the answer"));
    free(bytes);
    free(grey);
    ts_mask_clear(&mask);
    return ok;
}

static bool add_canvas(run_job *r, cJSON *to, ts_error *err)
{
    ts_cell hole;
    if (!r->engine->canvas) return true;
    const ts_image *canvas = r->engine->canvas(r, 0, &hole);
    cJSON *box = cJSON_AddObjectToObject(to, "hole");
    cJSON_AddNumberToObject(box, "x", hole.x);
    cJSON_AddNumberToObject(box, "y", hole.y);
    cJSON_AddNumberToObject(box, "width", hole.width);
    return (cJSON_AddNumberToObject(box, "height", hole.height) || ts_fail(err, TS_ERR_MEMORY, "out of memory")) &&
           serve_add_picture(to, "canvas", canvas, err);
}

static bool add_notes(const run_job *r, cJSON *to, ts_error *err)
{
    cJSON *notes = cJSON_AddArrayToObject(to, "notes");
    char text[256];
    bool ok = notes != NULL;
    if (ok && r->looks.stretched) {
        snprintf(
            text, sizeof text,
            "The examples' outputs hold nothing but values from 0 to %d, as masks do that number classes: they are stretched "
            "to 0 to 255, and so is the answer.",
            r->looks.stretched);
        ok = cJSON_AddItemToArray(notes, cJSON_CreateString(text));
    }
    if (ok && r->looks.swapped && !r->looks.mask_queries)
        ok = cJSON_AddItemToArray(
            notes, cJSON_CreateString("The examples' inputs look like masks and their outputs like photographs: are "
                                      "they swapped? First comes the picture, then what is made of it."));
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* ---- the routes ---- */

bool serve_canvas(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    request q = {.s = ctx, .job = job};
    return lay(&q, err) && add_canvas(&q.s->job, answer, err) && add_notes(&q.s->job, answer, err);
}

static bool tell_canvas(request *q, ts_error *err)
{
    if (!ts_page_listens(q->job)) return true;
    cJSON *event = cJSON_CreateObject();
    const bool ok = add_canvas(&q->s->job, event, err);
    if (ok) ts_page_tell(q->job, "canvas", event);
    else cJSON_Delete(event);
    return ok;
}

static bool tell_preview(request *q, ts_error *err)
{
    run_job *r = &q->s->job;
    ts_image img = {0};
    if (!r->engine->preview || !ts_page_listens(q->job)) return true;
    if (!r->engine->preview(r, 0, &img, err)) return false;
    if (!img.data) return true;
    cJSON *event = cJSON_CreateObject();
    const bool ok = add_answer(r, event, &img, err);
    ts_image_clear(&img);
    if (ok) ts_page_tell(q->job, "preview", event);
    else cJSON_Delete(event);
    return ok;
}

static bool paint(request *q, cJSON *answer, ts_error *err)
{
    run_job *r = &q->s->job;
    ts_image img = {0};
    const double began = ts_now_ms();
    cJSON *report = cJSON_CreateObject(), *ms = cJSON_CreateObject();
    bool ok = r->engine->answer(r, 0, 1, &img, err) && add_answer(r, answer, &img, err);
    cJSON_AddNumberToObject(answer, "width", img.width);
    cJSON_AddNumberToObject(answer, "height", img.height);
    ts_image_clear(&img);
    bool whole = r->engine->report(r, 0, report, ms);
    whole = cJSON_AddNumberToObject(ms, "all", round((ts_now_ms() - began) * 1e3) * 1e-3) && whole;
    cJSON_AddStringToObject(report, "device", ts_device_about(r->dev)->name);
    cJSON_AddItemToObject(report, "ms", ms);
    whole = cJSON_AddItemToObject(answer, "report", report) && whole;
    return ok && (whole || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report")) && add_notes(r, answer, err);
}

bool serve_answer(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    request q = {.s = ctx, .job = job};
    if (!lay(&q, err) || !tell_canvas(&q, err) || !start(q.s, err)) return false;
    if (ts_page_gone(job) || !tell_preview(&q, err) || ts_page_gone(job)) return ts_fail(err, TS_ERR_IO, "the client has gone");
    return add_canvas(&q.s->job, answer, err) && paint(&q, answer, err);
}
