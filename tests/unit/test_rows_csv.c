/* CSV and TSV in (RFC 4180, files of Python's csv module), and the JSON lines and CSV writers. */
#include "base/file.h"
#include "data/rows.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int new_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/gavel-csv-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    char cmd[256];
    snprintf(cmd, sizeof cmd, "chmod u+w %s; rm -rf %s", folder, folder);
    return system(cmd);
}

static const char *at(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* "a|b\n" for each row of fields, "!message\n" for bad rows, "error N: message" at the end. The header comes first. */
static char *dump_with(sv text, rows_options o) {
    static buf b;
    gv_err err = GV_ERR_INIT;
    buf_clear(&b);
    buf_add(&b, "", 0);
    o.name = "f";
    rows_reader *r = rows_open_memory(text.p, text.n, &o, &err);
    size_t n;
    const sv *header = r ? rows_header(r, &n) : NULL;
    for (size_t i = 0; r && i < n; i++) buf_printf(&b, "%s" SV_FMT, i ? "|" : "", SV_ARG(header[i]));
    if (r) buf_add_char(&b, '\n');
    bool end = false;
    for (row w; r && rows_next(r, &w, &end, &err) && !end; buf_add_char(&b, '\n')) {
        if (w.bad) buf_printf(&b, "!" SV_FMT, SV_ARG(w.message));
        if (!w.bad) assert_int_equal(w.n_columns, n);
        for (size_t i = 0; i < w.n_columns; i++) {
            assert_true(sv_eq(w.columns[i].name, header[i]));
            sv v = json_string(w.columns[i].value);
            buf_printf(&b, "%s" SV_FMT, i ? "|" : "", SV_ARG(v));
        }
    }
    rows_close(r);
    if (err.code) buf_printf(&b, "error %d: %s", err.code, err.msg);
    return b.p;
}

static char *dump(rows_format format, sv text) {
    return dump_with(text, (rows_options){.format = format});
}

#define CSV(lit) dump(ROWS_CSV, SV(lit))
#define TSV(lit) dump(ROWS_TSV, SV(lit))

static void quotes_commas_and_line_breaks_live_in_quoted_fields(void **state) {
    (void)state;
    assert_string_equal(CSV("a,b\n1,2\n"), "a|b\n1|2\n");
    assert_string_equal(CSV("a,b\r\n\"x,y\",\"say \"\"hi\"\"\"\r\n\"two\r\nlines\",\r\n"), "a|b\nx,y|say \"hi\"\ntwo\r\nlines|\n");
    assert_string_equal(CSV("a,b\n\"\",\"\"\"\"\n,"), "a|b\n|\"\n|\n");
    assert_string_equal(CSV("\xef\xbb\xbf\"a\",b\n x , y \n"), "a|b\n x | y \n");
    assert_string_equal(CSV("a,b\n5\" disk,x\"y\"\n"), "a|b\n5\" disk|x\"y\"\n");
    assert_string_equal(TSV("a\tb\n1,2\t\"x\ty\"\n"), "a|b\n1,2|x\ty\n");
}

static void lines_end_with_crlf_lf_or_a_lone_cr(void **state) {
    (void)state;
    assert_string_equal(CSV("a,b\r1,2\r3,4"), "a|b\n1|2\n3|4\n");
    assert_string_equal(CSV("a,b\r\n\r\n\n1,2\r\r3,4\n\n"), "a|b\n1|2\n3|4\n");
    assert_string_equal(CSV("a,b\r1\r2,2\r\n3\n"), "a|b\n!f:2: 1 field, the header has 2\n2|2\n!f:4: 1 field, the header has 2\n");
    assert_string_equal(CSV("a\n\"\"\n"), "a\n\n");
}

static void ragged_and_broken_records_are_bad_rows(void **state) {
    (void)state;
    assert_string_equal(CSV("a,b\n1\n1,2,3\n\"x\ny\",2,3\n1,2\n"),
                        "a|b\n!f:2: 1 field, the header has 2\n!f:3: 3 fields, the header has 2\n"
                        "!f:4: 3 fields, the header has 2\n1|2\n");
    assert_string_equal(CSV("a,b\n\"x\"y,1\n2,3\n"), "a|b\n!f:2: text after a closing quote\n2|3\n");
    assert_string_equal(CSV("a,b\n1,x\xffy\n\xc3,\xa9\n2,3\n"), "a|b\n!f:2: column \"b\": invalid UTF-8 at byte 1 of the field\n"
                                                                "!f:3: column \"a\": invalid UTF-8 at byte 0 of the field\n2|3\n");
    assert_string_equal(CSV("a,b\n1,x\0y\n2,3\n"), "a|b\n!f:2: column \"b\": a NUL byte\n2|3\n");
}

static void short_rows_end_in_empty_fields_only_if_asked_for(void **state) {
    (void)state;
    const rows_options o = {.format = ROWS_CSV, .short_rows = true};
    assert_string_equal(dump_with(SV("a,b,c\n1\n1,2\n\"\"\n1,2,3\n"), o), "a|b|c\n1||\n1|2|\n||\n1|2|3\n");
    assert_string_equal(dump_with(SV("a,b\n1,2,3\n\"x\"y\n4\n"), o),
                        "a|b\n!f:2: 3 fields, the header has 2\n!f:3: text after a closing quote\n4|\n");
    assert_string_equal(CSV("a,b\n1\n"), "a|b\n!f:2: 1 field, the header has 2\n");
}

static void inputs_may_be_empty_only_if_asked_for(void **state) {
    (void)state;
    static const struct {
        rows_format format;
        const char *text, *allowed, *refused;
    } t[] = {
        {ROWS_CSV, "", "\n", "error 3: f: the file is empty"},
        {ROWS_CSV, "a,b\n", "a|b\n", "a|b\nerror 3: f: no rows"},
        {ROWS_CSV, "\n\n", "error 3: f: no header and no rows, only empty lines", "error 3: f: no header and no rows, only empty lines"},
        {ROWS_JSONL, "", "\n", "error 3: f: the file is empty"},
        {ROWS_JSONL, "\n \n", "\n", "\nerror 3: f: no rows"},
        {ROWS_JSON, "[]", "\n", "\nerror 3: f: no rows"},
        {ROWS_JSON, "[", "\nerror 3: f:1: ", "\nerror 3: f:1: "}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const bool whole = t[i].text[0] != '[' || t[i].text[1];
        const char *got = dump_with(sv_of(t[i].text), (rows_options){.format = t[i].format, .may_be_empty = true});
        if (whole ? strcmp(got, t[i].allowed) : strncmp(got, t[i].allowed, strlen(t[i].allowed))) fail_msg("%zu: %s", i, got);
        got = dump_with(sv_of(t[i].text), (rows_options){.format = t[i].format});
        if (whole ? strcmp(got, t[i].refused) : strncmp(got, t[i].refused, strlen(t[i].refused))) fail_msg("%zu: %s", i, got);
    }
}

static void the_delimiter_may_be_any_other_byte(void **state) {
    (void)state;
    assert_string_equal(dump_with(SV("a;b\n1,5;\"x;y\"\n"), (rows_options){.format = ROWS_CSV, .delimiter = ';'}), "a|b\n1,5|x;y\n");
    assert_string_equal(dump_with(SV("a|b\n1\t2|3\n"), (rows_options){.format = ROWS_TSV, .delimiter = '|'}), "a|b\n1\t2|3\n");
    assert_string_equal(dump_with(SV("a,b\n1,2\n"), (rows_options){.format = ROWS_CSV, .delimiter = '\t'}), "a,b\n1,2\n");
    assert_string_equal(dump_with(SV("a;b\n1;2;3\n4\n"), (rows_options){.format = ROWS_CSV, .delimiter = ';', .short_rows = true}),
                        "a|b\n!f:2: 3 fields, the header has 2\n4|\n");
}

static void an_unclosed_quote_fails_and_names_its_line(void **state) {
    (void)state;
    assert_string_equal(CSV("a,b\n1,2\n3,\"x\n\n4,5\n"), "a|b\n1|2\nerror 3: f:3: the file ends inside a quoted field that begins here");
    assert_string_equal(CSV("a,b\n\"1\n\n\",\"x\n\n4,5\n"), "a|b\nerror 3: f:4: the file ends inside a quoted field that begins here");
    assert_string_equal(CSV("a,\"b\n1,2"), "error 3: f:1: the file ends inside a quoted field that begins here");
}

static void broken_headers_are_refused(void **state) {
    (void)state;
    assert_string_equal(CSV("a,b,c,b\n1,2,3,4\n"), "error 3: f:1: column \"b\" stands twice in the header (columns 2 and 4)");
    assert_string_equal(CSV(",a,\n1,2,3\n"), "error 3: f:1: column \"\" stands twice in the header (columns 1 and 3)");
    assert_string_equal(CSV(",a\n0,x\n"), "|a\n0|x\n"); /* pandas writes its index so */
    assert_string_equal(CSV("a,x\xff\n1,2\n"), "error 3: f:1: header: column 2: invalid UTF-8");
    assert_string_equal(CSV("a,x\0\n1,2\n"), "error 3: f:1: header: column 2: a NUL byte");
    assert_string_equal(CSV("a,\"x\"y\n1,2\n"), "error 3: f:1: header: text after a closing quote");
    assert_string_equal(CSV("\n\r\n"), "error 3: f: no header and no rows, only empty lines");
    assert_string_equal(CSV(""), "error 3: f: the file is empty");
    assert_string_equal(CSV("a,b\n"), "a|b\nerror 3: f: no rows");
    buf b = {0};
    for (int i = 0; i <= 10000; i++) buf_printf(&b, "%sc%d", i ? "," : "", i);
    assert_string_equal(dump(ROWS_CSV, buf_view(&b)), "error 4: f:1: 10001 columns, more than 10000");
    buf_fini(&b);
}

/* The same rows by Python's csv module and by its json module: equal names and texts. */
static void files_of_pythons_csv_module_read_as_its_json(void **state) {
    (void)state;
    static const char *const names[] = {"csv_interop.csv", "csv_interop.tsv", "csv_interop_all.csv"};
    for (size_t k = 0; k < 3; k++) {
        gv_err err = GV_ERR_INIT;
        char path[512];
        snprintf(path, sizeof path, "%s/rows/%s", GAVEL_TEST_DATA, names[k]);
        rows_reader *a = rows_open(path, NULL, &err), *b = rows_open(GAVEL_TEST_DATA "/rows/csv_interop.jsonl", NULL, &err);
        if (!a || !b) fail_msg("%s", err.msg);
        for (uint64_t n = 0;; n++) {
            row ra, rb;
            bool end_a, end_b;
            assert_true(rows_next(a, &ra, &end_a, &err));
            assert_true(rows_next(b, &rb, &end_b, &err));
            assert_int_equal(end_a, end_b);
            if (end_a) {
                assert_int_equal(n, 200);
                break;
            }
            assert_false(ra.bad || rb.bad);
            assert_int_equal(ra.n_columns, rb.n_columns);
            for (size_t i = 0; i < ra.n_columns; i++) {
                assert_true(sv_eq(ra.columns[i].name, rb.columns[i].name));
                assert_true(sv_eq(json_string(ra.columns[i].value), json_string(rb.columns[i].value)));
            }
        }
        rows_close(a);
        rows_close(b);
    }
}

static char *read_back(const char *path) {
    static buf b;
    gv_err err = GV_ERR_INIT;
    buf_clear(&b);
    if (!file_read_all(path, 1 << 20, &b, &err)) fail_msg("%s", err.msg);
    return b.p;
}

#define CELL(n, v) ((rows_cell){.name = SV(n), .raw = SV(v)})

static void json_lines_are_written_with_raw_values_on_one_line(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_writer *w = rows_writer_open(at("o.jsonl"), NULL, 0, &err);
    const rows_cell one[] = {{.name = SV("a"), .raw_name = SV("\"\\u0061\""), .raw = SV("1.50")},
                             CELL("b\"", "{ \"x\":\n  \"p \\\" \\n q\",\r\n\t\"y\" : [ 1 ] }"),
                             CELL("c", "{ \"kept\" : 1 }")};
    const rows_cell two[] = {CELL("z", "null")};
    assert_true(rows_writer_put(w, one, 3, &err));
    assert_true(rows_writer_put(w, two, 1, &err));
    assert_true(rows_writer_put(w, two, 0, &err));
    assert_false(file_exists(at("o.jsonl"))); /* only whole */
    assert_true(rows_writer_commit(w, &err));
    assert_string_equal(read_back(at("o.jsonl")),
                        "{\"\\u0061\": 1.50, \"b\\\"\": {\"x\":\"p \\\" \\n q\",\"y\":[1]}, \"c\": { \"kept\" : 1 }}\n{\"z\": null}\n{}\n");
}

static void csv_is_written_by_column_with_quotes_where_needed(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const sv columns[] = {SV("a"), SV("b,"), SV("c")};
    rows_writer *w = rows_writer_open(at("o.csv"), columns, 3, &err);
    const rows_cell one[] = {CELL("a", "\"say \\\"hi\\\"\""), CELL("b,", "\"x,\\ny\\u00e9\""), CELL("c", "1.50")};
    const rows_cell two[] = {CELL("c", "{\"k\": [1, 2],\n \"l\": true}"), CELL("a", "null")};
    const rows_cell three[] = {CELL("a", "\"\""), CELL("b,", "\"=1+1\""), CELL("c", "\"cr\\rx\"")};
    const rows_cell wrong[] = {CELL("d", "1")};
    assert_true(rows_writer_put(w, one, 3, &err));
    assert_true(rows_writer_put(w, two, 2, &err));
    assert_true(rows_writer_put(w, three, 3, &err));
    assert_false(rows_writer_put(w, wrong, 1, &err));
    assert_int_equal(err.code, GV_STATE);
    assert_non_null(strstr(err.msg, "o.csv: column \"d\" is not in the header"));
    gv_err_clear(&err);
    assert_true(rows_writer_commit(w, &err));
    assert_string_equal(read_back(at("o.csv")),
                        "a,\"b,\",c\n\"say \"\"hi\"\"\",\"x,\ny\xc3\xa9\",1.50\n,,\"{\"\"k\"\":[1,2],\"\"l\"\":true}\"\n,=1+1,\"cr\rx\"\n");

    const sv lone[] = {SV("a")};
    w = rows_writer_open(at("l.csv"), lone, 1, &err);
    const rows_cell empty[] = {CELL("a", "null")};
    assert_true(rows_writer_put(w, empty, 1, &err));
    assert_true(rows_writer_commit(w, &err));
    assert_string_equal(read_back(at("l.csv")), "a\n\"\"\n");
}

static void tabs_and_arrays_are_written_and_suffixes_in_any_case(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const sv columns[] = {SV("a"), SV("b\t")};
    const rows_cell one[] = {CELL("a", "\"x,y\""), CELL("b\t", "[1,\n 2]")}, two[] = {CELL("a", "\"p\\tq\"")};
    const struct {
        const char *name, *want;
    } cases[] = {{"o.tsv", "a\t\"b\t\"\nx,y\t[1,2]\n\"p\tq\"\t\n"},
                 {"o.JSON", "[\n{\"a\": \"x,y\", \"b\\t\": [1,2]},\n{\"a\": \"p\\tq\"}\n]\n"},
                 {"o.JsonL", "{\"a\": \"x,y\", \"b\\t\": [1,2]}\n{\"a\": \"p\\tq\"}\n"}};
    for (size_t i = 0; i < 3; i++) {
        rows_writer *w = rows_writer_open(at(cases[i].name), columns, 2, &err);
        assert_true(rows_writer_put(w, one, 2, &err));
        assert_true(rows_writer_put(w, two, 1, &err));
        assert_true(rows_writer_commit(w, &err));
        assert_string_equal(read_back(at(cases[i].name)), cases[i].want);
    }
    rows_writer *w = rows_writer_open(at("none.json"), NULL, 0, &err);
    assert_true(rows_writer_commit(w, &err));
    assert_string_equal(read_back(at("none.json")), "[]\n");
}

/* 3 MB that pack to less, and bytes that do not, in pieces of all sizes. */
static void what_is_written_compressed_reads_back_the_same(void **state) {
    (void)state;
    const char *const names[] = {"p.jsonl.gz", "p.jsonl.zst", "p.json.GZ", "p.json.zst", "p.csv.gz", "p.csv.zst", "p.tsv.gz", "p.tsv.zst"};
    enum { N = 3000 };
    const sv columns[] = {SV("n"), SV("text")};
    static char text[4096];
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        gv_err err = GV_ERR_INIT;
        uint64_t seed = 7;
        rows_writer *w = rows_writer_open(at(names[k]), columns, 2, &err);
        for (int i = 0; i < N; i++) {
            char number[16];
            const int n = i % 7 == 0 ? 0 : (int)(seed % 2000);
            text[0] = '"';
            for (int c = 0; c < n; c++) text[c + 1] = (char)('a' + ((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 60));
            text[n + 1] = '"';
            snprintf(number, sizeof number, "%d", i);
            const rows_cell cells[] = {{.name = SV("n"), .raw = sv_of(number)}, {.name = SV("text"), .raw = {text, (size_t)n + 2}}};
            assert_true(rows_writer_put(w, cells, 2, &err));
        }
        assert_true(rows_writer_commit(w, &err));
        rows_reader *r = rows_open(at(names[k]), NULL, &err);
        row at_row;
        bool end = false;
        seed = 7;
        for (int i = 0; i < N; i++) {
            assert_true(r && rows_next(r, &at_row, &end, &err) && !end && !at_row.bad);
            const sv got = json_string(row_get(&at_row, "text")->value);
            const int n = i % 7 == 0 ? 0 : (int)(seed % 2000);
            assert_int_equal(got.n, n);
            for (int c = 0; c < n; c++)
                assert_int_equal(got.p[c], 'a' + ((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 60));
        }
        assert_true(rows_next(r, &at_row, &end, &err) && end);
        rows_close(r);
    }
}

static void what_is_written_as_csv_reads_back_the_same(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open(GAVEL_TEST_DATA "/rows/csv_interop.csv", NULL, &err);
    assert_non_null(r);
    size_t n;
    const sv *header = rows_header(r, &n);
    rows_writer *w = rows_writer_open(at("again.csv"), header, n, &err);
    bool end;
    row a, b;
    while (rows_next(r, &a, &end, &err) && !end) {
        rows_cell cells[8];
        for (size_t i = 0; i < n; i++) cells[i] = (rows_cell){a.columns[i].name, a.columns[i].raw_name, a.columns[i].raw};
        assert_true(rows_writer_put(w, cells, n, &err));
    }
    assert_true(rows_writer_commit(w, &err));
    rows_close(r);
    r = rows_open(GAVEL_TEST_DATA "/rows/csv_interop.csv", NULL, &err);
    rows_reader *q = rows_open(at("again.csv"), NULL, &err);
    bool end_b;
    while (rows_next(r, &a, &end, &err) && rows_next(q, &b, &end_b, &err) && !end) assert_true(sv_eq(a.text, b.text));
    assert_true(end_b);
    assert_int_equal(err.code, GV_OK);
    rows_close(r);
    rows_close(q);
}

static void check_fails(const char *path, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    assert_false(rows_writer_check(path, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, message)) fail_msg("\"%s\" does not hold \"%s\"", err.msg, message);
    gv_err_clear(&err);
    assert_null(rows_writer_open(path, NULL, 0, &err));
    assert_int_equal(err.code, code);
}

static void places_that_cannot_be_written_are_named(void **state) {
    (void)state;
    static const char formats[] = "; write .jsonl, .json, .csv or .tsv, also with .gz or .zst behind it, or .parquet";
    char message[128];
    const char *const unknown[] = {"x.txt", "x.arrow", "x.gz", "x.parquet.zst", ".jsonl", "x.jsonl.xz"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        snprintf(message, sizeof message, "%s: unknown suffix%s", unknown[i], formats);
        check_fails(unknown[i], GV_USAGE, message);
    }
    snprintf(message, sizeof message, "rows are not written to standard output%s", formats);
    check_fails("-", GV_USAGE, message);
    snprintf(message, sizeof message, " is a folder, and rows go to a file%s", formats);
    check_fails(folder, GV_UNSUPPORTED, message);
    check_fails("somewhere/", GV_UNSUPPORTED, message);
    check_fails(at("none/x.csv"), GV_IO, "none/x.csv: folder ");
    check_fails(at("none/x.csv"), GV_IO, "No such file or directory");
    gv_err err = GV_ERR_INIT;
    assert_true(rows_writer_check(at("x.csv"), &err));
    rows_writer *w = rows_writer_open(at("x.jsonl"), NULL, 0, &err);
    rows_writer_abandon(w);
    assert_false(file_exists(at("x.jsonl")));
    rows_writer_abandon(NULL);
    assert_true(rows_writer_check("/dev/full.csv", &err));
}

static void read_only_story(void) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(77);
    gv_err err = GV_ERR_INIT;
    if (rows_writer_open(at("x.jsonl"), NULL, 0, &err) || err.code != GV_IO || !strstr(err.msg, "Permission denied")) _exit(1);
    _exit(0);
}

static void a_read_only_folder_is_named(void **state) {
    (void)state;
    assert_int_equal(chmod(folder, 0555), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) read_only_story();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WEXITSTATUS(status) == 77) {
        printf("cannot become another user: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, new_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_commas_and_line_breaks_live_in_quoted_fields),
        cmocka_unit_test(lines_end_with_crlf_lf_or_a_lone_cr),
        cmocka_unit_test(ragged_and_broken_records_are_bad_rows),
        cmocka_unit_test(short_rows_end_in_empty_fields_only_if_asked_for),
        cmocka_unit_test(inputs_may_be_empty_only_if_asked_for),
        cmocka_unit_test(the_delimiter_may_be_any_other_byte),
        cmocka_unit_test(an_unclosed_quote_fails_and_names_its_line),
        cmocka_unit_test(broken_headers_are_refused),
        cmocka_unit_test(files_of_pythons_csv_module_read_as_its_json),
        EACH(json_lines_are_written_with_raw_values_on_one_line),
        EACH(csv_is_written_by_column_with_quotes_where_needed),
        EACH(tabs_and_arrays_are_written_and_suffixes_in_any_case),
        EACH(what_is_written_compressed_reads_back_the_same),
        EACH(what_is_written_as_csv_reads_back_the_same),
        EACH(places_that_cannot_be_written_are_named),
        EACH(a_read_only_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
