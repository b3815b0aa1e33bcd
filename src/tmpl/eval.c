/* Evaluation of expressions, in Python's order: left to right, callee before arguments, and/or give their operand.
 *
 * Each node costs a step and a level of depth, so the time and the C stack of a render are bounded. */
#include "tmpl/tmpl_internal.h"

static bool eval_list(ev *e, const node *n, val *out) {
    if (!list_new(e, n->kind == N_TUPLE ? L_TUPLE : L_LIST, n->items.n, false, out)) return false;
    for (uint32_t i = 0; i < n->items.n; i++) {
        val v;
        if (!eval_expr(e, n->items.v[i], &v) || !list_add(e, out->l, v)) return false;
    }
    return true;
}

static bool eval_dict(ev *e, const node *n, val *out) {
    if (!dict_new(e, n->items.n / 2, false, out)) return false;
    for (uint32_t i = 0; i < n->items.n; i += 2) {
        val k, v;
        if (!eval_expr(e, n->items.v[i], &k) || !eval_expr(e, n->items.v[i + 1], &v)) return false;
        if (!val_hashable(e, k) || !dict_set(e, out->d, k, v)) return false;
    }
    return true;
}

static bool eval_slice(ev *e, const node *n, val *out) {
    slice *s = ev_alloc(e, 1, sizeof *s);
    if (!s) return false;
    s->start = s->stop = s->step = val_none();
    if (n->a && !eval_expr(e, n->a, &s->start)) return false;
    if (n->b && !eval_expr(e, n->b, &s->stop)) return false;
    if (n->c && !eval_expr(e, n->c, &s->step)) return false;
    *out = (val){.kind = V_SLICE, .sl = s};
    return true;
}

static bool eval_name(ev *e, const node *n, val *out) {
    const val *v = scope_get(e, n->id);
    if (e->code != GV_OK) return false;
    if (v) {
        *out = *v;
        return true;
    }
    return global_find(e, n->id->s, out) || val_undef_name(e, n->id->s, out);
}

static bool compare_one(ev *e, cmp_op op, val a, val b, bool *out) {
    switch (op) {
    case CMP_EQ: return val_equal(e, a, b, out);
    case CMP_NE:
        if (!val_equal(e, a, b, out)) return false;
        *out = !*out;
        return true;
    case CMP_IN: return val_contains(e, a, b, out);
    case CMP_NOTIN:
        if (!val_contains(e, a, b, out)) return false;
        *out = !*out;
        return true;
    default: return val_order(e, op, a, b, out);
    }
}

static bool eval_compare(ev *e, const node *n, val *out) {
    val l, r;
    bool ok = true;
    if (!eval_expr(e, n->a, &l)) return false;
    for (uint32_t i = 0; ok && i < n->items.n; i++) {
        if (!eval_expr(e, n->items.v[i], &r)) return false;
        e->line = n->line;
        if (!compare_one(e, (cmp_op)n->ops[i], l, r, &ok)) return false;
        l = r;
    }
    *out = val_bool(ok);
    return true;
}

static bool eval_concat(ev *e, const node *n, val *out) {
    sbuf b = {0};
    for (uint32_t i = 0; i < n->items.n; i++) {
        val v;
        if (!eval_expr(e, n->items.v[i], &v) || !sb_add_str_of(e, &b, v)) return false;
    }
    *out = sb_done(&b);
    return true;
}

static bool eval_cond(ev *e, const node *n, val *out) {
    val c;
    if (!eval_expr(e, n->b, &c)) return false;
    if (val_truthy(c)) return eval_expr(e, n->a, out);
    if (n->c) return eval_expr(e, n->c, out);
    char *hint = ev_alloc(e, 120, 1);
    if (!hint) return false;
    snprintf(hint, 120, "the inline if-expression on line %d evaluated to false and no else section was defined.", n->line);
    return val_undef_hint(e, hint, out);
}

static bool add_star(ev *e, const node *star, list *pos) {
    val v;
    const list *l;
    if (!eval_expr(e, star, &v)) return false;
    if (v.kind != V_STR && v.kind != V_LIST && v.kind != V_DICT && v.kind != V_RANGE && v.kind != V_UNDEF) {
        return ev_fail(e, "TypeError", "Value after * must be an iterable, not %s", val_type(v));
    }
    if (!val_iterate(e, v, &l)) return false;
    for (size_t i = 0; i < l->n; i++) {
        if (!list_add(e, pos, l->v[i])) return false;
    }
    return true;
}

static bool add_dstar(ev *e, const node *dstar, dict *kw) {
    val v;
    if (!eval_expr(e, dstar, &v)) return false;
    if (v.kind != V_DICT) return ev_fail(e, "TypeError", "argument after ** must be a mapping, not %s", val_type(v));
    for (size_t i = 0; i < v.d->n; i++) {
        pair *have;
        if (v.d->v[i].key.kind != V_STR) return ev_fail(e, "TypeError", "keywords must be strings");
        if (!dict_find(e, kw, v.d->v[i].key, &have)) return false;
        if (have) {
            return ev_fail(e, "TypeError", "got multiple values for keyword argument '" SV_FMT "'", SV_ARG(val_sv(v.d->v[i].key)));
        }
        if (!dict_set(e, kw, v.d->v[i].key, v.d->v[i].value)) return false;
    }
    return true;
}

