/* str() and repr() of JSON values: expected texts are CPython 3.11's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "judge/pystr.h"

static void values_print_as_python_prints_them(void **state) {
    (void)state;
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"null", "None"},
        {"true", "True"},
        {"false", "False"},
        {"\"it's\"", "it's"},
        {"0", "0"},
        {"-0", "0"},
        {"-7", "-7"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"1.0", "1.0"},
        {"-0.0", "-0.0"},
        {"1e22", "1e+22"},
        {"1e16", "1e+16"},
        {"1e15", "1000000000000000.0"},
        {"123456789.125", "123456789.125"},
        {"0.1", "0.1"},
        {"1e-4", "0.0001"},
        {"1e-5", "1e-05"},
        {"1.5e-7", "1.5e-07"},
        {"5e-324", "5e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"1e400", "inf"},
        {"-1e400", "-inf"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"2.5E3", "2500.0"},
        {"9007199254740993.0", "9007199254740992.0"},
        {"5.684341886080802e-14", "5.684341886080802e-14"},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[\"a\",\"b'c\"]", "['a', \"b'c\"]"},
        {"{\"k\":null,\"l\":[1,2.0]}", "{'k': None, 'l': [1, 2.0]}"},
        {"[\"both ' and \\\"\"]", "['both \\' and \"']"},
        {"[\"\\n\\r\\t\\\\\\u0000\\u001b\\u007f\"]", "['\\n\\r\\t\\\\\\x00\\x1b\\x7f']"},
        {"[\"\xc3\xa9 \xc2\xa0 \xc2\xad \xe2\x80\x8b \xe2\x80\xa8 \xe3\x80\x80\"]", "['\xc3\xa9 \\xa0 \\xad \\u200b \\u2028 \\u3000']"},
        {"[\"\xf0\x9f\x91\x8d \xf3\xa0\x80\x81 \xef\xbf\xbf\"]", "['\xf0\x9f\x91\x8d \\U000e0001 \\uffff']"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        json_doc *doc = json_parse(sv_of(cases[i].json), &err);
        if (!doc) fail_msg("%s: %s", cases[i].json, err.msg);
        buf text = {0};
        py_str(&text, json_root(doc));
        if (!sv_is(buf_view(&text), cases[i].text)) fail_msg("%s: got %s, want %s", cases[i].json, text.p, cases[i].text);
        buf_fini(&text);
        json_free(doc);
    }
}

static void types_and_truth_are_pythons(void **state) {
    (void)state;
    static const struct {
        const char *json, *type;
        bool falsy;
    } cases[] = {
        {"null", "NoneType", true},   {"true", "bool", false},   {"false", "bool", true}, {"0", "int", true},
        {"-0.0", "float", true},      {"1e0", "float", false},   {"5", "int", false},     {"\"\"", "str", true},
        {"\"0\"", "str", false},      {"[]", "list", true},      {"[0]", "list", false},  {"{}", "dict", true},
        {"{\"a\":0}", "dict", false}, {"1e-400", "float", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        json_doc *doc = json_parse(sv_of(cases[i].json), &err);
        assert_non_null(doc);
        assert_string_equal(py_type_name(json_root(doc)), cases[i].type);
        if (py_is_falsy(json_root(doc)) != cases[i].falsy) fail_msg("%s", cases[i].json);
        json_free(doc);
    }
}

static void strip_takes_pythons_white_space_only(void **state) {
    (void)state;
    assert_true(sv_is(py_strip(SV("\t\n\v\f\r\x1c\x1d\x1e\x1f \xc2\x85\xc2\xa0x\xe2\x80\xa8\xe2\x80\xa9\xe3\x80\x80")), "x"));
    assert_true(sv_is(py_strip(SV("\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x8a\xe2\x80\xaf\xe2\x81\x9fx ")), "x"));
    assert_true(sv_is(py_strip(SV("\xe2\x80\x8bx\xef\xbb\xbf")), "\xe2\x80\x8bx\xef\xbb\xbf")); /* U+200B, U+FEFF stay */
    assert_true(sv_is(py_strip(SV("\xe1\xa0\x8ex\xe2\x81\xa0")), "\xe1\xa0\x8ex\xe2\x81\xa0")); /* U+180E, U+2060 stay */
    assert_true(sv_eq(py_strip(SV("\0 x \0")), SV("\0 x \0")));
    assert_true(sv_is(py_strip(SV(" \xff x \x80 ")), "\xff x \x80"));
    assert_int_equal(py_strip(SV("  \n")).n, 0);
    assert_int_equal(py_strip((sv){0}).n, 0);
}

static void digits_of_every_script_have_their_value(void **state) {
    (void)state;
    assert_int_equal(py_digit('0'), 0);
    assert_int_equal(py_digit('9'), 9);
    assert_int_equal(py_digit('a'), -1);
    assert_int_equal(py_digit(0x0663), 3);  /* ARABIC-INDIC DIGIT THREE */
    assert_int_equal(py_digit(0x06f4), 4);  /* EXTENDED ARABIC-INDIC DIGIT FOUR */
    assert_int_equal(py_digit(0xff15), 5);  /* FULLWIDTH DIGIT FIVE */
    assert_int_equal(py_digit(0x1d7db), 3); /* MATHEMATICAL DOUBLE-STRUCK DIGIT THREE */
    assert_int_equal(py_digit(0x1d7ce), 0); /* MATHEMATICAL BOLD DIGIT ZERO, first of five runs */
    assert_int_equal(py_digit(0x1d7ff), 9); /* the last */
    assert_int_equal(py_digit(0x00b2), -1); /* SUPERSCRIPT TWO is no decimal digit */
    assert_int_equal(py_digit(0x2464), -1); /* CIRCLED DIGIT FIVE */
    assert_int_equal(py_digit(-1), -1);
    assert_int_equal(py_digit(0x10ffff), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_python_prints_them),
        cmocka_unit_test(types_and_truth_are_pythons),
        cmocka_unit_test(strip_takes_pythons_white_space_only),
        cmocka_unit_test(digits_of_every_script_have_their_value),
    };
    return cmocka_run_group_tests_name("pystr", tests, NULL, NULL);
}
