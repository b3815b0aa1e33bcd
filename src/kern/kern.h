/* Compute kernels: one table of functions per instruction set, all bit-equal (numerics contract canonical-1, ARCHITECTURE.md).
 *
 * ref is the oracle: plain C, always built.  avx2, avxvnni, avx512 (VNNI), amx and neon (AArch64) compute the same bits faster.  The table is chosen once at start
 * (kern_best) or by name (--kernels).  Kernels allocate nothing, keep no state and touch only what their arguments say; every function
 * may run on any thread over disjoint output.
 *
 * Words: a weight matrix W has `rows` outputs and `cols` inputs (GGUF ne[1] and ne[0]); a product is y[c][r] = sum_k W[r][k] x[c][k] for
 * n activation columns c.  Rows are handled in groups of 16 (KERN_GROUP), one row a lane, so that the width of a vector changes nothing. */
#ifndef GAVEL_KERN_KERN_H
#define GAVEL_KERN_KERN_H

#include "base/dtype.h"
#include "base/err.h"

#include <stddef.h>

#define KERN_GROUP       16 /* rows a packed group */
#define KERN_PACK_LAYOUT 1  /* goes up with every change of what kern_pack writes: stored weights of another layout are not used */
#define KERN_PAGE_TOKENS 32 /* tokens a K/V page */
#define KERN_TILE_COLS   16 /* most columns of a tile of activations */

typedef enum kern_set { KERN_REF, KERN_REF_FMA, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512, KERN_AMX, KERN_NEON, KERN_SET_COUNT } kern_set;
/* KERN_REF_FMA is ref compiled with hardware fma: the same bits, used by tests to compare the two. */

/* ---- weights ------------------------------------------------------------------------------------------------------------------- */

/* A weight matrix repacked into row-interleaved groups; one layout for all kernel sets.  Padding rows of the last group are zero. */
typedef struct kern_matrix {
    dtype type;
    int64_t rows, cols;  /* cols is a multiple of the type's block */
    int64_t n_groups;    /* ceil(rows / 16) */
    const uint8_t *data; /* n_groups * group_bytes, 64-byte aligned; owned by the model */
    size_t group_bytes;
} kern_matrix;

/* Bytes of one packed group, and of the whole matrix; <= 1.03x the file's bytes for a multiple of 16 rows. False on overflow or if cols
 * is no multiple of the type's block. */
bool kern_packed_size(dtype type, int64_t rows, int64_t cols, size_t *group_bytes, size_t *total_bytes);
/* Packs groups [g0, g1) of file-layout rows `src` into dst (start of the whole packed matrix). Thread-safe over disjoint groups. */
void kern_pack(dtype type, const uint8_t *src, int64_t rows, int64_t cols, uint8_t *dst, int64_t g0, int64_t g1);
/* One row of a packed matrix as f32 (embedding lookup): exactly the values kern_dequant_row gives from the file. dst: cols floats. */
void kern_matrix_row(const kern_matrix *w, int64_t row, float *dst);
/* n elements (a multiple of the type's block) in file layout to f32, as gguf-py dequantises (bit-equal). */
void kern_dequant_row(dtype type, const void *src, float *dst, int64_t n);

/* ---- activations --------------------------------------------------------------------------------------------------------------- */

/* How the activations of a product with weights of this type must be prepared. */
typedef enum kern_act_kind { KERN_ACT_F32, KERN_ACT_Q32, KERN_ACT_Q256, KERN_ACT_COUNT } kern_act_kind;
kern_act_kind kern_act_kind_of(dtype weight_type); /* F32 F16 BF16: F32; K-quants: Q256; other quants: Q32 */

/* n columns of width k.  f32: [n][k].  Quantised: q [n][k] int8 in -127..127; d [n][k/block] f32 scales; bsum [n][k/16] sums of 16
 * consecutive q.  Column strides are k, k/block and k/16.  q is 64-byte aligned; columns are readable only up to k. */
