/* told.c - what of a CLIP stands in no tensor's shape: attention heads, the activation, and what its pictures are normalised
 * with. The first that tells it counts: the user, the file's metadata, the file itself where only OpenAI writes such ones, the
 * configuration published beside it, and for heads the widths that are known. Where nothing does it is asked for: a wrong
 * activation gives features that look right and are not.
 *
 * OpenAI's models have QuickGELU; of those in open_clip's layout some have it (LAION's first B/32, DFN, MetaCLIP) and most have
 * not (LAION's others, DataComp), with the same shapes and names. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/internal.h"
#include "engine/file.h"
#include "engine/number.h"

enum { HEAD_WIDTH = 64, PUBLISHED_WIDTH = 1024, PUBLISHED_TEXT_WIDTH = 1280, PUBLISHED_VOCABULARY = 49408 };

/* The configuration beside a file: open_clip's, or Hugging Face's. NULLs where there is none. */
typedef struct {
    const char *name;
    cJSON *json, *pictures; /* the latter owned by `json` but for Hugging Face's preprocessor_config.json */
    const cJSON *vision, *text;
    bool open_clip;
} beside;

typedef struct {
    const ts_weights *w;
    const ts_clip_told *told;
    const beside *beside;
    ts_clip_config *config;
    ts_error *err;
} reader;

/* ---- the configuration beside a file ---- */

static cJSON *load_json(const ts_weights *w, const char *name)
{
    enum { MOST = 1 << 18 };
    char path[4096];
    const char *model = ts_weights_path(w), *slash = strrchr(model, '/');
    const int folder = slash ? (int)(slash - model + 1) : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, model, name) >= (int)sizeof path) return NULL;
    FILE *f = ts_file_open(path, "configuration", NULL);
    if (!f) return NULL;
    char *text = malloc(MOST);
    const size_t size = text ? fread(text, 1, MOST, f) : 0;
    fclose(f);
    cJSON *json = size > 0 && size < MOST ? cJSON_ParseWithLength(text, size) : NULL;
    free(text);
    return json;
}

static const cJSON *item(const cJSON *of, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(of, key);
}

/* Not said counts as the same. */
static bool says(const cJSON *of, const char *key, int value)
{
    const cJSON *n = item(of, key);
    return !cJSON_IsNumber(n) || n->valuedouble == value;
}

/* Whether it is this model's: a folder may hold several. */
static bool is_of(const beside *b, const ts_clip_config *c)
{
    const char *width = b->open_clip ? "width" : "hidden_size", *layers = b->open_clip ? "layers" : "num_hidden_layers";
    return cJSON_IsObject(b->vision) && cJSON_IsObject(b->text) && says(b->vision, width, c->width) &&
           says(b->vision, layers, c->layers) && says(b->text, width, c->text_width) && says(b->text, layers, c->text_layers);
}

static bool find_open_clip(const ts_weights *w, const ts_clip_config *c, beside *b)
{
    *b = (beside){.name = "open_clip_config.json", .json = load_json(w, "open_clip_config.json"), .open_clip = true};
    const cJSON *model = item(b->json, "model_cfg");
    if (!model) model = b->json;
    b->vision = item(model, "vision_cfg");
    b->text = item(model, "text_cfg");
    b->pictures = cJSON_GetObjectItemCaseSensitive(b->json, "preprocess_cfg");
    if (is_of(b, c)) return true;
    cJSON_Delete(b->json);
    return false;
}

static bool find_hugging_face(const ts_weights *w, const ts_clip_config *c, beside *b)
{
    *b = (beside){.name = "config.json", .json = load_json(w, "config.json")};
    b->vision = item(b->json, "vision_config");
    b->text = item(b->json, "text_config");
    if (is_of(b, c)) {
        b->pictures = load_json(w, "preprocessor_config.json");
        return true;
    }
    cJSON_Delete(b->json);
    return false;
}

/* That of the file's own layout first: LAION's folders hold both. */
static beside find_beside(const ts_weights *w, const ts_clip_config *c)
{
    beside b;
    if (ts_clip_layout_of(w) == CLIP_HUGGING_FACE) {
        if (find_hugging_face(w, c, &b) || find_open_clip(w, c, &b)) return b;
    } else if (find_open_clip(w, c, &b) || find_hugging_face(w, c, &b)) {
        return b;
    }
    return (beside){0};
}

