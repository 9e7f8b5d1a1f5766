/* embedding.c - a picture's embedding in a file, so that another process needs the decoder alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "kinds/kinds.h"
#include "sam/internal.h"

enum { MOST_SIDE = 1 << 28, FINGERPRINT_ROOM = 17 };

static void write_mark(uint64_t mark, char out[FINGERPRINT_ROOM])
{
    snprintf(out, FINGERPRINT_ROOM, "%016" PRIx64, mark);
}

/* FNV-1a over the numbers of the encoder's neck, which any training of it changes. */
static bool fingerprint(const sam_model *m, char out[FINGERPRINT_ROOM], ts_error *err)
{
    static const char *const names[] = {"image_encoder.neck.0.weight", "image_encoder.neck.2.weight",
                                        "image_encoder.neck.3.weight", "image_encoder.neck.3.bias"};
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const ts_weight *t = ts_sam_find(m->weights, m->config.hugging_face, names[i]);
        if (!t)
            return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing", ts_weights_path(m->weights),
                           ts_sam_name(m->config.hugging_face, names[i]).s);
        float *numbers = malloc((size_t)t->count * sizeof *numbers);
        if (!numbers) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", t->name);
        const bool ok = ts_weight_to_f32(t, numbers, err);
        for (int64_t k = 0; ok && k < t->count; k++) {
            uint32_t bits;
            memcpy(&bits, numbers + k, sizeof bits);
            hash = (hash ^ bits) * 0x100000001b3;
        }
        free(numbers);
        if (!ok) return false;
    }
    write_mark(hash, out);
    return true;
}

/* FNV-1a, eight bytes at a time. */
uint64_t ts_sam_mark(const ts_image *picture)
{
    const size_t size = (size_t)picture->width * (size_t)picture->height * 3;
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t at = 0; at < size; at += sizeof hash) {
        uint64_t piece = 0;
        memcpy(&piece, picture->data + at, size - at < sizeof piece ? size - at : sizeof piece);
        hash = (hash ^ piece) * 0x100000001b3;
        hash ^= hash >> 29; /* the product alone moves nothing down */
    }
    return hash ? hash : 1;
}

/* (rows, columns) -> (columns, rows) */
static float *turned(const float *from, int64_t rows, int64_t columns, ts_error *err)
{
    float *to = malloc((size_t)(rows * columns) * sizeof *to);
    if (!to) ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture's embedding");
    for (int64_t r = 0; to && r < rows; r++)
        for (int64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
    return to;
}

static bool write_meta(const ts_sam *s, ts_weights_writer *w, ts_error *err)
{
    char width[16], height[16], mark[FINGERPRINT_ROOM], picture[FINGERPRINT_ROOM];
    snprintf(width, sizeof width, "%d", s->width);
    snprintf(height, sizeof height, "%d", s->height);
    write_mark(s->mark, picture);
    return fingerprint(&s->model, mark, err) && ts_weights_writer_meta(w, "tessera.sam", "embedding", err) &&
           ts_weights_writer_meta(w, "width", width, err) && ts_weights_writer_meta(w, "height", height, err) &&
           ts_weights_writer_meta(w, "encoder", mark, err) &&
           (s->mark == 0 || ts_weights_writer_meta(w, "picture", picture, err));
}

bool ts_sam_save_embedding(ts_sam *s, const char *path, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const int64_t places = (int64_t)c->side * c->side;
    if (s->width == 0 || !s->embedding)
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture whose embedding could be kept in %s", path);
    float *data = turned(s->embedding, places, c->embed, err);
    if (!data) return false;
    ts_weights_writer *w = ts_weights_writer_new();
    bool ok = w;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && write_meta(s, w, err) &&
         ts_weights_writer_add(w, "embedding", TS_DT_F32, 4, (int64_t[]){1, c->embed, c->side, c->side}, data, err) &&
         ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(data);
    return ok;
}

/* Whether the file is an embedding of this model's encoder; the picture's size. */
static bool check_file(const ts_sam *s, const ts_weights *w, int *width, int *height, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const char *path = ts_weights_path(w), *of = ts_weights_meta(w, "encoder");
    const char *wide = ts_weights_meta(w, "width"), *high = ts_weights_meta(w, "height");
    const ts_weight *t = ts_weights_find(w, "embedding");
    char mark[FINGERPRINT_ROOM];
    if (!ts_kind_expect(w, TS_KIND_EMBEDDING, err)) return false;
    if (!ts_weights_meta(w, "tessera.sam") || !t || !of || !wide || !high || !ts_int_read(wide, 1, MOST_SIDE, width) ||
        !ts_int_read(high, 1, MOST_SIDE, height) || (int64_t)*width * *height > MOST_SIDE)
        return ts_fail(err, TS_ERR_FORMAT, "%s is no picture's embedding of a SAM, as it is kept beside a picture", path);
    if (!fingerprint(&s->model, mark, err)) return false;
    if (t->ndim != 4 || t->shape[0] != 1 || t->shape[1] != c->embed || t->shape[2] != c->side || t->shape[3] != c->side ||
        strcmp(of, mark) != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s was made by another SAM than %s: encode the picture with this one", path,
                       ts_sam_path(s));
    return true;
}

/* Whether it is of that picture, of a file whose sizes are known. */
static bool check_picture(const ts_weights *w, int width, int height, const ts_image *picture, ts_error *err)
{
    const char *of = ts_weights_meta(w, "picture");
    char mark[FINGERPRINT_ROOM];
    if (!picture) return true;
    write_mark(ts_sam_mark(picture), mark);
    return (picture->width == width && picture->height == height && (!of || strcmp(of, mark) == 0)) ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s is of another picture: remove it, or name another file", ts_weights_path(w));
}

bool ts_sam_load_embedding(ts_sam *s, const char *path, const ts_image *picture, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const int64_t places = (int64_t)c->side * c->side;
    int width = 0, height = 0;
    ts_weights *w = ts_weights_open(path, err);
    if (!w) return false;
    const bool fits = check_file(s, w, &width, &height, err) && check_picture(w, width, height, picture, err);
    float *data = fits ? malloc((size_t)(places * c->embed) * sizeof *data) : NULL;
    float *rows = NULL;
    if (!data) ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture's embedding"); /* unless the file was refused */
    const bool ok = data && ts_weight_to_f32(ts_weights_find(w, "embedding"), data, err) &&
                    (rows = turned(data, c->embed, places, err)) != NULL && ts_sam_set_embedding(s, rows, width, height, err);
    if (ok && picture) s->mark = ts_sam_mark(picture);
    free(data);
    free(rows);
    ts_weights_free(w);
    return ok;
}
