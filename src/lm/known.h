/* Judge models that we know: which chat layout and sampling their authors use, and how they were trained.
 *
 * A model is known by its name (general.name, or the file's, folder's or repository's) together with its configuration: architecture, K/V
 * heads, experts, width and size of the vocabulary.  Both must fit.  Nothing here is forced: an option that is given wins. */
#ifndef GAVEL_LM_KNOWN_H
#define GAVEL_LM_KNOWN_H

#include "modelfile/tensors.h"

typedef struct known_model {
    const char *label;  /* "Prometheus 2 7B" */
    const char *layout; /* for --chat-template, if the model has none of its own */
    const char *preset; /* for --preset: the sampling of its authors */
    int64_t trained_tokens;
    bool needs_reference; /* was trained with reference answers only */
    bool absolute_only;
} known_model;

/* NULL if it is none of them. */
const known_model *known_model_of(const tensors *model);
/* The same for a GGUF file or a folder with a config.json, which needs no weights; NULL also if it cannot be read. */
const known_model *known_model_at(const char *path);
/* Lines for `gavel inspect`. */
void known_model_print(const known_model *k, buf *out);

#endif
