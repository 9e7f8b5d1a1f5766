/* test_clip_search.c - `tessera clip search` as a user meets it: answers that are the library's, and features that a second
 * search does not make again. */
#include "../support/clip_library.h"
#include "../support/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_MODEL "--model", MODEL, "--vocab", VOCAB, "--device", "cpu"

static cJSON *find(const char *folder, const char *words, const char *option)
{
    return report(program_run("clip", "search", folder, WITH_MODEL, "--text", words, "--json", option, NULL));
}

static void assert_counts(const cJSON *o, int known, int made)
{
    if (number(o, "known") != known || number(o, "new") != made)
        fail_msg("%g known and %g new, wanted %d and %d", number(o, "known"), number(o, "new"), known, made);
}

/* A search that makes all of three pictures' features. */
static void find_anew(const char *folder)
{
    cJSON *o = find(folder, "rain", NULL);
    assert_counts(o, 0, 3);
    cJSON_Delete(o);
}

/* The order and the scores are the library's. */
static void search_ranks(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("ranks");
    cJSON *o = find(folder, "a red boat", "--no-cache");
    assert_false(file_exists(temp_path("ranks/.tessera-clip.safetensors")));
    const cJSON *hit;
    library l = open_library();
    float *query = text_features(&l, "a red boat");
    double before = 2;
    int count = 0;
    cJSON_ArrayForEach(hit, cJSON_GetObjectItem(o, "hits"))
    {
        float *features = picture_features(&l, text(hit, "file"));
        const double score = number(hit, "score");
        assert_true(fabs(score - cosine(query, features, l.embed)) < 1e-4 && score <= before);
        before = score;
        count++;
        free(features);
    }
    assert_int_equal(count, 3);
    free(query);
    close_library(&l);
    cJSON_Delete(o);
}

/* Known features are taken, new and changed pictures are encoded, deleted ones dropped; and the answer is always that of a search
 * without the file. */
static void search_remembers(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("remember"), *cache = kept_path("remember/.tessera-clip.safetensors");
    cJSON *first = find(folder, "rain", NULL), *again = find(folder, "rain", NULL);
    assert_counts(first, 0, 3);
    assert_counts(again, 3, 0);
    assert_true(cJSON_Compare(cJSON_GetObjectItem(first, "hits"), cJSON_GetObjectItem(again, "hits"), true));
    cJSON_Delete(first);
    cJSON_Delete(again);

    write_picture(temp_path("remember/d.png"), 33, 44, 9);
    write_picture(temp_path("remember/a.png"), 81, 60, 10);
    assert_int_equal(unlink(temp_path("remember/below/c.png")), 0);
    cJSON *o = find(folder, "rain", NULL), *fresh = find(folder, "rain", "--no-cache");
    assert_counts(o, 1, 2);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "kept")));
    for (int i = 0; i < 3; i++) {
        const cJSON *a = cJSON_GetArrayItem(cJSON_GetObjectItem(o, "hits"), i);
        const cJSON *b = cJSON_GetArrayItem(cJSON_GetObjectItem(fresh, "hits"), i);
        assert_string_equal(text(a, "file"), text(b, "file"));
        assert_true(fabs(number(a, "score") - number(b, "score")) < 1e-5);
    }
    cJSON_Delete(o);
    cJSON_Delete(fresh);
    ts_error err = {0};
    ts_weights *w = ts_weights_open(cache, &err);
    assert_true(w && ts_weights_find(w, "features")->shape[0] == 3);
    ts_weights_free(w);
    /* Only a deletion: nothing to encode, and the file shrinks all the same. */
    assert_int_equal(unlink(temp_path("remember/d.png")), 0);
    o = find(folder, "rain", NULL);
    assert_counts(o, 2, 0);
    cJSON_Delete(o);
    w = ts_weights_open(cache, &err);
    assert_true(w && ts_weights_find(w, "features")->shape[0] == 2);
    ts_weights_free(w);
}

