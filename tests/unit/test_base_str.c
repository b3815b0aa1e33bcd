/* Views, buffers, UTF-8 (against Python's decoder), nearest names, SHA-256 (FIPS 180-4 examples, both code paths), byte cursor, types. */
#include "support/base_check.h"

#include "base/base64.h"
#include "base/bytes.h"
#include "base/dtype.h"
#include "base/mem.h"

static void views_compare_and_clip(void **state) {
    (void)state;
    sv none = {NULL, 0};
    assert_true(sv_eq(none, SV("")));
    assert_true(sv_starts(SV("abc"), none) && sv_ends(none, none) && sv_ends(SV("abc"), SV("bc")));
    assert_false(sv_starts(SV("ab"), SV("abc")));
    assert_true(sv_is(SV("judge"), "judge"));
    CHECK_SV(sv_sub(SV("abcdef"), 2, 3), "cde");
    CHECK_SV(sv_sub(SV("abcdef"), 4, SIZE_MAX), "ef");
    assert_int_equal(sv_sub(SV("abc"), 9, 1).n, 0);
    assert_int_equal(sv_sub(none, 1, 1).n, 0);
}

static void find_says_where(void **state) {
    (void)state;
    sv hay = SV("a[RESULT] 5[RESULT]");
    assert_int_equal(sv_find(hay, SV("[RESULT]"), 0), 1);
    assert_int_equal(sv_find(hay, SV("[RESULT]"), 2), 11);
    assert_int_equal(sv_find(hay, SV("[RESULT]"), 12), SIZE_MAX);
    assert_int_equal(sv_find(hay, SV(""), 19), 19);
    assert_int_equal(sv_find(hay, SV(""), 20), SIZE_MAX);
    assert_int_equal(sv_find((sv){NULL, 0}, SV("x"), 0), SIZE_MAX);
    assert_int_equal(sv_find(SV("a\0b"), SV("\0b"), 0), 1);
}

static void buffers_grow_and_stay_terminated(void **state) {
    (void)state;
    buf b = {0};
    buf_add(&b, NULL, 0);
    assert_string_equal(b.p, "");
    for (int i = 0; i < 5000; i++) buf_add_char(&b, 'x');
    assert_int_equal(b.n, 5000);
    assert_int_equal(strlen(b.p), 5000);
    buf_clear(&b);
    buf_printf(&b, "%s-%d", "row", 7);
    buf_printf(&b, "%08000d", 0);
    buf_add_str(&b, "end");
    assert_int_equal(b.n, 5 + 8000 + 3);
    assert_int_equal(strlen(b.p), b.n);
    assert_string_equal(b.p + 8003, "00end");
    buf_add_sv(&b, SV("\0z"));
    assert_int_equal(b.n, 8010);
    buf_fini(&b);
    assert_null(b.p);
}

static void every_exact_fill_leaves_room_for_the_nul(void **state) {
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        buf b = {0}, c = {0};
        gv_err ok = GV_ERR_INIT;
        memset(buf_reserve(&b, n), 'a', n);
        b.n += n;
        b.p[b.n] = 0;
        assert_true(buf_try_reserve(&c, n, "x", &ok));
        memset(c.p, 'a', n);
        c.p[n] = 0;
        c.n = n;
        assert_true(buf_try_reserve(&c, 1000, "x", &ok)); /* keeps what is there */
        assert_string_equal(b.p, c.p);
        buf_fini(&b);
        buf_fini(&c);
    }
    buf b = {0};
    buf_add(&b, "abc", 3);
    CHECK_FAILS(buf_try_reserve(&b, SIZE_MAX - 1, "line 3", &err), GV_MEMORY, -1,
                "line 3: 18446744073709551614 bytes more are more than can be addressed");
    assert_string_equal(b.p, "abc");
    buf_fini(&b);
}

static void every_scalar_value_survives_utf8(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110100; c++) {
        char out[4];
        size_t n = utf8_put(c, out), pos = 0;
        if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
            assert_int_equal(n, 0);
            continue;
        }
        sv s = {out, n};
        if (utf8_next(s, &pos) != (int32_t)c || pos != n || utf8_invalid_at(s) != SIZE_MAX) fail_msg("U+%04X", c);
        for (size_t k = 1; k < n; k++) { /* each cut is malformed at 0 */
            if (utf8_invalid_at((sv){out, k}) != 0) fail_msg("U+%04X cut to %zu", c, k);
        }
    }
}

