/* figures.c - `tessera figures`: procedural figure pages as pictures in a folder, to look at or to train on. Page N of a seed is
 * the same picture whatever the number of pages asked for. Pictures with words are drawn by figures_labelled.c, single pairs by
 * figures_pairs.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/figures.h"
#include "grid/grid.h"

static const char name[] = "figures";

typedef struct {
    ts_common common;
    const char *out, *examples, *tasks, *classes, *captions, *pairs;
    int count, size, patch, tests;
    double free_share, shift;
    bool list, held_out;
    ts_figure_desc desc;
    int drawn[TS_FIGURE_TASKS];
} figures;

static int parse(figures *f, int argc, char **argv)
{
    const ts_option options[] = {
        {'o', "out", "DIR", TS_OPT_TEXT, &f->out, 0, 0, "the folder for the pages, page-000000.png and on; made where absent"},
        {'n', "count", "N", TS_OPT_INT, &f->count, 1, 100000000,
         "pages; 100 (scenes: 1000; pictures to train on of each class: 32; pairs: 100)"},
        {0, "size", "PX", TS_OPT_INT, &f->size, 16, 4096, "pixels a side; 224 (scenes and classes: 64; pairs: 111)"},
        {0, "patch", "PX", TS_OPT_INT, &f->patch, 1, 1024, "side of a patch of the model they are for: it divides the size; 16"},
        {0, "examples", "N[..M]", TS_OPT_TEXT, &f->examples, 0, 0, "example pairs on a page, 1 to 3; 1..3"},
        {0, "tasks", "A,B,...", TS_OPT_TEXT, &f->tasks, 0, 0, "only these tasks, each as often; all, as training takes them"},
        {0, "free", "SHARE", TS_OPT_REAL, &f->free_share, 0, 1, "of pages in other layouts than the published ones; 0.25"},
        {0, "plain", NULL, TS_OPT_FLAG, &f->desc.plain, 0, 0, "one object on a flat ground, in all tasks that can have it"},
        {0, "held-out", NULL, TS_OPT_FLAG, &f->held_out, 0, 0,
         "scenes of the shapes, colours and sizes that training never draws"},
        {0, "list", NULL, TS_OPT_FLAG, &f->list, 0, 0, "tell the tasks, and draw nothing"},
        {0, "captions", "DIR", TS_OPT_TEXT, &f->captions, 0, 0,
         "instead of pages: scenes, each with a sentence in captions.jsonl, to train a CLIP on"},
        {0, "classes", "DIR", TS_OPT_TEXT, &f->classes, 0, 0,
         "instead of pages: twelve classes, a folder each in train/ and test/, to tune its prompts on"},
        {0, "pairs", "DIR", TS_OPT_TEXT, &f->pairs, 0, 0,
         "instead of pages: pairs of the task that --tasks names, NAME.png and NAME_target.png; of several, a folder each"},
        {0, "tests", "N", TS_OPT_INT, &f->tests, 1, 1000000, "pictures to test on of each class; 50"},
        {0, "shift", "SHARE", TS_OPT_REAL, &f->shift, 0, 1, "how far the classes are drawn from how the scenes are; 0.5"},
    };
    return ts_options_parse(&(ts_command){.name = name,
                                          .usage = "--out|--captions|--classes|--pairs DIR [options]",
                                          .summary = "draws pages of example pairs and a query, as figures in papers have them",
                                          .example = "  tessera figures --out pages --count 50 --seed 1\n"
                                                     "  tessera figures --out pages --tasks segment,outline --examples 2\n"
                                                     "  tessera figures --captions scenes --count 20000\n"
                                                     "  tessera figures --classes twelve --count 16 --shift 0.5\n"
                                                     "  tessera figures --pairs segment --tasks segment --count 400 --seed 2\n",
                                          .options = options,
                                          .count = sizeof options / sizeof *options,
                                          .common = &f->common,
                                          .takes = TS_TAKES_SEED | TS_TAKES_JSON},
                            argc, argv);
}

/* "2" or "1..3". -1, or the exit status. */
static int parse_examples(figures *f)
{
    const char *text = f->examples;
    if (!text || ts_grid_examples_read(text, 3, &f->desc.least, &f->desc.most)) return -1;
    return ts_usage_error(name, "--examples %s is not a number from 1 to 3 or a range such as 1..3", text);
}

static int parse_tasks(figures *f)
{
    for (const char *at = f->tasks; at;) {
        size_t length = strcspn(at, ",");
        char word[32];
        ts_figure_task task;
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), at);
        if (!ts_figure_task_find(word, &task))
            return ts_usage_error(name, "--tasks: there is no task %.*s: tessera figures --list tells them", (int)length, at);
        f->desc.weight[task] = 1;
        at = at[length] ? at + length + 1 : NULL;
    }
    return -1;
}

