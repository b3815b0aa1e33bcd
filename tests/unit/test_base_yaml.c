/* YAML against PyYAML's own readings (tests/data/yaml), and hostile documents: caps, duplicate keys, aliases, tags. */
#include "support/base_check.h"

#include "base/file.h"
#include "base/yaml.h"

#include <time.h>

static double cpu_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Both as values: numbers by value unless they are integers, objects by their order too. */
static bool same(const json_value *a, const json_value *b) {
    if (json_kind_of(a) != json_kind_of(b)) return false;
    double x = 0, y = 0;
    int64_t i = 0, k = 0;
    switch (json_kind_of(a)) {
    case JSON_NUMBER:
        if (json_int64(a, &i) != json_int64(b, &k) || i != k) return false;
        if (sv_find(json_number_text(a), SV("."), 0) == SIZE_MAX) return sv_eq(json_number_text(a), json_number_text(b));
        return json_double(a, &x) && json_double(b, &y) && x == y;
    case JSON_STRING: return sv_eq(json_string(a), json_string(b));
    case JSON_BOOL: return json_bool(a) == json_bool(b);
    case JSON_NULL: return true;
    default: break;
    }
    json_iter p = json_each(a), q = json_each(b);
    bool more;
    while ((more = json_next(&p)) == json_next(&q) && more)
        if (!sv_eq(p.key, q.key) || !same(p.value, q.value)) return false;
    return !more && json_size(a) == json_size(b);
}

static void check_case(sv text, const json_value *want, bool scalar) {
    gv_err err = GV_ERR_INIT;
    json_doc *got = yaml_parse(text, NULL, &err);
    if (!want) {
        if (got) fail_msg("PyYAML refuses " SV_FMT, SV_ARG(text));
        assert_true(err.code == GV_FORMAT);
        return;
    }
    if (!got) fail_msg(SV_FMT ": %s", SV_ARG(text), err.msg);
    json_doc *json = json_parse(json_string(want), &err);
    assert_non_null(json);
    const json_value *root = json_root(got);
    if (scalar) {
        json_iter it = json_each(root);
        assert_true(json_next(&it));
        root = it.value;
    }
    buf shown = {0};
    json_put_value(&shown, root);
    if (!same(root, json_root(json))) fail_msg(SV_FMT ": got %s, want " SV_FMT, SV_ARG(text), shown.p, SV_ARG(json_string(want)));
    buf_fini(&shown);
    json_free(json);
    json_free(got);
}

static size_t check_file(const char *path, bool scalar) {
    gv_err err = GV_ERR_INIT;
    buf bytes = {0}, text = {0};
    size_t n = 0;
    assert_true(file_read_all(path, 1 << 20, &bytes, &err));
    for (size_t at = 0; at < bytes.n; n++) {
        const size_t end = sv_find(buf_view(&bytes), SV("\n"), at);
        json_doc *line = json_parse(sv_sub(buf_view(&bytes), at, end - at), &err);
        assert_non_null(line);
        buf_clear(&text);
        if (scalar) buf_add_str(&text, "- ");
        buf_add_sv(&text, json_string(json_get(json_root(line), "text")));
        check_case(buf_view(&text), json_get(json_root(line), "json"), scalar);
        json_free(line);
        at = end + 1;
    }
    buf_fini(&bytes);
    buf_fini(&text);
    return n;
}

static void scalars_and_documents_are_read_as_pyyaml_reads_them(void **state) {
    (void)state;
    assert_true(check_file(GAVEL_TEST_DATA "/yaml/scalars.jsonl", true) >= 120);
    assert_true(check_file(GAVEL_TEST_DATA "/yaml/documents.jsonl", false) >= 30);
}

static void refused(const char *text, const yaml_options *o, gv_code code, int64_t line, const char *msg) {
    CHECK_FAILS(yaml_parse(sv_of(text), o, &err), code, line, msg);
}

