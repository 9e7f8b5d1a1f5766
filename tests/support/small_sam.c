#include "small_sam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 8, PATCH = 8, WIDTH = 16, HEAD = 8, WINDOW = 3, EMBED = 16, INNER = 8, MLP = 24, MOST = 320 };
enum { STAGES = 4, WIDE = 8 }; /* of a MobileSAM's encoder, and its heads are 4 wide */

typedef struct {
    ts_weights_writer *out;
    uint64_t state;
    float *held[MOST];
    int count;
    bool ok;
    ts_error *err;
} maker;

/* A tensor of numbers around `middle`. Dimensions that are 0 are not there. */
static void add(maker *m, const char *name, double middle, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    int ndim = 0;
    int64_t count = 1;
    while (ndim < 4 && shape[ndim] > 0) count *= shape[ndim++];
    float *data = m->ok && m->count < MOST ? malloc((size_t)count * sizeof *data) : NULL;
    m->ok = data != NULL;
    if (!data) return;
    m->held[m->count++] = data;
    const double spread = middle > 0 ? 0.1 : ndim > 1 ? 0.3 : 0.05;
    for (int64_t i = 0; i < count; i++) data[i] = (float)(middle + spread * ts_normal(&m->state));
    m->ok = ts_weights_writer_add(m->out, name, TS_DT_F32, ndim, shape, data, m->err);
}

/* A layer's weight and bias; `middle`: 1 of a norm. */
static void layer(maker *m, const char *prefix, const char *name, double middle, int64_t out, int64_t a, int64_t b, int64_t c)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    add(m, full, middle, out, a, b, c);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    add(m, full, 0, out, 0, 0, 0);
}

static void norm(maker *m, const char *prefix, const char *name, int64_t width)
{
    layer(m, prefix, name, 1, width, 0, 0, 0);
}

static void linear(maker *m, const char *prefix, const char *name, int64_t out, int64_t in)
{
    layer(m, prefix, name, 0, out, in, 0, 0);
}

static void add_encoder(maker *m)
{
    const char *const e = "image_encoder.";
    char name[96];
    add(m, "image_encoder.pos_embed", 0, 1, SIDE, SIDE, WIDTH);
    layer(m, e, "patch_embed.proj", 0, WIDTH, 3, PATCH, PATCH);
    for (int i = 0; i < 2; i++) {
        char block[64];
        snprintf(block, sizeof block, "image_encoder.blocks.%d.", i);
        norm(m, block, "norm1", WIDTH);
        norm(m, block, "norm2", WIDTH);
        linear(m, block, "attn.qkv", 3 * WIDTH, WIDTH);
        linear(m, block, "attn.proj", WIDTH, WIDTH);
        linear(m, block, "mlp.lin1", 2 * WIDTH, WIDTH);
        linear(m, block, "mlp.lin2", WIDTH, 2 * WIDTH);
        snprintf(name, sizeof name, "%sattn.rel_pos_h", block);
        add(m, name, 0, 2 * (i ? SIDE : WINDOW) - 1, HEAD, 0, 0);
        snprintf(name, sizeof name, "%sattn.rel_pos_w", block);
        add(m, name, 0, 2 * (i ? SIDE : WINDOW) - 1, HEAD, 0, 0);
    }
}

/* A convolution and the batch norm behind it. */
static void unit(maker *m, const char *prefix, const char *name, int64_t out, int64_t in, int64_t kernel)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s.c.weight", prefix, name);
    add(m, full, 0, out, in, kernel, kernel);
    snprintf(full, sizeof full, "%s.bn", name);
    norm(m, prefix, full, out);
    snprintf(full, sizeof full, "%s%s.bn.running_mean", prefix, name);
    add(m, full, 0, out, 0, 0, 0);
    snprintf(full, sizeof full, "%s%s.bn.running_var", prefix, name);
    add(m, full, 1, out, 0, 0, 0);
}

static void three_units(maker *m, const char *prefix, int64_t out, int64_t inner, int64_t in)
{
    unit(m, prefix, "conv1", inner, in, 1);
    unit(m, prefix, "conv2", inner, 1, 3);
    unit(m, prefix, "conv3", out, inner, 1);
}

/* A block in each stage, windows of 2, 3 and 2. */
static void add_tiny_encoder(maker *m)
{
    const char *const e = "image_encoder.";
    unit(m, e, "patch_embed.seq.0", 4, 3, 3);
    unit(m, e, "patch_embed.seq.2", WIDE, 4, 3);
    for (int i = 0; i < STAGES; i++) {
        char block[64], name[96];
        snprintf(block, sizeof block, "image_encoder.layers.%d.blocks.0.", i);
        if (i == 0) three_units(m, block, WIDE, 2 * WIDE, WIDE);
        else {
            const int window = i == 2 ? 3 : 2;
            snprintf(name, sizeof name, "%sattn.attention_biases", block);
            add(m, name, 0, WIDE / 4, window * window, 0, 0);
            norm(m, block, "attn.norm", WIDE);
            linear(m, block, "attn.qkv", 3 * WIDE, WIDE);
            linear(m, block, "attn.proj", WIDE, WIDE);
            unit(m, block, "local_conv", WIDE, 1, 3);
            norm(m, block, "mlp.norm", WIDE);
            linear(m, block, "mlp.fc1", 2 * WIDE, WIDE);
            linear(m, block, "mlp.fc2", WIDE, 2 * WIDE);
        }
        snprintf(block, sizeof block, "image_encoder.layers.%d.downsample.", i);
        if (i + 1 < STAGES) three_units(m, block, WIDE, WIDE, WIDE);
    }
}

