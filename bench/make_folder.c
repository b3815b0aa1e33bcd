/* Writes a Hugging Face folder of a Mistral's shape with random bf16 weights: config.json and safetensors in shards; no tokenizer.
 *
 * For measuring how a large model loads.  The weights are random numbers of about the size that a trained model has; text made with them means
 * nothing.  The same arguments give the same bytes. */
#include "modelfile/safetensors_out.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 1 << 22 };

typedef struct shape {
    int64_t layers, embd, ff, heads, heads_kv, vocab;
} shape;

static uint64_t next(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Four bf16 a word: any sign and mantissa, magnitudes from 2^-8 to 2^-5. */
static void fill(uint64_t *p, size_t n_words, uint64_t *state) {
    for (size_t i = 0; i < n_words; i++) {
        const uint64_t r = next(state);
        p[i] = (r & 0x80ff80ff80ff80ffu) + 0x3b803b803b803b80u + (r >> 8 & 0x0001000100010001u) * 0x80;
    }
}

static bool add(safetensors_out *o, int64_t layer, const char *name, int64_t rows, int64_t cols, gv_err *err) {
    char full[128];
    if (layer < 0)
        snprintf(full, sizeof full, "%s.weight", name);
    else
        snprintf(full, sizeof full, "model.layers.%lld.%s.weight", (long long)layer, name);
    return safetensors_out_add(o, full, DT_BF16, (const int64_t[]){rows, cols}, cols ? 2 : 1, err);
}

static bool add_all(safetensors_out *o, const shape *s, gv_err *err) {
    const int64_t width = s->embd / s->heads, kv = s->heads_kv * width;
    bool ok = add(o, -1, "model.embed_tokens", s->vocab, s->embd, err);
    for (int64_t i = 0; ok && i < s->layers; i++)
        ok = add(o, i, "input_layernorm", s->embd, 0, err) && add(o, i, "self_attn.q_proj", s->embd, s->embd, err) &&
             add(o, i, "self_attn.k_proj", kv, s->embd, err) && add(o, i, "self_attn.v_proj", kv, s->embd, err) &&
             add(o, i, "self_attn.o_proj", s->embd, s->embd, err) && add(o, i, "post_attention_layernorm", s->embd, 0, err) &&
             add(o, i, "mlp.gate_proj", s->ff, s->embd, err) && add(o, i, "mlp.up_proj", s->ff, s->embd, err) &&
             add(o, i, "mlp.down_proj", s->embd, s->ff, err);
    return ok && add(o, -1, "model.norm", s->embd, 0, err) && add(o, -1, "lm_head", s->vocab, s->embd, err);
}

static bool write_config(const char *folder, const shape *s, gv_err *err) {
    buf path = {0}, text = {0};
    buf_printf(&path, "%s/config.json", folder);
    buf_printf(
        &text,
        "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", \"hidden_act\": \"silu\", \"hidden_size\": %lld,\n"
        " \"intermediate_size\": %lld, \"num_hidden_layers\": %lld, \"num_attention_heads\": %lld, \"num_key_value_heads\": %lld,\n"
        " \"vocab_size\": %lld, \"max_position_embeddings\": 32768, \"rms_norm_eps\": 1e-05, \"rope_theta\": 1000000.0,\n"
        " \"sliding_window\": null, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\"}\n",
        (long long)s->embd, (long long)s->ff, (long long)s->layers, (long long)s->heads, (long long)s->heads_kv, (long long)s->vocab);
    file_writer w;
    bool ok = file_writer_open(&w, path.p, err);
    if (ok) {
        ok = file_writer_put(&w, text.p, text.n, err) && file_writer_commit(&w, err);
        file_writer_abandon(&w);
    }
    buf_fini(&path);
    buf_fini(&text);
    return ok;
}

/* All weights of the model in one stream. */
static bool write_weights(const char *folder, const shape *s, gv_err *err) {
    static uint64_t piece[PIECE / 8];
    const int64_t width = s->embd / s->heads, kv = s->heads_kv * width;
    const int64_t layer = 2 * s->embd * s->embd + 2 * kv * s->embd + 3 * s->ff * s->embd + 2 * s->embd;
    uint64_t left = 2 * (uint64_t)(2 * s->vocab * s->embd + s->embd + s->layers * layer), state = 1;
    safetensors_out *o = safetensors_out_new(0);
    bool ok = add_all(o, s, err) && safetensors_out_begin(o, folder, err);
    while (ok && left > 0) {
        const size_t n = left < PIECE ? (size_t)left : PIECE;
        fill(piece, PIECE / 8, &state);
        ok = safetensors_out_put(o, piece, n, err);
        left -= n;
    }
    ok = ok && safetensors_out_end(o, err);
    safetensors_out_free(o);
    return ok;
}

int main(int argc, char **argv) {
    shape s = {32, 4096, 14336, 32, 8, 32000};
    int64_t *const field[] = {&s.layers, &s.embd, &s.ff, &s.heads, &s.heads_kv, &s.vocab};
    gv_err err = GV_ERR_INIT;
    if (argc < 2 || argc > 8) {
        fprintf(stderr, "usage: make_folder EMPTY_FOLDER [LAYERS [WIDTH [FFN [HEADS [KV_HEADS [VOCABULARY]]]]]]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) *field[i - 2] = atoll(argv[i]);
    for (int i = 0; i < 6; i++)
        if (*field[i] < 1 || *field[i] > 1 << 20) {
            fprintf(stderr, "make_folder: sizes are 1 to 1048576\n");
            return 2;
        }
    if (write_config(argv[1], &s, &err) && write_weights(argv[1], &s, &err)) return 0;
    fprintf(stderr, "make_folder: %s\n", err.msg);
    return 1;
}
