/* queue.c - jobs and the lanes that do them. One lock guards all of it: it is held for a few instructions at a time, and never
 * while work is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "page/internal.h"

double page_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- a job's life ------------------------------------------------------------------------------------------------- */

ts_page_job *page_job_new(ts_page *p)
{
    ts_page_job *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->page = p;
    job->refs = 1;
    job->fd = -1;
    job->older = p->newest;
    if (p->newest) p->newest->newer = job;
    p->newest = job;
    return job;
}

void page_job_hold(ts_page_job *job)
{
    job->refs++;
}

static void forget_body(ts_page_job *job)
{
    job->page->held -= job->size;
    free(job->body);
    job->body = NULL;
    job->size = job->room = 0;
}

void page_job_drop(ts_page_job *job)
{
    if (--job->refs > 0) return;
    if (job->newer) job->newer->older = job->older;
    else job->page->newest = job->older;
    if (job->older) job->older->newer = job->newer;
    forget_body(job);
    cJSON_Delete(job->json);
    free(job->out);
    free(job);
}

/* ---- what goes out ------------------------------------------------------------------------------------------------ */

static bool append(ts_page_job *job, const char *text, size_t size)
{
    if (!job->out || job->out_size + size > job->out_room) {
        const size_t room = 2 * (job->out_size + size);
        uint8_t *grown = realloc(job->out, room);
        if (!grown) return false;
        job->out = grown;
        job->out_room = room;
    }
    memcpy(job->out + job->out_size, text, size);
    job->out_size += size;
    return true;
}

static void wake(ts_page_job *job)
{
    if (!job->suspended) return;
    job->suspended = false;
    job->page->wake(job);
}

/* "event: NAME\ndata: ...\n\n"; the JSON has no line ends. */
static void push_event(ts_page_job *job, const char *event, const char *data)
{
    append(job, "event: ", 7);
    append(job, event, strlen(event));
    append(job, "\ndata: ", 7);
    append(job, data, strlen(data));
    append(job, "\n\n", 2);
    wake(job);
}

void ts_page_tell(ts_page_job *job, const char *event, cJSON *data)
{
    char *text = data && job->stream ? cJSON_PrintUnformatted(data) : NULL;
    cJSON_Delete(data);
    if (!text) return;
    pthread_mutex_lock(&job->page->lock);
    if (!job->closed && job->stage != PAGE_DONE) push_event(job, event, text);
    pthread_mutex_unlock(&job->page->lock);
    cJSON_free(text);
}

static void tell_place(ts_page_job *job, int ahead)
{
    char data[64];
    snprintf(data, sizeof data, "{\"ahead\":%d}", ahead);
    if (job->stream) push_event(job, "waiting", data);
}

/* The answer is there: `bytes` is taken over. */
static void finish(ts_page_job *job, int status, const char *type, uint8_t *bytes, size_t size)
{
    job->stage = PAGE_DONE;
    if (job->stream) {
        if (bytes) push_event(job, status == 200 ? "answer" : "problem", (const char *)bytes);
        free(bytes);
    } else {
        free(job->out);
        job->status = status;
        job->type = type;
        job->out = bytes;
        job->out_size = size;
    }
    wake(job);
}

/* {"error": {"status": 400, "message": "..."}}; free(). */
static char *problem_text(int status, const char *why)
{
    cJSON *json = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddNumberToObject(error, "status", status);
    char *text = cJSON_AddStringToObject(error, "message", why) ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    return text;
}

void page_job_refuse(ts_page_job *job, int status, const char *why)
{
    char *text = problem_text(status, why);
    finish(job, status, "application/json", (uint8_t *)text, text ? strlen(text) : 0);
}

/* ---- work --------------------------------------------------------------------------------------------------------- */

const cJSON *ts_page_body(const ts_page_job *job)
{
    return job->json;
}

int64_t ts_page_number(const ts_page_job *job)
{
    return job->number;
}

bool ts_page_listens(const ts_page_job *job)
{
    return job->stream;
}

bool ts_page_gone(ts_page_job *job)
{
    pthread_mutex_lock(&job->page->lock);
    const bool gone = job->gone || job->page->stopping;
    pthread_mutex_unlock(&job->page->lock);
    return gone;
}

void ts_page_status(ts_page_job *job, int status)
{
    job->status = status;
}

void ts_page_send(ts_page_job *job, const char *type, uint8_t *bytes, size_t size)
{
    free(job->out);
    job->type = type;
    job->out = bytes;
    job->out_size = size;
}

bool ts_page_picture(ts_page_job *job, const cJSON *value, const char *label, ts_image *out, ts_error *err)
{
    const int64_t each = (int64_t)job->page->desc.most_megapixels * 1000000, all = 8 * each - job->pixels;
    int64_t pixels = 0;
    *out = (ts_image){0};
    if (!value || cJSON_IsNull(value)) return ts_fail(err, TS_ERR_ARGUMENT, "%s is missing", label);
    if (!cJSON_IsString(value)) return ts_fail(err, TS_ERR_ARGUMENT, "%s must be a picture in base64", label);
    if (!page_picture_read(value->valuestring, label, each < all ? each : all, &pixels, out, err)) return false;
    job->pixels += pixels;
    return true;
}

static int status_of(const ts_page_job *job, ts_code code)
{
    const bool ours = code == TS_ERR_MEMORY || code == TS_ERR_IO || code == TS_ERR_DEVICE || code == TS_ERR_DEVICE_LOST;
    return job->status ? job->status : ours ? 500 : 400;
}

