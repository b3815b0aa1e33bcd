/* A model: hyperparameters and weights, bound once from a GGUF or a folder and immutable afterwards; any number of threads may read it.
 *
 * Two steps: model_bind finds out what is there and how large it will be, model_load fills the memory.  Weights are repacked for the kernels
 * (kern_pack) into one block of memory, slice by slice on all threads, and the file's pages dropped behind; only an untied token embedding
 * stays in the mapped file.  With a mix, matrices of F32, F16 and BF16 are quantised on the way, each to the type that `gavel quantize` would give
 * it and to the same bytes; the embedding is then in the block too.  With a cache folder the packed block is a mapped file instead
 * (model_cache.c).  Every shape is checked with both sides named, every tensor of the file must be one the architecture uses.  Which tensors and keys an architecture has stands in its own small file (arch_llama.c, arch_qwen2.c). */
#ifndef GAVEL_ENGINE_MODEL_H
#define GAVEL_ENGINE_MODEL_H

#include "base/file.h"
#include "base/thread.h"
#include "kern/kern.h"
#include "modelfile/quant_mix.h"
#include "modelfile/tensors.h"

enum { MODEL_MAX_EXPERTS = 256 };

typedef struct model_shape {
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_vocab;
    int n_expert, n_expert_used; /* a layer's experts, each n_ff wide, and how many a token goes to; 0 = one dense block */
    int64_t ctx_train;           /* positions the model was trained for */
    float norm_eps, rope_theta;
    float rope_divide;      /* linear scaling: all frequencies divided by this; 1 = none */
    kern_yarn yarn;         /* YaRN scaling; factor 0 = none */
    float rope_attention;   /* cos and sin times this; 1 without YaRN */
    int64_t sliding_window; /* keys a query sees, itself included; 0 = all */
    int window_from_layer;  /* layers below see all keys */
    kern_rope_kind rope;
} model_shape;

typedef struct model_expert {
    kern_matrix gate, up; /* [n_ff, n_embd] */
    kern_matrix down;     /* [n_embd, n_ff] */
} model_expert;

typedef struct model_layer {
    float *attn_norm, *ffn_norm;        /* [n_embd] */
    kern_matrix attn_q, attn_k, attn_v; /* [n_head*head_dim, n_embd], [n_head_kv*head_dim, n_embd] twice */
    float *bias_q, *bias_k, *bias_v;    /* NULL without QKV bias */
    kern_matrix attn_output;            /* [n_embd, n_head*head_dim] */
    model_expert ffn;                   /* dense models */
    kern_matrix router;                 /* [n_expert, n_embd], a float type */
    model_expert *expert;               /* [n_expert], or NULL */
} model_layer;

/* A matrix to pack: from rows of a tensor to the bytes at `at`, in the type of `to`. */
typedef struct model_part {
    const tensor_view *from;
    int64_t first_row; /* of one expert within a tensor of all */
    kern_matrix *to;
    bool rows_only; /* rows as in a file, not packed in groups: a quantised embedding */
    size_t at;
} model_part;

typedef struct model {
    model_shape shape;
    char arch[16];
    tensors *file;                /* open while the model lives: names, metadata, an untied embedding */
    const quant_mix *mix;         /* what the weights are quantised to; NULL: as in the file */
    const tensor_view *embedding; /* token_embd.weight in the file, or `own`; NULL when tied (rows come from output) */
    tensor_view own;              /* the embedding quantised, in packed memory */
    kern_matrix own_rows;         /* its shape */
    kern_matrix output;           /* [n_vocab, n_embd]; the embedding itself when tied */
    float *output_norm;           /* [n_embd] */
    model_layer *layer;           /* [n_layer] */
    float *rope_divisor;          /* [n_rot/2] of rope_freqs.weight, or NULL */
    float *rope_cos, *rope_sin;   /* [n_pos][n_rot/2] */
    int64_t n_pos;                /* positions the tables reach */
    model_part *part;             /* [n_parts] all matrices in the order of the packed memory */
    size_t n_parts;
    uint8_t *packed; /* all matrices; NULL before model_load; read-only when it lies in `cached` */
    size_t packed_bytes, file_weight_bytes;
    char sha256[65];          /* of the model file or folder, if the cache knows it; else "" */
    file_map cached;          /* the cache file, if the weights came from one */
    bool used[DT_COUNT];      /* effective types of the weight matrices */
    int64_t load_us, pack_us; /* cost of model_load; of packing alone, or of checking the cache file */
} model;

/* The hyperparameters of a file, without its weights: the architecture's name, or NULL (static). */
const char *model_read_shape(const tensors *file, model_shape *s, gv_err *err) GV_MUST_USE;
/* Checks every shape and adds up sizes; nothing large is read or allocated.  Takes the file, also on failure.  mix: NULL, or what matrices
 * of F32, F16 and BF16 are quantised to (GV_UNSUPPORTED if one has another type).  n_pos: positions wanted (0 = ctx_train), at most 1,048,576;
 * m->n_pos may be lowered before model_load. */
model *model_bind(tensors *file, const quant_mix *mix, int64_t n_pos, gv_err *err) GV_MUST_USE;
/* Bytes of the file that stay in use: those of an untied embedding that is not in packed memory. */
size_t model_mapped_bytes(const model *m);

typedef struct model_load_options {
    pool *threads;
    const char *cache_dir;           /* NULL: no cache */
    const char *(*sha256)(void *of); /* hex digest of the model; asked for only if the cache needs it */
    void *sha256_of;
} model_load_options;
/* Weights and RoPE tables.  On failure the model can only be freed. */
bool model_load(model *m, const model_load_options *o, gv_err *err) GV_MUST_USE;

/* Both in one, without a cache.  memory_bytes: GV_LIMIT naming both sides if the repacked weights alone are larger (0 = no limit). */
model *model_open(tensors *file, const quant_mix *mix, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) GV_MUST_USE;
model *model_from_gguf(gguf *file, int64_t n_pos, int64_t memory_bytes, pool *threads, gv_err *err) GV_MUST_USE;
void model_free(model *m);
/* "Q4_1+Q8_0": the effective types of the weight matrices, in type order; with a mix "Q4_K+Q6_K(q4_k_m)". */
void model_weight_types(const model *m, char *out, size_t n);

#endif
