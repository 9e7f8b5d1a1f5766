/* classify.c - `tessera clip classify`: which of the classes named on the command line is on a picture, by CLIP's zero-shot
 * classifier (paper, section 3.1.4), where a class is the mean of what the text tower makes of its name in every template, or by
 * a prompt that was tuned. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/clip.h"

static const char name[] = "clip classify";

enum { TEXTS_A_STEP = 512 };

typedef struct {
    int class;
    double logit, probability;
} guess;

typedef struct {
    ts_clip_use use;
    ts_words rest, classes, template;
    const char *classes_file, *classes_from, *templates_file, *prompt_file;
    int top;
    /* the work */
    char **class_name;
    int class_count;
    const char **templates; /* NULL: the library's own */
    int template_count;
    char **template_lines;
    int template_line_count;
    ts_clip_prompt *prompt; /* NULL: zero-shot */
    ts_clip_pictures pictures;
    float *class_features; /* (classes, embed), unit rows */
    float *features;       /* (pictures, embed) */
    float *logits;         /* (pictures, classes) */
    guess *guesses;        /* (classes), of one picture */
    double text_ms, picture_ms;
} classify;

static int parse(classify *c, int argc, char **argv)
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &c->use.model, 0, 0, TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &c->use.vocab, 0, 0, TS_CLIP_VOCAB_HELP},
        TS_CLIP_TOLD_OPTIONS(&c->use.told),
        {'c', "classes", "LIST", TS_OPT_WORDS, &c->classes, 0, 0, "names of classes, parted by commas; repeated"},
        {0, "classes-file", "FILE", TS_OPT_TEXT, &c->classes_file, 0, 0, "names of classes, one a line"},
        {0, "classes-from", "DIR", TS_OPT_TEXT, &c->classes_from, 0, 0,
         "names of the folders in DIR, a folder of pictures for each class"},
        {'t', "template", "TEXT", TS_OPT_WORDS, &c->template, 0, 0,
         "what a class's name is put into, at {}; repeated, they are averaged; \"a photo of a {}.\""},
        {0, "templates", "FILE", TS_OPT_TEXT, &c->templates_file, 0, 0, "templates, one a line"},
        {'p', "prompt", "FILE", TS_OPT_TEXT, &c->prompt_file, 0, 0,
         "a prompt of tessera clip tune, in place of templates; its classes are those it was tuned with, unless you name others"},
        {'k', "top", "N", TS_OPT_INT, &c->top, 1, 1000000, "how many classes to show of each picture, the likeliest; 5"},
        {0, "cut", NULL, TS_OPT_FLAG, &c->use.cut, 0, 0, "cut a text that is too long for the model"},
        {0, "strict", NULL, TS_OPT_FLAG, &c->use.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "PICTURE|FOLDER ... --classes LIST|--prompt FILE --model FILE [options]",
                      .summary = "tells which of the classes that you name is on each picture, and how likely",
                      .example = "  tessera clip classify photo.jpg --model ViT-B-32.pt --classes \"cat,dog,fire engine\"\n"
                                 "  tessera clip classify photos/ --model ViT-B-32.pt --classes-file names.txt \\\n"
                                 "      --template \"a photo of a {}.\" --template \"a drawing of a {}.\" --top 1 --json\n"
                                 "  tessera clip classify photos/ --model ViT-B-32.pt --prompt flowers-coop/prompt.safetensors\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &c->rest,
                      .least = 1,
                      .most = 1 << 20,
                      .rest_name = "PICTURE",
                      .common = &c->use.common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_JSON},
        argc, argv);
}

static int check_usage(const classify *c)
{
    if (c->prompt_file && (c->template.count || c->templates_file))
        return ts_usage_error(name, "--prompt is in place of templates: name one or the other");
    if (!c->prompt_file && c->classes.count == 0 && !c->classes_file && !c->classes_from)
        return ts_usage_error(name, "classes are missing: --classes LIST, --classes-file FILE or --classes-from DIR");
    if (!c->use.model) return ts_usage_error(name, "--model FILE is missing: a CLIP");
    return -1;
}