typedef struct kern_acts {
    int64_t k;
    int n;
    const float *f32;
    const int8_t *q;
    const float *d;
    const int16_t *bsum;
    /* The same quantised columns as tiles, for sets that have tile_put: column c is slot c % tile_cols of the tile at
     * tiles + (c / tile_cols) * kern_tile_bytes(); 64-byte aligned; unused slots of the last tile readable.  tile_cols 0: none. */
    const uint8_t *tiles;
    int tile_cols;
} kern_acts;

/* Bytes of a tile of columns of width k; 0 for KERN_ACT_F32. */
size_t kern_tile_bytes(kern_act_kind kind, int64_t k);

/* ---- attention ----------------------------------------------------------------------------------------------------------------- */

typedef enum kern_kv_type { KERN_KV_F16, KERN_KV_F32 } kern_kv_type;

/* Attention of a block of queries of one sequence against one kv head, over paged K and V.
 * Page i holds keys 32i..32i+31.  K page: [head_dim][32] (dimension-major: lane = key); V page: [32][head_dim]; elements of kv_type.
 * For query j: s_t = scale * (fma chain over d ascending from +0 of q[d] * K[d][t]) for keys t in [first[j], n_keys[j]);
 * m = exact max; p_t = exp(s_t - m); sum: element t to lane t mod 16 in ascending t, then the fixed tree (kern_internal.h);
 * o[d] = fma chain over t ascending from +0 of p_t * V[t][d]; out[d] = o[d] / sum.  Keys outside the range are not read into a result. */
typedef struct kern_attn {
    kern_kv_type kv_type;
    int head_dim;              /* a multiple of 2, at most 512 */
    int n_q;                   /* queries in the block: tokens x heads that share the kv head */
    const float *const *q;     /* [n_q] -> head_dim floats, after RoPE */
    float *const *out;         /* [n_q] -> head_dim floats */
    const int *first;          /* [n_q] first visible key (0 without a sliding window) */
    const int *n_keys;         /* [n_q] one past the last visible key, > first */
    const void *const *k_page; /* pages of this layer and kv head, enough for the largest n_keys */
    const void *const *v_page;
    float scale;
    float *scratch;        /* n_q * scratch_stride floats, 64-byte aligned */
    size_t scratch_stride; /* >= largest n_keys rounded up to 32 */
} kern_attn;

/* ---- RoPE ---------------------------------------------------------------------------------------------------------------------- */

typedef enum kern_rope_kind {
    KERN_ROPE_INTERLEAVED, /* pairs (2i, 2i+1): GGUF of architecture llama */
    KERN_ROPE_HALF,        /* pairs (i, i + n_rot/2): qwen2 and the HF files */
} kern_rope_kind;

#define KERN_MAX_ROT 512 /* largest n_rot */

/* YaRN as transformers computes it (rope_scaling of a config, rope.scaling.* of a GGUF). */
typedef struct kern_yarn {
    float factor, original_ctx, beta_fast, beta_slow;
    bool keep_fractions; /* "truncate": false */
} kern_yarn;

/* inv_freq[n_rot/2] = 1 / theta^(2i/n_rot) rounded as transformers does, divided by divisor[i] if given (rope_freqs.weight, linear scaling);
 * with yarn: scaled by it instead. */
void kern_rope_frequencies(float theta, int n_rot, const float *divisor, const kern_yarn *yarn, float *inv_freq);
/* By which cos and sin are multiplied with YaRN, if the model does not say: mscale and mscale_all_dim are 0 where a config has none. */
float kern_yarn_attention(float factor, float mscale, float mscale_all_dim);
/* cos and sin tables [n_pos][n_rot/2] of positions first, first + 1, ...: angle f32 = pos * inv_freq, sine and cosine in double by our own
 * functions (no libm), rounded to f32, times attention (1 without YaRN). */
void kern_rope_table(const float *inv_freq, int n_rot, float attention, int64_t first, int64_t n_pos, float *cos_out, float *sin_out);
/* llama3 scaling given as config values instead of rope_freqs: fills divisor[n_rot/2]. */
void kern_rope_llama3_divisors(float theta, int n_rot, float factor, float low_freq_factor, float high_freq_factor, float original_ctx,
                               float *divisor);

