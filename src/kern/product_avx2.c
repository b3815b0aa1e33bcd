/* The AVX2 set of products (product_avx2.inc) and quantisation of activations with AVX2.  Stateless, any thread. */
#if defined(__x86_64__)

#define PRODUCT_VNNI 0
#include "kern/product_avx2.inc"

/* ---- activations ---- */

INLINE int32_t reduce_max(__m256i v) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

INLINE int32_t reduce_add(__m256i v) {
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

INLINE __m256i quant8(const float *x, __m256 id) {
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), id);
    return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f)));
}

/* n is 32 or 256. */
INLINE bool quant_block(const float *x, const int n, int8_t *q, float *d, int16_t *bsum) {
    const __m256i abs_bits = _mm256_set1_epi32(0x7fffffff);
    __m256i max_bits = _mm256_setzero_si256();
    /* Magnitudes compare as integers; infinities and NaN are above all finite ones. */
    for (int i = 0; i < n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        max_bits = _mm256_max_epi32(max_bits, _mm256_and_si256(v, abs_bits));
    }
    int32_t bits = reduce_max(max_bits);
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    bool finite = bits < 0x7f800000;
    if (!finite || amax < PK_ACT_MIN) {
        memset(q, 0, (size_t)n);
        memset(bsum, 0, (size_t)(n / 16) * sizeof *bsum);
        *d = 0.0f;
        return finite;
    }
    *d = amax / 127.0f;
    const __m256 id = _mm256_set1_ps(127.0f / amax);
    for (int i = 0; i < n; i += 32) {
        __m256i v0 = quant8(x + i, id), v1 = quant8(x + i + 8, id), v2 = quant8(x + i + 16, id), v3 = quant8(x + i + 24, id);
        bsum[i / 16] = (int16_t)reduce_add(_mm256_add_epi32(v0, v1));
        bsum[i / 16 + 1] = (int16_t)reduce_add(_mm256_add_epi32(v2, v3));
        /* the packs interleave 128-bit halves; the permutation puts the dwords back in order */
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v0, v1), _mm256_packs_epi32(v2, v3));
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)(q + i), bytes);
    }
    return true;
}

static bool quant32(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    bool ok = true;
    for (int64_t i = 0; i < k; i += 32) ok &= quant_block(x + i, 32, q + i, d + i / 32, bsum + i / 16);
    return ok;
}

static bool quant256(const float *x, int64_t k, int8_t *q, float *d, int16_t *bsum) {
    bool ok = true;
    for (int64_t i = 0; i < k; i += 256) ok &= quant_block(x + i, 256, q + i, d + i / 256, bsum + i / 16);
    return ok;
}

const kern_product_ops kern_product_avx2 = {quant32, quant256, product, NULL};

#endif
