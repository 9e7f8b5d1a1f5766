/* no_memory.c - loaded before the program, lets one of its own allocations fail: that number TS_FAIL_AT, from 1. How many there
 * were is written to the file TS_FAIL_LOG at the end.
 *
 * Only calls from the program itself and from cJSON are counted and fail: oneDNN, OpenMP's runtime and a Vulkan driver end the
 * process where memory runs out, which is theirs to mend. */
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

typedef struct {
    uintptr_t begin, end;
} range;

static range own[8];
static int own_count;
static atomic_long seen;
static long fail_at;

/* The program comes first and has no name. */
static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    int *number = data;
    if ((*number)++ > 0 && !strstr(info->dlpi_name, "libcjson")) return 0;
    for (int i = 0; i < info->dlpi_phnum && own_count < (int)(sizeof own / sizeof *own); i++) {
        const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X))
            own[own_count++] = (range){at, at + info->dlpi_phdr[i].p_memsz};
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    int number = 0;
    const char *at = getenv("TS_FAIL_AT");
    fail_at = at ? atol(at) : 0;
    dl_iterate_phdr(note_object, &number);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("TS_FAIL_LOG");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%ld\n", (long)seen);
    fclose(f);
}

static int fails(const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;
    for (int i = 0; i < own_count; i++)
        if (at >= own[i].begin && at < own[i].end && ++seen == fail_at) {
            errno = ENOMEM;
            return 1;
        }
    return 0;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return FAILS ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return size > 0 && FAILS ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *p = FAILS ? NULL : __libc_memalign(alignment, size);
    if (p) *out = p;
    return p ? 0 : ENOMEM;
}

static char *copy(const char *text, size_t length)
{
    char *out = __libc_malloc(length + 1);
    if (!out) return NULL;
    memcpy(out, text, length);
    out[length] = '\0';
    return out;
}

char *strdup(const char *text)
{
    return FAILS ? NULL : copy(text, strlen(text));
}

char *strndup(const char *text, size_t most)
{
    return FAILS ? NULL : copy(text, strnlen(text, most));
}

int asprintf(char **out, const char *format, ...)
{
    if (FAILS) return -1;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : __libc_malloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    *out = text;
    return text ? length : -1;
}
