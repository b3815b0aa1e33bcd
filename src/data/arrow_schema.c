/* Arrow's types (format/Schema.fbs) and their values as JSON text. */
#include "data/arrow_internal.h"

#include "data/schema.h"
#include "data/value_text.h"

#include <stdlib.h>

/* Numbers of the union Type, and fields of the tables. */
enum {
    T_NULL = 1,
    T_INT,
    T_FLOAT,
    T_BINARY,
    T_UTF8,
    T_BOOL,
    T_DECIMAL,
    T_DATE,
    T_TIME,
    T_TIMESTAMP,
    T_INTERVAL,
    T_LIST,
    T_STRUCT,
    T_UNION,
    T_FIXED_BINARY,
    T_FIXED_LIST,
    T_MAP,
    T_DURATION,
    T_LARGE_BINARY,
    T_LARGE_UTF8,
    T_LARGE_LIST,
    T_LAST = 26
};
enum { FIELD_NAME = 0, FIELD_TYPE_TYPE = 2, FIELD_TYPE = 3, FIELD_DICTIONARY = 4, FIELD_CHILDREN = 5 };
enum { SCHEMA_ENDIANNESS = 0, SCHEMA_FIELDS = 1 };

static const char *const type_names[T_LAST + 1] = {"none",
                                                   "null",
                                                   "int",
                                                   "float",
                                                   "binary",
                                                   "text",
                                                   "bool",
                                                   "decimal",
                                                   "date",
                                                   "time",
                                                   "timestamp",
                                                   "interval",
                                                   "list",
                                                   "struct",
                                                   "union",
                                                   "fixed-size binary",
                                                   "fixed-size list",
                                                   "map",
                                                   "duration",
                                                   "large binary",
                                                   "large text",
                                                   "large list",
                                                   "run-end encoded",
                                                   "binary view",
                                                   "text view",
                                                   "list view",
                                                   "large list view"};

static const int64_t seconds_units[] = {1, 1000, 1000000, 1000000000};

typedef struct reading {
    flat *f;
    const char *name;
    size_t n_nodes;
} reading;

static bool fail_type(const reading *r, const arrow_node *n, const char *what, gv_err *err) {
    return gv_fail(err, GV_UNSUPPORTED, -1, "%s: column \"%s\" has the type %s, which is not read", r->name, str_show(n->name).text, what);
}

static bool fail_broken(const reading *r, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1, "%s: the Arrow schema is broken", r->name);
}

/* Kind and width of the node by its type; children come later. */
static bool read_type(reading *r, const flat_table *field, arrow_node *n, gv_err *err) {
    flat *f = r->f;
    flat_table t = {0};
    const int64_t type = flat_int(f, field, FIELD_TYPE_TYPE, 1, 0), unit_at = type == T_TIME ? 1 : 0;
    if (type < T_NULL || type > T_LAST) return fail_broken(r, err);
    if (!flat_child(f, field, FIELD_TYPE, &t)) return fail_broken(r, err);
    const int64_t first = flat_int(f, &t, 0, type == T_FLOAT || type == T_DATE || type == T_TIME || type == T_TIMESTAMP ? 2 : 4,
                                   type == T_DATE || type == T_TIME ? 1 : 0);
    switch (type) {
    case T_NULL: n->kind = ARROW_NULL; return true;
    case T_BOOL: n->kind = ARROW_BOOL; return true;
    case T_INT:
        n->kind = flat_int(f, &t, 1, 1, 0) ? ARROW_INT : ARROW_UINT;
        n->width = (size_t)first / 8;
        return first == 8 || first == 16 || first == 32 || first == 64 || fail_broken(r, err);
    case T_FLOAT:
        n->kind = ARROW_FLOAT;
        n->width = (size_t)2 << (first & 3);
        return (first >= 0 && first <= 2) || fail_broken(r, err);
    case T_UTF8:
    case T_BINARY: n->kind = type == T_UTF8 ? ARROW_TEXT : ARROW_BINARY, n->width = 4; return true;
    case T_LARGE_UTF8:
    case T_LARGE_BINARY: n->kind = type == T_LARGE_UTF8 ? ARROW_TEXT : ARROW_BINARY, n->width = 8; return true;
    case T_FIXED_BINARY:
        n->kind = ARROW_FIXED_BINARY;
        n->width = (size_t)first;
        return first > 0 || fail_broken(r, err);
    case T_DECIMAL:
        n->kind = ARROW_DECIMAL;
        n->scale = (int)flat_int(f, &t, 1, 4, 0);
        n->width = 16;
        if (flat_int(f, &t, 2, 4, 128) != 128) return fail_type(r, n, "decimal of other than 128 bits", err);
        return (first >= 1 && first <= 38 && n->scale >= 0 && n->scale <= first) || fail_type(r, n, "decimal with a negative scale", err);
    case T_DATE:
        n->kind = ARROW_DATE;
        n->width = first == 0 ? 4 : 8;
        n->unit = first == 0 ? 1 : 86400000;
        return first == 0 || first == 1 || fail_broken(r, err);
    case T_TIME:
    case T_TIMESTAMP:
        n->kind = type == T_TIME ? ARROW_TIME : ARROW_TIMESTAMP;
        if (first < 0 || first > 3) return fail_broken(r, err);
        n->unit = seconds_units[first];
        n->width = type == T_TIME ? (size_t)flat_int(f, &t, (int)unit_at, 4, 32) / 8 : 8;
        n->utc = type == T_TIMESTAMP && flat_string(f, &t, 1).n > 0;
        return n->width == 8 || n->width == 4 || fail_broken(r, err);
    case T_LIST: n->kind = ARROW_LIST, n->width = 4; return true;
    case T_LARGE_LIST: n->kind = ARROW_LIST, n->width = 8; return true;
    case T_FIXED_LIST: n->kind = ARROW_FIXED_LIST, n->unit = first; return first >= 0 || fail_broken(r, err);
    case T_STRUCT: n->kind = ARROW_STRUCT; return true;
    default: return fail_type(r, n, type_names[type], err);
    }
}

