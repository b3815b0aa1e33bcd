/* PrometheusEval's construction checks, with the messages of distilabel 1.5.3 and of pydantic 2.10 around them.  See rubric.h.
 *
 * pydantic checks the fields first (types, patterns) and collects all faults; only without any does distilabel's own validator run: rubrics
 * not empty, each of the built-in shape, the chosen one among them.  input_value is repr() cut to 50 bytes as pydantic-core does: 25,
 * "...", 24.  Two reprs hold the task's LLM, which is not known here; both are cut so that only its last field shows
 * (use_magpie_template=False). */
#include "judge/pystr.h"
#include "judge/rubric_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char docs_url[] =
    "\n\nFor further information visit 'https://distilabel.argilla.io/latest/components-gallery/tasks/prometheuseval/'";

typedef struct checker {
    const json_value *kwargs;
    buf text;
    size_t n_faults;
    bool reference;
    int64_t num_generations;
} checker;

static void put_cut(buf *out, sv s) {
    if (s.n <= 50) {
        buf_add_sv(out, s);
        return;
    }
    size_t head = 25, tail = s.n - 24;
    while (head > 0 && ((unsigned char)s.p[head] & 0xc0) == 0x80) head--;
    while (tail < s.n && ((unsigned char)s.p[tail] & 0xc0) == 0x80) tail++;
    buf_add(out, s.p, head);
    buf_add_str(out, "...");
    buf_add(out, s.p + tail, s.n - tail);
}

static void add_fault(checker *c, sv where, const char *message, const char *type, sv repr, const char *input_type) {
    c->n_faults++;
    if (where.n) {
        buf_add_char(&c->text, '\n');
        buf_add_sv(&c->text, where);
    }
    buf_printf(&c->text, "\n  %s [type=%s, input_value=", message, type);
    put_cut(&c->text, repr);
    buf_printf(&c->text, ", input_type=%s]\n    For further information visit https://errors.pydantic.dev/2.10/v/%s", input_type, type);
}

static void add_value_fault(checker *c, sv where, const char *message, const char *type, const json_value *v) {
    buf repr = {0};
    py_repr(&repr, v);
    add_fault(c, where, message, type, buf_view(&repr), py_type_name(v));
    buf_fini(&repr);
}

/* ---- fields ---- */

static bool is_kind(const json_value *v, json_kind k) {
    return v && json_kind_of(v) == k;
}

static void check_name(checker *c) {
    const json_value *v = json_get(c->kwargs, "name");
    if (!v || json_kind_of(v) == JSON_NULL) return;
    if (json_kind_of(v) != JSON_STRING) {
        add_value_fault(c, SV("name"), "Input should be a valid string", "string_type", v);
        return;
    }
    sv s = json_string(v);
    bool ok = s.n > 0;
    for (size_t i = 0; ok && i < s.n; i++) {
        char ch = s.p[i];
        ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-';
    }
    if (!ok) add_value_fault(c, SV("name"), "String should match pattern '^[a-zA-Z0-9_-]+$'", "string_pattern_mismatch", v);
}

/* pydantic's lax integer: numbers without fraction, booleans, and text of an integer. */
static bool lax_integer(checker *c, const char *field, const json_value *v, int64_t *out) {
    double number = 0;
    char digits[32], *end = digits;
    switch (json_kind_of(v)) {
    case JSON_BOOL: *out = json_bool(v); return true;
    case JSON_NUMBER:
        if (json_int64(v, out)) return true;
        if (json_double(v, &number) && number >= -0x1p62 && number <= 0x1p62 && number == (double)(int64_t)number) {
            *out = (int64_t)number;
            return true;
        }
        add_value_fault(c, sv_of(field), "Input should be a valid integer, got a number with a fractional part", "int_from_float", v);
        return false;
    case JSON_STRING:
        snprintf(digits, sizeof digits, SV_FMT, SV_ARG(py_strip(json_string(v))));
        *out = strtoll(digits, &end, 10);
        if (end != digits && *end == 0) return true;
        add_value_fault(c, sv_of(field), "Input should be a valid integer, unable to parse string as an integer", "int_parsing", v);
        return false;
    default: add_value_fault(c, sv_of(field), "Input should be a valid integer", "int_type", v); return false;
    }
}

