/* See mem.h.  The guard is a counter per thread; with it above zero any allocation here is a defect and aborts.
 *
 * Arena chunks form a list, newest first; only the head is allocated from.  A request above ARENA_CHUNK_MAX gets a chunk of its own that is
 * linked behind the head, so that the head's room is not lost.  Under AddressSanitizer the unused part of a chunk is poisoned and 16 bytes
 * between two allocations stay so. */
#include "base/mem.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define MEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_ASAN 1
#endif
#endif
#ifdef MEM_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
enum { RED_ZONE = 16 };
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

enum { ARENA_ALIGN = 16, ARENA_CHUNK_MIN = 4096, ARENA_CHUNK_MAX = 1 << 20, CACHE_LINE = 64 };

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used; /* bytes of data, of them handed out */
    _Alignas(ARENA_ALIGN) unsigned char data[];
} arena_chunk;

static _Thread_local int guard_depth;

static _Noreturn void die(const char *what, size_t size) {
    fprintf(stderr, "gavel: %s (%zu bytes)\n", what, size);
    abort();
}

static void check_guard(size_t size) {
    if (guard_depth > 0) die("allocation inside a step", size);
}

void gv_alloc_guard(bool on) {
    guard_depth += on ? 1 : -1;
    if (guard_depth < 0) die("allocation guard released more often than taken", 0);
}

void *gv_xmalloc(size_t size) {
    check_guard(size);
    void *p = malloc(size ? size : 1);
    if (!p) die("out of memory", size);
    return p;
}

void *gv_xcalloc(size_t n, size_t size) {
    check_guard(size);
    void *p = n && size ? calloc(n, size) : calloc(1, 1);
    if (!p) die("out of memory", size);
    return p;
}

void *gv_xrealloc(void *p, size_t size) {
    check_guard(size);
    void *q = realloc(p, size ? size : 1);
    if (!q) die("out of memory", size);
    return q;
}

char *gv_xstrdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(gv_xmalloc(n), s, n);
}

#ifdef GAVEL_TESTING
static _Thread_local int64_t fail_at;
void gv_alloc_fail_at(int64_t n) {
    fail_at = n;
}
static bool injected(void) {
    return fail_at > 0 && --fail_at == 0;
}
#else
static bool injected(void) {
    return false;
}
#endif

static void *try_result(void *p, size_t size, const char *what, gv_err *err) {
    if (!p) gv_fail(err, GV_MEMORY, -1, "%s: out of memory (%zu bytes)", what, size);
    return p;
}

void *gv_try_malloc(size_t n, size_t size, const char *what, gv_err *err) {
    size_t total;
    if (!gv_mul_size(n, size, &total) || total > PTRDIFF_MAX) {
        gv_fail(err, GV_MEMORY, -1, "%s: %zu times %zu bytes is more than can be addressed", what, n, size);
        return NULL;
    }
    check_guard(total);
    return try_result(injected() ? NULL : malloc(total ? total : 1), total, what, err);
}

void *gv_try_calloc(size_t n, size_t size, const char *what, gv_err *err) {
    size_t total;
    if (!gv_mul_size(n, size, &total) || total > PTRDIFF_MAX) {
        gv_fail(err, GV_MEMORY, -1, "%s: %zu times %zu bytes is more than can be addressed", what, n, size);
        return NULL;
    }
    check_guard(total);
    return try_result(injected() ? NULL : calloc(total ? total : 1, 1), total, what, err);
}

void *gv_try_aligned(size_t size, const char *what, gv_err *err) {
    if (size > PTRDIFF_MAX - CACHE_LINE) {
        gv_fail(err, GV_MEMORY, -1, "%s: %zu bytes is more than can be addressed", what, size);
        return NULL;
    }
    check_guard(size);
    size_t rounded = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return try_result(injected() ? NULL : aligned_alloc(CACHE_LINE, rounded ? rounded : CACHE_LINE), rounded, what, err);
}

void arena_init(arena *a) {
    *a = (arena){0};
}

static void chunk_free(arena_chunk *c) {
    UNPOISON(c->data, c->size);
    free(c);
}

void arena_fini(arena *a) {
    for (arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        chunk_free(c);
    }
    *a = (arena){0};
}

void arena_reset(arena *a) {
    arena_chunk *keep = NULL;
    for (arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        if (!keep && c->size <= ARENA_CHUNK_MAX)
            keep = c;
        else
            chunk_free(c);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        POISON(keep->data, keep->size);
    }
    *a = (arena){.head = keep};
}

static arena_chunk *chunk_new(size_t size) {
    arena_chunk *c = gv_xmalloc(sizeof *c + size);
    c->next = NULL;
    c->size = size;
    c->used = 0;
    POISON(c->data, size);
    return c;
}

void *arena_alloc(arena *a, size_t size) {
    if (size > PTRDIFF_MAX - 4096) die("arena allocation overflows", size);
    size_t need = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN + RED_ZONE;
    if (need == 0) need = ARENA_ALIGN; /* zero-size requests get distinct pointers */
    arena_chunk *c = a->head;
    if (!c || need > c->size - c->used) {
        if (need > ARENA_CHUNK_MAX) {
            c = chunk_new(need);
            if (a->head) {
                c->next = a->head->next;
                a->head->next = c;
            } else {
                a->head = c;
            }
        } else {
            size_t grown = c && c->size <= ARENA_CHUNK_MAX ? c->size * 2 : ARENA_CHUNK_MIN;
            while (grown < need) grown *= 2;
            c = chunk_new(grown < ARENA_CHUNK_MAX ? grown : ARENA_CHUNK_MAX);
            c->next = a->head;
            a->head = c;
        }
    }
    unsigned char *p = c->data + c->used;
    UNPOISON(p, size);
    c->used += need;
    a->used_bytes += size;
    return p;
}

char *arena_dup(arena *a, const char *p, size_t n) {
    char *q = arena_alloc(a, n + 1);
    if (n) memcpy(q, p, n);
    q[n] = 0;
    return q;
}

char *arena_printf(arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) die("arena_printf: bad format", 0);
    char *q = arena_alloc(a, (size_t)n + 1);
    vsnprintf(q, (size_t)n + 1, fmt, again);
    va_end(again);
    return q;
}
