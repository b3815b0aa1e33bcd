/* Lexer: template source to tokens, with Jinja's whitespace rules.
 *
 * Follows jinja2/lexer.py of 3.1 with trim_blocks and lstrip_blocks on: line ends become \n, one final newline is dropped, the newline
 * after a block or comment tag is dropped, blanks before a block or comment tag that starts a line are dropped; "-" inside a tag strips
 * all white space on that side, "+" keeps it.  {% raw %} is resolved here.  Strings are unescaped as Python's "unicode-escape" does
 * (\N{NAME} is not in the subset). */
#include "tmpl/tmpl_internal.h"

#include <stdlib.h>

enum { MAX_BRACKETS = 256 };

typedef struct lexer {
    sv s;
    size_t pos;
    arena *mem;
    tokens *out;
    gv_err *err;
    bool line_starting; /* the last match ended in a newline */
    size_t counted;     /* lines are counted up to here */
    int line;
} lexer;

static const struct {
    const char *text;
    tok_kind kind;
} operators[] = {
    {"//", TK_FLOORDIV}, {"**", TK_POW},   {"==", TK_EQ},    {"!=", TK_NE},    {">=", TK_GE},       {"<=", TK_LE},      {"+", TK_ADD},
    {"-", TK_SUB},       {"/", TK_DIV},    {"*", TK_MUL},    {"%", TK_MOD},    {"~", TK_TILDE},     {"[", TK_LBRACKET}, {"]", TK_RBRACKET},
    {"(", TK_LPAREN},    {")", TK_RPAREN}, {"{", TK_LBRACE}, {"}", TK_RBRACE}, {">", TK_GT},        {"<", TK_LT},       {"=", TK_ASSIGN},
    {".", TK_DOT},       {":", TK_COLON},  {"|", TK_PIPE},   {",", TK_COMMA},  {";", TK_SEMICOLON},
};
enum { N_OPERATORS = sizeof operators / sizeof operators[0] };

bool lex_fail(gv_err *err, int line, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return gv_fail(err, GV_FORMAT, line, "TemplateSyntaxError: %s", text);
}

const char *lex_kind_name(tok_kind k) {
    switch (k) {
    case TK_EOF: return "end of template";
    case TK_DATA: return "template data / text";
    case TK_VAR_BEGIN: return "begin of print statement";
    case TK_VAR_END: return "end of print statement";
    case TK_BLOCK_BEGIN: return "begin of statement block";
    case TK_BLOCK_END: return "end of statement block";
    case TK_NAME: return "name";
    case TK_STRING: return "string";
    case TK_INT: return "integer";
    case TK_FLOAT: return "float";
    default: break;
    }
    for (int i = 0; i < N_OPERATORS; i++) {
        if (operators[i].kind == k) return operators[i].text;
    }
    return "?";
}

static int line_at(lexer *l, size_t pos) {
    for (; l->counted < pos; l->counted++) {
        if (l->s.p[l->counted] == '\n') l->line++;
    }
    return l->line;
}

static token *push(lexer *l, tok_kind kind, size_t pos) {
    tokens *o = l->out;
    if (o->n == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 64;
        o->v = gv_xrealloc(o->v, o->cap * sizeof *o->v);
    }
    token *t = &o->v[o->n++];
    *t = (token){.kind = kind, .line = line_at(l, pos)};
    return t;
}

static bool at(const lexer *l, size_t pos, const char *lit) {
    return sv_starts(sv_sub(l->s, pos, SIZE_MAX), sv_of(lit));
}

/* End of the white space (Unicode, as Python's \s) that starts at pos. */
static size_t skip_space(sv s, size_t pos) {
    while (pos < s.n) {
        size_t next = pos;
        int32_t c = cp_next(s, &next);
        if (c < 0 || !cp_is_space((uint32_t)c)) break;
        pos = next;
    }
    return pos;
}

/* Matches an end tag at pos: "+END", "-END" and white space, or END and (trim) one newline.  0 if there is none, else its end. */
static size_t match_end(const lexer *l, size_t pos, const char *end, bool plus, bool trim) {
    size_t n = strlen(end);
    if (plus && at(l, pos, "+") && at(l, pos + 1, end)) return pos + 1 + n;
    if (at(l, pos, "-") && at(l, pos + 1, end)) return skip_space(l->s, pos + 1 + n);
    if (!at(l, pos, end)) return 0;
    pos += n;
    return trim && at(l, pos, "\n") ? pos + 1 : pos;
}

