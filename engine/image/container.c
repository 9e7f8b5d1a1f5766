/* container.c - walks a picture's container for what the decoder does not tell, or tells too late: its kind and size, forms of a
 * kind that nobody here decodes, the camera's orientation, and whether the pixels of a BMP are all there. */
#include <string.h>

#include "engine/image/image.h"

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static uint32_t le16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t le24(const uint8_t *p)
{
    return le16(p) | (uint32_t)p[2] << 16;
}

static uint32_t le32(const uint8_t *p)
{
    return le16(p + 2) << 16 | le16(p);
}

/* ---- JPEG ------------------------------------------------------------------------------------------------------ */

bool ts_jpeg_next(const uint8_t *bytes, size_t size, size_t *at, ts_jpeg_segment *out)
{
    enum { RST0 = 0xD0, RST7 = 0xD7, TEM = 0x01 };
    while (*at + 1 < size) {
        const uint8_t *mark = memchr(bytes + *at, 0xFF, size - 1 - *at);
        if (!mark) break;
        *at = (size_t)(mark - bytes) + 1;
        const int marker = bytes[*at];
        if (marker == 0xFF) continue; /* padding */
        *at += 1;
        /* Within coded data a lone FF is written FF 00. */
        if (marker == 0 || marker == TEM || marker == TS_JPEG_SOI || (marker >= RST0 && marker <= RST7)) continue;
        *out = (ts_jpeg_segment){.marker = marker};
        if (marker == TS_JPEG_EOI) return true;
        if (size - *at < 2) return false;
        const size_t length = be16(bytes + *at);
        if (length < 2 || length > size - *at) return false;
        out->data = bytes + *at + 2;
        out->size = length - 2;
        *at += length;
        return true;
    }
    return false;
}

static void scan_frame(const ts_jpeg_segment *s, ts_picture *out)
{
    enum { SOF3 = 0xC3, SOF5 = 0xC5, SOF7 = 0xC7, SOF9 = 0xC9, SOF10 = 0xCA };
    if (s->size < 6) return;
    out->height = be16(s->data + 1);
    out->width = be16(s->data + 3);
    out->components = s->data[5];
    const bool arithmetic = s->marker == SOF9 || s->marker == SOF10;
    out->unusual = arithmetic                               ? "in arithmetic coding"
                   : s->marker == SOF3 || s->marker > SOF10 ? "in lossless coding"
                   : s->marker >= SOF5 && s->marker <= SOF7 ? "in hierarchical coding"
                   : s->data[0] != 8                        ? "of 12 bits a sample"
                   : out->height == 0                       ? "that tells its height only behind the pixels"
                                                            : NULL;
    out->cure = arithmetic ? "jpegtran -copy all IN.jpg > OUT.jpg" : "convert IN.jpg OUT.png";
}

static void scan_jpeg(const uint8_t *p, size_t size, ts_picture *out)
{
    enum { SOF0 = 0xC0, SOF15 = 0xCF, JPG = 0xC8, DAC = 0xCC, APP1 = 0xE1, APP14 = 0xEE, EXIF = 6, ADOBE = 5 };
    bool seen_exif = false;
    size_t at = 2;
    for (ts_jpeg_segment s; ts_jpeg_next(p, size, &at, &s) && s.marker != TS_JPEG_SOS && s.marker != TS_JPEG_EOI;) {
        if (s.marker == APP1 && !seen_exif && s.size >= EXIF && memcmp(s.data, "Exif\0\0", EXIF) == 0) {
            seen_exif = true;
            out->orientation = ts_exif_orientation(s.data + EXIF, s.size - EXIF);
        }
        if (s.marker == APP14 && s.size >= 12 && memcmp(s.data, "Adobe", ADOBE) == 0) out->adobe = true;
        if (s.marker >= SOF0 && s.marker <= SOF15 && s.marker != TS_JPEG_DHT && s.marker != JPG && s.marker != DAC)
            scan_frame(&s, out);
    }
}

/* ---- PNG, BMP -------------------------------------------------------------------------------------------------- */

