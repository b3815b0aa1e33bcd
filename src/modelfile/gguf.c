/* GGUF reader: maps a file, checks it whole, and builds the index of keys and tensors.
 *
 * Format: ggml docs/gguf.md.  Little-endian:
 *   u32 magic "GGUF", u32 version, u64 n_tensors, u64 n_kv
 *   n_kv x      { string key, u32 type, value }        string: u64 length, bytes; array: u32 element type, u64 count, elements
 *   n_tensors x { string name, u32 n_dims, u64 ne[n_dims], u32 type, u64 offset }
 *   padding to general.alignment, then the data that the offsets count from.
 *
 * Invariant after open: every view of the index lies inside the file, every count is under its cap, names are unique, and tensor data is
 * aligned and does not overlap, so nothing after open needs to check a length.  Memory is only taken for counts that the bytes left
 * in the file can hold.  Tensor data is not touched.  An open gguf is immutable; any number of threads may read it. */
#include "base/bytes.h"
#include "base/mem.h"
#include "modelfile/gguf_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    MIN_KV_BYTES = 8 + 1 + 4 + 1,             /* key of one byte, a u8 */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* name of one byte, one dimension */
};

/* What the tensor table says of a tensor beside its view. */
typedef struct placed {
    uint64_t offset; /* in the data section */
    size_t i;        /* place in the file */
} placed;

static bool read_string(bytes *b, size_t cap, sv *out, const char *what, gv_err *err) {
    uint64_t n;
    size_t at = b->pos;
    if (!bytes_u64(b, &n, what, err) || !bytes_view(b, n, out, what, err)) return false;
    if (n > cap) return gv_fail(err, GV_LIMIT, (int64_t)at, "%s of %" PRIu64 " bytes, the cap is %zu", what, n, cap);
    return true;
}

static bool read_type(bytes *b, gguf_type *type, const char *what, gv_err *err) {
    uint32_t t;
    size_t at = b->pos;
    if (!bytes_u32(b, &t, what, err)) return false;
    if (t > GGUF_F64) return gv_fail(err, GV_FORMAT, (int64_t)at, "%s is %u, expected 0 to %d", what, t, (int)GGUF_F64);
    *type = (gguf_type)t;
    return true;
}

static bool check_bools(const uint8_t *p, size_t n, size_t at, gv_err *err) {
    for (size_t i = 0; i < n; i++)
        if (p[i] > 1) return gv_fail(err, GV_FORMAT, (int64_t)(at + i), "bool is %u, expected 0 or 1", p[i]);
    return true;
}

/* ---- keys ---- */

static bool read_array(bytes *b, gguf_kv *kv, gv_err *err) {
    if (!read_type(b, &kv->elem, "array element type", err)) return false;
    size_t at = b->pos;
    if (!bytes_u64(b, &kv->n, "array length", err)) return false;
    if (kv->elem == GGUF_ARRAY) return gv_fail(err, GV_UNSUPPORTED, (int64_t)at, "arrays of arrays are not read");
    size_t elem_bytes = gguf_type_bytes(kv->elem);
    size_t least = elem_bytes ? elem_bytes : 8; /* a string takes its length at least */
    if (kv->n > bytes_left(b) / least)
        return gv_fail(err, GV_FORMAT, (int64_t)at, "array of %" PRIu64 " x %s, but %zu bytes are left", kv->n, gguf_type_name(kv->elem),
                       bytes_left(b));
    if (kv->n > GGUF_MAX_ARRAY_ELEMS)
        return gv_fail(err, GV_LIMIT, (int64_t)at, "array of %" PRIu64 " elements, the cap is %u", kv->n, GGUF_MAX_ARRAY_ELEMS);
    kv->p = b->p + b->pos;
    size_t from = b->pos;
    sv s;
    if (elem_bytes) {
        if (!bytes_view(b, kv->n * elem_bytes, &s, "array", err)) return false;
    } else {
        for (uint64_t i = 0; i < kv->n; i++)
            if (!read_string(b, GGUF_MAX_STRING_BYTES, &s, "string", err)) return gv_context(err, "element %" PRIu64, i);
    }
    kv->n_bytes = b->pos - from;
    return kv->elem != GGUF_BOOL || check_bools(kv->p, kv->n_bytes, from, err);
}

