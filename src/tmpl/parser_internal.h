/* State shared by the two halves of the parser: parser.c (expressions) and parse_stmt.c (statements). */
#ifndef GAVEL_TMPL_PARSER_INTERNAL_H
#define GAVEL_TMPL_PARSER_INTERNAL_H

#include "tmpl/tmpl_internal.h"

typedef struct parser {
    tmpl *t;
    const token *tok; /* the current one */
    gv_err *err;
    int depth;
    int soft;         /* open {% if %} tags */
    int loops;        /* open {% for %} bodies of this macro */
    unsigned special; /* MACRO_CALLER | ...: seen since the innermost macro began */
    const struct open_block *open;
} parser;

typedef struct open_block { /* a tag whose end is awaited, for messages */
    const char *tag, *const *ends;
    const struct open_block *up;
} open_block;

static inline bool tok_is_name(const token *t, const char *s) {
    return t->kind == TK_NAME && sv_is(t->text, s);
}
static inline bool cur_name(const parser *p, const char *s) {
    return tok_is_name(p->tok, s);
}
/* Steps on; the final TK_EOF stays. */
static inline const token *next_tok(parser *p) {
    return p->tok->kind == TK_EOF ? p->tok : p->tok++;
}

bool parser_fail(parser *p, int line, const char *fmt, ...) GV_PRINTF(3, 4);
/* What a message calls the token: a name's text, else its kind. */
sv parser_describe(const token *t);
bool parser_expect(parser *p, tok_kind k);
bool parser_expect_name(parser *p, const char *s);
bool parser_skip(parser *p, tok_kind k);
bool parser_skip_name(parser *p, const char *s);
bool parser_enter(parser *p); /* one level deeper; GV_LIMIT */

node *parser_node(parser *p, node_kind k, int line);
/* Appends child (may be NULL) and keeps n's depth. */
void parser_add(parser *p, nodes *v, node *child);
/* Sets n->depth from its children; false over TMPL_MAX_NODE_DEPTH. */
bool parser_close(parser *p, node *n);
const symbol *parser_intern(parser *p, sv s);

/* All return NULL with the error set. */
node *parser_expression(parser *p, bool with_cond);
node *parser_primary(parser *p, bool with_namespace);
typedef struct tuple_opts {
    bool simplified, no_cond, parens, with_namespace;
} tuple_opts;
node *parser_tuple(parser *p, tuple_opts o);
node *parser_filter(parser *p, node *input, bool start_inline, bool *ok);

#endif
