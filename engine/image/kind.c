/* kind.c - what a file is that no decoder here takes, and how to make a picture of it that one does. */
#include <string.h>
#include <strings.h>

#include "engine/image/image.h"

const char *ts_picture_kind_name(ts_picture_kind kind)
{
    static const char *const names[] = {[TS_PICTURE_UNKNOWN] = "",
                                        [TS_PICTURE_PNG] = "PNG",
                                        [TS_PICTURE_JPEG] = "JPEG",
                                        [TS_PICTURE_BMP] = "BMP",
                                        [TS_PICTURE_WEBP] = "WebP"};
    return names[kind];
}

typedef struct {
    const char *name, *cure; /* cure NULL: it is no picture */
} likeness;

#define IMAGEMAGICK(ending) "convert IN." ending " OUT.png"

/* HEIF, AVIF and films are boxes of ISO's base media format, the first of which tells brands: the major one at 8, those it is
 * compatible with from 16 on. mif1 and msf1 say no more than that it is a picture, or several. */
static likeness like_boxes(const uint8_t *bytes, size_t size)
{
    static const likeness avif = {"an AVIF picture", "avifdec IN.avif OUT.png"},
                          heic = {"a HEIC picture", "heif-convert IN.heic OUT.png"},
                          heif = {"a HEIF picture", "heif-convert IN.heif OUT.png"},
                          raw = {"a camera's raw file", "darktable-cli IN.cr3 OUT.png"}, film = {"a film", NULL};
    static const struct {
        const char *brand;
        const likeness *is;
    } known[] = {{"avif", &avif}, {"avis", &avif}, {"hei", &heic}, {"hev", &heic},
                 {"mif", &heif},  {"msf", &heif},  {"crx ", &raw}};
    size_t end = (size_t)bytes[2] << 8 | bytes[3];
    if (end > size) end = size;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (size_t at = 8; at + 4 <= end; at += at == 8 ? 8 : 4)
            if (memcmp(bytes + at, known[i].brand, strlen(known[i].brand)) == 0) return *known[i].is;
    return film;
}

static likeness like_text(const char *text, size_t size)
{
    char head[1024 + 1] = {0};
    memcpy(head, text, size < sizeof head ? size : sizeof head - 1);
    if (strncmp(head, "version https://git-lfs", 23) == 0)
        return (likeness){"a pointer of Git LFS, which `git lfs pull` turns into the file", NULL};
    if (strcasestr(head, "<svg")) return (likeness){"an SVG drawing", "rsvg-convert IN.svg -o OUT.png"};
    if (strcasestr(head, "<html") || strcasestr(head, "<!doctype html"))
        return (likeness){"a page of the web (HTML), as a download brings it that found no picture", NULL};
    return (likeness){"a text file", NULL};
}

static likeness like(const uint8_t *bytes, size_t size)
{
    static const struct {
        likeness is;
        const char *magic;
        size_t offset, length;
    } known[] = {
        {{"a GIF picture", "convert 'IN.gif[0]' OUT.png"}, "GIF8", 0, 4},
        {{"a TIFF picture, or a camera's raw file", IMAGEMAGICK("tif")}, "II*\0", 0, 4},
        {{"a TIFF picture, or a camera's raw file", IMAGEMAGICK("tif")}, "MM\0*", 0, 4},
        {{"a TIFF picture", IMAGEMAGICK("tif")}, "II+\0", 0, 4},
        {{"a TIFF picture", IMAGEMAGICK("tif")}, "MM\0+", 0, 4},
        {{"a WebP picture, which this program was built without", "dwebp IN.webp -o OUT.png"}, "WEBP", 8, 4},
        {{"a JPEG XL picture", "djxl IN.jxl OUT.png"}, "\xff\x0a", 0, 2},
        {{"a JPEG XL picture", "djxl IN.jxl OUT.png"}, "\0\0\0\x0cJXL ", 0, 8},
        {{"a JPEG 2000 picture", "opj_decompress -i IN.jp2 -o OUT.png"}, "jP  ", 4, 4},
        {{"a JPEG 2000 picture", "opj_decompress -i IN.j2k -o OUT.png"}, "\xff\x4f\xff\x51", 0, 4},
        {{"a Photoshop picture", "convert 'IN.psd[0]' OUT.png"}, "8BPS", 0, 4},
        {{"a GIMP picture", IMAGEMAGICK("xcf")}, "gimp xcf", 0, 8},
        {{"an icon", "convert 'IN.ico[0]' OUT.png"}, "\0\0\1\0", 0, 4},
        {{"an OpenEXR picture", IMAGEMAGICK("exr")}, "\x76\x2f\x31\x01", 0, 4},
        {{"a DirectDraw picture", IMAGEMAGICK("dds")}, "DDS ", 0, 4},
        {{"a PNM picture", IMAGEMAGICK("ppm")}, "P4", 0, 2},
        {{"a PNM picture", IMAGEMAGICK("ppm")}, "P5", 0, 2},
        {{"a PNM picture", IMAGEMAGICK("ppm")}, "P6", 0, 2},
        {{"a PDF document", "pdftoppm -png -singlefile IN.pdf OUT"}, "%PDF", 0, 4},
        {{"a PostScript document", "convert IN.ps OUT.png"}, "%!PS", 0, 4},
        {{"a PyTorch or zip file", NULL}, "PK\3\4", 0, 4},
        {{"a gzip file", NULL}, "\x1f\x8b", 0, 2},
    };
    if (size >= 16 && memcmp(bytes + 4, "ftyp", 4) == 0) return like_boxes(bytes, size);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t end = known[i].offset + known[i].length;
        if (size >= end && memcmp(bytes + known[i].offset, known[i].magic, known[i].length) == 0) return known[i].is;
    }
    for (size_t i = 0; i < size && i < 512; i++) {
        bool text = bytes[i] >= 0x20 || (bytes[i] >= '\t' && bytes[i] <= '\r');
        if (!text) return (likeness){"a file of another kind", NULL};
    }
    return like_text((const char *)bytes, size);
}

bool ts_picture_refuse(const char *label, const uint8_t *bytes, size_t size, ts_error *err)
{
    const likeness is = like(bytes, size);
    if (!is.cure) return ts_fail(err, TS_ERR_FORMAT, "%s is %s: " TS_PICTURE_NEEDED, label, is.name);
    return ts_fail(err, TS_ERR_FORMAT, "%s is %s: convert it to PNG or JPEG first, as with `%s`", label, is.name, is.cure);
}
