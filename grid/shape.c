/* shape.c - the outlines of the objects, as signed distances: one number gives the inside, an antialiased edge and a line along
 * the outline at any size. Vertices are written out, so that no sine is needed. */
#include <math.h>

#include "grid/figures.h"

typedef struct {
    int count;
    float v[12][2];
} polygon;

static const polygon TRIANGLE = {3, {{0, -1}, {0.8660254f, 0.5f}, {-0.8660254f, 0.5f}}};
static const polygon PENTAGON = {
    5, {{0, -1}, {0.9510565f, -0.3090170f}, {0.5877853f, 0.8090170f}, {-0.5877853f, 0.8090170f}, {-0.9510565f, -0.3090170f}}};
static const polygon HEXAGON = {
    6, {{1, 0}, {0.5f, 0.8660254f}, {-0.5f, 0.8660254f}, {-1, 0}, {-0.5f, -0.8660254f}, {0.5f, -0.8660254f}}};
/* Ten corners, the inner ones at 0.45 of the radius. */
static const polygon STAR = {10,
                             {{0, -1},
                              {0.2645034f, -0.3640576f},
                              {0.9510565f, -0.3090170f},
                              {0.4279754f, 0.1390576f},
                              {0.5877853f, 0.8090170f},
                              {0, 0.45f},
                              {-0.5877853f, 0.8090170f},
                              {-0.4279754f, 0.1390576f},
                              {-0.9510565f, -0.3090170f},
                              {-0.2645034f, -0.3640576f}}};
static const polygon STAR4 = {
    8, {{0, -1}, {0.27f, -0.27f}, {1, 0}, {0.27f, 0.27f}, {0, 1}, {-0.27f, 0.27f}, {-1, 0}, {-0.27f, -0.27f}}};
static const polygon CROSS = {12,
                              {{-0.34f, -1},
                               {0.34f, -1},
                               {0.34f, -0.34f},
                               {1, -0.34f},
                               {1, 0.34f},
                               {0.34f, 0.34f},
                               {0.34f, 1},
                               {-0.34f, 1},
                               {-0.34f, 0.34f},
                               {-1, 0.34f},
                               {-1, -0.34f},
                               {-0.34f, -0.34f}}};
static const polygon CORNER = {6, {{-0.9f, -0.9f}, {-0.2f, -0.9f}, {-0.2f, 0.2f}, {0.9f, 0.2f}, {0.9f, 0.9f}, {-0.9f, 0.9f}}};
static const polygon ARROW = {7, {{-1, -0.3f}, {0.05f, -0.3f}, {0.05f, -0.8f}, {1, 0}, {0.05f, 0.8f}, {0.05f, 0.3f}, {-1, 0.3f}}};
static const polygon HEART_TIP = {4, {{0, -0.28f}, {0.94f, -0.12f}, {0, 0.95f}, {-0.94f, -0.12f}}};

static float clamp01(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static float length(float x, float y)
{
    return sqrtf(x * x + y * y);
}

/* Least distance from the edges; the sign from the number of edges that a ray crosses. */
static float polygon_distance(const polygon *p, float x, float y)
{
    float least = 1e30f;
    bool inside = false;
    for (int i = 0, j = p->count - 1; i < p->count; j = i++) {
        float ax = p->v[i][0], ay = p->v[i][1], bx = p->v[j][0], by = p->v[j][1];
        float ex = bx - ax, ey = by - ay, wx = x - ax, wy = y - ay;
        float t = clamp01((wx * ex + wy * ey) / (ex * ex + ey * ey)), dx = wx - ex * t, dy = wy - ey * t;
        float d = dx * dx + dy * dy;
        if (d < least) least = d;
        if ((ay > y) != (by > y) && x < ex * wy / ey + ax) inside = !inside;
    }
    return inside ? -sqrtf(least) : sqrtf(least);
}

static float heart_distance(float x, float y)
{
    float lobe = length(fabsf(x) - 0.47f, y + 0.38f) - 0.53f;
    return fminf(lobe, polygon_distance(&HEART_TIP, x, y));
}

static float ellipse_distance(float x, float y)
{
    const float b = 0.58f;
    float k0 = length(x, y / b), k1 = length(x, y / (b * b));
    return k1 > 0 ? k0 * (k0 - 1) / k1 : -b;
}

float ts_shape_distance(ts_shape shape, float x, float y)
{
    switch (shape) {
    case TS_SHAPE_CIRCLE:
        return length(x, y) - 1;
    case TS_SHAPE_SQUARE:
        return fmaxf(fabsf(x), fabsf(y)) - 1;
    case TS_SHAPE_TRIANGLE:
        return polygon_distance(&TRIANGLE, x, y);
    case TS_SHAPE_STAR:
        return polygon_distance(&STAR, x, y);
    case TS_SHAPE_RING:
        return fabsf(length(x, y) - 0.74f) - 0.26f;
    case TS_SHAPE_CROSS:
        return polygon_distance(&CROSS, x, y);
    case TS_SHAPE_PENTAGON:
        return polygon_distance(&PENTAGON, x, y);
    case TS_SHAPE_HEART:
        return heart_distance(x, y);
    case TS_SHAPE_BAR:
        return length(fmaxf(fabsf(x) - 0.62f, 0), y) - 0.38f;
    case TS_SHAPE_CRESCENT:
        return fmaxf(length(x, y) - 1, 0.82f - length(x - 0.55f, y));
    case TS_SHAPE_HEXAGON:
        return polygon_distance(&HEXAGON, x, y);
    case TS_SHAPE_STAR4:
        return polygon_distance(&STAR4, x, y);
    case TS_SHAPE_HALF:
        return fmaxf(length(x, y - 0.45f) - 1, y - 0.45f);
    case TS_SHAPE_ELLIPSE:
        return ellipse_distance(x, y);
    case TS_SHAPE_CORNER:
        return polygon_distance(&CORNER, x, y);
    case TS_SHAPE_ARROW:
        return polygon_distance(&ARROW, x, y);
    case TS_SHAPE_COUNT:
        break;
    }
    return 1;
}

float ts_shape_bound(ts_shape shape)
{
    switch (shape) {
    case TS_SHAPE_SQUARE:
        return 1.4143f;
    case TS_SHAPE_CORNER:
        return 1.2729f;
    case TS_SHAPE_CROSS:
        return 1.0563f;
    case TS_SHAPE_HALF:
        return 1.0966f;
    case TS_SHAPE_HEART:
        return 1.14f;
    case TS_SHAPE_ARROW:
        return 1.0441f;
    default:
        return 1;
    }
}
