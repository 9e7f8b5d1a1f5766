/* `tessera serve` as a whole: what it answers is what `tessera run` writes, byte for byte; every route is as docs/openapi.json
 * says; the other rooms; bad requests; how it ends. */
#include "../support/clip_library.h"
#include "../support/http.h"
#include "../support/process.h"
#include "../support/program.h"
#include "../support/small_sam.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "page/request.h"

static char *api_path;
static cJSON *api;

/* ---- the program at work ---- */

typedef struct {
    pid_t pid;
    int port;
} served;

/* The port stands in what it says: "open http://127.0.0.1:PORT/ in a browser". */
static int port_said(void)
{
    const char *path = temp_path("spawned.err");
    for (int tries = 0; tries < 600; tries++) {
        size_t size = 0;
        char *said = file_exists(path) ? (char *)read_bytes(path, &size) : NULL;
        char text[4096] = "";
        if (said) snprintf(text, sizeof text, "%.*s", (int)size, said);
        free(said);
        const char *at = strstr(text, "open http://127.0.0.1:");
        int port;
        if (at && sscanf(at, "open http://127.0.0.1:%d/", &port) == 1) return port;
        sleep_for(0.1);
    }
    fail_msg("the server has not begun after a minute");
    return 0;
}

static served serve(const char *const *more)
{
    const char *args[32] = {"serve", "--device", "cpu", "--threads", "1", "--port", "0"};
    int count = 7;
    if (!ts_page_built()) skip();
    for (int i = 0; more[i]; i++) args[count++] = more[i];
    write_text(temp_path("spawned.err"), "");
    served s = {.pid = spawn(args, 0)};
    s.port = port_said();
    return s;
}

static void end(const served *s)
{
    kill(s->pid, SIGTERM);
    assert_int_equal(wait_for(s->pid), 0);
}

static char *base64_of(const char *path)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    char *text = page_base64_write(bytes, size);
    assert_non_null(text);
    free(bytes);
    return text;
}

/* ---- the description ---- */

static const cJSON *resolve(const cJSON *schema)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(schema, "$ref"));
    if (!name) return schema;
    const cJSON *found =
        cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(api, "components"), "schemas"), strrchr(name, '/') + 1);
    if (!found) fail_msg("%s is not described", name);
    return found;
}

static void fits(const cJSON *value, const cJSON *described, const char *where)
{
    const cJSON *schema = resolve(described), *item;
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(schema, "type"));
    assert_non_null(type);
    const bool right = strcmp(type, "object") == 0    ? cJSON_IsObject(value)
                       : strcmp(type, "array") == 0   ? cJSON_IsArray(value)
                       : strcmp(type, "string") == 0  ? cJSON_IsString(value)
                       : strcmp(type, "boolean") == 0 ? cJSON_IsBool(value)
                       : strcmp(type, "integer") == 0
                           ? cJSON_IsNumber(value) && value->valuedouble == (double)(int64_t)value->valuedouble
                           : cJSON_IsNumber(value);
    if (!right) fail_msg("%s is no %s", where, type);
    const cJSON *properties = cJSON_GetObjectItem(schema, "properties");
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(schema, "required"))
    {
        if (!cJSON_HasObjectItem(value, item->valuestring)) fail_msg("%s lacks %s", where, item->valuestring);
    }
    cJSON_ArrayForEach(item, value)
    {
        char below[256];
        snprintf(below, sizeof below, "%s.%s", where, item->string ? item->string : "[]");
        const cJSON *of =
            cJSON_IsArray(value) ? cJSON_GetObjectItem(schema, "items") : cJSON_GetObjectItem(properties, item->string);
        if (of) fits(item, of, below);
        else if (cJSON_IsObject(value) && strcmp(where, "answer.report") != 0 && strcmp(where, "answer.report.ms") != 0 &&
                 properties)
            fail_msg("%s is not described", below);
    }
}

static const cJSON *described(const char *path, const char *method, const char *status)
{
    const cJSON *responses = cJSON_GetObjectItem(
        cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(api, "paths"), path), method), "responses");
    const cJSON *response = cJSON_GetObjectItem(responses, status);
    if (!response) fail_msg("%s %s is not described with status %s", method, path, status);
    return response;
}

