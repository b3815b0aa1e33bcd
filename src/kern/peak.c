/* See peak.h: the choice by set, and the peaks of plain C, which the compiler turns into what the build's baseline has. */
#include "kern/peak_internal.h"

#include <math.h>
#include <string.h>

enum { CHAINS = 8, BYTES = 1024, DOTS = PEAK_ROUNDS / 8 };

static double int8_dot(void) {
    int8_t a[BYTES], b[BYTES];
    for (int i = 0; i < BYTES; i++) a[i] = (int8_t)(i * 7), b[i] = (int8_t)(i * 5 + 1);
    const int8_t *pa = a, *pb = b;
    int32_t sum = 0;
    for (int round = 0; round < DOTS; round++) {
        PEAK_OPAQUE("r", pa); /* as if the bytes had changed */
        __asm__ volatile("" ::: "memory");
        for (int i = 0; i < BYTES; i++) sum += pa[i] * pb[i];
        PEAK_OPAQUE("r", sum);
        sum &= 0xffff;
    }
    return 2.0 * BYTES * DOTS;
}

static double fma_chains(void) {
    volatile float source = 0.5f;
    float sum[CHAINS];
    for (int i = 0; i < CHAINS; i++) sum[i] = source;
    const float a = source, b = source;
    for (int round = 0; round < PEAK_ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++) sum[i] = fmaf(a, b, sum[i]);
    for (int i = 0; i < CHAINS; i++) source = sum[i];
    return 2.0 * CHAINS * PEAK_ROUNDS;
}

static void read_bytes(const uint8_t *p, size_t n) {
    uint64_t sum[CHAINS] = {0};
    for (size_t at = 0; at < n; at += sizeof sum)
        for (int i = 0; i < CHAINS; i++) {
            uint64_t v;
            memcpy(&v, p + at + 8 * i, sizeof v);
            sum[i] |= v;
        }
    for (int i = 0; i < CHAINS; i++) PEAK_OPAQUE("r", sum[i]);
}

const kern_peaks kern_peaks_ref = {"plain C", int8_dot, fma_chains, read_bytes};

const kern_peaks *kern_peaks_of(kern_set set) {
    switch (set) {
#if defined(__x86_64__)
    case KERN_AVX2: return &kern_peaks_avx2;
    case KERN_AVXVNNI: return &kern_peaks_avxvnni;
    case KERN_AVX512: return &kern_peaks_avx512;
    case KERN_AMX: return &kern_peaks_amx;
#endif
    default: return &kern_peaks_ref;
    }
}
