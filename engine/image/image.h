/* image.h - what the files of the picture code share: the walk over a picture's container, a decoder for each kind, turning
 * upright, encoders. Private to engine/. */
#ifndef TESSERA_IMAGE_H
#define TESSERA_IMAGE_H

#include "engine/engine.h"

/* More pixels than this are refused, wherever they come from. It keeps every size of an RGBA picture inside an int, which is
 * what stb counts in. */
#define TS_MAX_PIXELS ((int64_t)1 << 28)

typedef enum { TS_PICTURE_UNKNOWN, TS_PICTURE_PNG, TS_PICTURE_JPEG, TS_PICTURE_BMP, TS_PICTURE_WEBP } ts_picture_kind;

/* ---- container.c: what the file says before anything is decoded ------------------------------------------------ */

typedef struct {
    ts_picture_kind kind;
    int64_t width, height; /* as the header says, in the file's own orientation; -1: there is no header */
    bool whole;            /* BMP: the pixels reach their end. Of the other kinds the decoders see it. */
    int orientation;       /* EXIF's 1..8; 1 (upright) where the file says nothing or nonsense */
    const char *unusual;   /* a form that no decoder here takes: "in arithmetic coding"; NULL */
    const char *cure;      /* what makes a usual one of it */
    int components;        /* JPEG */
    bool adobe;            /* JPEG: Adobe's marker stands before the pixels */
} ts_picture;

/* Walks the markers of a JPEG up to its pixels, the chunks of a PNG or a WebP, the header of a BMP. Reads nothing outside
 * `bytes`. */
ts_picture ts_picture_scan(const uint8_t *bytes, size_t size);

/* One segment of a JPEG. */
typedef struct {
    int marker;
    const uint8_t *data; /* behind the length */
    size_t size;
} ts_jpeg_segment;
enum { TS_JPEG_DHT = 0xC4, TS_JPEG_SOI = 0xD8, TS_JPEG_EOI = 0xD9, TS_JPEG_SOS = 0xDA };

/* The next segment at or behind `at`, which is moved past it; coded data, padding and stray bytes are skipped. A marker that
 * stands alone (EOI) has no data. False: there is none, or it leaves the file. */
bool ts_jpeg_next(const uint8_t *bytes, size_t size, size_t *at, ts_jpeg_segment *out);

/* ---- kind.c --------------------------------------------------------------------------------------------------- */

/* Says what a file is that is none of our kinds, and how to make one of it. Always false. */
bool ts_picture_refuse(const char *label, const uint8_t *bytes, size_t size, ts_error *err);
const char *ts_picture_kind_name(ts_picture_kind kind); /* "PNG" */
/* "a PNG, JPEG or BMP picture is needed", as this build is. */
#ifdef TESSERA_WEBP
#define TS_PICTURE_NEEDED "a PNG, JPEG, WebP or BMP picture is needed"
#else
#define TS_PICTURE_NEEDED "a PNG, JPEG or BMP picture is needed"
#endif

/* ---- pixels.c ------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    size_t size;
    const char *label;
    ts_picture about; /* its size is checked */
    uint8_t behind;   /* the grey that what is transparent is laid over: 255 is white */
    bool numbers;     /* wanted are not colours but the numbers of classes: PNG alone */
} ts_picture_file;

/* The decoders' complaints; always false. */
bool ts_picture_cut(const ts_picture_file *f, ts_error *err); /* the file ends before the picture does */
bool ts_picture_broken(const ts_picture_file *f, const char *why, ts_error *err);
bool ts_picture_memory(const ts_picture_file *f, ts_error *err);
bool ts_picture_no_numbers(const ts_picture_file *f, ts_error *err); /* it holds colours where numbers are wanted */

/* False, with a sentence, for a size that is not taken. */
bool ts_picture_check_size(int64_t width, int64_t height, const char *what, ts_code code, ts_error *err);

/* A sample over a grey: white is what paper and most viewers show behind a picture. */
static inline uint8_t ts_over(unsigned value, unsigned alpha, unsigned behind)
{
    return (uint8_t)((value * alpha + behind * (255 - alpha) + 127) / 255);
}
/* `channels` samples a pixel (1 grey, 2 grey and alpha, 3, 4) to RGB, over the grey `behind`. */
void ts_to_rgb(const uint8_t *in, int channels, int64_t pixels, uint8_t behind, uint8_t *out);

/* ---- decoders: to RGB as stored, `about.orientation` not yet obeyed ---------------------------------------------- */

/* On failure `out` is empty. */
bool ts_png_decode(const ts_picture_file *f, ts_image *out, ts_error *err);
bool ts_jpeg_decode(const ts_picture_file *f, ts_image *out, ts_error *err);
bool ts_webp_decode(const ts_picture_file *f, ts_image *out, ts_error *err);
bool ts_stb_decode(const ts_picture_file *f, ts_image *out, ts_error *err);

/* ---- exif.c --------------------------------------------------------------------------------------------------- */

/* `tiff`: the TIFF structure that is EXIF. 1..8. */
int ts_exif_orientation(const uint8_t *tiff, size_t size);
/* Turns a picture stored under an EXIF orientation upright. `img` is replaced, or left as it was on failure. */
bool ts_image_upright(ts_image *img, int orientation, ts_error *err);

/* ---- encoders: whole files in memory: free(). NULL: out of memory. ---------------------------------------------- */

uint8_t *ts_stb_encode_png(const uint8_t *data, int width, int height, int channels, size_t *size);
uint8_t *ts_stb_encode_jpeg(const ts_image *img, int quality, size_t *size);
uint8_t *ts_jpeg_encode(const ts_image *img, int quality, size_t *size);
uint8_t *ts_webp_encode(const ts_image *img, size_t *size); /* lossless */

#endif
