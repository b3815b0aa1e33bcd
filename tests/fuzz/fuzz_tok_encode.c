/* Encodes random bytes with one of several tokenizers (first byte) and checks what must hold for any text: no control token from untrusted
 * text, the text comes back, trusted segments equal the joined text, decoding any ids is harmless. */
#include "tok/tok.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATA  GAVEL_TEST_DATA "/tokenizers/"
#define N_TOK 7

static tok *toks[N_TOK];

static void must(bool ok) {
    if (!ok) abort();
}

static void open_all(void) {
    static const char *const paths[N_TOK] = {DATA "spm",
                                             DATA "mistral_v1.model",
                                             DATA "spm/tokenizer.json",
                                             DATA "qwen2_small.vocab.gguf",
                                             DATA "llama3",
                                             DATA "gpt2/tokenizer.json",
                                             GAVEL_TEST_UNXZ "/smollm2.vocab.gguf"};
    for (size_t i = 0; i < N_TOK; i++) {
        gv_err err = GV_ERR_INIT;
        toks[i] = tok_open(paths[i], &err);
        if (!toks[i]) fprintf(stderr, "%s\n", err.msg);
        must(toks[i] != NULL);
    }
}

/* What decoding the ids of text gives where nothing is lost. */
static void check_round_trip(unsigned which, const tok *t, sv text, const ids *out) {
    buf back = {0}, want = {0};
    tok_decode(t, out->v, out->n, true, true, &back);
    if (which <= 2) { /* spm: U+2581 is a space; each malformed byte is U+FFFD */
        for (size_t i = 0; i < text.n;) {
            size_t from = i;
            int32_t c = utf8_next(text, &i);
            if (c == 0x2581)
                buf_add_char(&want, ' ');
            else if (c < 0)
                buf_add_str(&want, "\xef\xbf\xbd");
            else
                buf_add(&want, text.p + from, i - from);
        }
    } else {
        utf8_replace(text, &want);
    }
    must(sv_eq(buf_view(&back), buf_view(&want)));
    buf_fini(&back);
    buf_fini(&want);
}

static void check_segments(const tok *t, sv text, unsigned cut) {
    gv_err err = GV_ERR_INIT;
    ids joined = {0}, parts = {0}, prompt = {0};
    tok_segment seg[64];
    size_t n = 0;
    for (size_t i = 0; i < text.n && n < 63; i += 1 + cut % 13) seg[n++] = (tok_segment){sv_sub(text, i, 1 + cut % 13), true};
    if (n == 63) seg[n - 1].text = sv_sub(text, (n - 1) * (1 + cut % 13), text.n);
    must(tok_encode(t, text, true, &joined, &err) && tok_encode_segments(t, seg, n, &parts, &err));
    must(joined.n == parts.n && (!parts.n || memcmp(joined.v, parts.v, parts.n * sizeof *parts.v) == 0));
    for (size_t i = 0; i < n; i++) seg[i].trusted = (cut >> (i % 8)) & 1;
    must(tok_encode_prompt(t, seg, n, &prompt, &err));
    if (tok_adds_bos(t)) must(prompt.n && prompt.v[0] == tok_bos(t) && (prompt.n < 2 || prompt.v[1] != tok_bos(t)));
    ids_fini(&joined);
    ids_fini(&parts);
    ids_fini(&prompt);
}

static void check_decode(const tok *t, sv bytes) {
    buf b = {0}, whole = {0}, parts = {0};
    ids in = {0};
    for (size_t i = 0; i + 1 < bytes.n; i += 2) ids_add(&in, (int32_t)((uint8_t)bytes.p[i] | (uint8_t)bytes.p[i + 1] << 8) - 100);
    tok_decode(t, in.v, in.n, false, false, &whole);
    for (size_t i = 0; i < in.n; i++) tok_decode(t, in.v + i, 1, false, false, &parts);
    must(sv_eq(buf_view(&whole), buf_view(&parts)));
    tok_decode_text(t, in.v, in.n, true, true, &b);
    tok_decode_reference(t, in.v, in.n, &b);
    must(utf8_invalid_at(buf_view(&b)) == SIZE_MAX);
    buf_fini(&b);
    buf_fini(&whole);
    buf_fini(&parts);
    ids_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    if (!toks[0]) open_all();
    gv_err err = GV_ERR_INIT;
    unsigned which = data[0] % N_TOK, cut = data[1];
    const tok *t = toks[which];
    sv text = {(const char *)data + 2, size - 2};
    ids out = {0};
    must(tok_encode(t, text, false, &out, &err));
    for (size_t i = 0; i < out.n; i++) must(out.v[i] >= 0 && out.v[i] < tok_n_vocab(t) && !tok_is_control(t, out.v[i]));
    bool normalises = which == 3, lacks_bytes = which == 6;
    if (!normalises && !lacks_bytes) check_round_trip(which, t, text, &out);
    out.n = 0;
    must(tok_encode_continue(t, text, &out, &err));
    check_segments(t, text, cut);
    check_decode(t, text);
    ids_fini(&out);
    return 0;
}
