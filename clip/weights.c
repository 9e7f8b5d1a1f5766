/* weights.c - where a CLIP's tensors stand in a file. Two layouts are in use: the published one, which holds q, k and v in one
 * tensor and the two projections (in, out), and Hugging Face's, with other names, q, k and v apart and all of it (out, in). */
#include "clip/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

clip_layout ts_clip_layout_of(const ts_weights *w)
{
    for (int64_t i = 0; i < ts_weights_count(w); i++)
        if (strncmp(ts_weights_at(w, i)->name, "vision_model.", 13) == 0) return CLIP_HUGGING_FACE;
    return CLIP_PUBLISHED;
}

/* ---- names ---- */

/* Of what begins with `from`, the rest behind `to`. The first that fits is taken. */
typedef struct {
    const char *from, *to;
} renaming;

static const renaming outside[] = {
    {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"},
    {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
    {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
    {"visual.ln_pre", "vision_model.pre_layrnorm"}, /* so spelt */
    {"visual.ln_post", "vision_model.post_layernorm"},
    {"visual.proj.weight", "visual_projection.weight"},
    {"visual.transformer.resblocks", "vision_model.encoder.layers"},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    {"token_embedding", "text_model.embeddings.token_embedding"},
    {"ln_final", "text_model.final_layer_norm"},
    {"transformer.resblocks", "text_model.encoder.layers"},
};

static const renaming inside[] = {
    {"ln_1", "layer_norm1"}, {"ln_2", "layer_norm2"},   {"attn.out_proj", "self_attn.out_proj"},
    {"mlp.c_fc", "mlp.fc1"}, {"mlp.c_proj", "mlp.fc2"},
};

static const char *rename_front(const renaming *list, size_t count, const char *name, const char **front)
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(list[i].from);
        if (strncmp(name, list[i].from, length) != 0) continue;
        *front = list[i].to;
        return name + length;
    }
    *front = "";
    return name;
}

/* rest: ".3.attn.in_proj_weight" behind "vision_model.encoder.layers". */
static void name_in_block(const char *front, const char *rest, clip_source *out)
{
    const int digits = (int)strspn(rest + 1, "0123456789");
    const char *part = strchr(rest + 1, '.');
    part = part ? part + 1 : rest;
    if (strncmp(part, "attn.in_proj_", 13) == 0) {
        out->pieces = 3;
        for (int i = 0; i < 3; i++)
            snprintf(out->name[i], sizeof out->name[i], "%s.%.*s.self_attn.%c_proj.%s", front, digits, rest + 1, "qkv"[i],
                     part + 13);
        return;
    }
    const char *inner, *tail = rename_front(inside, sizeof inside / sizeof *inside, part, &inner);
    snprintf(out->name[0], sizeof out->name[0], "%s.%.*s.%s%s", front, digits, rest + 1, inner, tail);
}

void ts_clip_source(clip_layout layout, const char *name, clip_source *out)
{
    *out = (clip_source){.pieces = 1};
    snprintf(out->name[0], sizeof out->name[0], "%s", name);
    if (layout == CLIP_PUBLISHED) {
        out->turned = strcmp(name, "visual.proj.weight") == 0 || strcmp(name, "text_projection.weight") == 0;
        if (out->turned) out->name[0][strlen(name) - strlen(".weight")] = '\0';
        return;
    }
    const char *front, *rest = rename_front(outside, sizeof outside / sizeof *outside, name, &front);
    if (strstr(front, ".encoder.layers")) name_in_block(front, rest, out);
    else snprintf(out->name[0], sizeof out->name[0], "%s%s", front, rest);
}

/* ---- checking ---- */

typedef struct {
    const ts_weights *w;
    clip_layout layout;
    int missing, misshapen;
    char missing_names[400], misshapen_names[400];
    bool *seen; /* (tensors of the file): the model has it */
} check;

static void note(char *list, size_t room, int count, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void note(char *list, size_t room, int count, const char *format, ...)
{
    const size_t used = strlen(list);
    if (count > 1 && used + 2 < room) snprintf(list + used, room - used, ", ");
    va_list args;
    va_start(args, format);
    vsnprintf(list + strlen(list), room - strlen(list), format, args);
    va_end(args);
}

static void shape_words(char *out, size_t room, int ndim, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, room, "(");
    for (int i = 0; i < ndim && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (used < room) snprintf(out + used, room - used, ")");
}

static void check_tensor(check *k, const char *name, int ndim, const int64_t *shape)
{
    clip_source source;
    ts_clip_source(k->layout, name, &source);
    int64_t want[TS_MAX_DIMS] = {0};
    for (int i = 0; i < ndim; i++) want[i] = shape[source.turned ? ndim - 1 - i : i];
    want[0] /= source.pieces;
    for (int piece = 0; piece < source.pieces; piece++) {
        const ts_weight *t = ts_weights_find(k->w, source.name[piece]);
        if (!t) {
            note(k->missing_names, sizeof k->missing_names, ++k->missing, "%s", source.name[piece]);
            continue;
        }
        k->seen[t - ts_weights_at(k->w, 0)] = true;
        bool same = t->ndim == ndim;
        for (int i = 0; same && i < ndim; i++) same = t->shape[i] == want[i];
        if (same) continue;
        char have_words[96], want_words[96];
        shape_words(have_words, sizeof have_words, t->ndim, t->shape);
        shape_words(want_words, sizeof want_words, ndim, want);
        note(k->misshapen_names, sizeof k->misshapen_names, ++k->misshapen, "%s is %s, wanted %s", source.name[piece], have_words,
             want_words);
    }
}

static void check_vector(check *k, const char *layer, const char *part, int64_t width)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", layer, part);
    check_tensor(k, name, 1, &width);
}

static void check_matrix(check *k, const char *layer, const char *part, int64_t rows, int64_t columns)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", layer, part);
    check_tensor(k, name, 2, (int64_t[]){rows, columns});
}

