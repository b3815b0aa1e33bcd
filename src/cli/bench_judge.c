/* gavel bench judge: judging as `gavel judge` does it, through lm_submit, with answers of a fixed length and nothing written.
 *
 * Prompts are built before the clock starts; laying out, tokenizing, scheduling and computing are timed.  Each sample opens the model anew, so that none
 * finds another's prompts in the cache. */
#include "cli/bench.h"
#include "judge/row_prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_TOKENS = 160, DEFAULT_RUNS = 1, AHEAD = 4, DEFAULT_BATCH = 32, MAX_RUBRICS = 16 };

typedef struct judge_job {
    bench *b;
    bench_cost cost;
    prompt_text *prompts; /* rows x rubrics, a row's together */
    size_t n_prompts, cap_prompts;
    int64_t n_rows, n_rubrics, n_samples, tokens;
    arena a;
    double seconds;
    lm_stats stats; /* of the last sample: the counts are the same in each */
} judge_job;

/* ---- prompts ---- */

static bool is_raw(const bench *b) {
    return b->o->prompt && strcmp(b->o->prompt, "raw") == 0;
}

/* The rubrics by --rubric, or the first --rubrics built-in ones. */
static bool load_rubrics(judge_job *j, judge_style style, rubric out[MAX_RUBRICS], gv_err *err) {
    const bench_opts *o = j->b->o;
    const char *const *names = rubric_builtin_names(style);
    if (is_raw(j->b)) {
        j->n_rubrics = 1;
        return (o->rubric.n == 0 && !o->rubrics) ||
               gv_fail(err, GV_USAGE, -1, "--prompt raw takes no rubric: the row has the whole prompt");
    }
    if (o->rubric.n && o->rubrics) return gv_fail(err, GV_USAGE, -1, "--rubric and --rubrics exclude each other");
    if (o->rubric.n > MAX_RUBRICS) return gv_fail(err, GV_LIMIT, -1, "%zu rubrics, at most %d", o->rubric.n, MAX_RUBRICS);
    const size_t n = o->rubric.n ? o->rubric.n : o->rubrics ? (size_t)o->rubrics : 1;
    for (size_t i = 0; i < n; i++) {
        const char *name = o->rubric.n ? o->rubric.v[i] : names[i];
        if (!name) return gv_fail(err, GV_USAGE, -1, "--rubrics %zu: there are %zu built-in rubrics", n, i);
        if (!rubric_load(name, style, &j->a, &out[i], err)) return false;
    }
    j->n_rubrics = (int64_t)n;
    return true;
}

/* The views of a row end with it: what a prompt keeps is copied. */
static void keep_prompt(judge_job *j, const prompt_text *p) {
    if (j->n_prompts == j->cap_prompts) {
        j->cap_prompts = j->cap_prompts ? 2 * j->cap_prompts : 64;
        j->prompts = gv_xrealloc(j->prompts, j->cap_prompts * sizeof *j->prompts);
    }
    prompt_text *kept = &j->prompts[j->n_prompts++];
    *kept = *p;
    kept->system.p = arena_dup(&j->a, p->system.n ? p->system.p : "", p->system.n);
    kept->user.p = arena_dup(&j->a, p->user.n ? p->user.p : "", p->user.n);
}

static bool add_row(judge_job *j, const prompt_spec *spec, const rubric *rubrics, const row *at, gv_err *err) {
    arena a;
    bool ok = !at->bad || gv_fail(err, GV_FORMAT, at->line, SV_FMT, SV_ARG(at->message));
    arena_init(&a);
    for (int64_t i = 0; ok && i < j->n_rubrics; i++) {
        prompt_text p;
        ok = row_prompt(spec, at, NULL, is_raw(j->b) ? NULL : &rubrics[i], &a, &p, err);
        if (ok) keep_prompt(j, &p);
    }
    arena_fini(&a);
    j->n_rows += ok;
    return ok || gv_context(err, "row %llu", (unsigned long long)at->number);
}

static bool read_prompts(judge_job *j, const char *input, gv_err *err) {
    const bench_opts *o = j->b->o;
    prompt_spec spec = {.mode = JUDGE_ABSOLUTE};
    rubric rubrics[MAX_RUBRICS];
    rows_map map = {0};
    bool ok = judge_style_from(o->prompt ? o->prompt : "distilabel", &spec.style) && load_rubrics(j, spec.style, rubrics, err), end = false;
    for (size_t i = 0; ok && i < o->map.n; i++) ok = rows_map_add(&map, o->map.v[i], err);
    rows_reader *r = ok ? rows_open(input, &(rows_options){.map = &map, .limit = (uint64_t)o->limit}, err) : NULL;
    row at;
    ok = r != NULL;
    while (ok && (ok = rows_next(r, &at, &end, err)) && !end) ok = add_row(j, &spec, rubrics, &at, err);
    rows_close(r);
    rows_map_fini(&map);
    return ok;
}

/* ---- a sample ---- */

static bool submit(const judge_job *j, lm *m, size_t i, gv_err *err) {
    const size_t prompt = i / (size_t)j->n_samples;
    lm_message messages[2];
    const lm_request q = {.id = i,
                          .messages = messages,
                          .n_messages = prompt_messages(&j->prompts[prompt], messages),
                          .sampling = {.max_tokens = j->tokens},
                          .row = prompt / (size_t)j->n_rubrics,
                          .sample = (uint32_t)(i % (size_t)j->n_samples),
                          .ignore_eog = true};
    return lm_submit(m, &q, err);
}