/* Emits the text [from, to) before a tag, stripped as the tag's sign and lstrip_blocks say. */
static void emit_data(lexer *l, size_t from, size_t to, char sign, bool is_variable) {
    sv text = sv_sub(l->s, from, to - from);
    if (sign == '-') {
        text = val_sv(str_strip_space(val_str(text), false, true));
    } else if (sign != '+' && !is_variable) {
        size_t line_start = text.n;
        while (line_start > 0 && text.p[line_start - 1] != '\n') line_start--;
        if ((line_start > 0 || l->line_starting) && skip_space(text, line_start) == text.n) text.n = line_start;
    }
    if (text.n) push(l, TK_DATA, from)->text = text;
}

static bool has_prefix_word(const lexer *l, size_t *pos, const char *word) {
    size_t p = skip_space(l->s, *pos);
    if (!at(l, p, word)) return false;
    *pos = skip_space(l->s, p + strlen(word));
    return true;
}

/* {% raw %} ... {% endraw %}: pos is after "{%" and its sign.  False without error set: not a raw tag. */
static bool lex_raw(lexer *l, size_t tag, size_t pos, bool *is_raw) {
    *is_raw = false;
    if (!has_prefix_word(l, &pos, "raw")) return true;
    size_t body = match_end(l, pos, "%}", false, false);
    if (!body) return true;
    *is_raw = true;
    l->line_starting = l->s.p[body - 1] == '\n';
    for (size_t p = body; (p = sv_find(l->s, SV("{%"), p)) != SIZE_MAX; p++) {
        size_t q = p + 2;
        char sign = 0;
        if (q < l->s.n && (l->s.p[q] == '-' || l->s.p[q] == '+')) sign = l->s.p[q++];
        if (!has_prefix_word(l, &q, "endraw")) continue;
        size_t end = match_end(l, q, "%}", true, true);
        if (!end) continue;
        emit_data(l, body, p, sign, false);
        l->line_starting = l->s.p[end - 1] == '\n';
        l->pos = end;
        return true;
    }
    l->pos = body;
    return body == l->s.n || lex_fail(l->err, line_at(l, tag), "Missing end of raw directive");
}

static bool lex_comment(lexer *l, size_t tag, size_t pos) {
    if (pos == l->s.n) { /* Jinja asks for the end only where something follows */
        l->pos = pos;
        return true;
    }
    for (size_t p = pos; p < l->s.n; p++) {
        size_t end = match_end(l, p, "#}", true, true);
        if (!end) continue;
        l->line_starting = l->s.p[end - 1] == '\n';
        l->pos = end;
        return true;
    }
    return lex_fail(l->err, line_at(l, tag), "Missing end of comment tag");
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_name_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* (\d+_)*\d+ from pos: its end, or pos if there is none. */
static size_t digits_end(sv s, size_t pos) {
    size_t end = pos;
    for (size_t p = pos; p < s.n && is_digit(s.p[p]);) {
        while (p < s.n && is_digit(s.p[p])) p++;
        end = p;
        if (p < s.n && s.p[p] == '_') p++;
    }
    return end;
}

/* End of a float literal at pos, or pos. */
static size_t float_end(sv s, size_t pos) {
    if (pos > 0 && s.p[pos - 1] == '.') return pos;
    size_t a = digits_end(s, pos), frac = a;
    if (a == pos) return pos;
    if (a + 1 < s.n && s.p[a] == '.' && digits_end(s, a + 1) > a + 1) frac = digits_end(s, a + 1);
    if (frac < s.n && (s.p[frac] == 'e' || s.p[frac] == 'E')) {
        size_t e = frac + 1;
        if (e < s.n && (s.p[e] == '+' || s.p[e] == '-')) e++;
        if (digits_end(s, e) > e) return digits_end(s, e);
    }
    return frac > a ? frac : pos;
}

/* End of an integer literal at pos, or pos; *base is set. */
static size_t int_end(sv s, size_t pos, int *base) {
    *base = 10;
    if (pos >= s.n || !is_digit(s.p[pos])) return pos;
    if (s.p[pos] == '0' && pos + 1 < s.n) {
        char x = (char)(s.p[pos + 1] | 0x20);
        int b = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
        size_t p = pos + 2, end = p;
        while (b && p < s.n) {
            size_t q = s.p[p] == '_' ? p + 1 : p;
            if (q >= s.n) break;
            char c = (char)(s.p[q] | 0x20);
            int d = is_digit(s.p[q]) ? s.p[q] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
            if (d >= b) break;
            p = end = q + 1;
        }
        if (end > pos + 2) {
            *base = b;
            return end;
        }
    }
    bool zero = s.p[pos] == '0';
    size_t p = pos + 1;
    while (p < s.n) {
        size_t q = s.p[p] == '_' ? p + 1 : p;
        if (q >= s.n || (zero ? s.p[q] != '0' : !is_digit(s.p[q]))) break;
        p = q + 1;
    }
    return p;
}

static bool lex_number(lexer *l, size_t from, size_t to, bool is_float, int base) {
    char text[400];
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        if (l->s.p[i] == '_') continue;
        if (n + 1 >= sizeof text)
            return gv_fail(l->err, GV_LIMIT, line_at(l, from), "number literal longer than %zu digits", sizeof text - 1);
        text[n++] = l->s.p[i];
    }
    text[n] = 0;
    token *t = push(l, is_float ? TK_FLOAT : TK_INT, from);
    if (is_float) {
        t->f = strtod(text, NULL);
        return true;
    }
    bool too_big = false;
    if (!text_to_int((sv){text, n}, base, &t->i, &too_big)) {
        return gv_fail(l->err, GV_UNSUPPORTED, t->line, "integer literal %s does not fit 64 bits", text);
    }
    return true;
}

