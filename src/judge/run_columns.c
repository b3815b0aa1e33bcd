/* The columns that judging adds to the input's: which there are, by rubrics and samples, and what stands in them.  docs/judging.md is the
 * contract.
 *
 * One sample: a value a column.  Several: a list with one element a sample, in their order, and columns that sum up the samples with a
 * verdict.  Several rubrics: all but model_name once for each, behind the rubric's name.  Names and types follow from the settings alone, so
 * they are the same when every judgment fails. */
#include "judge/run_internal.h"

#include <math.h>

static void add(run_columns *c, arena *a, const rubric *of, size_t index, const char *name, column_kind kind) {
    const char *full = of ? arena_printf(a, SV_FMT "_%s", SV_ARG(of->name), name) : name;
    c->v[c->n++] = (run_column){sv_of(full), kind, index};
}

run_columns run_columns_make(const run_spec *spec, arena *a) {
    enum { MOST_A_RUBRIC = 10 };
    const bool several = run_n_samples(spec) > 1, named = spec->n_rubrics > 1, absolute = spec->prompt.mode == JUDGE_ABSOLUTE;
    run_columns c = {arena_alloc(a, (run_n_variants(spec) * MOST_A_RUBRIC + 1) * sizeof *c.v), 0};
    for (size_t i = 0; i < run_n_variants(spec); i++) {
        const rubric *of = named ? &spec->rubrics[i] : NULL;
        add(&c, a, of, i, "feedback", COLUMN_FEEDBACK);
        add(&c, a, of, i, "result", COLUMN_RESULT);
        add(&c, a, of, i, "status", COLUMN_STATUS);
        add(&c, a, of, i, "message", COLUMN_MESSAGE);
        if (!named) add(&c, a, NULL, 0, "model_name", COLUMN_MODEL);
        if (several) {
            add(&c, a, of, i, absolute ? "result_mean" : "result_share_a", absolute ? COLUMN_MEAN : COLUMN_SHARE_A);
            add(&c, a, of, i, "result_mode", COLUMN_MODE);
            if (absolute) add(&c, a, of, i, "result_spread", COLUMN_SPREAD);
            add(&c, a, of, i, "result_count", COLUMN_COUNT);
        }
        if (spec->expected_score) add(&c, a, of, i, "expected_score", COLUMN_EXPECTED);
        if (spec->expected_score && several) add(&c, a, of, i, "expected_score_mean", COLUMN_EXPECTED_MEAN);
    }
    if (named) add(&c, a, NULL, 0, "model_name", COLUMN_MODEL);
    return c;
}

/* Types do not depend on the answers, so that a column of nulls has the type of any other. */
bool run_column_type(const run_spec *spec, const run_column *c, schema *s, gv_err *err) {
    const bool absolute = spec->prompt.mode == JUDGE_ABSOLUTE;
    schema_field *f = schema_add(s, c->name, err);
    if (!f) return false;
    schema_type *t = &f->type;
    if (run_n_samples(spec) > 1 && c->kind <= COLUMN_EXPECTED && !(t = schema_make_list(s, t, err))) return false;
    switch (c->kind) {
    case COLUMN_RESULT:
    case COLUMN_MODE: t->kind = absolute ? TYPE_INT64 : TYPE_STRING; break;
    case COLUMN_COUNT: t->kind = TYPE_INT64; break;
    case COLUMN_EXPECTED:
    case COLUMN_MEAN:
    case COLUMN_SPREAD:
    case COLUMN_SHARE_A:
    case COLUMN_EXPECTED_MEAN: t->kind = TYPE_FLOAT64; break;
    default: t->kind = TYPE_STRING; break;
    }
    return true;
}

bool run_columns_has(const run_columns *c, sv name) {
    for (size_t i = 0; i < c->n; i++)
        if (sv_eq(c->v[i].name, name)) return true;
    return false;
}

