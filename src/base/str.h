/* Strings: views (borrowed bytes with a length) and growable buffers.  All text is bytes; UTF-8 is checked where it enters. */
#ifndef GAVEL_BASE_STR_H
#define GAVEL_BASE_STR_H

#include "base/err.h"

#include <stddef.h>
#include <string.h>

/* Borrowed bytes; not NUL-terminated.  p may be NULL only when n is 0. */
typedef struct sv {
    const char *p;
    size_t n;
} sv;

#define SV(lit)   ((sv){"" lit, sizeof(lit) - 1})
#define SV_FMT    "%.*s"
#define SV_ARG(s) (int)((s).n > 0x7fffffff ? 0x7fffffff : (s).n), ((s).p ? (s).p : "")

static inline sv sv_of(const char *cstr) {
    return (sv){cstr, cstr ? strlen(cstr) : 0};
}
static inline bool sv_eq(sv a, sv b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool sv_is(sv a, const char *lit) {
    return sv_eq(a, sv_of(lit));
}
static inline bool sv_starts(sv a, sv prefix) {
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}
static inline bool sv_ends(sv a, sv suffix) {
    return a.n >= suffix.n && (suffix.n == 0 || memcmp(a.p + a.n - suffix.n, suffix.p, suffix.n) == 0);
}
/* a from byte `from` on, at most n bytes; clipped to a. */
static inline sv sv_sub(sv a, size_t from, size_t n) {
    if (from > a.n) from = a.n;
    if (n > a.n - from) n = a.n - from;
    return (sv){a.n ? a.p + from : a.p, n};
}
/* Offset of needle in hay at or after `from`, or SIZE_MAX. */
size_t sv_find(sv hay, sv needle, size_t from);

/* Growable bytes; p is always NUL-terminated once anything was added.  Aborts when memory is out. */
typedef struct buf {
    char *p;
    size_t n, cap;
} buf;

void buf_fini(buf *b);
static inline void buf_clear(buf *b) {
    b->n = 0;
    if (b->p) b->p[0] = 0;
}
static inline sv buf_view(const buf *b) {
    return (sv){b->p, b->n};
}
/* Room for n more bytes and a NUL; returns where they go (b->n is not moved). */
char *buf_reserve(buf *b, size_t n);
/* The same for sizes from input: false and GV_MEMORY naming `what` instead of aborting. */
bool buf_try_reserve(buf *b, size_t n, const char *what, gv_err *err) GV_MUST_USE;
void buf_add(buf *b, const void *p, size_t n);
static inline void buf_add_sv(buf *b, sv s) {
    buf_add(b, s.p, s.n);
}
static inline void buf_add_str(buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}
void buf_add_char(buf *b, char c);
void buf_printf(buf *b, const char *fmt, ...) GV_PRINTF(2, 3);

/* UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
 * utf8_next: decodes at s.p[*pos], moves *pos past it; -1 and one byte on if malformed.  *pos < s.n required. */
int32_t utf8_next(sv s, size_t *pos);
/* Bytes written to out[4] for code point c (0 if c is not a scalar value). */
size_t utf8_put(uint32_t c, char out[4]);
/* Offset of the first malformed byte, or SIZE_MAX if s is valid. */
size_t utf8_invalid_at(sv s);
/* s with each maximal malformed part replaced by U+FFFD, as Python's errors="replace" does. */
void utf8_replace(sv s, buf *out);

/* Text from a file made fit for a message or a terminal: \n, \t, \r by these names; other control bytes, direction overrides and malformed
 * UTF-8 as \xNN; the first max_bytes of s, then "..." if there are more. */
void str_escape(sv s, size_t max_bytes, buf *out);
/* The same for a name inside a message, at most 80 bytes of it: gv_fail(..., "key %s", str_show(key).text). */
typedef struct str_shown {
    char text[96];
} str_shown;
str_shown str_show(sv s);

/* Levenshtein-nearest of names (NULL-terminated array) to `name`, or NULL if none is within max(2, length/3): for "did you mean". */
const char *nearest_name(const char *name, const char *const *names);

/* Lower-case hex SHA-256 of bytes, streaming.  FIPS 180-4. */
typedef struct sha256 {
    uint32_t h[8];
    uint64_t n_bytes;
    uint8_t block[64];
} sha256;
void sha256_init(sha256 *s);
void sha256_add(sha256 *s, const void *p, size_t n);
void sha256_hex(sha256 *s, char out[65]); /* finishes; out is NUL-terminated */
#ifdef GAVEL_TESTING
extern bool sha256_plain; /* do without the CPU's SHA instructions */
#endif

#endif
