/* about.c - what model a weights file holds, in words and in numbers. */
#include <stdio.h>
#include <string.h>

#include "cli/model/model.h"
#include "retrieval/retrieval.h"

/* "CLIP ViT-L/14@336" where the vision tower is one of those that have a name. */
static void name_clip(const ts_clip_config *c, char *out, size_t room)
{
    static const struct {
        int width, layers;
        const char *letter;
    } known[] = {{384, 12, "S"},  {512, 12, "M"},  {768, 12, "B"},     {1024, 24, "L"},
                 {1280, 32, "H"}, {1408, 40, "g"}, {1664, 48, "bigG"}, {1792, 56, "e"}};
    snprintf(out, room, "CLIP ViT");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].width != c->width || known[i].layers != c->layers) continue;
        const int used = snprintf(out, room, "CLIP ViT-%s/%d", known[i].letter, c->patch);
        if (c->image != 224 && used > 0 && (size_t)used < room) snprintf(out + used, room - (size_t)used, "@%d", c->image);
    }
}

static const char *heads_text(int heads, char out[32])
{
    if (heads) snprintf(out, 32, "%d heads", heads);
    else snprintf(out, 32, "heads unknown");
    return out;
}

static const char *activation_of(const ts_clip_config *c)
{
    return !c->activation_by ? "unknown" : c->erf_gelu ? "gelu" : "quick_gelu";
}

static void read_dino(const ts_weights *w, ts_about *a)
{
    const ts_dino_config *c = &a->dino;
    char positions[48];
    a->has_dino = ts_dino_config_read(w, &a->dino, &a->problem);
    if (!a->has_dino) return;
    ts_dino_title(c, a->model.title, sizeof a->model.title);
    if (c->side) snprintf(positions, sizeof positions, "learned for %d x %d places", c->side, c->side);
    else snprintf(positions, sizeof positions, "rotary");
    snprintf(a->model.architecture, sizeof a->model.architecture, "%d wide, %d blocks, %d heads, MLP %d%s\npositions: %s",
             c->width, c->depth, c->heads, c->mlp, c->gated ? " (SwiGLU)" : "", positions);
}

static void read_painter(const ts_weights *w, ts_about *a)
{
    ts_model_info *m = &a->model;
    a->has_painter = ts_painter_config_read(w, &a->painter, &a->problem);
    if (a->has_painter) ts_painter_words(&a->painter, m->title, sizeof m->title, m->architecture, sizeof m->architecture);
}

static void read_retriever(const ts_weights *w, ts_about *a)
{
    const char *of = ts_weights_meta(w, TS_RETRIEVER_BACKBONE);
    ts_retriever_config c;
    if (!ts_retriever_read(w, &c, &a->problem)) return;
    snprintf(a->model.architecture, sizeof a->model.architecture, "head: %d to %d to %d numbers, over the features of %s",
             c.width, c.hidden, c.out,
             of && strcmp(of, "mae") == 0    ? "an MAE-VQGAN"
             : of && strcmp(of, "clip") == 0 ? "a CLIP"
                                             : "a DINO");
}

static void read_sam(const ts_weights *w, ts_about *a)
{
    ts_model_info *m = &a->model;
    a->has_sam = ts_sam_config_read(w, &a->sam, &a->problem);
    if (!a->has_sam) return;
    ts_sam_title(&a->sam, m->title, sizeof m->title);
    ts_sam_words(&a->sam, m->architecture, sizeof m->architecture);
}

static void read_strokes(const ts_weights *w, ts_about *a)
{
    a->has_strokes = ts_strokes_about(w, &a->strokes, &a->problem);
    if (a->has_strokes) ts_strokes_words(&a->strokes, a->model.architecture, sizeof a->model.architecture);
}

