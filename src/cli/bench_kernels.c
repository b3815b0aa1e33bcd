/* gavel bench kernels: products with weights of each type, streamed from memory by all threads, against the peaks.
 *
 * The weights are random bytes in the packed layout: bit 6 of each byte is clear and bit 4 set, so that every scale, wherever it lies, is a normal
 * number of either sign.  Several matrices of Mistral-7B's feed-forward shape together exceed any cache; a sample goes through all of them. */
#include "base/mem.h"
#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { COLS = 4096, ROWS = 14336, MAX_COLUMNS = 4096, DEFAULT_RUNS = 5 };

#define DEFAULT_BYTES   ((size_t)1100 << 20)
#define DEFAULT_COLUMNS "1,8,32,96,512"

static const dtype all_types[] = {DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q2_K, DT_Q3_K,
                                  DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_F16,  DT_BF16, DT_F32};
enum { N_TYPES = sizeof all_types / sizeof *all_types };

typedef struct kernel_job {
    bench *b;
    kern_matrix w; /* the matrix at work */
    kern_acts x;
    float *y;
    int64_t n_matrices;
    size_t matrix_bytes, file_bytes;
} kernel_job;

static void product_part(void *ctx, int64_t begin, int64_t end, int worker) {
    const kernel_job *j = ctx;
    (void)worker;
    if (begin < end) j->b->kern->product(&j->w, &j->x, j->y, j->w.rows, begin, end);
}

static double ops_of(const kernel_job *j) {
    return 2.0 * (double)j->w.rows * COLS * j->x.n * (double)j->n_matrices;
}

static bool stream(void *ctx, bench_work *out, gv_err *err) {
    kernel_job *j = ctx;
    const int64_t start = clock_mono_us();
    int64_t us;
    double passes = 0;
    (void)err;
    do {
        for (int64_t i = 0; i < j->n_matrices; i++) {
            j->w.data = j->b->memory + (size_t)i * j->matrix_bytes;
            pool_run(j->b->threads, product_part, j, j->w.n_groups);
        }
        passes++;
        us = clock_mono_us() - start;
    } while (us < bench_peak_us(j->b)); /* at least as long as the peaks take that it is compared with */
    out->ops = ops_of(j) * passes * 1e6 / (double)us;
    out->bytes = (double)j->file_bytes * (double)j->n_matrices * passes * 1e6 / (double)us;
    out->value = out->ops;
    return true;
}

/* ---- operands ---- */

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static void fill_part(void *ctx, int64_t begin, int64_t end, int worker) {
    bench *b = ctx;
    uint64_t state = 0x9e3779b97f4a7c15u + (uint64_t)worker;
    uint8_t *p = (uint8_t *)b->memory;
    for (int64_t i = begin; i < end; i++) {
        const uint64_t v = (next_random(&state) & 0xbfbfbfbfbfbfbfbfu) | 0x1010101010101010u;
        memcpy(p + 8 * i, &v, sizeof v);
    }
}

/* Columns in every form, for the most columns asked for. */
typedef struct operands {
    float *f32, *d[KERN_ACT_COUNT], *y;
    int8_t *q[KERN_ACT_COUNT];
    int16_t *bsum[KERN_ACT_COUNT];
    uint8_t *tiles[KERN_ACT_COUNT]; /* of as many columns as the row being measured has */
} operands;

static void operands_fini(operands *a) {
    for (int k = 0; k < KERN_ACT_COUNT; k++) free(a->d[k]), free(a->q[k]), free(a->bsum[k]), free(a->tiles[k]);
    free(a->f32);
    free(a->y);
}

static bool operands_init(operands *a, const kern_ops *kern, int64_t n, gv_err *err) {
    uint64_t state = 1;
    *a = (operands){.f32 = gv_try_aligned((size_t)n * COLS * sizeof(float), "columns", err),
                    .y = gv_try_aligned((size_t)n * ROWS * sizeof(float), "results", err)};
    if (!a->f32 || !a->y) return false;
    for (int64_t i = 0; i < n * COLS; i++) a->f32[i] = (float)((double)(next_random(&state) >> 40) / (1 << 23) - 1);
    for (int k = KERN_ACT_Q32; k <= KERN_ACT_Q256; k++) {
        const int64_t block = k == KERN_ACT_Q32 ? 32 : 256;
        a->q[k] = gv_try_aligned((size_t)n * COLS, "columns", err);
        a->d[k] = gv_try_aligned((size_t)(n * COLS / block) * sizeof(float), "columns", err);
        a->bsum[k] = gv_try_aligned((size_t)(n * COLS / 16) * sizeof(int16_t), "columns", err);
        if (!a->q[k] || !a->d[k] || !a->bsum[k]) return false;
        if (kern->tile_put) {
            const size_t n_tiles = (size_t)(n + KERN_TILE_COLS - 1) / KERN_TILE_COLS;
            a->tiles[k] = gv_try_aligned(n_tiles * kern_tile_bytes((kern_act_kind)k, COLS), "columns", err);
            if (!a->tiles[k]) return false;
        }
        for (int64_t c = 0; c < n; c++)
            (k == KERN_ACT_Q32 ? kern->quant32 : kern->quant256)(a->f32 + c * COLS, COLS, a->q[k] + c * COLS, a->d[k] + c * (COLS / block),
                                                                 a->bsum[k] + c * (COLS / 16));
    }
    return true;
}

