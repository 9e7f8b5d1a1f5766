/* config.h - config.json of a run: one table names the fields of a struct, for writing and for reading. */
#ifndef TESSERA_CLI_CONFIG_H
#define TESSERA_CLI_CONFIG_H

#include "cli/cli.h"

typedef enum {
    TS_FIELD_INT,
    TS_FIELD_REAL,
    TS_FIELD_TEXT, /* NULL: not said, and not written */
    TS_FIELD_FLAG,
    TS_FIELD_SEED,       /* as text: a number of JSON's holds 53 bits */
    TS_FIELD_KIND = 7,   /* the bits of the above */
    TS_FIELD_SIGNED = 8, /* a number may be below zero */
    TS_FIELD_NEW = 16,   /* earlier versions wrote none: it keeps its default */
    TS_FIELD_SOME = 32,  /* an int is at least 1 */
} ts_field_type;
typedef struct {
    const char *key;
    int type;      /* a kind, and the bits that hold for it */
    size_t offset; /* of an int, double, const char *, bool or uint64_t */
} ts_field;

bool ts_field_add(cJSON *o, const ts_field *f, const void *of);
/* `path` is for the complaint. Texts belong to `o`. */
bool ts_field_read(const cJSON *o, const ts_field *f, void *of, const char *path, ts_error *err);
/* Fails: the field is missing or not what was written there. */
bool ts_config_bad(const char *path, const char *key, ts_error *err);
/* Writes the object to a file, whole or not at all, and frees it. NULL: out of memory. */
bool ts_config_save(cJSON *o, const char *path, ts_error *err);
/* Free with cJSON_Delete. */
cJSON *ts_config_load(const char *path, ts_error *err);

#endif