/* ---- classes and templates -------------------------------------------------------------------------------------- */

static bool add_class(classify *c, const char *text, size_t length, ts_error *err)
{
    while (length && strchr(" \t", *text)) {
        text++;
        length--;
    }
    while (length && strchr(" \t", text[length - 1])) length--;
    char **grown = realloc(c->class_name, (size_t)(c->class_count + 1) * sizeof *grown);
    if (grown) c->class_name = grown;
    char *copy = grown ? strndup(text, length) : NULL;
    if (!copy) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the classes");
    c->class_name[c->class_count++] = copy;
    return true;
}

static bool add_list(classify *c, const char *list, ts_error *err)
{
    for (const char *at = list;; at++) {
        const size_t length = strcspn(at, ",");
        if (!add_class(c, at, length, err)) return false;
        at += length;
        if (*at == '\0') return true;
    }
}

static bool add_file(classify *c, ts_error *err)
{
    char **lines = NULL;
    const int count = ts_text_lines(c->classes_file, &lines, err);
    bool ok = count >= 0;
    for (int i = 0; ok && i < count; i++) ok = add_class(c, lines[i], strlen(lines[i]), err);
    if (count >= 0) ts_text_lines_free(lines, count);
    return ok;
}

static bool add_folder(classify *c, ts_error *err)
{
    ts_clip_data data = {0};
    bool ok = ts_clip_data_open(c->classes_from, NULL, c->use.common.seed, &data, err) &&
              ts_clip_use_note_data(&c->use, c->classes_from, &data, err);
    for (int i = 0; ok && i < data.classes; i++) ok = add_class(c, data.name[i], strlen(data.name[i]), err);
    ts_clip_data_clear(&data);
    return ok;
}

static bool list_classes(classify *c, ts_error *err)
{
    for (int i = 0; i < c->classes.count; i++)
        if (!add_list(c, c->classes.items[i], err)) return false;
    if ((c->classes_file && !add_file(c, err)) || (c->classes_from && !add_folder(c, err))) return false;
    if (c->class_count == 1)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "\"%.200s\" is the only class, and every picture would be of it: name two or more, parted by commas",
                       c->class_name[0]);
    return ((c->prompt_file && c->class_count == 0) ||
            ts_clip_check_names((const char *const *)c->class_name, c->class_count, err));
}

static bool add_template(classify *c, const char *text, ts_error *err)
{
    c->templates[c->template_count++] = text;
    return strstr(text, "{}") || ts_fail(err, TS_ERR_ARGUMENT, "template \"%s\" has no {} where the class's name goes", text);
}

static bool list_templates(classify *c, ts_error *err)
{
    if (c->templates_file) {
        c->template_line_count = ts_text_lines(c->templates_file, &c->template_lines, err);
        if (c->template_line_count < 0) return false;
    }
    const int count = c->template.count + c->template_line_count;
    if (count == 0) return true;
    c->templates = calloc((size_t)count, sizeof *c->templates);
    if (!c->templates) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the templates");
    bool ok = true;
    for (int i = 0; ok && i < c->template.count; i++) ok = add_template(c, c->template.items[i], err);
    for (int i = 0; ok && i < c->template_line_count; i++) ok = add_template(c, c->template_lines[i], err);
    return ok;
}

/* The prompt, and where no classes are named, its own. */
static bool open_prompt(classify *c, ts_error *err)
{
    if (!ts_check_readable(c->prompt_file, "prompt", err)) return false;
    const char *const *names = c->class_count ? (const char *const *)c->class_name : NULL;
    ts_weights *w = ts_weights_open(c->prompt_file, err);
    c->prompt = w ? ts_clip_prompt_open(c->use.clip, c->use.tokenizer, w, names, c->class_count, c->use.cut, err) : NULL;
    ts_weights_free(w);
    if (!c->prompt) return false;
    const ts_clip_prompt_info about = ts_clip_prompt_about(c->prompt);
    for (int i = 0; !names && i < about.classes; i++)
        if (!add_class(c, about.names[i], strlen(about.names[i]), err)) return false;
    c->pictures.prompt = c->prompt;
    return true;
}

