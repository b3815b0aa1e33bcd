/* Types of columns: inference, what does not go together, the texts of Arrow and of the Hub. */
#include "data/schema.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

/* The types inferred from JSON rows (one a line), as pyarrow prints them, or "error: MESSAGE". */
static const char *infer(const char *rows) {
    static buf out;
    gv_err err = GV_ERR_INIT;
    schema s;
    bool ok = true;
    uint64_t n = 0;
    schema_init(&s);
    buf_clear(&out);
    while (ok && *rows) {
        const char *end = strchrnul(rows, '\n');
        json_doc *d = json_parse((sv){rows, (size_t)(end - rows)}, &err);
        assert_non_null(d);
        ok = schema_see_row(&s, json_root(d), n++, &err);
        json_free(d);
        rows = *end ? end + 1 : end;
    }
    if (ok)
        schema_put_arrow(&out, &s.root, "item");
    else
        buf_printf(&out, "error: %s", err.msg);
    schema_fini(&s);
    return out.p;
}

static void values_are_inferred_as_pyarrow_does(void **state) {
    (void)state;
    assert_string_equal(infer("{\"a\":1,\"b\":\"x\",\"c\":true,\"d\":1.0,\"e\":null}"),
                        "struct<a: int64, b: string, c: bool, d: double, e: null>");
    assert_string_equal(infer("{\"z\":null}\n{\"a\":1,\"z\":2}"), "struct<z: int64, a: int64>");
    assert_string_equal(infer("{\"a\":1}\n{\"a\":2.5}\n{\"a\":3}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":2.5}\n{\"a\":3}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":9223372036854775807}"), "struct<a: int64>");
    assert_string_equal(infer("{\"a\":1}\n{\"a\":9223372036854775808}"), "struct<a: uint64>");
    assert_string_equal(infer("{\"a\":18446744073709551616}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":1e2}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":[]}\n{\"a\":[null]}"), "struct<a: list<item: null>>");
    assert_string_equal(infer("{\"a\":[]}\n{\"a\":[1,null,2.0]}\n{\"a\":null}"), "struct<a: list<item: double>>");
    assert_string_equal(infer("{\"a\":{\"z\":1,\"b\":null}}\n{\"a\":{\"c\":\"x\",\"b\":[{\"y\":1},{\"x\":2}]}}"),
                        "struct<a: struct<b: list<item: struct<x: int64, y: int64>>, c: string, z: int64>>");
    assert_string_equal(infer("{\"a\":{}}"), "struct<a: struct<>>");
}

/* What JSON lacks is a text in JSON: beside numbers, in any order, it is a float. */
static void words_for_floats_go_with_numbers(void **state) {
    (void)state;
    assert_string_equal(infer("{\"a\":1.5}\n{\"a\":\"NaN\"}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":\"NaN\"}\n{\"a\":null}\n{\"a\":\"-Infinity\"}\n{\"a\":1}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":1}\n{\"a\":\"Infinity\"}\n{\"a\":2}"), "struct<a: double>");
    assert_string_equal(infer("{\"a\":[1,\"NaN\"]}"), "struct<a: list<item: double>>");
    assert_string_equal(infer("{\"a\":\"NaN\"}\n{\"a\":\"NaN\"}"), "struct<a: string>");
    assert_string_equal(infer("{\"a\":\"NaN\"}\n{\"a\":\"word\"}\n{\"a\":\"NaN\"}"), "struct<a: string>");
    assert_string_equal(infer("{\"a\":\"NaN\"}\n{\"a\":\"word\"}\n{\"a\":1}"), "error: column \"a\": int64 in row 2, string before it");
    assert_string_equal(infer("{\"a\":\"word\"}\n{\"a\":\"NaN\"}\n{\"a\":1.5}"), "error: column \"a\": double in row 2, string before it");
    assert_string_equal(infer("{\"a\":true}\n{\"a\":\"NaN\"}"), "error: column \"a\": string in row 1, bool before it");
}

