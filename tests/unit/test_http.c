/* URLs: what is the same origin, what is spoken, where a relative redirect leads.  Needs libcurl, whose parser decides. */
#include "support/base_check.h"

#include "http/http_internal.h"

static void an_origin_is_scheme_host_and_port(void **state) {
    (void)state;
    assert_true(http_same_origin("https://hub/a", "https://HUB:443/b?c"));
    assert_true(http_same_origin("http://hub", "HTTP://hub:80/"));
    assert_true(http_same_origin("http://[::1]:8/", "http://[::1]:8/x"));
    const char *const others[] = {"http://hub/",
                                  "https://hub:444/",
                                  "https://hub.evil/",
                                  "https://evil/hub",
                                  "https://hub@evil/",
                                  "https://evil#hub",
                                  "https://xhub/",
                                  "hub",
                                  ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (http_same_origin("https://hub/", others[i])) fail_msg("%s is taken for https://hub/", others[i]);
}

static void only_http_is_spoken(void **state) {
    (void)state;
    gv_err e = GV_ERR_INIT;
    assert_true(http_url_check("http://127.0.0.1:80/x", &e) && http_url_check("https://hub", &e));
    CHECK_FAILS(http_url_check("file:///etc/passwd", &err), GV_USAGE, -1, "file:///etc/passwd: only http and https are spoken, not file");
    CHECK_FAILS(http_url_check("ftp://x/y", &err), GV_USAGE, -1, "ftp://x/y: only http and https are spoken, not ftp");
    CHECK_FAILS(http_url_check("https://u:p@x/y", &err), GV_USAGE, -1, "https://x/y: a user or password in a URL is refused");
    CHECK_FAILS(http_url_check("http://", &err), GV_USAGE, -1, "http:// is no URL");
    CHECK_FAILS(http_url_check("nothing", &err), GV_USAGE, -1, "nothing is no URL");
}

static void redirects_are_seen_from_where_they_are(void **state) {
    (void)state;
    const struct {
        const char *location, *want;
    } cases[] = {{"/api/c?%2Fa%2Fb=&etag=%22x%22", "http://h:8/api/c?%2Fa%2Fb=&etag=%22x%22"},
                 {"/r/sub%2Fnotes.txt", "http://h:8/r/sub%2Fnotes.txt"}, /* not decoded on the way */
                 {"https://other/x", "https://other/x"},
                 {"//other/x", "http://other/x"},
                 {"c", "http://h:8/a/c"}};
    buf out = {0};
    gv_err e = GV_ERR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(url_resolve("http://h:8/a/b?q", sv_of(cases[i].location), &out, &e));
        assert_string_equal(out.p, cases[i].want);
    }
    CHECK_FAILS(url_resolve("http://h/", SV("http://[bad"), &out, &err), GV_FORMAT, -1, "redirected to http://[bad, which is no URL");
    CHECK_FAILS(url_resolve("http://h/", SV("/a\0b"), &out, &err), GV_FORMAT, -1, "redirected to /a\\x00b, which is no URL");
    buf_fini(&out);
}

static void requests_that_would_break_out_of_a_header_are_refused(void **state) {
    (void)state;
    gv_err e = GV_ERR_INIT;
    http_response r = {0};
    http *h = http_open(&(http_options){0}, &e);
    assert_non_null(h);
    const char *const headers[] = {"X-A: 1\r\nX-B: 2", NULL};
    CHECK_FAILS(http_send(h, &(http_request){.url = "http://127.0.0.1:1/", .headers = headers}, &r, &err), GV_USAGE, -1,
                "a header holds a line break");
    CHECK_FAILS(http_send(h, &(http_request){.url = "http://127.0.0.1:1/", .token = "a\nb"}, &r, &err), GV_USAGE, -1,
                "the token or the content type holds a line break");
    http_response_fini(&r);
    http_close(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_scheme_host_and_port),
        cmocka_unit_test(only_http_is_spoken),
        cmocka_unit_test(redirects_are_seen_from_where_they_are),
        cmocka_unit_test(requests_that_would_break_out_of_a_header_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
