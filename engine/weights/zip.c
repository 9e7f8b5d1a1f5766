/* zip.c - see zip.h.
 *
 * Only the central directory is trusted to list entries; an entry's local header is looked at when its bytes are asked for, so
 * opening an archive of gigabytes touches a few pages. The checksums are not verified: that would read the whole file, and
 * PyTorch can be told to leave them out. Two entries of one name are refused, since readers differ in which one they take. */
#include "engine/weights/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_SIZE = 22,       /* end of central directory */
    LOCATOR_SIZE = 20,   /* zip64 locator, just before it */
    END64_SIZE = 56,     /* zip64 end of central directory */
    DIRECTORY_SIZE = 46, /* one entry of the directory, without name, extra field and comment */
    LOCAL_SIZE = 30,     /* local header, likewise */
    MAX_ENTRIES = 1 << 20,
};

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static bool inside(const ts_zip *zip, uint64_t offset, uint64_t length)
{
    return offset <= zip->size && length <= zip->size - offset;
}

/* The end record is the last thing in the file but for a comment of up to 64 KB. */
static bool find_end(const ts_zip *zip, uint64_t *at)
{
    if (zip->size < END_SIZE) return false;
    for (uint64_t comment = 0; comment <= UINT16_MAX && comment <= zip->size - END_SIZE; comment++) {
        uint64_t offset = zip->size - END_SIZE - comment;
        if (memcmp(zip->bytes + offset, "PK\5\6", 4) != 0 || little(zip->bytes + offset + 20, 2) != comment) continue;
        *at = offset;
        return true;
    }
    return false;
}

/* Where the directory lies, and how many entries it has. */
static bool find_directory(const ts_zip *zip, uint64_t *offset, uint64_t *size, uint64_t *count, ts_error *err)
{
    uint64_t at;
    if (!find_end(zip, &at))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is a zip archive without its directory: the file is truncated", zip->label);
    const uint8_t *end = zip->bytes + at;
    *count = little(end + 10, 2);
    *size = little(end + 12, 4);
    *offset = little(end + 16, 4);
    if (at >= LOCATOR_SIZE && memcmp(end - LOCATOR_SIZE, "PK\6\7", 4) == 0) {
        uint64_t at64 = little(end - LOCATOR_SIZE + 8, 8);
        if (!inside(zip, at64, END64_SIZE) || memcmp(zip->bytes + at64, "PK\6\6", 4) != 0)
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the zip64 end record is not where the archive says", zip->label);
        *count = little(zip->bytes + at64 + 32, 8);
        *size = little(zip->bytes + at64 + 40, 8);
        *offset = little(zip->bytes + at64 + 48, 8);
    }
    if (!inside(zip, *offset, *size) || *count > MAX_ENTRIES || *count > *size / DIRECTORY_SIZE)
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the zip directory does not fit the file: it is truncated or broken",
                       zip->label);
    return true;
}

/* The zip64 extra field holds, in this order, those of size, packed and header that do not fit 32 bits. */
static bool read_zip64(const uint8_t *extra, uint64_t length, ts_zip_entry *entry)
{
    uint64_t *wide[3] = {&entry->size, &entry->packed, &entry->header};
    while (length >= 4) {
        uint64_t id = little(extra, 2), n = little(extra + 2, 2);
        if (n > length - 4) return false;
        if (id == 1) {
            const uint8_t *p = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*wide[i] != UINT32_MAX) continue;
                if (n < 8) return false;
                *wide[i] = little(p, 8);
                p += 8;
                n -= 8;
            }
            return true;
        }
        extra += 4 + n;
        length -= 4 + n;
    }
    return entry->size != UINT32_MAX && entry->packed != UINT32_MAX && entry->header != UINT32_MAX;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const ts_zip_entry *)a)->name, ((const ts_zip_entry *)b)->name);
}

static bool read_entries(ts_zip *zip, uint64_t offset, uint64_t size, ts_error *err)
{
    const uint8_t *p = zip->bytes + offset;
    char *name = zip->names;
    for (int64_t i = 0; i < zip->count; i++) {
        ts_zip_entry *entry = &zip->entries[i];
        if (size < DIRECTORY_SIZE || memcmp(p, "PK\1\2", 4) != 0) return false;
        uint64_t name_size = little(p + 28, 2), extra_size = little(p + 30, 2), comment_size = little(p + 32, 2);
        if (name_size + extra_size + comment_size > size - DIRECTORY_SIZE) return false;
        entry->encrypted = little(p + 8, 2) & 1;
        entry->method = (int)little(p + 10, 2);
        entry->packed = little(p + 20, 4);
        entry->size = little(p + 24, 4);
        entry->header = little(p + 42, 4);
        if (!read_zip64(p + DIRECTORY_SIZE + name_size, extra_size, entry)) return false;
        if (memchr(p + DIRECTORY_SIZE, 0, name_size)) return false;
        memcpy(name, p + DIRECTORY_SIZE, name_size);
        name[name_size] = 0;
        entry->name = name;
        name += name_size + 1;
        p += DIRECTORY_SIZE + name_size + extra_size + comment_size;
        size -= DIRECTORY_SIZE + name_size + extra_size + comment_size;
    }
    zip->first = zip->count ? zip->entries[0].name : "";
    qsort(zip->entries, (size_t)zip->count, sizeof *zip->entries, compare_entries);
    for (int64_t i = 1; i < zip->count; i++) {
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the zip directory lists one name twice", zip->label);
    }
    return true;
}

