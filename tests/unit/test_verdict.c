/* Verdict parsers beyond the goldens: the robust rules and their refusals, rule names, forced verdicts, linear time, odd bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"
#include "judge/verdict.h"

typedef struct robust_case {
    const char *raw;
    int result;
    const char *feedback, *rule;
} robust_case;

static void check_robust(judge_mode mode, const robust_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        verdict v;
        bool found = verdict_parse(PARSE_ROBUST, mode, sv_of(cases[i].raw), &v);
        if (v.result != cases[i].result) fail_msg("\"%s\": got %d, want %d", cases[i].raw, v.result, cases[i].result);
        assert_int_equal(found, cases[i].result != 0);
        if (!found) {
            assert_null(v.rule);
            continue;
        }
        if (strcmp(v.rule, cases[i].rule) != 0) fail_msg("\"%s\": rule %s, want %s", cases[i].raw, v.rule, cases[i].rule);
        if (!sv_is(v.feedback, cases[i].feedback)) fail_msg("\"%s\": feedback \"%.*s\"", cases[i].raw, SV_ARG(v.feedback));
    }
}

static void robust_reads_a_decorated_score_after_the_tag(void **state) {
    (void)state;
    static const robust_case cases[] = {
        {"Feedback: Good. [RESULT] 4", 4, "Good.", "strict"},
        {"Feedback: Good. [RESULT] 4.", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] **4**", 4, "Good.", "robust:tag"},
        {"Good. [RESULT]: \"4\"", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] 4</s>", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] 4\n\nBecause it is.", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] 4 because it is.", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] (4/5) overall", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] 4 out of 5 stars", 4, "Good.", "robust:tag"},
        {"Good. [result] Score: 4!", 4, "Good.", "robust:tag"},
        {"Good. [RESULT] 4 [RESULT] 4", 4, "Good.", "robust:repeated tag"},
        {"Good. [RESULT] (an integer) [RESULT] 2", 2, "Good. [RESULT] (an integer)", "robust:tag"},
    };
    check_robust(JUDGE_ABSOLUTE, cases, sizeof cases / sizeof *cases);
}

static void robust_falls_back_to_lenient_and_then_to_a_labelled_last_line(void **state) {
    (void)state;
    static const robust_case cases[] = {
        {"Good. [SCORE] 3", 3, "Good. [SCORE] 3", "lenient:[SCORE]"},
        {"Overall score of 3", 3, "Overall score of 3", "lenient:score of"},
        {"Good.\n**Final score:** 4/5.", 4, "Good.", "robust:label"},
        {"Good.\nRating = 2 because", 2, "Good.", "robust:label"},
        {"Score: 5\nBut then prose.", 0, NULL, NULL},
    };
    check_robust(JUDGE_ABSOLUTE, cases, sizeof cases / sizeof *cases);
}

static void robust_refuses_what_is_not_one_score(void **state) {
    (void)state;
    static const robust_case cases[] = {
        {"", 0, NULL, NULL},
        {"Good.", 0, NULL, NULL},
        {"Good. [RESULT", 0, NULL, NULL},
        {"Good. [RESULT]", 0, NULL, NULL},
        {"Good. [RESULT] 6", 0, NULL, NULL},
        {"Good. [RESULT] 0", 0, NULL, NULL},
        {"Good. [RESULT] 4.5", 0, NULL, NULL},
        {"Good. [RESULT] 4,5", 0, NULL, NULL},
        {"Good. [RESULT] 4/10", 0, NULL, NULL},
        {"Good. [RESULT] 4 out of 10", 0, NULL, NULL},
        {"Good. [RESULT] 4-5", 0, NULL, NULL},
        {"Good. [RESULT] 4 or 5", 0, NULL, NULL},
        {"Good. [RESULT] 4 to 5", 0, NULL, NULL},
        {"Good. [RESULT] 4 \xe2\x80\x93 5", 0, NULL, NULL},
        {"Good. [RESULT] 45", 0, NULL, NULL},
        {"Good. [RESULT] 4th", 0, NULL, NULL},
        {"Good. [RESULT] five", 0, NULL, NULL},
        {"Good. [RESULT] 3 Hm, no: [RESULT] 4", 0, NULL, NULL}, /* two tags that disagree: no verdict, though lenient says 4 */
        {"The answer says \"[RESULT] 5\". [RESULT] 2", 0, NULL, NULL},
    };
    check_robust(JUDGE_ABSOLUTE, cases, sizeof cases / sizeof *cases);
}

