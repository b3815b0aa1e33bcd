/* Operators, attributes and subscripts with Python's types and messages, and the sandbox's rules (a mutating method or a dunder is
 * "unsafe").  Integers are 64-bit: beyond that an operation fails by name rather than wrap. */
#include "tmpl/tmpl_internal.h"

#include <math.h>

static const char *op_symbol(tok_kind op) {
    switch (op) {
    case TK_ADD: return "+";
    case TK_SUB: return "-";
    case TK_MUL: return "*";
    case TK_DIV: return "/";
    case TK_FLOORDIV: return "//";
    case TK_MOD: return "%";
    default: return "** or pow()";
    }
}

static bool bad_operands(ev *e, tok_kind op, val a, val b) {
    return ev_fail(e, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op_symbol(op), val_type(a), val_type(b));
}

static bool too_big(ev *e) {
    return ev_limit(e, "integer over 64 bits");
}

static bool int_pow(ev *e, int64_t x, int64_t y, val *out) {
    int64_t r = 1;
    if (y < 0) return ev_unsupported(e, "** with a negative exponent");
    while (y) {
        if ((y & 1) && __builtin_mul_overflow(r, x, &r)) return too_big(e);
        y >>= 1;
        if (y && __builtin_mul_overflow(x, x, &x)) return too_big(e);
    }
    *out = val_int(r);
    return true;
}

static bool int_op(ev *e, tok_kind op, int64_t x, int64_t y, val *out) {
    int64_t r = 0;
    switch (op) {
    case TK_ADD:
        if (__builtin_add_overflow(x, y, &r)) return too_big(e);
        break;
    case TK_SUB:
        if (__builtin_sub_overflow(x, y, &r)) return too_big(e);
        break;
    case TK_MUL:
        if (__builtin_mul_overflow(x, y, &r)) return too_big(e);
        break;
    case TK_DIV:
        if (y == 0) return ev_fail(e, "ZeroDivisionError", "division by zero");
        *out = val_float((double)x / (double)y);
        return true;
    case TK_POW: return int_pow(e, x, y, out);
    default: /* // and % round to minus infinity */
        if (y == 0) return ev_fail(e, "ZeroDivisionError", op == TK_MOD ? "integer modulo by zero" : "integer division or modulo by zero");
        if (y == -1) {
            if (op == TK_FLOORDIV && __builtin_sub_overflow((int64_t)0, x, &r)) return too_big(e);
            break;
        }
        r = op == TK_MOD ? x % y : x / y;
        if (x % y != 0 && (x % y < 0) != (y < 0)) r = op == TK_MOD ? r + y : r - 1;
    }
    *out = val_int(r);
    return true;
}

static bool float_op(ev *e, tok_kind op, double x, double y, val *out) {
    double r, m;
    switch (op) {
    case TK_ADD: r = x + y; break;
    case TK_SUB: r = x - y; break;
    case TK_MUL: r = x * y; break;
    case TK_DIV:
        if (y == 0) return ev_fail(e, "ZeroDivisionError", "float division by zero");
        r = x / y;
        break;
    case TK_POW: return ev_unsupported(e, "** of floats");
    default: /* CPython's float_divmod */
        if (y == 0) return ev_fail(e, "ZeroDivisionError", op == TK_MOD ? "float modulo" : "float floor division by zero");
        m = fmod(x, y);
        if (op == TK_MOD) {
            r = m == 0 ? copysign(0.0, y) : (m < 0) != (y < 0) ? m + y : m;
            break;
        }
        r = (x - m) / y;
        if (m != 0 && (m < 0) != (y < 0)) r -= 1;
        if (r != 0) {
            double f = floor(r);
            r = r - f > 0.5 ? f + 1 : f;
        } else {
            r = copysign(0.0, x / y);
        }
    }
    *out = val_float(r);
    return true;
}

static bool list_concat(ev *e, val a, val b, val *out) {
    if (!ev_steps(e, (a.l->n + b.l->n) / 16) || !list_new(e, a.l->kind, a.l->n + b.l->n, a.user || b.user, out)) return false;
    if (a.l->n) memcpy(out->l->v, a.l->v, a.l->n * sizeof *out->l->v);
    if (b.l->n) memcpy(out->l->v + a.l->n, b.l->v, b.l->n * sizeof *out->l->v);
    out->l->n = a.l->n + b.l->n;
    return true;
}

static bool is_seq(val v) {
    return v.kind == V_LIST && (v.l->kind == L_LIST || v.l->kind == L_TUPLE);
}

static bool op_add(ev *e, val a, val b, val *out) {
    if (a.kind == V_STR && b.kind == V_STR) {
        sbuf s = {0};
        bool markup = a.markup || b.markup;
        if (markup && ((!a.markup && !str_html_escape(e, a, &a)) || (!b.markup && !str_html_escape(e, b, &b)))) return false;
        if (!sb_add_val(e, &s, a) || !sb_add_val(e, &s, b)) return false;
        *out = sb_done(&s);
        out->markup = markup;
        return true;
    }
    if (is_seq(a) && b.kind == V_LIST && a.l->kind == b.l->kind) return list_concat(e, a, b, out);
    if (a.kind == V_STR || is_seq(a)) {
        return ev_fail(e, "TypeError", "can only concatenate %s (not \"%s\") to %s", val_type(a), val_type(b), val_type(a));
    }
    return bad_operands(e, TK_ADD, a, b);
}

