/* Glob patterns as fsspec (2023.12 and later) translates them to regular expressions: a component "**" is any number of folders, "*" and "?" stop at a
 * slash, [a-z] and [!a-z] are sets, there are no braces.  Matching runs all alternatives side by side (states x characters), so no pattern is
 * slow by backtracking; a budget bounds the work of hostile cards. */
#include "data/dataset_internal.h"

#include <stdlib.h>

typedef enum op { OP_CHAR, OP_NOT_SLASH, OP_ANY, OP_SET, OP_STAR, OP_ANY_STAR, OP_SKIP } op;

typedef struct instr {
    op op;
    uint32_t c;    /* OP_CHAR */
    size_t a, b;   /* OP_SET: ranges [a, b); OP_SKIP: also at instruction a */
    bool negative; /* OP_SET */
} instr;

typedef struct range {
    uint32_t from, to;
} range;

struct pattern {
    buf code;   /* of instr */
    buf ranges; /* of range */
    size_t n;
};

static void emit(pattern *p, instr i) {
    buf_add(&p->code, &i, sizeof i);
    p->n++;
}

static void emit_chars(pattern *p, const uint32_t *c, size_t n) {
    for (size_t i = 0; i < n; i++) emit(p, (instr){.op = OP_CHAR, .c = c[i]});
}

/* The set's text c[0, n), what stands between the brackets: Python's fnmatch rules, ranges that run backwards are nothing. */
static void emit_set(pattern *p, const uint32_t *c, size_t n) {
    instr set = {.op = OP_SET, .a = p->ranges.n / sizeof(range), .negative = n > 0 && c[0] == '!'};
    for (size_t i = set.negative; i < n; i++) {
        range r = {c[i], c[i]};
        if (i + 2 < n && c[i + 1] == '-') {
            r.to = c[i + 2];
            i += 2;
        }
        if (r.from <= r.to) buf_add(&p->ranges, &r, sizeof r);
    }
    set.b = p->ranges.n / sizeof(range);
    emit(p, set);
}

static void emit_component(pattern *p, const uint32_t *c, size_t n) {
    bool star = false;
    for (size_t i = 0; i < n; i++) {
        const bool was_star = star;
        star = c[i] == '*';
        if (star) {
            if (!was_star) emit(p, (instr){.op = OP_STAR});
        } else if (c[i] == '?') {
            emit(p, (instr){.op = OP_NOT_SLASH});
        } else if (c[i] == '[') {
            size_t j = i + 1;
            if (j < n && c[j] == '!') j++;
            if (j < n && c[j] == ']') j++;
            while (j < n && c[j] != ']') j++;
            if (j >= n) {
                emit_chars(p, c + i, 1);
            } else {
                emit_set(p, c + i + 1, j - i - 1);
                i = j;
            }
        } else {
            emit_chars(p, c + i, 1);
        }
    }
}

static bool compile_components(pattern *p, const uint32_t *c, size_t n, sv text, gv_err *err) {
    for (size_t i = 0;; i++) {
        size_t k = i;
        while (k < n && c[k] != '/') k++;
        const bool last = k == n, star = k - i == 1 && c[i] == '*', stars = k - i == 2 && c[i] == '*' && c[i + 1] == '*';
        bool beside = false;
        for (size_t j = i; j + 1 < k && !stars; j++) beside |= c[j] == '*' && c[j + 1] == '*';
        if (beside)
            return gv_fail(err, GV_FORMAT, -1, "pattern \"%s\": \"**\" can only be a whole component of a path", str_show(text).text);
        if (stars && last) {
            emit(p, (instr){.op = OP_ANY_STAR});
        } else if (stars) { /* (?:.+/)? */
            emit(p, (instr){.op = OP_SKIP, .a = p->n + 4});
            emit(p, (instr){.op = OP_ANY});
            emit(p, (instr){.op = OP_ANY_STAR});
            emit(p, (instr){.op = OP_CHAR, .c = '/'});
        } else {
            if (star) emit(p, (instr){.op = OP_NOT_SLASH});
            emit_component(p, c + i, k - i);
            if (!last) emit(p, (instr){.op = OP_CHAR, .c = '/'});
        }
        if (last) return true;
        i = k;
    }
}

