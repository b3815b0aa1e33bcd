/* Judging some rows of a run again, and comparing every byte of the answers with the run's journal (`gavel verify`).
 *
 * The settings are the journal's; the prompts, requests and verdicts are made by the loop of a run itself (run_again), so that nothing can be
 * right here and wrong there.  Kernels, threads and batches may differ from the run's: canonical-1 says that results do not. */
#ifndef GAVEL_JUDGE_VERIFY_H
#define GAVEL_JUDGE_VERIFY_H

#include "judge/run.h"

typedef struct verify verify;
/* Reads the journal's settings.  GV_STATE if it has none yet, or lacks what is needed; other errors as journal_open. */
verify *verify_open(const char *journal_path, gv_err *err) GV_MUST_USE;
void verify_close(verify *v);

/* With what the model has to be opened. */
typedef struct verify_needs {
    const char *model_path, *chat_template; /* as they were; chat_template NULL: the model's own */
    const char *name;                       /* what the run calls it */
    const char *kv;                         /* "f16" or "f32" */
    const char *weights;                    /* what the weights were quantised to while loading, or NULL */
    int64_t ctx;
} verify_needs;
const verify_needs *verify_get_needs(const verify *v);

typedef struct verify_options {
    const char *input; /* where the input lies now; NULL: where it was */
    uint64_t n_rows;   /* how many rows, chosen by their numbers alone; all if the run has no more */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *ctx, const run_progress *p);
    void *progress_ctx;
    void (*differs)(void *ctx, const char *line); /* called with one line for each judgment that differs */
    void *differs_ctx;
} verify_options;

typedef struct verify_result {
    uint64_t rows_in_run, rows, judgments, different;
} verify_result;

/* True if the rows were judged, whether they differ or not.  GV_STATE naming both sides if input, model, numerics or any other setting is not the
 * run's. */
bool verify_rows(verify *v, lm *model, const verify_options *o, verify_result *out, gv_err *err) GV_MUST_USE;

#endif
