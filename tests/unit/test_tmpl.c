/* Chat-template engine: features against Jinja's answers, errors, limits, input forms and the built-in layouts.  Expected texts are what
 * jinja2 3.1.6 in transformers 4.57.6 prints for the same source and messages. */
#include "base/file.h"
#include "base/json.h"
#include "tmpl/tmpl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char messages_json[] = "[{\"role\":\"system\",\"content\":\" Sys \"},{\"role\":\"user\",\"content\":\"Hi\",\"n\":3,"
                                    "\"d\":{\"x\":1,\"y\":[1.0,\"two\",null,true]}}]";

typedef struct result {
    bool ok;
    gv_err err;
    tmpl_output out;
} result;

static result render_in(const char *source, tmpl_input in) {
    result r = {.err = GV_ERR_INIT};
    json_doc *d = NULL;
    if (!in.json_messages && !in.message) {
        d = json_parse(sv_of(messages_json), &r.err);
        in.json_messages = json_root(d);
    }
    tmpl *t = tmpl_compile(sv_of(source), &r.err);
    r.ok = t && tmpl_render(t, &in, &r.out, &r.err);
    tmpl_free(t);
    json_free(d);
    return r;
}

static result render(const char *source) {
    return render_in(source, (tmpl_input){.bos_token = SV("<s>")});
}

typedef struct expected {
    const char *source, *text;
} expected;

static void check_texts(const expected *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        result r = render(e[i].source);
        if (!r.ok) fail_msg("%s: %s", e[i].source, r.err.msg);
        if (!sv_is(buf_view(&r.out.text), e[i].text)) fail_msg("%s: got \"%s\", want \"%s\"", e[i].source, r.out.text.p, e[i].text);
        tmpl_output_fini(&r.out);
    }
}
#define CHECK_TEXTS(table) check_texts(table, sizeof table / sizeof table[0])

static void values_print_as_python_prints_them(void **state) {
    (void)state;
    static const expected e[] = {
        {"{{ messages[1].d }}", "{'x': 1, 'y': [1.0, 'two', None, True]}"},
        {"{{ [none, 1.5, 1e16, 1e-5, 0.1 + 0.2, 100.0] }}", "[None, 1.5, 1e+16, 1e-05, 0.30000000000000004, 100.0]"},
        {"{{ ['a\\'b', \"a\\\"b'\", '\\x00\\n\\u200b\xc3\xa9'] }}", "[\"a'b\", 'a\"b\\'', '\\x00\\n\\u200b\xc3\xa9']"},
        {"{{ (1,) }}{{ () }}{{ {1: 'a', none: 2} }}", "(1,)(){1: 'a', None: 2}"},
        {"{{ undefined_name }}|{{ messages[0].nope }}|{{ true }}", "||True"},
        {"{{ 'a' ~ 1 ~ none ~ [1] ~ 2.0 }}", "a1None[1]2.0"},
        {"{{ namespace(a=1) }}{{ range(3) }}{{ {'a': 1}.items() }}", "<Namespace {'a': 1}>range(0, 3)dict_items([('a', 1)])"},
    };
    CHECK_TEXTS(e);
}

static void arithmetic_and_comparison_follow_python(void **state) {
    (void)state;
    static const expected e[] = {
        {"{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }}", "3 -4 1 2 3.5 -4.0 0.5"},
        {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ (1 + 2) ~ 3 * 4 }}", "64 4 312"},
        {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ [1, 2] < [1, 3] }}", "True False True True"},
        {"{{ 'a' in 'abc' }} {{ 3 not in [1] }} {{ 'x' in {'x': 1} }} {{ 'a' in undef }}", "True True True False"},
        {"{{ none or 'd' }} {{ 0 and 1 }} {{ not '' }} {{ 'x' if false }}|{{ 'a' if 0 else 'b' if 0 else 'c' }}", "d 0 True |c"},
        {"{{ [1] + [2] }} {{ 'ab' * 2 }} {{ undef == undef2 }} {{ undef == none }}", "[1, 2] abab True False"},
    };
    CHECK_TEXTS(e);
}

