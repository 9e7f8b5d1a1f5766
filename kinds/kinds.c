/* kinds.c - see kinds.h. Each kind has signs, names that only it has; a file is of the first kind that shows one. What holds
 * another model as a part of it therefore stands before that. */
#include "kinds/kinds.h"

#include <string.h>

enum { NAMES_OF_SIGN = 2 };

/* Names that must all be there. A star at the end or at the beginning stands for anything. */
typedef struct {
    ts_kind kind;
    const char *name[NAMES_OF_SIGN];
} sign;

static const sign signs[] = {
    {TS_KIND_FLAMINGO, {"perceiver.latents"}},
    {TS_KIND_FLAMINGO, {"*.gated_cross_attn_layer.attn_gate"}},
    {TS_KIND_SAM2, {"sam_mask_decoder.*"}},
    {TS_KIND_SAM2, {"memory_encoder.*"}},
    {TS_KIND_MOBILE_SAM, {"image_encoder.patch_embed.seq.*", "mask_decoder.*"}},
    {TS_KIND_SAM, {"prompt_encoder.*", "mask_decoder.*"}},
    {TS_KIND_SAM, {"image_encoder.neck.*"}},
    {TS_KIND_STABLE_DIFFUSION, {"model.diffusion_model.*"}},
    {TS_KIND_STABLE_DIFFUSION, {"diffusion_model.*"}},
    {TS_KIND_STABLE_DIFFUSION, {"time_embedding.linear_1.weight", "mid_block.*"}},
    {TS_KIND_STABLE_DIFFUSION, {"double_blocks.*", "single_blocks.*"}},
    {TS_KIND_VQGAN_TRANSFORMER, {"first_stage_model.*", "transformer.*"}},
    {TS_KIND_LORA, {"*.lora_A.weight"}},
    {TS_KIND_LORA, {"*.lora_down.weight"}},

    /* Prompts as their authors write them; MaPLe's holds the whole CLIP beside. */
    {TS_KIND_PROMPT, {"ctx"}},
    {TS_KIND_PROMPT, {"prompt_learner.ctx"}},
    {TS_KIND_PROMPT, {"uni_ctx"}},
    {TS_KIND_PROMPT, {"prompt_learner.uni_ctx"}},
    {TS_KIND_PROMPT, {"pad_up"}},
    {TS_KIND_PROMPT, {"patch"}},
    {TS_KIND_PROMPT, {"program"}},

    {TS_KIND_COCA, {"text_decoder.*", "visual.*"}},
    {TS_KIND_COCA, {"visual.attn_pool.*"}},
    {TS_KIND_SIGLIP, {"vision_model.head.probe"}},
    {TS_KIND_SIGLIP, {"visual.trunk.attn_pool.*"}},
    {TS_KIND_SIGLIP, {"logit_bias", "visual.*"}},
    {TS_KIND_SIGLIP, {"logit_bias", "vision_model.*"}},
    {TS_KIND_CONVNEXT, {"visual.trunk.stages.*"}},
    {TS_KIND_EVA, {"visual.trunk.blocks.0.attn.q_bias"}},
    {TS_KIND_EVA, {"visual.trunk.blocks.0.mlp.fc1_g.weight"}},
    {TS_KIND_EVA, {"visual.blocks.0.*"}},
    {TS_KIND_TIMM_CLIP, {"visual.trunk.*"}},
    {TS_KIND_OPEN_CLIP_TEXT, {"text.*", "visual.*"}},
    {TS_KIND_CLIP_RESNET, {"visual.attnpool.*"}},
    {TS_KIND_CLIP_RESNET, {"visual.layer1.*"}},
    {TS_KIND_CLIP, {"visual.transformer.resblocks.*", "transformer.resblocks.*"}},
    {TS_KIND_CLIP, {"vision_model.encoder.layers.*", "text_model.encoder.layers.*"}},
    {TS_KIND_CLIP_IMAGE, {"visual.transformer.resblocks.*"}},
    {TS_KIND_CLIP_IMAGE, {"vision_model.encoder.layers.*"}},
    {TS_KIND_CLIP_TEXT, {"text_model.encoder.layers.*"}},
    {TS_KIND_CLIP_TEXT, {"transformer.resblocks.*", "token_embedding.weight"}},

    {TS_KIND_SEGGPT, {"segment_token_x", "type_token_ins"}},
    {TS_KIND_SEGGPT, {"*embeddings.segment_token_input", "*embeddings.type_token_instance"}},
    {TS_KIND_PAINTER, {"segment_token_x"}},
    {TS_KIND_PAINTER, {"*embeddings.segment_token_input"}},
    {TS_KIND_MAE_VQGAN, {"decoder_blocks.*", "vae.*"}},
    {TS_KIND_MAE_VQGAN, {"decoder_pred.weight", "vae.*"}},
    {TS_KIND_MAE, {"decoder_blocks.*"}},
    {TS_KIND_MAE, {"decoder_pred.weight"}},
    {TS_KIND_GUMBEL_VQGAN, {"quantize.embed.weight", "quantize.proj.weight"}},
    {TS_KIND_VQGAN, {"quantize.embedding.weight"}},
    {TS_KIND_VQGAN, {"vae.quantize.embedding.weight"}},
    {TS_KIND_VQGAN, {"encoder.down.*", "decoder.up.*"}},
    {TS_KIND_VQGAN, {"vae.encoder.down.*", "vae.decoder.up.*"}},
    {TS_KIND_KL_AUTOENCODER, {"encoder.down_blocks.*", "decoder.up_blocks.*"}},
    {TS_KIND_LPIPS, {"lin0.model.1.weight"}},
    {TS_KIND_VGG, {"features.0.weight", "features.28.weight"}},
    {TS_KIND_VGG, {"features.0.weight", "classifier.0.weight"}},
    {TS_KIND_RESNET, {"layer1.0.conv1.weight"}},
    {TS_KIND_DINOV2, {"blocks.0.ls1.gamma"}},
    {TS_KIND_DINOV2, {"backbone.blocks.0.ls1.gamma"}},
    {TS_KIND_DINOV2, {"*layer.0.layer_scale1.lambda1"}},
    {TS_KIND_VIT, {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"}},
    {TS_KIND_VIT, {"*embeddings.patch_embeddings.projection.weight"}},
    {TS_KIND_LANGUAGE, {"*embed_tokens.weight"}},
    {TS_KIND_LANGUAGE, {"*wte.weight"}},
    {TS_KIND_LANGUAGE, {"gpt_neox.*"}},
    {TS_KIND_LANGUAGE, {"*embeddings.word_embeddings.weight"}},
};

static const char *const names[TS_KINDS] = {
    [TS_KIND_UNKNOWN] = "a file of an unknown kind",
    [TS_KIND_MAE_VQGAN] = "an MAE-VQGAN",
    [TS_KIND_MAE] = "an MAE-VQGAN without its VQGAN",
    [TS_KIND_VQGAN] = "a VQGAN",
    [TS_KIND_CLIP] = "a CLIP",
    [TS_KIND_PROMPT] = "a prompt for a CLIP",
    [TS_KIND_LPIPS] = "an LPIPS",
    [TS_KIND_VGG] = "a VGG",
    [TS_KIND_FEATURES] = "a file of pictures' features",
    [TS_KIND_RETRIEVER] = "a retriever of examples",
    [TS_KIND_DINOV2] = "a DINOv2 or DINOv3",
    [TS_KIND_PAINTER] = "a Painter",
    [TS_KIND_SEGGPT] = "a SegGPT",
    [TS_KIND_CLIP_RESNET] = "a CLIP with a ResNet",
    [TS_KIND_CLIP_IMAGE] = "a CLIP's image tower alone",
    [TS_KIND_CLIP_TEXT] = "a CLIP's text tower alone",
    [TS_KIND_SIGLIP] = "a SigLIP (a CLIP trained with a sigmoid)",
    [TS_KIND_COCA] = "a CoCa",
    [TS_KIND_EVA] = "an EVA-CLIP",
    [TS_KIND_CONVNEXT] = "a CLIP with a ConvNeXt",
    [TS_KIND_TIMM_CLIP] = "a CLIP with an image tower of timm's",
    [TS_KIND_OPEN_CLIP_TEXT] = "a CLIP of open_clip's with a text tower of its own (CLIPA, MobileCLIP, a BERT)",
    [TS_KIND_MAE_PIXELS] = "a masked autoencoder that paints pixels",
    [TS_KIND_GUMBEL_VQGAN] = "a VQGAN with Gumbel quantization",
    [TS_KIND_KL_AUTOENCODER] = "an autoencoder without codes (Stable Diffusion's)",
    [TS_KIND_VQGAN_TRANSFORMER] = "a transformer over a VQGAN's codes",
    [TS_KIND_STABLE_DIFFUSION] = "a diffusion model (Stable Diffusion, Flux)",
    [TS_KIND_SAM] = "a SAM",
    [TS_KIND_MOBILE_SAM] = "a MobileSAM (a SAM with a TinyViT)",
    [TS_KIND_EMBEDDING] = "a picture's embedding by a SAM",
    [TS_KIND_BORDER] = "a border of examples for an MAE-VQGAN",
    [TS_KIND_FUSION] = "a fusion of examples for an MAE-VQGAN",
    [TS_KIND_STROKES] = "a model from strokes",
    [TS_KIND_TASK] = "task vectors for an MAE-VQGAN",
    [TS_KIND_SAM2] = "a SAM 2",
    [TS_KIND_FLAMINGO] = "an OpenFlamingo or Otter",
    [TS_KIND_VIT] = "a vision transformer (timm, DINO)",
    [TS_KIND_RESNET] = "a ResNet",
    [TS_KIND_LANGUAGE] = "a language model",
    [TS_KIND_LORA] = "a LoRA, no whole model",
};

static bool fits(const char *pattern, const char *name)
{
    const size_t length = strlen(pattern), all = strlen(name);
    if (pattern[0] == '*') return all >= length - 1 && strcmp(name + all - (length - 1), pattern + 1) == 0;
    if (length > 0 && pattern[length - 1] == '*') return strncmp(name, pattern, length - 1) == 0;
    return strcmp(name, pattern) == 0;
}

static bool has(const ts_weights *w, const char *pattern)
{
    if (!strchr(pattern, '*')) return ts_weights_find(w, pattern) != NULL;
    for (int64_t i = 0; i < ts_weights_count(w); i++)
        if (fits(pattern, ts_weights_at(w, i)->name)) return true;
    return false;
}

static bool shows(const ts_weights *w, const sign *s)
{
    for (int i = 0; i < NAMES_OF_SIGN && s->name[i]; i++)
        if (!has(w, s->name[i])) return false;
    return true;
}

/* Dimension `dim` of a tensor; 0 where there is none. */
static int64_t dim_of(const ts_weights *w, const char *name, int dim)
{
    const ts_weight *t = ts_weights_find(w, name);
    return t && dim < t->ndim ? t->shape[dim] : 0;
}

/* He et al.'s predicts the three channels of each pixel of a patch. */
static bool paints_pixels(const ts_weights *w)
{
    const int64_t patch = dim_of(w, "patch_embed.proj.weight", 2);
    return patch > 0 && patch < 1024 && dim_of(w, "decoder_pred.weight", 0) == 3 * patch * patch && !ts_weights_meta(w, "heads");
}

/* Its encoder gives a mean and a deviation for each number that its decoder takes. */
static bool is_variational(const ts_weights *w)
{
    const int64_t taken = dim_of(w, "post_quant_conv.weight", 1);
    return taken > 0 && dim_of(w, "quant_conv.weight", 0) == 2 * taken && !ts_weights_find(w, "quantize.embedding.weight");
}

ts_kind ts_kind_of(const ts_weights *w)
{
    if (!w) return TS_KIND_UNKNOWN;
    if (ts_weights_meta(w, "tessera.prompt")) return TS_KIND_PROMPT;
    if (ts_weights_meta(w, "tessera.clip")) return TS_KIND_FEATURES;
    if (ts_weights_meta(w, "tessera.retriever")) return TS_KIND_RETRIEVER;
    if (ts_weights_meta(w, "tessera.sam")) return TS_KIND_EMBEDDING;
    if (ts_weights_meta(w, "tessera.border")) return TS_KIND_BORDER;
    if (ts_weights_meta(w, "tessera.fusion")) return TS_KIND_FUSION;
    if (ts_weights_meta(w, "tessera.strokes")) return TS_KIND_STROKES;
    if (ts_weights_meta(w, "tessera.task")) return TS_KIND_TASK;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (!shows(w, &signs[i])) continue;
        if (signs[i].kind == TS_KIND_MAE && paints_pixels(w)) return TS_KIND_MAE_PIXELS;
        if (signs[i].kind == TS_KIND_VQGAN && is_variational(w)) return TS_KIND_KL_AUTOENCODER;
        return signs[i].kind;
    }
    return TS_KIND_UNKNOWN;
}

const char *ts_kind_name(ts_kind kind)
{
    return kind >= 0 && kind < TS_KINDS ? names[kind] : names[TS_KIND_UNKNOWN];
}

bool ts_kind_is_checkpoint(const ts_weights *w)
{
    return ts_weights_meta(w, "step") && has(w, "optimizer.*");
}

static bool serves(ts_kind kind, ts_kind wanted)
{
    switch (wanted) {
    case TS_KIND_MAE_VQGAN:
    case TS_KIND_MAE:
        return kind == TS_KIND_MAE_VQGAN || kind == TS_KIND_MAE;
    case TS_KIND_VQGAN:
        return kind == TS_KIND_VQGAN || kind == TS_KIND_MAE_VQGAN;
    case TS_KIND_PAINTER:
        return kind == TS_KIND_PAINTER || kind == TS_KIND_SEGGPT;
    case TS_KIND_SAM:
        return kind == TS_KIND_SAM || kind == TS_KIND_MOBILE_SAM;
    default:
        return kind == wanted;
    }
}

/* What a user is told to bring. */
static const char *wanted_name(ts_kind wanted)
{
    if (wanted == TS_KIND_CLIP) return "a CLIP with a vision transformer";
    return wanted == TS_KIND_PAINTER ? "a Painter or SegGPT" : names[wanted];
}

bool ts_kind_expect(const ts_weights *w, ts_kind wanted, ts_error *err)
{
    const ts_kind kind = ts_kind_of(w);
    if (kind == TS_KIND_UNKNOWN || serves(kind, wanted)) return true;
    return ts_fail(err, kind >= TS_KIND_CLIP_RESNET ? TS_ERR_UNSUPPORTED : TS_ERR_FORMAT, "%s is %s%s; %s is wanted",
                   ts_weights_path(w), ts_kind_is_checkpoint(w) ? "a training's checkpoint of " : "", names[kind],
                   wanted_name(wanted));
}
