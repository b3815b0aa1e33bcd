/* Option tables: values and their refusals, help, man page (through groff where it is installed), completion (run in bash). */
#include "support/base_check.h"

#include "base/opt.h"
#include <stdio.h>

typedef struct options {
    const char *out, *mode, *model;
    int64_t seed, max_tokens, memory;
    double temperature;
    bool json, fresh;
    opt_list rubric;
} options;

static const opt_def DEFS[] = {
    {"out", 'o', OPT_STRING, offsetof(options, out), "FILE", NULL, 0, 0, "Where the verdicts go: .jsonl, .csv [or a 'folder']", "Output"},
    {"json", 0, OPT_FLAG, offsetof(options, json), NULL, NULL, 0, 0, "Print JSON lines", NULL},
    {"model", 'm', OPT_STRING, offsetof(options, model), "M", NULL, 0, 0, "Model to judge with", "Judging"},
    {"mode", 0, OPT_CHOICE, offsetof(options, mode), NULL, "absolute|relative", 0, 0, "Grade one response or compare two", NULL},
    {"rubric", 'r', OPT_LIST, offsetof(options, rubric), "R", NULL, 0, 0, "Built-in name or file", NULL},
    {"seed", 's', OPT_INT, offsetof(options, seed), "N", NULL, 0, 0, "Seed of the run", NULL},
    {"max-tokens", 0, OPT_INT, offsetof(options, max_tokens), "N", NULL, 1, 4096, "Tokens of a judgment, at most", NULL},
    {"temperature", 't', OPT_DOUBLE, offsetof(options, temperature), "T", NULL, 0, 2,
     "Sampling temperature; 0 takes the likeliest token at every step, whatever the seed", NULL},
    {"memory", 0, OPT_SIZE, offsetof(options, memory), "SIZE", NULL, 0, 0, "Budget of weights and cache", NULL},
    {"fresh", 0, OPT_FLAG, offsetof(options, fresh), NULL, NULL, 0, 0, "Start anew", NULL},
    {NULL, 0, OPT_FLAG, 0, NULL, NULL, 0, 0, NULL, NULL},
};

static void defaults(void *o) {
    ((options *)o)->max_tokens = 1024;
    ((options *)o)->mode = "absolute";
}

static const opt_command JUDGE = {
    "judge",
    "INPUT",
    "Judge every row of a data set: it's one command",
    "Reads rows with the columns instruction and generation, and writes them with feedback and result.\n\n"
    "Columns:\n  instruction   what was \\asked\n  generation    the response\n.dots and 'quotes' at a line's start stay text.",
    "gavel judge rows.jsonl --out verdicts.jsonl\ngavel judge - < rows.jsonl",
    DEFS,
    1,
    1,
    NULL,
    sizeof(options),
    defaults};
static const opt_command PARSE = {"parse", "FILE...", "Parse again", NULL, NULL, NULL, 1, -1, NULL, 0, NULL};
static const opt_command PLAIN = {"plain", "", "Nothing", NULL, NULL, NULL, 0, 0, NULL, 0, NULL};
static const opt_command *const ALL[] = {&JUDGE, &PARSE};

typedef struct parsed {
    options o;
    const char *args[32];
    int n_args;
    bool help, ok;
    gv_err err;
} parsed;

/* words: separated by blanks; an underscore stands for the empty word. */
static parsed parse(const opt_command *cmd, const char *words) {
    static char text[512];
    const char *argv[32];
    int argc = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *save, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) argv[argc++] = strcmp(w, "_") ? w : "";
    parsed p = {.err = GV_ERR_INIT};
    memset(&p.o, 0x5A, sizeof p.o); /* the parser clears it */
    p.ok = opt_parse(cmd, argc, argv, &p.o, p.args, &p.n_args, &p.help, &p.err);
    return p;
}

static void check_refused(const opt_command *cmd, const char *words, const char *msg) {
    parsed p = parse(cmd, words);
    if (p.ok) fail_msg("accepted: %s", words);
    assert_string_equal(p.err.msg, msg);
    assert_int_equal(p.err.code, GV_USAGE);
    if (cmd == &JUDGE) assert_null(p.o.rubric.v); /* freed */
}

