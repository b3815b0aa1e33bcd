/* Products with the matrix instructions (ARMv8.6 i8mm: smmla), and sdot where there is one column.  Body: product_neon.inc. */
#include "kern/product_internal.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define PRODUCT_TABLE           kern_product_neon_i8mm
#define NEON_PAIRS              1
#define dot_lane(s, w, a, lane) vdotq_laneq_s32(s, w, a, lane)

#include "kern/product_neon.inc"

#endif
