/* data.h - what the readers of labelled pictures share. Private to clip/. */
#ifndef TESSERA_CLIP_DATA_H
#define TESSERA_CLIP_DATA_H

#include "clip/clip.h"

/* Adds a picture; `path` becomes the split's, and is freed on failure. NULL: fails for want of memory. */
bool ts_data_add(ts_clip_split *s, char *path, int label, ts_error *err);
/* A class's name as it is shown: '_' becomes ' '; free(). */
char *ts_data_name(const char *name, ts_error *err);
/* "folder/name", or the name alone where `folder` is empty; free(). NULL: no memory. */
char *ts_data_join(const char *folder, const char *name);
/* Whether it is a plain file, through links too: 1; 0: it is something else; -1: it cannot be looked at (errno). */
int ts_data_is_file(const char *path);
/* Fails, naming it, where a class has no picture in train or in test, or two have one name. */
bool ts_data_check(const ts_clip_data *d, const char *path, ts_error *err);

void ts_data_clear_split(ts_clip_split *s);
/* Brings a random choice of `count` of `n` items to the front, the chosen and the others each in the order of their paths. */
void ts_data_choose(ts_clip_item *item, int64_t n, int64_t count, uint64_t *state);

/* data_json.c: fills `out`, which is empty; what is in it on failure is the caller's to clear. */
bool ts_data_open_json(const char *path, const char *root, ts_clip_data *out, ts_error *err);

#endif
