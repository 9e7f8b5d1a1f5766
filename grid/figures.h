/* figures.h - what the files that draw figures share: a scene is a description, in units of the picture's side, from which a
 * picture of any size is drawn; a task changes the description, or the pixels, so that before and after fit to the pixel.
 * Private to grid/.
 *
 * Only + - * / sqrt and floor are used on floats, and the compiler may not fuse them (CMakeLists.txt): same seed, same bytes. */
#ifndef TESSERA_GRID_FIGURES_H
#define TESSERA_GRID_FIGURES_H

#include "grid/grid.h"
#include "grid/random.h"

/* ---- shape.c ------------------------------------------------------------------------------------------------ */

typedef enum {
    TS_SHAPE_CIRCLE,
    TS_SHAPE_SQUARE,
    TS_SHAPE_TRIANGLE,
    TS_SHAPE_STAR,
    TS_SHAPE_RING,
    TS_SHAPE_CROSS,
    TS_SHAPE_PENTAGON,
    TS_SHAPE_HEART,
    TS_SHAPE_BAR,
    TS_SHAPE_CRESCENT,
    TS_SHAPE_TRAINED, /* from here on: held out */
    TS_SHAPE_HEXAGON = TS_SHAPE_TRAINED,
    TS_SHAPE_STAR4,
    TS_SHAPE_HALF,
    TS_SHAPE_ELLIPSE,
    TS_SHAPE_CORNER,
    TS_SHAPE_ARROW,
    TS_SHAPE_COUNT
} ts_shape;

/* Signed distance (negative inside, a bound on it where exactness costs more) of (x, y) from the outline of the shape of radius 1
 * around the origin. A circle and a square of radius 1 have the same bounding box. */
float ts_shape_distance(ts_shape shape, float x, float y);
/* No point of the shape is farther from the origin. */
float ts_shape_bound(ts_shape shape);

/* ---- colour.c ----------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t v[3];
} ts_colour;

/* Whether the colour is one of those that training never names: its hue lies in one of four sectors, opposite in pairs so that
 * inverting a picture does not lead there. Greys are nobody's. */
bool ts_colour_held_out(ts_colour c);
int ts_colour_grey(ts_colour c);                         /* Rec. 601, as Pillow rounds it */
int ts_colour_apart(ts_colour a, ts_colour b);           /* sum of the channels' differences, 0 to 765 */
ts_colour ts_colour_vivid(ts_random *r, bool held_out);  /* for objects */
ts_colour ts_colour_primary(ts_random *r);               /* the screen's primaries and their like, as drawings use them */
ts_colour ts_colour_ground(ts_random *r, bool held_out); /* for backgrounds: white, black, pale, dark, or vivid */

/* ---- scene.c ------------------------------------------------------------------------------------------------ */

typedef enum {
    TS_PAINT_FLAT,
    TS_PAINT_GRADIENT,
    TS_PAINT_STRIPES,
    TS_PAINT_CHECKS,
    TS_PAINT_DOTS,
    TS_PAINT_NOISE,
    TS_PAINT_STROKES /* backgrounds only */
} ts_paint_kind;

typedef struct {
    ts_paint_kind kind;
    ts_colour a, b; /* flat: a */
    float dx, dy;   /* direction of the gradient and the stripes, a unit vector */
    float scale;    /* periods a side */
    uint32_t seed;  /* noise */
} ts_paint;

enum { TS_SCENE_OBJECTS = 4, TS_SCENE_STROKES = 7 };

typedef struct {
    ts_shape shape;
    float x, y, radius; /* of the picture's side; y downwards */
    float cos, sin;     /* how far it is turned */
    ts_paint fill;
    ts_colour line;
    float line_width; /* 0: no outline */
} ts_object;

typedef struct {
    ts_paint background;
    float stroke[TS_SCENE_STROKES][4], stroke_width; /* ends x, y, x, y */
    int count;
    ts_object object[TS_SCENE_OBJECTS]; /* later ones lie over earlier ones */
} ts_scene;

typedef struct {
    bool held_out;
    int least, most;          /* objects */
    bool flat;                /* objects of one colour */
    bool upright;             /* objects are not turned */
    const ts_scene *backdrop; /* its background, and no object of its; NULL: any */
    const ts_colour *palette; /* object i takes colour i, the background the one after the last object; NULL: any */
} ts_scene_style;

/* The sizes that training never draws lie between these radii. */
#define TS_HELD_OUT_LEAST 0.24f
#define TS_HELD_OUT_MOST  0.28f

bool ts_radius_held_out(float radius);
ts_shape ts_shape_any(ts_random *r, bool held_out);
void ts_scene_make(ts_random *r, const ts_scene_style *style, ts_scene *out);
/* A colour that stands out against everything in the list. */
ts_colour ts_colour_unlike(ts_random *r, bool held_out, const ts_colour *others, int count);

/* ---- draw.c ------------------------------------------------------------------------------------------------- */

/* How a picture is turned: mirror images and quarter turns are sums of these. */
enum { TS_TURN_X = 1, TS_TURN_Y = 2, TS_TURN_SWAP = 4 };

void ts_draw_fill(ts_image *img, ts_cell cell, ts_colour colour);
/* Draws the scene into the cell, stretched to it. The cell lies inside the picture. */
void ts_draw_scene(const ts_scene *scene, int turn, ts_image *img, ts_cell cell);
/* The smallest cell, in pixels of the picture, that holds the object's pixels inside `cell`; width 0: none. */
ts_cell ts_object_box(const ts_object *object, ts_cell cell);

/* ---- task.c ------------------------------------------------------------------------------------------------- */

typedef enum { TS_NOISE_GRAIN, TS_NOISE_SPECKS, TS_NOISE_LINES } ts_noise;

/* What a page's pairs have in common. Drawn once a page; then every pair is another scene under the same rule. */
typedef struct {
    ts_figure_task task;
    bool held_out;
    bool plain;                 /* one object on a flat ground, as in the paper's synthetic tasks */
    bool any_shape, any_colour; /* plain: each picture another, where the task leaves them free */
    bool all;                   /* every object changes; else those of from_shape or from alone */
    bool shared;                /* every picture has the same backdrop */
    ts_scene backdrop;
    int least, most; /* objects */
    ts_shape from_shape, to_shape;
    ts_colour from, to, ground; /* ground: of plain pictures; back: of masks and drawings */
    ts_colour back;
    ts_colour palette[TS_SCENE_OBJECTS + 1];
    float radius; /* plain: of every picture's object; 0: each another */
    float ratio, line_width, level;
    int turn;
    ts_noise noise;
    bool round; /* a disc covers the picture, else a rectangle */
} ts_rule;

/* The part of the picture that a fill-in task covered, in units of its sides; round: the ellipse in it. */
typedef struct {
    float x, y, width, height;
    bool round;
} ts_cover;

/* `plain`: always one object on a flat ground, where the task can have it. */
void ts_rule_make(ts_random *r, ts_figure_task task, bool held_out, bool plain, ts_rule *out);
/* Draws a before-and-after pair into two cells (which may have different pictures and sizes). `cover` may be NULL. */
void ts_rule_draw(ts_random *r, const ts_rule *rule, ts_image *before, ts_cell at, ts_image *after, ts_cell to, ts_cover *cover);
bool ts_cover_holds(const ts_cover *cover, float x, float y);
/* The scene before and after, and how the second is turned: what ts_rule_draw draws, as far as it is description. */
int ts_rule_scenes(ts_random *r, const ts_rule *rule, ts_scene *before, ts_scene *after);

#endif
