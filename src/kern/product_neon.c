/* Products with baseline NEON (ARMv8.0), for CPUs without sdot.  Body: product_neon.inc. */
#include "kern/product_internal.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define PRODUCT_TABLE kern_product_neon
#define NEON_PAIRS    0

#define dot_lane(s, w, a, lane) dot4(s, w, vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(a), lane)))

/* What sdot does.  Two products of |w| <= 128 and |a| <= 127 are at most 32,512 in magnitude: the sums of pairs fit int16. */
static inline int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t a) {
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a)), high = vmull_high_s8(w, a);
    return vpadalq_s16(s, vpaddq_s16(low, high));
}

#include "kern/product_neon.inc"

#endif
