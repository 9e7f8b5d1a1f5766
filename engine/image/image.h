/* image.h - what the files of the picture code share: the codecs of stb, the walk over a picture's container, and turning
 * upright. Private to engine/. */
#ifndef TESSERA_IMAGE_H
#define TESSERA_IMAGE_H

#include "engine/engine.h"

/* More pixels than this are refused, wherever they come from. It keeps every size of an RGBA picture inside an int, which is
 * what stb counts in. */
#define TS_MAX_PIXELS ((int64_t)1 << 28)

typedef enum { TS_PICTURE_UNKNOWN, TS_PICTURE_PNG, TS_PICTURE_JPEG, TS_PICTURE_BMP } ts_picture_kind;

typedef struct {
    ts_picture_kind kind;
    int64_t width, height; /* as the header says, in the file's own orientation; 0 where there is no header */
    bool complete;         /* the container reaches its end */
    bool safe;             /* false: a Huffman table that would overrun the decoder's memory */
    int orientation;       /* EXIF's 1..8; 1 (upright) where the file says nothing or nonsense */
} ts_picture;

/* Walks the markers of a JPEG, the chunks of a PNG, the header of a BMP. Reads nothing outside `bytes`. */
ts_picture ts_picture_scan(const uint8_t *bytes, size_t size);

/* Turns a picture stored under an EXIF orientation upright. `img` is replaced, or left as it was on failure. */
bool ts_image_upright(ts_image *img, int orientation, ts_error *err);

/* stb, behind three functions so that none of its names leave stb.c. */
/* 8-bit samples, `channels` of them a pixel (1 grey, 2 grey and alpha, 3, 4): free(). NULL: `why` is set, and `no_memory` where
 * the picture is not to blame. */
uint8_t *ts_stb_decode(const uint8_t *bytes, size_t size, int *width, int *height, int *channels, const char **why,
                       bool *no_memory);
/* Whole files in memory: free(). NULL: out of memory. */
uint8_t *ts_stb_encode_png(const ts_image *img, size_t *size);
uint8_t *ts_stb_encode_jpeg(const ts_image *img, int quality, size_t *size);

#endif
