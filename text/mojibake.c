/* mojibake.c - texts that were read by the wrong code page, put right: UTF-8 read as Latin-1, Windows-1252 and the like, once or
 * several times. What to look for, and in which order, is what the package ftfy (6.3) has learned of such texts, and the
 * published tokenizer repairs its texts by it. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

typedef struct {
    uint32_t first, last, classes;
} class_run;

#include "text/mojibake_table.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- what a character is ----------------------------------------------------------------------------------------- */

/* The bits of the table, and behind them those of ASCII and of places. */
enum {
    COMMON = 1 << 0,
    C1 = 1 << 1,
    BAD = 1 << 2,
    LAW = 1 << 3,
    CURRENCY = 1 << 4,
    START = 1 << 5, /* of quotations */
    END = 1 << 6,
    NUMERIC = 1 << 7,
    KAOMOJI = 1 << 8,
    UPPER_ACCENTED = 1 << 9,
    LOWER_ACCENTED = 1 << 10,
    UPPER_COMMON = 1 << 11,
    LOWER_COMMON = 1 << 12,
    BOX = 1 << 13,
    FIRST_OF_2 = 1 << 14, /* of a UTF-8 sequence, read wrongly */
    FIRST_OF_3 = 1 << 15,
    FIRST_OF_4 = 1 << 16,
    CONTINUATION = 1 << 17,
    CONTINUATION_STRICT = 1 << 18,
    LOWER = 1 << 19, /* a to z */
    UPPER = 1 << 20, /* A to Z */
    SPACE = 1 << 21,
    WORD = 1 << 22,    /* a letter, a number, an underscore */
    OTHER = 1 << 23,   /* neither LOWER nor UPPER */
    IN_LINE = 1 << 24, /* no line feed */
    ACCENTED = UPPER_ACCENTED | LOWER_ACCENTED,
    QUOTE = START | END,
};

static uint32_t classes_of(uint32_t c)
{
    size_t low = 0, high = COUNT(CLASSES);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > CLASSES[mid].last) low = mid + 1;
        else high = mid;
    }
    uint32_t bits = low < COUNT(CLASSES) && c >= CLASSES[low].first ? CLASSES[low].classes : 0;
    bits |= c >= 'a' && c <= 'z' ? LOWER : c >= 'A' && c <= 'Z' ? UPPER : OTHER;
    if (ts_rune_space(c) || (c >= 0x1c && c <= 0x1f)) bits |= SPACE;
    if (c == '_' || ts_rune_letter(c) || ts_rune_number(c)) bits |= WORD;
    return c == '\n' ? bits : bits | IN_LINE;
}

/* ---- whether a text is bad --------------------------------------------------------------------------------------- */

/* What one place of an unlikely sequence holds: a character of these classes, or one of these. */
typedef struct {
    uint32_t classes;
    uint16_t these[16];
} place;

