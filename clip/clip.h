/* clip.h - CLIP (Radford et al. 2021, arXiv 2103.00020): both towers, zero-shot, and prompt tuning of the frozen
 * model.
 *
 *   ts_clip      *clip = ts_clip_new(dev, weights, NULL, &err);
 *   ts_tokenizer *tok  = ts_tokenizer_find(ts_weights_path(weights), &err);
 *   ts_clip_classifier(clip, tok, names, K, NULL, 0, false, classes, &err);        // (K, embed), unit rows
 *   ts_clip_preprocess(&picture, ts_clip_about(clip)->image, pixels, &err);
 *   ts_clip_encode_images(clip, pixels, 1, features, &err);                         // (1, embed), unit rows
 *   ts_clip_logits(clip, features, 1, classes, K, logits);
 *
 * The weights file and the device must outlive what is made from them. */
#ifndef TESSERA_CLIP_H
#define TESSERA_CLIP_H

#include "engine/engine.h"
#include "text/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pictures -------------------------------------------------------------------------------------------------- */

/* Shorter side to `side` (bicubic, antialiased, as Pillow), centre crop, (x/255 - mean) / std -> out (side, side, 3). A picture
 * so long that its resized form is larger than any picture may be is an error. */
bool ts_clip_preprocess(const ts_image *img, int side, float *out, ts_error *err);
/* The published training crop (torchvision's RandomResizedCrop and RandomHorizontalFlip): a random part of 8 to 100 % of the area
 * and ratio 3/4 to 4/3, resized bicubic, flipped by a coin. The same seed gives the same crop. out (side, side, 3), normalised.
 */
bool ts_clip_random_crop(const ts_image *img, int side, uint64_t seed, float *out, ts_error *err);
/* 8-bit RGB of side x side to what the model takes, and back (rounded and clamped). */
void ts_clip_normalise(const uint8_t *rgb, int64_t pixels, float *out);
void ts_clip_denormalise(const float *in, int64_t pixels, uint8_t *rgb);

/* ---- the model ------------------------------------------------------------------------------------------------- */

/* Read off the tensors' shapes. Heads, activation and what pictures are normalised with stand in none: they are told by the user,
 * the file's metadata ("vision_heads", "text_heads", "hidden_act", "image_mean", "image_std"), the open_clip_config.json or
 * config.json beside it; OpenAI's own files are known by their form, and heads by published widths. */
typedef struct {
    int image, patch;                                  /* pixels a side */
    int width, layers, heads, mlp;                     /* vision tower; mlp: 4 width as published */
    int text_width, text_layers, text_heads, text_mlp; /* text tower */
    int context, vocabulary, embed;                    /* 77, 49408, joint width */
    bool erf_gelu;               /* x/2 (1 + erf(x/sqrt 2)), as most of open_clip's models have it; else QuickGELU */
    const char *activation_by;   /* what tells that, in words; NULL: nothing does */
    bool guessed;                /* it is likely, but no more */
    float mean[3], deviation[3]; /* that pictures are normalised with; zeros: CLIP's own */
} ts_clip_config;

typedef enum { TS_CLIP_UNTOLD = 0, TS_CLIP_QUICK_GELU, TS_CLIP_GELU } ts_clip_activation;

/* What the user says of a model; zeros: nothing. */
typedef struct {
    int heads, text_heads;
    int activation; /* a ts_clip_activation */
    bool any;       /* heads may stay 0 and the activation untold, for a look at the file */
} ts_clip_told;

/* A missing or misshapen tensor, one too many, another model, or what nothing tells is an error in one sentence. told: may be
 * NULL. */
bool ts_clip_config_read(const ts_weights *w, const ts_clip_told *told, ts_clip_config *out, ts_error *err);
/* Adds what stands in no shape to a file's metadata. */
bool ts_clip_config_meta(const ts_clip_config *c, ts_weights_writer *w, ts_error *err);

typedef struct ts_clip ts_clip;

/* From the published .pt (TorchScript), a state dict, or Hugging Face's files: the layout is told by the names. told: may be
 * NULL.
 */
