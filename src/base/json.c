/* See json.h: RFC 8259 through yyjson, with the caps of a program that reads files of strangers.
 *
 * Three passes.  (1) check_shape walks the text once and counts depth and values, so that a document over a cap is refused before anything
 * is allocated for it; on text that is no JSON its counts mean nothing, and pass 2 says so.  (2) yyjson parses a copy of the text; numbers
 * stay raw text (YYJSON_READ_NUMBER_AS_RAW).  (3) check_objects looks at every object for too many and for duplicate keys: by comparing
 * pairs when there are few, else by sorting, so that no choice of keys makes it slow.  After that the depth is at most JSON_MAX_DEPTH, and
 * the printer may recurse.
 *
 * A json_doc is a yyjson_doc and a json_value a yyjson_val; string positions are offsets into the copy, which yyjson unescapes in place, so
 * they are byte positions in the caller's text as well.  A document is read-only after parsing: any thread may read it. */
#include "base/json.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

enum { JSON_MAX_DEPTH = 64, JSON_MAX_KEYS = 10000, JSON_MAX_VALUES = 1000000, FEW_KEYS = 8, KEY_SHOWN = 100 };

static yyjson_val *val(const json_value *v) {
    return (yyjson_val *)(uintptr_t)v;
}
static const json_value *out_val(const yyjson_val *v) {
    return (const json_value *)v;
}

static void *alc_malloc(void *ctx, size_t size) {
    (void)ctx;
    return gv_try_malloc(size, 1, "JSON", NULL);
}

static void *alc_realloc(void *ctx, void *p, size_t old_size, size_t size) {
    (void)ctx;
    (void)old_size;
    return realloc(p, size);
}

static void alc_free(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

/* Pass 1.  In well-formed JSON every value but the root is the first of its container or follows a comma. */
static bool check_shape(sv text, size_t max_values, gv_err *err) {
    size_t depth = 0, values = 1;
    bool opened = false; /* a container has just begun */
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
        if (opened && c != ']' && c != '}') values++;
        opened = false;
        if (c == '"') {
            for (i++; i < text.n && text.p[i] != '"'; i++) i += text.p[i] == '\\';
        } else if (c == ',') {
            values++;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_MAX_DEPTH)
                return gv_fail(err, GV_LIMIT, (int64_t)i, "JSON at byte %zu: nested more than %d levels deep", i, JSON_MAX_DEPTH);
            opened = true;
        } else if (c == ']' || c == '}') {
            if (depth > 0) depth--;
        }
        if (values > max_values)
            return gv_fail(err, GV_LIMIT, (int64_t)i, "JSON at byte %zu: more than %zu values in one document", i, max_values);
    }
    return true;
}

static sv text_of(const yyjson_val *v) {
    yyjson_val *w = val(out_val(v));
    return (sv){unsafe_yyjson_get_str(w), unsafe_yyjson_get_len(w)};
}

/* By length, then bytes, then place: of equal keys the later stands later. */
static int compare_keys(const void *pa, const void *pb) {
    const yyjson_val *a = *(const yyjson_val *const *)pa, *b = *(const yyjson_val *const *)pb;
    sv ka = text_of(a), kb = text_of(b);
    if (ka.n != kb.n) return ka.n < kb.n ? -1 : 1;
    int c = memcmp(ka.p, kb.p, ka.n);
    return c ? c : (a > b) - (a < b);
}

static bool fail_duplicate(const yyjson_doc *doc, const yyjson_val *key, gv_err *err) {
    sv k = text_of(key);
    size_t at = (size_t)(k.p - doc->str_pool) - 1;
    return gv_fail(err, GV_FORMAT, (int64_t)at, "invalid JSON at byte %zu: duplicate key \"" SV_FMT "\"%s", at,
                   SV_ARG(sv_sub(k, 0, KEY_SHOWN)), k.n > KEY_SHOWN ? "..." : "");
}

