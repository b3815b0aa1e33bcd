/* What a run writes: the leaf's rows as a file, or a Distiset with a config for each leaf.  See run_pipe_internal.h. */
#include "pipe/run_pipe_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_SUFFIX = 8 };

/* A folder's name may hold a dot (judge-2.0, rows.v2); letters and digits after one mean a format. */
static bool has_suffix(const char *out) {
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out, *dot = strrchr(name, '.');
    if (!dot || dot == name || !dot[1] || strlen(dot + 1) > MAX_SUFFIX) return false;
    const char *c = dot + 1;
    if (*c == 'v' && c[1] && strspn(c + 1, "0123456789") == strlen(c + 1)) return false;
    for (size_t i = 0; c[i]; i++)
        if (!(isascii((unsigned char)c[i]) && (i ? isalnum((unsigned char)c[i]) : isalpha((unsigned char)c[i])))) return false;
    return true;
}

bool pipe_is_file(const char *out) {
    struct stat st;
    const size_t n = strlen(out);
    if (n && out[n - 1] == '/') return false;
    return rows_is_file_name(out) || (has_suffix(out) && !(stat(out, &st) == 0 && S_ISDIR(st.st_mode)));
}

size_t pipe_count_leaves(const pipeline *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_steps; i++) n += p->steps[i].n_after == 0;
    return n;
}

bool pipe_check_output(const pipeline *p, const pipe_run_spec *spec, gv_err *err) {
    if (!pipe_is_file(spec->out)) return pipe_check_folder(p, spec, err);
    if (!rows_is_file_name(spec->out) && !rows_writer_check(spec->out, err))
        return gv_context(err, "--out is taken for a file, because no such folder is here");
    if (pipe_count_leaves(p) > 1)
        return gv_fail(err, GV_USAGE, -1, "--out %s: the pipeline ends in %zu steps, each with rows of its own; give a folder", spec->out,
                       pipe_count_leaves(p));
    return rows_writer_check(spec->out, err);
}

/* Columns of all rows, in order of first appearance. */
void pipe_table_columns(const pipe_table *t, arena *a, pipe_names *out) {
    *out = (pipe_names){0};
    for (size_t i = 0; i < t->n; i++) {
        for (size_t c = 0; c < t->v[i].n; c++) {
            const sv name = t->v[i].cells[c].name;
            size_t k = 0;
            while (k < out->n && !sv_eq(out->v[k], name)) k++;
            if (k < out->n) continue;
            sv *more = arena_alloc(a, (out->n + 1) * sizeof *more);
            if (out->n) memcpy(more, out->v, out->n * sizeof *more);
            more[out->n++] = name;
            out->v = more;
        }
    }
}

bool pipe_leaf_types(const pipe_runner *r, const pipe_table *t, size_t leaf, const pipe_names *columns, schema *out, gv_err *err) {
    for (size_t c = 0; c < columns->n; c++) {
        const char *type = pipe_column_type(r->p, r->columns, r->loaded, leaf, columns->v[c]);
        schema_field *f = schema_add(out, columns->v[c], err);
        if (!f || (type && !schema_from_arrow(out, &f->type, sv_of(type), err))) return false;
        if (type) continue;
        for (size_t i = 0; i < t->n; i++) {
            const rows_cell *cell = pipe_row_get(&t->v[i], columns->v[c]);
            json_doc *doc = cell ? json_parse(cell->raw, err) : NULL;
            const bool ok = !cell || (doc && schema_see_value(out, &f->type, json_root(doc), columns->v[c], i, err));
            json_free(doc);
            if (!ok) return false;
        }
    }
    return true;
}

static bool write_file(pipe_runner *r, gv_err *err) {
    size_t leaf = 0;
    while (r->p->steps[leaf].n_after) leaf++;
    const pipe_table *t = &r->tables[leaf];
    const bool typed = rows_writer_is_typed(r->spec->out);
    pipe_names columns;
    schema types;
    schema_init(&types);
    pipe_table_columns(t, &r->a, &columns);
    bool ok = !typed || pipe_leaf_types(r, t, leaf, &columns, &types, err);
    rows_writer *w = NULL;
    if (ok) w = typed ? rows_writer_open_typed(r->spec->out, &types, err) : rows_writer_open(r->spec->out, columns.v, columns.n, err);
    ok = w != NULL;
    for (size_t i = 0; ok && i < t->n; i++) ok = rows_writer_put(w, t->v[i].cells, t->v[i].n, err);
    if (ok)
        ok = rows_writer_commit(w, err);
    else
        rows_writer_abandon(w);
    schema_fini(&types);
    return ok;
}

bool pipe_write_output(pipe_runner *r, gv_err *err) {
    return pipe_is_file(r->spec->out) ? write_file(r, err) : pipe_write_folder(r, err);
}
