/* The rows of an open data set: its parts one after the other, each row brought to the common columns. */
#include "data/dataset_open.h"

#include "data/parquet.h"

#include <stdlib.h>

/* ---- one file ---- */

/* Is it one array, or one object a line? */
static bool json_format(const char *path, const char *shown, rows_format *out, gv_err *err) {
    source s;
    int c = -1;
    bool ok = source_open(&s, path, err);
    s.name = shown;
    while (ok && (ok = source_peek(&s, &c, err)) && (c == ' ' || (c >= '\t' && c <= '\r'))) source_take(&s, 1);
    source_close(&s);
    *out = c == '[' ? ROWS_JSON : ROWS_JSONL;
    return ok;
}

bool file_rows_open(const dataset *d, size_t file, file_rows *out, gv_err *err) {
    const data_file *f = &d->files[file];
    rows_options o = {.name = f->shown, .delimiter = d->delimiter, .short_rows = true, .may_be_empty = true};
    *out = (file_rows){0};
    switch (d->kind) {
    case KIND_ARROW: return (out->arrow = arrow_open(f->path, f->shown, err)) != NULL;
    case KIND_JSON:
        if (!json_format(f->path, f->shown, &o.format, err)) return false;
        break;
    case KIND_CSV: o.format = ROWS_CSV; break;
    case KIND_TSV: o.format = ROWS_TSV; break;
    default: o.format = ROWS_PARQUET;
    }
    return (out->rows = rows_open(f->path, &o, err)) != NULL;
}

void file_rows_close(file_rows *f) {
    rows_close(f->rows);
    arrow_close(f->arrow);
    buf_fini(&f->text);
    json_free(f->doc);
    *f = (file_rows){0};
}

bool file_rows_skip(file_rows *f, uint64_t n, gv_err *err) {
    if (f->arrow) {
        uint64_t skipped;
        if (!arrow_skip(f->arrow, n, &skipped, err)) return false;
        f->number += skipped;
        return true;
    }
    row r;
    for (bool end = false; n > 0 && !end; n--)
        if (!rows_next(f->rows, &r, &end, err)) return false;
    return true;
}

/* ---- counts and columns ---- */

bool dataset_count(dataset *d, size_t file, gv_err *err) {
    data_file *f = &d->files[file];
    if (f->counted) return true;
    if (d->kind == KIND_PARQUET) {
        pq_reader *p = pq_open(f->path, NULL, 0, err);
        if (p) f->n_rows = pq_n_rows(p);
        pq_close(p);
        return f->counted = p != NULL;
    }
    file_rows rows;
    if (!file_rows_open(d, file, &rows, err)) return false;
    bool ok, end = false;
    uint64_t n = 0;
    if (rows.arrow) {
        ok = arrow_skip(rows.arrow, UINT64_MAX, &n, err);
    } else {
        row r;
        while ((ok = rows_next(rows.rows, &r, &end, err)) && !end) n++;
    }
    file_rows_close(&rows);
    f->n_rows = n;
    f->counted = ok;
    return ok;
}

static bool learn_file(dataset *d, size_t file, gv_err *err) {
    file_rows rows;
    if (!file_rows_open(d, file, &rows, err)) return false;
    bool ok, end = false;
    uint64_t n = 0;
    row r;
    while ((ok = rows_next(rows.rows, &r, &end, err)) && !end) {
        if (r.bad && n == 0 && d->kind == KIND_JSON)
            ok = gv_fail(err, GV_FORMAT, r.line, SV_FMT "; a JSON file of a data set is an array of objects or has one object a line",
                         SV_ARG(r.message));
        else if (!r.bad)
            ok = table_see(&d->table, &r, err);
        if (!ok) break;
        n++;
    }
    file_rows_close(&rows);
    d->files[file].n_rows = n;
    d->files[file].counted = ok;
    return ok;
}

static void add_column(dataset *d, sv name) {
    for (size_t i = 0; i < d->n_columns; i++)
        if (sv_eq(d->columns[i], name)) return;
    d->columns = gv_xrealloc(d->columns, (d->n_columns + 1) * sizeof *d->columns);
    d->columns[d->n_columns++] = (sv){arena_dup(&d->a, name.p, name.n), name.n};
}

/* Takes the first file's types, and of a later one forgets those that differ. */
static bool learn_types(dataset *d, const schema *of, bool first, gv_err *err) {
    if (first) return schema_copy_type(&d->types, &d->types.root, &of->root, err);
    for (size_t i = 0; i < d->types.root.n_fields; i++) {
        schema_type *t = &d->types.root.fields[i].type;
        const schema_field *f = schema_find(of, d->types.root.fields[i].name);
        if (f && !schema_type_equal(t, &f->type)) *t = (schema_type){.kind = TYPE_NULL};
    }
    return true;
}

