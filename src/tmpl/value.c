/* Values: making, comparing, iterating.  Python's rules throughout: True == 1 == 1.0, tuples are not lists, dicts keep insertion order
 * and are looked up linearly (chat messages have a handful of keys; long ones cost steps).  Values live in the render's arena. */
#include "tmpl/tmpl_internal.h"

#include <stdlib.h>

val str_sub(val s, size_t from, size_t n) {
    if (from > s.n) from = s.n;
    if (n > s.n - from) n = s.n - from;
    s.p += from;
    if (s.t) s.t += from;
    s.n = n;
    return s;
}

static bool undef_new(ev *e, undef u, val *out) {
    undef *p = ev_alloc(e, 1, sizeof *p);
    if (!p) return false;
    *p = u;
    *out = (val){.kind = V_UNDEF, .u = p};
    return true;
}

bool val_undef_name(ev *e, sv s, val *out) {
    return undef_new(e, (undef){.exc = "UndefinedError", .key = val_str(s)}, out);
}

bool val_undef_attr(ev *e, val obj, val key, val *out) {
    return undef_new(e, (undef){.exc = "UndefinedError", .has_obj = true, .obj = sv_of(val_obj_repr(obj)), .key = key}, out);
}

bool val_undef_hint(ev *e, const char *hint, val *out) {
    return undef_new(e, (undef){.exc = "UndefinedError", .hint = sv_of(hint)}, out);
}

bool val_undef_unsafe(ev *e, val obj, sv attr, val *out) {
    char *hint = ev_alloc(e, attr.n + 120, 1);
    if (!hint) return false;
    int n = snprintf(hint, attr.n + 120, "access to attribute '" SV_FMT "' of '%s' object is unsafe.", SV_ARG(attr), val_type(obj));
    return undef_new(e, (undef){.exc = "SecurityError", .hint = {hint, (size_t)n}}, out);
}

/* jinja2.Undefined._undefined_message. */
bool undef_raise(ev *e, const undef *u) {
    if (u->hint.p) return ev_fail_str(e, u->exc, u->hint);
    val key;
    if (!val_repr_of(e, u->key, &key)) return false;
    if (!u->has_obj) return ev_fail(e, u->exc, SV_FMT " is undefined", SV_ARG(val_sv(key)));
    if (u->key.kind != V_STR) return ev_fail(e, u->exc, SV_FMT " has no element " SV_FMT, SV_ARG(u->obj), SV_ARG(val_sv(key)));
    return ev_fail(e, u->exc, "'" SV_FMT "' has no attribute " SV_FMT, SV_ARG(u->obj), SV_ARG(val_sv(key)));
}

bool list_new(ev *e, list_kind kind, size_t cap, bool user, val *out) {
    list *l = ev_alloc(e, 1, sizeof *l);
    if (!l) return false;
    *l = (list){.kind = kind, .cap = cap};
    if (cap && !(l->v = ev_alloc(e, cap, sizeof *l->v))) return false;
    *out = (val){.kind = V_LIST, .user = user, .l = l};
    return true;
}

bool list_add(ev *e, list *l, val v) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        val *w = ev_alloc(e, cap, sizeof *w);
        if (!w) return false;
        if (l->n) memcpy(w, l->v, l->n * sizeof *w);
        l->v = w;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return true;
}

bool dict_new(ev *e, size_t cap, bool user, val *out) {
    dict *d = ev_alloc(e, 1, sizeof *d);
    if (!d) return false;
    *d = (dict){.cap = cap};
    if (cap && !(d->v = ev_alloc(e, cap, sizeof *d->v))) return false;
    *out = (val){.kind = V_DICT, .user = user, .d = d};
    return true;
}

bool dict_find(ev *e, const dict *d, val key, pair **out) {
    *out = NULL;
    if (!ev_steps(e, d->n / 32)) return false;
    for (size_t i = 0; i < d->n; i++) {
        bool eq;
        if (key.kind == V_STR && d->v[i].key.kind == V_STR) {
            eq = sv_eq(val_sv(key), val_sv(d->v[i].key));
        } else if (!val_equal(e, key, d->v[i].key, &eq)) {
            return false;
        }
        if (eq) {
            *out = &d->v[i];
            return true;
        }
    }
    return true;
}

static bool dict_append(ev *e, dict *d, val key, val value) {
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        pair *w = ev_alloc(e, cap, sizeof *w);
        if (!w) return false;
        if (d->n) memcpy(w, d->v, d->n * sizeof *w);
        d->v = w;
        d->cap = cap;
    }
    d->v[d->n++] = (pair){key, value};
    return true;
}

bool dict_set(ev *e, dict *d, val key, val value) {
    pair *have;
    if (!dict_find(e, d, key, &have)) return false;
    if (!have) return dict_append(e, d, key, value);
    have->value = value;
    return true;
}

