/* info.c - `tessera model info`: what a weights file is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/model/model.h"

enum { MAX_TEXT = 64 };

static const char *container_name(ts_file_kind kind)
{
    switch (kind) {
    case TS_FILE_SAFETENSORS:
        return "safetensors";
    case TS_FILE_TORCH_ZIP:
        return "PyTorch checkpoint";
    case TS_FILE_TORCHSCRIPT:
        return "TorchScript archive";
    case TS_FILE_TORCH_LEGACY:
        return "PyTorch checkpoint of before 1.6";
    }
    return "unknown";
}

/* "16x3x4"; "scalar" for no dimension. */
static const char *shape_text(const ts_weight *t, char out[MAX_TEXT * 3])
{
    size_t used = 0, room = MAX_TEXT * 3;
    if (t->ndim == 0) snprintf(out, room, "scalar");
    for (int d = 0; d < t->ndim && used < room; d++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRId64, d ? "x" : "", t->shape[d]);
    return out;
}

static void print_info(const ts_weights *w, const ts_about *a, bool tensors)
{
    const ts_model_info *info = &a->model;
    char count[32];
    printf("file          ");
    ts_put_line(ts_weights_path(w));
    printf("container     %s", container_name(ts_weights_kind(w)));
    if (ts_weights_shards(w)) printf(", %d files", ts_weights_shards(w));
    printf("\nmodel         ");
    ts_put_line(info->title);
    for (const char *line = info->architecture; *line;) {
        int length = (int)strcspn(line, "\n");
        char shown[sizeof info->architecture];
        snprintf(shown, sizeof shown, "%.*s", length, line);
        printf("              ");
        ts_put_line(shown);
        line += length + (line[length] == '\n');
    }
    if (a->problem.code) printf("problem       %s\n", a->problem.text);
    printf("parameters    %s in %" PRId64 " tensors", ts_count_text((double)info->parameters, count), info->tensors);
    if (info->ours != info->tensors)
        printf(", of which the model uses %s in %" PRId64, ts_count_text((double)info->our_parameters, count), info->ours);
    printf("\ndtypes       ");
    for (int d = 0; d <= TS_DT_BOOL; d++)
        if (info->of_dtype[d]) printf(" %s %s", ts_dtype_name((ts_dtype)d), ts_count_text((double)info->of_dtype[d], count));
    printf("\n");
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        printf("%s", i ? "              " : "metadata      ");
        ts_put_text(stdout, key);
        printf(" = ");
        ts_put_line(value);
    }
    for (int64_t i = 0; tensors && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        char shape[MAX_TEXT * 3];
        printf("%s%-4s %-18s ", i ? "" : "\n", ts_dtype_name(t->dtype), shape_text(t, shape));
        ts_put_line(t->name);
    }
}

static bool print_info_json(const ts_weights *w, const ts_about *a, bool tensors, ts_error *err)
{
    const ts_model_info *info = &a->model;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", ts_weights_path(w));
    cJSON_AddStringToObject(o, "container", container_name(ts_weights_kind(w)));
    if (ts_weights_shards(w)) cJSON_AddNumberToObject(o, "files", ts_weights_shards(w));
    if (ts_weights_note(w)) cJSON_AddStringToObject(o, "note", ts_weights_note(w));
    cJSON_AddStringToObject(o, "model", info->title);
    if (!ts_about_add_sizes(o, a)) {
        cJSON_Delete(o);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
    }
    if (a->problem.code) cJSON_AddStringToObject(o, "problem", a->problem.text);
    cJSON_AddNumberToObject(o, "tensors", (double)info->tensors);
    cJSON_AddNumberToObject(o, "parameters", (double)info->parameters);
    cJSON_AddNumberToObject(o, "used_tensors", (double)info->ours);
    cJSON_AddNumberToObject(o, "used_parameters", (double)info->our_parameters);
    cJSON *dtypes = cJSON_AddObjectToObject(o, "dtypes"), *meta = cJSON_AddObjectToObject(o, "metadata");
    for (int d = 0; d <= TS_DT_BOOL; d++)
        if (info->of_dtype[d]) cJSON_AddNumberToObject(dtypes, ts_dtype_name((ts_dtype)d), (double)info->of_dtype[d]);
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        cJSON_AddStringToObject(meta, key, value);
    }
    cJSON *list = tensors ? cJSON_AddArrayToObject(o, "list") : NULL;
    for (int64_t i = 0; list && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        cJSON *item = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(item, "shape");
        for (int d = 0; d < t->ndim; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
        cJSON_AddStringToObject(item, "name", t->name);
        cJSON_AddStringToObject(item, "dtype", ts_dtype_name(t->dtype));
        cJSON_AddItemToArray(list, item);
    }
    return ts_print_json(o, err);
}

int ts_model_info_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    bool tensors = false;
    const ts_option options[] = {{0, "tensors", NULL, TS_OPT_FLAG, &tensors, 0, 0, "list every tensor"}};
    int status = ts_options_parse(&(ts_command){.name = "model info",
                                                .usage = "FILE [--tensors]",
                                                .summary = "tells what a weights file is",
                                                .example = "  tessera model info checkpoint-1000.pth\n",
                                                .options = options,
                                                .count = 1,
                                                .rest = &files,
                                                .least = 1,
                                                .most = 1,
                                                .rest_name = "FILE",
                                                .common = &common,
                                                .takes = TS_TAKES_JSON},
                                  argc, argv);
    if (status < 0) {
        ts_error err = {0};
        ts_about info;
        ts_weights *w = ts_check_model(files.items[0], "file", TS_KIND_UNKNOWN, &err)
                            ? ts_open_weights(files.items[0], common.quiet, &err)
                            : NULL;
        bool ok = w && ts_about_read(w, &info, &err);
        if (ok && common.json) {
            ok = print_info_json(w, &info, tensors, &err);
        } else if (ok) {
            print_info(w, &info, tensors);
            ok = ts_flush_output(&err);
        }
        ts_weights_free(w);
        status = ok ? TS_EXIT_DONE : ts_report("model info", &err);
    }
    ts_words_free(&files);
    return status;
}
