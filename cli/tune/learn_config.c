/* learn_config.c - config.json of a border's or a fusion's tuning. */
#include <string.h>

#include "cli/config.h"
#include "cli/tune/learn.h"

#define AT(member) offsetof(ts_learn_config, member)
static const ts_field fields[] = {
    {"model", TS_FIELD_TEXT, AT(model)},
    {"vqgan", TS_FIELD_TEXT, AT(vqgan)},
    {"heads", TS_FIELD_INT, AT(heads)},
    {"decoder_heads", TS_FIELD_INT, AT(decoder_heads)},
    {"inputs", TS_FIELD_TEXT, AT(inputs)},
    {"targets", TS_FIELD_TEXT, AT(targets)},
    {"list", TS_FIELD_TEXT, AT(list)},
    {"device", TS_FIELD_TEXT, AT(device)},
    {"examples", TS_FIELD_INT | TS_FIELD_SOME, AT(examples)},
    {"pixels", TS_FIELD_INT, AT(pixels)},
    {"cells", TS_FIELD_INT, AT(cells)},
    {"condenser", TS_FIELD_FLAG, AT(condenser)},
    {"fusion_heads", TS_FIELD_INT, AT(fusion_heads)},
    {"sigma", TS_FIELD_REAL, AT(sigma)},
    {"dropout", TS_FIELD_REAL, AT(dropout)},
    {"top", TS_FIELD_REAL, AT(top)},
    {"align", TS_FIELD_REAL, AT(align)},
    {"embed", TS_FIELD_REAL, AT(embed)},
    {"own_share", TS_FIELD_REAL, AT(own_share)},
    {"random_share", TS_FIELD_REAL, AT(random_share)},
    {"batch", TS_FIELD_INT | TS_FIELD_SOME, AT(batch)},
    {"epochs", TS_FIELD_INT | TS_FIELD_SOME, AT(epochs)},
    {"restart", TS_FIELD_INT | TS_FIELD_SOME, AT(restart)},
    {"lr", TS_FIELD_REAL, AT(lr)},
    {"filter", TS_FIELD_INT, AT(filter)},
    {"background", TS_FIELD_INT, AT(background)},
    {"save_every", TS_FIELD_INT | TS_FIELD_SOME, AT(save_every)},
    {"eval_every", TS_FIELD_INT | TS_FIELD_SOME, AT(eval_every)},
    {"keep", TS_FIELD_INT | TS_FIELD_SOME, AT(keep)},
    {"threads", TS_FIELD_INT, AT(threads)},
    {"recompute", TS_FIELD_FLAG, AT(recompute)},
    {"seed", TS_FIELD_SEED, AT(seed)},
    {"data_files", TS_FIELD_REAL, AT(seen.files)},
    {"data_bytes", TS_FIELD_REAL, AT(seen.bytes)},
    {"data_names", TS_FIELD_SEED, AT(seen.names)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

bool ts_learn_config_write(const ts_learn_config *c, const char *path, ts_error *err)
{
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "kind", ts_learn_name(c));
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_add(o, &fields[i], c);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_config_save(o, path, err);
}

/* Numbers that index or size something are held to what the command line may say. */
static bool is_sound(const ts_learn_config *c)
{
    return c->inputs && c->examples <= 64 && c->batch <= 65536 && c->filter <= TS_RESIZE_BICUBIC && c->background <= 0xffffff &&
           c->dropout < 1 && c->own_share <= 1 && c->random_share <= 1 && c->cells <= 7;
}

bool ts_learn_config_read(ts_learn_config *c, const char *path, ts_error *err)
{
    cJSON *o = ts_config_load(path, err);
    if (!o) return false;
    cJSON_Delete(c->file);
    c->file = o;
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind");
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, ts_learn_name(c)) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is not the configuration of a %s", path, ts_learn_name(c));
    bool ok = true;
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_read(o, &fields[i], c, path, err);
    return ok && (is_sound(c) || ts_fail(err, TS_ERR_FORMAT, "%s: its numbers cannot be", path));
}

void ts_learn_config_free(ts_learn_config *c)
{
    cJSON_Delete(c->file);
    c->file = NULL;
}
