/* dino.c - the model: its tensors out of a file of any layout, its forward pass, and that pass over a picture. Shapes: B
 * pictures, P places, R registers, W the width. */
#include "dino/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vit/vit.h"

enum { MOST_PLACES = 512 }; /* a side */

/* ---- tensors ---- */

/* All pieces of a tensor, one below the other. */
static bool gather(const dino_file *f, const char *name, int64_t count, float *out, ts_error *err)
{
    dino_source source;
    ts_dino_source(f, name, &source);
    const int64_t part = count / source.pieces;
    for (int piece = 0; piece < source.pieces; piece++) {
        const ts_weight *t = ts_weights_find(f->w, source.name[piece]);
        if (!t && ts_dino_may_lack(f, source.name[piece])) {
            memset(out + piece * part, 0, (size_t)part * sizeof *out);
            continue;
        }
        if (!t || t->count != part)
            return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing or has another shape", ts_weights_path(f->w),
                           source.name[piece]);
        if (!ts_weight_to_f32(t, out + piece * part, err)) return false;
        ts_weight_release(t);
    }
    return true;
}

/* The table of positions, 1 + side^2 rows: free(). */
static float *position_table(const ts_dino *d, ts_error *err)
{
    const int64_t count = (1 + (int64_t)d->config.side * d->config.side) * d->config.width;
    float *table = calloc((size_t)count, sizeof *table);
    if (!table) ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld positions", (long long)count);
    if (table && gather(&d->file, "pos_embed", count, table, err)) return table;
    free(table);
    return NULL;
}

/* (1 + R, W): the class token, with its position where there is one, and the registers. */
static bool make_prefix(const ts_dino *d, float *out, ts_error *err)
{
    const ts_dino_config *c = &d->config;
    if (!gather(&d->file, "cls_token", c->width, out, err)) return false;
    if (c->side) {
        float *table = position_table(d, err);
        for (int i = 0; table && i < c->width; i++) out[i] += table[i];
        free(table);
        if (!table) return false;
    }
    return c->registers == 0 || gather(&d->file, "register_tokens", (int64_t)c->registers * c->width, out + c->width, err);
}

/* (P, W) */
static bool make_positions(const ts_dino *d, float *out, ts_error *err)
{
    const ts_dino_config *c = &d->config;
    float *table = position_table(d, err);
    const bool ok =
        table && ts_dino_positions(table + c->width, c->side, c->width, c->registers > 0, d->rows, d->columns, out, err);
    free(table);
    return ok;
}

/* What the file has under another name, in pieces or not at all. A DINOv3's keys have no bias, whatever stands there. */
static bool convert(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const ts_dino *d = ctx;
    const ts_dino_config *c = &d->config;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    if (strcmp(name, "prefix") == 0) return make_prefix(d, out, err);
    if (strcmp(name, "positions") == 0) return make_positions(d, out, err);
    if (strcmp(name, "cos") == 0 || strcmp(name, "sin") == 0) {
        ts_dino_rotary(c, 1 + c->registers, d->rows, d->columns, name[0] == 's', out);
        return true;
    }
    char inside[96];
    snprintf(inside, sizeof inside, "%s", name);
    const char *made = strstr(name, "attn.made.");
    if (made) snprintf(inside, sizeof inside, "%.*sattn.qkv.%s", (int)(made - name), name, made + strlen("attn.made."));
    if (!gather(&d->file, inside, count, out, err)) return false;
    if (made && c->version == 3 && ndim == 1) memset(out + c->width, 0, (size_t)c->width * sizeof *out);
    return true;
}

/* ---- the forward pass ---- */

/* As facebookresearch's files have them. Where q, k and v are apart, or the keys' bias is not used, they are made anew. */
static const ts_vit_names NAMES = {.norm1 = "norm1",
                                   .qkv = "attn.qkv",
                                   .proj = "attn.proj",
                                   .norm2 = "norm2",
                                   .fc1 = "mlp.fc1",
                                   .fc2 = "mlp.fc2",
                                   .scale1 = "ls1.gamma",
                                   .scale2 = "ls2.gamma"};

static ts_vit_names names_of(const ts_dino *d)
{
    ts_vit_names names = NAMES;
    if (d->file.rotary) names.qkv = "attn.made";
    if (d->config.gated) names.fc1 = "mlp.w12", names.fc2 = "mlp.w3";
    return names;
}

static ts_tensor *rotary(ts_graph *g, const ts_dino *d, const char *name, int64_t tokens)
{
    return ts_param(g, d->params, name, TS_LAYOUT_PLAIN, 2, (int64_t[]){tokens, d->config.width / 2});
}

