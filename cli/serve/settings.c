/* settings.c - the options of `tessera run` as settings of a request: the same names, ranges and sentences, from the same table.
 */
#include <string.h>

#include "cli/serve/serve.h"

/* Those that a model is made with, and those that mean files or many queries, are for the command line alone. */
bool serve_is_setting(const ts_option *o)
{
    static const char *const names[] = {"per-canvas", "side",        "transposed", "arrange", "ensemble",   "background",
                                        "filter",     "temperature", "blend",      "views",   "keep-codes", "kind",
                                        "size",       "fit",         "steps",      "units",   "smooth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(o->name, names[i]) == 0) return true;
    return false;
}

static const ts_option *find(const serve *s, const char *name)
{
    for (int i = 0; i < s->option_count; i++)
        if (strcmp(s->options[i].name, name) == 0 && serve_is_setting(&s->options[i])) return &s->options[i];
    return NULL;
}

/* Whether the model that is served takes it. */
static bool is_its_own(const serve *s, const char *name)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(s->job.engine->options, word) != NULL;
}

/* ---- what there is ---- */

static bool add_choices(cJSON *item, const ts_option *o)
{
    char words[256], *rest = words, *word;
    cJSON *list = cJSON_AddArrayToObject(item, "choices");
    snprintf(words, sizeof words, "%s", o->values);
    bool ok = list != NULL;
    while (ok && (word = strsep(&rest, "|"))) ok = cJSON_AddItemToArray(list, cJSON_CreateString(word));
    return ok;
}

static bool add_setting(cJSON *list, const ts_option *o)
{
    static const char *const kinds[] = {[TS_OPT_FLAG] = "flag", [TS_OPT_TEXT] = "text",     [TS_OPT_INT] = "whole",
                                        [TS_OPT_REAL] = "real", [TS_OPT_CHOICE] = "choice", [TS_OPT_WORDS] = "words"};
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(list, item);
    bool ok = cJSON_AddStringToObject(item, "name", o->name) && cJSON_AddStringToObject(item, "kind", kinds[o->kind]) &&
              cJSON_AddStringToObject(item, "help", o->help);
    if (ok && o->kind == TS_OPT_CHOICE) ok = add_choices(item, o);
    if (ok && (o->kind == TS_OPT_INT || o->kind == TS_OPT_REAL))
        ok = cJSON_AddNumberToObject(item, "low", o->low) && cJSON_AddNumberToObject(item, "high", o->high);
    return ok;
}

bool serve_settings(void *ctx, ts_page_job *job, cJSON *answer, ts_error *err)
{
    const serve *s = ctx;
    const ts_option of_all[] = {
        {0, "palette", NULL, TS_OPT_FLAG, NULL, 0, 0,
         "every pixel of the answer becomes the nearest colour of the examples' outputs"},
        {0, "no-palette", NULL, TS_OPT_FLAG, NULL, 0, 0, "the answer keeps the colours that the model painted"},
        {0, "mask", NULL, TS_OPT_FLAG, NULL, 0, 0, "the answer as a mask: white where it shows anything but the background"},
        {0, "seed", "N", TS_OPT_INT, NULL, 0, INT32_MAX, "of what is drawn at random; 0"},
    };
    cJSON *list = cJSON_AddArrayToObject(answer, "settings");
    bool ok = list != NULL;
    (void)job;
    for (int i = 0; ok && i < s->option_count; i++)
        if (serve_is_setting(&s->options[i]) && is_its_own(s, s->options[i].name)) ok = add_setting(list, &s->options[i]);
    for (size_t i = 0; ok && i < sizeof of_all / sizeof *of_all; i++) ok = add_setting(list, &of_all[i]);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* ---- what a request sets ---- */

static bool set_choice(const cJSON *settings, const ts_option *o, ts_error *err)
{
    const char *word = NULL;
    char words[256], *rest = words, *one;
    if (!ts_page_text(settings, o->name, &word, err)) return false;
    if (!word) return true;
    snprintf(words, sizeof words, "%s", o->values);
    for (int at = 0; (one = strsep(&rest, "|")); at++)
        if (strcmp(one, word) == 0) {
            *(int *)o->target = at;
            return true;
        }
    return ts_fail(err, TS_ERR_ARGUMENT, "%s \"%s\" is not one of %s", o->name, word, o->values);
}

static bool set(const cJSON *settings, const ts_option *o, ts_error *err)
{
    switch (o->kind) {
    case TS_OPT_FLAG:
        return ts_page_flag(settings, o->name, o->target, err);
    case TS_OPT_TEXT:
        return ts_page_text(settings, o->name, o->target, err);
    case TS_OPT_INT:
        return ts_page_int(settings, o->name, (int)o->low, (int)o->high, o->target, err);
    case TS_OPT_REAL:
        return ts_page_real(settings, o->name, o->low, o->high, o->target, err);
    case TS_OPT_CHOICE:
        return set_choice(settings, o, err);
    case TS_OPT_WORDS:
        break;
    }
    return ts_fail(err, TS_ERR_ARGUMENT, "%s cannot be set here", o->name);
}

static bool set_of_all(run_job *r, const cJSON *settings, ts_error *err)
{
    int seed = 0;
    const bool seeded = cJSON_HasObjectItem(settings, "seed");
    if (!ts_page_flag(settings, "palette", &r->palette, err) || !ts_page_flag(settings, "no-palette", &r->no_palette, err) ||
        !ts_page_flag(settings, "mask", &r->mask, err) || !ts_page_int(settings, "seed", 0, INT32_MAX, &seed, err))
        return false;
    if (seeded) r->common.seed = (uint64_t)seed;
    return !(r->palette && r->no_palette) || ts_fail(err, TS_ERR_ARGUMENT, "palette or no-palette: not both");
}

bool serve_set(serve *s, const cJSON *settings, ts_error *err)
{
    run_job *r = &s->job;
    r->common = s->started.common;
    r->mask = r->palette = r->no_palette = false;
    r->mae = s->started.mae;
    r->painter = s->started.painter;
    r->matching = s->started.matching;
    r->strokes = s->started.strokes;
    for (const cJSON *item = settings ? settings->child : NULL; item; item = item->next) {
        static const char of_all[] = " palette no-palette mask seed ";
        char word[64];
        snprintf(word, sizeof word, " %s ", item->string);
        if (strstr(of_all, word)) continue;
        const ts_option *o = find(s, item->string);
        if (!o)
            return ts_fail(err, TS_ERR_ARGUMENT, "there is no setting \"%s\": GET /v1/settings tells those there are",
                           item->string);
        if (!is_its_own(s, o->name))
            return ts_fail(err, TS_ERR_ARGUMENT, "%s is not for %s, which is served here", o->name, serve_kind(&s->job));
        if (!set(settings, o, err)) return false;
    }
    return set_of_all(r, settings, err) && run_settle_options(r, err);
}
