/* Judge models that we know: which chat layout, prompt style and sampling their authors use, and which settings are known to hurt.
 *
 * A model is known by its name (general.name, or the file's or folder's) together with its configuration, and only if both fit.  Nothing here is
 * forced: an option that is given wins. */
#ifndef GAVEL_JUDGE_KNOWN_H
#define GAVEL_JUDGE_KNOWN_H

#include "judge/run.h"
#include "modelfile/tensors.h"

typedef struct known_model {
    const char *label;  /* "Prometheus 2 7B" */
    const char *style;  /* for --prompt */
    const char *layout; /* for --chat-template, if the model has none of its own */
    const char *preset; /* for --preset: the sampling of its authors */
    int64_t trained_tokens;
    bool needs_reference; /* was trained with reference answers only */
    bool absolute_only;
} known_model;

/* NULL if it is none of them. */
const known_model *known_model_of(const tensors *model);
/* The same for the model at a path; NULL also if it cannot be opened. */
const known_model *known_model_at(const char *path);
/* Warnings about settings of a run that are known to hurt; ctx_tokens: as asked for, 0 = default. */
void known_model_warn(const known_model *k, const run_spec *spec, int64_t ctx_tokens);
/* Lines for `gavel inspect`. */
void known_model_print(const known_model *k, buf *out);

#endif
