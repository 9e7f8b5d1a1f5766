/* small_tuner.h - a tuner as small as one can be, to hold the methods against PyTorch by: it goes as method.h describes, class
 * prompts in chunks, forward, head, chunks again with the gradient of their features as seed. */
#ifndef TESSERA_TEST_SMALL_TUNER_H
#define TESSERA_TEST_SMALL_TUNER_H

#include "prompt_bench.h"

/* A described and planned pass. */
typedef struct {
    ts_prompt_graph pg;
    ts_exec *e;
    ts_prompt_chunk chunk;
    ts_tensor *pixels, *image, *classes, *target, *seed; /* inputs; NULL where there is none */
    ts_tensor *out, *class_grad;                         /* features or loss; of classes */
    ts_tensor *grad[TS_PROMPT_MAX_PARAMS];               /* by place in the prompt's ts_params; NULL: none flows */
} piece;

/* Class features of a chunk, or with `backward` the gradients of their product with the seed. */
piece chunk_piece(ts_prompt *p, ts_device *dev, int count, bool backward);
void piece_free(piece *s);

typedef struct {
    ts_prompt *p;
    int pictures, chunk; /* of one pass; classes in a chunk */
    piece forward, head, backward;
    ts_graph *update_graph;
    ts_exec *update;
    ts_tensor *hyper, *grad_input[TS_PROMPT_MAX_PARAMS];
    float *grad[TS_PROMPT_MAX_PARAMS];          /* sums of a step */
    const float *pixels, *image, *text_classes; /* of all pictures; constant class features */
    const int32_t *target;
} tuner;

tuner tuner_new(ts_prompt *p, ts_device *dev, int chunk);
void tuner_free(tuner *t);
/* Loss and gradients of all pictures; no update. */
double tuner_gradients(tuner *t);
void tuner_update(tuner *t, double lr);

#endif
