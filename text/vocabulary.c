/* vocabulary.c - the tokenizer's tables from a file: the list of merges published with CLIP, packed by gzip or not, or Hugging
 * Face's vocab.json with merges.txt. Such a file may come from anywhere: what it says is checked against what it can be.
 *
 * The list is a heading and a pair of symbols a line, the sooner the better. The symbols follow from it: the 256 bytes, the same
 * at the end of a word, what each pair makes, start, end. A symbol or a pair that stands twice is the later one, as in the
 * published code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cjson/cJSON.h>

#include "engine/file.h"
#include "engine/number.h"
#include "text/tokenizer.h"

/* MERGES are taken of the published list, which goes on for longer: 49152 - 256 - 2. LIMIT is five times its bytes. */
enum { BYTES = 256, MERGES = 48894, LIMIT = 16 << 20 };

static const char WHAT[] = "vocabulary", START[] = "<|startoftext|>", END[] = "<|endoftext|>", WORD_END[] = "</w>";

/* Symbols are found by name only while the tables are made. */
typedef struct {
    ts_tokenizer *t;
    const char *path;
    size_t used;   /* of t->text */
    int32_t *slot; /* (mask + 1), -1: empty */
    uint32_t mask;
} builder;

/* ---- symbols by name ------------------------------------------------------------------------------------------ */

static uint32_t hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h ^ (h >> 15);
}

/* The name's place in the table, or the empty one where it would stand. */
static int32_t *slot_of(const builder *b, const char *name, size_t n)
{
    uint32_t at = hash(name, n) & b->mask;
    for (; b->slot[at] >= 0; at = (at + 1) & b->mask) {
        const char *other = b->t->text + b->t->place[b->slot[at]];
        if (strncmp(other, name, n) == 0 && other[n] == '\0') break;
    }
    return &b->slot[at];
}

static int find(const builder *b, const char *name, size_t n)
{
    return *slot_of(b, name, n);
}

/* Room for `count` symbols of `bytes` bytes in all. */
static bool begin(builder *b, int64_t count, size_t bytes, ts_error *err)
{
    size_t slots = 1024;
    while (slots < 2 * (size_t)count) slots *= 2;
    b->mask = (uint32_t)(slots - 1);
    b->t->text = malloc(bytes);
    b->t->place = malloc((size_t)count * sizeof *b->t->place);
    b->slot = malloc(slots * sizeof *b->slot);
    if (!b->t->text || !b->t->place || !b->slot) return ts_fail(err, TS_ERR_MEMORY, "no memory for vocabulary %s", b->path);
    memset(b->slot, 0xff, slots * sizeof *b->slot);
    return true;
}

/* The next symbol: two parts, written one after the other. */
static void add(builder *b, const char *first, size_t n, const char *second, size_t m)
{
    ts_tokenizer *t = b->t;
    char *name = t->text + b->used;
    memcpy(name, first, n);
    memcpy(name + n, second, m);
    name[n + m] = '\0';
    t->place[t->count] = (uint32_t)b->used;
    b->used += n + m + 1;
    *slot_of(b, name, n + m) = t->count++;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

void ts_byte_runes(uint32_t rune[BYTES], uint8_t order[BYTES])
{
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int byte = 0, others = 0; byte < BYTES; byte++) {
            bool printable = (byte >= 33 && byte < 127) || (byte >= 161 && byte < 256 && byte != 173);
            if (printable == (pass == 1)) continue;
            rune[byte] = (uint32_t)(printable ? byte : BYTES + others++);
            order[count++] = (uint8_t)byte;
        }
    }
}

static void add_bytes(builder *b)
{
    uint32_t rune[BYTES];
    uint8_t order[BYTES], name[4];
    ts_byte_runes(rune, order);
    for (int end = 0; end < 2; end++) {
        for (int i = 0; i < BYTES; i++) {
            int n = ts_rune_encode(rune[order[i]], name);
            add(b, (const char *)name, (size_t)n, WORD_END, end ? strlen(WORD_END) : 0);
        }
    }
}

