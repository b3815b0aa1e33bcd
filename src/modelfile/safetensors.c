/* See safetensors.h.  One file: header, entries, and the proof that the entries cover the data without holes or overlap.  The folder of several
 * files is safetensors_folder.c.
 *
 * Memory is taken only in proportion to the header's bytes, which the file has. */
#include "base/bytes.h"
#include "base/json.h"
#include "base/mem.h"
#include "modelfile/safetensors_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { VALUES_A_TENSOR = 16 }; /* JSON values of an entry: object, dtype, shape and its dimensions, offsets */

static const struct {
    const char *name;
    dtype type; /* DT_COUNT: known, but not read */
} dtypes[] = {
    {"F32", DT_F32},       {"F16", DT_F16},       {"BF16", DT_BF16},     {"F64", DT_COUNT},     {"I64", DT_COUNT},
    {"I32", DT_COUNT},     {"I16", DT_COUNT},     {"I8", DT_COUNT},      {"U64", DT_COUNT},     {"U32", DT_COUNT},
    {"U16", DT_COUNT},     {"U8", DT_COUNT},      {"BOOL", DT_COUNT},    {"F8_E4M3", DT_COUNT}, {"F8_E5M2", DT_COUNT},
    {"F8_E8M0", DT_COUNT}, {"F6_E2M3", DT_COUNT}, {"F6_E3M2", DT_COUNT}, {"F4", DT_COUNT},      {"C64", DT_COUNT},
};

static bool is_kind(const json_value *v, json_kind k) {
    return v && json_kind_of(v) == k;
}

/* ---- an entry ---- */

static bool read_dtype(const json_value *v, dtype *type, gv_err *err) {
    if (!is_kind(v, JSON_STRING)) return gv_fail(err, GV_FORMAT, -1, "dtype is %s, expected a string", v ? json_kind_name(v) : "missing");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (!sv_is(json_string(v), dtypes[i].name)) continue;
        *type = dtypes[i].type;
        return *type != DT_COUNT || gv_fail(err, GV_UNSUPPORTED, -1, "dtype %s is not one gavel reads (F32 F16 BF16)", dtypes[i].name);
    }
    return gv_fail(err, GV_FORMAT, -1, "dtype %s is no dtype of safetensors", str_show(json_string(v)).text);
}

/* Dimensions, reversed into GGUF's order, and the bytes they make. */
static bool read_dims(const json_value *v, tensor_view *t, gv_err *err) {
    if (!is_kind(v, JSON_ARRAY)) return gv_fail(err, GV_FORMAT, -1, "shape is %s, expected an array", v ? json_kind_name(v) : "missing");
    const size_t n = json_size(v);
    if (n > SAFETENSORS_MAX_DIMS) return gv_fail(err, GV_LIMIT, -1, "shape has %zu dimensions, the cap is %d", n, SAFETENSORS_MAX_DIMS);
    int64_t elements = 1;
    for (size_t d = 0; d < 4; d++) t->ne[d] = 1;
    t->n_dims = (uint32_t)n;
    size_t d = n;
    for (json_iter it = json_each(v); json_next(&it);) {
        int64_t *ne = &t->ne[--d];
        if (!json_int64(it.value, ne) || *ne < 0)
            return gv_fail(err, GV_FORMAT, -1, "dimension %zu of the shape is no number from 0 to 2^63-1", n - 1 - d);
        if (__builtin_mul_overflow(elements, *ne, &elements))
            return gv_fail(err, GV_FORMAT, -1, "the number of elements overflows 63 bits");
    }
    int64_t size;
    if (__builtin_mul_overflow(elements, (int64_t)dtype_get(t->type)->block_bytes, &size))
        return gv_fail(err, GV_FORMAT, -1, "the size in bytes overflows 63 bits");
    t->n_bytes = (size_t)size;
    return true;
}

static bool read_offsets(const json_value *v, st_entry *e, size_t data_bytes, gv_err *err) {
    int64_t at[2] = {0, 0};
    if (!is_kind(v, JSON_ARRAY) || json_size(v) != 2) return gv_fail(err, GV_FORMAT, -1, "data_offsets is not an array of two numbers");
    int i = 0;
    for (json_iter it = json_each(v); json_next(&it); i++)
        if (!json_int64(it.value, &at[i]) || at[i] < 0) return gv_fail(err, GV_FORMAT, -1, "data_offsets is not an array of two numbers");
    if (at[1] < at[0]) return gv_fail(err, GV_FORMAT, -1, "data_offsets end at %" PRId64 ", before %" PRId64, at[1], at[0]);
    if ((size_t)at[1] > data_bytes)
        return gv_fail(err, GV_FORMAT, -1, "data_offsets end at %" PRId64 ", but the file has %zu bytes of data; is it cut off?", at[1],
                       data_bytes);
    if ((size_t)(at[1] - at[0]) != e->view.n_bytes)
        return gv_fail(err, GV_FORMAT, -1, "data_offsets span %" PRId64 " bytes, but dtype and shape need %zu", at[1] - at[0],
                       e->view.n_bytes);
    e->begin = (uint64_t)at[0];
    return true;
}

