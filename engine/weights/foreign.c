/* foreign.c - names a file that is no weights file, or one of another program's, for what it is: names in the wild lie, and a
 * failed download is often an HTML page of the right name. */
#include "engine/weights/internal.h"
#include "engine/weights/zip.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct {
    int at;
    const char *magic;
    int length;
    const char *what; /* behind "is" */
} mark;

#define PACKED  "; unpack it first"
#define CONVERT "; convert it to safetensors with the tools of its own program"
static const mark marks[] = {
    {0, "\x89HDF\r\n\x1a\n", 8, "an HDF5 file, as Keras saves models" CONVERT},
    {0, "GGUF", 4, "a GGUF file, llama.cpp's format" CONVERT},
    {0, "lmgg", 4, "a GGML file, an old format of llama.cpp's" CONVERT},
    {0, "fmgg", 4, "a GGML file, an old format of llama.cpp's" CONVERT},
    {0, "tjgg", 4, "a GGML file, an old format of llama.cpp's" CONVERT},
    {4, "TFL3", 4, "a TensorFlow Lite model" CONVERT},
    {0, "\x93NUMPY", 6, "a NumPy array"},
    {0, "\x1f\x8b", 2, "compressed with gzip" PACKED},
    {0, "BZh", 3, "compressed with bzip2" PACKED},
    {0,
     "\xfd"
     "7zXZ\0",
     6, "compressed with xz" PACKED},
    {0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd" PACKED},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive" PACKED},
    {0, "Rar!\x1a\x07", 6, "a RAR archive" PACKED},
    {257, "ustar", 5, "a tar archive" PACKED},
    {0, "\x89PNG\r\n", 6, "a picture (PNG)"},
    {0, "\xff\xd8\xff", 3, "a picture (JPEG)"},
    {0, "%PDF", 4, "a PDF document"},
    {0,
     "\x7f"
     "ELF",
     4, "a program"},
};

static const char expected[] = "a safetensors file or a PyTorch checkpoint was expected";

static bool matches(const ts_weights *w, int at, const char *magic, int length)
{
    return w->size >= (uint64_t)at + (uint64_t)length && memcmp(w->bytes + at, magic, (size_t)length) == 0;
}

/* Text has no zero bytes, which both the zip and the safetensors header are bound to have early. */
static bool looks_like_text(const ts_weights *w)
{
    uint64_t n = w->size < 512 ? w->size : 512;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t c = w->bytes[i];
        if (c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f') return false;
    }
    return true;
}

static bool text_begins(const char *text, size_t size, const char *word)
{
    return size >= strlen(word) && strncasecmp(text, word, strlen(word)) == 0;
}

static bool fail_text(const ts_weights *w, ts_error *err)
{
    const char *text = (const char *)w->bytes;
    size_t size = w->size;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, size -= 3;
    while (size && (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')) text++, size--;
    if (text_begins(text, size, "version https://git-lfs"))
        return ts_fail(err, TS_ERR_FORMAT,
                       "'%s' is a Git LFS pointer, not the weights themselves; fetch the file itself (git lfs pull)", w->path);
    if (text_begins(text, size, "<!doctype html") || text_begins(text, size, "<html") || text_begins(text, size, "<head"))
        return ts_fail(err, TS_ERR_FORMAT,
                       "'%s' is a web page (HTML), saved in place of the file: download it again, by its direct address",
                       w->path);
    if (text_begins(text, size, "model_checkpoint_path"))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is a text file that names a TensorFlow checkpoint; %s", w->path, expected);
    const char *kind = text_begins(text, size, "<?xml") || text_begins(text, size, "<error") ? "an XML file"
                       : text_begins(text, size, "{") || text_begins(text, size, "[")        ? "a JSON file"
                                                                                             : "a text file";
    return ts_fail(err, TS_ERR_FORMAT, "'%s' is %s; %s", w->path, kind, expected);
}

/* A protocol buffer that begins as ONNX models do: the version of the format (field 1), and the program that wrote it (field 2)
 * in printable letters. */
static bool looks_like_onnx(const ts_weights *w)
{
    if (w->size < 16 || w->bytes[0] != 0x08 || w->bytes[1] < 1 || w->bytes[1] > 0x20 || w->bytes[2] != 0x12) return false;
    const uint64_t length = w->bytes[3];
    if (length < 2 || length > 64 || length + 5 > w->size) return false;
    for (uint64_t i = 0; i < length; i++)
        if (w->bytes[4 + i] < 0x20 || w->bytes[4 + i] > 0x7e) return false;
    const uint8_t next = w->bytes[4 + length];
    return next == 0x1a || next == 0x22 || next == 0x3a || next == 0x42;
}

static bool fail_binary(const ts_weights *w, ts_error *err)
{
    static const char table[] = "\x57\xfb\x80\x8b\x24\x75\x47\xdb"; /* the end of TensorFlow's index, a table of LevelDB's */
    const char *base = strrchr(w->path, '/');
    base = base ? base + 1 : w->path;
    const char *what = NULL;
    for (size_t i = 0; !what && i < sizeof marks / sizeof *marks; i++)
        if (matches(w, marks[i].at, marks[i].magic, marks[i].length)) what = marks[i].what;
    if (!what && looks_like_onnx(w)) what = "an ONNX model" CONVERT;
    if (!what && ((w->size >= 8 && memcmp(w->bytes + w->size - 8, table, 8) == 0) || strstr(base, ".data-0000") ||
                  strcasecmp(base, "saved_model.pb") == 0))
        what = "of a TensorFlow checkpoint" CONVERT;
    if (!what && w->size > 2 && w->bytes[0] == 0x80 && w->bytes[1] >= 2 && w->bytes[1] <= 5)
        what = "a bare Python pickle, not what torch.save writes; load it in Python and save its tensors with torch.save";
    if (what) return ts_fail(err, TS_ERR_FORMAT, "'%s' is %s", w->path, what);
    return ts_fail(err, TS_ERR_FORMAT, "'%s' is neither a safetensors file nor a PyTorch checkpoint", w->path);
}

bool ts_foreign_file(const ts_weights *w, ts_error *err)
{
    return looks_like_text(w) ? fail_text(w, err) : fail_binary(w, err);
}

static bool ends_with(const char *name, const char *ending)
{
    const size_t n = strlen(name), length = strlen(ending);
    return n >= length && strcasecmp(name + n - length, ending) == 0;
}

bool ts_foreign_zip(const ts_zip *zip, ts_error *err)
{
    static const char *const weights[] = {".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pth.tar"};
    char shown[TS_QUOTE];
    for (int64_t i = 0; i < zip->count; i++) {
        const char *name = zip->entries[i].name;
        if (ends_with(name, ".npy"))
            return ts_fail(err, TS_ERR_FORMAT, "'%s' is an archive of NumPy arrays (.npz); %s", zip->label, expected);
        if (ends_with(name, "model.weights.h5")) return ts_fail(err, TS_ERR_FORMAT, "'%s' is a Keras model" CONVERT, zip->label);
        for (size_t k = 0; k < sizeof weights / sizeof *weights; k++)
            if (ends_with(name, weights[k]))
                return ts_fail(err, TS_ERR_FORMAT, "'%s' is a zip archive with '%s' in it" PACKED, zip->label,
                               ts_quote(shown, name, strlen(name)));
    }
    return ts_fail(err, TS_ERR_FORMAT, "'%s' is a zip archive, but no PyTorch checkpoint: it has no data.pkl", zip->label);
}
