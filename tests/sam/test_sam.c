/* Segment Anything against reference numbers of a tiny model (../shared/golden/sam_tiny.*): embeddings, the decoder's answers to
 * every kind of prompt, masks at the picture's size; on the host and on Vulkan. */
#include <stdlib.h>
#include <string.h>

#include "sam/sam.h"
#include "tests/support/support.h"

static const double TOLERANCE = 1e-4;

static ts_weights *expected;

static ts_device *host_device(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static const ts_weight *tensor(const char *name, const char *part)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s", name, part);
    return ts_weights_find(expected, full);
}

/* NULL where there is none; free() it. */
static float *numbers(const char *name, const char *part)
{
    const ts_weight *t = tensor(name, part);
    return t ? golden_f32(expected, t->name) : NULL;
}

static ts_image picture(const char *name)
{
    const ts_weight *t = tensor(name, ".image");
    ts_image img;
    ts_error err = {0};
    assert_non_null(t);
    if (!ts_image_new((int)t->shape[1], (int)t->shape[0], &img, &err)) fail_msg("%s", err.text);
    memcpy(img.data, t->data, (size_t)t->count);
    return img;
}

static void set_picture(ts_sam *s, const char *name)
{
    ts_error err = {0};
    ts_image img = picture(name);
    if (!ts_sam_set_picture(s, &img, &err)) fail_msg("%s", err.text);
    ts_image_clear(&img);
}

