/* fields.c - the fields of a JSON object that came from outside: each of the kind and in the range that is wanted, or an error
 * that names it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page/request.h"

/* NULL where it is absent. */
static const cJSON *field(const cJSON *object, const char *name)
{
    const cJSON *item = object ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
    return cJSON_IsNull(item) ? NULL : item;
}

bool ts_page_real(const cJSON *object, const char *name, double low, double high, double *value, ts_error *err)
{
    const cJSON *item = field(object, name);
    if (!item) return true;
    if (!cJSON_IsNumber(item)) return ts_fail(err, TS_ERR_ARGUMENT, "%s must be a number", name);
    if (!(item->valuedouble >= low && item->valuedouble <= high))
        return ts_fail(err, TS_ERR_ARGUMENT, "%s %.10g is outside %.10g to %.10g", name, item->valuedouble, low, high);
    *value = item->valuedouble;
    return true;
}

bool ts_page_int(const cJSON *object, const char *name, int low, int high, int *value, ts_error *err)
{
    double number = *value;
    if (!field(object, name)) return true;
    if (!ts_page_real(object, name, low, high, &number, err)) return false;
    if (number != floor(number)) return ts_fail(err, TS_ERR_ARGUMENT, "%s %.10g is no whole number", name, number);
    *value = (int)number;
    return true;
}

bool ts_page_flag(const cJSON *object, const char *name, bool *value, ts_error *err)
{
    const cJSON *item = field(object, name);
    if (!item) return true;
    if (!cJSON_IsBool(item)) return ts_fail(err, TS_ERR_ARGUMENT, "%s must be true or false", name);
    *value = cJSON_IsTrue(item);
    return true;
}

bool ts_page_text(const cJSON *object, const char *name, const char **value, ts_error *err)
{
    const cJSON *item = field(object, name);
    if (!item) return true;
    if (!cJSON_IsString(item)) return ts_fail(err, TS_ERR_ARGUMENT, "%s must be a text", name);
    *value = item->valuestring;
    return true;
}

bool ts_page_list(const cJSON *object, const char *name, int least, int most, const cJSON **value, ts_error *err)
{
    const cJSON *item = field(object, name);
    if (!item && least == 0) return true;
    if (!item) return ts_fail(err, TS_ERR_ARGUMENT, "%s is missing", name);
    if (!cJSON_IsArray(item)) return ts_fail(err, TS_ERR_ARGUMENT, "%s must be an array", name);
    const int count = cJSON_GetArraySize(item);
    if (count < least || count > most)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s has %d items, %d to %d are possible", name, count, least, most);
    *value = item;
    return true;
}

bool ts_page_fields(const cJSON *object, const char *names, ts_error *err)
{
    for (const cJSON *item = object ? object->child : NULL; item; item = item->next) {
        const size_t length = strlen(item->string);
        bool known = false;
        for (const char *at = names; length && (at = strstr(at, item->string)) && !known; at += length)
            known = (at == names || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0');
        if (!known) return ts_fail(err, TS_ERR_ARGUMENT, "there is no field \"%s\" here: %s", item->string, names);
    }
    return true;
}

bool ts_page_add_bytes(cJSON *object, const char *name, const uint8_t *bytes, size_t size)
{
    char *text = page_base64_write(bytes, size);
    const bool ok = text && cJSON_AddStringToObject(object, name, text);
    free(text);
    return ok;
}
