/* See bytes.h.  Bytes of a file turn into integers here: least significant byte first, whatever the alignment and the host's order.
 *
 * Invariant: pos <= n.  What is asked for is compared with what is left, never added to the position, so no length from a file can
 * overflow.  A failed read leaves the cursor and the result as they were; its message has the field's name, the offset and what is left.
 * Nothing is copied: a view lives as long as the bytes it points into. */
#include "base/bytes.h"

static bool need(bytes *b, uint64_t n, const char *what, gv_err *err) {
    if (n <= b->n - b->pos) return true;
    return gv_fail(err, GV_FORMAT, (int64_t)b->pos, "%s: %llu byte%s needed at offset %zu, %zu left", what, (unsigned long long)n,
                   n == 1 ? "" : "s", b->pos, b->n - b->pos);
}

static uint64_t take(bytes *b, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)b->p[b->pos + i] << (8 * i);
    b->pos += n;
    return v;
}

bool bytes_u8(bytes *b, uint8_t *v, const char *what, gv_err *err) {
    if (!need(b, 1, what, err)) return false;
    *v = (uint8_t)take(b, 1);
    return true;
}

bool bytes_u16(bytes *b, uint16_t *v, const char *what, gv_err *err) {
    if (!need(b, 2, what, err)) return false;
    *v = (uint16_t)take(b, 2);
    return true;
}

bool bytes_u32(bytes *b, uint32_t *v, const char *what, gv_err *err) {
    if (!need(b, 4, what, err)) return false;
    *v = (uint32_t)take(b, 4);
    return true;
}

bool bytes_u64(bytes *b, uint64_t *v, const char *what, gv_err *err) {
    if (!need(b, 8, what, err)) return false;
    *v = take(b, 8);
    return true;
}

bool bytes_view(bytes *b, uint64_t n, sv *v, const char *what, gv_err *err) {
    if (!need(b, n, what, err)) return false;
    *v = (sv){n ? (const char *)b->p + b->pos : "", (size_t)n};
    b->pos += (size_t)n;
    return true;
}
