/* test_towers.c - CLIP's towers against the published code's numbers on a small model, from the published container and from
 * Hugging Face's, on every backend; gradients through the frozen towers; any number of items; and what is said of a file that is
 * no such CLIP. */
#include "../support/models.h"
#include "../support/support.h"
#include "clip/clip.h"
#include "engine/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGES = 6, TEXTS = 4, SIDE = 64, EMBED = 64, CONTEXT = 77, WIDTH = 128, TEXT_WIDTH = 64, PIXELS = SIDE * SIDE * 3 };

static ts_device *host;

/* ---- golden numbers ---- */

/* The golden images are pixels in [0, 1], channels first. */
static float *golden_pixels(const ts_weights *want)
{
    static const float mean[] = {0.48145466F, 0.4578275F, 0.40821073F}, deviation[] = {0.26862954F, 0.26130258F, 0.27577711F};
    float *chw = golden_f32(want, "images"), *out = malloc((size_t)IMAGES * PIXELS * sizeof *out);
    for (int64_t i = 0; i < IMAGES; i++) {
        float *one = to_nhwc(chw + i * PIXELS, 3, SIDE, SIDE);
        for (int64_t k = 0; k < PIXELS; k++) out[i * PIXELS + k] = (one[k] - mean[k % 3]) / deviation[k % 3];
        free(one);
    }
    free(chw);
    return out;
}

static void golden_i32(const ts_weights *want, const char *name, int64_t count, int32_t *out)
{
    int64_t *wide = golden_i64(want, name);
    for (int64_t i = 0; i < count; i++) out[i] = (int32_t)wide[i];
    free(wide);
}

/* The golden features are as the projection gives them: rows of any length. */
static float *golden_unit(const ts_weights *want, const char *name, int64_t rows)
{
    float *x = golden_f32(want, name);
    for (int64_t i = 0; i < rows; i++) {
        double square = 0;
        for (int64_t k = 0; k < EMBED; k++) square += (double)x[i * EMBED + k] * (double)x[i * EMBED + k];
        for (int64_t k = 0; k < EMBED; k++) x[i * EMBED + k] = (float)((double)x[i * EMBED + k] / sqrt(square));
    }
    return x;
}

/* Frees `want`. */
static void expect_near(const char *what, const char *name, const float *got, float *want, int64_t count, double tolerance)
{
    const double error = relative_error(got, want, count);
    free(want);
    if (!(error <= tolerance)) fail_msg("%s, %s: relative error %g, wanted %g", what, name, error, tolerance);
}

static ts_clip *open_clip(ts_device *dev, const ts_weights *w)
{
    ts_error err = {0};
    ts_clip *c = ts_clip_new(dev, w, NULL, &err);
    if (!c) fail_msg("%s", err.text);
    return c;
}

/* ---- the model ---- */

static void test_config(void **state)
{
    (void)state;
    const char *const files[] = {"clip_tiny.pt", "clip_tiny_hf.safetensors"};
    for (int k = 0; k < 2; k++) {
        ts_weights *w = open_golden(files[k]);
        ts_clip_config c;
        ts_error err = {0};
        if (!ts_clip_config_read(w, NULL, &c, &err)) fail_msg("%s", err.text);
        const int got[] = {c.image,       c.patch,      c.width,    c.layers,  c.heads,      c.mlp,   c.text_width,
                           c.text_layers, c.text_heads, c.text_mlp, c.context, c.vocabulary, c.embed, c.erf_gelu};
        const int want[] = {64, 16, 128, 3, 2, 512, 64, 3, 1, 256, 77, 49408, 64, 0};
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_int_equal(got[i], want[i]);
        ts_weights_free(w);
    }
}

