/* GGUF files made by hand for the tests of the reader: bytes in, one message or a count out.  Deliberately not through the writer, which
 * refuses to write most of them.  Every file is read from an exact-size copy, so that the address sanitizer sees a read past its end. */
#ifndef GAVEL_TESTS_GGUF_HAND_H
#define GAVEL_TESTS_GGUF_HAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "modelfile/gguf.h"

#include <stdlib.h>

static inline void u8(buf *b, uint8_t v) {
    buf_add(b, &v, 1);
}
static inline void u32(buf *b, uint32_t v) {
    buf_add(b, &v, 4);
}
static inline void u64(buf *b, uint64_t v) {
    buf_add(b, &v, 8);
}
static inline void str(buf *b, const char *s) {
    u64(b, strlen(s));
    buf_add_str(b, s);
}

static inline buf header(uint64_t n_tensors, uint64_t n_kv) {
    buf b = {0};
    buf_add_str(&b, "GGUF");
    u32(&b, 3);
    u64(&b, n_tensors);
    u64(&b, n_kv);
    return b;
}

static inline void kv_u32(buf *b, const char *key, uint32_t v) {
    str(b, key);
    u32(b, GGUF_U32);
    u32(b, v);
}

static inline void tensor_info(buf *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type, uint64_t offset) {
    str(b, name);
    u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) u64(b, ne[i]);
    u32(b, type);
    u64(b, offset);
}

static inline void zeros(buf *b, size_t n) {
    for (size_t i = 0; i < n; i++) u8(b, 0);
}
static inline void pad(buf *b, size_t alignment) {
    while (b->n % alignment) u8(b, 0);
}

#define NE(...) ((const uint64_t[4]){__VA_ARGS__})

/* Opens an exact-size copy; the copy is freed by the caller after gguf_close. */
static inline gguf *open_copy(const buf *b, void **copy, gv_err *err) {
    *copy = malloc(b->n ? b->n : 1);
    if (b->n) memcpy(*copy, b->p, b->n);
    return gguf_open_memory(*copy, b->n, "f.gguf", err);
}

static inline void refused(buf *b, gv_code code, const char *msg) {
    gv_err err = GV_ERR_INIT;
    void *copy;
    gguf *g = open_copy(b, &copy, &err);
    assert_null(g);
    assert_string_equal(err.msg, msg);
    assert_int_equal(err.code, code);
    free(copy);
    buf_fini(b);
}

static inline void loads(buf *b, size_t n_tensors, size_t n_keys) {
    gv_err err = GV_ERR_INIT;
    void *copy;
    gguf *g = open_copy(b, &copy, &err);
    assert_string_equal(err.msg, "");
    assert_non_null(g);
    assert_int_equal(gguf_n_tensors(g), n_tensors);
    assert_int_equal(gguf_n_keys(g), n_keys);
    gguf_close(g);
    free(copy);
    buf_fini(b);
}

#endif
