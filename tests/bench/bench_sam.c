/* bench_sam.c - times a Segment Anything or a SegGPT, for bench_sam.sh, which compares them with PyTorch's. Prints one JSON
 * object: of a SAM its encoder, and its decoder for one point and for 64 prompts of a point each; of a SegGPT one pair. Medians
 * in milliseconds; cpu_ms is the least time of the processor that a run took, all threads together, which another busy program
 * disturbs less; peak_mb is the process's highest after the encoder (the pair), beyond the weights that it used. With --compare
 * FILE nothing is timed: the outputs are compared with those that tests/reference/make_full_map_model.py has put there, or, of a
 * DINO, which is not timed here, those that make_dino_golden.py has put beside its weights. */
#include "dino/dino.h"
#include "painter/painter.h"
#include "sam/sam.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    const char *file, *device, *compare;
    int threads, runs;
    ts_precision precision;
} options;

enum { MANY = 64 };

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

static double peak_mb(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_maxrss * 1024e-6;
}

/* Of the tensors whose names begin so. */
static double weights_mb(const ts_weights *w, const char *prefix)
{
    double bytes = 0;
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        if (strncmp(t->name, prefix, strlen(prefix)) == 0) bytes += 4.0 * (double)t->count;
    }
    return bytes * 1e-6;
}

/* Waves and a rectangle: a picture as good as any. */
static bool drawn(int side, ts_image *out, ts_error *err)
{
    if (!ts_image_new(side, side, out, err)) return false;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int c = 0; c < 3; c++)
                out->data[((int64_t)y * side + x) * 3 + c] = (uint8_t)(128 + 100 * sin(x * 0.01 + c) * cos(y * 0.013));
    return true;
}

typedef bool (*work_fn)(void *ctx, ts_error *err);

/* Prints "NAME_ms": median, "NAME_cpu_ms": least, after a run that does not count. */
static bool measure(const char *name, int runs, work_fn work, void *ctx, ts_error *err)
{
    double *list = calloc((size_t)runs, sizeof *list), least = INFINITY;
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    for (int i = -1; ok && i < runs; i++) {
        const double start = now_ms(CLOCK_MONOTONIC), start_cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        ok = work(ctx, err);
        if (i < 0) continue;
        least = fmin(least, now_ms(CLOCK_PROCESS_CPUTIME_ID) - start_cpu);
        list[i] = now_ms(CLOCK_MONOTONIC) - start;
    }
    qsort(list, (size_t)runs, sizeof *list, ascending);
    if (ok) printf(", \"%s_ms\": %.3f, \"%s_cpu_ms\": %.3f", name, list[runs / 2], name, least);
    free(list);
    return ok;
}

/* ---- comparing ---- */

/* max |got - want| / max |want| of a tensor, printed. */
static bool compare(const ts_weights *expected, const char *name, const float *got, int64_t count, ts_error *err)
{
    const ts_weight *t = ts_weights_find(expected, name);
    float *want = t && t->count == count ? malloc((size_t)count * sizeof *want) : NULL;
    if (!want)
        return ts_fail(err, TS_ERR_SHAPE, "%s has no %s of %lld numbers", ts_weights_path(expected), name, (long long)count);
    double top = 0, worst = 0;
    const bool ok = ts_weight_to_f32(t, want, err);
    for (int64_t i = 0; ok && i < count; i++) {
        top = fmax(top, fabs((double)want[i]));
        const double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) worst = d; /* a NaN wins */
    }
    if (ok) printf("%s: worst error %.3g of %.3g, relative %.3g\n", name, worst, top, worst / top);
    free(want);
    return ok;
}

