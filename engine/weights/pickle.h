/* pickle.h - an inert interpreter of Python's pickle format: it builds values and can call nothing. */
#ifndef TESSERA_PICKLE_H
#define TESSERA_PICKLE_H

#include "engine/engine.h"

typedef enum {
    TS_PICKLE_NONE,
    TS_PICKLE_BOOL,
    TS_PICKLE_INT,
    TS_PICKLE_FLOAT,
    TS_PICKLE_STRING, /* UTF-8, or what an old pickle had */
    TS_PICKLE_BYTES,
    TS_PICKLE_TUPLE,
    TS_PICKLE_LIST,
    TS_PICKLE_SET,
    TS_PICKLE_DICT,       /* also an OrderedDict */
    TS_PICKLE_SYMBOL,     /* "module name", never looked up */
    TS_PICKLE_PERSISTENT, /* a reference to something outside the pickle: a storage */
    TS_PICKLE_OBJECT,     /* what a call would have made: the symbol and its arguments are kept, nothing happens */
} ts_pickle_kind;

typedef struct ts_pickle_value ts_pickle_value;
struct ts_pickle_value {
    ts_pickle_kind kind;
    union {
        int64_t integer; /* BOOL, INT */
        double real;
        struct {
            const char *bytes;
            size_t size;
        } text; /* STRING, BYTES; not terminated */
        struct {
            ts_pickle_value **items;
            size_t count, capacity;
        } list; /* TUPLE, LIST, SET; DICT has key, value, key, value, ... */
        struct {
            ts_pickle_value *module, *name; /* STRINGs */
        } symbol;
        ts_pickle_value *id; /* PERSISTENT */
        struct {
            ts_pickle_value *maker; /* mostly a SYMBOL; NULL for what has no representation here (a very large integer) */
            ts_pickle_value *args;  /* mostly a TUPLE; may be NULL */
            ts_pickle_value *state; /* what BUILD gave, or NULL */
            ts_pickle_value *dict;  /* what was set by key, for subclasses of dict, or NULL */
        } object;
    };
};

typedef struct ts_pickle ts_pickle;

/* `bytes` must outlive the result. Memory stays below a constant times `size`. `label` names the file in errors. */
ts_pickle *ts_pickle_read(const void *bytes, size_t size, const char *label, ts_error *err);
void ts_pickle_free(ts_pickle *p);
const ts_pickle_value *ts_pickle_root(const ts_pickle *p);
/* How many of the bytes the pickle took: another one may follow it. */
size_t ts_pickle_size(const ts_pickle *p);
/* All that is outside the pickle, in the order in which it is named, a thing named twice given twice. */
const ts_pickle_value *const *ts_pickle_persistent(const ts_pickle *p, size_t *count);

bool ts_pickle_is_text(const ts_pickle_value *v, const char *text);
bool ts_pickle_is_symbol(const ts_pickle_value *v, const char *module, const char *name);
/* The value of a key of a DICT, the last where it is set twice, or NULL. */
const ts_pickle_value *ts_pickle_get(const ts_pickle_value *dict, const char *key);

#endif
