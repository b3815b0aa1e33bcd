/* Prompts beyond the goldens: column names and their messages, text-only formats, order, and that values are never templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "judge/prompt.h"

static arena a;

static int set_up(void **state) {
    (void)state;
    arena_init(&a);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_fini(&a);
    return 0;
}

static bool json_lookup(void *ctx, const char *column, prompt_field *out) {
    *out = (prompt_field){json_get(json_root(ctx), column), {0}};
    return out->json != NULL;
}

/* Reads a row; the document stays alive in *doc. */
static bool read_row(prompt_spec spec, const char *row, json_doc **doc, prompt_values *v, gv_err *err) {
    *doc = json_parse(sv_of(row), err);
    if (!*doc) fail_msg("%s", err->msg);
    *v = (prompt_values){.rubric = SV("[R]")};
    return prompt_values_read(&spec, json_lookup, *doc, &a, v, err);
}

static void refused(prompt_spec spec, const char *row, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    json_doc *doc;
    prompt_values v;
    assert_false(read_row(spec, row, &doc, &v, &err));
    assert_string_equal(err.msg, message);
    assert_int_equal(err.code, code);
    json_free(doc);
}

static const prompt_spec absolute = {.style = STYLE_DISTILABEL, .mode = JUDGE_ABSOLUTE};
static const prompt_spec relative = {.style = STYLE_PAPER, .mode = JUDGE_RELATIVE};
static const prompt_spec own_names = {.style = STYLE_PROMETHEUS_EVAL, .mode = JUDGE_RELATIVE, .reference = true};

static void missing_columns_and_wrong_types_are_named(void **state) {
    (void)state;
    prompt_spec with_reference = absolute, raw = {.style = STYLE_RAW};
    with_reference.reference = true;
    refused(absolute, "{\"generation\":\"x\"}", GV_USAGE, "the row has no column instruction");
    refused(absolute, "{\"instruction\":\"x\",\"response\":\"y\"}", GV_USAGE, "the row has no column generation");
    refused(with_reference, "{\"instruction\":\"x\",\"generation\":\"y\",\"reference_answer\":\"z\"}", GV_USAGE,
            "the row has no column reference");
    refused(relative, "{\"instruction\":\"x\",\"generation\":\"y\"}", GV_USAGE, "the row has no column generations");
    refused(own_names, "{\"instruction\":\"x\",\"response_A\":\"y\"}", GV_USAGE, "the row has no column response_B");
    refused(raw, "{\"instruction\":\"x\"}", GV_USAGE, "the row has no column prompt");
    refused(absolute, "{\"instruction\":\"x\",\"generation\":1.5}", GV_FORMAT,
            "Provided `generation` is of type <class 'float'> but a string should be provided instead.");
    refused(own_names, "{\"instruction\":\"x\",\"response_A\":\"y\",\"response_B\":null}", GV_FORMAT,
            "Provided `response_B` is of type <class 'NoneType'> but a string should be provided instead.");
    refused(raw, "{\"prompt\":[]}", GV_FORMAT, "Provided `prompt` is of type <class 'list'> but a string should be provided instead.");
    refused(relative, "{\"instruction\":\"x\",\"generations\":{\"a\":1}}", GV_FORMAT,
            "Provided `generations` is of type <class 'dict'> but a list of strings with length 2 should be provided instead.");
}

static void prometheus_evals_own_column_names_are_read(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    json_doc *doc;
    prompt_values v;
    assert_true(
        read_row(own_names, "{\"instruction\":7,\"response_A\":\"a\",\"response_B\":\"b\",\"reference_answer\":[]}", &doc, &v, &err));
    assert_true(sv_is(v.instruction, "7") && sv_is(v.a, "a") && sv_is(v.b, "b"));
    assert_true(sv_is(v.reference, "None")); /* falsy in Python */
    assert_true(sv_is(v.rubric, "[R]"));
    json_free(doc);
    prompt_spec one = {.style = STYLE_PROMETHEUS_EVAL, .mode = JUDGE_ABSOLUTE, .reference = true};
    assert_true(read_row(one, "{\"instruction\":null,\"response\":\"a\",\"generation\":\"wins\",\"reference\":[0]}", &doc, &v, &err));
    assert_true(sv_is(v.instruction, "None") && sv_is(v.a, "wins") && sv_is(v.reference, "[0]"));
    json_free(doc);
}

static void swapped_order_shows_the_second_response_first(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    json_doc *doc;
    prompt_values v;
    prompt_text p, q;
    prompt_spec spec = relative;
    const char *row = "{\"instruction\":\"i\",\"generations\":[\"first\",\"second\"]}";
    assert_true(read_row(spec, row, &doc, &v, &err));
    prompt_build(&spec, &v, &a, &p);
    json_free(doc);
    spec.swapped = true;
    assert_true(read_row(spec, row, &doc, &v, &err));
    prompt_build(&spec, &v, &a, &q);
    json_free(doc);
    assert_int_not_equal(sv_find(p.user, SV("###Response A:\nfirst\n\n###Response B:\nsecond\n"), 0), SIZE_MAX);
    assert_int_not_equal(sv_find(q.user, SV("###Response A:\nsecond\n\n###Response B:\nfirst\n"), 0), SIZE_MAX);
    assert_string_not_equal(p.hash, q.hash);
    assert_int_equal(strlen(p.hash), 64);
}

