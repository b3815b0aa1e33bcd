/* See model.h.  Filling a bound model: weights and RoPE tables.
 *
 * The packed memory is cut into slices of about SLICE_BYTES, which the threads draw one by one in the order of the file's data, so that a core
 * that is also hashing the file simply draws fewer.  The file's pages of a slice are given back as soon as it is packed: the resident set
 * never holds a tensor twice.  Of the time here most is the kernel's, which clears new memory (docs/SPEED.md). */
#include "engine/model_internal.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SLICE_BYTES = 2 << 20, ROPE_ROWS = 64 };

typedef struct slice_run {
    const model_part *part;
    int64_t groups; /* a slice */
    int64_t first;  /* number of its first slice */
} slice_run;

typedef struct pack_job {
    const model *m;
    slice_run *run; /* [n_parts] in file order */
    int64_t n_slices;
    _Atomic int64_t next;
} pack_job;

static int by_place_in_file(const void *a, const void *b) {
    const uint8_t *x = ((const slice_run *)a)->part->data, *y = ((const slice_run *)b)->part->data;
    return (x > y) - (x < y);
}

static void pack_slice(const model *m, const model_part *p, int64_t g0, int64_t g1) {
    const kern_matrix *w = p->to;
    kern_pack(w->type, p->data, w->rows, w->cols, m->packed + p->at, g0, g1);
    const file_map *map = gguf_map(m->file);
    const size_t row_bytes = p->n_bytes / (size_t)w->rows;
    if (map)
        file_map_drop(map, (size_t)(p->data - map->p) + (size_t)g0 * KERN_GROUP * row_bytes, (size_t)(g1 - g0) * KERN_GROUP * row_bytes);
}

static void pack_slices(void *ctx, int64_t begin, int64_t end, int worker) {
    pack_job *job = ctx;
    (void)worker;
    if (begin >= end) return;
    size_t k = 0;
    for (int64_t i; (i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->n_slices;) {
        while (k + 1 < job->m->n_parts && job->run[k + 1].first <= i) k++;
        const slice_run *r = &job->run[k];
        const int64_t g0 = (i - r->first) * r->groups, all = r->part->to->n_groups;
        pack_slice(job->m, r->part, g0, g0 + r->groups < all ? g0 + r->groups : all);
    }
}

static bool pack_weights(model *m, pool *threads, gv_err *err) {
    void *p = mmap(NULL, m->packed_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return gv_fail_errno(err, "%zu MiB for the weights", m->packed_bytes >> 20);
    m->packed = p;
    (void)madvise(m->packed, m->packed_bytes, MADV_HUGEPAGE); /* only speed depends on it */
    pack_job job = {.m = m, .run = gv_xcalloc(m->n_parts + 1, sizeof *job.run)};
    for (size_t i = 0; i < m->n_parts; i++) job.run[i].part = &m->part[i];
    qsort(job.run, m->n_parts, sizeof *job.run, by_place_in_file);
    for (size_t i = 0; i < m->n_parts; i++) {
        const kern_matrix *w = job.run[i].part->to;
        job.run[i].groups = w->group_bytes < SLICE_BYTES ? (int64_t)(SLICE_BYTES / w->group_bytes) : 1;
        job.run[i].first = job.n_slices;
        job.n_slices += (w->n_groups + job.run[i].groups - 1) / job.run[i].groups;
    }
    pool_run(threads, pack_slices, &job, pool_threads(threads));
    free(job.run);
    return true;
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
    if (!hit && !pack_weights(m, o->threads, err)) return gv_context(err, "%s", gguf_path(m->file));
    m->pack_us = clock_mono_us() - start;
    for (size_t i = 0; i < m->n_parts; i++) m->part[i].to->data = m->packed + m->part[i].at;
    if (o->cache_dir && !hit) model_cache_store(m, o);
    if (!make_rope_tables(m, o->threads, err)) return gv_context(err, "%s", gguf_path(m->file));
    if (gguf_map(m->file)) file_map_drop(gguf_map(m->file), 0, gguf_map(m->file)->n); /* slices left the pages at their ends */
    m->load_us = clock_mono_us() - start;
    return true;
}
