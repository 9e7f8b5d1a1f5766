/* score.c - a prompt at work: features of pictures, and logits. Class features are made when they are first asked for and kept,
 * but for a method whose classes depend on the picture, which makes them for each. */
#include <stdlib.h>
#include <string.h>

#include "clip/prompt/tune.h"

enum { MOST_IMAGES = 16 };
static const uint64_t MEMORY = UINT64_C(1) << 30;

struct ts_clip_prompt {
    ts_prompt *prompt;
    char **name; /* (classes), and NULL */
    ts_clip_pass images, class_pass;
    int64_t batch;  /* of `images` */
    float *classes; /* (classes, embed) */
    bool made;      /* they are those of the parameters as they are */
};

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* A list that ends with NULL. */
static void free_names(char **names)
{
    for (int i = 0; names && names[i]; i++) free(names[i]);
    free(names);
}

static char **copy_names(const char *const *names, int count, ts_error *err)
{
    char **copy = calloc((size_t)count + 1, sizeof *copy);
    int copied = 0;
    while (copy && copied < count && (copy[copied] = strdup(names[copied]))) copied++;
    if (copied == count) return copy;
    free_names(copy);
    ts_fail(err, TS_ERR_MEMORY, "out of memory for %d class names", count);
    return NULL;
}

ts_clip_prompt *ts_clip_prompt_new(const ts_prompt_desc *desc, ts_error *err)
{
    if (desc->classes < 1 || !desc->names) {
        ts_fail(err, TS_ERR_ARGUMENT, "there are no classes to tell apart");
        return NULL;
    }
    ts_clip_prompt *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    ts_prompt_desc own = *desc;
    bool ok = ts_clip_check_names(desc->names, desc->classes, err) && (p->name = copy_names(desc->names, desc->classes, err));
    own.names = (const char *const *)p->name;
    ok = ok && (p->prompt = ts_prompt_new(&own, err)) != NULL;
    const size_t embed = (size_t)ts_clip_about(desc->clip)->embed;
    if (ok && !(p->classes = malloc((size_t)desc->classes * embed * sizeof *p->classes)))
        ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for %d classes", desc->classes);
    if (ok) return p;
    ts_clip_prompt_free(p);
    return NULL;
}

void ts_clip_prompt_free(ts_clip_prompt *p)
{
    if (!p) return;
    ts_clip_pass_clear(&p->images);
    ts_clip_pass_clear(&p->class_pass);
    free_names(p->name);
    free(p->classes);
    ts_prompt_free(p->prompt);
    free(p);
}

ts_prompt *ts_clip_prompt_inner(ts_clip_prompt *p)
{
    return p->prompt;
}

void ts_clip_prompt_changed(ts_clip_prompt *p)
{
    p->made = false;
}

/* Context per class serves the classes it was learned for, in their order. */
static bool check_own(const ts_weights *w, const ts_prompt_file *f, const char *const *names, int classes, ts_error *err)
{
    const ts_weight *ctx = ts_prompt_in_file(w, "ctx");
    if (!ctx || ctx->ndim != 3) return true; /* the context is shared */
    if (ctx->shape[0] != classes)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "prompt %s has context of its own for each of the %lld classes it was trained with, and cannot serve %d others",
            ts_weights_path(w), (long long)ctx->shape[0], classes);
    for (int i = 0; f->name && f->classes == classes && i < classes; i++)
        if (strcmp(f->name[i], names[i]) != 0)
            return ts_fail(
                err, TS_ERR_ARGUMENT,
                "prompt %s has context of its own for each class, and class %d is \"%.100s\" there and \"%.100s\" here",
                ts_weights_path(w), i, f->name[i], names[i]);
    return true;
}

ts_clip_prompt *ts_clip_prompt_open(ts_clip *c, const ts_tokenizer *t, const ts_weights *file, const char *const *names,
                                    int classes, bool cut, ts_error *err)
{
    ts_prompt_file f;
    if (!ts_prompt_file_read(file, c, &f, err)) return NULL;
    bool ok = names || f.name ||
              ts_fail(err, TS_ERR_ARGUMENT, "%s does not say which classes it was trained with: they must be named",
                      ts_weights_path(file));
    ts_prompt_desc desc = {.method = f.method,
                           .settings = f.settings,
                           .clip = c,
                           .tokenizer = t,
                           .names = names ? names : (const char *const *)f.name,
                           .classes = names ? classes : f.classes,
                           .cut = cut,
                           .seed = f.seed,
                           .weights = file};
    ok = ok && check_own(file, &f, desc.names, desc.classes, err);
    ts_clip_prompt *p = ok ? ts_clip_prompt_new(&desc, err) : NULL;
    ts_prompt_file_clear(&f);
    return p;
}

