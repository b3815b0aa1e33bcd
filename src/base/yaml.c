/* See yaml.h: libyaml's events become JSON text, which json_parse reads.
 *
 * libyaml expands no alias, keeps duplicate keys and nests without limit in quadratic time, so all of that is decided here, event by event.
 * A finished node with an anchor is kept as its JSON text; an alias copies it, counting its values again.  A mapping that holds `<<` is
 * written anew at its end, when all its parts are known: PyYAML's order, merged keys first, the mapping's own values over them, earlier
 * sources over later ones.  Each key's place in the JSON text is kept with its line, so that json_parse's complaint about a duplicate can
 * name the line of the file. */
#include "base/yaml.h"

#include "base/mem.h"

#include <stdlib.h>
#include <yaml.h>

enum { MAX_DEPTH = 64, MAX_VALUES = 200000, MAX_ALIASES = 1000, MAX_ANCHORS = 1000, NO_ANCHOR = -1 };
#define MAX_BYTES      ((size_t)16 << 20)
#define MAX_JSON_BYTES ((size_t)64 << 20)

typedef struct anchor {
    char *name;
    char *json; /* NULL while the node is open */
    size_t json_bytes, values;
    size_t line;
} anchor;

typedef struct level {
    bool is_map, at_key, any;
    int anchor;
    size_t start, values;     /* of the JSON text; values before this node */
    size_t n_pairs, merge_at; /* which pair is `<<`, counted from 1; 0: none */
    size_t merge_line;
} level;

typedef struct key_line {
    size_t at, line; /* offset of the key's quote in the JSON text */
} key_line;

typedef struct reader {
    yaml_options o;
    level level[MAX_DEPTH];
    size_t depth, documents, values, aliases;
    buf json;
    anchor *anchors;
    size_t n_anchors;
    key_line *keys;
    size_t n_keys, cap_keys;
} reader;

static bool bad(const yaml_event_t *e, gv_err *err, const char *fmt, ...) GV_PRINTF(3, 4);
static bool bad(const yaml_event_t *e, gv_err *err, const char *fmt, ...) {
    const size_t line = e->start_mark.line + 1;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(err, GV_FORMAT, (int64_t)line, fmt, ap);
    va_end(ap);
    return gv_context(err, "invalid YAML at line %zu", line);
}

static bool over(const yaml_event_t *e, gv_err *err, const char *fmt, ...) GV_PRINTF(3, 4);
static bool over(const yaml_event_t *e, gv_err *err, const char *fmt, ...) {
    const size_t line = e->start_mark.line + 1;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(err, GV_LIMIT, (int64_t)line, fmt, ap);
    va_end(ap);
    return gv_context(err, "YAML line %zu", line);
}

/* ---- plain scalars ---- */

