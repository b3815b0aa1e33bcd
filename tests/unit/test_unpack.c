/* Rows from gzip and zstd: every format, members, digests, and what is refused with its message. */
#include "data/rows.h"
#include "data/unpack.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

static char folder[64];

static int new_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/gavel-unpack-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", folder);
    return system(cmd);
}

static void add_gzip(buf *out, sv text) {
    z_stream z = {0};
    const size_t most = text.n + text.n / 1000 + 128;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text.p;
    z.avail_in = (uInt)text.n;
    z.next_out = (Bytef *)buf_reserve(out, most);
    z.avail_out = (uInt)most;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

static void add_zstd(buf *out, sv text) {
    const size_t most = ZSTD_compressBound(text.n);
    out->n += ZSTD_compress(buf_reserve(out, most), most, text.p, text.n, 3);
}

typedef void add_fn(buf *out, sv text);
static const struct packing {
    const char *name, *suffix;
    add_fn *add;
} packings[] = {{"gzip", ".gz", add_gzip}, {"zstd", ".zst", add_zstd}};
enum { N_PACKINGS = 2 };

/* Writes the file and shows its rows as "raw|raw;", then "error CODE: message" with the folder left out. */
static char *dump(const char *name, sv bytes, rows_options o) {
    static buf b;
    char path[256];
    gv_err err = GV_ERR_INIT;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    assert_int_equal(fclose(f), 0);
    buf_clear(&b);
    buf_add(&b, "", 0);
    o.name = "f";
    rows_reader *r = rows_open(path, &o, &err);
    bool end = false;
    for (row w; r && rows_next(r, &w, &end, &err) && !end; buf_add_char(&b, ';')) {
        if (w.bad) buf_add_sv(&b, w.message);
        for (size_t i = 0; i < w.n_columns; i++) buf_printf(&b, "%s" SV_FMT, i ? "|" : "", SV_ARG(w.columns[i].raw));
    }
    rows_close(r);
    if (err.code) buf_printf(&b, "error %d: %s", err.code, err.msg);
    return b.p;
}

static void check(const char *name, const buf *bytes, const char *want) {
    assert_string_equal(dump(name, buf_view(bytes), (rows_options){0}), want);
}

static void every_text_format_is_read_compressed(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *rows;
    } t[] = {
        {"a.jsonl", "{\"a\":1,\"b\":[2]}\n\n{\"a\":3}\n", "1|[2];3;"},
        {"a.json", "\xef\xbb\xbf[{\"a\":1},{\"a\":2}]", "1;2;"},
        {"a.csv", "a,b\r\n1,\"x\ny\"\r\n", "\"1\"|\"x\\ny\";"},
        {"a.tsv", "a\tb\n1\t2\n", "\"1\"|\"2\";"},
        {"a.JSONL", "{\"a\":\"\xc3\xa9\"}", "\"\xc3\xa9\";"},
        {"empty.jsonl", "", "error 3: f: the file is empty"},
        {"blank.jsonl", "\n", "error 3: f: no rows"},
        {"utf16.jsonl", "\xff\xfe{", "error 5: f is UTF-16 text; convert it to UTF-8 first"},
    };
    for (size_t k = 0; k < N_PACKINGS; k++)
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
            char name[64];
            buf b = {0};
            packings[k].add(&b, sv_of(t[i].text));
            snprintf(name, sizeof name, "%s%s", t[i].name, packings[k].suffix);
            check(name, &b, t[i].rows);
            check(t[i].name, &b, t[i].rows); /* the bytes decide, not the name */
            buf_fini(&b);
        }
    assert_string_equal(dump("a.jsonl.gz", SV("{\"a\":1}\n"), (rows_options){0}), "1;");
}

