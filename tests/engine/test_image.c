/* Pictures in and out: every form that a file may have against what Pillow makes of it (tests/reference/make_image_golden.py),
 * and broken files, each of which must give an error that names it and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "engine/engine.h"

#define GOLDEN TS_TESTS_DIR "/golden/image/"

static void load(const char *path, ts_image *out)
{
    ts_error err = {0};
    if (!ts_image_load(path, out, &err)) fail_msg("%s", err.text);
}

static int largest_difference(const ts_image *a, const ts_image *b)
{
    int largest = 0;
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (size_t i = 0; i < (size_t)a->width * (size_t)a->height * 3; i++) {
        int d = abs(a->data[i] - b->data[i]);
        if (d > largest) largest = d;
    }
    return largest;
}

static void compare_files(const char *name, const char *expected_name, int tolerance)
{
    char path[512];
    ts_image got, expected;
    snprintf(path, sizeof path, GOLDEN "%s", name);
    load(path, &got);
    snprintf(path, sizeof path, GOLDEN "%s", expected_name);
    load(path, &expected);
    int d = largest_difference(&got, &expected);
    if (d > tolerance) fail_msg("%s differs from %s by %d", name, expected_name, d);
    ts_image_clear(&got);
    ts_image_clear(&expected);
}

/* What the library was built with: some of these tests are of optional parts. */
static bool built_with(const char *part)
{
    char all[TS_BUILT_ROOM];
    ts_built_with(all);
    const char *at = strstr(all, part);
    return at && (at < all + 3 || strncmp(at - 3, "no ", 3) != 0);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int tolerance; /* of stb's JPEG: libjpeg-turbo's bits are Pillow's */
    } forms[] = {{"rgb.bmp", 0},        {"grey.bmp", 0},          {"rgba.png", 0},       {"grey.png", 0},
                 {"grey_alpha.png", 0}, {"bits.png", 0},          {"palette.png", 0},    {"grey16.png", 0},
                 {"rgba16.png", 0},     {"palette_clear.png", 0}, {"interlaced.png", 0}, {"key.png", 0},
                 {"grey.jpg", 1},       {"progressive.jpg", 3},   {"cmyk.jpg", 4},       {"ycck.jpg", 4},
                 {"png_inside.jpg", 0}, {"sampled.jpg", 8}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "%s.expected.png", forms[i].name);
        compare_files(forms[i].name, expected, built_with("libjpeg-turbo") ? 0 : forms[i].tolerance);
    }
    if (built_with("libjpeg")) compare_files("cmyk_plain.jpg", "cmyk_plain.jpg.expected.png", 1);
}

static void refuse_numbers(const char *name)
{
    ts_image out;
    ts_error err = {0};
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    assert_false(ts_numbers_load(path, &out, &err));
    assert_null(out.data);
    assert_non_null(strstr(err.text, "numbers of classes"));
}

/* Of a palette the places and not the colours; of greys what stands in the file. */
static void test_numbers(void **state)
{
    (void)state;
    ts_image colours, numbers;
    ts_error err = {0};
    int seen[256];
    load(GOLDEN "palette.png", &colours);
    if (!ts_numbers_load(GOLDEN "palette.png", &numbers, &err)) fail_msg("%s", err.text);
    assert_int_equal(numbers.width, colours.width);
    memset(seen, -1, sizeof seen);
    for (int i = 0; i < numbers.width * numbers.height; i++) {
        const uint8_t *n = numbers.data + (size_t)i * 3, *c = colours.data + (size_t)i * 3;
        assert_int_equal(n[0], n[1]);
        assert_int_equal(n[0], n[2]);
        if (seen[n[0]] < 0) seen[n[0]] = i;
        assert_memory_equal(colours.data + (size_t)seen[n[0]] * 3, c, 3); /* one colour a number */
    }
    ts_image_clear(&colours);
    ts_image_clear(&numbers);
    load(GOLDEN "grey.png", &colours);
    assert_true(ts_numbers_load(GOLDEN "grey.png", &numbers, &err));
    assert_memory_equal(numbers.data, colours.data, (size_t)numbers.width * (size_t)numbers.height * 3);
    ts_image_clear(&colours);
    ts_image_clear(&numbers);
    refuse_numbers("rgba.png");
    refuse_numbers("grey16.png");
    refuse_numbers("grey.jpg");
}

