/* retrieval.h - which example pairs go with a query: pictures as features, an index of them that outlives the run, the order of
 * likeness, the lists that papers publish, and a small head that learns which examples do well.
 *
 *   ts_embedder *e = ts_embedder_new(dev, &(ts_embedder_desc){.weights = clip}, &err);
 *   ts_embedder_prepare(e, &picture, pixels, &err);                    // (side, side, 3)
 *   ts_embedder_encode(e, pixels, count, rows, &err);                  // (count, width), unit rows
 *   ts_likeness(rows, count, width, query, likeness);                  // cosines
 *   n = ts_most_alike(likeness, NULL, count, -1, 3, best, &err);       // the three most alike
 *
 * The weights files and the device must outlive what is made from them. */
#ifndef TESSERA_RETRIEVAL_H
#define TESSERA_RETRIEVAL_H

#include "clip/clip.h"
#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pictures as features (features.c) ------------------------------------------------------------------------- */

/* What of two pictures is compared. */
typedef enum {
    /* The picture as a whole (UnsupPR: Zhang et al. 2023, arXiv 2301.13670): a CLIP's joint feature, of others the mean of the
     * last norm's patch tokens. */
    TS_EMBED_WHOLE,
    /* Each place with the same place of the other (pixel-level retrieval of prompt-SelF: Sun et al. 2023, arXiv 2304.04748): the
     * last norm's patch tokens, each of length 1, all in one row, of which the cosine is the mean of the places' cosines. */
    TS_EMBED_PLACES,
} ts_embed_level;

typedef struct {
    const ts_weights *weights; /* a CLIP, a DINO, or an MAE-VQGAN, of which the encoder sees all of the picture */
    ts_clip_told told;         /* of a CLIP; `heads` of an MAE-VQGAN too */
    ts_embed_level level;
    const ts_weights *retriever; /* a head over TS_EMBED_WHOLE, made by a ts_retriever_trainer for these weights; NULL: none */
    int batch;                   /* pictures in one run of the model; zero: 1 */
} ts_embedder_desc;

typedef struct ts_embedder ts_embedder;

/* Fails for another kind of file, and for a retriever that was trained on another model's features. */
ts_embedder *ts_embedder_new(ts_device *dev, const ts_embedder_desc *desc, ts_error *err);
void ts_embedder_free(ts_embedder *e);
typedef struct {
    int side;          /* pixels a side of a picture that is encoded */
    int64_t width;     /* numbers of a row */
    char identity[17]; /* 16 hexadecimal digits that tell these features from those of other models, levels and precisions */
    char model[17];    /* those of the model and level alone, which a retriever remembers */
} ts_embedder_info;
const ts_embedder_info *ts_embedder_about(const ts_embedder *e);
/* The picture as the model takes it -> pixels (side, side, 3): of a CLIP its middle (ts_clip_preprocess), else all of it,
 * squeezed to a square (bicubic). May be called on several threads at a time. */
bool ts_embedder_prepare(const ts_embedder *e, const ts_image *picture, float *pixels, ts_error *err);
/* pixels (count, side, side, 3) -> rows (count, width), each of length 1. */
bool ts_embedder_encode(ts_embedder *e, const float *pixels, int64_t count, float *rows, ts_error *err);

/* A hash (FNV-1a) that begins with TS_FINGERPRINT and goes on over some bytes; or over names, shapes and a sample of every
 * tensor: elements at its beginning, in its middle and at its end. Training moves them all, and reading every byte of a large
 * model would take longer than what it is asked for. */
#define TS_FINGERPRINT UINT64_C(0xcbf29ce484222325)
uint64_t ts_fingerprint(uint64_t hash, const void *bytes, size_t size);
uint64_t ts_weights_fingerprint(uint64_t hash, const ts_weights *w);

/* ---- the index (index.c) ---------------------------------------------------------------------------------------- */

/* Features of a folder's pictures, as a file keeps them. */
typedef struct {
    int64_t count, width;
    const char **name;     /* sorted by their bytes */
    int64_t *size, *mtime; /* of each file: bytes, and nanoseconds since 1970 */
    float *features;       /* (count, width), unit rows */
    char *names;           /* where the names lie, each ended by a zero byte */
} ts_index;

/* Reads the file; what is not there, broken, or of other features than `identity`'s gives an empty index (`why` says it unless
 * the file is absent). */
void ts_index_read(const char *path, const char *identity, int64_t width, ts_index *out, ts_error *why);
/* Whole or not at all, for its owner alone: it tells of somebody's pictures. */
bool ts_index_write(const char *path, const char *identity, const ts_index *ix, ts_error *err);
/* The entry of a picture that is still of this size and time, or -1. */
int64_t ts_index_find(const ts_index *ix, const char *name, int64_t size, int64_t mtime);
void ts_index_clear(ts_index *ix);

/* ---- the order (rank.c) ----------------------------------------------------------------------------------------- */