/* The body is given back before the work begins: what it holds is in the object. */
static bool read_body(ts_page_job *job, ts_error *err)
{
    if (strcmp(job->route->method, "POST") != 0) return true;
    job->json = page_body_read(job->body ? job->body : "", job->size, err);
    pthread_mutex_lock(&job->page->lock);
    forget_body(job);
    pthread_mutex_unlock(&job->page->lock);
    return job->json != NULL;
}

static void finish_work(ts_page_job *job, bool ok, cJSON *answer, ts_error *err)
{
    const bool sent = ok && job->type;
    char *text = ok && !sent ? cJSON_PrintUnformatted(answer) : NULL;
    if (ok && !sent && !text) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for the answer");
    uint8_t *bytes = sent ? job->out : (uint8_t *)text;
    const size_t size = sent ? job->out_size : text ? strlen(text) : 0;
    pthread_mutex_lock(&job->page->lock);
    if (sent) job->out = NULL;
    if (ok) finish(job, 200, sent ? job->type : "application/json", bytes, size);
    else if (job->late) page_job_refuse(job, 503, "the work took longer than is allowed: --most-seconds says how long");
    else if (job->page->stopping) page_job_refuse(job, 503, "the server is being ended");
    else page_job_refuse(job, status_of(job, err->code), err->text);
    pthread_mutex_unlock(&job->page->lock);
}

void page_work(ts_page_job *job)
{
    ts_error err = {0};
    cJSON *answer = cJSON_CreateObject();
    bool ok = answer || ts_fail(&err, TS_ERR_MEMORY, "out of memory");
    ok = ok && read_body(job, &err) && job->route->work(job->page->desc.ctx, job, answer, &err);
    cJSON_Delete(job->json);
    job->json = NULL;
    finish_work(job, ok, answer, &err);
    cJSON_Delete(answer);
}

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

static page_lane *lane_of(const ts_page_job *job)
{
    return &job->page->lane[job->route->lane];
}

bool page_job_push(ts_page_job *job)
{
    page_lane *lane = lane_of(job);
    if (lane->waiting >= job->page->desc.most_waiting) return false;
    page_job_hold(job);
    job->stage = PAGE_WAITING;
    job->deadline = page_now_ms() + 1e3 * job->page->desc.most_seconds;
    if (lane->last) lane->last->next = job;
    else lane->first = job;
    lane->last = job;
    lane->waiting++;
    tell_place(job, lane->waiting - 1 + (lane->running != NULL));
    pthread_cond_signal(&lane->more);
    return true;
}

static void take_out(ts_page_job *job)
{
    page_lane *lane = lane_of(job);
    ts_page_job *before = NULL, *at = lane->first;
    while (at != job) {
        before = at;
        at = at->next;
    }
    if (before) before->next = job->next;
    else lane->first = job->next;
    if (lane->last == job) lane->last = before;
    job->next = NULL;
    lane->waiting--;
}

static ts_page_job *take_first(page_lane *lane)
{
    ts_page_job *job = lane->first;
    lane->first = job->next;
    if (!lane->first) lane->last = NULL;
    job->next = NULL;
    lane->waiting--;
    return job;
}

void page_job_leave(ts_page_job *job, bool late)
{
    if (job->gone) return;
    job->gone = true;
    job->late = late;
    if (job->stage != PAGE_WAITING) return;
    take_out(job);
    page_job_refuse(job, 503,
                    late ? "the queue was longer than the time that is allowed: --most-seconds" : "the client has gone");
    page_job_drop(job);
}

static void *run_lane(void *data)
{
    page_lane *lane = data;
    ts_page *p = lane->page;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!lane->first && !p->stopping) pthread_cond_wait(&lane->more, &p->lock);
        if (p->stopping) break;
        ts_page_job *job = take_first(lane);
        lane->running = job;
        job->stage = PAGE_RUNNING;
        int ahead = 1;
        for (ts_page_job *w = lane->first; w; w = w->next) tell_place(w, ahead++);
        if (job->stream) push_event(job, "begun", "{}");
        pthread_mutex_unlock(&p->lock);
        page_work(job);
        pthread_mutex_lock(&p->lock);
        lane->running = NULL;
        page_job_drop(job);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

bool page_lanes_start(ts_page *p, ts_error *err)
{
    for (int i = 0; i < TS_PAGE_LANES; i++) {
        page_lane *lane = &p->lane[i];
        lane->page = p;
        pthread_cond_init(&lane->more, NULL);
        lane->started = pthread_create(&lane->thread, NULL, run_lane, lane) == 0;
        if (!lane->started) return ts_fail(err, TS_ERR_MEMORY, "no thread can be started");
    }
    return true;
}

void page_lanes_stop(ts_page *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    for (int i = 0; i < TS_PAGE_LANES; i++) {
        while (p->lane[i].first) {
            ts_page_job *job = take_first(&p->lane[i]);
            page_job_refuse(job, 503, "the server is being ended");
            page_job_drop(job);
        }
        if (p->lane[i].started) pthread_cond_broadcast(&p->lane[i].more);
    }
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < TS_PAGE_LANES; i++) {
        if (!p->lane[i].started) continue;
        pthread_join(p->lane[i].thread, NULL);
        pthread_cond_destroy(&p->lane[i].more);
        p->lane[i].started = false;
    }
}
