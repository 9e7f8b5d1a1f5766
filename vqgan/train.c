/* train.c - one training step of the VQGAN as one graph: reconstruct, compare, gradients, Adam. The codebook learns by its own
 * loss; the encoder gets the decoder's gradient straight through the quantisation. Codes that nothing uses are revived with
 * latents of the last batch.
 *
 * A discriminator joins in by a second graph, planned when its first step has come: until then it costs nothing but its weights,
 * which are there from the beginning. Both sides learn at once, from the same pictures and before either is updated, so that one
 * pass through the discriminator serves both; the published code paints again for the discriminator after the generator's update.
 */
#include "engine/number.h"
#include "vqgan/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_STEPS = 64, POOL_EACH = 256 }; /* latents that a codebook begins from: of so many steps, so many of each */
enum { EVER = 1, NOW = 2 };

struct ts_vqgan_trainer {
    ts_vqgan vqgan;
    ts_vqgan_trainer_desc desc;
    ts_device *dev;
    ts_graph *g;
    ts_exec *e;
    ts_tensor *pixels;
    ts_vqgan_objective objective;
    ts_vqgan_discriminator discriminator; /* no params: none */
    ts_vqgan_adversary adversary;         /* from its first step on */
    ts_optimizer *optimizer, *opponent;   /* the VQGAN's; the discriminator's, from then on */
    int64_t opposed;                      /* steps of the discriminator */
    int64_t steps, places;                /* places of codes in a batch */
    int part, different;                  /* calls of the step under way, and the codes used in them */
    int32_t *codes;                       /* of the last batch */
    uint8_t *used;                        /* by code: EVER since the last revival, NOW in this step */
    float *pool;                          /* (POOL_STEPS, POOL_EACH, embed), where the first steps do not quantise */
    uint64_t random, discriminator_random;
    float *saved, *discriminator_saved;
};

static bool fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    ts_vqgan_trainer *t = ctx;
    ts_vqgan_fresh(name, ndim, shape, &t->random, out);
    return true;
}

ts_vqgan_objective ts_vqgan_objective_new(ts_graph *g, const ts_vqgan *v, ts_tensor *pixels, const ts_lpips *lpips, bool switched)
{
    ts_vqgan_objective o = {.latents = ts_vqgan_encode(g, v, pixels)}; /* (N, h, w, embed) */
    ts_tensor *z = o.latents;
    o.codes = ts_vqgan_codes(g, v, z);
    if (!z || !o.codes) return o;
    ts_tensor *e = ts_vqgan_lookup(g, v, o.codes, z->shape[1], z->shape[2]); /* (N, h, w, embed) */
    ts_tensor *change = ts_stop_gradient(g, ts_sub(g, e, z));
    if (switched) {
        o.quantise = ts_input(g, "quantise", TS_REAL, 1, &z->shape[3]);
        o.codebook_share = ts_input(g, "codebook_share", TS_REAL, 1, (int64_t[]){1});
        change = ts_mul(g, change, o.quantise);
    }
    ts_tensor *through = ts_add(g, z, change);
    o.painted = ts_vqgan_decode(g, v, through);
    o.reconstruction = ts_mean(g, ts_abs(g, ts_sub(g, o.painted, pixels)));
    if (lpips) o.perceptual = ts_lpips_distance(g, lpips, o.painted, pixels);
    o.likeness = lpips ? ts_add(g, o.reconstruction, o.perceptual) : o.reconstruction;
    /* The published code has 0.25 on the term that moves the codebook, not on the commitment. */
    ts_tensor *commit = ts_mean(g, ts_square(g, ts_sub(g, ts_stop_gradient(g, e), z)));
    ts_tensor *move = ts_mean(g, ts_square(g, ts_sub(g, e, ts_stop_gradient(g, z))));
    o.codebook = ts_add(g, commit, ts_scale(g, move, 0.25F, 0));
    if (switched) o.codebook = ts_mul(g, o.codebook, o.codebook_share);
    o.loss = ts_add(g, o.likeness, o.codebook);
    return o;
}

/* ---- codes ---- */

