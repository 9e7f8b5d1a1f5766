/* folder.c - see folder.h.
 *
 * Folders are told by device and number, so that no link leads in a circle. Links to folders wait until all that lies in the tree
 * itself has been read: what a folder is called then does not depend on which link to it comes first. */
#include "engine/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MOST_DEEP = 128 };
enum { PICTURES, FOLDERS, PROBLEMS };

static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp", ".bmp"};

bool ts_is_picture(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

const char *ts_picture_endings(void)
{
    return "png, jpg, jpeg, webp or bmp";
}

/* ---- lists ----------------------------------------------------------------------------------------------------- */

typedef struct {
    dev_t device;
    ino_t number;
    bool taken;
} identity;

typedef struct {
    ts_folder *out;
    ts_folder_depth depth;
    identity *seen; /* a hash table of the folders that were read, its room a power of two */
    size_t seen_count, seen_room;
    char **link; /* to folders, to be read last; those before `read` are */
    int64_t links, link_room;
} walk;

/* Takes over `text` (NULL: there was no memory for it). */
static bool push(char ***list, int64_t *count, int64_t *room, char *text, ts_error *err)
{
    if (text && *count == *room) {
        const int64_t wanted = *room ? 2 * *room : 64;
        char **grown = realloc(*list, (size_t)wanted * sizeof *grown);
        if (grown) {
            *list = grown;
            *room = wanted;
        } else {
            free(text);
            text = NULL;
        }
    }
    if (!text) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the list of a folder");
    (*list)[(*count)++] = text;
    return true;
}

static void free_list(char **list, int64_t count)
{
    for (int64_t i = 0; i < count; i++) free(list[i]);
    free(list);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(char **list, int64_t count)
{
    if (count > 1) qsort(list, (size_t)count, sizeof *list, by_bytes);
}

void ts_folder_clear(ts_folder *f)
{
    free_list(f->picture, f->count);
    free_list(f->folder, f->folders);
    free_list(f->problem, f->problems);
    *f = (ts_folder){0};
}

/* The place of a folder in the table, taken or free. */
static identity *place(const walk *w, dev_t device, ino_t number)
{
    const uint64_t hash = ((uint64_t)number + (uint64_t)device) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t at = (size_t)(hash >> 32);; at++) {
        identity *i = &w->seen[at & (w->seen_room - 1)];
        if (!i->taken || (i->device == device && i->number == number)) return i;
    }
}

/* Doubles the table, which is at most half full. */
static bool make_room(walk *w, ts_error *err)
{
    walk grown = *w;
    grown.seen_room = w->seen_room ? 2 * w->seen_room : 64;
    grown.seen = calloc(grown.seen_room, sizeof *grown.seen);
    if (!grown.seen) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the list of a folder");
        return false;
    }
    for (size_t i = 0; i < w->seen_room; i++)
        if (w->seen[i].taken) *place(&grown, w->seen[i].device, w->seen[i].number) = w->seen[i];
    free(w->seen);
    w->seen = grown.seen;
    w->seen_room = grown.seen_room;
    return true;
}

/* Whether the folder is new; it is not from then on. False without an error: it is not. */
static bool first_time(walk *w, const struct stat *s, ts_error *err)
{
    if ((!w->seen || 2 * w->seen_count >= w->seen_room) && !make_room(w, err)) return false;
    identity *i = place(w, s->st_dev, s->st_ino);
    if (i->taken) return false;
    *i = (identity){s->st_dev, s->st_ino, true};
    w->seen_count++;
    return true;
}

/* ---- files of other kinds --------------------------------------------------------------------------------------- */

static void count_kind(ts_folder *f, const char *ending, int64_t count)
{
    int at = 0;
    while (at < f->kinds && strcasecmp(f->kind[at].ending, ending) != 0) at++;
    if (at == TS_FOLDER_KINDS) return;
    if (at == f->kinds) {
        snprintf(f->kind[at].ending, sizeof f->kind[at].ending, "%s", ending);
        f->kinds++;
    }
    f->kind[at].count += count;
}

static void pass_over(ts_folder *f, const char *name, bool plain)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const char *dot = strrchr(name, '.'), *ending = "";
    f->passed++;
    if (!plain) {
        f->odd++;
        return;
    }
    /* Names are anybody's: what is no plain word is not repeated. */
    if (dot && dot != name && strlen(dot) < sizeof f->kind[0].ending && dot[1 + strspn(dot + 1, letters)] == '\0') ending = dot;
    count_kind(f, ending, 1);
}

static int by_ending(const void *a, const void *b)
{
    return strcasecmp(a, b); /* the ending is an entry's first member */
}

static void sort_kinds(ts_folder *f)
{
    if (f->kinds > 1) qsort(f->kind, (size_t)f->kinds, sizeof *f->kind, by_ending);
}

void ts_folder_add_passed(ts_folder *sum, const ts_folder *f)
{
    sum->passed += f->passed;
    sum->odd += f->odd;
    for (int i = 0; i < f->kinds; i++) count_kind(sum, f->kind[i].ending, f->kind[i].count);
    sort_kinds(sum);
}

