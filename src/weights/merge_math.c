/* One tensor's merge, chunk by chunk.  mergekit computes in one type, the recipe's dtype or the one that holds all inputs, and rounds after each
 * operation; so does this: floats are f32 here and round_to follows where a tensor of that type would be stored.  linear and slerp compute in f32
 * whatever the type.  Sums over a tensor are made of chunks' sums in chunk order, in double, so the number of threads does not matter. */
#include "base/mem.h"
#include "engine/sample.h"
#include "kern/kern.h"
#include "weights/merge_internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { HIGH = 1 << 15, LOW = 1 << 16 }; /* the bits of a magnitude: 15 exponent and fraction, 16 fraction */

static void round_to(dtype type, float *x, int64_t n) {
    if (type == DT_BF16)
        for (int64_t i = 0; i < n; i++) x[i] = kern_bf16_to_f32(kern_f32_to_bf16(x[i]));
    else if (type == DT_F16)
        for (int64_t i = 0; i < n; i++) x[i] = kern_f16_to_f32(kern_f32_to_f16(x[i]));
}

static float round_one(dtype type, double x) {
    float y = (float)x;
    round_to(type, &y, 1);
    return y;
}

static uint32_t magnitude(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7fffffff;
}

/* Elements of an input as the working type. */
static void load(const merge_job *j, size_t k, int64_t first, int64_t n, float *x) {
    const tensor_view *v = j->in[k];
    const size_t size = dtype_get((uint32_t)v->type)->block_bytes;
    kern_dequant_row(v->type, v->data + (size_t)first * size, x, n);
    if (v->type != j->work) round_to(j->work, x, n);
}

static void load_delta(const merge_job *j, size_t k, int64_t first, int64_t n, const float *base, float *x) {
    load(j, k, first, n, x);
    for (int64_t i = 0; i < n; i++) x[i] -= base[i];
    round_to(j->work, x, n);
}

static bool by_magnitude(const merge_job *j) {
    return j->method == MERGE_TIES;
}

static bool is_cut(const merge_job *j, size_t k) {
    return (j->method == MERGE_TIES || j->method == MERGE_DARE_TIES || j->method == MERGE_DARE_LINEAR) && (int)k != j->base &&
           j->density[k] < 1;
}

/* ---- dare's masks ---- */

static void make_key(merge_job *j) {
    char text[32], hex[65], part[9] = {0};
    sha256 s;
    sha256_init(&s);
    const int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)j->seed);
    sha256_add(&s, text, (size_t)n);
    sha256_add(&s, j->name, strlen(j->name));
    sha256_hex(&s, hex);
    for (size_t i = 0; i < 2; i++) {
        memcpy(part, hex + 8 * i, 8);
        j->key[i] = (uint32_t)strtoul(part, NULL, 16);
    }
}

/* Zeroes what dare drops: an element stays if its 32 random bits are below density * 2^32.  first is a multiple of 4. */
static void drop_random(const merge_job *j, size_t k, int64_t first, int64_t n, float *x) {
    const double limit = j->density[k] * 0x1p32;
    uint32_t out[4] = {0};
    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0) {
            const uint64_t group = (uint64_t)(first + i) / 4;
            const uint32_t counter[4] = {(uint32_t)group, (uint32_t)(group >> 32), (uint32_t)k, 0};
            philox4x32(counter, j->key, out);
        }
        if (!((double)out[i % 4] < limit)) x[i] = 0;
    }
}

/* Zeroes all but the largest; of those exactly at the threshold the first ones stay. */
static void drop_small(const merge_cut *c, int64_t chunk, int64_t n, float *x) {
    int64_t rank = c->before[chunk];
    for (int64_t i = 0; i < n; i++) {
        const uint32_t m = magnitude(x[i]);
        if (!(m > c->threshold || (m == c->threshold && rank++ < c->quota))) x[i] = 0;
    }
}

