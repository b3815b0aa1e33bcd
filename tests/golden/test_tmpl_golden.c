/* Chat-template goldens: every record of tests/data/templates/goldens.jsonl, rendered by transformers, must come out equal: the text, or
 * the exception's type and message.  The segments of every text must cover it, and user segments must hold only message bytes. */
#include "base/file.h"
#include "base/json.h"
#include "tmpl/tmpl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static tmpl *open_template(sv name) {
    char path[4096];
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    snprintf(path, sizeof path, "%s/templates/" SV_FMT ".jinja", GAVEL_TEST_DATA, SV_ARG(name));
    assert_true(file_read_all(path, 1 << 20, &b, &err));
    tmpl *t = tmpl_compile(buf_view(&b), &err);
    if (!t) fail_msg(SV_FMT ": %s", SV_ARG(name), err.msg);
    buf_fini(&b);
    return t;
}

static sv opt_string(const json_value *r, const char *key) {
    const json_value *v = json_get(r, key);
    return v ? json_string(v) : (sv){0};
}

static void check_segments(const tmpl_output *out, size_t line) {
    size_t pos = 0;
    for (size_t i = 0; i < out->n_seg; i++) {
        if (out->seg[i].offset != pos || out->seg[i].n == 0) fail_msg("line %zu: segment %zu does not follow", line, i);
        if (i && out->seg[i].is_user == out->seg[i - 1].is_user) fail_msg("line %zu: segment %zu does not alternate", line, i);
        pos += out->seg[i].n;
    }
    if (pos != out->text.n) fail_msg("line %zu: segments cover %zu of %zu bytes", line, pos, out->text.n);
}

/* True if the record renders as it should. */
static bool check_record(const json_value *r, size_t line) {
    gv_err err = GV_ERR_INIT;
    tmpl *t = open_template(json_string(json_get(r, "template")));
    tmpl_input in = {.json_messages = json_get(r, "messages"),
                     .add_generation_prompt = json_bool(json_get(r, "add_generation_prompt")),
                     .bos_token = opt_string(r, "bos_token"),
                     .eos_token = opt_string(r, "eos_token"),
                     .date_string = opt_string(r, "date_string")};
    tmpl_output out = {0};
    bool ok = tmpl_render(t, &in, &out, &err), same;
    const json_value *error = json_get(r, "error");
    if (error) {
        json_iter it = json_each(error);
        assert_true(json_next(&it));
        same = !ok && sv_is(json_string(it.value), out.error_type);
        assert_true(json_next(&it));
        same = same && sv_eq(json_string(it.value), buf_view(&out.error_text));
        same = same && err.code == GV_FORMAT && strstr(err.msg, out.error_text.p);
    } else {
        same = ok && sv_eq(json_string(json_get(r, "text")), buf_view(&out.text));
    }
    if (ok) check_segments(&out, line);
    if (!same) {
        print_error("line %zu: got %s " SV_FMT "\n", line, ok ? "text" : out.error_type,
                    SV_ARG(ok ? buf_view(&out.text) : buf_view(&out.error_text)));
    }
    tmpl_output_fini(&out);
    tmpl_free(t);
    return same;
}

static void every_golden_record_renders_equal(void **state) {
    (void)state;
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(file_read_all(GAVEL_TEST_DATA "/templates/goldens.jsonl", 1 << 24, &b, &err));
    size_t line = 0, n = 0, good = 0;
    for (size_t pos = 0; pos < b.n;) {
        size_t end = sv_find(buf_view(&b), SV("\n"), pos);
        if (end == SIZE_MAX) end = b.n;
        line++;
        json_doc *d = json_parse(sv_sub(buf_view(&b), pos, end - pos), &err);
        if (!d) fail_msg("line %zu: %s", line, err.msg);
        if (json_get(json_root(d), "template")) {
            n++;
            good += check_record(json_root(d), line);
        }
        json_free(d);
        pos = end + 1;
    }
    buf_fini(&b);
    print_message("%zu of %zu records equal\n", good, n);
    assert_int_equal(n, 384);
    assert_int_equal(good, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_golden_record_renders_equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
