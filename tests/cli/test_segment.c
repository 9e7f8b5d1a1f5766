/* test_segment.c - `tessera segment` with the small golden SAM: its masks are those of the published code, of prompts and of
 * everything, in files, in JSON and in a table; embeddings are kept and taken; and what is wrong is said in one line before
 * anything is written. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../support/models.h"
#include "../support/process.h"
#include "../support/program.h"
#include "masks/masks.h"

#define SAM   TS_GOLDEN_DIR "/sam_tiny.pth"
#define CLIP  TS_GOLDEN_DIR "/clip_tiny.pt"
#define VOCAB TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz"

/* The model, on the host, and thresholds that it passes. */
#define WITH "--model", SAM, "--device", "cpu", "-Q"
#define LOOSE                                                                                                                    \
    "--points-per-side", "8", "--pred-iou-thresh", "0.25", "--stability-score-thresh", "0.5", "--stability-score-offset", "0.3"

static ts_weights *expected;
static const char *picture_a, *picture_b;

static const char *write_golden(const char *tensor, const char *name)
{
    const ts_weight *t = ts_weights_find(expected, tensor);
    const char *path = kept_path(name);
    assert_non_null(t);
    const ts_image img = {(int)t->shape[1], (int)t->shape[0], (uint8_t *)t->data};
    assert_true(ts_image_save(path, &img, NULL));
    return path;
}

static int open_files(void **state)
{
    (void)state;
    if (!file_exists(SAM)) return 0;
    expected = ts_weights_open(TS_GOLDEN_DIR "/sam_tiny.expected.safetensors", NULL);
    if (!expected) return 1;
    picture_a = write_golden("A.image", "a.png");
    picture_b = write_golden("B.image", "b.png");
    return 0;
}

static int close_files(void **state)
{
    (void)state;
    ts_weights_free(expected);
    return 0;
}

static void need_golden(void)
{
    if (expected) return;
    print_message("%s is not there: skipped\n", SAM);
    skip();
}

/* The file is mask `at` of a golden tensor, as grey of 0 and 255. */
static void check_mask(const char *path, const char *tensor, int at)
{
    const ts_weight *t = ts_weights_find(expected, tensor);
    const size_t pixels = (size_t)t->shape[t->ndim - 1] * (size_t)t->shape[t->ndim - 2];
    const uint8_t *want = (const uint8_t *)t->data + (size_t)at * pixels;
    ts_image got;
    ts_error err = {0};
    if (!ts_image_load(path, &got, &err)) fail_msg("%s", err.text);
    assert_int_equal(got.width, t->shape[t->ndim - 1]);
    assert_int_equal(got.height, t->shape[t->ndim - 2]);
    for (size_t i = 0; i < pixels; i++)
        if (got.data[3 * i] != (want[i] ? 255 : 0)) fail_msg("%s differs from mask %d of %s at pixel %zu", path, at, tensor, i);
    ts_image_clear(&got);
}

static cJSON *report_of(program_result r)
{
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    cJSON *all = cJSON_Parse(r.out);
    if (!all) fail_msg("no JSON: %s", r.out);
    program_free(&r);
    return all;
}

static const cJSON *masks_of(const cJSON *report, int picture)
{
    return cJSON_GetObjectItem(cJSON_GetArrayItem(report, picture), "masks");
}

/* ---- prompts ---- */

static void one_point_takes_the_best(void **state)
{
    (void)state;
    need_golden();
    float *iou = golden_f32(expected, "A.point.iou");
    int best = 0;
    for (int i = 1; i < 3; i++)
        if (iou[i] > iou[best]) best = i;
    const char *out = temp_path("point.png");
    succeed(program_run("segment", picture_a, WITH, "--point", "60,40", "-o", out, NULL));
    check_mask(out, "A.point.masks", best);
    free(iou);
}

