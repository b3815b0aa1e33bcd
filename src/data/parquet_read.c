/* Rows out of a Parquet file.
 *
 * Life of a row: each wanted Parquet column has a cursor, a window of some hundred values with their levels; put_node walks the tree of types
 * once a row and takes from each cursor just the entries that belong to it.  That the columns agree on where a list ends or a struct is null
 * is checked at every entry: a file whose columns disagree ends in an error, as does one with fewer values than its footer says.
 *
 * carquet is used as facts about it demand: one thread, no mmap, column readers only, return value and error both looked at, byte arrays used
 * before the next read of their column. */
#include "data/parquet_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { WINDOW_VALUES = 256, MAX_ROW_GROUPS = 100000, MAX_GROUP_ROWS = 1 << 27, MIN_FILE = 12, FOOTER_TAIL = 8 };
#define MAX_FILE_BYTES ((int64_t)1 << 42)

typedef struct cursor {
    bool wanted;
    carquet_column_reader_t *column;
    void *values; /* the non-null ones of the window, densely */
    int16_t def[WINDOW_VALUES], rep[WINDOW_VALUES];
    int n, at, at_value; /* entries of the window, of these taken; values taken */
} cursor;

struct pq_reader {
    char *name;
    FILE *file; /* NULL: memory */
    carquet_reader_t *lib;
    schema all, types; /* of the file; of the wanted columns */
    arena a;
    pq_node root;
    pq_leaf *leaves;
    int n_leaves;
    bool *want_column;
    cursor *cursors; /* a leaf each */
    int group;       /* next row group */
    int64_t left_in_group;
    uint64_t row; /* next row */
    const char *bad;
    char bad_text[128];
};

/* ---- errors ---- */

static bool fail_lib(const pq_reader *r, const carquet_error_t *e, const char *what, int leaf, gv_err *err) {
    const char *message = e->message[0] ? e->message : carquet_status_string(e->code);
    const gv_code code = e->code == CARQUET_ERROR_OUT_OF_MEMORY                                                   ? GV_MEMORY
                         : e->code == CARQUET_ERROR_FILE_READ || e->code == CARQUET_ERROR_FILE_SEEK               ? GV_IO
                         : e->code == CARQUET_ERROR_NOT_IMPLEMENTED || e->code == CARQUET_ERROR_UNSUPPORTED_CODEC ? GV_UNSUPPORTED
                                                                                                                  : GV_FORMAT;
    const char *path[SCHEMA_MAX_DEPTH];
    if (leaf < 0 || carquet_schema_column_path(carquet_reader_schema(r->lib), leaf, path, SCHEMA_MAX_DEPTH) < 1)
        return gv_fail(err, code == GV_IO ? GV_IO : GV_FORMAT, -1, "%s: %s: %s", r->name, what, str_show(sv_of(message)).text);
    return gv_fail(err, code, (int64_t)r->row, "%s: %s, column \"%s\", row group %d, near row %llu: %s", r->name, what,
                   str_show(sv_of(path[0])).text, r->group - 1, (unsigned long long)r->row, str_show(sv_of(message)).text);
}

/* ---- opening ---- */

/* head, tail: the first 4 and the last 8 bytes. */
static bool check_ends(const pq_reader *r, const char *head, const char *tail, int64_t n_bytes, gv_err *err) {
    const bool encrypted = memcmp(tail + 4, "PARE", 4) == 0;
    uint32_t footer;
    memcpy(&footer, tail, 4);
    if (encrypted) return gv_fail(err, GV_UNSUPPORTED, -1, "%s: an encrypted Parquet file is not read", r->name);
    if (memcmp(head, "PAR1", 4) != 0) return gv_fail(err, GV_FORMAT, 0, "%s is no Parquet file: it does not begin with PAR1", r->name);
    if (memcmp(tail + 4, "PAR1", 4) != 0)
        return gv_fail(err, GV_FORMAT, n_bytes - 4, "%s: the Parquet file is cut short: it does not end with PAR1", r->name);
    if ((int64_t)footer > n_bytes - MIN_FILE)
        return gv_fail(err, GV_FORMAT, n_bytes - FOOTER_TAIL, "%s: the footer should be %u bytes long, the file has %lld", r->name, footer,
                       (long long)n_bytes);
    return true;
}

