/* A model: hyperparameters and weights, bound once from a GGUF and immutable afterwards; any number of threads may read it.
 *
 * Weights are repacked for the kernels at load (kern_pack) into one block of memory and the file's pages dropped; only an untied
 * token embedding stays in the mapped file.  Every shape is checked with both sides named, every tensor of the file must be one the
 * architecture uses.  Which tensors and keys an architecture has stands in its own small file (arch_llama.c, arch_qwen2.c). */
#ifndef GAVEL_ENGINE_MODEL_H
#define GAVEL_ENGINE_MODEL_H

#include "base/thread.h"
#include "kern/kern.h"
#include "modelfile/gguf.h"

typedef struct model_shape {
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_vocab;
    int64_t ctx_train; /* positions the model was trained for */
    float norm_eps, rope_theta;
    float rope_divide;      /* linear scaling: all frequencies divided by this; 1 = none */
    int64_t sliding_window; /* keys a query sees, itself included; 0 = all */
    kern_rope_kind rope;
} model_shape;

typedef struct model_layer {
    float *attn_norm, *ffn_norm;        /* [n_embd] */
    kern_matrix attn_q, attn_k, attn_v; /* [n_head*head_dim, n_embd], [n_head_kv*head_dim, n_embd] twice */
    float *bias_q, *bias_k, *bias_v;    /* NULL without QKV bias */
    kern_matrix attn_output;            /* [n_embd, n_head*head_dim] */
    kern_matrix ffn_gate, ffn_up;       /* [n_ff, n_embd] */
    kern_matrix ffn_down;               /* [n_embd, n_ff] */
} model_layer;

typedef struct model {
    model_shape shape;
    char arch[16];
    gguf *file;                   /* open while the model lives: names, metadata, an untied embedding */
    const tensor_view *embedding; /* token_embd.weight in the file; NULL when tied (rows come from output) */
    kern_matrix output;           /* [n_vocab, n_embd]; the embedding itself when tied */
    float *output_norm;           /* [n_embd] */
    model_layer *layer;           /* [n_layer] */
    float *rope_divisor;          /* [n_rot/2] of rope_freqs.weight, or NULL */
    float *rope_cos, *rope_sin;   /* [n_pos][n_rot/2] */
    int64_t n_pos;                /* positions the tables reach */
    uint8_t *packed;              /* all matrices */
    size_t packed_bytes, file_weight_bytes;
    bool used[DT_COUNT]; /* effective types of the weight matrices */
    int64_t load_us, pack_us;
} model;

/* The hyperparameters of a file, without its weights: the architecture's name, or NULL (static). */
const char *model_read_shape(const gguf *g, model_shape *s, gv_err *err) GV_MUST_USE;
/* Opens PATH.  n_pos: positions wanted (0 = ctx_train), at most 1,048,576.  memory_bytes: GV_LIMIT naming both sides if the repacked
 * weights alone are larger (0 = no limit).  Packing runs on `threads`. */
model *model_open(const char *path, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) GV_MUST_USE;
/* The same from an open file, which the model takes (also on failure). */
model *model_from_gguf(gguf *file, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) GV_MUST_USE;
void model_free(model *m);
/* "Q4_1+Q8_0": the effective types of the weight matrices, in type order. */
void model_weight_types(const model *m, char *out, size_t n);

#endif