bool val_hashable(ev *e, val key) {
    bool bad = key.kind == V_DICT || (key.kind == V_LIST && (key.l->kind == L_LIST || key.l->kind == L_KEYS || key.l->kind == L_ITEMS));
    if (bad || key.kind == V_SLICE) return ev_fail(e, "TypeError", "unhashable type: '%s'", val_type(key));
    if (key.kind == V_LIST && key.l->kind == L_TUPLE) {
        if (!ev_steps(e, 1 + key.l->n)) return false;
        if (++e->depth > TMPL_MAX_EVAL_DEPTH) return ev_limit(e, "values nested over %d levels", TMPL_MAX_EVAL_DEPTH);
        for (size_t i = 0; i < key.l->n; i++) {
            if (!val_hashable(e, key.l->v[i])) return false;
        }
        e->depth--;
    }
    return true;
}

static bool number_from_json(ev *e, const json_value *j, bool user, val *out) {
    int64_t i;
    if (json_int64(j, &i)) {
        *out = val_int(i);
        out->user = user;
        return true;
    }
    sv text = json_number_text(j);
    char *copy = ev_alloc(e, text.n + 1, 1);
    if (!copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    bool is_float = memchr(copy, '.', text.n) || memchr(copy, 'e', text.n) || memchr(copy, 'E', text.n);
    if (is_float) {
        *out = val_float(strtod(copy, NULL));
    } else {
        *out = (val){.kind = V_BIG, .p = copy, .n = text.n};
    }
    out->user = user;
    return true;
}

bool val_from_json(ev *e, const json_value *j, bool user, val *out) {
    switch (json_kind_of(j)) {
    case JSON_NULL: *out = val_none(); break;
    case JSON_BOOL: *out = val_bool(json_bool(j)); break;
    case JSON_NUMBER: return number_from_json(e, j, user, out);
    case JSON_STRING: *out = val_str(json_string(j)); break;
    case JSON_ARRAY:
        if (!list_new(e, L_LIST, json_size(j), user, out)) return false;
        for (json_iter it = json_each(j); json_next(&it);) {
            val v;
            if (!val_from_json(e, it.value, user, &v) || !list_add(e, out->l, v)) return false;
        }
        return true;
    case JSON_OBJECT:
        if (!dict_new(e, json_size(j), user, out)) return false;
        for (json_iter it = json_each(j); json_next(&it);) {
            val v, k = val_str(it.key);
            k.user = user;
            if (!val_from_json(e, it.value, user, &v) || !dict_append(e, out->d, k, v)) return false;
        }
        return true;
    }
    out->user = user;
    return true;
}

const char *val_type(val v) {
    static const char *const lists[] = {"list", "tuple", "generator", "dict_keys", "dict_values", "dict_items"};
    switch ((val_kind)v.kind) {
    case V_MISSING:
    case V_UNDEF: return "Undefined";
    case V_NONE: return "NoneType";
    case V_BOOL: return "bool";
    case V_INT:
    case V_BIG: return "int";
    case V_FLOAT: return "float";
    case V_STR: return "str";
    case V_LIST: return lists[v.l->kind];
    case V_DICT: return "dict";
    case V_NS: return "Namespace";
    case V_RANGE: return "range";
    case V_MACRO: return "Macro";
    case V_METHOD: return "builtin_function_or_method";
    case V_FUNC: return "function";
    case V_LOOP: return "LoopContext";
    case V_SLICE: return "slice";
    }
    return "?";
}

const char *val_obj_repr(val v) {
    static const char *const lists[] = {"list object",      "tuple object",       "generator object",
                                        "dict_keys object", "dict_values object", "dict_items object"};
    switch ((val_kind)v.kind) {
    case V_MISSING:
    case V_UNDEF: return "jinja2.runtime.Undefined object";
    case V_NONE: return "None";
    case V_BOOL: return "bool object";
    case V_INT:
    case V_BIG: return "int object";
    case V_FLOAT: return "float object";
    case V_STR: return "str object";
    case V_LIST: return lists[v.l->kind];
    case V_DICT: return "dict object";
    case V_NS: return "jinja2.utils.Namespace object";
    case V_RANGE: return "range object";
    case V_MACRO: return "jinja2.runtime.Macro object";
    case V_METHOD: return "builtin_function_or_method object";
    case V_FUNC: return "function object";
    case V_LOOP: return "jinja2.runtime.LoopContext object";
    case V_SLICE: return "slice object";
    }
    return "?";
}

bool val_truthy(val v) {
    switch ((val_kind)v.kind) {
    case V_MISSING:
    case V_UNDEF:
    case V_NONE: return false;
    case V_BOOL: return v.b;
    case V_INT: return v.i != 0;
    case V_FLOAT: return v.f != 0;
    case V_STR: return v.n != 0;
    case V_LIST: return v.l->kind == L_GENERATOR || v.l->n != 0;
    case V_DICT: return v.d->n != 0;
    case V_RANGE: return v.r->n != 0;
    default: return true;
    }
}

static bool int_equals_float(int64_t i, double f) {
    return (double)i == f && f >= -0x1p63 && f < 0x1p63 && (int64_t)f == i;
}

static bool equal_at(ev *e, val a, val b, int depth, bool *out);

static bool lists_equal(ev *e, const list *a, const list *b, int depth, bool *out) {
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        if (!equal_at(e, a->v[i], b->v[i], depth + 1, out)) return false;
    }
    return true;
}