static void prompts_are_the_published_masks(void **state)
{
    (void)state;
    need_golden();
    const char *out = temp_path("box.png"), *all = temp_path("all"), *boxes = temp_path("boxes");
    succeed(program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "-o", out, NULL));
    check_mask(out, "A.box.masks", 0);
    succeed(program_run("segment", picture_a, WITH, "-p", "60,40,1", "-p", "20.5,80.25,0", "-p", "130,10", "-o", out, NULL));
    check_mask(out, "A.points3.masks", 0);
    succeed(program_run("segment", picture_a, WITH, "--point", "60,40", "--multimask", "-o", all, NULL));
    succeed(program_run("segment", picture_a, WITH, "-b", "10,10,60,60", "-b", "50,30,139,95", "-b", "0,0,141,97", "-o", boxes,
                        NULL));
    for (int i = 0; i < 3; i++) {
        check_mask(temp_path("all/%d.png", i), "A.point.masks", i);
        check_mask(temp_path("boxes/%d.png", i), "A.boxes.masks", i);
    }
    assert_true(file_exists(temp_path("all/metadata.csv")));
}

static void facts_of_prompts(void **state)
{
    (void)state;
    need_golden();
    float *iou = golden_f32(expected, "A.point_box.iou");
    cJSON *report = report_of(
        program_run("segment", picture_a, WITH, "--json", "--point", "70,50,0", "--box", "25,15,110,80", "--multimask", NULL));
    const cJSON *masks = masks_of(report, 0);
    assert_int_equal(cJSON_GetArraySize(masks), 3);
    for (int i = 0; i < 3; i++) {
        const cJSON *m = cJSON_GetArrayItem(masks, i);
        ts_rle runs;
        assert_true(ts_rle_read(cJSON_GetObjectItem(cJSON_GetObjectItem(m, "segmentation"), "counts")->valuestring, 141, 97,
                                &runs, NULL));
        assert_int_equal(ts_rle_area(&runs), cJSON_GetObjectItem(m, "area")->valueint);
        ts_rle_clear(&runs);
        const double off = cJSON_GetObjectItem(m, "predicted_iou")->valuedouble - (double)iou[i];
        assert_true(off < 1e-4 && off > -1e-4);
        assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(m, "point_labels"), 0)->valueint, 0);
        assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(m, "box"), 2)->valueint, 110);
        assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(m, "crop_box"), 2)->valueint, 141);
        assert_null(cJSON_GetObjectItem(m, "file"));
    }
    cJSON_Delete(report);
    free(iou);
}

/* The model's own mask as a prior gives about the same mask again; a prior of nothing, or of another size, is refused. */
static void prior(void **state)
{
    (void)state;
    need_golden();
    const char *rough = temp_path("rough.png"), *out = temp_path("refined.png"), *black = temp_path("black.png");
    ts_image a, b;
    succeed(program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "-o", rough, NULL));
    succeed(program_run("segment", picture_a, WITH, "--prior", rough, "--box", "25,15,110,80", "-o", out, NULL));
    assert_true(ts_image_load(rough, &a, NULL) && ts_image_load(out, &b, NULL));
    int both = 0, either = 0;
    for (int i = 0; i < a.width * a.height; i++) {
        both += a.data[3 * i] && b.data[3 * i];
        either += a.data[3 * i] || b.data[3 * i];
    }
    if (2 * both < either) fail_msg("%d pixels of %d are the same", both, either);
    memset(a.data, 0, (size_t)a.width * (size_t)a.height * 3);
    assert_true(ts_image_save(black, &a, NULL));
    assert_refused(program_run("segment", picture_a, WITH, "--prior", black, "-o", out, NULL), 1, "nothing inside");
    assert_refused(program_run("segment", picture_b, WITH, "--prior", rough, "-o", out, NULL), 1, "must have one size");
    ts_image_clear(&a);
    ts_image_clear(&b);
}

/* ---- everything ---- */

static void check_record(const cJSON *got, const cJSON *want)
{
    static const char *const lists[] = {"bbox", "crop_box"};
    const cJSON *counts = cJSON_GetObjectItem(cJSON_GetObjectItem(got, "segmentation"), "counts");
    assert_string_equal(counts->valuestring, cJSON_GetObjectItem(want, "coco_counts")->valuestring);
    assert_int_equal(cJSON_GetObjectItem(got, "area")->valueint, cJSON_GetObjectItem(want, "area")->valueint);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 4; i++)
            assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(got, lists[k]), i)->valueint,
                             cJSON_GetArrayItem(cJSON_GetObjectItem(want, lists[k]), i)->valueint);
    const char *const numbers[] = {"predicted_iou", "stability_score"};
    for (int k = 0; k < 2; k++) {
        const double off = cJSON_GetObjectItem(got, numbers[k])->valuedouble - cJSON_GetObjectItem(want, numbers[k])->valuedouble;
        if (off > 2e-3 || off < -2e-3) fail_msg("%s is %g off", numbers[k], off);
    }
}

