/* Parser of statements: text, {{ }}, if, for, set, macro, call, filter, with, generation, break and continue.
 *
 * {% generation %} is transformers' mark of assistant text: its body in a scope of its own.  Tags Jinja knows and chat templates do not
 * use (block, extends, include, import, from, autoescape, print, recursive loops) are GV_UNSUPPORTED by name. */
#include "tmpl/parser_internal.h"

static bool parse_body(parser *p, nodes *out, const char *const *ends, const char *tag);

static void add_quoted(buf *b, const char *const *names) {
    for (size_t i = 0; names[i]; i++) buf_printf(b, "%s'%s'", i ? " or " : "", names[i]);
}

static bool is_one_of(sv s, const char *const *names) {
    for (size_t i = 0; names[i]; i++) {
        if (sv_is(s, names[i])) return true;
    }
    return false;
}

/* Message of an unknown tag (p NULL: end of the template), as Jinja's _fail_ut_eof. */
static bool fail_tag(parser *p, sv tag, int line) {
    buf b = {0};
    bool expected = false;
    for (const open_block *o = p->open; o; o = o->up) expected |= tag.p && is_one_of(tag, o->ends);
    if (tag.p) {
        buf_printf(&b, "Encountered unknown tag '" SV_FMT "'.", SV_ARG(sv_sub(tag, 0, 60)));
    } else {
        buf_add_str(&b, "Unexpected end of template.");
    }
    if (p->open) {
        buf_add_str(&b, expected ? " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for "
                                 : " Jinja was looking for the following tags: ");
        add_quoted(&b, p->open->ends);
        buf_printf(&b, ". The innermost block that needs to be closed is '%s'.", p->open->tag);
    }
    parser_fail(p, line, "%s", b.p);
    buf_fini(&b);
    return false;
}

/* ": tag" statements up to one of ends, which stays the current token's predecessor: after this the end name is consumed. */
static bool parse_statements(parser *p, nodes *out, const char *const *ends, const char *tag, sv *found) {
    parser_skip(p, TK_COLON);
    if (!parser_expect(p, TK_BLOCK_END) || !parser_enter(p) || !parse_body(p, out, ends, tag)) return false;
    p->depth--;
    *found = next_tok(p)->text;
    return true;
}

static bool parse_until(parser *p, nodes *out, const char *end, const char *tag) {
    const char *const ends[] = {end, NULL};
    sv found;
    return parse_statements(p, out, ends, tag, &found);
}

static bool can_assign(parser *p, const node *n) {
    static const struct {
        node_kind kind;
        const char *name;
    } names[] = {{N_CONST, "const"},     {N_LIST, "list"},    {N_DICT, "dict"},     {N_COND, "condexpr"},
                 {N_COMPARE, "compare"}, {N_CALL, "call"},    {N_FILTER, "filter"}, {N_TEST, "test"},
                 {N_ATTR, "getattr"},    {N_ITEM, "getitem"}, {N_CONCAT, "concat"}};
    if (n->kind == N_NAME || n->kind == N_NSREF) return true;
    bool tuple_ok = n->kind == N_TUPLE;
    for (uint32_t i = 0; tuple_ok && i < n->items.n; i++) {
        const node *x = n->items.v[i];
        tuple_ok = x->kind == N_NAME || x->kind == N_NSREF || (x->kind == N_TUPLE && can_assign(p, x));
    }
    if (tuple_ok) return true;
    if (p->err && p->err->code != GV_OK) return false;
    const char *what = n->kind == N_TUPLE ? "tuple" : "expression";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind == n->kind) what = names[i].name;
    }
    return parser_fail(p, n->line, "can't assign to '%s'", what);
}

static node *parse_target(parser *p, bool with_namespace) {
    node *n = parser_tuple(p, (tuple_opts){.simplified = true, .with_namespace = with_namespace});
    return n && can_assign(p, n) ? n : NULL;
}

static node *closed(parser *p, node *n) {
    return parser_close(p, n) ? n : NULL;
}

