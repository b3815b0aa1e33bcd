/* What can be known of a run before a row is judged: every step once with placeholders for verdicts, so that joins and lists fail now and rows are
 * counted exactly; then whether each column that comes out has a type, and whether every model opens.  See run_pipe_internal.h. */
#include "data/parquet.h"
#include "pipe/distiset.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- what the command line names ---- */

static bool is_step_name(sv s) {
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == ' ')) return false;
    }
    return s.n > 0;
}

static bool takes(const pipe_step *s, bool model) {
    return model ? s->kind == PIPE_JUDGE : s->n_before == 0;
}

/* "STEP=VALUE": is it a step that a value can be given to?  A value without a step may hold an equals sign, as a file's name. */
static bool check_given(const pipeline *p, const char *option, bool model, const char *text, gv_err *err) {
    const char *equals = strchr(text, '=');
    const sv name = {text, equals ? (size_t)(equals - text) : 0};
    const char *names[PIPE_MAX_STEPS + 1];
    size_t n = 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        if (takes(&p->steps[i], model)) names[n++] = p->steps[i].name;
        if (!sv_is(name, p->steps[i].name)) continue;
        return takes(&p->steps[i], model) ||
               gv_fail(err, GV_USAGE, -1, "%s %s: step \"%s\" is a %s, which %s", option, text, p->steps[i].name, p->steps[i].class_name,
                       model ? "has no model" : "takes its rows from other steps");
    }
    names[n] = NULL;
    if (!is_step_name(name) || sv_is(name, "mock") || access(text, F_OK) == 0) return true;
    buf list = {0};
    char *copy = strndup(name.p, name.n);
    const char *near = copy ? nearest_name(copy, names) : NULL;
    for (size_t i = 0; i < n; i++) buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
    gv_fail(err, GV_USAGE, -1, "%s %s: no step \"" SV_FMT "\" takes %s%s%s%s It has: %s", option, text, SV_ARG(name),
            model ? "a model" : "rows", near ? "; did you mean " : ".", near ? near : "", near ? "?" : "", list.p ? list.p : "none");
    free(copy);
    buf_fini(&list);
    return false;
}

bool pipe_check_given(const pipeline *p, const pipe_run_spec *spec, gv_err *err) {
    for (size_t i = 0; i < spec->n_models; i++)
        if (!check_given(p, "--model", true, spec->models[i], err)) return false;
    for (size_t i = 0; i < spec->n_datasets; i++)
        if (!check_given(p, "--dataset", false, spec->datasets[i], err)) return false;
    return true;
}

bool pipe_has_rows_here(const pipeline *p) {
    bool here = true;
    for (size_t i = 0; i < p->n_steps; i++) {
        const pipe_step *s = &p->steps[i];
        const json_value *files = s->kind == PIPE_LOAD_FILES ? pipe_arg(s->json, "data_files") : NULL;
        buf text = {0};
        if (files) json_put_value(&text, files);
        here = here && (s->n_before || s->kind == PIPE_LOAD_DISK || (files && sv_find(buf_view(&text), SV("://"), 0) == SIZE_MAX));
        buf_fini(&text);
    }
    return here;
}

/* ---- types ---- */

/* The first object type without members below t, whose name goes to path. */
static const schema_type *memberless(const schema_type *t, buf *path) {
    if (t->kind == TYPE_STRUCT && t->n_fields == 0) return t;
    for (size_t i = 0; i < t->n_fields; i++) {
        const size_t n = path->n;
        const schema_field *f = &t->fields[i];
        if (t->kind == TYPE_LIST)
            buf_add_str(path, "[]");
        else
            buf_printf(path, "%s%s", n ? "." : "", str_show(f->name).text);
        if (memberless(&f->type, path)) return &f->type;
        path->n = n;
    }
    return NULL;
}

static bool check_members(const pipe_table *t, const schema *types, gv_err *err) {
    for (size_t c = 0; c < types->root.n_fields; c++) {
        const schema_field *f = &types->root.fields[c];
        buf path = {0};
        str_escape(f->name, 100, &path);
        const bool bad = memberless(&f->type, &path) != NULL;
        size_t at = 0;
        for (const rows_cell *cell; bad && at + 1 < t->n; at++)
            if ((cell = pipe_row_get(&t->v[at], f->name)) && !sv_is(cell->raw, "null")) break;
        if (bad)
            gv_fail(err, GV_FORMAT, (int64_t)at, "column \"%s\": an object without members in row %zu, and no row has one with members",
                    path.p, at);
        buf_fini(&path);
        if (bad) return false;
    }
    return true;
}

