/* gavel export: the judgments of a run's journal as a table. */
#include "cli/commands.h"
#include "judge/run.h"

typedef struct export_opts {
    const char *out;
    bool all;
} export_opts;

static const opt_def options[] = {
    {"out", 'o', OPT_STRING, offsetof(export_opts, out), "FILE", NULL, 0, 0,
     "Output, .jsonl, .json, .csv, .tsv (also .gz, .zst) or .parquet", "Output"},
    {"all", 0, OPT_FLAG, offsetof(export_opts, all), NULL, NULL, 0, 0,
     "Every field of the record (raw answer, parser rule, token counts, log-probabilities, timings, ...) and every setting of the run",
     NULL},
    {0},
};

static int run(int n_args, const char **args, const void *opts) {
    const export_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    uint64_t n = 0;
    (void)n_args;
    if (!o->out) gv_fail(&err, GV_USAGE, -1, "no output given; add --out FILE.jsonl or --out FILE.csv");
    if (err.code == GV_OK && strcmp(o->out, args[0]) == 0) gv_fail(&err, GV_USAGE, -1, "--out %s is the journal itself", o->out);
    journal *j = err.code == GV_OK && rows_writer_check(o->out, &err) ? journal_open(args[0], JOURNAL_READ, &err) : NULL;
    const bool ok = j && run_export(j, o->out, o->all, &n, &err);
    journal_close(j);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_export = {
    .name = "export",
    .args = "RUN",
    .summary = "Write the judgments of a run's journal to a file",
    .detail =
        "RUN is the journal OUT.run of a finished or interrupted run. Columns: row, id, feedback, result, status, message, model_name, "
        "and expected_score if the run asked for it; a run with several judgments a row has one line for each, with the columns rubric and "
        "sample "
        "behind id; the journal of gavel run also has step; with --all every field of the record, then every setting of the run.",
    .example = "gavel export verdicts.jsonl.run --out so-far.csv\ngavel export verdicts.jsonl.run --all --out records.jsonl",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(export_opts),
};
