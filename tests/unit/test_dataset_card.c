/* Cards and folders that strangers wrote: what they may not say, and how much of it. */
#include "data/dataset_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "data/arrow_ipc.h"

#include "base/file.h"

static void refuse_card(const char *block, gv_code code, const char *message) {
    buf text = {0};
    card c;
    gv_err err = GV_ERR_INIT;
    split_patterns *splits;
    size_t n;
    buf_printf(&text, "---\n%s\n---\n", block);
    bool ok = card_parse(buf_view(&text), "README.md", &c, &err);
    for (size_t i = 0; ok && i < c.n_configs; i++)
        if (c.configs[i].data_files && !data_files_read(c.configs[i].data_files, "README.md", false, &c.a, &splits, &n, &err)) {
            card_fini(&c);
            ok = false;
        }
    if (ok) fail_msg("accepted: %.200s", block);
    if (!strstr(err.msg, message)) fail_msg("%.200s: %s", block, err.msg);
    assert_int_equal(err.code, code);
    buf_fini(&text);
}

#define FILES(v) "configs:\n- config_name: a\n  data_files: " v

static void cards_that_lead_outside_or_break_their_form_are_refused(void **state) {
    (void)state;
    refuse_card(FILES("../x.csv"), GV_FORMAT, "README.md: data_files: \"../x.csv\" leads out of the data set");
    refuse_card(FILES("a/../../x.csv"), GV_FORMAT, "leads out of the data set");
    refuse_card(FILES("a/.."), GV_FORMAT, "leads out of the data set");
    refuse_card(FILES("/etc/passwd"), GV_FORMAT, "\"/etc/passwd\" must be relative to the data set");
    refuse_card(FILES("'.//etc/passwd'"), GV_FORMAT, "must be relative to the data set");
    refuse_card(FILES("~/x"), GV_FORMAT, "must be relative to the data set");
    refuse_card(FILES("'a\\..\\b'"), GV_FORMAT, "must be relative to the data set");
    refuse_card(FILES("\"a\\0b\""), GV_FORMAT, "is no path");
    refuse_card(FILES("''"), GV_FORMAT, "is no path");
    refuse_card(FILES("hf://datasets/a/b/c.csv"), GV_UNSUPPORTED, "URLs and paths inside of archives are not read");
    refuse_card(FILES("zip://a.csv::b.zip"), GV_UNSUPPORTED, "URLs and paths inside of archives are not read");
    refuse_card(FILES("5"), GV_FORMAT, "data_files must be text, a list of texts, or a list of {split: NAME, path: text or list of texts}");
    refuse_card(FILES("[{split: train}]"), GV_FORMAT, "data_files must be text, a list of texts");
    refuse_card(FILES("[{split: train, path: a, x: 1}]"), GV_FORMAT, "data_files must be text, a list of texts");
    refuse_card(FILES("[{split: train, path: a}, {split: train, path: b}]"), GV_FORMAT, "split \"train\" stands twice");
    refuse_card(FILES("[{split: ../x, path: a}]"), GV_FORMAT, "\"../x\" is no name of a split");
    refuse_card("configs:\n- config_name: a\n  data_dir: ../b", GV_FORMAT, "\"../b\" leads out of the data set");
    refuse_card("configs:\n- config_name: a\n- config_name: a", GV_FORMAT, "configs: \"a\" stands twice");
    refuse_card("configs:\n- config_name: 5", GV_FORMAT, "configs: entry 1 has no config_name that is text");
    refuse_card("configs: 5\n", GV_FORMAT, "configs must be a list");
    refuse_card("- a\n", GV_FORMAT, "the YAML block must be a mapping, found array");
    refuse_card("a: [", GV_FORMAT, "README.md: invalid YAML");
    refuse_card("a: !!python/object/apply:os.system [x]", GV_FORMAT, "README.md: invalid YAML");
    refuse_card("configs:\n- config_name: a\n  sep: ab", GV_UNSUPPORTED, "sep must be one character");
}

static void sizes_of_cards_are_capped(void **state) {
    (void)state;
    buf b = {0};
    buf_add_str(&b, FILES("["));
    for (int i = 0; i < PATTERNS_MAX + 1; i++) buf_add_str(&b, "a,");
    buf_add_str(&b, "]");
    refuse_card(b.p, GV_LIMIT, "data_files: more than the cap of 10000 paths");
    buf_clear(&b);
    buf_add_str(&b, "configs:\n");
    for (int i = 0; i < CARD_MAX_CONFIGS + 1; i++) buf_printf(&b, "- config_name: c%d\n", i);
    refuse_card(b.p, GV_LIMIT, "configs: 10001 entries, more than the cap of 10000");
    buf_clear(&b);
    buf_add_str(&b, "x:\n"); /* a million entries of anything */
    for (int i = 0; i < 1000000; i++) buf_add_str(&b, "- a\n");
    refuse_card(b.p, GV_LIMIT, "values");
    buf_clear(&b);
    buf_add_str(&b, FILES("'"));
    for (int i = 0; i < PATTERN_MAX_BYTES + 1; i++) buf_add_char(&b, 'a');
    buf_add_char(&b, '\'');
    refuse_card(b.p, GV_LIMIT, "a path is longer than the cap of 4096 bytes");
    buf_fini(&b);
}