static void cut_chunk(const merge_job *j, size_t k, int64_t first, int64_t n, float *x) {
    if (j->density[k] <= 0)
        memset(x, 0, (size_t)n * sizeof *x);
    else if (by_magnitude(j))
        drop_small(&j->cut[k], first / MERGE_CHUNK, n, x);
    else
        drop_random(j, k, first, n, x);
}

/* ---- passes over the whole tensor ---- */

typedef enum stage { STAGE_HIGH, STAGE_LOW, STAGE_TIES, STAGE_SUMS, STAGE_SLERP } stage;

typedef struct pass {
    const merge_job *j;
    stage what;
    size_t k;
    uint32_t high;     /* STAGE_LOW: counts are of magnitudes with these upper bits */
    int64_t *counts;   /* LOW a worker */
    int64_t *ties;     /* a chunk */
    double (*sums)[3]; /* a chunk */
} pass;

static void pass_chunk(pass *p, int64_t chunk, float *scratch, int64_t *counts) {
    const merge_job *j = p->j;
    const int64_t first = chunk * MERGE_CHUNK, n = j->n - first < MERGE_CHUNK ? j->n - first : MERGE_CHUNK;
    float *base = scratch, *x = scratch + MERGE_CHUNK;
    load(j, (size_t)j->base, first, n, base);
    if (p->what == STAGE_SLERP)
        load(j, p->k, first, n, x);
    else
        load_delta(j, p->k, first, n, base, x);
    double sum[3] = {0};
    switch (p->what) {
    case STAGE_HIGH:
        for (int64_t i = 0; i < n; i++) counts[magnitude(x[i]) >> 16]++;
        return;
    case STAGE_LOW:
        for (int64_t i = 0; i < n; i++)
            if (magnitude(x[i]) >> 16 == p->high) counts[magnitude(x[i]) & (LOW - 1)]++;
        return;
    case STAGE_TIES:
        for (int64_t i = 0; i < n; i++) p->ties[chunk] += magnitude(x[i]) == j->cut[p->k].threshold;
        return;
    case STAGE_SUMS:
        for (int64_t i = 0; i < n; i++) sum[0] += (double)fabsf(x[i]);
        cut_chunk(j, p->k, first, n, x);
        for (int64_t i = 0; i < n; i++) sum[1] += (double)fabsf(x[i]);
        break;
    case STAGE_SLERP:
        for (int64_t i = 0; i < n; i++) {
            sum[0] += (double)base[i] * (double)base[i];
            sum[1] += (double)x[i] * (double)x[i];
            sum[2] += (double)base[i] * (double)x[i];
        }
        break;
    }
    memcpy(p->sums[chunk], sum, sizeof sum);
}

static void pass_part(void *ctx, int64_t begin, int64_t end, int worker) {
    pass *p = ctx;
    float *scratch = p->j->scratch + (size_t)worker * (MERGE_SCRATCH + p->j->n_in) * MERGE_CHUNK;
    for (int64_t c = begin; c < end; c++) pass_chunk(p, c, scratch, p->counts ? p->counts + (size_t)worker * LOW : NULL);
}

static int64_t n_chunks(const merge_job *j) {
    return (j->n + MERGE_CHUNK - 1) / MERGE_CHUNK;
}

/* The bucket in which the k-th largest lies; *k becomes its place in it. */
static uint32_t find_bucket(const pass *p, int workers, uint32_t buckets, int64_t *k) {
    for (uint32_t b = buckets; b-- > 0;) {
        int64_t n = 0;
        for (int w = 0; w < workers; w++) n += p->counts[(size_t)w * LOW + b];
        if (*k <= n) return b;
        *k -= n;
    }
    return 0;
}

