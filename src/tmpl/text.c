/* String operations with Python's semantics: positions are code points, white space and case are Unicode's (utf8proc, and case_table.c
 * for mappings to several characters).  Results share the bytes and flags of their input where they are part of it, and copy both else.
 * Bytes that are not UTF-8 count as one character each and are kept. */
#include "tmpl/case_table.h"
#include "tmpl/tmpl_internal.h"

#include <utf8proc.h>

int32_t cp_next(sv s, size_t *pos) {
    if ((uint8_t)s.p[*pos] < 0x80) return (uint8_t)s.p[(*pos)++];
    return utf8_next(s, pos);
}

/* The code point that ends at *pos (> 0); moves *pos before it. */
static int32_t cp_prev(sv s, size_t *pos) {
    size_t end = *pos, from = end - 1;
    while (from > 0 && end - from < 4 && ((uint8_t)s.p[from] & 0xc0) == 0x80) from--;
    size_t at = from;
    int32_t c = cp_next((sv){s.p, end}, &at);
    if (at == end) {
        *pos = from;
        return c;
    }
    *pos = end - 1;
    return -1;
}

bool cp_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static bool cp_is_line_end(int32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool cp_printable(uint32_t c) {
    if (c < 0x7f) return c >= 0x20;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

size_t str_cp_count(sv s) {
    size_t n = 0;
    for (size_t pos = 0; pos < s.n; n++) cp_next(s, &pos);
    return n;
}

size_t str_cp_offset(sv s, size_t k) {
    size_t pos = 0;
    while (k-- > 0 && pos < s.n) cp_next(s, &pos);
    return pos;
}

static bool in_set(int32_t c, const val *chars) {
    if (!chars) return c >= 0 && cp_is_space((uint32_t)c);
    for (size_t pos = 0; pos < chars->n;) {
        if (cp_next(val_sv(*chars), &pos) == c && c >= 0) return true;
    }
    return false;
}

static val strip_set(val s, bool left, bool right, const val *chars) {
    size_t from = 0, to = s.n;
    while (left && from < to) {
        size_t next = from;
        if (!in_set(cp_next(val_sv(s), &next), chars)) break;
        from = next;
    }
    while (right && to > from) {
        size_t before = to;
        if (!in_set(cp_prev(val_sv(s), &before), chars)) break;
        to = before;
    }
    return str_sub(s, from, to - from);
}

val str_strip_space(val s, bool left, bool right) {
    return strip_set(s, left, right, NULL);
}

bool str_strip(ev *e, val s, bool left, bool right, const val *chars, val *out) {
    if (!ev_touch(e, s.n) || (chars && chars->n > 16 && !ev_steps(e, s.n / 64 * (chars->n / 16)))) return false;
    *out = strip_set(s, left, right, chars);
    return true;
}

static const case_special *find_special(int32_t c) {
    size_t lo = 0, hi = n_case_specials;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (case_specials[mid].c == c) return &case_specials[mid];
        if (case_specials[mid].c < c) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

static bool cp_lower_cat(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LL || (utf8proc_toupper(c) != c && utf8proc_tolower(c) == c);
}
static bool cp_upper_cat(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LU || (utf8proc_tolower(c) != c && utf8proc_toupper(c) == c);
}
static bool cp_cased(int32_t c) {
    return c >= 0 && (cp_lower_cat(c) || cp_upper_cat(c) || utf8proc_category(c) == UTF8PROC_CATEGORY_LT);
}

static bool case_ignorable(int32_t c) {
    return c >= 0 && (utf8proc_category(c) == UTF8PROC_CATEGORY_MN || c == '\'' || c == '.' || c == ':' || c == 0xad);
}

/* Sigma is final when a cased letter stands before it and none after; up to 64 case-ignorable characters between them are skipped. */
static bool final_sigma(sv s, size_t at, size_t after) {
    int32_t c = -1;
    for (int k = 0; k < 64 && at > 0; k++) {
        c = cp_prev(s, &at);
        if (!case_ignorable(c)) break;
    }
    if (!cp_cased(c)) return false;
    c = -1;
    for (int k = 0; k < 64 && after < s.n; k++) {
        c = cp_next(s, &after);
        if (!case_ignorable(c)) break;
    }
    return !cp_cased(c);
}

/* Appends code point c mapped by op (upper, lower or title) with flag user. */
static bool put_mapped(ev *e, sbuf *b, int32_t c, case_op op, bool sigma_final, bool user) {
    char u[16];
    size_t n = 0;
    const case_special *sp = c >= 0x80 && op != CASE_LOWER ? find_special(c) : NULL;
    if (sp) {
        const uint16_t *m = op == CASE_UPPER ? sp->upper : sp->title;
        for (int i = 0; i < 3 && m[i]; i++) n += utf8_put(m[i], u + n);
    } else if (op == CASE_LOWER && c == 0x130) {
        n = utf8_put('i', u);
        n += utf8_put(0x307, u + n);
    } else if (op == CASE_LOWER && c == 0x3a3) {
        n = utf8_put(sigma_final ? 0x3c2 : 0x3c3, u);
    } else {
        int32_t m = op == CASE_UPPER ? utf8proc_toupper(c) : op == CASE_LOWER ? utf8proc_tolower(c) : utf8proc_totitle(c);
        n = utf8_put((uint32_t)m, u);
    }
    return sb_add(e, b, u, n, user);
}

bool str_case(ev *e, val s, case_op op, val *out) {
    sbuf b = {0};
    bool prev_cased = false;
    if (!ev_steps(e, s.n / 8)) return false;
    for (size_t pos = 0; pos < s.n;) {
        size_t at = pos;
        int32_t c = cp_next(val_sv(s), &pos);
        if (c < 0) {
            if (!sb_add_val(e, &b, str_sub(s, at, 1))) return false;
            prev_cased = false;
            continue;
        }
        case_op one = op;
        if (op == CASE_CAPITALIZE) one = at == 0 ? CASE_TITLE : CASE_LOWER;
        if (op == CASE_TITLE) one = prev_cased ? CASE_LOWER : CASE_TITLE;
        if (op == CASE_SWAP) one = cp_upper_cat(c) ? CASE_LOWER : cp_lower_cat(c) ? CASE_UPPER : CASE_SWAP;
        prev_cased = cp_cased(c);
        bool sigma = c == 0x3a3 && one == CASE_LOWER && final_sigma(val_sv(s), at, pos);
        bool ok = one == CASE_SWAP ? sb_add_val(e, &b, str_sub(s, at, pos - at)) : put_mapped(e, &b, c, one, sigma, s.t ? s.t[at] : s.user);
        if (!ok) return false;
    }
    *out = sb_done(&b);
    return true;
}

/* The title filter: the first letter of each word upper, the others lower; words are split at blanks and - ( { [ <. */
bool str_title_filter(ev *e, val s, val *out) {
    sbuf b = {0};
    bool first = true;
    if (!ev_steps(e, s.n / 8)) return false;
    for (size_t pos = 0; pos < s.n;) {
        size_t at = pos;
        int32_t c = cp_next(val_sv(s), &pos);
        bool ok;
        if (c < 0) {
            ok = sb_add_val(e, &b, str_sub(s, at, 1));
        } else {
            bool sigma = c == 0x3a3 && !first && final_sigma(val_sv(s), at, pos);
            ok = put_mapped(e, &b, c, first ? CASE_UPPER : CASE_LOWER, sigma, s.t ? s.t[at] : s.user);
        }
        if (!ok) return false;
        first = c >= 0 && (cp_is_space((uint32_t)c) || (c < 0x80 && c > 0 && strchr("-({[<", c)));
    }
    *out = sb_done(&b);
    return true;
}

bool str_replace(ev *e, val s, val from, val to, int64_t count, val *out) {
    sbuf b = {0};
    size_t pos = 0;
    if (!ev_touch(e, s.n)) return false;
    if (from.n == 0) { /* before each character and at the end */
        for (; count != 0 && pos <= s.n; count--) {
            if (!sb_add_val(e, &b, to)) return false;
            if (pos == s.n) {
                pos++;
                break;
            }
            size_t next = pos;
            cp_next(val_sv(s), &next);
            if (!sb_add_val(e, &b, str_sub(s, pos, next - pos))) return false;
            pos = next;
        }
    }
    while (from.n && count != 0) {
        size_t at = sv_find(val_sv(s), val_sv(from), pos);
        if (at == SIZE_MAX) break;
        if (!ev_steps(e, 1) || !sb_add_val(e, &b, str_sub(s, pos, at - pos)) || !sb_add_val(e, &b, to)) return false;
        pos = at + from.n;
        count--;
    }
    if (pos < s.n && !sb_add_val(e, &b, str_sub(s, pos, s.n - pos))) return false;
    *out = sb_done(&b);
    return true;
}

static bool split_spaces(ev *e, val s, int64_t max, list *l) {
    size_t pos = 0;
    for (;;) {
        s = str_strip_space(str_sub(s, pos, s.n), true, false);
        if (!s.n) return true;
        if (max == 0) return list_add(e, l, s);
        max--;
        size_t end = 0;
        while (end < s.n) {
            size_t next = end;
            int32_t c = cp_next(val_sv(s), &next);
            if (c >= 0 && cp_is_space((uint32_t)c)) break;
            end = next;
        }
        if (!list_add(e, l, str_sub(s, 0, end))) return false;
        pos = end;
    }
}

static bool rsplit_spaces(ev *e, val s, int64_t max, list *l) {
    for (;;) {
        s = str_strip_space(s, false, true);
        if (!s.n) return true;
        if (max == 0) return list_add(e, l, s);
        max--;
        size_t from = s.n;
        while (from > 0) {
            size_t before = from;
            int32_t c = cp_prev(val_sv(s), &before);
            if (c >= 0 && cp_is_space((uint32_t)c)) break;
            from = before;
        }
        if (!list_add(e, l, str_sub(s, from, s.n - from))) return false;
        s = str_sub(s, 0, from);
    }
}

static void reverse_list(list *l) {
    for (size_t i = 0; i + 1 < l->n - i; i++) {
        val t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
}

/* The bytes of s back to front, so that a search from the right is linear too. */
bool str_reversed_bytes(ev *e, val s, sv *out) {
    char *p = ev_alloc(e, s.n, 1);
    if (!p) return false;
    for (size_t i = 0; i < s.n; i++) p[i] = s.p[s.n - 1 - i];
    *out = (sv){p, s.n};
    return true;
}

/* max < 0: no limit.  sep NULL: runs of white space. */
bool str_split(ev *e, val s, const val *sep, int64_t max, bool from_right, val *out) {
    if (!ev_touch(e, s.n) || !list_new(e, L_LIST, 0, false, out)) return false;
    list *l = out->l;
    if (!sep) {
        if (!from_right) return split_spaces(e, s, max, l);
        if (!rsplit_spaces(e, s, max, l)) return false;
        if (l->n) reverse_list(l);
        return true;
    }
    if (!sep->n) return ev_fail(e, "ValueError", "empty separator");
    if (!from_right) {
        size_t pos = 0;
        for (; max != 0; max--) {
            size_t at = sv_find(val_sv(s), val_sv(*sep), pos);
            if (at == SIZE_MAX) break;
            if (!list_add(e, l, str_sub(s, pos, at - pos))) return false;
            pos = at + sep->n;
        }
        return list_add(e, l, str_sub(s, pos, s.n));
    }
    sv back, back_sep;
    size_t pos = 0; /* in back */
    if (!str_reversed_bytes(e, s, &back) || !str_reversed_bytes(e, *sep, &back_sep)) return false;
    for (; max != 0; max--) {
        size_t at = sv_find(back, back_sep, pos);
        if (at == SIZE_MAX) break;
        if (!list_add(e, l, str_sub(s, s.n - at, at - pos))) return false;
        pos = at + sep->n;
    }
    if (!list_add(e, l, str_sub(s, 0, s.n - pos))) return false;
    reverse_list(l);
    return true;
}

bool str_splitlines(ev *e, val s, bool keep, val *out) {
    if (!ev_touch(e, s.n) || !list_new(e, L_LIST, 0, false, out)) return false;
    size_t from = 0;
    for (size_t pos = 0; pos < s.n;) {
        size_t at = pos;
        int32_t c = cp_next(val_sv(s), &pos);
        if (!cp_is_line_end(c)) continue;
        if (c == '\r' && pos < s.n && s.p[pos] == '\n') pos++;
        if (!list_add(e, out->l, str_sub(s, from, (keep ? pos : at) - from))) return false;
        from = pos;
    }
    return from >= s.n || list_add(e, out->l, str_sub(s, from, s.n - from));
}

bool str_html_escape(ev *e, val s, val *out) {
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    sbuf b = {0};
    size_t plain = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *hit = s.p[i] ? strchr(from, s.p[i]) : NULL;
        if (!hit) continue;
        if (!sb_add_val(e, &b, str_sub(s, plain, i - plain)) || !sb_add_lit(e, &b, to[hit - from], s.t ? s.t[i] : s.user)) return false;
        plain = i + 1;
    }
    if (!sb_add_val(e, &b, str_sub(s, plain, s.n))) return false;
    *out = sb_done(&b);
    out->markup = true;
    return ev_touch(e, s.n);
}

bool str_repeat(ev *e, val s, int64_t n, val *out) {
    sbuf b = {0};
    if (n > 0 && s.n && (uint64_t)n > e->lim.max_output_bytes / s.n) {
        return ev_limit(e, "text over %zu bytes (max_output_bytes)", e->lim.max_output_bytes);
    }
    for (; n > 0 && s.n; n--) {
        if (!ev_steps(e, 1) || !sb_add_val(e, &b, s)) return false;
    }
    *out = sb_done(&b);
    return true;
}

/* count characters from character `start` on in steps of `step` (not 0); all are inside s. */
bool str_slice(ev *e, val s, int64_t start, int64_t step, size_t count, val *out) {
    if (!ev_touch(e, s.n)) return false;
    if (step == 1 || count <= 1) {
        size_t from = str_cp_offset(val_sv(s), count ? (size_t)start : 0);
        *out = str_sub(s, from, str_cp_offset(val_sv(str_sub(s, from, s.n)), count));
        return true;
    }
    sbuf b = {0};
    size_t pos = str_cp_offset(val_sv(s), (size_t)start);
    for (size_t i = 0; i < count; i++) {
        size_t next = pos;
        cp_next(val_sv(s), &next);
        if (!ev_steps(e, 1) || !sb_add_val(e, &b, str_sub(s, pos, next - pos))) return false;
        if (i + 1 == count) break;
        for (int64_t k = 0; k < step; k++) cp_next(val_sv(s), &pos);
        for (int64_t k = 0; k > step; k--) cp_prev(val_sv(s), &pos);
    }
    *out = sb_done(&b);
    return true;
}

static bool cp_is_digit_char(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND || c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 ||
           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}

static bool cp_has(int32_t c, is_op op) {
    utf8proc_category_t cat = utf8proc_category(c);
    bool alpha = cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO;
    bool numeric = cat == UTF8PROC_CATEGORY_ND || cat == UTF8PROC_CATEGORY_NL || cat == UTF8PROC_CATEGORY_NO;
    switch (op) {
    case IS_ALPHA: return alpha;
    case IS_DIGIT: return cp_is_digit_char(c);
    case IS_NUMERIC: return numeric;
    case IS_DECIMAL: return cat == UTF8PROC_CATEGORY_ND;
    case IS_ALNUM: return alpha || numeric;
    case IS_SPACE: return cp_is_space((uint32_t)c);
    case IS_ASCII: return c < 0x80;
    default: return false;
    }
}

bool str_is(sv s, is_op op) {
    bool any = false, prev_cased = false;
    for (size_t pos = 0; pos < s.n;) {
        int32_t c = cp_next(s, &pos);
        bool up = c >= 0 && cp_upper_cat(c), low = c >= 0 && cp_lower_cat(c), cased = cp_cased(c);
        if (op == IS_UPPER && cased && !up) return false;
        if (op == IS_LOWER && cased && !low) return false;
        if (op == IS_TITLE && ((low && !prev_cased) || (cased && !low && prev_cased))) return false;
        if (op != IS_UPPER && op != IS_LOWER && op != IS_TITLE) {
            if (c < 0 || !cp_has(c, op)) return false;
            cased = true;
        }
        prev_cased = cased;
        any |= cased;
    }
    return any || (op == IS_ASCII && s.n == 0);
}
