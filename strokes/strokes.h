/* strokes.h - a model from a few strokes: paint some pixels of each class, get the class of every pixel, correct with another
 * stroke, apply it to a thousand more pictures. No weights are needed; a frozen vision transformer's features may be added.
 *
 *   ts_strokes *s = ts_strokes_new(dev, &(ts_strokes_desc){.classes = 2, .colour = {{0, 0, 0}, {255, 0, 0}}}, &err);
 *   ts_strokes_picture(s, &picture, &err);               // its features are kept until the next picture
 *   ts_strokes_label(s, &strokes, &err);                 // the strokes on it, in the place of those before
 *   ts_strokes_train(s, NULL, &err);
 *   ts_strokes_classify(s, 0, &answer, NULL, &err);      // ... a better stroke, and label, train and classify again
 *   ts_strokes_save(s, "cells.strokes", &err);
 *
 * Every pixel has the features that ilastik computes (Berg et al. 2019, Nature Methods 16): per colour channel and at scales of
 * 0.7 to 10 pixels the Gaussian, the difference of Gaussians, the gradient's magnitude, the Laplacian, and the eigenvalues of the
 * Hessian and of the structure tensor. A logistic regression or a network of one hidden layer is trained on those under the
 * strokes, every class counting as much as the others.
 *
 * The device and the weights file must outlive what is made from them. What is computed is fp32; a device that stores fp16 is
 * refused. Same strokes, same seed, same device: same bits. */
#ifndef TESSERA_STROKES_H
#define TESSERA_STROKES_H

#include "clip/clip.h"
#include "engine/engine.h"
#include "masks/masks.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TS_STROKES_CLASSES = 16, /* at most */
    TS_STROKES_BANK = 144,   /* features of a pixel from its surroundings */
    TS_STROKES_HIDDEN = 512, /* at most, units */
    TS_STROKES_TOKENS = 8192 /* at most, numbers of a place of a vision transformer */
};

/* ---- which class a pixel is ------------------------------------------------------------------------------------------ */

enum { TS_STROKES_NONE = 255 };

/* One byte a pixel, rows from the top: its class from 0, or TS_STROKES_NONE where nothing is said. */
typedef struct {
    int width, height;
    uint8_t *data; /* owned */
} ts_labels;

bool ts_labels_new(int width, int height, ts_labels *out, ts_error *err); /* all TS_STROKES_NONE */
void ts_labels_clear(ts_labels *l);

/* The colours that strokes of several pictures have, one a class. */
typedef struct {
    int classes;
    uint8_t colour[TS_STROKES_CLASSES][3];
    int64_t pixels[TS_STROKES_CLASSES]; /* that have it */
    int ground;                         /* the class that is the background */
} ts_strokes_colours;

/* Reads pictures of strokes (`count` paths, PNG, WebP or BMP): what is transparent or black is not labelled, every other colour
 * is a class, in the order in which they are met. Where there is one such colour alone, and nothing is transparent, the pictures
 * are masks: black is the first class. More than 16 colours are those that brushes leave along their edges, and the ones that
 * make up less than half a percent of what is painted say nothing. The background is black, where that is a class, else the
 * colour of which there is most. `labels` has `count` places, the caller's. Fails where that makes fewer than two classes, or
 * more than 16. */
bool ts_strokes_read(const char *const *paths, int count, ts_strokes_colours *colours, ts_labels *labels, ts_error *err);
/* A whole picture by the nearest of the colours: of a mask, or of a picture of segments. */
bool ts_labels_of_image(const ts_image *picture, const ts_strokes_colours *colours, ts_labels *out, ts_error *err);
/* Each class in its colour. A pixel without one is black. */
bool ts_labels_image(const ts_labels *l, const ts_strokes_colours *colours, ts_image *out, ts_error *err);
/* The classes' colours as a palette whose background is `ground`: for ts_overlay_answer and ts_palette_mask. */
ts_palette ts_strokes_palette(const ts_strokes_colours *colours);

