/* voc.c - Pascal VOC's folders: where pictures, masks and annotations are, the lists of the four folds, and the pictures of one
 * thing. What a list names must be there: that is asked before any work. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/eval/protocol.h"

static const char *const CLASSES[EVAL_CLASSES] = {
    "aeroplane",   "bicycle", "bird",  "boat",      "bottle", "bus",         "car",   "cat",  "chair", "cow",
    "diningtable", "dog",     "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"};

/* ---- pictures ---- */

static void picture_clear(const eval_picture *p)
{
    free(p->name);
    free(p->path);
    free(p->mask);
}

/* For one more. */
static bool make_room(eval_pictures *p)
{
    if (p->count < p->room) return true;
    const int room = p->room ? 2 * p->room : 64;
    eval_picture *grown = realloc(p->item, (size_t)room * sizeof *grown);
    if (!grown) return false;
    p->item = grown;
    p->room = room;
    return true;
}

bool eval_pictures_add(eval_pictures *p, const eval_picture *picture, ts_error *err)
{
    if (picture->name && picture->path && make_room(p)) {
        p->item[p->count++] = *picture;
        return true;
    }
    picture_clear(picture);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for a list of pictures");
}

const eval_picture *eval_pictures_find(const eval_pictures *p, const char *name)
{
    for (int i = p->count - 1; i >= 0; i--)
        if (strcmp(p->item[i].name, name) == 0) return &p->item[i];
    return NULL;
}

void eval_pictures_clear(eval_pictures *p)
{
    for (int i = 0; i < p->count; i++) picture_clear(&p->item[i]);
    free(p->item);
    *p = (eval_pictures){0};
}

/* ---- folders ---- */

/* "ROOT/FOLDER/NAME.ending"; free(). NULL: out of memory. */
static char *path_of(const char *root, const char *folder, const char *name, const char *ending)
{
    char *out = NULL;
    return asprintf(&out, "%s/%s/%s.%s", root, folder, name, ending) < 0 ? NULL : out;
}

static bool has_folder(const char *root, const char *below)
{
    char path[4200];
    return snprintf(path, sizeof path, "%s/%s", root, below) < (int)sizeof path && ts_is_folder(path);
}

bool eval_voc_root(eval_task *t, ts_error *err)
{
    static const char *const below[] = {"", "/VOC2012", "/VOCdevkit/VOC2012"};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        snprintf(t->root, sizeof t->root, "%s%s", t->folders.items[0], below[i]);
        t->other_masks = !has_folder(t->root, "SegmentationClassAug");
        if (has_folder(t->root, "JPEGImages")) return true;
    }
    return ts_fail(err, TS_ERR_IO, "%s holds no JPEGImages: wanted is VOC's folder VOC2012", t->folders.items[0]);
}

bool eval_voc_splits(eval_task *t, ts_error *err)
{
    static const char *const places[] = {"", "/..", "/../.."};
    if (t->splits_given) {
        snprintf(t->splits, sizeof t->splits, "%s", t->splits_given);
        return has_folder(t->splits, "val") ||
               ts_fail(err, TS_ERR_IO, "--splits %s holds no folder val with the lists of the folds", t->splits_given);
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[4096 + 32];
        snprintf(path, sizeof path, "%s%s/splits/pascal", t->root, places[i]);
        if (!has_folder(path, "val")) continue;
        snprintf(t->splits, sizeof t->splits, "%.*s", (int)sizeof t->splits - 1, path);
        return true;
    }
    return ts_fail(
        err, TS_ERR_IO,
        "the lists of the folds are missing: --splits DIR, a folder with val/fold0.txt and so on, as evaluate/splits/pascal "
        "of github.com/amirbar/visual_prompting");
}

/* ---- lists ---- */

typedef struct {
    const char *path;
    int number; /* of the line */
} place;

/* A line into `out`; what it names must be there. */
typedef bool (*line_fn)(const eval_task *t, const place *at, char *line, double most, eval_pictures *out, ts_error *err);