static int64_t codebook_at(const ts_vqgan_trainer *t)
{
    int64_t at = 0;
    while (at < ts_params_count(t->vqgan.params) && strcmp(ts_params_name(t->vqgan.params, at), "quantize.embedding.weight") != 0)
        at++;
    return at;
}

/* (codes, embed); owned by the caller. */
static float *read_codebook(ts_vqgan_trainer *t, ts_error *err)
{
    const ts_vqgan_config *c = &t->vqgan.config;
    float *book = malloc((size_t)c->codes * (size_t)c->embed * sizeof *book);
    if (!book) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (book && ts_params_read(t->vqgan.params, codebook_at(t), book, err)) return book;
    free(book);
    return NULL;
}

static bool write_codebook(ts_vqgan_trainer *t, const float *book, ts_error *err)
{
    return ts_params_write(t->vqgan.params, codebook_at(t), book, err);
}

static bool merge_codes(ts_vqgan_trainer *t, ts_error *err)
{
    const ts_vqgan_config *c = &t->vqgan.config;
    float *book = read_codebook(t, err);
    const bool ok = book && ts_vqgan_merge(book, c->codes, c->embed, t->desc.merge, err) && write_codebook(t, book, err);
    free(book);
    return ok;
}

/* What comes before the codes. */
static bool is_before_codes(const char *name)
{
    return strncmp(name, "encoder.", 8) == 0 || strncmp(name, "quant_conv.", 11) == 0 || strncmp(name, "quantize.", 9) == 0;
}

/* ---- the graphs ---- */

static void clear_graph(ts_vqgan_trainer *t)
{
    ts_exec_free(t->e);
    ts_graph_free(t->g);
    ts_optimizer_free(t->optimizer);
    ts_optimizer_free(t->opponent);
    t->e = NULL;
    t->g = NULL;
    t->optimizer = t->opponent = NULL;
}

static ts_tensor *last_weight(ts_vqgan_trainer *t)
{
    const int64_t shape[] = {3, t->vqgan.config.width[0], 3, 3};
    return ts_param(t->g, t->vqgan.params, "decoder.conv_out.weight", TS_LAYOUT_CONV, 4, shape);
}

/* The loss to be differentiated for the VQGAN's parameters. */
static ts_tensor *describe(ts_vqgan_trainer *t, bool opposed)
{
    const ts_vqgan_trainer_desc *d = &t->desc;
    t->pixels = ts_input(t->g, "pixels", TS_REAL, 4, (int64_t[]){d->batch, d->side, d->side, 3});
    t->objective = ts_vqgan_objective_new(t->g, &t->vqgan, t->pixels, d->lpips, d->continuous > 0);
    const ts_vqgan_objective *o = &t->objective;
    ts_output(t->g, o->latents);
    ts_output(t->g, o->codes);
    ts_output(t->g, o->painted);
    ts_output(t->g, o->reconstruction);
    ts_output(t->g, o->perceptual);
    ts_output(t->g, o->codebook);
    /* Its weights are made here; what is described is not run, as nothing asks for it. */
    if (t->discriminator.params && !opposed) ts_vqgan_discriminate(t->g, &t->discriminator, o->painted);
    if (!opposed) return o->loss;
    t->adversary = ts_vqgan_adversary_new(t->g, &t->discriminator, t->pixels, o->painted, last_weight(t), o->likeness);
    ts_output(t->g, t->adversary.generator);
    ts_output(t->g, t->adversary.discriminator);
    ts_output(t->g, t->adversary.weight);
    return ts_add(t->g, t->adversary.gradient_of, o->codebook);
}