static void what_does_not_go_together_is_named(void **state) {
    (void)state;
    assert_string_equal(infer("{\"a\":1}\n{\"a\":\"x\"}"), "error: column \"a\": string in row 1, int64 before it");
    assert_string_equal(infer("{\"a\":\"x\"}\n{\"a\":null}\n{\"a\":[1]}"), "error: column \"a\": a list in row 2, string before it");
    assert_string_equal(infer("{\"a\":[{\"b\":true}]}\n{\"a\":[{\"b\":1}]}"), "error: column \"a[].b\": int64 in row 1, bool before it");
    assert_string_equal(infer("{\"a\":{\"b\":1}}\n{\"a\":3}"), "error: column \"a\": int64 in row 1, struct<b: int64> before it");
    assert_string_equal(infer("{\"a\":[1]}\n{\"a\":{\"b\":1}}"), "error: column \"a\": an object in row 1, list<element: int64> before it");
}

/* Both ways through Arrow's text. */
static void texts_of_types_read_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "null",
        "bool",
        "int8",
        "uint64",
        "halffloat",
        "float",
        "double",
        "string",
        "binary",
        "date32[day]",
        "fixed_size_binary[3]",
        "time32[ms]",
        "time64[us]",
        "timestamp[ns]",
        "timestamp[us, tz=UTC]",
        "decimal128(20, 3)",
        "list<element: list<element: int64>>",
        "struct<>",
        "struct<a: list<element: struct<content: string, role: string>>, b: decimal128(3, 0), c: timestamp[ms, tz=UTC]>"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        gv_err err = GV_ERR_INIT;
        schema s;
        buf b = {0};
        schema_init(&s);
        schema_field *f = schema_add(&s, SV("x"), &err);
        if (!schema_from_arrow(&s, &f->type, sv_of(texts[i]), &err)) fail_msg("%s", err.msg);
        schema_put_arrow(&b, &f->type, "element");
        assert_string_equal(b.p, texts[i]);
        buf_fini(&b);
        schema_fini(&s);
    }
    static const char *const broken[] = {"list<element: int64", "struct<a int64>",          "nothing", "int64, int8", "decimal128(40, 3)",
                                         "timestamp[h]",        "struct<a: int8, a: int8>", ""};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        gv_err err = GV_ERR_INIT;
        schema s;
        schema_init(&s);
        schema_field *f = schema_add(&s, SV("x"), &err);
        assert_false(schema_from_arrow(&s, &f->type, sv_of(broken[i]), &err));
        assert_true(err.msg[0] != 0);
        schema_fini(&s);
    }
}

static const char *features(const char *text) {
    static buf out;
    gv_err err = GV_ERR_INIT;
    schema s;
    schema_init(&s);
    buf_clear(&out);
    json_doc *d = json_parse(sv_of(text), &err);
    assert_non_null(d);
    if (schema_from_features(&s, json_root(d), &err))
        schema_put_arrow(&out, &s.root, "item");
    else
        buf_printf(&out, "error: %s", err.msg);
    json_free(d);
    schema_fini(&s);
    return out.p;
}

#define V(t) "{\"dtype\": \"" t "\", \"_type\": \"Value\"}"

