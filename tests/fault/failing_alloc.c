/* A library to preload: makes the n-th allocation of a program fail.
 *
 * FAILING_AT=N: the N-th call of malloc, calloc, realloc, aligned_alloc or posix_memalign returns NULL with ENOMEM; FAILING_AT=N+: that and every
 * later one; absent or 0: none.  FAILING_COUNT=FILE: gets the number of calls at exit.  Counting begins when the library is loaded, after
 * the loader's own work.  Any thread may allocate: the count is atomic. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static atomic_long seen;
static long at;
static int sticky, counting;

static int fails(void) {
    if (!counting) return 0;
    const long n = atomic_fetch_add(&seen, 1) + 1;
    if (!at || (sticky ? n < at : n != at)) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
    return fails() ? NULL : __libc_realloc(p, size);
}
void *aligned_alloc(size_t align, size_t size) {
    return fails() ? NULL : __libc_memalign(align, size);
}
int posix_memalign(void **p, size_t align, size_t size) {
    if (fails()) return ENOMEM;
    *p = __libc_memalign(align, size);
    return *p ? 0 : ENOMEM;
}

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAILING_AT");
    if (text) at = atol(text), sticky = strchr(text, '+') != NULL;
    counting = 1;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("FAILING_COUNT");
    counting = 0;
    if (!path) return;
    char line[32];
    const int n = snprintf(line, sizeof line, "%ld\n", atomic_load(&seen)), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, line, (size_t)n) != n) _exit(125);
    close(fd);
}
