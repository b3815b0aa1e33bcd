/* Peaks of set avx2: vpmaddubsw, vpmaddwd by ones and vpaddd for 32 products of bytes, as product_avx2.c does them; fma and loads of 32 bytes. */
#include "kern/peak_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { SUMS = 8, FMAS = 12, LOADS = 8 };

static double int8_dot(void) {
    __m256i sum[SUMS], t;
    const __m256i a = _mm256_set1_epi8(5), b = _mm256_set1_epi8(-3), ones = _mm256_set1_epi16(1);
    PEAK_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm256_setzero_si256();
    for (int round = 0; round < PEAK_ROUNDS; round++)
        PEAK_UNROLL for (int i = 0; i < SUMS; i++) __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0" :
                                                                    "+x"(sum[i]), "=&x"(t) : "x"(a), "x"(b), "x"(ones));
    return 2.0 * 32 * SUMS * PEAK_ROUNDS;
}

static double fma_chains(void) {
    __m256 sum[FMAS];
    const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
    PEAK_UNROLL for (int i = 0; i < FMAS; i++) sum[i] = _mm256_setzero_ps();
    for (int round = 0; round < PEAK_ROUNDS; round++)
        PEAK_UNROLL for (int i = 0; i < FMAS; i++) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(sum[i]) : "x"(a), "x"(b));
    return 2.0 * 8 * FMAS * PEAK_ROUNDS;
}

static void read_bytes(const uint8_t *p, size_t n) {
    __m256i v[LOADS];
    PEAK_UNROLL for (int i = 0; i < LOADS; i++) v[i] = _mm256_setzero_si256();
    for (size_t at = 0; at < n; at += 32 * LOADS)
        PEAK_UNROLL for (size_t i = 0; i < LOADS; i++) v[i] = _mm256_or_si256(v[i], _mm256_load_si256((const __m256i *)(p + at + 32 * i)));
    PEAK_UNROLL for (int i = 0; i < LOADS; i++) PEAK_OPAQUE("x", v[i]);
}

const kern_peaks kern_peaks_avx2 = {"vpmaddubsw+vpmaddwd+vpaddd ymm", int8_dot, fma_chains, read_bytes};

#else
typedef int kern_peak_avx2_is_not_built; /* ISO C wants a declaration in every file */
#endif