static bool check_size(const pq_reader *r, int64_t n_bytes, gv_err *err) {
    if (n_bytes < MIN_FILE)
        return gv_fail(err, GV_FORMAT, -1, "%s is no Parquet file: %lld bytes, at least %d are needed", r->name, (long long)n_bytes,
                       MIN_FILE);
    return n_bytes <= MAX_FILE_BYTES || gv_fail(err, GV_LIMIT, -1, "%s: more than 2^42 bytes", r->name);
}

static bool open_lib(pq_reader *r, const void *p, size_t n, int64_t *n_bytes, gv_err *err) {
    char head[4], tail[FOOTER_TAIL];
    carquet_error_t e = CARQUET_ERROR_INIT;
    carquet_reader_options_t o;
    carquet_reader_options_init(&o);
    o.use_mmap = false;
    o.num_threads = 1;
    if (!r->file) {
        *n_bytes = (int64_t)n;
        if (!check_size(r, *n_bytes, err) || !check_ends(r, p, (const char *)p + n - FOOTER_TAIL, *n_bytes, err)) return false;
        r->lib = carquet_reader_open_buffer(p, n, &o, &e);
    } else {
        if (fseeko(r->file, 0, SEEK_END) != 0 || (*n_bytes = ftello(r->file)) < 0) return gv_fail_errno(err, "cannot read %s", r->name);
        if (!check_size(r, *n_bytes, err)) return false;
        if (fseeko(r->file, 0, SEEK_SET) != 0 || fread(head, 1, sizeof head, r->file) != sizeof head ||
            fseeko(r->file, -(off_t)sizeof tail, SEEK_END) != 0 || fread(tail, 1, sizeof tail, r->file) != sizeof tail)
            return gv_fail_errno(err, "cannot read %s", r->name);
        if (!check_ends(r, head, tail, *n_bytes, err)) return false;
        rewind(r->file);
        r->lib = carquet_reader_open_file(r->file, &o, &e);
    }
    return r->lib || fail_lib(r, &e, "the footer cannot be read", -1, err);
}

static const char *codec_name(carquet_compression_t c) {
    static const char *const names[] = {"none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw"};
    return (unsigned)c < sizeof names / sizeof names[0] ? names[c] : "an unknown one";
}

static bool check_chunk(const pq_reader *r, int group, int leaf, int64_t rows, int64_t n_bytes, gv_err *err) {
    carquet_column_chunk_metadata_t m;
    const str_shown column = str_show(sv_of(carquet_schema_column_name(carquet_reader_schema(r->lib), leaf)));
    const char *shown = column.text;
    if (carquet_reader_column_chunk_metadata(r->lib, group, leaf, &m) != CARQUET_OK)
        return gv_fail(err, GV_FORMAT, -1, "%s: row group %d has no column \"%s\"", r->name, group, shown);
    if (m.codec == CARQUET_COMPRESSION_LZO || (unsigned)m.codec > CARQUET_COMPRESSION_LZ4_RAW)
        return gv_fail(err, GV_UNSUPPORTED, -1, "%s: column \"%s\" is compressed with a codec that is not read: %s", r->name, shown,
                       codec_name(m.codec));
    if (m.type != r->leaves[leaf].physical)
        return gv_fail(err, GV_FORMAT, -1, "%s: column \"%s\": row group %d and the schema have different types", r->name, shown, group);
    const int64_t first = m.has_dictionary_page && m.dictionary_page_offset > 0 && m.dictionary_page_offset < m.data_page_offset
                              ? m.dictionary_page_offset
                              : m.data_page_offset;
    if (first < 4 || m.total_compressed_size < 0 || m.total_compressed_size > n_bytes || first > n_bytes - m.total_compressed_size)
        return gv_fail(err, GV_FORMAT, first,
                       "%s: column \"%s\", row group %d: bytes %lld to %lld + %lld lie outside of the file (%lld bytes)", r->name, shown,
                       group, (long long)first, (long long)first, (long long)m.total_compressed_size, (long long)n_bytes);
    const bool repeated = r->leaves[leaf].max_rep > 0;
    if (repeated ? m.num_values < rows : m.num_values != rows)
        return gv_fail(err, GV_FORMAT, -1, "%s: column \"%s\", row group %d: %lld values, the row group has %lld rows", r->name, shown,
                       group, (long long)m.num_values, (long long)rows);
    return true;
}

