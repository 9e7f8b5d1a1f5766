/* parallel.c - a loop over the host's threads. OpenMP, so that oneDNN (built on it too) and our kernels share one set of threads.
 */
#include "engine/internal.h"

void ts_parallel(int threads, int64_t count, int64_t grain, ts_range_fn fn, void *ctx)
{
    int64_t parts = count / (grain > 0 ? grain : 1);
    if (parts > threads) parts = threads;
    if (parts <= 1) {
        if (count > 0) fn(ctx, 0, count);
        return;
    }
#pragma omp parallel for num_threads((int)parts) schedule(static)
    for (int64_t i = 0; i < parts; i++) fn(ctx, count * i / parts, count * (i + 1) / parts);
}
