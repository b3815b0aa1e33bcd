/* The chat layout of a model: messages to the exact prompt text, and which parts of it are the user's.
 *
 * The template is one of the model's own, a built-in by name, a file, or none.  A template that refuses a system message (Mistral's) gets it merged into
 * the first user message, with a blank line between as in the training format of the judge models.  Immutable after open. */
#ifndef GAVEL_LM_LAYOUT_H
#define GAVEL_LM_LAYOUT_H

#include "lm/lm.h"
#include "tmpl/tmpl.h"
#include "tok/tok.h"

typedef struct layout layout;

/* text: the template itself, or the name of one of the model's own, or NULL.  choice: NULL = the model's own ("default"; known: its built-in one if there is
 * none at all; else GV_USAGE with the names there are), ":NAME" = another of its own, "none", a built-in name, or a file.  t is borrowed; NULL for a server's
 * model: then the text has no BOS or EOS, and there is no encoding. */
layout *layout_open(const tok *t, const char *text, const char *choice, const known_model *known, gv_err *err) GV_MUST_USE;
void layout_free(layout *l);
/* Text and segments into *out (zeroed or used before; free with tmpl_output_fini). */
bool layout_render(const layout *l, const lm_message *messages, size_t n, tmpl_output *out, gv_err *err) GV_MUST_USE;
/* Appends the ids of a rendered prompt, exactly one BOS if the model wants one. */
bool layout_encode(const layout *l, const tmpl_output *text, ids *out, gv_err *err) GV_MUST_USE;
const char *layout_hash(const layout *l); /* sha256 of the template; "none" without one */
bool layout_merges_system(const layout *l);

#endif
