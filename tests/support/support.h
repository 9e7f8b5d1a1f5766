/* support.h - what the tests share: the yardstick comparison of an op on every backend, golden files, temporary folders. */
#ifndef TESSERA_TEST_SUPPORT_H
#define TESSERA_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine.h"

/* An op under test: `build` makes inputs with case_real / case_weight / case_int and returns the tensor to compare. It is called
 * once for each backend and must describe the same graph each time. */
typedef struct op_case op_case;
typedef ts_tensor *(*op_build)(op_case *c, ts_graph *g);

ts_tensor *case_real(op_case *c, ts_graph *g, int ndim, const int64_t *shape);                     /* normal(0, 1) */
ts_tensor *case_weight(op_case *c, ts_graph *g, ts_layout layout, int ndim, const int64_t *shape); /* normal(0, 1/sqrt(fan in)) */
ts_tensor *case_int(op_case *c, ts_graph *g, int ndim, const int64_t *shape, int32_t low, int32_t high); /* low <= v < high */
const void *case_args(const op_case *c);

/* Builds and runs the op in double precision, on the host, and on Vulkan where there is a driver (a CPU driver is good enough),
 * all with the same random inputs, and fails unless max |got - want| <= tolerance * max(1, max |want|). Integer results must be
 * equal. */
void check_op(const char *label, op_build build, const void *args, uint64_t seed, double tolerance);

/* The gradients of all real inputs of an op under test (`build` as for check_op, its result real), by way of the loss sum(y r)
 * with fixed random r. In double precision they are compared with central differences along random directions (within 1e-6 of
 * their norm; NULL gradients count as zero), then the host's and Vulkan's with those, as check_op compares. */
void check_grad(const char *label, op_build build, const void *args, uint64_t seed, double tolerance);

/* The Vulkan device of the tests (validation on, with the precision asked for), opened once a process; NULL where there is none,
 * which fails the test where TESSERA_REQUIRE_VALIDATION is set.
 * At the end a test program calls check_validation_silent as its last test. */
ts_device *test_vulkan(ts_precision precision);
void check_validation_silent(void **state);

/* A deterministic generator (splitmix64). */
double test_uniform(uint64_t *seed); /* [0, 1) */
double test_normal(uint64_t *seed);

/* max |a - b| / max |b|. */
double relative_error(const float *a, const float *b, int64_t count);
/* Opens ../shared/golden/NAME; skips the test, saying so, where the folder is absent. */
ts_weights *open_golden(const char *name);
/* All of a tensor of `w` as floats (free() it); fails the test where it is absent. */
float *golden_f32(const ts_weights *w, const char *name);
int64_t *golden_i64(const ts_weights *w, const char *name);
/* A fresh folder for a test's files. */
const char *temp_dir(void);

#endif