static void beside_clear(beside *b)
{
    if (b->json && !b->open_clip) cJSON_Delete(b->pictures);
    cJSON_Delete(b->json);
}

/* What open_clip's configurations may say that makes another model of the same tensors. */
static bool check_open_clip(const reader *r)
{
    static const struct {
        bool text;
        const char *key, *usual; /* NULL: that it is not said, or said not to be */
    } known[] = {{false, "pool_type", "tok"},   {false, "attentional_pool", NULL}, {false, "final_ln_after_pool", NULL},
                 {false, "no_ln_pre", NULL},    {false, "input_patchnorm", NULL},  {false, "timm_model_name", NULL},
                 {true, "pool_type", "argmax"}, {true, "no_causal_mask", NULL},    {true, "embed_cls", NULL},
                 {true, "hf_model_name", NULL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const cJSON *value = item(known[i].text ? r->beside->text : r->beside->vision, known[i].key);
        const char *words = cJSON_GetStringValue(value);
        const bool usual = known[i].usual ? !words || strcmp(words, known[i].usual) == 0 : !words && !cJSON_IsTrue(value);
        if (!usual)
            return ts_fail(r->err, TS_ERR_UNSUPPORTED, "%s: %s says %s.%s%s%.20s, which is another model than is known here",
                           ts_weights_path(r->w), r->beside->name, known[i].text ? "text_cfg" : "vision_cfg", known[i].key,
                           words ? " = " : "", words ? words : "");
    }
    return true;
}

/* ---- heads ---- */

/* As both open_clip's and transformers' code have it where the key is absent. */
static int heads_beside(const reader *r, bool text, int width)
{
    int heads = 0, each = 0;
    const cJSON *of = text ? r->beside->text : r->beside->vision;
    if (!of) return 0;
    if (!r->beside->open_clip) {
        const cJSON *n = item(of, "num_attention_heads");
        const int usual = text ? 8 : 12;
        if (cJSON_IsNumber(n)) return ts_int_of(n->valuedouble, 1, width, &heads) && width % heads == 0 ? heads : -1;
        return width % usual == 0 ? usual : 0;
    }
    const cJSON *n = item(of, text ? "heads" : "head_width");
    if (!cJSON_IsNumber(n)) return 0;
    if (text) return ts_int_of(n->valuedouble, 1, width, &heads) && width % heads == 0 ? heads : -1;
    return ts_int_of(n->valuedouble, 1, width, &each) && width % each == 0 ? width / each : -1;
}

/* A 64th of the width up to ViT-L, and 16 in every image tower that is wider; text towers keep to the 64th. 0: nobody published
 * such a one. */
static int known_heads(bool text, int width)
{
    if (!text && (width == 1280 || width == 1408 || width == 1664 || width == 1792)) return 16;
    return width % HEAD_WIDTH == 0 && width <= (text ? PUBLISHED_TEXT_WIDTH : PUBLISHED_WIDTH) ? width / HEAD_WIDTH : 0;
}

static bool read_heads(const reader *r, bool text, int width, int *out)
{
    const char *path = ts_weights_path(r->w), *key = text ? "text_heads" : "vision_heads", *meta = ts_weights_meta(r->w, key);
    const char *option = text ? "--text-heads" : "--heads", *tower = text ? "text" : "image";
    const int told = text ? r->told->text_heads : r->told->heads;
    *out = told;
    if (told && (told < 1 || told > width || width % told != 0))
        return ts_fail(r->err, TS_ERR_ARGUMENT, "%s: %d heads do not divide the %s tower's width of %d (%s)", path, told, tower,
                       width, option);
    if (told) return true;
    if (meta) {
        if (ts_int_read(meta, 1, width, out) && width % *out == 0) return true;
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the metadata says %s = '%.40s', wanted a number that divides the width of %d",
                       path, key, meta, width);
    }
    *out = heads_beside(r, text, width);
    if (*out < 0)
        return ts_fail(r->err, TS_ERR_FORMAT,
                       "%s: %s gives the %s tower heads that do not divide its width of %d: give the right number with %s N",
                       path, r->beside->name, tower, width, option);
    if (*out == 0) *out = known_heads(text, width);
    if (*out > 0 || r->told->any) return true;
    return ts_fail(r->err, TS_ERR_FORMAT,
                   "%s: nothing tells how many attention heads the %s tower has (it is %d wide, and no published one is): give "
                   "%s N",
                   path, tower, width, option);
}

