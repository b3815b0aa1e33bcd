/* The run journal: records, texts, the lock, refusals with their messages, and faults: kill -9, a full disk, a read-only folder. */
#include "base/file.h"
#include "base/mem.h"
#include "store/journal.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

static char folder[64];
static char path[128];

static int new_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/gavel-journal-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/out.jsonl.run", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    char cmd[256];
    snprintf(cmd, sizeof cmd, "chmod -R u+w %s && rm -rf %s", folder, folder);
    return system(cmd);
}

static journal *open_ok(journal_mode mode) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(path, mode, &err);
    if (!j) fail_msg("%s", err.msg);
    return j;
}

static void open_fails(const char *at, journal_mode mode, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(at, mode, &err);
    assert_null(j);
    if (!strstr(err.msg, message)) fail_msg("message \"%s\" does not hold \"%s\"", err.msg, message);
    assert_int_equal(err.code, code);
}

static void put_ok(journal *j, journal_key k, bool failed, const char *text) {
    gv_err err = GV_ERR_INIT;
    if (!journal_put(j, k, failed, sv_of(text), &err)) fail_msg("%s", err.msg);
}

static void sql_ok(const char *at, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(at, &db), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s", message);
    sqlite3_close(db);
}

static void write_file(const char *at, const void *p, size_t n) {
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void records_come_back_in_key_order_after_reopening(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    put_ok(j, (journal_key){7, 1, 0}, false, "seven-one");
    put_ok(j, (journal_key){2, 0, 3}, true, "two-sample-three");
    put_ok(j, (journal_key){JOURNAL_MAX_ROW, JOURNAL_MAX_VARIANT, JOURNAL_MAX_SAMPLE}, false, "last");
    put_ok(j, (journal_key){7, 0, JOURNAL_MAX_SAMPLE}, false, "seven");
    put_ok(j, (journal_key){0, 0, 0}, false, "");
    journal_close(j);
    j = open_ok(JOURNAL_READ);
    static const struct {
        journal_key k;
        bool failed;
        const char *text;
    } want[] = {{{0, 0, 0}, false, ""},
                {{2, 0, 3}, true, "two-sample-three"},
                {{7, 0, JOURNAL_MAX_SAMPLE}, false, "seven"},
                {{7, 1, 0}, false, "seven-one"},
                {{JOURNAL_MAX_ROW, JOURNAL_MAX_VARIANT, JOURNAL_MAX_SAMPLE}, false, "last"}};
    journal_cursor c = {0};
    gv_err err = GV_ERR_INIT;
    bool end;
    for (size_t i = 0; i < 5; i++) {
        assert_true(journal_next(j, &c, &end, &err));
        assert_false(end);
        assert_memory_equal(&c.key, &want[i].k, sizeof c.key);
        assert_int_equal(c.failed, want[i].failed);
        assert_true(sv_is(c.record, want[i].text));
    }
    assert_true(journal_next(j, &c, &end, &err) && end);
    assert_true(journal_next(j, &c, &end, &err) && end);
    c = (journal_cursor){.next = {7, 1, 0}};
    assert_true(journal_next(j, &c, &end, &err) && !end && sv_is(c.record, "seven-one"));
    journal_counts n = journal_count(j);
    assert_int_equal(n.records, 5);
    assert_int_equal(n.failed, 1);
    assert_true(journal_check(j, &err));
    journal_close(j);
}

static void a_put_replaces_and_counters_follow(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    gv_err err = GV_ERR_INIT;
    journal_key k = {4, 0, 0};
    bool found, failed;
    buf b = {0};
    put_ok(j, k, true, "bad");
    put_ok(j, k, true, "bad again");
    assert_int_equal(journal_count(j).failed, 1);
    put_ok(j, k, false, "good");
    assert_int_equal(journal_count(j).failed, 0);
    assert_int_equal(journal_count(j).records, 1);
    assert_true(journal_get(j, k, &found, &failed, &b, &err) && found && !failed);
    assert_string_equal(b.p, "good");
    assert_true(journal_get(j, (journal_key){5, 0, 0}, &found, NULL, NULL, &err) && !found);
    put_ok(j, (journal_key){5, 0, 0}, true, "x");
    put_ok(j, (journal_key){6, 0, 0}, true, "y");
    assert_true(journal_delete(j, (journal_key){6, 0, 0}, &err));
    assert_true(journal_delete(j, (journal_key){600, 0, 0}, &err));
    assert_int_equal(journal_count(j).failed, 1);
    uint64_t n;
    assert_true(journal_delete_failed(j, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(journal_count(j).records, 1);
    assert_true(journal_get(j, (journal_key){5, 0, 0}, &found, NULL, NULL, &err) && !found);
    assert_true(journal_check(j, &err));
    buf_fini(&b);
    journal_close(j);
}

static void any_bytes_are_kept_in_records(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    gv_err err = GV_ERR_INIT;
    size_t n = 3u << 20;
    char *big = gv_xmalloc(n);
    for (size_t i = 0; i < n; i++) big[i] = (char)(i * 31 >> 3);
    bool found;
    buf b = {0};
    assert_true(journal_put(j, (journal_key){1, 0, 0}, false, (sv){big, n}, &err));
    assert_true(journal_get(j, (journal_key){1, 0, 0}, &found, NULL, &b, &err) && found);
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, big, n);
    buf_fini(&b);
    free(big);
    journal_close(j);
}

static bool collect(void *ctx, sv name, sv text) {
    buf_printf(ctx, SV_FMT "=" SV_FMT ";", SV_ARG(name), SV_ARG(text));
    return true;
}

static void texts_are_kept_and_walked_by_name(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    gv_err err = GV_ERR_INIT;
    assert_true(journal_set_meta(j, "settings", SV("{\"a\":1}"), &err));
    assert_true(journal_set_meta(j, "gavel", SV("0.1.0"), &err));
    assert_true(journal_set_meta(j, "settings", SV("{\"a\":2}"), &err));
    assert_true(journal_set_meta(j, "", SV("unnamed"), &err));
    journal_close(j);
    j = open_ok(JOURNAL_READ);
    buf b = {0};
    assert_true(journal_each_meta(j, collect, &b, &err));
    assert_string_equal(b.p, "=unnamed;gavel=0.1.0;settings={\"a\":2};");
    bool found;
    assert_true(journal_get_meta(j, "absent", &found, NULL, &err) && !found);
    buf_clear(&b);
    assert_true(journal_get_meta(j, "gavel", &found, &b, &err) && found);
    assert_string_equal(b.p, "0.1.0");
    buf_fini(&b);
    journal_close(j);
}

static void a_transaction_is_all_or_nothing(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    gv_err err = GV_ERR_INIT;
    assert_true(journal_begin(j, &err));
    put_ok(j, (journal_key){1, 0, 0}, true, "a");
    assert_false(journal_sync(j, &err));
    gv_err_clear(&err);
    journal_rollback(j);
    assert_int_equal(journal_count(j).records, 0);
    assert_true(journal_check(j, &err));
    assert_true(journal_begin(j, &err));
    put_ok(j, (journal_key){1, 0, 0}, true, "a");
    put_ok(j, (journal_key){2, 0, 0}, false, "b");
    assert_true(journal_commit(j, &err));
    assert_int_equal(journal_count(j).records, 2);
    assert_true(journal_check(j, &err));
    assert_false(journal_commit(j, &err));
    assert_int_equal(err.code, GV_STATE);
    journal_close(j);
}

static void keys_and_records_over_the_caps_are_refused_by_name(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    static const journal_key over[] = {{JOURNAL_MAX_ROW + 1, 0, 0}, {0, JOURNAL_MAX_VARIANT + 1, 0}, {0, 0, JOURNAL_MAX_SAMPLE + 1}};
    for (size_t i = 0; i < 3; i++) {
        gv_err err = GV_ERR_INIT;
        assert_false(journal_put(j, over[i], false, SV("x"), &err));
        assert_int_equal(err.code, GV_LIMIT);
        assert_non_null(strstr(err.msg, "is over the cap of row 68719476735, variant 8191, sample 16383"));
    }
    gv_err err = GV_ERR_INIT;
    assert_false(journal_put(j, (journal_key){3, 0, 0}, false, (sv){"x", JOURNAL_MAX_RECORD_BYTES + 1}, &err));
    assert_int_equal(err.code, GV_LIMIT);
    assert_non_null(strstr(err.msg, "the record of row 3 has 268435457 bytes, the cap is 268435456"));
    journal_close(j);
}

static void a_second_opener_is_refused_and_told_who_holds_it(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    put_ok(j, (journal_key){1, 0, 0}, false, "x");
    char want[200];
    snprintf(want, sizeof want, "%s is in use by process %ld; wait for it or stop it", path, (long)getpid());
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* exits without cmocka's reports */
        for (int mode = 0; mode < 2; mode++) {
            gv_err err = GV_ERR_INIT;
            if (journal_open(path, mode ? JOURNAL_READ : JOURNAL_OPEN, &err) || err.code != GV_STATE) _exit(1);
            if (!strstr(err.msg, want) && !strstr(err.msg, "in use by another process")) _exit(2);
            if (access("/proc/locks", R_OK) == 0 && !strstr(err.msg, want)) _exit(3);
        }
        gv_err err = GV_ERR_INIT;
        if (journal_remove(path, &err) || err.code != GV_STATE) _exit(4);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    open_fails(path, JOURNAL_OPEN, GV_STATE, "is in use by"); /* also within one process */
    put_ok(j, (journal_key){2, 0, 0}, false, "y");
    journal_close(j);
    j = open_ok(JOURNAL_OPEN);
    assert_int_equal(journal_count(j).records, 2);
    journal_close(j);
}

static void a_journal_dropped_while_another_process_waits_is_not_written_on(void **state) {
    (void)state;
    char byte = 0;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork(); /* before the journal is open: SQLite knows a process's own locks, and a fork would inherit that */
    assert_true(child >= 0);
    if (child == 0) {
        gv_err err = GV_ERR_INIT;
        if (read(ready[0], &byte, 1) != 1) _exit(1);
        if (journal_open(path, JOURNAL_OPEN, &err) || err.code != GV_STATE) _exit(2); /* waits for the lock */
        _exit(strstr(err.msg, "was removed or replaced by another process") ? 0 : 3);
    }
    journal *j = open_ok(JOURNAL_OPEN);
    put_ok(j, (journal_key){1, 0, 0}, false, "x");
    assert_int_equal(write(ready[1], &byte, 1), 1);
    usleep(200000);
    gv_err err = GV_ERR_INIT;
    assert_true(journal_drop(j, &err));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(file_exists(path));
    close(ready[0]), close(ready[1]);
    assert_true(journal_drop(NULL, &err));
}

static void files_that_are_no_journals_are_refused_and_left_alone(void **state) {
    (void)state;
    static const char text[] = "{\"instruction\": \"not a journal\"}\n";
    write_file(path, text, sizeof text - 1);
    open_fails(path, JOURNAL_OPEN, GV_FORMAT, "is not a gavel journal");
    open_fails(path, JOURNAL_READ, GV_FORMAT, "is not a gavel journal");
    gv_err err = GV_ERR_INIT;
    assert_false(journal_remove(path, &err));
    assert_non_null(strstr(err.msg, "is not a gavel journal"));
    buf b = {0};
    gv_err_clear(&err);
    assert_true(file_read_all(path, 1000, &b, &err));
    assert_string_equal(b.p, text);
    buf_fini(&b);

    assert_int_equal(unlink(path), 0);
    sql_ok(path, "CREATE TABLE mine (x)");
    open_fails(path, JOURNAL_OPEN, GV_FORMAT, "is not a gavel journal (it is another program's SQLite file)");
    gv_err_clear(&err);
    assert_false(journal_remove(path, &err));
    assert_int_equal(err.code, GV_FORMAT);
    sql_ok(path, "INSERT INTO mine VALUES (1)");

    write_file(path, "", 0);
    open_fails(path, JOURNAL_READ, GV_FORMAT, "is not a gavel journal (it is empty)");
    journal_close(open_ok(JOURNAL_OPEN)); /* what a crash before the first commit leaves */
}

static void another_schema_is_refused(void **state) {
    (void)state;
    journal_close(open_ok(JOURNAL_OPEN));
    sql_ok(path, "PRAGMA user_version=2");
    open_fails(path, JOURNAL_OPEN, GV_STATE, "has schema 2, this gavel knows 1");
    sql_ok(path, "PRAGMA user_version=1; CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM meta; END");
    open_fails(path, JOURNAL_OPEN, GV_FORMAT, "is damaged: its tables are not those of schema 1");
    sql_ok(path, "DROP TRIGGER t; DROP INDEX record_by_failed; CREATE INDEX record_by_failed ON record (body)");
    open_fails(path, JOURNAL_OPEN, GV_FORMAT, "is damaged: its tables are not those of schema 1");
    sql_ok(path, "DROP VIEW records");
    open_fails(path, JOURNAL_OPEN, GV_FORMAT, "is damaged: its tables are not those of schema 1");
    gv_err err = GV_ERR_INIT;
    assert_true(journal_remove(path, &err));
    assert_false(file_exists(path));
    assert_true(journal_remove(path, &err));
}

static bool ignore_meta(void *ctx, sv name, sv text) {
    (void)ctx, (void)name, (void)text;
    return true;
}

static void damage_is_found(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    char text[500];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (uint64_t i = 0; i < 400; i++) put_ok(j, (journal_key){i, 0, 0}, false, text);
    journal_close(j);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    assert_int_equal(fseek(f, 4096 * 20, SEEK_SET), 0);
    assert_int_equal(fwrite(junk, 1, sizeof junk, f), sizeof junk);
    assert_int_equal(fclose(f), 0);
    gv_err err = GV_ERR_INIT;
    j = open_ok(JOURNAL_OPEN);
    assert_false(journal_check(j, &err));
    assert_int_equal(err.code, GV_FORMAT);
    assert_non_null(strstr(err.msg, "is damaged: "));
    journal_close(j);
    assert_int_equal(truncate(path, 4096 * 2), 0);
    open_fails(path, JOURNAL_READ, GV_FORMAT, "is damaged: ");
}

/* SQLite's own check finds nothing wrong with these. */
static void a_changed_byte_of_a_record_or_text_is_an_error(void **state) {
    (void)state;
    static const struct {
        const char *sql, *message;
    } cases[] = {
        {"UPDATE record SET body = CAST('verdict 3' AS BLOB) WHERE key = 1 << 27",
         "is damaged: the record of row 1 is not as it was written"},
        {"UPDATE record SET failed = 1 WHERE key = 1 << 27", "is damaged: the record of row 1 is not as it was written"},
        {"UPDATE record SET digest = digest + 1 WHERE key = 1 << 27", "is damaged: the record of row 1 is not as it was written"},
        {"UPDATE record SET key = 7 << 27 WHERE key = 1 << 27", "is damaged: the record of row 7 is not as it was written"},
        {"UPDATE meta SET value = CAST('Model' AS BLOB)", "is damaged: the text \"model\" is not as it was written"},
        {"UPDATE meta SET name = 'modem'", "is damaged: the text \"modem\" is not as it was written"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT, again = GV_ERR_INIT;
        assert_true(journal_remove(path, &err));
        journal *j = open_ok(JOURNAL_OPEN);
        put_ok(j, (journal_key){0, 0, 0}, false, "verdict 1");
        put_ok(j, (journal_key){1, 0, 0}, false, "verdict 2");
        assert_true(journal_set_meta(j, "model", SV("model"), &err));
        journal_close(j);
        sql_ok(path, cases[i].sql);
        j = open_ok(JOURNAL_READ);
        bool found, failed;
        buf out = {0};
        const bool text = strstr(cases[i].sql, "meta") != NULL;
        const bool named = text ? journal_get_meta(j, strstr(cases[i].sql, "modem") ? "modem" : "model", &found, &out, &err)
                                : journal_get(j, (journal_key){strstr(cases[i].sql, "key = 7") ? 7 : 1, 0, 0}, &found, &failed, &out, &err);
        assert_false(named);
        assert_int_equal(err.code, GV_FORMAT);
        assert_non_null(strstr(err.msg, cases[i].message));
        assert_int_equal(out.n, 0);
        buf_fini(&out);
        if (text) {
            assert_false(journal_each_meta(j, ignore_meta, NULL, &again));
        } else {
            journal_cursor c = {0};
            bool end = false;
            assert_true(journal_next(j, &c, &end, &again) && !end && c.key.row == 0);
            assert_false(journal_next(j, &c, &end, &again));
            assert_string_equal(again.msg, err.msg);
            gv_err_clear(&again);
            assert_false(journal_check(j, &again));
        }
        assert_string_equal(again.msg, err.msg);
        journal_close(j);
    }
}

static void absent_places_are_named(void **state) {
    (void)state;
    char at[200];
    open_fails(path, JOURNAL_READ, GV_IO, "out.jsonl.run: No such file or directory");
    assert_false(file_exists(path));
    snprintf(at, sizeof at, "%s/none/out.run", folder);
    open_fails(at, JOURNAL_OPEN, GV_IO, "none/out.run: No such file or directory");
    open_fails(folder, JOURNAL_OPEN, GV_IO, "Is a directory");
    write_file(path, "x", 1);
    snprintf(at, sizeof at, "%s/out.run", path);
    open_fails(at, JOURNAL_OPEN, GV_IO, "out.run: Not a directory");
}

static void odd_names_are_just_names(void **state) {
    (void)state;
    char cwd[1000];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(folder), 0);
    static const char *const names[] = {":memory:", "file:x?mode=memory", "100%25 #1?.run"};
    for (size_t i = 0; i < 3; i++) {
        gv_err err = GV_ERR_INIT;
        journal *j = journal_open(names[i], JOURNAL_OPEN, &err);
        if (!j) fail_msg("%s", err.msg);
        put_ok(j, (journal_key){9, 0, 0}, false, "z");
        journal_close(j);
        assert_true(file_exists(names[i]));
        assert_int_equal(chmod(names[i], 0444), 0);
        j = journal_open(names[i], JOURNAL_READ, &err);
        if (!j) fail_msg("%s", err.msg);
        assert_int_equal(journal_count(j).records, 1);
        journal_close(j);
    }
    assert_int_equal(chdir(cwd), 0);
}

/* The child puts records 0.. and writes each number to a pipe after the put returned; the parent kills it after a random time. */
static void put_until_killed(int fd, uint64_t from) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(path, JOURNAL_OPEN, &err);
    if (!j) _exit(1);
    buf b = {0};
    for (uint64_t i = from;; i++) {
        buf_clear(&b);
        buf_printf(&b, "record %llu ", (unsigned long long)i);
        while (b.n < 200 + i * 37 % 9000) buf_add_char(&b, (char)('a' + i % 26));
        if (!journal_put(j, (journal_key){i, 0, 0}, i % 7 == 0, buf_view(&b), &err)) _exit(2);
        if (write(fd, &i, sizeof i) != sizeof i) _exit(3);
        if (i % 400 == 399 && !journal_sync(j, &err)) _exit(4);
        if (i % 900 == 899) {
            journal_close(j);
            j = journal_open(path, JOURNAL_OPEN, &err);
            if (!j) _exit(5);
        }
    }
}

static uint64_t check_survivors(uint64_t acknowledged) {
    gv_err err = GV_ERR_INIT;
    journal *j = open_ok(JOURNAL_OPEN);
    if (!journal_check(j, &err)) fail_msg("%s", err.msg);
    journal_cursor c = {0};
    bool end;
    uint64_t n = 0;
    while (journal_next(j, &c, &end, &err) && !end) {
        char head[40];
        assert_int_equal(c.key.row, n);
        size_t len = (size_t)snprintf(head, sizeof head, "record %llu ", (unsigned long long)n);
        assert_true(c.record.n >= len && memcmp(c.record.p, head, len) == 0);
        assert_int_equal(c.record.n, 200 + n * 37 % 9000 > len ? 200 + n * 37 % 9000 : len);
        assert_int_equal(c.failed, n % 7 == 0);
        n++;
    }
    assert_int_equal(err.code, GV_OK);
    assert_true(n >= acknowledged); /* at most one more was committed but not yet told */
    assert_true(n <= acknowledged + 1);
    journal_close(j);
    return n;
}

static void kill_9_at_any_moment_loses_no_acknowledged_record(void **state) {
    (void)state;
    unsigned seed = 20261123;
    printf("seed %u\n", seed);
    uint64_t n = 0;
    for (int round = 0; round < 30; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            put_until_killed(fds[1], n);
        }
        close(fds[1]);
        seed = seed * 1103515245u + 12345u;
        usleep((seed >> 8) % 60000);
        assert_int_equal(kill(child, SIGKILL), 0);
        uint64_t told, acknowledged = n;
        while (read(fds[0], &told, sizeof told) == sizeof told) acknowledged = told + 1;
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) fail_msg("the child ended by itself with %d", WEXITSTATUS(status));
        n = check_survivors(acknowledged);
    }
    assert_true(n > 100); /* it did write in between */
    printf("%llu records survived 30 kills\n", (unsigned long long)n);
}

