/* Inside of the chat-template engine: tokens, syntax tree, values and the state of one render.
 *
 * Life: lexer.c makes tokens, parser.c (expressions) and parse_stmt.c (statements) the tree, all in the arena of the tmpl.  A render has
 * one ev (evaluator) with its own arena; every value lives there and nothing is freed before the end, so values are passed by copy and
 * never owned.  Every function that can fail returns bool and has set the error in ev (type and message as Python's) or gv_err (compiling).
 *
 * Taint: a string is bytes plus either one flag for all of them (user, t NULL) or a parallel array t with one flag a byte (0 or 1).
 * Operations that copy bytes copy the flags with them; slices share both arrays.  Lists, dicts and scalars carry the flag too: it marks
 * the punctuation and digits written when they are printed. */
#ifndef GAVEL_TMPL_INTERNAL_H
#define GAVEL_TMPL_INTERNAL_H

#include "base/mem.h"
#include "tmpl/tmpl.h"

#include <stdio.h>

enum {
    TMPL_MAX_SOURCE_BYTES = 1 << 20,
    TMPL_MAX_PARSE_DEPTH = 200, /* open brackets (each counts twice), blocks and prefix operators in the source */
    TMPL_MAX_NODE_DEPTH = 250,  /* height of the tree: also chains like a + b + c */
    TMPL_MAX_EVAL_DEPTH = 1000, /* nested evaluations, macro calls included */
    TMPL_MAX_VALUE_DEPTH = 200, /* nested lists and dicts when printed or compared */
};

/* ---- tokens (lexer.c) ---- */

typedef enum tok_kind {
    TK_EOF,
    TK_DATA,
    TK_VAR_BEGIN,
    TK_VAR_END,
    TK_BLOCK_BEGIN,
    TK_BLOCK_END,
    TK_NAME,
    TK_STRING,
    TK_INT,
    TK_FLOAT,
    TK_ADD,
    TK_SUB,
    TK_MUL,
    TK_DIV,
    TK_FLOORDIV,
    TK_MOD,
    TK_POW,
    TK_TILDE,
    TK_EQ,
    TK_NE,
    TK_LT,
    TK_LE,
    TK_GT,
    TK_GE,
    TK_ASSIGN,
    TK_DOT,
    TK_COLON,
    TK_PIPE,
    TK_COMMA,
    TK_SEMICOLON,
    TK_LPAREN,
    TK_RPAREN,
    TK_LBRACKET,
    TK_RBRACKET,
    TK_LBRACE,
    TK_RBRACE,
} tok_kind;

typedef struct token {
    tok_kind kind;
    int line;
    sv text; /* TK_DATA, TK_NAME, TK_STRING (escapes resolved); in the tmpl's arena */
    int64_t i;
    double f;
} token;

typedef struct tokens {
    token *v;
    size_t n, cap;
} tokens;

/* Tokens of a whole template, ending in TK_EOF.  a holds the strings; out->v is freed by the caller. */
bool lex_source(sv source, arena *a, tokens *out, gv_err *err);
/* Jinja's description of a token kind for messages: "end of statement block", "|", "name". */
const char *lex_kind_name(tok_kind k);
/* "TemplateSyntaxError: ..." with where = line; returns false. */
bool lex_fail(gv_err *err, int line, const char *fmt, ...) GV_PRINTF(3, 4);

/* ---- syntax tree (parser.c, parse_stmt.c) ---- */

typedef struct node node;
typedef struct symbol symbol; /* an interned identifier: equal names have equal pointers */
struct symbol {
    sv s;
    symbol *next;
};

typedef struct nodes {
    node **v;
    uint32_t n, cap;
} nodes;

typedef struct kwarg {
    sv key;
    node *value;
} kwarg;

typedef struct call_args {
    nodes pos;
    kwarg *kw;
    uint32_t n_kw, cap_kw;
    node *star, *dstar; /* *args, **kwargs; may be NULL */
} call_args;

typedef enum node_kind {
    /* expressions */
    N_CONST,
    N_NAME,
    N_LIST,
    N_TUPLE,
    N_DICT,
    N_ATTR,
    N_ITEM,
    N_SLICE,
    N_CALL,
    N_FILTER,
    N_TEST,
    N_NOT,
    N_NEG,
    N_POS,
    N_AND,
    N_OR,
    N_COND,
    N_COMPARE,
    N_BINARY,
    N_CONCAT,
    N_NSREF,
    /* statements */
    N_TEXT,
    N_OUTPUT,
    N_FOR,
    N_IF,
    N_SET,
    N_SETBLOCK,
    N_MACRO,
    N_CALLBLOCK,
    N_FILTERBLOCK,
    N_WITH,
    N_SCOPE,
    N_BREAK,
    N_CONTINUE,
} node_kind;

