/* vision.c - the image tower, a vision transformer (Dosovitskiy et al. 2020) with a norm before its blocks. Shapes: B images of S
 * x S pixels, P patches, W the width, E the joint width. */
#include "clip/internal.h"

/* The positions (1+P, W) of a grid of rows x columns places: the class token's, then the places'. */
static ts_tensor *positions(ts_graph *g, const ts_clip *c, int rows, int columns)
{
    const ts_clip_config *m = &c->config;
    const int64_t width = m->width, side = m->image / m->patch, places = side * side;
    ts_tensor *all = ts_param(g, c->params, "visual.positional_embedding", TS_LAYOUT_PLAIN, 2, (int64_t[]){1 + places, width});
    if (rows == side && columns == side) return all;
    ts_tensor *map = ts_reshape(g, ts_slice(g, all, 1, places), 4, (int64_t[]){1, side, side, width});
    map = ts_resample(g, map, rows, columns, true);
    map = ts_reshape(g, map, 2, (int64_t[]){(int64_t)rows * columns, width});
    return ts_concat(g, ts_slice(g, all, 0, 1), map);
}

/* pixels (B, rows patch, columns patch, 3) -> (B, 1+P, W) */
static ts_tensor *patches(ts_graph *g, const ts_clip *c, ts_tensor *pixels, int rows, int columns)
{
    if (!pixels) return NULL;
    const int64_t width = c->config.width, patch = c->config.patch, places = (int64_t)rows * columns;
    ts_scope(g, "visual.conv1");
    ts_tensor *w = ts_param(g, c->params, "visual.conv1.weight", TS_LAYOUT_CONV, 4, (int64_t[]){width, 3, patch, patch});
    ts_tensor *x = ts_conv2d(g, pixels, w, NULL, &(ts_conv_desc){.stride = c->config.patch}); // (B, rows, columns, W)
    x = ts_reshape(g, x, 3, (int64_t[]){pixels->shape[0], places, width});                    // (B, P, W)
    ts_scope(g, "visual.tokens");
    ts_tensor *class = ts_param(g, c->params, "visual.class_embedding", TS_LAYOUT_PLAIN, 1, &width);
    ts_tensor *place = positions(g, c, rows, columns);
    x = ts_concat(g, ts_reshape(g, class, 2, (int64_t[]){1, width}), x); // (B, 1+P, W)
    return ts_add(g, x, place);
}

ts_tensor *ts_clip_patches(ts_graph *g, const ts_clip *c, ts_tensor *pixels)
{
    const int side = c->config.image / c->config.patch;
    return patches(g, c, pixels, side, side);
}

ts_tensor *ts_clip_vision(ts_graph *g, const ts_clip *c, ts_tensor *tokens, ts_tensor *const *deep)
{
    const ts_clip_config *m = &c->config;
    const ts_vit blocks = ts_clip_blocks_of(g, c, false);
    ts_tensor *x = ts_clip_norm(g, c, "visual.ln_pre", tokens, m->width); // (B, N, W)
    x = ts_clip_blocks(&blocks, x, deep, NULL);                           // (B, 1, W): the class token
    x = ts_clip_norm(g, c, "visual.ln_post", x, m->width);
    return ts_clip_project(g, c, "visual.proj", x, m->embed);
}

ts_tensor *ts_clip_places(ts_graph *g, const ts_clip *c, ts_tensor *pixels, int rows, int columns)
{
    const ts_clip_config *m = &c->config;
    const ts_vit blocks = ts_clip_blocks_of(g, c, false);
    ts_tensor *x = patches(g, c, pixels, rows, columns);
    x = ts_clip_norm(g, c, "visual.ln_pre", x, m->width);
    x = ts_slice(g, ts_vit_blocks(&blocks, x), 1, (int64_t)rows * columns); // (B, P, W)
    return ts_clip_norm(g, c, "visual.ln_post", x, m->width);
}
