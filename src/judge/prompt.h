/* Prompts: what a judge model is asked, byte for byte as the judge libraries write it.
 *
 * Styles: distilabel 1.5 (PrometheusEval), prometheus-eval 0.1.20, paper (the training format and the paper's evaluation code: one user
 * message of system prompt, blank line, text) and raw (the row carries the whole user message).  Values go in verbatim in a single pass:
 * braces, markers and template syntax in a row stay text.  Nothing here keeps state; every function may be called from any thread. */
#ifndef GAVEL_JUDGE_PROMPT_H
#define GAVEL_JUDGE_PROMPT_H

#include "base/json.h"
#include "base/mem.h"
#include "judge/judgment.h"
#include "lm/lm.h"

typedef struct prompt_spec {
    judge_style style;
    judge_mode mode;
    bool reference; /* the prompt shows a reference answer */
    bool swapped;   /* relative: the second response is shown as Response A */
} prompt_spec;

/* A row's value under one column: JSON of any type, or text where the file format has only text (CSV). */
typedef struct prompt_field {
    const json_value *json; /* NULL: text counts */
    sv text;
} prompt_field;
/* False if the row has no such column.  Renaming (--map) is the caller's: it is asked for the names below. */
typedef bool prompt_lookup(void *ctx, const char *column, prompt_field *out);

typedef struct prompt_values {
    sv instruction; /* raw style: the whole user message */
    sv a, b;        /* response (absolute: a) */
    sv reference;
    sv rubric; /* as inserted: rubric_insert; not needed by raw */
} prompt_values;

/* Reads the style's columns: instruction, generation (absolute) or generations (relative), reference; prometheus-eval also takes its own
 * names response, response_A and response_B, reference_answer where the former are absent; raw takes only prompt.  instruction and
 * reference of any type become Python's str() (prometheus-eval: a reference that is null, "", 0, false or empty becomes "None").  A
 * text-only generations holds a JSON array.  The strings live in a or in the row; rubric is left alone. Errors: GV_USAGE "the row has no
 * column generation"; GV_FORMAT in distilabel's words ("Provided `generation` is of type <class 'int'> but a string should be provided
 * instead."). */
bool prompt_values_read(const prompt_spec *spec, prompt_lookup *lookup, void *ctx, arena *a, prompt_values *out, gv_err *err) GV_MUST_USE;
/* The first column that the style needs and has() denies, or NULL: a check before the run for formats with a header. */
const char *prompt_missing_column(const prompt_spec *spec, bool (*has)(void *ctx, const char *column), void *ctx);

typedef struct prompt_text {
    sv system;       /* n = 0 in raw style */
    sv user;         /* paper: holds the system prompt too */
    bool has_system; /* a system message of its own is sent */
    char hash[65];   /* sha256 over the values, each with its length: the judgment's row_hash */
} prompt_text;

/* System and user text; user lives in a. */
void prompt_build(const prompt_spec *spec, const prompt_values *v, arena *a, prompt_text *out);
/* The messages to send: system and user, or user alone.  Returns how many; the views are p's. */
size_t prompt_messages(const prompt_text *p, lm_message out[2]);
/* The style's own chat layout, for render without a model: distilabel "[INST] SYSTEM\nUSER[/INST]", prometheus-eval (FastChat's mistral)
 * "[INST] SYSTEM\nUSER [/INST]", paper and raw "[INST] USER [/INST]" (Mistral-7B-Instruct-v0.2's template).  No BOS. */
void prompt_layout(judge_style style, const prompt_text *p, buf *out);

/* "distilabel", "prometheus-eval", "paper", "raw"; "absolute", "relative".  The from functions return false if there is no such name. */
const char *judge_style_name(judge_style s);
bool judge_style_from(const char *name, judge_style *out);
const char *judge_mode_name(judge_mode m);

#endif