static void test_webp(void **state)
{
    (void)state;
    static const char *const names[] = {"lossy.webp", "lossless.webp", "alpha.webp", "animated.webp", "exif.webp"};
    if (!built_with("libwebp")) skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "%s.expected.png", names[i]);
        compare_files(names[i], expected, 0);
    }
}

static void test_orientations(void **state)
{
    (void)state;
    for (int i = 1; i <= 8; i++) {
        char name[64];
        snprintf(name, sizeof name, "orientation%d.jpg", i);
        compare_files(name, "upright.png", 6);
    }
    compare_files("orientation6_intel.jpg", "upright.png", 6);
    compare_files("orientation6.png", "upright.png", 0);
    compare_files("orientation7.png", "upright.png", 0);
}

/* A new folder, empty but for what a test puts there. */
static char *make_folder(void)
{
    static char folder[64];
    strcpy(folder, "/tmp/tessera-image-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void fill(ts_image *img, int width, int height)
{
    assert_true(ts_image_new(width, height, img, NULL));
    for (int i = 0; i < width * height * 3; i++) assert_int_equal(img->data[i], 0);
    for (int i = 0; i < width * height * 3; i++) img->data[i] = (uint8_t)(i % 3 == 0 ? i : i * 7 + 3);
}

static void test_save(void **state)
{
    (void)state;
    char *folder = make_folder(), path[128];
    ts_image img, back;
    fill(&img, 31, 17);
    static const char *const exact[] = {"a.png", "b.PNG", "f.webp", "g.WebP"};
    for (int i = 0; i < (built_with("libwebp") ? 4 : 2); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, exact[i]);
        assert_true(ts_image_save(path, &img, NULL));
        load(path, &back);
        assert_int_equal(largest_difference(&img, &back), 0);
        ts_image_clear(&back);
        unlink(path);
    }
    for (int i = 0; i < 31 * 17 * 3; i++) img.data[i] = (uint8_t)(i / 93 * 12); /* smooth, as JPEG likes it */
    static const char *const lossy[] = {"c.jpg", "d.jpeg", "e.JPG"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, lossy[i]);
        assert_true(ts_image_save(path, &img, NULL));
        load(path, &back);
        assert_in_range(largest_difference(&img, &back), 0, 4);
        ts_image_clear(&back);
        unlink(path);
    }
    ts_image_clear(&img);
    assert_null(img.data);
    ts_image_clear(&img);
    ts_image_clear(NULL);
    assert_int_equal(rmdir(folder), 0); /* no temporary file is left */
}

