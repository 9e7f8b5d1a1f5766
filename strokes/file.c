/* file.c - a model as a file: see strokes.h. Files are untrusted: whatever a size is taken from is looked at first. */
#include "strokes/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "kinds/kinds.h"

static const char VERSION[] = "1";

/* ---- writing ---- */

static bool add_meta(ts_weights_writer *w, const ts_strokes_info *info, ts_error *err)
{
    char colours[TS_STROKES_CLASSES * 8] = "", text[32];
    size_t used = 0;
    for (int i = 0; i < info->colours.classes; i++) {
        const uint8_t *c = info->colours.colour[i];
        used += (size_t)snprintf(colours + used, sizeof colours - used, "%s#%02x%02x%02x", i ? " " : "", c[0], c[1], c[2]);
    }
    snprintf(text, sizeof text, "%d", info->colours.ground);
    bool ok = ts_weights_writer_meta(w, "tessera.strokes", VERSION, err) &&
              ts_weights_writer_meta(w, "scales", ts_strokes_scales_text, err) &&
              ts_weights_writer_meta(w, "colours", colours, err) && ts_weights_writer_meta(w, "ground", text, err);
    if (!ok || !info->tokens) return ok;
    snprintf(text, sizeof text, "%d", info->tokens);
    return ts_weights_writer_meta(w, "features", info->features, err) && ts_weights_writer_meta(w, "features.width", text, err) &&
           ts_weights_writer_meta(w, "features.mark", info->mark, err);
}

bool ts_strokes_write(const char *path, const strokes_head *h, const ts_strokes_info *info, ts_error *err)
{
    ts_weights_writer *w = ts_weights_writer_new();
    if (!w) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int64_t units = h->hidden, in = h->hidden ? h->hidden : h->features, classes = h->classes;
    bool ok = add_meta(w, info, err);
    if (ok && h->hidden)
        ok = ts_weights_writer_add(w, "hidden.weight", TS_DT_F32, 2, (int64_t[]){units, h->features}, h->hidden_weight, err) &&
             ts_weights_writer_add(w, "hidden.bias", TS_DT_F32, 1, &units, h->hidden_bias, err);
    ok = ok && ts_weights_writer_add(w, "output.weight", TS_DT_F32, 2, (int64_t[]){classes, in}, h->output_weight, err) &&
         ts_weights_writer_add(w, "output.bias", TS_DT_F32, 1, &classes, h->output_bias, err) &&
         ts_weights_writer_check_finite(w, err) && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    return ok;
}

/* ---- reading ---- */

static bool broken(const ts_weights *w, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s is a model from strokes that is not whole: %s", ts_weights_path(w), what);
}

static bool read_colours(const ts_weights *w, ts_strokes_colours *out, ts_error *err)
{
    const char *at = ts_weights_meta(w, "colours");
    int64_t ground;
    *out = (ts_strokes_colours){0};
    while (at && *at) {
        unsigned rgb;
        int used = 0;
        if (out->classes == TS_STROKES_CLASSES || strlen(at) < 7 || at[0] != '#' ||
            strspn(at + 1, "0123456789abcdefABCDEF") != 6 || sscanf(at, "#%6x%n", &rgb, &used) != 1 || used != 7)
            return broken(w, "its classes' colours are not 2 to 16 of #rrggbb", err);
        for (int k = 0; k < 3; k++) out->colour[out->classes][k] = (uint8_t)(rgb >> (16 - 8 * k));
        out->classes++;
        at += 7;
        at += *at == ' ';
    }
    if (out->classes < 2) return broken(w, "its classes' colours are not 2 to 16 of #rrggbb", err);
    if (!ts_whole_read(ts_weights_meta(w, "ground"), 0, out->classes - 1, &ground))
        return broken(w, "which class is its background is not said", err);
    out->ground = (int)ground;
    return true;
}

/* A tensor of that many dimensions, or NULL with the sentence. */
static const ts_weight *tensor(const ts_weights *w, const char *name, int ndim, ts_error *err)
{
    const ts_weight *t = ts_weights_find(w, name);
    char text[96];
    if (t && t->ndim == ndim && t->count > 0) return t;
    snprintf(text, sizeof text, "%s is %s", name, t ? "of another shape" : "missing");
    broken(w, text, err);
    return NULL;
}

