/* measure.c - see measure.h. Accuracy is top-1 over a part's test pictures among that part's classes alone, as the
 * papers count it (base and new classes never meet). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/measure.h"

static void count_classes(ts_measure_set *s)
{
    memset(s->total, 0, (size_t)s->data.classes * sizeof *s->total);
    for (int64_t i = 0; i < s->data.test.count; i++) s->total[s->data.test.item[i].label]++;
}

bool ts_measure_open(const ts_clip_data *all, ts_clip_half half, ts_measure_set *out, ts_error *err)
{
    static const char *const labels[] = {[TS_CLIP_ALL] = "all", [TS_CLIP_BASE] = "base", [TS_CLIP_NEW] = "new"};
    *out = (ts_measure_set){.label = labels[half]};
    if (!ts_clip_data_half(all, half, &out->data, err)) return false;
    const ts_clip_split *test = &out->data.test;
    if (test->count == 0) return ts_fail(err, TS_ERR_ARGUMENT, "the data have no test pictures to measure with");
    out->total = calloc((size_t)out->data.classes, sizeof *out->total);
    if (!out->total) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d classes", out->data.classes);
    count_classes(out);
    return true;
}

void ts_measure_close(ts_measure_set *s)
{
    ts_clip_data_clear(&s->data);
    free(s->plain);
    free(s->total);
    *s = (ts_measure_set){0};
}

void ts_measured_clear(ts_measured *m)
{
    free(m->right);
    *m = (ts_measured){0};
}

typedef struct {
    ts_clip_use *use;
    ts_progress *bar;
    bool *broken; /* by picture */
} watching;

static void advance(void *ctx, int64_t done, int64_t total)
{
    const watching *w = ctx;
    (void)total;
    if (w->bar) ts_progress_step(w->bar, done);
}

static void leave_out(void *ctx, int64_t picture, const ts_error *why)
{
    watching *w = ctx;
    w->broken[picture] = true;
    ts_leave_out(&w->use->left_out, why, NULL);
}

/* Takes the broken pictures out of the split, and their rows out of the features. */
static void close_up(ts_clip_split *split, const bool *broken, float *features, size_t embed)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < split->count; i++) {
        if (broken[i]) {
            free(split->item[i].path);
            continue;
        }
        if (kept != i) memcpy(features + (size_t)kept * embed, features + (size_t)i * embed, embed * sizeof *features);
        split->item[kept++] = split->item[i];
    }
    split->count = kept;
}

bool ts_known_features(ts_clip_use *u, ts_clip_prompt *p, ts_clip_split *split, int workers, ts_progress *bar, float *features,
                       ts_error *err)
{
    watching w = {u, bar, calloc((size_t)split->count + 1, sizeof *w.broken)};
    if (!w.broken) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld pictures", (long long)split->count);
    const bool ok =
        ts_clip_split_features(u->clip, p, split, workers, advance, u->left_out.strict ? NULL : leave_out, &w, features, err);
    if (ok) close_up(split, w.broken, features, (size_t)u->config.embed);
    free(w.broken);
    return ok;
}

/* Of the set's test pictures; owned by the caller. */
static float *features_of(ts_clip_use *u, ts_measure_set *s, ts_clip_prompt *p, int workers, ts_error *err)
{
    const size_t count = (size_t)s->data.test.count;
    float *features = malloc(count * (size_t)u->config.embed * sizeof *features);
    if (!features) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %zu pictures", count);
        return NULL;
    }
    ts_progress bar;
    ts_clip_use_announce(u);
    ts_progress_begin(&bar, "pictures", s->data.test.count, u->common.quiet);
    const bool ok = ts_known_features(u, p, &s->data.test, workers, &bar, features, err);
    ts_progress_end(&bar);
    if (!ok) {
        free(features);
        return NULL;
    }
    if ((size_t)s->data.test.count < count) { /* what is known of all of them no longer fits */
        free(s->plain);
        s->plain = NULL;
        count_classes(s);
    }
    return features;
}