/* Sequences that hardly stand in a text as it was meant, a rule a line; an empty place ends it. */
static const place UNLIKELY[][8] = {
    {{C1, {0}}},
    {{BAD | ACCENTED | BOX | QUOTE | CURRENCY | NUMERIC | LAW, {0}}, {BAD, {0}}},
    {{LOWER | UPPER, {0}}, {LOWER_COMMON | UPPER_COMMON, {0}}, {BAD, {0}}},
    {{BAD, {0}}, {ACCENTED | BOX | QUOTE | CURRENCY | NUMERIC | LAW, {0}}},
    {{LOWER_ACCENTED | LOWER_COMMON | BOX | END | CURRENCY | NUMERIC, {0}}, {UPPER_ACCENTED, {0}}},
    {{BOX | END | CURRENCY | NUMERIC, {0}}, {LOWER_ACCENTED, {0}}},
    {{LOWER_ACCENTED | BOX | END, {0}}, {CURRENCY, {0}}},
    {{SPACE, {0}}, {UPPER_ACCENTED, {0}}, {CURRENCY, {0}}},
    {{UPPER_ACCENTED | BOX, {0}}, {NUMERIC | LAW, {0}}},
    {{ACCENTED | BOX | CURRENCY | END, {0}}, {START, {0}}, {NUMERIC, {0}}},
    {{ACCENTED | CURRENCY | NUMERIC | BOX | LAW, {0}}, {END, {0}}, {START, {0}}},
    {{CURRENCY | NUMERIC | BOX, {0}}, {START, {0}}},
    {{LOWER, {0}}, {UPPER_ACCENTED, {0}}, {START | CURRENCY, {0}}},
    {{BOX, {0}}, {KAOMOJI, {0}}},
    {{ACCENTED | CURRENCY | NUMERIC | QUOTE | LAW, {0}}, {BOX, {0}}},
    {{BOX, {0}}, {END, {0}}},
    {{ACCENTED, {0}}, {QUOTE, {0}}, {WORD, {0}}},
    {{0, {0x152, 0x153}}, {OTHER, {0}}},
    {{UPPER_ACCENTED, {0}}, {0, {0xb0}}},
    {{0, {0xc2, 0xc3, 0xce, 0xd0}},
     {QUOTE, {0x20ac, 0x153, 0x160, 0x161, 0xa2, 0xa3, 0x178, 0x17e, 0xa0, 0xad, 0xb0, 0xb7, 0x2013, 0x2014, 0xb4}}},
    {{0, {0xd7}}, {0, {0xb2, 0xb3}}},
    {{0, {0xd8, 0xd9}},
     {COMMON | CURRENCY | BAD | NUMERIC | START, {0x178, 0x160, 0xae, 0xb0, 0xb5, 0xbb}},
     {0, {0xd8, 0xd9}},
     {COMMON | CURRENCY | BAD | NUMERIC | START, {0x178, 0x160, 0xae, 0xb0, 0xb5, 0xbb}}},
    {{0, {0xe0}}, {0, {0xb2, 0xb5, 0xb9, 0xbc, 0xbd, 0xbe}}},
    {{0, {0x221a}}, {0, {0xb1, 0x2202, 0x2020, 0x2260, 0xae, 0x2122, 0xb4, 0x2264, 0x2265, 0xa5, 0xb5, 0xf8}}},
    {{0, {0x2248}}, {0, {0xb0, 0xa2}}},
    {{0, {0x201a}}, {0, {0xc4}}, {0, {0xec, 0xee, 0xef, 0xf2, 0xf4, 0xfa, 0xf9, 0xfb, 0x2020, 0xb0, 0xa2, 0x3c0}}},
    {{0, {0x201a}}, {0, {0xe2, 0xf3}}, {0, {0xe0, 0xe4, 0xb0, 0xea}}},
    {{0, {0x432}}, {0, {0x402}}},
    {{0, {0x412, 0x413, 0x420, 0x421}}, {C1 | BAD | QUOTE | CURRENCY, {0xb0, 0xb5}}, {0, {0x412, 0x413, 0x420, 0x421}}},
    {{0, {0x413}}, {0, {0x45e}}, {0, {0x412}}, {0, {0x402}}, {0, {0x412}}, {IN_LINE, {0}}, {LOWER | UPPER, {' '}}},
    {{0, {0xc3}}, {0, {0xa0, 0xa1}}},
    {{LOWER, {0}}, {0, {0xc3, 0xc2}}, {0, {' '}}},
    {{LOWER, {0}}, {SPACE, {0}}, {0, {0xc3, 0xc2}}, {0, {' '}}},
    {{LOWER | END, {'.', ',', '?', '!'}}, {0, {0xc2}}, {QUOTE, {' '}}},
    {{0, {0x3b2}}, {0, {0x20ac}}, {0, {0x2122, 0xa0, 0x386, 0xad, 0xae, 0xb0}}},
    {{0, {0x392, 0x393, 0x39e, 0x39f}}, {C1 | BAD | QUOTE | CURRENCY, {0xb0}}, {0, {0x392, 0x393, 0x39e, 0x39f}}},
    {{0, {0x101}}, {0, {0x20ac}}},
};

