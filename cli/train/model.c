/* model.c - the model in training, a masked autoencoder or a VQGAN, behind one set of functions, so that the run itself
 * does not ask which. Validation and pictures look at fixed canvases that training never sees. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/train/training.h"

/* Canvases in a picture of the progress, pixels between them, and above them for what the columns are. */
enum { PICTURES = 8, GAP = 4, HEAD = TS_LETTER_HEIGHT + 8 };

struct ts_train_model {
    const ts_train_config *config;
    ts_device *dev;
    ts_mae_trainer *mae;
    ts_vqgan_trainer *vqgan;
    ts_weights *init, *vqgan_file;
    ts_weights *lpips_file, *vgg_file;
    ts_lpips *lpips;
    ts_vqgan_coder *coder; /* gives the labels */
    int64_t canvas_bytes, places, visible;
    float *pixels;  /* (batch, canvas, canvas, 3) as the trainer takes them */
    int32_t *codes; /* (batch, places) */
    /* Validation: eval_batches batches. */
    uint8_t *val_pixels;
    int32_t *val_keep, *val_codes;
    ts_grid *val_grids;
};

int ts_train_model_visible(const ts_train_config *config)
{
    if (config->kind != TS_TRAIN_MAE) return 0;
    int places = config->mae.side * config->mae.side, visible = (int)lround(places * (1 - config->mask));
    return visible < 1 ? 1 : visible >= places ? places - 1 : visible;
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

static bool open_vqgan(ts_train_model *m, ts_train_config *c, ts_error *err)
{
    /* A checkpoint to start from may hold the VQGAN as well. */
    const char *path = c->vqgan ? c->vqgan : c->init;
    if (!path) return ts_fail(err, TS_ERR_ARGUMENT, "a VQGAN for the labels is missing: --vqgan FILE (tessera train vqgan)");
    if (!(m->vqgan_file = ts_open_weights(path, c->quiet, err))) return false;
    if (!ts_weights_check_finite(m->vqgan_file, err)) return false;
    ts_weights_detach(m->vqgan_file); /* what happens to the file in the hours to come is of no matter */
    if (!c->vqgan && !ts_vqgan_prefix(m->vqgan_file) && ts_kind_expect(m->vqgan_file, TS_KIND_MAE_VQGAN, err))
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no VQGAN: name one with --vqgan FILE", path);
    return ts_vqgan_find(m->vqgan_file, &c->vq, err) != NULL;
}

static bool make_mae(ts_train_model *m, ts_train_config *c, const ts_weights *checkpoint, ts_error *err)
{
    if (!open_vqgan(m, c, err)) return false;
    const ts_weights *from = checkpoint ? checkpoint : m->init;
    if (from && !ts_mae_config_read(from, checkpoint ? 0 : c->heads, checkpoint ? 0 : c->decoder_heads, false, &c->mae, err))
        return false;
    if (!from) c->mae.codes = c->vq.codes;
    if (!ts_mae_check_codes(from, &c->mae, m->vqgan_file, &c->vq, err)) return false;
    c->canvas = c->mae.side * c->mae.patch;
    m->places = (int64_t)c->mae.side * c->mae.side;
    m->visible = ts_train_model_visible(c);
    ts_mae_trainer_desc desc = {.weights = from,
                                .config = c->mae,
                                .batch = c->batch,
                                .visible = (int)m->visible,
                                .accumulate = c->accumulate,
                                .visible_loss = c->visible_loss,
                                .recompute = c->recompute,
                                /* The trainer takes zero for the default; no decay is one too small to be felt. */
                                .weight_decay = c->weight_decay > 0 ? c->weight_decay : 1e-30,
                                .clip_norm = c->clip,
                                .seed = c->seed};
    m->mae = ts_mae_trainer_new(m->dev, &desc, err);
    if (!m->mae || (checkpoint && !ts_mae_trainer_resume(m->mae, checkpoint, err))) return false;
    m->coder = ts_vqgan_coder_new(m->dev, m->vqgan_file, c->batch, c->mae.side, err);
    return m->coder != NULL;
}

static bool open_lpips(ts_train_model *m, const ts_train_config *c, ts_error *err)
{
    if (!c->lpips) return true;
    if (!(m->lpips_file = ts_open_weights(c->lpips, c->quiet, err))) return false;
    if (c->vgg && !(m->vgg_file = ts_open_weights(c->vgg, c->quiet, err))) return false;
    if (!ts_weights_check_finite(m->lpips_file, err) || (m->vgg_file && !ts_weights_check_finite(m->vgg_file, err))) return false;
    ts_weights_detach(m->lpips_file);
    if (m->vgg_file) ts_weights_detach(m->vgg_file);
    m->lpips = ts_lpips_new(m->dev, m->lpips_file, m->vgg_file, err);
    return m->lpips != NULL;
}

static bool make_vqgan(ts_train_model *m, ts_train_config *c, const ts_weights *checkpoint, ts_error *err)
{
    if (!open_lpips(m, c, err)) return false;
    ts_vqgan_trainer_desc desc = {.weights = checkpoint ? checkpoint : m->init,
                                  .config = c->vq,
                                  .batch = c->batch,
                                  .side = c->canvas,
                                  .accumulate = c->accumulate,
                                  .revive = c->revive,
                                  .continuous = c->continuous,
                                  .decoder_only = c->decoder_only,
                                  .merge = c->merge,
                                  .lpips = m->lpips,
                                  .discriminator = c->discriminator_start < 0 ? 0 : c->discriminator_width,
                                  .discriminator_start = c->discriminator_start,
                                  .seed = c->seed};
    m->vqgan = ts_vqgan_trainer_new(m->dev, &desc, err);
    if (!m->vqgan || (checkpoint && !ts_vqgan_trainer_resume(m->vqgan, checkpoint, err))) return false;
    c->vq = *ts_vqgan_trainer_config(m->vqgan);
    m->places = (int64_t)(c->canvas / c->vq.factor) * (c->canvas / c->vq.factor);
    return true;
}

ts_train_model *ts_train_model_new(ts_train_config *config, ts_device *dev, const ts_weights *checkpoint, ts_error *err)
{
    ts_train_model *m = calloc(1, sizeof *m);
    if (!m) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    m->config = config;
    m->dev = dev;
    bool ok = !config->init || checkpoint || (m->init = ts_open_weights(config->init, config->quiet, err)) != NULL;
    ok = ok && (!m->init || ts_weights_check_finite(m->init, err));
    if (ok) ok = config->kind == TS_TRAIN_MAE ? make_mae(m, config, checkpoint, err) : make_vqgan(m, config, checkpoint, err);
    if (ok) {
        m->canvas_bytes = (int64_t)config->canvas * config->canvas * 3;
        m->pixels = calloc((size_t)config->batch, (size_t)m->canvas_bytes * sizeof *m->pixels);
        m->codes = calloc((size_t)config->batch, (size_t)m->places * sizeof *m->codes);
        ok = (m->pixels && m->codes) || ts_fail(err, TS_ERR_MEMORY, "out of memory for a batch of %d", config->batch);
    }
    if (ok) return m;
    ts_train_model_free(m);
    return NULL;
}

void ts_train_model_free(ts_train_model *m)
{
    if (!m) return;
    ts_mae_trainer_free(m->mae);
    ts_vqgan_trainer_free(m->vqgan);
    ts_vqgan_coder_free(m->coder);
    ts_lpips_free(m->lpips);
    ts_weights_free(m->lpips_file);
    ts_weights_free(m->vgg_file);
    ts_weights_free(m->init);
    ts_weights_free(m->vqgan_file);
    free(m->pixels);
    free(m->codes);
    free(m->val_pixels);
    free(m->val_keep);
    free(m->val_codes);
    free(m->val_grids);
    free(m);
}

int64_t ts_train_model_steps(const ts_train_model *m)
{
    return m->mae ? ts_mae_trainer_steps(m->mae) : ts_vqgan_trainer_steps(m->vqgan);
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

static void convert(ts_train_model *m, const uint8_t *pixels)
{
    int64_t values = m->config->batch * m->canvas_bytes;
    if (m->mae) {
        ts_mae_normalise(pixels, values / 3, m->pixels);
        return;
    }
    for (int64_t i = 0; i < values; i++) m->pixels[i] = 2 * ((float)pixels[i] / 255) - 1;
}

bool ts_train_model_step(ts_train_model *m, const ts_batch *batch, double lr, ts_train_entry *entry, ts_error *err)
{
    convert(m, batch->pixels);
    entry->accuracy = entry->reconstruction = entry->perceptual = entry->codebook = entry->codes_used = (double)NAN;
    entry->generator = entry->discriminator = entry->adaptive_weight = (double)NAN;
    const double scale = m->mae ? ts_mae_trainer_loss_scale(m->mae) : ts_vqgan_trainer_loss_scale(m->vqgan);
    entry->loss_scale = scale > 0 ? scale : (double)NAN;
    if (m->mae)
        return ts_vqgan_coder_encode(m->coder, batch->pixels, m->config->canvas, m->codes, err) &&
               ts_mae_trainer_step(m->mae, m->pixels, batch->keep, m->codes, lr, &entry->loss, &entry->accuracy, err);
    ts_vqgan_losses losses;
    if (!ts_vqgan_trainer_step(m->vqgan, m->pixels, lr, &losses, err)) return false;
    entry->loss = losses.total;
    entry->reconstruction = losses.reconstruction;
    entry->perceptual = losses.perceptual;
    entry->codebook = losses.codebook;
    entry->generator = losses.generator;
    entry->discriminator = losses.discriminator;
    entry->adaptive_weight = losses.weight;
    entry->codes_used = losses.codes_used;
    return true;
}

/* ---- saving ---------------------------------------------------------------------------------------------------- */

bool ts_train_model_save(ts_train_model *m, const char *path, bool checkpoint, ts_error *err)
{
    ts_weights_writer *w = ts_weights_writer_new();
    if (!w) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    bool ok = m->mae ? ts_mae_trainer_save(m->mae, w, checkpoint, err) : ts_vqgan_trainer_save(m->vqgan, w, checkpoint, err);
    ok = ok && ts_weights_writer_check_finite(w, err);
    if (ok && m->mae && !checkpoint) ok = ts_vqgan_embed(m->vqgan_file, TS_DT_F32, w, err);
    if (ok && !checkpoint && m->config->fp16) ts_weights_writer_narrow(w, TS_DT_F16);
    ok = ok && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    return ok;
}

/* ---- validation ------------------------------------------------------------------------------------------------ */

bool ts_train_model_prepare(ts_train_model *m, ts_left_out *left_out, ts_error *err)
{
    const ts_train_config *c = m->config;
    ts_loader_desc desc = {.sources = c->sources,
                           .count = c->source_count,
                           .canvas = c->canvas,
                           .patch = m->mae ? c->mae.patch : c->vq.factor,
                           .batch = c->batch,
                           .visible = (int)m->visible,
                           .cell_share = c->cell_share,
                           .least_scale = c->scale,
                           .seed = c->seed,
                           .validation = true,
                           .strict = left_out->strict,
                           .ahead = 1};
    size_t batch = (size_t)c->batch, count = batch * (size_t)c->eval_batches, all_keep = count * (size_t)m->visible;
    ts_loader *l = ts_loader_new(&desc, err);
    if (!l) return false;
    m->val_pixels = malloc(count * (size_t)m->canvas_bytes);
    m->val_keep = malloc((all_keep + 1) * sizeof *m->val_keep);
    m->val_codes = malloc(count * (size_t)m->places * sizeof *m->val_codes);
    m->val_grids = calloc(count, sizeof *m->val_grids);
    bool ok = m->val_pixels && m->val_keep && m->val_codes && m->val_grids;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d batches to validate with", c->eval_batches);
    for (size_t i = 0; ok && i < (size_t)c->eval_batches; i++) {
        ts_batch b;
        ok = ts_loader_next(l, &b, err);
        if (!ok) break;
        uint8_t *pixels = m->val_pixels + i * batch * (size_t)m->canvas_bytes;
        memcpy(pixels, b.pixels, batch * (size_t)m->canvas_bytes);
        if (!m->mae || !b.keep || !b.grids) continue; /* a VQGAN's batches have no masks */
        memcpy(m->val_keep + i * batch * (size_t)m->visible, b.keep, batch * (size_t)m->visible * sizeof *b.keep);
        memcpy(m->val_grids + i * batch, b.grids, batch * sizeof *b.grids);
        ok = ts_vqgan_coder_encode(m->coder, pixels, c->canvas, m->val_codes + i * batch * (size_t)m->places, err);
    }
    ts_error why;
    while (ok && ts_loader_skipped(l, &why)) ok = ts_leave_out(left_out, &why, err);
    ts_loader_free(l);
    return ok;
}

static bool validate_mae(ts_train_model *m, ts_train_entry *entry, ts_error *err)
{
    int64_t batch = m->config->batch;
    for (int64_t i = 0; i < m->config->eval_batches && !ts_training_stopping(); i++) {
        double loss, accuracy;
        convert(m, m->val_pixels + i * batch * m->canvas_bytes);
        if (!ts_mae_trainer_evaluate(m->mae, m->pixels, m->val_keep + i * batch * m->visible,
                                     m->val_codes + i * batch * m->places, &loss, &accuracy, err))
            return false;
        entry->loss += loss / m->config->eval_batches;
        entry->accuracy += accuracy / m->config->eval_batches;
    }
    return true;
}

/* A VQGAN read back from its file, to see what it makes of pictures. */
static ts_vqgan_coder *open_coder(ts_train_model *m, const char *checkpoint, ts_weights **w, ts_error *err)
{
    *w = ts_weights_open(checkpoint, err);
    return *w ? ts_vqgan_coder_new(m->dev, *w, m->config->batch, m->config->canvas / m->config->vq.factor, err) : NULL;
}

/* Mean |x - y| over pictures in [-1, 1], and how many codes the validation uses. */
static bool validate_vqgan(ts_train_model *m, const char *checkpoint, ts_train_entry *entry, ts_error *err)
{
    ts_weights *w;
    ts_vqgan_coder *coder = open_coder(m, checkpoint, &w, err);
    int64_t values = m->config->batch * m->canvas_bytes, places = m->config->batch * m->places;
    uint8_t *used = calloc((size_t)m->config->vq.codes, 1);
    bool ok = coder && used;
    if (!used) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    double sum = 0;
    for (int64_t i = 0; ok && i < m->config->eval_batches && !ts_training_stopping(); i++) {
        const uint8_t *pixels = m->val_pixels + i * values;
        ok = ts_vqgan_coder_encode(coder, pixels, m->config->canvas, m->codes, err) &&
             ts_vqgan_coder_decode(coder, m->codes, m->pixels, err);
        for (int64_t k = 0; ok && k < values; k++) sum += fabs((double)m->pixels[k] - pixels[k] / 255.0);
        for (int64_t k = 0; ok && k < places; k++) used[m->codes[k]] = 1;
    }
    entry->loss = 2 * sum / (double)(values * m->config->eval_batches);
    entry->accuracy = (double)NAN;
    for (int k = 0; used && k < m->config->vq.codes; k++) entry->codes_used += used[k];
    free(used);
    ts_vqgan_coder_free(coder);
    ts_weights_free(w);
    return ok;
}

bool ts_train_model_validate(ts_train_model *m, const char *checkpoint, ts_train_entry *entry, ts_error *err)
{
    *entry = (ts_train_entry){.step = ts_train_model_steps(m), .validation = true};
    if (!m->mae) return validate_vqgan(m, checkpoint, entry, err);
    entry->codes_used = (double)NAN;
    return validate_mae(m, entry, err);
}

/* ---- pictures -------------------------------------------------------------------------------------------------- */

static void put(ts_image *sheet, int column, int row, int size, const uint8_t *pixels)
{
    /* The sheet's copy reads its source and no more. */
    const ts_image picture = {.width = size, .height = size, .data = (uint8_t *)pixels};
    ts_sheet_put(sheet, &picture, column * (size + GAP), HEAD + row * (size + GAP));
}

/* A column is as wide as a canvas, which may be small: what its head says is then cut. */
static bool new_sheet(const char *const *heads, int columns, int rows, int size, ts_image *out, ts_error *err)
{
    if (!ts_image_new(columns * (size + GAP) - GAP, HEAD + rows * (size + GAP) - GAP, out, err)) return false;
    memset(out->data, 128, (size_t)out->width * (size_t)out->height * 3);
    memset(out->data, 255, (size_t)out->width * HEAD * 3);
    for (int i = 0; i < columns; i++) {
        char head[32];
        snprintf(head, sizeof head, "%.*s", size / TS_LETTER_WIDTH, heads[i]);
        ts_draw_text(out, i * (size + GAP) + size / 2, 4, TS_TEXT_MIDDLE, head);
    }
    return true;
}

/* The hidden patches in grey, for the eye; the model does not see them at all. */
static void cover(const ts_grid *grid, ts_image *canvas)
{
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++)
            if (ts_grid_hidden(grid, y / grid->desc.patch, x / grid->desc.patch))
                memset(canvas->data + ((size_t)y * (size_t)canvas->width + (size_t)x) * 3, 160, 3);
}

/* A row for each canvas: with its hole, with the model's answer in it, and the truth. */
static bool draw_row(ts_train_model *m, ts_inpainter *ip, int at, ts_image *sheet, ts_error *err)
{
    const uint8_t *truth = m->val_pixels + at * m->canvas_bytes;
    int size = m->config->canvas;
    ts_image canvas;
    ts_inpainted answer = {0};
    if (!ts_image_new(size, size, &canvas, err)) return false;
    memcpy(canvas.data, truth, (size_t)m->canvas_bytes);
    bool ok = ts_inpainter_run(ip, &m->val_grids[at], &canvas, 1, NULL, &answer, NULL, err);
    if (ok) {
        cover(&m->val_grids[at], &canvas);
        put(sheet, 0, at, size, canvas.data);
        put(sheet, 1, at, size, answer.pasted.data);
        put(sheet, 2, at, size, truth);
    }
    ts_inpainted_clear(&answer);
    ts_image_clear(&canvas);
    return ok;
}

static bool draw_mae(ts_train_model *m, const char *checkpoint, int rows, ts_image *sheet, ts_error *err)
{
    ts_weights *w = ts_weights_open(checkpoint, err);
    ts_inpainter_desc desc = {.weights = w, .vqgan_weights = m->vqgan_file, .batch = 1};
    ts_inpainter *ip = w ? ts_inpainter_new(m->dev, &desc, err) : NULL;
    bool ok = ip != NULL;
    for (int i = 0; ok && i < rows; i++) ok = draw_row(m, ip, i, sheet, err);
    ts_inpainter_free(ip);
    ts_weights_free(w);
    return ok;
}

/* Pairs: the picture, and what comes back. */
static bool draw_vqgan(ts_train_model *m, const char *checkpoint, int rows, ts_image *sheet, ts_error *err)
{
    ts_weights *w;
    ts_vqgan_coder *coder = open_coder(m, checkpoint, &w, err);
    uint8_t *back = malloc((size_t)m->canvas_bytes);
    bool ok = coder && back;
    if (!back) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_vqgan_coder_encode(coder, m->val_pixels, m->config->canvas, m->codes, err) &&
         ts_vqgan_coder_decode(coder, m->codes, m->pixels, err);
    for (int i = 0; ok && i < rows; i++) {
        const float *painted = m->pixels + i * m->canvas_bytes;
        for (int64_t k = 0; k < m->canvas_bytes; k++) back[k] = (uint8_t)lroundf(255 * painted[k]);
        put(sheet, 0, i, m->config->canvas, m->val_pixels + i * m->canvas_bytes);
        put(sheet, 1, i, m->config->canvas, back);
    }
    free(back);
    ts_vqgan_coder_free(coder);
    ts_weights_free(w);
    return ok;
}

bool ts_train_model_picture(ts_train_model *m, const char *checkpoint, const char *path, ts_error *err)
{
    int held = m->config->batch * (m->mae ? m->config->eval_batches : 1), rows = held < PICTURES ? held : PICTURES;
    ts_image sheet;
    static const char *const of_mae[] = {"seen", "painted", "truth"}, *const of_vqgan[] = {"picture", "painted"};
    if (!new_sheet(m->mae ? of_mae : of_vqgan, m->mae ? 3 : 2, rows, m->config->canvas, &sheet, err)) return false;
    bool ok = m->mae ? draw_mae(m, checkpoint, rows, &sheet, err) : draw_vqgan(m, checkpoint, rows, &sheet, err);
    ok = ok && ts_image_save(path, &sheet, err);
    ts_image_clear(&sheet);
    return ok;
}
