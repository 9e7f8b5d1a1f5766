/* readings.c - what the colours of an answer say, by the tasks that Painter was trained on (its data preparation, and its
 * evaluation scripts). */
#include "painter/painter.h"

#include <math.h>

void ts_painter_palette(int base, int step, int count, uint8_t (*out)[3])
{
    for (int c = 0; c < count; c++) {
        const int digit[3] = {c / (base * base), c / base % base, c % base};
        for (int k = 0; k < 3; k++) out[c][k] = (uint8_t)(255 - step * digit[k]);
    }
}

void ts_painter_class_palette(int count, uint8_t (*out)[3])
{
    int base = 1;
    while (base * base * base <= count) base++; /* the cube root's whole part, and one more */
    for (int k = 0; k < 3; k++) out[0][k] = 0;
    ts_painter_palette(base, 256 / base, count, out + 1);
}

static double distance(const float *a, const uint8_t b[3], bool squares)
{
    double sum = 0;
    for (int c = 0; c < 3; c++) {
        const double d = (double)a[c] - b[c];
        sum += squares ? d * d : fabs(d);
    }
    return sum;
}

void ts_painter_labels(const float *fitted, int64_t pixels, const uint8_t (*palette)[3], int colours, bool squares, int32_t *out)
{
    for (int64_t i = 0; i < pixels; i++) {
        double least = INFINITY;
        out[i] = 0;
        for (int k = 0; k < colours; k++) {
            const double d = distance(fitted + 3 * i, palette[k], squares);
            if (d >= least) continue;
            least = d;
            out[i] = k;
        }
    }
}

void ts_painter_depth(const float *fitted, int64_t pixels, uint16_t *millimetres)
{
    for (int64_t i = 0; i < pixels; i++) {
        const double mean = ((double)fitted[3 * i] + (double)fitted[3 * i + 1] + (double)fitted[3 * i + 2]) / 3;
        millimetres[i] = (uint16_t)(mean / 255 * 10000);
    }
}

void ts_painter_centre_colour(double x, double y, int width, int height, uint8_t out[3])
{
    const int column = (int)(x / width * 79), row = (int)(y / height * 79);
    out[0] = (uint8_t)(255 - 15 * (4 * (row / 20) + column / 20));
    out[1] = (uint8_t)(255 - 13 * (row % 20));
    out[2] = (uint8_t)(255 - 13 * (column % 20));
}

void ts_painter_heat(const float *fitted, int64_t pixels, int joints, float *out)
{
    enum { STEP = 51, BASE = 5 };
    for (int64_t i = 0; i < pixels; i++) {
        const double green = (double)fitted[3 * i + 1], blue = (double)fitted[3 * i + 2];
        double least = green * green + blue * blue; /* of no joint */
        int nearest = -1;
        for (int k = 0; k < joints; k++) {
            out[k * pixels + i] = 0;
            const int row = k / BASE, column = k % BASE;
            const double g = green - (255 - STEP * row), b = blue - (255 - STEP * column);
            if (g * g + b * b >= least) continue;
            least = g * g + b * b;
            nearest = k;
        }
        if (nearest >= 0) out[nearest * pixels + i] = fitted[3 * i] / 255;
    }
}
