/* test_run_pictures.c - `tessera run` and its pictures: standard input and output, what the looks of examples tell of mistakes,
 * and all canvases of a query. */
#include "../support/report.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANVAS = 64, CELL = 31 }; /* of the random model */

static const char *photo, *other, *query;

static int make_pictures(void **state)
{
    (void)state;
    photo = kept_path("photo.png");
    other = kept_path("other.png");
    query = kept_path("query.png");
    write_picture(photo, 40, 30, 1);
    write_picture(other, 40, 30, 2);
    write_picture(query, 50, 20, 3);
    return 0;
}

/* A disc of one value on another. */
static const char *write_mask(const char *name, int ground, int disc)
{
    ts_image img;
    const char *path = kept_path(name);
    assert_true(ts_image_new(40, 30, &img, NULL));
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++)
            memset(img.data + (y * 40 + x) * 3, (x - 20) * (x - 20) + (y - 15) * (y - 15) < 80 ? disc : ground, 3);
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
    return path;
}

/* A picture of as many colours as a photograph has. */
static const char *write_noise(const char *name, uint64_t seed)
{
    ts_image img;
    const char *path = kept_path(name);
    assert_true(ts_image_new(40, 30, &img, NULL));
    for (int i = 0; i < 40 * 30 * 3; i++) img.data[i] = (uint8_t)(ts_splitmix(&seed) >> 56);
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
    return path;
}

static program_result run_pair(const char *in, const char *out, const char *asked, const char *answer, const char *canvas)
{
    program_result r = program_run("run", "--device", "cpu", "--model", random_model(), "-e", in, out, "-q", asked, "-o", answer,
                                   canvas ? "--canvas" : NULL, canvas, NULL);
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    return r;
}

/* ---- what examples look like --------------------------------------------------------------------------------------- */

/* The cell of the example's output, at the middle of the disc and in its corner. */
static void assert_cell(const char *canvas, int middle, int corner)
{
    ts_image img;
    assert_true(ts_image_load(canvas, &img, NULL));
    const uint8_t *cell = img.data + (size_t)(CELL + 2) * 3;
    assert_int_equal(cell[(CELL / 2 * CANVAS + CELL / 2) * 3], middle);
    assert_int_equal(cell[0], corner);
    ts_image_clear(&img);
}

static void stretches_masks(void **state)
{
    (void)state;
    const char *answer = temp_path("stretched.png"), *canvas = temp_path("stretched.canvas.png");
    static const struct {
        int ground, disc, most;
    } masks[] = {{0, 1, 1}, {1, 0, 1}, {3, 12, 12}};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char says[64];
        program_result r = run_pair(photo,
                                    write_mask(i == 0   ? "m0.png"
                                               : i == 1 ? "m1.png"
                                                        : "m2.png",
                                               masks[i].ground, masks[i].disc),
                                    query, answer, canvas);
        snprintf(says, sizeof says, "values from 0 to %d,", masks[i].most);
        if (!strstr(r.err, says)) fail_msg("\"%s\" does not say \"%s\"", r.err, says);
        assert_cell(canvas, masks[i].disc * 255 / masks[i].most, masks[i].ground * 255 / masks[i].most);
        program_free(&r);
    }
}

/* Nor is a mask of full contrast touched, nor one of no object, nor a dark picture that is none. */
static void leaves_others(void **state)
{
    (void)state;
    const char *answer = temp_path("left.png"), *canvas = temp_path("left.canvas.png");
    program_result r = run_pair(photo, write_mask("full.png", 0, 255), query, answer, canvas);
    assert_null(strstr(r.err, "stretched"));
    assert_cell(canvas, 255, 0);
    program_free(&r);
    r = run_pair(photo, write_mask("none.png", 0, 0), query, answer, canvas);
    assert_null(strstr(r.err, "stretched"));
    program_free(&r);
    ts_image dark;
    assert_true(ts_image_new(40, 30, &dark, NULL));
    for (int i = 0; i < 40 * 30; i++) memset(dark.data + i * 3, i * 7 % 11, 3);
    assert_true(ts_image_save(kept_path("dark.png"), &dark, NULL));
    ts_image_clear(&dark);
    r = run_pair(photo, kept_path("dark.png"), query, answer, NULL);
    assert_null(strstr(r.err, "stretched"));
    program_free(&r);
}

