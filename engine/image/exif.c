/* exif.c - walks a picture's container for what the decoder does not tell, or tells too late: its size, whether the file is whole
 * (stb fills what is missing of a JPEG or a BMP with grey or black and calls it success), and the orientation that a camera wrote
 * into EXIF. Pictures from telephones lie on their side without it, and an example would not match its mask. */
#include <stdlib.h>
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

static uint32_t le32(const uint8_t *p)
{
    return le16(p + 2) << 16 | le16(p);
}

/* `tiff`: the TIFF structure that is EXIF. Only the first directory is looked at: it describes the picture itself. */
static int tiff_orientation(const uint8_t *tiff, size_t size)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };
    if (size < 8) return 1;
    bool big = memcmp(tiff, "MM\0*", 4) == 0;
    if (!big && memcmp(tiff, "II*\0", 4) != 0) return 1;
    uint32_t (*get16)(const uint8_t *) = big ? be16 : le16;
    uint32_t (*get32)(const uint8_t *) = big ? be32 : le32;
    uint64_t at = get32(tiff + 4);
    if (at + 2 > size) return 1;
    uint32_t entries = get16(tiff + at);
    at += 2;
    for (uint32_t i = 0; i < entries && at + ENTRY <= size; i++, at += ENTRY) {
        const uint8_t *entry = tiff + at;
        if (get16(entry) != ORIENTATION) continue;
        uint32_t value = get16(entry + 8);
        bool sane = get16(entry + 2) == SHORT && get32(entry + 4) == 1 && value >= 1 && value <= 8;
        return sane ? (int)value : 1;
    }
    return 1;
}

/* Whether every table of a DHT segment holds at most the 256 codes that a byte can name, and the tables fill the segment.
 * stb 2.27 looks at neither before it has written past its arrays. */
static bool huffman_fits(const uint8_t *p, size_t size)
{
    enum { HEADER = 17 };
    while (size >= HEADER) {
        size_t codes = 0;
        for (int i = 1; i < HEADER; i++) codes += p[i];
        if (codes > 256 || codes > size - HEADER) return false;
        p += HEADER + codes;
        size -= HEADER + codes;
    }
    return size == 0;
}

static void scan_jpeg(const uint8_t *p, size_t size, ts_picture *out)
{
    enum {
        SOF0 = 0xC0,
        SOF15 = 0xCF,
        DHT = 0xC4,
        JPG = 0xC8,
        DAC = 0xCC,
        SOI = 0xD8,
        EOI = 0xD9,
        SOS = 0xDA,
        APP1 = 0xE1,
        RST0 = 0xD0,
        RST7 = 0xD7,
        TEM = 0x01
    };
    bool seen_exif = false;
    size_t at = 2;
    while (at + 1 < size) {
        /* Between segments this skips padding; behind SOS it skips the coded data, where a lone FF is written FF 00. */
        if (p[at] != 0xFF || p[at + 1] == 0xFF || p[at + 1] == 0) {
            at++;
            continue;
        }
        int marker = p[at + 1];
        at += 2;
        if (marker == EOI) {
            out->complete = true;
            return;
        }
        if (marker == TEM || marker == SOI || (marker >= RST0 && marker <= RST7)) continue;
        if (size - at < 2) return;
        size_t length = be16(p + at);
        if (length < 2 || length > size - at) return;
        if (marker == APP1 && !seen_exif && length >= 8 && memcmp(p + at + 2, "Exif\0\0", 6) == 0) {
            seen_exif = true;
            out->orientation = tiff_orientation(p + at + 8, length - 8);
        }
        if (marker == DHT && !huffman_fits(p + at + 2, length - 2)) out->safe = false;
        bool frame = marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != JPG && marker != DAC;
        if (frame && length >= 7) {
            out->height = be16(p + at + 3);
            out->width = be16(p + at + 5);
        }
        at += length;
    }
}

static void scan_png(const uint8_t *p, size_t size, ts_picture *out)
{
    enum { SIGNATURE = 8, AROUND = 12 }; /* length, type and checksum stand around a chunk's data */
    size_t at = SIGNATURE;
    while (size - at >= AROUND) {
        size_t length = be32(p + at);
        const uint8_t *type = p + at + 4;
        if (length > size - at - AROUND) return;
        if (memcmp(type, "IHDR", 4) == 0 && length >= 8) {
            out->width = be32(type + 4);
            out->height = be32(type + 8);
        }
        if (memcmp(type, "eXIf", 4) == 0) out->orientation = tiff_orientation(p + at + 8, length);
        if (memcmp(type, "IEND", 4) == 0) {
            out->complete = true;
            return;
        }
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
    out->complete = offset <= size && (row == 0 || height <= (size - offset) / row);
}

ts_picture ts_picture_scan(const uint8_t *bytes, size_t size)
{
    ts_picture out = {.kind = TS_PICTURE_UNKNOWN, .safe = true, .orientation = 1};
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        out.kind = TS_PICTURE_PNG;
        scan_png(bytes, size, &out);
    } else if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        out.kind = TS_PICTURE_JPEG;
        scan_jpeg(bytes, size, &out);
    } else if (size >= 2 && memcmp(bytes, "BM", 2) == 0) {
        out.kind = TS_PICTURE_BMP;
        scan_bmp(bytes, size, &out);
    }
    return out;
}

bool ts_image_upright(ts_image *img, int orientation, ts_error *err)
{
    if (orientation <= 1 || orientation > 8) return true;
    /* The stored picture is flipped left to right, then top to bottom, then transposed: each orientation is some of the three. */
    static const struct {
        bool flip_x, flip_y, transpose;
    } how[9] = {
        [2] = {1, 0, 0}, [3] = {1, 1, 0}, [4] = {0, 1, 0}, [5] = {0, 0, 1}, [6] = {0, 1, 1}, [7] = {1, 1, 1}, [8] = {1, 0, 1}};
    int width = img->width, height = img->height;
    bool transpose = how[orientation].transpose;
    ts_image turned;
    if (!ts_image_new(transpose ? height : width, transpose ? width : height, &turned, err)) return false;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int u = how[orientation].flip_x ? width - 1 - x : x;
            int v = how[orientation].flip_y ? height - 1 - y : y;
            size_t to = transpose ? (size_t)u * (size_t)height + (size_t)v : (size_t)v * (size_t)width + (size_t)u;
            memcpy(turned.data + to * 3, img->data + ((size_t)y * (size_t)width + (size_t)x) * 3, 3);
        }
    }
    ts_image_clear(img);
    *img = turned;
    return true;
}
