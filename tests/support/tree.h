/* tree.h - the project's own files, for the tests that look at them. */
#ifndef TESSERA_TEST_TREE_H
#define TESSERA_TEST_TREE_H

#include "tests/support/support.h"

/* A group's setup and its teardown: lists all files but hidden ones and what was built. */
int tree_open(void **state);
int tree_close(void **state);
int tree_count(void);
const char *tree_file(int i); /* from the root: "engine/op/linear.c" */
bool tree_has_file(const char *path);
bool tree_has_folder(const char *path);
bool tree_ends(const char *path, const char *ending);
/* All of a file, with a zero at its end; free(). */
char *tree_read(const char *path);

#endif