/* Footer against file and against itself. */
static bool check_footer(const pq_reader *r, int64_t n_bytes, gv_err *err) {
    const int n = carquet_reader_num_row_groups(r->lib);
    int64_t sum = 0;
    if (n < 0 || n > MAX_ROW_GROUPS) return gv_fail(err, GV_LIMIT, -1, "%s: %d row groups, more than %d", r->name, n, MAX_ROW_GROUPS);
    for (int g = 0; g < n; g++) {
        carquet_row_group_metadata_t m;
        if (carquet_reader_row_group_metadata(r->lib, g, &m) != CARQUET_OK)
            return gv_fail(err, GV_FORMAT, -1, "%s: row group %d cannot be read", r->name, g);
        if (m.num_rows < 0 || m.num_rows > MAX_GROUP_ROWS)
            return gv_fail(err, GV_LIMIT, -1, "%s: row group %d has %lld rows, at most %d are read", r->name, g, (long long)m.num_rows,
                           MAX_GROUP_ROWS);
        sum += m.num_rows;
        for (int c = 0; c < r->n_leaves && m.num_rows > 0; c++) /* an empty row group may have no pages */
            if (r->cursors[c].wanted && !check_chunk(r, g, c, m.num_rows, n_bytes, err)) return false;
    }
    const int64_t rows = carquet_reader_num_rows(r->lib);
    return sum == rows ||
           gv_fail(err, GV_FORMAT, -1, "%s: the footer says %lld rows, its row groups have %lld", r->name, (long long)rows, (long long)sum);
}

static bool select_columns(pq_reader *r, const sv *columns, size_t n, gv_err *err) {
    r->want_column = arena_alloc(&r->a, r->root.n_children + 1);
    memset(r->want_column, columns ? 0 : 1, r->root.n_children);
    for (size_t i = 0; columns && i < n; i++) {
        size_t k = 0;
        while (k < r->root.n_children && !sv_eq(r->root.children[k].name, columns[i])) k++;
        if (k == r->root.n_children) return gv_fail(err, GV_USAGE, -1, "%s: no column \"%s\"", r->name, str_show(columns[i]).text);
        r->want_column[k] = true;
    }
    r->cursors = gv_try_calloc((size_t)r->n_leaves + 1, sizeof *r->cursors, "Parquet columns", err);
    if (!r->cursors) return false;
    for (size_t k = 0; k < r->root.n_children; k++) {
        const pq_node *c = &r->root.children[k];
        if (!r->want_column[k]) continue;
        schema_field *f = schema_add(&r->types, c->name, err);
        if (!f || !schema_copy_type(&r->types, &f->type, c->type, err)) return gv_context(err, "%s", r->name);
        for (int l = c->first_leaf; l < c->first_leaf + c->n_leaves; l++) r->cursors[l].wanted = true;
    }
    return true;
}

