/* test_data.c - labelled pictures: the three layouts, few shots, halves, lists; and everything that is refused. No picture is
 * decoded here, so that empty files serve. */
#include "../support/program.h"

#include "clip/clip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0) assert_true(file_exists(path));
}

static void touch(const char *path)
{
    write_text(path, "x");
}

/* ROOT/CLASS/0.png ... of `count` pictures. */
static void make_class(const char *root, const char *name, int count)
{
    make_folder(temp_path("%s", root));
    make_folder(temp_path("%s/%s", root, name));
    for (int i = 0; i < count; i++) touch(temp_path("%s/%s/%d.png", root, name, i));
}

static ts_clip_data open_ok(const char *path, uint64_t seed)
{
    ts_error err = {0};
    ts_clip_data d;
    if (!ts_clip_data_open(path, NULL, seed, &d, &err)) fail_msg("%s", err.text);
    return d;
}

static void refused(const char *path, const char *word)
{
    ts_error err = {0};
    ts_clip_data d;
    if (ts_clip_data_open(path, NULL, 1, &d, &err)) fail_msg("%s was taken", path);
    if (!strstr(err.text, word)) fail_msg("\"%s\" does not say %s", err.text, word);
    assert_int_equal(d.classes, 0);
    assert_null(d.train.item);
    ts_clip_data_clear(&d); /* takes an empty one */
}

static int count_of(const ts_clip_split *s, int label)
{
    int count = 0;
    for (int64_t i = 0; i < s->count; i++) count += s->item[i].label == label;
    return count;
}

static bool holds(const ts_clip_split *s, const char *path)
{
    for (int64_t i = 0; i < s->count; i++)
        if (strcmp(s->item[i].path, path) == 0) return true;
    return false;
}

static void same_split(const ts_clip_split *a, const ts_clip_split *b)
{
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        assert_string_equal(a->item[i].path, b->item[i].path);
        assert_int_equal(a->item[i].label, b->item[i].label);
    }
}

static bool equal_paths(const ts_clip_split *a, const ts_clip_split *b)
{
    for (int64_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->item[i].path, b->item[i].path) != 0) return false;
    return a->count == b->count;
}

/* ---- layouts ------------------------------------------------------------------------------------------------------ */

static void whole(void **state)
{
    (void)state;
    make_class("whole", "tabby_cat", 10);
    make_class("whole", "Dog", 7);
    make_class("whole", "train", 2); /* a class that is called like a part */
    make_class("whole", "\xc3\xa9lan", 3);
    make_folder(temp_path("whole/.hidden"));
    touch(temp_path("whole/notes.txt"));
    touch(temp_path("whole/Dog/notes.txt"));
    touch(temp_path("whole/Dog/UPPER.JPEG"));
    make_folder(temp_path("whole/Dog/deeper.png"));
    assert_int_equal(symlink(".", temp_path("whole/Dog/loop")), 0);
    assert_int_equal(symlink("nowhere", temp_path("whole/Dog/broken")), 0);
    assert_int_equal(mkfifo(temp_path("whole/Dog/pipe.png"), 0600), 0);
    const char *path = temp_path("whole");
    ts_clip_data d = open_ok(path, 1), again = open_ok(path, 1), other = open_ok(path, 2);
    assert_int_equal(d.classes, 4);
    static const char *const names[] = {"Dog", "tabby cat", "train", "\xc3\xa9lan"};
    static const int want[][3] = {{4, 2, 2}, {5, 2, 3}, {1, 0, 1}, {2, 0, 1}};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(d.name[i], names[i]);
        assert_int_equal(count_of(&d.train, i), want[i][0]);
        assert_int_equal(count_of(&d.val, i), want[i][1]);
        assert_int_equal(count_of(&d.test, i), want[i][2]);
    }
    /* Every picture once. */
    const ts_clip_split *const split[] = {&d.train, &d.val, &d.test};
    for (int i = 0; i < 10; i++) {
        int found = 0;
        for (int k = 0; k < 3; k++) found += holds(split[k], temp_path("whole/tabby_cat/%d.png", i));
        assert_int_equal(found, 1);
    }
    same_split(&d.train, &again.train);
    same_split(&d.val, &again.val);
    same_split(&d.test, &again.test);
    assert_false(equal_paths(&d.test, &other.test));
    ts_clip_data_clear(&d);
    ts_clip_data_clear(&again);
    ts_clip_data_clear(&other);
}

