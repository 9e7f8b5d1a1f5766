/* model.c - the masked autoencoder, as in He et al. 2022 with codes to predict in place of pixels. Shapes: B canvases, L patches
 * of which V are visible, T predicted places, D and E the encoder's and the decoder's width, K codes. */
#include "mae/mae.h"
#include "vit/vit.h"

#include <stdlib.h>

static const float EPS = 1e-6f;

/* Parameter `name` (1, rows, width) as (rows, width), or as (width) where it has one row. */
static ts_tensor *rows_of(ts_graph *g, ts_params *ps, const char *name, int64_t rows, int64_t width)
{
    ts_tensor *t = ts_param(g, ps, name, TS_LAYOUT_PLAIN, 3, (int64_t[]){1, rows, width});
    return rows == 1 ? ts_reshape(g, t, 1, &width) : ts_reshape(g, t, 2, (int64_t[]){rows, width});
}

/* pixels (B, H, W, 3) -> (B, L, D) */
static ts_tensor *patches_of(ts_graph *g, const ts_mae *m, ts_tensor *pixels)
{
    const ts_mae_config *c = &m->config;
    int64_t d = c->dim, p = c->patch, patches = (int64_t)c->side * c->side;
    if (!pixels) return NULL;
    ts_scope(g, "patch_embed.proj");
    ts_tensor *w = ts_param(g, m->params, "patch_embed.proj.weight", TS_LAYOUT_CONV, 4, (int64_t[]){d, 3, p, p});
    ts_tensor *b = ts_param(g, m->params, "patch_embed.proj.bias", TS_LAYOUT_PLAIN, 1, &d);
    ts_tensor *x = ts_conv2d(g, pixels, w, b, &(ts_conv_desc){.stride = c->patch}); // (B, side, side, D)
    return ts_reshape(g, x, 3, (int64_t[]){pixels->shape[0], patches, d});
}

static ts_tensor *encoder_blocks(ts_graph *g, const ts_mae *m, ts_tensor *x)
{
    const ts_mae_config *c = &m->config;
    const ts_vit encoder = {.g = g,
                            .params = m->params,
                            .prefix = "blocks",
                            .width = c->dim,
                            .depth = c->depth,
                            .heads = c->heads,
                            .mlp = c->mlp,
                            .eps = EPS,
                            .said = m->encoder_said,
                            .recompute = m->recompute};
    return ts_vit_norm(g, m->params, "norm", ts_vit_blocks(&encoder, x), c->dim, EPS);
}

ts_tensor *ts_mae_encode(ts_graph *g, const ts_mae *m, ts_tensor *pixels, const ts_mae_index *index)
{
    const ts_mae_config *c = &m->config;
    ts_params *ps = m->params;
    int64_t d = c->dim, patches = (int64_t)c->side * c->side;
    ts_tensor *x = patches_of(g, m, pixels); // (B, L, D)

    /* Published: positions are added, then the visible patches are kept and the class token, with its own position, goes before
     * them. Keeping first and adding the kept rows' positions is the same sum. */
    ts_scope(g, "tokens");
    x = ts_gather(g, x, index->token, rows_of(g, ps, "cls_token", 1, d)); // (B, 1+V, D)
    ts_tensor *place = ts_gather(g, rows_of(g, ps, "pos_embed", 1 + patches, d), index->place, NULL);
    x = ts_add(g, x, place); // (B, 1+V, D)
    return encoder_blocks(g, m, x);
}

ts_tensor *ts_mae_embed(ts_graph *g, const ts_mae *m, ts_tensor *pixels)
{
    const int64_t d = m->config.dim, patches = (int64_t)m->config.side * m->config.side;
    ts_tensor *x = patches_of(g, m, pixels);
    ts_scope(g, "tokens");
    ts_tensor *places = ts_slice(g, rows_of(g, m->params, "pos_embed", 1 + patches, d), 1, patches);
    return ts_add(g, x, places); // (B, L, D)
}

