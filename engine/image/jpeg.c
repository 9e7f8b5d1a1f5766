/* jpeg.c - decodes and encodes JPEG by libjpeg-turbo: the bits are those that Pillow, and so most of the published code, sees.
 * Where the build has no libjpeg, stb does it: up to 3 levels off, slower, and without the CMYK that Adobe did not write.
 *
 * libjpeg forgives what it can and warns. Warnings that tell of lost pixels are errors here; stray bytes and a missing end are
 * none where all pixels are there. Its errors come back by longjmp, past nothing that owns memory but libjpeg's own structures.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

#ifdef TESSERA_JPEG
#include <jerror.h>
#include <jpeglib.h>

enum { MAX_SCANS = 200 }; /* of a progressive picture: more than any encoder makes, and a small file can hold thousands */

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf back;
    bool memory;
    char why[JMSG_LENGTH_MAX];
} complaint;

typedef struct {
    struct jpeg_decompress_struct cinfo;
    complaint trouble;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    bool ended; /* libjpeg has asked for bytes behind the last */
    uint8_t *row;
    ts_image *out;
} decoder;

_Noreturn static void give_up(j_common_ptr cinfo)
{
    complaint *c = (complaint *)cinfo->err;
    c->base.format_message(cinfo, c->why);
    c->memory = c->base.msg_code == JERR_OUT_OF_MEMORY;
    longjmp(c->back, 1);
}

static void hear(j_common_ptr cinfo, int level)
{
    const int code = cinfo->err->msg_code;
    if (level < 0 && (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC)) give_up(cinfo);
}

static void hear_encoder(j_common_ptr cinfo, int level)
{
    (void)cinfo;
    (void)level;
}

/* ---- a file in memory as libjpeg's source ------------------------------------------------------------------------ */

static void do_nothing(j_decompress_ptr cinfo)
{
    (void)cinfo;
}

static boolean no_more(j_decompress_ptr cinfo)
{
    static const JOCTET end[2] = {0xFF, JPEG_EOI};
    decoder *d = (decoder *)cinfo;
    d->ended = true;
    d->source.next_input_byte = end;
    d->source.bytes_in_buffer = sizeof end;
    return TRUE;
}

static void skip(j_decompress_ptr cinfo, long count)
{
    decoder *d = (decoder *)cinfo;
    if (count <= 0) return;
    if ((size_t)count > d->source.bytes_in_buffer) {
        no_more(cinfo);
        return;
    }
    d->source.next_input_byte += count;
    d->source.bytes_in_buffer -= (size_t)count;
}

/* Called for each row of blocks. */
static void watch_scans(j_common_ptr cinfo)
{
    decoder *d = (decoder *)cinfo;
    if (d->cinfo.input_scan_number <= MAX_SCANS) return;
    snprintf(d->trouble.why, sizeof d->trouble.why, "it comes in more than %d scans", MAX_SCANS);
    longjmp(d->trouble.back, 1);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* x * y / 255, rounded as Pillow does. */
static unsigned share(unsigned x, unsigned y)
{
    const unsigned t = x * y + 128;
    return ((t >> 8) + t) >> 8;
}

/* Ink to light: 0 is no ink, or all of it in the files of Adobe's programs. */
static void cmyk_to_rgb(const uint8_t *in, int pixels, bool adobe, uint8_t *out)
{
    for (int i = 0; i < pixels; i++, in += 4, out += 3) {
        const unsigned flip = adobe ? 255 : 0, light = 255 - (in[3] ^ flip);
        for (int c = 0; c < 3; c++) out[c] = (uint8_t)(light - share(in[c] ^ flip, light));
    }
}

/* All that longjmp may leave. */
static bool decode(decoder *d, const ts_picture_file *f, ts_error *err)
{
    if (setjmp(d->trouble.back)) { // NOLINT(cert-err52-cpp): libjpeg knows no other way
        if (d->trouble.memory) return ts_picture_memory(f, err);
        return d->ended ? ts_picture_cut(f, err) : ts_picture_broken(f, d->trouble.why, err);
    }
    jpeg_create_decompress(&d->cinfo);
    d->cinfo.src = &d->source;
    d->cinfo.progress = &d->progress;
    jpeg_read_header(&d->cinfo, TRUE);
    if (d->cinfo.image_width != f->about.width || d->cinfo.image_height != f->about.height)
        return ts_picture_broken(f, "it tells two sizes", err);
    const bool cmyk = d->cinfo.num_components == 4;
    d->cinfo.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&d->cinfo);
    /* A picture in several scans has now been read to its end, and is coarse or grey where some are missing. */
    if (d->ended && jpeg_has_multiple_scans(&d->cinfo)) return ts_picture_cut(f, err);
    if (!ts_image_new((int)f->about.width, (int)f->about.height, d->out, err)) return false;
    if (cmyk && !(d->row = malloc((size_t)d->out->width * 4))) return ts_picture_memory(f, err);
    while (d->cinfo.output_scanline < d->cinfo.output_height) {
        uint8_t *to = d->out->data + (size_t)d->cinfo.output_scanline * (size_t)d->out->width * 3;
        JSAMPROW row = cmyk ? d->row : to;
        jpeg_read_scanlines(&d->cinfo, &row, 1);
        if (cmyk) cmyk_to_rgb(row, d->out->width, d->cinfo.saw_Adobe_marker, to);
    }
    return true;
}