static bool read_value(bytes *b, gguf_kv *kv, gv_err *err) {
    if (!read_type(b, &kv->type, "value type", err)) return false;
    kv->elem = kv->type;
    kv->n = 1;
    if (kv->type == GGUF_ARRAY) return read_array(b, kv, err);
    sv s;
    bool ok = kv->type == GGUF_STRING ? read_string(b, GGUF_MAX_STRING_BYTES, &s, "string", err)
                                      : bytes_view(b, gguf_type_bytes(kv->type), &s, gguf_type_name(kv->type), err);
    if (!ok) return false;
    kv->p = (const uint8_t *)s.p;
    kv->n_bytes = s.n;
    return kv->type != GGUF_BOOL || check_bools(kv->p, 1, b->pos - 1, err);
}

static bool read_keys(gguf *g, bytes *b, gv_err *err) {
    for (size_t i = 0; i < g->n_kv; i++) {
        gguf_kv *kv = &g->kv[i];
        if (!read_string(b, GGUF_MAX_KEY_BYTES, &kv->key, "key", err)) return gv_context(err, "key %zu of %zu", i + 1, g->n_kv);
        if (!gguf_check_name(kv->key, GGUF_MAX_KEY_BYTES, "key", err)) return gv_context(err, "key %zu of %zu", i + 1, g->n_kv);
        if (!read_value(b, kv, err)) return gv_context(err, "key %s", str_show(kv->key).text);
        g->kv_names[i] = (gguf_name){kv->key, i};
    }
    size_t repeated;
    if (!gguf_names_sort(g->kv_names, g->n_kv, &repeated))
        return gv_fail(err, GV_FORMAT, -1, "key %s is there twice", str_show(g->kv[repeated].key).text);
    return true;
}

static bool read_alignment(gguf *g, gv_err *err) {
    g->alignment = GGUF_DEFAULT_ALIGNMENT;
    size_t i = gguf_find_key(g, "general.alignment");
    if (i == SIZE_MAX) return true;
    if (g->kv[i].type != GGUF_U32)
        return gv_fail(err, GV_FORMAT, -1, "key general.alignment: type %s, expected u32", gguf_type_name(g->kv[i].type));
    memcpy(&g->alignment, g->kv[i].p, 4);
    if (g->alignment < GGUF_MIN_ALIGNMENT || (g->alignment & (g->alignment - 1)))
        return gv_fail(err, GV_FORMAT, -1, "key general.alignment: %u, expected a power of two, %d or more", g->alignment,
                       GGUF_MIN_ALIGNMENT);
    return true;
}

/* ---- tensors ---- */

static bool check_dtype(uint32_t type, int64_t at, gv_err *err) {
    if (dtype_get(type)) return true;
    const char *name = dtype_any_name(type);
    if (!name) return gv_fail(err, GV_FORMAT, at, "type %u is no GGUF type", type);
    buf ours = {0};
    buf_add_str(&ours, "F32 F16 BF16"); /* plain ones first, then the quantised ones by number */
    for (uint32_t t = DT_Q4_0; t < DT_BF16; t++)
        if (dtype_get(t)) buf_printf(&ours, " %s", dtype_get(t)->name);
    gv_fail(err, GV_UNSUPPORTED, at, "type %s is not one gavel reads (%s)", name, ours.p);
    buf_fini(&ours);
    return false;
}

