/* serve.h - `tessera serve` in its parts. serve.c leads: options, the models, the server; then each room of the page has its file
 * with the work of its routes. All of that work is done by the server's one thread for models, so that nothing here is locked. */
#ifndef TESSERA_SERVE_H
#define TESSERA_SERVE_H

#include "cli/clip/clip.h"
#include "cli/run/run.h"
#include "page/page.h"
#include "sam/sam.h"
#include "strokes/strokes.h"

enum { SERVE_KEPT = 8 }; /* pictures that are kept for each room */

/* A picture that prompts are asked of, until others take its place. */
typedef struct {
    int64_t id;   /* 0: the place is free */
    int64_t used; /* when: the least is given up first */
    ts_image picture;
    float *embedding; /* of a SAM (side, side, E) */
} serve_kept;

typedef struct {
    ts_page_desc desc;
    ts_words names;
    const char *sam_path, *clip_path, *vocab, *find;
    ts_clip_told told;
    ts_device *dev;
    ts_page *page;

    /* Example. `job` is one run of one query that begins anew with each request, its options those of `started`. */
    run_job job, started;
    ts_option options[RUN_MODEL_OPTIONS];
    int option_count;
    bool ready; /* the engine has its model */

    /* Segment */
    ts_weights *sam_weights;
    ts_sam *sam;
    serve_kept kept[SERVE_KEPT];
    int64_t current;        /* the picture that `sam` has */
    int64_t last_id, clock; /* of what is kept, in all rooms */

    /* Strokes */
    ts_strokes *strokes; /* the last model */
    int64_t strokes_id;  /* its number */
    int64_t at_hand;     /* the picture whose features it has; 0: none of those below */
    serve_kept painted[SERVE_KEPT];

    /* Find */
    ts_clip_use clip;
    ts_clip_folder folder;
} serve;

/* settings.c: the options of a run that a request may set, as JSON; what a request sets. */
bool serve_settings(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_set(serve *s, const cJSON *settings, ts_error *err);
/* Whether an option says how answers are made, and not which files or what memory they are made with. */
bool serve_is_setting(const ts_option *o);

/* example.c */
const char *serve_kind(const run_job *r); /* of the model, in words */
bool serve_example_open(serve *s, ts_error *err);
bool serve_answer(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
/* Adds a picture to an object as PNG in base64. */
bool serve_add_picture(cJSON *to, const char *name, const ts_image *img, ts_error *err);
bool serve_canvas(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

/* kept.c: a number that nothing had before; gives up a picture; a free place for one of that size, for which those used least are
 * given up until there is one, and all together have four times as many pixels as one may have; a number in a request (0: it has
 * none); the picture that a request names, which was sent to the address `from`. */
int64_t serve_next_id(serve *s);
void serve_forget(serve_kept *k);
serve_kept *serve_make_room(serve *s, serve_kept list[SERVE_KEPT], const ts_image *picture);
bool serve_id(const ts_page_job *job, const char *name, double *id, ts_error *err);
serve_kept *serve_find_kept(serve *s, serve_kept list[SERVE_KEPT], ts_page_job *job, const char *from, ts_error *err);

/* strokes.c */
void serve_strokes_close(serve *s);
bool serve_strokes_picture(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_strokes_masks(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_strokes_apply(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_strokes_file(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

/* segment.c */
bool serve_segment_open(serve *s, ts_error *err);
void serve_segment_close(serve *s);
bool serve_take_picture(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_masks(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_cutout(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

/* find.c */
bool serve_find_open(serve *s, ts_error *err);
bool serve_find(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);
bool serve_thumbnail(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

/* about.c */
bool serve_about(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err);

#endif
