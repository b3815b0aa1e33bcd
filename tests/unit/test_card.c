/* The data set card: distilabel's sections byte for byte (tests/data/card), our section, kept metadata, and values that try to break out. */
#include "base/file.h"
#include "base/yaml.h"
#include "pipe/card.h"

#include <stdlib.h>

#include "support/base_check.h"

#define MAX_CONFIGS 4

static void add_columns(schema *s, const json_value *columns) {
    gv_err err = GV_ERR_INIT;
    schema_init(s);
    for (json_iter it = json_each(columns); json_next(&it);) {
        json_iter pair = json_each(it.value);
        assert_true(json_next(&pair));
        schema_field *f = schema_add(s, json_string(pair.value), &err);
        assert_true(json_next(&pair));
        if (!f || !schema_from_arrow(s, &f->type, json_string(pair.value), &err)) fail_msg("%s", err.msg);
    }
}

static uint64_t number(const json_value *v, const char *key) {
    int64_t n = 0;
    assert_true(json_int64(json_get(v, key), &n));
    return (uint64_t)n;
}

/* Everything behind the metadata. */
static sv body_of(sv text) {
    return sv_sub(text, sv_find(text, SV("\n---\n"), 4), SIZE_MAX);
}

static void compare(sv name, sv got, sv expected) {
    if (sv_eq(got, expected)) return;
    size_t at = 0;
    while (at < got.n && at < expected.n && got.p[at] == expected.p[at]) at++;
    fail_msg(SV_FMT ", byte %zu: expected\n" SV_FMT "\ngot\n" SV_FMT, SV_ARG(name), at, SV_ARG(sv_sub(expected, at, 200)),
             SV_ARG(sv_sub(got, at, 200)));
}

/* Without the line of our tag, which distilabel's card has not. */
static void drop_own_tag(buf *text) {
    const size_t at = sv_find(buf_view(text), SV("- gavel\n"), 0);
    assert_true(at != SIZE_MAX);
    memmove(text->p + at, text->p + at + 8, text->n - at - 8);
    text->n -= 8;
}

static void distilabels_cards_come_out_byte_for_byte(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf all = {0}, out = {0};
    const char *const citations[] = {card_cite_prometheus_eval, card_cite_prometheus_eval};
    size_t cards = 0, whole = 0;
    if (!file_read_all(GAVEL_TEST_DATA "/card/cards.jsonl", (size_t)16 << 20, &all, &err)) fail_msg("%s", err.msg);
    for (size_t from = 0; from < all.n; cards++) {
        const size_t end = sv_find(buf_view(&all), SV("\n"), from);
        json_doc *d = json_parse(sv_sub(buf_view(&all), from, end - from), &err);
        assert_non_null(d);
        const json_value *line = json_root(d), *list = json_get(line, "configs");
        const sv expected = json_string(json_get(line, "readme")), name = json_string(json_get(line, "name"));
        card_config configs[MAX_CONFIGS];
        schema schemas[MAX_CONFIGS];
        size_t n = 0;
        for (json_iter it = json_each(list); json_next(&it); n++) {
            assert_true(n < MAX_CONFIGS);
            add_columns(&schemas[n], json_get(it.value, "columns"));
            configs[n] = (card_config){json_string(json_get(it.value, "name")),
                                       &schemas[n],
                                       number(it.value, "rows"),
                                       number(it.value, "arrow_bytes"),
                                       number(it.value, "file_bytes"),
                                       json_string(json_get(it.value, "first_row"))};
        }
        const card c = {.repo_id = json_string(json_get(line, "repo_id")).p,
                        .configs = configs,
                        .n_configs = n,
                        .has_pipeline = true,
                        .citations = citations,
                        .n_citations = number(line, "citations")};
        buf_clear(&out);
        if (!card_put(&out, &c, &err)) fail_msg(SV_FMT ": %s", SV_ARG(name), err.msg);
        if (sv_find(name, SV("/hub/"), 0) != SIZE_MAX) { /* a card of the Hub has the sizes too */
            drop_own_tag(&out);
            compare(name, buf_view(&out), expected);
            whole++;
        } else {
            compare(name, body_of(buf_view(&out)), body_of(expected));
        }
        for (size_t i = 0; i < n; i++) schema_fini(&schemas[i]);
        json_free(d);
        from = end + 1;
    }
    assert_int_equal(cards, 30);
    assert_int_equal(whole, 4);
    buf_fini(&all);
    buf_fini(&out);
}

/* ---- cards made here ---- */

typedef struct made {
    schema s;
    card_config config;
    card c;
    buf out;
} made;

