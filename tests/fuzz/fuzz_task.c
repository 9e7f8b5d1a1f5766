/* fuzz_task.c - a task's file of a small model, of which the input changes bytes (two for the place, one for the value): what is
 * read must be a task of that model, with masks of zeros and ones. */
#include "mae/prompt/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/fuzz_task_XXXXXX", path[64], model_path[64];
static ts_weights *model;
static ts_mae_config config;
static uint8_t base[1 << 16];
static size_t base_size;

static void clean_up(void)
{
    ts_weights_free(model);
    unlink(path);
    unlink(model_path);
    rmdir(folder);
}

static void write_task(void)
{
    ts_grid grid;
    ts_weights_writer *w = ts_weights_writer_new();
    static const uint8_t colours[2][3] = {{0, 0, 0}, {255, 255, 255}};
    if (!ts_grid_plan(&(ts_grid_desc){.canvas = config.side * config.patch, .patch = config.patch}, &grid, NULL)) abort();
    ts_task *t = ts_task_new(&config, &grid, NULL);
    if (!t || !w) abort();
    ts_task_set_colours(t, colours);
    if (!ts_task_add(t, model, w, NULL) || !ts_weights_writer_save(w, path, NULL)) abort();
    ts_weights_writer_free(w);
    ts_task_free(t);
    FILE *f = fopen(path, "rb");
    if (!f) abort();
    base_size = fread(base, 1, sizeof base, f);
    fclose(f);
}

static void begin(void)
{
    const ts_mae_config mae = {.patch = 16,
                               .side = 4,
                               .dim = 8,
                               .depth = 1,
                               .heads = 2,
                               .mlp = 8,
                               .decoder_dim = 8,
                               .decoder_depth = 1,
                               .decoder_heads = 2,
                               .decoder_mlp = 8,
                               .codes = 4};
    const ts_vqgan_config vqgan = {.base = 32,
                                   .levels = 2,
                                   .width = {32, 32},
                                   .blocks = 1,
                                   .attention = {false, true},
                                   .latent = 4,
                                   .embed = 4,
                                   .codes = 4,
                                   .factor = 2};
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/task.safetensors", folder);
    snprintf(model_path, sizeof model_path, "%s/model.safetensors", folder);
    atexit(clean_up);
    if (!ts_mae_write_random(model_path, &mae, &vqgan, 1, NULL) || !(model = ts_weights_open(model_path, NULL)) ||
        !ts_mae_config_read(model, 0, 0, false, &config, NULL))
        abort();
    write_task();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!path[0]) begin();
    static uint8_t changed[sizeof base];
    memcpy(changed, base, base_size);
    for (size_t i = 0; i + 3 <= size; i += 3) changed[(bytes[i] | bytes[i + 1] << 8) % base_size] = bytes[i + 2];
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(changed, 1, base_size, f) != base_size || fclose(f) != 0) abort();
    ts_error err = {0};
    ts_weights *file = ts_weights_open(path, &err);
    ts_task *t = file ? ts_task_open(file, model, &config, &err) : NULL;
    if ((t != NULL) == (err.code != TS_OK)) abort();
    for (int64_t i = 0; t && i < ts_task_places(t); i++)
        if (ts_task_mask(t)[i] > 1) abort();
    ts_task_free(t);
    ts_weights_free(file);
    return 0;
}
