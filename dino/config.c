/* config.c - a DINO's architecture, read off its tensors. The depth is told by the highest number in a name, so that a missing
 * tensor gives an error with its name and not a smaller model. */
#include "dino/internal.h"
#include "engine/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kinds/kinds.h"

enum { MAX_WIDTH = 1 << 13, MAX_DEPTH = 128, MAX_SIDE = 512, MAX_PATCH = 256, MAX_REGISTERS = 64 };

typedef struct {
    const dino_file *f;
    ts_error *err;
} reader;

/* Dimension `dim` of a tensor of `ndim`, of at most `most`; of the first piece where it stands in several. */
static bool read_dim(const reader *r, const char *name, int ndim, int dim, int most, int *out)
{
    dino_source source;
    ts_dino_source(r->f, name, &source);
    const char *path = ts_weights_path(r->f->w);
    const ts_weight *t = ts_weights_find(r->f->w, source.name[0]);
    if (!t)
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: tensor %s is missing, which tells the model's architecture", path,
                       source.name[0]);
    if (t->ndim != ndim)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a DINO's has %d", path, source.name[0], t->ndim,
                       ndim);
    if (t->shape[dim] < 1 || t->shape[dim] > most)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible", path, dim,
                       source.name[0], t->shape[dim], most);
    *out = (int)t->shape[dim];
    return true;
}

static bool read_depth(const reader *r, int *out)
{
    dino_source source;
    ts_dino_source(r->f, "blocks.0.norm1.weight", &source);
    char *at = strstr(source.name[0], ".0.");
    if (at) at[1] = '\0';
    const int64_t depth = ts_weights_numbered(r->f->w, source.name[0]);
    if (depth < 1 || depth > MAX_DEPTH)
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the model has %" PRId64 " blocks (%s*), 1 to %d are possible",
                       ts_weights_path(r->f->w), depth, source.name[0], MAX_DEPTH);
    *out = (int)depth;
    return true;
}

static bool read_side(const reader *r, int *out)
{
    int places = 0, side = 1;
    if (!read_dim(r, "pos_embed", 3, 1, 1 + MAX_SIDE * MAX_SIDE, &places)) return false;
    while (side <= MAX_SIDE && side * side != places - 1) side++;
    if (side > MAX_SIDE)
        return ts_fail(r->err, TS_ERR_SHAPE,
                       "%s: there are %d positions, a DINOv2 has one for its class token and those of a square of places",
                       ts_weights_path(r->f->w), places);
    *out = side;
    return true;
}

static bool read_registers(const reader *r, int *out)
{
    dino_source source;
    ts_dino_source(r->f, "register_tokens", &source);
    *out = 0;
    return !ts_weights_find(r->f->w, source.name[0]) || read_dim(r, "register_tokens", 3, 1, MAX_REGISTERS, out);
}

/* The width's 64ths; of a small model of somebody's own the metadata tell it. */
static bool read_heads(const reader *r, ts_dino_config *c)
{
    const char *meta = ts_weights_meta(r->f->w, "heads");
    const int each = c->version == 3 && c->width == 4096 ? 128 : 64;
    c->heads = c->width / each;
    if (meta && !ts_int_read(meta, 1, c->width, &c->heads))
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the metadata says heads = '%.40s', wanted a number from 1 to %d",
                       ts_weights_path(r->f->w), meta, c->width);
    if (c->heads > 0 && c->width % c->heads == 0) return true;
    return ts_fail(r->err, TS_ERR_SHAPE, "%s: a DINO of width %d cannot be parted into heads of %d", ts_weights_path(r->f->w),
                   c->width, each);
}

/* ---- whether all is there ---- */

typedef struct {
    const dino_file *f;
    int wrong;
    char first[320]; /* what is wrong with the first of them */
} check;

static void check_tensor(check *k, const char *name, int ndim, const int64_t *shape)
{
    dino_source source;
    ts_dino_source(k->f, name, &source);
    for (int piece = 0; piece < source.pieces; piece++) {
        const ts_weight *t = ts_weights_find(k->f->w, source.name[piece]);
        if (!t && ts_dino_may_lack(k->f, source.name[piece])) continue;
        bool same = t && t->ndim == ndim;
        for (int i = 0; same && i < ndim; i++) same = t->shape[i] == (i == 0 ? shape[0] / source.pieces : shape[i]);
        if (!same && k->wrong++ == 0)
            snprintf(k->first, sizeof k->first, "%s %s", source.name[piece], t ? "has another shape" : "is missing");
    }
}

static void check_layer(check *k, const char *front, const char *layer, int64_t rows, int64_t columns)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s.weight", front, layer);
    check_tensor(k, name, columns ? 2 : 1, (int64_t[]){rows, columns});
    snprintf(name, sizeof name, "%s%s.bias", front, layer);
    check_tensor(k, name, 1, &rows);
}

