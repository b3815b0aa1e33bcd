/* Fuzz target: the first byte chooses tokenizer.model, tokenizer.json or GGUF, or with 3 the value of chat_template, the rest is the file.  Templates must
 * come back from the GGUF that is made of them. */
#include "tok/tok_internal.h"
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (t) tok_use(t);
    tok_free(t);
    return 0;
}
