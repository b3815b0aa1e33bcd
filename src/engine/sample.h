/* Choosing a token from logits: penalties, temperature, top-k, top-p, min-p as vLLM defines them, and a counter-based generator, so that
 * a choice depends on nothing but the logits, the sequence's own tokens and (seed, row, sample, attempt, position).
 *
 * Order (canonical-1): bias; repetition, frequency, presence penalty; division by temperature; top-k; top-p; min-p; one uniform number.
 * Candidates are ranked by (logit descending, id ascending); sums are f64 in that order; a candidate's weight is kern_expf(l - max). */
#ifndef GAVEL_ENGINE_SAMPLE_H
#define GAVEL_ENGINE_SAMPLE_H

#include "engine/rules.h"
#include "kern/kern.h"

typedef struct sample_params {
    double temperature; /* 0 = greedy */
    int64_t top_k;      /* 0 = off */
    double top_p, min_p;
    double repetition_penalty, presence_penalty, frequency_penalty;
    uint64_t seed, row;
    uint32_t sample, attempt;
    const sample_bias *bias; /* [n_bias]; ids outside the vocabulary are passed over */
    int n_bias;
    const int32_t *barred; /* [n_barred] ids that sample_token does not choose now */
    int n_barred;
} sample_params;

typedef struct sampler sampler;
/* padding[id]: ids that are never chosen; borrowed.  One sampler serves all sequences of an engine, one after the other. */
#define SAMPLER_BYTES_A_TOKEN 28 /* of the vocabulary */
sampler *sampler_new(int n_vocab, const bool *padding, const kern_ops *kern);
void sampler_free(sampler *s);

/* Chooses one of all ids.  prompt and output are the sequence's tokens so far, position = number of tokens before the new one.
 * False if a logit is not finite. */
bool sample_token(sampler *s, const float *logits, const sample_params *p, const int32_t *prompt, int n_prompt, const int32_t *output,
                  int n_output, int32_t *id) GV_MUST_USE;
/* Chooses among the given ids only; top-k, top-p and min-p do not apply. */
bool sample_choice(sampler *s, const float *logits, const sample_params *p, const int32_t *prompt, int n_prompt, const int32_t *output,
                   int n_output, const int32_t *ids, int n_ids, int *index) GV_MUST_USE;
/* log softmax(logits)[ids[i]] over the vocabulary without padding, before penalties and temperature, f64. */
bool sample_logprobs(sampler *s, const float *logits, const int32_t *ids, int n_ids, double *logprob) GV_MUST_USE;

/* Philox4x32-10 (Salmon et al., SC11): 128 random bits from a 128-bit counter and a 64-bit key. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Uniform in [0, 1), 53 bits, of (seed, row, sample, attempt, position). */
double sample_uniform(const sample_params *p, uint32_t position);

#endif
