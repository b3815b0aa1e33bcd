/* Progress of downloads and uploads on standard error: a bar on a terminal, else plain lines, or JSON lines; the Hub models of --model; a push as
 * commands do it. */
#ifndef GAVEL_CLI_TRANSFER_H
#define GAVEL_CLI_TRANSFER_H

#include "cli/commands.h"
#include "data/dataset.h"
#include "http/hub_push.h"

typedef struct transfer_view {
    int kind;   /* how it is shown */
    bool small; /* nothing is said of what is done at once */
    int64_t shown_us;
    const char *verb; /* "downloaded" */
} transfer_view;

/* quiet_if_there: say nothing unless something is transferred that takes more than a moment. */
void transfer_init(transfer_view *v, bool json, bool quiet, bool quiet_if_there, const char *verb);
/* The hub_show of a view. */
void transfer_show(void *view, const hub_progress *p);
void transfer_put_size(uint64_t bytes, buf *out);

/* A model as a path: itself, or, if it is ORG/NAME[:QUANT][@REV] and no file or folder of that name, where it lies in the Hub's cache, after it was pulled.
 * *path is the caller's (free); NULL given stays NULL. */
bool cli_find_model(const char *model, hub_need need, bool json, bool quiet, char **path, gv_err *err) GV_MUST_USE;
/* The same for --model, which errors then name. */
bool cli_model_path(const char *model, hub_need need, bool json, bool quiet, char **path, gv_err *err) GV_MUST_USE;

/* INPUT's rows as a data set, its files fetched (dataset_close); NULL and true if it is a file of which nothing is chosen, which rows_open reads. */
bool cli_open_dataset(const char *input, const data_opts *o, bool json, bool quiet, dataset **out, gv_err *err) GV_MUST_USE;

/* hub_push, shown: progress, what was done, the commit on standard output.  The exit code; a failure has been said. */
int transfer_push(hub *h, const hub_repo *repo, const hub_push_file *files, size_t n, const hub_push_options *o, bool json, bool quiet);

#endif