ts_clip_prompt_info ts_clip_prompt_about(const ts_clip_prompt *p)
{
    const ts_prompt *q = p->prompt;
    ts_clip_prompt_info info = {.method = q->method->name,
                                .classes = q->classes,
                                .names = q->names,
                                .side = q->side,
                                .plain = !q->method->images,
                                .pictured = q->method->picture != NULL};
    for (int i = 0; i < q->declared_count; i++) {
        int64_t count = 1, rows = 1;
        for (int d = 0; d < q->declared[i].ndim; d++) count *= q->declared[i].shape[d];
        for (int d = 0; d + 1 < q->declared[i].ndim; d++) rows *= q->declared[i].shape[d];
        info.trained += (int)count;
        if (strcmp(q->declared[i].name, "ctx") == 0) info.vectors = (int)rows;
    }
    return info;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

/* `seed`: of what the method draws anew for each batch, also at test (VP's random patch). */
static bool run_images(ts_clip_prompt *p, const float *pixels, int64_t count, uint64_t seed, float *features, ts_error *err)
{
    const int64_t picture = (int64_t)p->prompt->side * p->prompt->side * 3, embed = ts_clip_about(p->prompt->clip)->embed;
    float *in = calloc((size_t)(p->batch * picture), sizeof *in), *out = malloc((size_t)(p->batch * embed) * sizeof *out);
    bool ok = in && out;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld pictures", (long long)p->batch);
    for (int64_t at = 0; ok && at < count; at += p->batch) {
        const int64_t n = count - at < p->batch ? count - at : p->batch;
        memcpy(in, pixels + at * picture, (size_t)(n * picture) * sizeof *in);
        ok = ts_prompt_write(&p->images.pg, p->images.e, false, seed + (uint64_t)(at / p->batch), err) &&
             ts_write(p->images.e, p->images.pixels, in, err) && ts_run(p->images.e, err) &&
             ts_read(p->images.e, p->images.out, out, err);
        if (ok) memcpy(features + at * embed, out, (size_t)(n * embed) * sizeof *out);
    }
    free(in);
    free(out);
    return ok;
}

static bool encode(ts_clip_prompt *p, const float *pixels, int64_t count, uint64_t seed, float *features, ts_error *err)
{
    if (!p->prompt->method->images) return ts_clip_encode_images(p->prompt->clip, pixels, count, features, err);
    if (!p->images.e) {
        p->batch = count < MOST_IMAGES ? count : MOST_IMAGES;
        if (!ts_clip_pass_images(&p->images, p->prompt, p->batch, false, err)) {
            ts_clip_pass_clear(&p->images);
            return false;
        }
    }
    return run_images(p, pixels, count, seed, features, err);
}

bool ts_clip_prompt_features(ts_clip_prompt *p, const float *pixels, int64_t count, float *features, ts_error *err)
{
    return count == 0 || encode(p, pixels, count, 0, features, err);
}

/* ---- classes and logits ------------------------------------------------------------------------------------------ */

static bool make_classes(ts_clip_prompt *p, const float *image, ts_error *err)
{
    if (!p->prompt->method->classes) return ts_prompt_constant_classes(p->prompt, p->classes, err);
    if (!p->class_pass.e && !ts_clip_pass_classes(&p->class_pass, p->prompt, ts_clip_chunk_size(p->prompt, MEMORY), false, err)) {
        ts_clip_pass_clear(&p->class_pass);
        return false;
    }
    return ts_clip_pass_all_classes(&p->class_pass, image, p->classes, err);
}

bool ts_clip_prompt_logits(ts_clip_prompt *p, const float *features, int64_t count, float *logits, ts_error *err)
{
    const ts_prompt *q = p->prompt;
    const int64_t embed = ts_clip_about(q->clip)->embed;
    if (!q->method->per_image) {
        if (!p->made && !make_classes(p, NULL, err)) return false;
        p->made = true;
        ts_clip_logits(q->clip, features, count, p->classes, q->classes, logits);
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!make_classes(p, features + i * embed, err)) return false;
        ts_clip_logits(q->clip, features + i * embed, 1, p->classes, q->classes, logits + i * q->classes);
    }
    return true;
}

/* ---- a split ----------------------------------------------------------------------------------------------------- */

bool ts_clip_split_features(ts_clip *c, ts_clip_prompt *p, const ts_clip_split *split, int threads, ts_clip_progress progress,
                            ts_clip_left_out left_out, void *ctx, float *features, ts_error *err)
{
    const int64_t embed = ts_clip_about(c)->embed;
    if (split->count == 0) return true;
    ts_clip_reader *r = ts_clip_reader_new(&(ts_clip_reader_desc){.item = split->item,
                                                                  .count = split->count,
                                                                  .side = p ? p->prompt->side : ts_clip_about(c)->image,
                                                                  .batch = MOST_IMAGES,
                                                                  .threads = threads,
                                                                  .skip = left_out != NULL},
                                           err);
    int64_t item;
    ts_error why;
    bool ok = r != NULL;
    for (int64_t done = 0; ok && done < split->count;) {
        ts_clip_pictures_read batch;
        if (!(ok = ts_clip_reader_next(r, &batch, err))) break;
        float *rows = features + done * embed;
        ok = p ? encode(p, batch.pixels, batch.count, (uint64_t)(done / MOST_IMAGES), rows, err)
               : ts_clip_encode_images(c, batch.pixels, batch.count, rows, err);
        done += batch.count;
        if (ok && progress) progress(ctx, done, split->count);
        while (ok && left_out && ts_clip_reader_skipped(r, &item, &why)) left_out(ctx, item, &why);
    }
    ts_clip_reader_free(r);
    return ok;
}

/* ---- looking into it --------------------------------------------------------------------------------------------- */

bool ts_clip_prompt_picture(ts_clip_prompt *p, ts_image *out, ts_error *err)
{
    const int side = ts_clip_about(p->prompt->clip)->image;
    if (!p->prompt->method->picture)
        return ts_fail(err, TS_ERR_ARGUMENT, "a prompt of %s has no picture: it changes no pixels", p->prompt->method->name);
    if (!ts_image_new(side, side, out, err)) return false;
    if (p->prompt->method->picture(p->prompt, out->data, err)) return true;
    ts_image_clear(out);
    return false;
}
