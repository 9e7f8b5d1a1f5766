/* train_vocabulary.c - the vocabulary that a contrastive training goes by. It stands in the run's folder from the beginning,
 * so that a run that goes on cannot meet another one, and under a name by which it is found beside the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/train.h"
#include "engine/file.h"

static const char LIST[] = "bpe_simple_vocab_16e6.txt", PACKED[] = "bpe_simple_vocab_16e6.txt.gz", JSON[] = "vocab.json",
                  MERGES[] = "merges.txt";
enum { LIMIT = 16 << 20 };

/* "folder/name", the folder being that of `file`; or with `whole`, `file` itself. */
static char *beside(const char *file, bool whole, const char *name, ts_error *err)
{
    const char *slash = whole ? file + strlen(file) : strrchr(file, '/');
    char *out = NULL;
    if (asprintf(&out, "%.*s/%s", slash ? (int)(slash - file) : 1, slash ? file : ".", name) >= 0) return out;
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}

static bool copy_file(const char *from, const char *folder, const char *name, ts_error *err)
{
    char *to = beside(folder, true, name, err), *bytes = malloc(LIMIT);
    bool ok = to && (bytes || ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", from));
    FILE *f = ok ? ts_file_open(from, "vocabulary", err) : NULL;
    const size_t size = f ? fread(bytes, 1, LIMIT, f) : 0;
    if (ok && (!f || ferror(f) || size == LIMIT)) ok = ts_fail(err, TS_ERR_IO, "vocabulary %s cannot be read", from);
    if (f) fclose(f);
    ok = ok && ts_file_write(to, bytes, size, err);
    free(bytes);
    free(to);
    return ok;
}

/* The name under which a vocabulary's file is found, by its first bytes. */
static const char *name_of(const char *path)
{
    unsigned char start[2] = {0};
    FILE *f = ts_file_open(path, "vocabulary", NULL);
    if (f && fread(start, 1, sizeof start, f) == 0) start[0] = 0;
    if (f) fclose(f);
    if (start[0] == 0x1f && start[1] == 0x8b) return PACKED;
    return start[0] == '{' || start[0] == ' ' || start[0] == '\n' ? JSON : LIST;
}

static bool copy(const char *path, const char *folder, ts_error *err)
{
    if (!ts_check_readable(path, "vocabulary", err)) return false;
    ts_tokenizer *t = ts_tokenizer_open(path, err);
    if (!t) return false;
    ts_tokenizer_free(t);
    const char *name = name_of(path);
    if (strcmp(name, JSON) == 0) {
        char *merges = beside(path, false, MERGES, err);
        const bool ok = merges && copy_file(merges, folder, MERGES, err);
        free(merges);
        if (!ok) return false;
    }
    return copy_file(path, folder, name, err);
}

/* The one beside the model to start from. */
static bool copy_beside(const char *model, const char *folder, ts_error *err)
{
    const char *const names[] = {PACKED, LIST, JSON};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = beside(model, false, names[i], err);
        if (!path) return false;
        const bool there = access(path, F_OK) == 0, ok = there && copy(path, folder, err);
        free(path);
        if (there) return ok;
    }
    return ts_fail(err, TS_ERR_IO, "there is no vocabulary beside %s: name it with --vocab FILE", model);
}

static bool learn(const ts_clip_train_config *c, const char *folder, const ts_clip_pairs *p, ts_error *err)
{
    char *path = beside(folder, true, LIST, err);
    const char **texts = path ? malloc((size_t)p->count * sizeof *texts) : NULL;
    bool ok = texts != NULL;
    if (path && !ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; ok && i < p->count; i++) texts[i] = p->pair[i].text;
    ok = ok && ts_learn_vocabulary(texts, p->count, c->merges, path, err) > 0;
    free(texts);
    free(path);
    return ok;
}

ts_tokenizer *ts_clip_train_vocabulary(const ts_clip_train_config *c, const char *folder, bool resumed, const ts_clip_pairs *p,
                                       ts_error *err)
{
    bool ok = resumed; /* a run that goes on has it */
    if (!ok && c->vocab) ok = copy(c->vocab, folder, err);
    else if (!ok && c->init) ok = copy_beside(c->init, folder, err);
    else if (!ok) ok = learn(c, folder, p, err);
    char *model = ok ? beside(folder, true, "model.safetensors", err) : NULL;
    ts_tokenizer *t = model ? ts_tokenizer_find(model, err) : NULL;
    free(model);
    return t;
}
