/* fresh.c - the weights that a training from nothing begins with. The path of shortcuts, from picture to latents and back, begins
 * as a plain reduction and enlargement of the colours; what the residual branches add begins as zero. Random weights throughout
 * learn light and dark soon, but take tens of thousands of steps to tell the colours: each of the narrow path's many linear
 * layers must first learn to pass them on.
 *
 * Channels come in pairs of opposite sign, since swish(x) - swish(-x) = x: what a norm and its swish leave is put together again
 * by one subtraction ("looks linear", Balduzzi et al. 2017, section 4). Pairs carry red, green, blue and the constant one in
 * turn, the last so that a group's norm does not make dark pictures as light as bright ones. */
#include "vqgan/internal.h"

#include <math.h>
#include <string.h>

enum { FEATURES = 4, CONSTANT = 3, COLOURS = 3 };
static const double NOISE = 0.5; /* of PyTorch's bound: what tells a feature's channels apart */

/* What a channel of the path carries, and its sign. The picture's own channels are the colours, all positive. */
static int feature(int64_t channel, bool picture)
{
    return picture ? (int)channel : (int)(channel / 2 % FEATURES);
}

static float sign(int64_t channel, bool picture)
{
    return !picture && channel % 2 ? -1 : 1;
}

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

/* Adds to weights (out, in, k, k) what passes the features on. */
static void pass_on(const char *name, const int64_t *shape, float *weight)
{
    const int64_t out = shape[0], in = shape[1], k = shape[2];
    const bool from_picture = in == COLOURS && has(name, "encoder.conv_in"), to_picture = has(name, "decoder.conv_out");
    const bool halves = has(name, "downsample"), after_swish = has(name, "conv_out");
    int64_t count[FEATURES] = {0};
    for (int64_t i = 0; i < in; i++) count[feature(i, from_picture)]++;
    for (int64_t o = 0; o < out; o++) {
        for (int64_t i = 0; i < in; i++) {
            const int what = feature(o, to_picture);
            if (what != feature(i, from_picture)) continue;
            const float pass = sign(o, to_picture) * sign(i, from_picture) * (after_swish ? 2 : 1) / (float)count[what];
            float *kernel = weight + (o * in + i) * k * k;
            if (!halves) kernel[k / 2 * k + k / 2] += pass;
            /* The mean of the four pixels; the kernel's last row and column are the next ones'. */
            for (int at = 0; halves && at < 4; at++) kernel[at / 2 * k + at % 2] += pass / 4;
        }
    }
}

static bool on_the_path(const char *name)
{
    return has(name, "conv_in.") || has(name, "conv_out.") || has(name, "sample.conv.") || has(name, "nin_shortcut.") ||
           has(name, "quant_conv.");
}

void ts_vqgan_fresh(const char *name, int ndim, const int64_t *shape, uint64_t *random, float *out)
{
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    if (ndim < 2) {
        const bool gamma = has(name, "norm") && has(name, ".weight"), constant = strcmp(name, "encoder.conv_in.bias") == 0;
        for (int64_t i = 0; i < count; i++) out[i] = gamma ? 1 : constant && feature(i, false) == CONSTANT ? sign(i, false) : 0;
        return;
    }
    if (has(name, "conv2.weight") || has(name, "proj_out.weight")) {
        memset(out, 0, (size_t)count * sizeof *out);
        return;
    }
    const bool codebook = strcmp(name, "quantize.embedding.weight") == 0, path = ndim == 4 && on_the_path(name);
    const int64_t fan_in = count / shape[0];
    const double bound = codebook ? 1.0 / (double)shape[0] : (path ? NOISE : 1) / sqrt((double)fan_in);
    for (int64_t i = 0; i < count; i++) out[i] = (float)(bound * (2 * ts_uniform(random) - 1));
    if (path) pass_on(name, shape, out);
}
