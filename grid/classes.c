/* classes.c - pictures with words: scenes with a sentence that tells what is in them, which a small CLIP learns from, and twelve
 * labelled classes, which its prompts are tuned on. The classes are called as the sentences call such things, but they are drawn
 * otherwise: in the light of another lamp, smaller, cluttered, noisy, partly as outlines. So a model that knows the sentences
 * knows the classes half, as the published CLIP does satellite pictures or textures, and a prompt has something to learn. */
#include <stdio.h>
#include <string.h>

#include "grid/figures.h"

enum { CONTRAST = 170, TRIES = 30 };

typedef struct {
    const char *name;
    ts_colour colour;
} named_colour;

static const named_colour COLOURS[] = {{"red", {{220, 35, 35}}},     {"green", {{40, 165, 60}}},   {"blue", {{45, 75, 220}}},
                                       {"yellow", {{240, 215, 45}}}, {"orange", {{245, 140, 35}}}, {"purple", {{140, 55, 170}}},
                                       {"pink", {{245, 135, 185}}},  {"brown", {{125, 80, 45}}},   {"black", {{22, 22, 22}}},
                                       {"white", {{240, 240, 240}}}, {"grey", {{128, 128, 128}}},  {"cyan", {{70, 205, 220}}}};
enum { RED = 0, BLUE = 2, BLACK = 8, WHITE = 9, COLOUR_COUNT = sizeof COLOURS / sizeof *COLOURS };

/* What a thing's surface is called; flat ones are called by their colour. */
static const char *const PATTERN[] = {
    [TS_PAINT_FLAT] = NULL, [TS_PAINT_STRIPES] = "striped", [TS_PAINT_CHECKS] = "checkered", [TS_PAINT_DOTS] = "dotted"};
static const ts_paint_kind PATTERNS[] = {TS_PAINT_STRIPES, TS_PAINT_CHECKS, TS_PAINT_DOTS};

static const struct {
    const char *name;
    ts_shape shape;
} SHAPES[] = {{"circle", TS_SHAPE_CIRCLE},     {"square", TS_SHAPE_SQUARE}, {"triangle", TS_SHAPE_TRIANGLE},
              {"star", TS_SHAPE_STAR},         {"ring", TS_SHAPE_RING},     {"cross", TS_SHAPE_CROSS},
              {"pentagon", TS_SHAPE_PENTAGON}, {"heart", TS_SHAPE_HEART},   {"crescent", TS_SHAPE_CRESCENT},
              {"arrow", TS_SHAPE_ARROW}};
enum { CIRCLE, SQUARE, TRIANGLE, STAR, SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES };

/* A thing of a sentence. */
typedef struct {
    int shape, colour, second; /* second: of a pattern */
    ts_paint_kind kind;
} thing;

