/* One hostile GGUF through everything that reads it: open, keys as text, tokenizer, model, and the logits of a few tokens.
 *
 * Used by the fuzz target and by the byte-flip sweep.  Nothing is expected of the outcome but that it is one: an error with a message,
 * or a file whose parts can all be used.  The sanitizers watch. */
#ifndef GAVEL_TESTS_GGUF_TRY_H
#define GAVEL_TESTS_GGUF_TRY_H

#include "engine/engine.h"
#include "modelfile/gguf.h"
#include "tok/tok.h"

#include <stdlib.h>

typedef enum gguf_outcome { TRY_REFUSED, TRY_OPENS, TRY_TOKENIZES, TRY_LOADS, TRY_COMPUTES } gguf_outcome;

/* A refusal must say why. */
static inline void try_failed(const gv_err *err) {
    if (err->code == GV_OK || err->msg[0] == 0) abort();
}

static volatile uint8_t try_sink; /* keeps reads from being optimised away */

/* Every view the index hands out, first and last byte. */
static inline void try_index(const gguf *g) {
    buf line = {0};
    for (size_t i = 0; i < gguf_n_keys(g); i++) gguf_print_key(g, i, &line);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const tensor_view *t = gguf_tensor(g, i);
        if (t->n_bytes == 0) abort();
        try_sink = t->data[0] ^ t->data[t->n_bytes - 1];
    }
    buf_fini(&line);
}

static inline void try_tok(const tok *t) {
    gv_err err = GV_ERR_INIT;
    ids encoded = {0};
    buf text = {0};
    if (tok_encode(t, SV("the [RESULT] 5 \xc3\xa9\xff</s>"), true, &encoded, &err)) {
        for (size_t i = 0; i < encoded.n; i++)
            if (encoded.v[i] < 0 || encoded.v[i] >= tok_n_vocab(t)) abort();
        tok_decode_text(t, encoded.v, encoded.n, true, true, &text);
    } else {
        try_failed(&err);
    }
    ids_fini(&encoded);
    buf_fini(&text);
}

static inline bool try_no_logits(void *ctx, int32_t position, const float *logits, gv_err *err) {
    (void)position;
    (void)err;
    *(volatile float *)ctx = logits[0];
    return true;
}

static inline bool try_model(const model *m, const tok *t, pool *threads) {
    gv_err err = GV_ERR_INIT;
    static const int32_t tokens[] = {1, 2, 3};
    volatile float sink = 0;
    const engine_options o = {
        .kern = kern_get(KERN_REF), .kv_type = KERN_KV_F16, .max_batch = 1, .step_tokens = 4, .max_ctx = 32, .n_pages = 2};
    engine *e = engine_new(m, t, threads, &o, &err);
    bool ok = e && engine_logits(e, tokens, 3, true, try_no_logits, (void *)&sink, &err);
    if (!ok) try_failed(&err);
    engine_free(e);
    return ok;
}

/* data is 8-byte aligned (an exact-size copy from malloc). */
static inline gguf_outcome gguf_try(const uint8_t *data, size_t n, pool *threads) {
    gv_err err = GV_ERR_INIT;
    gguf *g = gguf_open_memory(data, n, "f.gguf", &err);
    if (!g) {
        try_failed(&err);
        return TRY_REFUSED;
    }
    gguf_outcome outcome = TRY_OPENS;
    try_index(g);
    tok *t = tok_from_gguf(g, &err);
    if (t) {
        outcome = TRY_TOKENIZES;
        try_tok(t);
    } else {
        try_failed(&err);
    }
    gv_err_clear(&err);
    model *m = model_from_gguf(g, 32, (int64_t)64 << 20, threads, &err);
    if (!m) try_failed(&err);
    if (m && t) {
        outcome = TRY_LOADS;
        if (try_model(m, t, threads)) outcome = TRY_COMPUTES;
    }
    model_free(m);
    tok_free(t);
    return outcome;
}

#endif
