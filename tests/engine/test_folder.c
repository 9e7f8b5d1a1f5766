/* test_folder.c - the pictures of a folder: each once, whatever links lead where, and nothing that is none. */
#include "../support/program.h"

#include "engine/folder.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make(const char *name)
{
    assert_int_equal(mkdir(temp_path("%s", name), 0700), 0);
}

static void put(const char *name)
{
    write_text(temp_path("%s", name), "x");
}

static ts_folder list_ok(const char *name, ts_folder_depth depth)
{
    ts_folder f;
    ts_error err = {0};
    if (!ts_folder_list(temp_path("%s", name), depth, &f, &err)) fail_msg("%s", err.text);
    return f;
}

/* The pictures as names below `name`, a space between. */
static void assert_pictures(const char *name, ts_folder_depth depth, const char *wanted)
{
    ts_folder f = list_ok(name, depth);
    char got[1024] = "";
    const size_t root = strlen(temp_path("%s", name)) + 1;
    for (int64_t i = 0; i < f.count; i++) {
        const size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%s", i ? " " : "", f.picture[i] + root);
    }
    assert_string_equal(got, wanted);
    ts_folder_clear(&f);
}

static void sorted_and_deep(void **state)
{
    (void)state;
    make("plain");
    make("plain/b");
    make("plain/b/c");
    make("plain/.hidden");
    make("plain/__MACOSX");
    put("plain/z.PNG");
    put("plain/a.jpeg");
    put("plain/b/m.jpg");
    put("plain/b/c/k.bmp");
    put("plain/.hidden/x.png");
    put("plain/__MACOSX/x.png");
    put("plain/._a.jpeg");
    put("plain/.DS_Store");
    assert_pictures("plain", TS_FOLDER_BELOW, "a.jpeg b/c/k.bmp b/m.jpg z.PNG");
    assert_pictures("plain", TS_FOLDER_ALONE, "a.jpeg z.PNG");
}

static void links_lead_in_no_circle(void **state)
{
    (void)state;
    make("circle");
    make("circle/real");
    put("circle/real/x.png");
    assert_int_equal(symlink(".", temp_path("circle/self")), 0);
    assert_int_equal(symlink("..", temp_path("circle/real/up")), 0);
    assert_int_equal(symlink("real", temp_path("circle/alias")), 0); /* sorts before what it leads to */
    assert_pictures("circle", TS_FOLDER_BELOW, "real/x.png");
    /* Every folder links to every other: a walk that counts paths would not end. */
    make("web");
    for (int i = 0; i < 12; i++) {
        assert_int_equal(mkdir(temp_path("web/%d", i), 0700), 0);
        write_text(temp_path("web/%d/p.png", i), "x");
        for (int k = 0; k < 12; k++) {
            char to[16];
            snprintf(to, sizeof to, "../%d", k);
            assert_int_equal(symlink(to, temp_path("web/%d/to%d", i, k)), 0);
        }
    }
    ts_folder f = list_ok("web", TS_FOLDER_BELOW);
    assert_int_equal(f.count, 12);
    ts_folder_clear(&f);
}

static void links_lead_elsewhere(void **state)
{
    (void)state;
    make("outside");
    make("outside/deep");
    put("outside/one.png");
    put("outside/deep/two.png");
    make("inside");
    assert_int_equal(symlink("../outside", temp_path("inside/b")), 0);
    assert_int_equal(symlink("../outside/deep", temp_path("inside/a")), 0);
    /* Sorted, a comes first, and what it leads to is not read again below b. */
    assert_pictures("inside", TS_FOLDER_BELOW, "a/two.png b/one.png");
    assert_int_equal(symlink("nowhere.png", temp_path("inside/gone.png")), 0);
    assert_int_equal(symlink("nowhere", temp_path("inside/gone")), 0);
    assert_pictures("inside", TS_FOLDER_ALONE, "gone.png"); /* reading it says what is wrong */
}

static void other_kinds_are_told(void **state)
{
    (void)state;
    char text[256];
    make("kinds");
    ts_folder f = list_ok("kinds", TS_FOLDER_BELOW);
    assert_string_equal(ts_folder_passed(&f, text, sizeof text), "");
    ts_folder_clear(&f);
    put("kinds/a.xmp");
    put("kinds/b.txt");
    put("kinds/c.txt");
    f = list_ok("kinds", TS_FOLDER_BELOW);
    assert_string_equal(ts_folder_passed(&f, text, sizeof text), "passed over 3 files of other kinds (2 .txt, 1 .xmp)");
    ts_folder_clear(&f);
    put("kinds/README");
    put("kinds/d.\033[31m");
    assert_int_equal(mkfifo(temp_path("kinds/pipe.png"), 0600), 0);
    f = list_ok("kinds", TS_FOLDER_ALONE);
    assert_string_equal(ts_folder_passed(&f, text, sizeof text),
                        "passed over 6 files of other kinds (2 without an ending, 2 .txt, 1 .xmp, 1 no plain file)");
    ts_folder_clear(&f);
}

static void folders_that_cannot_be_read(void **state)
{
    (void)state;
    ts_folder f;
    ts_error err = {0};
    assert_false(ts_folder_list(temp_path("nowhere"), TS_FOLDER_BELOW, &f, &err));
    assert_non_null(strstr(err.text, "nowhere"));
    assert_null(f.picture);
    if (geteuid() == 0) return; /* root reads them all */
    make("locked");
    make("locked/in");
    put("locked/x.png");
    assert_int_equal(chmod(temp_path("locked/in"), 0), 0);
    f = list_ok("locked", TS_FOLDER_BELOW);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.problems, 1);
    assert_non_null(strstr(f.problem[0], "locked/in"));
    ts_folder_clear(&f);
    chmod(temp_path("locked/in"), 0700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorted_and_deep),
        cmocka_unit_test(links_lead_in_no_circle),
        cmocka_unit_test(links_lead_elsewhere),
        cmocka_unit_test(other_kinds_are_told),
        cmocka_unit_test(folders_that_cannot_be_read),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