/* Puts until it fails; exits 0 when it failed with the message wanted and earlier records are still readable. */
static void fill_until_full(const char *at, const char *want) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(at, JOURNAL_OPEN, &err);
    char text[3000];
    memset(text, 'f', sizeof text);
    uint64_t i = 0;
    while (j && i < 10000 && journal_put(j, (journal_key){i, 0, 0}, false, (sv){text, sizeof text}, &err)) i++;
    fprintf(stderr, "after %llu records: %s\n", (unsigned long long)i, err.msg);
    if (!j || i == 0 || i == 10000 || err.code != GV_IO || !strstr(err.msg, want)) _exit(1);
    gv_err_clear(&err);
    bool found;
    if (!journal_get(j, (journal_key){i - 1, 0, 0}, &found, NULL, NULL, &err) || !found || journal_count(j).records != i) _exit(2);
    if (journal_get(j, (journal_key){i, 0, 0}, &found, NULL, NULL, &err) && found) _exit(3);
}

static void a_file_size_limit_stops_with_a_message_and_can_be_resumed(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {400000, 400000};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(9);
        fill_until_full(path, "out.jsonl.run: File too large");
        _exit(0); /* no close: as a crash would leave it */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    gv_err err = GV_ERR_INIT;
    journal *j = open_ok(JOURNAL_OPEN);
    assert_true(journal_check(j, &err));
    assert_true(journal_count(j).records > 10);
    put_ok(j, (journal_key){999999, 0, 0}, false, "goes on");
    journal_close(j);
}

