/* eigen.c - eigenvalues and vectors of a symmetric matrix, in double precision: Householder's reduction to three diagonals, then
 * the implicit QL algorithm (Bowdler, Martin, Reinsch & Wilkinson 1968). A thousand rows take seconds, so that what costs is
 * spread over the cores; every sum has one order, whatever their number. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/real.h"

enum { GRAIN = 32, MOST_SWEEPS = 60, TILE = 64 /* places that stay in the cache */ };

typedef struct {
    double *a; /* (n, n): what is left of the matrix, and in rows below `k` the mirrors' vectors */
    int n, k;
    double *diagonal, *beside; /* (n), beside[i] between i and i + 1 */
    double *mirror, *w;        /* of step k: from k + 1 on */
    double *scale;             /* of the mirrors: 2 / |v|^2 */
    double *vectors;           /* (n, n): rows are what the columns of Q are in the algorithm */
    double *turn;              /* a sweep's rotations: cosine and sine of each */
    int low, high, count;
} eigen;

/* w = scale A v, rows k + 1 + begin on */
TS_CLONES static void multiply_rows(void *ctx, int64_t begin, int64_t end)
{
    const eigen *s = ctx;
    const int first = s->k + 1;
    for (int64_t i = first + begin; i < first + end; i++) {
        double sum = 0;
        const double *row = s->a + i * s->n;
#pragma omp simd reduction(+ : sum)
        for (int j = first; j < s->n; j++) sum += row[j] * s->mirror[j];
        s->w[i] = s->scale[s->k] * sum;
    }
}

/* A -= v w^T + w v^T */
TS_CLONES static void update_rows(void *ctx, int64_t begin, int64_t end)
{
    const eigen *s = ctx;
    const int first = s->k + 1;
    for (int64_t i = first + begin; i < first + end; i++) {
        double *row = s->a + i * s->n;
        const double v = s->mirror[i], w = s->w[i];
        for (int j = first; j < s->n; j++) row[j] -= v * s->w[j] + w * s->mirror[j];
    }
}

/* Clears row k beyond its neighbour; the mirror's vector stays there. */
static void mirror_row(eigen *s)
{
    const int n = s->n, k = s->k, first = k + 1, threads = ts_core_count();
    double *row = s->a + (int64_t)k * n, square = 0, dot = 0;
    for (int j = first; j < n; j++) square += row[j] * row[j];
    s->diagonal[k] = row[k];
    const double length = row[first] > 0 ? -sqrt(square) : sqrt(square);
    s->beside[k] = length;
    s->scale[k] = 0;
    if (square - row[first] * row[first] <= 0) { /* nothing to clear */
        s->beside[k] = row[first];
        return;
    }
    row[first] -= length;
    square += length * length - 2 * length * (row[first] + length);
    s->scale[k] = 2 / square;
    s->mirror = row;
    ts_parallel(threads, n - first, GRAIN, multiply_rows, s);
    for (int j = first; j < n; j++) dot += s->w[j] * row[j];
    for (int j = first; j < n; j++) s->w[j] -= s->scale[k] / 2 * dot * row[j];
    ts_parallel(threads, n - first, GRAIN, update_rows, s);
}

/* The rotations of a sweep, on columns begin to end of the rows of `vectors`. */
TS_CLONES static void turn_columns(void *ctx, int64_t begin, int64_t end)
{
    const eigen *s = ctx;
    for (int i = s->high - 1; i >= s->low; i--) {
        const double c = s->turn[2 * i], t = s->turn[2 * i + 1];
        double *a = s->vectors + (int64_t)i * s->n, *b = a + s->n;
#pragma omp simd
        for (int64_t k = begin; k < end; k++) {
            const double f = b[k];
            b[k] = t * a[k] + c * f;
            a[k] = c * a[k] - t * f;
        }
    }
}

/* One implicit QL sweep on rows low to high of the three diagonals. */
static void sweep(eigen *s)
{
    double *d = s->diagonal, *e = s->beside;
    const int low = s->low, high = s->high;
    double g = (d[low + 1] - d[low]) / (2 * e[low]), r = hypot(g, 1), c = 1, t = 1, p = 0;
    g = d[high] - d[low] + e[low] / (g + copysign(r, g));
    for (int i = high - 1; i >= low; i--) {
        double f = t * e[i];
        const double b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (r == 0) { /* it falls apart in the middle: the rotations above are all */
            d[i + 1] -= p;
            e[high] = 0;
            s->low = i + 1;
            ts_parallel(ts_core_count(), s->n, GRAIN, turn_columns, s);
            s->low = low;
            return;
        }
        t = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * t + 2 * c * b;
        p = t * r;
        d[i + 1] = g + p;
        g = c * r - b;
        s->turn[2 * i] = c;
        s->turn[2 * i + 1] = t;
    }
    d[low] -= p;
    e[low] = g;
    e[high] = 0;
    ts_parallel(ts_core_count(), s->n, GRAIN, turn_columns, s);
}

