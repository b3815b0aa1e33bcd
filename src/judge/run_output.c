/* The output table: input columns in order, then feedback, result, status, message, model_name and what was asked for.
 *
 * It is written from the input and the journal alone, so a resumed run gives the same bytes as an uninterrupted one.  An input column with
 * the name of an output column gives way to it; the command line says so before the run. */
#include "judge/run_internal.h"

#include "base/log.h"

#include <stdlib.h>

static const char *const output_names[] = {"feedback", "result", "status", "message", "model_name", "expected_score", NULL};

static size_t n_outputs(const run_spec *spec) {
    return spec->expected_score ? 6 : 5;
}

static bool is_output(const run_spec *spec, sv name) {
    for (size_t i = 0; i < n_outputs(spec); i++)
        if (sv_is(name, output_names[i])) return true;
    return false;
}

const char *run_mapped(const run_spec *spec, const char *name) {
    for (size_t i = 0; spec->rows.map && i < spec->rows.map->n; i++)
        if (strcmp(spec->rows.map->v[i].name, name) == 0) return spec->rows.map->v[i].column;
    return name;
}

/* ---- checks before the run ---- */

typedef struct column_check {
    const run_spec *spec;
    const rows_summary *input;
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

static bool no_column(const run_spec *spec, const rows_summary *input, const char *column, const char *why, gv_err *err) {
    const char **names = gv_xcalloc(input->n_columns + n_outputs(spec) + 1, sizeof *names);
    arena a;
    arena_init(&a);
    buf list = {0};
    for (size_t i = 0; i < input->n_columns; i++) {
        names[i] = arena_dup(&a, input->columns[i].p, input->columns[i].n);
        if (i < 20) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    if (input->n_columns > 20) buf_printf(&list, " and %zu more", input->n_columns - 20);
    const char *near = nearest_name(column, names);
    gv_fail(err, GV_USAGE, -1, "%s: no column \"%s\"%s; the columns are %s%s%s%s", shown_name(spec), column, why, list.p ? list.p : "none",
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    buf_fini(&list);
    arena_fini(&a);
    free(names);
    return false;
}

static bool check_keep(const run_spec *spec, const rows_summary *input, gv_err *err) {
    for (size_t i = 0; i < spec->n_keep; i++) {
        const char *k = spec->keep[i];
        if (!is_output(spec, sv_of(k)) && !input_has(input, k)) return no_column(spec, input, k, " to keep", err);
        for (size_t m = 0; m < i; m++)
            if (strcmp(spec->keep[m], k) == 0) return gv_fail(err, GV_USAGE, -1, "--keep names the column \"%s\" twice", k);
    }
    return true;
}

/* Said once before the run: such columns of the input are not in the output. */
static void warn_of_outputs(const run_spec *spec, const rows_summary *input) {
    buf list = {0};
    for (size_t i = 0; i < input->n_columns; i++)
        if (is_output(spec, input->columns[i])) buf_printf(&list, "%s" SV_FMT, list.n ? ", " : "", SV_ARG(input->columns[i]));
    if (list.n) log_msg(LOG_WARN, "%s has columns with names of the output, which replaces them: %s", shown_name(spec), list.p);
    buf_fini(&list);
}

bool run_check_columns(const run_spec *spec, const rows_summary *input, gv_err *err) {
    warn_of_outputs(spec, input);
    if (input->n_selected == input->n_bad) return check_keep(spec, input, err); /* no good row: each says why itself */
    column_check c = {spec, input};
    const char *missing = prompt_missing_column(&spec->prompt, has_column, &c);
    if (missing) return no_column(spec, input, run_mapped(spec, missing), " (name it with --map)", err);
    if (spec->rubric_col && !input_has(input, spec->rubric_col)) return no_column(spec, input, spec->rubric_col, " (--rubric-col)", err);
    return check_keep(spec, input, err);
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

static void judged_cells(const run_spec *spec, const judgment *j, sv model_name, arena *a, rows_cell *cells) {
    const bool ok = j->status == JUDGMENT_OK;
    const sv raw[] = {ok && j->has_feedback ? run_cell_text(a, j->feedback) : SV("null"),
                      run_cell_result(a, j),
                      run_cell_text(a, sv_of(judgment_status_name(j->status))),
                      j->message.n ? run_cell_text(a, j->message) : SV("null"),
                      run_cell_text(a, model_name),
                      ok && j->has_logprobs ? run_cell_double(a, j->expected_score) : SV("null")};
    for (size_t i = 0; i < n_outputs(spec); i++) cells[i] = (rows_cell){.name = sv_of(output_names[i]), .raw = raw[i]};
}

static const rows_cell *find_cell(const rows_cell *cells, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (sv_is(cells[i].name, name)) return &cells[i];
    return NULL;
}

/* Cells of one output row; capacity: the row's columns, the outputs and --keep. */
static size_t row_cells(const run_spec *spec, const row *r, const judgment *j, sv model_name, arena *a, rows_cell *cells) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_columns; i++)
        if (!is_output(spec, r->columns[i].name)) cells[n++] = (rows_cell){r->columns[i].name, r->columns[i].raw_name, r->columns[i].raw};
    judged_cells(spec, j, model_name, a, cells + n);
    n += n_outputs(spec);
    if (!spec->keep) return n;
    rows_cell *kept = arena_alloc(a, (spec->n_keep + 1) * sizeof *kept);
    for (size_t i = 0; i < spec->n_keep; i++) {
        const rows_cell *c = find_cell(cells, n, spec->keep[i]);
        kept[i] = c ? *c : (rows_cell){.name = sv_of(spec->keep[i]), .raw = SV("null")};
    }
    memcpy(cells, kept, spec->n_keep * sizeof *kept);
    return spec->n_keep;
}

static rows_writer *open_writer(const run_spec *spec, const rows_summary *input, gv_err *err) {
    sv *columns = gv_xcalloc(input->n_columns + n_outputs(spec) + spec->n_keep + 1, sizeof *columns);
    size_t n = 0;
    if (spec->keep) {
        for (size_t i = 0; i < spec->n_keep; i++) columns[n++] = sv_of(spec->keep[i]);
    } else {
        for (size_t i = 0; i < input->n_columns; i++)
            if (!is_output(spec, input->columns[i])) columns[n++] = input->columns[i];
        for (size_t i = 0; i < n_outputs(spec); i++) columns[n++] = sv_of(output_names[i]);
    }
    rows_writer *w = rows_writer_open(spec->out, columns, n, err);
    free(columns);
    return w;
}

static bool write_row(const run_spec *spec, rows_writer *w, const row *r, journal *j, sv model_name, run_summary *sum, arena *a,
                      gv_err *err) {
    buf record = {0};
    bool found = false, ok = false;
    judgment g;
    rows_cell *cells = arena_alloc(a, (r->n_columns + spec->n_keep + 8) * sizeof *cells);
    if (!journal_get(j, (journal_key){.row = r->number}, &found, NULL, &record, err)) goto done;
    if (!found) {
        gv_fail(err, GV_STATE, (int64_t)r->number, "%s: row %llu is not in the journal", spec->out, (unsigned long long)r->number);
        goto done;
    }
    if (!judgment_from_json(buf_view(&record), &g, a, err)) {
        gv_context(err, "%s, row %llu", journal_path(j), (unsigned long long)r->number);
        goto done;
    }
    sum->rows++;
    sum->by_status[g.status]++;
    *(g.status == JUDGMENT_OK ? &sum->ok : &sum->failed) += 1;
    ok = rows_writer_put(w, cells, row_cells(spec, r, &g, model_name, a, cells), err);
done:
    buf_fini(&record);
    return ok;
}

bool run_write_output(const run_spec *spec, const char *input_path, const rows_summary *input, journal *j, sv model_name, run_summary *sum,
                      gv_err *err) {
    arena a;
    arena_init(&a);
    bool end = false, ok = false;
    rows_writer *w = open_writer(spec, input, err);
    rows_reader *r = w ? rows_open_again(input_path, &spec->rows, input, err) : NULL;
    row at;
    if (!r) goto done;
    for (;;) {
        if (!rows_next(r, &at, &end, err)) goto done;
        if (end) break;
        if (!write_row(spec, w, &at, j, model_name, sum, &a, err)) goto done;
        arena_reset(&a);
    }
    ok = rows_writer_commit(w, err);
    w = NULL;
done:
    rows_close(r);
    rows_writer_abandon(w);
    arena_fini(&a);
    return ok;
}
