/* Dependencies between the rooms point one way: the program, the models, what models share, the engine. Each #include of the
 * sources is looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tree.h"

/* A file may include what stands in its own room or in one of a smaller rank. A part of a room that is named here is a room. */
static const struct {
    const char *folder;
    int rank;
} rooms[] = {
    {"shaders", 0},    {"engine", 1},  {"kinds", 2}, {"masks", 2}, {"grid", 3},      {"text", 3},    {"vit", 3},
    {"vqgan", 3},      {"mae", 4},     {"clip", 4},  {"dino", 4},  {"matching", 5},  {"cli", 7},     {"clip/prompt", 5},
    {"mae/prompt", 5}, {"painter", 4}, {"sam", 4},   {"page", 2},  {"retrieval", 5}, {"strokes", 6},
};

/* Index of the room that `path` stands in, the most exact one; -1: none. */
static int room_of(const char *path)
{
    int best = -1;
    size_t longest = 0;
    for (int i = 0; i < (int)(sizeof rooms / sizeof *rooms); i++) {
        const size_t length = strlen(rooms[i].folder);
        if (strncmp(path, rooms[i].folder, length) == 0 && path[length] == '/' && length > longest) {
            best = i;
            longest = length;
        }
    }
    return best;
}

/* The name in `#include "name"`, or NULL. */
static const char *included(const char *line, char name[256])
{
    return sscanf(line, " # include \"%255[^\"]\"", name) == 1 ? name : NULL;
}

static int check_file(const char *path)
{
    const int room = room_of(path);
    if (room < 0) {
        print_error("%s stands in no room: give its folder a rank in %s\n", path, __FILE__);
        return 1;
    }
    int faults = 0;
    char *content = tree_read(path), name[256];
    for (char *rest = content, *line; (line = strsep(&rest, "\n"));) {
        const int other = included(line, name) ? room_of(name) : -1;
        if (other < 0 || other == room || rooms[other].rank < rooms[room].rank) continue;
        print_error("%s includes %s: %s/ must not depend on %s/\n", path, name, rooms[room].folder, rooms[other].folder);
        faults++;
    }
    free(content);
    return faults;
}

static void directions(void **state)
{
    (void)state;
    int faults = 0, files = 0;
    for (int i = 0; i < tree_count(); i++) {
        const char *path = tree_file(i);
        if (!tree_ends(path, ".c") && !tree_ends(path, ".h")) continue;
        if (strncmp(path, "tests/", 6) == 0) continue;
        faults += check_file(path);
        files++;
    }
    assert_true(files > 100);
    assert_int_equal(faults, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(directions)};
    return cmocka_run_group_tests(tests, tree_open, tree_close);
}
