/* program.c - see program.h. */
#include "program.h"

#include "mae/mae.h"

#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGS = 256 };
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

const char *kept_path(const char *name)
{
    static char paths[64][512];
    static size_t next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", temp_dir(), name);
    return path;
}

void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
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

bool same_bytes(const char *a, const char *b)
{
    size_t size_a, size_b;
    unsigned char *x = read_bytes(a, &size_a), *y = read_bytes(b, &size_b);
    const bool same = size_a == size_b && memcmp(x, y, size_a) == 0;
    free(x);
    free(y);
    return same;
}

void assert_same(const char *a, const char *b, const char *name)
{
    char path[2][600];
    snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    if (!same_bytes(path[0], path[1])) fail_msg("%s and %s differ", path[0], path[1]);
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

void succeed(program_result r)
{
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    program_free(&r);
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

const char *random_model(void)
{
    static char path[512];
    if (path[0]) return path;
    const ts_mae_config mae = {.patch = 16,
                               .side = 4,
                               .dim = 64,
                               .depth = 2,
                               .heads = 4,
                               .mlp = 128,
                               .decoder_dim = 32,
                               .decoder_depth = 1,
                               .decoder_heads = 2,
                               .decoder_mlp = 64,
                               .codes = 64};
    const ts_vqgan_config vqgan = {.base = 32,
                                   .levels = 5,
                                   .width = {32, 32, 32, 32, 32},
                                   .blocks = 1,
                                   .attention = {false, false, false, false, true},
                                   .latent = 32,
                                   .embed = 16,
                                   .codes = 64,
                                   .factor = 16};
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/random_model.safetensors", temp_dir());
    if (!ts_mae_write_random(path, &mae, &vqgan, 7, &err)) fail_msg("%s", err.text);
    return path;
}

const char *random_model_that_says(const char *name, const char *option, const char *value)
{
    const char *path = temp_path("%s", name);
    program_result r = program_run("model", "convert", random_model(), path, option, value, NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    program_free(&r);
    return path;
}