static bool find_bytes(const builder *b, ts_error *err)
{
    uint32_t rune[BYTES];
    uint8_t order[BYTES];
    char name[8];
    ts_byte_runes(rune, order);
    for (int byte = 0; byte < BYTES; byte++) {
        int n = ts_rune_encode(rune[byte], (uint8_t *)name);
        b->t->byte[byte] = find(b, name, (size_t)n);
        memcpy(name + n, WORD_END, sizeof WORD_END - 1);
        b->t->last[byte] = find(b, name, (size_t)n + sizeof WORD_END - 1);
        if (b->t->byte[byte] < 0 || b->t->last[byte] < 0)
            return ts_fail(err, TS_ERR_FORMAT, "vocabulary %s lacks the symbol %.*s or %.*s%s: it is not one of CLIP's", b->path,
                           n, name, n, name, WORD_END);
    }
    return true;
}

/* ---- pairs ---------------------------------------------------------------------------------------------------- */

/* A place in a list of merges. */
typedef struct {
    const char *path, *at;
    int64_t line;
    const char *first, *second; /* of the line read last */
    size_t n, m;
} cursor;

/* Skips the heading. */
static bool open_list(cursor *c, const char *path, const char *text, ts_error *err)
{
    size_t heading = strcspn(text, "\n");
    *c = (cursor){.path = path, .at = text + heading + (text[heading] == '\n'), .line = 1};
    if (memmem(text, heading, "#version", strlen("#version"))) return true;
    return ts_fail(err, TS_ERR_FORMAT,
                   "%s is no vocabulary: a list of merges begins with a line that tells its #version, a vocab.json with {", path);
}

/* 1: a pair was read; 0: the list ends; -1: the line is no pair. */
static int next_pair(cursor *c, ts_error *err)
{
    static const char blanks[] = " \t\r";
    size_t length = strcspn(c->at, "\n");
    const char *end = c->at + length;
    c->line++;
    c->first = c->at + strspn(c->at, blanks);
    c->n = strcspn(c->first, " \t\r\n");
    c->second = c->first + c->n + strspn(c->first + c->n, blanks);
    c->m = strcspn(c->second, " \t\r\n");
    const char *rest = c->second + c->m + strspn(c->second + c->m, blanks);
    if (c->n == 0 && c->at[strspn(c->at, " \t\r\n")] == '\0') return 0;
    if (c->n == 0 || c->m == 0 || rest != end) {
        ts_fail(err, TS_ERR_FORMAT, "vocabulary %s: line %lld is no pair of symbols with a space between", c->path,
                (long long)c->line);
        return -1;
    }
    c->at = end + (*end == '\n');
    return 1;
}

const ts_merge *ts_tokenizer_merge(const ts_tokenizer *t, int32_t first, int32_t second)
{
    uint64_t pair = (uint64_t)(uint32_t)first << 32 | (uint32_t)second, h = pair * UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t at = (uint32_t)(h >> 32) & t->mask; t->merge[at].rank >= 0; at = (at + 1) & t->mask)
        if (t->merge[at].pair == pair) return &t->merge[at];
    return NULL;
}

static void put_pair(ts_tokenizer *t, int32_t first, int32_t second, int32_t rank, int32_t result)
{
    uint64_t pair = (uint64_t)(uint32_t)first << 32 | (uint32_t)second, h = pair * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(h >> 32) & t->mask;
    while (t->merge[at].rank >= 0 && t->merge[at].pair != pair) at = (at + 1) & t->mask;
    t->merge[at] = (ts_merge){.pair = pair, .rank = rank, .result = result};
}

/* The table of the first `count` pairs of the list; what they merge and what they make must be symbols. */
static bool make_pairs(builder *b, cursor c, int64_t count, ts_error *err)
{
    size_t slots = 1024;
    while (slots < 2 * (size_t)count) slots *= 2;
    ts_tokenizer *t = b->t;
    t->mask = (uint32_t)(slots - 1);
    t->merge = malloc(slots * sizeof *t->merge);
    if (!t->merge) return ts_fail(err, TS_ERR_MEMORY, "no memory for vocabulary %s", b->path);
    memset(t->merge, 0xff, slots * sizeof *t->merge);
    for (int64_t rank = 0; rank < count && next_pair(&c, err) == 1; rank++) {
        char both[512];
        int first = find(b, c.first, c.n), second = find(b, c.second, c.m), result = -1;
        if (c.n + c.m < sizeof both) {
            memcpy(both, c.first, c.n);
            memcpy(both + c.n, c.second, c.m);
            result = find(b, both, c.n + c.m);
        }
        if (first < 0 || second < 0 || result < 0) {
            bool lacks_first = first < 0, lacks_both = !lacks_first && second >= 0;
            const char *lacking = lacks_first ? c.first : lacks_both ? both : c.second;
            size_t n = lacks_first ? c.n : lacks_both ? c.n + c.m : c.m;
            return ts_fail(err, TS_ERR_FORMAT, "%s: line %lld merges to or from %.*s, which is no symbol of the vocabulary",
                           c.path, (long long)c.line, (int)(n < 100 ? n : 100), lacking);
        }
        put_pair(t, first, second, (int32_t)rank, result);
    }
    return true;
}

