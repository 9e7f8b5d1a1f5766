/* fuzz_models.c - a checkpoint built into a model: an MAE-VQGAN, a VQGAN, a CLIP, a prompt, a SegGPT, a SAM or a DINO, small and
 * whole, until the bytes take tensors out, give them other names, types and shapes, and write metadata. The numbers of a tensor
 * are one zero repeated, as a stride of 0 in a PyTorch file allows, so that shapes may be as large as a file of 64 MB could hold
 * and cost nothing: whatever is allocated by them is allocated for a tensor that fits no model. */
#include "clip/prompt/tune.h"
#include "dino/dino.h"
#include "engine/weights/internal.h"
#include "mae/mae.h"
#include "painter/painter.h"
#include "sam/sam.h"
#include "tests/support/small_sam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODELS = 8, MOST_ELEMENTS = 1 << 24, CHANGE = 4 };

static ts_device *host;
static ts_weights *base[MODELS]; /* MAE-VQGAN, CLIP, prompt, SegGPT, SAM, DINOv2, DINOv3, MobileSAM */
static const uint64_t zero[8];

static ts_weights *written(ts_weights_writer *out, const char *path)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_writer_save(out, path, &err) ? ts_weights_open(path, &err) : NULL;
    ts_weights_writer_free(out);
    return w;
}

static ts_weights *small_mae(const char *path)
{
    const ts_mae_config mae = {.patch = 16,
                               .side = 4,
                               .dim = 8,
                               .depth = 1,
                               .heads = 2,
                               .mlp = 8,
                               .decoder_dim = 8,
                               .decoder_depth = 1,
                               .decoder_heads = 2,
                               .decoder_mlp = 8,
                               .codes = 4};
    const ts_vqgan_config vqgan = {.base = 32,
                                   .levels = 2,
                                   .width = {32, 32},
                                   .blocks = 1,
                                   .attention = {false, true},
                                   .latent = 4,
                                   .embed = 4,
                                   .codes = 4,
                                   .factor = 2};
    ts_error err = {0};
    return ts_mae_write_random(path, &mae, &vqgan, 1, &err) ? ts_weights_open(path, &err) : NULL;
}

static ts_weights *small_clip(const char *path)
{
    const ts_clip_trainer_desc desc = {.config = {.image = 4,
                                                  .patch = 2,
                                                  .width = 8,
                                                  .layers = 1,
                                                  .heads = 2,
                                                  .text_width = 8,
                                                  .text_layers = 1,
                                                  .text_heads = 2,
                                                  .context = 4,
                                                  .vocabulary = 16,
                                                  .embed = 4},
                                       .batch = 2};
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    ts_clip_trainer *t = ts_clip_trainer_new(host, &desc, &err);
    ts_weights *w = out && t && ts_clip_trainer_save(t, out, false, &err) ? written(out, path) : NULL;
    ts_clip_trainer_free(t);
    return w;
}

static ts_weights *small_prompt(const char *path)
{
    static const float numbers[64];
    static const struct {
        const char *key, *value;
    } meta[] = {{"tessera.prompt", "1"},  {"method", "coop"}, {"model", "0"}, {"classes", "[\"a\",\"b\"]"},
                {"setting.context", "2"}, {"seed", "1"},      {"shots", "4"}};
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    bool ok = ts_weights_writer_add(out, "ctx", TS_DT_F32, 2, (int64_t[]){2, 8}, numbers, &err);
    for (size_t i = 0; ok && i < sizeof meta / sizeof *meta; i++)
        ok = ts_weights_writer_meta(out, meta[i].key, meta[i].value, &err);
    return ok ? written(out, path) : NULL;
}

typedef struct {
    const char *name;
    int ndim;
    int64_t shape[4];
} named;

