/* Peaks of set avxvnni: vpdpbusd on 32 bytes; the rest as avx2. */
#include "kern/peak_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { SUMS = 12, REPEATS = 4 };

static double int8_dot(void) {
    __m256i sum[SUMS];
    const __m256i a = _mm256_set1_epi8(5), b = _mm256_set1_epi8(-3);
    PEAK_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm256_setzero_si256();
    for (int round = 0; round < PEAK_ROUNDS / REPEATS; round++)
        PEAK_UNROLL for (int k = 0; k < REPEATS; k++)
            PEAK_UNROLL for (int i = 0; i < SUMS; i++) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum[i]) : "x"(a), "x"(b));
    return 2.0 * 32 * SUMS * PEAK_ROUNDS;
}

static double fma_chains(void) {
    return kern_peaks_avx2.fma();
}

static void read_bytes(const uint8_t *p, size_t n) {
    kern_peaks_avx2.read(p, n);
}

const kern_peaks kern_peaks_avxvnni = {"vpdpbusd ymm", int8_dot, fma_chains, read_bytes};

#else
typedef int kern_peak_avxvnni_is_not_built; /* ISO C wants a declaration in every file */
#endif
