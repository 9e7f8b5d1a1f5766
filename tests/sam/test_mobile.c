/* MobileSAM against PyTorch on a narrow model of random weights (tests/reference/make_mobile_sam_golden.py): the embedding of a
 * picture that fills part of the network's, a click's masks and scores, on the host and on Vulkan; what is said of its sizes; and
 * of files that are broken. */
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"
#include "sam/sam.h"
#include "tests/support/support.h"

static const double TOLERANCE = 1e-4;

enum { STEP = 3, LOW_STEP = 16 }; /* of the places that the file holds */

static ts_weights *model;

static void check_near(const char *what, const float *got, const float *want, int64_t count)
{
    const double error = relative_error(got, want, count);
    if (!(error <= TOLERANCE)) fail_msg("%s: off by %g", what, error);
}

static void set_picture(ts_sam *s)
{
    const ts_weight *t = ts_weights_find(model, "expected.picture");
    ts_error err = {0};
    assert_non_null(t);
    const ts_image img = {(int)t->shape[1], (int)t->shape[0], (uint8_t *)t->data};
    if (!ts_sam_set_picture(s, &img, &err)) fail_msg("%s", err.text);
}

/* (side, side, each) -> every `step`th row and column of it */
static float *thinned(const float *from, int side, int each, int step, int64_t *count)
{
    const int kept = (side + step - 1) / step;
    *count = (int64_t)kept * kept * each;
    float *out = malloc((size_t)*count * sizeof *out);
    assert_non_null(out);
    for (int y = 0; y < kept; y++)
        for (int x = 0; x < kept; x++)
            memcpy(out + ((ptrdiff_t)y * kept + x) * each, from + ((ptrdiff_t)y * side + x) * step * each,
                   (size_t)each * sizeof *out);
    return out;
}

static void check_embedding(const ts_sam *s)
{
    const ts_sam_config *c = ts_sam_about(s);
    int64_t count;
    float *got = thinned(ts_sam_embedding(s), c->side, c->embed, STEP, &count), *want = golden_f32(model, "expected.embedding");
    assert_int_equal(ts_weights_find(model, "expected.embedding")->count, count);
    check_near("embedding", got, want, count);
    free(got);
    free(want);
}

static void check_click(ts_sam *s)
{
    float *click = golden_f32(model, "expected.click"), *low = golden_f32(model, "expected.low");
    float *iou = golden_f32(model, "expected.iou");
    const int label = 1;
    const ts_sam_prompt prompt = {.points = 1, .point = click, .label = &label};
    ts_sam_answer answer;
    ts_error err = {0};
    if (!ts_sam_predict(s, &prompt, 1, &(ts_sam_options){.multimask = true}, &answer, &err)) fail_msg("%s", err.text);
    assert_int_equal(answer.each, 3);
    for (int k = 0; k < answer.each; k++) {
        int64_t count;
        float *got = thinned(ts_sam_low(&answer, 0, k), answer.low, 1, LOW_STEP, &count);
        check_near("masks", got, low + k * count, count);
        free(got);
    }
    check_near("scores", answer.score, iou, 3);
    ts_sam_answer_clear(&answer);
    free(click);
    free(low);
    free(iou);
}

static void check_device(ts_device *dev)
{
    ts_error err = {0};
    ts_sam *s = ts_sam_new(dev, &(ts_sam_desc){.weights = model}, &err);
    if (!s) fail_msg("%s", err.text);
    set_picture(s);
    check_embedding(s);
    check_click(s);
    ts_sam_free(s);
}

static void test_host(void **state)
{
    (void)state;
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    assert_non_null(dev);
    check_device(dev);
    ts_device_free(dev);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_device(dev);
}

static void test_sizes(void **state)
{
    (void)state;
    ts_sam_config c;
    ts_error err = {0};
    char text[256];
    assert_int_equal(ts_kind_of(model), TS_KIND_MOBILE_SAM);
    if (!ts_sam_config_read(model, &c, &err) || !ts_sam_check(model, &err)) fail_msg("%s", err.text);
    assert_true(c.tiny && c.picture == 1024 && c.side == 64 && c.low == 256 && c.stem == 4 && c.width == 16 && c.depth == 8);
    assert_true(c.stage[1].heads == 2 && c.stage[2].window == 14 && c.stage[3].inner == 32 && c.stage[0].inner == 16);
    assert_string_equal(ts_sam_title(&c, text, sizeof text), "MobileSAM");
    assert_non_null(strstr(ts_sam_words(&c, text, sizeof text), "TinyViT, stages 8, 8, 12, 16 wide, 2, 2, 2, 2 blocks"));
}

