/* Rows from JSON lines and from one JSON document (RFC 8259).
 *
 * A .json file is never held as a tree: a scanner that knows only strings, brackets and depth finds where each element of the top level ends,
 * and json_parse then judges that element alone.  So a broken element is a bad row as long as its brackets and quotes balance; what is
 * broken between elements ends the file.  The scanner has no recursion and keeps at most max_row_bytes. */
#include "data/rows_internal.h"

#include <stdio.h>

enum { KEEP_BYTES = 1 << 20 }; /* a larger row buffer is given back after its row */

static bool is_space(int c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void text_reset(rows_reader *r) {
    if (r->text.cap > KEEP_BYTES) buf_fini(&r->text);
    buf_clear(&r->text);
}

/* Adds n bytes of the current chunk to the row's text; *over is set, and the text dropped, once it passes the cap. */
static bool text_add(rows_reader *r, size_t n, bool *over, gv_err *err) {
    if (*over) return true;
    if (n > r->max_row_bytes - r->text.n) {
        *over = true;
        buf_fini(&r->text);
        return true;
    }
    if (!buf_try_reserve(&r->text, n, "a row", err)) return false;
    buf_add(&r->text, r->src.p + r->src.pos, n);
    return true;
}

static void bad_too_long(rows_reader *r, const char *what) {
    if (r->max_row_bytes >= 1 << 20)
        rows_bad(r, r->row_line, "%s is longer than the cap of %zu MiB", what, r->max_row_bytes >> 20);
    else
        rows_bad(r, r->row_line, "%s is longer than the cap of %zu bytes", what, r->max_row_bytes);
}

/* ---- JSON lines ---- */

/* One line without its newline into row_text: a view of the chunk if it lies in one, else of r->text. */
static bool read_line(rows_reader *r, bool *over, gv_err *err) {
    source *s = &r->src;
    text_reset(r);
    *over = false;
    for (;;) {
        if (!source_fill(s, err)) return false;
        size_t left = s->n - s->pos;
        if (left == 0) break;
        const char *begin = s->p + s->pos, *newline = memchr(begin, '\n', left);
        size_t n = newline ? (size_t)(newline - begin) : left;
        if (newline && r->text.n == 0 && !*over && n <= r->max_row_bytes) {
            r->row_text = (sv){begin, n};
            source_take(s, n + 1);
            return true;
        }
        if (!text_add(r, n, over, err)) return false;
        source_take(s, newline ? n + 1 : n);
        if (newline) break;
    }
    r->row_text = buf_view(&r->text);
    return true;
}

bool rows_next_jsonl(rows_reader *r, bool *end, gv_err *err) {
    for (;;) {
        int c;
        if (!source_peek(&r->src, &c, err)) return false;
        *end = c < 0;
        if (*end) return true;
        bool over;
        r->row_line = r->src.line;
        if (!read_line(r, &over, err)) return false;
        if (over) {
            bad_too_long(r, "the line");
            return true;
        }
        sv *t = &r->row_text;
        while (t->n && is_space(t->p[t->n - 1])) t->n--;
        while (t->n && is_space(t->p[0])) t->p++, t->n--;
        r->blank = t->n == 0 && r->o.blank_lines;
        if (t->n || r->blank) return true;
    }
}

/* ---- one JSON document ---- */

static bool skip_space(rows_reader *r, int *c, gv_err *err) {
    source *s = &r->src;
    for (;;) {
        if (!source_peek(s, c, err)) return false;
        if (!is_space(*c)) return true;
        size_t n = 1;
        while (s->pos + n < s->n && is_space(s->p[s->pos + n])) n++;
        source_take(s, n);
    }
}

/* "'x'", "byte 0x07" or "the end of the file". */
static const char *show_byte(int c, char out[32]) {
    if (c < 0) return "the end of the file";
    if (c > 0x20 && c < 0x7f)
        snprintf(out, 32, "'%c'", c);
    else
        snprintf(out, 32, "byte 0x%02x", (unsigned)c);
    return out;
}

static bool fail_syntax(const rows_reader *r, const char *expected, int c, gv_err *err) {
    char shown[32];
    return gv_fail(err, GV_FORMAT, r->src.line, "%s:%lld: expected %s, found %s", r->name, (long long)r->src.line, expected,
                   show_byte(c, shown));
}

typedef struct scan {
    size_t depth;
    bool in_string, escaped, in_scalar;
} scan;

/* Bytes of p[0, n) that belong to the value; *done when its end is among them. */
static size_t scan_chunk(scan *k, const char *p, size_t n, bool *done) {
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (k->in_string) {
            if (k->escaped) {
                k->escaped = false;
            } else if (c == '\\') {
                k->escaped = true;
            } else if (c == '"') {
                k->in_string = false;
                if (k->depth == 0) return *done = true, i + 1;
            }
            continue;
        }
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (k->depth == 0 && (closes || c == ',' || is_space(c) || (k->in_scalar && (opens || c == '"')))) return *done = true, i;
        if (c == '"') {
            k->in_string = true;
        } else if (opens) {
            k->depth++;
        } else if (closes) {
            if (--k->depth == 0) return *done = true, i + 1;
        } else if (k->depth == 0) {
            k->in_scalar = true;
        }
    }
    return n;
}

