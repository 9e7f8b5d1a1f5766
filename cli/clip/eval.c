/* eval.c - `tessera clip eval`: how well prompts tell a data set's test pictures, beside the zero-shot classifier: of all
 * classes, or of the base and new halves and their harmonic mean (CoCoOp, arXiv 2203.05557). Several prompts, of several seeds or
 * methods, are measured on the same features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/measure.h"

enum { PARTS = 2, VECTORS_SHOWN = 64, LABEL_WIDTH = 28 };

static const char name[] = "clip eval";

typedef struct {
    ts_clip_use use;
    ts_words prompts, template;
    const char *data, *root, *templates_file, *picture;
    int half, workers, words;
    bool brief;
    /* the work */
    ts_clip_data all;
    ts_weights **file; /* (prompts) */
    char **lines;
    int line_count, template_count;
    const char **templates;
    ts_measure_set set[PARTS];
    int parts;
    ts_measured *measured[PARTS]; /* (1 + prompts): the zero-shot classifier first */
} eval;

/* ---- options ----------------------------------------------------------------------------------------------------- */

enum { HALF_ALL, HALF_BASE, HALF_NEW, HALF_BOTH };

static int parse(eval *e, int argc, char **argv)
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &e->use.model, 0, 0, TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &e->use.vocab, 0, 0, TS_CLIP_VOCAB_HELP},
        TS_CLIP_TOLD_OPTIONS(&e->use.told),
        {'p', "prompt", "FILE", TS_OPT_WORDS, &e->prompts, 0, 0,
         "a prompt of tessera clip tune, or CoOp's or CoCoOp's model.pth.tar-N; repeated"},
        {'d', "data", "PATH", TS_OPT_TEXT, &e->data, 0, 0,
         "a folder with a folder a class, or with train/ and test/ of such folders, or a split_*.json as CoOp's"},
        {0, "root", "DIR", TS_OPT_TEXT, &e->root, 0, 0, "folder of the pictures that a split_*.json names; its own"},
        {0, "half", "all|base|new|both", TS_OPT_CHOICE, &e->half, 0, 0,
         "of the classes: all, the first half, the rest, or both halves apart and their harmonic mean; all"},
        {'t', "template", "TEXT", TS_OPT_WORDS, &e->template, 0, 0,
         "of the zero-shot classifier, repeated, they are averaged; \"a photo of a {}.\""},
        {0, "templates", "FILE", TS_OPT_TEXT, &e->templates_file, 0, 0, "templates, one a line"},
        {0, "brief", NULL, TS_OPT_FLAG, &e->brief, 0, 0, "no table of the classes"},
        {0, "words", "N", TS_OPT_INT, &e->words, 1, 100, "show the N words nearest to each vector that a prompt learned"},
        {0, "picture", "FILE", TS_OPT_TEXT, &e->picture, 0, 0, "write what one prompt of pixels adds as a picture"},
        {0, "workers", "N", TS_OPT_INT, &e->workers, 1, 256, "threads that read pictures; half the cores"},
        {0, "strict", NULL, TS_OPT_FLAG, &e->use.left_out.strict, 0, 0, TS_STRICT_HELP},
        {0, "cut", NULL, TS_OPT_FLAG, &e->use.cut, 0, 0, "cut class names that are too long for the model"},
    };
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "--model FILE --data PATH [--prompt FILE ...] [options]",
                      .summary = "measures prompts, and the zero-shot classifier beside them, on a data set's test pictures",
                      .example =
                          "  tessera clip eval --model ViT-B-16.pt --data flowers/ --prompt flowers-coop/prompt.safetensors\n"
                          "  tessera clip eval --model ViT-B-16.pt --data split_zhou_DTD.json --root dtd/images --half both \\\n"
                          "      -p dtd/seed-1/prompt.safetensors -p dtd/seed-2/prompt.safetensors --json\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .common = &e->use.common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_JSON},
        argc, argv);
}

static int check_usage(const eval *e)
{
    if (!e->use.model) return ts_usage_error(name, "--model FILE is missing: a CLIP");
    if (!e->data) return ts_usage_error(name, "--data PATH is missing: pictures in a folder a class, or a split_*.json");
    if (e->picture && (!ts_image_writable(e->picture) || e->prompts.count != 1))
        return ts_usage_error(name, "--picture %s: wanted one picture (%s), of one prompt", e->picture, ts_image_endings());
    return -1;
}

