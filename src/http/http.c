/* Calls: each is an easy handle of libcurl on one multi handle, and a small machine around it.
 *
 *   RUNNING  libcurl works on it; its end leads to another try (a redirect: at once; a failure that may pass: after a wait) or to DONE
 *   WAITING  until resume_us
 *   DONE     the response or the error is there
 *
 * Nothing of libcurl's own redirecting, credentials or retrying is used: who gets the token is decided in start_try alone. */
#include "http/http.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "http/http_internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { POLL_MS = 100, MAX_BACKOFF_MS = 30000, SERVER_JITTER_US = 250000 };

struct http {
    http_options o;
    CURLM *multi;
    http_call *calls;
    uint64_t random;
};

typedef enum call_state { CALL_RUNNING, CALL_WAITING, CALL_DONE } call_state;

struct http_call {
    http *h;
    http_call *next;
    http_request q; /* its strings are ours */
    char **headers; /* of the caller, ended by NULL */
    CURL *easy;
    struct curl_slist *lines;
    char text[CURL_ERROR_SIZE];
    buf url;      /* of this try */
    bool as_get;  /* a redirect made it a GET */
    bool stopped; /* by us: the rest of an error's body is not wanted */
    int tries, redirects;
    uint64_t n_sent, n_sunk; /* of the request's body in this try; of the reply's to the sink */
    call_state state;
    int64_t resume_us;
    http_response r;
    gv_err err;
    bool ok;
};

static pthread_once_t libcurl_once = PTHREAD_ONCE_INIT;
static void init_libcurl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) abort(); /* out of memory at start */
}

static int64_t or_default(int64_t v, int64_t otherwise) {
    return v ? v : otherwise;
}

http *http_open(const http_options *o, gv_err *err) {
    pthread_once(&libcurl_once, init_libcurl);
    http *h = gv_xcalloc(1, sizeof *h);
    h->o = *o;
    h->o.connect_ms = or_default(o->connect_ms, 10000);
    h->o.stall_ms = or_default(o->stall_ms, 60000);
    h->o.retries = o->retries < 0 ? 0 : or_default(o->retries, 5);
    h->o.backoff_ms = or_default(o->backoff_ms, 500);
    h->o.max_wait_s = or_default(o->max_wait_s, 600);
    h->random = (uint64_t)clock_mono_us() ^ (uint64_t)(uintptr_t)h ^ (uint64_t)getpid() << 32;
    h->multi = curl_multi_init();
    if (h->multi) return h;
    free(h);
    gv_fail(err, GV_MEMORY, -1, "libcurl cannot be set up");
    return NULL;
}

void http_close(http *h) {
    if (!h) return;
    while (h->calls) http_call_free(h->calls);
    curl_multi_cleanup(h->multi);
    free(h);
}

int http_tries(const http *h) {
    return (int)h->o.retries + 1;
}

void http_tell(http *h, const char *fmt, ...) {
    gv_err text = GV_ERR_INIT; /* bounded, without control characters */
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&text, GV_IO, -1, fmt, ap);
    va_end(ap);
    if (h->o.on_wait)
        h->o.on_wait(h->o.ctx, text.msg);
    else
        log_msg(LOG_WARN, "%s", text.msg);
}

