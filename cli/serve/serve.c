/* serve.c - `tessera serve`: a page to work on in a browser, and the same as a JSON interface for programs. serve.h tells how its
 * parts meet, docs/serve.md what it takes and gives. */
#include "cli/serve/serve.h"

#include <stdlib.h>
#include <string.h>

static const char EXAMPLE[] =
    "  tessera serve                                     # then open http://127.0.0.1:8080/ in a browser\n"
    "  tessera serve --model checkpoint-3400.pth --sam sam_vit_b_01ec64.pth --clip ViT-B-32.pt --find photos/\n";
static const char NOTE[] = "It listens to this machine alone; --host 0.0.0.0 lets others in, who must bring the --token.\n";

static int parse(serve *s, int argc, char **argv)
{
    const ts_option own[] = {
        {0, "host", "ADDRESS", TS_OPT_TEXT, &s->desc.host, 0, 0, "address to listen at; 127.0.0.1, which is this machine alone"},
        {0, "port", "N", TS_OPT_INT, &s->desc.port, 0, 65535, "port to listen at; 8080; 0: any that is free"},
        {0, "token", "WORD", TS_OPT_TEXT, &s->desc.token, 0, 0,
         "what a client must bring: the page is then opened with #token=WORD"},
        {0, "name", "NAME", TS_OPT_WORDS, &s->names, 0, 0,
         "a name that the server may be called by, beside its address and localhost"},
        {0, "sam", "FILE", TS_OPT_TEXT, &s->sam_path, 0, 0, "a Segment Anything: opens the room Segment"},
        {0, "clip", "FILE", TS_OPT_TEXT, &s->clip_path, 0, 0, "a CLIP, with --find: opens the room Find"},
        {0, "vocab", "FILE", TS_OPT_TEXT, &s->vocab, 0, 0, "the CLIP's " TS_CLIP_VOCAB_HELP},
        {0, "find", "FOLDER", TS_OPT_TEXT, &s->find, 0, 0, "the folder whose pictures can be looked for"},
        {0, "most-megabytes", "N", TS_OPT_INT, &s->desc.most_megabytes, 1, 1024,
         "of a request, whose pictures grow by a third; 64"},
        {0, "most-megapixels", "N", TS_OPT_INT, &s->desc.most_megapixels, 1, 268, "of a picture; 50"},
        {0, "most-waiting", "N", TS_OPT_INT, &s->desc.most_waiting, 1, 1024, "requests that wait for the model; 16"},
        {0, "most-clients", "N", TS_OPT_INT, &s->desc.most_clients, 1, 1000, "connections at a time; 128"},
        {0, "most-seconds", "N", TS_OPT_INT, &s->desc.most_seconds, 1, 86400, "that a request may wait and run; 600"},
        {0, "patience", "N", TS_OPT_INT, &s->desc.patience, 1, 3600,
         "seconds that a request or an answer may take on its way; 60"},
    };
    enum { OWN = sizeof own / sizeof *own };
    ts_option options[OWN + RUN_MODEL_OPTIONS];
    memcpy(options, own, sizeof own);
    s->option_count = run_model_options(&s->job, s->options);
    int count = OWN;
    for (int i = 0; i < s->option_count; i++) /* canvases are seen on the page */
        if (strcmp(s->options[i].name, "canvas") != 0 && strcmp(s->options[i].name, "follow") != 0)
            options[count++] = s->options[i];
    return ts_options_parse(&(ts_command){.name = "serve",
                                          .usage = "[options]",
                                          .summary = "a page to work on in a browser, and a JSON interface",
                                          .note = NOTE,
                                          .example = EXAMPLE,
                                          .options = options,
                                          .count = count,
                                          .given = &s->job.given,
                                          .values = &s->job.values,
                                          .common = &s->job.common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED},
                            argc, argv);
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

/* -1, or the exit status. */
static int check_usage(serve *s)
{
    if (s->desc.host && !is_loopback(s->desc.host) && !s->desc.token)
        return ts_usage_error("serve", "--host %s lets others in: a --token WORD is wanted, that they must bring", s->desc.host);
    if (s->desc.token && !*s->desc.token) return ts_usage_error("serve", "--token is empty");
    if (!s->clip_path != !s->find)
        return ts_usage_error("serve",
                              s->find ? "--find wants a --clip FILE to look with" : "--clip wants a --find FOLDER to look in");
    if (s->vocab && !s->clip_path) return ts_usage_error("serve", "--vocab is a CLIP's: --clip FILE is missing");
    s->desc.names = s->names.items;
    s->desc.name_count = s->names.count;
    return run_check_model_options(&s->job, "serve");
}

static bool open_models(serve *s, ts_error *err)
{
    run_job *r = &s->job;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, err)) return false;
    if (!r->model) r->model = r->default_model;
    if ((!run_is_pixels(r) && !ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, err)) ||
        (r->mae.vqgan && !ts_check_model(r->mae.vqgan, "VQGAN", TS_KIND_VQGAN, err)))
        return false;
    s->dev = ts_open_device(&r->common, false, err);
    return s->dev && serve_example_open(s, err) && (!s->sam_path || serve_segment_open(s, err)) &&
           (!s->find || serve_find_open(s, err));
}

