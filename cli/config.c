/* config.c - see config.h. */
#include "cli/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/training.h"

bool ts_field_add(cJSON *o, const ts_field *f, const void *of)
{
    const void *at = (const char *)of + f->offset;
    switch (f->type) {
    case TS_FIELD_INT:
        return cJSON_AddNumberToObject(o, f->key, *(const int *)at);
    case TS_FIELD_REAL:
        return cJSON_AddNumberToObject(o, f->key, *(const double *)at);
    case TS_FIELD_TEXT:
        return !*(const char *const *)at || cJSON_AddStringToObject(o, f->key, *(const char *const *)at);
    case TS_FIELD_FLAG:
        return cJSON_AddBoolToObject(o, f->key, *(const bool *)at);
    }
    return false;
}

bool ts_field_read(const cJSON *o, const ts_field *f, void *of, const char *path, ts_error *err)
{
    void *at = (char *)of + f->offset;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, f->key);
    bool ok = true;
    switch (f->type) {
    case TS_FIELD_INT:
        ok = cJSON_IsNumber(item) && item->valuedouble == item->valueint;
        if (ok) *(int *)at = item->valueint;
        break;
    case TS_FIELD_REAL:
        ok = cJSON_IsNumber(item) && isfinite(item->valuedouble);
        if (ok) *(double *)at = item->valuedouble;
        break;
    case TS_FIELD_TEXT:
        *(const char **)at = cJSON_IsString(item) ? item->valuestring : NULL;
        break;
    case TS_FIELD_FLAG:
        *(bool *)at = cJSON_IsTrue(item);
        break;
    }
    return ok || ts_fail(err, TS_ERR_FORMAT, "%s: \"%s\" is missing or not what was written there", path, f->key);
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
    char *text = ts_read_text(path, err);
    cJSON *o = text ? cJSON_Parse(text) : NULL;
    if (text && !o) ts_fail(err, TS_ERR_FORMAT, "%s is not JSON", path);
    free(text);
    return o;
}