static void every_kind_of_value_is_read(void **state) {
    (void)state;
    parsed p = parse(&JUDGE, "--out v.csv in.jsonl --json -r a --rubric=b=c --mode relative -s -7 --max-tokens=4096 --temperature 0.5e0 "
                             "--memory 12G -r c");
    if (!p.ok) fail_msg("%s", p.err.msg);
    assert_string_equal(p.o.out, "v.csv");
    assert_true(p.o.json);
    assert_false(p.o.fresh);
    assert_string_equal(p.o.mode, "relative");
    assert_null(p.o.model);
    assert_int_equal(p.o.seed, -7);
    assert_int_equal(p.o.max_tokens, 4096);
    assert_true(p.o.temperature == 0.5);
    assert_int_equal(p.o.memory, (int64_t)12 << 30);
    assert_int_equal(p.o.rubric.n, 3);
    assert_string_equal(p.o.rubric.v[0], "a");
    assert_string_equal(p.o.rubric.v[1], "b=c");
    assert_string_equal(p.o.rubric.v[2], "c");
    assert_int_equal(p.n_args, 1);
    assert_string_equal(p.args[0], "in.jsonl");
    opt_fini(&JUDGE, &p.o);
    assert_int_equal(p.o.rubric.n, 0);
}

static void defaults_hold_where_nothing_is_given(void **state) {
    (void)state;
    parsed p = parse(&JUDGE, "-");
    assert_true(p.ok);
    assert_string_equal(p.args[0], "-");
    assert_int_equal(p.o.max_tokens, 1024);
    assert_string_equal(p.o.mode, "absolute");
    assert_int_equal(p.o.seed, 0);
    p = parse(&JUDGE, "--out _ -- --json");
    assert_true(p.ok && !p.o.json && p.n_args == 1);
    assert_string_equal(p.args[0], "--json");
    assert_string_equal(p.o.out, "");
    p = parse(&PARSE, "a b c d");
    assert_true(p.ok && p.n_args == 4);
    p = parse(&PLAIN, "");
    assert_true(p.ok && p.n_args == 0);
}

static void help_stops_the_parsing(void **state) {
    (void)state;
    parsed p = parse(&JUDGE, "-r a --help --nonsense");
    assert_true(p.ok && p.help);
    assert_null(p.o.rubric.v);
    assert_true(parse(&JUDGE, "-h").help);
    assert_false(parse(&JUDGE, "x -- -h").help); /* two arguments */
    check_refused(&JUDGE, "--nonsense --help", "unknown option --nonsense; see gavel judge --help");
}

static void an_unknown_option_suggests_the_nearest(void **state) {
    (void)state;
    check_refused(&JUDGE, "x --max-token 5", "unknown option --max-token; did you mean --max-tokens?");
    check_refused(&JUDGE, "x --max_tokens=5", "unknown option --max_tokens; did you mean --max-tokens?");
    check_refused(&JUDGE, "x -r a --jsn", "unknown option --jsn; did you mean --json?");
    check_refused(&JUDGE, "x --hlep", "unknown option --hlep; did you mean --help?");
    check_refused(&JUDGE, "x --quantum", "unknown option --quantum; see gavel judge --help");
    check_refused(&JUDGE, "x -seed 5", "unknown option -seed; did you mean --seed?");
    check_refused(&JUDGE, "x -z", "unknown option -z; see gavel judge --help");
    check_refused(&JUDGE, "x -m5", "unknown option -m5; see gavel judge --help");
    check_refused(&JUDGE, "x --=5", "unknown option --; see gavel judge --help");
    check_refused(&PARSE, "x --seed", "unknown option --seed; see gavel parse --help");
}

static void a_value_of_the_wrong_kind_is_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"--seed abc", "option --seed: \"abc\" is not a whole number"},
        {"--seed 5x", "option --seed: \"5x\" is not a whole number"},
        {"--seed 1.5", "option --seed: \"1.5\" is not a whole number"},
        {"--seed 0x10", "option --seed: \"0x10\" is not a whole number"},
        {"--seed=", "option --seed: \"\" is not a whole number"},
        {"--seed _", "option --seed: \"\" is not a whole number"},
        {"-s 9223372036854775808", "option -s: 9223372036854775808 is too large"},
        {"--max-tokens 0", "option --max-tokens: 0 is not in 1 to 4096"},
        {"--max-tokens=4097", "option --max-tokens: 4097 is not in 1 to 4096"},
        {"--temperature warm", "option --temperature: \"warm\" is not a number"},
        {"--temperature nan", "option --temperature: \"nan\" is not a number"},
        {"--temperature inf", "option --temperature: \"inf\" is not a number"},
        {"--temperature 0x1p0", "option --temperature: \"0x1p0\" is not a number"},
        {"--temperature 1e", "option --temperature: \"1e\" is not a number"},
        {"--temperature _", "option --temperature: \"\" is not a number"},
        {"--temperature 1e999", "option --temperature: 1e999 is too large"},
        {"-t 2.01", "option -t: 2.01 is not in 0 to 2"},
        {"-t -1", "option -t: -1 is not in 0 to 2"},
        {"--memory 12X", "option --memory: \"12X\" is not a size in bytes (such as 4096, 512M or 12G)"},
        {"--memory 12GB", "option --memory: \"12GB\" is not a size in bytes (such as 4096, 512M or 12G)"},
        {"--memory -1", "option --memory: \"-1\" is not a size in bytes (such as 4096, 512M or 12G)"},
        {"--memory G", "option --memory: \"G\" is not a size in bytes (such as 4096, 512M or 12G)"},
        {"--memory 9000000T", "option --memory: 9000000T is too large"},
        {"--memory 99999999999999999999", "option --memory: 99999999999999999999 is too large"},
        {"--mode relatve", "option --mode: \"relatve\" is not one of absolute, relative; did you mean relative?"},
        {"--mode absolute|relative", "option --mode: \"absolute|relative\" is not one of absolute, relative"},
        {"--mode _", "option --mode: \"\" is not one of absolute, relative"},
        {"--json=yes", "option --json takes no value"},
        {"--out", "option --out needs a value: --out FILE"},
        {"-o", "option -o needs a value: -o FILE"},
        {"--out --json", "option --out needs a value: --out FILE"},
        {"--seed 1 --seed 2", "option --seed is given twice"},
        {"-s 1 --seed=2", "option --seed is given twice"},
        {"--json --json", "option --json is given twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[128];
        snprintf(words, sizeof words, "-r kept in.jsonl %s", cases[i][0]);
        check_refused(&JUDGE, words, cases[i][1]);
    }
}

