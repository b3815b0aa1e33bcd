/* Rubrics: names, files of every form, rows' own, and the message of every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "judge/rubric.h"

#define SHAPED "[c]\nScore 1: a\nScore 2: b\nScore 3: c\nScore 4: d\nScore 5: e"
#define OBJECT                                                                                                                             \
    "{\"criteria\":\"c\",\"score1_description\":\"a\",\"score2_description\":\"b\",\"score3_description\":\"c\",\"score4_description\":"   \
    "\"d\","                                                                                                                               \
    "\"score5_description\":\"e\"}"
#define SHAPE_MESSAGE                                                                                                                      \
    "Provided rubrics should match the format of the default rubrics, which is as follows: `[<scoring criteria>]\nScore 1: "               \
    "<description>\n"                                                                                                                      \
    "Score 2: <description>\nScore 3: <description>\nScore 4: <description>\nScore 5: <description>`; replacing `<scoring criteria>` and " \
    "`<description>` with the actual criteria and description for each or the scores, respectively."

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

static void loads(const char *bytes, const char *path, const char *pick, judge_style style, const char *name, const char *text) {
    gv_err err = GV_ERR_INIT;
    rubric r;
    if (!rubric_parse_file(sv_of(bytes), path, pick, style, &a, &r, &err)) fail_msg("%s", err.msg);
    if (!sv_is(r.text, text)) fail_msg("text is \"%.*s\"", SV_ARG(r.text));
    if (!sv_is(r.name, name)) fail_msg("name is \"%.*s\"", SV_ARG(r.name));
    assert_false(r.builtin);
}

static void refused(const char *bytes, const char *path, const char *pick, judge_style style, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    rubric r;
    assert_false(rubric_parse_file(sv_of(bytes), path, pick, style, &a, &r, &err));
    assert_string_equal(err.msg, message);
    assert_int_equal(err.code, code);
}

static void not_found(const char *spec, judge_style style, const char *message) {
    gv_err err = GV_ERR_INIT;
    rubric r;
    assert_false(rubric_load(spec, style, &a, &r, &err));
    assert_string_equal(err.msg, message);
    assert_int_equal(err.code, GV_USAGE);
}

static void built_in_rubrics_have_their_librarys_bytes_and_names(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rubric d, p, again;
    assert_true(rubric_load("factual_validity", STYLE_DISTILABEL, &a, &d, &err));
    assert_true(rubric_load("factual-validity", STYLE_PROMETHEUS_EVAL, &a, &p, &err));
    assert_true(rubric_load("factual-validity", STYLE_DISTILABEL, &a, &again, &err));
    assert_true(sv_is(d.name, "factual-validity"));
    assert_true(sv_is(p.name, "factual_validity"));
    assert_true(sv_starts(d.text, SV("[Are the model\xe2\x80\x99s responses")));
    assert_true(sv_starts(p.text, SV("[Are the model's responses")));
    assert_true(d.builtin && p.builtin);
    assert_string_equal(d.hash, again.hash);
    assert_string_not_equal(d.hash, p.hash);
    /* sha256sum of the text */
    assert_true(rubric_load("honesty", STYLE_DISTILABEL, &a, &d, &err));
    assert_string_equal(d.hash, "acd5d7237caa8e5226ff16fafa9e1b290fbf3f02876fa4dd9b08d0c95bb68a8a");
    for (const char *const *n = rubric_builtin_names(STYLE_DISTILABEL); *n; n++) {
        assert_true(rubric_load(*n, STYLE_DISTILABEL, &a, &d, &err));
        assert_true(rubric_has_shape(d.text));
    }
}

static void an_unknown_name_lists_the_built_ins_and_the_nearest(void **state) {
    (void)state;
    not_found("helpfullness", STYLE_DISTILABEL,
              "unknown rubric \"helpfullness\"; did you mean helpfulness? Built-in rubrics: helpfulness, harmlessness, honesty, "
              "factual-validity, "
              "reasoning; there is no such file either");
    not_found("zzzzzzzzz", STYLE_PAPER,
              "unknown rubric \"zzzzzzzzz\". Built-in rubrics: helpfulness, harmlessness, honesty, factual_validity, reasoning; there is "
              "no such file "
              "either");
    not_found("", STYLE_RAW,
              "unknown rubric \"\". Built-in rubrics: helpfulness, harmlessness, honesty, factual_validity, reasoning; there is no such "
              "file either");
    gv_err err = GV_ERR_INIT;
    rubric r;
    assert_false(rubric_load("/nonexistent/r.json", STYLE_PAPER, &a, &r, &err));
    assert_int_equal(err.code, GV_IO);
    assert_non_null(strstr(err.msg, "/nonexistent/r.json"));
    assert_non_null(strstr(err.msg, "No such file or directory"));
}

