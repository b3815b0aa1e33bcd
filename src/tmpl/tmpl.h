/* Chat templates: the Jinja subset that published chat templates use, with the semantics of Jinja2 3.1 inside transformers
 * (ImmutableSandboxedEnvironment, trim_blocks and lstrip_blocks on, loop controls, tojson without HTML escapes).
 *
 * tmpl_compile parses once; a tmpl is immutable and any number of threads may render it at the same time.  tmpl_render writes the text
 * and its segments: which bytes came from the messages (user text) and which from the template, so that a tokenizer never takes user
 * text for a special token.  Both are exact through every string operation.  Rendering is bounded by tmpl_limits; each limit fails with
 * its name.  There is no clock, no file and no environment access: strftime_now exists only when the caller gives a time. */
#ifndef GAVEL_TMPL_TMPL_H
#define GAVEL_TMPL_TMPL_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <time.h>

typedef struct tmpl tmpl;

/* NULL on failure: GV_FORMAT ("TemplateSyntaxError: MESSAGE", where = line), GV_UNSUPPORTED (a Jinja feature outside the subset, named)
 * or GV_LIMIT (source size, nesting).  source must be UTF-8; it is copied. */
tmpl *tmpl_compile(sv source, gv_err *err) GV_MUST_USE;
void tmpl_free(tmpl *t);
/* SHA-256 of the source, lower-case hex: the run's template hash. */
const char *tmpl_hash(const tmpl *t);

typedef struct tmpl_message {
    const char *role; /* "system", "user", "assistant" */
    sv content;       /* UTF-8 */
} tmpl_message;

/* A further template variable.  value NULL: the string `text`.  is_user: its strings are user text. */
typedef struct tmpl_var {
    const char *name;
    sv text;
    const json_value *value;
    bool is_user;
} tmpl_var;

/* 0 means the default in brackets. */
typedef struct tmpl_limits {
    int64_t max_steps;       /* evaluated nodes plus one for each 64 bytes touched (10,000,000) */
    size_t max_output_bytes; /* of the rendered text, and of any one string (64 MiB) */
    size_t max_memory_bytes; /* of all values of one render (512 MiB) */
    int64_t max_range;       /* elements of one range() (100,000) */
} tmpl_limits;

typedef struct tmpl_input {
    const json_value *json_messages; /* any JSON, normally an array of objects; NULL: use message[0..n_message) */
    const tmpl_message *message;
    size_t n_message;
    bool add_generation_prompt;
    sv bos_token, eos_token; /* p NULL: the variable is undefined */
    sv date_string;          /* p NULL: undefined */
    const struct tm *now;    /* NULL: strftime_now is undefined */
    const tmpl_var *var;     /* others: unk_token, tools, documents, enable_thinking, ... */
    size_t n_var;
    tmpl_limits limits;
} tmpl_input;

/* Bytes [offset, offset+n) of the text.  Segments are in order, not empty, cover the text and alternate in is_user. */
typedef struct tmpl_segment {
    size_t offset, n;
    bool is_user; /* came from the messages (role names that are one of system, user, assistant, tool, function, developer, ipython do not
                     count: templates build special tokens from them) */
} tmpl_segment;

typedef struct tmpl_output {
    buf text; /* empty after a failure */
    tmpl_segment *seg;
    size_t n_seg, cap_seg;
    const char *error_type; /* after a failure: the exception's class in Python ("TemplateError", "UndefinedError", "TypeError", ...;
                               "LimitError" for our limits, "UnsupportedError" outside the subset); NULL after success.  Static. */
    buf error_text;         /* its full message, as str(exception) */
} tmpl_output;

/* *out starts zeroed or used before (it is emptied).  On failure err is GV_FORMAT, GV_UNSUPPORTED or GV_LIMIT with "TYPE: MESSAGE" and
 * where = the line of the template, and out->error_type, error_text are set.  Free out with tmpl_output_fini. */
bool tmpl_render(const tmpl *t, const tmpl_input *in, tmpl_output *out, gv_err *err) GV_MUST_USE;
void tmpl_output_fini(tmpl_output *out);

/* Built-in layouts: source by name, NULL if there is none; and all names (NULL-terminated, for nearest_name).  "distilabel" and "mistral"
 * are what the two judge libraries send to Prometheus 2: [INST] system \n user[/INST] without, and with, a space before [/INST]. */
const char *tmpl_builtin(const char *name);
const char *const *tmpl_builtin_names(void);

#endif
