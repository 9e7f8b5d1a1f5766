/* retriever.h - what the files of `tessera tune retriever` share. A tuning is a folder:
 *
 *   config.json                       the command line that decides it; --resume reads it
 *   scores.jsonl                      a line for each pair and each of its candidates: how well it did as its example
 *   retriever.safetensors             the head at the end
 *   log.jsonl, log.csv                a line a step
 *   checkpoint-00000200.safetensors   head and optimizer after that many steps; the last of them
 *   loss.png                          the curve */
#ifndef TESSERA_CLI_TUNE_RETRIEVER_H
#define TESSERA_CLI_TUNE_RETRIEVER_H

#include "cli/eval/eval.h"
#include "cli/run/run.h"
#include "cli/train/training.h"

typedef struct {
    run_job job; /* the frozen model, and what pictures are compared by */
    ts_words folders;
    const char *out;
    bool resume;
    int candidates, best, epochs, batch, hidden, width, save_every, keep, limit;
    double lr, temperature, weight_decay;

    cJSON *config; /* of a tuning that goes on; the command line's words are its */
    char **words;  /* that command line */
    int word_count;
    bool started; /* the model is on the device */
    ts_run_lock lock;
    ts_training_console console;
    ts_palette palette;
    /* The scores: of pairs 0 ... queries - 1 the candidates, the most like first, and how well each did. */
    int queries, each;
    int *candidate; /* (queries, each): pairs */
    double *score;  /* (queries, each); of a pair that cannot be asked NaN */
    /* What came of the training. */
    int64_t step, steps, first; /* done, in all, before this process */
    double loss;
    bool complete;
    struct {
        int pairs; /* that were held out, which the rest are means over; 0: there were too few */
        double plain, learned, best, any;
    } held;
} tune_retriever;

/* retriever_score.c: chooses the candidates of each pair; asks the model with each of them, as far as no line says it already,
 * and stops between two where a signal asks for it. */
bool tune_retriever_candidates(tune_retriever *t, ts_error *err);
bool tune_retriever_score(tune_retriever *t, ts_error *err);
/* retriever_train.c: trains the head on those scores, or goes on where the last checkpoint stands. */
bool tune_retriever_train(tune_retriever *t, ts_error *err);

#endif
