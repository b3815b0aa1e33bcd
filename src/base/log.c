/* See log.h.  The sink and the level are the program's one piece of mutable global state: set before threads start, only read after.
 *
 * A message is built in the buffer of a gv_err, for its rules: bounded, valid UTF-8, no control characters, no allocation, so that a
 * step may log.
 *
 * The sink decides where it goes and must be callable from any thread. */
#include "base/log.h"

static log_sink *the_sink;
static log_level the_level = LOG_WARN;

void log_set(log_sink *sink, log_level max_level) {
    the_sink = sink;
    the_level = max_level;
}

void log_msg(log_level level, const char *fmt, ...) {
    if (!the_sink || level > the_level) return;
    gv_err text = GV_ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&text, GV_STATE, -1, fmt, ap);
    va_end(ap);
    the_sink(level, text.msg);
}