/* Of several examples one number is the largest for all; a mask without an object goes with the others. */
static void stretches_alike(void **state)
{
    (void)state;
    const char *answer = temp_path("alike.png"), *canvas = temp_path("alike.canvas.png");
    program_result r = program_run("run", "--device", "cpu", "--model", random_model(), "--per-canvas", "1", "-e", photo,
                                   write_mask("two.png", 0, 2), "-e", other, write_mask("four.png", 0, 4), "-e", other,
                                   write_mask("empty.png", 0, 0), "-q", query, "-o", answer, "--canvas", canvas, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "values from 0 to 4,"));
    assert_cell(canvas, 127, 0);
    assert_cell(temp_path("alike.canvas-2.png"), 255, 0);
    assert_cell(temp_path("alike.canvas-3.png"), 0, 0);
    program_free(&r);
}

static void tells_of_swapped(void **state)
{
    (void)state;
    const char *mask = write_mask("swapped.png", 0, 255), *noise = write_noise("noise.png", 5),
               *answer = temp_path("swapped.a.png");
    program_result r = run_pair(mask, noise, noise, answer, NULL);
    assert_non_null(strstr(r.err, "swapped"));
    program_free(&r);
    r = run_pair(noise, mask, noise, answer, NULL);
    assert_null(strstr(r.err, "swapped"));
    program_free(&r);
    r = run_pair(mask, noise, mask, answer, NULL); /* photographs from masks, as asked for */
    assert_null(strstr(r.err, "swapped"));
    program_free(&r);
}

/* ---- canvases ------------------------------------------------------------------------------------------------------- */

static void keeps_every_canvas(void **state)
{
    (void)state;
    const char *answer = temp_path("all.png"), *canvas = temp_path("all.canvas.png");
    program_result r = program_run("run", "--device", "cpu", "--model", random_model(), "--per-canvas", "1", "-e", photo, other,
                                   "-e", other, photo, "-q", query, "-o", answer, "--canvas", canvas, "--cell", "--json", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *list = cJSON_Parse(r.out);
    const cJSON *files = cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "canvas_files");
    assert_int_equal(cJSON_GetArraySize(files), 2);
    assert_string_equal(cJSON_GetArrayItem(files, 0)->valuestring, canvas);
    assert_string_equal(cJSON_GetArrayItem(files, 1)->valuestring, temp_path("all.canvas-2.png"));
    ts_image first, second, cell;
    assert_true(ts_image_load(canvas, &first, NULL) && ts_image_load(temp_path("all.canvas-2.png"), &second, NULL) &&
                ts_image_load(answer, &cell, NULL));
    assert_memory_not_equal(first.data, second.data, CELL * 3); /* another example */
    for (int y = 0; y < CELL; y++)
        for (int i = 0; i < 2; i++)
            assert_memory_equal((i ? second : first).data + ((size_t)(CANVAS - CELL + y) * CANVAS + CANVAS - CELL) * 3,
                                cell.data + (size_t)y * CELL * 3, CELL * 3);
    ts_image_clear(&first);
    ts_image_clear(&second);
    ts_image_clear(&cell);
    cJSON_Delete(list);
    program_free(&r);
}

/* Their names are outputs as the others are: over none of the inputs, and each but once. */
static void names_of_canvases(void **state)
{
    (void)state;
    const char *taken = kept_path("taken-2.png"), *answer = temp_path("answer.png");
    write_picture(taken, 20, 20, 4);
    assert_refused(program_run("run", "--device", "cpu", "--model", random_model(), "--per-canvas", "1", "-e", photo, other, "-e",
                               other, photo, "-q", taken, "-o", answer, "--canvas", kept_path("taken.png"), NULL),
                   1, "overwrite");
    assert_refused(program_run("run", "--device", "cpu", "--model", random_model(), "--per-canvas", "1", "-e", photo, other, "-e",
                               other, photo, "-q", query, "-o", temp_path("x-2.png"), "--canvas", temp_path("x.png"), NULL),
                   1, "written twice");
    assert_false(file_exists(answer));
}

