/* real.h - the number type of the host kernels. An op file is compiled twice: plainly (`real` is float, for use) and with
 * TS_YARDSTICK (`real` is double, for the tests). REAL(name) gives a function its suffix. */
#ifndef TESSERA_REAL_H
#define TESSERA_REAL_H

#include "engine/vecmath.h"

#include <math.h>

#ifdef TS_YARDSTICK
typedef double real;
#define REAL(name) name##_f64
#define real_exp   exp
#define real_erf   erf
#define real_tanh  tanh
#define real_sin   sin
#define real_cos   cos
#define real_sqrt  sqrt
#define real_fabs  fabs
#else
typedef float real;
#define REAL(name) name##_f32
#define real_exp   ts_expf
#define real_erf   ts_erff
#define real_tanh  ts_tanhf
#define real_sin   ts_sinf
#define real_cos   ts_cosf
#define real_sqrt  sqrtf
#define real_fabs  fabsf
#endif

/* One hot function in several instruction sets, chosen when the program starts, so that one build is fast everywhere. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define TS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TS_CLONES
#endif

/* Declares both builds of a host kernel, so that the op's table can name them. */
#define TS_HOST_KERNEL(name)                                                                                                     \
    bool ts_host_##name##_f32(const ts_node *n, ts_host *h, ts_error *err);                                                      \
    bool ts_host_##name##_f64(const ts_node *n, ts_host *h, ts_error *err)

#endif
