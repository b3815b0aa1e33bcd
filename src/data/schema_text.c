/* Types as texts: as pyarrow prints them, and as the "features" of a Hub data set (JSON).  See schema.h. */
#include "data/schema.h"

#include <stdio.h>

static const struct {
    type_kind kind;
    const char *arrow, *hub; /* Arrow prints its short names, the Hub numpy's */
} plain[] = {
    {TYPE_NULL, "null", "null"},
    {TYPE_BOOL, "bool", "bool"},
    {TYPE_INT8, "int8", "int8"},
    {TYPE_INT16, "int16", "int16"},
    {TYPE_INT32, "int32", "int32"},
    {TYPE_INT64, "int64", "int64"},
    {TYPE_UINT8, "uint8", "uint8"},
    {TYPE_UINT16, "uint16", "uint16"},
    {TYPE_UINT32, "uint32", "uint32"},
    {TYPE_UINT64, "uint64", "uint64"},
    {TYPE_FLOAT16, "halffloat", "float16"},
    {TYPE_FLOAT32, "float", "float32"},
    {TYPE_FLOAT64, "double", "float64"},
    {TYPE_STRING, "string", "string"},
    {TYPE_STRING, "large_string", "large_string"},
    {TYPE_BINARY, "binary", "binary"},
    {TYPE_BINARY, "large_binary", "large_binary"},
    {TYPE_DATE, "date32[day]", "date32"},
};
static const char *const units[] = {"ms", "us", "ns"};

static void put_parametric(buf *out, const schema_type *t) {
    switch (t->kind) {
    case TYPE_FIXED_BINARY: buf_printf(out, "fixed_size_binary[%d]", (int)t->width); break;
    case TYPE_TIME: buf_printf(out, "time%d[%s]", t->unit == UNIT_MS ? 32 : 64, units[t->unit]); break;
    case TYPE_TIMESTAMP: buf_printf(out, "timestamp[%s%s]", units[t->unit], t->utc ? ", tz=UTC" : ""); break;
    default: buf_printf(out, "decimal128(%d, %d)", (int)t->precision, (int)t->scale); break;
    }
}

static void put_name(buf *out, const schema_type *t, bool hub) {
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (plain[i].kind == t->kind) {
            buf_add_str(out, hub ? plain[i].hub : plain[i].arrow);
            return;
        }
    put_parametric(out, t);
}

void schema_put_arrow(buf *out, const schema_type *t, const char *element) {
    if (t->kind == TYPE_LIST) {
        buf_printf(out, "list<%s: ", element);
        schema_put_arrow(out, &t->fields[0].type, element);
        buf_add_char(out, '>');
    } else if (t->kind == TYPE_STRUCT) {
        buf_add_str(out, "struct<");
        for (size_t i = 0; i < t->n_fields; i++) {
            if (i) buf_add_str(out, ", ");
            buf_add_sv(out, t->fields[i].name);
            buf_add_str(out, ": ");
            schema_put_arrow(out, &t->fields[i].type, element);
        }
        buf_add_char(out, '>');
    } else {
        put_name(out, t, false);
    }
}

/* ---- reading a text ---- */

static bool fail_text(sv text, size_t at, const char *why, gv_err *err) {
    return gv_fail(err, GV_FORMAT, (int64_t)at, "type \"%s\", byte %zu: %s", str_show(text).text, at, why);
}

/* The whole of text as a type without fields; both spellings of the names are taken. */
static bool read_plain(schema_type *t, sv text, gv_err *err) {
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (sv_is(text, plain[i].arrow) || sv_is(text, plain[i].hub)) return t->kind = plain[i].kind, true;
    char copy[64], rest[16];
    int a = 0, b = 0, used = 0;
    snprintf(copy, sizeof copy, SV_FMT, SV_ARG(text));
    if (sscanf(copy, "fixed_size_binary[%d]%n", &a, &used) == 1 && (size_t)used == text.n && a > 0) {
        *t = (schema_type){.kind = TYPE_FIXED_BINARY, .width = a};
        return true;
    }
    if (sscanf(copy, "decimal128(%d, %d)%n", &a, &b, &used) == 2 && (size_t)used == text.n && a > 0 && a <= 38 && b >= 0 && b <= a) {
        *t = (schema_type){.kind = TYPE_DECIMAL, .precision = a, .scale = b};
        return true;
    }
    for (int u = 0; u < 3; u++) {
        const int n = snprintf(rest, sizeof rest, "[%s", units[u]);
        const sv tail = sv_sub(text, sv_find(text, sv_of(rest), 0), text.n);
        if (tail.n <= (size_t)n) continue;
        const bool plain_end = sv_is(sv_sub(tail, (size_t)n, tail.n), "]");
        if (sv_starts(text, SV("timestamp[")) && (plain_end || sv_starts(sv_sub(tail, (size_t)n, tail.n), SV(", tz="))))
            return *t = (schema_type){.kind = TYPE_TIMESTAMP, .unit = (time_unit)u, .utc = !plain_end}, true;
        if ((sv_starts(text, SV("time32[")) || sv_starts(text, SV("time64["))) && plain_end)
            return *t = (schema_type){.kind = TYPE_TIME, .unit = (time_unit)u}, true;
    }
    return gv_fail(err, GV_UNSUPPORTED, -1, "type \"%s\" is none of the column types gavel reads and writes", str_show(text).text);
}

