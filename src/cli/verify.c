/* gavel verify: rows of a run judged again, and whether the bytes are the same. */
#include "judge/verify.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/progress.h"
#include "cli/talk.h"
#include "cli/transfer.h"

#include <stdlib.h>

typedef struct verify_opts {
    model_opts model;
    const char *input;
    int64_t rows;
    bool quiet;
} verify_opts;

static void defaults(void *opts) {
    ((verify_opts *)opts)->rows = 20;
}

#define AT(field) offsetof(verify_opts, field)

static const opt_def options[] = {
    {"rows", 0, OPT_INT, AT(rows), "N", NULL, 1, 9e15, "Rows to judge again, the same ones every time (default: 20)", "Verifying"},
    {"input", 'i', OPT_STRING, AT(input), "FILE", NULL, 0, 0, "Where the run's input lies now (default: where it was)", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "Only the result, warnings and errors", NULL},
    CLI_OPT_MODEL(verify_opts, model, "Where the run's model lies now (default: where it was)"),
    CLI_OPT_TEMPLATE(verify_opts, model),
    CLI_OPT_THREADS(verify_opts, model),
    CLI_OPT_KERNELS(verify_opts, model),
    CLI_OPT_MEMORY(verify_opts, model),
    CLI_OPT_PROMPT_CHUNK(verify_opts, model),
    CLI_OPT_WEIGHTS_CACHE(verify_opts, model),
    CLI_OPT_MAX_BATCH(verify_opts, model),
    CLI_OPT_NO_PREFIX_CACHE(verify_opts, model),
    {0},
};

static void print_line(void *ctx, const char *line) {
    buf out = {0};
    bool *printed = ctx;
    talk_clear_bar();
    buf_printf(&out, "%s\n", line);
    *printed = lines_print(&out) && *printed;
    buf_fini(&out);
}

static lm *open_model(const verify_opts *o, const verify_needs *needs, const char *run_path, gv_err *err) {
    lm_options lo = cli_lm_options(&o->model);
    if (!lo.model) lo.model = needs->model_path;
    if (!lo.chat_template) lo.chat_template = needs->chat_template;
    lo.kv = needs->kv;
    lo.weights = needs->weights;
    lo.ctx = needs->ctx;
    lo.name = needs->name; /* whether it is the same model is a matter of its digest */
    if (lo.model) {
        char *path = NULL;
        lm *model = NULL;
        if (cli_model_path(lo.model, HUB_WEIGHTS, false, o->quiet, &path, err)) {
            lo.model = path;
            model = lm_open(&lo, err);
        }
        free(path);
        return model;
    }
    gv_fail(err, GV_USAGE, -1, "%s does not say where its model lay; add --model FILE.gguf or FOLDER", run_path);
    return NULL;
}

static bool compare(const verify_opts *o, verify *v, const char *run_path, verify_result *result, bool *printed, gv_err *err) {
    progress_view view;
    verify_options vo = {.input = o->input, .n_rows = (uint64_t)o->rows, .stop = &cli_signal, .progress = progress_show};
    lm *model = open_model(o, verify_get_needs(v), run_path, err);
    if (!model) return false;
    progress_init(&view, false, o->quiet);
    vo.progress_ctx = &view;
    vo.differs = print_line;
    vo.differs_ctx = printed;
    cli_stop_politely();
    const bool ok = verify_rows(v, model, &vo, result, err);
    talk_clear_bar();
    lm_free(model);
    return ok;
}

static int run(int n_args, const char **args, const void *opts) {
    const verify_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    verify_result r;
    bool printed = true;
    (void)n_args;
    if (o->quiet) log_set(talk_log, LOG_WARN);
    verify *v = verify_open(args[0], &err);
    const bool ok = v && compare(o, v, args[0], &r, &printed, &err);
    verify_close(v);
    if (!ok) return cli_fail(&err);
    buf line = {0};
    buf_printf(&line, "%llu of %llu rows judged again, %llu judgments: ", (unsigned long long)r.rows, (unsigned long long)r.rows_in_run,
               (unsigned long long)r.judgments);
    if (r.different)
        buf_printf(&line, "%llu different", (unsigned long long)r.different);
    else
        buf_add_str(&line, "all equal");
    print_line(&printed, line.p);
    buf_fini(&line);
    return r.different == 0 && lines_flush() && printed ? EXIT_OK : EXIT_FAILED;
}

const opt_command command_verify = {
    .name = "verify",
    .args = "RUN",
    .summary = "Judge rows of a run again and compare every byte",
    .detail =
        "RUN is the journal OUT.run of a finished or interrupted run. Some of its rows are judged again with the run's own settings, input "
        "and "
        "model; each answer's text, status and verdict must be the journal's. Results do not depend on kernels, threads, batches, chunks, "
        "shared prefixes or memory, so these may be chosen freely.\n\n"
        "It is refused, with both sides named, if the input, the model file, the numerics id or another setting is not the run's. Exit "
        "codes: 0 all equal; 1 something differs, and it is printed, or the command failed; 2 wrong usage.",
    .example = "gavel verify verdicts.jsonl.run\ngavel verify verdicts.jsonl.run --rows 100 --kernels ref --threads 1",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(verify_opts),
    .defaults = defaults,
};
