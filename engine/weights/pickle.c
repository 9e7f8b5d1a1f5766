/* pickle.c - see pickle.h.
 *
 * A pickle is a program for a stack machine; what makes it dangerous is that Python looks up any name it mentions and calls it.
 * This machine has the stack, the memo and the data opcodes of protocols 0 to 5, but a name stays a pair of strings and a call
 * stays a record of what would have been called (TS_PICKLE_OBJECT), which whoever reads the result may recognise by name.
 *
 * Every opcode takes at least one byte and makes at most one value, so memory is bounded by the pickle's size. Nothing here
 * recurses, so nesting is harmless; but values may be shared and cyclic, which a walker must mind. */
#include "engine/weights/pickle.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_BYTES = 64 << 10,
    MAX_MEMORY = 768 << 20, /* of the values of one pickle; a checkpoint of a thousand tensors takes 1 MB */
    MAX_NUMBER_TEXT = 63,   /* digits of a number written as text */
};

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
} chunk;

struct ts_pickle {
    chunk *chunks;
    const ts_pickle_value *root;
    const ts_pickle_value **persistent;
    size_t persistent_count, persistent_capacity;
    size_t size;
};

typedef ts_pickle_value value;

typedef struct {
    ts_pickle *pickle;
    const uint8_t *begin, *at, *end;
    value **stack;
    size_t height, stack_capacity;
    size_t *marks; /* heights of the stack */
    size_t mark_count, mark_capacity;
    value **memo;
    size_t memo_size, memo_next;
    size_t memory;
    const char *label;
    ts_error *err;
} machine;

static bool broken(machine *m, const char *what)
{
    return ts_fail(m->err, TS_ERR_FORMAT, "'%s': the pickle inside is broken at byte %zu: %s", m->label,
                   (size_t)(m->at - m->begin), what);
}

static bool no_memory(machine *m)
{
    return ts_fail(m->err, TS_ERR_MEMORY, "'%s': the pickle inside takes too much memory", m->label);
}

/* ---- memory: all values live in chunks, freed together ------------------------------------------------------- */

static void *take(machine *m, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    chunk *c = m->pickle->chunks;
    if (!c || size > c->size - c->used) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        c = room <= MAX_MEMORY - m->memory ? malloc(sizeof *c + room) : NULL;
        if (!c) {
            no_memory(m);
            return NULL;
        }
        m->memory += room;
        *c = (chunk){.next = m->pickle->chunks, .size = room};
        m->pickle->chunks = c;
    }
    void *p = c->bytes + c->used;
    c->used += size;
    return p;
}

static value *new_value(machine *m, ts_pickle_kind kind)
{
    value *v = take(m, sizeof *v);
    if (v) *v = (value){.kind = kind};
    return v;
}

/* Doubles an array of the machine (stack, marks, memo) until it has `wanted` places, new ones zero, and returns where it is now.
 */
static void *reserve(machine *m, void *array, size_t *capacity, size_t wanted, size_t item)
{
    if (wanted <= *capacity) return array;
    size_t larger = *capacity ? *capacity : 256;
    while (larger < wanted) larger *= 2;
    size_t more = (larger - *capacity) * item;
    uint8_t *p = more <= MAX_MEMORY - m->memory ? realloc(array, larger * item) : NULL;
    if (!p) {
        no_memory(m);
        return NULL;
    }
    m->memory += more;
    memset(p + *capacity * item, 0, more);
    *capacity = larger;
    return p;
}

static bool append(machine *m, value *list, value *item)
{
    if (list->list.count == list->list.capacity) {
        size_t capacity = list->list.capacity ? 2 * list->list.capacity : 4;
        value **items = take(m, capacity * sizeof *items);
        if (!items) return false;
        if (list->list.count) memcpy(items, list->list.items, list->list.count * sizeof *items);
        list->list.items = items;
        list->list.capacity = capacity;
    }
    list->list.items[list->list.count++] = item;
    return true;
}

/* ---- the stack ----------------------------------------------------------------------------------------------- */

static bool push(machine *m, value *v)
{
    value **stack = v ? reserve(m, m->stack, &m->stack_capacity, m->height + 1, sizeof *stack) : NULL;
    if (!stack) return false;
    m->stack = stack;
    m->stack[m->height++] = v;
    return true;
}

