/* gavel bench prefill and decode: tokens a second of the engine with a model, against the peaks.
 *
 * Prefill: one prompt, one token out.  Decode: N sequences that all have their prompt in the cache; only steps that compute one token of each are timed.
 * The read peak reads the model's packed weights, so that a model which fits a cache is compared with that cache. */
#include "base/mem.h"
#include "cli/bench.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE = KERN_PAGE_TOKENS, STEP_TOKENS = 512, COMPARED_TOKENS = 512, MAX_TOKENS = 1 << 20, DEFAULT_RUNS = 5, SPARE_TOKENS = 16 };

typedef struct model_job {
    bench *b;
    tok *t;
    model *m;
    engine *e;
    bench_cost cost;
    uint32_t n_prompts; /* made so far: each measured prompt is new to the prefix tree */
    int64_t sequences, context, tokens;
} model_job;

static bool open_model(model_job *j, int64_t n_pos, gv_err *err) {
    const model_opts *o = &j->b->o->model;
    const quant_mix *mix = o->weights ? quant_mix_by_name(o->weights, err) : NULL;
    if (o->weights && !mix) return gv_context(err, "--weights");
    tensors *file = tensors_open(o->model, err);
    if (!file) return false;
    if (!bench_model_cost(file, mix, &j->cost, err) || !(j->t = tok_from_tensors(file, err))) {
        gv_context(err, "%s", o->model);
        tensors_close(file);
        return false;
    }
    j->m = model_open(file, mix, n_pos, j->b->o->model.memory, j->b->threads, err);
    if (!j->m) return false;
    j->b->memory = j->m->packed, j->b->memory_bytes = j->m->packed_bytes;
    return true;
}

static bool open_engine(model_job *j, int max_batch, int64_t max_ctx, int64_t n_pages, bool cache, gv_err *err) {
    const model_opts *o = &j->b->o->model;
    const int step = o->prompt_chunk ? (int)o->prompt_chunk : STEP_TOKENS;
    const engine_options e = {.kern = j->b->kern,
                              .kv_type = o->kv && strcmp(o->kv, "f32") == 0 ? KERN_KV_F32 : KERN_KV_F16,
                              .max_batch = max_batch,
                              .step_tokens = step > max_batch ? step : max_batch,
                              .max_ctx = max_ctx,
                              .n_pages = (int32_t)n_pages,
                              .no_prefix_cache = !cache};
    j->e = engine_new(j->m, j->t, j->b->threads, &e, err);
    return j->e != NULL;
}

static void close_all(model_job *j) {
    engine_free(j->e);
    j->b->memory = NULL;
    model_free(j->m);
    tok_free(j->t);
}

/* A prompt of n random ids; the same for the same number. */
static bool submit(model_job *j, uint64_t id, uint32_t number, int64_t n, int64_t max_tokens, gv_err *err) {
    int32_t *prompt = gv_try_malloc((size_t)n, sizeof *prompt, "prompt", err);
    if (!prompt) return false;
    uint64_t state = (number + 1) * 0x9e3779b97f4a7c15u;
    for (int64_t i = 0; i < n; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        prompt[i] = (int32_t)((state >> 33) % (uint64_t)tok_n_text(j->t));
    }
    engine_request q = {.id = id, .prompt = prompt, .n_prompt = (int32_t)n, .max_tokens = (int32_t)max_tokens, .ignore_eog = true};
    q.params = (sample_params){.top_p = 1, .repetition_penalty = 1};
    engine_submit(j->e, &q);
    free(prompt);
    return true;
}

static bool step(model_job *j, gv_err *err) {
    const engine_result *r;
    size_t n;
    if (!engine_step(j->e, &r, &n, err)) return false;
    for (size_t i = 0; i < n; i++)
        if (r[i].finish == ENGINE_ERROR || r[i].finish == ENGINE_TOO_LONG) return gv_fail(err, GV_STATE, -1, "%s", r[i].message);
    return true;
}

static bool run_to_end(model_job *j, gv_err *err) {
    while (engine_in_flight(j->e) > 0)
        if (!step(j, err)) return false;
    return true;
}

/* Seconds of one new prompt of n tokens, up to its first token. */
static bool time_prompt(model_job *j, int64_t n, double *seconds, gv_err *err) {
    if (!submit(j, 0, UINT32_MAX / 2 + j->n_prompts++, n, 1, err)) return false;
    const int64_t start = clock_mono_us();
    if (!run_to_end(j, err)) return false;
    *seconds = (double)(clock_mono_us() - start) * 1e-6;
    return true;
}

