/* normal.c - Unicode's normal form C: a letter and its accent become the one code point that published vocabularies know. Names
 * of files come apart on some systems, and then "café" would be other tokens than the same word typed. */
#include <stdlib.h>

#include "text/tokenizer.h"

typedef struct {
    uint32_t whole, first, second;
} decomposition;

typedef struct {
    uint32_t first, last;
    uint8_t rank;
} class_range;

#include "text/normal_table.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Korean syllables are numbered: leading consonant, vowel, trailing consonant or none (Unicode Standard, 3.12). */
enum { SYLLABLES = 0xac00, LEAD = 0x1100, VOWEL = 0x1161, TRAIL = 0x11a7, LEADS = 19, VOWELS = 21, TRAILS = 28 };

static int combining_class(uint32_t c)
{
    size_t low = 0, high = COUNT(COMBINING);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > COMBINING[mid].last) low = mid + 1;
        else high = mid;
    }
    return low < COUNT(COMBINING) && c >= COMBINING[low].first ? COMBINING[low].rank : 0;
}

static const decomposition *parts_of(uint32_t c)
{
    size_t low = 0, high = COUNT(PARTS);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > PARTS[mid].whole) low = mid + 1;
        else high = mid;
    }
    return low < COUNT(PARTS) && PARTS[low].whole == c ? &PARTS[low] : NULL;
}

/* 0: they do not compose. */
static uint32_t compose_pair(uint32_t a, uint32_t b)
{
    if (a >= LEAD && a < LEAD + LEADS && b >= VOWEL && b < VOWEL + VOWELS)
        return SYLLABLES + ((a - LEAD) * VOWELS + (b - VOWEL)) * TRAILS;
    if (a >= SYLLABLES && a < SYLLABLES + LEADS * VOWELS * TRAILS && (a - SYLLABLES) % TRAILS == 0 && b > TRAIL &&
        b < TRAIL + TRAILS)
        return a + (b - TRAIL);
    size_t low = 0, high = COUNT(COMPOSES);
    while (low < high) {
        size_t mid = (low + high) / 2;
        const decomposition *d = &PARTS[COMPOSES[mid]];
        if (d->first < a || (d->first == a && d->second < b)) low = mid + 1;
        else high = mid;
    }
    if (low == COUNT(COMPOSES)) return 0;
    const decomposition *d = &PARTS[COMPOSES[low]];
    return d->first == a && d->second == b ? d->whole : 0;
}

static bool push_parts(ts_runes *out, uint32_t c, ts_error *err)
{
    if (c >= SYLLABLES && c < SYLLABLES + LEADS * VOWELS * TRAILS) {
        uint32_t at = c - SYLLABLES, trail = at % TRAILS;
        return ts_runes_push(out, LEAD + at / (VOWELS * TRAILS), err) && ts_runes_push(out, VOWEL + at / TRAILS % VOWELS, err) &&
               (trail == 0 || ts_runes_push(out, TRAIL + trail, err));
    }
    /* Only a first part ever has parts itself: the seconds wait in a row, the deepest last. */
    uint32_t waiting[8];
    int count = 0;
    for (const decomposition *d; (d = parts_of(c)) && count < 8; c = d->first)
        if (d->second) waiting[count++] = d->second;
    bool ok = ts_runes_push(out, c, err);
    while (ok && count > 0) ok = ts_runes_push(out, waiting[--count], err);
    return ok;
}

/* A mark's place in the text packed under its class, so that sorting keeps the order of equals. */
typedef struct {
    uint32_t rank, place, c;
} mark;

static int by_rank(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Sorts each run of marks by class (the canonical order). */
static bool order_marks(ts_runes *r, ts_error *err)
{
    mark *run = NULL;
    size_t room = 0;
    for (size_t i = 0, end; i < r->count; i = end + 1) {
        bool sorted = true;
        int before = 0, rank;
        for (end = i; end < r->count && (rank = combining_class(r->at[end])) != 0; end++) {
            sorted = sorted && rank >= before;
            before = rank;
        }
        if (sorted) continue;
        if (end - i > room) {
            mark *grown = realloc(run, (end - i) * sizeof *grown);
            if (!grown) {
                free(run);
                return ts_fail(err, TS_ERR_MEMORY, "no memory for a text");
            }
            run = grown;
            room = end - i;
        }
        for (size_t k = i; k < end; k++) run[k - i] = (mark){(uint32_t)combining_class(r->at[k]), (uint32_t)k, r->at[k]};
        qsort(run, end - i, sizeof *run, by_rank);
        for (size_t k = i; k < end; k++) r->at[k] = run[k - i].c;
    }
    free(run);
    return true;
}

/* Joins each starter with the marks after it that nothing blocks: nothing of class 0 or of the mark's own class, or a higher one,
 * is left between. */
static void join(ts_runes *r)
{
    size_t starter = SIZE_MAX, kept = 0;
    int before = 0; /* class of what was kept last since the starter */
    for (size_t i = 0; i < r->count; i++) {
        uint32_t c = r->at[i];
        int rank = combining_class(c);
        bool touches = starter != SIZE_MAX && (kept == starter + 1 || (before != 0 && before < rank));
        uint32_t whole = touches ? compose_pair(r->at[starter], c) : 0;
        if (whole) {
            r->at[starter] = whole;
            continue;
        }
        if (rank == 0) starter = kept;
        before = rank;
        r->at[kept++] = c;
    }
    r->count = kept;
}

bool ts_runes_compose(ts_runes *r, ts_error *err)
{
    size_t plain = 0;
    while (plain < r->count && r->at[plain] < 0x300) plain++;
    if (plain == r->count) return true; /* nothing below the first mark comes apart for good */
    ts_runes apart = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < r->count; i++) ok = push_parts(&apart, r->at[i], err);
    if (!ok || !order_marks(&apart, err)) {
        ts_runes_clear(&apart);
        return false;
    }
    join(&apart);
    ts_runes_clear(r);
    *r = apart;
    return true;
}
