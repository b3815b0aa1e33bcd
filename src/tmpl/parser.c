/* Parser of expressions, following jinja2/parser.py: precedence from low to high is  if-else, or, and, not, comparison and in, + -, ~,
 * * / // %, **, unary + -, then subscripts, calls, filters and tests.  Recursion and the height of the tree are bounded, so hostile
 * nesting is an error (GV_LIMIT), not a deep C stack. */
#include "tmpl/parser_internal.h"

bool parser_fail(parser *p, int line, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return lex_fail(p->err, line, "%s", text);
}

sv parser_describe(const token *t) {
    return t->kind == TK_NAME ? sv_sub(t->text, 0, 60) : sv_of(lex_kind_name(t->kind));
}

static bool fail_expected(parser *p, const char *want) {
    if (p->tok->kind == TK_EOF) return parser_fail(p, p->tok->line, "unexpected end of template, expected '%s'.", want);
    return parser_fail(p, p->tok->line, "expected token '%s', got '" SV_FMT "'", want, SV_ARG(parser_describe(p->tok)));
}

bool parser_expect(parser *p, tok_kind k) {
    if (p->tok->kind != k) return fail_expected(p, lex_kind_name(k));
    next_tok(p);
    return true;
}

bool parser_expect_name(parser *p, const char *s) {
    if (!cur_name(p, s)) return fail_expected(p, s);
    next_tok(p);
    return true;
}

bool parser_skip(parser *p, tok_kind k) {
    if (p->tok->kind != k) return false;
    next_tok(p);
    return true;
}

bool parser_skip_name(parser *p, const char *s) {
    if (!cur_name(p, s)) return false;
    next_tok(p);
    return true;
}

bool parser_enter(parser *p) {
    if (p->depth == TMPL_MAX_PARSE_DEPTH) {
        return gv_fail(p->err, GV_LIMIT, p->tok->line, "template nesting over %d levels", TMPL_MAX_PARSE_DEPTH);
    }
    p->depth++;
    return true;
}

node *parser_node(parser *p, node_kind k, int line) {
    node *n = arena_alloc(&p->t->mem, sizeof *n);
    memset(n, 0, sizeof *n);
    n->kind = (uint8_t)k;
    n->line = line;
    n->depth = 1;
    return n;
}

void parser_add(parser *p, nodes *v, node *child) {
    if (v->n == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 4;
        node **w = arena_alloc(&p->t->mem, cap * sizeof *w);
        if (v->n) memcpy(w, v->v, v->n * sizeof *w);
        v->v = w;
        v->cap = cap;
    }
    v->v[v->n++] = child;
}

static int deepest(const nodes *v, int d) {
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->v[i] && v->v[i]->depth > d) d = v->v[i]->depth;
    }
    return d;
}

static int deeper(const node *n, int d) {
    return n && n->depth > d ? n->depth : d;
}

bool parser_close(parser *p, node *n) {
    int d = deeper(n->c, deeper(n->b, deeper(n->a, 0)));
    d = deepest(&n->body2, deepest(&n->body, deepest(&n->items2, deepest(&n->items, d))));
    if (n->args) {
        d = deeper(n->args->dstar, deeper(n->args->star, deepest(&n->args->pos, d)));
        for (uint32_t i = 0; i < n->args->n_kw; i++) d = deeper(n->args->kw[i].value, d);
    }
    n->depth = d + 1;
    if (n->depth > TMPL_MAX_NODE_DEPTH) {
        return gv_fail(p->err, GV_LIMIT, n->line, "expression or block higher than %d levels", TMPL_MAX_NODE_DEPTH);
    }
    return true;
}

static node *closed(parser *p, node *n) {
    return parser_close(p, n) ? n : NULL;
}

static size_t name_hash(sv s) {
    size_t h = 1469598103934665603u;
    for (size_t i = 0; i < s.n; i++) h = (h ^ (uint8_t)s.p[i]) * 1099511628211u;
    return h;
}

const symbol *tmpl_find_name(const tmpl *t, sv s) {
    if (!t->table_size) return NULL;
    for (const symbol *n = t->table[name_hash(s) & (t->table_size - 1)]; n; n = n->next) {
        if (sv_eq(n->s, s)) return n;
    }
    return NULL;
}

const symbol *parser_intern(parser *p, sv s) {
    const symbol *have = tmpl_find_name(p->t, s);
    if (have) return have;
    symbol *n = arena_alloc(&p->t->mem, sizeof *n);
    size_t slot = name_hash(s) & (p->t->table_size - 1);
    *n = (symbol){s, p->t->table[slot]};
    p->t->table[slot] = n;
    return n;
}

