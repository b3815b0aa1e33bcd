/* The YAML writer against PyYAML, byte for byte: tests/data/yaml_out holds distilabel's files and made values, with the text each has there. */
#include "base/file.h"
#include "base/yaml.h"
#include "base/yaml_out.h"

#include <stdlib.h>

#include "support/base_check.h"

static void pyyaml_writes_the_same_bytes(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf all = {0}, out = {0};
    if (!file_read_all(GAVEL_TEST_UNXZ "/cases.jsonl", (size_t)64 << 20, &all, &err)) fail_msg("%s", err.msg);
    size_t n = 0, files = 0;
    for (size_t from = 0; from < all.n; n++) {
        const size_t end = sv_find(buf_view(&all), SV("\n"), from);
        json_doc *d = json_parse(sv_sub(buf_view(&all), from, end - from), &err);
        if (!d) fail_msg("line %zu: %s", n + 1, err.msg);
        const json_value *line = json_root(d);
        const sv name = json_string(json_get(line, "name")), expected = json_string(json_get(line, "yaml"));
        const yaml_out_options o = {.allow_unicode = json_bool(json_get(line, "unicode")), .sort_keys = json_bool(json_get(line, "sort"))};
        buf_clear(&out);
        yaml_put_json(&out, json_get(line, "value"), &o);
        if (!sv_eq(buf_view(&out), expected))
            fail_msg(SV_FMT ": expected\n" SV_FMT "\ngot\n" SV_FMT, SV_ARG(name), SV_ARG(expected), SV_ARG(buf_view(&out)));
        files += sv_ends(name, SV(".yaml"));
        json_free(d);
        from = end + 1;
    }
    print_message("%zu cases, %zu of them files of distilabel\n", n, files);
    assert_true(files >= 59 && n > 3000);
    buf_fini(&all);
    buf_fini(&out);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"a\":\"x\\n---\\nb: 1\\n...\\n\",\"b\":[\"*a\",\"!!python/object:os.system x\",\"&x\",\"- a\"]}",
        "{\"\\n---\\n\":{\"a: b\":\"#\",\"<<\":\"no\",\"=\":\"1:30\"}}",
        "[\"null\",\"0x1f\",\"\\u2028\\u0000\",\"\\ud83d\\ude00\",[[]],{\"a\":{}}]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int unicode = 0; unicode < 2; unicode++) {
            gv_err err = GV_ERR_INIT;
            json_doc *d = json_parse(sv_of(texts[i]), &err);
            buf yaml = {0}, before = {0}, after = {0};
            assert_non_null(d);
            yaml_put_json(&yaml, json_root(d), &(yaml_out_options){.allow_unicode = unicode});
            json_doc *back = yaml_parse(buf_view(&yaml), NULL, &err);
            if (!back) fail_msg("%s in\n%s", err.msg, yaml.p);
            json_put_value(&before, json_root(d));
            json_put_value(&after, json_root(back));
            assert_string_equal(after.p, before.p);
            json_free(d);
            json_free(back);
            buf_fini(&yaml);
            buf_fini(&before);
            buf_fini(&after);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pyyaml_writes_the_same_bytes),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
