/* names.c - the names of classes. */
#include <stdlib.h>
#include <string.h>

#include "clip/clip.h"

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool ts_clip_check_names(const char *const *names, int count, ts_error *err)
{
    for (int i = 0; i < count; i++)
        if (names[i][strspn(names[i], " \t\r\n")] == '\0')
            return ts_fail(err, TS_ERR_ARGUMENT, "the name of class %d is empty", i);
    const char **sorted = malloc(((size_t)count + 1) * sizeof *sorted);
    if (!sorted) return ts_fail(err, TS_ERR_MEMORY, "no memory for the names of the classes");
    for (int i = 0; i < count; i++) sorted[i] = names[i];
    if (count > 0) qsort(sorted, (size_t)count, sizeof *sorted, by_bytes);
    int twice = 1;
    while (twice < count && strcmp(sorted[twice - 1], sorted[twice]) != 0) twice++;
    if (twice < count) ts_fail(err, TS_ERR_ARGUMENT, "the class name \"%s\" stands twice", sorted[twice]);
    free(sorted);
    return twice >= count;
}
