/* Row streams: JSON lines and JSON documents, ids, shards, the column map, caps; each refusal with its message.  CSV is in test_rows_csv.c. */
#include "base/file.h"
#include "data/rows.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Sanitizers keep freed memory: its peak says nothing there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#else
#define SANITIZED 0
#endif

static char folder[64];

static int new_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/gavel-rows-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    char cmd[256];
    snprintf(cmd, sizeof cmd, "rm -rf %s", folder);
    return system(cmd);
}

static const char *at(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Every row of text as "number:line:id raw_name=raw ...;" or "number!message;", then "error: ..." if the input fails. */
static char *dump(rows_format format, sv text, rows_options o) {
    static buf b;
    gv_err err = GV_ERR_INIT;
    buf_clear(&b);
    buf_add(&b, "", 0);
    o.format = format;
    o.name = o.name ? o.name : "f";
    rows_reader *r = rows_open_memory(text.p, text.n, &o, &err);
    bool end = false;
    for (row w; r && rows_next(r, &w, &end, &err) && !end;) {
        buf_printf(&b, "%llu", (unsigned long long)w.number);
        if (w.blank) buf_add_str(&b, "(blank)");
        if (w.bad) {
            assert_int_equal(w.n_columns, 0);
            buf_printf(&b, "!" SV_FMT ";", SV_ARG(w.message));
            continue;
        }
        buf_printf(&b, ":%lld:" SV_FMT, (long long)w.line, SV_ARG(w.id));
        if (w.key.n) buf_printf(&b, "(" SV_FMT ")", SV_ARG(w.key));
        for (size_t i = 0; i < w.n_columns; i++)
            buf_printf(&b, " " SV_FMT "=" SV_FMT, SV_ARG(w.columns[i].raw_name), SV_ARG(w.columns[i].raw));
        buf_add_char(&b, ';');
    }
    rows_close(r);
    if (err.code) buf_printf(&b, "error %d: %s", err.code, err.msg);
    return b.p;
}

#define JSONL(lit)  dump(ROWS_JSONL, SV(lit), (rows_options){0})
#define JSON(lit)   dump(ROWS_JSON, SV(lit), (rows_options){0})
#define ERROR(code) "error " #code ": "

static void json_lines_keep_every_byte_of_every_value(void **state) {
    (void)state;
    assert_string_equal(JSONL("{\"a\": 1.50, \"b\\u0041\" :\"x\\/\\u00e9\", \"c\":{ \"d\" : [1 ,2] } }\n{\"a\":1e400,\"e\":\"}\\\",{\"}\n"),
                        "0:1:0 \"a\"=1.50 \"b\\u0041\"=\"x\\/\\u00e9\" \"c\"={ \"d\" : [1 ,2] };1:2:1 \"a\"=1e400 \"e\"=\"}\\\",{\";");
    assert_string_equal(JSONL("{}"), "0:1:0;");
    assert_string_equal(JSONL("{ \"a\\\\\" : \"\\\\\" , \"b\":[]}"), "0:1:0 \"a\\\\\"=\"\\\\\" \"b\"=[];");
}

static void names_are_decoded_and_values_parsed(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_options o = {.format = ROWS_JSONL};
    static const char text[] = "{\"b\\u0041\":\"x\\u0000y\",\"n\":-7}";
    rows_reader *r = rows_open_memory(text, sizeof text - 1, &o, &err);
    row w;
    bool end;
    int64_t n;
    assert_true(rows_next(r, &w, &end, &err) && !end && !w.bad);
    assert_true(sv_is(w.columns[0].name, "bA"));
    assert_int_equal(json_string(row_get(&w, "bA")->value).n, 3);
    assert_true(json_int64(row_get(&w, "n")->value, &n) && n == -7);
    assert_true(sv_is(w.text, text));
    assert_true(rows_next(r, &w, &end, &err) && end);
    assert_true(rows_next(r, &w, &end, &err) && end);
    rows_close(r);
}

static void empty_lines_bom_and_crlf_are_no_rows_but_count_as_lines(void **state) {
    (void)state;
    assert_string_equal(JSONL("\xef\xbb\xbf{\"a\":1}\r\n\r\n  \t\n\n{\"a\":2}\r\n\n"), "0:1:0 \"a\"=1;1:5:1 \"a\"=2;");
    assert_string_equal(JSONL("{\"a\":1}\n{\"a\":2}"), "0:1:0 \"a\"=1;1:2:1 \"a\"=2;");
}

static void blank_lines_can_be_asked_for_and_take_no_number(void **state) {
    (void)state;
    const rows_options o = {.blank_lines = true};
    assert_string_equal(dump(ROWS_JSONL, SV("{\"a\":1}\n\n \t\r\n{\"a\":2}\n\n"), o),
                        "0:1:0 \"a\"=1;1(blank)!f:2: the line is empty;1(blank)!f:3: the line is empty;1:4:1 \"a\"=2;"
                        "2(blank)!f:5: the line is empty;");
    assert_string_equal(dump(ROWS_JSONL, SV("\n"), o), "0(blank)!f:1: the line is empty;");
}

static void a_bad_line_is_a_bad_row_and_its_neighbours_go_on(void **state) {
    (void)state;
    assert_string_equal(JSONL("{\"a\":1}\n{\"a\":\"\xff\"}\n{\"a\":3}\n"),
                        "0:1:0 \"a\"=1;1!f:2: invalid UTF-8 at byte 6 of the row;2:3:2 \"a\"=3;");
    assert_string_equal(JSONL("[1]\n\"x\"\n7\nnull\ntrue\n"),
                        "0!f:1: a row must be an object, found an array;1!f:2: a row must be an object, found a string;"
                        "2!f:3: a row must be an object, found a number;3!f:4: a row must be an object, found null;"
                        "4!f:5: a row must be an object, found a boolean;");
    assert_non_null(strstr(JSONL("{\"a\":1\n{\"a\":2}\n"), "0!f:1: invalid JSON at byte 6: "));
    assert_non_null(strstr(JSONL("{\"a\":1\n{\"a\":2}\n"), ";1:2:1 \"a\"=2;"));
    assert_non_null(strstr(JSONL("{\"a\":1} x\n"), "0!f:1: invalid JSON at byte 8: "));
    assert_non_null(strstr(JSONL("{\"a\":NaN}\n"), "0!f:1: invalid JSON at byte 5: "));
    assert_non_null(strstr(JSONL("{\"a\":\"\\ud800\"}\n"), "0!f:1: invalid JSON at byte "));
    assert_string_equal(JSONL("{\"a\":1,\"b\":2,\"a\":3}\n"), "0!f:1: invalid JSON at byte 13: duplicate key \"a\";");
    assert_non_null(strstr(dump(ROWS_JSONL, (sv){"{\"a\":\"x\0y\"}\n{}", 14}, (rows_options){0}), "0!f:1: invalid JSON at byte "));
    assert_non_null(strstr(dump(ROWS_JSONL, (sv){"\0\n{}", 4}, (rows_options){0}), "0!f:1: invalid JSON at byte 0: "));
}

static void deep_nesting_is_a_bad_row(void **state) {
    (void)state;
    buf b = {0};
    buf_add_str(&b, "{\"a\":");
    for (int i = 0; i < 100000; i++) buf_add_char(&b, '[');
    buf_add_str(&b, "\n{\"a\":1}\n");
    const char *got = dump(ROWS_JSONL, buf_view(&b), (rows_options){0});
    assert_string_equal(got, "0!f:1: JSON at byte 68: nested more than 64 levels deep;1:2:1 \"a\"=1;");
    buf_fini(&b);
}

static void a_row_over_the_cap_is_a_bad_row_that_names_the_cap(void **state) {
    (void)state;
    rows_options o = {.max_row_bytes = 12};
    assert_string_equal(
        dump(ROWS_JSONL, SV("{\"a\":\"12345\"}\n{\"a\":\"1234\"}\n{\"a\":\"12345\"}"), o),
        "0!f:1: the line is longer than the cap of 12 bytes;1:2:1 \"a\"=\"1234\";2!f:3: the line is longer than the cap of 12 bytes;");
    assert_string_equal(dump(ROWS_JSON, SV("[{\"a\":\"12345\"},\n{\"a\":\"1234\"}]"), o),
                        "0!f:1: the row is longer than the cap of 12 bytes;1:2:1 \"a\"=\"1234\";");
    assert_string_equal(dump(ROWS_CSV, SV("a\n1234567890123\n\"12\n4\"\n"), o),
                        "0!f:2: the record is longer than the cap of 12 bytes;1:3:1 \"a\"=\"12\\n4\";");
}

static void rows_are_cut_from_every_shape_of_json_document(void **state) {
    (void)state;
    assert_string_equal(JSON("[{\"a\":1},\n {\"a\": [ {} ]}\n]\n"), "0:1:0 \"a\"=1;1:2:1 \"a\"=[ {} ];");
    assert_string_equal(JSON("{\"x\":{\"a\":1},\n\"y\\n\":{\"a\":2}}"), "0:1:0(x) \"a\"=1;1:2:1(y\n) \"a\"=2;");
    assert_string_equal(JSON(" {\"version\": \"1\", \"n\": [1], \"data\": [{\"a\":1},{\"a\":2}], \"more\": {\"a\":3}}"),
                        "0:1:0 \"a\"=1;1:1:1 \"a\"=2;");
    assert_string_equal(JSON("\xef\xbb\xbf[{}]"), "0:1:0;");
}

static void a_bad_element_of_a_document_is_a_bad_row(void **state) {
    (void)state;
    assert_non_null(strstr(JSON("[{\"a\":1},\n{\"a\":\n tru},\n5,{\"b\":2}]"), "0:1:0 \"a\"=1;1!f:3: invalid JSON at byte "));
    assert_non_null(
        strstr(JSON("[{\"a\":1},{\"a\":tru},\n5,{\"b\":2}]"), ";2!f:2: a row must be an object, found a number;3:2:3 \"b\"=2;"));
    assert_string_equal(JSON("[{\"a\":\"\xc3\"},{\"b\":2}]"), "0!f:1: invalid UTF-8 at byte 6 of the row;1:1:1 \"b\"=2;");
    assert_string_equal(JSON("{\"x\":{\"a\":1},\"y\":7}"), "0:1:0(x) \"a\"=1;1!f:1: a row must be an object, found a number;");
}

static void a_broken_document_fails_and_names_the_line(void **state) {
    (void)state;
    assert_string_equal(JSON("[{\"a\":1},\n{\"a\":2"), "0:1:0 \"a\"=1;" ERROR(3) "f:2: the file ends inside a value that begins at line 2");
    assert_string_equal(JSON("[{\"a\":1}\n"), "0:1:0 \"a\"=1;" ERROR(3) "f:2: expected ',' or ']' after a row, found the end of the file");
    assert_string_equal(JSON("[{\"a\":1},]"), "0:1:0 \"a\"=1;" ERROR(3) "f:1: expected another element after ',', found ']'");
    assert_string_equal(JSON("[{\"a\":1} {}]"), "0:1:0 \"a\"=1;" ERROR(3) "f:1: expected ',' or ']' after a row, found '{'");
    assert_string_equal(JSON("[{\"a\":1}]\nx"),
                        "0:1:0 \"a\"=1;" ERROR(3) "f:2: expected nothing after the end of the JSON document, found 'x'");
    assert_string_equal(JSON("[\x07]"), ERROR(3) "f:1: expected a row, found byte 0x07");
    assert_string_equal(JSON("\"x\""), ERROR(3) "f:1: expected an array of objects, an object of objects or {\"data\": [...]}, found '\"'");
    assert_string_equal(JSON("{\"x\":{},y}"), "0:1:0(x);" ERROR(3) "f:1: expected a member's name, found 'y'");
    assert_string_equal(JSON("{\"x\"{}"), ERROR(3) "f:1: expected ':' after a member's name, found '{'");
    assert_string_equal(JSON("{\"x\":}"), ERROR(3) "f:1: expected a value, found '}'");
    assert_string_equal(JSON("{\"data\":[] \"x\":{}}"), ERROR(3) "f:1: expected ',' or '}' after a member, found '\"'");
}

static void objects_that_hold_no_rows_are_explained(void **state) {
    (void)state;
    assert_string_equal(JSON("{\"instruction\":\"x\"}\n{\"instruction\":\"y\"}"),
                        ERROR(3) "f:1: this looks like JSON lines, one object a line; name the file .jsonl");
    assert_string_equal(
        JSON("{\"instruction\":\"x\"}"),
        ERROR(3) "f: the object holds no rows; expected an array of objects, an object of objects or {\"data\": [...]} (a single row goes "
                 "into a .jsonl file)");
    assert_string_equal(JSON("{\"v\":1,\n\"x\":{}}"),
                        ERROR(3) "f:2: member \"x\" is an object, but \"v\" before it is none; rows are the members of an "
                                 "object of objects, or the elements of \"data\"");
    assert_string_equal(JSON("{\"x\":{},\"data\":[{}]}"),
                        "0:1:0(x);" ERROR(3) "f:1: member \"data\" is an array, but the members before it were taken as "
                                             "rows; put \"data\" first");
    assert_string_equal(JSON("{\"data\":[{}],\"data\":[{}]}"), "0:1:0;" ERROR(3) "f:1: member \"data\" stands twice");
    assert_non_null(strstr(JSON("{\"v\":tru,\"x\":{}}"), ERROR(3) "f:1: invalid JSON at byte "));
}

static void inputs_without_rows_are_named(void **state) {
    (void)state;
    assert_string_equal(JSONL(""), ERROR(3) "f: the file is empty");
    assert_string_equal(JSON(""), ERROR(3) "f: the file is empty");
    assert_string_equal(JSONL("\n \n"), ERROR(3) "f: no rows");
    assert_string_equal(JSONL("\xef\xbb\xbf"), ERROR(3) "f: no rows");
    assert_string_equal(JSON("[ ]"), ERROR(3) "f: no rows");
    assert_string_equal(JSON("{}"), ERROR(3) "f: no rows");
    assert_string_equal(JSON("{\"data\":[]}"), ERROR(3) "f: no rows");
    assert_string_equal(JSON("  "), ERROR(3) "f: no rows");
}

static void files_that_are_no_text_are_named(void **state) {
    (void)state;
    assert_string_equal(JSONL("\xff\xfe{\0"), ERROR(5) "f is UTF-16 text; convert it to UTF-8 first");
    assert_string_equal(JSONL("\xfd"
                              "7zXZ\0\0"),
                        ERROR(5) "f is xz-compressed; decompress it first");
    assert_string_equal(JSONL("PAR1xx"), ERROR(5) "f is a Parquet file; name it .parquet");
}

static void open_fails(const char *path, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open(path, NULL, &err);
    assert_null(r);
    assert_string_equal(err.msg, message);
    assert_int_equal(err.code, code);
}

static void paths_that_cannot_be_read_are_named(void **state) {
    (void)state;
    char want[400];
    snprintf(want, sizeof want, "cannot open %s: No such file or directory", at("absent.jsonl"));
    open_fails(at("absent.jsonl"), GV_IO, want);
    assert_int_equal(mkdir(at("d.json"), 0755), 0);
    snprintf(want, sizeof want, "%s: no data files: .parquet, .arrow, .csv, .tsv, .json, .jsonl", at("d.json"));
    open_fails(at("d.json"), GV_UNSUPPORTED, want);
    open_fails("x.txt", GV_USAGE,
               "x.txt: unknown suffix; rows are read from .jsonl, .json, .csv, .tsv, also with .gz or .zst behind it, from .parquet, or - "
               "for JSON lines on "
               "standard input");
    open_fails(
        "x.gz", GV_USAGE,
        "x.gz: unknown suffix; rows are read from .jsonl, .json, .csv, .tsv, also with .gz or .zst behind it, from .parquet, or - for "
        "JSON lines on standard input");
    open_fails("x.parquet.zst", GV_UNSUPPORTED, "x.parquet.zst: a Parquet file is not read compressed; decompress it first");
    open_fails("x.parquet", GV_IO, "cannot open x.parquet: No such file or directory");
    open_fails("hf://a/b", GV_USAGE,
               "hf://a/b: a data set is written hf://datasets/ORG/NAME[@REVISION][:CONFIG/SPLIT], a file of it "
               "hf://datasets/ORG/NAME[@REVISION]/FILE");
    write_file(at("e.jsonl"), "", 0);
    snprintf(want, sizeof want, "%s: the file is empty", at("e.jsonl"));
    open_fails(at("e.jsonl"), GV_FORMAT, want);
}

static void limit_and_shards_keep_global_numbers(void **state) {
    (void)state;
    sv five = SV("{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n{\"i\":3}\nbroken\n");
    assert_string_equal(dump(ROWS_JSONL, five, (rows_options){.limit = 2}), "0:1:0 \"i\"=0;1:2:1 \"i\"=1;");
    assert_string_equal(dump(ROWS_JSONL, five, (rows_options){.shard_index = 1, .shard_count = 2}), "1:2:1 \"i\"=1;3:4:3 \"i\"=3;");
    assert_string_equal(dump(ROWS_JSONL, five, (rows_options){.shard_index = 1, .shard_count = 2, .limit = 3}), "1:2:1 \"i\"=1;");
    assert_string_equal(dump(ROWS_JSONL, five, (rows_options){.shard_index = 6, .shard_count = 7}), "");
    assert_string_equal(dump(ROWS_JSONL, five, (rows_options){.shard_index = 3, .shard_count = 3}),
                        ERROR(1) "shard 3/3: the index runs from 0 to 2");
    assert_string_equal(dump(ROWS_CSV, SV("i\n0\n1\n2\n"), (rows_options){.shard_index = 2, .shard_count = 3}), "2:4:2 \"i\"=\"2\";");
    assert_string_equal(dump(ROWS_JSON, SV("[{},{\"i\":1},{}]"), (rows_options){.shard_index = 1, .shard_count = 3}), "1:1:1 \"i\"=1;");
}

static void ids_come_from_their_column_and_must_be_distinct(void **state) {
    (void)state;
    rows_options o = {.id_col = "id"};
    assert_string_equal(dump(ROWS_JSONL, SV("{\"id\":\"x\"}\n{\"id\":12345678901234567890}\n{\"id\":\"\\u0079\"}"), o),
                        "0:1:x \"id\"=\"x\";1:2:12345678901234567890 \"id\"=12345678901234567890;2:3:y \"id\"=\"\\u0079\";");
    assert_string_equal(dump(ROWS_JSONL, SV("{\"id\":\"x\"}\n{\"id\":7}\n\n{\"id\":\"7\"}"), o),
                        "0:1:x \"id\"=\"x\";1:2:7 \"id\"=7;" ERROR(3) "f:4: row 2 has the id \"7\" of row 1; ids must be distinct");
    o.shard_count = 2;
    assert_string_equal(dump(ROWS_JSONL, SV("{\"id\":\"x\"}\n{\"id\":7}\n{\"id\":8}\n{\"id\":\"7\"}"), o),
                        "0:1:x \"id\"=\"x\";2:3:8 \"id\"=8;" ERROR(3) "f:4: row 3 has the id \"7\" of row 1; ids must be distinct");
    o.shard_count = 0;
    assert_string_equal(
        dump(ROWS_JSONL, SV("{\"id\":\"x\"}\n{\"id\":null}\n{\"id\":1.5}\n{\"i\":1}\n{"), o),
        "0:1:x \"id\"=\"x\";1!f:2: id column \"id\" must be text or an integer, this is null;2!f:3: id column \"id\" must be text or an "
        "integer, this is 1.5;3!f:4: no id column \"id\";4!f:5: invalid JSON at byte 1: unexpected end of data;");
    assert_string_equal(dump(ROWS_JSONL, SV("{\"idd\":\"x\"}"), o), ERROR(1) "f: no id column \"id\"; did you mean \"idd\"?");
    assert_string_equal(dump(ROWS_CSV, SV("a,idx\n1,2\n"), o), ERROR(1) "f: no id column \"id\"; did you mean \"idx\"?");
}

static void a_hundred_thousand_ids_are_told_apart(void **state) {
    (void)state;
    buf b = {0};
    for (int i = 0; i < 100000; i++) buf_printf(&b, "{\"id\":\"row-%d\"}\n", i);
    buf_add_str(&b, "{\"id\":\"row-5000\"}\n");
    rows_options o = {.format = ROWS_JSONL, .id_col = "id", .name = "f"};
    gv_err err = GV_ERR_INIT;
    rows_reader *r = rows_open_memory(b.p, b.n, &o, &err);
    uint64_t n = 0;
    bool end = false;
    for (row w; rows_next(r, &w, &end, &err) && !end;) n++;
    assert_int_equal(n, 100000);
    assert_string_equal(err.msg, "f:100001: row 100000 has the id \"row-5000\" of row 5000; ids must be distinct");
    rows_close(r);
    buf_fini(&b);
}

static void the_map_renames_columns_and_a_missing_one_is_explained(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_map m = {0};
    assert_true(rows_map_add(&m, "instruction=prompt,generation=completion", &err));
    assert_true(rows_map_add(&m, "reference=answer=x", &err));
    assert_false(rows_map_add(&m, "instruction=q", &err));
    assert_string_equal(err.msg, "column map: \"instruction\" is mapped twice");
    static const char *const wrong[] = {"a", "=b", "a=", "x=y,,z=1"};
    for (size_t i = 0; i < 4; i++) {
        gv_err_clear(&err);
        assert_false(rows_map_add(&m, wrong[i], &err));
        assert_int_equal(err.code, GV_USAGE);
        assert_non_null(strstr(err.msg, "is not NAME=COLUMN"));
    }
    rows_options o = {.format = ROWS_JSONL, .map = &m, .name = "f"};
    static const char text[] = "{\"prompt\":1,\"answer=x\":2,\"instruction\":3,\"Completion\":4}";
    gv_err_clear(&err);
    rows_reader *r = rows_open_memory(text, sizeof text - 1, &o, &err);
    row w;
    bool end;
    assert_true(rows_next(r, &w, &end, &err));
    assert_true(sv_is(row_get(&w, "instruction")->raw, "1"));
    assert_true(sv_is(row_need(&w, "reference", &err)->raw, "2"));
    assert_null(row_get(&w, "generation"));
    assert_null(row_need(&w, "generation", &err));
    assert_int_equal(err.code, GV_USAGE);
    assert_string_equal(err.msg, "f:1: no column \"completion\" (for generation); the row has \"prompt\", \"answer=x\", \"instruction\", "
                                 "\"Completion\"; did you mean \"Completion\"?");
    gv_err_clear(&err);
    assert_null(row_need(&w, "zzzzzzzz", &err));
    assert_string_equal(err.msg, "f:1: no column \"zzzzzzzz\"; the row has \"prompt\", \"answer=x\", \"instruction\", \"Completion\"");
    rows_close(r);
    rows_map_fini(&m);
}

static void a_scan_counts_digests_and_lists_columns(void **state) {
    (void)state;
    static const char text[] = "{\"a\":1,\"b\":2}\nbad\n{\"b\":1,\"c\":2}\n{\"d\":1}\n{\"a\":3}\n";
    const char *path = at("s.jsonl");
    write_file(path, text, sizeof text - 1);
    rows_options o = {.limit = 4, .shard_index = 0, .shard_count = 1};
    rows_summary s;
    gv_err err = GV_ERR_INIT;
    assert_true(rows_scan(path, &o, &s, &err));
    assert_int_equal(s.n_rows, 4);
    assert_int_equal(s.n_selected, 4);
    assert_int_equal(s.n_bad, 1);
    assert_int_equal(s.n_columns, 4);
    for (size_t i = 0; i < 4; i++) assert_true(s.columns[i].n == 1 && s.columns[i].p[0] == "abcd"[i]);
    sha256 h;
    char hex[65];
    sha256_init(&h);
    sha256_add(&h, text, sizeof text - 1);
    sha256_hex(&h, hex);
    assert_string_equal(s.sha256, hex); /* of the whole file, beyond the limit */
    rows_summary_fini(&s);
    o = (rows_options){.shard_index = 1, .shard_count = 3};
    assert_true(rows_scan(path, &o, &s, &err));
    assert_int_equal(s.n_rows, 5);
    assert_int_equal(s.n_selected, 2);
    assert_int_equal(s.n_bad, 1);
    assert_int_equal(s.n_columns, 1);
    rows_summary_fini(&s);
    assert_false(rows_scan(at("absent.jsonl"), &o, &s, &err));
}

static void more_columns_than_the_cap_are_refused(void **state) {
    (void)state;
    const char *path = at("wide.jsonl");
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 3; i++) {
        fprintf(f, "{");
        for (int k = 0; k < 4000; k++) fprintf(f, "%s\"c%d\":1", k ? "," : "", i * 4000 + k);
        fprintf(f, "}\n");
    }
    fclose(f);
    rows_summary s;
    gv_err err = GV_ERR_INIT;
    assert_false(rows_scan(path, NULL, &s, &err));
    assert_int_equal(err.code, GV_LIMIT);
    assert_non_null(strstr(err.msg, "wide.jsonl:3: more than 10000 different columns"));
}