typedef struct type_text {
    schema *s;
    sv text;
    size_t at;
} type_text;

static bool take(type_text *r, const char *word) {
    if (!sv_starts(sv_sub(r->text, r->at, r->text.n), sv_of(word))) return false;
    r->at += strlen(word);
    return true;
}

static bool read_type(type_text *r, schema_type *t, int depth, gv_err *err);

/* "name: type" up to ", " or ">".  A name that itself holds ": " cannot be told apart and ends in an error. */
static bool read_fields(type_text *r, schema_type *t, bool list, int depth, gv_err *err) {
    t->kind = list ? TYPE_NULL : TYPE_STRUCT;
    if (!list && take(r, ">")) return true;
    do {
        const size_t colon = sv_find(r->text, SV(": "), r->at);
        if (colon == SIZE_MAX) return fail_text(r->text, r->at, "no \": \" behind a name", err);
        const sv name = sv_sub(r->text, r->at, colon - r->at);
        r->at = colon + 2;
        schema_type *f = list ? schema_make_list(r->s, t, err) : schema_add_member(r->s, t, name, false, err);
        if (!f || !read_type(r, f, depth + 1, err)) return false;
        (void)take(r, " not null"); /* may stand there */
    } while (!list && take(r, ", "));
    return take(r, ">") || fail_text(r->text, r->at, "'>' expected", err);
}

static bool read_type(type_text *r, schema_type *t, int depth, gv_err *err) {
    if (depth > SCHEMA_MAX_DEPTH) return fail_text(r->text, r->at, "nested too deep", err);
    if (take(r, "list<") || take(r, "large_list<")) return read_fields(r, t, true, depth, err);
    if (take(r, "struct<")) return read_fields(r, t, false, depth, err);
    const size_t begin = r->at;
    for (int brackets = 0; r->at < r->text.n; r->at++) {
        const char c = r->text.p[r->at];
        if (c == '[' || c == '(') brackets++;
        if (c == ']' || c == ')') brackets--;
        if (brackets == 0 && (c == ',' || c == '>')) break;
    }
    return read_plain(t, sv_sub(r->text, begin, r->at - begin), err);
}

bool schema_from_arrow(schema *s, schema_type *t, sv text, gv_err *err) {
    type_text r = {s, text, 0};
    if (!read_type(&r, t, 1, err)) return false;
    return r.at == text.n || fail_text(text, r.at, "more text behind the type", err);
}

/* ---- the Hub's features ---- */

static void put_feature(buf *out, const schema_type *t);

static void put_members(buf *out, const schema_type *t) {
    buf_add_char(out, '{');
    for (size_t i = 0; i < t->n_fields; i++) {
        if (i) buf_add_str(out, ", ");
        json_put_string(out, t->fields[i].name);
        buf_add_str(out, ": ");
        put_feature(out, &t->fields[i].type);
    }
    buf_add_char(out, '}');
}

static void put_feature(buf *out, const schema_type *t) {
    if (t->kind == TYPE_STRUCT) {
        put_members(out, t);
    } else if (t->kind == TYPE_LIST) { /* a Sequence of a struct would be a struct of lists */
        const schema_type *element = &t->fields[0].type;
        const bool plain_list = element->kind == TYPE_STRUCT || element->kind == TYPE_LIST;
        buf_add_str(out, plain_list ? "[" : "{\"feature\": ");
        put_feature(out, element);
        buf_add_str(out, plain_list ? "]" : ", \"_type\": \"Sequence\"}");
    } else {
        buf_add_str(out, "{\"dtype\": \"");
        put_name(out, t, true);
        buf_add_str(out, "\", \"_type\": \"Value\"}");
    }
}

