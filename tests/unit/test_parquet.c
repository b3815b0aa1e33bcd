/* Parquet: pyarrow's files in every codec and encoding against the rows that went in, our files read back, refusals with their messages, altered
 * files, memory.  That pyarrow reads our files is in tests/interop/test_parquet.py. */
#include "base/file.h"
#include "data/parquet.h"
#include "data/rows.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA GAVEL_TEST_DATA "/parquet/"
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static char folder[64];

static int new_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/gavel-parquet-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
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

static buf load(const char *path) {
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    if (!file_read_all(path, (size_t)1 << 30, &b, &err)) fail_msg("%s", err.msg);
    return b;
}

/* ---- comparing ---- */

/* Equal but for the spelling of floats. */
static bool same(const json_value *a, const json_value *b) {
    double x, y;
    int64_t whole;
    if (json_kind_of(a) != json_kind_of(b)) return false;
    switch (json_kind_of(a)) {
    case JSON_NULL: return true;
    case JSON_BOOL: return json_bool(a) == json_bool(b);
    case JSON_STRING: return sv_eq(json_string(a), json_string(b));
    case JSON_NUMBER:
        if (sv_eq(json_number_text(a), json_number_text(b))) return true;
        return !json_int64(a, &whole) && json_double(a, &x) && json_double(b, &y) && memcmp(&x, &y, sizeof x) == 0;
    default: break;
    }
    json_iter i = json_each(a), k = json_each(b);
    if (json_size(a) != json_size(b)) return false;
    while (json_next(&i))
        if (!json_next(&k) || !sv_eq(i.key, k.key) || !same(i.value, k.value)) return false;
    return true;
}

/* All rows of a Parquet file against JSON lines; names the first value that differs.  wrote: the number of rows. */
static size_t check_rows(const char *parquet, const char *jsonl) {
    gv_err err = GV_ERR_INIT;
    buf want = load(jsonl);
    size_t n = 0, pos = 0;
    rows_reader *r = rows_open(parquet, NULL, &err);
    if (!r) fail_msg("%s", err.msg);
    for (row found; pos < want.n; n++) {
        bool end;
        const size_t line_end = (size_t)((char *)memchr(want.p + pos, '\n', want.n - pos) - want.p);
        json_doc *d = json_parse((sv){want.p + pos, line_end - pos}, &err);
        assert_non_null(d);
        if (!rows_next(r, &found, &end, &err)) fail_msg("%s", err.msg);
        assert_false(end);
        if (found.bad) fail_msg("%.*s", SV_ARG(found.message));
        assert_int_equal(found.number, n);
        assert_int_equal(found.n_columns, json_size(json_root(d)));
        for (size_t c = 0; c < found.n_columns; c++) {
            const json_value *expect = json_get_sv(json_root(d), found.columns[c].name);
            if (expect && same(found.columns[c].value, expect)) continue;
            buf b = {0};
            if (expect) json_put_value(&b, expect);
            fail_msg("%s: row %zu, column %.*s: %.*s, expected %s", parquet, n, SV_ARG(found.columns[c].name), SV_ARG(found.columns[c].raw),
                     b.p);
        }
        json_free(d);
        pos = line_end + 1;
    }
    row more;
    bool end;
    if (!rows_next(r, &more, &end, &err)) fail_msg("%s", err.msg);
    assert_true(end);
    rows_close(r);
    buf_fini(&want);
    return n;
}

/* Each .parquet of the folder that has rows, with the .jsonl that tells them. */
static void each_file(void (*f)(const char *parquet, const char *jsonl)) {
    DIR *d = opendir(DATA);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char parquet[512], jsonl[512];
        const sv name = sv_of(e->d_name);
        if (!sv_ends(name, SV(".parquet")) || sv_is(name, "zero.parquet")) continue;
        snprintf(parquet, sizeof parquet, DATA "%s", e->d_name);
        const sv stem = sv_starts(name, SV("matrix_")) ? SV("matrix") : sv_sub(name, 0, name.n - 8);
        snprintf(jsonl, sizeof jsonl, DATA SV_FMT ".jsonl", SV_ARG(stem));
        f(parquet, jsonl);
        n++;
    }
    closedir(d);
    assert_int_equal(n, 17);
}

static void check_read(const char *parquet, const char *jsonl) {
    assert_true(check_rows(parquet, jsonl) >= 1);
}

static void files_of_pyarrow_give_the_rows_that_went_in(void **state) {
    (void)state;
    each_file(check_read);
}