static void start(made *m, const char *columns, const char *first_row) {
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(sv_of(columns), &err);
    *m = (made){0};
    add_columns(&m->s, json_root(d));
    json_free(d);
    m->config = (card_config){.name = SV("default"), .columns = &m->s, .n_rows = 1, .first_row = sv_of(first_row)};
    m->c = (card){.repo_id = "org/name", .configs = &m->config, .n_configs = 1};
}

static void make(made *m) {
    gv_err err = GV_ERR_INIT;
    m->config.columns = &m->s;
    buf_clear(&m->out);
    if (!card_put(&m->out, &m->c, &err)) fail_msg("%s", err.msg);
}

static void finish(made *m) {
    schema_fini(&m->s);
    buf_fini(&m->out);
}

static void assert_has(const made *m, const char *text) {
    if (sv_find(buf_view(&m->out), sv_of(text), 0) == SIZE_MAX) fail_msg("no\n%s\nin\n%s", text, m->out.p);
}
static void assert_has_not(const made *m, const char *text) {
    if (sv_find(buf_view(&m->out), sv_of(text), 0) != SIZE_MAX) fail_msg("\n%s\nis in\n%s", text, m->out.p);
}

static void size_categories_follow_the_rows_of_all_configs(void **state) {
    (void)state;
    static const struct {
        uint64_t rows;
        const char *text;
    } cases[] = {{0, "size_categories: n<1K\n"},
                 {999, "size_categories: n<1K\n"},
                 {1000, "size_categories: 1K<n<10K\n"},
                 {9999, "size_categories: 1K<n<10K\n"},
                 {10000, "size_categories: 10K<n<100K\n"},
                 {1000000, "size_categories: 1M<n<10M\n"},
                 {999999999999, "size_categories: 100B<n<1T\n"},
                 {1000000000000, "size_categories: n>1T\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made m;
        start(&m, "[[\"a\",\"string\"]]", "{\"a\":\"x\"}");
        m.config.n_rows = cases[i].rows;
        make(&m);
        assert_has(&m, cases[i].text);
        finish(&m);
    }
}

static void metadata_of_the_existing_readme_is_kept(void **state) {
    (void)state;
    made m;
    start(&m, "[[\"a\",\"string\"]]", "{\"a\":\"x\"}");
    m.c.old_readme =
        SV("---\ntags:\n- mine\n- distilabel\nlicense: apache-2.0\nsize_categories: n>1T\npretty_name: \"caf\xc3\xa9: x\"\nx: null\n"
           "dataset_info:\n- config_name: old\n  dataset_size: 5\nconfigs:\n- config_name: old\n  data_files: old/*\n"
           "- config_name: default\n  data_files: gone/*\ntrain-eval-index: [1]\nextra:\n  a: [1, 2.50]\n---\n# old body\n");
    make(&m);
    assert_has(&m,
               "---\nlicense: apache-2.0\nsize_categories: n<1K\npretty_name: 'caf\xc3\xa9: x'\ntags:\n- mine\n- distilabel\n- synthetic\n"
               "- rlaif\n- gavel\ndataset_info:\n  features:\n  - name: a\n    dtype: string\n");
    assert_has(&m,
               "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\nextra:\n  a:\n  - 1\n  - 2.5\n"
               "train-eval-index:\n- 1\n---\n");
    assert_has_not(&m, "old");
    m.c.keeps_old_configs = true;
    make(&m);
    assert_has(&m, "dataset_info:\n- config_name: default\n  features:");
    assert_has(&m, "- config_name: old\n  dataset_size: 5\nconfigs:\n");
    assert_has(&m, "- config_name: old\n  data_files: old/*\nextra:");
    assert_has_not(&m, "gone");
    finish(&m);
}

static void a_readme_without_metadata_adds_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {
        "", "# title\n", "---\n", "---\n---\nx", "---\nlicense: mit\n", "----\nlicense: mit\n---\n", "---\n# note\n\n---\n"};
    for (size_t i = 0; i < 6; i++) {
        made m;
        start(&m, "[[\"a\",\"string\"]]", "{\"a\":\"x\"}");
        m.c.old_readme = sv_of(texts[i]);
        make(&m);
        assert_has(&m, "---\nsize_categories: n<1K\ndataset_info:\n");
        assert_has_not(&m, "license");
        finish(&m);
    }
}

