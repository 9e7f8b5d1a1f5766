/* task.c - `tessera tune task`: from a folder of pairs a file with which the model does the task without an example. Canvases of
 * the folder's pairs tell what each head says on the average; how much of what it says depends on the task tells which heads to
 * patch (one pass), and with --search a search by trying does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/run.h"
#include "cli/tune/task.h"
#include "cli/tune/tune.h"

static const char name[] = "tune task";

static const char NOTE[] =
    "Without --search heads are chosen by one pass: those go first whose activations vary most between tasks for how they vary\n"
    "within one; how many, a try on the folder's own pairs says. --search tries masks, thousands of them: better, and long.\n";

static int parse(tune_task *t, int argc, char **argv)
{
    const ts_option options[] = {
        {'o', "output", "FILE", TS_OPT_TEXT, &t->out, 0, 0, "the task's file (safetensors)"},
        {'m', "model", "FILE", TS_OPT_TEXT, &t->model, 0, 0,
         "an MAE-VQGAN: safetensors or a PyTorch checkpoint; the default model"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &t->vqgan, 0, 0, "the VQGAN, where the model's file holds none"},
        {0, "heads", "N", TS_OPT_INT, &t->heads, 1, 1024, "attention heads of the encoder, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &t->decoder_heads, 1, 1024, "attention heads of the decoder, likewise"},
        {0, "background", "COLOUR", TS_OPT_TEXT, &t->background, 0, 0, "between the cells: black, white or #rrggbb; black"},
        {0, "filter", "bilinear|bicubic", TS_OPT_CHOICE, &t->filter, 0, 0, "resizes pictures to cells; bilinear"},
        {0, "against", "FOLDER", TS_OPT_WORDS, &t->against, 0, 0,
         "pairs of another task, to tell what depends on the task; repeated. Without: identity, low light, fill-in and "
         "colourisation, made of the folder's own pictures"},
        {0, "canvases", "N", TS_OPT_INT, &t->canvases, 2, 1e6, "pairs of pairs, at random, that are run for each task; 1000"},
        {0, "best", "N", TS_OPT_INT, &t->best, 1, 1e6, "of those the best answered ones, whose activations are averaged; 100"},
        {0, "grain", "heads|groups|tokens", TS_OPT_CHOICE, &t->grain, 0, 0,
         "what is patched together: a head at all tokens; at the class token, the query's, the hole's; at each by itself; "
         "groups"},
        {0, "part", "both|encoder|decoder", TS_OPT_CHOICE, &t->part, 0, 0, "where heads are patched; both"},
        {0, "share", "X", TS_OPT_REAL, &t->share, 1e-4, 1, "of the heads that one pass patches; unless said, what does best"},
        {0, "search", NULL, TS_OPT_FLAG, &t->search, 0, 0, "search for heads by REINFORCE"},
        {0, "steps", "N", TS_OPT_INT, &t->steps, 1, 1e6, "of the search; 500"},
        {0, "samples", "N", TS_OPT_INT, &t->samples, 2, 1e5, "masks that a step tries; 320"},
        {0, "lr", "X", TS_OPT_REAL, &t->lr, 1e-9, 1e3, "Adam's rate; 0.1"},
        {0, "start", "X", TS_OPT_REAL, &t->start, -100, 100, "logit of a head's probability at first; -1"},
        {0, "regular", "X", TS_OPT_REAL, &t->regular, 0, 1e6, "weight of the mean probability in what is minimised; 0"},
        {0, "training", "N", TS_OPT_INT, &t->training, 1, 1e6, "pairs that the search tries masks on; 10, at most half of all"},
        {0, "check", "N", TS_OPT_INT, &t->check, 1, 1e6, "other pairs, on which masks are compared; 490"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->resume, 0, 0, "go on with the search of OUTPUT.search"},
        {0, "batch", "N", TS_OPT_INT, &t->batch, 1, 4096, "canvases in one run of the model; 8"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "FOLDER [TARGETS] -o FILE [options]",
                      .summary = "finds task vectors, with which the model does a task without an example, from a folder of "
                                 "pairs: NAME.* with NAME_target.*, or pictures of like names in two",
                      .note = NOTE,
                      .example = "  tessera tune task pairs/ --model checkpoint-3400.pth -o task.safetensors\n"
                                 "  tessera tune task photos/ masks/ --model checkpoint-3400.pth -o task.safetensors --search\n"
                                 "  tessera run --model checkpoint-3400.pth --task task.safetensors -q photo.jpg -o answer.png\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .rest = &t->folders,
                      .least = 1,
                      .most = 2,
                      .rest_name = "a folder",
                      .common = &t->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

/* -1, or the exit status. */
static int check_usage(const tune_task *t)
{
    uint8_t colour[3];
    if (!t->out) return ts_usage_error(name, "the task's file is missing: -o FILE");
    for (int i = 0; i < t->folders.count; i++)
        if (!ts_is_folder(t->folders.items[i])) return ts_usage_error(name, "%s is no folder", t->folders.items[i]);
    for (int i = 0; i < t->against.count; i++)
        if (!ts_is_folder(t->against.items[i])) return ts_usage_error(name, "--against %s is no folder", t->against.items[i]);
    if (t->background && !run_colour_read(t->background, colour))
        return ts_usage_error(name, "--background %s is not black, white or #rrggbb", t->background);
    if (t->resume && !t->search) return ts_usage_error(name, "--resume goes on with a search: it goes with --search");
    return -1;
}

