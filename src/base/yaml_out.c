/* See yaml_out.h.  The choices are those of PyYAML 6 (emitter.py, representer.py): which of plain, 'single' and "double" a text gets, where a
 * line is folded, when a key needs "? ".
 *
 * The state is a cursor: the column, and whether the line so far is only indentation and indicators ("- - "), in which case the next node
 * goes on in this line.  Texts are walked as code points, because the fold column counts characters.  Depth is that of the JSON document. */
#include "base/yaml_out.h"

#include "base/mem.h"
#include "base/pyfloat.h"
#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    WIDTH = 80,
    INDENT = 2,
    KEY_MAX = 122, /* characters of a key that stands before ": "; 128 with its tag !!str counted */
};

typedef struct writer {
    buf *out;
    yaml_out_options o;
    size_t column;
    bool blank;     /* the last character is white space, or nothing was written */
    bool indention; /* the line holds only indentation and indicators */
    bool plain;     /* the last scalar was plain: at the root it needs "..." behind it */
    uint32_t *text; /* code points of the scalar at hand */
    size_t n, cap;
} writer;

typedef enum scalar_style { PLAIN, SINGLE, DOUBLE } scalar_style;

static bool is_break(uint32_t c) {
    return c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029;
}
static bool is_white(uint32_t c) {
    return c == 0 || c == ' ' || c == '\t' || c == '\r' || is_break(c);
}
static bool is_one_of(uint32_t c, const char *set) {
    return c && c < 0x80 && strchr(set, (int)c);
}

/* ---- the cursor ---- */

static void put_point(writer *w, uint32_t c) {
    char bytes[4];
    buf_add(w->out, bytes, utf8_put(c, bytes));
}

static void put_points(writer *w, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) put_point(w, w->text[i]);
    if (to > from) w->column += to - from;
}

static void put_ascii(writer *w, const char *s) {
    buf_add_str(w->out, s);
    w->column += strlen(s);
}

static void put_break(writer *w, uint32_t c) {
    put_point(w, c);
    w->blank = w->indention = true;
    w->column = 0;
}

static void put_indent(writer *w, size_t indent) {
    if (!w->indention || w->column > indent || (w->column == indent && !w->blank)) put_break(w, '\n');
    if (w->column < indent) w->blank = true;
    for (; w->column < indent; w->column++) buf_add_char(w->out, ' ');
}

/* One of - ? : ' " {} []; spaced: a space before it unless there is one. */
static void put_indicator(writer *w, const char *s, bool spaced, bool keeps_indention) {
    if (spaced && !w->blank) put_ascii(w, " ");
    put_ascii(w, s);
    w->blank = false;
    w->indention = w->indention && keeps_indention;
}

/* ---- scalars ---- */

static void load_text(writer *w, sv s) {
    if (s.n > w->cap) {
        w->cap = s.n;
        w->text = gv_xrealloc(w->text, s.n * sizeof *w->text);
    }
    w->n = 0;
    for (size_t pos = 0; pos < s.n;) {
        const int32_t c = utf8_next(s, &pos);
        w->text[w->n++] = c < 0 ? 0xfffd : (uint32_t)c;
    }
}

/* May c stand outside of double quotes? */
static bool is_printable(const writer *w, uint32_t c) {
    if (c == '\n' || (c >= 0x20 && c <= 0x7e)) return true;
    if (!w->o.allow_unicode || c == 0xfeff) return false;
    return c == 0x85 || (c >= 0xa0 && c <= 0xd7ff) || (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c < 0x10ffff);
}

/* An indicator of block context at i: what a plain scalar cannot hold there. */
static bool is_indicator(const writer *w, size_t i) {
    const uint32_t c = w->text[i];
    const bool white_after = i + 1 >= w->n || is_white(w->text[i + 1]);
    if (c == ':') return white_after;
    if (i > 0) return c == '#' && is_white(w->text[i - 1]);
    return is_one_of(c, "#,[]{}&*!|>'\"%@`") || ((c == '?' || c == '-') && white_after);
}

static bool has_document_marker(const writer *w) {
    return w->n >= 3 && (w->text[0] == '-' || w->text[0] == '.') && w->text[1] == w->text[0] && w->text[2] == w->text[0];
}

static scalar_style choose_style(const writer *w, sv s, bool key) {
    if (!w->n) return SINGLE;
    bool plain = !has_document_marker(w), single = true, lines = false;
    for (size_t i = 0; i < w->n; i++) {
        const uint32_t c = w->text[i];
        const bool edge = i == 0 || i + 1 == w->n;
        if (is_indicator(w, i)) plain = false;
        if (!is_printable(w, c)) single = false;
        if (is_break(c)) lines = true;
        if (edge && (c == ' ' || is_break(c))) plain = false;
        if (i > 0 && ((c == ' ' && is_break(w->text[i - 1])) || (is_break(c) && w->text[i - 1] == ' '))) single = false;
    }
    if (plain && single && !lines && yaml_resolve(s) == YAML_IS_TEXT) return PLAIN;
    return single && !(key && lines) ? SINGLE : DOUBLE;
}