static void announce(const serve *s)
{
    const char *host = s->desc.host ? s->desc.host : "127.0.0.1", *colon = strchr(host, ':');
    const bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    ts_announce_device(&s->job.common, s->dev);
    if (s->job.common.quiet) return;
    ts_say("open http://%s%s%s:%d/%s in a browser; Ctrl-C ends it", colon && !any ? "[" : "", any ? "127.0.0.1" : host,
           colon && !any ? "]" : "", ts_page_port(s->page), s->desc.token ? "#token=..." : "");
}

static int run(serve *s)
{
    static const ts_page_route all[] = {
        {"GET", "/v1/about", serve_about, TS_PAGE_AT_ONCE},
        {"GET", "/v1/settings", serve_settings, TS_PAGE_AT_ONCE},
        {"POST", "/v1/answers", serve_answer, TS_PAGE_MODELS},
        {"POST", "/v1/canvases", serve_canvas, TS_PAGE_MODELS},
        {"POST", "/v1/strokes/pictures", serve_strokes_picture, TS_PAGE_MODELS},
        {"POST", "/v1/strokes/masks", serve_strokes_masks, TS_PAGE_MODELS},
        {"POST", "/v1/strokes/apply", serve_strokes_apply, TS_PAGE_MODELS},
        {"POST", "/v1/strokes/files", serve_strokes_file, TS_PAGE_MODELS},
        {"POST", "/v1/segment/pictures", serve_take_picture, TS_PAGE_MODELS},
        {"POST", "/v1/segment/masks", serve_masks, TS_PAGE_MODELS},
        {"POST", "/v1/segment/cutouts", serve_cutout, TS_PAGE_MODELS},
        {"POST", "/v1/find", serve_find, TS_PAGE_MODELS},
        {"GET", "/v1/find/pictures/{number}", serve_thumbnail, TS_PAGE_PICTURES},
    };
    ts_page_route routes[sizeof all / sizeof *all];
    ts_error err = {0};
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const bool segment = strstr(all[i].path, "/segment/") != NULL, find = strstr(all[i].path, "/find") != NULL;
        if ((segment && !s->sam_path) || (find && !s->find)) continue;
        routes[count++] = all[i];
    }
    s->desc.routes = routes;
    s->desc.route_count = count;
    s->desc.ctx = s;
    if (ts_page_built() && !open_models(s, &err)) return ts_report("serve", &err);
    s->page = ts_page_new(&s->desc, &err);
    if (!s->page) return ts_report("serve", &err);
    announce(s);
    s->started.common.quiet = s->clip.common.quiet = true; /* what is to be said of a request goes to its client */
    ts_page_run(s->page);
    ts_page_free(s->page);
    return TS_EXIT_DONE;
}

static void clear(serve *s)
{
    run_job *r = &s->job;
    for (int i = 0; i < r->examples.count; i++) free((char *)r->examples.items[i]);
    r->jobs.count = 0; /* the one that the engine was told of has no names */
    r->dev = NULL;
    run_clear(r);
    serve_segment_close(s);
    serve_strokes_close(s);
    ts_clip_folder_clear(&s->folder);
    s->clip.dev = NULL;
    ts_clip_use_close(&s->clip);
    ts_device_free(s->dev);
    ts_words_free(&s->names);
}

int ts_cmd_serve(int argc, char **argv)
{
    serve *s = calloc(1, sizeof *s);
    if (!s) return ts_report("serve", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    s->desc = (ts_page_desc){.port = 8080,
                             .most_megabytes = 64,
                             .most_megapixels = 50,
                             .most_waiting = 16,
                             .most_clients = 128,
                             .most_seconds = 600,
                             .patience = 60};
    int status = parse(s, argc, argv);
    if (status < 0) status = check_usage(s);
    if (status < 0) status = run(s);
    clear(s);
    free(s);
    return status;
}
