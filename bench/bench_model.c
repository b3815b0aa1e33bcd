/* Speed of one model: prompt tokens a second (one prompt, one token out) and tokens a second of a single sequence, as llama-bench's pp and tg.
 *
 *   bench_model MODEL pp|tg|batch TOKENS [THREADS] [KERNELS]     prints tokens per second; batch: 32 sequences of TOKENS tokens each
 *
 * script/bench runs it side by side with llama.cpp; a figure alone means little on a busy machine. */
#include "base/thread.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int die(const gv_err *err) {
    fprintf(stderr, "bench_model: %s\n", err->msg);
    return 1;
}

static bool run_to_end(engine *e, gv_err *err) {
    while (engine_in_flight(e) > 0) {
        const engine_result *r;
        size_t n;
        if (!engine_step(e, &r, &n, err)) return false;
        for (size_t i = 0; i < n; i++)
            if (r[i].finish == ENGINE_ERROR || r[i].finish == ENGINE_TOO_LONG) return gv_fail(err, GV_STATE, -1, "%s", r[i].message);
    }
    return true;
}

/* Seconds for n_requests requests of n_prompt prompt tokens and n_output new ones. */
static double measure(engine *e, const model *m, int n_requests, int n_prompt, int n_output, gv_err *err) {
    int32_t *prompt = malloc((size_t)n_prompt * sizeof *prompt);
    const int64_t start = clock_mono_us();
    for (int r = 0; r < n_requests; r++) {
        for (int i = 0; i < n_prompt; i++)
            prompt[i] = (int32_t)((uint32_t)(i * 2654435761u + (uint32_t)r * 40503u) % (uint32_t)m->shape.n_vocab);
        engine_request q = {.id = (uint64_t)r, .prompt = prompt, .n_prompt = n_prompt, .max_tokens = n_output, .ignore_eog = true};
        q.params = (sample_params){.top_p = 1, .repetition_penalty = 1};
        engine_submit(e, &q);
    }
    free(prompt);
    return run_to_end(e, err) ? (double)(clock_mono_us() - start) * 1e-6 : -1;
}

int main(int argc, char **argv) {
    gv_err err = GV_ERR_INIT;
    if (argc < 4) {
        fprintf(stderr, "usage: bench_model MODEL pp|tg|batch TOKENS [THREADS] [KERNELS]\n");
        return 2;
    }
    const int tokens = atoi(argv[3]);
    pool *threads = pool_new(argc > 4 ? atoi(argv[4]) : cpu_count(), &err);
    const kern_ops *kern = argc > 5 ? kern_by_name(argv[5], &err) : kern_best();
    gguf *g = threads && kern ? gguf_open(argv[1], &err) : NULL;
    tok *t = g ? tok_from_gguf(g, &err) : NULL;
    model *m = t ? model_from_gguf(g, tokens + 64, 0, threads, &err) : NULL;
    if (!m) return die(&err);
    const bool pp = strcmp(argv[2], "pp") == 0;
    const int n = strcmp(argv[2], "batch") == 0 ? 32 : 1;
    engine_options o = {.kern = kern, .max_batch = 32, .step_tokens = 512, .max_ctx = tokens + 64, .no_prefix_cache = true};
    o.n_pages = (int32_t)((o.max_ctx + 31) / 32) * o.max_batch;
    engine *e = engine_new(m, t, threads, &o, &err);
    if (!e || measure(e, m, n, 1, 8, &err) < 0) return die(&err); /* warm */
    const double s = pp ? measure(e, m, 1, tokens, 1, &err) : measure(e, m, n, 1, tokens, &err);
    if (s < 0) return die(&err);
    printf("%.2f\n", (double)tokens * n / s);
    engine_free(e);
    model_free(m);
    tok_free(t);
    pool_free(threads);
    return 0;
}
