/* method.c - the table of the prompt-tuning methods, and their settings by name and as text, which is how a command's options and
 * a prompt file's metadata say them. */
#include "clip/prompt/method.h"
#include "engine/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

static const ts_method *const methods[] = {
    &ts_method_coop,      &ts_method_cocoop,      &ts_method_vp_padding, &ts_method_vp_fixed, &ts_method_vp_random,
    &ts_method_reprogram, &ts_method_vpt_shallow, &ts_method_vpt_deep,   &ts_method_upt,      &ts_method_maple,
};
enum { METHODS = sizeof methods / sizeof *methods };

const ts_method *ts_method_at(int i)
{
    return i >= 0 && i < METHODS ? methods[i] : NULL;
}

const ts_method *ts_method_find(const char *name, ts_error *err)
{
    char known[256];
    size_t used = 0;
    for (int i = 0; i < METHODS; i++) {
        if (strcmp(methods[i]->name, name) == 0) return methods[i];
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", methods[i]->name);
    }
    ts_fail(err, TS_ERR_ARGUMENT, "there is no prompt method \"%.60s\"; there are %s", name, known);
    return NULL;
}

const ts_method *ts_method_of_weights(const ts_weights *w, ts_method_settings *s, ts_error *err)
{
    for (int i = 0; i < METHODS; i++) {
        *s = (ts_method_settings){0};
        if (methods[i]->recognise(w, s)) return methods[i];
    }
    *s = (ts_method_settings){0};
    if (ts_kind_expect(w, TS_KIND_PROMPT, err))
        ts_fail(err, TS_ERR_FORMAT, "%s: holds no tensors of a prompt method that is known here", ts_weights_path(w));
    return NULL;
}

/* ---- settings ---- */

enum { MAX_SETTING = 4096 };

static const ts_method_setting settings[] = {
    {"context", "number of context vectors before the class name"},
    {"per-class", "yes: each class learns context of its own; no: shared"},
    {"position", "of the class name in the context: end, middle or front"},
    {"words", "the context starts as these words, a vector for each"},
    {"pixels", "width of the frame, side of the patch, or side of the picture in a program's middle"},
    {"tokens", "number of prompt tokens"},
    {"depth", "vision blocks with tokens of their own"},
    {"attention", "true: as published; degenerate: as released"},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

/* The words that stand for 1, 2, ... of a setting; NULL: it is a number. */
static const char *const yes_no[] = {"yes", "no", NULL};
static const char *const positions[] = {"end", "middle", "front", NULL};
static const char *const attentions[] = {"true", "degenerate", NULL};

const ts_method_setting *ts_method_setting_list(int *count)
{
    *count = SETTINGS;
    return settings;
}

static bool takes(const ts_method *m, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = m->settings; (at = strstr(at, key)) != NULL; at += length)
        if ((at == m->settings || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0)) return true;
    return false;
}

/* Where a setting that is a number or one of `words` lies; NULL: `key` is none. */
static int *place(ts_method_settings *s, const char *key, const char *const **words)
{
    *words = NULL;
    if (strcmp(key, "context") == 0) return &s->context;
    if (strcmp(key, "pixels") == 0) return &s->pixels;
    if (strcmp(key, "tokens") == 0) return &s->tokens;
    if (strcmp(key, "depth") == 0) return &s->depth;
    if (strcmp(key, "per-class") == 0) return *words = yes_no, &s->per_class;
    if (strcmp(key, "position") == 0) return *words = positions, &s->position;
    if (strcmp(key, "attention") == 0) return *words = attentions, &s->attention;
    return NULL;
}

bool ts_method_setting_set(const ts_method *m, ts_method_settings *s, const char *key, const char *value, ts_error *err)
{
    if (!takes(m, key))
        return ts_fail(err, TS_ERR_ARGUMENT, "%s has no setting \"%.60s\"; it has %s", m->name, key,
                       *m->settings ? m->settings : "none");
    if (strcmp(key, "words") == 0) {
        if (strlen(value) >= sizeof s->words)
            return ts_fail(err, TS_ERR_ARGUMENT, "words: at most %zu bytes", sizeof s->words - 1);
        snprintf(s->words, sizeof s->words, "%s", value);
        return true;
    }
    const char *const *words;
    int *at = place(s, key, &words);
    if (!at) return ts_fail(err, TS_ERR_ARGUMENT, "there is no setting \"%.60s\"", key);
    for (int i = 0; words && words[i]; i++)
        if (strcmp(words[i], value) == 0) return *at = i + 1, true;
    if (words)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is %s%s%s%s%s, not \"%.60s\"", key, words[0], words[2] ? ", " : " or ", words[1],
                       words[2] ? " or " : "", words[2] ? words[2] : "", value);
    return ts_int_read(value, 1, MAX_SETTING, at) ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s is a number from 1 to %d, not \"%.60s\"", key, MAX_SETTING, value);
}

bool ts_method_setting_text(const ts_method_settings *s, const char *key, char *out, size_t room)
{
    ts_method_settings copy = *s;
    const char *const *words;
    if (strcmp(key, "words") == 0) {
        snprintf(out, room, "%s", s->words);
        return *s->words != 0;
    }
    const int *at = place(&copy, key, &words);
    if (!at || *at == 0) return false;
    if (words) snprintf(out, room, "%s", words[*at - 1]);
    else snprintf(out, room, "%d", *at);
    return true;
}