/* Asks, compares status and form with the description, and returns the answer. */
static cJSON *ask(const served *s, const char *method, const char *path, const char *body, int status)
{
    char *heard = http_ask(s->port, method, path, "", body), text[8], small[8];
    if (http_status(heard) != status) fail_msg("%s %s: %d was wanted, not: %s", method, path, status, heard);
    snprintf(text, sizeof text, "%d", status);
    snprintf(small, sizeof small, "%s", strcmp(method, "GET") == 0 ? "get" : "post");
    cJSON *json = http_json(heard);
    assert_non_null(json);
    const cJSON *content = cJSON_GetObjectItem(cJSON_GetObjectItem(described(path, small, text), "content"), "application/json");
    fits(json, cJSON_GetObjectItem(content, "schema"), "answer");
    free(heard);
    return json;
}

static void refused(const served *s, const char *path, const char *body, int status, const char *word)
{
    cJSON *json = ask(s, "POST", path, body, status);
    const char *message = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "error"), "message"));
    if (!message || !strstr(message, word)) fail_msg("%s: \"%s\" was wanted, not \"%s\"", path, word, message);
    cJSON_Delete(json);
}

static int open_api(void **state)
{
    size_t size;
    (void)state;
    api_path = strdup(TS_TESTS_DIR "/../docs/openapi.json");
    char *text = (char *)read_bytes(api_path, &size);
    api = cJSON_ParseWithLength(text, size);
    free(text);
    return api ? 0 : -1;
}

static int close_api(void **state)
{
    (void)state;
    free(api_path);
    cJSON_Delete(api);
    return 0;
}

/* ---- tests ---- */

enum { PAIRS = 2 };

static char *question(int pairs, const char *query, const char *settings)
{
    cJSON *body = cJSON_CreateObject(), *examples = cJSON_AddArrayToObject(body, "examples");
    for (int i = 0; i < pairs; i++) {
        cJSON *pair = cJSON_CreateObject();
        cJSON_AddItemToArray(examples, pair);
        char *in = base64_of(temp_path("in%d.png", i)), *out = base64_of(temp_path("out%d.png", i));
        cJSON_AddStringToObject(pair, "input", in);
        cJSON_AddStringToObject(pair, "output", out);
        free(in);
        free(out);
    }
    char *asked = base64_of(query);
    cJSON_AddStringToObject(body, "query", asked);
    free(asked);
    if (settings) cJSON_AddItemToObject(body, "settings", cJSON_Parse(settings));
    char *text = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    return text;
}

static void make_pictures(void)
{
    for (int i = 0; i < PAIRS; i++) {
        write_picture(temp_path("in%d.png", i), 40 + i, 30, (uint64_t)i + 1);
        write_picture(temp_path("out%d.png", i), 40 + i, 30, (uint64_t)i + 10);
    }
    write_picture(temp_path("query.png"), 50, 37, 99);
}

static void same_answer(const cJSON *answer, const char *path)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(answer, "answer"));
    assert_non_null(text);
    char *want = base64_of(path);
    assert_string_equal(text, want);
    free(want);
}

/* One pair, two, one again, other settings and back: the model that stays answers as a new one does. */
static void answers(void **state)
{
    (void)state;
    make_pictures();
    const served s = serve((const char *const[]){"--model", random_model(), NULL});
    static const struct {
        int pairs;
        const char *settings, *option, *value;
    } runs[] = {{1, NULL, NULL, NULL},
                {2, NULL, NULL, NULL},
                {1, "{\"views\":3}", "--views", "3"},
                {2, "{\"per-canvas\":1}", "--per-canvas", "1"},
                {1, "{\"side\":\"left\",\"background\":\"white\"}", "--side=left", "--background=white"},
                {1, "{\"palette\":false}", NULL, NULL}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const char *args[20] = {"run", "--device", "cpu", "--threads", "1", "-Q", "--model", random_model()};
        int count = 8;
        for (int k = 0; k < runs[i].pairs; k++) {
            args[count++] = "-e";
            args[count++] = kept_path(k ? "in1.png" : "in0.png");
            args[count++] = kept_path(k ? "out1.png" : "out0.png");
        }
        if (runs[i].option) args[count++] = runs[i].option;
        if (runs[i].value) args[count++] = runs[i].value;
        args[count++] = "-q";
        args[count++] = kept_path("query.png");
        args[count++] = "-o";
        args[count++] = kept_path("answer.png");
        succeed(program_run_list(args, count));
        char *body = question(runs[i].pairs, temp_path("query.png"), runs[i].settings);
        cJSON *answer = ask(&s, "POST", "/v1/answers", body, 200), *canvas = ask(&s, "POST", "/v1/canvases", body, 200);
        same_answer(answer, temp_path("answer.png"));
        assert_int_equal(cJSON_GetObjectItem(answer, "width")->valueint, 50);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(answer, "canvas")),
                            cJSON_GetStringValue(cJSON_GetObjectItem(canvas, "canvas")));
        cJSON_Delete(answer);
        cJSON_Delete(canvas);
        free(body);
    }
    end(&s);
}

