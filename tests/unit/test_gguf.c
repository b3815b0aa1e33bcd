/* GGUF reader: files made by hand, byte by byte, each with the one message it must give.
 *
 * The cases are those of llama.cpp's tests/test-gguf.cpp (HEADER, KV, TENSORS, DATA; the cases, not the code), plus the caps of
 * docs/formats.md.  What must load is in test_gguf_read.c. */
#include "unit/gguf_hand.h"

#include <stdio.h>

/* ---- HEADER ---- */

static void a_file_that_is_not_gguf_is_refused(void **state) {
    (void)state;
    buf b = {0};
    refused(&b, GV_FORMAT, "f.gguf: the file is empty");
    buf_add_str(&b, "GG");
    refused(&b, GV_FORMAT, "f.gguf: not a GGUF file: 2 bytes");
    buf_add_str(&b, "PK\x03\x04 and more");
    refused(&b, GV_FORMAT, "f.gguf: not a GGUF file: it starts with 50 4b 03 04, expected 47 47 55 46 (GGUF)");
}

static void versions_other_than_2_and_3_are_refused(void **state) {
    (void)state;
    static const uint32_t versions[] = {0, 1, 4, 65535};
    for (size_t i = 0; i < 4; i++) {
        buf b = header(0, 0);
        memcpy(b.p + 4, &versions[i], 4);
        char msg[80];
        snprintf(msg, sizeof msg, "f.gguf: GGUF version %u; gavel reads versions 2 and 3", versions[i]);
        refused(&b, GV_UNSUPPORTED, msg);
    }
}

static void a_big_endian_file_is_refused_by_that_name(void **state) {
    (void)state;
    buf b = header(0, 0);
    memcpy(b.p + 4, "\0\0\0\3", 4);
    refused(&b, GV_UNSUPPORTED, "f.gguf: a big-endian GGUF file; gavel reads little-endian ones");
}

static void a_header_cut_off_is_refused(void **state) {
    (void)state;
    buf b = header(0, 0);
    b.n = 6;
    refused(&b, GV_FORMAT, "f.gguf: version: 4 bytes needed at offset 4, 2 left");
    b = header(0, 0);
    b.n = 23;
    refused(&b, GV_FORMAT, "f.gguf: number of keys: 8 bytes needed at offset 16, 7 left");
}

static void counts_that_the_file_cannot_hold_are_refused(void **state) {
    (void)state;
    buf b = header(UINT64_MAX, 0);
    zeros(&b, 100);
    refused(&b, GV_FORMAT, "f.gguf: the header counts 18446744073709551615 tensors, but only 100 bytes follow");
    b = header(0, UINT64_MAX);
    zeros(&b, 100);
    refused(&b, GV_FORMAT, "f.gguf: the header counts 18446744073709551615 keys, but only 100 bytes follow");
}

static void counts_over_the_caps_are_refused(void **state) {
    (void)state;
    buf b = header(65537, 0);
    zeros(&b, 65537 * 33);
    refused(&b, GV_LIMIT, "f.gguf: 65537 tensors, the cap is 65536");
    b = header(0, 65537);
    zeros(&b, 65537 * 14);
    refused(&b, GV_LIMIT, "f.gguf: 65537 keys, the cap is 65536");
}

/* ---- KV ---- */

static void keys_that_are_no_names_are_refused(void **state) {
    (void)state;
    buf b = header(0, 1);
    u64(&b, UINT64_MAX);
    zeros(&b, 20);
    refused(&b, GV_FORMAT, "f.gguf: key 1 of 1: key: 18446744073709551615 bytes needed at offset 32, 20 left");
    b = header(0, 1);
    u64(&b, 65537);
    for (int i = 0; i < 65537; i++) u8(&b, 'k');
    zeros(&b, 20);
    refused(&b, GV_LIMIT, "f.gguf: key 1 of 1: key of 65537 bytes, the cap is 65536");
    b = header(0, 1);
    kv_u32(&b, "", 1);
    refused(&b, GV_FORMAT, "f.gguf: key 1 of 1: key is empty");
    b = header(0, 1);
    kv_u32(&b, "a\xc3(", 1);
    refused(&b, GV_FORMAT, "f.gguf: key 1 of 1: key a\\xc3( is not UTF-8 at byte 1");
    b = header(0, 1);
    kv_u32(&b, "abcd", 1);
    b.p[24 + 8 + 2] = 0;
    refused(&b, GV_FORMAT, "f.gguf: key 1 of 1: key ab\\x00d has a NUL byte");
}