static bool dicts_equal(ev *e, const dict *a, const dict *b, int depth, bool *out) {
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        pair *p;
        if (!dict_find(e, b, a->v[i].key, &p)) return false;
        *out = p != NULL;
        if (p && !equal_at(e, a->v[i].value, p->value, depth + 1, out)) return false;
    }
    return true;
}

static bool equal_at(ev *e, val a, val b, int depth, bool *out) {
    if (depth > TMPL_MAX_VALUE_DEPTH) return ev_limit(e, "values nested over %d levels", TMPL_MAX_VALUE_DEPTH);
    if (!ev_steps(e, 1)) return false;
    if (val_is_num(a) && val_is_num(b)) {
        if (a.kind != V_FLOAT && b.kind != V_FLOAT) {
            int64_t x = 0, y = 0;
            *out = val_index(a, &x) && val_index(b, &y) && x == y;
        } else if (a.kind == V_FLOAT && b.kind == V_FLOAT) {
            *out = a.f == b.f;
        } else {
            val i = a.kind == V_FLOAT ? b : a, f = a.kind == V_FLOAT ? a : b;
            int64_t x = 0;
            *out = val_index(i, &x) && int_equals_float(x, f.f);
        }
        return true;
    }
    *out = false;
    if (a.kind != b.kind) return true;
    switch ((val_kind)a.kind) {
    case V_UNDEF:
    case V_NONE: *out = true; return true;
    case V_STR:
    case V_BIG: *out = sv_eq(val_sv(a), val_sv(b)); return ev_touch(e, a.n);
    case V_LIST:
        if (a.l == b.l) {
            *out = true;
            return true;
        }
        if (a.l->kind != b.l->kind || a.l->kind == L_GENERATOR || a.l->kind == L_VALUES) return true;
        return lists_equal(e, a.l, b.l, depth, out);
    case V_DICT:
        if (a.d == b.d) {
            *out = true;
            return true;
        }
        return dicts_equal(e, a.d, b.d, depth, out);
    case V_RANGE:
        *out = a.r->n == b.r->n && (!a.r->n || (a.r->start == b.r->start && (a.r->n == 1 || a.r->step == b.r->step)));
        return true;
    case V_FUNC: *out = a.fn == b.fn; return true;
    default: *out = a.p == b.p; return true; /* the same object */
    }
}

bool val_equal(ev *e, val a, val b, bool *out) {
    return equal_at(e, a, b, 0, out);
}

static const char *const op_text[] = {"==", "!=", "<", "<=", ">", ">="};

static bool order_result(cmp_op op, int c) {
    return op == CMP_LT ? c < 0 : op == CMP_LE ? c <= 0 : op == CMP_GT ? c > 0 : c >= 0;
}

static bool order_at(ev *e, cmp_op op, val a, val b, int depth, bool *out) {
    if (depth > TMPL_MAX_VALUE_DEPTH) return ev_limit(e, "values nested over %d levels", TMPL_MAX_VALUE_DEPTH);
    if (a.kind == V_UNDEF) return undef_raise(e, a.u);
    if (b.kind == V_UNDEF) return undef_raise(e, b.u);
    if (val_is_num(a) && val_is_num(b)) {
        if (a.kind == V_FLOAT || b.kind == V_FLOAT) {
            double x = val_num(a), y = val_num(b);
            *out = op == CMP_LT ? x < y : op == CMP_LE ? x <= y : op == CMP_GT ? x > y : x >= y;
            return true;
        }
        int64_t x = 0, y = 0;
        *out = val_index(a, &x) && val_index(b, &y) && order_result(op, x < y ? -1 : x > y);
        return true;
    }
    if ((a.kind == V_BIG && (val_is_num(b) || b.kind == V_BIG)) || (b.kind == V_BIG && val_is_num(a))) {
        return ev_unsupported(e, "integer over 64 bits in a comparison");
    }
    if (a.kind == V_STR && b.kind == V_STR) { /* UTF-8 keeps the order of code points */
        size_t n = a.n < b.n ? a.n : b.n;
        int c = n ? memcmp(a.p, b.p, n) : 0;
        *out = order_result(op, c ? c : a.n < b.n ? -1 : a.n > b.n);
        return ev_touch(e, n);
    }
    if (a.kind == V_LIST && b.kind == V_LIST && a.l->kind == b.l->kind && a.l->kind <= L_TUPLE) {
        for (size_t i = 0; i < a.l->n && i < b.l->n; i++) {
            bool eq;
            if (!equal_at(e, a.l->v[i], b.l->v[i], depth + 1, &eq)) return false;
            if (!eq) return order_at(e, op, a.l->v[i], b.l->v[i], depth + 1, out);
        }
        *out = order_result(op, a.l->n < b.l->n ? -1 : a.l->n > b.l->n);
        return true;
    }
    return ev_fail(e, "TypeError", "'%s' not supported between instances of '%s' and '%s'", op_text[op], val_type(a), val_type(b));
}