static bool read_entry(sv name, const json_value *v, st_entry *e, size_t data_bytes, gv_err *err) {
    static const char *const members[] = {"dtype", "shape", "data_offsets"};
    if (!gguf_check_name(name, SAFETENSORS_MAX_NAME_BYTES, "tensor name", err)) return false;
    if (!is_kind(v, JSON_OBJECT)) return gv_fail(err, GV_FORMAT, -1, "the entry is %s, expected an object", json_kind_name(v));
    for (json_iter it = json_each(v); json_next(&it);) {
        bool known = false;
        for (size_t i = 0; i < 3; i++) known = known || sv_is(it.key, members[i]);
        if (!known) return gv_fail(err, GV_FORMAT, -1, "the entry has a member %s", str_show(it.key).text);
    }
    return read_dtype(json_get(v, "dtype"), &e->view.type, err) && read_dims(json_get(v, "shape"), &e->view, err) &&
           read_offsets(json_get(v, "data_offsets"), e, data_bytes, err);
}

static bool check_metadata(const json_value *v, gv_err *err) {
    if (!is_kind(v, JSON_OBJECT)) return gv_fail(err, GV_FORMAT, -1, "__metadata__ is %s, expected an object", json_kind_name(v));
    for (json_iter it = json_each(v); json_next(&it);)
        if (!is_kind(it.value, JSON_STRING))
            return gv_fail(err, GV_FORMAT, -1, "__metadata__: %s is %s, expected a string", str_show(it.key).text,
                           json_kind_name(it.value));
    return true;
}

/* ---- a file ---- */

static int by_offset(const void *pa, const void *pb) {
    const st_entry *a = pa, *b = pb;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->view.n_bytes != b->view.n_bytes) return a->view.n_bytes < b->view.n_bytes ? -1 : 1; /* empty ones first */
    return strcmp(a->view.name, b->view.name);
}

/* Sorts by place and binds the views; holes, overlap and data after the last tensor are errors. */
static bool place(st_entry *e, size_t n, const uint8_t *data, size_t data_bytes, gv_err *err) {
    uint64_t at = 0;
    qsort(e, n, sizeof *e, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (e[i].begin != at) /* begin < at: overlap */
            return gv_fail(err, GV_FORMAT, -1, "tensor %s begins at %" PRIu64 " of the data, but %s ends at %" PRIu64,
                           str_show(sv_of(e[i].view.name)).text, e[i].begin,
                           i ? str_show(sv_of(e[i - 1].view.name)).text : "what is before it", at);
        e[i].view.data = data + at;
        at += e[i].view.n_bytes;
    }
    return at == data_bytes || gv_fail(err, GV_FORMAT, -1, "%zu bytes of data, but the tensors take %" PRIu64, data_bytes, at);
}

static bool read_entries(safetensors *s, st_file *f, size_t file, const json_value *root, const uint8_t *data, size_t data_bytes,
                         gv_err *err) {
    const json_value *meta = json_get(root, "__metadata__");
    if (meta && !check_metadata(meta, err)) return false;
    const size_t n = json_size(root) - (meta != NULL);
    if (n > SAFETENSORS_MAX_TENSORS - s->n)
        return gv_fail(err, GV_LIMIT, -1, "%zu tensors, the cap is %d", n + s->n, SAFETENSORS_MAX_TENSORS);
    size_t text_bytes = 1;
    for (json_iter it = json_each(root); json_next(&it);) text_bytes += it.key.n + 1;
    st_entry *all = gv_try_calloc(s->n + n + 1, sizeof *all, "safetensors entries", err);
    f->names = gv_try_malloc(text_bytes, 1, "safetensors names", err);
    if (!all || !f->names) {
        free(all);
        return false;
    }
    if (s->n) memcpy(all, s->e, s->n * sizeof *all);
    free(s->e);
    s->e = all;
    st_entry *e = all + s->n;
    char *text = f->names;
    for (json_iter it = json_each(root); json_next(&it);) {
        if (it.value == meta) continue;
        if (!read_entry(it.key, it.value, e, data_bytes, err)) return gv_context(err, "tensor %s", str_show(it.key).text);
        e->file = file;
        e->view.name = text;
        memcpy(text, it.key.p, it.key.n);
        text[it.key.n] = 0;
        text += it.key.n + 1;
        e++;
    }
    if (!place(all + s->n, n, data, data_bytes, err)) return false;
    s->n += n;
    return true;
}

