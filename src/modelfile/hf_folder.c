/* See hf_folder.h.
 *
 * llama.cpp's converter gives the rows of q and k of llama models another order: a head's rows are two halves in the folder (RoPE turns row i and
 * i + width/2), and are taken in turn in the GGUF (RoPE turns rows 2i and 2i+1).  Our views keep the folder's bytes and say so (rope_heads). */
#include "modelfile/hf_folder.h"

#include "base/mem.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>

typedef enum dim { NONE, EMBD, FF, Q, KV, VOCAB, EXPERTS } dim;
typedef enum when { ALWAYS, UNTIED, QKV_BIAS, DENSE, SPARSE } when;
typedef enum scope { MODEL, LAYER, EXPERT } scope;

typedef struct rule {
    const char *hf, *gguf; /* %d: layer, then expert */
    scope scope;
    dim rows, cols; /* cols NONE: a vector */
    when when;
    dim rope; /* Q or KV: rows of heads in RoPE's order */
} rule;

#define HF_LAYER   "model.layers.%d."
#define HF_EXPERT  HF_LAYER "block_sparse_moe.experts.%d."
#define GGUF_LAYER "blk.%d."

/* In the order of the listing: the first, then per layer, then the rest. */
static const rule first_rule = {"model.embed_tokens.weight", "token_embd.weight", MODEL, VOCAB, EMBD, ALWAYS, NONE};
static const rule layer_rules[] = {
    {HF_LAYER "input_layernorm.weight", GGUF_LAYER "attn_norm.weight", LAYER, EMBD, NONE, ALWAYS, NONE},
    {HF_LAYER "self_attn.q_proj.weight", GGUF_LAYER "attn_q.weight", LAYER, Q, EMBD, ALWAYS, Q},
    {HF_LAYER "self_attn.q_proj.bias", GGUF_LAYER "attn_q.bias", LAYER, Q, NONE, QKV_BIAS, Q},
    {HF_LAYER "self_attn.k_proj.weight", GGUF_LAYER "attn_k.weight", LAYER, KV, EMBD, ALWAYS, KV},
    {HF_LAYER "self_attn.k_proj.bias", GGUF_LAYER "attn_k.bias", LAYER, KV, NONE, QKV_BIAS, KV},
    {HF_LAYER "self_attn.v_proj.weight", GGUF_LAYER "attn_v.weight", LAYER, KV, EMBD, ALWAYS, NONE},
    {HF_LAYER "self_attn.v_proj.bias", GGUF_LAYER "attn_v.bias", LAYER, KV, NONE, QKV_BIAS, NONE},
    {HF_LAYER "self_attn.o_proj.weight", GGUF_LAYER "attn_output.weight", LAYER, EMBD, Q, ALWAYS, NONE},
    {HF_LAYER "post_attention_layernorm.weight", GGUF_LAYER "ffn_norm.weight", LAYER, EMBD, NONE, ALWAYS, NONE},
    {HF_LAYER "mlp.gate_proj.weight", GGUF_LAYER "ffn_gate.weight", LAYER, FF, EMBD, DENSE, NONE},
    {HF_LAYER "mlp.up_proj.weight", GGUF_LAYER "ffn_up.weight", LAYER, FF, EMBD, DENSE, NONE},
    {HF_LAYER "mlp.down_proj.weight", GGUF_LAYER "ffn_down.weight", LAYER, EMBD, FF, DENSE, NONE},
    {HF_LAYER "block_sparse_moe.gate.weight", GGUF_LAYER "ffn_gate_inp.weight", LAYER, EXPERTS, EMBD, SPARSE, NONE},
    {HF_EXPERT "w1.weight", GGUF_LAYER "ffn_gate.%d.weight", EXPERT, FF, EMBD, SPARSE, NONE},
    {HF_EXPERT "w3.weight", GGUF_LAYER "ffn_up.%d.weight", EXPERT, FF, EMBD, SPARSE, NONE},
    {HF_EXPERT "w2.weight", GGUF_LAYER "ffn_down.%d.weight", EXPERT, EMBD, FF, SPARSE, NONE},
};
static const rule last_rules[] = {
    {"model.norm.weight", "output_norm.weight", MODEL, EMBD, NONE, ALWAYS, NONE},
    {"lm_head.weight", "output.weight", MODEL, VOCAB, EMBD, UNTIED, NONE},
};
enum { N_LAYER_RULES = sizeof layer_rules / sizeof *layer_rules, N_LAST_RULES = sizeof last_rules / sizeof *last_rules };

