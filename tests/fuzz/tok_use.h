/* What loads must be usable: encoding, segments and decoding hold their promises for any vocabulary that passed the checks.  Used by the fuzz
 * targets of tokenizers. */
#ifndef GAVEL_TESTS_TOK_USE_H
#define GAVEL_TESTS_TOK_USE_H

#include "tok/tok.h"

#include <stdlib.h>

static inline void must(bool ok) {
    if (!ok) abort();
}

static inline void tok_use(const tok *t) {
    const sv text = SV("Hello  w\xc3\xb6rld 123\n\n'S <s>x</s><|im_end|>\xff\xe2\x96\x81 aaaabbbb <0x0A> e\xcc\x81");
    gv_err err = GV_ERR_INIT;
    ids out = {0};
    buf b = {0};
    int32_t n = tok_n_vocab(t);
    must(n > 0 && tok_bos(t) < n && tok_eos(t) < n && (!tok_adds_bos(t) || tok_bos(t) >= 0));
    must(tok_encode(t, text, false, &out, &err));
    for (size_t i = 0; i < out.n; i++) must(out.v[i] >= 0 && out.v[i] < n && !tok_is_control(t, out.v[i]));
    must(tok_encode(t, text, true, &out, &err));
    tok_segment seg[] = {{text, true}, {SV("<s></s>"), false}, {text, true}};
    must(tok_encode_prompt(t, seg, 3, &out, &err));
    for (size_t i = 0; i < out.n; i++) must(out.v[i] >= 0 && out.v[i] < n);
    tok_decode_reference(t, out.v, out.n, &b);
    tok_decode(t, out.v, out.n, true, true, &b);
    must(utf8_invalid_at(tok_piece(t, n - 1)) == SIZE_MAX && tok_find(t, tok_piece(t, n - 1)) == n - 1);
    for (int32_t id = 0; id < n && id < 400; id++) {
        tok_decode_text(t, &id, 1, false, true, &b);
        must(!tok_is_control(t, id) || tok_token_bytes(t, id).n == 0);
    }
    buf_fini(&b);
    ids_fini(&out);
}

#endif
