/* What the rubric files share among themselves.  See rubric.h for the contracts. */
#ifndef GAVEL_JUDGE_RUBRIC_INTERNAL_H
#define GAVEL_JUDGE_RUBRIC_INTERNAL_H

#include "judge/rubric.h"

#define RUBRIC_MAX_BYTES      (64 * 1024)
#define RUBRIC_MAX_FILE_BYTES (1024 * 1024)
#define RUBRIC_MAX_COUNT      1000
#define RUBRIC_MAX_YAML_DEPTH 16

/* distilabel's message about a rubric's shape. */
extern const char rubric_shape_message[];

/* False if there is no such built-in. */
bool rubric_builtin(const char *name, judge_style style, arena *a, rubric *out);
/* Fills out with copies in a. */
void rubric_set(rubric *out, sv name, sv text, arena *a);
/* Size, UTF-8 and, in style distilabel, shape. */
bool rubric_check_text(sv text, judge_style style, gv_err *err) GV_MUST_USE;
/* "[criteria]\nScore 1: ..." from an object with these six keys. */
bool rubric_object_text(const json_value *object, buf *text, gv_err *err) GV_MUST_USE;

#endif
