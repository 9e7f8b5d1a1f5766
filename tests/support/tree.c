#include "tests/support/tree.h"
#include "tests/support/program.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT TS_TESTS_DIR "/.."

static char **files;
static int count;

int tree_count(void)
{
    return count;
}

const char *tree_file(int i)
{
    return files[i];
}

static int visit(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    const char *name = path + where->base;
    const bool built = where->level == 1 && strncmp(name, "build", 5) == 0;
    if (where->level > 0 && (name[0] == '.' || built)) return FTW_SKIP_SUBTREE;
    if (type != FTW_F) return FTW_CONTINUE;
    if ((count & (count - 1)) == 0) {
        char **grown = realloc(files, (size_t)(count ? 2 * count : 1) * sizeof *files);
        if (!grown) return FTW_STOP;
        files = grown;
    }
    files[count] = strdup(path + sizeof ROOT);
    return files[count++] ? FTW_CONTINUE : FTW_STOP;
}

int tree_open(void **state)
{
    (void)state;
    return nftw(ROOT, visit, 16, FTW_ACTIONRETVAL | FTW_PHYS);
}

int tree_close(void **state)
{
    (void)state;
    for (int i = 0; i < count; i++) free(files[i]);
    free(files);
    return 0;
}

static bool is_of(const char *path, mode_t kind)
{
    struct stat about;
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/%s", ROOT, path);
    return stat(whole, &about) == 0 && (about.st_mode & S_IFMT) == kind;
}

bool tree_has_file(const char *path)
{
    return is_of(path, S_IFREG);
}

bool tree_has_folder(const char *path)
{
    return is_of(path, S_IFDIR);
}

bool tree_ends(const char *path, const char *ending)
{
    const size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

char *tree_read(const char *path)
{
    size_t size;
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/%s", ROOT, path);
    return (char *)read_bytes(whole, &size);
}
