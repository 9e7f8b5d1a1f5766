/* test_kinds.c - what a file is, by its names, and the sentence where another kind was wanted: for the reader of every kind and
 * for every command that takes a model. */
#include "kinds/kinds.h"

#include "../support/program.h"
#include "clip/clip.h"
#include "mae/mae.h"

#include <stdio.h>
#include <string.h>

/* A file of one number under each of the names, parted by spaces. */
static const char *file_of(const char *file, const char *words, const char *meta, const char *value)
{
    static const float one = 1;
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    assert_non_null(w);
    char list[512];
    snprintf(list, sizeof list, "%s", words);
    for (char *name = strtok(list, " "); name; name = strtok(NULL, " "))
        if (!ts_weights_writer_add(w, name, TS_DT_F32, 1, (int64_t[]){1}, &one, &err)) fail_msg("%s", err.text);
    if (meta) assert_true(ts_weights_writer_meta(w, meta, value, &err));
    const char *path = temp_path("%s", file);
    if (!ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    return path;
}

static const struct {
    ts_kind kind;
    const char *name, *words;
} kinds[] = {
    {TS_KIND_UNKNOWN, "a file of an unknown kind", "layer.weight layer.bias"},
    {TS_KIND_MAE_VQGAN, "an MAE-VQGAN", "decoder_pred.weight decoder_blocks.0.norm1.weight vae.quantize.embedding.weight"},
    {TS_KIND_MAE, "an MAE-VQGAN without its VQGAN", "mask_token decoder_pred.weight decoder_blocks.0.norm1.weight"},
    {TS_KIND_VQGAN, "a VQGAN", "encoder.down.0.block.0.conv1.weight quantize.embedding.weight loss.lin0.model.1.weight"},
    {TS_KIND_CLIP, "a CLIP", "visual.transformer.resblocks.0.ln_1.weight transformer.resblocks.0.ln_1.weight"},
    {TS_KIND_CLIP, "a CLIP", "vision_model.encoder.layers.0.layer_norm1.weight text_model.encoder.layers.0.layer_norm1.weight"},
    {TS_KIND_PROMPT, "a prompt for a CLIP", "ctx token_prefix token_suffix"},
    {TS_KIND_PROMPT, "a prompt for a CLIP",
     "prompt_learner.ctx image_encoder.conv1.weight visual.transformer.resblocks.0.ln_1.weight "
     "transformer.resblocks.0.ln_1.weight"},
    {TS_KIND_PROMPT, "a prompt for a CLIP", "pad_up pad_down pad_left pad_right"},
    {TS_KIND_LPIPS, "an LPIPS", "lin0.model.1.weight lin1.model.1.weight"},
    {TS_KIND_VGG, "a VGG", "features.0.weight features.28.weight classifier.0.weight"},
    {TS_KIND_CLIP_RESNET, "a CLIP with a ResNet", "visual.conv1.weight visual.layer1.0.conv1.weight"},
    {TS_KIND_CLIP_IMAGE, "a CLIP's image tower alone", "vision_model.encoder.layers.0.layer_norm1.weight"},
    {TS_KIND_CLIP_TEXT, "a CLIP's text tower alone", "text_model.encoder.layers.0.layer_norm1.weight"},
    {TS_KIND_SIGLIP, "a SigLIP (a CLIP trained with a sigmoid)",
     "logit_bias vision_model.encoder.layers.0.layer_norm1.weight text_model.encoder.layers.0.layer_norm1.weight"},
    {TS_KIND_SIGLIP, "a SigLIP (a CLIP trained with a sigmoid)", "visual.trunk.attn_pool.q.weight text.ln_final.weight"},
    {TS_KIND_COCA, "a CoCa", "visual.attn_pool.query text_decoder.resblocks.0.ln_1.weight"},
    {TS_KIND_EVA, "an EVA-CLIP", "visual.trunk.blocks.0.attn.q_bias text.ln_final.weight"},
    {TS_KIND_CONVNEXT, "a CLIP with a ConvNeXt", "visual.trunk.stages.0.blocks.0.gamma transformer.resblocks.0.ln_1.weight"},
    {TS_KIND_TIMM_CLIP, "a CLIP with an image tower of timm's", "visual.trunk.blocks.0.norm1.weight"},
    {TS_KIND_OPEN_CLIP_TEXT, "a CLIP of open_clip's with a text tower of its own (CLIPA, MobileCLIP, a BERT)",
     "visual.transformer.resblocks.0.ln_1.weight text.transformer.resblocks.0.ln_1.weight"},
    {TS_KIND_KL_AUTOENCODER, "an autoencoder without codes (Stable Diffusion's)",
     "encoder.down_blocks.0.resnets.0.conv1.weight decoder.up_blocks.0.resnets.0.conv1.weight"},
    {TS_KIND_STABLE_DIFFUSION, "a diffusion model (Stable Diffusion, Flux)",
     "model.diffusion_model.input_blocks.0.0.weight first_stage_model.quant_conv.weight"},
    {TS_KIND_VQGAN_TRANSFORMER, "a transformer over a VQGAN's codes",
     "transformer.blocks.0.ln1.weight first_stage_model.quantize.embedding.weight"},
    {TS_KIND_MOBILE_SAM, "a MobileSAM (a SAM with a TinyViT)",
     "image_encoder.patch_embed.seq.0.c.weight prompt_encoder.no_mask_embed.weight mask_decoder.iou_token.weight"},
    {TS_KIND_SAM, "a SAM", "image_encoder.pos_embed prompt_encoder.no_mask_embed.weight mask_decoder.iou_token.weight"},
    {TS_KIND_SAM, "a SAM", "vision_encoder.pos_embed prompt_encoder.no_mask_embed.weight mask_decoder.iou_token.weight"},
    {TS_KIND_PAINTER, "a Painter", "segment_token_x mask_token decoder_pred.0.weight"},
    {TS_KIND_SEGGPT, "a SegGPT", "segment_token_x mask_token type_token_cls type_token_ins decoder_pred.0.weight"},
    {TS_KIND_SEGGPT, "a SegGPT",
     "model.embeddings.segment_token_input model.embeddings.type_token_instance decoder.decoder_embed.weight"},
    {TS_KIND_FLAMINGO, "an OpenFlamingo or Otter", "perceiver.latents lang_encoder.transformer.wte.weight"},
    {TS_KIND_DINOV2, "a DINOv2 or DINOv3", "mask_token blocks.0.ls1.gamma patch_embed.proj.weight blocks.0.attn.qkv.weight"},
    {TS_KIND_VIT, "a vision transformer (timm, DINO)", "patch_embed.proj.weight blocks.0.attn.qkv.weight"},
    {TS_KIND_RESNET, "a ResNet", "conv1.weight layer1.0.conv1.weight fc.weight"},
    {TS_KIND_LANGUAGE, "a language model", "model.embed_tokens.weight lm_head.weight"},
    {TS_KIND_LORA, "a LoRA, no whole model", "unet.mid.lora_down.weight unet.mid.lora_up.weight"},
};
enum { COUNT = sizeof kinds / sizeof *kinds };

static void test_kinds(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        ts_error err = {0};
        ts_weights *w = ts_weights_open(file_of("kind.safetensors", kinds[i].words, NULL, NULL), &err);
        if (!w) fail_msg("%s", err.text);
        if (ts_kind_of(w) != kinds[i].kind) fail_msg("%s: taken for %s", kinds[i].words, ts_kind_name(ts_kind_of(w)));
        assert_string_equal(ts_kind_name(kinds[i].kind), kinds[i].name);
        assert_false(ts_kind_is_checkpoint(w));
        ts_weights_free(w);
    }
}