static void sizes_take_binary_units(void **state) {
    (void)state;
    assert_int_equal(parse(&JUDGE, "x --memory 4096").o.memory, 4096);
    assert_int_equal(parse(&JUDGE, "x --memory 3k").o.memory, 3072);
    assert_int_equal(parse(&JUDGE, "x --memory 512M").o.memory, 512 << 20);
    assert_int_equal(parse(&JUDGE, "x --memory 1T").o.memory, (int64_t)1 << 40);
    assert_int_equal(parse(&JUDGE, "x --memory 8388607T").o.memory, (int64_t)8388607 << 40);
}

static void the_number_of_arguments_is_checked(void **state) {
    (void)state;
    check_refused(&JUDGE, "--json", "missing argument: gavel judge takes INPUT");
    check_refused(&JUDGE, "a b", "unexpected argument \"b\": gavel judge takes INPUT");
    check_refused(&PARSE, "", "missing argument: gavel parse takes FILE...");
    check_refused(&PLAIN, "a", "unexpected argument \"a\": gavel plain takes no arguments");
}

static void help_fits_in_80_columns(void **state) {
    (void)state;
    buf b = {0};
    opt_print_help(&JUDGE, &b);
    static const char want[] = "usage: gavel judge INPUT [options]\n\n"
                               "Judge every row of a data set: it's one command\n\n"
                               "Reads rows with the columns instruction and generation, and writes them with\nfeedback and result.\n\n"
                               "Columns:\n  instruction   what was \\asked\n  generation    the response\n"
                               ".dots and 'quotes' at a line's start stay text.\n\n"
                               "Output:\n"
                               "  -o, --out FILE            Where the verdicts go: .jsonl, .csv [or a 'folder']\n"
                               "      --json                Print JSON lines\n\n"
                               "Judging:\n"
                               "  -m, --model M             Model to judge with\n"
                               "      --mode absolute|relative\n"
                               "                            Grade one response or compare two\n"
                               "  -r, --rubric R            Built-in name or file (repeatable)\n"
                               "  -s, --seed N              Seed of the run\n"
                               "      --max-tokens N        Tokens of a judgment, at most\n"
                               "  -t, --temperature T       Sampling temperature; 0 takes the likeliest token at\n"
                               "                            every step, whatever the seed\n"
                               "      --memory SIZE         Budget of weights and cache\n"
                               "      --fresh               Start anew\n\n"
                               "Other:\n"
                               "  -h, --help                Show this help\n\n"
                               "Examples:\n  gavel judge rows.jsonl --out verdicts.jsonl\n  gavel judge - < rows.jsonl\n";
    assert_string_equal(b.p, want);
    buf_clear(&b);
    opt_print_help(&PLAIN, &b);
    assert_string_equal(b.p, "usage: gavel plain [options]\n\nNothing\n\nOptions:\n  -h, --help                Show this help\n");
    buf_fini(&b);
}

/* Writes text to a temporary file and returns what the command (with one %s for its name) prints, both outputs. */
static void run_on(const buf *text, const char *command, buf *out) {
    char name[] = "/tmp/gavel-test-opt-XXXXXX", line[2048];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->p, text->n), text->n);
    close(fd);
    buf_clear(out);
    buf_add_str(out, "");
    const char *at = strstr(command, "%s");
    snprintf(line, sizeof line, "%.*s%s%s", (int)(at - command), command, name, at + 2);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    char chunk[512];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_add(out, chunk, n);
    pclose(f);
    unlink(name);
}