static bool push_mark(machine *m)
{
    size_t *marks = reserve(m, m->marks, &m->mark_capacity, m->mark_count + 1, sizeof *marks);
    if (!marks) return false;
    m->marks = marks;
    m->marks[m->mark_count++] = m->height;
    return true;
}

static value *top(machine *m)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->height > floor) return m->stack[m->height - 1];
    broken(m, "it takes a value from an empty stack");
    return NULL;
}

static value *pop(machine *m)
{
    value *v = top(m);
    if (v) m->height--;
    return v;
}

/* Pops the topmost mark and everything above it: stack[*first] .. stack[*first + *count - 1], valid until the next push. */
static bool pop_mark(machine *m, size_t *first, size_t *count)
{
    if (!m->mark_count) return broken(m, "a mark is missing");
    *first = m->marks[--m->mark_count];
    *count = m->height - *first;
    m->height = *first;
    return true;
}

static value *collect(machine *m, ts_pickle_kind kind, size_t first, size_t count)
{
    value *v = new_value(m, kind);
    if (!v || !count) return v;
    v->list.items = take(m, count * sizeof *v->list.items);
    if (!v->list.items) return NULL;
    memcpy(v->list.items, m->stack + first, count * sizeof *v->list.items);
    v->list.count = v->list.capacity = count;
    return v;
}

static bool push_collected(machine *m, ts_pickle_kind kind)
{
    size_t first = 0, count = 0;
    if (!pop_mark(m, &first, &count)) return false;
    if (kind == TS_PICKLE_DICT && count % 2) return broken(m, "a dict has a key without a value");
    return push(m, collect(m, kind, first, count));
}

static bool push_tuple(machine *m, size_t count)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->height - floor < count) return broken(m, "it takes a value from an empty stack");
    m->height -= count;
    return push(m, collect(m, TS_PICKLE_TUPLE, m->height, count));
}

/* ---- arguments in the byte stream ------------------------------------------------------------------------------ */

static const uint8_t *bytes(machine *m, uint64_t count)
{
    if (count > (uint64_t)(m->end - m->at)) {
        broken(m, "it ends in the middle of a value");
        return NULL;
    }
    const uint8_t *p = m->at;
    m->at += count;
    return p;
}

static bool little(machine *m, int count, uint64_t *out)
{
    const uint8_t *p = bytes(m, (uint64_t)count);
    if (!p) return false;
    *out = 0;
    for (int i = count - 1; i >= 0; i--) *out = *out << 8 | p[i];
    return true;
}

/* Up to the next newline, which is left out. */
static bool line(machine *m, const char **text, size_t *size)
{
    const uint8_t *newline = m->at < m->end ? memchr(m->at, '\n', (size_t)(m->end - m->at)) : NULL;
    if (!newline) return broken(m, "a line without an end");
    *text = (const char *)m->at;
    *size = (size_t)(newline - m->at);
    m->at = newline + 1;
    return true;
}

static value *new_text(machine *m, ts_pickle_kind kind, const char *text, size_t size)
{
    value *v = new_value(m, kind);
    if (v) {
        v->text.bytes = text;
        v->text.size = size;
    }
    return v;
}

static value *new_int(machine *m, ts_pickle_kind kind, int64_t n)
{
    value *v = new_value(m, kind);
    if (v) v->integer = n;
    return v;
}

static bool push_counted(machine *m, ts_pickle_kind kind, int length_bytes)
{
    uint64_t size;
    if (!little(m, length_bytes, &size)) return false;
    const uint8_t *text = bytes(m, size);
    return text && push(m, new_text(m, kind, (const char *)text, size));
}

/* 'text' or "text" of protocol 0. Escapes are left as they are: no name that we look for has any. */
static bool push_quoted(machine *m)
{
    const char *text = NULL;
    size_t size = 0;
    if (!line(m, &text, &size)) return false;
    if (size < 2 || (text[0] != '\'' && text[0] != '"') || text[size - 1] != text[0]) return broken(m, "a string without quotes");
    return push(m, new_text(m, TS_PICKLE_STRING, text + 1, size - 2));
}

static bool push_line(machine *m)
{
    const char *text = NULL;
    size_t size = 0;
    return line(m, &text, &size) && push(m, new_text(m, TS_PICKLE_STRING, text, size));
}