ts_clip *ts_clip_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, ts_error *err);
void ts_clip_free(ts_clip *c);
const ts_clip_config *ts_clip_about(const ts_clip *c);
ts_device *ts_clip_device(const ts_clip *c);
double ts_clip_logit_scale(const ts_clip *c); /* exp(logit_scale) */
/* The device's copies, frozen, under the published names whatever the file; only visual.proj.weight and text_projection.weight,
 * (embed, width) as ts_linear takes them, are the published visual.proj and text_projection turned. Loaded on first use. */
ts_params *ts_clip_params(const ts_clip *c);
/* Rows of token_embedding.weight: ids (count) -> out (count, text_width), floats on the host. */
bool ts_clip_embedding(const ts_clip *c, const int32_t *ids, int count, float *out, ts_error *err);

/* Parts of the towers as graph, for those who put prompts into them. S = image, P = (image/patch)^2, W, T: the towers' widths. */

/* pixels (B, S, S, 3), normalised -> (B, 1+P, W): class token and patches with positions, before ln_pre. */
ts_tensor *ts_clip_patches(ts_graph *g, const ts_clip *c, ts_tensor *pixels);
/* tokens (B, N, W) before ln_pre -> unit features (B, E) of place 0. deep: NULL, or `layers` tensors (P, W) (NULL entries: none):
 * deep[i] (i >= 1) replaces places 1 ... P at the input of block i (VPT, Jia et al. 2022, eq. 5). */
ts_tensor *ts_clip_vision(ts_graph *g, const ts_clip *c, ts_tensor *tokens, ts_tensor *const *deep);
/* For what looks at places and not at the whole picture: pixels (B, rows patch, columns patch, 3), normalised -> the last block's
 * patch tokens behind ln_post (B, rows columns, W), row by row. The positions are brought to that grid (bicubic). */
ts_tensor *ts_clip_places(ts_graph *g, const ts_clip *c, ts_tensor *pixels, int rows, int columns);
/* embedded (N, L, T), token embeddings without positions, L <= context, end (N, 1) I32 the place of the end token of each ->
 * unit features (N, E). What stands after the end cannot matter (causal), so cut L there. deep: as in ts_clip_vision,
 * `text_layers` tensors (M, T) that replace places 1 ... M (MaPLe, Khattak et al. 2023, eq. 2). */
ts_tensor *ts_clip_text(ts_graph *g, const ts_clip *c, ts_tensor *embedded, ts_tensor *end, ts_tensor *const *deep);

/* Whole towers, on the host's side. Both work in batches that bound memory and keep their graphs for the next call. */

/* pixels (count, S, S, 3) -> features (count, embed), unit rows. */
bool ts_clip_encode_images(ts_clip *c, const float *pixels, int64_t count, float *features, ts_error *err);
/* tokens (count, context) as ts_tokenizer_tokens writes them -> features (count, embed), unit rows. */
bool ts_clip_encode_texts(ts_clip *c, const int32_t *tokens, int64_t count, float *features, ts_error *err);

/* ---- zero-shot ------------------------------------------------------------------------------------------------- */

/* (paper, section 3.1.4) For each of `count` names: every template's "{}" filled in, encoded, unit, mean, unit -> classes (count,
 * embed). templates NULL: "a photo of a {}.". `cut`: a text too long for the context is cut, else an error. */
bool ts_clip_classifier(ts_clip *c, const ts_tokenizer *t, const char *const *names, int count, const char *const *templates,
                        int template_count, bool cut, float *classes, ts_error *err);
/* exp(logit_scale) * images (n, embed) . classes (k, embed)^T -> logits (n, k). */
void ts_clip_logits(const ts_clip *c, const float *images, int64_t n, const float *classes, int k, float *logits);

/* ---- contrastive training --------------------------------------------------------------------------------------- */

/* A CLIP out of pictures and their captions (the paper, section 2.3 to 2.5): symmetric cross entropy of exp(logit_scale) *
 * picture features . text features^T over the batch, the diagonal being right (figure 3), AdamW, logit_scale kept at or below ln
 * 100. */
typedef struct ts_clip_trainer ts_clip_trainer;