bool ts_zip_open(ts_zip *zip, const void *bytes, uint64_t size, const char *label, ts_error *err)
{
    uint64_t offset = 0, directory_size = 0, count = 0;
    *zip = (ts_zip){.bytes = bytes, .size = size, .label = label};
    if (!find_directory(zip, &offset, &directory_size, &count, err)) return false;
    zip->count = (int64_t)count;
    zip->entries = calloc(count + 1, sizeof *zip->entries);
    zip->names = malloc(directory_size + count + 1); /* each name gets a terminator */
    bool ok = zip->entries && zip->names;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for %llu zip entries", label, (unsigned long long)count);
    if (ok && !read_entries(zip, offset, directory_size, err))
        ok = ts_fail(err, TS_ERR_FORMAT, "'%s': the zip directory is broken", label); /* unless a better reason was given */
    if (!ok) ts_zip_close(zip);
    return ok;
}

void ts_zip_close(ts_zip *zip)
{
    free(zip->entries);
    free(zip->names);
    *zip = (ts_zip){0};
}

const ts_zip_entry *ts_zip_find(const ts_zip *zip, const char *name)
{
    const ts_zip_entry key = {.name = name};
    return bsearch(&key, zip->entries, (size_t)zip->count, sizeof key, compare_entries);
}

/* Where the entry's packed bytes begin: after the local header, whose name and extra field have sizes of their own. */
static const uint8_t *packed_bytes(const ts_zip *zip, const ts_zip_entry *entry, ts_error *err)
{
    if (entry->encrypted) {
        ts_fail(err, TS_ERR_UNSUPPORTED, "'%s': the zip archive is encrypted", zip->label);
        return NULL;
    }
    if (inside(zip, entry->header, LOCAL_SIZE) && memcmp(zip->bytes + entry->header, "PK\3\4", 4) == 0) {
        const uint8_t *local = zip->bytes + entry->header;
        uint64_t at = entry->header + LOCAL_SIZE + little(local + 26, 2) + little(local + 28, 2);
        if (inside(zip, at, entry->packed)) return zip->bytes + at;
    }
    ts_fail(err, TS_ERR_FORMAT, "'%s': a record of the archive lies outside the file: it is truncated or broken", zip->label);
    return NULL;
}

const uint8_t *ts_zip_stored(const ts_zip *zip, const ts_zip_entry *entry, ts_error *err)
{
    if (entry->method != 0) {
        ts_fail(err, TS_ERR_UNSUPPORTED,
                "'%s': the archive's records are compressed; pack it again without compression (zip -0), as "
                "PyTorch writes it",
                zip->label);
        return NULL;
    }
    if (entry->packed != entry->size) {
        ts_fail(err, TS_ERR_FORMAT, "'%s': a stored record of the archive has two different sizes", zip->label);
        return NULL;
    }
    return packed_bytes(zip, entry, err);
}

static bool inflate_into(const uint8_t *packed, uint64_t packed_size, uint8_t *out, uint64_t size)
{
    z_stream z = {.next_in = (Bytef *)packed, .avail_in = (uInt)packed_size, .next_out = out, .avail_out = (uInt)size};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return false;
    bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size;
    inflateEnd(&z);
    return ok;
}

const uint8_t *ts_zip_small(const ts_zip *zip, const ts_zip_entry *entry, uint64_t limit, void **owned, ts_error *err)
{
    *owned = NULL;
    if (entry->size > limit || entry->packed > limit) {
        ts_fail(err, TS_ERR_FORMAT, "'%s': a record of the archive has %llu bytes, more than the %llu allowed", zip->label,
                (unsigned long long)(entry->size > entry->packed ? entry->size : entry->packed), (unsigned long long)limit);
        return NULL;
    }
    if (entry->method != Z_DEFLATED) return ts_zip_stored(zip, entry, err);
    const uint8_t *packed = packed_bytes(zip, entry, err);
    if (!packed) return NULL;
    uint8_t *out = malloc(entry->size + 1);
    if (!out) {
        ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for a record of %llu bytes", zip->label,
                (unsigned long long)entry->size);
        return NULL;
    }
    if (!inflate_into(packed, entry->packed, out, entry->size)) {
        free(out);
        ts_fail(err, TS_ERR_FORMAT, "'%s': a compressed record of the archive is broken", zip->label);
        return NULL;
    }
    return *owned = out;
}
