/* entity.c - HTML's character references undone: the texts that CLIP learned came from web pages, some escaped twice. All 2231
 * names of HTML5, numbers, and the standard's rules for the broken ones, as Python's html.unescape has them. */
#include <string.h>

#include "text/tokenizer.h"

typedef struct {
    const char *name, *text;
} entity;

#include "text/entity_table.h"

enum { LONGEST = 32, LAST_POINT = 0x10ffff, REPLACEMENT = 0xfffd };

static const entity *find(const char *name)
{
    size_t low = 0, high = sizeof ENTITIES / sizeof *ENTITIES;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(name, ENTITIES[mid].name);
        if (order == 0) return &ENTITIES[mid];
        if (order > 0) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

const char *ts_entity_text(const char *name)
{
    const entity *e = find(name);
    return e ? e->text : NULL;
}

/* What a number stands for; -1: nothing. Numbers 128 to 159 mean what Windows put there. */
static int64_t numbered(uint32_t n)
{
    static const uint16_t windows[32] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
                                         0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                         0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    if (n >= 0x80 && n < 0xa0) return windows[n - 0x80];
    if (n == 0 || n > LAST_POINT || (n >= 0xd800 && n < 0xe000)) return REPLACEMENT;
    bool control = n < 0x20 && n != '\t' && n != '\n' && n != '\f' && n != '\r';
    bool nothing = n == 0x7f || (n >= 0xfdd0 && n <= 0xfdef) || (n & 0xfffe) == 0xfffe;
    return control || nothing ? -1 : (int64_t)n;
}

static int digit(uint32_t c, uint32_t base)
{
    if (c >= '0' && c <= '9') return (int)(c - '0');
    if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (int)((c | 0x20) - 'a' + 10);
    return -1;
}

/* A reference by number at `at`, which is a '&' followed by '#'. Returns where it ends, 0 where there is none. */
static size_t read_number(const ts_runes *r, size_t at, uint32_t *number)
{
    uint32_t base = at + 2 < r->count && (r->at[at + 2] | 0x20) == 'x' ? 16 : 10;
    size_t from = at + (base == 16 ? 3 : 2), i = from;
    int d;
    *number = 0;
    for (; i < r->count && (d = digit(r->at[i], base)) >= 0; i++)
        if (*number <= LAST_POINT) *number = *number * base + (uint32_t)d; /* beyond the last, more digits change nothing */
    if (i == from) return 0;
    return i < r->count && r->at[i] == ';' ? i + 1 : i;
}

/* A reference by name at `at`, a '&': the name with its semicolon or, where there is no such name, the longest that it begins
 * with. Names of one letter do not count. Returns where it ends, 0 where there is none. */
static size_t read_name(const ts_runes *r, size_t at, const entity **out)
{
    char name[LONGEST + 2];
    size_t n = 0;
    for (; n < LONGEST && at + 1 + n < r->count; n++) {
        uint32_t c = r->at[at + 1 + n];
        if (c >= 0x80 || strchr("\t\n\f <&#;", (int)c)) break; /* no name holds what is not ASCII */
        name[n] = (char)c;
    }
    if (at + 1 + n < r->count && r->at[at + 1 + n] == ';') name[n++] = ';';
    for (; n >= 2; n--) {
        name[n] = '\0';
        if ((*out = find(name))) return at + 1 + n;
    }
    return 0;
}

void ts_runes_unescape(ts_runes *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count;) {
        size_t end = 0;
        uint32_t number = 0;
        const entity *named = NULL;
        if (r->at[i] == '&') {
            end = i + 1 < r->count && r->at[i + 1] == '#' ? read_number(r, i, &number) : read_name(r, i, &named);
        }
        if (end == 0) {
            r->at[kept++] = r->at[i++];
            continue;
        }
        if (named) {
            /* One or two code points, of our own table: its UTF-8 is whole. */
            for (const uint8_t *s = (const uint8_t *)named->text; *s;) {
                uint32_t c = *s;
                int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
                if (more) c &= 0x3fu >> more;
                for (s++; more > 0; more--, s++) c = c << 6 | (*s & 0x3fu);
                r->at[kept++] = c;
            }
        } else {
            int64_t c = numbered(number);
            if (c >= 0) r->at[kept++] = (uint32_t)c;
        }
        i = end;
    }
    r->count = kept;
}