/* ---- learning -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int classes; /* 2 to 16 */
    uint8_t colour[TS_STROKES_CLASSES][3];
    int ground; /* the class that is the background */
    int hidden; /* units of the hidden layer; zero: 32; below zero: none, a logistic regression */
    int steps;  /* of the training; zero: 200 */
    uint64_t seed;
    const ts_weights *features; /* a MAE(-VQGAN), CLIP, SAM, DINOv2 or DINOv3, whose tokens are features too; NULL: none */
    ts_clip_told told;          /* of a CLIP; `heads` also of a MAE */
} ts_strokes_desc;

typedef struct ts_strokes ts_strokes;

ts_strokes *ts_strokes_new(ts_device *dev, const ts_strokes_desc *desc, ts_error *err);
void ts_strokes_free(ts_strokes *s);

/* The picture at hand: what is labelled and classified from here on. Its features are computed when they are first needed and
 * kept until the next, where it has at most TS_STROKES_KEPT pixels (576 bytes each); of larger ones they are computed again, part
 * by part, each time. Labels of pictures before stay. */
enum { TS_STROKES_KEPT = 1 << 21 };
bool ts_strokes_picture(ts_strokes *s, const ts_image *picture, ts_error *err);
/* The labels of the picture at hand, of its size, in the place of those that it had. Of a class that has very many pixels 2048
 * are drawn. */
bool ts_strokes_label(ts_strokes *s, const ts_labels *labels, ts_error *err);
/* Takes all labels back, of all pictures. */
void ts_strokes_forget(ts_strokes *s);

typedef struct {
    int samples[TS_STROKES_CLASSES]; /* labelled pixels that were learned from, of each class */
    int steps;
    double loss, accuracy; /* of the last step, on what it learned from, every class counting as much */
} ts_strokes_fit;

/* Trains on all labels; fails where a class has none. The first time from the seed; later from where it stands, with a quarter of
 * the steps. `fit` may be NULL. */
bool ts_strokes_train(ts_strokes *s, ts_strokes_fit *fit, ts_error *err);

/* The likeliest class of each pixel of the picture at hand; `probabilities` (height, width, classes) may be NULL. smooth: the
 * probabilities go through a guided filter (He et al. 2013, "Guided image filtering") of that radius in pixels, led by the
 * picture's colours; 0: they do not. Fails before there is a model. */
bool ts_strokes_classify(ts_strokes *s, int smooth, ts_labels *out, float *probabilities, ts_error *err);

/* Features of the picture at hand (height width, TS_STROKES_BANK), for each scale 24 columns: Gaussian, difference of Gaussians,
 * gradient magnitude, Laplacian, larger and smaller eigenvalue of the Hessian, larger and smaller of the structure tensor, each
 * of red, green and blue in 0 to 1. */
bool ts_strokes_features(ts_strokes *s, float *out, ts_error *err);

/* ---- models as files ------------------------------------------------------------------------------------------------- */

/* A small safetensors file: `hidden.weight` (units, features), `hidden.bias`, `output.weight` (classes, units or features),
 * `output.bias`, that take the features as they are; in the metadata "tessera.strokes" "1", the scales, the classes' colours, the
 * background, and of a transformer its kind, its width and a mark of its weights. */
typedef struct {
    ts_strokes_colours colours;
    int hidden;        /* 0: logistic */
    int tokens;        /* numbers from a transformer; 0: none */
    char features[64]; /* its kind: "a DINOv2 or DINOv3" */
    char mark[17];     /* of its weights */
} ts_strokes_info;

bool ts_strokes_save(ts_strokes *s, const char *path, ts_error *err);
/* What a file is; one that lacks something, or is none, is refused in one sentence. */
bool ts_strokes_about(const ts_weights *w, ts_strokes_info *out, ts_error *err);
/* Its features, its layers and its classes in words, a line each. Returns `out`. */
const char *ts_strokes_words(const ts_strokes_info *info, char *out, size_t room);
/* Reads a model; it can classify, and be trained by labels anew. `features`: the transformer that it was trained with, where it
 * was; another is refused. */
ts_strokes *ts_strokes_open(ts_device *dev, const ts_weights *w, const ts_weights *features, const ts_clip_told *told,
                            ts_error *err);
/* The classes and their colours. */
const ts_strokes_colours *ts_strokes_colours_of(const ts_strokes *s);

#ifdef __cplusplus
}
#endif
#endif
