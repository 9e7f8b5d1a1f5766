/* fuzz_safetensors.c - any bytes behind a safetensors header length: opened, and every tensor read. */
#include "engine/weights/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open_memory(bytes, size, "fuzz", &err);
    if (!w && !err.code) abort(); /* a refusal without a reason */
    for (int64_t i = 0; w && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        float *out = malloc(((size_t)t->count + 1) * sizeof *out);
        if (out) ts_weight_to_f32(t, out, &err);
        if (ts_weights_find(w, t->name) != t) abort();
        free(out);
    }
    ts_weights_free(w);
    return 0;
}
