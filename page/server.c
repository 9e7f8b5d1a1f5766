/* server.c - the server on libmicrohttpd: connections and their time limits, requests up to the job that they become, answers and
 * events on their way back. One thread of the library's does all of that; a connection whose job waits is suspended meanwhile.
 *
 * The library limits idle time alone, and a client that sends a byte now and then is never idle: connections are watched here. */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "page/internal.h"

enum { HEAD_BYTES = 32768, TICK_MS = 50, LAST_ANSWERS_MS = 5000, BODIES = 4 };

/* A connection, with or without a request on it. */
typedef struct client client;
struct client {
    int fd;
    double since; /* what it is at began, ms */
    bool waits;   /* for its job, which has a limit of its own */
    client *newer, *older;
};

typedef struct {
    struct MHD_Daemon *daemon;
    client *newest;
    int requests; /* that are not over */
} server;

static atomic_int asked_to_end;

bool ts_page_built(void)
{
    return true;
}

/* ---- connections -------------------------------------------------------------------------------------------------- */

static client *client_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void connection_changed(void *ctx, struct MHD_Connection *c, void **mine, enum MHD_ConnectionNotificationCode what)
{
    ts_page *p = ctx;
    server *s = p->server;
    pthread_mutex_lock(&p->lock);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        client *l = calloc(1, sizeof *l); /* without memory it is one that nobody watches */
        if (l && info) {
            *l = (client){.fd = info->connect_fd, .since = page_now_ms(), .older = s->newest};
            if (s->newest) s->newest->newer = l;
            s->newest = l;
        }
        *mine = l;
    } else if (*mine) {
        client *l = *mine;
        if (l->newer) l->newer->older = l->older;
        else s->newest = l->older;
        if (l->older) l->older->newer = l->newer;
        free(l);
        *mine = NULL;
    }
    pthread_mutex_unlock(&p->lock);
}

/* From now on it is at something else. With the lock held. */
static void client_turns(struct MHD_Connection *c, bool waits)
{
    client *l = client_of(c);
    if (!l) return;
    l->since = page_now_ms();
    l->waits = waits;
}

/* Its job is done: from now on it is its own time that passes. With the lock held. */
static void client_answers(struct MHD_Connection *c)
{
    const client *l = client_of(c);
    if (l && l->waits) client_turns(c, false);
}

static bool hung_up(int fd)
{
    struct pollfd f = {.fd = fd, .events = POLLRDHUP};
    return poll(&f, 1, 0) > 0 && (f.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* What has to be looked at now and then: clients that are gone or slow, jobs whose time is over. */
static void tick(ts_page *p)
{
    server *s = p->server;
    const double now = page_now_ms();
    pthread_mutex_lock(&p->lock);
    for (client *l = s->newest; l; l = l->older)
        if (!l->waits && now - l->since > 1e3 * p->desc.patience) {
            shutdown(l->fd, SHUT_RDWR); /* the library sees it, and closes it */
            l->since = now;
        }
    for (ts_page_job *job = p->newest, *older; job; job = older) {
        older = job->older;
        if (job->stage != PAGE_WAITING && job->stage != PAGE_RUNNING) continue;
        page_job_hold(job);
        if (job->closed || hung_up(job->fd)) page_job_leave(job, false);
        else if (now > job->deadline) page_job_leave(job, true);
        older = job->older;
        page_job_drop(job);
    }
    pthread_mutex_unlock(&p->lock);
}

static void wake(ts_page_job *job)
{
    MHD_resume_connection(job->connection);
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void add_headers(struct MHD_Response *r, const char *type, bool kept)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
                                    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) MHD_add_response_header(r, headers[i][0], headers[i][1]);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, kept ? "private, max-age=3600" : "no-store");
}

static enum MHD_Result queue_response(struct MHD_Connection *c, int status, struct MHD_Response *r)
{
    if (!r) return MHD_NO;
    if (status == 429 || status == 503) MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "2");
    if (status == 401) MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    const enum MHD_Result result = MHD_queue_response(c, (unsigned)status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result send_file(struct MHD_Connection *c, const page_file *f)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(f->size, (void *)f->bytes, MHD_RESPMEM_PERSISTENT);
    if (r) add_headers(r, f->type, false);
    return queue_response(c, MHD_HTTP_OK, r);
}

