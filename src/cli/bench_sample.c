/* See bench.h: peaks, samples between two of them, medians and CSV. */
#include "cli/bench.h"
#include "cli/lines.h"
#include "cli/talk.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { DEFAULT_PEAK_MS = 100, DEFAULT_DISCARDED = 20, MAX_RUNS = 1000, READ_PIECE = 1 << 20 };

#define MAX_DIFFERENCE 0.05

static const char *const peak_names[] = {"int8", "fma", "read"};

uint8_t *bench_map(size_t n, gv_err *err) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        gv_fail(err, GV_MEMORY, -1, "no memory for %zu MiB to stream", n >> 20);
        return NULL;
    }
    (void)madvise(p, n, MADV_HUGEPAGE); /* as for a model's weights: only speed depends on it */
    return p;
}

void bench_unmap(uint8_t *p, size_t n) {
    if (p) munmap(p, n);
}

/* ---- peaks ---- */

typedef struct peak_job {
    const bench *b;
    bench_peak which;
    int64_t us;
    double rate[1024]; /* of each worker */
} peak_job;

/* Worker w reads its part of the memory, a piece at a time, round and round. */
static double read_piece(const bench *b, size_t begin, size_t end, size_t *at) {
    if (*at + KERN_PEAK_READ > end) *at = begin;
    size_t n = end - *at < READ_PIECE ? end - *at : READ_PIECE;
    n -= n % KERN_PEAK_READ;
    b->peaks->read(b->memory + *at, n);
    *at += n;
    return (double)n;
}

static void peak_part(void *ctx, int64_t begin, int64_t end, int worker) {
    peak_job *job = ctx;
    const bench *b = job->b;
    const size_t n_parts = (size_t)pool_threads(b->threads), part = b->memory_bytes / n_parts / KERN_PEAK_READ * KERN_PEAK_READ;
    size_t at = (size_t)begin * part;
    double work = 0;
    const int64_t start = clock_mono_us();
    int64_t now;
    if (begin == end) return;
    do {
        work += job->which == BENCH_READ  ? read_piece(b, (size_t)begin * part, (size_t)(begin + 1) * part, &at)
                : job->which == BENCH_FMA ? b->peaks->fma()
                                          : b->peaks->int8_dot();
        now = clock_mono_us();
    } while (now - start < job->us);
    job->rate[worker] = work * 1e6 / (double)(now - start);
}

int64_t bench_peak_us(const bench *b) {
    return (b->o->peak_ms ? b->o->peak_ms : DEFAULT_PEAK_MS) * 1000;
}

void bench_measure_peaks(bench *b, double out[BENCH_PEAKS]) {
    const int n = pool_threads(b->threads);
    const bool can_read = b->memory && b->memory_bytes / (size_t)n >= KERN_PEAK_READ;
    for (int p = 0; p < BENCH_PEAKS; p++) {
        peak_job job = {.b = b, .which = (bench_peak)p, .us = bench_peak_us(b)};
        out[p] = NAN;
        if (p == BENCH_READ && !can_read) continue;
        pool_run(b->threads, peak_part, &job, n);
        out[p] = 0;
        for (int i = 0; i < n; i++) out[p] += job.rate[i];
    }
}

/* ---- samples ---- */

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    if (n == 0) return NAN;
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* All samples that count, one array a figure. */
enum { VALUE, BESIDE, OPS, BYTES, OPS_SHARE, READ_SHARE, FIRST_PEAK, FIGURES = FIRST_PEAK + BENCH_PEAKS };

static void keep_sample(double (*kept)[MAX_RUNS], int i, const bench_work *w, const double *before, const double *after,
                        bench_peak ops_peak) {
    double peak[BENCH_PEAKS];
    for (int p = 0; p < BENCH_PEAKS; p++) kept[FIRST_PEAK + p][i] = peak[p] = (before[p] + after[p]) / 2;
    kept[VALUE][i] = w->value;
    kept[BESIDE][i] = w->beside;
    kept[OPS][i] = w->ops;
    kept[BYTES][i] = w->bytes;
    kept[OPS_SHARE][i] = w->ops / peak[ops_peak];
    kept[READ_SHARE][i] = w->bytes / peak[BENCH_READ];
}

static void take_medians(double (*kept)[MAX_RUNS], bench_result *r) {
    double m[FIGURES];
    for (int i = 0; i < FIGURES; i++) m[i] = isnan(kept[i][0]) ? NAN : median(kept[i], r->n_samples);
    r->value = m[VALUE], r->beside = m[BESIDE], r->ops = m[OPS], r->bytes = m[BYTES], r->ops_share = m[OPS_SHARE],
    r->read_share = m[READ_SHARE];
    for (int p = 0; p < BENCH_PEAKS; p++) r->peak[p] = m[FIRST_PEAK + p];
}