static ts_colour jitter(ts_random *r, ts_colour c, int most)
{
    for (int i = 0; i < 3; i++) {
        int v = c.v[i] + ts_random_int(r, -most, most);
        c.v[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    return c;
}

/* A unit vector in any direction but nearly none, or close to upright. */
static void turn(ts_random *r, bool anyhow, float *x, float *y)
{
    float t = ts_random_real(r, anyhow ? -1 : -0.15f, anyhow ? 1 : 0.15f), scale = 1 / (1 + t * t);
    *x = (1 - t * t) * scale;
    *y = 2 * t * scale;
    if (!anyhow) return;
    int quarter = ts_random_int(r, 0, 3);
    for (; quarter > 0; quarter--) {
        float swap = *x;
        *x = -*y;
        *y = swap;
    }
}

static bool apart(int colour, const ts_paint *ground, int least)
{
    ts_colour c = COLOURS[colour].colour;
    return ts_colour_apart(c, ground->a) >= least && ts_colour_apart(c, ground->b) >= least;
}

static int colour_unlike(ts_random *r, const ts_paint *ground)
{
    int best = ts_random_int(r, 0, COLOUR_COUNT - 1);
    for (int i = 0; i < TRIES && !apart(best, ground, CONTRAST); i++) best = ts_random_int(r, 0, COLOUR_COUNT - 1);
    return best;
}

static void second_colour(ts_random *r, thing *t)
{
    ts_paint own = {.a = COLOURS[t->colour].colour, .b = COLOURS[t->colour].colour};
    if (ts_random_chance(r, 0.6f)) t->second = apart(WHITE, &own, 2 * CONTRAST) ? WHITE : BLACK;
    else t->second = colour_unlike(r, &own);
}

static void surface(ts_random *r, const thing *t, ts_paint *out)
{
    *out = (ts_paint){.kind = t->kind, .a = jitter(r, COLOURS[t->colour].colour, 14)};
    out->b = t->kind == TS_PAINT_FLAT ? out->a : jitter(r, COLOURS[t->second].colour, 14);
    turn(r, true, &out->dx, &out->dy);
    out->scale = t->kind == TS_PAINT_STRIPES ? ts_random_real(r, 2.5f, 4) : ts_random_real(r, 3.5f, 5);
}

/* The ground, of a colour that has a name; a pattern there is pale, in two shades. Returns the colour. */
static int make_ground(ts_random *r, ts_paint_kind kind, ts_paint *out)
{
    int colour = ts_random_chance(r, 0.3f) ? WHITE : ts_random_int(r, 0, COLOUR_COUNT - 1);
    *out = (ts_paint){.kind = kind, .a = jitter(r, COLOURS[colour].colour, 14)};
    out->b = out->a;
    float shade = ts_random_real(r, 0.2f, 0.35f), end = ts_colour_grey(out->a) < 128 ? 255 : 0;
    for (int i = 0; kind != TS_PAINT_FLAT && i < 3; i++)
        out->b.v[i] = (uint8_t)((float)out->a.v[i] + (end - (float)out->a.v[i]) * shade);
    turn(r, true, &out->dx, &out->dy);
    out->scale = ts_random_real(r, 5, 9);
    out->seed = (uint32_t)ts_random_next(r);
    return colour;
}

static void put(ts_random *r, const thing *t, float radius, float x, float y, bool anyhow, ts_scene *s)
{
    ts_object *o = &s->object[s->count++];
    *o = (ts_object){.shape = SHAPES[t->shape].shape, .x = x, .y = y, .radius = radius};
    turn(r, anyhow, &o->cos, &o->sin);
    surface(r, t, &o->fill);
}

/* Draws its outline and nothing inside. */
static void hollow(ts_random *r, ts_scene *s)
{
    ts_object *o = &s->object[s->count - 1];
    o->line = o->fill.a;
    o->line_width = o->radius * ts_random_real(r, 0.16f, 0.26f);
    o->radius -= o->line_width * 0.5f;
    o->fill = (ts_paint){.kind = TS_PAINT_FLAT, .a = s->background.a, .b = s->background.a};
}

/* ---- captions ----------------------------------------------------------------------------------------------------- */

/* Grows a sentence; what does not fit is left out, which no sentence of ours is long enough for. */
typedef struct {
    char *at;
    size_t room;
} sentence;

static void say(sentence *s, const char *text)
{
    size_t n = strlen(text);
    if (n >= s->room) return;
    memcpy(s->at, text, n + 1);
    s->at += n;
    s->room -= n;
}

static void say_with_article(sentence *s, const char *words)
{
    say(s, strchr("aeiou", words[0]) ? "an " : "a ");
    say(s, words);
}

/* "big red and white striped square". `size` may be "". */
static void name_thing(ts_random *r, const thing *t, const char *size, char *out, size_t room)
{
    const char *colour = COLOURS[t->colour].name, *pattern = PATTERN[t->kind], *shape = SHAPES[t->shape].name;
    float how = ts_random_real(r, 0, 1);
    if (!pattern) snprintf(out, room, "%s%s %s", size, colour, shape);
    else if (how < 0.6f) snprintf(out, room, "%s%s %s", size, pattern, shape);
    else if (how < 0.8f) snprintf(out, room, "%s%s %s %s", size, colour, pattern, shape);
    else snprintf(out, room, "%s%s and %s %s %s", size, colour, COLOURS[t->second].name, pattern, shape);
}

/* '@' stands for the thing with its article, '%' for the ground, '*' for the place. */
static const char *const ONE[] = {"a photo of @.",
                                  "a photo of @.",
                                  "a photo of @.",
                                  "a picture of @.",
                                  "an image of @.",
                                  "this is @.",
                                  "there is @ in this picture.",
                                  "@",
                                  "@ on % background",
                                  "a photo of @ on % background.",
                                  "@ in front of % background.",
                                  "a picture of @ *.",
                                  "@ *",
                                  "% background with @ on it",
                                  "we see @ *."};
static const char *const HOLLOW[] = {"an outline of @.", "a drawing of @.", "a line drawing of @ on % background.",
                                     "the outline of @"};

static void fill_in(const char *template, const char *things, const char *ground, const char *place, sentence *s)
{
    for (const char *c = template; *c; c++) {
        if (*c == '@') say_with_article(s, things);
        else if (*c == '%') say_with_article(s, ground);
        else if (*c == '*') say(s, place);
        else say(s, (char[]){*c, '\0'});
    }
}

static const char *place_name(float x, float y)
{
    static const char *const names[3][3] = {{"at the top left", "at the top", "at the top right"},
                                            {"on the left", "in the middle", "on the right"},
                                            {"at the bottom left", "at the bottom", "at the bottom right"}};
    return names[y < 0.42f ? 0 : y > 0.58f ? 2 : 1][x < 0.42f ? 0 : x > 0.58f ? 2 : 1];
}

static thing random_thing(ts_random *r, const ts_paint *ground)
{
    thing t = {.kind = TS_PAINT_FLAT};
    t.shape = ts_random_int(r, 0, SHAPE_COUNT - 1);
    t.colour = colour_unlike(r, ground);
    if (ts_random_chance(r, 0.4f)) t.kind = PATTERNS[ts_random_int(r, 0, 2)];
    second_colour(r, &t);
    return t;
}

static const char *random_template(ts_random *r, bool is_hollow)
{
    if (is_hollow) return HOLLOW[ts_random_int(r, 0, (int)(sizeof HOLLOW / sizeof *HOLLOW) - 1)];
    return ONE[ts_random_int(r, 0, (int)(sizeof ONE / sizeof *ONE) - 1)];
}

static void one_thing(ts_random *r, const char *ground, ts_scene *s, sentence *text)
{
    char words[96];
    thing t = random_thing(r, &s->background);
    float radius = ts_random_real(r, 0.17f, 0.4f), edge = 0.9f * radius + 0.03f;
    float x = ts_random_real(r, edge, 1 - edge), y = ts_random_real(r, edge, 1 - edge);
    bool is_hollow = t.kind == TS_PAINT_FLAT && ts_random_chance(r, 0.12f);
    put(r, &t, radius, x, y, ts_random_chance(r, 0.3f), s);
    if (is_hollow) hollow(r, s);
    const char *size = !ts_random_chance(r, 0.3f) ? "" : radius > 0.32f ? "big " : radius < 0.24f ? "small " : "";
    name_thing(r, &t, size, words, sizeof words);
    fill_in(random_template(r, is_hollow), words, ground, place_name(x, y), text);
}

/* Side by side, or one above the other. */
static void two_things(ts_random *r, ts_scene *s, sentence *text)
{
    static const char *const across[] = {" and ", " next to ", " to the left of "};
    static const char *const down[] = {" and ", " above ", " over "};
    char first[96], second[96];
    bool beside = ts_random_chance(r, 0.5f);
    thing t[2];
    t[0] = random_thing(r, &s->background);
    t[1] = random_thing(r, &s->background);
    for (int i = 0; i < 2; i++) {
        float radius = ts_random_real(r, 0.15f, 0.22f);
        float along = (i ? 0.74f : 0.26f) + ts_random_real(r, -0.03f, 0.03f), other = ts_random_real(r, 0.3f, 0.7f);
        put(r, &t[i], radius, beside ? along : other, beside ? other : along, ts_random_chance(r, 0.3f), s);
    }
    name_thing(r, &t[0], "", first, sizeof first);
    name_thing(r, &t[1], "", second, sizeof second);
    if (ts_random_chance(r, 0.4f)) say(text, "a photo of ");
    say_with_article(text, first);
    say(text, (beside ? across : down)[ts_random_int(r, 0, 2)]);
    say_with_article(text, second);
}

static bool check_side(int side, ts_error *err)
{
    return (side >= 8 && side <= 4096) ||
           ts_fail(err, TS_ERR_ARGUMENT, "a figure of %d pixels a side is not possible: 8 to 4096", side);
}

bool ts_caption_draw(int side, uint64_t seed, ts_image *out, char text[TS_CAPTION_ROOM], ts_error *err)
{
    static const ts_paint_kind grounds[] = {TS_PAINT_FLAT,     TS_PAINT_FLAT,    TS_PAINT_FLAT,   TS_PAINT_FLAT, TS_PAINT_FLAT,
                                            TS_PAINT_GRADIENT, TS_PAINT_STRIPES, TS_PAINT_CHECKS, TS_PAINT_DOTS, TS_PAINT_NOISE};
    ts_random r;
    ts_scene s = {0};
    sentence words = {text, TS_CAPTION_ROOM};
    if (!check_side(side, err) || !ts_image_new(side, side, out, err)) return false;
    ts_random_seed(&r, seed);
    ts_paint_kind kind = grounds[ts_random_int(&r, 0, (int)(sizeof grounds / sizeof *grounds) - 1)];
    int colour = make_ground(&r, kind, &s.background);
    bool textured = kind == TS_PAINT_STRIPES || kind == TS_PAINT_CHECKS || kind == TS_PAINT_DOTS;
    const char *ground = textured ? PATTERN[kind] : COLOURS[colour].name;
    if (ts_random_chance(&r, 0.8f)) one_thing(&r, ground, &s, &words);
    else two_things(&r, &s, &words);
    ts_draw_scene(&s, 0, out, (ts_cell){0, 0, side, side});
    return true;
}

/* ---- classes ------------------------------------------------------------------------------------------------------ */

/* Three of each shape and three of each surface, sorted by name: neither alone tells the class, and both halves have all four. */
static const struct {
    const char *name;
    int shape;
    ts_paint_kind kind;
    int colour; /* of flat ones */
} CLASSES[TS_FIGURE_CLASSES] = {{"blue circle", CIRCLE, TS_PAINT_FLAT, BLUE},     {"blue square", SQUARE, TS_PAINT_FLAT, BLUE},
                                {"blue triangle", TRIANGLE, TS_PAINT_FLAT, BLUE}, {"dotted square", SQUARE, TS_PAINT_DOTS, 0},
                                {"dotted star", STAR, TS_PAINT_DOTS, 0},          {"dotted triangle", TRIANGLE, TS_PAINT_DOTS, 0},
                                {"red circle", CIRCLE, TS_PAINT_FLAT, RED},       {"red star", STAR, TS_PAINT_FLAT, RED},
                                {"red triangle", TRIANGLE, TS_PAINT_FLAT, RED},   {"striped circle", CIRCLE, TS_PAINT_STRIPES, 0},
                                {"striped square", SQUARE, TS_PAINT_STRIPES, 0},  {"striped star", STAR, TS_PAINT_STRIPES, 0}};

const char *ts_figure_class_name(int number)
{
    return number >= 0 && number < TS_FIGURE_CLASSES ? CLASSES[number].name : NULL;
}

/* The light of another lamp: each channel takes a share of the one before it, contrast fades, and the sensor is noisy. */
static void other_light(ts_random *r, float shift, ts_image *img)
{
    float share = 0.9f * shift, fade = 1 - 0.3f * shift, grain = 16 * shift;
    int64_t pixels = (int64_t)img->width * img->height;
    for (int64_t i = 0; i < pixels; i++) {
        uint8_t *v = img->data + i * 3;
        float in[3] = {v[0], v[1], v[2]};
        for (int c = 0; c < 3; c++) {
            float mixed = in[c] + (in[(c + 2) % 3] - in[c]) * share;
            float x = 128 + (mixed - 128) * fade + ts_random_real(r, -grain, grain);
            v[c] = (uint8_t)(x < 0 ? 0 : x > 254.5f ? 255 : x + 0.5f);
        }
    }
}

/* Small shapes of no class, under the thing. */
static void clutter(ts_random *r, float shift, ts_scene *s)
{
    int count = (int)(shift * ts_random_real(r, 0, 4));
    for (int i = 0; i < count && i < TS_SCENE_OBJECTS - 1; i++) {
        thing t = {.kind = TS_PAINT_FLAT};
        t.shape = ts_random_int(r, 4, SHAPE_COUNT - 1);
        t.colour = ts_random_int(r, 0, COLOUR_COUNT - 1);
        float radius = ts_random_real(r, 0.06f, 0.1f), x = ts_random_real(r, 0.05f, 0.95f), y = ts_random_real(r, 0.05f, 0.95f);
        put(r, &t, radius, x, y, true, s);
    }
}

bool ts_figure_class_draw(int number, int side, float shift, uint64_t seed, ts_image *out, ts_error *err)
{
    static const ts_paint_kind grounds[] = {TS_PAINT_FLAT, TS_PAINT_GRADIENT, TS_PAINT_NOISE, TS_PAINT_STROKES};
    ts_random r;
    ts_scene s = {0};
    if (number < 0 || number >= TS_FIGURE_CLASSES)
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no figure class %d: 0 to %d", number, TS_FIGURE_CLASSES - 1);
    if (!(shift >= 0 && shift <= 1)) return ts_fail(err, TS_ERR_ARGUMENT, "a shift of %g is not possible: 0 to 1", (double)shift);
    if (!check_side(side, err) || !ts_image_new(side, side, out, err)) return false;
    ts_random_seed(&r, ts_random_mix(seed) + (uint64_t)number);
    thing t = {.shape = CLASSES[number].shape, .kind = CLASSES[number].kind, .colour = CLASSES[number].colour};
    int tries = 0;
    do {
        make_ground(&r, grounds[ts_random_int(&r, 0, 3)], &s.background);
    } while (t.kind == TS_PAINT_FLAT && !apart(t.colour, &s.background, CONTRAST) && ++tries < TRIES);
    s.stroke_width = ts_random_real(&r, 0.02f, 0.05f);
    for (int i = 0; i < TS_SCENE_STROKES; i++)
        for (int k = 0; k < 4; k++) s.stroke[i][k] = ts_random_real(&r, -0.1f, 1.1f);
    if (t.kind != TS_PAINT_FLAT) t.colour = colour_unlike(&r, &s.background);
    second_colour(&r, &t);
    clutter(&r, shift, &s);
    float radius = ts_random_real(&r, 0.24f - 0.08f * shift, 0.38f - 0.1f * shift), edge = 0.9f * radius + 0.03f;
    float x = ts_random_real(&r, edge, 1 - edge), y = ts_random_real(&r, edge, 1 - edge);
    put(&r, &t, radius, x, y, ts_random_chance(&r, 0.3f + 0.5f * shift), &s);
    if (t.kind == TS_PAINT_FLAT && ts_random_chance(&r, 0.4f * shift)) hollow(&r, &s);
    ts_draw_scene(&s, 0, out, (ts_cell){0, 0, side, side});
    other_light(&r, shift, out);
    return true;
}