/* The entry after its name.  Shape and type are checked here, the offset once the data section is known. */
static bool read_tensor(tensor_view *t, uint64_t *offset, bytes *b, gv_err *err) {
    size_t at = b->pos;
    if (!bytes_u32(b, &t->n_dims, "number of dimensions", err)) return false;
    if (t->n_dims < 1 || t->n_dims > 4) return gv_fail(err, GV_FORMAT, (int64_t)at, "%u dimensions, expected 1 to 4", t->n_dims);
    for (uint32_t d = 0; d < 4; d++) t->ne[d] = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        uint64_t ne;
        if (!bytes_u64(b, &ne, "dimension", err)) return false;
        t->ne[d] = (int64_t)ne; /* above INT64_MAX it is negative and refused with its size */
    }
    uint32_t type;
    size_t type_at = b->pos;
    if (!bytes_u32(b, &type, "type", err) || !bytes_u64(b, offset, "offset", err)) return false;
    if (!check_dtype(type, (int64_t)type_at, err)) return false;
    t->type = (dtype)type;
    return gguf_tensor_bytes(t->type, t->ne, t->n_dims, &t->n_bytes, err);
}

static bool read_tensors(gguf *g, placed *places, bytes *b, gv_err *err) {
    for (size_t i = 0; i < g->n_tensors; i++) {
        sv name;
        if (!read_string(b, GGUF_MAX_NAME_BYTES, &name, "tensor name", err) ||
            !gguf_check_name(name, GGUF_MAX_NAME_BYTES, "tensor name", err))
            return gv_context(err, "tensor %zu of %zu", i + 1, g->n_tensors);
        memcpy(g->name_text[i], name.p, name.n);
        g->tensors[i].name = g->name_text[i];
        g->tensor_names[i] = (gguf_name){name, i};
        places[i].i = i;
        if (!read_tensor(&g->tensors[i], &places[i].offset, b, err)) return gv_context(err, "tensor %s", str_show(name).text);
    }
    size_t repeated;
    if (!gguf_names_sort(g->tensor_names, g->n_tensors, &repeated))
        return gv_fail(err, GV_FORMAT, -1, "tensor %s is there twice", str_show(sv_of(g->tensors[repeated].name)).text);
    return true;
}

static int placed_cmp(const void *pa, const void *pb) {
    const placed *a = pa, *b = pb;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return (a->i > b->i) - (a->i < b->i);
}

/* Binds the views to the data section, which starts at the next multiple of the alignment after the tensor table. */
static bool place_tensors(gguf *g, placed *places, const bytes *b, gv_err *err) {
    if (g->n_tensors == 0) return true;
    size_t start = 0;
    if (!gv_add_size(b->pos, g->alignment - 1, &start)) return gv_fail(err, GV_FORMAT, -1, "the start of the data overflows");
    start &= ~((size_t)g->alignment - 1);
    size_t room = b->n > start ? b->n - start : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        tensor_view *t = &g->tensors[i];
        uint64_t offset = places[i].offset;
        const str_shown name = str_show(sv_of(t->name));
        if (offset % g->alignment)
            return gv_fail(err, GV_FORMAT, -1, "tensor %s: offset %" PRIu64 " is no multiple of the alignment %u", name.text, offset,
                           g->alignment);
        if (offset > room || t->n_bytes > room - offset)
            return gv_fail(err, GV_FORMAT, -1,
                           "tensor %s: %zu bytes at offset %" PRIu64 " of the data do not fit in its %zu bytes; is the file cut off?",
                           name.text, t->n_bytes, offset, room);
        t->data = b->p + start + offset;
    }
    qsort(places, g->n_tensors, sizeof *places, placed_cmp);
    for (size_t k = 1; k < g->n_tensors; k++) {
        const tensor_view *before = &g->tensors[places[k - 1].i];
        if (places[k].offset - places[k - 1].offset < before->n_bytes)
            return gv_fail(err, GV_FORMAT, -1, "tensors %s and %s overlap at offset %" PRIu64 " of the data",
                           str_show(sv_of(before->name)).text, str_show(sv_of(g->tensors[places[k].i].name)).text, places[k].offset);
    }
    return true;
}

/* ---- the whole file ---- */

static bool check_count(uint64_t n, uint64_t cap, size_t min_bytes, const bytes *b, const char *what, gv_err *err) {
    if (n > bytes_left(b) / min_bytes)
        return gv_fail(err, GV_FORMAT, -1, "the header counts %" PRIu64 " %s, but only %zu bytes follow", n, what, bytes_left(b));
    if (n > cap) return gv_fail(err, GV_LIMIT, -1, "%" PRIu64 " %s, the cap is %" PRIu64, n, what, cap);
    return true;
}

