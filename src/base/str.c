/* See str.h: buffers, search, nearest name.  UTF-8 is in utf8.c, SHA-256 in sha256.c.
 *
 * A buf's capacity doubles, so that adding n bytes one by one costs O(n).  Invariant once p is set: n < cap and p[n] is 0, so the bytes are a
 * C string as long as they hold no NUL.  A buf belongs to one thread at a time.
 *
 * nearest_name compares bytes and only names of at most 64 of them: it looks at option and column names, not at text. */
#include "base/str.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUF_MIN = 64, NEAREST_MAX = 64 };

size_t sv_find(sv hay, sv needle, size_t from) {
    if (from > hay.n || needle.n > hay.n - from) return SIZE_MAX;
    if (needle.n == 0) return from;
    const char *at = memmem(hay.p + from, hay.n - from, needle.p, needle.n);
    return at ? (size_t)(at - hay.p) : SIZE_MAX;
}

void buf_fini(buf *b) {
    free(b->p);
    *b = (buf){0};
}

/* Capacity that holds n more bytes and a NUL; 0 if that overflows. */
static size_t grown_cap(const buf *b, size_t n) {
    size_t need;
    if (!gv_add_size(b->n, n, &need) || !gv_add_size(need, 1, &need) || need > PTRDIFF_MAX) return 0;
    size_t cap = b->cap * 2 < BUF_MIN ? BUF_MIN : b->cap * 2; /* cap <= PTRDIFF_MAX, so doubling does not wrap */
    return cap < need || cap > PTRDIFF_MAX ? need : cap;
}

char *buf_reserve(buf *b, size_t n) {
    if (b->cap - b->n <= n || !b->p) {
        size_t cap = grown_cap(b, n);
        b->p = gv_xrealloc(b->p, cap ? cap : SIZE_MAX); /* SIZE_MAX fails and aborts with the message */
        b->cap = cap;
        b->p[b->n] = 0;
    }
    return b->p + b->n;
}

bool buf_try_reserve(buf *b, size_t n, const char *what, gv_err *err) {
    if (b->p && b->cap - b->n > n) return true;
    size_t cap = grown_cap(b, n);
    if (!cap) return gv_fail(err, GV_MEMORY, -1, "%s: %zu bytes more are more than can be addressed", what, n);
    char *p = gv_try_malloc(cap, 1, what, err);
    if (!p) return false;
    if (b->n) memcpy(p, b->p, b->n);
    free(b->p);
    b->p = p;
    b->cap = cap;
    b->p[b->n] = 0;
    return true;
}

void buf_add(buf *b, const void *p, size_t n) {
    char *to = buf_reserve(b, n);
    if (n) memcpy(to, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

void buf_add_char(buf *b, char c) {
    *buf_reserve(b, 1) = c;
    b->p[++b->n] = 0;
}

void buf_printf(buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char *to = buf_reserve(b, 1);
    int n = vsnprintf(to, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n >= b->cap - b->n) {
        to = buf_reserve(b, (size_t)n);
        n = vsnprintf(to, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    if (n > 0) b->n += (size_t)n;
    b->p[b->n] = 0;
}

/* Levenshtein distance of two names of at most NEAREST_MAX bytes, one row of the table at a time. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const char *nearest_name(const char *name, const char *const *names) {
    size_t n = strlen(name);
    if (n > NEAREST_MAX) return NULL;
    size_t limit = n / 3 > 2 ? n / 3 : 2, best = SIZE_MAX;
    const char *found = NULL;
    for (; *names; names++) {
        size_t m = strlen(*names);
        if (m > NEAREST_MAX) continue;
        size_t d = edit_distance(name, n, *names, m);
        if (d <= limit && d < best && d < (n > m ? n : m)) { /* the last: something in common */
            best = d;
            found = *names;
        }
    }
    return found;
}
