/* See warn.h. */
#include "judge/warn.h"

#include "base/log.h"

void warn_of_settings(const known_model *k, const prompt_spec *prompt, int64_t ctx_tokens) {
    if (!k) return;
    if (ctx_tokens > k->trained_tokens)
        log_msg(LOG_WARN,
                "%s was trained as a judge on at most %lld tokens; --ctx %lld allows longer rows, whose verdicts are less reliable",
                k->label, (long long)k->trained_tokens, (long long)ctx_tokens);
    if (prompt->mode == JUDGE_RELATIVE && k->absolute_only)
        log_msg(LOG_WARN, "%s was trained for absolute grading only; in relative mode its verdicts mean little", k->label);
    else if (!prompt->reference && prompt->style != STYLE_RAW && k->needs_reference)
        log_msg(LOG_WARN, "%s was trained with reference answers; without a reference its verdicts mean little", k->label);
    else if (!prompt->reference && prompt->style != STYLE_RAW && prompt->mode == JUDGE_ABSOLUTE)
        log_msg(LOG_INFO, "%s agrees better with people if rows have reference answers", k->label);
}

void warn_of_tokens(const char *who, const char *option, int64_t max_tokens) {
    if (max_tokens < WARN_ENOUGH_TOKENS)
        log_msg(LOG_WARN, "%s: feedback takes 100 to 300 tokens; %s cuts it off, and verdicts are forced or missing", who, option);
}

void warn_of_long(const known_model *k, uint64_t n_long, uint64_t n, const char *unit) {
    if (n_long)
        log_msg(LOG_WARN, "%llu of %llu %s are longer than the %lld tokens that %s was trained on; their verdicts are less reliable",
                (unsigned long long)n_long, (unsigned long long)n, unit, (long long)k->trained_tokens, k->label);
}