/* Sends what the job has, which is no longer its own. */
static enum MHD_Result send_answer(struct MHD_Connection *c, ts_page_job *job)
{
    static const char nothing[] = "";
    ts_page *p = job->page;
    pthread_mutex_lock(&p->lock);
    uint8_t *bytes = job->out;
    const size_t size = job->out_size;
    job->out = NULL;
    job->out_size = 0;
    client_turns(c, false);
    pthread_mutex_unlock(&p->lock);
    struct MHD_Response *r = bytes ? MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE)
                                   : MHD_create_response_from_buffer(0, (void *)nothing, MHD_RESPMEM_PERSISTENT);
    if (!r) {
        free(bytes);
        return MHD_NO;
    }
    const char *type = job->type ? job->type : "application/json";
    add_headers(r, type, strncmp(type, "image/", 6) == 0);
    return queue_response(c, bytes ? job->status : 500, r);
}

static enum MHD_Result refuse(struct MHD_Connection *c, ts_page_job *job, int status, const char *why)
{
    pthread_mutex_lock(&job->page->lock);
    job->stream = false;
    page_job_refuse(job, status, why);
    pthread_mutex_unlock(&job->page->lock);
    return send_answer(c, job);
}

/* The next of a job's events; where there is none yet, the connection waits until there is. */
static ssize_t read_events(void *ctx, uint64_t at, char *out, size_t room)
{
    ts_page_job *job = ctx;
    (void)at;
    pthread_mutex_lock(&job->page->lock);
    const size_t left = job->out_size - job->out_sent, n = left < room ? left : room;
    ssize_t result = (ssize_t)n;
    if (job->stage == PAGE_DONE) client_answers(job->connection);
    if (n > 0) {
        memcpy(out, job->out + job->out_sent, n);
        job->out_sent += n;
        if (job->out_sent == job->out_size) job->out_sent = job->out_size = 0;
    } else if (job->stage == PAGE_DONE) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        job->suspended = true;
        MHD_suspend_connection(job->connection);
    }
    pthread_mutex_unlock(&job->page->lock);
    return result;
}

static enum MHD_Result send_events(struct MHD_Connection *c, ts_page_job *job)
{
    enum { BLOCK = 65536 };
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_events, job, NULL);
    if (r) add_headers(r, "text/event-stream", false);
    return queue_response(c, MHD_HTTP_OK, r);
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static bool is_interface(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/v1") == 0;
}

static const page_file *find_file(const char *path)
{
    const char *name = strcmp(path, "/") == 0 ? "/index.html" : path;
    for (const page_file *f = page_files; f->path; f++)
        if (strcmp(f->path, name) == 0) return f;
    return NULL;
}

/* What the head alone tells: 0, or the status. */
static int check_head(ts_page *p, struct MHD_Connection *c, const char *path, const char *method, ts_page_job *job, ts_error *err)
{
    const page_head head = {.host = header(c, MHD_HTTP_HEADER_HOST),
                            .origin = header(c, "Origin"),
                            .fetch_site = header(c, "Sec-Fetch-Site"),
                            .authorization = header(c, MHD_HTTP_HEADER_AUTHORIZATION),
                            .content_type = header(c, MHD_HTTP_HEADER_CONTENT_TYPE),
                            .content_length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH)};
    const bool interface = is_interface(path), post = strcmp(method, "POST") == 0;
    int status = page_head_check(&head, &p->rules, interface, interface && post, err);
    if (status) return status;
    if (!interface) {
        if (!find_file(path)) ts_fail(err, TS_ERR_ARGUMENT, "there is nothing at this address");
        else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
            ts_fail(err, TS_ERR_ARGUMENT, "a file of the page can be got, and nothing else");
        return !find_file(path) ? 404 : err->code ? 405 : 0;
    }
    const int route = page_route_find(p->desc.routes, p->desc.route_count, method, path, &job->number);
    if (route < 0) {
        ts_fail(err, TS_ERR_ARGUMENT,
                route == -1 ? "there is nothing at this address: docs/serve.md tells what there is"
                            : "this address is not for %s",
                method);
        return route == -1 ? 404 : 405;
    }
    const char *accept = header(c, MHD_HTTP_HEADER_ACCEPT);
    job->route = &p->desc.routes[route];
    job->stream = post && accept && strstr(accept, "text/event-stream");
    return 0;
}