/* Picture number `at` of a tensor (..., side, side, 3) of bytes. */
static bool expected_picture(const ts_weights *expected, const char *name, int side, int64_t at, ts_image *out, ts_error *err)
{
    const ts_weight *t = ts_weights_find(expected, name);
    const int64_t values = (int64_t)side * side * 3;
    if (!t || t->count < values * (at + 1))
        return ts_fail(err, TS_ERR_SHAPE, "%s has no %s of side %d", ts_weights_path(expected), name, side);
    int64_t *all = malloc((size_t)t->count * sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = ts_weight_to_i64(t, all, err) && ts_image_new(side, side, out, err);
    for (int64_t i = 0; ok && i < values; i++) out->data[i] = (uint8_t)all[at * values + i];
    free(all);
    return ok;
}

/* ---- Segment Anything ---- */

typedef struct {
    ts_sam *sam;
    ts_image picture;
    ts_sam_prompt prompt[MANY];
    float point[MANY][2];
    int prompts;
    ts_sam_answer answer;
} sam_work;

static bool encode(void *ctx, ts_error *err)
{
    sam_work *w = ctx;
    return ts_sam_set_picture(w->sam, &w->picture, err);
}

static bool decode(void *ctx, ts_error *err)
{
    sam_work *w = ctx;
    ts_sam_answer_clear(&w->answer);
    return ts_sam_predict(w->sam, w->prompt, w->prompts, &(ts_sam_options){.multimask = true}, &w->answer, err);
}

static bool time_sam(const options *o, const ts_weights *file, sam_work *w, ts_error *err)
{
    if (!drawn(ts_sam_about(w->sam)->picture, &w->picture, err) || !measure("encoder", o->runs, encode, w, err)) return false;
    printf(", \"peak_mb\": %.0f", peak_mb() - weights_mb(file, "image_encoder."));
    w->prompts = 1;
    if (!measure("one", 5 * o->runs, decode, w, err)) return false;
    w->prompts = MANY;
    return measure("many", o->runs, decode, w, err);
}

static bool compare_sam(const options *o, sam_work *w, ts_error *err)
{
    const ts_sam_config *c = ts_sam_about(w->sam);
    const int64_t low = 3 * (int64_t)c->low * c->low;
    ts_weights *expected = ts_weights_open(o->compare, err);
    w->prompts = 1;
    w->point[0][0] = 512;
    w->point[0][1] = 400;
    const bool ok = expected && expected_picture(expected, "picture", c->picture, 0, &w->picture, err) && encode(w, err) &&
                    compare(expected, "embedding", ts_sam_embedding(w->sam), (int64_t)c->side * c->side * c->embed, err) &&
                    decode(w, err) && compare(expected, "low", w->answer.logits, low, err) &&
                    compare(expected, "iou", w->answer.score, 3, err);
    ts_weights_free(expected);
    return ok;
}

static bool bench_sam(const options *o, ts_device *dev, const ts_weights *file, ts_error *err)
{
    static const int label = 1;
    sam_work w = {.sam = ts_sam_new(dev, &(ts_sam_desc){.weights = file}, err)};
    if (!w.sam) return false;
    for (int i = 0; i < MANY; i++) {
        const int column = i % 8, row = i / 8;
        w.point[i][0] = (float)(column * 100 + 80);
        w.point[i][1] = (float)(row * 100 + 80);
        w.prompt[i] = (ts_sam_prompt){.points = 1, .point = w.point[i], .label = &label};
    }
    const bool ok = o->compare ? compare_sam(o, &w, err) : time_sam(o, file, &w, err);
    ts_sam_answer_clear(&w.answer);
    ts_image_clear(&w.picture);
    ts_sam_free(w.sam);
    return ok;
}

/* ---- SegGPT ---- */

typedef struct {
    ts_painter *painter;
    ts_image pictures[3]; /* the example's, its target, the query */
    ts_painted painted;
} pair_work;

static bool paint(void *ctx, ts_error *err)
{
    pair_work *w = ctx;
    ts_painted_clear(&w->painted);
    const ts_painter_pair pair = {&w->pictures[0], &w->pictures[1]};
    return ts_painter_run(w->painter, &pair, 1, &w->pictures[2], NULL, &w->painted, NULL, err);
}

static bool bench_seggpt(const options *o, ts_device *dev, const ts_weights *file, ts_error *err)
{
    pair_work w = {.painter = ts_painter_new(dev, file, err)};
    if (!w.painter) return false;
    const int side = ts_painter_about(w.painter)->side;
    ts_weights *expected = o->compare ? ts_weights_open(o->compare, err) : NULL;
    bool ok = expected || !o->compare;
    for (int i = 0; ok && i < 3; i++)
        ok = expected ? expected_picture(expected, "pictures", side, i, &w.pictures[i], err) : drawn(side, &w.pictures[i], err);
    if (ok && expected)
        ok = paint(&w, err) && compare(expected, "painted", w.painted.values, (int64_t)w.painted.side * w.painted.side * 3, err);
    else if (ok)
        ok = measure("pair", o->runs, paint, &w, err) && printf(", \"peak_mb\": %.0f", peak_mb() - weights_mb(file, "")) > 0;
    for (int i = 0; i < 3; i++) ts_image_clear(&w.pictures[i]);
    ts_painted_clear(&w.painted);
    ts_weights_free(expected);
    ts_painter_free(w.painter);
    return ok;
}

/* ---- DINO ---- */

static int meta_int(const ts_weights *w, const char *key)
{
    const char *text = ts_weights_meta(w, key);
    return text ? atoi(text) : 0;
}

static bool compare_dino(ts_device *dev, const ts_weights *file, const ts_weights *expected, ts_error *err)
{
    const int rows = meta_int(expected, "rows"), columns = meta_int(expected, "columns");
    const ts_weight *t = ts_weights_find(expected, "expected.pixels");
    ts_dino *dino = ts_dino_new(dev, file, rows, columns, err);
    if (!dino) return false;
    const int64_t patch = ts_dino_about(dino)->patch, count = (int64_t)rows * columns * ts_dino_about(dino)->width;
    float *pixels = NULL, *tokens = malloc((size_t)count * sizeof *tokens);
    bool ok = t && t->count == rows * columns * patch * patch * 3;
    if (!ok) ts_fail(err, TS_ERR_SHAPE, "%s has no picture of its grid", ts_weights_path(expected));
    ok = ok && tokens && (pixels = malloc((size_t)t->count * sizeof *pixels)) && ts_weight_to_f32(t, pixels, err);
    for (int normed = 0; ok && normed < 2; normed++)
        ok = ts_dino_encode(dino, pixels, normed, tokens, err) &&
             compare(expected, normed ? "expected.tokens" : "expected.prenorm", tokens, count, err);
    free(pixels);
    free(tokens);
    ts_dino_free(dino);
    return ok;
}

static bool bench_dino(const options *o, ts_device *dev, const ts_weights *file, ts_error *err)
{
    if (!o->compare) return ts_fail(err, TS_ERR_ARGUMENT, "a DINO is only compared: --compare EXPECTED");
    ts_weights *expected = ts_weights_open(o->compare, err);
    const bool ok = expected && compare_dino(dev, file, expected, err);
    ts_weights_free(expected);
    return ok;
}

static bool bench(const options *o, ts_error *err)
{
    ts_device *dev = ts_device_open(&(ts_device_desc){o->device, o->precision, o->threads, false, false}, err);
    ts_weights *file = dev ? ts_weights_open(o->file, err) : NULL;
    bool ok = file;
    if (ok && !o->compare)
        printf("{\"device\": \"%s\", \"precision\": \"%s\"", ts_device_about(dev)->name,
               o->precision == TS_F16 ? "fp16" : "fp32");
    if (ok && ts_weights_find(file, "cls_token") && !ts_weights_find(file, "segment_token_x")) ok = bench_dino(o, dev, file, err);
    else if (ok && ts_weights_find(file, "decoder_embed.weight")) ok = bench_seggpt(o, dev, file, err);
    else if (ok) ok = bench_sam(o, dev, file, err);
    if (ok && !o->compare) printf("}\n");
    ts_weights_free(file);
    ts_device_free(dev);
    return ok;
}

int main(int argc, char **argv)
{
    options o = {.device = "cpu", .runs = 3};
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--threads", &o.threads}, {"--runs", &o.runs}};
    bool understood = argc > 1;
    for (int i = 1; i < argc && argv[i] && understood; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int *value = NULL;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            if (strcmp(argv[i], numbers[k].name) == 0) value = numbers[k].value;
        if (value && next) *value = atoi(next), i++;
        else if (strcmp(argv[i], "--device") == 0 && next) o.device = next, i++;
        else if (strcmp(argv[i], "--precision") == 0 && next) o.precision = strcmp(next, "fp16") == 0 ? TS_F16 : TS_F32, i++;
        else if (strcmp(argv[i], "--compare") == 0 && next) o.compare = next, i++;
        else if (!o.file && argv[i][0] != '-') o.file = argv[i];
        else understood = false;
    }
    if (!understood || !o.file || o.runs < 1) {
        fprintf(stderr, "bench_sam FILE [--threads T] [--runs R] [--device D] [--precision fp32|fp16] [--compare EXPECTED]\n");
        return 2;
    }
    ts_error err = {0};
    if (bench(&o, &err)) return 0;
    fprintf(stderr, "bench_sam: %s\n", err.text);
    return 1;
}