/* A number in [0, 1): splitmix64.  Only waits depend on it. */
static double random_share(http *h) {
    uint64_t z = h->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int64_t wait_before(http *h, int tries, int64_t asked_us) {
    int64_t ms = h->o.backoff_ms;
    for (int i = 1; i < tries && ms < MAX_BACKOFF_MS; i++) ms *= 2;
    if (ms > MAX_BACKOFF_MS) ms = MAX_BACKOFF_MS;
    const int64_t own = (int64_t)((double)ms * 1000 * (0.5 + random_share(h)));
    const int64_t asked = asked_us ? asked_us + (int64_t)(random_share(h) * SERVER_JITTER_US) : 0;
    return asked > own ? asked : own;
}

static bool is_stopped(const http *h) {
    return h->o.stopped && h->o.stopped(h->o.ctx);
}

bool http_pause(http *h, int tries, int64_t asked_us, gv_err *err) {
    if (asked_us / 1000000 > h->o.max_wait_s)
        return gv_fail(err, GV_LIMIT, -1, "the server asks to wait %lld s, more than the %lld s that gavel waits",
                       (long long)(asked_us / 1000000), (long long)h->o.max_wait_s);
    const int64_t until = clock_mono_us() + wait_before(h, tries, asked_us);
    for (int64_t left; !is_stopped(h) && (left = until - clock_mono_us()) > 0;)
        usleep((useconds_t)(left < POLL_MS * 1000 ? left : POLL_MS * 1000));
    return !is_stopped(h) || gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
}

/* ---- one try ---- */

static sv memory_of(const void *p, size_t n) {
    return (sv){p, n};
}

static size_t on_header(char *p, size_t size, size_t n, void *call) {
    http_call *c = call;
    if (c->r.headers.n + size * n > HTTP_MAX_HEADERS) {
        gv_fail(&c->err, GV_LIMIT, -1, "headers of more than the cap of %d bytes", HTTP_MAX_HEADERS);
        return 0;
    }
    buf_add(&c->r.headers, p, size * n);
    return size * n;
}

static bool take_body(http_call *c, sv bytes) {
    const uint64_t cap = c->q.max_bytes ? c->q.max_bytes : HTTP_MAX_BODY;
    if (c->r.n_body == 0) {
        const sv encoding = http_header(&c->r, "Content-Encoding");
        if (encoding.n && !sv_is(encoding, "identity"))
            return gv_fail(&c->err, GV_UNSUPPORTED, -1, "the body comes as %s, which was not asked for", str_show(encoding).text);
    }
    c->r.n_body += bytes.n;
    if (c->r.n_body > cap) return gv_fail(&c->err, GV_LIMIT, -1, "a body of more than the cap of %llu bytes", (unsigned long long)cap);
    if (c->q.sink) {
        c->n_sunk += bytes.n;
        return c->q.sink(c->q.ctx, &c->r, bytes, &c->err);
    }
    if (!buf_try_reserve(&c->r.body, bytes.n, "body of a reply", &c->err)) return false;
    buf_add_sv(&c->r.body, bytes);
    return true;
}

static size_t on_body(char *p, size_t size, size_t n, void *call) {
    http_call *c = call;
    const size_t all = size * n;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    c->r.status = (int)status;
    if (status >= 200 && status < 300) return take_body(c, memory_of(p, all)) ? all : 0;
    const size_t room = HTTP_MAX_ERROR_BODY - c->r.body.n;
    buf_add(&c->r.body, p, all < room ? all : room);
    c->stopped = all > room;
    return c->stopped ? 0 : all;
}

static uint64_t body_bytes(const http_call *c) {
    return c->q.fd ? c->q.body_bytes : c->q.body.n;
}

static size_t on_read(char *p, size_t size, size_t n, void *call) {
    http_call *c = call;
    const uint64_t left = body_bytes(c) - c->n_sent;
    size_t want = size * n;
    if (want > left) want = (size_t)left;
    if (want == 0) return 0;
    if (c->q.fd) {
        const ssize_t got = pread(c->q.fd, p, want, (off_t)(c->q.body_from + c->n_sent));
        if (got <= 0) {
            if (got < 0)
                gv_fail_errno(&c->err, "cannot read what is to be sent");
            else
                gv_fail(&c->err, GV_IO, -1, "what is to be sent is shorter than it was");
            return CURL_READFUNC_ABORT;
        }
        want = (size_t)got;
    } else {
        memcpy(p, c->q.body.p + c->n_sent, want);
    }
    c->n_sent += want;
    if (c->q.sent) c->q.sent(c->q.ctx, c->n_sent);
    return want;
}

static int on_seek(void *call, curl_off_t offset, int origin) {
    http_call *c = call;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > body_bytes(c)) return CURL_SEEKFUNC_FAIL;
    c->n_sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool is_secret(const char *line) {
    const char *const names[] = {"authorization:", "cookie:", "x-hf-token:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncasecmp(line, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static void add_line(http_call *c, const char *line) {
    struct curl_slist *more = curl_slist_append(c->lines, line);
    if (!more) abort(); /* out of memory for a few bytes */
    c->lines = more;
}

static void set_headers(http_call *c) {
    const bool at_home = http_same_origin(c->url.p, c->q.url);
    buf line = {0};
    curl_slist_free_all(c->lines);
    c->lines = NULL;
    if (at_home && c->q.token && c->q.token[0]) {
        buf_printf(&line, "Authorization: Bearer %s", c->q.token);
        add_line(c, line.p);
    }
    buf_clear(&line);
    if (c->q.content_type && !c->as_get) {
        buf_printf(&line, "Content-Type: %s", c->q.content_type);
        add_line(c, line.p);
    }
    add_line(c, "Accept-Encoding: identity");
    add_line(c, "Expect:");
    if (!c->q.content_type) add_line(c, "Content-Type:");
    for (char **p = c->headers; p && *p; p++)
        if (at_home || !is_secret(*p)) add_line(c, *p);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->lines);
    buf_fini(&line);
}

static void set_method(http_call *c) {
    CURL *e = c->easy;
    const bool head = strcmp(c->q.method, "HEAD") == 0;
    if (c->as_get || head || (!c->q.has_body && strcmp(c->q.method, "GET") == 0)) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(e, CURLOPT_NOBODY, head ? 1L : 0L);
    } else if (c->q.has_body) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_bytes(c));
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->q.method);
    } else {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->q.method);
    }
}