static bool make_graph(ts_vqgan_trainer *t, bool opposed, ts_error *err)
{
    const ts_vqgan_trainer_desc *d = &t->desc;
    ts_optimizer_desc adam = {
        .beta1 = d->beta1, .beta2 = d->beta2, .accumulate = d->accumulate, .frozen = d->decoder_only ? is_before_codes : NULL};
    if (!(t->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_tensor *loss = describe(t, opposed);
    if (!ts_params_check(t->vqgan.params, err)) return false;
    if (t->discriminator.params && !ts_params_check(t->discriminator.params, err)) return false;
    if (d->lpips && !ts_lpips_check(d->lpips, err)) return false;
    if (!(t->optimizer = ts_optimizer_new(t->g, t->vqgan.params, loss, &adam, err))) return false;
    adam.frozen = NULL;
    adam.prefix = "discriminator_";
    if (opposed) t->opponent = ts_optimizer_new(t->g, t->discriminator.params, t->adversary.discriminator, &adam, err);
    if (opposed && !t->opponent) return false;
    t->e = ts_exec_new(t->g, t->dev, err);
    return t->e != NULL;
}

/* Goes over to the graph with the discriminator. The old one is gone before the new one takes its memory. */
static bool oppose(ts_vqgan_trainer *t, ts_error *err)
{
    ts_optimizer_state *moments = ts_optimizer_keep(t->optimizer, t->e, err);
    if (!moments) return false;
    clear_graph(t);
    const bool ok = make_graph(t, true, err) && ts_optimizer_restore(t->optimizer, t->e, moments, err);
    free(moments);
    return ok;
}

/* ---- making ---- */

static bool make_discriminator(ts_vqgan_trainer *t, ts_error *err)
{
    const ts_vqgan_trainer_desc *d = &t->desc;
    if (d->discriminator == 0) return true;
    if (d->discriminator < 0 || d->discriminator > TS_VQGAN_MAX_DISCRIMINATOR || d->discriminator_start < 0 || d->side < 24)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "a discriminator of width %d after step %d for pictures of %d pixels a side cannot be: wanted a width from "
            "1 to %d, and 24 pixels or more",
            d->discriminator, d->discriminator_start, d->side, TS_VQGAN_MAX_DISCRIMINATOR);
    const int width = ts_vqgan_discriminator_width(d->weights);
    t->discriminator.width = width ? width : d->discriminator;
    t->discriminator_random = d->seed ^ 0x6469736372696d69u; /* other numbers than the VQGAN's */
    t->discriminator.params =
        ts_params_new_trainable(t->dev, d->weights, "", ts_vqgan_discriminator_fresh, &t->discriminator_random, err);
    return t->discriminator.params != NULL;
}

static bool make(ts_vqgan_trainer *t, ts_error *err)
{
    const ts_vqgan_trainer_desc *d = &t->desc;
    ts_vqgan_config *c = &t->vqgan.config;
    const char *prefix = d->weights ? ts_vqgan_prefix(d->weights) : "";
    *c = d->config;
    if (d->weights && !ts_vqgan_config_read(d->weights, prefix, c, err)) return false;
    if (d->batch < 1 || c->factor < 1 || d->side < c->factor || d->side % c->factor != 0)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "a batch of %d pictures of %d pixels a side cannot be trained on: wanted a multiple of %d", d->batch,
                       d->side, c->factor);
    if (d->lpips && d->side < 16)
        return ts_fail(err, TS_ERR_ARGUMENT, "pictures of %d pixels a side are too small for LPIPS: 16 or more", d->side);
    if (d->merge > 0 && !d->decoder_only) return ts_fail(err, TS_ERR_ARGUMENT, "codes are merged where the decoder alone learns");
    if (d->decoder_only && (!d->weights || d->continuous > 0))
        return ts_fail(err, TS_ERR_ARGUMENT, "a decoder alone learns for the codes of a trained VQGAN, and from the first step");
    t->places = (int64_t)d->batch * (d->side / c->factor) * (d->side / c->factor);
    t->codes = malloc((size_t)t->places * sizeof *t->codes);
    t->used = calloc((size_t)c->codes + 1, 1);
    if (d->continuous > 0) t->pool = calloc((size_t)POOL_STEPS * POOL_EACH * (size_t)c->embed, sizeof *t->pool);
    if (!t->codes || !t->used || (d->continuous > 0 && !t->pool)) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->vqgan.params = ts_params_new_trainable(t->dev, d->weights, prefix, d->weights ? NULL : fresh, t, err);
    return t->vqgan.params && make_discriminator(t, err) && make_graph(t, false, err) && (d->merge <= 0 || merge_codes(t, err));
}

