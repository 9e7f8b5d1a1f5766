/* prompt_bench.h - what the tests of prompt methods stand on: the small golden CLIP with its vocabulary, prompts of four classes
 * on it, and numbers that need not be stored. */
#ifndef TESSERA_TEST_PROMPT_BENCH_H
#define TESSERA_TEST_PROMPT_BENCH_H

#include "clip/prompt/method.h"

enum { PICTURES = 6, SIDE = 64, CLASSES = 4, EMBED = 64 }; /* of the golden file */
extern const char *const class_names[CLASSES];

typedef struct {
    ts_device *dev;
    ts_weights *model, *golden;
    ts_clip *clip;
    ts_tokenizer *tokenizer;
} bench;

/* Skips the test where the golden files or the vocabulary are absent. */
bench bench_new(ts_device *dev);
void bench_free(bench *b);
ts_device *host(void);
ts_prompt *prompt(const bench *b, const char *method, ts_method_settings settings);
/* Elements of parameter i. */
int64_t param_count(ts_prompt *p, int64_t i);

/* (3, rows, columns) -> (rows, columns, 3), in a new array. */
float *planes_to_pixels(const float *planes, int64_t rows, int64_t columns);
/* Rows of EMBED numbers, to the length of 1. */
void unit_rows(float *x, int64_t rows);

/* A parameter's values, which make_prompt_golden.py makes too. */
typedef struct {
    const char *name;
    double offset, bound;
} made;
void start(int number, const made *m, int64_t count, float *out);

#endif
