/* png.c - decodes PNG (ISO 15948) on zlib: every colour type and depth, interlaced or not. The checksum of each chunk is looked
 * at up to the end of the pixels, and zlib looks at that of the pixels themselves: a bit that turned on the way is an error and
 * not another picture. What stands behind the pixels, or is missing there, harms nobody. Rows are inflated as they are needed, so
 * that a short file that tells of a large picture costs no more than its length. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/image/image.h"

enum { BLOCK = 1 << 16, SIGNATURE = 8, HEAD = 8, CHECKSUM = 4, GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGBA = 6 };

typedef struct {
    const ts_picture_file *file;
    ts_error *err;
    size_t at; /* of the next chunk */
    int width, height, depth, colour, channels;
    bool interlaced;
    uint8_t palette[256][3], alpha[256]; /* laid over its grey already: `alpha` is of the palette, as read */
    int colours;
    bool has_key;    /* the colour that is transparent, in samples of the file's depth */
    unsigned key[3]; /* grey: the first */
    z_stream zip;
    bool zip_open, ended; /* ended: zlib has seen the end of the pixels, and that their checksum is right */
    uint8_t *rows; /* as many as fit in a block, each a filter byte and the samples, and before them the one above the first */
} png;

typedef struct {
    const uint8_t *type, *data;
    size_t size;
} chunk;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static bool is(const chunk *c, const char *type)
{
    return memcmp(c->type, type, 4) == 0;
}

static bool broken(const png *p, const char *why)
{
    return ts_picture_broken(p->file, why, p->err);
}

/* The next chunk, its checksum right. */
static bool next_chunk(png *p, chunk *out)
{
    const size_t left = p->file->size - p->at;
    const uint8_t *at = p->file->bytes + p->at;
    if (left < HEAD + CHECKSUM || be32(at) > left - HEAD - CHECKSUM) {
        ts_picture_cut(p->file, p->err);
        return false;
    }
    *out = (chunk){.type = at + 4, .data = at + HEAD, .size = be32(at)};
    p->at += HEAD + out->size + CHECKSUM;
    const uLong sum = crc32_z(crc32(0, NULL, 0), out->type, 4 + out->size);
    return sum == be32(out->data + out->size) || broken(p, "a checksum does not fit its bytes");
}

/* ---- chunks before the pixels ---------------------------------------------------------------------------------- */

static bool read_header(png *p, const chunk *c)
{
    static const struct {
        int channels, depths; /* a bit for each depth */
    } allowed[] = {[GREY] = {1, 1 | 2 | 4 | 8 | 16},
                   [RGB] = {3, 8 | 16},
                   [PALETTE] = {1, 1 | 2 | 4 | 8},
                   [GREY_ALPHA] = {2, 8 | 16},
                   [RGBA] = {4, 8 | 16}};
    if (!is(c, "IHDR") || c->size != 13) return broken(p, "it does not begin with its header");
    p->width = (int)p->file->about.width;
    p->height = (int)p->file->about.height;
    p->depth = c->data[8];
    p->colour = c->data[9];
    p->interlaced = c->data[12] == 1;
    const bool known = p->colour <= RGBA && allowed[p->colour].channels && p->depth && (p->depth & (p->depth - 1)) == 0 &&
                       (allowed[p->colour].depths & p->depth);
    if (!known) return broken(p, "there is no such colour type and depth");
    if (c->data[10] || c->data[11] || c->data[12] > 1) return broken(p, "an unknown method");
    p->channels = allowed[p->colour].channels;
    if (p->file->numbers && (p->channels > 1 || p->depth > 8)) return ts_picture_no_numbers(p->file, p->err);
    memset(p->alpha, 255, sizeof p->alpha);
    return true;
}

static bool read_palette(png *p, const chunk *c)
{
    if (p->colour != PALETTE) return true; /* a suggestion for screens of few colours */
    if (c->size == 0 || c->size % 3 || c->size > 3 * 256) return broken(p, "its palette has no such size");
    p->colours = (int)(c->size / 3);
    memcpy(p->palette, c->data, c->size);
    return true;
}

static bool read_transparency(png *p, const chunk *c)
{
    const size_t wanted = p->colour == GREY ? 2 : 6;
    if (p->colour == PALETTE) {
        if (c->size > (size_t)p->colours) return broken(p, "more of its palette is transparent than there is");
        memcpy(p->alpha, c->data, c->size);
    } else if (p->colour == GREY || p->colour == RGB) {
        if (c->size != wanted) return broken(p, "its transparent colour has no such size");
        p->has_key = true;
        for (size_t i = 0; i < wanted / 2; i++) p->key[i] = be16(c->data + 2 * i);
    }
    return true;
}

