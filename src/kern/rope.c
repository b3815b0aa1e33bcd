/* RoPE: frequencies as transformers computes them, with linear, llama3 and YaRN scaling, and the tables of cosines and sines.
 *
 * Frequencies follow transformers' modeling_rope_utils, every step rounded to float32 where that rounds it (docs/numerics.md, RoPE tables).
 * The same bits on every machine: the rules of math.c hold here too.  Stateless, any thread. */
#include "kern/kern_internal.h"

/* sin and cos of |x| < 2^20 whose value is a float: x - n pi/2 with pi/2 in three parts.  The first two have 33 bits, so n times them is
 * exact, and x - n*part1 is exact because both are multiples of 2^-32; the remainder is kept in two doubles. */
static void sin_cos(float angle, float *sin_out, float *cos_out) {
    static const double part1 = 0x1.921fb544p+0, part2 = 0x1.0b4611a6p-34, part3 = 0x1.3198a2e037073p-69;
    double x = (double)angle;
    double t = x * 0x1.45f306dc9c883p-1 + 0x1.8p+52;
    double n = t - 0x1.8p+52;
    double a = x - n * part1;
    double b = n * part2;
    double r = a - b;
    double low = ((a - r) - b) - n * part3;
    double hi = r + low; /* |hi| <= pi/4 */
    low = (r - hi) + low;
    double z = hi * hi;
    /* sin: hi - hi^3/3! + .. hi^17/17!; cos: 1 - z/2 + z^2 (1/4! - z/6! + .. z^6/16!) */
    double ps = 1.0 / 355687428096000.0;
    static const double odd[] = {1307674368000.0, 6227020800.0, 39916800.0, 362880.0, 5040.0, 120.0, 6.0};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) ps = ps * z + (i % 2 ? 1.0 : -1.0) / odd[i];
    double s = hi + (hi * z * ps + low * (1.0 - 0.5 * z));
    double pc = 1.0 / 20922789888000.0;
    static const double even[] = {87178291200.0, 479001600.0, 3628800.0, 40320.0, 720.0, 24.0};
    for (size_t i = 0; i < sizeof even / sizeof *even; i++) pc = pc * z + (i % 2 ? 1.0 : -1.0) / even[i];
    double half = 0.5 * z;
    double w = 1.0 - half;
    double c = w + (((1.0 - w) - half) + (z * z * pc - hi * low));
    switch ((int64_t)n & 3) {
    case 0: *sin_out = (float)s, *cos_out = (float)c; break;
    case 1: *sin_out = (float)c, *cos_out = (float)-s; break;
    case 2: *sin_out = (float)-s, *cos_out = (float)-c; break;
    default: *sin_out = (float)-c, *cos_out = (float)s; break;
    }
}

/* transformers: base ** (arange(0, dim, 2).float() / dim), each step rounded to float32. */
static float power(float theta, int n_rot, int i) {
    float exponent = (float)(2 * i) / (float)n_rot;
    return (float)kern_exp((double)exponent * kern_log((double)theta));
}

/* _compute_yarn_parameters: the dimension whose wave turns so many times within the original context. */
static double turning_dimension(float theta, int n_rot, double turns, double original_ctx) {
    static const double two_pi = 6.283185307179586;
    return n_rot * kern_log(original_ctx / (turns * two_pi)) / (2 * kern_log((double)theta));
}

static double floor_of(double x) {
    const double n = (double)(int64_t)x;
    return n > x ? n - 1 : n;
}

/* Frequencies of waves that turn often stay, those of slow ones are divided by the factor, between the two there is a ramp. */
static void yarn_frequencies(float theta, int n_rot, const kern_yarn *y, float *inv_freq) {
    double low = turning_dimension(theta, n_rot, (double)y->beta_fast, (double)y->original_ctx);
    double high = turning_dimension(theta, n_rot, (double)y->beta_slow, (double)y->original_ctx);
    if (!y->keep_fractions) low = floor_of(low), high = -floor_of(-high);
    if (low < 0) low = 0;
    if (high > n_rot - 1) high = n_rot - 1;
    if (low == high) high += 0.001;
    for (int i = 0; i < n_rot / 2; i++) {
        const float p = power(theta, n_rot, i), extrapolated = 1.0f / p, interpolated = 1.0f / (y->factor * p);
        float ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        const float keep = 1.0f - ramp;
        inv_freq[i] = interpolated * (1.0f - keep) + extrapolated * keep;
    }
}

void kern_rope_frequencies(float theta, int n_rot, const float *divisor, const kern_yarn *yarn, float *inv_freq) {
    if (yarn) {
        yarn_frequencies(theta, n_rot, yarn, inv_freq);
        return;
    }
    for (int i = 0; i < n_rot / 2; i++) {
        inv_freq[i] = 1.0f / power(theta, n_rot, i);
        if (divisor) inv_freq[i] = inv_freq[i] / divisor[i];
    }
}

static double yarn_scale(float factor, float mscale) {
    return factor <= 1 ? 1.0 : 0.1 * (double)mscale * kern_log((double)factor) + 1.0;
}

float kern_yarn_attention(float factor, float mscale, float mscale_all_dim) {
    if (mscale != 0 && mscale_all_dim != 0) return (float)(yarn_scale(factor, mscale) / yarn_scale(factor, mscale_all_dim));
    return (float)yarn_scale(factor, 1);
}

void kern_rope_table(const float *inv_freq, int n_rot, float attention, int64_t first, int64_t n_pos, float *cos_out, float *sin_out) {
    for (int64_t pos = first; pos < first + n_pos; pos++)
        for (int i = 0; i < n_rot / 2; i++, sin_out++, cos_out++) {
            sin_cos((float)pos * inv_freq[i], sin_out, cos_out);
            *sin_out = *sin_out * attention;
            *cos_out = *cos_out * attention;
        }
}

/* transformers modeling_rope_utils._compute_llama3_parameters, as the factor by which it divides a frequency (the form of the GGUF tensor
 * rope_freqs.weight).  All steps in float32, as there. */
void kern_rope_llama3_divisors(float theta, int n_rot, float factor, float low_freq_factor, float high_freq_factor, float original_ctx,
                               float *divisor) {
    float low_wavelen = original_ctx / low_freq_factor;
    float high_wavelen = original_ctx / high_freq_factor;
    for (int i = 0; i < n_rot / 2; i++) {
        float wavelen = 6.283185307179586f / (1.0f / power(theta, n_rot, i));
        if (wavelen < high_wavelen) {
            divisor[i] = 1.0f;
        } else if (wavelen > low_wavelen) {
            divisor[i] = factor;
        } else {
            float smooth = (original_ctx / wavelen - low_freq_factor) / (high_freq_factor - low_freq_factor);
            divisor[i] = 1.0f / ((1.0f - smooth) / factor + smooth);
        }
    }
}
