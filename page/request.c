/* request.c - see request.h. */
#include "page/request.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/number.h"

enum { DEEPEST = 16, MOST_VALUES = 100000 };

/* ---- the head ----------------------------------------------------------------------------------------------------- */

/* The name of "name", "name:80", "[::1]:80", without the port; false where it is none of these. */
static bool host_name(const char *host, char out[256])
{
    const bool bracketed = host[0] == '[';
    size_t length = bracketed ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (bracketed && host[length - 1] != ']') return false;
    if (length == 0 || length >= 256) return false;
    const char *port = host + length;
    int number;
    if (*port && (*port != ':' || !ts_int_read(port + 1, 1, 65535, &number))) return false;
    memcpy(out, host, length);
    out[length] = '\0';
    return true;
}

/* Four numbers with dots between, or what stands in brackets: the browser has asked no name server for these. */
static bool is_address(const char *name)
{
    if (name[0] == '[') {
        const size_t length = strlen(name);
        return length > 3 && strspn(name + 1, "0123456789abcdefABCDEF:.") == length - 2 && strchr(name, ':');
    }
    int parts = 0;
    for (const char *at = name;; parts++) {
        const size_t digits = strspn(at, "0123456789");
        if (digits < 1 || digits > 3 || atoi(at) > 255) return false;
        at += digits;
        if (*at == '\0') return parts == 3;
        if (*at++ != '.') return false;
    }
}

bool page_host_known(const char *host, const page_rules *rules)
{
    char name[256];
    if (!host || !host_name(host, name)) return false;
    if (is_address(name) || strcasecmp(name, "localhost") == 0) return true;
    if (rules->host && strcasecmp(name, rules->host) == 0) return true;
    for (int i = 0; i < rules->name_count; i++)
        if (strcasecmp(name, rules->names[i]) == 0) return true;
    return false;
}

/* A page of this server's own says http://HOST, or https://HOST where something that speaks it stands before. */
static bool is_own_origin(const char *origin, const char *host)
{
    const size_t scheme = strncmp(origin, "https://", 8) == 0 ? 8 : 7;
    return (scheme == 8 || strncmp(origin, "http://", 7) == 0) && strcasecmp(origin + scheme, host) == 0;
}

bool page_same_secret(const char *a, const char *b)
{
    const size_t m = strlen(a), n = strlen(b);
    unsigned differ = m != n;
    for (size_t i = 0; i < m; i++) differ |= (unsigned)(unsigned char)a[i] ^ (unsigned char)b[n ? i % n : 0];
    return differ == 0;
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    const size_t length = sizeof json - 1;
    return type && strncasecmp(type, json, length) == 0 && (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

static int refuse(int status, ts_error *err, const char *why)
{
    ts_fail(err, TS_ERR_ARGUMENT, "%s", why);
    return status;
}

int page_head_check(const page_head *head, const page_rules *rules, bool interface, bool post, ts_error *err)
{
    int64_t length = 0;
    if (!page_host_known(head->host, rules))
        return refuse(421, err,
                      "this server is not called by that name: use its address, localhost, or start it with --name for a name "
                      "of its own");
    if (head->origin && !is_own_origin(head->origin, head->host))
        return refuse(403, err, "the request comes from another site's page");
    if (interface && head->fetch_site && strcmp(head->fetch_site, "cross-site") == 0)
        return refuse(403, err, "the request comes from another site's page");
    if (interface && rules->token) {
        const char *given = head->authorization;
        if (!given || strncasecmp(given, "Bearer ", 7) != 0 || !page_same_secret(given + 7, rules->token))
            return refuse(401, err,
                          "the token is missing or wrong: send Authorization: Bearer TOKEN, or open the page with "
                          "#token=TOKEN behind its address");
    }
    if (!post) return 0;
    if (!is_json(head->content_type)) return refuse(415, err, "the body must be JSON: send Content-Type: application/json");
    if (head->content_length && !ts_whole_read(head->content_length, 0, INT64_MAX, &length))
        return refuse(400, err, "Content-Length is no number");
    if ((uint64_t)length <= rules->most_bytes) return 0;
    ts_fail(err, TS_ERR_ARGUMENT, "the request has %lld bytes, and at most %zu are taken: --most-megabytes says how many",
            (long long)length, rules->most_bytes);
    return 413;
}

/* ---- the path ----------------------------------------------------------------------------------------------------- */

static bool path_fits(const char *route, const char *path, int64_t *number)
{
    static const char place[] = "{number}";
    const char *at = strstr(route, place);
    if (!at) return strcmp(route, path) == 0;
    const size_t before = (size_t)(at - route);
    return strncmp(route, path, before) == 0 && ts_whole_read(path + before, 0, INT64_MAX, number);
}

int page_route_find(const ts_page_route *routes, int count, const char *method, const char *path, int64_t *number)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        if (!path_fits(routes[i].path, path, number)) continue;
        if (strcmp(routes[i].method, method) == 0) return i;
        best = -2;
    }
    return best;
}