bool ts_about_read(const ts_weights *w, ts_about *a, ts_error *err)
{
    char heads[32], text_heads[32];
    *a = (ts_about){0};
    if (!ts_model_about(w, &a->model, err)) return false;
    if (a->model.kind == TS_KIND_DINOV2) read_dino(w, a);
    if (a->model.kind == TS_KIND_PAINTER || a->model.kind == TS_KIND_SEGGPT) read_painter(w, a);
    if (a->model.kind == TS_KIND_SAM || a->model.kind == TS_KIND_MOBILE_SAM) read_sam(w, a);
    if (a->model.kind == TS_KIND_RETRIEVER) read_retriever(w, a);
    if (a->model.kind == TS_KIND_STROKES) read_strokes(w, a);
    if (a->model.kind != TS_KIND_CLIP) return true;
    const ts_clip_config *c = &a->clip;
    a->has_clip = ts_clip_config_read(w, &(ts_clip_told){.any = true}, &a->clip, &a->problem);
    if (!a->has_clip) return true;
    name_clip(c, a->model.title, sizeof a->model.title);
    snprintf(a->model.architecture, sizeof a->model.architecture,
             "vision: %d wide, %d blocks, %s, patch %d, picture %d\n"
             "text: %d wide, %d blocks, %s, context %d, %d symbols\n"
             "features: %d wide\n"
             "activation: %s%s%s%s%s",
             c->width, c->layers, heads_text(c->heads, heads), c->patch, c->image, c->text_width, c->text_layers,
             heads_text(c->text_heads, text_heads), c->context, c->vocabulary, c->embed, activation_of(c),
             c->activation_by ? " (" : "", c->activation_by ? c->activation_by : "", c->activation_by ? ")" : "",
             c->deviation[0] > 0 ? "; pictures are normalised in a way of its own" : "");
    return true;
}

/* ---- sizes for machines ---------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int value; /* 0: heads that nothing tells, which are no number */
} size;

/* NULL: no memory. */
static cJSON *add_sizes(cJSON *to, const char *name, const size *sizes, size_t count)
{
    cJSON *o = cJSON_AddObjectToObject(to, name);
    for (size_t i = 0; o && i < count; i++)
        if (!(sizes[i].value ? cJSON_AddNumberToObject(o, sizes[i].name, sizes[i].value)
                             : cJSON_AddNullToObject(o, sizes[i].name)))
            return NULL;
    return o;
}

#define SIZES(...) (const size[]){__VA_ARGS__}, sizeof((const size[]){__VA_ARGS__}) / sizeof(size)

static bool add_mae(cJSON *to, const ts_mae_config *c)
{
    return add_sizes(to, "mae",
                     SIZES({"canvas", c->side * c->patch}, {"patch", c->patch}, {"dim", c->dim}, {"depth", c->depth},
                           {"decoder_dim", c->decoder_dim}, {"decoder_depth", c->decoder_depth}, {"codes", c->codes},
                           {"heads", c->heads}, {"decoder_heads", c->decoder_heads}));
}

static bool add_vqgan(cJSON *to, const ts_vqgan_config *c)
{
    cJSON *o =
        add_sizes(to, "vqgan", SIZES({"blocks", c->blocks}, {"embed", c->embed}, {"codes", c->codes}, {"factor", c->factor}));
    cJSON *widths = o ? cJSON_CreateIntArray(c->width, c->levels) : NULL;
    if (widths && cJSON_AddItemToObject(o, "width", widths)) return true;
    cJSON_Delete(widths);
    return false;
}

static bool add_clip(cJSON *to, const ts_clip_config *c)
{
    cJSON *o =
        add_sizes(to, "clip",
                  SIZES({"image", c->image}, {"patch", c->patch}, {"width", c->width}, {"layers", c->layers}, {"heads", c->heads},
                        {"text_width", c->text_width}, {"text_layers", c->text_layers}, {"text_heads", c->text_heads},
                        {"context", c->context}, {"vocabulary", c->vocabulary}, {"embed", c->embed}));
    return o && cJSON_AddStringToObject(o, "activation", activation_of(c));
}

