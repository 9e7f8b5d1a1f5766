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

enum { JPEG_QUALITY = 95 };

/* A JPEG spends at least one bit on each 8x8 block; deflate shrinks at most 1032 times, and a PNG pixel is one bit or more. A
 * file shorter than that is cut off, or built to make us allocate gigabytes. WebP can tell any number of like pixels in no bytes
 * at all: such a one may have four million, as masks do, and more where there is more to it. */
static bool long_enough(ts_picture_kind kind, size_t size, int64_t pixels)
{
    static const struct {
        int64_t free, a_byte;
    } most[] = {[TS_PICTURE_UNKNOWN] = {0, 1},
                [TS_PICTURE_PNG] = {0, 1032 * 8},
                [TS_PICTURE_JPEG] = {0, 64 * 8},
                [TS_PICTURE_BMP] = {0, 8},
                [TS_PICTURE_WEBP] = {1 << 22, 1032 * 8}};
    return (pixels - most[kind].free) / most[kind].a_byte <= (int64_t)size;
}

/* What the header says, before anything is allocated. */
static bool check_header(const ts_picture_file *f, ts_error *err)
{
    const ts_picture *about = &f->about;
    const char *kind = ts_picture_kind_name(about->kind);
    if (about->unusual)
        return ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture %s, which is not read here: convert it first, as with `%s`",
                       f->label, kind, about->unusual, about->cure);
    if (about->width < 0 || (about->kind == TS_PICTURE_BMP && !about->whole)) return ts_picture_cut(f, err);
    if (!ts_picture_check_size(about->width, about->height, f->label, TS_ERR_FORMAT, err)) return false;
    return long_enough(about->kind, f->size, about->width * about->height) ||
           ts_fail(err, TS_ERR_FORMAT, "%s is a %s picture of %lld x %lld pixels, but has only %zu bytes", f->label, kind,
                   (long long)about->width, (long long)about->height, f->size);
}

typedef bool (*decoder)(const ts_picture_file *, ts_image *, ts_error *);

/* The kind and size of what is in `f`, which has bytes and a label, and what decodes it. NULL: it is none that is read here. */
static decoder look_at(ts_picture_file *f, ts_error *err)
{
    static const decoder decoders[] = {
        [TS_PICTURE_UNKNOWN] = NULL,        [TS_PICTURE_PNG] = ts_png_decode,
        [TS_PICTURE_JPEG] = ts_jpeg_decode, [TS_PICTURE_BMP] = ts_stb_decode,
#ifdef TESSERA_WEBP
        [TS_PICTURE_WEBP] = ts_webp_decode,
#else
        [TS_PICTURE_WEBP] = NULL,
#endif
    };
    if (f->size == 0) {
        ts_fail(err, TS_ERR_FORMAT, "%s is empty: " TS_PICTURE_NEEDED, f->label);
        return NULL;
    }
    f->about = ts_picture_scan(f->bytes, f->size);
    const decoder d = decoders[f->about.kind];
    if (!d) ts_picture_refuse(f->label, f->bytes, f->size, err);
    return d && check_header(f, err) ? d : NULL;
}

/* `f` has bytes and a label, and says what is wanted of them. */
static bool decode(ts_picture_file *f, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    const decoder d = look_at(f, err);
    if (!d) return false;
    if (f->numbers && f->about.kind != TS_PICTURE_PNG) return ts_picture_no_numbers(f, err);
    if (!d(f, out, err)) return false;
    if (ts_image_upright(out, f->about.orientation, err)) return true;
    ts_image_clear(out);
    return false;
}

/* What is transparent is laid over the grey `behind`. */
static bool decode_over(const void *bytes, size_t size, const char *label, uint8_t behind, ts_image *out, ts_error *err)
{
    ts_picture_file f = {.bytes = bytes, .size = size, .label = label, .behind = behind};
    return decode(&f, out, err);
}

bool ts_image_decode(const void *bytes, size_t size, const char *label, ts_image *out, ts_error *err)
{
    return decode_over(bytes, size, label, 255, out, err);
}