static void everything_is_the_published_list(void **state)
{
    (void)state;
    need_golden();
    size_t size;
    char *text = (char *)read_bytes(TS_GOLDEN_DIR "/sam_tiny.amg.json", &size);
    cJSON *golden = cJSON_Parse(text);
    const cJSON *want = cJSON_GetObjectItem(cJSON_GetArrayItem(golden, 0), "masks");
    const int count = cJSON_GetArraySize(want);
    const char *out = temp_path("everything");
    cJSON *report = report_of(
        program_run("segment", picture_a, WITH, "--everything", LOOSE, "--points-per-batch", "7", "--json", "-o", out, NULL));
    const cJSON *got = masks_of(report, 0);
    assert_int_equal(cJSON_GetArraySize(got), count);
    for (int i = 0; i < count; i++) {
        check_record(cJSON_GetArrayItem(got, i), cJSON_GetArrayItem(want, i));
        assert_true(file_exists(temp_path("everything/%d.png", i)));
    }
    assert_false(file_exists(temp_path("everything/%d.png", count)));
    char *table = (char *)read_bytes(temp_path("everything/metadata.csv"), &size);
    assert_non_null(strstr(table,
                           "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,"
                           "stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h\n0,1367,70,37,50,50,96.9375,66.6875,"));
    int lines = 0;
    for (const char *c = table; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, count + 1);
    free(table);
    cJSON_Delete(report);
    cJSON_Delete(golden);
    free(text);
}

static void nothing_found(void **state)
{
    (void)state;
    need_golden();
    program_result r =
        program_run("segment", picture_a, "--model", SAM, "--device", "cpu", "--everything", "-o", temp_path("none"), NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "nothing was found"));
    assert_true(file_exists(temp_path("none/metadata.csv")));
    assert_false(file_exists(temp_path("none/0.png")));
    program_free(&r);
}

/* ---- words ---- */

static void words_rank(void **state)
{
    (void)state;
    need_golden();
    if (!file_exists(CLIP) || !file_exists(VOCAB)) skip();
    const char *all = temp_path("ranked"), *best = temp_path("best.png");
    cJSON *report = report_of(program_run("segment", picture_a, WITH, LOOSE, "--text", "a red disc", "--clip", CLIP, "--vocab",
                                          VOCAB, "--top", "5", "--json", "-o", all, NULL));
    const cJSON *masks = masks_of(report, 0);
    assert_int_equal(cJSON_GetArraySize(masks), 5);
    for (int i = 0; i < 5; i++) {
        const double like = cJSON_GetObjectItem(cJSON_GetArrayItem(masks, i), "similarity")->valuedouble;
        assert_true(like >= -1 && like <= 1);
        if (i > 0) assert_true(like <= cJSON_GetObjectItem(cJSON_GetArrayItem(masks, i - 1), "similarity")->valuedouble);
    }
    succeed(program_run("segment", picture_a, WITH, LOOSE, "--text", "a red disc", "--clip", CLIP, "--vocab", VOCAB, "-o", best,
                        NULL));
    assert_true(same_bytes(best, temp_path("ranked/0.png")));
    cJSON_Delete(report);
    assert_refused(program_run("segment", picture_a, WITH, "--text", "a disc", "-o", best, NULL), 2, "--clip FILE");
    assert_refused(program_run("segment", picture_a, WITH, "--text", " ", "--clip", CLIP, "-o", best, NULL), 2, "names nothing");
    assert_refused(program_run("segment", picture_a, WITH, "--text", "disc", "--clip", SAM, "-o", best, NULL), 1, "is a SAM");
}

/* ---- looks ---- */

