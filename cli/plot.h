/* plot.h - words and curves in pictures, without a font or a plotting library. */
#ifndef TESSERA_CLI_PLOT_H
#define TESSERA_CLI_PLOT_H

#include "cli/cli.h"

/* ---- font.c ------------------------------------------------------------------------------------------------- */

enum { TS_LETTER_WIDTH = 12, TS_LETTER_HEIGHT = 14 };
typedef enum { TS_TEXT_LEFT, TS_TEXT_MIDDLE, TS_TEXT_RIGHT } ts_text_place;

/* Writes printable ASCII (what is none becomes '?') in dark grey: x is the text's left edge, its middle or its right edge, y its
 * upper edge. What lies outside is not drawn. */
void ts_draw_text(ts_image *img, int x, int y, ts_text_place place, const char *words);

/* ---- plot.c ------------------------------------------------------------------------------------------------- */

typedef enum {
    TS_CURVE_MEAN,   /* averaged over each column of pixels */
    TS_CURVE_SMOOTH, /* a running mean over a fiftieth of all values */
    TS_CURVE_POINTS, /* marked one by one */
    TS_CURVE_LEVEL,  /* a line across, at y[0] */
} ts_curve_kind;

typedef struct {
    const char *name; /* in the legend; NULL: not there */
    ts_curve_kind kind;
    const double *x, *y; /* x rising */
    int64_t count;
    uint8_t colour[3];
} ts_curve;

typedef struct {
    const char *title, *x_name, *y_name;
    const ts_curve *curves; /* the first is drawn first */
    int count;
} ts_plot;

/* Draws them as PNG, the axes over the data's range. Values that are not finite are left out. */
bool ts_plot_save(const char *path, const ts_plot *plot, ts_error *err);

#endif
