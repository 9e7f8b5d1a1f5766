/* check.c - `tessera model check`: whether a model is whole. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/model/model.h"

static bool check_file(const char *path, bool json, bool quiet, ts_error *err)
{
    ts_about info = {0};
    ts_weights *w = ts_check_model(path, "file", TS_KIND_UNKNOWN, err) ? ts_open_weights(path, quiet, err) : NULL;
    bool ok = w && ts_about_read(w, &info, err);
    if (ok && info.problem.code) ok = ts_fail(err, info.problem.code, "%s", info.problem.text);
    /* Reading the sizes of a CLIP, a DINO or a model from strokes looks at every tensor. */
    if (ok && info.has_painter) ok = ts_painter_check(w, err);
    else if (ok && info.has_sam) ok = ts_sam_check(w, err);
    else if (ok && !info.has_clip && !info.has_dino && !info.has_strokes) ok = ts_model_check(w, err);
    ok = ok && ts_weights_check_finite(w, err);
    ts_weights_free(w);
    if (json) {
        ts_error broken = {0};
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "file", path);
        cJSON_AddBoolToObject(o, "whole", ok);
        if (ok) cJSON_AddStringToObject(o, "model", info.model.title);
        else cJSON_AddStringToObject(o, "problem", err->text);
        return ts_print_json(o, ok ? err : &broken) && ok;
    }
    if (!ok) return false;
    ts_put_text(stdout, path);
    printf(": %s, whole: all of its %" PRId64 " tensors are there with the right shapes, and all they hold are numbers\n",
           info.model.title, info.model.ours);
    return ts_flush_output(err);
}

int ts_model_check_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    int status = ts_options_parse(
        &(ts_command){.name = "model check",
                      .usage = "FILE",
                      .summary = "tells whether every tensor of the model is there with the right shape, and holds numbers",
                      .example = "  tessera model check checkpoint-1000.pth\n",
                      .rest = &files,
                      .least = 1,
                      .most = 1,
                      .rest_name = "FILE",
                      .common = &common,
                      .takes = TS_TAKES_JSON},
        argc, argv);
    if (status < 0) {
        ts_error err = {0};
        status = check_file(files.items[0], common.json, common.quiet, &err) ? TS_EXIT_DONE : ts_report("model check", &err);
    }
    ts_words_free(&files);
    return status;
}
