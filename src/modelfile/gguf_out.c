/* GGUF writer: collects keys and tensors, then writes version 3: borrowed tensors at once, or bytes as they are made (gguf_out_begin, _put, _finish).
 *
 * Keys are serialised as they come (o->kv holds exactly their bytes in the file); tensors stay borrowed until the write.  The first bad
 * or repeated key or tensor is remembered and reported by the write, so callers need no check at each key.  What is written is
 * always accepted by gguf_open.  Not thread-safe.  Every tensor, the last too, is padded to the alignment, as ggml's reader wants it. */
#include "base/mem.h"
#include "modelfile/gguf_internal.h"

#include <stdlib.h>

/* Where a key's text is in o->kv (which moves while it grows). */
typedef struct out_key {
    size_t at, n;
} out_key;

struct gguf_out {
    buf kv;
    out_key *keys;
    size_t n_keys, cap_keys;
    tensor_view *tensors; /* names are owned */
    size_t n_tensors, cap_tensors;
    uint32_t alignment;
    gv_err err; /* of the first bad call */
    /* between gguf_out_begin and gguf_out_finish */
    file_writer file;
    size_t at; /* the tensor whose bytes come next, and how many of them are written */
    size_t at_bytes;
};

gguf_out *gguf_out_new(void) {
    gguf_out *o = gv_xcalloc(1, sizeof *o);
    o->alignment = GGUF_DEFAULT_ALIGNMENT;
    o->err = (gv_err)GV_ERR_INIT;
    return o;
}

void gguf_out_free(gguf_out *o) {
    if (!o) return;
    file_writer_abandon(&o->file);
    for (size_t i = 0; i < o->n_tensors; i++) free((char *)(uintptr_t)o->tensors[i].name);
    free(o->tensors);
    free(o->keys);
    buf_fini(&o->kv);
    free(o);
}

/* ---- keys ---- */

static void put_u32(buf *b, uint32_t v) {
    buf_add(b, &v, 4);
}
static void put_u64(buf *b, uint64_t v) {
    buf_add(b, &v, 8);
}
static void put_string(buf *b, sv s) {
    put_u64(b, s.n);
    buf_add_sv(b, s);
}

/* Writes key and value type; false (and remembered) if the key is bad, then the caller adds no value. */
static bool begin_key(gguf_out *o, sv key, gguf_type type) {
    if (!gguf_check_name(key, GGUF_MAX_KEY_BYTES, "key", &o->err)) return false;
    if (o->n_keys == o->cap_keys) {
        o->cap_keys = o->cap_keys ? 2 * o->cap_keys : 32;
        o->keys = gv_xrealloc(o->keys, o->cap_keys * sizeof *o->keys);
    }
    put_string(&o->kv, key);
    o->keys[o->n_keys++] = (out_key){o->kv.n - key.n, key.n};
    put_u32(&o->kv, (uint32_t)type);
    return true;
}

static bool begin_array(gguf_out *o, const char *key, gguf_type elem, size_t n) {
    if (n > GGUF_MAX_ARRAY_ELEMS)
        return gv_fail(&o->err, GV_LIMIT, -1, "key %s: array of %zu elements, the cap is %u", key, n, GGUF_MAX_ARRAY_ELEMS);
    if (!begin_key(o, sv_of(key), GGUF_ARRAY)) return false;
    put_u32(&o->kv, (uint32_t)elem);
    put_u64(&o->kv, n);
    return true;
}

static bool check_string(gguf_out *o, const char *key, sv v) {
    return v.n <= GGUF_MAX_STRING_BYTES ||
           gv_fail(&o->err, GV_LIMIT, -1, "key %s: string of %zu bytes, the cap is %u", key, v.n, GGUF_MAX_STRING_BYTES);
}

void gguf_out_u32(gguf_out *o, const char *key, uint32_t v) {
    if (!begin_key(o, sv_of(key), GGUF_U32)) return;
    put_u32(&o->kv, v);
    if (strcmp(key, "general.alignment") == 0) o->alignment = v;
}

void gguf_out_f32(gguf_out *o, const char *key, float v) {
    if (begin_key(o, sv_of(key), GGUF_F32)) buf_add(&o->kv, &v, 4);
}

void gguf_out_bool(gguf_out *o, const char *key, bool v) {
    if (begin_key(o, sv_of(key), GGUF_BOOL)) buf_add_char(&o->kv, v ? 1 : 0);
}

void gguf_out_string(gguf_out *o, const char *key, sv v) {
    if (check_string(o, key, v) && begin_key(o, sv_of(key), GGUF_STRING)) put_string(&o->kv, v);
}

