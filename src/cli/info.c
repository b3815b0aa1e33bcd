/* gavel info: what a pipeline file holds. */
#include "cli/pipeline.h"
#include "cli/talk.h"

#include <stdio.h>

typedef struct info_opts {
    pipeline_opts pipeline;
} info_opts;

static const opt_def options[] = {
    CLI_OPTS_PIPELINE(info_opts, pipeline),
    {0},
};

static int run(int n_args, const char **args, const void *opts) {
    const info_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    buf text = {0};
    int code = EXIT_OK;
    (void)n_args;
    pipeline *p = cli_pipeline_open(args[0], &o->pipeline, false, &code);
    if (!p) return code;
    pipe_describe(p, &text);
    const bool ok = (fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0) || gv_fail_errno(&err, "standard output");
    buf_fini(&text);
    pipe_free(p);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_info = {
    .name = "info",
    .args = "PIPELINE",
    .summary = "Show a distilabel pipeline file",
    .detail = "Prints name, description, and for each step its class, the parameters that are set (after --param) and where its rows go. "
              "Every name "
              "shown can be set with --param.",
    .example = "gavel info pipeline.yaml\n"
               "gavel info pipeline.yaml --param task.num_generations=3",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(info_opts),
};
