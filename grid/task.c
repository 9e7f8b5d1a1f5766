/* task.c - the rules that pairs show. A rule is made once for a page, with everything that its pairs share; each pair is then
 * another scene, changed by the rule in its description (so that before and after fit to the pixel) or in its pixels. */
#include <string.h>

#include "grid/figures.h"

enum { TRIES = 24, APART = 120 };

typedef struct {
    const char *name, *about;
    float plain; /* share of pages with one object on a flat ground */
} task_facts;

static const task_facts FACTS[TS_FIGURE_TASKS] = {
    [TS_FIGURE_COPY] = {"copy", "nothing changes", 0.3f},
    [TS_FIGURE_COLOUR] = {"colour", "objects take another colour", 0.6f},
    [TS_FIGURE_SHAPE] = {"shape", "objects take another shape", 0.6f},
    [TS_FIGURE_SIZE] = {"size", "objects grow or shrink", 0.65f},
    [TS_FIGURE_COLOUR_SHAPE] = {"colour-shape", "another colour and another shape", 0.85f},
    [TS_FIGURE_SIZE_COLOUR] = {"size-colour", "another size and another colour", 0.85f},
    [TS_FIGURE_SIZE_SHAPE] = {"size-shape", "another size and another shape", 0.85f},
    [TS_FIGURE_SEGMENT] = {"segment", "the foreground in one colour, the background in another", 0.12f},
    [TS_FIGURE_OUTLINE] = {"outline", "the objects' outlines as a drawing", 0.2f},
    [TS_FIGURE_COLOURISE] = {"colourise", "grey to colour", 0},
    [TS_FIGURE_GREY] = {"grey", "colour to grey", 0.1f},
    [TS_FIGURE_INVERT] = {"invert", "every colour becomes its opposite", 0.2f},
    [TS_FIGURE_FLIP] = {"flip", "a mirror image", 0.15f},
    [TS_FIGURE_ROTATE] = {"rotate", "quarter turns", 0.15f},
    [TS_FIGURE_DENOISE] = {"denoise", "grain, specks or lines vanish", 0.1f},
    [TS_FIGURE_FILL_IN] = {"fill-in", "what a flat patch hides appears", 0.15f},
    [TS_FIGURE_BOX] = {"box", "the objects' boxes, filled", 0.2f},
    [TS_FIGURE_REMOVE] = {"remove", "the object of one colour vanishes", 0},
};

const char *ts_figure_task_name(ts_figure_task task)
{
    return FACTS[task].name;
}

const char *ts_figure_task_about(ts_figure_task task)
{
    return FACTS[task].about;
}

bool ts_figure_task_find(const char *name, ts_figure_task *out)
{
    for (int i = 0; i < TS_FIGURE_TASKS; i++) {
        if (strcmp(name, FACTS[i].name) != 0) continue;
        *out = (ts_figure_task)i;
        return true;
    }
    return false;
}

static bool changes_colour(ts_figure_task t)
{
    return t == TS_FIGURE_COLOUR || t == TS_FIGURE_COLOUR_SHAPE || t == TS_FIGURE_SIZE_COLOUR;
}

static bool changes_shape(ts_figure_task t)
{
    return t == TS_FIGURE_SHAPE || t == TS_FIGURE_COLOUR_SHAPE || t == TS_FIGURE_SIZE_SHAPE;
}

static bool changes_size(ts_figure_task t)
{
    return t == TS_FIGURE_SIZE || t == TS_FIGURE_SIZE_COLOUR || t == TS_FIGURE_SIZE_SHAPE;
}

/* ---- rules -------------------------------------------------------------------------------------------------- */

/* Circles and squares come oftener than the rest: figures are full of them, and so are the paper's tasks. */
static ts_shape common_shape(ts_random *r, bool held_out)
{
    float kind = ts_random_real(r, 0, 1);
    if (held_out || kind > 0.7f) return ts_shape_any(r, held_out);
    return kind < 0.42f ? TS_SHAPE_CIRCLE : TS_SHAPE_SQUARE;
}

static ts_shape other_shape(ts_random *r, bool held_out, ts_shape shape)
{
    for (;;) {
        ts_shape other = common_shape(r, held_out);
        if (other != shape) return other;
    }
}