/* ---- making ready ---- */

/* What can be refused without a device. */
static bool open_files(tune_task *t, ts_error *err)
{
    if (!t->model && !ts_default_model(t->default_model, sizeof t->default_model, err)) return false;
    if (!t->model) t->model = t->default_model;
    if (!ts_check_model(t->model, "model", TS_KIND_MAE_VQGAN, err) ||
        (t->vqgan && !ts_check_model(t->vqgan, "VQGAN", TS_KIND_VQGAN, err)) || !ts_check_writable(t->out, err) ||
        (t->search && !tune_search_check(t, err)))
        return false;
    if (!(t->weights = ts_open_weights(t->model, t->common.quiet, err)) ||
        (t->vqgan && !(t->vqgan_weights = ts_open_weights(t->vqgan, t->common.quiet, err))) ||
        !ts_mae_config_read(t->weights, t->heads, t->decoder_heads, false, &t->config, err))
        return false;
    ts_grid_desc desc = {
        .canvas = t->config.side * t->config.patch, .patch = t->config.patch, .filter = (ts_resize_filter)t->filter};
    if (t->background) run_colour_read(t->background, desc.background);
    const char *targets = t->folders.count > 1 ? t->folders.items[1] : NULL;
    return ts_grid_plan(&desc, &t->grid, err) &&
           tune_cells_read(t->folders.items[0], targets, &t->grid, &t->left_out, t->common.quiet, &t->own, err);
}

/* An empty task, or that of the search that goes on. */
static bool make_task(tune_task *t, ts_error *err)
{
    if (!(t->task = ts_task_new(&t->config, &t->grid, err))) return false;
    const size_t places = (size_t)ts_task_places(t->task);
    t->best_mask = calloc(places, 1);
    t->score_mask = calloc(places, 1);
    if (!t->best_mask || !t->score_mask) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (t->own.masks) ts_task_set_colours(t->task, (const uint8_t(*)[3])t->own.colours);
    return !t->resume || tune_search_open(t, err);
}

static bool start(tune_task *t, ts_error *err)
{
    if (!(t->dev = ts_open_device(&t->common, false, err))) return false;
    t->inpainter = ts_inpainter_new(t->dev,
                                    &(ts_inpainter_desc){.weights = t->weights,
                                                         .vqgan_weights = t->vqgan_weights,
                                                         .heads = t->heads,
                                                         .decoder_heads = t->decoder_heads,
                                                         .batch = t->batch},
                                    err);
    if (!t->inpainter) return false;
    ts_announce_device(&t->common, t->dev);
    ts_say_passed(&t->left_out);
    return tune_queries(t, err);
}

/* ---- one pass ---- */

typedef struct {
    double score;
    int unit;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->unit - y->unit;
}