/* Left-associative chain of binary operators. */
static node *binary(parser *p, node_kind kind, tok_kind op, node *l, node *r, int line) {
    if (!r) return NULL;
    node *n = parser_node(p, kind, line);
    n->op = (uint8_t)op;
    n->a = l;
    n->b = r;
    return closed(p, n);
}

static bool parse_args(parser *p, call_args *a) {
    int line = p->tok->line;
    if (!parser_expect(p, TK_LPAREN)) return false;
    bool comma = false;
    while (p->tok->kind != TK_RPAREN) {
        if (comma) {
            if (!parser_expect(p, TK_COMMA)) return false;
            if (p->tok->kind == TK_RPAREN) break;
        }
        comma = true;
        bool ok;
        if (p->tok->kind == TK_MUL) {
            ok = !a->star && !a->dstar;
            next_tok(p);
            if (ok && !(a->star = parser_expression(p, true))) return false;
        } else if (p->tok->kind == TK_POW) {
            ok = !a->dstar;
            next_tok(p);
            if (ok && !(a->dstar = parser_expression(p, true))) return false;
        } else if (p->tok->kind == TK_NAME && p->tok[1].kind == TK_ASSIGN) {
            ok = !a->dstar;
            sv key = p->tok->text;
            next_tok(p);
            next_tok(p);
            node *v = ok ? parser_expression(p, true) : NULL;
            if (ok && !v) return false;
            if (a->n_kw == a->cap_kw) {
                uint32_t cap = a->cap_kw ? a->cap_kw * 2 : 4;
                kwarg *w = arena_alloc(&p->t->mem, cap * sizeof *w);
                if (a->n_kw) memcpy(w, a->kw, a->n_kw * sizeof *w);
                a->kw = w;
                a->cap_kw = cap;
            }
            a->kw[a->n_kw++] = (kwarg){key, v};
        } else {
            ok = !a->star && !a->dstar && !a->n_kw;
            node *v = ok ? parser_expression(p, true) : NULL;
            if (ok && !v) return false;
            parser_add(p, &a->pos, v);
        }
        if (!ok) return parser_fail(p, line, "invalid syntax for function call expression");
    }
    return parser_expect(p, TK_RPAREN);
}

static call_args *new_args(parser *p) {
    call_args *a = arena_alloc(&p->t->mem, sizeof *a);
    memset(a, 0, sizeof *a);
    return a;
}

static node *parse_call(parser *p, node *callee) {
    node *n = parser_node(p, N_CALL, p->tok->line);
    n->a = callee;
    n->args = new_args(p);
    if (!parse_args(p, n->args)) return NULL;
    return closed(p, n);
}

/* x[...]: one index or slice; several make a tuple. */
static node *parse_subscribed(parser *p) {
    node *n = parser_node(p, N_SLICE, p->tok->line);
    if (p->tok->kind != TK_COLON) {
        n->a = parser_expression(p, true);
        if (!n->a || p->tok->kind != TK_COLON) return n->a;
    }
    next_tok(p);
    tok_kind k = p->tok->kind;
    if (k != TK_COLON && k != TK_RBRACKET && k != TK_COMMA && !(n->b = parser_expression(p, true))) return NULL;
    if (parser_skip(p, TK_COLON)) {
        k = p->tok->kind;
        if (k != TK_RBRACKET && k != TK_COMMA && !(n->c = parser_expression(p, true))) return NULL;
    }
    return closed(p, n);
}

static node *const_node(parser *p, val v, int line) {
    node *n = parser_node(p, N_CONST, line);
    n->value = v;
    return n;
}

static node *parse_subscript(parser *p, node *obj) {
    int line = next_tok(p)->line;
    if (p->tok[-1].kind == TK_DOT) {
        const token *t = next_tok(p);
        node *n = parser_node(p, t->kind == TK_NAME ? N_ATTR : N_ITEM, line);
        n->a = obj;
        if (t->kind == TK_NAME) {
            n->str = t->text;
        } else if (t->kind == TK_INT) {
            n->b = const_node(p, val_int(t->i), line);
        } else {
            parser_fail(p, t->line, "expected name or number");
            return NULL;
        }
        return closed(p, n);
    }
    node *n = parser_node(p, N_ITEM, line), *tuple = parser_node(p, N_TUPLE, line);
    n->a = obj;
    while (p->tok->kind != TK_RBRACKET) {
        if (tuple->items.n && !parser_expect(p, TK_COMMA)) return NULL;
        node *arg = parse_subscribed(p);
        if (!arg) return NULL;
        parser_add(p, &tuple->items, arg);
    }
    next_tok(p);
    n->b = tuple->items.n == 1 ? tuple->items.v[0] : closed(p, tuple);
    return n->b ? closed(p, n) : NULL;
}

