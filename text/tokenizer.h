/* tokenizer.h - what stands between a user's text and the tokenizer: Unicode, and the vocabulary's tables. Private to text/. */
#ifndef TESSERA_TEXT_TOKENIZER_H
#define TESSERA_TEXT_TOKENIZER_H

#include "text/text.h"

/* ---- unicode.c, normal.c, entity.c, mojibake.c, repair.c
 * -------------------------------------------------------------------------- */

/* Code points, grown as need be. Zeros are an empty one. */
typedef struct {
    uint32_t *at;
    size_t count, room;
} ts_runes;

bool ts_runes_push(ts_runes *r, uint32_t c, ts_error *err);
/* Appends a UTF-8 text; what is not UTF-8 is an error that says where. */
bool ts_runes_decode(ts_runes *r, const char *text, ts_error *err);
/* One code point of the UTF-8 at s[0 ... left): its bytes, 0: it is none. */
int ts_rune_decode(const uint8_t *s, size_t left, uint32_t *c);
/* UTF-8 of one code point in `out`; returns its bytes, 1 to 4. */
int ts_rune_encode(uint32_t c, uint8_t out[4]);
void ts_runes_clear(ts_runes *r);

bool ts_rune_letter(uint32_t c);
bool ts_rune_number(uint32_t c);
bool ts_rune_decimal(uint32_t c); /* digits */
bool ts_rune_space(uint32_t c);   /* White_Space */

/* `in` with the full lower case of each code point, and Greek's other sigma at the ends of words, appended to `out`. */
bool ts_runes_lower(const ts_runes *in, ts_runes *out, ts_error *err);
/* Normal form C (Unicode Standard Annex 15), in place. */
bool ts_runes_compose(ts_runes *r, ts_error *err);
/* HTML's character references undone once, as Python's html.unescape (the HTML5 standard, 13.2.5.72 on), in place: the text never
 * grows. */
void ts_runes_unescape(ts_runes *r);
/* What HTML5 has for a name with its semicolon, "amp;": UTF-8; NULL: there is no such name. */
const char *ts_entity_text(const char *name);

/* C1's control characters as Windows-1252 has them; others are themselves. */
uint32_t ts_rune_of_windows(uint32_t c);
/* A text whose UTF-8 was read by a wrong code page, as ftfy.fix_encoding repairs it, into `out`, which the caller clears. */
bool ts_runes_recode(const uint32_t *text, size_t count, ts_runes *out, ts_error *err);
/* Repairs a text as ftfy.fix_text does, normal form C included, in place. */
bool ts_runes_repair(ts_runes *r, ts_error *err);

/* ---- tokenizer.c -------------------------------------------------------------------------------------------- */

/* Cleans a text as published: repaired, references undone twice, trimmed, lower case. `out` is the caller's. */
bool ts_text_clean(const char *text, ts_runes *out, ts_error *err);
/* The next word of a cleaned text, from *at on: [*from, *at). False: there is none. */
bool ts_text_word(const ts_runes *r, size_t *from, size_t *at);

/* ---- vocabulary.c ------------------------------------------------------------------------------------------- */

/* One pair of symbols that merges. */
typedef struct {
    uint64_t pair; /* first << 32 | second */
    int32_t rank;  /* the lower merges sooner; -1: an empty place of the table */
    int32_t result;
} ts_merge;

struct ts_tokenizer {
    int count, start, end;
    char *text;                   /* all symbols, each with its 0 */
    uint32_t *place;              /* (count) where they lie in `text` */
    int32_t byte[256], last[256]; /* the symbol of a byte, inside a word and at its end */
    ts_merge *merge;              /* (mask + 1), open addressing */
    uint32_t mask;
};

/* The code point that stands for each byte, and the bytes in the order of their symbols: printable ones first, which stand for
 * themselves, then the others, U+0100 and on (as GPT-2 has it). */
void ts_byte_runes(uint32_t rune[256], uint8_t order[256]);
/* NULL: they do not merge. */
const ts_merge *ts_tokenizer_merge(const ts_tokenizer *t, int32_t first, int32_t second);

#endif
