/* exif.c - the orientation that a camera wrote into EXIF, and turning the picture by it. Pictures from telephones lie on their
 * side without it, and an example would not match its mask. */
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

/* Only the first directory is looked at: it describes the picture itself. */
int ts_exif_orientation(const uint8_t *tiff, size_t size)
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
