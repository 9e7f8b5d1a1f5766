/* bench_clip.c - times a CLIP's towers, for bench_clip.sh, which compares them with PyTorch's. Prints one JSON object with
 * medians in milliseconds; cpu_ms is the time that the process itself got, which another busy program disturbs less. With
 * --profile also where a run's time goes, by op. */
#include "clip/clip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    const char *file, *device;
    int images, texts, length, threads, runs;
    ts_precision precision;
    bool profile;
} options;

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* What is measured: images where there are some, else texts. */
typedef struct {
    ts_clip *clip;
    const float *pixels;
    const int32_t *tokens;
    int64_t count;
    float *features;
} work;

static bool run_once(const work *w, ts_error *err)
{
    return w->pixels ? ts_clip_encode_images(w->clip, w->pixels, w->count, w->features, err)
                     : ts_clip_encode_texts(w->clip, w->tokens, w->count, w->features, err);
}

static bool measure(const work *w, int runs, double *wall, double *cpu, ts_error *err)
{
    double *list = calloc((size_t)runs, sizeof *list);
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    *cpu = 1e300;
    for (int i = -2; ok && i < runs; i++) {
        const double start = now_ms(CLOCK_MONOTONIC), start_cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        ok = run_once(w, err);
        if (i < 0) continue;
        const double took = now_ms(CLOCK_PROCESS_CPUTIME_ID) - start_cpu;
        *cpu = took < *cpu ? took : *cpu;
        list[i] = now_ms(CLOCK_MONOTONIC) - start;
    }
    qsort(list, (size_t)runs, sizeof *list, ascending);
    *wall = list[runs / 2];
    free(list);
    return ok;
}

/* One run of the image tower by op, to standard error. */
static bool print_profile(const work *w, ts_error *err)
{
    const int64_t side = ts_clip_about(w->clip)->image;
    ts_graph *g = ts_graph_new();
    ts_tensor *in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){w->count, side, side, 3});
    ts_output(g, ts_clip_vision(g, w->clip, ts_clip_patches(g, w->clip, in), NULL));
    ts_exec *e = ts_exec_new(g, ts_clip_device(w->clip), err);
    bool ok = e && ts_write(e, in, w->pixels, err) && ts_run(e, err) && ts_run(e, err);
    const ts_profile *list;
    const int count = ok ? ts_exec_profile(e, &list) : 0;
    for (int i = 0; i < count; i++)
        fprintf(stderr, "%-14s %-44s %-40s %8.3f ms %7.1f GFLOP/s\n", list[i].op, list[i].name, list[i].shape, list[i].ms,
                list[i].flops / list[i].ms * 1e-6);
    if (ok) fprintf(stderr, "arena: %.1f MB\n", (double)ts_exec_about(e).arena_bytes / 1e6);
    ts_exec_free(e);
    ts_graph_free(g);
    return ok;
}

/* Pixels and tokens that are as good as any. */
static bool measure_both(const options *o, ts_clip *clip, ts_error *err)
{
    const ts_clip_config *c = ts_clip_about(clip);
    if (o->length < 1 || o->length > c->context || o->images < 1 || o->texts < 1 || o->runs < 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "a text has 1 to %d tokens, and there must be something to measure", c->context);
    const size_t values = (size_t)o->images * (size_t)c->image * (size_t)c->image * 3;
    const size_t items = (size_t)(o->images > o->texts ? o->images : o->texts);
    float *pixels = malloc(values * sizeof *pixels), *features = malloc(items * (size_t)c->embed * sizeof *features);
    int32_t *tokens = calloc((size_t)o->texts * (size_t)c->context, sizeof *tokens);
    bool ok = false;
    if (pixels && tokens && features) {
        for (size_t i = 0; i < values; i++) pixels[i] = (float)(i * 7919 % 2001) * 2e-3F - 2;
        for (int i = 0; i < o->texts; i++)
            for (int k = 0; k < o->length; k++)
                tokens[i * c->context + k] = k == o->length - 1 ? c->vocabulary - 1 : (i * 131 + k * 7919) % (c->vocabulary - 2);
        const work images = {clip, pixels, NULL, o->images, features}, texts = {clip, NULL, tokens, o->texts, features};
        double wall[2] = {0}, cpu[2] = {0};
        ok = measure(&images, o->runs, &wall[0], &cpu[0], err) && measure(&texts, o->runs, &wall[1], &cpu[1], err) &&
             (!o->profile || print_profile(&images, err));
        if (ok)
            printf(
                "{\"device\": \"%s\", \"precision\": \"%s\", \"images_ms\": %.3f, \"images_cpu_ms\": %.3f, \"texts_ms\": %.3f, "
                "\"texts_cpu_ms\": %.3f}\n",
                ts_device_about(ts_clip_device(clip))->name, o->precision == TS_F16 ? "fp16" : "fp32", wall[0], cpu[0], wall[1],
                cpu[1]);
    } else {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    free(pixels);
    free(tokens);
    free(features);
    return ok;
}

static bool bench(const options *o, ts_error *err)
{
    ts_device *dev = ts_device_open(&(ts_device_desc){o->device, o->precision, o->threads, false, o->profile}, err);
    ts_weights *file = dev ? ts_weights_open(o->file, err) : NULL;
    ts_clip *clip = file ? ts_clip_new(dev, file, &(ts_clip_told){.activation = TS_CLIP_QUICK_GELU}, err) : NULL;
    const bool ok = clip && measure_both(o, clip, err);
    ts_clip_free(clip);
    ts_weights_free(file);
    ts_device_free(dev);
    return ok;
}

int main(int argc, char **argv)
{
    options o = {.device = "cpu", .images = 32, .texts = 64, .length = 77, .runs = 7};
    const struct {
        const char *name;
        int *value;
    } numbers[] = {
        {"--images", &o.images}, {"--texts", &o.texts}, {"--length", &o.length}, {"--threads", &o.threads}, {"--runs", &o.runs}};
    bool understood = argc > 1;
    for (int i = 1; i < argc && understood; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int *value = NULL;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            if (strcmp(argv[i], numbers[k].name) == 0) value = numbers[k].value;
        if (value && next) *value = atoi(next), i++;
        else if (strcmp(argv[i], "--device") == 0 && next) o.device = next, i++;
        else if (strcmp(argv[i], "--precision") == 0 && next) o.precision = strcmp(next, "fp16") == 0 ? TS_F16 : TS_F32, i++;
        else if (strcmp(argv[i], "--profile") == 0) o.profile = true;
        else if (!o.file && argv[i][0] != '-') o.file = argv[i];
        else understood = false;
    }
    if (!understood || !o.file) {
        fprintf(stderr, "bench_clip FILE [--images N] [--texts N] [--length L] [--threads T] [--runs R] [--device D] "
                        "[--precision fp32|fp16] [--profile]\n");
        return 2;
    }
    ts_error err = {0};
    if (bench(&o, &err)) return 0;
    fprintf(stderr, "bench_clip: %s\n", err.text);
    return 1;
}
