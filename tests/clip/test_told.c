/* test_told.c - what of a CLIP stands in no shape: heads, activation, and how its pictures are normalised. Against PyTorch's
 * features of a model like open_clip's large ones, whoever tells them; and refused where nothing does. */
#include "clip/clip.h"

#include "../support/models.h"
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COUNT = 3, EMBED = 8, LONGEST = 128 };

static ts_device *host;
static ts_weights *golden;

/* The golden model in a folder of its own, with metadata and a configuration beside it. */
typedef struct {
    const char *config, *json; /* a file beside, and what it says */
    const char *pictures;      /* preprocessor_config.json */
    const char *meta[3], *value[3];
    bool fp16;
} setting;

static void put(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    remove(path);
    if (text) write_text(path, text);
}

static ts_weights *model_as(const setting *s)
{
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    for (int64_t i = 0; i < ts_weights_count(golden); i++) {
        const ts_weight *t = ts_weights_at(golden, i);
        if (strncmp(t->name, "model.", 6) == 0)
            assert_true(ts_weights_writer_add_weight_as(out, t->name + 6, t, s->fp16 ? TS_DT_F16 : TS_DT_F32, &err));
    }
    for (int i = 0; i < 3 && s->meta[i]; i++) assert_true(ts_weights_writer_meta(out, s->meta[i], s->value[i], &err));
    const char *folder = temp_path("told");
    mkdir(folder, 0777);
    put(folder, "config.json", NULL);
    put(folder, "open_clip_config.json", NULL);
    put(folder, "preprocessor_config.json", s->pictures);
    if (s->config) put(folder, s->config, s->json);
    return write_and_open(out, "told/model");
}

static void expect_near(const char *label, const float *got, const char *name)
{
    float *want = golden_f32(golden, name);
    const double error = relative_error(got, want, (int64_t)COUNT * EMBED);
    if (error > 2e-5) fail_msg("%s: %s differ by %g", label, name, error);
    free(want);
}

static void check_features(const char *label, const ts_weights *w, const ts_clip_told *told, const char *images,
                           const char *texts)
{
    ts_error err = {0};
    ts_clip *c = ts_clip_new(host, w, told, &err);
    if (!c) fail_msg("%s: %s", label, err.text);
    float *pixels = golden_f32(golden, "pixels"), features[COUNT * EMBED];
    int64_t *ids = golden_i64(golden, "tokens");
    int32_t tokens[LONGEST];
    const int64_t count = (int64_t)COUNT * ts_clip_about(c)->context;
    for (int64_t i = 0; i < count; i++) tokens[i] = (int32_t)ids[i];
    if (!ts_clip_encode_images(c, pixels, COUNT, features, &err)) fail_msg("%s", err.text);
    expect_near(label, features, images);
    if (!ts_clip_encode_texts(c, tokens, COUNT, features, &err)) fail_msg("%s", err.text);
    expect_near(label, features, texts);
    free(pixels);
    free(ids);
    ts_clip_free(c);
}

static const char OPEN_CLIP[] =
    "{\"model_cfg\": {\"embed_dim\": 8, \"vision_cfg\": {\"image_size\": 12, \"layers\": 2, \"width\": 15, \"head_width\": 3, "
    "\"patch_size\": 4}, \"text_cfg\": {\"context_length\": 6, \"vocab_size\": 30, \"width\": 12, \"heads\": 3, \"layers\": 2}}, "
    "\"preprocess_cfg\": {\"mean\": [0.48145466, 0.4578275, 0.40821073], \"std\": [0.26862954, 0.26130258, 0.27577711]}}";
static const char HUGGING_FACE[] =
    "{\"model_type\": \"clip\", \"vision_config\": {\"hidden_size\": 15, \"num_hidden_layers\": 2, \"num_attention_heads\": 5, "
    "\"hidden_act\": \"gelu\"}, \"text_config\": {\"hidden_size\": 12, \"num_hidden_layers\": 2, \"num_attention_heads\": 3, "
    "\"hidden_act\": \"gelu\"}}";
static const char HALF_PIXELS[] = "{\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5], \"resample\": 3}";