/* The value that begins at the source's position, into r->text; row_line is set. */
static bool read_value(rows_reader *r, bool *over, gv_err *err) {
    source *s = &r->src;
    scan k = {0};
    text_reset(r);
    *over = false;
    r->row_line = s->line;
    for (bool done = false; !done;) {
        if (!source_fill(s, err)) return false;
        if (s->pos == s->n)
            return gv_fail(err, GV_FORMAT, s->line, "%s:%lld: the file ends inside a value that begins at line %lld", r->name,
                           (long long)s->line, (long long)r->row_line);
        size_t n = scan_chunk(&k, s->p + s->pos, s->n - s->pos, &done);
        if (!text_add(r, n, over, err)) return false;
        source_take(s, n);
    }
    r->row_text = buf_view(&r->text);
    return true;
}

static bool read_row(rows_reader *r, gv_err *err) {
    bool over;
    if (!read_value(r, &over, err)) return false;
    if (over) bad_too_long(r, "the row");
    return true;
}

/* Parses the value read last, for errors and for *doc (NULL: only errors). */
static bool check_value(rows_reader *r, bool over, json_doc **doc, gv_err *err) {
    if (over)
        return gv_fail(err, GV_LIMIT, r->row_line, "%s:%lld: a name or value is longer than the cap on a row", r->name,
                       (long long)r->row_line);
    json_doc *d = json_parse(r->row_text, err);
    if (!d) return gv_context(err, "%s:%lld", r->name, (long long)r->row_line);
    if (doc)
        *doc = d;
    else
        json_free(d);
    return true;
}

static bool is_value_start(int c) {
    return c > 0 && strchr("\"{[-0123456789tfn", c);
}

/* In front of an element of an array or object whose closing byte is `close`: *c is the element's first byte, or `close`, taken. */
static bool next_element(rows_reader *r, int close, int *c, gv_err *err) {
    if (!skip_space(r, c, err)) return false;
    if (*c == close) {
        source_take(&r->src, 1);
        return true;
    }
    if (r->json_first) {
        r->json_first = false;
        return true;
    }
    if (*c != ',') return fail_syntax(r, close == ']' ? "',' or ']' after a row" : "',' or '}' after a member", *c, err);
    source_take(&r->src, 1);
    if (!skip_space(r, c, err)) return false;
    return *c != close || fail_syntax(r, "another element after ','", *c, err);
}

/* A member's name into r->key, and the first byte of its value into *c. */
static bool read_key(rows_reader *r, int *c, gv_err *err) {
    bool over;
    json_doc *d;
    if (*c != '"') return fail_syntax(r, "a member's name", *c, err);
    if (!read_value(r, &over, err) || !check_value(r, over, &d, err)) return false;
    buf_clear(&r->key);
    buf_add_sv(&r->key, json_string(json_root(d)));
    json_free(d);
    if (!skip_space(r, c, err)) return false;
    if (*c != ':') return fail_syntax(r, "':' after a member's name", *c, err);
    source_take(&r->src, 1);
    if (!skip_space(r, c, err)) return false;
    return is_value_start(*c) || fail_syntax(r, "a value", *c, err);
}

