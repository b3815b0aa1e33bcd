/* pipeline.log: the layout of its lines, messages that hold line breaks, appending, a disk that is full. */
#include "base/file.h"
#include "pipe/run_log.h"

#include <time.h>

#include "support/base_check.h"

static char path[] = "/tmp/gavel-log-XXXXXX";

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}
static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void lines_look_as_distilabels(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf text = {0};
    setenv("TZ", "UTC", 1);
    tzset();
    for (int round = 0; round < 2; round++) { /* the second one appends */
        run_log *log = run_log_open(path, &err);
        assert_non_null(log);
        run_log_put_at(log, 1795538491 + round, round ? RUN_LOG_CRITICAL : RUN_LOG_INFO,
                       SV("\xf0\x9f\x93\x9d a\n[2026-01-01 00:00:00] INFO     forged\x1b[31m"));
        assert_true(run_log_close(log, &err));
    }
    assert_true(file_read_all(path, 10000, &text, &err));
    assert_string_equal(text.p, "[2026-11-24 16:41:31] INFO     \xf0\x9f\x93\x9d a\\n[2026-01-01 00:00:00] INFO     forged\\x1b[31m\n"
                                "[2026-11-24 16:41:32] CRITICAL \xf0\x9f\x93\x9d a\\n[2026-01-01 00:00:00] INFO     forged\\x1b[31m\n");
    buf_fini(&text);
    run_log *log = run_log_open(path, &err);
    run_log_put(log, RUN_LOG_WARNING, "%d rows", 3);
    assert_true(run_log_close(log, &err));
    assert_true(file_read_all(path, 10000, &text, &err));
    assert_true(sv_ends(buf_view(&text), SV("] WARNING  3 rows\n")));
    buf_fini(&text);
}

static void failures_are_reported_at_close(void **state) {
    (void)state;
    gv_err none = GV_ERR_INIT;
    run_log *log = run_log_open("/dev/full", &none);
    assert_non_null(log);
    run_log_put(log, RUN_LOG_INFO, "a");
    run_log_put(log, RUN_LOG_INFO, "b");
    CHECK_FAILS(run_log_close(log, &err), GV_IO, -1, "cannot write /dev/full: No space left on device");
    assert_true(run_log_close(NULL, &none));
    run_log_put(NULL, RUN_LOG_INFO, "nothing");
    assert_null(run_log_open("/nonexistent/log", &none));
    assert_string_equal(none.msg, "cannot write /nonexistent/log: No such file or directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_look_as_distilabels),
        cmocka_unit_test(failures_are_reported_at_close),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
