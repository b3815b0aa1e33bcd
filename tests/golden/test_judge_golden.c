/* Prompts, verdicts and rubric checks against what the original libraries wrote (tests/data/golden, tests/data/vicuna): all lines, byte for
 * byte.  Each test also asserts how many lines it compared, so that a lost file is not a pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "judge/prompt.h"
#include "judge/rubric.h"
#include "judge/verdict.h"

/* ---- lines of a golden file ---- */

typedef struct golden {
    buf bytes;
    size_t pos;
    json_doc *doc;
    const json_value *line;
    size_t n;
    arena a;
} golden;

static void golden_open(golden *g, const char *path) {
    gv_err err = GV_ERR_INIT;
    *g = (golden){0};
    arena_init(&g->a);
    if (!file_read_all(path, 64u << 20, &g->bytes, &err)) fail_msg("%s", err.msg);
}

static bool golden_next(golden *g) {
    gv_err err = GV_ERR_INIT;
    json_free(g->doc);
    g->doc = NULL;
    arena_reset(&g->a);
    if (g->pos >= g->bytes.n) return false;
    size_t end = sv_find(buf_view(&g->bytes), SV("\n"), g->pos);
    if (end == SIZE_MAX) end = g->bytes.n;
    g->doc = json_parse(sv_sub(buf_view(&g->bytes), g->pos, end - g->pos), &err);
    if (!g->doc) fail_msg("line %zu: %s", g->n + 1, err.msg);
    g->line = json_root(g->doc);
    g->pos = end + 1;
    g->n++;
    return true;
}

static void golden_close(golden *g, size_t n_expected) {
    assert_int_equal(g->n, n_expected);
    json_free(g->doc);
    arena_fini(&g->a);
    buf_fini(&g->bytes);
}

static sv text_of(const json_value *o, const char *key) {
    const json_value *v = json_get(o, key);
    if (!v || json_kind_of(v) != JSON_STRING) fail_msg("no text %s", key);
    return json_string(v);
}

static void same(const golden *g, const char *what, sv got, sv want) {
    if (sv_eq(got, want)) return;
    size_t i = 0;
    while (i < got.n && i < want.n && got.p[i] == want.p[i]) i++;
    fail_msg("line %zu: %s differs at byte %zu: got \"%.60s\", want \"%.60s\"", g->n, what, i, i < got.n ? got.p + i : "(end)",
             i < want.n ? want.p + i : "(end)");
}

/* ---- prompts ---- */

static bool lookup(void *ctx, const char *column, prompt_field *out) {
    *out = (prompt_field){json_get(ctx, column), {0}};
    return out->json != NULL;
}

/* KeyError of a missing column is ours in other words; everything else is the library's text up to its manual's address. */
static void same_error(const golden *g, const json_value *want, const gv_err *err) {
    sv message = text_of(want, "message");
    if (sv_is(text_of(want, "type"), "KeyError")) {
        char ours[100];
        snprintf(ours, sizeof ours, "the row has no column %.*s", (int)message.n - 2, message.p + 1);
        assert_int_equal(err->code, GV_USAGE);
        same(g, "error", sv_of(err->msg), sv_of(ours));
        return;
    }
    size_t end = sv_find(message, SV("\n\nFor further information"), 0);
    assert_int_not_equal(end, SIZE_MAX);
    assert_int_equal(err->code, GV_FORMAT);
    same(g, "error", sv_of(err->msg), sv_sub(message, 0, end));
}

/* The rubric a golden line speaks of. */
static void load_rubric(golden *g, const prompt_spec *spec, rubric *r) {
    gv_err err = GV_ERR_INIT;
    const json_value *text = json_get(g->line, "rubric_text"), *data = json_get(g->line, "rubric_data");
    bool ok;
    if (spec->style == STYLE_PROMETHEUS_EVAL && !data && rubric_load(text_of(g->line, "rubric_name").p, spec->style, &g->a, r, &err)) {
        same(g, "built-in rubric", rubric_insert(r, spec->style, spec->mode), json_string(text));
        return;
    }
    gv_err_clear(&err);
    if (data)
        ok = rubric_from_value(data, (sv){0}, spec->style, &g->a, r, &err);
    else if (text)
        ok = rubric_from_value(text, (sv){0}, spec->style, &g->a, r, &err);
    else
        ok = rubric_load(text_of(g->line, "rubric_name").p, spec->style, &g->a, r, &err);
    if (!ok) fail_msg("line %zu: %s", g->n, err.msg);
    if (text) same(g, "rubric", r->text, json_string(text));
}