/* Two colours that tell figure from ground, as published masks have them, or any. */
static void mask_colours(ts_random *r, ts_rule *rule)
{
    static const ts_colour black = {{0, 0, 0}}, white = {{255, 255, 255}}, purple = {{68, 1, 84}}, yellow = {{253, 231, 37}};
    bool drawing = rule->task == TS_FIGURE_OUTLINE;
    float kind = ts_random_real(r, 0, 1);
    rule->to = drawing && kind < 0.45f ? black : white;
    rule->back = drawing && kind < 0.45f ? white : black;
    if (rule->held_out || kind < 0.65f) return;
    if (kind < 0.8f) {
        rule->to = yellow;
        rule->back = purple;
        return;
    }
    rule->back = ts_random_chance(r, 0.4f) ? white : ts_colour_ground(r, false);
    rule->to = ts_colour_unlike(r, false, &rule->back, 1);
}

/* Greys must tell the colours apart, or the task has no answer. */
static void palette(ts_random *r, ts_rule *rule)
{
    int count = rule->most + 1;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < 4 * TRIES; k++) {
            bool clear = true;
            rule->palette[i] = i == rule->most ? ts_colour_ground(r, rule->held_out) : ts_colour_vivid(r, rule->held_out);
            for (int other = 0; other < i; other++) {
                int apart = ts_colour_grey(rule->palette[i]) - ts_colour_grey(rule->palette[other]);
                clear = clear && (apart > 26 || apart < -26);
            }
            if (clear) break;
        }
    }
}

static float random_ratio(ts_random *r)
{
    return ts_random_chance(r, 0.6f) ? ts_random_real(r, 0.45f, 0.75f) : ts_random_real(r, 1.35f, 2);
}

/* The sizes of the paper's pictures: a disc of radius n covers n + 1/2 pixels from its centre, of 224. */
static float plain_radius(ts_random *r, float ratio)
{
    for (;;) {
        float radius = ((float)ts_random_int(r, 10, 49) + 0.5f) / 224;
        if (radius * ratio > 0.035f && radius * ratio < 0.235f) return radius;
    }
}

static void plain_rule(ts_random *r, ts_rule *rule)
{
    rule->ground = ts_random_chance(r, 0.75f) ? (ts_colour){{255, 255, 255}} : ts_colour_ground(r, false);
    bool primary = ts_random_chance(r, 0.5f);
    rule->from = ts_colour_unlike(r, false, &rule->ground, 1);
    for (int i = 0; primary && i < TRIES; i++) {
        ts_colour c = ts_colour_primary(r);
        if (ts_colour_apart(c, rule->ground) < 170) continue;
        rule->from = c;
        break;
    }
    rule->to = ts_colour_unlike(r, false, (ts_colour[]){rule->ground, rule->from}, 2);
    for (int i = 0; primary && i < TRIES; i++) {
        ts_colour c = ts_colour_primary(r);
        if (ts_colour_apart(c, rule->ground) < 170 || ts_colour_apart(c, rule->from) < 170) continue;
        rule->to = c;
        break;
    }
    rule->any_shape = !changes_shape(rule->task) && ts_random_chance(r, 0.4f);
    rule->any_colour = !changes_colour(rule->task) && ts_random_chance(r, 0.4f);
    if (changes_size(rule->task) && ts_random_chance(r, 0.6f)) rule->radius = plain_radius(r, rule->ratio);
}

static void turn_rule(ts_random *r, ts_rule *rule)
{
    static const int quarter[] = {TS_TURN_SWAP | TS_TURN_X, TS_TURN_SWAP | TS_TURN_Y, TS_TURN_X | TS_TURN_Y};
    if (rule->task == TS_FIGURE_FLIP) rule->turn = ts_random_chance(r, 0.65f) ? TS_TURN_X : TS_TURN_Y;
    else rule->turn = quarter[ts_random_int(r, 0, 2)];
}

