/* Errors and the log: set once, kept, put into context, always valid UTF-8 without control characters, cut at a character. */
#include "support/base_check.h"

#include "base/log.h"

#include <errno.h>

static void the_first_error_is_kept(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    assert_false(gv_fail(&err, GV_FORMAT, 17, "line %d: %s", 3, "bad"));
    assert_false(gv_fail(&err, GV_IO, 2, "later"));
    assert_false(gv_fail_errno(&err, "later still"));
    assert_int_equal(err.code, GV_FORMAT);
    assert_int_equal(err.where, 17);
    assert_string_equal(err.msg, "line 3: bad");
}

static void an_error_without_a_place_to_put_it_is_still_a_failure(void **state) {
    (void)state;
    assert_false(gv_fail(NULL, GV_FORMAT, 0, "x"));
    assert_false(gv_fail_errno(NULL, "x"));
    assert_false(gv_context(NULL, "x"));
}

static void the_reason_of_the_system_is_appended(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    errno = ENOSPC;
    assert_false(gv_fail_errno(&err, "cannot write %s", "out.jsonl"));
    assert_int_equal(err.code, GV_IO);
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(err.msg, "cannot write out.jsonl: No space left on device");
}

static void the_reason_is_shown_even_after_an_overlong_name(void **state) {
    (void)state;
    char name[4096];
    for (size_t i = 0; i + 2 < sizeof name; i += 2) memcpy(name + i, "\xC3\xA9", 3); /* e with acute */
    for (int shift = 0; shift < 2; shift++) {
        gv_err err = GV_ERR_INIT;
        errno = EACCES;
        gv_fail_errno(&err, "cannot open %s%s", shift ? "x" : "", name);
        assert_true(sv_ends(sv_of(err.msg), SV("\xC3\xA9: Permission denied")));
        assert_true(strlen(err.msg) > 1000);
        assert_int_equal(utf8_invalid_at(sv_of(err.msg)), SIZE_MAX);
    }
}

static void context_goes_in_front(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    gv_context(&err, "nothing happened");
    assert_string_equal(err.msg, "");
    gv_fail(&err, GV_LIMIT, 5, "too long");
    assert_false(gv_context(&err, "row %d", 7));
    assert_false(gv_context(&err, "rows.jsonl"));
    assert_string_equal(err.msg, "rows.jsonl: row 7: too long");
    assert_int_equal(err.where, 5);
    gv_err_clear(&err);
    assert_int_equal(err.code, GV_OK);
    assert_int_equal(err.where, -1);
    gv_fail(&err, GV_IO, -1, "new");
    assert_string_equal(err.msg, "new");
}

static void messages_are_cut_at_a_character(void **state) {
    (void)state;
    for (int shift = 0; shift < 4; shift++) {
        char text[2000] = "aaa";
        size_t n = (size_t)shift;
        while (n + 4 < sizeof text) {
            memcpy(text + n, "\xF0\x9F\x99\x82", 5);
            n += 4;
        }
        gv_err err = GV_ERR_INIT;
        gv_fail(&err, GV_FORMAT, -1, "%s", text);
        size_t len = strlen(err.msg);
        assert_int_equal(len, (1023 - (size_t)shift) / 4 * 4 + (size_t)shift);
        assert_memory_equal(err.msg, text, len);
        gv_context(&err, "in front");
        assert_int_equal(utf8_invalid_at(sv_of(err.msg)), SIZE_MAX);
    }
}

static void hostile_bytes_do_not_reach_the_terminal(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    gv_fail(&err, GV_FORMAT, -1, "tensor \"%s\"", "a\x1b[2J\x07\xff\xc2\x9b\x7f\tb\nc");
    assert_string_equal(err.msg, "tensor \"a?[2J?\xEF\xBF\xBD??\tb\nc\"");
}

static int n_logged;
static char last_logged[64];
static void keep(log_level level, const char *msg) {
    n_logged += 1 + (int)level * 0;
    strncpy(last_logged, msg, sizeof last_logged - 1);
}

static void the_log_reaches_its_sink_up_to_its_level(void **state) {
    (void)state;
    log_msg(LOG_WARN, "dropped");
    log_set(keep, LOG_INFO);
    log_msg(LOG_DEBUG, "dropped");
    assert_int_equal(n_logged, 0);
    log_msg(LOG_INFO, "slow path: %s", "ref\x1b");
    assert_int_equal(n_logged, 1);
    assert_string_equal(last_logged, "slow path: ref?");
    log_set(NULL, LOG_DEBUG);
    log_msg(LOG_WARN, "dropped");
    assert_int_equal(n_logged, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_is_kept),
        cmocka_unit_test(an_error_without_a_place_to_put_it_is_still_a_failure),
        cmocka_unit_test(the_reason_of_the_system_is_appended),
        cmocka_unit_test(the_reason_is_shown_even_after_an_overlong_name),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(messages_are_cut_at_a_character),
        cmocka_unit_test(hostile_bytes_do_not_reach_the_terminal),
        cmocka_unit_test(the_log_reaches_its_sink_up_to_its_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
