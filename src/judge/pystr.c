/* Python's str(), repr(), strip() and character classes, as CPython 3.11 has them.  See pystr.h.
 *
 * Sources: Objects/unicodeobject.c (unicode_repr: quote choice and escapes), Python/pystrtod.c (float_repr_style short: repr format 'r'),
 * Tools/unicode/makeunicodedata.py (isspace: bidirectional type WS, B or S, or category Zs; isprintable: not C* or Z*, but space).
 * Stateless; recursion depth is that of the JSON document (64 at most). */
#include "judge/pystr.h"

#include "base/pyfloat.h"

#include <stdlib.h>
#include <strings.h>
#include <utf8proc.h>

bool py_is_space(int32_t c) {
    if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Unicode keeps each script's digits 0..9 as ten successive code points, so a digit's value follows from where its run of Nd begins. */
int py_digit(int32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9' ? c - '0' : -1;
    if (utf8proc_category(c) != UTF8PROC_CATEGORY_ND) return -1;
    int32_t first = c;
    while (utf8proc_category(first - 1) == UTF8PROC_CATEGORY_ND) first--;
    return (c - first) % 10;
}

/* The character that ends at byte `end` of s; *start is where it begins.  -1 if malformed. */
static int32_t char_before(sv s, size_t end, size_t *start) {
    size_t from = end - 1;
    while (from > 0 && end - from < 4 && ((unsigned char)s.p[from] & 0xc0) == 0x80) from--;
    size_t pos = from;
    int32_t c = utf8_next((sv){s.p, end}, &pos);
    *start = from;
    return pos == end ? c : -1;
}

sv py_strip(sv s) {
    size_t from = 0, to = s.n;
    while (from < to) {
        size_t pos = from;
        if (!py_is_space(utf8_next(s, &pos))) break;
        from = pos;
    }
    while (to > from) {
        size_t start = 0;
        if (!py_is_space(char_before(s, to, &start)) || start < from) break;
        to = start;
    }
    return (sv){s.n ? s.p + from : s.p, to - from};
}

static bool is_printable(int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return c == ' ';
    default: return true;
    }
}

void py_repr_string(buf *out, sv s) {
    bool single = memchr(s.p ? s.p : "", '\'', s.n) != NULL, twice = memchr(s.p ? s.p : "", '"', s.n) != NULL;
    char quote = single && !twice ? '"' : '\'';
    buf_add_char(out, quote);
    for (size_t pos = 0; pos < s.n;) {
        size_t from = pos;
        int32_t c = utf8_next(s, &pos);
        if (c == quote || c == '\\') {
            buf_add_char(out, '\\');
            buf_add_char(out, (char)c);
        } else if (c == '\n') {
            buf_add_str(out, "\\n");
        } else if (c == '\r') {
            buf_add_str(out, "\\r");
        } else if (c == '\t') {
            buf_add_str(out, "\\t");
        } else if (c < 0) { /* malformed input: shown as a byte */
            buf_printf(out, "\\x%02x", (unsigned)(unsigned char)s.p[from]);
        } else if (is_printable(c)) {
            buf_add(out, s.p + from, pos - from);
        } else if (c < 0x100) {
            buf_printf(out, "\\x%02x", (unsigned)c);
        } else if (c < 0x10000) {
            buf_printf(out, "\\u%04x", (unsigned)c);
        } else {
            buf_printf(out, "\\U%08x", (unsigned)c);
        }
    }
    buf_add_char(out, quote);
}

static bool is_integer_text(sv t) {
    return !memchr(t.p, '.', t.n) && !memchr(t.p, 'e', t.n) && !memchr(t.p, 'E', t.n);
}

static void put_number(buf *out, sv text) {
    if (is_integer_text(text)) { /* JSON allows no leading zeros or '+', so the digits are Python's; -0 is the integer 0 */
        buf_add_sv(out, sv_is(text, "-0") ? SV("0") : text);
        return;
    }
    buf copy = {0};
    buf_add_sv(&copy, text);
    py_put_float(out, strtod(copy.p, NULL));
    buf_fini(&copy);
}

void py_repr(buf *out, const json_value *v) {
    bool first = true;
    switch (json_kind_of(v)) {
    case JSON_NULL: buf_add_str(out, "None"); return;
    case JSON_BOOL: buf_add_str(out, json_bool(v) ? "True" : "False"); return;
    case JSON_NUMBER: put_number(out, json_number_text(v)); return;
    case JSON_STRING: py_repr_string(out, json_string(v)); return;
    case JSON_ARRAY:
        buf_add_char(out, '[');
        for (json_iter it = json_each(v); json_next(&it); first = false) {
            if (!first) buf_add_str(out, ", ");
            py_repr(out, it.value);
        }
        buf_add_char(out, ']');
        return;
    case JSON_OBJECT:
        buf_add_char(out, '{');
        for (json_iter it = json_each(v); json_next(&it); first = false) {
            if (!first) buf_add_str(out, ", ");
            py_repr_string(out, it.key);
            buf_add_str(out, ": ");
            py_repr(out, it.value);
        }
        buf_add_char(out, '}');
        return;
    }
}

void py_str(buf *out, const json_value *v) {
    if (json_kind_of(v) == JSON_STRING)
        buf_add_sv(out, json_string(v));
    else
        py_repr(out, v);
}

const char *py_type_name(const json_value *v) {
    switch (json_kind_of(v)) {
    case JSON_NULL: return "NoneType";
    case JSON_BOOL: return "bool";
    case JSON_NUMBER: return is_integer_text(json_number_text(v)) ? "int" : "float";
    case JSON_STRING: return "str";
    case JSON_ARRAY: return "list";
    case JSON_OBJECT: return "dict";
    }
    return "object";
}

bool py_is_falsy(const json_value *v) {
    double number = 0;
    switch (json_kind_of(v)) {
    case JSON_NULL: return true;
    case JSON_BOOL: return !json_bool(v);
    case JSON_NUMBER: return json_double(v, &number) && number == 0;
    case JSON_STRING: return json_string(v).n == 0;
    case JSON_ARRAY:
    case JSON_OBJECT: return json_size(v) == 0;
    }
    return false;
}

static bool text_among(sv s, const char *const *texts) {
    for (; *texts; texts++)
        if (s.n == strlen(*texts) && strncasecmp(s.p, *texts, s.n) == 0) return true;
    return false;
}

bool py_bool(const json_value *v, bool *out) {
    static const char *const yes[] = {"1", "on", "t", "true", "y", "yes", NULL}, *const no[] = {"0", "off", "f", "false", "n", "no", NULL};
    double number = 2;
    switch (json_kind_of(v)) {
    case JSON_BOOL: *out = json_bool(v); return true;
    case JSON_NUMBER: *out = json_double(v, &number) && number == 1; return number == 0 || number == 1;
    case JSON_STRING: *out = text_among(json_string(v), yes); return *out || text_among(json_string(v), no);
    default: return false;
    }
}
