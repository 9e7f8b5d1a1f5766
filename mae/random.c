/* random.c - a small MAE-VQGAN of random weights, for trying the path of a run where no trained model is at hand. The tensors
 * have the published names and the spread of a fresh initialisation, so that nothing overflows or dies out on the way. */
#include "mae/mae.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const ts_mae_config MAE = {.patch = 16,
                                  .side = 14,
                                  .dim = 128,
                                  .depth = 4,
                                  .heads = 4,
                                  .mlp = 512,
                                  .decoder_dim = 128,
                                  .decoder_depth = 2,
                                  .decoder_heads = 4,
                                  .decoder_mlp = 512,
                                  .codes = 1024};
static const ts_vqgan_config VQGAN = {.base = 32,
                                      .levels = 5,
                                      .width = {32, 32, 64, 64, 128},
                                      .blocks = 1,
                                      .attention = {false, false, false, false, true},
                                      .latent = 64,
                                      .embed = 64,
                                      .codes = 1024,
                                      .factor = 16};

/* The tensors written so far. The writer wants the data to live until it saves: a list of blocks, each a tensor. */
typedef struct block {
    struct block *next;
    float data[];
} block;

typedef struct {
    ts_weights_writer *writer;
    block *blocks;
    uint64_t seed;
    ts_error *err;
    bool ok;
} maker;

/* A tensor of zeros, for the caller to fill; NULL after a failure. */
static float *add(maker *m, const char *name, int ndim, const int64_t *shape, int64_t *count)
{
    *count = 1;
    for (int i = 0; i < ndim; i++) *count *= shape[i];
    if (!m->ok) return NULL;
    block *b = calloc(1, sizeof *b + (size_t)*count * sizeof(float));
    if (!b) {
        m->ok = ts_fail(m->err, TS_ERR_MEMORY, "out of memory for a model of random weights");
        return NULL;
    }
    b->next = m->blocks;
    m->blocks = b;
    m->ok = ts_weights_writer_add(m->writer, name, TS_DT_F32, ndim, shape, b->data, m->err);
    return m->ok ? b->data : NULL;
}

/* Even over +- deviation * sqrt(3). */
static void add_random(maker *m, const char *name, double deviation, int ndim, const int64_t *shape)
{
    int64_t count;
    float *data = add(m, name, ndim, shape, &count);
    for (int64_t i = 0; data && i < count; i++) data[i] = (float)(deviation * sqrt(3) * (2 * ts_uniform(&m->seed) - 1));
}