static void set_options(http_call *c) {
    CURL *e = c->easy;
    const http_options *o = &c->h->o;
    curl_easy_setopt(e, CURLOPT_URL, c->url.p);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->text);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)((o->stall_ms + 999) / 1000));
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "gavel/" GAVEL_VERSION);
    /* on a connection that was used before, libcurl itself sends again what got no reply */
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, c->q.retry == HTTP_RETRY_NEVER ? 1L : 0L);
    if (o->ca_file) curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(e, CURLOPT_READDATA, c);
    curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
}

static void end_call(http_call *c, bool ok) {
    c->state = CALL_DONE;
    c->ok = ok;
}

/* The words in front of a failure of this call: "GET http://host/path". */
static void fail_call(http_call *c, gv_code code, const char *fmt, ...) GV_PRINTF(3, 4);
static void fail_call(http_call *c, gv_code code, const char *fmt, ...) {
    buf url = {0};
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        gv_vfail(&c->err, code, -1, fmt, ap);
        va_end(ap);
    }
    http_url_show(c->url.p, &url);
    if (c->err.code != GV_INTERRUPTED) gv_context(&c->err, "%s " SV_FMT, c->q.method, SV_ARG(buf_view(&url)));
    buf_fini(&url);
    end_call(c, false);
}

/* Begins a try at c->url; what the last one left is forgotten, but for the headers of redirects. */
static void start_try(http_call *c, bool redirected) {
    curl_easy_reset(c->easy);
    c->text[0] = 0;
    c->stopped = false;
    c->n_sent = 0;
    c->r.status = 0;
    c->r.n_body = 0;
    c->r.wait_us = 0;
    c->r.transient = false;
    buf_clear(&c->r.body);
    if (!redirected) buf_clear(&c->r.headers);
    buf_clear(&c->r.url);
    buf_add_sv(&c->r.url, buf_view(&c->url));
    set_options(c);
    set_method(c);
    set_headers(c);
    c->state = CALL_RUNNING;
    if (curl_multi_add_handle(c->h->multi, c->easy) != CURLM_OK) fail_call(c, GV_MEMORY, "libcurl takes no more requests");
}

/* ---- the end of a try ---- */

static bool is_idempotent(const char *method) {
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "DELETE") == 0;
}

static bool may_repeat(const http_call *c, bool surely_not_done) {
    if (c->tries > c->h->o.retries || c->n_sunk || c->q.retry == HTTP_RETRY_NEVER) return false;
    return c->q.retry == HTTP_RETRY_ALWAYS || surely_not_done || is_idempotent(c->q.method);
}

static bool passes(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_FAIL_REWIND: return true;
    default: return false;
    }
}

