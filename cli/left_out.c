/* left_out.c - inputs that a job does without: one broken picture among many ends nothing, but is named, counted, and told by the
 * exit status. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* FNV-1a; never 0. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

bool ts_leave_out(ts_left_out *l, const ts_error *why, ts_error *err)
{
    if (why->code == TS_ERR_MEMORY || l->strict) return ts_fail(err, why->code, "%s", why->text);
    enum { KEPT = sizeof l->told / sizeof *l->told };
    const uint64_t hash = hash_of(why->text);
    for (int i = 0; i < KEPT; i++)
        if (l->told[i] == hash) return true;
    l->told[l->count % KEPT] = hash;
    if (l->count++ == 0) l->first = *why;
    if (!l->quiet) ts_say("left out: %s", why->text);
    return true;
}

void ts_say_passed(ts_left_out *l)
{
    if (!l->quiet && l->passed[0]) {
        ts_line_wipe();
        fputs(l->passed, stderr);
    }
    l->passed[0] = '\0';
}

int ts_left_out_status(const char *command, ts_left_out *l)
{
    ts_say_passed(l);
    if (l->count == 0) return TS_EXIT_DONE;
    const char *inputs = l->count == 1 ? "input was" : "inputs were";
    ts_say("tessera %s: done, but %lld %s left out%s%s", command, (long long)l->count, inputs,
           l->quiet ? l->count == 1 ? ": " : ", the first: " : "", l->quiet ? l->first.text : "");
    return TS_EXIT_LEFT_OUT;
}

void ts_keep_passed(ts_left_out *l, const char *folder, const char *passed)
{
    char shown[512], line[512];
    const size_t used = strlen(l->passed), room = sizeof l->passed - used;
    snprintf(line, sizeof line, "%.200s: %s", folder, passed);
    if (*passed && snprintf(l->passed + used, room, "%s\n", ts_printable(line, shown, sizeof shown)) >= (int)room)
        l->passed[used] = '\0';
}

bool ts_list_pictures(const char *folder, ts_folder_depth depth, ts_left_out *l, ts_folder *out, ts_error *err)
{
    char text[256];
    if (!ts_folder_list(folder, depth, out, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < out->problems; i++) {
        ts_error why = {0};
        ts_fail(&why, TS_ERR_IO, "%s", out->problem[i]);
        ok = ts_leave_out(l, &why, err);
    }
    if (ok && out->count == 0)
        ok = ts_fail(err, TS_ERR_IO, "folder %s holds no picture (%s)%s", folder, ts_picture_endings(),
                     depth == TS_FOLDER_BELOW ? ", nor does any below it" : "");
    if (ok) ts_keep_passed(l, folder, ts_folder_passed(out, text, sizeof text));
    if (!ok) ts_folder_clear(out);
    return ok;
}