static bool read_field(reading *r, const flat_table *field, arrow_node *n, int depth, gv_err *err);

static bool read_children(reading *r, size_t at, size_t n, arrow_node *parent, int depth, gv_err *err) {
    if (n > SCHEMA_MAX_NODES - r->n_nodes)
        return gv_fail(err, GV_LIMIT, -1, "%s: more than the cap of %u columns, members and elements", r->name, SCHEMA_MAX_NODES);
    r->n_nodes += n;
    parent->children = gv_xcalloc(n + 1, sizeof *parent->children);
    for (size_t i = 0; i < n; i++) {
        flat_table child;
        if (!flat_element(r->f, at, i, &child)) return fail_broken(r, err);
        parent->n_children = i + 1;
        if (!read_field(r, &child, &parent->children[i], depth + 1, err)) return false;
        for (size_t k = 0; k < i && parent->kind == ARROW_STRUCT && i < 1000; k++)
            if (sv_eq(parent->children[k].name, parent->children[i].name))
                return gv_fail(err, GV_FORMAT, -1, "%s: column \"%s\" stands twice", r->name, str_show(parent->children[i].name).text);
    }
    return true;
}

static bool read_field(reading *r, const flat_table *field, arrow_node *n, int depth, gv_err *err) {
    flat_table dictionary;
    size_t at, count;
    if (depth > SCHEMA_MAX_DEPTH)
        return gv_fail(err, GV_LIMIT, -1, "%s: types nested deeper than the cap of %d", r->name, SCHEMA_MAX_DEPTH);
    n->name = flat_string(r->f, field, FIELD_NAME);
    if (utf8_invalid_at(n->name) != SIZE_MAX) return gv_fail(err, GV_FORMAT, -1, "%s: the name of a column is no UTF-8", r->name);
    json_put_string(&n->key, n->name);
    buf_add_char(&n->key, ':');
    if (flat_child(r->f, field, FIELD_DICTIONARY, &dictionary)) return fail_type(r, n, "dictionary", err);
    if (!read_type(r, field, n, err)) return false;
    if (!flat_vector(r->f, field, FIELD_CHILDREN, 4, &at, &count)) count = 0;
    if (r->f->broken) return fail_broken(r, err);
    const bool list = n->kind == ARROW_LIST || n->kind == ARROW_FIXED_LIST;
    if (list ? count != 1 : n->kind != ARROW_STRUCT && count != 0) return fail_broken(r, err);
    return count == 0 || read_children(r, at, count, n, depth, err);
}

bool arrow_read_schema(flat *f, const flat_table *table, const char *name, arrow_node *root, gv_err *err) {
    reading r = {.f = f, .name = name};
    size_t at, n;
    root->kind = ARROW_STRUCT;
    if (flat_int(f, table, SCHEMA_ENDIANNESS, 2, 0) != 0) return gv_fail(err, GV_UNSUPPORTED, -1, "%s: big-endian Arrow data", name);
    if (!flat_vector(f, table, SCHEMA_FIELDS, 4, &at, &n)) n = 0;
    if (f->broken) return fail_broken(&r, err);
    return read_children(&r, at, n, root, 0, err);
}

void arrow_free_node(arrow_node *n) {
    for (size_t i = 0; i < n->n_children; i++) arrow_free_node(&n->children[i]);
    free(n->children);
    buf_fini(&n->key);
    *n = (arrow_node){0};
}

/* ---- values ---- */

static int64_t read_int(const uint8_t *p, size_t width) {
    return flat_read(&(flat){.p = p, .n = width}, 0, width);
}

