/* Formatting ("%s" % x, "{}".format(x)) and reading numbers from text, as Python does.
 *
 * The subset: %s %d %i %r %x %% with width, zero, "-" and a precision for %s; {} {0} {name} without format specifications.  Anything else
 * is GV_UNSUPPORTED, so that no template prints something subtly different. */
#include "tmpl/tmpl_internal.h"

#include <stdlib.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool text_to_int(sv s, int base, int64_t *out, bool *too_big) {
    sv t = val_sv(str_strip_space(val_str(s), true, true));
    size_t i = 0;
    bool neg = false, any = false, last_us = true;
    uint64_t v = 0;
    *too_big = false;
    if (t.n && (t.p[0] == '-' || t.p[0] == '+')) neg = t.p[i++] == '-';
    if (i + 1 < t.n && t.p[i] == '0') {
        char x = (char)(t.p[i + 1] | 0x20);
        int b = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
        if (b && (base == b || base == 0)) {
            base = b;
            i += 2;
            last_us = false;
        }
    }
    if (base == 0) base = 10;
    for (; i < t.n; i++) {
        char c = (char)(t.p[i] | 0x20);
        int d = is_digit(t.p[i]) ? t.p[i] - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
        if (t.p[i] == '_' && !last_us) {
            last_us = true;
            continue;
        }
        if (d >= base) return false;
        last_us = false;
        any = true;
        if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v)) *too_big = true;
    }
    if (!any || last_us) return false;
    if (v > (uint64_t)INT64_MAX + (neg ? 1 : 0)) *too_big = true;
    if (*too_big) return false;
    *out = neg ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* Python's float(): decimal digits with single underscores between, exponent, inf, infinity, nan. */
bool text_to_float(sv s, double *out) {
    sv t = val_sv(str_strip_space(val_str(s), true, true));
    char text[512];
    size_t n = 0;
    bool digit = false;
    if (!t.n || t.n >= sizeof text) return false;
    for (size_t i = 0; i < t.n; i++) {
        char c = t.p[i];
        if (c == '_') {
            if (i == 0 || i + 1 == t.n || !is_digit(t.p[i - 1]) || !is_digit(t.p[i + 1])) return false;
            continue;
        }
        digit |= is_digit(c);
        text[n++] = c;
    }
    text[n] = 0;
    const char *word = text + (text[0] == '+' || text[0] == '-');
    bool special = !strcasecmp(word, "inf") || !strcasecmp(word, "infinity") || !strcasecmp(word, "nan");
    if (!special && (!digit || strspn(text, "0123456789+-.eE") != n)) return false;
    char *end;
    *out = strtod(text, &end);
    return end == text + n && n == strlen(text);
}

typedef struct percent_spec {
    bool left, zero;
    int width, precision; /* precision -1: none */
    char conv;
} percent_spec;

/* The specification after '%' at f[*pos]; supported ones only. */
static bool percent_parse(ev *e, sv f, size_t *pos, percent_spec *s) {
    size_t i = *pos;
    *s = (percent_spec){.precision = -1};
    for (; i < f.n && (f.p[i] == '-' || f.p[i] == '0'); i++) {
        if (f.p[i] == '-') s->left = true;
        if (f.p[i] == '0') s->zero = true;
    }
    for (; i < f.n && is_digit(f.p[i]) && s->width < 1000; i++) s->width = s->width * 10 + (f.p[i] - '0');
    if (i < f.n && f.p[i] == '.') {
        s->precision = 0;
        for (i++; i < f.n && is_digit(f.p[i]) && s->precision < 1000; i++) s->precision = s->precision * 10 + (f.p[i] - '0');
    }
    if (i >= f.n) return ev_fail(e, "ValueError", "incomplete format");
    s->conv = f.p[i];
    if (!strchr("sdirxX%", s->conv) || !s->conv || (s->precision >= 0 && s->conv != 's')) {
        return ev_unsupported(e, "conversion %%%c in a %% format", s->conv >= 0x20 && s->conv < 0x7f ? s->conv : '?');
    }
    *pos = i + 1;
    return true;
}

static bool percent_int(ev *e, const percent_spec *s, val v, val *out) {
    int64_t i;
    if (v.kind == V_FLOAT && (s->conv == 'd' || s->conv == 'i') && v.f > -9e18 && v.f < 9e18) {
        i = (int64_t)v.f;
    } else if (v.kind == V_BIG) {
        return ev_unsupported(e, "integer over 64 bits in a %% format");
    } else if (!val_index(v, &i)) {
        bool dec = s->conv == 'd' || s->conv == 'i';
        return ev_fail(e, "TypeError", "%%%c format: %s is required, not %s", s->conv, dec ? "a real number" : "an integer", val_type(v));
    }
    char *text = ev_alloc(e, 32, 1);
    if (!text) return false;
    uint64_t mag = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    int n = sprintf(text, s->conv == 'x' ? "%s%llx" : s->conv == 'X' ? "%s%llX" : "%s%llu", i < 0 ? "-" : "", (unsigned long long)mag);
    *out = val_str((sv){text, (size_t)n});
    out->user = v.user;
    return true;
}