/* ---- reading ---- */

static void columns_are_projected(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    const char *bad;
    bool end;
    const sv two[] = {SV("messages"), SV("i64")};
    pq_reader *r = pq_open(DATA "matrix_zstd_plain_v2.parquet", two, 2, &err);
    assert_non_null(r);
    assert_int_equal(pq_schema(r)->root.n_fields, 2);
    assert_true(pq_next(r, &b, 1 << 20, &bad, &end, &err));
    assert_true(sv_starts(buf_view(&b), SV("{\"i64\": ")));
    assert_non_null(strstr(b.p, ", \"messages\": "));
    assert_int_equal(pq_n_rows(r), 40);
    pq_close(r);
    const sv none = SV("absent");
    assert_null(pq_open(DATA "one.parquet", &none, 1, &err));
    assert_int_equal(err.code, GV_USAGE);
    assert_string_equal(err.msg, DATA "one.parquet: no column \"absent\"");
    buf_fini(&b);
}

static void limit_shards_and_ids_work_as_for_other_formats(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_options o = {.limit = 10, .shard_index = 1, .shard_count = 3, .id_col = "required"};
    rows_reader *r = rows_open(DATA "matrix_none_dict_v1.parquet", &o, &err);
    row found;
    bool end;
    assert_non_null(r);
    for (bool ok = true; ok; assert_false(end)) ok = rows_next(r, &found, &end, &err);
    assert_non_null(strstr(err.msg, "ids must be distinct"));
    rows_close(r);
    gv_err_clear(&err);
    o.id_col = NULL;
    r = rows_open(DATA "matrix_none_dict_v1.parquet", &o, &err);
    for (uint64_t want = 1; want < 10; want += 3) {
        assert_true(rows_next(r, &found, &end, &err) && !end);
        assert_int_equal(found.number, want);
        assert_int_equal(found.line, want + 1);
    }
    assert_true(rows_next(r, &found, &end, &err) && end);
    rows_close(r);
    o = (rows_options){.id_col = "requird"};
    r = rows_open(DATA "matrix_none_dict_v1.parquet", &o, &err);
    assert_false(rows_next(r, &found, &end, &err));
    assert_non_null(strstr(err.msg, "no id column \"requird\"; did you mean \"required\"?"));
    rows_close(r);
}

static void a_scan_has_the_files_digest_and_types(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_summary s;
    rows_options o = {.types = true};
    sha256 h;
    char hex[65];
    buf b = load(DATA "matrix_gzip_dict_v1.parquet"), types = {0};
    sha256_init(&h);
    sha256_add(&h, b.p, b.n);
    sha256_hex(&h, hex);
    assert_true(rows_scan(DATA "matrix_gzip_dict_v1.parquet", &o, &s, &err));
    assert_string_equal(s.sha256, hex);
    assert_int_equal(s.n_rows, 40);
    assert_int_equal(s.n_columns, 44);
    schema_put_arrow(&types, &s.types.root, "element");
    assert_string_equal(
        types.p, "struct<b: bool, i8: int8, i16: int16, i32: int32, i64: int64, u8: uint8, u16: uint16, u32: uint32, u64: uint64, h: "
                 "halffloat, f: float, "
                 "d: double, s: string, bin: binary, fixed: fixed_size_binary[5], ts_ms: timestamp[ms], ts_us: timestamp[us, tz=UTC], "
                 "ts_ns: timestamp[ns], "
                 "ts_whole: timestamp[us], date: date32[day], t_ms: time32[ms], t_us: time64[us], dec: decimal128(20, 3), dec38: "
                 "decimal128(38, 38), "
                 "dec9: decimal128(9, 0), allnull: string, allnull_int: int64, nulltype: null, required: string, large: string, dict: "
                 "string, uuid: string, "
                 "list: list<element: string>, list_ts: list<element: timestamp[ms]>, list_fixed: list<element: int32>, list_large: "
                 "list<element: int64>, "
                 "lists: list<element: list<element: int32>>, listss: list<element: list<element: list<element: string>>>, list_null: "
                 "list<element: null>, "
                 "struct: struct<x: int64, y: string>, messages: list<element: struct<role: string, content: string>>, "
                 "meta: struct<raw_input: list<element: struct<role: string, content: string>>, raw_output: string, statistics: "
                 "struct<input_tokens: int64, "
                 "output_tokens: int64>>, metas: list<element: struct<raw_input: list<element: struct<role: string, content: string>>, "
                 "raw_output: string, "
                 "statistics: struct<input_tokens: int64, output_tokens: int64>>>, map: list<element: struct<key: string, value: int64>>>");
    rows_reader *r = rows_open_again(DATA "matrix_gzip_dict_v1.parquet", &o, &s, &err);
    row found;
    bool end = false;
    while (!end) assert_true(rows_next(r, &found, &end, &err));
    rows_close(r);
    s.sha256[0] ^= 1;
    r = rows_open_again(DATA "matrix_gzip_dict_v1.parquet", &o, &s, &err);
    bool ok = true;
    for (end = false; ok && !end;) ok = rows_next(r, &found, &end, &err);
    assert_false(ok);
    assert_int_equal(err.code, GV_STATE);
    rows_close(r);
    rows_summary_fini(&s);
    buf_fini(&types);
    buf_fini(&b);
}