/* To the first chunk of pixels. */
static bool read_head(png *p, chunk *c)
{
    p->at = SIGNATURE;
    if (!next_chunk(p, c) || !read_header(p, c)) return false;
    for (;;) {
        if (!next_chunk(p, c)) return false;
        if (is(c, "IDAT")) break;
        if (is(c, "IEND")) return broken(p, "it has no pixels");
        if (is(c, "PLTE") && !read_palette(p, c)) return false;
        if (is(c, "tRNS") && !read_transparency(p, c)) return false;
        const bool critical = !(c->type[0] & 0x20);
        if (critical && !is(c, "PLTE")) return broken(p, "a part of an unknown kind");
    }
    if (p->colour == PALETTE && p->colours == 0) return broken(p, "its palette is missing");
    for (int i = 0; i < p->colours; i++)
        for (int k = 0; k < 3; k++) p->palette[i][k] = ts_over(p->palette[i][k], p->alpha[i], p->file->behind);
    return true;
}

/* ---- pixels ---------------------------------------------------------------------------------------------------- */

/* Inflates into `out`, going on to further chunks of pixels; less than `size` bytes only where the pixels end. */
static bool inflate_bytes(png *p, uint8_t *out, size_t size)
{
    p->zip.next_out = out;
    p->zip.avail_out = (uInt)size; /* a block, or a row: at most 2^28 pixels of 8 bytes, fewer than 2^32 */
    while (p->zip.avail_out && !p->ended) {
        if (p->zip.avail_in == 0) {
            chunk c;
            if (!next_chunk(p, &c)) return false;
            if (!is(&c, "IDAT")) return broken(p, "its pixels end too early");
            p->zip.next_in = (Bytef *)c.data; /* read only */
            p->zip.avail_in = (uInt)c.size;
            continue;
        }
        const int status = inflate(&p->zip, Z_NO_FLUSH);
        if (status == Z_MEM_ERROR) return ts_picture_memory(p->file, p->err);
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
            return broken(p, p->zip.msg ? p->zip.msg : "its pixels cannot be inflated");
        p->ended = status == Z_STREAM_END;
    }
    return true;
}

static uint8_t paeth(int left, int up, int corner)
{
    const int a = abs(up - corner), b = abs(left - corner), c = abs(left + up - 2 * corner);
    return (uint8_t)(a <= b && a <= c ? left : b <= c ? up : corner);
}

/* Undoes the filter of a row of `size` bytes, which are samples; `step` bytes lie between a sample and the one to its left. */
static bool unfilter(const png *p, uint8_t *row, const uint8_t *above, size_t size, size_t step)
{
    uint8_t *x = row + 1;
    const uint8_t *up = above + 1;
    const size_t first = step < size ? step : size;
    switch (row[0]) {
    case 0:
        return true;
    case 1:
        for (size_t i = step; i < size; i++) x[i] = (uint8_t)(x[i] + x[i - step]);
        return true;
    case 2:
        for (size_t i = 0; i < size; i++) x[i] = (uint8_t)(x[i] + up[i]);
        return true;
    case 3:
        for (size_t i = 0; i < first; i++) x[i] = (uint8_t)(x[i] + (up[i] >> 1));
        for (size_t i = step; i < size; i++) x[i] = (uint8_t)(x[i] + ((x[i - step] + up[i]) >> 1));
        return true;
    case 4:
        for (size_t i = 0; i < first; i++) x[i] = (uint8_t)(x[i] + up[i]);
        for (size_t i = step; i < size; i++) x[i] = (uint8_t)(x[i] + paeth(x[i - step], up[i], up[i - step]));
        return true;
    default:
        return broken(p, "there is no such filter");
    }
}

/* Sample `i` of a row, in the file's depth. */
static unsigned sample(const uint8_t *x, size_t i, int depth)
{
    if (depth == 8) return x[i];
    if (depth == 16) return be16(x + 2 * i);
    const size_t bit = i * (size_t)depth;
    return x[bit / 8] >> (8 - depth - (int)(bit % 8)) & ((1u << depth) - 1);
}

static bool put_indexed(const png *p, const uint8_t *x, int count, uint8_t *out, size_t step)
{
    for (int i = 0; i < count; i++, out += step) {
        const unsigned at = sample(x, (size_t)i, p->depth);
        if (at >= (unsigned)p->colours) return broken(p, "a pixel is of no colour of its palette");
        memcpy(out, p->palette[at], 3);
    }
    return true;
}

/* The samples as they stand in the file, each in all three channels. */
static bool put_numbers(const png *p, const uint8_t *x, int count, uint8_t *out, size_t step)
{
    for (int i = 0; i < count; i++, out += step) memset(out, (int)sample(x, (size_t)i, p->depth), 3);
    return true;
}