static void check_prompts(const char *file, judge_style style, size_t n_lines, size_t n_errors) {
    golden g;
    size_t errors = 0;
    golden_open(&g, file);
    while (golden_next(&g)) {
        gv_err err = GV_ERR_INIT;
        prompt_spec spec = {.style = style, .mode = sv_is(text_of(g.line, "mode"), "absolute") ? JUDGE_ABSOLUTE : JUDGE_RELATIVE};
        spec.reference = json_bool(json_get(g.line, "reference"));
        rubric r;
        load_rubric(&g, &spec, &r);
        prompt_values v = {.rubric = rubric_insert(&r, style, spec.mode)};
        bool ok = prompt_values_read(&spec, lookup, (void *)(uintptr_t)json_get(g.line, "inputs"), &g.a, &v, &err);
        const json_value *want = json_get(g.line, "error");
        if (want) {
            assert_false(ok);
            same_error(&g, want, &err);
            errors++;
            continue;
        }
        if (!ok) fail_msg("line %zu: %s", g.n, err.msg);
        prompt_text p;
        prompt_build(&spec, &v, &g.a, &p);
        same(&g, "system", p.system, text_of(g.line, "system"));
        same(&g, "user", p.user, text_of(g.line, "user"));
        lm_message messages[2];
        assert_int_equal(prompt_messages(&p, messages), style == STYLE_PAPER ? 1 : 2);
        if (style == STYLE_PAPER) {
            same(&g, "text", sv_sub(p.user, p.system.n + 2, p.user.n), text_of(g.line, "text"));
        } else {
            buf prompt = {0};
            prompt_layout(style, &p, &prompt);
            same(&g, "prompt", buf_view(&prompt), text_of(g.line, "prompt"));
            buf_fini(&prompt);
        }
    }
    assert_int_equal(errors, n_errors);
    golden_close(&g, n_lines);
}

static void prompts_equal_distilabel(void **state) {
    (void)state;
    check_prompts(GAVEL_TEST_DATA "/golden/prompts_distilabel.jsonl", STYLE_DISTILABEL, 168, 19);
}

static void prompts_equal_prometheus_eval(void **state) {
    (void)state;
    check_prompts(GAVEL_TEST_DATA "/golden/prompts_prometheus_eval.jsonl", STYLE_PROMETHEUS_EVAL, 106, 0);
}

static void prompts_equal_the_paper(void **state) {
    (void)state;
    check_prompts(GAVEL_TEST_DATA "/golden/prompts_paper.jsonl", STYLE_PAPER, 24, 0);
}

/* The part of s between two markers; *pos moves behind the second. */
static sv between(sv s, size_t *pos, const char *from, const char *to) {
    size_t start = sv_find(s, sv_of(from), *pos);
    assert_int_not_equal(start, SIZE_MAX);
    start += strlen(from);
    size_t end = sv_find(s, sv_of(to), start);
    assert_int_not_equal(end, SIZE_MAX);
    *pos = end;
    return sv_sub(s, start, end - start);
}

static void prompts_of_vicuna_bench_are_rebuilt_from_their_parts(void **state) {
    (void)state;
    golden g;
    gv_err err = GV_ERR_INIT;
    golden_open(&g, GAVEL_TEST_DATA "/vicuna/vicuna_eval.json");
    json_doc *doc = json_parse(buf_view(&g.bytes), &err);
    if (!doc) fail_msg("%s", err.msg);
    for (json_iter it = json_each(json_root(doc)); json_next(&it); g.n++) {
        sv whole = text_of(it.value, "instruction");
        prompt_values v = {0};
        size_t pos = 0;
        v.instruction = between(whole, &pos, "###The instruction to evaluate:\n", "\n\n###Response to evaluate:\n");
        v.a = between(whole, &pos, "###Response to evaluate:\n", "\n\n###Reference Answer (Score 5):\n");
        v.reference = between(whole, &pos, "###Reference Answer (Score 5):\n", "\n\n###Score Rubrics:\n");
        v.rubric = between(whole, &pos, "###Score Rubrics:\n", "\n\n###Feedback: ");
        prompt_spec spec = {.style = STYLE_PAPER, .mode = JUDGE_ABSOLUTE, .reference = true};
        prompt_text p;
        prompt_build(&spec, &v, &g.a, &p);
        same(&g, "prompt", sv_sub(p.user, p.system.n + 2, p.user.n), whole);
        rubric r;
        assert_true(rubric_from_value(NULL, v.rubric, STYLE_PAPER, &g.a, &r, &err));
        same(&g, "rubric", rubric_insert(&r, STYLE_PAPER, JUDGE_ABSOLUTE), v.rubric);
        arena_reset(&g.a);
    }
    json_free(doc);
    golden_close(&g, 320);
}

