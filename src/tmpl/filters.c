/* Filters on one value, and the table of all filters.  Semantics and argument names are Jinja's; tojson is transformers'.  safe and escape
 * mark a string as markup, whose + escapes the other operand. */
#include "tmpl/filters_internal.h"

#include <math.h>
#include <stdlib.h>

static bool filter_case(ev *e, const char *name, val in, const cargs *a, val *out) {
    val s;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL) || !val_str_of(e, in, &s)) return false;
    if (name[0] == 't') return str_title_filter(e, s, out);
    return str_case(e, s, name[0] == 'u' ? CASE_UPPER : name[0] == 'l' ? CASE_LOWER : CASE_CAPITALIZE, out);
}

static bool filter_trim(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"chars"};
    val s, chars;
    (void)name;
    if (!args_bind(e, "do_trim", a, names, 1, 0, &chars) || !val_str_of(e, in, &s)) return false;
    if (arg_given(chars) && chars.kind != V_STR) return ev_fail(e, "TypeError", "strip arg must be None or str");
    return str_strip(e, s, true, true, arg_given(chars) ? &chars : NULL, out);
}

static bool filter_replace(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"old", "new", "count"};
    val s, v[3], from, to;
    int64_t count = -1;
    (void)name;
    if (!args_bind(e, "do_replace", a, names, 3, 2, v)) return false;
    if (!val_str_of(e, in, &s) || !val_str_of(e, v[0], &from) || !val_str_of(e, v[1], &to)) return false;
    if (arg_given(v[2]) && !val_index(v[2], &count)) {
        return ev_fail(e, "TypeError", "'%s' object cannot be interpreted as an integer", val_type(v[2]));
    }
    return str_replace(e, s, from, to, count, out);
}

static bool filter_length(ev *e, const char *name, val in, const cargs *a, val *out) {
    int64_t n;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL) || !val_length(e, in, &n)) return false;
    *out = val_int(n);
    return true;
}

static bool filter_default(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"default_value", "boolean"};
    val v[2];
    (void)name;
    if (!args_bind(e, "do_default", a, names, 2, 0, v)) return false;
    bool use = in.kind == V_UNDEF || (arg_true(v[1]) && !val_truthy(in));
    *out = !use ? in : v[0].kind == V_MISSING ? val_str(SV("")) : v[0];
    return true;
}

static bool filter_string(ev *e, const char *name, val in, const cargs *a, val *out) {
    return args_bind(e, name, a, NULL, 0, 0, NULL) && val_str_of(e, in, out);
}

/* safe, escape, e, forceescape */
static bool filter_markup(ev *e, const char *name, val in, const cargs *a, val *out) {
    if (!args_bind(e, name, a, NULL, 0, 0, NULL) || !val_str_of(e, in, out)) return false;
    if (name[0] != 's' && !(in.markup && name[0] == 'e') && !str_html_escape(e, *out, out)) return false;
    out->markup = true;
    return true;
}

static bool filter_format(ev *e, const char *name, val in, const cargs *a, val *out) {
    val s, args;
    (void)name;
    if (a->n_kw) return ev_unsupported(e, "keyword arguments of the format filter");
    if (!val_str_of(e, in, &s) || !list_new(e, L_TUPLE, a->n, false, &args)) return false;
    for (size_t i = 0; i < a->n; i++) args.l->v[args.l->n++] = a->pos[i];
    return str_format_percent(e, s, args, out);
}

static bool float_to_int(ev *e, double f, val *out) {
    if (!(f > -0x1p63 && f < 0x1p63)) return ev_limit(e, "integer over 64 bits");
    *out = val_int((int64_t)f);
    return true;
}

static bool filter_int(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"default", "base"};
    val v[2];
    int64_t i, base = 10;
    double f;
    bool big = false;
    (void)name;
    if (!args_bind(e, "do_int", a, names, 2, 0, v)) return false;
    if (v[1].kind != V_MISSING && !val_index(v[1], &base)) return ev_unsupported(e, "base of the int filter that is no integer");
    if (in.kind == V_UNDEF) return undef_raise(e, in.u);
    *out = v[0].kind == V_MISSING ? val_int(0) : v[0];
    if (val_index(in, &i)) {
        *out = val_int(i);
    } else if (in.kind == V_BIG) {
        *out = in;
    } else if (in.kind == V_FLOAT) {
        if (isnan(in.f)) return true;
        if (isinf(in.f)) return ev_fail(e, "OverflowError", "cannot convert float infinity to integer");
        return float_to_int(e, in.f, out);
    } else if (in.kind == V_STR) {
        if (base < 0 || base == 1 || base > 36) return true;
        if (text_to_int(val_sv(in), (int)base, &i, &big)) {
            *out = val_int(i);
        } else if (big) {
            return ev_limit(e, "integer over 64 bits");
        } else if (text_to_float(val_sv(in), &f) && isfinite(f)) {
            return float_to_int(e, f, out);
        }
    }
    return true;
}

