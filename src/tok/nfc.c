/* Unicode normalisation form C of a stretch of text, in linear time but for sorting marks (counting sort for long runs).
 *
 * utf8proc knows the characters; its own ordering of combining marks moves one place at a time and is quadratic in a run of marks, so the
 * marks are put in order here and utf8proc only composes what is already in order (UAX #15, canonical ordering then composition). */
#include "tok/tok_internal.h"

#include <stdlib.h>
#include <utf8proc.h>

#define SHORT_RUN 32

/* Characters that NFC neither changes nor composes with one before: ranges that cover most text. */
static bool is_inert(uint32_t c) {
    return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x205f) || (c >= 0x3000 && c <= 0x3029) ||
           (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xff01 && c <= 0xffef) || (c >= 0x1f300 && c <= 0x1faff);
}

bool tok_nfc_needed(sv text) {
    for (size_t i = 0; i < text.n;) {
        if ((uint8_t)text.p[i] < 0xcc) { /* below U+0300: lead bytes to CB; continuation bytes do not stand here */
            i += (uint8_t)text.p[i] < 0x80 ? 1 : 2;
            continue;
        }
        if (!is_inert((uint32_t)utf8_next(text, &i))) return true;
    }
    return false;
}

static unsigned combining_class(int32_t c) {
    return (unsigned)utf8proc_get_property(c)->combining_class & 255;
}

/* Orders a run of n characters with combining class > 0, stably. */
static bool order_run(int32_t *c, size_t n, gv_err *err) {
    if (n <= SHORT_RUN) {
        for (size_t i = 1; i < n; i++) {
            int32_t x = c[i];
            unsigned cls = combining_class(x);
            size_t k = i;
            for (; k && combining_class(c[k - 1]) > cls; k--) c[k] = c[k - 1];
            c[k] = x;
        }
        return true;
    }
    size_t start[257] = {0};
    int32_t *sorted = gv_try_malloc(n, sizeof *sorted, "combining marks", err);
    if (!sorted) return false;
    for (size_t i = 0; i < n; i++) start[combining_class(c[i]) + 1]++;
    for (unsigned k = 1; k < 257; k++) start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++) sorted[start[combining_class(c[i])]++] = c[i];
    memcpy(c, sorted, n * sizeof *c);
    free(sorted);
    return true;
}

static bool decompose(tok_work *w, sv text, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        int32_t c = utf8_next(text, &i);
        if (w->cap_cp - *n < 8) {
            size_t cap = w->cap_cp ? w->cap_cp * 2 : 1024;
            int32_t *p = realloc(w->cp, cap * sizeof *p);
            if (!p) return gv_fail(w->err, GV_MEMORY, -1, "NFC: no memory for %zu characters", cap);
            w->cp = p;
            w->cap_cp = cap;
        }
        if (c < 0) c = 0xfffd;
        utf8proc_ssize_t k = utf8proc_decompose_char(c, w->cp + *n, 8, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
        if (k < 1 || k > 8) { /* no character has more than four parts */
            w->cp[*n] = c;
            k = 1;
        }
        *n += (size_t)k;
    }
    return true;
}

bool tok_nfc(tok_work *w, sv text) {
    size_t n;
    if (!decompose(w, text, &n)) return false;
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (!combining_class(w->cp[i])) continue;
        while (end < n && combining_class(w->cp[end])) end++;
        if (!order_run(w->cp + i, end - i, w->err)) return false;
    }
    utf8proc_ssize_t m = utf8proc_normalize_utf32(w->cp, (utf8proc_ssize_t)n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (m < 0) return gv_fail(w->err, GV_FORMAT, -1, "NFC: %s", utf8proc_errmsg(m));
    w->norm.n = 0;
    for (utf8proc_ssize_t i = 0; i < m; i++) {
        char c[4];
        if (!tok_bytes_add(&w->norm, c, utf8_put((uint32_t)w->cp[i], c), w->err)) return false;
    }
    return true;
}
