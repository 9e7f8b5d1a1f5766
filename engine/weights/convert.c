/* convert.c - from the element types of files to float, double and int64.
 *
 * A tensor of a file is unaligned and perhaps strided, so elements are first gathered, as raw bytes in row-major order, and then
 * converted in bulk; contiguous ones skip the gathering. The bulk loops have no branch inside, for the compiler to vectorise. */
#include "engine/weights/internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const struct {
    const char *name;
    int size;
} dtypes[] = {
    [TS_DT_F32] = {"F32", 4}, [TS_DT_F16] = {"F16", 2},   [TS_DT_BF16] = {"BF16", 2}, [TS_DT_F64] = {"F64", 8},
    [TS_DT_I64] = {"I64", 8}, [TS_DT_I32] = {"I32", 4},   [TS_DT_I16] = {"I16", 2},   [TS_DT_I8] = {"I8", 1},
    [TS_DT_U8] = {"U8", 1},   [TS_DT_BOOL] = {"BOOL", 1},
};

const char *ts_dtype_name(ts_dtype d)
{
    return (unsigned)d < sizeof dtypes / sizeof *dtypes ? dtypes[d].name : "?";
}

int ts_dtype_size(ts_dtype d)
{
    return (unsigned)d < sizeof dtypes / sizeof *dtypes ? dtypes[d].size : 0;
}

static float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Normal numbers: exponent and mantissa moved into place as if the bias were the same, then scaled by 2^-112 (which keeps
 * infinity and NaN). Subnormal ones: the mantissa is put under the bits of 0.5, and 0.5 taken away. Both are computed and one is
 * chosen, so that a loop over this vectorises. */
float ts_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    uint32_t normal = bits_of_float(float_of_bits((rest << 13) + (0xe0u << 23)) * 0x1p-112f);
    uint32_t subnormal = bits_of_float(float_of_bits(rest | (126u << 23)) - 0.5f);
    return float_of_bits(sign | (rest < 0x0400u ? subnormal : normal));
}

uint16_t ts_f32_to_f16(float f)
{
    uint32_t bits = bits_of_float(f), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);  /* NaN */
    if (rest >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and up round to infinity */
    if (rest < 0x38800000u) {
        /* Subnormal: adding 0.5 leaves the mantissa in units of 2^-24, rounded to nearest even by the addition itself. */
        return (uint16_t)(sign | (bits_of_float(float_of_bits(rest) + 0.5f) - (126u << 23)));
    }
    uint32_t odd = rest >> 13 & 1; /* ties go to even; a carry out of the mantissa raises the exponent, which is right */
    return (uint16_t)(sign | ((rest - (112u << 23) + 0xfffu + odd) >> 13));
}

bool ts_weight_is_contiguous(const ts_weight *t)
{
    int64_t expected = 1;
    if (!t->count) return true;
    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != expected) return false;
        expected *= t->shape[i];
    }
    return true;
}

static void gather_run(const uint8_t *in, int64_t stride, int64_t n, int size, uint8_t *out)
{
    if (stride == 1) {
        memcpy(out, in, (size_t)(n * size));
        return;
    }
    int64_t step = stride * size;
    switch (size) { /* a constant size lets each copy become one move */
    case 1:
        for (int64_t i = 0; i < n; i++) out[i] = in[i * step];
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) memcpy(out + 2 * i, in + i * step, 2);
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) memcpy(out + 4 * i, in + i * step, 4);
        break;
    default:
        for (int64_t i = 0; i < n; i++) memcpy(out + 8 * i, in + i * step, 8);
    }
}

