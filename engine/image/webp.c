/* webp.c - decodes WebP by libwebp (of an animation the first picture, as of all formats with several), and writes it without
 * loss: a mask keeps its values. */
#ifdef TESSERA_WEBP
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>

#include "engine/image/image.h"

static bool failed(const ts_picture_file *f, VP8StatusCode status, ts_error *err)
{
    if (status == VP8_STATUS_NOT_ENOUGH_DATA) return ts_picture_cut(f, err);
    if (status == VP8_STATUS_OUT_OF_MEMORY) return ts_picture_memory(f, err);
    return ts_picture_broken(f, status == VP8_STATUS_UNSUPPORTED_FEATURE ? "a form unknown to libwebp" : "its pixels are damaged",
                             err);
}

/* (pixels) RGBA, decoded into memory of ours so that libwebp's own failure is told from a want of memory. */
static bool decode_still(const ts_picture_file *f, bool alpha, ts_image *out, ts_error *err)
{
    WebPDecoderConfig how;
    if (!WebPInitDecoderConfig(&how)) return ts_picture_broken(f, "another libwebp is here than at the build", err);
    const size_t pixels = (size_t)out->width * (size_t)out->height, channels = alpha ? 4 : 3;
    uint8_t *rgba = alpha ? malloc(pixels * 4) : NULL;
    if (alpha && !rgba) return ts_picture_memory(f, err);
    how.output.colorspace = alpha ? MODE_RGBA : MODE_RGB;
    how.output.is_external_memory = 1;
    how.output.u.RGBA.rgba = alpha ? rgba : out->data;
    how.output.u.RGBA.stride = out->width * (int)channels;
    how.output.u.RGBA.size = pixels * channels;
    const VP8StatusCode status = WebPDecode(f->bytes, f->size, &how);
    if (status == VP8_STATUS_OK && alpha) ts_to_rgb(rgba, 4, (int64_t)pixels, f->behind, out->data);
    free(rgba);
    WebPFreeDecBuffer(&how.output);
    return status == VP8_STATUS_OK || failed(f, status, err);
}

static bool decode_animation(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    const WebPData data = {f->bytes, f->size};
    WebPAnimDecoderOptions how;
    if (!WebPAnimDecoderOptionsInit(&how)) return ts_picture_broken(f, "another libwebp is here than at the build", err);
    how.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &how);
    uint8_t *rgba = NULL; /* the decoder's */
    int when = 0;
    const bool ok = decoder && WebPAnimDecoderGetNext(decoder, &rgba, &when);
    if (ok) ts_to_rgb(rgba, 4, (int64_t)out->width * out->height, f->behind, out->data);
    WebPAnimDecoderDelete(decoder);
    return ok || ts_picture_broken(f, "its first picture is damaged or cut off", err);
}

bool ts_webp_decode(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    WebPBitstreamFeatures has;
    *out = (ts_image){0};
    const VP8StatusCode status = WebPGetFeatures(f->bytes, f->size, &has);
    if (status != VP8_STATUS_OK) return failed(f, status, err);
    if (has.width != f->about.width || has.height != f->about.height) return ts_picture_broken(f, "it tells two sizes", err);
    if (!ts_image_new(has.width, has.height, out, err)) return false;
    const bool ok = has.has_animation ? decode_animation(f, out, err) : decode_still(f, has.has_alpha, out, err);
    if (!ok) ts_image_clear(out);
    return ok;
}

uint8_t *ts_webp_encode(const ts_image *img, size_t *size)
{
    uint8_t *bytes = NULL, *copy = NULL;
    *size = WebPEncodeLosslessRGB(img->data, img->width, img->height, img->width * 3, &bytes);
    if (*size && (copy = malloc(*size))) memcpy(copy, bytes, *size); /* libwebp's memory is not for free() everywhere */
    WebPFree(bytes);
    return copy;
}
#else
typedef int ts_no_webp; /* a file of C holds something */
#endif
