/* See imatrix.h. */
#include "weights/imatrix.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define SUM_SUFFIX   ".in_sum2"
#define COUNT_SUFFIX ".counts"

typedef struct entry {
    char name[GGUF_MAX_NAME_BYTES + 1];
    int64_t cols, n_experts;
    float *w; /* [n_experts][cols] */
} entry;

struct imatrix {
    entry *entry; /* in the order of the file */
    size_t n;
    char sha256[65];
};

void imatrix_free(imatrix *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n; i++) free(m->entry[i].w);
    free(m->entry);
    free(m);
}

static float value_at(const tensor_view *v, int64_t i) {
    float x;
    memcpy(&x, v->data + 4 * i, 4);
    return x;
}

static bool is_importance(float x) {
    return x >= 0 && x <= __FLT_MAX__;
}

/* Means of one matrix; sums without counts, or counts of another shape, are errors. */
static bool read_entry(const gguf *g, const tensor_view *sums, sv name, entry *e, gv_err *err) {
    char counts_name[GGUF_MAX_NAME_BYTES + sizeof COUNT_SUFFIX];
    snprintf(counts_name, sizeof counts_name, SV_FMT COUNT_SUFFIX, SV_ARG(name));
    const tensor_view *counts = gguf_find_tensor(g, counts_name);
    if (!counts) return gv_fail(err, GV_FORMAT, -1, "tensor %s is missing", counts_name);
    snprintf(e->name, sizeof e->name, SV_FMT, SV_ARG(name));
    e->cols = sums->ne[0], e->n_experts = sums->ne[1];
    if (sums->type != DT_F32 || counts->type != DT_F32 || sums->n_dims > 2)
        return gv_fail(err, GV_FORMAT, -1, "tensor %s: expected two F32 matrices of sums and counts", sums->name);
    if ((int64_t)(counts->n_bytes / 4) != e->n_experts)
        return gv_fail(err, GV_FORMAT, -1, "tensor %s: %zu counts for %lld rows of sums", counts->name, counts->n_bytes / 4,
                       (long long)e->n_experts);
    e->w = gv_try_malloc(sums->n_bytes, 1, "importance", err);
    if (!e->w) return false;
    for (int64_t x = 0; x < e->n_experts; x++) {
        const float count = value_at(counts, x);
        if (!is_importance(count)) return gv_fail(err, GV_FORMAT, x, "tensor %s: count %g", counts->name, (double)count);
        for (int64_t i = x * e->cols; i < (x + 1) * e->cols; i++) {
            const float sum = value_at(sums, i), mean = count > 0 ? sum / count : 1;
            if (!is_importance(sum) || !is_importance(mean))
                return gv_fail(err, GV_FORMAT, i, "tensor %s: value %g at %lld, expected 0 or more", sums->name, (double)sum, (long long)i);
            e->w[i] = mean;
        }
    }
    return true;
}

static bool read_all(imatrix *m, const gguf *g, gv_err *err) {
    sv type;
    if (!gguf_get_string(g, "general.type", &type, NULL, err)) return false;
    if (!sv_is(type, "imatrix")) return gv_fail(err, GV_FORMAT, -1, "general.type is \"%s\", expected \"imatrix\"", str_show(type).text);
    m->entry = gv_xcalloc(gguf_n_tensors(g) + 1, sizeof *m->entry);
    sha256 hash;
    sha256_init(&hash);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const tensor_view *v = gguf_tensor(g, i);
        const sv name = sv_of(v->name);
        if (!sv_ends(name, SV(SUM_SUFFIX))) continue;
        entry *e = &m->entry[m->n++];
        if (!read_entry(g, v, sv_sub(name, 0, name.n - strlen(SUM_SUFFIX)), e, err)) return false;
        sha256_add(&hash, e->name, strlen(e->name) + 1);
        sha256_add(&hash, e->w, v->n_bytes);
    }
    sha256_hex(&hash, m->sha256);
    return m->n > 0 || gv_fail(err, GV_FORMAT, -1, "no tensor *" SUM_SUFFIX);
}

