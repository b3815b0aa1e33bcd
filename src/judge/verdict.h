/* Verdicts: from a judge model's answer to feedback and a score of 1..5 or the letter A or B.
 *
 * strict is distilabel 1.5.3, lenient is prometheus-eval 0.1.20, both exactly, with Python's ideas of white space, digits and letter case;
 * robust is strict followed by the fall-backs that docs/judging.md lists.  All are linear in the answer and keep nothing. */
#ifndef GAVEL_JUDGE_VERDICT_H
#define GAVEL_JUDGE_VERDICT_H

#include "judge/judgment.h"

typedef struct verdict {
    int result;       /* 0 = none, 1..5 (absolute), 'A' or 'B' (relative) */
    sv feedback;      /* a view of raw; valid if result is not 0.  lenient: the whole answer, as that library returns */
    const char *rule; /* static; which rule matched, NULL if none */
} verdict;

/* True if a verdict was found; else *out is zeroed.  raw.p NULL is no answer.  PARSE_CONSTRAINED reads as strict with rule "constrained".
 * */
bool verdict_parse(verdict_parser parser, judge_mode mode, sv raw, verdict *out);
/* For an engine that chose the verdict itself: choice counts from 0 (1..5 or A, B), the first feedback_bytes of raw precede the trigger.
 * The feedback is stripped as strict does; rule is "forced" or "constrained".  False if choice is out of range. */
bool verdict_from_choice(judge_mode mode, sv raw, size_t feedback_bytes, int choice, bool forced, verdict *out);

/* "strict", "lenient", "robust", "constrained". */
const char *verdict_parser_name(verdict_parser p);
bool verdict_parser_from(const char *name, verdict_parser *out);

#endif