static bool fits(const place *p, uint32_t c, uint32_t classes)
{
    if (p->classes & classes) return true;
    for (const uint16_t *one = p->these; *one; one++)
        if (*one == c) return true;
    return false;
}

static bool is_end(const place *p)
{
    return p->classes == 0 && p->these[0] == 0;
}

static bool stands(const place *rule, const uint32_t *text, const uint32_t *classes, size_t left)
{
    for (size_t i = 0; !is_end(&rule[i]); i++)
        if (i == left || !fits(&rule[i], text[i], classes[i])) return false;
    return true;
}

static bool is_bad(const uint32_t *text, const uint32_t *classes, size_t count)
{
    if (count > 1 && (text[0] == 0xc2 || text[0] == 0xc3) && text[1] == ' ')
        return true; /* a line that begins with an A and a blank */
    for (size_t i = 0; i < count; i++)
        for (size_t rule = 0; rule < COUNT(UNLIKELY); rule++)
            if (stands(UNLIKELY[rule], text + i, classes + i, count - i)) return true;
    return false;
}

/* ---- characters to bytes ----------------------------------------------------------------------------------------- */

/* Code pages by number: Latin-1, then those of the table. */
enum { LATIN_1, WINDOWS_1252, WINDOWS_LAST = 6, ISO_8859_2, MAC_ROMAN, CP_437, CODE_PAGES_ALL };

typedef struct {
    uint8_t *at;
    size_t count;
} bytes;

/* Windows' pages stand for what was lost by the byte 0x1a. */
static bool is_sloppy(int page)
{
    return page >= WINDOWS_1252 && page <= WINDOWS_LAST;
}

/* The byte that a character has in a code page; -1: none. */
static int byte_of(uint32_t c, int page)
{
    if (c < 0x80) return c == 0x1a && is_sloppy(page) ? -1 : (int)c;
    if (page == LATIN_1) return c < 0x100 ? (int)c : -1;
    if (c == 0xfffd) return is_sloppy(page) ? 0x1a : -1;
    const uint16_t *points = CODE_PAGES[page - 1];
    for (int i = 0; i < 128; i++)
        if (points[i] == c) return 0x80 + i;
    return -1;
}

/* A text in a code page; there is room for half as much again. */
static bool encode(const uint32_t *text, size_t count, int page, bytes *out)
{
    for (out->count = 0; out->count < count; out->count++) {
        const int b = byte_of(text[out->count], page);
        if (b < 0) return false;
        out->at[out->count] = (uint8_t)b;
    }
    return true;
}

/* ---- bytes that were lost ---------------------------------------------------------------------------------------- */

/* A place of a sequence of bytes: one of first ... last, or 0x1a, or '?'. */
typedef struct {
    uint8_t first, last;
    bool lost, question;
} byte_place;

static bool byte_fits(const byte_place *p, uint8_t b)
{
    return (b >= p->first && b <= p->last) || (p->lost && b == 0x1a) || (p->question && b == '?');
}

/* How many bytes the first of the sequences that stands at `s` has; 0: none stands there. */
static size_t find(const byte_place (*list)[6], size_t count, const uint8_t *s, size_t left)
{
    for (size_t rule = 0; rule < count; rule++) {
        size_t i = 0;
        while (i < 6 && list[rule][i].last && i < left && byte_fits(&list[rule][i], s[i])) i++;
        if (i == 6 || !list[rule][i].last) return i;
    }
    return 0;
}

#define IS(b)                                                                                                                    \
    {                                                                                                                            \
        b, b, false, false                                                                                                       \
    }
#define TO(a, b)                                                                                                                 \
    {                                                                                                                            \
        a, b, false, false                                                                                                       \
    }
#define GONE                                                                                                                     \
    {                                                                                                                            \
        0x1a, 0x1a, false, true                                                                                                  \
    } /* 0x1a or '?' */