/* node.op of a filter or test that has no number. */
enum { OP_UNSUPPORTED = 254, OP_UNKNOWN = 255 };

/* Special names a macro body mentions (node.op of N_MACRO and N_CALLBLOCK). */
enum { MACRO_CALLER = 1, MACRO_KWARGS = 2, MACRO_VARARGS = 4 };

typedef enum cmp_op { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_IN, CMP_NOTIN } cmp_op;

/* ---- values (value.c) ---- */

typedef enum val_kind {
    V_MISSING, /* an argument not given; never seen by templates */
    V_UNDEF,
    V_NONE,
    V_BOOL,
    V_INT,
    V_BIG,
    V_FLOAT,
    V_STR,
    V_LIST,
    V_DICT,
    V_NS,
    V_RANGE,
    V_MACRO,
    V_METHOD,
    V_FUNC,
    V_LOOP,
    V_SLICE,
} val_kind;

typedef enum list_kind { L_LIST, L_TUPLE, L_GENERATOR, L_KEYS, L_VALUES, L_ITEMS } list_kind;

typedef struct val val;
typedef struct list list;
typedef struct dict dict;
typedef struct undef undef;
typedef struct macro macro;
typedef struct method method;
typedef struct loop_state loop_state;
typedef struct slice slice;
typedef struct range_val range_val;

struct val {
    uint8_t kind;
    bool markup; /* V_STR from the safe or escape filter: + escapes the other operand, as markupsafe.Markup does */
    bool user;   /* strings: of all bytes when t is NULL */
    uint32_t fn; /* V_FUNC: global function number */
    union {
        bool b;
        int64_t i;
        double f;
        const char *p; /* V_STR, V_BIG: bytes */
        list *l;
        dict *d; /* V_DICT, V_NS */
        const undef *u;
        macro *m;
        const method *me;
        loop_state *loop;
        const slice *sl;
        const range_val *r;
    };
    const uint8_t *t; /* V_STR: a flag a byte, or NULL */
    size_t n;         /* V_STR, V_BIG: bytes */
};

struct list {
    val *v;
    size_t n, cap;
    list_kind kind;
};

typedef struct pair {
    val key, value;
} pair;

struct dict {
    pair *v;
    size_t n, cap;
};

struct undef {       /* as jinja2.Undefined: what the message needs */
    const char *exc; /* "UndefinedError" or "SecurityError" */
    sv hint;         /* p NULL: none */
    bool has_obj;
    sv obj;  /* object_type_repr of the object: "dict object", "None" */
    val key; /* name */
};

struct slice {
    val start, stop, step;
};

struct range_val {
    int64_t start, stop, step, n;
};

/* Element i; wraps instead of overflowing, for the end of a range too. */
static inline int64_t range_at(const range_val *r, int64_t i) {
    return (int64_t)((uint64_t)r->start + (uint64_t)i * (uint64_t)r->step);
}

struct node {
    uint8_t kind;
    uint8_t op; /* cmp_op, tok_kind of a binary operator, filter or test number */
    int line;
    int depth;        /* 1 + deepest child */
    const symbol *id; /* N_NAME, N_MACRO, N_NSREF (object) */
    sv str;           /* N_ATTR, N_NSREF: attribute; N_FILTER, N_TEST: name; N_TEXT: bytes */
    node *a, *b, *c;
    nodes items;  /* elements; N_DICT: key, value, ...; N_IF: clauses (a: condition, NULL for else; body); N_WITH: target, value, ...;
                     N_COMPARE: operands; N_MACRO, N_CALLBLOCK: parameters */
    nodes items2; /* N_MACRO, N_CALLBLOCK: defaults of the last parameters */
    nodes body, body2;
    uint8_t *ops; /* N_COMPARE: items.n operators */
    call_args *args;
    val value; /* N_CONST */
};

struct tmpl {
    arena mem;
    nodes body;
    symbol **table; /* interned names, hashed */
    size_t table_size;
    char hash[65];
};

bool parser_run(tmpl *t, tokens *toks, gv_err *err);
/* NULL if the template never mentions s. */
const symbol *tmpl_find_name(const tmpl *t, sv s);
/* Number of a filter or test; -1 unknown, -2 known to Jinja but outside the subset. */
int filter_find(sv s);
int test_find(sv s);

/* ---- evaluation ---- */

typedef struct var {
    const symbol *id;
    val v;
    struct var *next;
} var;

typedef struct scope {
    struct scope *parent;
    var *vars;
} scope;