static void malformed_utf8_is_found_where_it_starts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"abcdefghijk\x80", 11},
        {"12345678\xC0\xAF", 8},
        {"\xC3\xA9\xE0\x9F\x80", 2},
        {"\xED\xA0\x80", 0},
        {"ok\xF4\x90\x80\x80", 2},
        {"1234567\xF0\x8F\xBF\xBF", 7},
        {"\xF5\x80\x80\x80", 0},
        {"abc\xE2\x82", 3},
        {"\xC3", 0},
        {"\xFE", 0},
        {"plain", SIZE_MAX},
        {"", SIZE_MAX},
        {"\xF4\x8F\xBF\xBFzz", SIZE_MAX},
        {"\xEF\xBF\xBF", SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(utf8_invalid_at(sv_of(cases[i].text)), cases[i].at);
    assert_int_equal(utf8_invalid_at((sv){NULL, 0}), SIZE_MAX);
    size_t pos = 0; /* one byte on, whatever follows */
    assert_int_equal(utf8_next(SV("\xE2\x82x"), &pos), -1);
    assert_int_equal(pos, 1);
}

static void replacement_follows_the_maximal_subpart_rule(void **state) {
    (void)state;
#define R "\xEF\xBF\xBD"
    static const char *const cases[][2] = {
        {"a\xF0\x9F\x98z", "a" R "z"},
        {"\xF0\x9F\x98", R},
        {"\xED\xA0\x80", R R R},
        {"\xE2\x82", R},
        {"\xC0\x80", R R},
        {"\xF4\x90\x80\x80", R R R R},
        {"\xE2\x28\xA1", R "(" R},
        {"\xF1\x80\x80\xF1\x80\x80\x80", R "\xF1\x80\x80\x80"},
        {"12345678901234567\xFF\xC3\xA9", "12345678901234567" R "\xC3\xA9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf b = {0};
        utf8_replace(sv_of(cases[i][0]), &b);
        assert_string_equal(b.p, cases[i][1]);
        buf_fini(&b);
    }
#undef R
    buf b = {0};
    utf8_replace((sv){NULL, 0}, &b);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

/* The hash is Python's (3.11): sha256 over bytes(t).decode('utf-8', 'replace').encode() + b'\n' for L in range(5) for t in
 * itertools.product(bytes.fromhex(ALPHABET), repeat=L). */
static void replacement_equals_python_on_all_short_sequences_of_critical_bytes(void **state) {
    (void)state;
    static const unsigned char alphabet[26] = {0x00, 0x41, 0x7f, 0x80, 0x86, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
                                               0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    sha256 h;
    sha256_init(&h);
    buf b = {0};
    size_t total = 1;
    for (size_t len = 0; len <= 4; len++, total *= sizeof alphabet) {
        for (size_t k = 0; k < total; k++) {
            char text[4];
            size_t rest = k;
            for (size_t i = len; i-- > 0; rest /= sizeof alphabet) text[i] = (char)alphabet[rest % sizeof alphabet];
            buf_clear(&b);
            utf8_replace((sv){text, len}, &b);
            buf_add_char(&b, '\n');
            sha256_add(&h, b.p, b.n);
        }
    }
    char hex[65];
    sha256_hex(&h, hex);
    assert_string_equal(hex, "8c2863f2346b88353ad36c9fe06b2e03ae63b6da647961a3bc6c521b94e7c67f");
    buf_fini(&b);
}

static void the_nearest_name_is_suggested_only_when_it_is_near(void **state) {
    (void)state;
    static const char *const names[] = {"max-tokens", "model", "mode", "top-k", "top-p", "repetition-penalty", "id", NULL};
    assert_string_equal(nearest_name("max-token", names), "max-tokens");
    assert_string_equal(nearest_name("mdel", names), "model");
    assert_string_equal(nearest_name("mode", names), "mode");
    assert_string_equal(nearest_name("top_k", names), "top-k");
    assert_string_equal(nearest_name("repetiton-penlaty", names), "repetition-penalty");
    assert_null(nearest_name("temperature", names));
    assert_null(nearest_name("xy", names)); /* two edits from "id", but nothing in common */
    assert_null(nearest_name("", names));
    char overlong[300];
    memset(overlong, 'm', sizeof overlong - 1);
    overlong[sizeof overlong - 1] = 0;
    assert_null(nearest_name(overlong, names));
}

static void hash(const void *p, size_t n, size_t step, char hex[65]) {
    sha256 s;
    sha256_init(&s);
    for (size_t i = 0; i < n; i += step) sha256_add(&s, (const char *)p + i, n - i < step ? n - i : step);
    sha256_hex(&s, hex);
}

static void sha256_gives_the_published_values(void **state) {
    (void)state;
    char hex[65], *million = gv_xmalloc(1000000);
    memset(million, 'a', 1000000);
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (int plain = 0; plain < 2; plain++) {
#ifdef GAVEL_TESTING
        sha256_plain = plain;
#endif
        hash("", 0, 1, hex);
        assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        hash("abc", 3, 3, hex);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        hash(two, strlen(two), 5, hex);
        assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        hash(million, 1000000, 4097, hex);
        assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(million);
}

static void sha256_does_not_depend_on_pieces_or_instructions(void **state) {
    (void)state;
    unsigned char data[400];
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)random_next(&seed);
    for (size_t n = 0; n <= sizeof data; n++) {
        char whole[65], pieces[65], plain[65];
        hash(data, n, SIZE_MAX / 2, whole);
        hash(data, n, 1 + random_next(&seed) % 130, pieces);
#ifdef GAVEL_TESTING
        sha256_plain = true;
#endif
        hash(data, n, 64, plain);
#ifdef GAVEL_TESTING
        sha256_plain = false;
#endif
        assert_string_equal(whole, pieces);
        assert_string_equal(whole, plain);
    }
}

static void the_cursor_reads_little_endian_and_stops_at_the_end(void **state) {
    (void)state;
    static const uint8_t data[] = {0xFF, 1, 2, 3, 4, 5, 6, 0x87, 8, 9, 10, 11, 12, 13, 14, 0x8F, 'a', 'b'};
    bytes b = {data, sizeof data, 0};
    gv_err ok = GV_ERR_INIT;
    uint8_t a;
    uint16_t c;
    uint32_t d;
    uint64_t e;
    sv v;
    assert_true(bytes_u8(&b, &a, "a", &ok) && a == 0xFF);
    assert_true(bytes_u16(&b, &c, "c", &ok) && c == 0x0201);
    assert_true(bytes_u32(&b, &d, "d", &ok) && d == 0x06050403);
    assert_true(bytes_u64(&b, &e, "e", &ok) && e == 0x0e0d0c0b0a090887u);
    assert_true(bytes_u8(&b, &a, "a", &ok) && a == 0x8F);
    CHECK_FAILS(bytes_u32(&b, &d, "tensor count", &err), GV_FORMAT, 16, "tensor count: 4 bytes needed at offset 16, 2 left");
    CHECK_FAILS(bytes_u64(&b, &e, "length", &err), GV_FORMAT, 16, "length: 8 bytes needed at offset 16, 2 left");
    CHECK_FAILS(bytes_view(&b, UINT64_MAX, &v, "name", &err), GV_FORMAT, 16,
                "name: 18446744073709551615 bytes needed at offset 16, 2 left");
    assert_int_equal(bytes_left(&b), 2);
    assert_true(bytes_view(&b, 2, &v, "text", &ok));
    CHECK_SV(v, "ab");
    assert_true(bytes_view(&b, 0, &v, "nothing", &ok) && v.n == 0 && v.p);
    CHECK_FAILS(bytes_u8(&b, &a, "flag", &err), GV_FORMAT, 18, "flag: 1 byte needed at offset 18, 0 left");
    CHECK_FAILS(bytes_u16(&b, &c, "short", &err), GV_FORMAT, 18, "short: 2 bytes needed at offset 18, 0 left");
}

static void types_have_ggufs_numbers_names_and_sizes(void **state) {
    (void)state;
    static const struct {
        uint32_t type, elems, size;
        const char *name;
    } known[] = {
        {0, 1, 4, "F32"},       {1, 1, 2, "F16"},       {2, 32, 18, "Q4_0"},   {3, 32, 20, "Q4_1"},    {6, 32, 22, "Q5_0"},
        {7, 32, 24, "Q5_1"},    {8, 32, 34, "Q8_0"},    {10, 256, 84, "Q2_K"}, {11, 256, 110, "Q3_K"}, {12, 256, 144, "Q4_K"},
        {13, 256, 176, "Q5_K"}, {14, 256, 210, "Q6_K"}, {30, 1, 2, "BF16"},
    };
    size_t n = 0;
    for (uint32_t t = 0; t < 1000; t++) n += dtype_get(t) != NULL;
    assert_int_equal(n, sizeof known / sizeof *known);
    for (size_t i = 0; i < n; i++) {
        const dtype_info *info = dtype_get(known[i].type);
        assert_non_null(info);
        assert_string_equal(info->name, known[i].name);
        assert_string_equal(dtype_any_name(known[i].type), known[i].name);
        assert_int_equal(info->block_elems, known[i].elems);
        assert_int_equal(info->block_bytes, known[i].size);
        dtype t;
        assert_true(dtype_by_name(known[i].name, &t));
        assert_int_equal(t, known[i].type);
    }
    dtype t = DT_F32;
    assert_true(dtype_by_name("q4_k", &t) && t == DT_Q4_K);
    assert_false(dtype_by_name("IQ4_XS", &t));
    assert_string_equal(dtype_any_name(23), "IQ4_XS");
    assert_string_equal(dtype_any_name(39), "MXFP4");
    assert_null(dtype_any_name(77));
    assert_null(dtype_any_name(UINT32_MAX));
}

static void text_of_strangers_is_shown_without_control_bytes(void **state) {
    (void)state;
    buf b = {0};
    str_escape(SV("a\"\n\t\r\x1b[2J\x7f\xc2\x9b\xe2\x80\xae\xff\0 \xc3\xa9"), SIZE_MAX, &b);
    assert_string_equal(b.p, "a\"\\n\\t\\r\\x1b[2J\\x7f\\xc2\\x9b\\xe2\\x80\\xae\\xff\\x00 \xc3\xa9");
    buf_clear(&b);
    str_escape(SV("\xc3\xa9\xc3\xa9"), 3, &b); /* a character is never cut */
    assert_string_equal(b.p, "\xc3\xa9\xc3\xa9");
    buf_clear(&b);
    str_escape(SV("abc"), 2, &b);
    assert_string_equal(b.p, "ab...");
    buf_fini(&b);
    char text[200];
    memset(text, 1, sizeof text); /* each byte takes four */
    assert_true(strlen(str_show((sv){text, sizeof text}).text) < sizeof(str_shown));
    memset(text, 'x', sizeof text);
    assert_int_equal(strlen(str_show((sv){text, sizeof text}).text), 83);
}

static void base64_is_that_of_rfc_4648_in_both_directions(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xfb\xff\xbf", "+/+/"}};
    buf b = {0};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        buf_clear(&b);
        base64_encode(pairs[i][0], strlen(pairs[i][0]), &b);
        assert_true(sv_is(buf_view(&b), pairs[i][1]));
        buf_clear(&b);
        assert_true(base64_decode(sv_of(pairs[i][1]), &b));
        assert_true(sv_is(buf_view(&b), pairs[i][0]));
    }
    buf_clear(&b);
    assert_true(base64_decode(SV("Zm9vYg"), &b)); /* without padding */
    assert_true(sv_is(buf_view(&b), "foob"));
    assert_false(base64_decode(SV("Zm9vY"), &b)); /* five digits end within a byte's first six bits */
    assert_false(base64_decode(SV("Zm 9"), &b));
    assert_false(base64_decode((sv){"Zm9\0", 4}, &b));
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_and_clip),
        cmocka_unit_test(find_says_where),
        cmocka_unit_test(buffers_grow_and_stay_terminated),
        cmocka_unit_test(every_exact_fill_leaves_room_for_the_nul),
        cmocka_unit_test(every_scalar_value_survives_utf8),
        cmocka_unit_test(malformed_utf8_is_found_where_it_starts),
        cmocka_unit_test(replacement_follows_the_maximal_subpart_rule),
        cmocka_unit_test(replacement_equals_python_on_all_short_sequences_of_critical_bytes),
        cmocka_unit_test(the_nearest_name_is_suggested_only_when_it_is_near),
        cmocka_unit_test(text_of_strangers_is_shown_without_control_bytes),
        cmocka_unit_test(base64_is_that_of_rfc_4648_in_both_directions),
        cmocka_unit_test(sha256_gives_the_published_values),
        cmocka_unit_test(sha256_does_not_depend_on_pieces_or_instructions),
        cmocka_unit_test(the_cursor_reads_little_endian_and_stops_at_the_end),
        cmocka_unit_test(types_have_ggufs_numbers_names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
