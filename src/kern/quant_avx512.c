/* The quantiser's searches of set avx512.  Body: quant_simd.inc. */
#define QUANT_SEARCH kern_quant_avx512
#if defined(__x86_64__)
#include "kern/quant_simd.inc"
#endif
