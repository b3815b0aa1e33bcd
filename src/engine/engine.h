/* The engine: many sequences at a time through one model.
 *
 * Requests wait in a queue, are admitted when K/V pages allow, and run in steps that mix one token of every generating sequence with
 * chunks of new prompts, up to a budget of tokens.  Under memory pressure the youngest sequence goes back to the queue and later
 * continues exactly where it was.  The result of a request depends on the model and the request alone (canonical-1).
 *
 * The engine knows no verdicts: a constraint is a trigger text, ids to force and ids to choose among.
 * One thread owns an engine; engine_step does the work on that thread and the pool's. */
#ifndef GAVEL_ENGINE_ENGINE_H
#define GAVEL_ENGINE_ENGINE_H

#include "engine/forward.h"
#include "engine/model.h"
#include "engine/sample.h"
#include "tok/tok.h"

/* Free text that must end in trigger, gap and one of the choices.  Once the text contains the trigger, `gap` is forced and one choice
 * taken; if white space already follows it, `bare` choices are taken without the gap; if other text follows within the same token, that
 * token is replaced by the rest of the trigger.  If the model ends, or max_tokens leaves room for the ending only, `lead` is forced. */
typedef struct engine_ending {
    char trigger[32];         /* text, NUL-terminated */
    int32_t lead[32], gap[8]; /* ids */
    int n_lead, n_gap, n_choices;
    int32_t choice[16], bare[16]; /* one id each */
} engine_ending;

typedef struct engine_request {
    uint64_t id;
    const int32_t *prompt; /* n_prompt >= 1 ids, BOS included; copied */
    int32_t n_prompt;
    sample_params params;
    int32_t max_tokens;          /* >= 1, ending included */
    const engine_ending *ending; /* copied; NULL = none */
    const sample_rules *rules;   /* copied; NULL = none.  With an ending its stop texts play no part, and a stop_id is an end of turn */
    bool want_choice_logprobs;
    bool ignore_eog; /* measurements: always max_tokens tokens */
} engine_request;

typedef enum engine_finish { ENGINE_STOP, ENGINE_LENGTH, ENGINE_CANCELLED, ENGINE_TOO_LONG, ENGINE_ERROR } engine_finish;

typedef struct engine_result {
    uint64_t id;
    engine_finish finish;
    char message[256];     /* for TOO_LONG and ERROR */
    const int32_t *tokens; /* generated, without the end-of-turn token or the stop_id; with the tokens of a stop text */
    int32_t n_tokens, n_prompt, n_cached;
    int choice; /* -1 without an ending */
    bool forced;
    double choice_logprob[16];
    int64_t wait_us, prefill_us, decode_us;
    const sample_rules *rules; /* of the request */
} engine_result;               /* tokens and rules live until the next engine_step */

typedef struct engine_options {
    const kern_ops *kern;
    kern_kv_type kv_type;
    int max_batch;    /* sequences that run at a time */
    int step_tokens;  /* budget of tokens a step, >= max_batch */
    int prompt_chunk; /* most prompt tokens of one sequence a step; 0 = no limit but the budget */
    int64_t max_ctx;  /* longest sequence */
    int32_t n_pages;  /* K/V pages; at least ctx/32 + 1 */
    bool no_prefix_cache;
    bool check_kv; /* run kv_check after every step (tests) */
    /* Sees every row of logits a token was chosen from; sequences of one step on different threads (tests).  NULL = none. */
    void (*on_logits)(void *ctx, uint64_t id, int32_t position, const float *logits);
    void *on_logits_ctx;
    forward_inputs_fn *on_inputs; /* forward_watch */
    void *on_inputs_ctx;
} engine_options;

typedef struct engine_stats {
    int64_t prompt_tokens, cached_tokens, computed_tokens, output_tokens, steps, preemptions;
    int running, waiting;
} engine_stats;

typedef struct engine engine;
engine *engine_new(const model *m, const tok *t, pool *threads, const engine_options *o, gv_err *err) GV_MUST_USE;
void engine_free(engine *e);
/* Never fails on content: what cannot run comes back as a result. */
void engine_submit(engine *e, const engine_request *r);
void engine_cancel(engine *e, uint64_t id);
/* One step.  Finished requests are in *results (valid until the next call). False only for a broken invariant (check_kv). */
bool engine_step(engine *e, const engine_result **results, size_t *n, gv_err *err) GV_MUST_USE;
size_t engine_in_flight(const engine *e);
engine_stats engine_get_stats(const engine *e);
/* Bytes that an engine with these options takes beside the weights, pages included. */
size_t engine_bytes(const model *m, const engine_options *o, int n_threads);
/* And each request, waiting or running, of so many tokens, answer included. */
size_t engine_request_bytes(int64_t n_tokens);

/* Logits of every position (or the last) of one id sequence, for `gavel logits`: fn gets n_vocab floats a position, in order. Uses the
 * engine's pages; nothing may be in flight. */
typedef bool engine_logits_fn(void *ctx, int32_t position, const float *logits, gv_err *err);
bool engine_logits(engine *e, const int32_t *tokens, int32_t n, bool all, engine_logits_fn *fn, void *ctx, gv_err *err) GV_MUST_USE;

#endif
