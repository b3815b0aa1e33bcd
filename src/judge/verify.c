/* See verify.h.  What a run records for this (run_record_sources): input and model path, the chat template if one was named, the rubrics' texts.
 * They say where to look; whether what is found is the same is decided by the settings, which hold the digests. */
#include "judge/verify.h"

#include "base/file.h"
#include "judge/run_internal.h"
#include "tmpl/tmpl.h"

#include <stdlib.h>

struct verify {
    journal *j;
    buf settings;
    arena a; /* strings of spec and needs */
    rows_map map;
    rubric *rubrics; /* [spec.n_rubrics] */
    run_spec spec;
    verify_needs needs;
    /* a comparison under way */
    const verify_options *o;
    verify_result *result;
    uint64_t *rows; /* [n_rows] ascending */
    size_t n_rows;
};

/* ---- what a run records ---- */

/* Absolute, so that the command works in another folder; "-" and names that are no files stay as they are. */
static bool record_path(journal *j, const char *name, const char *path, gv_err *err) {
    char *real = path && strcmp(path, "-") != 0 ? file_absolute(path) : NULL;
    const bool ok = !path || journal_set_meta(j, name, sv_of(real ? real : path), err);
    free(real);
    return ok;
}

static bool record_rubrics(const run_spec *spec, journal *j, gv_err *err) {
    buf text = {0};
    for (size_t i = 0; i < spec->n_rubrics; i++) {
        const rubric *r = &spec->rubrics[i];
        buf_add_str(&text, i ? ",{\"name\":" : "[{\"name\":");
        json_put_string(&text, r->name);
        buf_add_str(&text, ",\"text\":");
        json_put_string(&text, r->text);
        buf_printf(&text, ",\"builtin\":%s}", r->builtin ? "true" : "false");
    }
    buf_add_char(&text, ']');
    const bool ok = spec->n_rubrics == 0 || journal_set_meta(j, "rubrics", buf_view(&text), err);
    buf_fini(&text);
    return ok;
}

bool run_record_sources(const run_spec *spec, journal *j, gv_err *err) {
    const char *layout = spec->chat_template;
    const bool named = layout && (tmpl_builtin(layout) || strcmp(layout, "none") == 0);
    return record_path(j, "input path", spec->input, err) && record_path(j, "model path", spec->model_path, err) &&
           (!named || journal_set_meta(j, "chat template", sv_of(layout), err)) &&
           (named || record_path(j, "chat template", layout, err)) && record_rubrics(spec, j, err);
}

/* ---- reading it back ---- */

static bool text_of(verify *v, const json_value *settings, const char *key, const char **out, gv_err *err) {
    const json_value *value = json_get(settings, key);
    if (!value || json_kind_of(value) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, -1, "%s: its settings have no text \"%s\"", journal_path(v->j), key);
    const sv s = json_string(value);
    *out = s.n ? arena_dup(&v->a, s.p, s.n) : NULL;
    return true;
}

static bool double_of(const verify *v, const json_value *settings, const char *key, double *out, gv_err *err) {
    const json_value *value = json_get(settings, key);
    return (value && json_double(value, out)) ||
           gv_fail(err, GV_FORMAT, -1, "%s: its settings have no number \"%s\"", journal_path(v->j), key);
}

static bool int_of(const verify *v, const json_value *settings, const char *key, int64_t *out, gv_err *err) {
    const json_value *value = json_get(settings, key);
    return (value && json_int64(value, out) && *out >= 0) ||
           gv_fail(err, GV_FORMAT, -1, "%s: its settings have no whole number \"%s\"", journal_path(v->j), key);
}

static bool read_sampling(verify *v, const json_value *settings, gv_err *err) {
    lm_sampling *s = &v->spec.sampling;
    int64_t seed;
    const bool ok = double_of(v, settings, "temperature", &s->temperature, err) && int_of(v, settings, "top_k", &s->top_k, err) &&
                    double_of(v, settings, "top_p", &s->top_p, err) && double_of(v, settings, "min_p", &s->min_p, err) &&
                    double_of(v, settings, "repetition_penalty", &s->repetition_penalty, err) &&
                    double_of(v, settings, "presence_penalty", &s->presence_penalty, err) &&
                    double_of(v, settings, "frequency_penalty", &s->frequency_penalty, err) &&
                    int_of(v, settings, "max_tokens", &s->max_tokens, err) && int_of(v, settings, "seed", &seed, err);
    if (ok) s->seed = (uint64_t)seed;
    return ok;
}

