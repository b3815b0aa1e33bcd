/* Names, listings, choices and digests of the Hub client, without a network: tests/interop has the rest. */
#include "support/base_check.h"

#include "http/http_internal.h"
#include "http/hub_internal.h"

static void repositories_are_read_from_their_names(void **state) {
    (void)state;
    hub_repo r;
    gv_err e = GV_ERR_INIT;
    assert_true(hub_repo_parse(HUB_MODEL, "prometheus-eval/prometheus-7b-v2.0", &r, &e));
    assert_string_equal(r.id, "prometheus-eval/prometheus-7b-v2.0");
    assert_string_equal(r.rev, "main");
    assert_string_equal(r.quant, "");
    assert_true(hub_repo_parse(HUB_MODEL, "o/n:q4_k_m@refs/pr/1", &r, &e));
    assert_string_equal(r.id, "o/n");
    assert_string_equal(r.quant, "q4_k_m");
    assert_string_equal(r.rev, "refs/pr/1");
    assert_true(hub_repo_parse(HUB_DATASET, "squad", &r, &e));
    const char *const bad[] = {"",        "/",       "o/",      "/n",     "o/n/x",   "../n",  "o/..",     "o/.n",   "o/n.",       "-o/n",
                               "o/a--b",  "o/a..b",  "o/n.git", "o/n m",  "o\\n",    "o/n\n", "o/n@",     "o/n@..", "o/n@a/../b", "o/n@/a",
                               "o/n@a b", "o/n@a~1", "o/n@a:b", "o/n:@x", "o/n:a/b", "o/n@.", "o/n@a//b", "o/\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gv_err_clear(&e);
        if (hub_repo_parse(HUB_MODEL, bad[i], &r, &e)) fail_msg("%s was taken", bad[i]);
        assert_int_equal(e.code, GV_USAGE);
    }
    CHECK_FAILS(hub_repo_parse(HUB_DATASET, "o/n:x", &r, &err), GV_USAGE, -1, "o/n:x is no repository: expected ORG/NAME[@REV]");
}

static void a_reference_is_no_file(void **state) {
    (void)state;
    assert_true(hub_is_ref("org/name") && hub_is_ref("org/name:Q8_0@v1"));
    const char *const not [] = {"mock",  "mock:x",         "dir/model.gguf", "./model",          "/etc", "/etc/x",
                                "a/b/c", "http://host/v1", "tokenizer.json", "a/tokenizer.json", ""};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (hub_is_ref(not [i])) fail_msg("%s was taken for a repository", not [i]);
}

static void names_of_files_stay_inside(void **state) {
    (void)state;
    gv_err e = GV_ERR_INIT;
    const sv good[] = {SV("a"), SV("a/b.txt"), SV("a b/\xc3\xa4"), SV("..."), SV(".hidden/x"), SV("a/..b")};
    const sv bad[] = {SV(""),       SV("/a"),  SV("a/"),   SV("a//b"), SV("."),    SV(".."),   SV("../a"),
                      SV("a/../b"), SV("a/."), SV("a\\b"), SV("a\0b"), SV("a\nb"), SV("\xff"), SV("\x7f")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(hub_path_check(good[i], &e));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gv_err_clear(&e);
        assert_false(hub_path_check(bad[i], &e));
        assert_int_equal(e.code, GV_FORMAT);
    }
    CHECK_FAILS(hub_path_check(SV("a/../b"), &err), GV_FORMAT, -1, "the file name a/../b is refused: a name that leads out of its folder");
}

