/* Mixes: which type each tensor of a model gets when the whole model is quantised ("q4_k_m").
 *
 * For the names that llama-quantize has, the choice is the same as its own: more bits for the output, for attn_v and ffn_down of some layers,
 * and types of 32 elements for rows that are no multiple of 256.  Pure functions; any thread. */
#ifndef GAVEL_MODELFILE_QUANT_MIX_H
#define GAVEL_MODELFILE_QUANT_MIX_H

#include "base/dtype.h"

typedef struct quant_mix {
    const char *name;   /* "q4_k_m" */
    dtype base;         /* type of most matrices */
    uint32_t file_type; /* general.file_type */
    char size;          /* 'M', 'S' or 0 */
} quant_mix;

/* What the choice depends on beside the tensor. */
typedef struct quant_mix_model {
    int n_layer, n_expert; /* n_expert 0: no experts */
    bool tied;             /* no output.weight: the embedding is the output */
    bool many_query_heads; /* more query than K/V heads; matters for 80 layers */
    bool has_importance;
} quant_mix_model;

/* f32 f16 bf16 q8_0 q6_k q5_k q5_k_m q5_k_s q4_k q4_k_m q4_k_s q5_0 q5_1 q4_0 q4_1; q5_k and q4_k are the _S mixes without their bumps, so one type
 * but for the output.  Any case. GV_USAGE suggests the nearest name. */
const quant_mix *quant_mix_by_name(const char *name, gv_err *err) GV_MUST_USE;
/* NULL-terminated, in the order of the help. */
extern const char *const quant_mix_names[];

/* Is this tensor (GGUF name and shape) one that quantisation changes?  Vectors, norms and routers stay as they are. */
bool quant_mix_touches(const char *name, uint32_t n_dims);
/* Type of a tensor that quant_mix_touches, with rows of `cols` elements. */
dtype quant_mix_choose(const quant_mix *mix, const quant_mix_model *model, const char *name, int64_t cols);

#endif
