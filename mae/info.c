/* info.c - what a weights file is, by the names and shapes in it. */
#include "mae/mae.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool vqgan_uses(const char *name)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (begins(name, parts[i])) return true;
    return false;
}

static bool mae_uses(const char *name)
{
    static const char *const parts[] = {"cls_token",         "pos_embed", "mask_token", "decoder_",
                                        "patch_embed.proj.", "blocks.",   "norm."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (begins(name, parts[i])) return true;
    return false;
}

static void say(ts_model_info *info, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(ts_model_info *info, const char *format, ...)
{
    size_t used = strlen(info->architecture), room = sizeof info->architecture - used;
    va_list args;
    va_start(args, format);
    vsnprintf(info->architecture + used, room, format, args);
    va_end(args);
}

static void say_heads(ts_model_info *info, int heads)
{
    if (heads) say(info, ", %d heads", heads);
    else say(info, ", heads unknown");
}

static void say_mae(ts_model_info *info)
{
    const ts_mae_config *c = &info->mae;
    say(info, "encoder: %d wide, %d blocks", c->dim, c->depth);
    say_heads(info, c->heads);
    say(info, ", patch %d, canvas %d\ndecoder: %d wide, %d blocks", c->patch, c->side * c->patch, c->decoder_dim,
        c->decoder_depth);
    say_heads(info, c->decoder_heads);
    say(info, ", %d codes\n", c->codes);
}

static void say_vqgan(ts_model_info *info)
{
    const ts_vqgan_config *c = &info->vqgan;
    say(info, "VQGAN: f%d, widths", c->factor);
    for (int i = 0; i < c->levels; i++) say(info, " %d", c->width[i]);
    say(info, ", %d blocks a level, %d codes of %d", c->blocks, c->codes, c->embed);
}

/* Whether running the model needs this tensor. */
static bool is_ours(const ts_model_info *info, const char *prefix, const char *name)
{
    if (!info->has_mae && !info->has_vqgan) return true;
    if (info->has_mae && mae_uses(name)) return true;
    return info->has_vqgan && begins(name, prefix) && vqgan_uses(name + strlen(prefix));
}

bool ts_model_about(const ts_weights *w, ts_model_info *out, ts_error *err)
{
    *out = (ts_model_info){.kind = ts_kind_of(w)};
    const char *prefix = ts_vqgan_prefix(w);
    out->has_mae = out->kind == TS_KIND_MAE_VQGAN || out->kind == TS_KIND_MAE;
    out->has_vqgan = out->kind == TS_KIND_MAE_VQGAN || out->kind == TS_KIND_VQGAN;
    if (out->has_mae && !ts_mae_config_read(w, 0, 0, true, &out->mae, err)) return false;
    if (out->has_vqgan && !ts_vqgan_config_read(w, prefix, &out->vqgan, err)) return false;
    if (out->kind == TS_KIND_UNKNOWN) snprintf(out->title, sizeof out->title, "unknown");
    else
        snprintf(out->title, sizeof out->title, "%s%s", strchr(ts_kind_name(out->kind), ' ') + 1,
                 ts_kind_is_checkpoint(w) ? ", a training's checkpoint" : "");
    if (out->has_mae) say_mae(out);
    if (out->has_vqgan) say_vqgan(out);
    out->tensors = ts_weights_count(w);
    for (int64_t i = 0; i < out->tensors; i++) {
        const ts_weight *t = ts_weights_at(w, i);
        out->parameters += t->count;
        out->of_dtype[t->dtype] += t->count;
        if (!is_ours(out, prefix ? prefix : "", t->name)) continue;
        out->ours++;
        out->our_parameters += t->count;
    }
    return true;
}

/* ---- checking ---- */

/* Describes the model as it would run, which looks every tensor up; nothing is planned. */
static bool check_mae(ts_device *dev, const ts_weights *w, const ts_mae_config *c, ts_error *err)
{
    ts_mae m = {.config = *c, .params = ts_params_new(dev, w, "", err)};
    ts_graph *g = m.params ? ts_graph_new() : NULL;
    bool ok = g || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (ok) {
        /* Shapes do not depend on the heads, so that any number will do where none is told. */
        if (m.config.heads == 0) m.config.heads = 1;
        if (m.config.decoder_heads == 0) m.config.decoder_heads = 1;
        int64_t side = (int64_t)c->side * c->patch;
        ts_tensor *pixels = ts_input(g, "canvas", TS_REAL, 4, (int64_t[]){1, side, side, 3});
        ts_mae_index index = ts_mae_index_new(g, &m, 1, 1, 1);
        ts_mae_decode(g, &m, ts_mae_encode(g, &m, pixels, &index), &index);
        const ts_error *wrong = ts_graph_error(g);
        ok = ts_params_check(m.params, err) && (!wrong || ts_fail(err, wrong->code, "%s: %s", ts_weights_path(w), wrong->text));
    }
    ts_graph_free(g);
    ts_params_free(m.params);
    return ok;
}

static bool check_vqgan(ts_device *dev, const ts_weights *w, const ts_vqgan_config *c, ts_error *err)
{
    ts_vqgan v = {.config = *c, .params = ts_params_new(dev, w, ts_vqgan_prefix(w), err)};
    ts_graph *g = v.params ? ts_graph_new() : NULL;
    bool ok = g || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (ok) {
        ts_tensor *pixels = ts_input(g, "picture", TS_REAL, 4, (int64_t[]){1, c->factor, c->factor, 3});
        ts_vqgan_paint(g, &v, ts_vqgan_codes(g, &v, ts_vqgan_encode(g, &v, pixels)), 1, 1);
        const ts_error *wrong = ts_graph_error(g);
        ok = ts_params_check(v.params, err) && (!wrong || ts_fail(err, wrong->code, "%s: %s", ts_weights_path(w), wrong->text));
    }
    ts_graph_free(g);
    ts_params_free(v.params);
    return ok;
}

bool ts_model_check(const ts_weights *w, ts_error *err)
{
    ts_model_info info;
    if (!ts_model_about(w, &info, err)) return false;
    if (!info.has_mae && !info.has_vqgan)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s is %s, and that is none of the models that can be checked",
                       ts_weights_path(w), ts_kind_name(info.kind));
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, err); /* takes plain tensors where they lie in the file */
    bool ok =
        dev && (!info.has_mae || check_mae(dev, w, &info.mae, err)) && (!info.has_vqgan || check_vqgan(dev, w, &info.vqgan, err));
    ts_device_free(dev);
    return ok;
}