/* ---- the work ---------------------------------------------------------------------------------------------------- */

static bool add_template(eval *e, const char *text, ts_error *err)
{
    if (!strstr(text, "{}")) return ts_fail(err, TS_ERR_ARGUMENT, "template \"%s\" has no {} where the class's name goes", text);
    const char **grown = realloc(e->templates, (size_t)(e->template_count + 1) * sizeof *grown);
    if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the templates");
    grown[e->template_count++] = text;
    e->templates = grown;
    return true;
}

static bool list_templates(eval *e, ts_error *err)
{
    if (e->templates_file && (e->line_count = ts_text_lines(e->templates_file, &e->lines, err)) < 0) return false;
    for (int i = 0; i < e->template.count; i++)
        if (!add_template(e, e->template.items[i], err)) return false;
    for (int i = 0; i < e->line_count; i++)
        if (!add_template(e, e->lines[i], err)) return false;
    return true;
}

static bool open_prompts(eval *e, ts_error *err)
{
    e->file = calloc((size_t)e->prompts.count + 1, sizeof *e->file);
    if (!e->file) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < e->prompts.count; i++)
        if (!ts_check_readable(e->prompts.items[i], "prompt", err) || !(e->file[i] = ts_weights_open(e->prompts.items[i], err)))
            return false;
    return true;
}

static bool measure_part(eval *e, ts_clip_half half, ts_error *err)
{
    const int part = e->parts;
    ts_measure_set *set = &e->set[part];
    if (!ts_measure_open(&e->all, half, set, err)) return false;
    e->parts++;
    ts_measured *m = e->measured[part] = calloc((size_t)e->prompts.count + 1, sizeof *m);
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    /* The prompts first: one that does not fit is told before the long work. */
    for (int i = 0; i < e->prompts.count; i++)
        if (!ts_measure_prompt(&e->use, set, e->workers, e->file[i], &m[i + 1], err)) return false;
    return ts_measure_zero_shot(&e->use, set, e->workers, e->templates, e->template_count, &m[0], err);
}

static bool measure(eval *e, ts_error *err)
{
    if (e->all.classes == 1)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "%s has one class, \"%.200s\", and every picture would be right: a folder for each of two or more is wanted", e->data,
            e->all.name[0]);
    if (e->half == HALF_ALL) return measure_part(e, TS_CLIP_ALL, err);
    return (e->half == HALF_NEW || measure_part(e, TS_CLIP_BASE, err)) &&
           (e->half == HALF_BASE || measure_part(e, TS_CLIP_NEW, err));
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* Accuracy of row `row` (0: zero-shot) on a part. */
static double accuracy(const eval *e, int part, int row)
{
    return e->measured[part][row].accuracy;
}

/* The end of a path that is too long for a column. */
static void print_label(const char *label)
{
    char text[4096];
    ts_printable(label, text, sizeof text);
    const int width = ts_text_width(text);
    const size_t length = strlen(text), most = LABEL_WIDTH - 3;
    if (width <= LABEL_WIDTH) {
        printf("%s%*s", text, LABEL_WIDTH - width, "");
        return;
    }
    const char *end = text + (length > most ? length - most : 0);
    while ((*end & 0xc0) == 0x80) end++; /* not from the middle of a character */
    printf("...%s%*s", end, (int)most - ts_text_width(end), "");
}

static void print_numbers(const eval *e, const char *label, const double *values, bool harmonic)
{
    print_label(label);
    for (int part = 0; part < e->parts; part++) printf("  %6.2f", 100 * values[part]);
    if (e->parts == 2 && harmonic) printf("  %6.2f", 100 * ts_harmonic_mean(values[0], values[1]));
    printf("\n");
}

/* Mean over the prompts, and their deviation. */
static void mean_of_prompts(const eval *e, double mean[PARTS], double deviation[PARTS])
{
    for (int part = 0; part < e->parts; part++) {
        ts_running_mean m = {0};
        for (int i = 1; i <= e->prompts.count; i++) ts_running_mean_add(&m, accuracy(e, part, i));
        mean[part] = m.mean;
        deviation[part] = ts_running_mean_deviation(&m);
    }
}