static void a_value_of_no_type_is_refused(void **state) {
    (void)state;
    buf b = header(0, 1);
    str(&b, "k");
    u32(&b, 13);
    zeros(&b, 8);
    refused(&b, GV_FORMAT, "f.gguf: key k: value type is 13, expected 0 to 12");
    b = header(0, 1);
    str(&b, "k");
    u32(&b, GGUF_ARRAY);
    u32(&b, UINT32_MAX);
    u64(&b, 0);
    refused(&b, GV_FORMAT, "f.gguf: key k: array element type is 4294967295, expected 0 to 12");
}

static void values_cut_off_are_refused(void **state) {
    (void)state;
    buf b = header(0, 1);
    str(&b, "key");
    u32(&b, GGUF_U64);
    u32(&b, 1);
    refused(&b, GV_FORMAT, "f.gguf: key key: u64: 8 bytes needed at offset 39, 4 left");
    b = header(0, 1);
    str(&b, "k");
    u32(&b, GGUF_STRING);
    u64(&b, 5);
    buf_add_str(&b, "four");
    refused(&b, GV_FORMAT, "f.gguf: key k: string: 5 bytes needed at offset 45, 4 left");
}

static void a_bool_that_is_neither_0_nor_1_is_refused(void **state) {
    (void)state;
    buf b = header(0, 1);
    str(&b, "k");
    u32(&b, GGUF_BOOL);
    u8(&b, 2);
    refused(&b, GV_FORMAT, "f.gguf: key k: bool is 2, expected 0 or 1");
    b = header(0, 1);
    str(&b, "k");
    u32(&b, GGUF_ARRAY);
    u32(&b, GGUF_BOOL);
    u64(&b, 3);
    buf_add(&b, "\0\1\xff", 3);
    refused(&b, GV_FORMAT, "f.gguf: key k: bool is 255, expected 0 or 1");
}

static buf array_head(uint32_t elem, uint64_t n) {
    buf b = header(0, 1);
    str(&b, "k");
    u32(&b, GGUF_ARRAY);
    u32(&b, elem);
    u64(&b, n);
    return b;
}

static void arrays_that_do_not_fit_are_refused(void **state) {
    (void)state;
    buf b = array_head(GGUF_U32, (uint64_t)1 << 62); /* times 4 it is 0 */
    zeros(&b, 8);
    refused(&b, GV_FORMAT, "f.gguf: key k: array of 4611686018427387904 x u32, but 8 bytes are left");
    b = array_head(GGUF_STRING, 2);
    zeros(&b, 15);
    refused(&b, GV_FORMAT, "f.gguf: key k: array of 2 x string, but 15 bytes are left");
    b = array_head(GGUF_STRING, 2);
    str(&b, "one");
    u64(&b, UINT64_MAX - 7);
    refused(&b, GV_FORMAT, "f.gguf: key k: element 1: string: 18446744073709551608 bytes needed at offset 68, 0 left");
    b = array_head(GGUF_ARRAY, 1);
    zeros(&b, 40);
    refused(&b, GV_UNSUPPORTED, "f.gguf: key k: arrays of arrays are not read");
}

static void long_strings_and_arrays_are_refused_at_their_caps(void **state) {
    (void)state;
    const size_t cap = 16u << 20;
    char *big = calloc(cap + 2, 1);
    for (size_t over = 0; over < 2; over++) {
        buf b = array_head(GGUF_U8, cap + over);
        buf_add(&b, big, cap + over);
        if (over)
            refused(&b, GV_LIMIT, "f.gguf: key k: array of 16777217 elements, the cap is 16777216");
        else
            loads(&b, 0, 1);
        b = header(0, 1);
        str(&b, "k");
        u32(&b, GGUF_STRING);
        u64(&b, cap + over);
        buf_add(&b, big, cap + over);
        if (over)
            refused(&b, GV_LIMIT, "f.gguf: key k: string of 16777217 bytes, the cap is 16777216");
        else
            loads(&b, 0, 1);
    }
    free(big);
}