/* End of the run of spaces, breaks or other characters that begins at i; a quote is a run of its own if quotes are asked for. */
static size_t run_end(const writer *w, size_t i, bool quotes) {
    const uint32_t c = w->text[i];
    size_t end = i + 1;
    if (quotes && c == '\'') return end;
    for (; end < w->n; end++) {
        const uint32_t d = w->text[end];
        if ((c == ' ') != (d == ' ') || is_break(c) != is_break(d) || (quotes && d == '\'')) break;
    }
    return end;
}

/* Breaks from `from` to `to`: a line feed stands as an empty line, because one break alone reads as a space. */
static void put_breaks(writer *w, size_t from, size_t to, size_t indent) {
    if (w->text[from] == '\n') put_break(w, '\n');
    for (size_t i = from; i < to; i++) put_break(w, w->text[i]);
    put_indent(w, indent);
}

static void put_plain(writer *w, size_t indent, bool split) {
    if (!w->blank) put_ascii(w, " ");
    w->blank = w->indention = false;
    w->plain = true;
    for (size_t i = 0, end; i < w->n; i = end) {
        end = run_end(w, i, false);
        if (w->text[i] == ' ' && end == i + 1 && w->column > WIDTH && split) {
            put_indent(w, indent);
            w->blank = w->indention = false;
        } else {
            put_points(w, i, end);
        }
    }
}

static void put_single(writer *w, size_t indent, bool split) {
    put_indicator(w, "'", true, false);
    for (size_t i = 0, end; i < w->n; i = end) {
        end = run_end(w, i, true);
        if (w->text[i] == '\'') {
            put_ascii(w, "''");
        } else if (is_break(w->text[i])) {
            put_breaks(w, i, end, indent);
        } else if (w->text[i] == ' ' && end == i + 1 && w->column > WIDTH && split && i != 0 && end != w->n) {
            put_indent(w, indent);
        } else {
            put_points(w, i, end);
        }
    }
    put_indicator(w, "'", false, false);
}

static bool needs_escape(const writer *w, uint32_t c) {
    if (c == '"' || c == '\\' || c == 0x85 || c == 0x2028 || c == 0x2029 || c == 0xfeff) return true;
    if (c >= 0x20 && c <= 0x7e) return false;
    return !w->o.allow_unicode || !((c >= 0xa0 && c <= 0xd7ff) || (c >= 0xe000 && c <= 0xfffd));
}

static void put_escape(writer *w, uint32_t c) {
    static const struct {
        uint32_t c;
        char name;
    } names[] = {{0, '0'},    {7, 'a'},   {8, 'b'},     {9, 't'},    {10, 'n'},   {11, 'v'},     {12, 'f'},    {13, 'r'},
                 {0x1b, 'e'}, {'"', '"'}, {'\\', '\\'}, {0x85, 'N'}, {0xa0, '_'}, {0x2028, 'L'}, {0x2029, 'P'}};
    char text[16];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].c == c) {
            put_ascii(w, (char[]){'\\', names[i].name, 0});
            return;
        }
    snprintf(text, sizeof text, c <= 0xff ? "\\x%02X" : c <= 0xffff ? "\\u%04X" : "\\U%08X", (unsigned)c);
    put_ascii(w, text);
}

/* Lines are folded by a backslash at their end; a space that begins the next line is kept by one before it. */
static void put_double(writer *w, size_t indent, bool split) {
    put_indicator(w, "\"", true, false);
    size_t start = 0; /* of what has been looked at, but not written */
    for (size_t i = 0; i < w->n; i++) {
        const uint32_t c = w->text[i];
        if (needs_escape(w, c)) {
            put_points(w, start, i);
            put_escape(w, c);
            start = i + 1;
        }
        const size_t column = w->column + (i > start ? i - start : 0) - (start > i);
        if (!split || i == 0 || i + 1 >= w->n || (c != ' ' && start < i) || column <= WIDTH) continue;
        put_points(w, start, i);
        if (start < i) start = i;
        put_ascii(w, "\\");
        put_indent(w, indent);
        w->blank = w->indention = false;
        if (w->text[start] == ' ') put_ascii(w, "\\");
    }
    put_points(w, start, w->n);
    put_indicator(w, "\"", false, false);
}

static void put_text(writer *w, sv s, size_t indent, bool key) {
    load_text(w, s);
    switch (choose_style(w, s, key)) {
    case PLAIN: put_plain(w, indent, !key); return;
    case SINGLE: put_single(w, indent, !key); return;
    case DOUBLE: put_double(w, indent, !key); return;
    }
}