/* Pictures of 4 pixels in patches of 2, 8 wide with heads of 4. */
static ts_weights *small_seggpt(const char *path)
{
    static const float numbers[256];
    static const named outside[] = {{"patch_embed.proj.weight", 4, {8, 3, 2, 2}},
                                    {"patch_embed.proj.bias", 1, {8}},
                                    {"pos_embed", 3, {1, 2, 8}},
                                    {"mask_token", 4, {1, 1, 1, 8}},
                                    {"segment_token_x", 4, {1, 1, 1, 8}},
                                    {"segment_token_y", 4, {1, 1, 1, 8}},
                                    {"type_token_cls", 4, {1, 1, 1, 8}},
                                    {"type_token_ins", 4, {1, 1, 1, 8}},
                                    {"norm.weight", 1, {8}},
                                    {"norm.bias", 1, {8}},
                                    {"decoder_embed.weight", 2, {8, 32}},
                                    {"decoder_embed.bias", 1, {8}},
                                    {"decoder_pred.0.weight", 4, {2, 2, 3, 3}},
                                    {"decoder_pred.0.bias", 1, {2}},
                                    {"decoder_pred.1.weight", 1, {2}},
                                    {"decoder_pred.1.bias", 1, {2}},
                                    {"decoder_pred.3.weight", 4, {3, 2, 1, 1}},
                                    {"decoder_pred.3.bias", 1, {3}}};
    static const named inside[] = {
        {"norm1.weight", 1, {8}},      {"norm1.bias", 1, {8}},          {"attn.qkv.weight", 2, {24, 8}},
        {"attn.qkv.bias", 1, {24}},    {"attn.proj.weight", 2, {8, 8}}, {"attn.proj.bias", 1, {8}},
        {"attn.rel_pos_h", 2, {7, 4}}, {"attn.rel_pos_w", 2, {3, 4}},   {"norm2.weight", 1, {8}},
        {"norm2.bias", 1, {8}},        {"mlp.fc1.weight", 2, {8, 8}},   {"mlp.fc1.bias", 1, {8}},
        {"mlp.fc2.weight", 2, {8, 8}}, {"mlp.fc2.bias", 1, {8}}};
    enum { OUTSIDE = sizeof outside / sizeof *outside, INSIDE = sizeof inside / sizeof *inside, BLOCKS = 24 };
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    bool ok = true;
    for (int i = 0; ok && i < OUTSIDE; i++)
        ok = ts_weights_writer_add(out, outside[i].name, TS_DT_F32, outside[i].ndim, outside[i].shape, numbers, &err);
    for (int i = 0; ok && i < BLOCKS * INSIDE; i++) {
        const named *t = &inside[i % INSIDE];
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.%s", i / INSIDE, t->name);
        ok = ts_weights_writer_add(out, name, TS_DT_F32, t->ndim, t->shape, numbers, &err);
    }
    return ok ? written(out, path) : NULL;
}

static ts_weights *small_sam(const char *path)
{
    ts_error err = {0};
    return write_small_sam(path, 1, &err) ? ts_weights_open(path, &err) : NULL;
}

static ts_weights *small_mobile_sam(const char *path)
{
    ts_error err = {0};
    return write_small_mobile_sam(path, 1, &err) ? ts_weights_open(path, &err) : NULL;
}

/* `count` tensors, of which those whose names begin with '.' are once in each of two blocks, and heads of 4. */
static ts_weights *small_dino(const char *path, const named *list, int count, const char *blocks)
{
    static const float numbers[256];
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    bool ok = ts_weights_writer_meta(out, "heads", "2", &err);
    for (int i = 0; ok && i < count; i++)
        for (int block = 0; ok && block < (list[i].name[0] == '.' ? 2 : 1); block++) {
            char name[64];
            if (list[i].name[0] == '.') snprintf(name, sizeof name, "%s.%d%s", blocks, block, list[i].name);
            else snprintf(name, sizeof name, "%s", list[i].name);
            ok = ts_weights_writer_add(out, name, TS_DT_F32, list[i].ndim, list[i].shape, numbers, &err);
        }
    return ok ? written(out, path) : NULL;
}

/* As facebookresearch has it, with registers. */
static ts_weights *small_dinov2(const char *path)
{
    static const named list[] = {{"cls_token", 3, {1, 1, 8}},
                                 {"register_tokens", 3, {1, 2, 8}},
                                 {"pos_embed", 3, {1, 5, 8}},
                                 {"patch_embed.proj.weight", 4, {8, 3, 2, 2}},
                                 {"patch_embed.proj.bias", 1, {8}},
                                 {"norm.weight", 1, {8}},
                                 {"norm.bias", 1, {8}},
                                 {".norm1.weight", 1, {8}},
                                 {".norm1.bias", 1, {8}},
                                 {".attn.qkv.weight", 2, {24, 8}},
                                 {".attn.qkv.bias", 1, {24}},
                                 {".attn.proj.weight", 2, {8, 8}},
                                 {".attn.proj.bias", 1, {8}},
                                 {".ls1.gamma", 1, {8}},
                                 {".norm2.weight", 1, {8}},
                                 {".norm2.bias", 1, {8}},
                                 {".mlp.fc1.weight", 2, {8, 8}},
                                 {".mlp.fc1.bias", 1, {8}},
                                 {".mlp.fc2.weight", 2, {8, 8}},
                                 {".mlp.fc2.bias", 1, {8}},
                                 {".ls2.gamma", 1, {8}}};
    return small_dino(path, list, sizeof list / sizeof *list, "blocks");
}

