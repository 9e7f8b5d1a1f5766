/* http.c - see http.h. */
#include "http.h"

#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int http_open(int port)
{
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

void http_say(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        const ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) return; /* the server may have had enough of it */
        at += sent;
        size -= (size_t)sent;
    }
}

void http_say_text(int fd, const char *text)
{
    http_say(fd, text, strlen(text));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

char *http_hear_until(int fd, const char *word, double seconds)
{
    size_t room = 1 << 16, used = 0;
    char *heard = malloc(room);
    assert_non_null(heard);
    heard[0] = '\0';
    const double end = now() + seconds;
    while (!word || !strstr(heard, word)) {
        const double left = end - now();
        struct pollfd f = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&f, 1, (int)(left * 1e3) + 1) <= 0) break;
        if (used + 1 == room) {
            room *= 2;
            char *grown = realloc(heard, room);
            assert_non_null(grown);
            heard = grown;
        }
        const ssize_t got = recv(fd, heard + used, room - used - 1, 0);
        if (got <= 0) break;
        used += (size_t)got;
        heard[used] = '\0';
    }
    return heard;
}

char *http_hear(int fd, double seconds)
{
    return http_hear_until(fd, NULL, seconds);
}

char *http_ask(int port, const char *method, const char *path, const char *more, const char *body)
{
    char length[128] = "";
    if (body) snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    const int fd = http_open(port);
    char head[2048];
    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\n%sConnection: close\r\n%s%s\r\n", method, path,
             strstr(more, "Host:") ? "" : "Host: 127.0.0.1\r\n", more, length);
    http_say_text(fd, head);
    if (body) http_say_text(fd, body);
    char *heard = http_hear(fd, 60);
    close(fd);
    return heard;
}

int http_status(const char *heard)
{
    int status = 0;
    return sscanf(heard, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

const char *http_body(const char *heard)
{
    const char *end = strstr(heard, "\r\n\r\n");
    return end ? end + 4 : "";
}

cJSON *http_json(const char *heard)
{
    return cJSON_Parse(http_body(heard));
}