/* The best `share` of the ranked units; into `mask`. */
static void patch_best(const tune_task *t, const ranked *list, int count, double share, uint8_t *bits, uint8_t *mask)
{
    const int wanted = (int)lround(share * count), most = wanted > 1 ? wanted : 1;
    memset(bits, 0, (size_t)ts_task_units(t->task, (ts_task_grain)t->grain));
    for (int i = 0; i < most && i < count; i++) bits[list[i].unit] = 1;
    ts_task_spread(t->task, (ts_task_grain)t->grain, bits, mask);
}

/* How many units to patch is found out where it is not said. The task's mask is the one that did best. */
static bool try_shares(tune_task *t, const ranked *list, int count, uint8_t *bits, uint8_t *mask, ts_error *err)
{
    static const double shares[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1};
    const int tries = t->share > 0 ? 1 : (int)(sizeof shares / sizeof *shares);
    for (int i = 0; i < tries; i++) {
        const double share = t->share > 0 ? t->share : shares[i];
        double loss;
        patch_best(t, list, count, share, bits, mask);
        if (!tune_mask_loss(t, mask, &loss, err)) return false;
        if (i > 0 && loss >= t->one_pass) continue;
        t->one_pass = loss;
        t->used = share;
    }
    patch_best(t, list, count, t->used, bits, mask);
    ts_task_set_mask(t->task, mask);
    return true;
}

static bool one_pass(tune_task *t, const double *score, ts_error *err)
{
    const ts_task_grain grain = (ts_task_grain)t->grain;
    const int units = ts_task_units(t->task, grain);
    uint8_t *bits = calloc((size_t)units, 1), *mask = calloc((size_t)ts_task_places(t->task), 1);
    ranked *list = malloc((size_t)units * sizeof *list);
    if (!bits || !mask || !list) {
        free(bits);
        free(mask);
        free(list);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    int count = 0;
    for (int i = 0; i < units; i++)
        if (ts_task_in_part(t->task, grain, i, (ts_task_part)t->part)) list[count++] = (ranked){score[i], i};
    qsort(list, (size_t)count, sizeof *list, by_score);
    const bool ok = tune_mask_loss(t, mask, &t->bare, err) && try_shares(t, list, count, bits, mask, err);
    free(bits);
    free(mask);
    free(list);
    return ok;
}

/* ---- the whole ---- */

static bool find(tune_task *t, ts_error *err)
{
    double *score = calloc((size_t)ts_task_units(t->task, (ts_task_grain)t->grain), sizeof *score);
    if (!score) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    const bool ok = (t->resume || (tune_plain_loss(t, &t->plain, err) && tune_collect(t, score, err))) &&
                    (t->runner = ts_task_runner_new(t->inpainter, t->task, true, err)) && (t->resume || one_pass(t, score, err));
    if (ok) memcpy(t->score_mask, ts_task_mask(t->task), (size_t)ts_task_places(t->task));
    free(score);
    return ok;
}

/* The task's file has the mask that did better on the pairs that check. */
static bool save(tune_task *t, ts_error *err)
{
    const bool searched = t->best_step > 0 && t->best_loss < t->one_pass;
    ts_task_set_mask(t->task, searched ? t->best_mask : t->score_mask);
    ts_weights_writer *w = ts_weights_writer_new();
    const bool ok = (w || ts_fail(err, TS_ERR_MEMORY, "out of memory")) && ts_task_add(t->task, t->weights, w, err) &&
                    ts_weights_writer_save(w, t->out, err);
    ts_weights_writer_free(w);
    return ok;
}

static double shown(const tune_task *t, double loss)
{
    return t->own.masks ? -loss : loss;
}

static double patched_share(const tune_task *t)
{
    const int64_t places = ts_task_places(t->task);
    int64_t count = 0;
    for (int64_t i = 0; i < places; i++) count += ts_task_mask(t->task)[i];
    return (double)count / (double)places;
}

static bool print_table(const tune_task *t, ts_error *err)
{
    ts_put_line(t->out);
    printf("%s on %d of the pairs\n", t->own.masks ? "IoU" : "mean squared error (normalised)", t->checked);
    printf("%-28s %8.4f\n", "one example, plainly", shown(t, t->plain));
    printf("%-28s %8.4f\n", "none, nothing patched", shown(t, t->bare));
    printf("%-28s %8.4f  (%.3g %% of the heads)\n", "none, by one pass", shown(t, t->one_pass), 100 * t->used);
    if (t->best_step > 0)
        printf("%-28s %8.4f  (step %lld of %lld)\n", "none, by search", shown(t, t->best_loss), (long long)t->best_step,
               (long long)t->done);
    printf("%.3g %% of the heads are patched\n", 100 * patched_share(t));
    return ts_flush_output(err);
}

static bool print_json(const tune_task *t, ts_error *err)
{
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "out", t->out) && cJSON_AddStringToObject(o, "model", t->model) &&
              cJSON_AddStringToObject(o, "device", ts_device_about(t->dev)->name) &&
              cJSON_AddStringToObject(o, "measure", t->own.masks ? "iou" : "mse") &&
              cJSON_AddNumberToObject(o, "pairs", t->own.count) && cJSON_AddNumberToObject(o, "checked", t->checked) &&
              cJSON_AddNumberToObject(o, "one_example", shown(t, t->plain)) &&
              cJSON_AddNumberToObject(o, "nothing_patched", shown(t, t->bare)) &&
              cJSON_AddNumberToObject(o, "one_pass", shown(t, t->one_pass)) &&
              cJSON_AddNumberToObject(o, "one_pass_share", t->used) && cJSON_AddNumberToObject(o, "steps", (double)t->done) &&
              cJSON_AddNumberToObject(o, "patched", patched_share(t));
    if (ok && t->best_step > 0)
        ok = cJSON_AddNumberToObject(o, "search", shown(t, t->best_loss)) &&
             cJSON_AddNumberToObject(o, "search_step", (double)t->best_step) &&
             (!isfinite(t->sampled) || cJSON_AddNumberToObject(o, "sampled", shown(t, t->sampled)));
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_print_json(o, err);
}

