/* prompt.c - prompts as the decoder gets them (Kirillov et al. 2023, appendix A): points and boxes become tokens, here on the
 * host since there are few; a mask goes through a small network and is added to the picture. Positions are random Fourier
 * features (Tancik et al. 2020, arXiv 2006.10739). E: numbers of a token. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

static const float EPS = 1e-6f;

/* ---- the file's numbers ---- */

/* A tensor of `count` numbers to the next free place, which is moved on. */
static float *take(const sam_model *m, const char *name, int64_t count, float **room, ts_error *err)
{
    const ts_weight *t = ts_sam_find(m->weights, m->config.hugging_face, name);
    const sam_name theirs = ts_sam_name(m->config.hugging_face, name);
    if (!t) {
        ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing", ts_weights_path(m->weights), theirs.s);
        return NULL;
    }
    if (t->count != count) {
        ts_fail(err, TS_ERR_SHAPE, "%s: tensor %s has %lld numbers, wanted %lld", ts_weights_path(m->weights), theirs.s,
                (long long)t->count, (long long)count);
        return NULL;
    }
    float *at = *room;
    if (!ts_weight_to_f32(t, at, err)) return NULL;
    *room += count;
    return at;
}

bool ts_sam_prompts_load(const sam_model *m, sam_prompts *out, ts_error *err)
{
    const int64_t e = m->config.embed, masks = m->config.masks;
    *out = (sam_prompts){.memory = calloc((size_t)((8 + masks) * e), sizeof(float))};
    if (!out->memory) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    float *room = out->memory;
    char name[64];
    bool ok = (out->gaussian = take(m, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", e, &room, err)) != NULL;
    for (int i = 0; ok && i < 4; i++) {
        snprintf(name, sizeof name, "prompt_encoder.point_embeddings.%d.weight", i);
        ok = (out->point[i] = take(m, name, e, &room, err)) != NULL;
    }
    ok = ok && (out->no_point = take(m, "prompt_encoder.not_a_point_embed.weight", e, &room, err)) &&
         (out->no_prior = take(m, "prompt_encoder.no_mask_embed.weight", e, &room, err)) &&
         (out->output = take(m, "mask_decoder.iou_token.weight", e, &room, err)) &&
         take(m, "mask_decoder.mask_tokens.weight", masks * e, &room, err);
    if (ok) return true;
    free(out->memory);
    *out = (sam_prompts){0};
    return false;
}

/* ---- tokens ---- */

void ts_sam_features(const float *gaussian, int embed, double u, double v, float *out)
{
    const int half = embed / 2;
    const double pi = 3.14159265358979323846;
    for (int i = 0; i < half; i++) {
        const double a = 2 * pi * ((2 * u - 1) * (double)gaussian[i] + (2 * v - 1) * (double)gaussian[half + i]);
        out[i] = (float)sin(a);
        out[half + i] = (float)cos(a);
    }
}

/* Points without a box are followed by one that is none. */
static bool is_padded(const ts_sam_prompt *p)
{
    return p->points > 0 && !p->box;
}

int ts_sam_token_count(const ts_sam_config *c, const ts_sam_prompt *p)
{
    return 1 + c->masks + p->points + is_padded(p) + (p->box ? 2 : 0);
}

/* The features of a pixel's middle, and what stands for its part in the prompt. */
static void place(const ts_sam *s, const float *xy, const float *part, float *out)
{
    const int embed = s->model.config.embed;
    const double side = s->model.config.picture;
    const double x = (double)xy[0] * s->inner_width / s->width, y = (double)xy[1] * s->inner_height / s->height;
    ts_sam_features(s->prompts.gaussian, embed, (x + 0.5) / side, (y + 0.5) / side, out);
    for (int i = 0; i < embed; i++) out[i] += part[i];
}

void ts_sam_tokens(const ts_sam *s, const ts_sam_prompt *p, float *out)
{
    const ts_sam_config *c = &s->model.config;
    const size_t embed = (size_t)c->embed;
    memcpy(out, s->prompts.output, (1 + (size_t)c->masks) * embed * sizeof *out);
    out += (1 + (size_t)c->masks) * embed;
    for (int i = 0; i < p->points + is_padded(p); i++, out += embed)
        if (i == p->points || p->label[i] < 0) memcpy(out, s->prompts.no_point, embed * sizeof *out);
        else place(s, p->point + 2 * (size_t)i, s->prompts.point[p->label[i]], out);
    if (!p->box) return;
    place(s, p->box, s->prompts.point[2], out);
    place(s, p->box + 2, s->prompts.point[3], out + embed);
}

/* ---- priors ---- */

ts_tensor *ts_sam_encode_prior(ts_graph *g, const sam_model *m, ts_tensor *prior)
{
    const int64_t c0 = m->config.prior[0], c1 = m->config.prior[1], e = m->config.embed, side = m->config.side;
    if (!prior) return NULL;
    const ts_conv_desc halve = {.stride = 2};
    ts_scope(g, "mask_downscaling");
    ts_tensor *w = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.0.weight", TS_LAYOUT_CONV, 4, (int64_t[]){c0, 1, 2, 2});
    ts_tensor *b = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.0.bias", TS_LAYOUT_PLAIN, 1, &c0);
    ts_tensor *x = ts_conv2d(g, prior, w, b, &halve); // (B, low/2, low/2, c0)
    x = ts_gelu(g, ts_sam_norm(g, m, "prompt_encoder.mask_downscaling.1", x, c0, EPS));
    w = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.3.weight", TS_LAYOUT_CONV, 4, (int64_t[]){c1, c0, 2, 2});
    b = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.3.bias", TS_LAYOUT_PLAIN, 1, &c1);
    x = ts_conv2d(g, x, w, b, &halve); // (B, side, side, c1)
    x = ts_gelu(g, ts_sam_norm(g, m, "prompt_encoder.mask_downscaling.4", x, c1, EPS));
    w = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.6.weight", TS_LAYOUT_LINEAR, 4, (int64_t[]){e, c1, 1, 1});
    b = ts_sam_param(g, m, "prompt_encoder.mask_downscaling.6.bias", TS_LAYOUT_PLAIN, 1, &e);
    return ts_reshape(g, ts_linear(g, x, w, b), 3, (int64_t[]){prior->shape[0], side * side, e});
}
