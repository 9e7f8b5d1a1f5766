/* train_config.c - config.json, what decides a run. One table names the fields, for writing and for reading. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/training.h"

typedef enum { INT, NEW_INT, REAL, TEXT, FLAG } field_type; /* NEW_INT: earlier versions wrote none, it keeps its default */
typedef enum { BOTH, MAE, VQGAN } field_of;

typedef struct {
    const char *key;
    field_type type;
    field_of of;
    size_t offset;
} field;

#define AT(member) offsetof(ts_train_config, member)
static const field fields[] = {
    {"batch", INT, BOTH, AT(batch)},
    {"accumulate", NEW_INT, BOTH, AT(accumulate)},
    {"steps", INT, BOTH, AT(steps)},
    {"lr", REAL, BOTH, AT(lr)},
    {"warmup", INT, BOTH, AT(warmup)},
    {"weight_decay", REAL, MAE, AT(weight_decay)},
    {"clip", REAL, MAE, AT(clip)},
    {"mask", REAL, MAE, AT(mask)},
    {"cell_share", REAL, MAE, AT(cell_share)},
    {"revive", INT, VQGAN, AT(revive)},
    {"recolour", REAL, VQGAN, AT(recolour)},
    {"continuous", INT, VQGAN, AT(continuous)},
    {"scale", REAL, BOTH, AT(scale)},
    {"save_every", INT, BOTH, AT(save_every)},
    {"eval_every", INT, BOTH, AT(eval_every)},
    {"eval_batches", INT, BOTH, AT(eval_batches)},
    {"keep", INT, BOTH, AT(keep)},
    {"workers", INT, BOTH, AT(workers)},
    {"threads", INT, BOTH, AT(threads)},
    {"device", TEXT, BOTH, AT(device)},
    {"recompute", FLAG, MAE, AT(recompute)},
    {"fp16", FLAG, BOTH, AT(half)},
    {"fp16_model", FLAG, BOTH, AT(fp16)},
    {"init", TEXT, BOTH, AT(init)},
    {"init_heads", INT, MAE, AT(heads)},
    {"init_decoder_heads", INT, MAE, AT(decoder_heads)},
    {"vqgan", TEXT, MAE, AT(vqgan)},
    {"canvas", INT, BOTH, AT(canvas)},
    {"patch", INT, MAE, AT(mae.patch)},
    {"side", INT, MAE, AT(mae.side)},
    {"dim", INT, MAE, AT(mae.dim)},
    {"depth", INT, MAE, AT(mae.depth)},
    {"heads", INT, MAE, AT(mae.heads)},
    {"mlp", INT, MAE, AT(mae.mlp)},
    {"decoder_dim", INT, MAE, AT(mae.decoder_dim)},
    {"decoder_depth", INT, MAE, AT(mae.decoder_depth)},
    {"decoder_heads", INT, MAE, AT(mae.decoder_heads)},
    {"decoder_mlp", INT, MAE, AT(mae.decoder_mlp)},
    {"codes", INT, MAE, AT(mae.codes)},
    {"base", INT, VQGAN, AT(vq.base)},
    {"levels", INT, VQGAN, AT(vq.levels)},
    {"blocks", INT, VQGAN, AT(vq.blocks)},
    {"latent", INT, VQGAN, AT(vq.latent)},
    {"embed", INT, VQGAN, AT(vq.embed)},
    {"codes", INT, VQGAN, AT(vq.codes)},
    {"factor", INT, VQGAN, AT(vq.factor)},
    {"groups", INT, VQGAN, AT(vq.groups)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static bool concerns(const field *f, ts_train_kind kind)
{
    return f->of == BOTH || (f->of == MAE) == (kind == TS_TRAIN_MAE);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static bool add_field(cJSON *o, const field *f, const ts_train_config *c)
{
    const void *at = (const char *)c + f->offset;
    switch (f->type) {
    case INT:
    case NEW_INT:
        return cJSON_AddNumberToObject(o, f->key, *(const int *)at);
    case REAL:
        return cJSON_AddNumberToObject(o, f->key, *(const double *)at);
    case TEXT:
        return !*(const char *const *)at || cJSON_AddStringToObject(o, f->key, *(const char *const *)at);
    case FLAG:
        return cJSON_AddBoolToObject(o, f->key, *(const bool *)at);
    }
    return false;
}

static bool add_sources(cJSON *o, const ts_train_config *c)
{
    cJSON *list = cJSON_AddArrayToObject(o, "data");
    for (int i = 0; list && i < c->source_count; i++) {
        cJSON *one = cJSON_CreateObject();
        if (!one || !cJSON_AddItemToArray(list, one) || !cJSON_AddStringToObject(one, "path", c->sources[i].path) ||
            !cJSON_AddNumberToObject(one, "share", c->sources[i].share))
            return false;
    }
    return list != NULL;
}

static bool add_levels(cJSON *o, const ts_vqgan_config *v)
{
    cJSON *width = cJSON_CreateIntArray(v->width, v->levels), *attention = cJSON_CreateArray();
    bool ok = cJSON_AddItemToObject(o, "width", width) && cJSON_AddItemToObject(o, "attention", attention);
    for (int i = 0; ok && i < v->levels; i++) ok = cJSON_AddItemToArray(attention, cJSON_CreateBool(v->attention[i]));
    return ok;
}

bool ts_train_config_write(const ts_train_config *c, const char *path, ts_error *err)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)c->seed); /* as text: a number of JSON's holds 53 bits */
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "kind", c->kind == TS_TRAIN_MAE ? "mae" : "vqgan") &&
              cJSON_AddStringToObject(o, "seed", seed) && add_sources(o, c) && (c->kind == TS_TRAIN_MAE || add_levels(o, &c->vq));
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = !concerns(&fields[i], c->kind) || add_field(o, &fields[i], c);
    char *text = ok ? cJSON_Print(o) : NULL;
    ok = text ? ts_file_write(path, text, strlen(text), err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    cJSON_free(text);
    cJSON_Delete(o);
    return ok;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static bool bad(const char *path, const char *key, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s: \"%s\" is missing or not what was written there", path, key);
}

