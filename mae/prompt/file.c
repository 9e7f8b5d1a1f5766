/* file.c - a learned prompt as a file, and at work in front of an inpainter. The file is a small safetensors: the tensors, and in
 * the metadata what no shape tells,
 *
 *   tessera.border "1", cells             or  tessera.fusion "prompthub" or "condenser", heads, sigma
 *   background "#000000", filter "bilinear"   how the canvases looked that it was learned with */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "mae/prompt/internal.h"

struct ts_mae_prompt {
    ts_mae_prompt_info info;
    float *frame; /* of a border */
    ts_params *params, *constants;
};

static bool read_look(const ts_weights *w, ts_mae_prompt_info *out, ts_error *err)
{
    const char *background = ts_weights_meta(w, "background"), *filter = ts_weights_meta(w, "filter");
    unsigned rgb;
    int used = 0;
    if (!background && !filter) return true;
    const bool bilinear = filter && strcmp(filter, "bilinear") == 0, bicubic = filter && strcmp(filter, "bicubic") == 0;
    if (!background || strlen(background) != 7 || sscanf(background, "#%6x%n", &rgb, &used) != 1 || used != 7 ||
        (!bilinear && !bicubic))
        return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says background '%.20s' and filter '%.20s'", ts_weights_path(w),
                       background ? background : "", filter ? filter : "");
    out->has_look = true;
    for (int c = 0; c < 3; c++) out->background[c] = (uint8_t)(rgb >> (16 - 8 * c));
    out->filter = bicubic ? TS_RESIZE_BICUBIC : TS_RESIZE_BILINEAR;
    return true;
}

bool ts_mae_prompt_about(const ts_weights *w, ts_mae_prompt_info *out, ts_error *err)
{
    enum { ALL = TS_BORDER_INPUTS | TS_BORDER_OUTPUTS | TS_BORDER_QUERY };
    *out = (ts_mae_prompt_info){0};
    if (!read_look(w, out, err)) return false;
    if (ts_weights_meta(w, "tessera.fusion")) {
        out->is_fusion = true;
        return ts_fusion_read(w, &out->fusion, err);
    }
    bool there;
    if (!ts_border_read(w, &out->border, &there, err)) {
        if (!there)
            return ts_fail(err, TS_ERR_FORMAT, "%s is %s; what tessera tune border or fusion has made is wanted",
                           ts_weights_path(w), ts_kind_name(ts_kind_of(w)));
        return false;
    }
    const char *cells = ts_weights_meta(w, "cells");
    if (cells && !ts_int_read(cells, 1, ALL, &out->border.cells))
        return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says cells = '%.20s', wanted a number from 1 to %d",
                       ts_weights_path(w), cells, ALL);
    return ts_border_complete(&out->border, 0, err);
}

bool ts_mae_prompt_fits(const ts_mae_prompt_info *info, const char *path, const ts_mae_config *mae, ts_error *err)
{
    const int canvas = mae->side * mae->patch;
    if (!info->is_fusion && info->border.canvas != canvas)
        return ts_fail(err, TS_ERR_SHAPE, "%s is a border for canvases of %d pixels, the model has canvases of %d", path,
                       info->border.canvas, canvas);
    if (info->is_fusion && info->fusion.dim != mae->dim)
        return ts_fail(err, TS_ERR_SHAPE, "%s is a fusion for an encoder %d wide, the model's is %d wide", path, info->fusion.dim,
                       mae->dim);
    return true;
}

bool ts_mae_prompt_suits(const ts_mae_prompt_info *info, const ts_grid *grid, ts_error *err)
{
    const int side = grid->side_patches, middle = side / 2;
    if (!info->is_fusion) return true;
    bool suits = side % 2 == 0 && grid->desc.examples == 1 && grid->desc.side == TS_SIDE_RIGHT && !grid->desc.transposed &&
                 !grid->desc.query_first;
    for (int i = 0; suits && i < side * side; i++)
        suits = ts_grid_hidden(grid, i / side, i % side) == (i / side >= middle && i % side >= middle);
    return suits || ts_fail(err, TS_ERR_ARGUMENT,
                            "a fusion wants canvases of one example above the query, outputs at the right, and the lower right "
                            "quarter of the patches hidden");
}

/* ---- at work ---- */

ts_mae_prompt *ts_mae_prompt_open(ts_device *dev, const ts_weights *w, const ts_mae_config *mae, ts_error *err)
{
    ts_mae_prompt *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    bool ok = ts_mae_prompt_about(w, &p->info, err) && ts_mae_prompt_fits(&p->info, ts_weights_path(w), mae, err) &&
              ts_weights_check_finite(w, err);
    if (ok && !p->info.is_fusion) ok = (p->frame = ts_border_frame(w, &p->info.border, err)) != NULL;
    if (ok && p->info.is_fusion)
        ok = (p->params = ts_params_new(dev, w, "", err)) && (p->constants = ts_fusion_constants(dev, &p->info.fusion, err));
    if (ok) return p;
    ts_mae_prompt_free(p);
    return NULL;
}

void ts_mae_prompt_free(ts_mae_prompt *p)
{
    if (!p) return;
    free(p->frame);
    ts_params_free(p->params);
    ts_params_free(p->constants);
    free(p);
}

static bool dress(void *ctx, const ts_grid *grid, float *canvas, ts_error *err)
{
    const ts_mae_prompt *p = ctx;
    return ts_border_dress(&p->info.border, p->frame, grid, canvas, err);
}

static ts_tensor *fuse(void *ctx, ts_graph *g, const ts_mae *m, ts_tensor *pixels, int fused)
{
    const ts_mae_prompt *p = ctx;
    const ts_fusion f = {.config = &p->info.fusion, .params = p->params, .constants = p->constants};
    return ts_fusion_apply(g, &f, ts_mae_embed(g, m, pixels), fused).tokens;
}

ts_mae_front ts_mae_prompt_front(ts_mae_prompt *p)
{
    if (!p) return (ts_mae_front){0};
    return (ts_mae_front){.ctx = p, .dress = p->info.is_fusion ? NULL : dress, .fuse = p->info.is_fusion ? fuse : NULL};
}