void gguf_out_strings(gguf_out *o, const char *key, const sv *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!check_string(o, key, v[i])) return;
    if (!begin_array(o, key, GGUF_STRING, n)) return;
    for (size_t i = 0; i < n; i++) put_string(&o->kv, v[i]);
}

void gguf_out_f32s(gguf_out *o, const char *key, const float *v, size_t n) {
    if (begin_array(o, key, GGUF_F32, n)) buf_add(&o->kv, v, 4 * n);
}

void gguf_out_i32s(gguf_out *o, const char *key, const int32_t *v, size_t n) {
    if (begin_array(o, key, GGUF_I32, n)) buf_add(&o->kv, v, 4 * n);
}

void gguf_out_copy_key(gguf_out *o, const gguf *from, size_t i) {
    const gguf_kv *kv = &from->kv[i];
    if (!begin_key(o, kv->key, kv->type)) return;
    if (kv->type == GGUF_ARRAY) put_u32(&o->kv, (uint32_t)kv->elem);
    if (kv->type == GGUF_ARRAY) put_u64(&o->kv, kv->n);
    if (kv->type == GGUF_STRING) put_u64(&o->kv, kv->n_bytes);
    buf_add(&o->kv, kv->p, kv->n_bytes);
    if (sv_is(kv->key, "general.alignment")) o->alignment = from->alignment;
}

/* ---- tensors ---- */

void gguf_out_tensor(gguf_out *o, const tensor_view *t) {
    size_t n_bytes = 0;
    sv name = sv_of(t->name);
    if (!gguf_check_name(name, GGUF_MAX_NAME_BYTES, "tensor name", &o->err)) return;
    bool ok = dtype_get((uint32_t)t->type) || gv_fail(&o->err, GV_UNSUPPORTED, -1, "type %u is not one gavel writes", (unsigned)t->type);
    ok = ok && ((t->n_dims >= 1 && t->n_dims <= 4) || gv_fail(&o->err, GV_FORMAT, -1, "%u dimensions, expected 1 to 4", t->n_dims));
    ok = ok && gguf_tensor_bytes(t->type, t->ne, t->n_dims, &n_bytes, &o->err);
    ok = ok && (n_bytes == t->n_bytes || gv_fail(&o->err, GV_FORMAT, -1, "%zu bytes, but its shape needs %zu", t->n_bytes, n_bytes));
    if (!ok) {
        gv_context(&o->err, "tensor %s", str_show(name).text);
        return;
    }
    if (o->n_tensors == o->cap_tensors) {
        o->cap_tensors = o->cap_tensors ? 2 * o->cap_tensors : 32;
        o->tensors = gv_xrealloc(o->tensors, o->cap_tensors * sizeof *o->tensors);
    }
    o->tensors[o->n_tensors] = *t;
    o->tensors[o->n_tensors++].name = gv_xstrdup(t->name);
}

/* ---- the write ---- */

static bool check_unique(const gguf_out *o, gv_err *err) {
    size_t n = o->n_keys + o->n_tensors, repeated;
    gguf_name *names = gv_xcalloc(n ? n : 1, sizeof *names);
    for (size_t i = 0; i < o->n_keys; i++) names[i] = (gguf_name){{o->kv.p + o->keys[i].at, o->keys[i].n}, i};
    for (size_t i = 0; i < o->n_tensors; i++) names[o->n_keys + i] = (gguf_name){sv_of(o->tensors[i].name), i};
    bool ok = true;
    if (!gguf_names_sort(names, o->n_keys, &repeated))
        ok = gv_fail(err, GV_FORMAT, -1, "key %s is there twice", str_show((sv){o->kv.p + o->keys[repeated].at, o->keys[repeated].n}).text);
    else if (!gguf_names_sort(names + o->n_keys, o->n_tensors, &repeated))
        ok = gv_fail(err, GV_FORMAT, -1, "tensor %s is there twice", o->tensors[repeated].name);
    free(names);
    return ok;
}

static bool check_all(const gguf_out *o, gv_err *err) {
    if (o->err.code != GV_OK) return gv_fail(err, o->err.code, o->err.where, "%s", o->err.msg);
    if (o->alignment < GGUF_MIN_ALIGNMENT || (o->alignment & (o->alignment - 1)))
        return gv_fail(err, GV_FORMAT, -1, "key general.alignment: %u, expected a power of two, %d or more", o->alignment,
                       GGUF_MIN_ALIGNMENT);
    if (o->n_keys > GGUF_MAX_KEYS) return gv_fail(err, GV_LIMIT, -1, "%zu keys, the cap is %d", o->n_keys, GGUF_MAX_KEYS);
    if (o->n_tensors > GGUF_MAX_TENSORS) return gv_fail(err, GV_LIMIT, -1, "%zu tensors, the cap is %d", o->n_tensors, GGUF_MAX_TENSORS);
    return check_unique(o, err);
}