static void the_man_page_is_clean_and_complete(void **state) {
    (void)state;
    buf b = {0}, out = {0};
    opt_print_man(ALL, 2, &b);
    assert_true(sv_starts(buf_view(&b), SV(".TH GAVEL 1 \"\" \"gavel ")));
    assert_true(sv_find(buf_view(&b), SV("\\fB\\-\\-max\\-tokens\\fR \\fIN\\fR\nTokens of a judgment, at most\n"), 0) != SIZE_MAX);
    assert_true(sv_find(buf_view(&b), SV("\n\\&.dots and 'quotes'"), 0) != SIZE_MAX);
    assert_true(sv_find(buf_view(&b), SV("what was \\easked"), 0) != SIZE_MAX);
    if (system("command -v groff >/dev/null 2>&1") == 0) {
        run_on(&b, "groff -man -ww -Tascii -P-c -P-b -P-u %s 2>&1", &out);
        sv page = buf_view(&out);
        assert_true(sv_find(page, SV("warning"), 0) == SIZE_MAX);
        static const char *const parts[] = {"GAVEL JUDGE",        "--out FILE",  "  instruction   what was \\asked",
                                            ".dots and 'quotes'", "EXIT STATUS", "gavel judge - < rows.jsonl",
                                            "-t, --temperature T"};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            if (sv_find(page, sv_of(parts[i]), 0) == SIZE_MAX) fail_msg("\"%s\" is not in the page", parts[i]);
        }
    }
    buf_fini(&b);
    buf_fini(&out);
}

static void bash_completes_from_the_table(void **state) {
    (void)state;
    if (system("command -v bash >/dev/null 2>&1") != 0) skip();
    buf b = {0}, out = {0};
    opt_print_completion(ALL, 2, false, &b);
    static const char *const cases[][2] = {
        {"gavel j", "judge"},
        {"gavel _", "judge parse --help --version"},
        {"gavel judge x --m", "--model --mode --max-tokens --memory"},
        {"gavel judge --mode _", "absolute relative"},
        {"gavel judge --mode r", "relative"},
        {"gavel judge --mode = a", "absolute"},
        {"gavel judge --mode =", "absolute relative"},
        {"gavel judge --seed _", ""},
        {"gavel parse -", "--help"},
        {"gavel judge -o /dev/nul", "/dev/null"},
        {"gavel judge /dev/nul", "/dev/null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "bash -c '. %%s; set -f; w=(%s); [[ ${w[-1]} == _ ]] && w[-1]=; COMP_WORDS=(\"${w[@]}\"); "
                 "COMP_CWORD=$((${#w[@]}-1)); _gavel; printf \"%%%%s\" \"${COMPREPLY[*]}\"' 2>&1",
                 cases[i][0]);
        for (char *p = command; (p = strstr(p, "%%")); p++) memmove(p, p + 1, strlen(p));
        run_on(&b, command, &out);
        if (strcmp(out.p, cases[i][1]) != 0) fail_msg("%s: \"%s\", not \"%s\"", cases[i][0], out.p, cases[i][1]);
    }
    buf_fini(&b);
    buf_fini(&out);
}

static void zsh_accepts_its_completion(void **state) {
    (void)state;
    buf b = {0}, out = {0};
    opt_print_completion(ALL, 2, true, &b);
    assert_true(sv_starts(buf_view(&b), SV("#compdef gavel\n")));
    static const char *const parts[] = {
        "'judge:Judge every row of a data set: it'\\''s one command'",
        "'(-o --out)'{-o,--out=}'[Where the verdicts go\\: .jsonl, .csv \\[or a '\\''folder'\\''\\]]:FILE:_files'",
        "--json'[Print JSON lines]'",
        "--mode='[Grade one response or compare two]:mode:(absolute relative)'",
        "'*'{-r,--rubric=}'[Built-in name or file]:R:_files'",
        "--memory='[Budget of weights and cache]:SIZE:'",
        "'*:FILE...:_files'",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (sv_find(buf_view(&b), sv_of(parts[i]), 0) == SIZE_MAX) fail_msg("not there: %s", parts[i]);
    }
    if (system("command -v zsh >/dev/null 2>&1") == 0) {
        run_on(&b, "zsh -n %s 2>&1", &out);
        assert_string_equal(out.p, "");
    }
    buf_fini(&b);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(defaults_hold_where_nothing_is_given),
        cmocka_unit_test(help_stops_the_parsing),
        cmocka_unit_test(an_unknown_option_suggests_the_nearest),
        cmocka_unit_test(a_value_of_the_wrong_kind_is_named),
        cmocka_unit_test(sizes_take_binary_units),
        cmocka_unit_test(the_number_of_arguments_is_checked),
        cmocka_unit_test(help_fits_in_80_columns),
        cmocka_unit_test(the_man_page_is_clean_and_complete),
        cmocka_unit_test(bash_completes_from_the_table),
        cmocka_unit_test(zsh_accepts_its_completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
