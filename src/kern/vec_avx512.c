/* The vector kernels of set avx512 (F, BW, VL, DQ): 16 floats in one zmm.  Bodies: vec_simd.inc, attn_simd.inc; only static inline code is
 * shared with other files, so no AVX-512 instruction can reach a machine without it. */
#include "kern/kern_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

typedef __m512 vf;

static inline __mmask16 first_lanes(int n) {
    return (__mmask16)((1u << n) - 1u);
} /* 0 <= n <= 16 */

static inline vf vf_set(float x) {
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
static inline vf vf_load_n(const float *p, int n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
static inline void vf_store_n(float *p, vf v, int n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
static inline vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf vf_neg(vf a) {
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

/* 2^n of t = n + 1.5 * 2^23. */
static inline vf vf_two_to(vf t) {
    __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(0x3f800000)));
}

/* v, but +0 in the lanes where x < limit. */
static inline vf vf_zero_where_less(vf x, vf limit, vf v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), v);
}

/* v in lanes lo <= i < hi, other in the rest. */
static inline vf vf_keep(vf v, int lo, int hi, float other) {
    unsigned below = hi >= 16 ? 0xffffu : (1u << hi) - 1u;
    unsigned from = lo <= 0 ? 0xffffu : 0xffffu << lo;
    return _mm512_mask_mov_ps(_mm512_set1_ps(other), (__mmask16)(below & from), v);
}

static inline unsigned vf_equal_mask(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

static inline vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Round half even, saturated; NaN stays NaN (min and max return their second operand for it). */
static inline void vf_to_f16(uint16_t *p, vf v) {
    vf c = _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), v));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(c, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* p[0] p[0] p[1] p[1] .. for n <= 8 values. */
static inline vf vf_load_pairs(const float *p, int n) {
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(twice, vf_load_n(p, n));
}

static inline vf vf_swap_pairs(vf v) {
    return _mm512_permute_ps(v, 0xb1);
}
static inline vf vf_neg_even(vf v) {
    return _mm512_mask_xor_ps(v, 0x5555, v, _mm512_set1_ps(-0.0f));
}

/* 8 queries by 2 vectors are 16 accumulators: two fma ports times a latency of 4 need 8, and each vector loaded serves 8. */
#define ATTN_NQ    8
#define ATTN_KV    2
#define ATTN_DV    2
#define VECTOR_OPS kern_vector_avx512
#include "kern/vec_simd.inc"

#endif
