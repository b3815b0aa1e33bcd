/* See model.h.  Filling a bound model: weights and RoPE tables.
 *
 * The packed memory is cut into slices of about SLICE_BYTES, which the threads draw one by one in the order of the file's data, so that a core
 * that is also hashing the file simply draws fewer.  The file's pages of a slice are given back as soon as it is packed: the resident set
 * never holds a tensor twice.  Of the time here most is the kernel's, which clears new memory (docs/SPEED.md).
 *
 * Rows that are to be quantised, or stand in another order (tensor_row), first become a slice in the layout of a file, in memory of the thread,
 * and are packed from there.  Each row is quantised alone, so that slices and threads change nothing. */
#include "engine/model_internal.h"

#include "base/mem.h"
#include "kern/quant.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SLICE_BYTES = 2 << 20, ROPE_ROWS = 64 };

typedef struct slice_run {
    const model_part *part;
    int64_t groups; /* a slice */
    int64_t first;  /* number of its first slice */
} slice_run;

/* What a thread needs to convert a slice. */
typedef struct pack_scratch {
    uint8_t *rows; /* a slice in the layout of a file */
    float *row;
} pack_scratch;

typedef struct pack_job {
    const model *m;
    slice_run *run; /* [n_parts] in file order */
    int64_t n_slices;
    _Atomic int64_t next;
    pack_scratch *scratch;  /* [threads] */
    atomic_bool failed;     /* the first to set it fills the rest */
    const tensor_view *bad; /* a tensor with a value that is not finite */
    int64_t bad_row, bad_col;
} pack_job;

static int by_place_in_file(const void *a, const void *b) {
    const model_part *p = ((const slice_run *)a)->part, *q = ((const slice_run *)b)->part;
    const uintptr_t x = (uintptr_t)p->from->data, y = (uintptr_t)q->from->data; /* of several maps */
    if (x != y) return x > y ? 1 : -1;
    return (p->first_row > q->first_row) - (p->first_row < q->first_row);
}

static size_t row_bytes_of(dtype type, int64_t cols) {
    return (size_t)cols / dtype_get(type)->block_elems * dtype_get(type)->block_bytes;
}

/* Does a slice go through scratch memory? */
static bool converts(const model_part *p) {
    return p->from->type != p->to->type || p->from->rope_heads > 0;
}

static void report_bad(pack_job *job, const model_part *p, int64_t row, int64_t col) {
    if (atomic_exchange(&job->failed, true)) return;
    job->bad = p->from;
    job->bad_row = row;
    job->bad_col = col;
}

/* Rows [r0, r1) of a part, in the type it will have and the layout of a file. */
static void convert_rows(pack_job *job, const model_part *p, int64_t r0, int64_t r1, float *row, uint8_t *out) {
    const kern_matrix *w = p->to;
    const size_t n = row_bytes_of(w->type, w->cols);
    for (int64_t r = r0; r < r1; r++, out += n) {
        const uint8_t *from = tensor_row(p->from, p->first_row + r);
        if (p->from->type == w->type) {
            memcpy(out, from, n);
            continue;
        }
        kern_dequant_row(p->from->type, from, row, w->cols);
        const int64_t bad = quant_row(w->type, row, NULL, w->cols, out);
        if (bad >= 0) report_bad(job, p, p->first_row + r, bad);
    }
}

/* Gives back the file's pages of rows [r0, r1).  Where rows are turned within heads, those of whole heads. */
static void drop_rows(const model *m, const model_part *p, int64_t r0, int64_t r1) {
    const size_t n = row_bytes_of(p->from->type, p->to->cols);
    if (p->from->rope_heads) {
        const int64_t width = p->to->rows / p->from->rope_heads;
        r0 = r0 / width * width;
        r1 = (r1 + width - 1) / width * width;
    }
    tensors_drop(m->file, p->from->data + (size_t)(p->first_row + r0) * n, (size_t)(r1 - r0) * n);
}

static void pack_slice(pack_job *job, const model_part *p, int64_t g0, int64_t g1, pack_scratch *scratch) {
    const kern_matrix *w = p->to;
    const int64_t r0 = g0 * KERN_GROUP, r1 = g1 * KERN_GROUP < w->rows ? g1 * KERN_GROUP : w->rows;
    uint8_t *to = job->m->packed + p->at;
    if (p->rows_only) {
        convert_rows(job, p, r0, r1, scratch->row, to + (size_t)r0 * row_bytes_of(w->type, w->cols));
    } else if (converts(p)) {
        convert_rows(job, p, r0, r1, scratch->row, scratch->rows);
        kern_pack(w->type, scratch->rows, r1 - r0, w->cols, to + (size_t)g0 * w->group_bytes, 0, g1 - g0);
    } else {
        kern_pack(w->type, tensor_row(p->from, p->first_row), w->rows, w->cols, to, g0, g1);
    }
    drop_rows(job->m, p, r0, r1);
}

