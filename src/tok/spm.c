/* SentencePiece BPE: one stretch of text to ids, as sentencepiece 0.2.0 encodes it (normalizer.cc, bpe_model.cc).
 *
 * The stretch is normalised: U+2581 in front (dummy prefix), spaces become U+2581, each byte that is not valid UTF-8 becomes U+FFFD.  Then
 * characters are merged; what is no piece at the end falls back to byte tokens.  A frozen USER_DEFINED piece is one symbol that never
 * merges.  No piece of the usual vocabularies has U+2581 behind another character, so that merges never cross from a character to a
 * following U+2581 and words can be merged apart (split_words), which gives the same ids with short merge loops. */
#include "tok/tok_internal.h"

#define SPACE "\xe2\x96\x81"

/* Length of the valid UTF-8 character at p[0..n), 0 if malformed. */
static inline size_t char_at(sv s, size_t i) {
    if ((uint8_t)s.p[i] < 0x80) return 1;
    size_t next = i;
    return utf8_next(s, &next) < 0 ? 0 : next - i;
}

static bool normalise(tok_work *w, sv text, bool prefix) {
    tok_bytes *o = &w->norm;
    o->n = 0;
    if (prefix && !tok_bytes_add(o, SPACE, 3, w->err)) return false;
    for (size_t i = 0; i < text.n;) {
        size_t from = i, k = 1;
        while (i < text.n && text.p[i] != ' ' && (k = char_at(text, i)) != 0) i += k;
        if (!tok_bytes_add(o, text.p + from, i - from, w->err)) return false;
        if (i == text.n) break;
        if (!tok_bytes_add(o, text.p[i] == ' ' ? SPACE : "\xef\xbf\xbd", 3, w->err)) return false;
        i++;
    }
    return true;
}

static int32_t piece_id(const tok *t, sv piece) {
    int32_t id = tok_find(t, piece);
    return id >= 0 && (t->e[id].type == TT_NORMAL || t->e[id].type == TT_USER_DEFINED) ? id : -1;
}

static void emit(const tok *t, const tok_work *w, ids *out) {
    for (size_t i = 0; i < w->n; i++) {
        const tok_sym *s = &w->s[i];
        int32_t id = s->id >= 0 ? s->id : piece_id(t, (sv){w->base + s->pos, s->len});
        if (id >= 0) {
            ids_add(out, id);
            continue;
        }
        for (uint32_t k = 0; k < s->len; k++) ids_add(out, t->byte_id[(uint8_t)w->base[s->pos + k]]);
    }
}

/* Symbols from *i on: one word if split_words, else all. */
static bool take_symbols(const tok *t, tok_work *w, sv norm, size_t *i) {
    w->n = 0;
    bool other = false;
    while (*i < norm.n) {
        size_t n = 0;
        int32_t id = t->frozen.n ? tok_set_match(&t->frozen, t, norm, *i, norm.n, &n) : -1;
        bool frozen = id >= 0;
        if (!frozen) {
            n = char_at(norm, *i);
            bool space = n == 3 && memcmp(norm.p + *i, SPACE, 3) == 0;
            if (space && other && t->split_words) return true;
            other |= !space;
            if (t->by_pair) id = piece_id(t, (sv){norm.p + *i, n});
        }
        if (!tok_work_push(w, (uint32_t)*i, (uint32_t)n, id, frozen)) return false;
        *i += n;
        if (frozen && t->split_words) return true; /* nothing merges with it */
    }
    return true;
}

bool tok_spm_stretch(const tok *t, tok_work *w, sv text, bool prefix, ids *out) {
    if (!text.n) return true;
    if (!normalise(w, text, prefix)) return false;
    sv norm = {w->norm.p, w->norm.n};
    w->base = norm.p;
    for (size_t i = 0; i < norm.n;) {
        if (!take_symbols(t, w, norm, &i) || !tok_merge(t, w)) return false;
        emit(t, w, out);
    }
    return true;
}