static bool read_header(gguf *g, bytes *b, gv_err *err) {
    uint32_t magic;
    if (b->n == 0) return gv_fail(err, GV_FORMAT, 0, "the file is empty");
    if (b->n < 4) return gv_fail(err, GV_FORMAT, 0, "not a GGUF file: %zu bytes", b->n);
    if (!bytes_u32(b, &magic, "magic", err)) return false;
    if (magic != GGUF_MAGIC)
        return gv_fail(err, GV_FORMAT, 0, "not a GGUF file: it starts with %02x %02x %02x %02x, expected 47 47 55 46 (GGUF)", b->p[0],
                       b->p[1], b->p[2], b->p[3]);
    if (!bytes_u32(b, &g->version, "version", err)) return false;
    if (g->version && (g->version & 0xffff) == 0)
        return gv_fail(err, GV_UNSUPPORTED, 4, "a big-endian GGUF file; gavel reads little-endian ones");
    if (g->version != 2 && g->version != 3)
        return gv_fail(err, GV_UNSUPPORTED, 4, "GGUF version %u; gavel reads versions 2 and 3", g->version);
    uint64_t n_tensors, n_kv;
    if (!bytes_u64(b, &n_tensors, "number of tensors", err) || !bytes_u64(b, &n_kv, "number of keys", err)) return false;
    if (!check_count(n_tensors, GGUF_MAX_TENSORS, MIN_TENSOR_BYTES, b, "tensors", err)) return false;
    if (!check_count(n_kv, GGUF_MAX_KEYS, MIN_KV_BYTES, b, "keys", err)) return false;
    g->n_tensors = (size_t)n_tensors;
    g->n_kv = (size_t)n_kv;
    return true;
}

static bool read_file(gguf *g, const void *p, size_t n, gv_err *err) {
    bytes b = {p, n, 0};
    placed *places = NULL;
    bool ok = false;
    if (!read_header(g, &b, err)) return false;
    g->kv = gv_try_calloc(g->n_kv, sizeof *g->kv, "GGUF keys", err);
    g->kv_names = gv_try_calloc(g->n_kv, sizeof *g->kv_names, "GGUF keys", err);
    g->tensors = gv_try_calloc(g->n_tensors, sizeof *g->tensors, "GGUF tensors", err);
    g->tensor_names = gv_try_calloc(g->n_tensors, sizeof *g->tensor_names, "GGUF tensors", err);
    g->name_text = gv_try_calloc(g->n_tensors, sizeof *g->name_text, "GGUF tensor names", err);
    places = gv_try_calloc(g->n_tensors, sizeof *places, "GGUF tensors", err);
    if (!g->kv || !g->kv_names || !g->tensors || !g->tensor_names || !g->name_text || !places) goto fail;
    ok = read_keys(g, &b, err) && read_alignment(g, err) && read_tensors(g, places, &b, err) && place_tensors(g, places, &b, err);
fail:
    free(places);
    return ok;
}

gguf *gguf_open_memory(const void *p, size_t n, const char *name, gv_err *err) {
    gguf *g = gv_xcalloc(1, sizeof *g);
    g->path = gv_xstrdup(name);
    if (!read_file(g, p, n, err)) {
        gv_context(err, "%s", g->path);
        gguf_close(g);
        return NULL;
    }
    return g;
}

gguf *gguf_open_file(const char *path, gv_err *err) {
    file_map map;
    if (!file_map_open(&map, path, err)) return NULL;
    gguf *g = gguf_open_memory(map.p, map.n, path, err);
    if (!g) {
        file_map_close(&map);
        return NULL;
    }
    g->map = map;
    g->mapped = true;
    return g;
}

void gguf_close(gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_more; i++) gguf_close(g->more[i]);
    free(g->more);
    if (g->mapped) file_map_close(&g->map);
    free(g->kv);
    free(g->kv_names);
    free(g->tensors);
    free(g->tensor_names);
    free(g->name_text);
    free(g->path);
    free(g);
}
