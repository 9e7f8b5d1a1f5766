/* zip.h - an inert reader of zip archives in memory: it lists entries and says where their bytes lie. */
#ifndef TESSERA_ZIP_H
#define TESSERA_ZIP_H

#include "engine/engine.h"

typedef struct {
    const char *name;
    uint64_t header; /* offset of the local header */
    uint64_t packed; /* bytes in the archive */
    uint64_t size;   /* bytes unpacked */
    int method;      /* 0 stored, 8 deflated */
    bool encrypted;
} ts_zip_entry;

struct ts_zip {
    const uint8_t *bytes;
    uint64_t size;
    const char *label; /* the file, for errors */
    ts_zip_entry *entries;
    int64_t count;
    const char *first; /* the name that the archive lists first */
    char *names;
};
typedef struct ts_zip ts_zip;

/* Parses the directory, with zip64. `bytes` and `label` must outlive the ts_zip. On failure there is nothing to free. */
bool ts_zip_open(ts_zip *zip, const void *bytes, uint64_t size, const char *label, ts_error *err);
void ts_zip_close(ts_zip *zip);
const ts_zip_entry *ts_zip_find(const ts_zip *zip, const char *name);
/* The bytes of a stored entry, where they lie in the archive; NULL if it is compressed or lies outside. */
const uint8_t *ts_zip_stored(const ts_zip *zip, const ts_zip_entry *entry, ts_error *err);
/* A small entry's bytes, unpacked where need be: `*owned` is what the caller frees then (else NULL). */
const uint8_t *ts_zip_small(const ts_zip *zip, const ts_zip_entry *entry, uint64_t limit, void **owned, ts_error *err);

#endif
