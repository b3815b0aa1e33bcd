/* Types of columns: building, inference, comparison.  Their texts are in schema_text.c; see schema.h for the rules. */
#include "data/schema.h"

enum { PATH_SHOWN = 200 };

void schema_init(schema *s) {
    *s = (schema){.root = {.kind = TYPE_STRUCT}};
    arena_init(&s->a);
}

void schema_fini(schema *s) {
    arena_fini(&s->a);
    *s = (schema){0};
}

/* ---- building ---- */

/* Room for a field of t at place `at`, its name copied; t becomes a struct or stays a list. */
static schema_field *insert_field(schema *s, schema_type *t, size_t at, sv name, gv_err *err) {
    if (s->n_nodes >= SCHEMA_MAX_NODES) {
        gv_fail(err, GV_LIMIT, -1, "column \"%s\": more than %u columns and members in a table", str_show(name).text, SCHEMA_MAX_NODES);
        return NULL;
    }
    if (t->n_fields == t->cap_fields) {
        const size_t cap = t->cap_fields ? t->cap_fields * 2 : 4;
        schema_field *grown = arena_alloc(&s->a, cap * sizeof *grown);
        if (t->n_fields) memcpy(grown, t->fields, t->n_fields * sizeof *grown);
        t->fields = grown;
        t->cap_fields = cap;
    }
    memmove(t->fields + at + 1, t->fields + at, (t->n_fields - at) * sizeof *t->fields);
    t->fields[at] = (schema_field){.name = {arena_dup(&s->a, name.p, name.n), name.n}};
    t->n_fields++;
    s->n_nodes++;
    return &t->fields[at];
}