static void a_repeated_key_is_refused(void **state) {
    (void)state;
    buf b = header(0, 4);
    kv_u32(&b, "one", 1);
    kv_u32(&b, "two", 2);
    kv_u32(&b, "on", 3);
    kv_u32(&b, "one", 4);
    refused(&b, GV_FORMAT, "f.gguf: key one is there twice");
}

static void a_bad_alignment_is_refused(void **state) {
    (void)state;
    static const uint32_t bad[] = {13, 0, 1, 4, 48, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf b = header(0, 1);
        kv_u32(&b, "general.alignment", bad[i]);
        char msg[120];
        snprintf(msg, sizeof msg, "f.gguf: key general.alignment: %u, expected a power of two, 8 or more", bad[i]);
        refused(&b, GV_FORMAT, msg);
    }
    buf b = header(0, 1);
    str(&b, "general.alignment");
    u32(&b, GGUF_I32);
    u32(&b, 32);
    refused(&b, GV_FORMAT, "f.gguf: key general.alignment: type i32, expected u32");
}

static void control_bytes_of_names_do_not_reach_the_message(void **state) {
    (void)state;
    buf b = header(0, 1);
    str(&b, "\x1b[2J\n\xc2\x9b\xe2\x80\xae");
    u32(&b, 99);
    zeros(&b, 8);
    refused(&b, GV_FORMAT, "f.gguf: key \\x1b[2J\\n\\xc2\\x9b\\xe2\\x80\\xae: value type is 99, expected 0 to 12");
    b = header(0, 1);
    u64(&b, 100);
    for (int i = 0; i < 100; i++) u8(&b, 'k');
    u32(&b, 99);
    refused(&b, GV_FORMAT,
            "f.gguf: key kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...: value type is 99, expected 0 "
            "to 12");
}

/* ---- TENSORS ---- */

static void tensor_names_that_are_no_names_are_refused(void **state) {
    (void)state;
    buf b = header(1, 0);
    u64(&b, UINT64_MAX);
    zeros(&b, 40);
    refused(&b, GV_FORMAT, "f.gguf: tensor 1 of 1: tensor name: 18446744073709551615 bytes needed at offset 32, 40 left");
    char name[65] = {0};
    memset(name, 'n', 64);
    b = header(1, 0);
    tensor_info(&b, name, 1, NE(32), DT_F32, 0);
    refused(&b, GV_LIMIT, "f.gguf: tensor 1 of 1: tensor name of 64 bytes, the cap is 63");
    b = header(1, 0);
    tensor_info(&b, "", 1, NE(32), DT_F32, 0);
    zeros(&b, 8);
    refused(&b, GV_FORMAT, "f.gguf: tensor 1 of 1: tensor name is empty");
}

static void tensor_refused(uint32_t n_dims, const uint64_t *ne, uint32_t type, uint64_t offset, gv_code code, const char *msg) {
    buf b = header(1, 0);
    str(&b, "blk.0.w");
    u32(&b, n_dims);
    for (uint32_t i = 0; i < 4 && i < n_dims; i++) u64(&b, ne[i]);
    u32(&b, type);
    u64(&b, offset);
    zeros(&b, 4096);
    char whole[400];
    snprintf(whole, sizeof whole, "f.gguf: tensor blk.0.w: %s", msg);
    refused(&b, code, whole);
}

static void bad_shapes_are_refused(void **state) {
    (void)state;
    tensor_refused(0, NE(0), DT_F32, 0, GV_FORMAT, "0 dimensions, expected 1 to 4");
    tensor_refused(5, NE(1, 1, 1, 1), DT_F32, 0, GV_FORMAT, "5 dimensions, expected 1 to 4");
    tensor_refused(UINT32_MAX, NE(1, 1, 1, 1), DT_F32, 0, GV_FORMAT, "4294967295 dimensions, expected 1 to 4");
    tensor_refused(2, NE(32, UINT64_MAX), DT_F32, 0, GV_FORMAT, "dimension 1 is -1, expected 1 or more");
    tensor_refused(2, NE(0, 32), DT_F32, 0, GV_FORMAT, "dimension 0 is 0, expected 1 or more");
    tensor_refused(3, NE(32, INT64_MAX, 0), DT_F32, 0, GV_FORMAT, "the number of elements overflows 63 bits");
    const uint64_t big = 4 * (uint64_t)INT32_MAX;
    tensor_refused(4, NE(big, big, big, big), DT_F32, 0, GV_FORMAT, "the number of elements overflows 63 bits");
    tensor_refused(2, NE((uint64_t)1 << 31, (uint64_t)1 << 31), DT_F32, 0, GV_FORMAT, "the size in bytes overflows 63 bits");
    tensor_refused(1, NE((uint64_t)1 << 62), DT_Q8_0, 0, GV_FORMAT,
                   "4899916394579099648 bytes at offset 0 of the data do not fit in its 4095 bytes; is the file cut off?");
    tensor_refused(2, NE(48, 2), DT_Q4_0, 0, GV_FORMAT, "rows of 48 elements, but Q4_0 has blocks of 32");
    tensor_refused(2, NE(128, 2), DT_Q6_K, 0, GV_FORMAT, "rows of 128 elements, but Q6_K has blocks of 256");
}

