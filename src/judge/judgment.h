/* The judgment record: what is kept of every request, and how it is stored in the journal (a JSON object, docs/journal.md).
 *
 * A failure never becomes a score: result is set only when status is JUDGMENT_OK. */
#ifndef GAVEL_JUDGE_JUDGMENT_H
#define GAVEL_JUDGE_JUDGMENT_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

typedef enum judge_mode { JUDGE_ABSOLUTE, JUDGE_RELATIVE } judge_mode;
typedef enum judge_style { STYLE_DISTILABEL, STYLE_PROMETHEUS_EVAL, STYLE_PAPER, STYLE_RAW } judge_style;
typedef enum verdict_parser { PARSE_STRICT, PARSE_LENIENT, PARSE_ROBUST, PARSE_CONSTRAINED } verdict_parser;

typedef enum judgment_status {
    JUDGMENT_OK,
    JUDGMENT_UNPARSABLE, /* the model ended by itself, the parser found no verdict */
    JUDGMENT_TRUNCATED,  /* max_tokens reached, no verdict */
    JUDGMENT_TOO_LONG,   /* the prompt does not fit the context */
    JUDGMENT_BAD_INPUT,  /* the row has no usable values; message says which */
    JUDGMENT_REFUSED,    /* a server refused the content */
    JUDGMENT_ERROR,      /* the engine or server failed */
} judgment_status;
const char *judgment_status_name(judgment_status s); /* "ok", "unparsable", "truncated", "too_long", "bad_input", "refused", "error" */

/* Verdict: 0 = none, 1..5 in absolute mode, 'A' or 'B' in relative mode. */
typedef struct judgment {
    uint64_t row;             /* global row number from 0 */
    sv row_id;                /* id column's text, or the row number */
    char row_hash[65];        /* sha256 of the values that went into the prompt */
    sv rubric;                /* its name; empty in raw style and with a rubric of the row's own */
    uint32_t sample, attempt; /* attempt: 0, or how often --retry-failed has judged the row again */
    char order;               /* 'A': as given; 'B': swapped */
    uint64_t seed;
    int64_t prompt_tokens, cached_tokens, output_tokens;
    const char *finish; /* "stop", "length", "cancelled"; NULL if never run */
    sv raw;             /* the model's whole answer; n = 0 and has_raw false if never run */
    bool has_raw;
    sv feedback;
    bool has_feedback;
    int verdict;
    judgment_status status;
    sv message;
    const char *rule; /* parser rule that matched: "strict", "lenient:...", "constrained", "forced"; NULL if none */
    bool forced;
    bool has_logprobs;
    double choice_logprob[5];
    double expected_score; /* absolute, with has_logprobs */
    int64_t wait_us, prefill_us, decode_us;
} judgment;

/* To and from the journal's JSON text.  Views of *j point into a (from) or stay borrowed (to). */
void judgment_to_json(const judgment *j, buf *out);
bool judgment_from_json(sv text, judgment *j, arena *a, gv_err *err) GV_MUST_USE;

#endif
