/* A model's answer to a judgment: tokens, times, finish, verdict and status.  The one place that decides what an answer is worth. */
#ifndef GAVEL_JUDGE_ANSWER_H
#define GAVEL_JUDGE_ANSWER_H

#include "judge/verdict.h"
#include "lm/lm.h"

/* Fills in what the answer says; views of *out are a's.  An answer whose text is NULL was none (has_raw stays false).  False for a cancelled
 * request, which is not recorded. */
bool answer_take(const lm_result *a, verdict_parser parser, judge_mode mode, judgment *out);

#endif
