/* folder.h - the pictures of a folder, listed in one way wherever a folder is named. Private to Tessera's folders. */
#ifndef TESSERA_FOLDER_H
#define TESSERA_FOLDER_H

#include "engine/engine.h"

enum { TS_FOLDER_KINDS = 8 };

typedef struct {
    char **picture; /* "FOLDER/name.png", "FOLDER/below/name.png", sorted by their bytes */
    int64_t count;
    char **folder; /* the folders in it, sorted; filled where those below are not looked into */
    int64_t folders;
    /* What is no picture by its name's ending. */
    int64_t passed;
    int64_t odd; /* of these, pipes, devices and the like */
    struct {
        char ending[16]; /* ".txt"; "" for names without one */
        int64_t count;
    } kind[TS_FOLDER_KINDS]; /* the first kinds met, by name */
    int kinds;
    /* Folders below that cannot be read, each as a sentence. */
    char **problem;
    int64_t problems;
    int64_t room[3]; /* of the three lists */
} ts_folder;

typedef enum { TS_FOLDER_ALONE, TS_FOLDER_BELOW } ts_folder_depth;

/* Lists the pictures of a folder, and with TS_FOLDER_BELOW those of all folders below, each once: one that is reached again,
 * through links or in a circle, is not read again. Hidden entries (".name") and __MACOSX are none of anybody's pictures. What is
 * neither a plain file nor a folder is passed over, unopened; a link that leads nowhere is listed where it calls itself a
 * picture, so that reading it says what is wrong. Fails where the folder itself cannot be read. `out` is the caller's
 * (ts_folder_clear), and empty on failure. */
bool ts_folder_list(const char *path, ts_folder_depth depth, ts_folder *out, ts_error *err);
void ts_folder_clear(ts_folder *f);
/* "passed over 3 files of other kinds (2 .txt, 1 .xmp)" in `out`, which is returned; "" where there are none. */
const char *ts_folder_passed(const ts_folder *f, char *out, size_t room);
/* Adds what `f` counts of other kinds to what `sum` counts. */
void ts_folder_add_passed(ts_folder *sum, const ts_folder *f);
/* Whether a name ends like a picture that can be read. */
bool ts_is_picture(const char *name);
/* The endings of such names, for sentences: "png, jpg, jpeg, webp or bmp". */
const char *ts_picture_endings(void);

#endif
