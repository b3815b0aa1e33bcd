/* Decoding: ids to bytes or text.
 *
 * Byte-level vocabularies join the tokens' bytes.  SentencePiece drops the one space that the dummy prefix put in front: where special
 * tokens are shown, from the first token only (llama.cpp's detokenizer, which the byte goldens come from); where they are hidden, from
 * the first token that adds text, control tokens before it notwithstanding (sentencepiece_processor.cc, Decode).  As text, sentencepiece
 * replaces each malformed byte of a run of byte tokens by U+FFFD; tokenizers replaces each maximal malformed part. */
#include "tok/tok_internal.h"

static bool is_hidden(const tok *t, int32_t id) {
    return t->e[id].type == TT_CONTROL || t->e[id].type == TT_UNKNOWN;
}

/* The bytes id adds, specials by name or hidden. */
static sv shown(const tok *t, int32_t id, bool show_special) {
    if (!is_hidden(t, id)) return tok_raw(t, id);
    if (show_special) return tok_name(t, id);
    return t->family == TOK_SPM && t->e[id].type == TT_UNKNOWN ? buf_view(&t->unk_surface) : (sv){NULL, 0};
}

/* Bytes of a run of byte tokens, each malformed byte as U+FFFD. */
static void add_replaced(buf *out, sv run) {
    for (size_t i = 0; i < run.n;) {
        size_t from = i;
        if (utf8_next(run, &i) < 0)
            buf_add_str(out, "\xef\xbf\xbd");
        else
            buf_add(out, run.p + from, i - from);
    }
}

static void decode_spm(const tok *t, const int32_t *id, size_t n, bool show_special, bool at_start, bool replace, buf *out) {
    bool expect_space = at_start && t->dummy_prefix;
    size_t begin = out->n;
    buf run = {0};
    for (size_t i = 0; i < n; i++) {
        if (id[i] < 0 || id[i] >= t->n) continue;
        bool is_byte = t->e[id[i]].type == TT_BYTE;
        if (!is_byte && run.n) {
            add_replaced(out, buf_view(&run));
            buf_clear(&run);
        }
        sv s = shown(t, id[i], show_special);
        if (!show_special && out->n > begin) expect_space = false;
        bool strip = expect_space && s.n && s.p[0] == ' ' && (show_special || (!is_byte && !is_hidden(t, id[i])));
        if (strip) s = sv_sub(s, 1, s.n);
        if (show_special || strip) expect_space = false;
        buf_add_sv(is_byte && replace ? &run : out, s);
    }
    if (run.n) add_replaced(out, buf_view(&run));
    buf_fini(&run);
}

static void decode_bpe(const tok *t, const int32_t *id, size_t n, bool show_special, buf *out) {
    for (size_t i = 0; i < n; i++)
        if (id[i] >= 0 && id[i] < t->n) buf_add_sv(out, shown(t, id[i], show_special));
}

void tok_decode(const tok *t, const int32_t *id, size_t n, bool show_special, bool at_start, buf *out) {
    if (t->family == TOK_SPM)
        decode_spm(t, id, n, show_special, at_start, false, out);
    else
        decode_bpe(t, id, n, show_special, out);
}

void tok_decode_text(const tok *t, const int32_t *id, size_t n, bool show_special, bool at_start, buf *out) {
    if (t->family == TOK_SPM) {
        decode_spm(t, id, n, show_special, at_start, true, out);
        return;
    }
    buf raw = {0};
    decode_bpe(t, id, n, show_special, &raw);
    utf8_replace(buf_view(&raw), out);
    buf_fini(&raw);
}

void tok_decode_reference(const tok *t, const int32_t *id, size_t n, buf *out) {
    tok_decode_text(t, id, n, t->family == TOK_BPE, true, out);
}
