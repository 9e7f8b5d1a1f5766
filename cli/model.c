/* model.c - `tessera model`: what a weights file is, whether it is whole, the same as safetensors, and a random one to try with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "clip/clip.h"
#include "dino/dino.h"
#include "mae/mae.h"
#include "painter/painter.h"
#include "sam/sam.h"

enum { MAX_TEXT = 64 };

static const char *container_name(ts_file_kind kind)
{
    switch (kind) {
    case TS_FILE_SAFETENSORS:
        return "safetensors";
    case TS_FILE_TORCH_ZIP:
        return "PyTorch checkpoint";
    case TS_FILE_TORCHSCRIPT:
        return "TorchScript archive";
    case TS_FILE_TORCH_LEGACY:
        return "PyTorch checkpoint of before 1.6";
    }
    return "unknown";
}

/* "16x3x4"; "scalar" for no dimension. */
static const char *shape_text(const ts_weight *t, char out[MAX_TEXT * 3])
{
    size_t used = 0, room = MAX_TEXT * 3;
    if (t->ndim == 0) snprintf(out, room, "scalar");
    for (int d = 0; d < t->ndim && used < room; d++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRId64, d ? "x" : "", t->shape[d]);
    return out;
}

/* ---- info --------------------------------------------------------------------------------------------------- */

/* What the file says and, of a CLIP or a DINO, its sizes, or why it cannot be run. */
typedef struct {
    ts_model_info model;
    bool has_clip, has_dino, has_painter, has_sam;
    ts_clip_config clip;
    ts_dino_config dino;
    ts_painter_config painter;
    ts_sam_config sam;
    ts_error problem;
} about;

/* "CLIP ViT-L/14@336" where the vision tower is one of those that have a name. */
static void name_clip(const ts_clip_config *c, char *out, size_t room)
{
    static const struct {
        int width, layers;
        const char *letter;
    } known[] = {{384, 12, "S"},  {512, 12, "M"},  {768, 12, "B"},     {1024, 24, "L"},
                 {1280, 32, "H"}, {1408, 40, "g"}, {1664, 48, "bigG"}, {1792, 56, "e"}};
    snprintf(out, room, "CLIP ViT");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].width != c->width || known[i].layers != c->layers) continue;
        const int used = snprintf(out, room, "CLIP ViT-%s/%d", known[i].letter, c->patch);
        if (c->image != 224 && used > 0 && (size_t)used < room) snprintf(out + used, room - (size_t)used, "@%d", c->image);
    }
}

static const char *heads_text(int heads, char out[32])
{
    if (heads) snprintf(out, 32, "%d heads", heads);
    else snprintf(out, 32, "heads unknown");
    return out;
}

static const char *activation_of(const ts_clip_config *c)
{
    return !c->activation_by ? "unknown" : c->erf_gelu ? "gelu" : "quick_gelu";
}

static void read_dino(const ts_weights *w, about *a)
{
    const ts_dino_config *c = &a->dino;
    char positions[48];
    a->has_dino = ts_dino_config_read(w, &a->dino, &a->problem);
    if (!a->has_dino) return;
    ts_dino_title(c, a->model.title, sizeof a->model.title);
    if (c->side) snprintf(positions, sizeof positions, "learned for %d x %d places", c->side, c->side);
    else snprintf(positions, sizeof positions, "rotary");
    snprintf(a->model.architecture, sizeof a->model.architecture, "%d wide, %d blocks, %d heads, MLP %d%s\npositions: %s",
             c->width, c->depth, c->heads, c->mlp, c->gated ? " (SwiGLU)" : "", positions);
}

static void read_painter(const ts_weights *w, about *a)
{
    ts_model_info *m = &a->model;
    a->has_painter = ts_painter_config_read(w, &a->painter, &a->problem);
    if (a->has_painter) ts_painter_words(&a->painter, m->title, sizeof m->title, m->architecture, sizeof m->architecture);
}