static void broken_metadata_and_names_are_refused(void **state) {
    (void)state;
    made m;
    start(&m, "[[\"a\",\"string\"]]", "{\"a\":\"x\"}");
    m.c.old_readme = SV("---\n- a\n---\n");
    CHECK_FAILS(card_put(&m.out, &m.c, &err), GV_FORMAT, -1, "metadata of the existing README.md: array, expected a mapping");
    {
        gv_err err = GV_ERR_INIT;
        m.c.old_readme = SV("---\na: 1\na: 2\n---\n");
        assert_false(card_put(&m.out, &m.c, &err));
        assert_non_null(strstr(err.msg, "metadata of the existing README.md: "));
        assert_non_null(strstr(err.msg, "duplicate key"));
    }
    m.c.old_readme = (sv){0};
    m.c.repo_id = "a`b\n# x";
    CHECK_FAILS(card_put(&m.out, &m.c, &err), GV_USAGE, -1,
                "repository \"a`b\\n# x\": a name consists of letters, digits, . _ - and one /");
    m.c.repo_id = "";
    CHECK_FAILS(card_put(&m.out, &m.c, &err), GV_USAGE, -1, "the repository's name is empty");
    finish(&m);
}

static void verdicts_failures_and_the_line_to_reproduce_them(void **state) {
    (void)state;
    card_judge judges[2] = {{.step = SV("task"),
                             .mode = JUDGE_ABSOLUTE,
                             .rubric = SV("factual-validity"),
                             .model = SV("prometheus-7b-v2.0"),
                             .weights_sha256 = SV("00ff"),
                             .numerics = SV("canonical-1 kv=f16 w=q8_0"),
                             .has_seed = true,
                             .seed = 0},
                            {.step = SV("pairs"), .mode = JUDGE_RELATIVE, .model = SV("remote")}};
    for (int i = 0; i < 20; i++) card_judge_count(&judges[0], JUDGMENT_OK, 5);
    for (int i = 0; i < 10; i++) card_judge_count(&judges[0], JUDGMENT_OK, 1);
    card_judge_count(&judges[0], JUDGMENT_UNPARSABLE, 0);
    card_judge_count(&judges[0], JUDGMENT_TRUNCATED, 0);
    judges[0].message[JUDGMENT_TRUNCATED] = SV("no | end");
    card_judge_count(&judges[1], JUDGMENT_OK, 'A');
    card_judge_count(&judges[1], JUDGMENT_OK, 'B');
    card_judge_count(&judges[1], JUDGMENT_OK, 'B');
    made m;
    start(&m, "[[\"a\",\"string\"]]", "{\"a\":\"x\"}");
    m.c.judges = judges;
    m.c.n_judges = 2;
    make(&m);
#define B10 "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88"
    assert_has(
        &m, "## Judgments\n\n### <code>task</code>\n\n| result | judgments | |\n| --- | ---: | --- |\n| 1 | 10 | " B10 B10
            " |\n| 2 | 0 | |\n| 3 | 0 | |\n| 4 | 0 | |\n| 5 | 20 | " B10 B10 B10 B10
            " |\n| none | 2 | \xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88 |\n\n"
            "| failure | judgments | the first one's reason |\n| --- | ---: | --- |\n| unparsable | 1 |  |\n"
            "| truncated | 1 | <code>no &#124; end</code> |\n\n"
            "Reproduce with: weights sha256 <code>00ff</code>, numerics <code>canonical-1 kv=f16 w=q8&#95;0</code>, seed <code>0</code>, "
            "rubric <code>factual-validity</code>, model <code>prometheus-7b-v2.0</code>, gavel <code>" GAVEL_VERSION "</code>.\n\n");
    assert_has(&m, "### <code>pairs</code>\n\n| result | judgments | |\n| --- | ---: | --- |\n| A | 1 | " B10 B10
                   " |\n| B | 2 | " B10 B10 B10 B10 " |\n| none | 0 | |\n\nReproduce with: model <code>remote</code>");
    finish(&m);
}

