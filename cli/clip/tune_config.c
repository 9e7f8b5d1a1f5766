/* tune_config.c - config.json of a tuning, and what of it the method gets as settings. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/tune.h"
#include "cli/config.h"
#include "engine/number.h"

#define AT(member) offsetof(ts_tune_config, member)
static const ts_field fields[] = {
    {"model", TS_FIELD_TEXT, AT(model)},
    {"vocab", TS_FIELD_TEXT, AT(vocab)},
    {"heads", TS_FIELD_INT | TS_FIELD_NEW, AT(told.heads)},
    {"text_heads", TS_FIELD_INT | TS_FIELD_NEW, AT(told.text_heads)},
    {"activation", TS_FIELD_INT | TS_FIELD_NEW, AT(told.activation)},
    {"data", TS_FIELD_TEXT, AT(data)},
    {"root", TS_FIELD_TEXT, AT(root)},
    {"device", TS_FIELD_TEXT, AT(device)},
    {"position", TS_FIELD_TEXT, AT(position)},
    {"words", TS_FIELD_TEXT, AT(words)},
    {"attention", TS_FIELD_TEXT, AT(attention)},
    {"context", TS_FIELD_INT, AT(context)},
    {"tokens", TS_FIELD_INT, AT(tokens)},
    {"pixels", TS_FIELD_INT, AT(pixels)},
    {"depth", TS_FIELD_INT, AT(depth)},
    {"per_class", TS_FIELD_FLAG, AT(per_class)},
    {"no_augment", TS_FIELD_FLAG, AT(no_augment)},
    {"base_to_new", TS_FIELD_FLAG, AT(base_to_new)},
    {"cut", TS_FIELD_FLAG, AT(cut)},
    {"shots", TS_FIELD_INT, AT(shots)},
    {"batch", TS_FIELD_INT, AT(batch)},
    {"epochs", TS_FIELD_INT, AT(epochs)},
    {"warmup", TS_FIELD_INT | TS_FIELD_SIGNED, AT(warmup)},
    {"lr", TS_FIELD_REAL, AT(lr)},
    {"momentum", TS_FIELD_REAL | TS_FIELD_SIGNED, AT(momentum)},
    {"weight_decay", TS_FIELD_REAL | TS_FIELD_SIGNED, AT(weight_decay)},
    {"eval_every", TS_FIELD_INT, AT(eval_every)},
    {"save_every", TS_FIELD_INT | TS_FIELD_SOME, AT(save_every)},
    {"keep", TS_FIELD_INT | TS_FIELD_SOME, AT(keep)},
    {"threads", TS_FIELD_INT, AT(threads)},
    {"workers", TS_FIELD_INT | TS_FIELD_SOME, AT(workers)},
    {"memory", TS_FIELD_INT | TS_FIELD_SOME, AT(memory)},
    {"data_files", TS_FIELD_REAL | TS_FIELD_NEW, AT(seen.files)},
    {"data_bytes", TS_FIELD_REAL | TS_FIELD_NEW, AT(seen.bytes)},
    {"data_names", TS_FIELD_SEED | TS_FIELD_NEW, AT(seen.names)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

bool ts_tune_config_write(const ts_tune_config *c, const char *path, ts_error *err)
{
    cJSON *o = cJSON_CreateObject(), *seeds = NULL;
    bool ok = o && cJSON_AddStringToObject(o, "kind", "clip tune") && cJSON_AddStringToObject(o, "method", c->method) &&
              (seeds = cJSON_AddArrayToObject(o, "seeds"));
    for (int i = 0; ok && i < c->seeds; i++) {
        char text[24]; /* as text: a number of JSON's holds 53 bits */
        snprintf(text, sizeof text, "%" PRIu64, c->seed[i]);
        ok = cJSON_AddItemToArray(seeds, cJSON_CreateString(text));
    }
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_add(o, &fields[i], c);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_config_save(o, path, err);
}

static bool read_seed(ts_tune_config *c, const char *text, size_t length)
{
    char word[24] = {0};
    if (length >= sizeof word || c->seeds == TS_TUNE_SEEDS) return false;
    memcpy(word, text, length);
    if (!ts_seed_read(word, &c->seed[c->seeds])) return false;
    for (int i = 0; i < c->seeds; i++)
        if (c->seed[i] == c->seed[c->seeds]) return false; /* it would be one folder for two */
    c->seeds++;
    return true;
}

bool ts_tune_config_seeds(ts_tune_config *c, const char *text)
{
    c->seeds = 0;
    for (const char *at = text; at;) {
        const size_t length = strcspn(at, ",");
        if (!read_seed(c, at, length)) return false;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

bool ts_tune_config_read(ts_tune_config *c, const char *path, ts_error *err)
{
    cJSON *o = ts_config_load(path, err);
    if (!o) return false;
    cJSON_Delete(c->file);
    c->file = o;
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(o, "kind"), *method = cJSON_GetObjectItemCaseSensitive(o, "method");
    const cJSON *seeds = cJSON_GetObjectItemCaseSensitive(o, "seeds"), *one;
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, "clip tune") != 0 || !cJSON_IsString(method))
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is not the configuration of a clip tune", path);
    if (strcmp(method->valuestring, c->method) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is the configuration of a tuning by %s, not by %s", path, method->valuestring,
                       c->method);
    bool ok = true;
    c->seeds = 0;
    cJSON_ArrayForEach(one, seeds) ok = ok && cJSON_IsString(one) && read_seed(c, one->valuestring, strlen(one->valuestring));
    if (!ok || c->seeds == 0) return ts_config_bad(path, "seeds", err);
    for (int i = 0; ok && i < FIELD_COUNT; i++) ok = ts_field_read(o, &fields[i], c, path, err);
    return ok;
}

void ts_tune_config_free(ts_tune_config *c)
{
    cJSON_Delete(c->file);
    c->file = NULL;
}

int ts_tune_config_settings(const ts_tune_config *c, ts_clip_setting list[8], char numbers[4][16])
{
    const struct {
        const char *key;
        int value;
    } ints[4] = {{"context", c->context}, {"tokens", c->tokens}, {"pixels", c->pixels}, {"depth", c->depth}};
    const ts_clip_setting texts[] = {
        {"position", c->position}, {"words", c->words}, {"attention", c->attention}, {"per-class", c->per_class ? "yes" : NULL}};
    int count = 0;
    for (int i = 0; i < 4; i++) {
        if (ints[i].value <= 0) continue;
        snprintf(numbers[i], 16, "%d", ints[i].value);
        list[count++] = (ts_clip_setting){ints[i].key, numbers[i]};
    }
    for (int i = 0; i < 4; i++)
        if (texts[i].value) list[count++] = texts[i];
    return count;
}
