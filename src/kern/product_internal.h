/* Layout of packed weights, shared by packing and by the product kernels of every instruction set.  Included by src/kern only.
 *
 * A packed group holds 16 rows.  For each block of the row (32 or 256 elements) it has one record: the file's quant bytes of the 16 rows
 * taken as little-endian dwords and transposed, so that a 64-byte vector is one dword of each row (lane = row), bit order within a dword
 * as in the file.  f16 scales become 16 halves in a row (32 bytes).  Types whose records would not be multiples of 64 bytes keep their
 * scales in a tail behind the records of the group:
 *
 *     group = record[0] .. record[n_blocks-1]  tail[0] .. tail[n_blocks-1]  padding to 64 bytes
 *
 * Drawn in docs/numerics.md, "Products".  This header is included by files built for different instruction sets: macros and static
 * inline only. */
#ifndef GAVEL_KERN_PRODUCT_INTERNAL_H
#define GAVEL_KERN_PRODUCT_INTERNAL_H

#include "kern/kern_internal.h"

/* Offsets within a record and record sizes, in bytes; a VEC is one dword of each of the 16 rows. */
#define PK_VEC  64
#define PK_DM   64   /* first vector where a type has minima: d of 16 rows as f16, then m (or dmin) of 16 rows */
#define PK_TAIL 32   /* d of 16 rows as f16, types without minima */
#define PK_Q8_0 512  /* 8 vectors qs */
#define PK_Q4_0 256  /* 4 vectors qs */
#define PK_Q5_0 320  /* qh (bits transposed, see pack.c), 4 vectors qs */
#define PK_Q4_1 320  /* DM, 4 vectors qs */
#define PK_Q5_1 384  /* DM, qh, 4 vectors qs */
#define PK_Q2_K 1344 /* DM, 4 vectors scales, 16 vectors qs */
#define PK_Q3_K 1728 /* 8 vectors hmask, 16 vectors qs, 3 vectors scales */
#define PK_Q4_K 2304 /* DM, 3 vectors scales, 32 vectors qs */
#define PK_Q5_K 2816 /* DM, 3 vectors scales, 8 vectors qh, 32 vectors qs */
#define PK_Q6_K 3328 /* 32 vectors ql, 16 vectors qh, 4 vectors scales */

/* Tiled activations (kern.h): for each tile of up to 16 columns and each unit of inputs
 *   block of 256:   4 LINE of q: [64 inputs][column][64]    d [column]      sums of 32 q, int16 [column][8]
 *   2 blocks of 32: 1 LINE of q: [column][64]               d [2][column]   sums of 32 q, float [2][column]
 * A last single block of 32 fills half of a unit. */
#define PK_TILE_LINE (KERN_TILE_COLS * 64)
#define PK_TILE_Q256 (4 * PK_TILE_LINE + 64 + 256)
#define PK_TILE_Q32  (PK_TILE_LINE + 128 + 128)

/* Under the address sanitizer the unrolled wide tiles take compilers minutes; there tiles of 1 and 2 columns do the work (same bits). */
#if defined(__SANITIZE_ADDRESS__)
#define PK_NARROW_TILES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PK_NARROW_TILES 1
#endif
#endif
#ifndef PK_NARROW_TILES
#define PK_NARROW_TILES 0
#endif

#define PK_ACT_MIN 0x1p-100f /* a block of activations with a smaller maximum is zero */

/* One block of one row as integers: value = d * sc[s] * q - dm * mn[s] (K-quants), d * q + dm (Q4_1, Q5_1), else d * q. */
typedef struct kern_block {
    float d, dm;
    int8_t q[256]; /* offsets already subtracted */
    int8_t sc[16]; /* by 16 elements; Q4_K and Q5_K have each value twice */
    int8_t mn[16];
} kern_block;

/* Decodes one block of a quantised type from the file's bytes. */
void kern_block_decode(dtype type, const uint8_t *src, kern_block *out);
/* Restores the file's bytes of block b of one row (0..15) of a packed group. */
void kern_block_unpack(dtype type, const uint8_t *group, int64_t cols, int row, int64_t b, uint8_t *dst);

#define PK_FILE_BLOCK_MAX 210 /* bytes of the largest file block (Q6_K) */

#endif
