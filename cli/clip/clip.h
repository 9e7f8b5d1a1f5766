/* clip.h - what the subcommands of `tessera clip` share: the model and its vocabulary opened as the command line says, pictures
 * listed, read on threads ahead of the model and turned into features, texts likewise.
 *
 * A subcommand `tessera clip NAME` is one function ts_clip_cmd_NAME in a file of its own, with an entry in the table of clip.c.
 */
#ifndef TESSERA_CLI_CLIP_H
#define TESSERA_CLI_CLIP_H

#include "cli/cli.h"
#include "clip/clip.h"

int ts_clip_cmd_classify(int argc, char **argv);
int ts_clip_cmd_embed(int argc, char **argv);
int ts_clip_cmd_search(int argc, char **argv);
int ts_clip_cmd_tune(int argc, char **argv);
int ts_clip_cmd_eval(int argc, char **argv);
int ts_clip_cmd_train(int argc, char **argv);

/* ---- open.c ------------------------------------------------------------------------------------------------ */

/* The help of options that every subcommand has. */
#define TS_CLIP_MODEL_HELP "a CLIP with a ViT: the published .pt, a state dict, or Hugging Face's safetensors"
#define TS_CLIP_VOCAB_HELP "bpe_simple_vocab_16e6.txt.gz, or vocab.json with merges.txt; else looked for beside the model"

#define TS_CLIP_TOLD_OPTIONS(told)                                                                                               \
    {0,                                                                                                                          \
     "heads",                                                                                                                    \
     "N",                                                                                                                        \
     TS_OPT_INT,                                                                                                                 \
     &(told)->heads,                                                                                                             \
     1,                                                                                                                          \
     4096,                                                                                                                       \
     "attention heads of the model's image tower, where nothing tells them"},                                                    \
        {0, "text-heads", "N", TS_OPT_INT, &(told)->text_heads, 1, 4096, "attention heads of its text tower, likewise"},         \
    {                                                                                                                            \
        0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &(told)->activation, 0, 0,                                       \
            "the model's activation, where nothing tells it: quick_gelu (OpenAI's) or gelu (most of open_clip's)"                \
    }

/* A model at work. `common`, `model`, `vocab`, `told`, `cut` and left_out.strict come from the command line. */
typedef struct {
    ts_common common;
    const char *model, *vocab;
    ts_clip_told told; /* what stands in no tensor's shape */
    bool cut;          /* texts that are too long for the model are cut */
    ts_left_out left_out;

    ts_weights *weights;
    ts_clip_config config;
    ts_tokenizer *tokenizer; /* NULL: no texts are wanted */
    ts_device *dev;
    ts_clip *clip;
    bool announced;
} ts_clip_use;

/* The file's header and the vocabulary: cheap, so that a wrong name is told before the long work. */
bool ts_clip_use_open(ts_clip_use *u, bool texts, ts_error *err);
/* The device, and the model on it. */
bool ts_clip_use_start(ts_clip_use *u, ts_error *err);
void ts_clip_use_close(ts_clip_use *u);
/* Fails unless `out` can be written, and is not the model or its vocabulary. */
bool ts_clip_use_check_out(const ts_clip_use *u, const char *out, ts_error *err);
/* Leaves out the classes of labelled pictures whose folders are empty, and keeps what else is in the folders, to be said. */
bool ts_clip_use_note_data(ts_clip_use *u, const char *path, const ts_clip_data *d, ts_error *err);
/* Says which device does the work, once. */
void ts_clip_use_announce(ts_clip_use *u);
/* 16 hexadecimal digits that tell this model, at this precision, from others: of its sizes and of a sample of every weight. */
void ts_clip_use_identity(const ts_clip_use *u, char out[17]);
/* Texts -> features (count, embed), unit rows, with a progress bar. */
bool ts_clip_use_texts(ts_clip_use *u, const char *const *texts, int count, float *features, ts_error *err);

/* ---- pictures.c -------------------------------------------------------------------------------------------- */

typedef struct {
    char **path;
    int count;
    char **problem;         /* (count): why a picture could not be read; NULL: it could, or was not tried yet */
    int broken;             /* how many could not */
    ts_clip_prompt *prompt; /* whose features of pictures are wanted; NULL: the model's own */
    /* Where set, called after each batch: the first `done` of those asked for are encoded, or broken. */
    void (*encoded)(void *data, int done);
    void *data;
} ts_clip_pictures;

/* Files as they are named, and the pictures in folders and below, sorted by path. A name that is not there, or a folder without
 * pictures, is an error; a folder below that cannot be read is left out. */
bool ts_clip_pictures_list(ts_clip_use *u, const ts_words *words, ts_clip_pictures *p, ts_error *err);
void ts_clip_pictures_clear(ts_clip_pictures *p);
/* Encodes the pictures `which` (indices, `count` of them; NULL: the first `count`) into their rows of `features` (p->count,
 * embed), each of length 1. A picture that cannot be read leaves its row as it is and its problem in `p`, or fails it all where
 * that is strict. */
bool ts_clip_pictures_encode(ts_clip_use *u, ts_clip_pictures *p, const int *which, int count, float *features, ts_error *err);
/* Leaves out what could not be read. Fails where nothing could. */
bool ts_clip_pictures_tell(ts_clip_use *u, const ts_clip_pictures *p, ts_error *err);
/* "skipped": [{"file", "problem"}, ...] in a report. */
bool ts_clip_pictures_report(const ts_clip_pictures *p, cJSON *to);

/* ---- folder.c ---------------------------------------------------------------------------------------------- */

#define TS_CLIP_CACHE_NAME ".tessera-clip.safetensors"

/* A folder whose pictures are looked for. Zero; set no_cache. */
typedef struct {
    bool no_cache; /* the hidden file is neither read nor written */
    const char *path;
    ts_clip_use *use; /* with its model started before ts_clip_folder_know */
    ts_clip_pictures pictures;
    int64_t *size, *mtime; /* (count) */
    float *features;       /* (count, embed) */
    bool *known;           /* (count): its features are there */
    int *todo;             /* pictures to encode */
    int todo_count, reused;
    char *cache_path;
    char identity[17];
    bool kept; /* the cache is up to date */
    double saved_at;
} ts_clip_folder;

typedef struct {
    int picture;
    double score; /* cosine */
} ts_clip_hit;

bool ts_clip_folder_list(ts_clip_use *u, const char *path, ts_clip_folder *f, ts_error *err);
/* Features of all pictures, and the cache brought up to date. Only a folder without a readable picture is a failure. */
bool ts_clip_folder_know(ts_clip_folder *f, ts_error *err);
/* Its pictures by their likeness to the features `query` (embed), the most alike first; but for that of the file `but`, where it
 * is one of them (NULL: none). free(). NULL on failure. */
ts_clip_hit *ts_clip_folder_rank(const ts_clip_folder *f, const float *query, const char *but, int *count, ts_error *err);
/* A picture's name below the folder. */
const char *ts_clip_folder_name(const ts_clip_folder *f, int i);
void ts_clip_folder_clear(ts_clip_folder *f);

#endif