static bool read_rows(verify *v, const json_value *settings, gv_err *err) {
    rows_options *r = &v->spec.rows;
    const char *map;
    int64_t rows, shard, shards;
    if (!int_of(v, settings, "input rows", &rows, err) || !int_of(v, settings, "shard", &shard, err) ||
        !int_of(v, settings, "shards", &shards, err) || !text_of(v, settings, "id column", &r->id_col, err) ||
        !text_of(v, settings, "column map", &map, err) || (map && !rows_map_add(&v->map, map, err)))
        return false;
    r->limit = (uint64_t)rows;
    r->shard_index = (uint64_t)shard;
    r->shard_count = (uint64_t)shards;
    r->map = &v->map;
    return true;
}

static bool read_judging(verify *v, const json_value *settings, gv_err *err) {
    const char *style, *mode, *reference, *parser, *expected, *numerics, *is;
    run_spec *s = &v->spec;
    int64_t samples;
    if (!text_of(v, settings, "prompt", &style, err) || !text_of(v, settings, "mode", &mode, err) ||
        !text_of(v, settings, "reference", &reference, err) || !text_of(v, settings, "verdict", &parser, err) ||
        !text_of(v, settings, "expected score", &expected, err) || !text_of(v, settings, "rubric column", &s->rubric_col, err) ||
        !text_of(v, settings, "numerics", &numerics, err) || !text_of(v, settings, "model", &v->needs.name, err) ||
        !int_of(v, settings, "context", &v->needs.ctx, err) || !int_of(v, settings, "samples", &samples, err))
        return false;
    if (samples < 1 || samples > RUN_MAX_SAMPLES)
        return gv_fail(err, GV_FORMAT, -1, "%s: %lld samples, expected 1 to %d", journal_path(v->j), (long long)samples, RUN_MAX_SAMPLES);
    s->samples = (uint32_t)samples;
    if (!style || !judge_style_from(style, &s->prompt.style) || !parser || !verdict_parser_from(parser, &s->parser) || !mode)
        return gv_fail(err, GV_FORMAT, -1, "%s: prompt style \"%s\", mode \"%s\" or verdict \"%s\" is unknown", journal_path(v->j),
                       style ? style : "", mode ? mode : "", parser ? parser : "");
    s->prompt.mode = strcmp(mode, "relative") == 0 ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    s->prompt.reference = reference && strcmp(reference, "yes") == 0;
    s->expected_score = expected && strcmp(expected, "yes") == 0;
    is = numerics ? strstr(numerics, "kv=") : NULL;
    v->needs.kv = is && strncmp(is, "kv=f32", 6) == 0 ? "f32" : "f16";
    is = numerics ? strchr(numerics, '(') : NULL;
    if (is) v->needs.weights = arena_dup(&v->a, is + 1, strcspn(is + 1, ")"));
    return true;
}

static bool meta_text(verify *v, const char *name, const char **out, gv_err *err) {
    buf text = {0};
    bool found;
    const bool ok = journal_get_meta(v->j, name, &found, &text, err);
    if (ok && found) *out = arena_dup(&v->a, text.p ? text.p : "", text.n);
    buf_fini(&text);
    return ok;
}

static bool read_rubric(verify *v, const json_value *from, rubric *to) {
    const json_value *name = json_get(from, "name"), *text = json_get(from, "text"), *builtin = json_get(from, "builtin");
    if (!name || json_kind_of(name) != JSON_STRING || !text || json_kind_of(text) != JSON_STRING || !builtin ||
        json_kind_of(builtin) != JSON_BOOL)
        return false;
    const sv n = json_string(name), t = json_string(text);
    sha256 h;
    *to = (rubric){.name = {arena_dup(&v->a, n.p, n.n), n.n}, .text = {arena_dup(&v->a, t.p, t.n), t.n}, .builtin = json_bool(builtin)};
    sha256_init(&h);
    sha256_add(&h, t.p, t.n);
    sha256_hex(&h, to->hash);
    return true;
}

static bool read_rubrics(verify *v, gv_err *err) {
    const char *text = NULL;
    if (!meta_text(v, "rubrics", &text, err)) return false;
    if (!text) return true; /* raw style, or a rubric per row */
    json_doc *d = json_parse(sv_of(text), err);
    if (!d) return gv_context(err, "%s: its rubrics", journal_path(v->j));
    const json_value *root = json_root(d);
    const size_t n = json_kind_of(root) == JSON_ARRAY ? json_size(root) : 0;
    bool ok = n >= 1 && n <= RUN_MAX_RUBRICS;
    v->rubrics = gv_xcalloc(ok ? n : 1, sizeof *v->rubrics);
    for (json_iter it = json_each(root); ok && json_next(&it);) ok = read_rubric(v, it.value, &v->rubrics[v->spec.n_rubrics++]);
    v->spec.rubrics = v->rubrics;
    json_free(d);
    return ok || gv_fail(err, GV_FORMAT, -1, "%s: its rubrics have no name, text or builtin", journal_path(v->j));
}

