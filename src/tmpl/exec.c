/* Execution of statements, scopes and macros.
 *
 * Scoping as Jinja's: for bodies (anew each round), macros, with, block set, filter and generation blocks have a scope of their own; if
 * has none.  set writes the innermost scope, reading looks outwards, so a set inside a loop is gone after the round; namespace attributes
 * are the way out.  Macros see the scope they were defined in. */
#include "tmpl/tmpl_internal.h"

static bool exec_node(ev *e, const node *n);

bool scope_push(ev *e, scope *parent) {
    scope *s = ev_alloc(e, 1, sizeof *s);
    if (!s) return false;
    *s = (scope){parent, NULL};
    e->sc = s;
    return true;
}

bool scope_set(ev *e, const symbol *id, val v) {
    size_t hops = 0;
    for (var *x = e->sc->vars; x; x = x->next, hops++) {
        if (x->id == id) {
            x->v = v;
            return true;
        }
    }
    var *x = ev_alloc(e, 1, sizeof *x);
    if (!x || !ev_steps(e, hops / 32)) return false;
    *x = (var){id, v, e->sc->vars};
    e->sc->vars = x;
    return true;
}

const val *scope_get(ev *e, const symbol *id) {
    size_t hops = 0;
    for (const scope *s = e->sc; s; s = s->parent, hops++) {
        for (const var *x = s->vars; x; x = x->next, hops++) {
            if (x->id == id) return ev_steps(e, hops / 32) ? &x->v : NULL;
        }
    }
    return ev_steps(e, hops / 32), NULL;
}

static bool unpack(ev *e, const node *target, val v);

