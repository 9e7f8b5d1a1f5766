/* model.c - `tessera model`: what a weights file is, whether it is whole, the same as safetensors, and a random one to try with.
 */
#include <stdio.h>

#include "cli/model/model.h"

static int random_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    int status = ts_options_parse(
        &(ts_command){.name = "model random",
                      .usage = "OUT [--seed N]",
                      .summary = "writes a small MAE-VQGAN with random weights, to try the path; its answers mean nothing",
                      .example = "  tessera model random random.safetensors --seed 1\n",
                      .rest = &files,
                      .least = 1,
                      .most = 1,
                      .rest_name = "OUT",
                      .common = &common,
                      .takes = TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
    if (status < 0) {
        const char *to = files.items[0];
        ts_error err = {0};
        bool ok = ts_check_writable(to, &err) && ts_mae_write_random(to, NULL, NULL, common.seed, &err);
        if (ok && common.json) {
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "file", to);
            cJSON_AddNumberToObject(o, "seed", (double)common.seed);
            ok = ts_print_json(o, &err);
        } else if (ok) {
            ts_put_line(to);
            ok = ts_flush_output(&err);
        }
        status = ok ? TS_EXIT_DONE : ts_report("model random", &err);
    }
    ts_words_free(&files);
    return status;
}

/* ---- dispatch ----------------------------------------------------------------------------------------------- */

static const ts_entry commands[] = {
    {.name = "info", .usage = "FILE", .summary = "what a weights file is", .run = ts_model_info_command},
    {.name = "convert",
     .usage = "IN OUT",
     .summary = "the same as safetensors, in fp32, fp16 or bf16",
     .run = ts_model_convert_command,
     .computes = true},
    {.name = "check",
     .usage = "FILE",
     .summary = "whether every tensor of the model is there",
     .run = ts_model_check_command,
     .computes = true},
    {.name = "random", .usage = "OUT", .summary = "a small model with random weights, to try with", .run = random_command},
};
const ts_group ts_group_model = {.name = "model",
                                 .summary = "looks into weights files",
                                 .wanted = "what to do",
                                 .note = "tessera model COMMAND --help tells of a command.\n",
                                 .example = "  tessera model info checkpoint-1000.pth\n",
                                 .entries = commands,
                                 .count = sizeof commands / sizeof *commands};
