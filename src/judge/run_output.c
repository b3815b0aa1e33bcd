/* The output table: input columns in order, then those of run_columns.c.
 *
 * It is written from the input and the journal alone, so a resumed run gives the same bytes as an uninterrupted one.  An input column with
 * the name of an output column gives way to it; the command line says so before the run. */
#include "judge/run_internal.h"

#include "base/log.h"
#include "judge/warn.h"

#include <stdlib.h>

const char *run_mapped(const run_spec *spec, const char *name) {
    for (size_t i = 0; spec->rows.map && i < spec->rows.map->n; i++)
        if (strcmp(spec->rows.map->v[i].name, name) == 0) return spec->rows.map->v[i].column;
    return name;
}

/* ---- columns of the table ---- */

static bool add_input_column(schema *out, const rows_summary *input, sv name, gv_err *err) {
    const schema_field *typed = schema_find(&input->types, name); /* absent when no type is needed, or all rows are bad */
    schema_field *f = schema_add(out, name, err);
    return f && (!typed || schema_copy_type(out, &f->type, &typed->type, err));
}

static bool add_kept_column(const run_spec *spec, const rows_summary *input, const run_columns *outputs, sv name, schema *out,
                            gv_err *err) {
    for (size_t i = 0; i < outputs->n; i++)
        if (sv_eq(outputs->v[i].name, name)) return run_column_type(spec, &outputs->v[i], out, err);
    return add_input_column(out, input, name, err);
}

/* Names, order and types of the table's columns. */
static bool output_columns(const run_spec *spec, const rows_summary *input, const run_columns *outputs, schema *out, gv_err *err) {
    for (size_t i = 0; i < spec->n_keep; i++)
        if (!add_kept_column(spec, input, outputs, sv_of(spec->keep[i]), out, err)) return false;
    if (spec->keep) return true;
    for (size_t i = 0; i < input->n_columns; i++)
        if (!run_columns_has(outputs, input->columns[i]) && !add_input_column(out, input, input->columns[i], err)) return false;
    for (size_t i = 0; i < outputs->n; i++)
        if (!run_column_type(spec, &outputs->v[i], out, err)) return false;
    return true;
}

/* ---- checks before the run ---- */

typedef struct column_check {
    const run_spec *spec;
    const rows_summary *input;
    run_columns outputs;
} column_check;

static bool input_has(const rows_summary *input, const char *column) {
    for (size_t i = 0; i < input->n_columns; i++)
        if (sv_is(input->columns[i], column)) return true;
    return false;
}

static bool has_column(void *ctx, const char *name) {
    const column_check *c = ctx;
    return input_has(c->input, run_mapped(c->spec, name));
}

static const char *shown_name(const run_spec *spec) {
    return spec->rows.name ? spec->rows.name : strcmp(spec->input, "-") == 0 ? "standard input" : spec->input;
}

