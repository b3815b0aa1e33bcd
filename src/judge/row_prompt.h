/* From a row of a data set to its prompt: the one way that judging and `gavel render` share. */
#ifndef GAVEL_JUDGE_ROW_PROMPT_H
#define GAVEL_JUDGE_ROW_PROMPT_H

#include "data/rows.h"
#include "judge/prompt.h"
#include "judge/rubric.h"

/* Reads the columns that the style asks for (through the reader's column map) and the rubric: the row's own from rubric_col if that is given,
 * else `all` (NULL in raw style).  In CSV and TSV a value is text, so generations holds a JSON array.  Strings live in a or in the row.
 * Errors say what is wrong with the row: GV_USAGE for a missing column, GV_FORMAT for a value of the wrong type or a malformed rubric. */
bool row_prompt(const prompt_spec *spec, const row *in, const char *rubric_col, const rubric *all, arena *a, prompt_text *out,
                gv_err *err) GV_MUST_USE;

#endif