static void looks(void **state)
{
    (void)state;
    make_pictures();
    const served s = serve((const char *const[]){"--model", random_model(), "--views", "4", NULL});
    cJSON_Delete(ask(&s, "GET", "/v1/about", NULL, 200));
    cJSON *settings = ask(&s, "GET", "/v1/settings", NULL, 200);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(settings, "settings")) > 8);
    cJSON_Delete(settings);
    char *heard = http_ask(s.port, "GET", "/openapi.json", "", NULL);
    cJSON *sent = http_json(heard);
    assert_true(cJSON_Compare(sent, api, true));
    cJSON_Delete(sent);
    free(heard);
    /* The canvas, a first look, the answer. */
    char *body = question(1, temp_path("query.png"), NULL);
    heard = http_ask(s.port, "POST", "/v1/answers", "Accept: text/event-stream\r\n", body);
    const char *at = heard;
    static const char *const events[] = {"event: waiting", "event: begun", "event: canvas", "event: preview", "event: answer"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        at = strstr(at, events[i]);
        if (!at) fail_msg("there is no %s, or not in its place", events[i]);
    }
    free(heard);
    free(body);
    end(&s);
}

static void wrong_requests(void **state)
{
    (void)state;
    make_pictures();
    const served s = serve((const char *const[]){"--model", random_model(), NULL});
    static const struct {
        const char *settings, *word;
    } wrong[] = {{"{\"views\":0}", "views 0 is outside"},
                 {"{\"views\":1.5}", "no whole number"},
                 {"{\"side\":\"up\"}", "right|left"},
                 {"{\"model\":\"/etc/passwd\"}", "no setting \"model\""},
                 {"{\"canvas\":\"x.png\"}", "no setting"},
                 {"{\"vqgan\":\"x\"}", "no setting"},
                 {"{\"kind\":\"semantic\"}", "kind is not for"},
                 {"{\"blend\":1,\"temperature\":1}", "not both"},
                 {"{\"palette\":true,\"no-palette\":true}", "not both"},
                 {"{\"mask\":true}", "--mask wants examples"},
                 {"{\"background\":\"mauve\"}", "not black, white"},
                 {"[]", "settings must be an object"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *body = question(1, temp_path("query.png"), wrong[i].settings);
        refused(&s, "/v1/answers", body, 400, wrong[i].word);
        free(body);
    }
    refused(&s, "/v1/answers", "{}", 400, "examples is missing");
    refused(&s, "/v1/answers", "{\"examples\":[]}", 400, "0 items");
    refused(&s, "/v1/answers", "{\"examples\":[1],\"query\":\"\"}", 400, "input and output");
    refused(&s, "/v1/answers", "{\"examples\":[{\"input\":\"\"}],\"query\":\"\"}", 400, "example 1's input is empty");
    refused(&s, "/v1/answers", "{\"examples\":[{\"input\":\"aGVsbG8=\",\"output\":\"\"}],\"query\":\"\"}", 400,
            "example 1's input is");
    char *heard = http_ask(s.port, "POST", "/v1/find", "", "{}"); /* there is no such room here */
    assert_int_equal(http_status(heard), 404);
    free(heard);
    /* After all of that it answers. */
    char *body = question(1, temp_path("query.png"), NULL);
    cJSON_Delete(ask(&s, "POST", "/v1/answers", body, 200));
    free(body);
    end(&s);
}

static void segments(void **state)
{
    (void)state;
    char body[512];
    make_pictures();
    const char *sam = kept_path("sam.safetensors");
    assert_true(write_small_sam(sam, 3, NULL));
    const served s = serve((const char *const[]){"--model", random_model(), "--sam", sam, NULL});
    cJSON_Delete(ask(&s, "GET", "/v1/about", NULL, 200));
    char *picture = base64_of(temp_path("query.png")), *sent = NULL;
    assert_true(asprintf(&sent, "{\"picture\":\"%s\"}", picture) > 0);
    double first = 0;
    for (int i = 0; i < 10; i++) { /* more than are kept */
        cJSON *kept = ask(&s, "POST", "/v1/segment/pictures", sent, 200);
        const double id = cJSON_GetObjectItem(kept, "picture")->valuedouble;
        if (i == 0) first = id;
        cJSON_Delete(kept);
        if (i > 0) assert_true(id > first);
    }
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"points\":[[10,10,1]]}", first);
    refused(&s, "/v1/segment/masks", body, 404, "no longer kept");
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"points\":[[10,10,1]]}", first + 9);
    cJSON *masks = ask(&s, "POST", "/v1/segment/masks", body, 200), *list = cJSON_GetObjectItem(masks, "masks");
    assert_int_equal(cJSON_GetArraySize(list), 3);
    cJSON_Delete(masks);
    /* The cut-out is the file that the command writes. */
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"points\":[[10,10,1],[30,20,0]],\"multimask\":false}", first + 9);
    masks = ask(&s, "POST", "/v1/segment/masks", body, 200);
    cJSON *wanted = cJSON_CreateObject();
    cJSON_AddNumberToObject(wanted, "picture", first + 9);
    cJSON_AddItemToObject(wanted, "mask", cJSON_Duplicate(cJSON_GetArrayItem(cJSON_GetObjectItem(masks, "masks"), 0), true));
    char *cut = cJSON_PrintUnformatted(wanted);
    cJSON *cutout = ask(&s, "POST", "/v1/segment/cutouts", cut, 200);
    succeed(program_run("segment", kept_path("query.png"), "--device", "cpu", "-Q", "--model", sam, "--point", "10,10", "--point",
                        "30,20,0", "-o", kept_path("mask.png"), "--cutout", kept_path("cutout.png"), NULL));
    static const char *const made[] = {"mask", "cutout"};
    for (int i = 0; i < 2; i++) {
        char *want = base64_of(temp_path("%s.png", made[i]));
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(cutout, made[i])), want);
        free(want);
    }
    cJSON_Delete(cutout);
    free(cut);
    cJSON_Delete(wanted);
    cJSON_Delete(masks);
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"everything\":true,\"points_per_side\":2}", first + 9);
    cJSON_Delete(ask(&s, "POST", "/v1/segment/masks", body, 200));
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"boxes\":[[1,1,20,20],[5,5,9,9]]}", first + 9);
    masks = ask(&s, "POST", "/v1/segment/masks", body, 200);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(masks, "masks")), 2);
    cJSON_Delete(masks);
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"points\":[[900,10,1]]}", first + 9);
    refused(&s, "/v1/segment/masks", body, 400, "900");
    snprintf(body, sizeof body, "{\"picture\":%.0f}", first + 9);
    refused(&s, "/v1/segment/masks", body, 400, "nothing is asked for");
    snprintf(body, sizeof body, "{\"picture\":%.0f,\"mask\":{\"counts\":\"11\"}}", first + 9);
    refused(&s, "/v1/segment/cutouts", body, 400, "");
    refused(&s, "/v1/segment/masks", "{\"points\":[[1,1,1]]}", 404, "picture is missing");
    free(sent);
    free(picture);
    end(&s);
}