static bool read_field(const cJSON *o, const field *f, ts_train_config *c, const char *path, ts_error *err)
{
    void *at = (char *)c + f->offset;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, f->key);
    switch (f->type) {
    case NEW_INT:
        if (!item) return true; /* fall through */
    case INT:
        if (!cJSON_IsNumber(item) || item->valuedouble != item->valueint || item->valueint < 0) return bad(path, f->key, err);
        *(int *)at = item->valueint;
        break;
    case REAL:
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0)) return bad(path, f->key, err);
        *(double *)at = item->valuedouble;
        break;
    case TEXT:
        *(const char **)at = cJSON_IsString(item) ? item->valuestring : NULL;
        break;
    case FLAG:
        *(bool *)at = cJSON_IsTrue(item);
        break;
    }
    return true;
}

static bool read_sources(const cJSON *o, ts_train_config *c, const char *path, ts_error *err)
{
    const cJSON *one, *list = cJSON_GetObjectItemCaseSensitive(o, "data");
    c->source_count = 0;
    cJSON_ArrayForEach(one, list)
    {
        const cJSON *from = cJSON_GetObjectItemCaseSensitive(one, "path");
        const cJSON *share = cJSON_GetObjectItemCaseSensitive(one, "share");
        if (!cJSON_IsString(from) || !cJSON_IsNumber(share) || c->source_count == TS_TRAIN_SOURCES) return bad(path, "data", err);
        c->sources[c->source_count++] = (ts_loader_source){from->valuestring, share->valuedouble};
    }
    return c->source_count > 0 || bad(path, "data", err);
}

static bool read_levels(const cJSON *o, ts_vqgan_config *v, const char *path, ts_error *err)
{
    const cJSON *width = cJSON_GetObjectItemCaseSensitive(o, "width"),
                *attention = cJSON_GetObjectItemCaseSensitive(o, "attention");
    if (v->levels < 1 || v->levels > TS_VQGAN_MAX_LEVELS || cJSON_GetArraySize(width) != v->levels ||
        cJSON_GetArraySize(attention) != v->levels)
        return bad(path, "width", err);
    for (int i = 0; i < v->levels; i++) {
        v->width[i] = cJSON_GetArrayItem(width, i)->valueint;
        v->attention[i] = cJSON_IsTrue(cJSON_GetArrayItem(attention, i));
    }
    return true;
}

bool ts_train_config_read(ts_train_config *c, const char *path, ts_error *err)
{
    char *text = ts_read_text(path, err);
    if (!text) return false;
    cJSON *o = cJSON_Parse(text);
    free(text);
    if (!o) return ts_fail(err, TS_ERR_FORMAT, "%s is not JSON", path);
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind"), *seed = cJSON_GetObjectItemCaseSensitive(o, "seed");
    const char *wanted = c->kind == TS_TRAIN_MAE ? "mae" : "vqgan";
    cJSON_Delete(c->file);
    c->file = o;
    if (!cJSON_IsString(kind) || !cJSON_IsString(seed)) return bad(path, "kind", err);
    if (strcmp(kind->valuestring, wanted) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is the configuration of a run of train %s, not of train %s", path,
                       kind->valuestring, wanted);
    c->seed = strtoull(seed->valuestring, NULL, 10);
    bool ok = read_sources(o, c, path, err);
    for (int i = 0; ok && i < FIELD_COUNT; i++)
        if (concerns(&fields[i], c->kind)) ok = read_field(o, &fields[i], c, path, err);
    return ok && (c->kind == TS_TRAIN_MAE || read_levels(o, &c->vq, path, err));
}

void ts_train_config_free(ts_train_config *c)
{
    cJSON_Delete(c->file);
    c->file = NULL;
}