/* Numbers written as text: "12", "-3", "12L", "01" for true (in an INT only), "0.5". */
static bool push_number(machine *m, bool real)
{
    const char *text = NULL;
    size_t size = 0;
    char copy[MAX_NUMBER_TEXT + 1], *end;
    bool is_int = m->at[-1] == 'I';
    if (!line(m, &text, &size)) return false;
    if (!size || size > MAX_NUMBER_TEXT) return broken(m, "a number has too few or too many digits");
    memcpy(copy, text, size);
    copy[size] = 0;
    if (real) {
        value *v = new_value(m, TS_PICKLE_FLOAT);
        if (!v) return false;
        v->real = strtod(copy, &end);
        return *end ? broken(m, "a number that is none") : push(m, v);
    }
    if (is_int && (strcmp(copy, "00") == 0 || strcmp(copy, "01") == 0))
        return push(m, new_int(m, TS_PICKLE_BOOL, copy[1] == '1'));
    int64_t n = strtoll(copy, &end, 10); /* too large a number is capped, and then out of every range that matters */
    if (*end == 'L') end++;
    return end == copy || *end ? broken(m, "a number that is none") : push(m, new_int(m, TS_PICKLE_INT, n));
}

/* A little-endian integer in two's complement, of any length; beyond 64 bits it has no representation here. */
static bool push_long(machine *m, int length_bytes)
{
    uint64_t size, n = 0;
    if (!little(m, length_bytes, &size)) return false;
    const uint8_t *p = bytes(m, size);
    if (!p) return false;
    if (size > 8) return push(m, new_value(m, TS_PICKLE_OBJECT));
    if (size && p[size - 1] & 0x80) n = UINT64_MAX;
    for (size_t i = size; i-- > 0;) n = n << 8 | p[i];
    return push(m, new_int(m, TS_PICKLE_INT, (int64_t)n));
}

static bool push_small_int(machine *m, int length_bytes)
{
    uint64_t n;
    if (!little(m, length_bytes, &n)) return false;
    return push(m, new_int(m, TS_PICKLE_INT, length_bytes == 4 ? (int32_t)(uint32_t)n : (int64_t)n));
}

static bool push_double(machine *m)
{
    const uint8_t *p = bytes(m, 8); /* big-endian, alone in the format */
    uint64_t bits = 0;
    value *v = p ? new_value(m, TS_PICKLE_FLOAT) : NULL;
    if (!v) return false;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    memcpy(&v->real, &bits, sizeof bits);
    return push(m, v);
}

/* ---- the memo ------------------------------------------------------------------------------------------------ */