bool bench_run(bench *b, bench_fn *fn, void *ctx, bench_peak ops_peak, double ops, double bytes, int64_t default_runs, const char *what,
               bench_result *out, gv_err *err) {
    const int64_t runs = b->o->runs ? b->o->runs : default_runs, most = b->o->max_discarded ? b->o->max_discarded : DEFAULT_DISCARDED;
    double before[BENCH_PEAKS], after[BENCH_PEAKS];
    double(*kept)[MAX_RUNS] = gv_xcalloc(FIGURES, sizeof *kept);
    bool ok = true;
    bench_measure_peaks(b, before);
    *out =
        (bench_result){.bound = !isnan(before[BENCH_READ]) && bytes / before[BENCH_READ] > ops / before[ops_peak] ? BENCH_READ : ops_peak};
    const double *was = &before[out->bound], *is = &after[out->bound];
    while (ok && out->n_samples < runs && out->n_discarded <= most) {
        bench_work w = {0};
        ok = fn(ctx, &w, err);
        bench_measure_peaks(b, after);
        if (fabs(*was - *is) > MAX_DIFFERENCE * fmax(*was, *is))
            out->n_discarded++;
        else
            keep_sample(kept, out->n_samples++, &w, before, after, ops_peak);
        memcpy(before, after, sizeof before); /* the peak after a sample is the one before the next */
    }
    if (out->n_samples == 0)
        for (int i = 0; i < FIGURES; i++) kept[i][0] = NAN;
    take_medians(kept, out);
    if (ok && out->n_samples < runs)
        talk_say("warning",
                 "%s: %d of %lld samples count, %d were discarded because the %s peaks before and after differ by more than 5 %%", what,
                 out->n_samples, (long long)runs, out->n_discarded, peak_names[out->bound]);
    free(kept);
    return ok;
}

/* ---- CSV ---- */

void bench_put_text(bench *b, const char *text) {
    if (!text[strcspn(text, ",\"\r\n")]) {
        buf_printf(&b->line, "%s,", text);
        return;
    }
    buf_add_char(&b->line, '"');
    for (; *text; text++) {
        if (*text == '"') buf_add_char(&b->line, '"');
        buf_add_char(&b->line, *text);
    }
    buf_add_str(&b->line, "\",");
}

void bench_put_int(bench *b, int64_t n) {
    buf_printf(&b->line, "%lld,", (long long)n);
}

void bench_put_number(bench *b, double v, int decimals) {
    if (isnan(v))
        buf_add_char(&b->line, ',');
    else
        buf_printf(&b->line, "%.*f,", decimals, v);
}

/* The line's last comma becomes its end. */
static bool end_line(bench *b) {
    b->line.p[b->line.n - 1] = '\n';
    const bool ok = lines_print(&b->line) && lines_flush();
    buf_clear(&b->line);
    return ok;
}

bool bench_put_header(bench *b, const char *columns) {
    buf_printf(&b->line, "%s,", columns);
    return end_line(b);
}

bool bench_put_result(bench *b, const bench_result *r) {
    for (int p = 0; p < BENCH_PEAKS; p++) bench_put_number(b, r->peak[p] * 1e-9, 2);
    bench_put_text(b, peak_names[r->bound]);
    bench_put_number(b, r->ops_share, 4);
    bench_put_number(b, r->read_share, 4);
    bench_put_int(b, r->n_samples);
    bench_put_int(b, r->n_discarded);
    return end_line(b);
}

/* ---- options and models ---- */

bool bench_parse_list(const char *option, const char *text, const char *otherwise, int64_t lo, int64_t hi, bench_list *out, gv_err *err) {
    const char *p = text ? text : otherwise;
    const int cap = sizeof out->v / sizeof *out->v;
    *out = (bench_list){.n = 0};
    for (;; p++) {
        char *end = NULL;
        const long long v = *p >= '0' && *p <= '9' ? strtoll(p, &end, 10) : -1;
        if (v < lo || v > hi || (*end && *end != ',') || out->n == cap)
            return gv_fail(err, GV_USAGE, -1, "%s %s: expected whole numbers from %lld to %lld, at most %d, with commas between", option,
                           text, (long long)lo, (long long)hi, cap);
        out->v[out->n++] = v;
        p = end;
        if (!*p) return true;
    }
}

bool bench_model_cost(const tensors *file, const quant_mix *mix, bench_cost *out, gv_err *err) {
    model_shape s;
    if (!model_read_shape(file, &s, err)) return gv_context(err, "%s", tensors_path(file));
    const double width = s.n_embd, q = (double)s.n_head * s.head_dim, kv = (double)s.n_head_kv * s.head_dim;
    out->layer_ops = 2.0 * s.n_layer * (width * (q + 2 * kv) + q * width + 3 * width * s.n_ff);
    out->output_ops = 2.0 * width * s.n_vocab;
    out->ops_peak = mix && kern_act_kind_of(mix->base) != KERN_ACT_F32 ? BENCH_INT8 : BENCH_FMA;
    for (size_t i = 0; i < tensors_count(file); i++)
        if (kern_act_kind_of(tensors_at(file, i)->type) != KERN_ACT_F32) out->ops_peak = BENCH_INT8;
    return true;
}

const char *bench_file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool bench_peaks_command(bench *b, gv_err *err) {
    const size_t n = b->o->bytes ? (size_t)b->o->bytes : (size_t)1100 << 20;
    uint8_t *memory = bench_map(n, err);
    double peak[BENCH_PEAKS];
    if (!memory) return false;
    memset(memory, 1, n); /* pages that were never written are all the same one */
    b->memory = memory, b->memory_bytes = n;
    bench_measure_peaks(b, peak);
    bool ok = bench_put_header(b, "bench,kernels,int8_instructions,threads,int8_gops,fma_gflops,read_gb_s");
    bench_put_text(b, "peaks");
    bench_put_text(b, b->kern->name);
    bench_put_text(b, b->peaks->int8_name);
    bench_put_int(b, pool_threads(b->threads));
    for (int p = 0; p < BENCH_PEAKS; p++) bench_put_number(b, peak[p] * 1e-9, 2);
    ok = ok && end_line(b);
    bench_unmap(memory, n);
    return ok;
}
