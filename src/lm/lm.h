/* The seam between judging and language models: submit requests, poll results, cancel.
 *
 * Behind it: lm_local (our engine), lm_remote (an OpenAI-compatible server), lm_mock (tests).  One thread owns an lm.  Requests are answered in any order, each exactly once; a failure of one never touches another.  Results do not depend on
 * what else is in flight (local: bit-exact, ARCHITECTURE.md canonical-1). */
#ifndef GAVEL_LM_LM_H
#define GAVEL_LM_LM_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/rules.h"

#include <signal.h>

typedef struct lm lm;

typedef struct lm_caps {
    const char *model_name; /* for the output column model_name and the record */
    const char *model_hash; /* sha256 hex of the weights, "" if unknown (remote) */
    const char *tokenizer_hash, *template_hash;
    const char *numerics; /* "canonical-1 kv=f16 w=Q4_1+Q8_0"; other engines their own id */
    int64_t ctx_tokens;   /* longest prompt + answer */
    bool constrained;     /* lm_constraint is honoured */
    bool logprobs;        /* log-probabilities at the verdict position */
    int max_in_flight;    /* requests worth having submitted at a time */
} lm_caps;

/* Sampling as vLLM defines it.  Zero-initialised = greedy with neutral penalties except where noted. */
typedef struct lm_sampling {
    double temperature;                         /* 0 = greedy */
    int64_t top_k;                              /* 0 = off */
    double top_p;                               /* 1 = off (0 is read as 1) */
    double min_p;                               /* 0 = off */
    double repetition_penalty;                  /* 1 = off (0 is read as 1); over prompt and output */
    double presence_penalty, frequency_penalty; /* over output */
    int64_t max_tokens;                         /* of the answer, the constrained ending included; > 0 */
    uint64_t seed;                              /* of the run; the generator is keyed by (seed, row, sample, attempt, position) */
    const sample_rules *rules;                  /* stops, biases; NULL = none.  Until the request is answered */
    const char *more; /* servers: further members of the request's body, as JSON: "\"guided_regex\":\"...\""; or NULL */
} lm_sampling;

/* Free text, then a forced ending: when the text contains `trigger`, or the model would stop without it, or max_tokens is near, the
 * engine makes the text end in trigger + " " + one of the choices, the choice taken by its probability there. */
typedef struct lm_constraint {
    sv trigger;        /* "[RESULT]"; empty = no constraint */
    const sv *choices; /* "1".."5" or "A","B" */
    size_t n_choices;  /* <= 16 */
} lm_constraint;

typedef struct lm_message {
    sv role, content; /* borrowed until submit returns */
} lm_message;

typedef struct lm_request {
    uint64_t id;                /* the caller's; comes back in the result */
    const lm_message *messages; /* laid out by the model's chat template (or the lm's override) */
    size_t n_messages;
    lm_sampling sampling;
    uint64_t row;             /* global row number: key of the random generator */
    uint32_t sample, attempt; /* further keys */
    lm_constraint constraint;
    bool want_choice_logprobs; /* log-probabilities of the choices at the verdict position */
    bool ignore_eog;           /* measurements: always max_tokens tokens */
} lm_request;

typedef enum lm_finish { LM_STOP, LM_LENGTH, LM_CANCELLED, LM_TOO_LONG, LM_BAD_INPUT, LM_REFUSED, LM_ERROR } lm_finish;

typedef struct lm_result {
    uint64_t id;
    lm_finish finish;
    sv text;    /* raw answer, special tokens not shown; any bytes the model made, valid UTF-8 (U+FFFD) */
    sv message; /* why, for LM_TOO_LONG, LM_BAD_INPUT, LM_REFUSED and LM_ERROR */
    int64_t prompt_tokens, cached_tokens, output_tokens;
    int choice;                /* index of the constrained choice, -1 without one */
    bool forced;               /* the trigger was forced, not written by the model */
    size_t feedback_bytes;     /* with a choice: bytes of text before the trigger */
    double choice_logprob[16]; /* with want_choice_logprobs and a choice: log p over the whole vocabulary */
    int64_t wait_us, prefill_us, decode_us;
} lm_result; /* views live until the next lm_poll */

/* Exact prompt text of messages under this lm's layout, for `render`. */
bool lm_render(lm *m, const lm_message *messages, size_t n, buf *out, gv_err *err) GV_MUST_USE;
/* Copies what it needs.  False only for a broken lm (out of memory): a bad request comes back as a result. */
bool lm_submit(lm *m, const lm_request *r, gv_err *err) GV_MUST_USE;
/* Works until at least one result is there or nothing is in flight or ~50 ms have passed (so that progress can be shown).  *n results in
 * *results, valid until the next call.  False if the engine is broken for good. */
bool lm_poll(lm *m, const lm_result **results, size_t *n, gv_err *err) GV_MUST_USE;
/* All requests with this id end as LM_CANCELLED. */
void lm_cancel(lm *m, uint64_t id);
size_t lm_in_flight(const lm *m);
/* May take a while: it waits until the weights are hashed, which goes on beside other work from lm_open on. */
const lm_caps *lm_get_caps(lm *m);
/* The same without waiting: model_hash is "" as long as it is not known. */
const lm_caps *lm_peek_caps(lm *m);
void lm_free(lm *m);

typedef struct lm_stats {
    int64_t prompt_tokens, cached_tokens, computed_tokens, output_tokens, running, waiting;
} lm_stats;
lm_stats lm_get_stats(const lm *m);

/* Options for lm_open; zero = default. */
typedef struct lm_options {
    const char *model;         /* path of a GGUF or a folder; "http://HOST:PORT/v1[#MODEL]"; "mock" (or "mock:ARGS") under GAVEL_TESTING */
    const char *weights;       /* "q4_k_m" ...: quantise while loading; NULL = as in the file */
    const char *chat_template; /* built-in name, file, "none", or NULL = the model's own */
    const char *chat_template_text; /* the template itself; it goes before chat_template */
    const char *own_template;       /* built-in name that stands for the model's own if it has none, or NULL */
    const char *kernels;            /* "ref" ...; NULL = best */
    const char *kv;                 /* "f16" (default) or "f32" */
    int64_t threads;                /* 0 = all usable CPUs */
    int64_t max_batch;              /* sequences at a time, 0 = 32 */
    int64_t ctx;                    /* 0 = the model's, at most what memory allows */
    int64_t memory_bytes;           /* of the whole process; 0 = most of what the machine has */
    const char *weights_cache;      /* folder for packed weights (engine/model_cache.c); NULL = none */
    int64_t prompt_chunk;           /* prompt tokens of one sequence a step, 0 = default; results do not depend on it */
    bool no_prefix_cache;
    const char *api_key;               /* servers: sent as a bearer token; NULL = $GAVEL_API_KEY, else $OPENAI_API_KEY */
    const volatile sig_atomic_t *stop; /* servers: waits end with GV_INTERRUPTED when it is set; NULL = never */
} lm_options;
lm *lm_open(const lm_options *o, gv_err *err) GV_MUST_USE;
/* Is it the address of a server?  Those do not constrain answers. */
bool lm_is_remote(const char *model);

#endif