/* The first n columns as products with weights of this type want them. */
static kern_acts columns_of(const operands *a, const kern_ops *kern, dtype type, int64_t n) {
    const kern_act_kind kind = kern_act_kind_of(type);
    kern_acts x = {COLS, (int)n, a->f32, a->q[kind], a->d[kind], a->bsum[kind], a->tiles[kind], 0};
    if (kind == KERN_ACT_F32) return x;
    const int64_t block = kind == KERN_ACT_Q32 ? 32 : 256;
    x.tile_cols = kern_tile_cols(kern, (int)n);
    for (int64_t c = 0; c < n && x.tile_cols; c++)
        kern->tile_put(kind, COLS, a->q[kind] + c * COLS, a->d[kind] + c * (COLS / block), a->bsum[kind] + c * (COLS / 16),
                       (int)(c % x.tile_cols), a->tiles[kind] + (size_t)(c / x.tile_cols) * kern_tile_bytes(kind, COLS));
    return x;
}

/* ---- rows of the table ---- */

/* A matrix of the full shape, or of as many rows as the memory holds. */
static bool lay_out(kernel_job *j, dtype type, gv_err *err) {
    size_t group_bytes, total;
    if (!kern_packed_size(type, KERN_GROUP, COLS, &group_bytes, &total))
        return gv_fail(err, GV_UNSUPPORTED, -1, "type %s", dtype_get(type)->name);
    int64_t groups = ROWS / KERN_GROUP;
    if ((size_t)groups * group_bytes > j->b->memory_bytes) groups = (int64_t)(j->b->memory_bytes / group_bytes);
    if (groups < 1)
        return gv_fail(err, GV_USAGE, -1, "--bytes %zu: 16 rows of %s take %zu", j->b->memory_bytes, dtype_get(type)->name, group_bytes);
    j->w = (kern_matrix){.type = type, .rows = groups * KERN_GROUP, .cols = COLS, .n_groups = groups, .group_bytes = group_bytes};
    j->matrix_bytes = (size_t)groups * group_bytes;
    j->file_bytes = (size_t)(j->w.rows * COLS / dtype_get(type)->block_elems) * dtype_get(type)->block_bytes;
    j->n_matrices = (int64_t)(j->b->memory_bytes / j->matrix_bytes);
    return true;
}

static bool one_row(kernel_job *j, const operands *a, int64_t n, gv_err *err) {
    bench *b = j->b;
    const kern_act_kind kind = kern_act_kind_of(j->w.type);
    char what[64];
    bench_result r;
    j->x = columns_of(a, b->kern, j->w.type, n);
    snprintf(what, sizeof what, "%s, %lld columns", dtype_get(j->w.type)->name, (long long)n);
    if (!bench_run(b, stream, j, kind == KERN_ACT_F32 ? BENCH_FMA : BENCH_INT8, ops_of(j), (double)j->file_bytes * (double)j->n_matrices,
                   DEFAULT_RUNS, what, &r, err))
        return false;
    bench_put_text(b, "kernels");
    bench_put_text(b, b->kern->name);
    bench_put_int(b, pool_threads(b->threads));
    bench_put_text(b, dtype_get(j->w.type)->name);
    bench_put_int(b, n);
    bench_put_int(b, j->n_matrices * j->w.rows);
    bench_put_int(b, COLS);
    bench_put_int(b, (int64_t)j->file_bytes * j->n_matrices);
    bench_put_int(b, (int64_t)j->matrix_bytes * j->n_matrices);
    bench_put_number(b, r.ops * 1e-9, 2);
    bench_put_number(b, r.bytes * 1e-9, 3);
    return bench_put_result(b, &r);
}

static bool parse_types(const char *text, dtype out[N_TYPES], int *n, gv_err *err) {
    *n = 0;
    for (const char *p = text; p; p += strcspn(p, ","), p = *p ? p + 1 : NULL) {
        const str_shown name = str_show((sv){p, strcspn(p, ",")});
        if (*n == N_TYPES || !dtype_by_name(name.text, &out[*n]))
            return gv_fail(err, GV_USAGE, -1, "--types %s: %s is no type of weights (Q8_0, Q4_K, F16, ...), or there are more than %d",
                           text, name.text, N_TYPES);
        (*n)++;
    }
    if (*n == 0) memcpy(out, all_types, sizeof all_types), *n = N_TYPES;
    return true;
}

static bool all_rows(bench *b, const dtype *types, int n_types, const bench_list *columns, gv_err *err) {
    operands a;
    int64_t most = 1;
    for (int i = 0; i < columns->n; i++) most = columns->v[i] > most ? columns->v[i] : most;
    kernel_job job = {.b = b};
    for (int t = 0; t < n_types; t++)
        if (!lay_out(&job, types[t], err)) return false;
    bool ok = operands_init(&a, b->kern, most, err);
    ok = ok && bench_put_header(b, "bench,kernels,threads,type,columns,rows,cols,file_bytes,packed_bytes,gops,gb_s," BENCH_RESULT_COLUMNS);
    job.y = a.y;
    for (int t = 0; ok && t < n_types; t++) {
        ok = lay_out(&job, types[t], err);
        for (int i = 0; ok && i < columns->n; i++) ok = one_row(&job, &a, columns->v[i], err);
    }
    operands_fini(&a);
    return ok;
}

bool bench_kernels(bench *b, gv_err *err) {
    dtype types[N_TYPES];
    int n_types;
    bench_list columns;
    if (!parse_types(b->o->types, types, &n_types, err)) return false;
    if (!bench_parse_list("--columns", b->o->columns, DEFAULT_COLUMNS, 1, MAX_COLUMNS, &columns, err)) return false;
    const size_t n = b->o->bytes ? (size_t)b->o->bytes : DEFAULT_BYTES;
    uint8_t *memory = bench_map(n, err);
    if (!memory) return false;
    b->memory = memory, b->memory_bytes = n;
    pool_run(b->threads, fill_part, b, (int64_t)(n / 8));
    const bool ok = all_rows(b, types, n_types, &columns, err);
    b->memory = NULL;
    bench_unmap(memory, n);
    return ok;
}