/* Each kind to the reader of each that is read: it goes on, or is told what it was given. */
static void test_expect(void **state)
{
    (void)state;
    static const ts_kind wanted[] = {TS_KIND_MAE_VQGAN, TS_KIND_VQGAN, TS_KIND_CLIP,    TS_KIND_PROMPT,
                                     TS_KIND_LPIPS,     TS_KIND_VGG,   TS_KIND_PAINTER, TS_KIND_SAM};
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
            ts_error err = {0};
            ts_weights *w = ts_weights_open(file_of("kind.safetensors", kinds[i].words, NULL, NULL), &err);
            if (!w) fail_msg("%s", err.text);
            const ts_kind have = kinds[i].kind;
            const bool serves = have == TS_KIND_UNKNOWN || have == wanted[k] ||
                                (have == TS_KIND_MAE && wanted[k] == TS_KIND_MAE_VQGAN) ||
                                (have == TS_KIND_MAE_VQGAN && wanted[k] == TS_KIND_VQGAN) ||
                                (have == TS_KIND_SEGGPT && wanted[k] == TS_KIND_PAINTER) ||
                                (have == TS_KIND_MOBILE_SAM && wanted[k] == TS_KIND_SAM);
            if (ts_kind_expect(w, wanted[k], &err) != serves) fail_msg("%s: %s", kinds[i].words, err.text);
            if (!serves && !strstr(err.text, kinds[i].name)) fail_msg("\"%s\" does not say %s", err.text, kinds[i].name);
            ts_weights_free(w);
        }
}