void ts_rule_make(ts_random *r, ts_figure_task task, bool held_out, bool plain, ts_rule *out)
{
    *out = (ts_rule){.task = task, .held_out = held_out, .ratio = 1, .least = 1, .most = held_out ? 2 : 3};
    const float plain_share = plain && FACTS[task].plain > 0 ? 1 : FACTS[task].plain;
    out->plain = !held_out && ts_random_chance(r, plain_share);
    out->all = ts_random_chance(r, 0.5f) || (task != TS_FIGURE_COLOUR && task != TS_FIGURE_SHAPE);
    if (ts_random_chance(r, 0.25f)) out->most = held_out ? 2 : TS_SCENE_OBJECTS;
    if (changes_size(task)) {
        out->most = 2;
        out->ratio = random_ratio(r);
    }
    if (task == TS_FIGURE_REMOVE) out->least = 2;
    out->from_shape = common_shape(r, held_out);
    out->to_shape = other_shape(r, held_out, out->from_shape);
    if (out->plain) {
        plain_rule(r, out);
    } else {
        out->from = ts_colour_vivid(r, held_out);
        out->to = ts_colour_unlike(r, held_out, &out->from, 1);
    }
    switch (task) {
    case TS_FIGURE_SEGMENT:
    case TS_FIGURE_OUTLINE:
    case TS_FIGURE_BOX:
        mask_colours(r, out);
        out->line_width = ts_random_real(r, 0.035f, 0.055f);
        break;
    case TS_FIGURE_COLOURISE:
        out->least = out->most = ts_random_int(r, 1, held_out ? 2 : 3);
        palette(r, out);
        break;
    case TS_FIGURE_FLIP:
    case TS_FIGURE_ROTATE:
        turn_rule(r, out);
        break;
    case TS_FIGURE_DENOISE:
        out->noise = (ts_noise)ts_random_int(r, 0, 2);
        out->level = ts_random_real(r, 0.15f, 0.5f);
        break;
    case TS_FIGURE_FILL_IN: {
        static const ts_colour usual[] = {{{128, 128, 128}}, {{0, 0, 0}}, {{255, 255, 255}}};
        out->to = usual[ts_random_int(r, 0, 2)];
        if (!held_out && ts_random_chance(r, 0.25f)) out->to = ts_colour_vivid(r, false);
        if (out->plain && ts_colour_apart(out->to, out->ground) < APART) out->to = ts_colour_unlike(r, false, &out->ground, 1);
        out->round = !held_out && ts_random_chance(r, 0.25f);
        break;
    }
    default:
        break;
    }
    if (!out->plain && task != TS_FIGURE_COLOURISE && ts_random_chance(r, 0.25f)) {
        out->shared = true;
        ts_scene_make(r, &(ts_scene_style){.held_out = held_out}, &out->backdrop);
    }
}

/* ---- scenes under a rule ------------------------------------------------------------------------------------ */

static void plain_scene(ts_random *r, const ts_rule *rule, ts_scene *s)
{
    *s = (ts_scene){.background = {.kind = TS_PAINT_FLAT, .a = rule->ground, .b = rule->ground}, .count = 1};
    ts_object *o = &s->object[0];
    o->shape = rule->any_shape ? ts_shape_any(r, false) : rule->from_shape;
    ts_colour colour = rule->any_colour ? ts_colour_unlike(r, false, &rule->ground, 1) : rule->from;
    o->fill = (ts_paint){.kind = TS_PAINT_FLAT, .a = colour, .b = colour};
    o->radius = rule->radius > 0 ? rule->radius : plain_radius(r, rule->ratio);
    o->x = ((float)ts_random_int(r, 10, 213) + 0.5f) / 224;
    o->y = ((float)ts_random_int(r, 10, 213) + 0.5f) / 224;
    o->cos = 1;
}

static bool stands_out(const ts_scene *s, ts_colour c)
{
    const ts_paint *f = &s->background;
    return ts_colour_apart(c, f->a) >= APART && (f->kind == TS_PAINT_FLAT || ts_colour_apart(c, f->b) >= APART);
}

/* A size that is allowed before and after. */
static void fit_size(ts_random *r, const ts_rule *rule, ts_object *o)
{
    float most = rule->ratio > 1 ? 0.40f / rule->ratio : 0.38f;
    for (int i = 0; i < 10 * TRIES; i++) {
        float after = o->radius * rule->ratio;
        bool fits = rule->held_out ? ts_radius_held_out(o->radius) : !ts_radius_held_out(o->radius) && !ts_radius_held_out(after);
        if (fits && after <= 0.42f && after >= 0.06f) return;
        o->radius = rule->held_out ? ts_random_real(r, TS_HELD_OUT_LEAST, TS_HELD_OUT_MOST) : ts_random_real(r, 0.1f, most);
    }
}