static void a_json_string_is_taken_exactly_and_a_text_loses_one_newline(void **state) {
    (void)state;
    loads("\""
          "[c]\\nx\\n"
          "\"",
          "dir/my.rubric.json", NULL, STYLE_PAPER, "my.rubric", "[c]\nx\n");
    loads("\"\"", "r.json", NULL, STYLE_PROMETHEUS_EVAL, "r", "");
    loads("[c]\nx\n\n", "r.txt", NULL, STYLE_PAPER, "r", "[c]\nx\n");
    loads("[c]\r\nx\r\n", "r", NULL, STYLE_PAPER, "r", "[c]\r\nx");
    loads("[c]", ".hidden", NULL, STYLE_PAPER, ".hidden", "[c]");
    loads(SHAPED "\n", "r.txt", NULL, STYLE_DISTILABEL, "r", SHAPED);
}

static void objects_of_criteria_and_scores_become_six_lines(void **state) {
    (void)state;
    loads(OBJECT, "r.json", NULL, STYLE_DISTILABEL, "r", SHAPED);
    loads("{\"x\":" OBJECT "}", "r.json", NULL, STYLE_DISTILABEL, "x", SHAPED);
    loads("criteria: c\nscore1_description: a\nscore2_description: 'b'\nscore3_description: \"c\"\nscore4_description: |-\n  "
          "d\nscore5_description: e\n",
          "r.yaml", NULL, STYLE_DISTILABEL, "r", SHAPED);
    /* YAML scalars are text whatever they look like */
    loads("x:\n  criteria: yes\n  score1_description: 1\n  score2_description: null\n  score3_description: ~\n  score4_description: 1.50\n"
          "  score5_description:\n",
          "r.yml", "x", STYLE_PAPER, "x", "[yes]\nScore 1: 1\nScore 2: null\nScore 3: ~\nScore 4: 1.50\nScore 5: ");
}

static void one_of_several_rubrics_is_chosen_by_name(void **state) {
    (void)state;
    loads("{\"x\":\"[X]\"}", "r.json", NULL, STYLE_PAPER, "x", "[X]");
    loads("{\"x\":\"[X]\",\"y z\":\"[Y]\"}", "r.json", "y z", STYLE_PAPER, "y z", "[Y]");
    loads("x: '[X]'\ny: |\n  [Y]\n", "r.yaml", "y", STYLE_PAPER, "y", "[Y]\n");
    refused("{\"x\":\"[X]\",\"y\":\"[Y]\"}", "r.json", NULL, STYLE_PAPER, GV_USAGE,
            "r.json: the file holds several rubrics; choose one with FILE#NAME: x, y");
    refused("{\"clarity\":\"[X]\",\"y\":\"[Y]\"}", "r.json", "clarty", STYLE_PAPER, GV_USAGE,
            "r.json: no rubric \"clarty\" in the file; did you mean clarity? It has: clarity, y");
    refused("\"[X]\"", "r.json", "x", STYLE_PAPER, GV_USAGE, "r.json: the file holds one rubric without a name, not one called \"x\"");
    refused("[X]", "r.txt", "x", STYLE_PAPER, GV_USAGE, "r.txt: a text file holds one rubric without a name, not one called \"x\"");
}