/* As Hugging Face has it, with a gated MLP. */
static ts_weights *small_dinov3(const char *path)
{
    static const named list[] = {{"embeddings.cls_token", 3, {1, 1, 8}},
                                 {"embeddings.register_tokens", 3, {1, 4, 8}},
                                 {"embeddings.patch_embeddings.weight", 4, {8, 3, 2, 2}},
                                 {"embeddings.patch_embeddings.bias", 1, {8}},
                                 {"norm.weight", 1, {8}},
                                 {"norm.bias", 1, {8}},
                                 {".norm1.weight", 1, {8}},
                                 {".norm1.bias", 1, {8}},
                                 {".attention.q_proj.weight", 2, {8, 8}},
                                 {".attention.q_proj.bias", 1, {8}},
                                 {".attention.k_proj.weight", 2, {8, 8}},
                                 {".attention.v_proj.weight", 2, {8, 8}},
                                 {".attention.v_proj.bias", 1, {8}},
                                 {".attention.o_proj.weight", 2, {8, 8}},
                                 {".attention.o_proj.bias", 1, {8}},
                                 {".layer_scale1.lambda1", 1, {8}},
                                 {".norm2.weight", 1, {8}},
                                 {".norm2.bias", 1, {8}},
                                 {".mlp.gate_proj.weight", 2, {8, 8}},
                                 {".mlp.gate_proj.bias", 1, {8}},
                                 {".mlp.up_proj.weight", 2, {8, 8}},
                                 {".mlp.up_proj.bias", 1, {8}},
                                 {".mlp.down_proj.weight", 2, {8, 8}},
                                 {".mlp.down_proj.bias", 1, {8}},
                                 {".layer_scale2.lambda1", 1, {8}}};
    return small_dino(path, list, sizeof list / sizeof *list, "layer");
}

static void begin(void)
{
    static ts_weights *(*const make[MODELS])(const char *) = {small_mae, small_clip,   small_prompt, small_seggpt,
                                                              small_sam, small_dinov2, small_dinov3, small_mobile_sam};
    char folder[] = "/tmp/fuzz-models-XXXXXX", path[64];
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    host = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, NULL);
    for (int i = 0; i < MODELS; i++) {
        base[i] = make[i](path);
        if (!base[i]) abort();
        unlink(path);
    }
    rmdir(folder);
}

/* ---- a file that is wrong ---------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const ts_weight *const *)a)->name, (*(const ts_weight *const *)b)->name);
}

/* What a reader of files would make of it, or nothing: a file's names differ. */
static bool index_names(ts_weights *w)
{
    if (w->count == 0) return false;
    w->by_name = malloc((size_t)w->count * sizeof *w->by_name);
    if (!w->by_name) return false;
    for (int64_t i = 0; i < w->count; i++) w->by_name[i] = &w->list[i];
    qsort(w->by_name, (size_t)w->count, sizeof *w->by_name, by_name);
    for (int64_t i = 1; i < w->count; i++)
        if (strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) == 0) return false;
    return true;
}

static void change_shape(ts_weight *t, uint8_t which, uint8_t value)
{
    static const int64_t sides[] = {0,   1,    2,     3,     4,       5,       7,       8,       16,      33,     64,
                                    255, 1024, 16384, 65535, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 12};
    const ts_weight before = *t;
    if (which < 64) t->ndim = value % (TS_MAX_FILE_DIMS + 1);
    if (which >= 64 && t->ndim > 0) t->shape[which % t->ndim] = sides[value % (sizeof sides / sizeof *sides)];
    for (int d = before.ndim; d < t->ndim; d++) t->shape[d] = 1;
    if (!ts_shape_count(t->ndim, t->shape, MOST_ELEMENTS, &t->count)) *t = before;
}

