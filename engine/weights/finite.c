/* finite.c - whether all that a file holds are numbers. A NaN in one weight makes every answer of a model NaN, which an argmax
 * and a clamp turn into pictures again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/internal.h"
#include "engine/weights/internal.h"

enum { GRAIN = 1 << 16, ROOM = 1 << 14 };

typedef struct {
    const ts_weight *t;
    int64_t bad; /* so far; added to by every thread */
} count;

/* An exponent of all ones, whatever the width of the number; no branch, so that it runs as fast as memory. */
static int64_t bad_f32(const uint8_t *bytes, int64_t n)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t x;
        memcpy(&x, bytes + 4 * i, sizeof x);
        bad += (x & 0x7f800000) == 0x7f800000;
    }
    return bad;
}

static int64_t bad_16(const uint8_t *bytes, int64_t n, uint16_t exponent)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, bytes + 2 * i, sizeof x);
        bad += (x & exponent) == exponent;
    }
    return bad;
}

static int64_t bad_f64(const uint8_t *bytes, int64_t n)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t x;
        memcpy(&x, bytes + 8 * i, sizeof x);
        bad += (x & UINT64_C(0x7ff0000000000000)) == UINT64_C(0x7ff0000000000000);
    }
    return bad;
}

static int64_t bad_in(ts_dtype type, const uint8_t *bytes, int64_t n)
{
    switch (type) {
    case TS_DT_F32:
        return bad_f32(bytes, n);
    case TS_DT_F16:
        return bad_16(bytes, n, 0x7c00);
    case TS_DT_BF16:
        return bad_16(bytes, n, 0x7f80);
    case TS_DT_F64:
        return bad_f64(bytes, n);
    default:
        return 0;
    }
}

static void count_range(void *ctx, int64_t begin, int64_t end)
{
    count *c = ctx;
    const ts_weight *t = c->t;
    const int64_t size = ts_dtype_size(t->dtype);
    int64_t bad = 0;
    if (t->contiguous) {
        bad = bad_in(t->dtype, (const uint8_t *)t->data + begin * size, end - begin);
    } else {
        uint64_t packed[ROOM / 8]; /* aligned for all */
        for (int64_t at = begin, n; at < end; at += n) {
            n = end - at < ROOM / size ? end - at : ROOM / size;
            ts_weight_gather(t, at, n, packed);
            bad += bad_in(t->dtype, (const uint8_t *)packed, n);
        }
    }
    __atomic_fetch_add(&c->bad, bad, __ATOMIC_RELAXED);
}

/* What hides places from an attention holds minus infinity. */
static bool is_mask(const char *name)
{
    const size_t length = strlen(name);
    return length >= 4 && strcmp(name + length - 4, "mask") == 0;
}

bool ts_weights_check_finite(const ts_weights *w, ts_error *err)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int threads = cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
    int64_t broken = 0, first = 0, bad = 0;
    for (int64_t i = 0; i < w->count; i++) {
        count c = {.t = &w->list[i]};
        if (is_mask(c.t->name)) continue;
        ts_parallel(threads, c.t->count, GRAIN, count_range, &c);
        if (w->map_count) ts_weight_release(c.t);
        if (c.bad == 0) continue;
        if (broken++ == 0) first = i, bad = c.bad;
    }
    if (!ts_weights_intact(w, err)) return false;
    if (broken == 0) return true;
    char shown[TS_QUOTE], more[64] = "";
    const char *name = w->list[first].name;
    if (broken > 1)
        snprintf(more, sizeof more, ", and %lld further tensor%s", (long long)(broken - 1), broken > 2 ? "s do" : " does");
    return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s holds %lld value%s that %s no number%s (NaN or infinite)%s", w->path,
                   ts_quote(shown, name, strlen(name)), (long long)bad, bad > 1 ? "s" : "", bad > 1 ? "are" : "is",
                   bad > 1 ? "s" : "", more);
}