static void members_follow_each_other_also_within_a_row(void **state) {
    (void)state;
    for (size_t k = 0; k < N_PACKINGS; k++) {
        buf b = {0};
        packings[k].add(&b, SV("{\"a\":"));
        packings[k].add(&b, SV(""));
        packings[k].add(&b, SV("1}\n{\"a\":2}\n"));
        check("m.jsonl", &b, "1;2;");
        buf_fini(&b);
    }
    buf b = {0};
    add_zstd(&b, SV("{\"a\":1}\n"));
    buf_add(&b, "\x50\x2a\x4d\x18\3\0\0\0xyz", 11); /* a skippable frame */
    add_zstd(&b, SV("{\"a\":2}\n"));
    check("m.jsonl.zst", &b, "1;2;");
    buf_fini(&b);
}

static void rows_are_those_of_the_text_across_all_chunks(void **state) {
    (void)state;
    buf text = {0};
    uint32_t seed = 1;
    for (int i = 0; i < 60000; i++) {
        buf_printf(&text, "{\"i\":%d,\"x\":\"", i);
        for (int n = (int)((seed = seed * 1664525 + 1013904223) >> 26); n > 0; n--)
            buf_add_char(&text, (char)('!' + 2 + ((seed = seed * 1664525 + 1013904223) >> 28)));
        buf_add_str(&text, "\"}\n");
    }
    for (size_t k = 0; k < N_PACKINGS; k++) {
        char path[256], want[65], again[65];
        gv_err err = GV_ERR_INIT;
        buf b = {0};
        sha256 digest;
        rows_summary s;
        packings[k].add(&b, sv_sub(buf_view(&text), 0, 1234567));
        packings[k].add(&b, sv_sub(buf_view(&text), 1234567, text.n));
        snprintf(path, sizeof path, "%s/big.jsonl%s", folder, packings[k].suffix);
        dump(path + strlen(folder) + 1, buf_view(&b), (rows_options){.limit = 1});
        rows_reader *r = rows_open(path, NULL, &err);
        row at;
        bool end = false;
        size_t pos = 0;
        int64_t done, all, before = 0;
        while (rows_next(r, &at, &end, &err) && !end) {
            if (!sv_eq(at.text, sv_sub(buf_view(&text), pos, at.text.n)))
                fail_msg("row %llu at %zu: " SV_FMT, (unsigned long long)at.number, pos, SV_ARG(at.text));
            pos += at.text.n + 1;
            rows_position(r, &done, &all);
            assert_true(done >= before && done <= all);
            before = done;
        }
        assert_int_equal(err.code, 0);
        assert_int_equal(pos, text.n);
        assert_int_equal(all, b.n);
        assert_int_equal(done, b.n);
        rows_close(r);
        sha256_init(&digest);
        sha256_add(&digest, b.p, b.n);
        sha256_hex(&digest, want);
        assert_true(rows_scan(path, &(rows_options){.limit = 2}, &s, &err)); /* the digest is of all that is stored */
        assert_string_equal(s.sha256, want);
        assert_int_equal(s.n_rows, 2);
        rows_summary_fini(&s);
        assert_true(rows_scan(path, NULL, &s, &err));
        memcpy(again, s.sha256, sizeof again);
        assert_string_equal(again, want);
        assert_int_equal(s.n_rows, 60000);
        rows_summary_fini(&s);
        buf_fini(&b);
    }
    buf_fini(&text);
}

static void every_cut_is_an_error_that_names_the_file(void **state) {
    (void)state;
    for (size_t k = 0; k < N_PACKINGS; k++) {
        buf b = {0};
        char want[128];
        packings[k].add(&b, SV("{\"a\":1}\n{\"a\":22222}\n"));
        snprintf(want, sizeof want, "error 3: f: the %s data ends early; the file was cut off", packings[k].name);
        for (size_t n = k ? 4 : 2; n < b.n; n++) {
            const char *got = dump("c.jsonl", sv_sub(buf_view(&b), 0, n), (rows_options){0});
            if (!strstr(got, want)) fail_msg("%s cut at %zu: %s", packings[k].name, n, got);
        }
        const size_t first = b.n;
        packings[k].add(&b, SV("{\"a\":3}\n"));
        for (size_t n = first + (k ? 4 : 2); n < b.n; n++) {
            const char *got = dump("c.jsonl", sv_sub(buf_view(&b), 0, n), (rows_options){0});
            if (!strstr(got, want)) fail_msg("%s, second member cut at %zu: %s", packings[k].name, n, got);
        }
        buf_fini(&b);
    }
}