static void put_word(writer *w, sv s) {
    load_text(w, s);
    put_plain(w, 0, false);
}

static void put_number(writer *w, sv text) {
    buf number = {0};
    if (!memchr(text.p, '.', text.n) && !memchr(text.p, 'e', text.n) && !memchr(text.p, 'E', text.n)) {
        buf_add_sv(&number, sv_is(text, "-0") ? SV("0") : text);
    } else {
        buf repr = {0};
        buf_add_sv(&number, text);
        py_put_float(&repr, strtod(number.p, NULL));
        const char *e = strchr(repr.p, 'e'), *inf = strchr(repr.p, 'i');
        buf_clear(&number);
        if (inf) {
            buf_add_str(&number, repr.p[0] == '-' ? "-.inf" : ".inf");
        } else if (e && !strchr(repr.p, '.')) { /* YAML 1.1 has no 1e+16 */
            buf_add(&number, repr.p, (size_t)(e - repr.p));
            buf_add_str(&number, ".0");
            buf_add_str(&number, e);
        } else {
            buf_add_sv(&number, buf_view(&repr));
        }
        buf_fini(&repr);
    }
    put_word(w, buf_view(&number));
    buf_fini(&number);
}

/* ---- collections ---- */

typedef enum place { AT_ROOT, IN_SEQUENCE, IN_MAPPING } place;

static void put_node(writer *w, const json_value *v, size_t indent, place at);

typedef struct pair {
    sv key;
    const json_value *value;
} pair;

static int compare_pairs(const void *a, const void *b) {
    const sv x = ((const pair *)a)->key, y = ((const pair *)b)->key;
    const size_t n = x.n < y.n ? x.n : y.n;
    const int c = n ? memcmp(x.p, y.p, n) : 0; /* the order of UTF-8 is that of code points */
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

static void put_pair(writer *w, const pair *p, size_t indent) {
    bool simple = p->key.n > 0;
    put_indent(w, indent);
    load_text(w, p->key);
    if (w->n > KEY_MAX) simple = false;
    for (size_t i = 0; i < w->n && simple; i++)
        if (is_break(w->text[i])) simple = false;
    if (simple) {
        put_text(w, p->key, indent, true);
        put_indicator(w, ":", false, false);
    } else {
        put_indicator(w, "?", true, true);
        put_text(w, p->key, indent + INDENT, false);
        put_indent(w, indent);
        put_indicator(w, ":", true, true);
    }
    put_node(w, p->value, indent, IN_MAPPING);
}

static void put_mapping(writer *w, const json_value *v, size_t indent) {
    const size_t n = json_size(v);
    pair *pairs = gv_xcalloc(n, sizeof *pairs);
    size_t i = 0;
    for (json_iter it = json_each(v); json_next(&it);) pairs[i++] = (pair){it.key, it.value};
    if (w->o.sort_keys) qsort(pairs, n, sizeof *pairs, compare_pairs);
    for (i = 0; i < n; i++) put_pair(w, &pairs[i], indent);
    free(pairs);
}

/* indent is that of the node around v: the lines of a scalar, and the parts of a collection, go one step in. */
static void put_node(writer *w, const json_value *v, size_t indent, place at) {
    const size_t inner = at == AT_ROOT ? 0 : indent + INDENT;
    switch (json_kind_of(v)) {
    case JSON_NULL: put_word(w, SV("null")); break;
    case JSON_BOOL: put_word(w, json_bool(v) ? SV("true") : SV("false")); break;
    case JSON_NUMBER: put_number(w, json_number_text(v)); break;
    case JSON_STRING: put_text(w, json_string(v), indent + INDENT, false); break;
    case JSON_ARRAY:
        if (!json_size(v)) {
            put_indicator(w, "[]", true, false);
            return;
        }
        {
            const size_t items = at == IN_MAPPING && !w->indention ? indent : inner; /* not indented under its key */
            for (json_iter it = json_each(v); json_next(&it);) {
                put_indent(w, items);
                put_indicator(w, "-", true, true);
                put_node(w, it.value, items, IN_SEQUENCE);
            }
        }
        return;
    case JSON_OBJECT:
        if (!json_size(v))
            put_indicator(w, "{}", true, false);
        else
            put_mapping(w, v, inner);
        return;
    }
}

void yaml_put_json(buf *out, const json_value *v, const yaml_out_options *o) {
    writer w = {.out = out, .blank = true, .indention = true};
    if (o) w.o = *o;
    const json_kind kind = json_kind_of(v);
    put_node(&w, v, 0, AT_ROOT);
    put_indent(&w, 0);
    if (w.plain && kind != JSON_ARRAY && kind != JSON_OBJECT) buf_add_str(out, "...\n");
    free(w.text);
}
