/* See err.h.  Every message passes through set_text, which keeps it valid UTF-8 in a fixed buffer: malformed bytes become U+FFFD, control
 * characters other than tab and newline become '?' (names from hostile files must not reach a terminal as escapes), and a message that
 * does not fit ends at a character boundary.  Nothing here allocates, so a failure can be reported when memory is out.
 *
 * No state: any thread may call these with a gv_err of its own. */
#include "base/err.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>

/* Copies raw[0..n) into err->msg after the first `at` bytes; `cut` says that raw was itself cut short, so that an unfinished character at its
 * end is dropped without a sign. */
static void set_text(gv_err *err, size_t at, const char *raw, size_t n, bool cut) {
    size_t pos = 0;
    sv s = {raw, n};
    while (pos < n) {
        size_t from = pos;
        int32_t c = utf8_next(s, &pos);
        char out[4];
        size_t len;
        if (c < 0) {
            if (cut && n - from < 4 && (raw[from] & 0xC0) == 0xC0) break;
            len = utf8_put(0xFFFD, out);
        } else if ((c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7F && c < 0xA0)) {
            out[0] = '?';
            len = 1;
        } else {
            len = utf8_put((uint32_t)c, out);
        }
        if (len > sizeof err->msg - 1 - at) break;
        memcpy(err->msg + at, out, len);
        at += len;
    }
    err->msg[at] = 0;
}

bool gv_vfail(gv_err *err, gv_code code, int64_t where, const char *fmt, va_list ap) {
    if (!err || err->code != GV_OK) return false;
    char raw[sizeof err->msg];
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    if (n < 0) n = snprintf(raw, sizeof raw, "%s", fmt);
    bool cut = (size_t)n >= sizeof raw;
    err->code = code;
    err->where = where;
    set_text(err, 0, raw, cut ? sizeof raw - 1 : (size_t)n, cut);
    return false;
}

bool gv_fail(gv_err *err, gv_code code, int64_t where, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(err, code, where, fmt, ap);
    va_end(ap);
    return false;
}

bool gv_fail_errno(gv_err *err, const char *fmt, ...) {
    int saved = errno;
    if (!err || err->code != GV_OK) return false;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(err, GV_IO, -1, fmt, ap);
    va_end(ap);
    char text[128], raw[160];
    int n = snprintf(raw, sizeof raw, ": %s", strerror_r(saved, text, sizeof text));
    size_t at = strlen(err->msg), need = n > 0 ? (size_t)n : 0;
    /* The reason matters more than the end of an overlong name: make room for it at a character boundary. */
    if (at + need > sizeof err->msg - 1) {
        at = sizeof err->msg - 1 - need;
        while (at > 0 && (err->msg[at] & 0xC0) == 0x80) at--;
    }
    set_text(err, at, raw, need, false);
    errno = saved;
    return false;
}

bool gv_context(gv_err *err, const char *fmt, ...) {
    if (!err || err->code == GV_OK) return false;
    char old[sizeof err->msg], raw[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    if (n < 0) return false;
    bool cut = (size_t)n >= sizeof raw;
    set_text(err, 0, raw, cut ? sizeof raw - 1 : (size_t)n, cut);
    set_text(err, strlen(err->msg), ": ", 2, false);
    set_text(err, strlen(err->msg), old, strlen(old), false);
    return false;
}

void gv_err_clear(gv_err *err) {
    *err = (gv_err)GV_ERR_INIT;
}