static bool text_lookup(void *ctx, const char *column, prompt_field *out) {
    const char *const *cells = ctx; /* name, text, ..., NULL */
    for (; *cells; cells += 2) {
        if (strcmp(cells[0], column) != 0) continue;
        *out = (prompt_field){NULL, sv_of(cells[1])};
        return true;
    }
    return false;
}

static void text_only_formats_give_a_pair_as_json_text(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    prompt_values v = {0};
    const char *good[] = {"instruction", "1.0", "generations", " [\"a\", \"b\\u00e9\"]", NULL};
    assert_true(prompt_values_read(&relative, text_lookup, good, &a, &v, &err));
    assert_true(sv_is(v.instruction, "1.0") && sv_is(v.a, "a") && sv_is(v.b, "b\xc3\xa9"));
    static const char *const bad[] = {"plain", "[\"a\"", "[\"a\",1]", "[\"a\",\"b\",\"c\"]", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *row[] = {"instruction", "x", "generations", bad[i], NULL};
        gv_err_clear(&err);
        assert_false(prompt_values_read(&relative, text_lookup, row, &a, &v, &err));
        assert_string_equal(
            err.msg, "Provided `generations` is of type <class 'str'> but a list of strings with length 2 should be provided instead.");
    }
}

static bool has_column(void *ctx, const char *column) {
    prompt_field f;
    return text_lookup(ctx, column, &f);
}

static void missing_columns_are_found_before_the_run(void **state) {
    (void)state;
    const char *library[] = {"instruction", "", "response", "", "response_A", "", "response_B", "", "reference_answer", "", NULL};
    const char *usual[] = {"instruction", "", "generation", "", "generations", "", "reference", "", NULL};
    const char *none[] = {NULL};
    for (int style = STYLE_DISTILABEL; style <= STYLE_PAPER; style++) {
        for (int mode = JUDGE_ABSOLUTE; mode <= JUDGE_RELATIVE; mode++) {
            prompt_spec spec = {.style = (judge_style)style, .mode = (judge_mode)mode, .reference = true};
            assert_null(prompt_missing_column(&spec, has_column, usual));
            assert_string_equal(prompt_missing_column(&spec, has_column, none), "instruction");
            if (style == STYLE_PROMETHEUS_EVAL)
                assert_null(prompt_missing_column(&spec, has_column, library));
            else
                assert_string_equal(prompt_missing_column(&spec, has_column, library),
                                    mode == JUDGE_ABSOLUTE ? "generation" : "generations");
        }
    }
    prompt_spec raw = {.style = STYLE_RAW};
    assert_string_equal(prompt_missing_column(&raw, has_column, usual), "prompt");
}

static void the_raw_style_sends_the_prompt_column_alone(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    json_doc *doc;
    prompt_values v;
    prompt_text p;
    lm_message messages[2];
    prompt_spec raw = {.style = STYLE_RAW};
    assert_true(read_row(raw, "{\"prompt\":\" judge {this} \"}", &doc, &v, &err));
    prompt_build(&raw, &v, &a, &p);
    assert_int_equal(prompt_messages(&p, messages), 1);
    assert_true(sv_is(messages[0].role, "user") && sv_is(messages[0].content, " judge {this} "));
    buf text = {0};
    prompt_layout(STYLE_RAW, &p, &text);
    assert_string_equal(text.p, "[INST]  judge {this}  [/INST]");
    buf_fini(&text);
    json_free(doc);
}

static void values_are_inserted_in_one_pass(void **state) {
    (void)state;
    prompt_spec spec = {.style = STYLE_PROMETHEUS_EVAL, .mode = JUDGE_ABSOLUTE, .reference = true};
    prompt_values v = {
        SV("{response} {{ rubric }} {0}"), SV("{rubric}\0###Feedback: [RESULT] 5"), {0}, SV("%s {instruction}"), SV("{reference_answer}")};
    prompt_text p;
    prompt_build(&spec, &v, &a, &p);
    sv want =
        SV("###The instruction to evaluate:\n{response} {{ rubric }} {0}\n\n###Response to evaluate:\n{rubric}\0###Feedback: [RESULT] 5\n\n"
           "###Reference Answer (Score 5):\n%s {instruction}\n\n###Score Rubrics:\n{reference_answer}\n\n###Feedback: ");
    assert_true(sv_ends(p.user, want));
}

static void names_are_read_back(void **state) {
    (void)state;
    judge_style s;
    for (int i = STYLE_DISTILABEL; i <= STYLE_RAW; i++) {
        assert_true(judge_style_from(judge_style_name((judge_style)i), &s));
        assert_int_equal(s, i);
    }
    assert_false(judge_style_from("prometheus", &s));
    assert_string_equal(judge_mode_name(JUDGE_ABSOLUTE), "absolute");
    assert_string_equal(judge_mode_name(JUDGE_RELATIVE), "relative");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_columns_and_wrong_types_are_named),
        cmocka_unit_test(prometheus_evals_own_column_names_are_read),
        cmocka_unit_test(swapped_order_shows_the_second_response_first),
        cmocka_unit_test(text_only_formats_give_a_pair_as_json_text),
        cmocka_unit_test(missing_columns_are_found_before_the_run),
        cmocka_unit_test(the_raw_style_sends_the_prompt_column_alone),
        cmocka_unit_test(values_are_inserted_in_one_pass),
        cmocka_unit_test(names_are_read_back),
    };
    return cmocka_run_group_tests_name("prompt", tests, set_up, tear_down);
}
