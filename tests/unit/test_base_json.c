/* JSON: strictness with byte positions, caps, duplicate keys, exact numbers, walking and printing. */
#include "support/base_check.h"

#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>

static json_doc *parse(sv text) {
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(text, &err);
    if (!d) fail_msg("%s", err.msg);
    return d;
}

static void check_refused(sv text, gv_code code, int64_t where, const char *start) {
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(text, &err);
    if (d) fail_msg("accepted: %.*s", (int)(text.n < 60 ? text.n : 60), text.p);
    if (!sv_starts(sv_of(err.msg), sv_of(start))) fail_msg("\"%s\" does not begin with \"%s\"", err.msg, start);
    assert_int_equal(err.code, code);
    assert_int_equal(err.where, where);
}

static void what_rfc_8259_forbids_is_refused_at_its_byte(void **state) {
    (void)state;
    static const struct {
        sv text;
        int64_t at;
    } cases[] = {
        {SV(""), 0},
        {SV("{\"a\": 1, \"b\": xyz}"), 14},

        {SV("{a:1}"), 1},
        {SV("[1] x"), 4},
        {SV("[NaN]"), 1},
        {SV("[01]"), 1},
        {SV("['a']"), 1},
        {SV("// c\n1"), 0},
        {SV("\xEF\xBB\xBF{}"), 0},
        {SV("[1\0]"), 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char start[64];
        snprintf(start, sizeof start, "invalid JSON at byte %d: ", (int)cases[i].at);
        check_refused(cases[i].text, GV_FORMAT, cases[i].at, start);
    }
}

/* Bytes reported inside strings may differ by one between versions of the parser: only code and kind are asserted. */
static void bad_strings_numbers_and_ends_are_refused(void **state) {
    (void)state;
    static const char *const cases[] = {"\"\xFF\"",
                                        "\"\xC0\xAF\"",
                                        "\"\xED\xA0\x80\"",
                                        "\"\\ud800\"",
                                        "\"\\udc00x\"",
                                        "\"\\q\"",
                                        "\"\n\"",
                                        "\"a\tb\"",
                                        "\"\x01\"",
                                        "\"open",
                                        "\"\\",
                                        "[",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "[1 2]",
                                        "[1,]",
                                        "{\"a\":1,}",
                                        "-",
                                        "+1",
                                        ".5",
                                        "1.",
                                        "1e",
                                        "1e+",
                                        "[1,[2,[3]]",
                                        "nul",
                                        "tru e",
                                        "Infinity",
                                        "-Infinity",
                                        "]",
                                        "{\"a\":1]",
                                        " ",
                                        "\"\\u00g0\""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        json_doc *d = json_parse(sv_of(cases[i]), &err);
        if (d) fail_msg("accepted: %s", cases[i]);
        assert_int_equal(err.code, GV_FORMAT);
        if (!sv_starts(sv_of(err.msg), SV("invalid JSON at byte "))) fail_msg("%s: %s", cases[i], err.msg);
        assert_true(err.where >= 0 && err.where <= (int64_t)strlen(cases[i]));
    }
}

static void duplicate_keys_are_refused_where_the_second_stands(void **state) {
    (void)state;
    check_refused(SV("{\"a\":1,\"b\":2,\"a\":3}"), GV_FORMAT, 13, "invalid JSON at byte 13: duplicate key \"a\"");
    check_refused(SV("[0,{\"x\":{\"k\":1, \"\\u006b\":2}}]"), GV_FORMAT, 16, "invalid JSON at byte 16: duplicate key \"k\"");
    check_refused(SV("{\"\":1,\"\":2}"), GV_FORMAT, 6, "invalid JSON at byte 6: duplicate key \"\"");
    json_free(parse(SV("{\"a\":{\"a\":1},\"A\":2,\"a\\u0000\":3,\"a \":4}")));
}

static void duplicates_among_many_keys_are_found_too(void **state) {
    (void)state;
    for (int n = 2; n < 40; n++) {
        for (int second = 1; second < n; second++) {
            buf b = {0};
            buf_add_char(&b, '{');
            size_t at = 0;
            for (int i = 0; i < n; i++) {
                if (i) buf_add_char(&b, ',');
                if (i == second) at = b.n;
                buf_printf(&b, "\"key%d\":%d", i == second ? i / 2 : i, i);
            }
            buf_add_char(&b, '}');
            char want[80];
            snprintf(want, sizeof want, "invalid JSON at byte %zu: duplicate key \"key%d\"", at, second / 2);
            check_refused(buf_view(&b), GV_FORMAT, (int64_t)at, want);
            buf_fini(&b);
        }
    }
}

static void of_several_duplicates_the_first_in_the_text_is_named(void **state) {
    (void)state;
    check_refused(SV("{\"b\":1,\"a\":1,\"a\":2,\"b\":2}"), GV_FORMAT, 13, "invalid JSON at byte 13: duplicate key \"a\"");
    check_refused(SV("{\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"b\":0,\"a\":0,\"7\":0,\"b\":1,\"a\":1}"), GV_FORMAT, 55,
                  "invalid JSON at byte 55: duplicate key \"b\"");
}

static void an_overlong_duplicate_key_is_shown_in_part(void **state) {
    (void)state;
    buf b = {0};
    buf_printf(&b, "{\"%0300d\":1,\"%0300d\":2}", 0, 0);
    char want[256];
    snprintf(want, sizeof want, "invalid JSON at byte 306: duplicate key \"%0100d\"...", 0);
    check_refused(buf_view(&b), GV_FORMAT, 306, want);
    buf_fini(&b);
}

static void nesting_is_allowed_to_64_levels(void **state) {
    (void)state;
    for (int deep = 60; deep < 70; deep++) {
        buf b = {0};
        for (int i = 0; i < deep; i++) buf_add_str(&b, i % 2 ? "{\"a\":" : "[");
        buf_add_str(&b, "\"[[[[\\\"{{{{\"");
        for (int i = deep; i-- > 0;) buf_add_char(&b, i % 2 ? '}' : ']');
        if (deep <= 64) {
            json_doc *d = parse(buf_view(&b));
            buf out = {0};
            json_put_value(&out, json_root(d));
            assert_string_equal(out.p, b.p);
            buf_fini(&out);
            json_free(d);
        } else {
            check_refused(buf_view(&b), GV_LIMIT, 32 * 6, "JSON at byte 192: nested more than 64 levels deep");
        }
        buf_fini(&b);
    }
    char *brackets = gv_xmalloc(1000000);
    memset(brackets, '[', 1000000);
    check_refused((sv){brackets, 1000000}, GV_LIMIT, 64, "JSON at byte 64: nested more than 64 levels deep");
    free(brackets);
}

/* [0,0,...] with n values besides the array, or an object with n keys. */
static void put_many(buf *b, size_t n, bool object) {
    buf_clear(b);
    buf_add_char(b, object ? '{' : '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_char(b, ',');
        if (object) buf_printf(b, "\"%zx\":", i * 2654435761u % 4294967296u);
        buf_add_char(b, '0');
    }
    buf_add_char(b, object ? '}' : ']');
}

static void counts_are_capped_by_name(void **state) {
    (void)state;
    buf b = {0};
    put_many(&b, 999999, false);
    json_doc *d = parse(buf_view(&b));
    assert_int_equal(json_size(json_root(d)), 999999);
    json_free(d);
    put_many(&b, 1000000, false);
    check_refused(buf_view(&b), GV_LIMIT, 1999998, "JSON at byte 1999998: more than 1000000 values in one document");
    put_many(&b, 10000, true);
    d = parse(buf_view(&b));
    assert_int_equal(json_size(json_root(d)), 10000);
    json_free(d);
    put_many(&b, 10001, true);
    check_refused(buf_view(&b), GV_LIMIT, 1, "JSON at byte 1: an object with 10001 keys, more than 10000");
    buf_fini(&b);
}

static void memory_that_runs_out_is_an_error(void **state) {
    (void)state;
#ifdef GAVEL_TESTING
    int failures = 0;
    for (int64_t nth = 1; nth < 100; nth++) {
        gv_err err = GV_ERR_INIT;
        gv_alloc_fail_at(nth);
        json_doc *d = json_parse(SV("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}"), &err);
        gv_alloc_fail_at(0);
        json_free(d);
        if (d) break;
        failures++;
        assert_int_equal(err.code, GV_MEMORY);
        assert_true(sv_ends(sv_of(err.msg), SV("out of memory")) || sv_starts(sv_of(err.msg), SV("keys of a JSON object: out of memory")));
    }
    assert_int_equal(failures, 3); /* the copy of the text, the values, the keys */
#else
    skip();
#endif
}

static void numbers_keep_their_text(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_int;
        int64_t i;
        bool is_double;
        double d;
    } cases[] = {
        {"0", true, 0, true, 0.0},
        {"-0", true, 0, true, 0.0},
        {"1.0", false, 0, true, 1.0},
        {"1e2", false, 0, true, 100.0},
        {"-12", true, -12, true, -12.0},
        {"9223372036854775807", true, INT64_MAX, true, 9223372036854775807.0},
        {"-9223372036854775808", true, INT64_MIN, true, -9223372036854775808.0},
        {"9223372036854775808", false, 0, true, 9223372036854775808.0},
        {"-9223372036854775809", false, 0, true, -9223372036854775808.0},
        {"18446744073709551616", false, 0, true, 18446744073709551616.0},
        {"123456789012345678901234567890", false, 0, true, 123456789012345678901234567890.0},
        {"0.1", false, 0, true, 0.1},
        {"2.2250738585072011e-308", false, 0, true, 2.2250738585072011e-308},
        {"4.9e-324", false, 0, true, 4.9e-324},
        {"1e-400", false, 0, true, 0.0},
        {"1.7976931348623157e308", false, 0, true, 1.7976931348623157e308},
        {"1e309", false, 0, false, 0},
        {"-1e400", false, 0, false, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        buf b = {0}, out = {0};
        buf_printf(&b, "[%s,%s ,{\"k\":%s}]", cases[k].text, cases[k].text, cases[k].text);
        json_doc *d = parse(buf_view(&b));
        for (json_iter it = json_each(json_root(d)); json_next(&it);) {
            const json_value *v = json_kind_of(it.value) == JSON_OBJECT ? json_get(it.value, "k") : it.value;
            int64_t i = 77;
            double x = 77;
            assert_int_equal(json_kind_of(v), JSON_NUMBER);
            CHECK_SV(json_number_text(v), cases[k].text);
            assert_int_equal(json_int64(v, &i), cases[k].is_int);
            assert_true(i == (cases[k].is_int ? cases[k].i : 77));
            assert_int_equal(json_double(v, &x), cases[k].is_double);
            assert_true(x == (cases[k].is_double ? cases[k].d : 77));
        }
        json_put_value(&out, json_root(d));
        b.n = 0;
        buf_printf(&b, "[%s,%s,{\"k\":%s}]", cases[k].text, cases[k].text, cases[k].text);
        assert_string_equal(out.p, b.p);
        json_free(d);
        d = parse(sv_of(cases[k].text)); /* as the whole document */
        CHECK_SV(json_number_text(json_root(d)), cases[k].text);
        json_free(d);
        buf_fini(&b);
        buf_fini(&out);
    }
}

static void kinds_and_members_are_told_apart(void **state) {
    (void)state;
    json_doc *d =
        parse(SV(" { \"n\":null, \"t\":true, \"f\":false, \"i\":5, \"s\":\"a\\u0000\\u00e9\", \"a\":[1,[],2], \"o\":{}, \"\\u0000\":1 } "));
    const json_value *r = json_root(d);
    static const char *const keys[] = {"n", "t", "f", "i", "s", "a", "o"};
    static const char *const kinds[] = {"null", "boolean", "boolean", "number", "string", "array", "object"};
    for (size_t i = 0; i < 7; i++) assert_string_equal(json_kind_name(json_get(r, keys[i])), kinds[i]);
    assert_true(json_bool(json_get(r, "t")));
    assert_false(json_bool(json_get(r, "f")));
    assert_true(sv_eq(json_string(json_get(r, "s")), SV("a\0\xC3\xA9")));
    assert_int_equal(json_size(r), 8);
    assert_int_equal(json_size(json_get(r, "a")), 3);
    assert_int_equal(json_size(json_get(r, "o")), 0);
    assert_int_equal(json_size(json_get(r, "s")), 0);
    assert_null(json_get(r, "x"));
    assert_null(json_get(json_get(r, "a"), "n"));
    assert_null(json_get(NULL, "n"));
    assert_non_null(json_get_sv(r, SV("\0")));
    int64_t i;
    double x;
    assert_false(json_int64(json_get(r, "s"), &i));
    assert_false(json_double(json_get(r, "n"), &x));
    json_iter none = json_each(json_get(r, "o"));
    assert_false(json_next(&none));
    none = json_each(json_get(r, "i"));
    assert_false(json_next(&none));
    json_free(d);
    json_free(NULL);
}

static void walking_follows_the_source_order(void **state) {
    (void)state;
    json_doc *d = parse(SV("{\"z\":[1,{\"q\":[]},3],\"a\":{\"b\":{}},\"m\":\"x\"}"));
    buf seen = {0};
    for (json_iter it = json_each(json_root(d)); json_next(&it);) {
        buf_printf(&seen, SV_FMT "=", SV_ARG(it.key));
        json_put_value(&seen, it.value);
        buf_add_char(&seen, ';');
    }
    assert_string_equal(seen.p, "z=[1,{\"q\":[]},3];a={\"b\":{}};m=\"x\";");
    buf_fini(&seen);
    json_free(d);
}

static void strings_are_escaped_only_where_needed(void **state) {
    (void)state;
    buf b = {0};
    json_put_string(&b, SV("a\"b\\c/d\b\f\n\r\t\x01\x1f\x7f\0 \xC3\xA9\xE2\x80\xA8"));
    assert_string_equal(b.p, "\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000 \xC3\xA9\xE2\x80\xA8\"");
    buf_clear(&b);
    json_put_string(&b, (sv){NULL, 0});
    assert_string_equal(b.p, "\"\"");
    buf_clear(&b);
    json_put_string(&b, SV("x\xFFy\xE2\x82\n"));
    assert_string_equal(b.p, "\"x\xEF\xBF\xBDy\xEF\xBF\xBD\\n\"");
    buf_fini(&b);
}

static void any_bytes_come_back_as_their_replacement(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 2000; round++) {
        char raw[40];
        size_t n = random_next(&seed) % sizeof raw;
        for (size_t i = 0; i < n; i++) raw[i] = (char)(random_next(&seed) % 3 ? random_next(&seed) % 128 : random_next(&seed));
        buf text = {0}, want = {0};
        json_put_string(&text, (sv){raw, n});
        utf8_replace((sv){raw, n}, &want);
        json_doc *d = parse(buf_view(&text));
        assert_true(sv_eq(json_string(json_root(d)), buf_view(&want)));
        json_free(d);
        buf_fini(&text);
        buf_fini(&want);
    }
}

