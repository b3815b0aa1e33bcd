/* Peaks of set avx512: vpdpbusd, fma and loads of 64 bytes. */
#include "kern/peak_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { SUMS = 12, REPEATS = 4, LOADS = 8 }; /* 16 sums without repeats: 3 % less on an Intel Xeon */

static double int8_dot(void) {
    __m512i sum[SUMS];
    const __m512i a = _mm512_set1_epi8(5), b = _mm512_set1_epi8(-3);
    PEAK_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_setzero_si512();
    for (int round = 0; round < PEAK_ROUNDS / REPEATS; round++)
        PEAK_UNROLL for (int k = 0; k < REPEATS; k++)
            PEAK_UNROLL for (int i = 0; i < SUMS; i++) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
    return 2.0 * 64 * SUMS * PEAK_ROUNDS;
}

static double fma_chains(void) {
    __m512 sum[SUMS];
    const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
    PEAK_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_setzero_ps();
    for (int round = 0; round < PEAK_ROUNDS / REPEATS; round++)
        PEAK_UNROLL for (int k = 0; k < REPEATS; k++)
            PEAK_UNROLL for (int i = 0; i < SUMS; i++) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
    return 2.0 * 16 * SUMS * PEAK_ROUNDS;
}

static void read_bytes(const uint8_t *p, size_t n) {
    __m512i v[LOADS];
    PEAK_UNROLL for (int i = 0; i < LOADS; i++) v[i] = _mm512_setzero_si512();
    for (size_t at = 0; at < n; at += 64 * LOADS)
        PEAK_UNROLL for (size_t i = 0; i < LOADS; i++) v[i] = _mm512_or_si512(v[i], _mm512_load_si512(p + at + 64 * i));
    PEAK_UNROLL for (int i = 0; i < LOADS; i++) PEAK_OPAQUE("v", v[i]);
}

const kern_peaks kern_peaks_avx512 = {"vpdpbusd zmm", int8_dot, fma_chains, read_bytes};

#else
typedef int kern_peak_avx512_is_not_built; /* ISO C wants a declaration in every file */
#endif