static const float *plain_features(ts_clip_use *u, ts_measure_set *s, int workers, ts_error *err)
{
    if (!s->plain) s->plain = features_of(u, s, NULL, workers, err);
    return s->plain;
}

static int best_of(const float *logits, int classes)
{
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

/* Counts what one picture's logits get right. */
static void count_picture(const ts_measure_set *s, int64_t picture, const float *logits, ts_measured *out)
{
    const int label = s->data.test.item[picture].label;
    out->right[label] += best_of(logits, s->data.classes) == label;
}

static void summarise(const ts_measure_set *s, ts_measured *out)
{
    int64_t right = 0;
    int seen = 0;
    double sum = 0;
    for (int k = 0; k < s->data.classes; k++) {
        right += out->right[k];
        if (s->total[k] == 0) continue;
        sum += (double)out->right[k] / (double)s->total[k];
        seen++;
    }
    out->accuracy = (double)right / (double)s->data.test.count;
    out->mean_by_class = sum / seen;
}

static bool begin(const ts_measure_set *s, ts_measured *out, float **logits, ts_error *err)
{
    *out = (ts_measured){.right = calloc((size_t)s->data.classes, sizeof *out->right)};
    *logits = malloc((size_t)s->data.classes * sizeof **logits);
    return (out->right && *logits) || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d classes", s->data.classes);
}

bool ts_measure_zero_shot(ts_clip_use *u, ts_measure_set *s, int workers, const char *const *templates, int template_count,
                          ts_measured *out, ts_error *err)
{
    const int64_t embed = u->config.embed;
    float *logits, *classes = malloc((size_t)s->data.classes * (size_t)embed * sizeof *classes);
    bool ok = begin(s, out, &logits, err) && (classes || ts_fail(err, TS_ERR_MEMORY, "out of memory"));
    ok = ok && ts_clip_classifier(u->clip, u->tokenizer, (const char *const *)s->data.name, s->data.classes, templates,
                                  template_count, u->cut, classes, err);
    const float *features = ok ? plain_features(u, s, workers, err) : NULL;
    for (int64_t i = 0; features && i < s->data.test.count; i++) {
        ts_clip_logits(u->clip, features + i * embed, 1, classes, s->data.classes, logits);
        count_picture(s, i, logits, out);
    }
    if (features) summarise(s, out);
    free(classes);
    free(logits);
    return features != NULL;
}

bool ts_measure_prompt(ts_clip_use *u, ts_measure_set *s, int workers, const ts_weights *prompt, ts_measured *out, ts_error *err)
{
    const int64_t embed = u->config.embed;
    float *logits, *own = NULL;
    bool ok = begin(s, out, &logits, err);
    ts_clip_prompt *p =
        ok ? ts_clip_prompt_open(u->clip, u->tokenizer, prompt, (const char *const *)s->data.name, s->data.classes, u->cut, err)
           : NULL;
    const float *features = NULL;
    if (p)
        features =
            ts_clip_prompt_about(p).plain ? plain_features(u, s, workers, err) : (own = features_of(u, s, p, workers, err));
    ok = features != NULL;
    ts_progress bar;
    ts_progress_begin(&bar, "logits", s->data.test.count, u->common.quiet);
    for (int64_t i = 0; ok && i < s->data.test.count; i++) {
        ok = ts_clip_prompt_logits(p, features + i * embed, 1, logits, err);
        if (ok) count_picture(s, i, logits, out);
        ts_progress_step(&bar, i + 1);
    }
    ts_progress_end(&bar);
    if (ok) summarise(s, out);
    ts_clip_prompt_free(p);
    free(own);
    free(logits);
    return ok;
}

double ts_harmonic_mean(double a, double b)
{
    return a + b > 0 ? 2 * a * b / (a + b) : 0;
}

void ts_running_mean_add(ts_running_mean *m, double value)
{
    const double off = value - m->mean;
    m->mean += off / ++m->count;
    m->squares += off * (value - m->mean);
}

double ts_running_mean_deviation(const ts_running_mean *m)
{
    return m->count > 1 ? sqrt(m->squares / (m->count - 1)) : 0;
}