static bool find_threshold(merge_job *j, size_t k, gv_err *err) {
    merge_cut *c = &j->cut[k];
    const int workers = pool_threads(j->threads);
    int64_t left = (int64_t)(j->density[k] * (double)j->n);
    if (left < 1) left = 1;
    pass p = {.j = j, .what = STAGE_HIGH, .k = k};
    p.counts = gv_try_calloc((size_t)workers * LOW, sizeof *p.counts, "counts of magnitudes", err);
    if (!p.counts) return false;
    pool_run(j->threads, pass_part, &p, n_chunks(j));
    p.high = find_bucket(&p, workers, HIGH, &left);
    memset(p.counts, 0, (size_t)workers * LOW * sizeof *p.counts);
    p.what = STAGE_LOW;
    pool_run(j->threads, pass_part, &p, n_chunks(j));
    c->threshold = p.high << 16;
    c->threshold |= find_bucket(&p, workers, LOW, &left);
    c->quota = left;
    free(p.counts);
    p.counts = NULL;
    p.what = STAGE_TIES;
    p.ties = gv_try_calloc((size_t)n_chunks(j), sizeof *p.ties, "equal magnitudes", err);
    if (!p.ties) return false;
    pool_run(j->threads, pass_part, &p, n_chunks(j));
    int64_t before = 0;
    for (int64_t i = 0; i < n_chunks(j); i++) {
        const int64_t here = p.ties[i];
        p.ties[i] = before;
        before += here;
    }
    c->before = p.ties;
    return true;
}

static bool sum_chunks(merge_job *j, stage what, size_t k, double total[3], gv_err *err) {
    pass p = {.j = j, .what = what, .k = k};
    p.sums = gv_try_calloc((size_t)n_chunks(j), sizeof *p.sums, "sums of a tensor", err);
    if (!p.sums) return false;
    pool_run(j->threads, pass_part, &p, n_chunks(j));
    for (size_t s = 0; s < 3; s++) {
        total[s] = 0;
        for (int64_t i = 0; i < n_chunks(j); i++) total[s] += p.sums[i][s];
    }
    free(p.sums);
    return true;
}

/* So that the sum of magnitudes is what it was.  mergekit keeps the sums in the working type, but those of dare in f32 where that is f16; sums that f16
 * cannot hold, with which it would make NaN, are kept in f32. */
static bool find_scale(merge_job *j, size_t k, gv_err *err) {
    double total[3];
    if (!sum_chunks(j, STAGE_SUMS, k, total, err)) return false;
    const bool f32 = j->work == DT_F16 && (!by_magnitude(j) || total[0] >= 65520);
    const dtype type = f32 ? DT_F32 : j->work;
    const float before = round_one(type, total[0]), after = round_one(type, total[1]);
    j->cut[k].scale = before < 1e-7f || after < 1e-7f ? 1 : round_one(type, (double)(before / after));
    return true;
}

static bool find_angle(merge_job *j, gv_err *err) {
    double total[3];
    if (!sum_chunks(j, STAGE_SLERP, (size_t)(1 - j->base), total, err)) return false;
    const double a = sqrt(total[0]), b = sqrt(total[1]);
    double dot = total[2] / ((a > 1e-8 ? a : 1) * (b > 1e-8 ? b : 1));
    dot = dot > 1 ? 1 : dot < -1 ? -1 : dot;
    const double theta = acos(dot);
    const bool linear = fabs(dot) > 0.9995; /* also where the vectors point away from each other */
    j->coef_a = (float)(linear ? 1 - j->t : sin((1 - j->t) * theta) / sin(theta));
    j->coef_b = (float)(linear ? j->t : sin(j->t * theta) / sin(theta));
    return true;
}

/* Before anything is computed of them: a NaN would make every sum and threshold meaningless. */
typedef struct finite_check {
    const merge_job *j;
    size_t k;
    _Atomic int64_t bad;
} finite_check;

static void finite_part(void *ctx, int64_t begin, int64_t end, int worker) {
    finite_check *f = ctx;
    const merge_job *j = f->j;
    const tensor_view *v = j->in[f->k];
    const size_t size = dtype_get((uint32_t)v->type)->block_bytes;
    float *x = j->scratch + (size_t)worker * (MERGE_SCRATCH + j->n_in) * MERGE_CHUNK;
    for (int64_t c = begin; c < end; c++) {
        const int64_t first = c * MERGE_CHUNK, n = j->n - first < MERGE_CHUNK ? j->n - first : MERGE_CHUNK;
        kern_dequant_row(v->type, v->data + (size_t)first * size, x, n);
        for (int64_t i = 0; i < n; i++) {
            if (isfinite(x[i]) && (j->work != DT_F16 || fabsf(x[i]) < 65520)) continue;
            int64_t seen = atomic_load(&f->bad);
            while (first + i < seen && !atomic_compare_exchange_weak(&f->bad, &seen, first + i)) {
            }
            break;
        }
    }
}