bool st_read_file(safetensors *s, st_file *f, size_t file, const uint8_t *p, size_t n, gv_err *err) {
    bytes b = {p, n, 0};
    uint64_t header_bytes;
    if (n < 8) return gv_fail(err, GV_FORMAT, 0, "not a safetensors file: %zu bytes", n);
    if (!bytes_u64(&b, &header_bytes, "header length", err)) return false;
    if (header_bytes > n - 8)
        return gv_fail(err, GV_FORMAT, 0, "not a safetensors file, or cut off: a header of %" PRIu64 " bytes, but %zu bytes follow",
                       header_bytes, n - 8);
    if (header_bytes > SAFETENSORS_MAX_HEADER_BYTES)
        return gv_fail(err, GV_LIMIT, 0, "a header of %" PRIu64 " bytes, the cap is %d", header_bytes, SAFETENSORS_MAX_HEADER_BYTES);
    const sv text = {(const char *)p + 8, (size_t)header_bytes};
    if (text.n == 0 || text.p[0] != '{') return gv_fail(err, GV_FORMAT, 8, "the header does not begin with {");
    json_doc *d = json_parse_caps(text, SAFETENSORS_MAX_TENSORS + 1, (size_t)SAFETENSORS_MAX_TENSORS * VALUES_A_TENSOR, err);
    if (!d) return gv_context(err, "header");
    const size_t data = 8 + text.n;
    const bool ok = read_entries(s, f, file, json_root(d), p + data, n - data, err);
    json_free(d);
    return ok;
}

static int by_name(const void *a, const void *b) {
    const int c = strcmp(((const st_entry *)a)->view.name, ((const st_entry *)b)->view.name);
    return c ? c
             : (((const st_entry *)a)->file > ((const st_entry *)b)->file) - (((const st_entry *)a)->file < ((const st_entry *)b)->file);
}

bool st_sort(safetensors *s, gv_err *err) {
    if (s->n) qsort(s->e, s->n, sizeof *s->e, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->e[i - 1].view.name, s->e[i].view.name) == 0) /* in one file the JSON reader refuses it */
            return gv_fail(err, GV_FORMAT, -1, "tensor %s is in %s and in %s", str_show(sv_of(s->e[i].view.name)).text,
                           s->files[s->e[i - 1].file].name, s->files[s->e[i].file].name);
    return true;
}

/* ---- opening ---- */

safetensors *st_new(size_t n_files, gv_err *err) {
    safetensors *s = gv_xcalloc(1, sizeof *s);
    s->files = gv_try_calloc(n_files, sizeof *s->files, "safetensors files", err);
    s->n_files = s->files ? n_files : 0;
    if (s->files) return s;
    safetensors_close(s);
    return NULL;
}

safetensors *safetensors_open_memory(const void *p, size_t n, const char *name, gv_err *err) {
    safetensors *s = st_new(1, err);
    if (!s) return NULL;
    s->files[0].name = gv_xstrdup(name);
    if (st_read_file(s, &s->files[0], 0, p, n, err) && st_sort(s, err)) return s;
    gv_context(err, "%s", name);
    safetensors_close(s);
    return NULL;
}

bool st_open_file(safetensors *s, size_t file, const char *path, gv_err *err) {
    st_file *f = &s->files[file];
    if (!file_map_open(&f->map, path, err)) return false;
    f->mapped = true;
    return st_read_file(s, f, file, f->map.p, f->map.n, err) || gv_context(err, "%s", path);
}

safetensors *safetensors_open(const char *path, gv_err *err) {
    const char *slash = strrchr(path, '/');
    safetensors *s = st_new(1, err);
    if (!s) return NULL;
    s->files[0].name = gv_xstrdup(slash ? slash + 1 : path);
    if (st_open_file(s, 0, path, err) && st_sort(s, err)) return s;
    safetensors_close(s);
    return NULL;
}

void safetensors_close(safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_files; i++) {
        file_map_close(&s->files[i].map);
        free(s->files[i].name);
        free(s->files[i].names);
    }
    free(s->files);
    free(s->e);
    free(s);
}

/* ---- reading ---- */

size_t safetensors_count(const safetensors *s) {
    return s->n;
}
const tensor_view *safetensors_at(const safetensors *s, size_t i) {
    return &s->e[i].view;
}

const tensor_view *safetensors_find(const safetensors *s, const char *name) {
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = strcmp(s->e[mid].view.name, name);
        if (c == 0) return &s->e[mid].view;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

size_t safetensors_number(const safetensors *s, const tensor_view *v) {
    return (size_t)((const st_entry *)v - s->e); /* the view is the entry's first member */
}

size_t safetensors_n_files(const safetensors *s) {
    return s->n_files;
}
const char *safetensors_file_name(const safetensors *s, size_t file) {
    return s->files[file].name;
}
const file_map *safetensors_file_map(const safetensors *s, size_t file) {
    return s->files[file].mapped ? &s->files[file].map : NULL;
}