static int hex_value(sv s, size_t from, size_t n) {
    int v = 0;
    if (from + n > s.n) return -1;
    for (size_t i = from; i < from + n; i++) {
        char c = (char)(s.p[i] | 0x20);
        int d = is_digit(s.p[i]) ? s.p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
        if (v > 0x10ffff) return -1;
    }
    return v;
}

/* One escape at s[*i] == '\\': writes its bytes to out. */
static bool unescape_one(lexer *l, int line, sv s, size_t *i, buf *out) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = *i + 1 < s.n ? s.p[*i + 1] : 0;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        buf_add_char(out, to[simple - from]);
        *i += 2;
        return true;
    }
    if (c == '\n') {
        *i += 2;
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        int v = hex_value(s, *i + 2, n);
        char u[4];
        size_t len = v < 0 ? 0 : utf8_put((uint32_t)v, u);
        if (v < 0) return lex_fail(l->err, line, "truncated \\%c%.*s escape", c, (int)n, "XXXXXXXX");
        if (!len) return gv_fail(l->err, GV_UNSUPPORTED, line, "surrogate escape \\u%04x in a template string", (unsigned)v);
        buf_add(out, u, len);
        *i += 2 + n;
        return true;
    }
    if (c >= '0' && c <= '7') {
        unsigned v = 0;
        size_t k = *i + 1;
        for (; k < s.n && k < *i + 4 && s.p[k] >= '0' && s.p[k] <= '7'; k++) v = v * 8 + (unsigned)(s.p[k] - '0');
        char u[4];
        buf_add(out, u, utf8_put(v, u));
        *i = k;
        return true;
    }
    if (c == 'N') return gv_fail(l->err, GV_UNSUPPORTED, line, "escape \\N{...} in a template string");
    buf_add_char(out, '\\');
    *i += 1;
    return true;
}

static bool lex_string(lexer *l, size_t from, size_t *end) {
    char quote = l->s.p[from];
    size_t p = from + 1;
    bool escaped = false;
    for (; p < l->s.n && l->s.p[p] != quote; p++) {
        if (l->s.p[p] == '\\') {
            escaped = true;
            p++;
        }
    }
    if (p >= l->s.n) return lex_fail(l->err, line_at(l, from), "unexpected char '%s' at %zu", quote == '\'' ? "\\'" : "\"", from);
    token *t = push(l, TK_STRING, from);
    sv raw = sv_sub(l->s, from + 1, p - from - 1);
    *end = p + 1;
    t->text = raw;
    if (!escaped) return true;
    buf b = {0};
    int line = t->line;
    bool ok = true;
    for (size_t i = 0; ok && i < raw.n;) {
        if (raw.p[i] == '\\') {
            ok = unescape_one(l, line, raw, &i, &b);
        } else {
            buf_add_char(&b, raw.p[i++]);
        }
    }
    if (ok) t->text = (sv){arena_dup(l->mem, b.p ? b.p : "", b.n), b.n};
    buf_fini(&b);
    return ok;
}