static void features_of_the_hub_are_read_and_written(void **state) {
    (void)state;
    const char *mine = "{\"i\": " V("int64") ", \"f\": " V("float64") ", \"t\": " V("timestamp[ms]") ", \"l\": {\"feature\": " V(
        "string") ", \"_type\": \"Sequence\"}, "
                  "\"m\": [{\"content\": " V("string") ", \"role\": " V("string") "}], \"ll\": [{\"feature\": " V(
                      "int32") ", \"_type\": \"Sequence\"}]}";
    const char *types = "struct<i: int64, f: double, t: timestamp[ms], l: list<item: string>, m: list<item: struct<content: string, role: "
                        "string>>, ll: list<item: list<item: int32>>>";
    assert_string_equal(features(mine), types);
    gv_err err = GV_ERR_INIT;
    schema s;
    buf b = {0};
    schema_init(&s);
    json_doc *d = json_parse(sv_of(mine), &err);
    assert_true(schema_from_features(&s, json_root(d), &err));
    schema_put_features(&b, &s);
    assert_string_equal(b.p, mine);
    json_free(d);
    buf_fini(&b);
    schema_fini(&s);
    assert_string_equal(features("{\"a\": {\"feature\": {\"x\": " V("bool") "}, \"_type\": \"List\"}}"),
                        "struct<a: list<item: struct<x: bool>>>");
    assert_string_equal(features("{\"a\": {\"feature\": {\"x\": " V("bool") "}, \"_type\": \"Sequence\"}}"),
                        "struct<a: struct<x: list<item: bool>>>");
    assert_string_equal(features("{\"a\": {\"names\": [\"no\", \"yes\"], \"_type\": \"ClassLabel\"}, \"b\": {\"_type\": \"Image\"}}"),
                        "struct<a: int64, b: struct<bytes: binary, path: string>>");
    assert_string_equal(features("{\"a\": {\"languages\": [\"de\", \"en\"], \"_type\": \"Translation\"}}"),
                        "struct<a: struct<de: string, en: string>>");
    assert_string_equal(features("{\"a\": {\"_type\": \"Array2D\"}}"),
                        "error: feature \"a\": a feature of type \"Array2D\" is none that gavel reads");
    assert_string_equal(features("{\"a\": 1}"), "error: feature \"a\": a feature is neither an object nor a list of one");
}

static bool unified(const char *a, const char *b, buf *out, gv_err *err) {
    schema s, t;
    schema_init(&s);
    schema_init(&t);
    schema_field *x = schema_add(&s, SV("x"), err), *y = schema_add(&t, SV("x"), err);
    assert_true(schema_from_arrow(&s, &x->type, sv_of(a), err) && schema_from_arrow(&t, &y->type, sv_of(b), err));
    const bool ok = schema_unify(&s, &x->type, &y->type, SV("x"), err);
    buf_clear(out);
    schema_put_arrow(out, &x->type, "item");
    schema_fini(&s);
    schema_fini(&t);
    return ok;
}

static void types_of_two_files_are_unified(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    assert_true(unified("null", "struct<a: int64>", &b, &err));
    assert_string_equal(b.p, "struct<a: int64>");
    assert_true(unified("struct<a: null, c: int64>", "struct<a: string, b: bool, c: double>", &b, &err));
    assert_string_equal(b.p, "struct<a: string, b: bool, c: double>");
    assert_true(unified("list<item: null>", "list<item: list<item: int8>>", &b, &err));
    assert_string_equal(b.p, "list<item: list<item: int8>>");
    assert_false(unified("list<item: string>", "list<item: int64>", &b, &err));
    assert_string_equal(err.msg, "column \"x[]\": int64 and string do not go together");
    buf_fini(&b);
}

static void a_schema_is_bounded(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    schema s;
    bool ok = true;
    schema_init(&s);
    for (int i = 0; ok && i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        ok = schema_add_plain(&s, sv_of(name), TYPE_INT64, &err);
    }
    assert_false(ok);
    assert_int_equal(err.code, GV_LIMIT);
    assert_string_equal(err.msg, "column \"c10000\": more than 10000 columns and members in a table");
    gv_err_clear(&err);
    assert_null(schema_add(&s, SV("c7"), &err));
    assert_string_equal(err.msg, "two columns have the name \"c7\"");
    schema_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_inferred_as_pyarrow_does),
        cmocka_unit_test(words_for_floats_go_with_numbers),
        cmocka_unit_test(what_does_not_go_together_is_named),
        cmocka_unit_test(texts_of_types_read_back),
        cmocka_unit_test(features_of_the_hub_are_read_and_written),
        cmocka_unit_test(types_of_two_files_are_unified),
        cmocka_unit_test(a_schema_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
