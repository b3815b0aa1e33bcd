/* The steps that change columns.  Each works row by row, so batches play no part.  See table.h. */
#include "base/log.h"
#include "pipe/columns.h"
#include "pipe/pipe_internal.h"
#include "pipe/table.h"

#include <stdlib.h>

static const char metadata[] = "distilabel_metadata";

static pipe_row keep(const pipe_step *s, const pipe_row *r, arena *a) {
    const json_value *columns = pipe_arg(s->json, "columns");
    pipe_row out = {0};
    pipe_row_reserve(&out, json_size(columns), a);
    for (json_iter it = json_each(columns); json_next(&it);) {
        const rows_cell *c = pipe_row_get(r, json_string(it.value));
        pipe_row_set(&out, json_string(it.value), c ? c->raw : SV("null"), a);
    }
    return out;
}

static int compare_cells(const void *x, const void *y) {
    const sv a = ((const rows_cell *)x)->name, b = ((const rows_cell *)y)->name;
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static sv dup_buf(buf *b, arena *a) {
    const sv out = {arena_dup(a, b->p ? b->p : "", b->n), b->n};
    buf_fini(b);
    return out;
}

/* The metadata of all rows: members of objects side by side, sorted as in Arrow; lists (of grouped generations) one behind the other. */
static bool merge_metadata(const pipe_row *const *rows, size_t n, arena *a, sv *out, gv_err *err) {
    pipe_row members = {0};
    buf list = {0}, text = {0};
    for (size_t i = 0; i < n; i++) {
        const rows_cell *c = pipe_row_get(rows[i], SV("distilabel_metadata"));
        json_doc *doc = c ? json_parse(c->raw, err) : NULL;
        if (c && !doc) return false;
        if (!doc) continue;
        const json_value *root = json_root(doc);
        for (json_iter it = json_each(root); (json_kind_of(root) == JSON_OBJECT || json_kind_of(root) == JSON_ARRAY) && json_next(&it);) {
            json_put_value(&text, it.value);
            const sv value = dup_buf(&text, a);
            if (json_kind_of(root) == JSON_ARRAY) {
                buf_add_char(&list, list.n ? ',' : '[');
                buf_add_sv(&list, value);
            } else {
                pipe_row_set(&members, (sv){arena_dup(a, it.key.p, it.key.n), it.key.n}, value, a);
            }
        }
        json_free(doc);
    }
    if (list.n) {
        buf_add_char(&list, ']');
        *out = dup_buf(&list, a);
        return true;
    }
    if (members.n) qsort(members.cells, members.n, sizeof *members.cells, compare_cells);
    buf_add_char(&text, '{');
    for (size_t i = 0; i < members.n; i++) {
        if (i) buf_add_char(&text, ',');
        json_put_string(&text, members.cells[i].name);
        buf_add_char(&text, ':');
        buf_add_sv(&text, members.cells[i].raw);
    }
    buf_add_char(&text, '}');
    *out = dup_buf(&text, a);
    return true;
}

/* Index of a column in the step's columns, or SIZE_MAX. */
static size_t place(const pipe_names *v, sv name) {
    for (size_t i = 0; i < v->n; i++)
        if (sv_eq(v->v[i], name)) return i;
    return SIZE_MAX;
}

static bool group(const pipe_step *s, const pipe_row *const *rows, size_t n, arena *a, pipe_row *out, gv_err *err) {
    pipe_names columns, names;
    pipe_step_inputs(s, a, &columns);
    pipe_step_outputs(s, a, &names);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < rows[i]->n; c++) {
            const rows_cell *cell = &rows[i]->cells[c];
            const size_t k = place(&columns, cell->name);
            if (sv_is(cell->name, metadata)) {
                any = true;
                continue;
            }
            if (k == SIZE_MAX || k >= names.n) {
                pipe_row_set(out, cell->name, cell->raw, a);
                continue;
            }
            buf list = {0};
            const rows_cell *so_far = pipe_row_get(out, names.v[k]);
            if (so_far && so_far->raw.n > 1 && i > 0) {
                buf_add(&list, so_far->raw.p, so_far->raw.n - 1);
                buf_add_char(&list, ',');
            } else {
                buf_add_char(&list, '[');
            }
            buf_add_sv(&list, cell->raw);
            buf_add_char(&list, ']');
            pipe_row_set(out, names.v[k], dup_buf(&list, a), a);
        }
    }
    sv merged;
    if (!any) return true;
    if (!merge_metadata(rows, n, a, &merged, err)) return false;
    pipe_row_set(out, SV("distilabel_metadata"), merged, a);
    return true;
}

static bool combine(const pipe_row *const *rows, size_t n, arena *a, pipe_row *out, gv_err *err) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < rows[i]->n; c++) {
            const rows_cell *cell = &rows[i]->cells[c];
            if (sv_is(cell->name, metadata))
                any = true;
            else
                pipe_row_set(out, cell->name, cell->raw, a);
        }
    }
    sv merged;
    if (!any) return true;
    if (!merge_metadata(rows, n, a, &merged, err)) return false;
    pipe_row_set(out, SV("distilabel_metadata"), merged, a);
    return true;
}

/* What ExpandColumns makes of rows that have no list: told once for all of them. */
typedef struct expanding {
    const pipe_step *s;
    pipe_names columns, names;
    run_log *log;
    uint64_t n_null, n_empty; /* rows kept with nulls; rows of which none was made */
} expanding;