typedef struct {
    const ts_weights *weights; /* to start from, must outlive the trainer; NULL: fresh weights of `config` */
    ts_clip_told told;         /* of those */
    ts_clip_config config;     /* of fresh weights; heads zero: width / 64, mlp zero: 4 width */
    int batch;                 /* pairs in a step, 2 or more */
    int length;                /* places of the longest text, start and end included, which saves work; zero: context */
    double weight_decay;       /* of tensors of two or more dimensions; zero: 0.2, as published; negative: none */
    double beta1, beta2, eps;  /* zeros: 0.9, 0.98, 1e-6, as published */
    double clip_norm;          /* zero: gradients are not clipped, as published */
    uint64_t seed;             /* of fresh weights: normal, as published for the text tower, in both; logit_scale ln(1/0.07) */
} ts_clip_trainer_desc;

ts_clip_trainer *ts_clip_trainer_new(ts_device *dev, const ts_clip_trainer_desc *desc, ts_error *err);
void ts_clip_trainer_free(ts_clip_trainer *t);
const ts_clip_config *ts_clip_trainer_config(const ts_clip_trainer *t);
ts_exec_info ts_clip_trainer_about(const ts_clip_trainer *t); /* memory and work of a step */
int64_t ts_clip_trainer_steps(const ts_clip_trainer *t);      /* done so far, those before a resume included */
double ts_clip_trainer_scale(const ts_clip_trainer *t);       /* exp(logit_scale), as it is now */
/* One step. pixels (batch, S, S, 3), normalised; tokens (batch, context) as ts_tokenizer_tokens writes them, the text of each
 * picture in its row. loss and accuracy (share of the pictures whose own text is the most like) are those before the update. */
bool ts_clip_trainer_step(ts_clip_trainer *t, const float *pixels, const int32_t *tokens, double lr, double *loss,
                          double *accuracy, ts_error *err);
/* The same without an update. */
bool ts_clip_trainer_evaluate(ts_clip_trainer *t, const float *pixels, const int32_t *tokens, double *loss, double *accuracy,
                              ts_error *err);
/* Adds the model to a file that ts_clip_new takes, names and shapes as published, and with `optimizer` the moments and the step;
 * the data live until the trainer's next call. */
bool ts_clip_trainer_save(ts_clip_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err);
/* Goes on from a file that was saved with the optimizer, to the same bits. The description must be the same. */
bool ts_clip_trainer_resume(ts_clip_trainer *t, const ts_weights *checkpoint, ts_error *err);

/* ---- data ------------------------------------------------------------------------------------------------------ */

typedef struct {
    char *path;
    int label; /* 0 ... classes - 1 */
} ts_clip_item;

typedef struct {
    ts_clip_item *item;
    int64_t count;
} ts_clip_split;

/* Labelled pictures. */
typedef struct {
    int classes;
    char **name; /* as folders or the list say, '_' becomes ' ' */
    ts_clip_split train, val, test;
    char **empty; /* class folders without pictures, each as a sentence */
    int64_t empties;
    char passed[256]; /* "passed over 3 files of other kinds (3 .txt)", of all class folders; "" where there are none */
} ts_clip_data;

/* `path`: a folder with a folder a class (classes sorted by the bytes of the folder's name); or with train/ and test/ (val/
 * optional, or val/ alone as the test) of such folders; or a split_*.json as CoOp's ({"train": [[path, label, name], ...], "val",
 * "test"}), its paths below `root` (NULL: the folder of the file). One folder without parts is parted 50/20/30 for each class by
 * `seed`. Pictures are told by their names' endings and stand in the class's folder itself, not deeper (engine/folder.h). A class
 * whose folder is empty is left out, and told in `empty`. That none is left, a class of a list without pictures to train or to
 * test on, a name that stands twice, a listed picture that is not there are errors that name it.
 * `out` is the caller's (ts_clip_data_clear), and empty on failure. */
bool ts_clip_data_open(const char *path, const char *root, uint64_t seed, ts_clip_data *out, ts_error *err);
void ts_clip_data_clear(ts_clip_data *d);
/* Leaves `shots` training pictures (and min(shots, 4) of val) of each class, drawn by seed and the class's name, so that a class
 * has the same ones in half of the classes; fewer where there are fewer. Fails for `shots` below 1. */