/* kept: the column may also be one of the output, so the name that was meant may be. */
static bool no_column(const column_check *c, const char *column, const char *why, bool kept, gv_err *err) {
    const rows_summary *input = c->input;
    const char **names = gv_xcalloc(input->n_columns + c->outputs.n + 1, sizeof *names);
    arena a;
    arena_init(&a);
    buf list = {0};
    for (size_t i = 0; i < input->n_columns; i++) {
        names[i] = arena_dup(&a, input->columns[i].p, input->columns[i].n);
        if (i < 20) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    if (input->n_columns > 20) buf_printf(&list, " and %zu more", input->n_columns - 20);
    for (size_t i = 0; kept && i < c->outputs.n; i++)
        names[input->n_columns + i] = arena_dup(&a, c->outputs.v[i].name.p, c->outputs.v[i].name.n);
    const char *near = nearest_name(column, names);
    gv_fail(err, GV_USAGE, -1, "%s: no column \"%s\"%s; the columns are %s%s%s%s", shown_name(c->spec), column, why,
            list.p ? list.p : "none", near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    buf_fini(&list);
    arena_fini(&a);
    free(names);
    return false;
}

static bool check_keep(const column_check *c, gv_err *err) {
    const run_spec *spec = c->spec;
    for (size_t i = 0; i < spec->n_keep; i++) {
        const char *k = spec->keep[i];
        if (!run_columns_has(&c->outputs, sv_of(k)) && !input_has(c->input, k)) return no_column(c, k, " to keep", true, err);
        for (size_t m = 0; m < i; m++)
            if (strcmp(spec->keep[m], k) == 0) return gv_fail(err, GV_USAGE, -1, "--keep names the column \"%s\" twice", k);
    }
    return true;
}

/* Said once before the run: such columns of the input are not in the output. */
static void warn_of_outputs(const column_check *c) {
    buf list = {0};
    for (size_t i = 0; i < c->input->n_columns; i++)
        if (run_columns_has(&c->outputs, c->input->columns[i]))
            buf_printf(&list, "%s" SV_FMT, list.n ? ", " : "", SV_ARG(c->input->columns[i]));
    if (list.n) log_msg(LOG_WARN, "%s has columns with names of the output, which replaces them: %s", shown_name(c->spec), list.p);
    buf_fini(&list);
}

static bool check_columns(column_check *c, gv_err *err) {
    const run_spec *spec = c->spec;
    const rows_summary *input = c->input;
    warn_of_outputs(c);
    if (input->n_selected == input->n_bad) return check_keep(c, err); /* no good row: each says why itself */
    const char *missing = prompt_missing_column(&spec->prompt, has_column, c);
    if (missing) return no_column(c, run_mapped(spec, missing), " (name it with --map)", false, err);
    if (spec->rubric_col && !input_has(input, spec->rubric_col)) return no_column(c, spec->rubric_col, " (--rubric-col)", false, err);
    return check_keep(c, err);
}

bool run_check_columns(const run_spec *spec, const rows_summary *input, gv_err *err) {
    arena a;
    arena_init(&a);
    column_check c = {spec, input, run_columns_make(spec, &a)};
    schema columns;
    schema_init(&columns);
    const bool ok = run_check_rubrics(spec, err) && check_columns(&c, err) && output_columns(spec, input, &c.outputs, &columns, err) &&
                    (!spec->out || rows_writer_check_types(spec->out, &columns, err));
    schema_fini(&columns);
    arena_fini(&a);
    return ok;
}

/* ---- rows of the table ---- */

sv run_cell_text(arena *a, sv s) {
    buf b = {0};
    json_put_string(&b, s);
    sv raw = {arena_dup(a, b.p, b.n), b.n};
    buf_fini(&b);
    return raw;
}

sv run_cell_result(arena *a, const judgment *g) {
    if (g->status != JUDGMENT_OK) return SV("null");
    const char *text = g->verdict >= 'A' ? arena_printf(a, "\"%c\"", g->verdict) : arena_printf(a, "%d", g->verdict);
    return sv_of(text);
}

sv run_cell_double(arena *a, double v) {
    buf b = {0};
    json_put_double(&b, v);
    sv raw = {arena_dup(a, b.p, b.n), b.n};
    buf_fini(&b);
    return raw;
}

/* What write_row and its helpers work with. */
typedef struct table {
    const run_spec *spec;
    journal *j;
    run_columns outputs;
    rows_writer *w;
    const lm_caps *caps;
    run_summary *sum;
    arena columns_arena, a; /* of the table; of a row */
} table;

static bool read_judgment(table *t, journal_key key, judgment *g, gv_err *err) {
    buf record = {0};
    bool found = false, ok = false;
    if (!journal_get(t->j, key, &found, NULL, &record, err)) goto done;
    if (!found) {
        gv_fail(err, GV_STATE, (int64_t)key.row, "%s: row %llu is not in the journal", t->spec->out, (unsigned long long)key.row);
        goto done;
    }
    ok = judgment_from_json(buf_view(&record), g, &t->a, err) ||
         gv_context(err, "%s, row %llu", journal_path(t->j), (unsigned long long)key.row);
done:
    buf_fini(&record);
    return ok;
}

/* The cells of all output columns of row `number`. */
static bool judged_cells(table *t, uint64_t number, rows_cell *cells, gv_err *err) {
    const uint32_t n = run_n_samples(t->spec);
    judgment *g = arena_alloc(&t->a, n * sizeof *g);
    for (size_t k = 0; k < run_n_variants(t->spec); k++) {
        for (uint32_t i = 0; i < n; i++) {
            if (!read_judgment(t, run_key(number, k, i), &g[i], err)) return false;
            t->sum->judgments++;
            t->sum->by_status[g[i].status]++;
            t->sum->n_long += warn_is_long(t->caps->known, g[i].prompt_tokens, g[i].output_tokens);
            *(g[i].status == JUDGMENT_OK ? &t->sum->ok : &t->sum->failed) += 1;
        }
        for (size_t c = 0; c < t->outputs.n; c++)
            if (t->outputs.v[c].rubric == k)
                cells[c] = (rows_cell){.name = t->outputs.v[c].name,
                                       .raw = run_column_cell(&t->outputs.v[c], g, n, sv_of(t->caps->model_name), &t->a)};
    }
    return true;
}

static const rows_cell *find_cell(const rows_cell *cells, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (sv_is(cells[i].name, name)) return &cells[i];
    return NULL;
}

/* Cells of one output row; capacity: the row's columns, the outputs and --keep. */
static bool row_cells(table *t, const row *r, rows_cell *cells, size_t *n_cells, gv_err *err) {
    const run_spec *spec = t->spec;
    size_t n = 0;
    for (size_t i = 0; i < r->n_columns; i++)
        if (!run_columns_has(&t->outputs, r->columns[i].name))
            cells[n++] = (rows_cell){r->columns[i].name, r->columns[i].raw_name, r->columns[i].raw};
    if (!judged_cells(t, r->number, cells + n, err)) return false;
    *n_cells = n += t->outputs.n;
    if (!spec->keep) return true;
    rows_cell *kept = arena_alloc(&t->a, (spec->n_keep + 1) * sizeof *kept);
    for (size_t i = 0; i < spec->n_keep; i++) {
        const rows_cell *c = find_cell(cells, n, spec->keep[i]);
        kept[i] = c ? *c : (rows_cell){.name = sv_of(spec->keep[i]), .raw = SV("null")};
    }
    memcpy(cells, kept, spec->n_keep * sizeof *kept);
    *n_cells = spec->n_keep;
    return true;
}

static rows_writer *open_writer(const table *t, const rows_summary *input, gv_err *err) {
    schema columns;
    schema_init(&columns);
    rows_writer *w =
        output_columns(t->spec, input, &t->outputs, &columns, err) ? rows_writer_open_typed(t->spec->out, &columns, err) : NULL;
    schema_fini(&columns);
    return w;
}

static bool write_row(table *t, const row *r, gv_err *err) {
    rows_cell *cells = arena_alloc(&t->a, (r->n_columns + t->outputs.n + t->spec->n_keep + 1) * sizeof *cells);
    size_t n = 0;
    t->sum->rows++;
    const bool ok = row_cells(t, r, cells, &n, err) && rows_writer_put(t->w, cells, n, err);
    arena_reset(&t->a);
    return ok;
}

static bool write_rows(table *t, rows_reader *r, gv_err *err) {
    bool end = false;
    row at;
    for (;;) {
        if (!rows_next(r, &at, &end, err)) return false;
        if (end) return true;
        if (!write_row(t, &at, err)) return false;
    }
}

bool run_write_output(const run_spec *spec, const char *input_path, const rows_summary *input, journal *j, const lm_caps *caps,
                      run_summary *sum, gv_err *err) {
    table t = {.spec = spec, .j = j, .caps = caps, .sum = sum};
    arena_init(&t.columns_arena);
    arena_init(&t.a);
    t.outputs = run_columns_make(spec, &t.columns_arena);
    t.w = open_writer(&t, input, err);
    rows_reader *r = t.w ? rows_open_again(input_path, &spec->rows, input, err) : NULL;
    bool ok = r && write_rows(&t, r, err);
    if (ok)
        ok = rows_writer_commit(t.w, err);
    else
        rows_writer_abandon(t.w);
    rows_close(r);
    arena_fini(&t.columns_arena);
    arena_fini(&t.a);
    return ok;
}
