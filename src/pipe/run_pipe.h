/* A pipeline's run: rows loaded, judged and passed from step to step, each judgment in a journal, the leaves' rows written at the end.
 *
 * Steps run one after the other, each over all of its rows; results do not depend on batches, so input_batch_size changes nothing.  A row that
 * cannot be judged keeps its place with null verdicts and never touches its neighbours.  The same command continues an interrupted run.  All rows
 * are in memory, of every step until the end.  One thread. */
#ifndef GAVEL_PIPE_RUN_PIPE_H
#define GAVEL_PIPE_RUN_PIPE_H

#include "judge/run.h"
#include "pipe/card.h"
#include "pipe/pipe.h"

typedef struct pipe_run_spec {
    const char *const *datasets; /* "DATA" or "STEP=DATA" (a file, a folder, hf://...): rows instead of what a loading step would load */
    size_t n_datasets;
    const char *config, *split; /* of each of these; NULL: the default, and the only one */
    const char *const *models;  /* "FILE" or "STEP=FILE": the model instead of the pipeline's */
    size_t n_models;
    /* A model's name to the path of a file here (ORG/NAME of the Hub is fetched); the path is to be freed. */
    bool (*model_path)(void *ctx, const char *model, char **path, gv_err *err);
    void *model_path_ctx;
    lm_options engine;   /* model and chat_template are the steps' */
    const char *out;     /* .jsonl, .csv, ... for one leaf; a folder: a Distiset; NULL: nothing is written, and there is no journal */
    const char *repo_id; /* as the Distiset's card names it; may be NULL */
    /* Asked when a Distiset is written: the README.md whose metadata it keeps (that of the repository to push to), or NULL: the folder's own. */
    const char *(*readme)(void *ctx);
    void *readme_ctx;
    uint64_t limit; /* only the first rows of each loading step; 0: all */
    bool fresh, retry_failed;
    const volatile sig_atomic_t *stop;
    void (*progress)(void *ctx, const run_progress *p);
    void *progress_ctx;
} pipe_run_spec;

typedef struct pipe_judge_summary {
    const char *step; /* the pipeline's */
    uint64_t judgments, failed;
    int64_t prompt_tokens, cached_tokens, output_tokens, elapsed_us; /* of this run */
} pipe_judge_summary;

typedef struct pipe_summary {
    uint64_t rows_in, rows_out; /* of the loading steps, of the leaves */
    uint64_t judgments, ok, failed, by_status[CARD_N_STATUS];
    pipe_judge_summary *judges; /* in order of execution; free with pipe_summary_fini */
    size_t n_judges;
    bool loaded;                    /* all rows could be read */
    uint64_t planned, planned_rows; /* judgments that the whole run makes, rows of the leaves: known before anything is judged */
    gv_err untyped;                 /* why rows fit no Distiset or .parquet; GV_OK if they do.  Asked when spec->out is NULL */
    run_progress last;
} pipe_summary;
void pipe_summary_fini(pipe_summary *s);

/* p must have passed pipe_check.  Errors as run_judge's; *out is filled as far as the run came. */
bool pipe_run(const pipeline *p, const pipe_run_spec *spec, pipe_summary *out, gv_err *err) GV_MUST_USE;

/* Does --out name a file of rows, by its suffix?  Otherwise it is a folder. */
bool pipe_is_file(const char *out);

/* Do all its rows lie in files of this machine, as far as their names tell? */
bool pipe_has_rows_here(const pipeline *p);

/* Only loads the rows and checks all that can be known before a row is judged: that every column arrives, lists and joins fit, and the rows fit the
 * output.  rows_in, planned, planned_rows and untyped are filled. */
bool pipe_survey(const pipeline *p, const pipe_run_spec *spec, pipe_summary *out, gv_err *err) GV_MUST_USE;

#endif
