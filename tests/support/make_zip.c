/* make_zip.c - see make_zip.h. */
#include "make_zip.h"

#include <stdlib.h>
#include <string.h>

static void put(uint8_t *to, size_t room, size_t *at, uint64_t value, int bytes)
{
    if (*at + (size_t)bytes > room) abort();
    for (int i = 0; i < bytes; i++, value = value >> 8) to[(*at)++] = (uint8_t)value;
}

static void put_bytes(uint8_t *to, size_t room, size_t *at, const void *bytes, size_t size)
{
    if (*at + size > room) abort();
    if (size) memcpy(to + *at, bytes, size);
    *at += size;
}

void zip_add(zip_maker *z, const char *name, const void *bytes, size_t size, size_t claimed)
{
    uint64_t header = z->size, stated = claimed == SIZE_MAX ? size : claimed, length = strlen(name);
    uint8_t *b = z->bytes, *d = z->directory;
    size_t *at = &z->size, *to = &z->directory_size, room = sizeof z->bytes, space = sizeof z->directory;
    put(b, room, at, 0x04034b50, 4);
    put(b, room, at, 0, 14); /* version, flags, method 0, time, date, checksum */
    put(b, room, at, stated, 4);
    put(b, room, at, stated, 4);
    put(b, room, at, length, 2);
    put(b, room, at, 0, 2);
    put_bytes(b, room, at, name, length);
    put_bytes(b, room, at, bytes, size);
    put(d, space, to, 0x02014b50, 4);
    for (int i = 0; i < 4; i++) put(d, space, to, 0, 4); /* versions, flags, method 0, time, date, checksum */
    put(d, space, to, z->zip64 ? UINT32_MAX : stated, 4);
    put(d, space, to, z->zip64 ? UINT32_MAX : stated, 4);
    put(d, space, to, length, 2);
    put(d, space, to, z->zip64 ? 28 : 0, 2);
    put(d, space, to, 0, 2 + 2 + 2); /* comment, disk, internal attributes */
    put(d, space, to, 0, 4);
    put(d, space, to, z->zip64 ? UINT32_MAX : header, 4);
    put_bytes(d, space, to, name, length);
    if (z->zip64) {
        put(d, space, to, 1, 2);
        put(d, space, to, 24, 2);
        put(d, space, to, stated, 8);
        put(d, space, to, stated, 8);
        put(d, space, to, header, 8);
    }
    z->count++;
}

void zip_finish(zip_maker *z)
{
    uint64_t directory = z->size;
    uint8_t *b = z->bytes;
    size_t *at = &z->size, room = sizeof z->bytes;
    put_bytes(b, room, at, z->directory, z->directory_size);
    uint64_t end64 = z->size;
    if (z->zip64) {
        put(b, room, at, 0x06064b50, 4);
        put(b, room, at, 44, 8);
        put(b, room, at, 0, 8); /* versions */
        put(b, room, at, 0, 4); /* disks */
        put(b, room, at, (uint64_t)z->count, 8);
        put(b, room, at, (uint64_t)z->count, 8);
        put(b, room, at, z->directory_size, 8);
        put(b, room, at, directory, 8);
        put(b, room, at, 0x07064b50, 4);
        put(b, room, at, 0, 4);
        put(b, room, at, end64, 8);
        put(b, room, at, 1, 4);
    }
    put(b, room, at, 0x06054b50, 4);
    put(b, room, at, 0, 4);
    put(b, room, at, z->zip64 ? UINT16_MAX : (uint64_t)z->count, 2);
    put(b, room, at, z->zip64 ? UINT16_MAX : (uint64_t)z->count, 2);
    put(b, room, at, z->zip64 ? UINT32_MAX : z->directory_size, 4);
    put(b, room, at, z->zip64 ? UINT32_MAX : directory, 4);
    put(b, room, at, 0, 2);
}