bool ts_jpeg_decode(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    decoder d = {.out = out};
    *out = (ts_image){0};
    d.cinfo.err = jpeg_std_error(&d.trouble.base);
    d.trouble.base.error_exit = give_up;
    d.trouble.base.emit_message = hear;
    d.progress.progress_monitor = watch_scans;
    d.source = (struct jpeg_source_mgr){.next_input_byte = f->bytes,
                                        .bytes_in_buffer = f->size,
                                        .init_source = do_nothing,
                                        .fill_input_buffer = no_more,
                                        .skip_input_data = skip,
                                        .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = do_nothing};
    const bool ok = decode(&d, f, err);
    jpeg_destroy_decompress(&d.cinfo);
    free(d.row);
    if (!ok) ts_image_clear(out);
    return ok;
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

typedef struct {
    struct jpeg_compress_struct cinfo;
    complaint trouble;
    unsigned char *bytes;
    unsigned long size;
} encoder;

static bool encode(encoder *e, const ts_image *img, int quality)
{
    if (setjmp(e->trouble.back)) return false; // NOLINT(cert-err52-cpp)
    jpeg_create_compress(&e->cinfo);
    jpeg_mem_dest(&e->cinfo, &e->bytes, &e->size);
    e->cinfo.image_width = (JDIMENSION)img->width;
    e->cinfo.image_height = (JDIMENSION)img->height;
    e->cinfo.input_components = 3;
    e->cinfo.in_color_space = JCS_RGB;
    jpeg_set_defaults(&e->cinfo);
    jpeg_set_quality(&e->cinfo, quality, TRUE);
    e->cinfo.optimize_coding = TRUE;
    /* Colour as fine as light: answers are masks and figures with sharp edges. */
    e->cinfo.comp_info[0].h_samp_factor = e->cinfo.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&e->cinfo, TRUE);
    while (e->cinfo.next_scanline < e->cinfo.image_height) {
        JSAMPROW row = img->data + (size_t)e->cinfo.next_scanline * (size_t)img->width * 3;
        jpeg_write_scanlines(&e->cinfo, &row, 1);
    }
    jpeg_finish_compress(&e->cinfo);
    return true;
}

uint8_t *ts_jpeg_encode(const ts_image *img, int quality, size_t *size)
{
    encoder e = {0};
    e.cinfo.err = jpeg_std_error(&e.trouble.base);
    e.trouble.base.error_exit = give_up;
    e.trouble.base.emit_message = hear_encoder;
    const bool ok = encode(&e, img, quality);
    jpeg_destroy_compress(&e.cinfo);
    *size = e.size;
    if (ok) return e.bytes;
    free(e.bytes);
    return NULL;
}

#else

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

bool ts_jpeg_decode(const ts_picture_file *f, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    if (f->about.components == 4 && !f->about.adobe)
        return ts_picture_broken(f, "CMYK without Adobe's marker, which this program was built without (libjpeg)", err);
    ts_jpeg_segment s = {0};
    /* stb fills what is missing with grey and calls it success. */
    for (size_t at = 2; s.marker != TS_JPEG_EOI;) {
        if (!ts_jpeg_next(f->bytes, f->size, &at, &s)) return ts_picture_cut(f, err);
        if (s.marker == TS_JPEG_DHT && !huffman_fits(s.data, s.size))
            return ts_picture_broken(f, "a Huffman table does not fit", err);
    }
    return ts_stb_decode(f, out, err);
}

uint8_t *ts_jpeg_encode(const ts_image *img, int quality, size_t *size)
{
    return ts_stb_encode_jpeg(img, quality, size);
}

#endif