static void pack_slices(void *ctx, int64_t begin, int64_t end, int worker) {
    pack_job *job = ctx;
    if (begin >= end) return;
    size_t k = 0;
    for (int64_t i; !job->failed && (i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->n_slices;) {
        while (k + 1 < job->m->n_parts && job->run[k + 1].first <= i) k++;
        const slice_run *r = &job->run[k];
        const int64_t g0 = (i - r->first) * r->groups, all = r->part->to->n_groups;
        pack_slice(job, r->part, g0, g0 + r->groups < all ? g0 + r->groups : all, &job->scratch[worker]);
    }
}

/* Cuts the parts into slices and finds the largest that is converted. */
static void cut_slices(pack_job *job, size_t *slice_bytes, size_t *row_elems) {
    const model *m = job->m;
    for (size_t i = 0; i < m->n_parts; i++) job->run[i].part = &m->part[i];
    qsort(job->run, m->n_parts, sizeof *job->run, by_place_in_file);
    for (size_t i = 0; i < m->n_parts; i++) {
        slice_run *r = &job->run[i];
        const kern_matrix *w = r->part->to;
        r->groups = w->group_bytes < SLICE_BYTES ? (int64_t)(SLICE_BYTES / w->group_bytes) : 1;
        r->first = job->n_slices;
        job->n_slices += (w->n_groups + r->groups - 1) / r->groups;
        const size_t bytes = converts(r->part) ? (size_t)r->groups * KERN_GROUP * row_bytes_of(w->type, w->cols) : 0;
        if (bytes > *slice_bytes) *slice_bytes = bytes;
        if (bytes && (size_t)w->cols > *row_elems) *row_elems = (size_t)w->cols;
    }
}

static void free_scratch(pack_scratch *scratch, int n) {
    for (int i = 0; scratch && i < n; i++) free(scratch[i].rows), free(scratch[i].row);
    free(scratch);
}

static bool make_scratch(pack_job *job, int n, size_t slice_bytes, size_t row_elems, gv_err *err) {
    job->scratch = gv_xcalloc((size_t)n, sizeof *job->scratch);
    for (int i = 0; slice_bytes && i < n; i++) {
        job->scratch[i].rows = gv_try_aligned(slice_bytes, "a slice of weights", err);
        job->scratch[i].row = gv_try_aligned(row_elems * sizeof(float), "a row of weights", err);
        if (!job->scratch[i].rows || !job->scratch[i].row) return false;
    }
    return true;
}

static bool pack_weights(model *m, pool *threads, gv_err *err) {
    void *p = mmap(NULL, m->packed_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return gv_fail_errno(err, "%zu MiB for the weights", m->packed_bytes >> 20);
    m->packed = p;
    (void)madvise(m->packed, m->packed_bytes, MADV_HUGEPAGE); /* only speed depends on it */
    pack_job job = {.m = m, .run = gv_xcalloc(m->n_parts + 1, sizeof *job.run)};
    size_t slice_bytes = 0, row_elems = 0;
    cut_slices(&job, &slice_bytes, &row_elems);
    bool ok = make_scratch(&job, pool_threads(threads), slice_bytes, row_elems, err);
    if (ok) pool_run(threads, pack_slices, &job, pool_threads(threads));
    if (ok && job.failed)
        ok = gv_fail(err, GV_FORMAT, -1, "tensor %s: row %" PRId64 ", column %" PRId64 " is not a finite number", job.bad->name,
                     job.bad_row, job.bad_col);
    free_scratch(job.scratch, pool_threads(threads));
    free(job.run);
    return ok;
}

void model_drop_weights(model *m) {
    if (m->cached.p)
        file_map_close(&m->cached);
    else if (m->packed)
        munmap(m->packed, m->packed_bytes);
    m->packed = NULL;
}

/* ---- RoPE tables ---- */

typedef struct rope_job {
    model *m;
    float inv_freq[KERN_MAX_ROT / 2];
} rope_job;

static void rope_rows(void *ctx, int64_t begin, int64_t end, int worker) {
    const rope_job *job = ctx;
    model *m = job->m;
    const int half = m->shape.n_rot / 2;
    (void)worker;
    for (int64_t pos = begin * ROPE_ROWS; pos < end * ROPE_ROWS && pos < m->n_pos; pos += ROPE_ROWS)
        kern_rope_table(job->inv_freq, m->shape.n_rot, m->shape.rope_attention, pos,
                        m->n_pos - pos < ROPE_ROWS ? m->n_pos - pos : ROPE_ROWS, m->rope_cos + pos * half, m->rope_sin + pos * half);
}

static bool make_rope_tables(model *m, pool *threads, gv_err *err) {
    const size_t n = (size_t)m->n_pos * (size_t)(m->shape.n_rot / 2);
    m->rope_cos = gv_try_malloc(n, sizeof(float), "RoPE tables", err);
    m->rope_sin = gv_try_malloc(n, sizeof(float), "RoPE tables", err);
    if (!m->rope_cos || !m->rope_sin) return false;
    const kern_yarn *yarn = m->shape.yarn.factor > 0 ? &m->shape.yarn : NULL;
    rope_job job = {.m = m};
    kern_rope_frequencies(m->shape.rope_theta, m->shape.n_rot, m->rope_divisor, yarn, job.inv_freq);
    pool_run(threads, rope_rows, &job, (m->n_pos + ROPE_ROWS - 1) / ROPE_ROWS);
    return true;
}

/* ---- loading ---- */

bool model_load(model *m, const model_load_options *o, gv_err *err) {
    const int64_t start = clock_mono_us();
    const bool hit = o->cache_dir && model_cache_load(m, o);
    if (!hit && !pack_weights(m, o->threads, err)) return gv_context(err, "%s", tensors_path(m->file));
    m->pack_us = clock_mono_us() - start;
    for (size_t i = 0; i < m->n_parts; i++) m->part[i].to->data = m->packed + m->part[i].at;
    m->own.data = m->own_rows.data;
    if (o->cache_dir && !hit) model_cache_store(m, o);
    if (!make_rope_tables(m, o->threads, err)) return gv_context(err, "%s", tensors_path(m->file));
    tensors_drop_all(m->file); /* slices left the pages at their ends */
    m->load_us = clock_mono_us() - start;
    return true;
}