#define MORE                                                                                                                     \
    {                                                                                                                            \
        0x80, 0xbf, true, false                                                                                                  \
    } /* a continuation, or 0x1a */
#define MORE_GONE                                                                                                                \
    {                                                                                                                            \
        0x80, 0xbf, true, true                                                                                                   \
    } /* or either */

/* Sequences of which some bytes became 0x1a or '?'. */
static const byte_place LOSSY[][6] = {
    {TO(0xc2, 0xdf), IS(0x1a)},
    {TO(0xc2, 0xc3), IS('?')},
    {IS(0xed), TO(0xa0, 0xaf), GONE, IS(0xed), TO(0xb0, 0xbf), MORE_GONE},
    {IS(0xed), TO(0xa0, 0xaf), MORE_GONE, IS(0xed), TO(0xb0, 0xbf), GONE},
    {TO(0xe0, 0xef), GONE, MORE},
    {TO(0xe0, 0xef), MORE, GONE},
    {TO(0xf0, 0xf4), GONE, MORE, MORE},
    {TO(0xf0, 0xf4), MORE, GONE, MORE},
    {TO(0xf0, 0xf4), MORE, MORE, GONE},
    {IS(0x1a)},
};

/* Each becomes U+FFFD. `out` has three times the room. */
static void replace_lossy(const bytes *in, bytes *out)
{
    out->count = 0;
    for (size_t i = 0; i < in->count;) {
        const size_t length = find(LOSSY, COUNT(LOSSY), in->at + i, in->count - i);
        if (length > 0) {
            memcpy(out->at + out->count, "\xef\xbf\xbd", 3);
            out->count += 3;
        } else {
            out->at[out->count++] = in->at[i];
        }
        i += length ? length : 1;
    }
}

#define CONTINUES TO(0x80, 0xbf)

/* Sequences that are UTF-8 if the blank in them was a no-break space, whose byte is 0xa0; where three bytes are told, 0x85 and
 * 0xa0 are no continuation. */
static const byte_place BLANK[][6] = {
    {TO(0xc2, 0xc3), IS(' ')},
    {IS(0xc5), IS(' ')},
    {IS(0xce), IS(' ')},
    {IS(0xd0), IS(' ')},
    {IS(0xd9), IS(' ')},
    {TO(0xe2, 0xe3), IS(' '), CONTINUES},
    {TO(0xe0, 0xe3), CONTINUES, IS(' ')},
    {IS(0xf0), IS(' '), CONTINUES, CONTINUES},
    {IS(0xf0), CONTINUES, IS(' '), CONTINUES},
    {IS(0xf0), CONTINUES, CONTINUES, IS(' ')},
};

static size_t blank_at(const bytes *b, size_t at)
{
    const uint8_t *s = b->at + at;
    const size_t length = find(BLANK, COUNT(BLANK), s, b->count - at);
    if (length != 3) return length;
    const uint8_t other = s[1] == ' ' ? s[2] : s[1];
    return other == 0x85 || other == 0xa0 ? 0 : length;
}

/* Whether an A with a grave and a blank is the word that it is in Romance languages, and no byte of "a grave" alone. */
static bool is_a_grave(const bytes *b, size_t at)
{
    static const char *const joined[] = {" ", "quele", "quela", "quilo", "s "};
    if (b->at[at] != 0xc3 || at + 1 >= b->count || b->at[at + 1] != ' ') return false;
    for (size_t i = 0; i < COUNT(joined); i++) {
        const size_t length = strlen(joined[i]);
        if (at + 2 + length <= b->count && memcmp(b->at + at + 2, joined[i], length) == 0) return false;
    }
    return true;
}

/* Puts 0xa0 back in the place of blanks, by way of `other`, which has room for half as much again. False: there is nothing to do.
 */
