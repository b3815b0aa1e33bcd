/* The vector kernels of set neon (any AArch64): 16 floats in four registers.  Bodies: vec_simd.inc, attn_simd.inc. */
#include "kern/kern_internal.h"

#if defined(__aarch64__)

#include <arm_neon.h>

typedef struct vf {
    float32x4_t q0, q1, q2, q3; /* elements 0..3, 4..7, 8..11, 12..15 */
} vf;

#define EACH(f) ((vf){f(a.q0, b.q0), f(a.q1, b.q1), f(a.q2, b.q2), f(a.q3, b.q3)})

static inline vf vf_set(float x) {
    float32x4_t v = vdupq_n_f32(x);
    return (vf){v, v, v, v};
}
static inline vf vf_load(const float *p) {
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}

static inline void vf_store(float *p, vf v) {
    vst1q_f32(p, v.q0);
    vst1q_f32(p + 4, v.q1);
    vst1q_f32(p + 8, v.q2);
    vst1q_f32(p + 12, v.q3);
}

static inline vf vf_load_n(const float *p, int n) {
    if (n == 16) return vf_load(p);
    float part[16] = {0};
    memcpy(part, p, (size_t)n * sizeof *part);
    return vf_load(part);
}

static inline void vf_store_n(float *p, vf v, int n) {
    if (n == 16) {
        vf_store(p, v);
        return;
    }
    float part[16];
    vf_store(part, v);
    memcpy(p, part, (size_t)n * sizeof *part);
}

static inline vf vf_add(vf a, vf b) {
    return EACH(vaddq_f32);
}
static inline vf vf_sub(vf a, vf b) {
    return EACH(vsubq_f32);
}
static inline vf vf_mul(vf a, vf b) {
    return EACH(vmulq_f32);
}
static inline vf vf_div(vf a, vf b) {
    return EACH(vdivq_f32);
}

/* vminq_f32 and vmaxq_f32 would return the NaN; these return the second operand, as the comparisons of vec_ref.inc do. */
static inline float32x4_t min4(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline float32x4_t max4(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline vf vf_min(vf a, vf b) {
    return EACH(min4);
}
static inline vf vf_max(vf a, vf b) {
    return EACH(max4);
}

static inline vf vf_fma(vf a, vf b, vf c) {
    return (vf){vfmaq_f32(c.q0, a.q0, b.q0), vfmaq_f32(c.q1, a.q1, b.q1), vfmaq_f32(c.q2, a.q2, b.q2), vfmaq_f32(c.q3, a.q3, b.q3)};
}
static inline vf vf_neg(vf a) {
    return (vf){vnegq_f32(a.q0), vnegq_f32(a.q1), vnegq_f32(a.q2), vnegq_f32(a.q3)};
}

static inline float32x4_t two_to(float32x4_t t) {
    return vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23), vdupq_n_u32(0x3f800000u)));
}

/* 2^n of t = n + 1.5 * 2^23. */
static inline vf vf_two_to(vf t) {
    return (vf){two_to(t.q0), two_to(t.q1), two_to(t.q2), two_to(t.q3)};
}

static inline float32x4_t zero_where(uint32x4_t mask, float32x4_t v) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), mask));
}

/* v, but +0 in the lanes where x < limit. */
static inline vf vf_zero_where_less(vf x, vf limit, vf v) {
    return (vf){zero_where(vcltq_f32(x.q0, limit.q0), v.q0), zero_where(vcltq_f32(x.q1, limit.q1), v.q1),
                zero_where(vcltq_f32(x.q2, limit.q2), v.q2), zero_where(vcltq_f32(x.q3, limit.q3), v.q3)};
}

/* Lanes at, at + 1, .. of v that are in [lo, hi), other in the rest. */
static inline float32x4_t keep4(float32x4_t v, int at, int lo, int hi, float other) {
    static const int32_t counts[4] = {0, 1, 2, 3};
    int32x4_t i = vaddq_s32(vld1q_s32(counts), vdupq_n_s32(at));
    return vbslq_f32(vandq_u32(vcgeq_s32(i, vdupq_n_s32(lo)), vcltq_s32(i, vdupq_n_s32(hi))), v, vdupq_n_f32(other));
}

/* v in lanes lo <= i < hi, other in the rest. */
static inline vf vf_keep(vf v, int lo, int hi, float other) {
    return (vf){keep4(v.q0, 0, lo, hi, other), keep4(v.q1, 4, lo, hi, other), keep4(v.q2, 8, lo, hi, other),
                keep4(v.q3, 12, lo, hi, other)};
}

static inline unsigned equal4(float32x4_t a, float32x4_t b) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), vld1q_u32(bits)));
}

static inline unsigned vf_equal_mask(vf a, vf b) {
    return equal4(a.q0, b.q0) | equal4(a.q1, b.q1) << 4 | equal4(a.q2, b.q2) << 8 | equal4(a.q3, b.q3) << 12;
}

static inline vf vf_load_f16(const uint16_t *p) {
    float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(p)), high = vreinterpretq_f16_u16(vld1q_u16(p + 8));
    return (vf){vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)};
}

/* Round half even, saturated; NaN stays NaN (min and max return their second operand for it). */
static inline void vf_to_f16(uint16_t *p, vf v) {
    vf c = vf_max(vf_set(-65504.0f), vf_min(vf_set(65504.0f), v));
    vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(c.q0), c.q1)));
    vst1q_u16(p + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(c.q2), c.q3)));
}

/* p[0] p[0] p[1] p[1] .. for n <= 8 values. */
static inline vf vf_load_pairs(const float *p, int n) {
    vf v = vf_load_n(p, n);
    return (vf){vzip1q_f32(v.q0, v.q0), vzip2q_f32(v.q0, v.q0), vzip1q_f32(v.q1, v.q1), vzip2q_f32(v.q1, v.q1)};
}

static inline vf vf_swap_pairs(vf v) {
    return (vf){vrev64q_f32(v.q0), vrev64q_f32(v.q1), vrev64q_f32(v.q2), vrev64q_f32(v.q3)};
}

static inline float32x4_t neg_even(float32x4_t v) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u))));
}

static inline vf vf_neg_even(vf v) {
    return (vf){neg_even(v.q0), neg_even(v.q1), neg_even(v.q2), neg_even(v.q3)};
}

/* 6 queries by 1 vector of 16 are 24 accumulators of the 32 registers, 4 more hold the keys. */
#define ATTN_NQ    6
#define ATTN_KV    1
#define ATTN_DV    1
#define VECTOR_OPS kern_vector_neon
#include "kern/vec_simd.inc"

#endif
