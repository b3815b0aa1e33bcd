/* RoPE: tables and scaled frequencies against transformers (tests/data/kern). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kern/kern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_table(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/kern/%s", GAVEL_TEST_DATA, name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("cannot open %s", path);
    return f;
}

static void plain_table(float theta, int n_rot, const float *divisor, int64_t n_pos, float *cos_out, float *sin_out) {
    float inv_freq[KERN_MAX_ROT / 2];
    kern_rope_frequencies(theta, n_rot, divisor, NULL, inv_freq);
    kern_rope_table(inv_freq, n_rot, 1, 0, n_pos, cos_out, sin_out);
}

static void rope_tables_are_those_of_transformers(void **state) {
    (void)state;
    FILE *f = open_table("rope.txt");
    double theta, c, s;
    long pos, i;
    int n_rot, n = 0;
    float *cos_table = NULL, *sin_table = NULL;
    double have_theta = 0;
    int have_rot = 0;
    for (; fscanf(f, "%lf %d %ld %ld %la %la", &theta, &n_rot, &pos, &i, &c, &s) == 6; n++) {
        if (theta != have_theta || n_rot != have_rot) {
            free(cos_table), free(sin_table);
            size_t size = (size_t)131072 * (size_t)(n_rot / 2) * sizeof(float);
            cos_table = malloc(size), sin_table = malloc(size);
            assert_true(cos_table && sin_table);
            plain_table((float)theta, n_rot, NULL, 131072, cos_table, sin_table);
            have_theta = theta, have_rot = n_rot;
        }
        size_t at = (size_t)pos * (size_t)(n_rot / 2) + (size_t)i;
        if (cos_table[at] != (float)c || sin_table[at] != (float)s) {
            fail_msg("theta %g n_rot %d position %ld pair %ld: (%a, %a), expected (%a, %a)", theta, n_rot, pos, i, (double)cos_table[at],
                     (double)sin_table[at], c, s);
        }
    }
    free(cos_table), free(sin_table);
    fclose(f);
    assert_int_equal(n, 1152);
}

typedef struct scaling_case {
    char kind[16];
    double theta, factor, first, second, mscale, mscale_all, given, attention;
    int n_rot, original, keep_fractions;
} scaling_case;

static void scaled_frequencies(const scaling_case *c, float *inv_freq, float *attention) {
    const float theta = (float)c->theta, factor = (float)c->factor;
    const kern_yarn yarn = {factor, (float)c->original, (float)c->first, (float)c->second, c->keep_fractions != 0};
    float divisor[KERN_MAX_ROT / 2];
    *attention = 1;
    for (int i = 0; i < c->n_rot / 2; i++) divisor[i] = factor;
    if (strcmp(c->kind, "yarn") == 0) {
        *attention = c->given != 0 ? (float)c->given : kern_yarn_attention(factor, (float)c->mscale, (float)c->mscale_all);
        kern_rope_frequencies(theta, c->n_rot, NULL, &yarn, inv_freq);
        return;
    }
    if (strcmp(c->kind, "llama3") == 0)
        kern_rope_llama3_divisors(theta, c->n_rot, factor, (float)c->first, (float)c->second, (float)c->original, divisor);
    kern_rope_frequencies(theta, c->n_rot, divisor, NULL, inv_freq);
}

/* Linear and YaRN to the bit.  llama3 goes through the divisors that a GGUF stores, which adds three roundings to a frequency of the middle
 * band: 3 * 2^-24, and a quarter for the roundings of the reference's own interpolation. */
static void scaled_frequencies_are_those_of_transformers(void **state) {
    (void)state;
    FILE *f = open_table("rope_scaling.txt");
    scaling_case c;
    int n = 0;
    for (; fscanf(f, "%15s %lf %d %lf %d %lf %lf %d %lf %lf %lf %la", c.kind, &c.theta, &c.n_rot, &c.factor, &c.original, &c.first,
                  &c.second, &c.keep_fractions, &c.mscale, &c.mscale_all, &c.given, &c.attention) == 12;
         n++) {
        float inv_freq[KERN_MAX_ROT / 2], attention;
        const double bound = strcmp(c.kind, "llama3") == 0 ? 4 * 0x1p-24 : 0;
        scaled_frequencies(&c, inv_freq, &attention);
        if (attention != (float)c.attention) fail_msg("case %d: attention factor %a, expected %a", n, (double)attention, c.attention);
        for (int i = 0; i < c.n_rot / 2; i++) {
            double want;
            assert_int_equal(fscanf(f, "%la", &want), 1);
            if (!(fabs((double)inv_freq[i] - want) <= bound * want))
                fail_msg("case %d (%s), frequency %d: %a, expected %a", n, c.kind, i, (double)inv_freq[i], want);
        }
    }
    fclose(f);
    assert_int_equal(n, 12);
}

static void yarn_scales_cosines_and_sines(void **state) {
    (void)state;
    float inv_freq[8], c[2][8 * 5], s[2][8 * 5];
    const kern_yarn yarn = {4, 128, 32, 1, false};
    kern_rope_frequencies(1e6f, 16, NULL, &yarn, inv_freq);
    kern_rope_table(inv_freq, 16, 1, 2, 5, c[0], s[0]);
    kern_rope_table(inv_freq, 16, 1.25f, 2, 5, c[1], s[1]);
    for (int i = 0; i < 8 * 5; i++) assert_true(c[1][i] == c[0][i] * 1.25f && s[1][i] == s[0][i] * 1.25f && c[0][i] != 0);
}

static void llama3_divisors_are_those_of_the_gguf_converter(void **state) {
    (void)state;
    /* rope_freqs.weight as llama.cpp's converter writes it for theta 5e5, 32 dimensions, factor 8, low 1, high 4, original length 128 */
    static const float want[16] = {1, 1, 0x1.03bed2p+0f, 0x1.77a5e6p+1f, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8};
    float divisor[16], cos_plain[16 * 3], sin_plain[16 * 3], cos_scaled[16 * 3], sin_scaled[16 * 3];
    kern_rope_llama3_divisors(5e5f, 32, 8, 1, 4, 128, divisor);
    for (int i = 0; i < 16; i++) assert_true(divisor[i] == want[i]);
    plain_table(5e5f, 32, NULL, 3, cos_plain, sin_plain);
    plain_table(5e5f, 32, divisor, 3, cos_scaled, sin_scaled);
    assert_true(cos_plain[32] == cos_scaled[32] && sin_plain[33] == sin_scaled[33]); /* divisor 1 */
    assert_true(sin_scaled[32 + 15] < sin_plain[32 + 15] / 7.9f && sin_scaled[32 + 15] > sin_plain[32 + 15] / 8.1f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_tables_are_those_of_transformers),
        cmocka_unit_test(scaled_frequencies_are_those_of_transformers),
        cmocka_unit_test(yarn_scales_cosines_and_sines),
        cmocka_unit_test(llama3_divisors_are_those_of_the_gguf_converter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
