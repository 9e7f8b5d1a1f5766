/* words.c - the words nearest to what a prompt learned: a look into it, as the papers give one, and no more: what is nearest
 * need not be near. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/measure.h"

/* "dog</w>" ends a word; within one it goes on. */
static void symbol_text(const ts_tokenizer *t, int symbol, char *out, size_t room)
{
    const char *text = ts_tokenizer_symbol(t, symbol), *end = text ? strstr(text, "</w>") : NULL;
    snprintf(out, room, "%.*s%s", text ? (int)(end ? end - text : (long)strlen(text)) : 1, text ? text : "?", end ? "" : "-");
}

/* NULL: the prompt has no vectors, or (in `err`) something failed. */
static ts_clip_word *find_words(ts_clip_prompt *p, int each, int most, int *vectors, ts_error *err)
{
    const int all = ts_clip_prompt_about(p).vectors;
    *vectors = all < most ? all : most;
    if (*vectors == 0) return NULL;
    ts_clip_word *list = calloc((size_t)*vectors, (size_t)each * sizeof *list);
    if (!list) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (list && ts_clip_prompt_words(p, 0, *vectors, each, list, err)) return list;
    free(list);
    return NULL;
}

bool ts_print_prompt_words(ts_clip_prompt *p, const ts_tokenizer *t, int each, int most, ts_error *err)
{
    int vectors;
    ts_error why = {0};
    ts_clip_word *list = find_words(p, each, most, &vectors, &why);
    if (!list) return why.code == TS_OK || ts_fail(err, why.code, "%s", why.text);
    printf("nearest words (distance):\n");
    for (int v = 0; v < vectors; v++) {
        printf("  %3d ", v + 1);
        for (int i = 0; i < each; i++) {
            char text[64];
            symbol_text(t, list[v * each + i].symbol, text, sizeof text);
            printf("  ");
            ts_put_text(stdout, text);
            printf(" (%.3f)", (double)list[v * each + i].distance);
        }
        printf("\n");
    }
    const int left = ts_clip_prompt_about(p).vectors - vectors;
    if (left > 0) printf("  and %d more\n", left);
    free(list);
    return true;
}

bool ts_report_prompt_words(ts_clip_prompt *p, const ts_tokenizer *t, int each, int most, cJSON *to, ts_error *err)
{
    int vectors;
    ts_error why = {0};
    ts_clip_word *list = find_words(p, each, most, &vectors, &why);
    if (!list) return why.code == TS_OK || ts_fail(err, why.code, "%s", why.text);
    cJSON *words = cJSON_AddArrayToObject(to, "words");
    bool ok = words != NULL;
    for (int v = 0; ok && v < vectors; v++) {
        cJSON *row = cJSON_CreateArray();
        ok = cJSON_AddItemToArray(words, row);
        for (int i = 0; ok && i < each; i++) {
            char text[64];
            cJSON *one = cJSON_CreateObject();
            symbol_text(t, list[v * each + i].symbol, text, sizeof text);
            ok = cJSON_AddItemToArray(row, one) && cJSON_AddStringToObject(one, "word", text) &&
                 cJSON_AddNumberToObject(one, "distance", (double)list[v * each + i].distance);
        }
    }
    free(list);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

bool ts_save_prompt_picture(ts_clip_prompt *p, const char *path, ts_error *err)
{
    ts_image img;
    if (!ts_clip_prompt_picture(p, &img, err)) return false;
    const bool ok = ts_image_save(path, &img, err);
    ts_image_clear(&img);
    return ok;
}