static void print_summary(const eval *e)
{
    print_label("accuracy, %");
    for (int part = 0; part < e->parts; part++) printf("  %6s", e->set[part].label);
    printf("%s\n", e->parts == 2 ? "       H" : "");
    for (int row = 0; row <= e->prompts.count; row++) {
        double values[PARTS];
        for (int part = 0; part < e->parts; part++) values[part] = accuracy(e, part, row);
        print_numbers(e, row ? e->prompts.items[row - 1] : "zero-shot", values, true);
    }
    if (e->prompts.count < 2) return;
    double mean[PARTS], deviation[PARTS];
    mean_of_prompts(e, mean, deviation);
    print_numbers(e, "mean of the prompts", mean, true);
    print_numbers(e, "deviation", deviation, false);
}

/* Share of a class's pictures that the prompts get right, on the mean. */
static double class_share(const eval *e, int part, int class)
{
    double sum = 0;
    for (int i = 1; i <= e->prompts.count; i++) sum += (double)e->measured[part][i].right[class];
    return sum / e->prompts.count / (double)e->set[part].total[class];
}

static void print_classes(const eval *e, int part)
{
    const ts_measure_set *set = &e->set[part];
    printf("\n");
    print_label(e->parts == 2 ? set->label : "class");
    printf("  pictures  zero-shot%s\n", e->prompts.count ? "  prompts" : "");
    for (int k = 0; k < set->data.classes; k++) {
        if (set->total[k] == 0) continue;
        print_label(set->data.name[k]);
        printf("  %8lld  %9.2f", (long long)set->total[k], 100 * (double)e->measured[part][0].right[k] / (double)set->total[k]);
        if (e->prompts.count) printf("  %7.2f", 100 * class_share(e, part, k));
        printf("\n");
    }
    print_label("mean over the classes");
    double sum = 0;
    for (int i = 1; i <= e->prompts.count; i++) sum += e->measured[part][i].mean_by_class;
    printf("  %8lld  %9.2f", (long long)set->data.test.count, 100 * e->measured[part][0].mean_by_class);
    if (e->prompts.count) printf("  %7.2f", 100 * sum / e->prompts.count);
    printf("\n");
}

static ts_clip_prompt *open_prompt(eval *e, int i, ts_error *err)
{
    const ts_clip_data *d = &e->set[0].data;
    return ts_clip_prompt_open(e->use.clip, e->use.tokenizer, e->file[i], (const char *const *)d->name, d->classes, e->use.cut,
                               err);
}

static bool show_prompts(eval *e, ts_error *err)
{
    for (int i = 0; i < e->prompts.count; i++) {
        ts_clip_prompt *p = open_prompt(e, i, err);
        if (p && e->words) {
            putchar('\n');
            ts_put_text(stdout, e->prompts.items[i]);
            fputs(", ", stdout);
        }
        const bool ok = p && (!e->words || ts_print_prompt_words(p, e->use.tokenizer, e->words, VECTORS_SHOWN, err));
        ts_clip_prompt_free(p);
        if (!ok) return false;
    }
    return true;
}

static bool save_picture(eval *e, ts_error *err)
{
    ts_clip_prompt *p = open_prompt(e, 0, err);
    const bool ok = p && ts_save_prompt_picture(p, e->picture, err);
    ts_clip_prompt_free(p);
    return ok;
}

static bool print_table(eval *e, ts_error *err)
{
    print_summary(e);
    for (int part = 0; part < e->parts && !e->brief; part++) print_classes(e, part);
    return (!e->words || show_prompts(e, err)) && ts_flush_output(err);
}

/* ---- the report -------------------------------------------------------------------------------------------------- */

static bool add_part(const eval *e, int part, int row, cJSON *to)
{
    const ts_measure_set *set = &e->set[part];
    const ts_measured *m = &e->measured[part][row];
    cJSON *o = cJSON_AddObjectToObject(to, set->label), *classes = NULL;
    bool ok = o && cJSON_AddNumberToObject(o, "accuracy", m->accuracy) &&
              cJSON_AddNumberToObject(o, "mean_by_class", m->mean_by_class) && (classes = cJSON_AddArrayToObject(o, "classes"));
    for (int k = 0; ok && k < set->data.classes; k++) {
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(classes, one) && cJSON_AddStringToObject(one, "class", set->data.name[k]) &&
             cJSON_AddNumberToObject(one, "pictures", (double)set->total[k]) &&
             cJSON_AddNumberToObject(one, "right", (double)m->right[k]);
    }
    return ok;
}

