/* gavel run: a distilabel pipeline file, start to end. */
#include "cli/pipeline.h"
#include "cli/progress.h"
#include "cli/run_push.h"
#include "cli/talk.h"

#include <stdlib.h>

typedef struct run_opts {
    pipeline_opts pipeline;
    model_opts model;
    data_opts data;
    opt_list models;
    const char *out, *repo_id, *message;
    char *folder; /* without --out: named like the repository */
    int64_t limit;
    bool make_private, dry_run, fresh, retry_failed, json, quiet;
} run_opts;

#define AT(field) offsetof(run_opts, field)

static const opt_def options[] = {
    CLI_OPTS_PIPELINE(run_opts, pipeline),
    CLI_OPTS_DATA(run_opts, data),
    {"model", 'm', OPT_LIST, AT(models), "[STEP=]MODEL", NULL, 0, 0,
     "Model file instead of the one that the pipeline names, for one step or for all", "Model"},
    {"limit", 'l', OPT_INT, AT(limit), "N", NULL, 1, 9e15, "Only the first N rows of each loading step", "Input and output"},
    {"out", 'o', OPT_STRING, AT(out), "FILE|DIR", NULL, 0, 0,
     "Output: .jsonl, .json, .csv, .tsv (also .gz, .zst), .parquet, or a folder for a Distiset; the run's journal is OUT.run", NULL},
    {"repo-id", 0, OPT_STRING, AT(repo_id), "[ORG/]NAME[@BRANCH]", NULL, 0, 0,
     "Push the Distiset to this repository of the Hub, in one commit (without --out its folder is NAME)", NULL},
    {"commit-message", 0, OPT_STRING, AT(message), "TEXT", NULL, 0, 0, "With --repo-id: of the commit (default: Upload with gavel)", NULL},
    {"private", 0, OPT_FLAG, AT(make_private), NULL, NULL, 0, 0,
     "With --repo-id: make a private repository; one that is there and public is refused", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL, NULL, 0, 0,
     "Check all rows, judge one of each loading step, and write nothing; with --repo-id also print what would be pushed", NULL},
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

/* NAME of [ORG/]NAME[@BRANCH] (free it). */
static char *name_of(const char *repo_id) {
    sv name = {repo_id, strcspn(repo_id, "@")};
    for (size_t slash; (slash = sv_find(name, SV("/"), 0)) != SIZE_MAX;) name = sv_sub(name, slash + 1, name.n);
    buf out = {0};
    buf_add_sv(&out, name);
    buf_add_char(&out, 0);
    return out.p;
}

/* Where the rows go: without --out the folder has the name of the repository.  NULL: nowhere. */
static const char *out_of(const run_opts *o) {
    return o->dry_run ? NULL : o->out ? o->out : o->folder;
}

static void tell_result(const run_opts *o, const pipe_summary *sum) {
    const char *out = o->dry_run ? "dry run" : out_of(o);
    buf text = {0}, line = {0};
    cli_put_statuses(sum->by_status, o->json, &text);
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

/* Before the one row of a dry run: all that a run checks of all rows before it judges. */
static bool check_all(const run_opts *o, const pipeline *p, pipe_run_spec spec, gv_err *err) {
    pipe_summary sum = {0};
    spec.out = o->out ? o->out : o->repo_id;
    spec.limit = (uint64_t)o->limit;
    const bool ok = pipe_survey(p, &spec, &sum, err);
    if (ok && sum.untyped.code != GV_OK)
        talk_say("warning", "%s; a Distiset and .parquet cannot store that, .jsonl and .csv can", sum.untyped.msg);
    pipe_summary_fini(&sum);
    return ok;
}

/* push: NULL if nothing is pushed. */
static int run_with(const run_opts *o, const pipeline *p, run_push *push) {
    gv_err err = GV_ERR_INIT;
    progress_view view;
    pipe_summary sum = {0};
    pipeline_talk talk = {o->json, o->quiet};
    progress_init(&view, o->json, o->quiet);
    const pipe_run_spec spec = {.datasets = o->pipeline.dataset.v,
                                .n_datasets = o->pipeline.dataset.n,
                                .config = o->data.config,
                                .split = o->data.split,
                                .models = o->models.v,
                                .n_models = o->models.n,
                                .model_path = cli_pipeline_model,
                                .model_path_ctx = &talk,
                                .engine = cli_lm_options(&o->model),
                                .out = out_of(o),
                                .repo_id = push ? push->repo.id : NULL,
                                .readme = push ? run_push_readme : NULL,
                                .readme_ctx = push,
                                .limit = o->dry_run ? 1 : (uint64_t)o->limit,
                                .fresh = o->fresh,
                                .retry_failed = o->retry_failed,
                                .stop = &cli_signal,
                                .progress = progress_show,
                                .progress_ctx = &view};
    const bool ok = (!o->dry_run || check_all(o, p, spec, &err)) && pipe_run(p, &spec, &sum, &err);
    talk_clear_bar();
    int code = sum.failed ? EXIT_NO_VERDICT : EXIT_OK;
    if (ok) {
        tell_result(o, &sum);
        const int pushed = !push ? EXIT_OK : o->dry_run ? run_push_plan(push, p) : run_push_send(push, p, out_of(o));
        if (pushed != EXIT_OK) code = pushed;
    } else {
        if (err.code == GV_INTERRUPTED && out_of(o))
            talk_say("interrupted", "interrupted with %llu judgments made; they are in %s.run, and the same command continues",
                     (unsigned long long)sum.last.done, out_of(o));
        code = cli_fail(&err);
    }
    pipe_summary_fini(&sum);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    run_opts own = *(const run_opts *)opts;
    const run_opts *o = &own;
    gv_err err = GV_ERR_INIT;
    int code = EXIT_OK;
    (void)n_args;
    if (o->repo_id) own.folder = name_of(o->repo_id);
    if (o->json) talk_in_json();
    if (o->quiet) log_set(talk_log, LOG_WARN);
    if (o->json && o->quiet) gv_fail(&err, GV_USAGE, -1, "--json and --quiet exclude each other");
    if (o->fresh && o->retry_failed) gv_fail(&err, GV_USAGE, -1, "--fresh and --retry-failed exclude each other");
    if (o->message && !o->repo_id) gv_fail(&err, GV_USAGE, -1, "--commit-message is of the commit that --repo-id pushes; give that too");
    if (o->make_private && !o->repo_id) gv_fail(&err, GV_USAGE, -1, "--private says how --repo-id pushes; give that too");
    if (!o->out && !o->repo_id && !o->dry_run)
        gv_fail(&err, GV_USAGE, -1,
                "no output given; add --out FILE.jsonl, --out FILE.parquet or --out DIR (a Distiset), --repo-id ORG/NAME, or --dry-run");
    if (o->repo_id && out_of(o) && pipe_is_file(out_of(o)))
        gv_fail(&err, GV_USAGE, -1, "--repo-id pushes a Distiset, and %s would be a file; give a folder with --out", out_of(o));
    pipeline *p =
        err.code == GV_OK && cli_check_data(&o->pipeline, &o->data, &err) ? cli_pipeline_open(args[0], &o->pipeline, true, &code) : NULL;
    if (!p) {
        free(own.folder);
        return err.code == GV_OK ? code : cli_fail(&err);
    }
    run_push push = {.make_private = o->make_private, .message = o->message, .json = o->json, .quiet = o->quiet, .err = GV_ERR_INIT};
    if (o->repo_id && !run_push_open(&push, o->repo_id, &err))
        code = cli_fail(&err);
    else
        code = run_with(o, p, o->repo_id ? &push : NULL);
    run_push_close(&push);
    pipe_free(p);
    free(own.folder);
    return code;
}

const opt_command command_run = {
    .name = "run",
    .args = "PIPELINE",
    .summary = "Run a distilabel pipeline file",
    .detail =
        "Runs a file of distilabel's Pipeline.save() (.yaml, .yml or .json, versions 1.0 to 1.5) without Python: loads the rows, "
        "judges them as "
        "PrometheusEval does, and writes what comes out of the last step, with distilabel's columns in distilabel's order. Steps: "
        "LoadDataFromHub, LoadDataFromDicts, LoadDataFromFileSystem, LoadDataFromDisk, PrometheusEval, KeepColumns, GroupColumns, "
        "CombineOutputs, ExpandColumns. What differs from distilabel on purpose is listed in docs/distilabel.md.\n\n"
        "The LLMs vLLM, TransformersLLM and LlamaCppLLM run in gavel's engine; their model is the file that --model or "
        "--param STEP.llm.model=FILE names. OpenAILLM and ClientvLLM ask their server. PIPELINE is a file, a URL (https://HOST/PATH, also "
        "http), "
        "or hf://datasets/ORG/NAME[@REV]/FILE; only the Hub's own host (HF_ENDPOINT) gets its token (HF_TOKEN), for private "
        "repositories.\n\n"
        "Each judgment is at once in the journal OUT.run. The same command continues an interrupted run; changed rows, parameters "
        "or models "
        "are refused with the difference named.\n\n"
        "--repo-id ORG/NAME pushes the Distiset when it is whole, in one commit, as gavel push does (HF_TOKEN, HF_ENDPOINT): token and "
        "repository are looked at before rows are judged, metadata of its README.md is kept, shards of an earlier push of the same "
        "configs are deleted. Prints the commit. If the push fails, the same command pushes again; nothing is judged twice.\n\n"
        "Exit codes: 0 all judgments have a verdict; 1 failed; 2 wrong usage; 3 finished, some without a verdict; 130 or 143 "
        "interrupted by "
        "SIGINT or SIGTERM, resumable.",
    .example =
        "gavel run pipeline.yaml --model prometheus.gguf --dataset rows.jsonl --out verdicts.jsonl\n"
        "gavel run pipeline.yaml --model prometheus.gguf --param task.llm.generation_kwargs.max_new_tokens=1024 --out verdicts.jsonl\n"
        "gavel run https://huggingface.co/datasets/ORG/NAME/raw/main/pipeline.yaml --model prometheus.gguf --out verdicts.jsonl\n"
        "gavel run pipeline.yaml --model prometheus.gguf --dataset hf://datasets/ORG/NAME --split 'test[:10%]' --out verdicts.jsonl\n"
        "gavel run pipeline.yaml --model prometheus.gguf --dataset rows.jsonl --dry-run\n"
        "gavel run pipeline.yaml --model prometheus.gguf --repo-id ORG/judged --private",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(run_opts),
};
