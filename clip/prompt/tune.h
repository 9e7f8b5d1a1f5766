/* tune.h - what the files of the prompt tuner share: the rate of a step, pictures read ahead of the device, passes over a
 * prompt's graph, prompt files. Private to clip/. */
#ifndef TESSERA_CLIP_TUNE_H
#define TESSERA_CLIP_TUNE_H

#include "clip/prompt/method.h"

/* ---- schedule.c ------------------------------------------------------------------------------------------------ */

/* The learning rate of epoch or step `n` of `total` (as the recipe counts), `lr` being the highest. */
double ts_clip_rate(const ts_recipe *r, double lr, int64_t n, int64_t total);
/* The recipe's warm-up. Epochs are no more than a tenth of a run of `total`, and of a rate that begins at zero none where that is
 * no whole one: a run that was made short still trains. Steps are as published, however short the run. */
int ts_clip_warm(const ts_recipe *r, int64_t total);

/* ---- tune_data.c ----------------------------------------------------------------------------------------------- */

/* A number that depends on both and looks like neither. */
uint64_t ts_clip_mix(uint64_t a, uint64_t b);
/* The order in which an epoch takes `count` items. */
void ts_clip_shuffle(uint64_t seed, int64_t epoch, int64_t count, int64_t *order);

/* Pictures decoded and cut on worker threads ahead of the device. Batch n is the same whenever it is asked for, and however many
 * threads there are. */
typedef struct ts_clip_reader ts_clip_reader;
typedef struct {
    const ts_clip_item *item; /* must outlive the reader */
    int64_t count;
    int side, batch;
    bool shuffle;          /* endless, each epoch in an order of its own; else once, in order, the last batch being smaller */
    int64_t epoch_batches; /* with `shuffle`: batches of an epoch, the last one smaller where the items end; what is left over is
                              not seen in it */
    bool crop;             /* random crops and flips, else as at test */
    uint64_t seed;
    int64_t first;        /* the batch to begin with */
    int threads;          /* zero: 1 */
    uint64_t cache_bytes; /* of decoded pictures; zero: none are kept */
    bool skip;            /* a picture that cannot be read is replaced by the next one that can, else it is an error */
} ts_clip_reader_desc;
ts_clip_reader *ts_clip_reader_new(const ts_clip_reader_desc *desc, ts_error *err);
void ts_clip_reader_free(ts_clip_reader *r);
/* pixels (count, side, side, 3), normalised, and which items they are; valid until the next call. Those
 * are not those asked for where some are skipped. `count` 0: there are no more. */
typedef struct {
    const float *pixels;
    const int64_t *item;
    int count;
} ts_clip_pictures_read;
bool ts_clip_reader_next(ts_clip_reader *r, ts_clip_pictures_read *out, ts_error *err);
/* Takes a complaint about a picture that is replaced, each once; false: no more. */
bool ts_clip_reader_skipped(ts_clip_reader *r, int64_t *item, ts_error *why);
double ts_clip_reader_waited_ms(const ts_clip_reader *r);

/* ---- pass.c ---------------------------------------------------------------------------------------------------- */

/* One planned graph of a prompt. What it has is set, the rest NULL. */
typedef struct {
    ts_prompt_graph pg;
    ts_exec *e;
    ts_tensor *pixels, *features; /* in: (B, side, side, 3); (B, E) */
    ts_prompt_chunk chunk;        /* in, where `classes` is described */
    ts_tensor *weights;           /* in: class features (K, E) from outside */
    ts_tensor *target;            /* in: (B) I32, -1: not a picture */
    ts_tensor *seed;              /* in: (N, E), the gradient of the class features */
    ts_tensor *out;               /* features of the pictures (B, E), or of the classes (N, E) */
    ts_tensor *loss, *best;       /* (1); (B) I32 */
    ts_tensor *weights_grad;      /* of `weights` */
    ts_tensor **grad;             /* by parameter as declared; NULL: the loss does not depend on it */
} ts_clip_pass;

/* pixels -> f */
bool ts_clip_pass_images(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, bool training, ts_error *err);
/* a chunk of `count` classes (and the picture's feature, for a method that is per image) -> c */
bool ts_clip_pass_classes(ts_clip_pass *p, ts_prompt *prompt, int64_t count, bool training, ts_error *err);
/* The same with the gradients of sum(c seed). */
bool ts_clip_pass_back(ts_clip_pass *p, ts_prompt *prompt, int64_t count, ts_error *err);
/* pictures or their features, and class features -> loss, gradients of parameters and of class features. */
bool ts_clip_pass_head(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, ts_error *err);
/* All in one: pictures or their features, and all classes as one chunk. */
bool ts_clip_pass_joint(ts_clip_pass *p, ts_prompt *prompt, int64_t batch, ts_error *err);
void ts_clip_pass_clear(ts_clip_pass *p);
/* Adds the pass's gradients times `weight` to sums[i] (one array a declared parameter). `scratch`: as many floats as the largest
 * parameter has. */
bool ts_clip_pass_add_grads(const ts_clip_pass *p, double weight, float *const *sums, float *scratch, ts_error *err);

/* Class prompts, and pictures, whose activations fit in `bytes` with gradients. At least one. */
int64_t ts_clip_chunk_size(const ts_prompt *p, uint64_t bytes);
int64_t ts_clip_micro_batch(const ts_prompt *p, uint64_t bytes);
/* All class features (K, E) by way of a classes pass; image: (E), for a method that is per image, else NULL. */
bool ts_clip_pass_all_classes(const ts_clip_pass *p, const float *image, float *out, ts_error *err);

/* ---- file.c --------------------------------------------------------------------------------------------- */

/* 16 hexadecimal digits that tell the model from others, whatever file and precision it comes from. */
bool ts_clip_identity(const ts_clip *c, char out[17], ts_error *err);

/* What a prompt file tells of itself. A published checkpoint tells its method and settings. */
typedef struct {
    const ts_method *method;
    ts_method_settings settings;
    bool ours;
    char **name; /* of the classes it was trained with; NULL: it does not say */
    int classes, shots;
    uint64_t seed;
} ts_prompt_file;
/* `clip`: fails where the prompt was tuned on another model; NULL: any. */
bool ts_prompt_file_read(const ts_weights *w, const ts_clip *clip, ts_prompt_file *out, ts_error *err);
void ts_prompt_file_clear(ts_prompt_file *f);
/* The metadata of a prompt file; tensors are added by the caller. `shots`, `seed`: as the prompt was trained. */
bool ts_prompt_file_describe(ts_weights_writer *w, const ts_prompt *p, const ts_clip_recipe *recipe, int shots, uint64_t seed,
                             ts_error *err);

/* ---- score.c --------------------------------------------------------------------------------------------------- */

/* A prompt at work, of parameters fresh or from a file; it copies the names. */
ts_clip_prompt *ts_clip_prompt_new(const ts_prompt_desc *desc, ts_error *err);
ts_prompt *ts_clip_prompt_inner(ts_clip_prompt *p);
/* After the parameters have changed. */
void ts_clip_prompt_changed(ts_clip_prompt *p);

#endif
