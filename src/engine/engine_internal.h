/* A sequence, and what engine.c (queue, pages, steps) and seq.c (a sequence's own next token) share. */
#ifndef GAVEL_ENGINE_INTERNAL_H
#define GAVEL_ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "engine/forward.h"
#include "engine/kv.h"

typedef enum seq_phase {
    SEQ_FREE,   /* free text */
    SEQ_CHOICE, /* the next token is one of the choices */
    SEQ_DONE,
} seq_phase;

/* What is forced behind a half-written trigger: ids of trigger[k..], for each k.  Made at submission, because a step must not allocate. */
typedef struct trigger_rests {
    struct trigger_rests *next;
    char trigger[32];
    int n[32];
    int32_t id[32][32];
} trigger_rests;

/* A request's rules, and what is barred before its least number of tokens: its stop ids and the model's ends of turn. */
typedef struct seq_rules {
    sample_rules r;
    int n_barred;
    int32_t barred[]; /* [n_barred] */
} seq_rules;

/* One request on its way.  tokens = prompt then output; the first n_done of them have K and V in pages. */
typedef struct seq {
    struct seq *next;   /* in the queue, oldest first */
    uint64_t id, order; /* order of submission: the youngest has the largest */
    int32_t *tokens;
    int32_t n_tokens, n_prompt, n_done, limit; /* limit: most tokens, prompt included */
    kv_page *pages;                            /* [n_pages] */
    int32_t n_pages;
    int32_t n_shared_tokens; /* prompt tokens taken from the tree instead of computed */
    int32_t n_common;        /* first pages that a sequence had in common which ran when this one was admitted */
    bool restarted;          /* was preempted: what it attaches now is no longer counted as shared */
    bool keep_kv;            /* the next run recomputes the last prompt token over a shared page */
    sample_params params;
    bool has_ending, want_logprobs, ignore_eog;
    engine_ending ending;
    const trigger_rests *rests; /* of the ending's trigger; the engine's */
    seq_rules *rules;           /* NULL: none */
    seq_phase phase;
    bool use_bare;
    char tail[64]; /* last bytes of the output text, where the trigger may be under way */
    size_t n_tail;
    engine_result result;
    int64_t submitted_us, admitted_us, first_us; /* 0 = not yet */
} seq;

/* What the logits of the last token make of the sequence: appends the next token, or ends it.  Applies the forced ending. */
void seq_advance(seq *s, sampler *smp, const tok *t, const float *logits);
trigger_rests *seq_make_rests(const char *trigger, const tok *t);
/* Tokens that the ending needs at most, choice included; 0 without one. */
int32_t seq_ending_tokens(const engine_ending *e);
void seq_end(seq *s, engine_finish finish, const char *message);

#endif
