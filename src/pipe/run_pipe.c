/* The order of a pipeline's run, its journal and its settings.  See run_pipe.h. */
#include "pipe/run_pipe.h"

#include "base/file.h"
#include "base/thread.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>

enum { PROGRESS_US = 100000 };

void pipe_summary_fini(pipe_summary *s) {
    free(s->judges);
    *s = (pipe_summary){0};
}

void pipe_show_progress(pipe_runner *r, bool final) {
    const int64_t now = clock_mono_us();
    run_progress *p = &r->sum->last;
    if (!final && now - r->shown_us < PROGRESS_US) return;
    r->shown_us = now;
    p->elapsed_us = now - r->start_us;
    if (r->model) p->lm = lm_get_stats(r->model);
    p->final = final;
    if (r->spec->progress) r->spec->progress(r->spec->progress_ctx, p);
    p->shown_us += clock_mono_us() - now;
}

bool pipe_stopped(const pipe_runner *r, gv_err *err) {
    return r->spec->stop && *r->spec->stop && !gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
}

/* ---- settings ---- */

/* Arguments as one level of "step.argument.key": value; what decides no row is left out. */
static void flatten(const json_value *v, const char *path, buf *out) {
    static const char *const skipped[] = {"runtime_parameters_info",
                                          "type_info",
                                          "resources",
                                          "cuda_devices",
                                          "disable_cuda_device_placement",
                                          "jobs_ids",
                                          "use_cache",
                                          "input_batch_size",
                                          "batch_size",
                                          "extra_kwargs",
                                          NULL};
    for (json_iter it = json_each(v); json_next(&it);) {
        bool skip = false;
        for (const char *const *s = skipped; *s; s++) skip = skip || sv_is(it.key, *s);
        if (skip || json_kind_of(it.value) == JSON_NULL) continue;
        buf key = {0};
        buf_printf(&key, "%s." SV_FMT, path, SV_ARG(it.key));
        if (json_kind_of(it.value) == JSON_OBJECT) {
            flatten(it.value, key.p, out);
        } else {
            buf_add_char(out, ',');
            json_put_string(out, buf_view(&key));
            buf_add_char(out, ':');
            pipe_put_value(it.value, out);
        }
        buf_fini(&key);
    }
}

/* Which steps decide judgments: judges, and those whose rows reach one.  What comes behind the last judge may change at any time. */
static void mark_deciding(const pipeline *p, bool *deciding) {
    for (size_t k = p->n_steps; k-- > 0;) {
        const pipe_step *s = &p->steps[p->order[k]];
        deciding[p->order[k]] = s->kind == PIPE_JUDGE;
        for (size_t a = 0; a < s->n_after; a++) deciding[p->order[k]] |= deciding[s->after[a]];
    }
}

static void settings(const pipe_runner *r, char (*digests)[65], buf *out) {
    bool deciding[PIPE_MAX_STEPS] = {false};
    mark_deciding(r->p, deciding);
    buf_add_str(out, "{\"kind\":\"pipeline\"");
    for (size_t i = 0; i < r->p->n_steps; i++) {
        const pipe_step *s = &r->p->steps[i];
        buf before = {0};
        if (!deciding[i]) continue;
        buf_printf(out, ",\"%s class\":\"%s\"", s->name, s->class_name);
        for (size_t k = 0; k < s->n_before; k++) buf_printf(&before, "%s%s", k ? "," : "", r->p->steps[s->before[k]].name);
        buf_printf(out, ",\"%s rows from\":\"%s\"", s->name, before.p ? before.p : "");
        buf_fini(&before);
        if (digests[i][0]) buf_printf(out, ",\"%s rows sha256\":\"%s\"", s->name, digests[i]);
        flatten(s->json, s->name, out);
    }
    buf_add_char(out, '}');
}

/* ---- journal ---- */

static bool open_journal(pipe_runner *r, gv_err *err) {
    buf log = {0};
    run_journal_path(r->spec->out, &r->journal_path);
    buf_printf(&log, "%s.log", r->journal_path.p);
    bool ok = !r->spec->fresh || journal_remove(r->journal_path.p, err);
    r->j = ok ? journal_open(r->journal_path.p, JOURNAL_OPEN, err) : NULL;
    if (r->j) r->log = run_log_open(log.p, err);
    buf_fini(&log);
    return r->j && r->log;
}

