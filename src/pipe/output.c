/* What a run writes: the leaf's rows as a file, or a Distiset with a config for each leaf.  See run_pipe_internal.h. */
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>

static bool is_file(const char *out) {
    const char *slash = strrchr(out, '/'), *dot = strrchr(slash ? slash : out, '.');
    static const char *const known[] = {".jsonl", ".json", ".csv", ".tsv", ".parquet", NULL};
    for (const char *const *s = known; dot && *s; s++)
        if (strcmp(dot, *s) == 0) return true;
    return false;
}

size_t pipe_count_leaves(const pipeline *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_steps; i++) n += p->steps[i].n_after == 0;
    return n;
}

bool pipe_check_output(const pipeline *p, const pipe_run_spec *spec, gv_err *err) {
    if (!is_file(spec->out)) return gv_fail(err, GV_UNSUPPORTED, -1, "--out %s: this version writes .jsonl and .csv", spec->out);
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

static bool write_file(pipe_runner *r, gv_err *err) {
    size_t leaf = 0;
    while (r->p->steps[leaf].n_after) leaf++;
    const pipe_table *t = &r->tables[leaf];
    pipe_names columns;
    pipe_table_columns(t, &r->a, &columns);
    rows_writer *w = rows_writer_open(r->spec->out, columns.v, columns.n, err);
    bool ok = w != NULL;
    for (size_t i = 0; ok && i < t->n; i++) ok = rows_writer_put(w, t->v[i].cells, t->v[i].n, err);
    if (ok) return rows_writer_commit(w, err);
    rows_writer_abandon(w);
    return false;
}

bool pipe_write_output(pipe_runner *r, gv_err *err) {
    return write_file(r, err);
}
