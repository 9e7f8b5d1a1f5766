/* train_config.c - config.json of a contrastive training. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/train.h"
#include "cli/config.h"

static const char KIND[] = "clip train";

#define AT(member) offsetof(ts_clip_train_config, member)
static const ts_field fields[] = {
    {"seed", TS_FIELD_SEED, AT(seed)},
    {"data", TS_FIELD_TEXT, AT(data)},
    {"val", TS_FIELD_TEXT, AT(val)},
    {"vocab", TS_FIELD_TEXT, AT(vocab)},
    {"init", TS_FIELD_TEXT, AT(init)},
    {"device", TS_FIELD_TEXT, AT(device)},
    {"image", TS_FIELD_INT, AT(model.image)},
    {"patch", TS_FIELD_INT, AT(model.patch)},
    {"vision_width", TS_FIELD_INT, AT(model.width)},
    {"vision_layers", TS_FIELD_INT, AT(model.layers)},
    {"vision_heads", TS_FIELD_INT, AT(model.heads)},
    {"text_width", TS_FIELD_INT, AT(model.text_width)},
    {"text_layers", TS_FIELD_INT, AT(model.text_layers)},
    {"text_heads", TS_FIELD_INT, AT(model.text_heads)},
    {"gelu", TS_FIELD_FLAG, AT(model.erf_gelu)},
    {"init_heads", TS_FIELD_INT | TS_FIELD_NEW, AT(told.heads)},
    {"init_text_heads", TS_FIELD_INT | TS_FIELD_NEW, AT(told.text_heads)},
    {"init_activation", TS_FIELD_INT | TS_FIELD_NEW, AT(told.activation)},
    {"embed", TS_FIELD_INT, AT(model.embed)},
    {"context", TS_FIELD_INT, AT(model.context)},
    {"merges", TS_FIELD_INT, AT(merges)},
    {"batch", TS_FIELD_INT | TS_FIELD_SOME, AT(batch)},
    {"steps", TS_FIELD_INT | TS_FIELD_SOME, AT(steps)},
    {"lr", TS_FIELD_REAL, AT(lr)},
    {"warmup", TS_FIELD_INT, AT(warmup)},
    {"weight_decay", TS_FIELD_REAL, AT(weight_decay)},
    {"clip", TS_FIELD_REAL, AT(clip)},
    {"margin", TS_FIELD_INT, AT(margin)},
    {"save_every", TS_FIELD_INT | TS_FIELD_SOME, AT(save_every)},
    {"eval_every", TS_FIELD_INT | TS_FIELD_SOME, AT(eval_every)},
    {"keep", TS_FIELD_INT | TS_FIELD_SOME, AT(keep)},
    {"workers", TS_FIELD_INT | TS_FIELD_SOME, AT(workers)},
    {"threads", TS_FIELD_INT, AT(threads)},
    {"memory", TS_FIELD_INT, AT(memory)},
    {"data_files", TS_FIELD_REAL | TS_FIELD_NEW, AT(seen.files)},
    {"data_bytes", TS_FIELD_REAL | TS_FIELD_NEW, AT(seen.bytes)},
    {"data_names", TS_FIELD_SEED | TS_FIELD_NEW, AT(seen.names)},
    {"fp16_model", TS_FIELD_FLAG, AT(fp16)},
    {"cut", TS_FIELD_FLAG, AT(cut)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

bool ts_clip_train_config_write(const ts_clip_train_config *c, const char *path, ts_error *err)
{
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "kind", KIND);
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_add(o, &fields[i], c);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_config_save(o, path, err);
}

bool ts_clip_train_config_read(ts_clip_train_config *c, const char *path, ts_error *err)
{
    cJSON *o = ts_config_load(path, err);
    if (!o) return false;
    cJSON_Delete(c->file);
    c->file = o;
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind");
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, KIND) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is not the configuration of a clip train", path);
    bool ok = true;
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_read(o, &fields[i], c, path, err);
    return ok;
}

void ts_clip_train_config_free(ts_clip_train_config *c)
{
    cJSON_Delete(c->file);
    c->file = NULL;
}
