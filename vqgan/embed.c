/* embed.c - a VQGAN inside another file: an MAE-VQGAN holds its own under "vae.". */
#include "vqgan/vqgan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The VQGAN's own tensors, not its optimizer's, a discriminator's or the autoencoder's beside it. */
static bool is_own(const char *name)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strncmp(name, parts[i], strlen(parts[i])) == 0) return true;
    return false;
}

bool ts_vqgan_embed(const ts_weights *from, ts_dtype dtype, ts_weights_writer *w, ts_error *err)
{
    ts_vqgan_config config;
    const char *prefix = ts_vqgan_find(from, &config, err);
    if (!prefix || !ts_vqgan_config_meta(&config, w, err)) return false;
    const size_t length = strlen(prefix);
    for (int64_t i = 0; i < ts_weights_count(from); i++) {
        const ts_weight *t = ts_weights_at(from, i);
        if (strncmp(t->name, prefix, length) != 0 || !is_own(t->name + length)) continue;
        char *name = NULL;
        if (asprintf(&name, "vae.%s", t->name + length) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const bool ok = ts_weights_writer_add_weight_as(w, name, t, dtype, err);
        free(name);
        if (!ok) return false;
    }
    return true;
}