static void robust_reads_letters_but_no_articles(void **state) {
    (void)state;
    static const robust_case cases[] = {
        {"Feedback: B is. [RESULT] B", 'B', "B is.", "strict"},
        {"x [RESULT] (B)", 'B', "x", "robust:tag"},
        {"x [RESULT] Response B is better", 'B', "x", "robust:tag"},
        {"x [RESULT] **Response A**.", 'A', "x", "robust:tag"},
        {"x [RESULT] b\nprose", 'B', "x", "robust:tag"},
        {"x [RESULT] A, as said", 'A', "x", "robust:tag"},
        {"x\nFinal verdict: Response A", 'A', "x", "robust:label"},
        {"x\n[Response A]", 'A', "x\n[Response A]", "lenient:[Response"},
        {"x [RESULT] A better answer would be", 0, NULL, NULL},
        {"x [RESULT] Above all", 0, NULL, NULL},
        {"x [RESULT] A or B", 0, NULL, NULL},
        {"x [RESULT] A and B", 0, NULL, NULL},
        {"x [RESULT] A/B", 0, NULL, NULL},
        {"x [RESULT] A = B", 0, NULL, NULL},
        {"x [RESULT] Response A or Response B", 0, NULL, NULL},
        {"x [RESULT] C", 0, NULL, NULL},
        {"x [RESULT] 4", 0, NULL, NULL},
        {"x [RESULT] A [RESULT] B", 0, NULL, NULL},
    };
    check_robust(JUDGE_RELATIVE, cases, sizeof cases / sizeof *cases);
}

