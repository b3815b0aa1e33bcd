/* YAML 1.1 as PyYAML's SafeLoader reads it, delivered as a json_doc (base/json.h), over the events of libyaml.
 *
 * Plain scalars become null, booleans, numbers or text by PyYAML's rules (1e5, y and 0o17 are text; on, 0x1f, 010, 1:30 and 1_000 are not);
 * quoted and block scalars are text.  `<<` merges.  Where JSON cannot say what PyYAML would:
 * - .inf, -.inf, .nan, dates and times stay the text that stands in the file;
 * - integers of any length stay exact (0x, 0b, octal and base 60 up to 2^64 - 1, else GV_LIMIT);
 * - a key is the text that stands in the file, whatever it would resolve to: `1` and `"1"` are the same key.
 * Refused, each with its line: a key that stands twice in a mapping (PyYAML keeps the last one silently; of two values for one setting one is
 * a mistake, and nothing tells which), tags other than !!str !!int !!float !!bool !!null !!map !!seq !!timestamp, several documents, keys that
 * are no scalars, an alias inside of what it names, a plain `=`, text that is not UTF-8.
 * Caps, GV_LIMIT naming each: bytes, depth, values and bytes after aliases are expanded, aliases, anchors.  No state; any thread. */
#ifndef GAVEL_BASE_YAML_H
#define GAVEL_BASE_YAML_H

#include "base/json.h"

/* Zero is the default everywhere. */
typedef struct yaml_options {
    bool strings;       /* every scalar is text; `<<` is an ordinary key */
    bool no_aliases;    /* aliases are refused */
    size_t max_bytes;   /* of the text; 0: 16 MiB */
    size_t max_depth;   /* 0: 64, which is also the most */
    size_t max_values;  /* keys not counted, aliases expanded; 0: 200,000 */
    size_t max_aliases; /* 0: 1,000 */
} yaml_options;

/* NULL on failure, where = the line from 1.  GV_FORMAT: "invalid YAML at line 3: duplicate key \"a\""; "the file is empty" without a document.
 * o may be NULL.  Free with json_free. */
json_doc *yaml_parse(sv text, const yaml_options *o, gv_err *err) GV_MUST_USE;

/* What PyYAML takes a plain scalar for: a writer quotes whatever is not YAML_IS_TEXT. */
typedef enum yaml_kind {
    YAML_IS_TEXT,
    YAML_IS_NULL,
    YAML_IS_BOOL,
    YAML_IS_INT,
    YAML_IS_FLOAT,
    YAML_IS_TIME,
    YAML_IS_MERGE,
    YAML_IS_VALUE,
} yaml_kind;
yaml_kind yaml_resolve(sv plain);

#endif