static pq_reader *open_with(pq_reader *r, const void *p, size_t n, const sv *columns, size_t n_columns, gv_err *err) {
    int64_t n_bytes = 0;
    arena_init(&r->a);
    schema_init(&r->all);
    schema_init(&r->types);
    if (open_lib(r, p, n, &n_bytes, err)) {
        const carquet_schema_t *s = carquet_reader_schema(r->lib);
        if (!pq_tree_read(s, &r->all, &r->a, &r->root, &r->leaves, &r->n_leaves, err))
            (void)gv_context(err, "%s", r->name);
        else if (select_columns(r, columns, n_columns, err) && check_footer(r, n_bytes, err))
            return r;
    }
    pq_close(r);
    return NULL;
}

pq_reader *pq_open(const char *path, const sv *columns, size_t n_columns, gv_err *err) {
    FILE *f = fopen(path, "rbe");
    if (!f) {
        gv_fail_errno(err, "cannot open %s", path);
        return NULL;
    }
    pq_reader *r = gv_xcalloc(1, sizeof *r);
    r->name = gv_xstrdup(path);
    r->file = f;
    return open_with(r, NULL, 0, columns, n_columns, err);
}

pq_reader *pq_open_memory(const void *p, size_t n, const char *name, const sv *columns, size_t n_columns, gv_err *err) {
    pq_reader *r = gv_xcalloc(1, sizeof *r);
    r->name = gv_xstrdup(name);
    return open_with(r, p, n, columns, n_columns, err);
}

static void close_group(pq_reader *r) {
    for (int i = 0; r->cursors && i < r->n_leaves; i++) {
        if (r->cursors[i].column) carquet_column_reader_free(r->cursors[i].column);
        r->cursors[i].column = NULL;
        r->cursors[i].n = r->cursors[i].at = 0;
    }
}

void pq_close(pq_reader *r) {
    if (!r) return;
    close_group(r);
    for (int i = 0; r->cursors && i < r->n_leaves; i++) free(r->cursors[i].values);
    free(r->cursors);
    if (r->lib) carquet_reader_close(r->lib);
    if (r->file) fclose(r->file);
    schema_fini(&r->all);
    schema_fini(&r->types);
    arena_fini(&r->a);
    free(r->name);
    free(r);
}

const schema *pq_schema(const pq_reader *r) {
    return &r->types;
}

uint64_t pq_n_rows(const pq_reader *r) {
    return (uint64_t)carquet_reader_num_rows(r->lib);
}

const char *pq_metadata(const pq_reader *r, const char *key) {
    for (int i = 0; i < carquet_reader_num_metadata(r->lib); i++) {
        const char *k, *v;
        if (carquet_reader_get_metadata(r->lib, i, &k, &v) == CARQUET_OK && k && strcmp(k, key) == 0) return v;
    }
    return NULL;
}

/* ---- entries ---- */

/* One row being put together. */
typedef struct row_walk {
    pq_reader *r;
    buf *out; /* NULL: passed over, or bad already */
    size_t begin, max_bytes;
    gv_err *err;
} row_walk;

static bool fail_row(const row_walk *w, int leaf, const char *why) {
    const char *name = carquet_schema_column_name(carquet_reader_schema(w->r->lib), leaf);
    return gv_fail(w->err, GV_FORMAT, (int64_t)w->r->row, "%s: row %llu, column \"%s\": %s", w->r->name, (unsigned long long)w->r->row,
                   str_show(sv_of(name)).text, why);
}

static bool fill(pq_reader *r, int leaf, gv_err *err) {
    cursor *c = &r->cursors[leaf];
    const pq_leaf *l = &r->leaves[leaf];
    carquet_error_t e = CARQUET_ERROR_INIT;
    if (!c->values && !(c->values = gv_try_malloc(WINDOW_VALUES, pq_value_bytes(l), "values of a Parquet column", err))) return false;
    const int64_t n = carquet_column_read_batch_ex(c->column, c->values, WINDOW_VALUES, c->def, c->rep, &e);
    if (e.code != CARQUET_OK || n < 0) return fail_lib(r, &e, "a page cannot be read", leaf, err);
    if (n > WINDOW_VALUES) return gv_fail(err, GV_FORMAT, -1, "%s: more values than asked for", r->name);
    c->n = (int)n;
    c->at = c->at_value = 0;
    if (l->max_def == 0) memset(c->def, 0, sizeof c->def);
    if (l->max_rep == 0) memset(c->rep, 0, sizeof c->rep);
    return true;
}