static void printed_numbers_read_back(void **state) {
    (void)state;
    buf b = {0};
    json_put_int(&b, INT64_MIN);
    buf_add_char(&b, ' ');
    static const double values[] = {0.1, 1.0, -2.5, 4.9e-324, 123456789.0, (double)INFINITY, (double)NAN};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_put_double(&b, values[i]);
        buf_add_char(&b, ' ');
    }
    assert_string_equal(b.p, "-9223372036854775808 0.1 1.0 -2.5 5e-324 123456789.0 null null ");
    uint64_t seed = 9;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&seed);
        double d;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d)) continue;
        buf_clear(&b);
        json_put_double(&b, d);
        json_doc *doc = parse(buf_view(&b));
        double back = 0;
        assert_true(json_double(json_root(doc), &back));
        assert_memory_equal(&back, &d, sizeof d);
        json_free(doc);
    }
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_rfc_8259_forbids_is_refused_at_its_byte),
        cmocka_unit_test(bad_strings_numbers_and_ends_are_refused),
        cmocka_unit_test(duplicate_keys_are_refused_where_the_second_stands),
        cmocka_unit_test(duplicates_among_many_keys_are_found_too),
        cmocka_unit_test(of_several_duplicates_the_first_in_the_text_is_named),
        cmocka_unit_test(an_overlong_duplicate_key_is_shown_in_part),
        cmocka_unit_test(nesting_is_allowed_to_64_levels),
        cmocka_unit_test(counts_are_capped_by_name),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
        cmocka_unit_test(numbers_keep_their_text),
        cmocka_unit_test(kinds_and_members_are_told_apart),
        cmocka_unit_test(walking_follows_the_source_order),
        cmocka_unit_test(strings_are_escaped_only_where_needed),
        cmocka_unit_test(any_bytes_come_back_as_their_replacement),
        cmocka_unit_test(printed_numbers_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
