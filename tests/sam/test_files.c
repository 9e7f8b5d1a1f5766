/* Files of a SAM: Hugging Face's layout, a picture's embedding kept in a file, and what is said of what is broken or does not
 * fit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sam/internal.h"
#include "tests/support/support.h"

static ts_device *host;

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    return path;
}

static ts_image noise(int width, int height)
{
    ts_image img;
    ts_error err = {0};
    uint64_t seed = 5;
    if (!ts_image_new(width, height, &img, &err)) fail_msg("%s", err.text);
    for (int64_t i = 0; i < (int64_t)width * height * 3; i++) img.data[i] = (uint8_t)(256 * test_uniform(&seed));
    return img;
}

static ts_sam *open_sam(const ts_weights *w)
{
    ts_error err = {0};
    ts_sam *s = ts_sam_new(host, &(ts_sam_desc){.weights = w}, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

/* What the file becomes: a tensor left out or given another shape (its numbers those of the file, as many as there are), names
 * changed to Hugging Face's. */
typedef struct {
    bool hugging_face;
    const char *without, *changed;
    int ndim;
    int64_t shape[TS_MAX_FILE_DIMS];
    float scale; /* of the neck's last weights; 0: 1 */
} edit;

static ts_weights *edited(const ts_weights *from, const char *name, const edit *e)
{
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    float *held[512] = {0};
    assert_true(out && ts_weights_count(from) < 512);
    for (int64_t i = 0; i < ts_weights_count(from); i++) {
        const ts_weight *t = ts_weights_at(from, i);
        if (e->without && strcmp(t->name, e->without) == 0) continue;
        const bool changed = e->changed && strcmp(t->name, e->changed) == 0;
        int64_t count = 1;
        for (int d = 0; changed && d < e->ndim; d++) count *= e->shape[d];
        held[i] = calloc((size_t)(count > t->count ? count : t->count), sizeof(float));
        assert_true(held[i] && ts_weight_to_f32(t, held[i], &err));
        if (e->scale != 0 && strcmp(t->name, "image_encoder.neck.3.weight") == 0) held[i][0] *= e->scale;
        if (!ts_weights_writer_add(out, ts_sam_name(e->hugging_face, t->name).s, TS_DT_F32, changed ? e->ndim : t->ndim,
                                   changed ? e->shape : t->shape, held[i], &err))
            fail_msg("%s", err.text);
    }
    const char *path = path_of(name);
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 512; i++) free(held[i]);
    ts_weights_writer_free(out);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

/* ---- Hugging Face's layout ---- */

/* Their names, as their own files have them. */
static void test_names(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"image_encoder.pos_embed", "vision_encoder.pos_embed"},
        {"image_encoder.patch_embed.proj.bias", "vision_encoder.patch_embed.projection.bias"},
        {"image_encoder.blocks.11.norm2.weight", "vision_encoder.layers.11.layer_norm2.weight"},
        {"image_encoder.blocks.0.attn.rel_pos_h", "vision_encoder.layers.0.attn.rel_pos_h"},
        {"image_encoder.blocks.3.mlp.lin1.weight", "vision_encoder.layers.3.mlp.lin1.weight"},
        {"image_encoder.neck.0.weight", "vision_encoder.neck.conv1.weight"},
        {"image_encoder.neck.3.bias", "vision_encoder.neck.layer_norm2.bias"},
        {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "prompt_encoder.shared_embedding.positional_embedding"},
        {"prompt_encoder.point_embeddings.2.weight", "prompt_encoder.point_embed.2.weight"},
        {"prompt_encoder.mask_downscaling.4.weight", "prompt_encoder.mask_embed.layer_norm2.weight"},
        {"prompt_encoder.mask_downscaling.6.bias", "prompt_encoder.mask_embed.conv3.bias"},
        {"prompt_encoder.no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight"},
        {"mask_decoder.transformer.layers.1.norm4.weight", "mask_decoder.transformer.layers.1.layer_norm4.weight"},
        {"mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.bias",
         "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.bias"},
        {"mask_decoder.transformer.norm_final_attn.weight", "mask_decoder.transformer.layer_norm_final_attn.weight"},
        {"mask_decoder.output_upscaling.0.weight", "mask_decoder.upscale_conv1.weight"},
        {"mask_decoder.output_upscaling.1.weight", "mask_decoder.upscale_layer_norm.weight"},
        {"mask_decoder.output_hypernetworks_mlps.3.layers.0.weight", "mask_decoder.output_hypernetworks_mlps.3.proj_in.weight"},
        {"mask_decoder.output_hypernetworks_mlps.3.layers.1.weight", "mask_decoder.output_hypernetworks_mlps.3.layers.0.weight"},
        {"mask_decoder.iou_prediction_head.layers.2.bias", "mask_decoder.iou_prediction_head.proj_out.bias"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) assert_string_equal(ts_sam_name(true, pairs[i][0]).s, pairs[i][1]);
}