static node *parse_postfix(parser *p, node *n) {
    while (n) {
        if (p->tok->kind == TK_DOT || p->tok->kind == TK_LBRACKET) {
            n = parse_subscript(p, n);
        } else if (p->tok->kind == TK_LPAREN) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

/* NAME(.NAME)* of a filter or test. */
static bool parse_dotted(parser *p, sv *out) {
    *out = p->tok->text;
    if (!parser_expect(p, TK_NAME)) return false;
    while (parser_skip(p, TK_DOT)) {
        sv more = p->tok->text;
        if (!parser_expect(p, TK_NAME)) return false;
        char *s = arena_alloc(&p->t->mem, out->n + more.n + 2);
        memcpy(s, out->p, out->n);
        s[out->n] = '.';
        memcpy(s + out->n + 1, more.p, more.n);
        *out = (sv){s, out->n + 1 + more.n};
    }
    return true;
}

/* A filter or test outside the subset, and an unknown one inside {% if %}, fail when they are evaluated; an unknown one elsewhere now. */
static bool resolve(parser *p, node *n, const char *what, int id) {
    n->op = (uint8_t)(id >= 0 ? id : id == -2 ? OP_UNSUPPORTED : OP_UNKNOWN);
    if (id != -1 || p->soft) return true;
    sv s = sv_sub(n->str, 0, 60);
    return gv_fail(p->err, GV_FORMAT, n->line, "TemplateAssertionError: No %s named '" SV_FMT "'.", what, SV_ARG(s));
}

node *parser_filter(parser *p, node *input, bool start_inline, bool *ok) {
    *ok = false;
    while (p->tok->kind == TK_PIPE || start_inline) {
        if (!start_inline) next_tok(p);
        start_inline = false;
        node *n = parser_node(p, N_FILTER, p->tok->line);
        n->a = input;
        n->args = new_args(p);
        if (!parse_dotted(p, &n->str) || !resolve(p, n, "filter", filter_find(n->str))) return NULL;
        if (p->tok->kind == TK_LPAREN && !parse_args(p, n->args)) return NULL;
        if (!parser_close(p, n)) return NULL;
        input = n;
    }
    *ok = true;
    return input;
}

static node *parse_test(parser *p, node *input) {
    int line = next_tok(p)->line;
    bool negated = parser_skip_name(p, "not");
    node *n = parser_node(p, N_TEST, line);
    n->a = input;
    n->args = new_args(p);
    if (!parse_dotted(p, &n->str) || !resolve(p, n, "test", test_find(n->str))) return NULL;
    tok_kind k = p->tok->kind;
    if (k == TK_LPAREN) {
        if (!parse_args(p, n->args)) return NULL;
    } else if ((k == TK_NAME || k == TK_STRING || k == TK_INT || k == TK_FLOAT || k == TK_LBRACKET || k == TK_LBRACE) &&
               !cur_name(p, "else") && !cur_name(p, "or") && !cur_name(p, "and")) {
        if (cur_name(p, "is")) {
            parser_fail(p, p->tok->line, "You cannot chain multiple tests with is");
            return NULL;
        }
        node *arg = parse_postfix(p, parser_primary(p, false));
        if (!arg) return NULL;
        parser_add(p, &n->args->pos, arg);
    }
    if (!parser_close(p, n)) return NULL;
    if (!negated) return n;
    node *neg = parser_node(p, N_NOT, line);
    neg->a = n;
    return closed(p, neg);
}

static node *parse_filter_expr(parser *p, node *n) {
    while (n) {
        bool ok = true;
        if (p->tok->kind == TK_PIPE) {
            n = parser_filter(p, n, false, &ok);
            if (!ok) return NULL;
        } else if (cur_name(p, "is")) {
            n = parse_test(p, n);
        } else if (p->tok->kind == TK_LPAREN) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

static node *parse_unary(parser *p, bool with_filter) {
    tok_kind k = p->tok->kind;
    node *n;
    if (k == TK_SUB || k == TK_ADD) {
        n = parser_node(p, k == TK_SUB ? N_NEG : N_POS, next_tok(p)->line);
        if (!parser_enter(p) || !(n->a = parse_unary(p, false))) return NULL;
        p->depth--;
        n = closed(p, n);
    } else {
        n = parser_primary(p, false);
    }
    n = parse_postfix(p, n);
    return with_filter ? parse_filter_expr(p, n) : n;
}

static node *parse_pow(parser *p) {
    int line = p->tok->line;
    node *l = parse_unary(p, true);
    while (l && parser_skip(p, TK_POW)) {
        l = binary(p, N_BINARY, TK_POW, l, parse_unary(p, true), line);
        line = p->tok->line;
    }
    return l;
}

static node *parse_math2(parser *p) {
    int line = p->tok->line;
    node *l = parse_pow(p);
    while (l) {
        tok_kind k = p->tok->kind;
        if (k != TK_MUL && k != TK_DIV && k != TK_FLOORDIV && k != TK_MOD) break;
        next_tok(p);
        l = binary(p, N_BINARY, k, l, parse_pow(p), line);
        line = p->tok->line;
    }
    return l;
}

static node *parse_concat(parser *p) {
    node *n = parser_node(p, N_CONCAT, p->tok->line), *l = parse_math2(p);
    if (!l || p->tok->kind != TK_TILDE) return l;
    parser_add(p, &n->items, l);
    while (parser_skip(p, TK_TILDE)) {
        if (!(l = parse_math2(p))) return NULL;
        parser_add(p, &n->items, l);
    }
    return closed(p, n);
}

static node *parse_math1(parser *p) {
    int line = p->tok->line;
    node *l = parse_concat(p);
    while (l && (p->tok->kind == TK_ADD || p->tok->kind == TK_SUB)) {
        tok_kind k = next_tok(p)->kind;
        l = binary(p, N_BINARY, k, l, parse_concat(p), line);
        line = p->tok->line;
    }
    return l;
}

/* The comparison operator at the current token, skipped; -1 if there is none. */
static int skip_compare(parser *p) {
    tok_kind k = p->tok->kind;
    if (k >= TK_EQ && k <= TK_GE) {
        next_tok(p);
        return CMP_EQ + (int)(k - TK_EQ);
    }
    if (parser_skip_name(p, "in")) return CMP_IN;
    if (cur_name(p, "not") && tok_is_name(p->tok + 1, "in")) {
        next_tok(p);
        next_tok(p);
        return CMP_NOTIN;
    }
    return -1;
}

static node *parse_compare(parser *p) {
    node *n = parser_node(p, N_COMPARE, p->tok->line);
    if (!(n->a = parse_math1(p))) return NULL;
    uint32_t cap = 0;
    for (int op; (op = skip_compare(p)) >= 0;) {
        node *r = parse_math1(p);
        if (!r) return NULL;
        if (n->items.n == cap) {
            uint8_t *w = arena_alloc(&p->t->mem, cap ? cap * 2 : 4);
            if (cap) memcpy(w, n->ops, cap);
            cap = cap ? cap * 2 : 4;
            n->ops = w;
        }
        n->ops[n->items.n] = (uint8_t)op;
        parser_add(p, &n->items, r);
    }
    return n->items.n ? closed(p, n) : n->a;
}

static node *parse_not(parser *p) {
    if (!cur_name(p, "not")) return parse_compare(p);
    node *n = parser_node(p, N_NOT, next_tok(p)->line);
    if (!parser_enter(p) || !(n->a = parse_not(p))) return NULL;
    p->depth--;
    return closed(p, n);
}

static node *parse_and(parser *p) {
    int line = p->tok->line;
    node *l = parse_not(p);
    while (l && parser_skip_name(p, "and")) {
        l = binary(p, N_AND, TK_EOF, l, parse_not(p), line);
        line = p->tok->line;
    }
    return l;
}

static node *parse_or(parser *p) {
    int line = p->tok->line;
    node *l = parse_and(p);
    while (l && parser_skip_name(p, "or")) {
        l = binary(p, N_OR, TK_EOF, l, parse_and(p), line);
        line = p->tok->line;
    }
    return l;
}

node *parser_expression(parser *p, bool with_cond) {
    if (!parser_enter(p)) return NULL;
    int line = p->tok->line;
    node *l = parse_or(p);
    while (with_cond && l && parser_skip_name(p, "if")) {
        node *n = parser_node(p, N_COND, line);
        n->a = l;
        if (!(n->b = parse_or(p))) return NULL;
        if (parser_skip_name(p, "else") && !(n->c = parser_expression(p, true))) return NULL;
        l = closed(p, n);
        line = p->tok->line;
    }
    p->depth--;
    return l;
}

node *parser_tuple(parser *p, tuple_opts o) {
    node *n = parser_node(p, N_TUPLE, p->tok->line);
    bool is_tuple = false;
    for (;;) {
        if (n->items.n && !parser_expect(p, TK_COMMA)) return NULL;
        tok_kind k = p->tok->kind;
        if (k == TK_VAR_END || k == TK_BLOCK_END || k == TK_RPAREN) break;
        node *x = o.simplified ? parser_primary(p, o.with_namespace) : parser_expression(p, !o.no_cond);
        if (!x) return NULL;
        parser_add(p, &n->items, x);
        if (p->tok->kind != TK_COMMA) break;
        is_tuple = true;
    }
    if (!is_tuple) {
        if (n->items.n) return n->items.v[0];
        if (!o.parens) {
            parser_fail(p, p->tok->line, "Expected an expression, got '" SV_FMT "'", SV_ARG(parser_describe(p->tok)));
            return NULL;
        }
    }
    return closed(p, n);
}

static node *parse_list(parser *p) {
    node *n = parser_node(p, N_LIST, next_tok(p)->line);
    while (p->tok->kind != TK_RBRACKET) {
        if (n->items.n && !parser_expect(p, TK_COMMA)) return NULL;
        if (p->tok->kind == TK_RBRACKET) break;
        node *x = parser_expression(p, true);
        if (!x) return NULL;
        parser_add(p, &n->items, x);
    }
    return parser_expect(p, TK_RBRACKET) ? closed(p, n) : NULL;
}

static node *parse_dict(parser *p) {
    node *n = parser_node(p, N_DICT, next_tok(p)->line);
    while (p->tok->kind != TK_RBRACE) {
        if (n->items.n && !parser_expect(p, TK_COMMA)) return NULL;
        if (p->tok->kind == TK_RBRACE) break;
        node *k = parser_expression(p, true);
        if (!k || !parser_expect(p, TK_COLON)) return NULL;
        node *v = parser_expression(p, true);
        if (!v) return NULL;
        parser_add(p, &n->items, k);
        parser_add(p, &n->items, v);
    }
    return parser_expect(p, TK_RBRACE) ? closed(p, n) : NULL;
}

static node *parse_name(parser *p, bool with_namespace) {
    const token *t = next_tok(p);
    if (sv_is(t->text, "true") || sv_is(t->text, "True")) return const_node(p, val_bool(true), t->line);
    if (sv_is(t->text, "false") || sv_is(t->text, "False")) return const_node(p, val_bool(false), t->line);
    if (sv_is(t->text, "none") || sv_is(t->text, "None")) return const_node(p, val_none(), t->line);
    node *n = parser_node(p, N_NAME, t->line);
    n->id = parser_intern(p, t->text);
    if (sv_is(t->text, "caller")) p->special |= MACRO_CALLER;
    if (sv_is(t->text, "kwargs")) p->special |= MACRO_KWARGS;
    if (sv_is(t->text, "varargs")) p->special |= MACRO_VARARGS;
    if (with_namespace && parser_skip(p, TK_DOT)) {
        n->kind = N_NSREF;
        n->str = p->tok->text;
        if (!parser_expect(p, TK_NAME)) return NULL;
    }
    return n;
}

static node *parse_string(parser *p) {
    const token *t = next_tok(p);
    if (p->tok->kind != TK_STRING) return const_node(p, val_str(t->text), t->line);
    buf b = {0};
    buf_add_sv(&b, t->text);
    while (p->tok->kind == TK_STRING) buf_add_sv(&b, next_tok(p)->text);
    sv s = {arena_dup(&p->t->mem, b.p ? b.p : "", b.n), b.n};
    buf_fini(&b);
    return const_node(p, val_str(s), t->line);
}

node *parser_primary(parser *p, bool with_namespace) {
    const token *t = p->tok;
    if (!parser_enter(p)) return NULL;
    node *n = NULL;
    switch (t->kind) {
    case TK_NAME: n = parse_name(p, with_namespace); break;
    case TK_STRING: n = parse_string(p); break;
    case TK_INT: n = const_node(p, val_int(next_tok(p)->i), t->line); break;
    case TK_FLOAT: n = const_node(p, val_float(next_tok(p)->f), t->line); break;
    case TK_LPAREN:
        next_tok(p);
        n = parser_tuple(p, (tuple_opts){.parens = true});
        if (n && !parser_expect(p, TK_RPAREN)) n = NULL;
        break;
    case TK_LBRACKET: n = parse_list(p); break;
    case TK_LBRACE: n = parse_dict(p); break;
    default: parser_fail(p, t->line, "unexpected '" SV_FMT "'", SV_ARG(parser_describe(t)));
    }
    p->depth--;
    return n;
}