bool ts_image_measure(const void *bytes, size_t size, const char *label, int *width, int *height, ts_error *err)
{
    ts_picture_file f = {.bytes = bytes, .size = size, .label = label};
    if (!look_at(&f, err)) return false;
    const bool turned = f.about.orientation >= 5; /* by a quarter */
    *width = (int)(turned ? f.about.height : f.about.width);
    *height = (int)(turned ? f.about.width : f.about.height);
    return true;
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
            ts_fail(err, TS_ERR_FORMAT, "%s is larger than a gigabyte: " TS_PICTURE_NEEDED, path);
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

bool ts_image_read(FILE *f, const char *label, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    struct stat about;
    if (fstat(fileno(f), &about) == 0 && S_ISDIR(about.st_mode))
        return ts_fail(err, TS_ERR_IO, "%s is a folder: " TS_PICTURE_NEEDED, label);
    size_t size = 0;
    uint8_t *bytes = read_all(f, label, &size, err);
    const bool ok = bytes && ts_image_decode(bytes, size, label, out, err);
    free(bytes);
    return ok;
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
        ok = ts_fail(err, TS_ERR_IO, "%s is a %s: " TS_PICTURE_NEEDED, path, S_ISDIR(about.st_mode) ? "folder" : "device");
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
    const bool ok = ts_image_read(f, path, out, err);
    fclose(f);
    return ok;
}

/* Over black v alpha / 255 is seen, over white 255 - alpha more: the two tell both. `black` becomes the colours. */
static void part_layers(ts_image *black, const ts_image *white, uint8_t *alpha)
{
    for (int64_t i = 0; i < (int64_t)black->width * black->height; i++) {
        uint8_t *b = black->data + 3 * i;
        const unsigned a = alpha[i] = (uint8_t)(255 - (white->data[3 * i] - b[0]));
        for (int c = 0; a > 0 && a < 255 && c < 3; c++) {
            const unsigned v = (b[c] * 255u + a / 2) / a;
            b[c] = (uint8_t)(v < 255 ? v : 255);
        }
    }
}

bool ts_image_load_alpha(const char *path, ts_image *out, uint8_t **alpha, ts_error *err)
{
    ts_image white = {0};
    *out = (ts_image){0};
    *alpha = NULL;
    FILE *f = open_picture(path, err);
    if (!f) return false;
    size_t size = 0;
    uint8_t *bytes = read_all(f, path, &size, err);
    fclose(f);
    bool ok = bytes && decode_over(bytes, size, path, 255, &white, err) && decode_over(bytes, size, path, 0, out, err);
    free(bytes);
    if (ok) *alpha = malloc((size_t)out->width * (size_t)out->height);
    if (ok && !*alpha) ts_fail(err, TS_ERR_MEMORY, "no memory for %s", path);
    ok = ok && *alpha;
    if (ok) part_layers(out, &white, *alpha);
    else ts_image_clear(out);
    ts_image_clear(&white);
    return ok;
}

bool ts_numbers_load(const char *path, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    FILE *f = open_picture(path, err);
    if (!f) return false;
    size_t size = 0;
    uint8_t *bytes = read_all(f, path, &size, err);
    fclose(f);
    ts_picture_file file = {.bytes = bytes, .size = size, .label = path, .numbers = true};
    const bool ok = bytes && decode(&file, out, err);
    free(bytes);
    return ok;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static uint8_t *encode_png(const ts_image *img, size_t *size)
{
    return ts_stb_encode_png(img->data, img->width, img->height, 3, size);
}

static uint8_t *encode_jpeg(const ts_image *img, size_t *size)
{
    return ts_jpeg_encode(img, JPEG_QUALITY, size);
}

static const struct {
    const char *ending, *kind;
    int most_side;
    uint8_t *(*encode)(const ts_image *, size_t *);
} writers[] = {
    {".png", "PNG", INT32_MAX, encode_png},
    {".jpg", "JPEG", 65535, encode_jpeg},
    {".jpeg", "JPEG", 65535, encode_jpeg},
#ifdef TESSERA_WEBP
    {".webp", "WebP", 16383, ts_webp_encode},
#endif
};
enum { WRITER_COUNT = sizeof writers / sizeof *writers };

static int writer_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && dot != name && i < WRITER_COUNT; i++)
        if (strcasecmp(dot, writers[i].ending) == 0) return i;
    return -1;
}

bool ts_image_writable(const char *name)
{
    return writer_of(name) >= 0;
}

const char *ts_image_endings(void)
{
#ifdef TESSERA_WEBP
    return ".png, .jpg, .jpeg or .webp";
#else
    return ".png, .jpg or .jpeg";
#endif
}

bool ts_image_encode(const char *name, const ts_image *img, uint8_t **bytes, size_t *size, ts_error *err)
{
    *bytes = NULL;
    const int at = writer_of(name);
    if (at < 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s does not say what to write: the name must end in %s", name, ts_image_endings());
    if (!img->data || !ts_picture_check_size(img->width, img->height, name, TS_ERR_ARGUMENT, err))
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture to write to %s", name);
    if (img->width > writers[at].most_side || img->height > writers[at].most_side)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: a %s has at most %d pixels a side, this picture has %d x %d: write a PNG", name,
                       writers[at].kind, writers[at].most_side, img->width, img->height);
    *bytes = writers[at].encode(img, size);
    return *bytes || ts_fail(err, TS_ERR_MEMORY, "no memory to write %s (%d x %d pixels)", name, img->width, img->height);
}

bool ts_image_save(const char *path, const ts_image *img, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    const bool ok = ts_image_encode(path, img, &bytes, &size, err) && ts_file_write(path, bytes, size, err);
    free(bytes);
    return ok;
}

bool ts_png_named(const char *name)
{
    const int at = writer_of(name);
    return at >= 0 && writers[at].encode == encode_png;
}

bool ts_png_encode(const char *label, const uint8_t *data, int width, int height, int channels, uint8_t **bytes, size_t *size,
                   ts_error *err)
{
    *bytes = NULL;
    if (channels != 1 && channels != 3 && channels != 4)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: a PNG of %d channels is not written here", label, channels);
    if (!ts_picture_check_size(width, height, label, TS_ERR_ARGUMENT, err)) return false;
    *bytes = ts_stb_encode_png(data, width, height, channels, size);
    return *bytes || ts_fail(err, TS_ERR_MEMORY, "no memory to write %s (%d x %d pixels)", label, width, height);
}

bool ts_png_save(const char *path, const uint8_t *data, int width, int height, int channels, ts_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!ts_png_named(path)) return ts_fail(err, TS_ERR_ARGUMENT, "%s does not end in .png, and a PNG is written", path);
    const bool ok =
        ts_png_encode(path, data, width, height, channels, &bytes, &size, err) && ts_file_write(path, bytes, size, err);
    free(bytes);
    return ok;
}
