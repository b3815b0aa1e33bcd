/* The first record of a config, as distilabel's card shows it: Jinja's tojson(indent=4) over the row as `datasets` returns it.
 *
 * So the column's type decides: an integer in a float column is 1.0, a member that the row lacks is null, members are sorted by name.  Lists of
 * 10 elements or more at the top level are cut as distilabel cuts them.  Two cuts are ours: text over 10,000 characters, and what is still
 * over 64 KiB of JSON.  Nothing can end the fenced block around the record: every line begins with spaces, a bracket or a quote, and line
 * breaks inside of text are escaped. */
#include "pipe/card_internal.h"

#include "base/pyfloat.h"

#include <stdlib.h>

enum { STEP = 4, LIST_CUT = 10, TEXT_CUT = 10000, VALUE_CUT = 64 << 10 };

static void put_unit(buf *out, uint32_t unit) {
    buf_printf(out, "\\u%04x", (unsigned)unit);
}

/* Python's ensure_ascii, and the four characters that Jinja escapes for HTML. */
static void put_char(buf *out, uint32_t c) {
    switch (c) {
    case '"': buf_add_str(out, "\\\""); return;
    case '\\': buf_add_str(out, "\\\\"); return;
    case '\n': buf_add_str(out, "\\n"); return;
    case '\r': buf_add_str(out, "\\r"); return;
    case '\t': buf_add_str(out, "\\t"); return;
    case '\f': buf_add_str(out, "\\f"); return;
    case '\b': buf_add_str(out, "\\b"); return;
    case '<':
    case '>':
    case '&':
    case '\'': put_unit(out, c); return;
    default: break;
    }
    if (c >= 0x10000) {
        put_unit(out, 0xd800 + ((c - 0x10000) >> 10));
        put_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else if (c < 0x20 || c > 0x7e) {
        put_unit(out, c);
    } else {
        buf_add_char(out, (char)c);
    }
}

static void put_text(buf *out, sv s) {
    size_t n = 0, pos = 0;
    buf_add_char(out, '"');
    for (; pos < s.n && n < TEXT_CUT; n++) {
        const int32_t c = utf8_next(s, &pos);
        put_char(out, c < 0 ? 0xfffd : (uint32_t)c);
    }
    if (pos < s.n) {
        size_t all = n;
        for (; pos < s.n; all++) (void)utf8_next(s, &pos);
        buf_printf(out, "... (truncated - showing %zu of %zu characters)", n, all);
    }
    buf_add_char(out, '"');
}

static void put_line(buf *out, size_t indent) {
    buf_add_char(out, '\n');
    for (size_t i = 0; i < indent; i++) buf_add_char(out, ' ');
}

static void put_value(buf *out, const schema_type *t, const json_value *v, size_t indent, size_t list_cut);

static int compare_fields(const void *a, const void *b) {
    const sv x = (*(const schema_field *const *)a)->name, y = (*(const schema_field *const *)b)->name;
    const size_t n = x.n < y.n ? x.n : y.n;
    const int d = n ? memcmp(x.p, y.p, n) : 0;
    return d ? d : (x.n > y.n) - (x.n < y.n);
}

static void put_struct(buf *out, const schema_type *t, const json_value *v, size_t indent, size_t list_cut) {
    if (!t->n_fields) {
        buf_add_str(out, "{}");
        return;
    }
    const schema_field **sorted = gv_xmalloc(t->n_fields * sizeof *sorted);
    buf value = {0};
    for (size_t i = 0; i < t->n_fields; i++) sorted[i] = &t->fields[i];
    qsort(sorted, t->n_fields, sizeof *sorted, compare_fields);
    buf_add_char(out, '{');
    for (size_t i = 0; i < t->n_fields; i++) {
        if (i) buf_add_char(out, ',');
        put_line(out, indent + STEP);
        put_text(out, sorted[i]->name);
        buf_add_str(out, ": ");
        buf_clear(&value);
        put_value(&value, &sorted[i]->type, json_get_sv(v, sorted[i]->name), indent + STEP, list_cut);
        if (list_cut && value.n > VALUE_CUT)
            buf_printf(out, "\"... (not shown: %zu bytes of JSON)\"", value.n);
        else
            buf_add_sv(out, buf_view(&value));
    }
    put_line(out, indent);
    buf_add_char(out, '}');
    buf_fini(&value);
    free(sorted);
}

static void put_list(buf *out, const schema_type *t, const json_value *v, size_t indent, size_t list_cut) {
    const size_t n = json_size(v);
    size_t i = 0;
    if (!n) {
        buf_add_str(out, "[]");
        return;
    }
    buf_add_char(out, '[');
    for (json_iter it = json_each(v); json_next(&it) && !(list_cut && i == list_cut); i++) {
        if (i) buf_add_char(out, ',');
        put_line(out, indent + STEP);
        put_value(out, &t->fields[0].type, it.value, indent + STEP, 0);
    }
    if (list_cut && n >= list_cut) {
        buf_add_char(out, ',');
        put_line(out, indent + STEP);
        buf_printf(out, "\"... (truncated - showing %zu of %zu elements)\"", list_cut, n);
    }
    put_line(out, indent);
    buf_add_char(out, ']');
}

/* list_cut: lists of this many elements are cut; 0: never, which is so below the top level. */
static void put_value(buf *out, const schema_type *t, const json_value *v, size_t indent, size_t list_cut) {
    double d = 0;
    switch (v ? json_kind_of(v) : JSON_NULL) {
    case JSON_NULL: buf_add_str(out, "null"); return;
    case JSON_BOOL: buf_add_str(out, json_bool(v) ? "true" : "false"); return;
    case JSON_STRING: put_text(out, json_string(v)); return;
    case JSON_NUMBER:
        if ((t->kind == TYPE_FLOAT64 || t->kind == TYPE_FLOAT32 || t->kind == TYPE_FLOAT16) && json_double(v, &d))
            py_put_float(out, d);
        else
            buf_add_sv(out, json_number_text(v));
        return;
    case JSON_ARRAY: put_list(out, t, v, indent, list_cut); return;
    case JSON_OBJECT: put_struct(out, t, v, indent, 0); return;
    }
}

bool card_put_record(buf *out, const card_config *config, gv_err *err) {
    json_doc *d = json_parse(config->first_row, err);
    if (!d) return gv_context(err, "first row of config " SV_FMT, SV_ARG(config->name));
    put_struct(out, &config->columns->root, json_root(d), 0, LIST_CUT);
    json_free(d);
    return true;
}
