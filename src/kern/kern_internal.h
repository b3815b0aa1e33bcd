/* What the kernel files share: block structs in file layout, the packed layouts, the fixed reduction tree.  Included by src/kern only. */
#ifndef GAVEL_KERN_INTERNAL_H
#define GAVEL_KERN_INTERNAL_H

#include "kern/kern.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "gavel needs a little-endian machine"
#endif
#if FLT_EVAL_METHOD != 0
#error "gavel needs FLT_EVAL_METHOD 0 (canonical-1)"
#endif
_Static_assert(sizeof(void *) == 8, "gavel needs a 64-bit machine");

/* Each instruction set provides one of each; kern.c composes the table. */
typedef struct kern_product_ops {
    bool (*quant32)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);
    bool (*quant256)(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum);
    void (*product)(const kern_matrix *w, const kern_acts *x, float *y, int64_t ldy, int64_t g0, int64_t g1);
    void (*tile_put)(kern_act_kind kind, int64_t k, const int8_t *q, const float *d, const int16_t *bsum, int slot, uint8_t *tile);
} kern_product_ops;

typedef struct kern_vector_ops {
    void (*rmsnorm)(const float *x, const float *weight, float eps, int64_t n, float *y);
    void (*add)(float *y, const float *x, int64_t n);
    void (*scale_add)(float *y, float w, const float *x, int64_t n);
    void (*silu_mul)(float *gate, const float *up, int64_t n);
    void (*rope)(float *x, int n_heads, int head_dim, int n_rot, kern_rope_kind kind, const float *cos, const float *sin);
    void (*kv_put)(kern_kv_type type, int head_dim, int slot, const float *k, const float *v, void *k_page, void *v_page);
    void (*attention)(const kern_attn *a);
    void (*argmax)(const float *x, int64_t n, int64_t *index, float *max, bool *finite);
} kern_vector_ops;

extern const kern_product_ops kern_product_ref, kern_product_ref_fma, kern_product_avx2, kern_product_avxvnni, kern_product_avx512,
    kern_product_amx;
extern const kern_product_ops kern_product_neon, kern_product_neon_dot, kern_product_neon_i8mm; /* by what the CPU has */
extern const kern_vector_ops kern_vector_ref, kern_vector_ref_fma, kern_vector_avx2, kern_vector_avx512, kern_vector_neon;

/* ---- the fixed reduction and exp of canonical-1 (docs/numerics.md, Vectors and attention) ----------------------------------------- */

#define KERN_LANES 16 /* partial sums of every floating reduction: element i goes to lane i mod 16 */

/* The fixed tree over the 16 partial sums: lane i + lane i+8, then +4, +2, +1.  Vector sets keep the 16 lanes in registers, store them
 * and call this, so the order is in one place. */
static inline float kern_tree16(const float lane[KERN_LANES]) {
    float t[8];
    for (int i = 0; i < 8; i++) t[i] = lane[i] + lane[i + 8];
    for (int i = 0; i < 4; i++) t[i] = t[i] + t[i + 4];
    for (int i = 0; i < 2; i++) t[i] = t[i] + t[i + 2];
    return t[0] + t[1];
}

/* exp(x) in f32.  x is clamped to [EXP_MIN, EXP_MAX]; n = x*log2(e) rounded by adding and subtracting 1.5*2^23; r = x - n*ln 2 in two
 * parts (EXP_LN2_HI has 15 significant bits: n times it is exact); p(r) = 1 + r + r^2 (C2 + .. C6 r^4), minimax in relative error on
 * |r| <= ln2/2 (3.1e-9 before rounding); times 2^n; x below EXP_MIN gives +0.  Results never are subnormal, NaN stays NaN. */
#define KERN_EXP_MIN    -87.0f
#define KERN_EXP_MAX    88.0f
#define KERN_EXP_LOG2E  0x1.715476p+0f
#define KERN_EXP_MAGIC  0x1.8p+23f
#define KERN_EXP_LN2_HI 0x1.62e4p-1f
#define KERN_EXP_LN2_LO 0x1.7f7d1cp-20f
#define KERN_EXP_C2     0x1.fffffcp-2f
#define KERN_EXP_C3     0x1.55549p-3f
#define KERN_EXP_C4     0x1.5558f4p-5f
#define KERN_EXP_C5     0x1.123a6cp-7f
#define KERN_EXP_C6     0x1.6a2352p-10f

static inline float kern_expf_inline(float x) {
    float c = x > KERN_EXP_MAX ? KERN_EXP_MAX : x;
    c = c < KERN_EXP_MIN ? KERN_EXP_MIN : c;
    union {
        float f;
        uint32_t u;
    } t = {fmaf(c, KERN_EXP_LOG2E, KERN_EXP_MAGIC)}, two_n;
    two_n.u = (t.u << 23) + 0x3f800000u; /* the low bits of t hold n */
    float n = t.f - KERN_EXP_MAGIC;
    float r = fmaf(n, -KERN_EXP_LN2_LO, fmaf(n, -KERN_EXP_LN2_HI, c));
    float p = fmaf(KERN_EXP_C6, r, KERN_EXP_C5);
    p = fmaf(p, r, KERN_EXP_C4);
    p = fmaf(p, r, KERN_EXP_C3);
    p = fmaf(p, r, KERN_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    p = p * two_n.f;
    return x < KERN_EXP_MIN ? 0.0f : p;
}

#endif