static node *parse_for(parser *p, node *n) {
    static const char *const ends[] = {"endfor", "else", NULL};
    if (!(n->a = parse_target(p, false)) || !parser_expect_name(p, "in")) return NULL;
    if (!(n->b = parser_tuple(p, (tuple_opts){.no_cond = true}))) return NULL;
    if (parser_skip_name(p, "if") && !(n->c = parser_expression(p, true))) return NULL;
    if (cur_name(p, "recursive")) {
        gv_fail(p->err, GV_UNSUPPORTED, n->line, "recursive for loops are not supported");
        return NULL;
    }
    sv found;
    p->loops++;
    if (!parse_statements(p, &n->body, ends, "for", &found)) return NULL;
    p->loops--;
    if (sv_is(found, "else") && !parse_until(p, &n->body2, "endfor", "for")) return NULL;
    return closed(p, n);
}

static node *parse_if(parser *p, node *n) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    p->soft++;
    for (;;) {
        node *clause = parser_node(p, N_IF, p->tok->line);
        if (!(clause->a = parser_tuple(p, (tuple_opts){.no_cond = true}))) return NULL;
        sv found;
        if (!parse_statements(p, &clause->body, ends, "if", &found) || !parser_close(p, clause)) return NULL;
        parser_add(p, &n->items, clause);
        if (sv_is(found, "elif")) continue;
        if (sv_is(found, "else")) {
            clause = parser_node(p, N_IF, p->tok->line);
            if (!parse_until(p, &clause->body, "endif", "if") || !parser_close(p, clause)) return NULL;
            parser_add(p, &n->items, clause);
        }
        p->soft--;
        return closed(p, n);
    }
}

static node *parse_set(parser *p, node *n) {
    if (!(n->a = parse_target(p, true))) return NULL;
    if (parser_skip(p, TK_ASSIGN)) {
        n->kind = N_SET;
        return (n->b = parser_tuple(p, (tuple_opts){0})) ? closed(p, n) : NULL;
    }
    bool ok;
    n->kind = N_SETBLOCK;
    n->b = parser_filter(p, NULL, false, &ok);
    if (!ok || !parse_until(p, &n->body, "endset", "set")) return NULL;
    return closed(p, n);
}

static bool parse_signature(parser *p, node *n) {
    if (!parser_expect(p, TK_LPAREN)) return false;
    while (p->tok->kind != TK_RPAREN) {
        if (n->items.n && !parser_expect(p, TK_COMMA)) return false;
        node *arg = parser_node(p, N_NAME, p->tok->line);
        sv s = p->tok->text;
        if (!parser_expect(p, TK_NAME)) return false;
        arg->id = parser_intern(p, s);
        if (parser_skip(p, TK_ASSIGN)) {
            node *d = parser_expression(p, true);
            if (!d) return false;
            parser_add(p, &n->items2, d);
        } else if (n->items2.n) {
            return parser_fail(p, p->tok->line, "non-default argument follows default argument");
        }
        parser_add(p, &n->items, arg);
    }
    return parser_expect(p, TK_RPAREN);
}

/* The body of a macro or call block: loops of the outside cannot be left from it, and the special names it mentions are noted. */
static node *parse_macro_body(parser *p, node *n, const char *end, const char *tag) {
    int loops = p->loops;
    unsigned special = p->special;
    p->loops = 0;
    p->special = 0;
    if (!parse_until(p, &n->body, end, tag)) return NULL;
    n->op = (uint8_t)p->special;
    p->special |= special;
    p->loops = loops;
    return closed(p, n);
}

static node *parse_macro(parser *p, node *n) {
    sv s = p->tok->text;
    if (!parser_expect(p, TK_NAME)) return NULL;
    n->id = parser_intern(p, s);
    if (!parse_signature(p, n)) return NULL;
    return parse_macro_body(p, n, "endmacro", "macro");
}

static node *parse_call_block(parser *p, node *n) {
    if (p->tok->kind == TK_LPAREN && !parse_signature(p, n)) return NULL;
    if (!(n->a = parser_expression(p, true))) return NULL;
    if (n->a->kind != N_CALL) {
        parser_fail(p, n->line, "expected call");
        return NULL;
    }
    return parse_macro_body(p, n, "endcall", "call");
}