static bool op_repeat(ev *e, val seq, val times, val *out) {
    int64_t n;
    if (!val_index(times, &n)) return ev_fail(e, "TypeError", "can't multiply sequence by non-int of type '%s'", val_type(times));
    if (seq.kind == V_STR) return str_repeat(e, seq, n, out);
    if (!list_new(e, seq.l->kind, 0, seq.user, out)) return false;
    for (; n > 0 && seq.l->n; n--) {
        for (size_t i = 0; i < seq.l->n; i++) {
            if (!ev_steps(e, 1) || !list_add(e, out->l, seq.l->v[i])) return false;
        }
    }
    return true;
}

bool op_binary(ev *e, tok_kind op, val a, val b, val *out) {
    if (val_is_num(a) && val_is_num(b)) {
        int64_t x = 0, y = 0;
        bool ok = val_index(a, &x) && val_index(b, &y) ? int_op(e, op, x, y, out) : float_op(e, op, val_num(a), val_num(b), out);
        if (ok) out->user = a.user || b.user;
        return ok;
    }
    if (op == TK_MOD && a.kind == V_STR) return str_format_percent(e, a, b, out);
    if (a.kind == V_UNDEF) return undef_raise(e, a.u);
    if (b.kind == V_UNDEF) return undef_raise(e, b.u);
    bool a_big = a.kind == V_BIG && (val_is_num(b) || b.kind == V_BIG), b_big = b.kind == V_BIG && val_is_num(a);
    if (a_big || b_big) return too_big(e);
    if (op == TK_ADD) return op_add(e, a, b, out);
    if (op == TK_MUL && (a.kind == V_STR || is_seq(a))) return op_repeat(e, a, b, out);
    if (op == TK_MUL && (b.kind == V_STR || is_seq(b))) return op_repeat(e, b, a, out);
    return bad_operands(e, op, a, b);
}

bool op_negate(ev *e, val v, bool minus, val *out) {
    int64_t i;
    if (v.kind == V_UNDEF) return undef_raise(e, v.u);
    if (v.kind == V_FLOAT) {
        *out = val_float(minus ? -v.f : v.f);
    } else if (val_index(v, &i)) {
        if (minus && __builtin_sub_overflow((int64_t)0, i, &i)) return too_big(e);
        *out = val_int(i);
    } else if (v.kind == V_BIG) {
        return too_big(e);
    } else {
        return ev_fail(e, "TypeError", "bad operand type for unary %s: '%s'", minus ? "-" : "+", val_type(v));
    }
    out->user = v.user;
    return true;
}

/* ---- attributes ---- */

static bool is_dunder(sv s) {
    return s.n > 4 && sv_starts(s, SV("__")) && sv_ends(s, SV("__"));
}

static bool native_attr(ev *e, val obj, sv attr, val *out, bool *found) {
    *found = true;
    if (is_dunder(attr) && obj.kind != V_NS) return val_undef_unsafe(e, obj, attr, out);
    if (obj.kind == V_NS) {
        pair *p;
        if (!dict_find(e, obj.d, val_str(attr), &p)) return false;
        *found = p != NULL;
        if (p) *out = p->value;
        return true;
    }
    if (obj.kind == V_LOOP) return loop_attr(e, obj.loop, attr, out, found);
    if (obj.kind == V_RANGE && (sv_is(attr, "start") || sv_is(attr, "stop") || sv_is(attr, "step"))) {
        *out = val_int(sv_is(attr, "start") ? obj.r->start : sv_is(attr, "stop") ? obj.r->stop : obj.r->step);
        return true;
    }
    if (obj.kind == V_MACRO && sv_is(attr, "name")) {
        *out = obj.m->def->id ? val_str(obj.m->def->id->s) : val_none();
        return true;
    }
    bool unsafe = false;
    int id = method_find(obj, attr, &unsafe);
    if (unsafe) return val_undef_unsafe(e, obj, attr, out);
    if (id < 0) {
        *found = false;
        return true;
    }
    method *m = ev_alloc(e, 1, sizeof *m);
    if (!m) return false;
    *m = (method){obj, id};
    *out = (val){.kind = V_METHOD, .me = m};
    return true;
}

/* obj.attr: attributes and methods first, then obj["attr"]. */
bool op_getattr(ev *e, val obj, sv attr, val *out) {
    if (obj.kind == V_UNDEF) return undef_raise(e, obj.u);
    bool found;
    if (!native_attr(e, obj, attr, out, &found)) return false;
    if (found) return true;
    if (obj.kind == V_DICT) {
        pair *p;
        if (!dict_find(e, obj.d, val_str(attr), &p)) return false;
        if (p) {
            *out = p->value;
            return true;
        }
    }
    return val_undef_attr(e, obj, val_str(attr), out);
}

