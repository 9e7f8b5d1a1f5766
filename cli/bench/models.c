/* models.c - whole models: the MAE with the published layout's visible patches, the VQGAN's encoder and decoder. Without a
 * file, weights are random numbers in a published shape, written to a temporary file and mapped like any checkpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "mae/mae.h"

typedef struct {
    const ts_bench_model_desc *desc;
    ts_device *dev;
    ts_bench_add add;
    void *ctx;
    ts_weights *weights;
    ts_mae mae;
    ts_vqgan vqgan;
    ts_grid grid;
    int32_t *keep; /* batch x visible */
    float *pixels; /* of the larger of canvas and picture, batch x side x side x 3 */
    int32_t *codes;
    int visible;
} model_bench;

static const struct {
    const char *name;
    int dim, depth, heads;
} published[] = {{"small", 384, 12, 12}, {"base", 768, 12, 12}, {"large", 1024, 24, 16}};

/* ---- the weights --------------------------------------------------------------------------------------------- */

static bool write_shape(const model_bench *b, const char *path, ts_error *err)
{
    const ts_vqgan_config f16 = {.base = 128,
                                 .levels = 5,
                                 .width = {128, 128, 256, 256, 512},
                                 .blocks = 2,
                                 .attention = {false, false, false, false, true},
                                 .latent = 256,
                                 .embed = 256,
                                 .codes = 1024,
                                 .factor = 16};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (strcmp(published[i].name, b->desc->shape) != 0) continue;
        ts_mae_config mae = {.patch = 16,
                             .side = 14,
                             .dim = published[i].dim,
                             .depth = published[i].depth,
                             .heads = published[i].heads,
                             .mlp = 4 * published[i].dim,
                             .decoder_dim = 512,
                             .decoder_depth = 8,
                             .decoder_heads = 16,
                             .decoder_mlp = 2048,
                             .codes = 1024};
        return ts_mae_write_random(path, &mae, &f16, b->desc->seed, err);
    }
    return ts_mae_write_random(path, NULL, NULL, b->desc->seed, err);
}

/* The file is removed at once: the map keeps it alive as long as it is needed, whatever happens to us. */
static bool open_random(model_bench *b, ts_error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[1024];
    snprintf(path, sizeof path, "%.900s/tessera-bench-XXXXXX", folder && folder[0] ? folder : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0) return ts_fail(err, TS_ERR_IO, "no temporary file can be made: %s (TMPDIR tells where)", path);
    close(fd);
    bool ok = write_shape(b, path, err) && (b->weights = ts_weights_open(path, err)) != NULL;
    unlink(path);
    return ok;
}

static bool open_model(model_bench *b, ts_error *err)
{
    if (b->desc->file) b->weights = ts_weights_open(b->desc->file, err);
    else if (!open_random(b, err)) return false;
    if (!b->weights) return false;
    if (!ts_mae_config_read(b->weights, b->desc->heads, b->desc->decoder_heads, false, &b->mae.config, err)) return false;
    const char *prefix = ts_vqgan_prefix(b->weights);
    if (!prefix) return ts_fail(err, TS_ERR_FORMAT, "%s holds no VQGAN (no tensor vae.*)", ts_weights_path(b->weights));
    return ts_vqgan_config_read(b->weights, prefix, &b->vqgan.config, err) &&
           (b->mae.params = ts_params_new(b->dev, b->weights, "", err)) != NULL &&
           (b->vqgan.params = ts_params_new(b->dev, b->weights, prefix, err)) != NULL;
}

/* ---- the inputs ---------------------------------------------------------------------------------------------- */

static bool make_inputs(model_bench *b, ts_error *err)
{
    const ts_mae_config *c = &b->mae.config;
    int64_t places = (int64_t)c->side * c->side, batch = b->desc->batch;
    int unit = c->patch > b->vqgan.config.factor ? c->patch : b->vqgan.config.factor;
    int64_t values = batch * places * unit * unit * 3;
    if (places < 1 || batch < 1) return ts_fail(err, TS_ERR_ARGUMENT, "there is nothing to measure");
    if (!ts_grid_plan(&(ts_grid_desc){.canvas = c->side * c->patch, .patch = c->patch}, &b->grid, err)) return false;
    b->keep = calloc((size_t)(batch * places), sizeof *b->keep);
    b->codes = calloc((size_t)(batch * places), sizeof *b->codes);
    b->pixels = calloc((size_t)values, sizeof *b->pixels);
    if (!b->keep || !b->codes || !b->pixels) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    b->visible = ts_grid_keep(&b->grid, b->keep);
    for (int64_t i = 1; i < batch; i++) memcpy(b->keep + i * b->visible, b->keep, (size_t)b->visible * sizeof *b->keep);
    for (int64_t i = 0; i < batch * places; i++) b->codes[i] = (int32_t)(i * 7919 % b->vqgan.config.codes);
    for (int64_t i = 0; i < values; i++) b->pixels[i] = (float)(i * 7919 % 2001) * 1e-3F - 1;
    return true;
}

