/* internal.h - what files of clip/ share of the model: where its tensors stand in a file, the towers' blocks, and the model
 * itself. */
#ifndef TESSERA_CLIP_INTERNAL_H
#define TESSERA_CLIP_INTERNAL_H

#include "clip/clip.h"
#include "vit/vit.h"

/* ---- tensors of a file (weights.c) ---- */

/* The layouts that a CLIP is found in. The names used inside are those of the published files but for two, which have another
 * order there: visual.proj.weight and text_projection.weight are (out, in) as ts_linear wants them. */
typedef enum { CLIP_PUBLISHED, CLIP_HUGGING_FACE } clip_layout;

/* Hugging Face's names ("vision_model...") or the published ones. */
clip_layout ts_clip_layout_of(const ts_weights *w);

/* Where a tensor stands: in one piece, or in three that are put one below the other (q, k, v). */
typedef struct {
    char name[3][96];
    int pieces;
    bool turned; /* the file holds it (in, out) */
} clip_source;
void ts_clip_source(clip_layout layout, const char *name, clip_source *out);

/* Looks for every tensor of the model and compares shapes; all that is wrong in one sentence. */
bool ts_clip_check(const ts_weights *w, const ts_clip_config *c, ts_error *err);
/* What stands in no shape, and is to be added to what does (told.c). */
bool ts_clip_read_told(const ts_weights *w, const ts_clip_told *told, ts_clip_config *c, ts_error *err);

/* A file and, where its pictures are normalised otherwise than CLIP's, the configuration that says so: then that is put into the
 * weights, so that pictures are prepared in one way for all models. */
typedef struct {
    const ts_weights *weights;
    const ts_clip_config *config; /* NULL: the weights as they are */
} clip_file;
/* A ts_init_fn, ctx a clip_file: makes a tensor that the file has in another layout. */
bool ts_clip_convert(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);

/* ---- pictures (preprocess.c) ---- */

extern const float ts_clip_mean[3], ts_clip_deviation[3];

/* ---- what both towers are built of (block.c) ---- */

/* The blocks of one of the towers. */
ts_vit ts_clip_blocks_of(ts_graph *g, const ts_clip *c, bool text);
/* x (B, N, W) through all blocks -> (B, 1, W), the row that the tower goes on with: the one that `end` (B, 1) I32 names, or the
 * first where it is NULL. deep: as in ts_clip_vision. */
ts_tensor *ts_clip_blocks(const ts_vit *v, ts_tensor *x, ts_tensor *const *deep, ts_tensor *end);
ts_tensor *ts_clip_norm(ts_graph *g, const ts_clip *c, const char *layer, ts_tensor *x, int64_t width);
/* x (B, 1, in) through a projection without bias -> unit rows (B, out). */
ts_tensor *ts_clip_project(ts_graph *g, const ts_clip *c, const char *layer, ts_tensor *x, int64_t out);

/* ---- the model (clip.c, encode.c) ---- */

typedef struct clip_plans clip_plans;

struct ts_clip {
    ts_device *dev;
    const ts_weights *weights;
    ts_clip_config config;
    clip_file file;
    ts_params *params;
    const ts_weight *embedding; /* of the tokens, (vocabulary, text_width), in the file */
    double scale;
    clip_plans *plans; /* graphs of whole towers, by batch and length */
};

void ts_clip_plans_free(clip_plans *plans);
/* The place of a text's end: the largest of `context` ids, the first of them. */
int ts_clip_end(const int32_t *tokens, int context);

#endif
