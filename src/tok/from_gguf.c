/* Tokenizer from a GGUF's tokenizer.* keys (llama.cpp's convention; keys in ggml docs/gguf.md).
 *
 * model "llama" is SentencePiece BPE with scores, "gpt2" is byte-level BPE with merges; pre names the pre-tokenizer.  The element types of
 * all arrays are checked by the reader, counts and ids here.  A qwen2 vocabulary gets NFC, which its tokenizer.json has and the GGUF
 * cannot say; llama-bpe gets ignore_merges and, unless add_bos_token says otherwise, BOS. */
#include "tok/tok_internal.h"

static bool read_tokens(tok *t, const gguf *g, gv_err *err) {
    gguf_array names, types, scores = {0};
    bool spm = t->family == TOK_SPM;
    if (!gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &names, NULL, err) ||
        !gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, NULL, err) ||
        (spm && !gguf_get_array(g, "tokenizer.ggml.scores", GGUF_F32, &scores, NULL, err)))
        return false;
    if (types.n != names.n)
        return gv_fail(err, GV_FORMAT, -1, "key tokenizer.ggml.token_type has %llu entries for %llu tokens", (unsigned long long)types.n,
                       (unsigned long long)names.n);
    if (spm && scores.n != names.n)
        return gv_fail(err, GV_FORMAT, -1, "key tokenizer.ggml.scores has %llu entries for %llu tokens", (unsigned long long)scores.n,
                       (unsigned long long)names.n);
    size_t pos = 0;
    for (uint64_t i = 0; i < names.n; i++)
        if (!tok_add(t, gguf_array_string(&names, &pos), gguf_array_i32(&types, i), spm ? gguf_array_f32(&scores, i) : 0, err))
            return false;
    return tok_index(t, err);
}

static bool read_merges(tok *t, const gguf *g, gv_err *err) {
    gguf_array a;
    if (!gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &a, NULL, err) || !tok_reserve_merges(t, a.n, err)) return false;
    size_t pos = 0;
    for (uint64_t i = 0; i < a.n; i++) {
        sv m = gguf_array_string(&a, &pos);
        size_t cut = m.n ? sv_find(m, SV(" "), 0) : SIZE_MAX;
        if (cut == SIZE_MAX || sv_find(m, SV(" "), cut + 1) != SIZE_MAX)
            return gv_fail(err, GV_FORMAT, (int64_t)i, "merge %llu \"%s\" is not two tokens and a space", (unsigned long long)i,
                           str_show(m).text);
        if (!tok_add_merge(t, sv_sub(m, 0, cut), sv_sub(m, cut + 1, m.n), err)) return false;
    }
    return true;
}

static bool read_special_id(tok *t, const gguf *g, const char *key, int32_t *id, gv_err *err) {
    uint32_t v = 0;
    bool found;
    if (!gguf_get_u32(g, key, &v, &found, err)) return false;
    if (found && v == UINT32_MAX) return true; /* how some converters write "none" */
    if (found && !tok_check_id(t, v, key, err)) return false;
    if (found) *id = (int32_t)v;
    return true;
}

static bool read_special_ids(tok *t, const gguf *g, gv_err *err) {
    static const char *const ends[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    int32_t sep = -1, pad = -1;
    if (t->family == TOK_SPM) { /* the family's names, if no key says otherwise */
        t->bos = tok_find(t, SV("<s>"));
        t->eos = tok_find(t, SV("</s>"));
        t->unk = tok_find(t, SV("<unk>"));
    }
    if (!read_special_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err) ||
        !read_special_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err) ||
        !read_special_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unk, err) ||
        !read_special_id(t, g, "tokenizer.ggml.seperator_token_id", &sep, err) || /* spelt so in the format */
        !read_special_id(t, g, "tokenizer.ggml.padding_token_id", &pad, err))
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int32_t id = -1;
        if (!read_special_id(t, g, ends[i], &id, err)) return false;
        if (id >= 0 && !tok_mark_eog(t, id, ends[i], err)) return false;
    }
    if (t->family == TOK_SPM && t->unk >= 0 && t->e[t->unk].type == TT_CONTROL) t->e[t->unk].type = TT_UNKNOWN;
    return true;
}

static bool read_pretok(tok *t, const gguf *g, gv_err *err) {
    static const struct {
        const char *name;
        tok_pretok kind;
    } known[] = {{"gpt-2", PRETOK_GPT2},    {"smollm", PRETOK_SMOLLM},   {"llama-bpe", PRETOK_LLAMA3},
                 {"llama3", PRETOK_LLAMA3}, {"llama-v3", PRETOK_LLAMA3}, {"qwen2", PRETOK_QWEN2}};
    sv pre = {0};
    if (!gguf_get_string(g, "tokenizer.ggml.pre", &pre, NULL, err)) return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sv_is(pre, known[i].name)) t->pretok = known[i].kind;
    if (t->pretok == PRETOK_NONE)
        return gv_fail(err, GV_UNSUPPORTED, -1, "pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not one of gpt-2, smollm, llama-bpe, qwen2",
                       str_show(pre).text);
    t->nfc = t->pretok == PRETOK_QWEN2;
    t->ignore_merges = t->adds_bos = t->pretok == PRETOK_LLAMA3;
    return true;
}

static bool read_flags(tok *t, const gguf *g, gv_err *err) {
    bool found, extra = false;
    if (t->family == TOK_SPM) {
        gguf_array map;
        if (gguf_find_key(g, "tokenizer.ggml.precompiled_charsmap") != SIZE_MAX) {
            if (!gguf_get_array(g, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, &map, NULL, err)) return false;
            if (map.n)
                return gv_fail(err, GV_UNSUPPORTED, -1, "tokenizer.ggml.precompiled_charsmap: normalisation tables are not supported");
        }
        if (!gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->dummy_prefix, &found, err) ||
            !gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &extra, &found, err))
            return false;
        if (extra) return gv_fail(err, GV_UNSUPPORTED, -1, "tokenizer.ggml.remove_extra_whitespaces true is not supported");
        t->adds_bos = t->bos >= 0;
    }
    return gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->adds_bos, &found, err);
}

bool tok_load_gguf(tok *t, const gguf *g, gv_err *err) {
    sv model = {0};
    if (!gguf_get_string(g, "tokenizer.ggml.model", &model, NULL, err)) return false;
    if (!sv_is(model, "llama") && !sv_is(model, "gpt2"))
        return gv_fail(err, GV_UNSUPPORTED, -1, "tokenizer.ggml.model \"%s\" is not one of llama, gpt2", str_show(model).text);
    t->family = sv_is(model, "llama") ? TOK_SPM : TOK_BPE;
    if (t->family == TOK_BPE) {
        t->dummy_prefix = false;
        t->by_pair = true;
        if (!read_pretok(t, g, err)) return false;
    }
    if (!read_tokens(t, g, err) || (t->family == TOK_BPE && !read_merges(t, g, err)) || !read_special_ids(t, g, err) ||
        !read_flags(t, g, err))
        return false;
    if (!tok_templates_from_gguf(t, g, err)) return false;
    return tok_finish(t, err);
}
