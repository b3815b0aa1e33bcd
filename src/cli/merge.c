/* gavel merge: the weights of several models as one, by a recipe. */
#include "weights/merge.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/talk.h"
#include "cli/transfer.h"

#include <unistd.h>

typedef struct merge_opts {
    int64_t threads, seed, shard;
    bool json, quiet;
} merge_opts;

#define AT(field) offsetof(merge_opts, field)

static const opt_def options[] = {
    {"seed", 0, OPT_INT, AT(seed), "N", NULL, 0, 9007199254740992.0, "Seed of the masks of dare_ties and dare_linear (default: 0)",
     "Merging"},
    {"max-shard", 0, OPT_SIZE, AT(shard), "SIZE", NULL, 0, 0, "Most tensor bytes of one file, such as 2G (default: 5,000,000,000)", NULL},
    {"threads", 't', OPT_INT, AT(threads), "N", NULL, 1, 1024, "Threads (default: all usable cores); results do not depend on it", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "No progress", NULL},
    {0},
};

typedef struct view {
    const merge_opts *o;
    bool bar;
    int64_t start_us;
} view;

static bool locate(void *ctx, const char *model, char **path, gv_err *err) {
    const view *v = ctx;
    return cli_find_model(model, HUB_FOLDER, v->o->json, v->o->quiet, path, err);
}

static bool show(void *ctx, const merge_progress *p) {
    const view *v = ctx;
    const double seconds = (double)(clock_mono_us() - v->start_us) * 1e-6,
                 share = p->n_bytes ? (double)p->done_bytes / (double)p->n_bytes : 1;
    buf line = {0};
    if (!p->name) {
        if (v->bar) buf_add_str(&line, "hashing the inputs");
    } else if (v->o->json) {
        buf_printf(&line, "{\"event\":\"tensor\",\"tensor\":%zu,\"tensors\":%zu,\"name\":", p->tensor, p->n_tensors);
        json_put_string(&line, sv_of(p->name));
        buf_add_char(&line, '}');
    } else if (v->bar) {
        buf_printf(&line, "%3.0f %%  %zu/%zu  %s  %.0f s left", 100 * share, p->tensor, p->n_tensors, p->name,
                   share > 0 ? seconds * (1 - share) / share : 0);
    } else if (!v->o->quiet) {
        buf_printf(&line, "%zu/%zu %s", p->tensor, p->n_tensors, p->name);
    }
    if (line.n && v->bar)
        talk_bar(buf_view(&line));
    else if (line.n)
        talk_line(buf_view(&line));
    buf_fini(&line);
    return cli_signal == 0;
}

static int run(int n_args, const char **args, const void *opts) {
    const merge_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    view v = {.o = o, .bar = !o->json && !o->quiet && isatty(STDERR_FILENO), .start_us = clock_mono_us()};
    merge_stats stats;
    (void)n_args;
    if (o->json) talk_in_json();
    cli_stop_politely();
    pool *threads = pool_new(o->threads > 0 ? (int)o->threads : cpu_count(), &err);
    const merge_options m = {.recipe = args[0],
                             .out = args[1],
                             .seed = (uint64_t)o->seed,
                             .max_shard_bytes = (uint64_t)o->shard,
                             .threads = threads,
                             .locate = locate,
                             .progress = show,
                             .ctx = &v};
    const bool ok = threads && weights_merge(&m, &stats, &err);
    if (v.bar) talk_clear_bar();
    if (ok)
        talk_say("done", "%s: %zu tensors of %zu models, %llu MiB, %.1f s", args[1], stats.n_tensors, stats.n_models,
                 (unsigned long long)(stats.bytes >> 20), (double)(clock_mono_us() - v.start_us) * 1e-6);
    pool_free(threads);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_merge = {
    .name = "merge",
    .args = "RECIPE.yaml OUT",
    .summary = "Merge the weights of models by a recipe",
    .detail =
        "The recipe has mergekit's keys: merge_method (linear, slerp, task_arithmetic, ties, dare_ties, dare_linear), models or slices "
        "with weight and density, "
        "base_model, parameters, dtype. Models are Hugging Face folders or ORG/NAME of the Hub, with equal vocabularies and shapes. "
        "OUT becomes such a "
        "folder; it appears when it is complete; its README.md has the recipe and the SHA-256 of every input file.",
    .example = "gavel merge examples/merge-prometheus-2-7b.yaml prometheus-2-7b",
    .opts = options,
    .min_args = 2,
    .max_args = 2,
    .run = run,
    .opts_size = sizeof(merge_opts),
    .defaults = NULL,
};