/* Does a type have numbers of which not every one that gave the type fits it? */
static bool has_wide_numbers(const schema_type *t) {
    bool has = t->kind == TYPE_FLOAT64 || t->kind == TYPE_UINT64;
    for (size_t i = 0; i < t->n_fields; i++) has = has || has_wide_numbers(&t->fields[i].type);
    return has;
}

static bool check_values(const pipe_table *t, const schema *types, gv_err *err) {
    for (size_t c = 0; c < types->root.n_fields; c++) {
        const schema_field *f = &types->root.fields[c];
        if (!has_wide_numbers(&f->type)) continue;
        for (size_t i = 0; i < t->n; i++) {
            const rows_cell *cell = pipe_row_get(&t->v[i], f->name);
            json_doc *doc = cell ? json_parse(cell->raw, err) : NULL;
            const bool ok = !cell || (doc && pq_value_check(&f->type, json_root(doc), f->name, i, err));
            json_free(doc);
            if (!ok) return false;
        }
    }
    return true;
}

/* Would these rows of a leaf fit a Distiset or a Parquet file? */
static bool check_leaf(pipe_runner *r, const pipe_table *t, size_t leaf, arena *a, gv_err *err) {
    pipe_names columns;
    schema types;
    schema_init(&types);
    pipe_table_columns(t, a, &columns);
    const bool ok = pipe_leaf_types(r, t, leaf, &columns, &types, err) && check_members(t, &types, err) && pq_writer_check(&types, err) &&
                    check_values(t, &types, err);
    schema_fini(&types);
    return ok || gv_context(err, "rows of step \"%s\"", r->p->steps[leaf].name);
}

/* Into out->untyped, or err if the output needs types. */
static bool check_types(pipe_runner *r, const pipe_table *tables, arena *a, gv_err *err) {
    const char *out = r->spec->out;
    const bool folder = out && !pipe_is_file(out), needed = folder || (out && rows_writer_is_typed(out)) || pipe_count_leaves(r->p) > 1;
    gv_err why = GV_ERR_INIT;
    if (out && !needed) return true;
    for (size_t i = 0; i < r->p->n_steps; i++)
        if (r->p->steps[i].n_after == 0 && !check_leaf(r, &tables[i], i, a, &why)) break;
    if (why.code == GV_OK) return true;
    if (needed || why.code == GV_MEMORY)
        return gv_fail(err, why.code, why.where,
                       "%s; a Distiset and .parquet cannot store that: correct the rows, leave the column out with KeepColumns%s", why.msg,
                       pipe_count_leaves(r->p) > 1 ? "" : ", or write .jsonl");
    r->sum->untyped = why;
    return true;
}

/* ---- the steps ---- */

bool pipe_preflight(pipe_runner *r, gv_err *err) {
    const pipeline *p = r->p;
    pipe_table *tables = gv_xcalloc(p->n_steps, sizeof *tables);
    arena a;
    arena_init(&a);
    bool ok = true;
    r->sum->planned = r->sum->planned_rows = 0;
    for (size_t k = 0; ok && k < p->n_steps; k++) {
        const size_t i = p->order[k];
        const pipe_step *s = &p->steps[i];
        if (s->kind == PIPE_JUDGE) {
            const pipe_table *in = s->n_before ? &tables[s->before[0]] : &r->tables[i];
            ok = pipe_judge_pretend(s, in, &a, &tables[i], &r->sum->planned, err);
        } else {
            ok = pipe_pass_rows(p, i, tables, &r->tables[i], NULL, &a, &tables[i], err);
        }
        if (s->n_after == 0) r->sum->planned_rows += tables[i].n;
    }
    ok = ok && check_types(r, tables, &a, err);
    for (size_t i = 0; i < p->n_steps; i++) pipe_table_fini(&tables[i]);
    free(tables);
    arena_fini(&a);
    return ok;
}

/* Backwards, so that the first step's stays open. */
bool pipe_check_models(pipe_runner *r, gv_err *err) {
    for (size_t k = r->p->n_steps; k-- > 0;) {
        const pipe_step *s = &r->p->steps[r->p->order[k]];
        pipe_judge j;
        if (s->kind != PIPE_JUDGE) continue;
        if (!pipe_judge_read(s, &r->a, &j, err) || !pipe_open_model(r, s, &j, err)) return false;
        const lm_caps *caps = lm_peek_caps(r->model);
        if (j.constrained && !caps->constrained)
            return gv_fail(err, GV_UNSUPPORTED, -1, "step \"%s\": %s cannot constrain the verdict; remove llm.structured_output", s->name,
                           caps->model_name);
    }
    return true;
}
