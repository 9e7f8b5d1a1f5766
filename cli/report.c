/* report.c - what subcommands say: failures, the device, JSON. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ts_report(const char *command, const ts_error *err)
{
    fprintf(stderr, "tessera %s: %s\n", command, err->text);
    return TS_EXIT_FAILED;
}

ts_device *ts_open_device(const ts_common *common, bool profile, ts_error *err)
{
    ts_device_desc desc = {
        .name = common->device, .precision = common->precision, .threads = common->threads, .profile = profile};
    return ts_device_open(&desc, err);
}

void ts_announce_device(const ts_common *common, const ts_device *dev)
{
    if (common->quiet) return;
    const ts_device_info *info = ts_device_about(dev);
    fprintf(stderr, "device: %s (%s), %s\n", info->name, info->driver, ts_precision_name(ts_device_precision(dev)));
}

bool ts_flush_output(ts_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    return ts_fail(err, TS_ERR_IO, "standard output cannot be written: %s", strerror(errno));
}

bool ts_print_json(cJSON *json, ts_error *err)
{
    char *text = json ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (!text) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
    puts(text);
    free(text);
    return ts_flush_output(err);
}

const char *ts_precision_name(ts_precision p)
{
    return p == TS_F16 ? "fp16" : p == TS_F64 ? "fp64" : "fp32";
}

const char *ts_count_text(double count, char out[32])
{
    static const char *const unit[] = {"", " k", " M", " G", " T"};
    size_t at = 0;
    while (count >= 1000 && at + 1 < sizeof unit / sizeof *unit) {
        count /= 1000;
        at++;
    }
    snprintf(out, 32, at ? "%.3g%s" : "%.0f%s", count, unit[at]);
    return out;
}