/* ---- one row each -------------------------------------------------------------------------------------------- */

/* Plans, fills the input, measures, hands the row on. `index` NULL: the model has none. */
static bool measure(const model_bench *b, ts_graph *g, const ts_params *params, ts_tensor *in, const void *data,
                    const ts_mae_index *index, ts_bench_row *row, ts_error *err)
{
    ts_exec *e = ts_params_check(params, err) ? ts_exec_new(g, b->dev, err) : NULL;
    bool ok = e && ts_write(e, in, data, err) && (!index || ts_mae_index_write(e, &b->mae, index, b->keep, NULL, err)) &&
              ts_bench_time(e, b->desc->budget, row, err);
    ts_exec_free(e);
    return ok && b->add(b->ctx, row, err);
}

static void name_row(const model_bench *b, ts_bench_row *row, const char *part)
{
    *row = (ts_bench_row){0};
    snprintf(row->name, sizeof row->name, "%s", part);
    if (strcmp(part, "MAE") == 0) snprintf(row->name, sizeof row->name, "MAE %s", b->desc->file ? "of the file" : b->desc->shape);
}

static bool bench_mae(const model_bench *b, ts_error *err)
{
    const ts_mae_config *c = &b->mae.config;
    int64_t batch = b->desc->batch, canvas = c->side * c->patch;
    ts_graph *g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_tensor *in = ts_input(g, "canvas", TS_REAL, 4, (int64_t[]){batch, canvas, canvas, 3});
    ts_mae_index index = ts_mae_index_new(g, &b->mae, batch, b->visible, (int64_t)c->side * c->side);
    ts_output(g, ts_argmax(g, ts_mae_decode(g, &b->mae, ts_mae_encode(g, &b->mae, in, &index), &index)));
    ts_bench_row row;
    name_row(b, &row, "MAE");
    snprintf(row.shape, sizeof row.shape, "%d of %d patches visible, batch %d", b->visible, c->side * c->side, b->desc->batch);
    bool ok = measure(b, g, b->mae.params, in, b->pixels, &index, &row, err);
    ts_graph_free(g);
    return ok;
}

static bool bench_vqgan(const model_bench *b, bool decoder, ts_error *err)
{
    int side = b->mae.config.side, picture = side * b->vqgan.config.factor;
    int64_t batch = b->desc->batch, places = (int64_t)side * side;
    ts_graph *g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_tensor *in;
    if (decoder) {
        in = ts_input(g, "codes", TS_I32, 2, (int64_t[]){batch, places});
        ts_output(g, ts_vqgan_paint(g, &b->vqgan, in, side, side));
    } else {
        in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){batch, picture, picture, 3});
        ts_output(g, ts_vqgan_codes(g, &b->vqgan, ts_vqgan_encode(g, &b->vqgan, in)));
    }
    ts_bench_row row;
    name_row(b, &row, decoder ? "VQGAN decoder" : "VQGAN encoder");
    snprintf(row.shape, sizeof row.shape, "%d x %d pixels, %d wide, batch %d", picture, picture, b->vqgan.config.base,
             b->desc->batch);
    bool ok = measure(b, g, b->vqgan.params, in, decoder ? (const void *)b->codes : b->pixels, NULL, &row, err);
    ts_graph_free(g);
    return ok;
}

bool ts_bench_model(const ts_bench_model_desc *desc, ts_device *dev, bool vqgan, ts_bench_add add, void *ctx, ts_error *err)
{
    model_bench b = {.desc = desc, .dev = dev, .add = add, .ctx = ctx};
    bool ok = open_model(&b, err) && make_inputs(&b, err) && bench_mae(&b, err) &&
              (!vqgan || (bench_vqgan(&b, false, err) && bench_vqgan(&b, true, err)));
    ts_params_free(b.mae.params);
    ts_params_free(b.vqgan.params);
    ts_weights_free(b.weights);
    free(b.keep);
    free(b.codes);
    free(b.pixels);
    return ok;
}
