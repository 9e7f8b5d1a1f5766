/* config.c - a VQGAN's architecture, read off its tensors. How many levels and blocks there are is told by the highest number in
 * a name, so that one missing tensor gives an error with its name and not a smaller model. */
#include "engine/number.h"
#include "vqgan/vqgan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

enum { MAX_WIDTH = 1 << 16 };

static bool has_some(const ts_weights *w, const char *prefix)
{
    size_t length = strlen(prefix);
    for (int64_t i = 0; i < ts_weights_count(w); i++)
        if (strncmp(ts_weights_at(w, i)->name, prefix, length) == 0) return true;
    return false;
}

const char *ts_vqgan_prefix(const ts_weights *w)
{
    if (has_some(w, "vae.decoder.") || has_some(w, "vae.quantize.")) return "vae.";
    /* The names alone of a file without prefix would fit other models: the codebook is what makes a VQGAN. */
    if (ts_weights_find(w, "quantize.embedding.weight") || has_some(w, "decoder.up.0.")) return "";
    return NULL;
}

/* A dimension of a tensor that tells the architecture. */
static bool read_dim(const ts_weights *w, const char *prefix, const char *name, int ndim, int dim, int *out, ts_error *err)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const ts_weight *t = ts_weights_find(w, full);
    if (!t) return ts_weights_lack(w, full, "the VQGAN's", err);
    if (t->ndim != ndim)
        return ts_fail(err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a VQGAN's has %d", ts_weights_path(w), full, t->ndim,
                       ndim);
    if (t->shape[dim] < 1 || t->shape[dim] > MAX_WIDTH)
        return ts_fail(err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible",
                       ts_weights_path(w), dim, full, t->shape[dim], MAX_WIDTH);
    *out = (int)t->shape[dim];
    return true;
}

/* Narrow models want fewer groups than the published 32, which no shape tells. */
static bool read_groups(const ts_weights *w, int *out, ts_error *err)
{
    const char *text = ts_weights_meta(w, "vqgan_groups");
    *out = 32;
    if (text && !ts_int_read(text, 1, MAX_WIDTH, out))
        return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says vqgan_groups = '%.40s', wanted a number from 1 to %d",
                       ts_weights_path(w), text, MAX_WIDTH);
    return true;
}

static bool check_groups(const ts_weights *w, const char *what, int width, int groups, ts_error *err)
{
    if (width % groups == 0) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s: %s has %d channels, which the VQGAN's GroupNorm cannot part into %d groups",
                   ts_weights_path(w), what, width, groups);
}

static bool read_level(const ts_weights *w, const char *prefix, int level, ts_vqgan_config *c, ts_error *err)
{
    char name[128], mirror[128], what[32];
    snprintf(name, sizeof name, "encoder.down.%d.block.0.conv1.weight", level);
    if (!read_dim(w, prefix, name, 4, 0, &c->width[level], err)) return false;
    snprintf(what, sizeof what, "level %d", level);
    if (!check_groups(w, what, c->width[level], c->groups, err)) return false;
    snprintf(name, sizeof name, "%sencoder.down.%d.attn.", prefix, level);
    snprintf(mirror, sizeof mirror, "%sdecoder.up.%d.attn.", prefix, level);
    c->attention[level] = has_some(w, name);
    if (c->attention[level] != has_some(w, mirror))
        return ts_fail(err, TS_ERR_FORMAT, "%s: only one of %s and %s has attention blocks, a VQGAN has them in both or in none",
                       ts_weights_path(w), name, mirror);
    return true;
}

bool ts_vqgan_config_read(const ts_weights *w, const char *prefix, ts_vqgan_config *out, ts_error *err)
{
    const char *path = ts_weights_path(w);
    *out = (ts_vqgan_config){0};
    if (!ts_kind_expect(w, TS_KIND_VQGAN, err)) return false;
    if (!prefix)
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no VQGAN: there is neither vae.quantize.* nor quantize.embedding.weight",
                       path);
    char name[64];
    snprintf(name, sizeof name, "%sencoder.down.", prefix);
    int64_t levels = ts_weights_numbered(w, name);
    snprintf(name, sizeof name, "%sencoder.down.0.block.", prefix);
    int64_t blocks = ts_weights_numbered(w, name);
    if (levels < 1 || levels > TS_VQGAN_MAX_LEVELS)
        return ts_fail(err, TS_ERR_FORMAT, "%s: the VQGAN has %" PRId64 " levels (%sencoder.down.*), 1 to %d are possible", path,
                       levels, prefix, TS_VQGAN_MAX_LEVELS);
    if (blocks < 1 || blocks > TS_VQGAN_MAX_BLOCKS)
        return ts_fail(err, TS_ERR_FORMAT, "%s: the VQGAN has %" PRId64 " blocks a level (%s*), 1 to %d are possible", path,
                       blocks, name, TS_VQGAN_MAX_BLOCKS);
    out->levels = (int)levels;
    out->blocks = (int)blocks;
    out->factor = 1 << (levels - 1);
    if (!read_groups(w, &out->groups, err)) return false;
    for (int level = 0; level < out->levels; level++)
        if (!read_level(w, prefix, level, out, err)) return false;
    return read_dim(w, prefix, "encoder.conv_in.weight", 4, 0, &out->base, err) &&
           check_groups(w, "encoder.conv_in", out->base, out->groups, err) &&
           read_dim(w, prefix, "encoder.conv_out.weight", 4, 0, &out->latent, err) &&
           read_dim(w, prefix, "quantize.embedding.weight", 2, 0, &out->codes, err) &&
           read_dim(w, prefix, "quantize.embedding.weight", 2, 1, &out->embed, err);
}

bool ts_vqgan_config_meta(const ts_vqgan_config *c, ts_weights_writer *w, ts_error *err)
{
    char text[16];
    snprintf(text, sizeof text, "%d", c->groups);
    return c->groups == 0 || ts_weights_writer_meta(w, "vqgan_groups", text, err);
}

const char *ts_vqgan_find(const ts_weights *w, ts_vqgan_config *out, ts_error *err)
{
    const char *prefix = ts_vqgan_prefix(w);
    return ts_vqgan_config_read(w, prefix, out, err) ? prefix : NULL;
}