static void read_sam(const ts_weights *w, about *a)
{
    const ts_sam_config *c = &a->sam;
    int whole = 0;
    a->has_sam = ts_sam_config_read(w, &a->sam, &a->problem);
    if (!a->has_sam) return;
    for (int i = 0; i < c->depth; i++) whole += (int)(c->whole >> i & 1);
    ts_sam_title(c, a->model.title, sizeof a->model.title);
    snprintf(a->model.architecture, sizeof a->model.architecture,
             "encoder: %d wide, %d blocks (%d of the whole picture, else windows of %d), %d heads, patch %d, picture %d\n"
             "decoder: %d wide, %d layers, %d masks of %d x %d",
             c->width, c->depth, whole, c->window, c->heads, c->patch, c->picture, c->embed, c->decoder_depth, c->masks, c->low,
             c->low);
}

static bool read_about(const ts_weights *w, about *a, ts_error *err)
{
    char heads[32], text_heads[32];
    *a = (about){0};
    if (!ts_model_about(w, &a->model, err)) return false;
    if (a->model.kind == TS_KIND_DINOV2) read_dino(w, a);
    if (a->model.kind == TS_KIND_PAINTER || a->model.kind == TS_KIND_SEGGPT) read_painter(w, a);
    if (a->model.kind == TS_KIND_SAM) read_sam(w, a);
    if (a->model.kind != TS_KIND_CLIP) return true;
    const ts_clip_config *c = &a->clip;
    a->has_clip = ts_clip_config_read(w, &(ts_clip_told){.any = true}, &a->clip, &a->problem);
    if (!a->has_clip) return true;
    name_clip(c, a->model.title, sizeof a->model.title);
    snprintf(a->model.architecture, sizeof a->model.architecture,
             "vision: %d wide, %d blocks, %s, patch %d, picture %d\n"
             "text: %d wide, %d blocks, %s, context %d, %d symbols\n"
             "features: %d wide\n"
             "activation: %s%s%s%s%s",
             c->width, c->layers, heads_text(c->heads, heads), c->patch, c->image, c->text_width, c->text_layers,
             heads_text(c->text_heads, text_heads), c->context, c->vocabulary, c->embed, activation_of(c),
             c->activation_by ? " (" : "", c->activation_by ? c->activation_by : "", c->activation_by ? ")" : "",
             c->deviation[0] > 0 ? "; pictures are normalised in a way of its own" : "");
    return true;
}

static void print_info(const ts_weights *w, const about *a, bool tensors)
{
    const ts_model_info *info = &a->model;
    char count[32];
    printf("file          ");
    ts_put_line(ts_weights_path(w));
    printf("container     %s", container_name(ts_weights_kind(w)));
    if (ts_weights_shards(w)) printf(", %d files", ts_weights_shards(w));
    printf("\nmodel         ");
    ts_put_line(info->title);
    for (const char *line = info->architecture; *line;) {
        int length = (int)strcspn(line, "\n");
        char shown[sizeof info->architecture];
        snprintf(shown, sizeof shown, "%.*s", length, line);
        printf("              ");
        ts_put_line(shown);
        line += length + (line[length] == '\n');
    }
    if (a->problem.code) printf("problem       %s\n", a->problem.text);
    printf("parameters    %s in %" PRId64 " tensors", ts_count_text((double)info->parameters, count), info->tensors);
    if (info->ours != info->tensors)
        printf(", of which the model uses %s in %" PRId64, ts_count_text((double)info->our_parameters, count), info->ours);
    printf("\ndtypes       ");
    for (int d = 0; d <= TS_DT_BOOL; d++)
        if (info->of_dtype[d]) printf(" %s %s", ts_dtype_name((ts_dtype)d), ts_count_text((double)info->of_dtype[d], count));
    printf("\n");
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        printf("%s", i ? "              " : "metadata      ");
        ts_put_text(stdout, key);
        printf(" = ");
        ts_put_line(value);
    }
    for (int64_t i = 0; tensors && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        char shape[MAX_TEXT * 3];
        printf("%s%-4s %-18s ", i ? "" : "\n", ts_dtype_name(t->dtype), shape_text(t, shape));
        ts_put_line(t->name);
    }
}