static bool check_keys(const yyjson_doc *doc, yyjson_val *obj, size_t max_keys, const yyjson_val **scratch, gv_err *err) {
    size_t n = unsafe_yyjson_get_len(obj), i = 0;
    yyjson_val *key = unsafe_yyjson_get_first(obj);
    if (n > max_keys) {
        size_t at = (size_t)(unsafe_yyjson_get_str(key) - doc->str_pool) - 1;
        return gv_fail(err, GV_LIMIT, (int64_t)at, "JSON at byte %zu: an object with %zu keys, more than %zu", at, n, max_keys);
    }
    for (; i < n; i++, key = unsafe_yyjson_get_next(key + 1)) scratch[i] = key;
    if (n > FEW_KEYS) {
        qsort(scratch, n, sizeof *scratch, compare_keys);
        const yyjson_val *first = NULL; /* the duplicate that stands first in the text */
        for (i = 1; i < n; i++) {
            if (sv_eq(text_of(scratch[i - 1]), text_of(scratch[i])) && (!first || scratch[i] < first)) first = scratch[i];
        }
        return first ? fail_duplicate(doc, first, err) : true;
    }
    for (i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (sv_eq(text_of(scratch[i]), text_of(scratch[j]))) return fail_duplicate(doc, scratch[i], err);
        }
    }
    return true;
}

/* Pass 3.  yyjson keeps all values in one array in source order, so no walk of the tree is needed. */
static bool check_objects(yyjson_doc *doc, size_t max_keys, gv_err *err) {
    const yyjson_val *few[FEW_KEYS], **scratch = few;
    yyjson_val *v = doc->root;
    size_t n = doc->val_read;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (!unsafe_yyjson_is_obj(v + i)) continue;
        if (scratch == few && unsafe_yyjson_get_len(v + i) > FEW_KEYS) {
            scratch = gv_try_malloc(max_keys, sizeof *scratch, "keys of a JSON object", err);
            if (!scratch) return false;
        }
        ok = check_keys(doc, v + i, max_keys, scratch, err);
    }
    if (scratch != few) free(scratch);
    return ok;
}

json_doc *json_parse(sv text, gv_err *err) {
    return json_parse_caps(text, JSON_MAX_KEYS, JSON_MAX_VALUES, err);
}

json_doc *json_parse_caps(sv text, size_t max_keys, size_t max_values, gv_err *err) {
    if (text.n == 0) {
        gv_fail(err, GV_FORMAT, 0, "invalid JSON at byte 0: empty text");
        return NULL;
    }
    if (!check_shape(text, max_values, err)) return NULL;
    static const yyjson_alc alc = {alc_malloc, alc_realloc, alc_free, NULL};
    yyjson_read_err why = {0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NUMBER_AS_RAW, &alc, &why);
    if (!doc) {
        if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
            gv_fail(err, GV_MEMORY, -1, "JSON of %zu bytes: out of memory", text.n);
        else
            gv_fail(err, GV_FORMAT, (int64_t)why.pos, "invalid JSON at byte %zu: %s", why.pos, why.msg);
        return NULL;
    }
    if (!check_objects(doc, max_keys, err)) {
        yyjson_doc_free(doc);
        return NULL;
    }
    return (json_doc *)doc;
}

void json_free(json_doc *d) {
    yyjson_doc_free((yyjson_doc *)d);
}

const json_value *json_root(const json_doc *d) {
    return out_val(((const yyjson_doc *)d)->root);
}

json_kind json_kind_of(const json_value *v) {
    switch (unsafe_yyjson_get_type(val(v))) {
    case YYJSON_TYPE_BOOL: return JSON_BOOL;
    case YYJSON_TYPE_RAW:
    case YYJSON_TYPE_NUM: return JSON_NUMBER;
    case YYJSON_TYPE_STR: return JSON_STRING;
    case YYJSON_TYPE_ARR: return JSON_ARRAY;
    case YYJSON_TYPE_OBJ: return JSON_OBJECT;
    default: return JSON_NULL;
    }
}

const char *json_kind_name(const json_value *v) {
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    return names[json_kind_of(v)];
}

bool json_bool(const json_value *v) {
    return yyjson_is_true(val(v));
}

sv json_string(const json_value *v) {
    if (!yyjson_is_str(val(v))) return (sv){"", 0};
    return (sv){unsafe_yyjson_get_str(val(v)), unsafe_yyjson_get_len(val(v))};
}

sv json_number_text(const json_value *v) {
    if (!yyjson_is_raw(val(v))) return (sv){"", 0};
    return (sv){unsafe_yyjson_get_raw(val(v)), unsafe_yyjson_get_len(val(v))};
}

bool json_int64(const json_value *v, int64_t *out) {
    sv s = json_number_text(v);
    size_t i = s.n > 0 && s.p[0] == '-';
    if (i >= s.n) return false;
    int64_t n = 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, digit, &n)) return false; /* negative: INT64_MIN fits */
    }
    if (s.p[0] != '-' && __builtin_sub_overflow(0, n, &n)) return false;
    *out = n;
    return true;
}