static bool read_list(const eval_task *t, const char *path, line_fn take, double most, eval_pictures *out, ts_error *err)
{
    FILE *f = fopen(path, "r");
    if (!f) return ts_fail(err, TS_ERR_IO, "%s cannot be opened: %s", path, strerror(errno));
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (place at = {path, 1}; ok && getline(&line, &room, f) >= 0; at.number++) {
        char *rest = line + strspn(line, " \t\r\n"), *word = strsep(&rest, " \t\r\n");
        if (word && *word) ok = take(t, &at, word, most, out, err);
    }
    free(line);
    fclose(f);
    return ok && (out->count > 0 || ts_fail(err, TS_ERR_FORMAT, "%s names no picture", path));
}

static bool is_there(const place *at, const char *path, const char *what, ts_error *err)
{
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return access(path, R_OK) == 0 || ts_fail(err, TS_ERR_IO, "%s, line %d: there is no %s %s", at->path, at->number, what, path);
}

static bool take_of_fold(const eval_task *t, const place *at, char *line, double most, eval_pictures *out, ts_error *err)
{
    (void)most;
    char *mark = strstr(line, "__");
    int number = 0, used = 0;
    if (!mark || mark == line || strchr(line, '/') || sscanf(mark, "__%2d%n", &number, &used) != 1 || mark[used] || number < 1 ||
        number > EVAL_CLASSES)
        return ts_fail(err, TS_ERR_FORMAT, "%s, line %d is not NAME__CC, CC a class from 01 to %d: %.60s", at->path, at->number,
                       EVAL_CLASSES, line);
    *mark = '\0';
    eval_picture p = {.name = strdup(line),
                      .path = path_of(t->root, "JPEGImages", line, "jpg"),
                      .mask = path_of(t->root, t->other_masks ? "SegmentationClass" : "SegmentationClassAug", line, "png"),
                      .number = number};
    if (is_there(at, p.path, "picture", err) && is_there(at, p.mask, "mask", err)) return eval_pictures_add(out, &p, err);
    picture_clear(&p);
    return false;
}

bool eval_voc_fold(const eval_task *t, const char *list, eval_pictures *out, ts_error *err)
{
    return read_list(t, list, take_of_fold, 0, out, err);
}

/* ---- annotations ---- */

enum { DEPTH = 16 };

typedef struct {
    const char *at;
    size_t size;
} words;

static bool is_word(const words *w, const char *text)
{
    return w->size == strlen(text) && memcmp(w->at, text, w->size) == 0;
}

static double number_of(const words *w)
{
    char text[32], *end;
    if (w->size == 0 || w->size >= sizeof text) return (double)NAN;
    memcpy(text, w->at, w->size);
    text[w->size] = '\0';
    const double value = strtod(text, &end);
    return *end == '\0' ? value : (double)NAN;
}

static words trimmed(const char *from, const char *to)
{
    while (from < to && strchr(" \t\r\n", *from)) from++;
    while (from < to && strchr(" \t\r\n", to[-1])) to--;
    return (words){from, (size_t)(to - from)};
}

/* The text of an element that holds no others; `path` are its parents' names and its own. Parts of a thing have names and boxes
 * as well: they stand deeper. */
static void take_text(const words *path, int depth, const words *text, eval_annotation *out)
{
    const double number = number_of(text);
    const bool in_size = depth == 3 && is_word(&path[1], "size"), first = out->objects == 1 && is_word(&path[1], "object");
    const bool sane = number >= 0 && number < 1e9;
    if (in_size && sane && is_word(&path[2], "width")) out->width = (int64_t)number;
    if (in_size && sane && is_word(&path[2], "height")) out->height = (int64_t)number;
    if (first && depth == 3 && is_word(&path[2], "name")) {
        out->number = 0;
        for (int i = 0; i < EVAL_CLASSES; i++)
            if (is_word(text, CLASSES[i])) out->number = i + 1;
    }
    if (!first || depth != 4 || !is_word(&path[2], "bndbox")) return;
    if (is_word(&path[3], "xmin")) out->x0 = number;
    if (is_word(&path[3], "ymin")) out->y0 = number;
    if (is_word(&path[3], "xmax")) out->x1 = number;
    if (is_word(&path[3], "ymax")) out->y1 = number;
}

/* Behind what begins at `at` with "<?", "<!" or "<!--"; NULL: it has no end. */
static const char *pass_by(const char *at)
{
    const char *mark = strncmp(at, "<!--", 4) == 0 ? "-->" : at[1] == '?' ? "?>" : ">", *end = strstr(at + 2, mark);
    return end ? end + strlen(mark) : NULL;
}