static void check_block(check *k, const ts_dino_config *c, int number)
{
    const int64_t width = c->width;
    char front[32], name[64];
    snprintf(front, sizeof front, "blocks.%d.", number);
    check_layer(k, front, "norm1", width, 0);
    check_layer(k, front, "attn.qkv", 3 * width, width);
    check_layer(k, front, "attn.proj", width, width);
    check_layer(k, front, "norm2", width, 0);
    check_layer(k, front, c->gated ? "mlp.w12" : "mlp.fc1", (c->gated ? 2 : 1) * (int64_t)c->mlp, width);
    check_layer(k, front, c->gated ? "mlp.w3" : "mlp.fc2", width, c->mlp);
    for (int i = 1; i <= 2; i++) {
        snprintf(name, sizeof name, "%sls%d.gamma", front, i);
        check_tensor(k, name, 1, &width);
    }
}

static bool check_all(const dino_file *f, const ts_dino_config *c, ts_error *err)
{
    check k = {.f = f};
    const int64_t width = c->width;
    check_tensor(&k, "cls_token", 3, (int64_t[]){1, 1, width});
    if (c->registers) check_tensor(&k, "register_tokens", 3, (int64_t[]){1, c->registers, width});
    if (c->side) check_tensor(&k, "pos_embed", 3, (int64_t[]){1, 1 + (int64_t)c->side * c->side, width});
    check_tensor(&k, "patch_embed.proj.weight", 4, (int64_t[]){width, 3, c->patch, c->patch});
    check_tensor(&k, "patch_embed.proj.bias", 1, &width);
    for (int i = 0; i < c->depth; i++) check_block(&k, c, i);
    check_layer(&k, "", "norm", width, 0);
    if (k.wrong == 0) return true;
    return ts_fail(err, TS_ERR_FORMAT, "%s: of the DINO in this file %d tensor%s not as they should be: %s%s",
                   ts_weights_path(f->w), k.wrong, k.wrong > 1 ? "s are" : " is", k.first, k.wrong > 1 ? ", ..." : "");
}

/* ---- the whole ---- */

bool ts_dino_config_read(const ts_weights *w, ts_dino_config *out, ts_error *err)
{
    *out = (ts_dino_config){0};
    dino_file f;
    if (!ts_kind_expect(w, TS_KIND_DINOV2, err)) return false;
    if (!ts_dino_file_of(w, &f) || ts_kind_of(w) != TS_KIND_DINOV2)
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no DINO: it has no blocks.* with LayerScale, nor encoder.layer.*",
                       ts_weights_path(w));
    const reader r = {&f, err};
    out->version = f.rotary ? 3 : 2;
    out->gated = f.gated;
    if (!read_dim(&r, "patch_embed.proj.weight", 4, 0, MAX_WIDTH, &out->width) ||
        !read_dim(&r, "patch_embed.proj.weight", 4, 2, MAX_PATCH, &out->patch) || !read_depth(&r, &out->depth) ||
        !read_registers(&r, &out->registers) || (!f.rotary && !read_side(&r, &out->side)) || !read_heads(&r, out))
        return false;
    /* The two halves of a gate stand in one tensor, or each in its own. */
    dino_source source;
    ts_dino_source(&f, "blocks.0.mlp.w12.weight", &source);
    const int halves = f.gated && source.pieces == 1 ? 2 : 1;
    if (!read_dim(&r, f.gated ? "blocks.0.mlp.w12.weight" : "blocks.0.mlp.fc1.weight", 2, 0, 8 * MAX_WIDTH, &out->mlp))
        return false;
    out->mlp /= halves;
    if (out->mlp < 1 || (f.rotary && out->width / out->heads % 4 != 0))
        return ts_fail(err, TS_ERR_SHAPE, "%s: heads of %d numbers and an MLP of %d are no DINO's", ts_weights_path(w),
                       out->width / out->heads, out->mlp);
    return check_all(&f, out, err);
}

const char *ts_dino_title(const ts_dino_config *c, char *out, size_t room)
{
    static const struct {
        int width, depth;
        bool gated;
        const char *name;
    } known[] = {{384, 12, false, "S"},  {384, 12, true, "S+"},  {768, 12, false, "B"}, {1024, 24, false, "L"},
                 {1024, 24, true, "L+"}, {1280, 32, true, "H+"}, {1536, 40, true, "g"}, {4096, 40, true, "7B"}};
    int used = snprintf(out, room, "DINOv%d %dx%d/%d", c->version, c->width, c->depth, c->patch);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].width == c->width && known[i].depth == c->depth && known[i].gated == c->gated)
            used = snprintf(out, room, "DINOv%d ViT-%s/%d", c->version, known[i].name, c->patch);
    if (c->registers && used > 0 && (size_t)used < room)
        snprintf(out + used, room - (size_t)used, " with %d registers", c->registers);
    return out;
}
