/* The HTTP client of a gavel that is built without libcurl (-DGAVEL_CURL=OFF, as the cross build of script/neon is): http_open fails, so that
 * nothing else is ever called with a client. */
#include "http/http_internal.h"

static bool none(gv_err *err) {
    return gv_fail(err, GV_UNSUPPORTED, -1, "this gavel is built without libcurl and opens no connections");
}

http *http_open(const http_options *o, gv_err *err) {
    (void)o;
    none(err);
    return NULL;
}

void http_close(http *h) {
    (void)h;
}

bool http_send(http *h, const http_request *q, http_response *r, gv_err *err) {
    (void)h, (void)q, (void)r;
    return none(err);
}

http_call *http_start(http *h, const http_request *q, gv_err *err) {
    (void)h, (void)q;
    none(err);
    return NULL;
}

bool http_poll(http *h, int timeout_ms, gv_err *err) {
    (void)h, (void)timeout_ms;
    return none(err);
}

bool http_call_done(const http_call *c) {
    (void)c;
    return true;
}

bool http_call_result(http_call *c, http_response **r, gv_err *err) {
    (void)c;
    *r = NULL;
    return none(err);
}

void http_call_free(http_call *c) {
    (void)c;
}

bool http_pause(http *h, int tries, int64_t asked_us, gv_err *err) {
    (void)h, (void)tries, (void)asked_us;
    return none(err);
}

int http_tries(const http *h) {
    (void)h;
    return 0;
}

void http_tell(http *h, const char *fmt, ...) {
    (void)h, (void)fmt;
}

bool http_url_check(const char *url, gv_err *err) {
    (void)url;
    return none(err);
}

bool http_same_origin(const char *a, const char *b) {
    (void)a, (void)b;
    return false;
}

bool url_resolve(const char *base, sv location, buf *out, gv_err *err) {
    (void)base, (void)location, (void)out;
    return none(err);
}