static void strings_are_code_points(void **state) {
    (void)state;
    static const expected e[] = {
        {"{{ 'h\xc3\xa9llo'[1] }} {{ 'h\xc3\xa9llo'[::-1] }} {{ 'h\xc3\xa9llo'[1:3] }} {{ 'h\xc3\xa9llo'|length }}",
         "\xc3\xa9 oll\xc3\xa9h \xc3\xa9l 5"},
        {"{{ 'abcdef'[4:1:-2] }} {{ 'abc'[-100:100] }} {{ 'abc'[9] is undefined }} {{ 'abc'[-1] }}{{ [1, 2][-2] }}", "ec abc True c1"},
        {"[{{ '\xc2\xa0\xe3\x80\x80 x \xe2\x80\x83'.strip() }}] [{{ 'xxaxy'.rstrip('yx') }}] [{{ 'xax'|trim('x') }}]", "[x] [xxa] [a]"},
        {"{{ ' a  b c '.split(maxsplit=1) }} {{ 'a,b,,c'.split(',', 2) }} {{ 'a,b,c'.rsplit(',', 1) }}",
         "['a', 'b c '] ['a', 'b', ',c'] ['a,b', 'c']"},
        {"{{ 'stra\xc3\x9f\x65'.upper() }} {{ '\xce\x91\xce\xa3'.lower() }} {{ \"it's o'clock\".title() }} {{ \"it's\"|title }}",
         "STRASSE \xce\xb1\xcf\x82 It'S O'Clock It's"},
        {"{{ 'abc'.replace('', '-') }} {{ 'aXbX'.replace('X', '--', 1) }} {{ 'aaa'.count('aa') }}", "-a-b-c- a--bX 1"},
        {"{{ 'h\xc3\xa9llo'.find('l') }} {{ 'h\xc3\xa9llo'.rfind('l') }} {{ 'abcabc'.rpartition('b') }}", "2 3 ('abca', 'b', 'c')"},
        {"{{ 'a\\nb\\r\\nc'.splitlines() }} {{ '%5d|%-3s|' % (3, 'a') }} {{ '{} {k}'.format(1, k=2) }}", "['a', 'b', 'c']     3|a  | 1 2"},
    };
    CHECK_TEXTS(e);
}

static void filters_and_tests_give_what_jinja_gives(void **state) {
    (void)state;
    static const expected e[] = {
        {"{{ messages|map(attribute='role')|join(',') }} {{ messages|selectattr('n', 'defined')|map(attribute='d.y.1')|list }}",
         "system,user ['two']"},
        {"{{ [3, 1, 2]|sort(reverse=true) }} {{ ['b', 'A']|sort }} {{ [1, 2, 2]|unique|list }} {{ [1, 2, 3]|sum }}",
         "[3, 2, 1] ['A', 'b'] [1, 2] 6"},
        {"{{ messages[1].d|tojson }}", "{\"x\": 1, \"y\": [1.0, \"two\", null, true]}"},
        {"{{ {'b': [], 'a': [1]}|tojson(indent=2, sort_keys=true) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}"},
        {"{{ '<\xc3\xa9>\\u2028\\x01\"'|tojson }} {{ '\xf0\x9f\x98\x80'|tojson(ensure_ascii=true) }}",
         "\"<\xc3\xa9>\xe2\x80\xa8\\u0001\\\"\" \"\\ud83d\\ude00\""},
        {"{{ '5.9'|int }} {{ 'x'|int(7) }} {{ 2.5|round }} {{ 42.55|round(1) }} {{ ''|default('D', true) }}", "5 7 2.0 42.5 D"},
        {"{{ true is number }} {{ true is integer }} {{ 'a' is iterable }} {{ {} is mapping }} {{ undef is sequence }}",
         "True False True True True"},
        {"{{ 6 is divisibleby 3 }} {{ 5 is not odd }} {{ 'a' is in 'abc' }} {{ none is none }} {{ 1 is eq 1 }}",
         "True False True True True"},
        {"{{ ('<'|safe) + '>' }}{{ '<'|e }}{{ '<'|safe ~ '>' }}", "<&gt;&lt;<>"},
        {"{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'one two'|wordcount }}|{{ 'abc'|first }}{{ 'abc'|last }}", "a\n  b\n\n  c|2|ac"},
    };
    CHECK_TEXTS(e);
}