static void add_mae(cJSON *to, const ts_mae_config *c)
{
    cJSON *o = cJSON_AddObjectToObject(to, "mae");
    cJSON_AddNumberToObject(o, "canvas", c->side * c->patch);
    cJSON_AddNumberToObject(o, "patch", c->patch);
    cJSON_AddNumberToObject(o, "dim", c->dim);
    cJSON_AddNumberToObject(o, "depth", c->depth);
    cJSON_AddNumberToObject(o, "decoder_dim", c->decoder_dim);
    cJSON_AddNumberToObject(o, "decoder_depth", c->decoder_depth);
    cJSON_AddNumberToObject(o, "codes", c->codes);
    /* Heads that nothing tells are no number. */
    if (c->heads) cJSON_AddNumberToObject(o, "heads", c->heads);
    else cJSON_AddNullToObject(o, "heads");
    if (c->decoder_heads) cJSON_AddNumberToObject(o, "decoder_heads", c->decoder_heads);
    else cJSON_AddNullToObject(o, "decoder_heads");
}

static void add_vqgan(cJSON *to, const ts_vqgan_config *c)
{
    cJSON *o = cJSON_AddObjectToObject(to, "vqgan");
    cJSON_AddItemToObject(o, "width", cJSON_CreateIntArray(c->width, c->levels));
    cJSON_AddNumberToObject(o, "blocks", c->blocks);
    cJSON_AddNumberToObject(o, "embed", c->embed);
    cJSON_AddNumberToObject(o, "codes", c->codes);
    cJSON_AddNumberToObject(o, "factor", c->factor);
}

static void add_clip(cJSON *to, const ts_clip_config *c)
{
    const struct {
        const char *name;
        int value;
    } sizes[] = {{"image", c->image},
                 {"patch", c->patch},
                 {"width", c->width},
                 {"layers", c->layers},
                 {"heads", c->heads},
                 {"text_width", c->text_width},
                 {"text_layers", c->text_layers},
                 {"text_heads", c->text_heads},
                 {"context", c->context},
                 {"vocabulary", c->vocabulary},
                 {"embed", c->embed}};
    cJSON *o = cJSON_AddObjectToObject(to, "clip");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value) cJSON_AddNumberToObject(o, sizes[i].name, sizes[i].value);
        else cJSON_AddNullToObject(o, sizes[i].name); /* heads that nothing tells */
    cJSON_AddStringToObject(o, "activation", activation_of(c));
}

static void add_dino(cJSON *to, const ts_dino_config *c)
{
    cJSON *o = cJSON_AddObjectToObject(to, "dino");
    cJSON_AddNumberToObject(o, "version", c->version);
    cJSON_AddNumberToObject(o, "width", c->width);
    cJSON_AddNumberToObject(o, "depth", c->depth);
    cJSON_AddNumberToObject(o, "heads", c->heads);
    cJSON_AddNumberToObject(o, "mlp", c->mlp);
    cJSON_AddNumberToObject(o, "patch", c->patch);
    cJSON_AddNumberToObject(o, "registers", c->registers);
    cJSON_AddNumberToObject(o, "side", c->side);
    cJSON_AddBoolToObject(o, "gated", c->gated);
}

static void add_painter(cJSON *to, const ts_painter_config *c)
{
    const struct {
        const char *name;
        int value;
    } sizes[] = {{"side", c->side},   {"patch", c->patch}, {"dim", c->dim},
                 {"depth", c->depth}, {"heads", c->heads}, {"decoder_dim", c->decoder_dim}};
    cJSON *o = cJSON_AddObjectToObject(to, "painter");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) cJSON_AddNumberToObject(o, sizes[i].name, sizes[i].value);
    cJSON_AddBoolToObject(o, "segments", c->segments);
}

static void add_sam(cJSON *to, const ts_sam_config *c)
{
    const struct {
        const char *name;
        int value;
    } sizes[] = {{"picture", c->picture}, {"patch", c->patch}, {"width", c->width}, {"depth", c->depth}, {"heads", c->heads},
                 {"window", c->window},   {"embed", c->embed}, {"masks", c->masks}, {"low", c->low}};
    cJSON *o = cJSON_AddObjectToObject(to, "sam");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) cJSON_AddNumberToObject(o, sizes[i].name, sizes[i].value);
}

