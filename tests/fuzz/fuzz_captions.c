/* fuzz_captions.c - any bytes as captions.jsonl. Each pair that is read has a picture and a text, and a line that is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/fuzz_captions_XXXXXX", list[64];

static void clean_up(void)
{
    unlink(list);
    rmdir(folder);
}

static void begin(void)
{
    if (!mkdtemp(folder)) abort();
    snprintf(list, sizeof list, "%s/captions.jsonl", folder);
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ts_clip_pairs pairs;
    ts_error err = {0};
    int64_t lines = 1, line = 0;
    if (!list[0]) begin();
    FILE *f = fopen(list, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
    for (size_t i = 0; i < size; i++) lines += bytes[i] == '\n';
    const bool ok = ts_clip_pairs_open(folder, &pairs, &err);
    if (ok == (err.code != TS_OK) || (ok && pairs.count < 1)) abort();
    for (int64_t i = 0; ok && i < pairs.count; i++) {
        const ts_clip_pair *p = &pairs.pair[i];
        if (!p->path || !p->path[0] || !p->text || !p->text[0] || p->line <= line || p->line > lines) abort();
        line = p->line;
    }
    ts_clip_pairs_clear(&pairs);
    return 0;
}
