/* Scalar mathematics of the numerics contract: exp and log, f16 and bf16 conversion.
 *
 * The same bits on every machine: IEEE operations only, no libm but fmaf and sqrtf, no fused double operations, compiled for the
 * baseline instruction set.  Polynomials in double are Taylor series carried until the next term is below 2^-56 of the result; errors
 * below 1 ulp (sin, cos) and 2 ulp (exp, log) are asserted by tests/unit/test_kern_vector.c against values made with mpmath.
 * Stateless, any thread. */
#include "kern/kern_internal.h"

#include <math.h>
#include <string.h>

static double f64_of(uint64_t u) {
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

static uint64_t bits_of(double d) {
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

/* 2^n for -1022 <= n <= 1023. */
static double two_to(int n) {
    return f64_of((uint64_t)(n + 1023) << 52);
}

static const double ln2_hi = 0x1.62e42ffp-1;         /* 32 bits: k times it is exact for |k| < 2^21 */
static const double ln2_lo = -0x1.718432a1b0e26p-35; /* ln 2 - ln2_hi */

float kern_expf(float x) {
    return kern_expf_inline(x);
}

double kern_exp(double x) {
    if (x != x) return x;
    if (x > 710.0) return HUGE_VAL;
    if (x < -746.0) return 0.0;
    double t = x * 0x1.71547652b82fep+0 + 0x1.8p+52; /* the low bits hold k = round(x / ln 2) */
    double k = t - 0x1.8p+52;
    double hi = x - k * ln2_hi; /* exact */
    double lo = k * ln2_lo;
    double r = hi - lo;
    double r_low = (hi - r) - lo;
    /* exp(r) - 1 - r = r^2 (1/2! + r/3! + .. r^11/13!), |r| <= 0.347 */
    double p = 1.0 / 6227020800.0;
    static const double factorial[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0};
    for (size_t i = 0; i < sizeof factorial / sizeof *factorial; i++) p = p * r + 1.0 / factorial[i];
    double y = 1.0 + (r + (r * r * p + r_low));
    int n = (int)k; /* -1076..1025: in two factors, since 2^n may be outside the range where the product is inside */
    return y * two_to(n / 2) * two_to(n - n / 2);
}

double kern_log(double x) {
    if (x != x || x == HUGE_VAL) return x;
    if (x <= 0) return x == 0 ? -HUGE_VAL : (x - x) / (x - x);
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t u = bits_of(x);
    k += (int)(u >> 52) - 1023;
    double m = f64_of((u & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 0x1.6a09e667f3bcdp+0) { /* sqrt 2 */
        m *= 0.5;
        k++;
    }
    /* log(1+f) = 2 atanh(s), s = f/(2+f), written as f - (f^2/2 - s (f^2/2 + R)) so that the leading term is exact;
     * R = z (2/3 + 2z/5 + 2z^2/7 + ..), z = s^2 <= 0.0295 */
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double r = 2.0 / 25.0;
    for (int i = 23; i >= 3; i -= 2) r = r * z + 2.0 / i;
    r *= z;
    double h = 0.5 * f * f;
    return k * ln2_hi - ((h - (s * (h + r) + k * ln2_lo)) - f);
}

uint16_t kern_f32_to_f16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu)); /* quiet NaN, as vcvtps2ph */
    if (a >= 0x477fe000u) return (uint16_t)(sign | 0x7bffu);                     /* 65504 and above: saturated */
    if (a < 0x38800000u) { /* below 2^-14: a multiple of 2^-24; adding 0.5 (ulp 2^-24) rounds half even */
        float m;
        memcpy(&m, &a, sizeof m);
        m += 0.5f;
        memcpy(&a, &m, sizeof a);
        return (uint16_t)(sign | (a - 0x3f000000u));
    }
    a += 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | ((a - 0x38000000u) >> 13));
}

float kern_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 0x1fu, m = h & 0x3ffu, u;
    if (e == 0x1fu) {
        u = sign | 0x7f800000u | m << 13 | (m ? 0x400000u : 0u); /* a NaN becomes quiet, as vcvtph2ps makes it */
    } else if (e) {
        u = sign | (e + 112u) << 23 | m << 13;
    } else {
        float f = (float)m * 0x1p-24f;
        memcpy(&u, &f, sizeof u);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t kern_f32_to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
