/* program.h - runs the program `tessera` as a user does, and makes files for it. */
#ifndef TESSERA_TEST_PROGRAM_H
#define TESSERA_TEST_PROGRAM_H

#include "support.h"

typedef struct {
    int status; /* exit status; -1: ended by a signal */
    char *out, *err;
} program_result;

/* Runs `tessera ARGS...`, NULL ending the list. Free with program_free. */
program_result program_run(const char *first, ...);
program_result program_run_list(const char *const *args, int count);
void program_free(program_result *r);
/* One line on standard error and nothing on standard output, the given status; `word` stands in the line. */
void assert_refused(program_result r, int status, const char *word);

/* Exit status 0; frees. */
void succeed(program_result r);

/* PATH of a file in the test's folder; kept until the next 16 calls, or 64. */
const char *temp_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *kept_path(const char *name);
void write_bytes(const char *path, const void *bytes, size_t size);
void write_text(const char *path, const char *text);
unsigned char *read_bytes(const char *path, size_t *size); /* free() */
bool file_exists(const char *path);
bool same_bytes(const char *a, const char *b);
/* The file `name` of two folders. */
void assert_same(const char *a, const char *b, const char *name);
/* A picture of smooth colours that depend on `seed`. */
void write_picture(const char *path, int width, int height, uint64_t seed);
/* A model of random weights, as small as one can be, written once a process: a canvas of 64 pixels, 4 x 4 patches, 64 codes. */
const char *random_model(void);
/* The same model in a file `name`, with what `option` of `tessera model convert` puts into its metadata. The name's memory is as
 * temp_path's. */
const char *random_model_that_says(const char *name, const char *option, const char *value);

#endif