static bool learn_parquet(dataset *d, gv_err *err) {
    schema_init(&d->types);
    d->has_types = true;
    for (size_t k = 0; k < d->n_files; k++) {
        pq_reader *p = pq_open(d->files[k].path, NULL, 0, err);
        const schema_type *root = p ? &pq_schema(p)->root : NULL;
        for (size_t i = 0; p && k == 0 && i < root->n_fields; i++) add_column(d, root->fields[i].name);
        const bool ok = p && learn_types(d, pq_schema(p), k == 0, err);
        pq_close(p);
        if (!ok) return false;
    }
    return true;
}

/* Arrow and Parquet: of the first file. */
static bool learn_columns(dataset *d, gv_err *err) {
    if (d->n_files == 0) return true;
    if (d->kind == KIND_PARQUET) return learn_parquet(d, err);
    file_rows f;
    size_t n;
    if (!file_rows_open(d, 0, &f, err)) return false;
    const sv *names = arrow_columns(f.arrow, &n);
    for (size_t i = 0; i < n; i++) add_column(d, names[i]);
    file_rows_close(&f);
    return true;
}

bool dataset_learn(dataset *d, const card *c, const char *config, gv_err *err) {
    if (d->kind != KIND_JSON && d->kind != KIND_CSV && d->kind != KIND_TSV) return learn_columns(d, err);
    table_init(&d->table, d->kind != KIND_JSON);
    d->has_table = true;
    for (size_t i = 0; i < d->n_files; i++)
        if (!learn_file(d, i, err)) return false;
    table_settle(&d->table, c, config);
    const schema_type *root = &d->table.schema.root;
    for (size_t i = 0; i < root->n_fields; i++) add_column(d, root->fields[i].name);
    return true;
}

bool dataset_num_rows(dataset *d, uint64_t *n, gv_err *err) {
    *n = 0;
    for (size_t i = 0; i < d->n_parts; i++) {
        data_part *p = &d->parts[i];
        if (p->take != UINT64_MAX && d->files[p->file].counted) {
            *n += p->take;
            continue;
        }
        if (!dataset_count(d, p->file, err)) return false;
        const uint64_t all = d->files[p->file].n_rows, left = all > p->skip ? all - p->skip : 0;
        *n += left < p->take ? left : p->take;
    }
    return true;
}

/* ---- the stream ---- */

typedef struct feed {
    dataset *d;
    bool owned;
    size_t next_part;
    bool open;
    file_rows file;
    uint64_t left; /* rows of the part */
    buf text;
} feed;

static bool next_part(feed *f, rows_reader *r, bool *end, gv_err *err) {
    file_rows_close(&f->file);
    f->open = false;
    *end = f->next_part == f->d->n_parts;
    if (*end) return true;
    const data_part *p = &f->d->parts[f->next_part++];
    if (!file_rows_open(f->d, p->file, &f->file, err)) return false;
    f->open = true;
    f->left = p->take;
    free(r->name);
    r->name = gv_xstrdup(f->d->files[p->file].shown);
    return file_rows_skip(&f->file, p->skip, err);
}

/* The next row of the open file into r; *end at the file's end. */
static bool next_of_file(feed *f, rows_reader *r, bool *end, gv_err *err) {
    if (f->file.arrow) {
        if (!arrow_next(f->file.arrow, &f->text, end, err)) return false;
        r->row_line = (int64_t)++f->file.number;
        r->row_text = buf_view(&f->text);
        return true;
    }
    row at;
    if (!rows_next(f->file.rows, &at, end, err)) return false;
    if (*end) return true;
    r->row_line = at.line;
    if (at.bad) {
        buf_clear(&r->message);
        buf_add_sv(&r->message, at.message);
        r->bad = true;
    } else if (f->d->has_table) {
        table_put(&f->d->table, &at, &f->text);
        r->row_text = buf_view(&f->text);
    } else {
        r->row_text = at.text;
    }
    return true;
}

static bool feed_next(void *self, rows_reader *r, bool *end, gv_err *err) {
    feed *f = self;
    for (;;) {
        if (!f->open || f->left == 0) {
            if (!next_part(f, r, end, err)) return false;
            if (*end) return true;
            continue;
        }
        if (!next_of_file(f, r, end, err)) return false;
        if (!*end) {
            if (f->left != UINT64_MAX) f->left--;
            return true;
        }
        f->left = 0;
    }
}

static void feed_close(void *self) {
    feed *f = self;
    file_rows_close(&f->file);
    buf_fini(&f->text);
    if (f->owned) dataset_close(f->d);
    free(f);
}

bool dataset_feed_open(const char *path, const rows_options *o, rows_feed *out, gv_err *err) {
    dataset *d = o->data;
    if (!d) d = dataset_open(&(dataset_spec){.path = path}, err);
    if (!d) return false;
    feed *f = gv_xcalloc(1, sizeof *f);
    f->d = d;
    f->owned = !o->data;
    *out = (rows_feed){f, feed_next, feed_close, d->has_types ? &d->types : NULL};
    return true;
}

rows_reader *dataset_rows(dataset *d, const rows_options *o, gv_err *err) {
    rows_options with = o ? *o : (rows_options){0};
    with.data = d;
    with.name = d->name;
    return rows_open(d->name, &with, err);
}