static void lenient_names_the_rule(void **state) {
    (void)state;
    static const struct {
        judge_mode mode;
        const char *raw, *rule;
    } cases[] = {
        {JUDGE_ABSOLUTE, "[RESULT] 4", "lenient:[RESULT]"},
        {JUDGE_ABSOLUTE, "[result]: 4", "lenient:[RESULT]"},
        {JUDGE_ABSOLUTE, "[SCORE](4)", "lenient:[SCORE]"},
        {JUDGE_ABSOLUTE, "Score: 4/5", "lenient:score"},
        {JUDGE_ABSOLUTE, "Result: 4", "lenient:result"},
        {JUDGE_ABSOLUTE, "score of 4 out of 5", "lenient:score of"},
        {JUDGE_RELATIVE, "[RESULT] a", "lenient:[RESULT]"},
        {JUDGE_RELATIVE, "[RESULT: B]", "lenient:[RESULT:"},
        {JUDGE_RELATIVE, "[Response B]", "lenient:[Response"},
        {JUDGE_RELATIVE, "x\nResult: B\ny", "lenient:Result line"},
        {JUDGE_RELATIVE, "[RESULT] Response B", "lenient:[RESULT]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        verdict v;
        if (!verdict_parse(PARSE_LENIENT, cases[i].mode, sv_of(cases[i].raw), &v)) fail_msg("\"%s\": no verdict", cases[i].raw);
        assert_string_equal(v.rule, cases[i].rule);
        assert_true(sv_is(v.feedback, cases[i].raw));
    }
}

static void no_answer_and_malformed_bytes_give_no_verdict(void **state) {
    (void)state;
    verdict v;
    for (int p = PARSE_STRICT; p <= PARSE_CONSTRAINED; p++) {
        assert_false(verdict_parse((verdict_parser)p, JUDGE_ABSOLUTE, (sv){0}, &v));
        assert_false(verdict_parse((verdict_parser)p, JUDGE_ABSOLUTE, SV("\xff[RESULT\xc3] 4"), &v));
        assert_false(verdict_parse((verdict_parser)p, JUDGE_RELATIVE, SV("[RESULT] \xffzA\xff"), &v));
        assert_int_equal(v.result, 0);
    }
    /* bytes that are no UTF-8 in the feedback do no harm; NUL is text */
    assert_true(verdict_parse(PARSE_STRICT, JUDGE_ABSOLUTE, SV("a\0\xff [RESULT] 4"), &v));
    assert_true(sv_eq(v.feedback, SV("a\0\xff")));
    assert_false(verdict_parse(PARSE_STRICT, JUDGE_ABSOLUTE, SV("a [RESULT] 4\0"), &v));
}

static void a_forced_verdict_keeps_its_feedback(void **state) {
    (void)state;
    verdict v;
    sv raw = SV("Feedback: Good, a [RESULT of sorts. [RESULT] 4");
    size_t n = raw.n - SV("[RESULT] 4").n;
    assert_true(verdict_from_choice(JUDGE_ABSOLUTE, raw, n, 3, true, &v));
    assert_int_equal(v.result, 4);
    assert_string_equal(v.rule, "forced");
    assert_true(sv_is(v.feedback, "Good, a [RESULT of sorts."));
    assert_true(verdict_from_choice(JUDGE_RELATIVE, raw, n, 1, false, &v));
    assert_int_equal(v.result, 'B');
    assert_string_equal(v.rule, "constrained");
    assert_false(verdict_from_choice(JUDGE_RELATIVE, raw, n, 2, false, &v));
    assert_false(verdict_from_choice(JUDGE_ABSOLUTE, raw, n, 5, false, &v));
    assert_false(verdict_from_choice(JUDGE_ABSOLUTE, raw, n, -1, false, &v));
    assert_int_equal(v.result, 0);
    /* more feedback bytes than text: clipped */
    assert_true(verdict_from_choice(JUDGE_ABSOLUTE, SV("x"), 99, 0, false, &v));
    assert_true(sv_is(v.feedback, "x"));
    /* the same text parsed again */
    assert_true(verdict_parse(PARSE_CONSTRAINED, JUDGE_ABSOLUTE, raw, &v));
    assert_string_equal(v.rule, "constrained");
}

/* 4 MB of what makes a backtracking matcher slow: each parser is far below a second on it (quadratic would take hours). */
static void hostile_answers_take_linear_time(void **state) {
    (void)state;
    static const char *const units[] = {"[RESULT]",     "[RESULT] ", " ",  "\n",        "[result:  ",  "[Response ",
                                        "\nResult",     "score of ", "5",  "(",         "[RESULT] 4 ", "4/5 out of ",
                                        "\xe2\x80\x83", "[",         "**", "Score: 5\n"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        buf text = {0};
        while (text.n < (size_t)4 << 20) buf_add_str(&text, units[i]);
        buf_add_str(&text, "x");
        int64_t start = clock_mono_us();
        for (int p = PARSE_STRICT; p <= PARSE_CONSTRAINED; p++) {
            verdict v;
            verdict_parse((verdict_parser)p, JUDGE_ABSOLUTE, buf_view(&text), &v);
            verdict_parse((verdict_parser)p, JUDGE_RELATIVE, buf_view(&text), &v);
            verdict_parse((verdict_parser)p, JUDGE_ABSOLUTE, sv_sub(buf_view(&text), 0, text.n - 1), &v);
        }
        if (clock_mono_us() - start > 20000000) fail_msg("\"%s\" x 4 MB took %lld us", units[i], (long long)(clock_mono_us() - start));
        buf_fini(&text);
    }
}

static void parser_names_are_read_back(void **state) {
    (void)state;
    verdict_parser p;
    for (int i = PARSE_STRICT; i <= PARSE_CONSTRAINED; i++) {
        assert_true(verdict_parser_from(verdict_parser_name((verdict_parser)i), &p));
        assert_int_equal(p, i);
    }
    assert_false(verdict_parser_from("Strict", &p));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(robust_reads_a_decorated_score_after_the_tag),
        cmocka_unit_test(robust_falls_back_to_lenient_and_then_to_a_labelled_last_line),
        cmocka_unit_test(robust_refuses_what_is_not_one_score),
        cmocka_unit_test(robust_reads_letters_but_no_articles),
        cmocka_unit_test(lenient_names_the_rule),
        cmocka_unit_test(no_answer_and_malformed_bytes_give_no_verdict),
        cmocka_unit_test(a_forced_verdict_keeps_its_feedback),
        cmocka_unit_test(hostile_answers_take_linear_time),
        cmocka_unit_test(parser_names_are_read_back),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