/* ---- verdicts ---- */

static void check_verdict(const golden *g, const char *library, verdict_parser parser, judge_mode mode, sv raw) {
    const json_value *want = json_get(g->line, library), *result = json_get(want, "result"), *feedback = json_get(want, "feedback");
    verdict v;
    bool found = verdict_parse(parser, mode, raw, &v);
    int64_t expected = 0;
    if (json_kind_of(result) == JSON_STRING)
        expected = json_string(result).p[0];
    else if (json_kind_of(result) == JSON_NUMBER)
        assert_true(json_int64(result, &expected));
    if (v.result != expected) fail_msg("line %zu: %s: got %d, want %d", g->n, library, v.result, (int)expected);
    assert_int_equal(found, expected != 0);
    assert_int_equal(json_kind_of(feedback), found ? JSON_STRING : JSON_NULL);
    if (found) same(g, library, v.feedback, json_string(feedback));
    if (found) assert_non_null(v.rule);
}

static void verdicts_equal_both_libraries(void **state) {
    (void)state;
    golden g;
    golden_open(&g, GAVEL_TEST_DATA "/golden/verdicts.jsonl");
    while (golden_next(&g)) {
        judge_mode mode = sv_is(text_of(g.line, "mode"), "absolute") ? JUDGE_ABSOLUTE : JUDGE_RELATIVE;
        const json_value *raw = json_get(g.line, "raw");
        sv text = json_kind_of(raw) == JSON_STRING ? json_string(raw) : (sv){0};
        check_verdict(&g, "distilabel", PARSE_STRICT, mode, text);
        check_verdict(&g, "prometheus_eval", PARSE_LENIENT, mode, text);
        /* robust never contradicts strict */
        verdict strict, robust;
        if (!verdict_parse(PARSE_STRICT, mode, text, &strict)) continue;
        assert_true(verdict_parse(PARSE_ROBUST, mode, text, &robust));
        assert_int_equal(strict.result, robust.result);
        assert_string_equal(robust.rule, "strict");
    }
    golden_close(&g, 811);
}

/* ---- rubric validation ---- */

static void rubric_validation_equals_distilabel(void **state) {
    (void)state;
    golden g;
    size_t accepted = 0, with_cause = 0;
    golden_open(&g, GAVEL_TEST_DATA "/golden/rubric_validation.jsonl");
    while (golden_next(&g)) {
        rubric_check check;
        rubric_check_task(json_get(g.line, "kwargs"), json_get(g.line, "kwargs_rubrics_pairs"), &g.a, &check);
        bool accept = json_bool(json_get(g.line, "accept"));
        if (check.accept != accept) fail_msg("line %zu: %s", g.n, check.accept ? "accepted" : check.text.p);
        if (accept) {
            const json_value *want = json_get(g.line, "effective");
            int64_t generations = 0;
            assert_true(json_int64(json_get(want, "num_generations"), &generations));
            assert_int_equal(check.num_generations, generations);
            assert_int_equal(check.reference, json_bool(json_get(want, "reference")));
            same(&g, "rubric", check.rubric, text_of(want, "rubric"));
            assert_int_equal(check.n_names, json_size(json_get(want, "rubrics")));
            size_t i = 0;
            for (json_iter it = json_each(json_get(want, "rubrics")); json_next(&it); i++)
                same(&g, "name", check.names[i], json_string(it.value));
            accepted++;
            continue;
        }
        const json_value *error = json_get(g.line, "error");
        same(&g, "text", check.text, text_of(error, "text"));
        json_iter first = json_each(json_get(error, "errors"));
        assert_true(json_next(&first));
        const json_value *cause = json_get(first.value, "cause");
        if (cause) with_cause++;
        same(&g, "cause", check.cause, cause ? json_string(cause) : (sv){0});
    }
    assert_int_equal(accepted, 32);
    assert_int_equal(with_cause, 50);
    golden_close(&g, 103);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_equal_distilabel),      cmocka_unit_test(prompts_equal_prometheus_eval),
        cmocka_unit_test(prompts_equal_the_paper),       cmocka_unit_test(prompts_of_vicuna_bench_are_rebuilt_from_their_parts),
        cmocka_unit_test(verdicts_equal_both_libraries), cmocka_unit_test(rubric_validation_equals_distilabel),
    };
    return cmocka_run_group_tests_name("judge golden", tests, NULL, NULL);
}