/* The judging steps by their number in the journal's keys, for `gavel export`. */
static bool set_judges(pipe_runner *r, gv_err *err) {
    buf text = {0};
    for (size_t k = 0; k < r->p->n_steps; k++) {
        const pipe_step *s = &r->p->steps[r->p->order[k]];
        const json_value *mode = pipe_arg(s->json, "mode");
        if (s->kind != PIPE_JUDGE) continue;
        buf_add_str(&text, text.n ? ",{\"step\":" : "[{\"step\":");
        json_put_string(&text, sv_of(s->name));
        buf_printf(&text, ",\"relative\":%s}", mode && sv_is(json_string(mode), "relative") ? "true" : "false");
    }
    buf_add_char(&text, ']');
    const bool ok = journal_set_meta(r->j, "judges", buf_view(&text), err);
    buf_fini(&text);
    return ok;
}

static bool same_settings(pipe_runner *r, char (*digests)[65], gv_err *err) {
    buf then = {0}, now = {0};
    bool found = false;
    settings(r, digests, &now);
    bool ok = journal_get_meta(r->j, "settings", &found, &then, err);
    if (ok && found && journal_count(r->j).records)
        ok = run_settings_same(r->journal_path.p, buf_view(&then), buf_view(&now), err);
    else if (ok && journal_count(r->j).records)
        ok = gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: it has records but no text \"settings\"; start anew with --fresh",
                     r->journal_path.p);
    else if (ok) /* new, or nothing was judged with what it says */
        ok = journal_set_meta(r->j, "settings", buf_view(&now), err) && journal_set_meta(r->j, "gavel_version", SV(GAVEL_VERSION), err) &&
             set_judges(r, err);
    buf_fini(&then);
    buf_fini(&now);
    return ok;
}

/* ---- steps ---- */

static void init(pipe_runner *r, const pipeline *p, const pipe_run_spec *spec, pipe_summary *sum) {
    *r = (pipe_runner){.p = p, .spec = spec, .sum = sum};
    *sum = (pipe_summary){0};
    arena_init(&r->a);
    r->tables = gv_xcalloc(p->n_steps, sizeof *r->tables);
    r->columns = gv_xcalloc(p->n_steps, sizeof *r->columns);
    r->loaded = gv_xcalloc(p->n_steps, sizeof *r->loaded);
    for (size_t i = 0; i < p->n_steps; i++) sum->n_judges += p->steps[i].kind == PIPE_JUDGE;
    sum->judges = gv_xcalloc(sum->n_judges + 1, sizeof *sum->judges);
    r->judges = gv_xcalloc(sum->n_judges + 1, sizeof *r->judges);
    r->start_us = clock_mono_us();
}

static void fini(pipe_runner *r) {
    for (size_t i = 0; i < r->p->n_steps; i++) pipe_table_fini(&r->tables[i]);
    free(r->tables);
    free(r->columns);
    free(r->loaded);
    free(r->judges);
    lm_free(r->model);
    free(r->model_key);
    journal_close(r->j);
    buf_fini(&r->journal_path);
    arena_fini(&r->a);
}

/* Rows of all first steps and the columns of all steps, before a model is loaded. */
static bool load_all(pipe_runner *r, char (*digests)[65], gv_err *err) {
    for (size_t i = 0; i < r->p->n_steps; i++) {
        const pipe_step *s = &r->p->steps[i];
        if (s->n_before) continue;
        if (!pipe_load_rows(r, s, &(pipe_loaded){&r->tables[i], &r->columns[i], &r->loaded[i]}, digests[i], err)) return false;
        if (r->tables[i].n == 0) return gv_fail(err, GV_USAGE, -1, "step \"%s\" has no rows", s->name);
    }
    r->sum->loaded = true;
    return pipe_check_columns(r->p, r->columns, &r->a, err);
}

