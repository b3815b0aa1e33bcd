/* Fuzz target: the first byte chooses tokenizer.model, tokenizer.json or GGUF, the rest is the file. */
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
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
