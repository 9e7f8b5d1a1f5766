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
};

double ts_inpaint_now(void); /* ms */
/* Canvases that the front makes one answer of. */
int ts_inpaint_merged(const ts_inpainter *ip, const ts_arranged *a);
/* *sum (may be NULL) grows by what has passed since then. */
void ts_inpaint_spend(double *sum, double since);
/* Zeros: `each` elements of four bytes for each of a batch. */
void *ts_inpaint_room(int batch, int64_t each, ts_error *err);
bool ts_inpaint_check(const ts_inpainter *ip, const ts_image *canvases, int count, ts_error *err);
/* Plans all graphs for so many canvases, of which so many pictures are painted. */
bool ts_inpaint_prepare(ts_inpainter *ip, const ts_arranged *a, int canvases, int pictures, bool logits, bool latents,
                        bool encode, ts_error *err);

#endif
