/* figures.h - what the two files of `tessera figures` share. */
#ifndef TESSERA_CLI_FIGURES_H
#define TESSERA_CLI_FIGURES_H

#include "cli/cli.h"

typedef struct {
    const ts_common *common;
    const char *folder;
    int count, tests; /* pictures of each class in train/ and in test/; scenes */
    int size;         /* pixels a side */
    double shift;
} ts_labelled;

/* Twelve classes, a folder a class in train/ and in test/. Prints the report. */
bool ts_draw_classes(const ts_labelled *l, ts_error *err);
/* Scenes in pictures/, and captions.jsonl with a line for each: {"file": "pictures/000000.png", "text": "a red circle"}. */
bool ts_draw_captions(const ts_labelled *l, ts_error *err);

#endif
