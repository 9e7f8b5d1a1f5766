/* file.c - prompts as files. Ours is a small safetensors: the tensors under the names of the published code, and metadata
 * that says all that is needed to use it again,
 *
 *   tessera.prompt "1"   method, setting.KEY   model (identity), model_sizes   classes (a JSON list)   seed, shots and the recipe
 *
 * so that a prompt cannot be used by mistake with another model or other classes. What the published code writes says none of
 * that: of it the method and its settings are told by names and shapes (ts_method_of_weights). */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/internal.h"
#include "clip/prompt/tune.h"
#include "engine/number.h"

static const char VERSION[] = "1";

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* FNV-1a over the values as half precision has them: a file in fp32 and one in fp16 hold the same model. */
static uint64_t hash_values(uint64_t hash, const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const uint16_t half = ts_f32_to_f16(values[i]);
        hash = (hash ^ (half & 0xff)) * UINT64_C(0x100000001b3);
        hash = (hash ^ (half >> 8)) * UINT64_C(0x100000001b3);
    }
    return hash;
}

bool ts_clip_identity(const ts_clip *c, char out[17], ts_error *err)
{
    const ts_clip_config *m = &c->config;
    const struct {
        const char *name;
        int ndim;
        int64_t shape[2];
    } parts[] = {{"visual.class_embedding", 1, {m->width, 1}},
                 {"visual.proj.weight", 2, {m->embed, m->width}},
                 {"ln_final.weight", 1, {m->text_width, 1}},
                 {"text_projection.weight", 2, {m->embed, m->text_width}}}; /* the ends of both towers: any training moves them */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const int64_t count = parts[i].shape[0] * parts[i].shape[1];
        float *values = malloc((size_t)count * sizeof *values);
        if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const bool ok =
            ts_clip_convert(&(clip_file){c->weights, NULL}, parts[i].name, parts[i].ndim, parts[i].shape, values, err);
        if (ok) hash = hash_values(hash, values, count);
        free(values);
        if (!ok) return false;
    }
    snprintf(out, 17, "%016" PRIx64, hash);
    return true;
}

