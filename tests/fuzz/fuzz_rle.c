/* fuzz_rle.c - any bytes as COCO's run lengths: the first two are the mask's size. What is read has the area and the box that its
 * mask has, and its mask gives the same mask again. */
#include <stdlib.h>
#include <string.h>

#include "masks/masks.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const ts_rle *runs)
{
    ts_mask mask, again;
    ts_rle other, read;
    if (!ts_rle_mask(runs, &mask, NULL) || !ts_rle_of(&mask, &other, NULL)) abort();
    const ts_box a = ts_rle_box(runs), b = ts_mask_box(&mask);
    char *text = ts_rle_text(&other, NULL);
    if (ts_rle_area(runs) != ts_mask_area(&mask) || memcmp(&a, &b, sizeof a) != 0) abort();
    if (!text || !ts_rle_read(text, mask.width, mask.height, &read, NULL) || !ts_rle_mask(&read, &again, NULL)) abort();
    if (memcmp(mask.data, again.data, (size_t)mask.width * (size_t)mask.height) != 0) abort();
    free(text);
    ts_rle_clear(&other);
    ts_rle_clear(&read);
    ts_mask_clear(&mask);
    ts_mask_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2) return 0;
    char *text = malloc(size - 1);
    if (!text) return 0;
    memcpy(text, bytes + 2, size - 2);
    text[size - 2] = '\0';
    ts_rle runs;
    ts_error err = {0};
    const bool ok = ts_rle_read(text, bytes[0], bytes[1], &runs, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok) check(&runs);
    ts_rle_clear(&runs);
    free(text);
    return 0;
}
