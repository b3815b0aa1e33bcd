/* What the columns of JSON and CSV files become: one list of columns with one type each for all files, as if they had been read into a table.
 *
 * JSON: integers are floats in a column that has floats, columns that a row does not have are null; objects keep the members they have, and a column of
 * mixed types its values.  CSV, as pandas reads it: words for a missing value are null; a column of integers, floats or True and False becomes such, integers
 * beside a missing value become floats; else text.  The card's dataset_info may ask for text or floats. */
#include "data/dataset_table.h"
#include "data/value_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const missing_words[] = {"",     "#N/A", "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
                                            "<NA>", "N/A",  "NA",       "NULL", "NaN",     "None",     "n/a",  "nan",  "null"};

void table_init(table *t, bool csv) {
    *t = (table){.csv = csv};
    schema_init(&t->schema);
}

void table_fini(table *t) {
    schema_fini(&t->schema);
    buf_fini(&t->columns);
    *t = (table){0};
}

static table_column *columns_of(const table *t) {
    return (table_column *)(void *)t->columns.p;
}

size_t table_size(const table *t) {
    return t->schema.root.n_fields;
}

/* Index of the column, a new one at the end if it is not there; looks from hint on. */
static bool find_column(table *t, sv name, size_t hint, size_t *at, gv_err *err) {
    const size_t n = table_size(t);
    for (size_t k = 0, i = hint < n ? hint : 0; k < n; k++, i = i + 1 < n ? i + 1 : 0)
        if (sv_eq(t->schema.root.fields[i].name, name)) return *at = i, true;
    if (n == ROWS_MAX_COLUMNS) return gv_fail(err, GV_LIMIT, -1, "more than %u different columns", ROWS_MAX_COLUMNS);
    if (!schema_add(&t->schema, name, err)) return false;
    const table_column c = {.ints = true, .uints = true, .floats = true, .bools = true};
    buf_add(&t->columns, &c, sizeof c);
    *at = n;
    return true;
}

/* ---- CSV fields ---- */

static bool is_missing(sv s) {
    for (size_t i = 0; i < sizeof missing_words / sizeof missing_words[0]; i++)
        if (sv_is(s, missing_words[i])) return true;
    return false;
}

static bool is_bool(sv s, bool *v) {
    *v = sv_is(s, "True") || sv_is(s, "TRUE") || sv_is(s, "true");
    return *v || sv_is(s, "False") || sv_is(s, "FALSE") || sv_is(s, "false");
}

static sv trim(sv s) {
    while (s.n && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r'))) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || (s.p[s.n - 1] >= '\t' && s.p[s.n - 1] <= '\r'))) s.n--;
    return s;
}

/* An integer of 64 bits: its sign and magnitude. */
static bool is_int(sv s, bool *negative, uint64_t *v) {
    s = trim(s);
    *negative = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) s = sv_sub(s, 1, s.n);
    *v = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, (uint64_t)(s.p[i] - '0'), v))
            return false;
    return s.n > 0 && (!*negative || *v <= (uint64_t)1 << 63);
}

static bool is_float(sv s, double *v) {
    enum { LONGEST = 400 };
    char text[LONGEST + 1], *end;
    s = trim(s);
    if (s.n == 0 || s.n > LONGEST) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    const bool infinite = !strcasecmp(digits, "inf") || !strcasecmp(digits, "infinity");
    if (!infinite && strspn(digits, "0123456789.eE+-") != strlen(digits)) return false; /* no hexadecimal, no nan(...) */
    *v = strtod(text, &end);
    return end != text && !*end;
}

static void see_field(table_column *c, sv s) {
    bool flag, negative;
    uint64_t i;
    double d;
    c->n_seen++;
    if (is_missing(s)) {
        c->missing = true;
        return;
    }
    c->any = true;
    if (c->bools) c->bools = is_bool(s, &flag);
    if (c->ints || c->uints) {
        const bool is = is_int(s, &negative, &i);
        c->ints &= is && (negative || i <= INT64_MAX);
        c->uints &= is && !negative;
    }
    if (c->floats) c->floats = is_float(s, &d);
}

/* ---- the first pass ---- */

static sv column_name(const table *t, const row *r, size_t i, char unnamed[40]) {
    if (!t->csv || r->columns[i].name.n) return r->columns[i].name;
    snprintf(unnamed, 40, "Unnamed: %zu", i); /* what pandas calls a column without a name */
    return sv_of(unnamed);
}

bool table_see(table *t, const row *r, gv_err *err) {
    for (size_t i = 0; i < r->n_columns; i++) {
        char unnamed[40];
        size_t at = 0;
        gv_err mixed = GV_ERR_INIT;
        if (!find_column(t, column_name(t, r, i, unnamed), i, &at, err)) return false;
        table_column *c = columns_of(t) + at;
        if (t->csv) {
            see_field(c, json_string(r->columns[i].value));
        } else if (!c->as_is && !schema_see_value(&t->schema, &t->schema.root.fields[at].type, r->columns[i].value, r->columns[i].name,
                                                  r->number, &mixed)) {
            if (mixed.code != GV_FORMAT) return gv_fail(err, mixed.code, mixed.where, "%s", mixed.msg);
            c->as_is = true;
        }
    }
    t->n_rows++;
    return true;
}

