/* Safetensors: files made by hand that must be refused, each with its message; an index that lies; the writer's files read back; and a sweep of
 * flipped bytes and cut ends.  Every file is read from an exact-size copy, so that the address sanitizer sees a read past its end. */
#include "support/base_check.h"

#include "base/file.h"
#include "base/mem.h"
#include "modelfile/safetensors.h"
#include "modelfile/safetensors_out.h"

#include <stdio.h>
#include <sys/stat.h>

/* Header text and n data bytes as a file. */
static buf file_of(const char *json, size_t n_data) {
    buf b = {0};
    uint64_t n = strlen(json);
    buf_add(&b, &n, 8);
    buf_add_str(&b, json);
    for (size_t i = 0; i < n_data; i++) buf_add_char(&b, (char)i);
    return b;
}

static safetensors *open_bytes(const void *p, size_t n, uint8_t **copy, gv_err *err) {
    *copy = malloc(n ? n : 1);
    if (n) memcpy(*copy, p, n);
    return safetensors_open_memory(*copy, n, "f.safetensors", err);
}

static void check_refused(buf b, gv_code code, const char *message) {
    gv_err err = GV_ERR_INIT;
    uint8_t *copy;
    safetensors *s = open_bytes(b.p, b.n, &copy, &err);
    char want[512];
    assert_null(s);
    snprintf(want, sizeof want, "f.safetensors: %s", message);
    assert_string_equal(err.msg, want);
    assert_int_equal(err.code, code);
    free(copy);
    buf_fini(&b);
}

static void refused(const char *json, size_t n_data, const char *message) {
    check_refused(file_of(json, n_data), GV_FORMAT, message);
}

