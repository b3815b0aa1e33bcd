/* Column types of a table: a tree for each column, inferred from JSON values as pyarrow infers from Python objects, read from a Parquet file,
 * or read from and written as the "features" of a Hub data set.  docs/data.md has the rules.
 *
 * Every column and member may be null.  All types of one schema live in its arena; a type is changed only through its schema.
 * Inference: null gives way to any type; integers are int64 (uint64 above 2^63), and float64 beside a float; members of objects are sorted
 * by name, as Arrow sorts them; "NaN", "Infinity" and "-Infinity" are floats beside numbers, and text otherwise; everything else that differs is an error naming the column, both types and the row. */
#ifndef GAVEL_DATA_SCHEMA_H
#define GAVEL_DATA_SCHEMA_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define SCHEMA_MAX_NODES 10000u /* columns, members and elements of one schema */
#define SCHEMA_MAX_DEPTH 64

typedef enum type_kind {
    TYPE_NULL, /* no value seen */
    TYPE_BOOL,
    TYPE_INT8,
    TYPE_INT16,
    TYPE_INT32,
    TYPE_INT64,
    TYPE_UINT8,
    TYPE_UINT16,
    TYPE_UINT32,
    TYPE_UINT64,
    TYPE_FLOAT16,
    TYPE_FLOAT32,
    TYPE_FLOAT64,
    TYPE_STRING,
    TYPE_BINARY,
    TYPE_FIXED_BINARY, /* width bytes */
    TYPE_DATE,         /* days since 1970-01-01 */
    TYPE_TIME,         /* unit since midnight; ms are 32 bits, us and ns 64 */
    TYPE_TIMESTAMP,    /* unit since 1970-01-01; utc: an instant, else a local time */
    TYPE_DECIMAL,      /* precision <= 38 digits, scale of them behind the point */
    TYPE_LIST,         /* one field: the element */
    TYPE_STRUCT,       /* fields: the members */
} type_kind;

typedef enum time_unit { UNIT_MS, UNIT_US, UNIT_NS } time_unit;

typedef struct schema_type {
    type_kind kind;
    time_unit unit;
    bool utc;
    bool float_words; /* TYPE_STRING of inference: all values so far are words for a float that JSON lacks (data/value_text.h) */
    int32_t width, precision, scale;
    struct schema_field *fields;
    size_t n_fields, cap_fields;
} schema_type;

typedef struct schema_field {
    sv name; /* of an element: "element" */
    schema_type type;
} schema_field;

typedef struct schema {
    schema_type root; /* a struct: its fields are the columns, in order */
    size_t n_nodes;
    arena a;
} schema;

void schema_init(schema *s);
void schema_fini(schema *s);

/* ---- building ---- */

/* Column by name, NULL if there is none.  Pointers to fields hold until a field is added beside them. */
schema_field *schema_find(const schema *s, sv name);
/* A new column at the end, of type null; GV_FORMAT if the name is taken, GV_LIMIT over SCHEMA_MAX_NODES. */
schema_field *schema_add(schema *s, sv name, gv_err *err) GV_MUST_USE;
/* The same with a given type without fields. */
bool schema_add_plain(schema *s, sv name, type_kind kind, gv_err *err) GV_MUST_USE;
/* Makes t, a null type, a list of a null element; its element. */
schema_type *schema_make_list(schema *s, schema_type *t, gv_err *err) GV_MUST_USE;
/* Adds a member to t, which is or becomes a struct: at the end, or at its place by name if sorted. */
schema_type *schema_add_member(schema *s, schema_type *t, sv name, bool sorted, gv_err *err) GV_MUST_USE;
/* Copies a type of any schema into t of s. */
bool schema_copy_type(schema *s, schema_type *t, const schema_type *from, gv_err *err) GV_MUST_USE;

/* ---- inference ---- */

/* Widens t so that v fits it.  column and row are for the message:
 * 'column "meta.source": string in row 17, int64 before it'. */
bool schema_see_value(schema *s, schema_type *t, const json_value *v, sv column, uint64_t row, gv_err *err) GV_MUST_USE;
/* The members of an object as columns; new ones are added at the end. */
bool schema_see_row(schema *s, const json_value *object, uint64_t row, gv_err *err) GV_MUST_USE;
/* Widens t so that all values of from fit it; the same rules between types. `column` for the message. */
bool schema_unify(schema *s, schema_type *t, const schema_type *from, sv column, gv_err *err) GV_MUST_USE;

bool schema_type_equal(const schema_type *a, const schema_type *b);

/* ---- texts ---- */

/* As pyarrow prints a type: "struct<a: int64, b: list<element: string>>"; element: the name of list elements, "element" or "item". */
void schema_put_arrow(buf *out, const schema_type *t, const char *element);
/* Reads such a text (any element name). */
bool schema_from_arrow(schema *s, schema_type *t, sv text, gv_err *err) GV_MUST_USE;
/* The "features" object of a Hub data set ({"col": {"dtype": "int64", "_type": "Value"}, ...}), with lists as [..] and Sequence, which
 * every version of the Python library reads. */
void schema_put_features(buf *out, const schema *s);
/* Reads it, also the newer List and LargeList, ClassLabel (int64), Translation (strings), Image and Audio (struct of bytes and path). */
bool schema_from_features(schema *s, const json_value *features, gv_err *err) GV_MUST_USE;

#endif
