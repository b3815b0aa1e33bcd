/* Weight blocks for the kernel tests: a seeded generator, random blocks with finite scales, and blocks whose integers are all alike.
 * Included by test_kern_pack.c and test_kern_product.c. */
#ifndef GAVEL_TESTS_KERN_BLOCKS_H
#define GAVEL_TESTS_KERN_BLOCKS_H

#include "kern/product_internal.h"

#include <stdlib.h>

static const dtype all_types[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1,
                                  DT_Q8_0, DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K};
#define N_TYPES (sizeof all_types / sizeof all_types[0])

/* splitmix64 */
typedef struct rng {
    uint64_t s;
} rng;

static inline uint32_t rng_next(rng *r) {
    uint64_t z = (r->s += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

/* In -1..1. */
static inline float rng_float(rng *r) {
    return (float)(int32_t)rng_next(r) * 0x1p-31f;
}

/* Offsets of the f16 scales (bf16, f32: of the value's two high bytes) in a block; -1: none. */
static inline void scale_offsets(dtype type, int at[2]) {
    static const int offsets[DT_COUNT][2] = {
        [DT_F32] = {2, -1},  [DT_F16] = {0, -1}, [DT_BF16] = {0, -1},  [DT_Q4_0] = {0, -1},  [DT_Q4_1] = {0, 2},
        [DT_Q5_0] = {0, -1}, [DT_Q5_1] = {0, 2}, [DT_Q8_0] = {0, -1},  [DT_Q2_K] = {80, 82}, [DT_Q3_K] = {108, -1},
        [DT_Q4_K] = {0, 2},  [DT_Q5_K] = {0, 2}, [DT_Q6_K] = {208, -1}};
    at[0] = offsets[type][0];
    at[1] = offsets[type][1];
}

/* Random blocks; scales of either sign between 2^-14 (and subnormals) and 4, values of F32 and BF16 between 2^-8 and 4. */
static inline void random_blocks(dtype type, rng *r, uint8_t *dst, size_t n_blocks) {
    const dtype_info *info = dtype_get(type);
    int at[2];
    scale_offsets(type, at);
    for (size_t b = 0; b < n_blocks; b++, dst += info->block_bytes) {
        for (uint32_t i = 0; i < info->block_bytes; i++) dst[i] = (uint8_t)rng_next(r);
        for (int i = 0; i < 2 && at[i] >= 0; i++) {
            uint8_t *hi = dst + at[i] + 1;
            *hi = type == DT_F32 || type == DT_BF16 ? (uint8_t)((*hi & 0x80) | 0x3c | (*hi & 3)) : (uint8_t)(*hi & 0xc3);
        }
    }
}

/* One block with d = dm = 1 and all quants q, all sub-scales sc, all minima mn, as stored (before offsets are subtracted). */
static inline void constant_block(dtype type, int q, int sc, int mn, uint8_t *dst) {
    static const uint8_t one[2] = {0x00, 0x3c};
    const dtype_info *info = dtype_get(type);
    uint8_t nibbles = (uint8_t)((q & 15) | (q & 15) << 4), pairs = (uint8_t)((q & 3) * 0x55), fifth = q & 16 ? 0xff : 0;
    int at[2];
    memset(dst, 0, info->block_bytes);
    scale_offsets(type, at);
    for (int i = 0; i < 2 && at[i] >= 0; i++) memcpy(dst + at[i], one, 2);
    switch (type) {
    case DT_Q8_0: memset(dst + 2, q, 32); break;
    case DT_Q4_0: memset(dst + 2, nibbles, 16); break;
    case DT_Q4_1: memset(dst + 4, nibbles, 16); break;
    case DT_Q5_0:
        memset(dst + 2, fifth, 4);
        memset(dst + 6, nibbles, 16);
        break;
    case DT_Q5_1:
        memset(dst + 4, fifth, 4);
        memset(dst + 8, nibbles, 16);
        break;
    case DT_Q2_K:
        memset(dst, sc | mn << 4, 16);
        memset(dst + 16, pairs, 64);
        break;
    case DT_Q3_K:
        memset(dst, q & 4 ? 0xff : 0, 32);
        memset(dst + 32, pairs, 64);
        memset(dst + 96, (sc & 15) * 0x11, 8);
        memset(dst + 104, (sc >> 4) * 0x55, 4);
        break;
    case DT_Q4_K:
    case DT_Q5_K:
        memset(dst + 4, (sc & 63) | (sc >> 4) << 6, 4);
        memset(dst + 8, (mn & 63) | (mn >> 4) << 6, 4);
        memset(dst + 12, (sc & 15) | (mn & 15) << 4, 4);
        if (type == DT_Q5_K) memset(dst + 16, fifth, 32);
        memset(dst + (type == DT_Q5_K ? 48 : 16), nibbles, 128);
        break;
    case DT_Q6_K:
        memset(dst, nibbles, 128);
        memset(dst + 128, (q >> 4) * 0x55, 64);
        memset(dst + 192, sc, 16);
        break;
    default: abort();
    }
}

/* A packed matrix of the rows in src (file layout); free w->data. */
static inline kern_matrix pack_matrix(dtype type, const uint8_t *src, int64_t rows, int64_t cols) {
    size_t group_bytes, total;
    if (!kern_packed_size(type, rows, cols, &group_bytes, &total)) abort();
    uint8_t *data = aligned_alloc(64, total);
    if (!data) abort();
    memset(data, 0xee, total);
    int64_t n_groups = (rows + KERN_GROUP - 1) / KERN_GROUP;
    kern_pack(type, src, rows, cols, data, 0, n_groups);
    return (kern_matrix){type, rows, cols, n_groups, data, group_bytes};
}

static inline uint8_t *random_weights(dtype type, rng *r, int64_t rows, int64_t cols) {
    const dtype_info *info = dtype_get(type);
    size_t n_blocks = (size_t)(rows * cols) / info->block_elems;
    uint8_t *src = malloc(n_blocks * info->block_bytes);
    if (!src) abort();
    random_blocks(type, r, src, n_blocks);
    return src;
}

#endif
