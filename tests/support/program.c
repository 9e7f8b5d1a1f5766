/* program.c - see program.h. */
#include "program.h"

#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

enum { MAX_ARGS = 64 };
extern char **environ;

const char *temp_path(const char *format, ...)
{
    static char paths[16][512];
    static int next;
    char *path = paths[next++ % 16];
    int used = snprintf(path, sizeof paths[0], "%s/", temp_dir());
    va_list args;
    va_start(args, format);
    vsnprintf(path + used, sizeof paths[0] - (size_t)used, format, args);
    va_end(args);
    return path;
}

void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

unsigned char *read_bytes(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is not there", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    bytes[*size] = '\0';
    fclose(f);
    return bytes;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

program_result program_run_list(const char *const *args, int count)
{
    assert_true(count < MAX_ARGS);
    char *argv[MAX_ARGS + 2] = {(char *)TS_PROGRAM};
    for (int i = 0; i < count; i++) argv[i + 1] = (char *)args[i];
    char out[512], err[512];
    snprintf(out, sizeof out, "%s/stdout", temp_dir());
    snprintf(err, sizeof err, "%s/stderr", temp_dir());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid;
    assert_int_equal(posix_spawn(&pid, TS_PROGRAM, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    size_t size;
    return (program_result){.status = WIFEXITED(state) ? WEXITSTATUS(state) : -1,
                            .out = (char *)read_bytes(out, &size),
                            .err = (char *)read_bytes(err, &size)};
}

program_result program_run(const char *first, ...)
{
    const char *args[MAX_ARGS];
    int count = 0;
    va_list list;
    va_start(list, first);
    for (const char *word = first; word && count < MAX_ARGS; word = va_arg(list, const char *)) args[count++] = word;
    va_end(list);
    return program_run_list(args, count);
}

void program_free(program_result *r)
{
    free(r->out);
    free(r->err);
    *r = (program_result){0};
}

void assert_refused(program_result r, int status, const char *word)
{
    const char *end = strchr(r.err, '\n');
    if (r.status != status || r.out[0] || !end || end[1] || !strstr(r.err, word))
        fail_msg("wanted status %d and one line with \"%s\", got status %d, output \"%s\", errors \"%s\"", status, word, r.status,
                 r.out, r.err);
    program_free(&r);
}

void write_picture(const char *path, int width, int height, uint64_t seed)
{
    ts_image img;
    ts_error err = {0};
    assert_true(ts_image_new(width, height, &img, &err));
    double phase[3];
    for (int c = 0; c < 3; c++) phase[c] = 6 * test_uniform(&seed);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                img.data[(y * width + x) * 3 + c] = (uint8_t)(127 + 120 * sin(phase[c] + x * 0.07 * (c + 1) + y * 0.05));
    if (!ts_image_save(path, &img, &err)) fail_msg("%s", err.text);
    ts_image_clear(&img);
}

/* ---- a zip of stored entries --------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    size_t size;
} buffer;

static void put(buffer *b, const void *bytes, size_t size)
{
    b->bytes = realloc(b->bytes, b->size + size + 1);
    assert_non_null(b->bytes);
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

static void put_number(buffer *b, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) put(b, &(unsigned char){(unsigned char)(value >> (8 * i))}, 1);
}

/* The fields that a local header and a central entry share. */
static void put_entry_fields(buffer *b, const char *name, const void *bytes, size_t size)
{
    put_number(b, 0, 2); /* flags */
    put_number(b, 0, 2); /* stored */
    put_number(b, 0, 4); /* time */
    put_number(b, (uint32_t)crc32(0, bytes, (uInt)size), 4);
    put_number(b, (uint32_t)size, 4);
    put_number(b, (uint32_t)size, 4);
    put_number(b, (uint32_t)strlen(name), 2);
    put_number(b, 0, 2); /* extra */
}

void write_torch_zip(const char *path, const void *pickle, size_t pickle_size, const void *storage, size_t storage_size)
{
    const struct {
        const char *name;
        const void *bytes;
        size_t size;
    } entries[] = {
        {"archive/data.pkl", pickle, pickle_size}, {"archive/data/0", storage, storage_size}, {"archive/version", "3\n", 2}};
    enum { COUNT = sizeof entries / sizeof *entries };
    buffer zip = {0}, central = {0};
    for (int i = 0; i < COUNT; i++) {
        uint32_t offset = (uint32_t)zip.size;
        put_number(&zip, 0x04034b50, 4);
        put_number(&zip, 20, 2);
        put_entry_fields(&zip, entries[i].name, entries[i].bytes, entries[i].size);
        put(&zip, entries[i].name, strlen(entries[i].name));
        put(&zip, entries[i].bytes, entries[i].size);
        put_number(&central, 0x02014b50, 4);
        put_number(&central, 20, 2);
        put_number(&central, 20, 2);
        put_entry_fields(&central, entries[i].name, entries[i].bytes, entries[i].size);
        put_number(&central, 0, 2); /* comment */
        put_number(&central, 0, 2); /* disk */
        put_number(&central, 0, 2);
        put_number(&central, 0, 4);
        put_number(&central, offset, 4);
        put(&central, entries[i].name, strlen(entries[i].name));
    }
    uint32_t start = (uint32_t)zip.size;
    put(&zip, central.bytes, central.size);
    put_number(&zip, 0x06054b50, 4);
    put_number(&zip, 0, 4);
    put_number(&zip, COUNT, 2);
    put_number(&zip, COUNT, 2);
    put_number(&zip, (uint32_t)central.size, 4);
    put_number(&zip, start, 4);
    put_number(&zip, 0, 2);
    write_bytes(path, zip.bytes, zip.size);
    free(zip.bytes);
    free(central.bytes);
}