typedef struct sbuf { /* a string being built, in the render's arena */
    char *p;
    uint8_t *t;
    size_t n, cap;
    bool any, user; /* any: something was added; user: flag of all bytes while t is NULL */
} sbuf;

typedef struct ev {
    const tmpl *t;
    arena mem;
    size_t mem_left;
    int64_t steps_left;
    tmpl_limits lim;
    int depth;
    int line;
    scope *sc;
    sbuf *out;
    enum { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE } flow;
    const struct tm *now;
    /* the error, once set */
    gv_code code;
    int err_line;
    const char *err_type;
    buf err_text;
} ev;

typedef struct cargs { /* arguments of one call */
    val *pos;
    size_t n;
    pair *kw; /* keys are V_STR */
    size_t n_kw;
} cargs;

struct macro {
    const node *def; /* N_MACRO or N_CALLBLOCK */
    scope *closure;
};

struct method {
    val self;
    int id; /* of the kind of self */
};

struct loop_state {
    const list *items;
    size_t index0;
    val *last_changed; /* NULL: changed() not called yet */
};

/* errors; all return false */
bool ev_fail(ev *e, const char *type, const char *fmt, ...) GV_PRINTF(3, 4);
bool ev_fail_str(ev *e, const char *type, sv text);
bool ev_limit(ev *e, const char *fmt, ...) GV_PRINTF(2, 3);
bool ev_unsupported(ev *e, const char *fmt, ...) GV_PRINTF(2, 3);
bool ev_steps(ev *e, size_t n);               /* takes n steps */
bool ev_touch(ev *e, size_t n_bytes);         /* takes 1 step for each 64 bytes */
void *ev_alloc(ev *e, size_t n, size_t size); /* NULL: limit, error set */
bool undef_raise(ev *e, const undef *u);

/* value.c: making */
static inline val val_none(void) {
    return (val){.kind = V_NONE};
}
static inline val val_bool(bool b) {
    return (val){.kind = V_BOOL, .b = b};
}
static inline val val_int(int64_t i) {
    return (val){.kind = V_INT, .i = i};
}
static inline val val_float(double f) {
    return (val){.kind = V_FLOAT, .f = f};
}
static inline val val_str(sv s) {
    return (val){.kind = V_STR, .p = s.p ? s.p : "", .n = s.n};
}
static inline sv val_sv(val v) {
    return (sv){v.p, v.n};
}
static inline bool val_is(val v, const char *s) {
    return v.kind == V_STR && sv_is(val_sv(v), s);
}
val str_sub(val s, size_t from, size_t n);
bool val_undef_name(ev *e, sv s, val *out);             /* "'s' is undefined" */
bool val_undef_attr(ev *e, val obj, val key, val *out); /* "'dict object' has no attribute 'x'" */
bool val_undef_hint(ev *e, const char *hint, val *out);
bool val_undef_unsafe(ev *e, val obj, sv attr, val *out);
bool list_new(ev *e, list_kind kind, size_t cap, bool user, val *out);
bool list_add(ev *e, list *l, val v);
bool dict_new(ev *e, size_t cap, bool user, val *out);
bool dict_set(ev *e, dict *d, val key, val value); /* key must be hashable */
/* The entry of key in *out, NULL if absent; false on a limit. */
bool dict_find(ev *e, const dict *d, val key, pair **out);
bool val_hashable(ev *e, val key); /* TypeError "unhashable type: 'list'" */
bool val_from_json(ev *e, const json_value *j, bool user, val *out);

/* value.c: asking */
const char *val_type(val v);     /* Python's type name: "str", "NoneType" */
const char *val_obj_repr(val v); /* jinja2's object_type_repr: "dict object", "None" */
bool val_truthy(val v);
bool val_equal(ev *e, val a, val b, bool *out);
bool val_order(ev *e, cmp_op op, val a, val b, bool *out); /* < <= > >= ; TypeError as Python's */
bool val_contains(ev *e, val needle, val hay, bool *out);
bool val_length(ev *e, val v, int64_t *out);
static inline bool val_is_num(val v) {
    return v.kind == V_INT || v.kind == V_BOOL || v.kind == V_FLOAT;
}
static inline double val_num(val v) {
    return v.kind == V_FLOAT ? v.f : v.kind == V_BOOL ? (double)v.b : (double)v.i;
}
/* An int or bool as index; false if v is neither. */
static inline bool val_index(val v, int64_t *i) {
    if (v.kind != V_INT && v.kind != V_BOOL) return false;
    *i = v.kind == V_BOOL ? v.b : v.i;
    return true;
}
/* All elements of an iterable as a list (a generator is used up by it); TypeError "'int' object is not iterable". */
bool val_iterate(ev *e, val v, const list **out);

