/* test_outfile.c - files that appear whole or not at all: their modes, names as long as the file system takes, and pipes and
 * devices in the place of what is read. */
#include "../support/program.h"

#include "engine/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_ok(const char *path)
{
    ts_error err = {0};
    if (!ts_file_write(path, "bytes", 5, &err)) fail_msg("%s", err.text);
}

static int mode_of(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return (int)(s.st_mode & 0777);
}

static void modes(void **state)
{
    (void)state;
    const mode_t old = umask(027);
    const char *path = temp_path("modes");
    write_ok(path);
    assert_int_equal(mode_of(path), 0640);
    assert_int_equal(chmod(path, 0604), 0);
    write_ok(path);
    assert_int_equal(mode_of(path), 0604);
    umask(old);
    /* What is for its owner alone becomes so whatever was there. */
    ts_weights_writer *w = ts_weights_writer_new();
    ts_error err = {0};
    ts_weights_writer_private(w);
    assert_true(ts_weights_writer_save(w, path, &err));
    assert_int_equal(mode_of(path), 0600);
    ts_weights_writer_free(w);
}

static void names_as_long_as_can_be(void **state)
{
    (void)state;
    char name[NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[NAME_MAX] = '\0';
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    write_ok(path);
    write_ok(path);
    assert_true(file_exists(path));
    name[NAME_MAX] = 'a';
    name[NAME_MAX + 1] = '\0';
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    ts_error err = {0};
    assert_false(ts_file_write(path, "bytes", 5, &err));
    assert_int_equal(err.code, TS_ERR_IO);
}

static void pipes_hold_nobody_up(void **state)
{
    (void)state;
    const char *pipe = temp_path("pipe.png");
    size_t size;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    ts_error err[3] = {0};
    assert_null(ts_file_read(pipe, "list", 100, &size, &err[0]));
    assert_null(ts_file_open(pipe, "list", &err[1]));
    assert_null(ts_weights_open(pipe, &err[2]));
    for (int i = 0; i < 3; i++) assert_int_equal(err[i].code, TS_ERR_IO);
    assert_non_null(strstr(err[1].text, "is no plain file"));
}

static void devices_are_no_pictures(void **state)
{
    (void)state;
    ts_image img;
    ts_error err = {0};
    assert_false(ts_image_load("/dev/zero", &img, &err));
    assert_non_null(strstr(err.text, "/dev/zero is a device"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes),
        cmocka_unit_test(names_as_long_as_can_be),
        cmocka_unit_test(pipes_hold_nobody_up),
        cmocka_unit_test(devices_are_no_pictures),
    };
    return cmocka_run_group_tests_name("outfile", tests, NULL, NULL);
}
