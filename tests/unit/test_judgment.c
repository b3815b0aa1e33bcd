/* The judgment record: what is written is read back, and what is wrong is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "judge/judgment.h"

static arena a;

static int set_up(void **state) {
    (void)state;
    arena_init(&a);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_fini(&a);
    return 0;
}

static judgment read_back(const judgment *j) {
    buf text = {0}, again = {0};
    gv_err err = GV_ERR_INIT;
    judgment k;
    judgment_to_json(j, &text);
    if (!judgment_from_json(buf_view(&text), &k, &a, &err)) fail_msg("%s: %s", err.msg, text.p);
    judgment_to_json(&k, &again);
    assert_string_equal(text.p, again.p);
    buf_fini(&text);
    buf_fini(&again);
    return k;
}

static void a_full_record_is_read_back(void **state) {
    (void)state;
    judgment j = {
        .row = UINT64_MAX, .row_id = SV("id \"7\"\n"), .sample = UINT32_MAX, .attempt = UINT32_MAX, .order = 'B', .seed = UINT64_MAX - 1};
    memset(j.row_hash, 'f', 64);
    j.prompt_tokens = INT64_MAX;
    j.cached_tokens = 32;
    j.output_tokens = 160;
    j.finish = "length";
    j.raw = SV("a\0b \xf0\x9f\x91\x8d [RESULT] 4");
    j.has_raw = j.has_feedback = j.forced = j.has_logprobs = true;
    j.feedback = SV("a\0b");
    j.verdict = 4;
    j.message = SV("note");
    j.rule = "forced";
    for (int i = 0; i < 5; i++) j.choice_logprob[i] = -0.1 * (i + 1);
    j.choice_logprob[2] = -INFINITY;
    j.expected_score = 3.9000000000000004;
    j.wait_us = 1;
    j.prefill_us = 2;
    j.decode_us = 3;
    judgment k = read_back(&j);
    assert_true(k.row == j.row && k.sample == j.sample && k.attempt == j.attempt && k.seed == j.seed && k.order == 'B');
    assert_true(sv_eq(k.row_id, j.row_id) && sv_eq(k.raw, j.raw) && sv_eq(k.feedback, j.feedback) && sv_eq(k.message, j.message));
    assert_string_equal(k.row_hash, j.row_hash);
    assert_true(k.has_raw && k.has_feedback && k.forced && k.has_logprobs);
    assert_true(k.prompt_tokens == INT64_MAX && k.cached_tokens == 32 && k.output_tokens == 160);
    assert_true(k.wait_us == 1 && k.prefill_us == 2 && k.decode_us == 3);
    assert_string_equal(k.finish, "length");
    assert_string_equal(k.rule, "forced");
    assert_int_equal(k.verdict, 4);
    assert_int_equal(k.status, JUDGMENT_OK);
    assert_true(memcmp(k.choice_logprob, j.choice_logprob, sizeof j.choice_logprob) == 0);
    assert_true(k.expected_score == j.expected_score);
}

static void an_empty_answer_differs_from_none(void **state) {
    (void)state;
    judgment j = {.status = JUDGMENT_UNPARSABLE, .row_id = SV("0"), .has_raw = true};
    judgment k = read_back(&j);
    assert_true(k.has_raw && k.raw.n == 0 && !k.has_feedback && k.verdict == 0 && k.finish == NULL && k.rule == NULL);
    j.has_raw = false;
    assert_false(read_back(&j).has_raw);
    j = (judgment){.status = JUDGMENT_OK, .verdict = 'B', .has_feedback = true, .row_id = SV("0")};
    k = read_back(&j);
    assert_int_equal(k.verdict, 'B');
    assert_true(k.has_feedback && k.feedback.n == 0);
}

static void every_status_is_read_back(void **state) {
    (void)state;
    static const char *const names[] = {"ok", "unparsable", "truncated", "too_long", "bad_input", "refused", "error"};
    for (int s = JUDGMENT_OK; s <= JUDGMENT_ERROR; s++) {
        judgment j = {.status = (judgment_status)s, .verdict = s == JUDGMENT_OK ? 1 : 0};
        assert_int_equal(read_back(&j).status, s);
        assert_string_equal(judgment_status_name((judgment_status)s), names[s]);
    }
}

static void malformed_bytes_become_replacement_characters(void **state) {
    (void)state;
    judgment j = {.status = JUDGMENT_UNPARSABLE,
                  .has_raw = true,
                  .raw = SV("a\xff"
                            "b")};
    assert_true(sv_eq(read_back(&j).raw, SV("a\xef\xbf\xbd"
                                            "b")));
}

static void wrong_records_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "judgment record: array, not an object"},
        {"{\"row\":1}", "judgment record: there is no status"},
        {"{\"status\":\"ok\"}", "judgment record: there is no row"},
        {"{\"row\":-1,\"status\":\"ok\"}", "judgment record: row is out of range"},
        {"{\"row\":1.0,\"status\":\"ok\"}", "judgment record: row is out of range"},
        {"{\"row\":18446744073709551616,\"status\":\"ok\"}", "judgment record: row is out of range"},
        {"{\"row\":\"1\",\"status\":\"ok\"}", "judgment record: row is string, not a number"},
        {"{\"row\":1,\"status\":\"fine\"}", "judgment record: unknown status \"fine\""},
        {"{\"row\":1,\"status\":7}", "judgment record: status is number, not text"},
        {"{\"row\":1,\"status\":\"ok\"}", "judgment record: status ok without a verdict"},
        {"{\"row\":1,\"status\":\"error\",\"verdict\":3}", "judgment record: status error with a verdict"},
        {"{\"row\":1,\"status\":\"ok\",\"verdict\":6}", "judgment record: the verdict is neither 1 to 5 nor A or B"},
        {"{\"row\":1,\"status\":\"ok\",\"verdict\":\"C\"}", "judgment record: the verdict is neither 1 to 5 nor A or B"},
        {"{\"row\":1,\"row_hash\":\"ab\",\"status\":\"error\"}", "judgment record: row_hash has 2 characters, not 64"},
        {"{\"row\":1,\"sample\":4294967296,\"status\":\"error\"}", "judgment record: sample is out of range"},
        {"{\"row\":1,\"order\":\"C\",\"status\":\"error\"}", "judgment record: order is neither A nor B"},
        {"{\"row\":1,\"status\":\"error\",\"raw\":null}", "judgment record: raw is null, not text"},
        {"{\"row\":1,\"status\":\"error\",\"forced\":1}", "judgment record: forced is number, not true or false"},
        {"{\"row\":1,\"status\":\"error\",\"output_tokens\":-1}", "judgment record: output_tokens is out of range"},
        {"{\"row\":1,\"status\":\"error\",\"choice_logprobs\":[1]}", "judgment record: choice_logprobs is not a list of 5"},
        {"{\"row\":1,\"status\":\"error\",\"choice_logprobs\":[1,2,3,4,\"\"]}",
         "judgment record: choice_logprobs holds something that is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        judgment j;
        assert_false(judgment_from_json(sv_of(cases[i].text), &j, &a, &err));
        assert_string_equal(err.msg, cases[i].message);
        assert_int_equal(err.code, GV_FORMAT);
    }
    gv_err err = GV_ERR_INIT;
    judgment j;
    assert_false(judgment_from_json(SV("{\"row\":1"), &j, &a, &err));
    assert_int_equal(strncmp(err.msg, "judgment record: invalid JSON at byte 8", 39), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_record_is_read_back),        cmocka_unit_test(an_empty_answer_differs_from_none),
        cmocka_unit_test(every_status_is_read_back),         cmocka_unit_test(malformed_bytes_become_replacement_characters),
        cmocka_unit_test(wrong_records_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("judgment", tests, set_up, tear_down);
}
