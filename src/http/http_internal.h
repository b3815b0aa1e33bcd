/* Inner parts of the HTTP client: replies (http_reply.c) and URLs (http_url.c) for the calls (http.c). */
#ifndef GAVEL_HTTP_HTTP_INTERNAL_H
#define GAVEL_HTTP_HTTP_INTERNAL_H

#include "http/http.h"

/* What the last reply asks to wait, in microseconds; 0 if nothing.  now_s: seconds since 1970, for dates. */
int64_t reply_wait_us(const http_response *r, int64_t now_s);
/* "404 Not Found", "404". */
void reply_status(const http_response *r, buf *out);
/* What the server says went wrong: X-Error-Message, or error or message of a JSON body; "" if nothing.  At most 300 bytes, fit for a message. */
void reply_message(const http_response *r, buf *out);

/* location, which may be relative, as seen from base; *out is emptied first.  GV_FORMAT. */
bool url_resolve(const char *base, sv location, buf *out, gv_err *err) GV_MUST_USE;
bool url_is_https(const char *url);

#endif