static void range_of(const arrow_node *n, uint64_t i, uint64_t *from, uint64_t *to) {
    *from = (uint64_t)read_int(n->offsets.p + i * n->width, n->width);
    *to = (uint64_t)read_int(n->offsets.p + (i + 1) * n->width, n->width);
}

static void put_float(const arrow_node *n, const uint8_t *p, buf *out) {
    float f;
    double d;
    uint16_t h;
    if (n->width == 2) {
        memcpy(&h, p, 2);
        d = value_half(h);
    } else if (n->width == 4) {
        memcpy(&f, p, 4);
        d = (double)f;
    } else {
        memcpy(&d, p, 8);
    }
    value_put_float(out, d);
}

static bool put_elements(const arrow_node *n, uint64_t from, uint64_t to, buf *out, size_t cap, const char *name, gv_err *err) {
    buf_add_char(out, '[');
    for (uint64_t i = from; i < to; i++) {
        if (i > from) buf_add_char(out, ',');
        if (!arrow_put_value(&n->children[0], i, out, cap, name, err)) return false;
    }
    buf_add_char(out, ']');
    return true;
}

static bool put_members(const arrow_node *n, uint64_t i, buf *out, size_t cap, const char *name, gv_err *err) {
    buf_add_char(out, '{');
    for (size_t k = 0; k < n->n_children; k++) {
        if (k) buf_add_char(out, ',');
        buf_add_sv(out, buf_view(&n->children[k].key));
        if (!arrow_put_value(&n->children[k], i, out, cap, name, err)) return false;
    }
    buf_add_char(out, '}');
    return true;
}

static bool put_bytes(const arrow_node *n, uint64_t i, buf *out, size_t cap, const char *name, gv_err *err) {
    uint64_t from, to;
    range_of(n, i, &from, &to);
    const sv s = {(const char *)n->data.p + from, (size_t)(to - from)};
    if (s.n > cap)
        return gv_fail(err, GV_LIMIT, -1, "%s: column \"%s\": a value of %zu bytes, more than the cap of %zu on a row", name,
                       str_show(n->name).text, s.n, cap);
    if (n->kind == ARROW_BINARY) return value_put_base64(out, (const uint8_t *)s.p, s.n), true;
    if (utf8_invalid_at(s) != SIZE_MAX)
        return gv_fail(err, GV_FORMAT, -1, "%s: column \"%s\": a text that is no UTF-8", name, str_show(n->name).text);
    json_put_string(out, s);
    return true;
}

bool arrow_put_value(const arrow_node *n, uint64_t i, buf *out, size_t cap, const char *name, gv_err *err) {
    uint64_t from, to;
    if (out->n > cap) return gv_fail(err, GV_LIMIT, -1, "%s: a row of more than the cap of %zu bytes", name, cap);
    if (n->kind == ARROW_NULL || (n->valid.p && !(n->valid.p[i / 8] >> (i % 8) & 1))) return buf_add_str(out, "null"), true;
    const uint8_t *p = n->data.p ? n->data.p + i * n->width : NULL;
    switch (n->kind) {
    case ARROW_BOOL: buf_add_str(out, n->data.p[i / 8] >> (i % 8) & 1 ? "true" : "false"); return true;
    case ARROW_INT: json_put_int(out, read_int(p, n->width)); return true;
    case ARROW_UINT: buf_printf(out, "%llu", (unsigned long long)read_int(p, n->width) & (UINT64_MAX >> (64 - 8 * n->width))); return true;
    case ARROW_FLOAT: put_float(n, p, out); return true;
    case ARROW_TEXT:
    case ARROW_BINARY: return put_bytes(n, i, out, cap, name, err);
    case ARROW_FIXED_BINARY: value_put_base64(out, p, n->width); return true;
    case ARROW_DATE: {
        const int64_t v = read_int(p, n->width);
        value_put_date(out, v / n->unit - (v % n->unit < 0));
        return true;
    }
    case ARROW_TIME:
        return value_put_time(out, read_int(p, n->width), n->unit) ||
               gv_fail(err, GV_FORMAT, -1, "%s: column \"%s\": a time of day out of its range", name, str_show(n->name).text);
    case ARROW_TIMESTAMP: value_put_timestamp(out, read_int(p, 8), n->unit, n->utc); return true;
    case ARROW_DECIMAL: {
        __int128 v;
        memcpy(&v, p, 16);
        value_put_decimal(out, v, n->scale);
        return true;
    }
    case ARROW_LIST: range_of(n, i, &from, &to); return put_elements(n, from, to, out, cap, name, err);
    case ARROW_FIXED_LIST: return put_elements(n, i * (uint64_t)n->unit, (i + 1) * (uint64_t)n->unit, out, cap, name, err);
    default: return put_members(n, i, out, cap, name, err);
    }
}
