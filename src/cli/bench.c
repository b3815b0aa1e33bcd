/* gavel bench: options, which of them go with what, and the parts in bench_*.c. */
#include "cli/bench.h"

#define AT(field) offsetof(bench_opts, field)

static const opt_def options[] = {
    {"runs", 0, OPT_INT, AT(runs), "N", NULL, 1, 1000, "Samples that must count (default: 5; judge: 1)", "Measuring"},
    {"peak-ms", 0, OPT_INT, AT(peak_ms), "N", NULL, 1, 10000, "Milliseconds for each peak (default: 100)", NULL},
    {"peaks", 0, OPT_CHOICE, AT(peaks), "SET", "ref|avx2|avxvnni|avx512|amx|neon", 0, 0,
     "Instruction set whose peaks are measured (default: that of --kernels)", NULL},
    {"max-discarded", 0, OPT_INT, AT(max_discarded), "N", NULL, 1, 1000, "Give up a row after more discarded samples (default: 20)", NULL},
    {"bytes", 0, OPT_SIZE, AT(bytes), "SIZE", NULL, 65536, 1e15, "kernels, peaks: memory to stream (default: 1100M)", NULL},
    {"types", 0, OPT_STRING, AT(types), "A,B,...", NULL, 0, 0, "kernels: types of weights (default: all)", NULL},
    {"columns", 0, OPT_STRING, AT(columns), "N,N,...", NULL, 0, 0, "kernels: columns of activations (default: 1,8,32,96,512)", NULL},
    {"tokens", 'n', OPT_STRING, AT(tokens), "N", NULL, 0, 0,
     "prefill: lengths of the prompt, such as 512,2048 (default: 512); decode: tokens of each sequence (default: 32); judge: tokens of "
     "each answer "
     "(default: 160)",
     NULL},
    {"sequences", 0, OPT_STRING, AT(sequences), "N,N,...", NULL, 0, 0, "decode: sequences at a time (default: 1,32)", NULL},
    {"context", 0, OPT_STRING, AT(context), "N,N,...", NULL, 0, 0, "decode: tokens of each prompt (default: 128,1100)", NULL},
    CLI_OPT_MODEL(bench_opts, model, "Model for prefill, decode and judge: a GGUF file or a Hugging Face folder"),
    CLI_OPT_TEMPLATE(bench_opts, model),
    {"rubric", 'r', OPT_LIST, AT(rubric), "NAME|FILE", NULL, 0, 0, "Rubric, one judgment of each row for each (default: helpfulness)",
     "Judging"},
    {"rubrics", 0, OPT_INT, AT(rubrics), "N", NULL, 1, 16, "The first N built-in rubrics instead", NULL},
    {"samples", 0, OPT_INT, AT(samples), "N", NULL, 1, 1024, "Answers for each prompt (default: 1)", NULL},
    {"prompt", 'p', OPT_CHOICE, AT(prompt), "STYLE", "distilabel|prometheus-eval|paper|raw", 0, 0,
     "Prompt style; raw: column prompt is the whole user message (default: distilabel)", NULL},
    {"map", 0, OPT_LIST, AT(map), "NAME=COLUMN,...", NULL, 0, 0, "Read NAME (instruction, generation, ...) from the input's COLUMN", NULL},
    {"limit", 'l', OPT_INT, AT(limit), "N", NULL, 1, 9e15, "Only the first N rows", NULL},
    CLI_OPTS_ENGINE(bench_opts, model),
    {"max-batch", 0, OPT_INT, AT(model.max_batch), "N", NULL, 1, 1024, "judge: rows judged at a time (default: 32)", NULL},
    {"no-prefix-cache", 0, OPT_FLAG, AT(model.no_prefix_cache), NULL, NULL, 0, 0, "judge: compute shared beginnings of prompts again",
     NULL},
    {0},
};

typedef enum bench_kind { PEAKS = 1, KERNELS = 2, PREFILL = 4, DECODE = 8, JUDGE = 16 } bench_kind;

