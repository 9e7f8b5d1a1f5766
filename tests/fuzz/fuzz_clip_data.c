/* fuzz_clip_data.c - any bytes as a list of labelled pictures, and as lines. What opens must hold together through every
 * protocol. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clip/clip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/fuzz_clip_data_XXXXXX", list[128];

static void clean_up(void)
{
    char path[160];
    unlink(list);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        unlink(path);
    }
    rmdir(folder);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
}

static void begin(void)
{
    char path[160];
    if (!mkdtemp(folder)) abort();
    snprintf(list, sizeof list, "%s/list", folder);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        write_file(path, "x", 1);
    }
    atexit(clean_up);
}

static void check_split(const ts_clip_split *s, int classes)
{
    for (int64_t i = 0; i < s->count; i++)
        if (s->item[i].label < 0 || s->item[i].label >= classes || strncmp(s->item[i].path, folder, strlen(folder)) != 0) abort();
}

static void check(const ts_clip_data *d)
{
    if (d->classes < 1 || d->train.count < 1 || d->test.count < 1) abort();
    if (!ts_clip_check_names((const char *const *)d->name, d->classes, NULL)) abort();
    check_split(&d->train, d->classes);
    check_split(&d->val, d->classes);
    check_split(&d->test, d->classes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!list[0]) begin();
    write_file(list, bytes, size);
    ts_clip_data d, half;
    ts_error err = {0};
    if (ts_clip_data_open(list, NULL, size, &d, &err)) {
        check(&d);
        for (int i = TS_CLIP_ALL; i <= TS_CLIP_NEW; i++) {
            if (ts_clip_data_half(&d, (ts_clip_half)i, &half, NULL)) {
                check(&half);
                ts_clip_data_clear(&half);
            } else if (i != TS_CLIP_NEW || d.classes > 1) {
                abort();
            }
        }
        if (!ts_clip_data_few(&d, 1 + (int)(size % 3), size, NULL)) abort();
        check(&d);
        ts_clip_data_clear(&d);
    } else if (err.code == TS_OK || d.classes || d.name) {
        abort();
    }
    char **lines;
    err = (ts_error){0};
    int count = ts_text_lines(list, &lines, &err);
    if (count < 0 && err.code == TS_OK) abort();
    for (int i = 0; i < count; i++)
        if (!lines[i][0] || lines[i][0] == '#') abort();
    ts_text_lines_free(lines, count);
    return 0;
}
