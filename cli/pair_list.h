/* pair_list.h - pictures and what is wanted of them, in folders. */
#ifndef TESSERA_PAIR_LIST_H
#define TESSERA_PAIR_LIST_H

#include "cli/cli.h"

typedef struct {
    char *name;           /* without folder and ending: what a list calls the pair */
    char *input, *target; /* paths */
} eval_pair;

typedef struct {
    eval_pair *pair; /* sorted by name */
    int count;
} eval_pairs;

/* NAME.* with NAME_target.* in one folder, or with `targets` pictures of equal names in two. Fails where a picture has no target,
 * a target no picture, or a name is there twice. */
bool eval_pairs_list(const char *inputs, const char *targets, ts_left_out *left_out, eval_pairs *out, ts_error *err);
void eval_pairs_clear(eval_pairs *p);
int eval_pairs_find(const eval_pairs *p, const char *name); /* -1: there is none */

#endif