typedef struct binder {
    hf_tensors *h;
    const hf_config *c;
    const safetensors *s;
    bool *used; /* [tensors of s] */
    size_t cap;
    gv_err *err;
} binder;

static void format_name(char *out, size_t n, const char *format, int layer, int expert) {
    const char *d = strstr(format, "%d"), *e = d ? strstr(d + 2, "%d") : NULL;
    if (!d)
        snprintf(out, n, "%s", format);
    else if (!e)
        snprintf(out, n, "%.*s%d%s", (int)(d - format), format, layer, d + 2);
    else
        snprintf(out, n, "%.*s%d%.*s%d%s", (int)(d - format), format, layer, (int)(e - d - 2), d + 2, expert, e + 2);
}

static int64_t size_of(const hf_config *c, dim d) {
    switch (d) {
    case EMBD: return c->embd;
    case FF: return c->ff;
    case Q: return c->heads * c->head_dim;
    case KV: return c->heads_kv * c->head_dim;
    case VOCAB: return c->vocab;
    case EXPERTS: return c->experts;
    default: return 1;
    }
}

/* Which configuration field a dimension comes from, for messages. */
static const char *field_of(dim d) {
    switch (d) {
    case EMBD: return "hidden_size";
    case FF: return "intermediate_size";
    case Q: return "num_attention_heads * head_dim";
    case KV: return "num_key_value_heads * head_dim";
    case VOCAB: return "vocab_size";
    case EXPERTS: return "num_local_experts";
    default: return "1";
    }
}

static bool check_shape(const tensor_view *t, const rule *r, const hf_config *c, gv_err *err) {
    const int64_t rows = size_of(c, r->rows), cols = size_of(c, r->cols);
    if (r->cols == NONE) {
        if (t->n_dims == 1 && t->ne[0] == rows) return true;
        return gv_fail(err, GV_FORMAT, -1, "tensor %s: %u dimensions, the first %lld; expected [%s = %lld]", t->name, t->n_dims,
                       (long long)t->ne[0], field_of(r->rows), (long long)rows);
    }
    if (t->n_dims == 2 && t->ne[1] == rows && t->ne[0] == cols) return true;
    return gv_fail(err, GV_FORMAT, -1, "tensor %s: shape [%lld, %lld]%s, expected [%s = %lld, %s = %lld]", t->name, (long long)t->ne[1],
                   (long long)t->ne[0], t->n_dims == 2 ? "" : " of other dimensions", field_of(r->rows), (long long)rows, field_of(r->cols),
                   (long long)cols);
}

/* Is it in a model of this kind; *required: must it be? */
static bool applies(const hf_config *c, when w, bool *required) {
    *required = true;
    switch (w) {
    case UNTIED: return !c->tied;
    case QKV_BIAS: *required = strcmp(c->arch, "qwen2") == 0; return true;
    case DENSE: return !c->experts;
    case SPARSE: return c->experts > 0;
    default: return true;
    }
}

static bool reserve(binder *b, size_t n) {
    if (n <= b->cap) return true;
    const size_t cap = 2 * n + 64;
    tensor_view *view = gv_try_malloc(cap, sizeof *view, "tensors", b->err);
    char(*name)[GGUF_MAX_NAME_BYTES + 1] = view ? gv_try_malloc(cap, sizeof *name, "tensor names", b->err) : NULL;
    if (!name) {
        free(view);
        return false;
    }
    if (b->h->n) {
        memcpy(view, b->h->view, b->h->n * sizeof *view);
        memcpy(name, b->h->name, b->h->n * sizeof *name);
    }
    free(b->h->view), free(b->h->name);
    b->h->view = view, b->h->name = name, b->cap = cap;
    return true;
}

static bool add_view(binder *b, const tensor_view *t, const char *name, uint32_t rope_heads) {
    if (!reserve(b, b->h->n + 1)) return false;
    snprintf(b->h->name[b->h->n], sizeof *b->h->name, "%s", name);
    b->h->view[b->h->n] = *t;
    b->h->view[b->h->n++].rope_heads = rope_heads;
    return true;
}

