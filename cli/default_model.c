/* default_model.c - where the model lies that is used when none is named: beside the installed program (share/tessera/) or in the
 * source tree (assets/). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

bool ts_default_model(char *out, size_t size, ts_error *err)
{
    static const char *const places[] = {"../share/tessera/default.safetensors", "../assets/default.safetensors"};
    char program[2048];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        int written = snprintf(out, size, "%s/%s", program, places[i]);
        if (written > 0 && (size_t)written < size && access(out, R_OK) == 0) return true;
    }
    return ts_fail(err, TS_ERR_IO, "no default model is installed: name one with --model FILE; %s",
                   ts_published(TS_KIND_MAE_VQGAN));
}