static void malformed_files_are_refused_with_their_place(void **state) {
    (void)state;
    refused("{}", "r.json", NULL, STYLE_PAPER, GV_FORMAT, "r.json: the file holds no rubric");
    refused("7", "r.json", NULL, STYLE_PAPER, GV_FORMAT,
            "r.json: a rubric is of type number; text, or an object with criteria and score1_description to score5_description, is needed");
    refused("{\"x\":[1]}", "r.json", NULL, STYLE_PAPER, GV_FORMAT,
            "r.json: rubric \"x\": a rubric is of type array; text, or an object with criteria and score1_description to "
            "score5_description, is needed");
    refused("{\"criteria\":\"c\",\"score1_description\":\"a\"}", "r.json", NULL, STYLE_PAPER, GV_FORMAT,
            "r.json: the rubric has no score2_description");
    refused("{\"criteria\":7}", "r.json", NULL, STYLE_PAPER, GV_FORMAT, "r.json: the rubric's criteria is of type number, not a string");
    refused("{\"criteria\":\"c\",\"score1_descripton\":\"a\"}", "r.json", NULL, STYLE_PAPER, GV_FORMAT,
            "r.json: unknown key \"score1_descripton\" in the rubric; did you mean score1_description?");
    refused("{\"criteria\":\"c\",\"weight\":\"a\"}", "r.json", NULL, STYLE_PAPER, GV_FORMAT,
            "r.json: unknown key \"weight\" in the rubric (it has criteria and score1_description to score5_description)");
    refused("a: b\n c: d\n", "r.yaml", NULL, STYLE_PAPER, GV_FORMAT,
            "r.yaml: invalid YAML at line 2: mapping values are not allowed in this context");
    refused("a: &x b\nc: *x\n", "r.yaml", NULL, STYLE_PAPER, GV_FORMAT, "r.yaml: invalid YAML at line 2: aliases are not allowed here");
    refused("a: b\n---\nc: d\n", "r.yaml", NULL, STYLE_PAPER, GV_FORMAT, "r.yaml: invalid YAML at line 2: more than one document");
    refused("? [a]\n: b\n", "r.yaml", NULL, STYLE_PAPER, GV_FORMAT, "r.yaml: invalid YAML at line 1: a key must be text");
    refused("[[[[[[[[[[[[[[[[[", "r.yaml", NULL, STYLE_PAPER, GV_LIMIT, "r.yaml: YAML line 1: more than 16 levels");
    refused("", "r.yaml", NULL, STYLE_PAPER, GV_FORMAT, "r.yaml: the file is empty");
    refused("[c]\xff", "r.txt", NULL, STYLE_PAPER, GV_FORMAT, "r.txt: the rubric is not UTF-8 at byte 3");
    gv_err err = GV_ERR_INIT;
    rubric r;
    assert_false(rubric_parse_file(SV("a: b\na: c\n"), "r.yaml", NULL, STYLE_PAPER, &a, &r, &err));
    assert_non_null(strstr(err.msg, "duplicate key"));
}

static void the_shape_is_checked_in_style_distilabel_only(void **state) {
    (void)state;
    loads("be kind", "r.txt", NULL, STYLE_PROMETHEUS_EVAL, "r", "be kind");
    refused("be kind", "r.txt", NULL, STYLE_DISTILABEL, GV_FORMAT, "r.txt: " SHAPE_MESSAGE);
    /* all rubrics of a file are checked, not only the chosen one: as distilabel does */
    refused("{\"x\":\"[c]\\nScore 1: a\\nScore 2: b\\nScore 3: c\\nScore 4: d\\nScore 5: e\",\"y\":\"bad\"}", "r.json", "x",
            STYLE_DISTILABEL, GV_FORMAT, "r.json: rubric \"y\": " SHAPE_MESSAGE);
}

static void the_shape_takes_scores_1_to_4_in_any_order_and_5_last(void **state) {
    (void)state;
    assert_true(rubric_has_shape(SV("[]\nScore 4: \nScore 4: \nScore 1: x\nScore 2: \nScore 5: ")));
    assert_false(rubric_has_shape(SV("[]\nScore 1: \nScore 5: \nScore 3: \nScore 4: \nScore 5: ")));
    assert_false(rubric_has_shape(SV("[]\nScore 1: \nScore 2: \nScore 3: \nScore 4: \nScore 4: ")));
    assert_false(rubric_has_shape(SV("[\nScore 1: \nScore 2: \nScore 3: \nScore 4: \nScore 5: ")));
    assert_false(rubric_has_shape(SV("]\nScore 1: \nScore 2: \nScore 3: \nScore 4: \nScore 5: ")));
    assert_false(rubric_has_shape(SV("[]\nScore 1: \nScore 2: \nScore 3: \nScore 4: \nScore 5:")));
    assert_false(rubric_has_shape((sv){0}));
}

static void caps_are_named(void **state) {
    (void)state;
    buf big = {0};
    for (int i = 0; i < 65537; i++) buf_add_char(&big, 'x');
    refused(big.p, "r.txt", NULL, STYLE_PAPER, GV_LIMIT, "r.txt: the rubric has 65537 bytes, over the limit of 65536");
    buf_clear(&big);
    buf_add_str(&big, "{\"k\":\"t\"");
    for (int i = 0; i < 1000; i++) buf_printf(&big, ",\"k%d\":\"t\"", i);
    buf_add_str(&big, "}");
    refused(big.p, "r.json", "k", STYLE_PAPER, GV_LIMIT, "r.json: the file holds 1001 rubrics, over the limit of 1000");
    buf_fini(&big);
}

