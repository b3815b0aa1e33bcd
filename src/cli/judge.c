/* gavel judge: options to a run_spec, a run, and what became of it as an exit code. */
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/talk.h"
#include "cli/transfer.h"
#include "judge/warn.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct judge_opts {
    model_opts model;
    data_opts data;
    opt_list rubric, map;
    const char *rubric_col, *mode, *prompt, *verdict, *out, *keep, *shard, *id_col, *preset, *order;
    int64_t limit, top_k, max_tokens, seed, samples;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    bool reference, expected_score, fresh, retry_failed, json, quiet;
} judge_opts;

static void defaults(void *opts) {
    judge_opts *o = opts;
    /* -1 means "not given": a preset may fill it */
    o->temperature = o->top_p = o->min_p = o->repetition_penalty = -1;
    o->top_k = o->max_tokens = -1;
    o->samples = 1;
    o->mode = "absolute";
    o->prompt = "distilabel";
    o->order = "given";
}

#define AT(field) offsetof(judge_opts, field)

static const opt_def options[] = {
    CLI_OPT_MODEL(judge_opts, model,
                  "Evaluator model: a GGUF file, a Hugging Face folder, ORG/NAME[:QUANT][@REV] of the Hub, or an OpenAI-compatible server, "
                  "http://HOST:PORT/v1[#NAME]"),
    CLI_OPT_TEMPLATE(judge_opts, model),
    {"rubric", 'r', OPT_LIST, AT(rubric), "NAME|FILE", NULL, 0, 0,
     "Built-in rubric (helpfulness, harmlessness, honesty, factual-validity, reasoning) or file; repeated: each row is judged by each",
     "Judging"},
    {"rubric-col", 0, OPT_STRING, AT(rubric_col), "COLUMN", NULL, 0, 0,
     "Column with a rubric per row: text, or an object with criteria and score1_description .. score5_description", NULL},
    {"mode", 0, OPT_CHOICE, AT(mode), "MODE", "absolute|relative", 0, 0,
     "absolute: score one response from 1 to 5; relative: choose the better of two (default: absolute)", NULL},
    {"reference", 0, OPT_FLAG, AT(reference), NULL, NULL, 0, 0, "Show the judge a reference answer (column reference)", NULL},
    {"prompt", 'p', OPT_CHOICE, AT(prompt), "STYLE", "distilabel|prometheus-eval|paper|raw", 0, 0,
     "Prompt style; raw: column prompt is the whole user message (default: distilabel)", NULL},
    {"verdict", 0, OPT_CHOICE, AT(verdict), "PARSER", "strict|lenient|robust|constrained", 0, 0,
     "How the verdict is found in the answer; constrained: the answer is made to end in one (default: constrained; lenient with a server)",
     NULL},
    {"order", 0, OPT_CHOICE, AT(order), "ORDER", "given|both|random", 0, 0,
     "Order of the two responses; this version judges the given order only", NULL},
    {"samples", 0, OPT_INT, AT(samples), "N", NULL, 1, RUN_MAX_SAMPLES,
     "Answers to each prompt, sampled independently; needs a temperature (default: 1)", NULL},
    {"expected-score", 0, OPT_FLAG, AT(expected_score), NULL, NULL, 0, 0,
     "Add column expected_score: the mean of 1..5 under the model's probabilities at the verdict", NULL},
    {"preset", 0, OPT_CHOICE, AT(preset), "NAME", "prometheus-eval|distilabel|author", 0, 0,
     "Sampling of prometheus-eval (temperature 1, top-p 0.9, repetition penalty 1.03, 1,024 tokens), of distilabel's example (0.7, 1,024 "
     "tokens), or of the model's authors, if gavel inspect knows the model (default: greedy)",
     "Sampling"},
    {"temperature", 'T', OPT_DOUBLE, AT(temperature), "X", NULL, 0, 100, "0: always the likeliest token (default: 0)", NULL},
    {"top-p", 0, OPT_DOUBLE, AT(top_p), "X", NULL, 1e-9, 1, "Smallest set of tokens with this share of probability (default: 1)", NULL},
    {"top-k", 0, OPT_INT, AT(top_k), "N", NULL, 0, 10000000, "The N likeliest tokens; 0: all (default: 0)", NULL},
    {"min-p", 0, OPT_DOUBLE, AT(min_p), "X", NULL, 0, 1, "Tokens at least this likely relative to the likeliest (default: 0)", NULL},
    {"repetition-penalty", 0, OPT_DOUBLE, AT(repetition_penalty), "X", NULL, 1e-6, 1e6, "Over prompt and answer, as vLLM (default: 1)",
     NULL},
    {"presence-penalty", 0, OPT_DOUBLE, AT(presence_penalty), "X", NULL, -1e6, 1e6, "Over the answer, as vLLM (default: 0)", NULL},
    {"frequency-penalty", 0, OPT_DOUBLE, AT(frequency_penalty), "X", NULL, -1e6, 1e6, "Over the answer, as vLLM (default: 0)", NULL},
    {"max-tokens", 'n', OPT_INT, AT(max_tokens), "N", NULL, 1, 1048576, "Longest answer in tokens (default: 1024)", NULL},
    {"seed", 's', OPT_INT, AT(seed), "N", NULL, 0, 9e15, "Seed of the random generator, with the row's number (default: 0)", NULL},
    {"map", 0, OPT_LIST, AT(map), "NAME=COLUMN,...", NULL, 0, 0, "Read NAME (instruction, generation, ...) from the input's COLUMN",
     "Input and output"},
    CLI_OPTS_DATA(judge_opts, data),
    {"limit", 'l', OPT_INT, AT(limit), "N", NULL, 1, 9e15, "Only the first N rows", NULL},
    {"shard", 0, OPT_STRING, AT(shard), "I/N", NULL, 0, 0, "Only rows whose number modulo N is I; ids stay global", NULL},
    {"id-col", 0, OPT_STRING, AT(id_col), "COLUMN", NULL, 0, 0, "Column with the row's id; duplicates are refused", NULL},
    {"out", 'o', OPT_STRING, AT(out), "FILE", NULL, 0, 0,
     "Output, .jsonl, .json, .csv, .tsv (also .gz, .zst) or .parquet; the run's journal is FILE.run", NULL},
    {"keep", 0, OPT_STRING, AT(keep), "A,B,...", NULL, 0, 0, "Write exactly these columns, in this order", NULL},
    {"fresh", 0, OPT_FLAG, AT(fresh), NULL, NULL, 0, 0, "Start anew instead of continuing FILE.run", NULL},
    {"retry-failed", 0, OPT_FLAG, AT(retry_failed), NULL, NULL, 0, 0, "Judge again the rows of FILE.run that have no verdict", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines on standard error", NULL},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "Only warnings and errors", NULL},
    CLI_OPTS_ENGINE(judge_opts, model),
    CLI_OPT_WEIGHTS_CACHE(judge_opts, model),
    CLI_OPT_MAX_BATCH(judge_opts, model),
    CLI_OPT_NO_PREFIX_CACHE(judge_opts, model),
    {0},
};

/* ---- options to a run ---- */

static double or_default(double given, double otherwise) {
    return given >= 0 ? given : otherwise;
}

/* preset: NULL = none. */
static lm_sampling sampling_of(const judge_opts *o, const char *preset) {
    const bool eval = preset && strcmp(preset, "prometheus-eval") == 0, distilabel = preset && strcmp(preset, "distilabel") == 0;
    lm_sampling s = {0};
    s.temperature = or_default(o->temperature, eval ? 1.0 : distilabel ? 0.7 : 0);
    s.top_p = or_default(o->top_p, eval ? 0.9 : 1);
    s.min_p = or_default(o->min_p, 0);
    s.repetition_penalty = or_default(o->repetition_penalty, eval ? 1.03 : 1);
    s.presence_penalty = o->presence_penalty;
    s.frequency_penalty = o->frequency_penalty;
    s.top_k = o->top_k >= 0 ? o->top_k : 0;
    s.max_tokens = o->max_tokens >= 0 ? o->max_tokens : 1024;
    s.seed = (uint64_t)o->seed;
    return s;
}

static bool parse_shard(const char *text, rows_options *rows, gv_err *err) {
    unsigned long long i = 0, n = 0;
    int end = 0;
    if (!text) return true;
    if (text[0] < '0' || text[0] > '9' || sscanf(text, "%llu/%llu%n", &i, &n, &end) != 2 || text[end] || n == 0 || i >= n)
        return gv_fail(err, GV_USAGE, -1, "--shard %s: expected I/N with 0 <= I < N, such as 0/4", text);
    rows->shard_index = i;
    rows->shard_count = n;
    return true;
}

static bool is_by_author(const judge_opts *o) {
    return o->preset && strcmp(o->preset, "author") == 0;
}

static bool set_sampling(const judge_opts *o, const char *preset, run_spec *spec, gv_err *err) {
    spec->sampling = sampling_of(o, preset);
    if (o->samples < 2 || spec->sampling.temperature > 0) return true;
    return gv_fail(err, GV_USAGE, -1,
                   "--samples %lld at temperature 0 would be the same answer %lld times; give a --temperature above 0, or a --preset",
                   (long long)o->samples, (long long)o->samples);
}

/* What depends on the model: the sampling of its authors, and warnings. */
static bool take_known(const judge_opts *o, const known_model *k, run_spec *spec, gv_err *err) {
    char option[64];
    if (is_by_author(o) && !k)
        return gv_fail(err, GV_USAGE, -1, "--preset author: %s is no model that gavel knows; give --preset prometheus-eval or distilabel",
                       o->model.model);
    if (is_by_author(o) && !set_sampling(o, k->preset, spec, err)) return false;
    warn_of_settings(k, &spec->prompt, o->model.ctx);
    snprintf(option, sizeof option, "--max-tokens %lld", (long long)spec->sampling.max_tokens);
    if (k) warn_of_tokens(k->label, option, spec->sampling.max_tokens);
    return true;
}

static bool check_options(const judge_opts *o, const char *input, gv_err *err) {
    const bool raw = strcmp(o->prompt, "raw") == 0;
    if (!o->model.model) return gv_fail(err, GV_USAGE, -1, "no model given; add --model FILE.gguf or FOLDER");
    if (!o->out) return gv_fail(err, GV_USAGE, -1, "no output given; add --out FILE.jsonl or --out FILE.csv");
    if (strcmp(o->out, input) == 0) return gv_fail(err, GV_USAGE, -1, "--out %s is the input itself", o->out);
    if (strcmp(o->order, "given") != 0)
        return gv_fail(err, GV_UNSUPPORTED, -1, "--order %s: this version judges the given order", o->order);
    if (o->rubric.n && o->rubric_col) return gv_fail(err, GV_USAGE, -1, "--rubric and --rubric-col exclude each other");
    if (raw && (o->rubric.n || o->rubric_col))
        return gv_fail(err, GV_USAGE, -1, "--prompt raw takes no rubric: the row has the whole prompt");
    if (!raw && !o->rubric.n && !o->rubric_col)
        return gv_fail(err, GV_USAGE, -1,
                       "no rubric given; add --rubric NAME|FILE (built-in: helpfulness, harmlessness, honesty, factual-validity, "
                       "reasoning) or --rubric-col COLUMN");
    if (o->json && o->quiet) return gv_fail(err, GV_USAGE, -1, "--json and --quiet exclude each other");
    if (o->fresh && o->retry_failed) return gv_fail(err, GV_USAGE, -1, "--fresh and --retry-failed exclude each other");
    if (o->expected_score && (strcmp(o->mode, "absolute") != 0 || (o->verdict && strcmp(o->verdict, "constrained") != 0)))
        return gv_fail(err, GV_USAGE, -1, "--expected-score needs --mode absolute and --verdict constrained");
    return true;
}

/* "a,b,c" to a list of names in a. */
static void split_names(const char *text, arena *a, run_spec *spec) {
    const char **names = arena_alloc(a, (strlen(text) + 1) * sizeof *names);
    char *rest = arena_dup(a, text, strlen(text));
    for (char *name; (name = strsep(&rest, ","));)
        if (*name) names[spec->n_keep++] = name;
    spec->keep = names;
}

/* Can the input be read and the output be written?  A run asks again; this is before a model is loaded, which may take a minute. */
static bool check_files(const run_spec *spec, gv_err *err) {
    if (!rows_writer_check(spec->out, err)) return false;
    if (strcmp(spec->input, "-") == 0) return true;
    rows_reader *r = rows_open(spec->input, &spec->rows, err);
    rows_close(r);
    return r != NULL;
}

static bool load_rubrics(const judge_opts *o, arena *a, run_spec *spec, gv_err *err) {
    rubric *v = arena_alloc(a, o->rubric.n * sizeof *v);
    spec->rubrics = v;
    for (; spec->n_rubrics < o->rubric.n; spec->n_rubrics++)
        if (!rubric_load(o->rubric.v[spec->n_rubrics], spec->prompt.style, a, &v[spec->n_rubrics], err)) return false;
    return run_check_rubrics(spec, err);
}

static bool make_spec(const judge_opts *o, const char *input, rows_map *map, arena *a, run_spec *spec, gv_err *err) {
    *spec = (run_spec){.input = input,
                       .out = o->out,
                       .rubric_col = o->rubric_col,
                       .chat_template = o->model.chat_template,
                       .samples = (uint32_t)o->samples,
                       .expected_score = o->expected_score,
                       .fresh = o->fresh,
                       .retry_failed = o->retry_failed,
                       .stop = &cli_signal};
    if (!check_options(o, input, err) || (!is_by_author(o) && !set_sampling(o, o->preset, spec, err))) return false;
    const bool remote = o->model.model && lm_is_remote(o->model.model);
    judge_style_from(o->prompt, &spec->prompt.style);
    spec->prompt.mode = strcmp(o->mode, "relative") == 0 ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    spec->prompt.reference = o->reference;
    verdict_parser_from(o->verdict ? o->verdict : remote ? "lenient" : "constrained", &spec->parser);
    spec->rows.id_col = o->id_col;
    spec->rows.limit = (uint64_t)o->limit;
    if (!parse_shard(o->shard, &spec->rows, err)) return false;
    for (size_t i = 0; i < o->map.n; i++)
        if (!rows_map_add(map, o->map.v[i], err)) return false;
    spec->rows.map = map;
    if (o->keep) split_names(o->keep, a, spec);
    return load_rubrics(o, a, spec, err) && /* opened once, for all passes of the run */
           cli_open_dataset(input, &o->data, o->json, o->quiet, &spec->rows.data, err) && check_files(spec, err);
}

/* ---- the run ---- */

static const char *unit_of(const run_progress *p) {
    return p->per_row > 1 ? "judgments" : "rows";
}

static void tell_result(const judge_opts *o, const run_summary *sum) {
    buf text = {0}, line = {0};
    cli_put_statuses(sum->by_status, o->json, &text);
    if (o->json) {
        buf_add_str(&line, "{\"event\":\"result\",\"out\":");
        json_put_string(&line, sv_of(o->out));
        buf_printf(&line, ",\"rows\":%llu,\"judgments\":%llu,\"ok\":%llu" SV_FMT "}", (unsigned long long)sum->rows,
                   (unsigned long long)sum->judgments, (unsigned long long)sum->ok, SV_ARG(buf_view(&text)));
        talk_line(buf_view(&line));
    } else if (sum->failed) {
        talk_say("warning", "%s: %llu of %llu %s have no verdict (%s); --retry-failed judges them again", o->out,
                 (unsigned long long)sum->failed, (unsigned long long)sum->judgments, unit_of(&sum->last), text.p);
    } else if (!o->quiet && sum->last.per_row > 1) {
        talk_say("note", "%s: %llu rows, %llu judgments, all with a verdict", o->out, (unsigned long long)sum->rows,
                 (unsigned long long)sum->judgments);
    } else if (!o->quiet) {
        talk_say("note", "%s: %llu rows, all with a verdict", o->out, (unsigned long long)sum->rows);
    }
    buf_fini(&text);
    buf_fini(&line);
}

static void tell_interruption(const run_summary *sum, const char *out) {
    const run_progress *p = &sum->last;
    if (p->all)
        talk_say("interrupted", "interrupted with %llu of %llu %s %s; they are in %s.run, and the same command continues",
                 (unsigned long long)p->done, (unsigned long long)p->all, unit_of(p), p->per_row > 1 ? "made" : "judged", out);
    else
        talk_say("interrupted", "interrupted before the first row");
}

static int run_with(const judge_opts *o, run_spec *spec, const char *model_path) {
    gv_err err = GV_ERR_INIT;
    progress_view view;
    run_summary sum;
    const known_model *known = known_model_at(model_path);
    lm_options lo = cli_lm_options(&o->model);
    spec->model_path = lo.model = model_path;
    lm *model = take_known(o, known, spec, &err) ? lm_open(&lo, &err) : NULL;
    if (!model) return cli_fail(&err);
    progress_init(&view, o->json, o->quiet);
    spec->progress = progress_show;
    spec->progress_ctx = &view;
    cli_stop_politely();
    const bool ok = run_judge(spec, model, &sum, &err);
    talk_clear_bar();
    lm_free(model);
    if (!ok && err.code == GV_INTERRUPTED) tell_interruption(&sum, o->out);
    if (!ok) return cli_fail(&err);
    tell_result(o, &sum);
    return sum.failed ? EXIT_NO_VERDICT : EXIT_OK;
}

static int run(int n_args, const char **args, const void *opts) {
    const judge_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    rows_map map = {0};
    run_spec spec;
    arena a;
    (void)n_args;
    arena_init(&a);
    if (o->json) talk_in_json();
    if (o->quiet) log_set(talk_log, LOG_WARN);
    char *model_path = NULL;
    const bool ok =
        make_spec(o, args[0], &map, &a, &spec, &err) && cli_model_path(o->model.model, HUB_WEIGHTS, o->json, o->quiet, &model_path, &err);
    const int code = ok ? run_with(o, &spec, model_path) : cli_fail(&err);
    free(model_path);
    dataset_close(spec.rows.data);
    rows_map_fini(&map);
    arena_fini(&a);
    return code;
}

const opt_command command_judge = {
    .name = "judge",
    .args = "INPUT",
    .summary = "Judge every row of a data set",
    .detail =
        "Reads rows (.jsonl, .json, .csv, .tsv, these also as .gz or .zst, .parquet, - for JSON lines on standard input, a folder, or a "
        "data set of the Hub as "
        "hf://datasets/ORG/NAME[@REVISION][:CONFIG/SPLIT], or --config and --split), asks the evaluator model about each, and writes "
        "the rows with five more columns: feedback, result (1 to 5, A or B, or null), status, message and model_name. Columns read: "
        "instruction, generation (in relative mode generations, a list of two) and, with --reference, reference.\n\n"
        "With several --rubric each row is judged by each, and the columns carry the rubric's name: honesty_feedback, honesty_result, ... "
        "With "
        "--samples N these columns are lists of N, beside result_mean, result_mode, result_spread and result_count (docs/judging.md).\n\n"
        "status is ok, or why there is no verdict: unparsable, truncated, too_long, bad_input or error. A bad row never stops the run.\n\n"
        "Each judgment is at once in the journal FILE.run. The same command continues an interrupted run; changed input or settings are "
        "refused with the difference named.\n\n"
        "Exit codes: 0 all rows have a verdict; 1 failed; 2 wrong usage; 3 finished, some rows without a verdict; 130 or 143 interrupted "
        "by SIGINT or SIGTERM, resumable.",
    .example = "gavel judge rows.jsonl --model prometheus.gguf --rubric helpfulness --out verdicts.jsonl\n"
               "gavel judge rows.csv --model prometheus.gguf --rubric my-rubric.txt --reference --out verdicts.csv\n"
               "gavel judge rows.jsonl --model prometheus.gguf --rubric helpfulness --rubric honesty --out both.jsonl\n"
               "gavel judge rows.jsonl --model prometheus.gguf --rubric honesty --samples 8 --temperature 1 --out eight.jsonl\n"
               "gavel judge pairs.jsonl --model prometheus.gguf --mode relative --rubric reasoning --out better.jsonl",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(judge_opts),
    .defaults = defaults,
};