static void assert_empty(const ts_clip_data *d, int64_t count, const char *first)
{
    assert_int_equal(d->empties, count);
    if (!strstr(d->empty[0], first)) fail_msg("\"%s\" does not say %s", d->empty[0], first);
}

/* What archives and people leave among the pictures ends nothing; a link that leads nowhere is a picture for its reader to
 * refuse. */
static void untidy(void **state)
{
    (void)state;
    make_class("untidy", "a", 2);
    make_class("untidy", "b", 0);
    make_class("untidy", "c", 3);
    make_class("untidy", "__MACOSX", 2);
    make_class("untidy/c", "__MACOSX", 2);
    make_folder(temp_path("untidy/b/inner"));
    touch(temp_path("untidy/b/notes.txt"));
    touch(temp_path("untidy/c/notes.TXT"));
    touch(temp_path("untidy/c/list.csv"));
    touch(temp_path("untidy/c/.hidden.png"));
    assert_int_equal(symlink("self.png", temp_path("untidy/c/self.png")), 0);
    assert_int_equal(symlink("nowhere", temp_path("untidy/a/gone.webp")), 0);
    ts_clip_data d = open_ok(temp_path("untidy"), 1);
    assert_int_equal(d.classes, 2);
    assert_string_equal(d.name[1], "c");
    for (int k = 0; k < 2; k++)
        assert_int_equal(count_of(&d.train, k) + count_of(&d.val, k) + count_of(&d.test, k), k == 0 ? 3 : 4);
    assert_empty(&d, 1, "untidy/b holds no picture (png, jpg, jpeg, webp or bmp); the folders in it are not looked into");
    assert_string_equal(d.passed, "passed over 3 files of other kinds (1 .csv, 2 .txt)");
    ts_clip_data_clear(&d);
}

/* A class that is empty in one part is left out of all. */
static void untidy_parts(void **state)
{
    (void)state;
    static const char *const part[] = {"odd/train", "odd/test", "odd/val"};
    make_folder(temp_path("odd"));
    for (int i = 0; i < 3; i++) {
        make_class(part[i], "a", i == 0 ? 0 : 2);
        make_class(part[i], "b", i == 1 ? 0 : 2);
        make_class(part[i], "c", i == 2 ? 0 : 2);
        make_class(part[i], "d", 2);
    }
    make_class("odd/train", "gone", 0);
    make_class("odd/test", "other", 0);
    ts_clip_data d = open_ok(temp_path("odd"), 1);
    assert_int_equal(d.classes, 2);
    assert_string_equal(d.name[0], "c");
    assert_string_equal(d.name[1], "d");
    assert_int_equal(d.train.count, 4);
    assert_int_equal(d.test.count, 4);
    assert_int_equal(d.val.count, 2);
    assert_int_equal(count_of(&d.val, 1), 2);
    assert_string_equal(d.test.item[2].path, temp_path("odd/test/d/0.png"));
    assert_empty(&d, 5, "train/a holds no picture");
    ts_clip_data_clear(&d);
}

static void parts(void **state)
{
    (void)state;
    static const char *const part[] = {"parts/train", "parts/test", "parts/val"};
    make_folder(temp_path("parts"));
    for (int i = 0; i < 3; i++) {
        make_class(part[i], "b", 1 + i);
        if (i < 2) make_class(part[i], "a", 2);
    }
    ts_clip_data d = open_ok(temp_path("parts/"), 1);
    assert_int_equal(d.classes, 2);
    assert_string_equal(d.name[0], "a");
    assert_string_equal(d.train.item[0].path, temp_path("parts/train/a/0.png"));
    assert_int_equal(d.train.count, 3);
    assert_int_equal(d.test.count, 4);
    assert_int_equal(d.val.count, 3);
    assert_int_equal(count_of(&d.val, 1), 3);
    ts_clip_data_clear(&d);
    /* val/ alone is the test. */
    make_folder(temp_path("two"));
    make_class("two/train", "a", 2);
    make_class("two/val", "a", 3);
    d = open_ok(temp_path("two"), 1);
    assert_int_equal(d.test.count, 3);
    assert_int_equal(d.val.count, 0);
    ts_clip_data_clear(&d);
}

