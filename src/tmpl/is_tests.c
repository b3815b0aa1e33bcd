/* Jinja's tests: x is NAME(args). */
#include "tmpl/tmpl_internal.h"

typedef enum test_id {
    T_DEFINED,
    T_UNDEFINED,
    T_NONE,
    T_BOOLEAN,
    T_TRUE,
    T_FALSE,
    T_INTEGER,
    T_FLOAT,
    T_NUMBER,
    T_STRING,
    T_MAPPING,
    T_SEQUENCE,
    T_ITERABLE,
    T_CALLABLE,
    T_SAMEAS,
    T_ESCAPED,
    T_ODD,
    T_EVEN,
    T_DIVISIBLEBY,
    T_LOWER,
    T_UPPER,
    T_IN,
    T_FILTER,
    T_TEST,
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE, /* in the order of cmp_op */
} test_id;

static const struct {
    const char *name;
    test_id id;
} tests[] = {
    {"defined", T_DEFINED},
    {"undefined", T_UNDEFINED},
    {"none", T_NONE},
    {"boolean", T_BOOLEAN},
    {"true", T_TRUE},
    {"false", T_FALSE},
    {"integer", T_INTEGER},
    {"float", T_FLOAT},
    {"number", T_NUMBER},
    {"string", T_STRING},
    {"mapping", T_MAPPING},
    {"sequence", T_SEQUENCE},
    {"iterable", T_ITERABLE},
    {"callable", T_CALLABLE},
    {"sameas", T_SAMEAS},
    {"escaped", T_ESCAPED},
    {"odd", T_ODD},
    {"even", T_EVEN},
    {"divisibleby", T_DIVISIBLEBY},
    {"lower", T_LOWER},
    {"upper", T_UPPER},
    {"in", T_IN},
    {"filter", T_FILTER},
    {"test", T_TEST},
    {"==", T_EQ},
    {"eq", T_EQ},
    {"equalto", T_EQ},
    {"!=", T_NE},
    {"ne", T_NE},
    {"<", T_LT},
    {"lt", T_LT},
    {"lessthan", T_LT},
    {"<=", T_LE},
    {"le", T_LE},
    {">", T_GT},
    {"gt", T_GT},
    {"greaterthan", T_GT},
    {">=", T_GE},
    {"ge", T_GE},
};

int test_find(sv s) {
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (sv_is(s, tests[i].name)) return (int)i;
    }
    return -1;
}

static bool is_divisible(ev *e, val x, val by, int64_t rest, bool *out) {
    val m;
    return op_binary(e, TK_MOD, x, by, &m) && val_equal(e, m, val_int(rest), out);
}

static bool is_sequence(val v) {
    if (v.kind == V_LIST) return v.l->kind == L_LIST || v.l->kind == L_TUPLE;
    return v.kind == V_UNDEF || v.kind == V_STR || v.kind == V_DICT || v.kind == V_RANGE;
}

static bool is_same(val a, val b) {
    if (a.kind != b.kind) return false;
    switch ((val_kind)a.kind) {
    case V_NONE: return true;
    case V_BOOL: return a.b == b.b;
    case V_INT: return a.i == b.i && a.i >= -5 && a.i <= 256;
    case V_FLOAT:
    case V_RANGE: return false;
    case V_STR: return a.p == b.p && a.n == b.n;
    case V_FUNC: return a.fn == b.fn;
    default: return a.p == b.p;
    }
}

static bool test_text(ev *e, val x, is_op op, bool *out) {
    val s;
    if (!val_str_of(e, x, &s) || !ev_steps(e, s.n / 8)) return false;
    *out = str_is(val_sv(s), op);
    return true;
}

static bool test_kind(test_id id, val x) {
    switch (id) {
    case T_DEFINED: return x.kind != V_UNDEF;
    case T_UNDEFINED: return x.kind == V_UNDEF;
    case T_NONE: return x.kind == V_NONE;
    case T_BOOLEAN: return x.kind == V_BOOL;
    case T_TRUE: return x.kind == V_BOOL && x.b;
    case T_FALSE: return x.kind == V_BOOL && !x.b;
    case T_INTEGER: return x.kind == V_INT || x.kind == V_BIG;
    case T_FLOAT: return x.kind == V_FLOAT;
    case T_NUMBER: return val_is_num(x) || x.kind == V_BIG;
    case T_STRING: return x.kind == V_STR;
    case T_MAPPING: return x.kind == V_DICT;
    case T_SEQUENCE: return is_sequence(x);
    case T_ITERABLE: return x.kind == V_LIST || x.kind == V_LOOP || is_sequence(x);
    case T_CALLABLE: return x.kind == V_UNDEF || x.kind == V_MACRO || x.kind == V_METHOD || x.kind == V_FUNC || x.kind == V_LOOP;
    default: return false;
    }
}

/* TypeError of the function behind the test. */
static bool wrong_args(ev *e, int number, size_t given, size_t want) {
    static const char *const arg_names[] = {[T_SAMEAS] = "other", [T_DIVISIBLEBY] = "num", [T_IN] = "seq"};
    static const char *const operators[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    test_id id = tests[number].id;
    if (id >= T_EQ) return ev_fail(e, "TypeError", "%s expected 2 arguments, got %zu", operators[id - T_EQ], given + 1);
    if (id == T_CALLABLE) return ev_fail(e, "TypeError", "callable() takes exactly one argument (%zu given)", given + 1);
    if (given < want) {
        return ev_fail(e, "TypeError", "test_%s() missing 1 required positional argument: '%s'", tests[number].name, arg_names[id]);
    }
    return ev_fail(e, "TypeError", "test_%s() takes %zu positional argument%s but %zu were given", tests[number].name, want + 1,
                   want ? "s" : "", given + 1);
}

bool test_call(ev *e, int number, val x, const cargs *a, bool *out) {
    test_id id = tests[number].id;
    size_t want = id == T_SAMEAS || id == T_DIVISIBLEBY || id == T_IN || id >= T_EQ ? 1 : 0;
    if (a->n != want || a->n_kw) return wrong_args(e, number, a->n + a->n_kw, want);
    switch (id) {
    case T_SAMEAS: *out = is_same(x, a->pos[0]); return true;
    case T_ODD: return is_divisible(e, x, val_int(2), 1, out);
    case T_EVEN: return is_divisible(e, x, val_int(2), 0, out);
    case T_DIVISIBLEBY: return is_divisible(e, x, a->pos[0], 0, out);
    case T_LOWER: return test_text(e, x, IS_LOWER, out);
    case T_UPPER: return test_text(e, x, IS_UPPER, out);
    case T_IN: return val_contains(e, x, a->pos[0], out);
    case T_FILTER: *out = x.kind == V_STR && filter_find(val_sv(x)) != -1; return true;
    case T_TEST: *out = x.kind == V_STR && test_find(val_sv(x)) != -1; return true;
    case T_EQ: return val_equal(e, x, a->pos[0], out);
    case T_NE:
        if (!val_equal(e, x, a->pos[0], out)) return false;
        *out = !*out;
        return true;
    case T_LT:
    case T_LE:
    case T_GT:
    case T_GE: return val_order(e, (cmp_op)(CMP_LT + (id - T_LT)), x, a->pos[0], out);
    default: *out = test_kind(id, x); return true;
    }
}
