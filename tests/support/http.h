/* http.h - a client that says whatever it is told to a server on loopback, well-formed or not. */
#ifndef TESSERA_TEST_HTTP_H
#define TESSERA_TEST_HTTP_H

#include <cjson/cJSON.h>
#include <stddef.h>

/* A connection to the port; fails the test where there is none. Close it with close(). */
int http_open(int port);
void http_say(int fd, const void *bytes, size_t size);
void http_say_text(int fd, const char *text);
/* All that comes until the other end closes, or for so many seconds: free(). */
char *http_hear(int fd, double seconds);
/* Until `word` has come, or so many seconds are over: free(). */
char *http_hear_until(int fd, const char *word, double seconds);
/* One whole exchange: free(). `more`: further lines of the head, each ended by \r\n, "" for none; with a body its length is
 * added, and that it is JSON. */
char *http_ask(int port, const char *method, const char *path, const char *more, const char *body);
int http_status(const char *heard); /* 0: nothing came */
const char *http_body(const char *heard);
cJSON *http_json(const char *heard); /* the body's; NULL: it is none */

#endif