/* The lists of a row: their documents, and how many elements each has.  *null: one of them is null. */
static bool open_lists(const expanding *x, const pipe_row *r, size_t number, json_doc **docs, size_t *n, bool *null, gv_err *err) {
    size_t first = 0;
    *n = 0;
    *null = false;
    for (size_t i = 0; i < x->columns.n; i++) {
        const rows_cell *c = pipe_row_get(r, x->columns.v[i]);
        docs[i] = json_parse(c ? c->raw : SV("null"), err);
        if (!docs[i]) return gv_context(err, "step \"%s\", row %zu", x->s->name, number);
        const json_value *v = json_root(docs[i]);
        if (json_kind_of(v) == JSON_NULL) {
            *null = true;
            continue;
        }
        if (json_kind_of(v) != JSON_ARRAY)
            return gv_fail(err, GV_FORMAT, (int64_t)number, "step \"%s\": column \"%s\" of row %zu is a %s, expected a list", x->s->name,
                           str_show(x->columns.v[i]).text, number, json_kind_name(v));
        if (first && json_size(v) != *n)
            return gv_fail(err, GV_FORMAT, (int64_t)number,
                           "step \"%s\": the lists of row %zu have %zu elements in column \"%s\" and %zu in column \"%s\"", x->s->name,
                           number, *n, str_show(x->columns.v[first - 1]).text, json_size(v), str_show(x->columns.v[i]).text);
        *n = json_size(v);
        first = i + 1;
    }
    return true;
}

/* One row for each element of the lists in the step's columns, with the other columns repeated.  A row with null for a list is kept, with nulls, so
 * that its verdict is not lost; an empty list makes no row. */
static bool expand(expanding *x, const pipe_row *r, const pipe_row *hidden, size_t number, arena *a, pipe_table *out, gv_err *err) {
    json_doc **docs = gv_xcalloc(x->columns.n, sizeof *docs);
    json_iter *each = gv_xcalloc(x->columns.n, sizeof *each);
    size_t n = 0;
    bool null = false;
    const bool ok = open_lists(x, r, number, docs, &n, &null, err);
    for (size_t c = 0; ok && c < x->columns.n; c++) each[c] = json_each(json_root(docs[c]));
    for (size_t i = 0; ok && i < (null ? 1 : n); i++) {
        pipe_row one = pipe_row_copy(r, a);
        for (size_t c = 0; c < x->columns.n; c++) {
            buf text = {0};
            if (null)
                buf_add_str(&text, "null");
            else if (json_next(&each[c]))
                json_put_value(&text, each[c].value);
            pipe_row_set(&one, x->names.v[c], dup_buf(&text, a), a);
        }
        pipe_table_add(out, pipe_row_map_out(x->s, &one, hidden, a));
    }
    x->n_null += ok && null;
    x->n_empty += ok && !null && n == 0;
    if (ok && null)
        run_log_put(x->log, RUN_LOG_WARNING, "step '%s', row %zu: null where a list is expected; the row is kept, with nulls", x->s->name,
                    number);
    else if (ok && n == 0)
        run_log_put(x->log, RUN_LOG_WARNING, "step '%s', row %zu: an empty list; no row comes of it", x->s->name, number);
    for (size_t i = 0; i < x->columns.n; i++) json_free(docs[i]);
    free(docs);
    free(each);
    return ok;
}

static void tell_expanded(const expanding *x) {
    if (x->log && x->n_null)
        log_msg(LOG_WARN, "step \"%s\": %llu rows have null where a list is expected; they are kept, with nulls", x->s->name,
                (unsigned long long)x->n_null);
    if (x->log && x->n_empty)
        log_msg(LOG_WARN, "step \"%s\": %llu rows have an empty list, and no row comes of them", x->s->name,
                (unsigned long long)x->n_empty);
}

bool pipe_step_run(const pipe_step *s, const pipe_table *const *in, size_t n_in, const char *const *names, run_log *log, arena *a,
                   pipe_table *out, gv_err *err) {
    for (size_t i = 1; i < n_in; i++)
        if (in[i]->n != in[0]->n)
            return gv_fail(err, GV_USAGE, -1,
                           "step \"%s\" joins rows one by one, but \"%s\" gives %zu and \"%s\" %zu; make num_generations the same", s->name,
                           names[0], in[0]->n, names[i], in[i]->n);
    expanding x = {.s = s, .log = log};
    pipe_step_inputs(s, a, &x.columns);
    pipe_step_outputs(s, a, &x.names);
    if (s->kind == PIPE_EXPAND && x.names.n != x.columns.n)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": two of its columns are to have the same name", s->name);
    const pipe_row **rows = gv_xcalloc(n_in, sizeof *rows);
    pipe_row *mapped = gv_xcalloc(n_in, sizeof *mapped);
    bool ok = true;
    for (size_t r = 0; ok && r < in[0]->n; r++) {
        pipe_row made = {0}, hidden = {0};
        for (size_t i = n_in; i-- > 0;) {
            mapped[i] = pipe_row_map_in(s, &in[i]->v[r], a, &hidden);
            rows[i] = &mapped[i];
        }
        if (s->kind == PIPE_EXPAND) {
            ok = expand(&x, rows[0], &hidden, r, a, out, err);
            continue;
        }
        if (s->kind == PIPE_KEEP)
            made = keep(s, rows[0], a);
        else
            ok = s->kind == PIPE_GROUP ? group(s, rows, n_in, a, &made, err) : combine(rows, n_in, a, &made, err);
        if (ok) pipe_table_add(out, pipe_row_map_out(s, &made, &hidden, a));
    }
    if (ok) tell_expanded(&x);
    free(rows);
    free(mapped);
    return ok;
}