/* ---- broken files ---- */

/* The model with a tensor left out, or one of another shape, in whose place zeros stand. */
typedef struct {
    const char *without, *changed;
    int ndim;
    int64_t shape[4];
    const char *words; /* of what is said */
} breakage;

static ts_weights *broken(const breakage *b)
{
    ts_error err = {0};
    char path[512];
    float *zeros = calloc(1 << 16, sizeof *zeros);
    ts_weights_writer *out = ts_weights_writer_new();
    assert_true(zeros && out);
    for (int64_t i = 0; i < ts_weights_count(model); i++) {
        const ts_weight *t = ts_weights_at(model, i);
        const bool changed = b->changed && strcmp(t->name, b->changed) == 0;
        if (b->without && strncmp(t->name, b->without, strlen(b->without)) == 0) continue;
        if (!(changed ? ts_weights_writer_add(out, t->name, TS_DT_F32, b->ndim, b->shape, zeros, &err)
                      : ts_weights_writer_add_weight(out, t, t->dtype, &err)))
            fail_msg("%s", err.text);
    }
    snprintf(path, sizeof path, "%s/broken.safetensors", temp_dir());
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    free(zeros);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static void test_broken(void **state)
{
    (void)state;
    static const breakage cases[] = {
        {.without = "image_encoder.layers.3.", .words = "the encoder has 3 stages"},
        {.without = "image_encoder.layers.1.blocks.0.attn.attention_biases",
         .words = "tensor image_encoder.layers.1.blocks.0.attn.attention_biases is missing, which tells"},
        {.without = "image_encoder.layers.2.blocks.1.local_conv.bn.running_var",
         .words = "tensor image_encoder.layers.2.blocks.1.local_conv.bn.running_var is missing"},
        {.without = "image_encoder.layers.0.downsample.conv2.c.weight",
         .words = "tensor image_encoder.layers.0.downsample.conv2.c.weight is missing"},
        {.without = "image_encoder.layers.3.blocks.1.mlp.norm.bias",
         .words = "1 tensor is missing: image_encoder.layers.3.blocks.1.mlp.norm.bias"},
        {.without = "image_encoder.layers.2.blocks.0.attn.qkv.bias",
         .words = "tensor image_encoder.layers.2.blocks.0.attn.qkv.bias is missing"},
        {.changed = "image_encoder.layers.1.blocks.0.attn.attention_biases",
         .ndim = 2,
         .shape = {2, 48},
         .words = "has 48 columns, wanted those of a square window"},
        {.changed = "image_encoder.layers.1.blocks.0.attn.attention_biases",
         .ndim = 2,
         .shape = {3, 49},
         .words = "3 heads do not divide a width of 8"},
        {.changed = "image_encoder.layers.1.blocks.1.attn.attention_biases",
         .ndim = 2,
         .shape = {2, 36},
         .words = "image_encoder.layers.1.blocks.1.attn.attention_biases is (2, 36), wanted (2, 49)"},
        {.changed = "image_encoder.layers.0.blocks.1.conv2.c.weight",
         .ndim = 4,
         .shape = {16, 16, 3, 3},
         .words = "tensor image_encoder.layers.0.blocks.1.conv2.c.weight has another shape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_weights *w = broken(&cases[i]);
        assert_false(ts_sam_check(w, &err));
        if (!strstr(err.text, cases[i].words)) fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].words);
        ts_weights_free(w);
    }
}

static int setup(void **state)
{
    (void)state;
    ts_error err = {0};
    model = ts_weights_open(TS_TESTS_DIR "/golden/mobile_sam.safetensors", &err);
    return model ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ts_weights_free(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_on_vulkan),
                                       cmocka_unit_test(test_sizes), cmocka_unit_test(test_broken),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("mobile", tests, setup, teardown);
}
