/* zero_shot.c - a classifier out of the names of its classes (Radford et al. 2021, section 3.1): the text features of sentences
 * that hold the name, averaged, are the class; a picture belongs to the class with the nearest direction. */
#include "clip/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXTS = 2048 }; /* that are tokenized at a time, one class's at least: bounds memory */

static const char *const DEFAULT_TEMPLATE = "a photo of a {}.";

/* The template with the name in place of every "{}"; NULL: out of memory. */
static char *fill_in(const char *template, const char *name)
{
    size_t size = 1;
    for (const char *at = template; *at;)
        if (strncmp(at, "{}", 2) == 0) size += strlen(name), at += 2;
        else size++, at++;
    char *text = malloc(size), *to = text;
    for (const char *at = template; text && *at;)
        if (strncmp(at, "{}", 2) == 0) {
            memcpy(to, name, strlen(name));
            to += strlen(name), at += 2;
        } else {
            *to++ = *at++;
        }
    if (text) *to = '\0';
    return text;
}

static void make_unit(float *row, int64_t width)
{
    double square = 0;
    for (int64_t i = 0; i < width; i++) square += (double)row[i] * (double)row[i];
    const double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t i = 0; i < width; i++) row[i] = (float)((double)row[i] * scale);
}

/* Sentences (count, templates) as tokens. */
static bool tokenize(const ts_clip *c, const ts_tokenizer *t, const char *const *names, int64_t count,
                     const char *const *templates, int template_count, bool cut, int32_t *tokens, ts_error *err)
{
    for (int64_t i = 0; i < count * template_count; i++) {
        char *text = fill_in(templates[i % template_count], names[i / template_count]);
        if (!text) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const int places = ts_tokenizer_tokens(t, text, c->config.context, cut, tokens + i * c->config.context, err);
        free(text);
        if (places < 0) return false;
    }
    return true;
}

bool ts_clip_classifier(ts_clip *c, const ts_tokenizer *t, const char *const *names, int count, const char *const *templates,
                        int template_count, bool cut, float *classes, ts_error *err)
{
    const int64_t embed = c->config.embed;
    if (!templates) templates = &DEFAULT_TEMPLATE, template_count = 1;
    if (template_count < 1) return ts_fail(err, TS_ERR_ARGUMENT, "there is no template");
    for (int i = 0; i < template_count; i++)
        if (!strstr(templates[i], "{}"))
            return ts_fail(err, TS_ERR_ARGUMENT, "the template \"%.200s\" has no {}, where the name of a class goes",
                           templates[i]);
    if (ts_tokenizer_count(t) > c->config.vocabulary)
        return ts_fail(err, TS_ERR_ARGUMENT, "the tokenizer knows %d symbols and the model %d: they do not belong together",
                       ts_tokenizer_count(t), c->config.vocabulary);
    int64_t step = template_count > MOST_TEXTS ? 1 : MOST_TEXTS / template_count;
    if (step > count) step = count;
    const size_t texts = (size_t)step * (size_t)template_count;
    int32_t *tokens = malloc(texts * (size_t)c->config.context * sizeof *tokens + 1);
    float *features = malloc(texts * (size_t)embed * sizeof *features + 1);
    bool ok = tokens && features;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %zu texts", texts);
    for (int64_t done = 0; ok && done < count; done += step) {
        const int64_t part = step < count - done ? step : count - done;
        ok = tokenize(c, t, names + done, part, templates, template_count, cut, tokens, err) &&
             ts_clip_encode_texts(c, tokens, part * template_count, features, err);
        for (int64_t i = 0; ok && i < part; i++) {
            float *class = classes + (done + i) * embed;
            memset(class, 0, (size_t)embed * sizeof *class);
            for (int64_t k = 0; k < template_count; k++)
                for (int64_t e = 0; e < embed; e++) class[e] += features[(i * template_count + k) * embed + e];
            make_unit(class, embed);
        }
    }
    free(tokens);
    free(features);
    return ok;
}