/* A picture whose left half has one class and whose right half the other: learned from two strokes, applied, and the same by the
 * command with the downloaded model. */
static void paints(void **state)
{
    (void)state;
    enum { W = 48, H = 32 };
    ts_image picture = {0}, strokes = {0};
    assert_true(ts_image_new(W, H, &picture, NULL) && ts_image_new(W, H, &strokes, NULL));
    for (int i = 0; i < W * H; i++) {
        const int x = i % W, y = i / W;
        memset(picture.data + 3 * i, x < W / 2 ? 60 + y : 160 + y, 3);
        if (y > 12 && y < 16 && x > 4 && x < 20) memcpy(strokes.data + 3 * i, (uint8_t[]){255, 0, 0}, 3);
        if (y > 12 && y < 16 && x > 28 && x < 44) memcpy(strokes.data + 3 * i, (uint8_t[]){0, 255, 0}, 3);
    }
    assert_true(ts_image_save(temp_path("halves.png"), &picture, NULL) &&
                ts_image_save(temp_path("strokes.png"), &strokes, NULL));
    const served s = serve((const char *const[]){"--model", random_model(), NULL});
    char *sent = base64_of(temp_path("halves.png")), *drawn = base64_of(temp_path("strokes.png")), *body = NULL;
    assert_true(asprintf(&body, "{\"picture\":\"%s\"}", sent) > 0);
    cJSON *kept = ask(&s, "POST", "/v1/strokes/pictures", body, 200);
    const double id = cJSON_GetObjectItem(kept, "picture")->valuedouble;
    cJSON_Delete(kept);
    free(body);
    assert_true(asprintf(&body, "{\"picture\":%.0f,\"strokes\":\"%s\",\"classes\":[\"#ff0000\",\"#00ff00\"]}", id, drawn) > 0);
    cJSON *classes = ask(&s, "POST", "/v1/strokes/masks", body, 200);
    const double model = cJSON_GetObjectItem(classes, "model")->valuedouble;
    size_t size;
    ts_image labels = {0};
    uint8_t *png = page_base64_read(cJSON_GetStringValue(cJSON_GetObjectItem(classes, "labels")), "the labels", &size, NULL);
    assert_true(png && ts_image_decode(png, size, "the labels", &labels, NULL));
    int right = 0;
    for (int i = 0; i < W * H; i++) right += labels.data[3 * i] == (i % W >= W / 2);
    assert_true(right > W * H * 9 / 10);
    free(png);
    free(body);
    cJSON_Delete(classes);
    assert_true(asprintf(&body, "{\"picture\":%.0f,\"model\":%.0f,\"strokes\":\"%s\"}", id, model, drawn) > 0);
    cJSON_Delete(ask(&s, "POST", "/v1/strokes/masks", body, 200)); /* another stroke */
    free(body);
    assert_true(asprintf(&body, "{\"model\":%.0f,\"picture\":\"%s\"}", model, sent) > 0);
    cJSON *applied = ask(&s, "POST", "/v1/strokes/apply", body, 200);
    free(body);
    assert_true(asprintf(&body, "{\"model\":%.0f}", model) > 0);
    cJSON *file = ask(&s, "POST", "/v1/strokes/files", body, 200);
    uint8_t *bytes = page_base64_read(cJSON_GetStringValue(cJSON_GetObjectItem(file, "file")), "the model", &size, NULL);
    assert_non_null(bytes);
    write_bytes(temp_path("halves.strokes"), bytes, size);
    succeed(program_run("strokes", "apply", kept_path("halves.strokes"), kept_path("halves.png"), "--device", "cpu", "-Q", "-o",
                        kept_path("classes.png"), NULL));
    char *want = base64_of(temp_path("classes.png"));
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(applied, "answer")), want);
    refused(&s, "/v1/strokes/files", "{\"model\":1}", 404, "no longer kept");
    refused(&s, "/v1/strokes/masks", "{}", 404, "picture is missing");
    free(want);
    free(bytes);
    free(body);
    free(drawn);
    free(sent);
    cJSON_Delete(file);
    cJSON_Delete(applied);
    ts_image_clear(&labels);
    ts_image_clear(&picture);
    ts_image_clear(&strokes);
    end(&s);
}