static ts_sam_answer ask(ts_sam *s)
{
    ts_error err = {0};
    ts_sam_answer answer;
    const ts_sam_prompt prompt = {.points = 1, .point = (float[]){20, 11}, .label = (int[]){1}, .box = (float[]){4, 5, 40, 30}};
    if (!ts_sam_predict(s, &prompt, 1, &(ts_sam_options){.multimask = true}, &answer, &err)) fail_msg("%s", err.text);
    return answer;
}

/* The same bits by both names. */
static void test_hugging_face(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_golden("sam_tiny.pth"), *theirs = edited(w, "hf.safetensors", &(edit){.hugging_face = true});
    ts_image img = noise(50, 34);
    ts_sam *a = open_sam(w), *b = open_sam(theirs);
    assert_true(ts_sam_about(b)->hugging_face);
    assert_true(ts_sam_check(theirs, &err));
    if (!ts_sam_set_picture(a, &img, &err) || !ts_sam_set_picture(b, &img, &err)) fail_msg("%s", err.text);
    ts_sam_answer x = ask(a), y = ask(b);
    assert_memory_equal(x.logits, y.logits, (size_t)x.each * (size_t)x.low * (size_t)x.low * sizeof(float));
    assert_memory_equal(x.score, y.score, (size_t)x.each * sizeof(float));
    ts_sam_answer_clear(&x);
    ts_sam_answer_clear(&y);
    ts_image_clear(&img);
    ts_sam_free(a);
    ts_sam_free(b);
    ts_weights_free(theirs);
    ts_weights_free(w);
}

/* ---- a picture's embedding ---- */

static void expect_refused(ts_sam *s, const char *path, const char *words)
{
    ts_error err = {0};
    int width, height;
    assert_false(ts_sam_load_embedding(s, path, NULL, &err));
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_false(ts_sam_size(s, &width, &height) && !ts_sam_embedding(s));
}

static void test_embedding(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_golden("sam_tiny.pth"), *other = edited(w, "other.safetensors", &(edit){.scale = 1.5f});
    ts_image img = noise(33, 61);
    ts_sam *a = open_sam(w), *b = open_sam(w), *c = open_sam(other);
    assert_false(ts_sam_save_embedding(a, path_of("none.safetensors"), &err));
    assert_int_not_equal(access(path_of("none.safetensors"), F_OK), 0);
    err = (ts_error){0};
    char path[512], copy[512];
    snprintf(path, sizeof path, "%s", path_of("embedding.safetensors"));
    snprintf(copy, sizeof copy, "%s", path_of("copy.safetensors"));
    if (!ts_sam_set_picture(a, &img, &err) || !ts_sam_save_embedding(a, path, &err) ||
        !ts_sam_load_embedding(b, path, &img, &err))
        fail_msg("%s", err.text);
    int width = 0, height = 0;
    assert_true(ts_sam_size(b, &width, &height));
    assert_true(width == 33 && height == 61);
    ts_sam_answer x = ask(a), y = ask(b);
    assert_memory_equal(x.logits, y.logits, (size_t)x.each * (size_t)x.low * (size_t)x.low * sizeof(float));
    ts_sam_answer_clear(&x);
    ts_sam_answer_clear(&y);
    expect_refused(c, path, "was made by another SAM than");
    expect_refused(b, ts_weights_path(w), "is a SAM; a picture's embedding by a SAM is wanted");
    /* Another picture, of the same size. */
    img.data[7] ^= 1;
    assert_false(ts_sam_load_embedding(b, path, &img, &err));
    assert_non_null(strstr(err.text, "is of another picture"));
    err = (ts_error){0};
    /* Sizes that no picture has. */
    ts_weights *file = ts_weights_open(path, &err);
    assert_non_null(file);
    assert_int_equal(ts_weights_meta_count(file), 5);
    static const char *const sides[] = {"0", "-3", "99999999999", "268435456", "x"};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        ts_weights_writer *out = ts_weights_writer_new();
        assert_true(ts_weights_writer_add_weight(out, ts_weights_find(file, "embedding"), TS_DT_F32, &err) &&
                    ts_weights_writer_meta(out, "tessera.sam", "embedding", &err) &&
                    ts_weights_writer_meta(out, "encoder", ts_weights_meta(file, "encoder"), &err) &&
                    ts_weights_writer_meta(out, "width", sides[i], &err) && ts_weights_writer_meta(out, "height", "61", &err) &&
                    ts_weights_writer_save(out, copy, &err));
        ts_weights_writer_free(out);
        expect_refused(b, copy, "is no picture's embedding of a SAM");
    }
    ts_weights_free(file);
    ts_image_clear(&img);
    ts_sam_free(a);
    ts_sam_free(b);
    ts_sam_free(c);
    ts_weights_free(other);
    ts_weights_free(w);
}

