/* figures.h - what the files of `tessera figures` share. */
#ifndef TESSERA_CLI_FIGURES_H
#define TESSERA_CLI_FIGURES_H

#include "cli/cli.h"
#include "grid/grid.h"

typedef struct {
    const ts_common *common;
    const char *folder;
    int count, tests; /* pictures of each class in train/ and in test/; scenes; pairs of each task */
    int size;         /* pixels a side */
    double shift;
    bool plain, held_out;
    bool task[TS_FIGURE_TASKS]; /* which tasks there are pairs of */
} ts_labelled;

/* Twelve classes, a folder a class in train/ and in test/. Prints the report. */
bool ts_draw_classes(const ts_labelled *l, ts_error *err);
/* Scenes in pictures/, and captions.jsonl with a line for each: {"file": "pictures/000000.png", "text": "a red circle"}. */
bool ts_draw_captions(const ts_labelled *l, ts_error *err);
/* Pairs NAME.png and NAME_target.png under one rule; of several tasks, each in a folder of its name. */
bool ts_draw_pairs(const ts_labelled *l, ts_error *err);

#endif
