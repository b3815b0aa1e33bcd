/* Rubrics: the built-ins of both judge libraries, rubric files, a row's own rubric, and distilabel's checks.
 *
 * Files: a .json holding a string is that string exactly; .json, .yaml and .yml objects hold criteria and score1_description ..
 * score5_description (one rubric), or name: text and name: object (several); any other file is the text, less one final newline.  Caps: 1
 * MiB a file, 64 KiB a rubric, 1,000 rubrics; YAML: 16 levels, no aliases, every scalar a string.  Texts must be UTF-8.  No state; any
 * thread. */
#ifndef GAVEL_JUDGE_RUBRIC_H
#define GAVEL_JUDGE_RUBRIC_H

#include "base/json.h"
#include "base/mem.h"
#include "judge/judgment.h"

typedef struct rubric {
    sv name; /* built-in name, key in the file, or the file's name without folder and suffix; "row" for a row's own */
    sv text; /* whole: criteria line in brackets and five score lines, or whatever the user wrote */
    bool builtin;
    char hash[65]; /* sha256 of text */
} rubric;

/* Names as the style's library spells them, NULL-terminated (distilabel: factual-validity; others: factual_validity).  Either spelling
 * is accepted everywhere. */
const char *const *rubric_builtin_names(judge_style style);

/* spec: a built-in name, a file, or FILE#NAME to pick one of several.  distilabel's shape check applies in style distilabel.  Strings live
 * in a.  Errors: GV_USAGE unknown name (unknown rubric "helpfullness"; did you mean helpfulness? Built-in rubrics: ...), several rubrics
 * without a choice; GV_FORMAT malformed file (path and place named) or text; GV_LIMIT; GV_IO. */
bool rubric_load(const char *spec, judge_style style, arena *a, rubric *out, gv_err *err) GV_MUST_USE;
/* The same from the bytes of a file called path (for its suffix and for messages); pick NULL: the only one. */
bool rubric_parse_file(sv bytes, const char *path, const char *pick, judge_style style, arena *a, rubric *out, gv_err *err) GV_MUST_USE;
/* A row's value: text, or an object with criteria and score1_description .. score5_description.  json NULL: text counts. */
bool rubric_from_value(const json_value *json, sv text, judge_style style, arena *a, rubric *out, gv_err *err) GV_MUST_USE;

/* What goes into the prompt: the text; in relative mode of prometheus-eval a built-in's first line; in style paper the text without outer
 * white space, in its relative mode the first line. */
sv rubric_insert(const rubric *r, judge_style style, judge_mode mode);

/* distilabel's shape: ^\[.*?\]\n(?:Score [1-4]: .*?\n){4}(?:Score 5: .*?) at the start of text, '.' any character but \n. */
bool rubric_has_shape(sv text);

/* What distilabel 1.5.3 with pydantic 2.10 says to PrometheusEval(mode="absolute", name="t", llm=..., **kwargs), kwargs a JSON object.
 * False: text is str(exception), cause is distilabel's own message if the fault is one of its checks (else empty).  Strings live in a or in
 * kwargs. */
typedef struct rubric_check {
    bool accept;
    sv text, cause;
    /* after accept: the values that count */
    sv rubric;
    const sv *names; /* of the rubrics */
    size_t n_names;
    bool reference;
    int64_t num_generations;
} rubric_check;
/* pairs: `rubrics` as [[key, value], ...] when its keys are not all strings (YAML can say so, JSON cannot); else NULL. */
void rubric_check_task(const json_value *kwargs, const json_value *pairs, arena *a, rubric_check *out);

#endif