static void types_that_gavel_does_not_read_are_refused_by_name(void **state) {
    (void)state;
    tensor_refused(1, NE(256), 23, 0, GV_UNSUPPORTED,
                   "type IQ4_XS is not one gavel reads (F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K)");
    tensor_refused(1, NE(256), 77, 0, GV_FORMAT, "type 77 is no GGUF type");
    tensor_refused(1, NE(256), UINT32_MAX, 0, GV_FORMAT, "type 4294967295 is no GGUF type");
}

static void bad_offsets_are_refused(void **state) {
    (void)state;
    tensor_refused(1, NE(32), DT_F32, UINT64_MAX, GV_FORMAT, "offset 18446744073709551615 is no multiple of the alignment 32");
    tensor_refused(1, NE(32), DT_F32, 16, GV_FORMAT, "offset 16 is no multiple of the alignment 32");
    tensor_refused(1, NE(32), DT_F32, (uint64_t)0 - 32, GV_FORMAT,
                   "128 bytes at offset 18446744073709551584 of the data do not fit in its 4095 bytes; is the file cut off?");
    tensor_refused(1, NE(32), DT_F32, 4064, GV_FORMAT,
                   "128 bytes at offset 4064 of the data do not fit in its 4095 bytes; is the file cut off?");
}

static void repeated_and_overlapping_tensors_are_refused(void **state) {
    (void)state;
    buf b = header(2, 0);
    tensor_info(&b, "w", 1, NE(32), DT_F32, 0);
    tensor_info(&b, "w", 1, NE(32), DT_F32, 128);
    zeros(&b, 400);
    refused(&b, GV_FORMAT, "f.gguf: tensor w is there twice");
    b = header(2, 0);
    tensor_info(&b, "after", 1, NE(8), DT_F32, 96);
    tensor_info(&b, "before", 1, NE(32), DT_F32, 0);
    zeros(&b, 400);
    refused(&b, GV_FORMAT, "f.gguf: tensors before and after overlap at offset 96 of the data");
    b = header(2, 0);
    tensor_info(&b, "a", 1, NE(8), DT_F32, 0);
    tensor_info(&b, "b", 1, NE(8), DT_F32, 0);
    zeros(&b, 400);
    refused(&b, GV_FORMAT, "f.gguf: tensors a and b overlap at offset 0 of the data");
}

static void tensors_that_ignore_the_alignment_key_are_refused(void **state) {
    (void)state;
    buf b = header(2, 1);
    kv_u32(&b, "general.alignment", 64);
    tensor_info(&b, "a", 1, NE(8), DT_F32, 0);
    tensor_info(&b, "b", 1, NE(8), DT_F32, 32);
    zeros(&b, 400);
    refused(&b, GV_FORMAT, "f.gguf: tensor b: offset 32 is no multiple of the alignment 64");
}

/* ---- DATA ---- */

/* Two tensors of 20 floats, data not padded at its end. */
static buf with_data(uint32_t alignment) {
    const size_t step = alignment ? (80 + alignment - 1) / alignment * alignment : 96;
    buf b = header(2, alignment ? 1 : 0);
    if (alignment) kv_u32(&b, "general.alignment", alignment);
    tensor_info(&b, "a", 1, NE(20), DT_F32, 0);
    tensor_info(&b, "b", 2, NE(10, 2), DT_F32, step);
    pad(&b, alignment ? alignment : 32);
    zeros(&b, step + 80);
    return b;
}

