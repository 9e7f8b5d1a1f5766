/* make_zip.h - zip archives made by hand, for tests of what no honest program writes. */
#ifndef TESSERA_MAKE_ZIP_H
#define TESSERA_MAKE_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t bytes[1 << 16];
    size_t size;
    uint8_t directory[1 << 14];
    size_t directory_size;
    int count;
    bool zip64; /* set before the first record: sizes and offsets go to the zip64 fields */
} zip_maker;

/* Adds a stored record; `claimed` is the size that the directory states (SIZE_MAX: the true one). */
void zip_add(zip_maker *z, const char *name, const void *bytes, size_t size, size_t claimed);
/* Appends the directory: z->bytes is then the archive. */
void zip_finish(zip_maker *z);

#endif
