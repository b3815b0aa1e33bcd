/* Which columns a step reads and makes, and whether they arrive.  See graph.c. */
#ifndef GAVEL_PIPE_COLUMNS_H
#define GAVEL_PIPE_COLUMNS_H

#include "pipe/pipe.h"

typedef struct pipe_names {
    sv *v;
    size_t n;
} pipe_names;

/* Columns of a loading step whose values are, as JSON, the texts of another type, with that type as Arrow prints it: times, decimals, bytes. */
typedef struct pipe_types {
    sv *names;
    const char **types;
    size_t n;
} pipe_types;

/* The step's own names, before its mappings. */
void pipe_step_inputs(const pipe_step *s, arena *a, pipe_names *out);
void pipe_step_outputs(const pipe_step *s, arena *a, pipe_names *out);
/* The data set's column for a name of the step's ("input_mappings", "output_mappings"): the name itself unless it is mapped. */
sv pipe_mapped(const pipe_step *s, const char *mappings, sv name);

/* The mapping itself, or NULL. */
const json_value *pipe_arg_map(const pipe_step *s, const char *mappings);

/* at[n_steps]: for loading steps the columns of their rows before output_mappings (and for a first step that
 * --dataset feeds those of the data set); filled in for all others.  GV_USAGE in distilabel's words for
 * a mapping or column that does not exist. */
bool pipe_check_columns(const pipeline *p, pipe_names *at, arena *a, gv_err *err) GV_MUST_USE;

/* The type, as Arrow prints it, of a column that comes from a judge, whatever its values: "string", "int64", or of grouped generations lists of
 * them; of a column that comes unchanged from a loading step, its type in loaded[that step]; NULL for every other column. */
const char *pipe_column_type(const pipeline *p, const pipe_names *at, const pipe_types *loaded, size_t step, sv name);

#endif
