/* gavel validate: is a pipeline file one that gavel runs?  Also opens pipelines for the other commands. */
#include "cli/pipeline.h"
#include "cli/talk.h"
#include "cli/transfer.h"
#include "judge/warn.h"

#include <stdlib.h>

pipeline *cli_pipeline_open(const char *path, const pipeline_opts *o, bool check, int *code) {
    gv_err err = GV_ERR_INIT;
    cli_stop_politely();
    pipeline *p = pipe_load(path, o->param.v, o->param.n, &cli_signal, &err);
    if (p && (!check || pipe_check(p, o->dataset.n > 0, &err))) return p;
    *code = cli_fail(&err);
    pipe_free(p);
    return NULL;
}

bool cli_check_data(const pipeline_opts *o, const data_opts *d, gv_err *err) {
    return o->dataset.n || (!d->config && !d->split) ||
           gv_fail(err, GV_USAGE, -1,
                   "--config and --split choose rows of --dataset; those of a loading step are set by --param STEP.split=NAME");
}

bool cli_pipeline_model(void *ctx, const char *model, char **path, gv_err *err) {
    const pipeline_talk *t = ctx;
    return cli_model_path(model, HUB_WEIGHTS, t->json, t->quiet, path, err);
}

typedef struct validate_opts {
    pipeline_opts pipeline;
} validate_opts;

static const opt_def options[] = {
    CLI_OPTS_PIPELINE(validate_opts, pipeline),
    {0},
};

/* A model that lies here or in the Hub's cache; nothing is fetched. */
static const known_model *find_known(const char *model) {
    gv_err ignored = GV_ERR_INIT;
    char *path = NULL;
    hub *h = hub_is_ref(model) ? hub_open(&(hub_options){.offline = true}, &ignored) : NULL;
    const bool cached = h && hub_model_path(h, model, HUB_TOKENIZER, NULL, NULL, &path, &ignored);
    const known_model *k = h && !cached ? NULL : known_model_at(cached ? path : model);
    hub_close(h);
    free(path);
    return k;
}

/* What is known to hurt; p is checked. */
static void warn_of_steps(const pipeline *p) {
    gv_err ignored = GV_ERR_INIT;
    arena a;
    arena_init(&a);
    for (size_t i = 0; i < p->n_steps; i++) {
        pipe_judge j;
        if (p->steps[i].kind != PIPE_JUDGE || !pipe_judge_read(&p->steps[i], &a, &j, &ignored)) continue;
        pipe_warn_of_tokens(&p->steps[i], &j);
        if (j.llm.kind != PIPE_OPENAI && j.llm.kind != PIPE_CLIENT_VLLM) warn_of_settings(find_known(j.llm.model), &j.prompt, 0);
    }
    arena_fini(&a);
}

static int run(int n_args, const char **args, const void *opts) {
    const validate_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    int code = EXIT_OK;
    (void)n_args;
    pipeline *p = cli_pipeline_open(args[0], &o->pipeline, true, &code);
    if (!p) return code;
    pipe_summary sum = {0};
    const pipe_run_spec spec = {.datasets = o->pipeline.dataset.v, .n_datasets = o->pipeline.dataset.n};
    const bool here = o->pipeline.dataset.n > 0 || pipe_has_rows_here(p);
    if (here && pipe_survey(p, &spec, &sum, &err)) {
        talk_say("note", "%s: %zu steps, %llu rows, %llu judgments; every column arrives", args[0], p->n_steps,
                 (unsigned long long)sum.rows_in, (unsigned long long)sum.planned);
        if (sum.untyped.code != GV_OK)
            talk_say("warning", "%s; a Distiset and .parquet cannot store that, .jsonl and .csv can", sum.untyped.msg);
    } else if (here && (sum.loaded || o->pipeline.dataset.n > 0)) {
        code = cli_fail(&err);
    } else {
        talk_say("note",
                 "%s: %zu steps; each is one that gavel runs. No row was loaded, so its columns were not looked at; --dataset FILE does "
                 "that%s%s",
                 args[0], p->n_steps, here ? "; its own cannot be read here: " : "", here ? err.msg : "");
    }
    if (code == EXIT_OK) warn_of_steps(p);
    pipe_summary_fini(&sum);
    pipe_free(p);
    return code;
}

const opt_command command_validate = {
    .name = "validate",
    .args = "PIPELINE",
    .summary = "Check a distilabel pipeline file",
    .detail =
        "Reads a file of distilabel's Pipeline.save() (.yaml, .yml or .json, versions 1.0 to 1.5) and checks everything that can be known "
        "before rows are read: classes, arguments, rubrics, connections. With --dataset, or if the pipeline's rows lie in files here, also "
        "what "
        "gavel run checks before it judges: that each step's columns arrive, that lists and joins fit, and whether each column has one "
        "type, "
        "as a Distiset needs.\n\n"
        "Exit codes: 0 it can be run; 1 it cannot, or the file is broken; 2 wrong usage.",
    .example = "gavel validate pipeline.yaml\n"
               "gavel validate pipeline.yaml --dataset rows.jsonl",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(validate_opts),
};
