/* A tokenizer as a GGUF's tokenizer.* keys: the inverse of from_gguf.c, for models that come from a folder.
 *
 * What llama.cpp wants beside: as many tokens as the embedding has rows (padding tokens of type UNUSED), scores also where merges decide (a
 * tokenizer.json with byte fallback: the score falls with the rank), "default" as the pre-tokenizer of SentencePiece. */
#include "tok/tok_internal.h"

#include <stdlib.h>

static int by_order(const void *a, const void *b) {
    const uint32_t x = (*(const tok_pair *const *)a)->order, y = (*(const tok_pair *const *)b)->order;
    return (x > y) - (x < y);
}

/* The merges in order of rank. */
static const tok_pair **sorted_pairs(const tok *t, size_t *n) {
    const tok_pair **v = gv_xcalloc(t->n_pairs + 1, sizeof *v);
    *n = 0;
    for (size_t i = 0; t->n_pairs && i <= t->pair_mask; i++)
        if (t->pairs[i].left >= 0) v[(*n)++] = &t->pairs[i];
    qsort(v, *n, sizeof *v, by_order);
    return v;
}

static void put_merges(const tok *t, gguf_out *o) {
    size_t n;
    const tok_pair **pair = sorted_pairs(t, &n);
    arena a;
    arena_init(&a);
    sv *text = gv_xcalloc(n + 1, sizeof *text);
    for (size_t i = 0; i < n; i++) {
        const sv left = tok_name(t, pair[i]->left), right = tok_name(t, pair[i]->right);
        char *p = arena_alloc(&a, left.n + right.n + 1);
        memcpy(p, left.p, left.n);
        p[left.n] = ' ';
        memcpy(p + left.n + 1, right.p, right.n);
        text[i] = (sv){p, left.n + right.n + 1};
    }
    gguf_out_strings(o, "tokenizer.ggml.merges", text, n);
    free(text);
    arena_fini(&a);
    free(pair);
}

static void put_scores(const tok *t, int32_t n_vocab, gguf_out *o) {
    float *score = gv_xcalloc((size_t)n_vocab + 1, sizeof *score);
    for (int32_t i = 0; i < t->n && i < n_vocab; i++) score[i] = t->e[i].score;
    if (t->by_pair) {
        size_t n;
        const tok_pair **pair = sorted_pairs(t, &n);
        for (size_t i = n; i-- > 0;) score[pair[i]->id] = -(float)i; /* the first of several merges to one token counts */
        free(pair);
    }
    gguf_out_f32s(o, "tokenizer.ggml.scores", score, (size_t)n_vocab);
    free(score);
}

static void put_tokens(const tok *t, int32_t n_vocab, gguf_out *o) {
    sv *name = gv_xcalloc((size_t)n_vocab + 1, sizeof *name);
    int32_t *type = gv_xcalloc((size_t)n_vocab + 1, sizeof *type);
    arena a;
    arena_init(&a);
    for (int32_t i = 0; i < n_vocab; i++) {
        name[i] = i < t->n ? tok_name(t, i) : sv_of(arena_printf(&a, "[PAD%d]", i));
        type[i] = i < t->n ? t->e[i].type : TT_UNUSED;
    }
    gguf_out_strings(o, "tokenizer.ggml.tokens", name, (size_t)n_vocab);
    gguf_out_i32s(o, "tokenizer.ggml.token_type", type, (size_t)n_vocab);
    arena_fini(&a);
    free(name);
    free(type);
}

static void put_id(gguf_out *o, const char *key, int32_t id, int32_t n_vocab) {
    if (id >= 0 && id < n_vocab) gguf_out_u32(o, key, (uint32_t)id);
}

/* EOS, and what else ends a turn. */
static void put_ends(const tok *t, int32_t n_vocab, gguf_out *o) {
    static const char *const more[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    size_t n = 0;
    put_id(o, "tokenizer.ggml.eos_token_id", t->eos, n_vocab);
    for (int32_t i = 0; i < t->n && i < n_vocab && n < sizeof more / sizeof *more; i++)
        if (i != t->eos && tok_is_eog(t, i)) put_id(o, more[n++], i, n_vocab);
}

bool tok_put_keys(const tok *t, int32_t n_vocab, gguf_out *o, gv_err *err) {
    static const char *const pre[] = {"default", "gpt-2", "smollm", "llama-bpe", "qwen2"}; /* by tok_pretok */
    if (tok_n_text(t) > n_vocab)
        return gv_fail(err, GV_FORMAT, -1, "the tokenizer has %d tokens, the embedding %d rows: \"%s\" has none", t->n, n_vocab,
                       str_show(tok_name(t, n_vocab)).text);
    const bool spm = t->family == TOK_SPM;
    gguf_out_string(o, "tokenizer.ggml.model", spm ? SV("llama") : SV("gpt2"));
    gguf_out_string(o, "tokenizer.ggml.pre", sv_of(pre[spm ? PRETOK_NONE : t->pretok]));
    put_tokens(t, n_vocab, o);
    if (spm)
        put_scores(t, n_vocab, o);
    else
        put_merges(t, o);
    put_id(o, "tokenizer.ggml.bos_token_id", t->bos, n_vocab);
    put_ends(t, n_vocab, o);
    put_id(o, "tokenizer.ggml.unknown_token_id", t->unk, n_vocab);
    gguf_out_bool(o, "tokenizer.ggml.add_bos_token", t->adds_bos);
    if (spm) gguf_out_bool(o, "tokenizer.ggml.add_space_prefix", t->dummy_prefix);
    tok_put_templates(t, o);
    return true;
}
