/* JSON: one wrapper over yyjson that adds our caps (depth 64, 10,000 keys an object, 10^6 values a document), refuses duplicate keys, and
 * keeps numbers that do not fit int64/uint64/double exactly as raw text.  Strict RFC 8259; strings may hold NUL (lengths count).
 *
 * A json_value is borrowed from its json_doc.  The text given to json_parse is not kept. */
#ifndef GAVEL_BASE_JSON_H
#define GAVEL_BASE_JSON_H

#include "base/err.h"
#include "base/str.h"

typedef struct json_doc json_doc;
typedef struct json_value json_value; /* opaque; is yyjson_val inside json.c only */

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

/* NULL and GV_FORMAT ("invalid JSON at byte 17: ...", where = 17) or GV_LIMIT.  Free with json_free. */
json_doc *json_parse(sv text, gv_err *err) GV_MUST_USE;
/* The same with other caps on keys an object and values a document: for a tokenizer.json, which has a key for each token. */
json_doc *json_parse_caps(sv text, size_t max_keys, size_t max_values, gv_err *err) GV_MUST_USE;
void json_free(json_doc *d);
const json_value *json_root(const json_doc *d);

json_kind json_kind_of(const json_value *v);
const char *json_kind_name(const json_value *v); /* "null", "boolean", "number", "string", "array", "object" */
bool json_bool(const json_value *v);             /* v must be a boolean */
sv json_string(const json_value *v);             /* v must be a string */
/* The number as it stands in the source ("1.0", "1e400"). */
sv json_number_text(const json_value *v);
/* False unless v is a number written without '.', 'e' or 'E' that fits int64. */
bool json_int64(const json_value *v, int64_t *out);
/* False unless v is a number that fits a finite double. */
bool json_double(const json_value *v, double *out);

size_t json_size(const json_value *v); /* elements of an array, pairs of an object */
/* Member of an object by key, NULL if absent or v is no object. */
const json_value *json_get(const json_value *v, const char *key);
const json_value *json_get_sv(const json_value *v, sv key);

/* Walk an array or object in source order: for (json_iter it = json_each(v); json_next(&it);) it.key (objects), it.value */
typedef struct json_iter {
    const json_value *container, *next;
    size_t left;
    sv key;
    const json_value *value;
} json_iter;
json_iter json_each(const json_value *v);
bool json_next(json_iter *it);

/* Writing.  json_put_string adds quotes and escapes only what RFC 8259 requires (", \, controls; non-ASCII stays UTF-8; malformed UTF-8
 * becomes U+FFFD).  json_put_value prints v compactly, numbers as in the source.  json_put_double: shortest text that reads back;
 * an infinity or NaN becomes null. */
void json_put_string(buf *out, sv s);
void json_put_value(buf *out, const json_value *v);
void json_put_int(buf *out, int64_t v);
void json_put_double(buf *out, double v);

#endif