/* An index in text, for the memo opcodes of protocol 0. */
static bool line_index(machine *m, uint64_t *index)
{
    const char *text = NULL;
    size_t size = 0;
    if (!line(m, &text, &size)) return false;
    *index = 0;
    if (!size || size > 18) return broken(m, "a memo index that is none");
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return broken(m, "a memo index that is none");
        *index = *index * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool memo_put(machine *m, uint64_t index)
{
    value *v = top(m);
    if (!v) return false;
    /* Writers number the memo from 0, and each entry takes bytes: an index beyond the pickle's size is an attack on memory. */
    if (index > (uint64_t)(m->end - m->begin)) return broken(m, "a memo index beyond reason");
    value **memo = reserve(m, m->memo, &m->memo_size, index + 1, sizeof *memo);
    if (!memo) return false;
    m->memo = memo;
    if (!m->memo[index]) m->memo_next++;
    m->memo[index] = v;
    return true;
}

static bool memo_get(machine *m, uint64_t index)
{
    if (index >= m->memo_size || !m->memo[index]) return broken(m, "it refers to a memo entry that is not there");
    return push(m, m->memo[index]);
}

/* ---- symbols and the calls that are not made -------------------------------------------------------------------- */

static value *new_symbol(machine *m, value *module, value *name)
{
    if (!module || !name) return NULL;
    if (module->kind != TS_PICKLE_STRING || name->kind != TS_PICKLE_STRING) {
        broken(m, "a symbol whose name is no string");
        return NULL;
    }
    value *v = new_value(m, TS_PICKLE_SYMBOL);
    if (v) {
        v->symbol.module = module;
        v->symbol.name = name;
    }
    return v;
}

static value *line_symbol(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    if (!line(m, &module, &module_size) || !line(m, &name, &name_size)) return NULL;
    value *first = new_text(m, TS_PICKLE_STRING, module, module_size);
    return new_symbol(m, first, first ? new_text(m, TS_PICKLE_STRING, name, name_size) : NULL);
}

static bool push_stack_symbol(machine *m)
{
    value *name = pop(m), *module = name ? pop(m) : NULL;
    return push(m, new_symbol(m, module, name));
}

static bool push_object(machine *m, value *maker, value *args)
{
    if (!maker || !args) return false;
    if (ts_pickle_is_symbol(maker, "collections", "OrderedDict")) return push(m, new_value(m, TS_PICKLE_DICT));
    value *v = new_value(m, TS_PICKLE_OBJECT);
    if (!v) return false;
    v->object.maker = maker;
    v->object.args = args;
    return push(m, v);
}

static bool reduce(machine *m)
{
    value *args = pop(m), *maker = args ? pop(m) : NULL;
    return push_object(m, maker, args);
}

/* INST has the class in the stream, OBJ as the first value above the mark; the arguments are the rest. */
static bool instance(machine *m, bool class_on_stack)
{
    size_t first = 0, count = 0;
    value *maker = class_on_stack ? NULL : line_symbol(m);
    if ((!class_on_stack && !maker) || !pop_mark(m, &first, &count)) return false;
    if (class_on_stack) {
        if (!count) return broken(m, "an object without a class");
        maker = m->stack[first++];
        count--;
    }
    return push_object(m, maker, collect(m, TS_PICKLE_TUPLE, first, count));
}

static bool build(machine *m)
{
    value *state = pop(m), *target = state ? top(m) : NULL;
    if (!target) return false;
    if (target->kind == TS_PICKLE_OBJECT) target->object.state = state; /* a dict's attributes are of no use to us */
    return true;
}

/* Puts stack[first ..] into the container on top of the stack. */
static bool add_items(machine *m, ts_pickle_kind kind, size_t first, size_t count)
{
    value *target = top(m);
    if (!target) return false;
    if (target->kind == TS_PICKLE_OBJECT) {
        if (kind != TS_PICKLE_DICT) return true; /* a subclass of list or set: its items are of no use to us */
        if (!target->object.dict) target->object.dict = new_value(m, TS_PICKLE_DICT);
        target = target->object.dict;
        if (!target) return false;
    }
    if (target->kind != kind) return broken(m, "items are added to something that cannot hold them");
    if (kind == TS_PICKLE_DICT && count % 2) return broken(m, "a dict has a key without a value");
    for (size_t i = 0; i < count; i++) {
        if (!append(m, target, m->stack[first + i])) return false;
    }
    return true;
}

static bool add_top(machine *m, ts_pickle_kind kind, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!pop(m)) return false;
    }
    return add_items(m, kind, m->height, count);
}

static bool add_marked(machine *m, ts_pickle_kind kind)
{
    size_t first = 0, count = 0;
    return pop_mark(m, &first, &count) && add_items(m, kind, first, count);
}

/* ---- the opcodes --------------------------------------------------------------------------------------------- */

static bool drop_top(machine *m)
{
    if (m->mark_count && m->marks[m->mark_count - 1] == m->height) {
        m->mark_count--;
        return true;
    }
    return pop(m) != NULL;
}

static bool persistent(machine *m, value *id)
{
    ts_pickle *p = m->pickle;
    value *v = id ? new_value(m, TS_PICKLE_PERSISTENT) : NULL;
    const value **all = v ? reserve(m, p->persistent, &p->persistent_capacity, p->persistent_count + 1, sizeof *all) : NULL;
    if (!all) return false;
    v->id = id;
    p->persistent = all;
    p->persistent[p->persistent_count++] = v;
    return push(m, v);
}

static bool persistent_line(machine *m)
{
    return push_line(m) && persistent(m, pop(m));
}

static bool check_protocol(machine *m)
{
    uint64_t version;
    if (!little(m, 1, &version)) return false;
    return version <= 5 || broken(m, "a protocol newer than 5");
}