static bool one_of(sv s, const char *const *names) {
    for (; *names; names++)
        if (sv_is(s, *names)) return true;
    return false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of the run of characters of `set` from i on. */
static size_t run_of(sv s, size_t i, const char *set) {
    size_t n = 0;
    while (i + n < s.n && s.p[i + n] && strchr(set, s.p[i + n])) n++;
    return n;
}

/* (:[0-5]?[0-9])+ from i on; where it ends, or 0 if it is not there. */
static size_t sixties(sv s, size_t i) {
    size_t end = 0;
    while (i < s.n && s.p[i] == ':') {
        const size_t n = run_of(s, i + 1, "0123456789");
        if (n == 0 || n > 2 || (n == 2 && s.p[i + 1] > '5')) return 0;
        end = i = i + 1 + n;
    }
    return end;
}

static bool is_int(sv s) {
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (i >= s.n || !is_digit(s.p[i])) return false;
    if (s.p[i] == '0' && i + 1 < s.n) {
        if (s.p[i + 1] == 'b') return i + 2 < s.n && i + 2 + run_of(s, i + 2, "01_") == s.n;
        if (s.p[i + 1] == 'x') return i + 2 < s.n && i + 2 + run_of(s, i + 2, "0123456789abcdefABCDEF_") == s.n;
        return i + 1 + run_of(s, i + 1, "01234567_") == s.n;
    }
    const size_t end = i + run_of(s, i, "0123456789_");
    return end == s.n || (s.p[i] != '0' && sixties(s, end) == s.n);
}

static bool is_float(sv s) {
    static const char *const words[] = {".inf",  ".Inf",  ".INF", "-.inf", "-.Inf", "-.INF", "+.inf",
                                        "+.Inf", "+.INF", ".nan", ".NaN",  ".NAN",  NULL};
    if (one_of(s, words)) return true;
    const bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
    size_t i = sign;
    const bool leading = i < s.n && is_digit(s.p[i]);
    if (!leading && (sign || i + 1 >= s.n || s.p[i] != '.' || !is_digit(s.p[i + 1]))) return false;
    i += run_of(s, i, "0123456789_");
    const size_t after = sixties(s, i);
    if (after) return after < s.n && s.p[after] == '.' && after + 1 + run_of(s, after + 1, "0123456789_") == s.n;
    if (i >= s.n || s.p[i] != '.') return false;
    i += 1 + run_of(s, i + 1, "0123456789_");
    if (i == s.n) return true;
    if ((s.p[i] != 'e' && s.p[i] != 'E') || i + 2 >= s.n || (s.p[i + 1] != '-' && s.p[i + 1] != '+')) return false;
    return i + 2 + run_of(s, i + 2, "0123456789") == s.n;
}

/* Digits from *i on, between least and most of them. */
static bool digits(sv s, size_t *i, size_t least, size_t most) {
    const size_t n = run_of(s, *i, "0123456789");
    if (n < least || n > most) return false;
    *i += n;
    return true;
}

static bool literal(sv s, size_t *i, char c) {
    if (*i >= s.n || s.p[*i] != c) return false;
    ++*i;
    return true;
}

/* 2001-12-14, or with one or two digits and a time: [Tt] or blanks, h:mm:ss(.f)?, then Z or an offset. */
static bool is_time(sv s) {
    size_t i = 0;
    if (!digits(s, &i, 4, 4) || !literal(s, &i, '-')) return false;
    const size_t month = i;
    if (!digits(s, &i, 1, 2) || !literal(s, &i, '-')) return false;
    const size_t day = i;
    if (!digits(s, &i, 1, 2)) return false;
    if (i == s.n) return day - month == 3 && i - day == 2;
    if (s.p[i] == 'T' || s.p[i] == 't') {
        i++;
    } else {
        const size_t blanks = run_of(s, i, " \t");
        if (!blanks) return false;
        i += blanks;
    }
    if (!digits(s, &i, 1, 2) || !literal(s, &i, ':') || !digits(s, &i, 2, 2) || !literal(s, &i, ':') || !digits(s, &i, 2, 2)) return false;
    if (literal(s, &i, '.')) i += run_of(s, i, "0123456789");
    if (i == s.n) return true;
    i += run_of(s, i, " \t");
    if (literal(s, &i, 'Z')) return i == s.n;
    if (!literal(s, &i, '-') && !literal(s, &i, '+')) return false;
    if (!digits(s, &i, 1, 2)) return false;
    return i == s.n || (literal(s, &i, ':') && digits(s, &i, 2, 2) && i == s.n);
}

static bool is_true(sv s) {
    static const char *const words[] = {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
    return one_of(s, words);
}

yaml_kind yaml_resolve(sv s) {
    static const char *const no[] = {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};
    static const char *const null[] = {"", "~", "null", "Null", "NULL", NULL};
    if (is_true(s) || one_of(s, no)) return YAML_IS_BOOL;
    if (is_float(s)) return YAML_IS_FLOAT;
    if (is_int(s)) return YAML_IS_INT;
    if (sv_is(s, "<<")) return YAML_IS_MERGE;
    if (one_of(s, null)) return YAML_IS_NULL;
    if (is_time(s)) return YAML_IS_TIME;
    return sv_is(s, "=") ? YAML_IS_VALUE : YAML_IS_TEXT;
}

/* ---- numbers as JSON ---- */

/* Reads digits of a base, `:` for base 60, `_` between them, into *out. */
static bool read_number(sv s, unsigned base, uint64_t *out) {
    uint64_t n = 0, part = 0;
    bool any = false;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (c == '_') continue;
        if (c == ':') {
            if (__builtin_add_overflow(n, part, &n) || __builtin_mul_overflow(n, 60u, &n)) return false;
            part = 0;
            continue;
        }
        const unsigned d = is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
        if (__builtin_mul_overflow(part, base, &part) || __builtin_add_overflow(part, (uint64_t)d, &part)) return false;
        any = true;
    }
    *out = n;
    return any && !__builtin_add_overflow(n, part, out);
}

static bool put_int(const yaml_event_t *e, sv s, buf *json, gv_err *err) {
    const sv whole = s;
    const bool minus = s.p[0] == '-';
    if (minus || s.p[0] == '+') s = sv_sub(s, 1, s.n);
    uint64_t n = 0;
    unsigned base = 10;
    if (s.p[0] == '0' && s.n > 1) base = s.p[1] == 'x' ? 16 : s.p[1] == 'b' ? 2 : 8;
    const bool sixty = memchr(s.p, ':', s.n) != NULL;
    if (base == 10 && !sixty) {
        const size_t before = json->n;
        if (minus) buf_add_char(json, '-');
        for (size_t i = 0; i < s.n; i++)
            if (s.p[i] != '_') buf_add_char(json, s.p[i]);
        if (sv_is(sv_sub(buf_view(json), before, SIZE_MAX), "-0")) {
            json->n = before;
            buf_add_char(json, '0');
        }
        return true;
    }
    const sv body = sv_sub(s, base == 10 ? 0 : base == 8 ? 1 : 2, s.n);
    if (run_of(body, 0, "_") == body.n) {
        if (base != 8) return bad(e, err, "\"%s\" is an integer without digits", str_show(whole).text);
        n = 0;
    } else if (!read_number(body, base, &n)) {
        return over(e, err, "the integer %s is over 2^64 - 1", str_show(whole).text);
    }
    buf_printf(json, "%s%llu", minus && n ? "-" : "", (unsigned long long)n);
    return true;
}

/* A float of the rules above; JSON wants digits on both sides of the dot. */
static bool put_float(const yaml_event_t *e, sv s, buf *json, gv_err *err) {
    const bool sign = s.p[0] == '-' || s.p[0] == '+';
    if (s.n > sign && s.p[sign] == '.' && s.n > sign + 1u && !is_digit(s.p[sign + 1])) {
        json_put_string(json, s); /* .inf, .nan */
        return true;
    }
    if (s.p[0] == '-') buf_add_char(json, '-');
    s = sv_sub(s, sign, s.n);
    const size_t dot = (size_t)((const char *)memchr(s.p, '.', s.n) - s.p);
    uint64_t n;
    if (memchr(s.p, ':', s.n)) {
        if (!read_number(sv_sub(s, 0, dot), 10, &n)) return over(e, err, "the number %s is over 2^64 - 1", str_show(s).text);
        buf_printf(json, "%llu", (unsigned long long)n);
    } else {
        size_t i = 0; /* no leading zeros */
        while (i + 1 < dot && (s.p[i] == '0' || s.p[i] == '_')) i++;
        const size_t before = json->n;
        for (; i < dot; i++)
            if (s.p[i] != '_') buf_add_char(json, s.p[i]);
        if (json->n == before) buf_add_char(json, '0');
    }
    const size_t point = json->n;
    buf_add_char(json, '.');
    size_t i = dot + 1;
    for (; i < s.n && (is_digit(s.p[i]) || s.p[i] == '_'); i++)
        if (s.p[i] != '_') buf_add_char(json, s.p[i]);
    if (json->n == point + 1) buf_add_char(json, '0');
    buf_add_sv(json, sv_sub(s, i, s.n));
    return true;
}

/* ---- scalars ---- */

static const char core_tag[] = "tag:yaml.org,2002:";

/* "str" of a core tag, NULL without a tag or with "!"; fails for other tags. */
static bool tag_name(const yaml_event_t *e, const yaml_char_t *tag, const char *const *known, const char **name, gv_err *err) {
    const char *t = (const char *)tag;
    *name = NULL;
    if (!t || strcmp(t, "!") == 0) return true;
    const bool core = strncmp(t, core_tag, sizeof core_tag - 1) == 0;
    const char *rest = core ? t + sizeof core_tag - 1 : t;
    for (; core && *known; known++)
        if (strcmp(*known, rest) == 0) *name = *known;
    if (*name) return true;
    return bad(e, err, "unknown tag \"%s%s\"", core ? "!!" : "", str_show(sv_of(rest)).text);
}

static bool put_as(const yaml_event_t *e, sv s, yaml_kind kind, buf *json, gv_err *err) {
    switch (kind) {
    case YAML_IS_NULL: buf_add_str(json, "null"); return true;
    case YAML_IS_BOOL: buf_add_str(json, is_true(s) ? "true" : "false"); return true;
    case YAML_IS_INT: return put_int(e, s, json, err);
    case YAML_IS_FLOAT: return put_float(e, s, json, err);
    case YAML_IS_VALUE: return bad(e, err, "a plain = has no meaning here; quote it");
    default: json_put_string(json, s); return true;
    }
}

static bool put_tagged(const yaml_event_t *e, sv s, const char *tag, buf *json, gv_err *err) {
    const yaml_kind kind = yaml_resolve(s);
    if (strcmp(tag, "str") == 0 || (strcmp(tag, "timestamp") == 0 && kind == YAML_IS_TIME)) {
        json_put_string(json, s);
        return true;
    }
    if ((strcmp(tag, "null") == 0 && kind == YAML_IS_NULL) || (strcmp(tag, "bool") == 0 && kind == YAML_IS_BOOL) ||
        (strcmp(tag, "int") == 0 && kind == YAML_IS_INT) || (strcmp(tag, "float") == 0 && kind == YAML_IS_FLOAT))
        return put_as(e, s, kind, json, err);
    if (strcmp(tag, "float") == 0 && kind == YAML_IS_INT) {
        if (!put_int(e, s, json, err)) return false;
        buf_add_str(json, ".0");
        return true;
    }
    return bad(e, err, "\"%s\" is no !!%s", str_show(s).text, tag);
}

static bool put_scalar(reader *r, const yaml_event_t *e, bool is_key, gv_err *err) {
    static const char *const known[] = {"str", "int", "float", "bool", "null", "timestamp", NULL};
    const sv s = {(const char *)e->data.scalar.value, e->data.scalar.length};
    const char *tag;
    if (!tag_name(e, e->data.scalar.tag, known, &tag, err)) return false;
    if (r->o.strings || is_key) {
        json_put_string(&r->json, s);
        return true;
    }
    if (tag) return put_tagged(e, s, tag, &r->json, err);
    const bool plain = e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return put_as(e, s, plain ? yaml_resolve(s) : YAML_IS_TEXT, &r->json, err);
}

/* ---- anchors ---- */

static anchor *find_anchor(reader *r, const yaml_char_t *name) {
    for (size_t i = 0; i < r->n_anchors; i++)
        if (strcmp(r->anchors[i].name, (const char *)name) == 0) return &r->anchors[i];
    return NULL;
}

static bool add_anchor(reader *r, const yaml_event_t *e, const yaml_char_t *name, int *index, gv_err *err) {
    *index = NO_ANCHOR;
    if (!name) return true;
    const anchor *before = find_anchor(r, name);
    if (before) return bad(e, err, "anchor \"%s\" stands at line %zu too", str_show(sv_of((const char *)name)).text, before->line);
    if (r->n_anchors == MAX_ANCHORS) return over(e, err, "more than %d anchors", MAX_ANCHORS);
    if (!r->anchors) r->anchors = gv_xcalloc(MAX_ANCHORS, sizeof *r->anchors);
    *index = (int)r->n_anchors;
    r->anchors[r->n_anchors++] = (anchor){.name = gv_xstrdup((const char *)name), .line = e->start_mark.line + 1};
    return true;
}

static bool close_anchor(reader *r, int index, size_t start, size_t values, gv_err *err) {
    if (index == NO_ANCHOR) return true;
    anchor *a = &r->anchors[index];
    a->json_bytes = r->json.n - start;
    a->values = r->values - values;
    a->json = gv_try_malloc(a->json_bytes + 1, 1, "a YAML anchor", err);
    if (!a->json) return false;
    memcpy(a->json, r->json.p + start, a->json_bytes);
    return true;
}

static bool put_alias(reader *r, const yaml_event_t *e, bool is_key, gv_err *err) {
    const char *name = (const char *)e->data.alias.anchor;
    const anchor *a = find_anchor(r, e->data.alias.anchor);
    if (r->o.no_aliases) return bad(e, err, "aliases are not allowed here");
    if (!a) return bad(e, err, "alias \"%s\" names nothing before it", str_show(sv_of(name)).text);
    if (!a->json) return bad(e, err, "alias \"%s\" stands inside of what it names", str_show(sv_of(name)).text);
    if (is_key) return bad(e, err, "a key must be text, not an alias");
    if (++r->aliases > r->o.max_aliases) return over(e, err, "more than %zu aliases", r->o.max_aliases);
    if (a->values > r->o.max_values - r->values || a->json_bytes > MAX_JSON_BYTES - r->json.n)
        return over(e, err, "with its aliases expanded the document has more than %zu values or %zu MiB", r->o.max_values,
                    MAX_JSON_BYTES >> 20);
    r->values += a->values;
    if (!buf_try_reserve(&r->json, a->json_bytes, "YAML with its aliases expanded", err)) return false;
    buf_add(&r->json, a->json, a->json_bytes);
    return true;
}

/* ---- merge keys ---- */

typedef struct pair {
    sv key;
    const json_value *value;
} pair;

static void set_pair(pair *pairs, size_t *n, sv key, const json_value *value, bool over_it) {
    for (size_t i = 0; i < *n; i++) {
        if (!sv_eq(pairs[i].key, key)) continue;
        if (over_it) pairs[i].value = value;
        return;
    }
    pairs[(*n)++] = (pair){key, value};
}

static bool bad_source(size_t line, const json_value *v, gv_err *err) {
    return gv_fail(err, GV_FORMAT, (int64_t)line, "invalid YAML at line %zu: << needs a mapping or a list of mappings, not a %s", line,
                   json_kind_name(v));
}

/* All pairs of a merge's sources: a mapping, or a list of mappings of which the first counts most. */
static bool add_sources(size_t line, const json_value *from, pair *pairs, size_t *n, gv_err *err) {
    if (json_kind_of(from) == JSON_OBJECT) {
        for (json_iter it = json_each(from); json_next(&it);) set_pair(pairs, n, it.key, it.value, false);
        return true;
    }
    if (json_kind_of(from) != JSON_ARRAY) return bad_source(line, from, err);
    for (json_iter it = json_each(from); json_next(&it);) {
        if (json_kind_of(it.value) != JSON_OBJECT) return bad_source(line, it.value, err);
        for (json_iter each = json_each(it.value); json_next(&each);) set_pair(pairs, n, each.key, each.value, false);
    }
    return true;
}

static size_t count_sources(const json_value *from) {
    size_t n = json_kind_of(from) == JSON_OBJECT ? json_size(from) : 0;
    if (json_kind_of(from) == JSON_ARRAY)
        for (json_iter it = json_each(from); json_next(&it);) n += json_size(it.value);
    return n;
}

static bool parse_text(reader *r, size_t start, json_doc **doc, gv_err *err);

/* The mapping that ends here and holds `<<`: written anew. */
static bool merge(reader *r, const level *l, const yaml_event_t *e, gv_err *err) {
    json_doc *doc;
    if (!parse_text(r, l->start, &doc, err)) return false;
    const json_value *map = json_root(doc), *from = NULL;
    size_t at = 0, n = 0;
    for (json_iter it = json_each(map); json_next(&it);)
        if (++at == l->merge_at) from = it.value;
    const size_t cap = count_sources(from) + json_size(map);
    pair *pairs = gv_try_calloc(cap + 1, sizeof *pairs, "merged YAML keys", err);
    bool ok = false;
    if (!pairs) goto done;
    if (cap > 2000) { /* each key is looked up among all */
        over(e, err, "<< merges %zu keys, more than 2000", cap);
        goto done;
    }
    if (!add_sources(l->merge_line, from, pairs, &n, err)) goto done;
    at = 0;
    for (json_iter it = json_each(map); json_next(&it);)
        if (++at != l->merge_at) set_pair(pairs, &n, it.key, it.value, true);
    r->json.n = l->start;
    while (r->n_keys && r->keys[r->n_keys - 1].at >= l->start) r->n_keys--;
    buf_add_char(&r->json, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_char(&r->json, ',');
        json_put_string(&r->json, pairs[i].key);
        buf_add_char(&r->json, ':');
        json_put_value(&r->json, pairs[i].value);
    }
    buf_add_char(&r->json, '}');
    ok = true;
done:
    free(pairs);
    json_free(doc);
    return ok;
}

/* ---- events ---- */

static bool is_merge(const reader *r, const yaml_event_t *e) {
    return !r->o.strings && e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           e->data.scalar.length == 2 && memcmp(e->data.scalar.value, "<<", 2) == 0;
}

static bool note_key(reader *r, level *l, const yaml_event_t *e, gv_err *err) {
    if (++l->n_pairs > r->o.max_values) return over(e, err, "more than %zu keys", r->o.max_values);
    if (is_merge(r, e)) {
        if (l->merge_at) return bad(e, err, "<< stands twice in a mapping; give it a list");
        l->merge_at = l->n_pairs;
        l->merge_line = e->start_mark.line + 1;
    }
    if (r->n_keys == r->cap_keys) {
        r->cap_keys = r->cap_keys ? 2 * r->cap_keys : 256;
        r->keys = gv_xrealloc(r->keys, r->cap_keys * sizeof *r->keys);
    }
    r->keys[r->n_keys++] = (key_line){r->json.n, e->start_mark.line + 1};
    return true;
}

/* Comma before a node; counts it.  *is_key: it is the key of a pair. */
static bool before_node(reader *r, const yaml_event_t *e, bool *is_key, gv_err *err) {
    level *l = r->depth ? &r->level[r->depth - 1] : NULL;
    *is_key = l && l->is_map && l->at_key;
    if (l && l->any && (!l->is_map || l->at_key)) buf_add_char(&r->json, ',');
    if (l) l->any = true;
    if (*is_key && (e->type == YAML_SEQUENCE_START_EVENT || e->type == YAML_MAPPING_START_EVENT)) return bad(e, err, "a key must be text");
    if (*is_key) return e->type == YAML_ALIAS_EVENT || note_key(r, l, e, err);
    if (r->values == r->o.max_values) return over(e, err, "more than %zu values", r->o.max_values);
    if (r->json.n > MAX_JSON_BYTES) return over(e, err, "more than %zu MiB", MAX_JSON_BYTES >> 20);
    r->values++;
    return true;
}

static void after_node(reader *r) {
    level *l = r->depth ? &r->level[r->depth - 1] : NULL;
    if (!l || !l->is_map) return;
    if (l->at_key) buf_add_char(&r->json, ':');
    l->at_key = !l->at_key;
}

static bool open_level(reader *r, const yaml_event_t *e, gv_err *err) {
    static const char *const map_tag[] = {"map", NULL}, *const seq_tag[] = {"seq", NULL};
    const bool is_map = e->type == YAML_MAPPING_START_EVENT;
    const char *tag;
    bool is_key;
    if (!before_node(r, e, &is_key, err)) return false;
    if (r->depth == r->o.max_depth) return over(e, err, "more than %zu levels", r->o.max_depth);
    if (!tag_name(e, is_map ? e->data.mapping_start.tag : e->data.sequence_start.tag, is_map ? map_tag : seq_tag, &tag, err)) return false;
    level *l = &r->level[r->depth];
    *l = (level){.is_map = is_map, .at_key = is_map, .start = r->json.n, .values = r->values - 1};
    if (!add_anchor(r, e, is_map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor, &l->anchor, err)) return false;
    r->depth++;
    buf_add_char(&r->json, is_map ? '{' : '[');
    return true;
}

static bool close_level(reader *r, const yaml_event_t *e, gv_err *err) {
    const level l = r->level[--r->depth];
    buf_add_char(&r->json, l.is_map ? '}' : ']');
    if (l.merge_at && !merge(r, &l, e, err)) return false;
    if (!close_anchor(r, l.anchor, l.start, l.values, err)) return false;
    after_node(r);
    return true;
}

static bool take_scalar(reader *r, const yaml_event_t *e, gv_err *err) {
    bool is_key;
    int index;
    if (!before_node(r, e, &is_key, err)) return false;
    const size_t start = r->json.n;
    if (!add_anchor(r, e, e->data.scalar.anchor, &index, err) || !put_scalar(r, e, is_key, err) ||
        !close_anchor(r, index, start, r->values - !is_key, err))
        return false;
    after_node(r);
    return true;
}

static bool take_event(reader *r, const yaml_event_t *e, gv_err *err) {
    bool is_key;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT: return r->documents++ == 0 || bad(e, err, "more than one document");
    case YAML_SCALAR_EVENT: return take_scalar(r, e, err);
    case YAML_ALIAS_EVENT:
        if (!before_node(r, e, &is_key, err)) return false;
        if (!is_key) r->values--; /* put_alias counts all that it stands for */
        if (!put_alias(r, e, is_key, err)) return false;
        after_node(r);
        return true;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return open_level(r, e, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_level(r, e, err);
    default: return true;
    }
}

static bool read_events(reader *r, sv text, gv_err *err) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return gv_fail(err, GV_MEMORY, -1, "no memory for the YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    bool ok = true, end = false;
    while (ok && !end) {
        yaml_event_t e;
        if (!yaml_parser_parse(&parser, &e)) {
            const size_t line = parser.problem_mark.line + 1;
            if (parser.error == YAML_MEMORY_ERROR)
                ok = gv_fail(err, GV_MEMORY, -1, "out of memory in the YAML parser");
            else
                ok = gv_fail(err, GV_FORMAT, (int64_t)line, "invalid YAML at line %zu: %s", line,
                             parser.problem ? parser.problem : "unreadable");
            break;
        }
        ok = take_event(r, &e, err);
        end = e.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    if (ok && r->documents == 0) return gv_fail(err, GV_FORMAT, -1, "the file is empty");
    return ok;
}

/* What json_parse says of the JSON text from start on, in terms of the file.  Only keys can be wrong: all else was made here. */
static bool parse_text(reader *r, size_t start, json_doc **doc, gv_err *err) {
    gv_err json_err = GV_ERR_INIT;
    *doc = json_parse_caps(sv_sub(buf_view(&r->json), start, SIZE_MAX), r->o.max_values, 2 * r->o.max_values + 1, &json_err);
    if (*doc) return true;
    const size_t at = start + (json_err.where > 0 ? (size_t)json_err.where : 0);
    size_t lo = 0, hi = r->n_keys; /* the last key at or before `at` */
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (r->keys[mid].at <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    const int64_t line = lo ? (int64_t)r->keys[lo - 1].line : -1;
    const char *key = strstr(json_err.msg, "duplicate key ");
    if (key) return gv_fail(err, GV_FORMAT, line, "invalid YAML at line %lld: %s", (long long)line, key);
    return gv_fail(err, json_err.code, line, "YAML near line %lld: %s", (long long)line, json_err.msg);
}

static size_t cap_of(size_t asked, size_t usual) {
    return asked ? asked : usual;
}

json_doc *yaml_parse(sv text, const yaml_options *o, gv_err *err) {
    reader r = {0};
    json_doc *doc = NULL;
    if (o) r.o = *o;
    r.o.max_bytes = cap_of(r.o.max_bytes, MAX_BYTES);
    r.o.max_depth = cap_of(r.o.max_depth, MAX_DEPTH);
    if (r.o.max_depth > MAX_DEPTH) r.o.max_depth = MAX_DEPTH;
    r.o.max_values = cap_of(r.o.max_values, MAX_VALUES);
    r.o.max_aliases = cap_of(r.o.max_aliases, MAX_ALIASES);
    const size_t invalid = utf8_invalid_at(text);
    if (text.n > r.o.max_bytes)
        gv_fail(err, GV_LIMIT, -1, "YAML of %zu bytes, over the limit of %zu", text.n, r.o.max_bytes);
    else if (invalid != SIZE_MAX)
        gv_fail(err, GV_FORMAT, -1, "invalid YAML: byte %zu is not UTF-8", invalid);
    else if (read_events(&r, text, err) && !parse_text(&r, 0, &doc, err))
        doc = NULL;
    for (size_t i = 0; i < r.n_anchors; i++) {
        free(r.anchors[i].name);
        free(r.anchors[i].json);
    }
    free(r.anchors);
    free(r.keys);
    buf_fini(&r.json);
    return doc;
}