static void bytes_behind_the_end_and_broken_ones_are_errors(void **state) {
    (void)state;
    static const char *const tails[] = {"\n", "xy", "abcdefgh", "{\"a\":2}\n", "\x1f"};
    for (size_t k = 0; k < N_PACKINGS; k++) {
        char want[128];
        snprintf(want, sizeof want, "error 3: f: there are bytes behind the end of the %s data", packings[k].name);
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            buf b = {0};
            packings[k].add(&b, SV("{\"a\":1}\n"));
            buf_add_str(&b, tails[i]);
            const char *got = dump("t.jsonl", buf_view(&b), (rows_options){0});
            if (!strstr(got, want)) fail_msg("%s, tail %zu: %s", packings[k].name, i, got);
            buf_fini(&b);
        }
    }
    buf b = {0};
    add_gzip(&b, SV("{\"a\":1}\n"));
    b.p[b.n - 6] ^= 1; /* in the CRC */
    check("b.jsonl", &b, "error 3: f: broken gzip data: incorrect data check");
    b.p[2] = 7;
    check("b.jsonl", &b, "error 3: f: broken gzip data: unknown compression method");
    buf_clear(&b);
    buf_add(&b, "\x28\xb5\x2f\xfd\x20\x01\x07\x00\x00", 9); /* a block of the reserved type */
    check("b.jsonl", &b, "error 3: f: broken zstd data: Data corruption detected");
    buf_clear(&b);
    buf_add(&b, "\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00", 9); /* window descriptor: 2^30 bytes */
    check("b.jsonl", &b, "error 4: f: the zstd window is over the cap of 128 MiB");
    buf_clear(&b);
    buf once = {0};
    add_zstd(&once, SV("{\"a\":1}\n"));
    add_gzip(&b, buf_view(&once));
    check("b.jsonl", &b, "error 5: f is compressed twice; decompress it once");
    buf_fini(&once);
    buf_fini(&b);
}

/* A frame of one RLE block after another: 4 bytes for 128 KiB. */
static void bombs_stop_at_the_cap_and_the_row_cap_holds(void **state) {
    (void)state;
    buf b = {0};
    buf_add(&b, "\x28\xb5\x2f\xfd\x00\x38", 6); /* window of 128 KiB */
    for (int i = 0; i < 3000; i++) buf_add(&b, "\x02\x00\x10x", 4);
    buf_add(&b, "\x03\x00\x10\n", 4);
    check("bomb.jsonl.zst", &b, "error 4: f: the zstd data unpacks to more than 256 times its size, the cap beyond 256 MiB");
    buf_clear(&b);
    buf_add(&b, "\x28\xb5\x2f\xfd\x00\x38", 6);
    for (int i = 0; i < 600; i++) buf_add(&b, "\x02\x00\x10x", 4); /* 75 MiB */
    buf_add(&b, "\x03\x00\x10\n", 4);
    add_zstd(&b, SV("{\"a\":1}\n"));
    check("long.jsonl.zst", &b, "f:1: the line is longer than the cap of 64 MiB;1;");
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_format_is_read_compressed),
        cmocka_unit_test(members_follow_each_other_also_within_a_row),
        cmocka_unit_test(rows_are_those_of_the_text_across_all_chunks),
        cmocka_unit_test(every_cut_is_an_error_that_names_the_file),
        cmocka_unit_test(bytes_behind_the_end_and_broken_ones_are_errors),
        cmocka_unit_test(bombs_stop_at_the_cap_and_the_row_cap_holds),
    };
    return cmocka_run_group_tests(tests, new_folder, remove_folder);
}