/* Sees to it that the rule has something to change in the scene, and that nothing looks changed already. */
static void fit_scene(ts_random *r, const ts_rule *rule, ts_scene *s)
{
    ts_colour avoid[] = {s->background.a, s->background.b, rule->to, rule->from};
    bool by_colour = changes_colour(rule->task) || rule->task == TS_FIGURE_REMOVE;
    for (int i = 0; i < s->count; i++) {
        ts_object *o = &s->object[i];
        bool chosen = i == 0 && (!rule->all || rule->task == TS_FIGURE_REMOVE); /* the one that `from` tells */
        if (chosen && by_colour) {
            o->fill = (ts_paint){.kind = TS_PAINT_FLAT, .a = rule->from, .b = rule->from};
        } else if (by_colour &&
                   (ts_colour_apart(o->fill.a, rule->to) < APART || ts_colour_apart(o->fill.a, rule->from) < APART)) {
            ts_colour c = ts_colour_unlike(r, rule->held_out, avoid, 4);
            o->fill = (ts_paint){.kind = TS_PAINT_FLAT, .a = c, .b = c};
        }
        if (changes_shape(rule->task)) {
            if (chosen || rule->task != TS_FIGURE_SHAPE) o->shape = rule->from_shape;
            while (o->shape == rule->to_shape || (!chosen && !rule->all && o->shape == rule->from_shape)) /* not to be changed */
                o->shape = ts_shape_any(r, rule->held_out);
        }
        if (changes_size(rule->task)) fit_size(r, rule, o);
        if (rule->task == TS_FIGURE_BOX) o->line_width = 0;
    }
}

static void make_scene(ts_random *r, const ts_rule *rule, ts_scene *s)
{
    if (rule->plain) {
        plain_scene(r, rule, s);
        return;
    }
    ts_scene_style style = {.held_out = rule->held_out,
                            .least = rule->least,
                            .most = rule->most,
                            .flat = changes_colour(rule->task),
                            .upright = changes_shape(rule->task),
                            .backdrop = rule->shared ? &rule->backdrop : NULL,
                            .palette = rule->task == TS_FIGURE_COLOURISE ? rule->palette : NULL};
    bool from = changes_colour(rule->task) || rule->task == TS_FIGURE_REMOVE, to = from || rule->task == TS_FIGURE_FILL_IN;
    for (int i = 0; i < TRIES; i++) {
        ts_scene_make(r, &style, s);
        if ((!from || stands_out(s, rule->from)) && (!to || stands_out(s, rule->to))) break;
        style.backdrop = NULL; /* a backdrop of these colours would hide what happens */
    }
    fit_scene(r, rule, s);
}

static void flatten(ts_paint *f, ts_colour c)
{
    *f = (ts_paint){.kind = TS_PAINT_FLAT, .a = c, .b = c};
}

/* The scene as the task leaves it. */
static void change(const ts_rule *rule, ts_scene *s)
{
    ts_figure_task task = rule->task;
    if (task == TS_FIGURE_REMOVE) {
        memmove(&s->object[0], &s->object[1], (size_t)(s->count - 1) * sizeof s->object[0]);
        s->count--;
        return;
    }
    if (task == TS_FIGURE_SEGMENT || task == TS_FIGURE_OUTLINE) flatten(&s->background, rule->back);
    for (int i = 0; i < s->count; i++) {
        ts_object *o = &s->object[i];
        bool chosen = rule->all || i == 0;
        if (changes_colour(task) && chosen) flatten(&o->fill, rule->to);
        if (changes_shape(task) && chosen) o->shape = rule->to_shape;
        if (changes_size(task)) o->radius *= rule->ratio;
        if (task == TS_FIGURE_SEGMENT) {
            flatten(&o->fill, rule->to);
            o->line = rule->to;
        }
        if (task == TS_FIGURE_OUTLINE) {
            flatten(&o->fill, rule->back);
            o->line = rule->to;
            o->line_width = rule->line_width;
        }
    }
}

int ts_rule_scenes(ts_random *r, const ts_rule *rule, ts_scene *before, ts_scene *after)
{
    make_scene(r, rule, before);
    *after = *before;
    change(rule, after);
    return rule->turn;
}

/* ---- pictures under a rule ---------------------------------------------------------------------------------- */

static uint8_t *pixel_at(ts_image *img, ts_cell cell, int x, int y)
{
    return img->data + ((size_t)(cell.y + y) * (size_t)img->width + (size_t)(cell.x + x)) * 3;
}

static void make_grey(ts_image *img, ts_cell cell)
{
    for (int y = 0; y < cell.height; y++) {
        for (int x = 0; x < cell.width; x++) {
            uint8_t *p = pixel_at(img, cell, x, y);
            memset(p, ts_colour_grey((ts_colour){{p[0], p[1], p[2]}}), 3);
        }
    }
}