static bool filter_float(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"default"};
    val v;
    double f;
    (void)name;
    if (!args_bind(e, "do_float", a, names, 1, 0, &v)) return false;
    if (in.kind == V_UNDEF) return undef_raise(e, in.u);
    *out = v.kind == V_MISSING ? val_float(0) : v;
    if (val_is_num(in)) *out = val_float(val_num(in));
    if ((in.kind == V_STR || in.kind == V_BIG) && text_to_float(val_sv(in), &f)) *out = val_float(f);
    return true;
}

static bool filter_abs(ev *e, const char *name, val in, const cargs *a, val *out) {
    if (!args_bind(e, name, a, NULL, 0, 0, NULL)) return false;
    if (!val_is_num(in)) return ev_fail(e, "TypeError", "bad operand type for abs(): '%s'", val_type(in));
    if (in.kind == V_FLOAT) {
        *out = val_float(fabs(in.f));
        return true;
    }
    return op_negate(e, in, val_num(in) < 0, out);
}

static bool filter_round(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"precision", "method"};
    val v[2];
    int64_t p = 0;
    (void)name;
    if (!args_bind(e, "do_round", a, names, 2, 0, v)) return false;
    bool common = v[1].kind == V_MISSING || val_is(v[1], "common"), up = val_is(v[1], "ceil");
    if (!common && !up && !val_is(v[1], "floor")) return ev_fail(e, "FilterArgumentError", "method must be common, ceil or floor");
    if (v[0].kind != V_MISSING && !val_index(v[0], &p)) {
        return ev_fail(e, "TypeError", "'%s' object cannot be interpreted as an integer", val_type(v[0]));
    }
    if (!val_is_num(in)) return ev_fail(e, "TypeError", "type %s doesn't define __round__ method", val_type(in));
    if (p < 0 || p > 22) return ev_unsupported(e, "a precision of round outside 0..22");
    if (common && in.kind != V_FLOAT) return op_negate(e, in, false, out);
    double f = val_num(in);
    if (common) {
        char text[400];
        snprintf(text, sizeof text, "%.*f", (int)p, f);
        *out = val_float(strtod(text, NULL));
        return true;
    }
    double scale = 1;
    for (; p > 0; p--) scale *= 10;
    *out = val_float((up ? ceil(f * scale) : floor(f * scale)) / scale);
    return true;
}

static bool filter_attr(ev *e, const char *name, val in, const cargs *a, val *out) {
    val v;
    bool unsafe = false;
    if (!args_bind(e, name, a, NULL, 1, 1, &v)) return false;
    if (v.kind != V_STR) return ev_fail(e, "TypeError", "attribute name must be string, not '%s'", val_type(v));
    if (in.kind == V_DICT && method_find(in, val_sv(v), &unsafe) < 0) return val_undef_attr(e, in, v, out);
    return op_getattr(e, in, val_sv(v), out);
}

static bool is_word(int32_t c) {
    if (c < 0) return false;
    char u[4];
    size_t n = utf8_put((uint32_t)c, u);
    return c == '_' || str_is((sv){u, n}, IS_ALNUM);
}

static bool filter_wordcount(ev *e, const char *name, val in, const cargs *a, val *out) {
    val s;
    int64_t n = 0;
    bool in_word = false;
    if (!args_bind(e, name, a, NULL, 0, 0, NULL) || !val_str_of(e, in, &s) || !ev_steps(e, s.n / 8)) return false;
    for (size_t pos = 0; pos < s.n;) {
        bool w = is_word(cp_next(val_sv(s), &pos));
        n += w && !in_word;
        in_word = w;
    }
    *out = val_int(n);
    return true;
}