/* ---- the body ----------------------------------------------------------------------------------------------------- */

/* Values and depth, counted before any memory is taken for them. What is no JSON is left to the parser. */
static bool count_values(const char *bytes, size_t size, ts_error *err)
{
    int depth = 0;
    int64_t values = 0;
    for (size_t i = 0; i < size; i++) {
        const char c = bytes[i];
        if (c == '"') {
            for (i++; i < size && bytes[i] != '"'; i++)
                if (bytes[i] == '\\') i++;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > DEEPEST) return ts_fail(err, TS_ERR_FORMAT, "the JSON is nested deeper than %d", DEEPEST);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',') {
            values++;
        }
        if (values > MOST_VALUES) return ts_fail(err, TS_ERR_FORMAT, "the JSON holds more than %d values", MOST_VALUES);
    }
    return true;
}

cJSON *page_body_read(const char *bytes, size_t size, ts_error *err)
{
    if (!count_values(bytes, size, err)) return NULL;
    const char *end = NULL;
    cJSON *json = size ? cJSON_ParseWithLengthOpts(bytes, size, &end, false) : NULL;
    size_t at = json ? (size_t)(end - bytes) : 0;
    while (json && at < size && (isspace((unsigned char)bytes[at]) || bytes[at] == '\0')) at++;
    if (cJSON_IsObject(json) && at == size) return json;
    cJSON_Delete(json);
    ts_fail(err, TS_ERR_FORMAT, "the body is no JSON object");
    return NULL;
}

/* ---- base64 ------------------------------------------------------------------------------------------------------- */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The number that a letter stands for; 64: it is none. */
static void fill_values(uint8_t value[256])
{
    memset(value, 64, 256);
    for (int i = 0; i < 64; i++) value[(unsigned char)letters[i]] = (uint8_t)i;
}

static uint8_t *bad_base64(uint8_t *bytes, const char *label, ts_error *err)
{
    free(bytes);
    ts_fail(err, TS_ERR_FORMAT, "%s is no base64", label);
    return NULL;
}

uint8_t *page_base64_read(const char *text, const char *label, size_t *size, ts_error *err)
{
    uint8_t value[256];
    size_t length = strlen(text);
    if (length && length % 4 == 0 && text[length - 1] == '=') length -= text[length - 2] == '=' ? 2 : 1;
    if (length % 4 == 1) return bad_base64(NULL, label, err);
    uint8_t *bytes = malloc(length / 4 * 3 + 3);
    if (!bytes) {
        ts_fail(err, TS_ERR_MEMORY, "no memory for %s", label);
        return NULL;
    }
    fill_values(value);
    size_t used = 0;
    for (size_t at = 0; at < length; at += 4) {
        const size_t n = length - at < 4 ? length - at : 4;
        uint32_t group = 0;
        unsigned wrong = 0;
        for (size_t k = 0; k < 4; k++) {
            const uint8_t v = k < n ? value[(unsigned char)text[at + k]] : 0;
            wrong |= v;
            group = group << 6 | (v & 63);
        }
        if (wrong & 64) return bad_base64(bytes, label, err);
        for (size_t k = 0; k + 1 < n; k++) bytes[used++] = (uint8_t)(group >> (16 - 8 * k));
    }
    *size = used;
    return bytes;
}

char *page_base64_write(const uint8_t *bytes, size_t size)
{
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (!text) return NULL;
    char *out = text;
    for (size_t at = 0; at < size; at += 3) {
        const size_t n = size - at < 3 ? size - at : 3;
        const uint32_t group =
            (uint32_t)bytes[at] << 16 | (n > 1 ? (uint32_t)bytes[at + 1] << 8 : 0) | (n > 2 ? bytes[at + 2] : 0);
        for (size_t k = 0; k < 4; k++) *out++ = k <= n ? letters[group >> (18 - 6 * k) & 63] : '=';
    }
    *out = '\0';
    return text;
}

/* ---- pictures ----------------------------------------------------------------------------------------------------- */

/* What stands behind "data:image/png;base64,". */
static const char *behind_scheme(const char *text)
{
    if (strncmp(text, "data:", 5) != 0) return text;
    const char *comma = strchr(text, ',');
    return comma && comma - text >= 12 && strncmp(comma - 7, ";base64", 7) == 0 ? comma + 1 : text;
}

bool page_picture_read(const char *text, const char *label, int64_t most, int64_t *pixels, ts_image *out, ts_error *err)
{
    size_t size = 0;
    int width = 0, height = 0;
    *out = (ts_image){0};
    uint8_t *bytes = page_base64_read(behind_scheme(text), label, &size, err);
    if (!bytes) return false;
    bool ok = ts_image_measure(bytes, size, label, &width, &height, err);
    *pixels = (int64_t)width * height;
    if (ok && *pixels > most)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s has %d x %d pixels, more than are taken: --most-megapixels says how many", label,
                     width, height);
    ok = ok && ts_image_decode(bytes, size, label, out, err);
    free(bytes);
    return ok;
}
