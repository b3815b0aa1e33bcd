/* Reading packed weights with AVX-512 (layout: product_internal.h), shared by the AVX-512 and the AMX products.  Inline functions only; the
 * type is always a constant, which drops the cases of other types.  For files compiled with AVX-512 F, BW, VL, DQ and VNNI. */
#ifndef GAVEL_KERN_PRODUCT_AVX512_H
#define GAVEL_KERN_PRODUCT_AVX512_H

#include "kern/product_internal.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE __m512i load_vec(const uint8_t *p) {
    return _mm512_load_si512(p);
}

INLINE __m512 load_halves(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}

/* Four int8 or two int16 in every lane. */
INLINE __m512i broadcast_dword(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

INLINE __mmask16 rows_mask(const kern_matrix *w, int64_t g) {
    int64_t left = w->rows - g * KERN_GROUP;
    return (__mmask16)(left >= KERN_GROUP ? 0xffffu : left > 0 ? (1u << left) - 1 : 0u);
}

/* ---- blocks of 32 ---- */

INLINE int record32(const int type) {
    return type == DT_Q8_0 ? PK_Q8_0 : type == DT_Q4_0 ? PK_Q4_0 : type == DT_Q4_1 ? PK_Q4_1 : type == DT_Q5_0 ? PK_Q5_0 : PK_Q5_1;
}

/* Vector j (elements 4j..4j+3 of each row) of a record, as u8. */
INLINE __m512i weights32(const int type, const uint8_t *record, const int j) {
    if (type == DT_Q8_0) return _mm512_xor_si512(load_vec(record + j * PK_VEC), _mm512_set1_epi8(-128));
    const int qs = type == DT_Q4_0 ? 0 : type == DT_Q5_1 ? 128 : 64;
    __m512i v = load_vec(record + qs + (j & 3) * PK_VEC);
    if (j >= 4) v = _mm512_srli_epi16(v, 4);
    v = _mm512_and_si512(v, _mm512_set1_epi8(15));
    if (type == DT_Q5_0 || type == DT_Q5_1) {
        __m512i qh = load_vec(record + (type == DT_Q5_1 ? 64 : 0)); /* bit j of each byte, moved to bit 4 */
        qh = j < 4 ? _mm512_slli_epi16(qh, (4 - j) & 7) : _mm512_srli_epi16(qh, (j - 4) & 7);
        v = _mm512_ternarylogic_epi32(v, qh, _mm512_set1_epi8(16), 0xf8); /* v | (qh & 16) */
    }
    return v;
}

/* ---- K-quants ---- */

INLINE int record256(const int type) {
    return type == DT_Q2_K ? PK_Q2_K : type == DT_Q3_K ? PK_Q3_K : type == DT_Q4_K ? PK_Q4_K : type == DT_Q5_K ? PK_Q5_K : PK_Q6_K;
}

/* A record is 8 chunks of 32 elements.  They are taken in an order in which what decides between a left and a right shift is a constant
 * u (0, 1) and the rest a loop counter r (0..3): rotations, which would do both, share their ports with vpdpbusd on Zen 5, shifts do not. */
INLINE int chunk_index(const int type, int r, const int u) {
    if (type == DT_Q4_K) return 2 * r + u;                      /* u: low or high nibbles */
    if (type == DT_Q6_K) return (r >> 1) * 4 + 2 * u + (r & 1); /* u: low or high nibbles, upper bits to the left or to the right */
    return 4 * u + r;                                           /* u: fifth bits to the left or to the right */
}

/* Vector j (0..7) of chunk (r, u) of a record, as u8: the type's low bits, then its high bits put above them. */
INLINE __m512i weights256(const int type, const uint8_t *record, int r, const int u, const int j) {
    const size_t i = (size_t)chunk_index(type, r, u), at = (size_t)j * PK_VEC;
    const __m512i low4 = _mm512_set1_epi8(15);
    if (type == DT_Q4_K) {
        __m512i v = load_vec(record + 256 + (size_t)r * 8 * PK_VEC + at);
        return _mm512_and_si512(u ? _mm512_srli_epi16(v, 4) : v, low4);
    }
    if (type == DT_Q5_K) {
        __m512i v = _mm512_srlv_epi16(load_vec(record + 768 + (i >> 1) * 8 * PK_VEC + at), _mm512_set1_epi16((short)(4 * (r & 1))));
        __m512i h = load_vec(record + 256 + at); /* bit i to bit 4 */
        h = u ? _mm512_srlv_epi16(h, _mm512_set1_epi16((short)r)) : _mm512_sllv_epi16(h, _mm512_set1_epi16((short)(4 - r)));
        return _mm512_ternarylogic_epi32(_mm512_and_si512(v, low4), h, _mm512_set1_epi8(16), 0xf8); /* v | (h & 16) */
    }
    if (type == DT_Q6_K) {
        const size_t half = (size_t)(r >> 1), odd = (size_t)(r & 1);
        const uint8_t *lo = record + (half * 16 + odd * 8) * PK_VEC, *hi = record + 2048 + half * 8 * PK_VEC;
        __asm__("" : "+r"(lo), "+r"(hi)); /* as two bases, not as sixteen addresses */
        __m512i v = load_vec(lo + at);
        v = _mm512_and_si512(u ? _mm512_srli_epi16(v, 4) : v, low4);
        __m512i h = load_vec(hi + at); /* bits 4u + 2 odd to bits 4 */
        h = u ? _mm512_srlv_epi16(h, _mm512_set1_epi16((short)(2 * odd))) : _mm512_sllv_epi16(h, _mm512_set1_epi16((short)(4 - 2 * odd)));
        return _mm512_ternarylogic_epi32(v, h, _mm512_set1_epi8(48), 0xf8);
    }
    __m512i v = load_vec(record + (type == DT_Q2_K ? 320 : 512) + (size_t)u * 8 * PK_VEC + at);
    v = _mm512_and_si512(_mm512_srlv_epi16(v, _mm512_set1_epi16((short)(2 * r))), _mm512_set1_epi8(3));
    if (type == DT_Q2_K) return v;
    __m512i h = _mm512_slli_epi16(_mm512_srlv_epi16(load_vec(record + at), _mm512_set1_epi16((short)i)), 2); /* bit i to bit 2 */
    return _mm512_ternarylogic_epi32(v, h, _mm512_set1_epi8(4), 0xf8);
}

/* Sub-block scales of one record of one group: sc as int32 lanes by sub-block (8 or 16); pair[p] holds what is multiplied with the sums of
 * activations, two int16 a lane: -offset * sc (Q3_K, Q6_K) or the minima (Q2_K, Q4_K, Q5_K) of sub-blocks 2p and 2p+1. */
typedef struct scales {
    __m512i sc[16], pair[8];
} scales;

/* Bytes 2h and 2h+1 of each lane as two int16. */
INLINE __m512i byte_pair(__m512i v, const int h, const bool is_signed) {
    /* each byte to the upper half of an int16; pshufb counts bytes within 16, so four lanes have four controls */
    const int lane = 0x01000100, first = 0x01800080 + 2 * h * lane;
    v = _mm512_shuffle_epi8(v, _mm512_set4_epi32(first + 12 * lane, first + 8 * lane, first + 4 * lane, first));
    return is_signed ? _mm512_srai_epi16(v, 8) : _mm512_srli_epi16(v, 8);
}

/* Byte n of each lane as int32. */
INLINE __m512i byte_lane(__m512i v, const int n, const bool is_signed) {
    v = _mm512_slli_epi32(v, 24 - 8 * n);
    return is_signed ? _mm512_srai_epi32(v, 24) : _mm512_srli_epi32(v, 24);
}

INLINE void load_scales(const int type, const uint8_t *record, scales *out) {
    const __m512i low4 = _mm512_set1_epi8(15), high2 = _mm512_set1_epi8(48);
    if (type == DT_Q4_K || type == DT_Q5_K) {
        /* dwords: 6 bits of sc[0..3] (and the top of sc[4..7]), the same of mn, low nibbles of sc[4..7] and mn[4..7] */
        const __m512i low6 = _mm512_set1_epi8(63);
        __m512i v0 = load_vec(record + 64), v1 = load_vec(record + 128), v2 = load_vec(record + 192), sc[2], mn[2];
        sc[0] = _mm512_and_si512(v0, low6);
        mn[0] = _mm512_and_si512(v1, low6);
        sc[1] = _mm512_or_si512(_mm512_and_si512(v2, low4), _mm512_and_si512(_mm512_srli_epi32(v0, 2), high2));
        mn[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(v2, 4), low4), _mm512_and_si512(_mm512_srli_epi32(v1, 2), high2));
        UNROLL for (int s = 0; s < 8; s++) out->sc[s] = byte_lane(sc[s / 4], s % 4, false);
        UNROLL for (int p = 0; p < 4; p++) out->pair[p] = byte_pair(mn[p / 2], p % 2, false);
    } else if (type == DT_Q2_K) {
        UNROLL for (int i = 0; i < 4; i++) {
            __m512i v = load_vec(record + 64 + i * PK_VEC), sc = _mm512_and_si512(v, low4);
            __m512i mn = _mm512_and_si512(_mm512_srli_epi32(v, 4), low4);
            UNROLL for (int n = 0; n < 4; n++) out->sc[4 * i + n] = byte_lane(sc, n, false);
            UNROLL for (int h = 0; h < 2; h++) out->pair[2 * i + h] = byte_pair(mn, h, false);
        }
    } else {
        /* Q6_K: signed bytes.  Q3_K: low nibbles of s in byte s % 8, high pairs of s in byte s % 4 of the third dword, offset 32. */
        UNROLL for (int i = 0; i < 4; i++) {
            __m512i v;
            if (type == DT_Q6_K) {
                v = load_vec(record + 3072 + i * PK_VEC);
            } else {
                v = _mm512_and_si512(_mm512_srli_epi32(load_vec(record + 1536 + (i & 1) * PK_VEC), 4 * (i >> 1)), low4);
                __m512i h = load_vec(record + 1664);
                h = i < 2 ? _mm512_slli_epi32(h, (4 - 2 * i) & 7) : _mm512_srli_epi32(h, (2 * i - 4) & 7);
                v = _mm512_sub_epi8(_mm512_ternarylogic_epi32(v, h, high2, 0xf8), _mm512_set1_epi8(32));
            }
            const int shift = type == DT_Q6_K ? 5 : 2; /* offset 32 or 4 */
            UNROLL for (int n = 0; n < 4; n++) out->sc[4 * i + n] = byte_lane(v, n, true);
            UNROLL for (int h = 0; h < 2; h++) out->pair[2 * i + h] =
                _mm512_sub_epi16(_mm512_setzero_si512(), _mm512_slli_epi16(byte_pair(v, h, true), shift));
        }
    }
}

/* The 8 sums of 32 activations of a block of 256 as int16 (at most 4,064), repeated in each 128-bit lane. */
INLINE __m512i sums_of_32(const int16_t *bsum) {
    __m256i by16 = _mm256_loadu_si256((const __m256i *)bsum);
    return _mm512_broadcast_i32x4(_mm256_cvtepi32_epi16(_mm256_madd_epi16(by16, _mm256_set1_epi16(1))));
}

#endif