static bool diagonalise(eigen *s)
{
    const double *d = s->diagonal, *e = s->beside;
    for (s->low = 0; s->low < s->n; s->low++)
        for (int sweeps = 0;; sweeps++) {
            for (s->high = s->low; s->high < s->n - 1; s->high++) {
                const double near = fabs(d[s->high]) + fabs(d[s->high + 1]);
                if (fabs(e[s->high]) <= 2.3e-16 * near) break;
            }
            if (s->high == s->low) break;
            if (sweeps == MOST_SWEEPS) return false;
            sweep(s);
        }
    return true;
}

/* Vectors of the three diagonals -> of the matrix: the mirrors, the last one first. `vectors` has `count` rows here. */
TS_CLONES static void mirror_back(void *ctx, int64_t begin, int64_t end)
{
    const eigen *s = ctx;
    for (int64_t v = begin; v < end; v++) {
        double *row = s->vectors + v * s->n;
        for (int k = s->n - 3; k >= 0; k--) {
            const double *mirror = s->a + (int64_t)k * s->n;
            double dot = 0;
#pragma omp simd reduction(+ : dot)
            for (int j = k + 1; j < s->n; j++) dot += mirror[j] * row[j];
            dot *= s->scale[k];
            for (int j = k + 1; j < s->n; j++) row[j] -= dot * mirror[j];
        }
    }
}

typedef struct {
    double value;
    int index;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static bool solve(eigen *s, ranked *rank, double *values, int count, double *vectors, ts_error *err)
{
    const int n = s->n;
    for (s->k = 0; s->k < n - 2; s->k++) mirror_row(s);
    for (int i = n < 2 ? 0 : n - 2; i < n; i++) s->diagonal[i] = s->a[(int64_t)i * n + i];
    if (n > 1) s->beside[n - 2] = s->a[(int64_t)(n - 2) * n + n - 1];
    for (int i = 0; i < n; i++) s->vectors[(int64_t)i * n + i] = 1;
    if (!diagonalise(s)) return ts_fail(err, TS_ERR_ARGUMENT, "the eigenvalues of a matrix of %d rows were not found", n);
    for (int i = 0; i < n; i++) rank[i] = (ranked){s->diagonal[i], i};
    qsort(rank, (size_t)n, sizeof *rank, by_value);
    for (int i = 0; i < n; i++) values[i] = rank[i].value;
    for (int i = 0; i < count; i++)
        memcpy(vectors + (int64_t)i * n, s->vectors + (int64_t)rank[i].index * n, (size_t)n * sizeof *vectors);
    eigen back = *s;
    back.vectors = vectors;
    ts_parallel(ts_core_count(), count, 1, mirror_back, &back);
    return true;
}

bool ts_eigen(double *a, int n, double *values, int count, double *vectors, ts_error *err)
{
    const size_t room = (size_t)n;
    double *work = calloc(room * 6, sizeof *work), *all = calloc(room * room, sizeof *all);
    ranked *rank = calloc(room, sizeof *rank);
    bool ok = work && all && rank;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a matrix of %d rows", n);
    if (ok) {
        eigen s = {.a = a,
                   .n = n,
                   .diagonal = work,
                   .beside = work + room,
                   .w = work + 2 * room,
                   .scale = work + 3 * room,
                   .turn = work + 4 * room,
                   .vectors = all};
        ok = solve(&s, rank, values, count, vectors, err);
    }
    free(work);
    free(all);
    free(rank);
    return ok;
}

/* ---- a basis of what positions do to features ---- */

typedef struct {
    const double *x; /* (places, width), centred */
    int64_t places;
    int width;
    double *out; /* (width, width) */
} covariance;

TS_CLONES static void covariance_rows(void *ctx, int64_t begin, int64_t end)
{
    const covariance *c = ctx;
    for (int64_t first = 0; first < c->places; first += TILE) {
        const int64_t last = first + TILE < c->places ? first + TILE : c->places;
        for (int64_t i = begin; i < end; i++) {
            double *row = c->out + i * c->width;
            for (int64_t p = first; p < last; p++) {
                const double *x = c->x + p * c->width, t = x[i];
#pragma omp simd
                for (int j = 0; j < c->width; j++) row[j] += t * x[j];
            }
        }
    }
}

bool ts_position_basis(const float *tokens, int64_t places, int width, int count, float *basis, ts_error *err)
{
    const size_t room = (size_t)width;
    double *x = calloc((size_t)places * room, sizeof *x), *square = calloc(room * room, sizeof *square);
    double *values = calloc(room, sizeof *values), *vectors = calloc((size_t)count * room, sizeof *vectors);
    bool ok = x && square && values && vectors;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for features of %lld places", (long long)places);
    for (int i = 0; ok && i < width; i++) {
        double mean = 0;
        for (int64_t p = 0; p < places; p++) mean += (double)tokens[p * width + i] / (double)places;
        for (int64_t p = 0; p < places; p++) x[p * width + i] = (double)tokens[p * width + i] - mean;
    }
    if (ok) {
        covariance c = {x, places, width, square};
        ts_parallel(ts_core_count(), width, 8, covariance_rows, &c);
    }
    ok = ok && ts_eigen(square, width, values, count, vectors, err);
    for (int64_t i = 0; ok && i < (int64_t)count * width; i++) basis[i] = (float)vectors[i];
    free(x);
    free(square);
    free(values);
    free(vectors);
    return ok;
}