/* The first that is heard of a request: it gets a job, or a refusal. */
static enum MHD_Result begin(ts_page *p, struct MHD_Connection *c, const char *path, const char *method, void **mine)
{
    server *s = p->server;
    ts_error err = {0};
    pthread_mutex_lock(&p->lock);
    ts_page_job *job = page_job_new(p);
    if (job) s->requests++;
    client_turns(c, false);
    const bool stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    if (!job) return MHD_NO;
    *mine = job;
    job->connection = c;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info) job->fd = info->connect_fd;
    if (stopping) return refuse(c, job, 503, "the server is being ended");
    const int status = check_head(p, c, path, method, job, &err);
    return status ? refuse(c, job, status, err.text) : MHD_YES;
}

/* Takes some more of the body; what is too much is passed over, and refused at its end. */
static enum MHD_Result take(ts_page *p, ts_page_job *job, const char *bytes, size_t size)
{
    static const size_t grain = 65536;
    const size_t most = p->rules.most_bytes;
    enum MHD_Result result = MHD_YES;
    pthread_mutex_lock(&p->lock);
    const size_t need = job->size + size;
    if (job->status == 0 && need > most) job->status = 413;
    if (job->status == 0 && p->held + size > BODIES * most) job->status = 429;
    if (job->status == 0 && need > job->room) {
        const size_t room = need + need / 2 + grain;
        char *grown = realloc(job->body, room);
        if (grown) {
            job->body = grown;
            job->room = room;
        } else {
            job->status = 503;
        }
    }
    if (job->status == 0) {
        memcpy(job->body + job->size, bytes, size);
        job->size += size;
        p->held += size;
    } else {
        job->passed += size; /* but not without end */
        if (job->passed > most) result = MHD_NO;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

static enum MHD_Result refuse_body(struct MHD_Connection *c, ts_page_job *job)
{
    const int status = job->status;
    job->status = 0;
    return refuse(c, job, status,
                  status == 413   ? "the request is longer than is taken: --most-megabytes says how long"
                  : status == 429 ? "too much is being sent at once: try again"
                                  : "there is no memory for the request");
}

/* The request is there as a whole. */
static enum MHD_Result submit(ts_page *p, struct MHD_Connection *c, ts_page_job *job)
{
    if (job->route->lane == TS_PAGE_AT_ONCE) {
        page_work(job);
        return job->stream ? send_events(c, job) : send_answer(c, job);
    }
    pthread_mutex_lock(&p->lock);
    const bool taken = !p->stopping && page_job_push(job);
    if (taken) client_turns(c, true);
    if (taken && !job->stream) {
        job->suspended = true;
        MHD_suspend_connection(c);
    }
    const bool stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    if (!taken)
        return refuse(c, job, stopping ? 503 : 429,
                      stopping ? "the server is being ended" : "the queue is full: try again in a while");
    return job->stream ? send_events(c, job) : MHD_YES;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *c, const char *path, const char *method, const char *version,
                              const char *bytes, size_t *size, void **mine)
{
    ts_page *p = ctx;
    ts_page_job *job = *mine;
    (void)version;
    if (!job) return begin(p, c, path, method, mine);
    if (*size > 0) {
        const enum MHD_Result result = take(p, job, bytes, *size);
        *size = 0;
        return result;
    }
    if (!is_interface(path)) return send_file(c, find_file(path));
    pthread_mutex_lock(&p->lock);
    const page_stage stage = job->stage;
    const int status = job->status;
    pthread_mutex_unlock(&p->lock);
    if (stage == PAGE_DONE) return send_answer(c, job);
    if (stage != PAGE_READING) return MHD_YES; /* it is still waited for */
    return status ? refuse_body(c, job) : submit(p, c, job);
}

static void completed(void *ctx, struct MHD_Connection *c, void **mine, enum MHD_RequestTerminationCode how)
{
    ts_page *p = ctx;
    server *s = p->server;
    ts_page_job *job = *mine;
    (void)how;
    if (!job) return;
    *mine = NULL;
    pthread_mutex_lock(&p->lock);
    client_turns(c, false);
    job->closed = true;
    job->fd = -1;
    job->suspended = false;
    page_job_leave(job, false);
    page_job_drop(job);
    s->requests--;
    pthread_mutex_unlock(&p->lock);
}

/* ---- the server --------------------------------------------------------------------------------------------------- */

/* A socket that listens at the address; -1. */
static int listen_at(const ts_page_desc *d, ts_error *err)
{
    char port[16];
    struct addrinfo *found = NULL;
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    snprintf(port, sizeof port, "%d", d->port);
    const int wrong = getaddrinfo(d->host, port, &want, &found);
    if (wrong != 0) {
        ts_fail(err, TS_ERR_ARGUMENT, "%s is no address of this machine: %s", d->host, gai_strerror(wrong));
        return -1;
    }
    const int one = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    const int why = errno;
    freeaddrinfo(found);
    if (ok) return fd;
    if (fd >= 0) close(fd);
    if (why == EADDRINUSE)
        ts_fail(err, TS_ERR_IO, "port %d of %s is taken already: --port says another, 0 any that is free", d->port, d->host);
    else ts_fail(err, TS_ERR_IO, "cannot listen at port %d of %s: %s", d->port, d->host, strerror(why));
    return -1;
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } at = {.six = {0}};
    socklen_t size = sizeof at;
    if (getsockname(fd, &at.any, &size) != 0) return 0;
    return ntohs(at.any.sa_family == AF_INET6 ? at.six.sin6_port : at.four.sin_port);
}

static void say_nothing(void *ctx, const char *format, va_list args)
{
    (void)ctx;
    (void)format;
    (void)args;
}

static bool start(ts_page *p, ts_error *err)
{
    server *s = p->server;
    const int fd = listen_at(&p->desc, err);
    if (fd < 0) return false;
    p->port = port_of(fd);
    if (!page_lanes_start(p, err)) {
        close(fd);
        return false;
    }
    s->daemon =
        MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle, p,
                         MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)p->desc.most_clients, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)p->desc.patience,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES * 4, MHD_OPTION_NOTIFY_COMPLETED, completed, p,
                         MHD_OPTION_NOTIFY_CONNECTION, connection_changed, p, MHD_OPTION_END);
    if (s->daemon) return true; /* else the library has closed the socket */
    return ts_fail(err, TS_ERR_IO, "the server cannot be started at port %d", p->port);
}