/* A layer's weight (out, ...), its variance 1 / fan in, and its bias of zeros. */
static void add_layer(maker *m, int ndim, const int64_t *shape, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add_layer(maker *m, int ndim, const int64_t *shape, const char *format, ...)
{
    char layer[80], name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(layer, sizeof layer, format, args);
    va_end(args);
    double fan_in = 1;
    int64_t count;
    for (int i = 1; i < ndim; i++) fan_in *= (double)shape[i];
    snprintf(name, sizeof name, "%s.weight", layer);
    add_random(m, name, 1 / sqrt(fan_in), ndim, shape);
    snprintf(name, sizeof name, "%s.bias", layer);
    add(m, name, 1, shape, &count);
}

static void add_norm(maker *m, int64_t width, const char *prefix, const char *layer)
{
    char name[96];
    int64_t count;
    snprintf(name, sizeof name, "%s%s.weight", prefix, layer);
    float *gamma = add(m, name, 1, &width, &count);
    for (int64_t i = 0; gamma && i < count; i++) gamma[i] = 1;
    snprintf(name, sizeof name, "%s%s.bias", prefix, layer);
    add(m, name, 1, &width, &count);
}

/* ---- the MAE ---- */

static void add_positions(maker *m, const char *name, int side, int width)
{
    int64_t count;
    float *data = add(m, name, 3, (int64_t[]){1, 1 + (int64_t)side * side, width}, &count);
    if (data) ts_mae_positions(side, width, data);
}

static void add_blocks(maker *m, const char *prefix, int depth, int64_t width, int64_t mlp)
{
    for (int i = 0; i < depth; i++) {
        char at[48];
        snprintf(at, sizeof at, "%s.%d.", prefix, i);
        add_norm(m, width, at, "norm1");
        add_layer(m, 2, (int64_t[]){3 * width, width}, "%sattn.qkv", at);
        add_layer(m, 2, (int64_t[]){width, width}, "%sattn.proj", at);
        add_norm(m, width, at, "norm2");
        add_layer(m, 2, (int64_t[]){mlp, width}, "%smlp.fc1", at);
        add_layer(m, 2, (int64_t[]){width, mlp}, "%smlp.fc2", at);
    }
}

static void add_mae(maker *m, const ts_mae_config *c)
{
    add_random(m, "cls_token", 0.02, 3, (int64_t[]){1, 1, c->dim});
    add_positions(m, "pos_embed", c->side, c->dim);
    add_random(m, "mask_token", 0.02, 3, (int64_t[]){1, 1, c->decoder_dim});
    add_positions(m, "decoder_pos_embed", c->side, c->decoder_dim);
    add_layer(m, 4, (int64_t[]){c->dim, 3, c->patch, c->patch}, "patch_embed.proj");
    add_blocks(m, "blocks", c->depth, c->dim, c->mlp);
    add_norm(m, c->dim, "", "norm");
    add_layer(m, 2, (int64_t[]){c->decoder_dim, c->dim}, "decoder_embed");
    add_blocks(m, "decoder_blocks", c->decoder_depth, c->decoder_dim, c->decoder_mlp);
    add_norm(m, c->decoder_dim, "", "decoder_norm");
    add_layer(m, 2, (int64_t[]){c->codes, c->decoder_dim}, "decoder_pred");
}

/* ---- the VQGAN ---- */

static void add_resblock(maker *m, int64_t in, int64_t out, const char *at)
{
    add_norm(m, in, at, "norm1");
    add_layer(m, 4, (int64_t[]){out, in, 3, 3}, "%sconv1", at);
    add_norm(m, out, at, "norm2");
    add_layer(m, 4, (int64_t[]){out, out, 3, 3}, "%sconv2", at);
    if (in != out) add_layer(m, 4, (int64_t[]){out, in, 1, 1}, "%snin_shortcut", at);
}

static void add_attnblock(maker *m, int64_t width, const char *at)
{
    static const char *const layers[] = {"q", "k", "v", "proj_out"};
    add_norm(m, width, at, "norm");
    for (int i = 0; i < 4; i++) add_layer(m, 4, (int64_t[]){width, width, 1, 1}, "%s%s", at, layers[i]);
}

static void add_middle(maker *m, int64_t width, const char *half)
{
    char at[48];
    snprintf(at, sizeof at, "vae.%s.mid.block_1.", half);
    add_resblock(m, width, width, at);
    snprintf(at, sizeof at, "vae.%s.mid.attn_1.", half);
    add_attnblock(m, width, at);
    snprintf(at, sizeof at, "vae.%s.mid.block_2.", half);
    add_resblock(m, width, width, at);
}

/* A level's blocks; `where` is "encoder.down" or "decoder.up". Returns the width after them. */
static int64_t add_level(maker *m, const ts_vqgan_config *c, const char *where, int level, int blocks, int64_t in)
{
    char at[48];
    for (int i = 0; i < blocks; i++) {
        snprintf(at, sizeof at, "vae.%s.%d.block.%d.", where, level, i);
        add_resblock(m, in, c->width[level], at);
        in = c->width[level];
        snprintf(at, sizeof at, "vae.%s.%d.attn.%d.", where, level, i);
        if (c->attention[level]) add_attnblock(m, in, at);
    }
    return in;
}

static void add_vqgan(maker *m, const ts_vqgan_config *c)
{
    int last = c->levels - 1;
    int64_t width = c->base;
    add_layer(m, 4, (int64_t[]){c->base, 3, 3, 3}, "vae.encoder.conv_in");
    for (int level = 0; level <= last; level++) {
        width = add_level(m, c, "encoder.down", level, c->blocks, width);
        if (level < last) add_layer(m, 4, (int64_t[]){width, width, 3, 3}, "vae.encoder.down.%d.downsample.conv", level);
    }
    add_middle(m, width, "encoder");
    add_norm(m, width, "vae.encoder.", "norm_out");
    add_layer(m, 4, (int64_t[]){c->latent, width, 3, 3}, "vae.encoder.conv_out");
    add_layer(m, 4, (int64_t[]){c->embed, c->latent, 1, 1}, "vae.quant_conv");
    add_random(m, "vae.quantize.embedding.weight", 1, 2, (int64_t[]){c->codes, c->embed});
    add_layer(m, 4, (int64_t[]){c->latent, c->embed, 1, 1}, "vae.post_quant_conv");
    add_layer(m, 4, (int64_t[]){width, c->latent, 3, 3}, "vae.decoder.conv_in");
    add_middle(m, width, "decoder");
    for (int level = last; level >= 0; level--) {
        width = add_level(m, c, "decoder.up", level, c->blocks + 1, width);
        if (level > 0) add_layer(m, 4, (int64_t[]){width, width, 3, 3}, "vae.decoder.up.%d.upsample.conv", level);
    }
    add_norm(m, width, "vae.decoder.", "norm_out");
    add_layer(m, 4, (int64_t[]){3, width, 3, 3}, "vae.decoder.conv_out");
}

bool ts_mae_write_random(const char *path, const ts_mae_config *mae, const ts_vqgan_config *vqgan, uint64_t seed, ts_error *err)
{
    if (!mae) mae = &MAE;
    if (!vqgan) vqgan = &VQGAN;
    maker m = {.writer = ts_weights_writer_new(), .seed = seed, .err = err, .ok = true};
    if (!m.writer) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a model of random weights");
    char heads[16], decoder_heads[16];
    snprintf(heads, sizeof heads, "%d", mae->heads);
    snprintf(decoder_heads, sizeof decoder_heads, "%d", mae->decoder_heads);
    add_mae(&m, mae);
    add_vqgan(&m, vqgan);
    bool ok = m.ok && ts_weights_writer_meta(m.writer, "heads", heads, err) &&
              ts_weights_writer_meta(m.writer, "decoder_heads", decoder_heads, err) &&
              ts_weights_writer_meta(m.writer, "tessera.note", "random weights", err) &&
              ts_weights_writer_save(m.writer, path, err);
    ts_weights_writer_free(m.writer);
    while (m.blocks) {
        block *next = m.blocks->next;
        free(m.blocks);
        m.blocks = next;
    }
    return ok;
}
