/* Weight blocks: decoding equals gguf-py to the bit, packing loses nothing and stays small, bad shapes are refused. */
#include "kern_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void every_type_dequantises_to_the_bits_of_gguf_py(void **state) {
    (void)state;
    FILE *f = fopen(GAVEL_TEST_DATA "/kern_weights/dequant.bin", "rb");
    assert_non_null(f);
    uint32_t head[2];
    size_t n_types = 0;
    while (fread(head, sizeof head, 1, f) == 1) {
        const dtype_info *info = dtype_get(head[0]);
        assert_non_null(info);
        size_t bytes = (size_t)head[1] / info->block_elems * info->block_bytes;
        uint8_t *src = malloc(bytes);
        float *want = malloc(head[1] * sizeof *want), *got = malloc(head[1] * sizeof *got);
        assert_true(src && want && got);
        assert_int_equal(fread(src, 1, bytes, f), bytes);
        assert_int_equal(fread(want, sizeof *want, head[1], f), head[1]);
        kern_dequant_row((dtype)head[0], src, got, head[1]);
        for (uint32_t i = 0; i < head[1]; i++)
            if (memcmp(want + i, got + i, sizeof *got) != 0)
                fail_msg("%s element %u: %a, gguf-py has %a", info->name, i, (double)got[i], (double)want[i]);
        free(src);
        free(want);
        free(got);
        n_types++;
    }
    fclose(f);
    assert_int_equal(n_types, N_TYPES);
}

static void a_row_read_from_a_packed_matrix_equals_the_row_of_the_file(void **state) {
    (void)state;
    static const int64_t row_counts[] = {1, 15, 16, 17, 33, 64};
    rng r = {11};
    for (size_t t = 0; t < N_TYPES; t++) {
        const dtype_info *info = dtype_get(all_types[t]);
        for (size_t s = 0; s < sizeof row_counts / sizeof row_counts[0]; s++) {
            int64_t rows = row_counts[s], cols = (int64_t)(info->block_elems == 1 ? 7 : info->block_elems) * (int64_t)(1 + s);
            size_t row_bytes = (size_t)cols / info->block_elems * info->block_bytes;
            uint8_t *src = random_weights(all_types[t], &r, rows, cols);
            kern_matrix w = pack_matrix(all_types[t], src, rows, cols);
            float *want = malloc((size_t)cols * 4), *got = malloc((size_t)cols * 4);
            for (int64_t row = 0; row < rows; row++) {
                kern_dequant_row(all_types[t], src + (size_t)row * row_bytes, want, cols);
                kern_matrix_row(&w, row, got);
                assert_memory_equal(want, got, (size_t)cols * 4);
                for (int64_t b = 0; info->block_elems > 1 && b < cols / info->block_elems; b++) {
                    uint8_t block[PK_FILE_BLOCK_MAX];
                    kern_block_unpack(all_types[t], w.data + (size_t)(row / 16) * w.group_bytes, cols, (int)(row % 16), b, block);
                    assert_memory_equal(block, src + (size_t)row * row_bytes + (size_t)b * info->block_bytes, info->block_bytes);
                }
            }
            free((void *)w.data);
            free(src);
            free(want);
            free(got);
        }
    }
}

static void packing_in_parts_gives_the_bytes_of_packing_at_once(void **state) {
    (void)state;
    rng r = {12};
    for (size_t t = 0; t < N_TYPES; t++) {
        int64_t rows = 75, cols = (int64_t)dtype_get(all_types[t])->block_elems * 3;
        uint8_t *src = random_weights(all_types[t], &r, rows, cols);
        kern_matrix w = pack_matrix(all_types[t], src, rows, cols);
        size_t total = w.group_bytes * (size_t)w.n_groups;
        uint8_t *parts = aligned_alloc(64, total);
        memset(parts, 0x55, total);
        kern_pack(all_types[t], src, rows, cols, parts, 3, 5);
        kern_pack(all_types[t], src, rows, cols, parts, 0, 1);
        kern_pack(all_types[t], src, rows, cols, parts, 1, 3);
        assert_memory_equal(parts, w.data, total);
        free(parts);
        free(src);
        free((void *)w.data);
    }
}