static const char LIST[] =
    "{\"train\": [[\"p/0.png\", 1, \"the_dog\"], [\"p/1.png\", 0, \"cat\"], [\"p/2.png\", 1, \"the_dog\"]],\n"
    " \"val\": [], \"test\": [[\"p/3.png\", 0, \"cat\"], [\"./p/4.png\", 1, \"the dog\"]]}";

static void json(void **state)
{
    (void)state;
    make_class("list", "p", 5);
    write_text(temp_path("list/split.json"), LIST);
    write_text(temp_path("split.json"), LIST);
    ts_clip_data d = open_ok(temp_path("list/split.json"), 1), other;
    assert_int_equal(d.classes, 2);
    assert_string_equal(d.name[0], "cat");
    assert_string_equal(d.name[1], "the dog");
    assert_int_equal(d.train.count, 3);
    assert_int_equal(d.test.count, 2);
    assert_int_equal(d.train.item[0].label, 1);
    assert_string_equal(d.train.item[0].path, temp_path("list/p/0.png"));
    ts_error err = {0};
    assert_false(ts_clip_data_open(temp_path("split.json"), NULL, 1, &other, &err));
    assert_non_null(strstr(err.text, "p/0.png"));
    assert_true(ts_clip_data_open(temp_path("split.json"), temp_path("list"), 1, &other, NULL));
    same_split(&d.train, &other.train);
    ts_clip_data_clear(&d);
    ts_clip_data_clear(&other);
}

/* ---- protocols ------------------------------------------------------------------------------------------------------ */

static void few(void **state)
{
    (void)state;
    make_class("few", "a", 60);
    make_class("few", "b", 60);
    make_class("few", "c", 6);
    const char *path = temp_path("few");
    ts_clip_data all = open_ok(path, 1);
    static const int shots[] = {1, 2, 4, 8, 16};
    for (int i = 0; i < 5; i++) {
        ts_clip_data d = open_ok(path, 1), same = open_ok(path, 1), other = open_ok(path, 1);
        assert_true(ts_clip_data_few(&d, shots[i], 1, NULL));
        assert_true(ts_clip_data_few(&same, shots[i], 1, NULL));
        assert_true(ts_clip_data_few(&other, shots[i], 2, NULL));
        for (int label = 0; label < 2; label++) {
            assert_int_equal(count_of(&d.train, label), shots[i]);
            assert_int_equal(count_of(&d.val, label), shots[i] < 4 ? shots[i] : 4);
        }
        assert_int_equal(count_of(&d.train, 2), shots[i] < 3 ? shots[i] : 3);
        assert_int_equal(count_of(&d.val, 2), 1);
        for (int64_t k = 0; k < d.train.count; k++) {
            assert_true(holds(&all.train, d.train.item[k].path));
            for (int64_t j = 0; j < k; j++) assert_string_not_equal(d.train.item[k].path, d.train.item[j].path);
        }
        same_split(&d.train, &same.train);
        same_split(&d.val, &same.val);
        same_split(&d.test, &all.test);
        if (shots[i] > 1) assert_false(equal_paths(&d.train, &other.train));
        /* The same shots of the classes in half of the classes. */
        ts_clip_data half;
        assert_true(ts_clip_data_half(&all, TS_CLIP_BASE, &half, NULL));
        assert_true(ts_clip_data_few(&half, shots[i], 1, NULL));
        for (int64_t k = 0; k < half.train.count; k++) assert_true(holds(&d.train, half.train.item[k].path));
        ts_clip_data_clear(&half);
        ts_clip_data_clear(&d);
        ts_clip_data_clear(&same);
        ts_clip_data_clear(&other);
    }
    ts_error err = {0};
    assert_false(ts_clip_data_few(&all, 0, 1, &err));
    assert_non_null(strstr(err.text, "0 shots"));
    ts_clip_data_clear(&all);
}