static bool eval_args(ev *e, const call_args *a, cargs *out) {
    val pos, kw;
    if (!list_new(e, L_LIST, a->pos.n, false, &pos) || !dict_new(e, a->n_kw, false, &kw)) return false;
    for (uint32_t i = 0; i < a->pos.n; i++) {
        val v;
        if (!eval_expr(e, a->pos.v[i], &v) || !list_add(e, pos.l, v)) return false;
    }
    if (a->star && !add_star(e, a->star, pos.l)) return false;
    for (uint32_t i = 0; i < a->n_kw; i++) {
        val v;
        if (!eval_expr(e, a->kw[i].value, &v) || !dict_set(e, kw.d, val_str(a->kw[i].key), v)) return false;
    }
    if (a->dstar && !add_dstar(e, a->dstar, kw.d)) return false;
    *out = (cargs){pos.l->v, pos.l->n, kw.d->v, kw.d->n};
    return true;
}

static bool eval_call(ev *e, const node *n, val *out) {
    val callee;
    cargs a;
    if (!eval_expr(e, n->a, &callee) || !eval_args(e, n->args, &a)) return false;
    e->line = n->line;
    return call_value(e, callee, &a, out);
}

/* True if the filter or test has no number; the error is set. */
static bool unresolved(ev *e, const node *n, const char *what) {
    if (n->op < OP_UNSUPPORTED) return false;
    if (n->op == OP_UNSUPPORTED) {
        ev_unsupported(e, "Jinja %s '" SV_FMT "'", what, SV_ARG(n->str));
    } else {
        ev_fail(e, "TemplateRuntimeError", "No %s named '" SV_FMT "' found.", what, SV_ARG(n->str));
    }
    return true;
}

static bool eval_filter(ev *e, const node *n, val *out) {
    val input;
    cargs a;
    e->line = n->line;
    if (unresolved(e, n, "filter") || !eval_expr(e, n->a, &input) || !eval_args(e, n->args, &a)) return false;
    e->line = n->line;
    return filter_call(e, n->op, input, &a, out);
}

/* A chain whose innermost input is not an expression but `input`. */
bool eval_filter_chain(ev *e, const node *n, val input, val *out) {
    cargs a;
    if (!ev_steps(e, 1) || unresolved(e, n, "filter")) return false;
    if (n->a && !eval_filter_chain(e, n->a, input, &input)) return false;
    if (!eval_args(e, n->args, &a)) return false;
    e->line = n->line;
    return filter_call(e, n->op, input, &a, out);
}

static bool eval_test(ev *e, const node *n, val *out) {
    val input;
    cargs a;
    bool yes;
    if (unresolved(e, n, "test") || !eval_expr(e, n->a, &input) || !eval_args(e, n->args, &a)) return false;
    e->line = n->line;
    if (!test_call(e, n->op, input, &a, &yes)) return false;
    *out = val_bool(yes);
    return true;
}

static bool eval_binary(ev *e, const node *n, val *out) {
    val a, b;
    if (!eval_expr(e, n->a, &a) || !eval_expr(e, n->b, &b)) return false;
    e->line = n->line;
    return op_binary(e, (tok_kind)n->op, a, b, out);
}

static bool eval_item(ev *e, const node *n, val *out) {
    val a, b;
    if (!eval_expr(e, n->a, &a) || !eval_expr(e, n->b, &b)) return false;
    e->line = n->line;
    return op_getitem(e, a, b, out);
}

static bool eval_logic(ev *e, const node *n, val *out) {
    if (!eval_expr(e, n->a, out)) return false;
    if (val_truthy(*out) == (n->kind == N_OR)) return true;
    return eval_expr(e, n->b, out);
}

static bool eval_kind(ev *e, const node *n, val *out) {
    val v;
    switch ((node_kind)n->kind) {
    case N_CONST: *out = n->value; return true;
    case N_NAME: return eval_name(e, n, out);
    case N_LIST:
    case N_TUPLE: return eval_list(e, n, out);
    case N_DICT: return eval_dict(e, n, out);
    case N_ATTR:
        if (!eval_expr(e, n->a, &v)) return false;
        e->line = n->line;
        return op_getattr(e, v, n->str, out);
    case N_ITEM: return eval_item(e, n, out);
    case N_SLICE: return eval_slice(e, n, out);
    case N_CALL: return eval_call(e, n, out);
    case N_FILTER: return eval_filter(e, n, out);
    case N_TEST: return eval_test(e, n, out);
    case N_NOT:
        if (!eval_expr(e, n->a, &v)) return false;
        *out = val_bool(!val_truthy(v));
        return true;
    case N_NEG:
    case N_POS:
        if (!eval_expr(e, n->a, &v)) return false;
        e->line = n->line;
        return op_negate(e, v, n->kind == N_NEG, out);
    case N_AND:
    case N_OR: return eval_logic(e, n, out);
    case N_COND: return eval_cond(e, n, out);
    case N_COMPARE: return eval_compare(e, n, out);
    case N_BINARY: return eval_binary(e, n, out);
    case N_CONCAT: return eval_concat(e, n, out);
    default: return ev_fail(e, "TemplateSyntaxError", "a statement where an expression is needed");
    }
}

bool eval_expr(ev *e, const node *n, val *out) {
    e->line = n->line;
    if (!ev_steps(e, 1)) return false;
    if (e->depth >= TMPL_MAX_EVAL_DEPTH) return ev_limit(e, "evaluation nested over %d levels", TMPL_MAX_EVAL_DEPTH);
    e->depth++;
    bool ok = eval_kind(e, n, out);
    e->depth--;
    return ok;
}