static bool work(tune_task *t, ts_error *err)
{
    if (!open_files(t, err) || !make_task(t, err) || !start(t, err) || !find(t, err)) return false;
    bool ok = !t->search || tune_search(t, err);
    if (ok && t->stopped && !t->common.quiet)
        ts_say("stopped after step %lld of %d: --resume goes on", (long long)t->done, t->steps);
    return ok && (t->stopped || (save(t, err) && (t->common.json ? print_json(t, err) : print_table(t, err))));
}

static void clear(tune_task *t)
{
    ts_task_runner_free(t->runner);
    ts_task_free(t->task);
    ts_inpainter_free(t->inpainter);
    ts_device_free(t->dev);
    ts_weights_free(t->vqgan_weights);
    ts_weights_free(t->weights);
    for (int i = 0; t->query && i < t->own.count; i++) ts_image_clear(&t->query[i]);
    free(t->query);
    free(t->order);
    free(t->best_mask);
    free(t->score_mask);
    tune_cells_clear(&t->own);
    ts_words_free(&t->folders);
    ts_words_free(&t->against);
}

int ts_tune_task(int argc, char **argv)
{
    ts_error err = {0};
    tune_task *t = calloc(1, sizeof *t);
    if (!t) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    *t = (tune_task){.canvases = 1000,
                     .best = 100,
                     .grain = TS_TASK_GROUPS,
                     .share = -1,
                     .steps = 500,
                     .samples = 320,
                     .lr = 0.1,
                     .start = -1,
                     .training = 10,
                     .check = 490,
                     .batch = 8,
                     .sampled = (double)NAN};
    int status = parse(t, argc, argv);
    if (status < 0) status = check_usage(t);
    if (status < 0) {
        t->left_out.quiet = t->common.quiet;
        status = work(t, &err) ? ts_left_out_status(name, &t->left_out) : ts_report(name, &err);
        if (t->stopped) status = ts_training_ended(t->stopped);
    }
    clear(t);
    free(t);
    return status;
}
