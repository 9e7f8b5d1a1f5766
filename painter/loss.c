/* loss.c - what Painter and SegGPT are trained by, and prompts can be: smooth L1 where the target is hidden and valid. */
#include "painter/internal.h"

static const float BETA = 0.01F;

ts_tensor *ts_painter_loss(ts_graph *g, ts_tensor *predicted, ts_tensor *targets, ts_tensor *weight)
{
    /* e^2 / (2 beta) below beta, e - beta/2 from there on: with c = min(e, beta) both are c^2 / (2 beta) + e - c. */
    ts_tensor *e = ts_abs(g, ts_sub(g, predicted, targets)), *c = ts_clamp(g, e, 0, BETA);
    ts_tensor *bent = ts_scale(g, ts_square(g, c), 1 / (2 * BETA), 0), *straight = ts_sub(g, e, c);
    return ts_sum(g, ts_mul(g, ts_add(g, bent, straight), weight));
}

/* Whether a canvas shows so little of its target that Painter does not learn from it. */
static bool is_blank(const float *target, const uint8_t *hidden, int64_t side, int patch)
{
    const double least = 300;
    float pixel[3];
    double sum = 0;
    for (int64_t i = 0; i < 2 * side * side; i++) {
        if (hidden[i / side / patch * (side / patch) + i % side / patch]) continue;
        ts_painter_restore(target + 3 * i, 1, pixel);
        for (int c = 0; c < 3; c++) sum += (double)pixel[c] / 255;
    }
    return sum < least;
}

bool ts_painter_loss_weight(const ts_painter *p, int64_t n, int side, const uint8_t *hidden, const float *valid,
                            const float *targets, float *out, ts_error *err)
{
    const ts_painter_config *c = &p->config;
    if (!ts_painter_check_side(c, side, err)) return false;
    if (!c->segments && !targets)
        return ts_fail(err, TS_ERR_ARGUMENT, "a Painter's loss looks at the targets, and there are none");
    const int64_t pixels = 2 * (int64_t)side * side, across = side / c->patch, tokens = 2 * across * across;
    double sum = c->segments ? 0 : 0.01;
    for (int64_t k = 0; k < n; k++) {
        const uint8_t *own = hidden + k * tokens;
        const bool blank = !c->segments && is_blank(targets + k * pixels * 3, own, side, c->patch);
        for (int64_t i = 0; i < pixels; i++)
            for (int64_t at = (k * pixels + i) * 3, end = at + 3; at < end; at++) {
                const bool counts = !blank && own[i / side / c->patch * across + i % side / c->patch];
                out[at] = !counts ? 0 : valid ? valid[at] : 1;
                sum += (double)out[at];
            }
    }
    if (!(sum > 0)) return ts_fail(err, TS_ERR_ARGUMENT, "nothing of the targets is hidden and valid: there is no loss");
    for (int64_t i = 0; i < n * pixels * 3; i++) out[i] = (float)((double)out[i] / sum);
    return true;
}
