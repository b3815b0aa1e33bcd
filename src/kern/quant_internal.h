/* Between the searches of the quantiser (quant_simd.inc, one copy a kernel set) and the packing of their results (quant.c). */
#ifndef GAVEL_KERN_QUANT_INTERNAL_H
#define GAVEL_KERN_QUANT_INTERNAL_H

#include "kern/kern_internal.h"
#include "kern/quant.h"

#define QUANT_LANES 16 /* blocks (or sub-blocks of a K-quant) searched at a time, one a lane */

/* Lanes of a group as they stand in the file: 16 blocks of 32, or the sub-blocks of one Q6_K block (16 of 16) or of two Q4_K or Q5_K blocks (8 of
 * 32 each).  d, m: scales as f16, of a lane's block (the same for all lanes of a K-quant's block). */
typedef struct quant_group {
    uint8_t q[QUANT_LANES][32]; /* codes with the offset added, as they are stored; Q8_0: int8 */
    uint16_t d[QUANT_LANES], m[QUANT_LANES];
    int8_t sc[QUANT_LANES]; /* scales and minima of sub-blocks */
    uint8_t mn[QUANT_LANES];
} quant_group;

/* Searches a group.  x: the elements in row order, n of them (fewer than the group takes at a row's end: missing lanes are zero and their
 * results not used), all finite.  w: importance or NULL. */
typedef void quant_search(dtype type, const float *x, const float *w, int64_t n, quant_group *out);
quant_search kern_quant_ref, kern_quant_avx2, kern_quant_avx512;

/* Elements a group takes. */
static inline int64_t quant_group_elems(dtype type) {
    return type == DT_Q6_K ? 256 : 512;
}

#endif