/* Chunk borders fall at every place of a row when rows of many lengths follow each other over several 256 KiB chunks. */
static void rows_across_chunk_borders_are_whole(void **state) {
    (void)state;
    static const rows_format formats[] = {ROWS_JSONL, ROWS_JSON, ROWS_CSV};
    static const char *const names[] = {"c.jsonl", "c.json", "c.csv"};
    for (size_t k = 0; k < 3; k++) {
        FILE *f = fopen(at(names[k]), "w");
        fputs(k == 0 ? "" : k == 1 ? "[\n" : "i,t\r\n", f);
        for (int i = 0; i < 3000; i++) {
            fprintf(f, k == 2 ? "%d,\"" : k == 1 && i ? ",{\"i\":\"%d\",\"t\":\"" : "{\"i\":\"%d\",\"t\":\"", i);
            for (int n = 0; n < i % 611; n++) fputs(k == 2 ? "\"\"" : "\\\"", f);
            fputs(k == 2 ? "\"\r\n" : "\"}\n", f);
        }
        fputs(k == 1 ? "]" : "", f);
        fclose(f);
        rows_options o = {.format = formats[k]};
        gv_err err = GV_ERR_INIT;
        rows_reader *r = rows_open(at(names[k]), &o, &err);
        bool end = false;
        char number[24];
        uint64_t n = 0;
        for (row w; rows_next(r, &w, &end, &err) && !end; n++) {
            if (w.bad) fail_msg(SV_FMT, SV_ARG(w.message));
            snprintf(number, sizeof number, "%llu", (unsigned long long)n);
            assert_true(sv_is(json_string(row_get(&w, "i")->value), number));
            assert_int_equal(json_string(row_get(&w, "t")->value).n, n % 611);
            assert_int_equal(w.line, k ? n + 2 : n + 1);
        }
        assert_int_equal(err.code, GV_OK);
        assert_int_equal(n, 3000);
        int64_t now, all;
        rows_position(r, &now, &all);
        assert_int_equal(now, all);
        rows_close(r);
    }
}