static int or_else(int value, int otherwise)
{
    return value ? value : otherwise;
}

ts_page *ts_page_new(const ts_page_desc *desc, ts_error *err)
{
    ts_page *p = calloc(1, sizeof *p);
    server *s = calloc(1, sizeof *s);
    if (!p || !s) {
        free(p);
        free(s);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->desc = *desc;
    ts_page_desc *d = &p->desc;
    if (!d->host) d->host = "127.0.0.1";
    d->most_megabytes = or_else(d->most_megabytes, 64);
    d->most_megapixels = or_else(d->most_megapixels, 50);
    d->most_waiting = or_else(d->most_waiting, 16);
    d->most_clients = or_else(d->most_clients, 128);
    d->patience = or_else(d->patience, 60);
    d->most_seconds = or_else(d->most_seconds, 600);
    p->rules = (page_rules){d->host, d->names, d->name_count, d->token, (size_t)d->most_megabytes << 20};
    p->server = s;
    p->wake = wake;
    pthread_mutex_init(&p->lock, NULL);
    if (start(p, err)) return p;
    ts_page_free(p);
    return NULL;
}

int ts_page_port(const ts_page *p)
{
    return p->port;
}

static void note_signal(int number)
{
    (void)number;
    asked_to_end = 1;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* Nothing new is accepted, what waits is refused, what runs comes to its end, and the answers go out. */
static void end(ts_page *p)
{
    server *s = p->server;
    const int fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0) close(fd);
    page_lanes_stop(p);
    const double began = page_now_ms();
    for (int left = 1; left > 0 && page_now_ms() - began < LAST_ANSWERS_MS; sleep_ms(TICK_MS)) {
        tick(p);
        pthread_mutex_lock(&p->lock);
        left = s->requests;
        pthread_mutex_unlock(&p->lock);
    }
}

void ts_page_run(ts_page *p)
{
    struct sigaction by = {.sa_handler = note_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    struct sigaction before[2];
    sigemptyset(&by.sa_mask);
    signal(SIGPIPE, SIG_IGN); /* a client that goes is no reason to end */
    sigaction(SIGTERM, &by, &before[0]);
    sigaction(SIGINT, &by, &before[1]);
    while (!asked_to_end) {
        sleep_ms(TICK_MS);
        tick(p);
    }
    end(p);
    asked_to_end = 0;
    sigaction(SIGTERM, &before[0], NULL);
    sigaction(SIGINT, &before[1], NULL);
}

void ts_page_free(ts_page *p)
{
    if (!p) return;
    server *s = p->server;
    page_lanes_stop(p);
    if (s->daemon) MHD_stop_daemon(s->daemon);
    pthread_mutex_destroy(&p->lock);
    free(s);
    free(p);
}
