/* learn_vocabulary.c - byte-pair merges out of a set of captions (Sennrich et al. 2016, arXiv 1508.07909, algorithm 1), for a
 * model that is trained from nothing: the published list has forty-eight thousand of them, and a model that reads a few hundred
 * words needs no such table of embeddings. Texts are cleaned and cut into words as the tokenizer will do it.
 *
 * Each different word is kept once, as symbols, with how often it stands. The counts of pairs are kept up to date merge by merge:
 * only words that hold the merged pair are counted anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

enum {
    BYTES = 256,         /* symbols 0 ... are bytes inside a word, 256 ... bytes at its end, 512 ... what merges made */
    LONGEST_SYMBOL = 96, /* bytes: a rule of dashes is no word */
};

typedef struct {
    int32_t *symbol; /* NULL: an empty place */
    int length;
    int64_t times;
} entry;

typedef struct {
    uint64_t pair;     /* first << 32 | second */
    int64_t times;     /* 0: an empty place, or a pair that is no more */
    bool used, listed; /* listed: among the merges already; it may come up again when another merge makes one of its symbols */
} pair_count;

typedef struct {
    char **name; /* of each symbol, UTF-8 */
    int symbols, room;
    entry *word; /* (words_mask + 1), open addressing */
    uint32_t words, words_mask;
    pair_count *pair; /* (pairs_mask + 1), open addressing */
    uint32_t pairs, pairs_mask;
    ts_error *err;
} learner;

static bool no_memory(const learner *l)
{
    return ts_fail(l->err, TS_ERR_MEMORY, "no memory to learn a vocabulary");
}

/* ---- symbols ---------------------------------------------------------------------------------------------------- */

/* The symbol of that name, which is new or not: two ways of merging may lead to the same letters. -1: no memory. */
static int symbol_of(learner *l, const char *name)
{
    for (int i = 0; i < l->symbols; i++)
        if (strcmp(l->name[i], name) == 0) return i;
    if (l->symbols == l->room) {
        const int room = l->room ? 2 * l->room : 1024;
        char **grown = realloc(l->name, (size_t)room * sizeof *grown);
        if (!grown) return -1;
        l->name = grown;
        l->room = room;
    }
    char *copy = strdup(name);
    if (!copy) return -1;
    l->name[l->symbols] = copy;
    return l->symbols++;
}

static bool add_bytes(learner *l)
{
    uint32_t rune[BYTES];
    uint8_t order[BYTES];
    ts_byte_runes(rune, order);
    for (int end = 0; end < 2; end++)
        for (int byte = 0; byte < BYTES; byte++) {
            uint8_t letter[4];
            char name[16];
            const int n = ts_rune_encode(rune[byte], letter);
            snprintf(name, sizeof name, "%.*s%s", n, (const char *)letter, end ? "</w>" : "");
            if (symbol_of(l, name) < 0) return no_memory(l);
        }
    return true;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(const int32_t *symbol, int length)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (int i = 0; i < length; i++) h = (h ^ (uint32_t)symbol[i]) * UINT64_C(1099511628211);
    return h ^ (h >> 32);
}

static entry *place_of(const learner *l, const int32_t *symbol, int length)
{
    uint32_t at = (uint32_t)hash_of(symbol, length) & l->words_mask;
    for (; l->word[at].symbol; at = (at + 1) & l->words_mask)
        if (l->word[at].length == length && memcmp(l->word[at].symbol, symbol, (size_t)length * sizeof *symbol) == 0) break;
    return &l->word[at];
}

static bool grow_words(learner *l)
{
    learner old = *l;
    l->words_mask = old.word ? 2 * old.words_mask + 1 : 1023;
    l->word = calloc((size_t)l->words_mask + 1, sizeof *l->word);
    if (!l->word) {
        *l = old;
        return no_memory(l);
    }
    for (uint32_t i = 0; old.word && i <= old.words_mask; i++)
        if (old.word[i].symbol) *place_of(l, old.word[i].symbol, old.word[i].length) = old.word[i];
    free(old.word);
    return true;
}

/* A word of `length` bytes' symbols. */
static bool add_word(learner *l, const int32_t *symbol, int length)
{
    if (2 * l->words > l->words_mask && !grow_words(l)) return false;
    entry *e = place_of(l, symbol, length);
    if (!e->symbol) {
        e->symbol = malloc((size_t)length * sizeof *symbol);
        if (!e->symbol) return no_memory(l);
        memcpy(e->symbol, symbol, (size_t)length * sizeof *symbol);
        e->length = length;
        l->words++;
    }
    e->times++;
    return true;
}

