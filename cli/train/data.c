/* data.c - what a run's pictures are, in three numbers, so that a run that goes on can say that they have changed: with others,
 * it comes to something else than it would have. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/train/training.h"

/* FNV-1a, of the bytes and of a 0 after them. */
static uint64_t mix(uint64_t hash, const char *text)
{
    const size_t length = strlen(text) + 1;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void ts_data_seen_add(ts_data_seen *d, const char *name, const char *path)
{
    struct stat s;
    char size[32] = "gone";
    if (stat(path, &s) == 0) {
        d->bytes += (double)s.st_size;
        snprintf(size, sizeof size, "%" PRId64, (int64_t)s.st_size);
    }
    d->files++;
    d->names = mix(mix(d->names ? d->names : UINT64_C(0xcbf29ce484222325), name), size);
}

void ts_data_seen_words(ts_data_seen *d, const char *words)
{
    d->names = mix(d->names, words);
}

bool ts_data_seen_folder(ts_data_seen *d, const char *folder, ts_error *err)
{
    ts_folder list;
    *d = (ts_data_seen){0};
    if (!ts_folder_list(folder, TS_FOLDER_BELOW, &list, err)) return false;
    const size_t root = strlen(folder);
    for (int64_t i = 0; i < list.count; i++) ts_data_seen_add(d, list.picture[i] + root, list.picture[i]);
    ts_folder_clear(&list);
    return true;
}

void ts_data_seen_tell(const ts_data_seen *before, const ts_data_seen *now, const char *what, ts_training_console *c)
{
    char then[32], here[32];
    if (before->files == 0 || (before->files == now->files && before->bytes == now->bytes && before->names == now->names)) return;
    if (before->files == now->files && before->bytes == now->bytes)
        ts_training_say(c, "the pictures of %s are others than before, or have other names: the run goes on with them", what);
    else
        ts_training_say(c,
                        "the pictures of %s have changed: %.0f files, %sB before, %.0f files, %sB now; the run goes on with them",
                        what, before->files, ts_count_text(before->bytes, then), now->files, ts_count_text(now->bytes, here));
}
