/* request.h - what is read off a request, apart from any server: its head, its path, the JSON and the pictures in its body. All
 * of it comes from outside; tests/fuzz/fuzz_request.c feeds it. */
#ifndef TESSERA_PAGE_REQUEST_H
#define TESSERA_PAGE_REQUEST_H

#include "page/page.h"

/* The headers that decide whether a request is heard; NULL: it has none of that name. */
typedef struct {
    const char *host, *origin, *fetch_site, *authorization, *content_type, *content_length;
} page_head;

typedef struct {
    const char *host; /* that the server was told to listen at */
    const char *const *names;
    int name_count;
    const char *token;
    size_t most_bytes;
} page_rules;

/* 0: it is heard; else the HTTP status, and why in `err`. `interface`: the request is for /v1/, and not for a file of the page;
 * `post`: it brings a body. */
int page_head_check(const page_head *head, const page_rules *rules, bool interface, bool post, ts_error *err);
/* Whether a Host is one by which this server may be called: an address, localhost, or a name that it was given. A name of
 * somebody else's that leads here is how a foreign page would reach the server (DNS rebinding). */
bool page_host_known(const char *host, const page_rules *rules);

/* The route of a path; `number` is set where it takes one. -1: there is none; -2: there is, with another method. */
int page_route_find(const ts_page_route *routes, int count, const char *method, const char *path, int64_t *number);

/* The JSON object of a body. Anything else, an object nested deeper than 16 or with more than 100000 values (each of which takes
 * a hundred bytes, however short it is) is refused. NULL on failure. */
cJSON *page_body_read(const char *bytes, size_t size, ts_error *err);

/* base64 (RFC 4648, padded or not, no line ends) to bytes: free(). NULL on failure. */
uint8_t *page_base64_read(const char *text, const char *label, size_t *size, ts_error *err);
char *page_base64_write(const uint8_t *bytes, size_t size); /* free(); NULL: out of memory */

/* A picture of at most that many pixels, out of such a text; `pixels` is set to how many its header tells of. */
bool page_picture_read(const char *text, const char *label, int64_t most, int64_t *pixels, ts_image *out, ts_error *err);

/* Whether the texts are the same, in a time that does not tell where they differ. */
bool page_same_secret(const char *a, const char *b);

#endif
