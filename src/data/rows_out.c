/* Row writers: JSON lines, a JSON array, CSV, TSV, these also compressed (pack.c), and Parquet (rows_parquet.c), into a file that appears whole
 * or not at all.
 *
 * JSON lines and arrays get each value's bytes as they are; only a value that spans lines (from a pretty-printed .json) loses the white space between
 * its tokens.  CSV and TSV are RFC 4180 with LF line ends: text as it is, other values as their JSON text, null as an empty field.  A field that a
 * spreadsheet would take as a formula (=, +, -, @) is not altered: the file holds the data, not a view of it. */
#include "data/rows_internal.h"

#include "base/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct rows_writer {
    file_writer f;
    packer *pack;       /* NULL: not compressed */
    char delimiter;     /* CSV and TSV; else 0 */
    bool array;         /* JSON */
    bool begun;         /* array: a row is there */
    pq_writer *parquet; /* then f is not open */
    sv *columns;        /* CSV, TSV and Parquet */
    size_t n_columns;
    arena a;
    size_t *cell_of; /* of each column: cell + 1, or 0 */
    buf line, scratch;
    const json_value **values; /* Parquet: scratch of a row */
    json_doc **docs;
};

#define FORMATS "write .jsonl, .json, .csv or .tsv, also with .gz or .zst behind it, or .parquet"

bool rows_is_file_name(const char *path) {
    pack_kind packing;
    const rows_format format = rows_suffix(path, &packing);
    return format != ROWS_AUTO && (format != ROWS_PARQUET || packing == PACK_NONE);
}

bool rows_writer_check(const char *path, gv_err *err) {
    struct stat st;
    size_t n = strlen(path);
    if (!strcmp(path, "-")) return gv_fail(err, GV_USAGE, -1, "rows are not written to standard output; " FORMATS);
    if ((n && path[n - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s is a folder, and rows go to a file; " FORMATS, path);
    if (!rows_is_file_name(path)) return gv_fail(err, GV_USAGE, -1, "%s: unknown suffix; " FORMATS, path);
    char *folder = gv_xstrdup(path), *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    bool ok = stat(slash ? folder : ".", &st) == 0;
    if (!ok)
        gv_fail_errno(err, "cannot write %s: folder %s", path, slash ? folder : ".");
    else if (!S_ISDIR(st.st_mode))
        ok = gv_fail(err, GV_IO, -1, "cannot write %s: %s is not a folder", path, folder);
    else if (access(slash ? folder : ".", W_OK | X_OK) != 0) /* the real check is the first write; this one comes before hours of work */
        ok = gv_fail_errno(err, "cannot write %s: folder %s", path, slash ? folder : ".");
    free(folder);
    return ok;
}

/* raw without the white space between its tokens; strings in valid JSON hold no raw line breaks. */
static void add_compact(buf *out, sv raw) {
    if (!raw.n || (!memchr(raw.p, '\n', raw.n) && !memchr(raw.p, '\r', raw.n))) {
        buf_add_sv(out, raw);
        return;
    }
    bool in_string = false;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) continue;
        buf_add_char(out, c);
        if (c == '"') in_string = !in_string;
        if (in_string && c == '\\' && i + 1 < raw.n) buf_add_char(out, raw.p[++i]);
    }
}

void rows_put_line(buf *out, const rows_cell *cells, size_t n) {
    buf_add_char(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add(out, ", ", 2);
        if (cells[i].raw_name.n)
            buf_add_sv(out, cells[i].raw_name);
        else
            json_put_string(out, cells[i].name);
        buf_add(out, ": ", 2);
        add_compact(out, cells[i].raw);
    }
    buf_add(out, "}\n", 2);
}

/* A field: quoted if it holds a delimiter, quote or line break.  A lone empty field would be an empty line, so it is quoted. */
static void add_field(buf *out, sv text, char delimiter, bool lone) {
    bool quote = lone && text.n == 0;
    for (size_t i = 0; i < text.n && !quote; i++)
        quote = text.p[i] == delimiter || text.p[i] == '"' || text.p[i] == '\n' || text.p[i] == '\r';
    if (!quote) {
        buf_add_sv(out, text);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n;) {
        const char *q = memchr(text.p + i, '"', text.n - i);
        size_t n = q ? (size_t)(q - (text.p + i)) + 1 : text.n - i;
        buf_add(out, text.p + i, n);
        if (q) buf_add_char(out, '"');
        i += n;
    }
    buf_add_char(out, '"');
}

static bool add_value(rows_writer *w, sv name, sv raw, gv_err *err) {
    bool lone = w->n_columns == 1;
    if (raw.n && raw.p[0] == '"') {
        json_doc *d = json_parse(raw, err);
        if (!d) return gv_context(err, "column \"" SV_FMT "\"", SV_ARG(sv_sub(name, 0, 100)));
        add_field(&w->line, json_string(json_root(d)), w->delimiter, lone);
        json_free(d);
    } else if (sv_is(raw, "null")) {
        add_field(&w->line, (sv){0}, w->delimiter, lone);
    } else {
        buf_clear(&w->scratch);
        add_compact(&w->scratch, raw);
        add_field(&w->line, buf_view(&w->scratch), w->delimiter, lone);
    }
    return true;
}

bool rows_writer_is_typed(const char *path) {
    pack_kind packing;
    return rows_suffix(path, &packing) == ROWS_PARQUET;
}

bool rows_writer_check_types(const char *path, const schema *columns, gv_err *err) {
    return !rows_writer_is_typed(path) || pq_writer_check(columns, err) || gv_context(err, "%s", path);
}

static void set_columns(rows_writer *w, const sv *columns, size_t n) {
    w->n_columns = n;
    w->columns = arena_alloc(&w->a, n * sizeof *w->columns);
    w->cell_of = arena_alloc(&w->a, n * sizeof *w->cell_of);
    for (size_t i = 0; i < n; i++) w->columns[i] = (sv){arena_dup(&w->a, columns[i].p, columns[i].n), columns[i].n};
}

/* w->line into the file. */
static bool put_line(rows_writer *w, gv_err *err) {
    return w->pack ? pack_put(w->pack, w->line.p, w->line.n, err) : file_writer_put(&w->f, w->line.p, w->line.n, err);
}

rows_writer *rows_writer_open(const char *path, const sv *columns, size_t n_columns, gv_err *err) {
    if (!rows_writer_check(path, err)) return NULL;
    if (rows_writer_is_typed(path)) {
        gv_fail(err, GV_STATE, -1, "%s: Parquet needs the columns' types", path);
        return NULL;
    }
    rows_writer *w = gv_xcalloc(1, sizeof *w);
    arena_init(&w->a);
    pack_kind packing;
    const rows_format format = rows_suffix(path, &packing);
    if (!file_writer_open(&w->f, path, err)) goto fail;
    if (packing != PACK_NONE && !(w->pack = pack_open(packing, &w->f, err))) goto fail;
    w->delimiter = format == ROWS_CSV ? ',' : format == ROWS_TSV ? '\t' : 0;
    w->array = format == ROWS_JSON;
    if (!w->delimiter) return w;
    set_columns(w, columns, n_columns);
    for (size_t i = 0; i < n_columns; i++) {
        if (i) buf_add_char(&w->line, w->delimiter);
        add_field(&w->line, w->columns[i], w->delimiter, n_columns == 1);
    }
    buf_add_char(&w->line, '\n');
    if (put_line(w, err)) return w;
fail:
    rows_writer_abandon(w);
    return NULL;
}

rows_writer *rows_writer_open_typed(const char *path, const schema *columns, gv_err *err) {
    const size_t n = columns->root.n_fields;
    sv *names = gv_xcalloc(n + 1, sizeof *names);
    rows_writer *w = NULL;
    for (size_t i = 0; i < n; i++) names[i] = columns->root.fields[i].name;
    if (!rows_writer_is_typed(path)) {
        w = rows_writer_open(path, names, n, err);
    } else if (rows_writer_check(path, err)) {
        w = gv_xcalloc(1, sizeof *w);
        arena_init(&w->a);
        set_columns(w, names, n);
        w->values = arena_alloc(&w->a, n * sizeof *w->values);
        w->docs = arena_alloc(&w->a, n * sizeof *w->docs);
        w->parquet = pq_writer_open(path, columns, NULL, err);
    }
    free(names);
    if (!w || w->parquet || !rows_writer_is_typed(path)) return w;
    rows_writer_abandon(w);
    return NULL;
}

/* Pairs cells with columns by name; cells mostly come in column order, so the search begins behind the last hit. */
static bool match_cells(rows_writer *w, const rows_cell *cells, size_t n, gv_err *err) {
    size_t at = 0;
    memset(w->cell_of, 0, w->n_columns * sizeof *w->cell_of);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < w->n_columns && !sv_eq(w->columns[at], cells[i].name)) {
            k++;
            at = at + 1 < w->n_columns ? at + 1 : 0;
        }
        if (k == w->n_columns)
            return gv_fail(err, GV_STATE, -1, "%s: column \"" SV_FMT "\" is not in the header", w->f.path ? w->f.path : "the Parquet file",
                           SV_ARG(sv_sub(cells[i].name, 0, 100)));
        w->cell_of[at] = i + 1;
        at = at + 1 < w->n_columns ? at + 1 : 0;
    }
    return true;
}

