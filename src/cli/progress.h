/* Progress of a run on stderr: a bar on a terminal, plain lines elsewhere, JSON lines with --json. */
#ifndef GAVEL_CLI_PROGRESS_H
#define GAVEL_CLI_PROGRESS_H

#include "judge/run.h"

typedef enum progress_kind { PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_NONE } progress_kind;

typedef struct progress_view {
    progress_kind kind;
    int64_t shown_us; /* of the run's time, when a line was last printed; 0: never */
} progress_view;

/* Columns of the terminal that stderr is, 80 if it is none. */
int progress_columns(void);
/* Bar if stderr is a terminal that can move its cursor (TERM is not dumb), else lines; json and quiet override. */
void progress_init(progress_view *v, bool json, bool quiet);
/* run_spec.progress with a progress_view as context. */
void progress_show(void *view, const run_progress *p);
/* Which judgments have no verdict and why (by judgment_status), as "3 unparsable, 1 too_long" or as JSON members. */
void cli_put_statuses(const uint64_t *by_status, bool json, buf *out);

#endif