ts_vqgan_trainer *ts_vqgan_trainer_new(ts_device *dev, const ts_vqgan_trainer_desc *desc, ts_error *err)
{
    ts_vqgan_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->dev = dev;
    t->desc = *desc;
    if (t->desc.beta1 == 0) t->desc.beta1 = 0.5;
    if (t->desc.beta2 == 0) t->desc.beta2 = 0.9;
    if (t->desc.accumulate < 1) t->desc.accumulate = 1;
    t->random = desc->seed;
    if (make(t, err)) return t;
    ts_vqgan_trainer_free(t);
    return NULL;
}

void ts_vqgan_trainer_free(ts_vqgan_trainer *t)
{
    if (!t) return;
    clear_graph(t);
    ts_params_free(t->vqgan.params);
    ts_params_free(t->discriminator.params);
    free(t->codes);
    free(t->used);
    free(t->pool);
    free(t->saved);
    free(t->discriminator_saved);
    free(t);
}

const ts_vqgan_config *ts_vqgan_trainer_config(const ts_vqgan_trainer *t)
{
    return &t->vqgan.config;
}

double ts_vqgan_trainer_loss_scale(const ts_vqgan_trainer *t)
{
    return ts_optimizer_scale(t->optimizer);
}

int64_t ts_vqgan_trainer_steps(const ts_vqgan_trainer *t)
{
    return t->steps;
}

/* All of the last batch's latents, (places, embed); owned by the caller. */
static float *read_latents(ts_vqgan_trainer *t, ts_error *err)
{
    float *latents = malloc((size_t)t->places * (size_t)t->vqgan.config.embed * sizeof *latents);
    if (!latents) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (latents && ts_read(t->e, t->objective.latents, latents, err)) return latents;
    free(latents);
    return NULL;
}

/* The step alone tells it, so that a resumed training draws the same. */
static uint64_t seed_of_step(const ts_vqgan_trainer *t)
{
    return t->desc.seed ^ ((uint64_t)t->steps * 0x9e3779b97f4a7c15u);
}

/* Places codes anew by latents: all of them, or those that were not used. */
static bool place_codes(ts_vqgan_trainer *t, const float *latents, int64_t count, bool all, uint64_t *seed, ts_error *err)
{
    const ts_vqgan_config *c = &t->vqgan.config;
    float *book = read_codebook(t, err);
    bool ok = book && (all ? ts_vqgan_fit(book, c->codes, c->embed, latents, count, seed, err)
                           : ts_vqgan_revive(book, c->codes, c->embed, t->used, latents, count, seed, err));
    ok = ok && write_codebook(t, book, err);
    memset(t->used, 0, (size_t)c->codes);
    free(book);
    return ok;
}

/* Each of the last steps that do not quantise leaves some of its latents; the last of them makes the codebook of all that were
 * left.
 */
static bool gather_latents(ts_vqgan_trainer *t, ts_error *err)
{
    const size_t row = (size_t)t->vqgan.config.embed;
    float *latents = read_latents(t, err);
    if (!latents) return false;
    uint64_t seed = seed_of_step(t);
    float *to = t->pool + (size_t)(t->steps % POOL_STEPS) * POOL_EACH * row;
    for (int i = 0; i < POOL_EACH; i++) {
        const int64_t from = (int64_t)(ts_uniform(&seed) * (double)t->places);
        memcpy(to + (size_t)i * row, latents + (size_t)from * row, row * sizeof *to);
    }
    free(latents);
    if (t->steps < t->desc.continuous) return true;
    const bool all = t->steps >= POOL_STEPS;
    const float *first = all ? t->pool : t->pool + POOL_EACH * row; /* slot 0 is the last to be filled */
    return place_codes(t, first, (all ? POOL_STEPS : t->steps) * POOL_EACH, true, &seed, err);
}

/* Gives each code that was not used since the last time a latent of the last batch. */
static bool revive(ts_vqgan_trainer *t, ts_error *err)
{
    float *latents = read_latents(t, err);
    uint64_t seed = seed_of_step(t);
    const bool ok = latents && place_codes(t, latents, t->places, false, &seed, err);
    free(latents);
    return ok;
}