/* ---- scalar mathematics of the contract (used by samplers; the same bits on every machine) --------------------------------------- */

float kern_expf(float x);          /* the polynomial of softmax and SiLU */
double kern_log(double x);         /* natural logarithm, own code, < 2 ulp; x > 0 finite */
double kern_exp(double x);         /* own code, < 2 ulp */
uint16_t kern_f32_to_f16(float x); /* round half even, saturated to +-65504; NaN stays NaN */
float kern_f16_to_f32(uint16_t h);
uint16_t kern_f32_to_bf16(float x); /* round half even */
static inline float kern_bf16_to_f32(uint16_t h) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)h << 16};
    return v.f;
}

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

typedef struct kern_ops {
    const char *name; /* "ref", "ref-fma", "avx2", "avxvnni", "avx512", "amx", "neon" */
    kern_set set;

    /* Quantises one column of k floats by blocks of 32 or 256 (canonical-1, Activations).  Returns false if a value is not finite (the
     * block is then zero and the caller fails that row). */
    bool (*quant32)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);
    bool (*quant256)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);

    /* Puts one quantised column (as quant32 or quant256 left it) into slot 0..15 of a tile.  NULL: this set reads plain columns only. */
    void (*tile_put)(kern_act_kind kind, int64_t k, const int8_t *q, const float *d, const int16_t *bsum, int slot, uint8_t *tile);

    /* y[c*ldy + r] for all x->n columns and the rows of groups [g0, g1); rows past w->rows are not stored. x prepared as
     * kern_act_kind_of(w->type) says. */
    void (*product)(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1);

    /* y = x * (1/sqrt(mean(x^2) + eps)) * weight; x, y [n] (may be the same). */
    void (*rmsnorm)(const float *x, const float *weight, float eps, int64_t n, float *y);
    void (*add)(float *y, const float *x, int64_t n);          /* y += x */
    void (*scale_add)(float *y, float w, const float *x, int64_t n); /* y = fma(w, x, y) */
    void (*silu_mul)(float *gate, const float *up, int64_t n); /* gate = gate/(1+exp(-gate)) * up */
    /* Rotates n_heads heads of head_dim floats in place; the first n_rot of each. cos, sin: the position's row of the tables. */
    void (*rope)(float *x, int n_heads, int head_dim, int n_rot, kern_rope_kind kind, const float *cos, const float *sin);
    /* Stores one token's key and value of one kv head at slot 0..31 of its pages (f16: round half even, saturated). */
    void (*kv_put)(kern_kv_type type, int head_dim, int slot, const float *k, const float *v, void *k_page, void *v_page);
    void (*attention)(const kern_attn *a);
    /* Exact maximum of n floats and the lowest index that has it; *finite false if any is NaN or infinite. n >= 1. */
    void (*argmax)(const float *x, int64_t n, int64_t *index, float *max, bool *finite);
} kern_ops;

/* How many columns to put into each tile when there are n: 0 for a set, or a number of columns, that is better off without tiles. */
int kern_tile_cols(const kern_ops *ops, int n);
/* NULL if this build or this CPU does not have the set. */
const kern_ops *kern_get(kern_set set);
/* The fastest set this CPU runs. */
const kern_ops *kern_best(void);
/* "ref|avx2|avxvnni|avx512|amx|neon" to a table; GV_USAGE naming the sets this CPU has. */
const kern_ops *kern_by_name(const char *name, gv_err *err);
/* One line about CPU features found and sets usable, for `gavel inspect --cpu`: text into buf of n bytes. */
void kern_describe_cpu(char *text, size_t n);
/* Threads that call kernels do so between these: round to nearest, no FTZ/DAZ; restores what was (token from enter). */
uint32_t kern_fp_enter(void);
void kern_fp_leave(uint32_t saved);

#endif
