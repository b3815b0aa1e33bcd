/* See safetensors_out.h.  Headers are padded with blanks to a multiple of 8, so that data is aligned where a file is mapped. */
#include "modelfile/safetensors_out.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "modelfile/safetensors_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_SHARD_BYTES 5000000000u

typedef struct out_tensor {
    char *name;
    dtype type;
    int64_t dims[SAFETENSORS_MAX_DIMS];
    uint32_t n_dims;
    size_t n_bytes;
    size_t shard; /* set by begin */
} out_tensor;

struct safetensors_out {
    uint64_t max_shard_bytes;
    buf metadata; /* JSON members, each with a comma in front */
    out_tensor *t;
    size_t n, cap;
    char *folder;                 /* NULL before begin */
    size_t n_shards, shard, next; /* files; the one open; first tensor behind it */
    size_t left;                  /* data bytes the open shard still takes */
    bool open;
    file_writer w;
};

safetensors_out *safetensors_out_new(uint64_t max_shard_bytes) {
    safetensors_out *o = gv_xcalloc(1, sizeof *o);
    o->max_shard_bytes = max_shard_bytes ? max_shard_bytes : DEFAULT_SHARD_BYTES;
    return o;
}

void safetensors_out_free(safetensors_out *o) {
    if (!o) return;
    if (o->open) file_writer_abandon(&o->w);
    for (size_t i = 0; i < o->n; i++) free(o->t[i].name);
    free(o->t);
    free(o->folder);
    buf_fini(&o->metadata);
    free(o);
}

void safetensors_out_metadata(safetensors_out *o, const char *key, sv value) {
    buf_add_char(&o->metadata, ',');
    json_put_string(&o->metadata, sv_of(key));
    buf_add_char(&o->metadata, ':');
    json_put_string(&o->metadata, value);
}

bool safetensors_out_add(safetensors_out *o, const char *name, dtype type, const int64_t *dims, uint32_t n_dims, gv_err *err) {
    if (!gguf_check_name(sv_of(name), SAFETENSORS_MAX_NAME_BYTES, "tensor name", err)) return false;
    if (type != DT_F32 && type != DT_F16 && type != DT_BF16)
        return gv_fail(err, GV_UNSUPPORTED, -1, "tensor %s: safetensors hold F32, F16 and BF16, not %s", name, dtype_any_name(type));
    if (n_dims > SAFETENSORS_MAX_DIMS || o->n >= SAFETENSORS_MAX_TENSORS)
        return gv_fail(err, GV_LIMIT, -1, "tensor %s: at most %d dimensions and %d tensors", name, SAFETENSORS_MAX_DIMS,
                       SAFETENSORS_MAX_TENSORS);
    out_tensor t = {.type = type, .n_dims = n_dims, .n_bytes = dtype_get(type)->block_bytes};
    for (uint32_t d = 0; d < n_dims; d++) {
        t.dims[d] = dims[d];
        if (dims[d] < 0 || !gv_mul_size(t.n_bytes, (size_t)dims[d], &t.n_bytes) || t.n_bytes > INT64_MAX)
            return gv_fail(err, GV_FORMAT, -1, "tensor %s: dimension %u is %" PRId64, name, d, dims[d]);
    }
    if (o->n == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 64;
        o->t = gv_xrealloc(o->t, o->cap * sizeof *o->t);
    }
    t.name = gv_xstrdup(name);
    o->t[o->n++] = t;
    return true;
}

/* ---- shards ---- */

static bool check_unique(const safetensors_out *o, gv_err *err) {
    gguf_name *names = gv_xcalloc(o->n + 1, sizeof *names);
    for (size_t i = 0; i < o->n; i++) names[i] = (gguf_name){sv_of(o->t[i].name), i};
    size_t repeated = 0;
    const bool ok = gguf_names_sort(names, o->n, &repeated) || gv_fail(err, GV_FORMAT, -1, "tensor %s is there twice", o->t[repeated].name);
    free(names);
    return ok;
}

static void cut_shards(safetensors_out *o) {
    uint64_t bytes = 0;
    o->n_shards = 1;
    for (size_t i = 0; i < o->n; i++) {
        if (bytes > 0 && bytes + o->t[i].n_bytes > o->max_shard_bytes) {
            o->n_shards++;
            bytes = 0;
        }
        bytes += o->t[i].n_bytes;
        o->t[i].shard = o->n_shards - 1;
    }
}

static void put_file_name(const safetensors_out *o, size_t shard, buf *out) {
    if (o->n_shards == 1)
        buf_add_str(out, SAFETENSORS_SINGLE);
    else
        buf_printf(out, "model-%05zu-of-%05zu.safetensors", shard + 1, o->n_shards);
}

