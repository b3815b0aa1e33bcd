/* Tables and the mappings of names.  See table.h. */
#include "pipe/table.h"
#include "pipe/columns.h"

#include <stdlib.h>

void pipe_table_add(pipe_table *t, pipe_row added) {
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->v = gv_xrealloc(t->v, t->cap * sizeof *t->v);
    }
    t->v[t->n++] = added;
}

void pipe_table_fini(pipe_table *t) {
    free(t->v);
    *t = (pipe_table){0};
}

const rows_cell *pipe_row_get(const pipe_row *r, sv name) {
    for (size_t i = 0; i < r->n; i++)
        if (sv_eq(r->cells[i].name, name)) return &r->cells[i];
    return NULL;
}

void pipe_row_reserve(pipe_row *r, size_t n, arena *a) {
    if (n <= r->cap) return;
    rows_cell *more = arena_alloc(a, n * sizeof *more);
    if (r->n) memcpy(more, r->cells, r->n * sizeof *more);
    r->cells = more;
    r->cap = n;
}

void pipe_row_set(pipe_row *r, sv name, sv raw, arena *a) {
    for (size_t i = 0; i < r->n; i++) {
        if (!sv_eq(r->cells[i].name, name)) continue;
        r->cells[i].raw = raw;
        return;
    }
    if (r->n == r->cap) pipe_row_reserve(r, r->cap ? 2 * r->cap : 8, a);
    r->cells[r->n++] = (rows_cell){.name = name, .raw = raw};
}

pipe_row pipe_row_copy(const pipe_row *r, arena *a) {
    pipe_row out = {0};
    pipe_row_reserve(&out, r->n, a);
    for (size_t i = 0; i < r->n; i++) pipe_row_set(&out, r->cells[i].name, r->cells[i].raw, a);
    return out;
}

/* The step's name for a column, by the mapping read backwards. */
static sv unmapped(const pipe_step *s, sv column) {
    const json_value *map = pipe_arg_map(s, "input_mappings");
    if (map)
        for (json_iter it = json_each(map); json_next(&it);)
            if (sv_eq(json_string(it.value), column)) return it.key;
    return column;
}

pipe_row pipe_row_map_in(const pipe_step *s, const pipe_row *r, arena *a, pipe_row *hidden) {
    pipe_row out = {0};
    *hidden = (pipe_row){0};
    for (size_t i = 0; i < r->n; i++) {
        const sv column = r->cells[i].name, name = unmapped(s, column);
        if (!sv_eq(name, column)) {
            pipe_row_set(&out, name, r->cells[i].raw, a);
            const rows_cell *under = pipe_row_get(r, name);
            if (under) pipe_row_set(hidden, name, under->raw, a);
        } else if (!pipe_row_get(&out, name)) {
            pipe_row_set(&out, name, r->cells[i].raw, a);
        }
    }
    return out;
}

pipe_row pipe_row_map_out(const pipe_step *s, const pipe_row *r, const pipe_row *hidden, arena *a) {
    pipe_row out = {0};
    pipe_row_reserve(&out, r->n + hidden->n, a);
    for (size_t i = 0; i < r->n; i++) {
        sv name = r->cells[i].name, to = pipe_mapped(s, "output_mappings", name);
        if (sv_eq(to, name)) to = pipe_mapped(s, "input_mappings", name);
        pipe_row_set(&out, to, r->cells[i].raw, a);
    }
    for (size_t i = 0; i < hidden->n; i++) pipe_row_set(&out, hidden->cells[i].name, hidden->cells[i].raw, a);
    return out;
}