static void scan_png(const uint8_t *p, size_t size, ts_picture *out)
{
    enum { SIGNATURE = 8, AROUND = 12 }; /* length, type and checksum stand around a chunk's data */
    for (size_t at = SIGNATURE; size - at >= AROUND;) {
        const size_t length = be32(p + at);
        const uint8_t *type = p + at + 4;
        if (at == SIGNATURE && memcmp(type, "CgBI", 4) == 0) {
            out->unusual = "in Apple's form for its telephones";
            out->cure = "pngcrush -revert-iphone-optimizations IN.png OUT.png";
        }
        if (length > size - at - AROUND) return;
        if (memcmp(type, "IHDR", 4) == 0 && length >= 8 && out->width < 0) {
            out->width = be32(type + 4);
            out->height = be32(type + 8);
        }
        if (memcmp(type, "eXIf", 4) == 0) out->orientation = ts_exif_orientation(p + at + 8, length);
        at += AROUND + length;
    }
}

static void scan_bmp(const uint8_t *p, size_t size, ts_picture *out)
{
    if (size < 30) return;
    bool old = le32(p + 14) == 12; /* the OS/2 header has 16-bit sizes */
    uint64_t width = old ? le16(p + 18) : le32(p + 18);
    uint64_t height = old ? le16(p + 20) : le32(p + 22);
    uint64_t bits = old ? le16(p + 24) : le16(p + 28);
    if (height > INT32_MAX) height = (uint64_t)UINT32_MAX + 1 - height; /* negative: rows from the top */
    out->width = (int64_t)width;
    out->height = (int64_t)height;
    uint64_t row = (width * bits + 31) / 32 * 4; /* < 2^48 */
    uint64_t offset = le32(p + 10);
    out->whole = offset <= size && (row == 0 || height <= (size - offset) / row);
}

/* ---- WebP ------------------------------------------------------------------------------------------------------ */

/* A file is one chunk of pixels, VP8 or VP8L; or VP8X with the canvas's size, and then others, pixels and EXIF among them. */
static void scan_webp(const uint8_t *p, size_t size, ts_picture *out)
{
    enum { SIGNATURE = 12, HEAD = 8 };
    for (size_t at = SIGNATURE; size - at >= HEAD;) {
        const uint8_t *data = p + at + HEAD;
        const size_t length = le32(p + at + 4), left = size - at - HEAD;
        if (out->width < 0) {
            if (memcmp(p + at, "VP8X", 4) == 0 && left >= 10) {
                out->width = (int64_t)le24(data + 4) + 1;
                out->height = (int64_t)le24(data + 7) + 1;
            } else if (memcmp(p + at, "VP8L", 4) == 0 && left >= 5) {
                out->width = (le32(data + 1) & 0x3fff) + 1;
                out->height = (le32(data + 1) >> 14 & 0x3fff) + 1;
            } else if (memcmp(p + at, "VP8 ", 4) == 0 && left >= 10) {
                out->width = le16(data + 6) & 0x3fff;
                out->height = le16(data + 8) & 0x3fff;
            }
        }
        if (length > left) return;
        if (memcmp(p + at, "EXIF", 4) == 0) {
            const size_t head = length >= 6 && memcmp(data, "Exif\0\0", 6) == 0 ? 6 : 0; /* some writers repeat JPEG's */
            out->orientation = ts_exif_orientation(data + head, length - head);
        }
        if (length + (length & 1) > left) return; /* the padding */
        at += HEAD + length + (length & 1);
    }
}

ts_picture ts_picture_scan(const uint8_t *bytes, size_t size)
{
    ts_picture out = {.kind = TS_PICTURE_UNKNOWN, .width = -1, .height = -1, .orientation = 1};
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        out.kind = TS_PICTURE_PNG;
        scan_png(bytes, size, &out);
    } else if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        out.kind = TS_PICTURE_JPEG;
        scan_jpeg(bytes, size, &out);
    } else if (size >= 2 && memcmp(bytes, "BM", 2) == 0) {
        out.kind = TS_PICTURE_BMP;
        scan_bmp(bytes, size, &out);
    } else if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) {
        out.kind = TS_PICTURE_WEBP;
        scan_webp(bytes, size, &out);
    }
    return out;
}