/* ---- standard input and output -------------------------------------------------------------------------------------- */

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return system(line);
}

static void standard_streams(void **state)
{
    (void)state;
    const char *file = temp_path("file.png"), *stream = temp_path("stream.png"), *said = temp_path("said.txt");
    program_result r = run_pair(photo, other, query, file, NULL);
    program_free(&r);
    assert_int_equal(shell("cat %s | %s run --device cpu --model %s -e %s %s -q - -o - --quiet 2>%s | cat >%s", query, TS_PROGRAM,
                           random_model(), photo, other, said, stream),
                     0);
    assert_true(same_bytes(file, stream));
    assert_int_equal(shell("%s run --device cpu --model %s -e %s - -q %s -o %s --quiet <%s", TS_PROGRAM, random_model(), photo,
                           query, temp_path("example.png"), other),
                     0);
    assert_true(same_bytes(file, temp_path("example.png")));
    assert_int_equal(shell("%s sheet -o %s %s %s", TS_PROGRAM, file, photo, other), 0);
    assert_int_equal(shell("%s sheet -o - %s - <%s >%s", TS_PROGRAM, photo, other, stream), 0);
    assert_true(same_bytes(file, stream));
    assert_int_not_equal(shell("%s sheet -o - %s >/dev/full 2>/dev/null", TS_PROGRAM, photo), 0);
    /* Several queries, of which one is standard input, into a folder. */
    assert_int_equal(shell("%s run --device cpu --model %s -e %s %s -q - %s -o %s --quiet <%s >/dev/null", TS_PROGRAM,
                           random_model(), photo, other, query, temp_path("folder"), query),
                     0);
    assert_true(same_bytes(temp_path("folder/stdin.png"), temp_path("folder/query.png")));
}

static void refuses_streams(void **state)
{
    (void)state;
    const char *const start[] = {"run", "--model", random_model(), "-e", photo, other};
    static const struct {
        const char *args[8];
        const char *says;
    } wrong[] = {{{"-q", "-", "-q", "-", "-o", "x.png"}, "more than once"},
                 {{"-q", "@", "@", "-o", "-"}, "takes one picture, but there are 2 queries"},
                 {{"-q", "@", "-o", "-", "--json"}, "standard output"},
                 {{"-q", "@", "-o", "x.png", "--canvas", "-"}, "--canvas -"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *args[16];
        int n = 6;
        memcpy(args, start, sizeof start);
        for (int k = 0; k < 8 && wrong[i].args[k]; k++) args[n++] = wrong[i].args[k][0] == '@' ? query : wrong[i].args[k];
        assert_refused(program_run_list(args, n), 2, wrong[i].says);
    }
    assert_refused(program_run("sheet", "-o", temp_path("s.png"), "-", "-", NULL), 2, "more than once");
}

/* An example is two pictures: an option in place of the second is told, and not taken for a file. */
static void half_an_example(void **state)
{
    (void)state;
    assert_refused(program_run("run", "-e", photo, "-q", query, "-o", temp_path("half.png"), NULL), 2,
                   "--example wants IN OUT after it, and -q is an option");
    assert_refused(program_run("run", "-q", query, "-e", photo, NULL), 2, "--example wants IN OUT after it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stretches_masks),  cmocka_unit_test(leaves_others),      cmocka_unit_test(stretches_alike),
        cmocka_unit_test(tells_of_swapped), cmocka_unit_test(keeps_every_canvas), cmocka_unit_test(names_of_canvases),
        cmocka_unit_test(standard_streams), cmocka_unit_test(refuses_streams),    cmocka_unit_test(half_an_example),
    };
    return cmocka_run_group_tests_name("run: pictures", tests, make_pictures, NULL);
}