static void hostile_names_cannot_leave_their_place(void **state) {
    (void)state;
    const sv evil = SV("x</code>\n\n---\n# <img src=x onerror=alert(1)> | ``` [a](javascript:b) *c* _d_ \x01\xe2\x80\xae");
    const card_judge judge = {.step = evil, .rubric = evil, .model = evil, .weights_sha256 = evil, .numerics = evil};
    made m;
    start(&m, "[[\"a\\n---\\nlicense: evil\",\"string\"],[\"<b>\",\"struct<```: int64, `c`: list<element: string>>\"]]",
          "{\"a\\n---\\nlicense: "
          "evil\":\"```\\n</details><script>alert('1')</script>\\n---\\n\",\"<b>\":{\"```\":1,\"`c`\":[\"\\n```\\n\"]}}");
    m.c.judges = &judge;
    m.c.n_judges = 1;
    make(&m);
    const sv text = buf_view(&m.out);
    assert_has_not(&m, "<img src=x");
    assert_has_not(&m, "<script");
    assert_true(sv_find(body_of(text), SV("<b>"), 0) == SIZE_MAX);
    assert_has_not(&m, "\nlicense: evil");
    assert_has_not(&m, "\x01");
    assert_has(
        &m,
        "### <code>x&#60;/code&#62;&#65533;&#65533;---&#65533;&#35; &#60;img src=x onerror=alert&#40;1&#41;&#62; &#124; &#96;&#96;&#96; ");
    size_t fences = 0, rules = 0; /* lines that begin a block: only ours */
    for (size_t at = 0; (at = sv_find(text, SV("\n```"), at)) != SIZE_MAX; at++) fences++;
    for (size_t at = 0; (at = sv_find(text, SV("\n---"), at)) != SIZE_MAX; at++) rules++;
    assert_int_equal(fences, 6);
    assert_int_equal(rules, 1);
    gv_err err = GV_ERR_INIT;
    json_doc *meta = yaml_parse(sv_sub(text, 4, sv_find(text, SV("\n---\n"), 0) - 3), NULL, &err);
    if (!meta) fail_msg("%s", err.msg);
    assert_int_equal(json_size(json_root(meta)), 4);
    json_iter it = json_each(json_get(json_get(json_root(meta), "dataset_info"), "features"));
    assert_true(json_next(&it));
    assert_true(sv_is(json_string(json_get(it.value, "name")), "a\n---\nlicense: evil"));
    json_free(meta);
    finish(&m);
}

static void long_values_are_cut_and_types_decide(void **state) {
    (void)state;
    buf row = {0};
    made m;
    buf_add_str(&row, "{\"text\":\"");
    for (int i = 0; i < 1000000; i++) buf_add_str(&row, "\xc3\xa9");
    buf_add_str(&row, "\",\"list\":[1,2,3,4,5,6,7,8,9,10],\"nine\":[1,2,3,4,5,6,7,8,9],\"f\":1,\"s\":{\"b\":[]},\"many\":{\"m\":[");
    for (int i = 0; i < 20000; i++) buf_add_str(&row, i ? ",123456" : "123456");
    buf_add_str(&row, "]}}");
    start(&m,
          "[[\"text\",\"string\"],[\"list\",\"list<element: int64>\"],[\"nine\",\"list<element: int64>\"],[\"f\",\"double\"],"
          "[\"s\",\"struct<a: int64, b: list<element: string>>\"],[\"many\",\"struct<m: list<element: int64>>\"]]",
          row.p);
    make(&m);
    assert_has(&m, "\\u00e9... (truncated - showing 10000 of 1000000 characters)\"\n}\n```\n");
    assert_has(&m, "        10,\n        \"... (truncated - showing 10 of 10 elements)\"\n    ],\n");
    assert_has(&m, "        8,\n        9\n    ],\n");
    assert_has(&m, "{\n    \"f\": 1.0,\n");
    assert_has(&m, "    \"s\": {\n        \"a\": null,\n        \"b\": []\n    },\n");
    assert_has(&m, "    \"many\": \"... (not shown: ");
    assert_true(m.out.n < 100000);
    m.config.first_row = (sv){0};
    make(&m);
    assert_has(&m, "<hr>\n\nIt has no rows.\n\nThis subset");
    buf_fini(&row);
    finish(&m);
}

static void features_are_written_as_the_hub_reads_them(void **state) {
    (void)state;
    made m;
    start(&m,
          "[[\"a\",\"list<element: list<element: int64>>\"],[\"b\",\"list<element: struct<x: bool>>\"],[\"c\",\"struct<_type: string, "
          "dtype: double>\"],"
          "[\"null\",\"uint64\"]]",
          "{}");
    make(&m);
    assert_has(&m, "  features:\n  - name: a\n    list:\n      sequence: int64\n  - name: b\n    list:\n    - name: x\n      dtype: bool\n"
                   "  - name: c\n    struct:\n    - name: _type\n      dtype: string\n    - name: dtype\n      dtype: float64\n"
                   "  - name: 'null'\n    dtype: uint64\n  splits:\n");
    finish(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distilabels_cards_come_out_byte_for_byte),   cmocka_unit_test(size_categories_follow_the_rows_of_all_configs),
        cmocka_unit_test(metadata_of_the_existing_readme_is_kept),    cmocka_unit_test(a_readme_without_metadata_adds_nothing),
        cmocka_unit_test(broken_metadata_and_names_are_refused),      cmocka_unit_test(verdicts_failures_and_the_line_to_reproduce_them),
        cmocka_unit_test(hostile_names_cannot_leave_their_place),     cmocka_unit_test(long_values_are_cut_and_types_decide),
        cmocka_unit_test(features_are_written_as_the_hub_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
