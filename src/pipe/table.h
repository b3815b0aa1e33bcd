/* Rows between steps: cells in column order, each value as JSON text.  A table's bytes are one arena's, which lives as long as the run. */
#ifndef GAVEL_PIPE_TABLE_H
#define GAVEL_PIPE_TABLE_H

#include "data/rows.h"
#include "pipe/pipe.h"
#include "pipe/run_log.h"

typedef struct pipe_row {
    rows_cell *cells; /* raw_name is not used */
    size_t n, cap;
} pipe_row;

typedef struct pipe_table {
    pipe_row *v;
    size_t n, cap;
} pipe_table;

void pipe_table_add(pipe_table *t, pipe_row added); /* aborts when memory is out */
void pipe_table_fini(pipe_table *t);

/* Makes room for so many cells in all, and no more. */
void pipe_row_reserve(pipe_row *r, size_t n, arena *a);
/* Sets a cell: one that is there keeps its place, a new one goes to the end, as in a Python dict. */
void pipe_row_set(pipe_row *r, sv name, sv raw, arena *a);
const rows_cell *pipe_row_get(const pipe_row *r, sv name);
pipe_row pipe_row_copy(const pipe_row *r, arena *a);

/* A step's names in place of the data set's, by input_mappings; *hidden gets the cells that a mapped name has hidden. */
pipe_row pipe_row_map_in(const pipe_step *s, const pipe_row *r, arena *a, pipe_row *hidden);
/* Back again: output_mappings, input_mappings, then the hidden cells at the end. */
pipe_row pipe_row_map_out(const pipe_step *s, const pipe_row *r, const pipe_row *hidden, arena *a);

/* KeepColumns, GroupColumns, CombineOutputs, ExpandColumns: in[n_in] tables, one for each step before.  Errors name the step and row.  log, which may
 * be NULL, gets the rows of which ExpandColumns makes none, or one with nulls. */
bool pipe_step_run(const pipe_step *s, const pipe_table *const *in, size_t n_in, const char *const *names, run_log *log, arena *a,
                   pipe_table *out, gv_err *err) GV_MUST_USE;

#endif