static bool read_all(verify *v, gv_err *err) {
    bool found;
    if (!journal_get_meta(v->j, "settings", &found, &v->settings, err)) return false;
    if (!found) return gv_fail(err, GV_STATE, -1, "%s has no judgments yet", journal_path(v->j));
    if (run_is_pipeline(buf_view(&v->settings)))
        return gv_fail(
            err, GV_UNSUPPORTED, -1,
            "%s is the journal of a pipeline, and only runs of gavel judge are verified; run the pipeline again with another --out and "
            "compare the files",
            journal_path(v->j));
    json_doc *d = json_parse(buf_view(&v->settings), err);
    if (!d) return gv_context(err, "%s: its settings", journal_path(v->j));
    const bool ok = read_judging(v, json_root(d), err) && read_sampling(v, json_root(d), err) && read_rows(v, json_root(d), err) &&
                    read_rubrics(v, err) && meta_text(v, "input path", &v->spec.input, err) &&
                    meta_text(v, "model path", &v->needs.model_path, err) && meta_text(v, "chat template", &v->needs.chat_template, err);
    json_free(d);
    return ok;
}

verify *verify_open(const char *journal_path_text, gv_err *err) {
    verify *v = gv_xcalloc(1, sizeof *v);
    arena_init(&v->a);
    v->j = journal_open(journal_path_text, JOURNAL_READ, err);
    if (v->j && read_all(v, err)) return v;
    verify_close(v);
    return NULL;
}

void verify_close(verify *v) {
    if (!v) return;
    journal_close(v->j);
    rows_map_fini(&v->map);
    buf_fini(&v->settings);
    arena_fini(&v->a);
    free(v->rows);
    free(v->rubrics);
    free(v);
}

const verify_needs *verify_get_needs(const verify *v) {
    return &v->needs;
}

/* ---- which rows ---- */

typedef struct ranked_row {
    uint64_t rank, row;
} ranked_row;