static void check_features(ts_device *dev, const ts_weights *w, const ts_weights *want, double tolerance)
{
    ts_error err = {0};
    ts_clip *c = open_clip(dev, w);
    float *pixels = golden_pixels(want), images[IMAGES * EMBED], texts[TEXTS * EMBED], logits[IMAGES * TEXTS];
    int32_t tokens[TEXTS * CONTEXT];
    golden_i32(want, "tokens", TEXTS * CONTEXT, tokens);
    if (!ts_clip_encode_images(c, pixels, IMAGES, images, &err) || !ts_clip_encode_texts(c, tokens, TEXTS, texts, &err))
        fail_msg("%s", err.text);
    ts_clip_logits(c, images, IMAGES, texts, TEXTS, logits);
    char label[400];
    snprintf(label, sizeof label, "%s on %s", ts_weights_path(w), ts_device_about(dev)->name);
    expect_near(label, "image features", images, golden_unit(want, "image_features", IMAGES), IMAGES * EMBED, tolerance);
    expect_near(label, "text features", texts, golden_unit(want, "text_features", TEXTS), TEXTS * EMBED, tolerance);
    expect_near(label, "logits", logits, golden_f32(want, "logits"), IMAGES * TEXTS, tolerance);
    free(pixels);
    ts_clip_free(c);
}

static void test_features(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    const char *const files[] = {"clip_tiny.pt", "clip_tiny_hf.safetensors"};
    ts_weights *want = open_golden("clip_tiny.expected.safetensors");
    for (int k = 0; k < 2; k++) {
        ts_weights *w = open_golden(files[k]);
        check_features(yardstick, w, want, 2e-5);
        check_features(host, w, want, 2e-5);
        if (test_vulkan(TS_F32)) check_features(test_vulkan(TS_F32), w, want, 2e-5);
        if (test_vulkan(TS_F16)) check_features(test_vulkan(TS_F16), w, want, 1e-2);
        ts_weights_free(w);
    }
    ts_weights_free(want);
    ts_device_free(yardstick);
}

/* ---- gradients ---- */

/* Where a golden prompt goes: tokens before ln_pre; also at the input of later blocks; embedded words of every class. */
typedef enum { SHALLOW, DEEP, WORDS } prompt_kind;

typedef struct {
    ts_graph *g;
    ts_tensor *prompt, *pixels, *rest[2], *end, *order, *fixed, *labels; /* inputs */
    ts_tensor *loss, *grad;
} prompt_graph;

enum { PROMPTS = 5, LAYERS = 3, SPREAD = 4 }; /* SPREAD: words of a prompt */

static ts_tensor *image_features(prompt_graph *p, const ts_clip *c, prompt_kind kind)
{
    ts_graph *g = p->g;
    p->pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){IMAGES, SIDE, SIDE, 3});
    ts_tensor *x = ts_clip_patches(g, c, p->pixels), *deep[LAYERS] = {0}; // (B, 1+P, W)
    ts_tensor *all = ts_reshape(g, p->prompt, 2, (int64_t[]){ts_count(p->prompt) / WIDTH, WIDTH});
    for (int i = 1; kind == DEEP && i < LAYERS; i++) deep[i] = ts_slice(g, all, i * PROMPTS, PROMPTS);
    x = ts_concat(g, ts_concat(g, ts_slice(g, x, 0, 1), ts_slice(g, all, 0, PROMPTS)), ts_slice(g, x, 1, 16));
    return ts_clip_vision(g, c, x, kind == DEEP ? deep : NULL);
}

static ts_tensor *text_features(prompt_graph *p, const ts_clip *c, int64_t length)
{
    ts_graph *g = p->g;
    p->rest[0] = ts_input(g, "start", TS_REAL, 3, (int64_t[]){TEXTS, 1, TEXT_WIDTH});
    p->rest[1] = ts_input(g, "rest", TS_REAL, 3, (int64_t[]){TEXTS, length - 1 - SPREAD, TEXT_WIDTH});
    p->end = ts_input(g, "end", TS_I32, 2, (int64_t[]){TEXTS, 1});
    ts_tensor *x = ts_concat(g, p->rest[0], p->prompt);
    return ts_clip_text(g, c, ts_concat(g, x, p->rest[1]), p->end, NULL);
}