static bool percent_put(ev *e, sbuf *b, const percent_spec *s, val v) {
    val text;
    bool number = s->conv != 's' && s->conv != 'r';
    if (number ? !percent_int(e, s, v, &text) : s->conv == 'r' ? !val_repr_of(e, v, &text) : !val_str_of(e, v, &text)) return false;
    if (s->precision >= 0) text = str_sub(text, 0, str_cp_offset(val_sv(text), (size_t)s->precision));
    size_t len = str_cp_count(val_sv(text)), pad = (size_t)s->width > len ? (size_t)s->width - len : 0;
    bool zero = s->zero && number && !s->left;
    if (zero && pad && text.n && text.p[0] == '-') {
        if (!sb_add(e, b, "-", 1, text.user)) return false;
        text = str_sub(text, 1, text.n);
    }
    for (; !s->left && pad; pad--) {
        if (!sb_add(e, b, zero ? "0" : " ", 1, false)) return false;
    }
    if (!sb_add_val(e, b, text)) return false;
    for (; pad; pad--) {
        if (!sb_add(e, b, " ", 1, false)) return false;
    }
    return true;
}

bool str_format_percent(ev *e, val fmt, val args, val *out) {
    sbuf b = {0};
    if (fmt.markup) return ev_unsupported(e, "a %% format that is marked safe");
    bool tuple = args.kind == V_LIST && args.l->kind == L_TUPLE;
    size_t used = 0, have = tuple ? args.l->n : 1, plain = 0, pos = 0;
    while (pos < fmt.n) {
        if (fmt.p[pos] != '%') {
            pos++;
            continue;
        }
        if (!sb_add_val(e, &b, str_sub(fmt, plain, pos - plain))) return false;
        size_t at = pos++;
        percent_spec s;
        if (pos < fmt.n && fmt.p[pos] == '(') return ev_unsupported(e, "%%(name) in a %% format");
        if (!percent_parse(e, val_sv(fmt), &pos, &s)) return false;
        plain = pos;
        if (s.conv == '%') {
            if (!sb_add_val(e, &b, str_sub(fmt, at, 1))) return false;
            continue;
        }
        if (used == have) return ev_fail(e, "TypeError", "not enough arguments for format string");
        if (!percent_put(e, &b, &s, tuple ? args.l->v[used] : args)) return false;
        used++;
    }
    bool may_be_left =
        args.kind == V_DICT || args.kind == V_UNDEF || args.kind == V_RANGE || (args.kind == V_LIST && args.l->kind == L_LIST);
    if (used < have && !may_be_left) return ev_fail(e, "TypeError", "not all arguments converted during string formatting");
    if (!sb_add_val(e, &b, str_sub(fmt, plain, fmt.n - plain))) return false;
    *out = sb_done(&b);
    return true;
}

static bool brace_value(ev *e, sv field, const cargs *a, size_t *next, val *out) {
    if (!field.n) {
        if (*next >= a->n) return ev_fail(e, "IndexError", "tuple index out of range");
        *out = a->pos[(*next)++];
        return true;
    }
    for (size_t i = 0; i < field.n; i++) {
        if (strchr(".[!:", field.p[i])) return ev_unsupported(e, "field {" SV_FMT "} in str.format", SV_ARG(sv_sub(field, 0, 60)));
    }
    if (is_digit(field.p[0])) {
        int64_t k;
        bool big;
        if (!text_to_int(field, 10, &k, &big) || (uint64_t)k >= a->n) {
            return ev_fail(e, "IndexError", "tuple index out of range");
        }
        *out = a->pos[k];
        return true;
    }
    for (size_t i = 0; i < a->n_kw; i++) {
        if (sv_eq(val_sv(a->kw[i].key), field)) {
            *out = a->kw[i].value;
            return true;
        }
    }
    return ev_fail(e, "KeyError", "'" SV_FMT "'", SV_ARG(sv_sub(field, 0, 200)));
}

bool str_format_braces(ev *e, val fmt, const cargs *a, val *out) {
    sbuf b = {0};
    size_t next = 0, plain = 0;
    for (size_t pos = 0; pos < fmt.n; pos++) {
        char c = fmt.p[pos];
        if (c != '{' && c != '}') continue;
        bool twice = pos + 1 < fmt.n && fmt.p[pos + 1] == c;
        if (!sb_add_val(e, &b, str_sub(fmt, plain, pos - plain + (twice ? 1 : 0)))) return false;
        if (twice) {
            plain = ++pos + 1;
            continue;
        }
        if (c == '}') return ev_fail(e, "ValueError", "Single '}' encountered in format string");
        const char *close = memchr(fmt.p + pos, '}', fmt.n - pos);
        if (!close) {
            return ev_fail(e, "ValueError",
                           pos + 1 == fmt.n ? "Single '{' encountered in format string" : "expected '}' before end of string");
        }
        size_t end = (size_t)(close - fmt.p);
        val v;
        if (!brace_value(e, sv_sub(val_sv(fmt), pos + 1, end - pos - 1), a, &next, &v) || !sb_add_str_of(e, &b, v)) return false;
        plain = end + 1;
        pos = end;
    }
    if (!sb_add_val(e, &b, str_sub(fmt, plain, fmt.n - plain))) return false;
    *out = sb_done(&b);
    return true;
}
