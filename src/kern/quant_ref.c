/* The quantiser's searches of set ref.  Body: quant_simd.inc. */
#define QUANT_SEARCH kern_quant_ref
#include "kern/quant_simd.inc"