static void a_row_over_the_cap_is_bad_and_its_neighbours_are_not(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rows_options o = {.max_row_bytes = 190};
    int bad = 0, good = 0;
    rows_reader *r = rows_open(DATA "legacy.parquet", &o, &err);
    row found;
    for (bool end = false;;) {
        if (!rows_next(r, &found, &end, &err)) fail_msg("%s", err.msg);
        if (end) break;
        bad += found.bad;
        good += !found.bad;
        if (found.bad) assert_non_null(strstr(found.message.p, ": the row is longer than the cap"));
    }
    assert_true(bad > 3 && good > 3 && bad + good == 40);
    rows_close(r);
}

/* ---- refusals ---- */

static void refused(sv bytes, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    pq_reader *r = pq_open_memory(bytes.p, bytes.n, "f", NULL, 0, &err);
    const char *bad;
    bool end = false, ok = r != NULL;
    while (ok && !end) ok = pq_next(r, NULL, 1 << 20, &bad, &end, &err);
    pq_close(r);
    assert_false(ok);
    if (err.code != code || !strstr(err.msg, message))
        fail_msg("code %d: \"%s\", expected code %d: \"%s\"", err.code, err.msg, code, message);
}

static void put32(char *p, uint32_t v) {
    memcpy(p, &v, 4);
}

static void broken_files_are_named(void **state) {
    (void)state;
    buf b = load(DATA "one.parquet");
    const sv all = buf_view(&b);
    refused(SV(""), GV_FORMAT, "f is no Parquet file: 0 bytes, at least 12 are needed");
    refused(SV("PAR1PAR1"), GV_FORMAT, "f is no Parquet file: 8 bytes");
    refused(SV("{\"a\": 1, \"b\": 2}"), GV_FORMAT, "f is no Parquet file: it does not begin with PAR1");
    refused(sv_sub(all, 0, all.n - 1), GV_FORMAT, "f: the Parquet file is cut short: it does not end with PAR1");
    refused(sv_sub(all, 0, all.n / 2), GV_FORMAT, "f: the Parquet file is cut short");
    memcpy(b.p + all.n - 4, "PARE", 4);
    refused(all, GV_UNSUPPORTED, "f: an encrypted Parquet file is not read");
    memcpy(b.p, "PARE", 4);
    refused(all, GV_UNSUPPORTED, "f: an encrypted Parquet file is not read");
    memcpy(b.p, "PAR1", 4);
    memcpy(b.p + all.n - 4, "PAR1", 4);
    put32(b.p + all.n - 8, 0xfffffff0u);
    refused(all, GV_FORMAT, "f: the footer should be 4294967280 bytes long, the file has ");
    put32(b.p + all.n - 8, 10);
    refused(all, GV_FORMAT, "f: the footer cannot be read: ");
    put32(b.p + all.n - 8, (uint32_t)(all.n - 12));
    refused(all, GV_FORMAT, "f: ");
    buf_fini(&b);
    gv_err err = GV_ERR_INIT;
    assert_null(pq_open(at("absent.parquet"), NULL, 0, &err));
    assert_int_equal(err.code, GV_IO);
    gv_err_clear(&err);
    rows_reader *r = rows_open(DATA "zero.parquet", NULL, &err);
    row found;
    bool end;
    assert_non_null(r);
    assert_false(rows_next(r, &found, &end, &err));
    assert_string_equal(err.msg, DATA "zero.parquet: no rows");
    rows_close(r);
}

