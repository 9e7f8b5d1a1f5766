/* test_tokenizer.c - texts against the published tokenizer: how they are cut into words (without a vocabulary), their ids (with
 * it), small vocabularies made here, and files that are none. */
#include "../support/program.h"

#include "text/tokenizer.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

static const char PUBLISHED[] = TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz";

static cJSON *read_json(const char *path)
{
    size_t size;
    char *text = (char *)read_bytes(path, &size);
    cJSON *all = cJSON_Parse(text);
    assert_true(cJSON_IsArray(all));
    free(text);
    return all;
}

static ts_tokenizer *open_ok(const char *path)
{
    ts_error err = {0};
    ts_tokenizer *t = ts_tokenizer_open(path, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static ts_tokenizer *published(void)
{
    if (file_exists(PUBLISHED)) return open_ok(PUBLISHED);
    print_message("[ SKIPPED  ] %s is absent\n", PUBLISHED);
    skip();
    return NULL;
}

static void same_ids(const ts_tokenizer *t, const char *text, const cJSON *want)
{
    ts_error err = {0};
    int32_t *ids;
    int count = ts_tokenizer_encode(t, text, &ids, &err);
    if (count < 0) fail_msg("%s: %s", text, err.text);
    if (count != cJSON_GetArraySize(want)) fail_msg("%s: %d ids, %d wanted", text, count, cJSON_GetArraySize(want));
    int i = 0;
    for (const cJSON *one = want->child; one; one = one->next, i++)
        if (ids[i] != one->valueint) fail_msg("%s: id %d is %d, %d wanted", text, i, ids[i], one->valueint);
    free(ids);
}

static const char *text_of(const cJSON *one)
{
    return cJSON_GetObjectItem(one, "text")->valuestring;
}

/* Of the processor: a busy machine does not count. */
static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- against the published one --------------------------------------------------------------------------------- */

static void words(void **state)
{
    (void)state;
    cJSON *all = read_json(TS_TESTS_DIR "/golden/clip/text.json");
    for (const cJSON *one = all->child; one; one = one->next) {
        ts_error err = {0};
        ts_runes r;
        size_t from, at = 0;
        if (!ts_text_clean(text_of(one), &r, &err)) fail_msg("%s: %s", text_of(one), err.text);
        for (const cJSON *want = cJSON_GetObjectItem(one, "words")->child; want; want = want->next) {
            char word[1024];
            int used = 0;
            if (!ts_text_word(&r, &from, &at)) fail_msg("%s: the word %s is missing", text_of(one), want->valuestring);
            for (size_t i = from; i < at; i++) used += ts_rune_encode(r.at[i], (uint8_t *)word + used);
            word[used] = '\0';
            if (strcmp(word, want->valuestring) != 0) fail_msg("%s: %s, wanted %s", text_of(one), word, want->valuestring);
        }
        assert_false(ts_text_word(&r, &from, &at));
        ts_runes_clear(&r);
    }
    cJSON_Delete(all);
}

/* Broken texts, and what the package that the published tokenizer repairs them with makes of them. */
static void repaired(void **state)
{
    (void)state;
    cJSON *all = read_json(TS_TESTS_DIR "/golden/text/repair.json");
    for (const cJSON *one = all->child; one; one = one->next) {
        const char *wanted = cJSON_GetObjectItem(one, "repaired")->valuestring;
        ts_error err = {0};
        ts_runes got = {0}, want = {0};
        if (!ts_runes_decode(&got, text_of(one), &err) || !ts_runes_repair(&got, &err) || !ts_runes_decode(&want, wanted, &err))
            fail_msg("%s: %s", text_of(one), err.text);
        if (got.count != want.count || (got.count > 0 && memcmp(got.at, want.at, got.count * sizeof *got.at) != 0))
            fail_msg("%s: not repaired to %s", text_of(one), wanted);
        ts_runes_clear(&got);
        ts_runes_clear(&want);
    }
    cJSON_Delete(all);
}

/* A line of a million characters is as much work as lines of a hundred: mojibake from end to end, mojibake within another text,
 * and what only looks like it. */
static void long_lines(void **state)
{
    (void)state;
    static const char *const parts[] = {"\u00c3\u00a9", "\u65e5 \u00c3\u00a9", "\u00c3\u00c3", "&amp;&eacute;",
                                        "\u00c3\u0192\u00c2\u00a9 \r"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        enum { TIMES = 200000 };
        const size_t length = strlen(parts[i]);
        char *text = malloc(TIMES * length + 1);
        assert_non_null(text);
        for (int k = 0; k < TIMES; k++) memcpy(text + (size_t)k * length, parts[i], length);
        text[TIMES * length] = '\0';
        ts_error err = {0};
        ts_runes r = {0};
        const double start = now_ms();
        if (!ts_runes_decode(&r, text, &err) || !ts_runes_repair(&r, &err)) fail_msg("%s", err.text);
        print_message("  part %zu, %d times: %.0f ms\n", i, TIMES, now_ms() - start);
        assert_true(now_ms() - start < 20000); /* the sanitizers' time too */
        ts_runes_clear(&r);
        free(text);
    }
}

/* Whether the repair is for nothing but references and normal form C: that golden file was made without it. */
static bool is_whole(const char *text)
{
    ts_error err = {0};
    ts_runes r[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        if (!ts_runes_decode(&r[i], text, &err) || !(i ? ts_runes_repair(&r[i], &err) : ts_runes_compose(&r[i], &err)))
            fail_msg("%s", err.text);
        ts_runes_unescape(&r[i]);
        ts_runes_unescape(&r[i]);
    }
    const bool same =
        r[0].count == r[1].count && (r[0].count == 0 || memcmp(r[0].at, r[1].at, r[0].count * sizeof *r[0].at) == 0);
    ts_runes_clear(&r[0]);
    ts_runes_clear(&r[1]);
    return same;
}

static void ids(void **state)
{
    (void)state;
    ts_tokenizer *t = published();
    cJSON *all = read_json(TS_TESTS_DIR "/golden/clip/text.json");
    for (const cJSON *one = all->child; one; one = one->next) same_ids(t, text_of(one), cJSON_GetObjectItem(one, "ids"));
    cJSON_Delete(all);
    if (file_exists(TS_GOLDEN_DIR "/tokenizer.json")) {
        all = read_json(TS_GOLDEN_DIR "/tokenizer.json");
        for (const cJSON *one = all->child; one; one = one->next)
            if (is_whole(text_of(one))) same_ids(t, text_of(one), cJSON_GetObjectItem(one, "ids"));
        cJSON_Delete(all);
    }
    assert_int_equal(ts_tokenizer_count(t), 49408);
    assert_int_equal(ts_tokenizer_start(t), 49406);
    assert_int_equal(ts_tokenizer_end(t), 49407);
    static const struct {
        int id;
        const char *symbol;
    } known[] = {{0, "!"},
                 {64, "a"},
                 {256, "!</w>"},
                 {320, "a</w>"},
                 {188, "\u0100"},
                 {512, "in"},
                 {49405, "jekyll</w>"},
                 {49406, "<|startoftext|>"},
                 {49407, "<|endoftext|>"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_string_equal(ts_tokenizer_symbol(t, known[i].id), known[i].symbol);
    assert_null(ts_tokenizer_symbol(t, -1));
    assert_null(ts_tokenizer_symbol(t, 49408));
    ts_tokenizer_free(t);
}

static void quick(void **state)
{
    (void)state;
    double start = now_ms();
    ts_tokenizer *t = published();
    double opened = now_ms() - start;
    /* A million letters in one word, and in many. */
    enum { LETTERS = 1000000 };
    char *text = malloc(LETTERS + 1);
    assert_non_null(text);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < LETTERS; i++)
            text[i] = (char)(kind == 0 ? 'x' : kind == 1 ? 'a' + (i % 26) * (i % 7919) % 26 : i % 6 ? 'e' : ' ');
        text[LETTERS] = '\0';
        ts_error err = {0};
        int32_t *out;
        start = now_ms();
        int count = ts_tokenizer_encode(t, text, &out, &err);
        assert_true(count > 0);
        print_message("  %d letters, kind %d: %d ids in %.0f ms\n", LETTERS, kind, count, now_ms() - start);
        assert_true(now_ms() - start < 20000); /* the sanitizers' time too; a quadratic one takes minutes */
        free(out);
    }
    print_message("  opened in %.1f ms\n", opened);
    free(text);
    ts_tokenizer_free(t);
}

static void contexts(void **state)
{
    (void)state;
    ts_tokenizer *t = published();
    ts_error err = {0};
    int32_t out[77];
    assert_int_equal(ts_tokenizer_tokens(t, "a photo of a dog.", 77, false, out, &err), 8);
    static const int32_t want[] = {49406, 320, 1125, 539, 320, 1929, 269, 49407};
    assert_memory_equal(out, want, sizeof want);
    for (int i = 8; i < 77; i++) assert_int_equal(out[i], 0);
    assert_int_equal(ts_tokenizer_tokens(t, "a photo of a dog.", 8, false, out, &err), 8);
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(ts_tokenizer_tokens(t, "a photo of a dog.", 7, false, out, &err), -1);
    assert_non_null(strstr(err.text, "a photo of a dog."));
    assert_non_null(strstr(err.text, "8 tokens"));
    assert_int_equal(ts_tokenizer_tokens(t, "a photo of a dog.", 5, true, out, NULL), 5);
    assert_memory_equal(out, want, 4 * sizeof *out);
    assert_int_equal(out[4], 49407);
    assert_int_equal(ts_tokenizer_tokens(t, "", 2, false, out, NULL), 2);
    assert_int_equal(ts_tokenizer_tokens(t, "", 1, true, out, NULL), -1);
    err = (ts_error){0};
    assert_int_equal(ts_tokenizer_tokens(t, "caf\xe9", 77, true, out, &err), -1);
    assert_non_null(strstr(err.text, "byte 3 is 0xe9"));
    static const char *const broken[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",    "\xe2\x82",
                                         "\x80",     "\xff",         "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_int_equal(ts_tokenizer_tokens(t, broken[i], 77, true, out, NULL), -1);
    ts_tokenizer_free(t);
}

typedef struct {
    const ts_tokenizer *t;
    const cJSON *all;
    bool ok;
} shared;

static void *encode_all(void *arg)
{
    shared *s = arg;
    for (const cJSON *one = s->all->child; one; one = one->next) {
        const cJSON *want = cJSON_GetObjectItem(one, "ids");
        int32_t *out;
        int count = ts_tokenizer_encode(s->t, text_of(one), &out, NULL), i = 0;
        s->ok = s->ok && count == cJSON_GetArraySize(want);
        for (const cJSON *id = want->child; s->ok && id; id = id->next) s->ok = out[i++] == id->valueint;
        free(out);
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    ts_tokenizer *t = published();
    cJSON *all = read_json(TS_TESTS_DIR "/golden/clip/text.json");
    pthread_t thread[4];
    shared s[4];
    for (int i = 0; i < 4; i++) {
        s[i] = (shared){t, all, true};
        assert_int_equal(pthread_create(&thread[i], NULL, encode_all, &s[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_true(s[i].ok);
    }
    cJSON_Delete(all);
    ts_tokenizer_free(t);
}

/* ---- small vocabularies ------------------------------------------------------------------------------------------ */

static const char SMALL[] = "#version: 0.2\na b\nab c</w>\na a\naa a</w>\nb c\n";

static void write_gzip(const char *path, const char *text, size_t size)
{
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, text, (unsigned)size), size);
    assert_int_equal(gzclose(f), Z_OK);
}

static void assert_symbols(const ts_tokenizer *t, const char *text, const char *want)
{
    int32_t *out;
    char got[256] = "";
    int count = ts_tokenizer_encode(t, text, &out, NULL);
    assert_true(count >= 0);
    for (int i = 0, used = 0; i < count; i++)
        used += snprintf(got + used, sizeof got - (size_t)used, i ? " %s" : "%s", ts_tokenizer_symbol(t, out[i]));
    free(out);
    assert_string_equal(got, want);
}

static void check_small(const ts_tokenizer *t)
{
    assert_int_equal(ts_tokenizer_count(t), 512 + 5 + 2);
    assert_int_equal(ts_tokenizer_start(t), 517);
    assert_int_equal(ts_tokenizer_end(t), 518);
    assert_string_equal(ts_tokenizer_symbol(t, 513), "abc</w>");
    assert_symbols(t, "ABC abcd bc", "abc</w> ab c d</w> b c</w>");
    assert_symbols(t, "aaaa aaa aaaaa bcbcx", "aa a a</w> aaa</w> aa aaa</w> bc bc x</w>");
    assert_symbols(t, "<|startoftext|>a", "<|startoftext|> a</w>");
}

/* The same vocabulary as Hugging Face writes it. `extra`: one more entry of the JSON. */
static void write_hugging_face(const char *folder, const ts_tokenizer *t, const char *extra)
{
    cJSON *all = cJSON_CreateObject();
    for (int i = ts_tokenizer_count(t) - 1; i >= 0; i--)
        cJSON_AddNumberToObject(all, ts_tokenizer_symbol(t, i), i); /* any order */
    if (extra) cJSON_AddNumberToObject(all, extra, 3);
    char *text = cJSON_PrintUnformatted(all);
    mkdir(temp_path("%s", folder), 0700);
    write_text(temp_path("%s/vocab.json", folder), text);
    cJSON_free(text);
    cJSON_Delete(all);
}

static void small(void **state)
{
    (void)state;
    write_text(temp_path("small.txt"), SMALL);
    ts_tokenizer *t = open_ok(temp_path("small.txt"));
    check_small(t);
    write_hugging_face("hf", t, NULL);
    write_text(temp_path("hf/merges.txt"), SMALL);
    ts_tokenizer_free(t);
    t = open_ok(temp_path("hf/vocab.json"));
    check_small(t);
    ts_tokenizer_free(t);
    write_gzip(temp_path("small.gz"), SMALL, sizeof SMALL - 1);
    t = open_ok(temp_path("small.gz"));
    check_small(t);
    ts_tokenizer_free(t);
    /* Lines as Windows ends them, no end of the last, no start of the first. */
    write_text(temp_path("crlf.txt"), "#version: 0.2\r\na b\r\nab c</w>\r\na a\r\naa a</w>\r\nb c");
    t = open_ok(temp_path("crlf.txt"));
    check_small(t);
    ts_tokenizer_free(t);
}

/* Merges that stand before those that make their parts: the published loop takes a pair's every place before it looks again. */
static void odd_orders(void **state)
{
    (void)state;
    write_text(temp_path("odd.txt"), "#version: 0.2\nab a\na b\nb a\na b\n");
    ts_tokenizer *t = open_ok(temp_path("odd.txt"));
    assert_int_equal(ts_tokenizer_count(t), 512 + 4 + 2);
    /* b a (line 4) comes before a b, which line 5 says again: "ababab." is a ba ba b. */
    assert_symbols(t, "abababx", "a ba ba b x</w>");
    ts_tokenizer_free(t);
    write_text(temp_path("odd.txt"), "#version: 0.2\nab a\na b\nb a\n");
    t = open_ok(temp_path("odd.txt"));
    assert_symbols(t, "abababx", "ab ab ab x</w>"); /* and not aba b ab: both places of a b were taken at once */
    assert_symbols(t, "abaabx", "aba ab x</w>");
    ts_tokenizer_free(t);
}

static void found(void **state)
{
    (void)state;
    ts_error err = {0};
    mkdir(temp_path("model"), 0700);
    assert_null(ts_tokenizer_find(temp_path("model/clip.pt"), &err));
    assert_non_null(strstr(err.text, "bpe_simple_vocab_16e6.txt.gz"));
    assert_non_null(strstr(err.text, "vocab.json"));
    write_text(temp_path("model/bpe_simple_vocab_16e6.txt"), SMALL);
    ts_tokenizer *t = ts_tokenizer_find(temp_path("model/clip.pt"), &err);
    assert_non_null(t);
    check_small(t);
    ts_tokenizer_free(t);
    assert_null(ts_tokenizer_find("no_such_model.pt", NULL)); /* in the folder we stand in */
}

/* ---- files that are none ------------------------------------------------------------------------------------------ */

static void refused(const char *path, const char *word)
{
    ts_error err = {0};
    if (ts_tokenizer_open(path, &err)) fail_msg("%s was taken", path);
    if (!strstr(err.text, word)) fail_msg("%s: \"%s\" does not say %s", path, err.text, word);
    if (!strstr(err.text, strrchr(path, '/') + 1) && !strstr(err.text, "merges.txt"))
        fail_msg("\"%s\" does not name %s", err.text, path);
}

static void refused_text(const char *text, const char *word)
{
    write_text(temp_path("bad.txt"), text);
    refused(temp_path("bad.txt"), word);
}

static void bad_lists(void **state)
{
    (void)state;
    refused(temp_path("absent.txt"), "No such file");
    refused(temp_dir(), "no plain file");
    mkfifo(temp_path("pipe"), 0600);
    refused(temp_path("pipe"), "no plain file");
    refused_text("", "#version");
    refused_text("the quick brown fox\n", "#version");
    refused_text("#version: 0.2", "lists no merge");
    refused_text("#version: 0.2\n\n\n", "lists no merge");
    refused_text("#version: 0.2\na b\nab\n", "line 3");
    refused_text("#version: 0.2\na b\n\nb c\n", "line 3");
    refused_text("#version: 0.2\na b c\n", "line 2");
    refused_text("#version: 0.2\nc d\nqq b\n", "line 3 merges to or from qq");
    refused_text("#version: 0.2\nb \xff\xfe\n", "line 2");
    write_bytes(temp_path("zero.txt"), "#version\na b\n\0x", 15);
    refused(temp_path("zero.txt"), "zero byte");
    char *big = malloc((17 << 20) + 1);
    assert_non_null(big);
    memset(big, 'x', 17 << 20);
    write_bytes(temp_path("big.txt"), big, 17 << 20);
    refused(temp_path("big.txt"), "more than");
    /* A symbol as long as a file may be. */
    for (int i = 0; i < 9; i++) big[i] = "#version\n"[i];
    memcpy(big + (8 << 20), " a\n", 4);
    refused_text(big, "which is no symbol");
    /* A gzip file of 17 kilobytes with 17 megabytes in it; one that is cut off, and one with a wrong byte. */
    write_gzip(temp_path("bomb.gz"), big, 17 << 20);
    refused(temp_path("bomb.gz"), "unpacks to more than");
    free(big);
    write_gzip(temp_path("good.gz"), SMALL, sizeof SMALL - 1);
    size_t size;
    unsigned char *bytes = read_bytes(temp_path("good.gz"), &size);
    for (size_t cut = 2; cut < size; cut++) {
        write_bytes(temp_path("cut.gz"), bytes, cut);
        refused(temp_path("cut.gz"), "gzip");
    }
    bytes[size - 6] ^= 1;
    write_bytes(temp_path("wrong.gz"), bytes, size);
    refused(temp_path("wrong.gz"), "broken gzip file: incorrect data check");
    free(bytes);
}

static void bad_json(void **state)
{
    (void)state;
    write_text(temp_path("base.txt"), SMALL);
    ts_tokenizer *t = open_ok(temp_path("base.txt"));
    const char *path = temp_path("alone/vocab.json");
    write_hugging_face("alone", t, NULL);
    refused(path, "merges.txt");
    write_text(temp_path("alone/merges.txt"), "a b\n");
    refused(temp_path("alone/vocab.json"), "#version");
    write_text(temp_path("alone/merges.txt"), "#version: 0.2\na b\nb d\n");
    refused(temp_path("alone/vocab.json"), "from bd");
    write_text(temp_path("alone/merges.txt"), SMALL);
    ts_tokenizer_free(open_ok(temp_path("alone/vocab.json")));
    write_hugging_face("alone", t, "twice");
    refused(temp_path("alone/vocab.json"), "number 3 twice");
    ts_tokenizer_free(t);
    static const char *const bad[][2] = {{"{\"a\": 0", "broken"},
                                         {"{}", "last two"},
                                         {"{\"a\": \"b\"}", "no number"},
                                         {"{\"version\": \"1.0\", \"model\": {}}", "no number"},
                                         {"{\"a\": 1}", "0 to 0"},
                                         {"{\"a\": -1}", "0 to 0"},
                                         {"{\"a\": 1e300}", "0 to 0"},
                                         {"{\"a\": 0.5}", "0 to 0"},
                                         {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "lacks the symbol"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(temp_path("alone/vocab.json"), bad[i][0]);
        refused(temp_path("alone/vocab.json"), bad[i][1]);
    }
    char *deep = malloc(2000001);
    assert_non_null(deep);
    for (int i = 0; i < 1000000; i++) memcpy(deep + 2 * i, i ? "[[" : "{[", 3);
    write_text(temp_path("alone/vocab.json"), deep);
    free(deep);
    refused(temp_path("alone/vocab.json"), "broken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(repaired), cmocka_unit_test(long_lines), cmocka_unit_test(words),
                                       cmocka_unit_test(ids),      cmocka_unit_test(quick),      cmocka_unit_test(contexts),
                                       cmocka_unit_test(threads),  cmocka_unit_test(small),      cmocka_unit_test(odd_orders),
                                       cmocka_unit_test(found),    cmocka_unit_test(bad_lists),  cmocka_unit_test(bad_json)};
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