bool val_order(ev *e, cmp_op op, val a, val b, bool *out) {
    return order_at(e, op, a, b, 0, out);
}

bool val_contains(ev *e, val needle, val hay, bool *out) {
    *out = false;
    if (hay.kind == V_STR) {
        if (needle.kind != V_STR) {
            return ev_fail(e, "TypeError", "'in <string>' requires string as left operand, not %s", val_type(needle));
        }
        *out = sv_find(val_sv(hay), val_sv(needle), 0) != SIZE_MAX;
        return ev_touch(e, hay.n);
    }
    if (hay.kind == V_DICT) {
        pair *p;
        if (!val_hashable(e, needle) || !dict_find(e, hay.d, needle, &p)) return false;
        *out = p != NULL;
        return true;
    }
    if (hay.kind == V_UNDEF) return true;
    if (hay.kind != V_LIST && hay.kind != V_RANGE) {
        return ev_fail(e, "TypeError", "argument of type '%s' is not iterable", val_type(hay));
    }
    const list *l;
    if (!val_iterate(e, hay, &l)) return false;
    for (size_t i = 0; !*out && i < l->n; i++) {
        if (!val_equal(e, needle, l->v[i], out)) return false;
    }
    return true;
}

bool val_length(ev *e, val v, int64_t *out) {
    switch ((val_kind)v.kind) {
    case V_UNDEF: *out = 0; return true;
    case V_STR: *out = (int64_t)str_cp_count(val_sv(v)); return ev_touch(e, v.n);
    case V_DICT: *out = (int64_t)v.d->n; return true;
    case V_RANGE: *out = v.r->n; return true;
    case V_LOOP: *out = (int64_t)v.loop->items->n; return true;
    case V_LIST:
        if (v.l->kind == L_GENERATOR) break;
        *out = (int64_t)v.l->n;
        return true;
    default: break;
    }
    return ev_fail(e, "TypeError", "object of type '%s' has no len()", val_type(v));
}

static bool iterate_str(ev *e, val v, list *l) {
    for (size_t pos = 0; pos < v.n;) {
        size_t next = pos;
        cp_next(val_sv(v), &next);
        if (!list_add(e, l, str_sub(v, pos, next - pos))) return false;
        pos = next;
    }
    return true;
}

bool val_iterate(ev *e, val v, const list **out) {
    val made;
    if (v.kind == V_LIST) {
        if (!ev_steps(e, v.l->n / 16)) return false;
        *out = v.l;
        if (v.l->kind != L_GENERATOR) return true;
        if (!list_new(e, L_LIST, 0, v.user, &made)) return false;
        made.l->v = v.l->v;
        made.l->n = made.l->cap = v.l->n;
        v.l->v = NULL;
        v.l->n = v.l->cap = 0;
        *out = made.l;
        return true;
    }
    if (v.kind != V_UNDEF && v.kind != V_STR && v.kind != V_DICT && v.kind != V_RANGE) {
        return ev_fail(e, "TypeError", "'%s' object is not iterable", val_type(v));
    }
    size_t n = v.kind == V_STR ? v.n : v.kind == V_DICT ? v.d->n : v.kind == V_RANGE ? (size_t)v.r->n : 0;
    if (!ev_steps(e, n / 4) || !list_new(e, L_LIST, v.kind == V_STR ? 0 : n, v.user, &made)) return false;
    *out = made.l;
    if (v.kind == V_STR) return iterate_str(e, v, made.l);
    for (size_t i = 0; i < n; i++) {
        if (!list_add(e, made.l, v.kind == V_DICT ? v.d->v[i].key : val_int(range_at(v.r, (int64_t)i)))) return false;
    }
    return true;
}