static void count_codes(ts_vqgan_trainer *t)
{
    for (int64_t i = 0; i < t->places; i++) {
        uint8_t *u = &t->used[t->codes[i]];
        t->different += !(*u & NOW);
        *u |= EVER | NOW;
    }
}

/* ---- a step ---- */

static bool end_step(ts_vqgan_trainer *t, ts_error *err)
{
    t->part = t->different = 0;
    t->steps++;
    for (int i = 0; i < t->vqgan.config.codes; i++) t->used[i] &= (uint8_t)~NOW;
    if (!ts_optimizer_update(t->optimizer, t->e, err)) return false;
    if (t->opponent && !ts_optimizer_update(t->opponent, t->e, err)) return false;
    if (t->opponent) t->opposed++;
    if (t->steps <= t->desc.continuous) return t->steps <= t->desc.continuous - POOL_STEPS || gather_latents(t, err);
    return t->desc.decoder_only || t->desc.revive <= 0 || t->steps % t->desc.revive != 0 || revive(t, err);
}

/* Off in the first steps, on afterwards. */
static bool set_quantise(ts_vqgan_trainer *t, ts_error *err)
{
    const ts_vqgan_objective *o = &t->objective;
    const int64_t width = ts_count(o->quantise);
    if (width == 0) return true;
    float *on = malloc((size_t)width * sizeof *on);
    if (!on) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < width; i++) on[i] = t->steps >= t->desc.continuous ? 1 : 0;
    const bool ok = ts_write(t->e, o->quantise, on, err) && ts_write(t->e, o->codebook_share, on, err);
    free(on);
    return ok;
}

static bool read_number(ts_vqgan_trainer *t, ts_tensor *of, double *out, ts_error *err)
{
    float value;
    *out = (double)NAN;
    if (!of) return true;
    if (!ts_read(t->e, of, &value, err)) return false;
    *out = (double)value;
    return true;
}

static bool read_losses(ts_vqgan_trainer *t, ts_vqgan_losses *l, ts_error *err)
{
    if (!read_number(t, t->objective.reconstruction, &l->reconstruction, err) ||
        !read_number(t, t->objective.perceptual, &l->perceptual, err) ||
        !read_number(t, t->objective.codebook, &l->codebook, err) ||
        !read_number(t, t->adversary.generator, &l->generator, err) ||
        !read_number(t, t->adversary.discriminator, &l->discriminator, err) ||
        !read_number(t, t->adversary.weight, &l->weight, err))
        return false;
    l->total =
        l->reconstruction + (t->desc.lpips ? l->perceptual : 0) + l->codebook + (t->opponent ? l->weight * l->generator : 0);
    return true;
}

bool ts_vqgan_trainer_step(ts_vqgan_trainer *t, const float *pixels, double lr, ts_vqgan_losses *losses, ts_error *err)
{
    const bool join = t->discriminator.params && !t->opponent && t->part == 0 && t->steps >= t->desc.discriminator_start;
    if ((join && !oppose(t, err)) || !set_quantise(t, err) || !ts_optimizer_set(t->optimizer, t->e, t->steps + 1, lr, err) ||
        (t->opponent && !ts_optimizer_set(t->opponent, t->e, t->opposed + 1, lr, err)) ||
        !ts_write(t->e, t->pixels, pixels, err) || !ts_run(t->e, err) || !read_losses(t, losses, err) ||
        !ts_read(t->e, t->objective.codes, t->codes, err))
        return false;
    count_codes(t);
    losses->codes_used = t->different;
    return ++t->part < t->desc.accumulate || end_step(t, err);
}

bool ts_vqgan_trainer_painted(ts_vqgan_trainer *t, float *out, ts_error *err)
{
    return ts_read(t->e, t->objective.painted, out, err);
}

/* ---- checkpoints ---- */

