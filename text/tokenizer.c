/* tokenizer.c - byte-pair encoding as published with CLIP (Radford et al. 2021; Sennrich et al. 2016, arXiv 1508.07909): the text
 * is cleaned and cut into words, a word into its bytes, and the pair of neighbours that stands first in the list of merges
 * becomes one symbol, until no pair is listed. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

/* Bytes of a text: a book is no prompt, and everything counted here stays far inside 32 bits. */
enum { LONGEST = 16 << 20 };

/* ---- text to words ---------------------------------------------------------------------------------------------- */

/* What Python's strip() takes off: four separators of old more than White_Space. */
static bool is_blank(uint32_t c)
{
    return ts_rune_space(c) || (c >= 0x1c && c <= 0x1f);
}

/* Whether repair and references leave the text as it is, as they do with most. */
static bool is_plain(const ts_runes *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->at[i] >= 0x7f || r->at[i] == '&' || (r->at[i] < ' ' && r->at[i] != '\n' && r->at[i] != '\t')) return false;
    return true;
}

bool ts_text_clean(const char *text, ts_runes *out, ts_error *err)
{
    ts_runes r = {0};
    *out = (ts_runes){0};
    if (strlen(text) > LONGEST)
        return ts_fail(err, TS_ERR_ARGUMENT, "a text of %zu bytes is too long: %d is the most", strlen(text), LONGEST);
    bool ok = ts_runes_decode(&r, text, err);
    if (ok && !is_plain(&r)) {
        ok = ts_runes_repair(&r, err);
        ts_runes_unescape(&r);
        ts_runes_unescape(&r);
    }
    if (ok && r.count > 0) {
        size_t from = 0;
        while (r.count > 0 && is_blank(r.at[r.count - 1])) r.count--;
        while (from < r.count && is_blank(r.at[from])) from++;
        ts_runes middle = {.at = r.at + from, .count = r.count - from};
        ok = ts_runes_lower(&middle, out, err);
    }
    ts_runes_clear(&r);
    if (!ok) ts_runes_clear(out);
    return ok;
}

/* Whether `word` stands at r[at]. The published pattern ignores case, and the long s (U+017F) is an s without it. */
static bool stands(const ts_runes *r, size_t at, const char *word)
{
    for (; *word; word++, at++)
        if (at >= r->count || (r->at[at] == 0x17f ? 's' : r->at[at]) != (uint8_t)*word) return false;
    return true;
}

/* What no word holds: spaces, and Greek's iota subscript, which without case is a letter to the published pattern when letters
 * are left out and no letter when they are looked for. */
static bool is_gap(uint32_t c)
{
    return ts_rune_space(c) || c == 0x345;
}

static bool is_other(uint32_t c)
{
    return !is_gap(c) && !ts_rune_letter(c) && !ts_rune_number(c);
}

/* The published pattern, its alternatives in order: start or end, contractions, letters, one number, anything else but gaps. */
bool ts_text_word(const ts_runes *r, size_t *from, size_t *at)
{
    static const char *const whole[] = {"<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    while (*at < r->count && is_gap(r->at[*at])) (*at)++;
    *from = *at;
    if (*at == r->count) return false;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (!stands(r, *at, whole[i])) continue;
        *at += strlen(whole[i]);
        return true;
    }
    if (ts_rune_number(r->at[*at])) {
        (*at)++;
        return true;
    }
    bool letters = ts_rune_letter(r->at[*at]);
    while (*at < r->count && (letters ? ts_rune_letter(r->at[*at]) : is_other(r->at[*at]))) (*at)++;
    return true;
}

/* ---- a word to symbols ------------------------------------------------------------------------------------------- */

/* A pair that may merge: `at` and what follows it. */
typedef struct {
    int32_t rank, at;
} candidate;

/* A word as a list of symbols, and a heap of the pairs in it: so a word of a million letters takes as long as a million words. */
typedef struct {
    int32_t *symbol, *next, *before; /* -1: gone; none */
    candidate *heap;                 /* 3 for each symbol */
    int32_t *touched;                /* 2 for each symbol */
    int room, count, heap_count;
} word;

static bool word_room(word *w, size_t count, ts_error *err)
{
    if ((size_t)w->room >= count) return true;
    free(w->symbol);
    size_t room = count < 64 ? 64 : count;
    w->symbol = malloc(room * (5 * sizeof *w->symbol + 3 * sizeof *w->heap));
    w->room = w->symbol ? (int)room : 0;
    if (!w->symbol) return ts_fail(err, TS_ERR_MEMORY, "no memory for a word of %zu bytes", count);
    w->next = w->symbol + room;
    w->before = w->next + room;
    w->touched = w->before + room;
    w->heap = (candidate *)(w->touched + 2 * room);
    return true;
}