/* print.c: str(), repr(), json.dumps(); sbuf */
bool sb_add(ev *e, sbuf *b, const char *p, size_t n, bool user);
bool sb_add_val(ev *e, sbuf *b, val s); /* V_STR with its flags */
static inline bool sb_add_lit(ev *e, sbuf *b, const char *s, bool user) {
    return sb_add(e, b, s, strlen(s), user);
}
val sb_done(const sbuf *b);
bool val_str_of(ev *e, val v, val *out); /* str(v) */
bool val_repr_of(ev *e, val v, val *out);
bool sb_add_str_of(ev *e, sbuf *b, val v);
size_t float_repr(double f, char out[40]);
typedef struct json_style {
    val indent; /* V_MISSING or None: one line; else the text of one level */
    val item_sep, key_sep;
    bool ensure_ascii, sort_keys, indented;
} json_style;
bool val_to_json(ev *e, val v, const json_style *st, val *out);

/* text.c: string operations on code points */
bool cp_is_space(uint32_t c);
bool cp_printable(uint32_t c);
int32_t cp_next(sv s, size_t *pos); /* a malformed byte is -1 and one long */
size_t str_cp_count(sv s);
size_t str_cp_offset(sv s, size_t k); /* byte offset of code point k; s.n at the end */
val str_strip_space(val s, bool left, bool right);
bool str_strip(ev *e, val s, bool left, bool right, const val *chars, val *out); /* chars NULL: white space */
bool str_reversed_bytes(ev *e, val s, sv *out);
typedef enum case_op { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITALIZE, CASE_SWAP } case_op;
bool str_case(ev *e, val s, case_op op, val *out);
bool str_title_filter(ev *e, val s, val *out);
bool str_replace(ev *e, val s, val from, val to, int64_t count, val *out);
bool str_split(ev *e, val s, const val *sep, int64_t max, bool from_right, val *out);
bool str_splitlines(ev *e, val s, bool keep, val *out);
bool str_html_escape(ev *e, val s, val *out); /* & < > ' " ; the result is markup */
bool str_repeat(ev *e, val s, int64_t n, val *out);
bool str_slice(ev *e, val s, int64_t start, int64_t step, size_t count, val *out);
typedef enum is_op { IS_ALPHA, IS_DIGIT, IS_NUMERIC, IS_DECIMAL, IS_ALNUM, IS_SPACE, IS_UPPER, IS_LOWER, IS_TITLE, IS_ASCII } is_op;
bool str_is(sv s, is_op op);

/* format.c */
bool str_format_percent(ev *e, val fmt, val args, val *out);
bool str_format_braces(ev *e, val fmt, const cargs *a, val *out);
/* Python's int(text, base) and float(text): false if text is no number. */
bool text_to_int(sv s, int base, int64_t *out, bool *too_big);
bool text_to_float(sv s, double *out);

/* ops.c */
bool op_binary(ev *e, tok_kind op, val a, val b, val *out);
bool op_negate(ev *e, val v, bool minus, val *out);
bool op_getattr(ev *e, val obj, sv attr, val *out);
bool op_getitem(ev *e, val obj, val key, val *out);

/* eval.c */
bool eval_expr(ev *e, const node *n, val *out);
bool eval_filter_chain(ev *e, const node *n, val input, val *out); /* {% filter %}, {% set x | f %} */

/* exec.c */
bool exec_body(ev *e, const nodes *body);
bool macro_call(ev *e, const macro *m, const cargs *a, val *out);
bool scope_push(ev *e, scope *parent);
bool scope_set(ev *e, const symbol *id, val v);
const val *scope_get(ev *e, const symbol *id); /* NULL: nowhere set */

/* call.c: methods, globals; arguments */
int method_find(val obj, sv name, bool *unsafe); /* -1: no such attribute */
bool call_value(ev *e, val callee, const cargs *a, val *out);
/* Sorts a's arguments into out[0..n) by names; missing ones are V_MISSING.  fn names the function in TypeErrors. */
bool args_bind(ev *e, const char *fn, const cargs *a, const char *const *names, size_t n, size_t n_required, val *out);
bool global_find(const ev *e, sv name, val *out); /* globals.c */
bool global_call(ev *e, uint32_t fn, const cargs *a, val *out);
bool loop_attr(ev *e, const loop_state *l, sv attr, val *out, bool *found);

/* filters.c, filters_seq.c, is_tests.c; attr_path in filters_seq.c */
bool filter_call(ev *e, int id, val input, const cargs *a, val *out);
bool test_call(ev *e, int id, val input, const cargs *a, bool *out);
bool attr_path(ev *e, val item, val path, const val *dflt, val *out);

#endif