/* The model with one row of one matrix turned round, as a little training might leave it. */
static const char *other_model(void)
{
    const char *path = kept_path("other.safetensors");
    ts_error err = {0};
    ts_weights *w = ts_weights_open(MODEL, &err);
    ts_weights_writer *out = ts_weights_writer_new();
    float *changed = golden_f32(w, "visual.proj");
    const int64_t width = ts_weights_find(w, "visual.proj")->shape[1];
    for (int64_t i = 0; i < width; i++) changed[i] = -changed[i];
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        const bool ok = strcmp(t->name, "visual.proj") == 0
                            ? ts_weights_writer_add(out, t->name, TS_DT_F32, t->ndim, t->shape, changed, &err)
                            : ts_weights_writer_add_weight(out, t, t->dtype, &err);
        if (!ok) fail_msg("%s", err.text);
    }
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    ts_weights_free(w);
    free(changed);
    return path;
}

/* A cache that is broken, lies, or belongs to another model is made anew. */
static void search_distrusts(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("distrust");
    const char *cache = kept_path("distrust/.tessera-clip.safetensors");
    cJSON_Delete(find(folder, "rain", NULL));
    size_t size;
    unsigned char *bytes = read_bytes(cache, &size);
    for (size_t cut = 0; cut < size; cut += 97) {
        write_bytes(cache, bytes, cut);
        if (cut > 97 && cut < size - 200) cut += size / 4;
        find_anew(folder);
    }
    /* A name that is not ended, and a row that is no direction. */
    const unsigned char was = bytes[size - 1];
    bytes[size - 1] = 'x';
    write_bytes(cache, bytes, size);
    find_anew(folder);
    bytes[size - 1] = was;
    uint64_t header = 0;
    memcpy(&header, bytes, sizeof header);
    const float huge = 1e30f;
    memcpy(bytes + 8 + header + 2 * 3 * 8, &huge, sizeof huge); /* after sizes and times */
    write_bytes(cache, bytes, size);
    find_anew(folder);
    free(bytes);
    const char *other = other_model();
    cJSON *o = report(program_run("clip", "search", folder, "--model", other, "--vocab", VOCAB, "--device", "cpu", "--text",
                                  "rain", "--json", NULL));
    assert_counts(o, 0, 3);
    cJSON_Delete(o);
    find_anew(folder);
}

/* Where nothing can be written the search works, and says that it will take as long the next time. */
static void search_without_room(void **state)
{
    (void)state;
    need_model();
    struct stat s;
    succeed(program_run("clip", "search", make_folder("private"), WITH_MODEL, "--text", "rain", NULL));
    assert_int_equal(stat(temp_path("private/.tessera-clip.safetensors"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600); /* it tells of somebody's pictures */
    const char *folder = make_folder("noroom");
    assert_int_equal(mkdir(temp_path("noroom/.tessera-clip.safetensors"), 0777), 0);
    program_result r = program_run("clip", "search", folder, WITH_MODEL, "--text", "rain", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.err, "not kept"));
    assert_non_null(strstr(r.out, "below/c.png"));
    program_free(&r);
}

/* The picture asked about is no answer; the sheet shows the hits. */
static void search_like(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("like");
    const char *like = kept_path("like/a.png");
    const char *sheet = kept_path("sheet.png");
    cJSON *o = report(program_run("clip", "search", folder, "--model", MODEL, "--device", "cpu", "--like", like, "--json",
                                  "--sheet", sheet, NULL));
    const cJSON *hits = cJSON_GetObjectItem(o, "hits");
    assert_int_equal(cJSON_GetArraySize(hits), 2);
    for (int i = 0; i < 2; i++) assert_null(strstr(text(cJSON_GetArrayItem(hits, i), "file"), "a.png"));
    cJSON_Delete(o);
    ts_image img;
    ts_error err = {0};
    if (!ts_image_load(sheet, &img, &err)) fail_msg("%s", err.text);
    assert_true(img.width > img.height && img.height > 224);
    ts_image_clear(&img);
    assert_refused(program_run("clip", "search", folder, WITH_MODEL, "--like", like, "--sheet", like, NULL), 1, "overwrite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(search_ranks), cmocka_unit_test(search_remembers),
                                       cmocka_unit_test(search_distrusts), cmocka_unit_test(search_without_room),
                                       cmocka_unit_test(search_like)};
    return cmocka_run_group_tests_name("clip search", tests, NULL, NULL);
}
