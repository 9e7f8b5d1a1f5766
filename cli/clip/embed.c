/* embed.c - `tessera clip embed`: features of pictures or of texts, for what others want to do with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/clip/clip.h"

static const char name[] = "clip embed";

/* A safetensors header is read in whole: names that would make it larger than readers take belong into JSONL. */
enum { MOST_NAMES_BYTES = 8 << 20 };

typedef struct {
    ts_clip_use use;
    ts_words rest, text;
    const char *texts_file, *out;
    bool jsonl;
    /* the work */
    ts_clip_pictures pictures;
    char **lines;
    int line_count;
    const char **label; /* (count): a picture's path, or a text */
    int count;          /* rows of the features; broken pictures have none */
    float *features;    /* (count, embed) */
} embed;

static int parse(embed *v, int argc, char **argv)
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &v->use.model, 0, 0, TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &v->use.vocab, 0, 0, TS_CLIP_VOCAB_HELP},
        TS_CLIP_TOLD_OPTIONS(&v->use.told),
        {'o', "out", "FILE", TS_OPT_TEXT, &v->out, 0, 0,
         ".safetensors: \"features\" (N, E), the names as a JSON list in its metadata; or .jsonl: a line each"},
        {'t', "text", "TEXT", TS_OPT_WORDS, &v->text, 0, 0, "a text, instead of pictures; repeated"},
        {0, "texts", "FILE", TS_OPT_TEXT, &v->texts_file, 0, 0, "texts, one a line"},
        {0, "cut", NULL, TS_OPT_FLAG, &v->use.cut, 0, 0, "cut a text that is too long for the model"},
        {0, "strict", NULL, TS_OPT_FLAG, &v->use.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "PICTURE|FOLDER ... --out FILE --model FILE [options]",
                      .summary = "writes the features of pictures or of texts, each of length 1, to a file",
                      .example = "  tessera clip embed photos/ --model ViT-B-32.pt --out photos.safetensors\n"
                                 "  tessera clip embed --text \"a cat\" --text \"a dog\" --model ViT-B-32.pt --out texts.jsonl\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &v->rest,
                      .most = 1 << 20,
                      .rest_name = "PICTURE",
                      .common = &v->use.common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_JSON},
        argc, argv);
}

static bool ends_with(const char *path, const char *ending)
{
    const size_t length = strlen(path), n = strlen(ending);
    return length > n && strcasecmp(path + length - n, ending) == 0;
}

static int check_usage(embed *v)
{
    const bool texts = v->text.count > 0 || v->texts_file;
    if (!texts && v->rest.count == 0)
        return ts_usage_error(name, "what to embed is missing: a PICTURE, a folder of them, --text TEXT or --texts FILE");
    if (texts && v->rest.count > 0)
        return ts_usage_error(name, "pictures and texts do not go into one file: %s", v->rest.items[0]);
    if (!v->out) return ts_usage_error(name, "an output is missing: --out FILE");
    v->jsonl = ends_with(v->out, ".jsonl");
    if (!v->jsonl && !ends_with(v->out, ".safetensors"))
        return ts_usage_error(name, "--out %s: the name must end in .safetensors or .jsonl", v->out);
    if (!v->use.model) return ts_usage_error(name, "--model FILE is missing: a CLIP");
    return -1;
}

/* ---- features --------------------------------------------------------------------------------------------------- */

static bool list_texts(embed *v, ts_error *err)
{
    if (v->texts_file) {
        if (ts_same_file(v->texts_file, v->out))
            return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite an input", v->out);
        v->line_count = ts_text_lines(v->texts_file, &v->lines, err);
        if (v->line_count < 0) return false;
    }
    v->label = calloc((size_t)(v->text.count + v->line_count) + 1, sizeof *v->label);
    if (!v->label) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    v->count = v->text.count + v->line_count;
    for (int i = 0; i < v->count; i++) v->label[i] = i < v->text.count ? v->text.items[i] : v->lines[i - v->text.count];
    return true;
}

static bool list_pictures(embed *v, ts_error *err)
{
    if (!ts_clip_pictures_list(&v->use, &v->rest, &v->pictures, err)) return false;
    v->count = v->pictures.count;
    v->label = calloc((size_t)v->count + 1, sizeof *v->label);
    if (!v->label) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < v->count; i++) v->label[i] = v->pictures.path[i];
    return true;
}

