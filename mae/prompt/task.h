/* task.h - a task's insides, for the files that make one, find one and answer with one. Not installed. */
#ifndef TESSERA_MAE_PROMPT_TASK_H
#define TESSERA_MAE_PROMPT_TASK_H

#include "mae/inpaint.h"
#include "mae/prompt/prompt.h"

/* Of the encoder's heads, or the decoder's. */
typedef struct {
    int depth, tokens, heads, dim;
    int64_t first; /* of a mask's bytes */
} ts_task_half;

enum { TS_TASK_HALVES = 2 };

struct ts_task {
    ts_mae_config config;
    ts_grid grid;
    int top, visible,
        places;           /* the first row of patches with the query's; patches of the query, and of its row with the hole's */
    int32_t *keep, *part; /* those, rising */
    ts_task_half half[TS_TASK_HALVES];
    float *vectors[TS_TASK_HALVES]; /* (depth, tokens, heads, dim) */
    uint8_t *mask;
    bool has_colours;
    uint8_t colours[2][3];
};

/* Heads of one half at all its blocks and tokens. */
int64_t ts_task_half_places(const ts_task_half *h);
/* "blocks", "decoder_blocks" */
const char *ts_task_half_prefix(int half);
/* The unit that a head belongs to at a token. */
int ts_task_unit_at(const ts_task *t, ts_task_grain grain, int half, int block, int token, int head);

#endif