/* ---- broken files ---- */

static void test_broken(void **state)
{
    (void)state;
    ts_weights *w = open_golden("sam_tiny.pth");
    static const struct {
        edit change;
        const char *words;
    } cases[] = {
        {{.without = "image_encoder.pos_embed"}, "tensor image_encoder.pos_embed is missing, which tells"},
        {{.without = "image_encoder.blocks.2.attn.rel_pos_h"}, "tensor image_encoder.blocks.2.attn.rel_pos_h is missing"},
        {{.without = "image_encoder.blocks.2.norm1.bias"}, "1 tensor is missing: image_encoder.blocks.2.norm1.bias"},
        {{.without = "prompt_encoder.not_a_point_embed.weight"}, "tensor prompt_encoder.not_a_point_embed.weight is missing"},
        {{.without = "mask_decoder.output_upscaling.3.bias"}, "tensor mask_decoder.output_upscaling.3.bias is missing"},
        {{.without = "mask_decoder.output_hypernetworks_mlps.2.layers.1.weight"},
         "1 tensor is missing: mask_decoder.output_hypernetworks_mlps.2.layers.1.weight"},
        {{.changed = "image_encoder.pos_embed", .ndim = 3, .shape = {8, 8, 32}}, "image_encoder.pos_embed has 3 dimensions"},
        {{.changed = "image_encoder.pos_embed", .ndim = 4, .shape = {1, 8, 4, 32}},
         "4 x 8 patches of 16 x 16 pixels, wanted square"},
        {{.changed = "image_encoder.pos_embed", .ndim = 4, .shape = {1, 300, 300, 1}}, "is 300, 1 to 256 are possible"},
        {{.changed = "image_encoder.patch_embed.proj.weight", .ndim = 4, .shape = {32, 3, 2, 2}},
         "patches of 2 x 2 pixels, wanted"},
        {{.changed = "image_encoder.blocks.1.attn.rel_pos_h", .ndim = 2, .shape = {8, 16}},
         "has 8 rows, wanted 15 for the whole map"},
        {{.changed = "image_encoder.blocks.0.attn.rel_pos_h", .ndim = 2, .shape = {9, 5}}, "heads of 5 numbers do not divide"},
        {{.changed = "mask_decoder.mask_tokens.weight", .ndim = 2, .shape = {1, 32}}, "the decoder gives 1 mask"},
        {{.changed = "mask_decoder.mask_tokens.weight", .ndim = 2, .shape = {4, 16}}, "has 64 numbers, wanted 128"},
        {{.changed = "mask_decoder.output_upscaling.0.weight", .ndim = 4, .shape = {32, 8, 2, 3}},
         "has another shape than a SAM's"},
        {{.changed = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight", .ndim = 2, .shape = {12, 32}},
         "8 heads do not divide the decoder's widths of 32 and 12"},
        {{.changed = "image_encoder.neck.2.weight", .ndim = 4, .shape = {32, 32, 1, 1}},
         "image_encoder.neck.2.weight is (32, 32, 1, 1), wanted (32, 32, 3, 3)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_weights *broken = edited(w, "broken.safetensors", &cases[i].change);
        if (ts_sam_check(broken, &err)) fail_msg("case %d was taken", (int)i);
        if (!strstr(err.text, cases[i].words)) fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].words);
        ts_weights_free(broken);
    }
    ts_error err = {0};
    if (!ts_sam_check(w, &err)) fail_msg("%s", err.text);
    ts_weights_free(w);
}

/* ---- prompts that make no sense ---- */

