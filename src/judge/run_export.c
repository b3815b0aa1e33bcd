/* gavel export: a journal's records as a table, without the run's input.
 *
 * The columns are the same for every record, so that a CSV has them all: absent values are null.  With `all` they are the record's fields, then
 * the settings of the run under their own names ("input sha256" becomes input_sha256); a setting that is a field of the record already is
 * left out.  docs/journal.md lists them. */
#include "judge/run_internal.h"

enum { MAX_FIELDS = 25, MAX_CELLS = 96 };

typedef struct export {
    bool all, expected, relative, several; /* several judgments a row: rubric and sample are told */
    sv model_name;
    rows_cell run[MAX_CELLS]; /* cells that are the same in every row */
    size_t n_run;
    arena a; /* holds them */
}
export;

static sv integer(arena *a, int64_t v) {
    return sv_of(arena_printf(a, "%lld", (long long)v));
}

static sv text_or_null(arena *a, sv s) {
    return s.n ? run_cell_text(a, s) : SV("null");
}

static sv logprobs(arena *a, const judgment *g) {
    if (!g->has_logprobs) return SV("null");
    buf b = {0};
    for (int i = 0; i < 5; i++) {
        buf_add_char(&b, i ? ',' : '[');
        json_put_double(&b, g->choice_logprob[i]);
    }
    buf_add_char(&b, ']');
    const sv copy = {arena_dup(a, b.p, b.n), b.n};
    buf_fini(&b);
    return copy;
}

static void put(rows_cell *cells, size_t *n, const char *name, sv raw) {
    cells[(*n)++] = (rows_cell){.name = sv_of(name), .raw = raw};
}

static size_t every_field(const judgment *g, arena *a, rows_cell *c) {
    size_t n = 0;
    put(c, &n, "row", sv_of(arena_printf(a, "%llu", (unsigned long long)g->row)));
    put(c, &n, "id", run_cell_text(a, g->row_id));
    put(c, &n, "row_hash", text_or_null(a, sv_of(g->row_hash)));
    put(c, &n, "rubric", text_or_null(a, g->rubric));
    put(c, &n, "order", g->order ? run_cell_text(a, (sv){&g->order, 1}) : SV("null"));
    put(c, &n, "sample", integer(a, g->sample));
    put(c, &n, "attempt", integer(a, g->attempt));
    put(c, &n, "seed", sv_of(arena_printf(a, "%llu", (unsigned long long)g->seed)));
    put(c, &n, "feedback", g->has_feedback ? run_cell_text(a, g->feedback) : SV("null"));
    put(c, &n, "result", run_cell_result(a, g));
    put(c, &n, "status", run_cell_text(a, sv_of(judgment_status_name(g->status))));
    put(c, &n, "message", text_or_null(a, g->message));
    put(c, &n, "raw", g->has_raw ? run_cell_text(a, g->raw) : SV("null"));
    put(c, &n, "finish", text_or_null(a, sv_of(g->finish)));
    put(c, &n, "rule", text_or_null(a, sv_of(g->rule)));
    put(c, &n, "forced", g->forced ? SV("true") : SV("false"));
    put(c, &n, "prompt_tokens", integer(a, g->prompt_tokens));
    put(c, &n, "cached_tokens", integer(a, g->cached_tokens));
    put(c, &n, "output_tokens", integer(a, g->output_tokens));
    put(c, &n, "choice_logprobs", logprobs(a, g));
    put(c, &n, "expected_score", g->has_logprobs ? run_cell_double(a, g->expected_score) : SV("null"));
    put(c, &n, "wait_us", integer(a, g->wait_us));
    put(c, &n, "prefill_us", integer(a, g->prefill_us));
    put(c, &n, "decode_us", integer(a, g->decode_us));
    return n;
}

static size_t main_fields(const export *x, const judgment *g, arena *a, rows_cell *c) {
    const bool ok = g->status == JUDGMENT_OK;
    size_t n = 0;
    put(c, &n, "row", sv_of(arena_printf(a, "%llu", (unsigned long long)g->row)));
    put(c, &n, "id", run_cell_text(a, g->row_id));
    if (x->several) put(c, &n, "rubric", text_or_null(a, g->rubric));
    if (x->several) put(c, &n, "sample", integer(a, g->sample));
    put(c, &n, "feedback", ok && g->has_feedback ? run_cell_text(a, g->feedback) : SV("null"));
    put(c, &n, "result", run_cell_result(a, g));
    put(c, &n, "status", run_cell_text(a, sv_of(judgment_status_name(g->status))));
    put(c, &n, "message", text_or_null(a, g->message));
    put(c, &n, "model_name", x->model_name);
    if (x->expected) put(c, &n, "expected_score", ok && g->has_logprobs ? run_cell_double(a, g->expected_score) : SV("null"));
    return n;
}

static size_t row_cells(const export *x, const judgment *g, arena *a, rows_cell *cells) {
    if (!x->all) return main_fields(x, g, a, cells);
    const size_t n = every_field(g, a, cells);
    memcpy(cells + n, x->run, x->n_run * sizeof *cells);
    return n + x->n_run;
}

/* ---- the run's own cells ---- */

static bool is_named(const rows_cell *cells, size_t n, sv name) {
    for (size_t i = 0; i < n; i++)
        if (sv_eq(cells[i].name, name)) return true;
    return false;
}

