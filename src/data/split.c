/* Split instructions of load_dataset: NAME, NAME[FROM:TO] with rows, negative rows from the end, or percents, optionally (pct1_dropremainder) or (closest)
 * behind the brackets, several joined by "+".  Percents round to the nearest row, halves to the even one, as Python's round does. */
#include "data/dataset_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { SHOWN = 80 };

static bool is_word(unsigned char c) {
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Bytes of text from `at` on that make a split name. */
static size_t name_length(sv text, size_t at) {
    size_t i = at;
    for (;;) {
        size_t begin = i;
        while (i < text.n && is_word((unsigned char)text.p[i])) i++;
        if (i == begin) return begin > at ? begin - 1 - at : 0;
        if (i >= text.n || text.p[i] != '.') return i - at;
        i++;
    }
}

bool split_name_check(sv name) {
    return name.n > 0 && name_length(name, 0) == name.n && utf8_invalid_at(name) == SIZE_MAX;
}

static bool fail_term(sv term, gv_err *err) {
    return gv_fail(err, GV_USAGE, -1, "split \"%.*s\" is not NAME, NAME[FROM:TO] or NAME[FROM%%:TO%%]; several are joined by +",
                   (int)(term.n > SHOWN ? SHOWN : term.n), term.p ? term.p : "");
}

/* -?[\d_]+ and an optional % at *i; *has false if there is no number. */
static bool read_bound(sv t, size_t *i, bool *has, bool *percent, int64_t *v, gv_err *err) {
    size_t begin = *i, k = begin;
    if (k < t.n && t.p[k] == '-') k++;
    const size_t digits = k;
    bool before_digit = false;
    int64_t n = 0;
    for (; k < t.n && ((t.p[k] >= '0' && t.p[k] <= '9') || t.p[k] == '_'); k++) {
        if (t.p[k] == '_') {
            if (!before_digit) return fail_term(t, err);
        } else if (__builtin_mul_overflow(n, (int64_t)10, &n) || __builtin_add_overflow(n, (int64_t)(t.p[k] - '0'), &n)) {
            return gv_fail(err, GV_LIMIT, -1, "split \"%s\": a bound is beyond 2^63", str_show(t).text);
        }
        before_digit = t.p[k] != '_';
    }
    *has = k > digits;
    if (!*has) return k == begin || fail_term(t, err);
    if (!before_digit) return fail_term(t, err);
    *v = t.p[begin] == '-' ? -n : n;
    if (k < t.n && t.p[k] == '%') {
        *percent = true;
        k++;
    }
    *i = k;
    return true;
}

static bool read_rounding(sv t, size_t *i, split_term *out, gv_err *err) {
    if (*i >= t.n || t.p[*i] != '(') return true;
    const char *close = memchr(t.p + *i, ')', t.n - *i);
    if (!close) return fail_term(t, err);
    const sv rounding = {t.p + *i + 1, (size_t)(close - t.p) - *i - 1};
    out->drop_remainder = sv_is(rounding, "pct1_dropremainder");
    if (!out->drop_remainder && !sv_is(rounding, "closest"))
        return gv_fail(err, GV_USAGE, -1, "split \"%s\": rounding is \"closest\" or \"pct1_dropremainder\"", str_show(t).text);
    if (!out->percent) return gv_fail(err, GV_USAGE, -1, "split \"%s\": rounding goes with percents only", str_show(t).text);
    *i = (size_t)(close - t.p) + 1;
    return true;
}

static bool read_term(sv t, split_term *out, gv_err *err) {
    *out = (split_term){0};
    size_t i = name_length(t, 0);
    if (i == 0) return fail_term(t, err);
    const size_t name = i;
    if (i < t.n && t.p[i] == '[') {
        i++;
        if (!read_bound(t, &i, &out->has_from, &out->percent, &out->from, err)) return false;
        if (i >= t.n || t.p[i] != ':') return fail_term(t, err);
        i++;
        if (!read_bound(t, &i, &out->has_to, &out->percent, &out->to, err)) return false;
        if (i >= t.n || t.p[i] != ']') return fail_term(t, err);
        i++;
    }
    if (!read_rounding(t, &i, out, err)) return false;
    if (i != t.n) return fail_term(t, err);
    if (out->percent && (out->from > 100 || out->from < -100 || out->to > 100 || out->to < -100))
        return gv_fail(err, GV_USAGE, -1, "split \"%s\": percents run from -100 to 100", str_show(t).text);
    out->name = gv_xmalloc(name + 1);
    memcpy(out->name, t.p, name);
    out->name[name] = 0;
    return true;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool split_parse(const char *text, split_spec *out, gv_err *err) {
    *out = (split_spec){0};
    for (const char *p = text;;) {
        const char *end = strchrnul(p, '+');
        sv t = {p, (size_t)(end - p)};
        while (t.n && *end && is_space(t.p[t.n - 1])) t.n--;
        while (t.n && p != text && is_space(t.p[0])) t.p++, t.n--;
        if (out->n == SPLIT_MAX_TERMS) {
            split_fini(out);
            return gv_fail(err, GV_LIMIT, -1, "split: more than the cap of %d parts", SPLIT_MAX_TERMS);
        }
        out->terms = gv_xrealloc(out->terms, (out->n + 1) * sizeof *out->terms);
        if (!read_term(t, &out->terms[out->n], err)) {
            split_fini(out);
            return false;
        }
        out->n++;
        if (!*end) return true;
        p = end + 1;
    }
}

void split_fini(split_spec *s) {
    for (size_t i = 0; i < s->n; i++) free(s->terms[i].name);
    free(s->terms);
    *s = (split_spec){0};
}

/* round(percent * n / 100), halves to even. */
static __int128 nearest(int64_t percent, uint64_t n) {
    const __int128 x = (__int128)percent * n, whole = x / 100, rest = x % 100, twice = 2 * (rest < 0 ? -rest : rest);
    const int sign = x < 0 ? -1 : 1;
    return twice > 100 || (twice == 100 && whole % 2 != 0) ? whole + sign : whole;
}

bool split_bounds(const split_term *t, uint64_t n, uint64_t *from, uint64_t *to, gv_err *err) {
    __int128 b[2] = {t->has_from ? t->from : 0, t->has_to ? t->to : (__int128)n};
    if (t->percent && t->drop_remainder && n < 100)
        return gv_fail(err, GV_USAGE, -1, "split \"%s\": pct1_dropremainder needs at least 100 rows, there are %llu", t->name,
                       (unsigned long long)n);
    for (int i = 0; i < 2; i++) {
        if (t->percent && (i ? t->has_to : t->has_from)) b[i] = t->drop_remainder ? b[i] * (__int128)(n / 100) : nearest((int64_t)b[i], n);
        if (b[i] < 0) b[i] += n;
        if (b[i] < 0) b[i] = 0;
        if (b[i] > (__int128)n) b[i] = n;
    }
    *from = (uint64_t)b[0];
    *to = b[1] > b[0] ? (uint64_t)b[1] : *from;
    if (*from == *to) *from = *to = 0;
    return true;
}
