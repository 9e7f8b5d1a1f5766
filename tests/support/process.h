/* process.h - the program in a process of its own, for tests that stop it, kill it or take its disk away. */
#ifndef TESSERA_TEST_PROCESS_H
#define TESSERA_TEST_PROCESS_H

#include <sys/resource.h>
#include <sys/types.h>

/* Starts `tessera ARGS...`, NULL ending the list, and does not wait; what it says goes into "spawned.err" of the test's folder.
 * `limit`: of the bytes of a file, 0: none. A write beyond it fails, as on a full disk. */
pid_t spawn(const char *const *args, rlim_t limit);
/* Exit status; -1: ended by a signal. */
int wait_for(pid_t pid);
void sleep_for(double seconds);

#endif