static node *parse_filter_block(parser *p, node *n) {
    bool ok;
    n->b = parser_filter(p, NULL, true, &ok);
    if (!ok || !parse_until(p, &n->body, "endfilter", "filter")) return NULL;
    return closed(p, n);
}

static node *parse_with(parser *p, node *n) {
    while (p->tok->kind != TK_BLOCK_END) {
        if (n->items.n && !parser_expect(p, TK_COMMA)) return NULL;
        node *target = parser_primary(p, false);
        if (!target || !can_assign(p, target) || !parser_expect(p, TK_ASSIGN)) return NULL;
        node *value = parser_expression(p, true);
        if (!value) return NULL;
        parser_add(p, &n->items, target);
        parser_add(p, &n->items, value);
    }
    return parse_until(p, &n->body, "endwith", "with") ? closed(p, n) : NULL;
}

static node *parse_generation(parser *p, node *n) {
    return parse_until(p, &n->body, "endgeneration", "generation") ? closed(p, n) : NULL;
}

static node *parse_jump(parser *p, node *n) {
    if (p->loops) return n;
    parser_fail(p, n->line, "'%s' outside loop", n->kind == N_BREAK ? "break" : "continue");
    return NULL;
}

static node *parse_statement(parser *p) {
    static const struct {
        const char *tag;
        node_kind kind;
        node *(*parse)(parser *, node *);
    } tags[] = {{"if", N_IF, parse_if},
                {"for", N_FOR, parse_for},
                {"set", N_SET, parse_set},
                {"macro", N_MACRO, parse_macro},
                {"call", N_CALLBLOCK, parse_call_block},
                {"filter", N_FILTERBLOCK, parse_filter_block},
                {"with", N_WITH, parse_with},
                {"generation", N_SCOPE, parse_generation},
                {"break", N_BREAK, parse_jump},
                {"continue", N_CONTINUE, parse_jump}};
    static const char *const unsupported[] = {"block", "extends", "include", "import", "from", "autoescape", "print", NULL};
    const token *t = p->tok;
    if (t->kind != TK_NAME) {
        parser_fail(p, t->line, "tag name expected");
        return NULL;
    }
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (!sv_is(t->text, tags[i].tag)) continue;
        next_tok(p);
        return tags[i].parse(p, parser_node(p, tags[i].kind, t->line));
    }
    if (is_one_of(t->text, unsupported)) {
        gv_fail(p->err, GV_UNSUPPORTED, t->line, "Jinja tag '" SV_FMT "' is not supported", SV_ARG(t->text));
    } else {
        fail_tag(p, t->text, t->line);
    }
    return NULL;
}

/* Statements until {% with one of ends as tag name (the name is then the current token), or, without ends, the end of the template. */
static bool parse_nodes(parser *p, nodes *out, const char *const *ends) {
    for (;;) {
        const token *t = next_tok(p);
        node *n;
        switch (t->kind) {
        case TK_EOF: return !ends || fail_tag(p, (sv){0}, t->line);
        case TK_DATA:
            n = parser_node(p, N_TEXT, t->line);
            n->str = t->text;
            break;
        case TK_VAR_BEGIN:
            n = parser_node(p, N_OUTPUT, t->line);
            if (!(n->a = parser_tuple(p, (tuple_opts){0})) || !parser_expect(p, TK_VAR_END) || !parser_close(p, n)) return false;
            break;
        default: /* TK_BLOCK_BEGIN: the lexer makes nothing else here */
            if (ends && p->tok->kind == TK_NAME && is_one_of(p->tok->text, ends)) return true;
            if (!(n = parse_statement(p)) || !parser_expect(p, TK_BLOCK_END)) return false;
        }
        parser_add(p, out, n);
    }
}

static bool parse_body(parser *p, nodes *out, const char *const *ends, const char *tag) {
    const open_block *outer = p->open, here = {tag, ends, outer};
    if (ends) p->open = &here;
    bool ok = parse_nodes(p, out, ends);
    p->open = outer;
    return ok;
}

bool parser_run(tmpl *t, tokens *toks, gv_err *err) {
    parser p = {.t = t, .tok = toks->v, .err = err};
    return parse_body(&p, &t->body, NULL, NULL);
}
