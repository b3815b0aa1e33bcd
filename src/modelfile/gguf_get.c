/* Reading an open GGUF: lookup by name, typed values, arrays, and keys as text.
 *
 * Everything was checked at open (gguf.c), so only the type and range a caller asks for can be wrong here.  Read-only: any thread. */
#include "modelfile/gguf_internal.h"

#include <inttypes.h>
#include <math.h>

uint32_t gguf_version(const gguf *g) {
    return g->version;
}
const char *gguf_path(const gguf *g) {
    return g->path;
}
const file_map *gguf_map(const gguf *g) {
    return g->mapped ? &g->map : NULL;
}

size_t gguf_n_parts(const gguf *g) {
    return 1 + g->n_more;
}
const gguf *gguf_part(const gguf *g, size_t i) {
    return i == 0 ? g : g->more[i - 1];
}

size_t gguf_n_tensors(const gguf *g) {
    return g->n_tensors;
}
const tensor_view *gguf_tensor(const gguf *g, size_t i) {
    return &g->tensors[i];
}

const tensor_view *gguf_find_tensor(const gguf *g, const char *name) {
    size_t i = gguf_names_find(g->tensor_names, g->n_tensors, sv_of(name));
    return i == SIZE_MAX ? NULL : &g->tensors[i];
}

size_t gguf_n_keys(const gguf *g) {
    return g->n_kv;
}
sv gguf_key(const gguf *g, size_t i) {
    return g->kv[i].key;
}
gguf_type gguf_key_type(const gguf *g, size_t i) {
    return g->kv[i].type;
}
size_t gguf_find_key(const gguf *g, const char *key) {
    return gguf_names_find(g->kv_names, g->n_kv, sv_of(key));
}

/* ---- typed values ---- */

/* The entry, or NULL when absent: *ok then tells whether the caller allows that. */
static const gguf_kv *find(const gguf *g, const char *key, bool *found, bool *ok, gv_err *err) {
    size_t i = gguf_find_key(g, key);
    *ok = true;
    if (found) *found = i != SIZE_MAX;
    if (i != SIZE_MAX) return &g->kv[i];
    if (!found) *ok = gv_fail(err, GV_FORMAT, -1, "key %s is missing", key);
    return NULL;
}

static bool wrong_type(const gguf_kv *kv, const char *expected, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1, "key %s: type %s, expected %s", str_show(kv->key).text, gguf_type_name(kv->type), expected);
}

/* A scalar integer as sign and magnitude; false if the type is none. */
static bool read_integer(const gguf_kv *kv, bool *negative, uint64_t *magnitude) {
    int64_t i = 0;
    uint64_t u = 0;
    switch (kv->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: memcpy(&u, kv->p, kv->n_bytes); break; /* little-endian: the low bytes */
    case GGUF_I8: i = (int8_t)kv->p[0]; break;
    case GGUF_I16: {
        int16_t v;
        memcpy(&v, kv->p, 2);
        i = v;
        break;
    }
    case GGUF_I32: {
        int32_t v;
        memcpy(&v, kv->p, 4);
        i = v;
        break;
    }
    case GGUF_I64: memcpy(&i, kv->p, 8); break;
    default: return false;
    }
    *negative = i < 0;
    *magnitude = i < 0 ? 0 - (uint64_t)i : i > 0 ? (uint64_t)i : u;
    return true;
}

bool gguf_get_u32(const gguf *g, const char *key, uint32_t *v, bool *found, gv_err *err) {
    bool ok, negative;
    uint64_t magnitude;
    const gguf_kv *kv = find(g, key, found, &ok, err);
    if (!kv) return ok;
    if (!read_integer(kv, &negative, &magnitude)) return wrong_type(kv, "an integer", err);
    if (negative || magnitude > UINT32_MAX)
        return gv_fail(err, GV_FORMAT, -1, "key %s: %s%" PRIu64 ", expected 0 to %" PRIu32, key, negative ? "-" : "", magnitude,
                       UINT32_MAX);
    *v = (uint32_t)magnitude;
    return true;
}

bool gguf_get_f32(const gguf *g, const char *key, float *v, bool *found, gv_err *err) {
    bool ok;
    const gguf_kv *kv = find(g, key, found, &ok, err);
    if (!kv) return ok;
    if (kv->type != GGUF_F32) return wrong_type(kv, "f32", err);
    float f;
    memcpy(&f, kv->p, 4);
    if (!isfinite(f)) return gv_fail(err, GV_FORMAT, -1, "key %s: %g, expected a finite number", key, (double)f);
    *v = f;
    return true;
}

bool gguf_get_bool(const gguf *g, const char *key, bool *v, bool *found, gv_err *err) {
    bool ok;
    const gguf_kv *kv = find(g, key, found, &ok, err);
    if (!kv) return ok;
    if (kv->type != GGUF_BOOL) return wrong_type(kv, "bool", err);
    *v = kv->p[0] != 0;
    return true;
}

bool gguf_get_string(const gguf *g, const char *key, sv *v, bool *found, gv_err *err) {
    bool ok;
    const gguf_kv *kv = find(g, key, found, &ok, err);
    if (!kv) return ok;
    if (kv->type != GGUF_STRING) return wrong_type(kv, "string", err);
    *v = (sv){(const char *)kv->p, kv->n_bytes};
    return true;
}

bool gguf_get_array(const gguf *g, const char *key, gguf_type elem, gguf_array *a, bool *found, gv_err *err) {
    bool ok;
    const gguf_kv *kv = find(g, key, found, &ok, err);
    if (!kv) return ok;
    if (kv->type != GGUF_ARRAY) return wrong_type(kv, "array", err);
    if (kv->elem != elem)
        return gv_fail(err, GV_FORMAT, -1, "key %s: array of %s, expected array of %s", key, gguf_type_name(kv->elem),
                       gguf_type_name(elem));
    *a = (gguf_array){kv->elem, kv->n, kv->p, kv->n_bytes};
    return true;
}

sv gguf_array_string(const gguf_array *a, size_t *pos) {
    uint64_t n;
    memcpy(&n, a->p + *pos, 8);
    sv s = {(const char *)a->p + *pos + 8, (size_t)n};
    *pos += 8 + s.n;
    return s;
}

/* ---- keys as text ---- */

void gguf_print_key(const gguf *g, size_t i, buf *out) {
    const gguf_kv *kv = &g->kv[i];
    bool negative;
    uint64_t magnitude;
    str_escape(kv->key, 256, out);
    buf_add_str(out, " = ");
    if (read_integer(kv, &negative, &magnitude)) {
        buf_printf(out, "%s%" PRIu64, negative ? "-" : "", magnitude);
    } else if (kv->type == GGUF_F32) {
        float f;
        memcpy(&f, kv->p, 4);
        buf_printf(out, "%.9g", (double)f);
    } else if (kv->type == GGUF_F64) {
        double d;
        memcpy(&d, kv->p, 8);
        buf_printf(out, "%.17g", d);
    } else if (kv->type == GGUF_BOOL) {
        buf_add_str(out, kv->p[0] ? "true" : "false");
    } else if (kv->type == GGUF_ARRAY) {
        buf_printf(out, "[%s x %" PRIu64 "]", gguf_type_name(kv->elem), kv->n);
    } else {
        buf_add_char(out, '"');
        str_escape((sv){(const char *)kv->p, kv->n_bytes}, 80, out);
        buf_add_char(out, '"');
        if (kv->n_bytes > 80) buf_printf(out, " (%zu bytes)", kv->n_bytes);
    }
}