static void invert(ts_image *img, ts_cell cell)
{
    for (int y = 0; y < cell.height; y++) {
        uint8_t *p = pixel_at(img, cell, 0, y);
        for (int i = 0; i < 3 * cell.width; i++) p[i] = (uint8_t)(255 - p[i]);
    }
}

static uint8_t clamp_byte(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Grain: every sample moves. Specks: pixels turn black or white. Lines: rows of them do. */
static void add_noise(ts_random *r, const ts_rule *rule, ts_image *img, ts_cell cell)
{
    int reach = (int)(rule->level * 160);
    for (int y = 0; y < cell.height; y++) {
        bool hit = rule->noise == TS_NOISE_LINES && ts_random_chance(r, rule->level * 0.6f);
        uint8_t white = ts_random_chance(r, 0.5f) ? 255 : 0;
        for (int x = 0; x < cell.width; x++) {
            uint8_t *p = pixel_at(img, cell, x, y);
            if (hit) memset(p, white, 3);
            if (rule->noise == TS_NOISE_LINES) continue;
            uint64_t bits = ts_random_next(r);
            if (rule->noise == TS_NOISE_SPECKS) {
                if ((float)(bits >> 40) * 0x1p-24f < rule->level * 0.7f) memset(p, bits & 1 ? 255 : 0, 3);
                continue;
            }
            for (int c = 0; c < 3; c++) {
                int step = (int)(((bits >> (16 * c)) & 0xffff) * (uint64_t)(2 * reach + 1) >> 16) - reach;
                p[c] = clamp_byte(p[c] + step);
            }
        }
    }
}

bool ts_cover_holds(const ts_cover *c, float x, float y)
{
    float u = (x - c->x) / c->width * 2 - 1, v = (y - c->y) / c->height * 2 - 1;
    return c->round ? u * u + v * v <= 1 : u >= -1 && u <= 1 && v >= -1 && v <= 1;
}

/* Covers a part of the picture, most of it near an object: flat background alone would teach little. */
static void add_cover(ts_random *r, const ts_rule *rule, const ts_scene *s, ts_image *img, ts_cell cell, ts_cover *cover)
{
    const ts_object *o = &s->object[ts_random_int(r, 0, s->count - 1)];
    float reach = o->radius * 0.8f;
    *cover =
        (ts_cover){.width = ts_random_real(r, 0.22f, 0.42f), .height = ts_random_real(r, 0.22f, 0.42f), .round = rule->round};
    cover->x = o->x + ts_random_real(r, -reach, reach) - cover->width * 0.5f;
    cover->y = o->y + ts_random_real(r, -reach, reach) - cover->height * 0.5f;
    if (cover->x < 0) cover->x = 0;
    if (cover->y < 0) cover->y = 0;
    if (cover->x > 1 - cover->width) cover->x = 1 - cover->width;
    if (cover->y > 1 - cover->height) cover->y = 1 - cover->height;
    for (int y = 0; y < cell.height; y++) {
        for (int x = 0; x < cell.width; x++) {
            float u = ((float)x + 0.5f) / (float)cell.width, v = ((float)y + 0.5f) / (float)cell.height;
            if (ts_cover_holds(cover, u, v)) memcpy(pixel_at(img, cell, x, y), rule->to.v, 3);
        }
    }
}

void ts_rule_draw(ts_random *r, const ts_rule *rule, ts_image *before, ts_cell at, ts_image *after, ts_cell to, ts_cover *cover)
{
    ts_scene first, second;
    int turn = ts_rule_scenes(r, rule, &first, &second);
    ts_draw_scene(&first, 0, before, at);
    if (rule->task == TS_FIGURE_BOX) {
        ts_draw_fill(after, to, rule->back);
        for (int i = 0; i < first.count; i++) ts_draw_fill(after, ts_object_box(&first.object[i], to), rule->to);
        return;
    }
    ts_draw_scene(&second, turn, after, to);
    ts_cover own;
    switch (rule->task) {
    case TS_FIGURE_COLOURISE:
        make_grey(before, at);
        break;
    case TS_FIGURE_GREY:
        make_grey(after, to);
        break;
    case TS_FIGURE_INVERT:
        invert(after, to);
        break;
    case TS_FIGURE_DENOISE:
        add_noise(r, rule, before, at);
        break;
    case TS_FIGURE_FILL_IN:
        add_cover(r, rule, &first, before, at, cover ? cover : &own);
        break;
    default:
        break;
    }
}