/* The rows of broken pictures are closed up. */
static bool embed_pictures(embed *v, ts_error *err)
{
    const size_t width = (size_t)v->use.config.embed;
    if (!ts_clip_pictures_encode(&v->use, &v->pictures, NULL, v->count, v->features, err) ||
        !ts_clip_pictures_tell(&v->use, &v->pictures, err))
        return false;
    int kept = 0;
    for (int i = 0; i < v->pictures.count; i++) {
        if (v->pictures.problem[i]) continue;
        memmove(v->features + (size_t)kept * width, v->features + (size_t)i * width, width * sizeof *v->features);
        v->label[kept++] = v->pictures.path[i];
    }
    v->count = kept;
    return true;
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static char *names_json(const embed *v, ts_error *err)
{
    cJSON *list = cJSON_CreateStringArray(v->label, v->count);
    char *text = list ? ts_json_text(list, false) : NULL;
    cJSON_Delete(list);
    if (!text) ts_fail(err, TS_ERR_MEMORY, "out of memory for the names");
    return text;
}

static bool check_names(const embed *v, ts_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < v->count; i++) bytes += strlen(v->label[i]) + 4;
    if (v->jsonl || bytes <= MOST_NAMES_BYTES) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "the names of %d %s are too much for the header of %s: write .jsonl, or several files",
                   v->count, v->lines || v->text.count ? "texts" : "pictures", v->out);
}

static bool write_safetensors(const embed *v, ts_error *err)
{
    char identity[17];
    ts_clip_use_identity(&v->use, identity);
    char *names = names_json(v, err);
    ts_weights_writer *w = ts_weights_writer_new();
    const int64_t shape[2] = {v->count, v->use.config.embed};
    bool ok = w || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && names && ts_weights_writer_meta(w, "names", names, err) &&
         ts_weights_writer_meta(w, "of", v->pictures.count ? "pictures" : "texts", err) &&
         ts_weights_writer_meta(w, "tessera.clip", identity, err) &&
         ts_weights_writer_add(w, "features", TS_DT_F32, 2, shape, v->features, err) && ts_weights_writer_save(w, v->out, err);
    ts_weights_writer_free(w);
    free(names);
    return ok;
}

static bool print_line(FILE *f, const char *label, const float *row, int width)
{
    cJSON *text = cJSON_CreateString(label);
    char *quoted = text ? ts_json_text(text, false) : NULL;
    cJSON_Delete(text);
    if (!quoted) return false;
    fprintf(f, "{\"name\":%s,\"features\":[", quoted);
    for (int e = 0; e < width; e++) fprintf(f, "%s%.9g", e ? "," : "", (double)row[e]);
    fputs("]}\n", f);
    free(quoted);
    return true;
}

static bool write_jsonl(const embed *v, ts_error *err)
{
    const int width = v->use.config.embed;
    char *bytes = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&bytes, &size);
    bool ok = f != NULL;
    for (int i = 0; ok && i < v->count; i++) ok = print_line(f, v->label[i], v->features + (size_t)i * (size_t)width, width);
    if (f && fclose(f) != 0) ok = false;
    ok = ok ? ts_file_write(v->out, bytes, size, err) : ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", v->out);
    free(bytes);
    return ok;
}

static bool print_report(const embed *v, ts_error *err)
{
    if (!v->use.common.json) {
        ts_put_line(v->out);
        return ts_flush_output(err);
    }
    cJSON *all = cJSON_CreateObject();
    bool ok = all && cJSON_AddStringToObject(all, "file", v->out) && cJSON_AddStringToObject(all, "model", v->use.model) &&
              cJSON_AddStringToObject(all, "device", ts_device_about(v->use.dev)->name) &&
              cJSON_AddStringToObject(all, "of", v->pictures.count ? "pictures" : "texts") &&
              cJSON_AddNumberToObject(all, "rows", v->count) && cJSON_AddNumberToObject(all, "width", v->use.config.embed) &&
              ts_clip_pictures_report(&v->pictures, all);
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

static int run(embed *v)
{
    const bool texts = v->rest.count == 0;
    ts_error err = {0};
    bool ok = ts_clip_use_check_out(&v->use, v->out, &err) && (texts ? list_texts(v, &err) : list_pictures(v, &err)) &&
              check_names(v, &err) && ts_clip_use_open(&v->use, texts, &err) && ts_clip_use_start(&v->use, &err);
    if (ok) v->features = calloc((size_t)v->count * (size_t)v->use.config.embed, sizeof *v->features);
    ok = ok && (v->features || ts_fail(&err, TS_ERR_MEMORY, "out of memory for the features"));
    ok = ok && (texts ? ts_clip_use_texts(&v->use, v->label, v->count, v->features, &err) : embed_pictures(v, &err)) &&
         (v->jsonl ? write_jsonl(v, &err) : write_safetensors(v, &err)) && print_report(v, &err);
    return ok ? ts_left_out_status(name, &v->use.left_out) : ts_report(name, &err);
}

static void embed_clear(embed *v)
{
    ts_clip_pictures_clear(&v->pictures);
    ts_clip_use_close(&v->use);
    ts_words_free(&v->rest);
    ts_words_free(&v->text);
    if (v->lines) ts_text_lines_free(v->lines, v->line_count);
    free(v->label);
    free(v->features);
}

int ts_clip_cmd_embed(int argc, char **argv)
{
    embed v = {0};
    int status = parse(&v, argc, argv);
    if (status < 0) status = check_usage(&v);
    v.use.left_out.quiet = v.use.common.quiet;
    if (status < 0) status = run(&v);
    embed_clear(&v);
    return status;
}