bool ts_clip_data_few(ts_clip_data *d, int shots, uint64_t seed, ts_error *err);
/* A copy with the first ceil(classes/2) classes (base), or the rest (new), labels counted anew. Fails where no class is left. */
typedef enum { TS_CLIP_ALL, TS_CLIP_BASE, TS_CLIP_NEW } ts_clip_half;
bool ts_clip_data_half(const ts_clip_data *d, ts_clip_half half, ts_clip_data *out, ts_error *err);
/* Names that are empty or stand twice are an error that says which. */
bool ts_clip_check_names(const char *const *names, int count, ts_error *err);

/* ---- prompts at work ------------------------------------------------------------------------------------------- */

/* The methods of prompt tuning by name, in a fixed order; false past the end. What is told is the method's own. */
typedef struct {
    const char *name, *about; /* "coop"; one line with its source */
    const char *settings;     /* keys that it takes, a space between */
    const char *optimizer;    /* "sgd", "adam" */
    const char *note;         /* lines that tell what is kept otherwise than its authors have it; NULL: nothing */
    double lr;                /* highest rate, for its own batch */
    bool lr_of_256;           /* or for a batch of 256, and scaled to the batch */
    double momentum, weight_decay;
    int batch, epochs; /* epochs: with 16 pictures a class */
    int warmup;        /* epochs, or steps with by_step */
    bool by_step;      /* the rate changes each step, not each epoch */
    bool crop;         /* trained on random crops and flips */
} ts_clip_method;
bool ts_clip_method_at(int i, ts_clip_method *out);
/* The keys of settings that there are, with what they mean; false past the end. */
bool ts_clip_setting_at(int i, const char **key, const char **about);

/* A tuned prompt with class names, on a frozen model: what makes logits of pictures. */
typedef struct ts_clip_prompt ts_clip_prompt;

/* What work of some length calls now and then with how much of it is done. */
typedef void (*ts_clip_progress)(void *ctx, int64_t done, int64_t total);
/* What is called for each picture, by its number, that cannot be read, when the work goes on without it. */
typedef void (*ts_clip_left_out)(void *ctx, int64_t picture, const ts_error *why);

/* `file`: a prompt file of the tuner's, or a published checkpoint (CoOp's and CoCoOp's model.pth.tar-N, VP's checkpoint.pth.tar),
 * only read within this call. names: the classes; NULL: those it was trained with, where the file says them. A prompt of another
 * model, context per class for other classes, and names too long for the context (unless `cut`) are errors. clip and tokenizer
 * must outlive the prompt. */
ts_clip_prompt *ts_clip_prompt_open(ts_clip *c, const ts_tokenizer *t, const ts_weights *file, const char *const *names,
                                    int classes, bool cut, ts_error *err);
void ts_clip_prompt_free(ts_clip_prompt *p);

typedef struct {
    const char *method;
    int classes;
    const char *const *names;
    int side;      /* of the pictures that it takes */
    bool plain;    /* a picture's features are the frozen model's own (ts_clip_encode_images) */
    bool pictured; /* ts_clip_prompt_picture shows something */
    int vectors;   /* context vectors, for ts_clip_prompt_words; those of all classes where each has its own */
    int trained;   /* numbers that were learned */
} ts_clip_prompt_info;
ts_clip_prompt_info ts_clip_prompt_about(const ts_clip_prompt *p);
/* pixels (count, side, side, 3), normalised -> features (count, embed), unit rows. */
bool ts_clip_prompt_features(ts_clip_prompt *p, const float *pixels, int64_t count, float *features, ts_error *err);
/* features (count, embed) -> logits (count, classes). */
bool ts_clip_prompt_logits(ts_clip_prompt *p, const float *features, int64_t count, float *logits, ts_error *err);
/* The `each` symbols whose embeddings are nearest to each of the context vectors first ... first + count - 1, nearest first
 * (CoOp, arXiv 2109.01134, table 4) -> out (count, each). */
