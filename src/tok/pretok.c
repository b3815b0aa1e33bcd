/* Pre-tokenizers of byte-level BPE, written by hand: where the next word ends.  Linear time, no regular expressions at run time.
 *
 * The expressions they equal (tried in this order at each place; \s is White_Space):
 *   gpt2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   smollm  every \p{N} is a word of its own; gpt2 on each part between
 *   llama3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   qwen2   llama3 with \p{N} for \p{N}{1,3}
 * `\s+(?!\S)` is a run of space without its last character, unless the text ends there.  Case folding makes U+017F an s in (?i:'s). */
#include "tok/tok_internal.h"

#include <utf8proc.h>

enum { L = 1, N = 2, S = 4, O = 8 }; /* letter, number, space, other */

static unsigned class_of(uint32_t c) {
    if (c < 0x80) {
        if ((c | 32) - 'a' < 26) return L;
        if (c - '0' < 10) return N;
        return c == ' ' || (c >= 9 && c <= 13) ? S : O;
    }
    if (c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
        c == 0x3000)
        return S;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return L;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return N;
    default: return O;
    }
}

/* Class of the character at i < s.n of valid UTF-8; *next is behind it. */
static inline unsigned class_at(sv s, size_t i, size_t *next) {
    const uint8_t *p = (const uint8_t *)s.p + i;
    uint32_t c = p[0];
    if (c < 0x80) {
        *next = i + 1;
    } else if (c < 0xe0) {
        *next = i + 2;
        c = (c & 31) << 6 | (p[1] & 63u);
    } else if (c < 0xf0) {
        *next = i + 3;
        c = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    } else {
        *next = i + 4;
        c = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    }
    return class_of(c);
}

/* End of the run of characters of one class that starts at i. */
static size_t run_end(sv s, size_t i, unsigned cls) {
    for (size_t next; i < s.n && class_at(s, i, &next) == cls; i = next) {
    }
    return i;
}

static bool is_newline(char c) {
    return c == '\r' || c == '\n';
}

/* Length of a contraction like 're at i (an apostrophe), 0 if none. */
static size_t contraction(sv s, size_t i, bool any_case) {
    sv r = sv_sub(s, i + 1, 2);
    char a = r.n > 0 ? r.p[0] : 0, b = r.n > 1 ? r.p[1] : 0;
    if (any_case) {
        if (a == '\xc5' && b == '\xbf') return 3; /* U+017F */
        if (a >= 'A' && a <= 'Z') a = (char)(a + 32);
        if (b >= 'A' && b <= 'Z') b = (char)(b + 32);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* End of the word in the run of space that starts at i and has no newline taken: \s+(?!\S)|\s+ */
static size_t space_end(sv s, size_t i) {
    size_t end = run_end(s, i, S);
    if (end == s.n) return end;
    size_t last = end - 1;
    while (last > i && ((uint8_t)s.p[last] & 0xc0) == 0x80) last--;
    return last > i ? last : end;
}

static size_t gpt2_next(sv s, size_t i) {
    if (s.p[i] == '\'') {
        size_t n = contraction(s, i, false);
        if (n) return i + n;
    }
    size_t next, next2;
    unsigned cls = class_at(s, i, &next);
    if (cls != S) return run_end(s, next, cls);
    if (s.p[i] == ' ' && next < s.n) {
        unsigned after = class_at(s, next, &next2);
        if (after != S) return run_end(s, next2, after);
    }
    return space_end(s, i);
}

static size_t smollm_next(sv s, size_t i, size_t *piece_end) {
    size_t next;
    if (i >= *piece_end) {
        if (class_at(s, i, &next) == N) return *piece_end = next;
        size_t end = i;
        while (end < s.n && class_at(s, end, &next) != N) end = next;
        *piece_end = end;
    }
    return gpt2_next((sv){s.p, *piece_end}, i);
}

static size_t punctuation_end(sv s, size_t i) {
    i = run_end(s, i, O);
    while (i < s.n && is_newline(s.p[i])) i++;
    return i;
}

static size_t llama3_next(sv s, size_t i, int max_digits) {
    if (s.p[i] == '\'') {
        size_t n = contraction(s, i, true);
        if (n) return i + n;
    }
    size_t next, next2;
    unsigned cls = class_at(s, i, &next), after = next < s.n ? class_at(s, next, &next2) : 0;
    if (cls == L) return run_end(s, next, L);
    if (cls == N) {
        for (int k = 1; k < max_digits && next < s.n && class_at(s, next, &next2) == N; k++) next = next2;
        return next;
    }
    if (after == L && !is_newline(s.p[i])) return run_end(s, next2, L);
    if (cls == O) return punctuation_end(s, next);
    if (s.p[i] == ' ' && after == O) return punctuation_end(s, next2);
    size_t newline_end = 0;
    for (size_t k = i; k < s.n && class_at(s, k, &next) == S; k = next)
        if (is_newline(s.p[k])) newline_end = next;
    return newline_end ? newline_end : space_end(s, i);
}

size_t tok_pretok_next(tok_pretok kind, sv s, size_t i, size_t *piece_end) {
    switch (kind) {
    case PRETOK_GPT2: return gpt2_next(s, i);
    case PRETOK_SMOLLM: return smollm_next(s, i, piece_end);
    case PRETOK_LLAMA3: return llama3_next(s, i, 3);
    case PRETOK_QWEN2: return llama3_next(s, i, 1);
    default: return s.n;
    }
}