static const struct {
    const char *name;
    bench_kind kind;
} kinds[] = {{"peaks", PEAKS}, {"kernels", KERNELS}, {"prefill", PREFILL}, {"decode", DECODE}, {"judge", JUDGE}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static bool find_kind(const char *name, bench_kind *out, gv_err *err) {
    const char *names[N_KINDS + 1] = {0};
    for (int i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (strcmp(name, kinds[i].name) == 0) {
            *out = kinds[i].kind;
            return true;
        }
    }
    const char *near = nearest_name(name, names);
    return gv_fail(err, GV_USAGE, -1, "bench: %s is not one of peaks, kernels, prefill, decode, judge%s%s%s", str_show(sv_of(name)).text,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Options that the kind has no use for are refused, not ignored. */
static bool check_options(const bench_opts *o, const char *name, bench_kind kind, gv_err *err) {
    const model_opts *m = &o->model;
    const struct {
        bool given;
        const char *option;
        unsigned kinds;
    } uses[] = {
        {o->runs != 0, "runs", KERNELS | PREFILL | DECODE | JUDGE},
        {o->max_discarded != 0, "max-discarded", KERNELS | PREFILL | DECODE | JUDGE},
        {o->bytes != 0, "bytes", PEAKS | KERNELS},
        {o->types != NULL, "types", KERNELS},
        {o->columns != NULL, "columns", KERNELS},
        {o->tokens != NULL, "tokens", PREFILL | DECODE | JUDGE},
        {o->sequences != NULL, "sequences", DECODE},
        {o->context != NULL, "context", DECODE},
        {m->model != NULL, "model", PREFILL | DECODE | JUDGE},
        {m->chat_template != NULL, "chat-template", JUDGE},
        {o->rubric.n != 0, "rubric", JUDGE},
        {o->rubrics != 0, "rubrics", JUDGE},
        {o->samples != 0, "samples", JUDGE},
        {o->prompt != NULL, "prompt", JUDGE},
        {o->map.n != 0, "map", JUDGE},
        {o->limit != 0, "limit", JUDGE},
        {m->kv != NULL, "kv", PREFILL | DECODE | JUDGE},
        {m->ctx != 0, "ctx", JUDGE},
        {m->memory != 0, "memory", PREFILL | DECODE | JUDGE},
        {m->prompt_chunk != 0, "prompt-chunk", PREFILL | DECODE | JUDGE},
        {m->max_batch != 0, "max-batch", JUDGE},
        {m->no_prefix_cache, "no-prefix-cache", JUDGE},
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (uses[i].given && !(uses[i].kinds & (unsigned)kind))
            return gv_fail(err, GV_USAGE, -1, "bench %s has no use for --%s", name, uses[i].option);
    if (kind & (PREFILL | DECODE | JUDGE) && !m->model) return gv_fail(err, GV_USAGE, -1, "no model given; add --model FILE.gguf");
    return true;
}

static bool measure(bench *b, bench_kind kind, const char *input, gv_err *err) {
    switch (kind) {
    case PEAKS: return bench_peaks_command(b, err);
    case KERNELS: return bench_kernels(b, err);
    case PREFILL: return bench_prefill(b, err);
    case DECODE: return bench_decode(b, err);
    case JUDGE: break;
    }
    return bench_judge(b, input, err);
}

static int run(int n_args, const char **args, const void *opts) {
    bench b = {.o = opts};
    gv_err err = GV_ERR_INIT;
    bench_kind kind = PEAKS;
    bool ok = find_kind(args[0], &kind, &err) && check_options(b.o, args[0], kind, &err);
    if (ok && (kind == JUDGE) != (n_args == 2))
        ok = gv_fail(&err, GV_USAGE, -1, kind == JUDGE ? "bench judge: no input given; name a file of rows" : "bench %s takes no input",
                     args[0]);
    ok = ok && (b.kern = b.o->model.kernels ? kern_by_name(b.o->model.kernels, &err) : kern_best());
    const kern_ops *yardstick = ok && b.o->peaks ? kern_by_name(b.o->peaks, &err) : b.kern;
    ok = ok && yardstick;
    if (ok) {
        b.peaks = kern_peaks_of(yardstick->set);
        b.threads = pool_new(b.o->model.threads > 0 ? (int)b.o->model.threads : cpu_count(), &err);
        ok = b.threads && measure(&b, kind, args[1], &err);
    }
    pool_free(b.threads);
    buf_fini(&b.line);
    return ok ? EXIT_OK : err.code ? cli_fail(&err) : EXIT_FAILED;
}

const opt_command command_bench = {
    .name = "bench",
    .args = "peaks|kernels|prefill|decode|judge [INPUT]",
    .summary = "Measure speed against what this machine can do",
    .detail = "Prints CSV. Each figure is a median of samples. A sample stands between two measurements of the machine's peak (int8 "
              "products, fused "
              "multiply-adds or reading memory, all threads at once) and is discarded if these differ by more than 5 %.\n\n"
              "peaks: the peaks alone. kernels: products with weights of each type, streamed from memory. prefill: tokens a second of one "
              "prompt. "
              "decode: tokens a second of sequences that generate, beside those of a prompt. judge: judgments a minute of the rows of "
              "INPUT, with answers of "
              "a fixed length and nothing written.\n\n"
              "docs/SPEED.md explains the columns.",
    .example = "gavel bench peaks\n"
               "gavel bench kernels --types Q8_0,Q4_K --columns 1,96\n"
               "gavel bench decode --model model.gguf --sequences 1,32\n"
               "gavel bench judge rows.jsonl --model model.gguf --rubrics 4 --max-batch 8",
    .opts = options,
    .min_args = 1,
    .max_args = 2,
    .run = run,
    .opts_size = sizeof(bench_opts), /* 0 and NULL mean "not given" */
};