static bool step(machine *m, uint8_t opcode)
{
    uint64_t n;
    size_t first = 0, count = 0;
    /* clang-format off */
    switch (opcode) {
    case 0x80: return check_protocol(m);                                            /* PROTO */
    case 0x95: return little(m, 8, &n);                                             /* FRAME: a hint for buffering */
    case '(':  return push_mark(m);                                                 /* MARK */
    case '0':  return drop_top(m);                                                  /* POP */
    case '1':  return pop_mark(m, &first, &count);                                  /* POP_MARK */
    case '2':  return push(m, top(m));                                              /* DUP */
    case 'N':  return push(m, new_value(m, TS_PICKLE_NONE));                        /* NONE */
    case 0x88: return push(m, new_int(m, TS_PICKLE_BOOL, 1));                       /* NEWTRUE */
    case 0x89: return push(m, new_int(m, TS_PICKLE_BOOL, 0));                       /* NEWFALSE */
    case 'I':                                                                       /* INT */
    case 'L':  return push_number(m, false);                                        /* LONG */
    case 'F':  return push_number(m, true);                                         /* FLOAT */
    case 'J':  return push_small_int(m, 4);                                         /* BININT */
    case 'K':  return push_small_int(m, 1);                                         /* BININT1 */
    case 'M':  return push_small_int(m, 2);                                         /* BININT2 */
    case 0x8a: return push_long(m, 1);                                              /* LONG1 */
    case 0x8b: return push_long(m, 4);                                              /* LONG4 */
    case 'G':  return push_double(m);                                               /* BINFLOAT */
    case 'S':  return push_quoted(m);                                               /* STRING */
    case 'V':  return push_line(m);                                                 /* UNICODE */
    case 'T':  return push_counted(m, TS_PICKLE_STRING, 4);                         /* BINSTRING */
    case 'U':  return push_counted(m, TS_PICKLE_STRING, 1);                         /* SHORT_BINSTRING */
    case 'X':  return push_counted(m, TS_PICKLE_STRING, 4);                         /* BINUNICODE */
    case 0x8c: return push_counted(m, TS_PICKLE_STRING, 1);                         /* SHORT_BINUNICODE */
    case 0x8d: return push_counted(m, TS_PICKLE_STRING, 8);                         /* BINUNICODE8 */
    case 'B':  return push_counted(m, TS_PICKLE_BYTES, 4);                          /* BINBYTES */
    case 'C':  return push_counted(m, TS_PICKLE_BYTES, 1);                          /* SHORT_BINBYTES */
    case 0x8e:                                                                      /* BINBYTES8 */
    case 0x96: return push_counted(m, TS_PICKLE_BYTES, 8);                          /* BYTEARRAY8 */
    case 0x97: return push(m, new_value(m, TS_PICKLE_OBJECT));                      /* NEXT_BUFFER */
    case 0x98: return top(m) != NULL;                                               /* READONLY_BUFFER */
    case ')':  return push(m, new_value(m, TS_PICKLE_TUPLE));                       /* EMPTY_TUPLE */
    case 't':  return push_collected(m, TS_PICKLE_TUPLE);                           /* TUPLE */
    case 0x85: return push_tuple(m, 1);                                             /* TUPLE1 */
    case 0x86: return push_tuple(m, 2);                                             /* TUPLE2 */
    case 0x87: return push_tuple(m, 3);                                             /* TUPLE3 */
    case ']':  return push(m, new_value(m, TS_PICKLE_LIST));                        /* EMPTY_LIST */
    case 'l':  return push_collected(m, TS_PICKLE_LIST);                            /* LIST */
    case 'a':  return add_top(m, TS_PICKLE_LIST, 1);                                /* APPEND */
    case 'e':  return add_marked(m, TS_PICKLE_LIST);                                /* APPENDS */
    case '}':  return push(m, new_value(m, TS_PICKLE_DICT));                        /* EMPTY_DICT */
    case 'd':  return push_collected(m, TS_PICKLE_DICT);                            /* DICT */
    case 's':  return add_top(m, TS_PICKLE_DICT, 2);                                /* SETITEM */
    case 'u':  return add_marked(m, TS_PICKLE_DICT);                                /* SETITEMS */
    case 0x8f: return push(m, new_value(m, TS_PICKLE_SET));                         /* EMPTY_SET */
    case 0x90: return add_marked(m, TS_PICKLE_SET);                                 /* ADDITEMS */
    case 0x91: return push_collected(m, TS_PICKLE_SET);                             /* FROZENSET */
    case 'g':  return line_index(m, &n) && memo_get(m, n);                          /* GET */
    case 'h':  return little(m, 1, &n) && memo_get(m, n);                           /* BINGET */
    case 'j':  return little(m, 4, &n) && memo_get(m, n);                           /* LONG_BINGET */
    case 'p':  return line_index(m, &n) && memo_put(m, n);                          /* PUT */
    case 'q':  return little(m, 1, &n) && memo_put(m, n);                           /* BINPUT */
    case 'r':  return little(m, 4, &n) && memo_put(m, n);                           /* LONG_BINPUT */
    case 0x94: return memo_put(m, m->memo_next);                                    /* MEMOIZE */
    case 'c':  return push(m, line_symbol(m));                                      /* GLOBAL */
    case 0x93: return push_stack_symbol(m);                                         /* STACK_GLOBAL */
    case 0x82: return little(m, 1, &n) && push(m, new_value(m, TS_PICKLE_OBJECT));  /* EXT1 */
    case 0x83: return little(m, 2, &n) && push(m, new_value(m, TS_PICKLE_OBJECT));  /* EXT2 */
    case 0x84: return little(m, 4, &n) && push(m, new_value(m, TS_PICKLE_OBJECT));  /* EXT4 */
    case 'P':  return persistent_line(m);                                           /* PERSID */
    case 'Q':  return persistent(m, pop(m));                                        /* BINPERSID */
    case 'R':                                                                       /* REDUCE */
    case 0x81: return reduce(m);                                                    /* NEWOBJ */
    case 0x92: return pop(m) && reduce(m);                                          /* NEWOBJ_EX: keyword arguments are dropped */
    case 'b':  return build(m);                                                     /* BUILD */
    case 'i':  return instance(m, false);                                           /* INST */
    case 'o':  return instance(m, true);                                            /* OBJ */
    default:   return broken(m, "an unknown opcode");
    }
    /* clang-format on */
}

