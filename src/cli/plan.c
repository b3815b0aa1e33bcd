/* gavel plan: what a pipeline would cost, from its first rows judged for real. */
#include "cli/pipeline.h"
#include "cli/talk.h"

#include <stdio.h>
#include <sys/resource.h>

typedef struct plan_opts {
    pipeline_opts pipeline;
    model_opts model;
    data_opts data;
    opt_list models;
    int64_t sample;
} plan_opts;

#define AT(field) offsetof(plan_opts, field)

static const opt_def options[] = {
    CLI_OPTS_PIPELINE(plan_opts, pipeline),
    CLI_OPTS_DATA(plan_opts, data),
    {"model", 'm', OPT_LIST, AT(models), "[STEP=]MODEL", NULL, 0, 0,
     "Model file instead of the one that the pipeline names, for one step or for all", "Model"},
    {"sample", 0, OPT_INT, AT(sample), "N", NULL, 0, 100000,
     "Rows to judge for the estimate; 0: count rows and judgments without a model (default: 8)", "Estimate"},
    CLI_OPTS_ENGINE(plan_opts, model),
    CLI_OPT_WEIGHTS_CACHE(plan_opts, model),
    CLI_OPT_MAX_BATCH(plan_opts, model),
    {0},
};

static void defaults(void *opts) {
    ((plan_opts *)opts)->sample = 8;
}

static void put_time(double seconds, buf *out) {
    if (seconds < 120)
        buf_printf(out, "%.0f s", seconds);
    else if (seconds < 7200)
        buf_printf(out, "%.0f min", seconds / 60);
    else
        buf_printf(out, "%.1f h", seconds / 3600);
}

/* Extrapolates each judging step: its time and tokens a judgment, times how many there will be. */
static void put_estimate(const pipe_summary *all, const pipe_summary *few, buf *out) {
    const double factor = few->judgments ? (double)all->planned / (double)few->judgments : 0; /* 0: only counted */
    double seconds = 0;
    struct rusage use;
    buf_printf(out, "rows loaded\t%llu\nrows written\t%llu\njudgments\t%llu\n", (unsigned long long)all->rows_in,
               (unsigned long long)all->planned_rows, (unsigned long long)all->planned);
    if (!few->judgments) return;
    buf_printf(out, "judged for the estimate\t%llu, %llu with a verdict\n", (unsigned long long)few->judgments,
               (unsigned long long)few->ok);
    for (size_t i = 0; i < few->n_judges; i++) {
        const pipe_judge_summary *j = &few->judges[i];
        const double n = j->judgments ? (double)j->judgments : 1, s = (double)j->elapsed_us / 1e6;
        seconds += s * factor;
        buf_printf(out, "step %s\t%.0f prompt tokens (%.0f of them shared), %.0f answer tokens, %.2f s a judgment\n", j->step,
                   (double)j->prompt_tokens / n, (double)j->cached_tokens / n, (double)j->output_tokens / n, s / n);
        buf_printf(out, "step %s in all\t%.0f prompt tokens, %.0f answer tokens\n", j->step, (double)j->prompt_tokens * factor,
                   (double)j->output_tokens * factor);
    }
    buf_add_str(out, "time\t");
    put_time(seconds, out);
    buf_add_str(out, " at the rate of the rows judged, without loading the model\n");
    if (getrusage(RUSAGE_SELF, &use) == 0)
        buf_printf(out, "memory\t%.1f GiB (peak of the rows judged)\n", (double)use.ru_maxrss / (1 << 20));
}

static int run(int n_args, const char **args, const void *opts) {
    const plan_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    int code = EXIT_OK;
    buf text = {0};
    (void)n_args;
    if (!cli_check_data(&o->pipeline, &o->data, &err)) return cli_fail(&err);
    pipeline *p = cli_pipeline_open(args[0], &o->pipeline, true, &code);
    if (!p) return code;
    pipe_summary all = {0}, few = {0};
    pipeline_talk talk = {false, true};
    pipe_run_spec spec = {.datasets = o->pipeline.dataset.v,
                          .n_datasets = o->pipeline.dataset.n,
                          .config = o->data.config,
                          .split = o->data.split,
                          .models = o->models.v,
                          .n_models = o->models.n,
                          .model_path = cli_pipeline_model,
                          .model_path_ctx = &talk,
                          .engine = cli_lm_options(&o->model),
                          .stop = &cli_signal};
    bool ok = pipe_survey(p, &spec, &all, &err);
    spec.limit = (uint64_t)o->sample;
    ok = ok && (o->sample == 0 || pipe_run(p, &spec, &few, &err));
    if (ok) {
        put_estimate(&all, &few, &text);
        ok = (fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0) || gv_fail_errno(&err, "standard output");
    }
    buf_fini(&text);
    pipe_summary_fini(&all);
    pipe_summary_fini(&few);
    pipe_free(p);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_plan = {
    .name = "plan",
    .args = "PIPELINE",
    .summary = "Estimate rows, tokens, time and memory of a pipeline",
    .detail = "Loads the rows, judges the first of them (--sample) with the model that would judge all, and prints what the whole run "
              "would take: rows, "
              "judgments, prompt and answer tokens, time at the rate just measured, memory. With --sample 0 only rows and judgments, and "
              "no model is needed. Nothing is written.",
    .example = "gavel plan pipeline.yaml --model prometheus.gguf --dataset rows.jsonl\n"
               "gavel plan pipeline.yaml --model prometheus.gguf --dataset rows.jsonl --sample 32",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(plan_opts),
    .defaults = defaults,
};
