/* number.c - see number.h. */
#include "engine/number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

bool ts_whole_of(double value, int64_t least, int64_t most, int64_t *out)
{
    if (!(fabs(value) <= 0x1p53)) return false; /* NaN too */
    const int64_t whole = (int64_t)value;
    if ((double)whole != value || whole < least || whole > most) return false;
    *out = whole;
    return true;
}

bool ts_int_of(double value, int least, int most, int *out)
{
    int64_t whole;
    if (!ts_whole_of(value, least, most, &whole)) return false;
    *out = (int)whole;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ts_whole_read(const char *text, int64_t least, int64_t most, int64_t *out)
{
    if (!text || !is_digit(text[*text == '-'])) return false; /* strtoll would pass over spaces */
    char *end;
    errno = 0;
    const long long whole = strtoll(text, &end, 10);
    if (errno || *end != '\0' || whole < least || whole > most) return false;
    *out = whole;
    return true;
}

bool ts_int_read(const char *text, int least, int most, int *out)
{
    int64_t whole;
    if (!ts_whole_read(text, least, most, &whole)) return false;
    *out = (int)whole;
    return true;
}

bool ts_seed_read(const char *text, uint64_t *out)
{
    if (!text || !is_digit(*text)) return false;
    char *end;
    errno = 0;
    const unsigned long long seed = strtoull(text, &end, 10);
    if (errno || *end != '\0') return false;
    *out = seed;
    return true;
}

bool ts_real_read(const char *text, double *out)
{
    if (!text) return false;
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}