static void put_header(const safetensors_out *o, size_t end, buf *h) {
    uint64_t n_bytes = 0, at = 0;
    buf_add(h, &n_bytes, 8);
    buf_add_str(h, "{\"__metadata__\":{\"format\":\"pt\"");
    buf_add_sv(h, buf_view(&o->metadata));
    buf_add_char(h, '}');
    for (size_t i = o->next; i < end; i++) {
        const out_tensor *t = &o->t[i];
        buf_add_char(h, ',');
        json_put_string(h, sv_of(t->name));
        buf_printf(h, ":{\"dtype\":\"%s\",\"shape\":[", dtype_get(t->type)->name);
        for (uint32_t d = 0; d < t->n_dims; d++) buf_printf(h, "%s%" PRId64, d ? "," : "", t->dims[d]);
        buf_printf(h, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + t->n_bytes);
        at += t->n_bytes;
    }
    buf_add_char(h, '}');
    while (h->n % 8) buf_add_char(h, ' ');
    n_bytes = h->n - 8;
    memcpy(h->p, &n_bytes, 8);
}

/* Opens shard o->shard and writes its header. */
static bool open_shard(safetensors_out *o, gv_err *err) {
    buf path = {0}, header = {0};
    size_t end = o->next;
    o->left = 0;
    for (; end < o->n && o->t[end].shard == o->shard; end++) o->left += o->t[end].n_bytes;
    buf_printf(&path, "%s/", o->folder);
    put_file_name(o, o->shard, &path);
    put_header(o, end, &header);
    bool ok = header.n - 8 <= SAFETENSORS_MAX_HEADER_BYTES ||
              gv_fail(err, GV_LIMIT, -1, "%s: a header of %zu bytes, the cap is %d", path.p, header.n - 8, SAFETENSORS_MAX_HEADER_BYTES);
    ok = ok && file_writer_open(&o->w, path.p, err);
    o->open = ok;
    o->next = end;
    ok = ok && file_writer_put(&o->w, header.p, header.n, err);
    buf_fini(&path);
    buf_fini(&header);
    return ok;
}

static bool close_shard(safetensors_out *o, gv_err *err) {
    o->open = false;
    const bool ok = file_writer_commit(&o->w, err);
    file_writer_abandon(&o->w);
    return ok;
}

/* Closes full shards, as long as there is one after it. */
static bool next_shard(safetensors_out *o, gv_err *err) {
    while (o->left == 0 && o->shard + 1 < o->n_shards) {
        if (!close_shard(o, err)) return false;
        o->shard++;
        if (!open_shard(o, err)) return false;
    }
    return true;
}

bool safetensors_out_begin(safetensors_out *o, const char *folder, gv_err *err) {
    static const char *const taken[] = {SAFETENSORS_SINGLE, SAFETENSORS_INDEX};
    buf path = {0};
    bool ok = check_unique(o, err);
    for (size_t i = 0; ok && i < 2; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, taken[i]);
        if (file_exists(path.p)) ok = gv_fail(err, GV_STATE, -1, "%s is already there", path.p);
    }
    buf_fini(&path);
    if (!ok) return false;
    o->folder = gv_xstrdup(folder);
    cut_shards(o);
    return open_shard(o, err) && next_shard(o, err);
}

bool safetensors_out_put(safetensors_out *o, const void *p, size_t n, gv_err *err) {
    const uint8_t *from = p;
    while (n > 0) {
        if (o->left == 0) return gv_fail(err, GV_STATE, -1, "%s: %zu bytes more than the tensors have", o->folder, n);
        const size_t part = n < o->left ? n : o->left;
        if (!file_writer_put(&o->w, from, part, err)) return false;
        o->left -= part;
        from += part;
        n -= part;
        if (!next_shard(o, err)) return false;
    }
    return true;
}

static bool write_index(const safetensors_out *o, gv_err *err) {
    buf path = {0}, text = {0};
    uint64_t total = 0;
    for (size_t i = 0; i < o->n; i++) total += o->t[i].n_bytes;
    buf_printf(&path, "%s/" SAFETENSORS_INDEX, o->folder);
    buf_printf(&text, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {", total);
    for (size_t i = 0; i < o->n; i++) {
        buf_add_str(&text, i ? ",\n    " : "\n    ");
        json_put_string(&text, sv_of(o->t[i].name));
        buf_add_str(&text, ": \"");
        put_file_name(o, o->t[i].shard, &text);
        buf_add_char(&text, '"');
    }
    buf_add_str(&text, "\n  }\n}\n");
    file_writer w;
    bool ok = file_writer_open(&w, path.p, err);
    if (ok) {
        ok = file_writer_put(&w, text.p, text.n, err) && file_writer_commit(&w, err);
        file_writer_abandon(&w);
    }
    buf_fini(&path);
    buf_fini(&text);
    return ok;
}

bool safetensors_out_end(safetensors_out *o, gv_err *err) {
    if (!o->open || o->left > 0 || o->next < o->n)
        return gv_fail(err, GV_STATE, -1, "%s: %zu bytes of %s are missing", o->folder ? o->folder : "safetensors", o->left,
                       o->n_shards > 1 ? "a shard" : SAFETENSORS_SINGLE);
    return close_shard(o, err) && (o->n_shards == 1 || write_index(o, err));
}
