/* canvas.c - the numbers of the model that are no weights: pixels as it takes them, and its fixed positions. */
#include "mae/mae.h"

#include <math.h>

/* ImageNet's statistics, with which the published models were trained. */
static const double MEAN[3] = {0.485, 0.456, 0.406}, DEVIATION[3] = {0.229, 0.224, 0.225};

void ts_mae_normalise(const uint8_t *rgb, int64_t pixels, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) table[c][v] = (float)((v / 255.0 - MEAN[c]) / DEVIATION[c]);
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) out[i * 3 + c] = table[c][rgb[i * 3 + c]];
}

/* The patch in row r and column c has [sin(c w), cos(c w), sin(r w), cos(r w)], w_k = 10000^(-k / quarter): the column comes
 * first, although the published code's variable for it is named after the height. Row 0, the class token's, is zero. */
void ts_mae_positions(int side, int width, float *out)
{
    int quarter = width / 4;
    for (int i = 0; i < width; i++) out[i] = 0;
    for (int r = 0; r < side; r++) {
        for (int c = 0; c < side; c++) {
            float *at = out + (int64_t)(1 + r * side + c) * width;
            for (int k = 0; k < quarter; k++) {
                double w = pow(10000, -(double)k / quarter);
                at[k] = (float)sin(c * w);
                at[quarter + k] = (float)cos(c * w);
                at[2 * quarter + k] = (float)sin(r * w);
                at[3 * quarter + k] = (float)cos(r * w);
            }
        }
    }
}