void ts_weight_gather(const ts_weight *t, int64_t first, int64_t n, void *out)
{
    int size = ts_dtype_size(t->dtype);
    const uint8_t *in = t->data;
    uint8_t *to = out;
    if (n <= 0) return;
    if (t->contiguous || t->ndim < 1) {
        memcpy(to, in + first * size, (size_t)(n * size));
        return;
    }
    int last = t->ndim - 1;
    int64_t index[TS_MAX_FILE_DIMS], rest = first;
    for (int i = last; i >= 0; i--) {
        index[i] = rest % t->shape[i];
        rest /= t->shape[i];
    }
    while (n > 0) {
        int64_t offset = 0, run = t->shape[last] - index[last];
        if (run > n) run = n;
        for (int i = 0; i <= last; i++) offset += index[i] * t->stride[i];
        gather_run(in + offset * size, t->stride[last], run, size, to);
        to += run * size;
        n -= run;
        index[last] = 0;
        for (int i = last - 1; i >= 0 && ++index[i] == t->shape[i]; i--) index[i] = 0;
    }
}

/* Reads element i of unaligned packed elements. */
#define LOAD(type, in, i) (((const packed_##type *)(in))[i])
typedef float __attribute__((aligned(1), may_alias)) packed_float;
typedef double __attribute__((aligned(1), may_alias)) packed_double;
typedef int64_t __attribute__((aligned(1), may_alias)) packed_int64_t;
typedef int32_t __attribute__((aligned(1), may_alias)) packed_int32_t;
typedef int16_t __attribute__((aligned(1), may_alias)) packed_int16_t;
typedef uint16_t __attribute__((aligned(1), may_alias)) packed_uint16_t;
typedef int8_t __attribute__((may_alias)) packed_int8_t;
typedef uint8_t __attribute__((may_alias)) packed_uint8_t;

#define EACH(expression)                                                                                                         \
    for (int64_t i = 0; i < n; i++) out[i] = (expression);                                                                       \
    break

/* Half to single by the processor's own instruction, where it has one: the same bits, and several times as fast. */
#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) static int64_t convert_f16c(const void *in, int64_t n, float *out)
{
    const uint8_t *from = in;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(from + 2 * i))));
    return i;
}

static int64_t convert_f16(const void *in, int64_t n, float *out)
{
    return __builtin_cpu_supports("avx2") ? convert_f16c(in, n, out) : 0; /* all that have AVX2 have F16C */
}
#else
static int64_t convert_f16(const void *in, int64_t n, float *out)
{
    (void)in;
    (void)n;
    (void)out;
    return 0;
}
#endif

void ts_convert_f32(ts_dtype from, const void *in, int64_t n, float *out)
{
    switch (from) {
    case TS_DT_F32:
        if (n > 0) memcpy(out, in, (size_t)n * sizeof *out);
        break;
    case TS_DT_F16:
        for (int64_t i = convert_f16(in, n, out); i < n; i++) out[i] = ts_f16_to_f32(LOAD(uint16_t, in, i));
        break;
    case TS_DT_BF16:
        EACH(float_of_bits((uint32_t)LOAD(uint16_t, in, i) << 16));
    case TS_DT_F64:
        EACH((float)LOAD(double, in, i));
    case TS_DT_I64:
        EACH((float)LOAD(int64_t, in, i));
    case TS_DT_I32:
        EACH((float)LOAD(int32_t, in, i));
    case TS_DT_I16:
        EACH((float)LOAD(int16_t, in, i));
    case TS_DT_I8:
        EACH((float)LOAD(int8_t, in, i));
    case TS_DT_U8:
        EACH((float)LOAD(uint8_t, in, i));
    case TS_DT_BOOL:
        EACH(LOAD(uint8_t, in, i) ? 1.0f : 0.0f);
    }
}