/* A whole step before the first sample: the memory of an engine is not there until it is used. */
static bool warm_up(model_job *j, int64_t most, gv_err *err) {
    double seconds;
    return time_prompt(j, most < STEP_TOKENS ? most : STEP_TOKENS, &seconds, err);
}

static void put_start(const model_job *j, const char *name) {
    bench *b = j->b;
    bench_put_text(b, name);
    bench_put_text(b, bench_file_name(b->o->model.model));
    bench_put_text(b, b->kern->name);
    bench_put_int(b, pool_threads(b->threads));
    bench_put_int(b, (int64_t)j->m->file_weight_bytes);
    bench_put_int(b, (int64_t)j->m->packed_bytes);
}

/* ---- prefill ---- */

static int64_t chunk_of(const model_job *j) {
    return j->b->o->model.prompt_chunk ? j->b->o->model.prompt_chunk : STEP_TOKENS;
}

/* Weight bytes of the file that a step of n tokens reads: of experts those that some token goes to, as many as chance makes it. */
static double bytes_a_step(const model_job *j, int64_t n) {
    const model_shape *s = &j->m->shape;
    double experts = 0, missed = 1;
    for (int i = 0; s->n_expert && i < s->n_layer; i++)
        for (int e = 0; e < s->n_expert; e++) {
            const model_expert *x = &j->m->layer[i].expert[e];
            experts += (double)x->gate.n_groups * (double)x->gate.group_bytes + (double)x->up.n_groups * (double)x->up.group_bytes +
                       (double)x->down.n_groups * (double)x->down.group_bytes;
        }
    for (int64_t i = 0; s->n_expert && i < n; i++) missed *= 1 - (double)s->n_expert_used / s->n_expert;
    return (double)j->m->file_weight_bytes - experts * missed;
}

static bool prefill_sample(void *ctx, bench_work *out, gv_err *err) {
    model_job *j = ctx;
    double s;
    if (!time_prompt(j, j->tokens, &s, err)) return false;
    out->value = (double)j->tokens / s;
    out->ops = (j->cost.layer_ops * (double)j->tokens + j->cost.output_ops) / s;
    const int64_t steps = (j->tokens + chunk_of(j) - 1) / chunk_of(j);
    out->bytes = bytes_a_step(j, j->tokens / steps) * (double)steps / s;
    return true;
}

static bool prefill_row(model_job *j, gv_err *err) {
    bench_result r;
    char what[64];
    snprintf(what, sizeof what, "prefill of %lld tokens", (long long)j->tokens);
    if (!warm_up(j, j->tokens, err) || !bench_run(j->b, prefill_sample, j, j->cost.ops_peak, j->cost.layer_ops * (double)j->tokens,
                                                  bytes_a_step(j, j->tokens), DEFAULT_RUNS, what, &r, err))
        return false;
    put_start(j, "prefill");
    bench_put_int(j->b, j->tokens);
    bench_put_int(j->b, chunk_of(j));
    bench_put_number(j->b, r.value, 2);
    return bench_put_result(j->b, &r);
}

bool bench_prefill(bench *b, gv_err *err) {
    model_job j = {.b = b};
    bench_list tokens;
    int64_t most = 1;
    if (!bench_parse_list("--tokens", b->o->tokens, "512", 1, MAX_TOKENS, &tokens, err)) return false;
    for (int i = 0; i < tokens.n; i++) most = tokens.v[i] > most ? tokens.v[i] : most;
    bool ok = open_model(&j, most + SPARE_TOKENS, err) &&
              open_engine(&j, 1, most + SPARE_TOKENS, (most + SPARE_TOKENS + PAGE - 1) / PAGE, false, err) &&
              bench_put_header(b, "bench,model,kernels,threads,file_bytes,packed_bytes,tokens,chunk,tokens_s," BENCH_RESULT_COLUMNS);
    for (int i = 0; ok && i < tokens.n; i++) {
        j.tokens = tokens.v[i];
        ok = prefill_row(&j, err);
    }
    close_all(&j);
    return ok;
}

/* ---- decode ---- */

static bool submit_all(model_job *j, int64_t max_tokens, gv_err *err) {
    for (int64_t i = 0; i < j->sequences; i++)
        if (!submit(j, (uint64_t)i, (uint32_t)i, j->context, max_tokens, err)) return false;
    return true;
}

/* Steps until one computes exactly a token of every sequence: from then on all generate. */
static bool reach_decode(model_job *j, gv_err *err) {
    int64_t before;
    do {
        before = engine_get_stats(j->e).computed_tokens;
        if (!step(j, err)) return false;
    } while (engine_get_stats(j->e).computed_tokens - before != j->sequences || engine_get_stats(j->e).waiting > 0);
    return true;
}

