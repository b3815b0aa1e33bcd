/* Memory: checked sizes, allocation, and arenas.
 *
 * Three lifetimes: model (until the model is closed), request (an arena, one reset), step (scratch sized from known maxima; no allocation
 * inside a step, see gv_alloc_guard).  Small internal allocations may abort when memory is out (gv_xmalloc); anything sized by input uses
 * the try form and reports GV_MEMORY. */
#ifndef GAVEL_BASE_MEM_H
#define GAVEL_BASE_MEM_H

#include "base/err.h"

#include <stddef.h>

/* a*b and a+b into *out; false on overflow. */
static inline bool gv_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool gv_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

/* Abort with a message on stderr when memory is out: for sizes that input cannot choose. Zero-size requests return a valid pointer. */
void *gv_xmalloc(size_t size) GV_MUST_USE;
void *gv_xcalloc(size_t n, size_t size) GV_MUST_USE;
void *gv_xrealloc(void *p, size_t size) GV_MUST_USE;
char *gv_xstrdup(const char *s) GV_MUST_USE;

/* NULL and GV_MEMORY naming `what` when n*size overflows or memory is out: for sizes from input. */
void *gv_try_malloc(size_t n, size_t size, const char *what, gv_err *err) GV_MUST_USE;
void *gv_try_calloc(size_t n, size_t size, const char *what, gv_err *err) GV_MUST_USE;
/* Aligned to 64 bytes, size rounded up to 64, not zeroed; free with free(). */
void *gv_try_aligned(size_t size, const char *what, gv_err *err) GV_MUST_USE;

/* While the guard is on (counted, per thread), every gv_x* and gv_try_* call aborts: a step must not allocate. */
void gv_alloc_guard(bool on);

#ifdef GAVEL_TESTING
/* Fault injection: the n-th gv_try_* call of this thread from now on fails as if memory were out (1 = the next), once; 0 switches it off. */
void gv_alloc_fail_at(int64_t n);
#endif

/* Arena: bump allocation, freed at once.  Aligned to 16.  Chunks double from 4 KiB to 1 MiB; larger requests get a chunk of their own. */
typedef struct arena {
    struct arena_chunk *head;
    size_t used_bytes; /* handed out since the last reset */
} arena;

void arena_init(arena *a);
void arena_fini(arena *a);
/* Forgets everything handed out; keeps one chunk. */
void arena_reset(arena *a);
/* Aborts when memory is out. */
void *arena_alloc(arena *a, size_t size) GV_MUST_USE;
/* Copies n bytes and adds a NUL that is not counted. */
char *arena_dup(arena *a, const char *p, size_t n) GV_MUST_USE;
char *arena_printf(arena *a, const char *fmt, ...) GV_PRINTF(2, 3) GV_MUST_USE;

#endif
