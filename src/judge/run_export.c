/* gavel export: a journal's records as a table, without the run's input.
 *
 * The columns are the same for every record, so that a CSV has them all: absent values are null.  With `all` they are the record's fields, then
 * the settings of the run under their own names ("input sha256" becomes input_sha256); a setting that is a field of the record already is
 * left out.  A pipeline's journal has several judging steps: each record says its step and has its model's name, and the settings are one text.
 * docs/journal.md lists them. */
#include "judge/run_internal.h"

enum { MAX_FIELDS = 28, MAX_CELLS = 96 };

/* A judging step of a pipeline, by its number in the keys. */
typedef struct export_judge {
    sv step, model_name; /* cells */
    bool relative;
} export_judge;

typedef struct export {
    bool all, expected, relative, several; /* several judgments a row: rubric and sample are told */
    bool pipeline, mixed;                  /* mixed: steps of both modes, so results are text */
    export_judge *judges;                  /* of a pipeline; one that is not known has nulls */
    size_t n_judges;
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

static export_judge judge_of(const export *x, size_t number) {
    return number < x->n_judges ? x->judges[number] : (export_judge){.step = SV("null"), .model_name = SV("null")};
}

static sv result(const export *x, const judgment *g, arena *a) {
    const sv raw = run_cell_result(a, g);
    return x->mixed && !sv_is(raw, "null") && raw.p[0] != '"' ? run_cell_text(a, raw) : raw;
}

static size_t every_field(const export *x, const judgment *g, size_t number, arena *a, rows_cell *c) {
    size_t n = 0;
    put(c, &n, "row", sv_of(arena_printf(a, "%llu", (unsigned long long)g->row)));
    put(c, &n, "id", run_cell_text(a, g->row_id));
    if (x->pipeline) put(c, &n, "step", judge_of(x, number).step);
    put(c, &n, "row_hash", text_or_null(a, sv_of(g->row_hash)));
    put(c, &n, "rubric", text_or_null(a, g->rubric));
    put(c, &n, "order", g->order ? run_cell_text(a, (sv){&g->order, 1}) : SV("null"));
    put(c, &n, "sample", integer(a, g->sample));
    put(c, &n, "attempt", integer(a, g->attempt));
    put(c, &n, "seed", sv_of(arena_printf(a, "%llu", (unsigned long long)g->seed)));
    put(c, &n, "feedback", g->has_feedback ? run_cell_text(a, g->feedback) : SV("null"));
    put(c, &n, "result", result(x, g, a));
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
    if (x->pipeline) put(c, &n, "model_name", judge_of(x, number).model_name);
    return n;
}

static size_t main_fields(const export *x, const judgment *g, size_t number, arena *a, rows_cell *c) {
    const bool ok = g->status == JUDGMENT_OK;
    size_t n = 0;
    put(c, &n, "row", sv_of(arena_printf(a, "%llu", (unsigned long long)g->row)));
    put(c, &n, "id", run_cell_text(a, g->row_id));
    if (x->pipeline) put(c, &n, "step", judge_of(x, number).step);
    if (x->several) put(c, &n, "rubric", text_or_null(a, g->rubric));
    if (x->several) put(c, &n, "sample", integer(a, g->sample));
    put(c, &n, "feedback", ok && g->has_feedback ? run_cell_text(a, g->feedback) : SV("null"));
    put(c, &n, "result", result(x, g, a));
    put(c, &n, "status", run_cell_text(a, sv_of(judgment_status_name(g->status))));
    put(c, &n, "message", text_or_null(a, g->message));
    put(c, &n, "model_name", x->pipeline ? judge_of(x, number).model_name : x->model_name);
    if (x->expected) put(c, &n, "expected_score", ok && g->has_logprobs ? run_cell_double(a, g->expected_score) : SV("null"));
    return n;
}

static size_t row_cells(const export *x, const judgment *g, size_t number, arena *a, rows_cell *cells) {
    if (!x->all) return main_fields(x, g, number, a, cells);
    const size_t n = every_field(x, g, number, a, cells);
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
    if (x->n_run == MAX_CELLS - MAX_FIELDS || is_named(fields, every_field(x, &none, 0, &x->a, fields), shown) ||
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

/* ---- of a pipeline ---- */

static bool read_model_name(export *x, journal *j, sv step, export_judge *to, gv_err *err) {
    buf key = {0}, text = {0};
    bool found;
    buf_printf(&key, "model " SV_FMT, SV_ARG(step));
    bool ok = journal_get_meta(j, key.p, &found, &text, err);
    json_doc *d = ok && found ? json_parse(buf_view(&text), err) : NULL;
    const json_value *name = d ? json_get(json_root(d), "model") : NULL;
    ok = ok && (!found || d);
    if (name && json_kind_of(name) == JSON_STRING) to->model_name = run_cell_text(&x->a, json_string(name));
    json_free(d);
    buf_fini(&key);
    buf_fini(&text);
    return ok;
}

static bool read_judges(export *x, journal *j, sv judges, gv_err *err) {
    json_doc *d = json_parse(judges, err);
    if (!d) return gv_context(err, "%s: its judging steps", journal_path(j));
    size_t n_relative = 0;
    bool ok = true;
    x->judges = arena_alloc(&x->a, (json_size(json_root(d)) + 1) * sizeof *x->judges);
    for (json_iter it = json_each(json_root(d)); ok && json_next(&it); x->n_judges++) {
        const json_value *step = json_get(it.value, "step"), *relative = json_get(it.value, "relative");
        export_judge *to = &x->judges[x->n_judges];
        *to = (export_judge){.step = SV("null"),
                             .model_name = SV("null"),
                             .relative = relative && json_kind_of(relative) == JSON_BOOL && json_bool(relative)};
        n_relative += to->relative;
        if (!step || json_kind_of(step) != JSON_STRING) continue;
        to->step = run_cell_text(&x->a, json_string(step));
        ok = read_model_name(x, j, json_string(step), to, err);
    }
    x->relative = n_relative > 0;
    x->mixed = n_relative > 0 && n_relative < x->n_judges;
    json_free(d);
    return ok;
}

static bool read_pipeline(export *x, journal *j, sv settings, gv_err *err) {
    buf judges = {0}, version = {0};
    bool found, ok = journal_get_meta(j, "judges", &found, &judges, err) && (!found || read_judges(x, j, buf_view(&judges), err)) &&
                     journal_get_meta(j, "gavel_version", &found, &version, err);
    x->several = true;
    x->mixed = x->mixed || (ok && x->n_judges == 0); /* of an earlier version: it may have both modes */
    x->relative = x->relative || x->mixed;
    if (ok && found) put_setting(x, SV("gavel_version"), run_cell_text(&x->a, buf_view(&version)));
    if (ok) put_setting(x, SV("settings"), run_cell_text(&x->a, settings));
    buf_fini(&judges);
    buf_fini(&version);
    return ok;
}

/* ---- of any run ---- */

static bool read_run(export *x, journal *j, gv_err *err) {
    static const char *const metas[] = {"model_name", "gavel_version"};
    buf text = {0};
    bool found, ok = true;
    x->model_name = SV("null");
    if (!journal_get_meta(j, "settings", &found, &text, err)) return false;
    x->pipeline = found && run_is_pipeline(buf_view(&text));
    if (x->pipeline) {
        ok = read_pipeline(x, j, buf_view(&text), err);
        buf_fini(&text);
        return ok;
    }
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
    const size_t n = row_cells(x, &none, 0, a, cells);
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
        if (!rows_writer_put(w, cells, row_cells(x, &g, c.key.variant, a, cells), err)) return false;
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
