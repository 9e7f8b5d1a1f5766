/* list.c - lists of class names and of templates, a line each. */
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "text/tokenizer.h"

enum { LIMIT = 64 << 20 };

void ts_text_lines_free(char **lines, int count)
{
    for (int i = 0; lines && i < count; i++) free(lines[i]);
    free(lines);
}

/* The first line, from 1, that is not UTF-8; 0: all are. */
static int64_t foreign_line(const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text, *const end = at + size;
    uint32_t rune;
    for (int64_t line = 1; at < end;) {
        const int length = ts_rune_decode(at, (size_t)(end - at), &rune);
        if (length == 0) return line;
        line += *at == '\n';
        at += length;
    }
    return 0;
}

/* The lines of `text`, which is cut up; -1: no memory. */
static int take_lines(char *text, char **lines)
{
    static const char blanks[] = " \t\r";
    int count = 0;
    for (char *at = text, *next; at; at = next) {
        next = strchr(at, '\n');
        if (next) *next++ = '\0';
        at += strspn(at, blanks);
        size_t length = strlen(at);
        while (length > 0 && strchr(blanks, at[length - 1])) length--;
        if (length == 0 || at[0] == '#') continue;
        if (!(lines[count] = strndup(at, length))) {
            for (int i = 0; i < count; i++) free(lines[i]);
            return -1;
        }
        count++;
    }
    return count;
}

int ts_text_lines(const char *path, char ***lines, ts_error *err)
{
    size_t size, room = 1;
    *lines = NULL;
    char *text = ts_file_read(path, "list", LIMIT, &size, err);
    if (!text) return -1;
    int count = -1;
    const int64_t foreign = foreign_line(text, size);
    if (strlen(text) != size) {
        ts_fail(err, TS_ERR_FORMAT, "%s is no list of lines: it holds a zero byte (UTF-16 is to be converted to UTF-8 first)",
                path);
    } else if (foreign) {
        ts_fail(err, TS_ERR_FORMAT, "%s: line %lld is not UTF-8: convert the list first, as iconv -f LATIN1 -t UTF-8 does", path,
                (long long)foreign);
    } else {
        for (const char *c = text; *c; c++) room += *c == '\n';
        *lines = calloc(room, sizeof **lines);
        /* Some editors begin a text with U+FEFF. */
        if (*lines) count = take_lines(text + (strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0), *lines);
        if (count < 0) ts_fail(err, TS_ERR_MEMORY, "no memory for the lines of %s", path);
        if (count == 0) ts_fail(err, TS_ERR_FORMAT, "%s holds no line that is neither empty nor begins with #", path);
    }
    free(text);
    if (count > 0) return count;
    free(*lines);
    *lines = NULL;
    return -1;
}