/* yyjson's reader rounds correctly and knows no locale.  It stops at the byte after the number, which in a parsed document is no part of
 * one (or the NUL that yyjson put there). */
bool json_double(const json_value *v, double *out) {
    sv s = json_number_text(v);
    if (s.n == 0) return false;
    yyjson_val number;
    const char *end = yyjson_read_number(s.p, &number, YYJSON_READ_NOFLAG, NULL, NULL);
    if (end != s.p + s.n) return false;
    double d = unsafe_yyjson_is_real(&number)   ? unsafe_yyjson_get_real(&number)
               : unsafe_yyjson_is_uint(&number) ? (double)unsafe_yyjson_get_uint(&number)
                                                : (double)unsafe_yyjson_get_sint(&number);
    if (!isfinite(d)) return false;
    *out = d;
    return true;
}

size_t json_size(const json_value *v) {
    return yyjson_is_ctn(val(v)) ? unsafe_yyjson_get_len(val(v)) : 0;
}

const json_value *json_get_sv(const json_value *v, sv key) {
    if (!v) return NULL;
    return out_val(yyjson_obj_getn(val(v), key.p ? key.p : "", key.n));
}

const json_value *json_get(const json_value *v, const char *key) {
    return json_get_sv(v, sv_of(key));
}

json_iter json_each(const json_value *v) {
    json_iter it = {.container = v, .left = json_size(v)};
    if (it.left) it.next = out_val(unsafe_yyjson_get_first(val(v)));
    return it;
}

bool json_next(json_iter *it) {
    if (it->left == 0) return false;
    it->left--;
    yyjson_val *v = val(it->next);
    if (unsafe_yyjson_is_obj(val(it->container))) {
        it->key = (sv){unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v)};
        v++;
    }
    it->value = out_val(v);
    if (it->left) it->next = out_val(unsafe_yyjson_get_next(v));
    return true;
}

static void put_valid(buf *out, sv s) {
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_add(out, s.p + from, i - from);
        from = i + 1;
        static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\"; /* pairs: character, letter */
        const char *pair = letters;
        while (*pair && (unsigned char)*pair != c) pair += 2;
        if (c && *pair) {
            buf_add_char(out, '\\');
            buf_add_char(out, pair[1]);
        } else {
            buf_printf(out, "\\u%04x", c);
        }
    }
    buf_add(out, s.p + from, s.n - from);
}

void json_put_string(buf *out, sv s) {
    buf_add_char(out, '"');
    if (s.n && utf8_invalid_at(s) != SIZE_MAX) {
        buf clean = {0};
        utf8_replace(s, &clean);
        put_valid(out, buf_view(&clean));
        buf_fini(&clean);
    } else if (s.n) {
        put_valid(out, s);
    }
    buf_add_char(out, '"');
}

void json_put_value(buf *out, const json_value *v) {
    switch (json_kind_of(v)) {
    case JSON_NULL: buf_add_str(out, "null"); break;
    case JSON_BOOL: buf_add_str(out, json_bool(v) ? "true" : "false"); break;
    case JSON_NUMBER: buf_add_sv(out, json_number_text(v)); break;
    case JSON_STRING: json_put_string(out, json_string(v)); break;
    case JSON_ARRAY:
    case JSON_OBJECT: {
        bool object = json_kind_of(v) == JSON_OBJECT, first = true;
        buf_add_char(out, object ? '{' : '[');
        for (json_iter it = json_each(v); json_next(&it); first = false) { /* recursion: at most JSON_MAX_DEPTH */
            if (!first) buf_add_char(out, ',');
            if (object) {
                json_put_string(out, it.key);
                buf_add_char(out, ':');
            }
            json_put_value(out, it.value);
        }
        buf_add_char(out, object ? '}' : ']');
        break;
    }
    }
}

void json_put_int(buf *out, int64_t v) {
    buf_printf(out, "%lld", (long long)v);
}

void json_put_double(buf *out, double v) {
    char room[1024];
    yyjson_alc alc;
    yyjson_val number = {0};
    size_t n = 0;
    yyjson_alc_pool_init(&alc, room, sizeof room);
    unsafe_yyjson_set_real(&number, v);
    char *text = isfinite(v) ? yyjson_val_write_opts(&number, YYJSON_WRITE_NOFLAG, &alc, &n, NULL) : NULL;
    if (text)
        buf_add(out, text, n);
    else
        buf_add_str(out, "null"); /* JSON has no infinity and no NaN */
}
