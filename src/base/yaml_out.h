/* YAML as PyYAML's dump(default_flow_style=False, sort_keys=False) writes it, byte for byte: block style, sequences not indented under their
 * key, scalars folded at 80 columns, text quoted where YAML 1.1 would read something else or could not read it at all.
 *
 * The value comes as JSON.  Integers stand as in the JSON text, other numbers as Python's repr of the double (1e-05 becomes 1.0e-05).
 * Anchors are not written: PyYAML makes them of objects that are the same in memory, which a JSON text does not have. */
#ifndef GAVEL_BASE_YAML_OUT_H
#define GAVEL_BASE_YAML_OUT_H

#include "base/json.h"

/* Zero is PyYAML's default. */
typedef struct yaml_out_options {
    bool allow_unicode; /* printable characters beyond ASCII stay; else \xNN, \uNNNN, \UNNNNNNNN in double quotes */
    bool sort_keys;     /* by code point, as Python sorts strings */
} yaml_out_options;

/* Appends one document with a final newline.  o may be NULL. */
void yaml_put_json(buf *out, const json_value *v, const yaml_out_options *o);

#endif
