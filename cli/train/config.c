/* config.c - config.json, what decides a run. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"
#include "cli/train/train.h"
#include "engine/number.h"

typedef enum { BOTH, MAE, VQGAN } field_of;

typedef struct {
    field_of of;
    ts_field field;
} train_field;

#define AT(member) offsetof(ts_train_config, member)
static const train_field fields[] = {
    {BOTH, {"seed", TS_FIELD_SEED, AT(seed)}},
    {BOTH, {"batch", TS_FIELD_INT | TS_FIELD_SOME, AT(batch)}},
    {BOTH, {"accumulate", TS_FIELD_INT | TS_FIELD_SOME | TS_FIELD_NEW, AT(accumulate)}},
    {BOTH, {"steps", TS_FIELD_INT | TS_FIELD_SOME, AT(steps)}},
    {BOTH, {"lr", TS_FIELD_REAL, AT(lr)}},
    {BOTH, {"warmup", TS_FIELD_INT, AT(warmup)}},
    {MAE, {"weight_decay", TS_FIELD_REAL, AT(weight_decay)}},
    {MAE, {"clip", TS_FIELD_REAL, AT(clip)}},
    {MAE, {"mask", TS_FIELD_REAL, AT(mask)}},
    {MAE, {"visible_loss", TS_FIELD_REAL | TS_FIELD_NEW, AT(visible_loss)}},
    {MAE, {"cell_share", TS_FIELD_REAL, AT(cell_share)}},
    {VQGAN, {"revive", TS_FIELD_INT, AT(revive)}},
    {VQGAN, {"continuous", TS_FIELD_INT | TS_FIELD_NEW, AT(continuous)}},
    {VQGAN, {"decoder_only", TS_FIELD_FLAG | TS_FIELD_NEW, AT(decoder_only)}},
    {VQGAN, {"merge", TS_FIELD_REAL | TS_FIELD_NEW, AT(merge)}},
    {VQGAN, {"lpips", TS_FIELD_TEXT | TS_FIELD_NEW, AT(lpips)}},
    {VQGAN, {"vgg", TS_FIELD_TEXT | TS_FIELD_NEW, AT(vgg)}},
    {VQGAN, {"discriminator_start", TS_FIELD_INT | TS_FIELD_SIGNED | TS_FIELD_NEW, AT(discriminator_start)}},
    {VQGAN, {"discriminator_width", TS_FIELD_INT | TS_FIELD_SOME | TS_FIELD_NEW, AT(discriminator_width)}},
    {BOTH, {"scale", TS_FIELD_REAL, AT(scale)}},
    {BOTH, {"save_every", TS_FIELD_INT | TS_FIELD_SOME, AT(save_every)}},
    {BOTH, {"eval_every", TS_FIELD_INT | TS_FIELD_SOME, AT(eval_every)}},
    {BOTH, {"eval_batches", TS_FIELD_INT | TS_FIELD_SOME, AT(eval_batches)}},
    {BOTH, {"keep", TS_FIELD_INT | TS_FIELD_SOME, AT(keep)}},
    {BOTH, {"workers", TS_FIELD_INT | TS_FIELD_SOME, AT(workers)}},
    {BOTH, {"threads", TS_FIELD_INT, AT(threads)}},
    {BOTH, {"device", TS_FIELD_TEXT, AT(device)}},
    {MAE, {"recompute", TS_FIELD_FLAG, AT(recompute)}},
    {BOTH, {"fp16", TS_FIELD_FLAG, AT(half)}},
    {BOTH, {"fp16_model", TS_FIELD_FLAG, AT(fp16)}},
    {BOTH, {"init", TS_FIELD_TEXT, AT(init)}},
    {MAE, {"init_heads", TS_FIELD_INT, AT(heads)}},
    {MAE, {"init_decoder_heads", TS_FIELD_INT, AT(decoder_heads)}},
    {MAE, {"vqgan", TS_FIELD_TEXT, AT(vqgan)}},
    {BOTH, {"canvas", TS_FIELD_INT | TS_FIELD_SOME, AT(canvas)}},
    {MAE, {"patch", TS_FIELD_INT | TS_FIELD_SOME, AT(mae.patch)}},
    {MAE, {"side", TS_FIELD_INT, AT(mae.side)}},
    {MAE, {"dim", TS_FIELD_INT, AT(mae.dim)}},
    {MAE, {"depth", TS_FIELD_INT, AT(mae.depth)}},
    {MAE, {"heads", TS_FIELD_INT, AT(mae.heads)}},
    {MAE, {"mlp", TS_FIELD_INT, AT(mae.mlp)}},
    {MAE, {"decoder_dim", TS_FIELD_INT, AT(mae.decoder_dim)}},
    {MAE, {"decoder_depth", TS_FIELD_INT, AT(mae.decoder_depth)}},
    {MAE, {"decoder_heads", TS_FIELD_INT, AT(mae.decoder_heads)}},
    {MAE, {"decoder_mlp", TS_FIELD_INT, AT(mae.decoder_mlp)}},
    {MAE, {"codes", TS_FIELD_INT, AT(mae.codes)}},
    {VQGAN, {"base", TS_FIELD_INT, AT(vq.base)}},
    {VQGAN, {"levels", TS_FIELD_INT, AT(vq.levels)}},
    {VQGAN, {"blocks", TS_FIELD_INT, AT(vq.blocks)}},
    {VQGAN, {"latent", TS_FIELD_INT, AT(vq.latent)}},
    {VQGAN, {"embed", TS_FIELD_INT, AT(vq.embed)}},
    {VQGAN, {"codes", TS_FIELD_INT, AT(vq.codes)}},
    {VQGAN, {"factor", TS_FIELD_INT, AT(vq.factor)}},
    {VQGAN, {"groups", TS_FIELD_INT | TS_FIELD_NEW, AT(vq.groups)}},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

#define SEEN(member) offsetof(ts_data_seen, member)
static const ts_field seen_fields[] = {{"files", TS_FIELD_REAL | TS_FIELD_NEW, SEEN(files)},
                                       {"bytes", TS_FIELD_REAL | TS_FIELD_NEW, SEEN(bytes)},
                                       {"names", TS_FIELD_SEED | TS_FIELD_NEW, SEEN(names)}};
enum { SEEN_COUNT = sizeof seen_fields / sizeof *seen_fields };

static bool concerns(const train_field *f, ts_train_kind kind)
{
    return f->of == BOTH || (f->of == MAE) == (kind == TS_TRAIN_MAE);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static bool add_sources(cJSON *o, const ts_train_config *c)
{
    cJSON *list = cJSON_AddArrayToObject(o, "data");
    for (int i = 0; list && i < c->source_count; i++) {
        cJSON *one = cJSON_CreateObject();
        if (!one || !cJSON_AddItemToArray(list, one) || !cJSON_AddStringToObject(one, "path", c->sources[i].path) ||
            !cJSON_AddNumberToObject(one, "share", c->sources[i].share))
            return false;
        for (int k = 0; k < SEEN_COUNT && c->seen[i].files > 0; k++)
            if (!ts_field_add(one, &seen_fields[k], &c->seen[i])) return false;
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
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "kind", c->kind == TS_TRAIN_MAE ? "mae" : "vqgan") && add_sources(o, c) &&
              (c->kind == TS_TRAIN_MAE || add_levels(o, &c->vq));
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = !concerns(&fields[i], c->kind) || ts_field_add(o, &fields[i].field, c);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_config_save(o, path, err);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static bool read_sources(const cJSON *o, ts_train_config *c, const char *path, ts_error *err)
{
    const cJSON *one, *list = cJSON_GetObjectItemCaseSensitive(o, "data");
    c->source_count = 0;
    cJSON_ArrayForEach(one, list)
    {
        const cJSON *from = cJSON_GetObjectItemCaseSensitive(one, "path");
        const cJSON *share = cJSON_GetObjectItemCaseSensitive(one, "share");
        if (!cJSON_IsString(from) || !cJSON_IsNumber(share) || !isfinite(share->valuedouble) ||
            c->source_count == TS_TRAIN_SOURCES)
            return ts_config_bad(path, "data", err);
        c->seen[c->source_count] = (ts_data_seen){0};
        for (int k = 0; k < SEEN_COUNT; k++)
            if (!ts_field_read(one, &seen_fields[k], &c->seen[c->source_count], path, err)) return false;
        c->sources[c->source_count++] = (ts_loader_source){from->valuestring, share->valuedouble};
    }
    return c->source_count > 0 || ts_config_bad(path, "data", err);
}

static bool read_levels(const cJSON *o, ts_vqgan_config *v, const char *path, ts_error *err)
{
    const cJSON *width = cJSON_GetObjectItemCaseSensitive(o, "width"),
                *attention = cJSON_GetObjectItemCaseSensitive(o, "attention");
    if (v->levels < 1 || v->levels > TS_VQGAN_MAX_LEVELS || cJSON_GetArraySize(width) != v->levels ||
        cJSON_GetArraySize(attention) != v->levels)
        return ts_config_bad(path, "width", err);
    for (int i = 0; i < v->levels; i++) {
        const cJSON *one = cJSON_GetArrayItem(width, i);
        if (!cJSON_IsNumber(one) || !ts_int_of(one->valuedouble, 1, INT_MAX, &v->width[i]))
            return ts_config_bad(path, "width", err);
        v->attention[i] = cJSON_IsTrue(cJSON_GetArrayItem(attention, i));
    }
    return true;
}

bool ts_train_config_read(ts_train_config *c, const char *path, ts_error *err)
{
    cJSON *o = ts_config_load(path, err);
    if (!o) return false;
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind");
    const char *wanted = c->kind == TS_TRAIN_MAE ? "mae" : "vqgan";
    cJSON_Delete(c->file);
    c->file = o;
    if (!cJSON_IsString(kind)) return ts_config_bad(path, "kind", err);
    if (strcmp(kind->valuestring, wanted) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is the configuration of a run of train %s, not of train %s", path,
                       kind->valuestring, wanted);
    bool ok = read_sources(o, c, path, err);
    for (int i = 0; ok && i < FIELD_COUNT; i++)
        if (concerns(&fields[i], c->kind)) ok = ts_field_read(o, &fields[i].field, c, path, err);
    return ok && (c->kind == TS_TRAIN_MAE || read_levels(o, &c->vq, path, err));
}

void ts_train_config_free(ts_train_config *c)
{
    cJSON_Delete(c->file);
    c->file = NULL;
}