/* The column's next entry without taking it: its levels, or *rep = -1 at the end of the row group. */
static bool peek(row_walk *w, int leaf, int16_t *def, int16_t *rep) {
    cursor *c = &w->r->cursors[leaf];
    if (c->at == c->n && !fill(w->r, leaf, w->err)) return false;
    *rep = -1;
    if (c->at == c->n) return true;
    *def = c->def[c->at];
    *rep = c->rep[c->at];
    if (*def < 0 || *def > w->r->leaves[leaf].max_def || *rep < 0 || *rep > w->r->leaves[leaf].max_rep)
        return fail_row(w, leaf, "a level out of its range");
    return true;
}

/* The next entry, which must be there and continue at rep. */
static bool peek_at(row_walk *w, int leaf, int16_t rep, int16_t *def) {
    int16_t found;
    if (!peek(w, leaf, def, &found)) return false;
    if (found < 0) return fail_row(w, leaf, "the column ends before the row group does");
    return found == rep || fail_row(w, leaf, "its lists are not those of the columns beside it");
}

/* Takes the entry of every leaf below; each must say what the first one did: nothing from level def on. */
static bool skip_nulls(row_walk *w, const pq_node *n, int16_t rep, int16_t def) {
    for (int leaf = n->first_leaf; leaf < n->first_leaf + n->n_leaves; leaf++) {
        int16_t d;
        if (!peek_at(w, leaf, rep, &d)) return false;
        if (d != def) return fail_row(w, leaf, "it is null where the columns beside it are not, or the other way round");
        w->r->cursors[leaf].at++;
    }
    return true;
}

static void put(row_walk *w, const char *s) {
    if (w->out) buf_add_str(w->out, s);
}

static void mark_bad(row_walk *w, const char *why) {
    if (!w->r->bad) w->r->bad = why;
    w->out = NULL;
}

static bool put_leaf(row_walk *w, const pq_node *n, int16_t rep) {
    const pq_leaf *l = &w->r->leaves[n->leaf];
    cursor *c = &w->r->cursors[n->leaf];
    int16_t def;
    const char *why = NULL;
    if (!peek_at(w, n->leaf, rep, &def)) return false;
    if (def < n->outer_def) return fail_row(w, n->leaf, "it is null where the columns beside it are not");
    c->at++;
    if (def < l->max_def) {
        put(w, "null");
        return true;
    }
    const char *value = (const char *)c->values + (size_t)c->at_value++ * pq_value_bytes(l);
    if (l->physical == CARQUET_PHYSICAL_BYTE_ARRAY) {
        const carquet_byte_array_t *a = (const void *)value;
        if (a->length < 0 || (a->length > 0 && !a->data)) return fail_row(w, n->leaf, "a text of negative length");
        if (w->out && (size_t)a->length > w->max_bytes) mark_bad(w, "the row is longer than the cap");
    }
    if (!w->out) return true;
    if (!pq_put_value(w->out, l, value, &why)) {
        snprintf(w->r->bad_text, sizeof w->r->bad_text, "column \"%s\": %s", str_show(n->name).text, why);
        mark_bad(w, w->r->bad_text);
    } else if (w->out->n - w->begin > w->max_bytes) {
        mark_bad(w, "the row is longer than the cap");
    }
    return true;
}

static bool put_node(row_walk *w, const pq_node *n, int16_t rep);