static void expect_save_error(const char *path, const ts_image *img, ts_code code, const char *says)
{
    ts_error err = {0};
    assert_false(ts_image_save(path, img, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.text, says)) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_save_errors(void **state)
{
    (void)state;
    char *folder = make_folder(), path[128];
    ts_image img, none = {0}, wide;
    fill(&img, 4, 4);
    snprintf(path, sizeof path, "%s/answer.bmp", folder);
    expect_save_error(path, &img, TS_ERR_ARGUMENT, ".png, .jpg");
    snprintf(path, sizeof path, "%s/answer", folder);
    expect_save_error(path, &img, TS_ERR_ARGUMENT, ".png, .jpg");
    snprintf(path, sizeof path, "%s/no/such/folder.png", folder);
    expect_save_error(path, &img, TS_ERR_IO, "folder.png");
    snprintf(path, sizeof path, "%s/answer.png", folder);
    expect_save_error(path, &none, TS_ERR_ARGUMENT, "answer.png");
    fill(&wide, 65536, 1);
    snprintf(path, sizeof path, "%s/wide.jpg", folder);
    expect_save_error(path, &wide, TS_ERR_ARGUMENT, "65535");
    snprintf(path, sizeof path, "%s/wide.webp", folder);
    expect_save_error(path, &wide, TS_ERR_ARGUMENT, built_with("libwebp") ? "16383" : ".png, .jpg or .jpeg");
    ts_image_clear(&wide);
    ts_image_clear(&img);
    assert_int_equal(rmdir(folder), 0);
}

static void expect_decode_error(const void *bytes, size_t size, const char *label, const char *says)
{
    ts_error err = {0};
    ts_image img = {.data = (uint8_t *)1};
    if (ts_image_decode(bytes, size, label, &img, &err)) fail_msg("%s was taken for a picture", label);
    assert_null(img.data);
    assert_int_equal(err.code, TS_ERR_FORMAT);
    if (!strstr(err.text, says) || !strstr(err.text, label)) fail_msg("%s: \"%s\" does not say \"%s\"", label, err.text, says);
}

static void test_not_pictures(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        ts_code code;
    } files[] = {{"empty.png", "is empty", TS_ERR_FORMAT},
                 {"text.png", "is a text file: a PNG, JPEG", TS_ERR_FORMAT},
                 {"zero.png", "is 0 x 0 pixels", TS_ERR_FORMAT},
                 {"huge.png", "is 60000 x 60000 pixels: more than the 268435456", TS_ERR_FORMAT},
                 {"thin.png", "16000 x 16000 pixels, but has only", TS_ERR_FORMAT},
                 {"missing.png", "cannot open the picture", TS_ERR_IO},
                 {"", "is a folder", TS_ERR_IO}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        ts_error err = {0};
        ts_image img;
        snprintf(path, sizeof path, GOLDEN "%s", files[i].name);
        assert_false(ts_image_load(path, &img, &err));
        assert_null(img.data);
        assert_int_equal(err.code, files[i].code);
        if (!strstr(err.text, files[i].says) || !strstr(err.text, path)) {
            fail_msg("\"%s\" does not say \"%s\" of %s", err.text, files[i].says, path);
        }
        assert_false(ts_image_load(path, &img, NULL));
    }
    expect_decode_error("\0\0\0\1", 4, "x.bin", "of another kind");
}