static bool status_passes(int status) {
    return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

static void repeat_later(http_call *c, const char *why) {
    const int64_t us = wait_before(c->h, c->tries, c->r.wait_us);
    buf url = {0};
    http_url_show(c->url.p, &url);
    http_tell(c->h, SV_FMT ": %s; try %d of %d in %.1f s", SV_ARG(buf_view(&url)), why, c->tries + 1, http_tries(c->h), (double)us * 1e-6);
    buf_fini(&url);
    buf_clear(&c->url); /* from the beginning: a signed URL on the way may have expired */
    buf_add_str(&c->url, c->q.url);
    c->redirects = 0;
    c->as_get = false;
    c->tries++;
    c->resume_us = clock_mono_us() + us;
    c->state = CALL_WAITING;
}

/* Follows the redirect of c->r, or ends the call. */
static void redirect(http_call *c, sv location) {
    buf to = {0};
    bool ok = url_resolve(c->url.p, location, &to, &c->err) && http_url_check(to.p, &c->err);
    if (ok && url_is_https(c->url.p) && !url_is_https(to.p)) ok = gv_fail(&c->err, GV_IO, -1, "a redirect from https to http is refused");
    if (ok && c->q.follow == HTTP_FOLLOW_ORIGIN && !http_same_origin(to.p, c->q.url)) {
        buf_fini(&to);
        end_call(c, true);
        return;
    }
    if (ok && ++c->redirects > HTTP_MAX_REDIRECTS) ok = gv_fail(&c->err, GV_IO, -1, "more than %d redirects", HTTP_MAX_REDIRECTS);
    if (!ok) {
        c->err.code = c->err.code == GV_USAGE ? GV_IO : c->err.code;
        buf_fini(&to);
        fail_call(c, GV_IO, NULL);
        return;
    }
    const bool head = strcmp(c->q.method, "HEAD") == 0;
    if (!head && (c->r.status == 303 || (c->r.status <= 302 && strcmp(c->q.method, "POST") == 0))) c->as_get = true;
    buf_fini(&c->url);
    c->url = to;
    start_try(c, true);
}

static void replied(http_call *c) {
    const sv location = http_header(&c->r, "Location");
    const int s = c->r.status;
    const bool moved = s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
    c->r.wait_us = reply_wait_us(&c->r, clock_wall_us() / 1000000);
    if (moved && location.n && c->q.follow != HTTP_FOLLOW_NONE) {
        redirect(c, location);
    } else if (status_passes(s) && may_repeat(c, s == 429) && c->r.wait_us / 1000000 <= c->h->o.max_wait_s) {
        buf why = {0};
        reply_status(&c->r, &why);
        repeat_later(c, why.p);
        buf_fini(&why);
    } else {
        end_call(c, true);
    }
}

static void try_ended(http_call *c, CURLcode code) {
    long status = 0;
    curl_off_t sent_us = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    curl_multi_remove_handle(c->h->multi, c->easy);
    c->r.status = (int)status;
    if (c->err.code) {
        fail_call(c, GV_IO, NULL);
    } else if (code == CURLE_OK || c->stopped) {
        replied(c);
    } else {
        const char *why = c->text[0] ? c->text : curl_easy_strerror(code);
        c->r.transient = passes(code);
        if (passes(code) && may_repeat(c, sent_us == 0))
            repeat_later(c, why);
        else if (c->tries > 1)
            fail_call(c, GV_IO, "%s (tried %d times)", why, c->tries);
        else
            fail_call(c, GV_IO, "%s", why);
    }
}

/* ---- calls ---- */

static char **copy_lines(const char *const *v) {
    size_t n = 0;
    while (v && v[n]) n++;
    char **out = gv_xcalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = gv_xstrdup(v[i]);
    return out;
}

/* A line break in a header would be a header of somebody else's. */
static bool check_lines(const http_request *q, gv_err *err) {
    if ((q->token && strpbrk(q->token, "\r\n")) || (q->content_type && strpbrk(q->content_type, "\r\n")))
        return gv_fail(err, GV_USAGE, -1, "the token or the content type holds a line break");
    for (size_t i = 0; q->headers && q->headers[i]; i++)
        if (strpbrk(q->headers[i], "\r\n")) return gv_fail(err, GV_USAGE, -1, "a header holds a line break");
    return true;
}

http_call *http_start(http *h, const http_request *q, gv_err *err) {
    if (!http_url_check(q->url, err) || !check_lines(q, err)) return NULL;
    http_call *c = gv_xcalloc(1, sizeof *c);
    c->h = h;
    c->q = *q;
    c->q.method = gv_xstrdup(q->method ? q->method : "GET");
    c->q.url = gv_xstrdup(q->url);
    c->q.token = q->token ? gv_xstrdup(q->token) : NULL;
    c->q.content_type = q->content_type ? gv_xstrdup(q->content_type) : NULL;
    c->headers = copy_lines(q->headers);
    c->q.headers = NULL;
    c->err = (gv_err)GV_ERR_INIT;
    buf_add_str(&c->url, q->url);
    c->easy = curl_easy_init();
    if (!c->easy) abort(); /* out of memory for a small struct */
    c->tries = 1;
    c->next = h->calls;
    h->calls = c;
    start_try(c, false);
    return c;
}

void http_call_free(http_call *c) {
    if (!c) return;
    http_call **at = &c->h->calls;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    curl_multi_remove_handle(c->h->multi, c->easy); /* harmless if it is not there */
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->lines);
    free((char *)c->q.method);
    free((char *)c->q.url);
    free((char *)c->q.token);
    free((char *)c->q.content_type);
    for (char **p = c->headers; *p; p++) free(*p);
    free(c->headers);
    buf_fini(&c->url);
    http_response_fini(&c->r);
    free(c);
}

