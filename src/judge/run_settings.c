/* The settings of a run: written into the journal at its start, compared when a run is continued.
 *
 * Only what decides results is in: kernels, threads and batch sizes are not, because results do not depend on them (canonical-1), nor is what
 * only shapes the output file. */
#include "judge/run_internal.h"

#include <inttypes.h>

static void put_key(buf *out, const char *key) {
    buf_add_char(out, out->n ? ',' : '{');
    json_put_string(out, sv_of(key));
    buf_add_char(out, ':');
}

static void put_text(buf *out, const char *key, const char *v) {
    put_key(out, key);
    json_put_string(out, sv_of(v ? v : ""));
}

static void put_number(buf *out, const char *key, double v) {
    put_key(out, key);
    json_put_double(out, v);
}

static void put_integer(buf *out, const char *key, int64_t v) {
    put_key(out, key);
    json_put_int(out, v);
}

/* 1, or with several "2 (helpfulness, honesty)": their names are in columns and records, so they count as well. */
static void put_rubrics(const run_spec *spec, buf *out) {
    buf text = {0};
    if (spec->n_rubrics < 2) {
        put_integer(out, "rubrics", 1);
        put_text(out, "rubric sha256", spec->n_rubrics ? spec->rubrics->hash : "");
        return;
    }
    buf_printf(&text, "%zu (", spec->n_rubrics);
    for (size_t i = 0; i < spec->n_rubrics; i++) buf_printf(&text, "%s" SV_FMT, i ? ", " : "", SV_ARG(spec->rubrics[i].name));
    buf_add_char(&text, ')');
    put_text(out, "rubrics", text.p);
    buf_clear(&text);
    for (size_t i = 0; i < spec->n_rubrics; i++) buf_printf(&text, "%s%s", i ? ", " : "", spec->rubrics[i].hash);
    put_text(out, "rubric sha256", text.p);
    buf_fini(&text);
}

bool run_has_several(journal *j, bool *several, gv_err *err) {
    buf text = {0};
    bool found = false, ok = journal_get_meta(j, "settings", &found, &text, err);
    json_doc *d = ok && found ? json_parse(buf_view(&text), err) : NULL;
    if (ok && found && !d) ok = gv_context(err, "settings of the run");
    const json_value *rubrics = d ? json_get(json_root(d), "rubrics") : NULL, *samples = d ? json_get(json_root(d), "samples") : NULL;
    int64_t n = 1;
    *several = (rubrics && json_kind_of(rubrics) == JSON_STRING) || (samples && json_int64(samples, &n) && n > 1);
    json_free(d);
    buf_fini(&text);
    return ok;
}

void run_settings_json(const run_spec *spec, const rows_summary *input, const lm_caps *caps, buf *out) {
    const lm_sampling *s = &spec->sampling;
    buf_clear(out);
    put_text(out, "input sha256", input->sha256);
    put_integer(out, "input rows", (int64_t)input->n_rows);
    put_text(out, "prompt", judge_style_name(spec->prompt.style));
    put_text(out, "mode", judge_mode_name(spec->prompt.mode));
    put_text(out, "reference", spec->prompt.reference ? "yes" : "no");
    put_rubrics(spec, out);
    put_text(out, "rubric column", spec->rubric_col);
    put_integer(out, "samples", run_n_samples(spec));
    put_text(out, "verdict", verdict_parser_name(spec->parser));
    put_text(out, "expected score", spec->expected_score ? "yes" : "no");
    put_number(out, "temperature", s->temperature);
    put_integer(out, "top_k", s->top_k);
    put_number(out, "top_p", s->top_p);
    put_number(out, "min_p", s->min_p);
    put_number(out, "repetition_penalty", s->repetition_penalty);
    put_number(out, "presence_penalty", s->presence_penalty);
    put_number(out, "frequency_penalty", s->frequency_penalty);
    put_integer(out, "max_tokens", s->max_tokens);
    put_integer(out, "seed", (int64_t)s->seed);
    put_text(out, "model", caps->model_name);
    put_text(out, "model sha256", caps->model_hash);
    put_text(out, "tokenizer sha256", caps->tokenizer_hash);
    put_text(out, "chat template sha256", caps->template_hash);
    put_text(out, "numerics", caps->numerics);
    put_integer(out, "context", caps->ctx_tokens);
    put_integer(out, "shard", (int64_t)spec->rows.shard_index);
    put_integer(out, "shards", (int64_t)spec->rows.shard_count);
    put_text(out, "id column", spec->rows.id_col);
    buf map = {0};
    for (size_t i = 0; spec->rows.map && i < spec->rows.map->n; i++)
        buf_printf(&map, "%s%s=%s", i ? "," : "", spec->rows.map->v[i].name, spec->rows.map->v[i].column);
    put_text(out, "column map", map.p);
    buf_fini(&map);
    buf_add_char(out, '}');
}

bool run_check_found(const journal *j, const char *name, bool found, gv_err *err) {
    return found || journal_count(j).records == 0 ||
           gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: it has records but no text \"%s\"; start anew with --fresh", journal_path(j),
                   name);
}

bool run_is_pipeline(sv settings) {
    gv_err ignored = GV_ERR_INIT;
    json_doc *d = json_parse(settings, &ignored);
    const json_value *kind = d ? json_get(json_root(d), "kind") : NULL;
    const bool is = kind && json_kind_of(kind) == JSON_STRING && sv_is(json_string(kind), "pipeline");
    json_free(d);
    return is;
}

static void value_text(const json_value *v, buf *out) {
    if (!v)
        buf_add_str(out, "not recorded");
    else if (json_kind_of(v) == JSON_STRING && json_string(v).n == 0)
        buf_add_str(out, "none");
    else if (json_kind_of(v) == JSON_STRING)
        buf_add_sv(out, json_string(v));
    else
        json_put_value(out, v);
}

bool run_settings_diff(sv then, sv now, const char *but, buf *diff, gv_err *err) {
    json_doc *a = json_parse(then, err);
    if (!a) return gv_context(err, "stored settings");
    json_doc *b = json_parse(now, err);
    if (!b) {
        json_free(a);
        return false;
    }
    for (json_iter it = json_each(json_root(b)); json_next(&it);) {
        buf x = {0}, y = {0};
        value_text(json_get_sv(json_root(a), it.key), &x);
        value_text(it.value, &y);
        if (!sv_eq(buf_view(&x), buf_view(&y)) && !(but && sv_is(it.key, but)))
            buf_printf(diff, "%s" SV_FMT " was %s, is now %s", diff->n ? "; " : "", SV_ARG(it.key), x.p, y.p);
        buf_fini(&x);
        buf_fini(&y);
    }
    json_free(a);
    json_free(b);
    return true;
}

bool run_settings_same(const char *journal_path, sv then, sv now, gv_err *err) {
    buf diff = {0};
    bool same = run_settings_diff(then, now, NULL, &diff, err) || gv_context(err, "%s", journal_path);
    if (same && diff.n)
        same = gv_fail(err, GV_STATE, -1,
                       "%s belongs to a run with other settings: %s. Repeat them to continue it, or start anew with --fresh", journal_path,
                       diff.p);
    buf_fini(&diff);
    return same;
}
