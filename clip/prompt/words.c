/* words.c - which words a learned context resembles: the symbols of the vocabulary whose embeddings are nearest to each vector.
 * The embeddings are read in blocks, so that the table of 49408 rows is never in memory as a whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clip/prompt/tune.h"

enum { BLOCK = 512 };

/* Puts a symbol into the list of the nearest, sorted; equal ones stand in the order of their ids. */
static void consider(ts_clip_word *list, int each, int symbol, float distance)
{
    int at = each;
    while (at > 0 && distance < list[at - 1].distance) at--;
    if (at == each) return;
    memmove(list + at + 1, list + at, (size_t)(each - at - 1) * sizeof *list);
    list[at] = (ts_clip_word){symbol, distance};
}

static float distance(const float *a, const float *b, int64_t width)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrtf(sum);
}

static bool search(const ts_clip *c, const float *vectors, int count, int each, ts_clip_word *out, ts_error *err)
{
    const int64_t width = ts_clip_about(c)->text_width;
    const int vocabulary = ts_clip_about(c)->vocabulary;
    float *rows = malloc((size_t)BLOCK * (size_t)width * sizeof *rows);
    if (!rows) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    for (int i = 0; i < count * each; i++) out[i] = (ts_clip_word){-1, INFINITY};
    for (int first = 0; ok && first < vocabulary; first += BLOCK) {
        int32_t ids[BLOCK];
        const int n = vocabulary - first < BLOCK ? vocabulary - first : BLOCK;
        for (int i = 0; i < n; i++) ids[i] = first + i;
        ok = ts_clip_embedding(c, ids, n, rows, err);
        for (int v = 0; ok && v < count; v++)
            for (int i = 0; i < n; i++)
                consider(out + (int64_t)v * each, each, first + i, distance(vectors + v * width, rows + i * width, width));
    }
    free(rows);
    return ok;
}

bool ts_clip_prompt_words(ts_clip_prompt *p, int first, int count, int each, ts_clip_word *out, ts_error *err)
{
    const ts_clip_prompt_info info = ts_clip_prompt_about(p);
    ts_prompt *prompt = ts_clip_prompt_inner(p);
    const int64_t width = ts_clip_about(prompt->clip)->text_width;
    if (first < 0 || count < 1 || first > info.vectors - count || each < 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "a prompt of %s with %d context vectors has no words for %d to %d", info.method,
                       info.vectors, first, first + count - 1);
    float *vectors = malloc((size_t)info.vectors * (size_t)width * sizeof *vectors);
    if (!vectors) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok =
        ts_prompt_read(prompt, "ctx", vectors, err) && search(prompt->clip, vectors + first * width, count, each, out, err);
    free(vectors);
    return ok;
}
