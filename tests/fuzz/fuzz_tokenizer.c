/* fuzz_tokenizer.c - any bytes as a vocabulary (the first byte tells in which form), and as a text for a small one. What opens
 * must encode, and every id be a symbol's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/fuzz_tokenizer_XXXXXX";
static const char LIST[] = "#version: 0.2\na b\nab c</w>\na a\naa a</w>\nb c\n";

static void clean_up(void)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "list"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static const char *write_file(const char *name, const void *bytes, size_t size)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
    return path;
}

static void encode(const ts_tokenizer *t, const char *text)
{
    ts_error err = {0};
    int32_t *ids, row[16];
    int count = ts_tokenizer_encode(t, text, &ids, &err);
    if (count < 0 && err.code == TS_OK) abort();
    for (int i = 0; i < count; i++)
        if (!ts_tokenizer_symbol(t, ids[i])) abort();
    free(ids);
    int used = ts_tokenizer_tokens(t, text, 16, true, row, NULL);
    if ((used < 0) != (count < 0) || (used > 0 && row[used - 1] != ts_tokenizer_end(t))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static ts_tokenizer *small;
    if (!small) {
        if (!mkdtemp(folder)) abort();
        atexit(clean_up);
        small = ts_tokenizer_open(write_file("list", LIST, sizeof LIST - 1), NULL);
        if (!small) abort();
    }
    if (size == 0) return 0;
    ts_error err = {0};
    char *text = malloc(size);
    if (!text) return 0;
    memcpy(text, bytes + 1, size - 1);
    text[size - 1] = '\0';
    ts_tokenizer *t = NULL;
    switch (bytes[0] % 4) {
    case 0:
        encode(small, text);
        free(text);
        return 0;
    case 1:
        t = ts_tokenizer_open(write_file("list", bytes + 1, size - 1), &err);
        break;
    case 2:
        write_file("merges.txt", LIST, sizeof LIST - 1);
        t = ts_tokenizer_open(write_file("vocab.json", bytes + 1, size - 1), &err);
        break;
    default: { /* both, parted at the first zero byte */
        size_t first = strlen(text), second = first < size - 1 ? first + 1 : first;
        write_file("merges.txt", text, first);
        t = ts_tokenizer_open(write_file("vocab.json", text + second, size - 1 - second), &err);
    }
    }
    if (!t && err.code == TS_OK) abort(); /* a refusal without a reason */
    if (t) encode(t, text);
    ts_tokenizer_free(t);
    free(text);
    return 0;
}