static void check_blocks(check *k, const char *prefix, int layers, int64_t width, int64_t mlp)
{
    for (int i = 0; i < layers; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "%s.%d.", prefix, i);
        check_vector(k, layer, "ln_1.weight", width);
        check_vector(k, layer, "ln_1.bias", width);
        check_matrix(k, layer, "attn.in_proj_weight", 3 * width, width);
        check_vector(k, layer, "attn.in_proj_bias", 3 * width);
        check_matrix(k, layer, "attn.out_proj.weight", width, width);
        check_vector(k, layer, "attn.out_proj.bias", width);
        check_vector(k, layer, "ln_2.weight", width);
        check_vector(k, layer, "ln_2.bias", width);
        check_matrix(k, layer, "mlp.c_fc.weight", mlp, width);
        check_vector(k, layer, "mlp.c_fc.bias", mlp);
        check_matrix(k, layer, "mlp.c_proj.weight", width, mlp);
        check_vector(k, layer, "mlp.c_proj.bias", width);
    }
}

static void check_all(check *k, const ts_clip_config *c)
{
    const int64_t side = c->image / c->patch;
    check_vector(k, "visual.", "class_embedding", c->width);
    check_matrix(k, "visual.", "positional_embedding", 1 + side * side, c->width);
    check_tensor(k, "visual.conv1.weight", 4, (int64_t[]){c->width, 3, c->patch, c->patch});
    check_vector(k, "visual.", "ln_pre.weight", c->width);
    check_vector(k, "visual.", "ln_pre.bias", c->width);
    check_blocks(k, "visual.transformer.resblocks", c->layers, c->width, c->mlp);
    check_vector(k, "visual.", "ln_post.weight", c->width);
    check_vector(k, "visual.", "ln_post.bias", c->width);
    check_matrix(k, "visual.", "proj.weight", c->embed, c->width);
    check_matrix(k, "", "token_embedding.weight", c->vocabulary, c->text_width);
    check_matrix(k, "", "positional_embedding", c->context, c->text_width);
    check_blocks(k, "transformer.resblocks", c->text_layers, c->text_width, c->text_mlp);
    check_vector(k, "", "ln_final.weight", c->text_width);
    check_vector(k, "", "ln_final.bias", c->text_width);
    check_matrix(k, "", "text_projection.weight", c->embed, c->text_width);
    const ts_weight *scale = ts_weights_find(k->w, "logit_scale");
    if (!scale || scale->count != 1) note(k->missing_names, sizeof k->missing_names, ++k->missing, "logit_scale (one number)");
}

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Of a tower, and nothing that this model knows: its answers would be another model's. Buffers that hold no weights may stay. */
static bool is_strange(const char *name)
{
    static const char *const towers[] = {"visual.", "transformer.", "vision_model.", "text_model."};
    static const char *const buffers[] = {"position_ids", "attn_mask"};
    const size_t length = strlen(name);
    bool of_tower = false;
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) of_tower = of_tower || begins(name, towers[i]);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        const size_t end = strlen(buffers[i]);
        if (length >= end && strcmp(name + length - end, buffers[i]) == 0) return false;
    }
    return of_tower;
}

