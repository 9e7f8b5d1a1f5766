/* kept.c - pictures that a client sent to ask about them more than once: the ones used last are kept, under numbers. */
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "cli/serve/serve.h"

static const int64_t most_id = (INT64_C(1) << 53) - 1; /* what a number of JSON holds exactly */

/* They begin anywhere, so that a page which is still open after the server began anew does not get another's picture. */
int64_t serve_next_id(serve *s)
{
    uint64_t random = 0;
    if (s->last_id == 0 && getrandom(&random, sizeof random, 0) == (ssize_t)sizeof random)
        s->last_id = (int64_t)(random % (uint64_t)(most_id / 2));
    return ++s->last_id;
}

void serve_forget(serve_kept *k)
{
    ts_image_clear(&k->picture);
    free(k->embedding);
    *k = (serve_kept){0};
}

static int64_t pixels_of(const ts_image *img)
{
    return (int64_t)img->width * img->height;
}

serve_kept *serve_make_room(serve *s, serve_kept list[SERVE_KEPT], const ts_image *picture)
{
    const int64_t most = 4 * INT64_C(1000000) * s->desc.most_megapixels;
    for (;;) {
        serve_kept *oldest = NULL, *free_one = NULL;
        int64_t sum = pixels_of(picture);
        for (int i = 0; i < SERVE_KEPT; i++) {
            serve_kept *k = &list[i];
            if (k->id == 0) free_one = k;
            else if (!oldest || k->used < oldest->used) oldest = k;
            sum += k->id ? pixels_of(&k->picture) : 0;
        }
        if (free_one && (sum <= most || !oldest)) return free_one;
        serve_forget(oldest);
    }
}

bool serve_id(const ts_page_job *job, const char *name, double *id, ts_error *err)
{
    *id = 0;
    return ts_page_real(ts_page_body(job), name, 1, (double)most_id, id, err);
}

serve_kept *serve_find_kept(serve *s, serve_kept list[SERVE_KEPT], ts_page_job *job, const char *from, ts_error *err)
{
    double id;
    if (!serve_id(job, "picture", &id, err)) return NULL;
    for (int i = 0; i < SERVE_KEPT; i++) {
        if (list[i].id == 0 || (double)list[i].id != id) continue;
        list[i].used = ++s->clock;
        return &list[i];
    }
    ts_page_status(job, 404);
    if (id == 0) ts_fail(err, TS_ERR_ARGUMENT, "picture is missing: the number that %s gave", from);
    else ts_fail(err, TS_ERR_ARGUMENT, "the picture is no longer kept: send it again to %s", from);
    return NULL;
}
