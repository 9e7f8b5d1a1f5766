/* unicode.c - UTF-8, letters, numbers and lower case by tables of our own: the C library's answers depend on a locale that a
 * library has no right to set, and differ between systems; token ids may not. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

typedef struct {
    uint32_t first, last;
} code_range;

typedef struct {
    uint32_t first, last;
    int32_t step, distance;
} lower_run;

#include "text/unicode_table.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- runes --------------------------------------------------------------------------------------------------- */

bool ts_runes_push(ts_runes *r, uint32_t c, ts_error *err)
{
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        uint32_t *grown = realloc(r->at, room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "no memory for a text");
        r->at = grown;
        r->room = room;
    }
    r->at[r->count++] = c;
    return true;
}

void ts_runes_clear(ts_runes *r)
{
    free(r->at);
    *r = (ts_runes){0};
}

/* Over-long forms, surrogates and what lies beyond U+10FFFF are not UTF-8. */
int ts_rune_decode(const uint8_t *s, size_t left, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    int length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc0 || s[0] > 0xf7 || (size_t)length > left) return 0;
    *c = s[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        *c = *c << 6 | (s[i] & 0x3fu);
    }
    return *c < least[length] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : length;
}

bool ts_runes_decode(ts_runes *r, const char *text, ts_error *err)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + strlen(text);
    for (const uint8_t *at = s; *at;) {
        uint32_t c;
        int length = ts_rune_decode(at, (size_t)(end - at), &c);
        if (length == 0)
            return ts_fail(err, TS_ERR_FORMAT, "the text is not UTF-8: byte %zu is 0x%02x and does not fit there",
                           (size_t)(at - s), *at);
        if (!ts_runes_push(r, c, err)) return false;
        at += length;
    }
    return true;
}

int ts_rune_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(0xf00u >> length | c);
    return length;
}

/* ---- classes ------------------------------------------------------------------------------------------------- */

static bool holds(const code_range *table, size_t count, uint32_t c)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > table[mid].last) low = mid + 1;
        else high = mid;
    }
    return low < count && c >= table[low].first;
}

bool ts_rune_letter(uint32_t c)
{
    if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return holds(LETTERS, COUNT(LETTERS), c);
}

bool ts_rune_number(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    return holds(NUMBERS, COUNT(NUMBERS), c);
}

bool ts_rune_decimal(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    return holds(DECIMALS, COUNT(DECIMALS), c);
}

bool ts_rune_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* ---- lower case ---------------------------------------------------------------------------------------------- */

static uint32_t lower_one(uint32_t c)
{
    size_t low = 0, high = COUNT(LOWER);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > LOWER[mid].last) low = mid + 1;
        else high = mid;
    }
    const lower_run *run = &LOWER[low];
    if (low == COUNT(LOWER) || c < run->first || (c - run->first) % (uint32_t)run->step != 0) return c;
    return (uint32_t)((int32_t)c + run->distance);
}

/* A sigma ends a word where a letter with a case stands before it and none after it, marks and the like passed over (Unicode
 * Standard, 3.13, Final_Sigma). */
static bool ends_word(const ts_runes *r, size_t at)
{
    size_t i = at, j = at + 1;
    while (i > 0 && holds(IGNORABLE, COUNT(IGNORABLE), r->at[i - 1])) i--;
    if (i == 0 || !holds(CASED, COUNT(CASED), r->at[i - 1])) return false;
    while (j < r->count && holds(IGNORABLE, COUNT(IGNORABLE), r->at[j])) j++;
    return j == r->count || !holds(CASED, COUNT(CASED), r->at[j]);
}

bool ts_runes_lower(const ts_runes *in, ts_runes *out, ts_error *err)
{
    enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2, DOTTED_I = 0x130, DOT_ABOVE = 0x307 };
    for (size_t i = 0; i < in->count; i++) {
        uint32_t c = in->at[i];
        if (c == SIGMA && ends_word(in, i)) c = FINAL_SIGMA;
        else if (c == DOTTED_I) c = 'i';
        else c = lower_one(c);
        if (!ts_runes_push(out, c, err)) return false;
        if (in->at[i] == DOTTED_I && !ts_runes_push(out, DOT_ABOVE, err)) return false;
    }
    return true;
}
