/* test_learn_vocabulary.c - merges learned from texts: the example of Sennrich et al. 2016, that the tokenizer reads the list and
 * makes one symbol of a word that is frequent, and that awkward texts do no harm. */
#include "../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/clip.h"

static const char *list_path(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/bpe_simple_vocab_16e6.txt", temp_dir());
    return path;
}

static int learn(const char *const *texts, int64_t count, int merges)
{
    ts_error err = {0};
    const int learned = ts_learn_vocabulary(texts, count, merges, list_path(), &err);
    if (learned < 0) fail_msg("%s", err.text);
    return learned;
}

static void check_file(const char *want)
{
    char text[4096];
    FILE *f = fopen(list_path(), "rb");
    assert_non_null(f);
    const size_t size = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[size] = '\0';
    assert_string_equal(text, want);
}

/* (figure 1 of the paper) low x 5, lower x 2, newest x 6, widest x 3; the published merges are e s, es t, est </w>, l o, lo w:
 * here the end of a word is part of its last letter. Equal pairs go by their letters. */
static void published_example(void **state)
{
    (void)state;
    const char *const texts[] = {"low low low low low", "Lower lower newest newest newest", "newest newest newest widest widest",
                                 "widest"};
    assert_int_equal(learn(texts, 4, 4), 4);
    check_file("#version: 0.2\ne s\nes t</w>\nl o\ne w\n");
}

/* As many merges as there are, each word one symbol in the end. */
static void to_whole_words(void **state)
{
    (void)state;
    const char *const texts[] = {"a red ring", "a red star, a red rING",
                                 "a green star\n and a green ring \xC3\xA9t\xC3\xA9 \xC3\xA9t\xC3\xA9"};
    const int learned = learn(texts, 3, 1000);
    assert_in_range(learned, 10, 40);
    ts_error err = {0};
    ts_tokenizer *t = ts_tokenizer_open(list_path(), &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(ts_tokenizer_count(t), 512 + learned + 2);
    int32_t *ids;
    const int count = ts_tokenizer_encode(t, "a RED star a green ring \xC3\xA9t\xC3\xA9", &ids, &err);
    assert_int_equal(count, 7);
    assert_string_equal(ts_tokenizer_symbol(t, ids[2]), "star</w>");
    free(ids);
    assert_int_equal(ts_tokenizer_encode(t, "xyz", &ids, &err), 3); /* never seen: by bytes */
    free(ids);
    ts_tokenizer_free(t);
}

/* The same texts in another order are the same vocabulary; many different words make the tables grow. */
static void order_does_not_matter(void **state)
{
    (void)state;
    enum { TEXTS = 3000 };
    static char text[TEXTS][32];
    static const char *up[TEXTS], *down[TEXTS];
    uint64_t seed = 1;
    for (int i = 0; i < TEXTS; i++) {
        const int letters = 1 + (int)(test_uniform(&seed) * 20);
        for (int k = 0; k < letters; k++) text[i][k] = (char)('a' + (int)(26 * test_uniform(&seed) * test_uniform(&seed)));
        up[i] = down[TEXTS - 1 - i] = text[i];
    }
    assert_int_equal(learn(up, TEXTS, 300), 300);
    char first[8192] = "", second[8192] = "";
    FILE *f = fopen(list_path(), "rb");
    assert_non_null(f);
    assert_true(fread(first, 1, sizeof first - 1, f) > 0);
    fclose(f);
    assert_int_equal(learn(down, TEXTS, 300), 300);
    f = fopen(list_path(), "rb");
    assert_non_null(f);
    assert_true(fread(second, 1, sizeof second - 1, f) > 0);
    fclose(f);
    assert_string_equal(first, second);
}

static void awkward(void **state)
{
    (void)state;
    ts_error err = {0};
    char rule[2001];
    memset(rule, '-', sizeof rule - 1);
    rule[sizeof rule - 1] = '\0';
    const char *const dashes[] = {rule, "<|endoftext|>", ""};
    assert_in_range(learn(dashes, 3, 1000), 1, 200);
    ts_tokenizer *t = ts_tokenizer_open(list_path(), &err);
    if (!t) fail_msg("%s", err.text);
    ts_tokenizer_free(t);
    const char *const none[] = {"a b c", ""}, *const broken[] = {"a \xff"};
    assert_int_equal(ts_learn_vocabulary(none, 2, 10, list_path(), &err), -1);
    assert_non_null(strstr(err.text, "twice"));
    err = (ts_error){0};
    assert_int_equal(ts_learn_vocabulary(broken, 1, 10, list_path(), &err), -1);
    assert_non_null(strstr(err.text, "UTF-8"));
    err = (ts_error){0};
    assert_int_equal(ts_learn_vocabulary(dashes, 1, 0, list_path(), &err), -1);
    err = (ts_error){0};
    assert_int_equal(ts_learn_vocabulary(dashes, 1, 10, "/nowhere/list.txt", &err), -1);
    assert_int_equal(err.code, TS_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_example), cmocka_unit_test(to_whole_words),
                                       cmocka_unit_test(order_does_not_matter), cmocka_unit_test(awkward)};
    return cmocka_run_group_tests_name("clip vocabulary", tests, NULL, NULL);
}