/* The classes' features, some classes at a time so that the progress can be seen. */
static bool make_classes(classify *c, ts_error *err)
{
    if (c->prompt_file) return open_prompt(c, err);
    const size_t embed = (size_t)c->use.config.embed;
    const int texts = c->template_count ? c->template_count : 1, step = texts < TEXTS_A_STEP ? TEXTS_A_STEP / texts : 1;
    c->class_features = malloc((size_t)c->class_count * embed * sizeof *c->class_features);
    if (!c->class_features) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d classes", c->class_count);
    const double start = ts_now_ms();
    ts_progress progress;
    ts_progress_begin(&progress, "classes", c->class_count, c->use.common.quiet);
    bool ok = true;
    for (int at = 0; ok && at < c->class_count; at += step) {
        const int n = c->class_count - at < step ? c->class_count - at : step;
        ok = ts_clip_classifier(c->use.clip, c->use.tokenizer, (const char *const *)c->class_name + at, n, c->templates,
                                c->template_count, c->use.cut, c->class_features + (size_t)at * embed, err);
        ts_progress_step(&progress, at + n);
    }
    ts_progress_end(&progress);
    c->text_ms = ts_now_ms() - start;
    return ok;
}

/* ---- pictures --------------------------------------------------------------------------------------------------- */

static bool look(classify *c, ts_error *err)
{
    const size_t count = (size_t)c->pictures.count;
    const double start = ts_now_ms();
    c->features = calloc(count * (size_t)c->use.config.embed, sizeof *c->features);
    c->logits = calloc(count * (size_t)c->class_count, sizeof *c->logits);
    c->guesses = calloc((size_t)c->class_count, sizeof *c->guesses);
    if (!c->features || !c->logits || !c->guesses) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %zu pictures", count);
    if (!ts_clip_pictures_encode(&c->use, &c->pictures, NULL, c->pictures.count, c->features, err) ||
        !ts_clip_pictures_tell(&c->use, &c->pictures, err))
        return false;
    if (!c->prompt) ts_clip_logits(c->use.clip, c->features, (int64_t)count, c->class_features, c->class_count, c->logits);
    else if (!ts_clip_prompt_logits(c->prompt, c->features, (int64_t)count, c->logits, err)) return false;
    c->picture_ms = ts_now_ms() - start;
    return true;
}

static int by_logit(const void *a, const void *b)
{
    const guess *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->class - y->class;
}