ts_tensor *ts_mae_encode_tokens(ts_graph *g, const ts_mae *m, ts_tensor *tokens)
{
    const int64_t d = m->config.dim, patches = (int64_t)m->config.side * m->config.side;
    ts_scope(g, "tokens");
    ts_tensor *place = ts_slice(g, rows_of(g, m->params, "pos_embed", 1 + patches, d), 0, 1);
    ts_tensor *first = rows_of(g, m->params, "cls_token", 1, d);
    first = ts_add(g, place, first);                          // (1, D)
    return encoder_blocks(g, m, ts_concat(g, first, tokens)); // (B, 1+V, D)
}

ts_tensor *ts_mae_decode(ts_graph *g, const ts_mae *m, ts_tensor *encoded, const ts_mae_index *index)
{
    const ts_mae_config *c = &m->config;
    ts_params *ps = m->params;
    int64_t e = c->decoder_dim, patches = (int64_t)c->side * c->side;

    ts_tensor *x = ts_vit_linear(g, ps, "decoder_embed", encoded, c->dim, e); // (B, 1+V, E)
    ts_scope(g, "decoder_tokens");
    x = ts_gather(g, x, index->slot, rows_of(g, ps, "mask_token", 1, e)); // (B, 1+L, E): each patch at its place again
    ts_tensor *place = rows_of(g, ps, "decoder_pos_embed", 1 + patches, e);
    if (index->part) {                                  // (1+P, E)
        place = ts_gather(g, place, index->part, NULL); // (1, 1+P, E)
        place = ts_reshape(g, place, 2, (int64_t[]){index->part->shape[1], e});
    }
    x = ts_add(g, x, place); // the same positions for every canvas

    const ts_vit decoder = {.g = g,
                            .params = ps,
                            .prefix = "decoder_blocks",
                            .width = c->decoder_dim,
                            .depth = c->decoder_depth,
                            .heads = c->decoder_heads,
                            .mlp = c->decoder_mlp,
                            .eps = EPS,
                            .said = m->decoder_said,
                            .recompute = m->recompute};
    x = ts_vit_blocks(&decoder, x);
    x = ts_vit_norm(g, ps, "decoder_norm", x, e, EPS);
    x = ts_gather(g, x, index->row, NULL); // (B, T, E): the class token, and what is not asked for, left out
    return ts_vit_linear(g, ps, "decoder_pred", x, e, c->codes); // (B, T, K)
}

ts_mae_index ts_mae_index_new(ts_graph *g, const ts_mae *m, int64_t batch, int64_t visible, int64_t predicted)
{
    int64_t patches = (int64_t)m->config.side * m->config.side;
    return (ts_mae_index){.token = ts_input(g, "token", TS_I32, 2, (int64_t[]){batch, 1 + visible}),
                          .place = ts_input(g, "place", TS_I32, 2, (int64_t[]){batch, 1 + visible}),
                          .slot = ts_input(g, "slot", TS_I32, 2, (int64_t[]){batch, 1 + patches}),
                          .row = ts_input(g, "row", TS_I32, 2, (int64_t[]){batch, predicted})};
}

ts_mae_index ts_mae_index_new_part(ts_graph *g, int64_t batch, int64_t visible, int64_t places)
{
    return (ts_mae_index){.token = ts_input(g, "token", TS_I32, 2, (int64_t[]){batch, 1 + visible}),
                          .place = ts_input(g, "place", TS_I32, 2, (int64_t[]){batch, 1 + visible}),
                          .slot = ts_input(g, "slot", TS_I32, 2, (int64_t[]){batch, 1 + places}),
                          .row = ts_input(g, "row", TS_I32, 2, (int64_t[]){batch, places}),
                          .part = ts_input(g, "part", TS_I32, 2, (int64_t[]){1, 1 + places})};
}

/* One canvas's part of the four tables. */
static bool fill_index(int64_t patches, int64_t visible, int64_t predicted, const int32_t *keep, const int32_t *predict,
                       int32_t *token, int32_t *place, int32_t *slot, int32_t *row, ts_error *err)
{
    token[0] = -1;
    place[0] = slot[0] = 0;
    for (int64_t i = 1; i <= patches; i++) slot[i] = -1;
    for (int64_t i = 0; i < visible; i++) {
        if (keep[i] < 0 || keep[i] >= patches)
            return ts_fail(err, TS_ERR_ARGUMENT, "patch %d cannot be visible: the canvas has %d", keep[i], (int)patches);
        token[1 + i] = keep[i];
        place[1 + i] = keep[i] + 1;
        slot[1 + keep[i]] = (int32_t)(1 + i);
    }
    for (int64_t i = 0; i < predicted; i++) {
        int32_t patch = predict ? predict[i] : (int32_t)i;
        if (patch < 0 || patch >= patches)
            return ts_fail(err, TS_ERR_ARGUMENT, "patch %d cannot be predicted: the canvas has %d", patch, (int)patches);
        row[i] = patch + 1;
    }
    return true;
}

