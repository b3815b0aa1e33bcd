/* What a request may ask beside sampling: texts and ids that end its answer, a least number of tokens, and biases of single ids, as vLLM's
 * SamplingParams define them (stop, stop_token_ids, min_tokens, logit_bias, include_stop_str_in_output).
 *
 * Plain data without pointers, so that a request is copied whole.  Shared by the engine, which ends sequences by it, the seam (lm/lm.h), which
 * cuts their text, and clients of servers, which send it on. */
#ifndef GAVEL_ENGINE_RULES_H
#define GAVEL_ENGINE_RULES_H

#include "base/str.h"

enum { RULES_MAX_STOPS = 16, RULES_MAX_STOP_BYTES = 127, RULES_MAX_STOP_IDS = 64, RULES_MAX_BIASES = 300 };

typedef struct sample_bias {
    int32_t id;
    float bias; /* added to the logit before all else */
} sample_bias;

typedef struct sample_rules {
    char stop[RULES_MAX_STOPS][RULES_MAX_STOP_BYTES + 1]; /* NUL-terminated, not empty */
    int n_stops;
    bool keep_stop; /* the text ends behind the stop, not before it */
    int32_t stop_id[RULES_MAX_STOP_IDS];
    int n_stop_ids;
    int32_t min_tokens; /* before so many no end of turn and no stop_id is chosen, and no stop ends the answer */
    sample_bias bias[RULES_MAX_BIASES];
    int n_biases;
} sample_rules;

/* Where the first stop stands that ends beyond text[from): *end is its end.  SIZE_MAX: nowhere.  Of two at one place the longer one. */
size_t rules_find_stop(const sample_rules *r, sv text, size_t from, size_t *end);
/* Bytes of text that stay; from as above. */
size_t rules_cut(const sample_rules *r, sv text, size_t from);

#endif
