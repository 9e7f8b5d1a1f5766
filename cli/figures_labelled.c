/* figures_labelled.c - `tessera figures --captions` and `--classes`: pictures with sentences to train a CLIP on, and labelled
 * ones to tune its prompts on. Picture N of a seed is the same whatever the number asked for. */
#include "cli/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grid/grid.h"

static bool make_below(const char *folder, const char *name, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = ts_make_folder(path, err);
    free(path);
    return ok;
}

/* ---- captions ----------------------------------------------------------------------------------------------------- */

static bool draw_caption(const ts_labelled *l, int at, FILE *list, ts_error *err)
{
    ts_image img;
    char text[TS_CAPTION_ROOM], file[32], *path = NULL;
    if (!ts_caption_draw(l->size, ts_figure_seed(l->common->seed, (uint64_t)at), &img, text, err)) return false;
    snprintf(file, sizeof file, "pictures/%06d.png", at);
    bool ok = asprintf(&path, "%s/%s", l->folder, file) >= 0 || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_image_save(path, &img, err);
    /* Neither needs a character escaped. */
    if (ok && fprintf(list, "{\"file\": \"%s\", \"text\": \"%s\"}\n", file, text) < 0)
        ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_image_clear(&img);
    free(path);
    return ok;
}

static bool report_captions(const ts_labelled *l, const char *list, ts_error *err)
{
    if (l->common->json) {
        cJSON *all = cJSON_CreateObject();
        bool ok = all && cJSON_AddStringToObject(all, "list", list) && cJSON_AddNumberToObject(all, "pictures", l->count);
        if (!ok) {
            cJSON_Delete(all);
            all = NULL;
        }
        return ts_print_json(all, err);
    }
    printf("%d scenes of %d x %d with their sentences in ", l->count, l->size, l->size);
    ts_put_line(list);
    return ts_flush_output(err);
}

bool ts_draw_captions(const ts_labelled *l, ts_error *err)
{
    char *path = NULL, *text = NULL;
    size_t size = 0;
    if (!ts_check_folder(l->folder, err) || !ts_make_folder(l->folder, err) || !make_below(l->folder, "pictures", err))
        return false;
    FILE *list = open_memstream(&text, &size);
    bool ok = (list && asprintf(&path, "%s/captions.jsonl", l->folder) >= 0) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_progress progress;
    ts_progress_begin(&progress, "drawing", l->count, l->common->quiet);
    for (int i = 0; ok && i < l->count; i++) {
        ok = draw_caption(l, i, list, err);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    if (list && fclose(list) != 0 && ok) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_file_write(path, text, size, err) && report_captions(l, path, err);
    free(text);
    free(path);
    return ok;
}

/* ---- classes ------------------------------------------------------------------------------------------------------ */

/* "red_circle": a shell's friend, and read back as "red circle". */
static const char *folder_of(int number, char out[32])
{
    snprintf(out, 32, "%s", ts_figure_class_name(number));
    for (char *c = out; *c; c++)
        if (*c == ' ') *c = '_';
    return out;
}

/* Training takes the even numbers of a class and the test the odd ones: no picture is in both. */
static bool draw_class(const ts_labelled *l, const char *part, int number, int at, ts_error *err)
{
    ts_image img;
    char name[32], *path = NULL;
    uint64_t page = 2 * (uint64_t)at + (strcmp(part, "test") == 0);
    if (!ts_figure_class_draw(number, l->size, (float)l->shift, ts_figure_seed(l->common->seed, page), &img, err)) return false;
    bool ok = asprintf(&path, "%s/%s/%s/%05d.png", l->folder, part, folder_of(number, name), at) >= 0 ||
              ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_image_save(path, &img, err);
    ts_image_clear(&img);
    free(path);
    return ok;
}

static bool draw_part(const ts_labelled *l, const char *part, int count, ts_progress *progress, ts_error *err)
{
    char name[32], folder[64];
    bool ok = make_below(l->folder, part, err);
    for (int number = 0; ok && number < TS_FIGURE_CLASSES; number++) {
        snprintf(folder, sizeof folder, "%s/%s", part, folder_of(number, name));
        ok = make_below(l->folder, folder, err);
        for (int i = 0; ok && i < count; i++) {
            ok = draw_class(l, part, number, i, err);
            ts_progress_step(progress, progress->done + 1);
        }
    }
    return ok;
}

static bool report_classes(const ts_labelled *l, ts_error *err)
{
    if (!l->common->json) {
        printf("%d classes of %d pictures to train and %d to test, %d x %d, in ", TS_FIGURE_CLASSES, l->count, l->tests, l->size,
               l->size);
        ts_put_line(l->folder);
        return ts_flush_output(err);
    }
    cJSON *all = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(all, "classes");
    bool ok = cJSON_AddNumberToObject(all, "train", l->count) && cJSON_AddNumberToObject(all, "test", l->tests);
    for (int i = 0; ok && i < TS_FIGURE_CLASSES; i++) {
        cJSON *name = cJSON_CreateString(ts_figure_class_name(i));
        ok = name && cJSON_AddItemToArray(names, name);
        if (!ok) cJSON_Delete(name);
    }
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

/* Pictures of an earlier run would stay among the new ones. */
static bool check_absent(const char *folder, const char *name, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool there = ts_is_folder(path);
    if (there) ts_fail(err, TS_ERR_IO, "folder %s is there already: name another folder, or remove it", path);
    free(path);
    return !there;
}

bool ts_draw_classes(const ts_labelled *l, ts_error *err)
{
    if (!ts_check_folder(l->folder, err) || !check_absent(l->folder, "train", err) || !check_absent(l->folder, "test", err) ||
        !ts_make_folder(l->folder, err))
        return false;
    ts_progress progress;
    ts_progress_begin(&progress, "drawing", (int64_t)TS_FIGURE_CLASSES * (l->count + l->tests), l->common->quiet);
    bool ok = draw_part(l, "train", l->count, &progress, err) && draw_part(l, "test", l->tests, &progress, err);
    ts_progress_end(&progress);
    return ok && report_classes(l, err);
}