ts_tensor *ts_dino_tokens(ts_graph *g, const ts_dino *d, ts_tensor *pixels, bool normed)
{
    if (!pixels) return NULL;
    const ts_dino_config *c = &d->config;
    const int64_t width = c->width, patch = c->patch, places = (int64_t)d->rows * d->columns, before = 1 + c->registers;
    const float eps = c->version == 3 ? 1e-5F : 1e-6F;
    ts_scope(g, "patch_embed.proj");
    ts_tensor *w = ts_param(g, d->params, "patch_embed.proj.weight", TS_LAYOUT_CONV, 4, (int64_t[]){width, 3, patch, patch});
    ts_tensor *bias = ts_param(g, d->params, "patch_embed.proj.bias", TS_LAYOUT_PLAIN, 1, &width);
    ts_tensor *x = ts_conv2d(g, pixels, w, bias, &(ts_conv_desc){.stride = c->patch}); // (B, rows, columns, W)
    x = ts_reshape(g, x, 3, (int64_t[]){pixels->shape[0], places, width});             // (B, P, W)
    ts_scope(g, "tokens");
    if (c->side) x = ts_add(g, x, ts_param(g, d->params, "positions", TS_LAYOUT_PLAIN, 2, (int64_t[]){places, width}));
    ts_tensor *prefix = ts_param(g, d->params, "prefix", TS_LAYOUT_PLAIN, 2, (int64_t[]){before, width});
    x = ts_concat(g, prefix, x); // (B, 1+R+P, W)
    const ts_vit_names names = names_of(d);
    ts_vit v = {.g = g,
                .params = d->params,
                .prefix = "blocks",
                .names = &names,
                .width = c->width,
                .depth = c->depth,
                .heads = c->heads,
                .mlp = c->mlp,
                .eps = eps,
                .activation = c->gated ? TS_VIT_SWIGLU : TS_VIT_GELU};
    if (c->version == 3) {
        v.rotary.cos = rotary(g, d, "cos", before + places);
        v.rotary.sin = rotary(g, d, "sin", before + places);
    }
    x = ts_vit_blocks(&v, x);
    x = ts_slice(g, x, before, places);
    return normed ? ts_vit_norm(g, d->params, "norm", x, width, eps) : x;
}

/* ---- a picture ---- */

void ts_dino_normalise(const uint8_t *rgb, int64_t pixels, float *out)
{
    static const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
    for (int64_t i = 0; i < 3 * pixels; i++) out[i] = (float)((rgb[i] / 255.0 - mean[i % 3]) / deviation[i % 3]);
}

ts_dino *ts_dino_new(ts_device *dev, const ts_weights *w, int rows, int columns, ts_error *err)
{
    ts_dino *d = calloc(1, sizeof *d);
    if (!d) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    d->dev = dev;
    d->rows = rows;
    d->columns = columns;
    bool ok = ts_dino_config_read(w, &d->config, err) && ts_dino_file_of(w, &d->file);
    if (ok && (rows < 1 || rows > MOST_PLACES || columns < 1 || columns > MOST_PLACES))
        ok = ts_fail(err, TS_ERR_ARGUMENT, "a picture of %d x %d patches: 1 to %d a side are possible", columns, rows,
                     MOST_PLACES);
    ok = ok &&
         (d->params = ts_params_new_converted(dev, d->file.hugging_face ? NULL : w, d->file.prefix, convert, d, err)) != NULL;
    if (ok) return d;
    ts_dino_free(d);
    return NULL;
}

void ts_dino_free(ts_dino *d)
{
    if (!d) return;
    for (int i = 0; i < 2; i++) {
        ts_exec_free(d->plan[i].e);
        ts_graph_free(d->plan[i].g);
    }
    ts_params_free(d->params);
    free(d);
}

const ts_dino_config *ts_dino_about(const ts_dino *d)
{
    return &d->config;
}

static bool plan(ts_dino *d, bool normed, ts_error *err)
{
    const int64_t patch = d->config.patch;
    ts_graph *g = d->plan[normed].g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    d->plan[normed].in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){1, d->rows * patch, d->columns * patch, 3});
    d->plan[normed].out = ts_output(g, ts_dino_tokens(g, d, d->plan[normed].in, normed));
    d->plan[normed].e = ts_params_check(d->params, err) ? ts_exec_new(g, d->dev, err) : NULL;
    if (d->plan[normed].e) return true;
    ts_graph_free(g);
    d->plan[normed].g = NULL;
    return false;
}

bool ts_dino_encode(ts_dino *d, const float *pixels, bool normed, float *tokens, ts_error *err)
{
    if (!d->plan[normed].e && !plan(d, normed, err)) return false;
    ts_exec *e = d->plan[normed].e;
    if (!ts_write(e, d->plan[normed].in, pixels, err) || !ts_run(e, err) || !ts_read(e, d->plan[normed].out, tokens, err))
        return false;
    const int64_t count = (int64_t)d->rows * d->columns * d->config.width;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(tokens[i]))
            return ts_fail(err, TS_ERR_FORMAT,
                           "%s gives features that are no numbers: its weights are broken, or too large for fp16",
                           ts_weights_path(d->file.w));
    return true;
}
