/* page.h - a small HTTP server for a program that computes: it hands out the page that is built into it, and takes requests of a
 * JSON interface whose routes the program gives. It knows no model.
 *
 *   static const ts_page_route routes[] = {{"POST", "/v1/answers", answer_one, TS_PAGE_MODELS}, ...};
 *   ts_page *p = ts_page_new(&(ts_page_desc){.port = 8080, .routes = routes, .route_count = 1, .ctx = &mine}, &err);
 *   ts_page_run(p);                                   // until SIGTERM or SIGINT
 *   ts_page_free(p);
 *
 * A request that is heard becomes a job. Jobs of a lane are done one after the other by a thread of that lane, so what a lane's
 * work uses needs no lock; a lane whose queue is full refuses (429). A client that asks for text/event-stream is told of progress
 * while it waits. A job whose client has gone is taken out of the queue; one that runs sees it by ts_page_gone.
 *
 * Nothing that a client says is opened as a path. What is refused, and why, stands in docs/serve.md. */
#ifndef TESSERA_PAGE_H
#define TESSERA_PAGE_H

#include <cjson/cJSON.h>

#include "engine/engine.h"

typedef struct ts_page ts_page;
typedef struct ts_page_job ts_page_job;

typedef enum {
    TS_PAGE_MODELS,   /* what runs a model */
    TS_PAGE_PICTURES, /* what does not, but takes its time: thumbnails */
    TS_PAGE_LANES,
    TS_PAGE_AT_ONCE = TS_PAGE_LANES, /* in the server's own thread: it must be a matter of microseconds */
} ts_page_lane;

/* Does the work of a request. `answer` is the object to fill, which is sent where the work succeeds and ts_page_send was not
 * called. On failure the client gets the sentence of `err` with status 400, 500 for what is no fault of the request's
 * (TS_ERR_MEMORY, TS_ERR_IO, TS_ERR_DEVICE and TS_ERR_DEVICE_LOST), or what ts_page_status says. */
typedef bool (*ts_page_work)(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

typedef struct {
    const char *method, *path; /* "GET" or "POST"; a path that ends in "/{number}" takes a whole number there */
    ts_page_work work;
    ts_page_lane lane;
} ts_page_route;

typedef struct {
    const char *host;         /* address to listen at; NULL: 127.0.0.1 */
    int port;                 /* 0: any that is free, see ts_page_port */
    const char *token;        /* what every request of the interface must bring (Authorization: Bearer); NULL: nothing */
    const char *const *names; /* further names that the server may be called by (the Host of a request) */
    int name_count;
    int most_megabytes;  /* of a request's body; zero: 64 */
    int most_megapixels; /* of a picture; zero: 50 */
    int most_waiting;    /* jobs in the queue of a lane; zero: 16 */
    int most_clients;    /* connections at a time; zero: 128 */
    int patience;        /* seconds that a request or an answer may take on its way; zero: 60 */
    int most_seconds;    /* that a job may wait and run; zero: 600 */
    const ts_page_route *routes;
    int route_count;
    void *ctx; /* of the routes' work */
} ts_page_desc;

/* Listens, and starts the threads. Everything in the description must outlive the server. Fails where the address cannot be had,
 * and in a build without libmicrohttpd. */
ts_page *ts_page_new(const ts_page_desc *desc, ts_error *err);
int ts_page_port(const ts_page *p);
/* Serves until SIGTERM or SIGINT: then nothing more is accepted, what waits is refused (503), what runs is ended at its next step
 * and answered. A second signal ends the process. */
void ts_page_run(ts_page *p);
void ts_page_free(ts_page *p);
/* Whether this build has a server at all. */
bool ts_page_built(void);

/* ---- what a job brings -------------------------------------------------------------------------------------------- */

const cJSON *ts_page_body(const ts_page_job *job); /* the object that was sent; NULL for GET */
int64_t ts_page_number(const ts_page_job *job);    /* that of the path */
bool ts_page_listens(const ts_page_job *job);      /* the client wants events */
/* Whether nobody waits for the answer any more: the client has gone, its time is over, or the server ends. Work of several steps
 * asks between them and fails then, with whatever sentence. */
bool ts_page_gone(ts_page_job *job);

/* Decodes a field's picture: a text in base64, after "data:...;base64," or without. It is refused by its header where it has more
 * pixels than are allowed, or more than eight times as many together with those decoded for this job before. `label` names it in
 * errors. */
bool ts_page_picture(ts_page_job *job, const cJSON *value, const char *label, ts_image *out, ts_error *err);

/* Fields of an object. One that is absent (or null) leaves `value` as it is; one of another kind or out of range is an error that
 * names it. A NULL object has no fields. */
bool ts_page_int(const cJSON *object, const char *name, int low, int high, int *value, ts_error *err);
bool ts_page_real(const cJSON *object, const char *name, double low, double high, double *value, ts_error *err);
bool ts_page_flag(const cJSON *object, const char *name, bool *value, ts_error *err);
bool ts_page_text(const cJSON *object, const char *name, const char **value, ts_error *err); /* the object's own */
/* An array with `least` to `most` items. */
bool ts_page_list(const cJSON *object, const char *name, int least, int most, const cJSON **value, ts_error *err);
/* Fails where the object has a field that is not among `names`, which are separated by spaces. */
bool ts_page_fields(const cJSON *object, const char *names, ts_error *err);

/* ---- what it gives back ------------------------------------------------------------------------------------------- */

/* The HTTP status of a failure. */
void ts_page_status(ts_page_job *job, int status);
/* Sends an event to a client that listens to them. `data` is taken over; NULL is what is left where memory was short, and is
 * passed over. */
void ts_page_tell(ts_page_job *job, const char *event, cJSON *data);
/* Takes over `bytes` (malloc) as the answer, in the place of the object. `type`: "image/jpeg". */
void ts_page_send(ts_page_job *job, const char *type, uint8_t *bytes, size_t size);
/* Adds bytes to an object as base64. False: out of memory. */
bool ts_page_add_bytes(cJSON *object, const char *name, const uint8_t *bytes, size_t size);

#endif
