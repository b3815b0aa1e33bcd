/* What the parts of `gavel bench` share: options, peaks, samples between two peak runs, CSV.
 *
 * A sample counts only if the peak measured before it and the one after it differ by at most 5 %: then nothing else took the machine meanwhile, or it
 * took as much all the time.  Figures are medians over the samples that count, each share against the mean of its own two peaks. */
#ifndef GAVEL_CLI_BENCH_H
#define GAVEL_CLI_BENCH_H

#include "base/thread.h"
#include "cli/commands.h"
#include "engine/model.h"
#include "kern/peak.h"

typedef struct bench_opts {
    model_opts model;
    opt_list rubric, map;
    const char *types, *columns, *tokens, *context, *sequences, *prompt, *peaks;
    int64_t runs, peak_ms, max_discarded, bytes, rubrics, samples, limit; /* 0 = not given */
} bench_opts;

typedef enum bench_peak { BENCH_INT8, BENCH_FMA, BENCH_READ, BENCH_PEAKS } bench_peak;

typedef struct bench {
    const bench_opts *o;
    const kern_ops *kern;
    const kern_peaks *peaks;
    pool *threads;
    const uint8_t *memory; /* what the read peak reads, memory_bytes of it; NULL: that peak is not measured */
    size_t memory_bytes;
    buf line;
} bench;

/* What a sample found: a figure to print and one to compare it with, and what it did a second. */
typedef struct bench_work {
    double value, beside;
    double ops, bytes; /* a second */
} bench_work;
typedef bool bench_fn(void *ctx, bench_work *out, gv_err *err);

typedef struct bench_result {
    double value, beside, ops, bytes; /* medians; NAN if no sample counts */
    double peak[BENCH_PEAKS];         /* NAN if not measured */
    double ops_share, read_share;     /* of the peak of the operations (int8 or fma) and of reading */
    bench_peak bound;                 /* the samples stand between two runs of this */
    int n_samples, n_discarded;
} bench_result;

int64_t bench_peak_us(const bench *b); /* --peak-ms */
/* Operations or bytes a second of all threads at once, into out[BENCH_PEAKS]. */
void bench_measure_peaks(bench *b, double out[BENCH_PEAKS]);
/* Takes --runs samples (default_runs).  ops_peak: BENCH_INT8 or BENCH_FMA, what the operations run on; ops and bytes of a piece of work decide which peak
 * bounds it.  `what` names the row in the warning when more than --max-discarded samples were discarded. */
bool bench_run(bench *b, bench_fn *fn, void *ctx, bench_peak ops_peak, double ops, double bytes, int64_t default_runs, const char *what,
               bench_result *out, gv_err *err) GV_MUST_USE;

/* One CSV field and its comma. */
void bench_put_text(bench *b, const char *text);
void bench_put_int(bench *b, int64_t n);
void bench_put_number(bench *b, double v, int decimals); /* empty for NAN */
/* Names of the columns that bench_put_result writes at the end of a line. */
#define BENCH_RESULT_COLUMNS "int8_gops,fma_gflops,read_gb_s,bound,ops_share,read_share,samples,discarded"
bool bench_put_result(bench *b, const bench_result *r) GV_MUST_USE; /* ends and prints the line */
bool bench_put_header(bench *b, const char *columns) GV_MUST_USE;

/* "1,8,32" within lo..hi, at most `cap` of them; n = 0 and true for NULL. */
typedef struct bench_list {
    int64_t v[32];
    int n;
} bench_list;
bool bench_parse_list(const char *option, const char *text, const char *otherwise, int64_t lo, int64_t hi, bench_list *out,
                      gv_err *err) GV_MUST_USE;

/* What a token costs in products: all layers, and the output row for a token whose logits are asked for. */
typedef struct bench_cost {
    double layer_ops, output_ops;
    bench_peak ops_peak; /* BENCH_FMA if no weight is quantised */
} bench_cost;
bool bench_model_cost(const tensors *file, const quant_mix *mix, bench_cost *out, gv_err *err) GV_MUST_USE;
const char *bench_file_name(const char *path);

/* The kinds of measurement.  False with err empty: standard output cannot be written, which has been said. */
bool bench_peaks_command(bench *b, gv_err *err) GV_MUST_USE;
bool bench_kernels(bench *b, gv_err *err) GV_MUST_USE;
bool bench_prefill(bench *b, gv_err *err) GV_MUST_USE;
bool bench_decode(bench *b, gv_err *err) GV_MUST_USE;
bool bench_judge(bench *b, const char *input, gv_err *err) GV_MUST_USE;

/* Anonymous memory in large pages where the system has them, for what is streamed; NULL and GV_MEMORY.  Free with bench_unmap. */
uint8_t *bench_map(size_t n, gv_err *err) GV_MUST_USE;
void bench_unmap(uint8_t *p, size_t n);

#endif