static void add_neck(maker *m, int64_t width)
{
    const char *const e = "image_encoder.";
    add(m, "image_encoder.neck.0.weight", 0, EMBED, width, 1, 1);
    norm(m, e, "neck.1", EMBED);
    add(m, "image_encoder.neck.2.weight", 0, EMBED, EMBED, 3, 3);
    norm(m, e, "neck.3", EMBED);
}

static void add_prompts(maker *m)
{
    const char *const p = "prompt_encoder.";
    char name[64];
    add(m, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 0, 2, EMBED / 2, 0, 0);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "prompt_encoder.point_embeddings.%d.weight", i);
        add(m, name, 0, 1, EMBED, 0, 0);
    }
    add(m, "prompt_encoder.not_a_point_embed.weight", 0, 1, EMBED, 0, 0);
    add(m, "prompt_encoder.no_mask_embed.weight", 0, 1, EMBED, 0, 0);
    layer(m, p, "mask_downscaling.0", 0, 4, 1, 2, 2);
    norm(m, p, "mask_downscaling.1", 4);
    layer(m, p, "mask_downscaling.3", 0, 8, 4, 2, 2);
    norm(m, p, "mask_downscaling.4", 8);
    layer(m, p, "mask_downscaling.6", 0, EMBED, 8, 1, 1);
}

static void add_attention(maker *m, const char *prefix, const char *name, int64_t inner)
{
    static const char *const parts[] = {"q_proj", "k_proj", "v_proj"};
    char full[128];
    snprintf(full, sizeof full, "%s%s.", prefix, name);
    for (int i = 0; i < 3; i++) linear(m, full, parts[i], inner, EMBED);
    linear(m, full, "out_proj", EMBED, inner);
}

static void add_perceptron(maker *m, const char *prefix, int64_t inner, int64_t out)
{
    linear(m, prefix, "layers.0", inner, EMBED);
    linear(m, prefix, "layers.1", inner, inner);
    linear(m, prefix, "layers.2", out, inner);
}

static void add_decoder(maker *m)
{
    const char *const t = "mask_decoder.transformer.", *const d = "mask_decoder.";
    for (int i = 0; i < 2; i++) {
        static const char *const norms[] = {"norm1", "norm2", "norm3", "norm4"};
        char block[64];
        snprintf(block, sizeof block, "%slayers.%d.", t, i);
        add_attention(m, block, "self_attn", EMBED);
        add_attention(m, block, "cross_attn_token_to_image", INNER);
        add_attention(m, block, "cross_attn_image_to_token", INNER);
        for (int k = 0; k < 4; k++) norm(m, block, norms[k], EMBED);
        linear(m, block, "mlp.lin1", MLP, EMBED);
        linear(m, block, "mlp.lin2", EMBED, MLP);
    }
    add_attention(m, t, "final_attn_token_to_image", INNER);
    norm(m, t, "norm_final_attn", EMBED);
    add(m, "mask_decoder.iou_token.weight", 0, 1, EMBED, 0, 0);
    add(m, "mask_decoder.mask_tokens.weight", 0, 4, EMBED, 0, 0);
    add(m, "mask_decoder.output_upscaling.0.weight", 0, EMBED, 8, 2, 2);
    add(m, "mask_decoder.output_upscaling.0.bias", 0, 8, 0, 0, 0);
    norm(m, d, "output_upscaling.1", 8);
    add(m, "mask_decoder.output_upscaling.3.weight", 0, 8, 4, 2, 2);
    add(m, "mask_decoder.output_upscaling.3.bias", 0, 4, 0, 0, 0);
    for (int i = 0; i < 4; i++) {
        char mlp[64];
        snprintf(mlp, sizeof mlp, "mask_decoder.output_hypernetworks_mlps.%d.", i);
        add_perceptron(m, mlp, EMBED, 4);
    }
    add_perceptron(m, "mask_decoder.iou_prediction_head.", MLP, 4);
}

static bool write_sam(const char *path, uint64_t seed, bool mobile, ts_error *err)
{
    maker m = {.out = ts_weights_writer_new(), .state = seed, .err = err};
    m.ok = m.out != NULL;
    if (mobile) add_tiny_encoder(&m);
    else add_encoder(&m);
    add_neck(&m, mobile ? WIDE : WIDTH);
    add_prompts(&m);
    add_decoder(&m);
    const bool ok = m.ok && ts_weights_writer_save(m.out, path, err);
    ts_weights_writer_free(m.out);
    for (int i = 0; i < m.count; i++) free(m.held[i]);
    return ok;
}

bool write_small_sam(const char *path, uint64_t seed, ts_error *err)
{
    return write_sam(path, seed, false, err);
}

bool write_small_mobile_sam(const char *path, uint64_t seed, ts_error *err)
{
    return write_sam(path, seed, true, err);
}
