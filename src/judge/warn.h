/* Warnings about what is known to hurt, once a run, through base/log.h: settings before it, rows that were too long after it. */
#ifndef GAVEL_JUDGE_WARN_H
#define GAVEL_JUDGE_WARN_H

#include "judge/prompt.h"

enum { WARN_ENOUGH_TOKENS = 256 }; /* a feedback takes 100 to 300 tokens */

/* A model's mode, reference and context; ctx_tokens: as asked for, 0 = default.  k may be NULL. */
void warn_of_settings(const known_model *k, const prompt_spec *prompt, int64_t ctx_tokens);
/* who: "Prometheus 2 7B", "step \"task\""; option: how it was set, "--max-tokens 128". */
void warn_of_tokens(const char *who, const char *option, int64_t max_tokens);
/* Did a row's prompt and answer take more than k was trained on?  k may be NULL. */
static inline bool warn_is_long(const known_model *k, int64_t prompt_tokens, int64_t output_tokens) {
    return k && output_tokens > 0 && prompt_tokens + output_tokens > k->trained_tokens;
}
/* n_long of n ("rows", "judgments") were. */
void warn_of_long(const known_model *k, uint64_t n_long, uint64_t n, const char *unit);

#endif
