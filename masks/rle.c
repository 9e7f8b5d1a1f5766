/* rle.c - run lengths as COCO has them: down the columns, and packed into a string of printable characters. In the string a
 * number is five bits a character, the low ones first, a sixth saying that more follow, the last one's fifth bit being the sign;
 * from the fourth run on it is the difference to the run before the last, which is short where a shape's edge is smooth. */
#include <stdlib.h>
#include <string.h>

#include "masks/masks.h"

enum { COLUMNS = 32, FIRST_CHARACTER = 48, LAST_CHARACTER = 48 + 63, MOST_CHARACTERS = 7 };

void ts_rle_clear(ts_rle *r)
{
    if (!r) return;
    free(r->run);
    *r = (ts_rle){0};
}

typedef struct {
    ts_rle *rle;
    int64_t room;
} run_list;

static bool append(run_list *l, int64_t length, ts_error *err)
{
    ts_rle *r = l->rle;
    if (r->count == l->room) {
        const int64_t room = l->room * 2 + 64;
        uint32_t *grown = realloc(r->run, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "no memory for the run lengths of a mask");
        r->run = grown;
        l->room = room;
    }
    r->run[r->count++] = (uint32_t)length;
    return true;
}

/* What a walk down the columns has seen: how long the run goes on by now, and whether it is inside. */
typedef struct {
    int64_t length;
    uint8_t inside;
} walk;

static bool walk_on(walk *w, const uint8_t *pixel, size_t count, run_list *runs, ts_error *err)
{
    const uint8_t *end = pixel + count;
    while (pixel < end) {
        const uint8_t *other = memchr(pixel, 1 - w->inside, (size_t)(end - pixel));
        w->length += (other ? other : end) - pixel;
        if (!other) return true;
        if (!append(runs, w->length, err)) return false;
        *w = (walk){0, (uint8_t)(1 - w->inside)};
        pixel = other;
    }
    return true;
}

/* A few columns at a time are turned into rows: a walk straight down would meet a line of cache at each pixel. */
static void gather_columns(const ts_mask *m, int x, int columns, uint8_t *out)
{
    for (int y = 0; y < m->height; y++) {
        const uint8_t *row = m->data + (size_t)y * (size_t)m->width + (size_t)x;
        for (int c = 0; c < columns; c++) out[(size_t)c * (size_t)m->height + (size_t)y] = row[c];
    }
}

bool ts_rle_of(const ts_mask *m, ts_rle *out, ts_error *err)
{
    *out = (ts_rle){m->width, m->height, 0, NULL};
    run_list runs = {out, 0};
    walk w = {0};
    uint8_t *buffer = malloc((size_t)COLUMNS * (size_t)m->height);
    bool ok = buffer != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "no memory for the run lengths of a mask");
    for (int x = 0; ok && x < m->width; x += COLUMNS) {
        const int columns = m->width - x < COLUMNS ? m->width - x : COLUMNS;
        gather_columns(m, x, columns, buffer);
        ok = walk_on(&w, buffer, (size_t)columns * (size_t)m->height, &runs, err);
    }
    ok = ok && append(&runs, w.length, err);
    free(buffer);
    if (!ok) ts_rle_clear(out);
    return ok;
}

bool ts_rle_mask(const ts_rle *r, ts_mask *out, ts_error *err)
{
    if (!ts_mask_new(r->width, r->height, out, err)) return false;
    const size_t width = (size_t)r->width, height = (size_t)r->height;
    size_t at = 0;
    for (int64_t i = 0; i < r->count; at += r->run[i++])
        for (size_t k = at; i % 2 == 1 && k < at + r->run[i]; k++) out->data[k % height * width + k / height] = 1;
    return true;
}

int64_t ts_rle_area(const ts_rle *r)
{
    int64_t area = 0;
    for (int64_t i = 1; i < r->count; i += 2) area += r->run[i];
    return area;
}

