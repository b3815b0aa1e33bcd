/* What an engine makes of a set of requests, reduced to bits: the tokens of every request and a hash over every row of logits that a
 * token was chosen from.  Two engines agree if and only if these agree. */
#ifndef GAVEL_TESTS_BITS_H
#define GAVEL_TESTS_BITS_H

#include "support/engine_fixture.h"

enum { BITS_MAX_REQUESTS = 64, BITS_MAX_TOKENS = 64 };

typedef struct bits {
    uint64_t logits[BITS_MAX_REQUESTS];
    int32_t tokens[BITS_MAX_REQUESTS][BITS_MAX_TOKENS];
    int32_t n_tokens[BITS_MAX_REQUESTS];
    double logprob[BITS_MAX_REQUESTS];
    int n_vocab;
} bits;

typedef struct bits_workload {
    int n_requests, max_prompt, n_output;
    double temperature;
    const engine_ending *ending;
    int samples; /* requests that have each prompt; 0 is read as 1 */
} bits_workload;

static inline void bits_hash(void *ctx, uint64_t id, int32_t position, const float *logits) {
    bits *b = ctx;
    uint64_t h = b->logits[id] ^ (uint64_t)(uint32_t)position;
    for (int i = 0; i < b->n_vocab; i++) {
        uint32_t u;
        memcpy(&u, &logits[i], sizeof u);
        h = (h ^ u) * 0x100000001b3u;
        h ^= h >> 29;
    }
    b->logits[id] = h;
}

/* Prompts of 2 to max_prompt ids; families of four share prefixes of whole and part pages. */
static inline int32_t bits_prompt(int request, int max_prompt, int n_vocab, int32_t *out) {
    const int family = request / 4, n = 2 + (request * 37) % (max_prompt - 1), shared = (request % 4) * (max_prompt / 4);
    for (int i = 0; i < n; i++) {
        uint32_t x = (uint32_t)(i * 2654435761u) ^ (uint32_t)(family * 40503u) ^ (i >= shared ? (uint32_t)(request * 97u) : 0u);
        x = (x ^ (x >> 15)) * 2246822519u;
        out[i] = (int32_t)((x ^ (x >> 13)) % (uint32_t)n_vocab);
    }
    return n;
}

/* Runs the workload on an engine of these options. */
static inline void bits_run(fixture_options o, const bits_workload *w, bits *out) {
    fixture f;
    gv_err err = GV_ERR_INIT;
    memset(out, 0, sizeof *out);
    o.on_logits = bits_hash;
    o.ctx_of_hook = out;
    fixture_open(&f, &o);
    out->n_vocab = f.m->shape.n_vocab;
    for (int i = 0; i < w->n_requests; i++) {
        int32_t prompt[4096];
        const int samples = w->samples ? w->samples : 1, which = i / samples;
        const int32_t n = bits_prompt(which, w->max_prompt, tok_n_vocab(f.t), prompt);
        engine_request r = {.id = (uint64_t)i,
                            .prompt = prompt,
                            .n_prompt = n,
                            .max_tokens = w->n_output,
                            .ending = w->ending,
                            .want_choice_logprobs = w->ending != NULL,
                            .ignore_eog = true};
        r.params = (sample_params){.temperature = w->temperature,
                                   .top_p = 0.95,
                                   .repetition_penalty = 1.1,
                                   .seed = 7,
                                   .row = (uint64_t)which,
                                   .sample = (uint32_t)(i % samples)};
        engine_submit(f.e, &r);
    }
    int done = 0;
    while (engine_in_flight(f.e) > 0) {
        const engine_result *r;
        size_t n;
        if (!engine_step(f.e, &r, &n, &err)) fail_msg("%s", err.msg);
        for (size_t i = 0; i < n; i++, done++) {
            if (r[i].finish != ENGINE_STOP && r[i].finish != ENGINE_LENGTH) fail_msg("request %d: %s", (int)r[i].id, r[i].message);
            out->n_tokens[r[i].id] = r[i].n_tokens;
            memcpy(out->tokens[r[i].id], r[i].tokens, (size_t)r[i].n_tokens * sizeof(int32_t));
            out->logprob[r[i].id] = r[i].choice_logprob[0];
        }
    }
    assert_int_equal(done, w->n_requests);
    fixture_close(&f);
}

static inline void bits_same(const bits *a, const bits *b, int n_requests, const char *what) {
    for (int i = 0; i < n_requests; i++) {
        if (a->n_tokens[i] != b->n_tokens[i] || memcmp(a->tokens[i], b->tokens[i], (size_t)a->n_tokens[i] * sizeof(int32_t)) != 0)
            fail_msg("%s: request %d generated other tokens", what, i);
        if (a->logits[i] != b->logits[i]) fail_msg("%s: request %d has other logits", what, i);
        if (memcmp(&a->logprob[i], &b->logprob[i], sizeof(double)) != 0) fail_msg("%s: request %d has other log-probabilities", what, i);
    }
}

#endif