static bool lex_operator(lexer *l, size_t *pos, char *stack, size_t *depth) {
    for (int i = 0; i < N_OPERATORS; i++) {
        if (!at(l, *pos, operators[i].text)) continue;
        char c = operators[i].text[0];
        int line = line_at(l, *pos);
        if (c == '(' || c == '[' || c == '{') {
            if (*depth == MAX_BRACKETS) return gv_fail(l->err, GV_LIMIT, line, "more than %d open brackets", MAX_BRACKETS);
            stack[(*depth)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (!*depth) return lex_fail(l->err, line, "unexpected '%c'", c);
            char want = stack[--*depth];
            if (want != c) return lex_fail(l->err, line, "unexpected '%c', expected '%c'", c, want);
        }
        push(l, operators[i].kind, *pos);
        *pos += strlen(operators[i].text);
        return true;
    }
    size_t next = *pos;
    int32_t c = cp_next(l->s, &next);
    if (c >= 0x80) return gv_fail(l->err, GV_UNSUPPORTED, line_at(l, *pos), "character U+%04X outside a string", (unsigned)c);
    return lex_fail(l->err, line_at(l, *pos), "unexpected char '%c' at %zu", c < 0x20 ? '?' : (char)c, *pos);
}

/* The inside of {{ }} or {% %}; l->pos is after the sign. */
static bool lex_tag(lexer *l, bool variable) {
    char stack[MAX_BRACKETS];
    size_t depth = 0, pos = l->pos;
    for (;;) {
        pos = skip_space(l->s, pos);
        if (pos >= l->s.n) {
            l->pos = pos; /* the parser sees TK_EOF */
            return true;
        }
        size_t end = 0;
        if (!depth) end = variable ? match_end(l, pos, "}}", false, false) : match_end(l, pos, "%}", true, true);
        if (end) {
            push(l, variable ? TK_VAR_END : TK_BLOCK_END, pos);
            l->line_starting = l->s.p[end - 1] == '\n';
            l->pos = end;
            return true;
        }
        char c = l->s.p[pos];
        int base;
        if ((end = float_end(l->s, pos)) > pos) {
            if (!lex_number(l, pos, end, true, 10)) return false;
        } else if ((end = int_end(l->s, pos, &base)) > pos) {
            if (!lex_number(l, pos, end, false, base)) return false;
        } else if (is_name_char(c)) {
            for (end = pos; end < l->s.n && is_name_char(l->s.p[end]);) end++;
            push(l, TK_NAME, pos)->text = sv_sub(l->s, pos, end - pos);
        } else if (c == '\'' || c == '"') {
            if (!lex_string(l, pos, &end)) return false;
        } else {
            end = pos;
            if (!lex_operator(l, &end, stack, &depth)) return false;
        }
        pos = end;
    }
}

/* Source with \r\n and \r as \n and one final newline dropped. */
static sv normalize(sv source, arena *a) {
    char *p = arena_alloc(a, source.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < source.n; i++) {
        if (source.p[i] == '\r') {
            p[n++] = '\n';
            if (i + 1 < source.n && source.p[i + 1] == '\n') i++;
        } else {
            p[n++] = source.p[i];
        }
    }
    if (n && p[n - 1] == '\n') n--;
    p[n] = 0;
    return (sv){p, n};
}

static bool lex_all(lexer *l) {
    while (l->pos < l->s.n) {
        size_t from = l->pos, tag = from;
        for (; tag + 1 < l->s.n; tag++) {
            if (l->s.p[tag] == '{' && (l->s.p[tag + 1] == '{' || l->s.p[tag + 1] == '%' || l->s.p[tag + 1] == '#')) break;
        }
        if (tag + 1 >= l->s.n) {
            push(l, TK_DATA, from)->text = sv_sub(l->s, from, l->s.n - from);
            l->pos = l->s.n;
            break;
        }
        char type = l->s.p[tag + 1], sign = 0;
        size_t pos = tag + 2;
        if (pos < l->s.n && (l->s.p[pos] == '-' || l->s.p[pos] == '+')) sign = l->s.p[pos++];
        emit_data(l, from, tag, sign, type == '{');
        if (type == '#') {
            if (!lex_comment(l, tag, pos)) return false;
            continue;
        }
        if (type == '%') {
            bool is_raw;
            if (!lex_raw(l, tag, pos, &is_raw)) return false;
            if (is_raw) continue;
        }
        push(l, type == '{' ? TK_VAR_BEGIN : TK_BLOCK_BEGIN, tag);
        l->pos = pos;
        if (!lex_tag(l, type == '{')) return false;
    }
    push(l, TK_EOF, l->s.n);
    return true;
}

bool lex_source(sv source, arena *a, tokens *out, gv_err *err) {
    lexer l = {.s = normalize(source, a), .mem = a, .out = out, .err = err, .line_starting = true, .line = 1};
    return lex_all(&l);
}