static bool print_info_json(const ts_weights *w, const about *a, bool tensors, ts_error *err)
{
    const ts_model_info *info = &a->model;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", ts_weights_path(w));
    cJSON_AddStringToObject(o, "container", container_name(ts_weights_kind(w)));
    if (ts_weights_shards(w)) cJSON_AddNumberToObject(o, "files", ts_weights_shards(w));
    if (ts_weights_note(w)) cJSON_AddStringToObject(o, "note", ts_weights_note(w));
    cJSON_AddStringToObject(o, "model", info->title);
    if (info->has_mae) add_mae(o, &info->mae);
    if (info->has_vqgan) add_vqgan(o, &info->vqgan);
    if (a->has_clip) add_clip(o, &a->clip);
    if (a->has_dino) add_dino(o, &a->dino);
    if (a->has_painter) add_painter(o, &a->painter);
    if (a->has_sam) add_sam(o, &a->sam);
    if (a->problem.code) cJSON_AddStringToObject(o, "problem", a->problem.text);
    cJSON_AddNumberToObject(o, "tensors", (double)info->tensors);
    cJSON_AddNumberToObject(o, "parameters", (double)info->parameters);
    cJSON_AddNumberToObject(o, "used_tensors", (double)info->ours);
    cJSON_AddNumberToObject(o, "used_parameters", (double)info->our_parameters);
    cJSON *dtypes = cJSON_AddObjectToObject(o, "dtypes"), *meta = cJSON_AddObjectToObject(o, "metadata");
    for (int d = 0; d <= TS_DT_BOOL; d++)
        if (info->of_dtype[d]) cJSON_AddNumberToObject(dtypes, ts_dtype_name((ts_dtype)d), (double)info->of_dtype[d]);
    for (int64_t i = 0; i < ts_weights_meta_count(w); i++) {
        const char *key, *value;
        ts_weights_meta_at(w, i, &key, &value);
        cJSON_AddStringToObject(meta, key, value);
    }
    cJSON *list = tensors ? cJSON_AddArrayToObject(o, "list") : NULL;
    for (int64_t i = 0; list && i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        cJSON *item = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(item, "shape");
        for (int d = 0; d < t->ndim; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
        cJSON_AddStringToObject(item, "name", t->name);
        cJSON_AddStringToObject(item, "dtype", ts_dtype_name(t->dtype));
        cJSON_AddItemToArray(list, item);
    }
    return ts_print_json(o, err);
}

static int info_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    bool tensors = false;
    const ts_option options[] = {{0, "tensors", NULL, TS_OPT_FLAG, &tensors, 0, 0, "list every tensor"}};
    int status = ts_options_parse(&(ts_command){.name = "model info",
                                                .usage = "FILE [--tensors]",
                                                .summary = "tells what a weights file is",
                                                .example = "  tessera model info checkpoint-1000.pth\n",
                                                .options = options,
                                                .count = 1,
                                                .rest = &files,
                                                .least = 1,
                                                .most = 1,
                                                .rest_name = "FILE",
                                                .common = &common,
                                                .takes = TS_TAKES_JSON},
                                  argc, argv);
    if (status < 0) {
        ts_error err = {0};
        about info;
        ts_weights *w = ts_check_model(files.items[0], "file", TS_KIND_UNKNOWN, &err)
                            ? ts_open_weights(files.items[0], common.quiet, &err)
                            : NULL;
        bool ok = w && read_about(w, &info, &err);
        if (ok && common.json) {
            ok = print_info_json(w, &info, tensors, &err);
        } else if (ok) {
            print_info(w, &info, tensors);
            ok = ts_flush_output(&err);
        }
        ts_weights_free(w);
        status = ok ? TS_EXIT_DONE : ts_report("model info", &err);
    }
    ts_words_free(&files);
    return status;
}

/* ---- check -------------------------------------------------------------------------------------------------- */