/* The text of one level: a string, or that many blanks. */
static bool indent_text(ev *e, val width, val *out) {
    int64_t n;
    *out = width;
    if (width.kind == V_STR) return true;
    if (!val_index(width, &n)) return ev_fail(e, "TypeError", "can't multiply sequence by non-int of type '%s'", val_type(width));
    return str_repeat(e, val_str(SV(" ")), n, out);
}

static bool filter_indent(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"width", "first", "blank"};
    val v[3], pad, text, lines;
    sbuf b = {0};
    (void)name;
    if (!args_bind(e, "do_indent", a, names, 3, 0, v)) return false;
    if (!indent_text(e, v[0].kind == V_MISSING ? val_int(4) : v[0], &pad)) return false;
    if (in.kind == V_UNDEF) return undef_raise(e, in.u);
    if (in.kind == V_LIST && in.l->kind == L_LIST) return ev_fail(e, "AttributeError", "'list' object has no attribute 'splitlines'");
    if (in.kind == V_LIST && in.l->kind == L_TUPLE) return op_binary(e, TK_ADD, in, val_str(SV("\n")), out);
    if (in.kind != V_STR) return ev_fail(e, "TypeError", "unsupported operand type(s) for +=: '%s' and 'str'", val_type(in));
    if (!op_binary(e, TK_ADD, in, val_str(SV("\n")), &text) || !str_splitlines(e, text, false, &lines)) return false;
    for (size_t i = 0; i < lines.l->n; i++) {
        if (i && !sb_add(e, &b, "\n", 1, false)) return false;
        bool put = i == 0 ? arg_true(v[1]) : arg_true(v[2]) || lines.l->v[i].n > 0;
        if ((put && !sb_add_val(e, &b, pad)) || !sb_add_val(e, &b, lines.l->v[i])) return false;
    }
    *out = sb_done(&b);
    return true;
}

static bool filter_tojson(ev *e, const char *name, val in, const cargs *a, val *out) {
    static const char *const names[] = {"ensure_ascii", "indent", "separators", "sort_keys"};
    val v[4];
    (void)name;
    if (!args_bind(e, "_compile_jinja_template.<locals>.tojson", a, names, 4, 0, v)) return false;
    json_style st = {.ensure_ascii = arg_true(v[0]), .sort_keys = arg_true(v[3]), .indented = arg_given(v[1])};
    st.item_sep = val_str(st.indented ? SV(",") : SV(", "));
    st.key_sep = val_str(SV(": "));
    if (st.indented && !indent_text(e, v[1], &st.indent)) return false;
    if (arg_given(v[2])) {
        bool pair_ok = v[2].kind == V_LIST && v[2].l->n == 2 && v[2].l->v[0].kind == V_STR && v[2].l->v[1].kind == V_STR;
        if (!pair_ok) return ev_unsupported(e, "separators of tojson that are not two strings");
        st.item_sep = v[2].l->v[0];
        st.key_sep = v[2].l->v[1];
    }
    return val_to_json(e, in, &st, out);
}

static const struct {
    const char *name;
    filter_fn *fn; /* NULL: Jinja has it, this subset does not */
} filters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"capitalize", filter_case},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"float", filter_float},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", filter_case},
    {"map", filter_map},
    {"max", filter_minmax},
    {"min", filter_minmax},
    {"reject", filter_select},
    {"rejectattr", filter_select},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_markup},
    {"select", filter_select},
    {"selectattr", filter_select},
    {"sort", filter_sort},
    {"string", filter_string},
    {"sum", filter_sum},
    {"title", filter_case},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"unique", filter_unique},
    {"upper", filter_case},
    {"wordcount", filter_wordcount},
    {"batch", NULL},
    {"center", NULL},
    {"e", filter_markup},
    {"escape", filter_markup},
    {"filesizeformat", NULL},
    {"forceescape", filter_markup},
    {"groupby", NULL},
    {"pprint", NULL},
    {"random", NULL},
    {"slice", NULL},
    {"striptags", NULL},
    {"truncate", NULL},
    {"urlencode", NULL},
    {"urlize", NULL},
    {"wordwrap", NULL},
    {"xmlattr", NULL},
};

int filter_find(sv s) {
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        if (sv_is(s, filters[i].name)) return filters[i].fn ? (int)i : -2;
    }
    return -1;
}

bool filter_call(ev *e, int id, val input, const cargs *a, val *out) {
    return filters[id].fn(e, filters[id].name, input, a, out);
}