static void accepted(const char *json, size_t n_data, size_t n_tensors) {
    gv_err err = GV_ERR_INIT;
    uint8_t *copy;
    buf b = file_of(json, n_data);
    safetensors *s = open_bytes(b.p, b.n, &copy, &err);
    if (!s) fail_msg("%s: %s", json, err.msg);
    assert_int_equal(safetensors_count(s), n_tensors);
    safetensors_close(s);
    free(copy);
    buf_fini(&b);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void header_lengths_that_lie_are_refused(void **state) {
    (void)state;
    buf b = {0};
    uint64_t n = 0;
    check_refused((buf){0}, GV_FORMAT, "not a safetensors file: 0 bytes");
    buf_add_str(&b, "1234567");
    check_refused(b, GV_FORMAT, "not a safetensors file: 7 bytes");
    b = (buf){0};
    n = UINT64_MAX;
    buf_add(&b, &n, 8);
    buf_add_str(&b, "{}");
    check_refused(b, GV_FORMAT, "not a safetensors file, or cut off: a header of 18446744073709551615 bytes, but 2 bytes follow");
    b = (buf){0};
    n = 3;
    buf_add(&b, &n, 8);
    buf_add_str(&b, "{}");
    check_refused(b, GV_FORMAT, "not a safetensors file, or cut off: a header of 3 bytes, but 2 bytes follow");
    b = (buf){0};
    n = 25000001;
    buf_add(&b, &n, 8);
    for (uint64_t i = 0; i < n; i++) buf_add_char(&b, ' ');
    check_refused(b, GV_LIMIT, "a header of 25000001 bytes, the cap is 25000000");
}

static void headers_that_are_no_objects_are_refused(void **state) {
    (void)state;
    refused("", 0, "the header does not begin with {");
    refused(" {}", 0, "the header does not begin with {");
    refused("[]", 0, "the header does not begin with {");
    refused("{\"a\":1}", 0, "tensor a: the entry is number, expected an object");
    refused("{\"a\":" T("F32", "[0]", "[0,0]") ",\"a\":" T("F32", "[0]", "[0,0]") "}", 0,
            "header: invalid JSON at byte 54: duplicate key \"a\"");
    accepted("{}", 0, 0);
    accepted("{}      ", 0, 0);
    accepted("{\"__metadata__\":{\"format\":\"pt\"}}\n ", 0, 0);
}

static void metadata_must_be_strings(void **state) {
    (void)state;
    refused("{\"__metadata__\":{\"n\":1}}", 0, "__metadata__: n is number, expected a string");
    refused("{\"__metadata__\":[]}", 0, "__metadata__ is array, expected an object");
}

static void entries_must_be_whole(void **state) {
    (void)state;
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a: dtype is missing, expected a string");
    refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor a: shape is missing, expected an array");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor a: data_offsets is not an array of two numbers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4, "tensor a: the entry has a member x");
    refused("{\"a\":" T("F31", "[1]", "[0,4]") "}", 4, "tensor a: dtype F31 is no dtype of safetensors");
    check_refused(file_of("{\"a\":" T("I64", "[1]", "[0,8]") "}", 8), GV_UNSUPPORTED,
                  "tensor a: dtype I64 is not one gavel reads (F32 F16 BF16)");
    refused("{\"\":" T("F32", "[1]", "[0,4]") "}", 4, "tensor : tensor name is empty");
    refused("{\"a\\u0000b\":" T("F32", "[1]", "[0,4]") "}", 4, "tensor a\\x00b: tensor name a\\x00b has a NUL byte");
}

static void shapes_are_multiplied_with_care(void **state) {
    (void)state;
    refused("{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, "tensor a: dimension 0 of the shape is no number from 0 to 2^63-1");
    refused("{\"a\":" T("F32", "[1,1.5]", "[0,4]") "}", 4, "tensor a: dimension 1 of the shape is no number from 0 to 2^63-1");
    refused("{\"a\":" T("F32", "[9223372036854775808]", "[0,4]") "}", 4,
            "tensor a: dimension 0 of the shape is no number from 0 to 2^63-1");
    refused("{\"a\":" T("F32", "[4294967296,4294967296]", "[0,4]") "}", 4, "tensor a: the number of elements overflows 63 bits");
    refused("{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0, "tensor a: the size in bytes overflows 63 bits");
    check_refused(file_of("{\"a\":" T("F32", "[1,1,1,1,1]", "[0,4]") "}", 4), GV_LIMIT, "tensor a: shape has 5 dimensions, the cap is 4");
    accepted("{\"a\":" T("F32", "[]", "[0,4]") "}", 4, 1);
    accepted("{\"a\":" T("F32", "[0,7]", "[0,0]") "}", 0, 1);
}

static void offsets_cover_the_data_without_holes_or_overlap(void **state) {
    (void)state;
    refused("{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, "tensor a: data_offsets end at 0, before 4");
    refused("{\"a\":" T("F32", "[1]", "[0,8]") "}", 8, "tensor a: data_offsets span 8 bytes, but dtype and shape need 4");
    refused("{\"a\":" T("F32", "[2]", "[0,8]") "}", 7, "tensor a: data_offsets end at 8, but the file has 7 bytes of data; is it cut off?");
    refused("{\"a\":" T("F32", "[1]", "[-4,0]") "}", 4, "tensor a: data_offsets is not an array of two numbers");
    refused("{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 8, "tensor a: data_offsets is not an array of two numbers");
    refused("{\"a\":" T("F32", "[1]", "[4,8]") "}", 8, "tensor a begins at 4 of the data, but what is before it ends at 0");
    refused("{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 12,
            "tensor b begins at 8 of the data, but a ends at 4");
    refused("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", 8,
            "tensor b begins at 4 of the data, but a ends at 8");
    refused("{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4,
            "tensor b begins at 0 of the data, but a ends at 4");
    refused("{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, "5 bytes of data, but the tensors take 4");
    accepted("{\"b\":" T("BF16", "[2]", "[4,8]") ",\"a\":" T("F16", "[2]", "[0,4]") ",\"c\":" T("F32", "[0]", "[4,4]") "}", 8, 3);
}

static void too_many_values_and_levels_are_refused(void **state) {
    (void)state;
    buf b = {0};
    buf_add_str(&b, "{\"a\":");
    for (int i = 0; i < 100000; i++) buf_add_char(&b, '[');
    check_refused(file_of(b.p, 0), GV_LIMIT, "header: JSON at byte 68: nested more than 64 levels deep");
    buf_fini(&b);
}

/* ---- folders ---- */

static char folder[64];

static void put_file(const char *name, const void *p, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void remove_file(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    remove(path);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/gavel-st-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"a.safetensors",
                                        "b.safetensors",
                                        SAFETENSORS_SINGLE,
                                        SAFETENSORS_INDEX,
                                        "model-00001-of-00003.safetensors",
                                        "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove_file(names[i]);
    return rmdir(folder);
}

static void put_shard(const char *file, const char *tensor) {
    char json[256];
    snprintf(json, sizeof json, "{\"%s\":" T("F32", "[1]", "[0,4]") "}", tensor);
    buf b = file_of(json, 4);
    put_file(file, b.p, b.n);
    buf_fini(&b);
}

static void index_refused(const char *json, const char *message) {
    gv_err err = GV_ERR_INIT;
    char want[512];
    put_file(SAFETENSORS_INDEX, json, strlen(json));
    safetensors *s = safetensors_open_folder(folder, &err);
    assert_null(s);
    snprintf(want, sizeof want, "%s/%s%s", folder, strncmp(message, "a.saf", 5) == 0 ? "" : SAFETENSORS_INDEX ": ", message);
    if (strncmp(message, "cannot", 6) == 0)
        snprintf(want, sizeof want, "%s/" SAFETENSORS_INDEX ": cannot open %s/%s", folder, folder, message + 7);
    assert_string_equal(err.msg, want);
}

static void an_index_that_lies_is_refused(void **state) {
    (void)state;
    put_shard("a.safetensors", "x");
    put_shard("b.safetensors", "y");
    index_refused("[]", "weight_map is missing, expected an object");
    index_refused("{\"weight_map\":{}}", "weight_map is empty");
    index_refused("{\"weight_map\":{\"x\":1}}", "weight_map: x is number, expected a file name");
    index_refused("{\"weight_map\":{\"x\":\"../a.safetensors\"}}",
                  "weight_map: file \"../a.safetensors\" is refused: it is not the plain name of a file in this folder");
    index_refused("{\"weight_map\":{\"x\":\"/etc/passwd\"}}",
                  "weight_map: file \"/etc/passwd\" is refused: it is not the plain name of a file in this folder");
    index_refused("{\"weight_map\":{\"x\":\"a.safetensors\\u0000\"}}",
                  "weight_map: file \"a.safetensors\\x00\" is refused: it is not the plain name of a file in this folder");
    index_refused("{\"weight_map\":{\"x\":\"\"}}", "weight_map: file \"\" is refused: its length");
    index_refused("{\"weight_map\":{\"x\":\"a.bin\"}}", "weight_map: file \"a.bin\" is refused: it does not end in .safetensors");
    index_refused("{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"a.safetensors\"}}",
                  "tensor y is not in a.safetensors, which weight_map names for it");
    index_refused("{\"weight_map\":{\"x\":\"b.safetensors\",\"y\":\"a.safetensors\"}}",
                  "tensor x is not in b.safetensors, which weight_map names for it, but in a.safetensors");
    index_refused("{\"weight_map\":{\"x\":\"a.safetensors\",\"x\":\"a.safetensors\"}}", "invalid JSON at byte 35: duplicate key \"x\"");
    put_shard("b.safetensors", "x");
    index_refused("{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}",
                  "tensor x is in a.safetensors and in b.safetensors");
    put_shard("b.safetensors", "y");
    buf two = file_of("{\"x\":" T("F32", "[1]", "[0,4]") ",\"z\":" T("F32", "[1]", "[4,8]") "}", 8);
    put_file("a.safetensors", two.p, two.n);
    buf_fini(&two);
    index_refused("{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}", "tensor z of a.safetensors is not in weight_map");
}

static void a_folder_without_weights_says_so(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    char want[256];
    assert_null(safetensors_open_folder(folder, &err));
    snprintf(want, sizeof want, "%s: neither model.safetensors nor model.safetensors.index.json is in it", folder);
    assert_string_equal(err.msg, want);
}

/* ---- the writer ---- */

static void write_model(uint64_t max_shard_bytes, size_t piece) {
    gv_err why = GV_ERR_INIT;
    safetensors_out *o = safetensors_out_new(max_shard_bytes);
    uint8_t data[24 + 8 + 2 + 0];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(3 * i);
    safetensors_out_metadata(o, "made by", SV("gavel \"test\""));
    assert_true(safetensors_out_add(o, "z.weight", DT_F32, (const int64_t[]){2, 3}, 2, &why));
    assert_true(safetensors_out_add(o, "a.weight", DT_BF16, (const int64_t[]){4}, 1, &why));
    assert_true(safetensors_out_add(o, "none", DT_F16, (const int64_t[]){0, 5}, 2, &why));
    assert_true(safetensors_out_add(o, "scalar", DT_F16, NULL, 0, &why));
    if (!safetensors_out_begin(o, folder, &why)) fail_msg("%s", why.msg);
    assert_false(safetensors_out_end(o, NULL));
    for (size_t at = 0; at < sizeof data; at += piece)
        assert_true(safetensors_out_put(o, data + at, sizeof data - at < piece ? sizeof data - at : piece, &why));
    char want[128];
    snprintf(want, sizeof want, "%s: 1 bytes more than the tensors have", folder);
    CHECK_FAILS(safetensors_out_put(o, data, 1, &err), GV_STATE, -1, want);
    if (!safetensors_out_end(o, &why)) fail_msg("%s", why.msg);
    safetensors_out_free(o);
}

static void check_model(size_t n_files) {
    gv_err err = GV_ERR_INIT;
    safetensors *s = safetensors_open_folder(folder, &err);
    if (!s) fail_msg("%s", err.msg);
    assert_int_equal(safetensors_n_files(s), n_files);
    assert_int_equal(safetensors_count(s), 4);
    const tensor_view *z = safetensors_find(s, "z.weight"), *a = safetensors_find(s, "a.weight");
    assert_non_null(z);
    assert_int_equal(z->n_dims, 2);
    assert_int_equal(z->ne[0], 3);
    assert_int_equal(z->ne[1], 2);
    assert_int_equal(z->type, DT_F32);
    assert_int_equal(z->data[23], 69);
    assert_int_equal(a->data[0], 72);
    assert_int_equal(a->type, DT_BF16);
    assert_int_equal((uintptr_t)z->data % 8, 0);
    assert_int_equal(safetensors_find(s, "none")->n_bytes, 0);
    assert_int_equal(safetensors_find(s, "scalar")->n_dims, 0);
    assert_string_equal(safetensors_at(s, 0)->name, "a.weight");
    assert_int_equal(safetensors_number(s, z), 3);
    assert_null(safetensors_find(s, "z"));
    safetensors_close(s);
}

static void what_the_writer_writes_reads_back(void **state) {
    (void)state;
    write_model(0, 5);
    check_model(1);
    remove_file(SAFETENSORS_SINGLE);
    write_model(8, 1000);
    check_model(3);
    safetensors_out *o = safetensors_out_new(0);
    char want[128];
    snprintf(want, sizeof want, "%s/" SAFETENSORS_INDEX " is already there", folder);
    CHECK_FAILS(safetensors_out_begin(o, folder, &err), GV_STATE, -1, want);
    safetensors_out_free(o);
}

static void the_writer_refuses_what_the_reader_would(void **state) {
    (void)state;
    safetensors_out *o = safetensors_out_new(0);
    const int64_t one = 1, negative = -1;
    gv_err ok = GV_ERR_INIT;
    CHECK_FAILS(safetensors_out_add(o, "q", DT_Q8_0, &one, 1, &err), GV_UNSUPPORTED, -1,
                "tensor q: safetensors hold F32, F16 and BF16, not Q8_0");
    CHECK_FAILS(safetensors_out_add(o, "q", DT_F32, &negative, 1, &err), GV_FORMAT, -1, "tensor q: dimension 0 is -1");
    assert_true(safetensors_out_add(o, "q", DT_F32, &one, 1, &ok) && safetensors_out_add(o, "q", DT_F32, &one, 1, &ok));
    CHECK_FAILS(safetensors_out_begin(o, folder, &err), GV_FORMAT, -1, "tensor q is there twice");
    safetensors_out_free(o);
}

/* ---- a sweep ---- */

static void try_bytes(const uint8_t *p, size_t n) {
    gv_err err = GV_ERR_INIT;
    uint8_t *copy;
    safetensors *s = open_bytes(p, n, &copy, &err);
    if (!s && (err.code == GV_OK || !err.msg[0])) fail_msg("refused without a reason");
    for (size_t i = 0; s && i < safetensors_count(s); i++) {
        const tensor_view *t = safetensors_at(s, i);
        if (t->n_bytes && (t->data < copy || t->data + t->n_bytes > copy + n)) fail_msg("tensor %s reaches out of the file", t->name);
    }
    safetensors_close(s);
    free(copy);
}

static void every_flipped_byte_and_every_length_is_survived(void **state) {
    (void)state;
    buf b = file_of(
        "{\"__metadata__\":{\"format\":\"pt\"},\"a.weight\":" T("F32", "[2,3]", "[0,24]") ",\"b\":" T("BF16", "[4]", "[24,32]") "}  ", 32);
    for (size_t i = 0; i < b.n; i++) {
        const uint8_t was = (uint8_t)b.p[i], flipped[] = {0, 0xff, was ^ 1, was ^ 0x80};
        for (size_t k = 0; k < 4; k++) {
            b.p[i] = (char)flipped[k];
            try_bytes((const uint8_t *)b.p, b.n);
        }
        b.p[i] = (char)was;
        try_bytes((const uint8_t *)b.p, i);
    }
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lengths_that_lie_are_refused),
        cmocka_unit_test(headers_that_are_no_objects_are_refused),
        cmocka_unit_test(metadata_must_be_strings),
        cmocka_unit_test(entries_must_be_whole),
        cmocka_unit_test(shapes_are_multiplied_with_care),
        cmocka_unit_test(offsets_cover_the_data_without_holes_or_overlap),
        cmocka_unit_test(too_many_values_and_levels_are_refused),
        cmocka_unit_test_setup_teardown(an_index_that_lies_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_folder_without_weights_says_so, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_the_writer_writes_reads_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_writer_refuses_what_the_reader_would, make_folder, remove_folder),
        cmocka_unit_test(every_flipped_byte_and_every_length_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