/* Each foreign kind by its first bytes: what it is, and what makes a picture of it. */
static void test_kinds(void **state)
{
    (void)state;
#define BYTES(text) (text), sizeof(text) - 1
    static const struct {
        const char *bytes;
        size_t size;
        const char *kind, *cure;
    } kinds[] = {
        {BYTES("GIF89a"), "is a GIF picture: convert it to PNG or JPEG first", "convert 'IN.gif[0]'"},
        {BYTES("II*\0\10\0\0\0"), "is a TIFF picture", "convert IN.tif"},
        {BYTES("MM\0*\0\0\0\10"), "is a TIFF picture", "convert IN.tif"},
        {BYTES("\0\0\0\x18"
               "ftypheic\0\0\0\0mif1heic"),
         "is a HEIC picture", "heif-convert"},
        {BYTES("\0\0\0\x18"
               "ftypmif1\0\0\0\0mif1heic"),
         "is a HEIC picture", "heif-convert"},
        {BYTES("\0\0\0\x18"
               "ftypheix\0\0\0\0mif1heix"),
         "is a HEIC picture", "heif-convert"},
        {BYTES("\0\0\0\x18"
               "ftyphevc\0\0\0\0msf1hevc"),
         "is a HEIC picture", "heif-convert"},
        {BYTES("\0\0\0\x14"
               "ftypmsf1\0\0\0\0msf1"),
         "is a HEIF picture", "heif-convert"},
        {BYTES("\0\0\0\x18"
               "ftypmif1\0\0\0\0mif1avif"),
         "is an AVIF picture", "avifdec"},
        {BYTES("\0\0\0\x1c"
               "ftypavif\0\0\0\0avifmif1miaf"),
         "is an AVIF picture", "avifdec"},
        {BYTES("\0\0\0\x18"
               "ftypmp42\0\0\0\0mp42isom"),
         "is a film", "is needed"},
        {BYTES("\0\0\0\x0cJXL \r\n\x87\n"), "is a JPEG XL picture", "djxl"},
        {BYTES("\xff\x0a\xfa\x7f"), "is a JPEG XL picture", "djxl"},
        {BYTES("\0\0\0\x0cjP  \r\n\x87\n"), "is a JPEG 2000 picture", "opj_decompress"},
        {BYTES("\xff\x4f\xff\x51\0"), "is a JPEG 2000 picture", "opj_decompress"},
        {BYTES("8BPS\0\1"), "is a Photoshop picture", "convert 'IN.psd[0]'"},
        {BYTES("<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>"), "is an SVG drawing", "rsvg-convert"},
        {BYTES("<!DOCTYPE html><html>404</html>"), "is a page of the web (HTML)", "is needed"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "is a pointer of Git LFS", "git lfs pull"},
        {BYTES("%PDF-1.7\n"), "is a PDF document", "pdftoppm"},
        {BYTES("PK\3\4"), "is a PyTorch or zip file", "is needed"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        expect_decode_error(kinds[i].bytes, kinds[i].size, "x.jpg", kinds[i].kind);
        expect_decode_error(kinds[i].bytes, kinds[i].size, "x.jpg", kinds[i].cure);
    }
    if (!built_with("libwebp")) expect_decode_error(BYTES("RIFF\0\0\0\0WEBPVP8 "), "x.webp", "dwebp");
}

static uint8_t *read_file(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(1 << 16);
    *size = fread(bytes, 1, 1 << 16, f);
    fclose(f);
    return bytes;
}

/* The bytes decode to the same picture as the file does. */
static void expect_same_picture(const uint8_t *bytes, size_t size, const char *name)
{
    char path[512];
    ts_error err = {0};
    ts_image got, whole;
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (!ts_image_decode(bytes, size, name, &got, &err)) fail_msg("%s", err.text);
    load(path, &whole);
    assert_int_equal(largest_difference(&got, &whole), 0);
    ts_image_clear(&got);
    ts_image_clear(&whole);
}

/* Cut anywhere, a picture is an error: never half a picture, whatever the decoder would forgive. What is missing may be an end
 * mark behind all the pixels, as some programs leave it out. */
static void test_truncated(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t spare; /* bytes behind the pixels */
    } files[] = {{"rgba.png", 12 + 4},    {"upright.png", 12 + 4}, {"interlaced.png", 12 + 4},
                 {"orientation6.jpg", 2}, {"sampled.jpg", 2},      {"progressive.jpg", 0},
                 {"rgb.bmp", 0},          {"grey.bmp", 0},         {"lossy.webp", 1},
                 {"lossless.webp", 1},    {"alpha.webp", 1}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        if (strstr(files[i].name, ".webp") && !built_with("libwebp")) continue;
        uint8_t *bytes = read_file(files[i].name, &size);
        for (size_t cut = 0; cut < size; cut += cut < 100 || size - cut < 100 ? 1 : 37) {
            uint8_t *part = malloc(cut + 1); /* a block of its own, so that a sanitizer sees a byte too far */
            memcpy(part, bytes, cut);
            ts_image img;
            ts_error err = {0};
            const bool taken = ts_image_decode(part, cut, files[i].name, &img, &err);
            if (taken && cut + files[i].spare < size) fail_msg("%s cut to %zu bytes was taken", files[i].name, cut);
            if (taken) expect_same_picture(part, cut, files[i].name);
            else assert_non_null(strstr(err.text, files[i].name));
            ts_image_clear(&img);
            free(part);
        }
        free(bytes);
    }
}

static size_t find(const uint8_t *bytes, size_t size, const char *what, size_t length)
{
    size_t at = 0;
    while (at + length <= size && memcmp(bytes + at, what, length) != 0) at++;
    assert_true(at + length <= size);
    return at;
}