static bool list_tasks(const figures *f, ts_error *err)
{
    if (!f->common.json) {
        for (int i = 0; i < TS_FIGURE_TASKS; i++)
            printf("%-13s %s\n", ts_figure_task_name((ts_figure_task)i), ts_figure_task_about((ts_figure_task)i));
        return ts_flush_output(err);
    }
    cJSON *all = cJSON_CreateObject(), *tasks = cJSON_AddObjectToObject(all, "tasks");
    bool ok = tasks != NULL;
    for (int i = 0; ok && i < TS_FIGURE_TASKS; i++)
        ok = cJSON_AddStringToObject(tasks, ts_figure_task_name((ts_figure_task)i), ts_figure_task_about((ts_figure_task)i));
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

static bool add_cell(cJSON *page, const char *key, const ts_cell *c)
{
    cJSON *box = cJSON_CreateIntArray((const int[]){c->x, c->y, c->width, c->height}, 4);
    if (box && cJSON_AddItemToObject(page, key, box)) return true;
    cJSON_Delete(box);
    return false;
}

static bool add_page(cJSON *pages, const char *file, const ts_figure *figure)
{
    cJSON *page = cJSON_CreateObject();
    bool ok = page && cJSON_AddStringToObject(page, "file", file) &&
              cJSON_AddStringToObject(page, "task", ts_figure_task_name(figure->task)) &&
              cJSON_AddNumberToObject(page, "examples", figure->grid.desc.examples) &&
              add_cell(page, "query", &figure->grid.query) && add_cell(page, "hole", &figure->grid.hole);
    if (ok && cJSON_AddItemToArray(pages, page)) return true;
    cJSON_Delete(page);
    return false;
}

static bool draw_page(figures *f, int at, cJSON *pages, ts_error *err)
{
    ts_figure figure;
    char file[32], *path = NULL;
    snprintf(file, sizeof file, "page-%06d.png", at);
    if (!ts_figure_draw(&f->desc, ts_figure_seed(f->common.seed, (uint64_t)at), &figure, err)) return false;
    f->drawn[figure.task]++;
    bool ok = asprintf(&path, "%s/%s", f->out, file) >= 0 || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_image_save(path, &figure.canvas, err);
    if (ok && pages && !add_page(pages, file, &figure)) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
    free(path);
    ts_image_clear(&figure.canvas);
    return ok;
}

static bool report(const figures *f, cJSON *all, ts_error *err)
{
    if (f->common.json) return ts_print_json(all, err);
    printf("%d pages of %d x %d in ", f->count, f->desc.canvas, f->desc.canvas);
    ts_put_line(f->out);
    for (int i = 0; i < TS_FIGURE_TASKS; i++)
        if (f->drawn[i] > 0) printf("  %-13s %d\n", ts_figure_task_name((ts_figure_task)i), f->drawn[i]);
    return ts_flush_output(err);
}

static bool draw(figures *f, ts_error *err)
{
    if (!ts_check_folder(f->out, err)) return false;
    cJSON *all = f->common.json ? cJSON_CreateObject() : NULL, *pages = all ? cJSON_AddArrayToObject(all, "pages") : NULL;
    bool ok = !f->common.json || pages || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
    ok = ok && ts_make_folder(f->out, err);
    ts_progress progress;
    ts_progress_begin(&progress, "drawing", f->count, f->common.quiet);
    for (int i = 0; ok && i < f->count; i++) {
        ok = draw_page(f, i, pages, err);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    if (ok) return report(f, all, err);
    cJSON_Delete(all);
    return false;
}

static bool draw_labelled(const figures *f, ts_error *err)
{
    ts_labelled l = {.common = &f->common,
                     .count = f->count,
                     .tests = f->tests,
                     .size = f->size,
                     .shift = f->shift,
                     .plain = f->desc.plain,
                     .held_out = f->held_out};
    for (int i = 0; i < TS_FIGURE_TASKS; i++) l.task[i] = f->desc.weight[i] > 0;
    const int count = f->pairs ? 100 : f->classes ? 32 : 1000, size = f->pairs ? 111 : 64;
    if (l.count == 0) l.count = count;
    if (l.size == 0) l.size = size;
    l.folder = f->pairs ? f->pairs : f->classes ? f->classes : f->captions;
    return f->pairs ? ts_draw_pairs(&l, err) : f->classes ? ts_draw_classes(&l, err) : ts_draw_captions(&l, err);
}

int ts_cmd_figures(int argc, char **argv)
{
    figures f = {.patch = 16, .tests = 50, .free_share = 0.25, .shift = 0.5};
    ts_error err = {0};
    int status = parse(&f, argc, argv);
    if (status < 0) status = parse_examples(&f);
    if (status < 0) status = parse_tasks(&f);
    if (status >= 0) return status;
    if (f.list) return list_tasks(&f, &err) ? TS_EXIT_DONE : ts_report(name, &err);
    if (!!f.out + !!f.classes + !!f.captions + !!f.pairs > 1)
        return ts_usage_error(name, "give one of --out, --captions, --classes and --pairs");
    if (f.pairs && !f.tasks) return ts_usage_error(name, "--pairs wants --tasks: the pairs of a folder show one task");
    if (f.classes || f.captions || f.pairs) return draw_labelled(&f, &err) ? TS_EXIT_DONE : ts_report(name, &err);
    if (!f.out) return ts_usage_error(name, "a folder is missing: --out DIR");
    if (f.count == 0) f.count = 100;
    if (f.size == 0) f.size = 224;
    if (f.size % f.patch != 0) return ts_usage_error(name, "--patch %d does not divide --size %d", f.patch, f.size);
    f.desc.canvas = f.size;
    f.desc.patch = f.patch;
    f.desc.held_out = f.held_out;
    f.desc.free_share = f.free_share > 0 ? (float)f.free_share : -1; /* zero would mean the default */
    return draw(&f, &err) ? TS_EXIT_DONE : ts_report(name, &err);
}