/* The rows that a run of one column or more covers. */
static void stretch(ts_box *box, int64_t first, int64_t last, int height)
{
    const int x0 = (int)(first / height), x1 = (int)(last / height);
    const int y0 = x0 == x1 ? (int)(first % height) : 0, y1 = x0 == x1 ? (int)(last % height) : height - 1;
    if (x0 < box->x0) box->x0 = x0;
    if (x1 > box->x1) box->x1 = x1;
    if (y0 < box->y0) box->y0 = y0;
    if (y1 > box->y1) box->y1 = y1;
}

ts_box ts_rle_box(const ts_rle *r)
{
    ts_box box = {r->width, r->height, -1, -1};
    int64_t at = 0;
    for (int64_t i = 0; i < r->count; at += r->run[i++])
        if (i % 2 == 1 && r->run[i] > 0) stretch(&box, at, at + r->run[i] - 1, r->height);
    if (box.x1 < 0) box = (ts_box){0};
    return box;
}

/* ---- the string ------------------------------------------------------------------------------------------------ */

static char *put_number(char *at, int64_t value)
{
    bool more = true;
    while (more) {
        int bits = (int)(value & 31);
        value >>= 5; /* keeps the sign, as every compiler has it */
        more = bits & 16 ? value != -1 : value != 0;
        *at++ = (char)(FIRST_CHARACTER + (more ? bits | 32 : bits));
    }
    return at;
}

char *ts_rle_text(const ts_rle *r, ts_error *err)
{
    char *text = malloc((size_t)r->count * MOST_CHARACTERS + 1), *at = text;
    if (!text) {
        ts_fail(err, TS_ERR_MEMORY, "no memory for the run lengths of a mask");
        return NULL;
    }
    for (int64_t i = 0; i < r->count; i++) at = put_number(at, (int64_t)r->run[i] - (i > 2 ? r->run[i - 2] : 0));
    *at = '\0';
    return text;
}

/* The number at *text, which is moved behind it; false where none is whole there. */
static bool take_number(const char **text, int64_t *value)
{
    *value = 0;
    for (int k = 0; k < MOST_CHARACTERS; k++) {
        const int c = (unsigned char)*(*text)++;
        if (c < FIRST_CHARACTER || c > LAST_CHARACTER) return false;
        const int bits = c - FIRST_CHARACTER;
        *value += (int64_t)(bits & 31) * ((int64_t)1 << (5 * k));
        if (bits & 32) continue;
        if (bits & 16) *value -= (int64_t)1 << (5 * (k + 1));
        return true;
    }
    return false;
}

static bool read_runs(const char *text, run_list *runs, ts_error *err)
{
    const ts_rle *r = runs->rle;
    int64_t left = (int64_t)r->width * r->height, length;
    while (*text) {
        if (!take_number(&text, &length))
            return ts_fail(err, TS_ERR_FORMAT, "run lengths: number %lld is cut off or no number", (long long)r->count + 1);
        if (r->count > 2) length += r->run[r->count - 2];
        if (length < 0 || length > left)
            return ts_fail(err, TS_ERR_FORMAT, "run lengths: run %lld is %lld long, where %lld of %d x %d pixels are left",
                           (long long)r->count + 1, (long long)length, (long long)left, r->width, r->height);
        if (!append(runs, length, err)) return false;
        left -= length;
    }
    return left == 0 || ts_fail(err, TS_ERR_FORMAT, "run lengths: they end %lld pixels before the %d x %d of the mask",
                                (long long)left, r->width, r->height);
}

bool ts_rle_read(const char *text, int width, int height, ts_rle *out, ts_error *err)
{
    *out = (ts_rle){0};
    if (width < 1 || height < 1 || width > ((int64_t)1 << 28) / height)
        return ts_fail(err, TS_ERR_ARGUMENT, "run lengths of a mask of %d x %d pixels cannot be read", width, height);
    *out = (ts_rle){.width = width, .height = height};
    if (read_runs(text, &(run_list){out, 0}, err)) return true;
    ts_rle_clear(out);
    return false;
}
