/* process.c - see process.h. */
#include "process.h"

#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WORDS = 64 };

pid_t spawn(const char *const *args, rlim_t limit)
{
    char err[600];
    snprintf(err, sizeof err, "%s/spawned.err", temp_dir());
    char *argv[MAX_WORDS + 2] = {(char *)TS_PROGRAM};
    for (int i = 0; args[i]; i++) argv[i + 1] = (char *)args[i];
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    int fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_WRONLY);
    for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL); /* whatever the tests were started to ignore */
    dup2(null, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (limit) {
        signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit then fails, as on a full disk */
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, limit});
    }
    execv(TS_PROGRAM, argv);
    _exit(127);
}

int wait_for(pid_t pid)
{
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

void sleep_for(double seconds)
{
    nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))}, NULL);
}
