/* report.c - what subcommands say: failures, the device, JSON. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ts_report(const char *command, const ts_error *err)
{
    fprintf(stderr, "tessera%s%s: %s\n", command[0] ? " " : "", command, err->text);
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
    if (!common->verbose) return;
    const double mib = 1.0 / (1 << 20);
    fprintf(stderr, "versions: tessera %s, %s%s%s\n", TESSERA_VERSION, info->driver, info->api[0] ? ", Vulkan " : "", info->api);
    fprintf(stderr, "limits: %.0f MiB of memory, %.0f MiB in one piece", (double)info->memory_bytes * mib,
            (double)info->max_alloc_bytes * mib);
    if (info->kind == TS_DEVICE_HOST) fprintf(stderr, ", %d threads\n", common->threads ? common->threads : ts_core_count());
    else
        fprintf(stderr, ", subgroups of %d, %d bytes shared, fp16 %s, matrices %s\n", (int)info->subgroup,
                (int)info->shared_bytes, info->fp16_storage && info->fp16_arithmetic ? "yes" : "no",
                info->cooperative_matrix ? "yes" : "no");
}

void ts_say_stage(const ts_common *common, const char *format, ...)
{
    if (!common->verbose || common->quiet) return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%9.3f s  %s\n", (ts_now_ms() - common->started) * 1e-3, text);
}

bool ts_flush_output(ts_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    return ts_fail(err, TS_ERR_IO, "standard output cannot be written: %s", strerror(errno));
}

int ts_finish_output(const char *command)
{
    ts_error err = {0};
    return ts_flush_output(&err) ? TS_EXIT_DONE : ts_report(command, &err);
}

/* Length of the character in UTF-8 (RFC 3629) at the beginning of a text; 0: there is none. */
static int character(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    /* The second byte's bounds: no longer form than needed, no surrogates, nothing beyond U+10FFFF. */
    const int least = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80, most = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    const int length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || s[1] < least || s[1] > most) return 0;
    for (int i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return length;
}

char *ts_json_text(const cJSON *json, bool spread)
{
    char *text = spread ? cJSON_Print(json) : cJSON_PrintUnformatted(json);
    for (unsigned char *at = (unsigned char *)text; at && *at;) {
        const int length = character(at);
        if (length == 0) *at = '?';
        at += length ? length : 1;
    }
    return text;
}

bool ts_print_json(cJSON *json, ts_error *err)
{
    char *text = json ? ts_json_text(json, true) : NULL;
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
