/* gavel run: a distilabel pipeline file, start to end. */
#include "cli/pipeline.h"
#include "cli/progress.h"
#include "cli/talk.h"

#include <stdio.h>

typedef struct run_opts {
    pipeline_opts pipeline;
    model_opts model;
    opt_list models;
    const char *out, *repo_id;
    int64_t limit;
    bool dry_run, fresh, retry_failed, json, quiet;
} run_opts;

#define AT(field) offsetof(run_opts, field)

static const opt_def options[] = {
    CLI_OPTS_PIPELINE(run_opts, pipeline),
    {"model", 'm', OPT_LIST, AT(models), "[STEP=]MODEL", NULL, 0, 0,
     "Model file instead of the one that the pipeline names, for one step or for all", "Model"},
    {"limit", 'l', OPT_INT, AT(limit), "N", NULL, 1, 9e15, "Only the first N rows of each loading step", "Input and output"},
    {"out", 'o', OPT_STRING, AT(out), "FILE|DIR", NULL, 0, 0,
     "Output: .jsonl, .csv or .parquet, or a folder for a Distiset; the run's journal is OUT.run", NULL},
    {"repo-id", 0, OPT_STRING, AT(repo_id), "ORG/NAME", NULL, 0, 0, "Name of the data set's repository on the Hub, for its card", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL, NULL, 0, 0, "Judge one row of each loading step and write nothing", NULL},
    {"fresh", 0, OPT_FLAG, AT(fresh), NULL, NULL, 0, 0, "Start anew instead of continuing OUT.run", NULL},
    {"retry-failed", 0, OPT_FLAG, AT(retry_failed), NULL, NULL, 0, 0, "Judge again the rows of OUT.run that have no verdict", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines on standard error", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "Only warnings and errors", NULL},
    CLI_OPTS_ENGINE(run_opts, model),
    CLI_OPT_WEIGHTS_CACHE(run_opts, model),
    CLI_OPT_MAX_BATCH(run_opts, model),
    CLI_OPT_NO_PREFIX_CACHE(run_opts, model),
    {0},
};

static void put_statuses(const pipe_summary *sum, bool json, buf *out) {
    for (int s = JUDGMENT_UNPARSABLE; s <= JUDGMENT_ERROR; s++) {
        const unsigned long long n = sum->by_status[s];
        const char *name = judgment_status_name((judgment_status)s);
        if (json)
            buf_printf(out, ",\"%s\":%llu", name, n);
        else if (n)
            buf_printf(out, "%s%llu %s", out->n ? ", " : "", n, name);
    }
}

static void tell_result(const run_opts *o, const pipe_summary *sum) {
    const char *out = o->dry_run ? "dry run" : o->out;
    buf text = {0}, line = {0};
    put_statuses(sum, o->json, &text);
    if (o->json) {
        buf_add_str(&line, "{\"event\":\"result\",\"out\":");
        json_put_string(&line, sv_of(out));
        buf_printf(&line, ",\"rows\":%llu,\"judgments\":%llu,\"ok\":%llu" SV_FMT "}", (unsigned long long)sum->rows_out,
                   (unsigned long long)sum->judgments, (unsigned long long)sum->ok, SV_ARG(buf_view(&text)));
        talk_line(buf_view(&line));
    } else if (sum->failed) {
        talk_say("warning", "%s: %llu rows; %llu of %llu judgments have no verdict (%s); --retry-failed judges them again", out,
                 (unsigned long long)sum->rows_out, (unsigned long long)sum->failed, (unsigned long long)sum->judgments, text.p);
    } else if (!o->quiet) {
        talk_say("note", "%s: %llu rows, %llu judgments, all with a verdict", out, (unsigned long long)sum->rows_out,
                 (unsigned long long)sum->judgments);
    }
    buf_fini(&text);
    buf_fini(&line);
}

static int run_with(const run_opts *o, const pipeline *p) {
    gv_err err = GV_ERR_INIT;
    progress_view view;
    pipe_summary sum = {0};
    pipeline_talk talk = {o->json, o->quiet};
    progress_init(&view, o->json, o->quiet);
    const pipe_run_spec spec = {.datasets = o->pipeline.dataset.v,
                                .n_datasets = o->pipeline.dataset.n,
                                .models = o->models.v,
                                .n_models = o->models.n,
                                .model_path = cli_pipeline_model,
                                .model_path_ctx = &talk,
                                .engine = cli_lm_options(&o->model),
                                .out = o->dry_run ? NULL : o->out,
                                .repo_id = o->repo_id,
                                .limit = o->dry_run ? 1 : (uint64_t)o->limit,
                                .fresh = o->fresh,
                                .retry_failed = o->retry_failed,
                                .stop = &cli_signal,
                                .progress = progress_show,
                                .progress_ctx = &view};
    cli_stop_politely();
    const bool ok = pipe_run(p, &spec, &sum, &err);
    talk_clear_bar();
    int code = sum.failed ? EXIT_NO_VERDICT : EXIT_OK;
    if (ok) {
        tell_result(o, &sum);
    } else {
        if (err.code == GV_INTERRUPTED && o->out)
            talk_say("interrupted", "interrupted with %llu judgments made; they are in %s.run, and the same command continues",
                     (unsigned long long)sum.last.done, o->out);
        code = cli_fail(&err);
    }
    pipe_summary_fini(&sum);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    const run_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    int code = EXIT_OK;
    (void)n_args;
    if (o->json) talk_in_json();
    if (o->quiet) log_set(talk_log, LOG_WARN);
    if (o->json && o->quiet) gv_fail(&err, GV_USAGE, -1, "--json and --quiet exclude each other");
    if (o->fresh && o->retry_failed) gv_fail(&err, GV_USAGE, -1, "--fresh and --retry-failed exclude each other");
    if (!o->out && !o->dry_run)
        gv_fail(&err, GV_USAGE, -1, "no output given; add --out FILE.jsonl, --out FILE.parquet or --out DIR (a Distiset), or --dry-run");
    if (err.code != GV_OK) return cli_fail(&err);
    pipeline *p = cli_pipeline_open(args[0], &o->pipeline, true, &code);
    if (!p) return code;
    code = run_with(o, p);
    pipe_free(p);
    return code;
}

const opt_command command_run = {
    .name = "run",
    .args = "PIPELINE",
    .summary = "Run a distilabel pipeline file",
    .detail = "Runs a file of distilabel's Pipeline.save() (.yaml, .yml or .json, versions 1.0 to 1.5) without Python: loads the rows, "
              "judges them as "
              "PrometheusEval does, and writes what comes out of the last step, with distilabel's columns in distilabel's order. Steps: "
              "LoadDataFromHub, LoadDataFromDicts, LoadDataFromFileSystem, LoadDataFromDisk, PrometheusEval, KeepColumns, GroupColumns, "
              "CombineOutputs, ExpandColumns. What differs from distilabel on purpose is listed in docs/distilabel.md.\n\n"
              "The LLMs vLLM, TransformersLLM and LlamaCppLLM run in gavel's engine; their model is the file that --model or "
              "--param STEP.llm.model=FILE names.\n\n"
              "Each judgment is at once in the journal OUT.run. The same command continues an interrupted run; changed rows, parameters "
              "or models "
              "are refused with the difference named.\n\n"
              "Exit codes: 0 all judgments have a verdict; 1 failed; 2 wrong usage; 3 finished, some without a verdict; 130 or 143 "
              "interrupted by "
              "SIGINT or SIGTERM, resumable.",
    .example =
        "gavel run pipeline.yaml --model prometheus.gguf --dataset rows.jsonl --out verdicts.jsonl\n"
        "gavel run pipeline.yaml --model prometheus.gguf --param task.llm.generation_kwargs.max_new_tokens=1024 --out verdicts.jsonl\n"
        "gavel run pipeline.yaml --model prometheus.gguf --dataset rows.jsonl --dry-run",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(run_opts),
};