/* A row of `count` pixels to RGB, `step` bytes from one to the next. 16 bits become 8 by the high byte, fewer are spread. */
static bool put_row(const png *p, const uint8_t *x, int count, uint8_t *out, size_t step)
{
    if (p->file->numbers) return put_numbers(p, x, count, out, step);
    if (p->colour == PALETTE) return put_indexed(p, x, count, out, step);
    if (p->depth == 8 && step == 3 && !p->has_key) { /* most pictures */
        if (p->colour == RGB) memcpy(out, x, (size_t)count * 3);
        else ts_to_rgb(x, p->channels, count, p->file->behind, out);
        return true;
    }
    const bool colour = p->colour & 2, has_alpha = p->colour & 4;
    const unsigned spread = p->depth < 8 ? 255u / ((1u << p->depth) - 1) : 1;
    const int shift = p->depth == 16 ? 8 : 0;
    for (int i = 0; i < count; i++, out += step) {
        unsigned v[4] = {0};
        for (int k = 0; k < p->channels; k++) v[k] = sample(x, (size_t)i * (size_t)p->channels + (size_t)k, p->depth);
        unsigned alpha = has_alpha ? v[p->channels - 1] >> shift : 255;
        if (p->has_key && v[0] == p->key[0] && (!colour || (v[1] == p->key[1] && v[2] == p->key[2]))) alpha = 0;
        for (int k = 0; k < 3; k++) out[k] = ts_over((v[colour ? k : 0] >> shift) * spread, alpha, p->file->behind);
    }
    return true;
}

/* How many rows of `size` bytes are inflated at once: zlib is slow at the end of each piece. */
static size_t rows_of_block(size_t size)
{
    return size < BLOCK ? BLOCK / size : 1;
}

/* One picture of rows: the whole, or one of the seven that an interlaced picture comes in. */
static bool read_pass(png *p, int x0, int y0, int dx, int dy, ts_image *out)
{
    if (x0 >= p->width) return true;
    const int width = (p->width - x0 + dx - 1) / dx;
    const size_t bits = (size_t)p->channels * (size_t)p->depth, size = ((size_t)width * bits + 7) / 8;
    const size_t room = rows_of_block(size + 1);
    uint8_t *above = p->rows;
    memset(above, 0, size + 1);
    for (int y = y0, at = 0; y < p->height; y += dy) {
        if (at == 0) {
            const size_t left = (size_t)((p->height - y + dy - 1) / dy), count = left < room ? left : room;
            if (y > y0) memmove(p->rows, above, size + 1);
            above = p->rows;
            if (!inflate_bytes(p, p->rows + size + 1, count * (size + 1))) return false;
            if (p->zip.avail_out) return broken(p, "its pixels end too early");
        }
        uint8_t *row = above + size + 1;
        if (!unfilter(p, row, above, size, bits < 8 ? 1 : bits / 8) ||
            !put_row(p, row + 1, width, out->data + ((size_t)y * (size_t)p->width + (size_t)x0) * 3, (size_t)dx * 3))
            return false;
        above = row;
        at = (size_t)at + 1 == room ? 0 : at + 1;
    }
    return true;
}

static bool read_pixels(png *p, const chunk *first, ts_image *out)
{
    static const int adam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                    {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    const size_t row = ((size_t)p->width * (size_t)p->channels * (size_t)p->depth + 7) / 8 + 1;
    p->rows = malloc(BLOCK + 2 * row);
    p->zip_open = p->rows && inflateInit(&p->zip) == Z_OK;
    if (!p->zip_open) return ts_picture_memory(p->file, p->err);
    p->zip.next_in = (Bytef *)first->data; /* read only */
    p->zip.avail_in = (uInt)first->size;
    if (!ts_image_new(p->width, p->height, out, p->err)) return false;
    bool ok = true;
    for (int i = 0; ok && i < (p->interlaced ? 7 : 1); i++)
        ok =
            p->interlaced ? read_pass(p, adam7[i][0], adam7[i][1], adam7[i][2], adam7[i][3], out) : read_pass(p, 0, 0, 1, 1, out);
    /* On to zlib's checksum; more pixels than were told of are nobody's. */
    while (ok && !p->ended) ok = inflate_bytes(p, p->rows, row);
    return ok;
}

bool ts_png_decode(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    png p = {.file = f, .err = err};
    chunk first;
    *out = (ts_image){0};
    const bool ok = read_head(&p, &first) && read_pixels(&p, &first, out);
    if (p.zip_open) inflateEnd(&p.zip);
    free(p.rows);
    if (!ok) ts_image_clear(out);
    return ok;
}
