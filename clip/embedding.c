/* embedding.c - the token embeddings, which stay in the file. A text needs a few dozen rows of the 49408, so they are looked up
 * on the host and the table never goes to the device. */
#include "clip/internal.h"

bool ts_clip_embedding(const ts_clip *c, const int32_t *ids, int count, float *out, ts_error *err)
{
    const int64_t width = c->config.text_width;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= c->config.vocabulary)
            return ts_fail(err, TS_ERR_ARGUMENT, "there is no token %d: the model's vocabulary has %d", ids[i],
                           c->config.vocabulary);
        ts_weight row = *c->embedding; /* one row of it */
        row.data = (const char *)row.data + ids[i] * row.stride[0] * ts_dtype_size(row.dtype);
        row.shape[0] = 1;
        row.count = width;
        if (!ts_weight_to_f32(&row, out + i * width, err)) return false;
    }
    return true;
}
