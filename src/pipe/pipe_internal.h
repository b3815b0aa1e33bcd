/* Shared by the files of this room that read a pipeline: names of classes and parameters, and reading of arguments. */
#ifndef GAVEL_PIPE_INTERNAL_H
#define GAVEL_PIPE_INTERNAL_H

#include "pipe/pipe.h"

/* What an argument holds; null is always its default. */
typedef enum arg_type {
    ARG_ANY, /* its reader says what is wrong */
    ARG_BOOL,
    ARG_BOOL_OR_NAMES,
    ARG_INT,
    ARG_NUMBER,
    ARG_TEXT,
    ARG_MAP,       /* an object of texts */
    ARG_FILES,     /* a path, a list of them, or an object of these */
    ARG_OBJECT,    /* of anything */
    ARG_RESOURCES, /* pipe_resource_params */
    ARG_LLM,       /* the parameters of the class that its type_info names */
    ARG_KWARGS,    /* the LLM class's generation keywords */
    ARG_SECRET,    /* a text that nothing which is shown or written has */
    ARG_SECRETS,   /* an object whose values are that; its keys may be seen */
} arg_type;

typedef struct pipe_param {
    const char *name;
    arg_type type;
    int64_t least; /* of ARG_INT and ARG_NUMBER */
} pipe_param;
extern const pipe_param pipe_resource_params[];
const pipe_param *pipe_param_find(const pipe_param *params, sv name); /* NULL: not there; params may be NULL */

typedef struct pipe_class {
    const char *name;
    pipe_kind kind;
    const pipe_param *params; /* what Pipeline.run(parameters=) may set, up to one without a name */
} pipe_class;
const pipe_class *pipe_class_find(sv name); /* legacy names too; NULL: not one that is run */

typedef struct pipe_llm_class {
    const char *name;
    pipe_llm_kind kind;
    const pipe_param *params;
    const char *const *generation; /* keys of generation_kwargs */
} pipe_llm_class;
const pipe_llm_class *pipe_llm_class_find(sv name);

/* The class name in an object's type_info, empty if there is none. */
sv pipe_type_name(const json_value *object);

/* argument.c.  The file as JSON, each argument as what it holds (True and "yes" are true, a number is a text where a text is wanted), without secrets;
 * what does not fit stays, for pipe_check_args. */
void pipe_put_typed(const json_value *root, buf *out);
/* GV_FORMAT, naming step, argument and both sides: a value that is not what the argument holds. */
bool pipe_check_args(const pipe_step *s, gv_err *err) GV_MUST_USE;
/* Parameters of an argument that is an object of them, by the class that the object names: NULL if it has no such table. */
const pipe_param *pipe_param_members(const pipe_param *p, const json_value *object);

/* The file's text with the parameters put in, as JSON. */
bool pipe_put_params(const json_value *root, const char *const *params, size_t n, buf *out, gv_err *err) GV_MUST_USE;

/* Arguments of a step, null and absent alike being the default.  Numbers and booleans may stand as text, as pydantic takes them. */
const json_value *pipe_arg(const json_value *object, const char *key);
bool pipe_arg_bool(const pipe_step *s, const json_value *object, const char *key, bool otherwise, bool *out, gv_err *err) GV_MUST_USE;
bool pipe_arg_int(const pipe_step *s, const json_value *object, const char *key, int64_t otherwise, int64_t *out, gv_err *err) GV_MUST_USE;
bool pipe_arg_double(const pipe_step *s, const json_value *object, const char *key, double otherwise, double *out, gv_err *err) GV_MUST_USE;
/* A copy in a; `otherwise` may be NULL. */
bool pipe_arg_text(const pipe_step *s, const json_value *object, const char *key, const char *otherwise, arena *a, const char **out,
                   gv_err *err) GV_MUST_USE;

/* Does the argument ask for something?  Null, false, 0, "" and empty containers do not. */
bool pipe_asks(const json_value *object, const char *key);
/* GV_UNSUPPORTED: 'step "task": WHAT is not supported: WHY'. */
bool pipe_refuse(const pipe_step *s, const char *what, const char *why, gv_err *err);

/* tokenizer.c: the chat template in the tokenizer_config.json of a folder here, or of a Hub repository at a revision (NULL: main).  False, and why, if
 * there is none. */
bool pipe_tokenizer_template(const char *name, const char *revision, const volatile sig_atomic_t *stop, buf *out, gv_err *err) GV_MUST_USE;

/* generation.c.  out->seed is what generation_kwargs may replace; strings and rules live in a. */
bool pipe_read_generation(const pipe_step *s, const json_value *llm, const pipe_llm_class *c, arena *a, lm_sampling *out,
                          gv_err *err) GV_MUST_USE;
bool pipe_read_structure(const pipe_step *s, const json_value *llm, judge_mode mode, bool *constrained, gv_err *err) GV_MUST_USE;

/* As JSON; a number in its shortest form, so that YAML's 1.0e-05 and JSON's 1e-05 are the same. */
void pipe_put_value(const json_value *v, buf *out);

/* The graph: order, sources, steps that join. */
bool pipe_order(pipeline *p, gv_err *err) GV_MUST_USE;
bool pipe_check_graph(const pipeline *p, bool has_dataset, gv_err *err) GV_MUST_USE;

/* fetch.c: the bytes of a pipeline file at http(s)://... or hf://datasets/ORG/NAME[@REV]/FILE, at most cap. */
bool pipe_is_url(const char *path);
bool pipe_fetch(const char *url, uint64_t cap, const volatile sig_atomic_t *stop, buf *out, gv_err *err) GV_MUST_USE;

#endif