/* Files whose footers lie, made by make_lies.py. */
static void footers_that_lie_are_named(void **state) {
    (void)state;
    static const struct {
        const char *name;
        gv_code code;
        const char *message;
    } lies[] = {
        {"rows_file", GV_FORMAT, "f: the footer says 8 rows, its row groups have 7"},
        {"rows_group", GV_FORMAT, "f: column \"a\", row group 0: 3 values, the row group has 4 rows"},
        {"values_more", GV_FORMAT, "f: column \"a\", row group 0: 4 values, the row group has 3 rows"},
        {"values_fewer_in_page", GV_FORMAT, "f: a page cannot be read, column \"a\", row group 0"},
        {"offset", GV_FORMAT, "lie outside of the file"},
        {"size", GV_FORMAT, "lie outside of the file"},
        {"huge_rows", GV_LIMIT, "f: row group 0 has 1099511627776 rows, at most 134217728 are read"},
        {"codec_lzo", GV_UNSUPPORTED, "f: column \"a\" is compressed with a codec that is not read: lzo"},
        {"codec_unknown", GV_UNSUPPORTED, "f: column \"a\" is compressed with a codec that is not read: an unknown one"},
        {"wrong_codec", GV_FORMAT, "f: a page cannot be read, column \"a\", row group 0"},
        {"lists_differ", GV_FORMAT, "its lists are not those of the columns beside it"},
        {"type", GV_FORMAT, "row group 0 and the schema have different types"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, DATA "lies/%s.parquet", lies[i].name);
        buf b = load(path);
        print_message("%s\n", lies[i].name);
        refused(buf_view(&b), lies[i].code, lies[i].message);
        buf_fini(&b);
    }
}

/* ---- altered files ---- */

