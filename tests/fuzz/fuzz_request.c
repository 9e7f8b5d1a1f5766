/* fuzz_request.c - any bytes as a request: three lines as its Host, Origin and path, the rest as its body, whose texts are read
 * as base64. What was read is written as it was. */
#include <stdlib.h>
#include <string.h>

#include "page/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_text(const char *text)
{
    size_t size = 0, again_size = 0;
    ts_error err = {0};
    uint8_t *bytes = page_base64_read(text, "a text", &size, &err);
    if ((bytes == NULL) != (err.code != TS_OK)) abort();
    if (!bytes) return;
    char *written = page_base64_write(bytes, size);
    uint8_t *again = written ? page_base64_read(written, "what was written", &again_size, &err) : NULL;
    if (!again || again_size != size || memcmp(again, bytes, size) != 0) abort();
    free(again);
    free(written);
    free(bytes);
}

static void check_value(const cJSON *value)
{
    const cJSON *item;
    int whole = 0;
    double real = 0;
    if (cJSON_IsString(value)) check_text(value->valuestring);
    if (cJSON_IsObject(value)) {
        ts_page_fields(value, "a b number list", NULL);
        if (ts_page_int(value, "number", -5, 5, &whole, NULL) && (whole < -5 || whole > 5)) abort();
        if (ts_page_real(value, "number", 0, 1, &real, NULL) && !(real >= 0 && real <= 1)) abort();
        ts_page_list(value, "list", 1, 3, &item, NULL);
    }
    cJSON_ArrayForEach(item, value) check_value(item);
}

/* The next line, ended; moves on. */
static char *take_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (end) *end = '\0';
    *at = end ? end + 1 : line + strlen(line);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const ts_page_route routes[] = {{"GET", "/v1/about", NULL, TS_PAGE_AT_ONCE},
                                           {"POST", "/v1/answers", NULL, TS_PAGE_MODELS},
                                           {"GET", "/v1/find/pictures/{number}", NULL, TS_PAGE_PICTURES}};
    static const char *const names[] = {"pictures.example"};
    const page_rules rules = {"127.0.0.1", names, 1, "secret", 1 << 20};
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, bytes, size);
    text[size] = '\0';
    char *at = text;
    const char *host = take_line(&at), *origin = take_line(&at), *path = take_line(&at);
    const page_head head = {
        .host = host, .origin = *origin ? origin : NULL, .authorization = origin, .content_type = path, .content_length = path};
    int64_t number = 0;
    ts_error err = {0};
    const int status = page_head_check(&head, &rules, true, true, &err);
    if ((status == 0) != (err.code == TS_OK)) abort();
    if (page_route_find(routes, 3, "GET", path, &number) >= 0 && number < 0) abort();
    ts_error why = {0};
    cJSON *json = page_body_read(at, size - (size_t)(at - text), &why);
    if ((json == NULL) != (why.code != TS_OK)) abort();
    if (json) check_value(json);
    cJSON_Delete(json);
    free(text);
    return 0;
}