static bool put_struct(row_walk *w, const pq_node *n, int16_t rep) {
    put(w, "{");
    for (size_t i = 0; i < n->n_children; i++) {
        if (i) put(w, ", ");
        if (w->out) json_put_string(w->out, n->children[i].name);
        put(w, ": ");
        if (!put_node(w, &n->children[i], rep)) return false;
    }
    put(w, "}");
    return true;
}

static bool put_list(row_walk *w, const pq_node *n, int16_t rep) {
    put(w, "[");
    for (;;) {
        int16_t def, next;
        if (!put_node(w, n->children, rep)) return false;
        if (w->out && w->out->n - w->begin > w->max_bytes) mark_bad(w, "the row is longer than the cap");
        if (!peek(w, n->first_leaf, &def, &next)) return false;
        if (next < n->item_rep) break;
        if (next > n->item_rep) return fail_row(w, n->first_leaf, "a repetition level that no list has");
        rep = n->item_rep;
        put(w, ", ");
    }
    put(w, "]");
    return true;
}

/* The value at n, whose first entries continue at rep. */
static bool put_node(row_walk *w, const pq_node *n, int16_t rep) {
    int16_t def;
    if (n->leaf >= 0) return put_leaf(w, n, rep);
    if (!peek_at(w, n->first_leaf, rep, &def)) return false;
    if (def < n->outer_def) return fail_row(w, n->first_leaf, "it is null where the columns beside it are not");
    if (def < n->def) {
        put(w, "null");
        return skip_nulls(w, n, rep, def);
    }
    if (n->type->kind == TYPE_STRUCT) return put_struct(w, n, rep);
    if (def >= n->item_def) return put_list(w, n, rep);
    put(w, "[]");
    return skip_nulls(w, n, rep, def);
}

/* ---- rows ---- */

static bool open_group(pq_reader *r, gv_err *err) {
    carquet_row_group_metadata_t m;
    close_group(r);
    if (carquet_reader_row_group_metadata(r->lib, r->group, &m) != CARQUET_OK)
        return gv_fail(err, GV_FORMAT, -1, "%s: row group %d cannot be read", r->name, r->group);
    r->left_in_group = m.num_rows;
    for (int i = 0; m.num_rows > 0 && i < r->n_leaves; i++) {
        carquet_error_t e = CARQUET_ERROR_INIT;
        if (!r->cursors[i].wanted) continue;
        r->cursors[i].column = carquet_reader_get_column(r->lib, r->group, i, &e);
        if (!r->cursors[i].column) {
            r->group++;
            return fail_lib(r, &e, "a column cannot be read", i, err);
        }
    }
    r->group++;
    return true;
}

/* Behind the last row of a group every column is at its end. */
static bool check_group_end(pq_reader *r, gv_err *err) {
    row_walk w = {.r = r, .err = err};
    for (int i = 0; i < r->n_leaves; i++) {
        int16_t def, rep;
        if (!r->cursors[i].wanted) continue;
        if (!peek(&w, i, &def, &rep)) return false;
        if (rep >= 0) return fail_row(&w, i, "the column has more values than the row group has rows");
    }
    return true;
}

bool pq_next(pq_reader *r, buf *out, size_t max_bytes, const char **bad, bool *end, gv_err *err) {
    *bad = r->bad = NULL;
    *end = false;
    while (r->left_in_group == 0) {
        *end = r->group == carquet_reader_num_row_groups(r->lib);
        if (*end) return true;
        if (!open_group(r, err)) return false;
    }
    row_walk w = {r, out, out ? out->n : 0, max_bytes, err};
    bool first = true;
    put(&w, "{");
    for (size_t i = 0; i < r->root.n_children; i++) {
        if (!r->want_column[i]) continue;
        if (!first) put(&w, ", ");
        first = false;
        if (w.out) json_put_string(w.out, r->root.children[i].name);
        put(&w, ": ");
        if (!put_node(&w, &r->root.children[i], 0)) return false;
    }
    put(&w, "}");
    *bad = r->bad;
    r->row++;
    return --r->left_in_group > 0 || check_group_end(r, err);
}
