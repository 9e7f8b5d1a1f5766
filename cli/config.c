/* config.c - see config.h. */
#include "cli/config.h"
#include "engine/file.h"
#include "engine/number.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ts_field_add(cJSON *o, const ts_field *f, const void *of)
{
    const void *at = (const char *)of + f->offset;
    char seed[24];
    switch (f->type & TS_FIELD_KIND) {
    case TS_FIELD_INT:
        return cJSON_AddNumberToObject(o, f->key, *(const int *)at);
    case TS_FIELD_REAL:
        return cJSON_AddNumberToObject(o, f->key, *(const double *)at);
    case TS_FIELD_TEXT:
        return !*(const char *const *)at || cJSON_AddStringToObject(o, f->key, *(const char *const *)at);
    case TS_FIELD_FLAG:
        return cJSON_AddBoolToObject(o, f->key, *(const bool *)at);
    case TS_FIELD_SEED:
        snprintf(seed, sizeof seed, "%" PRIu64, *(const uint64_t *)at);
        return cJSON_AddStringToObject(o, f->key, seed);
    default:
        return false;
    }
}

bool ts_config_bad(const char *path, const char *key, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s: \"%s\" is missing or not what was written there", path, key);
}

/* What is not there: a text is none, a flag is off, a number must be there unless it is new. */
static bool read_absent(const ts_field *f, void *at)
{
    const int kind = f->type & TS_FIELD_KIND;
    if (f->type & TS_FIELD_NEW) return true;
    if (kind == TS_FIELD_TEXT) *(const char **)at = NULL;
    if (kind == TS_FIELD_FLAG) *(bool *)at = false;
    return kind == TS_FIELD_TEXT || kind == TS_FIELD_FLAG;
}

bool ts_field_read(const cJSON *o, const ts_field *f, void *of, const char *path, ts_error *err)
{
    void *at = (char *)of + f->offset;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, f->key);
    const bool any_sign = f->type & TS_FIELD_SIGNED;
    const int least = f->type & TS_FIELD_SOME ? 1 : 0;
    bool ok = true;
    if (!item) return read_absent(f, at) || ts_config_bad(path, f->key, err);
    switch (f->type & TS_FIELD_KIND) {
    case TS_FIELD_INT:
        ok = cJSON_IsNumber(item) && ts_int_of(item->valuedouble, any_sign ? INT_MIN : least, INT_MAX, at);
        break;
    case TS_FIELD_REAL:
        ok = cJSON_IsNumber(item) && isfinite(item->valuedouble) && (any_sign || item->valuedouble >= 0);
        if (ok) *(double *)at = item->valuedouble;
        break;
    case TS_FIELD_TEXT:
        *(const char **)at = cJSON_IsString(item) ? item->valuestring : NULL;
        break;
    case TS_FIELD_FLAG:
        *(bool *)at = cJSON_IsTrue(item);
        break;
    case TS_FIELD_SEED:
        ok = cJSON_IsString(item) && ts_seed_read(item->valuestring, at);
        break;
    default:
        ok = false;
    }
    return ok || ts_config_bad(path, f->key, err);
}

bool ts_config_save(cJSON *o, const char *path, ts_error *err)
{
    char *text = o ? cJSON_Print(o) : NULL;
    const bool ok =
        text ? ts_file_write(path, text, strlen(text), err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    cJSON_free(text);
    cJSON_Delete(o);
    return ok;
}

cJSON *ts_config_load(const char *path, ts_error *err)
{
    enum { LIMIT = 32 << 20 };
    size_t size;
    char *text = ts_file_read(path, "configuration", LIMIT, &size, err);
    cJSON *o = text ? cJSON_Parse(text) : NULL;
    if (text && !o) ts_fail(err, TS_ERR_FORMAT, "%s is not JSON", path);
    free(text);
    return o;
}
