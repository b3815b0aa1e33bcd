/* The quantiser and the mixes: no worse than ggml's on its own measure (tests/data/quant), the same bytes from every kernel set, hostile values,
 * and llama-quantize's choice of types. */
#include "support/base_check.h"

#include "base/file.h"
#include "kern/quant.h"
#include "modelfile/quant_mix.h"

#include <math.h>
#include <stdio.h>

static const dtype searched[] = {DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q4_K, DT_Q5_K, DT_Q6_K};
enum { N_SEARCHED = sizeof searched / sizeof *searched, COLS = 1024, ROWS = 3, MOST = 4096 };

static void read_data(const char *name, buf *out) {
    gv_err err = GV_ERR_INIT;
    char path[512];
    snprintf(path, sizeof path, GAVEL_TEST_DATA "/quant/%s", name);
    if (!file_read_all(path, 1 << 24, out, &err)) fail_msg("%s", err.msg);
}

static double error_of(dtype type, const float *x, const float *w, int64_t n, bool count_w) {
    static uint8_t block[MOST * 4];
    static float back[MOST];
    assert_int_equal(quant_row(type, x, w, n, block), -1);
    kern_dequant_row(type, block, back, n);
    double e = 0;
    for (int64_t i = 0; i < n; i++) e += ((double)back[i] - x[i]) * ((double)back[i] - x[i]) * (count_w ? w[i] : 1);
    return e;
}

