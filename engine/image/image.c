/* image.c - pictures in and out. Whatever a file holds (grey, palette, 16 bit, alpha, a camera's orientation), the rest of the
 * program sees 8-bit RGB, upright. Every file is taken for broken until shown otherwise: its kind comes from its first bytes
 * and not from its name, its size is checked before the decoder allocates anything. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/image/image.h"

enum { JPEG_QUALITY = 95, JPEG_MAX_SIDE = 65535 };

void ts_image_clear(ts_image *img)
{
    if (!img) return;
    free(img->data);
    *img = (ts_image){0};
}

/* The sentence for a size that we do not take; true when the size is fine. */
static bool check_size(int64_t width, int64_t height, const char *what, ts_code code, ts_error *err)
{
    if (width < 1 || height < 1) {
        return ts_fail(err, code, "%s is %lld x %lld pixels: a picture needs at least one each way", what, (long long)width,
                       (long long)height);
    }
    if (width > TS_MAX_PIXELS / height) {
        return ts_fail(err, code, "%s is %lld x %lld pixels: more than the %lld that are allowed", what, (long long)width,
                       (long long)height, (long long)TS_MAX_PIXELS);
    }
    return true;
}

bool ts_image_new(int width, int height, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    if (!check_size(width, height, "the picture to make", TS_ERR_ARGUMENT, err)) return false;
    uint8_t *data = calloc((size_t)width * (size_t)height, 3);
    if (!data) return ts_fail(err, TS_ERR_MEMORY, "no memory for a picture of %d x %d pixels", width, height);
    *out = (ts_image){.width = width, .height = height, .data = data};
    return true;
}

/* What a file that is none of our kinds looks like, for the error's sentence. */
static const char *looks_like(const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *name, *magic;
        size_t offset, length;
    } known[] = {
        {"a GIF picture", "GIF8", 0, 4},         {"a WebP picture", "WEBP", 8, 4},   {"a TIFF picture", "II*\0", 0, 4},
        {"a TIFF picture", "MM\0*", 0, 4},       {"a HEIF picture", "ftyphe", 4, 6}, {"an AVIF picture", "ftypavif", 4, 8},
        {"a JPEG 2000 picture", "jP  ", 4, 4},   {"a PDF document", "%PDF", 0, 4},   {"a PyTorch or zip file", "PK\3\4", 0, 4},
        {"a JPEG XL picture", "\xff\x0a", 0, 2}, {"a gzip file", "\x1f\x8b", 0, 2},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t end = known[i].offset + known[i].length;
        if (size >= end && memcmp(bytes + known[i].offset, known[i].magic, known[i].length) == 0) return known[i].name;
    }
    for (size_t i = 0; i < size && i < 512; i++) {
        bool text = bytes[i] >= 0x20 || (bytes[i] >= '\t' && bytes[i] <= '\r');
        if (!text) return "a file of another kind";
    }
    return "a text file";
}

/* `channels` samples a pixel to RGB. Alpha is composed over white, which is what paper and most viewers show behind a picture. */
static void to_rgb(const uint8_t *in, int channels, int64_t pixels, uint8_t *out)
{
    bool grey = channels < 3, alpha = channels == 2 || channels == 4;
    for (int64_t i = 0; i < pixels; i++, in += channels, out += 3) {
        unsigned a = alpha ? in[channels - 1] : 255;
        for (int c = 0; c < 3; c++) out[c] = (uint8_t)((in[grey ? 0 : c] * a + 255 * (255 - a) + 127) / 255);
    }
}

/* A JPEG spends at least one bit on each 8x8 block; deflate shrinks at most 1032 times, and a PNG pixel is one bit or more. A
 * file shorter than that is cut off, or built to make us allocate gigabytes. */
static bool long_enough(ts_picture_kind kind, size_t size, int64_t pixels)
{
    int64_t pixels_per_byte = kind == TS_PICTURE_JPEG ? 64 * 8 : kind == TS_PICTURE_PNG ? 1032 * 8 : 8;
    return pixels / pixels_per_byte <= (int64_t)size;
}

bool ts_image_decode(const void *bytes, size_t size, const char *label, ts_image *out, ts_error *err)
{
    static const char *const kinds[] = {"", "PNG", "JPEG", "BMP"};
    *out = (ts_image){0};
    if (size == 0) return ts_fail(err, TS_ERR_FORMAT, "%s is empty: a PNG, JPEG or BMP picture is needed", label);
    ts_picture scan = ts_picture_scan(bytes, size);
    const char *kind = kinds[scan.kind];
    if (scan.kind == TS_PICTURE_UNKNOWN) {
        return ts_fail(err, TS_ERR_FORMAT, "%s is %s: a PNG, JPEG or BMP picture is needed", label, looks_like(bytes, size));
    }
    if (!scan.complete) return ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture that is cut off before its end", label, kind);
    if (!scan.safe) return ts_fail(err, TS_ERR_FORMAT, "%s is a broken JPEG picture: a Huffman table does not fit", label);
    if (!check_size(scan.width, scan.height, label, TS_ERR_FORMAT, err)) return false;
    if (!long_enough(scan.kind, size, scan.width * scan.height)) {
        return ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture of %lld x %lld pixels, but has only %zu bytes", label, kind,
                       (long long)scan.width, (long long)scan.height, size);
    }
    int width, height, channels;
    const char *why = "";
    bool no_memory = false;
    uint8_t *data = ts_stb_decode(bytes, size, &width, &height, &channels, &why, &no_memory);
    if (no_memory)
        return ts_fail(err, TS_ERR_MEMORY, "no memory to read %s (%lld x %lld pixels)", label, (long long)scan.width,
                       (long long)scan.height);
    if (!data) return ts_fail(err, TS_ERR_FORMAT, "%s is a broken %s picture, or one of an unusual kind: %s", label, kind, why);
    bool ok = width == scan.width && height == scan.height; /* a second header, which the decoder took */
    if (!ok) ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture that tells two sizes", label, kind);
    ok = ok && ts_image_new(width, height, out, err);
    if (ok) to_rgb(data, channels, (int64_t)width * height, out->data);
    free(data);
    if (ok && !ts_image_upright(out, scan.orientation, err)) {
        ts_image_clear(out);
        ok = false;
    }
    return ok;
}

