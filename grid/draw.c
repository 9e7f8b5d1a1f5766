/* draw.c - a scene's description into pixels. An edge is antialiased by its signed distance in pixels, which gives what a box
 * filter over the pixel gives for a straight edge and costs one evaluation instead of sixteen. */
#include <math.h>
#include <string.h>

#include "grid/figures.h"

static float clamp01(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static uint8_t *pixel_at(ts_image *img, int x, int y)
{
    return img->data + ((size_t)y * (size_t)img->width + (size_t)x) * 3;
}

void ts_draw_fill(ts_image *img, ts_cell cell, ts_colour colour)
{
    for (int y = 0; y < cell.height; y++)
        for (int x = 0; x < cell.width; x++) memcpy(pixel_at(img, cell.x + x, cell.y + y), colour.v, 3);
}

static float lattice(uint32_t seed, int x, int y)
{
    uint32_t h = seed ^ ((uint32_t)x * 0x8da6b343u) ^ ((uint32_t)y * 0xd8163841u);
    h = (h ^ (h >> 15)) * 0x2c1b3c6du;
    h = (h ^ (h >> 12)) * 0x297a2d39u;
    return (float)((h ^ (h >> 15)) >> 8) * 0x1p-24f;
}

/* Value noise: random values on a lattice, smoothly between, with the middle stretched. */
static float noise(uint32_t seed, float x, float y)
{
    float fx = floorf(x), fy = floorf(y), u = x - fx, v = y - fy;
    int ix = (int)fx, iy = (int)fy;
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    float top = lattice(seed, ix, iy) * (1 - u) + lattice(seed, ix + 1, iy) * u;
    float bottom = lattice(seed, ix, iy + 1) * (1 - u) + lattice(seed, ix + 1, iy + 1) * u;
    return clamp01((top * (1 - v) + bottom * v - 0.5f) * 1.8f + 0.5f);
}

/* 1 in every other half period of `u`, with edges one pixel wide. */
static float stripe(float u, float sharpness)
{
    float f = u - floorf(u);
    return clamp01(0.5f + (fabsf(f - 0.5f) - 0.25f) * sharpness);
}

static float stroke_distance(const ts_scene *s, float x, float y)
{
    float least = 1e30f;
    for (int i = 0; i < TS_SCENE_STROKES; i++) {
        const float *e = s->stroke[i];
        float ex = e[2] - e[0], ey = e[3] - e[1], wx = x - e[0], wy = y - e[1];
        float t = clamp01((wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-9f)), dx = wx - ex * t, dy = wy - ey * t;
        float d = dx * dx + dy * dy;
        if (d < least) least = d;
    }
    return sqrtf(least);
}

/* Share of the second colour at a point. `pixels` is the number of pixels a unit of x and y has. */
static float fill_share(const ts_paint *f, const ts_scene *s, float x, float y, float pixels)
{
    float sharpness = pixels / f->scale;
    switch (f->kind) {
    case TS_PAINT_FLAT:
        return 0;
    case TS_PAINT_GRADIENT:
        return clamp01(0.5f + x * f->dx + y * f->dy);
    case TS_PAINT_STRIPES:
        return stripe((x * f->dx + y * f->dy) * f->scale, sharpness);
    case TS_PAINT_CHECKS: {
        float a = stripe((x * f->dx + y * f->dy) * f->scale * 0.5f, 2 * sharpness);
        float b = stripe((y * f->dx - x * f->dy) * f->scale * 0.5f, 2 * sharpness);
        return a + b - 2 * a * b;
    }
    case TS_PAINT_DOTS: {
        float u = x * f->scale, v = y * f->scale;
        u -= floorf(u) + 0.5f;
        v -= floorf(v) + 0.5f;
        return clamp01(0.5f + (0.3f - sqrtf(u * u + v * v)) * sharpness);
    }
    case TS_PAINT_NOISE:
        return noise(f->seed, x * f->scale, y * f->scale);
    case TS_PAINT_STROKES:
        return clamp01(0.5f + (s->stroke_width * 0.5f - stroke_distance(s, x, y)) * pixels);
    }
    return 0;
}

static void mix(float out[3], ts_colour c, float share)
{
    for (int i = 0; i < 3; i++) out[i] += ((float)c.v[i] - out[i]) * share;
}

/* Lays the object over the colour of one pixel at (x, y). */
static void draw_object(const ts_scene *s, const ts_object *o, float x, float y, float pixels, float colour[3])
{
    float dx = x - o->x, dy = y - o->y, reach = o->radius * ts_shape_bound(o->shape) + o->line_width + 1 / pixels;
    if (dx * dx + dy * dy > reach * reach) return;
    float u = (dx * o->cos + dy * o->sin) / o->radius, v = (dy * o->cos - dx * o->sin) / o->radius;
    float distance = ts_shape_distance(o->shape, u, v) * o->radius; /* in sides of the picture */
    float inside = clamp01(0.5f - distance * pixels);
    if (inside > 0) {
        float share = fill_share(&o->fill, s, u * 0.5f, v * 0.5f, 2 * o->radius * pixels);
        float fill[3] = {o->fill.a.v[0], o->fill.a.v[1], o->fill.a.v[2]};
        if (share > 0) mix(fill, o->fill.b, share);
        for (int i = 0; i < 3; i++) colour[i] += (fill[i] - colour[i]) * inside;
    }
    if (o->line_width > 0) mix(colour, o->line, clamp01(0.5f + (o->line_width * 0.5f - fabsf(distance)) * pixels));
}

void ts_draw_scene(const ts_scene *s, int turn, ts_image *img, ts_cell cell)
{
    /* A cell that is not square stretches the scene: edges are then antialiased by the mean of both scales. */
    float pixels = sqrtf((float)cell.width * (float)cell.height), px = 1 / (float)cell.width, py = 1 / (float)cell.height;
    for (int row = 0; row < cell.height; row++) {
        uint8_t *out = pixel_at(img, cell.x, cell.y + row);
        for (int col = 0; col < cell.width; col++, out += 3) {
            float x = ((float)col + 0.5f) * px, y = ((float)row + 0.5f) * py;
            if (turn & TS_TURN_SWAP) {
                float swap = x;
                x = y;
                y = swap;
            }
            if (turn & TS_TURN_X) x = 1 - x;
            if (turn & TS_TURN_Y) y = 1 - y;
            const ts_paint *ground = &s->background;
            float colour[3] = {ground->a.v[0], ground->a.v[1], ground->a.v[2]};
            bool gradient = ground->kind == TS_PAINT_GRADIENT; /* the only one measured from the middle */
            if (ground->kind != TS_PAINT_FLAT)
                mix(colour, ground->b, fill_share(ground, s, gradient ? x - 0.5f : x, gradient ? y - 0.5f : y, pixels));
            for (int i = 0; i < s->count; i++) draw_object(s, &s->object[i], x, y, pixels, colour);
            for (int i = 0; i < 3; i++) out[i] = (uint8_t)(colour[i] + 0.5f);
        }
    }
}

ts_cell ts_object_box(const ts_object *o, ts_cell cell)
{
    int x0 = cell.width, y0 = cell.height, x1 = -1, y1 = -1;
    for (int row = 0; row < cell.height; row++) {
        for (int col = 0; col < cell.width; col++) {
            float dx = ((float)col + 0.5f) / (float)cell.width - o->x, dy = ((float)row + 0.5f) / (float)cell.height - o->y;
            float reach = o->radius * ts_shape_bound(o->shape);
            if (dx * dx + dy * dy > reach * reach) continue;
            float u = (dx * o->cos + dy * o->sin) / o->radius, v = (dy * o->cos - dx * o->sin) / o->radius;
            if (ts_shape_distance(o->shape, u, v) > 0) continue;
            if (col < x0) x0 = col;
            if (col > x1) x1 = col;
            if (row < y0) y0 = row;
            if (row > y1) y1 = row;
        }
    }
    if (x1 < x0) return (ts_cell){0};
    return (ts_cell){.x = cell.x + x0, .y = cell.y + y0, .width = x1 - x0 + 1, .height = y1 - y0 + 1};
}
