/* blocks.c - the layers that encoder and decoder are made of. Their names and order are the published code's, so that a layer's
 * place in the graph is its tensors' name in the file. */
#include "vqgan/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { PUBLISHED_GROUPS = 32 };
static const float EPS = 1e-6f;

ts_vqgan_scope ts_vqgan_at(ts_graph *g, const ts_vqgan *v, const char *format, ...)
{
    ts_vqgan_scope s = {.g = g, .v = v};
    va_list args;
    va_start(args, format);
    vsnprintf(s.path, sizeof s.path, format, args);
    va_end(args);
    return s;
}

ts_vqgan_pair ts_vqgan_weights(const ts_vqgan_scope *s, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    char layer[80], weight[96], bias[96];
    snprintf(layer, sizeof layer, "%s%s%s", s->path, s->path[0] ? "." : "", name);
    snprintf(weight, sizeof weight, "%s.weight", layer);
    snprintf(bias, sizeof bias, "%s.bias", layer);
    ts_scope(s->g, "%s", layer);
    return (ts_vqgan_pair){.weight = ts_param(s->g, s->v->params, weight, layout, ndim, shape),
                           .bias = ts_param(s->g, s->v->params, bias, TS_LAYOUT_PLAIN, 1, shape)};
}

static int64_t channels(const ts_tensor *x)
{
    return x ? x->shape[x->ndim - 1] : 1;
}

ts_tensor *ts_vqgan_conv3x3(const ts_vqgan_scope *s, const char *name, ts_tensor *x, int64_t out)
{
    ts_vqgan_pair p = ts_vqgan_weights(s, name, TS_LAYOUT_CONV, 4, (int64_t[]){out, channels(x), 3, 3});
    return ts_conv2d(s->g, x, p.weight, p.bias, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1});
}

ts_tensor *ts_vqgan_conv1x1(const ts_vqgan_scope *s, const char *name, ts_tensor *x, int64_t out)
{
    ts_vqgan_pair p = ts_vqgan_weights(s, name, TS_LAYOUT_LINEAR, 4, (int64_t[]){out, channels(x), 1, 1});
    return ts_linear(s->g, x, p.weight, p.bias);
}

ts_tensor *ts_vqgan_norm(const ts_vqgan_scope *s, const char *name, ts_tensor *x)
{
    ts_vqgan_pair p = ts_vqgan_weights(s, name, TS_LAYOUT_PLAIN, 1, (int64_t[]){channels(x)});
    const int groups = s->v->config.groups ? s->v->config.groups : PUBLISHED_GROUPS;
    return ts_groupnorm(s->g, x, p.weight, p.bias, groups, EPS);
}

ts_tensor *ts_vqgan_resblock(const ts_vqgan_scope *s, ts_tensor *x, int64_t out)
{
    ts_graph *g = s->g;
    ts_tensor *h = ts_swish(g, ts_vqgan_norm(s, "norm1", x)); // (N, H, W, in)
    h = ts_vqgan_conv3x3(s, "conv1", h, out);                 // (N, H, W, out)
    h = ts_swish(g, ts_vqgan_norm(s, "norm2", h));
    h = ts_vqgan_conv3x3(s, "conv2", h, out);
    ts_tensor *shortcut = channels(x) == out ? x : ts_vqgan_conv1x1(s, "nin_shortcut", x, out);
    return ts_add(g, h, shortcut);
}

ts_tensor *ts_vqgan_attnblock(const ts_vqgan_scope *s, ts_tensor *x)
{
    if (!x) return NULL;
    ts_graph *g = s->g;
    int64_t n = x->shape[0], c = channels(x);
    ts_tensor *h = ts_vqgan_norm(s, "norm", x);
    h = ts_reshape(g, h, 3, (int64_t[]){n, x->shape[1] * x->shape[2], c}); // (N, H W, C)
    ts_tensor *q = ts_vqgan_conv1x1(s, "q", h, c);
    ts_tensor *k = ts_vqgan_conv1x1(s, "k", h, c);
    ts_tensor *v = ts_vqgan_conv1x1(s, "v", h, c);
    h = ts_attention(g, q, k, v, 1, false);
    h = ts_vqgan_conv1x1(s, "proj_out", h, c);
    h = ts_reshape(g, h, 4, x->shape); // (N, H, W, C)
    return ts_add(g, h, x);
}