/* Reads to the end, so that a pipe serves as well as a file. */
static uint8_t *read_all(FILE *f, const char *path, size_t *size, ts_error *err)
{
    static const size_t limit = (size_t)1 << 30;
    size_t room = 1 << 16, used = 0;
    uint8_t *data = malloc(room);
    while (data) {
        used += fread(data + used, 1, room - used, f);
        if (ferror(f)) {
            ts_fail(err, TS_ERR_IO, "cannot read %s: %s", path, strerror(errno));
            break;
        }
        if (used < room) {
            *size = used;
            return data;
        }
        if (room >= limit) {
            ts_fail(err, TS_ERR_FORMAT, "%s is larger than a gigabyte: a PNG, JPEG or BMP picture is needed", path);
            break;
        }
        room *= 2;
        uint8_t *more = realloc(data, room);
        if (!more) break;
        data = more;
    }
    ts_fail(err, TS_ERR_MEMORY, "no memory to read %s", path); /* unless another cause is already told */
    free(data);
    return NULL;
}

/* Waits for what somebody writes into a pipe, but not for somebody to come: of a pipe that nobody holds open nothing is ever
 * heard. Reading waits as long as it takes from then on. */
static bool wait_for_pipe(int fd, const char *path, ts_error *err)
{
    enum { PATIENCE_MS = 10000 };
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, PATIENCE_MS) == 0)
        return ts_fail(err, TS_ERR_IO, "%s is a pipe into which nobody has written for %d seconds", path, PATIENCE_MS / 1000);
    const int flags = fcntl(fd, F_GETFL);
    return (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0) ||
           ts_fail(err, TS_ERR_IO, "cannot read %s: %s", path, strerror(errno));
}

/* A file or a pipe. A folder, and a device, which may have no end, are refused. */
static FILE *open_picture(const char *path, ts_error *err)
{
    struct stat about;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        ts_fail(err, errno == ENOMEM ? TS_ERR_MEMORY : TS_ERR_IO, "cannot open the picture %s: %s", path, strerror(errno));
        return NULL;
    }
    bool ok = fstat(fd, &about) == 0;
    if (!ok) ts_fail(err, TS_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    else if (S_ISFIFO(about.st_mode)) ok = wait_for_pipe(fd, path, err);
    else if (!S_ISREG(about.st_mode))
        ok = ts_fail(err, TS_ERR_IO, "%s is a %s: a PNG, JPEG or BMP picture is needed", path,
                     S_ISDIR(about.st_mode) ? "folder" : "device");
    FILE *f = ok ? fdopen(fd, "rb") : NULL;
    if (f) return f;
    if (ok) ts_fail(err, TS_ERR_MEMORY, "no memory to read %s", path);
    close(fd);
    return NULL;
}

bool ts_image_load(const char *path, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    FILE *f = open_picture(path, err);
    if (!f) return false;
    size_t size = 0;
    uint8_t *bytes = read_all(f, path, &size, err);
    fclose(f);
    bool ok = bytes && ts_image_decode(bytes, size, path, out, err);
    free(bytes);
    return ok;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcasecmp(path + n - m, ending) == 0;
}

bool ts_image_save(const char *path, const ts_image *img, ts_error *err)
{
    bool png = ends_with(path, ".png");
    if (!png && !ends_with(path, ".jpg") && !ends_with(path, ".jpeg")) {
        return ts_fail(err, TS_ERR_ARGUMENT, "%s does not say what to write: the name must end in .png, .jpg or .jpeg", path);
    }
    if (!img->data || !check_size(img->width, img->height, path, TS_ERR_ARGUMENT, err)) {
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture to write to %s", path);
    }
    if (!png && (img->width > JPEG_MAX_SIDE || img->height > JPEG_MAX_SIDE)) {
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: a JPEG has at most %d pixels a side, this picture has %d x %d: write a PNG",
                       path, JPEG_MAX_SIDE, img->width, img->height);
    }
    size_t size = 0;
    uint8_t *bytes = png ? ts_stb_encode_png(img, &size) : ts_stb_encode_jpeg(img, JPEG_QUALITY, &size);
    if (!bytes) return ts_fail(err, TS_ERR_MEMORY, "no memory to write %s (%d x %d pixels)", path, img->width, img->height);
    bool ok = ts_file_write(path, bytes, size, err);
    free(bytes);
    return ok;
}
