/* fuzz_mae_prompt.c - any bytes as a learned border or fusion: read, or refused with a sentence; and what is read is put in front
 * of a model that it fits. */
#include "engine/weights/internal.h"
#include "mae/prompt/prompt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool ok, const ts_error *err)
{
    if (ok == (err->code != TS_OK)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    enum { SMALL = 64 };
    static ts_device *host;
    if (!host) host = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, NULL);
    ts_error err = {0};
    ts_weights *w = ts_weights_open_memory(bytes, size, "fuzz", &err);
    ts_mae_prompt_info info;
    const bool ok = w && ts_mae_prompt_about(w, &info, &err);
    check(ok, &err);
    if (ok && info.border.canvas <= SMALL && info.fusion.dim <= SMALL) {
        const ts_mae_config mae = {.side = info.border.canvas, .patch = 1, .dim = info.fusion.dim};
        err = (ts_error){0};
        ts_mae_prompt *p = ts_mae_prompt_open(host, w, &mae, &err);
        check(p != NULL, &err);
        ts_mae_prompt_free(p);
    }
    ts_weights_free(w);
    return 0;
}