pattern *pattern_compile(sv text, gv_err *err) {
    if (text.n > PATTERN_MAX_BYTES) {
        gv_fail(err, GV_LIMIT, -1, "pattern \"%s\" is longer than the cap of %d bytes", str_show(text).text, PATTERN_MAX_BYTES);
        return NULL;
    }
    pattern *p = gv_xcalloc(1, sizeof *p);
    uint32_t *c = gv_xcalloc(text.n + 1, sizeof *c);
    size_t n = 0;
    for (size_t pos = 0; pos < text.n;) {
        const size_t at = pos;
        const int32_t code = utf8_next(text, &pos);
        c[n++] = code >= 0 ? (uint32_t)code : 0x110000u + (unsigned char)text.p[at]; /* a byte that is no UTF-8 is only itself */
    }
    const bool ok = compile_components(p, c, n, text, err);
    free(c);
    if (ok) return p;
    pattern_free(p);
    return NULL;
}

void pattern_free(pattern *p) {
    if (!p) return;
    buf_fini(&p->code);
    buf_fini(&p->ranges);
    free(p);
}

static bool in_set(const pattern *p, const instr *i, uint32_t c) {
    const range *r = (const range *)(const void *)p->ranges.p;
    bool in = false;
    for (size_t k = i->a; k < i->b && !in; k++) in = r[k].from <= c && c <= r[k].to;
    return in != i->negative;
}

/* Adds state s and all that is reached from it without a character; targets lie behind s. */
static void add_state(const instr *code, size_t n, bool *on, size_t s) {
    for (;; s++) {
        if (on[s]) return;
        on[s] = true;
        if (s == n || (code[s].op != OP_STAR && code[s].op != OP_ANY_STAR && code[s].op != OP_SKIP)) return;
        if (code[s].op == OP_SKIP) add_state(code, n, on, code[s].a);
    }
}

bool pattern_match(const pattern *p, sv path, pattern_budget *b, bool *matches, gv_err *err) {
    enum { SMALL = 512 };
    bool small[2 * SMALL], *big = NULL, *now = small, *then = small + SMALL;
    const instr *code = (const instr *)(const void *)p->code.p;
    const size_t n = p->n;
    uint64_t cost;
    if (__builtin_mul_overflow((uint64_t)n + 1, (uint64_t)path.n + 1, &cost) || cost > b->steps)
        return gv_fail(err, GV_LIMIT, -1, "the patterns of the data set ask for more than the cap of %llu steps of matching",
                       (unsigned long long)PATTERN_BUDGET);
    b->steps -= cost;
    if (n + 1 > SMALL) {
        now = big = gv_xcalloc(2 * (n + 1), 1);
        then = big + n + 1;
    }
    memset(now, 0, n + 1);
    add_state(code, n, now, 0);
    bool alive = true;
    for (size_t pos = 0; pos < path.n && alive;) {
        const size_t at = pos;
        const int32_t next = utf8_next(path, &pos);
        const uint32_t c = next >= 0 ? (uint32_t)next : 0x110000u + (unsigned char)path.p[at];
        alive = false;
        memset(then, 0, n + 1);
        for (size_t s = 0; s < n; s++) {
            if (!now[s]) continue;
            bool stay = false, go = false;
            switch (code[s].op) {
            case OP_CHAR: go = code[s].c == c; break;
            case OP_NOT_SLASH: go = c != '/'; break;
            case OP_ANY: go = true; break;
            case OP_SET: go = in_set(p, &code[s], c); break;
            case OP_STAR: stay = c != '/'; break;
            case OP_ANY_STAR: stay = true; break;
            case OP_SKIP: break;
            }
            if (stay || go) add_state(code, n, then, stay ? s : s + 1);
            alive |= stay || go;
        }
        bool *swap = now;
        now = then;
        then = swap;
    }
    *matches = alive && now[n];
    free(big);
    return true;
}

bool pattern_is_magic(sv text) {
    for (size_t i = 0; i < text.n; i++)
        if (strchr("*?[", text.p[i]) && text.p[i]) return true;
    return false;
}

/* How many parts of the path begin with __ (of its folders), and with a dot (of all; not those of dots alone). */
static void count_parts(sv path, size_t *special, size_t *hidden) {
    *special = *hidden = 0;
    for (size_t i = 0; i <= path.n;) {
        size_t k = i, dots = 0;
        while (k < path.n && path.p[k] != '/') dots += path.p[k++] == '.';
        if (k < path.n && k - i >= 2 && path.p[i] == '_' && path.p[i + 1] == '_') ++*special;
        if (k > i && path.p[i] == '.' && dots < k - i) ++*hidden;
        i = k + 1;
    }
}

bool pattern_is_unasked(sv path, sv asked) {
    size_t s, h, asked_s, asked_h;
    count_parts(path, &s, &h);
    count_parts(asked, &asked_s, &asked_h);
    return s != asked_s || h != asked_h;
}
