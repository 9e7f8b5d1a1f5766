// math.glsl - the activations. GLSL has no erf: two minimax polynomials, x + x P(x^2) in the middle and 1 - e^-Q(|x|) outside,
// within 2e-7 (where the driver's exp is good to that); a driver's tanh may overflow: Cephes' polynomial, and exp outside. Each
// in a scalar and a vec4 form.

#define TS_MATH(T, B)                                                                                                            \
    T erf(T x)                                                                                                                   \
    {                                                                                                                            \
        const T t = min(abs(x), T(4.0)), s = t * t;                                                                              \
        T q = fma(T(-1.72853470e-5), t, T(3.83197126e-4));                                                                       \
        q = fma(q, s, fma(T(-3.88396438e-3), t, T(2.42546219e-2)));                                                              \
        q = fma(q, t, T(-1.06777877e-1));                                                                                        \
        q = fma(q, t, T(-6.34846687e-1));                                                                                        \
        q = fma(q, t, T(-1.28717512e-1));                                                                                        \
        const T outside = 1.0 - exp(fma(q, t, -t));                                                                              \
        T p = fma(T(-5.96761703e-4), s, T(4.99119423e-3));                                                                       \
        p = fma(p, s, T(-2.67681349e-2));                                                                                        \
        p = fma(p, s, T(1.12819925e-1));                                                                                         \
        p = fma(p, s, T(-3.76125336e-1));                                                                                        \
        p = fma(p, s, T(1.28379166e-1));                                                                                         \
        return sign(x) * mix(fma(p, t, t), outside, B(greater(t, T(0.927734375))));                                              \
    }                                                                                                                            \
    T gelu(T x)                                                                                                                  \
    {                                                                                                                            \
        return 0.5 * x * (1.0 + erf(x * 0.70710678118));                                                                         \
    }                                                                                                                            \
    T quick_gelu(T x)                                                                                                            \
    {                                                                                                                            \
        return x / (1.0 + exp(-1.702 * x));                                                                                      \
    }                                                                                                                            \
    T swish(T x)                                                                                                                 \
    {                                                                                                                            \
        return x / (1.0 + exp(-x));                                                                                              \
    }                                                                                                                            \
    T safe_tanh(T x)                                                                                                             \
    {                                                                                                                            \
        const T t = abs(x), s = x * x;                                                                                           \
        T p = fma(T(-5.70498872745e-3), s, T(2.06390887954e-2));                                                                 \
        p = fma(p, s, T(-5.37397155531e-2));                                                                                     \
        p = fma(p, s, T(1.33314422036e-1));                                                                                      \
        p = fma(p, s, T(-3.33332819422e-1));                                                                                     \
        const T outside = sign(x) * (1.0 - 2.0 / (exp(2.0 * min(t, T(20.0))) + 1.0));                                            \
        return mix(fma(x * s, p, x), outside, B(greater(t, T(0.625))));                                                          \
    }

bool greater(float a, float b)
{
    return a > b;
}
bvec4 greater(vec4 a, vec4 b)
{
    return greaterThan(a, b);
}
TS_MATH(float, bool)
TS_MATH(vec4, bvec4)

// sin(x - (n + half_turn) pi) (-1)^n, n whole: sin(x) = turned_sin(x, n, 0), cos(x) = -turned_sin(x, n, 1/2). A driver's own sine need
// only be good to 2^-11. pi in three parts, Taylor's terms up to r^13; for |x| up to 10^4.
vec4 turned_sin(vec4 x, vec4 n, float half_turn)
{
    const vec4 turns = n + half_turn;
    precise vec4 r = x - turns * 3.140625;
    r = r - turns * 9.67502594e-4;
    r = r - turns * 1.50995799e-7;
    const vec4 s = r * r;
    vec4 p = vec4(1.60590438e-10);
    p = p * s - 2.50521084e-8;
    p = p * s + 2.75573192e-6;
    p = p * s - 1.98412698e-4;
    p = p * s + 8.33333333e-3;
    p = p * s - 1.66666667e-1;
    return (1.0 - 2.0 * mod(n, 2.0)) * (p * s * r + r);
}

vec4 sine(vec4 x)
{
    return turned_sin(x, round(x * 0.318309886), 0.0);
}

vec4 cosine(vec4 x)
{
    return -turned_sin(x, round(x * 0.318309886 - 0.5), 0.5);
}