/* The codes used since the last revival, as '0' and '1': a resumed training revives the same. */
static bool add_used(ts_vqgan_trainer *t, ts_weights_writer *w, ts_error *err)
{
    const int64_t count = t->vqgan.config.codes;
    char *text = malloc((size_t)count + 1);
    if (!text) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < count; i++) text[i] = t->used[i] ? '1' : '0';
    text[count] = '\0';
    const bool ok = ts_weights_writer_meta(w, "codes_used", text, err);
    free(text);
    return ok;
}

static bool add_pool(ts_vqgan_trainer *t, ts_weights_writer *w, ts_error *err)
{
    const int64_t shape[] = {POOL_STEPS * POOL_EACH, t->vqgan.config.embed};
    return !t->pool || ts_weights_writer_add(w, "trainer.latents", TS_DT_F32, 2, shape, t->pool, err);
}

/* The discriminator's weights, which are there before its first step, and from then on its moments. */
static bool add_discriminator(ts_vqgan_trainer *t, ts_weights_writer *w, ts_error *err)
{
    char steps[32];
    snprintf(steps, sizeof steps, "%" PRId64, t->opposed);
    free(t->discriminator_saved);
    t->discriminator_saved = NULL;
    if (!t->discriminator.params) return true;
    return ts_params_save(t->discriminator.params, w, &t->discriminator_saved, err) &&
           ts_weights_writer_meta(w, "discriminator_steps", steps, err) &&
           (!t->opponent || ts_optimizer_save(t->opponent, t->e, w, err));
}

static bool add_training(ts_vqgan_trainer *t, ts_weights_writer *w, ts_error *err)
{
    char step[32];
    snprintf(step, sizeof step, "%" PRId64, t->steps);
    return ts_weights_writer_meta(w, "step", step, err) && add_used(t, w, err) && add_pool(t, w, err) &&
           ts_optimizer_save(t->optimizer, t->e, w, err) && add_discriminator(t, w, err);
}

bool ts_vqgan_trainer_save(ts_vqgan_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err)
{
    free(t->saved);
    t->saved = NULL;
    return ts_params_save(t->vqgan.params, w, &t->saved, err) && ts_vqgan_config_meta(&t->vqgan.config, w, err) &&
           (!optimizer || add_training(t, w, err));
}

/* A number of steps in the metadata, or -1. */
static int64_t steps_of(const ts_weights *checkpoint, const char *key)
{
    int64_t steps;
    return ts_whole_read(ts_weights_meta(checkpoint, key), 0, INT64_MAX, &steps) ? steps : -1;
}

/* A checkpoint of a training without a discriminator leaves it as it is: it joins in from there. */
static bool resume_discriminator(ts_vqgan_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    const int64_t steps = steps_of(checkpoint, "discriminator_steps");
    if (!t->discriminator.params || steps < 0) return true;
    t->opposed = steps;
    return ts_params_load(t->discriminator.params, checkpoint, err) &&
           (steps == 0 || (oppose(t, err) && ts_optimizer_load(t->opponent, t->e, checkpoint, err)));
}

bool ts_vqgan_trainer_resume(ts_vqgan_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    const int64_t steps = steps_of(checkpoint, "step");
    const char *used = ts_weights_meta(checkpoint, "codes_used");
    if (steps < 0 || !used || strlen(used) != (size_t)t->vqgan.config.codes)
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s says no step: it is not a checkpoint to go on from (--init starts a new training from it)",
                       ts_weights_path(checkpoint));
    if (!ts_params_load(t->vqgan.params, checkpoint, err) || !resume_discriminator(t, checkpoint, err) ||
        !ts_optimizer_load(t->optimizer, t->e, checkpoint, err))
        return false;
    const ts_weight *pool = ts_weights_find(checkpoint, "trainer.latents");
    if (t->pool && (!pool || pool->count != (int64_t)POOL_STEPS * POOL_EACH * t->vqgan.config.embed))
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no latents of the steps that did not quantise", ts_weights_path(checkpoint));
    if (t->pool && !ts_weight_to_f32(pool, t->pool, err)) return false;
    for (int i = 0; i < t->vqgan.config.codes; i++) t->used[i] = used[i] == '1' ? EVER : 0;
    t->steps = steps;
    return true;
}