static bool restore_blanks(bytes *b, bytes *other)
{
    bool any = false;
    for (size_t i = 0; i < b->count && !any; i++) any = blank_at(b, i) > 0;
    if (!any) return false;
    other->count = 0;
    for (size_t i = 0; i < b->count; i++) {
        const bool word = is_a_grave(b, i);
        other->at[other->count++] = b->at[i];
        if (word) other->at[other->count++] = 0xa0;
    }
    for (size_t i = 0; i < other->count;) {
        const size_t length = blank_at(other, i);
        for (size_t k = 0; k < length; k++)
            if (other->at[i + k] == ' ') other->at[i + k] = 0xa0;
        i += length ? length : 1;
    }
    return true;
}

/* ---- bytes to characters ----------------------------------------------------------------------------------------- */

static bool continues(const bytes *b, size_t at, uint8_t first, uint8_t last)
{
    return at < b->count && b->at[at] >= first && b->at[at] <= last;
}

/* A character above U+FFFF in six bytes, as a pair of surrogates encoded one by one. */
static bool is_pair(const bytes *b, size_t at)
{
    return b->at[at] == 0xed && continues(b, at + 1, 0xa0, 0xaf) && continues(b, at + 2, 0x80, 0xbf) &&
           continues(b, at + 3, 0xed, 0xed) && continues(b, at + 4, 0xb0, 0xbf) && continues(b, at + 5, 0x80, 0xbf);
}

/* UTF-8, and its forms in which 0 has two bytes and characters above U+FFFF six. False: it is none (*ok), or there is no memory.
 */
static bool decode(const bytes *b, ts_runes *out, bool *ok, ts_error *err)
{
    out->count = 0;
    *ok = true;
    for (size_t at = 0; at < b->count;) {
        const uint8_t *s = b->at + at;
        uint32_t c = 0;
        int length;
        if (is_pair(b, at)) {
            c = 0x10000u + ((s[1] & 0x0fu) << 16) + ((s[2] & 0x3fu) << 10) + ((s[4] & 0x0fu) << 6) + (s[5] & 0x3fu);
            length = 6;
        } else if (s[0] == 0xc0 && (continues(b, at + 1, 0x80, 0x80) || (at + 2 == b->count && s[1] == '\n'))) {
            length = 2; /* also at the end of a line, whose end is lost: as published */
        } else {
            length = ts_rune_decode(s, b->count - at, &c);
        }
        if (length == 0) {
            *ok = false;
            return true;
        }
        if (!ts_runes_push(out, c, err)) return false;
        at += (size_t)length;
    }
    return true;
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

static bool copy(const uint32_t *text, size_t count, ts_runes *out, ts_error *err)
{
    out->count = 0;
    for (size_t i = 0; i < count; i++)
        if (!ts_runes_push(out, text[i], err)) return false;
    return true;
}

/* The text as UTF-8 that was read by a code page: the first one by which it is whole UTF-8. `latin`: it could be Latin-1. */
static bool reread(const uint32_t *text, size_t count, ts_runes *out, bool *done, bool *latin, ts_error *err)
{
    uint8_t *room = malloc(8 * count + 16);
    if (!room) return ts_fail(err, TS_ERR_MEMORY, "no memory for a text");
    bool ok = true;
    *done = *latin = false;
    for (int page = 0; ok && !*done && page < CODE_PAGES_ALL; page++) {
        bytes plain = {room, 0}, restored = {room + count, 0}, whole = {room + 3 * count, 0};
        const bytes *b = &plain;
        if (!encode(text, count, page, &plain)) continue;
        *latin = *latin || page == LATIN_1;
        if (page != MAC_ROMAN && restore_blanks(&plain, &restored)) b = &restored;
        if (is_sloppy(page)) {
            replace_lossy(b, &whole);
            b = &whole;
        }
        ok = decode(b, out, done, err);
    }
    free(room);
    return ok;
}

/* ---- UTF-8 within another text ----------------------------------------------------------------------------------- */

/* Where a run of wrongly read UTF-8 sequences that begins at `at` ends; `at`: none does. */
static size_t run_end(const uint32_t *classes, size_t count, size_t at)
{
    if (at > 0 && (classes[at - 1] & CONTINUATION_STRICT)) return at;
    for (;;) {
        if (at == count) return at;
        const uint32_t c = classes[at];
        const size_t more = c & FIRST_OF_2 ? 1 : c & FIRST_OF_3 ? 2 : c & FIRST_OF_4 ? 3 : 0;
        if (more == 0 || more >= count - at) return at;
        for (size_t i = 1; i <= more; i++)
            if (!(classes[at + i] & CONTINUATION)) return at;
        at += more + 1;
    }
}

/* Runs that look bad are repaired by themselves. `any`: there was a run. */
static bool repair_runs(const uint32_t *text, const uint32_t *classes, size_t count, ts_runes *out, bool *any, ts_error *err)
{
    out->count = 0;
    *any = false;
    for (size_t at = 0; at < count;) {
        const size_t end = run_end(classes, count, at);
        size_t taken = end > at ? end - at : 1;
        ts_runes part = {0};
        *any = *any || end > at;
        bool ok = true;
        if (end > at && taken < count && is_bad(text + at, classes + at, taken)) {
            ok = ts_runes_recode(text + at, taken, &part, err);
            for (size_t i = 0; ok && i < part.count; i++) ok = ts_runes_push(out, part.at[i], err);
        } else {
            for (size_t i = 0; ok && i < taken; i++) ok = ts_runes_push(out, text[at + i], err);
        }
        ts_runes_clear(&part);
        if (!ok) return false;
        at += taken;
    }
    return true;
}

/* ---- control characters that Windows uses ------------------------------------------------------------------------ */

uint32_t ts_rune_of_windows(uint32_t c)
{
    return c >= 0x80 && c < 0xa0 ? CODE_PAGES[WINDOWS_1252 - 1][c - 0x80] : c;
}

/* C1's characters as Windows-1252 has them. `strict`: not where it has none for one of them. False: nothing changes. */
static bool from_windows(const uint32_t *text, size_t count, bool strict, ts_runes *out)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        const uint32_t c = ts_rune_of_windows(text[i]);
        if (strict && c >= 0x80 && c < 0xa0) return false;
        changed = changed || c != text[i];
        out->at[i] = c;
    }
    return changed;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool same(const ts_runes *r, const uint32_t *text, size_t count)
{
    return r->count == count && (count == 0 || memcmp(r->at, text, count * sizeof *text) == 0);
}