/* Spreads row numbers, so that a sample of N is a part of every larger sample (splitmix64). */
static uint64_t rank_of(uint64_t number) {
    uint64_t x = number + 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static int by_rank(const void *a, const void *b) {
    const ranked_row *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_number(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The rows of the journal with the lowest ranks. */
static bool choose_rows(verify *v, uint64_t wanted, gv_err *err) {
    ranked_row *all = NULL;
    size_t n = 0, cap = 0;
    journal_cursor c = {0};
    bool end = false;
    for (;;) {
        if (!journal_next(v->j, &c, &end, err)) {
            free(all);
            return false;
        }
        if (end) break;
        if (n && all[n - 1].row == c.key.row) continue; /* another rubric or sample of the row */
        if (n == cap) {
            cap = cap ? 2 * cap : 1024;
            all = gv_xrealloc(all, cap * sizeof *all);
        }
        all[n++] = (ranked_row){rank_of(c.key.row), c.key.row};
    }
    v->n_rows = n < wanted ? n : (size_t)wanted;
    v->rows = gv_xcalloc(v->n_rows + 1, sizeof *v->rows);
    if (n) qsort(all, n, sizeof *all, by_rank);
    for (size_t i = 0; i < v->n_rows; i++) v->rows[i] = all[i].row;
    if (n) qsort(v->rows, v->n_rows, sizeof *v->rows, by_number);
    free(all);
    v->result->rows_in_run = n;
    v->result->rows = v->n_rows;
    return true;
}

/* ---- comparing ---- */

static bool check_run(void *ctx, const rows_summary *input, const lm_caps *caps, gv_err *err) {
    verify *v = ctx;
    buf now = {0}, diff = {0};
    run_settings_json(&v->spec, input, caps, &now);
    bool ok = run_settings_diff(buf_view(&v->settings), buf_view(&now), "model", &diff, err); /* a name: the file may have another now */
    if (ok && diff.n) ok = gv_fail(err, GV_STATE, -1, "%s cannot be verified with this: %s", journal_path(v->j), diff.p);
    buf_fini(&now);
    buf_fini(&diff);
    return ok;
}

/* The journal's judgment; strings live in a. */
static bool get_record(verify *v, journal_key key, bool *found, judgment *g, arena *a, gv_err *err) {
    buf text = {0};
    bool ok = journal_get(v->j, key, found, NULL, &text, err);
    if (ok && *found)
        ok = judgment_from_json(buf_view(&text), g, a, err) ||
             gv_context(err, "%s, row %llu", journal_path(v->j), (unsigned long long)key.row);
    buf_fini(&text);
    return ok;
}

static bool pick_judgment(void *ctx, journal_key key, bool *leave_out, uint32_t *attempt, gv_err *err) {
    verify *v = ctx;
    judgment g = {0};
    arena a;
    *leave_out = true;
    *attempt = 0;
    if (!bsearch(&key.row, v->rows, v->n_rows, sizeof *v->rows, by_number)) return true;
    arena_init(&a);
    bool found;
    const bool ok = get_record(v, key, &found, &g, &a, err);
    arena_fini(&a);
    if (ok && found) {
        *leave_out = false;
        *attempt = g.attempt;
    }
    return ok;
}

static void put_result(const judgment *g, buf *out) {
    if (g->status != JUDGMENT_OK)
        buf_add_str(out, judgment_status_name(g->status));
    else if (g->verdict >= 'A')
        buf_printf(out, "%c", g->verdict);
    else
        buf_printf(out, "%d", g->verdict);
}

/* From a little before the first difference on, as JSON text. */
static void put_excerpt(const judgment *g, size_t at, buf *out) {
    enum { BEFORE = 20, SHOWN = 60 };
    const size_t begin = at > BEFORE ? at - BEFORE : 0;
    if (g->has_raw)
        json_put_string(out, sv_sub(g->raw, begin, begin + SHOWN < g->raw.n ? begin + SHOWN : g->raw.n));
    else
        buf_add_str(out, "no answer");
}

static void tell_difference(verify *v, journal_key key, const judgment *was, const judgment *is) {
    buf line = {0};
    buf_printf(&line, "row %llu", (unsigned long long)key.row);
    if (key.variant || key.sample) buf_printf(&line, " (variant %u, sample %u)", key.variant, key.sample);
    if (was->status != is->status || was->verdict != is->verdict) {
        buf_add_str(&line, ": the verdict was ");
        put_result(was, &line);
        buf_add_str(&line, ", is now ");
        put_result(is, &line);
    }
    if (was->has_raw != is->has_raw || !sv_eq(was->raw, is->raw)) {
        size_t at = 0;
        while (at < was->raw.n && at < is->raw.n && was->raw.p[at] == is->raw.p[at]) at++;
        buf_printf(&line, ": the answer differs from byte %zu on: was ", at);
        put_excerpt(was, at, &line);
        buf_add_str(&line, ", is now ");
        put_excerpt(is, at, &line);
    }
    v->o->differs(v->o->differs_ctx, line.p);
    buf_fini(&line);
}

static bool compare_judgment(void *ctx, journal_key key, const judgment *is, gv_err *err) {
    verify *v = ctx;
    judgment was = {0};
    bool found;
    arena a;
    arena_init(&a);
    const bool ok = get_record(v, key, &found, &was, &a, err);
    if (ok && found) {
        v->result->judgments++;
        if (was.status != is->status || was.verdict != is->verdict || was.has_raw != is->has_raw || !sv_eq(was.raw, is->raw)) {
            v->result->different++;
            tell_difference(v, key, &was, is);
        }
    }
    arena_fini(&a);
    return ok;
}

static bool find_input(verify *v, const verify_options *o, gv_err *err) {
    if (o->input) v->spec.input = o->input;
    if (!v->spec.input) return gv_fail(err, GV_USAGE, -1, "%s does not say where its input lay; add --input FILE", journal_path(v->j));
    if (strcmp(v->spec.input, "-") == 0)
        return gv_fail(err, GV_USAGE, -1, "the input of %s was standard input; add --input FILE with the same rows", journal_path(v->j));
    return true;
}

bool verify_rows(verify *v, lm *model, const verify_options *o, verify_result *out, gv_err *err) {
    *out = (verify_result){0};
    v->o = o;
    v->result = out;
    v->spec.stop = o->stop;
    v->spec.progress = o->progress;
    v->spec.progress_ctx = o->progress_ctx;
    if (!find_input(v, o, err) || !choose_rows(v, o->n_rows, err)) return false;
    const run_replay replay = {v, v->n_rows, check_run, pick_judgment, compare_judgment};
    return run_again(&v->spec, model, &replay, err);
}