/* logits (IMAGES, TEXTS), one side fixed, and the loss of the labels. */
static prompt_graph describe(const ts_clip *c, prompt_kind kind, int64_t length)
{
    prompt_graph p = {.g = ts_graph_new()};
    const int64_t shapes[][3] = {{PROMPTS, WIDTH}, {LAYERS, PROMPTS, WIDTH}, {SPREAD, TEXT_WIDTH}};
    p.prompt = ts_input(p.g, "prompt", TS_REAL, kind == DEEP ? 3 : 2, shapes[kind]);
    p.labels = ts_input(p.g, "labels", TS_I32, 1, (int64_t[]){IMAGES});
    ts_tensor *logits;
    if (kind == WORDS) {
        /* Without a product of two variables: (TEXTS, IMAGES) = texts . images^T, each column picked by its label. */
        p.fixed = ts_input_weight(p.g, "images", TS_LAYOUT_LINEAR, 2, (int64_t[]){IMAGES, EMBED});
        ts_tensor *texts = text_features(&p, c, length);
        ts_tensor *turned = ts_linear(p.g, texts, p.fixed, NULL); // (TEXTS, IMAGES)
        ts_tensor *column = ts_reshape(p.g, turned, 2, (int64_t[]){TEXTS * IMAGES, 1});
        p.order = ts_input(p.g, "order", TS_I32, 2, (int64_t[]){1, IMAGES * TEXTS});
        logits = ts_reshape(p.g, ts_gather(p.g, column, p.order, NULL), 2, (int64_t[]){IMAGES, TEXTS});
    } else {
        p.fixed = ts_input_weight(p.g, "texts", TS_LAYOUT_LINEAR, 2, (int64_t[]){TEXTS, EMBED});
        logits = ts_linear(p.g, image_features(&p, c, kind), p.fixed, NULL);
    }
    p.loss = ts_output(p.g, ts_cross_entropy(p.g, ts_scale(p.g, logits, (float)ts_clip_logit_scale(c), 0), p.labels));
    ts_grad(p.g, p.loss, 1, &p.prompt, &p.grad);
    ts_output(p.g, p.grad);
    return p;
}

static bool write_images(const prompt_graph *p, ts_exec *e, const ts_weights *want, ts_error *err)
{
    float *pixels = golden_pixels(want), *texts = golden_unit(want, "text_features", TEXTS);
    const bool ok = ts_write(e, p->pixels, pixels, err) && ts_write(e, p->fixed, texts, err);
    free(pixels);
    free(texts);
    return ok;
}

static bool write_texts(const prompt_graph *p, ts_exec *e, const ts_clip *c, const ts_weights *want, const int32_t *tokens,
                        const int32_t *end, ts_error *err)
{
    const int rest = (int)p->rest[1]->shape[1];
    float *start = malloc(sizeof(float) * TEXTS * TEXT_WIDTH), *after = malloc(sizeof(float) * TEXTS * CONTEXT * TEXT_WIDTH);
    float *images = golden_unit(want, "image_features", IMAGES);
    int32_t order[IMAGES * TEXTS];
    for (int i = 0; i < IMAGES * TEXTS; i++) order[i] = i % TEXTS * IMAGES + i / TEXTS;
    bool ok = true;
    for (int i = 0; ok && i < TEXTS; i++)
        ok = ts_clip_embedding(c, tokens + i * CONTEXT, 1, start + i * TEXT_WIDTH, err) &&
             ts_clip_embedding(c, tokens + i * CONTEXT + 1 + SPREAD, rest, after + i * rest * TEXT_WIDTH, err);
    ok = ok && ts_write(e, p->rest[0], start, err) && ts_write(e, p->rest[1], after, err) && ts_write(e, p->end, end, err) &&
         ts_write(e, p->fixed, images, err) && ts_write(e, p->order, order, err);
    free(start);
    free(after);
    free(images);
    return ok;
}