/* One step: `out` is the text, or what it was before one mistake. `classes` has room for it. */
static bool step(const uint32_t *text, size_t count, uint32_t *classes, ts_runes *out, ts_error *err)
{
    bool done = false, latin = false, any = false;
    uint32_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        classes[i] = classes_of(text[i]);
        if (text[i] > highest) highest = text[i];
    }
    if (highest < 0x80 || !is_bad(text, classes, count)) return copy(text, count, out, err);
    if (!reread(text, count, out, &done, &latin, err)) return false;
    if (done) return true;
    if (!repair_runs(text, classes, count, out, &any, err)) return false;
    if (any && !same(out, text, count)) return true;
    if (!copy(text, count, out, err)) return false;
    if (latin && from_windows(text, count, true, out)) return true;
    from_windows(text, count, false, out);
    return true;
}

bool ts_runes_recode(const uint32_t *text, size_t count, ts_runes *out, ts_error *err)
{
    ts_runes next = {0};
    uint32_t *classes = malloc((count + 1) * sizeof *classes);
    bool ok = classes ? copy(text, count, out, err) : ts_fail(err, TS_ERR_MEMORY, "no memory for a text");
    for (bool again = true; ok && again;) {
        ok = step(out->at, out->count, classes, &next, err); /* which is never longer */
        again = ok && !same(&next, out->at, out->count);
        const ts_runes before = *out;
        *out = next;
        next = before;
    }
    free(classes);
    ts_runes_clear(&next);
    return ok;
}
