/* Python's text functions where a judge library's output depends on them: str() and repr() of JSON values, white space, digits.
 *
 * CPython 3.11 rules (Unicode categories from utf8proc).  Integers of any length keep their digits; floats print as repr() does: the
 * shortest text that reads back, exponents from 1e16 and below 1e-4.  Input strings are UTF-8. */
#ifndef GAVEL_JUDGE_PYSTR_H
#define GAVEL_JUDGE_PYSTR_H

#include "base/json.h"
#include "base/str.h"

/* str(value): a string as it is, everything else as repr. */
void py_str(buf *out, const json_value *v);
void py_repr(buf *out, const json_value *v);
void py_repr_string(buf *out, sv s);
/* "NoneType", "bool", "int", "float", "str", "list", "dict". */
const char *py_type_name(const json_value *v);
/* Whether bool(value) is false: null, false, zero, empty. */
bool py_is_falsy(const json_value *v);
/* As pydantic reads a bool: true, 0, 1, and the texts 1, on, t, true, y, yes and their opposites in any case.  False: none of these. */
bool py_bool(const json_value *v, bool *out);

/* str.isspace and \s of the re module. */
bool py_is_space(int32_t c);
/* Value of a decimal digit of any script (category Nd, \d of the re module), -1 if c is none. */
int py_digit(int32_t c);
/* str.strip(): a view of s. */
sv py_strip(sv s);

#endif
