/* colour.c - where colours come from. Training and the held-out scenes draw from hues that do not meet: a model that does well on
 * the second has not learned its answers by heart. */
#include <stdlib.h>

#include "grid/figures.h"

/* Centres of the held-out hues in degrees, HALF wide to each side: orange and azure, rose and spring green. Training keeps MARGIN
 * away from them. Red, green, blue, yellow, cyan and magenta stay training's: the paper's tasks need the first ones. */
static const float HELD_OUT_HUE[] = {30, 165, 210, 345};
enum { SECTORS = sizeof HELD_OUT_HUE / sizeof *HELD_OUT_HUE };
static const float HALF = 11, MARGIN = 2;

static float minimum(float a, float b)
{
    return a < b ? a : b;
}

static float maximum(float a, float b)
{
    return a > b ? a : b;
}

static float distance_to_sectors(float hue)
{
    float least = 360;
    for (int i = 0; i < SECTORS; i++) {
        float d = hue - HELD_OUT_HUE[i];
        if (d < 0) d = -d;
        least = minimum(least, minimum(d, 360 - d));
    }
    return least;
}

/* Hue in degrees; -1 for greys and what is near them. */
static float hue_of(ts_colour c)
{
    float r = c.v[0], g = c.v[1], b = c.v[2], most = maximum(r, maximum(g, b)), chroma = most - minimum(r, minimum(g, b));
    if (chroma < 12) return -1;
    float hue = most == r ? (g - b) / chroma : most == g ? 2 + (b - r) / chroma : 4 + (r - g) / chroma;
    return hue < 0 ? 60 * hue + 360 : 60 * hue;
}

bool ts_colour_held_out(ts_colour c)
{
    float hue = hue_of(c);
    return hue >= 0 && distance_to_sectors(hue) <= HALF + MARGIN / 2;
}

int ts_colour_grey(ts_colour c)
{
    return (c.v[0] * 19595 + c.v[1] * 38470 + c.v[2] * 7471 + 0x8000) >> 16;
}

int ts_colour_apart(ts_colour a, ts_colour b)
{
    return abs(a.v[0] - b.v[0]) + abs(a.v[1] - b.v[1]) + abs(a.v[2] - b.v[2]);
}

static ts_colour from_hsv(float hue, float saturation, float value)
{
    float sector = hue / 60, c = value * saturation, m = value - c;
    ts_colour out;
    for (int i = 0; i < 3; i++) {
        /* Distance of the hue from the channel's own, round the circle of 6: full within 1, none beyond 2. */
        float d = sector - 2 * (float)i;
        d = d < 0 ? -d : d;
        d = minimum(d, 6 - d);
        out.v[i] = (uint8_t)((m + c * minimum(maximum(2 - d, 0), 1)) * 255 + 0.5f);
    }
    return out;
}

static float random_hue(ts_random *r, bool held_out)
{
    if (held_out) return HELD_OUT_HUE[ts_random_int(r, 0, SECTORS - 1)] + ts_random_real(r, -HALF, HALF);
    for (;;) {
        float hue = ts_random_real(r, 0, 360);
        if (distance_to_sectors(hue) > HALF + MARGIN) return hue;
    }
}

/* Rounding to bytes moves a pale colour's hue: draw again until it is on its side of the line. */
static ts_colour random_colour(ts_random *r, bool held_out, float s0, float s1, float v0, float v1)
{
    for (;;) {
        float hue = random_hue(r, held_out), s = ts_random_real(r, s0, s1);
        ts_colour c = from_hsv(hue, s, ts_random_real(r, v0, v1));
        if (ts_colour_held_out(c) == held_out || (held_out && hue_of(c) < 0)) return c;
    }
}

ts_colour ts_colour_primary(ts_random *r)
{
    static const ts_colour list[] = {{{255, 0, 0}},    {{0, 255, 0}},   {{0, 0, 255}},   {{255, 255, 0}},   {{255, 0, 255}},
                                     {{0, 255, 255}},  {{0, 128, 0}},   {{128, 0, 128}}, {{128, 0, 0}},     {{0, 0, 128}},
                                     {{0, 0, 0}},      {{128, 128, 0}}, {{0, 128, 128}}, {{128, 128, 128}}, {{0, 255, 0}},
                                     {{0, 0, 255}},    {{255, 0, 0}},   {{230, 25, 25}}, {{40, 170, 60}},   {{50, 70, 200}},
                                     {{240, 215, 40}}, {{145, 60, 180}}};
    return list[ts_random_int(r, 0, (int)(sizeof list / sizeof *list) - 1)];
}

ts_colour ts_colour_vivid(ts_random *r, bool held_out)
{
    if (!held_out && ts_random_chance(r, 0.4f)) return ts_colour_primary(r);
    return random_colour(r, held_out, 0.55f, 1, 0.45f, 1);
}

ts_colour ts_colour_ground(ts_random *r, bool held_out)
{
    float kind = ts_random_real(r, 0, 1);
    if (kind < 0.18f) return (ts_colour){{255, 255, 255}};
    if (kind < 0.26f) return (ts_colour){{0, 0, 0}};
    if (kind < 0.36f) {
        uint8_t grey = (uint8_t)ts_random_int(r, 30, 235);
        return (ts_colour){{grey, grey, grey}};
    }
    if (kind < 0.66f) return random_colour(r, held_out, 0.1f, 0.4f, 0.8f, 1);
    if (kind < 0.82f) return random_colour(r, held_out, 0.3f, 1, 0.12f, 0.4f);
    return random_colour(r, held_out, 0.3f, 0.9f, 0.45f, 0.9f);
}
