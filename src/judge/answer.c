/* See answer.h. */
#include "judge/answer.h"

static void find_verdict(const lm_result *a, verdict_parser parser, judge_mode mode, judgment *g) {
    verdict v = {0};
    g->raw = a->text;
    g->has_raw = a->text.p != NULL;
    const bool chosen = a->choice >= 0;
    const bool found =
        chosen ? verdict_from_choice(mode, a->text, a->feedback_bytes, a->choice, a->forced, &v) : verdict_parse(parser, mode, a->text, &v);
    if (found) {
        g->status = JUDGMENT_OK;
        g->verdict = v.result;
        g->feedback = v.feedback;
        g->has_feedback = true;
        g->rule = v.rule;
        g->forced = a->forced;
        return;
    }
    g->status = a->finish == LM_LENGTH ? JUDGMENT_TRUNCATED : JUDGMENT_UNPARSABLE;
    g->message =
        a->finish == LM_LENGTH ? SV("the answer reached max_tokens without a verdict") : SV("the answer has no verdict of the asked form");
}

bool answer_take(const lm_result *a, verdict_parser parser, judge_mode mode, judgment *out) {
    out->prompt_tokens = a->prompt_tokens;
    out->cached_tokens = a->cached_tokens;
    out->output_tokens = a->output_tokens;
    out->wait_us = a->wait_us;
    out->prefill_us = a->prefill_us;
    out->decode_us = a->decode_us;
    switch (a->finish) {
    case LM_STOP:
    case LM_LENGTH:
        out->finish = a->finish == LM_STOP ? "stop" : "length";
        find_verdict(a, parser, mode, out);
        break;
    case LM_TOO_LONG: out->status = JUDGMENT_TOO_LONG; break;
    case LM_BAD_INPUT: out->status = JUDGMENT_BAD_INPUT; break;
    case LM_REFUSED: out->status = JUDGMENT_REFUSED; break;
    case LM_CANCELLED: return false;
    default: out->status = JUDGMENT_ERROR; break;
    }
    if (a->message.n) out->message = a->message;
    return true;
}
