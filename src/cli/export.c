/* gavel export: the judgments of a run's journal as a table. */
#include "cli/commands.h"
#include "judge/run.h"

#include <stdlib.h>

typedef struct export_opts {
    const char *out;
    bool all;
} export_opts;

static const opt_def options[] = {
    {"out", 'o', OPT_STRING, offsetof(export_opts, out), "FILE", NULL, 0, 0, "Output, .jsonl or .csv", "Output"},
    {"all", 0, OPT_FLAG, offsetof(export_opts, all), NULL, NULL, 0, 0,
     "Every field of the record: raw answer, seed, token counts, timings, ...", NULL},
    {0},
};

/* Columns of a CSV are those of the first record. */
static bool open_writer(journal *j, const export_opts *o, sv model_name, arena *a, rows_writer **w, gv_err *err) {
    rows_cell cells[RUN_MAX_EXPORT_CELLS];
    sv columns[RUN_MAX_EXPORT_CELLS];
    size_t n = 0;
    bool end = false;
    journal_cursor c = {0};
    if (!journal_next(j, &c, &end, err)) return false;
    if (!end && !run_export_cells(j, c.record, o->all, model_name, a, cells, &n, err)) return false;
    for (size_t i = 0; i < n; i++) columns[i] = cells[i].name;
    *w = rows_writer_open(o->out, columns, n, err);
    return *w != NULL;
}

static bool write_all(journal *j, const export_opts *o, sv model_name, arena *a, rows_writer *w, gv_err *err) {
    rows_cell cells[RUN_MAX_EXPORT_CELLS];
    size_t n = 0;
    bool end = false;
    journal_cursor c = {0};
    for (;;) {
        if (!journal_next(j, &c, &end, err)) return false;
        if (end) return true;
        if (!run_export_cells(j, c.record, o->all, model_name, a, cells, &n, err) || !rows_writer_put(w, cells, n, err)) return false;
        arena_reset(a);
    }
}

static int run(int n_args, const char **args, const void *opts) {
    const export_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    buf name = {0};
    arena names, a;
    bool found;
    rows_writer *w = NULL;
    (void)n_args;
    if (!o->out) {
        gv_fail(&err, GV_USAGE, -1, "no output given; add --out FILE.jsonl or --out FILE.csv");
        return cli_fail(&err);
    }
    arena_init(&names);
    arena_init(&a);
    journal *j = rows_writer_check(o->out, &err) ? journal_open(args[0], JOURNAL_READ, &err) : NULL;
    bool ok = j && journal_get_meta(j, "model_name", &found, &name, &err) && open_writer(j, o, buf_view(&name), &names, &w, &err) &&
              write_all(j, o, buf_view(&name), &a, w, &err);
    if (ok)
        ok = rows_writer_commit(w, &err);
    else
        rows_writer_abandon(w);
    journal_close(j);
    arena_fini(&names);
    arena_fini(&a);
    buf_fini(&name);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_export = {
    .name = "export",
    .args = "RUN",
    .summary = "Write the judgments of a run's journal to a file",
    .detail = "RUN is the journal OUT.run of a finished or interrupted run. Columns: row, id, feedback, result, status, message, "
              "model_name; with "
              "--all every field of the record.",
    .example = "gavel export verdicts.jsonl.run --out so-far.csv",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(export_opts),
};
