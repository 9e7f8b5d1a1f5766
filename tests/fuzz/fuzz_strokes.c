/* fuzz_strokes.c - any bytes as a model from strokes. One that is taken classifies a picture, and its probabilities add up to 1.
 */
#include "engine/weights/internal.h"
#include "strokes/strokes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { SIDE = 6 };

static ts_device *host;

static void classify(const ts_weights *w, const ts_strokes_info *info)
{
    ts_error err = {0};
    ts_image picture;
    ts_labels labels = {0};
    float p[SIDE * SIDE * TS_STROKES_CLASSES];
    ts_strokes *s = ts_strokes_open(host, w, NULL, NULL, &err);
    if (!s || !ts_image_new(SIDE, SIDE, &picture, &err)) {
        ts_strokes_free(s);
        if (!err.code) abort(); /* a refusal without a reason */
        return;
    }
    for (int i = 0; i < SIDE * SIDE * 3; i++) picture.data[i] = (uint8_t)(i * 37);
    if (!ts_strokes_picture(s, &picture, &err) || !ts_strokes_classify(s, 0, &labels, p, &err)) abort();
    for (int i = 0; i < SIDE * SIDE; i++) {
        float sum = 0;
        for (int c = 0; c < info->colours.classes; c++) sum += p[i * info->colours.classes + c];
        if (labels.data[i] >= info->colours.classes) abort();
        if (isfinite(sum) && fabsf(sum - 1) > 1e-3F) abort(); /* weights may be so large that nothing is finite */
    }
    ts_labels_clear(&labels);
    ts_image_clear(&picture);
    ts_strokes_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ts_error err = {0};
    ts_strokes_info info;
    char words[512];
    if (!host) host = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err);
    ts_weights *w = ts_weights_open_memory(bytes, size, "fuzz", &err);
    const bool ok = w && ts_strokes_about(w, &info, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok) ts_strokes_words(&info, words, sizeof words);
    if (ok && info.tokens == 0) classify(w, &info);
    ts_weights_free(w);
    return 0;
}
