/* gavel quantize: a model with smaller weights, as one GGUF file. */
#include "weights/quantize.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/talk.h"
#include "cli/transfer.h"
#include "weights/calibrate.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct quantize_opts {
    const char *type, *imatrix, *calibrate, *kernels;
    bool requantize, json, quiet;
    int64_t threads, ctx;
} quantize_opts;

#define AT(field) offsetof(quantize_opts, field)

static const opt_def options[] = {
    {"type", 0, OPT_STRING, AT(type), "TYPE", NULL, 0, 0,
     "q8_0, q6_k, q5_k, q4_k: that type, the output finer; q5_k_m, q4_k_m (and _s): more bits where llama-quantize gives them; q5_0, q5_1, "
     "q4_0, "
     "q4_1; bf16, f16, f32",
     "Quantisation"},
    {"imatrix", 0, OPT_STRING, AT(imatrix), "FILE", NULL, 0, 0, "Importance of inputs: a GGUF file of llama-imatrix's form", NULL},
    {"calibrate", 0, OPT_STRING, AT(calibrate), "PROMPTS", NULL, 0, 0,
     "Instead of quantising, measure the importance of inputs over the prompts of a gavel render file; OUT is then for --imatrix", NULL},
    {"ctx", 0, OPT_INT, AT(ctx), "N", NULL, 32, 1048576, "Tokens of each prompt that --calibrate reads (default: 2048)", NULL},
    {"requantize", 0, OPT_FLAG, AT(requantize), NULL, NULL, 0, 0, "Quantise weights that are quantised already", NULL},
    {"threads", 't', OPT_INT, AT(threads), "N", NULL, 1, 1024, "Threads (default: all usable cores)", NULL},
    {"kernels", 0, OPT_CHOICE, AT(kernels), "SET", "ref|avx2|avxvnni|avx512|amx|neon", 0, 0,
     "Instruction set of --calibrate (default: the fastest this CPU has); results do not depend on it", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "No progress", NULL},
    {0},
};

typedef struct progress {
    const quantize_opts *o;
    bool bar;
    int64_t start_us;
} progress;

static bool show(void *ctx, const quantize_progress *p) {
    const progress *v = ctx;
    const double seconds = (double)(clock_mono_us() - v->start_us) * 1e-6,
                 share = p->n_bytes ? (double)p->done_bytes / (double)p->n_bytes : 1;
    buf line = {0};
    if (v->o->json)
        buf_printf(&line, "{\"event\":\"tensor\",\"tensor\":%zu,\"tensors\":%zu,\"name\":\"%s\",\"from\":\"%s\",\"to\":\"%s\"}", p->tensor,
                   p->n_tensors, p->name, p->from, p->to);
    else if (v->bar)
        buf_printf(&line, "%3.0f %%  %zu/%zu  %s  %s -> %s  %.0f s left", 100 * share, p->tensor, p->n_tensors, p->name, p->from, p->to,
                   share > 0 ? seconds * (1 - share) / share : 0);
    else if (!v->o->quiet)
        buf_printf(&line, "%zu/%zu %s %s -> %s", p->tensor, p->n_tensors, p->name, p->from, p->to);
    if (v->bar)
        talk_bar(buf_view(&line));
    else if (line.n)
        talk_line(buf_view(&line));
    buf_fini(&line);
    return cli_signal == 0;
}

static bool quantise(const quantize_opts *o, const char **args, pool *threads, quantize_stats *stats, gv_err *err) {
    progress v = {.o = o, .bar = !o->json && !o->quiet && isatty(STDERR_FILENO), .start_us = clock_mono_us()};
    quantize_options q = {.model = args[0], .out = args[1], .requantize = o->requantize, .threads = threads};
    imatrix *importance = NULL;
    q.mix = quant_mix_by_name(o->type, err);
    if (!q.mix || (o->imatrix && !(importance = imatrix_open(o->imatrix, err)))) return false;
    q.importance = importance;
    q.progress = show;
    q.progress_ctx = &v;
    const bool ok = weights_quantize(&q, stats, err);
    if (v.bar) talk_clear_bar();
    const double seconds = (double)(clock_mono_us() - v.start_us) * 1e-6;
    if (ok)
        talk_say("done", "%s: %.1f MiB made of %.1f MiB, %.2f bits a weight, %.1f s, %.0f million weights a second", args[1],
                 (double)stats->to_bytes / (1 << 20), (double)stats->from_bytes / (1 << 20),
                 8.0 * (double)stats->to_bytes / (double)stats->elements, seconds,
                 (double)stats->elements * 1e-6 / (seconds > 0 ? seconds : 1e-6));
    if (ok && importance)
        talk_say("importance", "%s has %zu matrices, %zu of them were used", o->imatrix, imatrix_count(importance), stats->n_weighted);
    imatrix_free(importance);
    return ok;
}