/* ---- the activation ---- */

static bool set_activation(const reader *r, const char *name, const char *by)
{
    r->config->erf_gelu = strcmp(name, "gelu") == 0;
    r->config->activation_by = by;
    if (r->config->erf_gelu || strcmp(name, "quick_gelu") == 0) return true;
    return ts_fail(r->err, TS_ERR_UNSUPPORTED, "%s: the model's activation is '%.40s', CLIP's are quick_gelu and gelu",
                   ts_weights_path(r->w), name);
}

/* Both towers have the same one. transformers takes QuickGELU where a configuration does not say. */
static bool activation_beside(const reader *r)
{
    const beside *b = r->beside;
    if (b->open_clip) {
        const cJSON *model = item(b->json, "model_cfg");
        return set_activation(r, cJSON_IsTrue(item(model ? model : b->json, "quick_gelu")) ? "quick_gelu" : "gelu", b->name);
    }
    const char *vision = cJSON_GetStringValue(item(b->vision, "hidden_act"));
    const char *text = cJSON_GetStringValue(item(b->text, "hidden_act"));
    if (vision && text && strcmp(vision, text) != 0)
        return ts_fail(r->err, TS_ERR_UNSUPPORTED, "%s: %s gives its towers different activations, '%.40s' and '%.40s'",
                       ts_weights_path(r->w), b->name, vision, text);
    return set_activation(r, vision ? vision : text ? text : "quick_gelu", b->name);
}

static bool is_openai(const ts_weights *w)
{
    return ts_weights_kind(w) == TS_FILE_TORCHSCRIPT ||
           (ts_weights_find(w, "input_resolution") && ts_weights_find(w, "context_length") && ts_weights_find(w, "vocab_size"));
}

static bool is_half(const ts_weights *w)
{
    clip_source source;
    ts_clip_source(ts_clip_layout_of(w), "visual.conv1.weight", &source);
    const ts_weight *t = ts_weights_find(w, source.name[0]);
    return t && t->dtype == TS_DT_F16;
}

static bool read_activation(const reader *r)
{
    ts_clip_config *c = r->config;
    const char *meta = ts_weights_meta(r->w, "hidden_act");
    if (r->told->activation) return set_activation(r, r->told->activation == TS_CLIP_GELU ? "gelu" : "quick_gelu", "as you say");
    if (meta) return set_activation(r, meta, "its metadata");
    if (is_openai(r->w)) return set_activation(r, "quick_gelu", "one of OpenAI's files");
    if (r->beside->json) return activation_beside(r);
    c->guessed = true;
    if (is_half(r->w) && c->width <= PUBLISHED_WIDTH) return set_activation(r, "quick_gelu", "in fp16, as OpenAI's files are");
    if (c->vocabulary != PUBLISHED_VOCABULARY)
        return set_activation(r, "quick_gelu", "with a vocabulary of its own, as tessera clip train makes them");
    c->guessed = false;
    return r->told->any ||
           ts_fail(
               r->err, TS_ERR_FORMAT,
               "%s: nothing tells the model's activation: give --activation quick_gelu for one of OpenAI's (DFN's, MetaCLIP's), "
               "--activation gelu for most others of open_clip's (LAION's, DataComp's), or put the open_clip_config.json or "
               "config.json that was published with it beside it",
               ts_weights_path(r->w));
}

/* ---- pictures ---- */

static bool read_three(const cJSON *list, float out[3])
{
    int count = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        if (count == 3 || !cJSON_IsNumber(one) || !(one->valuedouble > -1e3 && one->valuedouble < 1e3)) return false;
        out[count++] = (float)one->valuedouble;
    }
    return count == 3;
}