/* A member of the top-level object that begins with *c; *is_row if it is one. */
static bool read_member(rows_reader *r, int c, bool *is_row, gv_err *err) {
    if (!read_key(r, &c, err)) return false;
    bool data_list = c == '[' && sv_is(buf_view(&r->key), "data");
    long long line = (long long)r->src.line;
    if (data_list && r->json_wrapped) return gv_fail(err, GV_FORMAT, line, "%s:%lld: member \"data\" stands twice", r->name, line);
    if (data_list && r->json_rows)
        return gv_fail(err, GV_FORMAT, line,
                       "%s:%lld: member \"data\" is an array, but the members before it were taken as rows; put \"data\" first", r->name,
                       line);
    if (data_list) {
        source_take(&r->src, 1);
        r->json = JS_ARRAY;
        r->json_wrapped = r->json_first = true;
        buf_clear(&r->key);
        return true;
    }
    *is_row = !r->json_wrapped && (r->json_rows || c == '{');
    if (*is_row && r->json_skipped.p)
        return gv_fail(err, GV_FORMAT, line,
                       "%s:%lld: member \"" SV_FMT "\" is an object, but \"%s\" before it is none; rows are the members of an object "
                       "of objects, or the elements of \"data\"",
                       r->name, line, SV_ARG(sv_sub(buf_view(&r->key), 0, 100)), r->json_skipped.p);
    if (*is_row) {
        r->json_rows = true;
        return read_row(r, err);
    }
    bool over;
    if (!r->json_wrapped && !r->json_skipped.p) buf_add_sv(&r->json_skipped, sv_sub(buf_view(&r->key), 0, 100));
    return read_value(r, &over, err) && check_value(r, over, NULL, err);
}

#define SHAPES "an array of objects, an object of objects or {\"data\": [...]}"

static bool json_start(rows_reader *r, gv_err *err) {
    int c;
    if (!skip_space(r, &c, err)) return false;
    r->json_first = true;
    r->json = c == '[' ? JS_ARRAY : c == '{' ? JS_OBJECT : JS_TAIL;
    if (c >= 0 && r->json == JS_TAIL) return fail_syntax(r, SHAPES, c, err);
    if (c >= 0) source_take(&r->src, 1);
    return true;
}

static bool json_tail(rows_reader *r, gv_err *err) {
    int c;
    long long line = (long long)r->src.line;
    if (!skip_space(r, &c, err)) return false;
    if (r->json_skipped.p && !r->json_wrapped && !r->json_rows) {
        if (c == '{')
            return gv_fail(err, GV_FORMAT, line, "%s:%lld: this looks like JSON lines, one object a line; name the file .jsonl", r->name,
                           line);
        return gv_fail(err, GV_FORMAT, line, "%s: the object holds no rows; expected " SHAPES " (a single row goes into a .jsonl file)",
                       r->name);
    }
    if (c >= 0) return fail_syntax(r, "nothing after the end of the JSON document", c, err);
    r->json = JS_DONE;
    return true;
}

bool rows_next_json(rows_reader *r, bool *end, gv_err *err) {
    *end = false;
    for (int c;;) {
        bool is_row = false;
        switch (r->json) {
        case JS_START:
            if (!json_start(r, err)) return false;
            break;
        case JS_ARRAY:
            if (!next_element(r, ']', &c, err)) return false;
            if (c == ']') {
                r->json_first = false;
                r->json = r->json_wrapped ? JS_OBJECT : JS_TAIL;
                break;
            }
            if (!is_value_start(c)) return fail_syntax(r, "a row", c, err);
            return read_row(r, err);
        case JS_OBJECT:
            if (!next_element(r, '}', &c, err)) return false;
            if (c == '}') {
                r->json = JS_TAIL;
                break;
            }
            if (!read_member(r, c, &is_row, err)) return false;
            if (is_row) return true;
            break;
        case JS_TAIL:
            if (!json_tail(r, err)) return false;
            break;
        case JS_DONE: *end = true; return true;
        }
    }
}

/* ---- cutting an object into its members ---- */

static size_t after_space(sv t, size_t i) {
    while (i < t.n && is_space(t.p[i])) i++;
    return i;
}

/* End of the value that begins at i, in valid JSON. */
static size_t after_value(sv t, size_t i) {
    scan k = {0};
    bool done = false;
    return i + scan_chunk(&k, t.p + i, t.n - i, &done);
}

bool rows_cut_object(sv text, const json_value *root, buf *out) {
    size_t i = after_space(text, 0) + 1;
    buf_clear(out);
    for (json_iter it = json_each(root); json_next(&it);) {
        row_column c = {.name = it.key, .value = it.value};
        i = after_space(text, i);
        size_t key_end = after_value(text, i);
        c.raw_name = sv_sub(text, i, key_end - i);
        i = after_space(text, after_space(text, key_end) + 1); /* over the colon */
        size_t end = after_value(text, i);
        c.raw = sv_sub(text, i, end - i);
        i = after_space(text, end) + 1; /* over the comma or brace */
        if (i > text.n || c.raw_name.n < 2 || c.raw.n == 0) return false;
        buf_add(out, &c, sizeof c);
    }
    return true;
}