static void a_feature_outside_the_subset_fails_by_name_when_reached(void **state) {
    (void)state;
    static const expected e[] = {
        {"{{ [1]|batch(2) }}", "UnsupportedError: Jinja filter 'batch': not supported"},
        {"{{ 'a'.zfill(3) }}", "UnsupportedError: method str.zfill: not supported"},
        {"{{ '%f' % 1.5 }}", "UnsupportedError: conversion %f in a % format: not supported"},
        {"{{ '{:>3}'.format(1) }}", "UnsupportedError: field {:>3} in str.format: not supported"},
        {"{{ [1]|map('string') }}", "UnsupportedError: printing a generator (use the list filter): not supported"},
        {"{{ 1.5 ** 2 }}", "UnsupportedError: ** of floats: not supported"},
        {"{{ joiner() }}", "UnsupportedError: functions cycler, joiner and lipsum: not supported"},
    };
    for (size_t i = 0; i < sizeof e / sizeof e[0]; i++) {
        result r = render(e[i].source);
        assert_false(r.ok);
        assert_string_equal(r.err.msg, e[i].text);
        assert_int_equal(r.err.code, GV_UNSUPPORTED);
        tmpl_output_fini(&r.out);
    }
}

static void statements_scope_and_loop_as_jinja(void **state) {
    (void)state;
    static const expected e[] = {
        {"{% for i in range(3) %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
         "1TrueFalse1 2FalseFalse02 3FalseTrue1 "},
        {"{% for i in range(9) if i is odd %}{{ i }}{{ loop.length }}{% if i == 3 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}"
         "{% endif %}.{% endfor %}",
         "14.3454"},
        {"{% for i in [1] %}{% break %}{% else %}e{% endfor %}{% for i in [] %}{% else %}f{% endfor %}", "ef"},
        {"{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}", "15151"},
        {"{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"},
        {"{% set b | upper %}x{{ 1 }}{% endset %}{{ b }}{% set a, c = 1, 2 %}{{ a }}{{ c }}", "X112"},
        {"{% macro m(a, b=2) %}<{{ a }}{{ b }}>{% endmacro %}{{ m(1) }}{{ m(b=3, a=0) }}{{ m() }}", "<12><03><2>"},
        {"{% macro v() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, k=3) }}", "(1,){'k': 3}"},
        {"{% macro c(x) %}[{{ caller(x) }}]{% endmacro %}{% call(y) c(5) %}in {{ y }}{% endcall %}", "[in 5]"},
        {"{% with q = 5 %}{{ q }}{% endwith %}{{ q }}{% filter upper %}a{% endfilter %}{% generation %}g{% endgeneration %}", "5Ag"},
        {"{% if 0 %}a{% elif none %}b{% else %}c{% endif %}{% raw %}{{ x }}{% endraw %}{# c #}", "c{{ x }}"},
        {"{% if 0 %}{{ x|nope }}{{ x|batch(2) }}{% endif %}ok", "ok"},
    };
    CHECK_TEXTS(e);
}

static void white_space_control_follows_jinja(void **state) {
    (void)state;
    static const expected e[] = {
        {"a\n", "a"},
        {"a\n\n", "a\n"},
        {"a\r\nb\rc", "a\nb\nc"},
        {"  {% if 1 %}\n x\n  {% endif %}\n y", " x\n y"},
        {"  {{ 1 }}\n {{- 2 -}} \n x", "  12x"},
        {"x {% if 1 %}y{% endif %}", "x y"},
        {" {%+ if 1 %}x{% endif +%}\ny", " x\ny"},
        {" {# c #}\nx\n {#- c -#} y", "xy"},
        {"a\xc2\xa0{%- if 1 -%}\xe3\x80\x80x{% endif %}", "ax"},
        {"{{ {'a': {'b': 1}} }}{ { }} {x}", "{'a': {'b': 1}}{ { }} {x}"},
    };
    CHECK_TEXTS(e);
}

