/* Replies: header lines, waits, and what a server says went wrong.  Everything here is a stranger's text.
 *
 * Headers are kept as they came, all replies of a try one after another; a line that begins with "HTTP/" opens a reply. */
#include "base/json.h"
#include "http/http_internal.h"

#include <strings.h>
#include <time.h>

enum { MAX_WAIT_S = 1000000000, SHOWN_BYTES = 300 };

void http_response_fini(http_response *r) {
    buf_fini(&r->body);
    buf_fini(&r->headers);
    buf_fini(&r->url);
    *r = (http_response){0};
}

static sv trim(sv s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = sv_sub(s, 1, s.n);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

/* The next line from *pos on, without its end; false at the end. */
static bool next_line(sv text, size_t *pos, sv *line) {
    if (*pos >= text.n) return false;
    size_t end = sv_find(text, SV("\n"), *pos);
    if (end == SIZE_MAX) end = text.n;
    *line = sv_sub(text, *pos, end - *pos);
    *pos = end + 1;
    return true;
}

static bool value_of(sv line, const char *name, sv *value) {
    const size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0) return false;
    *value = trim(sv_sub(line, n + 1, line.n));
    return true;
}

sv http_header(const http_response *r, const char *name) {
    sv line, value, found = {0};
    for (size_t pos = 0; next_line(buf_view(&r->headers), &pos, &line);) {
        if (sv_starts(line, SV("HTTP/"))) found = (sv){0};
        if (value_of(line, name, &value)) found = value;
    }
    return found;
}

sv http_header_any(const http_response *r, const char *name) {
    sv line, value, found = {0};
    for (size_t pos = 0; next_line(buf_view(&r->headers), &pos, &line);)
        if (value_of(line, name, &value)) found = value;
    return found;
}

/* A whole number at the front of s, at most MAX_WAIT_S; -1 if there is none. */
static int64_t number(sv s) {
    int64_t v = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) v = v < MAX_WAIT_S ? v * 10 + (s.p[i] - '0') : MAX_WAIT_S;
    return i ? (v < MAX_WAIT_S ? v : MAX_WAIT_S) : -1;
}

/* Parameter `name` ("r=") of `"resolvers";r=0;t=12`; -1 if it is not there. */
static int64_t parameter(sv header, const char *name) {
    for (size_t at = 0; (at = sv_find(header, SV(";"), at)) != SIZE_MAX;) {
        const sv rest = trim(sv_sub(header, ++at, header.n));
        if (sv_starts(rest, sv_of(name))) return number(sv_sub(rest, strlen(name), rest.n));
    }
    return -1;
}

int64_t reply_wait_us(const http_response *r, int64_t now_s) {
    const sv limit = http_header(r, "RateLimit"), after = http_header(r, "Retry-After");
    int64_t s = 0;
    if (r->status == 429 && parameter(limit, "r=") == 0 && parameter(limit, "t=") >= 0) {
        s = parameter(limit, "t=") + 1;
    } else if (after.n && after.n < 64) {
        char text[64];
        memcpy(text, after.p, after.n);
        text[after.n] = 0;
        s = number(after);
        if (s < 0) { /* a date; one that cannot be read, or has passed, asks for nothing */
            struct tm at = {0};
            const time_t date = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &at) ? timegm(&at) : 0;
            s = date > now_s ? (int64_t)date - now_s : 0;
        }
    }
    return (s < MAX_WAIT_S ? s : MAX_WAIT_S) * 1000000;
}

void reply_status(const http_response *r, buf *out) {
    sv line, last = {0};
    for (size_t pos = 0; next_line(buf_view(&r->headers), &pos, &line);)
        if (sv_starts(line, SV("HTTP/"))) last = line;
    buf_printf(out, "%d", r->status);
    const size_t space = sv_find(last, SV(" "), 0);
    const sv words = space == SIZE_MAX ? (sv){0} : trim(sv_sub(last, space + 4, last.n));
    if (!words.n) return;
    buf_add_char(out, ' ');
    str_escape(words, 60, out);
}

/* {"error": "..."}, {"error": {"message": "..."}}, {"message": "..."}, {"detail": "..."} */
static sv json_message(const json_value *root) {
    const char *const names[] = {"error", "message", "detail"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_value *v = json_get(root, names[i]);
        if (v && json_kind_of(v) == JSON_OBJECT) v = json_get(v, "message");
        if (v && json_kind_of(v) == JSON_STRING) return json_string(v);
    }
    return (sv){0};
}

void reply_message(const http_response *r, buf *out) {
    const sv header = http_header(r, "X-Error-Message");
    if (header.n) {
        str_escape(header, SHOWN_BYTES, out);
        return;
    }
    gv_err ignored = GV_ERR_INIT; /* a body that is no JSON says nothing to us */
    json_doc *d = r->body.n && r->body.p[0] == '{' ? json_parse(buf_view(&r->body), &ignored) : NULL;
    if (d) str_escape(json_message(json_root(d)), SHOWN_BYTES, out);
    json_free(d);
}

void http_url_show(const char *url, buf *out) {
    sv s = sv_of(url);
    s.n = strcspn(url, "?#");
    const size_t scheme = sv_find(s, SV("://"), 0);
    if (scheme != SIZE_MAX) { /* user:password@ before the first slash of the path */
        const size_t from = scheme + 3, path = sv_find(s, SV("/"), from);
        const sv host = sv_sub(s, from, path == SIZE_MAX ? s.n : path - from);
        const char *at = host.n ? memrchr(host.p, '@', host.n) : NULL;
        if (at) {
            str_escape(sv_sub(s, 0, from), SHOWN_BYTES, out);
            s = sv_sub(s, (size_t)(at + 1 - s.p), s.n);
        }
    }
    str_escape(s, SHOWN_BYTES, out);
}

void http_url_escape(sv text, const char *keep, buf *out) {
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("-._~", c)) ||
                           (c && strchr(keep, c));
        if (plain)
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

bool http_check(const http_response *r, gv_err *err) {
    if (r->status >= 200 && r->status < 300) return true;
    buf text = {0};
    http_url_show(r->url.p ? r->url.p : "", &text);
    buf_add_str(&text, ": ");
    reply_status(r, &text);
    const size_t before = text.n;
    buf_add_str(&text, ": ");
    reply_message(r, &text);
    if (text.n == before + 2) text.n = before;
    if (r->wait_us) buf_printf(&text, " (it asks to wait %lld s)", (long long)(r->wait_us / 1000000));
    gv_fail(err, GV_IO, -1, SV_FMT, SV_ARG(buf_view(&text)));
    buf_fini(&text);
    return false;
}

sv http_link_next(sv link) {
    for (size_t at = 0; (at = sv_find(link, SV("<"), at)) != SIZE_MAX;) {
        const size_t end = sv_find(link, SV(">"), at);
        if (end == SIZE_MAX) break;
        const sv target = sv_sub(link, at + 1, end - at - 1);
        size_t stop = sv_find(link, SV("<"), end); /* parameters of this target */
        const sv rest = sv_sub(link, end, stop == SIZE_MAX ? link.n : stop - end);
        if (sv_find(rest, SV("rel=\"next\""), 0) != SIZE_MAX || sv_find(rest, SV("rel=next"), 0) != SIZE_MAX) return target;
        at = end;
    }
    return (sv){0};
}