static bool run(machine *m)
{
    for (;;) {
        const uint8_t *opcode = bytes(m, 1);
        if (!opcode) return false;
        if (*opcode == '.') break; /* STOP */
        if (!step(m, *opcode)) return false;
    }
    m->pickle->root = pop(m);
    return m->pickle->root != NULL;
}

ts_pickle *ts_pickle_read(const void *data, size_t size, const char *label, ts_error *err)
{
    ts_pickle *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", label);
        return NULL;
    }
    machine m = {.pickle = p, .begin = data, .at = data, .end = (const uint8_t *)data + size, .label = label, .err = err};
    bool ok = run(&m);
    free(m.stack);
    free(m.marks);
    free(m.memo);
    p->size = (size_t)(m.at - m.begin);
    if (ok) return p;
    ts_pickle_free(p);
    return NULL;
}

void ts_pickle_free(ts_pickle *p)
{
    if (!p) return;
    for (chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(p->persistent);
    free(p);
}

const ts_pickle_value *ts_pickle_root(const ts_pickle *p)
{
    return p->root;
}

size_t ts_pickle_size(const ts_pickle *p)
{
    return p->size;
}

const ts_pickle_value *const *ts_pickle_persistent(const ts_pickle *p, size_t *count)
{
    *count = p->persistent_count;
    return p->persistent;
}

bool ts_pickle_is_text(const ts_pickle_value *v, const char *text)
{
    size_t size = strlen(text);
    return v && v->kind == TS_PICKLE_STRING && v->text.size == size && memcmp(v->text.bytes, text, size) == 0;
}

bool ts_pickle_is_symbol(const ts_pickle_value *v, const char *module, const char *name)
{
    return v && v->kind == TS_PICKLE_SYMBOL && ts_pickle_is_text(v->symbol.module, module) &&
           ts_pickle_is_text(v->symbol.name, name);
}

const ts_pickle_value *ts_pickle_get(const ts_pickle_value *dict, const char *key)
{
    if (!dict || dict->kind != TS_PICKLE_DICT) return NULL;
    for (size_t i = dict->list.count; i >= 2; i -= 2) {
        if (ts_pickle_is_text(dict->list.items[i - 2], key)) return dict->list.items[i - 1];
    }
    return NULL;
}