static void looks(void **state)
{
    (void)state;
    need_golden();
    const char *mask = temp_path("looked.png"), *overlay = temp_path("overlay.png"), *cutout = temp_path("cutout.png");
    ts_image a, m, o, c;
    succeed(program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "-o", mask, "--overlay", overlay, "--cutout", cutout,
                        NULL));
    assert_true(ts_image_load(picture_a, &a, NULL) && ts_image_load(mask, &m, NULL) && ts_image_load(overlay, &o, NULL) &&
                ts_image_load(cutout, &c, NULL));
    for (int i = 0; i < a.width * a.height; i++) {
        const bool inside = m.data[3 * i] != 0;
        const uint8_t *p = a.data + 3 * i, white[3] = {255, 255, 255};
        assert_int_equal(memcmp(p, o.data + 3 * i, 3) != 0, inside);
        assert_memory_equal(c.data + 3 * i, inside ? p : white, 3); /* alpha is shown over white */
    }
    ts_image_clear(&a);
    ts_image_clear(&m);
    ts_image_clear(&o);
    ts_image_clear(&c);
}

static void standard_output(void **state)
{
    (void)state;
    need_golden();
    program_result r = program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "-o", "-", NULL);
    assert_int_equal(r.status, 0);
    assert_memory_equal(r.out, "\x89PNG", 4);
    program_free(&r);
    assert_refused(program_run("segment", picture_a, WITH, "--point", "1,1", "-o", "-", "--json", NULL), 2,
                   "both go to standard output");
}

/* ---- embeddings ---- */

static void embedding_kept_and_taken(void **state)
{
    (void)state;
    need_golden();
    const char *kept = temp_path("a.safetensors"), *first = temp_path("first.png"), *second = temp_path("second.png");
    succeed(program_run("segment", picture_a, WITH, "--embedding", kept, NULL));
    succeed(program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "-o", first, NULL));
    struct stat before, after;
    assert_int_equal(stat(kept, &before), 0);
    succeed(program_run("segment", picture_a, WITH, "--box", "25,15,110,80", "--embedding", kept, "-o", second, NULL));
    assert_int_equal(stat(kept, &after), 0);
    assert_true(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_ino == after.st_ino);
    assert_true(same_bytes(first, second));
    assert_refused(program_run("segment", picture_b, WITH, "--point", "5,5", "--embedding", kept, "-o", second, NULL), 1,
                   "another picture");
    /* Of the same size, but not the same. */
    ts_image img;
    assert_true(ts_image_load(picture_a, &img, NULL));
    img.data[1000] ^= 1;
    const char *other = temp_path("other.png");
    assert_true(ts_image_save(other, &img, NULL));
    ts_image_clear(&img);
    assert_refused(program_run("segment", other, WITH, "--point", "5,5", "--embedding", kept, "-o", second, NULL), 1,
                   "another picture");
    write_text(kept, "rubbish");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "5,5", "--embedding", kept, "-o", second, NULL), 1, kept);
}

/* ---- several pictures ---- */

static const char *make_folder(const char *name)
{
    const char *folder = kept_path(name);
    char path[600];
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/one.png", folder);
    write_picture(path, 40, 30, 1);
    snprintf(path, sizeof path, "%s/two.png", folder);
    write_picture(path, 33, 50, 2);
    snprintf(path, sizeof path, "%s/broken.png", folder);
    write_text(path, "\x89PNG\r\n");
    return folder;
}

static void folders(void **state)
{
    (void)state;
    need_golden();
    const char *photos = make_folder("photos"), *out = temp_path("of-photos"), *looks_at = temp_path("looks"),
               *kept = temp_path("kept");
    program_result r = program_run("segment", photos, "--model", SAM, "--device", "cpu", "--point", "20,20", "-o", out,
                                   "--overlay", looks_at, "--embedding", kept, NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "left out: "));
    assert_non_null(strstr(r.err, "broken.png"));
    program_free(&r);
    assert_true(file_exists(temp_path("of-photos/one/0.png")) && file_exists(temp_path("of-photos/two/metadata.csv")));
    assert_true(file_exists(temp_path("looks/two.overlay.png")) && file_exists(temp_path("kept/one.safetensors")));
    assert_false(file_exists(temp_path("of-photos/broken")));
    const char *strict = temp_path("strict");
    assert_refused(program_run("segment", photos, WITH, "--strict", "--point", "20,20", "-o", strict, NULL), 1, "broken.png");
    assert_false(file_exists(strict));
    /* What one picture's size refuses is told before anything of another is written. */
    assert_refused(program_run("segment", photos, WITH, "--strict", "--point", "35,20", "-o", strict, NULL), 1, "broken.png");
    assert_refused(program_run("segment", picture_a, picture_b, WITH, "--point", "100,20", "-o", strict, NULL), 1,
                   "b.png, which is 67 x 101");
    assert_false(file_exists(strict));
    const char *taken = temp_path("taken");
    assert_int_equal(mkdir(taken, 0700), 0);
    write_text(temp_path("taken/one"), "");
    assert_refused(program_run("segment", photos, WITH, "--point", "20,20", "-o", taken, NULL), 1, "a folder was wanted");
    /* Masks of an earlier run are not mixed with new ones. */
    assert_refused(program_run("segment", photos, WITH, "--point", "20,20", "-o", out, NULL), 1, "holds masks already");
    assert_refused(
        program_run("segment", picture_a, WITH, "--point", "20,20", "--multimask", "-o", temp_path("of-photos/one"), NULL), 1,
        "holds masks already");
}

