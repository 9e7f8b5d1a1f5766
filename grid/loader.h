/* loader.h - the pictures of a folder tree, as the loader takes them. Private to grid/. */
#ifndef TESSERA_GRID_LOADER_H
#define TESSERA_GRID_LOADER_H

#include "grid/grid.h"
#include "grid/random.h"

/* All functions but open and free may be called by several threads. */
typedef struct ts_pictures ts_pictures;

/* `validation` takes the pictures held out (one in 50, by a hash of their names below the folder), else the others; all of them
 * where there are fewer than 50. `strict`: a picture that cannot be read is an error, and not replaced. */
ts_pictures *ts_pictures_open(const char *folder, bool validation, bool strict, uint64_t cache_bytes, ts_error *err);
void ts_pictures_free(ts_pictures *p);
int64_t ts_pictures_count(const ts_pictures *p);
/* What the folder holds beside pictures, or "". */
const char *ts_pictures_passed(const ts_pictures *p);
/* Draws a random resized crop (as torchvision: area least..1 of the picture's, aspect 3/4..4/3, bicubic), mirrored half the time,
 * into out (side, side, 3). `number` counts the crops: it takes every picture once before any comes again, in an order of `seed`.
 * A picture that cannot be read is replaced by one that `r` picks. */
bool ts_pictures_crop(ts_pictures *p, uint64_t number, uint64_t seed, ts_random *r, double least, int side, uint8_t *out,
                      ts_error *err);
bool ts_pictures_skipped(ts_pictures *p, ts_error *complaint);

/* Reads the words after "figures:" into a description: tasks, each as often as it is named, "published" for the papers' layouts
 * only, "plain" for single objects on flat grounds, and how many example pairs a page has, 1 to 3, where it is not any. */
bool ts_figures_read(const char *words, ts_figure_desc *out, ts_error *err);

#endif
