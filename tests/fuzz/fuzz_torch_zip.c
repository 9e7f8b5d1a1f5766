/* fuzz_torch_zip.c - any bytes as a PyTorch archive: opened, and every tensor read. Half of the inputs are taken as they are; the
 * others are wrapped, as the pickle of an otherwise sound archive, since a mutation seldom keeps a zip directory whole. */
#include "../support/make_zip.h"
#include "engine/weights/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_all(const void *bytes, size_t size)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open_memory(bytes, size, "fuzz", &err);
    if (!w && !err.code) abort(); /* a refusal without a reason */
    for (int64_t i = 0; w && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        double *out = malloc(((size_t)t->count + 1) * sizeof *out);
        if (out) ts_weight_to_f64(t, out, &err);
        free(out);
    }
    ts_weights_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const float storage[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    if (size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0) {
        read_all(bytes, size);
        return 0;
    }
    zip_maker *z = calloc(1, sizeof *z);
    if (!z || size > sizeof z->bytes / 2) {
        free(z);
        return 0;
    }
    zip_add(z, "a/data.pkl", bytes, size, SIZE_MAX);
    zip_add(z, "a/data/0", storage, sizeof storage, SIZE_MAX);
    if (size % 2) zip_add(z, "a/constants.pkl", ").", 2, SIZE_MAX); /* TorchScript */
    zip_finish(z);
    void *exact = malloc(z->size); /* so that a read beyond the archive is seen */
    if (exact) {
        memcpy(exact, z->bytes, z->size);
        read_all(exact, z->size);
    }
    free(exact);
    free(z);
    return 0;
}