static void test_prompts(void **state)
{
    (void)state;
    ts_weights *w = open_golden("sam_tiny.pth");
    ts_sam *s = open_sam(w);
    ts_error err = {0};
    ts_sam_answer answer;
    const float inside[] = {10, 10}, beyond[] = {60, 10}, none[] = {NAN, 3};
    const int yes = 1, odd = 2, filler = -1;
    assert_false(ts_sam_predict(s, &(ts_sam_prompt){0}, 1, NULL, &answer, &err));
    assert_string_equal(err.text, "there is no picture to ask prompts of");
    ts_image img = noise(50, 34), line = noise(3000, 1);
    err = (ts_error){0};
    assert_false(ts_sam_set_picture(s, &line, &err));
    assert_non_null(strstr(err.text, "a picture of 3000 x 1 pixels is too long for a SAM"));
    err = (ts_error){0};
    if (!ts_sam_set_picture(s, &img, &err)) fail_msg("%s", err.text);
    const size_t low = (size_t)ts_sam_about(s)->low;
    float *prior = calloc(low * low, sizeof *prior);
    assert_non_null(prior);
    prior[7] = INFINITY;
    const struct {
        ts_sam_prompt prompt;
        const char *words;
    } cases[] = {
        {{.points = 1, .point = beyond, .label = &yes}, "a point (60, 10) is outside the picture of 50 x 34 pixels"},
        {{.points = 1, .point = none, .label = &yes}, "is outside the picture"},
        {{.points = 1, .point = inside, .label = &odd}, "point 0 has the label 2, wanted"},
        {{.points = 1, .point = inside}, "prompt 1 has 1 points, wanted 0 to 4096 with their labels"},
        {{.box = (float[]){10, 10, 10, 20}}, "prompt 1: the box 10, 10, 10, 20 is empty"},
        {{.box = (float[]){50, 2, 60, 20}}, "lies outside the picture"},
        {{.box = (float[]){1, 2, NAN, 20}}, "has a corner that is no number"},
        {{.prior = prior}, "the prior holds what is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ts_sam_prompt two[2] = {{.points = 1, .point = none, .label = &filler}, cases[i].prompt};
        err = (ts_error){0};
        assert_false(ts_sam_predict(s, two, 2, NULL, &answer, &err));
        if (!strstr(err.text, cases[i].words)) fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].words);
        assert_null(answer.logits);
    }
    free(prior);
    ts_image_clear(&img);
    ts_image_clear(&line);
    ts_sam_free(s);
    ts_weights_free(w);
}

/* Prompts of different kinds in one call are answered as by themselves, up to what a batch's other shape does to the last bits.
 */
static void test_mixed(void **state)
{
    (void)state;
    ts_weights *w = open_golden("sam_tiny.pth");
    ts_sam *s = open_sam(w);
    ts_error err = {0};
    ts_image img = noise(50, 34);
    if (!ts_sam_set_picture(s, &img, &err)) fail_msg("%s", err.text);
    const int64_t pixels = (int64_t)ts_sam_about(s)->low * ts_sam_about(s)->low;
    static const float box[] = {3, 4, 20, 30};
    float at[24], *prior = calloc((size_t)pixels, sizeof *prior);
    int label[12];
    uint64_t seed = 9;
    for (int i = 0; i < 24; i++) at[i] = (float)(30 * test_uniform(&seed));
    for (int i = 0; i < 12; i++) label[i] = i % 3 != 2;
    for (int64_t i = 0; i < pixels; i++) prior[i] = (float)test_normal(&seed);
    ts_sam_prompt prompts[16];
    for (int i = 0; i < 16; i++)
        prompts[i] = (ts_sam_prompt){.points = i < 11 ? 1 : i % 3,
                                     .point = at + i % 6,
                                     .label = label,
                                     .box = i % 4 == 3 && i > 10 ? box : NULL,
                                     .prior = i > 13 ? prior : NULL};
    ts_sam_answer all, one;
    if (!ts_sam_predict(s, prompts, 16, NULL, &all, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 16; i++) {
        if (!ts_sam_predict(s, prompts + i, 1, NULL, &one, &err)) fail_msg("%s", err.text);
        const double error = relative_error(ts_sam_low(&all, i, 0), one.logits, pixels);
        if (!(error < 1e-5)) fail_msg("prompt %d: off by %g", i, error);
        ts_sam_answer_clear(&one);
    }
    ts_sam_answer_clear(&all);
    free(prior);
    ts_image_clear(&img);
    ts_sam_free(s);
    ts_weights_free(w);
}

static int open_host(void **state)
{
    (void)state;
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    return host ? 0 : -1;
}

static int close_host(void **state)
{
    (void)state;
    ts_device_free(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),     cmocka_unit_test(test_hugging_face),
                                       cmocka_unit_test(test_embedding), cmocka_unit_test(test_broken),
                                       cmocka_unit_test(test_prompts),   cmocka_unit_test(test_mixed)};
    return cmocka_run_group_tests_name("files", tests, open_host, close_host);
}