/* Rows 11..15 of the last of 75 rows' groups do not exist: as a matrix of 80 rows they read as zero. */
static void padding_rows_are_zero(void **state) {
    (void)state;
    rng r = {13};
    for (size_t t = 0; t < N_TYPES; t++) {
        int64_t cols = (int64_t)dtype_get(all_types[t])->block_elems * 2;
        uint8_t *src = random_weights(all_types[t], &r, 75, cols);
        kern_matrix w = pack_matrix(all_types[t], src, 75, cols);
        float *row = malloc((size_t)cols * 4);
        w.rows = 80;
        for (int64_t i = 75; i < 80; i++) {
            kern_matrix_row(&w, i, row);
            for (int64_t k = 0; k < cols; k++) assert_true(row[k] == 0.0f);
        }
        free(row);
        free(src);
        free((void *)w.data);
    }
}

/* The layout is the file's bytes rearranged; a group is rounded up to 64 bytes, which is under 3 % from 4 blocks of 32 on. */
static void packed_size_is_within_three_percent_of_the_file(void **state) {
    (void)state;
    static const int64_t widths[] = {256, 576, 768, 1024, 1536, 2048, 4096, 5120, 14336};
    for (size_t t = 0; t < N_TYPES; t++) {
        const dtype_info *info = dtype_get(all_types[t]);
        for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
            if (widths[i] % info->block_elems) continue;
            size_t group, total, file = (size_t)(widths[i] * 64) / info->block_elems * info->block_bytes;
            assert_true(kern_packed_size(all_types[t], 64, widths[i], &group, &total));
            assert_int_equal(group % 64, 0);
            assert_int_equal(total, group * 4);
            assert_true(total >= file && (double)total <= 1.03 * (double)file);
        }
    }
}

static void shapes_that_cannot_be_packed_are_refused(void **state) {
    (void)state;
    size_t group, total;
    assert_false(kern_packed_size(DT_Q8_0, 16, 33, &group, &total));
    assert_false(kern_packed_size(DT_Q4_K, 16, 128, &group, &total));
    assert_false(kern_packed_size(DT_F32, 0, 64, &group, &total));
    assert_false(kern_packed_size(DT_F32, 16, 0, &group, &total));
    assert_false(kern_packed_size(DT_F32, -16, 64, &group, &total));
    assert_false(kern_packed_size(DT_F32, 16, INT64_MAX, &group, &total));
    assert_false(kern_packed_size(DT_F32, INT64_MAX, INT64_MAX / 64, &group, &total));
    assert_false(kern_packed_size((dtype)9, 16, 256, &group, &total)); /* Q8_1 is no weight type of ours */
    assert_true(kern_packed_size(DT_F16, 1, 1, &group, &total));
    assert_int_equal(group, 64);
}

static void activation_kinds_follow_the_weight_type(void **state) {
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        uint32_t elems = dtype_get(all_types[t])->block_elems;
        assert_int_equal(kern_act_kind_of(all_types[t]), elems == 1 ? KERN_ACT_F32 : elems == 32 ? KERN_ACT_Q32 : KERN_ACT_Q256);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_dequantises_to_the_bits_of_gguf_py),
        cmocka_unit_test(a_row_read_from_a_packed_matrix_equals_the_row_of_the_file),
        cmocka_unit_test(packing_in_parts_gives_the_bytes_of_packing_at_once),
        cmocka_unit_test(padding_rows_are_zero),
        cmocka_unit_test(packed_size_is_within_three_percent_of_the_file),
        cmocka_unit_test(shapes_that_cannot_be_packed_are_refused),
        cmocka_unit_test(activation_kinds_follow_the_weight_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
