/* JSON lines in, exactly one JSON line out for each: what render, parse and tokenize have in common. */
#ifndef GAVEL_CLI_LINES_H
#define GAVEL_CLI_LINES_H

#include "base/str.h"
#include "data/rows.h"

/* Makes the output line of a good row (without newline).  False: the line becomes {"row":..,"status":"bad_input","message":..}. */
typedef bool line_fn(void *ctx, const row *in, buf *out, gv_err *err);

/* Reads rows of `path` ("-": standard input) and prints a line for each.  only: just this row number, UINT64_MAX = all.  Returns the exit code:
 * 0, 3 if any line was bad, 1 on failure (message printed). */
int lines_run(const char *path, const rows_options *o, uint64_t only, line_fn *fn, void *ctx);

/* Writes to standard output; false and a message on stderr once it cannot be written. */
bool lines_print(const buf *text);
bool lines_flush(void);

#endif
