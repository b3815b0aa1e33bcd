/* See quantize.h.  A slice is as many rows as give SLICE_BYTES of output; each row goes through one worker's f32 buffer.  Keys are copied from a
 * GGUF but for those that tell of the old types or of a split file; for a folder they come from config.json and the tokenizer's files. */
#include "weights/quantize.h"

#include "base/mem.h"
#include "kern/quant.h"
#include "tok/tok.h"
#include "weights/plan.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SLICE_BYTES = 4 << 20, QUANTIZATION_VERSION = 2 /* of ggml's block formats */ };

/* ---- keys ---- */

static bool is_of_old_file(sv key) {
    return sv_is(key, "general.quantization_version") || sv_is(key, "general.file_type") || sv_starts(key, SV("split.")) ||
           sv_starts(key, SV("quantize.imatrix."));
}

static bool put_tokenizer(gguf_out *o, const tensors *t, gv_err *err) {
    const tensor_view *embedding = tensors_find(t, "token_embd.weight");
    if (!embedding) return gv_fail(err, GV_FORMAT, -1, "tensor token_embd.weight is missing");
    tok *k = tok_open(tensors_path(t), err);
    const bool ok = k && tok_put_keys(k, (int32_t)embedding->ne[1], o, err);
    tok_free(k);
    return ok;
}

static bool put_keys(gguf_out *o, const tensors *t, const quantize_options *q, gv_err *err) {
    const gguf *g = tensors_keys(t);
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        if (!is_of_old_file(gguf_key(g, i))) gguf_out_copy_key(o, g, i);
    if (tensors_is_folder(t) && !put_tokenizer(o, t, err)) return false;
    gguf_out_u32(o, "general.quantization_version", QUANTIZATION_VERSION);
    gguf_out_u32(o, "general.file_type", q->mix->file_type);
    if (q->importance) gguf_out_string(o, "quantize.imatrix.sha256", sv_of(imatrix_sha256(q->importance)));
    return true;
}

/* ---- tensors ---- */

typedef struct slice_job {
    const tensor_view *from;
    dtype to;
    const float *importance;
    int64_t first; /* row */
    size_t row_bytes, from_row_bytes;
    uint8_t *dst;
    float *scratch;      /* ne[0] floats a worker */
    _Atomic int64_t bad; /* lowest row * ne[0] + column that is not finite; INT64_MAX: none */
} slice_job;

static void quantise_part(void *ctx, int64_t begin, int64_t end, int worker) {
    slice_job *j = ctx;
    const int64_t n = j->from->ne[0];
    float *x = j->scratch + (size_t)worker * (size_t)n;
    for (int64_t r = begin; r < end; r++) {
        kern_dequant_row(j->from->type, tensor_row(j->from, j->first + r), x, n);
        const int64_t column = quant_row(j->to, x, j->importance, n, j->dst + (size_t)r * j->row_bytes);
        if (column < 0) continue;
        const int64_t at = (j->first + r) * n + column;
        int64_t seen = atomic_load(&j->bad);
        while (at < seen && !atomic_compare_exchange_weak(&j->bad, &seen, at)) {
        }
    }
}

typedef struct quantiser {
    const quantize_options *o;
    const tensors *t;
    gguf_out *out;
    uint8_t *slice;
    size_t slice_bytes;
    float *scratch;
} quantiser;

/* One source tensor (2 dimensions, more, or a vector) as `to`, in slices. */
static bool write_source(quantiser *q, const tensor_view *from, dtype to, const float *importance, gv_err *err) {
    const dtype_info *info = dtype_get((uint32_t)to);
    tensor_view flat = *from; /* a vector is one row; one whose elements are turned has each as a row */
    if (from->n_dims == 1 && from->rope_heads) flat.ne[0] = 1, flat.ne[1] = from->ne[0];
    const int64_t rows = flat.ne[1] * flat.ne[2] * flat.ne[3];
    flat.n_dims = 2, flat.ne[1] = rows, flat.ne[2] = flat.ne[3] = 1;
    slice_job j = {.from = &flat, .to = to, .importance = importance, .dst = q->slice, .scratch = q->scratch, .bad = INT64_MAX};
    j.row_bytes = (size_t)(flat.ne[0] / info->block_elems) * info->block_bytes;
    j.from_row_bytes = from->n_bytes / (size_t)rows;
    const int64_t step = q->slice_bytes / j.row_bytes > 0 ? (int64_t)(q->slice_bytes / j.row_bytes) : 1;
    for (; j.first < rows; j.first += step) {
        const int64_t here = rows - j.first < step ? rows - j.first : step;
        pool_run(q->o->threads, quantise_part, &j, here);
        const int64_t bad = atomic_load(&j.bad);
        if (bad != INT64_MAX)
            return gv_fail(err, GV_FORMAT, bad, "%s: tensor %s: row %lld, column %lld is not a finite number", q->o->model, from->name,
                           (long long)(bad / from->ne[0]), (long long)(bad % from->ne[0]));
        if (!gguf_out_put(q->out, q->slice, (size_t)here * j.row_bytes, err)) return false;
        if (!from->rope_heads) tensors_drop(q->t, from->data + (size_t)j.first * j.from_row_bytes, (size_t)here * j.from_row_bytes);
    }
    if (from->rope_heads) tensors_drop(q->t, from->data, from->n_bytes);
    return true;
}

