/* convert.c - `tessera model convert`: the same model as safetensors, with its configuration in it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/model/model.h"

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_float(ts_dtype d)
{
    return d == TS_DT_F32 || d == TS_DT_F16 || d == TS_DT_BF16 || d == TS_DT_F64;
}

typedef struct {
    ts_dtype dtype;
    int heads, decoder_heads;          /* zero: what the file says */
    ts_clip_told told;                 /* likewise, of a CLIP */
    int least_examples, most_examples; /* likewise */
    double blend;                      /* below zero: what the file says */
    int views;                         /* zero: likewise */
    const ts_weights *vqgan;           /* goes in, and not the file's own; NULL: none */
} conversion;

/* A CLIP's own metadata but for what stands in no shape, which is written anew. */
static bool is_of_clip(const char *key)
{
    static const char *const keys[] = {"vision_heads", "text_heads", "hidden_act", "image_mean", "image_std"};
    bool is = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) is = is || strcmp(key, keys[i]) == 0;
    return is;
}

/* The file's own metadata, and what no shape tells of a masked autoencoder or a CLIP. */
static bool write_meta(ts_weights_writer *out, const ts_weights *w, const ts_mae_config *mae, const ts_clip_config *clip,
                       bool other_vqgan, ts_error *err)
{
    enum { OURS = 5, NUMBERS = 4 };
    static const char *const keys[OURS] = {"heads", "decoder_heads", "blend", "views", "examples"};
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        bool ours = (other_vqgan && strcmp(key, "vqgan_groups") == 0) || (clip && is_of_clip(key));
        for (int k = 0; k < OURS && mae; k++) ours = ours || strcmp(key, keys[k]) == 0;
        if (!ours && !ts_weights_writer_meta(out, key, value, err)) return false;
    }
    if (clip) return ts_clip_config_meta(clip, out, err);
    if (!mae) return true;
    const double values[NUMBERS] = {mae->heads, mae->decoder_heads, mae->blend, mae->views};
    char text[32];
    for (int k = 0; k < NUMBERS; k++) {
        snprintf(text, sizeof text, "%g", values[k]);
        if (values[k] > 0 && !ts_weights_writer_meta(out, keys[k], text, err)) return false;
    }
    if (mae->most_examples == 0) return true;
    if (mae->least_examples == mae->most_examples) snprintf(text, sizeof text, "%d", mae->least_examples);
    else snprintf(text, sizeof text, "%d..%d", mae->least_examples, mae->most_examples);
    return ts_weights_writer_meta(out, "examples", text, err);
}

static bool check_vqgan(const ts_weights *w, const ts_model_info *info, const ts_weights *vqgan, ts_error *err)
{
    ts_vqgan_config config;
    if (!info->has_mae)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is no masked autoencoder that a VQGAN could go into", ts_weights_path(w));
    return ts_vqgan_find(vqgan, &config, err) && ts_mae_check_codes(w, &info->mae, vqgan, &config, err);
}

/* `left_out` counts the tensors of a VQGAN's training (its losses), which nobody needs to run it. */
static bool convert(const ts_weights *w, const char *to, const conversion *how, int64_t *left_out, ts_error *err)
{
    ts_model_info info;
    if (!ts_model_about(w, &info, err)) return false;
    if (info.has_mae && !ts_mae_config_read(w, how->heads, how->decoder_heads, false, &info.mae, err)) return false;
    if (how->most_examples > 0) {
        info.mae.least_examples = how->least_examples;
        info.mae.most_examples = how->most_examples;
    }
    if (how->blend >= 0) info.mae.blend = how->blend;
    if (how->views > 0) info.mae.views = how->views;
    if (how->vqgan && !check_vqgan(w, &info, how->vqgan, err)) return false;
    ts_clip_config clip;
    const bool is_clip = info.kind == TS_KIND_CLIP;
    if (is_clip && !ts_clip_config_read(w, &how->told, &clip, err)) return false;
    ts_weights_writer *out = ts_weights_writer_new();
    if (!out) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = write_meta(out, w, info.has_mae ? &info.mae : NULL, is_clip ? &clip : NULL, how->vqgan != NULL, err);
    for (int64_t i = 0; ok && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        if (info.has_vqgan && (starts_with(t->name, "loss.") || starts_with(t->name, "vae.loss."))) {
            ++*left_out;
            continue;
        }
        if (how->vqgan && starts_with(t->name, "vae.")) continue;
        ok = ts_weights_writer_add_weight(out, t, is_float(t->dtype) ? how->dtype : t->dtype, err);
    }
    ok = ok && (!how->vqgan || ts_vqgan_embed(how->vqgan, how->dtype, out, err)) && ts_weights_writer_save(out, to, err);
    ts_weights_writer_free(out);
    return ok;
}