static bool add_text(learner *l, const char *text)
{
    ts_runes r;
    size_t from, at = 0;
    if (!ts_text_clean(text, &r, l->err)) return false;
    int32_t *symbol = malloc((4 * r.count + 1) * sizeof *symbol);
    bool ok = symbol != NULL;
    if (!ok) no_memory(l);
    while (ok && ts_text_word(&r, &from, &at)) {
        int count = 0;
        for (size_t i = from; i < at; i++) {
            uint8_t bytes[4];
            const int n = ts_rune_encode(r.at[i], bytes);
            for (int k = 0; k < n; k++) symbol[count++] = bytes[k];
        }
        if (count == 0) continue;
        symbol[count - 1] += BYTES;
        ok = add_word(l, symbol, count);
    }
    free(symbol);
    ts_runes_clear(&r);
    return ok;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

static pair_count *count_of(const learner *l, uint64_t pair)
{
    uint32_t at = (uint32_t)((pair * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & l->pairs_mask;
    while (l->pair[at].used && l->pair[at].pair != pair) at = (at + 1) & l->pairs_mask;
    return &l->pair[at];
}

static bool grow_pairs(learner *l)
{
    learner old = *l;
    l->pairs_mask = old.pair ? 2 * old.pairs_mask + 1 : 4095;
    l->pair = calloc((size_t)l->pairs_mask + 1, sizeof *l->pair);
    if (!l->pair) {
        *l = old;
        return no_memory(l);
    }
    l->pairs = 0;
    for (uint32_t i = 0; old.pair && i <= old.pairs_mask; i++) {
        if (old.pair[i].times == 0 && !old.pair[i].listed) continue;
        *count_of(l, old.pair[i].pair) = old.pair[i];
        l->pairs++;
    }
    free(old.pair);
    return true;
}

/* Adds `times` for each pair of neighbours in a word, or takes it off. */
static bool count_pairs(learner *l, const entry *e, int64_t times)
{
    for (int i = 0; i + 1 < e->length; i++) {
        if (2 * l->pairs >= l->pairs_mask && !grow_pairs(l)) return false;
        const uint64_t pair = (uint64_t)(uint32_t)e->symbol[i] << 32 | (uint32_t)e->symbol[i + 1];
        pair_count *c = count_of(l, pair);
        if (!c->used) {
            *c = (pair_count){.pair = pair, .used = true};
            l->pairs++;
        }
        c->times += times;
    }
    return true;
}

/* The most frequent pair that may merge, of equal ones the first by its symbols; NULL: none stands twice. */
static pair_count *best_pair(const learner *l)
{
    pair_count *best = NULL;
    for (uint32_t i = 0; i <= l->pairs_mask; i++) {
        pair_count *c = &l->pair[i];
        if (c->times < 2 || (best && (c->times < best->times || (c->times == best->times && c->pair > best->pair)))) continue;
        if (strlen(l->name[c->pair >> 32]) + strlen(l->name[(uint32_t)c->pair]) <= LONGEST_SYMBOL) best = c;
    }
    return best;
}

/* Puts `result` in the place of every such pair of neighbours, from the left. */
static bool merge_in(learner *l, entry *e, int32_t first, int32_t second, int32_t result)
{
    bool found = false;
    for (int i = 0; !found && i + 1 < e->length; i++) found = e->symbol[i] == first && e->symbol[i + 1] == second;
    if (!found) return true;
    if (!count_pairs(l, e, -e->times)) return false;
    int kept = 0;
    for (int i = 0; i < e->length; i++) {
        const bool both = e->symbol[i] == first && i + 1 < e->length && e->symbol[i + 1] == second;
        e->symbol[kept++] = both ? result : e->symbol[i];
        if (both) i++;
    }
    e->length = kept;
    return count_pairs(l, e, e->times);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Once words change they are found by walking through the table, no longer by what they hold. */
static int learn(learner *l, int merges, FILE *list)
{
    for (uint32_t i = 0; i <= l->words_mask; i++)
        if (l->word[i].symbol && !count_pairs(l, &l->word[i], l->word[i].times)) return -1;
    for (int done = 0; done < merges;) {
        pair_count *best = l->pair ? best_pair(l) : NULL;
        if (!best) return done;
        const int32_t first = (int32_t)(best->pair >> 32), second = (int32_t)(uint32_t)best->pair;
        const bool again = best->listed;
        char name[LONGEST_SYMBOL + 1];
        snprintf(name, sizeof name, "%s%s", l->name[first], l->name[second]);
        const int result = symbol_of(l, name);
        if (result < 0 || (!again && fprintf(list, "%s %s\n", l->name[first], l->name[second]) < 0)) {
            no_memory(l);
            return -1;
        }
        best->listed = true;
        done += !again;
        for (uint32_t i = 0; i <= l->words_mask; i++)
            if (l->word[i].symbol && !merge_in(l, &l->word[i], first, second, result)) return -1;
    }
    return merges;
}

static void clear(learner *l)
{
    for (int i = 0; i < l->symbols; i++) free(l->name[i]);
    for (uint32_t i = 0; l->word && i <= l->words_mask; i++) free(l->word[i].symbol);
    free(l->name);
    free(l->word);
    free(l->pair);
}

int ts_learn_vocabulary(const char *const *texts, int64_t count, int merges, const char *path, ts_error *err)
{
    learner l = {.err = err};
    char *list = NULL;
    size_t size = 0;
    if (merges < 1) {
        ts_fail(err, TS_ERR_ARGUMENT, "a vocabulary of %d merges cannot be: one at least", merges);
        return -1;
    }
    FILE *f = open_memstream(&list, &size);
    bool ok = f && fputs("#version: 0.2\n", f) >= 0 ? true : no_memory(&l);
    ok = ok && add_bytes(&l) && grow_words(&l);
    for (int64_t i = 0; ok && i < count; i++) ok = add_text(&l, texts[i]);
    int learned = ok ? learn(&l, merges, f) : -1;
    if (f && fclose(f) != 0 && learned > 0) {
        no_memory(&l);
        learned = -1;
    }
    if (learned == 0) {
        ts_fail(err, TS_ERR_ARGUMENT, "there is no vocabulary to learn: no two letters stand together twice in %lld texts",
                (long long)count);
        learned = -1;
    }
    if (learned > 0 && !ts_file_write(path, list, size, err)) learned = -1;
    free(list);
    clear(&l);
    return learned;
}
