/* clip_library.h - the small golden CLIP, to ask the library what the program should answer, and pictures to ask about. */
#ifndef TESSERA_TEST_CLIP_LIBRARY_H
#define TESSERA_TEST_CLIP_LIBRARY_H

#include "clip/clip.h"

#define MODEL TS_GOLDEN_DIR "/clip_tiny.pt"
#define VOCAB TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz"

/* Skips the test, saying so, where the model or its vocabulary is absent. */
void need_model(void);

typedef struct {
    ts_device *dev;
    ts_weights *weights;
    ts_tokenizer *tokenizer;
    ts_clip *clip;
    int embed;
} library;

library open_library(void);
void close_library(library *l);
/* Features, owned by the caller. */
float *picture_features(library *l, const char *path);
float *text_features(library *l, const char *words);
double cosine(const float *a, const float *b, int n);

/* A folder in the test's own; with three pictures, one of them below. */
const char *make_empty_folder(const char *name);
const char *make_folder(const char *name);
void truncate_picture(const char *path);

#endif