static void check_numbers(checker *c) {
    int64_t size = 0;
    const json_value *v = json_get(c->kwargs, "input_batch_size");
    if (v && lax_integer(c, "input_batch_size", v, &size) && size <= 0)
        add_value_fault(c, SV("input_batch_size"), "Input should be greater than 0", "greater_than", v);
    v = json_get(c->kwargs, "num_generations");
    if (v && !lax_integer(c, "num_generations", v, &c->num_generations)) c->num_generations = 1;
}

static void check_mode(checker *c) {
    const json_value *v = json_get(c->kwargs, "mode");
    if (!v || (is_kind(v, JSON_STRING) && (sv_is(json_string(v), "absolute") || sv_is(json_string(v), "relative")))) return;
    add_value_fault(c, SV("mode"), "Input should be 'absolute' or 'relative'", "literal_error", v);
}

/* repr() of all keyword arguments, the LLM's cut to its end. */
static void put_all_arguments(const checker *c, buf *out) {
    buf_add_str(out, "{'mode': 'absolute', 'name': 't', 'llm': HashLLM(use_magpie_template=False)");
    for (json_iter it = json_each(c->kwargs); json_next(&it);) {
        buf_add_str(out, ", ");
        py_repr_string(out, it.key);
        buf_add_str(out, ": ");
        py_repr(out, it.value);
    }
    buf_add_char(out, '}');
}

static void check_rubric(checker *c) {
    const json_value *v = json_get(c->kwargs, "rubric");
    if (!v) {
        buf all = {0};
        put_all_arguments(c, &all);
        add_fault(c, SV("rubric"), "Field required", "missing", buf_view(&all), "dict");
        buf_fini(&all);
    } else if (json_kind_of(v) != JSON_STRING) {
        add_value_fault(c, SV("rubric"), "Input should be a valid string", "string_type", v);
    }
}

static void check_rubric_value(checker *c, sv key, const json_value *v) {
    if (json_kind_of(v) == JSON_STRING) return;
    buf where = {0};
    buf_add_str(&where, "rubrics.");
    buf_add_sv(&where, key);
    add_value_fault(c, buf_view(&where), "Input should be a valid string", "string_type", v);
    buf_fini(&where);
}

static void check_rubrics(checker *c, const json_value *pairs) {
    const json_value *v = json_get(c->kwargs, "rubrics");
    for (json_iter it = json_each(pairs ? pairs : v); pairs && json_next(&it);) {
        json_iter pair = json_each(it.value);
        if (!json_next(&pair)) continue;
        const json_value *key = pair.value;
        buf where = {0}, shown = {0};
        py_str(&shown, key);
        if (json_kind_of(key) != JSON_STRING) {
            buf_printf(&where, "rubrics." SV_FMT ".[key]", SV_ARG(buf_view(&shown)));
            add_value_fault(c, buf_view(&where), "Input should be a valid string", "string_type", key);
        }
        if (json_next(&pair)) check_rubric_value(c, buf_view(&shown), pair.value);
        buf_fini(&where);
        buf_fini(&shown);
    }
    if (pairs || !v || json_kind_of(v) == JSON_NULL) return;
    if (json_kind_of(v) != JSON_OBJECT) {
        add_value_fault(c, SV("rubrics"), "Input should be a valid dictionary", "dict_type", v);
        return;
    }
    for (json_iter it = json_each(v); json_next(&it);) check_rubric_value(c, it.key, it.value);
}

static void check_reference(checker *c) {
    const json_value *v = json_get(c->kwargs, "reference");
    if (!v || py_bool(v, &c->reference)) return;
    if (json_kind_of(v) == JSON_NUMBER || json_kind_of(v) == JSON_STRING)
        add_value_fault(c, SV("reference"), "Input should be a valid boolean, unable to interpret input", "bool_parsing", v);
    else
        add_value_fault(c, SV("reference"), "Input should be a valid boolean", "bool_type", v);
}

static void check_unknown(checker *c) {
    static const char *const known[] = {"name",
                                        "mode",
                                        "rubric",
                                        "rubrics",
                                        "reference",
                                        "llm",
                                        "resources",
                                        "pipeline",
                                        "input_mappings",
                                        "output_mappings",
                                        "use_cache",
                                        "input_batch_size",
                                        "group_generations",
                                        "add_raw_output",
                                        "add_raw_input",
                                        "num_generations",
                                        "use_default_structured_output",
                                        "exclude_from_signature"};
    for (json_iter it = json_each(c->kwargs); json_next(&it);) {
        size_t k = 0;
        while (k < sizeof known / sizeof *known && !sv_is(it.key, known[k])) k++;
        if (k == sizeof known / sizeof *known) add_value_fault(c, it.key, "Extra inputs are not permitted", "extra_forbidden", it.value);
    }
}