static bool bind_one(binder *b, const rule *r, int layer, int expert) {
    char name[128], gguf_name[GGUF_MAX_NAME_BYTES + 1];
    bool required;
    if (!applies(b->c, r->when, &required)) return true;
    format_name(name, sizeof name, r->hf, layer, expert);
    format_name(gguf_name, sizeof gguf_name, r->gguf, layer, expert);
    const tensor_view *t = safetensors_find(b->s, name);
    if (!t) return !required || gv_fail(b->err, GV_FORMAT, -1, "tensor %s is missing", name);
    if (!check_shape(t, r, b->c, b->err)) return false;
    b->used[safetensors_number(b->s, t)] = true;
    const bool turned = r->rope != NONE && strcmp(b->c->arch, "llama") == 0;
    return add_view(b, t, gguf_name, turned ? (uint32_t)(r->rope == Q ? b->c->heads : b->c->heads_kv) : 0);
}

static bool bind_layer(binder *b, int layer) {
    for (size_t k = 0; k < N_LAYER_RULES; k++)
        for (int e = 0; e < (layer_rules[k].scope == EXPERT ? (int)b->c->experts : 1); e++)
            if (!bind_one(b, &layer_rules[k], layer, e)) return false;
    return true;
}

/* The divisors of the frequencies, which llama.cpp's converter writes as a tensor. */
static bool add_rope_freqs(binder *b) {
    const hf_config *c = b->c;
    const int64_t n = c->head_dim / 2;
    if (strcmp(c->rope_type, "llama3") != 0) return true;
    if (!(c->rope_high > c->rope_low))
        return gv_fail(b->err, GV_FORMAT, -1, "rope_scaling: high_freq_factor = %g, expected above low_freq_factor = %g", c->rope_high,
                       c->rope_low);
    b->h->rope_freqs = gv_xmalloc((size_t)n * sizeof(float));
    kern_rope_llama3_divisors((float)c->rope_theta, (int)c->head_dim, (float)c->rope_factor, (float)c->rope_low, (float)c->rope_high,
                              (float)c->rope_original, b->h->rope_freqs);
    const tensor_view t = {
        .type = DT_F32, .n_dims = 1, .ne = {n, 1, 1, 1}, .data = (const uint8_t *)b->h->rope_freqs, .n_bytes = (size_t)n * sizeof(float)};
    return add_view(b, &t, "rope_freqs.weight", 0);
}

bool hf_tensor_is_ignored(const hf_config *c, const char *name) {
    return sv_ends(sv_of(name), SV(".self_attn.rotary_emb.inv_freq")) || (c->tied && strcmp(name, "lm_head.weight") == 0);
}

static bool check_rest(const binder *b) {
    for (size_t i = 0; i < safetensors_count(b->s); i++) {
        const char *name = safetensors_at(b->s, i)->name;
        if (b->used[i] || hf_tensor_is_ignored(b->c, name)) continue;
        return gv_fail(b->err, GV_UNSUPPORTED, -1, "tensor %s is none that model_type %s uses", str_show(sv_of(name)).text,
                       b->c->model_type);
    }
    return true;
}

bool hf_tensors_bind(hf_tensors *h, const hf_config *c, const safetensors *s, gv_err *err) {
    *h = (hf_tensors){0};
    binder b = {.h = h, .c = c, .s = s, .err = err};
    b.used = gv_try_calloc(safetensors_count(s) + 1, sizeof *b.used, "tensors", err);
    bool ok = b.used && bind_one(&b, &first_rule, 0, 0) && add_rope_freqs(&b);
    for (int i = 0; ok && i < c->layers; i++) ok = bind_layer(&b, i);
    for (size_t k = 0; ok && k < N_LAST_RULES; k++) ok = bind_one(&b, &last_rules[k], 0, 0);
    ok = ok && check_rest(&b);
    free(b.used);
    for (size_t i = 0; i < h->n; i++) h->view[i].name = h->name[i];
    if (!ok) hf_tensors_fini(h);
    return ok;
}

void hf_tensors_fini(hf_tensors *h) {
    free(h->view);
    free(h->name);
    free(h->rope_freqs);
    *h = (hf_tensors){0};
}
