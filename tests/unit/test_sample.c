/* Sampling: the generator's published vectors, and every rule of sample.h on logits small enough to know the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/sample.h"

#include <math.h>

enum { N = 8 };
static bool padding[N];
static sampler *smp;

static int setup(void **s) {
    (void)s;
    for (int i = 0; i < N; i++) padding[i] = i == 7;
    smp = sampler_new(N, padding, kern_best());
    return 0;
}

static int teardown(void **s) {
    (void)s;
    sampler_free(smp);
    return 0;
}

static const sample_params plain = {.top_p = 1, .repetition_penalty = 1};

static int32_t pick(const float *logits, sample_params p) {
    int32_t id = -1;
    assert_true(sample_token(smp, logits, &p, NULL, 0, NULL, 0, &id));
    return id;
}

/* Random123's known answers for philox4x32-10. */
static void philox_gives_the_published_vectors(void **s) {
    (void)s;
    static const uint32_t in[3][6] = {
        {0, 0, 0, 0, 0, 0}, {~0u, ~0u, ~0u, ~0u, ~0u, ~0u}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
    static const uint32_t want[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                        {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        philox4x32(in[i], in[i] + 4, out);
        assert_memory_equal(out, want[i], sizeof out);
    }
}

static void every_part_of_the_key_changes_the_number(void **s) {
    (void)s;
    sample_params p = plain;
    const double base = sample_uniform(&p, 5);
    assert_true(base >= 0 && base < 1);
    assert_true(base != sample_uniform(&p, 6));
    p.seed = 1;
    assert_true(base != sample_uniform(&p, 5));
    p = plain, p.row = 1;
    assert_true(base != sample_uniform(&p, 5));
    p = plain, p.row = (uint64_t)1 << 40;
    assert_true(base != sample_uniform(&p, 5));
    p = plain, p.sample = 1;
    assert_true(base != sample_uniform(&p, 5));
    p = plain, p.attempt = 1;
    assert_true(base != sample_uniform(&p, 5));
}

static void greedy_takes_the_lowest_id_of_the_best_and_no_padding(void **s) {
    (void)s;
    assert_int_equal(pick((float[N]){0, 2, 1, 2, 0, 0, 0, 9}, plain), 1);
    assert_int_equal(pick((float[N]){-0.0f, 0.0f, -1, -1, -1, -1, -1, 1}, plain), 0);
}

static void a_logit_that_is_not_finite_is_refused(void **s) {
    (void)s;
    int32_t id;
    float logits[N] = {0};
    logits[3] = NAN;
    assert_false(sample_token(smp, logits, &plain, NULL, 0, NULL, 0, &id));
    logits[3] = INFINITY;
    assert_false(sample_token(smp, logits, &plain, NULL, 0, NULL, 0, &id));
    sample_params hot = plain;
    hot.temperature = 1e-40; /* division overflows */
    logits[3] = 5;
    assert_false(sample_token(smp, logits, &hot, NULL, 0, NULL, 0, &id));
}

/* vLLM: a positive logit is divided, a negative one multiplied, for ids of prompt and output alike. */
static void repetition_penalty_counts_prompt_and_output(void **s) {
    (void)s;
    sample_params p = plain;
    int32_t id;
    const float logits[N] = {4, 3, -1, -1.5f, -9, -9, -9, 0};
    const int32_t prompt[] = {0}, output[] = {2};
    p.repetition_penalty = 2;
    assert_true(sample_token(smp, logits, &p, prompt, 1, NULL, 0, &id));
    assert_int_equal(id, 1); /* 4/2 < 3 */
    const float low[N] = {-9, -9, -1, -1.5f, -9, -9, -9, 0};
    assert_true(sample_token(smp, low, &p, NULL, 0, output, 1, &id));
    assert_int_equal(id, 3); /* -1*2 < -1.5 */
}

static void frequency_counts_and_presence_does_not(void **s) {
    (void)s;
    sample_params p = plain;
    int32_t id;
    const float logits[N] = {5, 4, 0, 0, 0, 0, 0, 0};
    const int32_t prompt[] = {0, 0, 0, 0}, output[] = {0, 0};
    p.frequency_penalty = 0.4;
    assert_true(sample_token(smp, logits, &p, prompt, 4, output, 2, &id));
    assert_int_equal(id, 0); /* 5 - 0.8; the prompt does not count */
    p.frequency_penalty = 0.6;
    assert_true(sample_token(smp, logits, &p, prompt, 4, output, 2, &id));
    assert_int_equal(id, 1);
    p.frequency_penalty = 0;
    p.presence_penalty = 0.9;
    assert_true(sample_token(smp, logits, &p, prompt, 4, output, 2, &id));
    assert_int_equal(id, 0); /* once, however often */
    p.presence_penalty = 1.1;
    assert_true(sample_token(smp, logits, &p, prompt, 4, output, 2, &id));
    assert_int_equal(id, 1);
}

/* How often each id comes in 4,000 draws. */
static void draw(const float *logits, sample_params p, int *count) {
    for (int i = 0; i < N; i++) count[i] = 0;
    for (int r = 0; r < 4000; r++) {
        p.row = (uint64_t)r;
        count[pick(logits, p)]++;
    }
}

/* Expected shares hold within 5 standard deviations: sqrt(4000 p (1-p)) <= 32, so 160. */
static void temperature_draws_by_probability(void **s) {
    (void)s;
    int count[N];
    sample_params p = plain;
    const float logits[N] = {logf(0.5f), logf(0.3f), logf(0.2f), -60, -60, -60, -60, 50};
    p.temperature = 1;
    draw(logits, p, count);
    assert_in_range(count[0], 2000 - 160, 2000 + 160);
    assert_in_range(count[1], 1200 - 160, 1200 + 160);
    assert_in_range(count[2], 800 - 160, 800 + 160);
    assert_int_equal(count[7], 0);
    p.temperature = 0.5; /* squares: 25, 9, 4 of 38 */
    draw(logits, p, count);
    assert_in_range(count[0], 2631 - 160, 2631 + 160);
    assert_in_range(count[2], 421 - 160, 421 + 160);
}

static void top_k_top_p_and_min_p_cut_the_tail(void **s) {
    (void)s;
    int count[N];
    const float logits[N] = {logf(0.2f), logf(0.5f), logf(0.3f), -60, -60, -60, -60, 50};
    sample_params p = plain;
    p.temperature = 1;
    p.top_k = 2;
    draw(logits, p, count);
    assert_int_equal(count[0], 0);
    assert_true(count[1] > 0 && count[2] > 0);
    p = plain, p.temperature = 1, p.top_p = 0.49; /* the best alone reaches it */
    draw(logits, p, count);
    assert_int_equal(count[1], 4000);
    p.top_p = 0.51;
    draw(logits, p, count);
    assert_int_equal(count[0], 0);
    assert_true(count[2] > 0);
    p = plain, p.temperature = 1, p.min_p = 0.5; /* 0.2/0.5 is below */
    draw(logits, p, count);
    assert_int_equal(count[0], 0);
    assert_true(count[2] > 0);
}

static void a_choice_is_among_its_ids_only(void **s) {
    (void)s;
    const float logits[N] = {9, 1, 3, 3, 8, 0, 0, 50};
    const int32_t ids[] = {3, 1, 2};
    int index = -1;
    assert_true(sample_choice(smp, logits, &plain, NULL, 0, NULL, 0, ids, 3, &index));
    assert_int_equal(index, 2); /* ids 3 and 2 tie: the lower id */
}

static void log_probabilities_are_over_the_vocabulary_without_padding(void **s) {
    (void)s;
    const float logits[N] = {1, 1, 1, 1, 1, 1, 1, 99};
    const int32_t ids[] = {2};
    double lp;
    assert_true(sample_logprobs(smp, logits, ids, 1, &lp));
    assert_true(fabs(lp + log(7)) < 1e-12);
}

static void a_bias_moves_one_logit_before_the_penalties_and_a_barred_id_is_never_chosen(void **s) {
    (void)s;
    const float logits[N] = {1, 2, 3, 4, 0, 0, 0, 9};
    const sample_bias bias[] = {{1, 2.5f}, {3, -2}, {400, 100}}; /* 1 becomes 4.5, 3 becomes 2; the last is no id */
    const int32_t seen[] = {1}, barred[] = {1, 2, -1, 99};
    sample_params p = plain;
    int32_t id = -1;
    assert_int_equal(pick(logits, p), 3);
    p.bias = bias, p.n_bias = 3;
    assert_int_equal(pick(logits, p), 1);
    p.repetition_penalty = 2; /* 4.5 / 2 is below 3; were the bias added last, 1 / 2 + ... would stay the best */
    assert_true(sample_token(smp, logits, &p, seen, 1, NULL, 0, &id));
    assert_int_equal(id, 2);
    p = plain;
    p.barred = barred, p.n_barred = 4;
    assert_int_equal(pick(logits, p), 3);
    for (int t = 0; t < 2; t++) {
        p.temperature = t ? 100 : 1e-6; /* nearly uniform, and where -FLT_MAX would overflow if it were divided */
        for (uint32_t i = 0; i < 200; i++) {
            p.sample = i;
            id = pick(logits, p);
            assert_true(id != 1 && id != 2);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(every_part_of_the_key_changes_the_number),
        cmocka_unit_test(greedy_takes_the_lowest_id_of_the_best_and_no_padding),
        cmocka_unit_test(a_logit_that_is_not_finite_is_refused),
        cmocka_unit_test(repetition_penalty_counts_prompt_and_output),
        cmocka_unit_test(frequency_counts_and_presence_does_not),
        cmocka_unit_test(temperature_draws_by_probability),
        cmocka_unit_test(top_k_top_p_and_min_p_cut_the_tail),
        cmocka_unit_test(a_choice_is_among_its_ids_only),
        cmocka_unit_test(a_bias_moves_one_logit_before_the_penalties_and_a_barred_id_is_never_chosen),
        cmocka_unit_test(log_probabilities_are_over_the_vocabulary_without_padding),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