static bool read_shapes(const ts_weights *w, ts_strokes_info *out, ts_error *err)
{
    const int64_t features = TS_STROKES_BANK + (int64_t)out->tokens, classes = out->colours.classes;
    const ts_weight *bias = tensor(w, "output.bias", 1, err), *output = bias ? tensor(w, "output.weight", 2, err) : NULL;
    if (!bias || !output) return false;
    const bool hidden = ts_weights_find(w, "hidden.weight") != NULL;
    const ts_weight *first = hidden ? tensor(w, "hidden.weight", 2, err) : output;
    const ts_weight *first_bias = hidden && first ? tensor(w, "hidden.bias", 1, err) : bias;
    if (!first || !first_bias) return false;
    if (bias->shape[0] != classes || output->shape[0] != classes) return broken(w, "it has not as many outputs as colours", err);
    if (first->shape[1] != features || first_bias->shape[0] != first->shape[0] ||
        output->shape[1] != (hidden ? first->shape[0] : features))
        return broken(w, "its weights do not fit its features", err);
    if (hidden && first->shape[0] > TS_STROKES_HIDDEN) return broken(w, "it has more hidden units than are taken", err);
    out->hidden = hidden ? (int)first->shape[0] : 0;
    return true;
}

bool ts_strokes_about(const ts_weights *w, ts_strokes_info *out, ts_error *err)
{
    *out = (ts_strokes_info){0};
    if (ts_kind_of(w) != TS_KIND_STROKES)
        return ts_fail(err, TS_ERR_FORMAT, "%s is %s; a model from strokes is wanted", ts_weights_path(w),
                       ts_kind_name(ts_kind_of(w)));
    const char *version = ts_weights_meta(w, "tessera.strokes"), *scales = ts_weights_meta(w, "scales");
    const char *features = ts_weights_meta(w, "features"), *mark = ts_weights_meta(w, "features.mark");
    if (!version || strcmp(version, VERSION) != 0)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s is a model from strokes of version %.20s, and %s is read here",
                       ts_weights_path(w), version ? version : "(none)", VERSION);
    if (!scales || strcmp(scales, ts_strokes_scales_text) != 0) return broken(w, "its features are of other scales", err);
    if (!read_colours(w, &out->colours, err)) return false;
    if (features) {
        int64_t width;
        if (!ts_whole_read(ts_weights_meta(w, "features.width"), 1, TS_STROKES_TOKENS, &width) || !mark || strlen(mark) != 16 ||
            strlen(features) >= sizeof out->features)
            return broken(w, "what its transformer is is not said", err);
        out->tokens = (int)width;
        snprintf(out->features, sizeof out->features, "%s", features);
        snprintf(out->mark, sizeof out->mark, "%s", mark);
    }
    return read_shapes(w, out, err);
}

const char *ts_strokes_words(const ts_strokes_info *info, char *out, size_t room)
{
    char units[48] = "logistic regression", tokens[96] = "";
    const ts_strokes_colours *c = &info->colours;
    if (info->hidden) snprintf(units, sizeof units, "a hidden layer of %d", info->hidden);
    if (info->tokens) snprintf(tokens, sizeof tokens, ", and %d of %s", info->tokens, info->features);
    size_t used =
        (size_t)snprintf(out, room, "features: %d of each pixel's surroundings%s\n%s\nclasses:", TS_STROKES_BANK, tokens, units);
    for (int i = 0; i < c->classes && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, " #%02x%02x%02x%s", c->colour[i][0], c->colour[i][1], c->colour[i][2],
                                 i == c->ground ? " (background)" : "");
    return out;
}

bool ts_strokes_read_head(const ts_weights *w, const ts_strokes_info *info, strokes_head *out, ts_error *err)
{
    if (!ts_head_new(out, TS_STROKES_BANK + info->tokens, info->colours.classes, info->hidden, err)) return false;
    bool ok = ts_weights_check_finite(w, err) && ts_weight_to_f32(ts_weights_find(w, "output.weight"), out->output_weight, err) &&
              ts_weight_to_f32(ts_weights_find(w, "output.bias"), out->output_bias, err);
    if (ok && info->hidden)
        ok = ts_weight_to_f32(ts_weights_find(w, "hidden.weight"), out->hidden_weight, err) &&
             ts_weight_to_f32(ts_weights_find(w, "hidden.bias"), out->hidden_bias, err);
    if (!ok) ts_head_clear(out);
    return ok;
}