static void data_one_byte_short_is_refused(void **state) {
    (void)state;
    buf b = with_data(0);
    loads(&b, 2, 0);
    b = with_data(0);
    b.n--;
    refused(&b, GV_FORMAT, "f.gguf: tensor b: 80 bytes at offset 96 of the data do not fit in its 175 bytes; is the file cut off?");
    b = with_data(0);
    b.n = 24 + 37 + 45; /* nothing but the tensor table */
    refused(&b, GV_FORMAT, "f.gguf: tensor a: 80 bytes at offset 0 of the data do not fit in its 0 bytes; is the file cut off?");
}

static void data_placed_by_another_alignment_is_refused(void **state) {
    (void)state;
    buf b = with_data(64);
    loads(&b, 2, 1);
    b = with_data(4096);
    loads(&b, 2, 1);
    b = with_data(64);
    const uint32_t other = 4096; /* the data now starts, by the key, beyond the end */
    memcpy(b.p + 24 + 8 + 17 + 4, &other, 4);
    refused(&b, GV_FORMAT, "f.gguf: tensor a: 80 bytes at offset 0 of the data do not fit in its 0 bytes; is the file cut off?");
}

static void both_versions_load_with_keys_only(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        buf b = header(0, 0);
        memcpy(b.p + 4, &version, 4);
        loads(&b, 0, 0);
        b = header(0, 2);
        memcpy(b.p + 4, &version, 4);
        kv_u32(&b, "one", 1);
        kv_u32(&b, "two", 2);
        loads(&b, 0, 2);
    }
}

static void the_most_keys_and_tensors_allowed_load(void **state) {
    (void)state;
    buf b = header(65536, 65536);
    char name[32];
    for (uint32_t i = 0; i < 65536; i++) { /* descending, so that sorting has work to do */
        snprintf(name, sizeof name, "key.%05u", 65535 - i);
        kv_u32(&b, name, i);
    }
    for (uint32_t i = 0; i < 65536; i++) {
        snprintf(name, sizeof name, "blk.%05u", i * 40503u % 65536);
        tensor_info(&b, name, 1, NE(8), DT_F32, (uint64_t)(65535 - i) * 32);
    }
    pad(&b, 32);
    char *data = calloc(65536, 32);
    buf_add(&b, data, 65536 * 32);
    free(data);
    loads(&b, 65536, 65536);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_not_gguf_is_refused),
        cmocka_unit_test(versions_other_than_2_and_3_are_refused),
        cmocka_unit_test(a_big_endian_file_is_refused_by_that_name),
        cmocka_unit_test(a_header_cut_off_is_refused),
        cmocka_unit_test(counts_that_the_file_cannot_hold_are_refused),
        cmocka_unit_test(counts_over_the_caps_are_refused),
        cmocka_unit_test(keys_that_are_no_names_are_refused),
        cmocka_unit_test(a_value_of_no_type_is_refused),
        cmocka_unit_test(values_cut_off_are_refused),
        cmocka_unit_test(a_bool_that_is_neither_0_nor_1_is_refused),
        cmocka_unit_test(arrays_that_do_not_fit_are_refused),
        cmocka_unit_test(long_strings_and_arrays_are_refused_at_their_caps),
        cmocka_unit_test(a_repeated_key_is_refused),
        cmocka_unit_test(a_bad_alignment_is_refused),
        cmocka_unit_test(control_bytes_of_names_do_not_reach_the_message),
        cmocka_unit_test(tensor_names_that_are_no_names_are_refused),
        cmocka_unit_test(bad_shapes_are_refused),
        cmocka_unit_test(types_that_gavel_does_not_read_are_refused_by_name),
        cmocka_unit_test(bad_offsets_are_refused),
        cmocka_unit_test(repeated_and_overlapping_tensors_are_refused),
        cmocka_unit_test(tensors_that_ignore_the_alignment_key_are_refused),
        cmocka_unit_test(data_one_byte_short_is_refused),
        cmocka_unit_test(data_placed_by_another_alignment_is_refused),
        cmocka_unit_test(both_versions_load_with_keys_only),
        cmocka_unit_test(the_most_keys_and_tensors_allowed_load),
    };
    return cmocka_run_group_tests_name("gguf refused", tests, NULL, NULL);
}