static void sizes_text(const ts_clip *c, char out[96])
{
    const ts_clip_config *m = ts_clip_about(c);
    snprintf(out, 96, "ViT %d wide, %d blocks, patch %d of %d, text %d wide, embed %d", m->width, m->layers, m->patch, m->image,
             m->text_width, m->embed);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool add_text(ts_weights_writer *w, const char *key, ts_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static bool add_text(ts_weights_writer *w, const char *key, ts_error *err, const char *format, ...)
{
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ts_weights_writer_meta(w, key, text, err);
}

/* Whether the key is one of the words. */
static bool is_among(const char *key, const char *words)
{
    const size_t length = strlen(key);
    for (const char *at = words; *at; at += strspn(at, " ")) {
        const size_t word = strcspn(at, " ");
        if (word == length && strncmp(at, key, length) == 0) return true;
        at += word;
    }
    return false;
}

static bool add_settings(ts_weights_writer *w, const ts_prompt *p, ts_error *err)
{
    int count;
    const ts_method_setting *list = ts_method_setting_list(&count);
    for (int i = 0; i < count; i++) {
        char key[48], value[320];
        if (!is_among(list[i].key, p->method->settings) ||
            !ts_method_setting_text(&p->settings, list[i].key, value, sizeof value))
            continue;
        snprintf(key, sizeof key, "setting.%s", list[i].key);
        if (!ts_weights_writer_meta(w, key, value, err)) return false;
    }
    return true;
}

static bool add_classes(ts_weights_writer *w, const ts_prompt *p, ts_error *err)
{
    cJSON *list = cJSON_CreateStringArray((const char *const *)p->names, p->classes);
    char *text = list ? cJSON_PrintUnformatted(list) : NULL;
    const bool ok =
        text ? ts_weights_writer_meta(w, "classes", text, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for class names");
    cJSON_free(text);
    cJSON_Delete(list);
    return ok;
}

bool ts_prompt_file_describe(ts_weights_writer *w, const ts_prompt *p, const ts_clip_recipe *recipe, int shots, uint64_t seed,
                             ts_error *err)
{
    char model[17], sizes[96];
    sizes_text(p->clip, sizes);
    return ts_clip_identity(p->clip, model, err) && add_text(w, "tessera.prompt", err, "%s", VERSION) &&
           add_text(w, "method", err, "%s", p->method->name) && add_text(w, "model", err, "%s", model) &&
           add_text(w, "model_sizes", err, "%s", sizes) && add_classes(w, p, err) && add_settings(w, p, err) &&
           add_text(w, "seed", err, "%" PRIu64, seed) && add_text(w, "shots", err, "%d", shots) &&
           add_text(w, "recipe", err, "lr %g, momentum %g, weight decay %g, batch %d, epochs %d, warm-up %d, %s", recipe->lr,
                    recipe->momentum, recipe->weight_decay, recipe->batch, recipe->epochs, recipe->warmup,
                    recipe->crop == 1 ? "random crops" : "no crops");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

void ts_prompt_file_clear(ts_prompt_file *f)
{
    for (int i = 0; f->name && i < f->classes; i++) free(f->name[i]);
    free(f->name);
    *f = (ts_prompt_file){0};
}

/* Takes over what it can of the list. */
static bool take_names(const ts_weights *w, const cJSON *list, char **names, int *count, ts_error *err)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        if (!cJSON_IsString(one)) return ts_fail(err, TS_ERR_FORMAT, "%s: class %d has no name", ts_weights_path(w), *count);
        names[*count] = strdup(one->valuestring);
        if (!names[*count]) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        ++*count;
    }
    return true;
}

static bool read_classes(const ts_weights *w, ts_prompt_file *out, ts_error *err)
{
    const char *text = ts_weights_meta(w, "classes");
    cJSON *list = text ? cJSON_Parse(text) : NULL;
    const int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    bool ok = count > 0 || ts_fail(err, TS_ERR_FORMAT, "%s: its list of classes is missing or broken", ts_weights_path(w));
    char **names = ok ? calloc((size_t)count, sizeof *names) : NULL;
    if (ok && !names) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    out->name = names;
    if (names) ok = take_names(w, list, names, &out->classes, err);
    cJSON_Delete(list);
    return ok && ts_clip_check_names((const char *const *)names, out->classes, err);
}

static bool read_settings(const ts_weights *w, ts_prompt_file *out, ts_error *err)
{
    static const char prefix[] = "setting.";
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_error why = {0};
        ts_weights_meta_at(w, i, &key, &value);
        if (strncmp(key, prefix, sizeof prefix - 1) != 0) continue;
        if (!ts_method_setting_set(out->method, &out->settings, key + sizeof prefix - 1, value, &why))
            return ts_fail(err, why.code, "%s: %s", ts_weights_path(w), why.text);
    }
    return true;
}

static bool check_model(const ts_weights *w, const ts_clip *c, ts_error *err)
{
    const char *model = ts_weights_meta(w, "model"), *sizes = ts_weights_meta(w, "model_sizes");
    char have[17], have_sizes[96];
    if (!model) return ts_fail(err, TS_ERR_FORMAT, "%s does not say which model it was tuned on", ts_weights_path(w));
    if (!ts_clip_identity(c, have, err)) return false;
    if (strcmp(model, have) == 0) return true;
    sizes_text(c, have_sizes);
    return ts_fail(err, TS_ERR_ARGUMENT, "prompt %s was tuned on another model (%.16s: %.120s) than %s (%s: %s)",
                   ts_weights_path(w), model, sizes ? sizes : "of unknown sizes", ts_weights_path(c->weights), have, have_sizes);
}

bool ts_prompt_file_read(const ts_weights *w, const ts_clip *clip, ts_prompt_file *out, ts_error *err)
{
    const char *version = ts_weights_meta(w, "tessera.prompt"), *method = ts_weights_meta(w, "method");
    const char *seed = ts_weights_meta(w, "seed"), *shots = ts_weights_meta(w, "shots");
    *out = (ts_prompt_file){.ours = version != NULL};
    if (!version) {
        out->method = ts_method_of_weights(w, &out->settings, err);
        return out->method != NULL;
    }
    if (strcmp(version, VERSION) != 0)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s is a prompt file of version %.20s, wanted %s", ts_weights_path(w), version,
                       VERSION);
    if (!method) return ts_fail(err, TS_ERR_FORMAT, "%s names no method", ts_weights_path(w));
    if ((seed && !ts_seed_read(seed, &out->seed)) || (shots && !ts_int_read(shots, 0, INT_MAX, &out->shots)))
        return ts_fail(err, TS_ERR_FORMAT, "%s: seed '%.40s' and shots '%.40s' are no numbers", ts_weights_path(w),
                       seed ? seed : "", shots ? shots : "");
    out->method = ts_method_find(method, err);
    if (out->method && (!clip || check_model(w, clip, err)) && read_settings(w, out, err) && read_classes(w, out, err))
        return true;
    ts_prompt_file_clear(out);
    return false;
}