/* Jinja looks at the namespaces of a target before it evaluates the value. */
static bool check_namespaces(ev *e, const node *target) {
    for (uint32_t i = 0; target->kind == N_TUPLE && i < target->items.n; i++) {
        if (!check_namespaces(e, target->items.v[i])) return false;
    }
    if (target->kind != N_NSREF) return true;
    const val *ns = scope_get(e, target->id);
    if (e->code != GV_OK) return false;
    return (ns && ns->kind == V_NS) || ev_fail(e, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
}

static bool assign(ev *e, const node *target, val v) {
    if (target->kind == N_NAME) return scope_set(e, target->id, v);
    if (target->kind == N_TUPLE) return unpack(e, target, v);
    if (!check_namespaces(e, target)) return false;
    const val *ns = scope_get(e, target->id);
    if (!ns) return false;
    return dict_set(e, ns->d, val_str(target->str), v);
}

static bool unpack(ev *e, const node *target, val v) {
    const list *l;
    size_t want = target->items.n;
    if (v.kind != V_STR && v.kind != V_LIST && v.kind != V_DICT && v.kind != V_RANGE && v.kind != V_UNDEF) {
        return ev_fail(e, "TypeError", "cannot unpack non-iterable %s object", val_type(v));
    }
    if (!val_iterate(e, v, &l)) return false;
    if (l->n < want) return ev_fail(e, "ValueError", "not enough values to unpack (expected %zu, got %zu)", want, l->n);
    if (l->n > want) return ev_fail(e, "ValueError", "too many values to unpack (expected %zu)", want);
    for (size_t i = 0; i < want; i++) {
        if (!assign(e, target->items.v[i], l->v[i])) return false;
    }
    return true;
}

/* The items a loop runs over: those that pass its "if". */
static bool loop_items(ev *e, const node *n, const list **out) {
    val iter, kept;
    if (!eval_expr(e, n->b, &iter)) return false;
    e->line = n->line;
    if (!val_iterate(e, iter, out)) return false;
    if (!n->c) return true;
    if (!list_new(e, L_LIST, 0, false, &kept)) return false;
    scope *outer = e->sc;
    for (size_t i = 0; i < (*out)->n; i++) {
        val yes;
        if (!scope_push(e, outer) || !assign(e, n->a, (*out)->v[i]) || !eval_expr(e, n->c, &yes)) return false;
        if (val_truthy(yes) && !list_add(e, kept.l, (*out)->v[i])) return false;
    }
    e->sc = outer;
    *out = kept.l;
    return true;
}

static bool exec_for(ev *e, const node *n) {
    const list *items;
    if (!loop_items(e, n, &items)) return false;
    scope *outer = e->sc;
    loop_state *st = ev_alloc(e, 1, sizeof *st);
    if (!st) return false;
    *st = (loop_state){.items = items};
    bool completed = false; /* Jinja runs the else branch when no round reached its end, also after a break */
    const symbol *loop_name = tmpl_find_name(e->t, SV("loop"));
    for (size_t i = 0; i < items->n && e->flow != FLOW_BREAK; i++) {
        st->index0 = i;
        e->line = n->line;
        if (!ev_steps(e, 1) || !scope_push(e, outer)) return false;
        if (loop_name && !scope_set(e, loop_name, (val){.kind = V_LOOP, .loop = st})) return false;
        if (!assign(e, n->a, items->v[i]) || !exec_body(e, &n->body)) return false;
        if (e->flow == FLOW_NEXT) completed = true;
        if (e->flow == FLOW_CONTINUE) e->flow = FLOW_NEXT;
    }
    e->flow = FLOW_NEXT;
    e->sc = outer;
    if (completed) return true;
    if (!scope_push(e, outer) || !exec_body(e, &n->body2)) return false;
    e->sc = outer;
    return true;
}

static bool exec_if(ev *e, const node *n) {
    for (uint32_t i = 0; i < n->items.n; i++) {
        const node *clause = n->items.v[i];
        val c = val_bool(true);
        if (clause->a && !eval_expr(e, clause->a, &c)) return false;
        if (val_truthy(c)) return exec_body(e, &clause->body);
    }
    return true;
}

/* Runs body in a new scope, its output into *out. */
static bool capture(ev *e, const nodes *body, val *out) {
    scope *outer = e->sc;
    sbuf b = {0}, *before = e->out;
    if (!scope_push(e, outer)) return false;
    e->out = &b;
    bool ok = exec_body(e, body);
    e->out = before;
    e->sc = outer;
    *out = sb_done(&b);
    return ok;
}

static bool exec_set_block(ev *e, const node *n) {
    val v;
    if (!capture(e, &n->body, &v)) return false;
    if (n->b && !eval_filter_chain(e, n->b, v, &v)) return false;
    return assign(e, n->a, v);
}

static bool exec_filter_block(ev *e, const node *n) {
    val v;
    if (!capture(e, &n->body, &v) || !eval_filter_chain(e, n->b, v, &v)) return false;
    if (v.kind != V_STR) return ev_unsupported(e, "a filter block that gives a value of type %s", val_type(v));
    return sb_add_str_of(e, e->out, v);
}

static bool exec_with(ev *e, const node *n) {
    scope *outer = e->sc;
    if (!scope_push(e, outer)) return false;
    scope *inner = e->sc;
    for (uint32_t i = 0; i < n->items.n; i += 2) {
        val v;
        e->sc = outer;
        if (!eval_expr(e, n->items.v[i + 1], &v)) return false;
        e->sc = inner;
        if (!assign(e, n->items.v[i], v)) return false;
    }
    if (!exec_body(e, &n->body)) return false;
    e->sc = outer;
    return true;
}

static bool macro_new(ev *e, const node *n, val *out) {
    macro *m = ev_alloc(e, 1, sizeof *m);
    if (!m) return false;
    *m = (macro){n, e->sc};
    *out = (val){.kind = V_MACRO, .m = m};
    return true;
}

static bool exec_call_block(ev *e, const node *n) {
    val caller, v;
    if (!macro_new(e, n, &caller)) return false;
    /* the call with caller=... added */
    call_args args = *n->a->args;
    node value = {.kind = N_CONST, .line = n->line, .value = caller};
    kwarg *kw = ev_alloc(e, args.n_kw + 1, sizeof *kw);
    if (!kw) return false;
    if (args.n_kw) memcpy(kw, args.kw, args.n_kw * sizeof *kw);
    kw[args.n_kw++] = (kwarg){SV("caller"), &value};
    args.kw = kw;
    node call = *n->a;
    call.args = &args;
    return eval_expr(e, &call, &v) && sb_add_str_of(e, e->out, v);
}

static bool exec_node(ev *e, const node *n) {
    val v;
    e->line = n->line;
    switch ((node_kind)n->kind) {
    case N_TEXT: return sb_add(e, e->out, n->str.p, n->str.n, false);
    case N_OUTPUT: return eval_expr(e, n->a, &v) && sb_add_str_of(e, e->out, v);
    case N_FOR: return exec_for(e, n);
    case N_IF: return exec_if(e, n);
    case N_SET: return check_namespaces(e, n->a) && eval_expr(e, n->b, &v) && assign(e, n->a, v);
    case N_SETBLOCK: return exec_set_block(e, n);
    case N_FILTERBLOCK: return exec_filter_block(e, n);
    case N_WITH: return exec_with(e, n);
    case N_SCOPE: return capture(e, &n->body, &v) && sb_add_val(e, e->out, v);
    case N_MACRO: return macro_new(e, n, &v) && scope_set(e, n->id, v);
    case N_CALLBLOCK: return exec_call_block(e, n);
    case N_BREAK: e->flow = FLOW_BREAK; return true;
    case N_CONTINUE: e->flow = FLOW_CONTINUE; return true;
    default: return ev_fail(e, "TemplateSyntaxError", "an expression where a statement is needed");
    }
}

bool exec_body(ev *e, const nodes *body) {
    if (e->depth >= TMPL_MAX_EVAL_DEPTH) return ev_limit(e, "evaluation nested over %d levels", TMPL_MAX_EVAL_DEPTH);
    e->depth++;
    for (uint32_t i = 0; i < body->n && e->flow == FLOW_NEXT; i++) {
        if (!ev_steps(e, 1) || !exec_node(e, body->v[i])) return false;
    }
    e->depth--;
    return true;
}

/* ---- macro calls ---- */

static const val *kw_find(const cargs *a, sv key) {
    for (size_t i = 0; i < a->n_kw; i++) {
        if (sv_eq(val_sv(a->kw[i].key), key)) return &a->kw[i].value;
    }
    return NULL;
}

static bool has_param(const node *def, sv key) {
    for (uint32_t i = 0; i < def->items.n; i++) {
        if (sv_eq(def->items.v[i]->id->s, key)) return true;
    }
    return false;
}

static bool set_named(ev *e, const char *s, val v) {
    const symbol *id = tmpl_find_name(e->t, sv_of(s));
    return !id || scope_set(e, id, v);
}

/* caller, kwargs and varargs of a macro that mentions them; too many arguments of one that does not. */
static bool bind_special(ev *e, const node *def, const cargs *a, sv shown) {
    size_t n_param = def->items.n;
    val kw, va;
    const val *caller = kw_find(a, SV("caller"));
    bool caller_param = has_param(def, SV("caller"));
    if ((def->op & MACRO_CALLER) && !caller_param) {
        val v;
        if (caller && caller->kind != V_NONE) {
            v = *caller;
        } else if (!val_undef_hint(e, "No caller defined", &v)) {
            return false;
        }
        if (!set_named(e, "caller", v)) return false;
    }
    if (!dict_new(e, 0, false, &kw)) return false;
    for (size_t i = 0; i < a->n_kw; i++) {
        sv key = val_sv(a->kw[i].key);
        bool used = false;
        for (uint32_t k = (uint32_t)(a->n < n_param ? a->n : n_param); k < n_param; k++) used |= sv_eq(def->items.v[k]->id->s, key);
        if (used || ((def->op & MACRO_CALLER) && !caller_param && sv_is(key, "caller"))) continue;
        if (!dict_set(e, kw.d, a->kw[i].key, a->kw[i].value)) return false;
    }
    if ((def->op & MACRO_KWARGS) && !has_param(def, SV("kwargs"))) {
        if (!set_named(e, "kwargs", kw)) return false;
    } else if (kw.d->n) {
        sv key = val_sv(kw.d->v[0].key);
        if (kw_find(&(cargs){.kw = kw.d->v, .n_kw = kw.d->n}, SV("caller"))) {
            return ev_fail(e, "TypeError",
                           "macro " SV_FMT " was invoked with two values for the special caller argument. This is most likely a bug.",
                           SV_ARG(shown));
        }
        return ev_fail(e, "TypeError", "macro " SV_FMT " takes no keyword argument '" SV_FMT "'", SV_ARG(shown), SV_ARG(key));
    }
    if ((def->op & MACRO_VARARGS) && !has_param(def, SV("varargs"))) {
        if (!list_new(e, L_TUPLE, 0, false, &va)) return false;
        for (size_t i = n_param; i < a->n; i++) {
            if (!list_add(e, va.l, a->pos[i])) return false;
        }
        return set_named(e, "varargs", va);
    }
    if (a->n > n_param) return ev_fail(e, "TypeError", "macro " SV_FMT " takes not more than %zu argument(s)", SV_ARG(shown), n_param);
    return true;
}

static bool bind_params(ev *e, const node *def, const cargs *a) {
    size_t n_param = def->items.n, n_default = def->items2.n;
    for (size_t i = 0; i < n_param; i++) {
        const symbol *id = def->items.v[i]->id;
        const val *kw = i < a->n ? NULL : kw_find(a, id->s);
        val v;
        if (i < a->n) {
            v = a->pos[i];
        } else if (kw) {
            v = *kw;
        } else if (i >= n_param - n_default) {
            if (!eval_expr(e, def->items2.v[i - (n_param - n_default)], &v)) return false;
        } else {
            char *hint = ev_alloc(e, id->s.n + 60, 1);
            if (!hint) return false;
            snprintf(hint, id->s.n + 60, "parameter '" SV_FMT "' was not provided", SV_ARG(id->s));
            if (!val_undef_hint(e, hint, &v)) return false;
        }
        if (!scope_set(e, id, v)) return false;
    }
    return true;
}

bool macro_call(ev *e, const macro *m, const cargs *a, val *out) {
    scope *outer = e->sc;
    sbuf b = {0}, *before = e->out;
    val shown = val_str(SV("None"));
    if (m->def->kind == N_MACRO && !val_repr_of(e, val_str(m->def->id->s), &shown)) return false;
    if (!scope_push(e, m->closure)) return false;
    if (!bind_special(e, m->def, a, val_sv(shown)) || !bind_params(e, m->def, a)) return false;
    e->out = &b;
    bool ok = exec_body(e, &m->def->body);
    e->out = before;
    e->sc = outer;
    *out = sb_done(&b);
    return ok;
}