typedef struct expected_error {
    const char *source, *type, *text;
} expected_error;

static void render_errors_are_those_of_python(void **state) {
    (void)state;
    static const expected_error e[] = {
        {"{{ undef.x }}", "UndefinedError", "'undef' is undefined"},
        {"{{ messages[0].foo.bar }}", "UndefinedError", "'dict object' has no attribute 'foo'"},
        {"{{ messages[7].x }}", "UndefinedError", "list object has no element 7"},
        {"{{ 'a' + undef }}", "UndefinedError", "'undef' is undefined"},
        {"{{ none.x() }}", "UndefinedError", "'None' has no attribute 'x'"},
        {"{{ 'a' + 1 }}", "TypeError", "can only concatenate str (not \"int\") to str"},
        {"{{ 1 + 'a' }}", "TypeError", "unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ 'a' < 1 }}", "TypeError", "'<' not supported between instances of 'str' and 'int'"},
        {"{{ 1 in 'a' }}", "TypeError", "'in <string>' requires string as left operand, not int"},
        {"{{ {[]: 1} }}", "TypeError", "unhashable type: 'list'"},
        {"{{ 1 // 0 }}", "ZeroDivisionError", "integer division or modulo by zero"},
        {"{% for x in none %}{% endfor %}", "TypeError", "'NoneType' object is not iterable"},
        {"{% for a, b in [(1,)] %}{% endfor %}", "ValueError", "not enough values to unpack (expected 2, got 1)"},
        {"{{ messages.append(1) }}", "SecurityError", "access to attribute 'append' of 'list' object is unsafe."},
        {"{{ ''.__class__() }}", "SecurityError", "access to attribute '__class__' of 'str' object is unsafe."},
        {"{{ raise_exception('stop ' ~ 1) }}", "TemplateError", "stop 1"},
        {"{% set x.y = 1 %}", "TemplateRuntimeError", "cannot assign attribute on non-namespace object"},
        {"{% set x.y %}{% endset %}", "TemplateRuntimeError", "cannot assign attribute on non-namespace object"},
        {"{{ 'abc'[-4].x }}", "UndefinedError", "str object has no element -4"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "TypeError", "macro 'm' takes not more than 1 argument(s)"},
        {"{{ [1]|map('nope')|list }}", "TemplateRuntimeError", "No filter named 'nope'."},
        {"{% if 1 %}{{ 1|nope }}{% endif %}", "TemplateRuntimeError", "No filter named 'nope' found."},
        {"{{ range(100001) }}", "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)."},
        {"{{ strftime_now('%Y') }}", "UndefinedError", "'strftime_now' is undefined"},
    };
    for (size_t i = 0; i < sizeof e / sizeof e[0]; i++) {
        result r = render(e[i].source);
        if (r.ok) fail_msg("%s: rendered \"%s\"", e[i].source, r.out.text.p);
        assert_string_equal(r.out.error_type, e[i].type);
        assert_string_equal(r.out.error_text.p, e[i].text);
        assert_int_equal(r.err.code, strcmp(e[i].type, "OverflowError") ? GV_FORMAT : GV_LIMIT);
        char both[400];
        snprintf(both, sizeof both, "%s: %s", e[i].type, e[i].text);
        assert_string_equal(r.err.msg, both);
        assert_int_equal(r.err.where, 1);
        assert_int_equal(r.out.text.n, 0);
        tmpl_output_fini(&r.out);
    }
}

typedef struct compile_error {
    const char *source;
    gv_code code;
    int line;
    const char *msg;
} compile_error;