typedef struct {
    int symbol;     /* for ts_tokenizer_symbol */
    float distance; /* Euclidean */
} ts_clip_word;
bool ts_clip_prompt_words(ts_clip_prompt *p, int first, int count, int each, ts_clip_word *out, ts_error *err);
/* What is added to every picture, drawn over grey, image x image; for methods of pixels. */
bool ts_clip_prompt_picture(ts_clip_prompt *p, ts_image *out, ts_error *err);
/* The features (count, embed) of a split's pictures, read on `threads` threads: of a prompt, or with p NULL the plain ones. A
 * picture that cannot be read is told to `left_out`, and its row means nothing; with `left_out` NULL it is an error. */
bool ts_clip_split_features(ts_clip *c, ts_clip_prompt *p, const ts_clip_split *split, int threads, ts_clip_progress progress,
                            ts_clip_left_out left_out, void *ctx, float *features, ts_error *err);

/* ---- tuning ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *key, *value; /* "context", "4"; see ts_clip_setting_at */
} ts_clip_setting;

/* How a prompt is trained. Zero: as the method's authors did; where zero has a meaning of its own, a negative number says it. */
typedef struct {
    double lr, momentum, weight_decay; /* momentum: Adam's beta1 */
    int batch, epochs;
    int warmup; /* epochs, or steps where the rate changes each step */
    int crop;   /* 1: random crops and flips; -1: the pictures as at test, so that what is frozen is computed once */
} ts_clip_recipe;

typedef struct {
    const char *method;
    const ts_clip_setting *settings;
    int setting_count;
    ts_clip_recipe recipe;
    ts_clip *clip; /* these must outlive the tuner; the device must not store fp16 */
    const ts_tokenizer *tokenizer;
    const ts_clip_data *data;  /* its training pictures are learned from */
    int shots;                 /* pictures a class, for the recipe's epochs and the file; 0: all there are */
    uint64_t seed;             /* of everything random: same seed, device and build, same bits */
    bool cut;                  /* class names that are too long are cut */
    int threads;               /* that read pictures; zero: 1 */
    uint64_t memory;           /* bytes for activations; more classes or pictures go in chunks; zero: 1 GiB */
    uint64_t cache;            /* bytes of decoded pictures to keep; zero: 512 MiB */
    ts_clip_progress progress; /* of frozen features computed before the first step; NULL: none */
    ts_clip_left_out left_out; /* a training picture that cannot be read is replaced by another; NULL: it is an error */
    void *ctx;
} ts_clip_tuner_desc;

typedef struct ts_clip_tuner ts_clip_tuner;

ts_clip_tuner *ts_clip_tuner_new(const ts_clip_tuner_desc *desc, ts_error *err);
void ts_clip_tuner_free(ts_clip_tuner *t);

typedef struct {
    int64_t step, steps, epoch_steps; /* done, in all, in an epoch */
    ts_clip_recipe recipe;            /* as it is: zero is zero */
    const char *optimizer;
    bool by_step;      /* the rate changes each step, not each epoch */
    bool features;     /* the pictures' features are computed once, before the first step */
    int chunks;        /* in which the class prompts go */
    int micro_batches; /* of a step */
} ts_clip_tuner_info;
ts_clip_tuner_info ts_clip_tuner_about(const ts_clip_tuner *t);

typedef struct {
    int64_t step; /* its number, from 1 */
    int pictures; /* the recipe's batch, or what an epoch had left */
    double loss, accuracy, lr;
    double waited_ms; /* for pictures */
} ts_clip_tuned;
/* One step of the recipe. A loss that is not finite is told in `out` and leaves the parameters as they were. */
bool ts_clip_tuner_step(ts_clip_tuner *t, ts_clip_tuned *out, ts_error *err);
/* The prompt as it stands, for measuring between steps; the tuner's. */
ts_clip_prompt *ts_clip_tuner_prompt(ts_clip_tuner *t);
/* A prompt file, whole or not at all; `checkpoint`: with what ts_clip_tuner_resume needs. */
bool ts_clip_tuner_save(ts_clip_tuner *t, const char *path, bool checkpoint, ts_error *err);
/* Goes on where the checkpoint was written, to the same bits. The description must be the same. */
bool ts_clip_tuner_resume(ts_clip_tuner *t, const ts_weights *checkpoint, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
