/* config.h - config.json of a run: one table names the fields of a struct, for writing and for reading. */
#ifndef TESSERA_CLI_CONFIG_H
#define TESSERA_CLI_CONFIG_H

#include "cli/cli.h"

typedef enum { TS_FIELD_INT, TS_FIELD_REAL, TS_FIELD_TEXT, TS_FIELD_FLAG } ts_field_type;
typedef struct {
    const char *key;
    ts_field_type type;
    size_t offset; /* of an int, double, const char * (NULL: not said, and not written) or bool */
} ts_field;

bool ts_field_add(cJSON *o, const ts_field *f, const void *of);
/* `path` is for the complaint. Texts belong to `o`. */
bool ts_field_read(const cJSON *o, const ts_field *f, void *of, const char *path, ts_error *err);
/* Writes the object to a file, whole or not at all, and frees it. NULL: out of memory. */
bool ts_config_save(cJSON *o, const char *path, ts_error *err);
/* Free with cJSON_Delete. */
cJSON *ts_config_load(const char *path, ts_error *err);

#endif