static void compile_errors_name_line_and_reason(void **state) {
    (void)state;
    static const compile_error e[] = {
        {"a\n{% if 1 %}", GV_FORMAT, 2,
         "TemplateSyntaxError: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The "
         "innermost block that needs to be closed is 'if'."},
        {"{% foo %}", GV_FORMAT, 1, "TemplateSyntaxError: Encountered unknown tag 'foo'."},
        {"{% if 1 %}{% endfor %}", GV_FORMAT, 1,
         "TemplateSyntaxError: Encountered unknown tag 'endfor'. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. "
         "The innermost block that needs to be closed is 'if'."},
        {"{{ }}", GV_FORMAT, 1, "TemplateSyntaxError: Expected an expression, got 'end of print statement'"},
        {"\n\n{{ 1 2 }}", GV_FORMAT, 3, "TemplateSyntaxError: expected token 'end of print statement', got 'integer'"},
        {"{{ (1] }}", GV_FORMAT, 1, "TemplateSyntaxError: unexpected ']', expected ')'"},
        {"{{ 1", GV_FORMAT, 1, "TemplateSyntaxError: unexpected end of template, expected 'end of print statement'."},
        {"{# x", GV_FORMAT, 1, "TemplateSyntaxError: Missing end of comment tag"},
        {"{{ 1|nope }}", GV_FORMAT, 1, "TemplateAssertionError: No filter named 'nope'."},
        {"{{ 1 is nope }}", GV_FORMAT, 1, "TemplateAssertionError: No test named 'nope'."},
        {"{% set true = 1 %}", GV_FORMAT, 1, "TemplateSyntaxError: can't assign to 'const'"},
        {"{% break %}", GV_FORMAT, 1, "TemplateSyntaxError: 'break' outside loop"},
        {"{% include 'x' %}", GV_UNSUPPORTED, 1, "Jinja tag 'include' is not supported"},
        {"{% for i in x recursive %}{% endfor %}", GV_UNSUPPORTED, 1, "recursive for loops are not supported"},
        {"{{ 99999999999999999999 }}", GV_UNSUPPORTED, 1, "integer literal 99999999999999999999 does not fit 64 bits"},
        {"a\xff", GV_FORMAT, -1, "chat template is not UTF-8 at byte 1"},
    };
    for (size_t i = 0; i < sizeof e / sizeof e[0]; i++) {
        gv_err err = GV_ERR_INIT;
        tmpl *t = tmpl_compile(sv_of(e[i].source), &err);
        if (t) fail_msg("%s: compiled", e[i].source);
        assert_string_equal(err.msg, e[i].msg);
        assert_int_equal(err.code, e[i].code);
        assert_int_equal(err.where, e[i].line);
    }
}

static void check_limit(const char *source, tmpl_limits lim, const char *text) {
    result r = render_in(source, (tmpl_input){.limits = lim});
    if (r.ok) fail_msg("%s: rendered %zu bytes", source, r.out.text.n);
    assert_string_equal(r.out.error_type, "LimitError");
    assert_string_equal(r.out.error_text.p, text);
    assert_int_equal(r.err.code, GV_LIMIT);
    tmpl_output_fini(&r.out);
}

static void every_limit_names_itself(void **state) {
    (void)state;
    const tmpl_limits none = {0};
    static const char loops[] = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    check_limit(loops, none, "more than 10000000 steps (max_steps)");
    check_limit(loops, (tmpl_limits){.max_output_bytes = 5000}, "text over 5000 bytes (max_output_bytes)");
    check_limit("{% set ns = namespace(s='x' * 100) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", none,
                "text over 67108864 bytes (max_output_bytes)");
    check_limit("{{ 'x' * 10 ** 12 }}", none, "text over 67108864 bytes (max_output_bytes)");
    check_limit("{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
                (tmpl_limits){.max_memory_bytes = 1 << 20}, "more than 1048576 bytes of values (max_memory_bytes)");
    check_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", none, "evaluation nested over 1000 levels");
    check_limit("{% set ns = namespace(l=[]) %}{% for i in range(300) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", none,
                "values nested over 200 levels");
    check_limit("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", none, "values nested over 200 levels");
    check_limit("{{ 9223372036854775807 + 1 }}", none, "integer over 64 bits");
    /* exponential sharing: 2^60 elements when printed */
    check_limit("{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
                (tmpl_limits){.max_steps = 100000}, "more than 100000 steps (max_steps)");
}

