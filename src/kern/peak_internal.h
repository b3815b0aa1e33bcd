/* What the peak files of the instruction sets share.  Included by src/kern only.
 *
 * The instructions are written as assembly, so that no compiler joins equal chains, moves a product out of the loop or copies registers about. There are
 * enough independent chains to cover the latency of the instruction on every port. */
#ifndef GAVEL_KERN_PEAK_INTERNAL_H
#define GAVEL_KERN_PEAK_INTERNAL_H

#include "kern/peak.h"

#define PEAK_ROUNDS 4096 /* of the inner loop a piece of work */

/* Makes the compiler believe that v is used, and may have changed. */
#define PEAK_OPAQUE(constraint, v) __asm__ volatile("" : "+" constraint(v))

#if defined(__clang__)
#define PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 16")
#endif

extern const kern_peaks kern_peaks_ref, kern_peaks_avx2, kern_peaks_avxvnni, kern_peaks_avx512, kern_peaks_amx;

#endif
