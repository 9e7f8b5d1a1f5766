/* report.c - what subcommands say: failures, the device, JSON. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ts_report(const char *command, const ts_error *err)
{
    ts_say("tessera%s%s: %s", command[0] ? " " : "", command, err->text);
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
    ts_say("device: %s (%s), %s", info->name, info->driver, ts_precision_name(ts_device_precision(dev)));
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
    ts_say("%9.3f s  %s", (ts_now_ms() - common->started) * 1e-3, text);
}

bool ts_flush_output(ts_error *err)
{
    ts_line_wipe();
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    return ts_fail(err, TS_ERR_IO, "standard output cannot be written: %s", strerror(errno));
}

int ts_finish_output(const char *command)
{
    ts_error err = {0};
    return ts_flush_output(&err) ? TS_EXIT_DONE : ts_report(command, &err);
}

int ts_put_text(FILE *f, const char *text)
{
    char unit[TS_PRINTABLE_UNIT];
    int width = 0;
    while (*text) {
        ts_printable_next(&text, unit);
        width += ts_text_width(unit);
        if (f) fputs(unit, f);
    }
    return width;
}

int ts_text_width(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void ts_put_line(const char *text)
{
    ts_put_text(stdout, text);
    putchar('\n');
}

/* Bytes that are no UTF-8 can stand in a string only. */
char *ts_json_text(const cJSON *json, bool spread)
{
    char *text = spread ? cJSON_Print(json) : cJSON_PrintUnformatted(json);
    if (!text) return NULL;
    size_t length = 0, bad = 0;
    for (const char *at = text; *at; length++) {
        const int n = ts_utf8_length(at);
        bad += n == 0;
        length += n ? (size_t)n - 1 : 0;
        at += n ? n : 1;
    }
    if (bad == 0) return text;
    enum { ESCAPE = 6 }; /* \udc80 */
    char *out = malloc(length + bad * (ESCAPE - 1) + 1), *to = out;
    for (const char *at = text; out && *at;) {
        const int n = ts_utf8_length(at);
        if (n) memcpy(to, at, (size_t)n);
        else snprintf(to, ESCAPE + 1, "\\udc%02x", (unsigned char)*at);
        to += n ? n : ESCAPE;
        at += n ? n : 1;
    }
    if (out) *to = '\0';
    free(text);
    return out;
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
