/* See quant.h.  Owns the choice of the kernel set's search (quant_simd.inc), the packing of its results into file blocks, and the types that
 * need no search.  The inverse of dequant.c, whose comments draw the block layouts. */
#include "kern/quant.h"

#include "kern/quant_internal.h"

#include <string.h>

bool quant_writes(dtype type) {
    return dtype_get((uint32_t)type) && type != DT_Q2_K && type != DT_Q3_K;
}

/* ---- packing: lane numbers are positions in the group ---- */

static void put_u16(uint8_t *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

static void pack_nibbles32(const uint8_t *q, uint8_t *qs) {
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
}

static void pack_fifth_bits(const uint8_t *q, uint8_t *qh) {
    uint32_t bits = 0;
    for (int k = 0; k < 32; k++) bits |= (uint32_t)(q[k] >> 4 & 1) << k;
    memcpy(qh, &bits, sizeof bits);
}

static void pack_32(dtype type, const quant_group *g, int lane, uint8_t *dst) {
    const bool has_min = type == DT_Q4_1 || type == DT_Q5_1, has_fifth = type == DT_Q5_0 || type == DT_Q5_1;
    put_u16(dst, g->d[lane]);
    dst += 2;
    if (type == DT_Q8_0) {
        memcpy(dst, g->q[lane], 32);
        return;
    }
    if (has_min) put_u16(dst, g->m[lane]), dst += 2;
    if (has_fifth) pack_fifth_bits(g->q[lane], dst), dst += 4;
    pack_nibbles32(g->q[lane], dst);
}

/* d, dmin, scales[12], (qh[32],) qs[128] from lanes first..first+7. */
static void pack_q45_k(dtype type, const quant_group *g, int first, uint8_t *dst) {
    put_u16(dst, g->d[first]);
    put_u16(dst + 2, g->m[first]);
    uint8_t *scales = dst + 4, *qs = dst + 16;
    for (int s = 0; s < 4; s++) {
        const int sc = g->sc[first + s + 4], mn = g->mn[first + s + 4]; /* their high bits go above the first four */
        scales[s] = (uint8_t)(g->sc[first + s] | sc >> 4 << 6);
        scales[s + 4] = (uint8_t)(g->mn[first + s] | mn >> 4 << 6);
        scales[s + 8] = (uint8_t)((sc & 15) | (mn & 15) << 4);
    }
    if (type == DT_Q5_K) {
        for (int l = 0; l < 32; l++) {
            uint8_t bits = 0;
            for (int s = 0; s < 8; s++) bits |= (uint8_t)((g->q[first + s][l] >> 4 & 1) << s);
            qs[l] = bits;
        }
        qs += 32;
    }
    for (int s = 0; s < 8; s += 2, qs += 32)
        for (int l = 0; l < 32; l++) qs[l] = (uint8_t)((g->q[first + s][l] & 15) | g->q[first + s + 1][l] << 4);
}

/* ql[128], qh[64], scales[16], d; lanes are 16 elements. */
static void pack_q6_k(const quant_group *g, uint8_t *dst) {
    for (int half = 0; half < 2; half++) {
        uint8_t *ql = dst + 64 * half, *qh = dst + 128 + 32 * half;
        for (int l = 0; l < 32; l++) {
            uint8_t q[4];
            for (int quarter = 0; quarter < 4; quarter++) q[quarter] = g->q[8 * half + 2 * quarter + (l >> 4)][l & 15];
            ql[l] = (uint8_t)((q[0] & 15) | q[2] << 4);
            ql[l + 32] = (uint8_t)((q[1] & 15) | q[3] << 4);
            qh[l] = (uint8_t)(q[0] >> 4 | q[1] >> 4 << 2 | q[2] >> 4 << 4 | q[3] >> 4 << 6);
        }
    }
    memcpy(dst + 192, g->sc, 16);
    put_u16(dst + 208, g->d[0]);
}

static void pack_group(dtype type, const quant_group *g, int64_t n, uint8_t *dst) {
    const dtype_info *info = dtype_get((uint32_t)type);
    for (int64_t b = 0; b < n / info->block_elems; b++, dst += info->block_bytes) {
        if (type == DT_Q6_K)
            pack_q6_k(g, dst);
        else if (info->block_elems == 256)
            pack_q45_k(type, g, 8 * (int)b, dst);
        else
            pack_32(type, g, (int)b, dst);
    }
}

/* ---- rows ---- */

static quant_search *search_of(kern_set set) {
#if defined(__x86_64__)
    if (kern_get(set) && (set == KERN_AVX512 || set == KERN_AMX)) return kern_quant_avx512;
    if (kern_get(set) && (set == KERN_AVX2 || set == KERN_AVXVNNI)) return kern_quant_avx2;
#else
    (void)set;
#endif
    return kern_quant_ref;
}

/* -1, or the index of the first element with all exponent bits set. */
static int64_t find_not_finite(const float *x, int64_t n) {
    const uint32_t *u = (const uint32_t *)x; /* -fno-strict-aliasing */
    uint32_t any = 0;
    for (int64_t i = 0; i < n; i++) any |= (u[i] & 0x7f800000u) == 0x7f800000u;
    for (int64_t i = 0; any && i < n; i++)
        if ((u[i] & 0x7f800000u) == 0x7f800000u) return i;
    return -1;
}

int64_t quant_row_with(kern_set set, dtype type, const float *x, const float *importance, int64_t n, void *dst) {
    const int64_t bad = find_not_finite(x, n);
    if (bad >= 0) return bad;
    uint8_t *to = dst;
    if (type == DT_F32) {
        memcpy(to, x, (size_t)n * sizeof *x);
    } else if (type == DT_F16) {
        for (int64_t i = 0; i < n; i++) put_u16(to + 2 * i, kern_f32_to_f16(x[i]));
    } else if (type == DT_BF16) {
        for (int64_t i = 0; i < n; i++) put_u16(to + 2 * i, kern_f32_to_bf16(x[i]));
    } else {
        quant_search *search = search_of(set);
        const dtype_info *info = dtype_get((uint32_t)type);
        const int64_t step = quant_group_elems(type);
        quant_group g;
        for (int64_t i = 0; i < n; i += step) {
            const int64_t here = n - i < step ? n - i : step;
            search(type, x + i, importance ? importance + i : NULL, here, &g);
            pack_group(type, &g, here, to + i / info->block_elems * info->block_bytes);
        }
    }
    return -1;
}

int64_t quant_row(dtype type, const float *x, const float *importance, int64_t n, void *dst) {
    return quant_row_with(kern_best()->set, type, x, importance, n, dst);
}