bool http_call_done(const http_call *c) {
    return c->state == CALL_DONE;
}

bool http_call_result(http_call *c, http_response **r, gv_err *err) {
    *r = &c->r;
    if (c->ok) return true;
    return gv_fail(err, c->err.code, c->err.where, "%s", c->err.msg);
}

/* Is a call done?  Calls whose wait is over are started; *wait_ms shrinks to the next one's. */
static bool look_after(http *h, int *wait_ms) {
    bool done = false;
    const int64_t now = clock_mono_us();
    for (http_call *c = h->calls; c; c = c->next) {
        if (c->state != CALL_DONE && is_stopped(h)) {
            if (c->state == CALL_RUNNING) curl_multi_remove_handle(h->multi, c->easy);
            fail_call(c, GV_INTERRUPTED, "interrupted");
        }
        if (c->state == CALL_WAITING && c->resume_us <= now) start_try(c, false);
        if (c->state == CALL_WAITING && (c->resume_us - now) / 1000 < *wait_ms) *wait_ms = (int)((c->resume_us - now) / 1000) + 1;
        done = done || c->state == CALL_DONE;
    }
    return done;
}

bool http_poll(http *h, int timeout_ms, gv_err *err) {
    const int64_t until = clock_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        int wait_ms = POLL_MS, running = 0, left = 0;
        bool done = look_after(h, &wait_ms);
        CURLMcode code = curl_multi_perform(h->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
            http_call *c = NULL;
            if (m->msg != CURLMSG_DONE) continue;
            const CURLcode result = m->data.result; /* m is gone after the handle's removal */
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
            try_ended(c, result);
            if (c->state == CALL_RUNNING) wait_ms = 0;
            done = done || c->state == CALL_DONE;
        }
        const int64_t rest_ms = (until - clock_mono_us()) / 1000;
        if (done || rest_ms <= 0) return true;
        if (code == CURLM_OK) code = curl_multi_poll(h->multi, NULL, 0, rest_ms < wait_ms ? (int)rest_ms : wait_ms, NULL);
        if (code != CURLM_OK) return gv_fail(err, GV_IO, -1, "libcurl: %s", curl_multi_strerror(code));
    }
}

bool http_send(http *h, const http_request *q, http_response *r, gv_err *err) {
    http_call *c = http_start(h, q, err);
    if (!c) return false;
    bool ok = true;
    while (ok && c->state != CALL_DONE) ok = http_poll(h, POLL_MS, err);
    if (ok) {
        http_response_fini(r);
        *r = c->r;
        c->r = (http_response){0};
        ok = c->ok || gv_fail(err, c->err.code, c->err.where, "%s", c->err.msg);
    }
    http_call_free(c);
    return ok;
}