bool eval_annotation_read(const char *text, eval_annotation *out)
{
    words path[DEPTH];
    int depth = 0;
    bool leaf = false, seen = false; /* leaf: the last tag opened the element that we are in */
    *out = (eval_annotation){.x0 = (double)NAN, .y0 = (double)NAN, .x1 = (double)NAN, .y1 = (double)NAN};
    const char *inside = text;
    for (const char *at = text; (at = strchr(at, '<'));) {
        if (at[1] == '?' || at[1] == '!') {
            if (!(at = pass_by(at))) return false;
            continue;
        }
        const char *end = strchr(at, '>');
        const bool closes = at[1] == '/';
        if (!end) return false;
        const char *name = at + 1 + closes;
        const words tag = {name, strcspn(name, " \t\r\n/>")};
        if (closes) {
            if (depth == 0 || tag.size != path[depth - 1].size || memcmp(tag.at, path[depth - 1].at, tag.size) != 0) return false;
            const words within = trimmed(inside, at);
            if (leaf) take_text(path, depth, &within, out);
            depth--;
            leaf = false;
        } else if (end[-1] != '/') {
            if (depth == DEPTH || tag.size == 0 || (depth == 0 && (seen || !is_word(&tag, "annotation")))) return false;
            path[depth++] = tag;
            leaf = seen = true;
            if (depth == 2 && is_word(&tag, "object")) out->objects++;
        }
        at = inside = end + 1;
    }
    return seen && depth == 0;
}

static char *read_text(const char *path, ts_error *err)
{
    enum { MOST = 1 << 20 };
    FILE *f = fopen(path, "r");
    char *text = malloc(MOST + 1);
    size_t size = f && text ? fread(text, 1, MOST + 1, f) : 0;
    const bool ok = text && size <= MOST;
    if (ok) text[size] = '\0';
    else
        ts_fail(err, text ? TS_ERR_FORMAT : TS_ERR_MEMORY, text ? "%s is too large for an annotation" : "no memory to read %s",
                path);
    if (f) fclose(f);
    if (ok) return text;
    free(text);
    return NULL;
}

static bool read_annotation(const char *path, eval_annotation *out, ts_error *err)
{
    char *text = read_text(path, err);
    if (!text) return false;
    bool ok = eval_annotation_read(text, out);
    free(text);
    if (!ok) return ts_fail(err, TS_ERR_FORMAT, "%s is no annotation of VOC", path);
    if (out->objects != 1) return true;
    ok = out->number > 0 && out->width > 0 && out->height > 0 && isfinite(out->x0 + out->y0 + out->x1 + out->y1);
    return ok ||
           ts_fail(err, TS_ERR_FORMAT, "%s does not tell the size of the picture, and one of VOC's classes and its box", path);
}

static bool take_single(const eval_task *t, const place *at, char *line, double most, eval_pictures *out, ts_error *err)
{
    eval_annotation about;
    if (strchr(line, '/')) return ts_fail(err, TS_ERR_FORMAT, "%s, line %d is no picture's name", at->path, at->number);
    char *path = path_of(t->root, "Annotations", line, "xml");
    const bool ok = is_there(at, path, "annotation", err) && read_annotation(path, &about, err);
    free(path);
    if (!ok) return false;
    /* Their numbers begin with 1, and the last pixel is within. */
    const double area = (about.x1 - (about.x0 - 1)) * (about.y1 - (about.y0 - 1));
    if (about.objects != 1 || !(area / ((double)about.width * (double)about.height) < most)) return true;
    eval_picture p = {.name = strdup(line),
                      .path = path_of(t->root, "JPEGImages", line, "jpg"),
                      .number = about.number,
                      .x0 = (float)(about.x0 - 1),
                      .y0 = (float)(about.y0 - 1),
                      .x1 = (float)about.x1,
                      .y1 = (float)about.y1};
    if (is_there(at, p.path, "picture", err)) return eval_pictures_add(out, &p, err);
    picture_clear(&p);
    return false;
}

bool eval_voc_single(const eval_task *t, const char *set, double most, eval_pictures *out, ts_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/ImageSets/Main/%s.txt", t->root, set);
    return read_list(t, path, take_single, most, out, err);
}