static const char *const words[] = {"0",    "1",    "2",          "3",   "-1", "2e60", "99999999999", "nan",
                                    "gelu", "1..2", "quick_gelu", "[1]", "[[", "\"",   "coop",        ""};
static const char *const keys[] = {"heads",          "decoder_heads", "vqgan_groups", "examples",        "blend",         "views",
                                   "vision_heads",   "text_heads",    "hidden_act",   "image_mean",      "image_std",     "step",
                                   "tessera.prompt", "method",        "classes",      "setting.context", "setting.depth", "seed"};

/* A copy of a base model with the changes. NULL: no file could hold it. */
static ts_weights *changed(const uint8_t *bytes, size_t size)
{
    const ts_weights *from = base[bytes[0] % MODELS];
    ts_error err = {0};
    ts_weights *w = calloc(1, sizeof *w);
    uint8_t *gone = calloc((size_t)from->count, 1);
    bool ok = w && gone && (w->path = strdup("fuzz")) != NULL;
    for (int64_t i = 0; ok && i < from->count; i++) {
        ts_weight t = from->list[i];
        const char *name = t.name;
        t.data = zero;
        for (size_t at = 1; at + CHANGE <= size; at += CHANGE) {
            const uint8_t *c = bytes + at;
            if (c[1] % from->count != i) continue;
            if (c[0] % 8 < 4) change_shape(&t, c[2], c[3]);
            if (c[0] % 8 == 4) t.dtype = (ts_dtype)(c[2] % (TS_DT_BOOL + 1));
            if (c[0] % 8 == 5) gone[i] = 1;
            if (c[0] % 8 == 6) name = from->list[c[2] % from->count].name;
        }
        memset(t.stride, 0, sizeof t.stride);
        t.contiguous = t.count <= 1;
        if (!gone[i]) ok = ts_weights_push(w, name, strlen(name), &t, &err);
    }
    for (int64_t i = 0; ok && i < from->meta_count; i++)
        ok = ts_weights_push_meta(w, from->meta[2 * i], from->meta[2 * i + 1], &err);
    for (size_t at = 1; ok && at + CHANGE <= size; at += CHANGE) {
        const uint8_t *c = bytes + at;
        if (c[0] % 8 != 7) continue;
        const char *key = keys[c[2] % (sizeof keys / sizeof *keys)], *value = words[c[3] % (sizeof words / sizeof *words)];
        bool there = false;
        for (int64_t m = 0; m < w->meta_count; m++) { /* in the place of the base's */
            if (strcmp(w->meta[2 * m], key) != 0) continue;
            free(w->meta[2 * m + 1]);
            there = (w->meta[2 * m + 1] = strdup(value)) != NULL;
        }
        ok = there || ts_weights_push_meta(w, key, value, &err);
    }
    free(gone);
    if (ok && index_names(w)) return w;
    ts_weights_free(w);
    return NULL;
}

/* ---- what a user does with it --------------------------------------------------------------------------------------- */

static void check(bool ok, const ts_error *err)
{
    if (!ok && !err->code) abort(); /* a refusal without a reason */
}

static void try_mae(const ts_weights *w)
{
    ts_error err = {0};
    ts_vqgan_config vqgan;
    ts_model_info info;
    check(ts_model_about(w, &info, &err), &err);
    err = (ts_error){0};
    check(ts_vqgan_find(w, &vqgan, &err) != NULL, &err);
    err = (ts_error){0};
    ts_inpainter *ip = ts_inpainter_new(host, &(ts_inpainter_desc){.weights = w}, &err);
    check(ip != NULL, &err);
    const ts_mae_config *c = ip ? ts_inpainter_mae(ip) : NULL;
    ts_grid grid;
    if (ip && ts_grid_plan(&(ts_grid_desc){.canvas = c->side * c->patch, .patch = c->patch}, &grid, &err))
        check(ts_inpainter_prepare(ip, &grid, 1, NULL, NULL, &err), &err);
    ts_inpainter_free(ip);
}

