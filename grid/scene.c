/* scene.c - makes up scenes: a background and one to four objects that stand out against it. */
#include <math.h>

#include "grid/figures.h"

enum { CONTRAST = 170, TRIES = 24 };

bool ts_radius_held_out(float radius)
{
    return radius >= TS_HELD_OUT_LEAST && radius <= TS_HELD_OUT_MOST;
}

/* A unit vector: by the rational points of the circle, so that no sine is needed. */
static void random_direction(ts_random *r, float *x, float *y)
{
    float t = ts_random_real(r, -1, 1), scale = 1 / (1 + t * t);
    *x = (1 - t * t) * scale;
    *y = 2 * t * scale;
    if (ts_random_chance(r, 0.5f)) *x = -*x;
    if (ts_random_chance(r, 0.5f)) {
        float swap = *x;
        *x = *y;
        *y = swap;
    }
}

ts_colour ts_colour_unlike(ts_random *r, bool held_out, const ts_colour *others, int count)
{
    ts_colour best = ts_colour_vivid(r, held_out);
    int best_apart = -1;
    for (int i = 0; i < TRIES; i++) {
        ts_colour c = ts_colour_vivid(r, held_out);
        int apart = 765;
        for (int k = 0; k < count; k++) {
            int d = ts_colour_apart(c, others[k]);
            if (d < apart) apart = d;
        }
        if (apart >= CONTRAST) return c;
        if (apart > best_apart) {
            best = c;
            best_apart = apart;
        }
    }
    return best;
}

/* Moves a colour some way towards black or white. */
static ts_colour shade(ts_random *r, ts_colour c, float least, float most)
{
    float t = ts_random_real(r, least, most), end = ts_colour_grey(c) < 128 ? 255 : 0;
    for (int i = 0; i < 3; i++) c.v[i] = (uint8_t)((float)c.v[i] + (end - (float)c.v[i]) * t + 0.5f);
    return c;
}

/* Textures are coarse, and their two colours close: they must survive a sixteenfold reduction, and objects must stand out. */
static void texture(ts_random *r, ts_paint *f)
{
    f->seed = (uint32_t)ts_random_next(r);
    random_direction(r, &f->dx, &f->dy);
    f->scale = f->kind == TS_PAINT_NOISE ? ts_random_real(r, 3, 8) : ts_random_real(r, 3, 7);
    for (int i = 0; i < TRIES; i++) {
        f->b = shade(r, f->a, 0.12f, 0.35f);
        if (ts_colour_held_out(f->b) == ts_colour_held_out(f->a)) return;
    }
    f->b = f->a;
}

static void make_background(ts_random *r, bool held_out, ts_scene *s)
{
    static const ts_paint_kind kinds[] = {TS_PAINT_FLAT,     TS_PAINT_FLAT,     TS_PAINT_FLAT,   TS_PAINT_FLAT,  TS_PAINT_FLAT,
                                          TS_PAINT_GRADIENT, TS_PAINT_GRADIENT, TS_PAINT_NOISE,  TS_PAINT_NOISE, TS_PAINT_STRIPES,
                                          TS_PAINT_CHECKS,   TS_PAINT_DOTS,     TS_PAINT_STROKES};
    ts_paint *f = &s->background;
    f->kind = kinds[ts_random_int(r, 0, (int)(sizeof kinds / sizeof *kinds) - 1)];
    f->a = ts_colour_ground(r, held_out);
    texture(r, f);
    if (f->kind == TS_PAINT_GRADIENT) {
        for (int i = 0; i < TRIES; i++) {
            f->b = ts_colour_ground(r, held_out);
            int apart = ts_colour_apart(f->a, f->b);
            if (apart > 60 && apart < 300) break;
        }
    }
    s->stroke_width = ts_random_real(r, 0.03f, 0.07f);
    for (int i = 0; i < TS_SCENE_STROKES; i++)
        for (int k = 0; k < 4; k++) s->stroke[i][k] = ts_random_real(r, -0.1f, 1.1f);
}