static bool check_finite(const merge_job *j, size_t k, gv_err *err) {
    finite_check f = {.j = j, .k = k, .bad = INT64_MAX};
    pool_run(j->threads, finite_part, &f, n_chunks(j));
    const int64_t bad = atomic_load(&f.bad);
    if (bad == INT64_MAX) return true;
    return gv_fail(err, GV_FORMAT, bad, "tensor %s: element %lld is no finite number%s", j->name, (long long)bad,
                   j->work == DT_F16 ? " of float16" : "");
}

bool merge_job_prepare(merge_job *j, gv_err *err) {
    make_key(j);
    for (size_t k = 0; k < j->n_in; k++) {
        j->cut[k] = (merge_cut){.scale = 1};
        if (!check_finite(j, k, err)) return false;
    }
    if (j->method == MERGE_SLERP) return find_angle(j, err);
    for (size_t k = 0; k < j->n_in; k++) {
        if (!is_cut(j, k) || j->density[k] <= 0) continue;
        if (by_magnitude(j) && !find_threshold(j, k, err)) return false;
        if (j->rescale && !find_scale(j, k, err)) return false;
    }
    return true;
}

void merge_job_fini(merge_job *j) {
    for (size_t k = 0; k < j->n_in; k++) {
        free(j->cut[k].before);
        j->cut[k].before = NULL;
    }
}

/* ---- the result ---- */

static void linear_chunk(const merge_job *j, int64_t first, int64_t n, float *sum, float *x) {
    float total = 0;
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (size_t k = 0; k < j->n_in; k++) {
        const float w = (float)j->weight[k];
        load(j, k, first, n, x);
        total += w;
        for (int64_t i = 0; i < n; i++) sum[i] = fmaf(x[i], w, sum[i]);
    }
    for (int64_t i = 0; i < n && j->normalize; i++) sum[i] /= total;
}

static void slerp_chunk(const merge_job *j, int64_t first, int64_t n, float *a, float *b) {
    load(j, (size_t)j->base, first, n, a);
    load(j, (size_t)(1 - j->base), first, n, b);
    for (int64_t i = 0; i < n; i++) a[i] = j->coef_a * a[i] + j->coef_b * b[i];
}

/* Deltas that agree with the sign of their sum, and the weights of those; deltas are [n_in][MERGE_CHUNK], the base's unused. */
static void elect_chunk(const merge_job *j, const float *w, const float *deltas, int64_t n, float *mixed, float *divisor) {
    for (int64_t i = 0; i < n; i++) {
        float sum = 0, kept = 0, weights = 0;
        for (size_t k = 0; k < j->n_in; k++)
            if ((int)k != j->base) sum += deltas[k * MERGE_CHUNK + (size_t)i];
        for (size_t k = 0; k < j->n_in; k++) {
            const float d = deltas[k * MERGE_CHUNK + (size_t)i];
            if ((int)k == j->base || !(sum >= 0 ? d > 0 : d < 0)) continue;
            kept += d;
            weights += w[k];
        }
        mixed[i] = kept;
        divisor[i] = weights;
    }
    round_to(j->work, divisor, n);
    for (int64_t i = 0; i < n; i++)
        if (divisor[i] == 0) divisor[i] = 1;
}

static void sum_chunk(const merge_job *j, const float *w, const float *deltas, int64_t n, float *mixed, float *divisor) {
    float total = 0;
    for (size_t k = 0; k < j->n_in; k++)
        if ((int)k != j->base) total += w[k];
    total = round_one(j->work, (double)total);
    if (fabsf(total) < 1e-8f) total = 1;
    for (int64_t i = 0; i < n; i++) {
        mixed[i] = 0;
        divisor[i] = total;
        for (size_t k = 0; k < j->n_in; k++)
            if ((int)k != j->base) mixed[i] += deltas[k * MERGE_CHUNK + (size_t)i];
    }
}