/* Each line of errors.txt is what ggml's quantiser leaves on three rows. */
static void no_type_leaves_a_larger_error_than_ggml(void **state) {
    static const char *const kinds[] = {"normal", "student", "laplace", "uniform", "sparse"};
    buf rows = {0}, lines = {0};
    (void)state;
    read_data("rows.bin", &rows);
    read_data("errors.txt", &lines);
    assert_int_equal(rows.n, (5 * ROWS + 1) * COLS * sizeof(float));
    const float *x = (const float *)(const void *)rows.p, *w = x + 5 * ROWS * COLS;
    int n = 0;
    char *rest = NULL;
    for (char *line = strtok_r(lines.p, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
        char kind[16], name[16];
        int weighted, k = 0;
        double theirs, ours = 0;
        dtype type;
        assert_int_equal(sscanf(line, "%15s %15s %d %lf", kind, name, &weighted, &theirs), 4);
        assert_true(dtype_by_name(name, &type));
        while (strcmp(kinds[k], kind) != 0) assert_true(++k < 5);
        for (int r = 0; r < ROWS; r++) ours += error_of(type, x + (k * ROWS + r) * COLS, weighted ? w : NULL, COLS, weighted);
        if (!(ours <= theirs)) fail_msg("%s: ours %.9g", line, ours);
    }
    assert_int_equal(n, 5 * N_SEARCHED * 2);
    buf_fini(&rows), buf_fini(&lines);
}

/* A value of any size and sign, from a fixed sequence. */
static float any_value(uint32_t *state, int spread) {
    *state = *state * 1664525u + 1013904223u;
    const float unit = (float)(int32_t)*state * 0x1p-31f;
    *state = *state * 1664525u + 1013904223u;
    return ldexpf(unit, spread ? (int)(*state >> 16) % (2 * spread + 1) - spread : 0);
}

static void every_kernel_set_gives_the_same_bytes(void **state) {
    static const int64_t widths[] = {256, 512, 768, 1280, 2304};
    static const int spreads[] = {0, 3, 20, 120}; /* powers of two; the last reaches 2^120 and the smallest that counts */
    static float x[MOST], w[MOST];
    static uint8_t want[MOST * 4], got[MOST * 4];
    uint32_t seed = 7;
    int n_compared = 0;
    (void)state;
    for (int s = 0; s < 4; s++)
        for (int k = 0; k < 5; k++)
            for (int t = 0; t < N_SEARCHED; t++) {
                const dtype_info *info = dtype_get(searched[t]);
                const int64_t n = info->block_elems == 32 ? widths[k] + 32 : widths[k]; /* odd numbers of blocks */
                for (int64_t i = 0; i < n; i++) x[i] = i % 97 == 0 ? 0 : any_value(&seed, spreads[s]), w[i] = fabsf(any_value(&seed, 6));
                for (int weighted = 0; weighted < 2; weighted++) {
                    const size_t bytes = (size_t)(n / info->block_elems) * info->block_bytes;
                    memset(want, 0xaa, sizeof want);
                    assert_int_equal(quant_row_with(KERN_REF, searched[t], x, weighted ? w : NULL, n, want), -1);
                    for (size_t i = bytes; i < bytes + 64; i++) assert_int_equal(want[i], 0xaa);
                    for (int set = KERN_AVX2; set < KERN_SET_COUNT; set++) {
                        if (!kern_get((kern_set)set)) continue;
                        assert_int_equal(quant_row_with((kern_set)set, searched[t], x, weighted ? w : NULL, n, got), -1);
                        assert_memory_equal(got, want, bytes);
                        n_compared++;
                    }
                }
            }
    if (n_compared == 0) printf("only ref on this machine: nothing to compare\n");
}

static void a_block_does_not_depend_on_its_neighbours(void **state) {
    static float x[2048];
    static uint8_t whole[2048 * 4], alone[1024];
    uint32_t seed = 3;
    (void)state;
    for (int i = 0; i < 2048; i++) x[i] = any_value(&seed, 8);
    for (int t = 0; t < N_SEARCHED; t++) {
        const dtype_info *info = dtype_get(searched[t]);
        assert_int_equal(quant_row(searched[t], x, NULL, 2048, whole), -1);
        for (int64_t i = 0; i < 2048; i += info->block_elems) {
            assert_int_equal(quant_row(searched[t], x + i, NULL, info->block_elems, alone), -1);
            assert_memory_equal(alone, whole + i / info->block_elems * info->block_bytes, info->block_bytes);
        }
    }
}

/* Half a step of 15 over 1.7 is 0.057 of the largest magnitude; a K-quant's scale is 1/63 of 1/15 of it, or 1/127 of 1/32, and has 11 bits as an f16 from
 * 6.1e-5 on, so the bound holds from magnitude 0.5 on.  Below, what is lost may be all (the best a block can do then); above, the f16 ends at 65504. */
static void zeros_stay_zero_and_large_values_stay_finite(void **state) {
    static float x[256], back[256];
    uint8_t block[1024];
    static const float magnitudes[] = {0, 1e-45f, 1e-30f, 1e-6f, 1e-3f, 0.5f, 1, 300, 1e4f, 1e30f, 3.4e38f};
    (void)state;
    for (int t = 0; t < N_SEARCHED; t++)
        for (size_t m = 0; m < sizeof magnitudes / sizeof *magnitudes; m++) {
            const float most = magnitudes[m];
            double lost = 0, whole = 0;
            for (int i = 0; i < 256; i++) x[i] = most * (i % 2 ? 1.0f : -0.7f);
            assert_int_equal(quant_row(searched[t], x, NULL, 256, block), -1);
            kern_dequant_row(searched[t], block, back, 256);
            for (int i = 0; i < 256; i++) {
                assert_true(isfinite(back[i]));
                if (most < 1e-29f) assert_true(back[i] == 0);
                if (most >= 0.5f && most <= 1e4f) assert_true(fabsf(back[i] - x[i]) <= 0.07f * most);
                if (most > 1e29f) assert_true(x[i] > 0 ? back[i] >= 65504 : back[i] <= 0);
                lost += ((double)back[i] - x[i]) * ((double)back[i] - x[i]), whole += (double)x[i] * x[i];
            }
            assert_true(lost <= whole);
        }
}

static void importance_moves_the_error_to_inputs_that_matter_less(void **state) {
    static float x[256], w[256];
    uint32_t seed = 11;
    (void)state;
    for (int i = 0; i < 256; i++) x[i] = any_value(&seed, 0), w[i] = i % 4 == 0 ? 100 : 0; /* zeros too are allowed */
    for (int t = 0; t < N_SEARCHED; t++) {
        if (searched[t] == DT_Q8_0) continue; /* its scale is the block's largest magnitude, whatever the importance */
        const double with = error_of(searched[t], x, w, 256, true);
        uint8_t block[1024];
        float back[256];
        double without = 0;
        assert_int_equal(quant_row(searched[t], x, NULL, 256, block), -1);
        kern_dequant_row(searched[t], block, back, 256);
        for (int i = 0; i < 256; i++) without += ((double)back[i] - x[i]) * ((double)back[i] - x[i]) * w[i];
        if (!(with < without)) fail_msg("%s: %g with, %g without", dtype_get(searched[t])->name, with, without);
    }
}

static void the_first_value_that_is_not_finite_is_named(void **state) {
    static float x[512];
    uint8_t block[2048];
    (void)state;
    x[300] = NAN, x[301] = INFINITY;
    for (int t = 0; t < N_SEARCHED; t++) assert_int_equal(quant_row(searched[t], x, NULL, 512, block), 300);
    assert_int_equal(quant_row(DT_F16, x, NULL, 512, block), 300);
    x[300] = 0;
    assert_int_equal(quant_row(DT_BF16, x, NULL, 512, block), 301);
}

static void float_types_round_to_nearest(void **state) {
    static const float x[] = {1.0f, 1e6f, 0.1f};
    float back[3];
    uint8_t block[12];
    (void)state;
    assert_int_equal(quant_row(DT_F16, x, NULL, 3, block), -1);
    kern_dequant_row(DT_F16, block, back, 3);
    assert_true(back[0] == 1.0f && back[1] == 65504.0f && fabsf(back[2] - 0.1f) < 3e-5f);
    assert_int_equal(quant_row(DT_F32, x, NULL, 3, block), -1);
    assert_memory_equal(block, x, sizeof x);
    assert_true(quant_writes(DT_BF16) && quant_writes(DT_Q4_1) && !quant_writes(DT_Q2_K) && !quant_writes(DT_Q3_K) &&
                !quant_writes((dtype)9));
}

/* types.txt: what llama-quantize chose for SmolLM2, Qwen2.5 and a Mixtral shape, eight mixes each. */
static void every_tensor_gets_the_type_that_llama_quantize_chooses(void **state) {
    buf text = {0};
    const quant_mix *mix[16];
    int n_mixes = 0, n_tensors = 0, tied = 0;
    quant_mix_model m = {0};
    gv_err err = GV_ERR_INIT;
    char *rest = NULL, *word_rest = NULL;
    (void)state;
    read_data("types.txt", &text);
    char *line = strtok_r(text.p, "\n", &rest);
    assert_string_equal(strtok_r(line, " ", &word_rest), "mixes");
    for (char *w; (w = strtok_r(NULL, " ", &word_rest)) != NULL;)
        if (!(mix[n_mixes++] = quant_mix_by_name(w, &err))) fail_msg("%s", err.msg);
    while ((line = strtok_r(NULL, "\n", &rest)) != NULL) {
        char *name = strtok_r(line, " ", &word_rest);
        if (strcmp(name, "model") == 0) {
            assert_int_equal(sscanf(word_rest, "%*s %d %d %d", &m.n_layer, &m.n_expert, &tied), 3);
            m.tied = tied;
            continue;
        }
        const int n_dims = atoi(strtok_r(NULL, " ", &word_rest));
        const int64_t cols = atoll(strtok_r(NULL, " ", &word_rest));
        for (int i = 0; i < n_mixes; i++) {
            const char *want = strtok_r(NULL, " ", &word_rest);
            const char *got =
                quant_mix_touches(name, (uint32_t)n_dims) ? dtype_get((uint32_t)quant_mix_choose(mix[i], &m, name, cols))->name : "F32";
            if (strcmp(got, want) != 0) fail_msg("%s in %s: %s, llama-quantize has %s", name, mix[i]->name, got, want);
        }
        n_tensors++;
    }
    assert_int_equal(n_tensors, 726);
    buf_fini(&text);
}

static void unknown_types_are_refused_with_the_nearest_name(void **state) {
    (void)state;
    CHECK_FAILS(quant_mix_by_name("q5_k_n", &err), GV_USAGE, -1, "unknown type q5_k_n; did you mean q5_k_m?");
    CHECK_FAILS(quant_mix_by_name("small", &err), GV_USAGE, -1,
                "unknown type small, expected one of: q8_0 q6_k q5_k q5_k_m q5_k_s q4_k q4_k_m q4_k_s q5_0 q5_1 q4_0 q4_1 bf16 f16 f32");
    assert_int_equal(quant_mix_by_name("Q4_K_M", NULL)->base, DT_Q4_K);
}

static void rows_that_no_block_fits_fall_back(void **state) {
    const quant_mix_model m = {.n_layer = 8};
    gv_err err = GV_ERR_INIT;
    static const struct {
        const char *mix, *name;
        int64_t cols;
        dtype want;
    } cases[] = {{"q4_k", "blk.3.attn_q.weight", 96, DT_Q5_0}, {"q5_k", "blk.3.attn_q.weight", 96, DT_Q5_1},
                 {"q6_k", "blk.3.attn_q.weight", 96, DT_Q8_0}, {"q4_k", "blk.3.attn_q.weight", 40, DT_F16},
                 {"q8_0", "blk.3.attn_q.weight", 40, DT_F16},  {"q4_k", "output.weight", 96, DT_Q8_0},
                 {"q4_k", "output.weight", 256, DT_Q6_K},      {"f32", "blk.3.attn_q.weight", 40, DT_F32}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(quant_mix_choose(quant_mix_by_name(cases[i].mix, &err), &m, cases[i].name, cases[i].cols), cases[i].want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_type_leaves_a_larger_error_than_ggml),
        cmocka_unit_test(every_kernel_set_gives_the_same_bytes),
        cmocka_unit_test(a_block_does_not_depend_on_its_neighbours),
        cmocka_unit_test(zeros_stay_zero_and_large_values_stay_finite),
        cmocka_unit_test(importance_moves_the_error_to_inputs_that_matter_less),
        cmocka_unit_test(the_first_value_that_is_not_finite_is_named),
        cmocka_unit_test(float_types_round_to_nearest),
        cmocka_unit_test(every_tensor_gets_the_type_that_llama_quantize_chooses),
        cmocka_unit_test(unknown_types_are_refused_with_the_nearest_name),
        cmocka_unit_test(rows_that_no_block_fits_fall_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