void schema_put_features(buf *out, const schema *s) {
    put_members(out, &s->root);
}

static bool read_feature(schema *s, schema_type *t, const json_value *v, int depth, gv_err *err);

static bool read_members(schema *s, schema_type *t, const json_value *v, int depth, gv_err *err) {
    t->kind = TYPE_STRUCT;
    for (json_iter it = json_each(v); json_next(&it);) {
        schema_type *f = schema_add_member(s, t, it.key, false, err);
        if (!f) return false;
        if (!read_feature(s, f, it.value, depth + 1, err)) return gv_context(err, "feature \"%s\"", str_show(it.key).text);
    }
    return true;
}

/* Sequence({"a": ..}) is a struct of lists. */
static bool read_sequence(schema *s, schema_type *t, const json_value *of, bool turns, int depth, gv_err *err) {
    const bool object = json_kind_of(of) == JSON_OBJECT && json_get(of, "_type") == NULL;
    if (!turns || !object) {
        schema_type *element = schema_make_list(s, t, err);
        return element && read_feature(s, element, of, depth + 1, err);
    }
    t->kind = TYPE_STRUCT;
    for (json_iter it = json_each(of); json_next(&it);) {
        schema_type *f = schema_add_member(s, t, it.key, false, err), *element = f ? schema_make_list(s, f, err) : NULL;
        if (!element || !read_feature(s, element, it.value, depth + 2, err)) return false;
    }
    return true;
}

static bool read_named(schema *s, schema_type *t, const json_value *v, sv type, int depth, gv_err *err) {
    const json_value *of = json_get(v, "feature"), *dtype = json_get(v, "dtype");
    if (sv_is(type, "Value") && dtype && json_kind_of(dtype) == JSON_STRING) return read_plain(t, json_string(dtype), err);
    if (of && (sv_is(type, "Sequence") || sv_is(type, "List") || sv_is(type, "LargeList")))
        return read_sequence(s, t, of, sv_is(type, "Sequence"), depth, err);
    if (sv_is(type, "ClassLabel")) return t->kind = TYPE_INT64, true;
    if (sv_is(type, "Image") || sv_is(type, "Audio")) {
        schema_type *f = schema_add_member(s, t, SV("bytes"), false, err);
        if (!f) return false;
        f->kind = TYPE_BINARY;
        f = schema_add_member(s, t, SV("path"), false, err);
        if (f) f->kind = TYPE_STRING;
        return f != NULL;
    }
    const json_value *languages = json_get(v, "languages");
    if (sv_is(type, "Translation") && languages && json_kind_of(languages) == JSON_ARRAY) {
        t->kind = TYPE_STRUCT;
        for (json_iter it = json_each(languages); json_next(&it);) {
            schema_type *f = json_kind_of(it.value) == JSON_STRING ? schema_add_member(s, t, json_string(it.value), false, err) : NULL;
            if (!f) return gv_fail(err, GV_FORMAT, -1, "a language of a Translation is no text");
            f->kind = TYPE_STRING;
        }
        return true;
    }
    return gv_fail(err, GV_UNSUPPORTED, -1, "a feature of type \"%s\" is none that gavel reads", str_show(type).text);
}

static bool read_feature(schema *s, schema_type *t, const json_value *v, int depth, gv_err *err) {
    if (depth > SCHEMA_MAX_DEPTH) return gv_fail(err, GV_LIMIT, -1, "features are nested more than %d levels deep", SCHEMA_MAX_DEPTH);
    if (json_kind_of(v) == JSON_ARRAY && json_size(v) == 1) {
        json_iter it = json_each(v);
        return json_next(&it) && read_sequence(s, t, it.value, false, depth, err);
    }
    if (json_kind_of(v) != JSON_OBJECT) return gv_fail(err, GV_FORMAT, -1, "a feature is neither an object nor a list of one");
    const json_value *type = json_get(v, "_type");
    if (type && json_kind_of(type) == JSON_STRING) return read_named(s, t, v, json_string(type), depth, err);
    return read_members(s, t, v, depth, err);
}

bool schema_from_features(schema *s, const json_value *features, gv_err *err) {
    if (json_kind_of(features) != JSON_OBJECT) return gv_fail(err, GV_FORMAT, -1, "features are no object");
    return read_members(s, &s->root, features, 1, err);
}
