/* Quantiser: rows of f32 to blocks of the file formats.
 *
 * What is minimised is sum over i of w_i (x_i - value_i)^2 of a block, w the importance (1 if none is given).  For given x and w the bytes are
 * the same on every CPU, kernel set and number of threads: lanes are blocks, sums run over a block's elements in order, no fma, no libm but
 * sqrtf.  docs/quantize.md has the searches and what they gain. */
#ifndef GAVEL_KERN_QUANT_H
#define GAVEL_KERN_QUANT_H

#include "base/dtype.h"
#include "kern/kern.h"

/* F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K; not Q2_K and Q3_K. */
bool quant_writes(dtype type);

/* One row: n elements, a multiple of the type's block, to dst (n / block_elems * block_bytes bytes, any alignment).  importance: NULL, or n
 * values, finite and >= 0.  F16 saturates at +-65504, and so do scales.  Returns -1, or the index of the first element that is
 * NaN or infinite (dst is then undefined).  Any thread; the floating-point mode must be the engine's (pool_run sets it; kern_fp_enter). */
int64_t quant_row(dtype type, const float *x, const float *importance, int64_t n, void *dst) GV_MUST_USE;
/* The same with the code of one kernel set, for tests and --kernels; a set without code of its own, or one this CPU lacks, gives ref's. */
int64_t quant_row_with(kern_set set, dtype type, const float *x, const float *importance, int64_t n, void *dst) GV_MUST_USE;

#endif
