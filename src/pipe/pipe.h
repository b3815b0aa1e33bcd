/* distilabel pipelines: a file of `Pipeline.save()`, YAML or JSON, of distilabel 1.0 to 1.5, as steps and connections.  docs/distilabel.md.
 *
 * Loading resolves classes by their name (module paths changed freely between versions), fills in what old files lack, and puts runtime
 * parameters in.  A class that gavel does not run is GV_UNSUPPORTED, naming the step.  pipe_check then asks everything that can be asked before
 * rows are read: arguments that would change rows and are not honoured, the graph, rubrics.  Unknown keys of a step are ignored, as
 * distilabel ignores them.  Nothing changes after loading; no state. */
#ifndef GAVEL_PIPE_PIPE_H
#define GAVEL_PIPE_PIPE_H

#include "base/json.h"
#include "base/mem.h"
#include "judge/prompt.h"
#include "judge/rubric.h"
#include "judge/verdict.h"

enum { PIPE_MAX_STEPS = 256, PIPE_MAX_GENERATIONS = 1024 };

typedef enum pipe_kind {
    PIPE_LOAD_HUB,
    PIPE_LOAD_DICTS,
    PIPE_LOAD_FILES,
    PIPE_LOAD_DISK,
    PIPE_JUDGE,
    PIPE_KEEP,
    PIPE_GROUP,
    PIPE_COMBINE,
    PIPE_EXPAND,
} pipe_kind;

typedef enum pipe_llm_kind { PIPE_VLLM, PIPE_TRANSFORMERS, PIPE_LLAMACPP, PIPE_OPENAI, PIPE_CLIENT_VLLM } pipe_llm_kind;

typedef struct pipe_step {
    const char *name;
    pipe_kind kind;
    const char *class_name;   /* "KeepColumns" */
    const json_value *json;   /* its arguments */
    const char *api_key;      /* its llm's, which no longer stands in json, so that nothing that is shown or written has it; NULL: none */
    size_t *before, n_before; /* steps whose rows come in, in order of the file's connections */
    size_t *after, n_after;
} pipe_step;

typedef struct pipeline {
    arena a;
    json_doc *doc;
    const json_value *root; /* the whole file, parameters put in, api_key taken out */
    const char *name, *description, *version;
    pipe_step *steps; /* in order of the file */
    size_t n_steps;
    size_t *order; /* [n_steps] every step behind those whose rows it needs */
} pipeline;

/* path: a .yaml, .yml or .json file, here, at http(s)://... or at hf://datasets/ORG/NAME[@REV]/FILE.  params: "STEP.PARAMETER[.KEY...]=VALUE",
 * VALUE being JSON, or text if it is none; an object is merged into an object that is there.  NULL on failure: GV_USAGE for a parameter that
 * does not exist (with the nearest name), GV_FORMAT, GV_IO, GV_LIMIT, GV_UNSUPPORTED, and GV_INTERRUPTED once *stop is set (stop may be NULL). */
pipeline *pipe_load(const char *path, const char *const *params, size_t n_params, const volatile sig_atomic_t *stop,
                    gv_err *err) GV_MUST_USE;
/* The same from the bytes of a file called path (for its suffix and for messages). */
pipeline *pipe_parse(sv bytes, const char *path, const char *const *params, size_t n_params, gv_err *err) GV_MUST_USE;
void pipe_free(pipeline *p);

/* Everything that can be known before rows are read.  Messages of distilabel where it has one.  has_dataset: a data set is given
 * for steps that nothing leads to, as Pipeline.run(dataset=) does. */
bool pipe_check(const pipeline *p, bool has_dataset, gv_err *err) GV_MUST_USE;

/* ---- what a judging step is asked to do ---- */

typedef struct pipe_llm {
    pipe_llm_kind kind;
    const char *class_name;
    const char *model;                          /* Hub id or path; "" if the server is to be asked */
    const char *base_url;                       /* servers */
    const char *chat_template;                  /* NULL: the model's own */
    const char *revision;                       /* of model in the Hub; "": main */
    const char *tokenizer, *tokenizer_revision; /* whose layout ClientvLLM takes; "" */
    lm_sampling sampling;
} pipe_llm;

typedef struct pipe_judge {
    prompt_spec prompt;
    rubric rubric;
    bool group, raw_input, raw_output, constrained;
    uint32_t n_generations;
    pipe_llm llm;
} pipe_judge;
/* Reads and checks the arguments of a judging step; strings live in the pipe or in a. */
bool pipe_judge_read(const pipe_step *s, arena *a, pipe_judge *out, gv_err *err) GV_MUST_USE;

/* ---- looking ---- */

/* name, description, steps with their parameters, connections: for `gavel info`. */
void pipe_describe(const pipeline *p, buf *out);
bool pipe_is_source(pipe_kind k);

#endif