void table_settle(table *t, const card *with, const char *config) {
    table_column *c = columns_of(t);
    for (size_t i = 0; i < table_size(t); i++) {
        schema_type *type = &t->schema.root.fields[i].type;
        const sv asked = with ? card_column_type(with, config, t->schema.root.fields[i].name) : SV("");
        if (t->csv) {
            c[i].missing |= c[i].n_seen < t->n_rows;
            const bool whole = c[i].ints || c[i].uints;
            type->kind = !c[i].any     ? TYPE_NULL
                         : c[i].bools  ? TYPE_BOOL
                         : whole       ? (c[i].missing ? TYPE_FLOAT64
                                          : c[i].ints  ? TYPE_INT64
                                                       : TYPE_UINT64)
                         : c[i].floats ? TYPE_FLOAT64
                                       : TYPE_STRING;
        }
        if (type->kind == TYPE_NULL || type->n_fields || c[i].as_is) continue;
        if (sv_is(asked, "string") || sv_is(asked, "large_string")) type->kind = TYPE_STRING;
        if ((sv_is(asked, "float64") || sv_is(asked, "float32")) && type->kind != TYPE_STRING && type->kind != TYPE_BOOL)
            type->kind = TYPE_FLOAT64;
    }
}

/* ---- the later passes ---- */

static void put_field(buf *out, type_kind k, sv s) {
    bool flag, negative;
    uint64_t i;
    double d;
    if (is_missing(s))
        buf_add_str(out, "null");
    else if (k == TYPE_BOOL && is_bool(s, &flag))
        buf_add_str(out, flag ? "true" : "false");
    else if ((k == TYPE_INT64 || k == TYPE_UINT64) && is_int(s, &negative, &i))
        buf_printf(out, "%s%llu", negative && i ? "-" : "", (unsigned long long)i);
    else if (k == TYPE_FLOAT64 && is_float(s, &d))
        value_put_float(out, d);
    else
        json_put_string(out, s);
}

static void put_typed(buf *out, const schema_type *t, const json_value *v);

static void put_members(buf *out, const schema_type *t, const json_value *v) {
    bool any = false;
    buf_add_char(out, '{');
    for (json_iter it = json_each(v); json_next(&it); any = true) {
        const schema_type *member = NULL;
        for (size_t i = 0; i < t->n_fields && !member; i++)
            if (sv_eq(t->fields[i].name, it.key)) member = &t->fields[i].type;
        if (any) buf_add_char(out, ',');
        json_put_string(out, it.key);
        buf_add_char(out, ':');
        put_typed(out, member, it.value);
    }
    buf_add_char(out, '}');
}

static void put_typed(buf *out, const schema_type *t, const json_value *v) {
    const json_kind k = json_kind_of(v);
    double d;
    if (!t || k == JSON_NULL) {
        json_put_value(out, v);
    } else if (t->kind == TYPE_STRUCT && k == JSON_OBJECT) {
        put_members(out, t, v);
    } else if (t->kind == TYPE_LIST && k == JSON_ARRAY) {
        bool any = false;
        buf_add_char(out, '[');
        for (json_iter it = json_each(v); json_next(&it); any = true) {
            if (any) buf_add_char(out, ',');
            put_typed(out, &t->fields[0].type, it.value);
        }
        buf_add_char(out, ']');
    } else if (t->kind == TYPE_FLOAT64 && k == JSON_NUMBER && json_double(v, &d)) {
        value_put_float(out, d);
    } else if (t->kind == TYPE_STRING && k != JSON_STRING) { /* the card asks for text */
        buf text = {0};
        json_put_value(&text, v);
        json_put_string(out, buf_view(&text));
        buf_fini(&text);
    } else {
        json_put_value(out, v);
    }
}

void table_put(const table *t, const row *r, buf *out) {
    const table_column *c = columns_of(t);
    buf_clear(out);
    buf_add_char(out, '{');
    for (size_t i = 0; i < table_size(t); i++) {
        const schema_field *f = &t->schema.root.fields[i];
        const row_column *found = NULL;
        char unnamed[40];
        for (size_t k = 0, at = i < r->n_columns ? i : 0; k < r->n_columns && !found; k++, at = at + 1 < r->n_columns ? at + 1 : 0)
            if (sv_eq(column_name(t, r, at, unnamed), f->name)) found = &r->columns[at];
        if (i) buf_add_char(out, ',');
        json_put_string(out, f->name);
        buf_add_char(out, ':');
        if (!found)
            buf_add_str(out, "null");
        else if (t->csv)
            put_field(out, f->type.kind, json_string(found->value));
        else if (c[i].as_is || (f->type.n_fields == 0 && f->type.kind != TYPE_FLOAT64 && f->type.kind != TYPE_STRING))
            buf_add_sv(out, found->raw);
        else if (f->type.kind == TYPE_STRING && json_kind_of(found->value) == JSON_STRING)
            buf_add_sv(out, found->raw);
        else
            put_typed(out, &f->type, found->value);
    }
    buf_add_char(out, '}');
}