/* Every picture of a class is drawn about as often. */
static void fair(void **state)
{
    (void)state;
    make_class("fair", "a", 40);
    int drawn[40] = {0}, in_train = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        ts_clip_data d = open_ok(temp_path("fair"), seed);
        in_train += holds(&d.train, temp_path("fair/a/7.png"));
        assert_true(ts_clip_data_few(&d, 5, seed, NULL));
        for (int i = 0; i < 40; i++) drawn[i] += holds(&d.train, temp_path("fair/a/%d.png", i));
        ts_clip_data_clear(&d);
    }
    assert_in_range(in_train, 150, 250);
    for (int i = 0; i < 40; i++) assert_in_range(drawn[i], 20, 85); /* 50 are to be expected, 6.6 off */
}

static void halves(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) make_class("halves", names[i], 4 + i);
    ts_clip_data d = open_ok(temp_path("halves"), 1), part;
    assert_true(ts_clip_data_half(&d, TS_CLIP_BASE, &part, NULL));
    assert_int_equal(part.classes, 3);
    assert_string_equal(part.name[2], "c");
    for (int i = 0; i < 3; i++) assert_int_equal(count_of(&part.train, i), count_of(&d.train, i));
    ts_clip_data_clear(&part);
    assert_true(ts_clip_data_half(&d, TS_CLIP_NEW, &part, NULL));
    assert_int_equal(part.classes, 2);
    assert_string_equal(part.name[0], "d");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_of(&part.test, i), count_of(&d.test, 3 + i));
        assert_int_equal(count_of(&part.val, i), count_of(&d.val, 3 + i));
    }
    assert_int_equal(count_of(&part.test, -1) + count_of(&part.test, 2), 0);
    ts_clip_data_clear(&part);
    assert_true(ts_clip_data_half(&d, TS_CLIP_ALL, &part, NULL));
    same_split(&d.train, &part.train);
    same_split(&d.test, &part.test);
    ts_clip_data_clear(&part);
    ts_clip_data_clear(&d);
    make_class("one", "a", 3);
    d = open_ok(temp_path("one"), 1);
    assert_false(ts_clip_data_half(&d, TS_CLIP_NEW, &part, NULL));
    ts_clip_data_clear(&d);
}

