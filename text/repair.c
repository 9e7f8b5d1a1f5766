/* repair.c - what is broken in a text, mended before it is cut into words: the published tokenizer hands its texts to the package
 * ftfy first, and what it learned is what comes out of there. Wrong encodings (mojibake.c), HTML's references, curled quotation
 * marks, ligatures, widths, line ends, escapes of terminals, control characters; and Unicode's normal form C. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

typedef struct {
    uint32_t wide, first, second; /* second 0: it is one */
} width;

typedef struct {
    const char *name, *text;
} entity;

#include "text/repair_table.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Code points of a line that are looked at together; a longer one goes in pieces, as published. */
enum { LONGEST_PIECE = 1000000, LONGEST_NAME = 24 };

/* ---- references -------------------------------------------------------------------------------------------------- */

static bool is_alphanumeric(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c < 0x80 && (c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static const char *capital(const char *name)
{
    size_t low = 0, high = COUNT(CAPITALS);
    while (low < high) {
        const size_t mid = (low + high) / 2;
        const int order = strcmp(name, CAPITALS[mid].name);
        if (order == 0) return CAPITALS[mid].text;
        if (order > 0) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

/* The reference at `at`, a '&', with its semicolon: where it ends; 0: there is none. */
static size_t reference_end(const ts_runes *r, size_t at)
{
    size_t i = at + 1, name;
    if (i < r->count && r->at[i] == '#') i++;
    for (name = i; i < r->count && i - name <= LONGEST_NAME && is_alphanumeric(r->at[i]); i++) {}
    return i > name && i - name <= LONGEST_NAME && i < r->count && r->at[i] == ';' ? i + 1 : 0;
}

/* What r[at ... end) stands for, appended to `out`, or itself. Unlike HTML's own rules these want the whole name and know more in
 * capitals. */
static bool push_reference(const ts_runes *r, size_t at, size_t end, ts_runes *out, ts_error *err)
{
    char name[LONGEST_NAME + 3] = "";
    for (size_t i = at + 1; i < end; i++) name[i - at - 1] = (char)r->at[i];
    if (name[0] != '#') {
        const char *text = ts_entity_text(name);
        if (!text) text = capital(name);
        if (text) return ts_runes_decode(out, text, err);
    } else {
        const size_t from = out->count;
        ts_runes part = {0};
        bool ok = true, whole = true;
        for (size_t i = at; ok && i < end; i++) ok = ts_runes_push(&part, r->at[i], err);
        if (ok) ts_runes_unescape(&part);
        for (size_t i = 0; i < part.count; i++) whole = whole && part.at[i] != ';';
        for (size_t i = 0; ok && whole && i < part.count; i++) ok = ts_runes_push(out, part.at[i], err);
        ts_runes_clear(&part);
        if (!ok || whole) return ok;
        out->count = from;
    }
    for (size_t i = at; i < end; i++)
        if (!ts_runes_push(out, r->at[i], err)) return false;
    return true;
}

static bool unescape(const ts_runes *r, ts_runes *out, ts_error *err)
{
    out->count = 0;
    for (size_t i = 0; i < r->count;) {
        const size_t end = r->at[i] == '&' ? reference_end(r, i) : 0;
        if (end ? !push_reference(r, i, end, out, err) : !ts_runes_push(out, r->at[i], err)) return false;
        i = end ? end : i + 1;
    }
    return true;
}

/* ---- characters -------------------------------------------------------------------------------------------------- */

static const char *ligature(uint32_t c)
{
    static const char *const latin[] = {"ff", "fi", "fl", "ffi", "ffl", "\305\277t", "st"}; /* U+FB00 on */
    static const char *const pairs[] = {"D\305\275", "D\305\276", "d\305\276", "LJ", "Lj",
                                        "lj",        "NJ",        "Nj",        "nj"}; /* U+01C4 on */
    static const char *const zeds[] = {"DZ", "Dz", "dz"};                             /* U+01F1 on */
    if (c >= 0xfb00 && c <= 0xfb06) return latin[c - 0xfb00];
    if (c >= 0x1c4 && c <= 0x1cc) return pairs[c - 0x1c4];
    if (c >= 0x1f1 && c <= 0x1f3) return zeds[c - 0x1f1];
    return c == 0x132 ? "IJ" : c == 0x133 ? "ij" : c == 0x149 ? "\312\274n" : NULL;
}

static const width *narrowed(uint32_t c)
{
    size_t low = 0, high = COUNT(WIDTHS);
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (c > WIDTHS[mid].wide) low = mid + 1;
        else high = mid;
    }
    return low < COUNT(WIDTHS) && WIDTHS[low].wide == c ? &WIDTHS[low] : NULL;
}

static uint32_t straightened(uint32_t c)
{
    if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) return '\'';
    return c >= 0x201c && c <= 0x201f ? '"' : c;
}

/* One character after the other: C1 as Windows has it, ligatures, widths, quotation marks, line ends. */
static bool mend_characters(const ts_runes *r, ts_runes *out, ts_error *err)
{
    out->count = 0;
    for (size_t i = 0; i < r->count; i++) {
        const uint32_t c = ts_rune_of_windows(r->at[i]);
        const char *letters = ligature(c);
        const width *plain = letters ? NULL : narrowed(c);
        bool ok = true;
        if (letters) {
            const size_t from = out->count;
            ok = ts_runes_decode(out, letters, err);
            for (size_t k = from; k < out->count; k++) out->at[k] = straightened(out->at[k]);
        } else if (plain) {
            ok = ts_runes_push(out, plain->first, err) && (!plain->second || ts_runes_push(out, plain->second, err));
        } else if (c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029) {
            if (c == '\r' && i + 1 < r->count && r->at[i + 1] == '\n') continue; /* the line feed is the end */
            ok = ts_runes_push(out, '\n', err);
        } else {
            ok = ts_runes_push(out, c == 0x3000 ? ' ' : straightened(c), err);
        }
        if (!ok) return false;
    }
    return true;
}

/* ESC [ numbers letter: what colours a terminal's text. Where it ends; `at`: there is none. */
static size_t escape_end(const ts_runes *r, size_t at)
{
    size_t i = at + 2;
    if (r->at[at] != 0x1b || at + 1 >= r->count || r->at[at + 1] != '[') return at;
    while (i < r->count && (r->at[i] == ';' || ts_rune_decimal(r->at[i]))) i++;
    return i < r->count && r->at[i] < 0x80 && is_alphanumeric(r->at[i]) && r->at[i] > '9' ? i + 1 : at;
}

static bool is_control(uint32_t c)
{
    return c < 0x09 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f || (c >= 0x206a && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffc);
}

static void drop_escapes(ts_runes *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count;) {
        const size_t end = escape_end(r, i);
        if (end > i) i = end;
        else r->at[kept++] = r->at[i++];
    }
    r->count = kept;
    kept = 0;
    for (size_t i = 0; i < r->count; i++)
        if (!is_control(r->at[i])) r->at[kept++] = r->at[i];
    r->count = kept;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Over and over, until nothing changes: what was mended may show what else was broken. */
static bool repair_piece(ts_runes *piece, bool references, ts_error *err)
{
    ts_runes next = {0}, before = {0};
    bool ok = true;
    for (bool again = true; ok && again;) {
        before.count = 0;
        for (size_t i = 0; ok && i < piece->count; i++) ok = ts_runes_push(&before, piece->at[i], err);
        if (ok && references) {
            ok = unescape(piece, &next, err);
            const ts_runes old = *piece;
            *piece = next;
            next = old;
        }
        ok = ok && ts_runes_recode(piece->at, piece->count, &next, err) && mend_characters(&next, piece, err);
        if (ok) drop_escapes(piece);
        ok = ok && ts_runes_compose(piece, err);
        again = ok && (piece->count != before.count ||
                       (before.count > 0 && memcmp(piece->at, before.at, before.count * sizeof *before.at) != 0));
    }
    ts_runes_clear(&next);
    ts_runes_clear(&before);
    return ok;
}

bool ts_runes_repair(ts_runes *r, ts_error *err)
{
    ts_runes out = {0}, piece = {0};
    bool ok = true, references = true;
    for (size_t at = 0; ok && at < r->count; at += piece.count) {
        piece.count = 0;
        for (size_t i = at; ok && i < r->count && piece.count < LONGEST_PIECE; i++) {
            ok = ts_runes_push(&piece, r->at[i], err);
            if (r->at[i] == '<') references = false; /* from here on it is HTML, which knows what it means */
            if (r->at[i] == '\n') break;
        }
        const size_t taken = piece.count;
        ok = ok && repair_piece(&piece, references, err);
        for (size_t i = 0; ok && i < piece.count; i++) ok = ts_runes_push(&out, piece.at[i], err);
        piece.count = taken;
    }
    ts_runes_clear(&piece);
    if (!ok) {
        ts_runes_clear(&out);
        return false;
    }
    ts_runes_clear(r);
    *r = out;
    return true;
}