static uint64_t xorshift(uint64_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

/* Reads everything there is: an error with a message, or rows that are JSON. */
static bool read_through(sv bytes) {
    gv_err err = GV_ERR_INIT;
    rows_options o = {.format = ROWS_PARQUET, .max_row_bytes = 1 << 20};
    rows_reader *r = rows_open_memory(bytes.p, bytes.n, &o, &err);
    row found;
    bool end = false, ok = r != NULL;
    while (ok && !end) ok = rows_next(r, &found, &end, &err);
    rows_close(r);
    assert_true(ok == (err.code == GV_OK) && (ok || err.msg[0]));
    return ok;
}

static void altered_files_do_no_harm(void **state) {
    (void)state;
    static const char *const names[] = {"matrix_none_dict_v1", "matrix_zstd_delta_v1",  "matrix_snappy_plain_v2", "matrix_gzip_dict_v1",
                                        "matrix_lz4_plain_v2", "matrix_brotli_dict_v1", "matrix_zstd_delta_v2",   "legacy"};
    const char *is_long = getenv("GAVEL_LONG");
    const int n = SANITIZED || (is_long && *is_long) ? 2000 : 200;
    uint64_t seed = 20240229;
    int failed = 0;
    double slowest = 0;
    for (int i = 0; i < n; i++) {
        char path[512];
        struct timespec t0, t1;
        snprintf(path, sizeof path, DATA "%s.parquet", names[i % 8]);
        buf b = load(path);
        uint32_t footer;
        memcpy(&footer, b.p + b.n - 8, 4);
        const size_t from = i / 8 % 2 ? b.n - 8 - footer : 0; /* every other round in the footer alone */
        const uint64_t flips = 1 + xorshift(&seed) % 8;
        for (uint64_t k = 0; k < flips; k++) {
            char *p = b.p + from + xorshift(&seed) % (b.n - from);
            const uint64_t how = xorshift(&seed);
            *p = how % 3 == 0 ? (char)(how >> 8) : how % 3 == 1 ? (char)(*p ^ (1 << (how >> 8 & 7))) : (char)(how & 256 ? 0xff : 0);
        }
        if (i % 16 == 15) b.n -= xorshift(&seed) % b.n;
        char *exact = malloc(b.n ? b.n : 1); /* so that the address sanitizer sees reads past the end */
        assert_non_null(exact);
        memcpy(exact, b.p, b.n);
        clock_gettime(CLOCK_MONOTONIC, &t0);
        failed += !read_through((sv){exact, b.n});
        clock_gettime(CLOCK_MONOTONIC, &t1);
        const double took = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
        if (took > slowest) slowest = took;
        free(exact);
        buf_fini(&b);
    }
    print_message("%d altered files: %d refused, the slowest took %.3f s\n", n, failed, slowest);
    assert_true(failed > n / 4 && slowest < 20);
}

/* ---- writing ---- */

/* The file's rows and types through the writer and back. */
static void check_rewritten(const char *parquet, const char *jsonl) {
    gv_err err = GV_ERR_INIT;
    const char *bad, *out = at("again.parquet");
    bool end = false;
    buf line = {0}, before = {0}, after = {0};
    pq_reader *r = pq_open(parquet, NULL, 0, &err);
    const pq_write_options o = {.row_group_bytes = 3000};
    pq_writer *w = r ? pq_writer_open(out, pq_schema(r), &o, &err) : NULL;
    while (w && !end) {
        buf_clear(&line);
        assert_true(pq_next(r, &line, 1 << 20, &bad, &end, &err));
        if (end) break;
        json_doc *d = json_parse(buf_view(&line), &err);
        if (!d || !pq_writer_put(w, json_root(d), &err)) fail_msg("%s", err.msg);
        json_free(d);
    }
    if (!w || !pq_writer_commit(w, &err)) fail_msg("%s", err.msg);
    schema_put_arrow(&before, &pq_schema(r)->root, "item");
    pq_close(r);
    check_rows(out, jsonl);
    assert_non_null(r = pq_open(out, NULL, 0, &err));
    schema_put_arrow(&after, &pq_schema(r)->root, "item");
    assert_string_equal(after.p, before.p);
    assert_true(sv_starts(sv_of(pq_metadata(r, "huggingface")), SV("{\"info\": {\"features\": {\"")));
    pq_close(r);
    buf *all[] = {&line, &before, &after};
    for (size_t i = 0; i < 3; i++) buf_fini(all[i]);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    each_file(check_rewritten);
}

/* Writes rows of one column and expects the message. */
static void not_written(const char *type, const char *value, const char *message) {
    gv_err err = GV_ERR_INIT;
    schema s;
    schema_init(&s);
    schema_field *f = schema_add(&s, SV("x"), &err);
    assert_true(f && schema_from_arrow(&s, &f->type, sv_of(type), &err));
    pq_writer *w = pq_writer_open(at("no.parquet"), &s, NULL, &err);
    json_doc *d = json_parse(sv_of(value), &err);
    if (w && d && pq_writer_put(w, json_root(d), &err)) fail_msg("%s took %s", type, value);
    if (!strstr(err.msg, message)) fail_msg("\"%s\", expected \"%s\"", err.msg, message);
    json_free(d);
    pq_writer_abandon(w);
    assert_false(file_exists(at("no.parquet")));
    schema_fini(&s);
}

static void values_that_do_not_fit_are_named(void **state) {
    (void)state;
    not_written("int64", "{\"x\": \"a\"}", "no.parquet: row 0, column \"x\" of type int64: an integer is expected");
    not_written("int64", "{\"x\": 1.5}", "an integer is expected");
    not_written("int64", "{\"x\": 9223372036854775808}", "an integer out of the type's range");
    not_written("uint64", "{\"x\": -1}", "an integer out of the type's range");
    not_written("uint64", "{\"x\": 18446744073709551616}", "an integer is expected");
    not_written("int8", "{\"x\": 128}", "an integer out of the type's range");
    not_written("double", "{\"x\": 9007199254740993}", "an integer that float64 does not hold exactly");
    not_written("double", "{\"x\": \"1\"}", "a number is expected");
    not_written("string", "{\"x\": 1}", "text is expected");
    not_written("bool", "{\"x\": 1}", "true or false is expected");
    not_written("null", "{\"x\": 1}", "null is expected");
    not_written("list<item: string>", "{\"x\": \"a\"}", "column \"x\" of type list<element: string>: a list is expected");
    not_written("list<item: string>", "{\"x\": [[]]}", "column \"element\" of type string: text is expected");
    not_written("struct<a: int64>", "{\"x\": []}", "an object is expected");
    not_written("struct<a: int64>", "{\"x\": {\"b\": 1}}", "column \"x\" of type struct<a: int64>: no member \"b\" in the type");
    not_written("int64", "{\"y\": 1}", "no member \"y\" in the type");
    not_written("date32[day]", "{\"x\": \"2023-02-29\"}", "a date like 2024-02-29 is expected");
    not_written("timestamp[ms]", "{\"x\": \"2023-02-28T00:00:00.0001\"}", "a time like 2024-02-29T13:45:00 is expected");
    not_written("timestamp[ns]", "{\"x\": \"3000-01-01T00:00:00\"}", "a time like");
    not_written("time64[us]", "{\"x\": \"24:00:00\"}", "a time like 13:45:00 is expected");
    not_written("decimal128(3, 1)", "{\"x\": \"100.0\"}", "a decimal that fits the type is expected");
    not_written("decimal128(3, 1)", "{\"x\": \"1.05\"}", "a decimal that fits the type is expected");
    not_written("binary", "{\"x\": \"=a\"}", "base64 is expected");
    not_written("struct<>", "{}", "no.parquet: column \"x\": an object without members cannot be stored in Parquet");
}

static void a_writer_leaves_nothing_behind_unless_it_commits(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    schema s;
    schema_init(&s);
    assert_true(schema_add_plain(&s, SV("x"), TYPE_INT64, &err));
    pq_writer_abandon(pq_writer_open(at("w.parquet"), &s, NULL, &err));
    assert_false(file_exists(at("w.parquet")));
    pq_writer *w = pq_writer_open(at("w.parquet"), &s, NULL, &err);
    assert_true(pq_writer_commit(w, &err)); /* no rows */
    pq_reader *r = pq_open(at("w.parquet"), NULL, 0, &err);
    if (!r) fail_msg("%s", err.msg);
    assert_int_equal(pq_n_rows(r), 0);
    pq_close(r);
    assert_null(pq_writer_open(at("none/w.parquet"), &s, NULL, &err));
    assert_int_equal(err.code, GV_IO);
    pq_writer_abandon(NULL);
    gv_err_clear(&err);
    w = pq_writer_open("/dev/full", &s, NULL, &err);
    json_doc *d = json_parse(SV("{\"x\": 1}"), &err);
    bool ok = w != NULL;
    if (ok) ok = pq_writer_put(w, json_root(d), &err) ? pq_writer_commit(w, &err) : (pq_writer_abandon(w), false);
    assert_false(ok);
    assert_int_equal(err.code, GV_IO);
    json_free(d);
    schema_fini(&s);
}

/* A million rows of about 500 bytes through the writer and through the reader; a process of its own, so that the peak is theirs. */
static void a_million_rows_stream(void **state) {
    (void)state;
    const char *is_long = getenv("GAVEL_LONG");
    if (!is_long || !*is_long) {
        print_message("left out: it takes a minute; GAVEL_LONG=1 runs it\n");
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        gv_err err = GV_ERR_INIT;
        schema s;
        buf text = {0};
        uint64_t seed = 7, n = 0;
        schema_init(&s);
        bool ok = schema_add_plain(&s, SV("id"), TYPE_INT64, &err) && schema_add_plain(&s, SV("text"), TYPE_STRING, &err);
        rows_writer *w = ok ? rows_writer_open_typed(at("million.parquet"), &s, &err) : NULL;
        for (int i = 0; w && ok && i < 1000000; i++) {
            char id[16];
            buf_clear(&text);
            buf_add_char(&text, '"');
            for (int k = 0; k < 30; k++) buf_printf(&text, "%016llx", (unsigned long long)xorshift(&seed));
            buf_add_char(&text, '"');
            snprintf(id, sizeof id, "%d", i);
            const rows_cell cells[] = {{SV("id"), {0}, sv_of(id)}, {SV("text"), {0}, buf_view(&text)}};
            ok = rows_writer_put(w, cells, 2, &err);
        }
        ok = ok && w && rows_writer_commit(w, &err);
        rows_reader *r = ok ? rows_open(at("million.parquet"), NULL, &err) : NULL;
        row found;
        bool end = false;
        while (r && (ok = rows_next(r, &found, &end, &err)) && !end) n++;
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        printf("1,000,000 rows written and read: peak %ld MiB, %s\n", u.ru_maxrss >> 10, err.msg);
        fflush(stdout);
        _exit(ok && n == 1000000 && (SANITIZED || u.ru_maxrss < 200 << 10) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_pyarrow_give_the_rows_that_went_in),
        cmocka_unit_test(columns_are_projected),
        cmocka_unit_test(limit_shards_and_ids_work_as_for_other_formats),
        cmocka_unit_test(a_scan_has_the_files_digest_and_types),
        cmocka_unit_test(a_row_over_the_cap_is_bad_and_its_neighbours_are_not),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(footers_that_lie_are_named),
        cmocka_unit_test(altered_files_do_no_harm),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(values_that_do_not_fit_are_named),
        cmocka_unit_test(a_writer_leaves_nothing_behind_unless_it_commits),
        cmocka_unit_test(a_million_rows_stream),
    };
    return cmocka_run_group_tests(tests, new_folder, remove_folder);
}