static void put_setting(export *x, sv key, sv raw) {
    const judgment none = {0};
    rows_cell fields[MAX_FIELDS];
    char *name = arena_dup(&x->a, key.p, key.n);
    for (size_t i = 0; i < key.n; i++)
        if (name[i] == ' ') name[i] = '_';
    const sv shown = {name, key.n};
    if (x->n_run == MAX_CELLS - MAX_FIELDS || is_named(fields, every_field(&none, &x->a, fields), shown) ||
        is_named(x->run, x->n_run, shown))
        return;
    x->run[x->n_run++] = (rows_cell){.name = shown, .raw = {arena_dup(&x->a, raw.p, raw.n), raw.n}};
}

static bool put_settings(export *x, sv settings, gv_err *err) {
    json_doc *d = json_parse(settings, err);
    if (!d) return gv_context(err, "settings of the run");
    for (json_iter it = json_each(json_root(d)); json_next(&it);) {
        buf raw = {0};
        json_put_value(&raw, it.value);
        if (sv_is(it.key, "expected score") && sv_is(buf_view(&raw), "\"yes\"")) x->expected = true;
        if (!sv_is(it.key, "model")) put_setting(x, it.key, buf_view(&raw));
        buf_fini(&raw);
    }
    json_free(d);
    return true;
}

static bool read_run(export *x, journal *j, gv_err *err) {
    static const char *const metas[] = {"model_name", "gavel_version"};
    buf text = {0};
    bool found, ok = true;
    x->model_name = SV("null");
    for (size_t i = 0; ok && i < 2; i++) {
        buf_clear(&text);
        ok = journal_get_meta(j, metas[i], &found, &text, err);
        ok = ok && run_check_found(j, metas[i], found, err);
        if (!ok || !found) continue;
        const sv raw = run_cell_text(&x->a, buf_view(&text));
        if (i == 0) x->model_name = raw;
        put_setting(x, sv_of(metas[i]), raw);
    }
    buf_clear(&text);
    ok = ok && journal_get_meta(j, "mode", &found, &text, err);
    x->relative = found && sv_is(buf_view(&text), judge_mode_name(JUDGE_RELATIVE));
    buf_clear(&text);
    ok = ok && run_has_several(j, &x->several, err) && journal_get_meta(j, "settings", &found, &text, err) &&
         run_check_found(j, "settings", found, err) && (!found || put_settings(x, buf_view(&text), err));
    buf_fini(&text);
    return ok;
}

/* ---- the table ---- */

/* The column of a cell.  The types of the record's fields are fixed; a setting has the type of its one value. */
static bool add_column(const export *x, const rows_cell *cell, schema *s, gv_err *err) {
    static const char *const integers[] = {"row",           "sample",  "attempt",    "prompt_tokens", "cached_tokens",
                                           "output_tokens", "wait_us", "prefill_us", "decode_us"};
    schema_field *f = schema_add(s, cell->name, err);
    if (!f) return false;
    schema_type *t = &f->type;
    for (size_t i = 0; i < x->n_run; i++)
        if (cell->name.p == x->run[i].name.p) {
            json_doc *d = json_parse(cell->raw, err);
            const bool ok = d && schema_see_value(s, t, json_root(d), cell->name, 0, err);
            json_free(d);
            return ok;
        }
    if (sv_is(cell->name, "choice_logprobs") && !(t = schema_make_list(s, t, err))) return false;
    t->kind = TYPE_STRING;
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
        if (sv_is(cell->name, integers[i])) t->kind = TYPE_INT64;
    if (sv_is(cell->name, "seed")) t->kind = TYPE_UINT64;
    if (sv_is(cell->name, "forced")) t->kind = TYPE_BOOL;
    if (sv_is(cell->name, "result") && !x->relative) t->kind = TYPE_INT64;
    if (sv_is(cell->name, "expected_score") || sv_is(cell->name, "choice_logprobs")) t->kind = TYPE_FLOAT64;
    return true;
}

static rows_writer *open_writer(export *x, const char *out, arena *a, gv_err *err) {
    const judgment none = {0};
    rows_cell cells[MAX_CELLS];
    schema columns;
    schema_init(&columns);
    const size_t n = row_cells(x, &none, a, cells);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) ok = add_column(x, &cells[i], &columns, err);
    rows_writer *w = ok ? rows_writer_open_typed(out, &columns, err) : NULL;
    schema_fini(&columns);
    return w;
}

static bool write_all(const export *x, journal *j, rows_writer *w, arena *a, uint64_t *n_rows, gv_err *err) {
    rows_cell cells[MAX_CELLS];
    journal_cursor c = {0};
    bool end = false;
    for (;;) {
        judgment g;
        arena_reset(a);
        if (!journal_next(j, &c, &end, err)) return false;
        if (end) return true;
        if (!judgment_from_json(c.record, &g, a, err))
            return gv_context(err, "%s, row %llu", journal_path(j), (unsigned long long)c.key.row);
        if (!rows_writer_put(w, cells, row_cells(x, &g, a, cells), err)) return false;
        ++*n_rows;
    }
}

bool run_export(journal *j, const char *out, bool all, uint64_t *n, gv_err *err) {
    export x = {.all = all};
    arena a;
    arena_init(&a);
    arena_init(&x.a);
    *n = 0;
    rows_writer *w = read_run(&x, j, err) ? open_writer(&x, out, &a, err) : NULL;
    bool ok = w && write_all(&x, j, w, &a, n, err);
    if (ok)
        ok = rows_writer_commit(w, err);
    else
        rows_writer_abandon(w);
    arena_fini(&x.a);
    arena_fini(&a);
    return ok;
}