static bool check_strange(const check *k, ts_error *err)
{
    for (int64_t i = 0; i < ts_weights_count(k->w); i++) {
        const char *name = ts_weights_at(k->w, i)->name;
        if (k->seen[i] || !is_strange(name)) continue;
        return ts_fail(err, TS_ERR_UNSUPPORTED,
                       "%s: the CLIP in this file is of a kind that is not known here: it has a tensor %s", ts_weights_path(k->w),
                       name);
    }
    return true;
}

static bool check_tell(const check *k, ts_error *err)
{
    if (k->missing + k->misshapen == 0) return check_strange(k, err);
    char lack[440] = "", differ[440] = "";
    if (k->missing)
        snprintf(lack, sizeof lack, "lacks %d tensor%s (%s)", k->missing, k->missing > 1 ? "s" : "", k->missing_names);
    if (k->misshapen) snprintf(differ, sizeof differ, "has %d of another shape (%s)", k->misshapen, k->misshapen_names);
    return ts_fail(err, k->missing ? TS_ERR_FORMAT : TS_ERR_SHAPE, "%s: the CLIP in this file %s%s%s", ts_weights_path(k->w),
                   lack, k->missing && k->misshapen ? " and " : "", differ);
}

bool ts_clip_check(const ts_weights *w, const ts_clip_config *c, ts_error *err)
{
    check k = {.w = w, .layout = ts_clip_layout_of(w), .seen = calloc((size_t)ts_weights_count(w) + 1, sizeof *k.seen)};
    if (!k.seen) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    check_all(&k, c);
    const bool ok = check_tell(&k, err);
    free(k.seen);
    return ok;
}

/* ---- converting ---- */

static bool gather(const ts_weights *w, const char *name, int64_t count, float *out, ts_error *err)
{
    clip_source source;
    ts_clip_source(ts_clip_layout_of(w), name, &source);
    for (int piece = 0; piece < source.pieces; piece++) {
        const ts_weight *t = ts_weights_find(w, source.name[piece]);
        if (!t || t->count != count / source.pieces)
            return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing or has another shape", ts_weights_path(w),
                           source.name[piece]);
        ts_weight view = *t;
        if (source.turned) { /* read through its strides, columns first */
            view.shape[0] = t->shape[1], view.shape[1] = t->shape[0];
            view.stride[0] = t->stride[1], view.stride[1] = t->stride[0];
            view.contiguous = false;
        }
        if (!ts_weight_to_f32(&view, out + piece * t->count, err)) return false;
        ts_weight_release(t);
    }
    return true;
}

/* Pictures come normalised as CLIP's, z = (x - mean) / deviation; the model wants (x - its mean) / its deviation = scale z +
 * shift.
 */
static void change_of_pixels(const ts_clip_config *c, double scale[3], double shift[3])
{
    for (int i = 0; i < 3; i++) {
        scale[i] = (double)ts_clip_deviation[i] / (double)c->deviation[i];
        shift[i] = ((double)ts_clip_mean[i] - (double)c->mean[i]) / (double)c->deviation[i];
    }
}

/* What the shift adds to each patch goes to the patches' positions (1+P, W). */
static bool shift_positions(const clip_file *f, const double shift[3], float *places, ts_error *err)
{
    const ts_clip_config *c = f->config;
    const int64_t side = c->image / c->patch, area = (int64_t)c->patch * c->patch, width = c->width;
    float *conv = calloc((size_t)(width * 3 * area), sizeof *conv);
    if (!conv) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a patch's weights");
    const bool ok = gather(f->weights, "visual.conv1.weight", width * 3 * area, conv, err);
    for (int64_t o = 0; ok && o < width; o++) {
        double sum = 0;
        for (int64_t i = 0; i < 3 * area; i++) sum += shift[i / area] * (double)conv[o * 3 * area + i];
        for (int64_t p = 1; p <= side * side; p++) places[p * width + o] += (float)sum;
    }
    free(conv);
    return ok;
}

bool ts_clip_convert(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const clip_file *f = ctx;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    if (!gather(f->weights, name, count, out, err)) return false;
    if (!f->config || f->config->deviation[0] == 0) return true;
    double scale[3], shift[3];
    change_of_pixels(f->config, scale, shift);
    if (strcmp(name, "visual.positional_embedding") == 0) return shift_positions(f, shift, out, err);
    const int64_t area = (int64_t)f->config->patch * f->config->patch;
    for (int64_t i = 0; i < count && strcmp(name, "visual.conv1.weight") == 0; i++)
        out[i] = (float)(scale[i / area % 3] * (double)out[i]);
    return true;
}
