/* What the GGUF reader and writer share: rules for names and shapes, and the sorted name index.
 *
 * Nothing here touches a file.  All functions are pure and may run on any thread. */
#include "modelfile/gguf_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t bytes;
} types[] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},   [GGUF_U16] = {"u16", 2},   [GGUF_I16] = {"i16", 2},       [GGUF_U32] = {"u32", 4},
    [GGUF_I32] = {"i32", 4}, [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0},
    [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8}, [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(gguf_type type) {
    return (size_t)type < sizeof types / sizeof *types ? types[type].name : "?";
}

size_t gguf_type_bytes(gguf_type type) {
    return types[type].bytes;
}

/* ---- sorted names ---- */

static int name_cmp(sv a, sv b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int sort_cmp(const void *pa, const void *pb) {
    const gguf_name *a = pa, *b = pb;
    int c = name_cmp(a->name, b->name);
    return c ? c : (a->i > b->i) - (a->i < b->i);
}

bool gguf_names_sort(gguf_name *names, size_t n, size_t *repeated) {
    if (n == 0) return true;
    qsort(names, n, sizeof *names, sort_cmp);
    size_t first = SIZE_MAX;
    for (size_t k = 1; k < n; k++)
        if (sv_eq(names[k - 1].name, names[k].name) && names[k].i < first) first = names[k].i;
    *repeated = first;
    return first == SIZE_MAX;
}

size_t gguf_names_find(const gguf_name *names, size_t n, sv name) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = name_cmp(names[mid].name, name);
        if (c == 0) return names[mid].i;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return SIZE_MAX;
}

/* ---- names ---- */

bool gguf_check_name(sv name, size_t max_bytes, const char *what, gv_err *err) {
    if (name.n == 0) return gv_fail(err, GV_FORMAT, -1, "%s is empty", what);
    if (name.n > max_bytes) return gv_fail(err, GV_LIMIT, -1, "%s has %zu bytes, the cap is %zu", what, name.n, max_bytes);
    if (memchr(name.p, 0, name.n)) return gv_fail(err, GV_FORMAT, -1, "%s %s has a NUL byte", what, str_show(name).text);
    size_t bad = utf8_invalid_at(name);
    if (bad != SIZE_MAX) return gv_fail(err, GV_FORMAT, -1, "%s %s is not UTF-8 at byte %zu", what, str_show(name).text, bad);
    return true;
}

/* ---- shapes ---- */

bool gguf_tensor_bytes(dtype type, const int64_t ne[4], uint32_t n_dims, size_t *n_bytes, gv_err *err) {
    const dtype_info *info = dtype_get(type);
    int64_t n = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (ne[i] < 1) return gv_fail(err, GV_FORMAT, -1, "dimension %u is %" PRId64 ", expected 1 or more", i, ne[i]);
        if (__builtin_mul_overflow(n, ne[i], &n)) return gv_fail(err, GV_FORMAT, -1, "the number of elements overflows 63 bits");
    }
    if (ne[0] % info->block_elems)
        return gv_fail(err, GV_FORMAT, -1, "rows of %" PRId64 " elements, but %s has blocks of %u", ne[0], info->name, info->block_elems);
    int64_t bytes = 0;
    if (__builtin_mul_overflow(n / info->block_elems, (int64_t)info->block_bytes, &bytes))
        return gv_fail(err, GV_FORMAT, -1, "the size in bytes overflows 63 bits");
    *n_bytes = (size_t)bytes;
    return true;
}
