/* printable.c - text from outside, as it may stand in a line on a terminal. Names of files, of tensors and of metadata are
 * whatever their maker liked: an escape sequence that clears the screen, a line end and after it a line of ours that is none, a
 * mark that turns the direction in which the rest is read. All of that is shown as what it is and not obeyed. */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

int ts_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return 1;
    /* The second byte's bounds: no longer form than needed, no surrogates, nothing beyond U+10FFFF. */
    const int least = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80, most = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    const int length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || s[1] < least || s[1] > most) return 0;
    for (int i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return length;
}

/* Controls of both sets, marks and overrides of the direction, ends of lines and paragraphs, and what has no width. */
static bool is_obeyed(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200b || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
           (code >= 0xfff9 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe0fff);
}

int ts_printable_next(const char **at, char out[TS_PRINTABLE_UNIT])
{
    const unsigned char *s = (const unsigned char *)*at;
    const int length = ts_utf8_length(*at);
    if (length == 0) {
        (*at)++;
        return snprintf(out, TS_PRINTABLE_UNIT, "\\x%02x", s[0]);
    }
    unsigned code = length == 1 ? s[0] : s[0] & (0x7fU >> length);
    for (int i = 1; i < length; i++) code = code << 6 | (s[i] & 0x3f);
    *at += length;
    if (!is_obeyed(code)) return snprintf(out, TS_PRINTABLE_UNIT, "%.*s", length, (const char *)s);
    if (code == '\n') return snprintf(out, TS_PRINTABLE_UNIT, "\\n");
    if (code < 0x80) return snprintf(out, TS_PRINTABLE_UNIT, "\\x%02x", code);
    return snprintf(out, TS_PRINTABLE_UNIT, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
}

const char *ts_printable(const char *text, char *out, size_t room)
{
    size_t used = 0;
    char unit[TS_PRINTABLE_UNIT];
    while (*text) {
        const size_t length = (size_t)ts_printable_next(&text, unit);
        if (used + length >= room) break;
        memcpy(out + used, unit, length);
        used += length;
    }
    if (room > 0) out[used] = '\0';
    return out;
}