static void deep_sources_are_refused_not_followed(void **state) {
    (void)state;
    static const struct {
        const char *open, *mid, *close;
        const char *msg;
    } e[] = {{"(", "1", ")", "template nesting over 200 levels"},
             {"-", "1", "", "template nesting over 200 levels"},
             {"not ", "1", "", "template nesting over 200 levels"},
             {"1 + ", "1", "", "expression or block higher than 250 levels"},
             {"", "x", ".y", "expression or block higher than 250 levels"}};
    for (size_t i = 0; i < sizeof e / sizeof e[0]; i++) {
        buf b = {0};
        gv_err err = GV_ERR_INIT;
        buf_add_str(&b, "{{ ");
        for (int k = 0; k < 5000; k++) buf_add_str(&b, e[i].open);
        buf_add_str(&b, e[i].mid);
        for (int k = 0; k < 5000; k++) buf_add_str(&b, e[i].close);
        buf_add_str(&b, " }}");
        tmpl *t = tmpl_compile(buf_view(&b), &err);
        assert_null(t);
        assert_int_equal(err.code, GV_LIMIT);
        if (i == 0) {
            assert_string_equal(err.msg, "more than 256 open brackets"); /* the lexer's own cap comes first */
        } else {
            assert_string_equal(err.msg, e[i].msg);
        }
        buf_fini(&b);
    }
    buf big = {0};
    gv_err err = GV_ERR_INIT;
    buf_reserve(&big, (1 << 20) + 1);
    for (int i = 0; i <= 1 << 20; i++) buf_add_char(&big, 'x');
    assert_null(tmpl_compile(buf_view(&big), &err));
    assert_int_equal(err.code, GV_LIMIT);
    assert_string_equal(err.msg, "chat template of 1048577 bytes, at most 1048576 are allowed");
    buf_fini(&big);
}

static void message_array_and_json_render_alike(void **state) {
    (void)state;
    static const char source[] =
        "{% for m in messages %}{{ m.role }}:{{ m['content'] }};{{ m|length }}{% endfor %}{{ add_generation_prompt }}";
    const tmpl_message m[] = {{"system", SV("a \"q\" {{ x }}")}, {"user", SV("")}};
    result a = render_in(source, (tmpl_input){.message = m, .n_message = 2, .add_generation_prompt = true});
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(SV("[{\"role\":\"system\",\"content\":\"a \\\"q\\\" {{ x }}\"},{\"role\":\"user\",\"content\":\"\"}]"), &err);
    result b = render_in(source, (tmpl_input){.json_messages = json_root(d), .add_generation_prompt = true});
    assert_true(a.ok && b.ok);
    assert_string_equal(a.out.text.p, "system:a \"q\" {{ x }};2user:;2True");
    assert_string_equal(a.out.text.p, b.out.text.p);
    tmpl_output_fini(&a.out);
    tmpl_output_fini(&b.out);
    json_free(d);
}

static void variables_tokens_and_clock_are_what_the_caller_gives(void **state) {
    (void)state;
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5, .tm_hour = 9};
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(SV("[{\"name\":\"f\"}]"), &err);
    const tmpl_var var[] = {{"tools", {0}, json_root(d), true}, {"unk_token", SV("<unk>"), NULL, false}};
    result r = render_in(
        "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ tools[0].name }}{{ date_string }}{{ strftime_now('%d %b %Y %H%z%f') }}",
        (tmpl_input){.bos_token = SV("<s>"), .eos_token = SV("</s>"), .date_string = SV("D"), .now = &now, .var = var, .n_var = 2});
    assert_true(r.ok);
    assert_string_equal(r.out.text.p, "<s></s><unk>fD26 Jul 2024 09000000");
    tmpl_output_fini(&r.out);
    r = render_in("{{ bos_token is defined }}{{ eos_token is defined }}{{ date_string is defined }}{{ tools is none }}", (tmpl_input){0});
    assert_string_equal(r.out.text.p, "FalseFalseFalseTrue");
    tmpl_output_fini(&r.out);
    json_free(d);
}