/* `size` bytes with `more` put in at `at`. */
static uint8_t *with(const uint8_t *bytes, size_t size, size_t at, const char *more, size_t length)
{
    uint8_t *out = malloc(size + length);
    memcpy(out, bytes, at);
    memcpy(out + at, more, length);
    memcpy(out + at + length, bytes + at, size - at);
    return out;
}

/* Whole pictures that end oddly, as cameras and careless programs leave them. */
static void test_odd_ends(void **state)
{
    (void)state;
    static const struct {
        const char *name, *more;
        size_t length, before_end; /* of the file, where they are put in */
    } odd[] = {
        {"orientation6.jpg", BYTES("\0\0\0\0\0\0\0\0"), 2},
        {"orientation6.jpg", BYTES("\xff\xff\xff\xd1\0\0\0\0\0"), 2},
        {"orientation6.jpg", BYTES("\0\0\0\0"), 0},
        {"orientation6.jpg", BYTES("\xff\xd8\xff\xe0 and another picture"), 0},
        {"progressive.jpg", BYTES("\0\0\0\0\0\0\0\0"), 2},
        {"progressive.jpg", BYTES("trailing"), 0},
        {"upright.png", BYTES("trailing"), 0},
        {"upright.png", BYTES("\0\0\0\4tEXta\0bcWRONG"), 12},
        {"rgb.bmp", BYTES("trailing"), 0},
        {"lossy.webp", BYTES("trailing"), 0},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        size_t size;
        if (strstr(odd[i].name, ".webp") && !built_with("libwebp")) continue;
        if (strstr(odd[i].name, ".jpg") && !built_with("libjpeg")) continue;
        uint8_t *bytes = read_file(odd[i].name, &size);
        uint8_t *longer = with(bytes, size, size - odd[i].before_end, odd[i].more, odd[i].length);
        expect_same_picture(longer, size + odd[i].length, odd[i].name);
        free(longer);
        free(bytes);
    }
}

/* A bit that turned on the way: of each chunk's data, type and checksum, and of the pixels where the chunk's checksum was made to
 * fit (by PNG's own: a chunk of its data twice has another). */
static void test_png_checksums(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_file("upright.png", &size);
    const size_t end = size - 12; /* IEND */
    for (size_t at = 8; at < end; at++) {
        ts_image img;
        ts_error err = {0};
        bytes[at] ^= 4;
        if (ts_image_decode(bytes, size, "x.png", &img, &err))
            fail_msg("a bit of byte %zu was turned, and the picture taken", at);
        bytes[at] ^= 4;
    }
    const size_t pixels = find(bytes, size, "IDAT", 4);
    const size_t length = (size_t)bytes[pixels - 2] << 8 | bytes[pixels - 1];
    bytes[pixels + 4 + length - 1] ^= 1; /* the last byte of zlib's checksum */
    const uint32_t sum = (uint32_t)crc32(0, bytes + pixels, (uInt)length + 4);
    for (int i = 0; i < 4; i++) bytes[pixels + 4 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
    expect_decode_error(bytes, size, "x.png", "incorrect data check");
    free(bytes);
}

/* Pixels that are missing before an end mark, and damaged ones: libjpeg would paint what it has, and warn. */
static void test_damaged_jpeg(void **state)
{
    (void)state;
    if (!built_with("libjpeg")) skip();
    size_t size;
    uint8_t *bytes = read_file("sampled.jpg", &size);
    memmove(bytes + size - 42, bytes + size - 2, 2);
    expect_decode_error(bytes, size - 40, "x.jpg", "is a broken JPEG picture");
    free(bytes);
    bytes = read_file("sampled.jpg", &size);
    for (size_t i = size - 60; i < size - 20; i += 2) memcpy(bytes + i, "\xff\0", 2); /* ones: no code of the table */
    expect_decode_error(bytes, size, "x.jpg", "is a broken JPEG picture");
    free(bytes);
}

/* JPEGs that nobody here decodes are told by what they are. */
static void test_unusual_jpeg(void **state)
{
    (void)state;
    static const struct {
        uint8_t frame, bits;
        const char *says, *cure;
    } forms[] = {{0xC9, 8, "in arithmetic coding", "jpegtran"}, {0xCA, 8, "in arithmetic coding", "jpegtran"},
                 {0xC3, 8, "in lossless coding", "convert"},    {0xC5, 8, "in hierarchical coding", "convert"},
                 {0xC1, 12, "of 12 bits a sample", "convert"},  {0xCB, 8, "in lossless coding", "convert"}};
    size_t size;
    uint8_t *bytes = read_file("orientation1.jpg", &size);
    const size_t at = find(bytes, size, "\xff\xc0", 2);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        bytes[at + 1] = forms[i].frame;
        bytes[at + 4] = forms[i].bits;
        expect_decode_error(bytes, size, "x.jpg", forms[i].says);
        expect_decode_error(bytes, size, "x.jpg", forms[i].cure);
    }
    free(bytes);
}

