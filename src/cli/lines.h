/* JSON lines in, exactly one JSON line out for each: what render, parse and tokenize have in common.  Also how commands write to standard
 * output. */
#ifndef GAVEL_CLI_LINES_H
#define GAVEL_CLI_LINES_H

#include "base/str.h"
#include "data/rows.h"

/* Makes the output line of a good row (without newline).  False: the line becomes {"row":..,"status":"bad_input","message":..}. */
typedef bool line_fn(void *ctx, const row *in, buf *out, gv_err *err);

/* Reads rows of `path` ("-": standard input) and prints a line for each, also for blank ones ("row" is null there).  only: just this row number,
 * UINT64_MAX = all.  Returns the exit code: 0, 3 if any line was bad (the count is said), 1 on failure, 2 if there is no row `only`. */
int lines_run(const char *path, const rows_options *o, uint64_t only, line_fn *fn, void *ctx);

/* The command's one argument; without one standard input, unless that is a terminal (GV_USAGE). NULL on failure. */
const char *lines_input(int n_args, const char **args, gv_err *err) GV_MUST_USE;

/* Writes to standard output; false, and a message once, when it cannot be written. */
bool lines_print(const buf *text);
bool lines_flush(void);

#endif