bool pipe_pass_rows(const pipeline *p, size_t i, const pipe_table *tables, const pipe_table *loaded, run_log *log, arena *a,
                    pipe_table *out, gv_err *err) {
    const pipe_step *s = &p->steps[i];
    const pipe_table *in[PIPE_MAX_STEPS] = {loaded};
    const char *names[PIPE_MAX_STEPS] = {"--dataset"};
    for (size_t k = 0; k < s->n_before; k++) {
        in[k] = &tables[s->before[k]];
        names[k] = p->steps[s->before[k]].name;
    }
    if (!pipe_is_source(s->kind)) return pipe_step_run(s, in, s->n_before ? s->n_before : 1, names, log, a, out, err);
    const pipe_row hidden = {0}; /* its rows are there; only their columns get other names */
    const bool renamed = json_size(pipe_arg_map(s, "output_mappings")) > 0;
    for (size_t k = 0; k < loaded->n; k++) pipe_table_add(out, renamed ? pipe_row_map_out(s, &loaded->v[k], &hidden, a) : loaded->v[k]);
    return true;
}

static bool run_step(pipe_runner *r, size_t i, size_t *judges, gv_err *err) {
    const pipe_step *s = &r->p->steps[i];
    const pipe_table *from = s->n_before ? &r->tables[s->before[0]] : &r->tables[i];
    pipe_table out = {0};
    const bool ok = s->kind == PIPE_JUDGE ? pipe_judge_rows(r, s, (*judges)++, from, &out, err)
                                          : pipe_pass_rows(r->p, i, r->tables, &r->tables[i], r->log, &r->a, &out, err);
    pipe_table_fini(&r->tables[i]);
    r->tables[i] = out;
    if (ok && s->n_after == 0) r->sum->rows_out += out.n;
    return ok;
}

bool pipe_run(const pipeline *p, const pipe_run_spec *spec, pipe_summary *out, gv_err *err) {
    pipe_runner r;
    char(*digests)[65] = gv_xcalloc(p->n_steps, sizeof *digests);
    size_t judges = 0;
    init(&r, p, spec, out);
    bool ok = pipe_check_given(p, spec, err) && (!spec->out || pipe_check_output(p, spec, err)) && load_all(&r, digests, err) &&
              pipe_preflight(&r, err) && (!spec->out || (open_journal(&r, err) && same_settings(&r, digests, err)));
    run_log_put(r.log, RUN_LOG_INFO, "pipeline '%s': %llu rows", p->name, (unsigned long long)out->rows_in);
    if (r.n_bad_rows)
        run_log_put(r.log, RUN_LOG_WARNING, "%llu rows break their format, and their columns are null: %s",
                    (unsigned long long)r.n_bad_rows, r.first_bad_row);
    ok = ok && pipe_check_models(&r, err);
    for (size_t k = 0; ok && k < p->n_steps; k++) ok = run_step(&r, p->order[k], &judges, err);
    pipe_tell_failures(&r);
    if (ok && spec->out) {
        gv_err log_err = GV_ERR_INIT;
        ok = run_log_close(r.log, &log_err) || gv_fail(err, log_err.code, -1, "%s", log_err.msg);
        r.log = NULL;
        ok = ok && pipe_write_output(&r, err) && journal_sync(r.j, err);
    }
    if (ok) pipe_show_progress(&r, true);
    gv_err ignored = GV_ERR_INIT;
    if (!run_log_close(r.log, &ignored) && ok) ok = gv_fail(err, ignored.code, -1, "%s", ignored.msg);
    fini(&r);
    free(digests);
    return ok;
}

bool pipe_survey(const pipeline *p, const pipe_run_spec *spec, pipe_summary *out, gv_err *err) {
    pipe_runner r;
    char(*digests)[65] = gv_xcalloc(p->n_steps, sizeof *digests);
    init(&r, p, spec, out);
    const bool ok = pipe_check_given(p, spec, err) && (!spec->out || pipe_check_configs(p, spec->out, err)) && load_all(&r, digests, err) &&
                    pipe_preflight(&r, err);
    fini(&r);
    free(digests);
    return ok;
}