static int compare_names(sv a, sv b) {
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Place of name in sorted fields, or where it belongs. */
static size_t sorted_place(const schema_type *t, sv name, bool *found) {
    size_t low = 0, high = t->n_fields;
    *found = false;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int c = compare_names(t->fields[mid].name, name);
        if (c == 0) return *found = true, mid;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static schema_field *find_from(const schema_type *t, sv name, size_t from) {
    for (size_t k = 0, at = from < t->n_fields ? from : 0; k < t->n_fields; k++) {
        if (sv_eq(t->fields[at].name, name)) return &t->fields[at];
        at = at + 1 < t->n_fields ? at + 1 : 0;
    }
    return NULL;
}

schema_field *schema_find(const schema *s, sv name) {
    return find_from(&s->root, name, 0);
}

schema_field *schema_add(schema *s, sv name, gv_err *err) {
    if (schema_find(s, name)) {
        gv_fail(err, GV_FORMAT, -1, "two columns have the name \"%s\"", str_show(name).text);
        return NULL;
    }
    return insert_field(s, &s->root, s->root.n_fields, name, err);
}

bool schema_add_plain(schema *s, sv name, type_kind kind, gv_err *err) {
    schema_field *f = schema_add(s, name, err);
    if (f) f->type.kind = kind;
    return f != NULL;
}

schema_type *schema_make_list(schema *s, schema_type *t, gv_err *err) {
    schema_field *f = insert_field(s, t, 0, SV("element"), err);
    if (!f) return NULL;
    t->kind = TYPE_LIST;
    return &f->type;
}

schema_type *schema_add_member(schema *s, schema_type *t, sv name, bool sorted, gv_err *err) {
    bool found = false;
    const size_t at = sorted ? sorted_place(t, name, &found) : t->n_fields;
    if (found || (!sorted && find_from(t, name, 0))) {
        gv_fail(err, GV_FORMAT, -1, "two members have the name \"%s\"", str_show(name).text);
        return NULL;
    }
    t->kind = TYPE_STRUCT;
    schema_field *f = insert_field(s, t, at, name, err);
    return f ? &f->type : NULL;
}

static bool copy_at(schema *s, schema_type *t, const schema_type *from, int depth, gv_err *err) {
    if (depth > SCHEMA_MAX_DEPTH) return gv_fail(err, GV_LIMIT, -1, "a type is nested more than %d levels deep", SCHEMA_MAX_DEPTH);
    schema_type made = *from;
    made.fields = NULL;
    made.n_fields = made.cap_fields = 0;
    *t = made;
    for (size_t i = 0; i < from->n_fields; i++) {
        schema_field *f = insert_field(s, t, i, from->fields[i].name, err);
        if (!f || !copy_at(s, &f->type, &from->fields[i].type, depth + 1, err)) return false;
    }
    return true;
}

bool schema_copy_type(schema *s, schema_type *t, const schema_type *from, gv_err *err) {
    return copy_at(s, t, from, 1, err);
}

bool schema_type_equal(const schema_type *a, const schema_type *b) {
    if (a->kind != b->kind || a->unit != b->unit || a->utc != b->utc || a->width != b->width || a->precision != b->precision ||
        a->scale != b->scale || a->n_fields != b->n_fields)
        return false;
    for (size_t i = 0; i < a->n_fields; i++) {
        if (a->kind == TYPE_STRUCT && !sv_eq(a->fields[i].name, b->fields[i].name)) return false;
        if (!schema_type_equal(&a->fields[i].type, &b->fields[i].type)) return false;
    }
    return true;
}

/* ---- inference ---- */

/* Where in the table a value stands, for messages: a chain from the value up to its column. */
typedef struct place {
    const struct place *up;
    sv name; /* of an element: "[]" */
    bool element;
    uint64_t row; /* UINT64_MAX: of types, not of a value */
    int depth;
} place;

static void put_place(buf *out, const place *p) {
    if (p->up) put_place(out, p->up);
    if (out->n > PATH_SHOWN) return;
    if (p->up && !p->element) buf_add_char(out, '.');
    str_escape(p->name, 80, out);
}

static bool fail_mixed(const place *p, const char *found, const schema_type *t, gv_err *err) {
    buf path = {0}, before = {0};
    put_place(&path, p);
    schema_put_arrow(&before, t, "element");
    const sv shown = sv_sub(buf_view(&before), 0, PATH_SHOWN);
    if (p->row == UINT64_MAX)
        gv_fail(err, GV_FORMAT, -1, "column \"%s\": %s and " SV_FMT " do not go together", path.p, found, SV_ARG(shown));
    else
        gv_fail(err, GV_FORMAT, (int64_t)p->row, "column \"%s\": %s in row %llu, " SV_FMT " before it", path.p, found,
                (unsigned long long)p->row, SV_ARG(shown));
    buf_fini(&path);
    buf_fini(&before);
    return false;
}

static bool is_integer(type_kind k) {
    return k >= TYPE_INT8 && k <= TYPE_UINT64;
}

/* A float's text has a point or an exponent, as for Python's json. */
static type_kind kind_of_number(const json_value *v) {
    const sv text = json_number_text(v);
    int64_t i;
    if (json_int64(v, &i)) return TYPE_INT64;
    if (memchr(text.p, '.', text.n) || memchr(text.p, 'e', text.n) || memchr(text.p, 'E', text.n) || text.p[0] == '-') return TYPE_FLOAT64;
    uint64_t u = 0;
    for (size_t k = 0; k < text.n; k++)
        if (__builtin_mul_overflow(u, 10, &u) || __builtin_add_overflow(u, (uint64_t)(text.p[k] - '0'), &u)) return TYPE_FLOAT64;
    return TYPE_UINT64;
}

/* Integers and floats side by side; false: they do not go together. */
static bool join_numbers(schema_type *t, type_kind k) {
    if (t->kind == k) return true;
    if (t->kind == TYPE_FLOAT64 && is_integer(k)) return true;
    if (k == TYPE_FLOAT64 && is_integer(t->kind)) return t->kind = k, true;
    if (is_integer(t->kind) && is_integer(k)) { /* a column with both -1 and 2^63 has no integer type; the writer says so at the value */
        if (k == TYPE_UINT64) t->kind = k;
        return true;
    }
    return false;
}

static bool see(schema *s, schema_type *t, const json_value *v, const place *p, gv_err *err);

static bool see_object(schema *s, schema_type *t, const json_value *v, const place *p, gv_err *err) {
    t->kind = TYPE_STRUCT;
    for (json_iter it = json_each(v); json_next(&it);) {
        bool found;
        const size_t at = sorted_place(t, it.key, &found);
        schema_field *f = found ? &t->fields[at] : insert_field(s, t, at, it.key, err);
        const place here = {p, it.key, false, p->row, p->depth + 1};
        if (!f || !see(s, &f->type, it.value, &here, err)) return false;
    }
    return true;
}

static bool see_array(schema *s, schema_type *t, const json_value *v, const place *p, gv_err *err) {
    if (t->kind == TYPE_NULL && !schema_make_list(s, t, err)) return false;
    const place here = {p, SV("[]"), true, p->row, p->depth + 1};
    for (json_iter it = json_each(v); json_next(&it);)
        if (!see(s, &t->fields[0].type, it.value, &here, err)) return false;
    return true;
}

/* Words for a float that JSON lacks go with numbers, in any order; true: t is widened. */
static bool see_float_word(schema_type *t, const json_value *v, type_kind k) {
    const sv text = k == TYPE_STRING ? json_string(v) : (sv){"", 0};
    const bool word = sv_is(text, "NaN") || sv_is(text, "Infinity") || sv_is(text, "-Infinity"), words = t->float_words;
    t->float_words = word && (words || t->kind == TYPE_NULL);
    const bool beside = word ? is_integer(t->kind) || t->kind == TYPE_FLOAT64 : words && (is_integer(k) || k == TYPE_FLOAT64);
    if (beside) t->kind = TYPE_FLOAT64;
    return beside;
}

static bool see(schema *s, schema_type *t, const json_value *v, const place *p, gv_err *err) {
    const json_kind kind = json_kind_of(v);
    switch (kind) {
    case JSON_NULL: return true;
    case JSON_ARRAY:
        if (t->kind != TYPE_NULL && t->kind != TYPE_LIST) return fail_mixed(p, "a list", t, err);
        return see_array(s, t, v, p, err);
    case JSON_OBJECT:
        if (t->kind != TYPE_NULL && t->kind != TYPE_STRUCT) return fail_mixed(p, "an object", t, err);
        return see_object(s, t, v, p, err);
    default: break;
    }
    const type_kind k = kind == JSON_BOOL ? TYPE_BOOL : kind == JSON_STRING ? TYPE_STRING : kind_of_number(v);
    if (see_float_word(t, v, k)) return true;
    if (t->kind == TYPE_NULL) t->kind = k;
    if (t->kind == k || (kind == JSON_NUMBER && join_numbers(t, k))) return true;
    const schema_type found = {.kind = k};
    buf text = {0};
    schema_put_arrow(&text, &found, "element");
    fail_mixed(p, text.p, t, err);
    buf_fini(&text);
    return false;
}

bool schema_see_value(schema *s, schema_type *t, const json_value *v, sv column, uint64_t row, gv_err *err) {
    const place p = {NULL, column, false, row, 1};
    return see(s, t, v, &p, err);
}

bool schema_see_row(schema *s, const json_value *object, uint64_t row, gv_err *err) {
    size_t hint = 0;
    for (json_iter it = json_each(object); json_next(&it);) {
        schema_field *f = find_from(&s->root, it.key, hint);
        if (!f) f = insert_field(s, &s->root, s->root.n_fields, it.key, err);
        if (!f || !schema_see_value(s, &f->type, it.value, it.key, row, err)) return false;
        hint = (size_t)(f - s->root.fields) + 1;
    }
    return true;
}

static bool is_sorted(const schema_type *t) {
    for (size_t i = 1; i < t->n_fields; i++)
        if (compare_names(t->fields[i - 1].name, t->fields[i].name) >= 0) return false;
    return true;
}

static bool unify(schema *s, schema_type *t, const schema_type *from, const place *p, gv_err *err) {
    if (from->kind == TYPE_NULL) return true;
    if (t->kind == TYPE_NULL) return copy_at(s, t, from, p->depth, err);
    const bool both_nested = t->kind == from->kind && (t->kind == TYPE_LIST || t->kind == TYPE_STRUCT);
    if (!both_nested && (schema_type_equal(t, from) || (from->n_fields == 0 && join_numbers(t, from->kind)))) return true;
    if (!both_nested) {
        buf text = {0};
        schema_put_arrow(&text, from, "element");
        fail_mixed(p, text.p, t, err);
        buf_fini(&text);
        return false;
    }
    if (t->kind == TYPE_LIST) {
        const place here = {p, SV("[]"), true, p->row, p->depth + 1};
        return unify(s, &t->fields[0].type, &from->fields[0].type, &here, err);
    }
    const bool sorted = is_sorted(t);
    for (size_t i = 0; i < from->n_fields; i++) {
        bool found = false;
        const sv name = from->fields[i].name;
        schema_field *f = find_from(t, name, i);
        if (!f) f = insert_field(s, t, sorted ? sorted_place(t, name, &found) : t->n_fields, name, err);
        const place here = {p, name, false, p->row, p->depth + 1};
        if (!f || !unify(s, &f->type, &from->fields[i].type, &here, err)) return false;
    }
    return true;
}

bool schema_unify(schema *s, schema_type *t, const schema_type *from, sv column, gv_err *err) {
    const place p = {NULL, column, false, UINT64_MAX, 1};
    return unify(s, t, from, &p, err);
}