/* Runs in a mount namespace of its own: a disk of 1 MiB, half of it filled; a child writes until it is full, then space is freed. */
static void full_disk_story(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", 0, "size=1m") != 0)
        _exit(77);
    char filler[128];
    static char half[500 * 1024];
    snprintf(filler, sizeof filler, "%s/filler", folder);
    write_file(filler, half, sizeof half);
    pid_t child = fork();
    if (child == 0) {
        fill_until_full(path, "out.jsonl.run: No space left on device; free some and run the same command again");
        _exit(0); /* no close: as a crash would leave it */
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) _exit(4);
    gv_err err = GV_ERR_INIT;
    unlink(filler);
    journal *j = journal_open(path, JOURNAL_OPEN, &err);
    if (!j || !journal_check(j, &err) || journal_count(j).records < 10) _exit(5);
    if (!journal_put(j, (journal_key){999999, 0, 0}, false, SV("goes on"), &err)) _exit(6);
    journal_close(j);
    _exit(0);
}

static int run_child(void (*story)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) story();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void a_full_disk_stops_with_a_message_and_can_be_resumed(void **state) {
    (void)state;
    int code = run_child(full_disk_story);
    if (code == 77) {
        printf("a tmpfs cannot be mounted here: skipped\n");
        skip();
    }
    assert_int_equal(code, 0);
}

