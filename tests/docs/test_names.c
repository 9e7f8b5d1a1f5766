/* The documents name what is there: every path of the project, every link and every function of the library in README.md,
 * CONTRIBUTING.md and docs/ is looked for in the tree.
 *
 * A user's own files are named too (`photos/`, `out.png`), so not all that looks like a path is one of ours: what begins with a
 * folder of the project, and what ends as a source or a document does. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tree.h"

static int faults;
static char *sources; /* all but this one, one behind the other */

/* `about`: the document and its line, for the message. */
typedef struct {
    const char *file;
    int line;
} place;

static void missing(place p, const char *what, const char *why)
{
    if (p.line > 0) print_error("%s:%d: %s %s\n", p.file, p.line, what, why);
    faults++;
}

/* A path, in which '*' or NAME may stand for a part of a name. */
static bool there(const char *path)
{
    char bare[512];
    size_t length = 0;
    for (const char *c = path; *c && length + 1 < sizeof bare; c++) {
        const bool any = strncmp(c, "NAME", 4) == 0;
        bare[length++] = *c;
        if (any) bare[length - 1] = '*';
        if (any) c += 3;
    }
    while (length > 1 && bare[length - 1] == '/') length--;
    bare[length] = '\0';
    if (tree_has_file(bare) || tree_has_folder(bare)) return true;
    for (int i = 0; strchr(bare, '*') && i < tree_count(); i++)
        if (fnmatch(bare, tree_file(i), FNM_PATHNAME) == 0) return true;
    return false;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* "ts_exec_new" or "ts_exec_new()", or "ts_clip_trainer_*" for all that begin so. */
static bool is_function(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return strncmp(name, "ts_", 3) == 0 &&
           (strcmp(name + n, "") == 0 || strcmp(name + n, "()") == 0 || strcmp(name + n, "*") == 0);
}

static bool is_in_sources(const char *name)
{
    const size_t length = strcspn(name, "(*");
    char bare[128];
    snprintf(bare, sizeof bare, "%.*s", (int)length, name);
    for (const char *at = sources; (at = strstr(at, bare)); at++)
        if (!is_word(at[-1]) && (name[length] == '*' || !is_word(at[length]))) return true;
    return false;
}

/* Whether it can be none but one of the project's own paths. */
static bool is_ours(const char *name)
{
    static const char *const endings[] = {".c", ".h", ".comp", ".glsl", ".cmake", ".md", ".sh", "CMakeLists.txt"};
    char folder[64];
    const char *slash = strchr(name, '/'), *last = strrchr(name, '/');
    if (name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./*-")] || name[0] == '/') return false;
    if (strncmp(name, "build", 5) == 0 || strncmp(name, "../", 3) == 0) return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (tree_ends(name, endings[i]) && strlen(name) > strlen(endings[i])) return true;
    if (!slash) return false;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    /* A run's folder may be called `vqgan` as ours is, but then it holds no folder and nothing without an ending. */
    return tree_has_folder(folder) && folder[0] != '.' && (!strchr(last, '.') || strcmp(folder, "assets") == 0);
}

static void check_span(place p, const char *span)
{
    if (strncmp(span, "./", 2) == 0) span += 2;
    if (is_function(span)) {
        if (!is_in_sources(span)) missing(p, span, "is no function of the project");
    } else if (is_ours(span) && !there(span)) {
        missing(p, span, "is not there");
    }
}

static void check_link(place p, const char *target)
{
    char path[512];
    const char *slash = strrchr(p.file, '/');
    const int folder = slash ? (int)(slash - p.file) + 1 : 0;
    if (target[0] == '#' || strstr(target, "://") || strncmp(target, "mailto:", 7) == 0) return;
    snprintf(path, sizeof path, "%.*s%.*s", folder, p.file, (int)strcspn(target, "# "), target);
    if (!there(path)) missing(p, target, "leads nowhere");
}

/* What stands between a `from` and the next `to` on the line, one after the other. */
static void each_between(place p, const char *line, const char *from, char to, void (*check)(place, const char *))
{
    char name[512];
    for (const char *at = line; (at = strstr(at, from));) {
        at += strlen(from);
        const char *end = strchr(at, to);
        if (!end) return;
        snprintf(name, sizeof name, "%.*s", (int)(end - at), at);
        check(p, name);
        at = end + 1;
    }
}

/* Commands of an example: the pictures and scripts in it that are ours. */
static void check_example(place p, char *line)
{
    for (char *word; (word = strsep(&line, " \t\"'"));)
        if (strncmp(word, "assets/", 7) == 0 || strncmp(word, "tests/", 6) == 0 || strncmp(word, "scripts/", 8) == 0)
            check_span(p, word);
}

/* A line that is set apart: what is called, and where. */
static void check_words(place p, char *line)
{
    for (char *word; (word = strsep(&line, " ,:;"));) check_span(p, word);
}

static void check_document(const char *path)
{
    char *content = tree_read(path);
    bool example = false;
    place p = {path, 0};
    for (char *rest = content, *line; (line = strsep(&rest, "\n"));) {
        p.line++;
        if (strncmp(line, "```", 3) == 0) {
            example = !example;
        } else if (example) {
            check_example(p, line);
        } else if (strncmp(line, "    ", 4) == 0) {
            check_words(p, line);
        } else {
            each_between(p, line, "`", '`', check_span);
            each_between(p, line, "](", ')', check_link);
        }
    }
    free(content);
}

static bool is_document(const char *path)
{
    return strcmp(path, "README.md") == 0 || strcmp(path, "CONTRIBUTING.md") == 0 ||
           (strncmp(path, "docs/", 5) == 0 && tree_ends(path, ".md"));
}

static int open_all(void **state)
{
    if (tree_open(state) != 0) return -1;
    size_t used = 1;
    sources = calloc(1, 2); /* a zero before the first */
    for (int i = 0; sources && i < tree_count(); i++) {
        const char *path = tree_file(i);
        if ((!tree_ends(path, ".c") && !tree_ends(path, ".h")) || strncmp(path, "tests/docs/", 11) == 0) continue;
        char *content = tree_read(path);
        const size_t length = strlen(content);
        char *grown = realloc(sources, used + length + 1);
        if (!grown) return -1;
        sources = grown;
        memcpy(sources + used, content, length + 1);
        used += length;
        free(content);
    }
    if (sources) sources[0] = ' ';
    return sources ? 0 : -1;
}

static int close_all(void **state)
{
    free(sources);
    return tree_close(state);
}

static void documents(void **state)
{
    (void)state;
    int checked = 0;
    for (int i = 0; i < tree_count(); i++) {
        if (!is_document(tree_file(i))) continue;
        check_document(tree_file(i));
        checked++;
    }
    assert_true(checked > 0);
    assert_int_equal(faults, 0);
}

/* What the check itself takes for ours, and finds. */
static void rules(void **state)
{
    (void)state;
    const place p = {"docs/here.md", 0}; /* nothing is said */
    static const char *const right[] = {"engine/op/linear.c",      "engine/op/*.c", "engine/op/NAME.c", "engine/",
                                        "ts_exec_new()",           "ts_exec_*",     "photos/",          "out.png",
                                        "vqgan/model.safetensors", "./test.sh",     "--data DIR",       "a/b"};
    static const char *const wrong[] = {"engine/op/none.c", "engine/none/*.c", "engine/none/",   "none.c",
                                        "ts_none",          "ts_exec_ne",      "assets/none.png"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) check_span(p, right[i]);
    check_link(p, "../README.md#tessera");
    check_link(p, "https://example.org/none.md");
    assert_int_equal(faults, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) check_span(p, wrong[i]);
    check_link(p, "none.md");
    assert_int_equal(faults, (int)(sizeof wrong / sizeof *wrong) + 1);
    faults = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules), cmocka_unit_test(documents)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