static void the_block_is_what_stands_between_the_first_two_lines(void **state) {
    (void)state;
    static const struct {
        const char *text, *block;
    } t[] = {{"---\na: 1\n---\nb", "a: 1\n"}, {"\n ---\r\na: 1\r\n---\r\n", "a: 1\r\n"},
             {"---\na: 1\n---", "a: 1\n"},    {"---\n---\n", NULL},
             {"# x\n---\na: 1\n---\n", NULL}, {"---\na: --- b\n--- \n---\n", "a: --- b\n--- \n"},
             {"---\na: 1\n", NULL},           {"", NULL},
             {"---x\na\n---\n", NULL}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        sv block;
        const bool found = card_block(sv_of(t[i].text), &block);
        if (found && t[i].block == NULL && block.n == 0) continue;
        if (found != (t[i].block != NULL) || (found && !sv_is(block, t[i].block))) fail_msg("%s", t[i].text);
    }
}

static void patterns_are_matched_in_time_and_within_a_budget(void **state) {
    (void)state;
    buf stars = {0}, path = {0};
    for (int i = 0; i < 1000; i++) buf_add_str(&stars, "*a");
    for (int i = 0; i < 4000; i++) buf_add_char(&path, 'a');
    buf_add_char(&path, 'b');
    gv_err err = GV_ERR_INIT;
    pattern *p = pattern_compile(buf_view(&stars), &err);
    pattern_budget budget = {20000000};
    bool matches;
    assert_true(pattern_match(p, buf_view(&path), &budget, &matches, &err));
    assert_false(matches);
    assert_true(budget.steps < 20000000);
    assert_true(pattern_match(p, buf_view(&path), &budget, &matches, &err));
    assert_false(pattern_match(p, buf_view(&path), &budget, &matches, &err));
    assert_int_equal(err.code, GV_LIMIT);
    assert_true(strstr(err.msg, "more than the cap of 4000000000 steps of matching") != NULL);
    pattern_free(p);
    buf_fini(&stars);
    buf_fini(&path);
}

/* 2,000 files, each the golden one with one to four bytes changed or its end cut off. */
static void changed_arrow_files_end_in_rows_or_an_error(void **state) {
    (void)state;
    static const char *const names[] = {GAVEL_TEST_DATA "/dataset/disk/types/data-00000-of-00001.arrow",
                                        GAVEL_TEST_DATA "/dataset/disk/large.arrow"};
    uint64_t seed = 1;
    size_t errors = 0, rows = 0;
    for (int file = 0; file < 2; file++) {
        buf whole = {0};
        gv_err err = GV_ERR_INIT;
        assert_true(file_read_all(names[file], 1 << 20, &whole, &err));
        for (int i = 0; i < 1000; i++) {
            size_t n = whole.n;
            uint8_t *copy = malloc(n); /* exact size, for AddressSanitizer */
            assert_non_null(copy);
            memcpy(copy, whole.p, n);
            for (int k = 0; k <= i % 4; k++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                static const uint8_t values[] = {0, 0xff, 0x7f, 0x80, 1};
                copy[(seed >> 33) % n] = (uint8_t)(seed >> 20 & 7) < 5 ? values[seed >> 20 & 3] : (uint8_t)(seed >> 24);
            }
            if (i % 10 == 9) n = (seed >> 40) % n;
            gv_err bad = GV_ERR_INIT;
            buf text = {0};
            bool end = false;
            arrow_reader *r = arrow_open_memory(copy, n, "f", &bad);
            while (r && !end && arrow_next(r, &text, &end, &bad)) rows += !end;
            if (!r || !end) {
                errors++;
                assert_true(bad.code != GV_OK && bad.msg[0]);
            }
            arrow_close(r);
            buf_fini(&text);
            free(copy);
        }
        buf_fini(&whole);
    }
    assert_true(errors > 300 && rows > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_block_is_what_stands_between_the_first_two_lines),
        cmocka_unit_test(cards_that_lead_outside_or_break_their_form_are_refused),
        cmocka_unit_test(sizes_of_cards_are_capped),
        cmocka_unit_test(patterns_are_matched_in_time_and_within_a_budget),
        cmocka_unit_test(changed_arrow_files_end_in_rows_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
