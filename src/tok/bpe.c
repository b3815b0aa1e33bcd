/* Byte-level BPE: one stretch of text to ids, as tokenizers 0.22 encodes it (NFC if the model has it, pre-tokenizer, merges by rank).
 *
 * Symbols start as the ids of single bytes.  A byte without a token (SmolLM2 lacks 21) is left out, and its neighbours become neighbours,
 * as in models/bpe/model.rs.  Malformed UTF-8 is replaced by U+FFFD first, as Python's errors="replace" would. */
#include "tok/tok_internal.h"

static int32_t whole_word(const tok *t, sv word) {
    char name[2 * TOK_MAX_PIECE];
    if (word.n > TOK_MAX_PIECE) return -1;
    size_t n = 0;
    for (size_t i = 0; i < word.n; i++) n += utf8_put(tok_alphabet_char((uint8_t)word.p[i]), name + n);
    int32_t id = tok_find(t, (sv){name, n});
    return id >= 0 && t->e[id].type == TT_NORMAL ? id : -1;
}

static bool encode_word(const tok *t, tok_work *w, sv word, ids *out) {
    if (t->ignore_merges) {
        int32_t id = whole_word(t, word);
        if (id >= 0) {
            ids_add(out, id);
            return true;
        }
    }
    w->n = 0;
    w->base = word.p;
    for (size_t i = 0; i < word.n; i++) {
        int32_t id = t->byte_id[(uint8_t)word.p[i]];
        if (id >= 0 && !tok_work_push(w, (uint32_t)i, 1, id, false)) return false;
    }
    if (!tok_merge(t, w)) return false;
    for (size_t i = 0; i < w->n; i++) ids_add(out, w->s[i].id);
    return true;
}

bool tok_bpe_stretch(const tok *t, tok_work *w, sv text, ids *out) {
    buf fixed = {0};
    if (utf8_invalid_at(text) != SIZE_MAX) {
        utf8_replace(text, &fixed);
        text = buf_view(&fixed);
    }
    bool done = true;
    if (t->nfc && tok_nfc_needed(text)) {
        done = tok_nfc(w, text);
        text = (sv){w->norm.p, w->norm.n};
    }
    size_t piece_end = 0;
    for (size_t i = 0; done && i < text.n;) {
        size_t end = tok_pretok_next(t->pretok, text, i, &piece_end);
        done = encode_word(t, w, (sv){text.p + i, end - i}, out);
        i = end;
    }
    buf_fini(&fixed);
    return done;
}