static bool sooner(candidate a, candidate b)
{
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void push(word *w, candidate c)
{
    int i = w->heap_count++;
    for (; i > 0 && sooner(c, w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate pop(word *w)
{
    candidate top = w->heap[0], c = w->heap[--w->heap_count];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child + 1 < w->heap_count && sooner(w->heap[child + 1], w->heap[child])) child++;
        if (child >= w->heap_count || !sooner(w->heap[child], c)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = c;
    return top;
}

/* The merge of the symbol at `at` with the next, or NULL. */
static const ts_merge *merge_at(const ts_tokenizer *t, const word *w, int at)
{
    if (w->symbol[at] < 0 || w->next[at] < 0) return NULL;
    return ts_tokenizer_merge(t, w->symbol[at], w->symbol[w->next[at]]);
}

static void consider(const ts_tokenizer *t, word *w, int at)
{
    const ts_merge *m = merge_at(t, w, at);
    if (m) push(w, (candidate){m->rank, at});
}

/* Merges until no pair is listed. All places of the best pair are merged, from the left, before new pairs are looked at: that is
 * the published order, and differs where a list has a merge before the ones that make its parts. */
static void merge_all(const ts_tokenizer *t, word *w)
{
    w->heap_count = 0;
    for (int i = 0; i < w->count; i++) {
        w->before[i] = i - 1;
        w->next[i] = i + 1 < w->count ? i + 1 : -1;
    }
    for (int i = 0; i < w->count; i++) consider(t, w, i);
    while (w->heap_count > 0) {
        int32_t rank = w->heap[0].rank;
        int touched = 0;
        while (w->heap_count > 0 && w->heap[0].rank == rank) {
            int at = pop(w).at;
            const ts_merge *m = merge_at(t, w, at);
            if (!m || m->rank != rank) continue; /* another merge took one of them */
            int gone = w->next[at];
            w->symbol[at] = m->result;
            w->symbol[gone] = -1;
            w->next[at] = w->next[gone];
            if (w->next[at] >= 0) w->before[w->next[at]] = at;
            if (w->before[at] >= 0) w->touched[touched++] = w->before[at];
            w->touched[touched++] = at;
        }
        for (int i = 0; i < touched; i++) consider(t, w, w->touched[i]);
    }
}

/* ---- ids ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t *at;
    int count, room;
} ids;

static bool ids_push(ids *out, int32_t id, ts_error *err)
{
    if (out->count == out->room) {
        int room = out->room ? 2 * out->room : 32;
        int32_t *grown = realloc(out->at, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "no memory for a text");
        out->at = grown;
        out->room = room;
    }
    out->at[out->count++] = id;
    return true;
}

static bool encode_word(const ts_tokenizer *t, const ts_runes *r, size_t from, size_t to, word *w, ids *out, ts_error *err)
{
    /* Letters stand beside a '<' in these two words alone. */
    size_t length = to - from;
    if (length == strlen("<|startoftext|>") && r->at[from] == '<' && r->at[from + 2] == 's') return ids_push(out, t->start, err);
    if (length == strlen("<|endoftext|>") && r->at[from] == '<' && r->at[from + 2] == 'e') return ids_push(out, t->end, err);
    if (!word_room(w, 4 * length, err)) return false;
    uint8_t last = 0;
    w->count = 0;
    for (size_t i = from; i < to; i++) {
        uint8_t bytes[4];
        int n = ts_rune_encode(r->at[i], bytes);
        for (int k = 0; k < n; k++) w->symbol[w->count++] = t->byte[last = bytes[k]];
    }
    if (w->count == 0) return true;
    w->symbol[w->count - 1] = t->last[last];
    merge_all(t, w);
    bool ok = true;
    for (int i = 0; ok && i >= 0; i = w->next[i]) ok = ids_push(out, w->symbol[i], err);
    return ok;
}

int ts_tokenizer_encode(const ts_tokenizer *t, const char *text, int32_t **out, ts_error *err)
{
    ts_runes r;
    word w = {0};
    ids all = {0};
    size_t from, at = 0;
    *out = NULL;
    if (!ts_text_clean(text, &r, err)) return -1;
    bool ok = true;
    while (ok && ts_text_word(&r, &from, &at)) ok = encode_word(t, &r, from, at, &w, &all, err);
    free(w.symbol);
    ts_runes_clear(&r);
    if (!ok) {
        free(all.at);
        return -1;
    }
    *out = all.at;
    return all.count;
}

int ts_tokenizer_tokens(const ts_tokenizer *t, const char *text, int context, bool cut, int32_t *out, ts_error *err)
{
    int32_t *inner;
    if (context < 2) {
        ts_fail(err, TS_ERR_ARGUMENT, "a context of %d has no room for start and end", context);
        return -1;
    }
    int count = ts_tokenizer_encode(t, text, &inner, err);
    if (count < 0) return -1;
    if (count > context - 2 && !cut) {
        int shown = 200; /* bytes, but no part of a letter */
        while (shown > 0 && strlen(text) > 200 && ((uint8_t)text[shown] & 0xc0) == 0x80) shown--;
        ts_fail(err, TS_ERR_ARGUMENT, "the text \"%.*s\" has %d tokens with start and end, of which the model takes %d", shown,
                text, count + 2, context);
        free(inner);
        return -1;
    }
    if (count > context - 2) count = context - 2;
    out[0] = t->start;
    for (int i = 0; i < count; i++) out[1 + i] = inner[i];
    out[1 + count] = t->end;
    for (int i = count + 2; i < context; i++) out[i] = 0;
    free(inner);
    return count + 2;
}

int ts_tokenizer_count(const ts_tokenizer *t)
{
    return t->count;
}

int ts_tokenizer_start(const ts_tokenizer *t)
{
    return t->start;
}

int ts_tokenizer_end(const ts_tokenizer *t)
{
    return t->end;
}

const char *ts_tokenizer_symbol(const ts_tokenizer *t, int id)
{
    return id >= 0 && id < t->count ? t->text + t->place[id] : NULL;
}
