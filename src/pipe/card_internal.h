/* Parts of the card. */
#ifndef GAVEL_PIPE_CARD_INTERNAL_H
#define GAVEL_PIPE_CARD_INTERNAL_H

#include "pipe/card.h"

/* The YAML between the two "---" lines, with its last newline. */
bool card_put_metadata(buf *out, const card *c, gv_err *err) GV_MUST_USE;

/* The first row as Python's json.dumps(indent=4, sort_keys=True) and Jinja's tojson print it: ASCII, with < > & ' escaped; values as the
 * column's type holds them.  What is long is cut. */
bool card_put_record(buf *out, const card_config *config, gv_err *err) GV_MUST_USE;

#endif
