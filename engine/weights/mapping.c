/* mapping.c - see mapping.h. */
#include "engine/weights/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- guarded ranges: what the signal handler may read, so fixed in size and atomic ------------------------------- */

enum { MAX_GUARDED = 1024 }; /* maps beyond these are not guarded */

static struct {
    atomic_uintptr_t begin, end; /* begin 0: free; 1: being filled */
    atomic_bool faulted;
} guarded[MAX_GUARDED];

static int guard(const uint8_t *bytes, uint64_t size)
{
    for (int i = 0; i < MAX_GUARDED; i++) {
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&guarded[i].begin, &none, 1)) continue;
        atomic_store(&guarded[i].faulted, false);
        atomic_store(&guarded[i].end, (uintptr_t)bytes + size);
        atomic_store(&guarded[i].begin, (uintptr_t)bytes);
        return i;
    }
    return -1;
}

static void unguard(int place)
{
    if (place < 0) return;
    atomic_store(&guarded[place].end, 0);
    atomic_store(&guarded[place].begin, 0);
}

static struct sigaction before;

/* Puts zeros where the file is gone, so that the thread goes on to where ts_mapping_intact is asked. A fault elsewhere is not
 * ours: the access is made again under the handler that was there before. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    const int saved = errno;
    const uintptr_t at = (uintptr_t)info->si_addr, page = at & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    (void)context;
    for (int i = 0; i < MAX_GUARDED; i++) {
        const uintptr_t begin = atomic_load(&guarded[i].begin), end = atomic_load(&guarded[i].end);
        if (begin <= 1 || at < begin || at >= end) continue;
        atomic_store(&guarded[i].faulted, true);
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): the address of the fault is a number */
        void *zeros = mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        errno = saved;
        if (zeros != MAP_FAILED) return;
        break;
    }
    sigaction(signal, &before, NULL);
    errno = saved;
}

bool ts_weights_guard(ts_error *err)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, now;
    if (sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return true;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &before) == 0) return true;
    return ts_fail(err, TS_ERR_UNSUPPORTED, "the handler for files that are cut short cannot be set: %s", strerror(errno));
}

/* ---- maps ------------------------------------------------------------------------------------------------------- */

static bool map(ts_mapping *m, ts_error *err)
{
    m->fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (m->fd < 0) return ts_fail(err, TS_ERR_IO, "cannot open weights file '%s': %s", m->path, strerror(errno));
    struct stat st;
    if (fstat(m->fd, &st) != 0) return ts_fail(err, TS_ERR_IO, "cannot look at weights file '%s': %s", m->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ts_fail(err, TS_ERR_IO, "'%s' is %s; a weights file was expected", m->path,
                       S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    m->changed = st.st_mtim;
    if (st.st_size <= 0) return true;
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, m->fd, 0);
    if (bytes == MAP_FAILED) return ts_fail(err, TS_ERR_IO, "cannot map weights file '%s': %s", m->path, strerror(errno));
    m->bytes = bytes;
    m->size = (uint64_t)st.st_size;
    m->guard = guard(m->bytes, m->size);
    return true;
}

ts_mapping *ts_mapping_open(const char *path, ts_error *err)
{
    ts_mapping *m = calloc(1, sizeof *m);
    if (m) {
        *m = (ts_mapping){.path = strdup(path), .fd = -1, .guard = -1};
        if (m->path && map(m, err)) return m;
    }
    if (!m || !m->path) ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", path);
    ts_mapping_free(m);
    return NULL;
}

void ts_mapping_free(ts_mapping *m)
{
    if (!m) return;
    unguard(m->guard);
    if (m->bytes) munmap((void *)m->bytes, m->size);
    if (m->fd >= 0) close(m->fd);
    free(m->path);
    free(m);
}

bool ts_mapping_intact(const ts_mapping *m, ts_error *err)
{
    struct stat st;
    if (!m) return true;
    const bool seen = fstat(m->fd, &st) == 0, faulted = m->guard >= 0 && atomic_load(&guarded[m->guard].faulted);
    if (!seen || (uint64_t)st.st_size != m->size || st.st_mtim.tv_sec != m->changed.tv_sec ||
        st.st_mtim.tv_nsec != m->changed.tv_nsec)
        return ts_fail(err, TS_ERR_IO, "'%s' was changed while it was in use: run again when it is whole", m->path);
    if (faulted) return ts_fail(err, TS_ERR_IO, "'%s' could not be read: the disk gave an error", m->path);
    return true;
}
