/* A cursor over borrowed little-endian bytes: every read checks what remains and fails with offset and name. */
#ifndef GAVEL_BASE_BYTES_H
#define GAVEL_BASE_BYTES_H

#include "base/err.h"
#include "base/str.h"

typedef struct bytes {
    const uint8_t *p;
    size_t n;   /* all bytes */
    size_t pos; /* next byte; pos <= n */
} bytes;

static inline size_t bytes_left(const bytes *b) {
    return b->n - b->pos;
}
/* `what` names the field for the message: "FILE-less" text such as "tensor name: 8 bytes needed at offset 91, 3 left". */
bool bytes_u8(bytes *b, uint8_t *v, const char *what, gv_err *err) GV_MUST_USE;
bool bytes_u16(bytes *b, uint16_t *v, const char *what, gv_err *err) GV_MUST_USE;
bool bytes_u32(bytes *b, uint32_t *v, const char *what, gv_err *err) GV_MUST_USE;
bool bytes_u64(bytes *b, uint64_t *v, const char *what, gv_err *err) GV_MUST_USE;
/* A view of the next n bytes. */
bool bytes_view(bytes *b, uint64_t n, sv *v, const char *what, gv_err *err) GV_MUST_USE;

#endif
