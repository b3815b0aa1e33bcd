/* HTTP requests: one client over libcurl for the Hub, for OpenAI-compatible servers, and for whatever else speaks HTTP.
 *
 * An http owns connections that it keeps open, and any number of calls in progress.  One thread owns it; several threads take one each.  A
 * single request is http_send.  Many at a time are http_start and http_poll, which never blocks longer than asked.
 *
 * What every call gets: redirects followed here and not by libcurl (only http and https, never from https to http, and the token goes to
 * nobody but the origin, that is scheme, host and port, of the first URL); tries again after failures that may pass, with waits that grow
 * and are jittered, or as long as the server asks (Retry-After, RateLimit); a cap on the body; ends for connections that do not come
 * up or stall; an end within 100 ms of stopped().  Messages name the URL without its query, which may hold a signature, the status, and what the server said.
 *
 * Built with -DGAVEL_CURL=OFF every call fails with GV_UNSUPPORTED. */
#ifndef GAVEL_HTTP_HTTP_H
#define GAVEL_HTTP_HTTP_H

#include "base/err.h"
#include "base/str.h"

typedef struct http http;
typedef struct http_call http_call;

enum { HTTP_MAX_BODY = 64 << 20, HTTP_MAX_ERROR_BODY = 64 << 10, HTTP_MAX_HEADERS = 256 << 10, HTTP_MAX_REDIRECTS = 10 };

/* Zero = default. */
typedef struct http_options {
    int64_t connect_ms;  /* until a connection stands; 10,000 */
    int64_t stall_ms;    /* without one byte in either direction; 60,000.  A server that computes long before it answers needs more */
    int64_t retries;     /* tries after the first; 5, none if negative */
    int64_t backoff_ms;  /* the first wait, doubled for each further one up to 30 s, each times 0.5 to 1.5; 500 */
    int64_t max_wait_s;  /* a server that asks for a longer wait is not waited for; 600 */
    const char *ca_file; /* certificates instead of the system's */
    /* Asked ten times a second, on the owner's thread: true ends every call with GV_INTERRUPTED.  NULL: never. */
    bool (*stopped)(void *ctx);
    /* Told of each wait: "http://host/path: 503 Service Unavailable; try 2 of 6 in 0.7 s".  NULL: log_msg. */
    void (*on_wait)(void *ctx, const char *msg);
    void *ctx; /* of both */
} http_options;
http *http_open(const http_options *o, gv_err *err) GV_MUST_USE;
/* Calls in progress are given up without a word; NULL is fine. */
void http_close(http *h);

typedef struct http_response {
    int status;      /* of the last reply; 0: none came */
    buf body;        /* without a sink: the body.  With one: the body of replies that are no 2xx, up to HTTP_MAX_ERROR_BODY */
    buf headers;     /* header lines of all replies of the last try, redirects included: see http_header */
    buf url;         /* of the last reply */
    uint64_t n_body; /* bytes of a 2xx body that came, sink or not */
    bool transient;  /* after a false: trying again may help (a connection that broke, a stall) */
    int64_t wait_us; /* what the server asked to wait, 0 if nothing */
} http_response;
void http_response_fini(http_response *r);
/* Value of a header of the last reply, white space around it removed; empty if it is not there.  Names are compared without case. */
sv http_header(const http_response *r, const char *name);
/* The same of the last reply on the way that has it: a header that only the redirect carried. */
sv http_header_any(const http_response *r, const char *name);

/* Bytes of a 2xx body as they come; r->status and the headers are there.  False ends the call with that error. */
typedef bool http_sink(void *ctx, const http_response *r, sv bytes, gv_err *err);

typedef enum http_retry {
    HTTP_RETRY_SAFE, /* GET, HEAD, PUT, DELETE: after anything that may pass; other methods: only if it was surely not carried out (no connection, 429) */
    HTTP_RETRY_ALWAYS, /* a POST that may be carried out twice */
    HTTP_RETRY_NEVER,
} http_retry;

typedef enum http_follow {
    HTTP_FOLLOW,        /* every redirect that is allowed */
    HTTP_FOLLOW_ORIGIN, /* those that stay at the origin; another one is the response (3xx) */
    HTTP_FOLLOW_NONE,
} http_follow;

/* Copied by http_start, but for body and fd, which stay until the call is done. */
typedef struct http_request {
    const char *method; /* NULL = GET */
    const char *url;    /* http or https, without user and password */
    const char *token;  /* sent as Authorization: Bearer to the URL's origin only; NULL = none */
    const char *const
        *headers;             /* "Name: value", ended by NULL; dropped with the token if the name is Authorization, Cookie or X-Hf-Token */
    const char *content_type; /* of the body */
    bool has_body;            /* a body is sent, if only an empty one */
    sv body;                  /* from memory; or, if fd is not 0, body_bytes bytes of it from body_from on (pread: fd is not moved) */
    int fd;
    uint64_t body_from, body_bytes;
    uint64_t max_bytes; /* cap on the body of the reply; 0 = HTTP_MAX_BODY */
    http_sink *sink;    /* NULL: into response.body.  A try that fails after bytes went to the sink is the last one */
    /* Told how much of the request's body is out, for progress; NULL = not. */
    void (*sent)(void *ctx, uint64_t n_bytes);
    void *ctx; /* of sink and sent */
    http_retry retry;
    http_follow follow;
} http_request;

/* True: a reply came, of whatever status (see http_check).  False: none did, for the reason in err.  r is filled either way; zero it before and http_response_fini it after. */
bool http_send(http *h, const http_request *q, http_response *r, gv_err *err) GV_MUST_USE;
/* False and a message with URL, status and the server's words unless r's status is 2xx. */
bool http_check(const http_response *r, gv_err *err) GV_MUST_USE;

/* Many at a time.  The call belongs to the caller until http_call_free, which also gives up one in progress. */
http_call *http_start(http *h, const http_request *q, gv_err *err) GV_MUST_USE;
/* Works on all calls until one of them is done or timeout_ms have passed.  False only if libcurl is broken for good. */
bool http_poll(http *h, int timeout_ms, gv_err *err) GV_MUST_USE;
bool http_call_done(const http_call *c);
/* Of a call that is done: what http_send returns.  The response stays the call's. */
bool http_call_result(http_call *c, http_response **r, gv_err *err) GV_MUST_USE;
void http_call_free(http_call *c);

/* The wait before try `tries` + 1 (tries >= 1) of something that the caller repeats itself: asked_us if that is more.  False and GV_INTERRUPTED when stopped() ends it,
 * GV_LIMIT when the server asks for more than max_wait_s. */
bool http_pause(http *h, int tries, int64_t asked_us, gv_err *err) GV_MUST_USE;
int http_tries(const http *h);
/* Tells what is waited for, as on_wait does. */
void http_tell(http *h, const char *fmt, ...) GV_PRINTF(2, 3);

/* URLs.  http_url_show: for messages, without query, fragment, user and password, at most 300 bytes. */
void http_url_show(const char *url, buf *out);
/* Is url http(s) with a host and without user and password?  GV_USAGE otherwise. */
bool http_url_check(const char *url, gv_err *err) GV_MUST_USE;
bool http_same_origin(const char *a, const char *b);
/* text percent-encoded but for letters, digits and -._~ and the bytes of `keep`. */
void http_url_escape(sv text, const char *keep, buf *out);
/* The target of `Link: <URL>; rel="next"`, empty without one; may be relative. */
sv http_link_next(sv link);

#endif