/* ---- distilabel's own validator ---- */

/* The rubrics that count, in order; NULL values of v mean the built-ins. */
static void take_names(const json_value *v, arena *a, rubric_check *out) {
    const char *const *builtin = rubric_builtin_names(STYLE_DISTILABEL);
    size_t n = 0;
    if (v)
        n = json_size(v);
    else
        while (builtin[n]) n++;
    sv *names = arena_alloc(a, (n + 1) * sizeof *names);
    size_t i = 0;
    if (v)
        for (json_iter it = json_each(v); json_next(&it);) names[i++] = it.key;
    else
        for (; i < n; i++) names[i] = sv_of(builtin[i]);
    out->names = names;
    out->n_names = n;
}

/* distilabel's message without the address of its manual; false if there is none. */
static bool own_message(const json_value *rubrics, const rubric_check *r, buf *out) {
    if (rubrics && (json_kind_of(rubrics) == JSON_NULL || json_size(rubrics) == 0)) {
        buf_add_str(out, "Provided `rubrics` must be a Python dictionary with string keys and string values.");
        return true;
    }
    bool shaped = true;
    if (rubrics)
        for (json_iter it = json_each(rubrics); json_next(&it);) shaped = shaped && rubric_has_shape(json_string(it.value));
    if (!shaped) {
        buf_add_str(out, rubric_shape_message);
        return true;
    }
    for (size_t i = 0; i < r->n_names; i++)
        if (sv_eq(r->names[i], r->rubric)) return false;
    buf_add_str(out, "Provided rubric '");
    buf_add_sv(out, r->rubric);
    buf_add_str(out, "' is not among the available rubrics: ");
    for (size_t i = 0; i < r->n_names; i++) {
        if (i) buf_add_str(out, ", ");
        buf_add_sv(out, r->names[i]);
    }
    buf_add_char(out, '.');
    return true;
}

/* repr() of the task is cut to its beginning and its end: ..., rubrics={...}, reference=False). */
static void put_task_repr(const checker *c, const json_value *rubrics, arena *a, buf *out) {
    buf_add_str(out, "PrometheusEval(exclude_from_signature={...}, ");
    buf_add_str(out, "rubrics=");
    if (rubrics) {
        py_repr(out, rubrics);
    } else {
        rubric last;
        if (!rubric_builtin("reasoning", STYLE_DISTILABEL, a, &last)) return;
        buf_add_str(out, "{'reasoning': ");
        py_repr_string(out, last.text);
        buf_add_char(out, '}');
    }
    buf_printf(out, ", reference=%s)", c->reference ? "True" : "False");
}

void rubric_check_task(const json_value *kwargs, const json_value *pairs, arena *a, rubric_check *out) {
    *out = (rubric_check){0};
    checker c = {.kwargs = kwargs, .num_generations = 1};
    check_name(&c);
    check_numbers(&c);
    check_mode(&c);
    check_rubric(&c);
    check_rubrics(&c, pairs);
    check_reference(&c);
    check_unknown(&c);
    if (c.n_faults == 0) {
        const json_value *rubrics = json_get(kwargs, "rubrics");
        buf cause = {0}, repr = {0}, message = {0};
        out->rubric = json_string(json_get(kwargs, "rubric"));
        take_names(is_kind(rubrics, JSON_NULL) ? NULL : rubrics, a, out);
        if (own_message(rubrics, out, &cause)) {
            buf_add_str(&cause, docs_url);
            out->cause = (sv){arena_dup(a, cause.p, cause.n), cause.n};
            buf_add_str(&message, "Value error, ");
            buf_add_sv(&message, buf_view(&cause));
            put_task_repr(&c, rubrics, a, &repr);
            add_fault(&c, SV(""), message.p, "value_error", buf_view(&repr), "PrometheusEval");
        }
        buf_fini(&cause);
        buf_fini(&repr);
        buf_fini(&message);
    }
    out->accept = c.n_faults == 0;
    out->reference = c.reference;
    out->num_generations = c.num_generations;
    if (!out->accept) {
        buf text = {0};
        buf_printf(&text, "%zu validation error%s for PrometheusEval", c.n_faults, c.n_faults == 1 ? "" : "s");
        buf_add_sv(&text, buf_view(&c.text));
        out->text = (sv){arena_dup(a, text.p, text.n), text.n};
        buf_fini(&text);
    }
    buf_fini(&c.text);
}