/* Root may write everywhere: be somebody else. */
static void drop_root(void) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(77);
}

static void read_only_folder_story(void) {
    drop_root();
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(path, JOURNAL_READ, &err); /* reading works, without a trace in the folder */
    if (!j || journal_count(j).records != 1) _exit(1);
    if (journal_put(j, (journal_key){2, 0, 0}, false, SV("x"), &err) || err.code != GV_STATE || !strstr(err.msg, "was opened for reading"))
        _exit(2);
    gv_err_clear(&err);
    if (!journal_check(j, &err)) _exit(3);
    journal_close(j);
    if (journal_open(path, JOURNAL_OPEN, &err) || err.code != GV_IO) _exit(4);
    fprintf(stderr, "%s\n", err.msg);
    if (!strstr(err.msg, "out.jsonl.run: ") || !strstr(err.msg, "it is read-only")) _exit(5);
    gv_err_clear(&err);
    char fresh[140];
    snprintf(fresh, sizeof fresh, "%s/new.run", folder);
    if (journal_open(fresh, JOURNAL_OPEN, &err)) _exit(9);
    fprintf(stderr, "%s\n", err.msg);
    if (err.code != GV_IO || !strstr(err.msg, "new.run: its folder is read-only")) _exit(6);
    if (file_exists(fresh)) _exit(7);
    gv_err_clear(&err);
    snprintf(fresh, sizeof fresh, "%s/pending.run", folder);
    if (journal_open(fresh, JOURNAL_READ, &err) || err.code != GV_IO || !strstr(err.msg, "pending.run-wal must be folded into it first"))
        _exit(8);
    _exit(0);
}

