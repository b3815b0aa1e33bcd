/* What the files of a run share: run.c the loop, run_settings.c what may not change on resume, run_columns.c the columns that judging adds,
 * run_output.c the table. */
#ifndef GAVEL_JUDGE_RUN_INTERNAL_H
#define GAVEL_JUDGE_RUN_INTERNAL_H

#include "judge/run.h"

/* Rubrics that a row is judged by (1 where there is no choice), and samples of each. */
static inline size_t run_n_variants(const run_spec *spec) {
    return spec->n_rubrics ? spec->n_rubrics : 1;
}
static inline uint32_t run_n_samples(const run_spec *spec) {
    return spec->samples ? spec->samples : 1;
}
/* The lowest bit of the variant is for the order of two responses: 0, as given. */
static inline journal_key run_key(uint64_t number, size_t which, uint32_t sample) {
    return (journal_key){number, (uint32_t)which << 1, sample};
}

/* Are these settings of a pipeline's run (pipe/run_pipe.h), whose journal has the same records? */
bool run_is_pipeline(sv settings);
/* Settings that decide results, as a JSON object of names a user knows. */
void run_settings_json(const run_spec *spec, const rows_summary *input, const lm_caps *caps, buf *out);
/* "KEY was X, is now Y; ..." for every setting in which `now` differs from `then`, except the one named `but` (may be NULL); empty if none does. */
bool run_settings_diff(sv then, sv now, const char *but, buf *diff, gv_err *err) GV_MUST_USE;
/* Where input and model lay, and the rubrics' texts: what `gavel verify` judges again with.  Decides nothing. */
bool run_record_sources(const run_spec *spec, journal *j, gv_err *err) GV_MUST_USE;

/* Rows judged again beside the journal they are in: the loop of a run, with these in the journal's place. */
typedef struct run_replay {
    void *ctx;
    uint64_t n_rows; /* for progress */
    /* Once the input is read: may this input and this model be compared with the run's? */
    bool (*check)(void *ctx, const rows_summary *input, const lm_caps *caps, gv_err *err);
    /* Is the judgment with this key to be left out?  If not, the attempt to repeat. */
    bool (*pick)(void *ctx, journal_key key, bool *leave_out, uint32_t *attempt, gv_err *err);
    bool (*answer)(void *ctx, journal_key key, const judgment *g, gv_err *err);
} run_replay;
bool run_again(const run_spec *spec, lm *model, const run_replay *replay, gv_err *err) GV_MUST_USE;
/* Are the columns there that the style, --rubric-col and --keep name?  Before anything is judged. */
bool run_check_columns(const run_spec *spec, const rows_summary *input, gv_err *err) GV_MUST_USE;
/* Writes the output file from the input and the journal. */
bool run_write_output(const run_spec *spec, const char *input_path, const rows_summary *input, journal *j, const lm_caps *caps,
                      run_summary *sum, gv_err *err) GV_MUST_USE;
/* ---- the columns that judging adds (docs/judging.md) ---- */

typedef enum column_kind {
    COLUMN_FEEDBACK,
    COLUMN_RESULT,
    COLUMN_STATUS,
    COLUMN_MESSAGE,
    COLUMN_EXPECTED,
    COLUMN_MEAN,
    COLUMN_MODE,
    COLUMN_SPREAD,
    COLUMN_SHARE_A,
    COLUMN_COUNT,
    COLUMN_EXPECTED_MEAN,
    COLUMN_MODEL,
} column_kind;

typedef struct run_column {
    sv name;
    column_kind kind;
    size_t rubric; /* whose judgments it shows */
} run_column;

typedef struct run_columns {
    run_column *v;
    size_t n;
} run_columns;

/* In output order, in a. */
run_columns run_columns_make(const run_spec *spec, arena *a);
bool run_columns_has(const run_columns *c, sv name);
/* Adds the column with its type, which follows from the settings alone. */
bool run_column_type(const run_spec *spec, const run_column *c, schema *s, gv_err *err) GV_MUST_USE;
/* The cell of one column; g are all samples of its rubric. */
sv run_column_cell(const run_column *c, const judgment *g, uint32_t n, sv model_name, arena *a);

/* Values as JSON text in a.  A result is null without a verdict. */
sv run_cell_text(arena *a, sv s);
sv run_cell_double(arena *a, double v);
sv run_cell_result(arena *a, const judgment *g);
/* Texts about the run are written before the first record: GV_FORMAT if one is missing beside records. */
bool run_check_found(const journal *j, const char *name, bool found, gv_err *err) GV_MUST_USE;
/* The input column that `name` is mapped to (itself without a mapping). */
const char *run_mapped(const run_spec *spec, const char *name);

#endif