/* What tells it is told in turn by everybody who can. */
static void test_told(void **state)
{
    (void)state;
    const ts_clip_told gelu = {.heads = 5, .text_heads = 3, .activation = TS_CLIP_GELU};
    const ts_clip_told quick = {.heads = 5, .text_heads = 3, .activation = TS_CLIP_QUICK_GELU};
    const ts_clip_told heads = {.heads = 3, .text_heads = 2, .activation = TS_CLIP_GELU};
    char quick_config[sizeof OPEN_CLIP + 32];
    snprintf(quick_config, sizeof quick_config, "{\"model_cfg\": {\"quick_gelu\": true, %s", OPEN_CLIP + 15);
    const struct {
        const char *label;
        setting setting;
        const ts_clip_told *told;
        const char *images, *texts;
    } cases[] = {
        {"the user", {0}, &gelu, "gelu.images", "gelu.texts"},
        {"the user, QuickGELU", {0}, &quick, "quick_gelu.images", "quick_gelu.texts"},
        {"the user, other heads", {0}, &heads, "heads.images", "heads.texts"},
        {"metadata",
         {.meta = {"vision_heads", "text_heads", "hidden_act"}, .value = {"5", "3", "gelu"}},
         NULL,
         "gelu.images",
         "gelu.texts"},
        {"the user before metadata",
         {.meta = {"vision_heads", "text_heads", "hidden_act"}, .value = {"1", "1", "quick_gelu"}},
         &gelu,
         "gelu.images",
         "gelu.texts"},
        {"open_clip_config.json", {.config = "open_clip_config.json", .json = OPEN_CLIP}, NULL, "gelu.images", "gelu.texts"},
        {"open_clip_config.json, quick_gelu",
         {.config = "open_clip_config.json", .json = quick_config},
         NULL,
         "quick_gelu.images",
         "quick_gelu.texts"},
        {"config.json", {.config = "config.json", .json = HUGGING_FACE}, NULL, "gelu.images", "gelu.texts"},
        {"preprocessor_config.json",
         {.config = "config.json", .json = HUGGING_FACE, .pictures = HALF_PIXELS},
         NULL,
         "half.images",
         "gelu.texts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_weights *w = model_as(&cases[i].setting);
        check_features(cases[i].label, w, cases[i].told, cases[i].images, cases[i].texts);
        ts_weights_free(w);
    }
}

static void expect(const setting *s, const ts_clip_told *told, const char *words)
{
    ts_clip_config c;
    ts_error err = {0};
    ts_weights *w = model_as(s);
    const bool ok = ts_clip_config_read(w, told, &c, &err);
    if (words ? ok || !strstr(err.text, words) : !ok) fail_msg("\"%s\" does not say \"%s\"", err.text, words ? words : "yes");
    ts_weights_free(w);
}

static void test_refused(void **state)
{
    (void)state;
    const ts_clip_told heads = {.heads = 5, .text_heads = 3};
    expect(&(setting){0}, NULL,
           "nothing tells how many attention heads the image tower has (it is 15 wide, and no published one");
    expect(&(setting){0}, &(ts_clip_told){.heads = 5}, "give --text-heads N");
    expect(&(setting){0}, &(ts_clip_told){.heads = 4}, "4 heads do not divide the image tower's width of 15 (--heads)");
    expect(&(setting){.meta = {"hidden_act"}, .value = {"relu"}}, &heads, "activation is 'relu'");
    expect(
        &(setting){.config = "config.json", .json = "{\"vision_config\": {\"num_attention_heads\": 2e60}, \"text_config\": {}}"},
        NULL, "config.json gives the image tower heads that do not divide its width of 15");
    expect(&(setting){.config = "config.json",
                      .json = "{\"vision_config\": {\"num_attention_heads\": 5, \"hidden_act\": \"gelu\"}, \"text_config\": "
                              "{\"num_attention_heads\": 3, \"hidden_act\": \"quick_gelu\"}}"},
           NULL, "gives its towers different activations");
    /* Another model's configuration in the same folder does not count. */
    expect(&(setting){.config = "config.json",
                      .json = "{\"vision_config\": {\"hidden_size\": 768, \"num_attention_heads\": 5}, \"text_config\": {}}"},
           NULL, "nothing tells how many attention heads the image tower has");
    static const struct {
        const char *text, *words;
    } other[] = {{"\"vision_cfg\": {\"attentional_pool\": true}, \"text_cfg\": {}", "vision_cfg.attentional_pool"},
                 {"\"vision_cfg\": {\"pool_type\": \"avg\"}, \"text_cfg\": {}", "vision_cfg.pool_type = avg"},
                 {"\"vision_cfg\": {}, \"text_cfg\": {\"no_causal_mask\": true}", "text_cfg.no_causal_mask"},
                 {"\"vision_cfg\": {}, \"text_cfg\": {\"hf_model_name\": \"roberta-base\"}", "hf_model_name = roberta-base"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"model_cfg\": {%s}}", other[i].text);
        expect(&(setting){.config = "open_clip_config.json", .json = json}, &heads, other[i].words);
    }
    const char *squash =
        "{\"model_cfg\": {\"vision_cfg\": {}, \"text_cfg\": {}}, \"preprocess_cfg\": {\"resize_mode\": \"squash\"}}";
    expect(&(setting){.config = "open_clip_config.json", .json = squash}, &heads, "wants pictures squashed");
    expect(&(setting){.fp16 = true}, &heads, NULL);
    expect(&(setting){0}, &(ts_clip_told){.any = true}, NULL);
}

/* ---- published widths -------------------------------------------------------------------------------------------- */

static void add_zeros(ts_weights_writer *out, const char *name, const float *zeros, int ndim, const int64_t *shape)
{
    ts_error err = {0};
    if (!ts_weights_writer_add(out, name, TS_DT_F32, ndim, shape, zeros, &err)) fail_msg("%s", err.text);
}

static void add_block(ts_weights_writer *out, const char *tower, const float *zeros, int64_t width)
{
    const struct {
        const char *name;
        int64_t rows, columns;
    } parts[] = {{"ln_1.weight", width, 0},
                 {"ln_1.bias", width, 0},
                 {"ln_2.weight", width, 0},
                 {"ln_2.bias", width, 0},
                 {"attn.in_proj_weight", 3 * width, width},
                 {"attn.in_proj_bias", 3 * width, 0},
                 {"attn.out_proj.weight", width, width},
                 {"attn.out_proj.bias", width, 0},
                 {"mlp.c_fc.weight", 4, width},
                 {"mlp.c_fc.bias", 4, 0},
                 {"mlp.c_proj.weight", width, 4},
                 {"mlp.c_proj.bias", width, 0}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[96];
        snprintf(name, sizeof name, "%sresblocks.0.%s", tower, parts[i].name);
        add_zeros(out, name, zeros, parts[i].columns ? 2 : 1, (int64_t[]){parts[i].rows, parts[i].columns});
    }
}

/* One block a tower, all zeros, with a published vocabulary unless `odd`. */
static ts_weights *hollow(int64_t width, int64_t text_width, bool odd, const char *extra)
{
    const int64_t words = odd ? 100 : 49408;
    float *zeros = calloc((size_t)(3 * width * width + 49408 * text_width), sizeof *zeros);
    ts_weights_writer *out = ts_weights_writer_new();
    add_zeros(out, "visual.conv1.weight", zeros, 4, (int64_t[]){width, 3, 1, 1});
    add_zeros(out, "visual.class_embedding", zeros, 1, &width);
    add_zeros(out, "visual.positional_embedding", zeros, 2, (int64_t[]){2, width});
    static const char *const norms[] = {"visual.ln_pre.weight", "visual.ln_pre.bias", "visual.ln_post.weight",
                                        "visual.ln_post.bias"};
    for (int i = 0; i < 4; i++) add_zeros(out, norms[i], zeros, 1, &width);
    add_zeros(out, "visual.proj", zeros, 2, (int64_t[]){width, 2});
    add_block(out, "visual.transformer.", zeros, width);
    add_block(out, "transformer.", zeros, text_width);
    add_zeros(out, "token_embedding.weight", zeros, 2, (int64_t[]){words, text_width});
    add_zeros(out, "positional_embedding", zeros, 2, (int64_t[]){4, text_width});
    add_zeros(out, "ln_final.weight", zeros, 1, &text_width);
    add_zeros(out, "ln_final.bias", zeros, 1, &text_width);
    add_zeros(out, "text_projection", zeros, 2, (int64_t[]){text_width, 2});
    add_zeros(out, "logit_scale", zeros, 0, NULL);
    if (extra) add_zeros(out, extra, zeros, 1, &width);
    ts_weights *w = write_and_open(out, "hollow");
    free(zeros);
    return w;
}

static void test_widths(void **state)
{
    (void)state;
    static const struct {
        int width, text_width, heads, text_heads;
    } known[] = {{384, 256, 6, 4},  {768, 512, 12, 8}, {896, 640, 14, 10},
                 {1280, 64, 16, 1}, {1408, 64, 16, 1}, {1664, 64, 16, 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ts_error err = {0};
        ts_clip_config c;
        ts_weights *w = hollow(known[i].width, known[i].text_width, false, NULL);
        assert_false(ts_clip_config_read(w, NULL, &c, &err));
        if (!strstr(err.text, "nothing tells the model's activation: give --activation")) fail_msg("%s", err.text);
        err = (ts_error){0};
        if (!ts_clip_config_read(w, &(ts_clip_told){.activation = TS_CLIP_GELU}, &c, &err)) fail_msg("%s", err.text);
        assert_int_equal(c.heads, known[i].heads);
        assert_int_equal(c.text_heads, known[i].text_heads);
        assert_true(c.erf_gelu && !c.guessed);
        ts_weights_free(w);
    }
    ts_error err = {0};
    ts_clip_config c;
    ts_weights *w = hollow(1152, 64, true, NULL); /* beyond ViT-L no rule holds */
    assert_false(ts_clip_config_read(w, NULL, &c, &err));
    assert_non_null(strstr(err.text, "it is 1152 wide"));
    ts_weights_free(w);
    w = hollow(64, 64, true, NULL);
    err = (ts_error){0};
    if (!ts_clip_config_read(w, NULL, &c, &err)) fail_msg("%s", err.text);
    assert_true(!c.erf_gelu && c.guessed);
    ts_weights_free(w);
}

/* A tensor that the model has no use for makes it another one. */
static void test_strange(void **state)
{
    (void)state;
    static const char *const strange[] = {"visual.transformer.resblocks.0.ls_1.gamma", "visual.ln_post_2.weight",
                                          "transformer.resblocks.0.attn.bias_k"};
    const ts_clip_told told = {.activation = TS_CLIP_GELU};
    ts_clip_config c;
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        ts_error err = {0};
        ts_weights *w = hollow(64, 64, true, strange[i]);
        assert_false(ts_clip_config_read(w, &told, &c, &err));
        if (!strstr(err.text, strange[i])) fail_msg("%s", err.text);
        ts_weights_free(w);
    }
    ts_error err = {0};
    ts_weights *w = hollow(64, 64, true, "transformer.attn_mask");
    if (!ts_clip_config_read(w, &told, &c, &err)) fail_msg("%s", err.text);
    ts_weights_free(w);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* convert writes down what it was told, and refuses to write what nobody knows. */
static void test_program(void **state)
{
    (void)state;
    ts_weights *w = model_as(&(setting){.config = "open_clip_config.json", .json = OPEN_CLIP});
    const char *path = kept_path("told/model.safetensors"), *out = kept_path("converted.safetensors");
    succeed(program_run("model", "convert", path, out, NULL));
    program_result r = program_run("model", "info", out, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "vision: 15 wide, 2 blocks, 5 heads"));
    assert_non_null(strstr(r.out, "activation: gelu (its metadata)"));
    program_free(&r);
    ts_weights_free(w);

    ts_weights_free(model_as(&(setting){0}));
    assert_refused(program_run("model", "convert", path, out, NULL), 1, "give --heads N");
    r = program_run("model", "info", path, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "heads unknown"));
    program_free(&r);
    r = program_run("model", "check", path, NULL);
    assert_int_equal(r.status, 0);
    program_free(&r);
    succeed(program_run("model", "convert", path, out, "--heads", "5", "--text-heads", "3", "--activation", "gelu", NULL));
    ts_error err = {0};
    ts_weights *made = ts_weights_open(out, &err);
    assert_non_null(made);
    check_features("converted", made, NULL, "gelu.images", "gelu.texts");
    ts_weights_free(made);
}

int main(void)
{
    ts_error err = {0};
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    golden = ts_weights_open(TS_TESTS_DIR "/golden/clip_told.safetensors", &err);
    if (!golden) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_told), cmocka_unit_test(test_refused), cmocka_unit_test(test_widths),
                                       cmocka_unit_test(test_strange), cmocka_unit_test(test_program)};
    const int failed = cmocka_run_group_tests_name("told", tests, NULL, NULL);
    ts_weights_free(golden);
    ts_device_free(host);
    return failed;
}