/* EXIF that points outside itself, or says what it cannot: upright, and no byte outside is read. */
static void test_broken_exif(void **state)
{
    (void)state;
    size_t size, start = 0;
    uint8_t *bytes = read_file("orientation6_intel.jpg", &size);
    while (start + 6 < size && memcmp(bytes + start, "Exif\0\0", 6) != 0) start++;
    assert_true(start + 6 + 20 < size);
    uint8_t *tiff = bytes + start + 6;
    static const struct {
        int at;
        uint8_t value;
    } breaks[] = {{0, 'X'}, {4, 0xFF}, {7, 0xFF}, {9, 0xFF}, {12, 4}, {14, 2}, {18, 0}, {18, 9}, {19, 1}};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        uint8_t was = tiff[breaks[i].at];
        ts_image img;
        ts_error err = {0};
        tiff[breaks[i].at] = breaks[i].value;
        if (!ts_image_decode(bytes, size, "x", &img, &err)) fail_msg("%s", err.text);
        /* Stored on its side, 32 x 48. More entries than there are does no harm to the one that is there. */
        assert_int_equal(img.width, breaks[i].at == 9 ? 48 : 32);
        ts_image_clear(&img);
        tiff[breaks[i].at] = was;
    }
    free(bytes);
}

/* Tables that overran the decoder's memory before they were looked at: too many codes, and a header that leaves its segment. */
static void test_broken_huffman(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_file("orientation1.jpg", &size);
    const size_t at = find(bytes, size, "\xff\xc4", 2);
    uint8_t count = bytes[at + 20], length = bytes[at + 3];
    bytes[at + 20] = 255;
    expect_decode_error(bytes, size, "codes.jpg", "Huffman");
    bytes[at + 20] = count;
    bytes[at + 3] = 9;
    expect_decode_error(bytes, size, "short.jpg", "is a broken JPEG picture");
    bytes[at + 3] = length;
    ts_image img;
    assert_true(ts_image_decode(bytes, size, "whole.jpg", &img, NULL));
    ts_image_clear(&img);
    free(bytes);
}

static void test_sizes(void **state)
{
    (void)state;
    static const int sizes[][2] = {{0, 5}, {5, 0}, {-1, 5}, {0, 0}, {1 << 14, (1 << 14) + 1}, {INT32_MAX, INT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ts_error err = {0};
        ts_image img;
        assert_false(ts_image_new(sizes[i][0], sizes[i][1], &img, &err));
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        assert_null(img.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_forms),         cmocka_unit_test(test_webp),
        cmocka_unit_test(test_orientations), cmocka_unit_test(test_save),          cmocka_unit_test(test_save_errors),
        cmocka_unit_test(test_not_pictures), cmocka_unit_test(test_kinds),         cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_odd_ends),     cmocka_unit_test(test_png_checksums), cmocka_unit_test(test_damaged_jpeg),
        cmocka_unit_test(test_unusual_jpeg), cmocka_unit_test(test_broken_exif),   cmocka_unit_test(test_broken_huffman),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
