/* open.c - the model, its vocabulary and the device, opened as the command line says; texts through the model. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/clip.h"
#include "retrieval/retrieval.h"

enum { TEXTS_A_STEP = 256 };

bool ts_clip_use_open(ts_clip_use *u, bool texts, ts_error *err)
{
    if (!ts_check_model(u->model, "model", TS_KIND_CLIP, err)) return false;
    u->weights = ts_open_weights(u->model, u->common.quiet, err);
    if (!u->weights || !ts_clip_config_read(u->weights, &u->told, &u->config, err)) return false;
    if (u->config.guessed && !u->common.quiet)
        fprintf(stderr,
                "note: nothing tells the model's activation; %s is taken, the file being %s (--activation says otherwise)\n",
                u->config.erf_gelu ? "gelu" : "quick_gelu", u->config.activation_by);
    if (!texts) return true;
    if (u->vocab && !ts_check_readable(u->vocab, "vocabulary", err)) return false;
    u->tokenizer = u->vocab ? ts_tokenizer_open(u->vocab, err) : ts_tokenizer_find(ts_weights_path(u->weights), err);
    if (!u->tokenizer) return false;
    if (ts_tokenizer_count(u->tokenizer) == u->config.vocabulary) return true;
    return ts_fail(err, TS_ERR_FORMAT,
                   "the vocabulary%s%s has %d symbols, but model %s was made with %d: it belongs to another model",
                   u->vocab ? " " : " beside the model", u->vocab ? u->vocab : "", ts_tokenizer_count(u->tokenizer), u->model,
                   u->config.vocabulary);
}

bool ts_clip_use_start(ts_clip_use *u, ts_error *err)
{
    u->dev = ts_open_device(&u->common, false, err);
    u->clip = u->dev ? ts_clip_new(u->dev, u->weights, &u->told, err) : NULL;
    return u->clip != NULL;
}

void ts_clip_use_close(ts_clip_use *u)
{
    ts_clip_free(u->clip);
    ts_device_free(u->dev);
    ts_tokenizer_free(u->tokenizer);
    ts_weights_free(u->weights);
}

void ts_clip_use_announce(ts_clip_use *u)
{
    if (!u->announced) {
        ts_announce_device(&u->common, u->dev);
        ts_say_stage(&u->common, "model loaded");
        ts_say_passed(&u->left_out);
    }
    u->announced = true;
}

bool ts_clip_use_note_data(ts_clip_use *u, const char *path, const ts_clip_data *d, ts_error *err)
{
    for (int64_t i = 0; i < d->empties; i++) {
        ts_error why = {0};
        ts_fail(&why, TS_ERR_FORMAT, "%s", d->empty[i]);
        if (!ts_leave_out(&u->left_out, &why, err)) return false;
    }
    ts_keep_passed(&u->left_out, path, d->passed);
    return true;
}

bool ts_clip_use_check_out(const ts_clip_use *u, const char *out, ts_error *err)
{
    if (!ts_check_writable(out, err)) return false;
    if (!ts_same_file(out, u->model) && !(u->vocab && ts_same_file(out, u->vocab))) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite an input", out);
}

/* ---- identity --------------------------------------------------------------------------------------------------- */

void ts_clip_use_identity(const ts_clip_use *u, char out[17])
{
    static const char version[] = "tessera clip 1"; /* of how features are made: another number where they change */
    const ts_clip_config *c = &u->config;
    const int64_t sizes[] = {c->image, c->patch,    c->width, c->layers,
                             c->heads, c->erf_gelu, c->embed, (int64_t)u->common.precision};
    const uint64_t hash = ts_fingerprint(ts_fingerprint(TS_FINGERPRINT, version, sizeof version), sizes, sizeof sizes);
    snprintf(out, 17, "%016" PRIx64, ts_weights_fingerprint(hash, u->weights));
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

bool ts_clip_use_texts(ts_clip_use *u, const char *const *texts, int count, float *features, ts_error *err)
{
    const int context = u->config.context;
    int32_t *tokens = calloc((size_t)count * (size_t)context, sizeof *tokens);
    bool ok = tokens || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d texts", count);
    /* All of them first: a text that is too long is told before the work. */
    for (int i = 0; ok && i < count; i++)
        ok = ts_tokenizer_tokens(u->tokenizer, texts[i], context, u->cut, tokens + (size_t)i * (size_t)context, err) >= 0;
    if (ok) ts_clip_use_announce(u);
    ts_progress progress;
    ts_progress_begin(&progress, "texts", count, u->common.quiet);
    for (int at = 0; ok && at < count; at += TEXTS_A_STEP) {
        const int n = count - at < TEXTS_A_STEP ? count - at : TEXTS_A_STEP;
        ok = ts_clip_encode_texts(u->clip, tokens + (size_t)at * (size_t)context, n,
                                  features + (size_t)at * (size_t)u->config.embed, err);
        ts_progress_step(&progress, at + n);
    }
    ts_progress_end(&progress);
    if (ok) ts_say_stage(&u->common, "texts encoded: %d", count);
    free(tokens);
    return ok;
}