static void try_clip(const ts_weights *w)
{
    ts_error err = {0};
    ts_clip_config config;
    check(ts_clip_config_read(w, &(ts_clip_told){.any = true}, &config, &err), &err);
    err = (ts_error){0};
    ts_clip *c = ts_clip_new(host, w, NULL, &err);
    check(c != NULL, &err);
    if (c && config.image <= 16) {
        float *pixels = calloc((size_t)config.image * (size_t)config.image * 3, sizeof *pixels);
        float *features = calloc((size_t)config.embed, sizeof *features);
        if (pixels && features) check(ts_clip_encode_images(c, pixels, 1, features, &err), &err);
        free(pixels);
        free(features);
    }
    ts_clip_free(c);
}

static void try_dino(const ts_weights *w)
{
    enum { ROWS = 2, COLUMNS = 3, MOST_WIDTH = 64, MOST_PATCH = 16 };
    ts_error err = {0};
    ts_dino *d = ts_dino_new(host, w, ROWS, COLUMNS, &err);
    check(d != NULL, &err);
    const ts_dino_config *c = d ? ts_dino_about(d) : NULL;
    if (c && c->width <= MOST_WIDTH && c->patch <= MOST_PATCH && c->mlp <= 1024) {
        float *pixels = calloc((size_t)ROWS * COLUMNS * (size_t)c->patch * (size_t)c->patch * 3, sizeof *pixels);
        float *tokens = calloc((size_t)ROWS * COLUMNS * (size_t)c->width, sizeof *tokens);
        if (pixels && tokens) check(ts_dino_encode(d, pixels, true, tokens, &err), &err);
        free(pixels);
        free(tokens);
    }
    ts_dino_free(d);
}

static void try_painter(const ts_weights *w)
{
    ts_error err = {0};
    ts_painter_config config;
    check(ts_painter_config_read(w, &config, &err), &err);
    err = (ts_error){0};
    check(ts_painter_check(w, &err), &err);
    err = (ts_error){0};
    ts_painter *p = ts_painter_new(host, w, &err);
    check(p != NULL, &err);
    ts_painted painted = {0};
    uint8_t black[3] = {0};
    const ts_image pixel = {1, 1, black};
    if (p && config.side <= 16)
        check(ts_painter_run(p, &(ts_painter_pair){&pixel, &pixel}, 1, &pixel, NULL, &painted, NULL, &err), &err);
    ts_painted_clear(&painted);
    ts_painter_free(p);
}

/* Of a SAM of small sizes also an answer: to a point with a rough mask, about an embedding of zeros. A MobileSAM's map is large,
 * and its decoder a SAM's. */
static void try_sam(const ts_weights *w)
{
    enum { SMALL = 64 };
    ts_error err = {0};
    ts_sam_config c;
    check(ts_sam_check(w, &err), &err);
    err = (ts_error){0};
    const bool read = ts_sam_config_read(w, &c, &err);
    check(read, &err);
    if (!read || c.tiny || c.side > SMALL || c.embed > SMALL || c.decoder_inner > SMALL || c.decoder_mlp > SMALL ||
        c.upscaled[0] > SMALL || c.upscaled[1] > SMALL || c.prior[0] > SMALL || c.prior[1] > SMALL || c.score_width > SMALL)
        return;
    ts_sam *s = ts_sam_new(host, &(ts_sam_desc){.weights = w}, &err);
    check(s != NULL, &err);
    float *zeros = calloc((size_t)c.side * (size_t)c.side * 16 * SMALL, sizeof *zeros);
    const ts_sam_prompt prompt = {.points = 1, .point = (float[]){3, 4}, .label = (int[]){1}, .prior = zeros};
    ts_sam_answer answer = {0};
    const bool set = s && zeros && ts_sam_set_embedding(s, zeros, 9, 7, &err);
    check(set || !zeros, &err);
    if (set) check(ts_sam_predict(s, &prompt, 1, NULL, &answer, &err), &err);
    ts_sam_answer_clear(&answer);
    ts_sam_free(s);
    free(zeros);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!host) begin();
    if (size < 1) return 0;
    ts_weights *w = changed(bytes, size);
    if (!w) return 0;
    ts_error err = {0};
    ts_prompt_file prompt;
    try_mae(w);
    try_clip(w);
    try_sam(w);
    try_dino(w);
    try_painter(w);
    const bool ok = ts_prompt_file_read(w, NULL, &prompt, &err);
    check(ok, &err);
    if (ok) ts_prompt_file_clear(&prompt);
    ts_weights_free(w);
    return 0;
}
