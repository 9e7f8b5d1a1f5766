/* stb.c - the one place where stb_image and stb_image_write are compiled: BMP, JPEG where the build has no libjpeg, and writing
 * PNG. They are other people's headers: their warnings are silenced here and nowhere else, and their functions stay static, so
 * that a program that links this library and brings an stb of its own meets no clash of names. PNG is deflated by zlib, which is
 * faster than stb's own and compresses better. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/image/image.h"

static unsigned char *deflate_with_zlib(unsigned char *data, int size, int *out_size, int quality)
{
    uLongf length = compressBound((uLong)size);
    if (length > INT_MAX) return NULL;
    unsigned char *out = malloc(length);
    if (!out) return NULL;
    if (compress2(out, &length, data, (uLong)size, quality) != Z_OK) {
        free(out);
        return NULL;
    }
    *out_size = (int)length;
    return out;
}

/* Whether memory ran out in this thread: stb's own reasons do not always tell. */
static _Thread_local bool refused;

/* Fresh memory is cleared: 2.27 decodes a scan whose Huffman tables the file never gave, with whatever lay there before. */
static void *stb_allocate(void *p, size_t size)
{
    void *out = p ? realloc(p, size) : calloc(1, size);
    if (!out && size > 0) refused = true;
    return out;
}

/* For the rest of the file: some of these are reported only where it ends. */
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#ifndef TESSERA_JPEG
#define STBI_ONLY_JPEG
#endif
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MALLOC(size)     stb_allocate(NULL, size)
#define STBI_REALLOC(p, size) stb_allocate(p, size)
#define STBI_FREE(p)          free(p)
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STBIW_ZLIB_COMPRESS deflate_with_zlib
#include <stb_image_write.h>

bool ts_stb_decode(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    int width, height, channels;
    *out = (ts_image){0};
    if (f->size > INT_MAX) return ts_picture_broken(f, "too large", err);
    refused = false;
    uint8_t *data = stbi_load_from_memory(f->bytes, (int)f->size, &width, &height, &channels, 0);
    if (!data) return refused ? ts_picture_memory(f, err) : ts_picture_broken(f, stbi_failure_reason(), err);
    bool ok = width == f->about.width && height == f->about.height; /* a second header, which the decoder took */
    if (!ok) ts_picture_broken(f, "it tells two sizes", err);
    ok = ok && ts_image_new(width, height, out, err);
    if (ok) ts_to_rgb(data, channels, (int64_t)width * height, f->behind, out->data);
    free(data);
    return ok;
}

uint8_t *ts_stb_encode_png(const uint8_t *data, int width, int height, int channels, size_t *size)
{
    int length = 0;
    uint8_t *out = stbi_write_png_to_mem(data, width * channels, width, height, channels, &length);
    *size = (size_t)length;
    return out;
}

typedef struct {
    uint8_t *data;
    size_t size, room;
    bool failed;
} buffer;

static void append(void *context, void *bytes, int count)
{
    buffer *b = context;
    size_t n = (size_t)count;
    if (b->failed) return;
    if (b->room - b->size < n) {
        size_t room = b->room * 2 + n + 4096;
        uint8_t *data = realloc(b->data, room);
        if (!data) {
            b->failed = true;
            return;
        }
        b->data = data;
        b->room = room;
    }
    memcpy(b->data + b->size, bytes, n);
    b->size += n;
}

uint8_t *ts_stb_encode_jpeg(const ts_image *img, int quality, size_t *size)
{
    buffer b = {0};
    if (!stbi_write_jpg_to_func(append, &b, img->width, img->height, 3, img->data, quality)) b.failed = true;
    if (b.failed) {
        free(b.data);
        return NULL;
    }
    *size = b.size;
    return b.data;
}