/* The pairs of a list, at most `most`; -1: a line is none. `bytes` is what their symbols take. */
static int64_t count_pairs(cursor c, int64_t most, size_t *bytes, ts_error *err)
{
    int64_t count = 0;
    int more = 1;
    *bytes = 0;
    while (count < most && (more = next_pair(&c, err)) == 1) {
        count++;
        *bytes += c.n + c.m + 1;
    }
    if (more < 0) return -1;
    if (count > 0) return count;
    ts_fail(err, TS_ERR_FORMAT, "vocabulary %s lists no merge", c.path);
    return -1;
}

/* ---- the two forms --------------------------------------------------------------------------------------------- */

static bool from_list(builder *b, const char *text, ts_error *err)
{
    cursor start;
    size_t bytes;
    if (!open_list(&start, b->path, text, err)) return false;
    int64_t count = count_pairs(start, MERGES, &bytes, err);
    if (count < 0 || !begin(b, 2 * BYTES + count + 2, bytes + 2 * BYTES * 8 + sizeof START + sizeof END, err)) return false;
    add_bytes(b);
    cursor c = start;
    for (int64_t i = 0; i < count && next_pair(&c, err) == 1; i++) add(b, c.first, c.n, c.second, c.m);
    b->t->start = b->t->count;
    add(b, START, strlen(START), "", 0);
    b->t->end = b->t->count;
    add(b, END, strlen(END), "", 0);
    return make_pairs(b, start, count, err) && find_bytes(b, err);
}

/* name[id] of every symbol of a parsed vocab.json; `bytes` is what they take. */
static bool read_names(const char *path, const cJSON *all, int count, const char **name, size_t *bytes, ts_error *err)
{
    *bytes = 0;
    for (const cJSON *one = all->child; one; one = one->next) {
        if (!cJSON_IsNumber(one) || !one->string)
            return ts_fail(err, TS_ERR_FORMAT, "%s is no vocabulary: \"%.60s\" has no number", path,
                           one->string ? one->string : "");
        int id;
        if (!ts_int_of(one->valuedouble, 0, count - 1, &id))
            return ts_fail(err, TS_ERR_FORMAT, "vocabulary %s has %d symbols, but numbers \"%.60s\" %g: 0 to %d would be right",
                           path, count, one->string, one->valuedouble, count - 1);
        if (name[id])
            return ts_fail(err, TS_ERR_FORMAT, "vocabulary %s gives number %d twice, to \"%.60s\" and \"%.60s\"", path, id,
                           name[id], one->string);
        name[id] = one->string;
        *bytes += strlen(one->string) + 1;
    }
    return true;
}

