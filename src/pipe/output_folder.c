/* A Distiset with a config for each leaf.  See run_pipe_internal.h. */
#include "base/yaml_out.h"
#include "pipe/distiset.h"
#include "pipe/run_pipe_internal.h"

static bool add_leaf(pipe_runner *r, distiset *d, size_t leaf, bool only, gv_err *err) {
    const pipe_table *t = &r->tables[leaf];
    pipe_names names;
    size_t config;
    pipe_table_columns(t, &r->a, &names);
    distiset_column *columns = arena_alloc(&r->a, (names.n + 1) * sizeof *columns);
    for (size_t i = 0; i < names.n; i++) {
        columns[i] = (distiset_column){names.v[i], pipe_column_type(r->p, r->columns, r->loaded, leaf, names.v[i])};
    }
    bool ok = distiset_add_config(d, only ? SV(DISTISET_DEFAULT) : sv_of(r->p->steps[leaf].name), columns, names.n, &config, err);
    for (size_t i = 0; ok && i < t->n; i++) ok = distiset_put(d, config, t->v[i].cells, t->v[i].n, err);
    return ok;
}

bool pipe_write_folder(pipe_runner *r, gv_err *err) {
    const bool only = pipe_count_leaves(r->p) == 1;
    const char *citations[PIPE_MAX_STEPS]; /* distilabel gives each judging step's, equal ones too */
    size_t n_citations = 0;
    buf yaml = {0}, log = {0};
    buf_printf(&log, "%s.log", r->journal_path.p);
    yaml_put_json(&yaml, r->p->root, NULL);
    distiset *d = distiset_open(r->spec->out, err);
    bool ok = d != NULL;
    for (size_t i = 0; i < r->p->n_steps; i++)
        if (r->p->steps[i].kind == PIPE_JUDGE) citations[n_citations++] = card_cite_prometheus_eval;
    for (size_t i = 0; ok && i < r->p->n_steps; i++)
        if (r->p->steps[i].n_after == 0) ok = add_leaf(r, d, i, only, err);
    const distiset_about about = {.repo_id = r->spec->repo_id,
                                  .readme = r->spec->readme ? r->spec->readme(r->spec->readme_ctx) : NULL,
                                  .pipeline_yaml = buf_view(&yaml),
                                  .log = log.p,
                                  .citations = citations,
                                  .n_citations = n_citations,
                                  .judges = r->judges,
                                  .n_judges = r->sum->n_judges};
    if (ok)
        ok = distiset_finish(d, &about, err);
    else
        distiset_abandon(d);
    buf_fini(&yaml);
    buf_fini(&log);
    return ok;
}

bool pipe_check_configs(const pipeline *p, const char *out, gv_err *err) {
    for (size_t i = 0; !pipe_is_file(out) && pipe_count_leaves(p) > 1 && i < p->n_steps; i++)
        if (p->steps[i].n_after == 0 && !distiset_check_config(sv_of(p->steps[i].name), err)) return false;
    return true;
}

bool pipe_check_folder(const pipeline *p, const pipe_run_spec *spec, gv_err *err) {
    if (!pipe_check_configs(p, spec->out, err)) return false;
    distiset *d = distiset_open(spec->out, err);
    distiset_abandon(d);
    return d != NULL;
}
