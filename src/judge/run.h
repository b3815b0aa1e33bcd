/* A judging run: rows in, a judgment for each (row, rubric, sample) into the journal, the table out at the end.
 *
 * The run is crash-safe and resumable: a judgment is in the journal (OUT.run) before it counts as done, the output file appears atomically
 * at the end, and the same command continues where a run stopped.  Settings or input that differ from the journal's are refused by name.
 * A row that cannot be judged ends with a status of its own and never touches its neighbours.
 * Nothing here prints; progress goes to a callback.  One thread. */
#ifndef GAVEL_JUDGE_RUN_H
#define GAVEL_JUDGE_RUN_H

#include "data/rows.h"
#include "judge/judgment.h"
#include "judge/prompt.h"
#include "judge/rubric.h"
#include "judge/verdict.h"
#include "lm/lm.h"
#include "store/journal.h"

#include <signal.h>

typedef struct run_progress {
    uint64_t rows, per_row;     /* rows of this shard; judgments of each: rubrics times samples */
    uint64_t all, done, failed; /* judgments; done includes failed and those of earlier runs */
    uint64_t before;            /* done by earlier runs */
    int64_t elapsed_us;         /* since judging began */
    lm_stats lm;                /* tokens so far, shared prefixes */
    int64_t journal_us;         /* time spent in the journal, asking what is done included */
    int64_t shown_us;           /* time spent showing progress */
    bool final;                 /* the run is complete and its output written */
} run_progress;

enum { RUN_MAX_RUBRICS = 256, RUN_MAX_SAMPLES = 1024 };

typedef struct run_spec {
    const char *input;       /* path, or "-" */
    rows_options rows;       /* map, limit, shard, id column */
    const char *out;         /* .jsonl or .csv */
    const char *const *keep; /* output columns, NULL = all */
    size_t n_keep;
    prompt_spec prompt;
    verdict_parser parser;
    const rubric *rubrics; /* [n_rubrics] each row is judged by all; none in raw style or with rubric_col */
    size_t n_rubrics;
    uint32_t samples;       /* judgments by each rubric; 0 is read as 1 */
    const char *rubric_col; /* column with a rubric per row; NULL = none */
    lm_sampling sampling;
    bool expected_score; /* column expected_score; needs an lm with logprobs and a constrained verdict */
    bool fresh, retry_failed;
    const char *model_path, *chat_template;             /* as given, recorded for `gavel verify`; may be NULL */
    const volatile sig_atomic_t *stop;                  /* becomes nonzero when the user asks to stop; may be NULL */
    void (*progress)(void *ctx, const run_progress *p); /* called at most every 100 ms and at the end; may be NULL */
    void *progress_ctx;
} run_spec;

typedef struct run_summary {
    uint64_t rows, judgments, ok, failed; /* ok and failed count judgments */
    uint64_t by_status[7];                /* likewise; indexed by judgment_status */
    uint64_t n_long;                      /* judgments of more tokens than the known model was trained on */
    run_progress last;
} run_summary;

/* Runs to the end.  False with GV_INTERRUPTED when stopped (everything judged is in the journal), GV_STATE when the journal belongs to other
 * settings ("OUT.run was made with temperature 0.7, now 0; --fresh starts anew"), GV_USAGE for missing columns, GV_IO when the disk says no. */
bool run_judge(const run_spec *spec, lm *model, run_summary *out, gv_err *err) GV_MUST_USE;

/* Do the rubrics' names give every output column a name of its own?  run_judge asks too; this is for before a model is loaded. */
bool run_check_rubrics(const run_spec *spec, gv_err *err) GV_MUST_USE;

/* "OUT.run": where the journal of an output file lies. */
void run_journal_path(const char *out, buf *path);

/* Settings as JSON objects of one level: GV_STATE naming every setting in which `now` differs from `then`. */
bool run_settings_same(const char *journal_path, sv then, sv now, gv_err *err) GV_MUST_USE;

/* Is it the journal of a run with several judgments a row? */
bool run_has_several(journal *j, bool *several, gv_err *err) GV_MUST_USE;

/* Writes a journal's records to out (.jsonl or .csv) for `gavel export`, in order of row, rubric, sample: row, id, rubric and sample if the run
 * has several, feedback, result, status, message, model_name, and expected_score if the run asked for it; with `all` every field of the record
 * and every setting of the run.  *n: records written. */
bool run_export(journal *j, const char *out, bool all, uint64_t *n, gv_err *err) GV_MUST_USE;

#endif