static bool check_file(const char *path, bool json, bool quiet, ts_error *err)
{
    about info = {0};
    ts_weights *w = ts_check_model(path, "file", TS_KIND_UNKNOWN, err) ? ts_open_weights(path, quiet, err) : NULL;
    bool ok = w && read_about(w, &info, err);
    if (ok && info.problem.code) ok = ts_fail(err, info.problem.code, "%s", info.problem.text);
    /* Reading a CLIP's or a DINO's sizes looks at every tensor. */
    if (ok && info.has_painter) ok = ts_painter_check(w, err);
    else if (ok && info.has_sam) ok = ts_sam_check(w, err);
    else if (ok && !info.has_clip && !info.has_dino) ok = ts_model_check(w, err);
    ok = ok && ts_weights_check_finite(w, err);
    ts_weights_free(w);
    if (json) {
        ts_error broken = {0};
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "file", path);
        cJSON_AddBoolToObject(o, "whole", ok);
        if (ok) cJSON_AddStringToObject(o, "model", info.model.title);
        else cJSON_AddStringToObject(o, "problem", err->text);
        return ts_print_json(o, ok ? err : &broken) && ok;
    }
    if (!ok) return false;
    ts_put_text(stdout, path);
    printf(": %s, whole: all of its %" PRId64 " tensors are there with the right shapes, and all they hold are numbers\n",
           info.model.title, info.model.ours);
    return ts_flush_output(err);
}

static int check_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    int status = ts_options_parse(
        &(ts_command){.name = "model check",
                      .usage = "FILE",
                      .summary = "tells whether every tensor of the model is there with the right shape, and holds numbers",
                      .example = "  tessera model check checkpoint-1000.pth\n",
                      .rest = &files,
                      .least = 1,
                      .most = 1,
                      .rest_name = "FILE",
                      .common = &common,
                      .takes = TS_TAKES_JSON},
        argc, argv);
    if (status < 0) {
        ts_error err = {0};
        status = check_file(files.items[0], common.json, common.quiet, &err) ? TS_EXIT_DONE : ts_report("model check", &err);
    }
    ts_words_free(&files);
    return status;
}

/* ---- convert ------------------------------------------------------------------------------------------------ */

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

static int convert_command(int argc, char **argv)
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

/* ---- random ------------------------------------------------------------------------------------------------- */

static int random_command(int argc, char **argv)
{
    ts_common common = {0};
    ts_words files = {0};
    int status = ts_options_parse(
        &(ts_command){.name = "model random",
                      .usage = "OUT [--seed N]",
                      .summary = "writes a small MAE-VQGAN with random weights, to try the path; its answers mean nothing",
                      .example = "  tessera model random random.safetensors --seed 1\n",
                      .rest = &files,
                      .least = 1,
                      .most = 1,
                      .rest_name = "OUT",
                      .common = &common,
                      .takes = TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
    if (status < 0) {
        const char *to = files.items[0];
        ts_error err = {0};
        bool ok = ts_check_writable(to, &err) && ts_mae_write_random(to, NULL, NULL, common.seed, &err);
        if (ok && common.json) {
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "file", to);
            cJSON_AddNumberToObject(o, "seed", (double)common.seed);
            ok = ts_print_json(o, &err);
        } else if (ok) {
            ts_put_line(to);
            ok = ts_flush_output(&err);
        }
        status = ok ? TS_EXIT_DONE : ts_report("model random", &err);
    }
    ts_words_free(&files);
    return status;
}

/* ---- dispatch ----------------------------------------------------------------------------------------------- */

static const ts_entry commands[] = {
    {.name = "info", .usage = "FILE", .summary = "what a weights file is", .run = info_command},
    {.name = "convert",
     .usage = "IN OUT",
     .summary = "the same as safetensors, in fp32, fp16 or bf16",
     .run = convert_command,
     .computes = true},
    {.name = "check",
     .usage = "FILE",
     .summary = "whether every tensor of the model is there",
     .run = check_command,
     .computes = true},
    {.name = "random", .usage = "OUT", .summary = "a small model with random weights, to try with", .run = random_command},
};
const ts_group ts_group_model = {.name = "model",
                                 .summary = "looks into weights files",
                                 .wanted = "what to do",
                                 .note = "tessera model COMMAND --help tells of a command.\n",
                                 .example = "  tessera model info checkpoint-1000.pth\n",
                                 .entries = commands,
                                 .count = sizeof commands / sizeof *commands};