const char *ts_folder_passed(const ts_folder *f, char *out, size_t room)
{
    out[0] = '\0';
    if (f->passed == 0) return out;
    size_t used =
        (size_t)snprintf(out, room, "passed over %lld file%s of other kinds (", (long long)f->passed, f->passed == 1 ? "" : "s");
    int64_t left = f->passed - f->odd;
    const char *comma = "";
    for (int i = 0; i < f->kinds && used < room; i++, comma = ", ") {
        const char *ending = f->kind[i].ending;
        used += (size_t)snprintf(out + used, room - used, "%s%lld %s", comma, (long long)f->kind[i].count,
                                 *ending ? ending : "without an ending");
        left -= f->kind[i].count;
    }
    if (left > 0 && used < room) used += (size_t)snprintf(out + used, room - used, ", %lld others", (long long)left);
    if (f->odd > 0 && used < room)
        used +=
            (size_t)snprintf(out + used, room - used, "%s%lld no plain file%s", comma, (long long)f->odd, f->odd == 1 ? "" : "s");
    if (used < room) snprintf(out + used, room - used, ")");
    return out;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool is_nobodys(const char *name)
{
    return name[0] == '.' || strcmp(name, "__MACOSX") == 0;
}

static char *join(const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    char *out = NULL;
    return asprintf(&out, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name) < 0 ? NULL : out;
}

/* One entry: a picture, a folder (in `below`), a link to one, or something else. Takes over `path`. */
static bool sort_entry(walk *w, char *path, const char *name, char ***below, int64_t *count, int64_t *room, ts_error *err)
{
    ts_folder *f = w->out;
    struct stat s, own;
    if (!path) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the list of a folder");
    const bool there = stat(path, &s) == 0;
    if (there && S_ISDIR(s.st_mode)) {
        if (w->depth == TS_FOLDER_ALONE) return push(&f->folder, &f->folders, &f->room[FOLDERS], path, err);
        const bool link = lstat(path, &own) == 0 && S_ISLNK(own.st_mode);
        return link ? push(&w->link, &w->links, &w->link_room, path, err) : push(below, count, room, path, err);
    }
    if (ts_is_picture(name) && (!there || S_ISREG(s.st_mode))) return push(&f->picture, &f->count, &f->room[PICTURES], path, err);
    pass_over(f, name, !there || S_ISREG(s.st_mode));
    free(path);
    return true;
}

/* Notes a folder that cannot be read, unless memory is what is missing. */
static bool note_problem(walk *w, const char *folder, ts_error *err)
{
    char *text = NULL;
    if (errno == ENOMEM || asprintf(&text, "folder %s cannot be read: %s", folder, strerror(errno)) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the list of folder %s", folder);
    return push(&w->out->problem, &w->out->problems, &w->out->room[PROBLEMS], text, err);
}

static bool read_folder(walk *w, const char *folder, int deep, ts_error *err)
{
    struct stat s;
    char **below = NULL;
    int64_t count = 0, room = 0;
    ts_error why = {0};
    if (stat(folder, &s) != 0) return note_problem(w, folder, err);
    if (!first_time(w, &s, &why)) return !why.code || ts_fail(err, why.code, "%s", why.text);
    DIR *dir = opendir(folder);
    if (!dir) return note_problem(w, folder, err);
    bool ok = true;
    errno = 0;
    for (struct dirent *entry; ok && (entry = readdir(dir)); errno = 0)
        if (!is_nobodys(entry->d_name))
            ok = sort_entry(w, join(folder, entry->d_name), entry->d_name, &below, &count, &room, err);
    if (ok && errno != 0) ok = note_problem(w, folder, err);
    closedir(dir); /* before those below are read: however deep they lie, one folder is open */
    sort(below, count);
    for (int64_t i = 0; ok && i < count; i++) {
        errno = ELOOP;
        ok = deep < MOST_DEEP ? read_folder(w, below[i], deep + 1, err) : note_problem(w, below[i], err);
    }
    free_list(below, count);
    return ok;
}

bool ts_folder_list(const char *path, ts_folder_depth depth, ts_folder *out, ts_error *err)
{
    walk w = {.out = out, .depth = depth};
    *out = (ts_folder){0};
    DIR *dir = opendir(path); /* one below that cannot be read is left out, but not this one */
    if (!dir)
        return ts_fail(err, errno == ENOMEM ? TS_ERR_MEMORY : TS_ERR_IO, "folder %s cannot be read: %s", path, strerror(errno));
    closedir(dir);
    bool ok = read_folder(&w, path, 0, err);
    /* Links in rounds, each sorted: those that are found through links wait for the next. */
    for (int64_t at = 0, end; ok && at < w.links; at = end) {
        end = w.links;
        sort(w.link + at, end - at);
        for (int64_t i = at; ok && i < end; i++) ok = read_folder(&w, w.link[i], 0, err);
    }
    free_list(w.link, w.links);
    free(w.seen);
    sort(out->picture, out->count);
    sort(out->folder, out->folders);
    sort_kinds(out);
    if (!ok) ts_folder_clear(out);
    return ok;
}
