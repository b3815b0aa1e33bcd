/* kern_dequant_row gives exactly the bits of gguf-py's dequantize, for every tensor type (tests/data/dequant/README.md): all rows in one
 * call, and block by block from an odd address, since file data has no alignment of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>

enum { N = 4096 };

static const char *const names[] = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"};

static void read_file(const char *name, const char *suffix, size_t n_bytes, buf *out) {
    char path[512];
    gv_err err = GV_ERR_INIT;
    snprintf(path, sizeof path, "%s/dequant/%s.%s", GAVEL_TEST_DATA, name, suffix);
    const bool ok = file_read_all(path, n_bytes, out, &err);
    assert_string_equal(err.msg, "");
    assert_true(ok);
    assert_int_equal(out->n, n_bytes);
}

static void same_bits(const char *name, const float *got, const char *want, size_t first, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, &got[i], 4);
        memcpy(&b, want + 4 * (first + i), 4);
        if (a != b) fail_msg("%s, element %zu: %08x, expected %08x", name, first + i, a, b);
    }
}

static void every_type_dequantises_to_the_bits_of_gguf_py(void **state) {
    (void)state;
    float *got = malloc(N * sizeof *got);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dtype type;
        assert_true(dtype_by_name(names[i], &type));
        const dtype_info *info = dtype_get((uint32_t)type);
        buf blocks = {0}, want = {0};
        read_file(names[i], "bin", N / info->block_elems * info->block_bytes, &blocks);
        read_file(names[i], "f32", N * 4, &want);
        memset(got, 0xff, N * sizeof *got);
        kern_dequant_row(type, blocks.p, got, N);
        same_bits(names[i], got, want.p, 0, N);
        for (size_t b = 0; b < N / info->block_elems; b++) {
            /* An allocation of the block alone, one byte off: neither alignment nor bytes behind it. */
            char *odd = malloc(info->block_bytes + 1);
            memcpy(odd + 1, blocks.p + b * info->block_bytes, info->block_bytes);
            kern_dequant_row(type, odd + 1, got, info->block_elems);
            same_bits(names[i], got, want.p, b * info->block_elems, info->block_elems);
            free(odd);
        }
        buf_fini(&blocks);
        buf_fini(&want);
    }
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_type_dequantises_to_the_bits_of_gguf_py)};
    return cmocka_run_group_tests_name("dequant golden", tests, NULL, NULL);
}