static bool add_dino(cJSON *to, const ts_dino_config *c)
{
    cJSON *o = cJSON_AddObjectToObject(to, "dino");
    const size sizes[] = {{"version", c->version}, {"width", c->width}, {"depth", c->depth},         {"heads", c->heads},
                          {"mlp", c->mlp},         {"patch", c->patch}, {"registers", c->registers}, {"side", c->side}};
    bool ok = o != NULL;
    /* None of these is unknown: no registers are 0 of them. */
    for (size_t i = 0; ok && i < sizeof sizes / sizeof *sizes; i++)
        ok = cJSON_AddNumberToObject(o, sizes[i].name, sizes[i].value) != NULL;
    return ok && cJSON_AddBoolToObject(o, "gated", c->gated);
}

static bool add_painter(cJSON *to, const ts_painter_config *c)
{
    cJSON *o = add_sizes(to, "painter",
                         SIZES({"side", c->side}, {"patch", c->patch}, {"dim", c->dim}, {"depth", c->depth}, {"heads", c->heads},
                               {"decoder_dim", c->decoder_dim}));
    return o && cJSON_AddBoolToObject(o, "segments", c->segments);
}

/* The stages of a MobileSAM's encoder. */
static bool add_stages(cJSON *to, const ts_sam_config *c)
{
    cJSON *stages = cJSON_AddArrayToObject(to, "stages");
    bool ok = stages != NULL;
    for (int i = 0; ok && i < TS_SAM_STAGES; i++) {
        const ts_sam_stage *s = &c->stage[i];
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddNumberToObject(one, "width", s->width) && cJSON_AddNumberToObject(one, "blocks", s->blocks) &&
             cJSON_AddNumberToObject(one, "heads", s->heads) && cJSON_AddNumberToObject(one, "window", s->window) &&
             cJSON_AddItemToArray(stages, one);
        if (!ok) cJSON_Delete(one);
    }
    return ok;
}

static bool add_sam(cJSON *to, const ts_sam_config *c)
{
    cJSON *o =
        add_sizes(to, "sam",
                  SIZES({"picture", c->picture}, {"patch", c->patch}, {"width", c->width}, {"depth", c->depth},
                        {"heads", c->heads}, {"window", c->window}, {"embed", c->embed}, {"masks", c->masks}, {"low", c->low}));
    return o && (!c->tiny || add_stages(o, c));
}

static bool add_strokes(cJSON *to, const ts_strokes_info *s)
{
    const ts_strokes_colours *colours = &s->colours;
    cJSON *o = cJSON_AddObjectToObject(to, "strokes"), *list = cJSON_AddArrayToObject(o, "colours");
    bool ok = list != NULL;
    for (int i = 0; ok && i < colours->classes; i++) {
        const uint8_t *c = colours->colour[i];
        char text[8];
        snprintf(text, sizeof text, "#%02x%02x%02x", c[0], c[1], c[2]);
        cJSON *item = cJSON_CreateString(text);
        ok = item && cJSON_AddItemToArray(list, item);
    }
    return ok && cJSON_AddNumberToObject(o, "ground", colours->ground) &&
           cJSON_AddNumberToObject(o, "features", TS_STROKES_BANK + s->tokens) &&
           cJSON_AddNumberToObject(o, "hidden", s->hidden) &&
           (!s->tokens || cJSON_AddStringToObject(o, "transformer", s->features));
}

bool ts_about_add_sizes(cJSON *to, const ts_about *a)
{
    const ts_model_info *m = &a->model;
    return (!m->has_mae || add_mae(to, &m->mae)) && (!m->has_vqgan || add_vqgan(to, &m->vqgan)) &&
           (!a->has_clip || add_clip(to, &a->clip)) && (!a->has_dino || add_dino(to, &a->dino)) &&
           (!a->has_painter || add_painter(to, &a->painter)) && (!a->has_sam || add_sam(to, &a->sam)) &&
           (!a->has_strokes || add_strokes(to, &a->strokes));
}
