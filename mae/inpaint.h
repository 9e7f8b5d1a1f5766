/* inpaint.h - what the stages of inference (inpaint.c) and their going together (answer.c) share. Not installed. */
#ifndef TESSERA_INPAINT_H
#define TESSERA_INPAINT_H

#include "mae/mae.h"

/* A planned graph with one input and two or three outputs. */
typedef struct {
    ts_graph *graph;
    ts_exec *exec;
    int batch;
    ts_tensor *in, *out;
    ts_tensor *mean; /* (1): of what the answer is made from: where one of those is no number this is none */
    const ts_weights *file;
    ts_tensor *logits; /* predict: also an output, where they were asked for */
    ts_mae_index index;
    bool latents; /* paint: takes them, not codes */
    int visible;
    int each;      /* predict: canvases of an answer, more than 1 where the front fuses them; `batch` is a multiple of it */
    int32_t *keep; /* predict: the layout in the index inputs, (batch / each) x visible */
} stage;

struct ts_inpainter {
    ts_device *dev;
    ts_mae mae;
    ts_vqgan vqgan;
    ts_mae_front front;
    int batch;   /* at most, in one run of a graph */
    int places;  /* side^2 */
    int canvas;  /* pixels a side of the canvas: side x patch */
    int picture; /* pixels a side of what the VQGAN paints: side x factor */
    const ts_weights *file, *vqgan_file;
    const ts_weight *codebook;
    float *book; /* its rows, where they were asked for, (codes, embed) */
    stage predict, encode, paint;
    stage later[TS_INPAINT_STEPS]; /* predict, as a step sees it that is not the first */
};

/* Which patches of which canvas are visible: `visible` of them in row i / fused % count of `keep`, rows of side^2 places, for
 * canvas i. */
typedef struct {
    const int32_t *keep;
    int count, fused, visible;
    const ts_arranged *a; /* the grids of the canvases */
} ts_layouts;

/* How queries are answered: each has the canvases of its arrangements one after the other, `fused` of each. */
typedef struct {
    ts_arranged a;
    bool apart; /* the arrangements are answered each for itself, and the answers' pixels go together */
    const ts_inpaint_options *options;
} ts_answering;

double ts_inpaint_now(void); /* ms */
/* Canvases that the front makes one answer of. */
int ts_inpaint_merged(const ts_inpainter *ip, const ts_arranged *a);
/* *sum (may be NULL) grows by what has passed since then. */
void ts_inpaint_spend(double *sum, double since);
/* Zeros: `each` elements of four bytes for each of a batch. */
void *ts_inpaint_room(int batch, int64_t each, ts_error *err);
bool ts_inpaint_check(const ts_inpainter *ip, const ts_image *canvases, int count, ts_error *err);
/* Plans the graphs of the VQGAN for so many pictures. */
bool ts_inpaint_prepare(ts_inpainter *ip, int pictures, bool latents, bool encode, ts_error *err);

/* ---- a stage ---- */

void ts_stage_clear(stage *s);
/* Plans what was described. The weights come first: a missing one is the cause of whatever else is wrong. */
bool ts_stage_plan(const ts_inpainter *ip, stage *s, const ts_params *params, ts_error *err);
bool ts_stage_run(const stage *s, const void *in, ts_error *err);
/* Of the model, for `count` canvases, or as many as go in one run; `each` of them make one answer (ts_inpaint_merged). */
bool ts_inpaint_plan_predict(ts_inpainter *ip, stage *s, int count, int each, int visible, bool logits, ts_error *err);
/* Canvases through it, batch by batch; codes (count, places), logits (count, places, codes), either may be NULL. */
bool ts_inpaint_predict(ts_inpainter *ip, stage *s, const ts_layouts *l, const ts_image *canvases, int count, int32_t *codes,
                        float *logits, ts_inpaint_ms *ms, ts_error *err);
/* The visible patches of each arrangement into `keep`, (arrangements, side^2): as many in all of them. Returns their number, 0 on
 * failure. */
int ts_inpaint_visible(const ts_inpainter *ip, const ts_arranged *a, int32_t *keep, ts_error *err);
/* How many canvases go in one run, of `count`. */
int ts_inpaint_batch(const ts_inpainter *ip, int count);

/* ---- what is made of logits ---- */

/* The logarithm of softmax(x)[i] is x[i] less this. */
double ts_inpaint_log_sum(const float *x, int64_t n);
/* The hole's first patch, and how many patches it has along and across. */
int64_t ts_inpaint_hole(const ts_grid *grid, int *rows, int *cols);
/* Canvases of a picture that is painted: one answer, but where arrangements are answered apart. */
int ts_answering_each(const ts_answering *p);
/* The logits of one answer's canvases, `merged` of which the model has made one of already, become one's, the first's. */
void ts_answering_fuse(const ts_answering *p, int merged, float *logits, int64_t places, int64_t codes);
/* The VQGAN's own codes at the visible places of `count` answers' first canvases, -1 at the hidden ones; and puts them, and where
 * there are latents their rows, over those of one answer. */
bool ts_answering_own_codes(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, int32_t *own,
                            ts_inpaint_ms *ms, ts_error *err);
void ts_answering_put_own(const ts_inpainter *ip, const int32_t *own, int32_t *codes, float *latents);
/* The codebook's rows; they stay the inpainter's. */
const float *ts_inpaint_book(ts_inpainter *ip, ts_error *err);

/* ---- steps.c ---- */

/* Whether logits are needed that the answer's canvases alone do not give. */
bool ts_answering_guided(const ts_answering *p);
/* Plans the graphs of the model for `count` answers. */
bool ts_answering_prepare(ts_inpainter *ip, const ts_answering *p, int count, bool logits, ts_error *err);
/* Logits of `count` canvases, of which `l` says what is visible, by guidance of weight `guide`. `logits` has room for `count`
 * canvases, or where the weight is not 1 for twice as many. */
bool ts_answering_predict(ts_inpainter *ip, stage *s, const ts_answering *p, const ts_layouts *l, const ts_image *pictures,
                          int count, double guide, float *logits, ts_inpaint_ms *ms, ts_error *err);
/* Codes, and where `latents` is not NULL the means to paint from, of `count` answers by the options' steps. `own` as above, or
 * NULL. */
bool ts_answering_in_steps(ts_inpainter *ip, const ts_answering *p, const ts_image *pictures, int count, const int32_t *own,
                           int32_t *codes, float *latents, ts_inpaint_ms *ms, ts_error *err);

#endif