/* Told by a shape, not by a name alone. */
static void test_shapes(void **state)
{
    (void)state;
    static const float zeros[768 * 2];
    static const struct {
        ts_kind kind;
        const char *a, *b;
        int64_t rows, columns;
    } cases[] = {{TS_KIND_MAE_PIXELS, "decoder_pred.weight", "patch_embed.proj.weight", 768, 16},
                 {TS_KIND_MAE, "decoder_pred.weight", "patch_embed.proj.weight", 767, 16},
                 {TS_KIND_KL_AUTOENCODER, "quant_conv.weight", "post_quant_conv.weight", 8, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_weights_writer *out = ts_weights_writer_new();
        const bool kl = cases[i].kind == TS_KIND_KL_AUTOENCODER;
        const int64_t second[] = {1, kl ? cases[i].columns : 1, kl ? 1 : cases[i].columns, 1};
        bool ok = ts_weights_writer_add(out, cases[i].a, TS_DT_F32, 2, (int64_t[]){cases[i].rows, 1}, zeros, &err) &&
                  ts_weights_writer_add(out, cases[i].b, TS_DT_F32, 4, second, zeros, &err);
        if (kl)
            ok = ok && ts_weights_writer_add(out, "encoder.down.0.x", TS_DT_F32, 0, NULL, zeros, &err) &&
                 ts_weights_writer_add(out, "decoder.up.0.x", TS_DT_F32, 0, NULL, zeros, &err);
        const char *path = temp_path("shaped.safetensors");
        if (!ok || !ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
        ts_weights_writer_free(out);
        ts_weights *w = ts_weights_open(path, &err);
        assert_non_null(w);
        if (ts_kind_of(w) != cases[i].kind) fail_msg("case %d: taken for %s", (int)i, ts_kind_name(ts_kind_of(w)));
        ts_weights_free(w);
    }
}

static const char clip_words[] = "visual.transformer.resblocks.0.ln_1.weight transformer.resblocks.0.ln_1.weight";
static const char sam_words[] = "prompt_encoder.no_mask_embed.weight mask_decoder.iou_token.weight";

/* Every command that takes a model, with a wrong one. */
static void test_commands(void **state)
{
    (void)state;
    const char *clip = kept_path("clip.safetensors"), *sam = kept_path("sam.safetensors"), *prompt = kept_path("p.safetensors");
    const char *picture = kept_path("picture.png"), *out = kept_path("answer.png"), *mae = random_model();
    file_of("clip.safetensors", clip_words, NULL, NULL);
    file_of("sam.safetensors", sam_words, NULL, NULL);
    file_of("p.safetensors", "ctx", "tessera.prompt", "1");
    write_picture(picture, 32, 32, 1);

    assert_refused(program_run("run", "-m", prompt, "-e", picture, picture, "-q", picture, "-o", out, NULL), 1,
                   "p.safetensors is a prompt for a CLIP; an MAE-VQGAN is wanted");
    assert_false(file_exists(out));
    assert_refused(program_run("run", "-m", mae, "--vqgan", sam, "-e", picture, picture, "-q", picture, "-o", out, NULL), 1,
                   "sam.safetensors is a SAM; a VQGAN is wanted");
    assert_refused(program_run("eval", "synthetic", "-m", prompt, "-Q", NULL), 1,
                   "p.safetensors is a prompt for a CLIP; an MAE-VQGAN is wanted");
    const char *run = kept_path("run");
    assert_refused(program_run("train", "mae", "--data", "figures:", "--out", run, "--steps", "1", "--vqgan", clip, NULL), 1,
                   "clip.safetensors is a CLIP; a VQGAN is wanted");
    assert_refused(program_run("train", "mae", "--data", "figures:", "--out", run, "--steps", "1", "--init", clip, NULL), 1,
                   "clip.safetensors is a CLIP; an MAE-VQGAN is wanted");
    assert_refused(program_run("train", "vqgan", "--data", "figures:", "--out", run, "--steps", "1", "--init", sam, NULL), 1,
                   "sam.safetensors is a SAM; a VQGAN is wanted");
    assert_refused(program_run("train", "vqgan", "--data", "figures:", "--out", run, "--steps", "1", "--lpips", clip, NULL), 1,
                   "clip.safetensors is a CLIP; an LPIPS is wanted");
    assert_refused(program_run("clip", "embed", "--text", "a", "--out", temp_path("a.jsonl"), "-m", mae, NULL), 1,
                   "is an MAE-VQGAN; a CLIP with a vision transformer is wanted");
    assert_refused(program_run("clip", "classify", picture, "--classes", "a,b", "-m", prompt, NULL), 1,
                   "p.safetensors is a prompt for a CLIP; a CLIP with a vision transformer is wanted");
    assert_refused(program_run("model", "check", sam, NULL), 1,
                   "sam.safetensors: tensor image_encoder.pos_embed is missing, which tells the model's architecture");
    file_of("sam2.safetensors", "sam_mask_decoder.iou_token.weight", NULL, NULL);
    assert_refused(program_run("model", "check", kept_path("sam2.safetensors"), NULL), 1,
                   "sam2.safetensors is a SAM 2, and that is none of the models that can be checked");
    assert_refused(program_run("model", "convert", mae, out, "--vqgan", clip, NULL), 1,
                   "clip.safetensors is a CLIP; a VQGAN is wanted");

    if (file_exists(TS_GOLDEN_DIR "/clip_tiny.pt"))
        assert_refused(program_run("clip", "classify", picture, "--prompt", sam, "-Q", "-m", TS_GOLDEN_DIR "/clip_tiny.pt",
                                   "--vocab", TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz", NULL),
                       1, "sam.safetensors is a SAM; a prompt for a CLIP is wanted");

    program_result r = program_run("model", "info", sam, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "model         SAM\n"));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_expect), cmocka_unit_test(test_shapes),
                                       cmocka_unit_test(test_commands)};
    return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