static bool add_harmonic(const eval *e, const double *values, cJSON *to)
{
    return e->parts < 2 || cJSON_AddNumberToObject(to, "harmonic_mean", ts_harmonic_mean(values[0], values[1]));
}

static bool add_row(eval *e, int row, cJSON *to, ts_error *err)
{
    double values[PARTS];
    for (int part = 0; part < e->parts; part++) {
        values[part] = accuracy(e, part, row);
        if (!add_part(e, part, row, to)) return false;
    }
    if (!add_harmonic(e, values, to)) return false;
    if (row == 0) return true;
    ts_clip_prompt *p = open_prompt(e, row - 1, err);
    const bool ok = p && cJSON_AddStringToObject(to, "file", e->prompts.items[row - 1]) &&
                    cJSON_AddStringToObject(to, "method", ts_clip_prompt_about(p).method) &&
                    (!e->words || ts_report_prompt_words(p, e->use.tokenizer, e->words, VECTORS_SHOWN, to, err));
    ts_clip_prompt_free(p);
    return ok;
}

static bool add_mean(const eval *e, cJSON *to)
{
    double mean[PARTS], deviation[PARTS];
    cJSON *o = cJSON_AddObjectToObject(to, "mean");
    bool ok = o != NULL;
    mean_of_prompts(e, mean, deviation);
    for (int part = 0; ok && part < e->parts; part++) {
        cJSON *one = cJSON_AddObjectToObject(o, e->set[part].label);
        ok = one && cJSON_AddNumberToObject(one, "accuracy", mean[part]) &&
             cJSON_AddNumberToObject(one, "deviation", deviation[part]);
    }
    return ok && add_harmonic(e, mean, o);
}

static bool print_report(eval *e, ts_error *err)
{
    cJSON *all = cJSON_CreateObject(), *zero = NULL, *list = NULL;
    bool ok = all && cJSON_AddStringToObject(all, "model", e->use.model) && cJSON_AddStringToObject(all, "data", e->data) &&
              cJSON_AddStringToObject(all, "device", ts_device_about(e->use.dev)->name) &&
              (zero = cJSON_AddObjectToObject(all, "zero_shot")) && add_row(e, 0, zero, err) &&
              (list = cJSON_AddArrayToObject(all, "prompts"));
    for (int i = 1; ok && i <= e->prompts.count; i++) {
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(list, one) && add_row(e, i, one, err);
    }
    ok = ok && (e->prompts.count < 2 || add_mean(e, all));
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int run(eval *e)
{
    ts_error err = {0};
    e->use.left_out.quiet = e->use.common.quiet;
    if (e->workers == 0) e->workers = ts_default_workers();
    /* Parted as tune parts it: whatever the seed. */
    bool ok = list_templates(e, &err) && (!e->picture || ts_check_writable(e->picture, &err)) &&
              ts_clip_data_open(e->data, e->root, 0, &e->all, &err) && ts_clip_use_note_data(&e->use, e->data, &e->all, &err) &&
              open_prompts(e, &err) && ts_clip_use_open(&e->use, true, &err) && ts_clip_use_start(&e->use, &err) &&
              measure(e, &err) && (!e->picture || save_picture(e, &err)) &&
              (e->use.common.json ? print_report(e, &err) : print_table(e, &err));
    return ok ? ts_left_out_status(name, &e->use.left_out) : ts_report(name, &err);
}

static void eval_clear(eval *e)
{
    for (int part = 0; part < e->parts; part++) {
        for (int i = 0; e->measured[part] && i <= e->prompts.count; i++) ts_measured_clear(&e->measured[part][i]);
        free(e->measured[part]);
        ts_measure_close(&e->set[part]);
    }
    for (int i = 0; e->file && i < e->prompts.count; i++) ts_weights_free(e->file[i]);
    free(e->file);
    ts_clip_use_close(&e->use);
    ts_clip_data_clear(&e->all);
    if (e->lines) ts_text_lines_free(e->lines, e->line_count);
    free(e->templates);
    ts_words_free(&e->prompts);
    ts_words_free(&e->template);
}

int ts_clip_cmd_eval(int argc, char **argv)
{
    eval e = {0};
    int status = parse(&e, argc, argv);
    if (status < 0) status = check_usage(&e);
    if (status < 0) status = run(&e);
    eval_clear(&e);
    return status;
}
