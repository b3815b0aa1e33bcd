/* What the files of a run share: run.c the loop, run_settings.c what may not change on resume, run_output.c the table. */
#ifndef GAVEL_JUDGE_RUN_INTERNAL_H
#define GAVEL_JUDGE_RUN_INTERNAL_H

#include "judge/run.h"

/* Settings that decide results, as a JSON object of names a user knows. */
void run_settings_json(const run_spec *spec, const rows_summary *input, const lm_caps *caps, buf *out);
/* "KEY was X, is now Y; ..." for every setting in which `now` differs from `then`, except the one named `but` (may be NULL); empty if none does. */
bool run_settings_diff(sv then, sv now, const char *but, buf *diff, gv_err *err) GV_MUST_USE;
/* GV_STATE naming every setting in which `now` differs from `then`. */
bool run_settings_same(const char *journal_path, sv then, sv now, gv_err *err) GV_MUST_USE;
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
bool run_write_output(const run_spec *spec, const char *input_path, const rows_summary *input, journal *j, sv model_name, run_summary *sum,
                      gv_err *err) GV_MUST_USE;
/* Values as JSON text in a.  A result is null without a verdict. */
sv run_cell_text(arena *a, sv s);
sv run_cell_double(arena *a, double v);
sv run_cell_result(arena *a, const judgment *g);
/* Texts about the run are written before the first record: GV_FORMAT if one is missing beside records. */
bool run_check_found(const journal *j, const char *name, bool found, gv_err *err) GV_MUST_USE;
/* The input column that `name` is mapped to (itself without a mapping). */
const char *run_mapped(const run_spec *spec, const char *name);

#endif
