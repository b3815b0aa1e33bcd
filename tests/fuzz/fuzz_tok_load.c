/* Loads hostile tokenizers: the first byte chooses tokenizer.model, tokenizer.json or GGUF, or with 3 the value of chat_template, the rest is the
 * file.  What loads is used: encoding, segments and decoding must hold their promises for any vocabulary that passed the checks, and templates must come back
 * from a GGUF. */
#include "tok/tok_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok) abort();
}

static void use(const tok *t) {
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

static void check_templates(const tok *t) {
    gv_err err = GV_ERR_INIT;
    gguf_out *o = gguf_out_new();
    buf bytes = {0}, names = {0};
    tok_put_template_names(t, &names);
    must((names.n > 0) == (tok_templates_from(t)[0] != 0));
    tok_put_templates(t, o);
    gguf *g = gguf_out_bytes(o, &bytes, &err) ? gguf_open_memory(bytes.p, bytes.n, "made.gguf", &err) : NULL;
    tok *again = g ? tok_new(&err) : NULL;
    if (again) {
        must(tok_templates_from_gguf(again, g, &err));
        must(sv_eq(tok_chat_template(again), tok_chat_template(t)));
    }
    tok_free(again);
    gguf_close(g);
    gguf_out_free(o);
    buf_fini(&bytes);
    buf_fini(&names);
}

static void try_templates(sv text) {
    gv_err err = GV_ERR_INIT;
    json_doc *d = json_parse(text, &err);
    tok *t = d ? tok_new(&err) : NULL;
    if (t && tok_read_templates(t, json_root(d), "fuzz.json", &err)) check_templates(t);
    tok_free(t);
    json_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    if (data[0] == 3) {
        try_templates((sv){(const char *)data + 1, size - 1});
        return 0;
    }
    gv_err err = GV_ERR_INIT;
    tok *t = NULL;
    unsigned kind = data[0] % 3;
    if (kind == 2) {
        gguf *g = gguf_open_memory(data + 1, size - 1, "fuzz.gguf", &err);
        if (g) {
            t = tok_from_gguf(g, &err);
            gguf_close(g);
        }
    } else {
        t = tok_from_bytes((sv){(const char *)data + 1, size - 1}, kind ? "json" : "model", &err);
    }
    must((t != NULL) == (err.code == GV_OK));
    if (t) use(t);
    tok_free(t);
    return 0;
}