static long peak_kib(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* In a child, whose peak memory is its own. */
static void huge_line_story(void) {
    FILE *f = fopen(at("huge.jsonl"), "w");
    static char mib[1 << 20];
    memset(mib, 'x', sizeof mib);
    fputs("{\"a\":1}\n{\"a\":\"", f);
    for (int i = 0; i < 100; i++) fwrite(mib, 1, sizeof mib, f);
    fputs("\"}\n{\"a\":3}\n", f);
    fclose(f);
    long before = peak_kib();
    gv_err err = GV_ERR_INIT;
    rows_options o = {.name = "f"};
    rows_reader *r = rows_open(at("huge.jsonl"), &o, &err);
    row w;
    bool end;
    if (!r || !rows_next(r, &w, &end, &err) || w.bad) _exit(1);
    if (!rows_next(r, &w, &end, &err) || !w.bad || w.number != 1) _exit(2);
    if (!sv_is(w.message, "f:2: the line is longer than the cap of 64 MiB")) _exit(3);
    if (!rows_next(r, &w, &end, &err) || w.bad || w.number != 2 || w.line != 3) _exit(4);
    if (!rows_next(r, &w, &end, &err) || !end) _exit(5);
    rows_close(r);
    long grown = peak_kib() - before;
    fprintf(stderr, "a line of 100 MiB: %ld MiB of memory\n", grown >> 10);
    if (!SANITIZED && grown > 200 << 10) _exit(6);
    _exit(0);
}

/* 10^6 rows in less than 200 MiB, ids included. */
static void million_rows_story(void) {
    enum { ROWS = 1000000 };
    FILE *f = fopen(at("many.jsonl"), "w");
    for (int i = 0; i < ROWS; i++) fprintf(f, "{\"id\":\"row-%d\",\"t\":\"some text of a row\"}\n", i);
    fclose(f);
    rows_options o = {.id_col = "id"};
    rows_summary s;
    gv_err err = GV_ERR_INIT;
    if (!rows_scan(at("many.jsonl"), &o, &s, &err) || s.n_rows != ROWS || s.n_bad) _exit(1);
    fprintf(stderr, "1,000,000 rows with ids: %ld MiB of memory\n", peak_kib() >> 10);
    if (!SANITIZED && peak_kib() > 200 << 10) _exit(2);
    _exit(0);
}

static void run_child(void (*story)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) story();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_line_of_100_mib_is_a_bad_row_in_bounded_memory(void **state) {
    (void)state;
    run_child(huge_line_story);
}

static void a_million_rows_stay_under_200_mib(void **state) {
    (void)state;
    run_child(million_rows_story);
}

static void stdin_story(void) {
    write_file(at("in"), "{\"a\":1}\n", 8);
    if (!freopen(at("in"), "r", stdin)) _exit(1);
    gv_err err = GV_ERR_INIT;
    if (!rows_spool_stdin(at("spool.jsonl"), &err)) _exit(2);
    buf b = {0};
    if (!file_read_all(at("spool.jsonl"), 100, &b, &err) || strcmp(b.p, "{\"a\":1}\n")) _exit(3);
    if (rows_spool_stdin(at("spool.jsonl"), &err) || err.code != GV_FORMAT || strcmp(err.msg, "standard input: the file is empty"))
        _exit(4);
    buf_fini(&b);
    if (!freopen(at("in"), "r", stdin)) _exit(5);
    gv_err_clear(&err);
    rows_reader *r = rows_open("-", NULL, &err);
    row w;
    bool end;
    if (!r || !rows_next(r, &w, &end, &err) || w.n_columns != 1 || !rows_next(r, &w, &end, &err) || !end) _exit(6);
    rows_close(r);
    _exit(0);
}

static void standard_input_is_read_or_spooled(void **state) {
    (void)state;
    run_child(stdin_story);
}

/* Reads all rows of a later pass over path. */
static bool pass_again(const char *path, const rows_options *o, const rows_summary *s, gv_err *err) {
    rows_reader *r = rows_open_again(path, o, s, err);
    row at_row;
    bool end = false, ok = r != NULL;
    while (ok && !end) ok = rows_next(r, &at_row, &end, err);
    ok = ok && rows_next(r, &at_row, &end, err) && end; /* asking again after the end changes nothing */
    rows_close(r);
    return ok;
}

static void a_later_pass_over_changed_bytes_fails_at_its_end(void **state) {
    (void)state;
    static const char before[] = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n";
    static const char *const after[] = {"{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n\n",
                                        "{\"a\":1}\n{\"a\":2}\n"};
    const rows_options options[] = {{0}, {.limit = 1}, {.shard_index = 1, .shard_count = 2}};
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        gv_err err = GV_ERR_INIT;
        rows_summary s;
        write_file(at("rows.jsonl"), before, strlen(before));
        assert_true(rows_scan(at("rows.jsonl"), &options[k], &s, &err));
        assert_true(pass_again(at("rows.jsonl"), &options[k], &s, &err));
        for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
            gv_err changed = GV_ERR_INIT;
            write_file(at("rows.jsonl"), after[i], strlen(after[i]));
            assert_false(pass_again(at("rows.jsonl"), &options[k], &s, &changed));
            assert_int_equal(changed.code, GV_STATE);
            assert_non_null(strstr(changed.msg, "rows.jsonl changed while it was being judged"));
        }
        rows_summary_fini(&s);
    }
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, new_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_keep_every_byte_of_every_value),
        cmocka_unit_test(names_are_decoded_and_values_parsed),
        cmocka_unit_test(empty_lines_bom_and_crlf_are_no_rows_but_count_as_lines),
        cmocka_unit_test(blank_lines_can_be_asked_for_and_take_no_number),
        cmocka_unit_test(a_bad_line_is_a_bad_row_and_its_neighbours_go_on),
        cmocka_unit_test(deep_nesting_is_a_bad_row),
        cmocka_unit_test(a_row_over_the_cap_is_a_bad_row_that_names_the_cap),
        cmocka_unit_test(rows_are_cut_from_every_shape_of_json_document),
        cmocka_unit_test(a_bad_element_of_a_document_is_a_bad_row),
        cmocka_unit_test(a_broken_document_fails_and_names_the_line),
        cmocka_unit_test(objects_that_hold_no_rows_are_explained),
        cmocka_unit_test(inputs_without_rows_are_named),
        cmocka_unit_test(files_that_are_no_text_are_named),
        EACH(paths_that_cannot_be_read_are_named),
        cmocka_unit_test(limit_and_shards_keep_global_numbers),
        cmocka_unit_test(ids_come_from_their_column_and_must_be_distinct),
        cmocka_unit_test(a_hundred_thousand_ids_are_told_apart),
        cmocka_unit_test(the_map_renames_columns_and_a_missing_one_is_explained),
        EACH(a_scan_counts_digests_and_lists_columns),
        EACH(more_columns_than_the_cap_are_refused),
        EACH(rows_across_chunk_borders_are_whole),
        EACH(a_line_of_100_mib_is_a_bad_row_in_bounded_memory),
        EACH(a_million_rows_stay_under_200_mib),
        EACH(standard_input_is_read_or_spooled),
        EACH(a_later_pass_over_changed_bytes_fails_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
