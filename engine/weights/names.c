/* names.c - what programs that train a model put before its tensors' names, and is none of the model's: wrappers for several
 * processes, for compiling and for sharding, and the attribute of a training class that holds the model. */
#include "engine/weights/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parts of a name that are left out wherever they stand. */
static const char *const wrappers[] = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"};

/* Left out at the front, where all the tensors have it but those of `beside`. An average over the training comes before what it
 * was made of, as among the keys of a checkpoint. */
static const char attribute[] = "model.";
static const char *const averages[] = {"model_ema.", "ema_model.", "ema."};
static const char *const beside[] = {"loss.",          "loss_fn.", "criterion.", "lpips.",         "perceptual_loss.",
                                     "discriminator.", "metric.",  "metrics.",   "train_metrics.", "val_metrics.",
                                     "n_averaged"};

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_wrapper(const char *part, size_t length)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strlen(wrappers[i]) == length && memcmp(part, wrappers[i], length) == 0) return true;
    return false;
}

/* Leaves the wrappers out of `name`, in place. The last part is the tensor's own and stays. */
static void unwrap(char *name)
{
    char *to = name;
    for (const char *from = name;;) {
        const char *dot = strchr(from, '.');
        if (!dot) {
            memmove(to, from, strlen(from) + 1);
            return;
        }
        const size_t length = (size_t)(dot - from) + 1;
        if (!is_wrapper(from, length - 1)) {
            memmove(to, from, length);
            to += length;
        }
        from = dot + 1;
    }
}

/* The attribute to leave out of the front of the names that have it; NULL: none. */
static const char *find_attribute(char *const *names, int64_t count, const char **averaged)
{
    int64_t plain = 0, others = 0, of[sizeof averages / sizeof *averages] = {0};
    *averaged = NULL;
    for (int64_t i = 0; i < count; i++) {
        bool known = begins(names[i], attribute);
        plain += known;
        for (size_t k = 0; k < sizeof averages / sizeof *averages; k++) {
            if (!begins(names[i], averages[k])) continue;
            of[k]++;
            known = true;
        }
        for (size_t k = 0; !known && k < sizeof beside / sizeof *beside; k++) known = begins(names[i], beside[k]);
        others += !known;
    }
    if (!plain || others) return NULL;
    for (size_t k = 0; k < sizeof averages / sizeof *averages; k++)
        if (2 * of[k] >= plain) *averaged = averages[k];
    return *averaged ? *averaged : attribute;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 1: all differ, 0: two are the same, -1: out of memory. */
static int all_differ(char *const *names, int64_t count)
{
    char **sorted = malloc(((size_t)count + 1) * sizeof *sorted);
    if (!sorted) return -1;
    int differ = 1;
    for (int64_t i = 0; i < count; i++) sorted[i] = names[i];
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    for (int64_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0) differ = 0;
    free(sorted);
    return differ;
}

static bool shorten(ts_weights *w, char **names, ts_error *err)
{
    const char *front, *averaged, *taken = NULL;
    for (int64_t i = 0; i < w->count; i++) {
        if (!(names[i] = strdup(w->list[i].name))) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
        unwrap(names[i]);
    }
    while ((front = find_attribute(names, w->count, &averaged))) {
        for (int64_t i = 0; i < w->count; i++)
            if (begins(names[i], front)) memmove(names[i], names[i] + strlen(front), strlen(names[i]) - strlen(front) + 1);
        if (averaged) taken = averaged;
        if (averaged) break; /* what it was made of keeps its prefix, and is not looked at */
    }
    const int differ = all_differ(names, w->count);
    if (differ < 0) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    if (!differ) return true; /* the wrappers told the tensors apart: they stay */
    for (int64_t i = 0; i < w->count; i++) {
        char *old = (char *)w->list[i].name;
        w->list[i].name = names[i];
        names[i] = old;
    }
    return !taken || ts_weights_say(w, err,
                                    "it holds a model and its average over the training: the average is taken ('%s*'), not the "
                                    "plain one ('%s*')",
                                    taken, attribute);
}

/* Pieces of a model that several processes trained: whole files to look at, but no model. */
static bool check_pieces(const ts_weights *w, ts_error *err)
{
    int64_t elements = 0;
    for (int64_t i = 0; i < w->count; i++) {
        const char *name = w->list[i].name, *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
        char shown[TS_QUOTE];
        elements += w->list[i].count;
        if (strcmp(last, "_flat_param") == 0 || strcmp(last, "flat_param") == 0 || begins(last, "_fsdp_"))
            return ts_fail(
                err, TS_ERR_FORMAT,
                "'%s' holds one process's piece of a model trained with FSDP ('%s'): save it again as a full state dict", w->path,
                ts_quote(shown, name, strlen(name)));
    }
    if (elements || !w->count) return true;
    return ts_fail(
        err, TS_ERR_FORMAT,
        "'%s': all of its %lld tensors are empty: DeepSpeed's ZeRO keeps them in other files, which its zero_to_fp32.py "
        "joins",
        w->path, (long long)w->count);
}

bool ts_weights_clean_names(ts_weights *w, ts_error *err)
{
    char **names = calloc((size_t)w->count + 1, sizeof *names);
    if (!names) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for %lld names", w->path, (long long)w->count);
    const bool ok = shorten(w, names, err) && check_pieces(w, err);
    for (int64_t i = 0; i < w->count; i++) free(names[i]);
    free(names);
    return ok;
}

/* ---- for an error ----------------------------------------------------------------------------------------------- */

const char *ts_weights_prefixes(const ts_weights *w, char *out, size_t room)
{
    enum { SHOWN = 4 };
    size_t used = 0;
    int shown = 0;
    out[0] = '\0';
    /* by_name is sorted: names of one first part stand together. */
    for (int64_t i = 0; i < w->count;) {
        const char *name = w->by_name[i]->name;
        const size_t length = strcspn(name, ".") + (strchr(name, '.') != NULL);
        int64_t same = i;
        while (same < w->count && strncmp(w->by_name[same]->name, name, length) == 0) same++;
        char quoted[TS_QUOTE];
        ts_quote(quoted, name, length < 40 ? length : 40);
        if (shown++ == SHOWN || used + strlen(quoted) + 40 > room) {
            snprintf(out + used, room - used, ", ...");
            break;
        }
        used += (size_t)snprintf(out + used, room - used, "%s%s (%lld)", used ? ", " : "", quoted, (long long)(same - i));
        i = same;
    }
    return out;
}

bool ts_weights_lack(const ts_weights *w, const char *name, const char *whose, ts_error *err)
{
    char has[320];
    return ts_fail(err, TS_ERR_FORMAT,
                   "%s: tensor %s is missing, which tells %s architecture; the names in the file begin with %s", w->path, name,
                   whose, ts_weights_prefixes(w, has, sizeof has));
}
