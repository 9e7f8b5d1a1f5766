/* vecmath.h - exp, erf, tanh, sine and cosine in single precision without branches or tables, so that a loop over them vectorises
 * (libm's calls do not). Within 1e-7 relative of the true value, as good as libm's for what a network does with them. */
#ifndef TESSERA_VECMATH_H
#define TESSERA_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float ts_float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* e^x = 2^n e^r with |r| <= ln(2)/2 and Cephes' polynomial in r. 2^n is multiplied in two halves, so that results run out to
 * infinity, to subnormals and to zero as they should. NaN stays NaN. */
static inline float ts_expf(float x)
{
    const float rounder = 12582912.0F; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    const float low = x < -104.0F ? -104.0F : x, c = low > 89.0F ? 89.0F : low;
    const float shifted = c * 1.44269504F + rounder, n = shifted - rounder;
    const float r = (c - n * 0.693359375F) + n * 2.12194440e-4F; /* ln 2 in two parts, the first exact times n */
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    const int32_t exponent = (int32_t)(bits - 0x4b400000U), half = exponent >> 1;
    return p * ts_float_from_bits((uint32_t)(half + 127) << 23) * ts_float_from_bits((uint32_t)(exponent - half + 127) << 23);
}

/* Two minimax polynomials: x + x P(x^2) in the middle, 1 - e^-Q(|x|) outside. */
static inline float ts_erff(float x)
{
    const float magnitude = x < 0 ? -x : x, t = magnitude > 4.0F ? 4.0F : magnitude, s = t * t;
    float q = -1.72853470e-5F * t + 3.83197126e-4F;
    q = q * s + (-3.88396438e-3F * t + 2.42546219e-2F);
    q = q * t - 1.06777877e-1F;
    q = q * t - 6.34846687e-1F;
    q = q * t - 1.28717512e-1F;
    const float outside = 1.0F - ts_expf(q * t - t);
    float p = -5.96761703e-4F;
    p = p * s + 4.99119423e-3F;
    p = p * s - 2.67681349e-2F;
    p = p * s + 1.12819925e-1F;
    p = p * s - 3.76125336e-1F;
    p = p * s + 1.28379166e-1F;
    const float y = t > 0.927734375F ? outside : p * t + t;
    return x < 0 ? -y : y;
}

/* Cephes' polynomial in the middle, where 1 - 2 / (e^2|x| + 1) outside would cancel. */
static inline float ts_tanhf(float x)
{
    const float t = x < 0 ? -x : x, s = x * x;
    float p = -5.70498872745e-3F;
    p = p * s + 2.06390887954e-2F;
    p = p * s - 5.37397155531e-2F;
    p = p * s + 1.33314422036e-1F;
    p = p * s - 3.33332819422e-1F;
    const float outside = 1.0F - 2.0F / (ts_expf(2.0F * t) + 1.0F);
    return t < 0.625F ? x + x * s * p : x < 0 ? -outside : outside;
}

/* sin(r) for |r| <= pi / 2 and a bit: Taylor's terms up to r^13. */
static inline float ts_sin_near(float r)
{
    const float s = r * r;
    float p = 1.60590438e-10F;
    p = p * s - 2.50521084e-8F;
    p = p * s + 2.75573192e-6F;
    p = p * s - 1.98412698e-4F;
    p = p * s + 8.33333333e-3F;
    p = p * s - 1.66666667e-1F;
    return p * s * r + r;
}

/* sin(x) = (-1)^n sin(x - n pi) and cos(x) = -(-1)^m sin(x - (m + 1/2) pi); pi in three parts, the first two exact times a few
 * thousand, which bounds the |x| that this is good for to about 10^4. */
static inline float ts_turned_sin(float x, float turns, float n)
{
    const float r = ((x - turns * 3.140625F) - turns * 9.67502594e-4F) - turns * 1.50995799e-7F;
    const float odd = n - 2.0F * floorf(n * 0.5F);
    return (1.0F - 2.0F * odd) * ts_sin_near(r);
}

static inline float ts_sinf(float x)
{
    const float n = rintf(x * 0.318309886F);
    return ts_turned_sin(x, n, n);
}

static inline float ts_cosf(float x)
{
    const float m = rintf(x * 0.318309886F - 0.5F);
    return -ts_turned_sin(x, m + 0.5F, m);
}

#endif
