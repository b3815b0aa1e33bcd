/* Rows from CSV and TSV (RFC 4180, with the delimiter as the only difference).
 *
 * The first record is the header.  Records end with CRLF, LF or a lone CR; empty lines between records are skipped; a field in double quotes
 * may hold all of these, and "" for a quote.  A quote inside an unquoted field is an ordinary byte, as in Python's csv module; text after
 * a closing quote makes the record a bad row.  Nothing is trimmed.  A record becomes a JSON object whose values are all strings. */
#include "data/rows_internal.h"

#include <stdlib.h>

enum { KEEP_BYTES = 1 << 20, SCAN_BYTES = 1 << 18, NAME_SHOWN = 100 };

typedef enum csv_state { CSV_START, CSV_PLAIN, CSV_QUOTED, CSV_QUOTE } csv_state; /* CSV_QUOTE: behind a quote within quotes */

typedef struct record {
    csv_state state;
    size_t bytes;
    bool over, junk, ended;
    const char *quote;  /* the last opening quote, while its chunk is there */
    int64_t quote_line; /* its line */
} record;

static void put_bytes(rows_reader *r, const record *k, const char *p, size_t n) {
    if (!k->over) buf_add(&r->fields, p, n); /* reserved by read_record for the whole chunk */
}

static void end_field(rows_reader *r, record *k) {
    if (r->n_fields <= ROWS_MAX_COLUMNS) r->field_ends[r->n_fields] = r->fields.n;
    r->n_fields++;
    k->state = CSV_START;
}

/* Takes bytes up to the record's end or the chunk's; returns how many.  A CR ends the record; the LF behind it is the caller's. */
static size_t scan_record(rows_reader *r, record *k, const char *p, size_t n) {
    size_t i = 0;
    while (i < n) {
        char c = p[i];
        if (k->state == CSV_QUOTED) {
            const char *quote = memchr(p + i, '"', n - i);
            size_t len = quote ? (size_t)(quote - (p + i)) : n - i;
            put_bytes(r, k, p + i, len);
            i += len + (quote != NULL);
            if (quote) k->state = CSV_QUOTE;
            continue;
        }
        if (c == r->delimiter) {
            end_field(r, k);
        } else if (c == '\n' || c == '\r') {
            end_field(r, k);
            k->ended = true;
            return i + 1;
        } else if (c == '"' && k->state == CSV_START) {
            k->state = CSV_QUOTED;
            k->quote = p + i;
        } else if (c == '"' && k->state == CSV_QUOTE) {
            put_bytes(r, k, "\"", 1);
            k->state = CSV_QUOTED;
        } else {
            size_t len = 1;
            if (k->state == CSV_QUOTE) k->junk = true;
            k->state = CSV_PLAIN;
            while (i + len < n && p[i + len] != r->delimiter && p[i + len] != '\n' && p[i + len] != '\r') len++;
            put_bytes(r, k, p + i, len);
            i += len;
            continue;
        }
        i++;
    }
    return n;
}

/* Takes the LF of a CRLF, or counts the line that a lone CR ends. */
static bool end_line(rows_reader *r, char last, gv_err *err) {
    int c;
    if (last != '\r') return true;
    if (!source_peek(&r->src, &c, err)) return false;
    if (c == '\n')
        source_take(&r->src, 1);
    else
        r->src.line++;
    return true;
}

static bool skip_empty_lines(rows_reader *r, bool *end, gv_err *err) {
    for (int c;;) {
        if (!source_peek(&r->src, &c, err)) return false;
        *end = c < 0;
        if (c != '\n' && c != '\r') return true;
        source_take(&r->src, 1);
        if (!end_line(r, (char)c, err)) return false;
    }
}

static int64_t count_lines(const char *p, const char *end) {
    int64_t n = 0;
    for (; (p = memchr(p, '\n', (size_t)(end - p))); p++) n++;
    return n;
}

static bool read_record(rows_reader *r, record *k, bool *end, gv_err *err) {
    source *s = &r->src;
    *k = (record){0};
    if (r->fields.cap > KEEP_BYTES) buf_fini(&r->fields);
    buf_clear(&r->fields);
    r->n_fields = 0;
    if (!skip_empty_lines(r, end, err)) return false;
    if (*end) return true;
    r->row_line = s->line;
    while (!k->ended) {
        if (!source_fill(s, err)) return false;
        if (s->pos == s->n) {
            if (k->state == CSV_QUOTED)
                return gv_fail(err, GV_FORMAT, k->quote_line, "%s:%lld: the file ends inside a quoted field that begins here", r->name,
                               (long long)k->quote_line);
            end_field(r, k);
            return true;
        }
        const char *p = s->p + s->pos;
        size_t left = s->n - s->pos < SCAN_BYTES ? s->n - s->pos : SCAN_BYTES;
        if (!k->over && !buf_try_reserve(&r->fields, left, "a row", err)) return false;
        k->quote = NULL;
        size_t n = scan_record(r, k, p, left);
        char last = p[n - 1];
        k->bytes += n;
        if (!k->over && k->bytes > r->max_row_bytes) {
            k->over = true;
            buf_fini(&r->fields);
        }
        if (k->quote) k->quote_line = s->line + count_lines(p, k->quote);
        source_take(s, n);
        if (k->ended && !end_line(r, last, err)) return false;
    }
    return true;
}

static sv field_at(const rows_reader *r, size_t i) {
    size_t begin = i ? r->field_ends[i - 1] : 0;
    return (sv){r->fields.p + begin, r->field_ends[i] - begin};
}