/* The towers are frozen: no node of the plan computes a gradient of theirs. */
static void check_frozen(const ts_exec *e)
{
    for (int64_t i = 0; i < e->count; i++) {
        const char *op = e->order[i]->op->name;
        if (strcmp(op, "product_dw") == 0) fail_msg("a weight's gradient is computed");
    }
}

static void check_prompt(ts_device *dev, const ts_weights *w, const ts_weights *want, prompt_kind kind, double tolerance)
{
    static const char *const names[][3] = {{"vpt_shallow.init.prompts", "vpt_shallow.losses", "vpt_shallow.grad.prompts"},
                                           {"vpt_deep.init.prompts", "vpt_deep.losses", "vpt_deep.grad.prompts"},
                                           {"coop.init.ctx", "coop.losses", "coop.grad.ctx"}};
    ts_error err = {0};
    ts_clip *c = open_clip(dev, w);
    int32_t tokens[TEXTS * CONTEXT], labels[IMAGES], end[TEXTS] = {0}, length = 0;
    golden_i32(want, "tokens", TEXTS * CONTEXT, tokens);
    golden_i32(want, "labels", IMAGES, labels);
    for (int i = 0; i < TEXTS; i++) {
        while (tokens[i * CONTEXT + end[i]] != 49407) end[i]++;
        length = end[i] >= length ? end[i] + 1 : length;
    }
    prompt_graph p = describe(c, kind, length);
    ts_exec *e = ts_exec_new(p.g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    check_frozen(e);
    float *init = golden_f32(want, names[kind][0]), loss, *grad = malloc((size_t)ts_count(p.grad) * sizeof *grad);
    if (!ts_write(e, p.prompt, init, &err) || !ts_write(e, p.labels, labels, &err) ||
        !(kind == WORDS ? write_texts(&p, e, c, want, tokens, end, &err) : write_images(&p, e, want, &err)) || !ts_run(e, &err) ||
        !ts_read(e, p.loss, &loss, &err) || !ts_read(e, p.grad, grad, &err))
        fail_msg("%s", err.text);
    const char *device = ts_device_about(dev)->name;
    expect_near(device, names[kind][1], &loss, golden_f32(want, names[kind][1]), 1, tolerance);
    expect_near(device, names[kind][2], grad, golden_f32(want, names[kind][2]), ts_count(p.grad), 10 * tolerance);
    free(init);
    free(grad);
    ts_exec_free(e);
    ts_graph_free(p.g);
    ts_clip_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    ts_weights *w = open_golden("clip_tiny.pt"), *want = open_golden("clip_tiny.expected.safetensors");
    for (int kind = 0; kind < 3; kind++) {
        check_prompt(host, w, want, (prompt_kind)kind, 2e-5);
        if (test_vulkan(TS_F32)) check_prompt(test_vulkan(TS_F32), w, want, (prompt_kind)kind, 2e-5);
    }
    ts_weights_free(w);
    ts_weights_free(want);
}

/* ---- any number ---- */

/* Item i of a long list is what it is alone, in whatever batch it comes to lie. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 103 };
    ts_error err = {0};
    ts_weights *w = open_golden("clip_tiny.pt"), *want = open_golden("clip_tiny.expected.safetensors");
    ts_clip *c = open_clip(host, w);
    int32_t *tokens = calloc((size_t)MANY * CONTEXT, sizeof *tokens);
    float *pixels = malloc(sizeof(float) * MANY * PIXELS), *images = malloc(sizeof(float) * MANY * EMBED);
    float *texts = malloc(sizeof(float) * MANY * EMBED), *golden = golden_pixels(want), alone[EMBED];
    uint64_t seed = 7;
    for (int i = 0; i < MANY; i++) {
        const int words = (int)(test_uniform(&seed) * (CONTEXT - 1));
        tokens[i * CONTEXT] = 49406;
        for (int k = 1; k < words; k++) tokens[i * CONTEXT + k] = (int32_t)(test_uniform(&seed) * 49406);
        if (words > 0) tokens[i * CONTEXT + words] = 49407;
        for (int k = 0; k < PIXELS; k++) pixels[i * PIXELS + k] = golden[i % IMAGES * PIXELS + k] * (float)(1 + i);
    }
    for (int count = 1; count <= MANY; count += 34) { /* 1, 35, 69, 103 */
        if (!ts_clip_encode_texts(c, tokens, count, texts, &err) || !ts_clip_encode_images(c, pixels, count, images, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < count; i += 17) {
            assert_true(ts_clip_encode_texts(c, tokens + i * CONTEXT, 1, alone, &err));
            if (!(relative_error(texts + i * EMBED, alone, EMBED) < 1e-5)) fail_msg("text %d of %d differs", i, count);
            assert_true(ts_clip_encode_images(c, pixels + i * PIXELS, 1, alone, &err));
            if (!(relative_error(images + i * EMBED, alone, EMBED) < 1e-5)) fail_msg("image %d of %d differs", i, count);
        }
    }
    assert_true(ts_clip_encode_texts(c, tokens, 0, texts, &err) && ts_clip_encode_images(c, pixels, 0, images, &err));
    tokens[1] = 49408; /* no such token */
    assert_false(ts_clip_encode_texts(c, tokens, 3, texts, &err));
    assert_non_null(strstr(err.text, "no token 49408"));
    free(tokens);
    free(pixels);
    free(images);
    free(texts);
    free(golden);
    ts_clip_free(c);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* One number of a projection is none: no feature is handed out. */
static void test_broken(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_golden("clip_tiny.pt"), *want = open_golden("clip_tiny.expected.safetensors");
    ts_weights_writer *writer = ts_weights_writer_new();
    float *projection[] = {golden_f32(w, "visual.proj"), golden_f32(w, "text_projection")};
    projection[0][1] = NAN;
    projection[1][1] = INFINITY;
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        const float *data = strcmp(t->name, "visual.proj") == 0       ? projection[0]
                            : strcmp(t->name, "text_projection") == 0 ? projection[1]
                                                                      : NULL;
        if (!(data ? ts_weights_writer_add(writer, t->name, TS_DT_F32, t->ndim, t->shape, data, &err)
                   : ts_weights_writer_add_weight(writer, t, t->dtype, &err)))
            fail_msg("%s", err.text);
    }
    ts_weights *broken = write_and_open(writer, "broken");
    ts_clip *c = open_clip(host, broken);
    float *pixels = golden_pixels(want), features[EMBED];
    int32_t tokens[TEXTS * CONTEXT];
    golden_i32(want, "tokens", (int64_t)TEXTS * CONTEXT, tokens);
    assert_false(ts_clip_encode_images(c, pixels, 1, features, &err));
    assert_non_null(strstr(err.text, "no numbers"));
    err = (ts_error){0};
    assert_false(ts_clip_encode_texts(c, tokens, 1, features, &err));
    assert_non_null(strstr(err.text, "no numbers"));
    free(pixels);
    free(projection[0]);
    free(projection[1]);
    ts_clip_free(c);
    ts_weights_free(broken);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* ---- zero-shot ---- */

static ts_tokenizer *open_tokenizer(void)
{
    ts_error err = {0};
    const char *path = TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz";
    if (access(path, R_OK) != 0) {
        print_message("[  SKIPPED ] %s is not here\n", path);
        skip();
    }
    ts_tokenizer *t = ts_tokenizer_open(path, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

/* The golden texts are the default template over four names; several templates are the unit mean of what each alone gives. */
static void test_classifier(void **state)
{
    (void)state;
    static const char *const names[] = {"cat", "golden retriever", "sunflower", "forklift truck"};
    static const char *const templates[] = {"a photo of a {}.", "{}", "{} beside a {}", "itap of the {}."};
    enum { TEMPLATES = 4 };
    ts_error err = {0};
    ts_weights *w = open_golden("clip_tiny.pt"), *want = open_golden("clip_tiny.expected.safetensors");
    ts_tokenizer *t = open_tokenizer();
    ts_clip *c = open_clip(host, w);
    float classes[TEXTS * EMBED], one[TEXTS * EMBED], *mean = calloc(TEXTS * EMBED, sizeof *mean);
    if (!ts_clip_classifier(c, t, names, TEXTS, NULL, 0, false, classes, &err)) fail_msg("%s", err.text);
    expect_near("classifier", "text features", classes, golden_unit(want, "text_features", TEXTS), TEXTS * EMBED, 2e-5);

    for (int k = 0; k < TEMPLATES; k++) {
        assert_true(ts_clip_classifier(c, t, names, TEXTS, &templates[k], 1, false, one, &err));
        for (int i = 0; i < TEXTS * EMBED; i++) mean[i] += one[i];
    }
    for (int i = 0; i < TEXTS; i++) {
        double square = 0;
        for (int k = 0; k < EMBED; k++) square += (double)mean[i * EMBED + k] * (double)mean[i * EMBED + k];
        for (int k = 0; k < EMBED; k++) mean[i * EMBED + k] = (float)((double)mean[i * EMBED + k] / sqrt(square));
    }
    assert_true(ts_clip_classifier(c, t, names, TEXTS, templates, TEMPLATES, false, classes, &err));
    expect_near("classifier", "mean of templates", classes, mean, TEXTS * EMBED, 2e-5);

    char long_name[1024] = "";
    for (int i = 0; i < 100; i++) memcpy(long_name + 5 * i, "word ", 6);
    const char *const only[] = {long_name}, *const bare[] = {"a photo"};
    assert_false(ts_clip_classifier(c, t, only, 1, NULL, 0, false, classes, &err));
    assert_non_null(strstr(err.text, "word word"));
    err = (ts_error){0};
    assert_true(ts_clip_classifier(c, t, only, 1, NULL, 0, true, classes, &err));
    assert_false(ts_clip_classifier(c, t, names, 1, bare, 1, false, classes, &err));
    assert_non_null(strstr(err.text, "\"a photo\" has no {}"));
    ts_clip_free(c);
    ts_tokenizer_free(t);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* ---- files that are wrong ---- */

static void expect_refused(const ts_weights *w, ts_code code, const char *const *words, int count)
{
    ts_error err = {0};
    assert_null(ts_clip_new(host, w, NULL, &err));
    assert_int_equal(err.code, code);
    for (int i = 0; i < count; i++)
        if (!strstr(err.text, words[i])) fail_msg("\"%s\" does not say \"%s\"", err.text, words[i]);
}

static void test_refused(void **state)
{
    (void)state;
    const struct {
        const char *file, *missing, *reshaped;
        ts_code code;
        const char *word;
    } cases[] = {
        {"clip_tiny.pt", "visual.transformer.resblocks.1.ln_2.bias", NULL, TS_ERR_FORMAT,
         "lacks 1 tensor (visual.transformer.resblocks.1.ln_2.bias)"},
        {"clip_tiny.pt", "visual.conv1.weight", NULL, TS_ERR_FORMAT, "visual.conv1.weight is missing"},
        {"clip_tiny.pt", "logit_scale", NULL, TS_ERR_FORMAT, "logit_scale"},
        {"clip_tiny.pt", NULL, "visual.proj", TS_ERR_SHAPE, "visual.proj is (129, 64), wanted (128, 64)"},
        {"clip_tiny.pt", NULL, "visual.positional_embedding", TS_ERR_SHAPE, "there are 18 positions"},
        {"clip_tiny_hf.safetensors", "text_model.encoder.layers.2.self_attn.k_proj.bias", NULL, TS_ERR_FORMAT,
         "text_model.encoder.layers.2.self_attn.k_proj.bias"},
        {"clip_tiny_hf.safetensors", NULL, "vision_model.encoder.layers.0.mlp.fc2.weight", TS_ERR_SHAPE,
         "vision_model.encoder.layers.0.mlp.fc2.weight is (129, 512), wanted (128, 512)"},
        {"clip_tiny_hf.safetensors", "visual_projection.weight", "text_model.final_layer_norm.bias", TS_ERR_FORMAT,
         "lacks 1 tensor (visual_projection.weight) and has 1 of another shape (text_model.final_layer_norm.bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_weights *w = open_golden(cases[i].file), *broken;
        broken = altered_copy(w, "broken.safetensors", cases[i].missing, cases[i].reshaped);
        expect_refused(broken, cases[i].code, (const char *[]){"broken.safetensors", cases[i].word}, 2);
        ts_weights_free(broken);
        ts_weights_free(w);
    }
    ts_weights *other = open_golden("vqgan_tiny.ckpt");
    expect_refused(other, TS_ERR_FORMAT,
                   (const char *[]){"vqgan_tiny.ckpt is a VQGAN; a CLIP with a vision transformer is wanted"}, 1);
    ts_weights_free(other);
}

static ts_weights *write_file(ts_weights_writer *out, const char *name)
{
    char path[300];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static void test_resnet(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    const float x[64] = {0};
    assert_true(ts_weights_writer_add(out, "visual.conv1.weight", TS_DT_F32, 4, (int64_t[]){2, 3, 3, 3}, x, &err) &&
                ts_weights_writer_add(out, "visual.layer1.0.conv1.weight", TS_DT_F32, 4, (int64_t[]){4, 4, 1, 1}, x, &err));
    ts_weights *w = write_file(out, "resnet.safetensors");
    expect_refused(w, TS_ERR_UNSUPPORTED, (const char *[]){"resnet.safetensors", "ResNet", "vision transformer"}, 3);
    ts_weights_free(w);
}

/* ---- what stands in no shape ---- */

static ts_weights *with_meta(const ts_weights *w, const char *name, const char *key, const char *value)
{
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        assert_true(ts_weights_writer_add_weight(out, t, t->dtype, &err));
    }
    if (key) assert_true(ts_weights_writer_meta(out, key, value, &err));
    return write_file(out, name);
}

static void test_metadata(void **state)
{
    (void)state;
    ts_clip_config c;
    ts_error err = {0};
    ts_weights *plain = open_golden("clip_tiny_hf.safetensors");
    ts_weights *w = with_meta(plain, "heads.safetensors", "vision_heads", "4");
    assert_true(ts_clip_config_read(w, NULL, &c, &err));
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.text_heads, 1);
    ts_weights_free(w);

    w = with_meta(plain, "heads.safetensors", "text_heads", "7");
    assert_false(ts_clip_config_read(w, NULL, &c, &err));
    assert_non_null(strstr(err.text, "text_heads = '7', wanted a number that divides the width of 64"));
    ts_weights_free(w);

    err = (ts_error){0};
    w = with_meta(plain, "act.safetensors", "hidden_act", "relu");
    assert_false(ts_clip_config_read(w, NULL, &c, &err));
    assert_non_null(strstr(err.text, "activation is 'relu'"));
    ts_weights_free(w);

    /* A config.json beside a file of Hugging Face's. */
    char path[300];
    snprintf(path, sizeof path, "%s/config.json", temp_dir());
    const char *json = "{\"vision_config\": {\"hidden_act\": \"gelu\"}, \"text_config\": {\"num_attention_heads\": 2}}";
    assert_true(ts_file_write(path, json, strlen(json), &err));
    w = with_meta(plain, "model.safetensors", NULL, NULL);
    assert_true(ts_clip_config_read(w, NULL, &c, &err));
    assert_true(c.erf_gelu && c.heads == 2 && c.text_heads == 2);
    ts_weights_free(w);
    remove(path);
    ts_weights_free(plain);
}

int main(void)
{
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_config),    cmocka_unit_test(test_features),
                                       cmocka_unit_test(test_gradients), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_broken),    cmocka_unit_test(test_classifier),
                                       cmocka_unit_test(test_refused),   cmocka_unit_test(test_resnet),
                                       cmocka_unit_test(test_metadata),  cmocka_unit_test(check_validation_silent)};
    const int failed = cmocka_run_group_tests_name("towers", tests, NULL, NULL);
    ts_device_free(host);
    return failed;
}