static bool ends_as_pytorch(const char *path)
{
    static const char *const endings[] = {".pth", ".pt", ".ckpt", ".bin", ".tar"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

int ts_model_convert_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    int dtype = 0;
    const char *vqgan = NULL, *examples = NULL;
    conversion how = {.blend = -1};
    const ts_option options[] = {
        {0, "examples", "N[..M]", TS_OPT_TEXT, &examples, 0, 0,
         "example pairs of the canvases that the model was trained on: run shows fewer ones again"},
        {0, "blend", "T", TS_OPT_REAL, &how.blend, 0, TS_MAE_MAX_BLEND,
         "how the model's answers are best painted: see run --blend"},
        {0, "views", "N", TS_OPT_INT, &how.views, 1, TS_GRID_VIEWS, "and from how many views of a canvas: see run --views"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &vqgan, 0, 0, "the VQGAN to put in, where IN holds none or another"},
        {0, "dtype", "fp32|fp16|bf16", TS_OPT_CHOICE, &dtype, 0, 0, "of the numbers written; fp32"},
        {0, "heads", "N", TS_OPT_INT, &how.heads, 1, 4096,
         "attention heads of the encoder, or of a CLIP's image tower, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &how.decoder_heads, 1, 4096, "attention heads of the decoder, likewise"},
        {0, "text-heads", "N", TS_OPT_INT, &how.told.text_heads, 1, 4096, "attention heads of a CLIP's text tower, likewise"},
        {0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &how.told.activation, 0, 0,
         "a CLIP's activation, where nothing tells it: quick_gelu (OpenAI's) or gelu (most of open_clip's)"},
    };
    int status = ts_options_parse(
        &(ts_command){.name = "model convert",
                      .usage = "IN OUT [--dtype fp32|fp16|bf16] [--vqgan FILE]",
                      .summary = "writes a weights file as safetensors, with the model's configuration in it",
                      .example = "  tessera model convert checkpoint-1000.pth mae-vqgan.safetensors --dtype fp16\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &files,
                      .least = 2,
                      .most = 2,
                      .rest_name = "IN or OUT",
                      .common = &common,
                      .takes = TS_TAKES_JSON},
        argc, argv);
    if (status < 0 && examples && !ts_grid_examples_read(examples, TS_GRID_MAX_EXAMPLES, &how.least_examples, &how.most_examples))
        status = ts_usage_error("model convert", "--examples %s is not a number from 1 to %d or a range such as 1..2", examples,
                                TS_GRID_MAX_EXAMPLES);
    if (status < 0 && ends_as_pytorch(files.items[1]))
        status = ts_usage_error("model convert",
                                "what is written is safetensors, and %s would be taken for PyTorch's: name it "
                                "NAME.safetensors",
                                files.items[1]);
    if (status < 0) {
        const char *in = files.items[0], *to = files.items[1];
        ts_error err = {0};
        int64_t left_out = 0;
        bool ok = ts_check_model(in, "file", TS_KIND_UNKNOWN, &err) &&
                  (!vqgan || ts_check_model(vqgan, "VQGAN", TS_KIND_VQGAN, &err)) && ts_check_writable(to, &err);
        if (ok && (ts_same_file(in, to) || (vqgan && ts_same_file(vqgan, to))))
            ok = ts_fail(&err, TS_ERR_ARGUMENT, "output %s would overwrite the input", to);
        ts_weights *w = ok ? ts_open_weights(in, common.quiet, &err) : NULL;
        ts_weights *other = w && vqgan ? ts_open_weights(vqgan, common.quiet, &err) : NULL;
        how.dtype = (const ts_dtype[]){TS_DT_F32, TS_DT_F16, TS_DT_BF16}[dtype];
        how.vqgan = other;
        how.told.heads = how.heads;
        ok = w && (other || !vqgan) && convert(w, to, &how, &left_out, &err);
        if (ok && left_out && !common.quiet)
            ts_say("left out: %" PRId64 " tensors of the losses, which only training needs", left_out);
        if (ok && common.json) {
            ts_weights *made = ts_weights_open(to, &err);
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "file", to);
            cJSON_AddNumberToObject(o, "tensors", made ? (double)ts_weights_count(made) : 0);
            cJSON_AddNumberToObject(o, "left_out", (double)left_out);
            ok = ts_print_json(o, &err) && made;
            ts_weights_free(made);
        } else if (ok) {
            ts_put_line(to);
            ok = ts_flush_output(&err);
        }
        ts_weights_free(w);
        ts_weights_free(other);
        status = ok ? TS_EXIT_DONE : ts_report("model convert", &err);
    }
    ts_words_free(&files);
    return status;
}
