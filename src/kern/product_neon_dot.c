/* Products with the dot product instructions (ARMv8.2 dotprod: sdot).  Body: product_neon.inc. */
#include "kern/product_internal.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define PRODUCT_TABLE           kern_product_neon_dot
#define NEON_PAIRS              0
#define dot_lane(s, w, a, lane) vdotq_laneq_s32(s, w, a, lane)

#include "kern/product_neon.inc"

#endif