static size_t padding(const gguf_out *o, size_t n) {
    return (0 - n) & (o->alignment - 1);
}

/* Where the bytes go: a file, or memory. */
typedef struct sink {
    file_writer *file;
    buf *memory;
} sink;

static bool put(const sink *to, const void *p, size_t n, gv_err *err) {
    if (to->file) return file_writer_put(to->file, p, n, err);
    buf_add(to->memory, p, n);
    return true;
}

static bool put_padding(const sink *to, size_t n, gv_err *err) {
    static const char zeros[4096];
    for (; n > sizeof zeros; n -= sizeof zeros)
        if (!put(to, zeros, sizeof zeros, err)) return false;
    return put(to, zeros, n, err);
}

/* Everything before the first tensor's bytes. */
static bool put_head(const gguf_out *o, const sink *to, gv_err *err) {
    buf head = {0};
    put_u32(&head, GGUF_MAGIC);
    put_u32(&head, 3);
    put_u64(&head, o->n_tensors);
    put_u64(&head, o->n_keys);
    buf_add_sv(&head, buf_view(&o->kv));
    uint64_t offset = 0;
    for (size_t i = 0; i < o->n_tensors; i++) {
        const tensor_view *t = &o->tensors[i];
        put_string(&head, sv_of(t->name));
        put_u32(&head, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++) put_u64(&head, (uint64_t)t->ne[d]);
        put_u32(&head, (uint32_t)t->type);
        put_u64(&head, offset);
        offset += t->n_bytes + padding(o, t->n_bytes);
    }
    bool ok = put(to, head.p, head.n, err);
    if (ok && o->n_tensors) ok = put_padding(to, padding(o, head.n), err);
    buf_fini(&head);
    return ok;
}

/* Borrowed tensors, all with data. */
static bool put_tensors(const gguf_out *o, const sink *to, gv_err *err) {
    for (size_t i = 0; i < o->n_tensors; i++) {
        const tensor_view *t = &o->tensors[i];
        if (!t->data) return gv_fail(err, GV_STATE, -1, "tensor %s has no data", t->name);
        if (!put(to, t->data, t->n_bytes, err) || !put_padding(to, padding(o, t->n_bytes), err)) return false;
    }
    return true;
}

bool gguf_out_begin(gguf_out *o, const char *path, gv_err *err) {
    if (!check_all(o, err)) return gv_context(err, "%s", path);
    o->at = o->at_bytes = 0;
    return file_writer_open(&o->file, path, err) && put_head(o, &(sink){&o->file, NULL}, err);
}

bool gguf_out_put(gguf_out *o, const void *p, size_t n, gv_err *err) {
    const sink to = {&o->file, NULL};
    if (o->at == o->n_tensors || n > o->tensors[o->at].n_bytes - o->at_bytes)
        return gv_fail(err, GV_STATE, -1, "more bytes than tensor %s has", o->at < o->n_tensors ? o->tensors[o->at].name : "(none)");
    const size_t n_bytes = o->tensors[o->at].n_bytes;
    o->at_bytes += n;
    if (!put(&to, p, n, err)) return false;
    if (o->at_bytes < n_bytes) return true;
    o->at++, o->at_bytes = 0;
    return put_padding(&to, padding(o, n_bytes), err);
}

bool gguf_out_finish(gguf_out *o, gv_err *err) {
    if (o->at < o->n_tensors)
        return gv_fail(err, GV_STATE, -1, "tensor %s: %zu bytes of %zu written", o->tensors[o->at].name, o->at_bytes,
                       o->tensors[o->at].n_bytes);
    return file_writer_commit(&o->file, err);
}

bool gguf_out_write(gguf_out *o, const char *path, gv_err *err) {
    const bool ok = gguf_out_begin(o, path, err) && put_tensors(o, &(sink){&o->file, NULL}, err) && file_writer_commit(&o->file, err);
    file_writer_abandon(&o->file);
    return ok;
}

bool gguf_out_bytes(gguf_out *o, buf *out, gv_err *err) {
    const sink to = {NULL, out};
    return check_all(o, err) && put_head(o, &to, err) && put_tensors(o, &to, err);
}
