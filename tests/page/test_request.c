/* The request parser apart from any server: who is heard, which route it is, what the body and its pictures may be. */
#include "../support/support.h"

#include <stdlib.h>
#include <string.h>

#include "page/request.h"

static const char *const names[] = {"pictures.example"};
static const page_rules rules = {.host = "127.0.0.1", .names = names, .name_count = 1, .most_bytes = 1000};

static void hosts(void **state)
{
    (void)state;
    static const char *const right[] = {"127.0.0.1",  "127.0.0.1:8080",   "localhost:80",         "LOCALHOST",       "[::1]",
                                        "[::1]:8080", "192.168.1.7:8080", "pictures.example:443", "Pictures.Example"};
    static const char *const wrong[] = {"",
                                        "evil.example",
                                        "127.0.0.1.evil.example",
                                        "localhost.evil.example:8080",
                                        "127.0.0.1:0",
                                        "127.0.0.1:99999",
                                        "127.0.0.1:80:80",
                                        "[::1",
                                        "[]",
                                        "[evil.example]",
                                        "1.2.3",
                                        "1.2.3.4.5",
                                        "1.2.3.256",
                                        "127.0.0.1 ",
                                        "pictures.example.",
                                        ":8080"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!page_host_known(right[i], &rules)) fail_msg("%s is refused", right[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (page_host_known(wrong[i], &rules)) fail_msg("%s is let in", wrong[i]);
    assert_false(page_host_known(NULL, &rules));
}

static int check(page_head head, const page_rules *by, bool post)
{
    ts_error err = {0};
    if (!head.host) head.host = "127.0.0.1:8080";
    const int status = page_head_check(&head, by, true, post, &err);
    assert_true((status == 0) == (err.code == TS_OK));
    return status;
}

static void heads(void **state)
{
    (void)state;
    page_rules secret = rules;
    secret.token = "open sesame";
    assert_int_equal(check((page_head){0}, &rules, false), 0);
    assert_int_equal(check((page_head){.origin = "http://127.0.0.1:8080"}, &rules, false), 0);
    assert_int_equal(check((page_head){.origin = "https://127.0.0.1:8080"}, &rules, false), 0);
    assert_int_equal(check((page_head){.origin = "http://127.0.0.1"}, &rules, false), 403);
    assert_int_equal(check((page_head){.origin = "http://evil.example"}, &rules, false), 403);
    assert_int_equal(check((page_head){.origin = "null"}, &rules, false), 403);
    assert_int_equal(check((page_head){.origin = ""}, &rules, false), 403);
    assert_int_equal(check((page_head){.fetch_site = "cross-site"}, &rules, false), 403);
    assert_int_equal(check((page_head){.fetch_site = "same-origin"}, &rules, false), 0);
    assert_int_equal(check((page_head){.host = "evil.example"}, &rules, false), 421);
    assert_int_equal(check((page_head){0}, &secret, false), 401);
    assert_int_equal(check((page_head){.authorization = "Bearer open"}, &secret, false), 401);
    assert_int_equal(check((page_head){.authorization = "open sesame"}, &secret, false), 401);
    assert_int_equal(check((page_head){.authorization = "Bearer open sesame"}, &secret, false), 0);
    assert_int_equal(check((page_head){.content_type = "text/plain"}, &rules, true), 415);
    assert_int_equal(check((page_head){0}, &rules, true), 415);
    assert_int_equal(check((page_head){.content_type = "application/jsonp"}, &rules, true), 415);
    assert_int_equal(
        check((page_head){.content_type = "application/json; charset=utf-8", .content_length = "1000"}, &rules, true), 0);
    assert_int_equal(check((page_head){.content_type = "application/json", .content_length = "1001"}, &rules, true), 413);
    assert_int_equal(check((page_head){.content_type = "application/json", .content_length = "-1"}, &rules, true), 400);
    assert_int_equal(
        check((page_head){.content_type = "application/json", .content_length = "99999999999999999999"}, &rules, true), 400);
}

static void routes(void **state)
{
    (void)state;
    static const ts_page_route list[] = {{"GET", "/v1/about", NULL, TS_PAGE_AT_ONCE},
                                         {"POST", "/v1/answers", NULL, TS_PAGE_MODELS},
                                         {"GET", "/v1/pictures/{number}", NULL, TS_PAGE_PICTURES}};
    int64_t number = -1;
    assert_int_equal(page_route_find(list, 3, "GET", "/v1/about", &number), 0);
    assert_int_equal(page_route_find(list, 3, "GET", "/v1/answers", &number), -2);
    assert_int_equal(page_route_find(list, 3, "GET", "/v1/other", &number), -1);
    assert_int_equal(page_route_find(list, 3, "GET", "/v1/pictures/17", &number), 2);
    assert_int_equal(number, 17);
    static const char *const wrong[] = {"/v1/pictures/",         "/v1/pictures/-1",  "/v1/pictures/1x",
                                        "/v1/pictures/../about", "/v1/pictures/1/2", "/v1/pictures/99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(page_route_find(list, 3, "GET", wrong[i], &number), -1);
}

static bool is_read(const char *text)
{
    ts_error err = {0};
    cJSON *json = page_body_read(text, strlen(text), &err);
    assert_true((json != NULL) == (err.code == TS_OK));
    cJSON_Delete(json);
    return json != NULL;
}

static void bodies(void **state)
{
    (void)state;
    assert_true(is_read("{}"));
    assert_true(is_read(" {\"a\": [1, 2, {\"b\": \"[[[[[[[[[[[[[[[[[[[[[[\\\"\"}]} \n"));
    static const char *const wrong[] = {"", "[]", "1", "{", "{}{}", "{\"a\":}", "{} x", "\"text\"", "nul"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (is_read(wrong[i])) fail_msg("%s is read", wrong[i]);
    char deep[64] = "{\"a\":";
    memset(deep + 5, '[', 20);
    memset(deep + 25, ']', 20);
    strcpy(deep + 45, "}");
    assert_false(is_read(deep));
    /* Two bytes a value here, a hundred in memory. */
    enum { MANY = 200001 };
    char *many = malloc(2 * MANY + 16);
    assert_non_null(many);
    char *at = many + sprintf(many, "{\"a\":[1");
    for (int i = 1; i < MANY; i++) at += sprintf(at, ",1");
    strcpy(at, "]}");
    assert_false(is_read(many));
    free(many);
}

static void base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t size = 99;
        char *text = page_base64_write((const uint8_t *)pairs[i][0], strlen(pairs[i][0]));
        uint8_t *bytes = page_base64_read(pairs[i][1], "it", &size, NULL);
        assert_string_equal(text, pairs[i][1]);
        assert_non_null(bytes);
        assert_int_equal(size, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], size);
        free(text);
        free(bytes);
    }
    static const char *const wrong[] = {"A", "Zg=", "Zg===", "Z g=", "Zm9v\n", "Zm9-", "====", "Zm=v", "\xc3\xa4\xc3\xa4"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t size;
        uint8_t *bytes = page_base64_read(wrong[i], "it", &size, NULL);
        if (bytes) fail_msg("%s is read as base64", wrong[i]);
    }
}

static void pictures(void **state)
{
    (void)state;
    ts_image img = {0}, back = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    int64_t pixels = 0;
    ts_error err = {0};
    assert_true(ts_image_new(20, 10, &img, NULL));
    assert_true(ts_image_encode("a.png", &img, &bytes, &size, NULL));
    char *text = page_base64_write(bytes, size), with[2000];
    snprintf(with, sizeof with, "data:image/png;base64,%s", text);
    assert_true(page_picture_read(text, "it", 200, &pixels, &back, &err));
    assert_int_equal(pixels, 200);
    assert_int_equal(back.width, 20);
    ts_image_clear(&back);
    assert_true(page_picture_read(with, "it", 200, &pixels, &back, &err));
    ts_image_clear(&back);
    assert_false(page_picture_read(text, "it", 199, &pixels, &back, &err));
    assert_non_null(strstr(err.text, "20 x 10"));
    assert_false(page_picture_read("aGVsbG8=", "it", 199, &pixels, &back, NULL));
    free(text);
    free(bytes);
    ts_image_clear(&img);
}

static void fields(void **state)
{
    (void)state;
    cJSON *json = cJSON_Parse("{\"n\":3,\"r\":0.5,\"t\":\"word\",\"f\":true,\"l\":[1,2],\"none\":null}");
    int n = 7;
    double r = 0;
    bool f = false;
    const char *t = NULL;
    const cJSON *l = NULL;
    assert_true(ts_page_int(json, "n", 0, 3, &n, NULL) && n == 3);
    assert_true(ts_page_int(json, "none", 0, 3, &n, NULL) && n == 3);
    assert_false(ts_page_int(json, "n", 0, 2, &n, NULL));
    assert_false(ts_page_int(json, "r", 0, 2, &n, NULL));
    assert_false(ts_page_int(json, "t", 0, 2, &n, NULL));
    assert_true(ts_page_real(json, "r", 0, 1, &r, NULL) && r == 0.5);
    assert_true(ts_page_flag(json, "f", &f, NULL) && f);
    assert_false(ts_page_flag(json, "n", &f, NULL));
    assert_true(ts_page_text(json, "t", &t, NULL));
    assert_string_equal(t, "word");
    assert_true(ts_page_list(json, "l", 1, 2, &l, NULL));
    assert_false(ts_page_list(json, "l", 3, 4, &l, NULL));
    assert_false(ts_page_list(json, "m", 1, 4, &l, NULL));
    assert_true(ts_page_list(json, "m", 0, 4, &l, NULL));
    assert_true(ts_page_fields(json, "n r t f l none", NULL));
    assert_false(ts_page_fields(json, "nn r t f l none", NULL));
    assert_true(ts_page_fields(NULL, "", NULL));
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),  cmocka_unit_test(heads),    cmocka_unit_test(routes), cmocka_unit_test(bodies),
        cmocka_unit_test(base64), cmocka_unit_test(pictures), cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