/* By bytes, then place. */
static int compare_names(const void *pa, const void *pb) {
    const sv *a = *(const sv *const *)pa, *b = *(const sv *const *)pb;
    int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    if (c) return c;
    return a->n != b->n ? (a->n > b->n) - (a->n < b->n) : (a > b) - (a < b);
}

static bool check_duplicates(rows_reader *r, gv_err *err) {
    const sv **sorted = gv_xcalloc(r->n_header, sizeof *sorted);
    bool ok = true;
    for (size_t i = 0; i < r->n_header; i++) sorted[i] = &r->header[i];
    qsort(sorted, r->n_header, sizeof *sorted, compare_names);
    for (size_t i = 1; ok && i < r->n_header; i++)
        if (sv_eq(*sorted[i - 1], *sorted[i]))
            ok = gv_fail(err, GV_FORMAT, r->row_line, "%s:%lld: column \"" SV_FMT "\" stands twice in the header (columns %zu and %zu)",
                         r->name, (long long)r->row_line, SV_ARG(sv_sub(*sorted[i], 0, NAME_SHOWN)),
                         (size_t)(sorted[i - 1] - r->header) + 1, (size_t)(sorted[i] - r->header) + 1);
    free(sorted);
    return ok;
}

bool rows_read_header(rows_reader *r, gv_err *err) {
    record k;
    bool end;
    arena_init(&r->header_arena);
    r->field_ends = gv_xcalloc(ROWS_MAX_COLUMNS + 1, sizeof *r->field_ends);
    if (!read_record(r, &k, &end, err)) return false;
    long long line = (long long)r->row_line;
    if (end) return gv_fail(err, GV_FORMAT, -1, "%s: no header and no rows, only empty lines", r->name);
    if (k.over) return gv_fail(err, GV_LIMIT, line, "%s:%lld: the header is longer than the cap on a row", r->name, line);
    if (k.junk) return gv_fail(err, GV_FORMAT, line, "%s:%lld: header: text after a closing quote", r->name, line);
    if (r->n_fields > ROWS_MAX_COLUMNS)
        return gv_fail(err, GV_LIMIT, line, "%s:%lld: %zu columns, more than %u", r->name, line, r->n_fields, ROWS_MAX_COLUMNS);
    r->n_header = r->n_fields;
    r->header = arena_alloc(&r->header_arena, r->n_header * sizeof *r->header);
    r->header_ends = arena_alloc(&r->header_arena, r->n_header * sizeof *r->header_ends);
    for (size_t i = 0; i < r->n_header; i++) {
        sv f = field_at(r, i);
        if (utf8_invalid_at(f) != SIZE_MAX || (f.n && memchr(f.p, 0, f.n)))
            return gv_fail(err, GV_FORMAT, line, "%s:%lld: header: column %zu: %s", r->name, line, i + 1,
                           utf8_invalid_at(f) != SIZE_MAX ? "invalid UTF-8" : "a NUL byte");
        r->header[i] = (sv){arena_dup(&r->header_arena, f.p, f.n), f.n};
        json_put_string(&r->header_json, f);
        buf_add_char(&r->header_json, ':');
        r->header_ends[i] = r->header_json.n;
    }
    return check_duplicates(r, err);
}

void rows_fini_csv(rows_reader *r) {
    free(r->field_ends);
    buf_fini(&r->fields);
    buf_fini(&r->header_json);
    arena_fini(&r->header_arena);
}

/* The record as a JSON object in r->text; false and the row bad if a field is no text. */
static bool make_object(rows_reader *r) {
    if (r->text.cap > KEEP_BYTES) buf_fini(&r->text);
    buf_clear(&r->text);
    for (size_t i = 0; i < r->n_header; i++) {
        sv f = field_at(r, i), name = sv_sub(r->header[i], 0, NAME_SHOWN);
        size_t bad = utf8_invalid_at(f), begin = i ? r->header_ends[i - 1] : 0;
        if (bad != SIZE_MAX) {
            rows_bad(r, r->row_line, "column \"" SV_FMT "\": invalid UTF-8 at byte %zu of the field", SV_ARG(name), bad);
            return false;
        }
        if (f.n && memchr(f.p, 0, f.n)) {
            rows_bad(r, r->row_line, "column \"" SV_FMT "\": a NUL byte", SV_ARG(name));
            return false;
        }
        buf_add_char(&r->text, i ? ',' : '{');
        buf_add(&r->text, r->header_json.p + begin, r->header_ends[i] - begin);
        json_put_string(&r->text, f);
    }
    buf_add_char(&r->text, '}');
    return true;
}

bool rows_next_csv(rows_reader *r, bool want, bool *end, gv_err *err) {
    record k;
    if (!read_record(r, &k, end, err)) return false;
    if (*end || !want) return true;
    while (r->o.short_rows && r->n_fields < r->n_header) r->field_ends[r->n_fields++] = r->fields.n;
    if (k.over) {
        bool mib = r->max_row_bytes >= 1 << 20;
        rows_bad(r, r->row_line, "the record is longer than the cap of %zu %s", mib ? r->max_row_bytes >> 20 : r->max_row_bytes,
                 mib ? "MiB" : "bytes");
    } else if (k.junk) {
        rows_bad(r, r->row_line, "text after a closing quote");
    } else if (r->n_fields != r->n_header) {
        rows_bad(r, r->row_line, "%zu field%s, the header has %zu", r->n_fields, r->n_fields == 1 ? "" : "s", r->n_header);
    } else if (make_object(r)) {
        r->row_text = buf_view(&r->text);
    }
    return true;
}
