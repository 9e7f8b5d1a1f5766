/* bench.c - `tessera bench`: how fast each kernel and each model is on a device. Kernels are timed by the device itself, without
 * the cost of a submission; models as a user sees them, from submission to the end. */
#include "cli/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    ts_common common;
    bool quick, announced;
    const char *only, *model;
    int heads, decoder_heads, batch;
    double budget;
    cJSON *report, *list; /* `list` is the part being filled */
    ts_progress progress; /* of a report for machines; the table grows before the user's eyes */
} bench;

/* ---- reporting ---------------------------------------------------------------------------------------------- */

static void print_row(const ts_bench_row *row)
{
    char rate[2][24] = {"", ""};
    if (row->flops > 0) snprintf(rate[0], sizeof rate[0], "%.1f", row->flops / row->ms * 1e-6);
    if (row->bytes > 0) snprintf(rate[1], sizeof rate[1], "%.2f", row->bytes / row->ms * 1e-6);
    printf("%-22s %-34s %10.3f %10s %9s %5d\n", row->name, row->shape, row->ms, rate[0], rate[1], row->runs);
    fflush(stdout);
}

static double rounded(double x)
{
    return round(x * 1e4) * 1e-4;
}

static bool add_row(void *ctx, const ts_bench_row *row, ts_error *err)
{
    bench *b = ctx;
    if (!b->list) {
        print_row(row);
        return true;
    }
    ts_progress_step(&b->progress, b->progress.done + 1);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(b->list, item);
    cJSON_AddStringToObject(item, "name", row->name);
    cJSON_AddStringToObject(item, "shape", row->shape);
    if (row->flops > 0) cJSON_AddNumberToObject(item, "gflops", rounded(row->flops / row->ms * 1e-6));
    if (row->bytes > 0) cJSON_AddNumberToObject(item, "gbytes_per_s", rounded(row->bytes / row->ms * 1e-6));
    cJSON_AddNumberToObject(item, "runs", row->runs);
    cJSON_AddNumberToObject(item, "cpu_ms", rounded(row->cpu_ms));
    return cJSON_AddNumberToObject(item, "ms", rounded(row->ms)) || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

static void begin_part(bench *b, const ts_device *dev, const char *key, const char *title)
{
    if (!b->announced) ts_announce_device(&b->common, dev);
    if (!b->announced && b->report) {
        cJSON_AddStringToObject(b->report, "device", ts_device_about(dev)->name);
        cJSON_AddStringToObject(b->report, "precision", ts_precision_name(ts_device_precision(dev)));
    }
    b->announced = true;
    if (b->report) b->list = cJSON_AddArrayToObject(b->report, key);
    else printf("%-22s %-34s %10s %10s %9s %5s\n", title, "shape", "ms", "GFLOP/s", "GB/s", "runs");
}

/* ---- the parts ------------------------------------------------------------------------------------------ */

static bool wanted(const bench *b, const char *name)
{
    return !b->only || strstr(name, b->only);
}

/* Whether --only leaves a kernel; `list` (of `room`) gets the names that there are. */
static bool any_wanted(const bench *b, char *list, size_t room)
{
    bool any = false;
    const char *last = "";
    list[0] = '\0';
    for (int i = 0; i < ts_bench_kernel_count(); i++) {
        const char *kernel = ts_bench_kernel_name(i);
        any = any || wanted(b, kernel);
        const size_t used = strlen(list);
        if (strcmp(kernel, last) != 0 && used + 1 < room) snprintf(list + used, room - used, "%s%s", used ? ", " : "", kernel);
        last = kernel;
    }
    return any;
}

static bool bench_kernels(bench *b, ts_error *err)
{
    ts_device *dev = ts_open_device(&b->common, true, err);
    if (!dev) return false;
    begin_part(b, dev, "kernels", "kernel");
    int count = ts_bench_kernel_count();
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        ts_bench_row row;
        if (!wanted(b, ts_bench_kernel_name(i))) continue;
        ok = ts_bench_kernel(i, dev, b->common.seed, b->budget, &row, err) && add_row(b, &row, err);
    }
    ts_device_free(dev);
    return ok;
}

