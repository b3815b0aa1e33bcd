/* URLs, taken apart and put together by libcurl's own parser, so that what is compared is what is connected to. */
#include "http/http_internal.h"

#include <curl/curl.h>
#include <strings.h>

typedef struct url_parts {
    char *scheme, *host, *port; /* curl's strings */
    bool spoken, user;          /* http or https; with user or password */
} url_parts;

static void parts_free(url_parts *p) {
    curl_free(p->scheme);
    curl_free(p->host);
    curl_free(p->port);
}

/* False if url cannot be parsed or is not http(s) with a host; *p is to be freed either way. */
static bool parts_of(const char *url, url_parts *p) {
    *p = (url_parts){0};
    CURLU *u = curl_url();
    char *user = NULL, *password = NULL;
    bool ok = u && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &p->scheme, 0) == CURLUE_OK;
    p->spoken = ok && (strcasecmp(p->scheme, "http") == 0 || strcasecmp(p->scheme, "https") == 0);
    ok = p->spoken && curl_url_get(u, CURLUPART_HOST, &p->host, 0) == CURLUE_OK &&
         curl_url_get(u, CURLUPART_PORT, &p->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    p->user =
        ok && (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK || curl_url_get(u, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(u);
    return ok;
}

bool http_url_check(const char *url, gv_err *err) {
    url_parts p;
    buf shown = {0};
    http_url_show(url, &shown);
    const char *text = shown.p ? shown.p : "";
    bool ok = parts_of(url, &p);
    if (p.scheme && !p.spoken)
        gv_fail(err, GV_USAGE, -1, "%s: only http and https are spoken, not %s", text, str_show(sv_of(p.scheme)).text);
    else if (!ok)
        gv_fail(err, GV_USAGE, -1, "%s is no URL", text);
    else if (p.user)
        ok = gv_fail(err, GV_USAGE, -1, "%s: a user or password in a URL is refused", text);
    parts_free(&p);
    buf_fini(&shown);
    return ok;
}

bool http_same_origin(const char *a, const char *b) {
    url_parts p, q;
    const bool ok_a = parts_of(a, &p), ok_b = parts_of(b, &q);
    const bool same = ok_a && ok_b && strcasecmp(p.scheme, q.scheme) == 0 && strcasecmp(p.host, q.host) == 0 && strcmp(p.port, q.port) == 0;
    parts_free(&p);
    parts_free(&q);
    return same;
}

bool url_is_https(const char *url) {
    return strncasecmp(url, "https:", 6) == 0;
}

bool url_resolve(const char *base, sv location, buf *out, gv_err *err) {
    CURLU *u = curl_url();
    char *whole = NULL;
    buf text = {0};
    buf_add_sv(&text, location);
    bool ok = u && text.n && strlen(text.p) == text.n && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
              curl_url_set(u, CURLUPART_URL, text.p, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_URL, &whole, 0) == CURLUE_OK;
    buf_clear(out);
    if (ok)
        buf_add_str(out, whole);
    else
        gv_fail(err, GV_FORMAT, -1, "redirected to %s, which is no URL", str_show(location).text);
    curl_free(whole);
    curl_url_cleanup(u);
    buf_fini(&text);
    return ok;
}