ts_shape ts_shape_any(ts_random *r, bool held_out)
{
    return (ts_shape)(held_out ? ts_random_int(r, TS_SHAPE_TRAINED, TS_SHAPE_COUNT - 1)
                               : ts_random_int(r, 0, TS_SHAPE_TRAINED - 1));
}

static float random_radius(ts_random *r, bool held_out, int count)
{
    static const float least[] = {0.16f, 0.14f, 0.12f, 0.10f}, most[] = {0.38f, 0.30f, 0.22f, 0.19f};
    if (held_out) return ts_random_real(r, TS_HELD_OUT_LEAST + 0.002f, TS_HELD_OUT_MOST - 0.002f);
    for (;;) {
        float radius = ts_random_real(r, least[count - 1], most[count - 1]);
        if (!ts_radius_held_out(radius)) return radius;
    }
}

static float random_place(ts_random *r, float radius)
{
    /* Mostly inside the picture; a shape may be cut off a little. */
    float edge = 0.85f * radius + 0.03f;
    return ts_random_real(r, edge, 1 - edge);
}

/* Looks for a place that is free of the objects before this one; takes the freest. */
static void place(ts_random *r, ts_scene *s, ts_object *o)
{
    float best = -10;
    for (int i = 0; i < TRIES; i++) {
        float x = random_place(r, o->radius), y = random_place(r, o->radius), room = 10;
        for (const ts_object *other = s->object; other < o; other++) {
            float dx = x - other->x, dy = y - other->y;
            float apart = sqrtf(dx * dx + dy * dy) -
                          0.93f * (o->radius * ts_shape_bound(o->shape) + other->radius * ts_shape_bound(other->shape));
            if (apart < room) room = apart;
        }
        if (room > best) {
            best = room;
            o->x = x;
            o->y = y;
        }
        if (room >= 0) return;
    }
}

static void make_fill(ts_random *r, const ts_scene_style *style, int at, const ts_scene *s, ts_paint *f)
{
    ts_colour others[2] = {s->background.a, s->background.kind == TS_PAINT_FLAT ? s->background.a : s->background.b};
    f->kind = TS_PAINT_FLAT;
    f->a = f->b = style->palette ? style->palette[at] : ts_colour_unlike(r, style->held_out, others, 2);
    if (style->flat || style->palette || ts_random_chance(r, 0.68f)) return;
    static const ts_paint_kind kinds[] = {TS_PAINT_GRADIENT, TS_PAINT_STRIPES, TS_PAINT_NOISE, TS_PAINT_CHECKS};
    f->kind = kinds[ts_random_int(r, 0, 3)];
    texture(r, f);
    if (f->kind != TS_PAINT_NOISE) f->scale = ts_random_real(r, 2, 4);
}

void ts_scene_make(ts_random *r, const ts_scene_style *style, ts_scene *out)
{
    int count = ts_random_int(r, style->least, style->most);
    *out = (ts_scene){0};
    if (style->backdrop) {
        *out = *style->backdrop;
    } else if (style->palette) {
        out->background = (ts_paint){.kind = TS_PAINT_FLAT, .a = style->palette[count], .b = style->palette[count]};
    } else {
        make_background(r, style->held_out, out);
    }
    for (int i = 0; i < count; i++) {
        ts_object *o = &out->object[out->count++];
        o->shape = ts_shape_any(r, style->held_out);
        o->radius = random_radius(r, style->held_out, count);
        place(r, out, o);
        o->cos = 1;
        if (!style->upright && ts_random_chance(r, 0.5f)) random_direction(r, &o->cos, &o->sin);
        make_fill(r, style, i, out, &o->fill);
        if (style->palette || !ts_random_chance(r, 0.15f)) continue;
        o->line = ts_colour_grey(o->fill.a) < 100 ? (ts_colour){{255, 255, 255}} : (ts_colour){{0, 0, 0}};
        o->line_width = ts_random_real(r, 0.025f, 0.04f);
    }
}