static bool show_prompt(void *ctx, int64_t prompts, int64_t tokens) {
    const progress *v = ctx;
    buf line = {0};
    if (v->o->json)
        buf_printf(&line, "{\"event\":\"calibrate\",\"prompts\":%lld,\"tokens\":%lld}", (long long)prompts, (long long)tokens);
    else
        buf_printf(&line, "%lld prompts, %lld tokens", (long long)prompts, (long long)tokens);
    if (v->bar)
        talk_bar(buf_view(&line));
    else if (!v->o->quiet)
        talk_line(buf_view(&line));
    buf_fini(&line);
    return cli_signal == 0;
}

static bool calibrate(const quantize_opts *o, const char **args, pool *threads, gv_err *err) {
    progress v = {.o = o, .bar = !o->json && !o->quiet && isatty(STDERR_FILENO), .start_us = clock_mono_us()};
    const calibrate_options c = {.model = args[0],
                                 .prompts = o->calibrate,
                                 .out = args[1],
                                 .kern = o->kernels ? kern_by_name(o->kernels, err) : kern_best(),
                                 .threads = threads,
                                 .ctx = o->ctx,
                                 .progress = show_prompt,
                                 .progress_ctx = &v};
    const bool ok = c.kern && weights_calibrate(&c, err);
    if (v.bar) talk_clear_bar();
    if (ok) talk_say("done", "%s: importance of inputs, %.1f s", args[1], (double)(clock_mono_us() - v.start_us) * 1e-6);
    return ok;
}

static int run(int n_args, const char **args, const void *opts) {
    const quantize_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    (void)n_args;
    if (o->json) talk_in_json();
    if (!o->type && !o->calibrate)
        gv_fail(&err, GV_USAGE, -1, "no type given; add --type q4_k_m or another");
    else if (o->calibrate && (o->type || o->imatrix || o->requantize))
        gv_fail(&err, GV_USAGE, -1, "--calibrate only measures: leave out --type, --imatrix and --requantize");
    if (err.code) return cli_fail(&err);
    cli_stop_politely();
    char *model = NULL;
    pool *threads = pool_new(o->threads > 0 ? (int)o->threads : cpu_count(), &err);
    quantize_stats stats;
    bool ok = threads && cli_model_path(args[0], HUB_WEIGHTS, o->json, o->quiet, &model, &err);
    if (ok) {
        const char *paths[] = {model, args[1]};
        ok = o->calibrate ? calibrate(o, paths, threads, &err) : quantise(o, paths, threads, &stats, &err);
    }
    pool_free(threads);
    free(model);
    return ok ? EXIT_OK : cli_fail(&err);
}

const opt_command command_quantize = {
    .name = "quantize",
    .args = "MODEL OUT.gguf",
    .summary = "Smaller weights: a GGUF file of a type that fits",
    .detail = "MODEL is a GGUF file, a Hugging Face folder (config.json, safetensors, tokenizer), or ORG/NAME[:QUANT][@REV] of the Hub. "
              "The result "
              "loads in gavel and in llama.cpp. "
              "The file appears when it is complete; memory does not grow with the model; the same inputs give the same bytes.",
    .example = "gavel quantize prometheus-7b-v2.0 prometheus-7b.q4_k_m.gguf --type q4_k_m",
    .opts = options,
    .min_args = 2,
    .max_args = 2,
    .run = run,
    .opts_size = sizeof(quantize_opts),
    .defaults = NULL,
};
