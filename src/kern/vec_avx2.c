/* The vector kernels of set avx2 (AVX2, FMA, F16C): 16 floats in two ymm.  Bodies: vec_simd.inc, attn_simd.inc; only static inline code is
 * shared with other files, so no AVX instruction can reach a machine without it. */
#include "kern/kern_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

typedef struct vf {
    __m256 lo, hi; /* elements 0..7 and 8..15 */
} vf;

static const int32_t lane_mask[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

/* All bits set in the first n of 8 lanes; n below 0 or over 8 is none or all. */
static inline __m256i first_lanes(int n) {
    n = n < 0 ? 0 : n > 8 ? 8 : n;
    return _mm256_loadu_si256((const __m256i *)(lane_mask + 16 - n));
}

#define BOTH(f) ((vf){f(a.lo, b.lo), f(a.hi, b.hi)})

static inline vf vf_set(float x) {
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline vf vf_load(const float *p) {
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}

static inline vf vf_load_n(const float *p, int n) {
    return (vf){_mm256_maskload_ps(p, first_lanes(n)), n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps()};
}

static inline void vf_store_n(float *p, vf v, int n) {
    _mm256_maskstore_ps(p, first_lanes(n), v.lo);
    if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.hi);
}

static inline vf vf_add(vf a, vf b) {
    return BOTH(_mm256_add_ps);
}
static inline vf vf_sub(vf a, vf b) {
    return BOTH(_mm256_sub_ps);
}
static inline vf vf_mul(vf a, vf b) {
    return BOTH(_mm256_mul_ps);
}
static inline vf vf_div(vf a, vf b) {
    return BOTH(_mm256_div_ps);
}
static inline vf vf_min(vf a, vf b) {
    return BOTH(_mm256_min_ps);
}
static inline vf vf_max(vf a, vf b) {
    return BOTH(_mm256_max_ps);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

static inline vf vf_neg(vf b) {
    const vf a = vf_set(-0.0f);
    return BOTH(_mm256_xor_ps);
}

static inline __m256 two_to(__m256 t) {
    __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3f800000)));
}

/* 2^n of t = n + 1.5 * 2^23. */
static inline vf vf_two_to(vf t) {
    return (vf){two_to(t.lo), two_to(t.hi)};
}

/* v, but +0 in the lanes where x < limit. */
static inline vf vf_zero_where_less(vf x, vf limit, vf v) {
    return (vf){_mm256_and_ps(v.lo, _mm256_cmp_ps(x.lo, limit.lo, _CMP_NLT_UQ)),
                _mm256_and_ps(v.hi, _mm256_cmp_ps(x.hi, limit.hi, _CMP_NLT_UQ))};
}

/* v in lanes lo <= i < hi, other in the rest. */
static inline vf vf_keep(vf v, int lo, int hi, float other) {
    __m256 o = _mm256_set1_ps(other);
    __m256i in_lo = _mm256_andnot_si256(first_lanes(lo), first_lanes(hi));
    __m256i in_hi = _mm256_andnot_si256(first_lanes(lo - 8), first_lanes(hi - 8));
    return (vf){_mm256_blendv_ps(o, v.lo, _mm256_castsi256_ps(in_lo)), _mm256_blendv_ps(o, v.hi, _mm256_castsi256_ps(in_hi))};
}

static inline unsigned vf_equal_mask(vf a, vf b) {
    int lo = _mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ)), hi = _mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ));
    return (unsigned)lo | (unsigned)hi << 8;
}

static inline vf vf_load_f16(const uint16_t *p) {
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

/* Round half even, saturated; NaN stays NaN (min and max return their second operand for it). */
static inline void vf_to_f16(uint16_t *p, vf v) {
    vf c = vf_max(vf_set(-65504.0f), vf_min(vf_set(65504.0f), v));
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(c.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(c.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* p[0] p[0] p[1] p[1] .. for n <= 8 values. */
static inline vf vf_load_pairs(const float *p, int n) {
    __m256 v = _mm256_maskload_ps(p, first_lanes(n));
    return (vf){_mm256_permutevar8x32_ps(v, _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0)),
                _mm256_permutevar8x32_ps(v, _mm256_set_epi32(7, 7, 6, 6, 5, 5, 4, 4))};
}

static inline vf vf_swap_pairs(vf v) {
    return (vf){_mm256_permute_ps(v.lo, 0xb1), _mm256_permute_ps(v.hi, 0xb1)};
}

static inline vf vf_neg_even(vf v) {
    const __m256 sign = _mm256_set_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
    return (vf){_mm256_xor_ps(v.lo, sign), _mm256_xor_ps(v.hi, sign)};
}

/* 6 queries by 1 vector of 16 are 12 ymm accumulators of the 16 registers; two fma ports times a latency of 4 need 8. */
#define ATTN_NQ    6
#define ATTN_KV    1
#define ATTN_DV    1
#define VECTOR_OPS kern_vector_avx2
#include "kern/vec_simd.inc"

#endif