static void finds(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("album");
    const served s =
        serve((const char *const[]){"--model", random_model(), "--clip", MODEL, "--vocab", VOCAB, "--find", folder, NULL});
    cJSON_Delete(ask(&s, "GET", "/v1/about", NULL, 200));
    cJSON *hits = ask(&s, "POST", "/v1/find", "{\"text\":\"a dog\",\"top\":2}", 200), *list = cJSON_GetObjectItem(hits, "hits");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    program_result r = program_run("clip", "search", folder, "--device", "cpu", "-Q", "--model", MODEL, "--vocab", VOCAB,
                                   "--text", "a dog", "--top", "1", NULL);
    assert_int_equal(r.status, 0);
    if (!strstr(r.out, cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "name"))))
        fail_msg("the command finds %s", r.out);
    program_free(&r);
    cJSON_Delete(hits);
    write_picture(temp_path("like.png"), 50, 37, 99);
    char *picture = base64_of(temp_path("like.png")), *body = NULL;
    assert_true(asprintf(&body, "{\"picture\":\"%s\"}", picture) > 0);
    hits = ask(&s, "POST", "/v1/find", body, 200);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(hits, "hits")), 3);
    cJSON_Delete(hits);
    free(body);
    free(picture);
    char *heard = http_ask(s.port, "GET", "/v1/find/pictures/0", "", NULL);
    assert_int_equal(http_status(heard), 200);
    assert_non_null(strstr(heard, "Content-Type: image/jpeg"));
    free(heard);
    heard = http_ask(s.port, "GET", "/v1/find/pictures/3", "", NULL);
    assert_int_equal(http_status(heard), 404);
    free(heard);
    refused(&s, "/v1/find", "{}", 400, "missing");
    refused(&s, "/v1/find", "{\"text\":\" \"}", 400, "empty");
    end(&s);
}