/* An answer of another length would be another workload. */
static bool check_answer(const judge_job *j, const lm_result *r, gv_err *err) {
    const unsigned long long number = r->id / (uint64_t)(j->n_samples * j->n_rubrics);
    if (r->finish != LM_LENGTH && r->finish != LM_STOP) return gv_fail(err, GV_STATE, -1, "row %llu: " SV_FMT, number, SV_ARG(r->message));
    return r->output_tokens == j->tokens || gv_fail(err, GV_LIMIT, -1, "row %llu: %lld of %lld tokens fit into the context (--ctx)", number,
                                                    (long long)r->output_tokens, (long long)j->tokens);
}

static bool judge_all(const judge_job *j, lm *m, gv_err *err) {
    const int64_t batch = j->b->o->model.max_batch ? j->b->o->model.max_batch : DEFAULT_BATCH;
    const size_t n = j->n_prompts * (size_t)j->n_samples;
    const lm_result *r;
    size_t n_results;
    for (size_t sent = 0; sent < n || lm_in_flight(m) > 0;) {
        while (sent < n && lm_in_flight(m) < (size_t)(AHEAD * batch))
            if (!submit(j, m, sent++, err)) return false;
        if (!lm_poll(m, &r, &n_results, err)) return false;
        for (size_t i = 0; i < n_results; i++)
            if (!check_answer(j, &r[i], err)) return false;
    }
    return true;
}

static double computed_prompt(const judge_job *j) {
    return (double)(j->stats.prompt_tokens - j->stats.cached_tokens);
}

static double ops_of(const judge_job *j) {
    const double output = (double)j->stats.output_tokens;
    return (computed_prompt(j) + output) * j->cost.layer_ops + output * j->cost.output_ops;
}

static bool judge_sample(void *ctx, bench_work *out, gv_err *err) {
    judge_job *j = ctx;
    const lm_options o = cli_lm_options(&j->b->o->model);
    lm *m = lm_open(&o, err);
    if (!m) return false;
    const int64_t start = clock_mono_us();
    const bool ok = judge_all(j, m, err);
    j->seconds = (double)(clock_mono_us() - start) * 1e-6;
    j->stats = lm_get_stats(m);
    lm_free(m);
    out->value = 60 * (double)j->n_prompts * (double)j->n_samples / j->seconds;
    out->beside = j->seconds;
    out->ops = ops_of(j) / j->seconds;
    out->bytes = NAN;
    return ok;
}

/* ---- the row of the table ---- */

static bool put_row(const judge_job *j, const bench_result *r) {
    bench *b = j->b;
    const bench_opts *o = b->o;
    bench_put_text(b, "judge");
    bench_put_text(b, bench_file_name(o->model.model));
    bench_put_text(b, b->kern->name);
    bench_put_int(b, pool_threads(b->threads));
    bench_put_int(b, o->model.max_batch ? o->model.max_batch : DEFAULT_BATCH);
    bench_put_int(b, j->n_rows);
    bench_put_int(b, j->n_rubrics);
    bench_put_int(b, j->n_samples);
    bench_put_int(b, j->tokens);
    bench_put_int(b, (int64_t)j->n_prompts * j->n_samples);
    bench_put_int(b, j->stats.prompt_tokens);
    bench_put_int(b, j->stats.cached_tokens);
    bench_put_int(b, j->stats.prompt_tokens - j->stats.cached_tokens);
    bench_put_int(b, j->stats.output_tokens);
    bench_put_number(b, r->beside, 3);
    bench_put_number(b, r->value, 3);
    bench_put_number(
        b, r->value / 60 / (double)j->n_prompts / (double)j->n_samples * (double)(j->stats.prompt_tokens + j->stats.output_tokens), 1);
    return bench_put_result(b, r);
}

bool bench_judge(bench *b, const char *input, gv_err *err) {
    judge_job j = {.b = b, .n_samples = b->o->samples ? b->o->samples : 1};
    bench_list tokens;
    bench_result r;
    if (!bench_parse_list("--tokens", b->o->tokens, "160", 1, 1 << 20, &tokens, err)) return false;
    if (tokens.n != 1) return gv_fail(err, GV_USAGE, -1, "--tokens %s: judge takes one number", b->o->tokens);
    j.tokens = tokens.v[0];
    arena_init(&j.a);
    const quant_mix *mix = NULL;
    tensors *file = NULL;
    bool ok = read_prompts(&j, input, err) && (!b->o->model.weights || (mix = quant_mix_by_name(b->o->model.weights, err))) &&
              (file = tensors_open(b->o->model.model, err)) && bench_model_cost(file, mix, &j.cost, err);
    tensors_close(file);
    ok =
        ok && bench_run(b, judge_sample, &j, j.cost.ops_peak, 1, 0, DEFAULT_RUNS, "judge", &r, err) &&
        bench_put_header(b, "bench,model,kernels,threads,max_batch,rows,rubrics,samples_a_row,tokens,judgments,prompt_tokens,cached_tokens,"
                            "computed_prompt_tokens,output_tokens,seconds,judgments_min,tokens_s," BENCH_RESULT_COLUMNS) &&
        put_row(&j, &r);
    free(j.prompts);
    arena_fini(&j.a);
    return ok;
}
