/* masks.h - masks and coloured answers, apart from any model: what is counted, measured, cleaned, packed, told apart by colour
 * and laid over a picture.
 *
 *   ts_mask m;
 *   ts_mask_new(640, 480, &m, &err);                 // zeros
 *   m.data[y * m.width + x] = 1;
 *   ts_rle runs;
 *   ts_rle_of(&m, &runs, &err);                      // COCO's form; ts_rle_text makes its string
 *   ts_overlay_mask(&picture, &m, colour);
 *
 * What is made by a function is the caller's, and ts_mask_clear or ts_rle_clear gives its memory back; both take what is zero. On
 * failure nothing is left in `out`. */
#ifndef TESSERA_MASKS_H
#define TESSERA_MASKS_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a mask ------------------------------------------------------------------------------------------------------- */

/* One byte a pixel, 1 inside and 0 outside and nothing else, rows from the top: data[y * width + x]. At most 2^28 pixels. */
typedef struct {
    int width, height;
    uint8_t *data; /* owned */
} ts_mask;

bool ts_mask_new(int width, int height, ts_mask *out, ts_error *err); /* zeros */
void ts_mask_clear(ts_mask *m);
/* What of a picture is lighter than half: 0.299 R + 0.587 G + 0.114 B at least 128. */
bool ts_mask_of_image(const ts_image *picture, ts_mask *out, ts_error *err);
/* 0 and 255, one byte a pixel, as a picture of a mask is written (ts_png_save with one channel): free(). */
uint8_t *ts_mask_grey(const ts_mask *m, ts_error *err);
/* The nearest pixel, as Pillow's NEAREST has it. */
bool ts_mask_resize(const ts_mask *m, int width, int height, ts_mask *out, ts_error *err);
int64_t ts_mask_area(const ts_mask *m); /* pixels inside */

/* A rectangle of pixels, its corners within it. */
typedef struct {
    int x0, y0, x1, y1;
} ts_box;
/* Around all that is inside; an empty mask: 0, 0, 0, 0. */
ts_box ts_mask_box(const ts_mask *m);

/* ---- small regions (Kirillov et al. 2023, arXiv 2304.02643, appendix B) ---------------------------------------------- */

/* Pixels that touch, by a side or by a corner, are one region. `changed` may be NULL. */

/* Fills the regions outside that have fewer than `area` pixels. They may lie at the picture's edge. */
bool ts_mask_fill_holes(ts_mask *m, int64_t area, bool *changed, ts_error *err);
/* Takes out the regions inside that have fewer than `area` pixels; where all have, the largest stays (the first of equal ones),
 * and the mask counts as changed. */
bool ts_mask_drop_islands(ts_mask *m, int64_t area, bool *changed, ts_error *err);

/* ---- run lengths ----------------------------------------------------------------------------------------------------- */

/* COCO's form: down each column, column after column, runs of pixels outside and inside by turns, the first of them outside (0
 * where the first pixel is inside). They sum to width * height. */
typedef struct {
    int width, height;
    int64_t count; /* of runs */
    uint32_t *run; /* owned */
} ts_rle;

bool ts_rle_of(const ts_mask *m, ts_rle *out, ts_error *err);
bool ts_rle_mask(const ts_rle *r, ts_mask *out, ts_error *err);
void ts_rle_clear(ts_rle *r);
int64_t ts_rle_area(const ts_rle *r);
ts_box ts_rle_box(const ts_rle *r); /* as ts_mask_box */
/* COCO's compressed string, as its tools write it beside `size` [height, width]: free(). */
char *ts_rle_text(const ts_rle *r, ts_error *err);
/* Of such a string. One that is cut off, that no mask of this size gives, or that is no such string is refused. */
bool ts_rle_read(const char *text, int width, int height, ts_rle *out, ts_error *err);

/* ---- boxes ----------------------------------------------------------------------------------------------------------- */

/* Non-maximum suppression: by falling score (equal ones in the order given, NaN last) a box is kept unless it overlaps one that
 * was kept before by more than `most`, intersection over union. A box's area is (x1 - x0) (y1 - y0) as torchvision counts it, in
 * single precision as there; two boxes without area do not overlap. `kept` has `count` places and gets the indices of the kept
 * ones, best first. Returns their number; -1: out of memory. */
int ts_boxes_keep(const ts_box *box, const float *score, int count, double most, int *kept, ts_error *err);

/* ---- colours --------------------------------------------------------------------------------------------------------- */

enum { TS_PALETTE_MOST = 64 };

/* The colours of example pictures, in the order in which they are met row by row. Zero: none yet. */
typedef struct {
    int count;
    uint8_t colour[TS_PALETTE_MOST][3];
    int64_t pixels[TS_PALETTE_MOST]; /* of each colour */
    int64_t border[TS_PALETTE_MOST]; /* of those at a picture's edge */
} ts_palette;

/* Adds those of one more example. False: then there are more than 64 (a photograph, or what JPEG made of a mask), and the palette
 * is empty. */
bool ts_palette_add(ts_palette *p, const ts_image *example);
/* Which colour is the background: black, where there is black; else the most frequent along the pictures' edges, and of those the
 * most frequent of all; the first of equal ones. -1: an empty palette. */
int ts_palette_background(const ts_palette *p);
/* The colour nearest in squared distance, the first of equal ones; -1: an empty palette. */
int ts_palette_nearest(const ts_palette *p, const uint8_t colour[3]);
/* Every pixel becomes its nearest colour of the palette, which must have one. */
void ts_palette_snap(const ts_palette *p, ts_image *picture);
/* What of a picture is nearest to another colour than the background. */
bool ts_palette_mask(const ts_palette *p, const ts_image *picture, ts_mask *out, ts_error *err);

/* ---- over a picture -------------------------------------------------------------------------------------------------- */

/* A colour for each of many masks, all unlike their neighbours in number: 0 is a blue. */
void ts_mask_colour(int number, uint8_t out[3]);
/* Mixes the colour half and half into what is inside, with a line of the full colour along the edge; the line is wider in a large
 * picture. The mask must have the picture's size. */
bool ts_overlay_mask(ts_image *picture, const ts_mask *m, const uint8_t colour[3], ts_error *err);
/* The same with a coloured answer of the picture's size: what is nearest to the palette's background stays as it was, the other
 * regions get their colours. NULL or an empty palette: the answer is mixed half and half into all of the picture. */
bool ts_overlay_answer(ts_image *picture, const ts_image *answer, const ts_palette *p, ts_error *err);
/* The picture inside the mask, nothing outside: RGBA of its size, four bytes a pixel (ts_png_save writes it). free(). */
uint8_t *ts_cutout(const ts_image *picture, const ts_mask *m, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
