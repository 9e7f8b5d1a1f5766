/* clip_library.c - see clip_library.h. */
#include "clip_library.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "program.h"

void need_model(void)
{
    if (file_exists(MODEL) && file_exists(VOCAB)) return;
    print_message("skipped: %s or %s is not there\n", MODEL, VOCAB);
    skip();
}

library open_library(void)
{
    ts_error err = {0};
    library l = {.dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err), .weights = ts_weights_open(MODEL, &err)};
    l.tokenizer = ts_tokenizer_open(VOCAB, &err);
    l.clip = l.dev && l.weights && l.tokenizer ? ts_clip_new(l.dev, l.weights, NULL, &err) : NULL;
    if (!l.clip) fail_msg("%s", err.text);
    l.embed = ts_clip_about(l.clip)->embed;
    return l;
}

void close_library(library *l)
{
    ts_clip_free(l->clip);
    ts_tokenizer_free(l->tokenizer);
    ts_weights_free(l->weights);
    ts_device_free(l->dev);
}

float *picture_features(library *l, const char *path)
{
    ts_error err = {0};
    ts_image img = {0};
    const int side = ts_clip_about(l->clip)->image;
    float *pixels = malloc((size_t)side * (size_t)side * 3 * sizeof *pixels);
    float *features = malloc((size_t)l->embed * sizeof *features);
    if (!ts_image_load(path, &img, &err) || !ts_clip_preprocess(&img, side, pixels, &err) ||
        !ts_clip_encode_images(l->clip, pixels, 1, features, &err))
        fail_msg("%s", err.text);
    ts_image_clear(&img);
    free(pixels);
    return features;
}

float *text_features(library *l, const char *words)
{
    ts_error err = {0};
    const int context = ts_clip_about(l->clip)->context;
    int32_t *tokens = malloc((size_t)context * sizeof *tokens);
    float *features = malloc((size_t)l->embed * sizeof *features);
    if (ts_tokenizer_tokens(l->tokenizer, words, context, false, tokens, &err) < 0 ||
        !ts_clip_encode_texts(l->clip, tokens, 1, features, &err))
        fail_msg("%s", err.text);
    free(tokens);
    return features;
}

double cosine(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

const char *make_empty_folder(const char *name)
{
    const char *folder = kept_path(name);
    assert_int_equal(mkdir(folder, 0777), 0);
    return folder;
}

const char *make_folder(const char *name)
{
    const char *folder = make_empty_folder(name);
    assert_int_equal(mkdir(temp_path("%s/below", name), 0777), 0);
    write_picture(temp_path("%s/a.png", name), 80, 60, 1);
    write_picture(temp_path("%s/b.jpg", name), 64, 100, 2);
    write_picture(temp_path("%s/below/c.png", name), 50, 50, 3);
    write_text(temp_path("%s/notes.txt", name), "no picture");
    return folder;
}

void truncate_picture(const char *path)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    write_bytes(path, bytes, size / 2);
    free(bytes);
}
