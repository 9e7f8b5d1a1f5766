/* The server with work of its own and clients that mean no good: wrong names, other sites, too much, too slow, gone. */
#include "../support/http.h"
#include "../support/support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "page/page.h"

static atomic_int begun, gone, done;
static atomic_bool release_all;

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* Waits until something is so, for ten seconds at most. */
#define wait_until(what)                                                                                                         \
    for (int tries = 0; !(what); tries++) {                                                                                      \
        if (tries > 1000) fail_msg("it never was that " #what);                                                                  \
        sleep_ms(10);                                                                                                            \
    }

static bool measure(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    ts_image img = {0};
    (void)ctx;
    if (!ts_page_fields(ts_page_body(job), "picture", err) ||
        !ts_page_picture(job, cJSON_GetObjectItem(ts_page_body(job), "picture"), "the picture", &img, err))
        return false;
    cJSON_AddNumberToObject(answer, "width", img.width);
    ts_image_clear(&img);
    return true;
}

/* Works until it is let go, or nobody waits any more. */
static bool linger(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    (void)ctx;
    begun++;
    cJSON *event = cJSON_CreateObject();
    cJSON_AddNumberToObject(event, "done", 1);
    ts_page_tell(job, "progress", event);
    while (!release_all && !ts_page_gone(job)) sleep_ms(5);
    done++;
    if (!ts_page_gone(job)) return cJSON_AddTrueToObject(answer, "lingered") != NULL;
    gone++;
    return ts_fail(err, TS_ERR_IO, "gone");
}

static bool number(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    (void)ctx;
    (void)answer;
    (void)err;
    uint8_t *bytes = malloc(32);
    if (!bytes) return false;
    const int size = snprintf((char *)bytes, 32, "number %lld", (long long)ts_page_number(job));
    ts_page_send(job, "image/x-test", bytes, (size_t)size);
    return true;
}

static const ts_page_route routes[] = {{"POST", "/v1/measure", measure, TS_PAGE_PICTURES},
                                       {"POST", "/v1/linger", linger, TS_PAGE_MODELS},
                                       {"GET", "/v1/numbers/{number}", number, TS_PAGE_AT_ONCE}};

/* ---- a server for a test ---- */

typedef struct {
    ts_page *page;
    pthread_t thread;
    int port;
} running;

static void *serve(void *page)
{
    ts_page_run(page);
    return NULL;
}

static running start(ts_page_desc desc)
{
    running r;
    ts_error err = {0};
    desc.routes = routes;
    desc.route_count = sizeof routes / sizeof *routes;
    if (!ts_page_built()) skip();
    begun = gone = done = 0;
    release_all = false;
    r.page = ts_page_new(&desc, &err);
    if (!r.page) fail_msg("%s", err.text);
    r.port = ts_page_port(r.page);
    assert_int_equal(pthread_create(&r.thread, NULL, serve, r.page), 0);
    sleep_ms(50); /* until it minds signals */
    return r;
}

static void stop(running *r)
{
    kill(getpid(), SIGTERM);
    pthread_join(r->thread, NULL);
    ts_page_free(r->page);
}

static void expect(int port, const char *method, const char *path, const char *more, const char *body, int status,
                   const char *word)
{
    char *heard = http_ask(port, method, path, more, body);
    if (http_status(heard) != status || (word && !strstr(heard, word)))
        fail_msg("%s %s %s: %d was wanted with \"%s\", not: %s", method, path, more, status, word ? word : "", heard);
    free(heard);
}

/* ---- tests ---- */

static void files(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    expect(r.port, "GET", "/", "", NULL, 200, "<title>Tessera</title>");
    expect(r.port, "GET", "/", "", NULL, 200, "Content-Security-Policy: default-src 'none'; script-src 'self'");
    expect(r.port, "GET", "/app.js", "", NULL, 200, "text/javascript");
    expect(r.port, "HEAD", "/style.css", "", NULL, 200, "text/css");
    expect(r.port, "GET", "/icon.svg", "", NULL, 200, "nosniff");
    static const char *const nothing[] = {"/../etc/passwd", "/etc/passwd",   "/%2e%2e/%2e%2e/etc/passwd",
                                          "//app.js",       "/app.js/",      "/v1",
                                          "/v1/",           "/v1/numbers/x", "/v1/numbers/../measure"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) expect(r.port, "GET", nothing[i], "", NULL, 404, NULL);
    expect(r.port, "POST", "/app.js", "", "{}", 405, NULL);
    expect(r.port, "GET", "/v1/measure", "", NULL, 405, NULL);
    expect(r.port, "DELETE", "/v1/measure", "", NULL, 405, NULL);
    expect(r.port, "GET", "/v1/numbers/17", "", NULL, 200, "number 17");
    stop(&r);
}

static void strangers(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    expect(r.port, "GET", "/", "Host: evil.example\r\n", NULL, 421, "not called by that name");
    expect(r.port, "GET", "/v1/numbers/1", "Host: evil.example:80\r\n", NULL, 421, NULL);
    expect(r.port, "GET", "/v1/numbers/1", "Host: localhost:8080\r\n", NULL, 200, NULL);
    expect(r.port, "POST", "/v1/measure", "Origin: http://evil.example\r\n", "{}", 403, "another site");
    expect(r.port, "POST", "/v1/measure", "Origin: null\r\n", "{}", 403, NULL);
    expect(r.port, "GET", "/v1/numbers/1", "Sec-Fetch-Site: cross-site\r\n", NULL, 403, NULL);
    expect(r.port, "GET", "/", "Sec-Fetch-Site: cross-site\r\n", NULL, 200, NULL); /* a link leads here */
    expect(r.port, "POST", "/v1/measure", "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n", "{}", 400, "the picture is missing");
    expect(r.port, "OPTIONS", "/v1/measure", "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n", NULL, 403,
           NULL);
    expect(r.port, "OPTIONS", "/v1/measure", "", NULL, 405, NULL);
    stop(&r);
}

static void tokens(void **state)
{
    (void)state;
    running r = start((ts_page_desc){.token = "sesame"});
    expect(r.port, "GET", "/", "", NULL, 200, NULL);
    expect(r.port, "GET", "/v1/numbers/1", "", NULL, 401, "WWW-Authenticate: Bearer");
    expect(r.port, "GET", "/v1/numbers/1", "Authorization: Bearer sesam\r\n", NULL, 401, NULL);
    expect(r.port, "GET", "/v1/numbers/1", "Authorization: Bearer sesame\r\n", NULL, 200, NULL);
    stop(&r);
}

static void bodies(void **state)
{
    (void)state;
    running r = start((ts_page_desc){.most_megabytes = 1});
    expect(r.port, "POST", "/v1/measure", "", "no JSON", 400, "no JSON object");
    expect(r.port, "POST", "/v1/measure", "", "{\"picture\":1}", 400, "must be a picture in base64");
    expect(r.port, "POST", "/v1/measure", "", "{\"picture\":\"!\"}", 400, "no base64");
    expect(r.port, "POST", "/v1/measure", "", "{\"other\":1}", 400, "no field");
    int fd = http_open(r.port);
    http_say_text(fd, "POST /v1/measure HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    char *heard = http_hear(fd, 10);
    assert_int_equal(http_status(heard), 415);
    free(heard);
    close(fd);
    /* Told before anything is sent. */
    fd = http_open(r.port);
    http_say_text(
        fd, "POST /v1/measure HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\r\n");
    heard = http_hear(fd, 10);
    assert_int_equal(http_status(heard), 413);
    free(heard);
    close(fd);
    /* And without a word of the length, in chunks. */
    fd = http_open(r.port);
    http_say_text(fd, "POST /v1/measure HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
    char *chunk = malloc(65536);
    assert_non_null(chunk);
    memset(chunk, ' ', 65536);
    for (int i = 0; i < 17; i++) {
        http_say_text(fd, "10000\r\n");
        http_say(fd, chunk, 65536);
        http_say_text(fd, "\r\n");
    }
    http_say_text(fd, "0\r\n\r\n");
    heard = http_hear(fd, 10);
    assert_int_equal(http_status(heard), 413);
    free(heard);
    free(chunk);
    close(fd);
    stop(&r);
}

/* A PNG's head that tells of 16000 x 16000 pixels, with as many bytes behind it as such a picture of one colour has. */
static char *bomb(void)
{
    enum { SIZE = 400000 };
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const uint8_t head[] = {0x89, 'P', 'N', 'G',  '\r', '\n', 0x1a, '\n', 0,    0, 0, 13, 'I', 'H', 'D',
                                   'R',  0,   0,   0x3e, 0x80, 0,    0,    0x3e, 0x80, 8, 2, 0,  0,   0};
    uint8_t *bytes = calloc(1, SIZE);
    char *text = malloc(SIZE / 3 * 4 + 64), *at = text;
    assert_true(bytes && text);
    memcpy(bytes, head, sizeof head);
    at += sprintf(at, "{\"picture\":\"");
    for (int i = 0; i + 2 < SIZE; i += 3) {
        const uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int k = 0; k < 4; k++) *at++ = letters[group >> (18 - 6 * k) & 63];
    }
    strcpy(at, "\"}");
    free(bytes);
    return text;
}

static void bombs(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    char *body = bomb();
    expect(r.port, "POST", "/v1/measure", "", body, 400, "16000 x 16000");
    free(body);
    stop(&r);
}

/* A byte now and then keeps no connection for ever, neither of the head nor of the body. */
static void slow(void **state)
{
    (void)state;
    running r = start((ts_page_desc){.patience = 1});
    static const char *const starts[] = {"GET / HTTP/1.1\r\nHost: local",
                                         "POST /v1/measure HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                         "application/json\r\nContent-Length: 1000\r\n\r\n{"};
    for (int i = 0; i < 2; i++) {
        const int fd = http_open(r.port);
        http_say_text(fd, starts[i]);
        int said = 0;
        for (; said < 30; said++) {
            char *heard = http_hear(fd, 0.2);
            char next;
            const bool over = recv(fd, &next, 1, MSG_DONTWAIT) == 0 || send(fd, " ", 1, MSG_NOSIGNAL) < 0;
            free(heard);
            if (over) break;
        }
        if (said == 30) fail_msg("a client that says a byte now and then is heard for 6 seconds: %s", starts[i]);
        close(fd);
    }
    expect(r.port, "GET", "/", "", NULL, 200, NULL);
    stop(&r);
}

static int ask_linger(int port, bool events)
{
    const int fd = http_open(port);
    http_say_text(fd, "POST /v1/linger HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n");
    if (events) http_say_text(fd, "Accept: text/event-stream\r\n");
    http_say_text(fd, "Content-Length: 2\r\n\r\n{}");
    return fd;
}

static void full(void **state)
{
    (void)state;
    running r = start((ts_page_desc){.most_waiting = 1});
    const int first = ask_linger(r.port, false);
    wait_until(begun == 1);
    const int second = ask_linger(r.port, false);
    sleep_ms(100);
    const int third = ask_linger(r.port, false);
    char *heard = http_hear(third, 10);
    assert_int_equal(http_status(heard), 429);
    assert_non_null(strstr(heard, "Retry-After:"));
    free(heard);
    close(third);
    expect(r.port, "GET", "/v1/numbers/3", "", NULL, 200, NULL); /* all else goes on */
    release_all = true;
    const int both[] = {first, second};
    for (int i = 0; i < 2; i++) {
        heard = http_hear(both[i], 10);
        assert_int_equal(http_status(heard), 200);
        assert_non_null(strstr(heard, "\"lingered\":true"));
        free(heard);
        close(both[i]);
    }
    assert_int_equal(done, 2);
    stop(&r);
}

/* Work for nobody ends, and what waits for nobody never begins; with events and without. */
static void leaving(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    for (int events = 0; events < 2; events++) {
        begun = gone = done = 0;
        const int first = ask_linger(r.port, events);
        wait_until(begun == 1);
        const int second = ask_linger(r.port, events), third = ask_linger(r.port, events);
        sleep_ms(200);
        close(second);
        sleep_ms(300);
        close(first);
        wait_until(gone == 1);
        wait_until(begun == 2); /* the third, not the second */
        release_all = true;
        char *heard = http_hear(third, 10);
        assert_int_equal(http_status(heard), 200);
        assert_non_null(strstr(heard, "lingered"));
        free(heard);
        close(third);
        assert_int_equal(begun, 2);
        release_all = false;
    }
    stop(&r);
}

static void events(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    const int first = ask_linger(r.port, true);
    char *heard = http_hear_until(first, "progress", 10);
    assert_int_equal(http_status(heard), 200);
    assert_non_null(strstr(heard, "text/event-stream"));
    assert_non_null(strstr(heard, "event: waiting\ndata: {\"ahead\":0}\n\n"));
    assert_non_null(strstr(heard, "event: begun\n"));
    free(heard);
    const int second = ask_linger(r.port, true);
    heard = http_hear_until(second, "ahead", 10);
    assert_non_null(strstr(heard, "\"ahead\":1}"));
    free(heard);
    release_all = true;
    const int both[] = {first, second};
    for (int i = 0; i < 2; i++) {
        heard = http_hear(both[i], 10);
        assert_non_null(strstr(heard, "event: answer\ndata: {\"lingered\":true}\n\n"));
        free(heard);
        close(both[i]);
    }
    stop(&r);
}

static void late(void **state)
{
    (void)state;
    running r = start((ts_page_desc){.most_seconds = 1});
    const int first = ask_linger(r.port, false), second = ask_linger(r.port, true);
    char *heard = http_hear(first, 10);
    assert_int_equal(http_status(heard), 503);
    assert_non_null(strstr(heard, "--most-seconds"));
    free(heard);
    heard = http_hear(second, 10);
    assert_non_null(strstr(heard, "event: problem"));
    free(heard);
    close(first);
    close(second);
    stop(&r);
}

static void ending(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    const int first = ask_linger(r.port, false);
    wait_until(begun == 1);
    const int second = ask_linger(r.port, false), idle = http_open(r.port);
    sleep_ms(200);
    stop(&r);
    const int both[] = {first, second};
    for (int i = 0; i < 2; i++) {
        char *heard = http_hear(both[i], 10);
        assert_int_equal(http_status(heard), 503);
        free(heard);
        close(both[i]);
    }
    assert_int_equal(begun, 1);
    close(idle);
}

static void ports(void **state)
{
    (void)state;
    running r = start((ts_page_desc){0});
    ts_error err = {0};
    assert_null(ts_page_new(&(ts_page_desc){.port = r.port, .routes = routes, .route_count = 1}, &err));
    assert_non_null(strstr(err.text, "is taken already"));
    err = (ts_error){0};
    assert_null(ts_page_new(&(ts_page_desc){.host = "no.such.name.invalid", .routes = routes, .route_count = 1}, &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),  cmocka_unit_test(strangers), cmocka_unit_test(tokens), cmocka_unit_test(bodies),
        cmocka_unit_test(bombs),  cmocka_unit_test(slow),      cmocka_unit_test(full),   cmocka_unit_test(leaving),
        cmocka_unit_test(events), cmocka_unit_test(late),      cmocka_unit_test(ending), cmocka_unit_test(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