bool rows_writer_put(rows_writer *w, const rows_cell *cells, size_t n, gv_err *err) {
    buf_clear(&w->line);
    if (!w->delimiter && !w->parquet) {
        if (w->array) buf_add_str(&w->line, w->begun ? ",\n" : "[\n");
        w->begun = true;
        rows_put_line(&w->line, cells, n);
        if (w->array) w->line.n--; /* its line end stands behind the comma */
        return put_line(w, err);
    }
    if (!match_cells(w, cells, n, err)) return false;
    if (w->parquet) return rows_parquet_put(w->parquet, w->values, w->docs, cells, w->cell_of, w->n_columns, err);
    for (size_t i = 0; i < w->n_columns; i++) {
        if (i) buf_add_char(&w->line, w->delimiter);
        const rows_cell *c = w->cell_of[i] ? &cells[w->cell_of[i] - 1] : NULL;
        if (!add_value(w, w->columns[i], c ? c->raw : SV("null"), err)) return false;
    }
    buf_add_char(&w->line, '\n');
    return put_line(w, err);
}

/* What stands behind the last row. */
static bool finish(rows_writer *w, gv_err *err) {
    buf_clear(&w->line);
    if (w->array) buf_add_str(&w->line, w->begun ? "\n]\n" : "[]\n");
    return put_line(w, err) && (!w->pack || pack_finish(w->pack, err));
}

bool rows_writer_commit(rows_writer *w, gv_err *err) {
    bool ok;
    if (w->parquet) {
        ok = pq_writer_commit(w->parquet, err);
        w->parquet = NULL;
    } else {
        ok = finish(w, err) && file_writer_commit(&w->f, err);
    }
    rows_writer_abandon(w);
    return ok;
}

void rows_writer_abandon(rows_writer *w) {
    if (!w) return;
    pq_writer_abandon(w->parquet);
    pack_close(w->pack);
    file_writer_abandon(&w->f);
    arena_fini(&w->a);
    buf_fini(&w->line);
    buf_fini(&w->scratch);
    free(w);
}