/* Products of `query` (width) with unit rows (count, width): their cosines, where it is one too. */
void ts_likeness(const float *rows, int64_t count, int64_t width, const float *query, double *out);
/* The numbers of the `most` most alike, in the order of the published top-50 lists: rising by likeness (those of equal likeness
 * in their order), reversed; of equal names the first alone; without those that have the name of `own`, which is the query itself
 * (-1: it is none of them). name: NULL where all are different. Returns how many there are, at most `most`, or -1. */
int ts_most_alike(const double *likeness, const char *const *name, int count, int own, int most, int *out, ts_error *err);

/* ---- lists that are published (lists.c) -------------------------------------------------------------------------- */

/* Of a query's name the names of the pictures most like it, the most like first. */
typedef struct {
    const char *name;
    const char **picture; /* in one array with those of the others */
    int count;
} ts_list;

typedef struct {
    ts_list *list; /* sorted by name; of a name that stands twice the last one, as Python reads it */
    int count;
    void *json; /* owns the texts */
    const char **pictures;
} ts_lists;

/* {"2007_000033": ["2010_004063", ...], ...}: InMeMo's and PromptHub's folderN_top_50-similarity.json, and Zhang et al.'s, where
 * a picture's number follows its name after a space. */
bool ts_lists_read(const char *path, ts_lists *out, ts_error *err);
bool ts_lists_parse(const char *text, size_t size, const char *label, ts_lists *out, ts_error *err);
void ts_lists_clear(ts_lists *l);
const ts_list *ts_lists_find(const ts_lists *l, const char *name); /* NULL: there is none */

/* ---- the learned head (head.c, train.c) --------------------------------------------------------------------------- */

/* SupPR (Zhang et al. 2023, section 3.2): over a frozen model's feature x, unit(W2 relu(W1 x + b1) + b2), whose cosines are
 * likenesses. */
typedef struct {
    int width, hidden, out; /* as published: the feature's, the feature's, 128 */
} ts_retriever_config;

/* The sizes of a retriever's file; another kind of file, or a broken one, is an error in one sentence. */
bool ts_retriever_read(const ts_weights *w, ts_retriever_config *out, ts_error *err);
/* x (B, width) -> (B, out), unit rows. */
ts_tensor *ts_retriever_head(ts_graph *g, ts_params *params, const ts_retriever_config *c, ts_tensor *x);

/* A retriever at work. `batch`: rows in one run of it. */
typedef struct ts_retriever ts_retriever;
ts_retriever *ts_retriever_new(ts_device *dev, const ts_weights *w, int batch, ts_error *err);
void ts_retriever_free(ts_retriever *r);
const ts_retriever_config *ts_retriever_about(const ts_retriever *r);
/* rows (count, width) -> out (count, out), unit rows. */
bool ts_retriever_apply(ts_retriever *r, const float *rows, int64_t count, float *out, ts_error *err);

/* Zeros: as published. */
typedef struct {
    ts_retriever_config config; /* hidden, out: zero is width, 128 */
    int batch;                  /* queries in a step; 64 */
    double temperature;         /* 0.1 */
    double momentum;            /* of SGD; 0.9 */
    double weight_decay;        /* 1e-4; below zero: none */
    uint64_t seed;              /* of the head's beginning: uniform, as PyTorch's linear layers */
} ts_retriever_desc;

typedef struct ts_retriever_trainer ts_retriever_trainer;
ts_retriever_trainer *ts_retriever_trainer_new(ts_device *dev, const ts_retriever_desc *desc, ts_error *err);
void ts_retriever_trainer_free(ts_retriever_trainer *t);
const ts_retriever_desc *ts_retriever_trainer_about(const ts_retriever_trainer *t); /* zeros filled in */
int64_t ts_retriever_trainer_steps(const ts_retriever_trainer *t);
/* One step of SGD on InfoNCE (van den Oord et al. 2018, arXiv 1807.03748). rows (3 batch, width): the queries, an example of each
 * that did well, and one that did badly; query i is to be more like row batch + i than like the others of batch ... 3 batch - 1,
 * but for those that `apart` (batch, 2 batch) takes out: 0 stays, anything far below zero does not count. loss, and the share of
 * queries for which it is, are those before the update. */
bool ts_retriever_trainer_step(ts_retriever_trainer *t, const float *rows, const float *apart, double lr, double *loss,
                               double *accuracy, ts_error *err);
/* Adds the head to a file, and with `optimizer` the momenta and the step. The data live until the next call. */
bool ts_retriever_trainer_save(ts_retriever_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err);
/* Goes on from a file that was saved with the optimizer, to the same bits. */
bool ts_retriever_trainer_resume(ts_retriever_trainer *t, const ts_weights *checkpoint, ts_error *err);

/* Metadata of a retriever's file: `model` of ts_embedder_about; "clip", "mae" or "dino"; where that was, when it was trained. */
#define TS_RETRIEVER_OF       "tessera.retriever"
#define TS_RETRIEVER_BACKBONE "backbone"
#define TS_RETRIEVER_FILE     "backbone_file"

#ifdef __cplusplus
}
#endif
#endif
