/* Values to text: str(), repr() and transformers' tojson (json.dumps without HTML escapes), and the builder that carries taint.
 *
 * Bytes that come from a string keep that string's flags; punctuation, digits and words like None take the flag of the value they print,
 * so a list from the messages is user text with its brackets. */
#include "tmpl/tmpl_internal.h"

#include <math.h>
#include <stdlib.h>

static bool sb_room(ev *e, sbuf *b, size_t n) {
    if (n > e->lim.max_output_bytes || b->n + n > e->lim.max_output_bytes) {
        return ev_limit(e, "text over %zu bytes (max_output_bytes)", e->lim.max_output_bytes);
    }
    if (b->n + n <= b->cap) return true;
    size_t cap = b->cap * 2 > b->n + n ? b->cap * 2 : b->n + n < 64 ? 64 : b->n + n;
    char *p = ev_alloc(e, cap, 1);
    if (!p) return false;
    if (b->n) memcpy(p, b->p, b->n);
    if (b->t) {
        uint8_t *t = ev_alloc(e, cap, 1);
        if (!t) return false;
        memcpy(t, b->t, b->n);
        b->t = t;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

/* Makes b->t exist, filled with the flag so far. */
static bool sb_split(ev *e, sbuf *b) {
    if (b->t) return true;
    if (!(b->t = ev_alloc(e, b->cap, 1))) return false;
    memset(b->t, b->user, b->n);
    return true;
}

bool sb_add(ev *e, sbuf *b, const char *p, size_t n, bool user) {
    if (!n) return true;
    if (!ev_touch(e, n) || !sb_room(e, b, n)) return false;
    if (!b->any) b->user = user;
    if (b->user != user && !sb_split(e, b)) return false;
    memcpy(b->p + b->n, p, n);
    if (b->t) memset(b->t + b->n, user, n);
    b->n += n;
    b->any = true;
    return true;
}

bool sb_add_val(ev *e, sbuf *b, val s) {
    if (!s.t) return sb_add(e, b, s.p, s.n, s.user);
    if (!s.n) return true;
    if (!ev_touch(e, s.n) || !sb_room(e, b, s.n) || !sb_split(e, b)) return false;
    memcpy(b->p + b->n, s.p, s.n);
    memcpy(b->t + b->n, s.t, s.n);
    b->n += s.n;
    b->any = true;
    return true;
}

val sb_done(const sbuf *b) {
    return (val){.kind = V_STR, .p = b->p ? b->p : "", .t = b->t, .n = b->n, .user = b->user};
}

/* Python's float repr: the shortest digits that read back, exponent form below 1e-4 and from 1e16. */
size_t float_repr(double f, char out[40]) {
    if (isnan(f)) return (size_t)sprintf(out, "nan");
    if (isinf(f)) return (size_t)sprintf(out, f < 0 ? "-inf" : "inf");
    char sci[40];
    for (int prec = 0; prec < 17; prec++) {
        snprintf(sci, sizeof sci, "%.*e", prec, f);
        if (strtod(sci, NULL) == f) break;
    }
    char digits[24];
    size_t n = 0, k = 0;
    for (char *s = sci; *s && *s != 'e'; s++) {
        if (*s >= '0' && *s <= '9') digits[n++] = *s;
    }
    int exp10 = atoi(strchr(sci, 'e') + 1);
    if (signbit(f)) out[k++] = '-';
    if (exp10 < -4 || exp10 >= 16) {
        out[k++] = digits[0];
        if (n > 1) out[k++] = '.';
        for (size_t i = 1; i < n; i++) out[k++] = digits[i];
        return k + (size_t)sprintf(out + k, "e%c%02d", exp10 < 0 ? '-' : '+', abs(exp10));
    }
    if (exp10 < 0) {
        k += (size_t)sprintf(out + k, "0.");
        for (int i = -1; i > exp10; i--) out[k++] = '0';
        for (size_t i = 0; i < n; i++) out[k++] = digits[i];
    } else {
        for (int i = 0; i <= exp10 || i < (int)n; i++) {
            if (i == exp10 + 1) out[k++] = '.';
            out[k++] = i < (int)n ? digits[i] : '0';
        }
        if ((int)n <= exp10 + 1) k += (size_t)sprintf(out + k, ".0");
    }
    out[k] = 0;
    return k;
}

/* Copies the bytes [from, to) of s with their flags. */
static bool sb_add_sub(ev *e, sbuf *b, val s, size_t from, size_t to) {
    return from == to || sb_add_val(e, b, str_sub(s, from, to - from));
}

static bool repr_str(ev *e, sbuf *b, val s) {
    char quote = memchr(s.p, '\'', s.n) && !memchr(s.p, '"', s.n) ? '"' : '\'';
    if (!sb_add(e, b, &quote, 1, s.user)) return false;
    size_t plain = 0;
    for (size_t pos = 0; pos < s.n;) {
        size_t at = pos;
        int32_t c = cp_next(val_sv(s), &pos);
        char esc[16];
        int n = 0;
        if (c == quote || c == '\\') {
            n = sprintf(esc, "\\%c", (char)c);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            n = sprintf(esc, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        } else if (c < 0) {
            n = sprintf(esc, "\\x%02x", (uint8_t)s.p[at]);
        } else if (!cp_printable((uint32_t)c)) {
            n = sprintf(esc, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        }
        if (!n) continue;
        if (!sb_add_sub(e, b, s, plain, at) || !sb_add(e, b, esc, (size_t)n, s.t ? s.t[at] : s.user)) return false;
        plain = pos;
    }
    return sb_add_sub(e, b, s, plain, s.n) && sb_add(e, b, &quote, 1, s.user);
}

static bool repr_at(ev *e, sbuf *b, val v, int depth);

static bool repr_list(ev *e, sbuf *b, val v, int depth) {
    static const struct {
        const char *open, *close;
    } marks[] = {{"[", "]"}, {"(", ")"}, {"", ""}, {"dict_keys([", "])"}, {"dict_values([", "])"}, {"dict_items([", "])"}};
    const list *l = v.l;
    if (l->kind == L_GENERATOR) return ev_unsupported(e, "printing a generator (use the list filter)");
    if (!sb_add_lit(e, b, marks[l->kind].open, v.user)) return false;
    for (size_t i = 0; i < l->n; i++) {
        if (i && !sb_add_lit(e, b, ", ", v.user)) return false;
        if (!repr_at(e, b, l->v[i], depth + 1)) return false;
    }
    if (l->kind == L_TUPLE && l->n == 1 && !sb_add_lit(e, b, ",", v.user)) return false;
    return sb_add_lit(e, b, marks[l->kind].close, v.user);
}

static bool repr_dict(ev *e, sbuf *b, val v, int depth) {
    if (!sb_add_lit(e, b, "{", v.user)) return false;
    for (size_t i = 0; i < v.d->n; i++) {
        if (i && !sb_add_lit(e, b, ", ", v.user)) return false;
        if (!repr_at(e, b, v.d->v[i].key, depth + 1) || !sb_add_lit(e, b, ": ", v.user) || !repr_at(e, b, v.d->v[i].value, depth + 1)) {
            return false;
        }
    }
    return sb_add_lit(e, b, "}", v.user);
}

static bool repr_slice(ev *e, sbuf *b, const slice *s, int depth) {
    return sb_add_lit(e, b, "slice(", false) && repr_at(e, b, s->start, depth + 1) && sb_add_lit(e, b, ", ", false) &&
           repr_at(e, b, s->stop, depth + 1) && sb_add_lit(e, b, ", ", false) && repr_at(e, b, s->step, depth + 1) &&
           sb_add_lit(e, b, ")", false);
}

static bool repr_at(ev *e, sbuf *b, val v, int depth) {
    char text[80];
    if (depth > TMPL_MAX_VALUE_DEPTH) return ev_limit(e, "values nested over %d levels", TMPL_MAX_VALUE_DEPTH);
    if (!ev_steps(e, 1)) return false;
    switch ((val_kind)v.kind) {
    case V_MISSING:
    case V_UNDEF: return sb_add_lit(e, b, "Undefined", false);
    case V_NONE: return sb_add_lit(e, b, "None", v.user);
    case V_BOOL: return sb_add_lit(e, b, v.b ? "True" : "False", v.user);
    case V_INT: return sb_add(e, b, text, (size_t)sprintf(text, "%lld", (long long)v.i), v.user);
    case V_BIG: return sb_add(e, b, v.p, v.n, v.user);
    case V_FLOAT: return sb_add(e, b, text, float_repr(v.f, text), v.user);
    case V_STR: return repr_str(e, b, v);
    case V_LIST: return repr_list(e, b, v, depth);
    case V_DICT: return repr_dict(e, b, v, depth);
    case V_NS: return sb_add_lit(e, b, "<Namespace ", false) && repr_dict(e, b, v, depth) && sb_add_lit(e, b, ">", false);
    case V_SLICE: return repr_slice(e, b, v.sl, depth);
    case V_RANGE:
        if (v.r->step == 1) {
            snprintf(text, sizeof text, "range(%lld, %lld)", (long long)v.r->start, (long long)v.r->stop);
        } else {
            snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)v.r->start, (long long)v.r->stop, (long long)v.r->step);
        }
        return sb_add_lit(e, b, text, false);
    case V_LOOP:
        snprintf(text, sizeof text, "<LoopContext %zu/%zu>", v.loop->index0 + 1, v.loop->items->n);
        return sb_add_lit(e, b, text, false);
    case V_MACRO:
        if (!v.m->def->id) return sb_add_lit(e, b, "<Macro anonymous>", false);
        return sb_add_lit(e, b, "<Macro '", false) && sb_add(e, b, v.m->def->id->s.p, v.m->def->id->s.n, false) &&
               sb_add_lit(e, b, "'>", false);
    case V_METHOD:
    case V_FUNC: return ev_unsupported(e, "printing a function");
    }
    return true;
}

bool val_repr_of(ev *e, val v, val *out) {
    sbuf b = {0};
    if (!repr_at(e, &b, v, 0)) return false;
    *out = sb_done(&b);
    return true;
}

bool sb_add_str_of(ev *e, sbuf *b, val v) {
    if (v.kind == V_STR) return sb_add_val(e, b, v);
    return v.kind == V_UNDEF || repr_at(e, b, v, 0);
}

bool val_str_of(ev *e, val v, val *out) {
    *out = v;
    if (v.kind == V_STR) return true;
    sbuf b = {0};
    if (!sb_add_str_of(e, &b, v)) return false;
    *out = sb_done(&b);
    return true;
}

/* ---- json.dumps ---- */

static bool json_str(ev *e, sbuf *b, val s, bool ascii) {
    if (!sb_add(e, b, "\"", 1, s.user)) return false;
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    size_t plain = 0;
    for (size_t pos = 0; pos < s.n;) {
        size_t at = pos;
        int32_t c = cp_next(val_sv(s), &pos);
        char esc[16];
        int n = 0;
        const char *simple = c > 0 && c < 0x80 ? strchr(from, c) : NULL;
        if (simple) {
            n = sprintf(esc, "\\%c", to[simple - from]);
        } else if ((c >= 0 && c < 0x20) || (ascii && c >= 0x7f && c < 0x10000)) {
            n = sprintf(esc, "\\u%04x", (unsigned)c);
        } else if (ascii && c >= 0x10000) {
            unsigned x = (unsigned)c - 0x10000;
            n = sprintf(esc, "\\u%04x\\u%04x", 0xd800 | (x >> 10), 0xdc00 | (x & 0x3ff));
        }
        if (!n) continue;
        if (!sb_add_sub(e, b, s, plain, at) || !sb_add(e, b, esc, (size_t)n, s.t ? s.t[at] : s.user)) return false;
        plain = pos;
    }
    return sb_add_sub(e, b, s, plain, s.n) && sb_add(e, b, "\"", 1, s.user);
}

static bool json_at(ev *e, sbuf *b, val v, const json_style *st, int depth);

/* A separator inside v, user text when v is. */
static bool json_sep(ev *e, sbuf *b, val sep, val v) {
    sep.user |= v.user;
    return sb_add_val(e, b, sep);
}

static bool json_newline(ev *e, sbuf *b, const json_style *st, int depth, bool user) {
    if (!st->indented) return true;
    if (!sb_add(e, b, "\n", 1, user)) return false;
    for (int i = 0; i < depth; i++) {
        if (!sb_add_val(e, b, st->indent)) return false;
    }
    return true;
}

static bool json_key(ev *e, sbuf *b, val k, const json_style *st) {
    char text[40];
    switch ((val_kind)k.kind) {
    case V_STR: return json_str(e, b, k, st->ensure_ascii);
    case V_NONE: return sb_add_lit(e, b, "\"null\"", k.user);
    case V_BOOL: return sb_add_lit(e, b, k.b ? "\"true\"" : "\"false\"", k.user);
    case V_INT: return sb_add(e, b, text, (size_t)sprintf(text, "\"%lld\"", (long long)k.i), k.user);
    case V_FLOAT:
        if (isnan(k.f) || isinf(k.f)) return sb_add_lit(e, b, isnan(k.f) ? "\"NaN\"" : k.f < 0 ? "\"-Infinity\"" : "\"Infinity\"", k.user);
        return sb_add(e, b, "\"", 1, k.user) && sb_add(e, b, text, float_repr(k.f, text), k.user) && sb_add(e, b, "\"", 1, k.user);
    default: return ev_fail(e, "TypeError", "keys must be str, int, float, bool or None, not %s", val_type(k));
    }
}

/* Entries in the order of sort_keys: an insertion sort, steps charged; keys must be comparable. */
static bool sorted_pairs(ev *e, const dict *d, pair **out) {
    pair *v = ev_alloc(e, d->n, sizeof *v);
    if (!v) return false;
    for (size_t i = 0; i < d->n; i++) {
        size_t k = i;
        for (; k > 0; k--) {
            bool less;
            if (!ev_steps(e, 1) || !val_order(e, CMP_LT, d->v[i].key, v[k - 1].key, &less)) return false;
            if (!less) break;
            v[k] = v[k - 1];
        }
        v[k] = d->v[i];
    }
    *out = v;
    return true;
}

static bool json_dict(ev *e, sbuf *b, val v, const json_style *st, int depth) {
    size_t n = v.d->n;
    pair *p = v.d->v;
    if (!n) return sb_add_lit(e, b, "{}", v.user);
    if (st->sort_keys && !sorted_pairs(e, v.d, &p)) return false;
    if (!sb_add(e, b, "{", 1, v.user)) return false;
    for (size_t i = 0; i < n; i++) {
        if (i && !json_sep(e, b, st->item_sep, v)) return false;
        if (!json_newline(e, b, st, depth + 1, v.user) || !json_key(e, b, p[i].key, st) || !json_sep(e, b, st->key_sep, v) ||
            !json_at(e, b, p[i].value, st, depth + 1)) {
            return false;
        }
    }
    return json_newline(e, b, st, depth, v.user) && sb_add(e, b, "}", 1, v.user);
}

static bool json_list(ev *e, sbuf *b, val v, const json_style *st, int depth) {
    if (!v.l->n) return sb_add_lit(e, b, "[]", v.user);
    if (!sb_add(e, b, "[", 1, v.user)) return false;
    for (size_t i = 0; i < v.l->n; i++) {
        if (i && !json_sep(e, b, st->item_sep, v)) return false;
        if (!json_newline(e, b, st, depth + 1, v.user) || !json_at(e, b, v.l->v[i], st, depth + 1)) return false;
    }
    return json_newline(e, b, st, depth, v.user) && sb_add(e, b, "]", 1, v.user);
}

static bool json_at(ev *e, sbuf *b, val v, const json_style *st, int depth) {
    char text[40];
    if (depth > TMPL_MAX_VALUE_DEPTH) return ev_limit(e, "values nested over %d levels", TMPL_MAX_VALUE_DEPTH);
    if (!ev_steps(e, 1)) return false;
    switch ((val_kind)v.kind) {
    case V_NONE: return sb_add_lit(e, b, "null", v.user);
    case V_BOOL: return sb_add_lit(e, b, v.b ? "true" : "false", v.user);
    case V_INT: return sb_add(e, b, text, (size_t)sprintf(text, "%lld", (long long)v.i), v.user);
    case V_BIG: return sb_add(e, b, v.p, v.n, v.user);
    case V_FLOAT:
        if (isnan(v.f) || isinf(v.f)) return sb_add_lit(e, b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity", v.user);
        return sb_add(e, b, text, float_repr(v.f, text), v.user);
    case V_STR: return json_str(e, b, v, st->ensure_ascii);
    case V_DICT: return json_dict(e, b, v, st, depth);
    case V_LIST:
        if (v.l->kind <= L_TUPLE) return json_list(e, b, v, st, depth);
        break;
    default: break;
    }
    return ev_fail(e, "TypeError", "Object of type %s is not JSON serializable", val_type(v));
}

bool val_to_json(ev *e, val v, const json_style *st, val *out) {
    sbuf b = {0};
    if (!json_at(e, &b, v, st, 0)) return false;
    *out = sb_done(&b);
    return true;
}
