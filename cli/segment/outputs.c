/* outputs.c - the pictures of the command line and where the results of each go: to a file each where there is one picture, below
 * a folder where there are more. All of it is settled before anything is computed. */
#include "cli/segment/segment.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void clear_picture(segment_picture *p)
{
    free(p->path);
    free(p->masks);
    free(p->overlay);
    free(p->cutout);
    free(p->embedding);
    ts_image_clear(&p->kept);
}

void segment_outputs_clear(segment_job *j)
{
    for (int i = 0; i < j->pictures; i++) clear_picture(&j->picture[i]);
    free(j->picture);
    j->picture = NULL;
    j->pictures = 0;
}

void segment_drop(segment_job *j, int at)
{
    clear_picture(&j->picture[at]);
    j->pictures--;
    memmove(j->picture + at, j->picture + at + 1, (size_t)(j->pictures - at) * sizeof *j->picture);
}

/* ---- listing ---- */

/* Takes over `path` (NULL: there was no memory for it). */
static bool add_picture(segment_job *j, char *path, ts_error *err)
{
    segment_picture *grown = path ? realloc(j->picture, (size_t)(j->pictures + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(path);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    j->picture = grown;
    grown[j->pictures++] = (segment_picture){.path = path};
    return true;
}

static bool add_word(segment_job *j, const char *word, bool *folder, ts_error *err)
{
    if (!ts_is_folder(word)) return ts_check_readable(word, "picture", err) && add_picture(j, strdup(word), err);
    ts_folder list;
    *folder = true;
    if (!ts_list_pictures(word, TS_FOLDER_ALONE, &j->left_out, &list, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        ok = add_picture(j, list.picture[i], err);
        list.picture[i] = NULL;
    }
    ts_folder_clear(&list);
    return ok;
}

/* ---- naming ---- */

/* "a/b.png", but not "a/b", "a.d/b" or "a/b.png/": a name with an ending is a file's, unless a folder is there. */
static bool names_file(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    if (ts_is_standard(path)) return true;
    if (!dot || dot == base || dot[1] == '\0' || ts_is_folder(path)) return false;
    for (const char *c = dot + 1; *c; c++)
        if (!isalnum((unsigned char)*c)) return false;
    return true;
}

/* "out", of "out/". */
static char *without_slash(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return strndup(path, length);
}

/* One kind of output of every picture: `ending` in a folder, "" for a folder of its own. */
typedef struct {
    const char *option, *path, *ending;
    size_t at;                      /* of the field of a picture */
    bool (*writable)(const char *); /* the endings of a lone file; NULL: any */
    const char *endings;
} output_kind;

static char **field(segment_picture *p, const output_kind *k)
{
    return (char **)((char *)p + k->at);
}

static char *name_of(const output_kind *k, const segment_picture *p, bool below, ts_error *err)
{
    char *path = without_slash(k->path);
    if (!path || !below) return path;
    char *out = ts_path_in(path, ts_is_standard(p->path) ? "stdin" : p->path, k->ending, err);
    free(path);
    return out;
}

static bool name_one(const output_kind *k, segment_picture *p, bool below, ts_error *err)
{
    char **out = field(p, k);
    *out = name_of(k, p, below, err);
    if (!*out) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const char *slash = strrchr(*out, '/');
    return strlen(slash ? slash + 1 : *out) <= NAME_MAX ||
           ts_fail(err, TS_ERR_IO, "the name of what becomes of %.300s would be too long", p->path);
}

/* -1, or the exit status. `several`: pictures, so that each has its own below a folder. */
static int name_outputs(segment_job *j, const output_kind *k, bool several, const char **folder)
{
    ts_error err = {0};
    const bool file = names_file(k->path), one = !several && (file || k->ending[0] == '\0');
    if (file && several)
        return ts_usage_error("segment", "%s %s is one file, but there may be several pictures: name a folder", k->option,
                              k->path);
    if (file && !ts_is_standard(k->path) && k->writable && !k->writable(k->path))
        return ts_usage_error("segment", "%s %s does not end in %s", k->option, k->path, k->endings);
    if (!file && k->path[0] == '\0') return ts_usage_error("segment", "%s names nothing", k->option);
    *folder = file ? NULL : k->path;
    for (int i = 0; i < j->pictures; i++)
        if (!name_one(k, &j->picture[i], !one, &err)) return ts_report("segment", &err);
    if (file ? ts_check_writable(k->path, &err) : ts_check_folder(k->path, &err)) return -1;
    return ts_report("segment", &err);
}

/* ---- what may not be ---- */

/* A folder with masks of an earlier run: the new ones would stand among them. */
static bool check_masks(const segment_picture *p, ts_error *err)
{
    static const char *const names[] = {"0.png", "metadata.csv"};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        if (snprintf(path, sizeof path, "%s/%s", p->masks, names[i]) >= (int)sizeof path)
            return ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s", p->masks);
        if (ts_same_file(path, path))
            return ts_fail(err, TS_ERR_ARGUMENT, "folder %s holds masks already (%s): name another, or remove them", p->masks,
                           names[i]);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Results of one name: of a/x.png and b/x.png, or an overlay where the cut-out goes. */
static bool check_distinct(char **all, int count, ts_error *err)
{
    qsort(all, (size_t)count, sizeof *all, by_name);
    for (int i = 1; i < count; i++)
        if (strcmp(all[i - 1], all[i]) == 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "%s would be written twice: name another file or folder", all[i]);
    return true;
}

static bool check_no_input(const segment_job *j, const char *output, ts_error *err)
{
    const char *const files[] = {j->model, j->clip.model, j->clip.vocab, j->prior};
    if (!ts_same_file(output, output)) return true;
    const char *hit = NULL;
    for (int i = 0; i < 4; i++)
        if (files[i] && ts_same_file(output, files[i])) hit = files[i];
    for (int i = 0; i < j->pictures; i++)
        if (ts_same_file(output, j->picture[i].path)) hit = j->picture[i].path;
    return !hit || ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite the input %s", output, hit);
}

static bool check_all(segment_job *j, ts_error *err)
{
    const int most = 4 * j->pictures;
    char **all = calloc((size_t)most + 1, sizeof *all);
    if (!all) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    int n = 0;
    bool ok = true;
    for (int i = 0; ok && i < j->pictures; i++) {
        segment_picture *p = &j->picture[i];
        char *const outputs[] = {p->masks, p->overlay, p->cutout, p->embedding};
        p->encoded = p->embedding && ts_same_file(p->embedding, p->embedding);
        for (int k = 0; k < 4; k++)
            if (outputs[k]) all[n++] = outputs[k];
        if (p->masks && j->folders[0] && ts_same_file(p->masks, p->masks))
            ok = ts_check_folder(p->masks, err) && check_masks(p, err);
    }
    ok = ok && check_distinct(all, n, err);
    for (int i = 0; ok && i < n; i++) ok = check_no_input(j, all[i], err);
    free(all);
    return ok;
}

int segment_plan(segment_job *j)
{
    const output_kind kinds[] = {
        {"-o", j->out, "", offsetof(segment_picture, masks), ts_png_named, ".png, and a mask is written as PNG"},
        {"--overlay", j->overlay, ".overlay.png", offsetof(segment_picture, overlay), ts_image_writable, ts_image_endings()},
        {"--cutout", j->cutout, ".cutout.png", offsetof(segment_picture, cutout), ts_png_named,
         ".png, and a cut-out is written as PNG"},
        {"--embedding", j->embedding, ".safetensors", offsetof(segment_picture, embedding), NULL, NULL},
    };
    ts_error err = {0};
    bool several = j->words.count > 1, ok = true;
    for (int i = 0; ok && i < j->words.count; i++) ok = add_word(j, j->words.items[i], &several, &err);
    if (!ok) return ts_report("segment", &err);
    if (j->out && names_file(j->out) && !several && !j->one_mask)
        return ts_usage_error("segment", "-o %s is one file, but there may be several masks: name a folder", j->out);
    for (int i = 0; i < 4; i++) {
        const int status = kinds[i].path ? name_outputs(j, &kinds[i], several, &j->folders[i]) : -1;
        if (status >= 0) return status;
    }
    return check_all(j, &err) ? -1 : ts_report("segment", &err);
}