static bool time_decode(model_job *j, double *seconds, gv_err *err) {
    /* the prompts into the prefix tree, then again: all sequences start at once, with less than a page each to compute */
    if (!submit_all(j, 1, err) || !run_to_end(j, err)) return false;
    if (!submit_all(j, j->tokens + SPARE_TOKENS, err) || !reach_decode(j, err)) return false;
    const int64_t before = engine_get_stats(j->e).computed_tokens, start = clock_mono_us();
    for (int64_t i = 0; i < j->tokens; i++)
        if (!step(j, err)) return false;
    *seconds = (double)(clock_mono_us() - start) * 1e-6;
    const int64_t computed = engine_get_stats(j->e).computed_tokens - before;
    if (computed != j->tokens * j->sequences)
        return gv_fail(err, GV_STATE, -1, "%lld steps of %lld sequences computed %lld tokens", (long long)j->tokens,
                       (long long)j->sequences, (long long)computed);
    for (int64_t i = 0; i < j->sequences; i++) engine_cancel(j->e, (uint64_t)i);
    return run_to_end(j, err);
}

static bool decode_sample(void *ctx, bench_work *out, gv_err *err) {
    model_job *j = ctx;
    double prompt_s, s;
    if (!time_prompt(j, COMPARED_TOKENS, &prompt_s, err) || !time_decode(j, &s, err)) return false;
    const double tokens = (double)(j->tokens * j->sequences);
    out->value = tokens / s;
    out->beside = COMPARED_TOKENS / prompt_s;
    out->ops = tokens * (j->cost.layer_ops + j->cost.output_ops) / s;
    out->bytes = bytes_a_step(j, j->sequences) * (double)j->tokens / s;
    return true;
}

static bool decode_row(model_job *j, gv_err *err) {
    const int64_t ctx = (j->context > COMPARED_TOKENS ? j->context : COMPARED_TOKENS) + j->tokens + 2 * SPARE_TOKENS;
    const int64_t pages = (j->context + j->tokens + 2 * SPARE_TOKENS + PAGE - 1) / PAGE;
    bench_result r;
    char what[64];
    engine_free(j->e);
    j->e = NULL;
    snprintf(what, sizeof what, "%lld sequences at context %lld", (long long)j->sequences, (long long)j->context);
    if (!open_engine(j, (int)j->sequences, ctx, j->sequences * pages + COMPARED_TOKENS / PAGE + (ctx + PAGE - 1) / PAGE, true, err) ||
        !warm_up(j, STEP_TOKENS, err) ||
        !bench_run(j->b, decode_sample, j, j->cost.ops_peak, (double)j->sequences * (j->cost.layer_ops + j->cost.output_ops),
                   bytes_a_step(j, j->sequences), DEFAULT_RUNS, what, &r, err))
        return false;
    put_start(j, "decode");
    bench_put_int(j->b, j->sequences);
    bench_put_int(j->b, j->context);
    bench_put_int(j->b, j->tokens);
    bench_put_number(j->b, r.value, 2);
    bench_put_number(j->b, r.beside, 2);
    bench_put_number(j->b, r.value / r.beside, 4);
    return bench_put_result(j->b, &r);
}

bool bench_decode(bench *b, gv_err *err) {
    model_job j = {.b = b};
    bench_list sequences, context, tokens;
    int64_t most = COMPARED_TOKENS;
    if (!bench_parse_list("--sequences", b->o->sequences, "1,32", 1, 1024, &sequences, err) ||
        !bench_parse_list("--context", b->o->context, "128,1100", 0, MAX_TOKENS / 2, &context, err) ||
        !bench_parse_list("--tokens", b->o->tokens, "32", 1, MAX_TOKENS / 2 - 64, &tokens, err))
        return false;
    if (tokens.n != 1) return gv_fail(err, GV_USAGE, -1, "--tokens %s: decode takes one number", b->o->tokens);
    j.tokens = tokens.v[0];
    for (int i = 0; i < context.n; i++) most = context.v[i] > most ? context.v[i] : most;
    bool ok = open_model(&j, most + j.tokens + 2 * SPARE_TOKENS, err) &&
              bench_put_header(b, "bench,model,kernels,threads,file_bytes,packed_bytes,sequences,context,tokens,tokens_s,prefill_tokens_s,"
                                  "prefill_ratio," BENCH_RESULT_COLUMNS);
    for (int i = 0; ok && i < sequences.n; i++)
        for (int k = 0; ok && k < context.n; k++) {
            j.sequences = sequences.v[i];
            j.context = context.v[k] ? context.v[k] : 1; /* a prompt has at least one token */
            ok = decode_row(&j, err);
        }
    close_all(&j);
    return ok;
}