bool ts_mae_index_write(ts_exec *e, const ts_mae *m, const ts_mae_index *index, const int32_t *keep, const int32_t *predict,
                        ts_error *err)
{
    if (!index->token || !index->row) return ts_fail(err, TS_ERR_ARGUMENT, "the index inputs were not made");
    int64_t patches = (int64_t)m->config.side * m->config.side, batch = index->token->shape[0];
    int64_t tokens = index->token->shape[1], predicted = index->row->shape[1];
    if (!predict && predicted != patches)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d places are predicted, but not said which", (int)predicted);
    int32_t *all = malloc((size_t)batch * (size_t)(2 * tokens + 1 + patches + predicted) * sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the index of %d canvases", (int)batch);
    int32_t *token = all, *place = token + batch * tokens, *slot = place + batch * tokens, *row = slot + batch * (1 + patches);
    bool ok = true;
    for (int64_t i = 0; ok && i < batch; i++)
        ok = fill_index(patches, tokens - 1, predicted, keep + i * (tokens - 1), predict ? predict + i * predicted : NULL,
                        token + i * tokens, place + i * tokens, slot + i * (1 + patches), row + i * predicted, err);
    ok = ok && ts_write(e, index->token, token, err) && ts_write(e, index->place, place, err) &&
         ts_write(e, index->slot, slot, err) && ts_write(e, index->row, row, err);
    free(all);
    return ok;
}

/* Row of `patch` among `count` that are kept, the class token's being 0; -1: it is none of them. */
static int32_t row_of(int32_t patch, const int32_t *kept, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (kept[i] == patch) return (int32_t)(1 + i);
    return -1;
}

bool ts_mae_index_write_part(ts_exec *e, const ts_mae *m, const ts_mae_index *index, const int32_t *keep, const int32_t *part,
                             ts_error *err)
{
    if (!index->token || !index->row || !index->part) return ts_fail(err, TS_ERR_ARGUMENT, "the index inputs were not made");
    const int64_t patches = (int64_t)m->config.side * m->config.side, batch = index->token->shape[0];
    const int64_t tokens = index->token->shape[1], rows = index->part->shape[1];
    for (int64_t i = 0; i < rows - 1; i++)
        if (part[i] < 0 || part[i] >= patches)
            return ts_fail(err, TS_ERR_ARGUMENT, "patch %d cannot be decoded: the canvas has %d", part[i], (int)patches);
    for (int64_t i = 0; i < tokens - 1; i++)
        if (row_of(keep[i], part, rows - 1) < 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "patch %d is visible, but is none of those that are decoded", keep[i]);
    int32_t *all = malloc((size_t)(batch * (2 * tokens + 2 * rows - 1) + rows) * sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the index of %d canvases", (int)batch);
    int32_t *token = all, *place = token + batch * tokens, *slot = place + batch * tokens, *row = slot + batch * rows;
    int32_t *own = row + batch * (rows - 1);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t i = 0; i < tokens; i++) {
            token[b * tokens + i] = i > 0 ? keep[i - 1] : -1;
            place[b * tokens + i] = i > 0 ? keep[i - 1] + 1 : 0;
        }
        for (int64_t i = 0; i < rows; i++) {
            slot[b * rows + i] = i > 0 ? row_of(part[i - 1], keep, tokens - 1) : 0;
            if (i > 0) row[b * (rows - 1) + i - 1] = (int32_t)i;
        }
    }
    for (int64_t i = 0; i < rows; i++) own[i] = i > 0 ? part[i - 1] + 1 : 0;
    const bool ok = ts_write(e, index->token, token, err) && ts_write(e, index->place, place, err) &&
                    ts_write(e, index->slot, slot, err) && ts_write(e, index->row, row, err) &&
                    ts_write(e, index->part, own, err);
    free(all);
    return ok;
}
