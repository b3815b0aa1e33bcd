/* Helpers of the tests of src/base: errors compared by code and message, and functions that must abort (run in a child process whose
 * stderr is read back).  cmocka needs its four includes in this order. */
#ifndef GAVEL_TESTS_SUPPORT_BASE_CHECK_H
#define GAVEL_TESTS_SUPPORT_BASE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_FAILS(call, want_code, want_where, want_msg)                                                                                 \
    do {                                                                                                                                   \
        gv_err err = GV_ERR_INIT;                                                                                                          \
        assert_false(call);                                                                                                                \
        assert_string_equal(err.msg, want_msg);                                                                                            \
        assert_int_equal(err.code, want_code);                                                                                             \
        assert_int_equal(err.where, want_where);                                                                                           \
    } while (0)

#define CHECK_SV(got, want)                                                                                                                \
    do {                                                                                                                                   \
        sv got_ = (got), want_ = sv_of(want);                                                                                              \
        assert_int_equal(got_.n, want_.n);                                                                                                 \
        assert_memory_equal(got_.p, want_.p, want_.n);                                                                                     \
    } while (0)

/* Runs fn in a child; true if it died by SIGABRT.  What it wrote to stderr is put into text. */
static inline bool aborts(void (*fn)(void), char *text, size_t cap) {
    int fds[2];
    if (pipe(fds) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(fds[1], 2);
        fn();
        _exit(0);
    }
    close(fds[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < cap && (got = read(fds[0], text + n, cap - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    close(fds[0]);
    int status;
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static inline uint64_t random_next(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