static bool set_pixels(const reader *r, const cJSON *mean, const cJSON *deviation, const char *by)
{
    ts_clip_config *c = r->config;
    if (!mean && !deviation) return true;
    bool ok = read_three(mean, c->mean) && read_three(deviation, c->deviation);
    bool usual = ok;
    for (int i = 0; ok && i < 3; i++) {
        ok = c->deviation[i] > 1e-3f;
        usual = usual && fabsf(c->mean[i] - ts_clip_mean[i]) < 1e-3f && fabsf(c->deviation[i] - ts_clip_deviation[i]) < 1e-3f;
    }
    if (usual) memset(c->deviation, 0, sizeof c->deviation);
    return ok || ts_fail(r->err, TS_ERR_FORMAT, "%s: %s has no mean and deviation of three numbers for pictures",
                         ts_weights_path(r->w), by);
}

static bool pixels_of_metadata(const reader *r, const char *mean, const char *deviation)
{
    cJSON *a = cJSON_Parse(mean), *b = cJSON_Parse(deviation);
    const bool ok =
        a && b ? set_pixels(r, a, b, "the metadata")
               : ts_fail(r->err, TS_ERR_FORMAT, "%s: image_mean or image_std of the metadata is no list", ts_weights_path(r->w));
    cJSON_Delete(a);
    cJSON_Delete(b);
    return ok;
}

static bool read_pixels(const reader *r)
{
    const beside *b = r->beside;
    const char *mean = ts_weights_meta(r->w, "image_mean"), *deviation = ts_weights_meta(r->w, "image_std");
    if (mean && deviation) return pixels_of_metadata(r, mean, deviation);
    if (!b->pictures || ts_weights_meta(r->w, "hidden_act") || is_openai(r->w)) return true;
    const char *mode = cJSON_GetStringValue(item(b->pictures, "resize_mode"));
    const char *filter = cJSON_GetStringValue(item(b->pictures, "interpolation"));
    const bool squashed = (mode && strcmp(mode, "shortest") != 0) || cJSON_IsFalse(item(b->pictures, "do_center_crop"));
    if (squashed || (filter && strcmp(filter, "bicubic") != 0) || !says(b->pictures, "resample", 3))
        return ts_fail(r->err, TS_ERR_UNSUPPORTED,
                       "%s: its configuration wants pictures %s; only those are made whose shorter side is brought to size, "
                       "bicubic, and whose middle is cut out",
                       ts_weights_path(r->w), squashed ? "squashed, or not cut to a square" : "resized by another filter");
    if (b->open_clip) return set_pixels(r, item(b->pictures, "mean"), item(b->pictures, "std"), b->name);
    return set_pixels(r, item(b->pictures, "image_mean"), item(b->pictures, "image_std"), "preprocessor_config.json");
}

/* ---- the whole ---- */

bool ts_clip_read_told(const ts_weights *w, const ts_clip_told *told, ts_clip_config *c, ts_error *err)
{
    static const ts_clip_told nothing = {0};
    beside b = find_beside(w, c);
    const reader r = {w, told ? told : &nothing, &b, c, err};
    const bool ok = (!b.open_clip || check_open_clip(&r)) && read_heads(&r, false, c->width, &c->heads) &&
                    read_heads(&r, true, c->text_width, &c->text_heads) && read_activation(&r) && read_pixels(&r);
    beside_clear(&b);
    return ok;
}

static bool add_list(ts_weights_writer *w, const char *key, const float values[3], ts_error *err)
{
    char text[96];
    snprintf(text, sizeof text, "[%.9g, %.9g, %.9g]", (double)values[0], (double)values[1], (double)values[2]);
    return ts_weights_writer_meta(w, key, text, err);
}

bool ts_clip_config_meta(const ts_clip_config *c, ts_weights_writer *w, ts_error *err)
{
    char heads[16], text_heads[16];
    snprintf(heads, sizeof heads, "%d", c->heads);
    snprintf(text_heads, sizeof text_heads, "%d", c->text_heads);
    return ts_weights_writer_meta(w, "vision_heads", heads, err) && ts_weights_writer_meta(w, "text_heads", text_heads, err) &&
           ts_weights_writer_meta(w, "hidden_act", c->erf_gelu ? "gelu" : "quick_gelu", err) &&
           (c->deviation[0] == 0 || (add_list(w, "image_mean", c->mean, err) && add_list(w, "image_std", c->deviation, err)));
}