/* All classes by how likely they are: the softmax of the logits. */
static const guess *guess_picture(const classify *c, int picture)
{
    guess *out = c->guesses;
    const float *logits = c->logits + (size_t)picture * (size_t)c->class_count;
    double sum = 0;
    for (int k = 0; k < c->class_count; k++) out[k] = (guess){.class = k, .logit = (double)logits[k]};
    qsort(out, (size_t)c->class_count, sizeof *out, by_logit);
    for (int k = 0; k < c->class_count; k++) sum += out[k].probability = exp(out[k].logit - out[0].logit);
    for (int k = 0; k < c->class_count; k++) out[k].probability /= sum;
    return out;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void print_padded(const char *text, int width)
{
    printf("%*s", width - ts_put_text(stdout, text), "");
}

static int widest(const char *const *texts, int count)
{
    int most = 0;
    for (int i = 0; i < count; i++) {
        const int width = ts_put_text(NULL, texts[i]);
        if (width > most) most = width;
    }
    return most;
}

static bool print_table(const classify *c, ts_error *err)
{
    const int path_width = widest((const char *const *)c->pictures.path, c->pictures.count);
    const int class_width = widest((const char *const *)c->class_name, c->class_count);
    for (int i = 0; i < c->pictures.count; i++) {
        if (c->pictures.problem[i]) continue;
        const guess *guesses = guess_picture(c, i);
        for (int k = 0; k < c->top && k < c->class_count; k++) {
            print_padded(k == 0 ? c->pictures.path[i] : "", path_width + 2);
            print_padded(c->class_name[guesses[k].class], class_width + 2);
            printf("%5.1f %%\n", 100 * guesses[k].probability);
        }
    }
    return ts_flush_output(err);
}

static bool add_picture(const classify *c, int at, cJSON *pictures)
{
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(pictures, item) || !cJSON_AddStringToObject(item, "file", c->pictures.path[at]))
        return false;
    cJSON *list = cJSON_AddArrayToObject(item, "classes");
    const guess *guesses = guess_picture(c, at);
    for (int k = 0; k < c->top && k < c->class_count; k++) {
        cJSON *one = cJSON_CreateObject();
        if (!one || !cJSON_AddItemToArray(list, one) || !cJSON_AddStringToObject(one, "class", c->class_name[guesses[k].class]) ||
            !cJSON_AddNumberToObject(one, "probability", guesses[k].probability) ||
            !cJSON_AddNumberToObject(one, "logit", guesses[k].logit))
            return false;
    }
    return true;
}

static bool print_report(const classify *c, ts_error *err)
{
    cJSON *all = cJSON_CreateObject(), *pictures = NULL, *ms = NULL;
    bool ok = all && cJSON_AddStringToObject(all, "model", c->use.model) &&
              cJSON_AddStringToObject(all, "device", ts_device_about(c->use.dev)->name) &&
              cJSON_AddNumberToObject(all, "classes", c->class_count) &&
              (c->prompt ? cJSON_AddStringToObject(all, "prompt", c->prompt_file)
                         : cJSON_AddNumberToObject(all, "templates", c->template_count ? c->template_count : 1)) &&
              (pictures = cJSON_AddArrayToObject(all, "pictures"));
    for (int i = 0; ok && i < c->pictures.count; i++) ok = c->pictures.problem[i] || add_picture(c, i, pictures);
    ok = ok && ts_clip_pictures_report(&c->pictures, all) && (ms = cJSON_AddObjectToObject(all, "ms")) &&
         cJSON_AddNumberToObject(ms, "classes", c->text_ms) && cJSON_AddNumberToObject(ms, "pictures", c->picture_ms);
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

static int run(classify *c)
{
    ts_error err = {0};
    bool ok = list_classes(c, &err) && list_templates(c, &err) && ts_clip_pictures_list(&c->use, &c->rest, &c->pictures, &err) &&
              ts_clip_use_open(&c->use, true, &err) && ts_clip_use_start(&c->use, &err) && make_classes(c, &err) && look(c, &err);
    ok = ok && (c->use.common.json ? print_report(c, &err) : print_table(c, &err));
    return ok ? ts_left_out_status(name, &c->use.left_out) : ts_report(name, &err);
}

static void classify_clear(classify *c)
{
    ts_clip_pictures_clear(&c->pictures);
    ts_clip_prompt_free(c->prompt);
    ts_clip_use_close(&c->use);
    ts_words_free(&c->rest);
    ts_words_free(&c->classes);
    ts_words_free(&c->template);
    ts_paths_free(c->class_name, c->class_count);
    if (c->template_lines) ts_text_lines_free(c->template_lines, c->template_line_count);
    free(c->templates);
    free(c->class_features);
    free(c->features);
    free(c->logits);
    free(c->guesses);
}

int ts_clip_cmd_classify(int argc, char **argv)
{
    classify c = {.top = 5};
    int status = parse(&c, argc, argv);
    if (status < 0) status = check_usage(&c);
    c.use.left_out.quiet = c.use.common.quiet;
    if (status < 0) status = run(&c);
    classify_clear(&c);
    return status;
}
