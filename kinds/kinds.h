/* kinds.h - what a weights file is, told by the names in it: the models that Tessera reads, and others that lie about, so that a
 * wrong file is called by its name and not by the first tensor that it lacks. Knows names only: whether a model is whole, and
 * what sizes it has, is its own reader's. */
#ifndef TESSERA_KINDS_H
#define TESSERA_KINDS_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TS_KIND_UNKNOWN = 0,
    /* Read here. */
    TS_KIND_MAE_VQGAN,
    TS_KIND_MAE, /* the same without its VQGAN */
    TS_KIND_VQGAN,
    TS_KIND_CLIP, /* both towers, the image's a vision transformer; published or Hugging Face's names */
    TS_KIND_PROMPT,
    TS_KIND_LPIPS,
    TS_KIND_VGG,
    TS_KIND_FEATURES,  /* of `tessera clip embed` and `search`, and of an index of examples */
    TS_KIND_RETRIEVER, /* a head that says which examples go with a query */
    TS_KIND_DINOV2,    /* or DINOv3: a vision transformer with LayerScale */
    TS_KIND_PAINTER,
    TS_KIND_SEGGPT,     /* a Painter that is told what to segment */
    TS_KIND_SAM,        /* published or Hugging Face's names */
    TS_KIND_MOBILE_SAM, /* SAM's decoder under another encoder */
    TS_KIND_EMBEDDING,  /* of a picture, by a SAM */
    TS_KIND_BORDER,     /* of `tessera tune border` and `fusion` */
    TS_KIND_FUSION,
    TS_KIND_STROKES, /* learned by `tessera strokes train` */
    TS_KIND_TASK,    /* task vectors: of `tessera tune task` */
    /* Known, and not read. */
    TS_KIND_CLIP_RESNET,
    TS_KIND_CLIP_IMAGE, /* a tower alone */
    TS_KIND_CLIP_TEXT,
    TS_KIND_SIGLIP,
    TS_KIND_COCA,
    TS_KIND_EVA,
    TS_KIND_CONVNEXT,
    TS_KIND_TIMM_CLIP,
    TS_KIND_OPEN_CLIP_TEXT,
    TS_KIND_MAE_PIXELS,
    TS_KIND_GUMBEL_VQGAN,
    TS_KIND_KL_AUTOENCODER,
    TS_KIND_VQGAN_TRANSFORMER,
    TS_KIND_STABLE_DIFFUSION,
    TS_KIND_SAM2,
    TS_KIND_FLAMINGO,
    TS_KIND_VIT,
    TS_KIND_RESNET,
    TS_KIND_LANGUAGE,
    TS_KIND_LORA,
    TS_KINDS
} ts_kind;

ts_kind ts_kind_of(const ts_weights *w); /* NULL, no file: unknown */
/* With its article: "an MAE-VQGAN", "a CLIP"; "a file of an unknown kind". */
const char *ts_kind_name(ts_kind kind);
/* Whether the file was written by a training to go on from: it holds the optimizer's state too. */
bool ts_kind_is_checkpoint(const ts_weights *w);

/* Whether the file may serve as `wanted`, one of the kinds that are read: it is that, or holds it, or nothing tells what it is
 * (then what it lacks is its reader's to say). Else fails: "FILE is a CLIP; an MAE-VQGAN is wanted". */
bool ts_kind_expect(const ts_weights *w, ts_kind wanted, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
