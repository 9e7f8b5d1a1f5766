/* fuzz_index.c - any bytes as an index of features, and as published lists. What is taken of them must hold together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "retrieval/retrieval.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { WIDTH = 2 };
static char path[] = "/tmp/fuzz_index_XXXXXX";

static void clean_up(void)
{
    unlink(path);
}

static void begin(void)
{
    const int fd = mkstemp(path);
    if (fd < 0) abort();
    close(fd);
    atexit(clean_up);
}

static void check_index(void)
{
    ts_index ix;
    ts_error why = {0};
    ts_index_read(path, "0123456789abcdef", WIDTH, &ix, &why);
    if (ix.width != WIDTH || (why.code && (ix.count || ix.features || ix.names))) abort();
    for (int64_t i = 0; i < ix.count; i++) {
        if (i && strcmp(ix.name[i - 1], ix.name[i]) >= 0) abort();
        if (ts_index_find(&ix, ix.name[i], ix.size[i], ix.mtime[i]) != i) abort();
        for (int k = 0; k < WIDTH; k++)
            if (!isfinite(ix.features[i * WIDTH + k])) abort();
    }
    ts_index_clear(&ix);
}

static void check_lists(const uint8_t *bytes, size_t size)
{
    ts_lists l;
    ts_error err = {0};
    if (!ts_lists_parse((const char *)bytes, size, "fuzz", &l, &err)) {
        if (!err.code || l.list || l.count || l.json) abort();
        return;
    }
    for (int i = 0; i < l.count; i++) {
        if (ts_lists_find(&l, l.list[i].name) != &l.list[i] || l.list[i].count < 1) abort();
        for (int k = 0; k < l.list[i].count; k++)
            if (strlen(l.list[i].picture[k]) > size) abort();
    }
    ts_lists_clear(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static bool begun;
    if (!begun) begin();
    begun = true;
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
    check_index();
    check_lists(bytes, size);
    return 0;
}