/* ---- what is wrong ---- */

/* A picture of which nothing is left at the network's size is told as one that cannot be read is. */
static void too_long(void **state)
{
    (void)state;
    need_golden();
    const char *thread = temp_path("thread.png"), *out = temp_path("threads");
    write_picture(thread, 3000, 1, 1);
    assert_refused(program_run("segment", thread, WITH, "--point", "1,0", "-o", out, NULL), 1,
                   "thread.png: a picture of 3000 x 1");
    program_result r = program_run("segment", thread, picture_a, WITH, "--point", "1,0", "-o", out, NULL);
    assert_int_equal(r.status, 3);
    assert_true(file_exists(temp_path("threads/a/0.png")));
    assert_false(file_exists(temp_path("threads/thread")));
    program_free(&r);
}

/* A disk that fills up while masks are written leaves none of them. */
static void full_disk(void **state)
{
    (void)state;
    need_golden();
    const char *out = temp_path("full");
    const char *const args[] = {"segment", picture_a, WITH, "--everything", LOOSE, "-o", out, NULL};
    assert_int_equal(wait_for(spawn(args, 600)), 1); /* the masks fit, the table does not */
    assert_false(file_exists(out));
}

static void wrong_usage(void **state)
{
    (void)state;
    static const struct {
        const char *args[8], *says;
    } wrong[] = {
        {{"--point", "1,1", "-o", "x.png"}, "PICTURE is missing"},
        {{"p.png", "-o", "x.png"}, "nothing is asked for"},
        {{"p.png", "--json"}, "nothing is asked for"},
        {{"p.png", "--point", "1,1"}, "an output is missing"},
        {{"p.png", "--point", "1,1", "-o", "x.png"}, "sam_vit_b_01ec64.pth"},
        {{"p.png", "--point", "1"}, "an output is missing"},
        {{"p.png", "--json", "--model", "m", "--point", "1"}, "--point 1 is not X,Y"},
        {{"p.png", "--json", "--model", "m", "--point", "1,2,3"}, "the third number"},
        {{"p.png", "--json", "--model", "m", "--point", "1,2,"}, "is not X,Y"},
        {{"p.png", "--json", "--model", "m", "--box", "1,2,3"}, "is not X0,Y0,X1,Y1"},
        {{"p.png", "--json", "--model", "m", "--box", "5,2,5,9"}, "is empty"},
        {{"p.png", "--json", "--everything", "--point", "1,1"}, "--point does not go with it"},
        {{"p.png", "--json", "--text", "x", "--box", "1,1,2,2"}, "--box does not go with it"},
        {{"p.png", "--json", "--multimask"}, "--multimask wants a prompt"},
        {{"p.png", "--json", "--point", "1,1", "--crop-n-layers", "1"}, "--crop-n-layers is for --everything"},
        {{"p.png", "--json", "--point", "1,1", "--clip", "c.pt"}, "--clip is for --text"},
        {{"p.png", "--everything", "-o", "x", "--crop-n-layers=1", "--embedding", "e"}, "not both"},
        {{"p.png", "--point", "1,1", "--embedding", "-"}, "--embedding - is not possible"},
        {{"-", "--point", "1,1", "--prior", "-", "--json"}, "more than once"},
        {{"p.png", "--point", "1,1", "-o", "-", "--cutout", "-"}, "more than once"},
        {{"p.png", "--pont", "1,1"}, "did you mean --point?"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *args[9] = {"segment"};
        int count = 1;
        while (count < 9 && count - 1 < 8 && wrong[i].args[count - 1]) {
            args[count] = wrong[i].args[count - 1];
            count++;
        }
        assert_refused(program_run_list(args, count), 2, wrong[i].says);
    }
    assert_refused(program_run("segment", "p.png", "--json", "--box", "1,1,2,2", "--box", "1,1,3,3", "--point", "1,1", NULL), 2,
                   "--point goes with one box");
}

/* A MobileSAM serves as any SAM, and says what it is. */
static void mobile_sam(void **state)
{
    (void)state;
    const char *model = TS_TESTS_DIR "/golden/mobile_sam.safetensors", *photo = temp_path("photo.png");
    const char *out = temp_path("mobile.png"), *kept = temp_path("mobile.safetensors");
    ts_image img;
    assert_true(ts_image_new(70, 50, &img, NULL));
    for (int i = 0; i < 70 * 50 * 3; i++) img.data[i] = (uint8_t)(i * 7 % 251);
    assert_true(ts_image_save(photo, &img, NULL));
    ts_image_clear(&img);
    succeed(program_run("segment", photo, "--model", model, "--device", "cpu", "-Q", "--point", "30,20", "--embedding", kept,
                        "-o", out, NULL));
    assert_true(ts_image_load(out, &img, NULL));
    assert_true(img.width == 70 && img.height == 50);
    ts_image_clear(&img);
    succeed(program_run("segment", photo, "--model", model, "--device", "cpu", "-Q", "--box", "10,10,40,30", "--embedding", kept,
                        "-o", temp_path("box.png"), NULL));
    program_result r = program_run("model", "info", model, NULL);
    assert_true(r.status == 0 && strstr(r.out, "MobileSAM") && strstr(r.out, "encoder: TinyViT, stages 8, 8, 12, 16 wide"));
    program_free(&r);
    r = program_run("model", "info", "--json", model, NULL);
    assert_true(r.status == 0 && strstr(r.out, "\"stages\""));
    program_free(&r);
    succeed(program_run("model", "check", model, NULL));
}

static void wrong_names(void **state)
{
    (void)state;
    need_golden();
    const char *out = temp_path("wrong.png");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "141,1", "-o", out, NULL), 1, "lies outside");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "-1,1", "-o", out, NULL), 1, "lies outside");
    assert_refused(program_run("segment", picture_a, WITH, "--box", "1,1,142,9", "-o", out, NULL), 1, "leaves");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "1,1", "-o", temp_path("x.jpg"), NULL), 2,
                   "a mask is written as PNG");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "1,1", "--overlay", temp_path("x.gif"), NULL), 2,
                   "does not end in");
    assert_refused(program_run("segment", picture_a, WITH, "--everything", "-o", out, NULL), 2, "may be several masks");
    assert_refused(program_run("segment", picture_a, picture_b, WITH, "--point", "1,1", "-o", out, NULL), 2, "several pictures");
    assert_refused(program_run("segment", picture_a, WITH, "--point", "1,1", "-o", picture_a, NULL), 1,
                   "would overwrite the input");
    assert_refused(program_run("segment", picture_a, picture_a, WITH, "--point", "1,1", "-o", temp_path("twice"), NULL), 1,
                   "written twice");
    assert_refused(program_run("segment", picture_a, "--model", "/nowhere.pth", "--point", "1,1", "-o", out, NULL), 1,
                   "segment-anything");
    assert_refused(program_run("segment", picture_a, "--model", random_model(), "--point", "1,1", "-o", out, NULL), 1,
                   "a SAM is wanted");
    assert_refused(program_run("segment", temp_path("no.png"), WITH, "--point", "1,1", "-o", out, NULL), 1, "cannot be read");
    assert_false(file_exists(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_point_takes_the_best),
        cmocka_unit_test(prompts_are_the_published_masks),
        cmocka_unit_test(facts_of_prompts),
        cmocka_unit_test(prior),
        cmocka_unit_test(everything_is_the_published_list),
        cmocka_unit_test(nothing_found),
        cmocka_unit_test(words_rank),
        cmocka_unit_test(looks),
        cmocka_unit_test(standard_output),
        cmocka_unit_test(embedding_kept_and_taken),
        cmocka_unit_test(folders),
        cmocka_unit_test(too_long),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(mobile_sam),
        cmocka_unit_test(wrong_names),
    };
    return cmocka_run_group_tests_name("segment", tests, open_files, close_files);
}
