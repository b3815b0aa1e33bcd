/* What the commands over pipeline files share: options, and opening of the file. */
#ifndef GAVEL_CLI_PIPELINE_H
#define GAVEL_CLI_PIPELINE_H

#include "cli/commands.h"
#include "pipe/run_pipe.h"

typedef struct pipeline_opts {
    opt_list param, dataset;
} pipeline_opts;

#define CLI_OPTS_PIPELINE(type, at)                                                                                                        \
    {"param",                                                                                                                              \
     0,                                                                                                                                    \
     OPT_LIST,                                                                                                                             \
     offsetof(type, at.param),                                                                                                             \
     "STEP.NAME=VALUE",                                                                                                                    \
     NULL,                                                                                                                                 \
     0,                                                                                                                                    \
     0,                                                                                                                                    \
     "Set a parameter of a step, such as task.llm.generation_kwargs.temperature=0.7; VALUE is JSON, or text; objects are merged",          \
     "Pipeline"},                                                                                                                          \
    {                                                                                                                                      \
        "dataset", 0, OPT_LIST, offsetof(type, at.dataset), "[STEP=]DATA", NULL, 0, 0,                                                     \
            "Rows instead of what a loading step would load: a file, a folder, or hf://datasets/ORG/NAME", NULL                            \
    }

/* The file with its parameters put in and checked; NULL, and the message said, on failure.  From here on signals are polite. */
pipeline *cli_pipeline_open(const char *path, const pipeline_opts *o, bool check, int *code);

/* --config and --split choose rows of --dataset only. */
bool cli_check_data(const pipeline_opts *o, const data_opts *d, gv_err *err) GV_MUST_USE;

/* pipe_run_spec.model_path: models of the Hub are fetched.  ctx: a pipeline_talk. */
typedef struct pipeline_talk {
    bool json, quiet;
} pipeline_talk;
bool cli_pipeline_model(void *ctx, const char *model, char **path, gv_err *err);

#endif
