/* prompt_bench.c - see prompt_bench.h. */
#include "prompt_bench.h"

#include <math.h>

#include "models.h"
#include "support.h"

const char *const class_names[CLASSES] = {"cat", "golden retriever", "sunflower", "forklift truck"};

static ts_tokenizer *tokenizer(void)
{
    ts_error err = {0};
    ts_tokenizer *t = ts_tokenizer_open(TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz", &err);
    if (!t && err.code == TS_ERR_IO) skip();
    if (!t) fail_msg("%s", err.text);
    return t;
}

bench bench_new(ts_device *dev)
{
    ts_error err = {0};
    bench b = {.dev = dev, .golden = open_golden("clip_tiny.expected.safetensors"), .model = open_golden("clip_tiny.pt")};
    b.tokenizer = tokenizer();
    b.clip = ts_clip_new(dev, b.model, NULL, &err);
    if (!b.clip) fail_msg("%s", err.text);
    return b;
}

void bench_free(bench *b)
{
    ts_clip_free(b->clip);
    ts_tokenizer_free(b->tokenizer);
    ts_weights_free(b->golden);
    ts_weights_free(b->model);
}

ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

ts_prompt *prompt(const bench *b, const char *method, ts_method_settings settings)
{
    ts_error err = {0};
    ts_prompt *p = ts_prompt_new(&(ts_prompt_desc){.method = ts_method_find(method, &err),
                                                   .settings = settings,
                                                   .clip = b->clip,
                                                   .tokenizer = b->tokenizer,
                                                   .names = class_names,
                                                   .classes = CLASSES,
                                                   .seed = 3},
                                 &err);
    if (!p) fail_msg("%s", err.text);
    return p;
}

int64_t param_count(ts_prompt *p, int64_t i)
{
    int64_t shape[TS_MAX_DIMS], count = 1;
    for (int d = ts_params_shape(p->params, i, shape) - 1; d >= 0; d--) count *= shape[d];
    return count;
}

float *planes_to_pixels(const float *planes, int64_t rows, int64_t columns)
{
    return to_nhwc(planes, 3, rows, columns);
}

void unit_rows(float *x, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int i = 0; i < EMBED; i++) sum += (double)x[r * EMBED + i] * (double)x[r * EMBED + i];
        for (int i = 0; i < EMBED; i++) x[r * EMBED + i] = (float)((double)x[r * EMBED + i] / sqrt(sum));
    }
}

void start(int number, const made *m, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        const double u = sin((double)(i + 100000 * number) + 1) * 43758.5453;
        out[i] = (float)(m->offset + m->bound * (2 * (u - floor(u)) - 1));
    }
}