bool run_check_rubrics(const run_spec *spec, gv_err *err) {
    if (spec->n_rubrics > RUN_MAX_RUBRICS)
        return gv_fail(err, GV_USAGE, -1, "%zu rubrics a row, at most %d can be given", spec->n_rubrics, RUN_MAX_RUBRICS);
    if (run_n_samples(spec) > RUN_MAX_SAMPLES)
        return gv_fail(err, GV_USAGE, -1, "%u samples, at most %d can be asked for", run_n_samples(spec), RUN_MAX_SAMPLES);
    for (size_t i = 0; spec->n_rubrics > 1 && i < spec->n_rubrics; i++) {
        const sv name = spec->rubrics[i].name;
        if (!name.n) return gv_fail(err, GV_USAGE, -1, "rubric %zu of %zu has no name for its columns", i + 1, spec->n_rubrics);
        for (size_t k = 0; k < i; k++)
            if (sv_eq(spec->rubrics[k].name, name))
                return gv_fail(
                    err, GV_USAGE, -1,
                    "two rubrics have the name \"%s\", so both would have the column \"%s_result\"; leave one out or rename its file",
                    str_show(name).text, str_show(name).text);
    }
    return true;
}

/* ---- cells ---- */

static sv null_cell(void) {
    return SV("null");
}

static sv one_cell(column_kind kind, const judgment *g, arena *a) {
    const bool ok = g->status == JUDGMENT_OK;
    switch (kind) {
    case COLUMN_FEEDBACK: return ok && g->has_feedback ? run_cell_text(a, g->feedback) : null_cell();
    case COLUMN_RESULT: return run_cell_result(a, g);
    case COLUMN_STATUS: return run_cell_text(a, sv_of(judgment_status_name(g->status)));
    case COLUMN_MESSAGE: return g->message.n ? run_cell_text(a, g->message) : null_cell();
    default: return ok && g->has_logprobs ? run_cell_double(a, g->expected_score) : null_cell();
    }
}

static sv list_cell(column_kind kind, const judgment *g, uint32_t n, arena *a) {
    buf list = {0};
    for (uint32_t i = 0; i < n; i++) {
        buf_add_str(&list, i ? ", " : "[");
        buf_add_sv(&list, one_cell(kind, &g[i], a));
    }
    buf_add_char(&list, ']');
    const sv copy = {arena_dup(a, list.p, list.n), list.n};
    buf_fini(&list);
    return copy;
}

typedef struct tally {
    int64_t n, sum, squares, of[256]; /* verdicts; scores summed; how often each verdict came */
    double expected;
    int64_t n_expected;
} tally;

static tally count_verdicts(const judgment *g, uint32_t n) {
    tally t = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (g[i].status != JUDGMENT_OK) continue;
        t.n++;
        t.sum += g[i].verdict;
        t.squares += (int64_t)g[i].verdict * g[i].verdict;
        t.of[g[i].verdict & 255]++;
        if (!g[i].has_logprobs) continue;
        t.expected += g[i].expected_score;
        t.n_expected++;
    }
    return t;
}

/* The most frequent verdict: of several scores the lowest, of A and B none, because neither leads. */
static sv mode_cell(const tally *t, arena *a) {
    int best = 0;
    for (int v = 1; v <= 5; v++)
        if (t->of[v] > t->of[best]) best = v;
    if (best) return sv_of(arena_printf(a, "%d", best));
    return t->of['A'] > t->of['B'] ? SV("\"A\"") : t->of['B'] > t->of['A'] ? SV("\"B\"") : null_cell();
}

static sv summary_cell(column_kind kind, const judgment *g, uint32_t n, arena *a) {
    const tally t = count_verdicts(g, n);
    if (kind == COLUMN_COUNT) return sv_of(arena_printf(a, "%lld", (long long)t.n));
    if (kind == COLUMN_EXPECTED_MEAN) return t.n_expected ? run_cell_double(a, t.expected / (double)t.n_expected) : null_cell();
    if (t.n == 0) return null_cell();
    switch (kind) {
    case COLUMN_MEAN: return run_cell_double(a, (double)t.sum / (double)t.n);
    case COLUMN_SPREAD:
        return run_cell_double(a, sqrt((double)(t.n * t.squares - t.sum * t.sum)) / (double)t.n); /* the root of an integer */
    case COLUMN_SHARE_A: return run_cell_double(a, (double)t.of['A'] / (double)t.n);
    default: return mode_cell(&t, a);
    }
}

sv run_column_cell(const run_column *c, const judgment *g, uint32_t n, sv model_name, arena *a) {
    if (c->kind == COLUMN_MODEL) return run_cell_text(a, model_name);
    if (c->kind > COLUMN_EXPECTED) return summary_cell(c->kind, g, n, a);
    return n == 1 ? one_cell(c->kind, g, a) : list_cell(c->kind, g, n, a);
}
