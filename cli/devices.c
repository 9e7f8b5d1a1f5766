/* devices.c - `tessera devices`: which devices there are and what they can do, the host last. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char name[] = "devices";

/* What --device takes to mean this one. */
static const char *option_value(const ts_device_info *d, char out[32])
{
    if (d->kind == TS_DEVICE_HOST) snprintf(out, 32, "cpu");
    else snprintf(out, 32, "vulkan:%d", d->index);
    return out;
}

static const char *bytes_text(uint64_t bytes, char out[32])
{
    if (bytes >= UINT64_C(1) << 30) snprintf(out, 32, "%.1f GiB", (double)bytes / 0x1p30);
    else snprintf(out, 32, "%.1f MiB", (double)bytes / 0x1p20);
    return out;
}

static void print_table(const ts_device_info *list, int count)
{
    printf("%-10s %-10s %-10s %-9s %-8s %-8s %s\n", "DEVICE", "TYPE", "MEMORY", "API", "FP16", "MATRICES", "NAME (DRIVER)");
    for (int i = 0; i < count; i++) {
        const ts_device_info *d = &list[i];
        char option[32], memory[32];
        const char *fp16 = d->fp16_storage && d->fp16_arithmetic ? "yes" : "no";
        printf("%-10s %-10s %-10s %-9s %-8s %-8s %s (%s)\n", option_value(d, option), d->type,
               bytes_text(d->memory_bytes, memory), d->api[0] ? d->api : "-", fp16, d->cooperative_matrix ? "yes" : "no", d->name,
               d->driver);
        if (!d->usable) printf("%-10s cannot be used: %s\n", "", d->why);
    }
}

static bool print_json(const ts_device_info *list, int count, ts_error *err)
{
    cJSON *all = cJSON_CreateObject(), *devices = cJSON_AddArrayToObject(all, "devices");
    for (int i = 0; devices && i < count; i++) {
        const ts_device_info *d = &list[i];
        char option[32];
        cJSON *o = cJSON_CreateObject();
        bool ok =
            cJSON_AddStringToObject(o, "device", option_value(d, option)) && cJSON_AddStringToObject(o, "name", d->name) &&
            cJSON_AddStringToObject(o, "type", d->type) && cJSON_AddStringToObject(o, "driver", d->driver) &&
            cJSON_AddStringToObject(o, "api", d->api) && cJSON_AddNumberToObject(o, "memory_bytes", (double)d->memory_bytes) &&
            cJSON_AddNumberToObject(o, "max_alloc_bytes", (double)d->max_alloc_bytes) &&
            cJSON_AddNumberToObject(o, "subgroup", d->subgroup) && cJSON_AddNumberToObject(o, "shared_bytes", d->shared_bytes) &&
            cJSON_AddBoolToObject(o, "fp16_storage", d->fp16_storage) &&
            cJSON_AddBoolToObject(o, "fp16_arithmetic", d->fp16_arithmetic) &&
            cJSON_AddBoolToObject(o, "cooperative_matrix", d->cooperative_matrix) &&
            cJSON_AddBoolToObject(o, "usable", d->usable) && (d->usable || cJSON_AddStringToObject(o, "why", d->why));
        if (ok && cJSON_AddItemToArray(devices, o)) continue;
        cJSON_Delete(o);
        devices = NULL;
    }
    if (!devices) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

int ts_cmd_devices(int argc, char **argv)
{
    ts_common common = {0};
    const ts_command cmd = {.name = name,
                            .usage = "[--device NAME] [--json]",
                            .summary = "which devices there are and what they can do; with --device, that one alone",
                            .example = "  tessera devices\n  tessera devices --json\n",
                            .common = &common,
                            .takes = TS_TAKES_DEVICE | TS_TAKES_JSON};
    int status = ts_options_parse(&cmd, argc, argv);
    if (status >= 0) return status;
    ts_error err = {0};
    ts_device_info *list = NULL;
    ts_device *dev = NULL;
    int count = 1;
    if (common.device) {
        dev = ts_open_device(&common, false, &err);
        if (!dev) return ts_report(name, &err);
    } else {
        count = ts_device_list(&list, &err);
        if (count < 0) return ts_report(name, &err);
    }
    const ts_device_info *shown = dev ? ts_device_about(dev) : list;
    bool ok = true;
    if (common.json) ok = print_json(shown, count, &err);
    else print_table(shown, count);
    ok = ok && ts_flush_output(&err);
    ts_device_free(dev);
    free(list);
    return ok ? TS_EXIT_DONE : ts_report(name, &err);
}