static void a_read_only_folder_is_named_and_reading_still_works(void **state) {
    (void)state;
    journal *j = open_ok(JOURNAL_OPEN);
    put_ok(j, (journal_key){1, 0, 0}, false, "x");
    journal_close(j);
    char pending[140];
    snprintf(pending, sizeof pending, "%s/pending.run", folder);
    write_file(pending, "x", 1);
    strcat(pending, "-wal");
    write_file(pending, "x", 1);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    int code = run_child(read_only_folder_story);
    assert_int_equal(chmod(folder, 0755), 0);
    if (code == 77) {
        printf("cannot become another user: skipped\n");
        skip();
    }
    assert_int_equal(code, 0);
}

static void writable_file_story(void) {
    drop_root();
    gv_err err = GV_ERR_INIT;
    if (journal_open(path, JOURNAL_OPEN, &err) || err.code != GV_IO) _exit(1);
    fprintf(stderr, "%s\n", err.msg);
    if (!strstr(err.msg, "out.jsonl.run: its folder is read-only")) _exit(2);
    _exit(0);
}

static void a_writable_journal_in_a_read_only_folder_is_named(void **state) {
    (void)state;
    journal_close(open_ok(JOURNAL_OPEN));
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    int code = run_child(writable_file_story);
    assert_int_equal(chmod(folder, 0755), 0);
    if (code == 77) skip();
    assert_int_equal(code, 0);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, new_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(records_come_back_in_key_order_after_reopening),
        EACH(a_put_replaces_and_counters_follow),
        EACH(any_bytes_are_kept_in_records),
        EACH(texts_are_kept_and_walked_by_name),
        EACH(a_transaction_is_all_or_nothing),
        EACH(keys_and_records_over_the_caps_are_refused_by_name),
        EACH(a_second_opener_is_refused_and_told_who_holds_it),
        EACH(a_journal_dropped_while_another_process_waits_is_not_written_on),
        EACH(files_that_are_no_journals_are_refused_and_left_alone),
        EACH(another_schema_is_refused),
        EACH(damage_is_found),
        EACH(a_changed_byte_of_a_record_or_text_is_an_error),
        EACH(absent_places_are_named),
        EACH(odd_names_are_just_names),
        EACH(kill_9_at_any_moment_loses_no_acknowledged_record),
        EACH(a_file_size_limit_stops_with_a_message_and_can_be_resumed),
        EACH(a_full_disk_stops_with_a_message_and_can_be_resumed),
        EACH(a_read_only_folder_is_named_and_reading_still_works),
        EACH(a_writable_journal_in_a_read_only_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