static void files_are_found_by_path_and_by_path_and_name(void **state) {
    (void)state;
    char path[] = "/tmp/gavel-rubric-XXXXXX.json", spec[64];
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    static const char text[] = "{\"x\":\"[X]\",\"y\":\"[Y]\"}";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    gv_err err = GV_ERR_INIT;
    rubric r;
    snprintf(spec, sizeof spec, "%s#y", path);
    bool ok = rubric_load(spec, STYLE_PAPER, &a, &r, &err);
    unlink(path);
    if (!ok) fail_msg("%s", err.msg);
    assert_true(sv_is(r.text, "[Y]"));
}

static void a_rows_rubric_is_text_or_an_object(void **state) {
    (void)state;
    static const struct {
        const char *json, *text, *message;
    } cases[] = {
        {"\"be kind\"", "be kind", NULL},
        {OBJECT, SHAPED, NULL},
        {"null", NULL,
         "the rubric is of type null; text, or an object with criteria and score1_description to score5_description, is needed"},
        {"[\"c\"]", NULL,
         "the rubric is of type array; text, or an object with criteria and score1_description to score5_description, is needed"},
        {"{\"criteria\":null}", NULL, "the rubric's criteria is of type null, not a string"},
        {"{}", NULL, "the rubric has no criteria"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gv_err err = GV_ERR_INIT;
        rubric r;
        json_doc *doc = json_parse(sv_of(cases[i].json), &err);
        assert_non_null(doc);
        bool ok = rubric_from_value(json_root(doc), (sv){0}, STYLE_PROMETHEUS_EVAL, &a, &r, &err);
        assert_int_equal(ok, cases[i].text != NULL);
        if (ok)
            assert_true(sv_is(r.text, cases[i].text));
        else
            assert_string_equal(err.msg, cases[i].message);
        if (!ok) assert_int_equal(err.code, GV_FORMAT);
        json_free(doc);
    }
    gv_err err = GV_ERR_INIT;
    rubric r;
    assert_true(rubric_from_value(NULL, SV("of a CSV"), STYLE_PAPER, &a, &r, &err));
    assert_true(sv_is(r.text, "of a CSV"));
    assert_false(rubric_from_value(NULL, SV("of a CSV"), STYLE_DISTILABEL, &a, &r, &err));
    assert_string_equal(err.msg, SHAPE_MESSAGE);
}

static void the_first_line_goes_into_relative_prompts_where_the_library_does_so(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    rubric builtin, own;
    assert_true(rubric_load("honesty", STYLE_PROMETHEUS_EVAL, &a, &builtin, &err));
    assert_true(rubric_from_value(NULL, SV(" [c]\nmore \n"), STYLE_PAPER, &a, &own, &err));
    const char *first = "[Does the model provide responses that are truthful and not misleading?]";
    assert_true(sv_is(rubric_insert(&builtin, STYLE_PROMETHEUS_EVAL, JUDGE_RELATIVE), first));
    assert_true(sv_eq(rubric_insert(&builtin, STYLE_PROMETHEUS_EVAL, JUDGE_ABSOLUTE), builtin.text));
    assert_true(sv_eq(rubric_insert(&builtin, STYLE_DISTILABEL, JUDGE_RELATIVE), builtin.text));
    assert_true(sv_is(rubric_insert(&own, STYLE_PROMETHEUS_EVAL, JUDGE_RELATIVE), " [c]\nmore \n"));
    assert_true(sv_is(rubric_insert(&own, STYLE_PAPER, JUDGE_RELATIVE), "[c]"));
    assert_true(sv_is(rubric_insert(&own, STYLE_PAPER, JUDGE_ABSOLUTE), "[c]\nmore"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_rubrics_have_their_librarys_bytes_and_names),
        cmocka_unit_test(an_unknown_name_lists_the_built_ins_and_the_nearest),
        cmocka_unit_test(a_json_string_is_taken_exactly_and_a_text_loses_one_newline),
        cmocka_unit_test(objects_of_criteria_and_scores_become_six_lines),
        cmocka_unit_test(one_of_several_rubrics_is_chosen_by_name),
        cmocka_unit_test(malformed_files_are_refused_with_their_place),
        cmocka_unit_test(the_shape_is_checked_in_style_distilabel_only),
        cmocka_unit_test(the_shape_takes_scores_1_to_4_in_any_order_and_5_last),
        cmocka_unit_test(caps_are_named),
        cmocka_unit_test(files_are_found_by_path_and_by_path_and_name),
        cmocka_unit_test(a_rows_rubric_is_text_or_an_object),
        cmocka_unit_test(the_first_line_goes_into_relative_prompts_where_the_library_does_so),
    };
    return cmocka_run_group_tests_name("rubric", tests, set_up, tear_down);
}
