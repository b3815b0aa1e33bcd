/* GGUF: random keys and tensors come back as written, typed reads check what they are asked for, and the writer writes what the reader
 * reads.  Files that must be refused are in test_gguf.c.  Fixed seeds. */
#include "unit/gguf_hand.h"

#include <stdio.h>
#include <unistd.h>

/* ---- success with random content ---- */

static uint64_t random_next(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t width(gguf_type t) {
    static const uint8_t w[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return w[t];
}

static void put_random(buf *b, gguf_type type, uint64_t *seed) {
    if (type == GGUF_STRING) {
        uint64_t n = random_next(seed) % 20;
        u64(b, n);
        for (uint64_t i = 0; i < n; i++) u8(b, (uint8_t)random_next(seed));
    } else {
        uint64_t v = random_next(seed);
        if (type == GGUF_BOOL) v &= 1;
        if (type == GGUF_F32) v &= 0xbfffffff; /* finite */
        buf_add(b, &v, width(type));
    }
}

typedef struct random_kv {
    gguf_type type, elem;
    size_t at, n_bytes; /* of the value in the file, array and string heads included */
    uint64_t n;
} random_kv;

static void check_random_kv(const gguf *g, size_t i, const random_kv *want, const char *file) {
    char key[32];
    snprintf(key, sizeof key, "key.%zu", i);
    gv_err err = GV_ERR_INIT;
    bool found = false;
    assert_int_equal(gguf_find_key(g, key), i);
    assert_true(sv_is(gguf_key(g, i), key));
    assert_int_equal(gguf_key_type(g, i), want->type);
    const char *value = file + want->at;
    sv s;
    gguf_array a;
    if (want->type == GGUF_STRING) {
        assert_true(gguf_get_string(g, key, &s, &found, &err) && found);
        assert_int_equal(s.n, want->n_bytes - 8);
        if (s.n) assert_memory_equal(s.p, value + 8, s.n);
    } else if (want->type == GGUF_F32) {
        float f;
        assert_true(gguf_get_f32(g, key, &f, &found, &err) && found);
        assert_memory_equal(&f, value, 4);
    } else if (want->type == GGUF_BOOL) {
        bool v;
        assert_true(gguf_get_bool(g, key, &v, &found, &err) && found);
        assert_int_equal(v, *value);
    } else if (want->type == GGUF_U8 || want->type == GGUF_U16 || want->type == GGUF_U32) {
        uint32_t v, expected = 0;
        memcpy(&expected, value, want->n_bytes);
        assert_true(gguf_get_u32(g, key, &v, &found, &err) && found);
        assert_int_equal(v, expected);
    } else if (want->type == GGUF_ARRAY) {
        assert_true(gguf_get_array(g, key, want->elem, &a, &found, &err) && found);
        assert_int_equal(a.n, want->n);
        assert_int_equal(a.n_bytes, want->n_bytes - 12);
        if (a.n_bytes) assert_memory_equal(a.p, value + 12, a.n_bytes);
        size_t pos = 0;
        for (uint64_t k = 0; want->elem == GGUF_STRING && k < a.n; k++) {
            s = gguf_array_string(&a, &pos);
            assert_true(pos <= a.n_bytes);
        }
        if (want->elem == GGUF_STRING) assert_int_equal(pos, a.n_bytes);
    }
}

static void random_keys_and_tensors_come_back_as_written(void **state) {
    (void)state;
    static const dtype types[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1,
                                  DT_Q8_0, DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K};
    for (uint64_t round = 0; round < 200; round++) {
        uint64_t seed = round;
        const size_t n_kv = random_next(&seed) % 40, n_tensors = random_next(&seed) % 20;
        random_kv want[40];
        size_t data_at[20], n_bytes[20], offset = 0;
        buf b = header(n_tensors, n_kv), data = {0};
        for (size_t i = 0; i < n_kv; i++) {
            char key[32];
            snprintf(key, sizeof key, "key.%zu", i);
            str(&b, key);
            gguf_type type = random_next(&seed) % 13, elem = type;
            u32(&b, type);
            want[i] = (random_kv){type, elem, b.n, 0, 1};
            if (type == GGUF_ARRAY) {
                do elem = random_next(&seed) % 13;
                while (elem == GGUF_ARRAY);
                want[i].elem = elem;
                want[i].n = random_next(&seed) % 12;
                u32(&b, elem);
                u64(&b, want[i].n);
                for (uint64_t k = 0; k < want[i].n; k++) put_random(&b, elem, &seed);
            } else {
                put_random(&b, type, &seed);
            }
            want[i].n_bytes = b.n - want[i].at;
        }
        for (size_t i = 0; i < n_tensors; i++) {
            char name[32];
            snprintf(name, sizeof name, "blk.%zu", i);
            const dtype_info *info = dtype_get(types[random_next(&seed) % 13]);
            dtype type;
            assert_true(dtype_by_name(info->name, &type));
            const uint64_t blocks = 1 + random_next(&seed) % 3, rows = 1 + random_next(&seed) % 4;
            tensor_info(&b, name, 2, NE(blocks * info->block_elems, rows), type, offset);
            data_at[i] = offset;
            n_bytes[i] = blocks * rows * info->block_bytes;
            for (size_t k = 0; k < n_bytes[i]; k++) u8(&data, (uint8_t)random_next(&seed));
            pad(&data, 32);
            offset = data.n;
        }
        if (n_tensors) pad(&b, 32);
        buf_add(&b, data.p, data.n);
        gv_err err = GV_ERR_INIT;
        void *copy;
        gguf *g = open_copy(&b, &copy, &err);
        assert_string_equal(err.msg, "");
        assert_int_equal(gguf_n_keys(g), n_kv);
        for (size_t i = 0; i < n_kv; i++) check_random_kv(g, i, &want[i], b.p);
        for (size_t i = 0; i < n_tensors; i++) {
            char name[32];
            snprintf(name, sizeof name, "blk.%zu", i);
            const tensor_view *t = gguf_find_tensor(g, name);
            assert_ptr_equal(t, gguf_tensor(g, i));
            assert_int_equal(t->n_bytes, n_bytes[i]);
            assert_int_equal(t->ne[2], 1);
            assert_memory_equal(t->data, data.p + data_at[i], n_bytes[i]);
        }
        assert_null(gguf_find_tensor(g, "blk"));
        gguf_close(g);
        free(copy);
        buf_fini(&b);
        buf_fini(&data);
    }
}

/* ---- typed reads ---- */

static buf typed_file(void) {
    static const struct {
        const char *key;
        gguf_type type;
        uint64_t bits;
    } kv[] = {{"u8", GGUF_U8, 200},
              {"i8", GGUF_I8, 0xff},
              {"i16", GGUF_I16, 0x8000},
              {"i32", GGUF_I32, 77},
              {"u64", GGUF_U64, (uint64_t)1 << 32},
              {"i64", GGUF_I64, UINT32_MAX},
              {"f32", GGUF_F32, 0x3fc00000},
              {"nan", GGUF_F32, 0x7fc00000},
              {"f64", GGUF_F64, 0x3ff8000000000000},
              {"yes", GGUF_BOOL, 1}};
    const size_t n = sizeof kv / sizeof *kv;
    buf b = header(0, n + 3);
    for (size_t i = 0; i < n; i++) {
        str(&b, kv[i].key);
        u32(&b, kv[i].type);
        buf_add(&b, &kv[i].bits, width(kv[i].type));
    }
    str(&b, "text");
    u32(&b, GGUF_STRING);
    str(&b, "a \"b\"\n\x1b[0m \xc3\xa9 \xff");
    str(&b, "long");
    u32(&b, GGUF_STRING);
    u64(&b, 200);
    for (int i = 0; i < 100; i++) buf_add_str(&b, "\xc3\xa9");
    str(&b, "scores");
    u32(&b, GGUF_ARRAY);
    u32(&b, GGUF_U8);
    u64(&b, 3);
    zeros(&b, 3);
    return b;
}

static void get_u32_is(const gguf *g, const char *key, uint32_t want, const char *msg) {
    gv_err err = GV_ERR_INIT;
    bool found = false;
    uint32_t v = 0;
    assert_int_equal(gguf_get_u32(g, key, &v, &found, &err), !*msg);
    assert_string_equal(err.msg, msg);
    assert_true(found);
    assert_int_equal(v, want);
}

static void typed_reads_check_type_and_range(void **state) {
    (void)state;
    buf b = typed_file();
    gv_err err = GV_ERR_INIT;
    void *copy;
    gguf *g = open_copy(&b, &copy, &err);
    assert_non_null(g);
    get_u32_is(g, "u8", 200, "");
    get_u32_is(g, "i32", 77, "");
    get_u32_is(g, "i64", UINT32_MAX, "");
    get_u32_is(g, "i8", 0, "key i8: -1, expected 0 to 4294967295");
    get_u32_is(g, "i16", 0, "key i16: -32768, expected 0 to 4294967295");
    get_u32_is(g, "u64", 0, "key u64: 4294967296, expected 0 to 4294967295");
    get_u32_is(g, "f32", 0, "key f32: type f32, expected an integer");
    uint32_t v;
    bool found = true, yes = false;
    float f;
    sv s;
    gguf_array a;
    assert_true(gguf_get_u32(g, "none", &v, &found, &err));
    assert_false(found);
    assert_false(gguf_get_u32(g, "none", &v, NULL, &err));
    assert_string_equal(err.msg, "key none is missing");
    gv_err_clear(&err);
    assert_true(gguf_get_f32(g, "f32", &f, NULL, &err) && f == 1.5f);
    assert_false(gguf_get_f32(g, "f64", &f, NULL, &err));
    assert_string_equal(err.msg, "key f64: type f64, expected f32");
    gv_err_clear(&err);
    assert_false(gguf_get_f32(g, "nan", &f, NULL, &err));
    assert_string_equal(err.msg, "key nan: nan, expected a finite number");
    gv_err_clear(&err);
    assert_true(gguf_get_bool(g, "yes", &yes, NULL, &err) && yes);
    assert_false(gguf_get_bool(g, "u8", &yes, NULL, &err));
    assert_string_equal(err.msg, "key u8: type u8, expected bool");
    gv_err_clear(&err);
    assert_false(gguf_get_string(g, "scores", &s, NULL, &err));
    assert_string_equal(err.msg, "key scores: type array, expected string");
    gv_err_clear(&err);
    assert_false(gguf_get_array(g, "text", GGUF_F32, &a, NULL, &err));
    assert_string_equal(err.msg, "key text: type string, expected array");
    gv_err_clear(&err);
    assert_false(gguf_get_array(g, "scores", GGUF_F32, &a, NULL, &err)); /* llama.cpp #24888: scores of u8 read as f32 */
    assert_string_equal(err.msg, "key scores: array of u8, expected array of f32");
    gguf_close(g);
    free(copy);
    buf_fini(&b);
}

static void keys_print_on_one_line_without_control_bytes(void **state) {
    (void)state;
    static const char *const want[] = {
        "u8 = 200",
        "i8 = -1",
        "i16 = -32768",
        "i32 = 77",
        "u64 = 4294967296",
        "i64 = 4294967295",
        "f32 = 1.5",
        "nan = nan",
        "f64 = 1.5",
        "yes = true",
        "text = \"a \"b\"\\n\\x1b[0m \xc3\xa9 \\xff\"",
    };
    buf b = typed_file(), line = {0};
    gv_err err = GV_ERR_INIT;
    void *copy;
    gguf *g = open_copy(&b, &copy, &err);
    for (size_t i = 0; i < 11; i++) {
        buf_clear(&line);
        gguf_print_key(g, i, &line);
        assert_string_equal(line.p, want[i]);
    }
    buf_clear(&line);
    gguf_print_key(g, 11, &line);
    assert_true(sv_ends(buf_view(&line), SV("\xc3\xa9...\" (200 bytes)")));
    assert_int_equal(line.n, strlen("long = \"") + 80 + strlen("...\" (200 bytes)"));
    buf_clear(&line);
    gguf_print_key(g, 12, &line);
    assert_string_equal(line.p, "scores = [u8 x 3]");
    gguf_close(g);
    free(copy);
    buf_fini(&b);
    buf_fini(&line);
}

/* ---- writer ---- */

static void copy_all(gguf_out *o, const gguf *g) {
    for (size_t i = 0; i < gguf_n_keys(g); i++) gguf_out_copy_key(o, g, i);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) gguf_out_tensor(o, gguf_tensor(g, i));
}

static void a_file_copied_through_the_writer_is_the_same_bytes(void **state) {
    (void)state;
    static const char *const files[] = {GAVEL_TEST_DATA "/gguf/tiny-llama.gguf", GAVEL_TEST_DATA "/gguf/tiny-qwen2.gguf",
                                        GAVEL_TEST_DATA "/gguf/tiny-spm.gguf"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        gv_err err = GV_ERR_INIT;
        gguf *g = gguf_open(files[i], &err);
        assert_string_equal(err.msg, "");
        assert_non_null(gguf_map(g));
        assert_true(gguf_map(g)->n <= 8192);
        gguf_out *o = gguf_out_new();
        copy_all(o, g);
        buf bytes = {0}, file = {0};
        assert_true(gguf_out_bytes(o, &bytes, &err));
        char path[64];
        snprintf(path, sizeof path, "/tmp/gavel-test-gguf-%ld", (long)getpid());
        assert_true(gguf_out_write(o, path, &err));
        assert_true(file_read_all(path, 1 << 20, &file, &err));
        unlink(path);
        assert_int_equal(bytes.n, gguf_map(g)->n);
        assert_memory_equal(bytes.p, gguf_map(g)->p, bytes.n);
        assert_int_equal(file.n, bytes.n);
        assert_memory_equal(file.p, bytes.p, bytes.n);
        gguf_out_free(o);
        gguf_close(g);
        buf_fini(&bytes);
        buf_fini(&file);
    }
}

/* Tensors of 24 and 4 bytes, in pieces of 5. */
static void a_stream_is_the_file_that_is_written_whole(void **state) {
    (void)state;
    const float data[7] = {1, 2, 3, 4, 5, 6, 7};
    gv_err err = GV_ERR_INIT;
    buf whole = {0}, streamed = {0};
    char path[64];
    snprintf(path, sizeof path, "/tmp/gavel-test-stream-%ld", (long)getpid());
    for (int stream = 0; stream < 2; stream++) {
        gguf_out *o = gguf_out_new();
        gguf_out_u32(o, "n", 7);
        gguf_out_tensor(o, &(tensor_view){"w", DT_F32, 2, {3, 2, 1, 1}, stream ? NULL : (const uint8_t *)data, 24, 0});
        gguf_out_tensor(o, &(tensor_view){"v", DT_F32, 1, {1, 1, 1, 1}, stream ? NULL : (const uint8_t *)(data + 6), 4, 0});
        if (!stream) {
            assert_true(gguf_out_bytes(o, &whole, &err));
        } else {
            gv_err none = GV_ERR_INIT, many = GV_ERR_INIT, early = GV_ERR_INIT;
            assert_false(gguf_out_write(o, path, &none));
            assert_string_equal(none.msg, "tensor w has no data");
            assert_true(gguf_out_begin(o, path, &err));
            for (size_t at = 0; at < 24; at += 5) assert_true(gguf_out_put(o, (const uint8_t *)data + at, at + 5 < 24 ? 5 : 24 - at, &err));
            assert_false(gguf_out_finish(o, &early));
            assert_string_equal(early.msg, "tensor v: 0 bytes of 4 written");
            assert_false(gguf_out_put(o, data, 5, &many));
            assert_string_equal(many.msg, "more bytes than tensor v has");
            assert_int_equal(access(path, F_OK), -1);
            assert_true(gguf_out_put(o, data + 6, 4, &err) && gguf_out_finish(o, &err));
            assert_true(file_read_all(path, 1 << 20, &streamed, &err));
            unlink(path);
        }
        gguf_out_free(o);
    }
    assert_int_equal(streamed.n, whole.n);
    assert_memory_equal(streamed.p, whole.p, whole.n);
    buf_fini(&whole), buf_fini(&streamed);
}

static void what_the_writer_writes_reads_back(void **state) {
    (void)state;
    static const float scores[] = {0.5f, -1};
    static const int32_t kinds[] = {1, -3, 6};
    static const sv tokens[] = {SV("a"), SV(""), SV("\xff\0c")};
    const float data[6] = {1, 2, 3, 4, 5, 6};
    gguf_out *o = gguf_out_new();
    gguf_out_u32(o, "general.alignment", 128);
    gguf_out_u32(o, "n", 7);
    gguf_out_f32(o, "f", 0.25f);
    gguf_out_bool(o, "b", true);
    gguf_out_string(o, "s", SV("text"));
    gguf_out_strings(o, "tokens", tokens, 3);
    gguf_out_f32s(o, "scores", scores, 2);
    gguf_out_i32s(o, "kinds", kinds, 3);
    gguf_out_i32s(o, "nothing", NULL, 0);
    gguf_out_tensor(o, &(tensor_view){"w", DT_F32, 2, {3, 2, 1, 1}, (const uint8_t *)data, 24, 0});
    gguf_out_tensor(o, &(tensor_view){"v", DT_F32, 1, {6, 1, 1, 1}, (const uint8_t *)data, 24, 0});
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(gguf_out_bytes(o, &b, &err));
    gguf_out_free(o);
    assert_int_equal(b.n % 128, 0);
    void *copy;
    gguf *g = open_copy(&b, &copy, &err);
    assert_string_equal(err.msg, "");
    gguf_array a;
    assert_true(gguf_get_array(g, "tokens", GGUF_STRING, &a, NULL, &err));
    size_t pos = 0;
    for (size_t i = 0; i < 3; i++) assert_true(sv_eq(gguf_array_string(&a, &pos), tokens[i]));
    assert_true(gguf_get_array(g, "scores", GGUF_F32, &a, NULL, &err));
    assert_true(a.n == 2 && gguf_array_f32(&a, 0) == 0.5f && gguf_array_f32(&a, 1) == -1);
    assert_true(gguf_get_array(g, "kinds", GGUF_I32, &a, NULL, &err));
    assert_true(a.n == 3 && gguf_array_i32(&a, 1) == -3);
    assert_true(gguf_get_array(g, "nothing", GGUF_I32, &a, NULL, &err) && a.n == 0);
    const tensor_view *v = gguf_find_tensor(g, "v");
    assert_int_equal(((uintptr_t)v->data - (uintptr_t)copy) % 128, 0);
    assert_memory_equal(v->data, data, 24);
    gguf_close(g);
    free(copy);
    buf_fini(&b);
}

static void not_written(gguf_out *o, gv_code code, const char *msg) {
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    assert_false(gguf_out_bytes(o, &b, &err));
    assert_string_equal(err.msg, msg);
    assert_int_equal(err.code, code);
    assert_int_equal(b.n, 0);
    gguf_out_free(o);
    buf_fini(&b);
}

static void the_writer_refuses_what_the_reader_would(void **state) {
    (void)state;
    const float data[4] = {0};
    gguf_out *o = gguf_out_new();
    gguf_out_u32(o, "k", 1);
    gguf_out_f32(o, "k", 1);
    not_written(o, GV_FORMAT, "key k is there twice");
    o = gguf_out_new();
    gguf_out_tensor(o, &(tensor_view){"w", DT_F32, 1, {4, 1, 1, 1}, (const uint8_t *)data, 16, 0});
    gguf_out_tensor(o, &(tensor_view){"w", DT_F32, 1, {4, 1, 1, 1}, (const uint8_t *)data, 16, 0});
    not_written(o, GV_FORMAT, "tensor w is there twice");
    o = gguf_out_new();
    gguf_out_tensor(o, &(tensor_view){"w", DT_F32, 1, {4, 1, 1, 1}, (const uint8_t *)data, 12, 0});
    not_written(o, GV_FORMAT, "tensor w: 12 bytes, but its shape needs 16");
    o = gguf_out_new();
    gguf_out_u32(o, "general.alignment", 12);
    not_written(o, GV_FORMAT, "key general.alignment: 12, expected a power of two, 8 or more");
    o = gguf_out_new();
    gguf_out_string(o, "\xff", SV("x"));
    not_written(o, GV_FORMAT, "key \\xff is not UTF-8 at byte 0");
    o = gguf_out_new();
    gv_err err = GV_ERR_INIT;
    assert_false(gguf_out_write(o, "/nonexistent/folder/x.gguf", &err));
    assert_int_equal(err.code, GV_IO);
    gguf_out_free(o);
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    assert_null(gguf_open("/nonexistent/m.gguf", &err));
    assert_int_equal(err.code, GV_IO);
    assert_string_equal(err.msg, "cannot open /nonexistent/m.gguf: No such file or directory");
}

static void a_file_on_disk_that_is_no_gguf_is_named(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    assert_null(gguf_open(GAVEL_TEST_DATA "/gguf/README.md", &err));
    assert_int_equal(err.code, GV_FORMAT);
    assert_string_equal(err.msg,
                        GAVEL_TEST_DATA "/gguf/README.md: not a GGUF file: it starts with 23 20 50 75, expected 47 47 55 46 (GGUF)");
    gv_err_clear(&err);
    gguf *g = gguf_open(GAVEL_TEST_DATA "/gguf/tiny-spm.gguf", &err);
    assert_non_null(g);
    assert_int_equal(gguf_version(g), 3);
    assert_string_equal(gguf_path(g), GAVEL_TEST_DATA "/gguf/tiny-spm.gguf");
    gguf_close(g);
}

static void a_large_alignment_is_written_with_its_padding(void **state) {
    (void)state;
    const float data[2] = {1, 2};
    gguf_out *o = gguf_out_new();
    gguf_out_u32(o, "general.alignment", 1 << 16);
    gguf_out_tensor(o, &(tensor_view){"a", DT_F32, 1, {2, 1, 1, 1}, (const uint8_t *)data, 8, 0});
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    assert_true(gguf_out_bytes(o, &b, &err));
    gguf_out_free(o);
    assert_int_equal(b.n, 2 << 16);
    assert_memory_equal(b.p + (1 << 16), data, 8);
    loads(&b, 1, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_keys_and_tensors_come_back_as_written),
        cmocka_unit_test(typed_reads_check_type_and_range),
        cmocka_unit_test(keys_print_on_one_line_without_control_bytes),
        cmocka_unit_test(a_file_copied_through_the_writer_is_the_same_bytes),
        cmocka_unit_test(a_stream_is_the_file_that_is_written_whole),
        cmocka_unit_test(what_the_writer_writes_reads_back),
        cmocka_unit_test(the_writer_refuses_what_the_reader_would),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_on_disk_that_is_no_gguf_is_named),
        cmocka_unit_test(a_large_alignment_is_written_with_its_padding),
    };
    return cmocka_run_group_tests_name("gguf read", tests, NULL, NULL);
}