static void task_chunk(const merge_job *j, int64_t first, int64_t n, float *base, float *scratch) {
    float *mixed = scratch, *divisor = scratch + MERGE_CHUNK, *deltas = scratch + 2 * (size_t)MERGE_CHUNK, w[MERGE_MAX_MODELS];
    load(j, (size_t)j->base, first, n, base);
    for (size_t k = 0; k < j->n_in; k++) {
        float *d = deltas + k * MERGE_CHUNK;
        w[k] = round_one(j->work, j->weight[k]);
        if ((int)k == j->base) continue;
        load_delta(j, k, first, n, base, d);
        if (is_cut(j, k)) {
            cut_chunk(j, k, first, n, d);
            for (int64_t i = 0; i < n && j->rescale; i++) d[i] *= j->cut[k].scale;
            round_to(j->work, d, n);
        }
        for (int64_t i = 0; i < n; i++) d[i] *= w[k];
        round_to(j->work, d, n);
    }
    if (j->method == MERGE_TIES || j->method == MERGE_DARE_TIES)
        elect_chunk(j, w, deltas, n, mixed, divisor);
    else
        sum_chunk(j, w, deltas, n, mixed, divisor);
    round_to(j->work, mixed, n);
    for (int64_t i = 0; i < n && j->normalize; i++) mixed[i] /= divisor[i];
    if (j->normalize) round_to(j->work, mixed, n);
    for (int64_t i = 0; i < n && j->lambda != 1; i++) mixed[i] *= (float)j->lambda;
    if (j->lambda != 1) round_to(j->work, mixed, n);
    for (int64_t i = 0; i < n; i++) base[i] += mixed[i];
}

typedef struct run {
    const merge_job *j;
    int64_t first, n;
    uint8_t *dst;
    _Atomic bool overflow;
} run;

static void store(run *r, const float *x, int64_t n, uint8_t *dst) {
    const dtype out = r->j->out;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || (out == DT_F16 && fabsf(x[i]) >= 65520)) atomic_store(&r->overflow, true);
    if (out == DT_F32) {
        memcpy(dst, x, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = out == DT_BF16 ? kern_f32_to_bf16(x[i]) : kern_f32_to_f16(x[i]);
        memcpy(dst + 2 * (size_t)i, &h, sizeof h);
    }
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker) {
    run *r = ctx;
    const merge_job *j = r->j;
    const size_t size = dtype_get((uint32_t)j->out)->block_bytes;
    float *result = j->scratch + (size_t)worker * (MERGE_SCRATCH + j->n_in) * MERGE_CHUNK, *scratch = result + MERGE_CHUNK;
    for (int64_t c = begin; c < end; c++) {
        const int64_t at = c * MERGE_CHUNK, n = r->n - at < MERGE_CHUNK ? r->n - at : MERGE_CHUNK;
        if (j->method == MERGE_LINEAR)
            linear_chunk(j, r->first + at, n, result, scratch);
        else if (j->method == MERGE_SLERP)
            slerp_chunk(j, r->first + at, n, result, scratch);
        else
            task_chunk(j, r->first + at, n, result, scratch);
        round_to(j->work, result, n);
        store(r, result, n, r->dst + (size_t)at * size);
    }
}

bool merge_job_run(merge_job *j, int64_t first, int64_t n, void *dst, gv_err *err) {
    run r = {.j = j, .first = first, .n = n, .dst = dst};
    pool_run(j->threads, run_part, &r, (n + MERGE_CHUNK - 1) / MERGE_CHUNK);
    return !atomic_load(&r.overflow) ||
           gv_fail(err, GV_FORMAT, -1, "tensor %s: a merged weight does not fit %s", j->name, dtype_get((uint32_t)j->out)->name);
}