static void digests_are_those_of_git_and_sha256(void **state) {
    (void)state;
    hub_digest d;
    char hex[65];
    char text[1000];
    memset(text, 'x', sizeof text);
    hub_digest_init(&d, true, 0);
    hub_digest_hex(&d, hex);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"); /* git hash-object of nothing */
    hub_digest_init(&d, true, 6);
    hub_digest_add(&d, "hello\n", 6);
    hub_digest_hex(&d, hex);
    assert_string_equal(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
    for (size_t step = 1; step < 200; step += 7) { /* however it is cut */
        hub_digest_init(&d, true, sizeof text);
        for (size_t at = 0; at < sizeof text; at += step) hub_digest_add(&d, text + at, sizeof text - at < step ? sizeof text - at : step);
        hub_digest_hex(&d, hex);
        assert_string_equal(hex, "14c7dfdd4258dec5c0e9d2e919bd249bd674be1f");
    }
    hub_digest_init(&d, false, 3);
    hub_digest_add(&d, "abc", 3);
    hub_digest_hex(&d, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#define OID "0123456789abcdef0123456789abcdef01234567"
#define LFS "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void listings_are_read_checked_and_kept(void **state) {
    (void)state;
    hub_list l = {0}, again = {0};
    gv_err e = GV_ERR_INIT;
    buf json = {0};
    assert_true(hub_tree_page(
        SV("[{\"type\":\"file\",\"path\":\"z/b\",\"size\":9,\"oid\":\"" OID "\",\"lfs\":{\"oid\":\"" LFS
           "\",\"size\":9,\"pointerSize\":1}},"
           "{\"type\":\"directory\",\"path\":\"z\",\"oid\":\"x\"},{\"type\":\"file\",\"path\":\"a\\\"\",\"size\":0,\"oid\":\"" OID "\"}]"),
        &l, &e));
    assert_true(hub_list_sort(&l, &e));
    assert_int_equal(l.n, 2);
    assert_string_equal(l.files[0].path, "a\"");
    assert_string_equal(hub_list_find(&l, "z/b")->etag, LFS);
    assert_string_equal(hub_list_find(&l, "z/b")->blob_id, OID);
    assert_null(hub_list_find(&l, "z"));
    hub_tree_cache_put(&l, &json);
    assert_true(hub_tree_cache_parse(buf_view(&json), &again, &e));
    assert_int_equal(again.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(again.files[i].path, l.files[i].path);
        assert_string_equal(again.files[i].etag, l.files[i].etag);
        assert_int_equal(again.files[i].size, l.files[i].size);
    }
    CHECK_FAILS(hub_tree_page(SV("[{\"type\":\"file\",\"path\":\"a\",\"size\":-1,\"oid\":\"" OID "\"}]"), &l, &err), GV_FORMAT, -1,
                "listing of the repository: a: size is no size");
    CHECK_FAILS(hub_tree_page(SV("[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"../x\"}]"), &l, &err), GV_FORMAT, -1,
                "listing of the repository: a: oid is ../x, expected 40 hex digits");
    CHECK_FAILS(
        hub_tree_page(SV("[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" OID "\",\"lfs\":{\"size\":1,\"oid\":\"" OID "\"}}]"),
                      &l, &err),
        GV_FORMAT, -1, "listing of the repository: a: oid is " OID ", expected 64 hex digits");
    CHECK_FAILS(hub_tree_cache_parse(SV("{\"format_version\":2,\"files\":{}}"), &again, &err), GV_FORMAT, -1,
                "the cached listing is not of version 1");
    buf_fini(&json);
    hub_list_fini(&l);
    hub_list_fini(&again);
}

static void add_file(hub_list *l, const char *path) {
    hub_list_add(l, sv_of(path), 5000000000, SV(OID), SV(OID));
}

static void quantisations_are_told_apart(void **state) {
    (void)state;
    const struct {
        const char *file, *quant;
    } names[] = {{"prometheus-7b-v2.0.Q4_K_M.gguf", "Q4_K_M"},
                 {"qwen2.5-0.5b-instruct-q8_0.gguf", "q8_0"},
                 {"m-IQ3_XXS.gguf", "IQ3_XXS"},
                 {"M.f16.gguf", "F16"},
                 {"m-UD-Q2_K_XL.gguf", "Q2_K_XL"},
                 {"x/m-BF16-00001-of-00001.gguf", "bf16"},
                 {"m-Q5_K_S-imat.gguf", "Q5_K_S"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hub_list l = {0};
        gv_err e = GV_ERR_INIT;
        hub_repo r = {.id = "o/n"};
        size_t *chosen = NULL, n = 0;
        const char *main = NULL;
        add_file(&l, "IQ1_S.gguf");
        add_file(&l, names[i].file);
        add_file(&l, "zz-Q6_K.gguf");
        assert_true(hub_list_sort(&l, &e));
        strcpy(r.quant, names[i].quant);
        if (!hub_pick_model(&r, &l, HUB_WEIGHTS, NULL, &chosen, &n, &main, &e)) fail_msg("%s: %s", names[i].file, e.msg);
        assert_int_equal(n, 1);
        assert_string_equal(main, names[i].file);
        free(chosen);
        r.quant[0] = 0;
        assert_false(hub_pick_model(&r, &l, HUB_WEIGHTS, NULL, &chosen, &n, &main, &e));
        assert_non_null(strstr(e.msg, "o/n has several quantisations, choose one as in o/n:"));
        assert_non_null(strstr(e.msg, "IQ1_S (5.0 GB)"));
        hub_list_fini(&l);
    }
}

static http_response reply(int status, const char *headers) {
    http_response r = {.status = status};
    buf_add_str(&r.headers, headers);
    return r;
}

static void waits_are_what_the_server_asks(void **state) {
    (void)state;
    const struct {
        int status;
        const char *headers;
        int64_t seconds;
    } cases[] = {
        {429, "HTTP/1.1 429 No\r\nRateLimit: \"api\";r=0;t=12\r\nRetry-After: 3\r\n", 13},
        {429, "HTTP/1.1 429 No\r\nRateLimit: \"api\";r=7;t=12\r\nretry-after:  3 \r\n", 3},
        {429, "HTTP/1.1 429 No\r\nRateLimit: \"api\";t=12;r=0\r\n", 13},
        {503, "HTTP/1.1 503 No\r\nRateLimit: \"api\";r=0;t=12\r\n", 0},
        {503, "HTTP/1.1 503 No\r\nRetry-After: Tue, 14 Nov 2023 22:13:30 GMT\r\n", 10},
        {503, "HTTP/1.1 503 No\r\nRetry-After: Tue, 14 Nov 2023 22:13:10 GMT\r\n", 0},
        {503, "HTTP/1.1 503 No\r\nRetry-After: soon\r\n", 0},
        {503, "HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\n", 1000000000},
        {503, "HTTP/1.1 302 Found\r\nRetry-After: 5\r\n\r\nHTTP/1.1 503 No\r\n", 0}, /* of another reply */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_response r = reply(cases[i].status, cases[i].headers);
        assert_int_equal(reply_wait_us(&r, 1700000000), cases[i].seconds * 1000000);
        http_response_fini(&r);
    }
}

static void headers_are_those_of_the_last_reply(void **state) {
    (void)state;
    http_response r = reply(200, "HTTP/1.1 302 Found\r\nX-A: 1\r\nX-B: 2\r\n\r\nHTTP/1.1 200 OK\r\nx-a:  3 \r\nX-AB: 4\r\n\r\n");
    CHECK_SV(http_header(&r, "X-A"), "3");
    CHECK_SV(http_header(&r, "X-B"), "");
    CHECK_SV(http_header_any(&r, "X-B"), "2");
    CHECK_SV(http_link_next(SV("<u?a=1>; rel=\"prev\", </v>; rel=\"next\"")), "/v");
    CHECK_SV(http_link_next(SV("<u>; rel=\"xet-auth\", <v>")), "");
    CHECK_SV(http_link_next(SV("<u; rel=\"next\"")), "");
    http_response_fini(&r);
}

static void messages_name_the_url_without_its_secrets(void **state) {
    (void)state;
    http_response r = reply(503, "HTTP/1.1 503 Service Unavailable\r\n");
    gv_err e = GV_ERR_INIT;
    buf_add_str(&r.url, "https://user:pass@host/a/b?Signature=secret#x");
    buf_add_str(&r.body, "{\"error\": {\"message\": \"too\\u001b busy\"}}");
    r.wait_us = 7000000;
    assert_false(http_check(&r, &e));
    assert_string_equal(e.msg, "https://host/a/b: 503 Service Unavailable: too\\x1b busy (it asks to wait 7 s)");
    http_response_fini(&r);
}

static void names_in_urls_are_escaped(void **state) {
    (void)state;
    buf b = {0};
    http_url_escape(SV("refs/pr/1 \xc3\xa4%?#"), "", &b);
    CHECK_SV(buf_view(&b), "refs%2Fpr%2F1%20%C3%A4%25%3F%23");
    buf_clear(&b);
    http_url_escape(SV("a b/c.txt"), "/", &b);
    CHECK_SV(buf_view(&b), "a%20b/c.txt");
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repositories_are_read_from_their_names),
        cmocka_unit_test(a_reference_is_no_file),
        cmocka_unit_test(names_of_files_stay_inside),
        cmocka_unit_test(digests_are_those_of_git_and_sha256),
        cmocka_unit_test(listings_are_read_checked_and_kept),
        cmocka_unit_test(quantisations_are_told_apart),
        cmocka_unit_test(waits_are_what_the_server_asks),
        cmocka_unit_test(headers_are_those_of_the_last_reply),
        cmocka_unit_test(messages_name_the_url_without_its_secrets),
        cmocka_unit_test(names_in_urls_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