/* ---- subscripts ---- */

static bool bad_slice(ev *e) {
    return ev_fail(e, "TypeError", "slice indices must be integers or None or have an __index__ method");
}

/* A slice bound as Python's: none keeps dflt, negative counts from the end, clipped to [lo, hi]. */
static bool slice_bound(ev *e, val v, int64_t len, int64_t dflt, int64_t lo, int64_t hi, int64_t *out) {
    *out = dflt;
    if (v.kind == V_NONE) return true;
    if (!val_index(v, out)) return bad_slice(e);
    if (*out < 0) *out += len;
    if (*out < lo) *out = lo;
    if (*out > hi) *out = hi;
    return true;
}

typedef struct slice_range {
    int64_t start, step;
    size_t count;
} slice_range;

static bool slice_resolve(ev *e, const slice *s, int64_t len, slice_range *r) {
    int64_t stop;
    r->step = 1;
    if (s->step.kind != V_NONE && !val_index(s->step, &r->step)) return bad_slice(e);
    if (r->step == 0) return ev_fail(e, "ValueError", "slice step cannot be zero");
    if (r->step > len + 1) r->step = len + 1;
    if (r->step < -len - 1) r->step = -len - 1;
    bool up = r->step > 0;
    int64_t lo = up ? 0 : -1, hi = up ? len : len - 1;
    if (!slice_bound(e, s->start, len, up ? 0 : len - 1, lo, hi, &r->start)) return false;
    if (!slice_bound(e, s->stop, len, up ? len : -1, lo, hi, &stop)) return false;
    int64_t span = up ? stop - r->start : r->start - stop, step = up ? r->step : -r->step;
    r->count = span > 0 ? (size_t)((span - 1) / step + 1) : 0;
    return true;
}

static bool get_slice(ev *e, val obj, const slice *s, val *out) {
    slice_range r;
    int64_t len;
    bool sliceable = obj.kind == V_STR || is_seq(obj) || obj.kind == V_RANGE;
    if (obj.kind == V_DICT) return ev_fail(e, "TypeError", "unhashable type: 'slice'");
    if (!sliceable) return ev_fail(e, "TypeError", "'%s' object is not subscriptable", val_type(obj));
    if (!val_length(e, obj, &len)) return false;
    if (!slice_resolve(e, s, len, &r)) return false;
    if (obj.kind == V_STR) return str_slice(e, obj, r.start, r.step, r.count, out);
    if (obj.kind == V_RANGE) {
        range_val *n = ev_alloc(e, 1, sizeof *n);
        if (!n) return false;
        uint64_t step = r.count > 1 ? (uint64_t)obj.r->step * (uint64_t)r.step : 1;
        *n = (range_val){r.count ? range_at(obj.r, r.start) : 0, 0, (int64_t)step, (int64_t)r.count};
        n->stop = range_at(n, n->n);
        *out = (val){.kind = V_RANGE, .r = n};
        return true;
    }
    if (!ev_steps(e, r.count / 16) || !list_new(e, obj.l->kind, r.count, obj.user, out)) return false;
    for (size_t i = 0; i < r.count; i++) out->l->v[i] = obj.l->v[r.start + (int64_t)i * r.step];
    out->l->n = r.count;
    return true;
}

static bool get_index(ev *e, val obj, int64_t i, val *out, bool *found) {
    int64_t len;
    if (!val_length(e, obj, &len)) return false;
    if (i < 0) i += len;
    *found = i >= 0 && i < len;
    if (!*found) return true;
    if (obj.kind == V_STR) return str_slice(e, obj, i, 1, 1, out);
    *out = obj.kind == V_RANGE ? val_int(range_at(obj.r, i)) : obj.l->v[i];
    return true;
}

/* obj[key]; else, for a string key, obj.key. */
bool op_getitem(ev *e, val obj, val key, val *out) {
    if (obj.kind == V_UNDEF) return undef_raise(e, obj.u);
    bool found = false;
    int64_t i;
    if (key.kind == V_SLICE) {
        return get_slice(e, obj, key.sl, out);
    } else if (obj.kind == V_DICT) {
        pair *p = NULL;
        bool plain = key.kind != V_LIST && key.kind != V_DICT;
        if (plain && !dict_find(e, obj.d, key, &p)) return false;
        if (!plain && key.kind == V_LIST && key.l->kind == L_TUPLE && !dict_find(e, obj.d, key, &p)) return false;
        found = p != NULL;
        if (found) *out = p->value;
    } else if ((obj.kind == V_STR || is_seq(obj) || obj.kind == V_RANGE) && val_index(key, &i)) {
        if (!get_index(e, obj, i, out, &found)) return false;
    }
    if (!found && key.kind == V_STR && !native_attr(e, obj, val_sv(key), out, &found)) return false;
    return found || val_undef_attr(e, obj, key, out);
}
