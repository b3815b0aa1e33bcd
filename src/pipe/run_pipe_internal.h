/* What the files of a pipeline's run share: run_pipe.c the order of steps, preflight.c what is checked first, source.c loading, task.c judging,
 * llm.c the choice of a model, output.c what is written. */
#ifndef GAVEL_PIPE_RUN_PIPE_INTERNAL_H
#define GAVEL_PIPE_RUN_PIPE_INTERNAL_H

#include "pipe/columns.h"
#include "pipe/run_log.h"
#include "pipe/run_pipe.h"
#include "pipe/table.h"

typedef struct pipe_runner {
    const pipeline *p;
    const pipe_run_spec *spec;
    pipe_summary *sum;
    arena a;             /* rows, names, texts: until the end */
    pipe_table *tables;  /* [n_steps] */
    pipe_names *columns; /* [n_steps] */
    pipe_types *loaded;  /* [n_steps] */
    card_judge *judges;  /* [sum->n_judges] */
    lm *model;           /* kept while the next step wants the same */
    char *model_key;
    journal *j; /* NULL: no journal */
    buf journal_path;
    run_log *log;
    uint64_t n_bad_rows; /* of the loading steps: rows that break their format */
    const char *first_bad_row;
    int64_t start_us, shown_us;
    uint64_t told; /* failures that log_msg was told of */
} pipe_runner;

/* Rows of a loading step (or of --dataset) before output_mappings, with their columns and the types that are not those of the values; digest of the
 * rows' bytes. */
typedef struct pipe_loaded {
    pipe_table *rows;
    pipe_names *columns;
    pipe_types *types;
} pipe_loaded;
bool pipe_load_rows(pipe_runner *r, const pipe_step *s, const pipe_loaded *out, char digest[65], gv_err *err) GV_MUST_USE;

/* Opens the step's model into r->model, or keeps the one that is open if it is the same.  The one place that knows which engine stands
 * for which class. */
bool pipe_open_model(pipe_runner *r, const pipe_step *s, const pipe_judge *j, gv_err *err) GV_MUST_USE;

/* Judges all rows of `in`; number: which judging step it is, for the journal's keys. */
bool pipe_judge_rows(pipe_runner *r, const pipe_step *s, size_t number, const pipe_table *in, pipe_table *out, gv_err *err) GV_MUST_USE;

/* How many failures were not told one by one, and where they are. */
void pipe_tell_failures(const pipe_runner *r);

/* The same with made-up verdicts, without a model, for preflight.c: as many rows with the same columns of the same types.  *judgments grows by
 * those that the step would make. */
bool pipe_judge_pretend(const pipe_step *s, const pipe_table *in, arena *a, pipe_table *out, uint64_t *judgments, gv_err *err) GV_MUST_USE;

/* Rows of step i, which is no judge, from those of the steps before it (tables[n_steps]) or, of a first step, from `loaded`; log may be NULL. */
bool pipe_pass_rows(const pipeline *p, size_t i, const pipe_table *tables, const pipe_table *loaded, run_log *log, arena *a,
                    pipe_table *out, gv_err *err) GV_MUST_USE;

/* preflight.c: --model and --dataset name steps that have one; all steps with made-up verdicts, and whether the rows that come out fit the output;
 * every model opens, the first step's stays open. */
bool pipe_check_given(const pipeline *p, const pipe_run_spec *spec, gv_err *err) GV_MUST_USE;
bool pipe_preflight(pipe_runner *r, gv_err *err) GV_MUST_USE;
bool pipe_check_models(pipe_runner *r, gv_err *err) GV_MUST_USE;

bool pipe_write_output(pipe_runner *r, gv_err *err) GV_MUST_USE;
/* Types of a leaf's columns for a format that needs them, from its rows t: a judge's columns have theirs whatever the values. */
bool pipe_leaf_types(const pipe_runner *r, const pipe_table *t, size_t leaf, const pipe_names *columns, schema *out,
                     gv_err *err) GV_MUST_USE;
/* Can the output be written?  Before a model is loaded. */
bool pipe_check_output(const pipeline *p, const pipe_run_spec *spec, gv_err *err) GV_MUST_USE;

/* The same for a folder. */
bool pipe_write_folder(pipe_runner *r, gv_err *err) GV_MUST_USE;
/* Are the leaves' names those of configs, if out is a folder of several? */
bool pipe_check_configs(const pipeline *p, const char *out, gv_err *err) GV_MUST_USE;
bool pipe_check_folder(const pipeline *p, const pipe_run_spec *spec, gv_err *err) GV_MUST_USE;
size_t pipe_count_leaves(const pipeline *p);
/* Columns of all rows, in order of first appearance. */
void pipe_table_columns(const pipe_table *t, arena *a, pipe_names *out);

void pipe_show_progress(pipe_runner *r, bool final);
bool pipe_stopped(const pipe_runner *r, gv_err *err);

/* The value of "STEP=VALUE" or "VALUE" in a list for this step: the former wins; NULL if there is none. */
const char *pipe_for_step(const pipeline *p, const char *const *v, size_t n, const char *step);

#endif
