/* number.h - numbers out of texts and files: whole and in range, or none. What a file says may be anything, and turning a double
 * into an integer that cannot hold it has no meaning in C. Private to Tessera's folders. */
#ifndef TESSERA_NUMBER_H
#define TESSERA_NUMBER_H

#include "engine/engine.h"

/* All return whether it is one, and leave `out` alone where it is none. */

/* A number of JSON's, which is a double, exact up to 2^53. */
bool ts_whole_of(double value, int64_t least, int64_t most, int64_t *out);
bool ts_int_of(double value, int least, int most, int *out);
/* A text of digits and nothing else, with a minus before them where `least` allows one. NULL: none. */
bool ts_whole_read(const char *text, int64_t least, int64_t most, int64_t *out);
bool ts_int_read(const char *text, int least, int most, int *out);
/* 64 bits of digits. */
bool ts_seed_read(const char *text, uint64_t *out);
/* Any finite number, to the end of the text. */
bool ts_real_read(const char *text, double *out);

#endif