void ts_convert_f64(ts_dtype from, const void *in, int64_t n, double *out)
{
    switch (from) {
    case TS_DT_F32:
        EACH((double)LOAD(float, in, i));
    case TS_DT_F16:
        EACH((double)ts_f16_to_f32(LOAD(uint16_t, in, i)));
    case TS_DT_BF16:
        EACH((double)float_of_bits((uint32_t)LOAD(uint16_t, in, i) << 16));
    case TS_DT_F64:
        if (n > 0) memcpy(out, in, (size_t)n * sizeof *out);
        break;
    case TS_DT_I64:
        EACH((double)LOAD(int64_t, in, i));
    case TS_DT_I32:
        EACH((double)LOAD(int32_t, in, i));
    case TS_DT_I16:
        EACH((double)LOAD(int16_t, in, i));
    case TS_DT_I8:
        EACH((double)LOAD(int8_t, in, i));
    case TS_DT_U8:
        EACH((double)LOAD(uint8_t, in, i));
    case TS_DT_BOOL:
        EACH(LOAD(uint8_t, in, i) ? 1.0 : 0.0);
    }
}

static void convert_i64(ts_dtype from, const void *in, int64_t n, int64_t *out)
{
    switch (from) {
    case TS_DT_I64:
        EACH(LOAD(int64_t, in, i));
    case TS_DT_I32:
        EACH(LOAD(int32_t, in, i));
    case TS_DT_I16:
        EACH(LOAD(int16_t, in, i));
    case TS_DT_I8:
        EACH(LOAD(int8_t, in, i)); /* NOLINT(bugprone-signed-char-misuse): the sign is wanted */
    case TS_DT_U8:
        EACH(LOAD(uint8_t, in, i));
    case TS_DT_BOOL:
        EACH(LOAD(uint8_t, in, i) ? 1 : 0);
    case TS_DT_F32:
    case TS_DT_F16:
    case TS_DT_BF16:
    case TS_DT_F64:
        break;
    }
}

enum { CHUNK = 4096 }; /* elements gathered at a time */

bool ts_weight_to_f32(const ts_weight *t, float *out, ts_error *err)
{
    uint8_t chunk[CHUNK * 8];
    if (t->contiguous) {
        ts_convert_f32(t->dtype, t->data, t->count, out);
        return ts_mapping_intact(t->file, err);
    }
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        ts_weight_gather(t, at, n, chunk);
        ts_convert_f32(t->dtype, chunk, n, out + at);
    }
    return ts_mapping_intact(t->file, err);
}

bool ts_weight_to_f64(const ts_weight *t, double *out, ts_error *err)
{
    uint8_t chunk[CHUNK * 8];
    if (t->contiguous) {
        ts_convert_f64(t->dtype, t->data, t->count, out);
        return ts_mapping_intact(t->file, err);
    }
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        ts_weight_gather(t, at, n, chunk);
        ts_convert_f64(t->dtype, chunk, n, out + at);
    }
    return ts_mapping_intact(t->file, err);
}

bool ts_weight_to_i64(const ts_weight *t, int64_t *out, ts_error *err)
{
    uint8_t chunk[CHUNK * 8];
    if (t->dtype == TS_DT_F32 || t->dtype == TS_DT_F16 || t->dtype == TS_DT_BF16 || t->dtype == TS_DT_F64) {
        char shown[TS_QUOTE];
        return ts_fail(err, TS_ERR_ARGUMENT, "tensor '%s' is %s where integers were expected",
                       ts_quote(shown, t->name, strlen(t->name)), ts_dtype_name(t->dtype));
    }
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        ts_weight_gather(t, at, n, chunk);
        convert_i64(t->dtype, chunk, n, out + at);
    }
    return ts_mapping_intact(t->file, err);
}

void ts_weight_release(const ts_weight *t)
{
    if (!t->count) return;
    uint64_t last = 0; /* element farthest from the first */
    for (int i = 0; i < t->ndim; i++) last += (uint64_t)(t->shape[i] - 1) * (uint64_t)t->stride[i];
    /* Whole pages inside the tensor only: the ones at its ends hold neighbours. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)t->data;
    uintptr_t begin = (start + page - 1) / page * page;
    uintptr_t end = (start + (last + 1) * (uint64_t)ts_dtype_size(t->dtype)) / page * page;
    if (end > begin) madvise((char *)t->data + (begin - start), end - begin, MADV_DONTNEED);
}
