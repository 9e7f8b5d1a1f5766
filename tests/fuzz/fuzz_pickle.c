/* fuzz_pickle.c - any bytes as a pickle; what comes out is walked. */
#include "engine/weights/pickle.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Looks at every byte and pointer of a value, `depth` levels down (values may be cyclic). */
static uint64_t walk(const ts_pickle_value *v, int depth)
{
    uint64_t sum = v ? v->kind : 0;
    if (!v || !depth) return sum;
    switch (v->kind) {
    case TS_PICKLE_STRING:
    case TS_PICKLE_BYTES:
        for (size_t i = 0; i < v->text.size; i++) sum += (uint8_t)v->text.bytes[i];
        break;
    case TS_PICKLE_TUPLE:
    case TS_PICKLE_LIST:
    case TS_PICKLE_SET:
    case TS_PICKLE_DICT:
        if (v->kind == TS_PICKLE_DICT && v->list.count % 2) abort();
        for (size_t i = 0; i < v->list.count; i++) sum += walk(v->list.items[i], i < 4 ? depth - 1 : 0);
        break;
    case TS_PICKLE_SYMBOL:
        sum += walk(v->symbol.module, 1) + walk(v->symbol.name, 1);
        break;
    case TS_PICKLE_PERSISTENT:
        sum += walk(v->id, depth - 1);
        break;
    case TS_PICKLE_OBJECT:
        sum += walk(v->object.maker, depth - 1) + walk(v->object.args, depth - 1);
        sum += walk(v->object.state, depth - 1) + walk(v->object.dict, depth - 1);
        break;
    case TS_PICKLE_NONE:
    case TS_PICKLE_BOOL:
    case TS_PICKLE_INT:
    case TS_PICKLE_FLOAT:
        break;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ts_error err = {0};
    ts_pickle *p = ts_pickle_read(bytes, size, "fuzz", &err);
    if (!p && !err.code) abort(); /* a refusal without a reason */
    if (p) {
        if (walk(ts_pickle_root(p), 6) == UINT64_MAX) abort(); /* never; but it keeps the walk */
        const ts_pickle_value *model = ts_pickle_get(ts_pickle_root(p), "model");
        if (model && ts_pickle_root(p)->kind != TS_PICKLE_DICT) abort();
    }
    ts_pickle_free(p);
    return 0;
}
