/* nearest.c - "did you mean": how far a mistyped word is from those there are. */
#include <string.h>

#include "cli/cli.h"

enum { LONGEST = 40 };

/* Letters to change, leave out, put in or swap with the next one, to come from one word to the other. */
static int distance(const char *a, const char *b)
{
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    int row[3][LONGEST + 1] = {0}; /* of two letters ago, of the last one, of this one */
    for (int k = 0; k <= m; k++) row[1][k] = k;
    for (int i = 1; i <= n; i++) {
        row[2][0] = i;
        for (int k = 1; k <= m; k++) {
            const int changed = row[1][k - 1] + (a[i - 1] != b[k - 1]);
            int least = row[1][k] < row[2][k - 1] ? row[1][k] + 1 : row[2][k - 1] + 1;
            if (changed < least) least = changed;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] && row[0][k - 2] + 1 < least)
                least = row[0][k - 2] + 1;
            row[2][k] = least;
        }
        memcpy(row[0], row[1], sizeof row[0]);
        memcpy(row[1], row[2], sizeof row[1]);
    }
    return row[1][m];
}

/* Nothing is far: a third of the letters, or the beginning of a word with at least three of its letters. */
static int cost(const char *word, const char *name)
{
    const size_t length = strlen(word);
    if (length >= 3 && strncmp(word, name, length) == 0) return 1;
    const int d = distance(word, name);
    return d <= (int)(length < 3 ? 1 : (length + 1) / 3) && d < (int)strlen(name) ? d : LONGEST;
}

const char *ts_nearer(const char *word, const char *name, const char *best)
{
    const int d = cost(word, name);
    return d < (best ? cost(word, best) : LONGEST) ? name : best;
}