static ts_sam *open_sam(ts_device *dev, const ts_weights *w, int batch)
{
    ts_error err = {0};
    ts_sam *s = ts_sam_new(dev, &(ts_sam_desc){.weights = w, .batch = batch}, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static void check_near(const char *what, const float *got, const float *want, int64_t count)
{
    const double error = relative_error(got, want, count);
    if (!(error <= TOLERANCE)) fail_msg("%s: off by %g", what, error);
}

/* ---- the embedding ---- */

static void check_embedding(ts_sam *s, const char *name)
{
    const ts_sam_config *c = ts_sam_about(s);
    const int64_t places = (int64_t)c->side * c->side;
    float *want = numbers(name, ".embedding"), *rows = malloc((size_t)(places * c->embed) * sizeof *rows);
    assert_non_null(rows);
    for (int64_t p = 0; p < places; p++)
        for (int64_t e = 0; e < c->embed; e++) rows[p * c->embed + e] = want[e * places + p];
    check_near(name, ts_sam_embedding(s), rows, places * c->embed);
    free(want);
    free(rows);
}

/* ---- cases ---- */

/* Prompts as the golden file has them; all is freed by clear_case. */
typedef struct {
    float *points, *box, *prior;
    int *labels;
    ts_sam_prompt prompt[4];
    int count;
} golden_case;

static golden_case read_case(const char *name)
{
    golden_case c = {.points = numbers(name, ".point_coords"),
                     .box = numbers(name, ".box"),
                     .prior = numbers(name, ".mask_input"),
                     .count = 1};
    const ts_weight *labels = tensor(name, ".point_labels"), *boxes = tensor(name, ".boxes");
    if (labels) {
        int64_t *wide = golden_i64(expected, labels->name);
        c.labels = malloc((size_t)labels->count * sizeof *c.labels);
        for (int64_t i = 0; i < labels->count; i++) c.labels[i] = (int)wide[i];
        free(wide);
    }
    if (boxes) {
        c.box = numbers(name, ".boxes");
        c.count = (int)boxes->shape[0];
    }
    for (int i = 0; i < c.count; i++)
        c.prompt[i] = (ts_sam_prompt){.points = labels ? (int)labels->count : 0,
                                      .point = c.points,
                                      .label = c.labels,
                                      .box = c.box ? c.box + 4 * (ptrdiff_t)i : NULL,
                                      .prior = c.prior};
    return c;
}

static void clear_case(golden_case *c)
{
    free(c->points);
    free(c->box);
    free(c->prior);
    free(c->labels);
}

static void check_masks(ts_sam *s, const char *name, const ts_sam_answer *answer)
{
    const ts_weight *masks = tensor(name, ".masks");
    float *logits = numbers(name, ".logits");
    const size_t pixels = (size_t)masks->shape[masks->ndim - 1] * (size_t)masks->shape[masks->ndim - 2];
    assert_int_equal(masks->count, (int64_t)pixels * answer->prompts * answer->each);
    for (int i = 0; i < answer->prompts * answer->each; i++) {
        ts_error err = {0};
        ts_mask mask;
        const float *low = ts_sam_low(answer, i / answer->each, i % answer->each);
        if (!ts_sam_mask(s, low, &mask, &err)) fail_msg("%s", err.text);
        if (memcmp(mask.data, (const uint8_t *)masks->data + (size_t)i * pixels, pixels) != 0)
            fail_msg("%s: mask %d differs", name, i);
        ts_mask_clear(&mask);
        float *full = logits ? malloc(pixels * sizeof *full) : NULL;
        if (!full) continue;
        if (!ts_sam_full(s, low, full, &err)) fail_msg("%s", err.text);
        check_near(name, full, logits + (size_t)i * pixels, (int64_t)pixels);
        free(full);
    }
    free(logits);
}

static void check_case(ts_sam *s, const char *name, bool multimask)
{
    ts_error err = {0};
    ts_sam_answer answer;
    golden_case c = read_case(name);
    float *low = numbers(name, ".low_res"), *iou = numbers(name, ".iou");
    if (!ts_sam_predict(s, c.prompt, c.count, &(ts_sam_options){.multimask = multimask}, &answer, &err))
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(answer.each, multimask ? 3 : 1);
    const int64_t masks = (int64_t)answer.prompts * answer.each;
    check_near(name, answer.logits, low, masks * answer.low * answer.low);
    check_near(name, answer.score, iou, masks);
    check_masks(s, name, &answer);
    ts_sam_answer_clear(&answer);
    free(low);
    free(iou);
    clear_case(&c);
}

static const struct {
    const char *name;
    bool multimask;
} cases[] = {{"A.point", true},        {"A.points3", false},  {"A.box", false},   {"A.point_box", true},
             {"A.mask_points", false}, {"A.mask_only", true}, {"A.padded", true}, {"A.none", true},
             {"A.boxes", false},       {"B.point", true},     {"C.point", true}};

static void check_device(ts_device *dev, const ts_weights *w)
{
    static const char *const pictures[] = {"A", "B", "C"};
    ts_sam *s = open_sam(dev, w, 2);
    for (size_t i = 0; i < 3; i++) {
        set_picture(s, pictures[i]);
        check_embedding(s, pictures[i]);
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            if (cases[k].name[0] == pictures[i][0]) check_case(s, cases[k].name, cases[k].multimask);
    }
    ts_sam_free(s);
}

static void test_host(void **state)
{
    (void)state;
    ts_weights *w = open_golden("sam_tiny.pth");
    ts_device *dev = host_device();
    check_device(dev, w);
    ts_device_free(dev);
    ts_weights_free(w);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    ts_weights *w = open_golden("sam_tiny.pth");
    check_device(dev, w);
    ts_weights_free(w);
}

/* ---- PerSAM's hints ---- */

static void check_guided(ts_sam *s, const ts_weights *want, const char *name, const char *prompt, const ts_sam_guide *guide)
{
    ts_error err = {0};
    ts_sam_answer answer;
    char part[64];
    golden_case c = read_case(prompt);
    if (!ts_sam_predict(s, c.prompt, 1, &(ts_sam_options){.multimask = true, .guide = guide}, &answer, &err))
        fail_msg("%s: %s", name, err.text);
    snprintf(part, sizeof part, "%s.low_res", name);
    float *low = golden_f32(want, part);
    snprintf(part, sizeof part, "%s.iou", name);
    float *iou = golden_f32(want, part);
    check_near(name, answer.logits, low, (int64_t)answer.each * answer.low * answer.low);
    check_near(name, answer.score, iou, answer.each);
    free(low);
    free(iou);
    ts_sam_answer_clear(&answer);
    clear_case(&c);
}

/* Against a decoder in PyTorch (tests/reference/make_sam_guide_golden.py). */
static void check_guides(ts_device *dev)
{
    ts_error err = {0};
    ts_weights *w = open_golden("sam_tiny.pth");
    ts_weights *want = ts_weights_open(TS_TESTS_DIR "/golden/sam_guided.safetensors", &err);
    if (!want) fail_msg("%s", err.text);
    ts_sam *s = open_sam(dev, w, 0);
    set_picture(s, "A");
    float *similarity = golden_f32(want, "similarity"), *target = golden_f32(want, "target");
    const ts_sam_guide both = {similarity, target}, alone = {.similarity = similarity};
    check_guided(s, want, "point", "A.point", &both);
    check_guided(s, want, "point_box", "A.point_box", &both);
    check_guided(s, want, "similar", "A.point", &alone);
    free(similarity);
    free(target);
    ts_sam_free(s);
    ts_weights_free(want);
    ts_weights_free(w);
}

static void test_guide(void **state)
{
    (void)state;
    ts_device *dev = host_device();
    check_guides(dev);
    ts_device_free(dev);
}

static void test_guide_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_guides(dev);
}

static int setup(void **state)
{
    (void)state;
    ts_error err = {0};
    expected = ts_weights_open(TS_GOLDEN_DIR "/sam_tiny.expected.safetensors", &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ts_weights_free(expected);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_on_vulkan),
                                       cmocka_unit_test(test_guide), cmocka_unit_test(test_guide_on_vulkan),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("sam", tests, setup, teardown);
}
