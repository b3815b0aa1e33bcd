/* See quant_mix.h.  The rules are those of llama.cpp's llama-quant.cpp for the architectures llama and qwen2, found equal tensor by tensor
 * on real and shaped models (docs/quantize.md).  general.file_type: enum llama_ftype of llama.h. */
#include "modelfile/quant_mix.h"

#include "base/str.h"

#include <stdlib.h>
#include <strings.h>

static const quant_mix mixes[] = {
    {"q8_0", DT_Q8_0, 7, 0},      {"q6_k", DT_Q6_K, 18, 0}, {"q5_k", DT_Q5_K, 16, 0},     {"q5_k_m", DT_Q5_K, 17, 'M'},
    {"q5_k_s", DT_Q5_K, 16, 'S'}, {"q4_k", DT_Q4_K, 14, 0}, {"q4_k_m", DT_Q4_K, 15, 'M'}, {"q4_k_s", DT_Q4_K, 14, 'S'},
    {"q5_0", DT_Q5_0, 8, 0},      {"q5_1", DT_Q5_1, 9, 0},  {"q4_0", DT_Q4_0, 2, 0},      {"q4_1", DT_Q4_1, 3, 0},
    {"bf16", DT_BF16, 32, 0},     {"f16", DT_F16, 1, 0},    {"f32", DT_F32, 0, 0},
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

const char *const quant_mix_names[N_MIXES + 1] = {"q8_0", "q6_k", "q5_k", "q5_k_m", "q5_k_s", "q4_k", "q4_k_m", "q4_k_s",
                                                  "q5_0", "q5_1", "q4_0", "q4_1",   "bf16",   "f16",  "f32",    NULL};

const quant_mix *quant_mix_by_name(const char *name, gv_err *err) {
    for (int i = 0; i < N_MIXES; i++)
        if (strcasecmp(name, mixes[i].name) == 0) return &mixes[i];
    const char *near = nearest_name(name, quant_mix_names);
    if (near) {
        gv_fail(err, GV_USAGE, -1, "unknown type %s; did you mean %s?", str_show(sv_of(name)).text, near);
        return NULL;
    }
    char all[160] = "";
    for (int i = 0; i < N_MIXES; i++) strcat(strcat(all, i ? " " : ""), mixes[i].name);
    gv_fail(err, GV_USAGE, -1, "unknown type %s, expected one of: %s", str_show(sv_of(name)).text, all);
    return NULL;
}

static bool has(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

bool quant_mix_touches(const char *name, uint32_t n_dims) {
    return n_dims >= 2 && sv_ends(sv_of(name), SV("weight")) && !has(name, "_norm.weight") && !has(name, "ffn_gate_inp.weight");
}

/* The first and last eighth of the layers, and each third between. */
static bool more_bits(int layer, int n_layer) {
    return layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2;
}

static dtype of_attn_v(const quant_mix *mix, const quant_mix_model *m, int layer) {
    dtype type = mix->base;
    if (mix->size == 'M' && more_bits(layer, m->n_layer)) type = DT_Q6_K;
    if (mix->size == 'S' && type == DT_Q4_K && layer < 4) type = DT_Q5_K;
    if (m->n_layer == 80 && m->many_query_heads && type == DT_Q4_K) type = DT_Q5_K;
    return m->n_expert == 8 ? DT_Q8_0 : type;
}

static dtype of_ffn_down(const quant_mix *mix, const quant_mix_model *m, int layer) {
    if (mix->size == 'M' && more_bits(layer, m->n_layer)) return DT_Q6_K;
    const bool early = layer < m->n_layer / 8;
    if (early && mix->size == 'S' && mix->base == DT_Q4_K) return DT_Q5_K;
    if (early && m->has_importance && mix->base == DT_Q4_0) return DT_Q4_1;
    if (early && m->has_importance && mix->base == DT_Q5_0) return DT_Q5_1;
    return mix->base;
}

static dtype before_fallback(const quant_mix *mix, const quant_mix_model *m, const char *name, int64_t cols) {
    const int layer = strncmp(name, "blk.", 4) == 0 ? atoi(name + 4) : 0;
    if (strcmp(name, "output.weight") == 0 || (m->tied && strcmp(name, "token_embd.weight") == 0)) {
        if (cols % dtype_get((uint32_t)mix->base)->block_elems != 0) return DT_Q8_0;
        return mix->base == DT_Q8_0 ? DT_Q8_0 : DT_Q6_K;
    }
    if (has(name, "attn_v.weight")) return of_attn_v(mix, m, layer);
    if (has(name, "attn_k.weight") && m->n_expert == 8) return DT_Q8_0;
    if (has(name, "ffn_down")) return of_ffn_down(mix, m, layer);
    if (has(name, "attn_output.weight") && m->n_expert == 8 && mix->base == DT_Q4_K) return DT_Q5_K;
    return mix->base;
}

/* Rows that the type's block does not divide. */
static dtype fall_back(dtype type, int64_t cols) {
    if (cols % dtype_get((uint32_t)type)->block_elems == 0) return type;
    const dtype to = type == DT_Q4_K ? DT_Q5_0 : type == DT_Q5_K ? DT_Q5_1 : type == DT_Q6_K ? DT_Q8_0 : type;
    return cols % dtype_get((uint32_t)to)->block_elems == 0 ? to : DT_F16;
}

dtype quant_mix_choose(const quant_mix *mix, const quant_mix_model *model, const char *name, int64_t cols) {
    if (dtype_get((uint32_t)mix->base)->block_elems == 1) return mix->base;
    return fall_back(before_fallback(mix, model, name, cols), cols);
}