static void faults_name_their_line(void **state) {
    (void)state;
    refused("a: 1\nb: 2\na: 3\n", NULL, GV_FORMAT, 3, "invalid YAML at line 3: duplicate key \"a\"");
    refused("x:\n  - {k: 1,\n     \"k\": 2}\n", NULL, GV_FORMAT, 3, "invalid YAML at line 3: duplicate key \"k\"");
    refused("p: &p {q: 0}\nx:\n  <<: *p\n  k: 1\n  k: 2\n", NULL, GV_FORMAT, 5, "invalid YAML at line 5: duplicate key \"k\"");
    refused("1: a\n\"1\": b\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: duplicate key \"1\"");
    refused("a: 1\nb: !!python/name:os.system x\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: unknown tag \"!!python/name:os.system\"");
    refused("a: !mine {}\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: unknown tag \"!mine\"");
    refused("a: &a [*a]\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: alias \"a\" stands inside of what it names");
    refused("\n- *nobody\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: alias \"nobody\" names nothing before it");
    refused("a: &x 1\nb: &x 2\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: anchor \"x\" stands at line 1 too");
    refused("a\n---\nb\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: more than one document");
    refused("? [1]\n: 2\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: a key must be text");
    refused("a: b\n c: d\n", NULL, GV_FORMAT, 2, "invalid YAML at line 2: mapping values are not allowed in this context");
    refused("a: =\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: a plain = has no meaning here; quote it");
    refused("0x_\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: \"0x_\" is an integer without digits");
    refused("0xfffffffffffffffff\n", NULL, GV_LIMIT, 1, "YAML line 1: the integer 0xfffffffffffffffff is over 2^64 - 1");
    refused("<<: 1\n", NULL, GV_FORMAT, 1, "invalid YAML at line 1: << needs a mapping or a list of mappings, not a number");
    refused("", NULL, GV_FORMAT, -1, "the file is empty");
    refused("a: \xff\n", NULL, GV_FORMAT, -1, "invalid YAML: byte 3 is not UTF-8");
    refused("a: *b\n", &(yaml_options){.no_aliases = true}, GV_FORMAT, 1, "invalid YAML at line 1: aliases are not allowed here");
    refused("abcdef", &(yaml_options){.max_bytes = 5}, GV_LIMIT, -1, "YAML of 6 bytes, over the limit of 5");
    refused("[a, [b]]", &(yaml_options){.max_depth = 1}, GV_LIMIT, 1, "YAML line 1: more than 1 levels");
    refused("[a,\nb, c]", &(yaml_options){.max_values = 3}, GV_LIMIT, 2, "YAML line 2: more than 3 values");
}

static void bombs_end_at_once(void **state) {
    (void)state;
    buf text = {0};
    const double start = cpu_seconds();
    buf_add_str(&text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 12; i++)
        buf_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1, i - 1,
                   i - 1, i - 1, i - 1, i - 1);
    refused(text.p, NULL, GV_LIMIT, 6, "YAML line 6: with its aliases expanded the document has more than 200000 values or 64 MiB");
    buf_clear(&text);
    for (int i = 0; i < 100000; i++) buf_add_char(&text, '[');
    refused(text.p, NULL, GV_LIMIT, 1, "YAML line 1: more than 64 levels");
    buf_clear(&text);
    for (int i = 0; i < 20000; i++) buf_add_str(&text, "[a,");
    refused(text.p, NULL, GV_LIMIT, 1, "YAML line 1: more than 64 levels");
    buf_clear(&text);
    buf_add_str(&text, "a: &x 1\nb: [");
    for (int i = 0; i < 1001; i++) buf_add_str(&text, "*x , ");
    buf_add_str(&text, "]\n");
    refused(text.p, NULL, GV_LIMIT, 2, "YAML line 2: more than 1000 aliases");
    assert_true(cpu_seconds() - start < 2);
    buf_fini(&text);
}

static void what_resolves_must_be_quoted(void **state) {
    (void)state;
    static const struct {
        const char *text;
        yaml_kind kind;
    } cases[] = {{"no", YAML_IS_BOOL}, {"~", YAML_IS_NULL},   {"", YAML_IS_NULL},           {"1:2", YAML_IS_INT},  {".5", YAML_IS_FLOAT},
                 {"=", YAML_IS_VALUE}, {"<<", YAML_IS_MERGE}, {"2001-12-14", YAML_IS_TIME}, {"1e5", YAML_IS_TEXT}, {"y", YAML_IS_TEXT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(yaml_resolve(sv_of(cases[i].text)), cases[i].kind);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_and_documents_are_read_as_pyyaml_reads_them),
        cmocka_unit_test(faults_name_their_line),
        cmocka_unit_test(bombs_end_at_once),
        cmocka_unit_test(what_resolves_must_be_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