static void one_output_serves_many_renders(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    tmpl *t = tmpl_compile(SV("{% if add_generation_prompt %}{{ undef.x }}{% endif %}{{ messages[0].content }}!"), &err);
    const tmpl_message m = {"user", SV("hi")};
    tmpl_output out = {0};
    tmpl_input in = {.message = &m, .n_message = 1};
    for (int i = 0; i < 4; i++) {
        gv_err_clear(&err);
        in.add_generation_prompt = i & 1;
        assert_int_equal(tmpl_render(t, &in, &out, &err), !(i & 1));
        assert_int_equal(out.n_seg, i & 1 ? 0 : 2);
        assert_true((i & 1) == (out.error_type != NULL));
    }
    assert_string_equal(tmpl_hash(t), "b60f2d224ca0f7841960191f3a33921b550318742cb10af6ba8c97e92bc990c6");
    tmpl_output_fini(&out);
    tmpl_free(t);
}

static void builtin_layouts_are_the_published_templates(void **state) {
    (void)state;
    static const char *const published[] = {"chatml", "llama-2", "llama-3.1", "mistral-v0.2", "qwen2.5", "smollm2", "zephyr"};
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        char path[4096];
        buf b = {0};
        gv_err err = GV_ERR_INIT;
        snprintf(path, sizeof path, "%s/templates/%s.jinja", GAVEL_TEST_DATA, published[i]);
        assert_true(file_read_all(path, 1 << 20, &b, &err));
        assert_string_equal(tmpl_builtin(published[i]), b.p);
        buf_fini(&b);
    }
    size_t n = 0;
    for (const char *const *s = tmpl_builtin_names(); *s; s++, n++) {
        gv_err err = GV_ERR_INIT;
        tmpl *t = tmpl_compile(sv_of(tmpl_builtin(*s)), &err);
        assert_non_null(t);
        tmpl_free(t);
    }
    assert_int_equal(n, 9);
    assert_null(tmpl_builtin("nope"));
    assert_string_equal(nearest_name("lama-2", tmpl_builtin_names()), "llama-2");
}

static void judge_layouts_put_the_system_text_inside_inst(void **state) {
    (void)state;
    const tmpl_message m[] = {{"system", SV("S")}, {"user", SV("U ")}, {"assistant", SV("A")}, {"user", SV("V")}};
    static const struct {
        const char *name;
        size_t from, n;
        const char *text;
    } e[] = {{"distilabel", 0, 2, "[INST] S\nU [/INST]"},
             {"mistral", 0, 2, "[INST] S\nU  [/INST]"},
             {"mistral", 1, 1, "[INST] U  [/INST]"},
             {"mistral", 0, 4, "[INST] S\nU  [/INST]A</s>[INST] V [/INST]"}};
    for (size_t i = 0; i < sizeof e / sizeof e[0]; i++) {
        result r = render_in(tmpl_builtin(e[i].name), (tmpl_input){.message = m + e[i].from, .n_message = e[i].n, .eos_token = SV("</s>")});
        if (!r.ok) fail_msg("%s: %s", e[i].name, r.err.msg);
        assert_string_equal(r.out.text.p, e[i].text);
        tmpl_output_fini(&r.out);
    }
    result r = render_in(tmpl_builtin("mistral"), (tmpl_input){.message = m + 2, .n_message = 1});
    assert_false(r.ok);
    assert_string_equal(r.out.error_type, "TemplateError");
    tmpl_output_fini(&r.out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_python_prints_them),
        cmocka_unit_test(arithmetic_and_comparison_follow_python),
        cmocka_unit_test(strings_are_code_points),
        cmocka_unit_test(filters_and_tests_give_what_jinja_gives),
        cmocka_unit_test(a_feature_outside_the_subset_fails_by_name_when_reached),
        cmocka_unit_test(statements_scope_and_loop_as_jinja),
        cmocka_unit_test(white_space_control_follows_jinja),
        cmocka_unit_test(render_errors_are_those_of_python),
        cmocka_unit_test(compile_errors_name_line_and_reason),
        cmocka_unit_test(every_limit_names_itself),
        cmocka_unit_test(deep_sources_are_refused_not_followed),
        cmocka_unit_test(message_array_and_json_render_alike),
        cmocka_unit_test(variables_tokens_and_clock_are_what_the_caller_gives),
        cmocka_unit_test(one_output_serves_many_renders),
        cmocka_unit_test(builtin_layouts_are_the_published_templates),
        cmocka_unit_test(judge_layouts_put_the_system_text_inside_inst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