static void lists(void **state)
{
    (void)state;
    char **lines;
    ts_error err = {0};
    write_text(temp_path("lines.txt"), "\xef\xbb\xbf  first \r\n\n# none\n\t\na photo of a {}, # 2.\nlast");
    assert_int_equal(ts_text_lines(temp_path("lines.txt"), &lines, &err), 3);
    assert_string_equal(lines[0], "first");
    assert_string_equal(lines[1], "a photo of a {}, # 2.");
    assert_string_equal(lines[2], "last");
    ts_text_lines_free(lines, 3);
    ts_text_lines_free(NULL, 3);
    static const struct {
        const char *text;
        size_t size;
        const char *word;
    } bad[] = {{"ok\n\xc3\xa4\n\xe4\n", 7, "lines.txt: line 3 is not UTF-8"},
               {"", 0, "no line"},
               {"\n#x\n", 4, "no line"},
               {"a\n\0b", 4, "zero byte"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (ts_error){0};
        write_bytes(temp_path("lines.txt"), bad[i].text, bad[i].size);
        assert_int_equal(ts_text_lines(temp_path("lines.txt"), &lines, &err), -1);
        assert_non_null(strstr(err.text, bad[i].word));
        assert_non_null(strstr(err.text, "lines.txt"));
        assert_null(lines);
    }
    assert_int_equal(ts_text_lines(temp_path("absent"), &lines, NULL), -1);
    assert_int_equal(ts_text_lines("/dev/zero", &lines, NULL), -1);
    const char *const good[] = {"b", "a", "B"}, *const twice[] = {"b", "a", "b"}, *const blank[] = {"a", " "};
    assert_true(ts_clip_check_names(good, 3, NULL));
    assert_true(ts_clip_check_names(good, 0, NULL));
    err = (ts_error){0};
    assert_false(ts_clip_check_names(twice, 3, &err));
    assert_non_null(strstr(err.text, "\"b\" stands twice"));
    err = (ts_error){0};
    assert_false(ts_clip_check_names(blank, 2, &err));
    assert_non_null(strstr(err.text, "class 1 is empty"));
}

/* ---- what is refused ---------------------------------------------------------------------------------------------------- */

static void bad_folders(void **state)
{
    (void)state;
    refused(temp_path("absent"), "absent");
    make_folder(temp_path("bad0"));
    refused(temp_path("bad0"), "no folder of a class");
    touch(temp_path("bad0/a.png"));
    refused(temp_path("bad0"), "the folder of its class");
    make_class("bad1", "void", 0);
    refused(temp_path("bad1"), "bad1/void holds no picture");
    make_class("bad1", "full", 3);
    touch(temp_path("bad1/void/0.png"));
    refused(temp_path("bad1"), "one picture");
    make_class("bad2", "a_b", 2);
    make_class("bad2", "a b", 2);
    refused(temp_path("bad2"), "\"a b\" stands twice");
    make_class("bad2", "_", 2);
    refused(temp_path("bad2"), "is empty");
    /* Links that lead round and nowhere. */
    make_folder(temp_path("bad4"));
    assert_int_equal(symlink(".", temp_path("bad4/a")), 0);
    refused(temp_path("bad4"), "no class has pictures; the first: ");
    assert_int_equal(symlink("..", temp_path("bad4/train")), 0);
    refused(temp_path("bad4"), "neither test/ nor val/");
    assert_int_equal(symlink("round", temp_path("round")), 0);
    refused(temp_path("round"), "symbolic links");
    if (geteuid() != 0) { /* nothing is closed to root */
        make_class("bad5", "a", 2);
        assert_int_equal(chmod(temp_path("bad5/a"), 0), 0);
        refused(temp_path("bad5"), "Permission denied");
        chmod(temp_path("bad5/a"), 0700);
    }
}

static void bad_parts(void **state)
{
    (void)state;
    make_folder(temp_path("bad6"));
    make_class("bad6/train", "a", 1);
    make_class("bad6/train", "b", 1);
    refused(temp_path("bad6"), "neither test/ nor val/");
    make_class("bad6/test", "a", 1);
    refused(temp_path("bad6"), "no folder for the class b");
    make_class("bad6/test", "b", 0);
    touch(temp_path("bad6/test/b/0.png"));
    make_class("bad6/val", "c", 1);
    refused(temp_path("bad6"), "val has a class c");
}

/* Lists that were written on another machine. */
static void foreign_json(void **state)
{
    (void)state;
    make_class("foreign", "p", 3);
    static const char *const paths[][2] = {
        {"p\\\\0.png", "p\\\\1.png"}, {"/home/me/data/p/0.png", "/p/1.png"}, {"C:\\\\data\\\\p\\\\0.png", "D:/p/1.png"}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char list[256];
        snprintf(list, sizeof list, "{\"train\": [[\"%s\", 0, \"a\"]], \"test\": [[\"%s\", 0, \"a\"]]}", paths[i][0],
                 paths[i][1]);
        write_text(temp_path("foreign/split.json"), list);
        ts_clip_data d = open_ok(temp_path("foreign/split.json"), 0);
        assert_string_equal(d.train.item[0].path, temp_path("foreign/p/0.png"));
        assert_string_equal(d.test.item[0].path, temp_path("foreign/p/1.png"));
        ts_clip_data_clear(&d);
    }
}

static void bad_json(void **state)
{
    (void)state;
    make_class("bad7", "p", 3);
    static const char *const bad[][2] = {
        {"", "broken"},
        {"[]", "broken"},
        {"{\"train\": [", "broken"},
        {"{}", "no list \"train\""},
        {"{\"train\": []}", "no list \"test\""},
        {"{\"train\": [], \"test\": {}}", "no list \"test\""},
        {"{\"train\": [], \"test\": [], \"val\": 3}", "no list \"val\""},
        {"{\"train\": [], \"test\": []}", "no picture"},
        {"{\"train\": [1], \"test\": []}", "item 0 of \"train\" is not"},
        {"{\"train\": [[\"p/0.png\", 0]], \"test\": []}", "is not [path, label, class name]"},
        {"{\"train\": [[\"p/0.png\", \"0\", \"a\"]], \"test\": []}", "is not ["},
        {"{\"train\": [[\"p/0.png\", 0, \"a\"]], \"test\": [[\"p/0.png\", -1, \"b\"]]}", "item 0 of \"test\" has the label -1"},
        {"{\"train\": [[\"p/0.png\", 0.5, \"a\"]], \"test\": []}", "label 0.5"},
        {"{\"train\": [[\"p/0.png\", 1e99, \"a\"]], \"test\": []}", "label 1e+99"},
        {"{\"train\": [[\"p/0.png\", 2, \"a\"]], \"test\": [[\"p/0.png\", 0, \"b\"]]}", "label 2"},
        {"{\"train\": [[\"p/0.png\", 1, \"a\"]], \"test\": [[\"p/0.png\", 1, \"a\"]]}", "label 0 has no picture"},
        {"{\"train\": [[\"p/0.png\", 0, \"a\"]], \"test\": [[\"p/1.png\", 0, \"b\"]]}", "label 0 is \"a\" and also \"b\""},
        {"{\"train\": [[\"p/0.png\", 0, \"a\"], [\"p/2.png\", 1, \"a\"]], \"test\": [[\"p/1.png\", 0, \"a\"]]}",
         "\"a\" stands twice"},
        {"{\"train\": [[\"p/0.png\", 0, \"a\"], [\"p/2.png\", 1, \"b\"]], \"test\": [[\"p/1.png\", 0, \"a\"]]}",
         "\"b\" has no picture to be"},
        {"{\"train\": [[\"p/0.png\", 0, \"a\"]], \"test\": [[\"p/1.png\", 0, \"a\"], [\"p/2.png\", 1, \"b\"]]}",
         "\"b\" has no picture to train"},
        {"{\"train\": [[\"p/0.png\", 0, \"\"]], \"test\": [[\"p/1.png\", 0, \"\"]]}", "is empty"},
        {"{\"train\": [[\"p/9.png\", 0, \"a\"]], \"test\": []}", "p/9.png, which cannot be read"},
        {"{\"train\": [[\"p\", 0, \"a\"]], \"test\": []}", "no plain file"},
        {"{\"train\": [[\"/dev/zero\", 0, \"a\"]], \"test\": []}", "does not lie below"},
        {"{\"train\": [[\"p/../../x.png\", 0, \"a\"]], \"test\": []}", "does not lie below"},
        {"{\"train\": [[\"p\\\\..\\\\..\\\\x.png\", 0, \"a\"]], \"test\": []}", "does not lie below"},
        {"{\"train\": [[\"..\", 0, \"a\"]], \"test\": []}", "does not lie below"},
        {"{\"train\": [[\"\", 0, \"a\"]], \"test\": []}", "does not lie below"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(temp_path("bad7/split.json"), bad[i][0]);
        refused(temp_path("bad7/split.json"), bad[i][1]);
    }
    refused("/dev/zero", "no plain file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),   cmocka_unit_test(parts),        cmocka_unit_test(json),      cmocka_unit_test(few),
        cmocka_unit_test(fair),    cmocka_unit_test(halves),       cmocka_unit_test(lists),     cmocka_unit_test(bad_folders),
        cmocka_unit_test(untidy),  cmocka_unit_test(untidy_parts), cmocka_unit_test(bad_parts), cmocka_unit_test(foreign_json),
        cmocka_unit_test(bad_json)};
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