static bool bench_models(bench *b, ts_error *err)
{
    static const char *const shapes[] = {"tiny", "small", "base", "large"};
    ts_device *dev = ts_open_device(&b->common, false, err);
    if (!dev) return false;
    begin_part(b, dev, "models", "model");
    ts_bench_model_desc desc = {.file = b->model,
                                .heads = b->heads,
                                .decoder_heads = b->decoder_heads,
                                .batch = b->batch > 0 ? b->batch : 1,
                                .budget = 4 * b->budget,
                                .seed = b->common.seed};
    bool ok = true;
    if (b->model) {
        ok = ts_bench_model(&desc, dev, true, add_row, b, err);
    } else {
        /* The VQGAN is the same beside every published MAE: once is enough. */
        int count = b->quick ? 1 : 4;
        for (int i = 0; ok && i < count; i++) {
            desc.shape = shapes[i];
            ok = ts_bench_model(&desc, dev, i == 0 || i == 3, add_row, b, err);
        }
    }
    ts_device_free(dev);
    return ok;
}

static bool bench_training(bench *b, ts_error *err)
{
    ts_device *dev = ts_open_device(&b->common, false, err);
    if (!dev) return false;
    begin_part(b, dev, "training", "training step");
    bool ok = ts_bench_train(dev, b->batch > 0 ? b->batch : 32, b->common.seed, 4 * b->budget, add_row, b, err);
    ts_device_free(dev);
    return ok;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static int parse(bench *b, int argc, char **argv)
{
    const ts_option options[] = {
        {0, "quick", NULL, TS_OPT_FLAG, &b->quick, 0, 0, "no model larger than the demo's"},
        {0, "only", "WORD", TS_OPT_TEXT, &b->only, 0, 0,
         "just the kernels whose name holds the word, or just \"models\", or \"train\""},
        {'m', "model", "FILE", TS_OPT_TEXT, &b->model, 0, 0, "just this MAE-VQGAN, no kernels"},
        {0, "heads", "N", TS_OPT_INT, &b->heads, 1, 1024, "attention heads of its encoder, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &b->decoder_heads, 1, 1024, "attention heads of its decoder, likewise"},
        {0, "batch", "N", TS_OPT_INT, &b->batch, 1, 256, "canvases in one run of a model; 1, and 32 in a training step"},
        {0, "budget", "MS", TS_OPT_REAL, &b->budget, 1, 1e6, "milliseconds for each kernel, four times that for a model; 300"},
    };
    return ts_options_parse(&(ts_command){.name = "bench",
                                          .usage = "[--quick] [--only WORD] [--model FILE]",
                                          .summary = "measures the speed of every kernel, of every model and of a training step",
                                          .example = "  tessera bench --quick --device vulkan:0\n"
                                                     "  tessera bench --model checkpoint-1000.pth --precision fp16\n",
                                          .options = options,
                                          .count = sizeof options / sizeof *options,
                                          .common = &b->common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
                            argc, argv);
}

static bool work(bench *b, ts_error *err)
{
    const bool models_only = b->model || (b->only && strcmp(b->only, "models") == 0);
    const bool train_only = !b->model && b->only && strcmp(b->only, "train") == 0;
    const bool kernels = !models_only && !train_only, models = models_only || !b->only,
               training = train_only || !(b->only || b->model);
    char names[900];
    if (kernels && !any_wanted(b, names, sizeof names))
        return ts_fail(err, TS_ERR_ARGUMENT, "--only %.60s is nothing that is measured: models, train, or a part of %s", b->only,
                       names);
    if (b->common.json && !(b->report = cJSON_CreateObject())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    int rows = (kernels ? ts_bench_kernel_count() : 0) + (!models ? 0 : b->quick || b->model ? 3 : 8) + training;
    ts_progress_begin(&b->progress, "measuring", rows, b->common.quiet || !b->report);
    bool ok = (!kernels || bench_kernels(b, err)) && (!models || bench_models(b, err)) && (!training || bench_training(b, err));
    ts_progress_end(&b->progress);
    if (!ok) return false;
    if (!b->report) return ts_flush_output(err);
    cJSON *report = b->report;
    b->report = NULL;
    return ts_print_json(report, err);
}

int ts_cmd_bench(int argc, char **argv)
{
    bench b = {.budget = 300};
    int status = parse(&b, argc, argv);
    if (status >= 0) return status;
    ts_error err = {0};
    bool ok = work(&b, &err);
    cJSON_Delete(b.report);
    return ok ? TS_EXIT_DONE : ts_report("bench", &err);
}