static bool write_tensor(quantiser *q, const plan *p, const plan_tensor *to, quantize_stats *stats, gv_err *err) {
    const float *importance = NULL;
    if (q->o->importance && !to->copy && dtype_get((uint32_t)to->out.type)->block_elems > 1 &&
        !imatrix_find(q->o->importance, to->out.name, to->out.ne[0], to->out.ne[2], &importance, err))
        return false;
    stats->n_weighted += importance != NULL;
    for (size_t i = 0; i < to->n; i++) {
        const tensor_view *from = p->source[to->first + i];
        stats->from_bytes += from->n_bytes;
        if (to->copy) {
            for (size_t at = 0; at < from->n_bytes; at += SLICE_BYTES) {
                const size_t here = from->n_bytes - at < SLICE_BYTES ? from->n_bytes - at : SLICE_BYTES;
                if (!gguf_out_put(q->out, from->data + at, here, err)) return false;
                tensors_drop(q->t, from->data + at, here);
            }
            continue;
        }
        /* Experts of one tensor, in either form, have their own importance each. */
        const int64_t n_planes = importance && to->out.n_dims == 3 && to->n == 1 ? to->out.ne[2] : 1;
        for (int64_t e = 0; e < n_planes; e++) {
            tensor_view plane = *from;
            if (n_planes > 1) plane.n_dims = 2, plane.ne[2] = 1, plane.n_bytes /= (size_t)n_planes, plane.data += (size_t)e * plane.n_bytes;
            const float *w = importance ? importance + ((int64_t)i + e) * to->out.ne[0] : NULL;
            if (!write_source(q, &plane, to->out.type, w, err)) return false;
        }
    }
    stats->to_bytes += to->out.n_bytes;
    return true;
}

static bool report(const quantize_options *o, const plan *p, size_t done, size_t done_bytes, gv_err *err) {
    if (!o->progress) return true;
    const plan_tensor *to = &p->tensor[done - 1];
    const quantize_progress now = {done,
                                   p->n,
                                   done_bytes,
                                   p->n_bytes,
                                   to->out.name,
                                   dtype_get((uint32_t)p->source[to->first]->type)->name,
                                   dtype_get((uint32_t)to->out.type)->name};
    return o->progress(o->progress_ctx, &now) || gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
}

static bool write_all(quantiser *q, const plan *p, quantize_stats *stats, gv_err *err) {
    size_t row_most = 0, cols_most = 0;
    for (size_t i = 0; i < p->n; i++) {
        const tensor_view *v = &p->tensor[i].out;
        const dtype_info *info = dtype_get((uint32_t)v->type);
        const size_t row_bytes = (size_t)(v->ne[0] / info->block_elems) * info->block_bytes;
        if (row_bytes > row_most) row_most = row_bytes;
        if ((size_t)v->ne[0] > cols_most) cols_most = (size_t)v->ne[0];
        gguf_out_tensor(q->out, v);
    }
    size_t scratch = 0;
    q->slice_bytes = row_most > SLICE_BYTES ? row_most : SLICE_BYTES;
    if (!gv_mul_size(cols_most, (size_t)pool_threads(q->o->threads), &scratch))
        return gv_fail(err, GV_LIMIT, -1, "rows of %zu elements are too long", cols_most);
    q->slice = gv_try_malloc(q->slice_bytes, 1, "a slice of a tensor", err);
    q->scratch = q->slice ? gv_try_malloc(scratch, sizeof *q->scratch, "rows of a tensor", err) : NULL;
    if (!q->scratch || !gguf_out_begin(q->out, q->o->out, err)) return false;
    size_t done_bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!write_tensor(q, p, &p->tensor[i], stats, err)) return false;
        done_bytes += p->tensor[i].out.n_bytes;
        for (size_t s = 0; s < p->tensor[i].n; s++) {
            const tensor_view *from = p->source[p->tensor[i].first + s];
            stats->elements += from->ne[0] * from->ne[1] * from->ne[2] * from->ne[3];
        }
        if (!report(q->o, p, i + 1, done_bytes, err)) return false;
    }
    return gguf_out_finish(q->out, err);
}

/* The output may be none of the files that are read. */
static bool check_output(const quantize_options *o, const tensors *t, gv_err *err) {
    struct stat st;
    if (stat(o->out, &st) != 0) return true;
    for (size_t i = 0; i < tensors_n_files(t); i++) {
        const file_id *id = &tensors_file_map(t, i)->id;
        if (id->dev == (uint64_t)st.st_dev && id->ino == (uint64_t)st.st_ino)
            return gv_fail(err, GV_USAGE, -1, "%s is the model itself; give another name for the output", o->out);
    }
    return true;
}

bool weights_quantize(const quantize_options *o, quantize_stats *stats, gv_err *err) {
    *stats = (quantize_stats){0};
    tensors *t = tensors_open(o->model, err);
    if (!t) return false;
    plan p = {0};
    quantiser q = {.o = o, .t = t, .out = gguf_out_new()};
    bool ok = check_output(o, t, err);
    if (ok && !(plan_make(&p, t, o->mix, o->importance != NULL, o->requantize, err) && put_keys(q.out, t, o, err)))
        ok = gv_context(err, "%s", o->model);
    ok = ok && write_all(&q, &p, stats, err);
    free(q.slice);
    free(q.scratch);
    gguf_out_free(q.out);
    plan_fini(&p);
    tensors_close(t);
    return ok;
}
