/* error.c - the one way to report a failure. */
#include "engine/engine.h"

#include <stdarg.h>
#include <stdio.h>

bool ts_fail(ts_error *err, ts_code code, const char *format, ...)
{
    if (!err || err->code != TS_OK) return false;
    err->code = code;
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ts_printable(text, err->text, sizeof err->text); /* names in it come from files */
    return false;
}