/* Every route that is described is there in a server with all rooms, under its method alone. */
static void described_routes(void **state)
{
    (void)state;
    need_model();
    const char *sam = kept_path("sam.safetensors"), *folder = make_folder("routes");
    assert_true(write_small_sam(sam, 3, NULL));
    const served s = serve((const char *const[]){"--model", random_model(), "--sam", sam, "--clip", MODEL, "--vocab", VOCAB,
                                                 "--find", folder, NULL});
    const cJSON *path, *method;
    int count = 0;
    cJSON_ArrayForEach(path, cJSON_GetObjectItem(api, "paths"))
    {
        char address[128];
        const char *place = strstr(path->string, "{number}");
        snprintf(address, sizeof address, "%.*s%s", place ? (int)(place - path->string) : 127, path->string, place ? "0" : "");
        cJSON_ArrayForEach(method, path)
        {
            const bool get = strcmp(method->string, "get") == 0;
            char *heard = http_ask(s.port, get ? "GET" : "POST", address, "", get ? NULL : "{}");
            if (http_status(heard) == 405 || strstr(heard, "nothing at this address"))
                fail_msg("%s %s: %s", method->string, address, heard);
            free(heard);
            heard = http_ask(s.port, get ? "POST" : "GET", address, "", get ? "{}" : NULL);
            assert_int_equal(http_status(heard), 405);
            free(heard);
            count++;
        }
    }
    assert_int_equal(count, 13); /* as many as cli/serve/serve.c has */
    end(&s);
}

static void refusals(void **state)
{
    (void)state;
    if (!ts_page_built()) {
        assert_refused(program_run("serve", "--model", random_model(), NULL), 1, "libmicrohttpd");
        skip();
    }
    assert_refused(program_run("serve", "--host", "0.0.0.0", NULL), 2, "--token");
    assert_refused(program_run("serve", "--find", temp_dir(), NULL), 2, "--clip");
    assert_refused(program_run("serve", "--clip", "x", NULL), 2, "--find");
    assert_refused(program_run("serve", "--port", "70000", NULL), 2, "70000");
    assert_refused(program_run("serve", "-Q", "--model", "none.pth", NULL), 1, "none.pth");
    assert_refused(program_run("serve", "-Q", "--model", random_model(), "--sam", random_model(), NULL), 1, "SAM");
    assert_refused(program_run("serve", "--blend", "1", "--temperature", "1", NULL), 2, "not both");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers), cmocka_unit_test(looks),  cmocka_unit_test(wrong_requests), cmocka_unit_test(segments),
        cmocka_unit_test(finds),   cmocka_unit_test(paints), cmocka_unit_test(refusals),       cmocka_unit_test(described_routes),
    };
    return cmocka_run_group_tests(tests, open_api, close_api);
}