imatrix *imatrix_from_gguf(gguf *g, gv_err *err) {
    imatrix *m = gv_xcalloc(1, sizeof *m);
    const bool ok = read_all(m, g, err) || gv_context(err, "%s", gguf_path(g));
    gguf_close(g);
    if (ok) return m;
    imatrix_free(m);
    return NULL;
}

/* llama.cpp's form before it used GGUF: i32 matrices; for each i32 length, name, i32 calls, i32 n, f32 sums [n]. */
static bool is_old_form(const char *path) {
    gv_err ignored = GV_ERR_INIT;
    file_map map;
    uint32_t n_entries = 0, length = 0;
    sv name = {0};
    if (!file_map_open(&map, path, &ignored)) return false;
    bytes b = {map.p, map.n, 0};
    const bool ok = bytes_u32(&b, &n_entries, "matrices", &ignored) && n_entries > 0 && n_entries <= 1 << 16 &&
                    bytes_u32(&b, &length, "length", &ignored) && length <= GGUF_MAX_NAME_BYTES &&
                    bytes_view(&b, length, &name, "name", &ignored) && sv_ends(name, SV(".weight"));
    file_map_close(&map);
    return ok;
}

imatrix *imatrix_open(const char *path, gv_err *err) {
    if (is_old_form(path)) {
        gv_fail(err, GV_UNSUPPORTED, -1, "%s is in llama.cpp's old form (.dat); llama-imatrix --in-file %s -o NEW.gguf converts it", path,
                path);
        return NULL;
    }
    gguf *g = gguf_open(path, err);
    return g ? imatrix_from_gguf(g, err) : NULL;
}

bool imatrix_find(const imatrix *m, const char *name, int64_t cols, int64_t n_experts, const float **w, gv_err *err) {
    *w = NULL;
    for (size_t i = 0; i < m->n; i++) {
        const entry *e = &m->entry[i];
        if (strcmp(e->name, name) != 0) continue;
        if (e->cols != cols || e->n_experts != n_experts)
            return gv_fail(err, GV_FORMAT, -1, "importance of %s: shape [%lld, %lld], the matrix has [%lld, %lld] inputs", name,
                           (long long)e->cols, (long long)e->n_experts, (long long)cols, (long long)n_experts);
        *w = e->w;
    }
    return true;
}

size_t imatrix_count(const imatrix *m) {
    return m->n;
}
const char *imatrix_name(const imatrix *m, size_t i) {
    return m->entry[i].name;
}
const char *imatrix_sha256(const imatrix *m) {
    return m->sha256;
}

bool imatrix_write(const imatrix_sums *sums, size_t n, const char *dataset, const char *path, gv_err *err) {
    gguf_out *o = gguf_out_new();
    const sv data = sv_of(dataset);
    gguf_out_string(o, "general.type", SV("imatrix"));
    gguf_out_strings(o, "imatrix.datasets", &data, 1);
    gguf_out_u32(o, "imatrix.chunk_count", 1); /* keys that llama.cpp's reader wants; counts are in the tensors */
    gguf_out_u32(o, "imatrix.chunk_size", 1);
    for (size_t i = 0; i < n; i++) {
        char name[GGUF_MAX_NAME_BYTES + sizeof SUM_SUFFIX];
        const imatrix_sums *s = &sums[i];
        snprintf(name, sizeof name, "%.*s" SUM_SUFFIX, GGUF_MAX_NAME_BYTES, s->name);
        gguf_out_tensor(o, &(tensor_view){.name = name,
                                          .type = DT_F32,
                                          .n_dims = 2,
                                          .ne = {s->cols, s->n_experts, 1, 1},
                                          .data = (const uint8_t *)s->sum2,
                                          .n_bytes = (size_t)(4 * s->cols * s->n_experts)});
        snprintf(name, sizeof name, "%.*s" COUNT_SUFFIX, GGUF_MAX_NAME_BYTES, s->name);
        gguf_out_tensor(o, &(tensor_view){.name = name,
                                          .type = DT_F32,
                                          .n_dims = 2,
                                          .ne = {1, s->n_experts, 1, 1},
                                          .data = (const uint8_t *)s->counts,
                                          .n_bytes = (size_t)(4 * s->n_experts)});
    }
    const bool ok = gguf_out_write(o, path, err);
    gguf_out_free(o);
    return ok;
}
