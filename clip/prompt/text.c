/* text.c - class prompts as token embeddings. A prompt is start, M context vectors, the class name's tokens, ".", end, and
 * with the name in the middle or in front of the context as CoOp has it (Zhou et al., arXiv 2109.01134, section 3.2). What stands
 * after the end cannot matter in a causal tower, so all are cut at the longest one's end: with short names a small part of the 77
 * places. */
#include "clip/prompt/method.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tokens of one class prompt: -1 - m where context vector m stands. */
typedef struct {
    int32_t *token;
    int count;
} sequence;

static void push(sequence *s, int32_t token)
{
    s->token[s->count++] = token;
}

static void push_context(sequence *s, int from, int to)
{
    for (int m = from; m < to; m++) push(s, -1 - m);
}

/* "prefix name." without the tokens that the context stands for, and how many are moved as the name's: as many as the name has by
 * itself, as published, also where words left of the prefix stand before it. Owned by the caller; NULL and an error on failure.
 */
static int32_t *name_tokens(const ts_tokenizer *t, const ts_prompt_text_desc *d, const char *name, int *named, int *count,
                            ts_error *err)
{
    const char *prefix = d->prefix ? d->prefix : "";
    const size_t room = strlen(prefix) + strlen(name) + 3;
    char *text = malloc(room);
    int32_t *ids = NULL, *all = NULL;
    *count = *named = -1;
    if (text) {
        snprintf(text, room, "%s%s%s.", prefix, *prefix ? " " : "", name);
        *count = ts_tokenizer_encode(t, text, &all, err);
        *named = *count >= 0 ? ts_tokenizer_encode(t, name, &ids, err) : -1;
        free(ids);
    } else {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    free(text);
    if (*count < 0 || *named < 0) {
        free(all);
        return NULL;
    }
    const int replaced = d->prefix ? d->replaced < *count ? d->replaced : *count : 0;
    *count -= replaced;
    memmove(all, all + replaced, (size_t)*count * sizeof *all);
    if (*named > *count) *named = *count; /* a name that ends in a full stop may join with ours */
    return all;
}

static bool build(const ts_tokenizer *t, const char *name, const ts_prompt_text_desc *d, int places, sequence *s, ts_error *err)
{
    int named, count;
    int32_t *ids = name_tokens(t, d, name, &named, &count, err);
    if (!ids) return false;
    const int room = places - 2 - d->context;
    if (count > room && !d->cut) {
        free(ids);
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "the class name \"%.200s\" is too long: with its full stop it has %d tokens, and beside %d context vectors "
            "there is room for %d",
            name, count, d->context, room);
    }
    if (count > room) count = room;
    if (named > count) named = count;
    const int before = d->position == TS_CLASS_FRONT ? 0 : d->position == TS_CLASS_MIDDLE ? d->context / 2 : d->context;
    s->count = 0;
    push(s, ts_tokenizer_start(t));
    push_context(s, 0, before);
    for (int i = 0; i < named; i++) push(s, ids[i]);
    push_context(s, before, d->context);
    for (int i = named; i < count; i++) push(s, ids[i]);
    push(s, ts_tokenizer_end(t));
    free(ids);
    return true;
}

/* Writes sequence k into the tables. `ids` has room for one. */
static bool lay(const ts_clip *c, const sequence *s, int k, bool per_class, int32_t *ids, ts_prompt_text *out, ts_error *err)
{
    const int64_t at = (int64_t)k * out->length;
    float *fixed = out->fixed + at * out->width;
    for (int i = 0; i < s->count; i++) ids[i] = s->token[i] < 0 ? 0 : s->token[i];
    if (!ts_clip_embedding(c, ids, s->count, fixed, err)) return false;
    for (int i = 0; i < out->length; i++) {
        const bool context = i < s->count && s->token[i] < 0;
        out->slot[at + i] = context ? (per_class ? k * out->context : 0) + (-1 - s->token[i]) : -1;
        if (context) memset(fixed + (int64_t)i * out->width, 0, (size_t)out->width * sizeof *fixed);
    }
    out->end[k] = s->count - 1;
    return true;
}

static bool make(const ts_clip *c, const ts_tokenizer *t, const char *const *names, const ts_prompt_text_desc *desc,
                 sequence *list, int32_t *ids, ts_prompt_text *out, ts_error *err)
{
    const int places = ts_clip_about(c)->context;
    for (int k = 0; k < out->classes; k++) {
        list[k].token = ids + (int64_t)(k + 1) * places;
        if (!build(t, names[k], desc, places, &list[k], err)) return false;
        if (list[k].count > out->length) out->length = list[k].count;
    }
    const size_t rows = (size_t)out->classes * (size_t)out->length;
    out->fixed = calloc(rows * (size_t)out->width, sizeof *out->fixed);
    out->slot = malloc(rows * sizeof *out->slot);
    out->end = malloc((size_t)out->classes * sizeof *out->end);
    if (!out->fixed || !out->slot || !out->end)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d class prompts", out->classes);
    for (int k = 0; k < out->classes; k++)
        if (!lay(c, &list[k], k, desc->per_class, ids, out, err)) return false;
    return true;
}

bool ts_prompt_text_new(const ts_clip *c, const ts_tokenizer *t, const char *const *names, int count,
                        const ts_prompt_text_desc *desc, ts_prompt_text *out, ts_error *err)
{
    const ts_clip_config *about = ts_clip_about(c);
    *out = (ts_prompt_text){.classes = count, .context = desc->context, .width = about->text_width};
    if (count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "there are no classes to prompt for");
    if (desc->context < 0 || desc->context > about->context - 3)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d context vectors do not fit: beside start, end and a name there is room for %d",
                       desc->context, about->context - 3);
    if ((int64_t)count * (desc->context + 1) > INT32_MAX)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d classes with %d context vectors each are too many", count, desc->context);
    sequence *list = calloc((size_t)count, sizeof *list);
    int32_t *ids = malloc(((size_t)count + 1) * (size_t)about->context * sizeof *ids);
    bool ok = list && ids ? make(c, t, names, desc, list, ids, out, err)
                          : ts_fail(err, TS_ERR_MEMORY, "out of memory for %d class prompts", count);
    free(list);
    free(ids);
    if (!ok) ts_prompt_text_clear(out);
    return ok;
}

void ts_prompt_text_clear(ts_prompt_text *t)
{
    free(t->fixed);
    free(t->slot);
    free(t->end);
    *t = (ts_prompt_text){0};
}
