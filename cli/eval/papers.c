/* papers.c - figures of "Visual Prompting via Image Inpainting" (Bar et al. 2022, arXiv 2209.00647, table 1), and what keeps ours
 * from standing beside them: a figure is compared where the protocol is the same, and where not, the point that differs is
 * told. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "mae/mae.h"

static const struct {
    const char *measured, *who, *metric;
    double fold[EVAL_FOLDS];
} table[] = {
    {"segmentation", "model", "iou", {.2783, .3044, .2615, .2425}},
    {"segmentation", "copy_example", "iou", {.1292, .1790, .1352, .1529}},
    {"detection", "model", "iou", {.2419, .2520, .2536, .2523}},
    {"detection", "copy_example", "iou", {.1212, .1350, .1303, .1238}},
    {"colorization", "model", "mse", {.67}},
    {"colorization", "model", "lpips", {.40}},
    {"colorization", "copy_example", "mse", {2.63}},
    {"colorization", "copy_example", "lpips", {.75}},
};

double eval_published(const char *measured, const char *who, const char *metric, int fold)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].measured, measured) == 0 && strcmp(table[i].who, who) == 0 && strcmp(table[i].metric, metric) == 0 &&
            fold >= 0 && fold < EVAL_FOLDS && table[i].fold[fold] > 0)
            return table[i].fold[fold];
    return (double)NAN;
}

bool eval_differ(cJSON *differs, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cJSON_AddItemToArray(differs, cJSON_CreateString(text));
}

static bool mae_differs(const eval_task *t, cJSON *differs)
{
    ts_mae_config c;
    ts_error why = {0};
    if (!ts_mae_config_read(t->job.weights, t->job.mae.heads, t->job.mae.decoder_heads, true, &c, &why)) return true;
    if (c.side * c.patch != 224 || c.patch != 16)
        return eval_differ(differs, "the model's canvas has %d pixels and patches of %d, not 224 and 16", c.side * c.patch,
                           c.patch);
    if (c.dim != 1024 || c.depth != 24 || c.decoder_dim != 512 || c.decoder_depth != 8)
        return eval_differ(differs, "the model is no ViT-L: %d wide with %d blocks, not 1024 with 24", c.dim, c.depth);
    const char *slash = strrchr(t->job.model, '/'), *name = slash ? slash + 1 : t->job.model;
    return strstr(name, "1000") ||
           eval_differ(differs, "%s does not call itself checkpoint-1000, which learned of figures for 1000 epochs", name);
}

/* The options that were given and that make another answer of the same model. */
static bool options_differ(const eval_task *t, cJSON *differs)
{
    static const char same[] =
        " model vqgan heads decoder-heads batch device threads verbose json quiet precision seed log part csv "
        "sheet shown keep strict limit fold trials supports colours splits lists runs examples lpips vgg "
        "right-codes ";
    bool ok = true;
    for (int i = 0; ok && i < t->job.given.count; i++) {
        char word[64];
        snprintf(word, sizeof word, " %s ", t->job.given.items[i]);
        if (!strstr(same, word)) ok = eval_differ(differs, "--%s %s", t->job.given.items[i], t->job.values.items[i]);
    }
    return ok;
}

bool eval_model_differs(const eval_task *t, cJSON *differs)
{
    if (run_is_pixels(&t->job)) return eval_differ(differs, "there is no model") && options_differ(t, differs);
    const ts_kind kind = ts_kind_of(t->job.weights);
    bool ok = kind == TS_KIND_MAE_VQGAN ? mae_differs(t, differs)
                                        : eval_differ(differs, "the model is %s and not an MAE-VQGAN", ts_kind_name(kind));
    return ok && options_differ(t, differs);
}