static bool from_json(builder *b, const cJSON *all, const char *merges_path, const char *merges, ts_error *err)
{
    cursor start;
    size_t bytes;
    int count = cJSON_GetArraySize(all);
    const char **name = calloc((size_t)count + 1, sizeof *name);
    if (!name) return ts_fail(err, TS_ERR_MEMORY, "no memory for vocabulary %s", b->path);
    bool ok = read_names(b->path, all, count, name, &bytes, err) && begin(b, count, bytes + 1, err);
    for (int i = 0; ok && i < count; i++)
        if (name[i]) add(b, name[i], strlen(name[i]), "", 0); /* as many numbers, none twice: all are there */
    free(name);
    if (!ok) return false;
    b->t->start = find(b, START, strlen(START));
    b->t->end = find(b, END, strlen(END));
    if (b->t->start != count - 2 || b->t->end != count - 1)
        return ts_fail(err, TS_ERR_FORMAT, "vocabulary %s is not one of CLIP's: its last two symbols are not %s and %s", b->path,
                       START, END);
    if (!find_bytes(b, err) || !open_list(&start, merges_path, merges, err)) return false;
    int64_t pairs = count_pairs(start, count, &bytes, err);
    return pairs > 0 && make_pairs(b, start, pairs, err);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* Unpacks a gzip file in memory; free(). */
static char *unpack(const char *path, char *bytes, size_t size, size_t *out_size, ts_error *err)
{
    z_stream z = {.next_in = (uint8_t *)bytes, .avail_in = (unsigned)size};
    size_t room = 1 << 20;
    char *out = malloc(room + 1);
    int code = out && inflateInit2(&z, 15 + 16) == Z_OK ? Z_OK : Z_MEM_ERROR;
    while (code == Z_OK) {
        if (z.total_out == room) {
            char *grown = room < LIMIT ? realloc(out, 2 * room + 1) : NULL;
            if (!grown) {
                code = room < LIMIT ? Z_MEM_ERROR : Z_STREAM_ERROR;
                break;
            }
            out = grown;
            room *= 2;
        }
        z.next_out = (uint8_t *)out + z.total_out;
        z.avail_out = (unsigned)(room - z.total_out);
        code = inflate(&z, Z_NO_FLUSH);
    }
    if (code == Z_MEM_ERROR) ts_fail(err, TS_ERR_MEMORY, "no memory to unpack vocabulary %s", path);
    else if (code == Z_STREAM_ERROR)
        ts_fail(err, TS_ERR_FORMAT, "vocabulary %s unpacks to more than %d bytes: it is none", path, LIMIT);
    else if (code == Z_BUF_ERROR) ts_fail(err, TS_ERR_FORMAT, "vocabulary %s is a gzip file that is cut off", path);
    else if (code != Z_STREAM_END)
        ts_fail(err, TS_ERR_FORMAT, "vocabulary %s is a broken gzip file: %s", path, z.msg ? z.msg : "its end is missing");
    *out_size = z.total_out;
    inflateEnd(&z);
    if (code == Z_STREAM_END) {
        out[*out_size] = '\0';
        return out;
    }
    free(out);
    return NULL;
}

/* A file's text, unpacked where it is packed; free(). */
static char *read_text(const char *path, ts_error *err)
{
    size_t size;
    char *text = ts_file_read(path, WHAT, LIMIT, &size, err);
    if (text && size >= 2 && memcmp(text, "\x1f\x8b", 2) == 0) {
        char *packed = text;
        text = unpack(path, packed, size, &size, err);
        free(packed);
    }
    if (text && strlen(text) != size) {
        ts_fail(err, TS_ERR_FORMAT, "%s is no vocabulary: it holds a zero byte and is no text", path);
        free(text);
        return NULL;
    }
    return text;
}

static bool open_json(builder *b, const char *text, ts_error *err)
{
    char *path = ts_file_beside(b->path, "merges.txt", err), *merges = NULL;
    if (!path) return false;
    cJSON *all = cJSON_Parse(text);
    if (!cJSON_IsObject(all)) ts_fail(err, TS_ERR_FORMAT, "vocabulary %s begins as JSON but is broken", b->path);
    else if (access(path, F_OK) != 0)
        ts_fail(err, TS_ERR_IO, "vocabulary %s needs the list merges.txt beside it, which is not there", b->path);
    else merges = read_text(path, err);
    bool ok = merges && from_json(b, all, path, merges, err);
    free(merges);
    free(path);
    cJSON_Delete(all);
    return ok;
}

ts_tokenizer *ts_tokenizer_open(const char *path, ts_error *err)
{
    char *text = read_text(path, err);
    builder b = {.t = text ? calloc(1, sizeof *b.t) : NULL, .path = path};
    if (text && !b.t) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = b.t && (text[strspn(text, " \t\r\n")] == '{' ? open_json(&b, text, err) : from_list(&b, text, err));
    free(b.slot);
    free(text);
    if (ok) return b.t;
    ts_tokenizer_free(b.t);
    return NULL;
}

ts_tokenizer *ts_tokenizer_find(const char *model_path, ts_error *err)
{
    static const char *const names[] = {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "vocab.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = ts_file_beside(model_path, names[i], err);
        if (!path) return NULL;
        if (access(path, F_OK) == 0) {
            ts_tokenizer *t = ts_tokenizer_open(path, err);
            free(path);
            return t;
        }
        free(path);
    }
    ts_fail(err, TS_ERR_IO, "there is no vocabulary beside %s: looked for %s, %s, and %s with merges.txt", model_path, names[0],
            names[1], names[2]);
    return NULL;
}

void ts_tokenizer_free(ts_tokenizer *t)
{
    if (!t) return;
    free(t->text);
    free(t->place);
    free(t->merge);
    free(t);
}
