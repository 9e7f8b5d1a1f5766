/* segment.h - `tessera segment` in its parts. segment.c leads: everything that can be refused is refused first, the options, the
 * names, the model, every picture with its prompts, the device; then picture after picture is encoded, asked and written. */
#ifndef TESSERA_SEGMENT_H
#define TESSERA_SEGMENT_H

#include "cli/cli.h"
#include "cli/clip/clip.h"
#include "sam/sam.h"

/* A picture, and what becomes of it. */
typedef struct {
    char *path;
    char *masks; /* a file, or a folder of them; NULL: not wanted, as all of these */
    char *overlay, *cutout, *embedding;
    bool encoded; /* the embedding is there already, and is taken */
    int width, height;
    ts_image kept; /* of what cannot be read twice, and where there is but one */
} segment_picture;

/* A mask of the picture at hand. */
typedef struct {
    ts_sam_found found;
    int prompt;       /* that it answers; -1: it was found by looking for everything */
    float similarity; /* of its crop to the words */
} segment_mask;

typedef struct {
    segment_mask *list;
    int count;
} segment_masks;

typedef struct {
    ts_common common;
    ts_words words, given, point_words, box_words;
    const char *model, *out, *overlay, *cutout, *embedding, *prior, *text;
    bool everything, multimask;
    int top, min_area;
    ts_sam_everything_options options;
    ts_clip_use clip; /* what it names is told by the command line; it works on `dev` */
    ts_left_out left_out;

    /* What is asked of every picture; prompts point into what stands before them. */
    float *point; /* (points, 2) */
    int *label;
    int points;
    float *box; /* (boxes, 4) */
    int boxes;
    ts_mask prior_mask;
    float *prior_logits; /* of the picture at hand */
    ts_sam_prompt *prompt;
    int prompts;
    bool one_mask; /* of each picture, whatever comes */

    segment_picture *picture;
    int pictures;
    const char *folders[4]; /* to be made: of masks, overlays, cut-outs, embeddings; NULL: none */
    ts_weights *weights;
    ts_sam_config config;
    ts_device *dev;
    ts_sam *sam;
    float *text_features; /* (embed) */
    cJSON *report, *skipped;
    struct {
        double encode, decode, words, write; /* of the picture at hand */
    } ms;
    ts_progress progress;
    int at; /* the picture at hand */
} segment_job;

/* options.c: -1, or the exit status. */
int segment_options(segment_job *j, int argc, char **argv);
/* Whether the masks are those of everything, and not answers to prompts. */
bool segment_looks_for_all(const segment_job *j);

/* outputs.c: which pictures there are and where their masks go. -1, or the exit status with the complaint said. */
int segment_plan(segment_job *j);
/* Takes a picture out of the list. */
void segment_drop(segment_job *j, int at);
void segment_outputs_clear(segment_job *j);

/* prompts.c: points and boxes off the command line; -1, or the exit status. */
int segment_read_prompts(segment_job *j);
/* Whether the prompts lie in a picture of that size. */
bool segment_check_prompts(const segment_job *j, const segment_picture *p, ts_error *err);
/* The answers of the picture that `sam` has. */
bool segment_ask(segment_job *j, segment_masks *out, ts_error *err);
/* Everything in it. */
bool segment_ask_all(segment_job *j, const ts_image *picture, segment_masks *out, ts_error *err);
void segment_masks_clear(segment_masks *m);

/* words.c: the model and its vocabulary, before the work; the words' features; the masks that are most like the words, best
 * first, the others taken out. */
bool segment_words_open(segment_job *j, ts_error *err);
bool segment_words_start(segment_job *j, ts_error *err);
bool segment_words_rank(segment_job *j, const ts_image *picture, segment_masks *m, ts_error *err);

/* write.c: all files of a picture but its embedding. */
bool segment_write(segment_job *j, const segment_picture *p, const ts_image *picture, const segment_masks *m, ts_error *err);

/* report.c */
bool segment_report(segment_job *j, const segment_picture *p, const segment_masks *m, ts_error *err);
bool segment_report_skipped(segment_job *j, const char *path, const char *problem, ts_error *err);

#endif
